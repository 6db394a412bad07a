"""What the application's author set for one ``App`` of a tree: settings, sessions, hooks, error handlers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from micropie.endings import Ending
from micropie.error_handlers import ErrorHandler, ErrorKey
from micropie.errors import HTTPError
from micropie.executors import ExecutorPool
from micropie.forms import Limits
from micropie.pool import Pool
from micropie.sessions import SessionStore
from micropie.settings import Settings
from micropie.templates import Templates


class Threads:
    """What shares one number of worker threads: a tree of applications, or an inner one that states its own.

    ``queue`` is how many handlers may wait for one of them; what else may block always waits.
    """

    def __init__(self, size: int, queue: int = 0) -> None:
        self.size = size
        self.queue = queue


@dataclass(frozen=True, slots=True, eq=False)
class Level:
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
    ending: Ending
    """Of the whole tree: told when the server is told to end."""
    tree: dict[int, Level]
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
