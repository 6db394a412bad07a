"""Call functions in forked children. Servers fork their workers, but threads, locks and connections
don't survive a fork.

This is the only module that uses ``fork``, which Windows lacks, and ``os.sched_getaffinity``, which
macOS lacks.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet

from micropie._core.execution.loop import Action


class ForkAware(Protocol):
    """An object that owns a thread or something else that a forked child doesn't have."""

    def after_fork(self) -> None:
        """Drop the threads, locks and connections of the parent process. The child process calls
        this method.
        """


_owners: WeakSet[ForkAware] = WeakSet()


def after_fork_in_child(function: Action) -> None:
    """Call ``function`` in each child that this process forks.

    Does nothing on platforms without fork.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)


def notify_after_fork(owner: ForkAware) -> None:
    """Call ``owner.after_fork()`` in each forked child, as long as ``owner`` lives.

    ``owner`` must be hashable and allow weak references. The parent's threads don't exist in the
    child, but one of them may have held a lock when the process was forked. So ``after_fork`` must
    create new locks.
    """
    _owners.add(owner)


def _notify_owners() -> None:
    for owner in _owners:
        owner.after_fork()


after_fork_in_child(_notify_owners)


def available_cpus() -> int:
    """Return the number of processors that this process may use. If the system doesn't report that,
    return the number of processors of the machine.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
