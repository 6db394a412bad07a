"""``run_async``: async code called from a ``def``, which waits for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple

from anyio import from_thread

from micropie.execution.context import current_request
from micropie.execution.loop import is_on_loop
from micropie.execution.outcomes import released
from micropie.execution.portal import await_in_portal, awaited_outcome_of
from micropie.execution.threads import served_loop

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


def run_async(function: Callable[[*Arguments], Awaitable[Result]], *arguments: *Arguments) -> Result:
    """Return ``await function(*arguments)``, run on an event loop while this thread waits. For ``def`` code only.

    It is the server's loop under ASGI and the process's own under WSGI, so ``function`` must not block. It sees the
    context variables of the request, ``self.request`` among them, and what it sets is visible here afterwards.

    Raises what ``function`` raises; ``RuntimeError`` on an event loop, where ``await`` does this; ``LookupError``
    in a thread that answers no request.
    """
    if is_on_loop():
        raise RuntimeError(f"this code runs on the event loop: write await instead of run_async for {function!r}")
    loop = served_loop()
    if loop is None:
        backend = current_request().config.settings.portal_backend
        result: Result = await_in_portal(backend, function, arguments)
    else:
        result = released(from_thread.run(awaited_outcome_of, function, arguments, token=loop))
    return result
