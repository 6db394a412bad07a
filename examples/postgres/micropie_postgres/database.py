"""The connections of a process to a PostgreSQL server. No call waits long for a server that hangs.

Only this module handles the exceptions of psycopg.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from threading import BoundedSemaphore
from time import monotonic
from typing import Any, LiteralString, NamedTuple, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from micropie import SetupError
from micropie.extensions import notify_after_fork

Result = TypeVar("Result")

# After 15 seconds without data, TCP asks every 5 seconds whether the server is still there, 3
# times. This also keeps a firewall from dropping a connection that is idle for minutes.
_KEEPALIVE = {"keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}

# The smallest number of seconds that libpq accepts as ``connect_timeout``.
_LEAST_TO_CONNECT = 2

# The key of the advisory lock that processes hold while they create tables.
_CREATING = 7_246_301_991

# One of this many calls that store a row also deletes expired rows, at most twice this many. So no
# call is slow, and rows are deleted faster than they are added.
_CLEAR_EVERY = 100

_inherited: list[list[Connection]] = []


class Table(NamedTuple):
    """A table and two SQL statements: ``create`` creates it unless it exists, ``clear`` deletes
    expired rows.
    """

    name: str
    create: LiteralString
    clear: LiteralString


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that is closed if a statement takes longer than ``patience`` seconds.

    PostgreSQL's own timeouts have no effect if the server process is suspended.
    """

    patience = math.inf

    def wait(self, gen: PQGen[Result], *arguments: Any, **options: Any) -> Result:
        """Run a generator of psycopg with a time limit. Raises ``TimeoutError``."""
        try:
            return super().wait(_within(self.patience, gen), *arguments, **options)
        except TimeoutError:
            self.close()
            raise


def _within(seconds: float, gen: PQGen[Result]) -> PQGen[Result]:
    """Run ``gen`` for at most ``seconds``. psycopg resumes it at least ten times a second."""
    deadline = monotonic() + seconds
    try:
        waits_for = next(gen)
        while True:
            ready = yield waits_for
            waits_for = gen.send(ready)
            if monotonic() > deadline:
                raise TimeoutError(f"no response within {seconds:g} seconds")
    except StopIteration as end:
        result: Result = end.value
        return result


class Database:
    """At most ``connections`` connections to the server at ``url``, for one table.

    Each process opens its own connections when it first needs them.

    - ``owner``: the name of the class that uses this, for error messages.
    - ``patience``: after how many seconds without a response the server counts as unavailable.
      Opening a connection may take 2 seconds in any case.

    Raises ``SetupError`` for invalid values.
    """

    def __init__(
        self, owner: str, url: str, table: Table, *, patience: float, connections: int
    ) -> None:
        if type(patience) not in (int, float) or not 0 < patience <= 3600:
            raise SetupError(
                f"{owner}(patience=...) takes seconds above 0, an hour at most, not {patience!r}"
            )
        if type(connections) is not int or connections < 1:
            raise SetupError(
                f"{owner}(connections=...) takes a whole number, 1 or more, not {connections!r}"
            )
        try:
            options = conninfo_to_dict(url).get("options") or ""
        except (psycopg.ProgrammingError, TypeError, AttributeError):
            # Leave out the reason, because it may contain a part of the password.
            raise SetupError(
                f"{owner} takes a URL such as postgresql://localhost/shop; "
                "a password in it has %2F for /, %23 for # and %40 for @"
            ) from None
        # The server also stops statements after this time, so that no row stays locked for longer.
        milliseconds = math.ceil(patience * 1000)
        self._options: dict[str, Any] = {
            **_KEEPALIVE,
            "connect_timeout": max(_LEAST_TO_CONNECT, math.ceil(patience)),
            "options": f"{options} -c statement_timeout={milliseconds}"
            f" -c idle_in_transaction_session_timeout={milliseconds}"
            # At this level, a row that another transaction has changed is read again. Stricter
            # levels would raise an error.
            r" -c default_transaction_isolation=read\ committed",
        }
        self._owner, self._url, self._table = owner, url, table
        self._patience, self._connections = patience, connections
        self._stored = count()
        self._begin()
        notify_after_fork(self)

    def _begin(self) -> None:
        self._idle: list[Connection] = []
        self._free = BoundedSemaphore(self._connections)

    def after_fork(self) -> None:
        """Don't use the parent's connections in a forked process: the two processes would read each
        other's responses.
        """
        _inherited.append(self._idle)  # closing one here would end the parent's connection
        self._begin()

    @contextmanager
    def reached(self) -> Iterator[Connection]:
        """Lend a connection, in autocommit mode. Errors of psycopg become ``ConnectionError``.

        After an error all idle connections are closed, because they are useless if the server was
        restarted. No statement is repeated, because it may have succeeded even if its response was
        lost.
        """
        idle, free = self._idle, self._free
        if not free.acquire(timeout=self._patience):
            raise TimeoutError(f"all {self._connections} connections of {self._owner} are in use")
        connection = None
        try:
            with suppress(IndexError):
                connection = idle.pop()
            connection = connection or self._open()
            yield connection
        except (psycopg.Error, OSError) as error:
            _close_all(idle)
            raise ConnectionError(
                f"the PostgreSQL of {self._owner} is unavailable: {error}"
            ) from error
        finally:
            if connection is not None:
                if connection.info.transaction_status == TransactionStatus.IDLE:
                    idle.append(connection)
                else:
                    connection.close()
            free.release()

    def clear_sometimes(self, connection: Connection) -> None:
        """Delete some of the expired rows in one of a hundred calls."""
        if next(self._stored) % _CLEAR_EVERY == 0:
            connection.execute(self._table.clear, [2 * _CLEAR_EVERY])

    def close(self) -> None:
        """Close this process's idle connections; the next use opens new ones."""
        _close_all(self._idle)

    def _open(self) -> Connection:
        connection = Connection.connect(self._url, autocommit=True, **self._options)
        connection.patience = self._patience
        try:
            # Checked first, so that a user who may not create tables can use an existing one.
            found = connection.execute("SELECT to_regclass(%s)", [self._table.name]).fetchone()
            if found == (None,):
                # IF NOT EXISTS alone fails if two processes create a table at once
                with connection.transaction():
                    connection.execute("SELECT pg_advisory_xact_lock(%s)", [_CREATING])
                    connection.execute(self._table.create)
        except BaseException:
            connection.close()
            raise
        return connection


def _close_all(idle: list[Connection]) -> None:
    # don't check the length first: another thread may take the last connection in between
    with suppress(IndexError):
        while True:
            idle.pop().close()


def digest(text: str) -> bytes:
    """Return the hash that is stored in a table in place of ``text``.

    A client may have chosen ``text``, and PostgreSQL can't store a NUL in a text. The table
    contains no session ids, so nobody can use a copy of it to take over a session.
    """
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
