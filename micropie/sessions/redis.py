"""Sessions in Redis, for many machines."""

from __future__ import annotations

import random
import secrets
import time
from functools import partial
from time import monotonic

from micropie._core.execution.call_steps import CallSteps, stepwise
from micropie._core.execution.steps import RedisClient
from micropie._core.http import Changes, SessionData
from micropie._core.sessions import SessionBackend, serializer

# Seconds after which a server that doesn't respond counts as unavailable.
_TIMEOUT = 5.0

# Compare and swap: store a session's new text, unless another request has changed the session since
# it was loaded. Returns 1 after a swap, otherwise the text that is stored now. WATCH and MULTI
# would take one more round trip, and another one for each failure.
#
# A request may claim a session: then only this request can swap the session's text. Without claims,
# a machine that is far from Redis would always be too late for a session that nearer machines keep
# changing. The next swap of the same request ends the claim. If that request is lost, the claim
# expires.
#
# KEYS: the keys of the session's old and new id, and the key of the claim. ARGV: the text that was
# loaded, the new text ("" to delete the session), how many seconds to store it, a random id of this
# request, and after how many milliseconds a new claim expires ("" to make none).
_SWAP = """
local stored = redis.call('GET', KEYS[1])
local claimed = redis.call('GET', KEYS[3])
if stored == ARGV[1] and (not claimed or claimed == ARGV[4]) then
    redis.call('DEL', KEYS[1], KEYS[3])
    if ARGV[2] ~= '' then redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3]) end
    return 1
end
if stored and not claimed and ARGV[5] ~= '' then redis.call('SET', KEYS[3], ARGV[4], 'PX', ARGV[5]) end
return stored
"""  # noqa: E501
_PATIENCE = 3  # after this many failed swaps, a request claims the session
_CLAIM = 1000  # after this many milliseconds, a claim expires


class RedisSessionBackend(SessionBackend):
    """Sessions in the Redis server at ``url``, such as ``redis://localhost:6379/0``, under keys
    that begin with ``prefix``.

    Any number of machines can share the sessions. Values must be JSON. Redis deletes a session when
    it expires. The URL may list Sentinels: ``redis+sentinel://one:26379,two:26379/mymaster/0``. Use
    ``valkey://`` or ``valkeys://`` for a Valkey server.
    """

    def __init__(self, url: str, prefix: str = "session:") -> None:
        self._redis = RedisClient("RedisSessionBackend", url, _TIMEOUT, prefix)
        self._prefix = prefix

    @stepwise
    def load(self, session_id: str) -> CallSteps[SessionData]:
        """Return the session's data, or ``{}`` if the session is unknown or expired."""
        text = yield from self._redis.ask(monotonic() + _TIMEOUT, "GET", self._prefix + session_id)
        return serializer.loads_stored(text)

    @stepwise
    def save(self, session_id: str, data: SessionData, timeout: int) -> CallSteps[None]:
        """Store ``data`` for ``timeout`` seconds. Empty data deletes the session."""
        ends, key = monotonic() + _TIMEOUT, self._prefix + session_id
        if data:
            yield from self._redis.ask(ends, "SET", key, serializer.dumps(data), "EX", timeout)
        else:
            yield from self._redis.ask(ends, "DEL", key)

    @stepwise
    def merge(self, session_id: str, changes: Changes, timeout: int) -> CallSteps[SessionData]:
        """Apply ``changes`` to the stored data and return the result, or ``{}`` if the session no
        longer exists.
        """
        old, new = self._prefix + session_id, self._prefix + (changes.new_id or session_id)
        owner = secrets.token_hex(8)
        # The text that was loaded before the handler ran saves a GET. Another request may have
        # replaced it since then, so a first failure doesn't count.
        stored, failures = getattr(changes.loaded, "text", None), -1
        ends = monotonic() + _TIMEOUT
        if stored is None:
            stored, failures = (yield from self._redis.ask(ends, "GET", old)), 0
        while loaded := serializer.loads_stored(stored):
            data = changes.apply(loaded)
            claim = _CLAIM if failures >= _PATIENCE else ""
            text = serializer.dumps(data) if data else ""
            keys = (old, new, f"{old}\0claim")  # no id has a NUL
            swap = _SWAP, keys, stored, text, timeout, owner, claim
            stored = yield from self._redis.run_steps(ends, *swap)
            if stored == 1:
                return data
            # Another request has changed the session first. One of the competing requests
            # always succeeds, and a random delay separates the others.
            failures += 1
            pause = random.uniform(0, min(0.005 * failures, 0.05))  # noqa: S311 - no secret
            yield partial(time.sleep, pause)
        changes.was_applied = False  # at most to the text that was stored before
        return {}

    def ping(self) -> None:
        """Raise ``ConnectionError`` if Redis is unavailable, full or a replica. ``App.health``
        calls this.
        """
        with self._redis.reached() as client:
            client.set(self._prefix, "", px=1)  # no session has this key

    def close(self) -> None:
        """Close this process's connections; the next request opens new ones."""
        self._redis.close()
