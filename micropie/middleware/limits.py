"""Limits of a process's work: of the requests that it answers at once, and of the time for each.

A request above ``ConcurrencyLimit`` is refused at once, and not after a wait. ``Timeout`` only sets
a limit, which the flow enforces (``execution.steps.Limited``).
"""

from __future__ import annotations

from functools import partial
from threading import Semaphore

from micropie.errors import HTTPError, check, is_count, is_duration
from micropie.http import Request, Response
from micropie.middleware.base import FlowMiddleware


class ConcurrencyLimit(FlowMiddleware):
    """Answer ``limit`` requests at once, in each worker process.

    Others get 503 with ``Retry-After`` immediately.

    A server that takes more work than it can do answers everything late, and much of it to clients
    that have given up. ``retry_after``: seconds that refused clients are told to wait, 1 by
    default. A request counts until the head of its answer is ready: streams, which last for as long
    as their clients want, don't. Nor do WebSockets.
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
        # The attribute of a request that counts: there may be several limits, of an outer and an
        # inner application.
        self._mark = f"_counts_for_{id(self)}"

    def before(self, request: Request) -> None:
        """Count the request. Raises 503 if there are too many."""
        if not self._free.acquire(blocking=False):
            raise HTTPError(
                503,
                "Too many requests at once. Please try again later.",
                [("Retry-After", self._retry_after)],
            )
        vars(request)[self._mark] = True
        # for one without an answer: its client has left
        request.on_close(partial(self._release, request))

    def after(self, request: Request, response: Response) -> None:
        """Let the next one in."""
        self._release(request)

    def _release(self, request: Request) -> None:
        if vars(request).pop(self._mark, False):
            self._free.release()


class Timeout(FlowMiddleware):
    """Abandon a handler after ``seconds``, with 503 and a line in the log.

    The innermost limit counts.

    An ``async def`` is cancelled. A ``def`` continues in its thread, which can't be stopped, and
    its result is discarded: set time-outs for the databases and services that it calls. Under wsgi
    the handler runs in another thread than the server's, and the process starts its event loop. The
    time begins at the call and includes the wait for a free thread. Handlers with
    ``@run_in("loop")`` and generators are not limited.
    """

    statuses = (503,)

    def __init__(self, seconds: float) -> None:
        check("Timeout(seconds)", is_duration(seconds), seconds, "seconds above 0")
        self._seconds = seconds

    def before(self, request: Request) -> None:
        """Set the limit."""
        request._exchange.time_limit = self._seconds
