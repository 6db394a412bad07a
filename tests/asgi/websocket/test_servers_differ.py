"""What servers do differently, each as a server that does only that: how a client's leaving is
told, what is slow.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Never

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
import sniffio
from anyio import wait_all_tasks_blocked

from micropie import App, ConnectionClosed, WebSocket, WebSocketMiddleware
from micropie._core.routing.config import config_of
from micropie.asgi.coroutines import resume
from tests.asgi.calls import Message, http_scope
from tests.asgi.websocket.test_conversations import Handler, app_of
from tests.support.virtual_time import run_in_virtual_time as run


def text(content: str) -> Message:
    return {"type": "websocket.receive", "text": content}


LEFT: Message = {"type": "websocket.disconnect", "code": 1001}


class Server:
    """One WebSocket's server: gives `incoming`, then the disconnect when `leave` is called (or an
    error), or at once if it has a `farewell`.

    `on_send` is called with each message that the application sends, before it is noted in `sent`.
    A `slow` one has to wait for each message that comes.
    """

    def __init__(
        self,
        *incoming: Message,
        on_send: Callable[[Message], Awaitable[None]] | None = None,
        slow: bool = False,
        farewell: Message | Exception | None = None,
    ) -> None:
        self.incoming: list[Message] = [{"type": "websocket.connect"}, *incoming]
        self.sent: list[Message] = []
        self.received = 0
        self.receiving = 0
        self.overlapped = False
        self.on_send = on_send
        self._slow = slow
        self._gone = anyio.Event()
        self._farewell = farewell or LEFT
        if farewell:
            self._gone.set()

    def leave(self, farewell: Message | Exception | None = None) -> None:
        self._farewell = farewell or self._farewell
        self._gone.set()

    async def receive(self) -> Message:
        self.overlapped = self.overlapped or self.receiving > 0
        self.receiving += 1
        try:
            if self._slow:
                await anyio.lowlevel.checkpoint()
            if not self.incoming:
                await self._gone.wait()
            self.received += 1
            if self.incoming:
                return self.incoming.pop(0)
            if isinstance(self._farewell, Exception):
                raise self._farewell
            return self._farewell
        finally:
            self.receiving -= 1

    async def send(self, message: Message) -> None:
        if self.on_send is not None:
            await self.on_send(message)
        self.sent.append(message)

    def scope(self, **changes: Any) -> Message:
        return {**http_scope(), "type": "websocket", "scheme": "ws", "subprotocols": [], **changes}

    async def serve(self, app: App, **changes: Any) -> None:
        scope = self.scope(**changes)
        del scope["method"]
        await app(scope, self.receive, self.send)

    @property
    def texts(self) -> list[str]:
        return [message["text"] for message in self.sent if message["type"] == "websocket.send"]


def serve(backend: str, handler: Handler, server: Server, **settings: Any) -> Server:
    """Let a server serve its WebSocket to the end."""
    run(backend, lambda: server.serve(app_of(handler, **settings)))
    return server


def sends_fail_after(
    server: Server, error: Exception, waits: bool
) -> Callable[[Message], Awaitable[None]]:
    async def on_send(message: Message) -> None:
        if message["type"] == "websocket.send" and server.texts:
            if waits:
                await anyio.lowlevel.checkpoint()
            raise error

    return on_send


class Gate:
    """A server's `send` that waits until `open`, but for the accept."""

    def __init__(self) -> None:
        self._open = anyio.Event()
        self.open = self._open.set

    async def __call__(self, message: Message) -> None:
        if message["type"] != "websocket.accept":
            await self._open.wait()


class ServersOwn(Exception):
    pass


