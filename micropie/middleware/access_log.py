"""A line in the log for each request, when it is over."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime
from time import perf_counter, time
from typing import Any

from micropie.errors import check
from micropie.http.request import Request
from micropie.http.response import Response
from micropie.middleware.base import FlowMiddleware

# What stands in a line of text as it is. All else is quoted: nobody may begin a line, or another field, of the log.
_PLAIN = re.compile(r"[!#-<>-\[\]-~]+")  # visible ASCII, but for the double quote, "=" and the backslash

# nginx's: the client closed the connection before it was answered. No such status is ever sent.
NO_ANSWER = 499


class AccessLog(FlowMiddleware):
    """Logs one line for each request, level INFO, after its last byte. Put it first, or behind ``RequestId``.

    ``logger``: a logger, or its name. ``format``: ``"text"`` for ``name=value`` pairs (logfmt), ``"json"`` for one
    JSON object; either way the values are attributes of the log record as well. ``query``: whether the path is
    logged with its query, where secrets may be.

    The values: ``time`` when the request began, ISO 8601 in UTC; ``client`` its address; ``method``; ``path``;
    ``status``, 499 if there was nobody to answer; ``bytes`` of the body, nothing for a stream that did not announce
    its length; ``duration_ms`` from here until the server was done with the answer (wsgi: until it closed it);
    ``request_id``; ``route`` the handler's name; ``broken_off`` if the answer did not get to its end.
    """

    def __init__(
        self,
        *,
        logger: str | logging.Logger = "micropie.access",
        format: str = "text",  # noqa: A002 - what it is called everywhere
        query: bool = False,
    ) -> None:
        check("AccessLog(format=...)", format in _FORMATS, format, '"text" or "json"')
        check("AccessLog(query=...)", isinstance(query, bool), query, "True or False")
        fine = isinstance(logger, str | logging.Logger)
        check("AccessLog(logger=...)", fine, logger, "a logger or its name")
        self._logger = logging.getLogger(logger) if isinstance(logger, str) else logger
        self._format = _FORMATS[format]
        self._query = query

    def before(self, request: Request) -> None:
        """Start the clock."""
        request.on_close(_Line(self, request, perf_counter()))

    def after(self, request: Request, response: Response) -> None:
        """Have a line also for what a middleware outside of this one answered before it."""
        if not any(isinstance(closer, _Line) and closer.log is self for closer in request.closers or ()):
            request.on_close(_Line(self, request, None))

    def write(self, request: Request, began: float | None) -> None:
        """Log a request that is over. ``began``: ``perf_counter`` then, None if nobody looked."""
        if self._logger.isEnabledFor(logging.INFO):
            seconds = None if began is None else perf_counter() - began
            values = _values(request, seconds, self._query)
            self._logger.info("%s", self._format(values), extra=values)


class _Line:
    """The line that is to be written when its request is over."""

    __slots__ = ("_began", "_request", "log")

    def __init__(self, log: AccessLog, request: Request, began: float | None) -> None:
        self.log = log
        self._request = request
        self._began = began

    def __call__(self) -> None:
        self.log.write(self._request, self._began)


def _values(request: Request, seconds: float | None, with_query: bool) -> dict[str, Any]:
    client, query = request.client, request.query_string if with_query else ""
    return {
        "time": _iso(time() - (seconds or 0)),
        "client": client.host if client is not None else None,
        "method": request.method,
        "path": f"{request.path}?{query}" if query else request.path,
        "status": NO_ANSWER if request.status is None else request.status,
        "bytes": _bytes_sent(request),
        "duration_ms": None if seconds is None else round(seconds * 1000, 3),
        "request_id": request.id or None,
        "route": request.route.name if request.route is not None else None,
        "broken_off": request.broken_off,
    }


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _bytes_sent(request: Request) -> int | None:
    if request.broken_off:
        return None
    return 0 if request.method == "HEAD" or request.status in (204, 304) else request.length


def _text(values: dict[str, Any]) -> str:
    said = ((name, value) for name, value in values.items() if value is not None and value is not False)
    return " ".join(f"{name}={_quoted(value)}" for name, value in said)


def _quoted(value: Any) -> str:
    text = "true" if value is True else str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)  # which escapes all that is not visible ASCII


_FORMATS: dict[str, Callable[[dict[str, Any]], str]] = {"text": _text, "json": json.dumps}
