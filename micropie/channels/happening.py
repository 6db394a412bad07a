"""What a thread or a task may wait for, while it happens in any other."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from threading import Lock


class Happening:
    """Functions that are called once it has happened. What decides that is changed under ``_lock`` alone."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: list[Callable[[], object]] = []

    @abstractmethod
    def _has_happened(self) -> bool:
        """Whether there is nothing to wait for."""

    def call(self, function: Callable[[], object]) -> None:
        """Call ``function`` once when it happens, now if it has."""
        with self._lock:
            if not self._has_happened():
                self._waiting.append(function)
                return
        function()

    def forget(self, function: Callable[[], object]) -> None:
        """Don't call it any more."""
        with self._lock:
            if function in self._waiting:
                self._waiting.remove(function)

    def _call_waiting(self) -> None:
        if self._waiting:
            with self._lock:
                waiting, self._waiting = self._waiting, []
            for function in waiting:
                function()
