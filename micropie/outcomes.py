"""A call's outcome as a value, carried from one thread or loop to another: ``[value, None]`` or ``[None, error]``.

Not as a future's exception: a future, the frames that wait for it and the exception's traceback would refer to each
other, and each failed request would be a cycle. And not as a plain result: StopIteration can't cross a future, and
trio's threads refuse a coroutine, which a decorated ``async def`` returns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

Outcome: TypeAlias = list[Any]


def outcome_of(function: Callable[..., Any], arguments: Sequence[Any]) -> Outcome:
    """Call, and return what came of it."""
    try:
        return [function(*arguments), None]
    except BaseException as error:
        return [None, error]


def released(outcome: Outcome) -> Any:
    """The value, or the error raised; the list is emptied, as whoever made it may hold it still."""
    value, error = outcome
    outcome.clear()
    if error is None:
        return value
    try:
        raise error
    finally:
        del error  # its traceback refers to this frame
