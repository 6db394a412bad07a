"""Call functions where they have to run: in a worker thread, on an event loop or in another
process. This package doesn't depend on HTTP.

Open ``threads.py`` to change how worker threads are limited. The other files and packages:

- ``call_steps.py``: calls that an event loop or a thread performs
- ``placement.py``: which functions run on the loop, in a thread or in a process
- ``loop.py``: tasks, and how they are woken
- ``background.py``: the event loop under WSGI
- ``fork.py``: forked children
- ``containment.py``: exceptions that must not end other requests, such as ``SystemExit``
- ``once.py``: resources that requests share
- ``cancellation.py``: how code is cancelled
- ``lane.py``: the context of a request's ``def`` parts, their outcome, and calls in threads that
  nobody waits for any more
- ``watchdog.py``: the warning about a blocked event loop
- ``standing_queue.py``: which requests are refused under overload
- ``steps``: the steps that the flow of a request (``flow/http.py``) yields
- ``process_pool.py``: ``app.pool``
- ``pool``: the processes of the pool

Under ASGI, ``def`` handlers run in worker threads. Their number is limited separately from the
threads for files, so busy handlers don't delay files. A service that may hang, such as a session
backend, also has its own limit. ``run_async`` works in these threads, because anyio records in each
thread which event loop has started the thread's call.

Under WSGI, ``async def`` code runs on a background loop: an event loop in a thread of its own. A
process has one background loop for each backend (asyncio or trio). A loop starts on first use.
Startup handlers and ``lifespan`` run on it, in one task from beginning to end. So async handlers
can use a connection pool that ``lifespan`` has opened. Functions that run after the response use
this loop, too.

The current request is a context variable. A request's parts in threads share one context, and so do
its async parts on the background loop, which also share a task (``lane.py``). The context variables
that a step sets are copied back with its outcome, so a handler sees the variables that a hook has
set, even if the two run in different threads.

No thread, socket or file is opened at import or in an ``__init__``, because servers fork after
import. A forked child drops its parent's threads, sockets and files, and opens new ones when it
needs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from micropie._core.execution.background import (
    await_in_background,
    await_in_def,
    background_loop,
    contained,
    refuse_greenlets,
    run_async,
    watch_background_loops,
)
from micropie._core.execution.fork import after_fork_in_child, notify_after_fork
from micropie._core.execution.loop import (
    AHEAD,
    CLEAN_UP_WITHIN,
    TASKS,
    Action,
    AsyncAction,
    DelayedCalls,
    LoopFuture,
    LoopLocal,
    LoopTasks,
    SingleWaiterEvent,
    TaskWaiter,
    current,
    current_exchange,
    entered_on_loop,
    exit_delayed,
    is_on_loop,
    move_on_after,
    set_deadline,
    where,
)
from micropie._core.execution.process_pool import ProcessPool
from micropie._core.execution.standing_queue import StandingQueue
from micropie._core.execution.threads import (
    Slots,
    TookTooLong,
    in_thread,
    run_in_context,
    slots_of,
)
from micropie._core.on_demand import names_on_demand

if TYPE_CHECKING:
    from micropie._core.execution.containment import failure_of, is_being_cancelled
    from micropie._core.execution.once import Once
    from micropie._core.execution.watchdog import loop_lag, watch_loop

# Import these modules on first use: many sites don't need them, and importing them takes longer
# than importing the rest of ``execution``.
__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "containment": "failure_of is_being_cancelled",
        "once": "Once",
        "watchdog": "loop_lag watch_loop",
    },
)
