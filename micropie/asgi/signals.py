"""Learn that the server is about to shut down at the moment when it is told so.

``lifespan.shutdown`` comes after the last answer is complete, so an endless answer would keep the server running:
uvicorn has no time limit unless it is given one, gunicorn waits for 30 seconds. No ASGI message says that a server has
begun to wait. So the signal itself is handled here first, and then by the server as usual.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from threading import current_thread, main_thread
from types import FrameType

from micropie.execution.wake import threadsafe_scheduler

SHUTDOWN_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def hearing_signals(notify: Callable[[], object]) -> Iterator[None]:
    """Within the block, have this event loop call ``notify`` when a signal comes that the server handles.

    Only the main thread can set signal handlers; elsewhere this does nothing. Nor does it for a signal without a
    handler in Python, which ends the process or is ignored, as before.
    """
    call_soon = threadsafe_scheduler()
    with ExitStack() as handlers:
        if current_thread() is main_thread():
            for number in SHUTDOWN_SIGNALS:
                handlers.enter_context(_handling_first(number, lambda: call_soon(notify)))
        yield


@contextmanager
def _handling_first(number: signal.Signals, call_notify: Callable[[], object]) -> Iterator[None]:
    server_handler = signal.getsignal(number)  # before ours is set: the signal may come at once
    if not callable(server_handler):
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        # It may interrupt the main thread between any two lines, with any lock held; so only the loop is told.
        with suppress(RuntimeError):  # the loop has ended
            call_notify()
        server_handler(number, frame)

    signal.signal(number, handle)
    _keep_system_calls(number)
    try:
        yield
    finally:
        if signal.getsignal(number) is handle:  # else other code has set one since, which stays
            signal.signal(number, server_handler)
            _keep_system_calls(number)


def _keep_system_calls(number: signal.Signals) -> None:
    """Let system calls go on when the signal comes, as asyncio's handlers do: ``signal()`` has them interrupted."""
    if hasattr(signal, "siginterrupt"):  # Windows interrupts none
        signal.siginterrupt(number, False)
