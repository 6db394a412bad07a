"""A call of an ASGI application, for every type of scope: a task in the loop's thread."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any, TypeVar

import anyio

from micropie.testing.errors import ClientDisconnected, ProtocolViolation
from micropie.testing.exchange import Call, Signal
from micropie.testing.loop import AppLoop

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
E = TypeVar("E")


def checked_headers(message: Message) -> list[tuple[bytes, bytes]]:
    """Return the headers of a head or an accept as a list of pairs. Raises ``ProtocolViolation``."""
    headers = [(name, value) for name, value in message.get("headers", ())]
    for name, value in headers:
        if not isinstance(name, bytes) or not isinstance(value, bytes):
            raise ProtocolViolation(f"{message['type']}: headers are pairs of bytes, not ({name!r}, {value!r})")
    return headers


class AppCall(Call[E]):
    """A call of an ASGI application: a task in the loop's thread.

    Only the loop's thread may touch the attributes that ``Call`` does not have; ``post`` runs a function there.
    ``ahead`` is how many messages the application may send before the test takes one.
    """

    _changed: anyio.Event
    _cancel_scope: anyio.CancelScope

    def __init__(self, loop: AppLoop, app: ASGIApp, scope: Scope, label: str, *, ahead: int = 0) -> None:
        super().__init__(label)
        self.post = loop.post
        self._loop = loop
        self._app = app
        self._scope = scope
        self._ahead = ahead
        self._inbox: deque[Message] = deque()
        self._last_message: Message | None = None  # ``receive`` returns it whenever the inbox is empty
        self._hung_up = False
        self._sent = 0
        self._taken = 0
        self.received = 0

    def start(self) -> None:
        def begin() -> None:
            # anyio's primitives need a running loop, so they are made here.
            self._changed = anyio.Event()
            self._cancel_scope = anyio.CancelScope()
            self._loop.tasks.start_soon(self._run, name=self.label)

        self.post(begin)

    def put(self, message: Message) -> None:
        self.post(partial(self._accept_message, message))

    def taken(self) -> None:
        def take() -> None:
            self._taken += 1
            self._pulse()

        self.post(take)

    def hang_up(self) -> None:
        message = self.disconnect_message()  # made here, in the test's thread

        def disconnect() -> None:
            self._hung_up = True
            self.on_hang_up()
            self._end_input(message)

        self.post(disconnect)

    def cancel(self) -> None:
        def cancel() -> None:
            self._cancel_scope.cancel()  # ``begin`` makes it in the loop's thread, perhaps after ``post``

        self.post(cancel)

    @abstractmethod
    def disconnect_message(self) -> Message:
        """Return the message that tells the application that the client has left."""

    @abstractmethod
    def accept(self, message: Message) -> E:
        """Turn a message of the application into an event. Errors are raised at the application's own line."""

    def on_starved(self) -> None:
        """Run when the application waits for a message and the inbox is empty."""

    def on_hang_up(self) -> None:
        """Run when the client has left."""

    def _accept_message(self, message: Message) -> None:
        self._inbox.append(message)
        self._pulse()

    def _end_input(self, message: Message) -> None:
        self._last_message = self._last_message or message
        self._pulse()

    def _pulse(self) -> None:
        """Wake everything that waits, to check again."""
        self._changed.set()
        self._changed = anyio.Event()

    async def _run(self) -> None:
        try:
            with self._cancel_scope:
                await self._app(self._scope, self._receive, self._send)
        except anyio.get_cancelled_exc_class() as error:
            # ``_cancel_scope`` catches its own cancellation, so the application cancelled itself, or the loop ends.
            self.error = ProtocolViolation(f"{self.label}: the application was cancelled, but not by the client")
            self.error.__cause__ = error
            raise
        except BaseException as error:
            self.error = error
        finally:
            self.events.put(Signal.ENDED)

    async def _receive(self) -> Message:
        while not self._inbox:
            if self._last_message is not None:
                return dict(self._last_message)
            self.on_starved()
            await self._wait("receive()")
        self.received += 1
        return self._inbox.popleft()

    async def _send(self, message: Message) -> None:
        event = self.accept(message)
        if not self._hung_up:
            self.events.put(event)
            self._sent += 1
            needed = self._sent - self._ahead
            while self._taken < needed and not self._hung_up:
                await self._wait("send()")
            if self._taken >= needed:
                return
        raise ClientDisconnected(f"{self.label}: the client has disconnected")

    async def _wait(self, where: str) -> None:
        self.waits_in = where
        try:
            await self._changed.wait()
        finally:
            self.waits_in = ""
