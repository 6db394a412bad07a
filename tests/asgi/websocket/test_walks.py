"""Random walks through WebSockets: whatever a handler, its client, the network and the server do, in
whatever order, the client sees what a model of twenty rules says, and nothing stays open.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import anyio
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from micropie import App, ConnectionClosed, HTTPError, Request, WebSocket, WebSocketMiddleware
from micropie.asgi import websocket_connection
from micropie.channels import Channels
from tests.asgi.calls import Message, every_loop, http_scope
from tests.support.asgi_validator import validated
from tests.support.waiting import PATIENCE, until_async
from tests.support.walking import repeatable, settled

MAX_SIZE = 200  # of a message
MOST_WAITING = 32  # messages that are read ahead
CHANNELS = ["pies", "cakes"]
TEXTS = ["1", '{"a": [1]}', "no JSON", "", "é", "x" * (MAX_SIZE + 1)]
DATA = [b"2", b"", b"\xff", b"x" * (MAX_SIZE + 1)]

Command = Callable[[WebSocket], Awaitable[object]]


class Return(Exception):
    """Has the handler return."""


class Pie(str):
    __slots__ = ()


class Room(App):
    """A handler that obeys: it performs the commands that the walk gives it."""

    def __init__(self, grace: float | None, patience: float | None) -> None:
        super().__init__(
            channels=Channels(),
            websocket_max_size=MAX_SIZE,
            websocket_grace=grace,
            websocket_send_timeout=patience,
            security=False,
        )
        self.open: list[str] = []
        self.sockets: list[WebSocket] = []
        self.outcomes: list[object] = []
        self.commands: list[Command] = []
        self.given = anyio.Event()
        self.provides(Pie)(self._pie)
        self.ws_middlewares.append(Noted(self.open))

    async def _pie(self) -> AsyncIterator[Pie]:
        with noted(self.open, "provider"):
            yield Pie("pie")

    async def ws_room(self, ws: WebSocket, pie: Pie) -> None:
        self.sockets.append(ws)
        with noted(self.open, "handler"), suppress(Return):
            while True:
                while not self.commands:
                    await self.given.wait()
                    self.given = anyio.Event()
                self.outcomes.append(await outcome_of(self.commands.pop(0)(ws)))


class Noted(WebSocketMiddleware):
    def __init__(self, noted: list[str]) -> None:
        self._noted = noted

    async def before_websocket(self, request: Request) -> None:
        self._noted.append("middleware")

    async def after_websocket(self, request: Request) -> None:
        self._noted.remove("middleware")


@contextmanager
def noted(names: list[str], name: str) -> Iterator[None]:
    names.append(name)
    try:
        yield
    finally:
        names.remove(name)


async def outcome_of(call: Awaitable[object]) -> object:
    """What became of a call on a WebSocket: its result, or what it has raised."""
    try:
        return await call
    except ConnectionClosed as closed:
        return type(closed).__name__, closed.code, closed.reason
    except StopAsyncIteration:
        return "the iteration ends"
    except RuntimeError:
        return "misuse"
    except ValueError:
        return "invalid"


class Server:
    """The server of one WebSocket, and its client. ``waits``: whether each ``send`` waits, and not
    only while the client reads nothing. One that waits may exceed a short time limit.
    """

    def __init__(self, can_deny: bool, waits: bool) -> None:
        extensions: Message = {"websocket.http.response": {}} if can_deny else {}
        self.scope = http_scope("GET", "/room")
        del self.scope["method"]
        self.scope |= {"type": "websocket", "scheme": "ws", "subprotocols": ["a", "b"]}
        self.scope["extensions"] = extensions
        self.sent: list[Message] = []
        self.is_broken = False
        self.stalled = 0  # calls of ``send`` that wait for the client to read
        self._waits = waits
        self._patch = pytest.MonkeyPatch()
        self._read: anyio.Event | None = None  # set when the client reads again
        self._incoming: list[Message] = [{"type": "websocket.connect"}]
        self._arrived = anyio.Event()

    async def receive(self) -> Message:
        while not self._incoming:
            await self._arrived.wait()
            self._arrived = anyio.Event()
        return self._incoming.pop(0)

    async def send(self, message: Message) -> None:
        if self._waits:
            await anyio.lowlevel.checkpoint()
        if self._read is not None:
            self.stalled += 1
            try:
                await self._read.wait()
            finally:
                self.stalled -= 1
        if self.is_broken:
            raise OSError("the connection is lost")
        self.sent.append(message)

    async def stall(self) -> None:
        self._read = anyio.Event()
        self._patch.setattr(websocket_connection, "LAST_FRAME_WITHIN", 0.001)

    async def go_on(self) -> None:
        """Let the calls go on that wait for the client, which reads again or is lost."""
        read, self._read = self._read, None
        if read is not None:
            read.set()
            self._patch.undo()

    def arrives(self, message: Message) -> None:
        self._incoming.append(message)
        self._arrived.set()


# -- the model -------------------------------------------------------------------------------------


class End(NamedTuple):
    """How a WebSocket has ended. ``by``: "client" or "application"."""

    by: str
    code: int
    reason: str = ""


PENDS = "the call waits for the client to read"


@dataclass
class Pending:
    """A message that waits until the client reads, with the outcome of its call if it is sent.

    - ``by``: "handler", the future of another task's call, or None for a forwarded message and for
      a close frame at shutdown.
    - ``forward``: the number of the subscription that it comes from, of which ``more`` wait.
    """

    message: object
    outcome: object = None
    by: Any = None
    forward: int | None = None
    more: int = 0

    @property
    def closes(self) -> bool:
        return isinstance(self.message, tuple)


class Model:
    """What the client has to see, and what the handler's calls have to return or raise."""

    def __init__(self, can_deny: bool, patience: float | None) -> None:
        self.can_deny = can_deny
        self.patience = patience  # how long a client may read nothing
        self.is_stalled = False
        self.pending: list[Pending] = []
        self.is_accepted = False
        self.end: End | None = None
        self.is_broken = False
        self.is_shut_down = False
        self.sent: list[object] = []
        self.coming: list[str | bytes | End] = []  # what micropie hasn't read yet
        self.waiting: list[str | bytes] = []  # for the handler
        self.forwards: list[str] = []

    @property
    def is_open(self) -> bool:
        return self.is_accepted and self.end is None

    def _send(self, message: object) -> None:
        if not self.is_broken:
            self.sent.append(message)

    def _closed(self) -> object:
        assert self.end is not None
        return "ConnectionClosed", self.end.code, self.end.reason

    def _closing(self, code: int, reason: str, outcome: object = None) -> object:
        """Close the WebSocket. Return the outcome of the call that does so."""
        if self.end is None:
            self.end = End("application", code, reason)
            self.waiting.clear()
            if not self.is_stalled:
                self._send(("close", code, reason))
            elif self.patience is None:
                return self._pend(Pending(("close", code, reason), outcome))
        return outcome

    def _pend(self, pending: Pending) -> object:
        self.pending.append(pending)
        return PENDS

    def go_on(self) -> list[tuple[Any, object]]:
        """The client reads again or, if ``is_broken``, is lost. Return what becomes of the calls
        that have waited for this: the first one was inside of ``send``, the others wait in turn.
        """
        self.is_stalled = False
        outcomes: list[tuple[Any, object]] = []
        is_inside = True
        while self.pending:
            one = self.pending.pop(0)
            if not one.closes and self.end is not None and not (is_inside and not self.is_broken):
                outcomes.append((one.by, self._closed()))
            elif not one.closes and self.is_broken:
                self.end = End("client", 1006)
                outcomes.append((one.by, self._closed()))
            else:
                self._send(one.message)
                outcomes.append((one.by, one.outcome))
                if one.more and self.is_open:
                    self.pending.append(replace(one, more=one.more - 1))
            is_inside = False
        self.read()
        return outcomes

    def read(self) -> None:
        """Read ahead what the client sends, as far as there is room."""
        while self.is_open and self.coming:
            size = sum(len(content) for content in self.waiting)
            if len(self.waiting) >= MOST_WAITING or size > MAX_SIZE:
                return
            content = self.coming.pop(0)
            if isinstance(content, End):
                self.end = content
            else:
                self.waiting.append(content)

    def accept(self, subprotocol: str | None) -> object:
        if self.end is not None and self.end.by == "client":
            return self._closed()
        if self.is_accepted or self.end is not None:
            return "misuse"
        if subprotocol not in (None, "a", "b"):
            return "invalid"
        self.is_accepted = True
        if self.is_broken:
            self.end = End("client", 1006)
            return self._closed()
        self._send(("accept", subprotocol))
        if self.is_shut_down:
            self._closing(1001, "")
        self.read()
        return None

    def send(self, content: str | bytes) -> object:
        if self.end is not None:
            return self._closed()
        if not self.is_accepted:
            return "misuse"
        if self.is_broken:
            self.end = End("client", 1006)
            return self._closed()
        if not self.is_stalled:
            self._send(content)
            return None
        if self.patience is None:
            return self._pend(Pending(content))
        reason = f"the client did not accept a message within {self.patience:g} s"
        self._closing(1008, reason)
        return self._closed()

    def close(self, code: int, reason: str) -> object:
        if code not in (1000, 1011, 3000, 4999):
            return "invalid"
        return self._closing(code, reason.encode()[:123].decode("utf-8", "ignore"))

    def can_receive(self) -> bool:
        """Whether ``receive`` need not wait."""
        return bool(self.waiting or self.end or not self.is_accepted)

    def receive(self, kind: str) -> object:
        if not self.waiting:
            if self.end is None:
                return "misuse"
            return "the iteration ends" if kind == "next" else self._closed()
        outcome = self._received(kind, self.waiting.pop(0))
        self.read()  # there is room again
        return outcome

    def _received(self, kind: str, content: str | bytes) -> object:
        if kind == "text" and isinstance(content, bytes):
            return self._rejected(1003, "a text message was expected")
        if kind == "bytes" and isinstance(content, str):
            return self._rejected(1003, "a binary message was expected")
        raw = content.encode() if isinstance(content, str) else content
        if len(raw) > MAX_SIZE:
            reason = f"a message may have {MAX_SIZE} bytes at most"
            end = self.end or End("application", 1009, reason)
            closed = "ConnectionClosed", end.code, end.reason
            return self._closing(1009, reason, "the iteration ends" if kind == "next" else closed)
        if kind != "json":
            return content
        try:
            return json.loads(raw)
        except ValueError:
            return self._rejected(1007, None)

    def _rejected(self, code: int, reason: str | None) -> object:
        return self._closing(code, reason or "*", ("MessageError", code, reason or "*"))

    def forward(self, channel: str) -> object:
        if self.end is not None:
            return self._closed()
        if not self.is_accepted:
            return "misuse"
        self.forwards.append(channel)
        return None

    def publish(self, channel: str, text: str) -> None:
        for number, forwarded in enumerate(self.forwards):
            if forwarded == channel and self.is_open:
                for pending in self.pending:
                    if pending.forward == number:
                        pending.more += 1
                        break
                else:
                    if self.send(text) is PENDS:
                        self.pending[-1].forward = number

    def shut_down(self) -> None:
        self.is_shut_down = True
        self.forwards.clear()  # a shutdown ends subscriptions
        if self.is_open:
            self._closing(1001, "")

    def cancel(self) -> None:
        if self.is_open:
            self._closing(1001, "")

    def finish(self, code: int, reason: str, status: int) -> None:
        """The handler has ended."""
        if self.end is None and not self.is_accepted and self.can_deny:
            self.end = End("application", code, reason)
            self._send(("denied", status))
        else:
            self._closing(code, reason)


