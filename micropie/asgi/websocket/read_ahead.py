"""A WebSocket's messages read ahead of its handler, so that a client's leaving is seen while the handler does
something else. It comes into being with the first such wait: a handler that waits for its messages alone has none,
and one that has waited for nothing else for some messages is left alone again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

from anyio import CancelScope

from micropie.execution.wake import SingleWaiterEvent
from micropie.http.types import Message

# Messages that may wait for the handler. With this many, nothing is read on: the client has to wait in turn.
MOST_KEPT = 32

# Messages in a row that the handler takes without a wait for something else, until it is trusted to take all of them.
# To begin anew costs 35 µs, which reading ahead costs for a dozen messages: who looks elsewhere more often keeps it.
IN_A_ROW = 16


class ReadAhead:
    """Takes over ``receive``, which gives None at the end. ``most_bytes``: with so many kept, nothing is read on."""

    __slots__ = (
        "_arrived",
        "_ended",
        "_in_a_row",
        "_kept",
        "_let_go",
        "_most_bytes",
        "_reads",
        "_receive",
        "_scope",
        "_size",
        "_taken",
    )

    def __init__(self, receive: Callable[[], Awaitable[Message | None]], most_bytes: int) -> None:
        self._receive = receive
        self._most_bytes = most_bytes
        self._kept: deque[tuple[Message, int]] = deque()  # and their sizes
        self._size = 0
        self._ended = False
        self._let_go = False
        self._reads = False  # whether a call of ``receive`` is under way
        self._in_a_row = 0
        self._arrived = SingleWaiterEvent()
        self._taken = SingleWaiterEvent()
        self._scope = CancelScope()

    @property
    def has_some(self) -> bool:
        """Whether messages are kept; they came before whatever ended it."""
        return bool(self._kept)

    async def run(self) -> None:
        """Read until the end, or until it is let go, in a task of its own."""
        try:
            with self._scope:
                while not self._let_go:
                    self._reads = True
                    message = await self._receive()
                    self._reads = False
                    if message is None:
                        break
                    self._keep(message)
                    while self._is_far_enough:
                        await self._taken.wait()
        finally:
            self.end()

    @property
    def _is_far_enough(self) -> bool:
        if self._in_a_row >= IN_A_ROW:
            return self.has_some  # until the handler has taken it, and may then go on alone
        return len(self._kept) >= MOST_KEPT or self._size > self._most_bytes

    async def next(self) -> Message | None:
        """The next message; None after the last one."""
        while not self._kept:
            if self._ended:
                return None
            await self._arrived.wait()
        message, size = self._kept.popleft()
        self._size -= size
        self._in_a_row += 1
        self._taken.ring()
        return message

    def look_out(self) -> None:
        """The handler waits for something else, or another task receives: somebody has to read ahead."""
        if self._in_a_row >= IN_A_ROW:
            self._taken.ring()
        self._in_a_row = 0

    def let_go(self) -> bool:
        """End, and leave ``receive`` to the handler, if it has waited for its messages alone; whether that is so.

        To be asked when ``next`` has given a message, which is what ``run`` waits for if it does not receive.
        """
        if self._in_a_row < IN_A_ROW or self._kept or self._reads:
            return False
        self._let_go = True
        return True

    def end(self) -> None:
        """Nothing comes any more: whoever waits is told so."""
        self._ended = True
        self._arrived.ring()

    def stop(self) -> None:
        """Have the task end."""
        self._scope.cancel()

    def _keep(self, message: Message) -> None:
        size = len(message.get("text") or message.get("bytes") or "")
        self._kept.append((message, size))
        self._size += size
        self._arrived.ring()
