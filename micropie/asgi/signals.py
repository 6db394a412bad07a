"""Hearing that a server is told to end, at the moment when it is told.

``lifespan.shutdown`` comes when every answer is complete, so an answer that goes on for ever would keep the server for
ever: uvicorn has no limit unless it is given one, gunicorn waits for 30 seconds. No message says that it has begun to
wait. So the signal itself is heard, and then handled by the server as ever.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import current_thread, main_thread
from types import FrameType
from typing import Any

from micropie.execution.wake import threadsafe_scheduler

TOLD_BY = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def hearing_signals(tell: Callable[[], object]) -> Iterator[None]:
    """Within, have this event loop call ``tell`` when the process gets a signal that its server handles.

    Nothing is done where that can't be: the main thread alone may set handlers, and without a handler in Python the
    signal ends the process, or is ignored, as it would have.
    """
    call_soon = threadsafe_scheduler()
    told_by = TOLD_BY if current_thread() is main_thread() else ()
    hearings = [_Hearing(number, tell, call_soon) for number in told_by if callable(signal.getsignal(number))]
    try:
        yield
    finally:
        for hearing in hearings:
            hearing.end()


class _Hearing:
    """A signal's handler in front of the one that was there."""

    def __init__(self, number: signal.Signals, tell: Callable[[], object], call_soon: Callable[..., object]) -> None:
        self._tell = tell
        self._call_soon = call_soon
        self._number = number
        self._handler = self._handle  # one object: each access to a method makes another
        self._server_handler: Any = signal.getsignal(number)  # before: it may come at once
        signal.signal(number, self._handler)
        _keep_system_calls(number)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # It may come between any two lines of the main thread, which may hold any lock: the loop does the rest.
        with suppress(RuntimeError):
            self._call_soon(self._tell)
        self._server_handler(number, frame)

    def end(self) -> None:
        """Put back what was there, unless somebody has set another one."""
        if signal.getsignal(self._number) is self._handler:
            signal.signal(self._number, self._server_handler)
            _keep_system_calls(self._number)


def _keep_system_calls(number: signal.Signals) -> None:
    """Let system calls go on when the signal comes, as asyncio's handlers do: ``signal()`` has them interrupted."""
    if hasattr(signal, "siginterrupt"):  # Windows interrupts none
        signal.siginterrupt(number, False)
