"""Worker threads of an application, counted apart from everybody else's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

from micropie.level import Threads
from micropie.outcomes import outcome_of, released

# Per event loop: a limiter belongs to the loop it was made in, an application may serve several.
_limiters: RunVar[WeakKeyDictionary[Threads, CapacityLimiter]] = RunVar("micropie.limiters")


# For files and session backends: forty handlers that block must not keep a page's style sheet from the others.
IO_THREADS = Threads(40)


async def in_thread(
    threads: Threads, function: Callable[..., Any], *arguments: Any, abandon_on_cancel: bool = False
) -> Any:
    """Call in a worker thread, with this task's context variables. Waits while all of ``threads`` are busy."""
    limiter = _limiter(threads)
    return released(
        await to_thread.run_sync(outcome_of, function, arguments, abandon_on_cancel=abandon_on_cancel, limiter=limiter)
    )


def _limiter(threads: Threads) -> CapacityLimiter:
    try:
        limiters = _limiters.get()
    except LookupError:
        limiters = WeakKeyDictionary()
        _limiters.set(limiters)
    if threads not in limiters:
        limiters[threads] = CapacityLimiter(threads.size)
    return limiters[threads]
