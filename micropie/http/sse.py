"""Server-sent events as text: https://html.spec.whatwg.org/multipage/server-sent-events.html, section 9.2.5.

A line ends with CR, LF or both, and an empty one ends the event. So nothing that comes from outside may bring a line
end along: data is split and sent line by line; a name or an id with one in it is an error.
"""

from __future__ import annotations

import re
from typing import Any

from micropie.http.headers import MutableHeaders
from micropie.http.json import dumps

CONTENT_TYPE = "text/event-stream; charset=utf-8"

_LINE_END = re.compile("\r\n|\r|\n")
_FORBIDDEN = re.compile("[\r\n\0]")


class Event(bytes):
    """One event as it is sent; what ``event`` and ``comment`` return."""

    __slots__ = ()


def event(data: Any, event: str | None = None, id: str | int | None = None, retry: int | None = None) -> Event:  # noqa: A002
    """One event. ``data`` is text, or anything that JSON can say; None for none.

    ``event`` is its name ("message" to the browser if there is none), ``id`` what a client that comes back sends as
    ``Last-Event-ID``, ``retry`` the milliseconds that it waits before it does. Raises ``ValueError`` for a name or an
    id with a line end or NUL in it and for a ``retry`` that is no whole number, ``TypeError`` for what is no text, and
    ``CodecError`` for data that is no JSON.
    """
    lines = []
    if event is not None:
        lines.append(f"event: {_checked('event', event)}")
    if id is not None:
        lines.append(f"id: {_checked('id', str(id) if type(id) is int else id)}")
    if retry is not None:
        if type(retry) is not int or retry < 0:
            raise ValueError(f"retry is a whole number of milliseconds, 0 or more, not {retry!r}")
        lines.append(f"retry: {retry}")
    if data is not None:
        lines += [f"data: {line}" for line in _LINE_END.split(_text(data))]
    return Event("".join(f"{line}\n" for line in [*lines, ""]).encode()) if lines else Event()


def comment(text: str = "") -> Event:
    """A line that clients ignore; every line of ``text`` one of its own."""
    return Event("".join(f": {line}\n" for line in _LINE_END.split(text)).encode() + b"\n")


def as_event(item: Any) -> Event:
    """What a source of events gave: what ``event`` returned, else the data of one."""
    return item if isinstance(item, Event) else event(item)


def stream_headers(headers: MutableHeaders) -> None:
    """Add what keeps servers and proxies from holding events back, save what the author said himself."""
    # no-transform: a proxy that compresses collects a block before it sends one (RFC 9111, section 5.2.2.6).
    headers.setdefault("Cache-Control", "no-cache, no-transform")
    # nginx would buffer otherwise: its proxy module's X-Accel-Buffering.
    headers.setdefault("X-Accel-Buffering", "no")


def _text(data: Any) -> str:
    if isinstance(data, str):
        return data
    if isinstance(data, bytes | bytearray | memoryview):
        raise TypeError("an event's data is text or JSON, not bytes: decode them, or send base64")
    return dumps(data).decode()


def _checked(field: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"an event's {field} is text, not {type(value).__name__}")
    if _FORBIDDEN.search(value):
        raise ValueError(f"an event's {field} has a line end or NUL in it: {value!r}")
    return value
