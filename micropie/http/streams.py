"""Bodies that come in chunks: generators, iterators and files, sync and async, seen as one ``Stream``.

A stream's first chunk is fetched before the head is sent (the flow does that), so that a generator that fails
at once still gets a proper error page. The drivers fetch the rest, and close the stream exactly once.
"""

from __future__ import annotations

import dis
import os
from collections.abc import Callable, Iterator
from io import FileIO
from types import AsyncGeneratorType, CodeType, GeneratorType
from typing import Any, Final

from micropie.errors import ResponseError
from micropie.execution.steps import CHUNK, CLOSE, Flow, Step, no_function

PENDING: Final = object()  # no chunk has been fetched yet
END: Final = object()  # what ``next`` gives at the end: StopIteration can't cross threads and futures

FILE_CHUNK = 64 * 1024  # bytes; the buffer that most servers write at once
PART_CHUNK = 256 * 1024  # bytes; a hop to a worker thread and back costs as much as reading them


class Stream:
    """A body in chunks. ``first`` is the chunk fetched ahead, or ``END``; ``source`` gives the others."""

    __slots__ = ("driver_state", "first", "is_async", "is_open", "source", "waits")

    def __init__(self, source: Any, is_async: bool) -> None:
        self.source = source
        self.is_async = is_async
        self.waits = not is_async or may_wait(source)
        self.driver_state: Any = None  # what the driver gets the chunks with, once it has begun
        self.first: Any = PENDING
        self.is_open = True  # until somebody closes it, or has come to its end

    def next_nowait(self) -> Any:
        """A chunk of a source that never waits, without a step; else ``PENDING``. On an event loop only."""
        if self.waits:
            return PENDING
        try:
            next(self.source.__anext__().__await__())
        except StopIteration as end:
            return end.value
        except StopAsyncIteration:
            return END

    def fetch_first(self, on_loop: bool, chunk: Any = PENDING) -> Flow[None]:
        """Fetch chunks until one has content: the head waits for it.

        ``on_loop``: whether the flow runs on an event loop. ``chunk`` is what has been fetched already.
        """
        if type(self.source) is FileRange:  # its first chunk was read when it was opened
            self.first = next(self.source, END)
        while self.first is PENDING:
            if chunk is PENDING and on_loop:
                chunk = self.next_nowait()
            if chunk is PENDING:
                try:
                    chunk = yield CHUNK, no_function, (self,)
                except StopAsyncIteration:
                    chunk = END
            if chunk is END or type(chunk) is bytes:
                self.first = chunk or PENDING
            else:
                self.first = (yield from self._other_kind(chunk)) or PENDING
            chunk = PENDING

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
        return (CLOSE, no_function, (self,)) if self.claim_close() else None

    def claim_close(self) -> bool:
        """Whoever hears True has to close the source; nobody else will. False if there is nothing to close."""
        was_open, self.is_open = self.is_open, False
        return was_open and not has_ended(self.source)

    @property
    def interrupt(self) -> Callable[[], object] | None:
        """What has who waits for a chunk of a sync source wait no longer, called by another thread; None if nothing."""
        interrupt: Callable[[], object] | None = getattr(self.source, _INTERRUPT, None)
        return interrupt

    @property
    def closer(self) -> Callable[[], Any] | None:
        """The source's own ``aclose`` or ``close``, if it has one."""
        closer: Callable[[], Any] | None = getattr(self.source, "aclose" if self.is_async else "close", None)
        return closer


_INTERRUPT = "interrupt_next"  # a method of iterators whose chunks come from another process


def has_ended(source: Any) -> bool:
    """Whether this is a generator that has run to its end: it has closed itself. Or one's chunks, passed on."""
    if type(source) is AsyncGeneratorType:
        return source.ag_frame is None
    if type(source) is GeneratorType:
        return source.gi_frame is None
    return getattr(source, "ag_frame", source) is None or getattr(source, "gi_frame", source) is None


