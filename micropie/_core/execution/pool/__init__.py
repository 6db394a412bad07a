"""Run handlers in other processes: in processes that micropie starts on this machine, or in an
executor that the application passes.

Open ``processes.py`` to change how processes start, end and get calls. The other files:

- ``remote.py``: the messages to and from a process, and how a call is cancelled
- ``executors.py``: executors such as Dask's
- ``flow/pooled.py``: how the request and the handler's name are pickled

A process of the pool is a new interpreter, connected by a pipe. It gets one call at a time, so
ending the process affects no other call. Cancelling a call (``CancelToken``) ends its process. If
the application passes an executor, the executor gets jobs that return bytes. A generator can't
leave the process that started it, so an executor's job returns all chunks of a stream at once. Only
sites with a handler that runs in another process import this package.
"""

from micropie._core.execution.pool.executors import ExecutorPool
from micropie._core.execution.pool.processes import Pool
from micropie._core.execution.pool.remote import CancelToken

__all__ = ["CancelToken", "ExecutorPool", "Pool"]