@pytest.mark.parametrize(
    "error", [OSError("gone"), RuntimeError("after close"), ServersOwn(), TimeoutError("ETIMEDOUT")]
)
@pytest.mark.parametrize(("seconds", "waits"), [(30.0, False), (None, False), (None, True)])
def test_R54_R63_every_error_of_send_becomes_one_exception(
    backend: str,
    error: Exception,
    seconds: float | None,
    waits: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[Any] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        try:
            while True:
                await ws.send_text("x")
        except ConnectionClosed as closed:
            seen.append(closed.code)
            with pytest.raises(ConnectionClosed):
                await ws.receive_text()
            await ws.close()
            raise
        finally:
            seen.append("finally")

    async def main() -> None:
        server = Server()
        server.on_send = sends_fail_after(server, error, waits)
        await server.serve(app_of(handler, websocket_send_timeout=seconds))
        assert server.texts == ["x"]

    run(backend, main)
    assert seen == [1006, "finally"]
    assert [record for record in caplog.records if record.levelname != "DEBUG"] == []


@pytest.mark.parametrize("failing", ["websocket.accept", "websocket.send", "websocket.close"])
def test_R54_R63_send_may_raise_before_it_is_awaited(
    backend: str, failing: str, caplog: pytest.LogCaptureFixture
) -> None:
    """h2corn's `send` is no coroutine function."""
    seen: list[Any] = []
    server = Server()
    send = server.send

    def raises_at_once(message: Message) -> Coroutine[Any, Any, None]:
        if message["type"] == failing:
            raise ServersOwn
        return send(message)

    async def handler(ws: WebSocket) -> None:
        try:
            await ws.accept()
            await ws.send_text("x")
            await ws.close()
        except ConnectionClosed as closed:
            seen.append(closed.code)
            raise
        seen.append(ws.close_code)

    server.send = raises_at_once  # type: ignore[method-assign]
    serve(backend, handler, server)
    assert seen == [1000 if failing == "websocket.close" else 1006]
    assert [record for record in caplog.records if record.levelname != "DEBUG"] == []


@pytest.mark.parametrize("waits", [False, True])
def test_a_client_s_close_code_is_known_if_send_fails_first(backend: str, waits: bool) -> None:
    """The reading task waits for its first turn after the disconnection when ``send`` raises."""
    seen: list[Any] = []
    server = Server()

    async def fails(message: Message) -> None:
        if message["type"] == "websocket.send":
            if waits:
                await anyio.lowlevel.checkpoint()
            server.leave()
            raise ServersOwn

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        await wait_all_tasks_blocked()  # until it reads
        try:
            await ws.send_text("x")
        finally:
            seen.append(ws.close_code)

    server.on_send = fails
    serve(backend, handler, server)
    assert seen == [LEFT["code"]]


def test_R54_R63_a_server_whose_send_ignores_disconnections_is_recognised(backend: str) -> None:
    """`send` neither waits nor fails: only `receive` tells, and a handler that sends alone never
    asks.
    """
    sent = 0

    async def handler(ws: WebSocket) -> None:
        nonlocal sent
        await ws.accept()
        while True:
            await ws.send_text("x")
            sent += 1

    serve(backend, handler, Server(farewell=LEFT))
    assert 0 < sent < 300


@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.parametrize("error", [OSError("gone"), ServersOwn(), TimeoutError("ETIMEDOUT")])
def test_R54_every_error_of_receive_becomes_a_disconnection(
    backend: str, busy: bool, error: Exception
) -> None:
    seen: list[Any] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        if busy:
            await anyio.lowlevel.checkpoint()
        async for message in ws:
            seen.append(message)
        seen.append(ws.close_code)

    serve(backend, handler, Server(text("a"), farewell=error))
    assert seen == ["a", 1006]


def test_R57_available_messages_need_no_timer(backend: str) -> None:
    got: list[Any] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        async for message in ws:
            got.append(message)

    serve(backend, handler, Server(text("a"), text("b"), farewell=LEFT), websocket_timeout=60)
    assert got == ["a", "b"]


@pytest.mark.parametrize(
    ("message", "farewell"),
    [
        ({"code": 1001, "reason": "x"}, (1001, "x")),
        ({}, (1005, "")),
        ({"code": None, "reason": None}, (1005, "")),
    ],
)
def test_R56_servers_may_omit_code_and_reason(backend: str, message: Any, farewell: Any) -> None:
    seen: list[Any] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        with pytest.raises(ConnectionClosed) as closed:
            await ws.receive_text()
        seen.append((closed.value.code, closed.value.reason))

    serve(backend, handler, Server(farewell={"type": "websocket.disconnect", **message}))
    assert seen == [farewell]


def test_a_client_may_disconnect_during_the_handshake(backend: str) -> None:
    async def handler(ws: WebSocket) -> None:
        raise AssertionError("nobody is there")

    async def main() -> None:
        server = Server()
        server.incoming = [{"type": "websocket.disconnect", "code": 1006}]
        await server.serve(app_of(handler))
        assert server.sent == []

    run(backend, main)


def test_a_failing_accept_raises_connection_closed(backend: str) -> None:
    seen: list[Any] = []

    async def handler(ws: WebSocket) -> None:
        with pytest.raises(ConnectionClosed):
            await ws.accept()
        seen.append(ws.close_code)

    async def fails(message: Message) -> None:
        raise OSError("gone")

    async def main() -> None:
        await Server(on_send=fails).serve(app_of(handler))

    run(backend, main)
    assert seen == [1006]


@pytest.mark.parametrize("offered", [{}, {"websocket.http.response": {}}])
def test_a_refusal_is_dropped_when_the_client_has_gone(backend: str, offered: Any) -> None:
    async def handler(ws: WebSocket) -> None: ...

    async def fails(message: Message) -> None:
        raise OSError("gone")

    async def main() -> None:
        await Server(on_send=fails).serve(app_of(handler), extensions=offered)
        await Server(on_send=fails).serve(app_of(handler), extensions=None)

    run(backend, main)


@pytest.mark.parametrize("busy", [False, True])
def test_R57_a_silent_client_is_closed_with_1001(backend: str, busy: bool) -> None:
    seen: list[Any] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        if busy:
            await anyio.lowlevel.checkpoint()
        await ws.send_text(await ws.receive_text())
        try:
            await ws.receive_text()
        except ConnectionClosed as closed:
            seen.append(closed.code)
            raise

    server = serve(backend, handler, Server(text("a")), websocket_timeout=0.05)
    assert server.texts == ["a"]
    assert server.sent[-1] == {
        "type": "websocket.close",
        "code": 1001,
        "reason": "the client sent no message for 0.05 s",
    }
    assert seen == [1001]


def test_R57_a_slow_client_is_disconnected_with_a_reason(
    backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="micropie")
    seen: list[Any] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_text("a")
        with pytest.raises(ConnectionClosed) as closed:
            await ws.send_text("b")
        seen.append((closed.value.code, closed.value.reason))
        with pytest.raises(ConnectionClosed):
            await ws.receive_text()

    async def main() -> None:
        server = Server()

        async def full(message: Message) -> None:
            if message["type"] == "websocket.send" and server.texts:
                await anyio.sleep_forever()

        server.on_send = full
        await server.serve(app_of(handler, websocket_send_timeout=0.05))
        assert server.texts == ["a"]
        reason = "the client did not accept a message within 0.05 s"
        assert server.sent[-1] == {"type": "websocket.close", "code": 1008, "reason": reason}
        assert seen == [(1008, reason)]

    run(backend, main)
    assert [record.getMessage() for record in caplog.records] == [
        "WebSocket '/' is closed: the client did not accept a message within 0.05 s "
        "(App(websocket_send_timeout=...) sets this limit)"
    ]


@pytest.mark.parametrize("accepts", [True, False])
def test_a_server_may_start_tasks_while_it_sends(backend: str, accepts: bool) -> None:
    """trio's ``nursery.start``, which anycorn calls, supports no scope around its wait alone."""

    async def handler(ws: WebSocket) -> None:
        if accepts:
            await ws.accept()
            await ws.send_text("a")

    async def begin(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        await anyio.lowlevel.checkpoint()
        task_status.started()

    async def main() -> list[str]:
        server = Server()
        async with anyio.create_task_group() as tasks:

            async def start(_message: Message) -> None:
                await tasks.start(begin)

            server.on_send = start
            await server.serve(app_of(handler))
        return [message["type"].partition(".")[2] for message in server.sent]

    assert run(backend, main) == (["accept", "send", "close"] if accepts else ["close"])


def test_R57_a_client_that_never_reads_the_close_delays_no_other(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("micropie.asgi.websocket_connection.LAST_FRAME_WITHIN", 0.05)

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_text("a")

    async def full(message: Message) -> None:
        if message["type"] != "websocket.accept":
            await anyio.sleep_forever()

    server = serve(backend, handler, Server(on_send=full), websocket_send_timeout=0.05)
    assert [message["type"] for message in server.sent] == ["websocket.accept"]


def test_R57_a_close_behind_a_blocked_message_is_abandoned(backend: str) -> None:
    gate = Gate()

    async def handler(ws: WebSocket) -> None:
        await ws.accept()

        async def stuck() -> None:
            with pytest.raises(ConnectionClosed):
                await ws.send_text("1")
            gate.open()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stuck)
            await wait_all_tasks_blocked()
            await ws.close(4000)

    server = serve(backend, handler, Server(on_send=gate), websocket_send_timeout=0.05)
    assert server.sent[1:] == [{"type": "websocket.close", "code": 4000, "reason": ""}]


def test_R57_a_slow_client_delays_no_other(backend: str) -> None:
    """A broadcast: one client takes nothing, the others have the message although it is not cut off
    yet.
    """
    sockets: list[WebSocket] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        sockets.append(ws)
        async for _ in ws:
            pass

    async def main() -> None:
        app = app_of(handler, websocket_send_timeout=60)
        gate = Gate()
        servers = [Server(on_send=gate), *(Server() for _ in range(4))]
        async with anyio.create_task_group() as tasks:
            for server in servers:
                tasks.start_soon(server.serve, app)
            await wait_all_tasks_blocked()
            for socket in sockets:
                tasks.start_soon(socket.send_text, "news")
            await wait_all_tasks_blocked()
            assert [server.texts for server in servers] == [[], *[["news"]] * 4]
            gate.open()
            for server in servers:
                server.leave()

    run(backend, main)


def test_R57_messages_received_in_advance_are_bounded(backend: str) -> None:
    go_on = anyio.Event

    async def main() -> None:
        event = go_on()
        got: list[Any] = []

        async def handler(ws: WebSocket) -> None:
            await ws.accept()
            await event.wait()
            async for message in ws:
                got.append(message)

        server = Server(*[text(str(n)) for n in range(200)])
        server.leave()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, app_of(handler))
            await wait_all_tasks_blocked()
            assert server.received == 33  # the connect among them
            event.set()
        assert got == [str(n) for n in range(200)]

        big = Server(*[text("x" * 600) for _ in range(20)])
        big.leave()
        event = go_on()
        got.clear()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(big.serve, app_of(handler, websocket_max_size=1000))
            await wait_all_tasks_blocked()
            assert big.received == 3
            event.set()
        assert len(got) == 20

    run(backend, main)


def test_R54_a_handler_that_receives_nothing_learns_of_a_disconnection_after_many_messages(
    backend: str,
) -> None:
    """A client that sends a "ping" now and then fills the queue of a handler that only sends."""
    ended: list[float] = []

    async def handler(ws: WebSocket[Never, str]) -> None:
        await ws.accept()
        began = anyio.current_time()
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(anyio.current_time() - began)

    server = Server(*[text("ping")] * 50)
    server.leave()
    serve(backend, handler, server, websocket_grace=3)
    assert ended == [3.0]
    assert server.received == 52


@pytest.mark.parametrize("slow", [False, True])
def test_R54_R61_messages_keep_their_order_whatever_the_handler_awaits(
    backend: str, slow: bool
) -> None:
    """A handler that waits for something else, then for many messages, then for something else
    again.
    """
    got: list[str] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        for _ in range(2):
            await anyio.lowlevel.checkpoint()
            got.extend([await ws.receive_text() for _ in range(100)])
        await anyio.sleep_forever()

    server = serve(
        backend,
        handler,
        Server(*[text(str(n)) for n in range(200)], slow=slow, farewell=LEFT),
        websocket_grace=0.02,
    )
    assert not server.overlapped
    assert got == [str(n) for n in range(200)]


def test_a_disconnection_is_noticed_before_the_last_message_is_taken(backend: str) -> None:
    """Messages that came before may still be received; an answer to them has nobody to go to."""
    got: list[Any] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        await wait_all_tasks_blocked()
        assert ws.close_code == 1001
        async for message in ws:
            got.append(message)
            with pytest.raises(ConnectionClosed):
                await ws.send_text("an answer")

    server = serve(backend, handler, Server(text("a"), text("b"), farewell=LEFT))
    assert server.texts == []
    assert got == ["a", "b"]


def test_messages_arrive_after_a_cancelled_accept(backend: str) -> None:
    got: list[str] = []

    async def handler(ws: WebSocket) -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await ws.accept()
        got.append(await ws.receive_text())

    async def waits(message: Message) -> None:
        await anyio.lowlevel.checkpoint()

    serve(backend, handler, Server(text("a"), on_send=waits, farewell=LEFT))
    assert got == ["a"]


def test_a_second_receive_is_refused_while_the_first_is_pending(
    backend: str,
) -> None:
    """As by asyncio's eager tasks, which run up to their first wait inside of whoever makes
    them.
    """

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        first = ws.receive_text()
        first.send(None)
        with pytest.raises(
            RuntimeError, match=r"receive_bytes\(\) was called while another task is receiving"
        ):
            await ws.receive_bytes()
        first.close()

    server = serve(backend, handler, Server())
    assert server.sent[-1]["code"] == 1000


@pytest.mark.parametrize("call", ["receive_text", "send_text"])
def test_a_wait_in_an_eager_task_is_not_the_handler_s(call: str) -> None:
    """A call that was begun in the handler's own steps and returns while the handler waits for
    something else.

    asyncio's eager tasks make such calls. From then on nobody but the connection itself sees the
    client leave.
    """
    returned: list[Any] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        begun = (ws.receive_text() if call == "receive_text" else ws.send_text("b")).__await__()
        waits_for = next(begun)

        async def rest() -> None:
            returned.append(await resume(begun, waits_for))
            await anyio.sleep_forever()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rest)

    async def main() -> None:
        gate = Gate()

        async def receive() -> Message:
            if server.received == 1:
                await gate({"type": "websocket.receive"})
            return await server.receive()

        server = Server(text("a"), on_send=gate)
        server.leave()
        async with anyio.create_task_group() as tasks:
            app = app_of(handler, websocket_grace=0.02, websocket_send_timeout=None)
            tasks.start_soon(app, server.scope(), receive, server.send)
            await wait_all_tasks_blocked()
            gate.open()
        assert not server.overlapped

    run("asyncio", main)
    assert returned == ["a" if call == "receive_text" else None]


