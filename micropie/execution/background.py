"""Functions that run after the response, ``request.after_response``: on an event loop, under both protocols.

The functions of one request run one after the other, in the context of the call of ``after_response``. They are
shielded: neither a client that leaves nor a server that ends cuts them short. The setting ``background_timeout`` limits
the time of all of them, so that a server can end. Their errors are logged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from contextvars import Context
from functools import partial
from inspect import isawaitable
from typing import Any, Protocol

from anyio import get_cancelled_exc_class, move_on_after

from micropie.execution.fork import after_fork_in_child
from micropie.execution.placement import Threads
from micropie.execution.portal import get_loop
from micropie.execution.steps import AWAIT, INLINE, kind_of
from micropie.execution.threads import in_thread

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

    exchange.context.run(get_loop(backend).spawn, end, run)


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
