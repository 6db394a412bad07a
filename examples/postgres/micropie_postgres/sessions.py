"""Sessions in PostgreSQL, for many machines."""

from __future__ import annotations

import json
from typing import Any

from micropie.sessions import Changes, SessionBackend

from .database import Connection, Database, Table, digest

_TABLE = Table(
    "micropie_sessions",
    create="""
        CREATE TABLE IF NOT EXISTS micropie_sessions
            (id bytea PRIMARY KEY, data text NOT NULL, expires timestamptz NOT NULL);
        CREATE INDEX IF NOT EXISTS micropie_sessions_expires ON micropie_sessions (expires);
    """,
    # SKIP LOCKED doesn't wait for locked rows, so two calls can't wait for each other
    clear="""
        DELETE FROM micropie_sessions WHERE id = ANY (ARRAY(
            SELECT id FROM micropie_sessions WHERE expires <= now()
            ORDER BY expires LIMIT %s FOR UPDATE SKIP LOCKED))
    """,
)
_LOAD = "SELECT data FROM micropie_sessions WHERE id = %s AND expires > now()"
_LOCK = "SELECT data FROM micropie_sessions WHERE id = %s AND expires > now() FOR UPDATE"
_STORE = """
    INSERT INTO micropie_sessions VALUES (%s, %s, now() + make_interval(secs => %s))
    ON CONFLICT (id) DO UPDATE SET data = EXCLUDED.data, expires = EXCLUDED.expires
"""
_CHANGE = """
    UPDATE micropie_sessions SET id = %s, data = %s, expires = now() + make_interval(secs => %s)
    WHERE id = %s
"""
_DELETE = "DELETE FROM micropie_sessions WHERE id = %s"


class PostgresSessionBackend(SessionBackend):
    """Sessions in the PostgreSQL database at ``url``, such as ``postgresql://localhost/shop``. The
    table ``micropie_sessions`` is created when it is first needed.

    Any number of machines can share it. Values must be JSON.

    - ``patience``: after how many seconds without a response the server counts as unavailable.
    - ``connections``: the maximum number of connections in each process.
    """

    def __init__(self, url: str, *, patience: float = 5, connections: int = 10) -> None:
        self._database = Database(
            "PostgresSessionBackend", url, _TABLE, patience=patience, connections=connections
        )

    def load(self, session_id: str) -> dict[str, Any]:
        """Return the session's data, or ``{}`` if the session is unknown or expired."""
        with self._database.reached() as connection:
            return _data_of(connection, _LOAD, digest(session_id))

    def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None:
        """Store ``data`` for ``timeout`` seconds. Empty data deletes the session."""
        key, text = digest(session_id), _text_of(data)
        with self._database.reached() as connection:
            if data:
                self._database.clear_sometimes(connection)
                connection.execute(_STORE, [key, text, timeout])
            else:
                connection.execute(_DELETE, [key])

    def merge(self, session_id: str, changes: Changes, timeout: int) -> dict[str, Any]:
        """Apply ``changes`` to the stored data and return the result, or ``{}`` if the session no
        longer exists.
        """
        old, new = digest(session_id), digest(changes.new_id or session_id)
        with self._database.reached() as connection, connection.transaction():
            # If two requests change the session, the second one waits here and then reads the data
            # that the first one has stored. There is no row if the first one deleted the session.
            stored = _data_of(connection, _LOCK, old)
            if not stored:
                return {}
            data = changes.apply(stored)
            if data:
                connection.execute(_CHANGE, [new, _text_of(data), timeout, old])
            else:
                connection.execute(_DELETE, [old])
            return data

    def ping(self) -> None:
        """Raise ``ConnectionError`` if PostgreSQL is unavailable or read-only. ``App.health`` calls
        this.
        """
        with self._database.reached() as connection:
            # no session has this id, but a replica refuses the statement
            connection.execute(_DELETE, [b""])

    def close(self) -> None:
        """Close this process's idle connections; the next request opens new ones."""
        self._database.close()


def _data_of(connection: Connection, query: Any, key: bytes) -> dict[str, Any]:
    row = connection.execute(query, [key]).fetchone()
    data: dict[str, Any] = json.loads(row[0]) if row else {}
    return data


def _text_of(data: dict[str, Any]) -> str:
    # ASCII, so a database of any encoding stores it
    return json.dumps(data, separators=(",", ":"), allow_nan=False)
