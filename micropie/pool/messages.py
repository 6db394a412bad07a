"""The messages that come back from a call in another process, and the errors in them.

    process -> parent    (RESULT, value) | (FAILED, error and traceback), pickled

An error stays packed until it is raised. So no frame that holds a message holds the error, whose traceback refers to
that frame: each failed call would be a reference cycle.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from micropie.lazily import module
from micropie.pool.remote import PoolError

if TYPE_CHECKING:
    import pickle
else:
    pickle = module("pickle")  # every site has a pool, and few have handlers in it

RESULT: Final = "result"
FAILED: Final = "failed"
END: Final = "end"  # of a stream that came to its end

ResultMessage: TypeAlias = tuple[Literal["result"], object]
FailedMessage: TypeAlias = tuple[Literal["failed"], bytes]  # the error, and its traceback as text, pickled
EndMessage: TypeAlias = tuple[Literal["end"]]


class RemoteTraceback(Exception):
    """The cause of an exception that was raised in another process: its traceback there, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def pack_result(result: object) -> bytes:
    """Return the message with a result. Raises ``PoolError`` that says why a result can't be pickled."""
    try:
        return pickle.dumps((RESULT, result))
    except Exception as error:
        raise PoolError(f"its result, of type {type(result).__name__}, can't be pickled: {error}") from None


def failed_message(error: BaseException) -> FailedMessage:
    """Return the message with an error. One that can't be brought back becomes a ``PoolError`` that tells of it."""
    text = "".join(traceback.format_exception(error))
    if not isinstance(error, Exception):  # a SystemExit would end the server
        error = PoolError(f"it raised {type(error).__name__}: {error}")
    try:
        packed = pickle.dumps((error, text))
        pickle.loads(packed)
    except Exception as reason:
        said = f"it raised {type(error).__name__}: {error}, which can't be pickled: {reason}"
        packed = pickle.dumps((PoolError(said), text))
    return FAILED, packed


def pack_failure(error: BaseException) -> bytes:
    """Return ``failed_message`` as bytes."""
    return pickle.dumps(failed_message(error))


def open_message(message: Sequence[Any]) -> Any:
    """Raise the error of a message FAILED. Return the value of any other, such as a result."""
    if message[0] != FAILED:
        return message[-1]
    error, text = pickle.loads(message[1])
    error.__cause__ = RemoteTraceback(text)
    try:
        raise error
    finally:
        del error  # its traceback refers to this frame
