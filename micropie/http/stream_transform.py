"""A stream whose chunks pass through something on their way, such as a compressor.

It is an iterator of the kind that its source is, sync or async, so that the drivers treat both alike: what the source
raises passes through, a cancellation arrives where it waits, and to close it is to close the source.
"""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from typing import Any, Protocol

from micropie.http.streams import END, Stream, as_bytes


class StreamTransform(Protocol):
    """What the chunks pass through."""

    def feed(self, chunk: bytes) -> bytes:
        """What comes out for ``chunk``: all of it, as somebody may be waiting."""

    def finish(self) -> bytes:
        """What is left at the end."""


def transform_stream(stream: Stream, passage: StreamTransform) -> Any:
    """A body in the place of ``stream``'s, of which nothing has been fetched."""
    kind = _AsyncMapped if stream.is_async else _SyncMapped
    return kind(stream.source, passage)


# How a source is closed, and what the drivers want to know of a generator. Not all it has: it may be a file.
_OF_THE_SOURCE = frozenset(
    {"close", "aclose", "athrow", "ag_code", "ag_frame", "ag_running", "gi_frame", "interrupt_next"}
)


class _Mapped:
    def __init__(self, source: Any, passage: StreamTransform) -> None:
        self._source = source
        self._passage = passage
        self._has_ended = False

    def __getattr__(self, name: str) -> Any:
        if name not in _OF_THE_SOURCE:
            raise AttributeError(name)
        return getattr(self._source, name)

    def _passed(self, chunk: Any) -> bytes:
        if chunk is not END:
            return self._passage.feed(as_bytes(chunk))
        self._has_ended = True
        return self._passage.finish()


class _SyncMapped(_Mapped):
    def __iter__(self) -> _SyncMapped:
        return self

    def __next__(self) -> bytes:
        if self._has_ended:
            raise StopIteration
        return self._passed(next(self._source, END))


class _AsyncMapped(_Mapped):
    def __aiter__(self) -> _AsyncMapped:
        return self

    def __anext__(self) -> Awaitable[bytes]:
        return _Awaited(self._steps())

    def _steps(self) -> Generator[Any, Any, bytes]:
        if self._has_ended:
            raise StopAsyncIteration
        try:
            # What an ``await`` does; there are awaitables that have ``__next__`` alone, and it bears those.
            chunk = yield from self._source.__anext__().__await__()
        except StopAsyncIteration:
            chunk = END
        return self._passed(chunk)


class _Awaited:
    """An awaitable made of a generator: what ``async def`` would make, where there is none."""

    __slots__ = ("_steps",)

    def __init__(self, steps: Generator[Any, Any, bytes]) -> None:
        self._steps = steps

    def __await__(self) -> Generator[Any, Any, bytes]:
        return self._steps
