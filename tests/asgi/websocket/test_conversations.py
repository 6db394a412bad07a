"""What a handler and its client say to each other, and every way in which that ends."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from weakref import WeakSet

import anyio
import anyio.lowlevel
import pytest

import micropie
from micropie import App, ConnectionClosed, HTTPError, Redirect, WebSocket, websocket
from micropie._core.execution import is_on_loop
from micropie._core.routing.config import config_of
from micropie.asgi import websocket as asgi_websocket
from micropie.testing import TestClient, WebSocketClosed, WebSocketRefused, WebSocketSession
from tests.asgi.calls import http_scope, run
from tests.asgi.websocket.conftest import OpenClient
from tests.support.waiting import until, until_async

Handler = Callable[[WebSocket], Awaitable[None]]


def app_of(handler: Handler, **settings: Any) -> App:
    """An application whose one WebSocket is `/`."""
    app = App(**settings)
    app.websocket("/")(handler)
    return app


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def closing(ws: WebSocketSession) -> tuple[int, str]:
    with pytest.raises(WebSocketClosed) as closed:
        ws.receive()
    return closed.value.code, closed.value.reason


def refusal(client: TestClient, **options: Any) -> WebSocketRefused:
    with pytest.raises(WebSocketRefused) as refused, client.websocket("/", **options):
        pass
    return refused.value


# -- messages --------------------------------------------------------------------------------------


async def echo(ws: WebSocket) -> None:
    await ws.accept()
    while True:
        await ws.send_text(f"Echo: {await ws.receive_text()}")


def test_the_echo_example_works(open_client: OpenClient, caplog: pytest.LogCaptureFixture) -> None:
    with open_client(app_of(echo)).websocket("/") as ws:
        for text in ("hello", "é", ""):
            ws.send_text(text)
            assert ws.receive_text() == f"Echo: {text}"
    assert errors(caplog) == []


def test_text_bytes_and_json_are_received_and_sent(open_client: OpenClient) -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_bytes(await ws.receive_bytes())
        await ws.send_bytes(memoryview(await ws.receive_bytes()))
        for _ in range(3):
            await ws.send_json(await ws.receive_json())

    with open_client(app_of(handler)).websocket("/") as ws:
        ws.send_bytes(b"\0\xff")
        assert ws.receive_bytes() == b"\0\xff"
        ws.send_bytes(b"")
        assert ws.receive_bytes() == b""
        ws.send_text('{"a": [1, null]}')
        assert ws.receive() == {"type": "websocket.send", "text": '{"a":[1,null]}'}
        ws.send_json("é", binary=True)
        assert ws.receive_json() == "é"
        ws.send_text("0")
        assert ws.receive_text() == "0"
        assert closing(ws) == (1000, "")


@pytest.mark.parametrize("size", [65536, 65537])
def test_R31_large_json_is_parsed_in_a_thread(
    open_client: OpenClient, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    parsed_on_loop, loads = list[bool](), asgi_websocket.loads  # type: ignore[attr-defined]

    def noted(content: Any) -> Any:
        parsed_on_loop.append(is_on_loop())
        return loads(content)

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_json(len(await ws.receive_json()))
        await ws.receive_json()

    monkeypatch.setattr(asgi_websocket, "loads", noted)
    with open_client(app_of(handler)).websocket("/") as ws:
        ws.send_text(f'"{"x" * (size - 2)}"')
        assert ws.receive_json() == size - 2
        ws.send_text(f'"{"x" * (size - 1)}')
        assert closing(ws)[0] == 1007
    assert parsed_on_loop == [size == 65536] * 2


def test_async_for_yields_text_and_bytes_until_the_client_disconnects(
    open_client: OpenClient,
) -> None:
    got: list[Any] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        async for message in ws:
            got.append(message)
        got.append((ws.closed, ws.close_code, ws.close_reason, repr(ws)))

    with open_client(app_of(handler)).websocket("/") as ws:
        ws.send_text("a")
        ws.send_bytes(b"b")
        ws.send_text("")
        ws.close(3001, "enough")
    assert got == ["a", b"b", "", (True, 3001, "enough", "<WebSocket '/', gone>")]


def test_async_for_ends_also_when_this_side_closes(open_client: OpenClient) -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        async for message in ws:
            assert message == "stop"
            await ws.close(4000)

    with open_client(app_of(handler)).websocket("/") as ws:
        ws.send_text("stop")
        assert closing(ws) == (4000, "")


@pytest.mark.parametrize(
    "spelling", [{"text": "x", "bytes": None}, {"bytes": b"x", "text": None}, {"text": "x"}]
)
def test_R56_messages_with_missing_or_none_fields_are_accepted(
    open_client: OpenClient, spelling: dict[str, Any]
) -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        text = spelling.get("text") is not None
        await ws.send_text(await ws.receive_text() if text else (await ws.receive_bytes()).decode())
        async for message in ws:
            await ws.send_json([message if isinstance(message, str) else message.decode()])

    with open_client(app_of(handler)).websocket("/") as ws:
        ws.send({"type": "websocket.receive", **spelling})
        assert ws.receive_text() == "x"
        ws.send({"type": "websocket.receive", **spelling})
        assert ws.receive_json() == ["x"]


REJECTED: dict[str, tuple[str, Callable[[WebSocketSession], None], Any]] = {
    "text": ("receive_text", lambda ws: ws.send_bytes(b"x"), (1003, "a text message was expected")),
    "bytes": (
        "receive_bytes",
        lambda ws: ws.send_text("x"),
        (1003, "a binary message was expected"),
    ),
    "JSON": ("receive_json", lambda ws: ws.send_text("{"), (1007, "The JSON is not valid: ")),
    "JSON in UTF-8": (
        "receive_json",
        lambda ws: ws.send_bytes(b'"\xff"'),
        (1007, "The JSON is not valid: "),
    ),
}


@pytest.mark.parametrize("case", REJECTED)
def test_R56_a_message_of_the_wrong_kind_closes_and_raises_value_error(
    open_client: OpenClient, caplog: pytest.LogCaptureFixture, case: str
) -> None:
    method, send, farewell = REJECTED[case]
    seen: list[Any] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        try:
            await getattr(ws, method)()
        except ValueError as error:
            seen.append(error)
            raise

    with open_client(app_of(handler)).websocket("/") as ws:
        send(ws)
        code, reason = closing(ws)
    assert (code, reason[: len(farewell[1])]) == farewell
    assert isinstance(seen[0], ConnectionClosed)
    assert (seen[0].code, seen[0].reason) == (code, reason)
    assert errors(caplog) == []  # a client's mistake is nothing for the log


@pytest.mark.parametrize("method", ["receive_text", "receive_bytes", "receive_json", "__anext__"])
@pytest.mark.parametrize("busy", [False, True])
def test_R57_a_message_above_the_limit_closes_with_1009(
    open_client: OpenClient, method: str, busy: bool
) -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        if busy:
            await anyio.lowlevel.checkpoint()
        await ws.send_text(str(len(await getattr(ws, method)())))
        await getattr(ws, method)()
        raise AssertionError("too big")

    with open_client(app_of(handler, websocket_max_size=10)).websocket("/") as ws:
        send: Any = ws.send_bytes if method == "receive_bytes" else ws.send_text
        contents: dict[str, Any] = {"receive_bytes": b"12345678", "receive_json": '"123456"'}
        content = contents.get(method, "12345678")
        send(content)
        assert ws.receive_text() == ("6" if method == "receive_json" else "8")
        send(content + content[:3] if method != "receive_json" else '"123456789"')
        code, reason = closing(ws)
        assert (code, reason) == (1009, "a message may have 10 bytes at most")


@pytest.mark.parametrize(("own", "limit"), [({"websocket_max_size": 10}, 10), ({}, 100)])
def test_R57_the_limits_are_those_of_the_inner_application(
    open_client: OpenClient, own: dict[str, Any], limit: int
) -> None:
    outer = App(websocket_max_size=100)
    outer.mount("/inner", app_of(echo, **own))
    with open_client(outer).websocket("/inner") as ws:
        ws.send_text("x" * limit)
        assert ws.receive_text() == f"Echo: {'x' * limit}"
        ws.send_text("x" * (limit + 1))
        assert closing(ws) == (1009, f"a message may have {limit} bytes at most")


def test_R57_the_size_of_text_is_measured_in_bytes(open_client: OpenClient) -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        while True:
            await ws.send_text(await ws.receive_text())

    with open_client(app_of(handler, websocket_max_size=10)).websocket("/") as ws:
        ws.send_text("€€€")
        assert ws.receive_text() == "€€€"
        ws.send_text("€€€€")
        assert closing(ws)[0] == 1009


# -- the handshake ---------------------------------------------------------------------------------


def test_accept_takes_an_offered_subprotocol_only(open_client: OpenClient) -> None:
    async def handler(ws: WebSocket) -> None:
        assert not ws.accepted
        with pytest.raises(
            ValueError, match=r"did not offer subprotocol 'other' \(it offered \['chat', 'v2'\]\)"
        ):
            await ws.accept("other")
        await ws.accept(ws.subprotocols[-1])
        assert ws.accepted

    with open_client(app_of(handler)).websocket("/", subprotocols=["chat", "v2"]) as ws:
        assert ws.accepted_subprotocol == "v2"


def test_accept_sends_headers(open_client: OpenClient) -> None:
    async def handler(ws: WebSocket) -> None:
        bad: Any
        for bad in ({"X": "a\r\nY: b"}, {"X Y": "a"}, {"X": 5}, {"Sec-WebSocket-Protocol": "a"}):
            with pytest.raises(Exception, match="header"):
                await ws.accept(headers=bad)
        await ws.accept(headers={"X-A": "1", "Connection": "close"})

    with open_client(app_of(handler)).websocket("/") as ws:
        assert list(ws.headers.multi_items()) == [("x-a", "1")]


def test_accept_headers_may_be_pairs(open_client: OpenClient) -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.accept(headers=[("X-A", "1"), ("X-A", "2")])

    with open_client(app_of(handler)).websocket("/") as ws:
        assert ws.headers.get_list("x-a") == ["1", "2"]


@pytest.mark.parametrize("denial", [True, False])
@pytest.mark.parametrize(
    ("raised", "status", "code", "said"),
    [
        (HTTPError(401, "Log in.", [("WWW-Authenticate", "Basic")]), 401, 1008, "Log in."),
        (HTTPError(503), 503, 1011, "503 Service Unavailable"),
        (Redirect("/there"), 303, 1008, ""),
        (Redirect("https://evil.test/"), 400, 1008, "This redirect would leave this site."),
        (HTTPError(400, "x", [("X", "a\nb")]), 500, 1011, "500 Internal Server Error"),
        (RuntimeError("secret"), 500, 1011, "500 Internal Server Error"),
        (ConnectionClosed(), 403, 1000, "This WebSocket was not accepted."),
        (None, 403, 1000, "This WebSocket was not accepted."),
    ],
)
def test_R53_an_error_before_accept_becomes_the_response(
    open_client: OpenClient,
    caplog: pytest.LogCaptureFixture,
    denial: bool,
    raised: Exception | None,
    status: int,
    code: int,
    said: str,
) -> None:
    async def handler(ws: WebSocket) -> None:
        if raised is not None:
            raise raised

    refused = refusal(open_client(app_of(handler), denial_response=denial))
    if denial:
        assert (refused.status, refused.body.decode()) == (status, said)
        headers = dict(refused.headers)
        assert headers.get(b"location") == (b"/there" if status == 303 else None)
        assert headers.get(b"www-authenticate") == (b"Basic" if status == 401 else None)
        assert headers[b"content-length"] == b"%d" % len(said)
    else:
        assert (refused.status, refused.code) == (403, code)
        assert refused.reason in (said, "")
    assert len(errors(caplog)) == (1 if status == 500 or "leave" in said else 0)
    assert "secret" not in refused.reason


@pytest.mark.parametrize("denial", [True, False])
def test_R53_an_error_before_accept_may_have_a_document(
    open_client: OpenClient, denial: bool
) -> None:
    async def handler(ws: WebSocket) -> None:
        raise HTTPError(404, {"id": 5})

    refused = refusal(open_client(app_of(handler), denial_response=denial))
    assert (refused.status, refused.body) == ((404, b'{"id":5}') if denial else (403, b""))


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("accepts", [False, True])
def test_a_returned_error_counts_as_a_raised_one(
    open_client: OpenClient, accepts: bool, debug: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(ws: WebSocket) -> Any:
        if accepts:
            await ws.accept()
        return HTTPError(401, "Who are you?")

    client = open_client(app_of(handler, debug=debug))
    if accepts:
        with client.websocket("/") as ws:
            assert closing(ws) == (1008, "Who are you?")
    else:
        assert refusal(client).status == 401
    assert errors(caplog) == []


def test_close_before_accept_refuses(open_client: OpenClient) -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.close(4001, "no room")
        await ws.close()
        with pytest.raises(RuntimeError, match=r"accept\(\) on a WebSocket that was refused"):
            await ws.accept()

    refused = refusal(open_client(app_of(handler)))
    assert (refused.status, refused.code, refused.reason) == (403, 4001, "no room")


def test_actions_too_early_or_too_late_raise_clear_errors(
    open_client: OpenClient, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(ws: WebSocket) -> None:
        early: list[tuple[Any, list[Any]]] = [
            (ws.send_text, [""]), (ws.send_bytes, [b""]), (ws.send_json, [1]),
            (ws.receive_text, []), (ws.receive_bytes, []), (ws.receive_json, []),
        ]  # fmt: skip
        for method, given in early:
            says = rf"{method.__name__}\(\) on a WebSocket that has not been accepted"
            with pytest.raises(RuntimeError, match=says):
                await method(*given)
        with pytest.raises(RuntimeError, match=r"remove this call, because ws\.accept\(\) saves"):
            await ws.save_session()
        await ws.accept()
        with pytest.raises(RuntimeError, match="already been accepted"):
            await ws.accept()
        with pytest.raises(TypeError, match="takes a str, not bytes"):
            await ws.send_text(b"x")  # type: ignore[arg-type]
        for wrong in (5, "x", [1]):
            with pytest.raises(TypeError, match="takes bytes, not"):
                await ws.send_bytes(wrong)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="surrogates not allowed"):
            await ws.send_text("a\ud800")
        with pytest.raises(ValueError, match="1006"):
            await ws.close(1006)
        assert not ws.closed
        await ws.close(1001, "over")
        await ws.close(1002)
        for late in (ws.send_text("x"), ws.receive_text(), ws.receive_json(), ws.send_bytes(b"")):
            with pytest.raises(
                ConnectionClosed, match="on a WebSocket that was closed with 1001 over"
            ):
                await late

    with open_client(app_of(handler)).websocket("/") as ws:
        assert closing(ws) == (1001, "over")
    assert errors(caplog) == []


def test_a_websocket_s_request_has_no_response_and_no_body(open_client: OpenClient) -> None:
    class Root(App):
        async def ws_index(self, ws: WebSocket) -> None:
            with pytest.raises(Exception, match=r"pass headers to ws.accept\(headers=...\)"):
                self.response.headers["X"] = "y"
            with pytest.raises(RuntimeError, match="a WebSocket has no body"):
                await self.request.body()
            self.request.state.seen = True
            await ws.accept()
            await ws.send_text(str(ws.state.seen))

    with open_client(Root()).websocket("/") as ws:
        assert ws.receive_text() == "True"


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_a_websocket_s_scheme_is_that_of_its_page(open_client: OpenClient, scheme: str) -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_text(ws.request.url)

    client = open_client(app_of(handler), base_url=f"http{scheme[2:]}://testserver")
    with client.websocket("/") as ws:
        assert ws.receive_text() == f"http{scheme[2:]}://testserver/"


def test_a_weak_set_holds_the_open_websockets(open_client: OpenClient) -> None:
    sockets = WeakSet[WebSocket]()

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        sockets.add(ws)
        async for message in ws:
            for socket in [*sockets]:
                await socket.send_text(str(message))

    client = open_client(app_of(handler))
    with client.websocket("/") as first:
        with client.websocket("/") as second:
            second.send_text("hello")
            assert (first.receive_text(), second.receive_text()) == ("hello", "hello")
        until(lambda: len(sockets) == 1)


# -- the end ---------------------------------------------------------------------------------------


def test_R55_a_failing_handler_closes_with_1011_without_details_and_is_logged_once(
    open_client: OpenClient, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        raise RuntimeError("secret " + "é" * 200)

    with open_client(app_of(handler)).websocket("/") as ws:
        assert closing(ws) == (1011, "")
    assert errors(caplog) == ["WebSocket '/' failed in handler"]
    assert caplog.records[-1].exc_info is not None


def test_none_is_no_close_reason(open_client: OpenClient) -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        await ws.close(4000, None)

    with open_client(app_of(handler)).websocket("/") as ws:
        assert closing(ws) == (4000, "")


def test_R55_a_close_reason_is_cut_to_the_size_of_a_frame(open_client: OpenClient) -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        await ws.close(4000, "é" * 200)

    with open_client(app_of(handler)).websocket("/") as ws:
        assert closing(ws) == (4000, "é" * 61)


@pytest.mark.parametrize(
    ("raised", "farewell"),
    [
        (HTTPError(403, "Not for you."), (1008, "Not for you.")),
        (HTTPError(500, "Out of pies."), (1011, "Out of pies.")),
        (HTTPError(404, {"id": 5}), (1008, "404 Not Found")),
        (Redirect("/there"), (1011, "")),
    ],
)
def test_an_exception_after_accept_closes_the_websocket(
    open_client: OpenClient, raised: Exception, farewell: Any
) -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        raise raised

    with open_client(app_of(handler)).websocket("/") as ws:
        assert closing(ws) == farewell


def test_an_application_that_cannot_start_refuses_websockets(
    open_client: OpenClient, caplog: pytest.LogCaptureFixture
) -> None:
    app = app_of(echo)
    app.startup_handlers.append(lambda: 1 / 0)
    refused = refusal(open_client(app, lifespan=False))
    assert (refused.status, refused.code) == (403, 1011)
    assert errors(caplog) == ["startup failed, and the next request tries it again"]


def test_R54_a_client_that_disconnects_raises_one_exception(
    open_client: OpenClient, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Any] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        try:
            for call in (
                ws.receive_text,
                ws.receive_bytes,
                ws.receive_json,
                lambda: ws.send_text("x"),
            ):
                with pytest.raises(ConnectionClosed) as closed:
                    await call()
                seen.append((closed.value.code, closed.value.reason))
            await ws.close()
            await ws.send_text("y")
        finally:
            seen.append("finally")

    with open_client(app_of(handler)).websocket("/") as ws:
        ws.close(1001, "away")
    assert seen == [(1001, "away")] * 4 + ["finally"]
    assert errors(caplog) == []


def test_R54_a_task_group_ended_by_a_disconnection_is_not_a_failure(
    open_client: OpenClient, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.accept()

        async def reading() -> None:
            while True:
                await ws.receive_text()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reading)
            await anyio.sleep_forever()

    with open_client(app_of(handler)).websocket("/") as ws:
        ws.send_text("a")
    assert errors(caplog) == []


def test_a_task_group_with_another_failure_is_logged(
    open_client: OpenClient, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        raise ExceptionGroup("both", [ConnectionClosed(), RuntimeError("secret")])

    with open_client(app_of(handler)).websocket("/") as ws:
        assert closing(ws) == (1011, "")
    assert errors(caplog) == ["WebSocket '/' failed in handler"]


@pytest.mark.parametrize("in_group", [False, True])
def test_the_end_of_another_websocket_is_a_failure(
    open_client: OpenClient, caplog: pytest.LogCaptureFixture, in_group: bool
) -> None:
    sockets: list[WebSocket] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        sockets.append(ws)
        async for text in ws:
            if in_group:
                async with anyio.create_task_group() as tasks:
                    for one in sockets:
                        tasks.start_soon(one.send_text, str(text))
            else:
                for one in reversed(sockets):
                    await one.send_text(str(text))

    client = open_client(app_of(handler))
    with client.websocket("/"):
        pass
    with client.websocket("/") as ws:
        ws.send_text("hello")
        assert ws.receive_text() == "hello"
        assert closing(ws) == (1011, "")
    assert errors(caplog) == ["WebSocket '/' failed in handler"]
    assert caplog.records[-1].exc_info is not None
    assert "a call on another WebSocket" in str(caplog.records[-1].exc_info[1])


@pytest.mark.parametrize("lifespan", [True, False])
def test_R54_a_handler_waiting_elsewhere_is_cancelled_after_its_grace_and_may_clean_up(
    open_client: OpenClient, caplog: pytest.LogCaptureFixture, lifespan: bool
) -> None:
    seen: list[Any] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        try:
            await anyio.sleep_forever()
        finally:
            await anyio.sleep(0.02)  # a cancelled scope would not let it
            seen.append(ws.close_code)

    with open_client(app_of(handler, websocket_grace=0.05), lifespan=lifespan).websocket("/") as ws:
        ws.close(1001)
    assert seen == [1001]
    assert errors(caplog) == []


def test_R54_a_message_being_handled_is_finished_after_the_client_disconnects(
    open_client: OpenClient,
) -> None:
    saved: list[str] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        async for message in ws:
            await anyio.sleep(0.02)
            saved.append(str(message))

    with open_client(app_of(handler)).websocket("/") as ws:
        for text in "abc":
            ws.send_text(text)
    assert saved == ["a", "b", "c"]  # also those that waited when it went


@pytest.mark.parametrize("call", ["receive_text", "send_text"])
def test_a_handler_that_ignores_the_end_delays_no_other(open_client: OpenClient, call: str) -> None:
    calls: list[Exception] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        while True:
            try:
                await getattr(ws, call)(*["x"] * (call == "send_text"))
            except Exception as error:
                calls[:] = [*calls[-99:], error]

    client = open_client(app_of(handler, websocket_grace=0.05))
    with client.websocket("/"):
        pass
    assert calls
    assert {type(one) for one in calls} == {ConnectionClosed}


def test_without_a_grace_a_handler_may_continue(open_client: OpenClient) -> None:
    seen: list[str] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        await until_async(lambda: ws.closed)
        await anyio.sleep(0.02)  # time enough to be cancelled
        seen.append(repr(ws))

    with open_client(app_of(handler, websocket_grace=None)).websocket("/"):
        pass
    assert seen == ["<WebSocket '/', gone>"]


def test_R54_a_reader_that_ends_does_not_leave_its_writer_behind(open_client: OpenClient) -> None:
    seen: list[str] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()

        async def writing() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                seen.append("writer")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(writing)
            async for message in ws:
                await ws.send_text(str(message))

    with open_client(app_of(handler, websocket_grace=0.05)).websocket("/") as ws:
        ws.send_text("a")
        assert ws.receive_text() == "a"
    assert seen == ["writer"]


def test_R57_a_silent_client_is_closed_even_if_the_handler_is_busy(
    open_client: OpenClient,
) -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        await anyio.sleep_forever()

    app = app_of(handler, websocket_timeout=0.05, websocket_grace=0.05)
    with open_client(app).websocket("/") as ws:
        assert closing(ws)[0] == 1001


# -- several tasks ---------------------------------------------------------------------------------


def test_many_tasks_may_send_and_one_may_receive(open_client: OpenClient) -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.accept()

        async def shout(n: int) -> None:
            for i in range(20):
                await ws.send_json([n, i])

        async def listen() -> None:
            await anyio.sleep(0.01)
            with pytest.raises(
                RuntimeError, match=r"receive_text\(\) was called while another task is receiving"
            ):
                await ws.receive_text()
            await ws.send_text("refused")

        async with anyio.create_task_group() as tasks:
            for n in range(5):
                tasks.start_soon(shout, n)
            tasks.start_soon(listen)
            assert await ws.receive_text() == "go on"

    with open_client(app_of(handler)).websocket("/") as ws:
        texts = [ws.receive_text() for _ in range(101)]
        texts.remove("refused")
        got = [json.loads(text) for text in texts]
        ws.send_text("go on")
        assert closing(ws) == (1000, "")
    for n in range(5):
        assert [i for m, i in got if m == n] == list(range(20))


def test_closing_wakes_a_waiting_receiver(open_client: OpenClient) -> None:
    seen: list[Any] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()

        async def listen() -> None:
            async for message in ws:
                seen.append(message)
            seen.append(ws.close_code)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            await anyio.sleep(0.01)
            await ws.close(4000)

    with open_client(app_of(handler)).websocket("/") as ws:
        assert closing(ws) == (4000, "")
    assert seen == [4000]


def test_a_websocket_used_after_its_end_raises_an_error(open_client: OpenClient) -> None:
    kept: list[WebSocket] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        if kept:
            with pytest.raises(ConnectionClosed):
                await kept[0].send_text("x")
            with pytest.raises(ConnectionClosed):
                await kept[0].receive_text()
            await kept[0].close()
            await ws.send_text("it is")
        kept.append(ws)

    client = open_client(app_of(handler))
    with client.websocket("/"):
        pass
    with client.websocket("/") as ws:
        assert ws.receive_text() == "it is"


def test_a_handler_s_own_timeout_is_not_swallowed(open_client: OpenClient) -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        with anyio.move_on_after(0.01):
            await ws.receive_text()
        await anyio.lowlevel.checkpoint()
        with anyio.move_on_after(0.01):
            await ws.receive_text()
        await ws.send_text("patient")

    with open_client(app_of(handler)).websocket("/") as ws:
        assert ws.receive_text() == "patient"


def test_the_decorator_is_public() -> None:
    assert websocket.__doc__


# -- afterwards ------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["returns", "fails", "client leaves", "refuses"])
def test_after_response_functions_run_when_the_websocket_is_over(
    open_client: OpenClient, ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    done: list[object] = []

    async def afterwards(ws: WebSocket) -> None:
        done.append((micropie.request.path, ws.closed, micropie.request._exchange.answer.is_over))

    async def handler(ws: WebSocket) -> None:
        micropie.request.after_response(afterwards, ws)
        micropie.request.after_response(done.append, "in a thread")
        if ending == "refuses":
            raise HTTPError(403)
        await ws.accept()
        if ending == "client leaves":
            await ws.receive_text()
        assert done == []
        if ending == "fails":
            raise ValueError

    client = open_client(app_of(handler))
    if ending == "refuses":
        refusal(client)
    else:
        with client.websocket("/") as ws:
            if ending != "client leaves":
                closing(ws)
    until(lambda: len(done) == 2)
    assert done == [("/", True, True), "in a thread"]
    assert len(errors(caplog)) == (ending == "fails")


# -- the server ends -------------------------------------------------------------------------------


class Ending(App):
    """``/end`` does what a server's signal does."""

    def __init__(self, handler: Any, **settings: Any) -> None:
        super().__init__(**settings)
        self.websocket("/")(handler)

    async def end(self) -> str:
        config_of(self.request._exchange).shutdown.end()
        return "ended"


