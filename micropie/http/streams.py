"""Bodies in chunks: generators, iterators and files, sync and async, behind one class, ``Stream``.

The flow fetches the first chunk before the head is sent, so a generator that fails at once still gets a proper
error page. The driver fetches the rest and closes the stream exactly once.

Many async generators never wait. For those the drivers make no scope, no watcher and no task, which more than halves
the time of a short stream (19 µs, not 42). Whether a generator can wait is read from its bytecode: only ``await``,
``async for`` and ``async with`` make it wait, and CPython compiles each to an instruction in ``_WAITING``. A wrong
answer would lose a wait, so there are two safeguards. At import the inspection has to tell samples apart; if it can't,
every generator counts as one that waits. And a generator that waits unexpectedly gets a ``RuntimeError`` there.
"""

from __future__ import annotations

import dis
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import suppress
from io import FileIO
from types import AsyncGeneratorType, CodeType, GeneratorType
from typing import Any, Final, Protocol

from micropie.errors import ResponseError
from micropie.execution.steps import CHUNK, CLOSE, Flow, Step, no_function

PENDING: Final = object()  # no chunk has been fetched yet
END: Final = object()  # stands for StopIteration, which can't cross threads and futures
LATE: Final = object()  # a driver gives it in the place of the first chunk: the head waits for it no longer

FILE_CHUNK = 64 * 1024  # bytes; the buffer that most servers write at once
PART_CHUNK = 256 * 1024  # bytes; a hop to a worker thread and back costs as much as reading them


class WaitingHead(Protocol):
    """The part of an ``EarlyHead`` that a stream uses."""

    is_wanted: bool

    @property
    def answer(self) -> object:
        """The answer, once the head is being sent without a chunk, else None."""

    def seconds(self) -> float | None:
        """Return the seconds that the head waits for the first chunk; None for as long as that takes."""

    def filler(self) -> bytes:
        """Return what is sent in the place of the first chunk."""


class Items(Protocol):
    """The items of a stream of events, ``source``, which become its chunks.

    ``heartbeat``: seconds of silence after which a comment is sent, None for none. ``head_within``: seconds that the
    head waits for the first of them.
    """

    source: Any
    heartbeat: float | None
    head_within: float

    def encode(self, item: object) -> bytes:
        """Return an item as a chunk, b"" for none.

        Raises what is wrong with it, and ``StopAsyncIteration`` when the server is told to end.
        """

    def at_shutdown(self, function: Callable[[], object]) -> Callable[[], object]:
        """Call ``function`` on this event loop when the server is told to end. Return what prevents that."""


