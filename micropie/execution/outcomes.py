"""A call's outcome as a value, carried from one thread or loop to another, where ``released`` returns or raises it.

It is not a future's exception: a future, the frames that wait for it and the exception's traceback would refer to each
other, and each failed request would be a cycle. It is not a plain result either: StopIteration can't cross a future,
and trio's threads refuse a coroutine, which a decorated ``async def`` returns.

The outcome includes the context variables that the call set. Code in another thread runs in a copy of the context, but
the handler must see what a hook set, wherever the two run.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextvars import Context, ContextVar, copy_context
from typing import Any, Generic, TypeAlias, TypeVar

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


Value = TypeVar("Value")


class Completed(Generic[Value]):
    """An awaitable that gives ``value`` at once, on any event loop."""

    __slots__ = ("_value",)

    def __init__(self, value: Value) -> None:
        self._value = value

    def __await__(self) -> Generator[None, None, Value]:
        return self._value
        yield  # makes this function a generator
