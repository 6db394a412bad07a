"""How random walks and mutated requests are made: the same at each run, so a failure repeats."""

from __future__ import annotations

import asyncio
from typing import Any

import trio.testing
from hypothesis import HealthCheck, Phase, settings
from sniffio import current_async_library


def repeatable(examples: int, steps: int = 1) -> settings:
    """Return settings for so many examples. ``steps``: the longest walk of a state machine."""
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize=True,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),  # an explanation would trace each line
        suppress_health_check=[HealthCheck.too_slow],
    )


async def settled() -> None:
    """Let the event loop run until each other task waits for something from outside: a message, a
    thread, a point in time.
    """
    if current_async_library() == "trio":
        await trio.testing.wait_all_tasks_blocked()
        return
    loop: Any = asyncio.get_running_loop()
    await asyncio.sleep(0)
    while loop._ready:  # noqa: ASYNC110 - nothing is set then
        await asyncio.sleep(0)
