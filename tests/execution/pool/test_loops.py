"""The pool's main promises on each event loop, uvloop included: it makes each socket that it watches
non-blocking.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, current_thread
from typing import Any

import anyio
import pytest

from micropie import App
from micropie._core.execution.pool import CancelToken, Pool
from micropie._core.execution.pool.connection import packed_small
from micropie._core.execution.pool.processes import _Worker
from micropie._core.execution.pool.remote import RESULT
from micropie.config import Settings
from tests.asgi.calls import Call, get, http_scope, piece
from tests.support import pooled
from tests.support.pooled import Caller, Pooled, call_in
from tests.support.waiting import PATIENCE, until_async

pytestmark = pytest.mark.processes

MIB = 1024 * 1024
LOOPS: dict[str, dict[str, Any]] = {
    "asyncio": {"backend": "asyncio"},
    "uvloop": {"backend": "asyncio", "backend_options": {"use_uvloop": True}},
    "trio": {"backend": "trio"},
}
Main = Callable[[App], Coroutine[Any, Any, None]]


def run(loop: str, app: App, main: Main) -> None:
    """Run ``main`` on a new loop, and end the application's processes."""
    if loop == "uvloop":
        pytest.importorskip("uvloop")

    async def bounded() -> None:
        try:
            with anyio.fail_after(PATIENCE):
                await main(app)
        finally:
            app.wsgi_shutdown()

    anyio.run(bounded, **LOOPS[loop])