def test_receive_is_never_called_twice_concurrently(backend: str) -> None:
    """The handler receives while other tasks send so much that somebody has to look out for the
    client.
    """
    got: list[str] = []

    async def main() -> None:
        async def handler(ws: WebSocket) -> None:
            await ws.accept()

            async def talk() -> None:
                for n in range(200):
                    await ws.send_text(str(n))
                server.leave()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(talk)
                async for message in ws:
                    got.append(str(message))

        server = Server()
        await server.serve(app_of(handler))
        assert len(server.texts) == 200
        assert not server.overlapped

    run(backend, main)


def test_a_handler_that_waits_elsewhere_after_a_slow_send_is_watched(backend: str) -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_text("a")
        await anyio.sleep_forever()

    async def slow(message: Message) -> None:
        await anyio.lowlevel.checkpoint()

    serve(backend, handler, Server(on_send=slow, farewell=LEFT), websocket_grace=0.02)


def test_concurrent_messages_are_sent_in_turn(backend: str) -> None:
    """Several tasks send through a server that is slow; one that is cancelled in its turn passes it
    on.
    """

    gate = Gate()

    async def handler(ws: WebSocket) -> None:
        await ws.accept()

        async def impatient() -> None:
            with anyio.move_on_after(0.01):
                await ws.send_text("never")
            gate.open()

        async with anyio.create_task_group() as tasks:
            for send in (
                lambda: ws.send_text("1"),
                impatient,
                lambda: ws.send_text("2"),
                lambda: ws.send_text("3"),
            ):
                tasks.start_soon(send)
                await wait_all_tasks_blocked()

    server = serve(backend, handler, Server(on_send=gate))
    assert server.texts == ["1", "2", "3"]


