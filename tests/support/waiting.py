"""Waiting in a test for an event in another thread, task or process."""

from __future__ import annotations

import time
from collections.abc import Callable

import anyio

# Seconds after which a wait counts as a hang. Only a failing test waits that long, so it allows for
# a busy machine.
PATIENCE = 30.0

# Seconds within which a server ends. gunicorn kills a worker that has missed its signal after 30 s.
END_WITHIN = 2 * PATIENCE


def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until ``condition()`` holds; fail if that takes longer than ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)


async def until_async(condition: Callable[[], object]) -> None:
    """Wait as ``until`` does, and let the event loop run."""
    with anyio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110 - what sets it may be in another thread
            await anyio.sleep(0.005)
