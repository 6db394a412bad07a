"""Calls in another process: how one is cancelled, and the messages that come back.

    process -> parent    (RESULT, value) | (FAILED, error and traceback), pickled

An error stays packed until it is raised. So no frame that holds a message holds the error, whose
traceback refers to that frame: each failed call would be a reference cycle.
"""

from __future__ import annotations

import pickle
import threading
import traceback
from collections.abc import Callable
from typing import Any, Final, TypeAlias


class PoolError(Exception):
    """A call that could not be made in the pool, or whose outcome could not be brought back.

    The message says why.
    """


class CancelToken:
    """Cancels a blocking call from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stop: Callable[[], object] | None = None
        self.is_cancelled = False

    def attach(self, stop: Callable[[], object]) -> None:
        """Call ``stop`` when the call is cancelled, or now if it has been.

        It replaces the function that was attached before.
        """
        with self._lock:
            self._stop = stop
            if self.is_cancelled:
                stop()

    def check(self) -> None:
        """Raise ``PoolError`` if the call has been cancelled."""
        if self.is_cancelled:
            raise PoolError("its caller has been cancelled")

    def detach(self) -> bool:
        """Forget the function: there is nothing left to stop.

        Return whether the call was cancelled.
        """
        with self._lock:
            self._stop = None
            return self.is_cancelled

    def cancel(self) -> None:
        """Stop the call. Does not block, in any thread."""
        with self._lock:
            self.is_cancelled = True
            if self._stop is not None:
                self._stop()


# -- the messages that come back -------------------------------------------------------------------

RESULT: Final = "result"
FAILED: Final = "failed"

# Its kind and its value. The value of FAILED is the error, and its traceback as text, pickled.
PoolMessage: TypeAlias = tuple[str, Any]


class RemoteTraceback(Exception):
    """The cause of an exception that was raised in another process: its traceback there, as
    text.
    """

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def packed_result(function: Callable[..., object], *arguments: object) -> bytes:
    """Call ``function``.

    Return the message with its result or its error, pickled; nothing is raised. An error that can't
    be brought back becomes a ``PoolError`` that tells of it.
    """
    try:
        result = function(*arguments)
        try:
            return pickle.dumps((RESULT, result))
        except Exception as error:
            raise PoolError(f"its result can't be pickled: {error}") from None
    except BaseException as error:
        text = "".join(traceback.format_exception(error))
        if not isinstance(error, Exception):  # a SystemExit would end the server
            error = PoolError(f"it raised {type(error).__name__}: {error}")
        try:
            packed = pickle.dumps((error, text))
            pickle.loads(packed)  # noqa: S301 - our own
        except Exception as reason:
            said = f"it raised {type(error).__name__}: {error}, which can't be pickled: {reason}"
            packed = pickle.dumps((PoolError(said), text))
        return pickle.dumps((FAILED, packed))


def open_message(message: PoolMessage) -> Any:
    """Raise the error of a message FAILED.

    Return the value of any other message, such as a result.
    """
    kind, value = message
    if kind != FAILED:
        return value
    error, text = pickle.loads(value)  # noqa: S301 - from our own process
    error.__cause__ = RemoteTraceback(text)
    try:
        raise error
    finally:
        del error  # its traceback refers to this frame
