"""Rate limits: 429 for clients with too many requests (RFC 6585, section 4).

The algorithm is GCRA, the generic cell rate algorithm (ITU-T I.371). A store has one number for
each client: the time at which the client's next request would come if requests came evenly, ``per /
limit`` seconds apart. Each request moves the stored time forward by ``per / limit``. A request that
would move it more than ``per`` seconds into the future is rejected, and the time stays as it is. So
a client may send ``limit`` requests together, then one every ``per / limit`` seconds. In any ``t``
seconds, it may send at most ``limit + t * limit / per`` requests.

Counting requests per time window would allow twice the limit around the edge of a window, and block
a client until the window's end. A log of requests would need ``limit`` numbers for each client.

Times are whole microseconds, so that additions are exact. Lua's doubles can represent them exactly
until the year 2255.
"""

from __future__ import annotations

import hashlib
import inspect
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import lru_cache, partial
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from itertools import count
from threading import Lock
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar, cast
from weakref import WeakKeyDictionary

from micropie import App, HTTPError, Request, Response, SetupError
from micropie.extensions import Inspector, Outage, Sentence
from micropie.middleware.base import (
    Call,
    Flow,
    FlowMiddleware,
    ServiceThreads,
    call,
    has_not_run,
    is_def,
    kind_of,
    sees_first,
)

Target = TypeVar("Target")
_Kind: TypeAlias = Literal["await", "loop", "inline"] | Call

# The request's attribute that stores its quota. With several limits it is the quota with the fewest
# requests remaining.
_QUOTA = "_quota"

_TOO_MANY = (
    "Too many requests. Please try again in {count} second.",
    "Too many requests. Please try again in {count} seconds.",
)

# The well-known prefix for IPv4 addresses inside IPv6 (RFC 6052, section 2.1).
_NAT64 = IPv6Network("64:ff9b::/96")

_LONGEST = 366 * 24 * 3600  # the longest period in seconds

# In characters. If a key, which may come from a client, is longer, its end is replaced by a digest.
_LONGEST_KEY = 128


_made = count()  # numbers the limits of this process
# by outermost application, the beginning of each limit's keys
_prefixes: WeakKeyDictionary[object, dict[RateLimit, str]] = WeakKeyDictionary()


