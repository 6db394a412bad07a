"""Failures that micropie answers with a 500, or only logs, are raised in the test."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from micropie import App, HTTPError, WebSocket
from micropie._core.execution.steps import Outage
from micropie.middleware import HttpMiddleware
from micropie.testing import (
    AsyncTestClient,
    LifespanFailed,
    TestClient,
    WebSocketClosed,
    WebSocketRefused,
)
from tests.support.clients import MakeClient
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def _no_new_threads() -> None:
    """An ``App`` may keep threads for the next request."""


class Mine(Exception):
    pass


class Connection:
    pass


class Hooks(HttpMiddleware):
    def __init__(self, stage: str) -> None:
        self._stage = stage

    def before_request(self, request: Any) -> None:
        if request.path == "/in" and self._stage == "before":
            raise Mine("before")

    def after_request(
        self, request: Any, status: Any, response_body: Any, extra_headers: Any
    ) -> None:
        if request.path == "/in" and self._stage == "after":
            raise Mine("after")


class Failing(App):
    def well(self) -> str:
        return "well"

    def handler(self) -> None:
        raise Mine("handler")

    async def coroutine(self) -> None:
        raise Mine("coroutine")

    def first_chunk(self) -> Iterator[str]:
        raise Mine("first chunk")
        yield ""

    def chunk(self) -> Iterator[str]:
        yield "a"
        raise Mine("chunk")

    async def async_chunk(self) -> AsyncIterator[str]:
        yield "a"
        raise Mine("async chunk")

    def provider(self, connection: Connection) -> str:
        return "provided"

    def stream_of_provider(self, connection: Connection) -> Iterator[str]:
        yield "provided"

    def later(self) -> str:
        self.request.after_response(self._fail, "later")
        return "answered"

    async def later_async(self) -> str:
        self.request.after_response(self._fail_async, "later async")
        return "answered"

    def exits(self) -> None:
        raise SystemExit("exits")

    def _fail(self, stage: str) -> None:
        raise Mine(stage)

    async def _fail_async(self, stage: str) -> None:
        raise Mine(stage)

    async def ws_before(self, ws: WebSocket) -> None:
        raise Mine("before")

    async def ws_after(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_text("last words")
        raise Mine("after")


def failing(**settings: Any) -> App:
    app = Failing(**settings)

    @app.provides(Connection)
    def connection() -> Iterator[Connection]:
        yield Connection()
        raise Mine("provider")

    return app


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        ("/handler", "handler"),
        ("/coroutine", "coroutine"),
        ("/first_chunk", "first chunk"),
        ("/chunk", "chunk"),
        ("/async_chunk", "async chunk"),
        ("/provider", "provider"),
        ("/stream_of_provider", "provider"),
    ],
)
def test_a_failure_is_raised_once(make_client: MakeClient, path: str, stage: str) -> None:
    reported: list[BaseException] = []
    client = make_client(failing(on_error=reported.append), reports=True)
    with pytest.raises(Mine, match=stage) as caught:
        client.get(path)
    assert reported == [caught.value]
    assert client.get("/well").text == "well"


@pytest.mark.parametrize("stage", ["before", "after"])
def test_a_failure_of_a_hook_is_raised(make_client: MakeClient, stage: str) -> None:
    app = App()
    app.middlewares.append(Hooks(stage))
    with pytest.raises(Mine, match=stage):
        make_client(app, reports=True).get("/in")


@pytest.mark.parametrize("path", ["/later", "/later_async"])
def test_a_failure_after_the_response_is_raised_when_the_client_is_closed(
    make_client: MakeClient, path: str
) -> None:
    client = make_client(failing(), reports=True)
    assert client.get(path).text == "answered"
    with pytest.raises(Mine, match="later"):
        client.close()
    client.app_transport.close()  # not again


def test_a_failure_in_the_application_s_own_thread_is_raised_later(make_client: MakeClient) -> None:
    class Threads(App):
        async def index(self) -> str:
            given = "failed", Mine("thread")
            thread = threading.Thread(target=self.request._exchange.log_failure, args=given)
            thread.start()
            await anyio.to_thread.run_sync(thread.join)
            return "answered"

    client = make_client(Threads(), reports=True)
    assert client.get("/").text == "answered"
    with pytest.raises(Mine, match="thread"):
        client.close()


@pytest.mark.parametrize("error", [Mine("thread"), SystemExit(3)])
def test_a_failure_in_a_thread_that_the_application_awaits_is_raised_immediately(
    connect: MakeClient, backend: str, error: BaseException
) -> None:
    class Threads(App):
        async def index(self) -> str:
            log_failure = self.request._exchange.log_failure
            await anyio.to_thread.run_sync(log_failure, "failed", error)
            return "answered"

    with pytest.raises(type(error)):
        connect(Threads(), backend, reports=True).get("/")


def test_a_failing_test_gets_a_note_about_a_late_failure(world: str) -> None:
    way: Any = {"protocol": "wsgi"} if world == "wsgi" else {"backend": world}

    def ask() -> None:
        with TestClient(failing(), **way) as client:
            client.get("/later")
            raise KeyError

    with pytest.raises(KeyError) as caught:
        ask()
    assert caught.value.__notes__ == ["closing the test client failed too: Mine('later')"]


def test_an_exit_is_raised_as_a_failure(make_client: MakeClient) -> None:
    with pytest.raises(RuntimeError) as caught:
        make_client(failing(), reports=True).get("/exits")
    assert isinstance(caught.value.__cause__, SystemExit)


def test_an_error_page_for_all_failures_hides_none_from_tests(
    world: str, connect: MakeClient
) -> None:
    app = failing()

    @app.error(Exception)
    def page(error: Exception) -> tuple[int, str]:
        return 500, "Sorry."

    with pytest.raises(Mine):
        connect(app, world, reports=True).get("/handler")
    client = connect(app, world, reports=True, raise_app_exceptions=False)
    assert client.get("/handler").text == "Sorry."


@pytest.mark.parametrize(
    ("error", "status"), [(HTTPError(500, "no"), 500), (Outage.Unavailable("soon", "why"), 503)]
)
def test_an_error_with_its_own_response_is_not_raised(
    make_client: MakeClient, error: Exception, status: int
) -> None:
    class Expected(App):
        def index(self) -> None:
            raise error

        def other(self) -> None:
            raise Mine

    app = Expected()

    @app.error(Mine)
    def answer() -> tuple[int, str]:
        return 409, "expected"

    client = make_client(app, reports=True)
    assert client.get("/").status_code == status
    assert client.get("/other").status_code == 409


def test_a_failing_startup_is_raised(world: str, connect: MakeClient) -> None:
    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[None]:
        raise Mine("start")
        yield

    app = App(lifespan=lifespan)
    with pytest.raises(Mine, match="start"):
        connect(app, world, reports=True, lifespan=False).get("/")
    client = connect(app, world, reports=True, lifespan=False, raise_app_exceptions=False)
    assert client.get("/").status_code == 500


def test_a_failing_lifespan_startup_is_raised_once(backend: str) -> None:
    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[None]:
        raise Mine("start")
        yield

    client = TestClient(App(lifespan=lifespan), backend=backend)
    with pytest.raises(LifespanFailed) as caught, client:
        pass
    assert isinstance(caught.value.__cause__, Mine)


def test_a_websocket_s_failure_is_raised(backend: str, connect: MakeClient) -> None:
    reported: list[BaseException] = []
    client = connect(failing(on_error=reported.append), backend, reports=True)
    with pytest.raises(Mine, match="before"), client.websocket("/before"):
        pass
    with client.websocket("/after") as ws:
        assert ws.receive_text() == "last words"
        with pytest.raises(Mine, match="after"):
            ws.receive()
        with pytest.raises(WebSocketClosed) as closed:
            ws.receive()
    assert closed.value.code == 1011
    with pytest.raises(Mine, match="after"), client.websocket("/after"):
        until(lambda: len(reported) == 3)  # otherwise the client may leave before the last words


def test_without_raising_a_failing_websocket_is_closed_as_for_a_client(
    backend: str, connect: MakeClient
) -> None:
    client = connect(failing(), backend, reports=True, raise_app_exceptions=False)
    with pytest.raises(WebSocketRefused), client.websocket("/before"):
        pass
    with client.websocket("/after") as ws:
        assert ws.receive_text() == "last words"
        with pytest.raises(WebSocketClosed):
            ws.receive()


def test_the_async_client_raises_failures_as_well(backend: str) -> None:
    async def test() -> None:
        async with AsyncTestClient(failing()) as client:
            with pytest.raises(Mine, match="coroutine"):
                await client.get("/coroutine")

    anyio.run(test, backend=backend)
