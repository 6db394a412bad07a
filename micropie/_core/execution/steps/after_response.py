"""Functions that run after the response.

The functions of ``request.after_response`` run on an event loop under both protocols: those of one
request one after the other, in the context in which ``after_response`` was called. They are
shielded, so neither a client that disconnects nor a server that shuts down interrupts them. The
setting ``background_timeout`` limits the time of all functions of a request, so that a server can
shut down. Their errors are logged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from contextvars import Context, copy_context
from functools import partial
from inspect import isawaitable
from threading import Thread
from typing import Any, NamedTuple, Protocol

import anyio

from micropie._core import execution
from micropie._core.errors import SetupError, logger
from micropie._core.execution import (
    Action,
    after_fork_in_child,
    background_loop,
    in_thread,
    slots_of,
)
from micropie._core.execution.placement import AnyFunction, Rank, Threads
from micropie._core.execution.steps.steps import AWAIT, INLINE, kind_of

_running: set[Future[None]] = set()
after_fork_in_child(_running.clear)  # the parent runs these tasks, not the child

# Not the threads of handlers, which would then have to wait for these functions. 40 is anyio's
# default. As many calls may wait as handlers by default; each keeps a request and its uploads in
# memory.
_THREADS = Threads(40, 1000)


class Task(NamedTuple):
    """A function to call after a response, with its arguments."""

    function: AnyFunction
    arguments: Sequence[object]


class Ends:
    """The functions to call at the end of a request: ``closers`` at once, then ``tasks``, which may
    wait, then ``releases``.

    ``before_head`` is called earlier, if the response is a stream, and ``failure_reports`` for each
    failure that no client sees. A request has an ``Ends`` only if there is something to call; see
    ``Exchange.at_end``.
    """

    context: Context
    """The context in which ``after_response`` was last called."""

    def __init__(self) -> None:
        self.before_head: list[Callable[[Any], object]] = []
        """Functions that are called with the response when a stream has its first chunk."""
        self.failure_reports: list[Callable[[BaseException], object]] = []
        """Functions that are called like the setting ``on_error``."""
        self.closers: list[Action] = []
        self.tasks: list[Task] = []
        """The functions of ``after_response`` that have not ended."""
        self.releases: list[Action] = []

    def add_task(self, task: Task) -> None:
        """Call a function after the response, in the current context."""
        self.tasks.append(task)
        self.context = copy_context()


class Answered(Protocol):
    """A request whose response is over."""

    @property
    def label(self) -> str: ...

    def log_failure(self, sentence: str, failure: BaseException, /) -> None:
        """Log an exception and report it."""

    def release(self) -> None:
        """Release what the request keeps for these functions."""


def start_tasks(exchange: Answered, ends: Ends, seconds: float, backend: str) -> None:
    """Run the functions of a request on the background loop of this backend. Doesn't wait for
    them.
    """
    try:
        loop = background_loop(backend)
    except SetupError as error:  # gevent's greenlets are not threads
        call = partial(ends.context.run, _run_without_loop, exchange, ends, str(error))
        Thread(target=call).start()
        return
    ended: Future[None] = Future()
    _running.add(ended)
    ended.add_done_callback(_running.discard)
    end = partial(ended.set_result, None)

    async def run() -> None:
        try:
            await run_tasks(exchange, ends, seconds)
        finally:
            end()

    ends.context.run(loop.spawn, end, run)


def _run_without_loop(exchange: Answered, ends: Ends, why: str) -> None:
    """Run the ``def`` functions of a request in this greenlet, without a time limit."""
    try:
        for task in ends.tasks:
            try:
                if kind_of(task.function) is AWAIT:
                    raise SetupError(why)
                task.function(*task.arguments)
            except BaseException as error:
                exchange.log_failure(f"{_label(exchange, task)} failed", error)
        ends.tasks.clear()
    finally:
        exchange.release()


def wait_for_tasks(seconds: float) -> None:
    """Wait until all functions have ended, at most ``seconds``, because the shutdown closes what
    they use.
    """
    wait([*_running], timeout=seconds)


async def run_tasks(exchange: Answered, ends: Ends, seconds: float) -> None:
    """Run the functions, with ``seconds`` for all of them, then release what the request holds.

    Raises only a cancellation.
    """
    begun = None  # the task that is running

    def begin(task: Task) -> Any:
        nonlocal begun
        begun = task
        return task.function(*task.arguments)

    try:
        with anyio.move_on_after(seconds, shield=True):
            while ends.tasks:
                await _run(exchange, ends.tasks[0], begin)
                del ends.tasks[0]
        for task in ends.tasks:
            end = "was abandoned" if task is begun else "did not start"
            logger.error("%s %s: background_timeout is %g s", _label(exchange, task), end, seconds)
        ends.tasks.clear()
    finally:
        exchange.release()


async def _run(exchange: Answered, task: Task, begin: Callable[[Task], Any]) -> None:
    kind = kind_of(task.function)
    try:
        if kind is AWAIT or kind is INLINE:
            result = begin(task)
        elif slots_of(_THREADS).usage()[1] < _THREADS.queue:
            # It may close what the handler left open, for which others may wait.
            result = await in_thread(_THREADS, begin, task, abandon_after=0.0, rank=Rank.HOLDING)
        else:
            logger.error(
                "%s did not start: %d already wait for a thread",
                _label(exchange, task),
                _THREADS.queue,
            )
            return
        if isawaitable(result):
            await result
    except BaseException as error:
        is_cancellation = isinstance(error, anyio.get_cancelled_exc_class())
        failure = execution.contained(error) if is_cancellation else error
        # A SystemExit would end the loop, and with it the functions of other requests.
        exchange.log_failure(f"{_label(exchange, task)} failed", failure)
        del failure  # or its cause's traceback and this frame would refer to each other


def _label(exchange: Answered, task: Task) -> str:
    name = getattr(task.function, "__qualname__", repr(task.function))
    return f"{exchange.label}: {name}, after the response,"
