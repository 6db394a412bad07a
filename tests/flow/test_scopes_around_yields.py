"""Time limits and task groups that are open around the ``yield`` of middleware or a provider."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, nullcontext, suppress
from contextvars import ContextVar
from math import inf
from pathlib import Path
from typing import Any

import anyio
import httpx2 as httpx
import pytest

from micropie import App, HttpMiddleware, Request, run_async, static_file
from micropie._core.execution import TASKS, current
from micropie.testing import WebSocketClosed
from tests.asgi.calls import get, run
from tests.support.clients import MakeClient
from tests.support.waiting import PATIENCE, until, until_async

EXPIRED = 1e-9  # seconds of a limit that is over when the handler first waits


class Thing:
    pass


class Session:
    pass


def native_limit(backend: str) -> Any:
    """The limit of the event loop's own library."""
    if backend == "trio":
        import trio

        return trio.fail_after(EXPIRED)
    return asyncio.timeout(0)


@asynccontextmanager
async def limit(kind: str, backend: str) -> AsyncIterator[None]:
    if kind == "native":
        manager = native_limit(backend)
        if backend == "trio":
            with manager:
                yield
        else:
            async with manager:
                yield
    else:
        with anyio.fail_after(EXPIRED):
            yield


class Limited(App):
    """``seen`` is set when the limit is over."""

    def __init__(self, backend: str) -> None:
        super().__init__(portal_backend=backend)
        self.seen: list[str] = []
        self.backend = backend
        self.limits: list[anyio.CancelScope] = []  # which are over when the handler runs

    async def slow(self) -> str:
        for scope in self.limits:
            scope.deadline = -inf
        await anyio.Event().wait()  # unlike a sleep, it leaves no timer
        raise AssertionError("it was not interrupted")

    async def fast(self) -> str:
        return "fast"


def limit_noted_by(app: Limited) -> Callable[[Request], AsyncIterator[Any]]:
    """Return middleware with a limit that is over at once."""

    async def limited(request: Request) -> AsyncIterator[Any]:
        try:
            with anyio.fail_after(EXPIRED):
                yield
        except TimeoutError:
            app.seen.append("limited")
            raise

    return limited


def backend_of(world: str) -> str:
    return "asyncio" if world == "wsgi" else world


@pytest.mark.parametrize("kind", ["anyio", "native"])
def test_a_time_limit_of_middleware_raises_timeout_error_at_its_yield(
    make_client: MakeClient, world: str, kind: str
) -> None:
    app = Limited(backend_of(world))

    async def limited(request: Request) -> AsyncIterator[Any]:
        try:
            async with limit(kind, app.backend):
                yield
        except Exception as error:
            app.seen.append(type(error).__name__)
            yield 503, "too slow"

    app.middlewares.append(limited)
    answer = make_client(app).get("/slow")
    assert (answer.status_code, answer.text) == (503, "too slow")
    assert app.seen == ["TooSlowError" if (kind, world) == ("native", "trio") else "TimeoutError"]


def test_a_timeout_error_reaches_error_handlers_and_outer_middleware(
    make_client: MakeClient, world: str
) -> None:
    app = Limited(backend_of(world))

    async def outer(request: Request) -> AsyncIterator[Any]:
        try:
            yield
        except TimeoutError as error:
            app.seen.append(f"outer {error!r}")
            raise

    async def limited(request: Request) -> AsyncIterator[Any]:
        try:
            with anyio.fail_after(1000) as scope:
                app.limits.append(scope)
                yield
        except TimeoutError:
            app.seen.append("limited")
            raise

    def inner(request: Request) -> Iterator[Any]:
        try:
            yield
        finally:
            app.seen.append("inner")

    app.middlewares.extend([outer, limited, inner])

    @app.error(TimeoutError)
    async def late(error: TimeoutError) -> Any:
        await anyio.lowlevel.checkpoint()  # nothing is cancelled any more
        return 504, "late"

    answer = make_client(app).get("/slow")
    assert (answer.status_code, answer.text) == (504, "late")
    assert app.seen[-1] == "outer TimeoutError()"
    assert sorted(app.seen[:-1]) == ["inner", "limited"]


def test_a_request_within_the_time_limit_gets_its_response(
    make_client: MakeClient, world: str
) -> None:
    app = Limited(backend_of(world))

    async def limited(request: Request) -> AsyncIterator[Any]:
        with anyio.fail_after(1000):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(anyio.lowlevel.checkpoint)
                yield

    @app.provides(Thing)
    async def thing() -> AsyncIterator[Thing]:
        with anyio.fail_after(1000):
            yield Thing()

    @app.get("/thing")
    def things(thing: Thing) -> str:
        return "thing"

    app.middlewares.append(limited)
    client = make_client(app)
    assert [client.get("/fast").text, client.get("/thing").text] == ["fast", "thing"]


