"""ASGI only: scopes, messages, `receive` and `send`, the event loop."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import anyio
import pytest

from micropie.testing import AppTimeout, ClientDisconnected, ProtocolViolation, TestClient
from tests.support.asgi_validator import Message, Receive, Send, validated
from tests.testing.apps import Plain, Stream, read_body, respond
from tests.testing.worlds import close_late, connect


def test_the_scope_follows_the_specification(backend: str) -> None:
    app = Plain()
    with connect(app, backend, lifespan=False, raise_app_exceptions=False) as client:
        client.post("/a%2Fb%ff/%C3%A9?q=%20", headers={"X-Case": "V"}, content=b"x")
    headers = dict(app.seen.pop("headers"))
    assert headers[b"x-case"] == b"V"
    assert headers[b"content-length"] == b"1"
    assert app.seen == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/a/b\ufffd/é",
        "raw_path": b"/a%2Fb%ff/%C3%A9",
        "query_string": b"q=%20",
        "root_path": "",
        "client": ("127.0.0.1", 50000),
        "server": ("testserver", 80),
        "state": {},
        "extensions": {},
    }


def test_the_validator_finds_no_errors_in_the_client(backend: str) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            assert (await receive())["text"] == "x"
            assert (await receive())["code"] == 1000
        else:
            body = b"".join(await read_body(receive))
            await respond(send, body)
            assert (await receive())["type"] == "http.disconnect"
            assert (await receive())["type"] == "http.disconnect"

    with TestClient(validated(app), backend=backend) as client:
        assert client.post("/", content=iter([b"a", b"b"])).text == "ab"
        assert client.post("/", content=b"ab").text == "ab"
        with client.websocket("/") as ws:
            ws.send_text("x")


def test_a_cancelled_receive_loses_nothing(backend: str) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        body = b""
        for _ in range(3):
            with anyio.CancelScope() as cancelled:
                cancelled.cancel()
                body += (await receive())["body"]
        await respond(send, body + b"".join(await read_body(receive)))

    with TestClient(app, backend=backend, lifespan=False) as client:
        assert client.post("/", content=iter([b"a", b"b", b"c", b"d"])).text == "abcd"


def test_receive_and_send_may_run_concurrently(backend: str) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        async def watch() -> None:
            assert (await receive())["type"] == "http.request"
            has_read.set()
            assert (await receive())["type"] == "http.disconnect"
            await send({"type": "http.response.body", "body": b"too late"})

        has_read = anyio.Event()

        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            await send({"type": "http.response.start", "status": 200})
            await has_read.wait()
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            await anyio.sleep_forever()

    with (
        TestClient(app, backend=backend, lifespan=False) as client,
        client.stream("GET", "/") as response,
    ):
        assert next(response.iter_raw()) == b"x"
    # An exception group that contains only the client's leaving is not a failure of the
    # application.


def test_send_after_a_disconnection_raises_an_os_error(backend: str) -> None:
    caught: list[OSError] = []

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        for _ in range(3):
            try:
                await send({"type": "http.response.body", "more_body": True})
            except OSError as error:
                caught.append(error)

    with TestClient(app, backend=backend, lifespan=False) as client, client.stream("GET", "/"):
        pass
    assert [type(error) for error in caught] == [ClientDisconnected] * 3


def test_a_group_with_an_application_s_exception_is_raised_unchanged(backend: str) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await respond(send)
        raise ExceptionGroup("both", [ClientDisconnected(), KeyError()])

    with (
        TestClient(app, backend=backend, lifespan=False) as client,
        pytest.raises(ExceptionGroup, match="both"),
    ):
        client.get("/")


START: Message = {"type": "http.response.start", "status": 200}
BODY: Message = {"type": "http.response.body"}


@pytest.mark.parametrize(
    ("messages", "sentence"),
    [
        ([BODY], "'http.response.start' has to come next"),
        ([{**START, "status": "200"}], "a status must be an int, not '200'"),
        ([{"type": "http.response.start"}], "a status must be an int, not None"),
        ([{**START, "headers": [("a", "b")]}], "pairs of bytes"),
        ([{**START, "headers": [(b"a", "b")]}], "pairs of bytes"),
        ([START, START], "'http.response.body' has to come next"),
        ([START, {**BODY, "body": ""}], "bytes"),
        ([START, BODY, BODY], "its response is complete"),
    ],
)
def test_an_invalid_message_is_refused_at_the_line_that_sends_it(
    backend: str, messages: list[Message], sentence: str
) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        for message in messages[:-1]:
            await send(message)
        with pytest.raises(ProtocolViolation, match=sentence):
            await send(messages[-1])
        raise LookupError("checked")

    with (
        TestClient(app, backend=backend, lifespan=False) as client,
        pytest.raises(LookupError, match="checked"),
    ):
        client.get("/")


def test_an_application_that_cancels_itself_is_reported() -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        raise asyncio.CancelledError

    with (
        TestClient(app, lifespan=False) as client,
        pytest.raises(ProtocolViolation, match="not by the client"),
    ):
        client.get("/")


def test_an_unreferenced_client_ends_its_loop(backend: str) -> None:
    def drop() -> None:
        client = connect(Plain(), backend)
        client.get("/")
        assert any(backend in thread.name for thread in threading.enumerate())

    drop()
    gc.collect()


def test_requests_share_one_loop_and_one_thread(backend: str) -> None:
    threads = set()

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        threads.add(threading.current_thread())
        await respond(send)

    client = TestClient(app, backend=backend)
    client.get("/")
    client.get("/")
    client.close()
    assert len(threads) == 1


def test_backend_options_reach_the_loop() -> None:
    loops: list[Any] = []

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        loops.append(asyncio.get_running_loop())
        await respond(send)

    with TestClient(app, backend_options={"debug": True}, lifespan=False) as client:
        client.get("/")
    assert loops[0].get_debug()


def test_invalid_backend_options_are_reported_where_the_client_starts() -> None:
    client = TestClient(Plain().asgi, backend_options={"loop_factory": 1})
    with pytest.raises(TypeError, match="callable"):
        client.get("/")
    client.close()


def test_a_stopped_loop_cancels_its_tasks(backend: str) -> None:
    app = Stream(b"x" for _ in iter(int, 1))
    client = connect(app, backend)
    response = client.send(client.build_request("GET", "/"), stream=True)
    transport: Any = client._transport
    transport.loop.stop(5)
    with pytest.raises(ProtocolViolation, match="cancelled, but not by the client"):
        response.close()
    client.close()
    assert app.end == ""


def test_a_crashed_loop_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    crashes: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", crashes.append)

    def crash() -> None:
        raise KeyboardInterrupt("crashed")

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await respond(send)

    with TestClient(app, lifespan=False) as client:
        client.get("/")
        transport: Any = client._transport
        transport.loop.post(crash)
    assert "crashed" in repr(crashes[0].exc_value)


def test_a_request_to_a_blocked_loop_fails_in_time(backend: str) -> None:
    client = connect(Plain(), backend, app_timeout=0.05)
    release = threading.Event()
    transport: Any = client._transport
    transport.loop.post(release.wait)
    with pytest.raises(AppTimeout, match="did not answer within"):
        client.get("/")
    release.set()
    close_late(client)


def test_many_calls_wake_the_loop_once(backend: str) -> None:
    transport: Any = connect(Plain(), backend)._transport
    release, count = threading.Event(), []
    transport.loop.post(release.wait)
    for _ in range(2000):
        transport.loop.post(lambda: count.append(1))
    release.set()
    transport.close()
    assert len(count) == 2000
