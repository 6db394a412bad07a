"""Event loops: values that each loop has one of, whether code runs on a loop, and limits for clean-up and buffers.

Like the drivers, this knows anyio only. ``asgi`` runs on the loop; ``wsgi`` sends async code to one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from anyio.lowlevel import current_token

from micropie.execution.context import current
from micropie.execution.placement import LOOP, PROCESS, THREAD

# Seconds that a stream may take to clean up after its client has gone.
CLEAN_UP_WITHIN = 10.0

# Seconds that a mounted application may take to end by itself after it was told that its client has gone.
LEAVE_WITHIN = 2.0

# Chunks that may have been made in another thread or task when one is asked for: that one, and two more.
AHEAD = 3

T = TypeVar("T")


def native_loop() -> Any:
    """Return what stands for the event loop that this runs on: asyncio's loop itself, or trio's token.

    Raises ``RuntimeError`` where no event loop runs.
    """
    if "trio" not in sys.modules:  # so it can only be asyncio's; anyio takes 1 µs or more to find that out
        asyncio = sys.modules.get("asyncio")
        if asyncio is not None:
            return asyncio.get_running_loop()
    token = current_token()
    return getattr(token, "native_token", token)  # anyio 4.11 and later wrap it


class LoopLocal(Generic[T]):
    """A value that each event loop has one of, made by ``make()`` when it is first asked for there."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._values: WeakKeyDictionary[Any, T] = WeakKeyDictionary()
        self._make = make

    def get(self) -> T:
        """Return the value of the loop that this runs on."""
        loop = native_loop()
        try:
            return self._values[loop]
        except KeyError:
            self._values[loop] = value = self._make()
            return value


def where() -> str:
    """Return where this code runs: ``"loop"``, ``"thread"``, where it may block, or ``"process"``, one of the pool.

    Under WSGI a ``def`` handler runs in the server's thread, which is ``"thread"``, an ``@inline`` one as well.
    """
    request = current.get(None)
    if request is not None and request._is_pooled:
        return PROCESS
    return LOOP if is_on_loop() else THREAD


def is_on_loop() -> bool:
    """Return whether this code runs on an event loop, where nothing may block."""
    try:
        current_token()
    except RuntimeError:  # anyio's NoEventLoopError, which it calls AsyncLibraryNotFoundError before 4.12
        return False
    return True
