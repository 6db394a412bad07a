"""Handlers in other processes: the call, the processes of this machine, and executors that an
author brings.

A process of the pool is a new interpreter with one pipe. It is asked for one call at a time, so one
process can be ended without the others. A handler goes there by its name, never as a pickled
application. Cancelling a request cancels the call (``CancelToken``), which ends that process. An
executor in the pool's place gets jobs that return bytes. A generator stays in the process that
began it, so a job returns all chunks of a stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from micropie.on_demand import names_on_demand
from micropie.pool.remote import CancelToken

if TYPE_CHECKING:
    from micropie.pool.client import call_in_pool
    from micropie.pool.executors import ExecutorPool
    from micropie.pool.processes import Pool

__all__ = ["CancelToken", "ExecutorPool", "Pool", "call_in_pool"]

__getattr__ = names_on_demand(
    __name__, {"client": "call_in_pool", "executors": "ExecutorPool", "processes": "Pool"}
)
