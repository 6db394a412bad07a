"""Threads that wait for jobs. The thread that became idle last gets the next job; one that is idle for long ends.

They are for jobs that talk with an event loop while they run. A call whose result a task awaits is made by
``threads.in_thread``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextvars import copy_context
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread

from micropie.execution.fork import after_fork_in_child

# Seconds; anyio's and trio's threads wait as long.
IDLE = 10.0

# Does the work, and returns a function to call when its thread is free for the next job. Neither raises an error.
Job = Callable[[], Callable[[], object]]


class _Workers:
    """The threads of this process. A forked child has none: threads don't survive."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self._idle: dict[_Worker, bool] = {}

    def run(self, job: Callable[..., Callable[[], object]], *arguments: object) -> None:
        """Run ``job(*arguments)`` with this task's context variables. Raises ``RuntimeError`` if no thread starts."""
        run = partial(copy_context().run, _run, job, arguments)
        try:
            worker, _ = self._idle.popitem()
        except KeyError:
            worker = _Worker(self._idle)
        worker.jobs.put(run)


class _Worker:
    """One thread. The idle ones are in a dictionary, because only one thread can take an item out of that."""

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
            self._idle[self] = True  # first: the next job may come as soon as the end of this one is known
            free()
            del free


def _run(job: Callable[..., Callable[[], object]], arguments: Iterable[object]) -> Callable[[], object]:
    sniffio = sys.modules.get("sniffio")
    if sniffio is not None:  # by this variable libraries know the task's loop, which this thread does not run
        sniffio.current_async_library_cvar.set(None)
    return job(*arguments)


_workers = _Workers()
after_fork_in_child(_workers.forget)

run_in_worker = _workers.run
