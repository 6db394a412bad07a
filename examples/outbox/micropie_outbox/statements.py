"""The table and its SQL statements, for connections of SQLAlchemy, sqlite3 and psycopg.

Only this module depends on the differences between these libraries.
"""

from __future__ import annotations

import sqlite3
from typing import Any

# In PostgreSQL, IF NOT EXISTS alone fails if several workers create the table at once.
LOCK = "SELECT {lock}"
CREATE_TABLE = (
    "CREATE TABLE IF NOT EXISTS micropie_outbox (id TEXT PRIMARY KEY, job TEXT NOT NULL, "
    "arguments TEXT NOT NULL, due DOUBLE PRECISION, tries INTEGER NOT NULL, error TEXT NOT NULL)"
)
CREATE_INDEX = "CREATE INDEX IF NOT EXISTS micropie_outbox_due ON micropie_outbox (due)"
PUT = (
    "INSERT INTO micropie_outbox (id, job, arguments, due, tries, error) "
    "VALUES (:id, :job, :arguments, :due, 0, '')"
)
# ``due`` is compared twice, because another worker may take the row after the SELECT has found it.
TAKE = (
    "UPDATE micropie_outbox SET due = :until, tries = tries + 1 WHERE due <= :now AND id = "
    "(SELECT id FROM micropie_outbox WHERE due <= :now ORDER BY due LIMIT 1 {skip}) "
    "RETURNING id, job, arguments, tries"
)
# These statements compare ``tries``. If a worker's lease has ended and another worker has taken the
# job, the first worker must not change the row.
DELETE = "DELETE FROM micropie_outbox WHERE id = :id AND tries = :tries"
POSTPONE = "UPDATE micropie_outbox SET due = :due, error = :error WHERE id = :id AND tries = :tries"

_OTHERS = {"skip": "", "lock": "1"}
_POSTGRESQL = {"skip": "FOR UPDATE SKIP LOCKED", "lock": "pg_advisory_xact_lock(7246301992)"}


def run(connection: Any, statement: str, **values: object) -> Any:
    """Execute a statement with the ``values`` of its parameters. Return its result or cursor."""
    if isinstance(connection, sqlite3.Connection):
        return connection.execute(statement.format(**_OTHERS), values)
    if not hasattr(connection, "get_bind") and not hasattr(connection, "dialect"):  # psycopg
        names = {name: f"%({name})s" for name in values}
        for name, placeholder in names.items():
            statement = statement.replace(f":{name}", placeholder)
        return connection.execute(statement.format(**_POSTGRESQL), values)
    from sqlalchemy import text  # noqa: PLC0415 - sqlite3 and psycopg work without SQLAlchemy

    bind = connection.get_bind() if hasattr(connection, "get_bind") else connection
    parts = _POSTGRESQL if bind.dialect.name == "postgresql" else _OTHERS
    return connection.execute(text(statement.format(**parts)), values)
