"""What has to end before its time, as a server that is told to end waits for every answer that is still open.

Streams of events and subscriptions say here that they can be ended; whoever hears that it is over, the lifespan or a
stream whose client has left, ends them. No event loop is known here.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar


class ShutdownSignal:
    """Functions that are to be called once, when something ends. From any thread; it takes no lock.

    Each may be called twice if it is added at that very moment, so it must not mind.
    """

    def __init__(self) -> None:
        self.is_over = False
        self._functions: dict[object, Callable[[], object]] = {}

    def add(self, function: Callable[[], object]) -> Callable[[], object]:
        """Have ``function`` called at the end, now if that has come. Returns what takes it away again."""
        key = object()
        self._functions[key] = function
        if self.is_over:
            self._call(key)
        return lambda: self._functions.pop(key, None)

    def end(self) -> None:
        """It is over: call them all. Also those that are added from now on, until ``begin``."""
        self.is_over = True
        for key in list(self._functions):
            self._call(key)

    def begin(self) -> None:
        """Start anew, as an application that is started once more does."""
        self.is_over = False

    def _call(self, key: object) -> None:
        function = self._functions.pop(key, None)
        if function is not None:
            function()


# Of the stream of events that this code makes the events of.
stream_shutdown: ContextVar[ShutdownSignal] = ContextVar("micropie.leaving")
