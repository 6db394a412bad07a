"""Random walks through WebSockets: whatever a handler, its client, the network and the server do, in
whatever order, the client sees what a model of twenty rules says, and nothing stays open.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
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
from micropie.channels import Channels
from tests.asgi.calls import Message, every_loop, http_scope
from tests.support.asgi_validator import validated
from tests.support.waiting import until_async
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

    def __init__(self, grace: float | None) -> None:
        super().__init__(
            channels=Channels(), websocket_max_size=MAX_SIZE, websocket_grace=grace, security=False
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
    """The server of one WebSocket, and its client."""

    def __init__(self, can_deny: bool) -> None:
        extensions: Message = {"websocket.http.response": {}} if can_deny else {}
        self.scope = http_scope("GET", "/room")
        del self.scope["method"]
        self.scope |= {"type": "websocket", "scheme": "ws", "subprotocols": ["a", "b"]}
        self.scope["extensions"] = extensions
        self.sent: list[Message] = []
        self.is_broken = False
        self._incoming: list[Message] = [{"type": "websocket.connect"}]
        self._arrived = anyio.Event()

    async def receive(self) -> Message:
        while not self._incoming:
            await self._arrived.wait()
            self._arrived = anyio.Event()
        return self._incoming.pop(0)

    async def send(self, message: Message) -> None:
        await anyio.lowlevel.checkpoint()
        if self.is_broken:
            raise OSError("the connection is lost")
        self.sent.append(message)

    def arrives(self, message: Message) -> None:
        self._incoming.append(message)
        self._arrived.set()


# -- the model -------------------------------------------------------------------------------------


class End(NamedTuple):
    """How a WebSocket has ended. ``by``: "client" or "application"."""

    by: str
    code: int
    reason: str = ""


class Model:
    """What the client has to see, and what the handler's calls have to return or raise."""

    def __init__(self, can_deny: bool) -> None:
        self.can_deny = can_deny
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

    def _closing(self, code: int, reason: str) -> None:
        if self.end is None:
            self.end = End("application", code, reason)
            self.waiting.clear()
            self._send(("close", code, reason))

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
        self._send(content)
        return None

    def close(self, code: int, reason: str) -> object:
        if code not in (1000, 1011, 3000, 4999):
            return "invalid"
        self._closing(code, reason.encode()[:123].decode("utf-8", "ignore"))
        return None

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
            self._closing(1009, f"a message may have {MAX_SIZE} bytes at most")
            return "the iteration ends" if kind == "next" else self._closed()
        if kind != "json":
            return content
        try:
            return json.loads(raw)
        except ValueError:
            return self._rejected(1007, None)

    def _rejected(self, code: int, reason: str | None) -> object:
        self._closing(code, reason or "*")
        return "MessageError", code, reason or "*"

    def forward(self, channel: str) -> object:
        if self.end is not None:
            return self._closed()
        if not self.is_accepted:
            return "misuse"
        self.forwards.append(channel)
        return None

    def publish(self, channel: str, text: str) -> None:
        for forwarded in self.forwards:
            if forwarded == channel and self.is_open:
                self.send(text)

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


