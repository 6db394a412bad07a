"""Messages that are read ahead of the handler, so that a disconnect is seen while it waits for something else.

Reading ahead begins with the first such wait: a handler that waits for messages alone needs none. It ends when the
handler has taken some messages in a row without another wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from anyio import CancelScope

from micropie.execution.wake import SingleWaiterEvent
from micropie.http.types import Message

# Messages that may wait for the handler. With this many, reading pauses and the client has to wait.
MAX_MESSAGES = 32

# Messages that the handler takes in a row, without another wait, until reading ahead ends. To begin again costs 35 µs,
# as much as reading a dozen messages ahead, so it must not end too early.
RELEASE_AFTER = 16


@dataclass(slots=True, eq=False)
class ReadAhead:
    """A queue of messages, filled by a task that runs ``run``.

    ``receive`` returns None after the last message. Above ``max_bytes`` of messages reading pauses.
    """

    _receive: Callable[[], Awaitable[Message | None]]
    _max_bytes: int
    _messages: deque[tuple[Message, int]] = field(default_factory=deque)  # with their sizes
    _size: int = 0
    _ended: bool = False
    _released: bool = False
    _is_receiving: bool = False
    _in_a_row: int = 0
    # With anyio's Event a message that is waited for takes 12.6 µs instead of 10.2.
    _arrived: SingleWaiterEvent = field(default_factory=SingleWaiterEvent)
    _taken: SingleWaiterEvent = field(default_factory=SingleWaiterEvent)
    _scope: CancelScope = field(default_factory=CancelScope)

    @property
    def has_messages(self) -> bool:
        """Whether messages are queued. They came before whatever ended the WebSocket."""
        return bool(self._messages)

    async def run(self) -> None:
        """Read until the end, or until ``release``. Runs in a separate task."""
        try:
            with self._scope:
                while not self._released:
                    self._is_receiving = True
                    message = await self._receive()
                    self._is_receiving = False
                    if message is None:
                        break
                    size = len(message.get("text") or message.get("bytes") or "")
                    self._messages.append((message, size))
                    self._size += size
                    self._arrived.ring()
                    while self._must_wait():
                        await self._taken.wait()
        finally:
            self.end()

    def _must_wait(self) -> bool:
        """Return whether to read no further until the handler has taken a message."""
        if self._in_a_row >= RELEASE_AFTER:  # it may call ``release`` when it has the last one
            return self.has_messages
        return len(self._messages) >= MAX_MESSAGES or self._size > self._max_bytes

    async def next(self) -> Message | None:
        """Return the next message; None after the last one."""
        while not self._messages:
            if self._ended:
                return None
            await self._arrived.wait()
        message, size = self._messages.popleft()
        self._size -= size
        self._in_a_row += 1
        self._taken.ring()
        return message

    def go_on(self) -> None:
        """Go on reading ahead: the handler waits for something else, or another task receives."""
        if self._in_a_row >= RELEASE_AFTER:
            self._taken.ring()
        self._in_a_row = 0

    def release(self) -> bool:
        """Stop reading and leave ``receive`` to the handler, if it has waited for messages alone. Return whether so.

        To be called when ``next`` has returned a message: ``run`` waits for that if it does not receive.
        """
        self._released = self._in_a_row >= RELEASE_AFTER and not self._messages and not self._is_receiving
        return self._released

    def end(self) -> None:
        """Wake ``next``: no further message comes."""
        self._ended = True
        self._arrived.ring()

    def stop(self) -> None:
        """Cancel ``run``."""
        self._scope.cancel()
