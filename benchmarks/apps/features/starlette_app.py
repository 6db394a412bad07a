"""Starlette.

Hooks and the parts that it does not have are ASGI middleware, the faster of its two documented
ways.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections.abc import AsyncIterator, Iterator

from markupsafe import Markup
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware  # needs itsdangerous
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates
from starlette.websockets import WebSocket, WebSocketDisconnect

from benchmarks.apps.features.resources import (
    LINE,
    LOGGER,
    TABLE_ROWS,
    TEMPLATES,
    open_log,
    static_directory,
)
from benchmarks.apps.starlette_app import count, form, login, plain, session, upload
from benchmarks.cases import CHUNK_COUNT, FILE_CONTENT, FOREIGN_ORIGIN, TEXT_CHUNK
from benchmarks.harness import AsgiApp, Message, Receive, Send
from benchmarks.mailbox import mailbox

LONG = FILE_CONTENT.decode()
templates = Jinja2Templates(directory=TEMPLATES)


async def article(request: Request) -> Response:
    return PlainTextResponse(f"{request.path_params['number']} {request.path_params['slug']}")


async def link(request: Request) -> Response:
    path = request.app.url_path_for("article", number=7, slug="hello-world")
    return PlainTextResponse(str(path))


async def cookie(request: Request) -> Response:
    response = PlainTextResponse(request.cookies["theme"])
    response.set_cookie("seen", "1")
    return response


async def bad(request: Request) -> Response:
    raise HTTPException(400)


async def moved(request: Request) -> Response:
    return RedirectResponse("/plain", status_code=303)


async def rows(request: Request) -> Response:
    return templates.TemplateResponse(request, "rows.html", {"rows": TABLE_ROWS})


async def body(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def send_mail(address: str) -> None:
    mailbox.send(address)


async def mail(request: Request) -> Response:
    return PlainTextResponse("sent", background=BackgroundTask(send_mail, "alice@example.com"))


def thread(request: Request) -> Response:
    in_a_thread = threading.current_thread() is not threading.main_thread()
    return PlainTextResponse("in a thread" if in_a_thread else "on the loop")


async def socket(ws: WebSocket) -> None:
    await ws.accept()
    try:
        while True:
            await ws.send_text(await ws.receive_text())
    except WebSocketDisconnect:
        pass


async def long(request: Request) -> Response:
    return PlainTextResponse(LONG)


async def text_chunks() -> AsyncIterator[str]:
    for _ in range(CHUNK_COUNT):
        yield TEXT_CHUNK


async def waiting_chunks() -> AsyncIterator[str]:
    for _ in range(CHUNK_COUNT):
        await asyncio.sleep(0)
        yield TEXT_CHUNK


def sync_chunks() -> Iterator[str]:
    for _ in range(CHUNK_COUNT):
        yield TEXT_CHUNK


async def stream_text(request: Request) -> Response:
    return StreamingResponse(text_chunks(), media_type="text/plain")


async def stream_wait(request: Request) -> Response:
    return StreamingResponse(waiting_chunks(), media_type="text/plain")


async def stream_sync(request: Request) -> Response:
    return StreamingResponse(sync_chunks(), media_type="text/plain")


# --- the real site --------------------------------------------------------------------------------


async def site_login(request: Request) -> Response:
    request.session["csrf_token"] = secrets.token_urlsafe(32)
    return await login(request)


async def site(request: Request) -> Response:
    token = request.session["csrf_token"]
    context = {
        "user": request.session["user"],
        "theme": request.cookies["theme"],
        "rows": TABLE_ROWS,
        "csrf_input": Markup('<input type="hidden" name="csrf_token" value="{}">').format(token),
    }
    response = templates.TemplateResponse(request, "site.html", context)
    response.set_cookie("seen", "1")
    return response


async def say(request: Request) -> Response:
    async with request.form() as fields:
        request.session["comment"] = fields["comment"]
    return RedirectResponse("/site", status_code=303)


class Hooks:
    def __init__(self, app: AsgiApp) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        Request(scope).state.begun = True

        async def send_with_header(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Hook"] = "after"
            await send(message)

        await self.app(scope, receive, send_with_header)


class AccessLog:
    def __init__(self, app: AsgiApp) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = time.perf_counter()
        status = 500

        async def send_and_look(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_and_look)
        finally:
            spent = (time.perf_counter() - begun) * 1000
            LOGGER.info(LINE, scope["client"][0], scope["method"], scope["path"], status, spent)


class CheckOrigin:
    """Refuses forms of other sites, as Starlette has no check of its own."""

    def __init__(self, app: AsgiApp) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            headers = Headers(scope=scope)
            if headers.get("origin") != f"{scope['scheme']}://{headers.get('host')}":
                await PlainTextResponse("forged", status_code=403)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def make_asgi() -> dict[str, AsgiApp]:
    def make(*middleware: Middleware, mount: Mount | None = None) -> AsgiApp:
        return Starlette(
            routes=[
                Route("/plain", plain),
                Route("/hooked", plain),
                Route("/users/{number:int}/posts/{slug}", article),
                Route("/link", link),
                Route("/cookie", cookie),
                Route("/bad", bad),
                Route("/moved", moved),
                Route("/login", login),
                Route("/session", session),
                Route("/count", count),
                Route("/rows", rows),
                Route("/upload", upload, methods=["POST"]),
                Route("/body", body, methods=["POST"]),
                Route("/form", form, methods=["POST"]),
                Route("/mail", mail),
                Route("/thread", thread),
                WebSocketRoute("/socket", socket),
                Route("/long", long),
                Route("/stream_text", stream_text),
                Route("/stream_wait", stream_wait),
                Route("/stream_sync", stream_sync),
                *([mount] if mount else []),
            ],
            middleware=middleware,
        )

    open_log()
    sessions = Middleware(SessionMiddleware, secret_key="a secret")
    site_app = Starlette(
        routes=[
            Route("/plain", plain),
            Route("/login", site_login),
            Route("/site", site),
            Route("/site", say, methods=["POST"]),
        ],
        middleware=[Middleware(AccessLog), Middleware(CheckOrigin), sessions],
    )
    cases = ["route", "cookie", "not-found", "bad-request", "redirect", "url-for", "template", "small-upload", "body",  # noqa: E501
             "background", "thread", "socket", "stream-text", "stream-wait", "stream-send", "stream-sync"]  # fmt: skip  # noqa: E501
    session_app = make(sessions)
    files = make(mount=Mount("/static", StaticFiles(directory=static_directory())))
    return dict.fromkeys(cases, make()) | {
        "hooks": make(Middleware(Hooks)),
        "mount": make(mount=Mount("/inner", routes=[Route("/hello", plain)])),
        "session": session_app,
        "count": session_app,
        "file": files,
        "not-modified": files,
        "compress": make(Middleware(GZipMiddleware, minimum_size=500, compresslevel=6)),
        "cors": make(Middleware(CORSMiddleware, allow_origins=[FOREIGN_ORIGIN])),
        "site": site_app,
        "site-form": site_app,
    }