def seen(message: Message, model: Model) -> object:
    """A message to the client, as the model has it."""
    match message:
        case {"type": "websocket.accept"}:
            return "accept", message["subprotocol"]
        case {"type": "websocket.close"}:
            is_any = ("close", message["code"], "*") in model.sent
            return "close", message["code"], "*" if is_any else message["reason"]
        case {"type": "websocket.http.response.start"}:
            return "denied", message["status"]
        case {"type": "websocket.http.response.body"}:
            return None
    text = message.get("text")
    return message["bytes"] if text is None else text


# -- the walk --------------------------------------------------------------------------------------

RECEIVES: dict[str, Command] = {
    "text": lambda ws: ws.receive_text(),
    "bytes": lambda ws: ws.receive_bytes(),
    "json": lambda ws: ws.receive_json(),
    "next": lambda ws: anext(ws),
}
CLOSES = [(1000, ""), (3000, "é" * 100), (4999, "bye"), (1005, ""), (2999, ""), (1011, "x")]


class Failure(Exception):
    pass


# What the handler raises, and how that ends the WebSocket: a code, a reason, a status.
ENDS: dict[str, tuple[Callable[[], Exception], int, str, int]] = {
    "returns": (Return, 1000, "", 403),
    "fails": (Failure, 1011, "", 500),
    "refuses": (lambda: HTTPError(404, "no pie"), 1008, "no pie", 404),
    "is unavailable": (lambda: HTTPError(503, "no oven"), 1011, "no oven", 503),
}


