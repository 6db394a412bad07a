"""Sessions in Redis, for many machines."""

from __future__ import annotations

import random
import time
from typing import Any

from micropie.execution.redis_client import RedisClient
from micropie.sessions import serializer as packing
from micropie.sessions.backend import SessionBackend
from micropie.sessions.session import Changes

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
        self._redis = RedisClient("RedisSessionBackend", url, _PATIENCE)
        self._prefix = prefix

    def load(self, session_id: str) -> dict[str, Any]:
        """The session's data, ``{}`` if it is unknown or expired."""
        with self._redis.reached() as client:
            return _unpacked(client.get(self._prefix + session_id))

    def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None:
        """Keep ``data`` for ``timeout`` seconds; no data: forget the session."""
        with self._redis.reached() as client:
            if data:
                client.set(self._prefix + session_id, packing.dumps(data), ex=timeout)
            else:
                client.delete(self._prefix + session_id)

    def merge(self, session_id: str, changes: Changes, timeout: int) -> dict[str, Any]:
        """Apply ``changes`` to what is stored; ``{}`` if the session has been ended."""
        old, new = self._prefix + session_id, self._prefix + (changes.new_id or session_id)
        with self._redis.reached() as client:
            while stored := client.get(old):
                data = changes.apply(_unpacked(stored))
                if client.eval(_SWAP, 2, old, new, stored, packing.dumps(data) if data else "", timeout):
                    return data
                # Another one was faster; of all who try, one always succeeds. Part the others.
                time.sleep(random.uniform(0, 0.005))  # noqa: S311 - not a secret
        return {}

    def close(self) -> None:
        """Close this process's connections; the next request opens them anew."""
        self._redis.close()


def _unpacked(text: str | None) -> dict[str, Any]:
    data: dict[str, Any] = packing.loads(text) if text else {}
    return data
