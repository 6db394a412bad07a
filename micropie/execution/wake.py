"""Tasks of an event loop, timers, and ways to wake a task: from its own loop, and from other threads.

anyio has tasks in groups only, no timer without a task, and no call from a signal's handler. So this module is the one
that knows asyncio's loops and trio's. Each kind of object has two ways inside, and one face for both.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from typing import Any

from anyio import CancelScope, Event, current_time, sleep_until
from anyio.lowlevel import current_token

from micropie.execution.loop import LoopLocal
from micropie.execution.steps import no_function


def threadsafe_scheduler() -> Callable[[Callable[[], object]], object]:
    """Return a function that schedules a call on this event loop: from any thread, and from a signal's handler.

    This is the loop's own method. It does not wait and takes no lock; anyio's way starts a task. It raises
    ``RuntimeError`` if the loop has ended.
    """
    loop: Any = current_token().native_token
    call_soon: Callable[[Callable[[], object]], object]
    call_soon = loop.call_soon_threadsafe if hasattr(loop, "call_soon_threadsafe") else loop.run_sync_soon
    return call_soon


class LoopTasks:
    """Tasks of this event loop that belong to no task group. They must not raise."""

    def __init__(self) -> None:
        self._loop: Any = current_token().native_token
        self._tasks: dict[object, list[Any]] = {}  # by a mark: asyncio's task, to which the loop itself refers weakly
        self._idle: Event | None = None

    def start_soon(
        self,
        function: Callable[..., Coroutine[Any, Any, object]],
        *arguments: object,
        context: Context | None = None,
    ) -> None:
        """Run ``function(*arguments)`` in a task, in ``context``, or else in a copy of this one."""
        mark, context = object(), copy_context() if context is None else context
        self._tasks[mark] = started = []  # first: ``asyncio.eager_task_factory`` may make a task that has ended
        if hasattr(self._loop, "create_task"):
            started.append(self._loop.create_task(self._run(mark, function, arguments), context=context))
        else:
            spawn = sys.modules["trio"].lowlevel.spawn_system_task
            spawn(self._run, mark, function, arguments, context=context)

    async def join(self) -> None:
        """Wait until all have ended."""
        while self._tasks:
            for mark, started in self._tasks.items():
                for task in started:  # one that is cancelled before it has begun does not come to ``_run``
                    task.add_done_callback(partial(self._ended, mark))
            self._idle = Event()
            await self._idle.wait()

    async def _run(self, mark: object, function: Callable[..., Awaitable[object]], arguments: Sequence[object]) -> None:
        # Not in a callback of the task, which would be one more turn of the loop.
        try:
            await function(*arguments)
        finally:
            self._ended(mark)

    def _ended(self, mark: object, _task: object = None) -> None:
        self._tasks.pop(mark, None)
        if self._idle is not None and not self._tasks:
            self._idle.set()


TASKS = LoopLocal(LoopTasks)


class Deadlines:
    """Calls functions on this event loop when they are due. ``DEADLINES.get()`` is this loop's.

    One timer serves them all, because most are cancelled or postponed before, and a timer for each takes longer than
    what it is for.
    """

    def __init__(self) -> None:
        loop: Any = current_token().native_token
        self._loop = loop
        self._tasks = TASKS.get()
        self.has_timers = hasattr(loop, "call_at")  # asyncio's has; trio's sleep in tasks
        self.time: Callable[[], float] = current_time
        if self.has_timers:
            self.time = loop.time
        self._heap: list[tuple[float, int, Deadline]] = []
        self._numbers = count()  # deadlines of one time keep their order
        self._cancelled = 0  # entries of the heap that are
        self._timer: Any = None
        self._timer_due = inf

    def add(self, seconds: float, function: Callable[[], object]) -> Deadline:
        """Call ``function`` so many seconds later, in this context, unless the deadline returned is cancelled."""
        deadline = Deadline(self, self.time() + seconds, partial(copy_context().run, function))
        self._push(deadline)
        if deadline.due < self._timer_due:
            self._set_timer(deadline.due)
        return deadline

    def note_cancelled(self) -> None:
        """Let go of the deadlines that were cancelled, when they are most of all."""
        self._cancelled += 1
        if self._cancelled == len(self._heap) and not self.has_timers:
            self._timer.cancel()  # a task would stay; a timer of asyncio's may serve the next deadline
            self._timer, self._timer_due = None, inf
        if self._cancelled == len(self._heap) or self._cancelled > 50 + len(self._heap) // 2:
            self._heap = [entry for entry in self._heap if entry[2].is_pending]
            heapify(self._heap)
            self._cancelled = 0

    def _push(self, deadline: Deadline) -> None:
        heappush(self._heap, (deadline.due, next(self._numbers), deadline))

    def _set_timer(self, due: float) -> None:
        # In no request's context: a timer that nobody waits for would keep the request.
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = due
        if self.has_timers:
            self._timer = self._loop.call_at(due, self._look, context=Context())
        else:
            self._timer = CancelScope()
            self._tasks.start_soon(self._sleep, self._timer, due, context=Context())

    async def _sleep(self, scope: CancelScope, due: float) -> None:
        """The timer of a loop that has none, trio's."""
        with scope:
            await sleep_until(due)
            self._look()

    def _look(self) -> None:
        self._timer, self._timer_due = None, inf
        now = self.time()
        calls: list[Deadline] = []
        while self._heap and self._heap[0][0] <= now:
            *_, deadline = heappop(self._heap)
            if not deadline.is_pending:
                self._cancelled -= 1
            elif deadline.due > now:
                self._push(deadline)
            else:
                deadline.is_pending = False
                calls.append(deadline)
        if self._heap:
            self._set_timer(self._heap[0][0])
        if calls:
            # In a task, because outside of one anyio can't tell which library's loop this is. None for calls that were
            # cancelled: a loop that is about to end would not begin it.
            self._tasks.start_soon(_call_all, calls)


