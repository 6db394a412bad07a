"""What the application's author set for one ``App`` of a tree: settings, sessions, hooks, error handlers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from micropie.error_handlers import ErrorHandler, ErrorKey
from micropie.forms import Limits
from micropie.sessions import SessionStore
from micropie.settings import Settings


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Level:
    """One ``App`` with what it inherits from those it lives in; each of its routes refers to it.

    ``middlewares``: those of the outermost application to this one, live, so that one appended late counts; for
    the outermost application its own list, for it is looked at with every request. ``error_handlers``: by status or exception class, this application's own first.
    """

    settings: Settings
    limits: Limits
    sessions: SessionStore
    middlewares: Iterable[Any]
    error_handlers: dict[ErrorKey, ErrorHandler]

    def error_handler_for(self, error: Exception, status: int) -> tuple[ErrorHandler | None, bool]:
        """The handler of the error's class or nearest base class, else of its status; and whether the author
        expected it, by naming its class or a base class other than ``Exception``."""
        for kind in type(error).__mro__:
            handler = self.error_handlers.get(kind)
            if handler is not None:
                return handler, kind is not Exception
        return self.error_handlers.get(status), False
