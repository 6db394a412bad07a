"""Forked children: servers fork their workers, and threads, locks and connections do not survive
that.

Windows can't fork, and macOS has no ``os.sched_getaffinity``: nothing else in the package asks
``os`` for either.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol
from weakref import WeakSet


class ForkAware(Protocol):
    """An object that owns what does not survive a fork."""

    def after_fork(self) -> None:
        """Let go of what belongs to the parent process; called in the child."""


_owners: WeakSet[ForkAware] = WeakSet()


def after_fork_in_child(function: Callable[[], object]) -> None:
    """Call ``function`` in each child that this process forks.

    Does nothing where a process can't fork.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)


def notify_after_fork(owner: ForkAware) -> None:
    """Call ``owner.after_fork()`` in each forked child, as long as ``owner`` lives.

    ``owner`` is hashable and can be referred to weakly. No thread of the parent process lives in
    the child, and a lock may be held by one: make new locks there.
    """
    _owners.add(owner)


def _tell_owners() -> None:
    for owner in _owners:
        owner.after_fork()


after_fork_in_child(_tell_owners)


def available_cpus() -> int:
    """Return how many processors this process may use; where the system does not say, how many
    there are.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
