"""Other processes for handlers: those of this machine, and executors that an author supplies.

Open ``processes.py`` to change how processes start, end and get calls, ``remote.py`` for the
messages and cancellation of a call, and ``executors.py`` for executors such as Dask's. How a
request and the name of its handler cross is in ``flow/pooled.py``.

A process of the pool is a new interpreter with one pipe. It gets one call at a time, so one process
can be ended without the others. Cancelling a call (``CancelToken``) ends its process. An executor
in the pool's place gets jobs that return bytes. A generator stays in the process that began it, so
a job returns all chunks of a stream. Only a site that has such a handler imports this package.
"""

from micropie._core.execution.pool.executors import ExecutorPool
from micropie._core.execution.pool.processes import Pool
from micropie._core.execution.pool.remote import CancelToken

__all__ = ["CancelToken", "ExecutorPool", "Pool"]
