"""How and where a call runs: steps, the current context, threads, event loops. Knows no HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from micropie.execution.background import run_tasks, start_tasks, wait_for_tasks
from micropie.execution.backpressure import BackpressureWindow
from micropie.execution.context import current, current_shutdown
from micropie.execution.fork import after_fork_in_child, available_cpus, notify_after_fork
from micropie.execution.loop import AHEAD, CLEAN_UP_WITHIN, LEAVE_WITHIN, LoopLocal, entered_on_loop, is_on_loop, where
from micropie.execution.outcomes import Completed
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
from micropie.execution.portal import await_in_portal, get_loop, get_portal, run_async
from micropie.execution.shutdown import ShutdownSignal, stream_shutdown
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
    Flow,
    Limited,
    ReceiveStep,
    Result,
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
    has_room,
    in_thread,
    interrupting,
    limiter_of,
    run_in_place,
    take_slot,
    usage_of,
)
from micropie.execution.wake import (
    DEADLINES,
    TASKS,
    WAKERS,
    Deadline,
    DelayedCalls,
    LoopTasks,
    SingleWaiterEvent,
    threadsafe_scheduler,
)
from micropie.lazily import lazily

if TYPE_CHECKING:
    from micropie.execution.redis_client import RedisClient

__all__ = [
    "AHEAD",
    "AWAIT",
    "BLOCK",
    "CHUNK",
    "CLEAN_UP_WITHIN",
    "CLOSE",
    "DEADLINES",
    "HANDLER",
    "INLINE",
    "IO",
    "IO_THREADS",
    "LEAVE_WITHIN",
    "LOOP",
    "MARK",
    "MOUNT",
    "POOL",
    "PROCESS",
    "RECEIVE",
    "RECEIVE_STEP",
    "TASKS",
    "THREAD",
    "WAKERS",
    "AnyStep",
    "BackpressureWindow",
    "CallKind",
    "Completed",
    "Deadline",
    "DelayedCalls",
    "Flow",
    "HandlerName",
    "Limited",
    "LoopLocal",
    "LoopTasks",
    "ReceiveStep",
    "RedisClient",
    "Result",
    "RouteKind",
    "ShutdownSignal",
    "SingleWaiterEvent",
    "Step",
    "StepKind",
    "Threads",
    "TookTooLong",
    "after_fork_in_child",
    "available_cpus",
    "await_in_portal",
    "call",
    "check_placement",
    "checked_placement",
    "current",
    "current_shutdown",
    "entered_on_loop",
    "get_loop",
    "get_portal",
    "handler_named",
    "has_room",
    "in_thread",
    "interrupting",
    "is_on_loop",
    "itself",
    "kind_of",
    "layers",
    "limiter_of",
    "name_of",
    "no_function",
    "notify_after_fork",
    "result_of",
    "run_async",
    "run_in_place",
    "run_tasks",
    "start_tasks",
    "stream_shutdown",
    "take_slot",
    "threadsafe_scheduler",
    "usage_of",
    "wait_for_tasks",
    "where",
]

# An optional dependency may be missing, or take longer to import than all of micropie.
__getattr__ = lazily(__name__, {"RedisClient": "redis_client"})
