"""Functions that run after the response, ``request.after_response``: on an event loop, under both protocols.

The functions of one request run one after the other. They are shielded: neither a client that leaves nor a server that
ends cuts them short. The setting ``background_timeout`` limits the time of all of them, so that a server can end. Their
errors are logged.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future, wait
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from anyio import fail_after, get_cancelled_exc_class, move_on_after

from micropie.execution.context import current
from micropie.execution.fork import after_fork_in_child
from micropie.execution.placement import Threads
from micropie.execution.portal import get_loop
from micropie.execution.steps import AWAIT, INLINE, kind_of
from micropie.execution.threads import in_thread
from micropie.execution.wake import LoopTasks

if TYPE_CHECKING:
    from micropie.http.request import Request


_running: set[Future[None]] = set()
after_fork_in_child(_running.clear)  # they run in the parent


def start_tasks(request: Request) -> None:
    """Run the functions of ``request`` on the process's event loop, in the request's context. Does not wait."""
    ended: Future[None] = Future()
    _running.add(ended)
    ended.add_done_callback(_running.discard)
    end = partial(ended.set_result, None)

    async def run() -> None:
        try:
            await run_tasks(request)
        finally:
            end()

    loop = get_loop(request.config.settings.portal_backend)
    request._context.run(loop.spawn, end, run)


def wait_for_tasks(seconds: float) -> None:
    """Wait until all have ended, at most so many seconds: the shut-down closes what they use."""
    wait([*_running], timeout=seconds)


logger = logging.getLogger("micropie")

# Not those of handlers, which would have to wait for them. 40 is anyio's default for all.
_THREADS = Threads(40)


async def run_tasks(request: Request) -> None:
    """Run the functions of a request that is over, then release what it holds. Raises a cancellation only."""
    with move_on_after(request.config.settings.background_timeout, shield=True) as scope:
        await _run_all(request)
    if scope.cancelled_caught:
        _log_given_up(request)


async def run_tasks_apart(request: Request, tasks: LoopTasks) -> None:
    """Do the same in one of ``tasks``, which nobody cancels: it needs no shield."""
    try:
        with fail_after(request.config.settings.background_timeout):
            await _run_all(request)
    except TimeoutError:
        _log_given_up(request)


def _log_given_up(request: Request) -> None:
    seconds = request.config.settings.background_timeout
    logger.error("%s was given up: background_timeout is %g s", _label(request), seconds)


def _label(request: Request) -> str:
    function = request._task
    return f"{request.label}: {getattr(function, '__qualname__', repr(function))}, after the response,"


async def _run_all(request: Request) -> None:
    token = current.set(request)
    try:
        while request._tasks:
            (function, arguments), *request._tasks = request._tasks
            request._task = function
            result: Any
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
                request.log_failure(f"{_label(request)} failed", error)
        request._task = None  # it may refer to the request, which would be a cycle
    finally:
        current.reset(token)
        request._release()
