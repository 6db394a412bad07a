"""Startup and shutdown: order, failures, undoing; the same under the lifespan protocol and under
WSGI.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from functools import partial
from threading import Timer
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
import pytest

from micropie import App, SetupError, route
from micropie.testing import LifespanFailed, TestClient
from tests.support.asgi_validator import validated
from tests.support.clients import MakeClient, validated_wsgi
from tests.support.waiting import until

Living = Callable[[App], AbstractContextManager[TestClient]]


class Logged(App):
    """An application that notes what is started and stopped in `log`."""

    def __init__(self, log: list[str], name: str = "", **settings: Any) -> None:
        super().__init__(**settings)
        self.log, self.name = log, name
        self.startup_handlers += [self._sync_up, self._async_up]
        self.shutdown_handlers += [self._sync_down, self._async_down]

    def _sync_up(self) -> None:
        self.log.append(f"{self.name}up")

    async def _async_up(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.log.append(f"{self.name}async up")

    def _sync_down(self) -> None:
        self.log.append(f"{self.name}down")

    async def _async_down(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.log.append(f"{self.name}async down")

    def index(self) -> str:
        return "served"


class Spanned(Logged):
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[Any]:
        self.log.append(f"{self.name}enter")
        async with anyio.create_task_group():  # has to be left in the task that entered it
            yield {"pool": "opened"}
        self.log.append(f"{self.name}leave")

    def pool_(self) -> Any:
        return self.state.pool


@pytest.fixture
def living(world: str) -> Living:
    """`with living(app) as client:` a client whose application has started, under WSGI by a
    request.
    """

    @contextmanager
    def living(app: App) -> Iterator[TestClient]:
        with connected(app, world) as client:
            client.get("/")
            yield client

    return living


def connected(app: App, world: str, **options: Any) -> TestClient:
    if world == "wsgi":
        return TestClient(validated_wsgi(app), protocol="wsgi", **options)
    return TestClient(validated(app), backend=world, **options)


def test_startup_and_shutdown_handlers_run_once_in_order(living: Living) -> None:
    log: list[str] = []
    with living(Spanned(log)) as client:
        client.get("/")
        assert log == ["enter", "up", "async up"]
    assert log == ["enter", "up", "async up", "down", "async down", "leave"]


def test_inner_applications_start_after_and_stop_before_the_outer_one(living: Living) -> None:
    log: list[str] = []
    app = Spanned(log, "outer ")
    app.inner = Spanned(log, "inner ")
    begun, ended = ("enter", "up", "async up"), ("down", "async down", "leave")
    with living(app):
        assert log == [f"{name} {what}" for name in ("outer", "inner") for what in begun]
        log.clear()
    assert log == [f"{name} {what}" for name in ("inner", "outer") for what in ended]


def test_the_value_yielded_by_the_lifespan_is_the_application_s_state(living: Living) -> None:
    with living(Spanned([])) as client:
        assert client.get("/pool").text == "opened"


def test_R65_the_subscription_of_a_task_that_startup_creates_ends_at_shutdown(
    living: Living,
) -> None:
    """The exit of the task group waits for the task."""
    log: list[str] = []

    class Site(App):
        @asynccontextmanager
        async def lifespan(self) -> AsyncIterator[None]:
            async with anyio.create_task_group() as tasks:
                await tasks.start(self._listen)
                yield

        async def _listen(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
            async with self.channels.subscribe("room") as messages:
                task_status.started()
                log.extend([message async for message in messages])

        def index(self) -> None:
            self.channels.publish("room", "served")

    app = Site()
    for _ in range(2):  # the second startup follows a shutdown
        with living(app):
            assert log == []
        assert log == ["served"]
        log.clear()


@pytest.mark.parametrize("how", ["argument", "generator", "assigned"])
def test_a_lifespan_function_is_given_the_application(living: Living, how: str) -> None:
    seen: list[Any] = []

    async def lifespan(app: Any) -> AsyncIterator[dict[str, str]]:
        seen.append(app)
        yield {"pool": "opened"}
        seen.append("left")

    app: Any = App(lifespan=lifespan if how == "generator" else asynccontextmanager(lifespan))
    if how == "assigned":
        app = App()
        app.lifespan = asynccontextmanager(partial(lifespan, app))
    app.pool_ = route()(lambda: app.state.pool)
    with living(app) as client:
        assert client.get("/pool").text == "opened"
    assert seen == [app, "left"]


def test_a_sync_handler_may_return_an_awaitable(living: Living) -> None:
    seen: list[str] = []

    async def later() -> None:
        seen.append("later")

    app = App()
    app.startup_handlers.append(lambda: later())
    with living(app):
        assert seen == ["later"]


def test_sync_handlers_need_no_loop(living: Living) -> None:
    seen: list[str] = []
    app = App()
    app.startup_handlers.append(lambda: seen.append("up"))
    app.shutdown_handlers.append(lambda: seen.append("down"))
    with living(app):
        pass
    assert seen == ["up", "down"]


def test_an_application_can_be_started_again(living: Living) -> None:
    log: list[str] = []
    app = Spanned(log)
    for _ in range(2):
        with living(app):
            pass
    assert log == ["enter", "up", "async up", "down", "async down", "leave"] * 2


def test_changing_the_routes_does_not_start_again(living: Living) -> None:
    log: list[str] = []
    app = Logged(log)
    with living(app) as client:
        app.later = route()(lambda: "later")
        assert client.get("/later").text == "later"
        assert log == ["up", "async up"]


def test_without_a_lifespan_the_first_request_runs_startup(make_client: MakeClient) -> None:
    log: list[str] = []
    client = make_client(Logged(log), lifespan=False)
    assert [client.get("/").text for _ in range(2)] == ["served", "served"]
    assert log == ["up", "async up"]


# -- R71: failures ---------------------------------------------------------------------------------


class Failing(Spanned):
    """The second of three startup handlers fails."""

    def __init__(self, log: list[str], error: BaseException, *, sync: bool = True) -> None:
        super().__init__(log)
        self.error = error  # type: ignore[assignment]
        self.startup_handlers[1:] = [self._fail if sync else self._async_fail, self._async_up]

    def _fail(self) -> None:
        raise self.error  # type: ignore[call-arg, misc]

    async def _async_fail(self) -> None:
        await anyio.lowlevel.checkpoint()
        raise self.error  # type: ignore[call-arg, misc]


UNDONE = ["enter", "up", "down", "async down", "leave"]


@pytest.mark.parametrize("sync", [True, False])
def test_R71_a_failing_startup_is_reported_logged_and_undone(
    connect: MakeClient, backend: str, sync: bool, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []
    with pytest.raises(LifespanFailed, match="RuntimeError: no database"):
        connect(Failing(log, RuntimeError("no database"), sync=sync), backend)
    assert log == UNDONE
    assert [record.exc_info is not None for record in caplog.records] == [True]
    assert "no database" in caplog.text


@pytest.mark.parametrize("sync", [True, False])
def test_R71_a_failing_startup_under_wsgi_gets_a_500_and_is_logged_and_undone(
    connect: MakeClient, sync: bool, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []
    client = connect(Failing(log, RuntimeError("no database"), sync=sync), "wsgi")
    answer = client.get("/")
    assert (answer.status_code, answer.text) == (500, "500 Internal Server Error")
    assert log == UNDONE
    assert len(caplog.records) == 1
    assert "no database" in caplog.text


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_R71_without_a_lifespan_the_next_request_tries_startup_again(
    make_client: MakeClient, method: str
) -> None:
    log: list[str] = []
    app = Failing(log, RuntimeError("no database"))
    app.lifespan = None  # type: ignore[assignment, method-assign]
    client = make_client(app, lifespan=False, validate=method != "HEAD")
    failed = [client.request(method, "/") for _ in range(2)]
    body = b"500 Internal Server Error" if method == "GET" else b""
    assert [(answer.status_code, answer.content) for answer in failed] == [(500, body)] * 2
    assert {answer.headers["content-length"] for answer in failed} == {"25"}
    assert {answer.headers["content-type"] for answer in failed} == {"text/plain; charset=utf-8"}
    assert log == ["up", "down", "async down"] * 2
    app.startup_handlers[1] = lambda: None
    assert client.get("/").text == "served"


def test_a_setup_error_is_logged_in_one_sentence(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    app = App()
    app.get("/<a>/<b>")(lambda a: a)
    assert make_client(app, lifespan=False).get("/x/y").status_code == 500
    (record,) = caplog.records
    assert record.exc_info is None
    assert record.getMessage().startswith("startup failed, and the next request tries it again: ")
    assert record.getMessage().endswith("has no parameter 'b'")


def steps() -> Iterator[None]:
    yield


async def chunks() -> AsyncIterator[None]:
    yield


def needs_app(app: App) -> None: ...


@pytest.mark.parametrize("handler", [steps, chunks, needs_app, None, "connect"])
@pytest.mark.parametrize("name", ["startup_handlers", "shutdown_handlers"])
def test_a_handler_that_can_t_be_called_is_refused_at_startup(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, name: str, handler: Any
) -> None:
    app = App()
    getattr(app, name).append(handler)
    assert make_client(app, lifespan=False).get("/").status_code == 500
    assert (
        caplog.records.pop()
        .getMessage()
        .endswith(
            f"{getattr(handler, '__name__', repr(handler))} can't be a startup or shutdown handler: "
            "append a function without parameters, and don't call it; with a yield, pass "
            "App(lifespan=...)"
        )
    )


def test_R71_a_lifespan_that_fails_to_enter_is_reported(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        raise RuntimeError("no lifespan")
        yield

    app = Logged(log, lifespan=lifespan)
    assert make_client(app, lifespan=False).get("/").status_code == 500
    assert log == []
    assert "no lifespan" in caplog.text


def test_R71_everything_started_is_undone_in_reverse_even_if_that_fails(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []
    app = Logged(log, "outer ")
    app.inner = Logged(log, "inner ")
    app.last = Failing(log, RuntimeError("the cause"))

    def broken() -> None:
        raise ValueError("in the shutdown")

    app.inner.shutdown_handlers.insert(0, broken)  # type: ignore[attr-defined]
    assert make_client(app, lifespan=False).get("/").status_code == 500
    assert log[6:] == [
        "down", "async down", "leave", "inner down", "inner async down", "outer down",
        "outer async down",
    ]  # fmt: skip
    assert "the cause" in caplog.text
    assert "in the shutdown" in caplog.text


def test_R71_a_startup_error_has_no_false_context(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    error = RuntimeError("alone")
    make_client(Failing([], error), lifespan=False).get("/")
    assert (error.__context__, error.__cause__) == (None, None)
    assert "During handling" not in caplog.text


def test_R71_every_shutdown_handler_runs_and_the_first_failure_is_reported(
    backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []
    app = Spanned(log)

    def broken() -> None:
        raise RuntimeError("first failure")

    async def broken_too() -> None:
        raise ValueError("second failure")

    app.shutdown_handlers[:0] = [broken, broken_too]
    with (
        pytest.raises(LifespanFailed, match="RuntimeError: first failure"),
        connected(app, backend),
    ):
        pass
    assert log[3:] == ["down", "async down", "leave"]
    assert "first failure" in caplog.text
    assert "second failure" in caplog.text


def test_R71_every_shutdown_handler_runs_under_wsgi(caplog: pytest.LogCaptureFixture) -> None:
    log: list[str] = []
    app = Spanned(log)

    def broken() -> None:
        raise RuntimeError("first failure")

    app.shutdown_handlers.insert(0, broken)
    with pytest.raises(RuntimeError, match="first failure"), connected(app, "wsgi") as client:
        client.get("/")
    assert log[3:] == ["down", "async down", "leave"]
    assert "first failure" in caplog.text


def test_a_failed_shutdown_is_logged_once(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    app = Logged([])
    app.shutdown_handlers.append(lambda: 1 / 0)
    with pytest.raises(LifespanFailed, match="division by zero"), connected(app, backend):
        pass
    assert caplog.messages == ["shutdown failed"]


def test_a_slow_startup_or_shutdown_logs_its_running_function(
    living: Living, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("micropie._core.flow.lifecycle._LONG", 0.0)

    def waits_for_a_line(text: str) -> None:
        until(lambda: any(message.startswith(text) for message in caplog.messages))

    def opens() -> None:
        waits_for_a_line(f"startup: {opens.__qualname__} has been running for 0 s")

    def closes() -> None:
        waits_for_a_line(f"shutdown: {closes.__qualname__} has been running for 0 s")

    @asynccontextmanager
    async def lifespan(_: App) -> AsyncIterator[None]:
        waits_for_a_line("startup: lifespan has been running for 0 s")
        yield
        waits_for_a_line("shutdown: lifespan has been running for 0 s")

    app = App(lifespan=lifespan)
    app.startup_handlers, app.shutdown_handlers = [opens], [closes]
    with living(app):
        pass
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert len(caplog.records) == 4


def test_an_interpreter_that_can_start_no_thread_still_stops(
    living: Living, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: list[str] = []
    app = Logged(log)

    class NoTimer(Timer):
        def start(self) -> None:
            raise RuntimeError("can't create new thread at interpreter shutdown")

    with living(app):
        monkeypatch.setattr("micropie._core.flow.lifecycle.Timer", NoTimer)
    assert log == ["up", "async up", "down", "async down"]


@pytest.mark.parametrize("lifespan", [5, "x", object()])
def test_an_invalid_lifespan_is_refused(lifespan: Any) -> None:
    with pytest.raises(SetupError, match="asynccontextmanager"):
        App(lifespan=lifespan)


async def without_a_yield(app: App) -> None: ...


def with_a_yield(app: App) -> Iterator[None]:
    yield


class WithoutYield(App):
    @asynccontextmanager  # type: ignore[arg-type]
    async def lifespan(self) -> None: ...


@pytest.mark.parametrize(
    "make",
    [
        lambda: App(lifespan=asynccontextmanager(without_a_yield)),  # type: ignore[arg-type]
        lambda: App(lifespan=asynccontextmanager(with_a_yield)),  # type: ignore[arg-type]
        WithoutYield,
    ],
)
def test_a_lifespan_below_the_wrong_decorator_is_refused(make: Callable[[], App]) -> None:
    with pytest.raises(SetupError, match="can't be entered: write @contextmanager above a def, or"):
        make()._micropie.open_lifespan()


class NoManager(App):
    def lifespan(self) -> Any:
        return None


@pytest.mark.parametrize(
    "make", [lambda: App(lifespan=lambda app: 5), lambda: App(lifespan=lambda app: open), NoManager]
)
def test_a_lifespan_that_is_not_a_context_manager_is_refused(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, make: Callable[[], App]
) -> None:
    assert make_client(make(), lifespan=False).get("/").status_code == 500
    assert "takes a function of one argument that returns an async context" in caplog.text
    assert "asynccontextmanager" in caplog.text
