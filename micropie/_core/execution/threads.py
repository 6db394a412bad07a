"""Worker threads for code that may block.

They are anyio's threads, so ``anyio.from_thread`` works in them.

``Threads`` are their limits: each application and each service has one, and so has ``IO_THREADS``.
A call takes a slot of its ``Threads`` before it requests a thread from anyio, and gives it back
when the thread has ended the call (``Slots``). anyio's own limiter can't do that: if a task
abandons its thread, it would free the slot while the thread still runs. A thread that waits for its
client's body lends its slot to others meanwhile, or slow clients would take all of them.

A thread may wait for something that another request holds, such as a connection of a pool. If that
request in turn waited for a thread, both would wait forever. So a request that holds something
doesn't wait for such threads:

- It keeps its slot from one call to the next (``held``), unless it has to await something in
  between. Then it gets a new slot before all new requests.
- If no slot is free by then, calls that release something go beyond the limit. So do other calls of
  a request that may hold something: ``reserve`` of them, and more if no slot was given back for
  ``STALLED`` seconds. No new request begins until as many calls have ended.
"""

from __future__ import annotations

import logging
import os
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, nullcontext
from contextvars import Context, copy_context
from functools import partial
from threading import Lock, Thread, current_thread, main_thread
from threading import enumerate as enumerate_threads
from time import monotonic, sleep
from typing import TypeAlias, TypeVar, cast
from weakref import WeakKeyDictionary

import anyio

from micropie._core.errors import logger, too_many_waiting
from micropie._core.execution.background import Outcome, released, variables_set
from micropie._core.execution.fork import after_fork_in_child
from micropie._core.execution.loop import TASKS, WAKERS, Action, LoopLocal
from micropie._core.execution.placement import ALL_WAIT, AnyFunction, Rank, Threads
from micropie._core.execution.standing_queue import StandingQueue

Result = TypeVar("Result")

# How many threads of each ``Threads`` may wait for their clients at once, beside the busy ones.
MOST_READERS = 400

# In a browser, and elsewhere as WebAssembly, Python can't start threads: calls run in line.
HAS_THREADS = sys.platform != "emscripten"

# Seconds until the log repeats that handlers are refused.
_REPORT_EVERY = 60.0


# How many calls may always wait: a queue for few threads, or for slow handlers, is no overload.
_SHORT_QUEUE = 40

# How many calls that release something may go beyond the limit at a time: thousands of requests
# that end at once must not start thousands of threads.
MOST_RELEASING = 400

# Seconds without a slot given back, after which the threads probably wait for the request that
# waits for a slot.
STALLED = 0.25


class _Turn:
    """The turn of a task that waits for a slot. The event ``came`` is set when the task gets a slot
    or is refused.
    """

    __slots__ = ("came", "is_queued", "is_refused", "since")

    def __init__(self, is_queued: bool) -> None:
        self.came = anyio.Event()
        self.since = monotonic()
        self.is_queued, self.is_refused = is_queued, False


# The turns that wait, in the order in which they get a slot, and how many slots have to be left for
# them.
_Queue: TypeAlias = tuple[deque[_Turn], int]


class _Counted(nullcontext[None]):
    """A limiter for calls that have a slot already, so it never makes them wait.

    anyio requires a limiter. Its own, even without a limit, costs each call a turn of the loop.
    This class doesn't inherit from it, because the first request may need nothing else of anyio.
    """

    # trio calls this method; asyncio's backend enters the limiter instead.
    async def acquire_on_behalf_of(self, borrower: object) -> None: ...

    def release_on_behalf_of(self, borrower: object) -> None: ...


_COUNTED = cast("anyio.CapacityLimiter", _Counted())


