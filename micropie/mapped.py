"""A stream whose chunks pass through something on their way, such as a compressor.

It is an iterator of the kind that its source is, sync or async, so that the drivers treat both alike: what the source
raises passes through, a cancellation arrives where it waits, and to close it is to close the source.
"""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from typing import Any, Protocol

from micropie.ready import Ready
from micropie.steps import AWAIT, BLOCK, Flow
from micropie.streams import END, PENDING, Stream, as_bytes


class Passage(Protocol):
    """What the chunks pass through."""

    def feed(self, chunk: bytes) -> bytes:
        """What comes out for ``chunk``: all of it, as somebody may be waiting."""

    def finish(self) -> bytes:
        """What is left at the end."""


def peek(stream: Stream) -> Flow[Any]:
    """The first chunk of a stream that nobody has touched, as its source gives it; ``END`` if there is none."""
    if not stream.is_async:
        return (yield BLOCK, next, (stream.source, END))
    try:
        return (yield AWAIT, stream.source.__anext__, ())
    except StopAsyncIteration:
        return END


def mapped(stream: Stream, first: Any, passage: Passage) -> Any:
    """A body in the place of ``stream``'s, whose ``first`` chunk was taken by ``peek``."""
    kind = _AsyncMapped if stream.is_async else _SyncMapped
    return kind(stream.source, first, passage)


class _Mapped:
    def __init__(self, source: Any, first: Any, passage: Passage) -> None:
        self._source = source
        self._first = first
        self._passage = passage
        self._has_ended = False

    def _take_first(self) -> Any:
        first, self._first = self._first, PENDING
        return first

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
        chunk = self._take_first()
        return self._passed(next(self._source, END) if chunk is PENDING else chunk)

    def close(self) -> None:
        close = getattr(self._source, "close", None)
        if close is not None:
            close()


class _AsyncMapped(_Mapped):
    def __aiter__(self) -> _AsyncMapped:
        return self

    def __anext__(self) -> Awaitable[bytes]:
        return _Awaited(self._steps())

    def aclose(self) -> Awaitable[None]:
        close = getattr(self._source, "aclose", None)
        return Ready(None) if close is None else close()

    def _steps(self) -> Generator[Any, Any, bytes]:
        if self._has_ended:
            raise StopAsyncIteration
        chunk = self._take_first()
        if chunk is PENDING:
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
