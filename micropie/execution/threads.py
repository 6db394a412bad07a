"""Worker threads for code that may block. They are anyio's own, so ``anyio.from_thread`` works in them.

``Threads`` limit them: those of each application are counted apart from ``IO_THREADS``. A call takes a slot of its
``Threads`` before it asks anyio for a thread, and gives it back when the thread is done. anyio's own limit can't do that:
a task that abandons its thread would free the slot while the thread still runs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from functools import partial
from math import inf
from time import monotonic
from typing import Any, Protocol, TypeVar
from weakref import WeakKeyDictionary

from anyio import CancelScope, CapacityLimiter, WouldBlock, get_cancelled_exc_class, to_thread

from micropie.execution.loop import LoopLocal
from micropie.execution.outcomes import Outcome, outcome_of, released, variables_set
from micropie.execution.placement import Threads
from micropie.execution.wake import TASKS, WAKERS

logger = logging.getLogger("micropie")

Result = TypeVar("Result")

# For files and session backends: forty handlers that block must not keep a page's style sheet from other clients.
IO_THREADS = Threads(40)

# Seconds until the log says again that handlers are refused.
_REPORT_EVERY = 60.0


# For anyio, which wants a limiter: a call has its slot before.
_UNLIMITED = LoopLocal(lambda: CapacityLimiter(inf))


class _Slots:
    """The slots of some ``Threads`` on one event loop."""

    def __init__(self, threads: Threads) -> None:
        self.limiter = CapacityLimiter(threads.size)
        self.unlimited = _UNLIMITED.get()
        self.waker = WAKERS.get()
        self.next_report = 0.0


# A limiter belongs to the loop that it was made in, and an application may serve several.
_slots: LoopLocal[WeakKeyDictionary[Threads, _Slots]] = LoopLocal(WeakKeyDictionary)


async def in_thread(
    threads: Threads, function: Callable[..., Result], *arguments: object, abandon_on_cancel: bool = False
) -> Result:
    """Call ``function`` in a worker thread, with this task's context variables. Wait while all ``threads`` are busy.

    With ``abandon_on_cancel`` a cancelled task leaves the thread to itself, which counts as busy until it ends;
    otherwise the task waits for the thread.
    """
    slots = _slots_of(threads)
    call = _Call(slots, function, arguments)
    await take_slot(slots.limiter, call)
    try:
        outcome = await to_thread.run_sync(call.run, abandon_on_cancel=abandon_on_cancel, limiter=slots.unlimited)
    except BaseException:  # no thread could be started, or the task is cancelled
        if call.claim():
            call.release()
        raise
    result: Result = released(outcome)
    return result


def has_room(threads: Threads) -> bool:
    """Return whether one more handler may wait for one of ``threads``. Log once a minute that there is no room."""
    slots = _slots_of(threads)
    if slots.limiter.available_tokens >= 1 or slots.limiter.statistics().tasks_waiting < threads.queue:
        return True
    now = monotonic()
    if now >= slots.next_report:
        slots.next_report = now + _REPORT_EVERY
        logger.warning(
            "all %d threads or processes are busy, and %d handlers wait for one: requests get 503",
            threads.size, threads.queue,
        )  # fmt: skip
    return False


class _Call:
    """A call that has a slot. ``run`` is called in the thread, ``release`` on the event loop."""

    def __init__(self, slots: _Slots, function: Callable[..., object], arguments: Sequence[object]) -> None:
        self._slots = slots
        self._function = function
        self._arguments = arguments
        self._claims = [None]

    def claim(self) -> bool:
        """Return True to the first caller, the thread or a task that waits no longer: that one releases the slot."""
        try:
            self._claims.pop()
        except IndexError:
            return False
        return True

    def run(self) -> Outcome:
        """Call the function, and return the outcome. A call whose task has claimed it before is not made."""
        if not self.claim():
            return []
        try:
            return outcome_of(self._function, self._arguments)
        finally:
            self._slots.waker.call(self.release)

    def release(self) -> None:
        """Give the slot back."""
        self._slots.limiter.release_on_behalf_of(self)


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
    """Return the limiter of ``threads`` on the event loop that this runs on. Its tokens are the slots."""
    return _slots_of(threads).limiter


def _slots_of(threads: Threads) -> _Slots:
    all_slots = _slots.get()
    try:
        return all_slots[threads]
    except KeyError:
        all_slots[threads] = slots = _Slots(threads)
        return slots


# -- threads that talk with an event loop while they run ---------------------------------------------------------------

# Does the work in a thread, and returns a function to call on the event loop when the thread is done. Neither raises.
Job = Callable[..., Callable[[], object]]


class SlotHolder(Protocol):
    """An object that has a slot for a job."""

    def lose(self, error: BaseException) -> object:
        """The job has not been run, because of ``error``; called on the event loop."""


async def take_slot(limiter: CapacityLimiter, holder: object) -> None:
    """Take a slot of ``limiter`` for ``holder``. Wait until one is free."""
    try:
        limiter.acquire_on_behalf_of_nowait(holder)
    except WouldBlock:
        await limiter.acquire_on_behalf_of(holder)


def run_in_place(
    limiter: CapacityLimiter, holder: SlotHolder, job: Job, *arguments: object, context: Context | None = None
) -> CancelScope:
    """Run ``job(*arguments)`` in a worker thread, in ``context``, by default a copy of this task's. Does not wait.

    ``holder`` has a slot of ``limiter``, and loses it if no thread starts. When the scope that is returned is
    cancelled, ``anyio.from_thread`` raises the cancellation in the thread.
    """
    scope, context = CancelScope(), context or copy_context()
    run = partial(_run_in, context, job, arguments)
    TASKS.get().start_soon(_wait_for_job, scope, limiter, holder, run, context=context.copy())
    return scope


async def _wait_for_job(
    scope: CancelScope, limiter: CapacityLimiter, holder: SlotHolder, run: Callable[[], Callable[[], object]]
) -> None:
    """Wait for the thread of a job. This is a task because anyio has no other way to a thread."""
    with scope:
        try:
            done = await to_thread.run_sync(run, limiter=_UNLIMITED.get())
        except BaseException as error:  # no further thread can be started, or the loop ends
            limiter.release_on_behalf_of(holder)
            holder.lose(error)
            return
    done()


def _run_in(context: Context, job: Job, arguments: Sequence[object]) -> Callable[[], object]:
    """Run a job in ``context`` itself, in which it may reset what an earlier job has set."""
    marks = variables_set(context)  # by these, libraries know the task's loop; for a thread, anyio has unset them
    return context.run(_run_marked, marks, job, arguments)


def _run_marked(
    marks: Sequence[tuple[ContextVar[Any], Any]], job: Job, arguments: Sequence[object]
) -> Callable[[], object]:
    for variable, value in marks:
        variable.set(value)
    return job(*arguments)
