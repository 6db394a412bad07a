"""What would end more than one request: exits, cancellations that nobody requested."""

from __future__ import annotations

import asyncio
import signal
import sys
import weakref
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import Any

import anyio
import httpx2 as httpx
import pytest

from micropie import App, HttpMiddleware, Request, run_in
from micropie._core.execution import current
from micropie._core.execution.steps import AWAIT, Step
from micropie.asgi.steps import perform_cleanup
from micropie.testing import WebSocketClosed
from tests.asgi.calls import Call, Lifespan, get, http_scope, run
from tests.support.clients import MakeClient
from tests.support.waiting import until, until_async
from tests.wsgi.calls import get as wsgi_get

ERRORS: dict[str, Any] = {
    "exit": lambda: SystemExit(2),
    "cancellation": asyncio.CancelledError,
    "group": lambda: BaseExceptionGroup("", [SystemExit(2), asyncio.CancelledError()]),
    "groups": lambda: BaseExceptionGroup(
        "", [SystemExit(2), BaseExceptionGroup("", [SystemExit(3), ValueError()])]
    ),
    "cancellations": lambda: BaseExceptionGroup("", [asyncio.CancelledError()]),
    "closing": GeneratorExit,
    "closings": lambda: BaseExceptionGroup("", [GeneratorExit()]),
}
EXPECTED = {
    "exit": "RuntimeError SystemExit",
    "cancellation": "CancelledError CancelledError",
    "group": "RuntimeError SystemExit",
    "groups": "RuntimeError BaseExceptionGroup",
    "cancellations": "CancelledError BaseExceptionGroup",
    "closing": "RuntimeError GeneratorExit",
    "closings": "RuntimeError GeneratorExit",
}


def fail(name: str) -> None:
    raise ERRORS[name]()  # noqa: RSE102 - a function makes it


class Failing(App):
    """Each handler fails as the text behind its path names."""

    def plain(self, name: str) -> None:
        fail(name)

    async def waits(self, name: str) -> None:
        await anyio.lowlevel.checkpoint()
        raise ERRORS[name]()  # noqa: RSE102

    @run_in("loop")
    def inline(self, name: str) -> None:
        fail(name)

    def first(self, name: str) -> Iterator[str]:
        raise ERRORS[name]()  # noqa: RSE102
        yield "never"

    async def afirst(self, name: str) -> AsyncIterator[str]:
        raise ERRORS[name]()  # noqa: RSE102
        yield "never"

    def middle(self, name: str) -> Iterator[str]:
        yield "part"
        raise ERRORS[name]()  # noqa: RSE102

    async def amiddle(self, name: str) -> AsyncIterator[str]:
        yield "part"
        await anyio.lowlevel.checkpoint()
        raise ERRORS[name]()  # noqa: RSE102

    def after(self, name: str) -> str:
        self.request.after_response(partial(fail, name))
        self.request.after_response(self._waits, name)
        self.request.after_response(self.seen.append, "the next one")
        return "answered"

    async def _waits(self, name: str) -> None:
        raise ERRORS[name]()  # noqa: RSE102

    async def ws_talk(self, ws: Any) -> None:
        await ws.accept()
        raise ERRORS[await ws.receive_text()]()  # noqa: RSE102

    def ok(self) -> str:
        return "ok"

    seen: list[Any]


def failing() -> Failing:
    app = Failing(on_error=lambda error: app.seen.append(words_of(error)))
    app.seen = []

    @app.error(Exception)
    def page(error: Exception) -> Any:
        return 500, words_of(error)

    return app


