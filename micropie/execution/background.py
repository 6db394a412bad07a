"""The background loop: the process's own event loop, on which async code runs under WSGI.

Its thread is started when it is first needed, never before a fork. ``BlockingPortal`` starts the loop and ends it.
Calls go through ``BackgroundLoop`` instead, which switches between threads less often.
"""

from __future__ import annotations

import atexit
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import CancelledError, Future, wait
from contextlib import ExitStack, suppress
from contextvars import Context, copy_context
from functools import partial
from inspect import isawaitable
from queue import SimpleQueue
from threading import Lock
from typing import Any, Protocol, TypeVar, TypeVarTuple

from anyio import Event, create_task_group, from_thread, get_cancelled_exc_class, move_on_after, sleep_forever
from anyio.abc import TaskGroup, TaskStatus
from anyio.from_thread import BlockingPortal, start_blocking_portal

from micropie.execution.context import Outcome, current, released, variables_set
from micropie.execution.fork import after_fork_in_child
from micropie.execution.loop import AHEAD, is_on_loop, threadsafe_scheduler
from micropie.execution.placement import Threads
from micropie.execution.steps import AWAIT, INLINE, kind_of
from micropie.execution.threads import in_thread


class BackgroundLoop:
    """Starts tasks on a running event loop, without waiting for its thread: that would take two more switches.

    A thread that waits for a task is also told if the loop ends before the task has begun: see ``spawn``.
    """

    def __init__(self, portal: BlockingPortal, tasks: TaskGroup) -> None:
        self.portal = portal
        self.call_soon = threadsafe_scheduler()
        self._marks = variables_set(Context())  # by these, libraries know which loop they are on
        self._start_soon = tasks.start_soon
        self._waiting: set[Callable[[], object]] = set()
        self._has_ended = False

    def spawn(self, lost: Callable[[], object], function: Callable[..., Awaitable[object]], *arguments: object) -> None:
        """Start a task, soon, with this thread's context variables. Raises ``RuntimeError`` if the loop has ended.

        ``function`` must not raise, but it may be cancelled. ``lost`` is called instead of it if the loop ends first.
        """
        self._waiting.add(lost)
        if self._has_ended:
            self._waiting.discard(lost)
            raise RuntimeError("the event loop has ended")
        run = copy_context().run
        self.call_soon(partial(run, self._start, lost, partial(function, *arguments)))

    def end(self) -> None:
        """Start no further task, and call ``lost`` for each that has not begun."""
        self._has_ended = True
        while self._waiting:
            self._waiting.pop()()

    def _start(self, lost: Callable[[], object], call: Callable[[], Awaitable[object]]) -> None:
        for variable, value in self._marks:
            variable.set(value)
        if not self._has_ended:
            self._start_soon(self._begin, lost, call)

    async def _begin(self, lost: Callable[[], object], call: Callable[[], Awaitable[object]]) -> None:
        self._waiting.discard(lost)
        with suppress(get_cancelled_exc_class()):  # a handler may raise it, which would end the tasks of all requests
            await call()


async def _live(portal: BlockingPortal, task_status: TaskStatus[BackgroundLoop]) -> None:
    """The task around those that a ``BackgroundLoop`` starts."""
    async with create_task_group() as tasks:
        loop = BackgroundLoop(portal, tasks)
        try:
            task_status.started(loop)
            await sleep_forever()
        finally:
            loop.end()


