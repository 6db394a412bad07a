"""The sources of bodies in chunks, one small class for each kind, and ``source_of``, which makes them.

A source has *items*: those of the iterator that a handler returned. ``encode`` turns an item into a chunk of bytes, and
``finish`` returns the chunk that follows the last item. A class says where the items are made:

- ``LoopSource``: async generators and iterators, and all events. One task of an event loop advances the source from
  its first item to its last, and closes it (``scoped.py``).
- ``ThreadSource``: generators, iterators, files, the pool's streams. Under WSGI the server's thread advances it, under
  ASGI worker threads do (``threaded.py``).

A ``Stream`` is the state of one answer that has a source. The flow fetches the first chunk before the head is sent, so
a generator that fails at once still gets a proper error page. The driver fetches the rest and closes the source exactly
once.

Hooks may iterate over the body of a response, so a source is also an iterator over its chunks, sync or async.

**The head** waits for the first chunk, so that a generator may set headers and an error still gets its page. A
browser's ``EventSource`` and most proxies wait for the head, though. So it is completed without a chunk when
``stream_head_delay`` is over, and soon for events. How that is done depends on where the chunks are made:

- ASGI: the request's task waits in the source, so another one completes the head and sends it (``asgi/streaming.py``).
- WSGI, async source: the server's thread waits for the loop, so it stops waiting and goes on itself (``LATE``).
- WSGI, sync source: the server's thread is in the source and can't leave it. Only a response that is known to have
  events has its head completed first, by ``Stream.fetch_first``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from dataclasses import dataclass
from math import inf
from types import AsyncGeneratorType, GeneratorType
from typing import Any, ClassVar, Final, Protocol

from micropie.errors import ResponseError
from micropie.execution import CHUNK, CLOSE, Flow, ShutdownSignal, Step, no_function
from micropie.http import Answer, Exchange, Response
from micropie.pool import RemoteChunks
from micropie.streams.files import FILE_CHUNK, FileRange

PENDING: Final = object()  # no chunk has been fetched yet
END: Final = object()  # stands for StopIteration, which can't cross threads and futures
LATE: Final = object()  # a driver gives it in the place of the first chunk: the head waits for it no longer


class StreamTransform(Protocol):
    """Transforms the chunks of one stream, as a compressor does."""

    def feed(self, chunk: bytes) -> bytes:
        """Return ``chunk`` transformed, all of it, because the client may be waiting."""

    def finish(self) -> bytes:
        """Return the rest, when the source has ended."""


MEDIA_TYPE: Final = "text/event-stream"

# A comment, sent while an event stream is silent: a proxy keeps the connection open, and a client that has left is
# noticed.
HEART_BEAT: Final = b": \n\n"

# Seconds that the head waits for the first event, so that a source that fails at once is answered by an error page.
# Long enough for a query, and too short to be noticed on a connection that stays open.
HEAD_WITHIN = 0.1


@dataclass(slots=True, eq=False)
class EventRules:
    """How the items of a stream of events are sent.

    ``encode`` returns an event as a chunk, b"" for none. ``heartbeat``: seconds of silence after which a comment is
    sent, None for never. ``shutdown``: the signal that ends the stream.
    """

    encode: Callable[[object], bytes]
    heartbeat: float | None
    shutdown: ShutdownSignal


class Source:
    """Where the chunks of one body come from.

    ``events``: the rules of a stream of events; None for other streams. ``may_begin_empty``: whether an empty first
    chunk lets the head leave, as of a mounted application, which has sent its head. ``has_finished``: whether the
    last chunk has been made.
    """

    __slots__ = ("events", "has_finished", "items", "may_begin_empty", "transforms")

    is_async: ClassVar[bool]

    def __init__(self, items: Any, may_begin_empty: bool = False, events: EventRules | None = None) -> None:
        self.items = items
        self.may_begin_empty = may_begin_empty
        self.events = events
        self.transforms: tuple[StreamTransform, ...] = ()
        self.has_finished = False

    @property
    def has_ended(self) -> bool:
        """Whether the items come from a generator that has ended, so that nothing is to be closed."""
        return False

    @property
    def file(self) -> FileRange | None:
        """The file that is the body; None if the body is something else, or is transformed."""
        return None

    def encode(self, item: object) -> bytes:
        """Return an item as a chunk. Raises ``ResponseError`` for an item of a wrong type."""
        return self._transformed(as_bytes(item) if self.events is None else self.events.encode(item))

    @property
    def encoder(self) -> Callable[[object], bytes]:
        """The function that does what ``encode`` does."""
        if self.transforms:
            return self.encode
        return as_bytes if self.events is None else self.events.encode

    def beat(self) -> bytes:
        """Return what a stream of events sends in silence."""
        assert self.events is not None  # noqa: S101
        return self._transformed(HEART_BEAT)

    def _transformed(self, chunk: bytes) -> bytes:
        for transform in self.transforms:
            chunk = transform.feed(chunk)
        return chunk

    def finish(self) -> bytes:
        """Return the chunk that follows the last item: b"" if nothing does, and when it is asked for again."""
        rest = b""
        for transform in () if self.has_finished else self.transforms:
            rest = (transform.feed(rest) if rest else b"") + transform.finish()
        self.has_finished = True
        return rest


class LoopSource(Source):
    """A source on an event loop: an async iterator. Also the awaitable of its next chunk, of which there is one."""

    __slots__ = ()

    is_async = True

    @property
    def is_waiting(self) -> bool:
        """Whether the source waits for something of its own and can be cancelled there; an iterator can't tell."""
        return True

    def close(self) -> Awaitable[object] | None:
        """Close the items; None if they can't be closed."""
        aclose: Callable[[], Awaitable[object]] | None = getattr(self.items, "aclose", None)
        return None if aclose is None else aclose()

    @property
    def items_left(self) -> AsyncIterator[object]:
        """The items that the driver encodes itself; a loop over them is faster than one over the chunks."""
        items: AsyncIterator[object] = self.items
        return items

    def __aiter__(self) -> LoopSource:
        return self

    def __anext__(self) -> Awaitable[bytes]:
        return self

    def __await__(self) -> Generator[object, object, bytes]:
        events = self.events
        if self.has_finished or (events is not None and events.shutdown.is_over):
            raise StopAsyncIteration
        try:
            # As ``await`` does, but this also accepts an iterator without ``send``.
            item = yield from self.items.__anext__().__await__()
        except StopAsyncIteration:
            return self.finish()
        if events is not None and events.shutdown.is_over:  # while the item was made
            raise StopAsyncIteration
        return self.encoder(item)


