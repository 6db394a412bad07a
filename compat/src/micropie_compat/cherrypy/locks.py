"""Session locks: while one request holds a session, other requests with the same session wait for
it, each in its own thread.

A browser may send many requests for a page at once: six with HTTP/1.1, a hundred with HTTP/2. All
these requests have the same session, so they wait for each other. Under ASGI the application limits
its number of threads. A waiting request doesn't count towards this limit: it lends its slot to
requests of other visitors. The threads of a WSGI server can't be lent, so under WSGI the waiting
time is limited.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf
from threading import Lock

from micropie_compat.core import current, slots_of

# If at most this many requests wait for a session, ``queue_seconds`` doesn't apply. Together with
# the request that holds the session, these are six requests, as many as a browser sends at once
# over HTTP/1.1.
MOST_WAITING = 5


class _SessionLock:
    """The lock of one session.

    ``users``: the number of requests that hold it or wait for it.
    ``since``: when it was acquired.
    """

    def __init__(self) -> None:
        self.lock = Lock()
        self.users = 0
        self.since = time.monotonic()


class LockTable:
    """The locks of all sessions that requests of this process hold or wait for."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._locks: dict[str, _SessionLock] = {}

    def acquire(self, session_id: str, seconds: float, queue_seconds: float | None = None) -> bool:
        """Lock a session. Wait for at most ``seconds``; infinity or -1 means no limit. Return
        whether the session was locked.

        If ``MOST_WAITING`` requests are waiting already, give up once a single request has held the
        session for more than ``queue_seconds``.
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
        """Release a session's lock. Any thread may call this."""
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
    """Lend this thread's slot to another request during the block. Yields False if too many
    requests are waiting already.
    """
    native, lending = current.get(None), None
    if native is not None and native.environ is None:
        from anyio import from_thread  # not needed under WSGI, so imported here

        threads = native._exchange.config.threads
        with suppress(RuntimeError):  # raised if the program has started this thread itself
            lending = from_thread.run_sync(lambda: slots_of(threads).lend())
    if lending is None:  # no event loop has started this thread, so it has no slot
        yield True
        return
    may_wait = from_thread.run_sync(lending.__enter__)
    try:
        yield may_wait
    finally:
        from_thread.run_sync(lending.__exit__, None, None, None)