def test_under_wsgi_a_cancelled_scope_never_ends_the_loop(
    connect: MakeClient, backend: str
) -> None:
    app = Limited(backend)

    async def limited(request: Request) -> AsyncIterator[Any]:
        async with limit("native", backend):
            yield

    async def ends(request: Request) -> AsyncIterator[Any]:
        with anyio.CancelScope():
            yield

    app.middlewares.extend([ends, ends])
    client = connect(app, "wsgi")
    assert [client.get("/fast").text for _ in range(3)] == ["fast"] * 3


def test_a_time_limit_of_a_provider_raises_timeout_error_at_its_yield(
    make_client: MakeClient, world: str
) -> None:
    app = Limited(backend_of(world))

    @app.provides(Thing)
    async def thing() -> AsyncIterator[Thing]:
        try:
            with anyio.fail_after(1000) as scope:
                app.limits.append(scope)
                yield Thing()
        except TimeoutError:
            app.seen.append("limited")
            raise

    @app.provides(Session)
    def session(thing: Thing) -> Iterator[Session]:
        try:
            yield Session()
        finally:
            app.seen.append("session")

    @app.error(TimeoutError)
    def late(error: TimeoutError) -> Any:
        return 504, "late"

    @app.get("/session")
    async def sessions(session: Session) -> str:
        return await app.slow()

    answer = make_client(app).get("/session")
    assert (answer.status_code, answer.text) == (504, "late")
    assert sorted(app.seen) == ["limited", "session"]


@pytest.mark.parametrize("where", ["middleware", "provider"])
def test_a_scope_that_swallows_a_cancellation_is_a_failure(
    connect: MakeClient, backend: str, where: str
) -> None:
    app = Limited(backend)

    async def limited(request: Request) -> AsyncIterator[Any]:
        with anyio.move_on_after(EXPIRED):
            yield Thing()

    if where == "middleware":

        async def around(request: Request) -> AsyncIterator[Any]:
            with anyio.move_on_after(EXPIRED):
                yield

        app.middlewares.append(around)
    app.provides(Thing)(limited)

    @app.error(TimeoutError)
    def late(error: TimeoutError) -> Any:
        return 504, str(error)

    @app.get("/thing")
    async def things(thing: Thing) -> str:
        return await app.slow()

    path = "/slow" if where == "middleware" else "/thing"
    answer = connect(app, backend).get(path)
    sentence = "a time limit around a generator's yield, such as asyncio.timeout(), has cancelled this request"
    assert (answer.status_code, answer.text) == (504, sentence)


def test_a_failing_task_in_a_group_fails_the_request(make_client: MakeClient, world: str) -> None:
    app = Limited(backend_of(world))

    async def fails() -> None:
        app.seen.append("fails")
        raise KeyError("task")

    async def grouped(request: Request) -> AsyncIterator[Any]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fails)
            yield

    app.middlewares.append(grouped)

    @app.error(KeyError)
    def key(error: KeyError) -> Any:
        return 502, str(error)

    answer = make_client(app).get("/slow")
    assert (answer.status_code, answer.text) == (502, "'task'")


def test_inner_hooks_see_the_failure_too(connect: MakeClient, backend: str) -> None:
    app = Limited(backend)

    class Inside(HttpMiddleware):
        def after_request(self, request: Request, status: int, body: Any, headers: Any) -> None:
            app.seen.append(f"inside {status}")

    async def limited(request: Request) -> AsyncIterator[Any]:
        try:
            with anyio.fail_after(EXPIRED):
                yield
        except TimeoutError:
            yield 503, "too slow"

    app.middlewares.extend([limited, Inside()])
    answer = connect(app, backend).get("/slow")
    assert (answer.status_code, answer.text, app.seen) == (503, "too slow", ["inside 500"])


def test_a_scope_inside_the_cancelled_one_is_left_first(connect: MakeClient, backend: str) -> None:
    app = Limited(backend)

    async def grouped(request: Request) -> AsyncIterator[Any]:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(anyio.sleep_forever)
                yield
        finally:
            app.seen.append("grouped")

    app.middlewares.extend([limit_noted_by(app), grouped])
    assert connect(app, backend, raise_app_exceptions=False).get("/slow").status_code == 500
    assert app.seen == ["grouped", "limited"]


