"""Names of other frameworks and of other packages that an author may try to import from
``micropie``.

This module is imported when such a name is missing: ``from micropie import Depends``.
"""

from __future__ import annotations

from micropie._core.on_demand import by_name


def explain(name: str) -> str:
    """Return the message for a name that another framework or one of this one's packages has, but
    ``micropie`` doesn't. Return "" for any other name.
    """
    package = _PACKAGES.get(name)
    advice = f"from micropie.{package} import {name}" if package else _ADVICE.get(name)
    return f"micropie has no {name}: write {advice}" if advice else ""


# The advice for each group of names of other frameworks.
_ADVICE = by_name(
    {
        "App": "FastAPI Flask Litestar Bottle Starlette",
        "class Pies(App), and pies = Pies() in the outer App": "APIRouter Blueprint Controller",
        "raise HTTPError(404)": "HTTPException HTTPResponse abort Http404",
        'return Redirect("/pies"), or raise it': "redirect RedirectResponse HTTPRedirect",
        'return {"name": "apple"}, which is sent as JSON': "jsonify JSONResponse",
        "Response(body, status=201)": "HttpResponse make_response",
        "a handler with yield, or return Response(chunks(), content_type=...)": (
            "StreamingResponse StreamingHttpResponse stream_with_context"
        ),
        "return EventStream(events())": "EventSourceResponse",
        'template("pie.html", pie=pie)': "render_template render Jinja2Templates view",
        'static_file("pie.pdf", root="files")': "send_file send_from_directory FileResponse",
        "a parameter such as db: Db, and @app.provides(Db) above the function that opens a Db": (
            "Depends Provide"
        ),
        "a parameter such as pie: UploadFile": "File",
        'a parameter pie_id: int, and "/pies/<pie_id:int>" as the path': "Path",
        "request.after_response(function)": "BackgroundTasks BackgroundTask",
        "self.request.session": "session",
        "self.response": "response",
        'self.url_for("show", 5)': "url_for",
        "app.run(), with app = Root()": "run quickstart",
        "no decorator, because each public method has a URL already": "expose",
        "except ConnectionClosed": "WebSocketDisconnect",
    }
)

# The package for each public name that isn't in ``micropie`` itself.
_PACKAGES = by_name(
    {
        "channels": "Channels ChannelsUnreachable MessagesLost RedisChannels Subscription",
        "config": "Settings read read_env_file",
        "middleware": (
            "AccessLog BasicAuth BearerAuth CORSMiddleware CSRFMiddleware Call Compress "
            "ConcurrencyLimit FlowMiddleware LoadShedding MemoryRates ProxyHeaders Quota RateLimit "
            "RateStore RedisRates RequestId RequestIdFilter SecurityDefaults SecurityHeaders "
            "ServiceThreads Threads Timeout TookTooLong Tracing TrustedHosts call call_within "
            "csrf_token ends_with_client kind_of"
        ),
        "openapi": "Docs",
        "sessions": (
            "Changes RedisSessionBackend SQLiteSessionBackend SessionStore "
            "SignedCookieSessionBackend"
        ),
        "testing": (
            "AppTimeout AsyncTestClient AsyncWebSocketSession ClientDisconnected ClientError "
            "LifespanFailed ProtocolViolation TestClient WebSocketClosed WebSocketRefused "
            "WebSocketSession make_request"
        ),
    }
)
