"""An id for each request, by which a client's complaint, an answer and the lines of logs find each other."""

from __future__ import annotations

import logging
import re
import secrets

from micropie.errors import check
from micropie.execution.context import current
from micropie.http.request import Request
from micropie.http.response import Response
from micropie.middleware.base import FlowMiddleware

# Nothing in it that a log, a header or a page would have to escape.
_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_HEADER = re.compile(r"[A-Za-z0-9-]+")


class RequestId(FlowMiddleware):
    """Gives each request an id: ``request.id``, and ``header`` of its answer.

    The log lines of failures have it, and so has the page of an unhandled error. ``trust``: take what the request
    brings in ``header``, 1 to 128 letters, digits, dots, underscores and hyphens; for applications behind a proxy
    that sets it, as anybody may send one. Otherwise, and where it brings none, it is 128 random bits in hexadecimal.
    Put it first, so that all the others know it; a second one, in an inner application, changes nothing.
    """

    def __init__(self, *, header: str = "X-Request-ID", trust: bool = False) -> None:
        fine = isinstance(header, str) and _HEADER.fullmatch(header) is not None
        check("RequestId(header=...)", fine, header, "a header's name, such as X-Request-ID")
        check("RequestId(trust=...)", isinstance(trust, bool), trust, "True or False")
        self._header = header
        self._trust = trust

    def before(self, request: Request) -> None:
        """Name the request."""
        if not request.id:
            request.id = self._brought(request) or secrets.token_hex(16)

    def after(self, request: Request, response: Response) -> None:
        """Tell the client; also where a middleware outside of this one answered before it."""
        self.before(request)
        response.headers[self._header] = request.id

    def _brought(self, request: Request) -> str:
        value = request.headers.get(self._header, "") if self._trust else ""
        return value if _ID.fullmatch(value) else ""


class RequestIdFilter(logging.Filter):
    """Gives log records the attribute ``request_id``: the current request's id, ``-`` outside of requests.

    It belongs on a handler, which sees the records of all loggers: ``handler.addFilter(RequestIdFilter())``; then
    ``%(request_id)s`` may stand in the format.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Name the record's request, unless it has one; lets every record through."""
        if not getattr(record, "request_id", None):  # the access log names it: its request is over by then
            request = current.get(None)
            record.request_id = (request.id if request is not None else "") or "-"
        return True
