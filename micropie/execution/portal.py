"""The process's one event loop under WSGI: in a thread of its own, started when first needed, never before a fork."""

from __future__ import annotations

import atexit
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, suppress
from contextvars import Context, copy_context
from functools import partial
from queue import SimpleQueue
from threading import Lock
from typing import Any

from anyio import create_task_group, get_cancelled_exc_class, sleep_forever
from anyio.abc import TaskGroup, TaskStatus
from anyio.from_thread import BlockingPortal, start_blocking_portal

from micropie.execution.fork import after_fork_in_child
from micropie.execution.outcomes import Outcome, released, variables_set
from micropie.execution.wake import threadsafe_scheduler


class Loop:
    """What has a running event loop start tasks; its thread is not waited for, which would cost two switches more.

    Whoever waits for a task hears of its end also when the loop ends before the task has begun: see ``spawn``.
    """

    def __init__(self, tasks: TaskGroup) -> None:
        self.call_soon = threadsafe_scheduler()
        self._marks = variables_set(Context())  # by which libraries tell what loop they are on
        self._start_soon = tasks.start_soon
        self._waiting: set[Callable[[], object]] = set()
        self._has_ended = False

    def spawn(self, lost: Callable[[], object], function: Callable[..., Awaitable[object]], *arguments: Any) -> None:
        """Start a task, soon, with this thread's context variables. Raises ``RuntimeError`` if the loop has ended.

        ``function`` raises nothing, but it may be cancelled; ``lost`` is called instead of it if the loop ends first.
        """
        self._waiting.add(lost)
        if self._has_ended:
            self._waiting.discard(lost)
            raise RuntimeError("the event loop has ended")
        run = copy_context().run
        self.call_soon(partial(run, self._start, self._begin, lost, function, arguments))

    def end(self) -> None:
        """Nothing begins any more."""
        self._has_ended = True
        while self._waiting:
            self._waiting.pop()()

    def _start(self, *task: Any) -> None:
        for variable, value in self._marks:
            variable.set(value)
        if not self._has_ended:
            self._start_soon(*task)

    async def _begin(
        self, lost: Callable[[], object], function: Callable[..., Awaitable[object]], arguments: Sequence[Any]
    ) -> None:
        self._waiting.discard(lost)
        with suppress(get_cancelled_exc_class()):  # handlers may raise it, which would end the loop for everybody's
            await function(*arguments)


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
        self._parents.append(self._stack)  # kept: to let go of it would wait for the parent's thread, for ever
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
                # It lives as long as the loop: should something end that, the next who asks gets another.
                # In a context of its own: this request's would keep the request.
                alive, loop = Context().run(portal.start_task, _live)
                self._running[backend] = portal, loop
                alive.add_done_callback(lambda _: self._lost(backend, portal))
                self._stack.callback(alive.cancel)
                self._stack.callback(_stop, portal)
            return self._running[backend]

    def _lost(self, backend: str, portal: BlockingPortal) -> None:
        if self._running.get(backend, (None,))[0] is portal:
            del self._running[backend]

    def close(self) -> None:
        atexit.unregister(self.close)
        stack, self._stack, self._running = self._stack, ExitStack(), {}
        stack.close()


def _stop(portal: BlockingPortal) -> None:
    """Cancel what is under way: a stream that nobody takes any more would hold up the process's end for ever."""
    with suppress(RuntimeError):  # its loop has ended already
        portal.call(portal.stop, True)


_portals = _Portals()
after_fork_in_child(_portals.forget)

get_portal = _portals.get
get_loop = _portals.get_loop
close_portals = _portals.close


def await_in_portal(backend: str, function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    """Await ``function(*arguments)`` on the loop, with this thread's context variables; block until it is done."""
    outcomes: SimpleQueue[Outcome] = SimpleQueue()
    lost = partial(outcomes.put, [None, CancelledError(), []])
    get_loop(backend).spawn(lost, _tell_outcome, function, arguments, outcomes.put)
    return released(outcomes.get())


async def _tell_outcome(
    function: Callable[..., Any], arguments: Sequence[Any], tell: Callable[[Outcome], object]
) -> None:
    before = copy_context()
    try:
        tell([await function(*arguments), None, variables_set(before)])
    except get_cancelled_exc_class():
        tell([None, CancelledError(), []])
    except BaseException as error:  # a SystemExit of one handler would end the loop for everybody's
        tell([None, error, variables_set(before)])
