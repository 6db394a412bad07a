"""Handle granian's signals in a thread.

granian's handlers set a ``threading.Event``, and run in the thread that waits for this event. If a
signal arrives between taking the event's lock and starting to wait, the handler waits for ever for
a lock that its own thread holds (granian 2.8.9). Another thread may set the event at any time.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Thread
from types import FrameType
from typing import Any


@contextmanager
def handled_in_a_thread(server: Any) -> Iterator[None]:
    """Have another thread call the signal handlers of a ``granian.Granian`` while it serves.

    The thread exists beforehand, because a handler that interrupts ``Thread.start`` can't start
    one.
    """
    calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
    process = os.getpid()
    stop, reload = server.signal_handler_interrupt, server.signal_handler_reload

    def on_stop(number: int, _: FrameType | None) -> None:
        if os.getpid() == process:
            calls.put(stop)
        else:
            # A forked worker has this handler until it has imported the application. granian's own
            # would ignore the signal here, and the worker would never end.
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def on_reload(number: int, _: FrameType | None) -> None:
        calls.put(reload)

    def handle() -> None:
        for call in iter(calls.get, None):
            call()

    server.signal_handler_interrupt, server.signal_handler_reload = on_stop, on_reload
    Thread(target=handle, daemon=True).start()
    try:
        yield
    finally:
        calls.put(None)
