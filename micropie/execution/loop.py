"""Event loops: values that each loop has one of, whether code runs on a loop, and limits for clean-up and buffers.

Like the drivers, this knows anyio only. ``asgi`` runs on the loop; ``wsgi`` sends async code to one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

from anyio.lowlevel import RunVar, current_token

from micropie.execution.context import current
from micropie.execution.placement import LOOP, PROCESS, THREAD

# Seconds that a stream may take to clean up after its client has gone.
CLEAN_UP_WITHIN = 10.0

# Seconds that a mounted application may take to end by itself after it was told that its client has gone.
LEAVE_WITHIN = 2.0

# Chunks that may have been made in another thread or task when one is asked for: that one, and two more.
AHEAD = 3

T = TypeVar("T")


class LoopLocal(Generic[T]):
    """A value that each event loop has one of, made by ``make()`` when it is first asked for there."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._variable: RunVar[T] = RunVar("micropie")
        self._make = make

    def get(self) -> T:
        """Return the value of the loop that this runs on."""
        try:
            return self._variable.get()
        except LookupError:
            value = self._make()
            self._variable.set(value)
            return value


def where() -> str:
    """Return where this code runs: ``"loop"``, ``"thread"``, where it may block, or ``"process"``, one of the pool.

    Under WSGI a ``def`` handler runs in the server's thread, which is ``"thread"``, also one with ``run_in("loop")``.
    """
    request = current.get(None)
    if request is not None and request._exchange.is_pooled:
        return PROCESS
    return LOOP if is_on_loop() else THREAD


def is_on_loop() -> bool:
    """Return whether this code runs on an event loop, where nothing may block."""
    try:
        current_token()
    except RuntimeError:  # anyio's NoEventLoopError, which it calls AsyncLibraryNotFoundError before 4.12
        return False
    return True


async def entered_on_loop(make: Callable[[], AbstractAsyncContextManager[T]]) -> AsyncIterator[T]:
    """Yield what an async context manager gives, and leave it after that.

    The manager is made on the event loop, because many managers ask for the running loop then.
    """
    async with make() as value:
        yield value