class Walk(RuleBasedStateMachine):
    portal: ClassVar[BlockingPortal]

    is_over = True

    @precondition(lambda self: self.is_over)
    @rule(
        can_deny=st.booleans(),
        grace=st.sampled_from([None, 0.001]),
        begins=st.sampled_from(["accepted", "accepted", "connecting", "shut down"]),
    )
    def connect(self, can_deny: bool, grace: float | None, begins: str) -> None:
        self.app, self.server, self.model = Room(grace), Server(can_deny), Model(can_deny)
        self.ends_at_once = grace is not None
        self.receiving = ""  # what the handler waits for
        self.is_over = False
        self.future, _ = self.portal.start_task(self._serve)
        self.portal.call(until_async, lambda: self.app.sockets)  # startup may use a thread
        self._settle()
        assert self.app.open == ["middleware", "provider", "handler"]
        if begins == "accepted":
            self.accept(None)
        elif begins == "shut down":
            self.happens("server shuts down")

    async def _serve(self, *, task_status: Any) -> None:
        with anyio.CancelScope() as self.scope:
            task_status.started()
            app: Any = validated(self.app)
            await app(self.server.scope, self.server.receive, self.server.send)

    def _settle(self) -> None:
        self.portal.call(settled)
        model = self.model
        model.read()
        if self.receiving and model.can_receive():
            self._outcome(model.receive(self.receiving))
            self.receiving = ""
        if self.ends_at_once and model.is_accepted and model.end is not None:
            self.portal.call(until_async, self.future.done)
            self.is_over = True

    def _outcome(self, expected: object) -> None:
        if self.app.outcomes or not (self.ends_at_once and self.model.end):
            (outcome,) = self.app.outcomes
            self.app.outcomes.clear()
            if isinstance(outcome, tuple) and isinstance(expected, tuple) and "*" in expected:
                outcome = (*outcome[:2], "*")
            assert outcome == expected

    async def _give(self, command: Command) -> None:
        self.app.commands.append(command)
        self.app.given.set()

    def _perform(self, command: Command, expected: Callable[[], object]) -> None:
        """Have the handler perform a command or, while it receives, another task."""
        if self.receiving:
            (ws,) = self.app.sockets
            outcome = self.portal.call(outcome_of, command(ws))
            self.app.outcomes.insert(0, outcome)
            wanted = expected()
            self.portal.call(settled)
            assert self.app.outcomes.pop(0) == wanted
        else:
            self.portal.call(self._give, command)
            self.portal.call(settled)
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

    @precondition(lambda self: not (self.is_over or self.receiving))
    @rule(kind=st.sampled_from([*RECEIVES]))
    def receive(self, kind: str) -> None:
        if self.model.can_receive():
            self._perform(RECEIVES[kind], lambda: self.model.receive(kind))
        else:
            self.portal.call(self._give, RECEIVES[kind])
            self._settle()
            assert self.app.outcomes == []
            self.receiving = kind

    @precondition(lambda self: not self.is_over and self.model.waiting)
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
    @precondition(lambda self: not (self.is_over or self.receiving))
    @rule(channel=st.sampled_from(CHANNELS))
    def forward(self, channel: str) -> None:
        self._perform(
            lambda ws: ws.forward(self.app.channels.subscribe(channel)),
            lambda: self.model.forward(channel),
        )

    @precondition(lambda self: not (self.is_over or self.receiving))
    @rule(way=st.sampled_from([*ENDS]))
    def end(self, way: str) -> None:
        failure, code, reason, status = ENDS[way]

        async def end(_: WebSocket) -> None:
            raise failure()

        self.portal.call(self._give, end)
        self.portal.call(until_async, self.future.done)
        self.model.finish(code, reason, status)
        self.is_over = True

    # -- what the others do

    @rule(content=st.sampled_from([*TEXTS, *DATA]))
    @precondition(lambda self: not self.is_over and len(self.model.coming) < 50)
    def client_sends(self, content: str | bytes) -> None:
        if any(isinstance(one, End) for one in self.model.coming) or self.model.end:
            return
        key = "text" if isinstance(content, str) else "bytes"
        self.portal.call(self.server.arrives, {"type": "websocket.receive", key: content})
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
        if any(isinstance(one, End) for one in self.model.coming) or self.model.end:
            return
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
        self.portal.call(self.scope.cancel)
        self.portal.call(until_async, self.future.done)
        self.model.cancel()
        self.is_over = True

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


@every_loop
def test_a_walk_shows_the_client_what_the_model_says(backend: str) -> None:
    walk(backend, 40)


@every_loop
def test_a_socket_that_is_accepted_after_its_client_and_its_server_have_left_is_closed_once(
    backend: str,
) -> None:
    with start_blocking_portal(backend) as portal:
        walk: Any = type("OneWalk", (Walk,), {"portal": portal})()
        walk.connect(can_deny=False, grace=None, begins="shut down")
        walk.client_leaves(code=1000, before=[])
        walk.accept(None)
        walk.the_client_sees_what_it_has_to()
        walk.teardown()


@pytest.mark.processes  # none, but it takes long
@pytest.mark.timeout(480)
@every_loop
def test_many_walks_show_the_client_what_the_model_says(backend: str) -> None:
    walk(backend, 250)
