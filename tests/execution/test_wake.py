"""What tasks wait for on either loop."""

from __future__ import annotations

import anyio
from anyio import wait_all_tasks_blocked

from micropie.execution.wake import SingleWaiterEvent
from tests.asgi.calls import every_loop, run


@every_loop
def test_a_bell_is_heard_by_who_waits_and_by_nobody_else(backend: str) -> None:
    heard: list[int] = []

    async def main() -> None:
        bell = SingleWaiterEvent()
        bell.ring()

        async def listen() -> None:
            for n in range(3):
                await bell.wait()
                heard.append(n)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            for n in range(3):
                await wait_all_tasks_blocked()
                assert heard == list(range(n))
                bell.ring()
                bell.ring()

    run(backend, main)
    assert heard == [0, 1, 2]


@every_loop
def test_a_bell_may_be_rung_after_its_listener_was_cancelled(backend: str) -> None:
    async def main() -> None:
        bell = SingleWaiterEvent()
        with anyio.move_on_after(0.01) as scope:
            await bell.wait()
        assert scope.cancelled_caught
        bell.ring()
        with anyio.move_on_after(0.01) as scope:
            await bell.wait()
        assert scope.cancelled_caught

    run(backend, main)
