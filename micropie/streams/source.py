"""The sources of bodies in chunks, one class for each place, and ``source_of``, which makes them.

A source has *items*: those of the iterator that a handler returned. ``encoder`` makes a chunk of bytes of an item, and
``finish`` returns the chunk that follows the last item. A class says where the items are made:

- ``LoopSource``: async generators and iterators, and all events. One task of an event loop advances the source from
  its first item to its last, and closes it.
- ``ThreadSource``: generators, iterators, files, the pool's streams. Under WSGI the server's thread advances it, under
  ASGI worker threads do (``threaded.py``).

A ``Stream`` is the state of one answer that has a source. The flow fetches the first chunk before the head is sent, so
a generator that fails at once still gets a proper error page. The driver fetches the rest and closes the source exactly
once.

Hooks may iterate over the body of a response, so a source is also an iterator over its chunks, sync or async.

**The head** waits for the first chunk, so that a generator may set headers and an error still gets its page. That of
events does not wait, because a browser's ``EventSource`` and most proxies wait for it: it leaves with a comment.

One task, one scope
===================

The problem
-----------
An author may write this, and it has to work::

    async def ticks(self):
        async with create_task_group() as tasks:      # or fail_after(60), or a client library that does the same
            tasks.start_soon(self.produce)
            async for item in self.items:
                yield item

The task group is open while the generator is suspended at ``yield``. A cancel scope belongs to the task that enters it,
and a task's scopes form a stack: each is left in the task that entered it, the innermost first. An async generator has
no task; it runs in the task that calls ``__anext__``. So the group is pushed on the stack of the task that takes the
first chunk, and stays there until the generator ends. Three obvious ways to drive a stream therefore fail:

- A new task, or a pool of them, for each chunk: the scope is entered in one task and left in another.
- ``with move_on_after(...)`` around each ``__anext__``: the generator's scope is entered inside of ours and is still
  open when ours is left. The stack is corrupted.
- Cancel the task and call ``aclose()`` in another, or leave that to the garbage collector: again the wrong task.

The invariants
--------------
1. One task calls ``enter``, then every ``__anext__``, then ``leave``. It enters and leaves no scope around any of them
   that does not enclose them all.
2. There is one scope of ours. It is entered before the first chunk and left after the source is closed, so every scope
   of the source nests in it. A time limit or a shield is not another scope, but a change of this one.
3. The source is closed once, within ``CLEAN_UP_WITHIN`` seconds, whatever ended it: its end, an error in it, an error
   of the sender, a client that left, a server that cancels.
4. ``leave`` returns the error to raise and raises none itself, unless a chunk could not be sent because its task is
   being cancelled; then that is raised. So the caller can tell its other side of the end before it raises. An error of
   the source's own is never lost to a cancellation.

How it ends
-----------
``cancel`` is called by another task of the loop. A source that waits inside of ``__anext__`` (``is_waiting``) is
cancelled there. One that is suspended at ``yield`` is not: its ``finally`` may want to wait, and in a cancelled scope
every wait is cancelled. It gets a deadline instead; its task looks at what happened and calls ``leave``.

A cancellation that arrives while a chunk is *sent* may come from a time-out inside of the source, which is still open.
Only the source can catch it, so ``leave`` throws it into the generator. If the generator handles it and yields once
more, there is no way to go on with a chunk that was sent in part: the stream ends with ``TimeoutError``.

An iterator that is no generator has no frame to unwind, and no scope open. It is closed in a new, shielded scope: when
ours was cancelled, its clean-up could not wait there.

asyncio and trio
----------------
trio refuses a corrupted stack itself; under asyncio anyio does. Both cancel by level: as long as the scope is
cancelled, every wait in it raises again. asyncio alone cancels by edge, once, and anyio repeats it until the scope is
left. Code here must not depend on either: it waits in a cancelled scope only under a shield. trio's ``__exit__``
returns True also if there was no exception, anyio's for asyncio does not, so its result counts only for a failure. The
cancellation is ``asyncio.CancelledError`` or ``trio.Cancelled``, and code can't construct the latter; so a caught one
is kept and thrown on, never made anew. Under either, a task group wraps the errors of its tasks and of its body in an
exception group; ``leave`` removes the ``GeneratorExit`` and the cancellations from it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from types import AsyncGeneratorType, GeneratorType
from typing import Any, Final, NamedTuple, Protocol

import anyio

from micropie.errors import ClientDisconnect, ResponseError
from micropie.execution import CHUNK, CLEAN_UP_WITHIN, CLOSE, Flow, Step, current, no_function
from micropie.http import BODIES, Response, html, is_html
from micropie.pool import RemoteChunks
from micropie.streams.files import FILE_CHUNK, FileRange

PENDING: Final = object()  # no chunk has been fetched yet
END: Final = object()  # stands for StopIteration, which can't cross threads and futures


class StreamTransform(Protocol):
    """Transforms the chunks of one stream, as a compressor does."""

    def feed(self, chunk: bytes) -> bytes:
        """Return ``chunk`` transformed, all of it, because the client may be waiting."""

    def finish(self) -> bytes:
        """Return the rest, when the source has ended."""


# -- the end of streams and subscriptions ------------------------------------------------------------------------------


class ShutdownSignal:
    """Functions to call once, when something ends. Thread-safe; it takes no lock.

    A function that is added while ``end`` runs may be called twice, and has to allow for that.
    """

    def __init__(self) -> None:
        self.is_over = False
        self._functions: dict[Callable[[], object], Callable[[], object]] = {}

    def add(self, function: Callable[[], object]) -> Callable[[], object]:
        """Call ``function`` at the end, or now if that has come. Return a function that does what ``leave`` does."""
        self._functions[function] = function
        if self.is_over:
            self._call(function)
        return partial(self.leave, function)

    def leave(self, function: Callable[[], object]) -> None:
        """Forget a function. For idle WebSockets: it takes less memory than to keep what ``add`` returns."""
        self._functions.pop(function, None)

    def end(self) -> None:
        """Call all functions, and from now on, until ``begin``, each that is added."""
        self.is_over = True
        for function in list(self._functions):
            self._call(function)

    def begin(self) -> None:
        """Begin anew, for an application that is started once more."""
        self.is_over = False

    def _call(self, function: Callable[[], object]) -> None:
        if self._functions.pop(function, None) is not None:
            function()


# The signal of the event stream whose events this code makes.
stream_shutdown: ContextVar[ShutdownSignal] = ContextVar("micropie.stream_shutdown")


def current_shutdown() -> ShutdownSignal | None:
    """Return the signal that ends this code: of its event stream, or else of the application. None outside requests."""
    request = current.get(None)
    config = None if request is None else getattr(request._exchange, "config", None)
    return stream_shutdown.get(None) or (None if config is None else config.shutdown)


# -- sources -----------------------------------------------------------------------------------------------------------

MEDIA_TYPE: Final = "text/event-stream"

# A comment, sent while an event stream is silent: a proxy keeps the connection open, and a client that has left is
# noticed.
HEART_BEAT: Final = b": \n\n"


class EventRules(NamedTuple):
    """How the items of a stream of events are sent.

    ``encode`` returns an event as a chunk, b"" for none. ``heartbeat``: seconds of silence after which a comment is
    sent, None for never. ``shutdown``: the signal that ends the stream.
    """

    encode: Callable[[object], bytes]
    heartbeat: float | None
    shutdown: ShutdownSignal


class Source:
    """Where the chunks of one body come from.

    ``events``: the rules of a stream of events; None for other streams. ``may_begin_empty``: whether the head waits for
    the first chunk, even an empty one: that of a mounted application, which has sent its head, or of a subscription.
    ``has_finished``: whether the last chunk has been made. ``owner``: the object that is closed, by default ``items``.
    """

    __slots__ = ("events", "has_finished", "items", "may_begin_empty", "owner", "transforms")

    def __init__(
        self, items: Any, may_begin_empty: bool = False, events: EventRules | None = None, owner: object = None
    ) -> None:
        self.items = items
        self.owner: Any = items if owner is None else owner
        self.may_begin_empty = may_begin_empty
        self.events = events
        self.transforms: tuple[StreamTransform, ...] = ()
        self.has_finished = False

    @property
    def file(self) -> FileRange | None:
        """The file that is the body; None if the body is something else, or is transformed."""
        return None

    @property
    def encoder(self) -> Callable[[object], bytes]:
        """The function that returns an item as a chunk. It raises ``ResponseError`` for an item of a wrong type."""
        encode = as_bytes if self.events is None else self.events.encode
        return (lambda item: self._transformed(encode(item))) if self.transforms else encode

    @property
    def heartbeat(self) -> float | None:
        """The seconds of silence after which ``HEART_BEAT`` is sent. None for never: not between compressed chunks."""
        return None if self.events is None or self.transforms else self.events.heartbeat

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
    """A source on an event loop: an async iterator.

    One task calls ``enter``, advances the source, and calls ``leave``. Another task may call ``cancel``.
    """

    __slots__ = ("_scope", "_signal", "_token")

    @property
    def _generator(self) -> AsyncGeneratorType[object, object] | None:
        """The items, if they are a generator, which can tell what it does."""
        return self.items if type(self.items) is AsyncGeneratorType else None

    @property
    def has_ended(self) -> bool:
        """Whether the items come from a generator that has ended, so that nothing is to be closed."""
        generator = self._generator
        return generator is not None and generator.ag_frame is None

    @property
    def is_waiting(self) -> bool:
        """Whether the source waits for something of its own and can be cancelled there; an iterator can't tell."""
        generator = self._generator
        return generator is None or generator.ag_running

    async def close(self) -> None:
        """Close the owner, if it can be closed."""
        aclose: Callable[[], Awaitable[object]] | None = getattr(self.owner, "aclose", None)
        if aclose is not None:
            await aclose()

    @property
    def items_left(self) -> AsyncIterator[object]:
        """The items that the driver encodes itself; a loop over them is faster than one over the chunks."""
        items: AsyncIterator[object] = self.items
        return items

    def __aiter__(self) -> LoopSource:
        return self

    async def __anext__(self) -> bytes:
        events = self.events
        if self.has_finished or (events is not None and events.shutdown.is_over):
            raise StopAsyncIteration
        try:
            item = await self.items.__anext__()
        except StopAsyncIteration:
            return self.finish()
        if events is not None and events.shutdown.is_over:  # while the item was made
            raise StopAsyncIteration
        return self.encoder(item)

    # -- the scope of the task that advances it ------------------------------------------------------------------------

    def enter(self) -> None:
        """Enter the scope: before the first chunk, in the task that does all the rest."""
        if self.events is not None:
            self._signal = ShutdownSignal()
            self._token = stream_shutdown.set(self._signal)
        self._scope = anyio.CancelScope()
        self._scope.__enter__()

    def cancel(self) -> None:
        """End the source, because its chunks are not wanted. Called while its task waits.

        A wait inside of the source is cancelled. Between two chunks nothing is cancelled: the task has to look at what
        is going on, and ``leave``.
        """
        if self.events is not None:
            self._signal.end()
        if self.is_waiting:
            self._scope.cancel()
        else:
            self._scope.deadline = anyio.current_time() + CLEAN_UP_WITHIN

    async def leave(self, failure: BaseException | None, is_open: bool) -> BaseException | None:
        """Close the source if it ``is_open``, and leave the scope. ``failure`` is the error that ended it, or None.

        Return the error to raise, or None: ``failure``, or an error of the clean-up, or ``ClientDisconnect`` after
        ``cancel``.
        """
        if self.events is not None:
            self._signal.end()
            stream_shutdown.reset(self._token)
        if is_open and self._generator is not None:
            self._scope.shield = True
            self._scope.deadline = anyio.current_time() + CLEAN_UP_WITHIN
            failure = await self._close_after(failure)
        elif is_open:
            with anyio.move_on_after(CLEAN_UP_WITHIN, shield=True):
                failure = await self._close_after(failure)
        if failure is None:
            self._scope.__exit__(None, None, None)
        elif self._scope.__exit__(type(failure), failure, failure.__traceback__):
            failure = ClientDisconnect("the client left")
        if isinstance(failure, _ChunkTimeout):  # of the source's own, unless this task is being cancelled
            await anyio.lowlevel.checkpoint_if_cancelled()
        return failure

    async def _close_after(self, failure: BaseException | None) -> BaseException | None:
        try:
            if self._generator is not None and isinstance(failure, anyio.get_cancelled_exc_class()):
                # It may come from a scope or a time-out of the generator's, and nothing else can end that.
                with suppress(StopAsyncIteration):
                    await self._generator.athrow(failure)
                failure = _ChunkTimeout("a chunk could not be sent in the time that the stream gave itself")
            await self.close()
        except BaseExceptionGroup as group:
            failure = group.split((GeneratorExit, anyio.get_cancelled_exc_class()))[1] or failure
        except BaseException as error:
            failure = error
        return failure


