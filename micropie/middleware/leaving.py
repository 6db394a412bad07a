"""``@ends_with_client``: cancel a handler when its client has disconnected."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import ParamSpec, TypeVar

from micropie import SetupError, request

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def ends_with_client(
    function: Callable[Arguments, Awaitable[Result]],
) -> Callable[Arguments, Awaitable[Result]]:
    """Cancel the decorated ``async def`` handler when its client disconnects. Use it for work that
    costs money by the second::

        @post
        @ends_with_client
        async def ask(self, question: str) -> Answer:
            return await model(question)

    The handler's resources are closed as after an exception, so a transaction is rolled back. The
    access log shows the status 499. A handler that has already returned is not cancelled. WSGI
    servers don't report that a client has disconnected, so there the handler runs to its end.
    Raises ``SetupError`` for a ``def``, a generator or a WebSocket handler.
    """
    name = getattr(function, "__qualname__", repr(function))
    inner = inspect.unwrap(function)
    if inspect.isasyncgenfunction(inner) or inspect.isgeneratorfunction(inner):
        raise SetupError(
            f"{name} is a stream, which already ends when its client disconnects: leave out "
            "@ends_with_client"
        )
    if not inspect.iscoroutinefunction(inner):
        raise SetupError(
            "@ends_with_client works only on an async def, because a thread or a process can't "
            f"be interrupted: write async def {name}"
        )

    @wraps(function)
    def cancellable(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Awaitable[Result]:
        return request.while_connected(partial(function, *args, **kwargs))

    vars(cancellable)["__micropie_ends_with_client__"] = True
    return cancellable
