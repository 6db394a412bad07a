"""``run_async``: the same answer under every server. anyio's ``from_thread`` in ``def`` code, under
ASGI.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio import from_thread

from micropie import App, HTTPError, HttpMiddleware, reads_body, run_async, run_in, where
from micropie._core.execution import Slots, background, threads
from micropie._core.execution.loop import LoopTasks, running_loop
from micropie.middleware import Timeout
from tests.asgi.calls import DISCONNECT, Call, get, http_scope, piece, run
from tests.support.clients import MakeClient
from tests.support.waiting import PATIENCE

mark: ContextVar[str] = ContextVar("mark", default="unset")


class Connection:
    """What a provider opens."""


async def loop_of_connection() -> Any:
    return running_loop()


async def connection() -> AsyncIterator[Any]:
    await anyio.lowlevel.checkpoint()
    yield running_loop()


class Asks(HttpMiddleware):
    def before_request(self, request: Any) -> None:
        request.state.before = run_async(place, "before")


async def place(mark_with: str) -> str:
    await anyio.lowlevel.checkpoint()
    mark.set(mark_with)
    return where()


class Root(App):
    ended: threading.Event
    failure: BaseException

    def index(self) -> str:
        return f"{run_async(place, 'there')} {mark.get()} {where()} {self.request.state.before}"

    def chunks(self) -> Iterator[str]:
        for _ in range(3):
            yield run_async(self._path)

    async def _path(self) -> str:
        await anyio.lowlevel.checkpoint()
        return self.request.path

    def fails(self) -> str:
        return run_async(self._fail)

    async def _fail(self) -> str:
        raise HTTPError(418, "I refuse.")

    @reads_body
    def reads(self) -> Any:
        return run_async(self.request.body)

    def later(self) -> str:
        self.ended = threading.Event()
        self.request.after_response(self._note)
        return "now"

    def _note(self) -> None:
        self.request.state.path = run_async(self._path)
        self.ended.set()

    async def awaits(self) -> str:
        return run_async(self._path)

    @run_in("loop")
    def quick(self) -> str:
        return run_async(self._path)

    def in_another(self) -> str:
        def ask() -> None:
            try:
                run_async(self._path)
            except LookupError as error:
                self.failure = error

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        return str(self.failure)

    def in_its_own(self) -> list[Any]:
        def asks() -> Any:
            return run_async(loop_of_connection)

        def opens() -> Any:
            with self.request.resource(Connection) as loop:
                return loop

        def fails() -> Any:
            return run_async(self._fail)

        own = asks()
        with ThreadPoolExecutor(1) as executor:
            asked, opened, failed = (
                executor.submit(copy_context().run, function) for function in (asks, opens, fails)
            )
            return [str(failed.exception()), asked.result() is own, opened.result() is own]

    @reads_body
    def reads_in_its_own(self) -> str:
        with ThreadPoolExecutor(1) as executor:
            return executor.submit(copy_context().run, self.request.read).result().decode()

    async def in_asyncio_s(self) -> bool:
        return await asyncio.to_thread(run_async, loop_of_connection) is running_loop()


@pytest.fixture
def root() -> Root:
    app = Root()
    app.middlewares.append(Asks())
    return app


def test_run_async_runs_on_a_loop_and_shares_context_variables(
    make_client: MakeClient, root: Root
) -> None:
    assert make_client(root).get("/").text == "loop there thread loop"


def test_run_async_works_in_generators_and_after_the_response(
    make_client: MakeClient, root: Root
) -> None:
    client = make_client(root)
    assert client.get("/chunks").text == "/chunks" * 3
    assert client.get("/later").text == "now"
    assert root.ended.wait(PATIENCE)


def test_run_async_can_receive_the_body(make_client: MakeClient, root: Root) -> None:
    assert make_client(root).post("/reads", content=b"a body").text == "a body"


def test_an_exception_of_run_async_is_raised_in_the_caller(
    make_client: MakeClient, root: Root
) -> None:
    answer = make_client(root).get("/fails")
    assert (answer.status_code, "I refuse." in answer.text) == (418, True)


def test_run_async_on_the_loop_says_to_await(
    make_client: MakeClient, root: Root, world: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(root)
    assert client.get("/awaits").status_code == 500
    assert "await <bound method Root._path" in caplog.text
    assert client.get("/quick").status_code == (200 if world == "wsgi" else 500)


def test_run_async_in_an_unrelated_thread_has_no_request(
    make_client: MakeClient, root: Root
) -> None:
    assert make_client(root).get("/in_another").text.startswith("there is no current request")


@pytest.mark.parametrize("lifespan", [True, False])
def test_a_thread_that_the_handler_starts_uses_the_same_event_loop(
    make_client: MakeClient, root: Root, world: str, lifespan: bool
) -> None:
    root.provides(Connection)(connection)
    client = make_client(root, lifespan=lifespan)
    is_same = lifespan or world == "wsgi"  # without a lifespan, the server's loop isn't known
    assert client.get("/in_its_own").json() == ["I refuse.", is_same, is_same]
    if is_same:
        assert client.post("/reads_in_its_own", content=b"a body").text == "a body"
    if world != "trio":
        assert client.get("/in_asyncio_s").json() is is_same


def test_a_thread_does_not_wait_for_a_loop_that_has_been_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(background, "_LOOK_EVERY", 0.01)

    async def tasks_here() -> LoopTasks:
        return LoopTasks()

    # the loop stops before it starts the task, as when a server ends
    loop = asyncio.new_event_loop()
    tasks = loop.run_until_complete(tasks_here())
    has_asked, ask = threading.Event(), tasks.call_soon

    def call_soon(call: Callable[[], object]) -> None:
        ask(call)
        has_asked.set()

    tasks.call_soon = call_soon
    with ThreadPoolExecutor(1) as executor:
        waiting = executor.submit(background.await_in_task, tasks, anyio.sleep, (0,))
        assert has_asked.wait(PATIENCE)
        loop.close()
        with pytest.raises(RuntimeError, match="closed"):
            waiting.result(PATIENCE)


# -- anyio's own functions -------------------------------------------------------------------------


class Checks(HttpMiddleware):
    """A hook that runs before the handler of each path that ends in "hook"."""

    def __init__(self, app: Anyio) -> None:
        self.app = app

    def before_request(self, request: Any) -> None:
        request.state.before = from_thread.run(place, "before")
        if request.path == "/hook":
            self.app.wait_for_cancellation()


class Price(str):
    __slots__ = ()


class Anyio(App):
    """Whatever is cancelled says so in ``noticed``."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.noticed = threading.Event(), threading.Event()
        self.middlewares.append(Checks(self))

        @self.provides(Price)
        def price() -> Iterator[Price]:
            yield Price(from_thread.run(place, "price"))

    def wait_for_cancellation(self) -> None:
        self.begun.set()
        try:
            for _ in range(3000):
                from_thread.check_cancelled()
                self.noticed.wait(0.01)
        except BaseException:
            self.noticed.set()
            raise

    def index(self, price: Price) -> str:
        from_thread.check_cancelled()
        told = from_thread.run(place, "handler")
        return f"{told} {from_thread.run_sync(where)} {where()} {self.request.state.before} {price}"

    def chunks(self) -> Iterator[str]:
        for _ in range(3):
            from_thread.check_cancelled()
            yield f"{from_thread.run(place, 'chunk')} {from_thread.run_sync(where)};"

    def handler(self) -> str:
        self.wait_for_cancellation()
        return "never"

    def hook(self) -> str:
        return "never"

    def stream(self) -> Iterator[str]:
        yield "first"
        self.wait_for_cancellation()

    def awaits(self) -> str:
        self.begun.set()
        try:
            return from_thread.run(self._wait)
        finally:
            self.noticed.set()

    async def _wait(self) -> str:
        await anyio.sleep_forever()
        return "never"


