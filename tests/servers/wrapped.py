"""One application inside other projects' wrappers, for ``test_works_with.py``."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import anyio
import socketio
from servestatic import ServeStatic, ServeStaticASGI
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount

from micropie import App, EventStream, WebSocket, event, post

FILES = os.environ.get("WRAPPED_FILES")


class Inside(App):
    """``closed``: how many streams of events have been closed.

    ``go`` lets the streams that wait go on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.startup_handlers.append(self._start)
        self._starts = self._closed = 0

    def _start(self) -> None:
        self._starts += 1

    def index(self) -> str:
        return "inside " * 1000

    def starts(self) -> str:
        return str(self._starts)

    def closed(self) -> str:
        return str(self._closed)

    def visits(self) -> str:
        self.request.session["visits"] = self.request.session.get("visits", 0) + 1
        return str(self.request.session["visits"])

    @post
    async def form(self, name: str) -> str:
        return f"Hello, {name}!"

    async def go(self) -> str:
        await self.channels.publish("go", "on")
        return "gone"

    async def stream(self) -> AsyncIterator[str]:
        async with self.channels.subscribe("go") as messages:
            yield "first "
            yield await anext(messages)

    async def events(self) -> EventStream:
        return EventStream(self._events())

    async def _events(self) -> AsyncIterator[object]:
        try:
            number = 0
            while True:
                number += 1
                yield event({"n": number}, event="tick", id=number)
                await anyio.sleep(0.05)
        finally:
            self._closed += 1

    async def ws_echo(self, ws: WebSocket, name: str = "you") -> None:
        await ws.accept()
        while True:
            await ws.send_text(f"{name}: {await ws.receive_text()}")

    async def emit(self, text: str) -> str:
        await sio.emit("news", text)
        return "emitted"


app = Inside()


# -- python-socketio -------------------------------------------------------------------------------

# A client that closes while it polls may leave the poll waiting for the sum of these, 45 seconds
# unless set, whatever application is inside: that is python-engineio's.
sio = socketio.AsyncServer(async_mode="asgi", ping_interval=1, ping_timeout=4)
with_socketio = socketio.ASGIApp(sio, app)
mounted_beside = Starlette(
    routes=[
        Mount("/live", socketio.ASGIApp(sio, socketio_path="live/socket.io")),
        Mount("/site", app),
    ]
)


async def say(sid: str, text: str) -> str:
    await sio.emit("said", {"text": text})
    # a client that waits for a message of the application gets it as well
    await app.channels.publish("go", text)
    return f"heard {text}"


sio.on("say", say)


# -- ServeStatic -----------------------------------------------------------------------------------

with_files_asgi = ServeStaticASGI(app, root=FILES, prefix="/static/")
with_files_wsgi = ServeStatic(app, root=FILES, prefix="/static/")


# -- Starlette's middleware ------------------------------------------------------------------------


async def count(request: Request, call_next: RequestResponseEndpoint) -> Response:
    request.session["count"] = request.session.get("count", 0) + 1
    response = await call_next(request)
    response.headers["X-Count"] = str(request.session["count"])
    return response


with_middleware: Any = BaseHTTPMiddleware(app, dispatch=count)
with_middleware = SessionMiddleware(with_middleware, secret_key="secret", session_cookie="theirs")
with_middleware = GZipMiddleware(with_middleware, minimum_size=500)
