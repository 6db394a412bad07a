"""Names of other frameworks that an author may try to import from ``micropie``.

This module is imported when such a name is missing: ``from micropie import Depends``.
"""

from __future__ import annotations

from micropie._core.on_demand import by_name


def explain(name: str) -> str:
    """Return the message for a name that another framework has but ``micropie`` doesn't, or ""."""
    advice = _ADVICE.get(name)
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
        "from micropie.middleware import ...": "CORSMiddleware CSRFMiddleware RateLimit",
        "from micropie.testing import TestClient": "TestClient",
    }
)
