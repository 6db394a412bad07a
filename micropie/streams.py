"""Bodies that come in chunks: generators, iterators and files, sync and async, seen as one ``Stream``.

A stream's first chunk is fetched before the head is sent (the flow does that), so that a generator that fails
at once still gets a proper error page. The drivers fetch the rest, and close the stream exactly once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

from micropie.errors import ResponseError
from micropie.steps import AWAIT, BLOCK, NO_KEYWORDS, Flow, Step

END: Final = object()  # what ``next`` gives at the end: StopIteration can't cross threads and futures

FILE_CHUNK = 64 * 1024  # bytes; the buffer that most servers write at once


class Stream:
    """A body in chunks. ``first`` is the chunk fetched ahead, or ``END``; ``source`` gives the others."""

    __slots__ = ("_close", "first", "is_async", "source")

    def __init__(self, source: Any, is_async: bool, close: Callable[[], Any] | None) -> None:
        self.source = source
        self.is_async = is_async
        self.first: Any = b""
        self._close = close

    def fetch_first(self) -> Flow[None]:
        """Fetch chunks until one has content, so that the head can wait for it."""
        while self.first == b"":
            try:
                if self.is_async:
                    chunk = yield (AWAIT, self.source.__anext__, (), NO_KEYWORDS)
                else:
                    chunk = yield (BLOCK, next, (self.source, END), NO_KEYWORDS)
            except StopAsyncIteration:
                chunk = END
            self.first = chunk if chunk is END else as_bytes(chunk)

    def close_step(self) -> Step | None:
        """The step that closes the source, the first time; None if there is nothing (more) to close."""
        close, self._close = self._close, None
        if close is None:
            return None
        return (AWAIT if self.is_async else BLOCK, close, (), NO_KEYWORDS)


def as_bytes(chunk: object) -> bytes:
    """A chunk of a stream as bytes; text is UTF-8. Raises ``ResponseError`` for anything else."""
    if isinstance(chunk, bytes):
        return chunk
    if isinstance(chunk, str):
        return chunk.encode()
    if isinstance(chunk, bytearray | memoryview):
        return bytes(chunk)
    raise ResponseError(f"a stream's chunks are text or bytes, not {type(chunk).__name__}")


def stream_of(body: Any) -> Stream | None:
    """``body`` as a stream if it is an iterator or a file, else None (a list is JSON, not a stream)."""
    if isinstance(body, AsyncIterator):
        return Stream(body, True, getattr(body, "aclose", None))
    if hasattr(body, "__aiter__"):
        iterator = body.__aiter__()
        return Stream(iterator, True, getattr(iterator, "aclose", None))
    if callable(getattr(body, "read", None)):
        return Stream(_pieces(body), False, getattr(body, "close", None))
    if isinstance(body, Iterator):
        return Stream(body, False, getattr(body, "close", None))
    return None


def _pieces(file: Any) -> Iterator[Any]:
    while piece := file.read(FILE_CHUNK):
        yield piece
