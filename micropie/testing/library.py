"""The HTTP client on which the test clients are based: httpx2 or, if it is not installed, its
predecessor httpx with httpx-sse.

httpx is supported until micropie 1.2. Annotations use httpx2's types.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import httpx2 as httpx
    from httpx2 import EventSource, ServerSentEvent

    HeaderPairs = Sequence[tuple[str, str]] | Sequence[tuple[bytes, bytes]]
    HeaderTypes = httpx.Headers | Mapping[str, str] | Mapping[bytes, bytes] | HeaderPairs
else:
    try:
        import httpx2 as httpx
        from httpx2 import EventSource
    except ModuleNotFoundError:
        import httpx
        import httpx_sse

        class EventSource(httpx_sse.EventSource):
            """A response's server-sent events, with the interface of httpx2's ``EventSource``."""

            __iter__ = httpx_sse.EventSource.iter_sse
            __aiter__ = httpx_sse.EventSource.aiter_sse


__all__ = ["Events", "event_headers", "httpx"]


class Events(EventSource):
    """An iterator over the server-sent events of a response: ``next(events)``, ``await
    anext(events)``.

    Creating it raises ``httpx2.HTTPStatusError`` for an error response.
    """

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(response.raise_for_status())
        self._events = super().__iter__()
        self._async_events = super().__aiter__()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ServerSentEvent:
        return next(self._events)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ServerSentEvent:
        return await anext(self._async_events)


def event_headers(more: HeaderTypes | None) -> httpx.Headers:
    """Return the headers with which browsers request events. ``more`` overrides them."""
    headers = httpx.Headers({"Accept": "text/event-stream", "Cache-Control": "no-store"})
    headers.update(more)
    return headers