BEGINNINGS = [
    *("accepted", "accepted", "connecting", "shut down"),
    *("stalled", "stalled while it receives"),
]


class Walk(RuleBasedStateMachine):
    portal: ClassVar[BlockingPortal]

    is_over = True

    @precondition(lambda self: self.is_over)
    @rule(
        can_deny=st.booleans(),
        grace=st.sampled_from([None, 0.001]),
        patience=st.sampled_from([None, 0.001]),
        begins=st.sampled_from(BEGINNINGS),
    )
    def connect(
        self, can_deny: bool, grace: float | None, patience: float | None, begins: str
    ) -> None:
        self.app, self.model = Room(grace, patience), Model(can_deny, patience)
        self.server = Server(can_deny, waits=patience is None)
        self.ends_at_once = grace is not None
        # A handler that waits for the client is cancelled after its grace, and the close frame is
        # not: it would never be sent.
        self.may_stall = grace is None or patience is not None
        self.receiving = ""  # what the handler waits for
        self.is_sending = False  # whether it waits for the client to read
        self.has_left = False  # whether the client has
        self.is_over = False
        self.future, _ = self.portal.start_task(self._serve)
        self.portal.call(until_async, lambda: self.app.sockets)  # startup may use a thread
        self._settle()
        assert self.app.open == ["middleware", "provider", "handler"]
        if begins not in ("connecting", "shut down"):
            self.accept(None)
        if begins.startswith("stalled") and self.may_stall:
            self.forward("pies")
            self.client_stops_reading()
            if begins == "stalled while it receives":
                self.receive("text")
            self.publish("pies")
        if begins == "shut down":
            self.happens("server shuts down")

    async def _serve(self, *, task_status: Any) -> None:
        with anyio.CancelScope() as self.scope:
            task_status.started()
            app: Any = validated(self.app)
            await app(self.server.scope, self.server.receive, self.server.send)

    def _settle(self) -> None:
        self._time_out()
        model = self.model
        model.read()
        if self.receiving and model.can_receive():
            self._outcome(model.receive(self.receiving))
            self.receiving = ""
        if self.ends_at_once and model.is_accepted and model.end is not None:
            self._leave()

    def _leave(self) -> None:
        """Wait for the end, after which nothing arrives at the client."""
        self.portal.call(until_async, self.future.done)
        self.is_over = self.server.is_broken = True
        self.portal.call(self.server.go_on)
        self.portal.call(settled)

    def _time_out(self) -> None:
        """Wait until nothing happens any more: each call that may exceed its time limit has."""
        self.portal.call(self._timed_out)

    async def _timed_out(self) -> None:
        # In the loop's thread: another one could look between the call that has exceeded its limit
        # and the close frame, which waits as well.
        await settled()
        while self.server.stalled and self.model.patience is not None:
            await until_async(lambda: not self.server.stalled)
            await settled()

    def _outcome(self, expected: object) -> None:
        if expected is PENDS:
            assert self.app.outcomes == []
            self.model.pending[-1].by, self.is_sending = "handler", True
        elif self.app.outcomes or not (self.ends_at_once and self.model.end):
            (outcome,) = self.app.outcomes
            self.app.outcomes.clear()
            if isinstance(outcome, tuple) and isinstance(expected, tuple) and "*" in expected:
                outcome = (*outcome[:2], "*")
            assert outcome == expected

    async def _give(self, command: Command) -> None:
        self.app.commands.append(command)
        self.app.given.set()

    def _perform(self, command: Command, expected: Callable[[], object]) -> None:
        """Have the handler perform a command or, while it waits, another task."""
        if self.receiving or self.is_sending:
            (ws,) = self.app.sockets
            future = self.portal.start_task_soon(outcome_of, command(ws))
            self._time_out()
            wanted = expected()
            if wanted is PENDS:
                assert not future.done()
                self.model.pending[-1].by = future
            else:
                assert future.result(PATIENCE) == wanted
        else:
            self.portal.call(self._give, command)
            self._time_out()
            self._outcome(expected())
        self._settle()

    # -- what the handler does

    @precondition(lambda self: not self.is_over)
    @rule(subprotocol=st.sampled_from([None, "a", "b", "other"]))
    def accept(self, subprotocol: str | None) -> None:
        self._perform(lambda ws: ws.accept(subprotocol), lambda: self.model.accept(subprotocol))

    @precondition(lambda self: not self.is_over)
    @rule(text=st.sampled_from(TEXTS))
    def send_text(self, text: str) -> None:
        self._perform(lambda ws: ws.send_text(text), lambda: self.model.send(text))

    @precondition(lambda self: not self.is_over)
    @rule(data=st.sampled_from(DATA))
    def send_bytes(self, data: bytes) -> None:
        self._perform(lambda ws: ws.send_bytes(data), lambda: self.model.send(data))

    @precondition(lambda self: not self.is_over)
    @rule()
    def send_json(self) -> None:
        self._perform(lambda ws: ws.send_json([1]), lambda: self.model.send("[1]"))

    @precondition(lambda self: not (self.is_over or self.receiving or self.is_sending))
    @rule(kind=st.sampled_from([*RECEIVES]))
    def receive(self, kind: str) -> None:
        if self.model.can_receive():
            self._perform(RECEIVES[kind], lambda: self.model.receive(kind))
        else:
            self.portal.call(self._give, RECEIVES[kind])
            self._settle()
            assert self.app.outcomes == []
            self.receiving = kind

    @precondition(lambda self: not self.is_over and self.model.waiting and not self.is_sending)
    @rule(kind=st.sampled_from([*RECEIVES]))
    def receive_what_waits(self, kind: str) -> None:
        self.receive(kind)

    @precondition(lambda self: not self.is_over and self.receiving)
    @rule(kind=st.sampled_from([*RECEIVES]))
    def receive_twice(self, kind: str) -> None:
        self._perform(RECEIVES[kind], lambda: "misuse")

    @precondition(lambda self: not self.is_over)
    @rule(close=st.sampled_from(CLOSES))
    def close(self, close: tuple[int, str]) -> None:
        self._perform(lambda ws: ws.close(*close), lambda: self.model.close(*close))

    # Another task of the walk isn't one of the application, whose shutdown ends subscriptions.
    @precondition(lambda self: not (self.is_over or self.receiving or self.is_sending))
    @rule(channel=st.sampled_from(CHANNELS))
    def forward(self, channel: str) -> None:
        self._perform(
            lambda ws: ws.forward(self.app.channels.subscribe(channel)),
            lambda: self.model.forward(channel),
        )

    @precondition(lambda self: self.may_end())
    @rule(way=st.sampled_from([*ENDS]))
    def end(self, way: str) -> None:
        failure, code, reason, status = ENDS[way]

        async def end(_: WebSocket) -> None:
            raise failure()

        self.portal.call(self._give, end)
        self._leave()
        self.model.finish(code, reason, status)

    def may_end(self) -> bool:
        is_free = not (self.is_over or self.receiving or self.is_sending)
        return is_free and not (self.model.is_stalled and self.model.patience is None)

    # -- what the others do

    @precondition(lambda self: not self.is_over and self.may_stall and self.model.is_open)
    @rule()
    def client_stops_reading(self) -> None:
        if not (self.model.is_broken or self.model.is_stalled):
            self.model.is_stalled = True
            self.portal.call(self.server.stall)

    @precondition(lambda self: not self.is_over and self.model.is_stalled)
    @rule()
    def client_reads(self) -> None:
        self._go_on()

    def _go_on(self) -> None:
        self.portal.call(self.server.go_on)
        self.portal.call(settled)
        for by, outcome in self.model.go_on():
            if by == "handler":
                self.is_sending = False
                self._outcome(outcome)
            elif by is not None:
                assert by.result(PATIENCE) == outcome
        self._settle()

    @rule(content=st.sampled_from([*TEXTS, *DATA]))
    @precondition(lambda self: not self.is_over and len(self.model.coming) < 50)
    def client_sends(self, content: str | bytes) -> None:
        if self.has_left or (self.model.end and self.model.end.by == "client"):
            return
        key = "text" if isinstance(content, str) else "bytes"
        self.portal.call(self.server.arrives, {"type": "websocket.receive", key: content})
        if self.model.end is None:  # or nobody receives it
            self.model.coming.append(content)
        self._settle()

    @precondition(lambda self: not self.is_over)
    @rule(
        code=st.sampled_from([1000, 1001, 1005, 4000]),
        before=st.lists(st.sampled_from([*TEXTS, *DATA]), max_size=2),
    )
    def client_leaves(self, code: int, before: list[str | bytes]) -> None:
        for content in before:
            self.client_sends(content)
        if self.has_left or self.model.end:
            return
        self.has_left = True
        self.portal.call(
            self.server.arrives, {"type": "websocket.disconnect", "code": code, "reason": "r"}
        )
        self.model.coming.append(End("client", code, "r"))
        self._settle()

    @precondition(lambda self: not self.is_over)
    @rule(channel=st.sampled_from(CHANNELS))
    def publish(self, channel: str) -> None:
        self.portal.call(self.app.channels.publish, channel, "fresh")
        self.model.publish(channel, "fresh")
        self._settle()

    @precondition(lambda self: not self.is_over)
    @rule(what=st.sampled_from(["network fails", "server shuts down", "server cancels"]))
    def happens(self, what: str) -> None:
        if what == "network fails":
            self.server.is_broken = self.model.is_broken = True
            self._go_on()
        elif what == "server shuts down":
            self.portal.call(self._shut_down)
            self.model.shut_down()
            self._settle()
        else:
            self._cancel()

    async def _shut_down(self) -> None:
        for shutdown in self.app._micropie.shutdowns.values():
            shutdown.end()

    def _cancel(self) -> None:
        for pending in self.model.pending:
            if pending.by not in ("handler", None):
                pending.by.cancel()
        self.portal.call(self.scope.cancel)
        self._leave()
        self.model.cancel()

    # -- what has to be

    @invariant()
    @precondition(lambda self: hasattr(self, "app"))
    def the_client_sees_what_it_has_to(self) -> None:
        found = (seen(message, self.model) for message in self.server.sent)
        assert [one for one in found if one is not None] == self.model.sent

    @invariant()
    @precondition(lambda self: hasattr(self, "app"))
    def nothing_stays_open(self) -> None:
        forwards = [] if self.is_over else self.model.forwards
        assert self.app.channels.counts() == (len({*forwards}), len(forwards))
        if self.is_over:
            self.future.result()
            assert self.app.open == []

    def teardown(self) -> None:
        if not self.is_over:
            self._cancel()
            self.the_client_sees_what_it_has_to()
            self.nothing_stays_open()


