"""A time limit for handlers. The flow keeps it (``steps.Limited``); here it is only set."""

from __future__ import annotations

from micropie.errors import check, is_duration
from micropie.http.request import Request
from micropie.middleware.base import FlowMiddleware


class Timeout(FlowMiddleware):
    """A handler that takes longer than ``seconds`` is given up: 503 and a line in the log. The innermost counts.

    An ``async def`` is cancelled. A ``def`` runs on in its thread, which nothing can end, and what it returns is
    thrown away: give the clients of databases and services that it uses time-outs of their own. Under wsgi it runs
    on a thread beside the server's, and the process starts its event loop. The time counts from the call, with the
    wait for a free thread. ``@inline`` handlers and generators are not limited.
    """

    def __init__(self, seconds: float) -> None:
        check("Timeout(seconds)", is_duration(seconds), seconds, "seconds above 0")
        self._seconds = seconds

    def before(self, request: Request) -> None:
        """Set the limit."""
        request.time_limit = self._seconds
