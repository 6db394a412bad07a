"""``@app.error(404)`` and ``@app.error(SomeException)``: the author's answers to errors."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeAlias

from micropie.errors import SetupError
from micropie.response import Response, as_response, states_status
from micropie.steps import Flow, call, kind_of

ErrorKey: TypeAlias = int | type


class ErrorHandler:
    """A function of one parameter, the error, or of none; ``def`` or ``async def``."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._kind = kind_of(function)
        parameters = inspect.signature(function).parameters
        if len(parameters) > 1:
            raise SetupError(f"the error handler {function.__name__} takes one parameter, the error, or none")
        self._takes_error = bool(parameters)

    def respond(self, error: Exception, status: int) -> Flow[Response]:
        """What the author answers; the status is the error's unless the answer states one."""
        result = yield from call(self._kind, self._function, *((error,) if self._takes_error else ()))
        response = as_response(result)
        if not states_status(result):
            response.status = status
        return response


def check_error_key(key: object) -> ErrorKey:
    """A status from 400 to 599 or an exception class; raises ``SetupError`` for anything else."""
    if isinstance(key, int) and not isinstance(key, bool) and 400 <= key <= 599:
        return key
    if isinstance(key, type) and issubclass(key, Exception):
        return key
    raise SetupError(f"@app.error takes a status from 400 to 599 or an exception class, not {key!r}")
