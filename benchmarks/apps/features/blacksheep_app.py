"""BlackSheep.

It runs `def` handlers on the event loop, has no URLs by name, no access log and no request ids.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from typing import Any

# its setting for the ending of templates, read at its import
os.environ.setdefault("APP_JINJA_EXTENSION", ".html")

from blacksheep import (
    Application,
    Cookie,
    Request,
    Response,
    Router,
    StreamedContent,
    WebSocketDisconnectError,
    text,
)
from blacksheep.exceptions import BadRequest
from blacksheep.server.compression import use_gzip_compression
from blacksheep.server.csrf import use_anti_forgery
from blacksheep.server.rendering.jinja2 import JinjaRenderer
from blacksheep.server.responses import see_other, view
from blacksheep.server.sse import ServerSentEventsResponse, TextServerSentEvent
from blacksheep.settings.html import html_settings
from jinja2 import FileSystemLoader

from benchmarks.apps.features.resources import (
    LINE,
    LOGGER,
    TABLE_ROWS,
    TEMPLATES,
    open_log,
    static_directory,
)
from benchmarks.cases import CHUNK_COUNT, EVENT_COUNT, FILE_CONTENT, FOREIGN_ORIGIN, TEXT_CHUNK
from benchmarks.harness import AsgiApp
from benchmarks.mailbox import mailbox

LONG = FILE_CONTENT.decode()


async def plain(request: Request) -> Response:
    return text("Hello, World!")


async def article(request: Request) -> Response:
    values: Any = request.route_values
    return text(f"{int(values['number'])} {values['slug']}")


async def cookie(request: Request) -> Response:
    response = text(request.cookies["theme"])
    response.set_cookie(Cookie("seen", "1", path="/"))
    return response


async def bad(request: Request) -> Response:
    raise BadRequest


async def moved(request: Request) -> Response:
    return see_other("/plain")


async def login(request: Request) -> Response:
    request.session["user"] = "Alice"
    return text("Welcome")


async def session(request: Request) -> Response:
    return text(request.session["user"])


async def count(request: Request) -> Response:
    request.session["count"] = number = request.session.get("count", 0) + 1
    return text(str(number))


async def rows(request: Request) -> Response:
    return view("rows", rows=TABLE_ROWS)


async def upload(request: Request) -> Response:
    form: Any = await request.form()
    size = len(form["file"][0].data)
    return text(f"{form['name']} from {form['city']} sent {size} bytes")


async def body(request: Request) -> Response:
    return text(str(len(await request.read() or b"")))


async def form(request: Request) -> Response:
    fields: Any = await request.form()
    return text(f"{fields['name']} from {fields['city']}")


async def send_mail(address: str) -> None:
    mailbox.send(address)


async def mail(request: Request) -> Response:
    asyncio.create_task(send_mail("alice@example.com"))  # noqa: RUF006 - as in its documentation
    return text("sent")


async def socket(websocket: Any) -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnectError:
        pass


async def ticks() -> AsyncIterator[Any]:
    for _ in range(EVENT_COUNT):
        yield TextServerSentEvent("tick")


async def events(request: Request) -> Response:
    return ServerSentEventsResponse(ticks)


async def long(request: Request) -> Response:
    return text(LONG)


async def text_chunks() -> AsyncIterator[bytes]:
    for _ in range(CHUNK_COUNT):
        yield TEXT_CHUNK.encode()


async def waiting_chunks() -> AsyncIterator[bytes]:
    for _ in range(CHUNK_COUNT):
        await asyncio.sleep(0)
        yield TEXT_CHUNK.encode()


async def stream_text(request: Request) -> Response:
    return Response(200, content=StreamedContent(b"text/plain", text_chunks))


async def stream_wait(request: Request) -> Response:
    return Response(200, content=StreamedContent(b"text/plain", waiting_chunks))


async def site(request: Request) -> Response:
    user, theme = request.session["user"], request.cookies["theme"]
    response = view("site_blacksheep", user=user, theme=theme, rows=TABLE_ROWS, request=request)
    response.set_cookie(Cookie("seen", "1", path="/"))
    return response


async def say(request: Request) -> Response:
    fields: Any = await request.form()
    request.session["comment"] = fields["comment"]
    return see_other("/site")


async def hooks(request: Request, handler: Any) -> Response:
    request.begun = True
    response: Response = await handler(request)
    response.add_header(b"X-Hook", b"after")
    return response


async def access_log(request: Request, handler: Any) -> Response:
    begun = time.perf_counter()
    response: Response = await handler(request)
    spent = (time.perf_counter() - begun) * 1000
    LOGGER.info(LINE, request.client_ip, request.method, request.path, response.status, spent)
    return response


def _make() -> Any:
    app: Any = Application(router=Router())  # the default one is shared by the process
    for path, handler in {
        "/plain": plain, "/hooked": plain, "/users/{int:number}/posts/{slug}": article, "/cookie": cookie, "/bad": bad,  # noqa: E501
        "/moved": moved, "/login": login, "/session": session, "/count": count, "/rows": rows, "/mail": mail,  # noqa: E501
        "/events": events, "/long": long, "/stream_text": stream_text, "/stream_wait": stream_wait,
    }.items():  # fmt: skip
        app.router.add_get(path, handler)
    for path, handler in {"/upload": upload, "/body": body, "/form": form}.items():
        app.router.add_post(path, handler)
    app.router.add_ws("/socket", socket)
    return app


def _with_anti_forgery(app: Any, sign_in: str) -> Any:
    """Switch the check of tokens on.

    The sign-in names the header with the token, which a page's script would send.
    """
    html_settings.use(JinjaRenderer(loader=FileSystemLoader(TEMPLATES)))
    handler = use_anti_forgery(app)

    async def give_token(request: Request) -> Response:
        if sign_in == "/login":
            request.session["user"] = "Alice"
        response = text("Welcome")
        response.add_header(
            b"X-Send-Back", f"{handler.header_name}={handler.get_tokens(request)[1]}".encode()
        )
        return response

    app.router.add_get(sign_in, give_token)
    return app


def make_asgi() -> dict[str, AsgiApp]:
    open_log()
    hooked = _make()
    hooked.middlewares.append(hooks)
    files = _make()
    files.serve_files(static_directory(), root_path="/static")
    inner: Any = Application(router=Router())
    inner.router.add_get("/hello", plain)
    mounting = _make()
    mounting.mount("/inner", inner)
    with_sessions = _make()
    with_sessions.use_sessions("a secret")
    compressing = _make()
    use_gzip_compression(compressing).comp_level = 6
    cors = _make()
    cors.use_cors(allow_origins=FOREIGN_ORIGIN, allow_methods="*", allow_headers="*")
    site_app: Any = Application(router=Router())
    site_app.middlewares.append(access_log)
    site_app.use_sessions("a secret")
    _with_anti_forgery(site_app, "/login")
    site_app.router.add_get("/site", site)
    site_app.router.add_post("/site", say)
    cases = ["route", "cookie", "not-found", "bad-request", "redirect", "template", "small-upload", "body",  # noqa: E501
             "background", "socket", "events", "stream-text", "stream-wait", "stream-send"]  # fmt: skip  # noqa: E501
    return dict.fromkeys(cases, _make()) | {
        "hooks": hooked,
        "file": files,
        "not-modified": files,
        "mount": mounting,
        "session": with_sessions,
        "count": with_sessions,
        "compress": compressing,
        "cors": cors,
        "csrf": _with_anti_forgery(_make(), "/token"),
        "site": site_app,
        "site-form": site_app,
    }
