"""Worker threads for code that may block. Those of applications are counted apart from IO_THREADS."""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import Context, copy_context
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from typing import TypeVar
from weakref import WeakKeyDictionary

from anyio import CapacityLimiter, get_cancelled_exc_class, to_thread

from micropie.errors import HTTPError
from micropie.execution.fork import after_fork_in_child
from micropie.execution.loop import LoopLocal
from micropie.execution.outcomes import Outcome, outcome_of, released
from micropie.execution.placement import Threads
from micropie.execution.wake import threadsafe_scheduler

logger = logging.getLogger("micropie")

Result = TypeVar("Result")


class _Capacity:
    """The limiter of some ``Threads`` on one event loop, and how many handlers are in a thread or wait for one."""

    def __init__(self, threads: Threads) -> None:
        self.limiter = CapacityLimiter(threads.size)
        self.handlers = 0
        self.next_report = 0.0

    def refusal(self, threads: Threads) -> HTTPError:
        """Return the 503 for a handler that finds no place, and log once a minute that there is none."""
        now = monotonic()
        if now >= self.next_report:
            self.next_report = now + _REPORT_EVERY
            logger.warning(
                "all %d threads or processes are busy, and %d handlers wait for one: requests get 503",
                threads.size, threads.queue,
            )  # fmt: skip
        return HTTPError(503, "Too many requests are waiting. Please try again later.", [("Retry-After", RETRY_AFTER)])


# A limiter belongs to the loop that it was made in, and an application may serve several.
_capacities: LoopLocal[WeakKeyDictionary[Threads, _Capacity]] = LoopLocal(WeakKeyDictionary)

# For files and session backends: forty handlers that block must not keep a page's style sheet from other clients.
IO_THREADS = Threads(40)


# Seconds: the time that a queue of the default length takes if each handler needs 40 ms.
RETRY_AFTER = "1"
# Seconds until the log says again that handlers are refused.
_REPORT_EVERY = 60.0


async def in_thread(
    threads: Threads, function: Callable[..., Result], *arguments: object, abandon_on_cancel: bool = False
) -> Result:
    """Call ``function`` in a worker thread, with this task's context variables. Wait while all ``threads`` are busy.

    With ``abandon_on_cancel`` a cancelled task leaves the thread to itself, which counts as busy until it ends;
    otherwise the task waits for the thread.
    """
    limiter = limiter_of(threads)
    if abandon_on_cancel:
        outcome = await _in_abandoned_thread(limiter, function, arguments)
    else:
        outcome = await to_thread.run_sync(outcome_of, function, arguments, limiter=limiter)
    result: Result = released(outcome)
    return result


async def in_handler_thread(
    threads: Threads, function: Callable[..., Result], *arguments: object, abandon_on_cancel: bool = False
) -> Result:
    """Call a handler as ``in_thread`` does. Raise a 503 if ``threads.queue`` handlers are waiting for a thread."""
    capacity = _capacity_of(threads)
    limiter = capacity.limiter
    # Counted here as well: those that came in the same turn of the loop are not in the limiter's queue yet.
    is_full = capacity.handlers >= threads.size + threads.queue
    if is_full or (limiter.available_tokens < 1 and limiter.statistics().tasks_waiting >= threads.queue):
        raise capacity.refusal(threads)
    capacity.handlers += 1
    try:
        if abandon_on_cancel:
            outcome = await _in_abandoned_thread(limiter, function, arguments)
        else:
            outcome = await to_thread.run_sync(outcome_of, function, arguments, limiter=limiter)
        result: Result = released(outcome)
        return result
    finally:
        capacity.handlers -= 1


async def _in_abandoned_thread(
    limiter: CapacityLimiter, function: Callable[..., object], arguments: Sequence[object]
) -> Outcome:
    """Call ``function`` in a thread that a cancelled task leaves to itself. Return the outcome.

    The place in ``limiter`` is taken until the thread ends. Under asyncio anyio gives it back when the task is
    cancelled: calls that hang, each of them given up, would be any number of threads.
    """
    place, beginnings = object(), deque([outcome_of])
    call_soon = threadsafe_scheduler()

    def call() -> Outcome:
        begin = beginnings.popleft()  # an IndexError, which no task waits for, if the task was cancelled before
        try:
            return begin(function, arguments)
        finally:
            with suppress(RuntimeError):  # the loop has ended
                call_soon(partial(limiter.release_on_behalf_of, place))

    await limiter.acquire_on_behalf_of(place)
    try:
        return await to_thread.run_sync(call, abandon_on_cancel=True, limiter=CapacityLimiter(1))
    except BaseException:
        with suppress(IndexError):  # the thread has begun, and gives the place back
            beginnings.popleft()
            limiter.release_on_behalf_of(place)
        raise


def usage_of(threads: Threads) -> tuple[int, int, int]:
    """Return how many of ``threads`` are busy on this event loop, how many calls wait for one, and their number."""
    statistics = limiter_of(threads).statistics()
    return statistics.borrowed_tokens, statistics.tasks_waiting, threads.size


@contextmanager
def interrupting(interrupt: Callable[[], object]) -> Iterator[None]:
    """Call ``interrupt`` if the task is cancelled in the block: the thread that is abandoned there should end soon."""
    try:
        yield
    except get_cancelled_exc_class():
        interrupt()
        raise


def limiter_of(threads: Threads) -> CapacityLimiter:
    """Return the limiter of ``threads`` on the event loop that this runs on."""
    return _capacity_of(threads).limiter


def _capacity_of(threads: Threads) -> _Capacity:
    capacities = _capacities.get()
    try:
        return capacities[threads]
    except KeyError:
        capacities[threads] = capacity = _Capacity(threads)
        return capacity


# -- threads that talk with an event loop while they run ---------------------------------------------------------------

# Does the work, and returns a function to call when its thread is free for the next job. Neither raises an error.
Job = Callable[..., Callable[[], object]]

# Seconds until an idle thread ends; anyio's and trio's threads wait as long.
IDLE = 10.0


def run_in_worker(job: Job, *arguments: object, context: Context | None = None) -> None:
    """Run ``job(*arguments)`` in ``context``, by default a copy of this task's. Raises ``RuntimeError`` if no thread
    starts.

    The thread that became idle last runs it, or a new one. A call whose result a task awaits is made by ``in_thread``.
    """
    run = partial((context or copy_context()).run, _run, job, arguments)
    try:
        worker, _ = _idle.popitem()
    except KeyError:
        worker = _Worker()
    worker.jobs.put(run)


class _Worker:
    """One thread that waits for jobs."""

    def __init__(self) -> None:
        self.jobs: SimpleQueue[Job] = SimpleQueue()
        Thread(target=self._work, name="micropie worker", daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                job = self.jobs.get(timeout=IDLE)
            except Empty:
                if _idle.pop(self, False):
                    return
                continue  # a job is on its way
            free = job()
            del job
            _idle[self] = True  # first: the next job may come as soon as the end of this one is known
            free()
            del free


# A dictionary, because only one thread can take an item out of it. A forked child has none: threads don't survive.
_idle: dict[_Worker, bool] = {}
after_fork_in_child(_idle.clear)


def _run(job: Job, arguments: Sequence[object]) -> Callable[[], object]:
    sniffio = sys.modules.get("sniffio")
    if sniffio is not None:  # by this variable libraries know the task's loop, which this thread does not run
        sniffio.current_async_library_cvar.set(None)
    return job(*arguments)
