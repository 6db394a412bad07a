"""The process's event loop under WSGI. Its thread is started when it is first needed, never before a fork.

``BlockingPortal`` starts the loop and ends it. Calls go through ``Loop`` instead: to await a function and return its
result takes 40 µs, and ``BlockingPortal.call`` 70; a mounted ASGI application's answer takes 73 µs, and with tasks that
the portal starts 93.
"""

from __future__ import annotations

import atexit
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, suppress
from contextvars import Context, copy_context
from functools import partial
from queue import SimpleQueue
from threading import Lock
from typing import Any, TypeVar, TypeVarTuple

from anyio import create_task_group, from_thread, get_cancelled_exc_class, sleep_forever
from anyio.abc import TaskGroup, TaskStatus
from anyio.from_thread import BlockingPortal, start_blocking_portal

from micropie.execution.context import current
from micropie.execution.fork import after_fork_in_child
from micropie.execution.loop import is_on_loop
from micropie.execution.outcomes import Outcome, released, variables_set
from micropie.execution.wake import threadsafe_scheduler


class Loop:
    """Starts tasks on a running event loop, without waiting for its thread, which would cost two more switches.

    A thread that waits for a task is also told if the loop ends before the task has begun: see ``spawn``.
    """

    def __init__(self, tasks: TaskGroup) -> None:
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


async def _live(task_status: TaskStatus[Loop]) -> None:
    """The task around those that a ``Loop`` starts."""
    async with create_task_group() as tasks:
        loop = Loop(tasks)
        try:
            task_status.started(loop)
            await sleep_forever()
        finally:
            loop.end()


class _Portals:
    """The running portals of this process by backend. A forked child starts with none: threads don't survive."""

    def __init__(self) -> None:
        self._parents: list[ExitStack] = []
        self._stack = ExitStack()
        self.forget()

    def forget(self) -> None:
        self._parents.append(self._stack)  # to free it would wait for the parent's thread, for ever
        self._lock = Lock()
        self._stack = ExitStack()
        self._running: dict[str, tuple[BlockingPortal, Loop]] = {}

    def get(self, backend: str) -> BlockingPortal:
        return (self._running.get(backend) or self._start(backend))[0]

    def get_loop(self, backend: str) -> Loop:
        return (self._running.get(backend) or self._start(backend))[1]

    def _start(self, backend: str) -> tuple[BlockingPortal, Loop]:
        with self._lock:
            if backend not in self._running:
                if not self._running:
                    atexit.register(self.close)
                portal = self._stack.enter_context(start_blocking_portal(backend))
                # This task ends with the loop. If something ends it early, the next call starts another loop.
                # It gets an empty context, because the current one would keep the request alive.
                alive, loop = Context().run(portal.start_task, _live)
                self._running[backend] = portal, loop

                def forget_lost(_: object) -> None:
                    if self._running.get(backend, (None,))[0] is portal:
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


_portals = _Portals()
after_fork_in_child(_portals.forget)

get_portal = _portals.get
get_loop = _portals.get_loop
close_portals = _portals.close


def await_in_portal(backend: str, function: Callable[..., Awaitable[object]], arguments: Sequence[object]) -> Any:
    """Return the result of ``await function(*arguments)`` on the loop, with this thread's context variables. Blocks."""
    outcomes: SimpleQueue[Outcome] = SimpleQueue()
    lost = partial(outcomes.put, [None, CancelledError(), []])
    get_loop(backend).spawn(lost, _put_outcome, function, arguments, outcomes.put)
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
        result: Result = await_in_portal(request.config.settings.portal_backend, function, arguments)
    else:
        result = released(outcome)
    return result
