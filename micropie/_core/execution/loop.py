"""Event loops: values that each loop has one of, tasks, and ways to wake a task.

``asgi`` runs on the loop; ``wsgi`` sends async code to one. anyio has tasks in groups only, and no
call from a signal's handler. So this module is the one that knows asyncio's loops and trio's; it
has one face for both.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    nullcontext,
    suppress,
)
from contextvars import Context, ContextVar, copy_context
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

import anyio

from micropie._core.execution.placement import LOOP, PROCESS, THREAD

if TYPE_CHECKING:
    import asyncio

# Seconds that a stream may take to clean up after its client has gone.
CLEAN_UP_WITHIN = 10.0

# Seconds that a mounted application may take to end by itself after it was told that its client has
# gone.
LEAVE_WITHIN = 2.0

# Chunks that may have been made in another thread or task when one is asked for: that one, and two
# more.
AHEAD = 3

# The request that is answered here; the drivers set and reset it. Its type is known in
# ``http/request.py`` only.
current: ContextVar[Any] = ContextVar("micropie.request")

T = TypeVar("T")

# A function to call when its time has come. Nobody wants its result.
Action: TypeAlias = Callable[[], object]
AsyncAction: TypeAlias = Callable[[], Awaitable[object]]
AsyncFunction: TypeAlias = Callable[..., Awaitable[object]]


def running_loop() -> Any:
    """Return the event loop that this code runs on: asyncio's, or the token of trio's. Raises
    ``RuntimeError`` elsewhere.

    anyio knows it, too, and imports for the answer what a small site never needs.
    """
    # first: trio's loop may be a guest of asyncio's
    if "trio" in sys.modules:
        # the second where another thread is just importing it
        with suppress(RuntimeError, AttributeError):
            return sys.modules["trio"].lowlevel.current_trio_token()
    if "asyncio" in sys.modules:
        return sys.modules["asyncio"].get_running_loop()
    raise RuntimeError("there is no event loop")


class LoopLocal(Generic[T]):
    """A value that each event loop has one of, made by ``make()`` when it is first asked for
    there.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._values: WeakKeyDictionary[object, T] = WeakKeyDictionary()

    def get(self) -> T:
        """Return the value of the loop that this runs on."""
        loop = running_loop()
        try:
            return self._values[loop]
        except KeyError:
            self._values[loop] = value = self._make()
            return value


def where() -> str:
    """Return where this code runs: ``"loop"``, ``"thread"``, where it may block, or ``"process"``,
    one of the pool.

    Under WSGI a ``def`` handler runs in the server's thread, which is ``"thread"``, also one with
    ``run_in("loop")``.
    """
    request = current.get(None)
    if request is not None and request._exchange.is_pooled:
        return PROCESS
    return LOOP if is_on_loop() else THREAD


def is_on_loop() -> bool:
    """Return whether this code runs on an event loop, where nothing may block."""
    try:
        running_loop()
    except RuntimeError:
        return False
    return True


async def entered_on_loop(make: Callable[[], AbstractAsyncContextManager[T]]) -> AsyncIterator[T]:
    """Yield what an async context manager gives, and leave it after that.

    The manager is made on the event loop, because many managers ask for the running loop then.
    """
    async with make() as value:
        yield value


# -- tasks and wakers ------------------------------------------------------------------------------


def threadsafe_scheduler() -> Callable[[Action], object]:
    """Return a function that schedules a call on this event loop: from any thread, and from a
    signal's handler.

    This is the loop's own method. It does not wait and takes no lock; anyio's way starts a task. It
    raises ``RuntimeError`` if the loop has ended.
    """
    loop = running_loop()
    call_soon: Callable[[Action], object]
    call_soon = getattr(loop, "call_soon_threadsafe", None) or loop.run_sync_soon
    return call_soon


class _EventFuture:
    """A ``LoopFuture`` for trio.

    ``done()``: whether it was settled. ``set_result(None)`` wakes the task.
    """

    __slots__ = ("_event", "done")

    def __init__(self) -> None:
        self._event = anyio.Event()
        self.done = self._event.is_set

    def set_result(self, _: None, /) -> None:
        self._event.set()

    def __await__(self) -> Generator[Any, Any, None]:
        return self._event.wait().__await__()


# What one task awaits, and code on the same loop settles; see ``LoopTasks.new_future``.
LoopFuture: TypeAlias = "asyncio.Future[None] | _EventFuture"


_NO_SCOPE = nullcontext()