def test_a_turn_that_coincides_with_a_cancellation_is_passed_on() -> None:
    """As by asyncio's ``Task.cancel``; a cancel scope leaves a task alone that has been woken."""

    gate = Gate()

    async def handler(ws: WebSocket) -> None:
        await ws.accept()

        async def first() -> None:
            await ws.send_text("1")
            second.cancel()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(first())
            await wait_all_tasks_blocked()
            second = tasks.create_task(ws.send_text("2"))
            await wait_all_tasks_blocked()
            tasks.create_task(ws.send_text("3"))
            await wait_all_tasks_blocked()
            gate.open()

    server = serve("asyncio", handler, Server(on_send=gate))
    assert server.texts == ["1", "3"]


def test_closing_informs_tasks_that_wait_to_send(backend: str) -> None:
    """The message that is on its way arrives, what waits behind it does not; and the close is not
    lost.
    """
    seen: list[str] = []

    gate = Gate()

    async def handler(ws: WebSocket) -> None:
        await ws.accept()

        async def late(word: str) -> None:
            with pytest.raises(
                ConnectionClosed,
                match=r"send_text\(\) on a WebSocket that was closed with 4000",
            ):
                await ws.send_text(word)
            seen.append(word)

        async with anyio.create_task_group() as tasks:
            for send in (
                lambda: ws.send_text("1"),
                lambda: late("2"),
                lambda: late("3"),
                lambda: ws.close(4000),
            ):
                tasks.start_soon(send)
                await wait_all_tasks_blocked()
            await late("4")
            gate.open()

    server = serve(backend, handler, Server(on_send=gate))
    assert server.texts == ["1"]
    assert server.sent[-1] == {"type": "websocket.close", "code": 4000, "reason": ""}
    assert sorted(seen) == ["2", "3", "4"]