class _ChunkTimeout(TimeoutError):
    """A cancellation ended the source while a chunk was sent."""


class ThreadSource(Source):
    """A source in a thread: an iterator."""

    __slots__ = ()

    @property
    def has_ended(self) -> bool:
        """See ``LoopSource``."""
        return type(self.owner) is GeneratorType and self.owner.gi_frame is None

    @property
    def file(self) -> FileRange | None:
        return self.items if type(self.items) is FileRange and not self.transforms else None

    @property
    def interrupt(self) -> Callable[[], object] | None:
        """A function that ends the wait for an item, from any thread; None if that can't be done."""
        return self.items.interrupt_next if isinstance(self.items, RemoteChunks) else None

    def close(self) -> None:
        """Close the owner, if it can be closed."""
        close: Callable[[], object] | None = getattr(self.owner, "close", None)
        if close is not None:
            close()

    def __next__(self) -> bytes:
        if not self.has_finished:
            for item in self.items:
                return self.encoder(item)
            if rest := self.finish():
                return rest
        raise StopIteration

    def __iter__(self) -> Iterator[bytes]:
        """Iterate over the chunks that are left; another iteration may go on with the rest."""
        if self.has_finished:
            return
        encode = self.encoder
        ready = bytes if encode is as_bytes else None
        for item in self.items:
            yield item if type(item) is ready else encode(item)
        rest = self.finish()
        if rest:
            yield rest


