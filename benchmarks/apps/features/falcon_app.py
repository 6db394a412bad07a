"""Falcon, both of its application classes.

It has no sessions, no templates and no check against forged forms.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import falcon
import falcon.asgi

from benchmarks.apps.falcon_app import AsyncPlain, AsyncUpload, Plain, Upload
from benchmarks.apps.features.resources import static_directory
from benchmarks.cases import CHUNK_COUNT, EVENT_COUNT, FOREIGN_ORIGIN, TEXT_CHUNK
from benchmarks.harness import AsgiApp, WsgiApp
from benchmarks.mailbox import mailbox


class AsyncArticle:
    async def on_get(self, req: Any, resp: Any, number: int, slug: str) -> None:
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = f"{number} {slug}"


class AsyncCookie:
    async def on_get(self, req: Any, resp: Any) -> None:
        resp.set_cookie("seen", "1", secure=False)
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = req.cookies["theme"]


class AsyncBad:
    async def on_get(self, req: Any, resp: Any) -> None:
        raise falcon.HTTPBadRequest


class AsyncMoved:
    async def on_get(self, req: Any, resp: Any) -> None:
        raise falcon.HTTPSeeOther("/plain")


class AsyncBody:
    async def on_post(self, req: Any, resp: Any) -> None:
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = str(len(await req.stream.read()))


async def send_mail() -> None:
    mailbox.send("alice@example.com")


class AsyncMail:
    async def on_get(self, req: Any, resp: Any) -> None:
        resp.schedule(send_mail)
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = "sent"


def which_thread() -> str:
    return (
        "in a thread"
        if threading.current_thread() is not threading.main_thread()
        else "on the loop"
    )


class AsyncThread:
    async def on_get(self, req: Any, resp: Any) -> None:
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = await falcon.sync_to_async(which_thread)


class Socket:
    async def on_websocket(self, req: Any, ws: Any) -> None:
        await ws.accept()
        try:
            while True:
                await ws.send_text(await ws.receive_text())
        except falcon.WebSocketDisconnected:
            pass


async def ticks() -> AsyncIterator[Any]:
    for _ in range(EVENT_COUNT):
        yield falcon.asgi.SSEvent(text="tick")


class Events:
    async def on_get(self, req: Any, resp: Any) -> None:
        resp.sse = ticks()


async def text_chunks() -> AsyncIterator[bytes]:
    for _ in range(CHUNK_COUNT):
        yield TEXT_CHUNK.encode()


async def waiting_chunks() -> AsyncIterator[bytes]:
    for _ in range(CHUNK_COUNT):
        await asyncio.sleep(0)
        yield TEXT_CHUNK.encode()


class StreamText:
    async def on_get(self, req: Any, resp: Any) -> None:
        resp.content_type = falcon.MEDIA_TEXT
        resp.stream = text_chunks()


class StreamWait:
    async def on_get(self, req: Any, resp: Any) -> None:
        resp.content_type = falcon.MEDIA_TEXT
        resp.stream = waiting_chunks()


class AsyncHooks:
    async def process_request(self, req: Any, resp: Any) -> None:
        req.context.begun = True

    async def process_response(
        self, req: Any, resp: Any, resource: Any, req_succeeded: bool
    ) -> None:
        resp.set_header("X-Hook", "after")


class AsyncRequestId:
    """As in the recipe of its documentation."""

    async def process_request(self, req: Any, resp: Any) -> None:
        req.context.request_id = str(uuid4())

    async def process_response(
        self, req: Any, resp: Any, resource: Any, req_succeeded: bool
    ) -> None:
        resp.set_header("X-Request-ID", req.context.request_id)


def make_asgi() -> dict[str, AsgiApp]:
    def make(*middleware: Any) -> Any:
        app: Any = falcon.asgi.App(middleware=list(middleware))
        app.add_route("/plain", AsyncPlain())
        app.add_route("/hooked", AsyncPlain())
        app.add_route("/users/{number:int}/posts/{slug}", AsyncArticle())
        app.add_route("/cookie", AsyncCookie())
        app.add_route("/bad", AsyncBad())
        app.add_route("/moved", AsyncMoved())
        app.add_route("/upload", AsyncUpload())
        app.add_route("/body", AsyncBody())
        app.add_route("/mail", AsyncMail())
        app.add_route("/thread", AsyncThread())
        app.add_route("/socket", Socket())
        app.add_route("/events", Events())
        app.add_route("/stream_text", StreamText())
        app.add_route("/stream_wait", StreamWait())
        return app

    files = make()
    files.add_static_route("/static", static_directory())
    cases = ["route", "cookie", "not-found", "bad-request", "redirect", "small-upload", "body", "background", "thread",  # noqa: E501
             "socket", "events", "stream-text", "stream-wait", "stream-send"]  # fmt: skip
    return dict.fromkeys(cases, make()) | {
        "hooks": make(AsyncHooks()),
        "file": files,
        "not-modified": files,
        "cors": make(falcon.CORSMiddleware(allow_origins=FOREIGN_ORIGIN)),
        "request-id": make(AsyncRequestId()),
    }


# --- WSGI -----------------------------------------------------------------------------------------


class Article:
    def on_get(self, req: Any, resp: Any, number: int, slug: str) -> None:
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = f"{number} {slug}"


class Cookie:
    def on_get(self, req: Any, resp: Any) -> None:
        resp.set_cookie("seen", "1", secure=False)
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = req.cookies["theme"]


class Bad:
    def on_get(self, req: Any, resp: Any) -> None:
        raise falcon.HTTPBadRequest


class Moved:
    def on_get(self, req: Any, resp: Any) -> None:
        raise falcon.HTTPSeeOther("/plain")


class Body:
    def on_post(self, req: Any, resp: Any) -> None:
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = str(len(req.bounded_stream.read()))


def sync_chunks() -> Iterator[bytes]:
    for _ in range(CHUNK_COUNT):
        yield TEXT_CHUNK.encode()


class StreamSync:
    def on_get(self, req: Any, resp: Any) -> None:
        resp.content_type = falcon.MEDIA_TEXT
        resp.stream = sync_chunks()


class Hooks:
    def process_request(self, req: Any, resp: Any) -> None:
        req.context.begun = True

    def process_response(self, req: Any, resp: Any, resource: Any, req_succeeded: bool) -> None:
        resp.set_header("X-Hook", "after")


class RequestId:
    def process_request(self, req: Any, resp: Any) -> None:
        req.context.request_id = str(uuid4())

    def process_response(self, req: Any, resp: Any, resource: Any, req_succeeded: bool) -> None:
        resp.set_header("X-Request-ID", req.context.request_id)


def make_wsgi() -> dict[str, WsgiApp]:
    def make(*middleware: Any) -> Any:
        app: Any = falcon.App(middleware=list(middleware))
        app.add_route("/plain", Plain())
        app.add_route("/hooked", Plain())
        app.add_route("/users/{number:int}/posts/{slug}", Article())
        app.add_route("/cookie", Cookie())
        app.add_route("/bad", Bad())
        app.add_route("/moved", Moved())
        app.add_route("/upload", Upload())
        app.add_route("/body", Body())
        app.add_route("/stream_sync", StreamSync())
        return app

    files = make()
    files.add_static_route("/static", static_directory())
    cases = [
        "route",
        "cookie",
        "not-found",
        "bad-request",
        "redirect",
        "small-upload",
        "body",
        "stream-sync",
    ]
    return dict.fromkeys(cases, make()) | {
        "hooks": make(Hooks()),
        "file": files,
        "not-modified": files,
        "cors": make(falcon.CORSMiddleware(allow_origins=FOREIGN_ORIGIN)),
        "request-id": make(RequestId()),
    }
