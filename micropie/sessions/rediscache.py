"""Sessions in Redis, for many machines, by redis-py, an optional dependency: the only place that knows it."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from micropie.errors import SetupError
from micropie.sessions import packing
from micropie.sessions.backend import SessionBackend
from micropie.sessions.session import Changes

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError:  # pragma: no cover - the tests set it to None
    redis = None  # type: ignore[assignment]

# Seconds until a server that does not answer is out of reach.
_PATIENCE = 5.0

# Compare and swap: KEYS are the old and the new id, ARGV what was loaded, what to store ("" for nothing), seconds.
# Not WATCH and MULTI: that is a round trip more, and another for each that failed.
_SWAP = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
if ARGV[2] ~= '' then redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3]) end
return 1
"""


class RedisSessionBackend(SessionBackend):
    """Sessions in the Redis server at ``url``, ``redis://localhost:6379/0``, under keys that begin with ``prefix``.

    For any number of machines. JSON only. Redis forgets a session when its time is over.
    """

    def __init__(self, url: str, prefix: str = "session:") -> None:
        if redis is None:
            raise SetupError('RedisSessionBackend needs redis: pip install "micropie[redis]"')
        try:
            redis.connection.parse_url(url)  # type: ignore[no-untyped-call]
        except (ValueError, AttributeError, TypeError) as error:
            raise SetupError(f"RedisSessionBackend takes a URL such as redis://localhost:6379/0: {error}") from None
        self._url = url
        self._prefix = prefix
        self._own: tuple[int, Any] = (0, None)

    def load(self, session_id: str) -> dict[str, Any]:
        """The session's data, ``{}`` if it is unknown or expired."""
        with _reached():
            return _unpacked(self._client().get(self._prefix + session_id))

    def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None:
        """Keep ``data`` for ``timeout`` seconds; no data: forget the session."""
        with _reached():
            if data:
                self._client().set(self._prefix + session_id, packing.dumps(data), ex=timeout)
            else:
                self._client().delete(self._prefix + session_id)

    def merge(self, session_id: str, changes: Changes, timeout: int) -> dict[str, Any]:
        """Apply ``changes`` to what is stored; ``{}`` if the session has been ended."""
        old, new = self._prefix + session_id, self._prefix + (changes.new_id or session_id)
        with _reached():
            client = self._client()
            while stored := client.get(old):
                data = changes.apply(_unpacked(stored))
                if client.eval(_SWAP, 2, old, new, stored, packing.dumps(data) if data else "", timeout):
                    return data
                # Another one was faster; of all who try, one always succeeds. Part the others.
                time.sleep(random.uniform(0, 0.005))  # noqa: S311 - not a secret
        return {}

    def close(self) -> None:
        """Close this process's connections; the next request opens them anew."""
        self._client().close()

    def _client(self) -> Any:
        process, client = self._own
        if process != os.getpid():  # never a parent's: two processes would read each other's answers
            # No second try by redis-py: had the first one's answer been lost, a count would be counted twice.
            client = redis.Redis.from_url(
                self._url,
                socket_timeout=_PATIENCE,
                socket_connect_timeout=_PATIENCE,
                retry=Retry(NoBackoff(), 0),
                decode_responses=True,
            )
            self._own = os.getpid(), client
        return client


@contextmanager
def _reached() -> Iterator[None]:
    """Raises ``ConnectionError`` for whatever keeps Redis from answering (redis-py's own is no ``OSError``)."""
    try:
        yield
    except redis.RedisError as error:
        raise ConnectionError(f"the sessions in Redis are out of reach: {error}") from error


def _unpacked(text: str | None) -> dict[str, Any]:
    data: dict[str, Any] = packing.loads(text) if text else {}
    return data