class RateLimit(FlowMiddleware):
    """Allow ``limit`` requests in ``per`` seconds for each client, or for each ``key``. Further
    requests get a 429 with ``Retry-After``.

    A client may send all ``limit`` requests together; after that, it may send one every ``per /
    limit`` seconds. Every response has ``RateLimit-Limit``, ``RateLimit-Remaining`` and
    ``RateLimit-Reset`` (seconds until the whole limit is available). With several limits, the
    headers describe the one with the fewest requests remaining.

    - ``key``: a function that takes the request and returns a string or a number. Requests with the
      same key are counted together. The function runs inline and must not block. None means the
      client's address, see below.
    - ``store``: ``MemoryRates()`` (each process counts separately), or ``RedisRates(url)`` (all
      machines count together). None means the store of ``App(rates=...)``, or memory if that isn't
      set; each outermost application has its own. Each limit has its own counts in the store.
    - ``exempt``: a function that takes the request and returns True if the request should not be
      counted.
    - ``when_unreachable``: what happens while the store is unavailable. ``"allow"`` lets all
      requests through; ``"refuse"`` rejects them with a 503, for limits that security depends on.
      The beginning and the end of an outage are logged. During an outage, one request at a time
      tries the store again.

    An IPv6 client is counted by its /64 network, because it can use every address in this network.
    If the address embeds an IPv4 address (IPv4-mapped, 6to4, Teredo, NAT64), the IPv4 address is
    counted instead. Behind a proxy the address is the proxy's, unless ``ProxyHeaders`` comes before
    this middleware.

    As a decorator of a handler or an ``App`` class, ``@RateLimit(5, per=60)`` counts only requests
    to this handler or ``App``. If one object decorates several handlers, their requests are counted
    together.

    WebSocket handshakes and requests to mounted applications are counted too, unless you set the
    attribute ``guards`` to False.
    """

    guards = True

    def __init__(
        self,
        limit: int,
        per: float = 60,
        *,
        key: Callable[[Request], object] | None = None,
        store: RateStore | None = None,
        exempt: Callable[[Request], bool] | None = None,
        when_unreachable: str = "allow",
    ) -> None:
        if type(limit) is not int or limit < 1:
            raise SetupError(f"RateLimit(limit) takes a whole number, 1 or more, not {limit!r}")
        if type(per) not in (int, float) or not 0 < per <= _LONGEST:
            raise SetupError(
                "RateLimit(per=...) takes a number of seconds above 0 and at most a year, not "
                f"{per!r}"
            )
        if limit > per * MICROSECONDS:
            raise SetupError(
                f"RateLimit(limit) takes at most a million requests a second, not {limit!r} in "
                f"{per!r} seconds"
            )
        for name, function in (("key", key), ("exempt", exempt)):
            is_right = not isinstance(function, type) and is_def(function, 1)
            if function is not None and not is_right:
                raise SetupError(
                    f"RateLimit({name}=...) takes a def function that doesn't block, has one "
                    f"argument, the request, and no yield, not {function!r}"
                )
        if store is not None and (
            isinstance(store, type) or not callable(getattr(store, "hit", None))
        ):
            raise SetupError(
                f"RateLimit(store=...) takes MemoryRates() or RedisRates(url), not {store!r}"
            )
        if when_unreachable not in ("allow", "refuse"):
            raise SetupError(
                'RateLimit(when_unreachable=...) takes "allow" or "refuse", '
                f"not {when_unreachable!r}"
            )
        self._limit = limit
        self._per = per
        self._key = key or client_address
        self._target = ""  # the name of the first target
        self._number = next(_made)
        self._exempt = exempt
        # ``key`` and ``exempt`` may read the session
        self.needs_session = key is not None or exempt is not None
        self.store = store
        # whether ``App.health`` checks the store of ``App(rates=...)``
        self.needs_rates = store is None and when_unreachable == "refuse"
        self._of_app: WeakKeyDictionary[object, tuple[RateStore, _Kind, str]] = WeakKeyDictionary()
        self._refuses = when_unreachable == "refuse"
        self.statuses = (429, 503) if self._refuses else (429,)
        # Called by ``App.health``. It is None for "allow", because such a limit works without its
        # store.
        self.ping: Callable[[], object] | None = (
            getattr(store, "ping", None) if self._refuses else None
        )
        self._outage = Outage("RateLimit: the rate store", ", so requests are not counted")

    def __call__(self, target: Target) -> Target:
        """Limit only requests to ``target``, a handler or an application."""
        super().__call__(target)
        # Use the name of the first target for all targets, because they are counted together.
        self._target = self._target or _name_of(target)
        return target

    def before(self, request: Request) -> Flow[None]:
        """Count the request once.

        Raises 429, and 503 if the store is unavailable and ``when_unreachable`` is "refuse".
        """
        if not sees_first(self, request):
            return
        if self._exempt is not None and _unless_deferred("exempt", self._exempt(request)):
            return
        store, kind, prefix = self._of_app.get(request.app) or self._find_store(request.app)
        counting = call(
            kind,
            store.hit,
            prefix + _text(self._key(request)),
            self._limit,
            self._per,
        )
        quota: Quota | None = None  # stays None if the store is unavailable
        with suppress(OSError):
            quota = yield from self._outage.watch(counting)
        if quota is not None:
            least: Quota | None = vars(request).get(_QUOTA)
            if least is None or quota.remaining <= least.remaining:
                vars(request)[_QUOTA] = quota
            if not quota.allowed:
                seconds = max(1, math.ceil(quota.retry_after))
                raise HTTPError(
                    429, Sentence(*_TOO_MANY, count=seconds), [("Retry-After", str(seconds))]
                )
        elif self._refuses:
            raise HTTPError(
                503, "Please try again later.", [("Retry-After", f"{Outage.retry_after:.0f}")]
            )

    def _find_store(self, app: App) -> tuple[RateStore, _Kind, str]:
        """Return the store for an application's requests, the kind of step that calls the store,
        and the beginning of the keys.
        """
        inspector = Inspector(app)
        root = inspector.applications()[0]
        stores = self.store, cast("RateStore | None", root.settings.rates), MemoryRates()
        store = next(one for one in stores if one is not None)
        blocking = Call(ServiceThreads(), leave_after=None)
        kind = kind_of(store.hit, blocking if getattr(store, "blocking", True) else "inline")
        # All applications of a tree use the same store in memory.
        found = self._of_app.setdefault(root.app, (store, kind, self._prefix_in(inspector)))
        self._of_app[app] = found
        return found

    def _prefix_in(self, inspector: Inspector) -> str:
        """Return the beginning of this limit's keys in a tree, which is the same in all workers and
        after a restart. A limit keeps it, whichever limits are added later.
        """
        applications = inspector.applications()
        root = applications[0].app
        known = _prefixes.setdefault(root, {})
        if self in known:  # reading all routes takes long, and each route may have a limit
            return known[self]
        of_routes = (entry.application for entry in inspector.all_routes())
        places = [
            (hook, hook._target or f"{_name_of(type(one.app))} {one.path}")
            for one in [*applications, *of_routes]
            for hook in one.middlewares
            if isinstance(hook, RateLimit)
        ]
        # Two threads may name the limits at the same time, and give them the same names.
        taken, alike = {*known.copy().values()}, dict[str, Iterator[str]]()
        # another middleware may call this limit
        for limit, place in [*places, (self, f"{_name_of(type(root))} {self._number}")]:
            if limit not in known:
                # Limits that are alike share an iterator, because a loop may make many of them.
                numbered = partial(limit._named, place)
                named = alike.setdefault(numbered(0), map(numbered, count()))
                known.setdefault(limit, next(one for one in named if one not in taken))
            taken.add(known[limit])
        return known[self]

    def _named(self, place: str, number: int) -> str:
        """Return the beginning of this limit's keys. ``number`` separates limits that are alike.

        The two parts have no colon, so no such beginning is the beginning of another one.
        """
        parts = repr((place, _name_of(self._key), number))
        return (
            f"{self._limit}/{float(self._per)}:{hashlib.sha256(parts.encode()).hexdigest()[:16]}:"
        )

    def kept_in_memory(self, app: App) -> dict[str, str]:
        """Return advice for several workers if this process counts an application's requests in its
        memory; see ``micropie check``.
        """
        is_shared = not isinstance(self._find_store(app)[0], MemoryRates)
        return {} if is_shared else {"rate limits": 'write App(rates=RedisRates("redis://..."))'}

    def after(self, request: Request, response: Response) -> None:
        """Add the headers that describe the quota."""
        quota: Quota | None = vars(request).get(_QUOTA)
        # another RateLimit may have added these headers
        if quota is not None and "RateLimit-Limit" not in response.headers:
            response.pairs += [
                ("RateLimit-Limit", str(quota.limit)),
                ("RateLimit-Remaining", str(quota.remaining)),
                ("RateLimit-Reset", str(math.ceil(quota.full_after))),
            ]


