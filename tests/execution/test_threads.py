"""Worker threads: handlers that block them keep nothing from the framework's own input and
output.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from anyio.lowlevel import checkpoint

from micropie import App, HTTPError, UploadFile, static_file
from micropie._core.execution import threads as workers
from micropie._core.execution.loop import exit_delayed
from micropie._core.execution.placement import Rank, Threads
from micropie._core.execution.threads import Slots, in_thread, slots_of
from micropie.middleware import Timeout
from micropie.sessions import SQLiteSessionBackend
from tests.asgi.calls import Call, get, piece, run
from tests.support.clock import Clock
from tests.support.multipart_forms import PAIRS, form, section
from tests.support.waiting import PATIENCE, until_async

LARGE = 2 * 1024 * 1024  # bytes, of a file and of an upload: more than is kept in memory


class Site(App):
    """`blocks` waits for `go_on`; `begun` is released by each handler that does."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        super().__init__(SQLiteSessionBackend(directory / "sessions.db"), **settings)
        self.directory = directory
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Event()

    def blocks(self) -> str:
        self.begun.release()
        self.go_on.wait(30)
        return "blocked"

    async def health(self) -> str:  # type: ignore[override]
        return "well"

    async def visit(self) -> str:
        self.request.session["visits"] = 1
        return "visited"

    async def file(self) -> Any:
        return static_file("large", root=self.directory)

    async def upload(self, file: UploadFile) -> str:
        return str(file.size)


@asynccontextmanager
async def blocked(app: Site, handlers: int = 1, threads: int = 1) -> AsyncIterator[None]:
    """Have so many handlers block, and wait until so many threads do."""
    try:
        async with anyio.create_task_group() as tasks:
            for _ in range(handlers):
                tasks.start_soon(get, app, "/blocks")
            for _ in range(threads):
                await anyio.to_thread.run_sync(app.begun.acquire)
            yield
            app.go_on.set()
    finally:
        app.go_on.set()


def test_R67_handlers_that_block_every_thread_delay_nothing_else(
    backend: str, tmp_path: Path
) -> None:
    (tmp_path / "large").write_bytes(b"x" * LARGE)
    app = Site(tmp_path, threads=4)
    body = form(section('name="file"; filename="f"', b"x" * LARGE))

    async def main() -> None:
        async with blocked(app, 6, 4):  # two wait for a thread
            assert (await get(app, "/health")).body == b"well"
            assert (await get(app, "/visit")).body == b"visited"
            assert (await get(app, "/file")).body == b"x" * LARGE
            assert (await upload()).body == str(LARGE).encode()
            assert not app.begun.acquire(blocking=False)

    async def upload() -> Call:
        return await get(app, "/upload", "POST", piece(body), headers=PAIRS)

    run(backend, main)


