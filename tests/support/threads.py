"""Which threads a test starts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def started_threads() -> Iterator[list[str]]:
    """Yield the names of the threads that this thread starts meanwhile.

    The number of all threads says less: those that other tests have left end, and may start some,
    at any time.
    """
    started: list[str] = []
    start, here = threading.Thread.start, threading.current_thread()

    def noted(thread: threading.Thread) -> None:
        if threading.current_thread() is here:
            started.append(thread.name)
        start(thread)

    threading.Thread.start = noted  # type: ignore[method-assign, assignment]
    try:
        yield started
    finally:
        threading.Thread.start = start  # type: ignore[method-assign]