class LoopTasks:
    """Tasks of this event loop that belong to no task group. They must not raise.

    ``new_future()`` returns a ``LoopFuture`` for a task of this loop.
    """

    def __init__(self) -> None:
        self._loop = running_loop()
        self.new_future: Callable[[], LoopFuture] = getattr(
            self._loop, "create_future", _EventFuture
        )
        # By a mark: a list with asyncio's task, to which the loop itself refers weakly; trio's
        # tasks need nobody who refers to them, so there the list is empty.
        self._tasks: dict[object, list[Any]] = {}
        self._idle: anyio.Event | None = None
        self.has_ended = False  # whether nobody waits for tasks that are started now

    @cached_property
    def new_scope(self) -> type[anyio.CancelScope]:
        """The class of this loop's cancel scopes. ``anyio.CancelScope`` looks for it at each call,
        which takes longer than to make one.
        """
        return type(anyio.CancelScope())

    def start_soon(
        self,
        function: Callable[..., Coroutine[Any, Any, object]],
        *arguments: object,
        context: Context | None = None,
    ) -> Action:
        """Run ``function(*arguments)`` in a task, in ``context``, or else in a copy of this one.

        Return a function that cancels the task.
        """
        mark, context = object(), copy_context() if context is None else context
        # first: ``asyncio.eager_task_factory`` may make a task that has ended
        self._tasks[mark] = started = []
        if hasattr(self._loop, "create_task"):
            run = self._run(mark, function, arguments)
            started.append(self._loop.create_task(run, context=context))
            return partial(self._cancel, mark)
        scope = self.new_scope()
        spawn = sys.modules["trio"].lowlevel.spawn_system_task
        spawn(self._run, mark, function, arguments, scope, context=context)
        return scope.cancel

    def _cancel(self, mark: object) -> None:
        for task in self._tasks.get(mark, ()):
            # one that has not begun does not come to ``_run``
            task.add_done_callback(partial(self._ended, mark))
            task.cancel()

    async def join(self) -> None:
        """Wait until all have ended."""
        self.has_ended = True
        while self._tasks:
            for mark, started in self._tasks.items():
                # one that is cancelled before it has begun does not come to ``_run``
                for task in started:
                    task.add_done_callback(partial(self._ended, mark))
            self._idle = anyio.Event()
            await self._idle.wait()

    async def _run(
        self,
        mark: object,
        function: AsyncFunction,
        arguments: Sequence[object],
        scope: AbstractContextManager[object] = _NO_SCOPE,
    ) -> None:
        # Not in a callback of the task, which would be one more turn of the loop.
        try:
            with scope:
                await function(*arguments)
        except anyio.get_cancelled_exc_class():
            pass  # asyncio's task would keep it, and by its traceback all that the task had
        finally:
            self._ended(mark)

    def _ended(self, mark: object, _task: object = None) -> None:
        self._tasks.pop(mark, None)
        if self._idle is not None and not self._tasks:
            self._idle.set()


TASKS = LoopLocal(LoopTasks)


class SingleWaiterEvent:
    """A reusable event of the event loop of ``tasks`` with a single waiter.

    ``ring`` does nothing if no task is waiting.
    """

    __slots__ = ("_new", "_rung")

    def __init__(self, tasks: LoopTasks) -> None:
        self._new = tasks.new_future
        self._rung: LoopFuture | None = None  # of the last wait

    def wait(self) -> LoopFuture:
        """Return an awaitable that ends with the next ring. Await it at once."""
        self._rung = future = self._new()
        return future

    def ring(self) -> None:
        """Wake the task that waits, if one does."""
        if self._rung is not None and not self._rung.done():
            self._rung.set_result(None)


class ThreadsafeWaker:
    """Calls functions on one event loop, from any thread. ``WAKERS.get()`` is this loop's.

    Functions that come at about the same time wake the loop once, because that costs a system call.
    """

    def __init__(self) -> None:
        self._call_soon = threadsafe_scheduler()
        self._functions: deque[Action] = deque()
        self._is_woken = False

    def call(self, function: Action) -> None:
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


class TaskWaiter:
    """Waits in tasks of the event loop that it is made on, one at a time.

    ``await waiter.wait()`` ends with the next ``waiter.wake()``, which any thread may call and
    which does nothing if no task waits.

    Make it on the event loop, elsewhere it raises ``RuntimeError``, and let no more than one task
    wait at a time. Check what you wait for before each ``wait``: a wake before it is lost.
    """

    def __init__(self) -> None:
        event = SingleWaiterEvent(TASKS.get())
        self.wait: Callable[[], Awaitable[None]] = event.wait
        self.wake: Action = partial(WAKERS.get().call, event.ring)
