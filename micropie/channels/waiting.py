"""Waiting in a thread or in a task, whichever it is, for what happens in any other: with ``hub.py``'s mailboxes and
``subscription.py`` all of channels that has to do with event loops.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator
from functools import partial
from threading import Lock
from typing import Any, Protocol

from anyio import Event

from micropie.loops import WAKERS, is_on_loop

logger = logging.getLogger("micropie")


class Happening(Protocol):
    """Something to wait for."""

    def call(self, function: Callable[[], object], /) -> None:
        """Call ``function`` once when it happens, now if it has."""

    def forget(self, function: Callable[[], object], /) -> None:
        """Don't call it any more."""


def block_until(happening: Happening, seconds: float | None = None) -> bool:
    """Block this thread; False if it has not happened within ``seconds``. Raises ``RuntimeError`` on an event loop."""
    if is_on_loop():
        raise RuntimeError("this would block the event loop: write async with and async for")
    event = threading.Event()
    happening.call(event.set)
    try:
        return event.wait(seconds)
    finally:
        happening.forget(event.set)


async def wait_until(happening: Happening) -> None:
    """Have this task wait."""
    event = Event()
    wake = partial(WAKERS.get().wake, event)
    happening.call(wake)
    try:
        await event.wait()
    finally:
        happening.forget(wake)


class Outcome:
    """What will be done, or fail, in another thread: to be waited for by ``await``, or by ``block``.

    A failure that nobody has asked for is logged when this is let go of.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._lock = Lock()
        self._waiting: list[Callable[[], object]] = []
        self._is_done = False
        self._failure = ""
        self._is_asked = False

    def done(self) -> None:
        """It is done."""
        self._settle("")

    def fail(self, reason: str) -> None:
        """It can't be done. Only the first word counts."""
        self._settle(reason)

    def _settle(self, failure: str) -> None:
        with self._lock:
            if self._is_done:
                return
            self._is_done, self._failure = True, failure
            waiting, self._waiting = self._waiting, []
        for function in waiting:
            function()

    def call(self, function: Callable[[], object]) -> None:
        """See ``Happening``."""
        with self._lock:
            if not self._is_done:
                self._waiting.append(function)
                return
        function()

    def forget(self, function: Callable[[], object]) -> None:
        """See ``Happening``."""
        with self._lock:
            if function in self._waiting:
                self._waiting.remove(function)

    def block(self) -> None:
        """Wait in this thread. Raises ``ConnectionError`` if it failed."""
        self._is_asked = True
        block_until(self)
        self._raise()

    def __await__(self) -> Generator[Any, Any, None]:
        self._is_asked = True
        yield from wait_until(self).__await__()
        self._raise()

    def failure(self) -> str:
        """Why it failed; "" if it did not."""
        self._is_asked = True
        return self._failure

    def __del__(self) -> None:
        if self._failure and not self._is_asked:
            logger.error("%s: %s", self._what, self._failure)

    def _raise(self) -> None:
        if self._failure:
            raise ConnectionError(f"{self._what}: {self._failure}")
