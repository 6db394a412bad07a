"""GCRA, the generic cell rate algorithm (ITU-T I.371), and stores for its numbers.

The store keeps one number for each client: the time at which its requests so far would end if they came evenly,
``per / limit`` seconds apart. A request moves that time on by ``per / limit``. A request that would move it more than
``per`` ahead of now is refused, and moves nothing. So ``limit`` requests may come together, then one each
``per / limit`` seconds; any ``t`` seconds have at most ``limit + t * limit / per``.

A count per window would let twice the limit through at the edge of a window, and shut a client out until its end.
A log of requests would keep ``limit`` numbers for each client.

Times are whole microseconds, so that additions lose nothing; Lua's doubles hold them until the year 2255.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any, NamedTuple

from micropie.errors import check, is_count

MICROSECONDS = 1_000_000


class Quota(NamedTuple):
    """A client's state after a request. Times are in seconds from now."""

    allowed: bool
    limit: int
    remaining: int
    """How many more requests are allowed now."""
    full_after: float
    """When ``limit`` requests are allowed again."""
    retry_after: float
    """When the next request is allowed; 0 if this one was."""


def interval_of(limit: int, per: float) -> int:
    """Return the microseconds between two requests at an even pace."""
    return int(per * MICROSECONDS) // limit


def quota_of(allowed: bool, ahead: int, limit: int, interval: int) -> Quota:
    """Make the quota. ``ahead``: how far the client's number is ahead of now, in microseconds."""
    left = limit * interval - ahead
    retry_after = 0 if allowed else interval - left
    return Quota(allowed, limit, left // interval, ahead / MICROSECONDS, retry_after / MICROSECONDS)


class RateStore:
    """The base of stores. Derive your own from it; ``hit`` may be ``def`` or ``async def``.

    ``blocking``: whether a ``def`` may wait for I/O; it then runs in a worker thread under asgi. ``hit`` raises
    ``OSError`` (``ConnectionError``, ``TimeoutError``) if the store is out of reach. ``App.health`` calls a method
    ``ping()``, if there is one, which raises an exception in that case.
    """

    blocking = True

    def hit(self, key: str, limit: int, per: float) -> Any:
        """Count a request of ``key`` in one transaction, unless it is refused. Return a ``Quota``."""
        raise NotImplementedError("a store of rates has a method hit(key, limit, per)")


class MemoryRates(RateStore):
    """Keep rates in this process's memory: each worker process counts separately.

    It holds at most ``capacity`` clients, about 200 bytes each, and drops the least recent first. ``clock`` returns
    seconds that never go back.
    """

    blocking = False

    def __init__(self, *, capacity: int = 100_000, clock: Callable[[], float] = time.monotonic) -> None:
        check("MemoryRates(capacity=...)", is_count(capacity, least=1), capacity, "a whole number, 1 or more")
        check("MemoryRates(clock=...)", callable(clock), clock, "a function that returns seconds")
        self._capacity = capacity
        self._clock = clock
        self._lock = Lock()
        # The least recent client is the first.
        self._until: OrderedDict[str, int] = OrderedDict()

    def hit(self, key: str, limit: int, per: float) -> Quota:
        """Count a request of ``key``, unless it is refused."""
        interval = interval_of(limit, per)
        with self._lock:
            now = int(self._clock() * MICROSECONDS)
            until = max(self._until.pop(key, now), now)
            allowed = until + interval - now <= limit * interval
            if allowed:
                until += interval
            self._until[key] = until
            # At most two for each request: that keeps up, and no request pays for all the others.
            for _ in range(2):
                oldest = next(iter(self._until))
                if self._until[oldest] > now and len(self._until) <= self._capacity:
                    break
                del self._until[oldest]
        return quota_of(allowed, until - now, limit, interval)
