"""Streams: bodies in chunks. There is one class for chunks made on an event loop and one for chunks
made in a thread. ``stream_of`` returns the stream for a handler's result.

The *items* of a stream come from the iterator that a handler returned. ``encode`` converts an item
to a chunk of bytes, and ``finish`` returns the chunk after the last item. The class of the stream
depends on where the items are made:

- ``LoopStream``: async generators and iterators, and all events. One task of an event loop advances
  the stream from its first item to its last, and closes it.
- ``ThreadStream``: generators, iterators, files, and the streams of the process pool. Under WSGI,
  the server's thread advances the stream. Under ASGI, worker threads do (``threaded.py``).

The stages of a stream are the same for both drivers:

1. ``fetch_first``, a flow, fetches the first chunk before the response starts. So a generator may
   set headers, and if it fails immediately, the client still gets a proper error page. An event
   stream doesn't wait for an event: its head (the status and the headers) is sent with a comment,
   because a browser's ``EventSource`` and most proxies wait for the head.
2. The driver sends the head and the first chunk. Then it fetches the other items, and sends a chunk
   for each.
3. The stream ends when its items end, when there is an error, when ``end`` is called because the
   rest is not needed, or when the server shuts down (``end_at_shutdown``).
4. ``leave`` closes the stream, exactly once, and returns the error that its caller must raise.

Hooks may iterate over the body of a response, so a stream is also an iterator over its chunks, sync
or async.

One task, one scope
===================

The problem
-----------
The following handler has to work::

    async def ticks(self):
        async with create_task_group() as tasks:      # or fail_after(60), or a client library that does the same
            tasks.start_soon(self.produce)
            async for item in self.items:
                yield item

The task group is open while the generator is suspended at ``yield``. A cancel scope belongs to the
task that enters it, and a task's scopes form a stack: each scope must be exited in the task that
entered it, the innermost first. An async generator has no task of its own; it runs in the task that
calls ``__anext__``. So the task group is on the stack of the task that fetches the first chunk, and
stays there until the generator ends. For this reason, three obvious ways to run a stream fail:

- Using a new task, or one of a pool, for each chunk: the scope would be entered in one task and
  exited in another.
- Writing ``with move_on_after(...)`` around each ``__anext__``: the generator would enter its own
  scope inside this scope, and this scope would be exited first. That corrupts the stack.
- Cancelling the task and calling ``aclose()`` in another task, or leaving that to the garbage
  collector: again, the scope would be exited in the wrong task.

The invariants
--------------
1. One task calls ``enter``, then every ``__anext__``, then ``leave``. Between these calls it has no
   scope open except those that enclose all of them.
2. The framework has one scope. It is entered before the first chunk and exited after the items are
   closed, so every scope of the items is nested in it. A time limit or a shield is not another
   scope, but a change of this one.
3. The items are closed once, within ``CLEAN_UP_WITHIN`` seconds, whatever the reason for the end:
   the last item, an error in the items, an error of the sender, a disconnect of the client, or a
   cancellation by the server.
4. ``leave`` returns the error to raise, and raises none itself, so that its caller can clean up
   before it raises the error. An error of the items is never lost because of a cancellation.

How a stream is ended early
---------------------------
Another task of the loop calls ``end``. If the generator is waiting inside ``__anext__``
(``is_waiting``), it is cancelled there. If it is suspended at ``yield``, it is not cancelled,
because its ``finally`` may have to wait, and in a cancelled scope every wait is cancelled. It gets
a deadline instead. The stream's task notices that ``end`` was called, and calls ``leave``.

A cancellation that arrives while a chunk is being *sent* may come from a timeout that is still open
inside the generator. Only the generator can catch the cancellation, so ``leave`` throws it into the
generator. If the generator handles it and yields once more, the stream can't go on, because a chunk
was only partly sent. The stream then ends with ``TimeoutError``.

An iterator that is not a generator has no frame to unwind and no open scope. It is closed in a new,
shielded scope, because its clean-up could not wait in the existing scope if that is cancelled.

asyncio and trio
----------------
A corrupted stack raises an error: under trio from trio itself, under asyncio from anyio. trio and
anyio use level cancellation: while a scope is cancelled, every wait in it raises the cancellation
again. asyncio without anyio uses edge cancellation, which raises only once; anyio repeats it until
the scope is exited. The code here must not depend on either, so it waits in a cancelled scope only
under a shield. If there was no exception, the ``__exit__`` of a scope returns True on trio, but not
on asyncio. So its result is used only after an exception. The cancellation is
``asyncio.CancelledError`` or ``trio.Cancelled``. Code can't create a ``trio.Cancelled``, so a
caught cancellation is stored and raised again later. Under either loop, a task group wraps the
errors of its tasks and of its body in an exception group. ``leave`` removes the ``GeneratorExit``
and the cancellations from the group.
"""  # noqa: E501

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, suppress
from contextvars import ContextVar
from functools import partial
from types import AsyncGeneratorType, GeneratorType
from typing import Any, NamedTuple, Protocol, TypeAlias

