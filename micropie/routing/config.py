"""What one ``App`` of a tree is configured with: its settings, its own error handlers, and what it inherits."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from micropie.errors import HTTPError, SetupError
from micropie.execution.steps import Flow, call, kind_of
from micropie.http.response import Response, as_response, states_status
from micropie.routing.settings import Settings

if TYPE_CHECKING:
    from micropie.execution.executors import ExecutorPool
    from micropie.execution.placement import Threads
    from micropie.execution.pool import Pool
    from micropie.execution.shutdown import ShutdownSignal
    from micropie.http.forms import Limits
    from micropie.sessions import SessionStore
    from micropie.templates import Templates


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


@dataclass(frozen=True, slots=True, eq=False)
class AppConfig:
    """One ``App`` with what it inherits from those it lives in; each of its routes refers to it.

    ``middlewares``, ``ws_middlewares``: those of the outermost application to this one, live, so that one appended
    late counts; for the outermost application its own list, as it is looked at with every request.
    ``error_handlers``: by status or exception class, this application's own before those around it.
    """

    settings: Settings
    threads: Threads
    pool: Pool | ExecutorPool
    pool_threads: Threads
    """Those that wait for the pool."""
    limits: Limits
    sessions: SessionStore
    middlewares: Iterable[Any]
    ws_middlewares: Iterable[Any]
    error_handlers: dict[ErrorKey, ErrorHandler]
    app: object
    prefix: str
    """Where ``app`` lies in the tree: "" or "/blog"."""
    templates: Templates
    channels: Any
    """``Channels``: where it publishes and subscribes."""
    shutdown: ShutdownSignal
    """Of the whole tree: told when the server is told to end."""
    tree: dict[int, AppConfig]
    """The levels of the whole tree by the id of their application; of one that is in it twice, the first."""

    def error_handler_for(self, error: Exception, status: int) -> tuple[ErrorHandler | None, bool]:
        """The author's handler for an error, the nearest there is, and whether the error was expected.

        Nearest is its class, then its base classes, then its status, then ``HTTPError`` and ``Exception``, which
        are as good as "any". It was expected if a class was named, and that was not ``Exception``.
        """
        kinds = type(error).__mro__
        own: list[ErrorKey] = [kind for kind in kinds if kind not in _ANY and kind in self.error_handlers]
        if own:
            return self.error_handlers[own[0]], True
        other: list[ErrorKey] = [key for key in (status, *kinds) if key in self.error_handlers]
        return (self.error_handlers[other[0]], False) if other else (None, False)


_ANY: tuple[type[Exception], ...] = (HTTPError, Exception)
