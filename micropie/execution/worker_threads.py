"""Threads that wait for jobs: the one that became idle last is given the next, and one that is idle for long ends.

For what talks with an event loop while it runs; a call whose result is waited for is made by ``micropie.threads``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from micropie.execution.fork import after_fork_in_child

# Seconds; anyio's and trio's threads wait as long.
IDLE = 10.0

# Does the work, and returns what is to be called when its thread is free for another one. Neither raises anything.
Job = Callable[[], Callable[[], object]]


class _Workers:
    """Those of this process. A forked child has none: threads don't survive."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self._idle: dict[_Worker, bool] = {}

    def run(self, job: Callable[..., Callable[[], object]], *arguments: Any) -> None:
        """Run ``job(*arguments)`` with this task's context variables. Raises ``RuntimeError`` if no thread starts."""
        run = partial(copy_context().run, _run, job, arguments)
        try:
            worker, _ = self._idle.popitem()
        except KeyError:
            worker = _Worker(self._idle)
        worker.jobs.put(run)


class _Worker:
    """One thread. Who is idle is in a dictionary, as what is taken out of that is taken by one thread only."""

    def __init__(self, idle: dict[_Worker, bool]) -> None:
        self.jobs: SimpleQueue[Job] = SimpleQueue()
        self._idle = idle
        Thread(target=self._work, name="micropie worker", daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                job = self.jobs.get(timeout=IDLE)
            except Empty:
                if self._idle.pop(self, False):
                    return
                continue  # a job is on its way
            free = job()
            del job
            self._idle[self] = True  # first: who hears of the end may have the next one
            free()
            del free


def _run(job: Callable[..., Callable[[], object]], arguments: Any) -> Callable[[], object]:
    sniffio = sys.modules.get("sniffio")
    if sniffio is not None:  # the loop that libraries are told of by a variable is not this thread's
        sniffio.current_async_library_cvar.set(None)
    return job(*arguments)


_workers = _Workers()
after_fork_in_child(_workers.forget)

run_in_worker = _workers.run