class Stream:
    """A body in chunks. ``source`` iterates over those after ``first``.

    ``first``: the chunk fetched ahead, ``PENDING`` until it is there, ``END`` if there is none. ``items``: the items of
    a stream of events, once an event loop takes them in the place of its chunks.
    """

    __slots__ = ("fetcher", "first", "is_async", "is_open", "items", "source", "waits")

    def __init__(self, source: Any, is_async: bool) -> None:
        self.source = source
        self.is_async = is_async
        self.waits = not is_async or may_wait(source)
        self.fetcher: object = None  # the driver's StreamSender or StreamReader, once it has begun
        self.first: Any = PENDING
        self.is_open = True  # until its close is claimed or it has run to its end
        self.items: Items | None = None

    def next_nowait(self, on_loop: bool) -> Any:
        """Return the next chunk, or ``PENDING`` if that takes a step: on an event loop for any source that may wait,
        elsewhere for async ones.

        Text becomes bytes, unless UTF-8 can't encode it: then ``fetch_first`` closes the source and raises the error.
        """
        if self.waits if on_loop else self.is_async:
            return PENDING
        if not on_loop:
            chunk = next(self.source, END)
        else:
            self.take_items()
            steps = self.source.__anext__().__await__()
            try:
                next(steps)
                steps.throw(RuntimeError("this generator waits, but no await was found in its bytecode"))
            except StopIteration as end:
                chunk = end.value
            except StopAsyncIteration:
                return END
        if self.items is not None:
            return self._encode_item(chunk)
        if chunk.__class__ is not str:
            return chunk
        try:
            return chunk.encode()
        except UnicodeEncodeError:
            return chunk

    def _encode_item(self, item: object) -> object:
        """Return the chunk of an item, END if no further one is wanted. Closes the source then, and if that fails."""
        assert self.items is not None  # noqa: S101
        try:
            return self.items.encode(item)
        except Exception as error:
            with suppress(StopIteration):  # it never waits
                self.source.aclose().send(None)
            if isinstance(error, StopAsyncIteration):
                return END
            raise

    def take_items(self) -> None:
        """Take the items of a stream of events from now on, if it is one: without its own task and generators."""
        if type(self.source) is not AsyncGeneratorType:
            items: Items | None = getattr(self.source, "items", None)
            if items is not None:
                self.source, self.items = items.source, items

    def fetch_first(self, on_loop: bool, early: WaitingHead, chunk: object = PENDING) -> Flow[None]:
        """Fetch chunks until one has content; the head waits for it, but no longer than ``early`` lets it.

        A source with ``may_begin_empty`` is a mounted application's body: it gives b"" to have its head sent at once.
        ``on_loop``: whether the flow runs on an event loop. ``chunk`` is one that was fetched already.
        """
        may_begin_empty = getattr(self.source, "may_begin_empty", False)
        if type(self.source) is FileRange:  # its first chunk was read when it was opened
            self.first = next(self.source, END)
        elif not on_loop and not self.is_async and not may_begin_empty and early.seconds() == 0:
            self.first = self._filler(early)
        while self.first is PENDING:
            if chunk is PENDING:
                chunk = self.next_nowait(on_loop)
            if chunk is PENDING:
                try:
                    chunk = yield CHUNK, no_function, (self, early)
                except StopAsyncIteration:
                    chunk = END
                if early.answer is not None:  # the head is sent, so what is wrong with the chunk is the driver's to say
                    self.first = chunk
                    return
                if chunk is LATE:
                    self.first = self._filler(early)
                    return
            if chunk is not END and type(chunk) is not bytes:
                chunk = yield from self._convert(chunk)
            self.first = chunk if chunk or may_begin_empty else PENDING
            chunk = PENDING
        early.is_wanted = False

    def _filler(self, early: WaitingHead) -> bytes:
        return b"" if isinstance(self.source, _Transformed) else early.filler()

    def _convert(self, chunk: object) -> Flow[bytes]:
        """Return ``chunk`` as bytes. Closes the source before it raises."""
        try:
            return as_bytes(chunk)
        except Exception as error:  # a wrong type, or text that UTF-8 can't encode
            failure = error
        yield from self.close()
        raise failure

    def close(self) -> Flow[None]:
        """Close the source, unless that has been done."""
        step = self.close_step()
        if step is not None:
            yield step

    def close_step(self) -> Step | None:
        """Claim the right to close the source: the step that closes it, or None if there is nothing to close."""
        return (CLOSE, no_function, (self,)) if self.claim_close() else None

    def claim_close(self) -> bool:
        """Claim the right to close the source. Returns True once, to the caller that must then close it."""
        was_open, self.is_open = self.is_open, False
        return was_open and not has_ended(self.source)

    @property
    def interrupt(self) -> Callable[[], object] | None:
        """A callable that unblocks a pending ``next()`` of a sync source, or None. Thread-safe."""
        interrupt: Callable[[], object] | None = getattr(self.source, "interrupt_next", None)
        return interrupt

    @property
    def closer(self) -> Callable[[], Any] | None:
        """The ``aclose`` or ``close`` of the source, None if it has none."""
        closer: Callable[[], Any] | None = getattr(self.source, "aclose" if self.is_async else "close", None)
        return closer


def has_ended(source: object) -> bool:
    """Return whether ``source`` is a generator that has run to its end, or transforms the chunks of one."""
    if type(source) is AsyncGeneratorType:
        return source.ag_frame is None
    if type(source) is GeneratorType:
        return source.gi_frame is None
    return getattr(source, "ag_frame", source) is None or getattr(source, "gi_frame", source) is None


# -- whether an async generator can wait -------------------------------------------------------------------------------

# ``await`` and ``async with``, and ``async for``, as CPython compiles them since 3.5.
_WAITING = frozenset({"GET_AWAITABLE", "GET_ANEXT"})


def _has_await(code: CodeType) -> bool:
    return any(instruction.opname in _WAITING for instruction in dis.get_instructions(code))


def _can_inspect() -> bool:
    """Return whether ``_has_await`` gives the right answers on this interpreter."""

    def code_of(body: str) -> CodeType:
        compiled = compile(f"async def sample(source):\n {body}\n yield", "<sample>", "exec")
        return next(constant for constant in compiled.co_consts if isinstance(constant, CodeType))

    waiting = ("await source", "async for _ in source: pass", "async with source: pass", "[_ async for _ in source]")
    plain = ("for _ in source: yield _", "with source: pass", "source()")
    return all(_has_await(code_of(body)) for body in waiting) and not any(_has_await(code_of(body)) for body in plain)


_CAN_INSPECT: Final = _can_inspect()

# Whether code may wait. By identity: to hash a code object takes longer than all the rest of ``Stream.__init__``. The
# code is in the value so that its id is not reused.
_KNOWN: dict[int, tuple[CodeType, bool]] = {}


