"""Waiting in a thread or in a task, whichever it is, for what happens in any other: with ``hub.py``'s mailboxes and
``subscription.py`` all of channels that has to do with event loops.
"""

from __future__ import annotations

import logging
import threading
from abc import abstractmethod
from collections.abc import Callable, Generator
from functools import partial
from threading import Lock
from typing import Any

from anyio import Event

from micropie.execution.loop import is_on_loop
from micropie.execution.wake import WAKERS


class Waitable:
    """Functions that are called once it has happened. What decides that is changed under ``_lock`` alone."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: list[Callable[[], object]] = []

    @abstractmethod
    def _has_happened(self) -> bool:
        """Whether there is nothing to wait for."""

    def call(self, function: Callable[[], object]) -> None:
        """Call ``function`` once when it happens, now if it has."""
        with self._lock:
            if not self._has_happened():
                self._waiting.append(function)
                return
        function()

    def forget(self, function: Callable[[], object]) -> None:
        """Don't call it any more."""
        with self._lock:
            if function in self._waiting:
                self._waiting.remove(function)

    def _call_waiting(self) -> None:
        if self._waiting:
            with self._lock:
                waiting, self._waiting = self._waiting, []
            for function in waiting:
                function()


logger = logging.getLogger("micropie")


def block_until(happening: Waitable, seconds: float | None = None) -> bool:
    """Block this thread; False if it has not happened within ``seconds``. Raises ``RuntimeError`` on an event loop."""
    if is_on_loop():
        raise RuntimeError("this would block the event loop: write async with and async for")
    event = threading.Event()
    happening.call(event.set)
    try:
        return event.wait(seconds)
    finally:
        happening.forget(event.set)


async def wait_until(happening: Waitable) -> None:
    """Have this task wait."""
    event = Event()
    wake = partial(WAKERS.get().wake, event)
    happening.call(wake)
    try:
        await event.wait()
    finally:
        happening.forget(wake)


class Future(Waitable):
    """What will be done, or fail, in another thread: to be waited for by ``await``, or by ``block``.

    A failure that nobody has asked for is logged when this is let go of.
    """

    def __init__(self, what: str) -> None:
        super().__init__()
        self._what = what
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
        self._call_waiting()

    def _has_happened(self) -> bool:
        return self._is_done

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
