"""Worker threads for code that may block. Those of applications are counted apart from IO_THREADS."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context, copy_context
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread, local
from time import monotonic
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from anyio import CancelScope, CapacityLimiter, WouldBlock, get_cancelled_exc_class
from anyio.lowlevel import EventLoopToken, checkpoint_if_cancelled

from micropie.errors import HTTPError
from micropie.execution.fork import after_fork_in_child
from micropie.execution.loop import LoopLocal
from micropie.execution.outcomes import Outcome, outcome_of, released
from micropie.execution.placement import Threads
from micropie.execution.wake import WAKERS, SingleWaiterEvent

logger = logging.getLogger("micropie")

Result = TypeVar("Result")


class _Capacity:
    """The limiter of some ``Threads`` on one event loop."""

    def __init__(self, threads: Threads) -> None:
        self.limiter = CapacityLimiter(threads.size)
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
    result: Result = await _call_in_thread(limiter_of(threads), function, arguments, abandon_on_cancel)
    return result


async def in_handler_thread(
    threads: Threads, function: Callable[..., Result], *arguments: object, abandon_on_cancel: bool = False
) -> Result:
    """Call a handler as ``in_thread`` does. Raise a 503 if ``threads.queue`` handlers are waiting for a thread."""
    capacity = _capacity_of(threads)
    limiter = capacity.limiter
    if limiter.available_tokens < 1 and limiter.statistics().tasks_waiting >= threads.queue:
        raise capacity.refusal(threads)
    result: Result = await _call_in_thread(limiter, function, arguments, abandon_on_cancel)
    return result


async def _call_in_thread(
    limiter: CapacityLimiter, function: Callable[..., object], arguments: Sequence[object], abandon_on_cancel: bool
) -> Any:
    """Call ``function`` in a worker thread that has a place in ``limiter`` until it ends. Return its result.

    anyio's ``to_thread`` takes half as long again: two more turns of the loop, and a slower queue.
    """
    await checkpoint_if_cancelled()
    call = _Call(limiter, function, arguments)
    await take_place(limiter, call)
    run_in_place(limiter, call, call.run)
    with CancelScope(shield=not abandon_on_cancel):
        await call.ended.wait()
    return released(call.outcome)


class _Call:
    """A call that a task waits for. ``run`` is called in the thread, ``_end`` on the event loop."""

    def __init__(self, limiter: CapacityLimiter, function: Callable[..., object], arguments: Sequence[object]) -> None:
        self._limiter = limiter
        self._function = function
        self._arguments = arguments
        self._waker = WAKERS.get()
        self.outcome: Outcome = []
        self.ended = SingleWaiterEvent()

    def run(self) -> Callable[[], object]:
        """Call the function, and return what tells the loop once this thread is free."""
        self.outcome = outcome_of(self._function, self._arguments)
        return partial(self._waker.call, self._end)

    def _end(self) -> None:
        self._limiter.release_on_behalf_of(self)
        self.ended.ring()


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


class _ThisThread(local):
    loop: EventLoopToken | None = None


_this_thread = _ThisThread()


def served_loop() -> EventLoopToken | None:
    """Return the event loop that this worker thread does a job for; None in any other thread."""
    return _this_thread.loop


# Does the work, and returns a function to call when its thread is free for the next job. Neither raises an error.
Job = Callable[..., Callable[[], object]]

# Seconds until an idle thread ends; anyio's and trio's threads wait as long.
IDLE = 10.0


def run_in_worker(job: Job, *arguments: object, context: Context | None = None) -> None:
    """Run ``job(*arguments)`` in ``context``, by default a copy of this task's. Raises ``RuntimeError`` if no thread
    starts.

    The thread that became idle last runs it, or a new one. A call whose result a task awaits is made by ``in_thread``.
    """
    run = partial((context or copy_context()).run, _run, WAKERS.get().token, job, arguments)
    try:
        worker, _ = _idle.popitem()
    except KeyError:
        worker = _Worker()
    worker.jobs.put(run)


async def take_place(limiter: CapacityLimiter, holder: object) -> None:
    """Take a place in ``limiter`` for ``holder``. Wait until one is free."""
    try:
        limiter.acquire_on_behalf_of_nowait(holder)
    except WouldBlock:
        await limiter.acquire_on_behalf_of(holder)


def run_in_place(
    limiter: CapacityLimiter, holder: object, job: Job, *arguments: object, context: Context | None = None
) -> None:
    """Run a job as ``run_in_worker`` does. ``holder`` has a place in ``limiter``, and loses it if no thread starts."""
    try:
        run_in_worker(job, *arguments, context=context)
    except RuntimeError:  # no further thread can be started in this process
        limiter.release_on_behalf_of(holder)
        raise


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


def _run(loop: EventLoopToken, job: Job, arguments: Sequence[object]) -> Callable[[], object]:
    sniffio = sys.modules.get("sniffio")
    if sniffio is not None:  # by this variable libraries know the task's loop, which this thread does not run
        sniffio.current_async_library_cvar.set(None)
    _this_thread.loop = loop
    try:
        return job(*arguments)
    finally:
        _this_thread.loop = None
