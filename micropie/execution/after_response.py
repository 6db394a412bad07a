"""Functions that run after the response.

The functions of ``request.after_response`` run on an event loop under both protocols: those of one request one after
the other, in the context of the call of ``after_response``. They are shielded: neither a client that leaves nor a
server that ends cuts them short. The setting ``background_timeout`` limits the time of all of them, so that a server
can end. Their errors are logged.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, wait
from contextvars import Context
from functools import partial
from inspect import isawaitable
from typing import Any, NamedTuple, Protocol, TypeVar

import anyio

from micropie.errors import logger
from micropie.execution.background import background_loop
from micropie.execution.fork import after_fork_in_child
from micropie.execution.loop import current
from micropie.execution.placement import Threads
from micropie.execution.steps import AWAIT, INLINE, Flow, Kind, kind_of
from micropie.execution.threads import in_thread, usage_of

Value = TypeVar("Value")

_running: set[Future[None]] = set()
after_fork_in_child(_running.clear)  # they run in the parent

# Not those of handlers, which would have to wait for them. 40 is anyio's default for all. As many calls may wait as
# handlers do by default; each keeps a request and its uploads.
_THREADS = Threads(40, 1000)


class Task(NamedTuple):
    """A function and its arguments. ``asking``: the resources that it asks for besides, None for none."""

    function: Callable[..., object]
    arguments: Sequence[object]
    asking: object


class TaskFlows(NamedTuple):
    """The flows that open and close resources, which the rooms above have."""

    open: Callable[[Any, Any], Flow[dict[str, object]]]  # of the request, and what a task asks for
    close: Callable[[Any, Exception | None], Flow[None]]  # of the exchange, and the function's failure


class Answered(Protocol):
    """A request whose answer is over. ``tasks`` are the functions that have not ended."""

    context: Context
    tasks: Sequence[Task]
    resources: Sequence[Any]
    """Those that are open for the function that runs."""
    provided: dict[Any, object]
    has_task_begun: bool
    """Whether the first of them runs."""

    @property
    def label(self) -> str: ...

    def log_failure(self, sentence: str, failure: BaseException, /) -> None:
        """Log an exception and report it."""

    def release(self) -> None:
        """Release what the request has kept for its functions."""

    def perform_async(self, flow: Flow[Value], /) -> Awaitable[Value]:
        """Perform a flow on this event loop, or in a thread."""

    def abandon(self) -> Awaitable[None]:
        """Close what is open for a function that was cancelled."""


def start_tasks(exchange: Answered, seconds: float, flows: TaskFlows, backend: str) -> None:
    """Run the functions of a request on the process's event loop of this backend. Does not wait."""
    ended: Future[None] = Future()
    _running.add(ended)
    ended.add_done_callback(_running.discard)
    end = partial(ended.set_result, None)

    async def run() -> None:
        try:
            await run_tasks(exchange, seconds, flows)
        finally:
            end()

    exchange.context.run(background_loop(backend).spawn, end, run)


def wait_for_tasks(seconds: float) -> None:
    """Wait until all have ended, at most so many seconds: the shut-down closes what they use."""
    wait([*_running], timeout=seconds)


async def run_tasks(exchange: Answered, seconds: float, flows: TaskFlows) -> None:
    """Run the functions within ``seconds`` in all, then release what the request holds. Raises a cancellation only."""
    try:
        with anyio.move_on_after(seconds, shield=True):
            while exchange.tasks:
                await _run(exchange, exchange.tasks[0], flows)
                exchange.has_task_begun, exchange.tasks = False, exchange.tasks[1:]
        while exchange.tasks:
            end = "was given up" if exchange.has_task_begun else "did not begin"
            logger.error("%s %s: background_timeout is %g s", _label(exchange), end, seconds)
            exchange.has_task_begun, exchange.tasks = False, exchange.tasks[1:]
    finally:
        exchange.release()
        del exchange.context  # it refers to the request, which would be a cycle


async def _run(exchange: Answered, task: Task, flows: TaskFlows) -> None:
    failure: BaseException | None = None
    try:
        function = task.function
        if task.asking is not None:
            function = partial(function, **await exchange.perform_async(flows.open(current.get(), task.asking)))
        await _call(exchange, kind_of(task.function), function, task.arguments)
    except anyio.get_cancelled_exc_class():
        await _abandon(exchange)
        raise
    except BaseException as error:  # a SystemExit would end the loop, and with it the tasks of other requests
        exchange.log_failure(f"{_label(exchange)} failed", error)
        failure = error
    try:
        if exchange.resources and (failure is None or isinstance(failure, Exception)):
            await exchange.perform_async(flows.close(exchange, failure))
    finally:
        failure = None
        await _abandon(exchange)


async def _abandon(exchange: Answered) -> None:
    """Close what a function has left open that was cancelled, or that wanted to end the process."""
    if exchange.resources:
        await exchange.abandon()
        exchange.resources, exchange.provided = (), {}


async def _call(exchange: Answered, kind: Kind, function: Callable[..., Any], arguments: Sequence[object]) -> None:
    if kind is AWAIT or kind is INLINE:
        result = _begin(exchange, function, arguments)
    elif usage_of(_THREADS)[1] < _THREADS.queue:
        result = await in_thread(_THREADS, _begin, exchange, function, arguments, abandon_after=0.0)
    else:
        logger.error("%s did not begin: already %d wait for a thread", _label(exchange), _THREADS.queue)
        return
    if isawaitable(result):
        await result


def _begin(exchange: Answered, function: Callable[..., Any], arguments: Sequence[object]) -> Any:
    exchange.has_task_begun = True
    return function(*arguments)


def _label(exchange: Answered) -> str:
    function = exchange.tasks[0].function
    return f"{exchange.label}: {getattr(function, '__qualname__', repr(function))}, after the response,"