class _Loops:
    """The running loops of this process by backend. A forked child starts with none: threads don't survive."""

    def __init__(self) -> None:
        self._parents: list[ExitStack] = []
        self._stack = ExitStack()
        self.forget()

    def forget(self) -> None:
        self._parents.append(self._stack)  # to free it would wait for the parent's thread, for ever
        self._lock = Lock()
        self._stack = ExitStack()
        self._running: dict[str, BackgroundLoop] = {}

    def get(self, backend: str) -> BackgroundLoop:
        return self._running.get(backend) or self._start(backend)

    def _start(self, backend: str) -> BackgroundLoop:
        with self._lock:
            if backend not in self._running:
                if not self._running:
                    atexit.register(self.close)
                portal = self._stack.enter_context(start_blocking_portal(backend))
                # This task ends with the loop. If something ends it early, the next call starts another loop.
                # It gets an empty context, because the current one would keep the request alive.
                alive, loop = Context().run(portal.start_task, _live, portal)
                self._running[backend] = loop

                def forget_lost(_: object) -> None:
                    if self._running.get(backend) is loop:
                        del self._running[backend]

                alive.add_done_callback(forget_lost)
                self._stack.callback(alive.cancel)
                self._stack.callback(_stop, portal)
            return self._running[backend]

    def close(self) -> None:
        atexit.unregister(self.close)
        stack, self._stack, self._running = self._stack, ExitStack(), {}
        stack.close()


def _stop(portal: BlockingPortal) -> None:
    """Cancel all tasks: a stream whose chunks are not taken would hold up the process's end for ever."""
    with suppress(RuntimeError):  # its loop has ended already
        portal.call(portal.stop, True)


_loops = _Loops()
after_fork_in_child(_loops.forget)

background_loop = _loops.get
close_background_loops = _loops.close


def await_in_background(backend: str, function: Callable[..., Awaitable[object]], arguments: Sequence[object]) -> Any:
    """Return the result of ``await function(*arguments)`` on the loop, with this thread's context variables. Blocks."""
    outcomes: SimpleQueue[Outcome] = SimpleQueue()
    lost = partial(outcomes.put, [None, CancelledError(), []])
    background_loop(backend).spawn(lost, _put_outcome, function, arguments, outcomes.put)
    return released(outcomes.get())


async def _put_outcome(
    function: Callable[..., Awaitable[object]], arguments: Sequence[object], put: Callable[[Outcome], object]
) -> None:
    put(await awaited_outcome_of(function, arguments))


async def awaited_outcome_of(function: Callable[..., Awaitable[object]], arguments: Sequence[object]) -> Outcome:
    """Await the function for a thread, and return the outcome; nothing is raised."""
    before = copy_context()
    try:
        return [await function(*arguments), None, variables_set(before)]
    except get_cancelled_exc_class():
        return [None, CancelledError(), []]
    except BaseException as error:  # a SystemExit of one handler would end the tasks of all requests
        return [None, error, variables_set(before)]


Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


def run_async(function: Callable[[*Arguments], Awaitable[Result]], *arguments: *Arguments) -> Result:
    """Return ``await function(*arguments)``, run on an event loop while this thread waits. For ``def`` code only.

    It is the server's loop under ASGI and the process's own under WSGI, so ``function`` must not block. It sees the
    context variables of the request, ``self.request`` among them, and what it sets is visible here afterwards.

    Raises what ``function`` raises; ``RuntimeError`` on an event loop, where ``await`` does this; ``LookupError``
    in a thread that answers no request.
    """
    if is_on_loop():
        raise RuntimeError(f"this code runs on the event loop: write await instead of run_async for {function!r}")
    try:
        outcome = from_thread.run(awaited_outcome_of, function, arguments)
    except RuntimeError as error:  # anyio's NoEventLoopError, which has this name from 4.12 on only
        if "worker thread" not in str(error):
            raise
        request = current.get(None)
        if request is None:
            raise LookupError("there is no current request: run_async can't tell its event loop") from None
        result: Result = await_in_background(request._exchange.config.settings.portal_backend, function, arguments)
    else:
        result = released(outcome)
    return result


# -- functions that run after the response -----------------------------------------------------------------------------

# The functions of ``request.after_response`` run on an event loop under both protocols: those of one request one after
# the other, in the context of the call of ``after_response``. They are shielded: neither a client that leaves nor a
# server that ends cuts them short. The setting ``background_timeout`` limits the time of all of them, so that a server
# can end. Their errors are logged.

logger = logging.getLogger("micropie")

