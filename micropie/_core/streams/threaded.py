"""Sync sources on an event loop. Worker threads make their chunks.

``MadeAhead``: the way to a thread and back takes many times what a chunk takes. So a thread that
has made a chunk goes on, while the task sends what is there. It wakes the task for the first chunk:
a ready chunk waits for no later one.

Such a *turn* ends with ``CHUNKS_AHEAD`` chunks or ``BYTES_AHEAD``, so slow clients hold neither
threads nor memory, and after ``TURN``, so slow sources leave their threads to others. The next turn
begins when the last chunk of the buffer is taken.

The first turn makes a single chunk. The head is not complete before that has been taken: the code
that follows must not change it any more, and does not run at all for HEAD. For the pool, which
makes chunks ahead itself, each turn does.

``EventsFromThread``: the events of a sync iterator, which may be silent for ever.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import CancelledError  # of ``from_thread.run``
from contextvars import Context, copy_context
from threading import Lock
from time import monotonic
from typing import Any

import anyio

from micropie._core.errors import logger
from micropie._core.execution import (
    TASKS,
    WAKERS,
    Action,
    SingleWaiterEvent,
    in_thread,
    run_in_context,
)
from micropie._core.execution.placement import IO_THREADS, Rank, Threads
from micropie._core.execution.steps import no_function
from micropie._core.streams.source import END, PENDING, LoopStream, ThreadStream

CHUNKS_AHEAD = 64
BYTES_AHEAD = 256 * 1024
# Seconds. The way to a thread costs as much as several chunks, so a source that waits a little
# keeps its thread.
TURN = 0.05

# The number of sync sources of events at a time: each occupies a thread while it is silent. These
# are not the handlers' threads, of which none might be left.
SYNC_SOURCES = Threads(500)


class MadeAhead(LoopStream):
    """The chunks of ``stream``, made in one of ``threads``, all in one context. ``rank`` is that of
    the first one.

    One task advances and closes it. A thread can't be interrupted, so a cancellation waits for the
    chunk that is being made unless the stream has an ``interrupt``; but
    ``from_thread.check_cancelled`` raises there. ``_take_turn`` and all below it run in the thread,
    all else on the event loop.
    """

    encode: Callable[[Any], bytes] = bytes  # of a chunk, which is bytes
    _is_waiting = False  # for the thread
    _has_turn = False
    _has_told_end = False
    _is_over = False  # no further chunk is wanted

    def __init__(self, stream: ThreadStream, threads: Threads, rank: Rank = Rank.HOLDING) -> None:
        super().__init__(None, stream.may_begin_empty, interrupt=stream.interrupt)
        self.file, self.length = stream.file, stream.length
        self.first = stream.first
        if self.file is not None and self.first is PENDING:
            self.first = next(stream, END)  # it was read with the opening of the file
        self._stream = stream
        self._threads = IO_THREADS if stream.file is not None else threads
        self._turns = self._threads if stream.file is not None else threads.turns
        self._rank = rank
        self._context = copy_context()
        self._waker = WAKERS.get()
        self._made: deque[bytes | None] = deque()  # None is the end
        self._failures: list[BaseException] = []  # what ended the stream
        self._progress = SingleWaiterEvent(TASKS.get())  # a chunk was made, or a turn is over

    async def __anext__(self) -> bytes:
        while not self._made:
            if self.first is PENDING and self.interrupt is None:
                await self._make_one()
                continue
            if not self._has_turn:
                self._begin_turn()
            await self._wait_for_progress()
        chunk = self._made.popleft()
        if chunk is None:
            self._made.append(None)
            self._has_told_end = True
            if self.has_ended:  # it is not closed, see ``_forget``
                self._forget()
            raise self._failures.pop() if self._failures else StopAsyncIteration
        if not self._made and not self._has_turn and self._may_make_ahead:
            self._begin_turn()
        return chunk

    @property
    def is_text(self) -> bool:  # type: ignore[override]
        return self._stream.is_text

    @property
    def _may_make_ahead(self) -> bool:
        """Whether chunks are made that nobody waits for: when the head is complete.

        The pool makes its own ahead.
        """
        return self.first is not PENDING and self.interrupt is None

    @property
    def is_waiting(self) -> bool:
        return self._is_waiting and self.interrupt is None

    @property
    def has_ended(self) -> bool:  # type: ignore[override]
        return self._has_told_end and self._stream.has_ended

    async def close_items(self) -> None:
        """Close the stream when the thread has made its chunk. Raises what ended it, if that was
        not told before and is no cancellation.
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
        """Let go of the request, which is in the context and has this stream: they would be a
        cycle.
        """
        self._context = Context()

    async def _make_one(self) -> None:
        """Make one chunk, before the head. It is waited for, so it needs no task of its own."""
        self._is_waiting = True
        try:
            await in_thread(
                self._threads, run_in_context, self._context, self._take_turn, rank=self._rank
            )
        finally:
            self._is_waiting = False
        self._rank = Rank.HOLDING
        await anyio.lowlevel.checkpoint_if_cancelled()  # before other code is reached

    async def _wait_for_progress(self) -> None:
        self._is_waiting = True  # first: a thread looks at this when it has given a chunk
        try:
            if not self._made:
                await self._progress.wait()
        except BaseException:
            self._is_over = True
            self._turn.cancel()
            if self.interrupt is not None:
                self.interrupt()
            await self._wait_for_thread()
            if self.interrupt is not None:  # and what that has raised in the thread is no news
                self._failures.clear()
            raise
        finally:
            self._is_waiting = False

    async def _wait_for_thread(self) -> None:
        with anyio.CancelScope(shield=True):
            while self._has_turn:
                await self._progress.wait()

    def _begin_turn(self) -> None:
        """Let a thread make chunks, as soon as one is free."""
        self._has_turn = True
        self._turn = anyio.CancelScope()
        TASKS.get().start_soon(self._run_turn, context=self._context.copy())

    async def _run_turn(self) -> None:
        try:
            with self._turn:
                await in_thread(
                    self._turns, run_in_context, self._context, self._take_turn, rank=Rank.HOLDING
                )
        except BaseException as error:  # no thread could be started
            self._failures.append(error)
            self._made.append(None)
        self._has_turn = False
        self._progress.ring()

    # -- in the thread -----------------------------------------------------------------------------

    def _take_turn(self) -> None:
        until = monotonic() + TURN
        chunks_left, bytes_left = CHUNKS_AHEAD if self._may_make_ahead else 1, BYTES_AHEAD
        try:
            while not self._is_over:
                chunk = next(self._stream)
                self._made.append(chunk)
                chunks_left -= 1
                bytes_left -= len(chunk)
                if chunks_left <= 0 or bytes_left <= 0 or monotonic() > until:
                    return  # which wakes the task as well
                if self._is_waiting:
                    self._is_waiting = False  # until the task waits again: one ring wakes it
                    self._waker.call(self._progress.ring)
        except StopIteration:
            self._made.append(None)
        except BaseException as error:
            self._failures.append(error)
            self._made.append(None)


