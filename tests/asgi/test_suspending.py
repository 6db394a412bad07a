"""Interrupting what waits: at no cost when nothing waits, and on both loops the same."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from micropie.asgi.suspending import Interrupted, Interruption, interruptible
from tests.asgi.calls import every_loop, run


def never() -> Interruption:
    raise AssertionError("it did not wait")


async def at_once() -> str:
    return "value"


async def waits_a_little() -> str:
    for _ in range(3):
        await anyio.sleep(0.001)
    return "value"


@every_loop
def test_what_is_ready_asks_for_no_interruption(backend: str) -> None:
    assert run(backend, lambda: interruptible(at_once(), never)) == "value"


@every_loop
def test_what_waits_asks_once(backend: str) -> None:
    begun: list[int] = []

    def begin() -> Interruption:
        begun.append(1)
        return Interruption()

    assert run(backend, lambda: interruptible(waits_a_little(), begin)) == "value"
    assert begun == [1]


@every_loop
@pytest.mark.parametrize("wait", [False, True])
def test_what_it_raises_passes_through(backend: str, wait: bool) -> None:
    error = ValueError("x")

    async def fails() -> None:
        if wait:
            await anyio.lowlevel.checkpoint()
        raise error

    with pytest.raises(ValueError, match="x") as caught:
        run(backend, lambda: interruptible(fails(), Interruption))
    assert caught.value is error


@every_loop
def test_a_deadline_interrupts(backend: str) -> None:
    async def main() -> None:
        with pytest.raises(Interrupted):
            await interruptible(anyio.sleep_forever(), lambda: Interruption(anyio.current_time() + 0.01))
        await anyio.lowlevel.checkpoint()  # and nothing of it is left

    run(backend, main)


async def interrupted_soon(awaitable: Any) -> Any:
    interruption = Interruption()

    async def interrupt() -> None:
        await anyio.sleep(0.01)
        interruption.interrupt()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(interrupt)
        try:
            return await interruptible(awaitable, lambda: interruption)
        except Interrupted:
            return "interrupted"


@every_loop
def test_a_call_interrupts(backend: str) -> None:
    assert run(backend, interrupted_soon, anyio.sleep_forever()) == "interrupted"


@every_loop
def test_a_clean_up_may_wait(backend: str) -> None:
    done: list[int] = []

    async def cleans() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.01)
            done.append(1)

    assert run(backend, lambda: interrupted_soon(cleans())) == "interrupted"
    assert done == [1]


@every_loop
def test_scopes_and_groups_inside_are_left_properly(backend: str) -> None:
    seen: list[str] = []

    async def inner() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            seen.append("task ended")

    async def nested() -> None:
        with anyio.move_on_after(0.001):
            await anyio.sleep_forever()
        seen.append("own deadline")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(inner)
            with anyio.CancelScope():
                await anyio.sleep_forever()

    assert run(backend, lambda: interrupted_soon(nested())) == "interrupted"
    assert seen == ["own deadline", "task ended"]


@every_loop
def test_cancellation_from_outside_is_no_interruption(backend: str) -> None:
    async def main() -> tuple[bool, list[str]]:
        seen: list[str] = []
        with anyio.move_on_after(0.01) as scope:
            try:
                await interruptible(anyio.sleep_forever(), Interruption)
            except Interrupted:
                seen.append("interrupted")
            except BaseException as error:
                seen.append("cancelled" if isinstance(error, anyio.get_cancelled_exc_class()) else repr(error))
                raise
        return scope.cancelled_caught, seen

    assert run(backend, main) == (True, ["cancelled"])


@every_loop
def test_an_interruption_that_came_before_the_wait_counts(backend: str) -> None:
    interruption = Interruption()

    def begin() -> Interruption:
        interruption.interrupt()
        return interruption

    async def main() -> None:
        with pytest.raises(Interrupted):
            await interruptible(anyio.sleep_forever(), begin)

    run(backend, main)
