"""The context of code: its request, the signal that ends its streams, and outcomes that carry both between threads.

The drivers set and reset the request. Its type is known in ``http/request.py``, above this package.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeAlias

current: ContextVar[Any] = ContextVar("micropie.request")


# -- the end of streams and subscriptions ------------------------------------------------------------------------------


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


def current_shutdown() -> ShutdownSignal | None:
    """Return the signal that ends this code: of its event stream, or else of the application. None outside requests."""
    request = current.get(None)
    config = None if request is None else getattr(request._exchange, "config", None)
    return stream_shutdown.get(None) or (None if config is None else config.shutdown)


# -- the outcome of a call ---------------------------------------------------------------------------------------------

# A call's outcome is a value, carried from one thread or loop to another, where ``released`` returns or raises it.
#
# It is not a future's exception: a future, the frames that wait for it and the exception's traceback would refer to
# each other, and each failed request would be a cycle. It is not a plain result either: StopIteration can't cross a
# future, and trio's threads refuse a coroutine, which a decorated ``async def`` returns.
#
# The outcome includes the context variables that the call set. Code in another thread runs in a copy of the context,
# but the handler must see the values that a hook set, wherever the two run.

# The value, the error, and the variables that were set with their values.
Outcome: TypeAlias = list[Any]

_UNSET: Any = object()


def outcome_of(function: Callable[..., object], arguments: Sequence[object]) -> Outcome:
    """Call ``function`` and return the outcome; nothing is raised."""
    before = copy_context()
    try:
        return [function(*arguments), None, variables_set(before)]
    except BaseException as error:
        return [None, error, variables_set(before)]


def variables_set(before: Context) -> list[tuple[ContextVar[Any], Any]]:
    """Return the variables that differ from ``before`` in the current context, with their values."""
    return [item for item in copy_context().items() if before.get(item[0], _UNSET) is not item[1]]


def released(outcome: Outcome) -> Any:
    """Return the value or raise the error. The list is emptied, as its maker may still refer to it."""
    value, error, variables = outcome
    outcome.clear()
    for variable, setting in variables:
        variable.set(setting)
    if error is None:
        return value
    try:
        raise error
    finally:
        del error  # its traceback refers to this frame