import anyio

from micropie._core.errors import ClientDisconnect, ResponseError
from micropie._core.execution import (
    CLEAN_UP_WITHIN,
    TASKS,
    Action,
    AsyncAction,
    current,
    move_on_after,
)
from micropie._core.execution.cancellation import GracefulScope
from micropie._core.execution.steps import CHUNK, CLOSE, Flow, no_function
from micropie._core.http import BODIES, Response, reads_file
from micropie._core.http.escaping import html, is_html
from micropie._core.streams.files import FILE_CHUNK, FileRange

PENDING = object()  # the value of ``first`` until a chunk has been fetched


class _End(Iterator[object], AsyncIterator[object]):
    """An iterator, also an async one, that has ended."""

    def __next__(self) -> object:
        raise StopIteration

    async def __anext__(self) -> object:
        raise StopAsyncIteration


# It is returned instead of a chunk if there are no more chunks, and takes the place of the items of
# a closed stream, which hooks may still iterate over.
END = _End()

MEDIA_TYPE = "text/event-stream"

# A comment that is sent while an event stream is silent. Because of it, proxies don't close the
# connection, and the server notices if the client has disconnected.
HEART_BEAT = b": \n\n"

# How many chunks a stream's task sends before it lets other tasks run and checks whether the client
# has disconnected.
CHUNKS_PER_CHECK = 64

# How many chunks or bytes may be made that aren't sent yet, where switching between the code that
# makes them and the code that sends them takes long. With 64 KiB, chunks of 8 to 64 KiB take up to
# twice the time, on all servers and in all kinds of streams.
CHUNKS_AHEAD = 64
BYTES_AHEAD = 256 * 1024
# How many bytes ready chunks may have when they are joined. Longer ones would only be copied.
JOINED = 16 * 1024

_BYTES = (bytes, bytearray, memoryview)


def joined(chunk: bytes, ready: deque[Any]) -> bytes:
    """Return ``chunk`` and those that are ready after it as one, because a server takes longer to
    send a small chunk than code to make it. Take them out of ``ready``, in which None ends a body.
    """
    chunks, bytes_left = [chunk], JOINED - len(chunk)
    while bytes_left > 0 and ready and (following := ready[0]) is not None:
        chunks.append(following)
        bytes_left -= len(following)
        ready.popleft()
    return b"".join(chunks)


def as_bytes(chunk: object) -> bytes:
    """Return a stream's chunk as bytes. A str and HTML are encoded as UTF-8.

    Raises ``ResponseError`` for a chunk that is neither bytes, a str nor HTML.
    """
    if isinstance(chunk, str):
        return chunk.encode()
    if isinstance(chunk, _BYTES):
        return bytes(chunk)  # PEP 3333 forbids subclasses of bytes
    if is_html(chunk):
        return html(chunk).encode()
    raise ResponseError(
        f"a stream's chunks must be text or bytes, not {type(chunk).__name__}: write yield "
        "json.dumps(...), or return all items in one list"
    )


def not_an_end(error: BaseException) -> BaseException:
    """Return an error of code that makes chunks. Replace one that would end an iterator, because
    the response would look complete. Python replaces them in generators.
    """
    if isinstance(error, (StopIteration, StopAsyncIteration)):
        failure = RuntimeError(f"code that makes a stream's chunks raised {error!r}")
        failure.__cause__ = error
        return failure
    return error