def test_a_cancelled_close_is_repeated(backend: str) -> None:
    gate = Gate()

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ws.send_text, "1")
            await wait_all_tasks_blocked()
            with anyio.move_on_after(0.01):
                await ws.close(4000, "bye")
            assert ws.closed
            gate.open()

    server = serve(backend, handler, Server(on_send=gate))
    assert server.texts == ["1"]
    assert server.sent[-1] == {"type": "websocket.close", "code": 4000, "reason": "bye"}


class Noting(WebSocketMiddleware):
    def __init__(self) -> None:
        self.notes: list[str] = []

    async def after_websocket(self, request: Any) -> None:
        await anyio.sleep(0.01)  # has time although it is being cancelled
        self.notes.append("after")


def test_R54_a_server_that_cancels_still_has_everything_cleaned_up(backend: str) -> None:
    notes: list[str] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        try:
            await ws.receive_text()
        finally:
            notes.append("finally")

    async def main() -> None:
        app = app_of(handler)
        app.ws_middlewares.append(middleware := Noting())
        server = Server()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, app)
            await anyio.sleep(0.02)
            tasks.cancel_scope.cancel()
        assert middleware.notes == ["after"]

    run(backend, main)
    assert notes == ["finally"]


def test_a_server_s_cancellation_is_not_taken_for_a_disconnection(backend: str) -> None:
    """The client goes, and while the handler cleans up the server stops, too: the clean-up does not
    outlive that.
    """
    notes: list[str] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        try:
            await anyio.sleep_forever()
        finally:
            notes.append("finally")
            await anyio.sleep(0.02)
            notes.append("cleaned up")

    serve(backend, handler, Server(farewell=LEFT), websocket_grace=0.02)
    assert notes == ["finally", "cleaned up"]


