"""Helpers that store a value for each event loop, start tasks on a loop, and wake tasks.

``asgi`` runs on the server's loop, and ``wsgi`` runs async code on a background loop. anyio can
start tasks only in task groups, and can't be called from a signal handler. So this module uses
asyncio and trio directly, behind one interface for both.
"""

from __future__ import annotations

import os
import sys
import types
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from contextvars import Context, ContextVar, copy_context
from functools import cached_property, partial
from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar
from weakref import ref

import anyio

from micropie._core.execution.placement import LOOP, PROCESS, THREAD, AnyFunction, is_in_pool

if TYPE_CHECKING:
    import asyncio

# Seconds that a stream may take to clean up after its client has disconnected.
CLEAN_UP_WITHIN = 10.0

# How many chunks another thread or task may produce when one is requested: the requested chunk, and
# two in advance.
AHEAD = 3

# The current request. The drivers set and reset it. Its type is ``Any``, because the class is
# defined in a layer above this package, in ``http/request.py``.
current: ContextVar[Any] = ContextVar("micropie.request")


def current_exchange() -> Any:
    """Return the ``Exchange`` of the current request, or None."""
    return getattr(current.get(None), "_exchange", None)


T = TypeVar("T")

# A function that is called later. Its result is ignored.
Action: TypeAlias = Callable[[], object]
AsyncAction: TypeAlias = Callable[[], Awaitable[object]]
AsyncFunction: TypeAlias = Callable[..., Awaitable[object]]


def running_loop() -> Any:
    """Return the event loop that this code runs on. For trio, return its token. Raises
    ``RuntimeError`` if no event loop is running.

    anyio has a function for this, too, but it imports modules that a small site doesn't need.
    """
    # Ask which library runs this code, because trio's loop may run as a guest inside asyncio's, and
    # asyncio's inside trio's (trio-asyncio). Another thread may be importing sniffio right now.
    if "trio" in sys.modules:
        thread = getattr(sys.modules.get("sniffio"), "thread_local", None)
        if getattr(thread, "name", None) == "trio":
            return sys.modules["trio"].lowlevel.current_trio_token()
    try:
        return sys.modules["asyncio"].get_running_loop()
    except KeyError:
        raise RuntimeError("there is no event loop") from None


