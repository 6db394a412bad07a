"""Worker threads of an application, counted apart from everybody else's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from weakref import WeakKeyDictionary

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

from micropie.level import Level

Value = TypeVar("Value")

# Per event loop: a limiter belongs to the loop it was made in, an application may serve several.
_limiters: RunVar[WeakKeyDictionary[Level, CapacityLimiter]] = RunVar("micropie.limiters")


async def in_thread(level: Level, call: Callable[[], Value]) -> Value:
    """Call in a worker thread, with this task's context variables. Waits while ``threads`` of them are busy."""
    return await to_thread.run_sync(call, limiter=_limiter(level))


def _limiter(level: Level) -> CapacityLimiter:
    try:
        limiters = _limiters.get()
    except LookupError:
        limiters = WeakKeyDictionary()
        _limiters.set(limiters)
    if level not in limiters:
        limiters[level] = CapacityLimiter(level.settings.threads)
    return limiters[level]
