"""Other processes for handlers: those of this machine, and executors that an author brings.

A process of the pool is a new interpreter with one pipe. It is asked for one call at a time, so one
process can be ended without the others. Cancelling a call (``CancelToken``) ends its process. An
executor in the pool's place gets jobs that return bytes. A generator stays in the process that
began it, so a job returns all chunks of a stream.

How a request and the name of its handler cross is in ``flow/pooled.py``. Only a site that has such
a handler imports this package.
"""

from micropie._core.execution.pool.executors import ExecutorPool
from micropie._core.execution.pool.processes import Pool
from micropie._core.execution.pool.remote import CancelToken

__all__ = ["CancelToken", "ExecutorPool", "Pool"]
