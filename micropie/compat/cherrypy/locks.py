"""Locks of sessions: one request holds a session, and others with the same session wait for it in
threads.

A page sends many requests at once: a browser over six connections with HTTP/1.1, a hundred over one
with HTTP/2. All have the same session, and so wait for the slowest. Under ASGI a waiting request
lends its place among the application's threads to requests of other visitors. A WSGI server's
threads can't be lent, so there the waiting time is limited.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from math import inf
from threading import Lock

from micropie.compat.core import current, slots_of

# How many requests of one session may wait without a time limit: with the one that holds it, they
# make up a browser's six connections.
MOST_WAITING = 5


class _SessionLock:
    """The lock of one session. ``users``: how many requests hold it or wait for it; ``since``: when
    it was taken.
    """

    def __init__(self) -> None:
        self.lock = Lock()
        self.users = 0
        self.since = time.monotonic()


class LockTable:
    """A lock for each session that a request of this process holds or waits for."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._locks: dict[str, _SessionLock] = {}

    def acquire(self, session_id: str, seconds: float, queue_seconds: float | None = None) -> bool:
        """Lock a session, waiting for at most ``seconds``, or for ever if that is -1. Return
        whether it is locked.

        If ``MOST_WAITING`` requests are waiting already, give up as soon as one request has held
        the session for more than ``queue_seconds``.
        """
        with self._lock:
            one = self._locks.setdefault(session_id, _SessionLock())
            one.users += 1
            is_one_too_many = one.users > MOST_WAITING + 1
        end = inf if seconds < 0 else time.monotonic() + seconds
        most = queue_seconds if is_one_too_many and queue_seconds is not None else inf
        is_locked = one.lock.acquire(blocking=False)
        if not is_locked:
            with _slot_lent() as may_wait:
                while not is_locked and may_wait:
                    left = min(end, one.since + most) - time.monotonic()
                    if left <= 0:
                        break
                    is_locked = one.lock.acquire(timeout=-1 if left == inf else left)
        if is_locked:
            one.since = time.monotonic()
        else:
            self._leave(session_id)
        return is_locked

    def release(self, session_id: str) -> None:
        """Release a session's lock; any thread may do it."""
        self._locks[session_id].lock.release()
        self._leave(session_id)

    def _leave(self, session_id: str) -> None:
        with self._lock:
            one = self._locks[session_id]
            one.users -= 1
            if not one.users:
                del self._locks[session_id]

    def __len__(self) -> int:
        return len(self._locks)


@contextmanager
def _slot_lent() -> Iterator[bool]:
    """A context manager that lends this thread's slot to another request. Its value is False if too
    many requests are waiting already.
    """
    lending = _lending()
    if lending is None:
        yield True
        return
    from anyio import from_thread

    may_wait = from_thread.run_sync(lending.__enter__)
    try:
        yield may_wait
    finally:
        from_thread.run_sync(lending.__exit__, None, None, None)


def _lending() -> AbstractContextManager[bool] | None:
    """Return a context manager that lends this thread's slot, None if the thread has none from an
    event loop.
    """
    native = current.get(None)
    if native is None or native.environ is not None:
        return None
    from anyio import from_thread  # not needed under WSGI

    threads = native._exchange.config.threads
    with suppress(RuntimeError):  # a thread that the program itself has started
        return from_thread.run_sync(lambda: slots_of(threads).lend())
    return None