def test_anyio_from_thread_works_in_def_handlers(backend: str) -> None:
    app = Anyio()
    assert run(backend, get, app, "/").body == b"loop loop thread loop loop"
    assert run(backend, get, app, "/chunks").body == b"loop loop;" * 3


def leave_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    call = Slots.call

    async def call_for_a_moment(
        slots: Slots,
        function: Any,
        arguments: Any,
        leave_after: float | None,
        *rest: Any,
        **named: Any,
    ) -> Any:
        return await call(slots, function, arguments, leave_after and 0.01, *rest, **named)

    monkeypatch.setattr(Slots, "call", call_for_a_moment)


@pytest.mark.parametrize("path", ["/handler", "/hook", "/stream", "/awaits"])
def test_def_code_can_check_whether_its_request_is_cancelled(
    backend: str, path: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_soon(monkeypatch)
    app = Anyio()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(get, app, path)
            assert await anyio.to_thread.run_sync(app.begun.wait, PATIENCE)
            tasks.cancel_scope.cancel()

    run(backend, main)
    assert app.noticed.wait(PATIENCE)
    assert caplog.messages == []


@pytest.mark.parametrize("path", ["/handler", "/hook"])
def test_a_cancelled_request_waits_for_hanging_def_code_for_a_while(
    backend: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """hypercorn's worker for trio cancels requests when its grace is over, and waits for them."""
    leave_soon(monkeypatch)
    app, release = Anyio(), threading.Event()

    def hang() -> None:
        app.begun.set()
        release.wait(PATIENCE)
        app.noticed.set()

    app.wait_for_cancellation = hang  # type: ignore[method-assign]

    async def main() -> None:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(get, app, path)
                assert await anyio.to_thread.run_sync(app.begun.wait, PATIENCE)
                tasks.cancel_scope.cancel()
            assert not app.noticed.is_set()
        finally:
            release.set()

    run(backend, main)
    assert app.noticed.wait(PATIENCE)


def test_resources_of_def_code_in_a_cancelled_request_close_after_it(backend: str) -> None:
    app, begun, diary = App(), threading.Event(), list[str]()

    @app.provides(Connection)
    def connection() -> Iterator[Connection]:
        try:
            yield Connection()
        finally:
            diary.append("closed")

    @app.get("/")
    def use(connection: Connection) -> str:
        begun.set()
        try:
            while True:
                from_thread.check_cancelled()
                time.sleep(0.001)
        finally:
            diary.append("used")

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(get, app, "/")
            assert await anyio.to_thread.run_sync(begun.wait, PATIENCE)
            tasks.cancel_scope.cancel()

    run(backend, main)
    assert diary == ["used", "closed"]


def test_a_cancellation_raised_by_def_code_is_its_own_error(backend: str) -> None:
    class Raises(App):
        def index(self) -> str:
            raise CancelledError

    assert run(backend, get, Raises(), "/").status == 500


def test_def_code_past_its_time_limit_can_notice_it(backend: str) -> None:
    app = Anyio()
    app.middlewares.append(Timeout(0.05))

    async def main() -> set[int]:
        statuses = {(await get(app, "/handler")).status}
        while not app.begun.is_set():  # the limit may end before a thread has begun
            statuses.add((await get(app, "/handler")).status)
        assert await anyio.to_thread.run_sync(app.noticed.wait, PATIENCE)
        return statuses

    assert run(backend, main) == {503}


def test_a_def_stream_can_notice_that_its_client_has_disconnected(backend: str) -> None:
    app = Anyio()

    async def main() -> None:
        call = Call(piece(b""))

        async def receive() -> Any:
            if call.received:
                await anyio.to_thread.run_sync(app.begun.wait, PATIENCE)
                return DISCONNECT
            return await call.receive()

        await app(http_scope("GET", "/stream"), receive, call.send)

    run(backend, main)
    assert app.noticed.is_set()


@pytest.mark.parametrize("is_patched", [False, True])
def test_without_threads_def_code_runs_inline(
    backend: str, is_patched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some platforms without threads patch anyio so; tests/project/pyodide runs on one that does not."""

    class Plain(App):
        def index(self) -> str:
            return where()

        def chunks(self) -> Iterator[str]:
            for _ in range(50):
                yield where()

    async def in_line(function: Any, *arguments: Any, **_: Any) -> Any:
        return function(*arguments)

    async def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("a thread was asked for")

    monkeypatch.setattr("anyio.to_thread.run_sync", in_line if is_patched else never)
    monkeypatch.setattr(threads, "HAS_THREADS", is_patched)
    monkeypatch.setattr(threads, "_GUARDS", [])
    assert run(backend, get, Plain(), "/").body == b"loop"
    assert run(backend, get, Plain(), "/chunks").body == b"loop" * 50
    assert len(threads._GUARDS) == is_patched


def test_run_async_passes_other_errors_of_anyio_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_: object) -> None:
        raise RuntimeError("the event loop is closed")

    monkeypatch.setattr(from_thread, "run", closed)
    with pytest.raises(RuntimeError, match="is closed"):
        run_async(place, "there")