def test_R67_more_handlers_than_may_wait_for_a_thread_get_503_immediately(
    backend: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = Site(tmp_path, threads=2, thread_queue=1)
    calls: list[Call] = []

    async def main() -> None:
        try:
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(blocks)
                for _ in range(2):
                    await anyio.to_thread.run_sync(app.begun.acquire)
                await anyio.wait_all_tasks_blocked()
                for _ in range(2):
                    refused = await get(app, "/blocks")
                    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
                    assert refused.body == b"Too many requests are waiting. Please try again later."
                assert (await get(app, "/health")).body == b"well"
                app.go_on.set()
        finally:
            app.go_on.set()
        assert [call.body for call in calls] == [b"blocked"] * 3
        assert (await get(app, "/blocks")).body == b"blocked"  # there is room again
        assert caplog.messages == [
            "all 2 threads or processes are busy, and the queue of at most 1 requests is full: "
            "further requests get 503"
        ]  # one line for all of them

    async def blocks() -> None:
        calls.append(await get(app, "/blocks"))

    run(backend, main)


def test_R67_the_queue_limit_also_applies_to_concurrent_arrivals(
    backend: str, tmp_path: Path
) -> None:
    app = Site(tmp_path, threads=2, thread_queue=1)
    app.go_on.set()
    statuses: list[int] = []

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(7):
                tasks.start_soon(blocks)

    async def blocks() -> None:
        statuses.append((await get(app, "/blocks")).status)

    app._micropie.compiled()
    run(backend, blocks)  # so that all find the application started
    run(backend, main)
    assert sorted(statuses) == [200] * 4 + [503] * 4


@pytest.mark.parametrize("settings", [{"threads": 1}, {"thread_queue": 5}])
def test_R67_an_inner_application_may_have_its_own_threads(
    backend: str, tmp_path: Path, settings: Any
) -> None:
    outer: Any = Site(tmp_path, threads=1, thread_queue=0)
    outer.shared, outer.own = Site(tmp_path), Site(tmp_path, **settings)
    outer.shared.go_on.set()
    outer.own.go_on.set()

    async def main() -> None:
        async with blocked(outer):
            assert (await get(outer, "/shared/blocks")).status == 503
            assert (await get(outer, "/own/blocks")).body == b"blocked"

    run(backend, main)


def test_R67_a_time_limit_does_not_increase_the_number_of_waiting_requests(
    backend: str, tmp_path: Path
) -> None:
    app = Site(tmp_path, threads=1, thread_queue=0)
    app.middlewares.append(Timeout(30))

    async def main() -> None:
        async with blocked(app):
            assert (await get(app, "/blocks")).headers["retry-after"] == "1"

    run(backend, main)


def test_a_cancelled_task_always_releases_its_slot(backend: str) -> None:
    threads = Threads(1)
    calls: list[object] = []

    async def main() -> None:
        for turns in range(6):
            async with anyio.create_task_group() as group:
                group.start_soon(
                    partial(in_thread, threads, calls.append, turns, abandon_after=0.0)
                )
                for _ in range(turns):
                    await checkpoint()
                group.cancel_scope.cancel()
            while slots_of(threads).usage()[0]:
                await checkpoint()
        await in_thread(threads, calls.append, "last", abandon_after=0.0)

    run(backend, main)
    assert calls[-1] == "last"


def test_a_call_waits_for_a_slot_within_its_patience(backend: str) -> None:
    threads, go_on, order = Threads(1), threading.Event(), list[str]()
    threads.patience = PATIENCE

    def first() -> None:
        go_on.wait(PATIENCE)
        order.append("first")

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(in_thread, threads, first)
            await until_async(lambda: slots_of(threads).usage()[0] == 1)
            group.start_soon(in_thread, threads, order.append, "second")
            await until_async(lambda: slots_of(threads).usage()[1] == 1)
            go_on.set()
        assert slots_of(threads).usage() == (0, 0, 1)

    run(backend, main)
    assert order == ["first", "second"]


HANGS = """
import threading, anyio
from micropie._core.execution import threads as workers
from micropie._core.execution.placement import Threads
from micropie._core.execution.threads import in_thread

begun = threading.Event()

def hang():
    begun.set()
    threading.Event().wait()

async def main():
    async with anyio.create_task_group() as tasks:
        async def call():
            await in_thread(Threads(1), hang, abandon_after=0.0)
        tasks.start_soon(call)
        await anyio.to_thread.run_sync(begun.wait)
        tasks.cancel_scope.cancel()

anyio.run(main)
"""


@pytest.mark.processes
def test_a_hanging_call_does_not_keep_the_process_from_ending() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", HANGS], capture_output=True, timeout=PATIENCE, check=False
    )
    assert b"calls are still running in its threads; number of calls: 1" in ended.stderr


LEAVES_ITS_TASK = """
import asyncio, threading
from micropie._core.execution.placement import Threads
from micropie._core.execution.threads import in_thread

loop, go_on = asyncio.new_event_loop(), threading.Event()

async def request():
    await in_thread(Threads(2), int)
    loop.call_soon(loop.stop)
    await {wait}

task = loop.create_task(request())
loop.run_forever()
threading.Thread(target=go_on.set).start()
"""


