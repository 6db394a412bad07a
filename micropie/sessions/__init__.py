"""Sessions: what a client's cookie stands for, and where it is kept."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from micropie.sessions.backend import SessionBackend
from micropie.sessions.memory import InMemorySessionBackend
from micropie.sessions.session import Changes, Session
from micropie.sessions.store import SessionStore

if TYPE_CHECKING:
    from micropie.sessions.redis import RedisSessionBackend
    from micropie.sessions.signed_cookie import SignedCookieSessionBackend
    from micropie.sessions.sqlite import SQLiteSessionBackend

__all__ = [
    "Changes",
    "InMemorySessionBackend",
    "RedisSessionBackend",
    "SQLiteSessionBackend",
    "Session",
    "SessionBackend",
    "SessionStore",
    "SignedCookieSessionBackend",
]

# Imported when they are asked for: redis-py alone takes longer than all of micropie.
_LATER = {
    "RedisSessionBackend": "micropie.sessions.redis",
    "SQLiteSessionBackend": "micropie.sessions.sqlite",
    "SignedCookieSessionBackend": "micropie.sessions.signed_cookie",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