class LoopLocal(Generic[T]):
    """Holds one value for each event loop. ``make()`` creates a loop's value when ``get`` is first
    called on that loop.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        # When a loop is freed, the weak reference that is its key removes the loop's value. This is
        # faster than a ``WeakKeyDictionary``. ``get`` removes the values of closed loops as well,
        # because a value may hold its loop.
        self._values: dict[ref[object], T] = {}

    def get(self) -> T:
        """Return the value for the current loop. Create it on first use."""
        loop = running_loop()
        try:
            return self._values[ref(loop)]
        except KeyError:
            for other in [*self._values]:
                if getattr(other(), "is_closed", bool)():
                    self._values.pop(other, None)
            self._values[ref(loop, self._forget)] = value = self._make()
            return value

    def _forget(self, loop: ref[object]) -> None:
        self._values.pop(loop, None)  # another thread may just have removed it


def where() -> str:
    """Return where this code runs: ``"loop"`` on an event loop, ``"thread"`` in a thread, where it
    may block, and ``"process"`` in a process of the pool.

    Under WSGI, a ``def`` handler runs in the server's thread, so this returns ``"thread"``, even
    with ``run_in("loop")``.
    """
    if is_in_pool():
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
    """Enter an async context manager, yield its value, then exit it.

    ``make()`` is called on the event loop, because many context managers look up the running loop
    when they are created.
    """
    async with make() as value:
        yield value


# Set in place of sniffio's variable if sniffio is not installed.
_UNREAD: ContextVar[str | None] = ContextVar("the name of the event loop's library")


def library_variable() -> ContextVar[str | None]:
    """Return the context variable by which libraries detect the event loop. As anyio does, set it
    to the name of the loop's library, and to None in a thread.
    """
    sniffio = sys.modules.get("sniffio")
    variable: ContextVar[str | None] = getattr(sniffio, "current_async_library_cvar", _UNREAD)
    return variable


def start_shared(thread: Thread) -> None:
    """Start a thread that outlives the current request, in an empty context.

    In free-threaded Python, a thread keeps a copy of the context in which it was started. Sentry
    gives each thread the scope in which it was started. Errors that the thread logs for other
    requests would be reported with the user of the request that happened to start it.
    """
    Context().run(thread.start)


def set_deadline(scope: anyio.CancelScope, deadline: float) -> None:
    """Set the deadline of a cancel scope that was entered.

    asyncio keeps a cancelled timer, with its context, until it would have been due and all earlier
    timers are over. With that of a request, it would keep the request in memory, so use an empty
    one.
    """
    Context().run(setattr, scope, "deadline", deadline)


@contextmanager
def move_on_after(seconds: float, *, shield: bool = False) -> Iterator[None]:
    """Cancel this ``with`` block after ``seconds``, as ``anyio.move_on_after`` does, but with
    ``set_deadline``.
    """
    with anyio.CancelScope(shield=shield) as scope:
        set_deadline(scope, anyio.current_time() + seconds)
        yield


# An object for each ``with exit_delayed()`` block that is running.
STOPS: set[object] = set()


@contextmanager
def exit_delayed() -> Iterator[None]:
    """During this ``with`` block, which waits for calls that are still running, the process doesn't
    end because of them; see ``threads._end_process``.
    """
    stop = object()
    STOPS.add(stop)
    try:
        yield
    finally:
        STOPS.discard(stop)


# -- tasks -----------------------------------------------------------------------------------------


def threadsafe_scheduler() -> Callable[[Action], object]:
    """Return a function that schedules a call on this event loop. It may be called from any thread
    and from a signal handler.

    The function is a method of the event loop itself. It doesn't wait and takes no lock. anyio's
    own function would start a task instead. The function raises ``RuntimeError`` once the loop has
    ended.
    """
    loop = running_loop()
    return getattr(loop, "call_soon_threadsafe", None) or loop.run_sync_soon  # type: ignore[no-any-return]


class _EventFuture:
    """A future for use under trio, which has no futures; see ``LoopFuture``.

    ``done()`` returns whether the future has a result. ``set_result(None)`` wakes the task that
    awaits it.
    """

    __slots__ = ("_event", "done")

    def __init__(self) -> None:
        self._event = anyio.Event()
        self.done = self._event.is_set

    def set_result(self, _: None, /) -> None:
        self._event.set()

    def __await__(self) -> Generator[object, object, None]:
        return self._event.wait().__await__()


# A future that one task awaits. Code on the same loop sets its result. ``LoopTasks.new_future``
# creates one.
LoopFuture: TypeAlias = "asyncio.Future[None] | _EventFuture"


class _Running:
    """A task that was started by a ``LoopTasks``, its ``owner``.

    ``task``: the task itself under asyncio, whose loop only has a weak reference to it; None under
    trio, which keeps its tasks alive.
    """

    __slots__ = ("owner", "task")  # set by the owner, because ``__init__`` would be another call

    owner: LoopTasks
    task: Any

    async def run(self, function: AsyncFunction, arguments: Sequence[object]) -> None:
        """Run the task. Call ``remove`` here, because a done callback of the task would run one
        turn of the loop later.
        """
        try:
            await function(*arguments)
        except anyio.get_cancelled_exc_class():
            pass  # asyncio's task would keep a raised exception and its frames
        finally:
            self.owner.remove(self)

    def cancel(self) -> None:
        """Cancel the task under asyncio, unless it has ended."""
        if self.task is not None:
            self.end_with_task()
            self.task.cancel()

    def end_with_task(self) -> None:
        """Call ``end`` after the task, because a task that is cancelled before it begins never
        enters ``run``.
        """
        if self.task is not None:
            self.task.add_done_callback(self.end)

    def end(self, _task: object = None) -> None:
        """Record that the task has ended."""
        self.owner.remove(self)


class LoopTasks:
    """Starts tasks on this event loop outside of any task group, and calls functions on it for
    other threads. The tasks must not raise an exception. ``TASKS.get()`` returns the ``LoopTasks``
    of the current loop.

    - ``new_future()`` returns a ``LoopFuture`` for a task of this loop.
    - ``current_task()`` returns asyncio's current task, or None under trio.
    - ``call_soon(call)`` schedules a call on this loop, from any thread; see
      ``threadsafe_scheduler``.
    - ``time()`` returns the time of this loop's clock.
    """

    def __init__(self) -> None:
        loop = running_loop()
        self.new_future: Callable[[], LoopFuture] = getattr(loop, "create_future", _EventFuture)
        self._create_task: AnyFunction | None = getattr(loop, "create_task", None)
        self.is_trio = self._create_task is None
        self.current_task: Callable[[], Any] = (
            (lambda: None) if self.is_trio else sys.modules["asyncio"].current_task
        )
        self.call_soon = threadsafe_scheduler()
        self.time = getattr(loop, "time", anyio.current_time)
        self._tasks: set[_Running] = set()
        self._idle: anyio.Event | None = None
        self.has_ended = False  # whether ``join`` was called; nothing waits for later tasks
        self._calls: deque[Action] = deque()
        self._is_woken = False

    def call(self, function: Action) -> None:
        """Call ``function``, which must not raise, on this loop soon. Any thread may call this
        method, which does nothing if the loop has ended.

        Waking a loop costs a system call. Unlike those of ``call_soon``, functions that are passed
        at about the same time share one.
        """
        self._calls.append(function)
        if not self._is_woken:
            self._is_woken = True
            with suppress(RuntimeError):
                self.call_soon(self._call_all)

    def _call_all(self) -> None:
        # Reset ``_is_woken`` first, so that a function that is added from now on wakes the loop
        # again.
        self._is_woken = False
        while self._calls:
            self._calls.popleft()()

    @cached_property
    def new_scope(self) -> type[anyio.CancelScope]:
        """The class of this loop's cancel scopes. ``anyio.CancelScope()`` looks the class up in
        each call, which takes longer than creating a scope.
        """
        return type(anyio.CancelScope())

    def start_soon(
        self,
        function: AsyncFunction,
        *arguments: object,
        context: Context | None = None,
    ) -> Action:
        """Run ``function(*arguments)`` in a task, in ``context`` or, by default, in a copy of the
        current context.

        Return a function that cancels the task.
        """
        # Register the task before it is created, because with ``asyncio.eager_task_factory`` it may
        # end at once.
        running = _Running()
        running.owner, running.task = self, None
        self._tasks.add(running)
        if self._create_task is not None:
            running.task = self._create_task(running.run(function, arguments), context=context)
            return running.cancel
        scope = self.new_scope()

        async def run() -> None:
            with scope:
                await running.run(function, arguments)

        context = copy_context() if context is None else context
        sys.modules["trio"].lowlevel.spawn_system_task(run, context=context)
        return scope.cancel

    def start(self, function: AsyncFunction, *arguments: object) -> None:
        """Run ``function(*arguments)`` in a task that begins at once. If ``function`` doesn't wait,
        it has ended when this method returns.

        Under trio, which can't do this, the task begins later, as in ``start_soon``.
        """
        if self._create_task is None:
            self.start_soon(function, *arguments)
            return
        asyncio: Any = sys.modules["asyncio"]
        running, loop, own = _Running(), asyncio.get_running_loop(), self.current_task()
        running.owner, running.task = self, None
        self._tasks.add(running)
        context = copy_context()
        coroutine = running.run(_in_two_parts, (function(*arguments),))
        # Not ``create_task``, which may begin the coroutine (``asyncio.eager_task_factory``).
        running.task = task = asyncio.Task(coroutine, loop=loop, context=context)
        # For libraries, the code must run in its own task from the start: cancel scopes, for
        # example, belong to the task that enters them. These functions are documented for it.
        asyncio._leave_task(loop, own)
        asyncio._enter_task(loop, task)
        try:
            context.run(coroutine.send, None)
        finally:
            asyncio._leave_task(loop, task)
            asyncio._enter_task(loop, own)

    def hold(self) -> Action:
        """Let ``join`` wait until the returned function is called, on this loop."""
        running = _Running()
        running.owner, running.task = self, None
        self._tasks.add(running)
        return running.end

    async def sleep(self, seconds: float) -> None:
        """Wait for ``seconds``. If this is cancelled, no timer keeps the context of the task; see
        ``set_deadline``.
        """
        with move_on_after(seconds):
            await self.new_future()

    async def until_readable(self, descriptor: int, seconds: float) -> None:
        """Wait until bytes have come for a blocking socket, at most ``seconds``."""
        if self._create_task is None:
            with move_on_after(seconds):
                await sys.modules["trio"].lowlevel.wait_readable(descriptor)
            return
        is_over, loop = SingleWaiterEvent(self), running_loop()
        timer = loop.call_later(seconds, is_over.ring, context=Context())
        loop.add_reader(descriptor, is_over.ring)
        try:
            await is_over.wait()
        finally:
            loop.remove_reader(descriptor)
            os.set_blocking(descriptor, True)  # uvloop has changed it
            timer.cancel()

    async def join(self) -> None:
        """Wait until all tasks have ended."""
        self.has_ended = True
        while self._tasks:
            for running in self._tasks:
                running.end_with_task()
            self._idle = anyio.Event()
            await self._idle.wait()

    def remove(self, running: _Running) -> None:
        """Record that a task has ended."""
        self._tasks.discard(running)
        # The frames of a cancelled task refer to ``running``, so avoid a reference cycle.
        running.task = None
        if self._idle is not None and not self._tasks:
            self._idle.set()


@types.coroutine
def _in_two_parts(coroutine: Awaitable[object]) -> Generator[object, None, None]:
    """Run ``coroutine`` in two parts: ``LoopTasks.start`` sends the first None, which runs it until
    it waits or ends. The task sends all others.
    """
    steps, has_begun = coroutine.__await__(), False
    try:
        waits_for = next(steps)
        while True:
            try:
                if not has_begun:
                    has_begun = True
                    yield None
                yield waits_for
            except BaseException as error:  # the task is cancelled
                waits_for = steps.throw(error)
            else:
                yield from steps
                return
    except StopIteration:
        if not has_begun:
            yield None


TASKS = LoopLocal(LoopTasks)


class DelayedCalls:
    """Calls functions on this event loop, each of them ``seconds`` after it was added.

    A single task waits for all of them. Most calls are cancelled before they are due, so a timer
    for each would take more time than the delay saves.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._tasks = TASKS.get()
        # For each call, its time and a list. The list contains the function, or is empty if the
        # call was cancelled.
        self._calls: deque[tuple[float, list[Action]]] = deque()

    def add(self, function: Action) -> Action:
        """Call ``function`` later, in a copy of the current context.

        Return a function that cancels the call and drops the reference to ``function``.
        """
        functions: list[Action] = [partial(copy_context().run, function)]
        has_task = bool(self._calls)  # which removes a call when its function has returned
        self._calls.append((monotonic() + self._seconds, functions))
        if not has_task:
            # Start the task last, because with ``asyncio.eager_task_factory`` it begins at once.
            # Use an empty context, because a copy would keep the request in memory while the task
            # waits for calls that were cancelled.
            self._tasks.start_soon(self._run, context=Context())
        return functions.clear

    async def _run(self) -> None:
        while self._calls:
            due, functions = self._calls[0]
            pause = due - monotonic()
            if functions and pause > 0:
                await anyio.sleep(pause)
            else:
                while functions:
                    functions.pop()()
                self._calls.popleft()


