"""Run handlers in other processes: in processes that micropie starts on this machine, or in an
executor that the application passes.

Open ``processes.py`` to change how processes start, end and get calls. The other files:

- ``inside.py``: what runs in a process
- ``connection.py``: how values cross between two processes
- ``remote.py``: the token that cancels a call, and its errors
- ``executors.py``: executors such as Dask's
- ``batches.py``: ``batched``
- ``flow/pooled.py``: how the request and the handler's name are pickled

A process of the pool is a new interpreter, connected by a socket. It gets one call at a time, so
ending the process affects no other call. If the application passes an executor, the executor gets
jobs that return bytes. A generator can't leave the process that started it, so an executor's job
returns all chunks of a stream at once. Only sites with code that runs in another process import
this package.
"""

from typing import TYPE_CHECKING

from micropie._core.execution.pool.executors import ExecutorPool
from micropie._core.execution.pool.inside import check_cancelled, pool_index, progress
from micropie._core.execution.pool.processes import Pool
from micropie._core.execution.pool.remote import RetireProcess, Streamed
from micropie._core.execution.process_pool import CancelToken, Progress
from micropie._core.on_demand import names_on_demand

if TYPE_CHECKING:
    from micropie._core.execution.pool.batches import batched

__getattr__, __dir__ = names_on_demand(__name__, {"batches": "batched"})
