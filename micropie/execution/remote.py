"""A call in another process, whoever makes it: the bytes that come back, its errors, and how it is given up.

process -> parent    (RESULT, value) | (FAILED, error, traceback), pickled
"""

from __future__ import annotations

import pickle
import threading
import traceback
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

RESULT: Final = "result"
FAILED: Final = "failed"
END: Final = "end"  # of a stream that came to its end

# Seconds that a stream may take to close when nobody wants more of it.
GRACE = 5.0


class PoolError(Exception):
    """A call that could not be made in the pool, or whose outcome could not be brought back. The sentence says why."""


class RemoteTraceback(Exception):
    """The cause of an exception that came out of another process: its traceback there, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class CancelToken:
    """By which another thread gives a call up that one waits for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stop: Callable[[], object] | None = None
        self.is_cancelled = False

    def attach(self, stop: Callable[[], object]) -> None:
        """Have ``stop`` called when the call is given up; now, if it has been."""
        with self._lock:
            self._stop = stop
            if self.is_cancelled:
                stop()

    def detach(self) -> bool:
        """There is nothing left to be stopped. Returns whether it has been."""
        with self._lock:
            self._stop = None
            return self.is_cancelled

    def cancel(self) -> None:
        """Nobody waits for the call any more. Does not block, whoever calls it."""
        with self._lock:
            self.is_cancelled = True
            if self._stop is not None:
                self._stop()


class RemoteChunks(Iterator[Any]):
    """What a generator makes elsewhere, ``_next`` and ``_close``. Who closes it waits for a chunk that is under way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._token = CancelToken()
        self.interrupt_next = self._token.cancel
        """Have nobody wait for the next chunk. From any thread, at any time."""

    def __next__(self) -> Any:
        with self._lock:
            return self._next()

    def close(self) -> None:
        """Have the generator closed where it is. Raises what that raises, if it comes in time."""
        with self._lock:
            self._close()

    def drop(self) -> None:
        """Leave it: nobody has asked for a chunk, and nobody will."""
        self.interrupt_next()
        with suppress(Exception):  # what it had failed by; an executor that has been shut down
            self.close()

    @abstractmethod
    def _next(self) -> Any:
        """The next chunk. Raises ``StopIteration``."""

    @abstractmethod
    def _close(self) -> None:
        """See ``close``."""


def packed_result(result: Any) -> bytes:
    """Raises ``PoolError`` that says why a result can't be brought back."""
    try:
        return pickle.dumps((RESULT, result))
    except Exception as error:
        raise PoolError(f"its result, of type {type(result).__name__}, can't be pickled: {error}") from None


def packed_failure(error: BaseException) -> bytes:
    """An error with its traceback; what can't be brought back itself is a ``PoolError`` that tells of it."""
    text = "".join(traceback.format_exception(error))
    if not isinstance(error, Exception):  # a SystemExit would end the server
        error = PoolError(f"it raised {type(error).__name__}: {error}")
    try:
        packed = pickle.dumps((FAILED, error, text))
        pickle.loads(packed)  # noqa: S301 - an exception whose arguments are not its constructor's fails here
    except Exception as reason:
        said = f"it raised {type(error).__name__}: {error}, which can't be pickled: {reason}"
        return pickle.dumps((FAILED, PoolError(said), text))
    return packed


def opened(kind: str, values: list[Any]) -> Any:
    """The result, or the error raised. The list is emptied, or an error would refer to it by its caller's frame."""
    if kind == RESULT:
        return values.pop()
    error, text = values
    values.clear()
    error.__cause__ = RemoteTraceback(text)
    try:
        raise error
    finally:
        del error  # its traceback refers to this frame
