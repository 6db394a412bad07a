"""Waiting, in a thread or in a task, until another thread or task does something."""

from __future__ import annotations

import logging
import threading
from abc import abstractmethod
from collections.abc import Callable, Generator
from functools import partial
from threading import Lock

from micropie.errors import HTTPError
from micropie.execution import WAKERS, SingleWaiterEvent, is_on_loop

logger = logging.getLogger("micropie")

RETRY_AFTER = [("Retry-After", "5")]  # seconds: the longest pause between two attempts to connect


class ChannelsUnreachable(ConnectionError, HTTPError):
    """Redis can't be reached. A request that does not catch it is answered by 503, and is not logged once more."""

    def __init__(self, reason: str) -> None:
        HTTPError.__init__(self, 503, "Messages are out of reach at the moment. Please try again.", RETRY_AFTER)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason

    __reduce__ = HTTPError.__reduce__


class Waitable:
    """A condition to wait for, and the functions to call when it is met. It changes only under ``_lock``."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: list[Callable[[], object]] = []

    @abstractmethod
    def _is_ready(self) -> bool:
        """Return whether the condition is met."""

    def call(self, function: Callable[[], object]) -> None:
        """Call ``function`` once, when the condition is met, or now if it is."""
        with self._lock:
            if not self._is_ready():
                self._waiting.append(function)
                return
        function()

    def forget(self, function: Callable[[], object]) -> None:
        """Undo ``call``, unless ``function`` has been called."""
        with self._lock:
            if function in self._waiting:
                self._waiting.remove(function)

    def _call_waiting(self) -> None:
        if self._waiting:
            with self._lock:
                waiting, self._waiting = self._waiting, []
            for function in waiting:
                function()


def block_until(waitable: Waitable, seconds: float | None = None) -> bool:
    """Block this thread. Return False if ``seconds`` pass before that. Raises ``RuntimeError`` on an event loop."""
    if is_on_loop():
        raise RuntimeError("this would block the event loop: write async with and async for")
    event = threading.Event()
    waitable.call(event.set)
    try:
        return event.wait(seconds)
    finally:
        waitable.forget(event.set)


class TaskWaiter:
    """Waits in tasks of this event loop, one at a time. Used again it takes a third of a new one's time."""

    def __init__(self) -> None:
        self._event = SingleWaiterEvent()
        self._wake = partial(WAKERS.get().call, self._event.ring)

    async def wait(self, waitable: Waitable) -> None:
        """Wait. The condition may not be met yet if an earlier wait was cancelled."""
        waitable.call(self._wake)
        try:
            await self._event.wait()
        except BaseException:
            waitable.forget(self._wake)
            raise


class Future(Waitable):
    """Work that another thread does, or fails to do. Wait for it with ``await`` or ``block``.

    ``failure_label`` begins the error's text. A failure that was not waited for is logged when the object is freed.
    """

    def __init__(self, failure_label: str) -> None:
        super().__init__()
        self._failure_label = failure_label
        self._is_done = False
        self._failure = ""
        self._is_retrieved = False

    def settle(self, failure: str = "") -> None:
        """Mark the work as done, or as failed with a reason. Only the first call counts."""
        with self._lock:
            if self._is_done:
                return
            self._is_done, self._failure = True, failure
        self._call_waiting()

    def _is_ready(self) -> bool:
        return self._is_done

    def block(self) -> None:
        """Wait in this thread. Raises ``ChannelsUnreachable`` if the work failed."""
        self._is_retrieved = True
        block_until(self)
        self._raise()

    def __await__(self) -> Generator[object, object, None]:
        self._is_retrieved = True
        yield from TaskWaiter().wait(self).__await__()
        self._raise()

    def failure(self) -> str:
        """Return the reason of a failure, or ""."""
        self._is_retrieved = True
        return self._failure

    def __del__(self) -> None:
        if self._failure and not self._is_retrieved:
            logger.error("%s: %s", self._failure_label, self._failure)

    def _raise(self) -> None:
        if self._failure:
            raise ChannelsUnreachable(f"{self._failure_label}: {self._failure}")
