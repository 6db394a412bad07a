"""What a request does after its answer, ``request.after_response``: on an event loop, under both protocols.

The functions of one request run one after the other. They are shielded: neither a client that left nor a server that
ends cuts them short; a time limit for them all, the setting ``background_timeout``, keeps such an end from waiting for
ever. Nobody is there to hear of an error, so it is logged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from inspect import isawaitable
from typing import Any

from anyio import get_cancelled_exc_class, move_on_after

from micropie.context import current
from micropie.level import Threads
from micropie.request import Request
from micropie.steps import AWAIT, INLINE, kind_of
from micropie.threads import in_thread

logger = logging.getLogger("micropie")

# Of their own, so that they can't keep handlers waiting. 40 is anyio's default for all.
_THREADS = Threads(40)


async def run_tasks(request: Request) -> None:
    """Run the functions of a request that is over, then release what it holds. Raises nothing but a cancellation."""
    token = current.set(request)
    seconds = request.level.settings.background_timeout
    name = ""
    try:
        with move_on_after(seconds, shield=True) as scope:
            while request.tasks:
                (function, arguments), *request.tasks = request.tasks
                name = getattr(function, "__qualname__", repr(function))
                await _run(function, arguments, f"{request.label}: {name}, after the response,")
        if scope.cancelled_caught:
            logger.error(
                "%s: %s, after the response, was given up: background_timeout is %g s", request.label, name, seconds
            )
    finally:
        current.reset(token)
        request.release()


async def _run(function: Callable[..., Any], arguments: Sequence[Any], label: str) -> None:
    try:
        kind = kind_of(function)
        if kind is AWAIT or kind is INLINE:
            result = function(*arguments)
        else:
            result = await in_thread(_THREADS, function, *arguments, abandon_on_cancel=True)
        if isawaitable(result):
            await result
    except get_cancelled_exc_class():
        raise
    except BaseException:  # a SystemExit of one would end the loop for everybody's
        logger.exception("%s failed", label)
