"""Waking tasks: from their own loop, and from other threads."""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, suppress
from contextvars import Context, copy_context
from functools import partial
from typing import Any

from anyio import Event, fail_after, get_cancelled_exc_class, move_on_after
from anyio.lowlevel import current_token

from micropie.execution.loop import LoopLocal, native_loop
from micropie.execution.steps import no_function


def threadsafe_scheduler() -> Callable[[Callable[[], object]], object]:
    """Return a function that schedules a call on this event loop: from any thread, and from a signal's handler.

    This is the loop's own method. It does not wait and takes no lock; anyio's way starts a task and takes four times as
    long. It raises ``RuntimeError`` if the loop has ended.
    """
    loop = native_loop()
    call_soon: Callable[[Callable[[], object]], object]
    call_soon = getattr(loop, "call_soon_threadsafe", None) or loop.run_sync_soon  # asyncio's, trio's
    return call_soon


class DelayedCalls:
    """Calls functions on this event loop, each so many seconds after it was added.

    One timer serves them all: most are not wanted any longer when it is due, and a timer for each takes 3 µs. trio has
    no timer without a task, which costs what the delay is to save, so there a function is called at once.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = native_loop()
        self._is_called_at_once = not hasattr(self._loop, "call_later")
        self._calls: deque[DelayedCall] = deque()
        self._has_timer = False

    def add(self, function: Callable[[], object]) -> DelayedCall:
        """Call ``function`` later, unless the call that is returned is cancelled."""
        if self._is_called_at_once:
            function()
            return DelayedCall(0.0, no_function)
        call = DelayedCall(self._loop.time() + self._seconds, partial(copy_context().run, function))
        self._calls.append(call)
        if not self._has_timer:
            self._start_timer()
        return call

    def _start_timer(self) -> None:
        # In no request's context: a timer that nobody waits for would keep the request.
        self._has_timer = True
        self._loop.call_at(self._calls[0].due, self._look, context=Context())

    def _look(self) -> None:
        while self._calls and self._calls[0].function is no_function:
            self._calls.popleft()
        if not self._calls:
            self._has_timer = False
        elif self._calls[0].due > self._loop.time():
            self._start_timer()
        else:
            # In a task, because outside of one anyio can't tell which library's loop this is. None for calls that were
            # cancelled: a loop that is about to end would not begin it.
            self._task = self._loop.create_task(self._call_due())

    async def _call_due(self) -> None:
        now = self._loop.time()
        while self._calls and self._calls[0].due <= now:
            self._calls.popleft().function()
        self._look()


class DelayedCall:
    """A call that is due at this time of the event loop."""

    __slots__ = ("due", "function")

    def __init__(self, due: float, function: Callable[[], object]) -> None:
        self.due = due
        self.function = function

    def cancel(self) -> None:
        """Prevent the call, and let go of what it refers to."""
        self.function = no_function


class LoopTasks:
    """Tasks of this event loop that belong to no task group. They must not raise."""

    def __init__(self) -> None:
        self._loop = native_loop()
        self._tasks: dict[object, list[Any]] = {}  # by a mark: asyncio's task, to which the loop itself refers weakly
        self._idle: Event | None = None
        self._deadlines = _Deadlines(self._loop)

    def time_limit(self, seconds: float | None) -> AbstractContextManager[object]:
        """Return a context manager that raises ``TimeoutError`` when its block takes longer. None is no limit.

        Under asyncio one timer serves all such blocks: a timer for each, as of ``asyncio.timeout``, takes 5 µs.
        """
        if seconds is not None and hasattr(self._loop, "call_at"):
            return _TimeLimit(self._deadlines, seconds)
        return fail_after(seconds)

    def start_soon(
        self,
        function: Callable[..., Coroutine[Any, Any, object]],
        *arguments: object,
        context: Context | None = None,
    ) -> None:
        """Run ``function(*arguments)`` in a task, in ``context``, or else in a copy of this one."""
        mark, context = object(), context or copy_context()
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
        # Not in a callback of the task, which would be one more turn of the loop: 0.7 µs.
        try:
            await function(*arguments)
        finally:
            self._ended(mark)

    def _ended(self, mark: object, _task: object = None) -> None:
        self._tasks.pop(mark, None)
        if self._idle is not None and not self._tasks:
            self._idle.set()


TASKS = LoopLocal(LoopTasks)


class _Deadlines:
    """The blocks with a time limit that run on an event loop of asyncio's.

    A set and no ``DelayedCalls``, which keeps a call until it is due: these limits are long, and most blocks short.
    """

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._limits: set[_TimeLimit] = set()
        self._timer: Any = None

    def add(self, limit: _TimeLimit, seconds: float) -> None:
        limit.due = due = self._loop.time() + seconds
        self._limits.add(limit)
        if self._timer is None or due < self._timer.when():
            self._look_at(due)

    def discard(self, limit: _TimeLimit) -> None:
        self._limits.discard(limit)

    def _look_at(self, due: float) -> None:
        # In no request's context: a timer that nobody waits for would keep the request.
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._look, context=Context())

    def _look(self) -> None:
        now = self._loop.time()
        self._timer = None
        for limit in [limit for limit in self._limits if limit.due <= now]:
            self._limits.discard(limit)
            limit.end()
        if self._limits:
            self._look_at(min(limit.due for limit in self._limits))


class _TimeLimit:
    """What ``asyncio.timeout`` returns, without a timer of its own."""

    __slots__ = ("_cancelled_before", "_deadlines", "_is_over", "_seconds", "_task", "due")

    def __init__(self, deadlines: _Deadlines, seconds: float) -> None:
        self._deadlines = deadlines
        self._seconds = seconds
        self._is_over = False
        self.due = math.inf

    def __enter__(self) -> None:
        self._task = sys.modules["asyncio"].current_task()
        self._cancelled_before = self._task.cancelling()
        self._deadlines.add(self, self._seconds)

    def end(self) -> None:
        """Cancel the block."""
        self._is_over = True
        self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._deadlines.discard(self)
        # A task that is being cancelled for another reason as well ends as cancelled.
        if self._is_over and self._task.uncancel() <= self._cancelled_before and kind is get_cancelled_exc_class():
            raise TimeoutError


class SingleWaiterEvent:
    """A reusable event with a single waiter. ``ring`` does nothing if no task is waiting.

    It is an ``Event`` for each wait, or a future under asyncio, which takes half the time: a message of a WebSocket
    that is read ahead takes 10 µs, and 17 or more with anyio's ``Event``.
    """

    __slots__ = ("_create_future", "_rung")

    def __init__(self) -> None:
        self._create_future: Callable[[], Any] | None = getattr(native_loop(), "create_future", None)
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
    """A ``SingleWaiterEvent`` whose waits may end by themselves, after some seconds.

    Under asyncio one timer serves many waits. To start and stop one for each of them takes as long as all else that an
    event of a stream needs. The timer looks whether the last wait has lasted long enough, and goes on if it has not.
    """

    __slots__ = ("_due", "_loop", "_timer")

    def __init__(self) -> None:
        super().__init__()
        self._loop = native_loop()
        self._timer: Any = None
        self._due = math.inf  # the loop's time at which the last wait ends

    def wait_within(self, seconds: float | None) -> Awaitable[object]:
        """Return an awaitable that ends with the next ring, or after so many seconds, if not None. Await it at once."""
        if self._create_future is None:
            return self._wait_in_scope(seconds)
        self._due = math.inf if seconds is None else self._loop.time() + seconds
        if seconds is not None and (self._timer is None or self._due < self._timer.when()):
            self.stop()
            self._timer = self._loop.call_at(self._due, self._look)
        return self.wait()

    async def _wait_in_scope(self, seconds: float | None) -> None:
        with move_on_after(seconds):
            await self.wait()

    def stop(self) -> None:
        """Stop the timer, when nobody waits any longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._due <= self._loop.time():
            self.ring()
        elif self._due < math.inf:
            self._timer = self._loop.call_at(self._due, self._look)


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