def test_R65_a_receiving_handler_learns_that_the_server_shuts_down(open_client: OpenClient) -> None:
    seen: list[Any] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_text("begun")
        try:
            await ws.receive_text()
        except ConnectionClosed as closed:
            seen.append(closed.code)
            raise

    client = open_client(Ending(handler))
    with client.websocket("/") as ws:
        assert ws.receive_text() == "begun"
        assert client.get("/end").text == "ended"
        assert closing(ws) == (1001, "")
    assert seen == [1001]


async def never_called(ws: WebSocket) -> None:
    raise AssertionError


def test_R65_a_websocket_during_shutdown_is_refused_with_503(open_client: OpenClient) -> None:
    client = open_client(Ending(never_called))
    client.get("/end")
    refused = refusal(client)
    assert (refused.status, refused.body) == (
        503,
        b"The server is shutting down. Please try again.",
    )


def test_R65_a_server_without_denial_responses_closes_with_1001_during_shutdown(
    open_client: OpenClient,
) -> None:
    client = open_client(Ending(never_called), denial_response=False)
    client.get("/end")
    with client.websocket("/") as ws:
        assert closing(ws) == (1001, "")


def test_R65_a_handshake_overtaken_by_shutdown_is_closed_with_1001(
    open_client: OpenClient,
) -> None:
    seen: list[int | None] = []

    async def handler(ws: WebSocket) -> None:
        config_of(ws.request._exchange).shutdown.end()
        await ws.accept()
        try:
            await ws.receive_text()
        finally:
            seen.append(ws.close_code)

    with open_client(Ending(handler)).websocket("/") as ws:
        assert closing(ws) == (1001, "")
    assert seen == [1001]