def walk(backend: str, walks: int) -> None:
    with start_blocking_portal(backend) as portal:
        machine = type("WebSocketWalk", (Walk,), {"portal": portal})
        run_state_machine_as_test(
            machine,
            settings=repeatable(walks, steps=30),
        )


@pytest.mark.timeout(240)  # 4 seconds of a processor, and thousands of calls in another thread
@every_loop
def test_a_walk_shows_the_client_what_the_model_says(backend: str) -> None:
    walk(backend, 100)


@contextmanager
def one_walk(backend: str, begins: str) -> Iterator[Any]:
    """Yield a walk whose steps the test chooses."""
    with start_blocking_portal(backend) as portal:
        walk: Any = type("OneWalk", (Walk,), {"portal": portal})()
        walk.connect(can_deny=False, grace=None, patience=None, begins=begins)
        yield walk
        walk.the_client_sees_what_it_has_to()
        walk.teardown()


@every_loop
def test_a_socket_that_is_accepted_after_its_client_and_its_server_have_left_is_closed_once(
    backend: str,
) -> None:
    with one_walk(backend, "shut down") as walk:
        walk.client_leaves(code=1000, before=[])
        walk.accept(None)


@every_loop
def test_a_message_that_comes_while_the_close_frame_waits_is_not_received(backend: str) -> None:
    with one_walk(backend, "stalled") as walk:
        walk.happens("server shuts down")
        walk.client_sends("1")
        walk.receive("text")
        walk.client_reads()


@every_loop
def test_a_message_that_waits_is_not_sent_after_a_close(backend: str) -> None:
    with one_walk(backend, "stalled while it receives") as walk:
        walk.send_text("1")
        walk.close((3000, ""))
        walk.client_reads()


@pytest.mark.processes  # none, but it takes long
@every_loop
def test_many_walks_show_the_client_what_the_model_says(backend: str) -> None:
    walk(backend, 250)