class Slots:
    """The slots of a ``Threads`` on one event loop. All methods are called on that loop.
    ``slots_of`` returns the object.
    """

    def __init__(self, threads: Threads) -> None:
        if HAS_THREADS and not _GUARDS:
            guard = Thread(target=_end_process, name="micropie exit", daemon=True)
            _GUARDS.append(guard)
            guard.start()
        # Don't keep ``threads`` itself, which would then live as long as the loop.
        self._size, self._queue, self._patience = threads.size, threads.queue, threads.patience
        # Below 0 after slots were lent or calls went beyond the limit; never above 0 while a call
        # waits.
        self._free = self._size
        self._lent = 0
        new: _Queue = deque(), 0
        self._queues: Sequence[_Queue] = (  # in the order of the ranks in placement.py
            new,
            new,
            (deque(), 0),  # BEGUN
            (deque(), -threads.reserve),  # HOLDING
            (deque(), -MOST_RELEASING),  # RELEASING
        )
        self._new, self._number_waiting = new[0], 0
        self._moved_at = 0.0  # the last time that a slot was given back while some waited
        self._standing = StandingQueue()
        self.waker, self.tasks = WAKERS.get(), TASKS.get()
        self._next_report = 0.0

    async def take(self, rank: Rank = Rank.WAITING) -> None:
        """Take a slot.

        Wait until one is free. Raises ``TimeoutError`` after the ``patience`` of the threads. A new
        request (``QUEUED``) gets 503 if too many wait, or if it has waited too long.
        """
        waiting, least = self._queues[rank]
        if self._free > least:
            self._free -= 1
            return
        if rank is Rank.QUEUED and len(waiting) >= self._queue:
            self._report(
                "all %d threads or processes are busy, and %d handlers wait for one: "
                "requests get 503",
                self._size, self._queue,
            )  # fmt: skip
            raise too_many_waiting()
        turn = _Turn(rank is Rank.QUEUED)
        waiting.append(turn)
        self._number_waiting += 1
        try:
            with anyio.move_on_after(self._patience):
                await (
                    turn.came.wait() if rank < Rank.HOLDING else self._wait_as_holder(turn, waiting)
                )
            if not turn.came.is_set():
                raise TimeoutError(ALL_WAIT)
        except BaseException:  # refused after ``patience`` seconds, or the task was cancelled
            if not turn.came.is_set():
                waiting.remove(turn)
                self._number_waiting -= 1
            elif not turn.is_refused:
                self.give()
            raise
        if turn.is_refused:
            self._report(
                "all %d threads or processes are busy, and handlers wait too long for one: "
                "the oldest get 503",
                self._size,
            )  # fmt: skip
            raise too_many_waiting()

    async def _wait_as_holder(self, turn: _Turn, waiting: deque[_Turn]) -> None:
        """Wait for a slot, but go beyond the limit if none was given back for a while: the threads
        may wait for something that this request holds.
        """
        while not turn.came.is_set():
            with anyio.move_on_after(STALLED):
                await turn.came.wait()
            now = monotonic()
            if not turn.came.is_set() and now - self._moved_at >= STALLED:
                self._moved_at = now
                self._admit(waiting, turn)

    def give(self) -> None:
        """Give a slot back. Among the waiting tasks with the highest rank, the one that has waited
        longest gets it.
        """
        self._free += 1
        if self._number_waiting:
            self._moved_at = monotonic()
            for waiting, least in reversed(self._queues):
                while waiting and self._free > least:
                    self._admit(waiting, waiting[0])

    def _admit(self, waiting: deque[_Turn], turn: _Turn) -> None:
        """End the wait of a task: give it a slot, or refuse it."""
        waiting.remove(turn)
        self._number_waiting -= 1
        turn.is_refused = self._is_late(turn)
        self._free -= not turn.is_refused
        turn.came.set()

    def _is_late(self, turn: _Turn) -> bool:
        """Return whether a new request has waited so long that it is refused, and others get its
        slot. None is refused unless enough others wait to keep every slot busy.
        """
        if not turn.is_queued:
            return False
        now = monotonic()
        is_late = self._standing.makes_late(now - turn.since, now)
        return is_late and len(self._new) >= max(self._size, _SHORT_QUEUE)

    @contextmanager
    def lend(self) -> Iterator[bool]:
        """Within the ``with`` block, let another call begin while a thread waits for its client.

        The block gets False if ``MOST_READERS`` threads wait already, which is logged once a
        minute. After the block, the thread goes on without waiting for a slot, because it may hold
        a lock for which all others wait. If there are more running threads than slots then, no call
        begins until some have ended.
        """
        if self._lent >= MOST_READERS:
            self._report(
                "%d threads wait for the bodies of slow clients: requests get 503", MOST_READERS
            )
            yield False
        else:
            self._lent += 1
            self.give()
            try:
                yield True
            finally:
                self._lent -= 1
                self._free -= 1

    def usage(self) -> tuple[int, int, int]:
        """Return how many threads are busy, how many calls wait for one, and how many threads there
        are.

        A thread that a request keeps for its next call counts as busy. One whose slot is lent to
        another request doesn't.
        """
        return self._size - self._free, self._number_waiting, self._size

    async def call(
        self,
        function: Callable[..., Result],
        arguments: Sequence[object],
        leave_after: float | None,
        rank: Rank = Rank.WAITING,
        held: list[Slots] | None = None,
    ) -> Result:
        """Call ``function`` in a worker thread, with this task's context variables.

        ``rank``: as for ``take``. ``held``: contains this object if the task has a slot already.
        After the call, the object is put there again instead of giving the slot back.

        A task that is cancelled waits ``leave_after`` seconds for the thread (None: as long as it
        takes), then stops waiting. The thread counts as busy until it ends.
        """
        if held:
            held.clear()
        else:
            await self.take(rank)
        work = _Work(function, arguments)
        try:
            if HAS_THREADS:
                outcome = await anyio.to_thread.run_sync(
                    work.run, abandon_on_cancel=leave_after is not None, limiter=_COUNTED
                )
            else:
                outcome = work.run()
        except BaseException:  # no thread could be started, or the task was cancelled
            if work.claim.acquire(blocking=False):
                self.give()
                raise
            ended, gives = anyio.Event(), [self.give]

            def end() -> None:
                ended.set()
                while gives:  # releases the slot once, even if this is called twice
                    gives.pop()()

            work.leave(partial(self.waker.call, end))
            if leave_after:
                with anyio.move_on_after(leave_after, shield=True):
                    await ended.wait()
            raise
        if held is None:
            self.give()
        else:
            held.append(self)
        try:
            result: Result = released(outcome)
        except CancelledError:
            # A ``from_thread.run`` in the thread raised it, because it is cancelled with this task.
            await anyio.lowlevel.checkpoint_if_cancelled()
            raise
        return result

    def _report(self, sentence: str, *values: object) -> None:
        """Log that requests get 503, at most once a minute."""
        now = monotonic()
        if now >= self._next_report:
            self._next_report = now + _REPORT_EVERY
            logger.warning(sentence, *values)