class ShutdownSignal:
    """A signal that something is ending, for example the server or a stream. When the signal is
    given, each function that was added is called.

    The methods are thread-safe without a lock. So a function that is added while ``end`` runs may
    be called twice, and must allow for that. All others are called once.
    """

    def __init__(self) -> None:
        self.is_over = False
        self._functions: dict[Action, Action] = {}

    def add(self, function: Action) -> Action:
        """Call ``function`` when the signal is given, or immediately if it has already been given.

        Return a function that removes ``function``, as ``leave`` does.
        """
        self._functions[function] = function
        if self.is_over:
            self._call(function)
        return partial(self.leave, function)

    def leave(self, function: Action) -> None:
        """Remove a function that was passed to ``add``.

        Idle WebSockets use this instead of the function that ``add`` returns, because storing that
        function would take more memory.
        """
        self._functions.pop(function, None)

    def end(self) -> None:
        """Give the signal: call all functions. After this, functions are called as soon as they are
        added, until ``begin`` is called.
        """
        self.is_over = True
        for function in list(self._functions):
            self._call(function)

    def begin(self) -> None:
        """Reset the signal, because the application is started again."""
        self.is_over = False

    def _call(self, function: Action) -> None:
        self._functions.pop(function, no_function)()


# The signal that ends the current event stream, and the application's signal in the tasks that
# startup creates. Code that makes events reads them through ``current_shutdown``.
stream_shutdown: ContextVar[ShutdownSignal] = ContextVar("micropie.stream_shutdown")
startup_shutdown: ContextVar[ShutdownSignal] = ContextVar("micropie.startup_shutdown")


def current_shutdown() -> ShutdownSignal | None:
    """Return the signal that is given when the current code should stop: the signal of its event
    stream, or else the application's.

    Return None outside of requests and of the tasks that startup creates. The signal's attribute
    ``is_over`` is True once the signal has been given. Its method ``add(function)`` calls
    ``function`` without arguments when the signal is given, or immediately if it has already been
    given. ``add`` returns a function that removes ``function``, as ``leave(function)`` does. All of
    these may be used in any thread.

        forget = signal.add(waiter.wake)
    """
    request = current.get(None)
    config = None if request is None else getattr(request._exchange, "config", None)
    outer = startup_shutdown.get(None) if config is None else config.shutdown
    return stream_shutdown.get(None) or outer


class StreamTransform(Protocol):
    """An object that transforms the chunks of one stream, for example a compressor."""

    def feed(self, chunk: bytes) -> bytes:
        """Return the transformed ``chunk``. Don't hold back any bytes, because the client may be
        waiting for them.
        """

    def finish(self) -> bytes:
        """Return the bytes to send after the last chunk."""


class EventRules(NamedTuple):
    """How an event stream is sent.

    - ``heartbeat``: seconds of silence after which a comment is sent; None means never.
    - ``shutdown``: the signal that ends the stream.
    - ``send_timeout``: seconds that the client may take to receive an event; None means no limit.
    """

    heartbeat: float | None
    shutdown: ShutdownSignal
    send_timeout: float | None = None


