"""Event loops for test clients, in threads that last longer than a client does.

A client has its loop alone for as long as it lives. After that the next one gets the same loop, if
no task is left in it: to start a loop and its thread, and to end both, takes longer than most
requests.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import anyio

from micropie.testing.asgi import AppLoop, start_loop
from tests.support.waiting import PATIENCE


class Loops:
    """Loops that nobody uses, by the names of their backends."""

    def __init__(self) -> None:
        self._idle: dict[str, list[AppLoop]] = defaultdict(list)
        os.register_at_fork(after_in_child=self._idle.clear)  # where their threads don't run

    @contextmanager
    def borrowed(self, backend: str) -> Iterator[AppLoop]:
        """Yield a loop that nobody else uses until the end of ``with``."""
        idle = self._idle[backend]
        loop = idle.pop() if idle else start_loop(backend, None)
        before = _tasks_of(loop)
        try:
            yield loop
        finally:
            if _tasks_of(loop) == before:
                idle.append(loop)
            else:
                loop.stop(PATIENCE)

    def stop(self) -> None:
        """End the loops that nobody uses."""
        for idle in self._idle.values():
            while idle:
                idle.pop().stop(PATIENCE)


def _tasks_of(loop: AppLoop) -> set[int]:
    """Return the ids of the tasks of a loop, when it has made the calls that were asked for."""
    found: Future[set[int]] = Future()
    loop.post(lambda: found.set_result({task.id for task in anyio.get_running_tasks()}))
    return found.result(PATIENCE)
