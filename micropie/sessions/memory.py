"""Sessions in this process's memory: the default."""

from __future__ import annotations

import time
from collections import OrderedDict
from threading import Lock
from typing import Any

from micropie.sessions.backend import SessionBackend
from micropie.sessions.session import Changes, copied

_NONE: tuple[float, dict[str, Any]] = (0.0, {})


class InMemorySessionBackend(SessionBackend):
    """Sessions in this process's memory: lost at its end, not seen by other workers.

    At most ``capacity`` sessions are kept; the one that was used longest ago goes first.
    """

    blocking = False

    def __init__(self, capacity: int = 100_000) -> None:
        self._capacity = capacity
        # The one that was used longest ago comes first.
        self._sessions: OrderedDict[str, tuple[float, dict[str, Any]]] = OrderedDict()
        self._lock = Lock()

    def load(self, session_id: str) -> dict[str, Any]:
        """A copy of the session's data, ``{}`` if it is unknown or expired."""
        data: dict[str, Any] = copied(self.load_shared(session_id))
        return data

    def load_shared(self, session_id: str) -> dict[str, Any]:
        """The data as it is stored, for who only reads it: it is never changed, a save puts another in its place."""
        self._lock.acquire()  # a third of what ``with`` takes, and this is a twentieth of a request
        try:
            expires, data = self._sessions.get(session_id, _NONE)
            if expires > time.monotonic():
                self._sessions.move_to_end(session_id)
                return data
            return self._current(session_id)
        finally:
            self._lock.release()

    def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None:
        """Keep a copy of ``data`` for ``timeout`` seconds; no data: forget the session."""
        with self._lock:
            self._keep(session_id, copied(data), timeout)

    def merge(self, session_id: str, changes: Changes, timeout: int) -> dict[str, Any]:
        """Apply ``changes`` to what is stored; ``{}`` if the session has been ended."""
        with self._lock:
            stored = self._current(session_id)
            if not stored:
                return {}
            data = changes.apply(copied(stored))
            del self._sessions[session_id]
            self._keep(changes.new_id or session_id, copied(data), timeout)
            return data

    def _current(self, session_id: str) -> dict[str, Any]:
        expires, data = self._sessions.get(session_id, _NONE)
        if expires > time.monotonic():
            return data
        self._sessions.pop(session_id, None)
        return {}

    def _keep(self, session_id: str, data: dict[str, Any], timeout: int) -> None:
        now = time.monotonic()
        self._sessions.pop(session_id, None)
        if data:
            self._sessions[session_id] = now + timeout, data
        # The sweep: those used longest ago, as long as they are over. One that is not holds up those behind it for no
        # longer than its own time, and so everything that is over is gone one time-out later.
        while self._sessions:
            oldest = next(iter(self._sessions))
            if self._sessions[oldest][0] > now and len(self._sessions) <= self._capacity:
                break
            del self._sessions[oldest]