class Stream:
    """The body of a response, sent in chunks.

    - ``items``: the iterator from which the chunks are made.
    - ``may_begin_empty``: whether the response may start with an empty first chunk. True if the
      items come from a subscription, or from a mounted application that has sent its head.
    - ``events``: the rules for an event stream, or None for any other stream.
    - ``owner``: the object to close, by default ``items``.
    - ``interrupt``: a function that ends the wait for an item, from any thread, or None if that is
      impossible.
    - ``encode``: converts an item to a chunk, and raises ``ResponseError`` for an item of a wrong
      type.
    - ``file``: the file that is the body. None if the body is not a file or is transformed.
    - ``length``: how many bytes of the file are sent.
    - ``is_text``: whether the first item was a str.
    - ``first``: the chunk that is fetched before the response starts. It is ``PENDING`` until then,
      and ``END`` if there is no chunk.
    - ``driver``: the driver's ``StreamSender`` or ``StreamReader``, which fetches the chunks. None
      until the driver has begun.
    - ``has_finished``: whether the last chunk has been made.
    - ``is_open``: whether the stream must still be closed.
    - ``heartbeat``: seconds of silence after which ``HEART_BEAT`` is sent; None means never.
    - ``replaced``: the streams of this class that hooks have replaced with this one, which may
      read from them, the innermost first.
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
    replaced: tuple[Any, ...] = ()

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
        self.owner: object = items if owner is None else owner
        self.may_begin_empty = may_begin_empty
        self.interrupt = interrupt
        self.events = events
        if events is not None:
            self.heartbeat = events.heartbeat

    def transform(self, transform: StreamTransform) -> None:
        """Transform all chunks with ``transform``. Call this before the first chunk is fetched."""
        encode = self.encode
        if not self.transforms:
            self._encode_item = encode  # without the transforms
        self.encode = lambda item: transform.feed(encode(item))
        self.transforms = (*self.transforms, transform)
        # From now on, the body differs from the file's bytes. A heartbeat can't be sent between
        # compressed chunks.
        self.file = self.length = self.heartbeat = None
        # the transform's headers may depend on the first chunk, so wait for it
        self.may_begin_empty = False

    def take_transforms(self, stream: Stream) -> None:
        """Transform the chunks of ``stream`` in its place, once the ready ones are joined."""
        if stream.transforms:
            self.transforms, stream.transforms = stream.transforms, ()
            self.has_finished = stream.has_finished
            stream.encode = stream._encode_item

    def transformed(self, chunk: bytes) -> bytes:
        """Return ``chunk`` as all transforms leave it."""
        for transform in self.transforms:
            chunk = transform.feed(chunk)
        return chunk

    def replace(self, stream: Stream | None) -> None:
        """Take the place of a stream. If it is of the same kind, with other items, it is closed
        with this one, after those that it has replaced.
        """
        if stream.__class__ is self.__class__ and stream.items is not self.items:
            self.replaced = (*stream.replaced, stream)

    def follow(self, events: EventRules, is_encoded: bool) -> None:
        """Make this an event stream whose items are already encoded.

        ``is_encoded``: whether the chunks are compressed, because the response has a
        ``Content-Encoding``. If so, no heartbeat can be sent between them.
        """
        self.events = events
        self.heartbeat = None if is_encoded or self.transforms else events.heartbeat

    def finish(self) -> bytes:
        """Return the chunk to send after the last item. Return b"" if there is no such chunk, or if
        this method was called before.
        """
        rest = b""
        for transform in () if self.has_finished else self.transforms:
            rest = (transform.feed(rest) if rest else b"") + transform.finish()
        self.has_finished = True
        return rest

    @property
    def has_begun(self) -> bool:
        """Whether the status and headers are final, because the first chunk has been fetched, or
        because the response doesn't wait for it.
        """
        return self.first is not PENDING

    def leave_to_server(self) -> None:
        """Don't fetch chunks, because the server sends the file itself."""
        self.first = END

    def fetch_first(self, response: Response) -> Flow[None]:
        """Fetch the first chunk that is not empty, before the response starts.

        The response of an event stream doesn't wait for a chunk.
        """
        if self.first is not PENDING:
            return
        is_stated = response.content_type is not None or response.pairs
        if not self.may_begin_empty and (
            self.events is not None or (is_stated and has_events(response))
        ):
            # Begin with a comment, because some servers don't send the head before the first byte
            # of the body.
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
        """Close the stream if it is open."""
        if self.is_open:
            yield CLOSE, no_function, (self,)

    def note_closed(self) -> None:
        """Record that the stream was closed. Avoid reference cycles: drop what has made its chunks,
        because this may refer to the request, as the request does to the stream.
        """
        self.is_open = False
        self.items = self.owner = END
        self.encode, self.transforms = as_bytes, ()
        for replaced in self.replaced:
            replaced.note_closed()


# The reasons for ending a stream early.
LEFT = "the client has disconnected"
SHUT_DOWN = "the server is shutting down"


