"""Sessions: what a client's cookie stands for, and where it is kept."""

from micropie.sessions.backend import InMemorySessionBackend, SessionBackend
from micropie.sessions.session import Session
from micropie.sessions.store import SessionStore

__all__ = ["InMemorySessionBackend", "Session", "SessionBackend", "SessionStore"]