class EventsFromThread(AsyncIterator[object]):
    """A sync iterator as an async one.

    ``aclose`` does not wait for a busy thread, which closes the iterator later.
    """

    def __init__(self, events: Iterator[object]) -> None:
        self._events = events
        self._close: Action = getattr(events, "close", no_function)
        self._lock = Lock()
        self._is_busy = False
        self._is_closed = False
        # kept here, as a cancelled ``__anext__`` does not get it
        self._failures: list[BaseException] = []

    async def __anext__(self) -> object:
        item = await in_thread(SYNC_SOURCES, self._next, abandon_after=0.0)
        if item is END:
            self._raise_failure()
            raise StopAsyncIteration
        return item

    async def aclose(self) -> None:
        with self._lock:
            self._is_closed = True
            is_busy = self._is_busy
        # a generator that has ended has nothing to close: a thread takes as long as an event
        has_ended = getattr(self._events, "gi_frame", self._events) is None
        if not is_busy and not has_ended:
            await in_thread(SYNC_SOURCES, self._close, rank=Rank.RELEASING)
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failures:
            raise self._failures.pop()

    def _next(self) -> object:
        with self._lock:
            if self._is_closed:  # before this thread began
                return END
            self._is_busy = True
        item = END
        try:
            item = next(self._events, END)
        except BaseException as error:
            self._failures.append(error)
        with self._lock:
            self._is_busy = False
            is_closed = self._is_closed
        if is_closed:  # no task waits for this thread
            if self._failures:
                _log_late(self._failures.pop())
            try:
                self._close()
            except Exception as error:
                _log_late(error)
        return item


def _log_late(error: BaseException) -> None:
    logger.error("a source of events failed when its stream was over", exc_info=error)
