"""How and where a call runs: steps, the current context, threads, event loops.

This package knows no HTTP.

``steps.py`` has the kinds of steps, ``generators.py`` advances an author's generators by them and
closes those of providers, and ``placement.py`` has the places where a handler may run. Under ASGI,
``def`` handlers run in worker threads (``threads.py``) with their own limiter, so that they can't
starve file access. A service that may hang, such as a session backend, has its own, too, and its
outage is remembered (``outage.py``). Such a thread knows the event loop that it works for, so
``run_async`` can call it. Under WSGI, ``async def`` runs on one event loop for each process and
backend (``background.py``), in a thread that the first use starts. Start-up handlers and
``lifespan`` run on the same loop, in one task from beginning to end, so a connection pool that they
open serves async handlers. Functions that follow the response run there, too
(``after_response.py``). A thread names code that blocks such a loop, or the server's
(``watchdog.py``).

The current request is a context variable. Threads and the background loop get a copy of the
context, and the variables that a step sets come back with its outcome (``background.py``): a
handler sees a hook's variables wherever the two run.

Nothing that owns a thread, a socket or a file is made at import or in ``__init__``, because servers
fork after import. A forked child forgets what its parent owned and makes its own (``fork.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from micropie.execution.after_response import Ends, Task, run_tasks, start_tasks, wait_for_tasks
from micropie.execution.background import (
    await_in_background,
    background_loop,
    run_async,
    watch_background_loops,
)
from micropie.execution.fork import after_fork_in_child, available_cpus, notify_after_fork
from micropie.execution.generators import ResourceContext, Resources, RunningGenerator
from micropie.execution.loop import (
    AHEAD,
    CLEAN_UP_WITHIN,
    LEAVE_WITHIN,
    TASKS,
    WAKERS,
    Action,
    AsyncAction,
    LoopFuture,
    LoopLocal,
    LoopTasks,
    SingleWaiterEvent,
    TaskWaiter,
    current,
    entered_on_loop,
    is_on_loop,
    threadsafe_scheduler,
    where,
)
from micropie.execution.outage import Outage
from micropie.execution.placement import (
    IO_THREADS,
    LOOP,
    MARK,
    PROCESS,
    THREAD,
    HandlerName,
    ServiceThreads,
    Threads,
    check_placement,
    handler_named,
    layers,
    name_of,
)
from micropie.execution.steps import (
    ANSWER,
    AWAIT,
    CALL,
    CHUNK,
    CLOSE,
    HANDLER,
    INLINE,
    IO,
    RECEIVE,
    RECEIVE_STEP,
    AnyStep,
    Call,
    Completed,
    Flow,
    Kind,
    ReceiveStep,
    Step,
    awaited,
    call,
    call_within,
    itself,
    kind_of,
    no_function,
    result_of,
)
from micropie.execution.threads import (
    Result,
    Slots,
    TookTooLong,
    in_thread,
    run_in_context,
    slots_of,
    usage_of,
    within,
)
from micropie.on_demand import names_on_demand

if TYPE_CHECKING:
    from micropie.execution.redis_client import RedisClient
    from micropie.execution.watchdog import loop_lag, watch_loop

# fmt: off
__all__ = [
    "AHEAD", "ANSWER", "AWAIT", "CALL", "CHUNK", "CLEAN_UP_WITHIN", "CLOSE", "HANDLER", "INLINE",
    "IO", "IO_THREADS", "LEAVE_WITHIN", "LOOP", "MARK", "PROCESS", "RECEIVE", "RECEIVE_STEP",
    "TASKS", "THREAD", "WAKERS", "Action", "AnyStep", "AsyncAction", "Call", "Completed", "Ends",
    "Flow", "HandlerName", "Kind", "LoopFuture", "LoopLocal", "LoopTasks", "Outage", "ReceiveStep",
    "RedisClient", "ResourceContext", "Resources", "Result", "RunningGenerator", "ServiceThreads",
    "SingleWaiterEvent", "Slots", "Step", "Task", "TaskWaiter", "Threads", "TookTooLong",
    "after_fork_in_child", "available_cpus", "await_in_background", "awaited", "background_loop",
    "call", "call_within", "check_placement", "current", "entered_on_loop", "handler_named",
    "in_thread", "is_on_loop", "itself", "kind_of", "layers", "loop_lag", "name_of", "no_function",
    "notify_after_fork", "result_of", "run_async", "run_in_context", "run_tasks", "slots_of",
    "start_tasks", "threadsafe_scheduler", "usage_of", "wait_for_tasks", "watch_background_loops",
    "watch_loop", "where", "within",
]
# fmt: on

# An optional dependency may be missing, or take longer to import than all of micropie. The watchdog
# is for event loops.
__getattr__ = names_on_demand(
    __name__, {"redis_client": "RedisClient", "watchdog": "loop_lag watch_loop"}
)
