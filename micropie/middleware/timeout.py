"""A time limit for handlers. This middleware sets it; the flow enforces it (``execution.steps.Limited``)."""

from __future__ import annotations

from micropie.errors import check, is_duration
from micropie.http import Request
from micropie.middleware.base import FlowMiddleware


class Timeout(FlowMiddleware):
    """Abandon a handler after ``seconds``, with 503 and a line in the log. The innermost limit counts.

    An ``async def`` is cancelled. A ``def`` continues in its thread, which can't be stopped, and its result is
    discarded: set time-outs for the databases and services that it calls. Under wsgi the handler runs in another
    thread than the server's, and the process starts its event loop. The time begins at the call and includes the
    wait for a free thread. ``@inline`` handlers and generators are not limited.
    """

    def __init__(self, seconds: float) -> None:
        check("Timeout(seconds)", is_duration(seconds), seconds, "seconds above 0")
        self._seconds = seconds

    def before(self, request: Request) -> None:
        """Set the limit."""
        request._exchange.time_limit = self._seconds
