"""Calls in another process, as their caller sees them: how one is cancelled, and the chunks of a generator there."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress

# Seconds that a stream may take to close when its chunks are not wanted.
GRACE = 5.0


class PoolError(Exception):
    """A call that could not be made in the pool, or whose outcome could not be brought back. The message says why."""


class CancelToken:
    """Cancels a blocking call from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stop: Callable[[], object] | None = None
        self.is_cancelled = False

    def attach(self, stop: Callable[[], object]) -> None:
        """Call ``stop`` when the call is cancelled, or now if it has been. It replaces the function before."""
        with self._lock:
            self._stop = stop
            if self.is_cancelled:
                stop()

    def check(self) -> None:
        """Raise ``PoolError`` if the call has been cancelled."""
        if self.is_cancelled:
            raise PoolError("its caller has been cancelled")

    def detach(self) -> bool:
        """Forget the function: there is nothing left to stop. Return whether the call was cancelled."""
        with self._lock:
            self._stop = None
            return self.is_cancelled

    def cancel(self) -> None:
        """Stop the call. Does not block, in any thread."""
        with self._lock:
            self.is_cancelled = True
            if self._stop is not None:
                self._stop()


class RemoteChunks(Iterator[object]):
    """The chunks of a generator in another process. ``close`` waits for a chunk that is under way.

    ``interrupt_next`` ends the wait for the next chunk. It may be called by any thread, at any time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._token = CancelToken()
        self.interrupt_next = self._token.cancel

    def __next__(self) -> object:
        with self._lock:
            return self._next()

    def close(self) -> None:
        """Close the generator where it is. Raises what that raises, if it comes within ``GRACE`` seconds."""
        with self._lock:
            self._close()

    def drop(self) -> None:
        """Close a stream that no thread has asked for a chunk, and log nothing."""
        self.interrupt_next()
        with suppress(Exception):  # an error of the generator; an executor that has been shut down
            self.close()

    @abstractmethod
    def _next(self) -> object:
        """Return the next chunk. Raises ``StopIteration``."""

    @abstractmethod
    def _close(self) -> None:
        """See ``close``."""
