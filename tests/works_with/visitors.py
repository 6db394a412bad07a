"""Monitors, while two visitors at once are served by real servers: whom, what and which spans each
report names.

The servers run in this process, because the monitors give their reports to functions here instead
of sending them. Each visitor has a number, which is in everything that may be reported of it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from threading import Barrier, Thread
from typing import Any

import anyio
import httpx2
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from micropie import App, EventStream, Request, WebSocket, get, run_async, websocket
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE, until
from tests.works_with.listed import World

KINDS = [
    "def", "async_def", "run_async", "stream", "async_stream", "events", "after", "async_after",
]  # fmt: skip
PIECES = {"url", "user", "tag", "span", "error"}
PIECE = re.compile(rf"({'|'.join(PIECES)})-(\d{{4}})")


@dataclass
class Monitor:
    """What a program does with a monitor, and the texts of its reports, one for each."""

    wrap: Callable[[App, World], Any]
    mark: Callable[[str], object]  # sets the user and a tag
    span: Callable[[str], AbstractContextManager[object]]
    report: Callable[[Exception], object]
    reports: Callable[[], list[str]]


class Shop(App):
    """Each kind of request is marked, waits for the other visitor, has a span while it waits again,
    and fails.
    """

    def __init__(self, monitor: Monitor) -> None:
        super().__init__(on_error=monitor.report)
        self.monitor = monitor
        self.barrier = Barrier(2)
        self.failed: set[str] = set()

    def visit(self, number: str) -> None:
        self.monitor.mark(number)
        self.barrier.wait(PATIENCE)
        with self.monitor.span(f"span-{number}"):
            self.barrier.wait(PATIENCE)
        self.fail(number)

    async def visit_on_loop(self, number: str) -> None:
        self.monitor.mark(number)
        await anyio.to_thread.run_sync(self.barrier.wait, PATIENCE)
        with self.monitor.span(f"span-{number}"):
            await anyio.to_thread.run_sync(self.barrier.wait, PATIENCE)
        self.fail(number)

    def fail(self, number: str) -> None:
        self.failed.add(number)
        raise ValueError(f"error-{number}")

    @get("/quiet/<url>")
    def quiet(self, url: str) -> None:
        self.fail(url[-4:])

    @get("/def/<url>")
    def in_thread(self, url: str) -> None:
        self.visit(url[-4:])

    @get("/async_def/<url>")
    async def on_loop(self, url: str) -> None:
        await self.visit_on_loop(url[-4:])

    @get("/run_async/<url>")
    def to_loop(self, url: str) -> None:
        run_async(self.visit_on_loop, url[-4:])

    @get("/stream/<url>")
    def stream(self, url: str) -> Iterator[str]:
        yield "begun"
        self.visit(url[-4:])

    @get("/async_stream/<url>")
    async def async_stream(self, url: str) -> AsyncIterator[str]:
        yield "begun"
        await self.visit_on_loop(url[-4:])

    @get("/events/<url>")
    async def events(self, url: str) -> EventStream:
        return EventStream(self.async_stream(url))

    @get("/after/<url>")
    def after(self, url: str, request: Request) -> None:
        request.after_response(self.visit, url[-4:])

    @get("/async_after/<url>")
    async def async_after(self, url: str, request: Request) -> None:
        request.after_response(self.visit_on_loop, url[-4:])

    @websocket("/socket/<url>")
    async def socket(self, ws: WebSocket, url: str) -> None:
        await ws.accept()
        await self.visit_on_loop(url[-4:])


@contextmanager
def served(app: Any, world: World) -> Iterator[str]:
    """Serve an application in a thread, and yield the address."""
    port = free_port()
    serve = {"asyncio": _by_uvicorn, "trio": _by_hypercorn, "wsgi": _by_waitress}[world]
    with serve(app, port):
        yield f"127.0.0.1:{port}"


@contextmanager
def _by_uvicorn(app: Any, port: int) -> Iterator[None]:
    from uvicorn import Config, Server

    server = Server(Config(app, port=port, log_level="critical"))
    thread = Thread(target=server.run)
    thread.start()
    until(lambda: server.started)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def _by_hypercorn(app: Any, port: int) -> Iterator[None]:
    import trio
    from hypercorn import Config
    from hypercorn.trio import serve

    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.errorlog = None
    end, tokens = trio.Event(), list[trio.lowlevel.TrioToken]()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(
                lambda task_status: serve(
                    app, config, shutdown_trigger=end.wait, task_status=task_status, mode="asgi"
                )
            )
            tokens.append(trio.lowlevel.current_trio_token())

    thread = Thread(target=trio.run, args=(main,))
    thread.start()
    until(lambda: bool(tokens))
    try:
        yield
    finally:
        tokens[0].run_sync_soon(end.set)
        thread.join()


@contextmanager
def _by_waitress(app: Any, port: int) -> Iterator[None]:
    from waitress.server import create_server

    server = create_server(app, host="127.0.0.1", port=port, threads=4)
    Thread(target=server.run, daemon=True).start()
    try:
        yield
    finally:
        server.task_dispatcher.shutdown()


def ask(address: str, kind: str, number: str) -> None:
    with suppress(httpx2.TransportError, ConnectionClosed):  # it ends with a failure
        if kind == "socket":
            with connect(f"ws://{address}/socket/url-{number}", proxy=None) as ws:
                ws.recv(PATIENCE)
        else:
            httpx2.get(f"http://{address}/{kind}/url-{number}", timeout=PATIENCE)


def pieces_of(monitor: Monitor, world: World) -> dict[str, set[str]]:
    """Return what the reports of each kind of request have of each visitor, of "url", "user",
    "tag", "span" and "error".

    Each kind gets two visitors at once, and then one that isn't marked, twice. Fails if a report
    has something of two visitors.
    """
    app = Shop(monitor)
    kinds: dict[str, str] = {}

    def visit(kind: str, visitors: int) -> None:
        numbers = [f"{len(kinds) + one:04}" for one in range(visitors)]
        kinds.update(dict.fromkeys(numbers, kind))
        with ThreadPoolExecutor(visitors) as pool:
            list(pool.map(lambda number: ask(address, kind, number), numbers))
        until(lambda: app.failed.issuperset(numbers))

    with served(monitor.wrap(app, world), world) as address:
        for kind in [*KINDS, *([] if world == "wsgi" else ["socket"])] * 2:
            visit(kind, 2)
            visit("quiet", 1)
    found: dict[str, set[str]] = {number: set() for number in kinds}
    for text in monitor.reports():
        pieces = set(PIECE.findall(text))
        visitors = {number for _, number in pieces}
        assert len(visitors) <= 1, (kinds[min(visitors)], sorted(pieces))
        for piece, number in pieces:
            found[number].add(piece)
    return {
        kind: set.intersection(*(found[number] for number in kinds if kinds[number] == kind))
        for kind in {*kinds.values()}
    }


def check(monitor: Monitor, world: World, **lacks: str) -> None:
    """Check that no visitor reaches another's report, and that the reports of each kind have all
    that is in ``PIECES``, except ``lacks``.
    """
    found = pieces_of(monitor, world)
    assert found.pop("quiet") == {"url", "error"}
    lacking = {kind: PIECES - pieces for kind, pieces in found.items()}
    unexpected = {
        kind: more
        for kind, some in lacking.items()
        if (more := some - {*lacks.get(kind, "").split()})
    }
    assert unexpected == {}, unexpected
