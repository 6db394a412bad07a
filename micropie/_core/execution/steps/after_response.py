"""Functions that run after the response.

The functions of ``request.after_response`` run on an event loop, under WSGI as well as ASGI. The
functions of one request run one after the other, in the context in which ``after_response`` was
called. They are shielded from cancellation, so neither a client that disconnects nor a server that
shuts down interrupts them. The setting ``background_timeout`` limits the total time of a request's
functions, so that a server can shut down. Errors of the functions are logged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from contextvars import Context, copy_context
from functools import partial
from inspect import isawaitable, iscoroutine
from threading import Thread
from typing import Any, NamedTuple, Protocol

import anyio

from micropie._core import execution
from micropie._core.errors import SetupError, logger, name_of
from micropie._core.execution import (
    TASKS,
    Action,
    after_fork_in_child,
    background_loop,
    in_thread,
    slots_of,
)
from micropie._core.execution.cancellation import CANCEL_GRACE, GracefulScope
from micropie._core.execution.lane import LeftCall
from micropie._core.execution.placement import AnyFunction, Rank, Threads
from micropie._core.execution.steps.steps import AWAIT, CALL, ON_LOOP, kind_of, no_function
from micropie._core.on_demand import Value

_running: set[Future[None]] = set()
# under WSGI: resources to close when a call that has used them has ended
_left: set[Future[None]] = set()
after_fork_in_child(_running.clear)  # the parent's tasks don't run in the child
after_fork_in_child(_left.clear)

# These threads are separate from those of handlers, so that no handler waits for functions that run
# after a response. 40 threads are anyio's default limit. The number of waiting calls is limited,
# because each keeps a request and its uploads in memory; 1000 is also the limit for handlers.
_THREADS = Threads(40, 1000)


class Task(NamedTuple):
    """A function to call after a response, with its arguments."""

    function: AnyFunction
    arguments: Sequence[object]


def call_each(
    functions: Iterable[AnyFunction],
    arguments: Sequence[object],
    report: Callable[[Exception], object],
) -> None:
    """Call each function, even if another one fails. ``report`` is called with each failure. An
    async function counts as a failure, because nothing awaits its result.

    Raises, at the end, what must reach the server; see ``execution.contained``.
    """
    fatal: BaseException | None = None
    try:
        for function in functions:
            try:
                if (result := function(*arguments)) is not None and iscoroutine(result):
                    raise TypeError(f"{name_of(function)} must not be async: it can't be awaited")
            except BaseException as error:
                failure = error if isinstance(error, Exception) else execution.failure_of(error)
                if failure is None:
                    fatal = error
                else:
                    report(failure)
                del failure  # avoid a reference cycle between the exception and this frame
        if fatal is not None:
            raise fatal
    finally:
        del fatal  # avoid a reference cycle between the exception and this frame


class Ends:
    """The functions that a request calls when it ends or fails. A request has an ``Ends`` object
    only if there is something to call; see ``Exchange.at_end``.

    At the end of the request, first ``closers`` are called, then ``tasks``, which may block or
    await, and last ``releases``.
    """

    context: Context
    """The context in which ``after_response`` was last called."""

    # Most requests need one of these at most, so each list is made when it is needed.
    before_head: list[Callable[[Any], object]] | tuple[()] = ()
    """Called with the response when the first chunk of a stream has been produced."""
    failure_reports: list[Callable[[BaseException], object]] | tuple[()] = ()
    """Called with each failure of the request, like the function of the setting ``on_error``."""
    closers: list[Action] | tuple[()] = ()  # called when the response is over
    tasks: list[Task] | tuple[()] = ()
    """The ``after_response`` functions that have not ended."""
    releases: list[Action] | tuple[()] = ()  # called after the ``after_response`` functions

    def add_change(self, change: Callable[[Any], object]) -> None:
        self.before_head = _with(self.before_head, change)

    def discard_changes(self) -> None:
        """Call none of the functions in ``before_head``."""
        self.before_head = ()

    def add_report(self, report: Callable[[BaseException], object]) -> None:
        self.failure_reports = _with(self.failure_reports, report)

    def add_closer(self, close: Action) -> None:
        if self.closers:  # without a call, as in ``add_release``, because many requests do this
            self.closers.append(close)
        else:
            self.closers = [close]

    def take_closers(self) -> Sequence[Action]:
        """Remove and return the functions to call when the response is over."""
        closers, self.closers = self.closers, ()
        return closers

    def add_task(self, task: Task) -> None:
        """Add a function to call after the response, in the current context."""
        self.tasks = _with(self.tasks, task)
        self.context = copy_context()

    def discard_tasks(self) -> None:
        """Call none of the remaining ``after_response`` functions."""
        self.tasks = ()

    def add_release(self, release: Action) -> None:
        if self.releases:
            self.releases.append(release)
        else:
            self.releases = [release]

    def __del__(self) -> None:
        """Log the functions that were never called, because the request had ended before. A request
        without such functions doesn't note its end, so this can't be known earlier.
        """
        if self.closers or self.tasks:
            late = [(name_of(close), "on_close") for close in self.closers]
            late += [(name_of(task.function), "after_response") for task in self.tasks]
            for name, method in late:
                logger.warning(
                    "%s was passed to %s, but never called, because its request had ended",
                    name,
                    method,
                )


def _with(functions: list[Value] | tuple[()], added: Value) -> list[Value]:
    """Add a function to a list, which is made if there is none."""
    if functions:
        functions.append(added)
        return functions
    return [added]


class Answered(Protocol):
    """The members of a request that ``run_tasks`` uses after the response."""

    @property
    def label(self) -> str: ...

    def log_failure(self, sentence: str, failure: BaseException, /) -> None:
        """Log an exception and pass it to ``App(on_error=...)``."""

    def note_left_call(self, call: LeftCall, /) -> None:
        """Record that ``call`` goes on in its thread after the time limit."""

    def release(self) -> None:
        """Release the resources that the request keeps for its ``after_response`` functions."""


def start_tasks(exchange: Answered, ends: Ends, seconds: float, backend: str) -> None:
    """Start the functions that a request has passed to ``after_response``, on the background loop
    of ``backend``. Don't wait for them.

    ``seconds``: the time limit for all of them together.
    """
    try:
        loop = background_loop(backend)
    except SetupError as error:  # gevent has replaced threads, so there is no loop
        call = partial(ends.context.run, _run_without_loop, exchange, ends, str(error))
        Thread(target=call).start()
        return
    end = hold_shutdown()
    ends.context.run(loop.spawn, end, partial(run_tasks, exchange, ends, seconds, end))


def _run_without_loop(exchange: Answered, ends: Ends, why: str) -> None:
    """Run a request's ``def`` functions passed to ``after_response``, in this greenlet and without
    a time limit. Log ``why`` as the error of each ``async def`` function.
    """
    try:
        for task in ends.tasks:
            try:
                if kind_of(task.function) is AWAIT:
                    raise SetupError(why)
                task.function(*task.arguments)
            except BaseException as error:
                exchange.log_failure(f"{_label(exchange, task)} failed", error)
        ends.discard_tasks()
    finally:
        exchange.release()


def hold_shutdown(*, is_left: bool = False) -> Action:
    """Let ``wait_for_tasks`` wait until the returned function is called.

    ``is_left``: whether this depends on a call that may never end.
    """
    running, ended = _left if is_left else _running, Future[None]()
    running.add(ended)
    ended.add_done_callback(running.discard)
    return partial(ended.set_result, None)


def wait_for_tasks(seconds: float) -> None:
    """Wait until the ``after_response`` functions of all requests, and what mounted ASGI
    applications do after their responses, have ended, but at most ``seconds``. Then wait, but not
    for long, until what calls have used that were left in their threads is closed. Shutdown waits
    here before it closes the resources that they use.
    """
    wait([*_running], timeout=seconds)
    wait([*_left], timeout=CALL.leave_after)
    _left.clear()  # the next application's shutdown doesn't wait for a hanging call again


async def run_tasks(
    exchange: Answered, ends: Ends, seconds: float, tell_end: Action = no_function
) -> None:
    """Run the functions that a request has passed to ``after_response``, in at most ``seconds``
    altogether. Then release the request's resources, and call ``tell_end``.

    Raises only cancellations.
    """
    begun = None  # the function that was called last

    def begin(task: Task) -> object:
        nonlocal begun
        begun = task
        return task.function(*task.arguments)

    try:
        with anyio.CancelScope(shield=True), GracefulScope(TASKS.get()) as scope:
            scope.cancel_after(seconds, CANCEL_GRACE)
            tasks = ends.tasks  # these functions may add others
            while tasks:
                await _run(exchange, tasks[0], begin)
                del tasks[0]
        for task in ends.tasks:
            end = "did not finish" if task is begun else "did not start"
            logger.error("%s %s in %g s (background_timeout)", _label(exchange, task), end, seconds)
        ends.discard_tasks()
    finally:
        try:
            exchange.release()
        finally:
            tell_end()


async def _run(exchange: Answered, task: Task, begin: Callable[[Task], object]) -> None:
    kind = kind_of(task.function)
    try:
        if kind is AWAIT or kind is ON_LOOP:
            result = begin(task)
        elif slots_of(_THREADS).usage()[1] < _THREADS.queue:
            # The rank is HOLDING, because the function may close something that the handler left
            # open and for which other requests wait.
            result = await in_thread(
                _THREADS,
                begin,
                task,
                abandon_after=0.0,
                rank=Rank.HOLDING,
                on_left=exchange.note_left_call,
            )
        else:
            logger.error(
                "%s did not start: %d calls are already waiting for a thread",
                _label(exchange, task),
                _THREADS.queue,
            )
            return
        if isawaitable(result):
            await result
    except BaseException as error:
        is_cancellation = isinstance(error, anyio.get_cancelled_exc_class())
        failure = execution.contained(error) if is_cancellation else error
        # Log a SystemExit instead of raising it, because it would end the loop and the functions of
        # other requests.
        exchange.log_failure(f"{_label(exchange, task)} failed", failure)
        del failure  # avoid a reference cycle between the exception and this frame


def _label(exchange: Answered, task: Task) -> str:
    return f"{exchange.label}: {name_of(task.function)}, after the response,"
