"""Calls in another process: the token that cancels a call, and the messages that return results.

    process -> parent    (RESULT, value) | (FAILED, error and traceback), pickled

An error stays pickled until it is raised. A message that contained the error object itself would
leave a reference cycle for each failed call: the error's traceback refers to the frames, and these
refer to the message.
"""

from __future__ import annotations

import pickle
import threading
import traceback
from collections.abc import Callable
from typing import Any, Final, TypeAlias


class PoolError(Exception):
    """Raised if a call could not be made in the pool, or if its outcome could not be returned.

    The exception's message contains the reason.
    """


class CancelToken:
    """Lets one thread cancel a blocking call that another thread is in."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stop: Callable[[], object] | None = None
        self.is_cancelled = False

    def attach(self, stop: Callable[[], object]) -> None:
        """Register ``stop``, which is called when the call is cancelled, or right now if it has
        been cancelled already.

        ``stop`` replaces the function that was registered earlier.
        """
        with self._lock:
            self._stop = stop
            if self.is_cancelled:
                stop()

    def check(self) -> None:
        """Raise ``PoolError`` if the call has been cancelled."""
        if self.is_cancelled:
            raise PoolError("the call has been cancelled")

    def detach(self) -> bool:
        """Remove the registered function, because there is nothing left to stop.

        Return whether the call has been cancelled.
        """
        with self._lock:
            self._stop = None
            return self.is_cancelled

    def cancel(self) -> None:
        """Cancel the call. Any thread may call this method, which doesn't block."""
        with self._lock:
            self.is_cancelled = True
            if self._stop is not None:
                self._stop()


# -- messages -------------------------------------------------------------------------------------

RESULT: Final = "result"
FAILED: Final = "failed"

# A message: its kind and its value. For FAILED, the value is a pickled pair: the error, and its
# traceback as a string.
PoolMessage: TypeAlias = tuple[str, Any]


class RemoteTraceback(Exception):
    """The ``__cause__`` of an exception from another process. It shows the traceback in that
    process.
    """

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def packed_result(function: Callable[..., object], *arguments: object) -> bytes:
    """Call ``function`` and return a pickled message with its result or its error.

    Never raises an exception. An error that can't be pickled is replaced with a ``PoolError`` that
    describes it.
    """
    try:
        result = function(*arguments)
        try:
            return pickle.dumps((RESULT, result))
        except Exception as error:
            raise PoolError(f"the call's result can't be pickled: {error}") from None
    except BaseException as error:
        text = "".join(traceback.format_exception(error))
        if not isinstance(error, Exception):  # a SystemExit would end the server's process
            error = PoolError(f"the call raised {type(error).__name__}: {error}")
        try:
            packed = pickle.dumps((error, text))
            pickle.loads(packed)  # noqa: S301 - pickled above
        except Exception as reason:
            said = (
                f"the call raised {error!r}, which can't be pickled ({reason}): raise an "
                "exception that can be pickled"
            )
            packed = pickle.dumps((PoolError(said), text))
        return pickle.dumps((FAILED, packed))


def open_message(message: PoolMessage) -> Any:
    """Return the value of a message. If it is a FAILED message, raise its error."""
    kind, value = message
    if kind != FAILED:
        return value
    error, text = pickle.loads(value)  # noqa: S301 - from our own process
    error.__cause__ = RemoteTraceback(text)
    try:
        raise error
    finally:
        del error  # avoid a reference cycle between the exception and this frame
