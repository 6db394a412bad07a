"""Worker threads, counted apart: an application's, and those of what must not wait for an application's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from anyio import CapacityLimiter, get_cancelled_exc_class, to_thread

from micropie.errors import HTTPError
from micropie.execution.loop import LoopLocal
from micropie.execution.outcomes import outcome_of, released
from micropie.execution.placement import Threads


class _Room:
    """For some ``Threads`` on one event loop: their limiter, and how many handlers are in a thread or wait for one."""

    def __init__(self, threads: Threads) -> None:
        self.limiter = CapacityLimiter(threads.size)
        self.handlers = 0


# A limiter belongs to the loop it was made in, an application may serve several.
_rooms: LoopLocal[WeakKeyDictionary[Threads, _Room]] = LoopLocal("micropie.threads", WeakKeyDictionary)

# For files and session backends: forty handlers that block must not keep a page's style sheet from the others.
IO_THREADS = Threads(40)


# Seconds; what a queue of the default length takes if each handler needs 40 ms.
RETRY_AFTER = "1"


async def in_thread(
    threads: Threads, function: Callable[..., Any], *arguments: Any, abandon_on_cancel: bool = False
) -> Any:
    """Call in a worker thread, with this task's context variables. Waits while all of ``threads`` are busy."""
    limiter = limiter_of(threads)
    return released(
        await to_thread.run_sync(outcome_of, function, arguments, abandon_on_cancel=abandon_on_cancel, limiter=limiter)
    )


async def in_handler_thread(
    threads: Threads, function: Callable[..., Any], *arguments: Any, abandon_on_cancel: bool = False
) -> Any:
    """``in_thread`` for a handler: raises 503 if too many are waiting already, as nobody waits for ever."""
    room = _room_of(threads)
    limiter = room.limiter
    # Counted here as well: those that came in the same turn of the loop are not in the limiter's queue yet.
    is_full = room.handlers >= threads.size + threads.queue
    if is_full or (limiter.available_tokens < 1 and limiter.statistics().tasks_waiting >= threads.queue):
        raise HTTPError(503, "Too many requests are waiting. Please try again later.", [("Retry-After", RETRY_AFTER)])
    room.handlers += 1
    try:
        return await in_thread(threads, function, *arguments, abandon_on_cancel=abandon_on_cancel)
    finally:
        room.handlers -= 1


@contextmanager
def interrupting(interrupt: Callable[[], object]) -> Iterator[None]:
    """Around a thread that is abandoned when its task is cancelled: call ``interrupt``, which has it end soon."""
    try:
        yield
    except get_cancelled_exc_class():
        interrupt()
        raise


def limiter_of(threads: Threads) -> CapacityLimiter:
    """What counts ``threads`` on the event loop that this runs on."""
    return _room_of(threads).limiter


def _room_of(threads: Threads) -> _Room:
    rooms = _rooms.get()
    if threads not in rooms:
        rooms[threads] = _Room(threads)
    return rooms[threads]