def test_R54_a_cleanup_has_a_time_limit(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("micropie.asgi.websocket_connection.CLEAN_UP_WITHIN", 0.5)
    notes: list[str] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        try:
            await anyio.sleep_forever()
        finally:
            await anyio.lowlevel.checkpoint()
            with anyio.move_on_after(0.01):  # its own limits hold
                await anyio.sleep_forever()
            notes.append("waits")
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():
                notes.append("cancelled again")
                raise

    serve(backend, handler, Server(farewell=LEFT), websocket_grace=0.02)
    assert notes == ["waits", "cancelled again"]


def test_R54_code_in_a_shield_is_not_cancelled(backend: str) -> None:
    notes: list[str] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.1)
            notes.append("shielded")
        await anyio.sleep_forever()

    serve(backend, handler, Server(farewell=LEFT), websocket_grace=0.01)
    assert notes == ["shielded"]


async def sleep_on(ws: WebSocket) -> None:
    await anyio.sleep(15)


async def be_quick_in_vain(ws: WebSocket) -> None:
    with anyio.move_on_after(15):
        await anyio.sleep_forever()


async def fail_in_vain(ws: WebSocket) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await anyio.lowlevel.checkpoint()
    await anyio.sleep(15)
    with pytest.raises(TimeoutError), anyio.fail_after(0):
        await anyio.sleep_forever()


async def wait_for_a_lock(ws: WebSocket) -> None:
    lock = anyio.Lock()

    async def hold() -> None:
        async with lock:
            await anyio.sleep(15)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hold)
        await wait_all_tasks_blocked()
        async with lock:
            pass


