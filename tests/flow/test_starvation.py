"""Threads and a pool of connections: a request that holds a connection never waits for a thread
behind those that wait for the connection.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from micropie import App, HttpMiddleware, Request, Response, requires, static_file
from micropie._core.execution import threads as workers
from micropie._core.execution.placement import Rank, Threads
from micropie._core.execution.steps import after_response
from micropie._core.execution.threads import Slots, slots_of
from micropie.middleware import Timeout
from tests.asgi.calls import Call, get, run
from tests.support.waiting import PATIENCE

MANY = 70  # chunks: more than one turn makes


class Pool:
    """Connections. ``asked`` and ``taken`` are released by each thread that asks for one, or has
    got one.
    """

    def __init__(self, size: int) -> None:
        self._free = threading.Semaphore(size)
        self.asked, self.taken = threading.Semaphore(0), threading.Semaphore(0)

    def take(self) -> None:
        self.asked.release()
        if not self._free.acquire(timeout=PATIENCE / 2):
            raise TimeoutError("no connection came back")
        self.taken.release()

    def give(self) -> None:
        self._free.release()


class Eager:
    """A connection that its provider takes."""


class Lazy:
    """A connection that the handler takes."""

    def __init__(self, pool: Pool) -> None:
        self._pool, self._is_held = pool, False

    def query(self) -> None:
        self._pool.take()
        self._is_held = True

    def close(self) -> None:
        if self._is_held:
            self._pool.give()


class Gate:
    """What an async provider gives when it has waited."""


class Plain:
    """What a provider gives that takes no connection."""


class Objects(HttpMiddleware):
    """Holds a connection around a handler."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def before_request(self, request: Request) -> None:
        if request.path.startswith("/objects"):
            self._pool.take()

    def after_request(self, request: Request, *_: object) -> None:
        if request.path.startswith("/objects"):
            self._pool.give()


def checks(request: Request, connection: Eager) -> bool:
    return True


class Shop(App):
    """Each path holds a connection in its own way; whoever holds one waits for ``go_on``."""

    def __init__(self, threads: int, connections: int, hooks: int = 0, **given: Any) -> None:
        super().__init__(threads=threads, **given)
        self.db, self.go_on = Pool(connections), threading.Event()
        self.middlewares += [self.around, Objects(self.db)]
        for place in range(hooks):  # whose awaiting separates the threads' parts
            self.middlewares.insert(2 * place, self.awaits)
        self.provides(Eager)(self.eager_connection)
        self.provides(Lazy)(self.lazy_connection)
        self.provides(Gate)(self.gate)
        self.provides(Plain)(self.plain)

    async def awaits(self, request: Request) -> AsyncIterator[None]:
        await checkpoint()
        yield

    def around(self, request: Request) -> Iterator[None]:
        if not request.path.startswith("/hooked"):
            yield
            return
        self.db.take()
        try:
            yield
        finally:
            self.db.give()

    def eager_connection(self) -> Iterator[Eager]:
        self.db.take()
        try:
            yield Eager()
        finally:
            self.db.give()

    def lazy_connection(self) -> Iterator[Lazy]:
        connection = Lazy(self.db)
        yield connection
        connection.close()

    async def gate(self) -> AsyncIterator[Gate]:
        await self._waits()
        yield Gate()

    def plain(self) -> Iterator[Plain]:
        yield Plain()

    async def _waits(self) -> None:
        while not self.go_on.is_set():  # noqa: ASYNC110 - it is a thread's event
            await anyio.sleep(0.005)

    def eager(self, connection: Eager) -> str:
        self.go_on.wait(PATIENCE)
        return "done"

    def lazy(self, connection: Lazy) -> str:
        connection.query()
        self.go_on.wait(PATIENCE)
        return "done"

    async def eager_async(self, connection: Eager) -> str:
        await self._waits()
        return "done"

    async def opened(self) -> str:
        async with self.request.resource(Eager):
            await self._waits()
            async with self.request.resource(Plain):
                return "done"

    def gated(self, connection: Eager, gate: Gate, plain: Plain) -> str:
        return "done"

    @requires(checks)
    def checked(self) -> str:
        self.go_on.wait(PATIENCE)
        return "done"

    def hooked(self) -> str:
        self.go_on.wait(PATIENCE)
        return "done"

    async def hooked_async(self) -> str:
        await self._waits()
        return "done"

    def hooked_gated(self, gate: Gate) -> str:
        return "done"

    objects, objects_async, objects_gated = hooked, hooked_async, hooked_gated

    def file(self, connection: Eager) -> Response:  # which other threads open
        return static_file(Path(__file__).name, root=Path(__file__).parent)

    @Timeout(PATIENCE)
    def limited(self, connection: Lazy) -> str:
        return self.lazy(connection)

    def stream(self) -> Iterator[str]:
        self.db.take()
        try:
            yield "do"
            self.go_on.wait(PATIENCE)
            for _ in range(MANY):
                yield "n"
            yield "e"
        finally:
            self.db.give()

    def stream_of_transactions(self) -> Iterator[str]:
        for _ in range(3):
            self.db.take()
            try:
                for _ in range(MANY):
                    yield "n"
            finally:
                self.db.give()

    def provided_stream(self, connection: Eager) -> Iterator[str]:
        yield "do"
        self.go_on.wait(PATIENCE)
        for _ in range(MANY):
            yield "n"
        yield "e"

    def after(self) -> str:
        self.db.take()
        self.go_on.wait(PATIENCE)
        self.request.after_response(self.db.give)
        return "done"

    def audit(self) -> str:
        self.request.after_response(self._audits)
        return "done"

    def _audits(self) -> None:
        self.db.take()
        self.db.give()


