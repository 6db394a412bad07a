"""Streams: bodies in chunks, one class for each place where these are made, and ``stream_of``,
which makes them.

A stream has *items*: those of the iterator that a handler returned. ``encode`` makes a chunk of
bytes of an item, and ``finish`` returns the chunk that follows the last item. A class says where
the items are made:

- ``LoopStream``: async generators and iterators, and all events. One task of an event loop advances
  the stream from its first item to its last, and closes it.
- ``ThreadStream``: generators, iterators, files, the pool's streams. Under WSGI the server's thread
  advances it, under ASGI worker threads do (``threaded.py``).

The life of a stream is here, once, for both drivers:

1. ``fetch_first``, a flow: the first chunk is fetched before the response starts, so a generator may
   set headers, and one that fails at once still gets a proper error page. The head of events does
   not wait, because a browser's ``EventSource`` and most proxies wait for it: it leaves with a
   comment.
2. The driver sends the head and the first chunk, takes the items that are left and sends a chunk of
   each.
3. The stream ends with its items, with an error, when ``end`` is called because its rest is not
   wanted, or when the server is told to end (``hear_shut_down``).
4. ``leave`` closes it, exactly once, and says what is to be raised.

Hooks may iterate over the body of a response, so a stream is also an iterator over its chunks, sync
or async.

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

The task group is open while the generator is suspended at ``yield``. A cancel scope belongs to the
task that enters it, and a task's scopes form a stack: each is left in the task that entered it, the
innermost first. An async generator has no task; it runs in the task that calls ``__anext__``. So
the group is pushed on the stack of the task that takes the first chunk, and stays there until the
generator ends. Three obvious ways to drive a stream therefore fail:

- A new task, or a pool of them, for each chunk: the scope is entered in one task and left in
  another.
- ``with move_on_after(...)`` around each ``__anext__``: the generator's scope is entered inside of
  ours and is still open when the outer one is left. The stack is corrupted.
- Cancel the task and call ``aclose()`` in another, or leave that to the garbage collector: again
  the wrong task.

The invariants
--------------
1. One task calls ``enter``, then every ``__anext__``, then ``leave``. It enters and leaves no scope
   around any of them that does not enclose them all.
2. The framework has one scope. It is entered before the first chunk and left after the items are
   closed, so every scope of the items nests in it. A time limit or a shield is not another scope, but
   a change of this one.
3. The items are closed once, within ``CLEAN_UP_WITHIN`` seconds, whatever ended them: their end, an
   error in them, an error of the sender, a client that left, a server that cancels.
4. ``leave`` returns the error to raise and raises none itself. So the caller can tell its other
   side of the end before it raises. An error of the items' own is never lost to a cancellation.

How it ends
-----------
``end`` is called by another task of the loop. A generator that waits inside of ``__anext__``
(``is_waiting``) is cancelled there. One that is suspended at ``yield`` is not: its ``finally`` may
want to wait, and in a cancelled scope every wait is cancelled. It gets a deadline instead; its task
looks at what happened and calls ``leave``.

A cancellation that arrives while a chunk is *sent* may come from a time-out inside of the
generator, which is still open. Only the generator can catch it, so ``leave`` throws it into the
generator. If that handles it and yields once more, there is no way to go on with a chunk that was
sent in part: the stream ends with ``TimeoutError``.

An iterator that is no generator has no frame to unwind, and no scope open. It is closed in a new,
shielded scope: when ours was cancelled, its clean-up could not wait there.

asyncio and trio
----------------
trio refuses a corrupted stack itself; under asyncio anyio does. Both cancel by level: as long as
the scope is cancelled, every wait in it raises again. asyncio alone cancels by edge, once, and
anyio repeats it until the scope is left. Code here must not depend on either: it waits in a
cancelled scope only under a shield. trio's ``__exit__`` returns True also if there was no
exception, anyio's for asyncio does not, so its result counts only for a failure. The cancellation
is ``asyncio.CancelledError`` or ``trio.Cancelled``, and code can't construct the latter; so a
caught one is kept and thrown on, never made anew. Under either, a task group wraps the errors of
its tasks and of its body in an exception group; ``leave`` removes the ``GeneratorExit`` and the
cancellations from it.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from types import AsyncGeneratorType, GeneratorType
from typing import Any, Final, NamedTuple, Protocol

import anyio

from micropie._core.errors import ClientDisconnect, ResponseError
from micropie._core.execution import (
    CLEAN_UP_WITHIN,
    TASKS,
    WAKERS,
    Action,
    AsyncAction,
    current,
)
from micropie._core.execution.steps import CHUNK, CLOSE, Flow, no_function
from micropie._core.http import BODIES, Response
from micropie._core.http.escaping import html, is_html
from micropie._core.streams.files import FILE_CHUNK, FileRange

PENDING: Final = object()  # no chunk has been fetched yet
END: Final = object()  # instead of a chunk: there is no further one

MEDIA_TYPE: Final = "text/event-stream"

# A comment, sent while an event stream is silent: a proxy keeps the connection open, and a client
# that has left is noticed.
HEART_BEAT: Final = b": \n\n"

_BYTES = (bytes, bytearray, memoryview)


def as_bytes(chunk: object) -> bytes:
    """Return a stream's chunk as bytes; text becomes UTF-8.

    Raises ``ResponseError`` for any other type.
    """
    if isinstance(chunk, str):
        return chunk.encode()
    if isinstance(chunk, _BYTES):
        return bytes(chunk)  # PEP 3333 wants no subclass
    if is_html(chunk):
        return html(chunk).encode()
    raise ResponseError(
        f"a stream's chunks are text or bytes, not {type(chunk).__name__}: write yield "
        "json.dumps(...), or return a list of all"
    )


class ShutdownSignal:
    """Functions to call once, when something ends. Thread-safe; it takes no lock.

    A function that is added while ``end`` runs may be called twice, and has to allow for that.
    """

    def __init__(self) -> None:
        self.is_over = False
        self._functions: dict[Action, Action] = {}

    def add(self, function: Action) -> Action:
        """Call ``function`` at the end, or now if that has come.

        Return a function that does what ``leave`` does.
        """
        self._functions[function] = function
        if self.is_over:
            self._call(function)
        return partial(self.leave, function)

    def leave(self, function: Action) -> None:
        """Forget a function.

        For idle WebSockets: it takes less memory than to keep what ``add`` returns.
        """
        self._functions.pop(function, None)

    def end(self) -> None:
        """Call all functions, and from now on, until ``begin``, each that is added."""
        self.is_over = True
        for function in list(self._functions):
            self._call(function)

    def begin(self) -> None:
        """Begin anew, for an application that is started once more."""
        self.is_over = False

    def _call(self, function: Action) -> None:
        self._functions.pop(function, no_function)()


# The signal of the event stream whose events this code makes.
stream_shutdown: ContextVar[ShutdownSignal] = ContextVar("micropie.stream_shutdown")


def current_shutdown() -> ShutdownSignal | None:
    """Return the signal that ends this code: of its event stream, or else of the application.

    None outside requests. Its ``is_over`` is whether that has come, and its ``add(function)`` calls
    ``function`` without arguments then, or at once if it has come, and returns a function that
    forgets it. Any thread may call both.

        forget = signal.add(waiter.wake)
    """
    request = current.get(None)
    config = None if request is None else getattr(request._exchange, "config", None)
    return stream_shutdown.get(None) or (None if config is None else config.shutdown)


class StreamTransform(Protocol):
    """Transforms the chunks of one stream, as a compressor does."""

    def feed(self, chunk: bytes) -> bytes:
        """Return ``chunk`` transformed, all of it, because the client may be waiting."""

    def finish(self) -> bytes:
        """Return the rest, when the items have ended."""


class EventRules(NamedTuple):
    """How the items of a stream of events are sent.

    ``encode`` returns an event as a chunk, b"" for none. ``heartbeat``: seconds of silence after
    which a comment is sent, None for never. ``shutdown``: the signal that ends the stream.
    """

    encode: Callable[[object], bytes]
    heartbeat: float | None
    shutdown: ShutdownSignal


class Stream:
    """The body of one answer, in chunks, from its first one to its close.

    ``owner``: the object that is closed, by default ``items``. ``events``: the rules of a stream of
    events; None for other streams. ``may_begin_empty``: whether the head waits for the first chunk,
    even an empty one: that of a mounted application, which has sent its head, or of a subscription.
    ``encode`` returns an item as a chunk. It raises ``ResponseError`` for an item of a wrong type.
    ``interrupt``: a function that ends the wait for an item, from any thread; None if that can't be
    done. ``file``: the file that is the body; None if the body is something else, or is
    transformed. ``length``: the length of that.

    ``is_text``: whether the first item was text. ``first``: the chunk that was fetched ahead,
    ``PENDING`` until it is there, ``END`` if there is none. ``driver``: what the driver fetches the
    chunks with, once it has begun. ``has_finished``: whether the last chunk was made. ``is_open``:
    whether it is not closed yet. ``heartbeat``: the seconds of silence after which ``HEART_BEAT``
    is sent, None for never.
    """

    encode: Callable[[Any], bytes] = staticmethod(as_bytes)
    transforms: tuple[StreamTransform, ...] = ()
    file: FileRange | None = None
    length: int | None = None
    is_text = False
    first: Any = PENDING
    driver: Any = None
    has_finished = False
    is_open = True
    heartbeat: float | None = None

    def __init__(
        self,
        items: Any,
        may_begin_empty: bool = False,
        events: EventRules | None = None,
        owner: object = None,
        interrupt: Action | None = None,
    ) -> None:
        self.items = items
        if type(items) is FileRange:
            self.file, self.length = items, items.length
        self.owner: Any = items if owner is None else owner
        self.may_begin_empty = may_begin_empty
        self.interrupt = interrupt
        self.events = events
        if events is not None:
            self.encode, self.heartbeat = events.encode, events.heartbeat

    def transform(self, transform: StreamTransform) -> None:
        """Transform the chunks, of which none has been fetched."""
        encode = self.encode
        self.encode = lambda item: transform.feed(encode(item))
        self.transforms = (*self.transforms, transform)
        # a heart-beat can't stand between compressed chunks
        self.file = self.length = self.heartbeat = None
        self.may_begin_empty = False  # the head may depend on the first chunk

    def follow(self, events: EventRules, is_encoded: bool) -> None:
        """Be a stream of events from now on, whose items are chunks already.

        ``is_encoded``: a heart-beat can't stand between them, as they are compressed.
        """
        self.events = events
        self.heartbeat = None if is_encoded or self.transforms else events.heartbeat

    def finish(self) -> bytes:
        """Return the chunk that follows the last item: b"" if nothing does, and when it is asked
        for again.
        """
        rest = b""
        for transform in () if self.has_finished else self.transforms:
            rest = (transform.feed(rest) if rest else b"") + transform.finish()
        self.has_finished = True
        return rest

    @property
    def has_begun(self) -> bool:
        """Whether the head is complete: the first chunk was fetched, or is not waited for."""
        return self.first is not PENDING

    @property
    def is_empty(self) -> bool:
        """Whether the stream has ended before its first chunk."""
        return self.first is END

    def leave_to_server(self) -> None:
        """Fetch no chunk: the server sends the file by itself."""
        self.first = END

    def fetch_first(self, response: Response) -> Flow[None]:
        """Fetch the first chunk with content.

        The head of ``response`` waits for it, but not that of events.
        """
        if self.first is not PENDING:
            return
        is_stated = response.content_type is not None or response.pairs
        if not self.may_begin_empty and (
            self.events is not None or (is_stated and has_events(response))
        ):
            # A comment, because some servers keep the head back until there is a byte.
            encodings = [name for name, _ in response.pairs if name.lower() == "content-encoding"]
            self.first = b"" if self.transforms or encodings else HEART_BEAT
        elif isinstance(self, ThreadStream):
            for item in self.items:
                self.is_text = is_text = item.__class__ is str
                chunk = item.encode() if is_text and self.encode is as_bytes else self.encode(item)
                if chunk or self.may_begin_empty:
                    self.first = chunk
                    return
            self.first = self.finish() or END
        else:
            self.first = yield CHUNK, no_function, (self,)

    def close(self) -> Flow[None]:
        """Close the stream, unless that has been done."""
        if self.is_open:
            yield CLOSE, no_function, (self,)


# Why the rest of a stream is not wanted.
LEFT: Final = "the client has disconnected"
SHUT_DOWN: Final = "the server is shutting down"


class LoopStream(Stream):
    """A stream whose items are made on an event loop, by an async iterator.

    One task calls ``enter``, takes the items, and calls ``leave``. Another task may call ``end``.

    ``outcome``: why the stream was ended, None if it was not. ``is_advancing``: whether it may be
    cancelled, because its task is inside of the items, or sends one. Else a cancellation would
    arrive in other code. ``has_ended``: whether the items need no closing. A generator tells that
    itself.
    """

    outcome: str | None = None
    is_advancing = False
    has_ended = False
    _forget_shut_down: Action | None = None  # once it hears the shutdown
    _scope: anyio.CancelScope | None = None  # from ``enter`` to ``leave``

    @property
    def is_waiting(self) -> bool:
        """Whether the items are waited for and can be cancelled there; an iterator can't tell."""
        return type(self.items) is not AsyncGeneratorType or self.items.ag_running

    async def close_items(self) -> None:
        """Close the owner, if it can be closed."""
        aclose: AsyncAction | None = getattr(self.owner, "aclose", None)
        if aclose is not None:
            await aclose()

    # -- for hooks ---------------------------------------------------------------------------------

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> bytes:
        events = self.events
        if self.has_finished or (events is not None and events.shutdown.is_over):
            raise StopAsyncIteration
        try:
            item = await self.items.__anext__()
        except StopAsyncIteration:
            return self.finish()
        return self.encode(item)

    # -- for the task that advances it -------------------------------------------------------------

    def enter(self) -> None:
        """Enter the scope: before the first chunk, in the task that does all the rest."""
        if self.events is not None:
            self._signal = ShutdownSignal()
            self._token = stream_shutdown.set(self._signal)
        self._scope = TASKS.get().new_scope()
        self._scope.__enter__()

    def hear_shut_down(self) -> None:
        """End a stream of events when the server is told to end, also while it waits."""
        if self.events is not None and self._forget_shut_down is None:
            # In a task, because outside of one anyio can't tell the time.
            shut_down = partial(TASKS.get().start_soon, self._shut_down)
            self._forget_shut_down = self.events.shutdown.add(partial(WAKERS.get().call, shut_down))

    async def first_chunk(self) -> Any:
        """Return the first chunk with content, or ``END``. ``enter`` was called."""
        self.is_advancing = True
        try:
            async for item in self if self.items is None else self.items:
                if is_text := item.__class__ is str:
                    self.is_text = True
                chunk = item.encode() if is_text and self.encode is as_bytes else self.encode(item)
                if chunk or self.may_begin_empty:
                    return chunk
            return self.finish() or END
        finally:
            self.is_advancing = False

    def end(self, outcome: str) -> None:
        """End the stream, because its rest is not wanted.

        Called by another task, while its task waits.

        A wait for an item is cancelled. Between two chunks nothing is cancelled: the task has to
        look at what is going on, and ``leave``.
        """
        self.outcome = outcome
        if not self.is_advancing or self._scope is None:
            return
        if self.events is not None:
            self._signal.end()
        if self.is_waiting:
            self._scope.cancel()
        else:
            self._scope.deadline = anyio.current_time() + CLEAN_UP_WITHIN

    async def _shut_down(self) -> None:
        self.end(SHUT_DOWN)

    async def leave(self, failure: BaseException | None) -> BaseException | None:
        """Close the items, and leave the scope. ``failure`` is the error that ended them, or None.

        Return the error to raise, or None: ``failure``, or an error of the clean-up, or
        ``ClientDisconnect`` after ``end``. When it is shut down, it ends as if its items had ended.
        """
        self.is_advancing = False  # first: what is being closed must not be cancelled
        scope, self._scope = self._scope, None
        assert scope is not None  # noqa: S101
        if self._forget_shut_down is not None:
            self._forget_shut_down()
            self._forget_shut_down = None  # it refers to this object
        if self.events is not None:
            self._signal.end()
            stream_shutdown.reset(self._token)
            del self._token  # it refers to the context, and that to the request: a cycle
        if type(self.items) is not AsyncGeneratorType:
            if not self.has_ended:
                with anyio.move_on_after(CLEAN_UP_WITHIN, shield=True):
                    failure = await self._close_after(failure)
        elif self.items.ag_frame is not None:  # else it has ended
            scope.shield = True
            scope.deadline = anyio.current_time() + CLEAN_UP_WITHIN
            failure = await self._close_after(failure)
        if failure is None:
            scope.__exit__(None, None, None)
        elif scope.__exit__(type(failure), failure, failure.__traceback__):
            failure = ClientDisconnect("the client disconnected")
        # of the items' own, unless this task is being cancelled
        if isinstance(failure, _ChunkTimeout):
            try:
                await anyio.lowlevel.checkpoint_if_cancelled()
            except BaseException as error:
                failure = error
        self.is_open = False
        return (
            None if self.outcome is SHUT_DOWN and isinstance(failure, ClientDisconnect) else failure
        )

    async def _close_after(self, failure: BaseException | None) -> BaseException | None:
        try:
            if type(self.items) is AsyncGeneratorType and isinstance(
                failure, anyio.get_cancelled_exc_class()
            ):
                # It may come from a scope or a time-out of the generator's, and nothing else can
                # end that.
                with suppress(StopAsyncIteration):
                    await self.items.athrow(failure)
                failure = _ChunkTimeout(
                    "a chunk could not be sent within the time limit of its stream"
                )
            await self.close_items()
        except BaseExceptionGroup as group:
            failure = group.split((GeneratorExit, anyio.get_cancelled_exc_class()))[1] or failure
        except BaseException as error:
            failure = error
        return failure


