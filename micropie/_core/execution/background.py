"""The background loop, on which a process runs async code under WSGI.

The loop's thread is started on first use, because a thread that was started earlier would not
survive a fork of the server. anyio's ``BlockingPortal`` starts and stops the loop. Calls go through
``BackgroundLoop`` instead, which needs fewer switches between threads.
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, suppress
from contextvars import Context, copy_context
from functools import partial
from queue import Empty, SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple
from weakref import finalize

import anyio

from micropie._core.errors import SetupError
from micropie._core.execution.fork import after_fork_in_child
from micropie._core.execution.lane import (
    CANCELLED,
    AsyncLane,
    Interrupted,
    Outcome,
    awaited_outcome_of,
    containment,
    released,
)
from micropie._core.execution.loop import (
    Action,
    AsyncAction,
    AsyncFunction,
    LoopTasks,
    current_exchange,
    exit_delayed,
    is_on_loop,
    library_variable,
)

if TYPE_CHECKING:
    from anyio.abc import TaskStatus
    from anyio.from_thread import BlockingPortal


def contained(error: BaseException) -> Exception:
    """Return the exception to report as the failure of a request whose code has raised ``error``.
    If ``error`` must reach the server, raise it instead; see ``failure_of``.
    """
    if isinstance(error, Exception):
        return error
    failure: Exception | None = containment.failure_of(error)
    try:
        if failure is None:
            raise error
        return failure
    finally:
        del error  # avoid a reference cycle between the exception and this frame


# -- the loop --------------------------------------------------------------------------------------


class BackgroundLoop(LoopTasks):
    """Starts tasks on an event loop that runs in another thread. The calling thread doesn't wait
    until the tasks have started, which saves two switches between threads. The tasks are not those
    of ``TASKS``, which may wait for one of them.

    If the loop ends before a task has begun, the thread that waits for the task is notified; see
    ``spawn``.
    """

    def __init__(self, portal: BlockingPortal, backend: str) -> None:
        super().__init__()
        self.portal = portal
        self._backend = backend
        self._set_library = library_variable().set
        # By the ``lost`` function of each task: its scope, or None until it begins. asyncio itself
        # would cancel a task only once, and even in a shielded block. This is a dict, because its
        # items are set without a call. In place of a scope, the parts of a lane have the lane.
        self._scopes: dict[Action, anyio.CancelScope | AsyncLane | None] = {}
        self._lanes: set[AsyncLane] = set()  # those with a task

    def spawn(self, lost: Action, function: AsyncAction, lane: AsyncLane | None = None) -> None:
        """Schedule ``function`` as a task on the loop, in a copy of this thread's context, or in
        the task of ``lane``.

        Raises ``RuntimeError`` if the loop has ended.

        ``function`` must not raise, but it may be cancelled. If the loop ends before the task has
        begun, ``lost`` is called instead of ``function``. It must not be that of another task.
        """
        self._scopes[lost] = None
        if self.has_ended:
            self._scopes.pop(lost, None)
            raise RuntimeError("the event loop has ended")
        self.call_soon(partial(self._start, lost, function, copy_context(), lane))

    def end(self) -> None:
        """Refuse new tasks, call the ``lost`` function of each task that has not begun, and cancel
        the others.
        """
        for lane in self._lanes:
            lane.lose()
        self.has_ended = True  # after this, the lanes' threads use another loop
        for lost, scope in [*self._scopes.items()]:
            if scope is not None:
                scope.cancel()
            elif self._scopes.pop(lost, self) is None:  # ``spawn`` may remove items meanwhile
                lost()

    def leave(self, lost: Action) -> None:
        """Cancel the task with this ``lost`` function, because nothing waits for it any more."""
        scope = self._scopes.get(lost)
        if scope is not None:
            scope.cancel()

    async def join(self) -> None:
        """After ``end``, wait until all tasks have ended."""
        with anyio.CancelScope(shield=True):
            await super().join()

    def _start(
        self, lost: Action, call: AsyncAction, context: Context, lane: AsyncLane | None
    ) -> None:
        # Set only this variable, because others, such as a monitor's, belong to the request.
        context.run(self._set_library, self._backend)
        if self.has_ended:
            return
        if lane is None or lane.is_over:
            self.start_soon(self._begin, lost, call, context=context)
            return
        context = lane.entered(context)  # here, because the loop may just be leaving it
        part = partial(self._begin_part, lost, call, lane)
        if not lane.ask(part):
            lane.cancel = self.start_soon(self._run_lane, lane, part, context=context)

    async def _begin(self, lost: Action, call: AsyncAction) -> None:
        if self.has_ended:
            return
        try:
            with self.new_scope() as self._scopes[lost]:
                await call()
        finally:
            del self._scopes[lost]

    async def _run_lane(self, lane: AsyncLane, part: AsyncAction) -> None:
        if self.has_ended:
            return
        self._lanes.add(lane)
        try:
            await lane.perform(self, part)
        finally:
            self._lanes.discard(lane)

    async def _begin_part(self, lost: Action, call: AsyncAction, lane: AsyncLane) -> None:
        if self.has_ended:
            return
        self._scopes[lost] = lane
        try:
            await call()
        finally:
            del self._scopes[lost]


async def _live(
    portal: BlockingPortal,
    backend: str,
    patience: float | None,
    task_status: TaskStatus[BackgroundLoop],
) -> None:
    """Create the ``BackgroundLoop``, and end it when this task is cancelled."""
    from micropie._core.execution.watchdog import watch_loop  # imported for the first loop

    watch_loop(patience)
    loop = BackgroundLoop(portal, backend)
    try:
        task_status.started(loop)
        await anyio.sleep_forever()
    finally:
        loop.end()
        await loop.join()


def refuse_greenlets() -> None:
    """Raise ``SetupError`` if gevent has replaced threads with greenlets.

    All greenlets would share one thread with the event loop, so libraries would mistake each
    greenlet for a task of the loop. A lock created before gevent's patch would block all greenlets.
    uWSGI's gevent loop doesn't replace threads, but it is refused as well, because it crashes when
    a thread other than the server's reads a request body.
    """
    monkey = sys.modules.get("gevent.monkey")
    is_patched = monkey is not None and monkey.is_module_patched("threading")
    if is_patched or getattr(sys.modules.get("uwsgi"), "loop", None):
        raise SetupError(
            "async code, events and time limits don't work under gevent, because they need real "
            "threads: start gunicorn with -k gthread instead of -k gevent, or uWSGI with "
            "--threads instead of --gevent"
        )


class _Loops:
    """The background loops that run in this process, at most one for each backend.

    A forked child starts with no loops, because threads don't survive a fork.
    """

    patience: float | None = None

    def __init__(self) -> None:
        self._stacks: list[ExitStack] = []
        self.after_fork()

    def after_fork(self) -> None:
        self._lock = Lock()
        self._begin()

    def _begin(self) -> None:
        self._running: dict[str, BackgroundLoop] = {}
        # In a forked child, keep the exit stacks of the parent's loops: freeing one would wait
        # forever for a thread that exists only in the parent.
        self._stacks.append(ExitStack())

    def get(self, backend: str) -> BackgroundLoop:
        loop = self._running.get(backend)
        if loop is not None and not loop.has_ended:
            return loop
        with self._lock:
            loop = self._running.get(backend)
            if loop is None or loop.has_ended:
                refuse_greenlets()
                # The loop's thread and tasks outlive this request; see ``start_shared``.
                loop = self._running[backend] = Context().run(self._open, backend)
            return loop

    def _open(self, backend: str) -> BackgroundLoop:
        from anyio.from_thread import start_blocking_portal

        portal = self._stacks[-1].enter_context(start_blocking_portal(backend))
        # Start the task that contains all tasks of the loop. This task runs until the loop ends. If
        # the task ends earlier, the next call starts another loop.
        loop: BackgroundLoop
        _, loop = portal.start_task(_live, portal, backend, self.patience)
        self._stacks[-1].callback(_stop, portal)
        return loop

    def close(self) -> None:
        with self._lock:  # another thread may be starting a loop
            stack = self._stacks.pop()
            self._begin()
        stack.close()


def _stop(portal: BlockingPortal) -> None:
    """Stop the loop and cancel its tasks. Otherwise, a stream whose chunks are no longer read would
    keep the process from exiting.
    """
    with suppress(RuntimeError):  # the loop may have ended already
        portal.call(portal.stop, True)


_loops = _Loops()
after_fork_in_child(_loops.after_fork)


background_loop = _loops.get
close_background_loops = _loops.close

# The functions are called in reverse order: an application stops while its loop still runs, and
# ``finalize``, whose first use registers a function, ends the processes of pools at last.
finalize(_loops, bool).detach()
atexit.register(exit_delayed()(close_background_loops))


def watch_background_loops(patience: float | None) -> None:
    """Start a watchdog for each background loop that starts from now on; see ``watch_loop``."""
    _loops.patience = patience


def await_in_background(
    backend: str,
    function: AsyncFunction,
    arguments: Sequence[object],
    lane: AsyncLane | None = None,
) -> Any:
    """Run ``await function(*arguments)`` on the background loop, with this thread's context
    variables, and return the result. This function blocks.

    ``lane``: that of a request that may make several calls.

    Raises ``Interrupted`` if the task was cancelled, or ``CancelledError`` if the loop has ended
    before the task has begun.
    """
    outcomes: SimpleQueue[Outcome] = SimpleQueue()
    call = partial(awaited_outcome_of, function, arguments, outcomes.put)

    def lost() -> None:
        outcomes.put([None, CancelledError(CANCELLED), []])

    loop = background_loop(backend)
    loop.spawn(lost, call, lane)
    try:
        outcome = outcomes.get()
    except BaseException:  # of a signal's handler
        loop.call(partial(loop.leave, lost))
        raise
    if lane is not None and (outcome[2] or lane.tokens):
        lane.leave(outcome)
    return released(outcome)


def await_in_task(tasks: LoopTasks, function: AsyncFunction, arguments: Sequence[object]) -> Any:
    """Do the same in a task of another event loop, that of ``tasks``. Raises ``RuntimeError`` if
    this loop has been closed.
    """
    outcomes: SimpleQueue[Outcome] = SimpleQueue()
    start = partial(tasks.start_soon, awaited_outcome_of, function, arguments, outcomes.put)
    tasks.call_soon(partial(copy_context().run, start))
    while True:
        try:
            outcome = outcomes.get(timeout=_LOOK_EVERY)
        except Empty:
            tasks.call_soon(bool)  # raises the error; a loop may close before it starts the task
        else:
            return released(outcome)  # not in the ``try``, because ``function`` may raise ``Empty``


# How often a thread that waits for a task looks whether the task's loop still exists.
_LOOK_EVERY = 1.0


Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


def run_async(
    function: Callable[[*Arguments], Awaitable[Result]], *arguments: *Arguments
) -> Result:
    """Run ``await function(*arguments)`` on an event loop, wait in this thread, and return the
    result.

    Only ``def`` code may call this function.

    The loop is the server's under ASGI, and the process's background loop under WSGI. Other
    requests share it, so ``function`` must not block. It sees the context variables of the request,
    including ``self.request``, and the calling code sees the variables that it sets.

    Raises what ``function`` raises. Also raises ``RuntimeError`` on an event loop, where you can
    use ``await`` instead, and ``LookupError`` in a thread that is not handling a request.
    """
    if is_on_loop():
        raise RuntimeError(
            f"this code runs on the event loop: await {function!r} instead of using run_async"
        )
    result: Result = await_in_def(current_exchange(), function, arguments)
    return result


def await_in_def(exchange: Any, function: AsyncFunction, arguments: Sequence[object]) -> Any:
    """Run ``await function(*arguments)`` on the server's event loop, or on the background loop if
    the server has none, and return the result. Call this function in a thread.

    ``exchange``: that of the request. If it is None, raises ``LookupError`` in a thread that isn't
    anyio's. Raises ``CancelledError`` if the task was cancelled.
    """
    from anyio import from_thread

    try:
        try:
            outcome = from_thread.run(awaited_outcome_of, function, arguments)
        except RuntimeError as error:  # anyio 4.12 and later raise a subclass, NoEventLoopError
            if "worker thread" not in str(error):
                raise
        else:
            return released(outcome)
        if exchange is None:
            raise LookupError(
                "there is no current request: run_async works only in handlers and hooks"
            )
        tasks: LoopTasks | None = exchange.server_tasks()
        if tasks is not None:
            return await_in_task(tasks, function, arguments)
        return await_in_background(exchange.config.settings.portal_backend, function, arguments)
    except Interrupted as error:
        raise CancelledError(CANCELLED) from error.__cause__
