"""What ``benchmarks.soak`` serves: a mixed site, a site with a limit, and rooms with many listeners
by three makers.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from typing import Any

import anyio

from benchmarks.harness import AsgiApp
from micropie import App, EventStream, HTTPError, UploadFile, WebSocket, event
from micropie.middleware import ConcurrencyLimit, RequestId

ROOM = "room"
PLACES = 10  # requests at once in the limited site
SECONDS = 0.1  # that each of them waits, as for a database


# -- soak ------------------------------------------------------------------------------------------


class Mixed(App):
    """A little of everything, and nothing that grows by itself: as many sessions as clients, no
    list of messages.
    """

    def index(self) -> int:
        return os.getpid()

    async def plain(self) -> str:
        return "Hello, World!"

    def page(self, name: str = "World") -> dict[str, Any]:
        return {
            "name": name,
            "rows": [{"number": number, "text": "x" * 20} for number in range(50)],
        }

    def count(self) -> str:
        session = self.request.session
        session["count"] = session.get("count", 0) % 1000 + 1
        return str(session["count"])

    def form(self, name: str, city: str) -> str:
        return f"{name} from {city}"

    def upload(self, file: UploadFile) -> str:
        return str(len(file.file.read()))

    async def lines(self) -> AsyncIterator[str]:
        for number in range(20):
            await anyio.lowlevel.checkpoint()
            yield f"line {number}\n"

    async def fails(self) -> str:
        raise HTTPError(409, "as it should")

    async def ticks(self) -> EventStream:
        return EventStream(self._ticks())

    async def _ticks(self) -> AsyncIterator[object]:
        while True:
            yield event({"time": time.time()})
            await anyio.sleep(0.01)

    async def ws_echo(self, ws: WebSocket) -> None:
        await ws.accept()
        async for message in ws:
            await ws.send_text(str(message))


mixed = Mixed()
mixed.middlewares.append(RequestId())


def make_mixed() -> AsgiApp:
    return mixed


# -- overload --------------------------------------------------------------------------------------


class Limited(App):
    def index(self) -> int:
        return os.getpid()

    async def work(self) -> str:
        await anyio.sleep(SECONDS)
        return "done"


class LimitedInThreads(Limited):
    def work(self) -> str:  # type: ignore[override]
        time.sleep(SECONDS)
        return "done"


limited = Limited()
limited_in_threads = LimitedInThreads()
for app in (limited, limited_in_threads):
    app.middlewares.append(ConcurrencyLimit(PLACES))


def make_limited() -> AsgiApp:
    return limited


# -- many listeners --------------------------------------------------------------------------------


def make_micropie() -> AsgiApp:
    class Room(App):
        async def ws_room(self, ws: WebSocket) -> None:
            await ws.accept()
            async with self.channels.subscribe(ROOM) as messages:
                async for message in messages:
                    await ws.send_text(message)

        async def events(self) -> EventStream:
            return EventStream(self._events(), heartbeat=600)

        async def _events(self) -> AsyncIterator[str]:
            async with self.channels.subscribe(ROOM) as messages:
                async for message in messages:
                    yield message

        async def publish(self) -> str:
            await self.channels.publish(ROOM, "news")
            return "published"

    return Room()


def make_starlette() -> AsgiApp:
    """As the documentation of broadcaster shows it."""
    from contextlib import asynccontextmanager

    from broadcaster import Broadcast
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse, StreamingResponse
    from starlette.routing import Route, WebSocketRoute
    from starlette.websockets import WebSocket as StarletteSocket

    broadcast = Broadcast("memory://")

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        await broadcast.connect()
        yield
        await broadcast.disconnect()

    async def room(ws: StarletteSocket) -> None:
        await ws.accept()
        async with anyio.create_task_group() as tasks:

            async def receive() -> None:
                async for _ in ws.iter_text():
                    pass
                tasks.cancel_scope.cancel()

            tasks.start_soon(receive)
            async with broadcast.subscribe(channel=ROOM) as subscriber:
                async for found in subscriber:
                    await ws.send_text(found.message)

    async def events(request: Request) -> StreamingResponse:
        async def chunks() -> AsyncIterator[str]:
            async with broadcast.subscribe(channel=ROOM) as subscriber:
                async for found in subscriber:
                    yield f"data: {found.message}\n\n"

        return StreamingResponse(chunks(), media_type="text/event-stream")

    async def publish(request: Request) -> PlainTextResponse:
        await broadcast.publish(channel=ROOM, message="news")
        return PlainTextResponse("published")

    app: AsgiApp = Starlette(
        routes=[
            WebSocketRoute("/room", room),
            Route("/events", events),
            Route("/publish", publish),
        ],
        lifespan=lifespan,
    )
    return app


def make_socketio() -> AsgiApp:
    """python-socketio with its own protocol; it has no server-sent events."""
    import socketio

    server = socketio.AsyncServer(async_mode="asgi", ping_interval=3600)

    @server.event
    async def connect(sid: str, environ: dict[str, Any]) -> None:
        await server.enter_room(sid, ROOM)

    async def publish(scope: Any, receive: Any, send: Any) -> None:
        await server.emit("news", "news", room=ROOM)
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]}
        )
        await send({"type": "http.response.body", "body": b"published"})

    app: AsgiApp = socketio.ASGIApp(server, other_asgi_app=publish)
    return app


ROOMS = {
    "micropie": make_micropie,
    "Starlette, broadcaster": make_starlette,
    "python-socketio": make_socketio,
}
