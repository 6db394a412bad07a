"""``ShutdownSignal``: what ends streams and subscriptions when the server is told to end."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import partial

from micropie.execution import current, no_function


class ShutdownSignal:
    """Functions to call once, when something ends. Thread-safe; it takes no lock.

    A function that is added while ``end`` runs may be called twice, and has to allow for that.
    """

    def __init__(self) -> None:
        self.is_over = False
        self._functions: dict[Callable[[], object], Callable[[], object]] = {}

    def add(self, function: Callable[[], object]) -> Callable[[], object]:
        """Call ``function`` at the end, or now if that has come. Return a function that does what ``leave`` does."""
        self._functions[function] = function
        if self.is_over:
            self._call(function)
        return partial(self.leave, function)

    def leave(self, function: Callable[[], object]) -> None:
        """Forget a function. For idle WebSockets: it takes less memory than to keep what ``add`` returns."""
        self._functions.pop(function, None)

    def end(self) -> None:
        """Call all functions, and from now on, until ``begin``, each that is added."""
        self.is_over = True
        for function in list(self._functions):
            self._call(function)

    def begin(self) -> None:
        """Begin anew, for an application that is started once more."""
        self.is_over = False

    def _call(self, function: Callable[[], object]) -> None:
        self._functions.pop(function, no_function)()


# The signal of the event stream whose events this code makes.
stream_shutdown: ContextVar[ShutdownSignal] = ContextVar("micropie.stream_shutdown")


def current_shutdown() -> ShutdownSignal | None:
    """Return the signal that ends this code: of its event stream, or else of the application. None outside requests."""
    request = current.get(None)
    config = None if request is None else getattr(request._exchange, "config", None)
    return stream_shutdown.get(None) or (None if config is None else config.shutdown)
