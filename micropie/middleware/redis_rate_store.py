"""Rates in Redis, for many machines."""

from __future__ import annotations

from collections.abc import Callable

from micropie.errors import check
from micropie.execution.redis_client import RedisClient
from micropie.middleware.rate_store import MICROSECONDS, Quota, RateStore, interval_of, quota_of

# Seconds until a server that does not answer is out of reach. Every request waits for this one, so not for long.
_PATIENCE = 1.0

# One step for everybody: KEYS is the client's number; ARGV the interval, the most it may be ahead, and now ("" for
# Redis's own clock, which all machines share), in microseconds.
_TAKE = """
local interval, most, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local ends = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
if ends + interval - now > most then return {0, ends - now} end
ends = ends + interval
redis.call('SET', KEYS[1], ends, 'PX', math.ceil((ends - now) / 1000))
return {1, ends - now}
"""


class RedisRates(RateStore):
    """In the Redis server at ``url``, ``redis://localhost:6379/0``, under keys that begin with ``prefix``.

    For any number of workers and machines. Redis forgets a client when its time is over. ``clock``: seconds since
    1970, None for Redis's own clock. Raises ``SetupError`` for what is no URL, and where redis-py is missing.
    """

    def __init__(self, url: str, *, prefix: str = "rate:", clock: Callable[[], float] | None = None) -> None:
        check("RedisRates(prefix=...)", isinstance(prefix, str), prefix, "text")
        check("RedisRates(clock=...)", clock is None or callable(clock), clock, "a function that returns seconds")
        self._redis = RedisClient("RedisRates", url, _PATIENCE)
        self._prefix = prefix
        self._clock = clock

    def hit(self, key: str, limit: int, per: float) -> Quota:
        """Count a request of ``key``, unless it is refused. Raises ``ConnectionError`` if Redis is out of reach."""
        interval = interval_of(limit, per)
        now = "" if self._clock is None else int(self._clock() * MICROSECONDS)
        with self._redis.reached() as client:
            allowed, ahead = client.eval(_TAKE, 1, self._prefix + key, interval, limit * interval, now)
        return quota_of(bool(allowed), ahead, limit, interval)

    def close(self) -> None:
        """Close this process's connections; the next request opens them anew."""
        self._redis.close()