class GeneratorOnLoop(LoopSource):
    """An async generator."""

    __slots__ = ()

    items: AsyncGeneratorType[object, object]

    @property
    def has_ended(self) -> bool:
        return self.items.ag_frame is None

    @property
    def is_waiting(self) -> bool:
        return self.items.ag_running

    def throw(self, error: BaseException) -> Awaitable[object]:
        """Raise an error where the generator is suspended."""
        return self.items.athrow(error)


class ThreadSource(Source):
    """A source in a thread: an iterator."""

    __slots__ = ()

    is_async = False

    @property
    def interrupt(self) -> Callable[[], object] | None:
        """A function that ends the wait for an item, from any thread; None if that can't be done."""
        return None

    def close(self) -> None:
        """Close the items, if they can be closed."""
        close: Callable[[], object] | None = getattr(self.items, "close", None)
        if close is not None:
            close()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self.has_finished:
            raise StopIteration
        item = next(self.items, END)
        return self.finish() if item is END else self.encoder(item)


class GeneratorInThread(ThreadSource):
    """A generator."""

    __slots__ = ()

    items: GeneratorType[object, object, object]

    @property
    def has_ended(self) -> bool:
        return self.items.gi_frame is None


class FileObject(ThreadSource):
    """An object with a ``read``, which is closed at the end."""

    __slots__ = ("_file",)

    def __init__(self, file: Any) -> None:
        super().__init__(_pieces(file.read))
        self._file = file

    def close(self) -> None:
        close: Callable[[], object] | None = getattr(self._file, "close", None)
        if close is not None:
            close()


def _pieces(read: Callable[[int], object]) -> Iterator[object]:
    while piece := read(FILE_CHUNK):
        yield piece


class FileOnDisk(ThreadSource):
    """A ``FileRange``, which is closed with its request."""

    __slots__ = ()

    @property
    def file(self) -> FileRange | None:
        part: FileRange = self.items
        return None if self.transforms else part


class PoolStream(ThreadSource):
    """The chunks of a generator in another process, whose calls can be interrupted."""

    __slots__ = ()

    items: RemoteChunks

    @property
    def interrupt(self) -> Callable[[], object]:
        return self.items.interrupt_next


# -- what becomes a source ---------------------------------------------------------------------------------------------


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


def source_of(body: object) -> Source | None:
    """Return the source that an iterator or a file is; None for any other body. A list is JSON and no source."""
    if type(body) in _NO_STREAMS:  # the checks below take as long as encoding such a body
        return None
    if isinstance(body, Source):
        return body
    if type(body) is GeneratorType:
        return GeneratorInThread(body)
    if type(body) is FileRange:
        return FileOnDisk(body)
    if isinstance(body, RemoteChunks):
        return PoolStream(body)
    if hasattr(body, "__aiter__"):
        return loop_source(body.__aiter__())
    if callable(getattr(body, "read", None)):
        return FileObject(body)
    return ThreadSource(body) if isinstance(body, Iterator) else None


def loop_source(items: AsyncIterator[object], events: EventRules | None = None) -> LoopSource:
    """Return the source that an async iterator is."""
    kind = GeneratorOnLoop if type(items) is AsyncGeneratorType else LoopSource
    return kind(items, events=events)