async def serve(app: Shop, path: str, calls: list[Call]) -> None:
    calls.append(await get(app, path))


@pytest.mark.parametrize(
    ("holder", "others", "blocked"),
    [
        ("/eager", "/eager", 1),
        ("/lazy", "/lazy", 1),
        ("/limited", "/lazy", 1),
        ("/eager_async", "/eager", 2),
        ("/opened", "/eager", 2),
        ("/gated", "/eager", 2),
        ("/checked", "/checked", 1),
        ("/hooked", "/hooked", 1),
        ("/hooked_async", "/hooked", 2),
        ("/hooked_gated", "/hooked", 2),
        ("/objects", "/objects", 1),
        ("/objects_async", "/objects", 2),
        ("/objects_gated", "/objects", 2),
        ("/stream", "/lazy", 1),
        ("/provided_stream", "/stream", 1),
        ("/after", "/audit", 1),
    ],
)
def test_a_request_that_holds_a_connection_ends_although_all_threads_wait_for_it(
    backend: str, holder: str, others: str, blocked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(after_response, "_THREADS", Threads(1, 1000))
    # what runs after the response may do either, so it goes on when no thread comes back
    monkeypatch.setattr(workers, "STALLED", 0.02 if holder == "/after" else 10 * PATIENCE)
    app = Shop(threads=2, connections=1)
    calls: list[Call] = []

    async def main() -> None:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(serve, app, holder, calls)
                await anyio.to_thread.run_sync(app.db.taken.acquire)
                for _ in range(6):
                    tasks.start_soon(serve, app, others, calls)
                for _ in range(1 + blocked):
                    await anyio.to_thread.run_sync(app.db.asked.acquire)
                await anyio.wait_all_tasks_blocked()
                app.go_on.set()
        finally:
            app.go_on.set()
        assert slots_of(app._micropie.config().threads).usage() == (0, 0, 2)

    run(backend, main)
    assert [call.status for call in calls] == [200] * 7
    assert all(call.body.startswith(b"do") and call.body.endswith(b"ne") for call in calls)


WAYS = [name for name in vars(Shop) if callable(vars(Shop)[name]) and name[0] != "_"]
PATHS = sorted(
    {*WAYS} - {"awaits", "around", "gate", "plain"} - {"eager_connection", "lazy_connection"}
)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=25)
@given(
    threads=st.integers(1, 4),
    connections=st.integers(1, 3),
    hooks=st.integers(0, 2),
    paths=st.lists(st.sampled_from(PATHS), min_size=5, max_size=30),
)
def test_requests_never_deadlock_between_connections_and_threads(
    backend: str, threads: int, connections: int, hooks: int, paths: list[str]
) -> None:
    app = Shop(threads, connections, hooks)
    app.go_on.set()
    calls: list[Call] = []

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for path in paths:
                tasks.start_soon(serve, app, f"/{path}", calls)
        assert slots_of(app._micropie.config().threads).usage() == (0, 0, threads)

    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(after_response, "_THREADS", Threads(1, 1000))
        patches.setattr(workers, "STALLED", 0.02)
        run(backend, main)
    assert [call.status for call in calls] == [200] * len(paths)
    for _ in range(connections):  # all are back
        app.db.take()


@pytest.mark.parametrize("has_hook", [True, False])
def test_an_overloaded_request_is_refused_before_its_first_part_runs(
    backend: str, has_hook: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A generator that has not begun needs no thread for its end either."""
    app = Shop(threads=1, connections=1, thread_queue=0)
    app.middlewares[:] = [app.around] if has_hook else []
    calls: list[Call] = []
    taken: list[int] = []
    take = Slots.take

    async def noted(slots: Slots, rank: Rank = Rank.WAITING) -> None:
        await take(slots, rank)
        taken.append(rank)

    async def main() -> None:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(serve, app, "/lazy", calls)
                await anyio.to_thread.run_sync(app.db.taken.acquire)
                monkeypatch.setattr(Slots, "take", noted)
                for path in ("/eager", "/lazy", "/checked"):
                    refused = await get(app, path)
                    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
                assert taken == []
                assert (await get(app, "/stream")).status == 503
                app.go_on.set()
        finally:
            app.go_on.set()
        for path in ("/eager", "/hooked", "/stream", "/checked"):
            assert (await get(app, path)).status == 200

    run(backend, main)
    assert [call.status for call in calls] == [200]
