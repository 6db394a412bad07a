"""The default session backend, which stores sessions in this process's memory."""

from __future__ import annotations

import time
from collections import OrderedDict
from threading import Lock
from typing import Any

from micropie._core.errors import check, is_count
from micropie._core.http import Changes, SessionData, copied
from micropie._core.sessions import serializer
from micropie._core.sessions.backend import SAVED, Loaded, SessionBackend

_NONE: tuple[float, SessionData] = (0.0, {})


class InMemorySessionBackend(SessionBackend):
    """Stores sessions in this process's memory. They are lost when the process ends, and other
    workers don't see them.

    Values must be valid JSON.

    At most ``capacity`` (100,000) sessions are stored; beyond that, the least recently used one is
    deleted.
    """

    blocking = False

    def __init__(self, capacity: int = 100_000) -> None:
        check(
            "InMemorySessionBackend(capacity=...)",
            is_count(capacity, least=1),
            capacity,
            "a whole number, 1 or more",
        )
        self._capacity = capacity
        # The least recently used session comes first.
        self._sessions: OrderedDict[str, tuple[float, SessionData]] = OrderedDict()
        self._lock = Lock()

    def load(self, session_id: str) -> Any:
        """Return a copy of the session's data, or ``{}`` if the session is unknown or expired.

        The result is a dict that can also be awaited, for subclasses with an ``async def load``.
        """
        return Loaded(copied(self.load_shared(session_id)))

    def load_shared(self, session_id: str) -> SessionData:
        """Return the stored data without a copy. Don't change it; each save stores a new dict."""
        with self._lock:
            expires, data = self._sessions.get(session_id, _NONE)
            if expires > time.monotonic():
                self._sessions.move_to_end(session_id)
                return data
            self._sessions.pop(session_id, None)
            return {}

    def save(self, session_id: str, data: SessionData, timeout: int) -> Any:
        """Store a copy of ``data`` for ``timeout`` seconds. If ``data`` is empty, delete the
        session.

        The result can be awaited.

        Raises ``ResponseError`` for values that JSON can't express.
        """
        with self._lock:
            self._replace(session_id, session_id, data, timeout)
        return SAVED

    def merge(self, session_id: str, changes: Changes, timeout: int) -> dict[str, Any]:
        """Apply ``changes`` to the stored data and return the result, or ``{}`` if the session has
        ended.
        """
        with self._lock:
            expires, stored = self._sessions.get(session_id, _NONE)
            if expires <= time.monotonic():
                return {}
            # Copy the data first if there are functions passed to ``update_atomic``, which may
            # change the values.
            data = changes.apply(copied(stored) if changes.updates else stored)
            self._replace(session_id, changes.new_id or session_id, data, timeout)
            return data

    def _replace(self, old_id: str, new_id: str, data: SessionData, timeout: int) -> None:
        """Delete the session ``old_id``, and store a copy of ``data`` as ``new_id``. Then delete
        expired sessions.
        """
        # Store what JSON would return, so that values that work here also work in SQLite and Redis.
        stored = serializer.as_loaded(data)
        now = time.monotonic()
        self._sessions.pop(old_id, None)
        if stored:
            self._sessions[new_id] = now + timeout, stored
        # Delete sessions, the least recently used first, until their number is within the capacity
        # and the next one has not expired. Expired sessions that come after that one are deleted
        # later, at most one ``timeout`` after they expire.
        while self._sessions:
            oldest = next(iter(self._sessions))
            if self._sessions[oldest][0] > now and len(self._sessions) <= self._capacity:
                break
            del self._sessions[oldest]
