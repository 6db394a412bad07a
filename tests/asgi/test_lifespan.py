"""The lifespan protocol as servers speak it, in and out of its usual order."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from micropie import App, EventStream, WebSocket, where
from micropie.testing import TestClient
from tests.asgi.calls import Call, Lifespan, get, http_scope, piece, run
from tests.support.lifespans import Cleaning
from tests.support.waiting import PATIENCE, until_async


class Root(App):
    log: list[str]

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        self.log.append("enter")
        try:
            yield
        finally:
            self.log.append("leave")

    async def index(self) -> str:
        return "served"


class Plain(App):
    async def index(self) -> str:
        return "served"


class Live(App):
    async def numbers(self) -> EventStream:
        return EventStream(iter([1, 2]))

    async def ws_echo(self, ws: WebSocket) -> None:
        await ws.accept()
        async for message in ws:
            await ws.send_text(str(message))


def rooted() -> Root:
    app = Root()
    app.log = []
    return app


async def around(
    app: Any, state: dict[str, Any] | None, inside: Any = None
) -> list[dict[str, Any]]:
    """A whole lifespan with `inside` called in its middle."""
    lifespan = Lifespan(app, state)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lifespan.run)
        answers = [await lifespan.say("startup")]
        if inside is not None:
            await inside()
        if answers[0]["type"].endswith("complete"):
            answers.append(await lifespan.say("shutdown"))
    lifespan.close()
    if lifespan.raised is not None:
        answers.append({"raised": repr(lifespan.raised)})
    return answers


async def until_cancelled(app: App) -> None:
    """Start an application, and cancel its lifespan as a server does without ``shutdown``."""
    lifespan = Lifespan(app)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lifespan.run)
        await lifespan.say("startup")
        tasks.cancel_scope.cancel()
    lifespan.close()


COMPLETE = [{"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.complete"}]


@pytest.mark.parametrize("state", [None, {}])
def test_startup_and_shutdown_run_once(backend: str, state: dict[str, Any] | None) -> None:
    app = rooted()
    assert run(backend, around, app, state) == COMPLETE
    assert app.log == ["enter", "leave"]


def test_requests_within_a_lifespan_do_not_start_the_application_again(backend: str) -> None:
    app = rooted()

    async def requests() -> None:
        for _ in range(2):
            assert (await get(app)).body == b"served"

    run(backend, around, app, None, requests)
    assert app.log == ["enter", "leave"]


def test_R72_without_a_lifespan_the_first_of_many_requests_starts_the_application_once(
    backend: str,
) -> None:
    app, log = App(), []

    async def slow() -> None:
        await anyio.sleep(0.01)
        log.append("up")

    app.startup_handlers.append(slow)

    async def many() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(get, app)

    run(backend, many)
    assert log == ["up"]


def test_without_a_lifespan_startup_may_call_another_application(backend: str) -> None:
    app, other = rooted(), rooted()

    async def ask() -> None:
        app.log.append((await get(other)).body.decode())

    app.startup_handlers.append(ask)

    async def main() -> None:
        with anyio.fail_after(PATIENCE):
            assert (await get(app)).body == b"served"

    run(backend, main)
    assert app.log[:2] == ["enter", "served"]


def test_an_application_can_serve_several_event_loops_in_turn(backend: str) -> None:
    app = App()
    app.get("/")(lambda: "threads too")
    for _ in range(3):
        assert run(backend, get, app).body == b"threads too"


def test_an_application_is_in_use_until_its_last_lifespan_ends(backend: str) -> None:
    app = rooted()
    shutdown = app._micropie.config().shutdown

    async def first_ends() -> None:
        await around(app, None)
        assert not shutdown.is_over
        assert (await get(app)).body == b"served"

    run(backend, around, app, None, first_ends)
    assert shutdown.is_over
    assert app.log == ["enter", "enter", "leave", "leave"]


def test_R65_without_a_lifespan_streams_and_websockets_last_also_after_one(backend: str) -> None:
    """A test client without ``with``, after one that has used the same application."""
    app = Live()
    with TestClient(app, backend=backend):
        pass
    client = TestClient(app, backend=backend)
    with closing(client), client.sse("/numbers") as events, client.websocket("/echo") as ws:
        ws.send_text("hello")
        assert ws.receive_text() == "hello"
        assert [event.data for event in events] == ["1", "2"]


def test_R65_another_application_s_lifespan_in_the_same_task_ends_no_stream(backend: str) -> None:
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: dict[str, Any]) -> None:
        assert message["type"].endswith("complete")

    async def main() -> bytes:
        await rooted()({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)
        return (await get(Live(), "/numbers")).body

    assert run(backend, main).endswith(b"data: 1\n\ndata: 2\n\n")


def test_R71_a_failed_startup_reports_its_error(backend: str) -> None:
    app = rooted()

    async def fail() -> None:
        raise ConnectionError("no database")

    app.startup_handlers.append(fail)
    answers = run(backend, around, app, None)
    assert answers == [
        {"type": "lifespan.startup.failed", "message": "ConnectionError: no database"},
        {"raised": "ConnectionError('no database')"},
    ]
    assert app.log == ["enter", "leave"]


def test_R71_an_application_that_cannot_be_built_fails_to_start(backend: str) -> None:
    app = App()
    app.get("/x")(lambda: "one")
    app.get("/x")(lambda: "two")
    answer, failure = run(backend, around, app, None)
    assert answer["type"] == "lifespan.startup.failed"
    assert failure["raised"].startswith("SetupError")
    assert "/x" in answer["message"]


def test_R71_a_startup_that_is_cancelled_is_undone(backend: str) -> None:
    app = rooted()

    async def hang() -> None:
        app.log.append("hangs")
        await anyio.sleep_forever()

    app.startup_handlers += [lambda: app.log.append("up"), hang]
    app.shutdown_handlers.append(lambda: app.log.append("down"))

    async def main() -> None:
        lifespan = Lifespan(app)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lifespan.run)
            tasks.start_soon(lifespan.say, "startup")
            await until_async(lambda: "hangs" in app.log)
            tasks.cancel_scope.cancel()
        lifespan.close()
        app.log.append("over")

    run(backend, main)
    assert app.log == ["enter", "up", "hangs", "down", "leave", "over"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("is_async", [False, True])
def test_R71_an_interrupted_startup_is_undone_and_reported(
    backend: str, error: type[BaseException], is_async: bool
) -> None:
    app = rooted()

    def interrupt() -> None:
        raise error

    async def interrupt_loop() -> None:
        interrupt()

    app.startup_handlers.append(interrupt_loop if is_async else interrupt)

    async def main() -> None:
        lifespan = Lifespan(app)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lifespan.run)
                await lifespan.say("startup")
        finally:
            lifespan.close()

    with pytest.raises(BaseException) as caught:  # noqa: PT011 - alone or in the test's own group
        run(backend, main)
    inner = (
        caught.value.exceptions[0] if isinstance(caught.value, BaseExceptionGroup) else caught.value
    )
    assert isinstance(inner, error)
    assert app.log == ["enter", "leave"]


def test_a_server_may_cancel_instead_of_sending_shutdown(backend: str) -> None:
    app = rooted()
    app.shutdown_handlers.append(lambda: app.log.append("down"))

    async def main() -> None:
        await until_cancelled(app)
        app.log.append("over")

    run(backend, main)
    assert app.log.index("leave") < app.log.index("over")


class Grouped(App):
    """Has a task for as long as it runs, which fails when ``fails`` is set."""

    fails: anyio.Event

    def __init__(self) -> None:
        super().__init__()
        self.log = list[str]()
        self.inner = Cleaning()
        self.inner.log = self.log

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        self.fails = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._work)
            try:
                yield
            finally:
                self.log.append("leave")
            await anyio.lowlevel.checkpoint()
            self.log.append("left")
            tasks.cancel_scope.cancel()

    async def _work(self) -> None:
        await self.fails.wait()
        raise LookupError("a task has failed")

    async def index(self) -> str:
        return "served"


class Limited(App):
    """Runs until its scope is cancelled."""

    around: anyio.CancelScope

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        with anyio.CancelScope() as self.around:
            yield

    async def index(self) -> str:
        return "served"

    async def events(self) -> EventStream:
        async def begin() -> AsyncIterator[str]:
            yield "begun"
            await anyio.sleep_forever()

        return EventStream(begin())


async def until_ended(
    app: App, act: Any, caplog: pytest.LogCaptureFixture, inside: Any = None
) -> tuple[BaseException | None, bytes]:
    """End the lifespan by ``act()``, then make a request, call ``inside``, and shut down. Return
    what the lifespan raises, and the response.
    """
    deadlines = list[float]()

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        async def noting() -> Any:
            deadlines.append(anyio.current_effective_deadline())
            return await receive()

        await app(scope, noting, send)

    lifespan = Lifespan(watched)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lifespan.run)
        await lifespan.say("startup")
        act()
        await until_async(lambda: "the lifespan ended before shutdown" in caplog.text)
        answer = await get(app)
        if inside is not None:
            await inside(app)
        assert (await lifespan.say("shutdown"))["type"] == "lifespan.shutdown.failed"
    lifespan.close()
    assert len(deadlines) == 3
    assert len({*deadlines}) == 1  # the wait for shutdown has no time limit
    return lifespan.raised, answer.body


def test_a_task_of_a_lifespan_that_fails_ends_the_lifespan_and_not_the_server(
    backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = Grouped()
    raised, body = run(backend, until_ended, app, lambda: app.fails.set(), caplog)
    assert isinstance(raised, ExceptionGroup)
    assert repr(raised.exceptions) == "(LookupError('a task has failed'),)"
    assert body == b"served"
    assert app.log == ["inner", "leave"]  # what awaits inside the group is cancelled
    assert caplog.text.count("LookupError: a task has failed") == 2  # by shutdown, and by the end


def test_a_scope_around_the_yield_of_a_lifespan_ends_the_lifespan_and_not_the_server(
    backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = Limited()
    raised, body = run(backend, until_ended, app, lambda: app.around.cancel(), caplog)
    assert str(raised) == "a cancel scope around the yield of the lifespan was cancelled"
    assert body == b"served"


def test_R65_a_signal_ends_streams_also_after_the_lifespan_has_ended(
    backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = Limited()
    before = signal.signal(signal.SIGTERM, lambda *_: None)  # the server's handler

    async def stream_until_signal(app: App) -> None:
        call = Call(piece(b""))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(app, http_scope("GET", "/events"), call.receive, call.send)
            await until_async(lambda: b"begun" in call.body)
            signal.raise_signal(signal.SIGTERM)
        assert call.is_complete

    try:
        run(backend, until_ended, app, lambda: app.around.cancel(), caplog, stream_until_signal)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_task_of_a_lifespan_may_fail_during_startup(backend: str) -> None:
    app = Grouped()

    async def hang() -> None:
        app.fails.set()
        await anyio.sleep_forever()

    app.startup_handlers.append(hang)
    answer, _ = run(backend, around, app, None)
    assert answer["type"] == "lifespan.startup.failed"
    assert "ExceptionGroup" in answer["message"]


def test_a_server_may_cancel_an_application_that_only_has_def_handlers(backend: str) -> None:
    app, log = Plain(), []
    app.shutdown_handlers.append(lambda: log.append("down"))

    run(backend, until_cancelled, app)
    assert log == ["down"]


def test_a_server_may_cancel_a_lifespan_with_a_task_group(backend: str) -> None:
    app = Grouped()

    run(backend, until_cancelled, app)
    assert [one for one in app.log if one in ("inner", "leave")] == ["inner", "leave"]


def test_without_a_lifespan_a_task_group_outlives_the_request_that_starts_it(
    backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = Grouped()

    async def main() -> None:
        for _ in range(2):
            with anyio.fail_after(PATIENCE):  # a scope that the application must not leave open
                assert (await get(app)).body == b"served"
        assert app.log == []

    run(backend, main)
    assert [one for one in app.log if one in ("inner", "leave")] == ["inner", "leave"]
    assert caplog.records == []


def test_without_a_lifespan_a_task_that_fails_does_not_end_the_server(
    backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = Grouped()

    async def main() -> None:
        await get(app)
        app.fails.set()
        await until_async(lambda: "the lifespan ended before shutdown" in caplog.text)
        assert (await get(app)).body == b"served"

    run(backend, main)
    assert app.log == ["inner", "leave"]


def test_without_a_lifespan_a_task_may_fail_during_startup(backend: str) -> None:
    app = Grouped()

    async def fail() -> None:
        app.fails.set()
        await anyio.sleep_forever()

    app.startup_handlers.append(fail)
    assert run(backend, get, app).status == 500


def test_without_a_lifespan_a_request_that_is_cancelled_cancels_startup(backend: str) -> None:
    app = rooted()

    async def hang() -> None:
        app.log.append("hangs")
        await anyio.sleep_forever()

    app.startup_handlers.append(hang)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(get, app)
            await until_async(lambda: "hangs" in app.log)
            tasks.cancel_scope.cancel()
        await until_async(lambda: "leave" in app.log)
        app.startup_handlers.clear()
        assert (await get(app)).body == b"served"

    run(backend, main)
    assert app.log[:4] == ["enter", "hangs", "leave", "enter"]


class Processes:
    """In place of a pool's processes, whose end may take seconds."""

    def __init__(self, log: list[str]) -> None:
        self.log = log

    def close(self) -> None:
        self.log.append(where())