def stream_of(body: object) -> Stream | None:
    """Return ``body`` as a stream if it is an iterator or a file, else None."""
    source = source_of(body)
    return None if source is None else Stream(source)


def transform_stream(stream: Stream, transform: StreamTransform) -> Source:
    """Transform the chunks of a stream of which none has been fetched. Return the body that takes its place."""
    source = stream.source
    source.transforms = (*source.transforms, transform)
    source.may_begin_empty = False  # the head may depend on the first chunk
    return source


# -- the answer that has a source --------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class Stream:
    """One answer's body in chunks.

    ``first``: the chunk fetched ahead, ``PENDING`` until it is there, ``END`` if there is none. ``fetcher``: what the
    driver fetches the chunks with, once it has begun. ``is_head_sent``: whether the head was sent before a chunk.
    """

    source: Source
    fetcher: object = None
    first: Any = PENDING
    is_head_sent: bool = False
    is_open: bool = True  # until its close is claimed

    @property
    def has_begun(self) -> bool:
        """Whether the head is complete: a chunk was fetched, or is not waited for."""
        return self.first is not PENDING

    @property
    def is_empty(self) -> bool:
        """Whether the source has ended before its first chunk."""
        return self.first is END

    @property
    def length(self) -> int | None:
        """The length of the body, which is known of files only."""
        file = self.source.file
        return None if file is None else file.length

    def fetch_first(self, on_loop: bool, early: EarlyHead) -> Flow[None]:
        """Fetch chunks until one has content; the head waits for it, but no longer than ``early`` lets it.

        ``on_loop``: whether the flow runs on an event loop.
        """
        source = self.source
        makes_chunks_here = isinstance(source, ThreadSource) and (not on_loop or source.file is not None)
        if makes_chunks_here and source.file is None and not source.may_begin_empty and early.seconds() == 0:
            self.first = early.filler()
        while self.first is PENDING:
            if isinstance(source, ThreadSource) and makes_chunks_here:
                chunk: Any = next(source, END)
            else:
                try:
                    chunk = yield CHUNK, no_function, (self, early)
                except StopAsyncIteration:
                    chunk = END
                if early.answer is not None:  # the head is sent, so what is wrong with the chunk is the driver's to say
                    self.first = chunk
                    return
                if chunk is LATE:
                    self.first = early.filler()
                    return
            self.first = chunk if chunk or source.may_begin_empty else PENDING
        early.is_wanted = False

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
        return was_open and not self.source.has_ended


# -- the head that waits for the first chunk no longer ----------------------------------------------------------------

# Seconds after which a driver asks for the first time how long the head waits: until then a generator sets its type.
ASK_AFTER = 0.01


@dataclass(slots=True, eq=False)
class EarlyHead:
    """The head of ``response``, whose body is ``stream``; ``_complete_head`` returns the flow that completes it.

    ``is_wanted``: whether the first chunk has not come. ``answer``: the answer, once its head is being sent early.
    """

    _exchange: Exchange
    _response: Response
    stream: Stream
    _complete_head: Callable[[], Flow[Answer]]
    is_wanted: bool = True
    answer: Answer | None = None

    def seconds(self) -> float | None:
        """Return the seconds that the head waits for the first chunk in all; None for as long as that takes."""
        delay = self._exchange.config.settings.stream_head_delay
        events = self.stream.source.events
        if events is not None:
            return HEAD_WITHIN
        if delay is None or self._exchange.method == "HEAD":
            return None
        return 0.0 if self._has_events() else delay

    def pauses(self, waited: float = 0.0) -> Iterator[float | None]:
        """Yield the seconds to wait before the next look for the first chunk, until the head is due; None for no limit.

        ``waited``: the seconds that have passed. A generator in a thread may state its type late on a busy machine, so
        ``seconds`` is asked again after each pause, and each is twice as long as the one before.
        """
        pause = ASK_AFTER
        seconds: float | None = inf
        while seconds is not None and waited < seconds:
            yield pause
            waited += pause
            seconds = self.seconds()
            if seconds is not None:
                pause = min(2 * pause, seconds - waited)
        if seconds is None:
            yield None

    def _has_events(self) -> bool:
        """Return whether the author has stated that the stream is one of events."""
        for response in (self._response, self._exchange.pending):
            if response is not None:
                content_type = response.headers.get("Content-Type") or response.content_type
                if content_type is not None:
                    return content_type.lower().startswith(MEDIA_TYPE)
        return False

    def filler(self) -> bytes:
        """Return the chunk that is sent with the head: a comment for events, because some servers keep the head back
        until there is a byte.
        """
        source = self.stream.source
        if source.events is not None:
            return source.beat()
        return HEART_BEAT if self._has_events() and not source.transforms else b""

    def complete(self) -> Flow[Answer]:
        """Complete the head without a chunk. From now on nothing can be set on ``self.response``."""
        self.stream.first = b""
        return (yield from self._complete_head())
