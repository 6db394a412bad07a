"""Sessions in an SQLite file: for all workers of one machine, without another service."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import TypeAlias
from weakref import finalize

from micropie._core.errors import check, logger
from micropie._core.execution import notify_after_fork
from micropie._core.http import Changes, SessionData
from micropie._core.sessions import SessionBackend, serializer

# Seconds that a write waits for other writes. SQLite allows one write at a time, and each takes
# much less than a millisecond.
_BUSY = 5.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY, data TEXT NOT NULL, expires REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sessions_by_expiry ON sessions (expires);
"""  # noqa: E501
# as a BLOB, because SQLite's module can't fetch text that isn't UTF-8
_LOAD = "SELECT CAST(data AS BLOB) FROM sessions WHERE id = ? AND expires > ?"
_STORE = "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?)"
_DELETE = "DELETE FROM sessions WHERE id = ?"
_SWEEP = "DELETE FROM sessions WHERE expires <= ?"


# The inode and the device of the file that a connection uses, or None if there is no file at the
# path.
_File: TypeAlias = tuple[int, int] | None
_Lent: TypeAlias = tuple[_File, sqlite3.Connection]
_NO_FILE = object()  # equals no connection's file, so that ``_taken`` closes all connections

# A forked child must neither use its parent's connections nor close them, which would drop the
# parent's locks. So they are stored here, where they are never closed.
_inherited: list[list[_Lent]] = []


class SQLiteSessionBackend(SessionBackend):
    """Sessions in the SQLite file ``path``, which is created when it is first needed and readable
    by its owner only.

    All processes and threads of one machine can share the file, but not over a network file system.
    Values must be JSON. If the file is deleted or replaced, the next request logs an error and uses
    the new file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        expected = "the path of a file; InMemorySessionBackend() keeps sessions in memory"
        # Each connection to ":memory:" or "" would have a database of its own.
        is_path = isinstance(path, str | os.PathLike) and os.fspath(path) not in ("", ":memory:")
        check("SQLiteSessionBackend(path)", is_path, path, expected)
        self._path = Path(path)
        self._file: _File = None  # the file that was opened last
        self._begin()
        notify_after_fork(self)

    def _begin(self) -> None:
        """Initialize the backend without connections.

        The connections of this process are closed when the backend is garbage-collected.
        """
        self._idle: list[_Lent] = []  # a connection is removed while a thread uses it
        self._opening = Lock()
        # Use ``weakref.finalize``, not ``__del__``: if this backend is in a reference cycle, the
        # garbage collector may finalize its connections before it calls ``__del__``.
        self._closing = finalize(self, _taken, self._idle, _NO_FILE)

    def after_fork(self) -> None:
        """In a forked child, set the parent's connections aside without closing them, and start
        without connections.
        """
        self._closing.detach()
        _inherited.append(self._idle)
        self._begin()

    def load(self, session_id: str) -> SessionData:
        """Return the session's data, or ``{}`` if the session is unknown or expired."""
        with self._connection() as connection:
            return _load(connection, session_id)

    def save(self, session_id: str, data: SessionData, timeout: int) -> None:
        """Store ``data`` for ``timeout`` seconds, or delete the session if ``data`` is empty. Also
        delete all expired sessions.
        """
        with self._connection() as connection, connection:  # commits, or rolls back
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_SWEEP, (time.time(),))
            _replace(connection, session_id, session_id, data, timeout)

    def merge(self, session_id: str, changes: Changes, timeout: int) -> SessionData:
        """Apply ``changes`` to the stored data and return the result, or ``{}`` if the session no
        longer exists.
        """
        with self._connection() as connection, connection:
            connection.execute("BEGIN IMMEDIATE")
            stored = _load(connection, session_id)
            if not stored:
                return {}
            data = changes.apply(stored)
            _replace(connection, session_id, changes.new_id or session_id, data, timeout)
            return data

    def ping(self) -> None:
        """Raise ``ConnectionError`` if SQLite can't write its file. ``App.health`` calls this."""
        with self._connection() as connection:
            # deletes nothing, but fails if the file is read-only
            connection.execute(_DELETE, ("",))

    def close(self) -> None:
        """Close this process's idle connections; the next request opens a new one."""
        _taken(self._idle, _NO_FILE)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """Return a context manager that lends one of this process's connections.

        Raises ``ConnectionError`` if SQLite can't use its file.
        """
        idle, lent = self._idle, None
        try:
            lent = _taken(idle, _file_at(self._path)) or self._open()
            yield lent[1]
        except (sqlite3.DatabaseError, OSError) as error:
            if lent is not None:
                # Don't reuse the connection, because its state is unknown. The idle ones may have
                # the same problem, for example that their tables were dropped.
                lent[1].close()
                lent = None
                _taken(idle, _NO_FILE)
            raise ConnectionError(
                f"the sessions in {self._path} are unavailable: {error}"
            ) from error
        finally:
            if lent is not None:
                idle.append(lent)

    def _open(self) -> _Lent:
        # Only one thread may open a connection at a time: ``touch`` closes the file, and closing it
        # drops all locks that SQLite holds on it in this process.
        with self._opening:
            self._path.touch(0o600)
            _check_descriptors()
            file = _file_at(self._path)
            connection = sqlite3.connect(
                self._path, timeout=0, isolation_level=None, check_same_thread=False
            )
            try:
                _change_to_wal(connection, self._path)
                connection.execute(f"PRAGMA busy_timeout = {1000 * _BUSY:.0f}")
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.executescript(_SCHEMA)
            except BaseException:
                connection.close()
                raise
            if self._file not in (None, file):
                logger.error(
                    "the sessions in %s are lost, because the file was replaced",
                    self._path,
                )
            self._file = file
            return file, connection


