"""Awaiting what may have to wait: nothing is spent before it does, and on both loops the same."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from micropie.asgi.coroutines import await_within, resume
from tests.support.virtual_time import run_in_virtual_time as run


async def at_once() -> str:
    return "value"


async def waits_a_little() -> str:
    for _ in range(3):
        await anyio.sleep(0.001)
    return "value"


@pytest.mark.parametrize("make", [at_once, waits_a_little])
def test_the_coroutine_s_result_is_returned(backend: str, make: Any) -> None:
    assert run(backend, lambda: await_within(make(), None)) == "value"


@pytest.mark.parametrize("wait", [False, True])
def test_the_coroutine_s_exception_is_raised(backend: str, wait: bool) -> None:
    error = ValueError("x")

    async def fails() -> None:
        if wait:
            await anyio.lowlevel.checkpoint()
        raise error

    with pytest.raises(ValueError, match="x") as caught:
        run(backend, lambda: await_within(fails(), None))
    assert caught.value is error


def test_a_cancellation_reaches_the_awaited_code(backend: str) -> None:
    seen: list[str] = []

    async def waits() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            seen.append("ended")

    async def main() -> bool:
        with anyio.move_on_after(0.01) as scope:
            await await_within(waits(), None)
        return scope.cancelled_caught

    assert run(backend, main) is True
    assert seen == ["ended"]


# -- with a time limit for each answer: ``resume`` -------------------------------------------------


async def limited(awaitable: Awaitable[Any], seconds: float | None) -> Any:
    steps: Any = awaitable.__await__()
    try:
        waits_for = next(steps)
    except StopIteration as end:
        return end.value
    return await resume(steps, waits_for, seconds)


@pytest.mark.parametrize("seconds", [None, 5])
def test_a_result_within_the_limit_is_returned(backend: str, seconds: float | None) -> None:
    assert run(backend, lambda: limited(waits_a_little(), seconds)) == "value"


def test_exceeding_the_limit_raises_timeout_error(backend: str) -> None:
    with pytest.raises(TimeoutError):
        run(backend, lambda: limited(anyio.sleep_forever(), 0.001))


def test_the_cleanup_may_await(backend: str) -> None:
    done: list[int] = []

    async def cleans() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            await anyio.sleep(0.001)
            done.append(1)

    with pytest.raises(TimeoutError):
        run(backend, lambda: limited(cleans(), 0.001))
    assert done == [1]


def test_a_handler_s_own_scopes_nest_within_the_limit(backend: str) -> None:
    async def nested() -> str:
        with anyio.move_on_after(0.001):
            await anyio.sleep_forever()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep, 0.001)
        return "value"

    assert run(backend, lambda: limited(nested(), 5)) == "value"


def test_an_error_after_the_timeout_is_raised(backend: str) -> None:
    async def fails() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("while cleaning up")

    with pytest.raises(ValueError, match="while cleaning up"):
        run(backend, lambda: limited(fails(), 0.001))


def test_an_outside_cancellation_is_not_a_timeout(backend: str) -> None:
    async def main() -> bool:
        with anyio.move_on_after(0.01) as scope:
            await limited(anyio.sleep_forever(), 5)
        return scope.cancelled_caught

    assert run(backend, main) is True


def test_an_awaitable_that_polls_exceeds_the_limit() -> None:
    async def polls(times: int) -> str:
        for _ in range(times):
            await asyncio.sleep(0)  # yields None
        return "value"

    assert run("asyncio", lambda: limited(polls(3), 5)) == "value"
    with pytest.raises(TimeoutError):
        run("asyncio", lambda: limited(polls(1000), 0))


def test_a_cancellation_at_the_time_of_the_limit_is_not_a_timeout() -> None:
    async def main() -> None:
        async def waits() -> None:
            future = asyncio.get_running_loop().create_future()
            future.add_done_callback(lambda _: task.cancel())  # before the task is resumed
            await limited(future, 0.001)

        task = asyncio.create_task(waits())
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelling() == 1

    run("asyncio", main)


def test_the_limit_makes_no_request_to_cancel_the_task() -> None:
    async def main() -> int:
        with pytest.raises(TimeoutError):
            await limited(anyio.sleep_forever(), 0.001)
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert run("asyncio", main) == 0


class BareFuture:
    """As granian's: an iterator of what an inner awaitable waits for, without `send` and
    `throw`.
    """

    def __init__(self, inner: Awaitable[Any]) -> None:
        self._steps: Any = inner.__await__()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self  # type: ignore[return-value]

    def __iter__(self) -> BareFuture:
        return self

    def __next__(self) -> Any:
        return next(self._steps)


def test_an_awaitable_without_send_and_throw_is_resumed() -> None:
    assert run("asyncio", lambda: limited(BareFuture(waits_a_little()), 5)) == "value"


def test_an_awaitable_without_throw_can_be_timed_out() -> None:
    with pytest.raises(TimeoutError):
        run("asyncio", lambda: limited(BareFuture(anyio.sleep_forever()), 0.001))
