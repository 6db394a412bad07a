"""Sessions in Redis, for many machines."""

from __future__ import annotations

import random
import time

from micropie.execution.redis_client import RedisClient
from micropie.sessions import serializer
from micropie.sessions.backend import SessionBackend
from micropie.sessions.session import Changes

# Seconds after which a server that does not answer is out of reach.
_TIMEOUT = 5.0

# Compare and swap: KEYS are the old and the new id; ARGV are the loaded text, the new one ("" for none) and seconds.
# WATCH and MULTI would take one more round trip, and another one for each failure.
_SWAP = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
if ARGV[2] ~= '' then redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3]) end
return 1
"""


class RedisSessionBackend(SessionBackend):
    """Sessions in the Redis server at ``url``, ``redis://localhost:6379/0``, under keys that begin with ``prefix``.

    For any number of machines. JSON only. Redis deletes a session when it expires.
    """

    def __init__(self, url: str, prefix: str = "session:") -> None:
        self._redis = RedisClient("RedisSessionBackend", url, _TIMEOUT)
        self._prefix = prefix

    def load(self, session_id: str) -> dict[str, object]:
        """Return the session's data, or ``{}`` if it is unknown or expired."""
        with self._redis.reached() as client:
            return serializer.loads(client.get(self._prefix + session_id))

    def save(self, session_id: str, data: dict[str, object], timeout: int) -> None:
        """Store ``data`` for ``timeout`` seconds; delete the session if it is empty."""
        with self._redis.reached() as client:
            if data:
                client.set(self._prefix + session_id, serializer.dumps(data), ex=timeout)
            else:
                client.delete(self._prefix + session_id)

    def merge(self, session_id: str, changes: Changes, timeout: int) -> dict[str, object]:
        """Apply ``changes`` to the stored data and return the result; ``{}`` if the session has been ended."""
        old, new = self._prefix + session_id, self._prefix + (changes.new_id or session_id)
        with self._redis.reached() as client:
            while stored := client.get(old):
                data = changes.apply(serializer.loads(stored))
                if client.eval(_SWAP, 2, old, new, stored, serializer.dumps(data) if data else "", timeout):
                    return data
                # Another request was faster. One of those that try always succeeds; a random delay separates them.
                time.sleep(random.uniform(0, 0.005))  # noqa: S311 - not a secret
        return {}

    def ping(self) -> None:
        """Raise ``ConnectionError`` if Redis is out of reach; for ``App.health``."""
        self._redis.ping()

    def close(self) -> None:
        """Close this process's connections; the next request opens new ones."""
        self._redis.close()
