"""``ws.forward(subscription)``: a WebSocket sends a channel's messages while its handler goes on."""

from __future__ import annotations

import gc
import logging
import re
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from micropie import App, ConnectionClosed, WebSocket
from micropie.asgi import forwarding
from micropie.channels import Channels, Subscription
from micropie.channels.mailbox import Future, Mailbox
from micropie.testing import TestClient
from tests.asgi.calls import Message, every_loop, http_scope, run
from tests.support.virtual_time import run_in_virtual_time
from tests.support.waiting import until_async

pytestmark = every_loop


class Room(App):
    async def ws_index(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.forward(self.channels.subscribe("room"))
        async for text in ws:
            await self.channels.publish("room", text)


class Peer:
    """A server's side of one WebSocket. Its `send` waits for `flows`, and for `waits` turns."""

    waits = 0

    def __init__(self, app: App) -> None:
        self._app = app
        self._incoming = anyio.create_memory_object_stream[Message](100)
        self.say({"type": "websocket.connect"})
        self.sent: list[Message] = []
        self.begun = 0  # how many calls of `send` have begun
        self.fails = self._is_sending = False
        self.flows = anyio.Event()
        self.flows.set()
        self.has_ended = anyio.Event()

    def say(self, message: Message) -> None:
        self._incoming[0].send_nowait(message)

    def say_text(self, text: str) -> None:
        self.say({"type": "websocket.receive", "text": text})

    def leave(self) -> None:
        self.say({"type": "websocket.disconnect", "code": 1001})

    def block(self) -> None:
        self.flows = anyio.Event()

    async def _send(self, message: Message) -> None:
        assert not self._is_sending
        self._is_sending = True
        self.begun += 1
        try:
            if self.fails:
                raise OSError("broken")
            if not self.flows.is_set():
                await self.flows.wait()
            for _ in range(self.waits):
                await checkpoint()
            self.sent.append(message)
        finally:
            self._is_sending = False

    async def run(self) -> None:
        scope = http_scope(type="websocket", scheme="ws", subprotocols=[])
        del scope["method"]
        try:
            await self._app(scope, self._incoming[1].receive, self._send)
        finally:
            self.has_ended.set()
            for stream in self._incoming:
                stream.close()

    @property
    def texts(self) -> list[str]:
        return [one["text"] for one in self.sent if one["type"] == "websocket.send"]

    @property
    def code(self) -> int | None:
        codes = [one["code"] for one in self.sent if one["type"] == "websocket.close"]
        assert len(codes) <= 1
        return codes[0] if codes else None


@asynccontextmanager
async def connected(app: App, number: int = 1) -> AsyncIterator[list[Peer]]:
    """Open WebSockets, and wait until they are subscribed. Cancel them at the end."""
    peers = [Peer(app) for _ in range(number)]
    async with anyio.create_task_group() as tasks:
        for peer in peers:
            tasks.start_soon(peer.run)
        await until_async(lambda: len(app.channels.subscriptions().get("room", ())) == number)
        yield peers
        tasks.cancel_scope.cancel()


async def turns() -> None:
    """Let the other tasks run until they wait."""
    for _ in range(20):
        await checkpoint()


VALUES: list[object] = [
    "text",
    "",
    '"',
    "é",
    "null",
    None,
    True,
    5,
    2**70,
    1.5,
    [],
    {"a": [{"b": None}]},
]
TEXTS = [
    "text",
    "",
    '"',
    "é",
    "null",
    "null",
    "true",
    "5",
    str(2**70),
    "1.5",
    "[]",
    '{"a":[{"b":null}]}',
]


def test_forwarded_strings_are_sent_unchanged_and_other_values_as_json(backend: str) -> None:
    app = Room()

    async def check() -> None:
        async with connected(app, 2) as peers:
            for value in VALUES:
                await app.channels.publish("room", value)
            await turns()
            assert [peer.texts for peer in peers] == [TEXTS, TEXTS]
            # encoded once
            assert all(
                one is other for one, other in zip(peers[0].texts, peers[1].texts, strict=True)
            )

    run(backend, check)


def test_the_test_client_receives_chat_messages(backend: str) -> None:
    app = Room()
    with TestClient(app, backend=backend) as client:
        with client.websocket("/") as one, client.websocket("/") as two:
            one.send_text("hello")
            assert [one.receive_text(), two.receive_text()] == ["hello", "hello"]
            thread = threading.Thread(target=app.channels.publish, args=("room", {"a": 1}))
            thread.start()
            thread.join()
            assert [one.receive_json(), two.receive_json()] == [{"a": 1}] * 2
        assert app.channels.subscriptions() == {}


def test_messages_are_forwarded_while_the_handler_is_busy(backend: str) -> None:
    class Busy(App):
        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()
            await ws.forward(self.channels.subscribe("room"))
            await anyio.sleep_forever()

    app = Busy()

    async def check() -> None:
        async with connected(app) as (peer,):
            await app.channels.publish("room", "now")
            await turns()
            assert peer.texts == ["now"]

    run(backend, check)


def test_a_websocket_can_forward_two_subscriptions(backend: str) -> None:
    class Two(App):
        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()
            await ws.forward(self.channels.subscribe("news", "room"))
            await ws.forward(self.channels.subscribe("other"))
            async for text in ws:
                await ws.send_text(f"Echo: {text!r}")

    app = Two()

    async def check() -> None:
        async with connected(app) as (peer,):
            await until_async(lambda: app.channels.counts() == (3, 2))
            (subscription,) = app.channels.subscriptions()["room"]
            for name in ("other", "news", "room"):
                await app.channels.publish(name, name)
            await turns()
            peer.say_text("me")
            await turns()
            assert sorted(peer.texts) == ["Echo: 'me'", "news", "other", "room"]
            assert subscription.channel == "room"
            peer.leave()
            await peer.has_ended.wait()
        assert app.channels.counts() == (0, 0)

    run(backend, check)


def test_a_started_subscription_misses_no_message(backend: str) -> None:
    class History(App):
        async def ws_index(self, ws: WebSocket) -> None:
            async with self.channels.subscribe("room") as messages:
                await self.channels.publish("room", "new")
                await ws.accept()
                await ws.send_text("old")
                await ws.forward(messages)
                await ws.receive_text()

    app = History()

    async def check() -> None:
        async with connected(app) as (peer,):
            await turns()
            assert peer.texts == ["old", "new"]
            peer.say_text("bye")
            await peer.has_ended.wait()
            assert peer.code == 1000
        assert app.channels.subscriptions() == {}

    run(backend, check)


# -- slow clients ----------------------------------------------------------------------------------


def test_R57_a_client_that_reads_nothing_delays_no_other(backend: str) -> None:
    app = Room()

    async def check() -> None:
        async with connected(app, 4) as peers:
            slow = peers[:2]
            for peer in slow:
                peer.block()
            for number in range(3):
                await app.channels.publish("room", number)
                await turns()
            assert [peer.texts for peer in peers] == [[], [], *[["0", "1", "2"]] * 2]
            assert [peer.begun for peer in slow] == [2, 2]  # accept, and one message at a time
            slow[0].say_text("I can still talk")
            await turns()
            assert peers[3].texts[-1] == "I can still talk"
            for peer in slow:
                peer.flows.set()
            await turns()
            assert all(peer.texts == ["0", "1", "2", "I can still talk"] for peer in peers)
            await app.channels.publish("room", "again")
            await turns()
            assert all(peer.texts[-1] == "again" for peer in peers)

    run(backend, check)


@pytest.mark.parametrize("waits", [0, 1, 5])
def test_R57_clients_that_all_send_at_once_miss_no_message(backend: str, waits: int) -> None:
    app = Room()

    async def check() -> tuple[set[int], int]:
        async with connected(app, 30) as peers:
            subscriptions = app.channels.subscriptions()["room"]
            for peer in peers:
                peer.waits = waits
                for _ in range(10):
                    peer.say_text("hello")

            def count() -> int:
                return sum(len(peer.texts) for peer in peers)

            await until_async(lambda: count() + sum(one.dropped for one in subscriptions) == 9000)
            await turns()  # until nothing waits to be forwarded
            return {len(peer.texts) for peer in peers}, count()

    assert run(backend, check) == ({300}, 9000)


@pytest.mark.parametrize("when_full", ["drop_oldest", "close"])
def test_R57_messages_beyond_the_queue_size_are_dropped_or_close_with_1013(
    backend: str, when_full: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Small(App):
        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()
            await ws.forward(self.channels.subscribe("room", size=2, when_full=when_full))
            async for _ in ws:
                pass

    app = Small()

    async def check() -> None:
        async with connected(app) as (peer,):
            (subscription,) = app.channels.subscriptions()["room"]
            peer.block()
            await app.channels.publish("room", 0)
            await turns()
            for number in range(1, 5):
                await app.channels.publish("room", number)
            peer.flows.set()
            await turns()
            if when_full == "close":
                await peer.has_ended.wait()
                assert peer.texts == ["0", "1", "2"]
                assert peer.code == 1013
                assert "too slow" in peer.sent[-1]["reason"]
            else:
                assert (peer.texts, subscription.dropped, peer.code) == (["0", "3", "4"], 2, None)

    with caplog.at_level(logging.INFO, "micropie"):
        run(backend, check)
    assert [one.levelname for one in caplog.records] == ["INFO"] * (when_full == "close")


class Telling(App):
    """Keeps the codes with which its WebSockets have ended."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.codes: list[int] = []

    async def ws_index(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.forward(self.channels.subscribe("room"))
        try:
            await ws.receive_text()
        except ConnectionClosed as error:
            self.codes.append(error.code)
            raise


def test_a_client_that_receives_nothing_is_closed_with_1008(backend: str) -> None:
    app = Telling(websocket_send_timeout=10)

    async def check() -> None:
        async with connected(app) as (peer,):
            peer.block()
            await app.channels.publish("room", "unread")
            with anyio.move_on_after(9):
                await peer.has_ended.wait()
            assert not peer.has_ended.is_set()
            await peer.has_ended.wait()
            assert app.codes == [1008]
            assert app.channels.subscriptions() == {}

    run_in_virtual_time(backend, check)


def test_a_failing_server_ends_the_handler(backend: str) -> None:
    app = Telling()

    async def check() -> None:
        async with connected(app) as (peer,):
            peer.fails = True
            await app.channels.publish("room", "x")
            await peer.has_ended.wait()
            assert (app.codes, peer.code) == ([1006], None)

    run(backend, check)


def test_many_websockets_let_other_tasks_run(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "SENDS_PER_CHECK", 2)
    app = Room()
    seen: list[int] = []

    async def check() -> None:
        async with connected(app, 7) as peers, anyio.create_task_group() as tasks:

            async def watch() -> None:
                while not seen or seen[-1] < len(peers):
                    seen.append(sum(len(peer.texts) for peer in peers))
                    await checkpoint()

            tasks.start_soon(watch)
            await checkpoint()
            await app.channels.publish("room", "x")

    run(backend, check)
    assert any(0 < number < 7 for number in seen)


# -- the end ---------------------------------------------------------------------------------------


def test_R61_a_client_that_disconnects_ends_the_subscription(backend: str) -> None:
    app = Room()

    async def check() -> None:
        async with connected(app, 2) as (gone, other):
            wake = app.channels.subscriptions()["room"][0]._mailbox.listener
            gone.leave()
            await gone.has_ended.wait()
            assert wake is not None
            wake()  # as from a thread that was about to call it
            assert len(app.channels.subscriptions()["room"]) == 1
            await app.channels.publish("room", "x")
            await turns()
            assert (gone.texts, gone.code, other.texts) == ([], None, ["x"])

    run(backend, check)


def test_a_busy_handler_is_cancelled_after_its_grace(backend: str) -> None:
    times: list[float] = []

    class Busy(App):
        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()
            await ws.forward(self.channels.subscribe("room"))
            try:
                await anyio.sleep_forever()
            finally:
                times.append(anyio.current_time())

    app = Busy(websocket_grace=7)

    async def check() -> None:
        async with connected(app) as (peer,):
            start = anyio.current_time()
            peer.leave()
            await turns()
            await app.channels.publish("room", "to nobody")
            await peer.has_ended.wait()
            assert times[0] - start == pytest.approx(7)
            assert peer.texts == []

    run_in_virtual_time(backend, check)


@pytest.mark.parametrize("how", ["close", "close all", "close before"])
def test_the_end_of_the_subscription_closes_with_1000(backend: str, how: str) -> None:
    class Closed(Room):
        async def ws_index(self, ws: WebSocket) -> None:
            if how != "close before":
                return await super().ws_index(ws)
            async with self.channels.subscribe("room") as messages:
                await self.channels.publish("room", "last")
                await ws.accept()
                await ws.receive_text()
                messages.close()
                await ws.forward(messages)
                async for _ in ws:
                    pass

    app = Closed()

    async def check() -> None:
        async with connected(app) as (peer,):
            if how == "close before":
                peer.say_text("go")
            else:
                await app.channels.publish("room", "last")
                if how == "close":
                    app.channels.subscriptions()["room"][0].close()
                else:
                    app.channels.close()
            await peer.has_ended.wait()
            assert (peer.texts, peer.code) == (["last"], 1000)

    run(backend, check)


@pytest.mark.parametrize("is_slow", [False, True])
def test_the_end_of_the_handler_ends_the_subscription(backend: str, is_slow: bool) -> None:
    class Short(App):
        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()
            await ws.forward(self.channels.subscribe("room"))
            await ws.receive_text()
            raise ValueError("a bug")

    app = Short()

    async def check() -> None:
        async with connected(app) as (peer,):
            if is_slow:
                peer.block()
                await app.channels.publish("room", "unread")
                await turns()
            peer.say_text("go")
            await turns()
            assert app.channels.subscriptions() == {}
            peer.flows.set()
            await peer.has_ended.wait()
            assert (peer.texts, peer.code) == ([], 1011)

    run(backend, check)


class Slow(Channels):
    """Redis confirms a subscription only when the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.joining: list[Future] = []

    def join(self, mailbox: Mailbox, subscription: Subscription) -> Future:
        super().join(mailbox, subscription)
        self.joining.append(Future("not confirmed"))
        return self.joining[-1]


@pytest.mark.parametrize("who", ["the handler", "the client"])
def test_R61_a_subscription_that_begins_after_the_handler_s_end_ends_immediately(
    backend: str, who: str
) -> None:
    """Another task forwards it, such as the handler of a form that adds a room to a chat."""

    class Rooms(App):
        socket: WebSocket

        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()
            self.socket = ws
            if await ws.receive_text() != "end":
                await ws.receive_text()

    slow = Slow()
    app = Rooms(channels=slow)

    async def check() -> None:
        peer = Peer(app)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(peer.run)
            await until_async(lambda: hasattr(app, "socket"))
            tasks.start_soon(app.socket.forward, slow.subscribe("room"))
            await until_async(lambda: bool(slow.joining))
            peer.say_text("end") if who == "the handler" else peer.leave()
            await peer.has_ended.wait()
            slow.joining[0].settle()
        assert slow._mailboxes == {}
        assert peer.texts == []

    run(backend, check)


def test_R65_shutdown_closes_with_1001(backend: str) -> None:
    app = Room()

    async def check() -> None:
        async with connected(app) as (peer,):
            for shutdown in app._micropie.shutdowns.values():
                shutdown.end()
            await peer.has_ended.wait()
            assert peer.code == 1001
        assert app.channels.subscriptions() == {}

    run(backend, check)


@pytest.mark.parametrize("is_slow", [False, True])
def test_R61_a_server_that_cancels_leaves_no_task(backend: str, is_slow: bool) -> None:
    app = Room()

    async def check() -> None:
        async with connected(app) as (peer,):
            if is_slow:
                peer.block()
                await app.channels.publish("room", "x")
                await turns()
                peer.flows = anyio.Event()
                peer.flows.set()  # only for the close frame
        assert app.channels.subscriptions() == {}
        assert (peer.texts, peer.code) == ([], 1001)

    run(backend, check)


def test_a_finished_websocket_leaves_no_reference_cycle(backend: str) -> None:
    app = Room()

    async def one() -> None:
        async with connected(app) as (peer,):
            await app.channels.publish("room", "x")
            await turns()
            peer.leave()
            await peer.has_ended.wait()

    async def check() -> None:
        await one()
        gc.collect()
        gc.disable()
        try:
            await one()
            left = [item for item in gc.get_objects() if type(item) is forwarding.Forward]
            assert left == []
        finally:
            gc.enable()

    run(backend, check)


# -- misuse ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("misuse", "error", "text"),
    [
        ("early", RuntimeError, r"forward\(\) on a WebSocket that has not been accepted"),
        ("late", ConnectionClosed, r"forward\(\) on a WebSocket that was closed with 1000"),
        ("generator", TypeError, r"takes a subscription, such as self\.channels\.subscribe"),
        ("twice", ConnectionClosed, "1000"),
    ],
)
def test_misuse_raises_an_error_immediately(
    backend: str, misuse: str, error: type[Exception], text: str
) -> None:
    raised: list[Exception] = []

    class Wrong(App):
        async def ws_index(self, ws: WebSocket) -> None:
            subscription: Any = self.channels.subscribe("room")
            if misuse != "early":
                await ws.accept()
            if misuse == "late":
                await ws.close()
            if misuse == "generator":
                subscription = (text async for text in ws)
            if misuse == "twice":
                async with subscription:
                    pass
            try:
                await ws.forward(subscription)
                await ws.receive_text()
            except Exception as error:
                raised.append(error)
                raise

    app = Wrong()

    async def check() -> None:
        peer = Peer(app)
        await peer.run()
        assert app.channels.subscriptions() == {}

    run(backend, check)
    assert [type(one) for one in raised] == [error]
    assert re.search(text, str(raised[0]))
