"""Run code in worker threads, where it may block.

The threads are anyio's, so ``anyio.from_thread`` works in them.

A ``Threads`` object limits their number. Each application and each service has one, and there is
one for files (``IO_THREADS``). A call takes a slot of its ``Threads`` before it requests a thread
from anyio, and gives the slot back when the call has ended in the thread (``Slots``). anyio's own
limiter can't be used, because it frees the slot of an abandoned thread that still runs. A thread
that waits for its client to send the body lends its slot to another call meanwhile, because slow
clients would otherwise take all slots.

A thread may wait for something that another request holds, such as a connection of a pool. If that
request in turn waited for a slot, both would wait forever. So a request that may hold something
takes precedence:

- It keeps its slot from one call to the next (``held``), unless it has to await something in
  between. In that case, it gets a new slot before any new request gets one.
- If no slot is free, calls with the rank RELEASING go beyond the limit. Up to ``reserve`` calls
  with the rank HOLDING do this as well, or more if no slot was given back for ``STALLED`` seconds.
  No new request begins until as many calls have ended as went beyond the limit.
"""

from __future__ import annotations

import logging
import os
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, nullcontext, suppress
from contextvars import Context, copy_context
from functools import partial
from math import inf
from queue import Full
from threading import Lock, Thread, current_thread, main_thread
from threading import enumerate as enumerate_threads
from time import monotonic, sleep
from typing import Any, TypeAlias, TypeVar, cast
from weakref import WeakKeyDictionary

import anyio

from micropie._core.errors import logger, too_many_waiting
from micropie._core.execution.call_steps import CallSteps, Wait, in_this_thread, step_after
from micropie._core.execution.fork import after_fork_in_child
from micropie._core.execution.lane import (
    Held,
    Lane,
    LeftCall,
    Outcome,
    released,
    until_ended,
    variables_set,
)
from micropie._core.execution.loop import (
    STOPS,
    TASKS,
    Action,
    LoopLocal,
    LoopTasks,
    SingleWaiterEvent,
    library_variable,
    move_on_after,
    start_shared,
)
from micropie._core.execution.placement import ALL_WAIT, AnyFunction, Rank, Threads
from micropie._core.execution.standing_queue import ThreadQueue

Result = TypeVar("Result")

# How many threads of each ``Threads`` may wait for their clients at once, in addition to the
# threads that have a slot.
MOST_READERS = 400

# Python can't start threads if it runs as WebAssembly, for example in a browser. In that case,
# calls run inline, without a thread.
HAS_THREADS = sys.platform != "emscripten"

# On Windows, asyncio's usual loop can't wait for a socket that it hasn't made.
_CAN_WAIT = os.name == "posix"

# Seconds between two log records about refused requests.
_REPORT_EVERY = 60.0

# How many calls with the rank RELEASING may go beyond the limit of threads at a time. The number is
# limited so that thousands of requests that end at once don't start thousands of threads.
MOST_RELEASING = 400

# If no slot is given back for this number of seconds, the threads are probably waiting for
# something that is held by a request which itself waits for a slot.
STALLED = 0.25


class _Turn:
    """A task's place in the queue for a slot. When the task gets a slot or is refused, its turn
    ``has_come``, and the event ``comes`` is rung.
    """

    __slots__ = ("comes", "has_come", "is_queued", "is_refused", "since")

    def __init__(self, tasks: LoopTasks, is_queued: bool) -> None:
        self.comes, self.has_come = SingleWaiterEvent(tasks), False
        self.since = monotonic()
        self.is_queued, self.is_refused = is_queued, False


# A queue: the waiting tasks, in the order in which they get a slot, and a limit. A task gets a slot
# only while the number of free slots is above the limit. If the limit is below 0, more calls may
# run than there are slots.
#
# The turns are the keys of an ``OrderedDict``. From the middle of a deque, where a cancelled task
# leaves it, and from the start of a dict, removing one takes longer the more tasks wait.
_Turns: TypeAlias = OrderedDict[_Turn, None]
_Queue: TypeAlias = tuple[_Turns, int]


class _Counted(nullcontext[None]):
    """A limiter that never makes a call wait, because the call has a slot already.

    anyio requires a limiter. With anyio's own limiter, each call takes one more turn of the loop,
    even if the limiter has no limit. This class doesn't inherit from anyio's limiter, because
    importing that class would delay the first request.
    """

    # anyio's trio backend calls this method. Its asyncio backend enters the limiter as a context
    # manager instead.
    async def acquire_on_behalf_of(self, borrower: object) -> None: ...

    def release_on_behalf_of(self, borrower: object) -> None: ...


_COUNTED = cast("anyio.CapacityLimiter", _Counted())