# An ``await`` (also the one in ``async with``) and an ``async for``, as CPython compiles them since 3.5.
_WAITING = frozenset({"GET_AWAITABLE", "GET_ANEXT"})


def may_wait(source: object) -> bool:
    """Whether an async iterator may have to wait for something: all may, but a generator without any ``await``.

    Known before it is asked for its first chunk, as there is much to be got ready for one that waits.
    """
    code = getattr(source, "ag_code", None)
    if code is None:
        return True
    known = _KNOWN.get(id(code))
    if known is None:
        waits = any(instruction.opname in _WAITING for instruction in dis.get_instructions(code))
        _KNOWN[id(code)] = known = code, waits
        if len(_KNOWN) > 1024:
            del _KNOWN[next(iter(_KNOWN))]
    return known[1]


# By identity, which is nobody else's as long as the code is kept here: to find a code object by its value takes longer
# than all the rest of getting a stream ready.
_KNOWN: dict[int, tuple[CodeType, bool]] = {}


def as_bytes(chunk: object) -> bytes:
    """A chunk of a stream as bytes; text is UTF-8. Raises ``ResponseError`` for anything else."""
    if isinstance(chunk, bytes):
        return bytes(chunk)  # PEP 3333 wants no subclass
    if isinstance(chunk, str):
        return chunk.encode()
    if isinstance(chunk, bytearray | memoryview):
        return bytes(chunk)
    raise ResponseError(f"a stream's chunks are text or bytes, not {type(chunk).__name__}")


_NO_STREAMS = frozenset({str, bytes, dict, list, type(None)})


def stream_of(body: Any) -> Stream | None:
    """``body`` as a stream if it is an iterator or a file, else None (a list is JSON, not a stream)."""
    if type(body) in _NO_STREAMS:  # to ask them all the rest would take as long as to encode them
        return None
    if type(body) is FileRange:
        return Stream(body, False)
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


class FileRange:
    """An open file on disk, or a range of it, as chunks: ``length`` bytes from ``start``, never fewer and never more.

    What it can't give any more, because the file became shorter, is a ``ResponseError``: the answer breaks off, where
    a clean end would look complete. ``file`` is None for HEAD, which gets nothing; whoever opened the file closes it.
    """

    __slots__ = ("_ahead", "_left", "file", "length", "path", "size", "start")

    def __init__(self, file: FileIO | None, path: str, size: int, start: int, length: int) -> None:
        self.file = file
        self.path = path
        self.size = size
        self.start = start
        self.length = length
        self._ahead = b""
        self._left = 0 if file is None else length

    @property
    def is_whole(self) -> bool:
        """Whether this is all of the file."""
        return self.length == self.size

    @property
    def position(self) -> int:
        """How many bytes of it have been read."""
        return self.length - self._left

    def seek(self, position: int) -> None:
        """Go on reading at so many bytes after ``start``."""
        assert self.file is not None  # noqa: S101
        self.file.seek(self.start + position)
        self._left = self.length - position

    def read_ahead(self) -> None:
        """Read the first chunk, in the thread that has just opened the file."""
        self.seek(0)
        self._ahead = self.read(PART_CHUNK)

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes; none at the end. Raises ``ResponseError`` if the file has become too short."""
        if not self._left or self.file is None:
            return b""
        chunk = self.file.read(min(size, self._left))
        if not chunk:
            raise ResponseError(f"{self.path} became shorter while it was sent")
        self._left -= len(chunk)
        return chunk

    def check_length(self) -> None:
        """Raise ``ResponseError`` if the file has become too short: for a server that reads it itself."""
        assert self.file is not None  # noqa: S101
        if os.fstat(self.file.fileno()).st_size < self.start + self.length:
            raise ResponseError(f"{self.path} became shorter while it was sent")

    def __iter__(self) -> FileRange:
        return self

    def __next__(self) -> bytes:
        chunk, self._ahead = self._ahead or self.read(PART_CHUNK), b""
        if not chunk:
            raise StopIteration
        return chunk
