"""What tasks wait for on either loop."""

from __future__ import annotations

import anyio
from anyio import wait_all_tasks_blocked

from micropie.execution.wake import SingleWaiterEvent, call_later
from tests.asgi.calls import every_loop, run


@every_loop
def test_a_ring_wakes_the_task_that_waits_and_is_not_kept_for_a_later_wait(backend: str) -> None:
    heard: list[int] = []

    async def main() -> None:
        event = SingleWaiterEvent()
        event.ring()

        async def listen() -> None:
            for n in range(3):
                await event.wait()
                heard.append(n)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            for n in range(3):
                await wait_all_tasks_blocked()
                assert heard == list(range(n))
                event.ring()
                event.ring()

    run(backend, main)
    assert heard == [0, 1, 2]


@every_loop
def test_it_may_be_rung_after_the_task_that_waited_was_cancelled(backend: str) -> None:
    async def main() -> None:
        event = SingleWaiterEvent()
        with anyio.move_on_after(0.01) as scope:
            await event.wait()
        assert scope.cancelled_caught
        event.ring()
        with anyio.move_on_after(0.01) as scope:
            await event.wait()
        assert scope.cancelled_caught

    run(backend, main)


@every_loop
def test_a_later_call_can_be_prevented_where_the_loop_has_timers(backend: str) -> None:
    called: list[str] = []

    async def main() -> None:
        call_later(0.001, lambda: called.append("first"))
        cancel = call_later(0.002, lambda: called.append("second"))
        cancel()
        await anyio.sleep(0.01)

    run(backend, main)
    assert called == (["first"] if backend == "asyncio" else ["first", "second"])  # trio calls at once