@pytest.mark.processes
@pytest.mark.parametrize("wait", ["asyncio.Event().wait()", "in_thread(Threads(2), go_on.wait)"])
def test_a_task_that_its_loop_leaves_does_not_keep_the_process_from_ending(wait: str) -> None:
    """As daphne's loop does. anyio's idle threads would wait for the task's end."""
    script = LEAVES_ITS_TASK.format(wait=wait)
    ended = subprocess.run([sys.executable, "-c", script], timeout=PATIENCE, check=False)
    assert ended.returncode == 0


@pytest.mark.parametrize("stops", [0, 1, 2])
def test_the_process_ends_after_its_servers(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, stops: int
) -> None:
    """Also if an event loop has stopped the call's thread, which is busy."""
    ended: list[int] = []
    go_on, begun = threading.Event(), threading.Event()

    def call() -> None:
        begun.set()
        go_on.wait(PATIENCE)

    monkeypatch.setattr(workers, "EXIT_WITHIN", 0.02)
    monkeypatch.setattr(workers, "_RUNNING", {})
    monkeypatch.setattr(workers, "_GUARDS", [threading.current_thread()])  # no further one
    monkeypatch.setattr(logging, "shutdown", lambda: None)
    monkeypatch.setattr(os, "_exit", ended.append)
    main, server = threading.Thread(), threading.Thread(target=begun.wait)
    main.start()
    monkeypatch.setattr(workers, "main_thread", lambda: main)
    guard = threading.Thread(target=workers._end_process, daemon=True)
    monkeypatch.setattr(
        workers, "enumerate_threads", lambda: [*workers._RUNNING.values(), server, guard]
    )
    server.start()
    thread = threading.Thread(target=anyio.run, args=(in_thread, Threads(1), call))
    thread.start()
    assert begun.wait(PATIENCE)
    worker: Any
    (worker,) = workers._RUNNING.values()
    for _ in range(stops):
        worker.stop()
    guard.start()
    guard.join(PATIENCE)
    assert ended == [1]
    go_on.set()
    thread.join(PATIENCE)
    workers._end_process()
    assert ended == [1]
    # anyio's loop stops the thread as well, and asyncio logs it if the thread's queue is full
    assert [one.getMessage() for one in caplog.records if one.name == "micropie"] == [
        "the process is exiting while calls are still running in its threads; number of calls: 1"
    ]


def test_the_process_does_not_end_while_an_application_stops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended: list[int] = []
    main = threading.Thread()
    main.start()
    monkeypatch.setattr(workers, "main_thread", lambda: main)
    monkeypatch.setattr(workers, "EXIT_WITHIN", 0.02)
    monkeypatch.setattr(workers, "_RUNNING", {object(): threading.current_thread()})
    monkeypatch.setattr(workers, "enumerate_threads", lambda: [main])
    monkeypatch.setattr(logging, "shutdown", lambda: None)
    monkeypatch.setattr(os, "_exit", ended.append)
    guard = threading.Thread(target=workers._end_process, daemon=True)
    with exit_delayed():
        guard.start()
        guard.join(0.2)
        assert (guard.is_alive(), ended) == (True, [])
    guard.join(PATIENCE)
    assert ended == [1]


