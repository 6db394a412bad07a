"""What a request holds for a call that goes on in its thread, and what is called at its end."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from threading import Event
from typing import Any, NewType

import anyio
import pytest

from micropie import App, EventStream, HTTPError, Request, UploadFile, post, run_in
from micropie._core.execution import Action
from micropie._core.execution.steps import CALL, RELEASE, Flow, after_response, call_each
from micropie.asgi import lifespan, steps
from micropie.middleware import Timeout
from micropie.wsgi import WSGIExchange, driver
from tests.asgi.calls import Call, http_scope, piece, run
from tests.support.clients import MakeClient
from tests.support.waiting import PATIENCE, until, until_async
from tests.wsgi.calls import environ_for

Pool = NewType("Pool", str)
Db = NewType("Db", str)
name: ContextVar[str] = ContextVar("name")


class Root(App):
    """Its handlers go on until ``may_end``; ``diary`` says what happened in which order."""

    is_left = False  # whether a time limit has ended while a handler ran
    exchange: Any  # of the last request that got a 503
    outlasts_answer = False  # whether ``may_end`` isn't set by the response

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.diary: list[str] = []
        self.may_end = Event()
        self.error(503)(self._answer)

    def _answer(self, request: Request, error: HTTPError) -> str:
        self.diary.append("answered")
        self.exchange = request._exchange
        self.is_left = bool(self.exchange.left_calls)
        if not self.outlasts_answer:
            self.may_end.set()
        return "too late"

    def _work(self) -> None:
        assert self.may_end.wait(PATIENCE)

    def using(self, db: Db) -> None:
        self._work()
        self.diary.append("handler")

    @post
    def reading(self, file: UploadFile) -> None:
        self._work()
        self.diary.append(f"read {len(file.file.read())}")

    @post
    def reading_later(self, file: UploadFile) -> str:
        def read() -> None:
            self._work()
            self.diary.append(f"read {len(file.file.read())}")

        self.request.after_response(read)
        return "sent"

    def _db(self, value: str = "open") -> Iterator[Db]:
        token = name.set("provider")
        try:
            yield Db(value)
        except HTTPError as error:
            self.diary.append(f"rolled back after {error.status}")
            raise
        finally:
            name.reset(token)
            self.diary.append("closed")


def sync_provider(app: Root) -> None:
    @app.provides(Db)
    def db() -> Iterator[Db]:
        yield from app._db()


def loop_provider(app: Root) -> None:
    @app.provides(Db)
    @run_in("loop")
    def db() -> Iterator[Db]:
        yield from app._db()


def async_provider(app: Root) -> None:
    @app.provides(Db)
    async def db() -> AsyncIterator[Db]:
        opened: Any = app._db()
        value = next(opened)
        try:
            yield value
        except HTTPError as error:
            opened.throw(error)


def mixed_providers(app: Root) -> None:
    @app.provides(Pool)
    async def pool() -> AsyncIterator[Pool]:
        yield Pool("pool")

    @app.provides(Db)
    def db(of: Pool) -> Iterator[Db]:
        yield from app._db(of)


def once_provider(app: Root) -> None:
    app.provides(Pool, once=True)(lambda: Pool("pool"))

    @app.provides(Db)
    def db(of: Pool) -> Iterator[Db]:
        yield from app._db(of)


def limited(seconds: float = 0.05) -> Root:
    app = Root()
    app.middlewares.append(Timeout(seconds))
    return app


def left(app: Root, ask: Callable[[], Any], caplog: pytest.LogCaptureFixture) -> str:
    """Send a request whose handler its time limit leaves, and return the text of the response. Send
    it again as long as the limit ends before a thread has begun to run the handler.
    """
    while True:
        text: str = ask().text
        if app.is_left:
            return text
        app.diary.clear()
        app.may_end.clear()
        caplog.clear()


@pytest.mark.parametrize("provide", [sync_provider, loop_provider, async_provider, mixed_providers])
def test_a_provider_ends_after_the_call_that_uses_its_resource(
    make_client: MakeClient, provide: Callable[[Root], None], caplog: pytest.LogCaptureFixture
) -> None:
    app = limited()
    provide(app)
    client = make_client(app)
    assert left(app, lambda: client.get("/using"), caplog) == "too late"
    until(lambda: "closed" in app.diary)
    assert app.diary == ["answered", "handler", "rolled back after 503", "closed"]
    (record,) = caplog.records  # no token of another context
    assert "did not finish within" in record.getMessage()


@pytest.mark.parametrize(
    ("world", "provide"),
    [
        ("wsgi", async_provider),
        ("asyncio", async_provider),
        ("asyncio", mixed_providers),
        ("wsgi", once_provider),
        ("asyncio", once_provider),
        ("trio", once_provider),
    ],
)
def test_a_provider_that_waits_for_a_call_lets_middleware_exit_its_scopes(
    connect: MakeClient,
    world: str,
    provide: Callable[[Root], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = limited()
    provide(app)

    async def grouped(_: Request) -> AsyncIterator[None]:
        async with anyio.create_task_group():
            yield

    app.middlewares.insert(0, grouped)
    client = connect(app, world)
    assert left(app, lambda: client.get("/using"), caplog) == "too late"
    until(lambda: "closed" in app.diary)
    assert app.diary == ["answered", "handler", "rolled back after 503", "closed"]
    assert len(caplog.records) == 1


@pytest.mark.parametrize("hangs", [False, True])
def test_shutdown_closes_what_a_left_call_uses_before_its_handlers_run(
    connect: MakeClient,
    world: str,
    hangs: bool,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (lifespan, after_response):
        monkeypatch.setattr(module, "CALL", CALL._replace(leave_after=0 if hangs else PATIENCE))
    app = limited()
    app.outlasts_answer = True
    app.shutdown_handlers.append(lambda: app.diary.append("shutdown"))
    sync_provider(app)
    client = connect(app, world)
    assert left(app, lambda: client.get("/using"), caplog) == "too late"
    rest, waits, wait = ["handler", "rolled back after 503", "closed"], Event(), after_response.wait

    def noted_wait(futures: Any, timeout: float) -> None:
        if futures:
            waits.set()
        wait(futures, timeout)

    monkeypatch.setattr(after_response, "wait", noted_wait)

    def is_stopping() -> bool:
        if world == "wsgi":
            return waits.is_set() or "shutdown" in app.diary
        return app.exchange.server_tasks() is None

    with ThreadPoolExecutor(1) as threads:
        stopped = threads.submit(client.close)
        until(stopped.done if hangs else is_stopping)
        assert not (hangs and after_response._left)  # no later shutdown waits for it
        app.may_end.set()
        stopped.result()
    until(lambda: "closed" in app.diary)
    assert app.diary == ["answered", *(["shutdown", *rest] if hangs else [*rest, "shutdown"])]


def test_shutdown_ends_a_request_that_waits_for_a_silent_source(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only its own task can close an async provider, and servers wait for this task."""
    monkeypatch.setattr(steps, "CALL", CALL._replace(leave_after=0))
    app, begun, found = Root(), Event(), list[object]()
    async_provider(app)

    @app.get("/events")
    def events(db: Db) -> EventStream:
        app.exchange = app.request._exchange

        def silent() -> Iterator[None]:
            begun.set()
            app._work()
            yield

        return EventStream(silent())

    async def check() -> None:
        call = Call(piece(b""))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(app, http_scope("GET", "/events"), call.receive, call.send)
            await until_async(begun.is_set)
            call.leave()
            await until_async(lambda: any(one._at_end for one in app.exchange.left_calls))
            found.append([*app.diary])
            app._micropie.compiled().config.shutdown.end()
        found.append([*app.diary])
        app.may_end.set()

    run(backend, check)
    assert found == [[], ["closed"]]


