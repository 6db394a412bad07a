"""Limits for each process: how many requests it handles at once, how long a request may have
waited, and how long a handler may take.

``ConcurrencyLimit`` rejects requests above its limit immediately instead of queueing them.
``Timeout`` only sets a limit, which the request flow enforces (``call_within``).
"""

from __future__ import annotations

from functools import partial
from math import inf
from threading import Semaphore
from time import monotonic, time

from micropie._core.errors import HTTPError, check, is_count, is_duration, logger, too_many_waiting
from micropie._core.execution import StandingQueue
from micropie._core.http import Request, Response
from micropie._core.on_demand import pattern
from micropie.middleware.base import FlowMiddleware, call_at_start, sees_first


class ConcurrencyLimit(FlowMiddleware):
    """Handle at most ``limit`` requests at once in each worker process. Further requests
    immediately get a 503 with ``Retry-After``.

    A server that accepts more requests than it can handle responds late to all of them, often to
    clients that no longer wait. ``retry_after``: the seconds in ``Retry-After``, 1 by default. A
    request is counted until its response starts, so open streams and WebSockets don't count.
    """

    statuses = (503,)

    def __init__(self, limit: int, *, retry_after: int = 1) -> None:
        check(
            "ConcurrencyLimit(limit)", is_count(limit, least=1), limit, "a whole number, 1 or more"
        )
        fine = is_count(retry_after, least=1)
        check("ConcurrencyLimit(retry_after=...)", fine, retry_after, "whole seconds, 1 or more")
        self._free = Semaphore(limit)
        self._retry_after = str(retry_after)
        # The attribute that is set on a counted request. Each limit uses a different name, because
        # an outer and an inner application may each have a limit.
        self._mark = f"_counts_for_{id(self)}"

    def before(self, request: Request) -> None:
        """Count the request once, even if this object is in the outer and in the inner application.
        Raises 503 if there are too many requests.
        """
        if self._mark in vars(request):
            return
        if not self._free.acquire(blocking=False):
            raise HTTPError(
                503,
                "Too many requests at once. Please try again later.",
                [("Retry-After", self._retry_after)],
            )
        vars(request)[self._mark] = True
        # ``after`` isn't called if the client disconnects before the response.
        request.on_close(partial(self._release, request))

    def after(self, request: Request, response: Response) -> None:
        """Stop counting the request when its response starts."""
        call_at_start(request, response, partial(self._release, request))

    def _release(self, request: Request, _: Response | None = None) -> None:
        if vars(request).pop(self._mark, False):
            self._free.release()


# In seconds. If all requests were rejected during two periods of ``_PERIOD``, and the shortest
# waits of the two periods differ by at most ``_SAME``, the cause is a difference between clocks
# rather than a queue.
_PERIOD = 1.0
_SAME = 0.05

_START = pattern(r"(?:t=)?([0-9]{10,16}(?:\.[0-9]{1,9})?)")
_LAST_SECOND = 10**10  # in the year 2286; a larger number is in milliseconds or microseconds


class LoadShedding(FlowMiddleware):
    """While requests arrive faster than the server can handle them, reject those that have waited
    too long, with a 503 and ``Retry-After``.

    Otherwise an overloaded server responds late to everybody, and most clients have given up by
    then. ``LoadShedding`` takes no arguments. It starts to reject requests when waits have been too
    long for a second and aren't becoming shorter. (After a burst or a pause of the machine, they
    become shorter.) It then rejects each request that has waited for at least a quarter of a
    second, and for at least as long as five requests take (as in CoDel, RFC 8289).

    In the header ``X-Request-Start``, the proxy sends the time at which a request arrived: ``t=``
    and the time since 1970 in seconds, milliseconds or microseconds. So the measured wait includes
    the queues of the operating system and the server, which servers don't report. Requests without
    the header are never rejected.

    If the server's clock is ahead of the proxy's, all requests seem to have waited and would be
    rejected. But the wait in a real queue changes, while a difference between clocks stays the
    same. So if the shortest wait stays the same for two seconds, the middleware logs a warning and
    subtracts this wait from all waits. Put ``LoadShedding`` first in ``middlewares``, so that
    rejecting a request takes little time.
    """

    guards = True
    statuses = (503,)

    def __init__(self) -> None:
        self._queue = StandingQueue()
        # While all requests are rejected: the start of the current period, its shortest wait, and
        # the shortest wait of the period before. The three numbers are one tuple, which threads can
        # replace atomically.
        self._refusing = (0.0, inf, inf)
        self._clocks_differ_by = 0.0

    def before(self, request: Request) -> None:
        """Raise 503 if the request has waited too long. Count the request once."""
        waited, now = self._stated_wait(request), monotonic()
        if waited is None or not sees_first(self, request):
            return
        if not self._queue.makes_late(waited, now):
            self._refusing = (now, inf, inf)
        elif self._refuses(waited, now):
            # Without these refusals, the queue for threads would grow.
            request._exchange.config.threads.refusals.shed_at = now
            raise too_many_waiting()

    def _refuses(self, waited: float, now: float) -> bool:
        """Return whether a late request is refused: always, unless the waits are due to a
        difference between clocks.
        """
        began, least, least_before = self._refusing
        if now - began < _PERIOD:
            self._refusing = (began, min(least, waited), least_before)
            return True
        self._refusing = (now, waited, least)
        if not abs(least - least_before) <= _SAME:  # written with "not" because inf - inf is NaN
            return True
        self._clocks_differ_by += least
        logger.warning(
            "LoadShedding: all requests seem to be %.1f seconds old, so perhaps the clocks of "
            "the proxy and of this machine differ",
            self._clocks_differ_by,
        )
        return False

    def _stated_wait(self, request: Request) -> float | None:
        """Return the seconds since the time in ``X-Request-Start``, or None if the header is
        missing or malformed.
        """
        found = _START.fullmatch(request.headers.get("x-request-start", ""))
        if found is None:
            return None
        began = float(found[1])
        while began > _LAST_SECOND:
            began /= 1000
        waited = max(time() - began, 0.0)
        self._clocks_differ_by = min(self._clocks_differ_by, waited)
        return waited - self._clocks_differ_by


class Timeout(FlowMiddleware):
    """Abandon a handler after ``seconds``: the client gets a 503, and the timeout is logged.

    If several timeouts apply to a handler, the innermost one counts.

    An ``async def`` is cancelled. A ``def`` continues in its thread, which can't be stopped; its
    result is discarded. So set timeouts for the databases and services that the handler calls.
    Under WSGI the handler runs in another thread than the server's, and the process starts a
    background event loop. If a handler waits for the request body, the client gets the 503 at once,
    but the server's thread is free only when the read has ended, because reading from the server's
    socket can't be interrupted. The time includes the wait for a free thread. Handlers with
    ``@run_in("loop")``, generators and, under WSGI, mounted WSGI applications are not limited.
    """

    statuses = (503,)

    def __init__(self, seconds: float) -> None:
        check("Timeout(seconds)", is_duration(seconds), seconds, "seconds above 0")
        self._seconds = seconds

    def before(self, request: Request) -> None:
        """Set the request's time limit."""
        request._exchange.limit_time(self._seconds)