@pytest.mark.parametrize("has_begun", [False, True])
def test_a_call_whose_thread_fails_releases_its_slot_once(
    backend: str, has_begun: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that its task waits for no longer does not begin."""
    calls: list[str] = []
    late: list[Any] = []
    threads = Threads(1)

    async def fails(function: Any, **_: Any) -> None:
        late.append(function)
        if has_begun:
            function()
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        with pytest.raises(RuntimeError, match="start new thread"):
            await in_thread(threads, calls.append, "made")
        while slots_of(threads).usage()[0]:
            await checkpoint()
        late[0]()
        await checkpoint()
        assert slots_of(threads).usage() == (0, 0, 1)

    monkeypatch.setattr("anyio.to_thread.run_sync", fails)
    run(backend, main)
    assert calls == ["made"] * has_begun


def test_tasks_get_slots_in_the_order_in_which_they_waited(backend: str) -> None:
    order: list[str] = []

    async def main() -> None:
        slots = slots_of(Threads(1))
        await slots.take()

        async def wait(name: str, scope: anyio.CancelScope) -> None:
            with scope:
                await slots.take()
                order.append(name)

        async def until_so_many_wait(number: int) -> None:
            await until_async(lambda: slots.usage() == (1, number, 1))

        async with anyio.create_task_group() as tasks:
            scopes = {name: anyio.CancelScope() for name in ("first", "one that leaves", "last")}
            for number, (name, scope) in enumerate(scopes.items(), 1):
                tasks.start_soon(wait, name, scope)
                await until_so_many_wait(number)
            scopes["one that leaves"].cancel()
            await until_so_many_wait(2)
            slots.give()
            await until_async(lambda: order == ["first"])
            assert slots.usage() == (1, 1, 1)
            slots.give()
        assert slots.usage() == (1, 0, 1)

    run(backend, main)
    assert order == ["first", "last"]


@pytest.mark.parametrize("rank", [Rank.WAITING, Rank.QUEUED, Rank.RELEASING])
def test_cancelled_tasks_leave_the_queue_in_constant_time(
    backend: str, rank: Rank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn is never searched for, which would compare it with those of other tasks."""
    compared: list[object] = []

    class Turn(workers._Turn):
        __hash__ = object.__hash__

        def __eq__(self, other: object) -> bool:
            compared.append(other)
            return self is other

    monkeypatch.setattr(workers, "_Turn", Turn)
    monkeypatch.setattr(workers, "MOST_RELEASING", 0)

    async def main() -> None:
        slots = slots_of(Threads(1, queue=1000))
        await slots.take()
        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(slots.take, rank)
            await until_async(lambda: slots.usage() == (1, 100, 1))
            tasks.cancel_scope.cancel()
        assert slots.usage() == (1, 0, 1)

    run(backend, main)
    assert not compared


@pytest.mark.parametrize(
    ("so_many", "pace", "more", "limit", "refused"),
    [
        (60, 0.11, 500, None, sorted({*range(13, 520)} - {15, *range(310, 520, 25)})),
        (60, 0.01, 300, None, []),  # a burst that is over soon
        (39, 0.11, 0, 0.5, []),  # a short queue, which keeps the slot busy
        (60, 0.11, 0, None, []),  # a queue that doesn't grow
        (60, 0.11, 0, 1.0, [*range(9, 15), *range(16, 20)]),  # but has a limit
    ],
)
def test_R67_under_standing_overload_the_longest_waiting_requests_are_refused(
    backend: str,
    so_many: int,
    pace: float,
    more: int,
    limit: float | None,
    refused: list[int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock.instead_of(monkeypatch, "micropie._core.execution.threads.monotonic")
    turns: list[int] = []
    statuses: list[int] = []
    other = 15  # no handler: it is never refused
    numbers, rest = itertools.count(), iter(range(more))

    async def wait(slots: Slots) -> None:
        number = next(numbers)  # trio starts tasks in any order
        try:
            await slots.take(Rank.WAITING if number == other else Rank.QUEUED)
        except HTTPError as error:
            statuses.append(error.status)
        else:
            turns.append(number)

    async def main() -> None:
        slots = slots_of(Threads(1, queue=1000, wait=limit))
        await slots.take()
        async with anyio.create_task_group() as tasks:
            come = [*range(so_many)]
            while come or slots.usage()[1]:
                waiting = slots.usage()[1] + len(come)
                for _ in come:
                    tasks.start_soon(wait, slots)
                await until_async(lambda: slots.usage() == (1, waiting, 1))  # noqa: B023
                clock.now += pace
                slots.give()
                come = [*itertools.islice(rest, 25)]
        slots.give()
        assert slots.usage() == (0, 0, 1)

    run(backend, main)
    assert sorted(turns) == [one for one in range(so_many + more) if one not in refused]
    assert statuses == [503] * len(refused)
    assert caplog.messages == [
        "all 1 threads or processes are busy: requests that have waited too long get 503, "
        "the oldest first"
    ] * bool(refused)


def test_a_refused_and_cancelled_task_releases_no_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock.instead_of(monkeypatch, "micropie._core.execution.threads.monotonic")

    async def main() -> None:
        slots = slots_of(Threads(1, queue=1000, wait=1.4))
        await slots.take()
        tasks = [asyncio.create_task(slots.take(Rank.QUEUED)) for _ in range(53)]
        await anyio.wait_all_tasks_blocked()
        for task in tasks[:12]:
            clock.now += 0.11
            slots.give()
            await task
        clock.now += 0.11
        slots.give()
        assert slots.usage() == (1, 39, 1)  # one is refused, one has the slot
        tasks[12].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[12]
        await tasks[13]
        assert slots.usage() == (1, 39, 1)
        for task in tasks[14:]:
            slots.give()
            await task

    run("asyncio", main)


def test_waiting_for_a_slot_has_a_time_limit(backend: str) -> None:
    threads = Threads(1)
    threads.patience = 0.0

    async def main() -> None:
        await slots_of(threads).take()
        with pytest.raises(TimeoutError):
            await slots_of(threads).take()
        assert slots_of(threads).usage() == (1, 0, 1)

    run(backend, main)


def test_a_slot_that_arrives_with_a_cancellation_is_released() -> None:
    async def main() -> None:
        slots = slots_of(Threads(1))
        await slots.take()
        task = asyncio.create_task(slots.take())
        await anyio.wait_all_tasks_blocked()
        slots.give()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert slots.usage() == (0, 0, 1)

    run("asyncio", main)


def test_a_task_that_holds_resources_takes_precedence_and_may_exceed_the_limit(
    backend: str,
) -> None:
    order: list[str] = []

    async def main() -> None:
        slots = slots_of(Threads(1, queue=9, reserve=1))
        await slots.take()

        async def wait(name: str, rank: Rank) -> None:
            await slots.take(rank)
            order.append(name)

        await slots.take(Rank.HOLDING)  # the reserve
        async with anyio.create_task_group() as tasks:
            for number, (name, rank) in enumerate(
                [
                    ("new", Rank.QUEUED),
                    ("begun", Rank.BEGUN),
                    ("other new", Rank.QUEUED),
                    ("holds", Rank.HOLDING),
                ],
                1,
            ):
                tasks.start_soon(wait, name, rank)
                await until_async(lambda: slots.usage() == (2, number, 1))  # noqa: B023
            await slots.take(Rank.RELEASING)
            assert slots.usage() == (3, 4, 1)
            slots.give()
            assert slots.usage() == (2, 4, 1)
            slots.give()
            await until_async(lambda: order == ["holds"])
            slots.give()  # of a call beyond the limit, so nobody else begins
            assert slots.usage() == (1, 3, 1)
            for name in ("begun", "new", "other new"):
                slots.give()
                await until_async(lambda: order[-1] == name)  # noqa: B023
        assert order == ["holds", "begun", "new", "other new"]

    run(backend, main)


def test_a_task_that_holds_resources_stops_waiting_when_no_slot_is_released(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "STALLED", 0.0)

    async def main() -> None:
        slots = slots_of(Threads(1))
        await slots.take()
        await slots.take(Rank.HOLDING)
        assert slots.usage() == (2, 0, 1)

    run(backend, main)


def test_a_released_slot_prolongs_the_wait_of_tasks_that_hold_resources(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, reads = [1.0], []
    monkeypatch.setattr(workers, "STALLED", 0.005)

    def read() -> float:
        reads.append(now[0])
        return now[0]

    monkeypatch.setattr(workers, "monotonic", read)

    async def main() -> None:
        slots = slots_of(Threads(1))
        await slots.take()
        slots._moved_at = now[0]  # as if a slot had come back for somebody else
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(slots.take, Rank.HOLDING)
            await until_async(lambda: len(reads) > 3)
            assert slots.usage() == (1, 1, 1)
            now[0] += 1
        assert slots.usage() == (2, 0, 1)

    run(backend, main)