async def send_to_nobody(ws: WebSocket) -> None:
    """Begun before the client disconnected, and given up by ``websocket_send_timeout``."""
    with pytest.raises(ConnectionClosed):
        await ws.send_text("never")


async def wait_for_a_thing_of_asyncio(ws: WebSocket) -> None:
    if sniffio.current_async_library() == "asyncio":
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(15):
                await anyio.sleep_forever()
    else:
        await anyio.sleep(15)


@pytest.mark.parametrize("shielded", [
    sleep_on, be_quick_in_vain, fail_in_vain, wait_for_a_lock, send_to_nobody,
    wait_for_a_thing_of_asyncio,
])  # fmt: skip
@pytest.mark.parametrize("ends", ["client", "server"])
def test_R54_a_shielded_wait_that_ends_is_not_taken_for_the_cancellation(
    backend: str, shielded: Callable[[WebSocket], Awaitable[None]], ends: str
) -> None:
    """A scope or a timer within the shield ends the wait.

    The handler is cancelled after it, and may clean up then.
    """
    times: list[tuple[str, float]] = []

    async def main() -> None:
        async def handler(ws: WebSocket) -> None:
            began = anyio.current_time()

            def note(what: str) -> None:
                # tried again every 10 ms, so not to the millisecond
                times.append((what, round(anyio.current_time() - began, 1)))

            await ws.accept()
            tasks.start_soon(end, ws)
            try:
                with anyio.CancelScope(shield=True):
                    await shielded(ws)
                    note("shielded")
                await anyio.sleep_forever()
            finally:
                note("cancelled")
                await anyio.sleep(4)
                note("cleaned up")
                try:
                    await anyio.sleep_forever()
                finally:
                    note("given up")

        async def end(ws: WebSocket) -> None:
            await anyio.sleep(1)
            if ends == "client":
                server.leave()
            else:
                config_of(ws.request._exchange).shutdown.end()

        async def stuck(message: Message) -> None:
            if message["type"] == "websocket.send":
                await anyio.sleep_forever()

        server = Server(on_send=stuck)
        async with anyio.create_task_group() as tasks:
            await server.serve(app_of(handler, websocket_grace=5, websocket_send_timeout=15))

    run(backend, main)
    assert times == [("shielded", 15), ("cancelled", 15), ("cleaned up", 19), ("given up", 25)]


def test_a_failed_websocket_leaves_no_reference_cycle(backend: str) -> None:
    class Marker(Exception):
        pass

    marks: list[Any] = []

    def marked() -> Marker:
        error = Marker()
        marks.append(weakref.ref(error))
        return error

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        raise marked()  # not by a name in this frame, which would be a cycle of its own

    async def main() -> None:
        server = Server()
        await server.serve(app_of(handler))
        assert server.sent[-1]["code"] == 1011

    gc.collect()
    gc.disable()
    logging.disable()  # a record keeps the traceback
    try:
        run(backend, main)
        assert marks[0]() is None
    finally:
        logging.disable(logging.NOTSET)
        gc.enable()


def test_an_unusual_awaitable_is_awaited(backend: str) -> None:
    class Later:
        def __init__(self, ws: WebSocket) -> None:
            self._ws = ws

        def __await__(self) -> Any:
            yield from self._ws.accept().__await__()
            yield from self._ws.close(4000).__await__()

    async def handler(ws: WebSocket) -> None: ...

    app = App()

    def decorated(ws: WebSocket) -> Any:
        return Later(ws)

    decorated.__wrapped__ = handler  # type: ignore[attr-defined]
    app.websocket("/")(decorated)

    async def main() -> None:
        server = Server()
        await server.serve(app)
        assert server.sent[-1]["code"] == 4000

    run(backend, main)


def test_the_grace_of_a_handler_begins_when_its_close_frame_is_sent(backend: str) -> None:
    """A cancellation in the middle of ``close`` would send the frame a second time."""
    begun: list[int] = []
    server = Server()

    async def on_send(message: Message) -> None:
        if message["type"] == "websocket.close":
            begun.append(message["code"])
            await anyio.sleep(0.02)  # longer than the grace

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        await ws.close(4000)
        begun.append(0)

    server.on_send = on_send
    serve(backend, handler, server, websocket_grace=0.001)
    assert begun == [4000, 0]
