"""Access logging: one line for each finished request."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from time import perf_counter, time

from micropie._core.errors import FLAG, check, check_each
from micropie._core.http import Request, Response
from micropie.middleware.base import FlowMiddleware, sees_first

# Matches a value that is logged without quotes: visible ASCII except the double quote, "=" and the
# backslash. All other values are quoted, so that a client can't start a new line or field in the
# log.
_PLAIN = re.compile(r"[!#-<>-\[\]-~]+")

# Matches characters that are escaped in the attributes of log records: control characters,
# including line ends, and characters that change the direction of the text that follows.
_NOT_SEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)

# nginx's status for a client that disconnected before it got a response. This status is logged but
# never sent.
NO_ANSWER = 499


class AccessLog(FlowMiddleware):
    """Log one line at level INFO for each request, after the last byte of its response.

    Put it first, or after ``RequestId``.

    - ``logger``: a logger, or its name.
    - ``format``: ``"text"`` for ``name=value`` pairs (logfmt), ``"json"`` for one JSON object.
    - ``query``: whether to log the query string with the path. It may contain secrets.

    These values are logged:

    - ``time``: when the request began (ISO 8601, UTC).
    - ``client``: the client's address.
    - ``method``, ``path`` and ``request_id``.
    - ``status``: the status, or 499 if the client disconnected before the response.
    - ``bytes``: the size of the body. A stream without a Content-Length has no such value.
    - ``duration_ms``: the time from this middleware to the end of the response. Under WSGI, the
      response ends when the server closes it.
    - ``route``: the handler's name.
    - ``broken_off``: true if the response was not sent completely.

    The values are also attributes of the log record, with control characters escaped, so that a log
    format can use them.
    """

    def __init__(
        self,
        *,
        logger: str | logging.Logger = "micropie.access",
        format: str = "text",  # noqa: A002 - the usual name of this setting
        query: bool = False,
    ) -> None:
        check(
            "AccessLog(format=...)",
            isinstance(format, str) and format in _FORMATS,
            format,
            '"text" or "json"',
        )
        check_each("AccessLog", *FLAG, query=query)
        check_each("AccessLog", str | logging.Logger, "a logger or its name", logger=logger)
        self._logger = logging.getLogger(logger) if isinstance(logger, str) else logger
        self._format = _FORMATS[format]
        self._query = query

    def before(self, request: Request) -> None:
        """Record the start time."""
        self._write_later(request, perf_counter())

    def after(self, request: Request, response: Response) -> None:
        """If outer middleware sent the response, log the request here, because ``before`` was not
        called.
        """
        self._write_later(request, None)

    def _write_later(self, request: Request, began: float | None) -> None:
        """Log the request at its end, once."""
        if sees_first(self, request):
            request.on_close(partial(self._write, request, began))

    def _write(self, request: Request, began: float | None) -> None:
        """Log a finished request.

        ``began``: the ``perf_counter`` at the start of the request, or None if ``before`` was not
        called.
        """
        logger = self._logger
        if not logger.isEnabledFor(logging.INFO):
            return
        seconds = None if began is None else perf_counter() - began
        client, query = request.client, request.query_string if self._query else ""
        sent = 0 if request.method == "HEAD" or request.status in (204, 304) else request.length
        began_at = datetime.fromtimestamp(time() - (seconds or 0), UTC)
        values: dict[str, object] = {
            "time": began_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "client": client.host if client is not None else None,
            "method": request.method,
            "path": f"{request.path}?{query}" if query else request.path,
            "status": NO_ANSWER if request.status is None else request.status,
            "bytes": None if request.broken_off else sent,
            "duration_ms": None if seconds is None else round(seconds * 1000, 3),
            "request_id": request.id or None,
            "route": request.route.name if request.route is not None else None,
            "broken_off": request.broken_off,
        }
        line = self._format(values)
        for name, value in values.items():
            # Text from a client must not start a new line in the log, whatever the log's format.
            if value.__class__ is str and not value.isprintable():
                values[name] = _NOT_SEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", value)
        record = logger.makeRecord(logger.name, logging.INFO, __file__, 0, "%s", (line,), None)
        # Don't use ``extra``, which refuses a name that the program's record factory has set, such
        # as ``request_id``. The factory's value stays if the request has none.
        found = vars(record)
        found |= {n: v for n, v in values.items() if v is not None or n not in found}
        logger.handle(record)


def _text(values: dict[str, object]) -> str:
    fields = []
    for name, value in values.items():
        if value is not None and value is not False:
            text = "true" if value is True else str(value)
            # json.dumps escapes everything except visible ASCII.
            fields.append(f"{name}={text if _PLAIN.fullmatch(text) else json.dumps(text)}")
    return " ".join(fields)


_FORMATS: dict[str, Callable[[dict[str, object]], str]] = {"text": _text, "json": json.dumps}
