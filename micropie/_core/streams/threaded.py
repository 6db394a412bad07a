"""Sync streams on an event loop: worker threads make their chunks.

``MadeAhead`` is for all streams except streams of events. Switching to a thread and back takes many
times as long as making a chunk. So a thread that has made a chunk goes on with the next ones, while
the task sends the chunks that are ready, joined to one and then transformed. If the task is waiting
for a chunk, the thread wakes it, so that a ready chunk never waits for a later one.

The thread works in *turns*. A turn ends after ``CHUNKS_AHEAD`` chunks or ``BYTES_AHEAD`` bytes, so
that a slow client doesn't block a thread and doesn't use much memory. It also ends after ``TURN``
seconds, so that a slow source gives its thread back to others. The next turn begins when the task
takes the last chunk out of the buffer.

The status and headers become final when the task takes the first chunk. The generator's code after
its first ``yield`` must not be able to change them, and must not run for HEAD. So the first turn
makes a single chunk. For streams of the process pool, a turn takes one chunk and those that have
arrived with it, because the pool itself makes chunks ahead.

``EventsFromThread`` is for the events of a sync iterator, which may be silent for a long time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import CancelledError  # ``from_thread.run`` raises this
from contextvars import Context, copy_context
from functools import partial
from threading import Lock
from time import monotonic
from typing import Any

import anyio

from micropie._core.errors import logger
from micropie._core.execution import (
    TASKS,
    Action,
    SingleWaiterEvent,
    current_exchange,
    in_thread,
    run_in_context,
)
from micropie._core.execution.placement import IO_THREADS, Rank, Threads
from micropie._core.execution.steps import itself, no_function
from micropie._core.streams.source import (
    BYTES_AHEAD,
    CHUNKS_AHEAD,
    END,
    PENDING,
    LoopStream,
    ThreadStream,
    joined,
    not_an_end,
)

# The maximum length of a turn, in seconds. A source that waits for a shorter time keeps its thread,
# because switching to a thread takes as long as making several chunks.
TURN = 0.05

# Chunks of at most this many bytes are transformed, for example compressed, on the event loop,
# because switching to a thread takes as long.
INLINE = 4 * 1024

# The threads for sync sources of events. Their number limits how many sources can be open at the
# same time. Handlers have other threads, because each source occupies a thread even while it is
# silent.
SYNC_SOURCES = Threads(500)


class MadeAhead(LoopStream):
    """The chunks of ``stream``, made in ``threads``. All are made with the same context variables.
    ``rank``: the priority with which the call that makes the first chunk waits for a thread.

    A single task takes the chunks and closes the stream. A thread can't be interrupted, so a
    cancellation waits for the chunk that is being made, unless the stream has an ``interrupt``.
    The application's code in the thread can call ``from_thread.check_cancelled``. Only
    ``_take_turn`` runs in the thread. Everything else runs on the event loop.
    """

    encode: Callable[[Any], bytes] = bytes  # the chunks are already encoded
    grace = 0.0  # the code of the application isn't in this task
    _is_waiting = False  # whether the task is waiting for a chunk
    _has_turn = False
    _has_raised_end = False
    # When a chunk has been made or a turn has ended, ``_progress`` wakes the task that takes the
    # chunks. These are set when the first turn begins, because the stream may be created in a
    # thread.
    _call_on_loop: Callable[[Action], object]
    _progress: SingleWaiterEvent
    _turn: anyio.CancelScope | None = None
    _is_over = False  # whether the thread must not make more chunks

    def __init__(self, stream: ThreadStream, threads: Threads, rank: Rank = Rank.HOLDING) -> None:
        super().__init__(None, stream.may_begin_empty, interrupt=stream.interrupt)
        self.file, self.length = stream.file, stream.length
        self.first = stream.first
        self.take_transforms(stream)
        if self.file is not None and self.first is PENDING:
            self.first = next(stream, END)  # the call that opened the file has read this chunk
        self._stream = stream
        self._threads, self._turns = threads, threads.turns
        if stream.file is not None:
            self._threads = self._turns = IO_THREADS
        self._rank = rank
        self._context = copy_context()
        self._made: deque[bytes | None] = deque()  # None means the end
        self._failures: list[BaseException] = []  # the error that ended the stream, if any

    async def __anext__(self) -> bytes:
        while not self._made:
            if self.first is PENDING and self.interrupt is None:
                await self._make_one()
            else:
                if not self._has_turn:
                    self._begin_turn()
                await self._wait_for_progress()
        chunk = self._made.popleft()
        if chunk is None:
            self._made.append(None)
            self._has_raised_end = True
            if self.has_ended:  # ``close_items`` won't be called, so release the request here
                self._forget()
            raise self._failures.pop() if self._failures else StopAsyncIteration
        if self._made:
            chunk = joined(chunk, self._made)
        # The thread may make chunks before the task waits for them once the status and headers are
        # final. The process pool makes the chunks of its streams ahead itself.
        if (
            not self._made
            and not self._has_turn
            and self.first is not PENDING
            and self.interrupt is None
        ):
            self._begin_turn()
        if not self.transforms:
            return chunk
        if len(chunk) <= INLINE:
            return self.transformed(chunk)
        # in a thread that doesn't wait for code of the application
        return await in_thread(IO_THREADS, self.transformed, chunk, rank=Rank.HOLDING)

    @property
    def is_text(self) -> bool:  # type: ignore[override]
        return self._stream.is_text

    @property
    def is_waiting(self) -> bool:
        return self._is_waiting and self.interrupt is None

    @property
    def has_ended(self) -> bool:  # type: ignore[override]
        return self._has_raised_end and self._stream.has_ended

    async def close_items(self) -> None:
        """Close the stream after the thread has made its current chunk. Raises the error that ended
        the stream, unless it was raised before or is a cancellation.
        """
        self._is_over = True
        await self._wait_for_thread()
        cancellations = (anyio.get_cancelled_exc_class(), CancelledError)
        try:
            await in_thread(
                self._threads, self._context.run, self._stream.close_items, rank=Rank.RELEASING
            )
            if self._failures and not isinstance(self._failures[0], cancellations):
                raise self._failures.pop()
        finally:
            self._forget()
            self._failures.clear()

    def _forget(self) -> None:
        """Drop what has made the chunks, and the context. It refers to the request, and the request
        to this stream, so keeping it would be a reference cycle.
        """
        self._context = Context()
        self._stream.note_closed()

    async def _make_one(self) -> None:
        """Make one chunk before the response starts. The caller waits for this chunk, so it is made
        without starting a task.
        """
        self._is_waiting = True
        try:
            await in_thread(
                self._threads, run_in_context, self._context, self._take_turn, rank=self._rank
            )
        finally:
            self._is_waiting = False
        self._rank = Rank.HOLDING
        # If a cancellation is pending, raise it here, and not in the code that comes next.
        await anyio.lowlevel.checkpoint_if_cancelled()

    async def _wait_for_progress(self) -> None:
        # The thread adds a chunk to ``_made`` and then reads ``_is_waiting``. So set
        # ``_is_waiting`` before checking ``_made``. In the other order, a chunk could be missed.
        self._is_waiting = True
        try:
            if not self._made:
                await self._progress.wait()
        except BaseException:
            self._is_over = True
            assert self._turn is not None  # noqa: S101
            self._turn.cancel()
            if self.interrupt is not None:
                self.interrupt()
            await self._wait_for_thread()
            # ignore the error that the interruption has raised in the thread
            if self.interrupt is not None:
                self._failures.clear()
            raise
        finally:
            self._is_waiting = False

    async def _wait_for_thread(self) -> None:
        with anyio.CancelScope(shield=True):
            while self._has_turn:
                await self._progress.wait()

    def _begin_turn(self) -> None:
        """Start a task that makes chunks in a thread as soon as a thread is free."""
        tasks = TASKS.get()
        if self._turn is None:
            self._call_on_loop = tasks.call
            self._progress = SingleWaiterEvent(tasks)
        self._has_turn = True
        self._turn = anyio.CancelScope()
        tasks.start_soon(self._run_turn, self._turn, context=self._context.copy())

    async def _run_turn(self, turn: anyio.CancelScope) -> None:
        try:
            with turn:
                await in_thread(
                    self._turns, run_in_context, self._context, self._take_turn, rank=Rank.HOLDING
                )
        except BaseException as error:  # the turn didn't get a thread
            self._failures.append(error)
            self._made.append(None)
        self._has_turn = False
        self._progress.ring()

    # -- in the thread -----------------------------------------------------------------------------

    def _take_turn(self) -> None:
        until = monotonic() + TURN
        chunks_left, bytes_left = 1 if self.first is PENDING else CHUNKS_AHEAD, BYTES_AHEAD
        items = self._stream.items if self.interrupt is not None else None
        try:
            while not self._is_over:
                chunk = next(self._stream)
                self._made.append(chunk)
                chunks_left -= 1
                bytes_left -= len(chunk)
                if chunks_left <= 0 or bytes_left <= 0 or monotonic() > until:
                    return  # the end of the turn wakes the task
                if items is not None:
                    if not getattr(items, "has_ready", False):
                        return
                elif self._is_waiting:
                    # Wake the task only once each time it waits.
                    self._is_waiting = False
                    self._call_on_loop(self._progress.ring)
        except BaseException as error:
            if type(error) is not StopIteration:
                self._failures.append(not_an_end(error))
            self._made.append(None)


class EventsFromThread(AsyncIterator[object]):
    """An async iterator over the items of a sync iterator. All are made with the same context
    variables, so that a ``with`` block around a ``yield`` can reset one.

    ``aclose`` doesn't wait for a thread that is making an item. Instead, the thread closes the
    iterator afterwards. Until then, it is a ``LeftCall`` of its request, whose resources it uses.
    """

    # The context in which the items are made: a copy of the task's, from the first item on.
    _context: Context | None = None

    def __init__(self, events: Iterator[object]) -> None:
        self.events = events
        self._close: Action = getattr(events, "close", no_function)
        # ends the wait for an item of a process
        self._interrupt: Action | None = getattr(events, "interrupt_next", None)
        self._lock = Lock()
        self._is_busy = False
        self._is_closed = False
        self._at_end: list[Action] = []
        # An error of the iterator is stored here, because a cancelled ``__anext__`` would not
        # receive it.
        self._failures: list[BaseException] = []

    async def __anext__(self) -> object:
        item = await in_thread(SYNC_SOURCES, self.next, abandon_after=0.0)
        if item is END:
            self.raise_failure()
            raise StopAsyncIteration
        return item

    async def aclose(self) -> None:
        # Don't close a generator that has ended, because this would need a switch to a thread,
        # which takes as long as making an event.
        if self._stop():
            await in_thread(SYNC_SOURCES, self.close, rank=Rank.RELEASING)
        self.raise_failure()

    def close(self) -> None:
        """Do the same as ``aclose`` in this thread."""
        if self._stop():
            self._run(self._close)
            self._context = None  # avoid a reference cycle with the request
        self.raise_failure()

    def _stop(self) -> bool:
        """Make no more items. Return whether the caller has to close the iterator: no thread is
        making an item, and the iterator has not ended.
        """
        with self._lock:
            self._is_closed = True
            is_busy = self._is_busy
        if is_busy:
            if self._interrupt is not None:
                self._interrupt()
            exchange = current_exchange()
            if exchange is not None:
                exchange.note_left_call(self)
        has_ended = getattr(self.events, "gi_frame", self.events) is None
        if has_ended and not is_busy:
            self._context = None
        return not is_busy and not has_ended

    @property
    def has_ended(self) -> bool:
        return not self._is_busy

    def when_ended(self, action: Action) -> None:
        """See ``LeftCall``."""
        with self._lock:
            if self._is_busy:
                self._at_end.append(action)
                return
        action()

    def raise_failure(self) -> None:
        """Raise the error of the iterator, if there is one."""
        if self._failures:
            raise self._failures.pop()

    # -- in the thread -----------------------------------------------------------------------------

    def next(self, encode: Callable[[Any], object] = itself) -> object:
        """Return the next item, encoded. Return ``END`` if there is none, or after an error."""
        with self._lock:
            if self._is_closed:  # the stream was closed before this call began
                return END
            self._is_busy = True
        item: object = END
        try:
            made = self._run(partial(next, self.events, END))
            item = made if made is END else encode(made)
        except BaseException as error:
            self._failures.append(not_an_end(error))
        with self._lock:
            self._is_busy = is_closed = self._is_closed
        if is_closed:  # ``aclose`` has already returned, so log errors and close the iterator here
            if self._failures and self._interrupt is None:
                _log_late(self._failures.pop())
            try:
                self._run(self._close)
            except Exception as error:
                _log_late(error)
            self._context = None
            with self._lock:
                self._is_busy = False
            while self._at_end:
                self._at_end.pop()()
        return item

    def _run(self, function: Action) -> object:
        context = self._context
        if context is None:
            self._context = context = copy_context()
        return run_in_context(context, function)


def _log_late(error: BaseException) -> None:
    logger.error("a source of events failed after its stream had ended", exc_info=error)
