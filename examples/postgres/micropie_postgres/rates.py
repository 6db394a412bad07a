"""The counts of rate limits in PostgreSQL, for many machines.

The algorithm is the generic cell rate algorithm (ITU-T I.371). A row has the time at which its
client's next request would come if requests came evenly. A request moves that time forward by ``per
/ limit`` seconds. A request that would move it more than ``per`` seconds into the future is
rejected, and leaves it unchanged. Times are whole microseconds of the server's clock.
"""

from __future__ import annotations

from micropie.middleware import Quota, RateStore

from .database import Database, Table, digest

_MICROSECONDS = 1_000_000

# UNLOGGED makes writing faster, because nothing is written to the log. After a crash of the server,
# the table is empty.
_TABLE = Table(
    "micropie_rates",
    create="""
        CREATE UNLOGGED TABLE IF NOT EXISTS micropie_rates
            (key bytea PRIMARY KEY, ends timestamptz NOT NULL);
        CREATE INDEX IF NOT EXISTS micropie_rates_ends ON micropie_rates (ends);
    """,
    clear="""
        DELETE FROM micropie_rates WHERE key = ANY (ARRAY(
            SELECT key FROM micropie_rates WHERE ends <= now()
            ORDER BY ends LIMIT %s FOR UPDATE SKIP LOCKED))
    """,
)
_COUNT = """
    INSERT INTO micropie_rates AS rate
    VALUES (%(key)s, now() + %(step)s * interval '1 microsecond')
    ON CONFLICT (key) DO UPDATE
        SET ends = greatest(rate.ends, now()) + %(step)s * interval '1 microsecond'
        WHERE greatest(rate.ends, now()) + %(step)s * interval '1 microsecond'
            <= now() + %(most)s * interval '1 microsecond'
    RETURNING (extract(epoch FROM ends - now()) * 1000000)::bigint
"""
_LOOK = """
    SELECT (extract(epoch FROM ends - now()) * 1000000)::bigint
    FROM micropie_rates WHERE key = %s AND ends > now()
"""
_DELETE = "DELETE FROM micropie_rates WHERE key = %s"


class PostgresRates(RateStore):
    """A rate store in the PostgreSQL database at ``url``, such as ``postgresql://localhost/shop``.
    The table ``micropie_rates`` is created when it is first needed.

    Any number of workers and machines can share it.

    - ``patience``: after how many seconds without a response the server counts as unavailable. This
      is short, because every request waits for the server.
    - ``connections``: the maximum number of connections in each process.
    """

    def __init__(self, url: str, *, patience: float = 1, connections: int = 10) -> None:
        self._database = Database(
            "PostgresRates", url, _TABLE, patience=patience, connections=connections
        )

    def hit(self, key: str, limit: int, per: float) -> Quota:
        """Count a request for ``key``, unless it exceeds the limit.

        Raises ``ConnectionError`` if PostgreSQL is unavailable.
        """
        step = int(per * _MICROSECONDS) // limit
        most = limit * step
        values = {"key": digest(key), "step": step, "most": most}
        with self._database.reached() as connection:
            self._database.clear_sometimes(connection)
            counted = connection.execute(_COUNT, values).fetchone()
            # ``_LOOK`` finds no row if it has been deleted in the meantime.
            seen = counted or connection.execute(_LOOK, [values["key"]]).fetchone() or (0,)
        ahead = seen[0]
        return Quota(
            allowed=counted is not None,
            limit=limit,
            remaining=max(most - ahead, 0) // step,
            full_after=ahead / _MICROSECONDS,
            retry_after=0 if counted else max(step - most + ahead, 0) / _MICROSECONDS,
        )

    def ping(self) -> None:
        """Raise ``ConnectionError`` if PostgreSQL is unavailable or read-only. ``App.health`` calls
        this.
        """
        with self._database.reached() as connection:
            # no client has this key, but a replica refuses the statement
            connection.execute(_DELETE, [b""])

    def close(self) -> None:
        """Close this process's idle connections; the next request opens new ones."""
        self._database.close()
