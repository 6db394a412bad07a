"""WebSockets, from the client's end."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import httpx2 as httpx
import pytest

from micropie import App, HTTPError, WebSocket
from micropie._core.http.settings import SETTINGS
from micropie.testing import (
    AppTimeout,
    ClientDisconnected,
    ClientError,
    ProtocolViolation,
    TestClient,
    WebSocketClosed,
    WebSocketRefused,
)
from tests.support.asgi_validator import Message, Receive, Send, validated
from tests.support.waiting import until
from tests.testing.worlds import close_late

ACCEPT = {"type": "websocket.accept"}
Handler = Callable[[Message, Receive, Send], Awaitable[None]]


def connect(
    handler: Handler, world: str, *, accept: Message | None = ACCEPT, **options: Any
) -> TestClient:
    """A client for `handler`, which is called after the connect message, and the accept if there is
    one.
    """

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        assert await receive() == {"type": "websocket.connect"}
        if accept is not None:
            await send(dict(accept))
        await handler(scope, receive, send)

    return TestClient(validated(app), backend=world, **{"lifespan": False, **options})


async def echo(scope: Message, receive: Receive, send: Send) -> None:
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


def closing(
    code: int = 1000, reason: str | None = None, *, error: Exception | None = None
) -> Handler:
    async def handler(scope: Message, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.close", "code": code, "reason": reason})
        assert (await receive())["code"] in (code, 1006)
        if error is not None:
            raise error

    return handler


def test_text_bytes_and_json_go_both_ways(backend: str) -> None:
    with connect(echo, backend) as client, client.websocket("/") as ws:
        ws.send_text("é")
        assert ws.receive_text() == "é"
        ws.send_bytes(b"\xff")
        assert ws.receive_bytes() == b"\xff"
        ws.send_json({"a": ["é"]})
        assert ws.receive() == {"type": "websocket.send", "text": '{"a":["é"]}'}
        for binary in (True, False):
            ws.send_json([1], binary=binary)
            assert ws.receive_json() == [1]


def test_a_websocket_connects_once_by_a_with_statement(backend: str) -> None:
    with connect(echo, backend) as client:
        ws = client.websocket("/")
        for call in (lambda: ws.send_text("a"), ws.receive_text):
            with pytest.raises(ClientError, match=r"with client\.websocket\(\.\.\.\) as ws"):
                call()
        with ws:
            ws.send_text("a")
            assert ws.receive_text() == "a"
        with pytest.raises(ClientError, match=r"call client\.websocket\(\) again"), ws:
            pass


@pytest.mark.parametrize("offers", [True, False])
def test_the_websocket_scope_follows_the_specification(backend: str, offers: bool) -> None:
    seen: Message = {}

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        seen.update(scope)
        await send(ACCEPT)

    with (
        TestClient(
            app,
            backend=backend,
            base_url="https://x",
            cookies={"c": "d"},
            root_path="/sub",
            lifespan=False,
            raise_app_exceptions=False,
            denial_response=offers,
        ) as client,
        client.websocket(
            "/a%2Fb", params={"q": "1"}, subprotocols=["v1", "v2"], headers={"X-A": "1"}
        ),
    ):
        pass
    headers = dict(seen.pop("headers"))
    assert headers[b"x-a"] == b"1"
    assert headers[b"cookie"] == b"c=d"
    assert (headers[b"connection"], headers[b"upgrade"]) == (b"upgrade", b"websocket")
    assert headers[b"sec-websocket-protocol"] == b"v1, v2"
    assert headers[b"sec-websocket-version"] == b"13"
    assert seen == {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "wss",
        "path": "/sub/a/b",
        "raw_path": b"/sub/a%2Fb",
        "query_string": b"q=1",
        "root_path": "/sub",
        "client": ("127.0.0.1", 50000),
        "server": ("x", 443),
        "subprotocols": ["v1", "v2"],
        "state": {},
        "extensions": {"websocket.http.response": {}} if offers else {},
    }


def test_a_rejected_handshake_has_the_status_of_the_exception(backend: str) -> None:
    class Chat(App):
        async def ws_chat(self, ws: WebSocket) -> None:
            raise HTTPError(401, "Who are you?")

    with (
        TestClient(Chat(), backend=backend) as client,
        pytest.raises(WebSocketRefused) as refused,
        client.websocket("/chat"),
    ):
        pass
    assert (refused.value.status, refused.value.body) == (401, b"Who are you?")
    assert str(refused.value) == "the WebSocket was refused with status 401: Who are you?"


@pytest.mark.parametrize(("url", "scheme"), [("/x", "ws"), ("wss://testserver/x", "wss")])
def test_urls_may_be_websocket_urls(backend: str, url: str, scheme: str) -> None:
    async def handler(scope: Message, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.send", "text": scope["scheme"]})
        await receive()

    with connect(handler, backend) as client, client.websocket(url) as ws:
        assert ws.receive_text() == scheme


def test_accepting_sends_a_subprotocol_headers_and_cookies(backend: str) -> None:
    accept = {
        **ACCEPT,
        "subprotocol": "v2",
        "headers": [(b"x-a", b"\xe9"), (b"set-cookie", b"k=v")],
    }
    with (
        connect(echo, backend, accept=accept) as client,
        client.websocket("/", subprotocols=["v2"]) as ws,
    ):
        assert ws.accepted_subprotocol == "v2"
        assert ws.headers.raw[0] == (b"x-a", b"\xe9")
        assert client.cookies["k"] == "v"


def test_a_close_instead_of_an_accept_is_a_refusal(backend: str) -> None:
    client = connect(closing(4001, "no"), backend, accept=None)
    with (
        client,
        pytest.raises(WebSocketRefused, match="refused with status 403") as caught,
        client.websocket("/"),
    ):
        pass
    refused = caught.value
    assert (refused.status, refused.code, refused.reason) == (403, 4001, "no")
    assert (refused.headers, refused.body) == ([], b"")


def denying(*parts: bytes, error: Exception | None = None) -> Handler:
    async def handler(scope: Message, receive: Receive, send: Send) -> None:
        headers = [(b"x-a", b"b")]
        await send({"type": "websocket.http.response.start", "status": 401, "headers": headers})
        for part in parts:
            await send({"type": "websocket.http.response.body", "body": part, "more_body": True})
        if error is not None:
            raise error
        await send({"type": "websocket.http.response.body"})

    return handler


def test_a_denial_response_is_in_the_refusal(backend: str) -> None:
    client = connect(denying(b"go ", b"away"), backend, accept=None, denial_response=True)
    with client, pytest.raises(WebSocketRefused) as caught, client.websocket("/"):
        pass
    refused = caught.value
    assert (refused.status, refused.headers, refused.body) == (401, [(b"x-a", b"b")], b"go away")


def test_an_aborted_denial_response_is_not_a_response(backend: str) -> None:
    handler = denying(b"go ", error=KeyError("x"))
    with (
        connect(handler, backend, accept=None, denial_response=True) as client,
        pytest.raises(KeyError),
        client.websocket("/"),
    ):
        pass
    with (
        connect(
            handler, backend, accept=None, denial_response=True, raise_app_exceptions=False
        ) as client,
        pytest.raises(httpx.RemoteProtocolError),
        client.websocket("/"),
    ):
        pass


def test_an_exception_in_the_handshake_is_raised_or_becomes_a_500(backend: str) -> None:
    async def handler(scope: Message, receive: Receive, send: Send) -> None:
        raise KeyError("handshake")

    with (
        connect(handler, backend, accept=None) as client,
        pytest.raises(KeyError, match="handshake"),
        client.websocket("/"),
    ):
        pass
    with (
        connect(handler, backend, accept=None, raise_app_exceptions=False) as client,
        pytest.raises(WebSocketRefused) as caught,
        client.websocket("/"),
    ):
        pass
    assert caught.value.status == 500


def test_an_exception_after_the_refusal_is_raised(backend: str) -> None:
    client = connect(closing(error=KeyError("refused")), backend, accept=None)
    with client, pytest.raises(KeyError, match="refused"), client.websocket("/"):
        pass


def test_a_handshake_without_a_response_is_reported(backend: str) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        return

    client = TestClient(app, backend=backend)
    with (
        client,
        pytest.raises(ProtocolViolation, match="without a response"),
        client.websocket("/"),
    ):
        pass


def test_a_close_by_the_application_is_raised_with_its_code(backend: str) -> None:
    with connect(closing(4002, "bye"), backend) as client, client.websocket("/") as ws:
        for _ in range(2):
            with pytest.raises(WebSocketClosed) as caught:
                ws.receive()
            assert (caught.value.code, caught.value.reason) == (4002, "bye")
        with pytest.raises(WebSocketClosed):
            ws.send_text("x")


def test_leaving_the_block_disconnects_with_1000_after_the_sent_messages(backend: str) -> None:
    received: list[Message] = []

    async def handler(scope: Message, receive: Receive, send: Send) -> None:
        received.extend([await receive(), await receive()])

    with connect(handler, backend) as client, client.websocket("/") as ws:
        ws.send_text("last")
    assert received == [
        {"type": "websocket.receive", "text": "last"},
        {"type": "websocket.disconnect", "code": 1000, "reason": ""},
    ]


def test_a_message_is_unaffected_by_later_changes(backend: str) -> None:
    async def handler(scope: Message, receive: Receive, send: Send) -> None:
        message = {"type": "websocket.send", "text": "1"}
        await send(message)
        message["text"] = "2"
        await send(message)
        await receive()

    with connect(handler, backend) as client, client.websocket("/") as ws:
        assert [ws.receive_text(), ws.receive_text()] == ["1", "2"]


def test_close_sends_code_and_reason(backend: str) -> None:
    received: list[Message] = []

    async def handler(scope: Message, receive: Receive, send: Send) -> None:
        received.append(await receive())

    with connect(handler, backend) as client, client.websocket("/") as ws:
        ws.close(4003, "enough")
        ws.close(4004)
        with pytest.raises(WebSocketClosed, match="enough"):
            ws.receive()
    assert received == [{"type": "websocket.disconnect", "code": 4003, "reason": "enough"}]


def test_sending_to_a_disconnected_client_raises_an_os_error(backend: str) -> None:
    caught: list[OSError] = []

    async def handler(scope: Message, receive: Receive, send: Send) -> None:
        try:
            while True:
                await send({"type": "websocket.send", "text": "x"})
        except OSError as error:
            caught.append(error)
            raise

    with connect(handler, backend) as client, client.websocket("/") as ws:
        assert ws.receive_text() == "x"
    assert isinstance(caught[0], ClientDisconnected)


def test_an_exception_of_the_application_is_raised(backend: str) -> None:
    error = KeyError("open")

    async def handler(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        raise error

    with connect(handler, backend) as client, client.websocket("/") as ws:
        ws.send_text("x")
        with pytest.raises(KeyError) as caught:
            ws.receive()
        assert caught.value is error
    with (
        pytest.raises(KeyError, match="open"),
        connect(handler, backend) as client,
        client.websocket("/"),
    ):
        pass


def test_an_exception_closes_with_1011_on_request(backend: str) -> None:
    async def handler(scope: Message, receive: Receive, send: Send) -> None:
        raise KeyError

    with (
        connect(handler, backend, raise_app_exceptions=False) as client,
        client.websocket("/") as ws,
    ):
        with pytest.raises(WebSocketClosed) as caught:
            ws.receive()
        assert caught.value.code == 1011


def test_an_application_that_only_returns_is_a_lost_connection(backend: str) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)

    with TestClient(app, backend=backend, lifespan=False) as client, client.websocket("/") as ws:
        with pytest.raises(WebSocketClosed) as caught:
            ws.receive()
        assert caught.value.code == 1006


def test_a_failing_test_keeps_its_exception_and_notes_the_application_s(backend: str) -> None:
    async def handler(scope: Message, receive: Receive, send: Send) -> None:
        raise KeyError("behind it")

    with (
        pytest.raises(ZeroDivisionError) as caught,
        connect(handler, backend) as client,
        client.websocket("/"),
    ):
        raise ZeroDivisionError
    assert any("behind it" in note for note in caught.value.__notes__)


async def sleep(scope: Message, receive: Receive, send: Send) -> None:
    await anyio.sleep_forever()


@pytest.mark.parametrize("handler", [echo, sleep])
def test_a_failing_test_ends_the_application(backend: str, handler: Handler) -> None:
    # the time that one gets which does not hear of the end
    client = connect(handler, backend, app_timeout=2)
    with pytest.raises(ZeroDivisionError) as caught, client.websocket("/"):
        raise ZeroDivisionError
    close_late(client)
    assert not hasattr(caught.value, "__notes__")


def test_the_wrong_kind_of_message_raises_type_error(backend: str) -> None:
    with connect(echo, backend) as client, client.websocket("/") as ws:
        ws.send_bytes(b"x")
        with pytest.raises(TypeError, match="expected text, but the application sent"):
            ws.receive_text()


def test_waiting_too_long_fails_the_test_and_loses_nothing(backend: str) -> None:
    async def handler(scope: Message, receive: Receive, send: Send) -> None:
        await echo(scope, receive, send)

    with connect(handler, backend) as client, client.websocket("/") as ws:

        def is_waiting() -> bool:
            with pytest.raises(
                AppTimeout, match=r"did not send a message within 0\.01 s"
            ) as caught:
                ws.receive(timeout=0.01)
            return "(it is waiting in receive())" in str(caught.value)

        until(is_waiting)  # which may be later than 10 ms after it has accepted
        ws.send_text("x")
        assert ws.receive_text(timeout=30) == "x"


def test_an_application_that_does_not_end_is_cancelled_and_reported(backend: str) -> None:
    client = connect(sleep, backend, app_timeout=0.5)
    words = r"did not end .*\(app, app_timeout=60\); a handler that only sends is cancelled 10 seconds .* App\(websocket_grace"
    with pytest.raises(AppTimeout, match=words), client.websocket("/"):
        pass
    close_late(client)


def test_a_handler_that_only_sends_ends_with_its_client(backend: str) -> None:
    class News(App):
        async def ws_news(self, ws: WebSocket) -> None:
            await ws.accept()
            async with self.channels.subscribe("news") as messages:
                await ws.send_text("ready")
                async for message in messages:
                    await ws.send_json(message)

    news = News(websocket_grace=0.05)
    with TestClient(news, backend=backend) as client, client.websocket("/news") as ws:
        assert ws.receive_text() == "ready"
        news.channels.publish("news", {"pie": 1})
        assert ws.receive_json() == {"pie": 1}
    wait = inspect.signature(TestClient).parameters["app_timeout"].default
    assert wait > SETTINGS["websocket_grace"].default  # so it also ends without this argument


@pytest.mark.parametrize(
    ("accept", "message", "sentence"),
    [
        (False, {"type": "websocket.send", "text": "x"}, "while the WebSocket is connecting"),
        (
            False,
            {"type": "websocket.http.response.start", "status": 400, "headers": []},
            "is connecting",
        ),
        (True, {"type": "websocket.accept"}, "while the WebSocket is open"),
        (True, {"type": "websocket.send"}, "either text or bytes"),
        (True, {"type": "websocket.send", "text": "", "bytes": b""}, "either text or bytes"),
    ],
)
def test_an_invalid_message_is_refused_at_the_line_that_sends_it(
    backend: str, accept: bool, message: Message, sentence: str
) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        if accept:
            await send(ACCEPT)
        await send(message)

    with (
        pytest.raises(ProtocolViolation, match=sentence),
        TestClient(app, backend=backend, lifespan=False, denial_response=False) as client,
        client.websocket("/"),
    ):
        pass


def test_a_closed_client_opens_no_websocket() -> None:
    client = connect(echo, "asyncio")
    client.close()
    with pytest.raises(ClientError, match="has been closed"):
        client.websocket("/")


def test_a_string_is_no_list_of_subprotocols() -> None:
    with (
        connect(echo, "asyncio") as client,
        pytest.raises(ClientError, match=r"subprotocols must be a list: write \['chat'\]"),
    ):
        client.websocket("/", subprotocols="chat")
