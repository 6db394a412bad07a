"""Subscriptions: the messages of channels one after the other, for ``async def`` and for ``def``."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from anyio.lowlevel import checkpoint

from micropie.channels.mailbox import EMPTY, END, Mailbox, Message, NoMessage, WhenFull
from micropie.channels.waiting import Future, block_until, wait_until
from micropie.execution.context import current_shutdown
from micropie.execution.steps import no_function
from micropie.http.json import loads

# Messages that a task takes between two checkpoints. Without these, no other task runs while messages keep coming.
BETWEEN_CHECKPOINTS = 16


class Hub(Protocol):
    """The part of ``Channels`` that subscriptions use."""

    def join(self, mailbox: Mailbox, names: Sequence[str], /) -> Future | None:
        """See ``Channels``."""

    def leave(self, mailbox: Mailbox, names: Sequence[str], /) -> None:
        """See ``Channels``."""


class Subscription:
    """``async with channels.subscribe("room") as messages: async for message in messages: ...``

    In a ``def``, the same without ``async``. A subscription begins and ends with the ``with`` block. Its messages also
    end when the server is told to end, and when the client of the ``EventStream`` that uses it has left. ``channel`` is
    the channel of the last message, or None; ``dropped`` counts messages that were dropped because too many waited;
    ``gaps`` counts lost connections to Redis, each of which may have lost messages.
    """

    def __init__(self, hub: Hub, names: Sequence[str], size: int, when_full: WhenFull) -> None:
        self.channel: str | None = None
        self._hub = hub
        self._names = names
        self._mailbox = Mailbox(size, when_full)
        self._is_open = False
        self._taken = 0
        self._forget: Callable[[], object] = no_function

    @property
    def dropped(self) -> int:
        """The number of dropped messages."""
        return self._mailbox.dropped

    @property
    def gaps(self) -> int:
        """The number of times that messages may have been lost."""
        return self._mailbox.gaps

    # -- beginning and end -------------------------------------------------------------------------------------------

    def __enter__(self) -> Subscription:
        joining = self._begin()
        try:
            if joining is not None:
                joining.block()
        except BaseException:
            self._end()
            raise
        return self

    async def __aenter__(self) -> Subscription:
        joining = self._begin()
        try:
            if joining is not None:
                await joining
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    async def __aexit__(self, *_: object) -> None:
        self._end()

    def _begin(self) -> Future | None:
        if self._is_open:
            raise RuntimeError("a subscription is used once; subscribe again")
        self._is_open = True
        joining = self._hub.join(self._mailbox, self._names)
        shutdown = current_shutdown()
        if shutdown is not None:
            self._forget = shutdown.add(self._mailbox.end)
        return joining

    def _end(self) -> None:
        self._forget()
        self._hub.leave(self._mailbox, self._names)
        self._mailbox.end()

    # -- messages ------------------------------------------------------------------------------------------------------

    def __iter__(self) -> Subscription:
        return self

    def __next__(self) -> Any:
        while (message := self._take()) is EMPTY:
            block_until(self._mailbox)
        if message is END:
            raise StopIteration
        return self._decode(message)

    def get(self, timeout: float | None = None, default: Any = None) -> Any:
        """Return the next message, or ``default`` at the end or after ``timeout`` seconds. For ``def`` only."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (message := self._take()) is EMPTY:
            left = None if deadline is None else deadline - time.monotonic()
            if not block_until(self._mailbox, left):
                return default
        return default if message is END else self._decode(message)

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Any:
        self._taken += 1
        if self._taken % BETWEEN_CHECKPOINTS == 0:
            # Before a message is taken: a cancellation would lose it.
            await checkpoint()
        while (message := self._take()) is EMPTY:
            await wait_until(self._mailbox)
        if message is END:
            raise StopAsyncIteration
        return self._decode(message)

    def _take(self) -> Message | NoMessage:
        if not self._is_open:
            raise RuntimeError('a subscription begins with "with": write with (or async with) channels.subscribe(...)')
        return self._mailbox.take()

    def _decode(self, message: Message) -> Any:
        self.channel, document = message
        return loads(document)