@pytest.mark.parametrize("waits", ["reading ahead", "for all time"])
def test_R65_a_handler_waiting_elsewhere_has_its_grace_at_shutdown(
    open_client: OpenClient, waits: str
) -> None:
    seen: list[Any] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        await anyio.sleep(0.01)  # from now on, messages are read ahead
        await ws.send_text("begun")
        try:
            if waits == "reading ahead":
                await ws.receive_text()
            await anyio.sleep_forever()
        finally:
            seen.append((ws.close_code, ws.closed))

    client = open_client(Ending(handler, websocket_grace=0.05))
    with client.websocket("/") as ws:
        assert ws.receive_text() == "begun"
        client.get("/end")
        assert closing(ws) == (1001, "")
    assert seen == [(1001, True)]


def test_R65_messages_being_sent_precede_the_close_at_shutdown(open_client: OpenClient) -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        for number in range(3):
            await ws.send_text(str(number))
        config_of(ws.request._exchange).shutdown.end()
        with pytest.raises(ConnectionClosed):
            await ws.send_text("too late")

    with open_client(Ending(handler)).websocket("/") as ws:
        assert [ws.receive_text() for _ in range(3)] == ["0", "1", "2"]
        assert closing(ws) == (1001, "")


def test_R65_the_close_is_sent_although_the_handler_ends_immediately(
    open_client: OpenClient,
) -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        config_of(ws.request._exchange).shutdown.end()

    with open_client(Ending(handler)).websocket("/") as ws:
        assert closing(ws) == (1001, "")


class Resource:
    """What a provider gives to a handler."""


@pytest.mark.parametrize("accepts", [True, False])
def test_R65_the_close_is_sent_although_the_server_cancels_the_handler(
    backend: str, accepts: bool
) -> None:
    sent: list[Any] = []
    events: list[str] = []
    app = App()

    @app.provides(Resource)
    async def resource() -> AsyncIterator[Resource]:
        try:
            yield Resource()
        finally:
            events.append("closed")

    async def check() -> None:
        async def handler(ws: WebSocket, resource: Resource) -> None:
            if accepts:
                await ws.accept()
            events.append("opened")
            scope.cancel()
            await anyio.sleep_forever()

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            if events:
                await anyio.sleep_forever()
            return {"type": "websocket.connect"}

        app.websocket("/")(handler)
        with anyio.CancelScope() as scope:
            await app(http_scope(type="websocket", scheme="ws", subprotocols=[]), receive, send)

    run(backend, check)
    assert events == ["opened", "closed"]
    answers = [(message["type"], message.get("code")) for message in sent]
    assert answers == ([("websocket.accept", None), ("websocket.close", 1001)] if accepts else [])