class Begun:
    """The function in a process that writes the process's number into ``file`` as it begins."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __call__(self) -> bool:
        """Whether it has begun."""
        return self.file.exists() and self.file.read_text() != ""

    def has_ended(self) -> bool:
        """Whether its process has ended."""
        try:
            os.kill(int(self.file.read_text()), 0)
        except ProcessLookupError:
            return True
        return False


@pytest.mark.parametrize("loop", LOOPS)
def test_calls_of_every_size_share_two_processes(loop: str) -> None:
    sizes = [10, MIB, 1000, 100_000, 70_000, 20]

    async def main(app: App) -> None:
        seen: dict[int, Any] = {}

        async def call(size: int) -> None:
            seen[size] = await app.pool.run(pooled.doubled, b"x" * size)

        for _ in range(3):
            async with anyio.create_task_group() as tasks:
                for size in sizes:
                    tasks.start_soon(call, size)
            assert {size: seen[size]["pair"] for size in sizes} == {
                size: (200, b"x" * size) for size in sizes
            }
        assert app.pool.usage() == (0, 2)

    run(loop, App(processes=2), main)


@pytest.mark.parametrize("loop", LOOPS)
def test_errors_and_killed_processes_fail_their_calls_alone(loop: str) -> None:
    async def main(app: App) -> None:
        for path in ("/raises/custom", "/dies", "/leaves"):
            assert (await get(app, path)).status == 500
            assert (await get(app, "/process")).status == 200

    run(loop, Pooled(processes=1), main)


@pytest.mark.parametrize("loop", LOOPS)
def test_streams_are_complete_and_end_with_their_clients(loop: str, tmp_path: Path) -> None:
    async def main(app: App) -> None:
        assert (await get(app, "/chunks/40")).body.split() == [b"%d" % one for one in range(40)]
        call, file = Call(piece(b"")), tmp_path / "made"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(app, http_scope("GET", f"/chunks/100000?file={file}"), *ends_of(call))
            await until_async(lambda: len(call.sent) > 1)
            call.leave()
        assert (await get(app, "/process")).status == 200  # its only process is free again
        assert (tmp_path / "made.closed").exists()

    run(loop, Pooled(processes=1), main)


def ends_of(call: Call) -> Any:
    return call.receive, call.send


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("is_known", [False, True])
def test_a_cancelled_call_leaves_the_pool_free(loop: str, is_known: bool, tmp_path: Path) -> None:
    async def main(app: App) -> None:
        pid = await app.pool.run(os.getpid)
        if is_known:  # so its process has imported the module
            await app.pool.run(pooled.product, 2, 3)
        begun = Begun(tmp_path / "begun")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(app.pool.run, pooled.ignores, str(begun.file))
            await until_async(begun)
            tasks.cancel_scope.cancel()
        assert await app.pool.run(os.getpid) != pid
        assert app.pool.usage() == (0, 1)

    run(loop, App(processes=1, cancel_grace=0.01), main)


@pytest.mark.parametrize("loop", LOOPS)
def test_cancelled_calls_end_their_processes(loop: str, tmp_path: Path) -> None:
    async def main(app: App) -> None:
        begun = Begun(tmp_path / "in a group")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(app.pool.run, pooled.ignores, str(begun.file))
            await until_async(begun)
            tasks.cancel_scope.cancel()
        await until_async(begun.has_ended)
        assert (await get(app, "/stays")).body == b"process"
        call, begun = Call(piece(b"")), Begun(tmp_path / "left")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(app, http_scope("GET", f"/ends?begun={begun.file}"), *ends_of(call))
            await until_async(begun)
            call.leave()
        assert call.sent == []
        await until_async(begun.has_ended)
        assert (await get(app, "/stays")).body == b"process"

    run(loop, Caller(processes=1, cancel_grace=0.01), main)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_small_call_of_a_known_function_needs_no_thread(
    loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main(app: App) -> None:
        assert (await get(app, "/add/1/2")).status == 200
        assert await app.pool.run(pooled.product, 2, 3) == await app.pool.run(pooled.product, 3, 2)
        with monkeypatch.context() as patch:
            patch.setattr("anyio.to_thread.run_sync", None)
            assert await app.pool.run(pooled.product, 4, 3)
            assert type(await app.pool.run(pooled.made_of, pooled.Empty)) is pooled.Empty
            assert (await get(app, "/add/1/2")).status == 200

    run(loop, Pooled(processes=1), main)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("kind", [pooled.Noting, *pooled.Noting.__subclasses__()])
def test_objects_with_code_for_pickling_are_pickled_in_a_thread(
    loop: str, kind: type[pooled.Noting]
) -> None:
    seen: list[object] = []

    async def main(app: App) -> None:
        await app.pool.run(pooled.takes, kind(seen))
        assert seen
        assert current_thread() not in seen

    run(loop, App(processes=1), main)


@pytest.mark.parametrize("loop", LOOPS)
def test_values_with_code_for_unpickling_are_unpickled_in_a_thread(loop: str) -> None:
    async def main(app: App) -> None:
        assert await app.pool.run(pooled.product, 2, 3)  # from now on, calls need no thread
        for kind in (pooled.Restored, pooled.Reduced):
            value = await app.pool.run(pooled.made_of, kind)
            assert value.thread not in (None, current_thread())
        with pytest.raises(pooled.Traced) as caught:
            await app.pool.run(pooled.fails_with, pooled.Traced)
        assert vars(caught.value)["thread"] is not current_thread()

    run(loop, App(processes=1), main)


@pytest.mark.parametrize("loop", LOOPS)
def test_the_module_of_a_result_is_imported_in_a_thread(
    loop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import may take a second."""
    name = f"imported_late_{loop}"
    code = "import threading; thread = threading.current_thread()\nclass Late: pass\n"
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))

    async def main(app: App) -> None:
        assert await app.pool.run(pooled.product, 2, 3)  # from now on, calls need no thread
        assert await app.pool.run(pooled.made_late, name)
        assert sys.modules.pop(name).thread is not current_thread()

    run(loop, App(processes=1), main)


def test_many_objects_are_not_pickled_on_an_event_loop() -> None:
    """Each takes some microseconds."""
    assert packed_small((RESULT, [pooled.Empty() for _ in range(10)]))
    assert packed_small((RESULT, [pooled.Empty() for _ in range(3000)])) is None


@pytest.mark.parametrize("loop", LOOPS)
def test_a_call_longer_than_its_limit_is_a_503_on_each_loop(loop: str) -> None:
    async def has_a_process(app: App) -> None:
        """Wait for one that responds in time, as it may not on a busy machine."""
        while (await get(app, "/process")).status != 200:
            pass

    async def main(app: App) -> None:
        await has_a_process(app)
        assert (await get(app, "/sleeps/60")).status == 503
        await has_a_process(app)

    run(loop, Pooled(processes=1, pool_timeout=0.3, cancel_grace=0.01), main)


# -- calls that nobody waits for when a thread would have to go on with them -----------------------


def on_loop() -> CancelToken:
    """The token of a call whose steps an event loop performs."""
    token = CancelToken()
    token.is_on_loop = True
    return token


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool(1, Settings())
    yield pool
    pool.close()