def _name_of(named: object) -> str:
    """Return the full name of a class or a function, or that of an object's class."""
    owner: Any = named if hasattr(named, "__qualname__") else type(named)
    return f"{owner.__module__}.{owner.__qualname__}"


def client_address(request: Request) -> str:
    """Return the default key: the client's address (for IPv6, its network), or ``unix`` for a
    client without an address.
    """
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
    embedded = address.ipv4_mapped or address.sixtofour
    if embedded is None and address.teredo is not None:
        embedded = address.teredo[1]
    if embedded is None and address in _NAT64:
        embedded = IPv4Address(int(address) & 0xFFFFFFFF)
    return str(embedded or f"{IPv6Address(int(address) >> 64 << 64)}/64")


def _unless_deferred(argument: str, result: object) -> object:
    """Return the result of a function. Raise ``TypeError`` if it has to be awaited, or comes from
    a yield: as a key, it would be another one for each request, and it counts as true.
    """
    if has_not_run(result):
        raise TypeError(
            f"the {argument} function of RateLimit returned a {type(result).__name__}: write it "
            "without yield"
        )
    if not isinstance(result, Awaitable):
        return result
    if inspect.iscoroutine(result):
        result.close()
    raise TypeError(
        f"the {argument} function of RateLimit returned a {type(result).__name__}, but this "
        f"function can't be async: await the value in a hook before RateLimit, and read it in "
        f"{argument}=lambda request: request.state..."
    )


