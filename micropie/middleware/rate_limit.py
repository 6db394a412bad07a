"""So many requests in so much time, then 429 (RFC 6585, section 4). How it counts: ``rates.py``."""

from __future__ import annotations

import hashlib
import inspect
import logging
import math
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from threading import Lock
from time import monotonic
from typing import Any

from micropie.errors import HTTPError, check, is_count, is_duration
from micropie.execution.steps import INLINE, IO, Flow, call, kind_of
from micropie.http.request import Request
from micropie.http.response import Response
from micropie.middleware.base import FlowMiddleware
from micropie.middleware.rate_store import MICROSECONDS, MemoryRates, Quota, RateStore

logger = logging.getLogger("micropie")

# Seconds after which a store that was out of reach is asked again, by one request.
_PAUSE = 5.0

_LONGEST = 366 * 24 * 3600  # seconds

_LONGEST_KEY = 128  # characters; of a longer one, perhaps a client's own invention, a digest is kept


class RateLimit(FlowMiddleware):
    """At most ``limit`` requests in ``per`` seconds from each client, or from whomever ``key`` names; then 429.

    All of ``limit`` may come at once; from then on one is allowed each ``per / limit`` seconds. Every answer says what
    is left: ``RateLimit-Limit``, ``RateLimit-Remaining``, ``RateLimit-Reset`` (seconds until all of it is); a 429 has
    ``Retry-After``. With several, the answer speaks of the one that leaves the least.

    ``key``: a function of the request that names who is counted, as text or a number; it runs in line and must not
    wait. None for the client's address: an IPv6 client is its /64 network, where it has more addresses than there
    are requests; behind a proxy the address is the proxy's, unless ``ProxyHeaders`` stands before this one.
    ``exempt``: a function of the request; what it says True to is not counted.

    ``store``: ``MemoryRates()`` (each process counts for itself), or ``RedisRates(url)`` (all machines together). Two
    limits of the same numbers on one store count together. ``when_unreachable``: what happens while the store is out
    of reach: ``"allow"``, as nobody should be shut out by it, or ``"refuse"`` with 503, where the limit protects
    something. An outage is logged once, and costs one request each 5 seconds the wait for the store.
    """

    def __init__(
        self,
        limit: int,
        per: float = 60,
        *,
        key: Callable[[Request], Any] | None = None,
        store: RateStore | None = None,
        exempt: Callable[[Request], bool] | None = None,
        when_unreachable: str = "allow",
    ) -> None:
        check("RateLimit(limit)", is_count(limit, least=1), limit, "a whole number, 1 or more")
        check("RateLimit(per=...)", is_duration(per) and per <= _LONGEST, per, "seconds above 0, a year at most")
        check("RateLimit(limit)", limit <= per * MICROSECONDS, limit, "a million requests a second at most")
        for name, function in (("key", key), ("exempt", exempt)):
            fine = function is None or (callable(function) and not inspect.iscoroutinefunction(function))
            check(f"RateLimit({name}=...)", fine, function, "a def function of the request, which must not wait")
        fine = store is None or (not isinstance(store, type) and callable(getattr(store, "hit", None)))
        check("RateLimit(store=...)", fine, store, "MemoryRates() or RedisRates(url)")
        fine = when_unreachable in ("allow", "refuse")
        check("RateLimit(when_unreachable=...)", fine, when_unreachable, '"allow" or "refuse"')
        self._limit = limit
        self._per = per
        self._prefix = f"{limit}/{per:g}:"
        self._key = key or client_address
        self._exempt = exempt
        store = MemoryRates() if store is None else store
        self._take = store.hit
        self._kind = kind_of(store.hit, IO if getattr(store, "blocking", True) else INLINE)
        self._refuses = when_unreachable == "refuse"
        self._outage = _Outage()

    def before(self, request: Request) -> Flow[None]:
        """Count the request. Raises 429, and 503 if the store is out of reach and that is to be refused."""
        if self._exempt is not None and self._exempt(request):
            return
        quota = yield from self._ask(self._prefix + _text(self._key(request)))
        if quota is not None:
            if request.quota is None or quota.remaining <= request.quota.remaining:
                request.quota = quota
            if not quota.allowed:
                raise _too_many(quota.retry_after)
        elif self._refuses:
            raise HTTPError(503, "Please try again later.", [("Retry-After", f"{_PAUSE:.0f}")])

    def after(self, request: Request, response: Response) -> None:
        """Say what is left."""
        quota = request.quota
        if quota is not None and "RateLimit-Limit" not in response.headers:  # another one may have said it
            response.headers.pairs += [
                ("RateLimit-Limit", str(quota.limit)),
                ("RateLimit-Remaining", str(quota.remaining)),
                ("RateLimit-Reset", str(math.ceil(quota.full_after))),
            ]

    def _ask(self, key: str) -> Flow[Quota | None]:
        """None if the store is out of reach."""
        if self._outage.lasts():
            return None
        try:
            quota: Quota = yield from call(self._kind, self._take, key, self._limit, self._per)
        except OSError as error:
            self._outage.begin(error)
            return None
        self._outage.end()
        return quota


def _too_many(retry_after: float) -> HTTPError:
    seconds = max(1, math.ceil(retry_after))
    unit = "second" if seconds == 1 else "seconds"
    return HTTPError(429, f"Too many requests. Please try again in {seconds} {unit}.", [("Retry-After", str(seconds))])


class _Outage:
    """Whether the store is out of reach. After each pause one request is to try it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._is_on = False
        self._next_try = 0.0

    def lasts(self) -> bool:
        """Whether not to ask the store now."""
        if not self._is_on:
            return False
        with self._lock:
            now = monotonic()
            if now < self._next_try:
                return True
            self._next_try = now + _PAUSE  # the others wait for what this one finds
            return False

    def begin(self, error: OSError) -> None:
        """The store could not be reached."""
        with self._lock:
            is_new, self._is_on = not self._is_on, True
            self._next_try = monotonic() + _PAUSE
        if is_new:
            logger.error("RateLimit: the store of rates is out of reach, nothing is counted: %s", error)

    def end(self) -> None:
        """The store has answered."""
        if self._is_on:
            self._is_on = False
            logger.warning("RateLimit: the store of rates is back")


def client_address(request: Request) -> str:
    """Who is counted by default: the client's address, of IPv6 its network; ``unix`` for one that has none."""
    client = request.client
    return "unix" if client is None else _network(client.host)


@lru_cache(maxsize=4096)
def _network(host: str) -> str:
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if isinstance(address, IPv4Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) >> 64 << 64)}/64"


def _text(key: Any) -> str:
    if key is None:
        raise TypeError("the key function of RateLimit returned None: everybody whom it can't name would be one client")
    text = str(key)
    return text if len(text) <= _LONGEST_KEY else hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
