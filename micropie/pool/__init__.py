"""Handlers in other processes: the call, the processes of this machine, and executors that an author brings."""

from micropie.pool.client import call_in_pool
from micropie.pool.executors import ExecutorPool
from micropie.pool.processes import Pool
from micropie.pool.remote import CancelToken, RemoteChunks

__all__ = [
    "CancelToken",
    "ExecutorPool",
    "Pool",
    "RemoteChunks",
    "call_in_pool",
]
