"""The steps that flows yield, and helpers for them.

Open ``steps.py`` to change the kinds of steps. The other files:

- ``generators.py``: how generators of the application are advanced and closed
- ``after_response.py``: functions that run after the response
- ``outage.py``: services that may be unavailable
- ``redis_client.py``: the connection to Redis
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from micropie._core.execution.steps.after_response import (
    Ends,
    Task,
    call_each,
    hold_shutdown,
    run_tasks,
    start_tasks,
    wait_for_tasks,
)
from micropie._core.execution.steps.generators import (
    ResourceContext,
    Resources,
    RunningGenerator,
    resume_async,
)
from micropie._core.execution.steps.outage import Outage
from micropie._core.execution.steps.steps import (
    ANSWER,
    AWAIT,
    CALL,
    CHUNK,
    CLOSE,
    HANDLER,
    INLINE,
    IO,
    ON_LOOP,
    RECEIVE,
    RECEIVE_STEP,
    RELEASE,
    AnyStep,
    Call,
    Completed,
    Flow,
    Kind,
    Resume,
    Step,
    awaited,
    call,
    call_within,
    itself,
    kind_of,
    no_function,
    result_of,
)
from micropie._core.on_demand import names_on_demand

if TYPE_CHECKING:
    from micropie._core.execution.steps.redis_client import RedisClient

# Import these modules on first use: many sites don't need them, and importing them takes longer
# than importing the rest of ``steps``.
__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "redis_client": "RedisClient",
    },
)
