"""Server-sent events: encode events, and send them with ``EventStream``, a response that stays open
until its source ends.

https://html.spec.whatwg.org/multipage/server-sent-events.html, section 9.2.5, defines the format. A
line ends with CR, LF or both, and an empty line ends the event. So data with several lines is sent
as several ``data`` lines, and a line break in a name or an id raises an error.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from functools import cache, lru_cache, partial
from inspect import iscoroutinefunction
from typing import Any, cast

from micropie._core.errors import HeadersLike, is_duration, logger
from micropie._core.execution import refuse_greenlets
from micropie._core.http import Response
from micropie._core.http.headers import add_missing
from micropie._core.http.json import dumps
from micropie._core.http.protocols import ChunkedBody
from micropie._core.on_demand import pattern
from micropie._core.streams.source import (
    HEART_BEAT,
    MEDIA_TYPE,
    EventRules,
    LoopStream,
    ShutdownSignal,
    Stream,
    current_shutdown,
    entered,
    has_events,
)
from micropie._core.streams.threaded import EventsFromThread

HEARTBEAT = 15.0  # seconds; many proxies close a connection after 30 or 60 seconds of silence

CONTENT_TYPE = f"{MEDIA_TYPE}; charset=utf-8"

_LINE_END = pattern("\r\n|\r|\n")
_FORBIDDEN = pattern("[\r\n\0]")


class Event(bytes):
    """An encoded event, as returned by ``event``."""

    __slots__ = ()


def event(
    data: object,
    event: str | None = None,
    id: str | int | None = None,  # noqa: A002
    retry: int | None = None,
) -> Event:
    """Return an encoded event.

    - ``data``: a str, a value that is sent as JSON, or None for no data. Browsers ignore an event
      without data, so one with a name gets the data "".
    - ``event``: the event's name; by default, browsers use "message".
    - ``id``: the event's id. A client that reconnects sends the last id as ``Last-Event-ID``.
    - ``retry``: milliseconds that the client waits before it reconnects.

    Raises ``ValueError`` for a name or an id with a line break or NUL, and for a ``retry`` that is
    not a whole number of 0 or more. Raises ``TypeError`` if ``data`` is bytes, and for a name or an
    id that is not a string. Raises ``CodecError`` for data that JSON can't represent.
    """
    lines = []
    if event is not None:
        lines.append(f"event: {_checked('event', event)}")
    if id is not None:
        lines.append(f"id: {_checked('id', str(id) if type(id) is int else id)}")
    if retry is not None:
        if type(retry) is not int or retry < 0:
            raise ValueError(
                f"retry must be a whole number of milliseconds, 0 or more, not {retry!r}"
            )
        lines.append(f"retry: {retry}")
    if data is None and event is not None:
        data = ""
    if data is not None:
        if isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(
                "an event's data must be text or JSON, not bytes: decode them, or send base64"
            )
        text = data if isinstance(data, str) else dumps(data).decode()
        lines.append(_data_lines(text))
    return Event("\n".join([*lines, "", ""]).encode()) if lines else Event()


def _data_lines(text: str) -> str:
    """Return ``text`` as an event's data, with the field's name before each line."""
    return "data: " + _LINE_END.sub("\ndata: ", text)


# cached, because the streams of all clients that subscribe to a channel encode the same message
@lru_cache(maxsize=1)
def _encode_text(text: str) -> bytes:
    if text.endswith("\n\n") and text.startswith("data:"):
        warn_of_format()
    return f"{_data_lines(text)}\n\n".encode()


@cache  # cached, so that it warns only once
def warn_of_format() -> None:
    logger.warning(
        'an event source yielded text that begins with "data:", which micropie adds itself: '
        "yield only the data, or event(data)"
    )


def encode_item(item: object) -> bytes:
    """Return the bytes of an event for an item of an event source. An ``Event`` is returned
    unchanged; anything else becomes an event's data.
    """
    if item.__class__ is str:
        return _encode_text(item)
    if isinstance(item, Event):
        return bytes(item)
    if isinstance(item, dict) and "data" in item and item.keys() <= _FIELDS:
        warn_of_dict()
    return bytes(event(item))


def encode_mapped(function: Callable[[Any], object], item: object) -> bytes:
    """Encode the result of ``function(item)`` as an event. Return b"" if the result is None. If the
    item is an ``Event``, return it unchanged.
    """
    mapped = item if isinstance(item, Event) else function(item)
    return b"" if mapped is None else encode_item(mapped)


_FIELDS = {"event", "data", "id", "retry", "comment"}


@cache  # cached, so that it warns only once
def warn_of_dict() -> None:
    logger.warning(
        "an event source yielded a dict of an event's fields, but the whole dict is sent as JSON "
        'data: to set the fields, yield event(...), such as event(data, event="tick")'
    )


# With these headers, servers and proxies don't buffer events.
_UNBUFFERED = (
    # With no-transform, proxies don't compress (RFC 9111, section 5.2.2.6). A compressor would
    # collect a whole block before it sends anything.
    ("Cache-Control", "no-cache, no-transform"),
    # nginx's proxy module buffers responses without this header.
    ("X-Accel-Buffering", "no"),
)


def _checked(field: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"an event's {field} must be text, not {type(value).__name__}")
    if _FORBIDDEN.search(value):
        raise ValueError(f"an event's {field} has a line end or NUL in it: {value!r}")
    return value


class EventStream(Response):
    """Server-sent events: a response that a handler returns, such as ``EventStream(self.ticks())``.

    - ``source``: a generator or iterator, ``async`` or not, or a subscription to channels. Each
      item is a str, a value that is sent as JSON, or a result of ``event(data, event=, id=,
      retry=)``.
    - ``heartbeat`` (15): seconds of silence after which a comment is sent, so that proxies don't
      close the connection and the server notices if the client has disconnected. None means never.
    - ``send_timeout`` (None): seconds that the client may take to receive an event. After that, the
      stream is aborted. None means no limit.
    - ``headers``: sent in addition to the headers that keep proxies from buffering the events.
    - ``map``: a plain function that takes an item and returns the item to send instead, or None to
      send nothing. It is not called for an item made by ``event(...)``.

    The stream ends when its source ends, when the client disconnects, and when the server shuts
    down. Raises ``TypeError`` for a source that can't be iterated over and for a ``map`` that is
    not a plain function. Raises ``ValueError`` unless ``heartbeat`` and ``send_timeout`` are above
    0 or None.
    """

    __slots__ = ()

    def __init__(
        self,
        source: AsyncIterable[object] | Iterable[object],
        heartbeat: float | None = HEARTBEAT,
        headers: HeadersLike = (),
        map: Callable[[Any], object] | None = None,  # noqa: A002 - named like the built-in ``map``
        send_timeout: float | None = None,
    ) -> None:
        if map is not None and (not callable(map) or iscoroutinefunction(map)):
            raise TypeError(
                f"EventStream(map=...) takes a def function (no async def), not {map!r}"
            )
        for name, given in (("heartbeat", heartbeat), ("send_timeout", send_timeout)):
            if given is not None and given != HEARTBEAT and not is_duration(given):
                raise ValueError(
                    f"{name} must be a number of seconds above 0, or None, not {given!r}"
                )
        if "gevent.monkey" in sys.modules or "uwsgi" in sys.modules:
            refuse_greenlets()  # raise an error before the response has started
        rules = EventRules(heartbeat, current_shutdown() or ShutdownSignal(), send_timeout)
        # Enter a subscription before the response starts, so that the client misses no message.
        body = LoopStream(_items_of(source, map is None), hasattr(source, "__aenter__"), rules)
        body.encode = encode_item if map is None else partial(encode_mapped, map)
        super().__init__(body, 200, headers, CONTENT_TYPE)
        add_missing(self.pairs, _UNBUFFERED)


def taken_apart(response: Response) -> tuple[Callable[[Any], EventStream], Iterator[Event]]:
    """Return a function that can be pickled and makes an ``EventStream``, and the encoded events to
    pass to it. A process of the pool sends these in place of ``response``.
    """
    items, rules, encode = response.body.items, response.body.events, response.body.encode
    if not isinstance(items, EventsFromThread):
        raise TypeError("in the process pool, EventStream takes a generator that is written as def")
    wrap = partial(
        EventStream,
        heartbeat=rules.heartbeat,
        headers=response.pairs,
        send_timeout=rules.send_timeout,
    )

    def encoded() -> Iterator[Event]:
        try:
            for item in items.events:
                yield Event(encode(item))
        finally:
            getattr(items.events, "close", int)()

    return wrap, encoded()


def follow_events(stream: Stream, replaced: ChunkedBody | None, response: Response) -> None:
    """If ``stream`` has replaced the body of an ``EventStream`` and sends events too, make it send
    heartbeats and end at shutdown, as the replaced body would have done.

    ``replaced``: the body that a hook has replaced with ``stream``.
    """
    events = replaced.events if isinstance(replaced, Stream) else None
    is_other = isinstance(stream, LoopStream) and stream.events is None
    if events is not None and is_other and has_events(response):
        stream.follow(events, "Content-Encoding" in response.headers)


def _items_of(
    source: AsyncIterable[object] | Iterable[object], as_text: bool
) -> AsyncIterator[object]:
    """Return an async iterator over the items of a source. The source is a subscription to
    channels, an async iterable or a sync iterable.

    ``as_text``: whether a subscription's messages may be text that its subscribers share.
    """
    if hasattr(source, "__aenter__"):  # a subscription to channels
        return entered(source, Event(HEART_BEAT), as_text)
    if hasattr(source, "__aiter__"):
        return cast("AsyncIterable[object]", source).__aiter__()
    if not hasattr(source, "__iter__") or isinstance(source, str | bytes | dict):
        call = f": write {source.__name__}()" if hasattr(source, "__name__") else ""
        raise TypeError(
            f"EventStream takes a generator or another iterable of events, not {source!r}{call}"
        )
    return EventsFromThread(iter(source))
