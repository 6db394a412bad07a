"""Worker threads of an application, counted apart from everybody else's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

from micropie.level import Threads

Value = TypeVar("Value")

# Per event loop: a limiter belongs to the loop it was made in, an application may serve several.
_limiters: RunVar[WeakKeyDictionary[Threads, CapacityLimiter]] = RunVar("micropie.limiters")


# For files and session backends: forty handlers that block must not keep a page's style sheet from the others.
IO_THREADS = Threads(40)


async def in_thread(threads: Threads, function: Callable[..., Value], *arguments: Any) -> Value:
    """Call in a worker thread, with this task's context variables. Waits while all of ``threads`` are busy."""
    outcome = await to_thread.run_sync(_outcome, function, arguments, limiter=_limiter(threads))
    value, error = outcome
    outcome.clear()  # the worker's frame holds it, and the error's traceback that frame
    if error is None:
        return cast(Value, value)
    try:
        raise error
    finally:
        del error  # its traceback refers to this frame


def _outcome(function: Callable[..., Any], arguments: Sequence[Any]) -> list[Any]:
    # As a value: an exception in a future is kept by the frames that it refers to, and a coroutine, which a
    # decorated ``async def`` returns, is refused by trio's threads.
    try:
        return [function(*arguments), None]
    except BaseException as error:
        return [None, error]


def _limiter(threads: Threads) -> CapacityLimiter:
    try:
        limiters = _limiters.get()
    except LookupError:
        limiters = WeakKeyDictionary()
        _limiters.set(limiters)
    if threads not in limiters:
        limiters[threads] = CapacityLimiter(threads.size)
    return limiters[threads]
