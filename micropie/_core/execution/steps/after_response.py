"""Functions that run after the response.

The functions of ``request.after_response`` run on an event loop under both protocols: those of one
request one after the other, in the context of the call of ``after_response``. They are shielded:
neither a client that leaves nor a server that ends cuts them short. The setting
``background_timeout`` limits the time of all of them, so that a server can end. Their errors are
logged.
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
after_fork_in_child(_running.clear)  # they run in the parent

# Not those of handlers, which would have to wait for them. 40 is anyio's default for all. As many
# calls may wait as handlers do by default; each keeps a request and its uploads.
_THREADS = Threads(40, 1000)


class Task(NamedTuple):
    """A function and its arguments."""

    function: AnyFunction
    arguments: Sequence[object]


class Ends:
    """What is called at the end of a request: ``closers`` at once, then ``tasks``, which may wait,
    then ``releases``.

    ``before_head`` is called earlier, if the answer is a stream, and ``failure_reports`` for each
    failure that no client sees. A request has an ``Ends`` as soon as there is anything to call, see
    ``Exchange.at_end``.
    """

    context: Context
    """The context of the last call of ``after_response``."""

    def __init__(self) -> None:
        self.before_head: list[Callable[[Any], object]] = []
        """Called with the response when a stream has its first chunk."""
        self.failure_reports: list[Callable[[BaseException], object]] = []
        """Called as ``on_error`` is."""
        self.closers: list[Action] = []
        self.tasks: list[Task] = []
        """The functions of ``after_response`` that have not ended."""
        self.releases: list[Action] = []

    def add_task(self, task: Task) -> None:
        """Call a function after the answer, in the current context."""
        self.tasks.append(task)
        self.context = copy_context()


class Answered(Protocol):
    """A request whose answer is over."""

    @property
    def label(self) -> str: ...

    def log_failure(self, sentence: str, failure: BaseException, /) -> None:
        """Log an exception and report it."""

    def release(self) -> None:
        """Release what the request has kept for its functions."""


def start_tasks(exchange: Answered, ends: Ends, seconds: float, backend: str) -> None:
    """Run the functions of a request on the process's event loop of this backend. Does not wait."""
    try:
        loop = background_loop(backend)
    except SetupError as error:  # gevent's greenlets are no threads
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
    """Wait until all have ended, at most so many seconds: the shutdown closes what they use."""
    wait([*_running], timeout=seconds)


async def run_tasks(exchange: Answered, ends: Ends, seconds: float) -> None:
    """Run the functions within ``seconds`` in all, then release what the request holds.

    Raises a cancellation only.
    """
    begun = None  # the task that runs

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
            # it may close what the handler has left open, and what others wait for
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
        # a SystemExit would end the loop, and with it the tasks of other requests
        exchange.log_failure(f"{_label(exchange, task)} failed", failure)
        del failure  # its cause's traceback refers to this frame


def _label(exchange: Answered, task: Task) -> str:
    name = getattr(task.function, "__qualname__", repr(task.function))
    return f"{exchange.label}: {name}, after the response,"