def may_wait(source: object) -> bool:
    """Return whether an async iterator may have to wait: True, except for a generator without any ``await``."""
    code = getattr(source, "ag_code", None)
    if code is None:
        return True
    return (_KNOWN.get(id(code)) or _inspected(code))[1]


def _inspected(code: CodeType) -> tuple[CodeType, bool]:
    _KNOWN[id(code)] = known = code, not _CAN_INSPECT or _has_await(code)
    if len(_KNOWN) > 1024:
        del _KNOWN[next(iter(_KNOWN))]
    return known


# -- what becomes a stream ---------------------------------------------------------------------------------------------


def as_bytes(chunk: object) -> bytes:
    """Return a stream's chunk as bytes; text becomes UTF-8. Raises ``ResponseError`` for any other type."""
    if isinstance(chunk, bytes):
        return bytes(chunk)  # PEP 3333 wants no subclass
    if isinstance(chunk, str):
        return chunk.encode()
    if isinstance(chunk, bytearray | memoryview):
        return bytes(chunk)
    raise ResponseError(f"a stream's chunks are text or bytes, not {type(chunk).__name__}")


_NO_STREAMS = frozenset({str, bytes, dict, list, type(None)})


def is_stream(body: object) -> bool:
    """Return whether ``body`` comes in chunks that are yet to be made: an iterator or a file object."""
    if type(body) in _NO_STREAMS:
        return False
    return hasattr(body, "__aiter__") or isinstance(body, Iterator) or callable(getattr(body, "read", None))


def stream_of(body: object) -> Stream | None:
    """Return ``body`` as a stream if it is an iterator or a file, else None. A list is JSON and no stream."""
    if type(body) in _NO_STREAMS:  # the checks below take as long as encoding such a body
        return None
    if type(body) is FileRange:
        return Stream(body, False)
    if hasattr(body, "__aiter__"):
        return Stream(body.__aiter__(), True)
    if callable(getattr(body, "read", None)):
        return Stream(_FileChunks(body), False)
    if isinstance(body, Iterator):
        return Stream(body, False)
    return None


class _FileChunks:
    """An iterator over a file object's chunks."""

    def __init__(self, file: Any) -> None:
        self._read: Callable[[int], object] = file.read
        self.close: Callable[[], object] = getattr(file, "close", None) or (lambda: None)

    def __iter__(self) -> _FileChunks:
        return self

    def __next__(self) -> object:
        chunk = self._read(FILE_CHUNK)
        if not chunk:
            raise StopIteration
        return chunk


class FileRange:
    """The chunks of an open file on disk, or of a range of it: exactly ``length`` bytes from ``start``.

    If the file became shorter meanwhile, reading raises ``ResponseError`` and the answer breaks off, because a clean
    end would look complete. ``file`` is None for HEAD, which gets no body. The code that opened the file closes it.
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
        """Whether the range is the whole file."""
        return self.length == self.size

    @property
    def position(self) -> int:
        """The bytes of the range that have been read."""
        return self.length - self._left

    def seek(self, position: int) -> None:
        """Continue reading ``position`` bytes after ``start``."""
        assert self.file is not None  # noqa: S101
        self.file.seek(self.start + position)
        self._left = self.length - position

    def read_ahead(self) -> None:
        """Read the first chunk, in the thread that has just opened the file."""
        self.seek(0)
        self._ahead = self.read(PART_CHUNK)

    def read(self, size: int) -> bytes:
        """Return at most ``size`` bytes, ``b""`` at the end. Raises ``ResponseError`` if the file became too short."""
        if not self._left or self.file is None:
            return b""
        chunk = self.file.read(min(size, self._left))
        if not chunk:
            raise ResponseError(f"{self.path} became shorter while it was sent")
        self._left -= len(chunk)
        return chunk

    def check_length(self) -> None:
        """Raise ``ResponseError`` if the file became too short; for a server that reads the file itself."""
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


# -- transformed streams -----------------------------------------------------------------------------------------------

# Streams whose chunks are transformed on their way, by a compressor for example. A transformed stream is an iterator of
# the same kind as its source, sync or async, so the drivers treat it like any other: the source's exceptions pass
# through, a cancellation arrives where the source waits, closing it closes the source.


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
    """The common part of both kinds of iterator."""

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
    """Also the awaitable of its next chunk: this layer has no ``async def``, and one chunk is awaited at a time."""

    def __aiter__(self) -> _AsyncTransformed:
        return self

    def __anext__(self) -> Awaitable[bytes]:
        return self

    def __await__(self) -> Generator[object, object, bytes]:
        if self._has_ended:
            raise StopAsyncIteration
        try:
            # As ``await`` does, but this also accepts an iterator without ``send``.
            chunk = yield from self._source.__anext__().__await__()
        except StopAsyncIteration:
            chunk = END
        return self._apply(chunk)