class _ChunkTimeout(TimeoutError):
    """A cancellation ended the items while a chunk was sent."""


class ThreadStream(Stream):
    """A stream whose items are made in a thread, by an iterator."""

    @property
    def has_ended(self) -> bool:
        """Whether the items come from a generator that has ended, so that nothing is to be
        closed.
        """
        return type(self.owner) is GeneratorType and self.owner.gi_frame is None

    def close_items(self) -> None:
        """Close the owner, if it can be closed."""
        close: Action | None = getattr(self.owner, "close", None)
        if close is not None:
            close()

    def __next__(self) -> bytes:
        if not self.has_finished:
            for item in self.items:
                self.is_text = self.is_text or item.__class__ is str
                return self.encode(item)
            if rest := self.finish():
                return rest
        raise StopIteration

    def __iter__(self) -> Iterator[bytes]:
        """Iterate over the chunks that are left; another iteration may go on with the rest."""
        if self.has_finished:
            return
        encode = self.encode
        is_plain = encode is as_bytes
        for item in self.items:
            if is_plain and item.__class__ is str:
                yield item.encode()
            else:
                yield item if is_plain and item.__class__ is bytes else encode(item)
        rest = self.finish() if self.transforms else b""
        if rest:
            yield rest
        if type(self.owner) is GeneratorType:
            self.is_open = False


