"""What tasks wait for on either loop."""

from __future__ import annotations

import asyncio
import weakref
from contextvars import ContextVar
from functools import partial
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

from micropie.asgi.streaming import call_later
from micropie.execution.loop import LoopLocal, LoopTasks, SingleWaiterEvent, is_on_loop
from tests.asgi.calls import Call, every_loop, run
from tests.support.waiting import PATIENCE


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
def test_a_later_call_can_be_prevented(backend: str) -> None:
    called: list[str] = []

    async def main() -> None:
        call_later(0.001, partial(called.append, "first"))
        call_later(0.001, partial(called.append, "second"))()
        is_over = anyio.Event()
        call_later(0.02, is_over.set)
        assert called == []
        await is_over.wait()

    run(backend, main)
    assert called == ["first"]


@every_loop
def test_a_later_call_is_not_made_before_its_time(backend: str) -> None:
    async def main() -> float:
        begun, is_over = anyio.current_time(), anyio.Event()
        call_later(0.05, is_over.set)
        await is_over.wait()
        return anyio.current_time() - begun

    assert run(backend, main) > 0.049


@every_loop
def test_a_later_call_runs_in_a_task_and_in_the_context_that_asked_for_it(backend: str) -> None:
    heard: list[tuple[str, bool]] = []
    variable = ContextVar("variable", default="unset")

    async def main() -> None:
        last = anyio.Event()
        for value in ("first", "second"):
            variable.set(value)
            call_later(0.001, lambda: heard.append((variable.get(), is_on_loop())))
        call_later(0.02, last.set)
        await last.wait()

    run(backend, main)
    assert sorted(heard) == [("first", True), ("second", True)]


@every_loop
def test_a_later_call_that_was_prevented_keeps_nothing_that_was_current(backend: str) -> None:
    variable: ContextVar[Any] = ContextVar("variable")

    async def main() -> Any:
        value = Call()
        kept = weakref.ref(value)
        token = variable.set(value)
        call_later(60, value.leave)()
        variable.reset(token)
        del token, value
        await wait_all_tasks_blocked()
        return kept()

    assert run(backend, main) is None


@every_loop
def test_a_task_of_the_loop_runs_in_a_copy_of_the_context(backend: str) -> None:
    heard: list[tuple[str, str]] = []
    variable = ContextVar("variable", default="unset")

    async def main() -> None:
        is_over = anyio.Event()

        async def work(argument: str) -> None:
            await checkpoint()
            heard.append((argument, variable.get()))
            variable.set("changed")
            is_over.set()

        variable.set("set")
        LoopTasks().start_soon(work, "argument")
        await is_over.wait()
        assert variable.get() == "set"

    run(backend, main)
    assert heard == [("argument", "set")]


class EagerLoop:
    """A loop with ``asyncio.eager_task_factory``, which Python has from 3.12 on: a task may have ended when it is made."""

    def create_task(self, coroutine: Any, context: Any) -> object:
        with pytest.raises(StopIteration):
            context.run(coroutine.send, None)
        return "ended"


def test_a_task_that_has_ended_when_it_is_made_is_not_kept() -> None:
    async def work() -> None:
        done.append("work")

    async def main() -> None:
        tasks = LoopTasks()
        tasks._loop = EagerLoop()
        tasks.start_soon(work)
        await tasks.join()

    done: list[str] = []
    run("asyncio", main)
    assert done == ["work"]


def test_a_task_that_is_cancelled_before_it_has_begun_is_not_waited_for() -> None:
    async def main() -> None:
        tasks = LoopTasks()
        before = asyncio.all_tasks()
        for _ in range(2):
            tasks.start_soon(checkpoint)
        (asyncio.all_tasks() - before).pop().cancel()
        with anyio.fail_after(PATIENCE):
            await tasks.join()

    run("asyncio", main)


def test_a_loop_has_its_own_value() -> None:
    local = LoopLocal(list[int])

    async def main() -> list[int]:
        assert local.get() is local.get()
        return local.get()

    assert asyncio.run(main()) is not asyncio.run(main())
    with pytest.raises(RuntimeError):
        local.get()
