"""micropie: `Root` with async handlers for ASGI, `SyncRoot` with the same ones as `def` for
WSGI.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

from benchmarks.apps.features.resources import (
    LOGGER,
    TABLE_ROWS,
    TEMPLATES,
    open_log,
    static_directory,
)
from benchmarks.cases import CHUNK_COUNT, EVENT_COUNT, FILE_CONTENT, FOREIGN_ORIGIN, TEXT_CHUNK
from benchmarks.harness import AsgiApp, WsgiApp
from benchmarks.mailbox import mailbox
from micropie import (
    App,
    EventStream,
    HTTPError,
    HttpMiddleware,
    Redirect,
    Request,
    UploadFile,
    WebSocket,
    get,
    post,
)
from micropie.middleware import (
    AccessLog,
    Compress,
    CORSMiddleware,
    CSRFMiddleware,
    RequestId,
    csrf_token,
)

LONG = FILE_CONTENT.decode()


class AsyncHooks(HttpMiddleware):
    async def before_request(self, request: Request) -> None:
        request.state.begun = True

    async def after_request(
        self,
        request: Request,
        status_code: int,
        response_body: Any,
        extra_headers: list[tuple[str, str]],
    ) -> None:
        extra_headers.append(("X-Hook", "after"))


class Hooks(HttpMiddleware):
    def before_request(self, request: Request) -> None:
        request.state.begun = True

    def after_request(
        self,
        request: Request,
        status_code: int,
        response_body: Any,
        extra_headers: list[tuple[str, str]],
    ) -> None:
        extra_headers.append(("X-Hook", "after"))


class Inner(App):
    async def hello(self) -> str:
        return "Hello, World!"


class Root(App):
    async def plain(self) -> str:
        return "Hello, World!"

    async def hooked(self) -> str:
        return "Hello, World!"

    @get("/users/<number:int>/posts/<slug>")
    async def article(self, number: int, slug: str) -> str:
        return f"{number} {slug}"

    async def link(self) -> str:
        return self.url_for("article", number=7, slug="hello-world")

    async def cookie(self) -> str:
        self.response.set_cookie("seen", "1")
        return self.request.cookies["theme"]

    async def bad(self) -> str:
        raise HTTPError(400)

    async def moved(self) -> Redirect:
        return self._redirect("/plain")

    async def login(self) -> str:
        self.request.session["user"] = "Alice"
        csrf_token(self.request)
        return "Welcome"

    async def token(self) -> str:
        return csrf_token(self.request)

    async def session(self) -> str:
        user: str = self.request.session["user"]
        return user

    async def count(self) -> str:
        session = self.request.session
        session["count"] = count = session.get("count", 0) + 1
        return str(count)

    async def rows(self) -> str:
        return self.render("rows.html", rows=TABLE_ROWS)

    async def upload(self, name: str, city: str, file: UploadFile) -> str:
        return f"{name} from {city} sent {len(file.read())} bytes"

    @post
    async def body(self) -> str:
        return str(len(await self.request.body()))

    async def form(self, name: str, city: str) -> str:
        return f"{name} from {city}"

    async def mail(self) -> str:
        self.request.after_response(self._send, "alice@example.com")
        return "sent"

    async def _send(self, address: str) -> None:
        mailbox.send(address)

    def thread(self) -> str:
        return (
            "in a thread"
            if threading.current_thread() is not threading.main_thread()
            else "on the loop"
        )

    async def ws_socket(self, ws: WebSocket) -> None:
        await ws.accept()
        while True:
            await ws.send_text(await ws.receive_text())

    async def events(self) -> EventStream:
        return EventStream(self._ticks())

    async def _ticks(self) -> AsyncIterator[str]:
        for _ in range(EVENT_COUNT):
            yield "tick"

    async def long(self) -> str:
        return LONG

    @get("/site")
    async def site(self) -> str:
        self.response.set_cookie("seen", "1")
        user, theme = self.request.session["user"], self.request.cookies["theme"]
        return self.render("site.html", user=user, theme=theme, rows=TABLE_ROWS)

    @post("/site")
    async def say(self, comment: str) -> Redirect:
        self.request.session["comment"] = comment
        return self._redirect("/site")

    async def stream_text(self) -> AsyncIterator[str]:
        for _ in range(CHUNK_COUNT):
            yield TEXT_CHUNK

    async def stream_wait(self) -> AsyncIterator[str]:
        for _ in range(CHUNK_COUNT):
            await asyncio.sleep(0)
            yield TEXT_CHUNK

    def stream_sync(self) -> Iterator[str]:
        for _ in range(CHUNK_COUNT):
            yield TEXT_CHUNK


class SyncInner(App):
    def hello(self) -> str:
        return "Hello, World!"


class SyncRoot(App):
    def plain(self) -> str:
        return "Hello, World!"

    def hooked(self) -> str:
        return "Hello, World!"

    @get("/users/<number:int>/posts/<slug>")
    def article(self, number: int, slug: str) -> str:
        return f"{number} {slug}"

    def link(self) -> str:
        return self.url_for("article", number=7, slug="hello-world")

    def cookie(self) -> str:
        self.response.set_cookie("seen", "1")
        return self.request.cookies["theme"]

    def bad(self) -> str:
        raise HTTPError(400)

    def moved(self) -> Redirect:
        return self._redirect("/plain")

    def login(self) -> str:
        self.request.session["user"] = "Alice"
        csrf_token(self.request)
        return "Welcome"

    def token(self) -> str:
        return csrf_token(self.request)

    def session(self) -> str:
        user: str = self.request.session["user"]
        return user

    def count(self) -> str:
        session = self.request.session
        session["count"] = count = session.get("count", 0) + 1
        return str(count)

    def rows(self) -> str:
        return self.render("rows.html", rows=TABLE_ROWS)

    def upload(self, name: str, city: str, file: UploadFile) -> str:
        return f"{name} from {city} sent {len(file.read())} bytes"

    @post
    def body(self) -> str:
        return str(len(self.request.read()))

    def form(self, name: str, city: str) -> str:
        return f"{name} from {city}"

    def mail(self) -> str:
        self.request.after_response(mailbox.send, "alice@example.com")
        return "sent"

    def long(self) -> str:
        return LONG

    @get("/site")
    def site(self) -> str:
        self.response.set_cookie("seen", "1")
        user, theme = self.request.session["user"], self.request.cookies["theme"]
        return self.render("site.html", user=user, theme=theme, rows=TABLE_ROWS)

    @post("/site")
    def say(self, comment: str) -> Redirect:
        self.request.session["comment"] = comment
        return self._redirect("/site")

    def stream_sync(self) -> Iterator[str]:
        for _ in range(CHUNK_COUNT):
            yield TEXT_CHUNK


def _applications(
    root: type[App], inner: type[App], hooks: HttpMiddleware, cases: list[str]
) -> dict[str, App]:
    def make(*middlewares: Any) -> App:
        app = root(templates=TEMPLATES)
        app.middlewares += middlewares
        return app

    open_log()
    files = make()
    files.static("/static", static_directory())
    mounting = make()
    mounting.mount("/inner", inner())
    site = make(AccessLog(logger=LOGGER), CSRFMiddleware())
    return dict.fromkeys(cases, make()) | {
        "hooks": make(hooks),
        "file": files,
        "not-modified": files,
        "mount": mounting,
        "compress": make(Compress(codings=["gzip"])),
        "cors": make(CORSMiddleware(origins=[FOREIGN_ORIGIN])),
        "csrf": make(CSRFMiddleware()),
        "access-log": make(AccessLog(logger=LOGGER)),
        "request-id": make(RequestId()),
        "site": site,
        "site-form": site,
    }


EVERYWHERE = ["route", "cookie", "not-found", "bad-request", "redirect", "url-for", "session", "count", "template",  # noqa: E501
              "small-upload", "body", "background", "stream-sync"]  # fmt: skip
ON_A_LOOP = ["thread", "socket", "events", "stream-text", "stream-wait", "stream-send"]


def make_asgi() -> dict[str, AsgiApp]:
    return {**_applications(Root, Inner, AsyncHooks(), EVERYWHERE + ON_A_LOOP)}


def make_wsgi() -> dict[str, WsgiApp]:
    return {**_applications(SyncRoot, SyncInner, Hooks(), EVERYWHERE)}
