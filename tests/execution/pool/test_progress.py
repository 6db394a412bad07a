"""``progress``: what a function in the pool reports to its caller."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from weakref import ref

import anyio
import anyio.lowlevel
import pytest

from micropie import App, Progress, SetupError, progress
from micropie._core.execution import TASKS, TookTooLong
from micropie._core.execution.pool import CancelToken, Pool
from micropie._core.execution.process_pool import PoolCall, PoolError
from micropie.config import Settings
from tests.asgi.calls import every_loop, run
from tests.support import pooled
from tests.support.clients import MakeClient
from tests.support.pooled import Caller, Custom, call_in
from tests.support.waiting import PATIENCE, until, until_async


@pytest.mark.processes
@pytest.mark.parametrize("path", ["/follows/3", "/follows_from_def/3"])
def test_the_caller_gets_the_last_step(make_client: MakeClient, path: str) -> None:
    client = make_client(Caller(processes=1))
    last = {"done": 3, "total": 3, "note": "pie 3"}
    assert client.get(path).json() == ["baked", last]
    assert client.get("/runs/3/4").json() == ["process", 12]  # without progress


@every_loop
def test_an_async_function_for_progress_is_refused(backend: str) -> None:
    async def report(step: Progress) -> None: ...

    async def main() -> None:
        with pytest.raises(SetupError, match=r"takes a def, not an async def.*pool\.start"):
            await App().pool.run(pooled.steps, 1, on_progress=report)

    run(backend, main)


@pytest.mark.processes
@every_loop
def test_a_slow_reader_loses_all_but_the_last_step(backend: str) -> None:
    app = App(processes=1)

    async def main() -> None:
        async with app.pool.start(pooled.steps, 20_000) as call:
            assert await call == "baked"  # nobody has read the steps, so many that a pipe is full
            assert [step async for step in call] == [Progress(20_000, 20_000, "pie 20000")]
        app.pool.close()

    run(backend, main)


@pytest.mark.processes
@every_loop
def test_leaving_the_block_cancels_the_call(backend: str, tmp_path: Path) -> None:
    app, begun = App(processes=1, cancel_grace=PATIENCE), str(tmp_path / "begun")

    async def main() -> None:
        pid = await app.pool.run(os.getpid)
        async with app.pool.start(pooled.steps_until_cancelled, begun) as call:
            assert await anext(call) == Progress(1, None, "")
        await until_async(Path(begun + ".ended").exists)
        assert await app.pool.run(os.getpid) == pid  # progress has raised in the function
        app.pool.close()

    run(backend, main)


@pytest.mark.processes
@every_loop
def test_an_error_comes_after_the_steps(backend: str) -> None:
    app = App(processes=1)
    seen: list[Progress] = []

    async def main() -> None:
        with pytest.raises(Custom, match="burnt"):
            await app.pool.run(pooled.steps_then_fails, on_progress=seen.append)
        with pytest.raises(Custom, match="at the caller"):
            await app.pool.run(pooled.steps, 3, on_progress=fails)
        assert await app.pool.run(pow, 2, 3) == 8
        app.pool.close()

    def fails(_: Progress) -> None:
        raise Custom("at the caller")

    run(backend, main)
    assert seen == [Progress(0.5)]


@pytest.mark.processes
@every_loop
@pytest.mark.parametrize("is_awaited", [False, True])
def test_an_error_of_a_call_that_is_not_awaited_is_logged(
    backend: str, is_awaited: bool, caplog: pytest.LogCaptureFixture
) -> None:
    app = App(processes=1)

    async def main() -> None:
        async with app.pool.start(pooled.steps_then_fails) as call:
            assert [step async for step in call] == [Progress(0.5)]
            if is_awaited:
                with pytest.raises(Custom, match="burnt"):
                    await call
        app.pool.close()

    run(backend, main)
    name = "a call of tests.support.pooled.steps_then_fails in the pool has failed"
    expected = [] if is_awaited else [name]
    assert [record.getMessage() for record in caplog.records] == expected
    assert ("Custom: burnt" in caplog.text) is not is_awaited


@pytest.mark.processes
def test_steps_dont_extend_the_time_limit() -> None:
    pool = Pool(1, Settings())
    seen: list[Progress] = []

    def ends_after_steps() -> bool:
        """On a busy machine, the time may be over before the first step."""
        with pytest.raises(TookTooLong):
            call_in(pool, 0.5, pooled.steps_without_end, token=CancelToken(seen.append))
        return bool(seen)

    until(ends_after_steps)
    pool.close()


@pytest.mark.processes
def test_a_step_after_the_end_reaches_no_other_call() -> None:
    pool = Pool(1, Settings())
    seen: list[Progress] = []
    assert call_in(pool, PATIENCE, pooled.reports_too_late, 1, token=CancelToken(seen.append)) == 1
    for _ in range(50):
        assert call_in(pool, PATIENCE, pow, 2, 3) == 8
    pool.close()


# -- without a process -----------------------------------------------------------------------------


def test_an_executor_reports_nothing(make_client: MakeClient) -> None:
    progress(1, 2, "nothing happens")
    with ThreadPoolExecutor(1) as executor:
        app: Any = App(pool=executor)

        async def bake() -> Any:
            async with app.pool.start(pooled.steps, 3) as call:
                return [[step async for step in call], await call]

        app.get("/bake")(bake)
        assert make_client(app).get("/bake").json() == [[], "baked"]


@every_loop
def test_what_the_reader_sees(backend: str) -> None:
    asked: list[anyio.Event] = []

    async def makes(report: Any) -> str:
        for number in 1, 2:
            report(Progress(number))
        await anyio.lowlevel.checkpoint()
        report(Progress(3))
        await asked[0].wait()
        report(Progress(4))
        report(Progress(5))
        return "made"

    async def main() -> None:
        asked.append(anyio.Event())
        call: PoolCall[str] = PoolCall()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call.run, makes)
            assert (await anext(call)).done in (2, 3)
            asked[0].set()
            assert await call == "made"
            assert await call == "made"
            assert [step.done async for step in call] == [5]

    run(backend, main)


@every_loop
def test_a_failure_is_raised_where_the_result_is_awaited(backend: str) -> None:
    async def fails(report: Any) -> None:
        await anyio.lowlevel.checkpoint()
        raise PoolError("no process")

    async def main() -> None:
        call: PoolCall[None] = PoolCall()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call.run, fails)
            assert [step async for step in call] == []
            for _ in range(2):
                with pytest.raises(PoolError, match="no process"):
                    await call

    run(backend, main)


@every_loop
def test_several_tasks_wait_for_a_call(backend: str) -> None:
    """One follows its steps, and two await its result."""
    seen: list[object] = []

    async def makes(report: Any) -> str:
        await anyio.wait_all_tasks_blocked()
        report(Progress(1))
        await anyio.wait_all_tasks_blocked()
        return "made"

    async def follows(call: PoolCall[str]) -> None:
        seen.extend([step.done async for step in call])

    async def awaits(call: PoolCall[str]) -> None:
        seen.append(await call)

    async def main() -> None:
        call: PoolCall[str] = PoolCall()
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                for task in follows, awaits, awaits:
                    tasks.start_soon(task, call)
                tasks.start_soon(call.run, makes)

    run(backend, main)
    assert sorted(seen, key=str) == [1, "made", "made"]


@pytest.mark.usefixtures("no_collector")
@every_loop
def test_a_cancelled_call_is_freed_without_the_cycle_collector(backend: str) -> None:
    async def waits(report: Any) -> None:
        await anyio.sleep_forever()

    async def main() -> None:
        call: PoolCall[None] = PoolCall()
        cancel = TASKS.get().start_soon(call.run, waits)
        await anyio.wait_all_tasks_blocked()
        cancel()
        await anyio.wait_all_tasks_blocked()
        assert str(call.error) == "the call has been cancelled"
        freed = ref(call)
        del call, cancel
        assert freed() is None

    run(backend, main)
