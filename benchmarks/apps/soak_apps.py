"""What ``benchmarks.soak`` serves: a mixed site, a site with a limit, and rooms with many listeners
by three makers.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio

from benchmarks.harness import AsgiApp, Message, Receive, Send
from micropie import (
    App,
    EventStream,
    Redirect,
    UploadFile,
    WebSocket,
    event,
    get,
    max_body_size,
    post,
    reads_body,
    run_in,
)
from micropie.channels import RedisChannels
from micropie.middleware import ConcurrencyLimit, RequestId
from micropie.sessions import RedisSessionBackend, SQLiteSessionBackend

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

ROOM = "room"
PLACES = 10  # requests at once in the limited site
SECONDS = 0.1  # that each of them waits, as for a database


# -- soak ------------------------------------------------------------------------------------------

FILES = Path(__file__).parent  # what the site of the soak serves
FEED = "feed"


class Tally(Counter[str]):
    """What began and ended in this worker."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = Lock()

    def add(self, name: str) -> None:
        with self._lock:
            self[name] += 1

    @contextmanager
    def stream(self) -> Iterator[None]:
        self.add("begun")
        try:
            yield
        finally:
            self.add("closed")


tally = Tally()


class Sums(App):
    """Handlers of a pool: its objects have no state."""

    @run_in("process")
    def sum(self, size: int) -> int:
        return sum(range(size))

    @post
    @reads_body
    @run_in("process")
    def turned(self) -> bytes:
        return self.request.read()[::-1]

    @run_in("process")
    def rows(self, count: int) -> Iterator[str]:
        for number in range(count):
            yield f"row {number}\n"


class Counting(App):
    @post
    def add(self) -> int:
        return self.request.session.update_atomic("count", lambda count: (count or 0) + 1)

    def count(self) -> int:
        return int(self.request.session.get("count", 0))


class Mixed(Counting):
    """A little of everything, and nothing that grows by itself: as many sessions as clients, no
    list of messages.
    """

    async def plain(self) -> str:
        return "Hello, World!"

    @get
    def only_get(self) -> str:
        return "got"

    @post
    def data(self, numbers: list[int]) -> dict[str, int]:
        return {"sum": sum(numbers)}

    def form(self, name: str, city: str) -> str:
        return f"{name} from {city}"

    @post
    def upload(self, file: UploadFile) -> str:
        return str(len(file.file.read()))

    @max_body_size(1000)
    @post
    def small(self, text: str) -> str:
        return text

    def moved(self) -> None:
        raise Redirect("/plain")

    def fails(self) -> None:
        raise RuntimeError("as it should")

    def numbers(self) -> Iterator[str]:
        with tally.stream():
            for number in range(20):
                yield f"line {number}\n"

    async def lines(self) -> AsyncIterator[str]:
        with tally.stream():
            for number in range(20):
                await anyio.lowlevel.checkpoint()
                yield f"line {number}\n"

    async def endless(self) -> AsyncIterator[str]:
        with tally.stream():
            while True:
                yield "x" * 1000
                await anyio.sleep(0.01)

    async def ticks(self, count: int) -> EventStream:
        return EventStream(self._ticks(count))

    async def _ticks(self, count: int) -> AsyncIterator[object]:
        with tally.stream():
            for number in range(count):
                yield event({"number": number})
                await anyio.sleep(0.01)

    async def feed(self) -> EventStream:
        return EventStream(self._feed())

    async def _feed(self) -> AsyncIterator[object]:
        with tally.stream():
            async with self.channels.subscribe(FEED) as messages:
                yield event("subscribed")
                async for message in messages:
                    yield event(message)

    @post
    async def say(self, text: str) -> str:
        await self.channels.publish(FEED, text)
        return "said"

    @post
    def later(self) -> str:
        self.request.after_response(tally.add, "later")
        return "later"

    async def ws_echo(self, ws: WebSocket) -> None:
        with tally.stream():
            await ws.accept()
            async for message in ws:
                await ws.send_text(str(message))


def mounted_wsgi(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "4")])
    return [b"wsgi"]


async def mounted_asgi(scope: Message, receive: Receive, send: Send) -> None:
    start = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]}
    await send(start)
    await send({"type": "http.response.body", "body": b"asgi"})


class Look(NamedTuple):
    """A worker at one moment."""

    at: float
    pid: int
    mib: float
    descriptors: int
    threads: int
    tasks: int
    objects: int
    garbage: int
    begun: int
    closed: int
    later: int


def look(loop: asyncio.AbstractEventLoop) -> Look:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Look(
        time.time(),
        os.getpid(),
        pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        len(list(Path("/proc/self/fd").iterdir())),
        len(list(Path("/proc/self/task").iterdir())),
        len(asyncio.all_tasks(loop)),
        len(gc.get_objects()),
        len(gc.garbage),
        *(tally[name] for name in ("begun", "closed", "later")),
    )


def make_mixed() -> App:
    """Return the site. ``SOAK_REDIS`` is the URL of its Redis, ``SOAK_DIRECTORY`` where its SQLite
    file is, and where each worker writes a `Look` every ``SOAK_EVERY`` seconds and at its end.
    """
    redis, directory = os.environ["SOAK_REDIS"], Path(os.environ["SOAK_DIRECTORY"])
    app = Mixed(
        session_backend=RedisSessionBackend(redis), channels=RedisChannels(redis), processes=1
    )
    app.lite = Counting(session_backend=SQLiteSessionBackend(directory / "sessions.sqlite"))
    app.sums = Sums()
    app.mount("/wsgi", mounted_wsgi, "wsgi")
    app.mount("/asgi", mounted_asgi, "asgi")
    app.static("/files", FILES)
    app.health()
    app.metrics()
    app.middlewares.append(RequestId())
    ended = Event()

    def write(loop: asyncio.AbstractEventLoop) -> None:
        with (directory / f"{os.getpid()}.looks").open("a") as file:
            file.write(json.dumps(look(loop)) + "\n")

    def watch(loop: asyncio.AbstractEventLoop) -> None:
        while not ended.wait(float(os.environ["SOAK_EVERY"])):
            write(loop)

    async def begin() -> None:
        Thread(target=watch, args=(asyncio.get_running_loop(),), daemon=True).start()

    async def end() -> None:
        ended.set()
        write(asyncio.get_running_loop())

    app.startup_handlers.append(begin)
    app.shutdown_handlers.append(end)
    return app


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
            await ws.forward(self.channels.subscribe(ROOM))
            async for _ in ws:
                pass

        async def events(self) -> EventStream:
            return EventStream(self.channels.subscribe(ROOM), heartbeat=600)

        async def publish(self, number: str = "") -> str:
            await self.channels.publish(ROOM, f"news{number};")
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
