"""Calls that go on in their threads although nobody waits for them any more.

A thread can't be ended. So if a request's time limit is over, or the request is cancelled, a
function that it has called in a thread may go on. It still uses what the request has opened for it,
such as a connection of a pool. If the request closed this now, another request would get a
connection on which the function may write, and commit what it writes. So the request waits with
that until the call has ended; see ``Exchange.close_resources``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import anyio

from micropie._core.execution.loop import TASKS, Action


class LeftCall(Protocol):
    """A call that goes on in its thread."""

    @property
    def has_ended(self) -> bool: ...

    def when_ended(self, action: Action) -> None:
        """Call ``action``, which must not raise, in the call's thread when the call ends, or right
        now if it has ended.
        """


async def until_ended(when_ended: Callable[[Action], object]) -> None:
    """Wait for the end of calls. ``when_ended``: the method of a ``LeftCall``, or
    ``Exchange.when_unused``.
    """
    ended = anyio.Event()
    when_ended(partial(TASKS.get().call, ended.set))
    await ended.wait()
