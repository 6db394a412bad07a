"""The client of a Redis server.

This is the only module that knows redis-py, an optional dependency.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from micropie.errors import SetupError

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError:  # pragma: no cover - the tests set it to None
    redis = None  # type: ignore[assignment]


# What keeps redis-py from telling its own name; it is called otherwise since version 7.
_NAMELESS: dict[str, None] = (
    {"driver_info": None}
    if hasattr(redis, "DriverInfo")
    else {"lib_name": None, "lib_version": None}
)

# Seconds of silence before the first sign of life and between two of them, and how many are not
# answered by a peer that is gone; as far as the system has these options.
_KEEPALIVE = {
    getattr(socket, name): value
    for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)
}


class RedisClient:
    """The client of the server at ``url``, such as ``redis://localhost:6379/0``.

    Errors name ``owner``.

    ``patience``: seconds until a server that does not answer is out of reach. Each process connects
    when it first needs to. Raises ``SetupError`` for a malformed URL, and where redis-py is
    missing.
    """

    def __init__(self, owner: str, url: str, patience: float) -> None:
        if redis is None:
            raise SetupError(f'{owner} needs redis: pip install "micropie-dual[redis]"')
        try:
            redis.connection.parse_url(url)  # type: ignore[no-untyped-call]
        except (ValueError, AttributeError, TypeError):
            # without the reason, which may have a part of the password
            raise SetupError(
                f"{owner} takes a URL such as redis://localhost:6379/0; "
                "a password in it has %2F for / and %23 for #"
            ) from None
        self._owner = owner
        self.url = url
        self._patience = patience
        self._own: tuple[int, Any] = (0, None)

    @contextmanager
    def reached(self) -> Iterator[Any]:
        """Enter with redis-py's client.

        Its errors become ``ConnectionError``, for they are no ``OSError``. After one, the idle
        connections are closed: a firewall may have forgotten all of them, or they lead to a server
        that is a replica now, and new ones lead to the right one.
        """
        try:
            yield self._client()
        except (redis.RedisError, ConnectionError) as error:
            self._client().connection_pool.disconnect(inuse_connections=False)
            raise ConnectionError(f"the Redis of {self._owner} is out of reach: {error}") from error

    def ping(self) -> None:
        """Ask the server for a sign of life. Raises ``ConnectionError``."""
        with self.reached() as client:
            client.ping()

    def close(self) -> None:
        """Close this process's connections. The next use opens new ones."""
        self._client().close()

    def _client(self) -> Any:
        process, client = self._own
        # never a parent's: two processes would read each other's answers
        if process != os.getpid():
            # redis-py must not retry: if only the answer to the first try was lost, a count would
            # be counted twice.
            client = redis.Redis.from_url(
                self.url,
                socket_timeout=self._patience,
                socket_connect_timeout=self._patience,
                retry=Retry(NoBackoff(), 0),
                # a firewall forgets what is silent for some minutes
                socket_keepalive=True,
                socket_keepalive_options=_KEEPALIVE,
                decode_responses=True,
                # else a new connection asks four times before its first command
                protocol=2,
                **_NAMELESS,
                # what another program has written must not cost a connection of many channels
                encoding_errors="surrogateescape",
            )
            self._own = os.getpid(), client
        return client
