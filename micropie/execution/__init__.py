"""How and where a call runs: steps, the current context, threads, event loops. This package knows no HTTP.

``steps.py`` has the kinds of steps and ``placement.py`` the places where a handler may run. Under ASGI, ``def``
handlers run in worker threads (``threads.py``) with their own limiter, so that they can't starve file access and
session backends. Such a thread knows the event loop that it works for, so ``run_async`` can call it. Under WSGI,
``async def`` runs on one event loop for each process and backend (``portal.py``), in a thread that the first use
starts. Start-up handlers and ``lifespan`` run on the same loop, in one task from beginning to end, so a connection
pool that they open serves async handlers.

The current request is a context variable. Threads and the portal get a copy of the context, and the variables that a
step sets come back with its outcome (``outcomes.py``): a handler sees a hook's variables wherever the two run.

Nothing that owns a thread, a socket or a file is made at import or in ``__init__``, because servers fork after
import. A forked child forgets what its parent owned and makes its own (``fork.py``). ``ShutdownSignal``
(``shutdown.py``) knows the open streams and subscriptions of an application and ends them at the shut-down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from micropie.execution.background import (
    BackpressureWindow,
    await_in_background,
    background_loop,
    run_async,
    run_tasks,
    start_tasks,
    wait_for_tasks,
)
from micropie.execution.context import ShutdownSignal, current, current_shutdown, stream_shutdown
from micropie.execution.fork import after_fork_in_child, available_cpus, notify_after_fork
from micropie.execution.loop import (
    AHEAD,
    CLEAN_UP_WITHIN,
    LEAVE_WITHIN,
    TASKS,
    WAKERS,
    DelayedCall,
    DelayedCalls,
    LoopLocal,
    LoopTasks,
    SingleWaiterEvent,
    entered_on_loop,
    is_on_loop,
    threadsafe_scheduler,
    where,
)
from micropie.execution.placement import (
    LOOP,
    MARK,
    PROCESS,
    THREAD,
    HandlerName,
    Threads,
    check_placement,
    checked_placement,
    handler_named,
    layers,
    name_of,
)
from micropie.execution.steps import (
    AWAIT,
    BLOCK,
    CHUNK,
    CLOSE,
    HANDLER,
    INLINE,
    IO,
    MOUNT,
    POOL,
    RECEIVE,
    RECEIVE_STEP,
    AnyStep,
    CallKind,
    Completed,
    Flow,
    Limited,
    ReceiveStep,
    RouteKind,
    Step,
    StepKind,
    TookTooLong,
    call,
    itself,
    kind_of,
    no_function,
    result_of,
)
from micropie.execution.threads import (
    IO_THREADS,
    Result,
    has_room,
    in_thread,
    interrupting,
    limiter_of,
    run_in_place,
    take_slot,
    usage_of,
)
from micropie.lazily import lazily

if TYPE_CHECKING:
    from micropie.execution.redis_client import RedisClient

# fmt: off
__all__ = [
    "AHEAD", "AWAIT", "BLOCK", "CHUNK", "CLEAN_UP_WITHIN", "CLOSE", "HANDLER", "INLINE", "IO", "IO_THREADS",
    "LEAVE_WITHIN", "LOOP", "MARK", "MOUNT", "POOL", "PROCESS", "RECEIVE", "RECEIVE_STEP", "TASKS", "THREAD", "WAKERS",
    "AnyStep", "BackpressureWindow", "CallKind", "Completed", "DelayedCall", "DelayedCalls", "Flow", "HandlerName",
    "Limited", "LoopLocal", "LoopTasks", "ReceiveStep", "RedisClient", "Result", "RouteKind", "ShutdownSignal",
    "SingleWaiterEvent", "Step", "StepKind", "Threads", "TookTooLong", "after_fork_in_child", "available_cpus",
    "await_in_background", "background_loop", "call", "check_placement", "checked_placement", "current",
    "current_shutdown", "entered_on_loop", "handler_named", "has_room", "in_thread", "interrupting", "is_on_loop",
    "itself", "kind_of", "layers", "limiter_of", "name_of", "no_function", "notify_after_fork", "result_of",
    "run_async", "run_in_place", "run_tasks", "start_tasks", "stream_shutdown", "take_slot", "threadsafe_scheduler",
    "usage_of", "wait_for_tasks", "where",
]
# fmt: on

# An optional dependency may be missing, or take longer to import than all of micropie.
__getattr__ = lazily(__name__, {"RedisClient": "redis_client"})
