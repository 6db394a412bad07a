"""What is cancelled is cancelled once, may clean up, and is cancelled by level when the grace is
over: the same for each kind of code and each reason.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from threading import Event
from typing import Any, NamedTuple

import anyio
import pytest

from micropie import App, EventStream, HTTPError, SetupError, WebSocket
from micropie._core.execution.cancellation import GracefulScope, awaited_future
from micropie._core.execution.loop import TASKS
from micropie.middleware import Timeout, ends_with_client
from tests.asgi.calls import Call, Lifespan, every_loop, get, http_scope, piece
from tests.asgi.calls import run as run_in_real_time
from tests.asgi.websocket.test_servers_differ import Server
from tests.support.virtual_time import run_in_virtual_time as run
from tests.support.waiting import PATIENCE
from tests.wsgi.calls import environ_for

GRACE = 2.0
LIMIT = 1.0


class Database:
    """Runs queries as the driver of a database does: only one that may await ends its query."""

    def __init__(self) -> None:
        self.running = 0

    async def query(self) -> None:
        self.running += 1
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            await asyncio.sleep(0.1)  # asks the server to end the query, and reads its reply
            self.running -= 1
            raise


class Root(App):
    """The code to cancel, for each reason."""

    def __init__(self, code: Callable[[Database], Awaitable[object]], grace: float = GRACE) -> None:
        super().__init__(cancel_grace=grace, websocket_grace=LIMIT)
        self.code = code
        self.database = Database()
        self.notes: list[str] = []
        self.has_begun = False

    async def _run(self) -> str:
        self.has_begun = True
        try:
            result = await self.code(self.database)
            self.notes.append(f"returned {result}")
        finally:
            await asyncio.sleep(0.1)
            self.notes.append("cleaned up")
        return "kept"

    async def limited(self) -> str:
        return await self._run()

    @ends_with_client
    async def watched(self) -> str:
        return await self._run()

    async def first_chunk(self) -> AsyncIterator[str]:
        yield await self._run()

    async def later_chunk(self) -> AsyncIterator[str]:
        yield "first "
        yield await self._run()

    async def events(self) -> EventStream:
        return EventStream(self.later_chunk())

    async def ws_socket(self, ws: WebSocket) -> None:
        await ws.accept()
        await self._run()


# -- the reasons -----------------------------------------------------------------------------------


async def time_limit(app: Root) -> int:
    app.middlewares.append(Timeout(LIMIT))
    return (await get(app, "/limited")).status


def leaving(path: str) -> Callable[[Root], Awaitable[None]]:
    async def leave(app: Root) -> None:
        call = Call(piece(b""))
        asyncio.get_running_loop().call_later(LIMIT, call.leave)
        await app(http_scope("GET", path), call.receive, call.send)

    return leave


async def leaving_socket(app: Root) -> None:
    server = Server()
    server.leave()
    await server.serve(app, path="/socket", raw_path=b"/socket")


async def shutdown(app: Root) -> None:
    lifespan, call = Lifespan(app, {}), Call(piece(b""))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lifespan.run)
        await lifespan.say("startup")
        tasks.start_soon(app, http_scope("GET", "/events"), call.receive, call.send)
        await asyncio.sleep(LIMIT)
        await lifespan.say("shutdown")
    lifespan.close()


REASONS: list[Callable[[Root], Awaitable[int | None]]] = [
    time_limit,
    leaving("/watched"),
    leaving("/first_chunk"),
    leaving("/later_chunk"),
    leaving_socket,
    shutdown,
]
NAMES = ["limit", "ends_with_client", "first_chunk", "later_chunk", "socket", "shutdown"]


# -- the kinds of code -----------------------------------------------------------------------------


async def query(database: Database) -> None:
    await database.query()


async def asyncio_group(database: Database) -> None:
    async with asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(database.query())


async def inner_limit(database: Database) -> None:
    with anyio.fail_after(500):
        await database.query()


async def shielded(database: Database) -> None:
    with anyio.CancelScope(shield=True):
        await asyncio.sleep(LIMIT + 0.5)
    await database.query()


async def shielded_briefly(database: Database) -> None:
    with anyio.CancelScope(shield=True), anyio.move_on_after(LIMIT + 0.5):
        await asyncio.sleep(1000)
    await database.query()


async def shielded_to_its_end(_: Database) -> str:
    with anyio.CancelScope(shield=True):
        await asyncio.sleep(LIMIT + 0.5)
    return "in time"


async def in_many_shields(_: Database) -> None:
    """Between two shields, wait for one turn of the event loop only."""
    for _time in range(20):
        await anyio.lowlevel.checkpoint()
        with anyio.CancelScope(shield=True):
            await asyncio.sleep(0.303)


async def iterating_in_shields(database: Database) -> None:
    async def items() -> AsyncIterator[None]:
        await in_many_shields(database)
        yield

    async for _ in items():
        pass


async def awaited_task(database: Database) -> None:
    await asyncio.create_task(database.query())


async def catching(_: Database) -> str:
    try:
        await asyncio.sleep(1000)
    except asyncio.CancelledError:
        return "in time"
    raise AssertionError


async def stubborn(_: Database) -> None:
    for _time in range(2):
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            continue


async def cleaning_up_by_anyio(database: Database) -> None:
    try:
        await database.query()
    finally:
        async with anyio.Lock():
            with anyio.move_on_after(500):
                await anyio.sleep(0.1)


async def anyio_group(_: Database) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.sleep, 1000)
        tasks.start_soon(anyio.sleep, 1000)


class Kind(NamedTuple):
    code: Callable[[Database], Awaitable[object]]
    notes: tuple[str, ...] = ("cleaned up",)
    status: int = 503


KINDS = [
    Kind(query),
    Kind(asyncio_group),
    Kind(inner_limit),
    Kind(shielded),
    Kind(shielded_briefly),
    Kind(shielded_to_its_end, ("returned in time",)),  # the next wait is cancelled
    Kind(in_many_shields),
    Kind(iterating_in_shields),
    Kind(awaited_task),
    Kind(catching, ("returned in time", "cleaned up"), 200),
    Kind(stubborn, ("returned None",)),  # by level in the end, so it can't clean up
    Kind(cleaning_up_by_anyio),
    Kind(anyio_group),
]
each_kind = pytest.mark.parametrize("kind", KINDS, ids=[kind.code.__name__ for kind in KINDS])


@each_kind
@pytest.mark.parametrize("reason", REASONS, ids=NAMES)
def test_code_is_cancelled_once_and_may_clean_up(
    kind: Kind, reason: Callable[[Root], Awaitable[int | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # measured by the real clock
    monkeypatch.setattr("micropie.asgi.streaming.WATCH_AFTER", 0)
    app = Root(kind.code)

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        status = await reason(app)
        if status is not None:
            assert status == kind.status
        assert task.cancelling() == 0
        # another time limit in this task still works
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.sleep(1000)

    run("asyncio", main)
    assert app.notes == [*kind.notes]
    assert app.database.running == 0


@each_kind
def test_cancellation_works_the_same_on_the_background_loop(kind: Kind) -> None:
    if "shield" in kind.code.__name__:
        pytest.skip("waits for real seconds")
    # only one kind uses up its grace; the others clean up within it, on a busy machine as well
    app = Root(kind.code, GRACE if kind.code is stubborn else PATIENCE)
    app.middlewares.append(Timeout(0.05))
    statuses: list[str] = []
    while not app.has_begun:  # the limit may end before the handler has begun
        list(app(environ_for("GET", "/limited"), lambda status, *_: statuses.append(status)))
    assert [int(status[:3]) for status in statuses] == [503] * (len(statuses) - 1) + [kind.status]
    assert app.notes == [*kind.notes]
    assert app.database.running == 0


def test_a_future_is_found_without_asking_proxies_or_another_loop_s_futures() -> None:
    class Proxy:
        def __getattribute__(self, name: str) -> object:
            raise RuntimeError("outside of a request")

    def advance_manually(proxy: Proxy, future: asyncio.Future[None]) -> Iterator[None]:
        yield

    loop, other = asyncio.new_event_loop(), asyncio.new_event_loop()
    future = other.create_future()
    steps = advance_manually(Proxy(), future)
    next(steps)
    assert awaited_future(steps, loop) is None
    assert awaited_future(steps, other) is future
    loop.close()
    other.close()


def limited(seconds: float = LIMIT, **settings: Any) -> App:
    app = App(**settings)
    app.middlewares.append(Timeout(seconds))
    return app


@every_loop
def test_a_result_within_the_limit_is_kept(backend: str) -> None:
    """Neither a handler that has left its shield nor one that catches the cancellation waits."""
    app = limited()

    @app.get("/shielded")
    async def _() -> str:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(LIMIT + 0.5)
        return "kept"

    @app.get("/caught")
    async def _() -> str:
        try:
            await anyio.sleep(1000)
        except anyio.get_cancelled_exc_class():
            return "kept"
        raise AssertionError

    for path in "/shielded", "/caught":
        assert run(backend, get, app, path).body == b"kept"


def test_an_awaited_thread_is_waited_for() -> None:
    """``to_thread.run_sync`` shields itself: nothing that the thread uses may be closed."""
    app, notes, end = limited(0.05), list[str](), Event()

    @app.get("/")
    async def _() -> None:
        try:
            await anyio.to_thread.run_sync(end.wait)
            notes.append("thread")
            await anyio.sleep(1000)
        finally:
            notes.append("handler")

    async def main() -> int:
        async with anyio.create_task_group() as tasks:
            # the limit is over, and tried again several times
            tasks.start_soon(later, 0.2, end.set)
            call = await get(app)
        return call.status

    assert run_in_real_time("asyncio", main) == 503
    assert notes == ["thread", "handler"]


async def later(seconds: float, function: Callable[[], object]) -> None:
    await anyio.sleep(seconds)
    function()


@pytest.mark.parametrize("first", ["ours", "theirs", "both"])
def test_a_server_s_cancellation_is_not_taken_for_the_time_limit(first: str) -> None:
    app = Root(query)

    async def main() -> None:
        app.middlewares.append(Timeout(LIMIT))
        task = asyncio.create_task(get(app, "/limited"))
        at = {"ours": LIMIT + 0.15, "theirs": LIMIT - 0.05, "both": LIMIT}[first]
        asyncio.get_running_loop().call_later(at, task.cancel)
        await asyncio.wait([task])
        assert task.cancelled()

    run("asyncio", main)
    assert app.notes == ["cleaned up"] if first == "theirs" else app.notes in ([], ["cleaned up"])


def test_an_uncaught_cancellation_does_not_disable_the_time_limit() -> None:
    """Who catches a cancellation has to call ``uncancel``, and few do."""
    app, notes = limited(cancel_grace=GRACE), list[float]()

    @app.get("/")
    async def handler() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            began = anyio.current_time()
        try:
            await asyncio.sleep(1000)
        finally:
            notes.append(anyio.current_time() - began)

    async def main() -> None:
        task = asyncio.create_task(get(app))
        await asyncio.wait([task])

    run("asyncio", main)
    assert notes == [pytest.approx(LIMIT + GRACE)]


@every_loop
def test_a_failing_cleanup_is_logged_once_and_the_client_gets_a_503(
    backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    reported: list[BaseException] = []
    app = limited(on_error=reported.append)

    @app.get("/")
    async def handler() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(failing)
            await anyio.sleep(1000)

    async def failing() -> None:
        try:
            await anyio.sleep(1000)
        finally:
            raise OSError("the clean-up failed")

    with caplog.at_level(logging.INFO, "micropie"):
        assert run(backend, get, app).status == 503
    (record,) = caplog.records
    assert record.exc_info is not None
    assert "did not finish within 1 s" in record.getMessage()
    assert "the clean-up failed" in caplog.text
    assert not reported


@every_loop
def test_an_error_that_a_cancelled_handler_raises_is_sent(backend: str) -> None:
    app = limited()

    @app.get("/")
    async def handler() -> None:
        try:
            await anyio.sleep(1000)
        finally:
            raise HTTPError(504, "The other service is slow.")

    assert run(backend, get, app).status == 504


@every_loop
def test_an_error_before_the_limit_is_raised(backend: str) -> None:
    app = limited()

    @app.get("/")
    async def handler() -> None:
        raise LookupError

    assert run(backend, get, app).status == 500


def test_under_trio_every_cancellation_is_by_level() -> None:
    app, notes = limited(cancel_grace=GRACE), list[str]()

    @app.get("/")
    async def handler() -> None:
        try:
            await anyio.sleep(1000)
        finally:
            notes.append("cancelled")
            await anyio.sleep(0.1)
            notes.append("cleaned up")

    assert run("trio", get, app).status == 503
    assert notes == ["cancelled"]


def test_the_grace_is_a_second_by_default() -> None:
    app, times = limited(), list[float]()

    @app.get("/")
    async def handler() -> None:
        try:
            await anyio.sleep(1000)
        finally:
            times.append(anyio.current_time())
            try:
                await anyio.sleep(1000)
            finally:
                times.append(anyio.current_time())

    run("asyncio", get, app)
    assert times[1] - times[0] == pytest.approx(1.0)


def test_a_task_that_cancels_its_own_scope_is_cancelled_at_its_next_await() -> None:
    async def main() -> None:
        with GracefulScope(TASKS.get()) as scope:
            scope.cancel(GRACE)
            scope.cancel(GRACE)
            await asyncio.sleep(0)
            await asyncio.sleep(1000)
        assert scope.cancelled_caught
        assert scope.cancel_called

    run("asyncio", main)


def test_a_scope_may_be_cancelled_from_a_callback_and_from_another_task() -> None:
    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        for by_task in (True, False):
            with GracefulScope(TASKS.get()) as scope:
                if by_task:
                    other = asyncio.create_task(later(1, lambda: scope.cancel(GRACE)))
                else:
                    asyncio.get_running_loop().call_later(1, scope.cancel, GRACE)
                await asyncio.sleep(1000)
            assert scope.cancelled_caught
            assert task.cancelling() == 0
        await other

    run("asyncio", main)


@pytest.mark.parametrize("grace", [0, -1, "1", True])
def test_a_grace_is_a_number_of_seconds(grace: Any) -> None:
    with pytest.raises(SetupError, match="cancel_grace"):
        App(cancel_grace=grace)