class Slots:
    """The slots of a ``Threads`` object on one event loop. Call all methods on that loop.

    ``slots_of`` returns the ``Slots`` of the current loop.
    """

    def __init__(self, threads: Threads) -> None:
        if HAS_THREADS and not _GUARDS:
            guard = Thread(target=_end_process, name="micropie exit", daemon=True)
            _GUARDS.append(guard)
            start_shared(guard)
        # Don't store ``threads`` itself, because it would then live as long as the loop.
        self._size, self._queue, self._patience = threads.size, threads.queue, threads.patience
        self._refusals = threads.refusals
        # The number of free slots. It is below 0 if calls go beyond the limit, or if a thread that
        # has lent its slot runs again. It is never above 0 while a call waits.
        self._free = self._size
        self._lent = 0
        self._new: _Turns = OrderedDict()
        self._queues: Sequence[_Queue] = (  # one for each ``Rank``, in order
            (self._new, 0),
            (self._new, 0),
            (OrderedDict(), 0),  # BEGUN
            (OrderedDict(), -threads.reserve),  # HOLDING
            (OrderedDict(), -MOST_RELEASING),  # RELEASING
        )
        self._number_waiting = 0
        self._moved_at = 0.0  # the time when a slot was last given back while calls were waiting
        self._waits = ThreadQueue(threads.size, threads.queue, threads.wait, threads.refusals)
        self.tasks = TASKS.get()
        self._next_report = 0.0

    async def take(self, rank: Rank = Rank.WAITING) -> None:
        """Take a slot. Wait until one is free.

        Raises ``TimeoutError`` if no slot is free within the ``patience`` of the ``Threads``. For
        the rank QUEUED, also raises an ``HTTPError`` 503 if too many requests wait, or if this
        request has waited too long.
        """
        waiting, least = self._queues[rank]
        if self._free > least:
            self._free -= 1
            return
        if rank is Rank.QUEUED and len(waiting) >= self._queue:
            self._report(
                "all %d threads or processes are busy, and the queue of at most %d requests is "
                "full: further requests get 503",
                self._size, self._queue,
            )  # fmt: skip
            self._refusals.count += 1
            raise too_many_waiting()
        turn = _Turn(self.tasks, rank is Rank.QUEUED)
        waiting[turn] = None
        self._number_waiting += 1
        try:
            wait = turn.comes.wait() if rank < Rank.HOLDING else self._wait_holding(turn, waiting)
            if self._patience is None:  # without a scope, which takes longer than all of this
                await wait
            else:
                with move_on_after(self._patience):
                    await wait
                if not turn.has_come:
                    raise TimeoutError(ALL_WAIT)
        except BaseException:  # the ``patience`` has run out, or the task was cancelled
            if not turn.has_come:
                del waiting[turn]
                self._number_waiting -= 1
            elif not turn.is_refused:
                self.give()
            raise
        if turn.is_refused:
            self._report(
                "all %d threads or processes are busy: requests that have waited too long get 503, "
                "the oldest first",
                self._size,
            )  # fmt: skip
            raise too_many_waiting()

    async def _wait_holding(self, turn: _Turn, waiting: _Turns) -> None:
        """Wait for a slot. If no slot was given back for ``STALLED`` seconds, go beyond the limit,
        because the threads may be waiting for something that this request holds.
        """
        while not turn.has_come:
            with move_on_after(STALLED):
                await turn.comes.wait()
            now = monotonic()
            if not turn.has_come and now - self._moved_at >= STALLED:
                self._moved_at = now
                self._admit(waiting, turn)

    def give(self) -> None:
        """Give a slot back. The waiting task with the highest rank gets it. If several have this
        rank, the one that has waited longest gets it.
        """
        self._free += 1
        if self._number_waiting:
            self._moved_at = monotonic()
            for waiting, least in reversed(self._queues):
                while waiting and self._free > least:
                    self._admit(waiting, next(iter(waiting)))

    def _admit(self, waiting: _Turns, turn: _Turn) -> None:
        """End the wait of a task: give it a slot, or refuse a new request that has waited too long,
        so that another request can take the slot.
        """
        del waiting[turn]
        self._number_waiting -= 1
        if turn.is_queued:
            now = monotonic()
            turn.is_refused = self._waits.refuses(now - turn.since, now, len(self._new))
        self._free -= not turn.is_refused
        turn.has_come = True
        turn.comes.ring()

    @contextmanager
    def lend(self) -> Iterator[bool]:
        """Lend this thread's slot to another call during a ``with`` block, in which this thread
        waits for its client.

        The value of the ``with`` is True if the slot was lent. It is False if ``MOST_READERS``
        threads wait already. This is logged at most once a minute. After the block, the thread goes
        on without waiting for a slot, because it may hold a lock that all others wait for. If more
        threads are then running than there are slots, no call begins until enough threads have
        ended.
        """
        if self._lent >= MOST_READERS:
            self._report(
                "all %d threads that may wait for slow request bodies are waiting: further slow "
                "requests get 503 until one of the threads is free",
                MOST_READERS,
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
        """Return the number of busy threads, the number of calls that wait for a thread, and the
        limit.

        A slot that a request keeps for its next call counts as a busy thread. A thread that has
        lent its slot doesn't count.
        """
        return self._size - self._free, self._number_waiting, self._size

    async def call(
        self,
        function: Callable[..., Result],
        arguments: Sequence[object],
        leave_after: float | None,
        rank: Rank = Rank.WAITING,
        held: Held | None = None,
        lane: Lane | None = None,
        on_left: Callable[[LeftCall], object] | None = None,
        on_cancelled: Action | None = None,
    ) -> Result:
        """Call ``function`` in a worker thread, with this task's context variables.

        - ``rank``: see ``take``.
        - ``held``: a list in which the task keeps its slot from one call to the next. If it
          contains these ``Slots``, the call uses the slot of an earlier call. After the call, the
          list contains these ``Slots`` again. Without a list, the slot is given back after the
          call.
        - ``lane``: the call runs in this lane, unless another call does. Without a lane, it runs in
          a copy of the task's context.

        If the task is cancelled while the function runs, it calls ``on_cancelled``, waits at most
        ``leave_after`` seconds for the thread, then abandons it and calls ``on_left``. If
        ``leave_after`` is None, the task waits until the call ends. An abandoned thread counts as
        busy until its call ends.
        """
        if held:
            held.clear()
        else:
            await self.take(rank)
        work = _Work(function, arguments, lane)
        try:
            if HAS_THREADS:
                outcome = await anyio.to_thread.run_sync(
                    work.run, abandon_on_cancel=leave_after is not None, limiter=_COUNTED
                )
            else:
                outcome = work.run()
        except BaseException:  # no thread could be started, or the task was cancelled
            if work.withdraw():
                self.give()
                raise
            if on_cancelled is not None:
                on_cancelled()
            work.when_ended(partial(self.tasks.call, self.give))
            # asyncio's ``Task.cancel`` has interrupted the wait above, although it is shielded; so
            # wait again if there is nobody to tell that the thread goes on
            seconds = inf if leave_after is None and on_left is None else leave_after
            if seconds:
                with move_on_after(seconds, shield=True):
                    await until_ended(work.when_ended)
            if on_left is not None and not work.has_ended:
                on_left(work)
            raise
        if held is None:
            self.give()
        else:
            held.append(self)
        try:
            result: Result = work.released(outcome, held)
        except CancelledError:
            # The error may come from a ``from_thread.run`` in the thread, which is cancelled
            # together with this task. In that case, raise this task's own cancellation.
            await anyio.lowlevel.checkpoint_if_cancelled()
            raise
        return result

    async def perform(
        self,
        steps: CallSteps[Result],
        leave_after: float | None,
        rank: Rank = Rank.WAITING,
        on_left: Callable[[LeftCall], object] | None = None,
        on_cancelled: Action | None = None,
    ) -> Result:
        """Perform the steps of a call, and return its result. Wait on this event loop, and go on in
        a worker thread with the first step that may block in another way.

        The call has a slot from beginning to end. If the task is cancelled while it waits on the
        loop, the generator is closed. For the other parameters, see ``call``.
        """
        await self.take(rank)
        held = Held([self])
        try:
            step = steps.send(None)
            while isinstance(step, Wait) and _CAN_WAIT:
                await self.tasks.until_readable(step.descriptor, step.seconds)
                step = step_after(steps, step, _poll)
        except StopIteration as end:
            value: Result = end.value
            return value
        except BaseException:
            steps.close()
            raise
        else:
            given = in_this_thread, (steps, step), leave_after, rank, held
            return await self.call(*given, None, on_left, on_cancelled)
        finally:
            held.end(is_over=False)

    def _report(self, sentence: str, *values: object) -> None:
        """Log, at most once a minute, that requests get a 503. ``sentence``: the log message, with
        placeholders for ``values``.
        """
        now = monotonic()
        if now >= self._next_report:
            self._next_report = now + _REPORT_EVERY
            logger.warning(sentence, *values)


def _poll(wait: Wait) -> object:
    return wait.poll(0.0)


# Each loop has its own ``Slots``, because several loops may serve an application, but a task can
# wait for a slot only on its own loop.
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
    on_left: Callable[[LeftCall], object] | None = None,
) -> Result:
    """Call ``function`` in a worker thread, within the limit of ``threads``, and return its result;
    see ``Slots.call``.
    """
    slots = slots_of(threads)
    return await slots.call(function, arguments, abandon_after, rank, on_left=on_left)


