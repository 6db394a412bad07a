"""How often somebody may still come: GCRA, the generic cell rate algorithm (ITU-T I.371), and the memory it needs.

Of each client one number is kept, the moment until which its requests would last if they came evenly, ``per / limit``
seconds apart. A request moves it on by that much; one that would move it further than ``per`` ahead of now is refused
and moves nothing. So ``limit`` requests may come at once, and after that one each ``per / limit`` seconds; in any
``t`` seconds there are never more than ``limit + t * limit / per``.

Why not a count per window: twice the limit comes through in an instant at its edge, and a client that used it up is
shut out until it ends. Why not a log of requests: it keeps ``limit`` numbers for each client.

Time is in whole microseconds, so that nothing is lost in adding up; Lua's doubles hold them until the year 2255.
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
    """What is left to somebody after a request. Times are in seconds from now."""

    allowed: bool
    limit: int
    remaining: int
    """How many more may come at once."""
    full_after: float
    """When ``limit`` may come at once again."""
    retry_after: float
    """When the next one may come; 0 if ``allowed``."""


def interval_of(limit: int, per: float) -> int:
    """Microseconds from one request to the next, at an even pace."""
    return int(per * MICROSECONDS) // limit


def quota_of(allowed: bool, ahead: int, limit: int, interval: int) -> Quota:
    """``ahead``: how far the client's number is ahead of now, in microseconds."""
    left = limit * interval - ahead
    retry_after = 0 if allowed else interval - left
    return Quota(allowed, limit, left // interval, ahead / MICROSECONDS, retry_after / MICROSECONDS)


class RateStore:
    """Where the numbers are kept. Derive from it to keep them elsewhere; ``hit`` may be ``def`` or ``async def``.

    ``blocking`` says whether a ``def`` may wait for something; then it runs in a worker thread under asgi. A ``hit``
    that can't reach what it needs raises ``OSError`` (``ConnectionError``, ``TimeoutError``).
    """

    blocking = True

    def hit(self, key: str, limit: int, per: float) -> Any:
        """Count a request of ``key``, unless it is refused; in one transaction. Returns a ``Quota``."""
        raise NotImplementedError("a store of rates has a method hit(key, limit, per)")


class MemoryRates(RateStore):
    """In this process's memory: each worker counts for itself.

    At most ``capacity`` clients are kept, some 200 bytes each; the one that came longest ago goes first. ``clock``
    gives seconds that never go back.
    """

    blocking = False

    def __init__(self, *, capacity: int = 100_000, clock: Callable[[], float] = time.monotonic) -> None:
        check("MemoryRates(capacity=...)", is_count(capacity, least=1), capacity, "a whole number, 1 or more")
        check("MemoryRates(clock=...)", callable(clock), clock, "a function that returns seconds")
        self._capacity = capacity
        self._clock = clock
        self._lock = Lock()
        # The one that came longest ago comes first.
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
            self._sweep(now)
        return quota_of(allowed, until - now, limit, interval)

    def _sweep(self, now: int) -> None:
        # Two at most, for each one that comes: it keeps up, and no request pays for all the others.
        for _ in range(2):
            oldest = next(iter(self._until))
            if self._until[oldest] > now and len(self._until) <= self._capacity:
                break
            del self._until[oldest]
