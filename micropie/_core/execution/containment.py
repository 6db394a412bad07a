"""Keep an exception in one request from ending other requests.

``SystemExit`` ends an event loop, and with it the requests of all other clients. If a handler
awaits a task of a client library and that task is cancelled, the server takes this for a
cancellation of the request. Both are only failures of one request. ``failure_of`` distinguishes
them from the exceptions that must reach the server:

- ``KeyboardInterrupt`` and the ``SystemExit`` of a signal handler must reach the server. gunicorn's
  signal handlers raise ``SystemExit`` in the thread that they interrupt.
- A cancellation must be passed on while a cancel scope around this code, or ``Task.cancel``, is
  cancelling the task.
- ``GeneratorExit`` must be passed on while a suspended generator or coroutine is being closed. It
  is only a failure if a ``raise`` statement raised it.
"""

from __future__ import annotations

import signal
import sys
from concurrent.futures import CancelledError
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR, CO_ITERABLE_COROUTINE
from math import inf
from opcode import opmap
from traceback import walk_tb

import anyio

from micropie._core.errors import alone_in
from micropie._core.execution.loop import TASKS, is_on_loop

_RAISE = opmap["RAISE_VARARGS"]
_CAN_BE_SUSPENDED = CO_ASYNC_GENERATOR | CO_COROUTINE | CO_GENERATOR | CO_ITERABLE_COROUTINE


def failure_of(error: BaseException) -> Exception | None:
    """Return the ``Exception`` to use in place of ``error``, a ``BaseException`` such as
    ``SystemExit``. Return None if ``error`` must reach the server, because it is more than a
    failure of the request whose code raised it.

    For a group of exceptions and cancellations, return a group of only the exceptions.
    """
    if isinstance(error, BaseExceptionGroup):
        return _rest_of(error)
    if isinstance(error, _cancellations()):
        return None if is_being_cancelled() else unrequested(error)
    is_exit = isinstance(error, SystemExit) and not _is_of_signal(error)
    if is_exit or (isinstance(error, GeneratorExit) and not _is_closed(error)):
        return _caused_by(error, RuntimeError(f"the application raised {error!r}"))
    return None


def unrequested(error: BaseException) -> Exception:
    """Return the ``Exception`` to use in place of a cancellation that was raised although nobody
    has cancelled this task.
    """
    sentence = "the application awaited a task that was cancelled, although the request was not"
    return _caused_by(error, CancelledError(sentence))


def is_being_cancelled() -> bool:
    """Return whether this task is being cancelled; False outside of event loops."""
    if not is_on_loop():
        return False
    task = TASKS.get().current_task()
    return anyio.current_effective_deadline() == -inf or (
        task is not None and task.cancelling() > 0
    )


def _cancellations() -> tuple[type[BaseException], ...]:
    """Return the exception classes that asyncio and trio use for cancellation. A library that isn't
    imported is left out.
    """
    names = {"asyncio": "CancelledError", "trio": "Cancelled"}
    return tuple(getattr(sys.modules[one], names[one]) for one in names if one in sys.modules)


def _rest_of(group: BaseExceptionGroup[BaseException]) -> Exception | None:
    """Return the exception to use in place of a group of exceptions. Return None if the group must
    reach the server. Cancellations in the group are left out.
    """
    cancellations, rest = group.split(_cancellations())
    if cancellations is not None and is_being_cancelled():
        return None
    if rest is None:
        return unrequested(group)
    rest = alone_in(rest)
    if isinstance(rest, Exception):
        return rest
    if not isinstance(rest, BaseExceptionGroup):
        return failure_of(rest)
    # What is neither an ``Exception`` nor becomes one must reach the server.
    if rest.subgroup(
        lambda one: not isinstance(one, Exception | BaseExceptionGroup) and failure_of(one) is None
    ):
        return None
    return _caused_by(rest, RuntimeError(f"the application raised {rest!r}"))


def _caused_by(error: BaseException, failure: Exception) -> Exception:
    failure.__cause__ = error
    return failure


def _is_of_signal(error: BaseException) -> bool:
    """Return whether a signal handler raised ``error``."""
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    codes = {getattr(handler, "__code__", None) for handler in handlers}
    return any(frame.f_code in codes for frame, _ in walk_tb(error.__traceback__))


def _is_closed(error: BaseException) -> bool:
    """Return whether ``error`` was raised because a generator or a coroutine is being closed."""
    is_closed, step = False, error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        can_be_suspended = bool(code.co_flags & _CAN_BE_SUSPENDED)
        is_closed = can_be_suspended and code.co_code[step.tb_lasti] != _RAISE
        step = step.tb_next
    return is_closed
