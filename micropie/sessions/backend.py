"""The interface of session backends, and the default one: this process's memory."""

from __future__ import annotations

import copy
import time
from collections import OrderedDict
from threading import Lock
from typing import Any


class SessionBackend:
    """Where sessions live. Derive from it; ``load`` and ``save`` may be ``def`` or ``async def``.

    ``blocking`` says whether a ``def`` method may wait for something (a file, a database): then it runs in a
    worker thread under asgi. Saving an empty dict means: forget this session.
    """

    blocking = True

    def load(self, session_id: str) -> Any:
        """The data of ``session_id``: a dict, empty if there is no such session or its time is over."""
        raise NotImplementedError("a session backend has a method load(session_id)")

    def save(self, session_id: str, data: dict[str, Any], timeout: int) -> Any:
        """Keep ``data`` for ``timeout`` seconds."""
        raise NotImplementedError("a session backend has a method save(session_id, data, timeout)")


class InMemorySessionBackend(SessionBackend):
    """Sessions in this process's memory: lost at its end, not seen by other workers.

    At most ``capacity`` sessions are kept; the one that was used longest ago goes first.
    """

    blocking = False

    def __init__(self, capacity: int = 100_000) -> None:
        self._capacity = capacity
        self._sessions: OrderedDict[str, tuple[float, dict[str, Any]]] = OrderedDict()
        self._lock = Lock()

    def load(self, session_id: str) -> dict[str, Any]:
        """A copy of the session's data, ``{}`` if it is unknown or expired."""
        with self._lock:
            expires, data = self._sessions.get(session_id, (0.0, {}))
            if expires <= time.monotonic():
                self._sessions.pop(session_id, None)
                return {}
            self._sessions.move_to_end(session_id)
            return copy.deepcopy(data)

    def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None:
        """Keep a copy of ``data`` for ``timeout`` seconds; no data: forget the session."""
        with self._lock:
            self._sessions.pop(session_id, None)
            if data:
                self._sessions[session_id] = (time.monotonic() + timeout, copy.deepcopy(data))
            while len(self._sessions) > self._capacity:
                self._sessions.popitem(last=False)
