"""The HTTP client on which the test clients are based: httpx2 or, if it is not installed, its
predecessor httpx with httpx-sse.

httpx is supported until micropie 1.2. Annotations use httpx2's types.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Self

from micropie.testing.errors import AppTimeout

if TYPE_CHECKING:
    import httpx2 as httpx
    from httpx2 import EventSource, ServerSentEvent, SSEError

    HeaderPairs = Sequence[tuple[str, str]] | Sequence[tuple[bytes, bytes]]
    HeaderTypes = httpx.Headers | Mapping[str, str] | Mapping[bytes, bytes] | HeaderPairs
else:
    try:
        import httpx2 as httpx
        from httpx2 import EventSource, ServerSentEvent, SSEError
    except ModuleNotFoundError:
        import httpx
        from httpx_sse import EventSource, ServerSentEvent, SSEError


__all__ = [
    "Events",
    "event_headers",
    "httpx",
]


_LINE_END = re.compile("\r\n|\r|\n")


class _EventParser:
    """A push parser of server-sent events, as browsers have it: an event without a ``data`` line
    only sets the id (HTML, section 9.2.6). The parsers of httpx2 and httpx-sse return such events.

    Raises ``SSEError`` if the response has another media type.
    """

    def __init__(self, response: httpx.Response) -> None:
        media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "text/event-stream":
            raise SSEError(f"the response has the media type {media_type!r}, not text/event-stream")
        self._rest = ""  # the beginning of a line
        self._data: list[str] = []
        self._name = self._id = ""
        self._retry: int | None = None

    def feed(self, text: str) -> Iterator[ServerSentEvent]:
        """Yield the events that end in the next text."""
        text = self._rest + text
        cut = len(text.removesuffix("\r"))  # a line feed may follow
        *lines, rest = _LINE_END.split(text[:cut])
        self._rest = rest + text[cut:]
        for line in lines:
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if not line:
                if self._data:
                    name = self._name or "message"
                    yield ServerSentEvent(name, "\n".join(self._data), self._id, self._retry)
                self._data, self._name, self._retry = [], "", None
            elif field == "data":
                self._data.append(value)
            elif field == "event":
                self._name = value
            elif field == "id" and "\0" not in value:
                self._id = value
            elif field == "retry" and value.isascii() and value.isdigit():
                self._retry = int(value)


class Events(EventSource):
    """An iterator over the server-sent events of a response, as a browser dispatches them:
    ``next(events)``, ``await anext(events)``. It raises ``AppTimeout`` if no event comes within
    ``timeout`` seconds, however many heartbeats do.

    Creating it raises ``httpx2.HTTPStatusError`` for an error response.
    """

    def __init__(self, response: httpx.Response, timeout: float) -> None:
        super().__init__(response.raise_for_status())
        self._timeout = timeout
        self._events = self._parsed()
        self._async_events = self._parsed_async()

    # These yield None after each piece of text. The time is checked outside of them, because trio
    # warns of generators that an exception leaves unfinished.

    def _parsed(self) -> Iterator[ServerSentEvent | None]:
        parser = _EventParser(self.response)
        for text in self.response.iter_text():
            yield from parser.feed(text)
            yield None

    async def _parsed_async(self) -> AsyncIterator[ServerSentEvent | None]:
        parser = _EventParser(self.response)
        async for text in self.response.aiter_text():
            for event in parser.feed(text):
                yield event
            yield None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ServerSentEvent:
        begun = monotonic()
        while (event := next(self._events)) is None:
            self._check_time(begun)
        return event

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ServerSentEvent:
        begun = monotonic()
        while (event := await anext(self._async_events)) is None:
            self._check_time(begun)
        return event

    def _check_time(self, begun: float) -> None:
        if monotonic() - begun > self._timeout:
            request = self.response.request
            raise AppTimeout(
                f"{request.method} {request.url.path}: the application sent no event within "
                f"{self._timeout:g} s, only heartbeats: if it needs longer, write TestClient(app, "
                "app_timeout=60)"
            )


def event_headers(more: HeaderTypes | None) -> httpx.Headers:
    """Return the headers with which browsers request events. ``more`` overrides them."""
    headers = httpx.Headers({"Accept": "text/event-stream", "Cache-Control": "no-store"})
    headers.update(more)
    return headers
