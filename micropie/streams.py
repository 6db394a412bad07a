"""Bodies that come in chunks: generators, iterators and files, sync and async, seen as one ``Stream``.

A stream's first chunk is fetched before the head is sent (the flow does that), so that a generator that fails
at once still gets a proper error page. The drivers fetch the rest, and close the stream exactly once.
"""

from __future__ import annotations

import dis
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import AsyncGeneratorType, CodeType, GeneratorType
from typing import Any, Final

from micropie.errors import ResponseError
from micropie.steps import AWAIT, BLOCK, CHUNK, CLOSE, Flow, Step, no_function

PENDING: Final = object()  # no chunk has been fetched yet
END: Final = object()  # what ``next`` gives at the end: StopIteration can't cross threads and futures

FILE_CHUNK = 64 * 1024  # bytes; the buffer that most servers write at once


class Stream:
    """A body in chunks. ``first`` is the chunk fetched ahead, or ``END``; ``source`` gives the others."""

    __slots__ = ("_open", "first", "is_async", "pump", "source", "waits")

    def __init__(self, source: Any, is_async: bool) -> None:
        self.source = source
        self.is_async = is_async
        self.waits = not is_async or may_wait(source)
        self.pump: Any = None  # what the driver gets the chunks of an async source with, once it has begun
        self.first: Any = PENDING
        self._open = True

    def fetch_first(self) -> Flow[None]:
        """Fetch chunks until one has content: the head waits for it."""
        step = self._chunk_step()
        while self.first is PENDING:
            try:
                chunk = yield step
            except StopAsyncIteration:
                chunk = END
            if chunk is END or type(chunk) is bytes:
                self.first = chunk or PENDING
            else:
                self.first = (yield from self._other_kind(chunk)) or PENDING

    def _chunk_step(self) -> Step:
        if not self.is_async:
            return BLOCK, next, (self.source, END)
        return (CHUNK, no_function, (self,)) if self.waits else (AWAIT, self.source.__anext__, ())

    def _other_kind(self, chunk: object) -> Flow[bytes]:
        try:
            return as_bytes(chunk)
        except Exception as error:  # a wrong type, or text that is no UTF-8
            failure = error
        yield from self.close()
        raise failure

    def close(self) -> Flow[None]:
        """Close the source, unless that has been done."""
        step = self.close_step()
        if step is not None:
            yield step

    def close_step(self) -> Step | None:
        """The step that closes the source, the first time; None if there is nothing (more) to close."""
        return (CLOSE, no_function, (self,)) if self.mark_closed() else None

    def mark_closed(self) -> bool:
        """Whoever hears True has to close the source; nobody else will. False if there is nothing to close."""
        was_open, self._open = self._open, False
        return was_open and not has_ended(self.source)

    @property
    def closer(self) -> Callable[[], Any] | None:
        """The source's own ``aclose`` or ``close``, if it has one."""
        closer: Callable[[], Any] | None = getattr(self.source, "aclose" if self.is_async else "close", None)
        return closer


def has_ended(source: Any) -> bool:
    """Whether this is a generator that has run to its end: it has closed itself."""
    if type(source) is AsyncGeneratorType:
        return source.ag_frame is None
    return type(source) is GeneratorType and source.gi_frame is None


# An ``await`` (also the one in ``async with``) and an ``async for``, as CPython compiles them since 3.5.
_WAITING = frozenset({"GET_AWAITABLE", "GET_ANEXT"})


def may_wait(source: object) -> bool:
    """Whether an async iterator may have to wait for something: all may, but a generator without any ``await``.

    Known before it is asked for its first chunk, as there is much to be got ready for one that waits.
    """
    return not isinstance(source, AsyncGeneratorType) or _has_await(source.ag_code)


@lru_cache(maxsize=1024)
def _has_await(code: CodeType) -> bool:
    return any(instruction.opname in _WAITING for instruction in dis.get_instructions(code))


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
    if hasattr(body, "__aiter__"):
        return Stream(body.__aiter__(), True)
    if callable(getattr(body, "read", None)):
        return Stream(_File(body), False)
    if isinstance(body, Iterator):
        return Stream(body, False)
    return None


class _File:
    """A file object as an iterator of pieces."""

    def __init__(self, file: Any) -> None:
        self._read = file.read
        self.close = getattr(file, "close", None) or (lambda: None)

    def __next__(self) -> Any:
        piece = self._read(FILE_CHUNK)
        if not piece:
            raise StopIteration
        return piece
