"""Sessions: a client's data across requests, found by a cookie and stored in a backend.

Open ``redis.py``, ``sqlite.py`` or ``signed_cookie.py`` to change one of the backends;
``_core/sessions/store.py`` decides when a session is loaded and saved. For a new backend, add a
module here, its name to ``__all__`` and ``names_on_demand`` below and to ``PROMISED`` in
``tests/project/test_public_names.py``, a row to ``docs/sessions.md``, a section to
``docs/reference/sessions.md``, and a name to ``tests/sessions/conftest.py``, so that all tests of
backends run on it.

The store yields steps to the request flow if the backend may block. A ``Session`` compares its data
with the loaded data, and only the differences, as ``Changes``, are saved. The backend merges them
into the stored data in one transaction: in memory under a lock, in SQLite by ``BEGIN IMMEDIATE``,
in Redis by compare-and-swap. Ids are never reused, and changes are applied only to a session that
still exists, so a session that was deleted by a log-out stays deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from micropie._core.on_demand import names_on_demand
from micropie._core.sessions import (
    Changes,
    InMemorySessionBackend,
    Session,
    SessionBackend,
    SessionStore,
)

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

# These modules are imported on first use, because an optional dependency may be missing, or take
# longer to import than all of micropie.
__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "redis": "RedisSessionBackend",
        "sqlite": "SQLiteSessionBackend",
        "signed_cookie": "SignedCookieSessionBackend",
    },
)
