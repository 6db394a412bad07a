"""Calls in another process: the messages that return results.

    process -> parent    (RESULT, value) | (FAILED, (error, traceback)) | (RETIRES, the same)

An error stays pickled until it is raised. A message that contained the error object itself would
leave a reference cycle for each failed call: the error's traceback refers to the frames, and these
refer to the message.
"""

from __future__ import annotations

import copyreg
import pickle
import traceback
from collections.abc import Callable, Iterator, Sequence
from inspect import isfunction
from io import BytesIO
from typing import Any, NamedTuple, TypeAlias

from micropie._core.execution.placement import AnyFunction, NamedFunction
from micropie._core.execution.process_pool import PoolError


class Streamed(NamedTuple):
    """A stream inside another object: ``wrap(items)``, made in the parent. ``wrap`` is pickled."""

    wrap: Callable[[Any], object]
    items: Iterator[object]


# -- messages -------------------------------------------------------------------------------------

CALL = b"c"
RESULT = b"r"
FAILED = b"f"
RETIRES = b"x"  # failed, and the process must not get another call

# A message: its kind, one byte, and its value. For FAILED and RETIRES, the value is the pickled
# error, and its traceback as a string.
PoolMessage: TypeAlias = tuple[bytes, Any]


class RemoteTraceback(Exception):
    """The ``__cause__`` of an exception from another process. It shows the traceback in that
    process.
    """

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class RetireProcess(Exception):
    """Raise this in a function that the pool runs, to have its process replaced: ``raise
    RetireProcess("the device failed")``. The caller gets the exception. ``reason``: its text.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)


RetireProcess.__module__ = "micropie"  # show the public module in tracebacks


class CallCancelled(BaseException):
    """Raised by ``check_cancelled``. It isn't an ``Exception``, so ``except Exception`` doesn't
    catch it.
    """


def packed_call(pack: Callable[[PoolMessage], Any], function: object, *values: Any) -> Any:
    """Return a call, packed by ``pack``: ``function``, its arguments, and other ``values``.

    If the function or an argument can't be pickled, raise ``PicklingError`` with its name.
    """
    try:
        return pack((CALL, (function, *values)))
    except Exception:
        named = function if isinstance(function, NamedFunction) else NamedFunction
        for label, value in {"the function": function, **named.labelled(values[0])}.items():
            try:
                pickle.dumps(value, 5)
            except Exception as error:
                raise pickle.PicklingError(
                    f"{function} runs in the process pool, but {label}, of type "
                    f"{type(value).__name__}, can't be pickled: {error}"
                ) from None
        raise


def packed_result(
    pack: Callable[[PoolMessage], object],
    retire_on: tuple[type[BaseException], ...],
    function: AnyFunction,
    *arguments: object,
) -> Any:
    """Call ``function`` and return a message, packed by ``pack``, with its result or its error.

    Never raises an exception. An error that can't be pickled is replaced with a ``PoolError`` that
    describes it. After an error of the types ``retire_on``, the message is a RETIRES.
    """
    try:
        result = function(*arguments)
        try:
            return pack((RESULT, result))
        except Exception as error:
            raise PoolError(f"the call's result can't be pickled: {error}") from None
    except BaseException as error:
        kind = RETIRES if isinstance(error, retire_on) else FAILED
        return pack((kind, pickled_error(error)))


UNREADABLE = "A value from another process can't be unpickled."  # a note of the exception


def unpickled(data: bytes) -> Any:
    """Unpickle a value from another process. The note of an exception explains it."""
    try:
        return pickle.loads(data)  # noqa: S301 - from our own process
    except Exception as error:
        error.add_note(UNREADABLE)
        raise


def pickled_error(error: BaseException) -> tuple[bytes, str]:
    """Return the value of a FAILED or RETIRES message."""
    text = "".join(traceback.format_exception(error))
    if not isinstance(error, Exception):  # a SystemExit would end the server's process
        error = PoolError(f"the call raised {type(error).__name__}: {error}")
    try:
        _ErrorPickler(file := BytesIO()).dump(error)
        pickled = file.getvalue()
        pickle.loads(pickled)  # noqa: S301 - pickled above
    except Exception as reason:
        said = (
            f"the call raised {error!r}, which can't be pickled ({reason}): raise an "
            "exception that can be pickled"
        )
        pickled = pickle.dumps(PoolError(said))
    return pickled, text


class _ErrorPickler(pickle.Pickler):
    """Pickles exceptions so that unpickling doesn't call their ``__init__``. It would be called
    with ``args``, but often takes other arguments.
    """

    def reducer_override(self, value: Any) -> Any:
        kind = type(value)
        if (
            not isinstance(value, BaseException)
            or not isfunction(kind.__init__)
            # the class, or ``copyreg.pickle``, knows better
            or isfunction(kind.__reduce__)
            or isfunction(kind.__reduce_ex__)
            or kind in copyreg.dispatch_table
            or any("__slots__" in vars(one) for one in kind.__mro__)  # only ``__init__`` sets them
        ):
            return NotImplemented
        made: Any = value.__reduce__()
        return _restored, (kind, made[1]), *made[2:]


def _restored(kind: type[BaseException], arguments: Sequence[object]) -> BaseException:
    native = next(
        one
        for one in kind.__mro__
        if issubclass(one, BaseException) and not isfunction(one.__init__)
    )
    error = native.__new__(kind, *arguments)
    native.__init__(error, *arguments)
    return error


def open_message(message: PoolMessage) -> Any:
    """Return the value of a message. If it contains an error, raise that."""
    kind, value = message
    if kind not in (FAILED, RETIRES):
        return value
    pickled, text = value
    try:
        error = unpickled(pickled)
    except Exception as reason:
        error = reason
    error.__cause__ = RemoteTraceback(text)
    try:
        raise error
    finally:
        del error  # avoid a reference cycle between the exception and this frame
