"""Shutdown callbacks. A server waits for open responses before it exits, so event streams and subscriptions register
here to be closed early.

The lifespan calls ``end`` when the server is told to end, and a stream calls it when its client has left. No event loop
is known here.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar


class ShutdownSignal:
    """Functions to call once, when something ends. Thread-safe; it takes no lock.

    A function that is added while ``end`` runs may be called twice, and has to allow for that.
    """

    def __init__(self) -> None:
        self.is_over = False
        self._functions: dict[object, Callable[[], object]] = {}

    def add(self, function: Callable[[], object]) -> Callable[[], object]:
        """Call ``function`` at the end, or now if that has come. Return a function that removes it."""
        key = object()
        self._functions[key] = function
        if self.is_over:
            self._call(key)
        return lambda: self._functions.pop(key, None)

    def join(self, function: Callable[[], object]) -> None:
        """Call ``function`` at the end, unless it is given to ``leave``. For idle WebSockets: it takes less memory."""
        self._functions[function] = function

    def leave(self, function: Callable[[], object]) -> None:
        """Forget a function that was given to ``join``."""
        self._functions.pop(function, None)

    def end(self) -> None:
        """Call all functions, and from now on, until ``begin``, each that is added."""
        self.is_over = True
        for key in list(self._functions):
            self._call(key)

    def begin(self) -> None:
        """Begin anew, for an application that is started once more."""
        self.is_over = False

    def _call(self, key: object) -> None:
        function = self._functions.pop(key, None)
        if function is not None:
            function()


# The signal of the event stream whose events this code makes.
stream_shutdown: ContextVar[ShutdownSignal] = ContextVar("micropie.stream_shutdown")
