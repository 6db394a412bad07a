"""Request ids, which connect a response with its log lines."""

from __future__ import annotations

import logging
import os
import re

from micropie._core.errors import FLAG, check, check_each
from micropie._core.execution import current
from micropie._core.http import Request, Response
from micropie.middleware.base import FlowMiddleware

# Matches an id of characters that need no escape in a log, a header or a page.
_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_HEADER = re.compile(r"[A-Za-z0-9-]+")


class RequestId(FlowMiddleware):
    """Give each request and each WebSocket an id: ``request.id``, also sent as the response's
    ``header``.

    - ``header``: the name of the header that contains the id.
    - ``trust``: whether to take the id from the request's ``header`` if that has 1 to 128 letters,
      digits, dots, underscores and hyphens. Use it only behind a proxy that sets the header,
      because any client may send one. Without ``trust`` or a valid header, the id is 128 random
      bits in hexadecimal.

    The log lines of errors contain the id, and so do the error page and the reason with which a
    WebSocket is closed after an unhandled exception. Put this first, so that all other middleware
    sees the id. A second ``RequestId``, in an inner application, changes nothing.
    """

    guards = True  # to see WebSocket handshakes

    def __init__(self, *, header: str = "X-Request-ID", trust: bool = False) -> None:
        fine = isinstance(header, str) and _HEADER.fullmatch(header) is not None
        check("RequestId(header=...)", fine, header, "a header's name, such as X-Request-ID")
        check_each("RequestId", *FLAG, trust=trust)
        self._header = header
        self._trust = trust

    def before(self, request: Request) -> None:
        """Set the request's id, unless it has one."""
        if not request.id:
            received = request.headers.get(self._header, "") if self._trust else ""
            request.id = received if _ID.fullmatch(received) else os.urandom(16).hex()

    def after(self, request: Request, response: Response) -> None:
        """Send the id, even if outer middleware sent the response before ``before`` was called."""
        if not request.id:
            self.before(request)
        response.headers[self._header] = request.id


class RequestIdFilter(logging.Filter):
    """Give log records the attribute ``request_id``: the current request's id, ``-`` outside of
    requests.

    Add it to a logging handler, because a handler sees the records of all loggers:
    ``handler.addFilter(RequestIdFilter())``. The format can then contain ``%(request_id)s``.
    ``name``: as for ``logging.Filter``.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Set the record's ``request_id``, unless it has one. Always return True."""
        # The access log sets the id itself, because it creates its records after the request has
        # ended.
        if not getattr(record, "request_id", None):
            request = current.get(None)
            record.request_id = (request.id if request is not None else "") or "-"
        return True