def _pieces(read: Callable[[int], object]) -> Iterator[object]:
    while piece := read(FILE_CHUNK):
        yield piece


# -- what becomes a source ---------------------------------------------------------------------------------------------


_BYTES = (bytes, bytearray, memoryview)


def as_bytes(chunk: object) -> bytes:
    """Return a stream's chunk as bytes; text becomes UTF-8. Raises ``ResponseError`` for any other type."""
    if isinstance(chunk, str):
        return chunk.encode()
    if isinstance(chunk, _BYTES):
        return bytes(chunk)  # PEP 3333 wants no subclass
    if is_html(chunk):
        return html(chunk).encode()
    raise ResponseError(f"a stream's chunks are text or bytes, not {type(chunk).__name__}")


def is_stream(body: object) -> bool:
    """Return whether ``body`` comes in chunks that are yet to be made: an iterator or a file object."""
    if type(body) in BODIES:
        return False
    return hasattr(body, "__aiter__") or isinstance(body, Iterator) or callable(getattr(body, "read", None))


def source_of(body: object) -> LoopSource | ThreadSource | None:
    """Return the source that an iterator or a file is; None for any other body. A list is JSON and no source."""
    if type(body) in BODIES:  # the checks below take as long as encoding such a body
        return None
    if isinstance(body, LoopSource | ThreadSource):
        return body
    if type(body) is GeneratorType or type(body) is FileRange:
        return ThreadSource(body)
    if hasattr(body, "__aiter__"):
        return LoopSource(body.__aiter__())
    if callable(read := getattr(body, "read", None)):
        return ThreadSource(_pieces(read), owner=body)
    return ThreadSource(body) if isinstance(body, Iterator) else None