@pytest.mark.parametrize("error", [LookupError("no end"), SystemExit(3)])
def test_a_provider_that_fails_after_its_call_is_logged(
    make_client: MakeClient, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    app = limited()

    @app.provides(Db)
    def db() -> Iterator[Db]:
        try:
            yield Db("open")
        finally:
            raise error

    client = make_client(app)
    assert left(app, lambda: client.get("/using"), caplog) == "too late"
    until(lambda: "closing a resource of this request failed" in caplog.text)
    assert app.diary == ["answered", "handler"]


def test_an_upload_stays_open_until_the_call_has_ended(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    app = limited(0.2)
    sync_provider(app)
    client, files = make_client(app), {"file": b"x" * 5_000_000}
    assert left(app, lambda: client.post("/reading", files=files), caplog) == "too late"
    until(lambda: "read 5000000" in app.diary)


def test_an_upload_stays_open_until_after_response_functions_have_ended(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    app = Root(background_timeout=0.5)
    sync_provider(app)
    client, files = make_client(app), {"file": b"x" * 5_000_000}
    while "did not finish" not in caplog.text:  # its time may end before a thread has begun it
        caplog.clear()
        assert client.post("/reading_later", files=files).text == "sent"
        until(lambda: "background_timeout" in caplog.text)
    app.may_end.set()
    until(lambda: "read 5000000" in app.diary)


class Left:
    """A call whose end a test decides."""

    def __init__(self) -> None:
        self.has_ended = False
        self._actions: list[Action] = []

    def when_ended(self, action: Action) -> None:
        if self.has_ended:
            action()
        else:
            self._actions.append(action)

    def end(self) -> None:
        self.has_ended = True
        for action in self._actions:
            action()


@pytest.mark.parametrize("first", [0, 1])
def test_two_abandoned_calls_have_ended_when_both_have(first: int) -> None:
    calls, ends = (Left(), Left()), list[bool]()
    exchange = WSGIExchange(environ_for())
    for call in calls:
        exchange.note_left_call(call)
    exchange.when_unused(lambda: ends.append(exchange.is_in_use))
    calls[first].end()
    assert not ends
    assert exchange.is_in_use
    calls[1 - first].end()
    assert ends == [False]
    exchange.when_unused(lambda: ends.append(exchange.is_in_use))
    assert ends == [False, False]


def test_shutdown_does_not_wait_for_clean_up_that_was_interrupted() -> None:
    app = App()
    exchange = WSGIExchange(environ_for())
    exchange.config = app._micropie.compiled().config

    def interrupt() -> None:
        raise KeyboardInterrupt

    def ending() -> Flow[None]:
        yield RELEASE, interrupt, ()

    exchange.note_left_call(call := Left())
    exchange.ending = ending()
    driver._close(exchange, copy_context())
    assert len(after_response._left) == 1
    with pytest.raises(KeyboardInterrupt):
        call.end()
    assert not after_response._left


# -- what is called at the end of a request --------------------------------------------------------


@pytest.mark.parametrize("error", [LookupError("no end"), SystemExit(3)])
@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_failing_on_close_function_does_not_prevent_the_others(
    make_client: MakeClient,
    error: BaseException,
    is_streamed: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    called: list[str] = []
    reported: list[BaseException] = []
    app = App(on_error=reported.append)

    def fail() -> None:
        called.append("second")
        raise error

    @app.get("/")
    def handler() -> Any:
        for close in (lambda: called.append("first"), fail, lambda: called.append("third")):
            app.request.on_close(close)
        return iter(["a", "b"]) if is_streamed else "ab"

    assert make_client(app).get("/").text == "ab"
    until(lambda: len(called) == 3)
    assert called == ["first", "second", "third"]
    until(lambda: len(reported) == 1)
    assert "a function passed to on_close failed" in caplog.text


def test_an_exception_for_the_server_is_raised_after_all_functions_ran() -> None:
    called: list[str] = []

    def interrupt() -> None:
        raise KeyboardInterrupt

    functions = [interrupt, lambda: called.append("second")]
    with pytest.raises(KeyboardInterrupt):
        call_each(functions, (), lambda failure: called.append(str(failure)))
    assert called == ["second"]


@pytest.mark.parametrize("error", [LookupError("no report"), SystemExit(3), GeneratorExit()])
def test_a_failing_error_report_does_not_affect_the_client(
    make_client: MakeClient, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: BaseException) -> None:
        raise error

    app, reported = App(on_error=fail), list[BaseException]()

    @app.get("/")
    def handler() -> None:
        app.request.on_failure(reported.append)
        raise LookupError("the handler's")

    assert make_client(app).get("/").status_code == 500
    assert [type(one) for one in reported] == [LookupError]
    assert "a function passed to on_error or on_failure failed" in caplog.text


def test_an_exit_in_the_cleanup_of_a_stream_fails_one_request_only(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    closed: list[str] = []
    app = App()

    @app.provides(Db)
    def db() -> Iterator[Db]:
        yield Db("open")
        sys.exit("no end")

    @app.get("/")
    def handler(db: Db) -> Iterator[str]:
        app.request.on_close(lambda: closed.append("closed"))
        yield db

    with caplog.at_level(logging.ERROR, "micropie"):
        client = make_client(app)
        assert client.get("/").text == "open"
        until(lambda: closed == ["closed"])
        assert "closing a resource of this request failed" in caplog.text
        assert client.get("/").text == "open"