def test_a_provider_s_time_limit_closes_its_websocket(connect: MakeClient, backend: str) -> None:
    app = Limited(backend)

    @app.provides(Thing)
    async def thing() -> AsyncIterator[Thing]:
        with anyio.fail_after(EXPIRED):
            yield Thing()

    class Talks(Limited):
        async def ws_talk(self, ws: Any, thing: Thing) -> None:
            await ws.accept()
            await ws.receive_text()

    app = Talks(backend)
    app.provides(Thing)(thing)
    with connect(app, backend).websocket("/talk") as ws, pytest.raises(WebSocketClosed) as closed:
        ws.receive_text()
    assert closed.value.code == 1011


def test_a_time_limit_of_a_provider_aborts_its_stream(
    connect: MakeClient, backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = Limited(backend)

    @app.provides(Thing)
    async def thing() -> AsyncIterator[Any]:
        with anyio.CancelScope() as scope:
            yield scope
        raise TimeoutError("of the scope")

    @app.get("/stream")
    async def stream(thing: Thing) -> AsyncIterator[str]:
        yield "part"
        thing.cancel()  # type: ignore[attr-defined]
        await anyio.sleep_forever()

    with pytest.raises(httpx.RemoteProtocolError):
        connect(app, backend, raise_app_exceptions=False).get("/stream")
    assert "failed after the response had started: the response was aborted" in caplog.text
    assert "of the scope" in caplog.text


@pytest.mark.parametrize("fails", [False, True])
def test_a_disconnection_ends_the_task_group_around_the_yield_of_a_provider(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, fails: bool
) -> None:
    app, log = App(), list[str]()

    @app.provides(Session)
    def session() -> Iterator[Session]:
        try:
            yield Session()
        except GeneratorExit:
            log.append("session")
            raise

    async def works() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            if fails:
                raise LookupError("of the task")

    @app.provides(Thing)
    async def thing(session: Session) -> AsyncIterator[Thing]:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(works)
                yield Thing()
        finally:
            log.append("thing")

    @app.get("/")
    async def stream(thing: Thing) -> AsyncIterator[str]:
        while True:
            await anyio.lowlevel.checkpoint()
            yield "part"

    with make_client(app).stream("GET", "/") as answer:
        next(answer.iter_raw())
    assert log == ["thing", "session"]
    assert ("closing a resource of this request failed" in caplog.text) == fails
    assert ("LookupError: of the task" in caplog.text) == fails


# -- one task under WSGI ---------------------------------------------------------------------------


@pytest.mark.parametrize("answers", [False, True])
@pytest.mark.parametrize("place", ["middleware", "provider"])
def test_a_limit_that_is_swallowed_is_a_failure_of_a_def_handler_s_request(
    make_client: MakeClient, world: str, place: str, answers: bool
) -> None:
    app, is_over = Limited(backend_of(world)), threading.Event()

    async def end(scope: anyio.CancelScope) -> None:
        scope.cancel()
        await anyio.wait_all_tasks_blocked()
        is_over.set()

    async def limited(request: Request) -> AsyncIterator[Any]:
        with anyio.CancelScope() as scope:
            TASKS.get().start_soon(end, scope)
            yield
            app.seen.append("in time")
            return
        if answers:
            yield 503, "too slow"

    @app.provides(Thing)
    async def thing() -> AsyncIterator[Thing]:
        with anyio.CancelScope() as scope:
            TASKS.get().start_soon(end, scope)
            yield Thing()

    @app.get("/middleware")
    def middleware() -> str:
        is_over.wait(PATIENCE)
        return "late"

    @app.get("/provider")
    def provider(thing: Thing) -> str:
        return middleware()

    @app.error(TimeoutError)
    def late(error: TimeoutError) -> Any:
        return 504, "late"

    if place == "middleware":
        app.middlewares.append(limited)
    answer = make_client(app).get(f"/{place}")
    expected = (503, "too slow") if answers and place == "middleware" else (504, "late")
    assert (answer.status_code, answer.text, app.seen) == (*expected, [])


@pytest.mark.parametrize("kind", ["anyio", "native"])
@pytest.mark.parametrize("place", ["middleware", "provider", "block"])
def test_under_wsgi_a_time_limit_ends_a_def_handler_s_request_after_it_has_returned(
    connect: MakeClient, backend: str, kind: str, place: str
) -> None:
    app, is_over = Limited(backend), threading.Event()

    async def watch() -> None:
        with suppress(Exception):
            async with limit(kind, backend):  # it began later, so it ends later
                await anyio.Event().wait()
        await anyio.wait_all_tasks_blocked()
        is_over.set()

    @asynccontextmanager
    async def limited() -> AsyncIterator[Thing]:
        try:
            async with limit(kind, backend):
                TASKS.get().start_soon(watch)
                yield Thing()
        except Exception as error:
            app.seen.append("limited")
            raise TimeoutError from error  # trio has another exception
        finally:
            await anyio.lowlevel.checkpoint()  # nothing is cancelled any more

    async def around(request: Request) -> AsyncIterator[Any]:
        async with limited():
            yield

    @app.get("/middleware")
    def middleware() -> str:
        assert is_over.wait(PATIENCE)
        return "late"

    @app.get("/provider")
    def provider(thing: Thing) -> str:
        return middleware()

    @app.get("/block")
    def block(request: Request) -> str:
        with request.resource(Thing):
            return middleware()

    @app.error(TimeoutError)
    def late(error: TimeoutError) -> Any:
        return 504, "late"

    app.provides(Thing)(Thing if place == "middleware" else limited)
    if place == "middleware":
        app.middlewares.append(around)
    answer = connect(app, "wsgi").get(f"/{place}")
    assert (answer.status_code, answer.text, app.seen) == (504, "late", ["limited"])


@pytest.mark.parametrize("part", ["opens", "closes"])
def test_an_async_block_that_is_cancelled_waits_for_the_def_part_of_its_resource(
    make_client: MakeClient, world: str, part: str, caplog: pytest.LogCaptureFixture
) -> None:
    if world == "trio":
        pytest.skip("there is no native cancellation")
    app, is_over = Limited("asyncio"), threading.Event()
    tasks: list[asyncio.Task[Any]] = []

    async def cancel() -> None:
        await anyio.wait_all_tasks_blocked()
        tasks[0].cancel()
        await anyio.wait_all_tasks_blocked()
        is_over.set()

    async def start() -> None:
        TASKS.get().start_soon(cancel)

    def wait() -> None:
        run_async(start)
        assert is_over.wait(PATIENCE)
        app.seen.append(part)

    @app.provides(Thing)
    def thing() -> Iterator[Thing]:
        if part == "opens":
            wait()
        try:
            yield Thing()
        finally:
            if part == "closes":
                wait()
            app.seen.append("closed")

    @app.get("/block")
    async def block(request: Request) -> str:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        try:
            async with request.resource(Thing):
                pass
        except asyncio.CancelledError:
            task.uncancel()
            return "cancelled"
        raise AssertionError("it was not cancelled")

    answer = make_client(app).get("/block")
    assert (answer.text, app.seen, caplog.messages) == ("cancelled", [part, "closed"], [])


@pytest.mark.parametrize("kind", ["anyio", "native"])
def test_a_time_limit_of_a_resource_interrupts_the_async_block_that_uses_it(
    make_client: MakeClient, world: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = Limited(backend_of(world))

    async def outer() -> AsyncIterator[Session]:
        try:
            yield Session()
        finally:
            app.seen.append("outer")

    async def limited(session: Session) -> AsyncIterator[Thing]:
        try:
            async with limit(kind, app.backend):
                yield Thing()
        except Exception as error:
            app.seen.append("limited")
            raise TimeoutError from error  # trio has another exception

    @app.get("/block")
    async def block(request: Request) -> str:
        async with request.resource(Thing):
            return await app.slow()

    @app.error(TimeoutError)
    def late(error: TimeoutError) -> Any:
        return 504, "late"

    app.provides(Session)(outer)
    app.provides(Thing)(limited)
    answer = make_client(app).get("/block")
    assert (answer.status_code, answer.text) == (504, "late")
    assert app.seen == ["limited", "outer"]
    assert not caplog.messages


def test_a_scope_that_ends_an_async_block_without_an_exception_raises_timeout_error(
    make_client: MakeClient, world: str
) -> None:
    app = Limited(backend_of(world))

    async def cut() -> AsyncIterator[Thing]:
        with anyio.move_on_after(EXPIRED):
            yield Thing()

    @app.get("/block")
    async def block(request: Request) -> str:
        try:
            async with request.resource(Thing):
                return await app.slow()
        except TimeoutError as error:
            return str(error)

    app.provides(Thing)(cut)
    assert "a time limit around a generator's yield" in make_client(app).get("/block").text


def test_a_client_that_leaves_a_stream_closes_the_resource_of_its_block(
    connect: MakeClient, backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = Limited(backend)

    def sync() -> Iterator[Session]:
        yield Session()
        app.seen.append("sync")

    async def scoped(session: Session) -> AsyncIterator[Thing]:
        try:
            with anyio.CancelScope():
                yield Thing()
        finally:
            app.seen.append("closed")

    @app.get("/chunks")
    async def chunks(request: Request) -> AsyncIterator[str]:
        async with request.resource(Thing):
            while True:
                yield "chunk"

    app.provides(Session)(sync)
    app.provides(Thing)(scoped)
    with connect(app, "wsgi").stream("GET", "/chunks") as answer:
        next(answer.iter_raw())
    assert app.seen[:1] == ["closed"]
    assert not caplog.messages


@pytest.mark.parametrize("kind", ["anyio", "native"])
@pytest.mark.parametrize("first", ["", "chunk"])
def test_a_time_limit_of_a_provider_ends_a_stream_with_the_provider_s_exception(
    make_client: MakeClient, world: str, kind: str, first: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = Limited(backend_of(world))

    async def limited() -> AsyncIterator[Thing]:
        try:
            async with limit(kind, app.backend):
                yield Thing()
        except Exception as error:
            raise TimeoutError("the provider's") from error

    @app.get("/chunks")
    async def chunks(thing: Thing) -> AsyncIterator[str]:
        if first:
            yield first
        yield await app.slow()

    @app.error(TimeoutError)
    def late(error: TimeoutError) -> Any:
        return 504, "late"

    app.provides(Thing)(limited)
    client = make_client(app)
    if first:
        with pytest.raises(TimeoutError, match="the provider's"):
            client.get("/chunks")
        assert len(caplog.messages) == 1
    else:
        answer = client.get("/chunks")
        assert (answer.status_code, answer.text) == (504, "late")


def test_under_wsgi_the_exception_of_a_def_handler_is_not_lost_after_a_time_limit(
    connect: MakeClient, backend: str
) -> None:
    app, is_over = Limited(backend), threading.Event()

    async def note_end(scope: anyio.CancelScope) -> None:
        scope.cancel()
        await anyio.wait_all_tasks_blocked()
        is_over.set()

    async def around(request: Request) -> AsyncIterator[Any]:
        with anyio.CancelScope() as scope:
            TASKS.get().start_soon(note_end, scope)
            yield

    @app.get("/fails")
    def fails() -> str:
        assert is_over.wait(PATIENCE)
        raise LookupError("lost")

    @app.error(LookupError)
    def failed(error: LookupError) -> Any:
        return 418, str(error)

    app.middlewares.append(around)
    answer = connect(app, "wsgi").get("/fails")
    assert (answer.status_code, answer.text) == (418, "lost")


@pytest.mark.parametrize("kind", ["def", "async"])
def test_a_cancellation_that_nobody_has_requested_is_no_time_limit(
    make_client: MakeClient, world: str, kind: str
) -> None:
    if world == "trio":
        pytest.skip("trio's code can't raise a cancellation")
    app = Limited("asyncio")

    async def around(request: Request) -> AsyncIterator[Any]:
        try:
            yield
        except BaseException as error:
            app.seen.append(type(error).__module__)
            raise

    async def cancelled() -> None:
        task = asyncio.create_task(asyncio.sleep(1))
        task.cancel()
        await task

    @app.get("/async")
    async def in_async() -> None:
        await cancelled()

    @app.get("/def")
    def in_def() -> None:
        run_async(cancelled)

    app.middlewares.append(around)
    answer = make_client(app).get(f"/{kind}")
    assert (answer.status_code, app.seen) == (500, ["concurrent.futures._base"])


def test_a_function_passed_to_run_async_that_cancels_itself_is_no_time_limit(
    connect: MakeClient,
) -> None:
    app = Limited("asyncio")

    async def around(request: Request) -> AsyncIterator[Any]:
        try:
            yield
        except Exception:
            app.seen.append("failed")
            raise

    async def cancels_itself() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    @app.get("/")
    def index() -> None:
        run_async(cancels_itself)

    app.middlewares.append(around)
    assert connect(app, "wsgi").get("/").status_code == 500
    assert app.seen == ["failed"]


number: ContextVar[int] = ContextVar("number", default=0)


def test_context_variables_are_shared_in_both_directions(make_client: MakeClient) -> None:
    app, seen = App(), list[Any]()

    async def counted(request: Request) -> AsyncIterator[Any]:
        token = number.set(1)
        yield
        seen.append(number.get())
        number.reset(token)
        seen.append(number.get())

    app.middlewares.append(counted)

    @app.get("/")
    def index() -> str:
        was = number.get()
        number.set(2)
        return str(was)

    assert make_client(app).get("/").text == "1"
    assert seen == [2, 0]


def test_a_with_block_in_a_def_generator_runs_in_one_task(make_client: MakeClient) -> None:
    app = App()

    @app.provides(Thing)
    async def thing() -> AsyncIterator[Thing]:
        async with anyio.create_task_group():
            yield Thing()

    @app.get("/")
    def index(request: Request) -> str:
        with request.resource(Thing):
            return run_async(answered)

    async def answered() -> str:
        return "answered"

    assert make_client(app).get("/").text == "answered"


@pytest.mark.usefixtures("no_collector")
def test_a_request_with_scopes_is_freed_without_the_cycle_collector(backend: str) -> None:
    import weakref

    app, kept = Limited(backend), list[Any]()

    async def limited(request: Request) -> AsyncIterator[Any]:
        kept.append(weakref.ref(current.get()))
        # fail_after raises through contextlib, which leaves a cycle of its own since Python 3.12
        with anyio.move_on_after(EXPIRED):
            yield
        raise TimeoutError

    app.middlewares.append(limited)

    async def main() -> None:
        call = await get(app, "/slow")
        assert call.status == 500
        del call
        await until_async(lambda: [one() for one in kept] == [None])

    run(backend, main)


# -- scopes of middleware around the streams of providers ------------------------------------------


class Streams(App):
    def __init__(self, path: Path, *, own_scope: bool) -> None:
        super().__init__()
        self.path, self.log, self.own_scope = path, list[str](), own_scope
        self.provides(Thing)(self._thing)

    async def _thing(self) -> AsyncIterator[Thing]:
        with anyio.fail_after(1000) if self.own_scope else nullcontext():
            try:
                yield Thing()
            finally:
                await anyio.lowlevel.checkpoint()
                self.log.append("closed")

    async def chunks(self, thing: Thing) -> AsyncIterator[str]:
        self.log.append("streams")
        yield "text"

    async def endless(self, thing: Thing) -> AsyncIterator[str]:
        self.log.append("streams")
        while True:
            await anyio.lowlevel.checkpoint()
            yield "text"

    def lines(self, thing: Thing) -> Iterator[str]:
        self.log.append("streams")
        yield "text"

    async def file(self, thing: Thing) -> Any:
        self.log.append("streams")
        return static_file("a.txt", root=self.path.parent)


@pytest.mark.parametrize("path", ["chunks", "lines", "file"])
def test_middleware_may_exit_a_scope_while_a_provider_of_a_stream_is_open(
    make_client: MakeClient, world: str, tmp_path: Path, path: str
) -> None:
    if world == "trio":
        pytest.skip("trio can't tell whether a scope may be exited")
    (tmp_path / "a.txt").write_text("text")
    app = Streams(tmp_path / "a.txt", own_scope=False)

    async def limited(request: Request) -> AsyncIterator[Any]:
        async with anyio.create_task_group():
            with anyio.fail_after(1000):
                yield

    app.middlewares.append(limited)
    answer = make_client(app).get(f"/{path}")
    assert (answer.status_code, answer.text) == (200, "text")
    until(lambda: app.log == ["streams", "closed"])


@pytest.mark.parametrize("path", ["chunks", "lines", "file"])
def test_a_provider_with_a_scope_of_its_own_may_stay_open_for_a_stream(
    make_client: MakeClient, tmp_path: Path, path: str
) -> None:
    (tmp_path / "a.txt").write_text("text")
    app = Streams(tmp_path / "a.txt", own_scope=True)

    async def around(request: Request) -> AsyncIterator[Any]:
        yield

    app.middlewares.append(around)
    answer = make_client(app).get(f"/{path}")
    assert (answer.status_code, answer.text) == (200, "text")
    until(lambda: app.log == ["streams", "closed"])


def test_the_clean_up_of_a_provider_that_has_left_its_scope_is_shielded(
    connect: MakeClient, tmp_path: Path
) -> None:
    app = Streams(tmp_path, own_scope=False)

    async def around(request: Request) -> AsyncIterator[Any]:
        yield

    app.middlewares.append(around)
    with connect(app, "asyncio").stream("GET", "/endless") as answer:
        next(answer.iter_raw())
    until(lambda: app.log == ["streams", "closed"])
