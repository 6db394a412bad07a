"""``AsyncTestClient``: the application runs in the loop of the test."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from micropie import App, EventStream, HTTPError, event
from micropie.middleware import BasicAuth
from micropie.testing import (
    AsyncTestClient,
    AsyncWebSocketSession,
    ClientError,
    LifespanFailed,
    WebSocketClosed,
    WebSocketRefused,
)
from tests.support.waiting import PATIENCE
from tests.testing.apps import Echo

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _no_new_threads() -> None:
    """Let the loops keep the threads in which the client waits, for a while."""


class Thing:
    def __init__(self, name: str) -> None:
        self.name = name


class Root(App):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.events: list[str] = []
        self.startup_handlers.append(lambda: self.events.append("start"))
        self.shutdown_handlers.append(lambda: self.events.append("stop"))

    async def wait(self) -> str:
        await self.released.wait()
        return "released"

    released: anyio.Event

    def echo(self, **values: str) -> Any:
        return [self.request.method, self.request.headers.get("x-a"), values]

    def keep(self, key: str, value: str) -> str:
        self.request.session[key] = value
        return ""

    def show(self) -> Any:
        return dict(self.request.session)

    def thing(self, thing: Thing) -> str:
        return thing.name

    async def lines(self) -> AsyncIterator[str]:
        for number in range(3):
            await anyio.lowlevel.checkpoint()
            yield f"{number}\n"

    def fails(self) -> None:
        raise KeyError("secret")

    def ticks(self) -> EventStream:
        def ticks() -> Iterator[Any]:
            yield event("1", id=7)
            yield "2"

        return EventStream(ticks())

    async def ws_echo(self, ws: Any) -> None:
        await ws.accept(subprotocol=(ws.subprotocols or [None])[0], headers=[("X-A", "1")])
        async for message in ws:
            if message == "close":
                await ws.close(4000, "as told")
            elif isinstance(message, bytes):
                await ws.send_bytes(message)
            else:
                await ws.send_text(message)

    async def ws_no(self, ws: Any) -> None:
        raise HTTPError(403)


def app() -> Root:
    root = Root(methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
    root.provides(Thing)(lambda: Thing("real"))
    return root


async def test_requests_of_every_method_work() -> None:
    root = app()
    async with AsyncTestClient(root, headers={"X-A": "1"}) as client:
        assert root.events == ["start"]
        for method in ("get", "post", "put", "patch", "delete", "options"):
            answer = await getattr(client, method)("/echo", params={"b": "2"})
            assert answer.json() == [method.upper(), "1", {"b": "2"}]
        assert (await client.head("/echo")).status_code == 200
        client.headers["X-A"] = "2"
        assert (await client.request("GET", "/echo")).json()[1] == "2"
    assert root.events == ["start", "stop"]


def test_the_async_client_works_on_a_loop_that_anyio_did_not_start() -> None:
    async def test() -> str:
        async with AsyncTestClient(app()) as client:
            return (await client.get("/thing")).text

    assert asyncio.run(test()) == "real"


def test_a_fixture_may_leave_the_client_in_another_task() -> None:
    root = app()
    with asyncio.Runner() as runner:  # as pytest-asyncio and unittest run fixtures and tests
        client = AsyncTestClient(root)
        runner.run(client.__aenter__())
        assert runner.run(client.get("/thing")).text == "real"
        runner.run(client.__aexit__())
        assert not asyncio.all_tasks(runner.get_loop())
    assert root.events == ["start", "stop"]


async def test_the_application_sees_the_context_variables_of_the_test() -> None:
    variable: ContextVar[str] = ContextVar("tenant")
    variable.set("own")
    root = App()

    @root.get("/")
    async def tenant() -> str:
        return variable.get("none")

    async with AsyncTestClient(root) as client:
        assert (await client.get("/")).text == "own"


async def test_the_application_runs_in_the_loop_of_the_test() -> None:
    root = app()
    root.released = anyio.Event()
    answers: list[str] = []
    async with AsyncTestClient(root) as client, anyio.create_task_group() as tasks:

        async def ask() -> None:
            answers.append((await client.get("/wait")).text)

        tasks.start_soon(ask)
        tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        root.released.set()
    assert answers == ["released"] * 2


@pytest.mark.parametrize("protocol", ["asgi", "wsgi"])
async def test_a_body_may_be_a_sync_or_async_iterator(protocol: str) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for chunk in (b"a", b"", b"bc"):
            await anyio.lowlevel.checkpoint()
            yield chunk

    half = Echo().wsgi if protocol == "wsgi" else Echo().asgi
    async with AsyncTestClient(half, protocol=protocol, lifespan=False) as client:
        for content in (chunks(), iter([b"a", b"bc"]), [b"a", b"bc"]):
            assert "".join((await client.post("/", content=content)).json()["body"]) == "abc"


async def test_a_file_as_the_body_has_its_length() -> None:
    async with AsyncTestClient(Echo().asgi, lifespan=False) as client:
        seen = (await client.post("/", content=io.BytesIO(b"abc"))).json()
        assert "".join(seen["body"]) == "abc"
        assert seen["headers"]["content-length"] == "3"


async def test_cookies_and_headers_work_as_in_the_test_client() -> None:
    async with AsyncTestClient(app(), headers={"X-A": "1"}) as client:
        client.cookies = {"a": "1"}
        client.headers = {"X-A": "2"}
        assert (client.client.cookies["a"], client.client.headers["X-A"]) == ("1", "2")
        assert (await client.get("/echo")).json()[1] == "2"
        assert client.client.is_closed is False
    assert client.is_closed
    assert client.client.is_closed


async def test_under_wsgi_the_application_runs_in_threads() -> None:
    async with AsyncTestClient(app(), protocol="wsgi") as client:
        assert (await client.get("/echo?a=1")).json()[2] == {"a": "1"}


async def test_streams_and_events_can_be_read() -> None:
    async with AsyncTestClient(app()) as client:
        for name, found in (
            ("aiter_lines", ["0", "1", "2"]),
            ("aiter_text", ["0\n", "1\n", "2\n"]),
            ("aiter_bytes", [b"0\n", b"1\n", b"2\n"]),
            ("aiter_raw", [b"0\n", b"1\n", b"2\n"]),
        ):
            async with client.stream("GET", "/lines") as answer:
                assert answer.status_code == 200
                assert [one async for one in getattr(answer, name)()] == found
        async with client.stream("GET", "/lines") as answer:
            assert await answer.aread() == b"0\n1\n2\n"
        async with client.sse("/ticks") as events:
            assert [(one.data, one.id) async for one in events] == [("1", "7"), ("2", "7")]


async def test_sessions_logins_and_overrides_work() -> None:
    root = app()
    async with AsyncTestClient(root) as client:
        await client.get("/keep/a/1")
        async with client.session_transaction() as session:
            assert session == {"a": "1"}
            session["b"] = 2
        assert (await client.get("/show")).json() == {"a": "1", "b": 2}
        assert len(client.cookies) == 1
        await client.login(user="alice")
        assert (await client.get("/show")).json()["user"] == "alice"
        await client.logout()
        assert (await client.get("/show")).json() == {}
        with client.override(Thing, Thing("fake")):
            assert (await client.get("/thing")).text == "fake"
        assert (await client.get("/thing")).text == "real"
        root.middlewares.append(BasicAuth({"alice": "sesame"}.get, realm="pies"))
        client.login_basic("alice", "sesame")
        assert (await client.get("/thing")).status_code == 200


async def test_websockets_work() -> None:
    async with AsyncTestClient(app()) as client:
        async with client.websocket("/echo", subprotocols=["pie"]) as ws:
            assert isinstance(ws, AsyncWebSocketSession)
            assert (ws.accepted_subprotocol, ws.headers["x-a"]) == ("pie", "1")
            await ws.send_text("hello")
            assert await ws.receive_text() == "hello"
            await ws.send_bytes(b"bytes")
            assert await ws.receive_bytes() == b"bytes"
            await ws.send_json({"a": 1})
            assert await ws.receive_json() == {"a": 1}
            await ws.send({"type": "websocket.receive", "text": "raw"})
            assert (await ws.receive())["text"] == "raw"
            await ws.send_text("close")
            with pytest.raises(WebSocketClosed) as closed:
                await ws.receive()
            assert (closed.value.code, closed.value.reason) == (4000, "as told")
        async with client.websocket("/echo") as ws:
            await ws.close(4001, "bye")
        with pytest.raises(WebSocketRefused):
            async with client.websocket("/no"):
                pass


async def test_errors_reach_the_test() -> None:
    class Raises:
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            raise KeyError("secret")

    async with AsyncTestClient(Raises(), lifespan=False) as client:
        with pytest.raises(KeyError):
            await client.get("/")
    with pytest.raises(LookupError):
        async with AsyncTestClient(app()) as client, client.websocket("/echo"):
            raise LookupError
    broken = app()
    broken.startup_handlers.append(lambda: 1 / 0)
    with pytest.raises(LifespanFailed):
        async with AsyncTestClient(broken):
            pass


async def test_the_async_client_has_to_be_entered() -> None:
    with pytest.raises(ClientError, match="async with AsyncTestClient"):
        await AsyncTestClient(app()).get("/echo")


async def test_a_cancelled_test_ends() -> None:
    root = app()
    root.released = anyio.Event()
    with anyio.CancelScope() as scope:
        async with AsyncTestClient(root, app_timeout=PATIENCE) as client:
            scope.deadline = anyio.current_time() + 0.01
            await client.get("/wait")
    assert scope.cancelled_caught


async def test_a_test_may_give_up_waiting_for_a_message() -> None:
    async with AsyncTestClient(app()) as client, client.websocket("/echo") as ws:
        with anyio.move_on_after(0.01) as scope:
            await ws.receive_text()
        assert scope.cancelled_caught
        await ws.send_text("hello")
        assert await ws.receive_text() == "hello"


async def test_a_test_may_give_up_a_request() -> None:
    root = app()
    root.released = anyio.Event()
    async with AsyncTestClient(root, app_timeout=PATIENCE) as client:
        with anyio.move_on_after(0.01) as scope:
            await client.get("/wait")
        assert scope.cancelled_caught
        root.released.set()
        assert (await client.get("/wait")).text == "released"


async def test_a_test_cancelled_before_its_client_has_started_ends() -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with AsyncTestClient(app()):
            raise AssertionError("not reached")
    assert scope.cancelled_caught
    await anyio.lowlevel.checkpoint()  # on trio, the nursery that was not left was found here


def test_pytest_does_not_collect_the_async_client() -> None:
    assert AsyncTestClient.__test__ is False