class SingleWaiterEvent:
    """A reusable event for a single waiting task, on the event loop of ``tasks``.

    ``ring`` does nothing if no task is waiting.
    """

    __slots__ = ("_new", "_rung")

    def __init__(self, tasks: LoopTasks) -> None:
        self._new = tasks.new_future
        self._rung: LoopFuture | None = None  # the future that the last ``wait`` returned

    def wait(self) -> LoopFuture:
        """Return an awaitable that completes at the next ``ring``. Await it right away."""
        self._rung = future = self._new()
        return future

    def ring(self) -> None:
        """Wake the waiting task, if there is one."""
        if self._rung is not None and not self._rung.done():
            self._rung.set_result(None)


class TaskWaiter(SingleWaiterEvent):
    """Lets tasks of the current event loop wait, one at a time.

    ``await waiter.wait()`` returns at the next ``waiter.wake()``. Any thread may call ``wake``,
    which does nothing if no task is waiting.

    Create the object on the event loop; anywhere else, this raises ``RuntimeError``. Only one task
    may wait at a time. Check your condition before each ``wait``, because a ``wake`` before the
    ``wait`` is lost.
    """

    __slots__ = ("_tasks",)

    def __init__(self) -> None:
        self._tasks = TASKS.get()
        super().__init__(self._tasks)

    def wake(self) -> None:
        """Wake the waiting task, if there is one. Any thread may call this."""
        self._tasks.call(self.ring)