async def _call_all(deadlines: Sequence[Deadline]) -> None:
    for deadline in deadlines:
        deadline.function()


class Deadline:
    """A call that is due at this time of the event loop."""

    __slots__ = ("_deadlines", "due", "function", "is_pending")

    def __init__(
        self, deadlines: Deadlines, due: float, function: Callable[[], object], is_pending: bool = True
    ) -> None:
        self._deadlines = deadlines
        self.due = due
        self.function = function
        self.is_pending = is_pending

    def cancel(self) -> None:
        """Prevent the call, and let go of what it refers to."""
        self.function = no_function
        if self.is_pending:
            self.is_pending = False
            self._deadlines.note_cancelled()

    def postpone(self, due: float) -> bool:
        """Make the call at ``due``. Return False if that is earlier than before, or if the call is not to come."""
        if due < self.due or not self.is_pending:
            return False
        self.due = due
        return True


DEADLINES = LoopLocal(Deadlines)


class DelayedCalls:
    """Deadlines that are all so many seconds ahead.

    trio has no timer without a task, which costs what the delay is to save, so there a function is called at once.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._deadlines = DEADLINES.get()

    def add(self, function: Callable[[], object]) -> Deadline:
        """Call ``function`` later, unless the deadline that is returned is cancelled."""
        if self._deadlines.has_timers:
            return self._deadlines.add(self._seconds, function)
        function()
        return Deadline(self._deadlines, 0.0, no_function, is_pending=False)


class SingleWaiterEvent:
    """A reusable event with a single waiter. ``ring`` does nothing if no task is waiting.

    It is an ``Event`` for each wait, or a future under asyncio, because that takes half the time of anyio's ``Event``.
    """

    __slots__ = ("_create_future", "_rung")

    def __init__(self) -> None:
        self._create_future: Callable[[], Any] | None = getattr(current_token().native_token, "create_future", None)
        self._rung: Any = None  # of the last wait

    def wait(self) -> Awaitable[object]:
        """Return an awaitable that ends with the next ring. Await it at once."""
        if self._create_future is None:
            self._rung = event = Event()
            return event.wait()
        self._rung = future = self._create_future()
        return future  # type: ignore[no-any-return]

    def ring(self) -> None:
        """Wake the task that waits, if one does."""
        if self._rung is None:
            return
        if self._create_future is None:
            self._rung.set()
        elif not self._rung.done():  # rung already, or its task is being cancelled
            self._rung.set_result(None)


class PatientEvent(SingleWaiterEvent):
    """A ``SingleWaiterEvent`` whose waits may end by themselves, after some seconds."""

    __slots__ = ("_deadline", "_deadlines")

    def __init__(self) -> None:
        super().__init__()
        self._deadlines = DEADLINES.get()
        self._deadline: Deadline | None = None

    def wait_within(self, seconds: float | None) -> Awaitable[object]:
        """Return an awaitable that ends with the next ring, or after so many seconds, if not None. Await it at once."""
        due = inf if seconds is None else self._deadlines.time() + seconds
        if self._deadline is None or not self._deadline.postpone(due):
            self.stop()
            if seconds is not None:
                self._deadline = self._deadlines.add(seconds, self.ring)
        return self.wait()

    def stop(self) -> None:
        """Cancel the deadline, when nobody waits any longer."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class ThreadsafeWaker:
    """Calls functions on one event loop, from any thread. ``WAKERS.get()`` is this loop's.

    Functions that come at about the same time wake the loop once, because that costs a system call.
    """

    def __init__(self) -> None:
        self.token = current_token()
        self._call_soon = threadsafe_scheduler()
        self._functions: deque[Callable[[], object]] = deque()
        self._is_woken = False

    def call(self, function: Callable[[], object]) -> None:
        """Call ``function``, which must not raise, soon. Does nothing if the loop has ended."""
        self._functions.append(function)
        if not self._is_woken:
            self._is_woken = True
            with suppress(RuntimeError):
                self._call_soon(self._call_all)

    def _call_all(self) -> None:
        self._is_woken = False  # first: a function that comes meanwhile wakes the loop again
        while self._functions:
            self._functions.popleft()()


WAKERS = LoopLocal(ThreadsafeWaker)
