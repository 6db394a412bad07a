"""Functions that run after the response, ``request.after_response``: on an event loop, under both protocols.

The functions of one request run one after the other. They are shielded: neither a client that leaves nor a server that
ends cuts them short. The setting ``background_timeout`` limits the time of all of them, so that a server can end. Their
errors are logged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from inspect import isawaitable
from typing import TYPE_CHECKING

from anyio import get_cancelled_exc_class, move_on_after

from micropie.execution.context import current
from micropie.execution.fork import after_fork_in_child
from micropie.execution.placement import Threads
from micropie.execution.portal import get_portal
from micropie.execution.steps import AWAIT, INLINE, kind_of
from micropie.execution.threads import in_thread

if TYPE_CHECKING:
    from micropie.http.request import Request


_running: set[Future[None]] = set()
after_fork_in_child(_running.clear)  # they run in the parent


def start_tasks(request: Request) -> None:
    """Run the functions of ``request`` on the process's event loop, in the request's context. Does not wait."""
    portal = get_portal(request.config.settings.portal_backend)
    task = request._context.run(portal.start_task_soon, run_tasks, request)
    _running.add(task)
    task.add_done_callback(_running.discard)


def wait_for_tasks(seconds: float) -> None:
    """Wait until all have ended, at most so many seconds: the shut-down closes what they use."""
    wait([*_running], timeout=seconds)


logger = logging.getLogger("micropie")

# Not those of handlers, which would have to wait for them. 40 is anyio's default for all.
_THREADS = Threads(40)


async def run_tasks(request: Request) -> None:
    """Run the functions of a request that is over, then release what it holds. Raises a cancellation only."""
    token = current.set(request)
    seconds = request.config.settings.background_timeout
    label = ""
    try:
        with move_on_after(seconds, shield=True) as scope:
            while request._tasks:
                (function, arguments), *request._tasks = request._tasks
                name = getattr(function, "__qualname__", repr(function))
                label = f"{request.label}: {name}, after the response,"
                await _run(request, function, arguments, label)
        if scope.cancelled_caught:
            logger.error("%s was given up: background_timeout is %g s", label, seconds)
    finally:
        current.reset(token)
        request._release()


async def _run(request: Request, function: Callable[..., object], arguments: Sequence[object], label: str) -> None:
    try:
        if kind_of(function) in (AWAIT, INLINE):
            result = function(*arguments)
        else:
            result = await in_thread(_THREADS, function, *arguments, abandon_on_cancel=True)
        if isawaitable(result):
            await result
    except get_cancelled_exc_class():
        raise
    except BaseException as error:  # a SystemExit would end the loop, and with it the tasks of other requests
        request.log_failure(f"{label} failed", error)
