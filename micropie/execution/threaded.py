"""``ThreadedIterator``: a sync iterator as an async one, whose chunks a worker thread makes ahead.

The way to a thread and back takes 50 µs, many times what a chunk takes. So a thread that has made a chunk goes on,
while the task sends what is there. It wakes the task for the first chunk: what is ready never waits for a later one.

Such a *turn* ends with ``CHUNKS_AHEAD`` chunks or ``BYTES_AHEAD``, so slow clients hold neither threads nor memory, and
after ``TURN``, so slow sources leave their threads to others. The next turn begins when the last chunk of the buffer is
taken.

The first turn makes a single chunk. The head is not complete before that has been taken: the code that follows must not
change it any more, and does not run at all for HEAD.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import CancelledError  # of ``from_thread.run``
from contextvars import Context, copy_context
from functools import partial
from time import monotonic

from anyio import CancelScope, WouldBlock, get_cancelled_exc_class

from micropie.execution.placement import Threads
from micropie.execution.threads import in_thread, limiter_of, run_in_place
from micropie.execution.wake import WAKERS, SingleWaiterEvent

CHUNKS_AHEAD = 32
BYTES_AHEAD = 256 * 1024
TURN = 0.005  # seconds


class ThreadedIterator(AsyncIterator[bytes]):
    """The chunks of ``source``, each passed through ``convert``, made in one of ``threads``, all in one context.

    One task advances and closes it. A thread can't be interrupted, so a cancellation waits for the chunk that is being
    made, but ``from_thread.check_cancelled`` raises there. ``_take_turn`` and ``_give`` run in the thread, all else on
    the event loop.
    """

    def __init__(self, source: Iterator[object], convert: Callable[[object], bytes], threads: Threads) -> None:
        self._source = source
        self._convert = convert
        self._threads = threads
        self._limiter = limiter_of(threads)
        self._context = copy_context()
        self._waker = WAKERS.get()
        self._made: deque[bytes | None] = deque()  # None is the end
        self._failure: BaseException | None = None  # what ended the source
        self._progress = SingleWaiterEvent()  # a chunk was made, or a turn is over
        self._is_waiting = False
        self._has_turn = False
        self._head_is_complete = False
        self._has_ended = False  # and this has been told
        self._is_over = False  # no further chunk is wanted

    async def __anext__(self) -> bytes:
        while not self._made:
            if not self._has_turn and not self._begin_turn():
                await self._limiter.acquire_on_behalf_of(self)
                self._run_turn()
            await self._wait_for_progress()
        chunk = self._made.popleft()
        if chunk is None:
            self._made.append(None)
            self._has_ended = True
            if self.ag_frame is None:  # it is not closed, see ``_forget``
                self._forget()
            failure, self._failure = self._failure, None
            try:
                raise failure or StopAsyncIteration
            finally:
                del failure
        if self._head_is_complete and not self._made and not self._has_turn:
            self._begin_turn()
        self._head_is_complete = self._head_is_complete or bool(chunk)
        return chunk

    @property
    def ag_running(self) -> bool:
        """Whether ``__anext__`` waits for the thread."""
        return self._is_waiting

    @property
    def ag_frame(self) -> object:
        """None if there is nothing to close: the source is a generator, and ``__anext__`` has told of its end."""
        return getattr(self._source, "gi_frame", self) if self._has_ended else self

    async def aclose(self) -> None:
        """Close the source when the thread has made its chunk. Raises what ended it, if that was not told before and is
        no cancellation.
        """
        self._is_over = True
        await self._wait_for_thread()
        failure, self._failure = self._failure, None
        close: Callable[[], object] | None = getattr(self._source, "close", None)
        try:
            if close is not None:
                await in_thread(self._threads, self._context.run, close)
            if failure is not None and not isinstance(failure, get_cancelled_exc_class() | CancelledError):
                raise failure
        finally:
            self._forget()
            del failure

    def _forget(self) -> None:
        """Let go of the request, which is in the context and has this stream: they would be a cycle."""
        self._context = Context()

    async def _wait_for_progress(self) -> None:
        self._is_waiting = True  # first: a thread looks at this when it has given a chunk
        try:
            if not self._made:
                await self._progress.wait()
        except BaseException:
            self._is_over = True
            self._turn.cancel()
            await self._wait_for_thread()
            raise
        finally:
            self._is_waiting = False

    async def _wait_for_thread(self) -> None:
        with CancelScope(shield=True):
            while self._has_turn:
                await self._progress.wait()

    def _begin_turn(self) -> bool:
        """Let a thread make chunks, and return True; or return False if none is free."""
        try:
            self._limiter.acquire_on_behalf_of_nowait(self)
        except WouldBlock:
            return False
        self._run_turn()
        return True

    def _run_turn(self) -> None:
        self._turn = run_in_place(self._limiter, self, self._take_turn, context=self._context)
        self._has_turn = True

    def lose(self, error: BaseException) -> None:
        """End the stream: no thread could be started for its turn."""
        self._failure = error
        self._made.append(None)
        self._has_turn = False
        self._progress.ring()

    def _end_turn(self) -> None:
        self._has_turn = False
        self._limiter.release_on_behalf_of(self)
        self._progress.ring()

    # -- in the thread ---------------------------------------------------------------------------------------------

    def _take_turn(self) -> Callable[[], object]:
        """Make chunks. Return the function that tells the loop once this thread is free."""
        until = monotonic() + TURN
        chunks_left, bytes_left = CHUNKS_AHEAD if self._head_is_complete else 1, BYTES_AHEAD
        try:
            while chunks_left > 0 and bytes_left > 0 and not self._is_over:
                chunk = self._convert(next(self._source))
                self._give(chunk)
                chunks_left -= 1
                bytes_left -= len(chunk)
                if monotonic() > until:
                    break
        except StopIteration:
            self._give(None)
        except BaseException as error:
            self._failure = error
            self._give(None)
        return partial(self._waker.call, self._end_turn)

    def _give(self, chunk: bytes | None) -> None:
        self._made.append(chunk)
        if self._is_waiting:
            self._waker.call(self._progress.ring)