def words_of(error: BaseException) -> str:
    cause = error.__cause__
    return f"{type(error).__name__} {type(cause).__name__ if cause else ''}"


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("path", ["plain", "waits", "inline", "first", "afirst"])
def test_a_contained_exit_fails_one_request(
    make_client: MakeClient, path: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = failing()
    client = make_client(app)
    answer = client.get(f"/{path}/{name}")
    assert (answer.status_code, answer.text) == (500, EXPECTED[name])
    assert app.seen == [EXPECTED[name]]
    assert f"GET '/{path}/" in caplog.text
    assert client.get("/ok").text == "ok"


@pytest.mark.parametrize("path", ["middle", "amiddle"])
@pytest.mark.parametrize("name", ["exit", "cancellation", "closing"])
def test_a_contained_exit_aborts_a_stream_and_is_logged(
    make_client: MakeClient, path: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = failing()
    client = make_client(app, raise_app_exceptions=False)
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(f"/{path}/{name}")
    assert app.seen == [EXPECTED[name]]
    assert "failed after the response had started: the response was aborted" in caplog.text
    assert client.get("/ok").text == "ok"


@pytest.mark.parametrize("name", ["exit", "cancellation", "closing"])
def test_a_contained_exit_does_not_prevent_the_next_after_response_function(
    make_client: MakeClient, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = failing()
    assert make_client(app).get(f"/after/{name}").text == "answered"
    until(lambda: app.seen[-1:] == ["the next one"])
    assert len(app.seen) == 3
    assert "_waits, after the response, failed" in caplog.text


@pytest.mark.parametrize("name", ["exit", "cancellation", "closing"])
def test_a_contained_exit_closes_a_websocket_like_any_failure(
    connect: MakeClient, backend: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = failing()
    with connect(app, backend).websocket("/talk") as ws:
        ws.send_text(name)
        with pytest.raises(WebSocketClosed) as closed:
            ws.receive_text()
    assert closed.value.code == 1011
    assert app.seen == [EXPECTED[name]]


class Hook(HttpMiddleware):
    """Fails in the part that the query names."""

    def before_request(self, request: Request) -> None:
        if request.query.get("part") == "before":
            fail("exit")

    def after_request(self, request: Request, *arguments: object) -> None:
        if request.query.get("part") == "after":
            fail("exit")


class Inline(HttpMiddleware):
    @run_in("loop")
    def after_request(self, request: Request, *arguments: object) -> None:
        if request.query.get("part") == "inline":
            fail("exit")


class Thing:
    pass


@pytest.mark.parametrize("part", ["before", "after", "inline", "opening", "closing"])
def test_any_part_of_a_request_contains_exits(make_client: MakeClient, part: str) -> None:
    app = failing()
    app.middlewares = [Hook(), Inline()]

    @app.provides(Thing)
    async def thing(request: Request) -> AsyncIterator[Thing]:
        if part == "opening":
            fail("cancellation")
        yield Thing()
        if part == "closing":
            fail("cancellation")

    @app.get("/things")
    def things(thing: Thing) -> str:
        return "thing"

    words = EXPECTED["cancellation" if part in ("opening", "closing") else "exit"]
    answer = make_client(app).get(f"/things?part={part}")
    assert (answer.status_code, answer.text) == (500, words)


@pytest.mark.parametrize("kind", ["def", "loop"])
def test_a_contained_exit_in_an_error_handler_gets_the_plain_response(
    make_client: MakeClient, kind: str
) -> None:
    app = failing()

    def page(error: ValueError) -> None:
        fail("exit")

    app.error(ValueError)(run_in("loop")(page) if kind == "loop" else page)

    @app.get("/value")
    def value() -> None:
        raise ValueError

    assert make_client(app).get("/value").text == "500 Internal Server Error"


def test_a_cancelled_cleanup_is_logged(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    app = failing()

    @app.provides(Thing)
    async def thing() -> AsyncIterator[Thing]:
        try:
            yield Thing()
        finally:
            fail("cancellation")

    @app.get("/endless")
    async def endless(thing: Thing) -> AsyncIterator[str]:
        while True:
            yield "x" * 1000

    with make_client(app).stream("GET", "/endless") as answer:
        next(answer.iter_raw())
    until(lambda: "closing a resource of this request failed" in caplog.text)


def test_a_task_cancelled_elsewhere_is_a_failure(connect: MakeClient) -> None:
    class Root(App):
        async def index(self) -> None:
            task = asyncio.ensure_future(anyio.sleep_forever())
            task.cancel()
            await task

    app = Root()

    @app.error(CancelledError)
    def cancelled(error: CancelledError) -> Any:
        return 502, str(error)

    for world in ("asyncio", "wsgi"):
        answer = connect(app, world).get("/")
        sentence = "the application awaited a task that was cancelled, although the request was not"
        assert (answer.status_code, answer.text) == (502, sentence)


# -- what is not contained -------------------------------------------------------------------------


async def cancel(app: App, call: Call, begun: anyio.Event) -> None:
    """Make a request, and cancel the scope around it when its handler has begun."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(app, http_scope(), call.receive, call.send)
        await begun.wait()
        tasks.cancel_scope.cancel()


def swallowing(ended: list[str]) -> Any:
    async def around(request: Request) -> AsyncIterator[Any]:
        try:
            yield
        except BaseException as error:
            ended.append(type(error).__name__)
            yield 200, "swallowed"

    return around


@pytest.mark.parametrize("how", ["scope", "task"])
def test_a_cancelled_request_has_no_response(backend: str, how: str) -> None:
    if how == "task" and backend == "trio":
        return
    app, begun, ended = App(), anyio.Event(), list[str]()
    app.middlewares.append(swallowing(ended))

    @app.provides(Thing)
    async def thing() -> AsyncIterator[Thing]:
        with suppress(BaseException):
            yield Thing()
        ended.append("thing")

    @app.get("/")
    async def index(thing: Thing) -> None:
        begun.set()
        await anyio.sleep_forever()

    async def main() -> list[Any]:
        call = Call()
        if how == "task":
            task = asyncio.ensure_future(app(http_scope(), call.receive, call.send))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return call.sent
        await cancel(app, call, begun)
        return call.sent

    assert run(backend, main) == []
    assert ended == ["thing", "Cancelled" if backend == "trio" else "CancelledError"]


def test_a_failure_while_a_request_is_cancelled_is_logged(
    backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    app, begun = App(), anyio.Event()

    async def around(request: Request) -> AsyncIterator[Any]:
        try:
            yield
        finally:
            raise OSError("disk full")

    app.middlewares.append(around)

    @app.get("/")
    async def index() -> None:
        begun.set()
        await anyio.sleep_forever()

    async def main() -> list[Any]:
        call = Call()
        await cancel(app, call, begun)
        return call.sent

    assert run(backend, main) == []
    assert "disk full" in caplog.text


@pytest.mark.parametrize("others", [(), (ValueError(1),), (ValueError(1), SystemExit(2))])
@pytest.mark.parametrize("streams", [False, True])
def test_of_a_group_with_a_real_cancellation_the_rest_is_logged(
    backend: str, others: tuple[BaseException, ...], streams: bool
) -> None:
    """Under trio, what leaves the application beside a cancellation would end the server."""
    logged: list[BaseException] = []
    app, begun = App(on_error=logged.append), anyio.Event()

    async def fail() -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        except BaseException as error:
            group = BaseExceptionGroup("", [error])
            raise BaseExceptionGroup("", [group, *others]) from None

    @app.get("/")
    async def index() -> Any:
        if streams:
            return rows()
        await fail()

    async def rows() -> AsyncIterator[str]:
        yield "first"
        await fail()

    async def main() -> list[Any]:
        call = Call()
        await cancel(app, call, begun)
        return [message for message in call.sent if message.get("more_body") is False]

    assert run(backend, main) == []
    assert [as_text(error) for error in logged] == {
        0: [],
        1: ["ValueError(1)"],
        2: ["RuntimeError"],
    }[len(others)]


def as_text(error: BaseException) -> str:
    return repr(error) if isinstance(error, ValueError) else type(error).__name__


def test_an_exit_of_the_server_beside_a_cancellation_goes_on(backend: str) -> None:
    app, begun = App(), anyio.Event()

    @app.get("/")
    async def index() -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        except BaseException as error:
            raise BaseExceptionGroup("", [error, KeyboardInterrupt()]) from None

    with pytest.raises(BaseExceptionGroup) as caught:
        run(backend, partial(cancel, app, Call(), begun))
    assert caught.value.subgroup(KeyboardInterrupt) is not None


@pytest.mark.parametrize("is_grouped", [False, True])
def test_the_exit_of_a_signal_handler_reaches_the_server(is_grouped: bool) -> None:
    """gunicorn ends its workers so."""

    class Root(App):
        def index(self) -> None:
            if is_grouped:
                error = KeyboardInterrupt()
                raise BaseExceptionGroup("", [error, ValueError()])
            signal.raise_signal(signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, lambda *_: sys.exit(1))
    try:
        with pytest.raises(BaseExceptionGroup if is_grouped else SystemExit):
            wsgi_get(Root())
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_cancelled_startup_handler_fails(backend: str) -> None:
    app = App()

    async def up() -> None:
        fail("cancellation")

    app.startup_handlers.append(up)

    async def main() -> Any:
        lifespan = Lifespan(app)
        with suppress(ExceptionGroup):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lifespan.run)
                answer = await lifespan.say("startup")
        lifespan.close()
        return answer

    assert run(backend, main)["type"] == "lifespan.startup.failed"


# -- memory ----------------------------------------------------------------------------------------


class Kept(Failing):
    kept: list[weakref.ref[Any]]

    async def waits(self, name: str) -> None:
        self.kept.append(weakref.ref(current.get()))
        fail(name)

    async def waits_ok(self) -> str:
        return "ok"

    def plain(self, name: str) -> None:
        self.kept.append(weakref.ref(current.get()))
        fail(name)


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("name", ["exit", "cancellation", "closing"])
@pytest.mark.parametrize("path", ["waits", "plain"])
def test_a_contained_exit_is_freed_without_the_cycle_collector(
    world: str, path: str, name: str
) -> None:
    app = Kept()
    app.kept = []

    async def main() -> None:
        await get(app, f"/{path}/{name}")
        await until_async(lambda: [kept() for kept in app.kept] == [None])

    if world == "wsgi":
        wsgi_get(app, f"/{path}/{name}")
        wsgi_get(app, "/waits_ok")  # the portal's loop lets go of its last call with its next one
        until(lambda: [kept() for kept in app.kept] == [None])
    else:
        run(world, main)


def test_exceptions_of_cleanups_are_logged_and_a_cancellation_continues(backend: str) -> None:
    logged: list[Exception] = []
    exchange: Any = SimpleNamespace(log_cleanup_failure=logged.append, open_generators=list)

    async def cancelled() -> None:
        await anyio.sleep_forever()

    async def exits() -> None:
        raise SystemExit(2)

    async def main() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            steps: list[Step] = [(AWAIT, cancelled, ()), (AWAIT, exits, ())]
            await perform_cleanup(exchange, steps)
            raise AssertionError

    run(backend, main)
    assert [str(one) for one in logged] == ["the application raised SystemExit(2)"]