def _text(key: object) -> str:
    if type(key) is not str:
        _unless_deferred("key", key)
    if key is None:
        raise TypeError(
            "the key function of RateLimit returned None: return a key, or "
            "exclude the request with exempt="
        )
    text = str(key)
    if len(text) <= _LONGEST_KEY:
        return text
    # The result is longer than any key that isn't shortened, so a client can't choose another
    # client's key.
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return text[:_LONGEST_KEY] + digest


MICROSECONDS = 1_000_000


class Quota(NamedTuple):
    """How many requests a client may still send after the current one, and when. Times are in
    seconds from now.
    """

    allowed: bool
    limit: int
    remaining: int
    """How many more requests are allowed now."""
    full_after: float
    """Seconds until ``limit`` requests are allowed again."""
    retry_after: float
    """Seconds until the next request is allowed; 0 if this one was."""


def interval_of(limit: int, per: float) -> int:
    """Return the microseconds between two requests if ``limit`` requests are spread evenly over
    ``per`` seconds.
    """
    return int(per * MICROSECONDS) // limit


def quota_of(allowed: bool, ahead: int, limit: int, interval: int) -> Quota:
    """Return a client's quota. ``ahead``: the microseconds by which the client's stored time is
    ahead of now.
    """
    left = limit * interval - ahead
    retry_after = 0 if allowed else interval - left
    return Quota(allowed, limit, left // interval, ahead / MICROSECONDS, retry_after / MICROSECONDS)


class RateStore:
    """The base class of rate stores. Derive a custom store from it.

    - ``hit``: a ``def`` or an ``async def``. It raises ``OSError`` (``ConnectionError``,
      ``TimeoutError``) if the store is unavailable.
    - ``blocking``: whether a ``def hit`` may wait for I/O. Such a ``hit`` runs in a worker thread
      under ASGI.
    - ``ping()``: an optional method, which ``App.health`` calls. It raises an exception if the
      store is unavailable.
    """

    blocking = True

    def hit(self, key: str, limit: int, per: float) -> Any:
        """Count a request for ``key``, unless it exceeds the limit. Return a ``Quota``. Concurrent
        calls must all be counted.
        """
        raise NotImplementedError("a rate store needs a method hit(key, limit, per)")


class MemoryRates(RateStore):
    """A store in this process's memory, so each worker process counts separately.

    - ``capacity``: the maximum number of clients that are stored, about 200 bytes each. If there
      are more clients, those without a request for the longest time are dropped.
    - ``clock``: a function that returns a time in seconds, which must never go back.
    """

    blocking = False

    def __init__(
        self, *, capacity: int = 100_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if type(capacity) is not int or capacity < 1:
            raise SetupError(
                f"MemoryRates(capacity=...) takes a whole number, 1 or more, not {capacity!r}"
            )
        if isinstance(clock, type) or not callable(clock):
            raise SetupError(
                f"MemoryRates(clock=...) takes a function that returns seconds, not {clock!r}"
            )
        self._capacity = capacity
        self._clock = clock
        self._lock = Lock()
        # Ordered by last use, the least recent client first.
        self._until: OrderedDict[str, int] = OrderedDict()

    def hit(self, key: str, limit: int, per: float) -> Quota:
        """Count a request for ``key``, unless it exceeds the limit."""
        interval = interval_of(limit, per)
        with self._lock:
            now = int(self._clock() * MICROSECONDS)
            until = max(self._until.pop(key, now), now)
            allowed = until + interval - now <= limit * interval
            if allowed:
                until += interval
            self._until[key] = until
            # Remove at most two expired clients for each request: enough to keep up, without a long
            # pause.
            for _ in range(2):
                oldest = next(iter(self._until))
                if self._until[oldest] > now and len(self._until) <= self._capacity:
                    break
                del self._until[oldest]
        return quota_of(allowed, until - now, limit, interval)
