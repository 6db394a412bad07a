"""A limit of the requests that are answered at once. What is more is refused at once, and not after a wait."""

from __future__ import annotations

from functools import partial
from threading import Semaphore

from micropie.errors import HTTPError, check, is_count
from micropie.http import Request, Response
from micropie.middleware.base import FlowMiddleware


class ConcurrencyLimit(FlowMiddleware):
    """Answer ``limit`` requests at once, in each worker process. Others get 503 with ``Retry-After`` immediately.

    A server that takes more work than it can do answers everything late, and much of it to clients that have given up.
    ``retry_after``: seconds that refused clients are told to wait, 1 by default. A request counts until the head of
    its answer is ready: streams, which last for as long as their clients want, don't. Nor do WebSockets.
    """

    def __init__(self, limit: int, *, retry_after: int = 1) -> None:
        check("ConcurrencyLimit(limit)", is_count(limit, least=1), limit, "a whole number, 1 or more")
        fine = is_count(retry_after, least=1)
        check("ConcurrencyLimit(retry_after=...)", fine, retry_after, "whole seconds, 1 or more")
        self._free = Semaphore(limit)
        self._retry_after = str(retry_after)
        # The attribute of a request that counts: there may be several limits, of an outer and an inner application.
        self._mark = f"_counts_for_{id(self)}"

    def before(self, request: Request) -> None:
        """Count the request. Raises 503 if there are too many."""
        if not self._free.acquire(blocking=False):
            raise HTTPError(
                503, "Too many requests at once. Please try again later.", [("Retry-After", self._retry_after)]
            )
        vars(request)[self._mark] = True
        request.on_close(partial(self._release, request))  # for one without an answer: its client has left

    def after(self, request: Request, response: Response) -> None:
        """Let the next one in."""
        self._release(request)

    def _release(self, request: Request) -> None:
        if vars(request).pop(self._mark, False):
            self._free.release()
