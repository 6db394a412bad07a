"""Worker threads for code that may block. They are anyio's own, so ``anyio.from_thread`` works in them.

``Threads`` limit them: those of each application and of each service are counted apart from ``IO_THREADS``. A call
takes a slot of its ``Threads`` before it asks anyio for a thread, and gives it back when the thread is done. anyio's
own limit can't do that: a task that abandons its thread would free the slot while the thread still runs. A thread that
waits for its client's body lends its slot meanwhile (``lent``), or clients that send slowly would have all of them.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from contextvars import Context
from functools import partial
from math import inf
from threading import Thread, current_thread, main_thread
from threading import enumerate as enumerate_threads
from time import monotonic, sleep
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import anyio

from micropie.errors import logger
from micropie.execution.background import outcome_of, released, variables_set
from micropie.execution.fork import after_fork_in_child
from micropie.execution.loop import WAKERS, LoopLocal
from micropie.execution.placement import ALL_WAIT, Threads

Result = TypeVar("Result")

# Of each ``Threads``: so many may wait for their clients at once, beside those that are busy.
MOST_READERS = 400

# A browser, and what else runs Python as WebAssembly, can start no thread: calls run in line.
HAS_THREADS = sys.platform != "emscripten"

# Seconds until the log says again that handlers are refused.
_REPORT_EVERY = 60.0


# For anyio, which wants a limiter: a call has its slot before.
_UNLIMITED = LoopLocal(lambda: anyio.CapacityLimiter(inf))


class _Slots:
    """The slots of some ``Threads`` on one event loop."""

    def __init__(self, threads: Threads) -> None:
        if HAS_THREADS and not _GUARDS:
            guard = Thread(target=_end_after, args=(main_thread(),), name="micropie exit", daemon=True)
            _GUARDS.append(guard)
            guard.start()
        self.limiter = anyio.CapacityLimiter(threads.size)
        self.unlimited = _UNLIMITED.get()
        self.waker = WAKERS.get()
        self._next_report = 0.0

    def report(self, sentence: str, *values: object) -> None:
        """Log that requests get 503, once a minute."""
        now = monotonic()
        if now >= self._next_report:
            self._next_report = now + _REPORT_EVERY
            logger.warning(sentence, *values)


# A limiter belongs to the loop that it was made in, and an application may serve several.
_slots: LoopLocal[WeakKeyDictionary[Threads, _Slots]] = LoopLocal(WeakKeyDictionary)


async def take_slot(threads: Threads) -> object:
    """Take one of ``threads`` for ``in_thread``, and return its holder. Wait until one is free.

    Raises ``TimeoutError`` after their ``patience``.
    """
    return await _take(limiter_of(threads), threads.patience)


async def _take(limiter: anyio.CapacityLimiter, patience: float | None) -> object:
    holder = object()
    if limiter.available_tokens >= 1:  # anyio before 4.15 raises trio's WouldBlock if none is, and not its own
        with suppress(anyio.WouldBlock):  # anyio before 4.15: the slot is for a task that waits
            limiter.acquire_on_behalf_of_nowait(holder)
            return holder
    with anyio.move_on_after(patience):
        await limiter.acquire_on_behalf_of(holder)
        return holder
    raise TimeoutError(ALL_WAIT)


async def in_thread(
    threads: Threads,
    function: Callable[..., Result],
    *arguments: object,
    abandon_after: float | None = None,
    holder: object = None,
) -> Result:
    """Call ``function`` in a worker thread, with this task's context variables.

    It is the thread of ``holder``, or else the next that ``take_slot`` gets.
    A cancelled task waits ``abandon_after`` seconds for the thread, None for as long as it takes, and then leaves it to
    itself. The thread counts as busy until it ends.
    """
    slots = _slots_of(threads)
    holder = holder or await _take(slots.limiter, threads.patience)
    claim: Future[None] = Future()  # the thread takes it, or a task that waits for the thread no longer
    work = partial(_run, claim, partial(outcome_of, function, arguments))
    try:
        if HAS_THREADS:
            outcome = await anyio.to_thread.run_sync(
                work, abandon_on_cancel=abandon_after is not None, limiter=slots.unlimited
            )
        else:
            outcome = work()
    except BaseException:  # no further thread can be started, or the task is cancelled
        ended = anyio.Event()

        def end() -> None:
            slots.limiter.release_on_behalf_of(holder)
            ended.set()

        claim.cancel()  # unless the thread has taken it
        claim.add_done_callback(lambda _: slots.waker.call(end))
        if abandon_after and not claim.cancelled():
            with anyio.move_on_after(abandon_after, shield=True):
                await ended.wait()
        raise
    slots.limiter.release_on_behalf_of(holder)
    try:
        result: Result = released(outcome)
    except CancelledError:  # of a ``from_thread.run`` in the thread, which is cancelled with this task
        await anyio.lowlevel.checkpoint_if_cancelled()
        raise
    return result


class TookTooLong(Exception):
    """Raised when the time limit of ``call_within`` is over. A ``TimeoutError`` may be the function's own.

    ``sentence`` says what took too long, if anybody knows.
    """

    def __init__(self, sentence: str = "") -> None:
        super().__init__(sentence)


async def within(seconds: float, function: Callable[..., Awaitable[Result]], arguments: Sequence[object]) -> Result:
    """Await ``function(*arguments)``, and give it up after so many seconds. Raises ``TookTooLong`` then."""
    with anyio.move_on_after(seconds):
        return await function(*arguments)
    raise TookTooLong


def has_room(threads: Threads) -> bool:
    """Return whether one more handler may wait for one of ``threads``. Log once a minute that there is no room."""
    slots = _slots_of(threads)
    if slots.limiter.available_tokens >= 1 or slots.limiter.statistics().tasks_waiting < threads.queue:
        return True
    slots.report(
        "all %d threads or processes are busy, and %d handlers wait for one: requests get 503",
        threads.size, threads.queue,
    )  # fmt: skip
    return False


@contextmanager
def lent(threads: Threads | None) -> Iterator[bool]:
    """Let another call begin while one of ``threads`` waits in the block for its client. None is no thread.

    False if ``MOST_READERS`` wait already, which is logged once a minute. After the block the thread goes on at once:
    it may have a lock for which all others wait. If more run now than ``threads`` has, no call begins until some end.
    """
    if threads is None:
        yield True
        return
    slots = _slots_of(threads)
    limiter = slots.limiter
    may_wait = limiter.total_tokens < threads.size + MOST_READERS
    if not may_wait:
        slots.report("%d threads wait for the bodies of slow clients: requests get 503", MOST_READERS)
    limiter.total_tokens += may_wait
    try:
        yield may_wait
    finally:
        limiter.total_tokens -= may_wait


def _run(claim: Future[None], call: Callable[[], Any]) -> Any:
    """Make a call in this thread, unless its task has cancelled ``claim``. It must not raise."""
    if not claim.set_running_or_notify_cancel():
        return None
    _RUNNING[claim] = current_thread()
    try:
        return call()
    finally:
        del _RUNNING[claim]
        claim.set_result(None)


# -- the end of the process --------------------------------------------------------------------------------------------

# Seconds that calls may go on after the server has ended.
EXIT_WITHIN = 1.0

# The calls that run at the moment, and their threads; the thread that runs ``_end_after``. Neither survives a fork.
_RUNNING: dict[Future[None], Thread] = {}
_GUARDS: list[Thread] = []
after_fork_in_child(_RUNNING.clear)
after_fork_in_child(_GUARDS.clear)


def _end_after(main: Thread) -> None:
    """End the process soon after its main thread and the threads of servers, though calls still run.

    The interpreter waits for all threads that are no daemons. Under asyncio anyio's are none, so a handler that hangs
    would keep its server from ending. There is no gentler way: nothing can end a thread in a call that blocks, anyio
    makes no daemons, and in a daemon of our own a handler's ``anyio.from_thread.run`` would need the loop's token.
    """
    main.join()
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


def usage_of(threads: Threads) -> tuple[int, int, int]:
    """Return how many of ``threads`` are busy on this event loop, how many calls wait for one, and their number.

    One that is ``lent`` is not busy.
    """
    statistics = limiter_of(threads).statistics()
    waiting_for_clients = int(statistics.total_tokens) - threads.size
    return statistics.borrowed_tokens - waiting_for_clients, statistics.tasks_waiting, threads.size


def limiter_of(threads: Threads) -> anyio.CapacityLimiter:
    """Return the limiter of ``threads`` on the event loop that this runs on. Its tokens are the slots."""
    return _slots_of(threads).limiter


def _slots_of(threads: Threads) -> _Slots:
    slots = _slots.get()
    return slots.get(threads) or slots.setdefault(threads, _Slots(threads))


def run_in_context(context: Context, function: Callable[[], object]) -> None:
    """Call ``function`` in ``context`` itself, in which it may reset what an earlier call has set.

    This thread's own context has to be a copy of it but for anyio's marks, by which libraries know the task's event
    loop: for a thread, anyio has unset them.
    """
    marks = variables_set(context)

    def run() -> None:
        for variable, value in marks:
            variable.set(value)
        function()

    context.run(run)
