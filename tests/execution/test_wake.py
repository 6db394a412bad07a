"""What tasks wait for on either loop."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from contextlib import suppress
from contextvars import Context, ContextVar
from functools import partial
from typing import Any

import anyio
import pytest
import sniffio
import trio
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

from micropie import App
from micropie._core.execution.loop import (
    TASKS,
    Action,
    AsyncFunction,
    DelayedCalls,
    LoopLocal,
    LoopTasks,
    SingleWaiterEvent,
)
from micropie._core.execution.steps.steps import no_function
from tests.asgi.calls import Call, get, run
from tests.support.waiting import PATIENCE


def test_ringing_wakes_the_waiting_task_and_is_not_stored(backend: str) -> None:
    heard: list[int] = []

    async def main() -> None:
        event = SingleWaiterEvent(TASKS.get())
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


def test_an_event_may_be_rung_after_its_waiting_task_was_cancelled(backend: str) -> None:
    async def main() -> None:
        event = SingleWaiterEvent(TASKS.get())
        with anyio.move_on_after(0.01) as scope:
            await event.wait()
        assert scope.cancelled_caught
        event.ring()
        with anyio.move_on_after(0.01) as scope:
            await event.wait()
        assert scope.cancelled_caught

    run(backend, main)


def test_a_delayed_call_can_be_cancelled(backend: str) -> None:
    called: list[str] = []

    async def main() -> None:
        calls = DelayedCalls(0.001)
        calls.add(partial(called.append, "first"))
        calls.add(partial(called.append, "second"))()
        is_over = anyio.Event()
        calls.add(is_over.set)
        assert called == []
        await is_over.wait()
        later = anyio.Event()
        calls.add(later.set)
        await later.wait()

    run(backend, main)
    assert called == ["first"]


def test_delayed_calls_run_in_order_and_never_early(backend: str) -> None:
    called: list[tuple[str, float]] = []

    async def main() -> None:
        begun = anyio.current_time()
        calls, last = DelayedCalls(0.05), anyio.Event()
        calls.add(lambda: called.append(("first", anyio.current_time() - begun)))
        await anyio.sleep(0.02)
        calls.add(lambda: called.append(("second", anyio.current_time() - begun)))
        calls.add(last.set)
        await last.wait()

    run(backend, main)
    (first, after_first), (second, after_second) = called
    assert (first, second) == ("first", "second")
    assert after_first > 0.049
    assert after_second > 0.069  # the timer for the first call did not make it


def test_a_delayed_call_runs_in_the_context_that_added_it(backend: str) -> None:
    heard: list[str] = []
    variable = ContextVar("variable", default="unset")

    async def main() -> None:
        calls, last = DelayedCalls(0.001), anyio.Event()
        for value in ("first", "second"):
            variable.set(value)
            calls.add(lambda: heard.append(variable.get()))
        calls.add(last.set)
        await last.wait()

    run(backend, main)
    assert heard == ["first", "second"]


def test_a_cancelled_delayed_call_keeps_no_reference_to_its_context(backend: str) -> None:
    variable: ContextVar[Any] = ContextVar("variable")

    async def main() -> Any:
        calls = DelayedCalls(60)
        value = Call()
        kept = weakref.ref(value)
        token = variable.set(value)
        calls.add(value.leave)()
        variable.reset(token)
        del token, value
        return kept()

    assert run(backend, main) is None


def test_one_task_runs_all_delayed_calls_until_none_is_left() -> None:
    async def main() -> None:
        calls, is_over = DelayedCalls(0.001), asyncio.Event()
        before = asyncio.all_tasks()

        def add_once_more() -> None:
            calls.add(is_over.set)

        for _ in range(3):
            calls.add(no_function)
        calls.add(add_once_more)
        waiting = asyncio.all_tasks() - before
        assert len(waiting) == 1
        await is_over.wait()
        await asyncio.wait(waiting)
        assert asyncio.all_tasks() == before

    run("asyncio", main)


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
    """A loop with ``asyncio.eager_task_factory``, which Python has from 3.12 on: a task may have
    ended when it is made.
    """

    def create_task(self, coroutine: Any, context: object) -> object:
        with pytest.raises(StopIteration):
            coroutine.send(None)
        return "ended"


class EagerTasks(LoopTasks):
    """The tasks of such a loop: each has begun when ``start_soon`` returns."""

    def start_soon(
        self, function: AsyncFunction, *arguments: object, context: Context | None = None
    ) -> Action:
        self.start(function, *arguments)
        return no_function


def test_a_delayed_call_is_made_also_by_a_task_that_begins_at_once() -> None:
    async def main() -> None:
        calls = DelayedCalls(0.001)
        calls._tasks = EagerTasks()
        for _ in range(2):
            is_over = anyio.Event()
            calls.add(is_over.set)
            with anyio.fail_after(PATIENCE):
                await is_over.wait()

    run("asyncio", main)


def test_a_task_that_has_already_ended_is_not_stored() -> None:
    async def work() -> None:
        done.append("work")

    async def main() -> None:
        tasks = LoopTasks()
        tasks._create_task = EagerLoop().create_task
        tasks.start_soon(work)
        await tasks.join()

    done: list[str] = []
    run("asyncio", main)
    assert done == ["work"]


def test_a_task_cancelled_before_its_start_is_not_waited_for() -> None:
    async def main() -> None:
        tasks = LoopTasks()
        before = asyncio.all_tasks()
        for _ in range(2):
            tasks.start_soon(checkpoint)
        (asyncio.all_tasks() - before).pop().cancel()
        with anyio.fail_after(PATIENCE):
            await tasks.join()

    run("asyncio", main)


@pytest.mark.parametrize("has_begun", [True, False])
def test_a_task_can_be_cancelled(backend: str, has_begun: bool) -> None:
    began, ended = list[str](), list[str]()

    async def work() -> None:
        began.append("work")
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("work")

    async def main() -> None:
        tasks = LoopTasks()
        cancel = tasks.start_soon(work)
        while has_begun and not began:
            await checkpoint()
        cancel()
        with anyio.fail_after(PATIENCE):
            while tasks._tasks:
                await checkpoint()
        cancel()  # does nothing

    run(backend, main)
    assert began == ended
    assert began or not has_begun


def test_an_event_loop_has_its_own_value() -> None:
    local = LoopLocal(list[int])

    async def main() -> list[int]:
        assert local.get() is local.get()
        return local.get()

    assert asyncio.run(main()) is not asyncio.run(main())
    with pytest.raises(RuntimeError):
        local.get()


def test_the_value_of_a_closed_loop_is_removed_even_if_it_holds_the_loop() -> None:
    local = LoopLocal(asyncio.get_running_loop)
    loops = list[weakref.ref[object]]()

    async def main() -> None:
        loops.append(weakref.ref(local.get()))

    for _ in range(3):
        asyncio.run(main())
    gc.collect()
    assert [loop() is None for loop in loops] == [True, True, False]


def test_the_value_of_an_open_loop_stays(backend: str) -> None:
    local = LoopLocal(list[int])

    async def main() -> None:
        value = local.get()
        await anyio.to_thread.run_sync(asyncio.run, other())
        assert local.get() is value

    async def other() -> None:
        local.get()

    run(backend, main)


async def _await_a_turn(reached: list[str]) -> None:
    reached.append("begun")
    try:
        await checkpoint()
        reached.append("went on")
    except BaseException:
        reached.append("cancelled")
        try:
            with anyio.CancelScope(shield=True):
                await checkpoint()
        finally:
            reached.append("ended")
        raise
    finally:
        await no_wait()


async def no_wait() -> None:
    """Return at once."""


def test_a_started_task_begins_at_once_except_under_trio(backend: str) -> None:
    async def main() -> None:
        reached, tasks = list[str](), TASKS.get()
        tasks.start(_await_a_turn, reached)
        tasks.start(no_wait)
        assert reached == (["begun"] if backend == "asyncio" else [])
        await tasks.join()
        assert reached == ["begun", "went on"]

    run(backend, main)


def test_a_started_task_is_its_own_task_with_its_own_context_from_the_start() -> None:
    variable = ContextVar("variable", default="outer")
    tasks_seen: list[object] = []

    async def function() -> None:
        variable.set("inner")
        tasks_seen.append(asyncio.current_task())
        async with anyio.create_task_group() as group, asyncio.timeout(PATIENCE):
            group.start_soon(checkpoint)
            await checkpoint()
        tasks_seen.append(asyncio.current_task())
        assert variable.get() == "inner"

    async def main() -> None:
        tasks, own = TASKS.get(), asyncio.current_task()
        tasks.start(function)
        assert (asyncio.current_task(), variable.get()) == (own, "outer")
        await tasks.join()
        first, last = tasks_seen
        assert first is last is not own

    run("asyncio", main)


@pytest.mark.parametrize("turns", [0, 1])
def test_a_started_task_that_is_cancelled_cleans_up(turns: int) -> None:
    async def main() -> None:
        reached, tasks, started = list[str](), TASKS.get(), list[asyncio.Task[None]]()

        async def function() -> None:
            task = asyncio.current_task()
            assert task is not None
            started.append(task)
            await _await_a_turn(reached)

        tasks.start(function)
        for _ in range(turns):
            await asyncio.sleep(0)
        started[0].cancel()
        await tasks.join()
        assert reached == ["begun", "cancelled", "ended"]
        await asyncio.wait(started)
        assert not started[0].cancelled()

    run("asyncio", main)


def test_a_started_task_may_suppress_its_cancellation() -> None:
    async def main() -> None:
        reached, started = list[str](), list[asyncio.Task[None]]()

        async def function() -> None:
            task = asyncio.current_task()
            assert task is not None
            started.append(task)
            with suppress(asyncio.CancelledError):
                await checkpoint()
            reached.append("suppressed")

        TASKS.get().start(function)
        started[0].cancel()
        await asyncio.wait(started)
        assert reached == ["suppressed"]

    run("asyncio", main)


def test_a_started_task_may_be_cancelled_after_it_has_ended() -> None:
    async def main() -> None:
        started: list[asyncio.Task[None]] = []

        async def function() -> None:
            task = asyncio.current_task()
            assert task is not None
            started.append(task)

        TASKS.get().start(function)
        started[0].cancel()
        await asyncio.wait(started)
        assert not started[0].cancelled()

    run("asyncio", main)


def test_asyncio_may_run_inside_of_trio(monkeypatch: pytest.MonkeyPatch) -> None:
    """trio-asyncio does so, and sets this name."""
    app = App()

    @app.get("/")
    def numbers() -> Iterator[str]:
        yield "one, "
        yield "two"

    async def main() -> None:
        monkeypatch.setattr(sniffio.thread_local, "name", "asyncio")
        try:
            answer = asyncio.run(asyncio.wait_for(get(app, "/"), PATIENCE))
        finally:
            monkeypatch.undo()
        assert answer.body == b"one, two"

    trio.run(main)


def test_trio_may_run_as_a_guest_of_asyncio() -> None:
    async def main() -> None:
        ended: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def guest() -> bool:
            await trio.lowlevel.checkpoint()
            return TASKS.get().is_trio

        trio.lowlevel.start_guest_run(
            guest,
            run_sync_soon_threadsafe=asyncio.get_running_loop().call_soon_threadsafe,
            done_callback=ended.set_result,
        )
        assert not TASKS.get().is_trio
        assert (await ended).unwrap()

    run("asyncio", main)