class TookTooLong(Exception):
    """Raised if a call exceeds the time limit of ``call_within``.

    It is not a ``TimeoutError``, because the called function may raise a ``TimeoutError`` itself.
    ``sentence`` describes what took too long, if that is known.
    """

    def __init__(self, sentence: str = "") -> None:
        super().__init__(sentence)


class _Work:
    """A call that a task makes in a worker thread.

    Either the thread or the task claims the call. The thread does so before it calls the function.
    If the task stops waiting and claims the call first, the function is never called.
    """

    def __init__(
        self, function: AnyFunction, arguments: Sequence[object], lane: Lane | None
    ) -> None:
        self._function, self._arguments = function, arguments
        self._lane = lane if lane is not None and lane.enter() else None
        self._claim = Lock()  # acquiring it claims the call
        self.has_ended = False
        self._at_end: list[Action] = []

    def run(self) -> Outcome:
        """Call the function in this thread, unless the task has claimed the call. Never raises an
        exception.
        """
        if not self._claim.acquire(blocking=False):
            return []
        _RUNNING[self] = current_thread()
        try:
            if self._lane is not None:
                return self._lane.run(self._function, self._arguments)
            before = copy_context()
            try:
                return [
                    self._function(*self._arguments),
                    None,
                    variables_set(before),
                ]
            except BaseException as error:
                return [None, error, variables_set(before)]
        finally:
            self.has_ended = True
            if self._at_end:
                self._run_at_end()
            del _RUNNING[self]

    def withdraw(self) -> bool:
        """Return whether the task could claim the call. Then the function is never called."""
        is_claimed = self._claim.acquire(blocking=False)
        if is_claimed and self._lane is not None:
            self._lane.is_busy = False
        return is_claimed

    def released(self, outcome: Outcome, held: Held | None) -> Any:
        """Pass the lane's variables on to the task, then return the value or raise the error."""
        if self._lane is not None:
            if held is None:
                held = Held()
            held.tokens = tokens = held.tokens or {}
            self._lane.leave(outcome, tokens)
        return released(outcome)

    def when_ended(self, action: Action) -> None:
        """See ``LeftCall``."""
        self._at_end.append(action)
        if self.has_ended:
            self._run_at_end()

    def _run_at_end(self) -> None:
        # The thread and the task may be here at the same time, but each action is popped once.
        with suppress(IndexError):
            while True:
                self._at_end.pop(0)()


