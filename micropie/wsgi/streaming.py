"""Read async streams and events under WSGI: a task on the background loop, or a thread for the
events of a sync iterator, produces the chunks, and the server's thread takes them.

The task runs ahead of the server by ``CHUNKS_AHEAD`` chunks or ``BYTES_AHEAD`` bytes, or by two
events, because events must not be old when they are sent. Then it waits until these are taken. The
server's thread waits for a chunk, joins it with those that are ready after it, because switching
between the task and the thread takes many times as long as making a chunk, and transforms them as
one. If an event stream is silent for too long, the thread sends a heartbeat.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event, Thread
from time import monotonic
from typing import TYPE_CHECKING, Any

import anyio

from micropie._core import execution
from micropie._core.errors import ClientDisconnect
from micropie._core.execution import (
    AHEAD,
    CLEAN_UP_WITHIN,
    Action,
    await_in_background,
    background_loop,
)
from micropie._core.execution.lane import AsyncLane, Interrupted
from micropie._core.http import Exchange
from micropie._core.streams import (
    BYTES_AHEAD,
    CHUNKS_AHEAD,
    END,
    HEART_BEAT,
    JOINED,
    LEFT,
    PENDING,
    AnyStream,
    LoopStream,
    ShutdownSignal,
    Stream,
    ThreadStream,
    as_bytes,
    stream_shutdown,
)

if TYPE_CHECKING:
    from micropie._core.streams import EventsFromThread

# Seconds that an async stream may run before other tasks of the loop.
SLICE = 0.005


def close_stream(stream: AnyStream, backend: str) -> None:
    """Close a stream that has not ended. Raises any exception that its clean-up raises."""
    try:
        if isinstance(stream, ThreadStream):
            stream.close_items()
        elif stream.driver is not None:
            stream.driver.close()
        else:
            await_in_background(backend, stream.close_items, ())
    finally:
        stream.note_closed()


def reader_of(stream: LoopStream, exchange: Exchange) -> StreamReader:
    """Return what makes the chunks of a stream: a task, if there are replaced streams to close. It
    is that of the request's async parts, if they have one.
    """
    if stream.events is not None and not stream.replaced:
        from micropie._core.streams import EventsFromThread

        if isinstance(stream.items, EventsFromThread):
            return EventReader(stream, stream.items)
    lane = exchange.lane
    if lane is not None and (lane.is_busy or lane.is_over):
        lane = None
    return TaskReader(stream, exchange.config.settings.portal_backend, lane)


class StreamReader:
    """Takes the chunks of a stream, from the first to the last, and closes the stream.

    Only one thread at a time may call ``take`` and ``close``, but it need not be the same thread
    each time.
    """

    # Lets the producer go on, which waits when it has produced enough chunks; None otherwise.
    _wake: Action | None = None

    def __init__(self, stream: LoopStream) -> None:
        stream.driver = self
        self._stream = stream
        # The chunks that were produced, and END at the end.
        self._made: SimpleQueue[Any] = SimpleQueue()
        self._failures: list[BaseException] = []  # the exception that ended the stream, if any
        self._requested = 0  # the number of chunks that the server has requested
        self._count = 0  # the number of chunks that were produced
        # How many chunks more than requested may be produced. A HEAD request takes the first chunk,
        # unless it is known already, and no more. So none is produced in advance before the second
        # is requested.
        self._most_ahead = (CHUNKS_AHEAD if stream.events is None else AHEAD) - 1
        self._ahead = 0 if stream.first is PENDING else self._most_ahead
        self._is_closing = False
        self._has_ended = False  # whether END was taken
        self._joined: Stream | None = None  # transforms the chunks, if anything does
        if stream.transforms:
            self._joined = Stream(None)
            self._joined.take_transforms(stream)

    def take(self, seconds: float | None = None) -> Any:
        """Return the next chunk, joined with those that are ready after it and transformed, or
        ``END`` at the end, or ``PENDING`` if no chunk comes within ``seconds``.

        Raises the exception that ended the stream.
        """
        transforms = self._joined
        chunk: Any = END if self._has_ended else self._next(seconds)
        if chunk is END:
            return END if transforms is None else transforms.finish() or END
        if chunk is PENDING:
            return chunk
        while self._requested < self._count and len(chunk) < JOINED:
            following = self._next()
            if following is END:  # a shutdown has put it before a chunk that was being made
                break
            chunk += following
        return chunk if transforms is None else transforms.transformed(chunk)

    def _next(self, seconds: float | None = None) -> Any:
        """Return the next chunk that was made, ``END`` or ``PENDING``; see ``take``."""
        self._requested += 1
        if self._requested == 2:
            self._ahead = self._most_ahead
        wake = self._wake
        if wake is not None and self._count < self._requested:
            wake()
        try:
            chunk = self._made.get(timeout=seconds)
        except Empty:
            self._requested -= 1
            return PENDING
        if chunk is END:
            self._has_ended = True
            self._leave()
        return chunk

    def chunks(self) -> Iterator[bytes]:
        """Yield the remaining chunks, and heartbeats in between, until ``close``."""
        heartbeat = self._stream.heartbeat
        while not self._is_closing:
            chunk = self.take(heartbeat)
            if chunk is END:
                return
            yield HEART_BEAT if chunk is PENDING else chunk

    def close(self) -> None:
        """Close the stream, even while it waits for a chunk.

        Raises any exception that the stream's clean-up raises.
        """
        raise NotImplementedError

    def _leave(self) -> None:
        """Called when the last chunk was taken. Raises the exception that ended the stream."""
        self._stream.driver = None  # avoid a reference cycle with the stream
        if self._failures:
            raise self._failures.pop()

    def _end(self, failure: BaseException | None) -> None:
        if failure is not None:
            self._failures.append(failure)
        self._made.put(END)


class EventReader(StreamReader):
    """The events of a sync iterator, made in a thread of this stream."""

    def __init__(self, stream: LoopStream, source: EventsFromThread) -> None:
        super().__init__(stream)
        self._source = source
        self._signal = ShutdownSignal()
        assert stream.events is not None  # noqa: S101
        # not ``_end``, because this object refers to ``_forget``
        self._forget = stream.events.shutdown.add(partial(self._made.put, END))
        context = copy_context()
        context.run(stream_shutdown.set, self._signal)
        Thread(target=context.run, args=(self._run,), name="micropie events", daemon=True).start()

    # -- in the server's thread --------------------------------------------------------------------

    def close(self) -> None:
        self._leave()

    def _leave(self) -> None:
        self._is_closing = True
        self._stream.note_closed()
        self._forget()
        self._signal.end()
        try:
            self._source.close()
        finally:
            if self._wake is not None:
                self._wake()
            super()._leave()

    # -- in the thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        failure: BaseException | None = None
        try:
            self._make()
        except BaseException as error:
            failure = error
        if not self._is_closing:  # otherwise nobody takes it
            self._end(failure)
        del failure  # avoid a reference cycle with this frame

    def _make(self) -> None:
        """Produce the events. Wait whenever enough of them have been produced."""
        encode = self._stream.encode
        chunk: Any
        while (chunk := self._source.next(encode)) is not END:
            if chunk:
                self._made.put(chunk)
                self._count += 1
            if self._count - self._requested >= self._ahead:
                parked = Event()
                self._wake = parked.set
                # Check again, because the server's thread may have requested more, or closed the
                # stream, before the event was created.
                waits = self._count >= self._requested and not self._is_closing
                parked.wait(None if waits else 0)
                self._wake = None
        self._source.raise_failure()


class TaskReader(StreamReader):
    """The chunks of an async iterator, made by a task on the background loop.

    ``lane``: the one whose task makes them; None for a task of the stream's own.
    """

    def __init__(self, stream: LoopStream, backend: str, lane: AsyncLane | None = None) -> None:
        self._loop = background_loop(backend)  # do this first, because it may raise an exception
        super().__init__(stream)
        self._lane = lane
        if lane is not None:
            lane.is_busy = True
        self._loop.spawn(self._lose, self._run, lane)

    # -- in the server's thread --------------------------------------------------------------------

    def close(self) -> None:
        """Close the stream, and wait until it has ended; see ``StreamReader``."""
        self._is_closing = True
        with suppress(RuntimeError):  # the loop and its tasks have ended
            self._loop.spawn(lambda: None, self._stop)
        chunk = None
        with suppress(ClientDisconnect):  # ``_stop`` makes the stream raise it
            while chunk is not PENDING and self._stream.driver is not None:
                chunk = self.take(CLEAN_UP_WITHIN + 1)

    def _call_on_loop(self, function: Action) -> None:
        with suppress(RuntimeError):  # the loop has ended, so the queue delivers END
            self._loop.call_soon(function)

    def _leave(self) -> None:
        if self._lane is not None:
            self._lane.is_busy = False
        super()._leave()

    # -- in the task, on the loop ------------------------------------------------------------------

    async def _run(self) -> None:
        stream = self._stream
        failure: BaseException | None = None
        stream.enter()
        stream.end_at_shutdown()
        try:
            await self._make()
        except BaseException as error:
            failure = error
        self._wake = None  # avoid a reference cycle with this object
        failure = await stream.leave(failure)
        cancellation = anyio.get_cancelled_exc_class()
        if not isinstance(failure, cancellation) or execution.failure_of(failure) is not None:
            self._end(failure)
        elif self._loop.has_ended:
            self._lose()
        else:  # by the scope of a provider
            self._end(Interrupted(failure))
        del failure

    async def _make(self) -> None:
        """Produce the chunks. Wait whenever enough of them have been produced. Also let other tasks
        run now and then, because the server may take the chunks as fast as they are produced.
        """
        stream, encode, events = self._stream, self._stream.encode, self._stream.events
        bytes_left, until = BYTES_AHEAD, monotonic() + SLICE
        stream.is_advancing = True
        async for item in stream.items:
            if events is not None and events.shutdown.is_over:
                break
            if not self._count & 7 and monotonic() > until:  # ask for the time now and then
                await anyio.lowlevel.checkpoint()
                until = monotonic() + SLICE
            if is_text := item.__class__ is str:
                stream.is_text = True
            chunk = item.encode() if is_text and encode is as_bytes else encode(item)
            if not chunk and not stream.may_begin_empty:
                continue
            self._made.put(chunk)
            self._count += 1
            bytes_left -= len(chunk)
            if self._count - self._requested >= self._ahead or bytes_left <= 0:
                bytes_left = BYTES_AHEAD
                parked = anyio.Event()
                self._wake = partial(self._call_on_loop, parked.set)
                # Check again, because the thread may have requested more before the event was
                # created.
                waits = self._count >= self._requested and not self._is_closing
                await (parked.wait() if waits else anyio.lowlevel.checkpoint())
                self._wake = None
            if self._is_closing:
                return

    def _lose(self) -> None:
        self._end(RuntimeError("the event loop stopped during a stream"))

    async def _stop(self) -> None:
        if self._wake is not None:
            self._wake()
        self._stream.end(LEFT)