def has_events(response: Response) -> bool:
    """Return whether the author has stated that a response has events."""
    return (response.headers.get("Content-Type") or response.content_type or "").lower().startswith(MEDIA_TYPE)


async def entered(subscription: Any, first: object) -> AsyncIterator[object]:
    """Iterate over what an async context manager gives, inside of it; ``first`` is in front of that."""
    async with subscription as messages:
        yield first
        async for message in messages:
            yield message


def stream_of(body: object) -> Stream | None:
    """Return ``body`` as a stream if it is an iterator or a file, else None."""
    source = None if type(body) in BODIES else source_of(body)
    return None if source is None else Stream(source)


def transform_stream(stream: Stream, transform: StreamTransform) -> LoopSource | ThreadSource:
    """Transform the chunks of a stream of which none has been fetched. Return the body that takes its place."""
    source = stream.source
    source.transforms = (*source.transforms, transform)
    source.may_begin_empty = False  # the head may depend on the first chunk
    return source


# -- the answer that has a source --------------------------------------------------------------------------------------


class Stream:
    """One answer's body in chunks.

    ``first``: the chunk fetched ahead, ``PENDING`` until it is there, ``END`` if there is none. ``fetcher``: what the
    driver fetches the chunks with, once it has begun.
    """

    __slots__ = ("fetcher", "first", "is_open", "source")

    def __init__(self, source: LoopSource | ThreadSource) -> None:
        self.source = source
        self.fetcher: object = None
        self.first: Any = PENDING
        self.is_open = True  # until its close is claimed

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

    def fetch_first(self, response: Response, may_block: bool) -> Flow[None]:
        """Fetch chunks until one has content, for which the head of ``response`` waits, but not that of events.

        ``may_block``: whether the flow's own thread may make them.
        """
        source = self.source
        if not source.may_begin_empty and (source.events is not None or has_events(response)):
            # A comment, because some servers keep the head back until there is a byte.
            is_encoded = source.transforms or "Content-Encoding" in response.headers
            self.first = b"" if is_encoded else HEART_BEAT
        makes_chunks_here = isinstance(source, ThreadSource) and (may_block or source.file is not None)
        while self.first is PENDING:
            if isinstance(source, ThreadSource) and makes_chunks_here:
                chunk: Any = next(source, END)
            else:
                try:
                    chunk = yield CHUNK, no_function, (self,)
                except StopAsyncIteration:
                    chunk = END
            self.first = chunk if chunk or source.may_begin_empty else PENDING

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
