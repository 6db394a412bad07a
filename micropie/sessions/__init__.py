"""Sessions: a client's data across requests, found by a cookie and stored in a backend."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from micropie.http import Changes, Session
from micropie.http import UnopenedSession as UnopenedSession
from micropie.sessions.backend import SessionBackend
from micropie.sessions.memory import InMemorySessionBackend
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

# Imported when first used: redis-py alone takes longer than all of micropie.
_LAZY = {
    "RedisSessionBackend": "micropie.sessions.redis",
    "SQLiteSessionBackend": "micropie.sessions.sqlite",
    "SignedCookieSessionBackend": "micropie.sessions.signed_cookie",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