class LoopStream(Stream):
    """A stream whose items are made on an event loop, by an async iterator.

    A single task calls ``enter``, fetches the items, and calls ``leave``. Another task may call
    ``end``.

    - ``outcome``: the reason that was passed to ``end``, or None.
    - ``chunks_left``: how many more chunks the task may send before it checks ``outcome`` and lets
      other tasks run.
    - ``is_advancing``: whether the task is waiting for an item or sending one. The task may be
      cancelled only then, because at other times the cancellation would reach other code.
    - ``is_interrupted``: whether ``end`` has cancelled the wait for an item.
    - ``has_ended``: whether the items don't need to be closed. It isn't used for generators,
      because their ``ag_frame`` shows whether they have ended.
    """

    outcome: str | None = None
    chunks_left = CHUNKS_PER_CHECK
    is_advancing = False
    is_interrupted = False
    has_ended = False
    _forget_shut_down: Action | None = None  # removes the function that is called at shutdown
    _scope: GracefulScope | None = None  # set by ``enter``, and None again after ``leave``
    # Seconds that the items may go on after they were cancelled; see ``GracefulScope``.
    grace = CLEAN_UP_WITHIN

    @property
    def is_waiting(self) -> bool:
        """Whether the task is waiting for an item and can be cancelled there. True for an iterator
        that is not a generator, because only a generator shows whether it is running.
        """
        return type(self.items) is not AsyncGeneratorType or self.items.ag_running

    async def close_items(self) -> None:
        """Close the stream's owner if it has a method ``aclose``."""
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
        try:
            return self.encode(item)
        except StopAsyncIteration as error:
            raise not_an_end(error) from error

    # -- for the task that runs the stream ---------------------------------------------------------

    def enter(self) -> None:
        """Enter the scope around the stream. Call this before the first chunk is fetched, in the
        task that fetches the items.
        """
        if self.events is not None:
            self._signal = ShutdownSignal()
            self._token = stream_shutdown.set(self._signal)
        self._scope = GracefulScope(TASKS.get()).__enter__()

    def end_at_shutdown(self) -> None:
        """Let an event stream end when the server shuts down, even while the stream waits for an
        event.
        """
        if self.events is not None and self._forget_shut_down is None:
            end = partial(TASKS.get().call, partial(self.end, SHUT_DOWN))
            self._forget_shut_down = self.events.shutdown.add(end)

    async def first_chunk(self) -> object:
        """Return the first chunk that is not empty, or ``END``. Call ``enter`` first."""
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

    def end(self, outcome: str, within: float = CLEAN_UP_WITHIN) -> None:
        """End the stream early, for the reason ``outcome``.

        Call this in another task of the same event loop.

        If the stream's task is waiting for an item, the task is cancelled. If the task is sending a
        chunk, it is cancelled after ``within`` seconds. Otherwise the task must check ``outcome``
        and call ``leave``.
        """
        self.outcome, self.chunks_left = outcome, 1
        if not self.is_advancing or self._scope is None:
            return
        if self.events is not None:
            self._signal.end()
        if self.is_waiting:
            self.is_interrupted = True
            self._scope.cancel(self.grace)
        else:
            self._scope.cancel_after(within, self.grace)

    async def leave(self, failure: BaseException | None) -> BaseException | None:
        """Close the items and exit the scope. ``failure``: the error that ended the items, or None.

        Return the error that the caller must raise: ``failure``, an error during the clean-up, or
        ``ClientDisconnect`` after ``end``. Return None if there is no error, for example because
        the stream ends at shutdown.
        """
        self.is_advancing = False  # from now on, ``end`` must not cancel the clean-up
        scope, self._scope = self._scope, None
        assert scope is not None  # noqa: S101
        if self._forget_shut_down is not None:
            self._forget_shut_down()
            self._forget_shut_down = None  # avoid a reference cycle
        if self.events is not None:
            self._signal.end()
            stream_shutdown.reset(self._token)
            del self._token  # avoid a reference cycle with the context
        items = self.items
        if self.replaced:
            failure = await self._close_replaced(scope, failure)
        if items.ag_frame is not None if type(items) is AsyncGeneratorType else not self.has_ended:
            failure = await self._close_in(scope, failure)
        # This is what ``note_closed`` does. Streams that hooks have replaced are closed above.
        self.is_open = False
        self.items = self.owner = END
        self.encode, self.transforms = as_bytes, ()
        try:
            if failure is None:
                scope.__exit__(None, None, None)
                return None
            if scope.__exit__(type(failure), failure, failure.__traceback__):
                failure = ClientDisconnect("the client disconnected")
        except RuntimeError as error:  # a scope that the items have entered is still open
            failure = error
        # If this task is being cancelled, return the cancellation. Otherwise, a time limit inside
        # the generator has expired, so return the ``TimeoutError``.
        if isinstance(failure, _ChunkTimeout):
            try:
                await anyio.lowlevel.checkpoint_if_cancelled()
            except BaseException as error:
                failure = error
        return (
            None if self.outcome is SHUT_DOWN and isinstance(failure, ClientDisconnect) else failure
        )

    async def _close_replaced(
        self, scope: GracefulScope, failure: BaseException | None
    ) -> BaseException | None:
        # Close the innermost first, because its scopes are nested in those of the items that read
        # it. A cancellation that ``end`` hasn't caused may come from one of them.
        caused = failure if self.outcome is None else None
        for replaced in self.replaced:
            caused = await replaced._close_in(scope, caused)
            replaced.note_closed()
        return caused or failure

    async def _close_in(
        self, scope: GracefulScope, failure: BaseException | None
    ) -> BaseException | None:
        """Close the items, unless they are a generator that has ended. Call this in the task that
        has entered ``scope`` around them.
        """
        if type(self.items) is AsyncGeneratorType:
            if self.items.ag_frame is None:
                return failure
            scope.protect(CLEAN_UP_WITHIN)
            return await self._close_after(failure)
        with move_on_after(CLEAN_UP_WITHIN, shield=True):
            failure = await self._close_after(failure)
        return failure  # noqa: RET504 - mypy assumes that the scope may swallow exceptions

    async def _close_after(self, failure: BaseException | None) -> BaseException | None:
        try:
            if type(self.items) is AsyncGeneratorType and isinstance(
                failure, anyio.get_cancelled_exc_class()
            ):
                # The cancellation may come from a scope or a timeout in the generator, which only
                # the generator can exit.
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
    """Raised if a time limit in the stream's generator expired while a chunk was being sent."""


