"""Event loops whose clock stands still while something happens, and jumps when every task waits.

A limit of 50 ms then never passes because the machine is busy, and nobody waits for it. Only for
what runs on one event loop alone: time would jump while a thread or a process is at work.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
import trio
from trio.testing import MockClock

from tests.support.waiting import PATIENCE

Value = TypeVar("Value")


class _JumpingSelector(selectors.DefaultSelector):
    """Passes over the time in which it would wait."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        self.now += timeout
        return super().select(0)


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._clock = _JumpingSelector()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now


def run_in_virtual_time(
    backend: str, function: Callable[..., Awaitable[Value]], *args: Any
) -> Value:
    """Run ``function`` on a new event loop.

    Raises ``TimeoutError`` if it hangs, which is known at once.
    """

    async def bounded() -> Value:
        with anyio.fail_after(PATIENCE):
            return await function(*args)

    if backend == "trio":  # not by anyio, which forgets the clock before 4.14
        return trio.run(bounded, clock=MockClock(autojump_threshold=0))
    return anyio.run(bounded, backend_options={"loop_factory": _VirtualLoop})
