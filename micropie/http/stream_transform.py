"""Streams whose chunks are transformed on their way, by a compressor for example.

A transformed stream is an iterator of the same kind as its source, sync or async, so the drivers treat it like any
other: the source's exceptions pass through, a cancellation arrives where the source waits, closing it closes the
source.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Generator, Iterator
from typing import Any, Protocol

from micropie.http.streams import END, Stream, as_bytes


class StreamTransform(Protocol):
    """Transforms the chunks of one stream."""

    def feed(self, chunk: bytes) -> bytes:
        """Return ``chunk`` transformed, all of it, because the client may be waiting."""

    def finish(self) -> bytes:
        """Return the rest, when the source has ended."""


def transform_stream(stream: Stream, transform: StreamTransform) -> Iterator[bytes] | AsyncIterator[bytes]:
    """Return a body that takes the place of ``stream``, of which no chunk may have been fetched yet."""
    kind = _AsyncTransformed if stream.is_async else _SyncTransformed
    return kind(stream.source, transform)


# The names that the drivers read, to close a source and to inspect a generator. No others: the source may be a file.
_PASSED_THROUGH = frozenset(
    {"close", "aclose", "athrow", "ag_code", "ag_frame", "ag_running", "gi_frame", "interrupt_next"}
)


class _Transformed:
    def __init__(self, source: Any, transform: StreamTransform) -> None:
        self._source = source
        self._transform = transform
        self._has_ended = False

    def __getattr__(self, name: str) -> Any:
        if name not in _PASSED_THROUGH:
            raise AttributeError(name)
        return getattr(self._source, name)

    def _apply(self, chunk: object) -> bytes:
        if chunk is not END:
            return self._transform.feed(as_bytes(chunk))
        self._has_ended = True
        return self._transform.finish()


class _SyncTransformed(_Transformed):
    def __iter__(self) -> _SyncTransformed:
        return self

    def __next__(self) -> bytes:
        if self._has_ended:
            raise StopIteration
        return self._apply(next(self._source, END))


class _AsyncTransformed(_Transformed):
    def __aiter__(self) -> _AsyncTransformed:
        return self

    def __anext__(self) -> Awaitable[bytes]:
        return _Awaited(self._steps())

    def _steps(self) -> Generator[object, object, bytes]:
        if self._has_ended:
            raise StopAsyncIteration
        try:
            # As ``await`` does. It also accepts an iterator without ``send``.
            chunk = yield from self._source.__anext__().__await__()
        except StopAsyncIteration:
            chunk = END
        return self._apply(chunk)


class _Awaited:
    """An awaitable made of a generator, because this layer has no ``async def``."""

    __slots__ = ("_steps",)

    def __init__(self, steps: Generator[object, object, bytes]) -> None:
        self._steps = steps

    def __await__(self) -> Generator[object, object, bytes]:
        return self._steps
