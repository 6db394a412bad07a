"""``@ends_with_client``: cancel a handler when its client has disconnected."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import Any, TypeVar, cast

from micropie import SetupError, request

Function = TypeVar("Function", bound=Callable[..., Any])


def ends_with_client(function: Function) -> Function:
    """Cancel the decorated ``async def`` handler when its client disconnects. Use it for work that
    costs money by the second::

        @post
        @ends_with_client
        async def ask(self, question: str) -> Answer:
            return await model(question)

    The handler's resources are closed as after an exception, so a transaction is rolled back. The
    access log shows the status 499. A handler that has already returned is not cancelled. WSGI
    servers don't report that a client has disconnected, so there the handler runs to its end.
    A ``def`` needs ``@run_in("process")`` below this decorator: its call in the pool is stopped.
    Raises ``SetupError`` for any other ``def``, a generator or a WebSocket handler.
    """
    name = getattr(function, "__qualname__", repr(function))
    inner = inspect.unwrap(function)
    if inspect.isasyncgenfunction(inner) or inspect.isgeneratorfunction(inner):
        raise SetupError(
            f"{name} is a stream, which already ends when its client disconnects: leave out "
            "@ends_with_client"
        )
    mark = "__micropie_ends_with_client__"
    if getattr(function, "__micropie_run_in__", None) == "process":
        vars(function)[mark] = True
        return function
    if not inspect.iscoroutinefunction(inner):
        raise SetupError(
            '@ends_with_client works only on an async def or above @run_in("process"), because a '
            f"thread can't be interrupted: write async def {name}"
        )

    @wraps(function)
    def cancellable(*args: object, **kwargs: object) -> Awaitable[object]:
        return request.while_connected(partial(function, *args, **kwargs))

    vars(cancellable)[mark] = True
    return cast("Function", cancellable)