class ThreadStream(Stream):
    """A stream whose items are made in a thread, by an iterator."""

    @property
    def has_ended(self) -> bool:
        """Whether the items need not be closed, because they come from a generator that has ended,
        or are closed already.
        """
        if self.replaced or not self.is_open:
            return not self.is_open
        return type(self.owner) is GeneratorType and self.owner.gi_frame is None

    def close_items(self) -> None:
        """Close the stream's owner if it has a method ``close``. First do this for the streams that
        it has replaced, as nested ``with`` blocks would.
        """
        with ExitStack() as stack:
            for one in (self, *self.replaced[::-1]):
                stack.callback(getattr(one.owner, "close", no_function))

    def __next__(self) -> bytes:
        for item in self.items:
            self.is_text = self.is_text or item.__class__ is str
            try:
                return self.encode(item)
            except StopIteration as error:
                raise not_an_end(error) from error
        raise StopIteration

    def __iter__(self) -> Iterator[bytes]:
        """Iterate over the remaining chunks. If an iteration is stopped early, the next one
        continues where it stopped.
        """
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
        if self.has_ended:
            self.note_closed()


# -- what becomes a stream ------------------------------------------------------------------------


AnyStream: TypeAlias = LoopStream | ThreadStream


def stream_of(body: object) -> AnyStream | None:
    """Return the stream for an iterator or a file, or None for any other body.

    A list is JSON, not a stream.
    """
    if type(body) in BODIES:  # most bodies have one of these types, and the checks below are slower
        return None
    if type(body) is AsyncGeneratorType:
        return LoopStream(body)
    if isinstance(body, AnyStream):
        return body
    if type(body) is FileRange:
        return ThreadStream(body)
    if hasattr(body, "__aiter__"):
        return LoopStream(body.__aiter__())
    if callable(read := getattr(body, "read", None)) and reads_file(read, 1):
        return ThreadStream(_pieces(read), owner=body)
    if not isinstance(body, Iterator):
        return None
    # Only a stream from a process of the pool has this method.
    return ThreadStream(body, interrupt=getattr(body, "interrupt_next", None))


def _pieces(read: Callable[[int], object]) -> Iterator[object]:
    while piece := read(FILE_CHUNK):
        yield piece


def has_events(response: Response) -> bool:
    """Return whether the content type that is set on a response is that of server-sent events."""
    content_type = response.content_type
    if response.pairs:
        content_type = response.headers.get("Content-Type") or content_type
    return content_type is not None and content_type.lower().startswith(MEDIA_TYPE)


async def entered(subscription: Any, first: object, as_text: bool) -> AsyncIterator[object]:
    """Enter the context manager ``subscription``, whose value is an async iterable. Yield
    ``first``, then the items of the iterable.

    ``as_text``: yield what the method ``texts`` of the value yields, if it has this method.
    """
    async with subscription as messages:
        yield first
        async for message in (
            messages.texts() if as_text and hasattr(messages, "texts") else messages
        ):
            yield message