@pytest.mark.parametrize("is_cancelled", [True, False])
def test_shutdown_waits_for_processes_in_a_thread(backend: str, is_cancelled: bool) -> None:
    app = rooted()
    app.pool._made.append(Processes(app.log))

    async def main() -> None:
        lifespan = Lifespan(app)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lifespan.run)
            await lifespan.say("startup")
            if is_cancelled:
                tasks.cancel_scope.cancel()
            else:
                await lifespan.say("shutdown")
        lifespan.close()

    run(backend, main)
    assert sorted(app.log) == ["enter", "leave", "thread"]


def test_without_a_lifespan_each_event_loop_starts_the_application_again(backend: str) -> None:
    app = rooted()
    app.pool._made.append(Processes(app.log))
    for _ in range(2):
        assert run(backend, get, app).body == b"served"
    assert app.log == ["enter", "leave", "thread"] * 2


def test_the_end_of_a_loop_without_a_lifespan_leaves_another_lifespan_alone(backend: str) -> None:
    app = rooted()
    alone = TestClient(app, backend=backend)
    alone.get("/")
    with TestClient(app, backend=backend) as client:
        alone.close()
        assert client.get("/").text == "served"
    assert app.log == ["enter", "enter", "leave", "leave"]


def test_the_lifespan_state_hides_the_framework_s_entries(backend: str) -> None:
    seen: list[Any] = []

    class Root(App):
        async def index(self) -> None:
            seen.append(repr(self.request.state))

    app, state = Root(), {"own": 1}

    async def request() -> None:
        await get(app, state=dict(state))

    run(backend, around, app, state, request)
    assert seen == ["State({'own': 1})"]


def test_an_unknown_scope_is_refused(backend: str) -> None:
    with pytest.raises(RuntimeError, match="'mqtt'"):
        run(backend, App(), {"type": "mqtt"}, None, print)


@pytest.mark.parametrize("is_started", [False, True])
def test_a_websocket_without_a_handler_is_refused(backend: str, is_started: bool) -> None:
    app, sent = App(), []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    async def main() -> None:
        if is_started:
            await get(app)
        await app({**http_scope(), "type": "websocket"}, receive, send)

    run(backend, main)
    assert sent in (
        ["websocket.close"],
        ["websocket.http.response.start", "websocket.http.response.body"],
    )


def test_a_call_with_keywords_is_accepted(backend: str) -> None:
    async def main() -> bytes:
        call = Call(piece(b""))
        await Plain()(scope=http_scope(), receive=call.receive, send=call.send)
        return call.body

    assert run(backend, main) == b"served"