# A task that waits for a slot belongs to one loop, but an application may be served by several.
_SLOTS: LoopLocal[WeakKeyDictionary[Threads, Slots]] = LoopLocal(WeakKeyDictionary)


def slots_of(threads: Threads) -> Slots:
    """Return the slots of ``threads`` on the current event loop."""
    slots = _SLOTS.get()
    return slots.get(threads) or slots.setdefault(threads, Slots(threads))


async def in_thread(
    threads: Threads,
    function: Callable[..., Result],
    *arguments: object,
    abandon_after: float | None = None,
    rank: Rank = Rank.WAITING,
) -> Result:
    """Call ``function`` in one of ``threads``; see ``Slots.call``."""
    return await slots_of(threads).call(function, arguments, abandon_after, rank)


class TookTooLong(Exception):
    """The time limit of ``call_within`` is over.

    It is not a ``TimeoutError``, because the function itself may raise that.

    ``sentence`` says what took too long, if that is known.
    """

    def __init__(self, sentence: str = "") -> None:
        super().__init__(sentence)


async def within(
    seconds: float, function: Callable[..., Awaitable[Result]], arguments: Sequence[object]
) -> Result:
    """Await ``function(*arguments)``, but no longer than ``seconds``.

    Raises ``TookTooLong`` after that.
    """
    with anyio.move_on_after(seconds):
        return await function(*arguments)
    raise TookTooLong


class _Work:
    """A call in a thread.

    Either the thread claims it to run it, or the task claims it because it no longer waits.
    """

    def __init__(self, function: AnyFunction, arguments: Sequence[object]) -> None:
        self._function, self._arguments = function, arguments
        self.claim = Lock()  # whoever acquires it has claimed the call
        self._has_ended = False
        self._tell: Action | None = None

    def run(self) -> Outcome:
        """Make the call in this thread, unless it was claimed before. Doesn't raise."""
        if not self.claim.acquire(blocking=False):
            return []
        _RUNNING[self] = current_thread()
        before = copy_context()
        try:
            return [self._function(*self._arguments), None, variables_set(before)]
        except BaseException as error:
            return [None, error, variables_set(before)]
        finally:
            del _RUNNING[self]
            self._has_ended = True
            if self._tell is not None:
                self._tell()

    def leave(self, tell: Action) -> None:
        """Call ``tell`` when the call ends, or right now if it has ended.

        If the call ends at this very moment, ``tell`` is called twice.
        """
        self._tell = tell
        if self._has_ended:
            tell()


# -- the end of the process ------------------------------------------------------------------------

# Seconds that calls may go on after the server has ended.
EXIT_WITHIN = 1.0

# The calls that are running, with their threads; and the thread that runs ``_end_process``. No
# thread survives a fork.
_RUNNING: dict[_Work, Thread] = {}
_GUARDS: list[Thread] = []
after_fork_in_child(_RUNNING.clear)
after_fork_in_child(_GUARDS.clear)


def _end_process() -> None:
    """End the process soon after its main thread and the server's threads have ended, even if calls
    still run.

    The interpreter waits for all threads that are not daemons. Under asyncio, anyio's threads are
    not, so a handler that hangs would keep its server from ending. There is no gentler way: nothing
    can end a thread in a blocking call, anyio makes no daemon threads, and in a daemon thread of
    the framework's own, a handler's ``anyio.from_thread.run`` would need the loop's token.
    """
    main_thread().join()
    for thread in enumerate_threads():
        if not thread.daemon and thread not in [*_RUNNING.values()]:
            thread.join()
    until = monotonic() + EXIT_WITHIN
    while _RUNNING and monotonic() < until:
        sleep(0.01)
    if _RUNNING:
        logger.error("the process ends now, though %d calls in its threads don't", len(_RUNNING))
        logging.shutdown()
        os._exit(1)


def run_in_context(context: Context, function: Action) -> None:
    """Call ``function`` in ``context`` itself instead of a copy, so that it can reset a variable
    that an earlier call has set.

    Call this in a worker thread. The thread's own context is a copy of ``context`` in which anyio
    has unset the variables that tell libraries which event loop a task is on. They are unset in
    ``context`` as well, because this is not a task.
    """
    marks = variables_set(context)

    def run() -> None:
        for variable, value in marks:
            variable.set(value)
        function()

    context.run(run)
