"""A WebSocket's messages read ahead of its handler, so that a client's leaving is seen while the handler does
something else. It comes into being with the first such wait: a handler that waits for its messages alone has none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

from anyio import CancelScope, Event

from micropie.types import Message

# Messages that may wait for the handler. With this many, nothing is read on: the client has to wait in turn.
MOST_KEPT = 32


class ReadAhead:
    """Takes over ``receive``, which gives None at the end. ``most_bytes``: with so many kept, nothing is read on."""

    __slots__ = ("_arrived", "_ended", "_kept", "_most_bytes", "_receive", "_scope", "_size", "_taken")

    def __init__(self, receive: Callable[[], Awaitable[Message | None]], most_bytes: int) -> None:
        self._receive = receive
        self._most_bytes = most_bytes
        self._kept: deque[Message] = deque()
        self._size = 0
        self._ended = False
        self._arrived: Event | None = None  # there is one while somebody waits
        self._taken: Event | None = None
        self._scope = CancelScope()

    @property
    def has_some(self) -> bool:
        """Whether messages are kept; they came before whatever ended it."""
        return bool(self._kept)

    async def run(self) -> None:
        """Read until the end, in a task of its own."""
        try:
            with self._scope:
                while (message := await self._receive()) is not None:
                    self._keep(message)
                    while len(self._kept) >= MOST_KEPT or self._size > self._most_bytes:
                        self._taken = Event()
                        await self._taken.wait()
        finally:
            self.end()

    async def next(self) -> Message | None:
        """The next message; None after the last one."""
        while not self._kept:
            if self._ended:
                return None
            self._arrived = Event()
            await self._arrived.wait()
        message = self._kept.popleft()
        self._size -= _size_of(message)
        if self._taken is not None:
            self._taken.set()
        return message

    def end(self) -> None:
        """Nothing comes any more: whoever waits is told so."""
        self._ended = True
        self._wake()

    def stop(self) -> None:
        """Have the task end."""
        self._scope.cancel()

    def _keep(self, message: Message) -> None:
        self._kept.append(message)
        self._size += _size_of(message)
        self._wake()

    def _wake(self) -> None:
        if self._arrived is not None:
            self._arrived.set()


def _size_of(message: Message) -> int:
    return len(message.get("text") or message.get("bytes") or "")
