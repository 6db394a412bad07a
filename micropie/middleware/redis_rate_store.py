"""A store for rate limits in Redis, which several machines can share."""

from __future__ import annotations

from collections.abc import Callable

from micropie import SetupError
from micropie.extensions import RedisClient
from micropie.middleware.rate_limit import MICROSECONDS, Quota, RateStore, interval_of, quota_of

# Seconds after which a server that doesn't respond counts as unavailable. This is short, because
# each request waits for the server.
_TIMEOUT = 1.0

# Redis runs this script atomically. KEYS[1] is the key under which the client's time is stored (see
# rate_limit.py). ARGV has three numbers of microseconds: the interval, the maximum by which the
# client's time may be ahead of the current time, and the current time. "" as the current time means
# Redis's own clock, which all machines share. If that clock is set back, or differs on a new
# primary, the client's time may be further ahead. It is then ignored, because it would lock the
# client out for as long. A value of another program, which is no number, is replaced. As an error,
# it would count as an outage for all clients.
_HIT = """
local interval, most, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local stored = redis.pcall('GET', KEYS[1])
if type(stored) == 'table' and not string.find(stored.err, 'WRONGTYPE') then return stored end
local ends = math.max(now, tonumber(stored) or now)
if ends - now > most then ends = now end
if ends + interval - now > most then return {0, ends - now} end
ends = ends + interval
redis.call('SET', KEYS[1], ends, 'PX', math.ceil((ends - now) / 1000))
return {1, ends - now}
"""


class RedisRates(RateStore):
    """A store in the Redis server at ``url`` (``redis://localhost:6379/0``), under keys that begin
    with ``prefix``.

    Any number of workers and machines can share it. Redis deletes a client's entry when it has
    expired. The URL may list Sentinels: ``redis+sentinel://one:26379,two:26379/mymaster/0``.

    ``clock``: a function that returns the seconds since 1970; None means Redis's own clock.

    Raises ``SetupError`` for a malformed URL, and if redis-py isn't installed.
    """

    def __init__(
        self, url: str, *, prefix: str = "rate:", clock: Callable[[], float] | None = None
    ) -> None:
        if isinstance(clock, type) or not (clock is None or callable(clock)):
            raise SetupError(
                f"RedisRates(clock=...) takes a function that returns seconds, not {clock!r}"
            )
        self._redis = RedisClient("RedisRates", url, _TIMEOUT, prefix)
        self._prefix = prefix
        self._clock = clock

    def hit(self, key: str, limit: int, per: float) -> Quota:
        """Count a request for ``key``, unless it exceeds the limit.

        Raises ``ConnectionError`` if Redis is unavailable.
        """
        interval = interval_of(limit, per)
        now = "" if self._clock is None else int(self._clock() * MICROSECONDS)
        keys = (self._prefix + key,)
        allowed, ahead = self._redis.run(_HIT, keys, interval, limit * interval, now)
        return quota_of(bool(allowed), ahead, limit, interval)

    def ping(self) -> None:
        """Raise ``ConnectionError`` if Redis is unavailable, full or a replica. ``App.health``
        calls this.
        """
        with self._redis.reached() as client:
            client.set(self._prefix, "", px=1)

    def close(self) -> None:
        """Close this process's connections. The next request opens new ones."""
        self._redis.close()