_running: set[Future[None]] = set()
after_fork_in_child(_running.clear)  # they run in the parent

# Not those of handlers, which would have to wait for them. 40 is anyio's default for all.
_THREADS = Threads(40)


class Answered(Protocol):
    """A request whose answer is over. ``tasks`` are the functions that are left, ``task`` is the one that runs."""

    context: Context
    task: Callable[..., object] | None
    tasks: Sequence[tuple[Callable[..., object], Sequence[object]]]

    @property
    def label(self) -> str: ...

    def log_failure(self, sentence: str, failure: BaseException, /) -> None:
        """Log an exception and report it."""

    def release(self) -> None:
        """Release what the request has kept for its functions."""


def start_tasks(exchange: Answered, seconds: float, backend: str) -> None:
    """Run the functions of a request on the process's event loop of this backend. Does not wait."""
    ended: Future[None] = Future()
    _running.add(ended)
    ended.add_done_callback(_running.discard)
    end = partial(ended.set_result, None)

    async def run() -> None:
        try:
            await run_tasks(exchange, seconds)
        finally:
            end()

    exchange.context.run(background_loop(backend).spawn, end, run)


def wait_for_tasks(seconds: float) -> None:
    """Wait until all have ended, at most so many seconds: the shut-down closes what they use."""
    wait([*_running], timeout=seconds)


async def run_tasks(exchange: Answered, seconds: float) -> None:
    """Run the functions within ``seconds`` in all, then release what the request holds. Raises a cancellation only."""
    try:
        with move_on_after(seconds, shield=True) as scope:
            while exchange.tasks:
                (exchange.task, arguments), *exchange.tasks = exchange.tasks
                await _run(exchange, exchange.task, arguments)
            exchange.task = None  # it may refer to the request, which would be a cycle
        if scope.cancelled_caught:
            logger.error("%s was given up: background_timeout is %g s", _label(exchange), seconds)
    finally:
        exchange.release()


async def _run(exchange: Answered, function: Callable[..., Any], arguments: Sequence[object]) -> None:
    try:
        kind = kind_of(function)
        if kind is AWAIT or kind is INLINE:
            result = function(*arguments)
        else:
            result = await in_thread(_THREADS, function, *arguments, abandon_on_cancel=True)
        if kind is AWAIT or (result is not None and isawaitable(result)):
            await result
    except get_cancelled_exc_class():
        raise
    except BaseException as error:  # a SystemExit would end the loop, and with it the tasks of other requests
        exchange.log_failure(f"{_label(exchange)} failed", error)


def _label(exchange: Answered) -> str:
    function = exchange.task
    return f"{exchange.label}: {getattr(function, '__qualname__', repr(function))}, after the response,"


# -- tasks that make chunks for a thread -------------------------------------------------------------------------------


class BackpressureWindow:
    """Backpressure between a producer task and a consumer thread.

    ``made`` returns an event for the task to wait on, ``ask`` one for the thread to set on the loop.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._made = 0
        self._asked = 0
        self._is_over = False
        self._waiting: Event | None = None  # what the task waits on

    def ask(self) -> Event | None:
        """The thread wants a chunk. Return the event to set on the loop, or None."""
        with self._lock:
            self._asked += 1
            return self._take_event() if self._made < self._asked else None

    def made(self) -> Event | None:
        """A chunk has been made. Return the event to wait on if the task is far enough ahead, or None."""
        with self._lock:
            self._made += 1
            # After the first chunk it is not known yet whether a second is wanted: HEAD does not want one.
            enough = self._asked + AHEAD - 1 if self._asked > 1 else 1
            if self._is_over or self._made < enough:
                return None
            self._waiting = Event()
            return self._waiting

    def leave(self) -> Event | None:
        """The thread wants no chunk after this, so the task need not wait again. Return the event to set, or None."""
        with self._lock:
            self._is_over = True
            return self._take_event()

    def _take_event(self) -> Event | None:
        event, self._waiting = self._waiting, None
        return event