def test_a_call_abandoned_before_its_process_starts_starts_none(pool: Pool) -> None:
    steps = pool.steps(PATIENCE, pooled.product, (2, 3), on_loop())
    steps.send(None)
    steps.close()
    assert not pool._workers
    assert call_in(pool, PATIENCE, os.getpid)


def test_a_call_abandoned_in_the_queue_takes_no_process(pool: Pool) -> None:
    pool._free.acquire()  # as another call does
    steps = pool.steps(PATIENCE, pooled.product, (2, 3), on_loop())
    steps.send(None)
    steps.close()
    pool._free.release()
    assert call_in(pool, PATIENCE, os.getpid)


def test_a_call_abandoned_before_its_function_is_found_costs_no_process(pool: Pool) -> None:
    pid = call_in(pool, PATIENCE, os.getpid)
    steps = pool.steps(PATIENCE, pooled.product, (2, 3), on_loop())
    steps.send(None)
    steps.close()
    assert call_in(pool, PATIENCE, os.getpid) == pid


def test_a_call_abandoned_before_its_large_argument_is_sent_costs_no_process(pool: Pool) -> None:
    pid = call_in(pool, PATIENCE, os.getpid)
    assert call_in(pool, PATIENCE, pooled.product, 2, 3)  # the process has found the module
    steps = pool.steps(PATIENCE, pooled.doubled, (b"x" * MIB,), on_loop())
    pickles = steps.send(None)
    steps.send(pickles())
    steps.close()
    assert call_in(pool, PATIENCE, os.getpid) == pid


@pytest.mark.parametrize("startup", [[], [pooled.load]])
def test_a_call_abandoned_before_its_large_result_is_received_costs_no_process(
    startup: list[Any],
) -> None:
    pool = Pool(1, Settings(), startup)
    pid = call_in(pool, PATIENCE, os.getpid)
    assert call_in(pool, PATIENCE, pooled.product, 2, 3)
    steps = pool.steps(PATIENCE, pooled.made, (MIB,), on_loop())
    wait = steps.send(None)
    steps.send(wait())
    steps.close()
    assert call_in(pool, PATIENCE, os.getpid) == pid
    pool.close()


def test_cancelling_a_call_that_was_abandoned_does_not_end_the_next_one(pool: Pool) -> None:
    assert call_in(pool, PATIENCE, pooled.product, 2, 3)
    token = on_loop()
    steps = pool.steps(PATIENCE, pooled.made, (MIB,), token)
    wait = steps.send(None)
    steps.send(wait())
    steps.close()
    pid = call_in(pool, PATIENCE, os.getpid)
    token.cancel()
    assert call_in(pool, PATIENCE, os.getpid) == pid


@pytest.mark.parametrize("loop", LOOPS)
def test_a_call_that_gets_no_thread_frees_its_process_at_once(loop: str) -> None:
    """Not when the last reference to its exception is gone."""
    kept: list[BaseException] = []

    async def call(app: App) -> None:
        try:
            await app.pool.run(pooled.product, 2, 3)  # a thread lets the process find this
        except BaseException as error:
            kept.append(error)
            raise

    async def main(app: App) -> None:
        await app.pool.run(os.getpid)
        async with anyio.create_task_group() as tasks:
            tasks.cancel_scope.cancel()
            await call(app)
        assert kept
        assert app.pool.usage() == (0, 1)
        kept.clear()

    run(loop, App(processes=1), main)


def test_other_calls_go_on_while_a_process_is_being_created(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Creating one takes some milliseconds, for which no event loop may wait."""
    pool, begins, goes_on = Pool(2, Settings()), Event(), Event()
    pid = call_in(pool, PATIENCE, os.getpid)
    (first,) = pool._idle
    pool._idle.clear()  # as if another call used it

    def created_slowly(index: int) -> Any:
        begins.set()
        goes_on.wait(PATIENCE)
        return _Worker(index)

    monkeypatch.setattr("micropie._core.execution.pool.processes._Worker", created_slowly)
    with ThreadPoolExecutor(1) as others:
        called = others.submit(call_in, pool, PATIENCE, os.getpid)
        assert begins.wait(PATIENCE)
        pool._idle.append(first)
        assert pool.busy == 0
        assert call_in(pool, PATIENCE, os.getpid) == pid
        goes_on.set()
        assert called.result(PATIENCE) != pid
    pool.close()