# -- the end of the process ------------------------------------------------------------------------

# Seconds for which calls may go on after the server has ended.
EXIT_WITHIN = 1.0

# ``_RUNNING``: the running calls and their threads. ``_GUARDS``: the thread that runs
# ``_end_process``. Both are cleared in a forked child, because threads don't survive a fork.
_RUNNING: dict[_Work, Thread] = {}
_GUARDS: list[Thread] = []
after_fork_in_child(_RUNNING.clear)
after_fork_in_child(_GUARDS.clear)


def _end_process() -> None:
    """End the process soon after its main thread and the server's threads have ended, even if calls
    still run.

    The interpreter waits for all threads that are not daemons. Under asyncio, anyio's threads are
    not daemons, so a handler that hangs would keep its server from ending. There is no gentler way:
    a thread in a blocking call can't be ended, anyio can't start daemon threads, and in a daemon
    thread started by micropie, a handler could call ``anyio.from_thread.run`` only with the loop's
    token.
    """
    main_thread().join()
    thread: Any
    # An idle worker ends with the task that has started it. daphne leaves tasks that never end.
    for thread in sorted(enumerate_threads(), key=_is_worker):
        if _is_worker(thread):
            with suppress(Full):  # if its loop has stopped it
                thread.stop()  # when it has no call, and no loop runs that could give it another
        if not thread.daemon and thread not in [*_RUNNING.values()]:
            thread.join()
    until = monotonic() + EXIT_WITHIN
    while _RUNNING and monotonic() < until:
        sleep(0.01)
        if STOPS:
            until = monotonic() + EXIT_WITHIN
    if _RUNNING:
        logger.error(
            "the process is exiting while calls are still running in its threads; number of "
            "calls: %d",
            len(_RUNNING),
        )
        logging.shutdown()
        os._exit(1)


def _is_worker(thread: Thread) -> bool:
    """Return whether it is a thread of anyio under asyncio. Under trio, they are daemons."""
    return thread.name == "AnyIO worker thread"


def run_in_context(context: Context, function: Callable[[], Result]) -> Result:
    """Call ``function`` in ``context`` itself, not in a copy, so that it can reset a context
    variable that an earlier call has set, and return its result. Call this in a worker thread.

    anyio has unset, in the thread's own context, the variable by which libraries detect the event
    loop. This function unsets it in ``context`` as well, because ``function`` doesn't run on the
    loop.
    """
    context.run(library_variable().set, None)
    return context.run(function)