# -- what becomes a stream -------------------------------------------------------------------------


def is_stream(body: object) -> bool:
    """Return whether ``body`` comes in chunks that are yet to be made: an iterator or a file
    object.
    """
    return stream_of(body) is not None


def stream_of(body: object) -> LoopStream | ThreadStream | None:
    """Return the stream that an iterator or a file is; None for any other body.

    A list is JSON and no stream.
    """
    if type(body) in BODIES:  # the checks below take as long as encoding such a body
        return None
    if type(body) is AsyncGeneratorType:
        return LoopStream(body)
    if isinstance(body, LoopStream | ThreadStream):
        return body
    if type(body) is FileRange:
        return ThreadStream(body)
    if hasattr(body, "__aiter__"):
        return LoopStream(body.__aiter__())
    if callable(read := getattr(body, "read", None)):
        return ThreadStream(_pieces(read), owner=body)
    return ThreadStream(body) if isinstance(body, Iterator) else None


def _pieces(read: Callable[[int], object]) -> Iterator[object]:
    while piece := read(FILE_CHUNK):
        yield piece


def has_events(response: Response) -> bool:
    """Return whether the author has stated that a response has events."""
    content_type = response.content_type
    if response.pairs:
        content_type = response.headers.get("Content-Type") or content_type
    return content_type is not None and content_type.lower().startswith(MEDIA_TYPE)


async def entered(subscription: Any, first: object) -> AsyncIterator[object]:
    """Iterate over what an async context manager gives, inside of it; ``first`` is in front of
    that.
    """
    async with subscription as messages:
        yield first
        async for message in messages:
            yield message
