"""The session store, which loads and saves, and the base class of the backends.

``micropie.sessions`` has their public names.
"""

from micropie._core.http import Changes, Session
from micropie._core.sessions.backend import SessionBackend
from micropie._core.sessions.memory import InMemorySessionBackend
from micropie._core.sessions.store import SessionStore

__all__ = ["Changes", "InMemorySessionBackend", "Session", "SessionBackend", "SessionStore"]
