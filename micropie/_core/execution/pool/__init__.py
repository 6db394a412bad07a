"""Run handlers in other processes: processes of this machine, or an executor that an author passes.

Open ``processes.py`` to change how processes start, end and get calls, ``remote.py`` for the
messages and the cancellation of a call, and ``executors.py`` for executors such as Dask's.
``flow/pooled.py`` pickles the request and the handler's name.

A process of the pool is a new interpreter, connected by one pipe. It gets one call at a time, so it
can be ended without affecting other calls. Cancelling a call (``CancelToken``) ends its process. An
executor, used instead of the pool, gets jobs that return bytes. A generator can't leave the process
that started it, so the job for an executor returns all chunks of a stream at once. Only sites with
a handler that runs in a process import this package.
"""

from micropie._core.execution.pool.executors import ExecutorPool
from micropie._core.execution.pool.processes import Pool
from micropie._core.execution.pool.remote import CancelToken

__all__ = ["CancelToken", "ExecutorPool", "Pool"]