def _check_descriptors() -> None:
    """Raise ``OSError`` if the process has too many open files, which SQLite doesn't report."""
    os.close(os.open(os.devnull, os.O_RDONLY))


def _file_at(path: Path) -> _File:
    try:
        facts = path.stat()
    except FileNotFoundError:
        return None
    return facts.st_ino, facts.st_dev


def _taken(idle: list[_Lent], file: object) -> _Lent | None:
    """Return an idle connection to the file with the identity ``file``, or None if there is none.
    Close idle connections to other files, which were at this path earlier.
    """
    # don't check the length first, because another thread may take the last connection in between
    with suppress(IndexError):
        while True:
            lent = idle.pop()
            if lent[0] == file:
                return lent
            lent[1].close()
    return None


def _change_to_wal(connection: sqlite3.Connection, path: Path) -> None:
    """Switch SQLite to a write-ahead log. SQLite refuses the switch while another process makes it,
    so try again for up to ``_BUSY`` seconds.

    If an earlier database at this path was deleted, its shared-memory file may still exist. Remove
    this file first: SQLite would use it for the new database as long as a worker has the deleted
    database open.
    """
    mode = "PRAGMA journal_mode"
    deadline = time.monotonic() + _BUSY
    while True:
        try:
            if connection.execute(mode).fetchone() != ("wal",):
                with connection:
                    # so that no other process switches this database at the same time
                    connection.execute("BEGIN EXCLUSIVE")
                    if connection.execute(mode).fetchone() != ("wal",):
                        Path(f"{path}-shm").unlink(missing_ok=True)
                connection.execute(f"{mode} = WAL")
        except sqlite3.OperationalError:
            _check_descriptors()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _load(connection: sqlite3.Connection, session_id: str) -> SessionData:
    row = connection.execute(_LOAD, (session_id, time.time())).fetchone()
    return serializer.loads_stored(row[0] if row else None)


def _replace(
    connection: sqlite3.Connection, old_id: str, new_id: str, data: SessionData, timeout: int
) -> None:
    if old_id != new_id or not data:
        connection.execute(_DELETE, (old_id,))
    if data:
        connection.execute(_STORE, (new_id, serializer.dumps(data), time.time() + timeout))
