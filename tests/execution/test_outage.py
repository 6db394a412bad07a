"""A service that is unavailable or hangs: one call at a time tries it, and it takes only so many
threads.
"""

from __future__ import annotations

import errno
import itertools
import logging
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from micropie import App
from micropie._core.execution import in_thread
from micropie._core.execution.placement import ServiceThreads
from micropie._core.execution.steps import outage
from micropie._core.execution.steps.outage import Outage
from micropie._core.execution.steps.redis_client import RedisClient
from micropie._core.execution.steps.steps import CALL, Flow, call, no_function
from micropie.sessions import SQLiteSessionBackend
from tests.asgi.calls import run
from tests.support.clients import MakeClient
from tests.support.open_files import no_descriptors
from tests.support.waiting import PATIENCE

OUT = "the bakery is unavailable, no cake: ConnectionError: closed"
BACK = "the bakery is available again"


@pytest.fixture
def pass_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """`pass_by(seconds)`: the clock of outages, which does not go on by itself."""
    now = 1000.0
    monkeypatch.setattr(outage, "monotonic", lambda: now)

    def pass_by(seconds: float) -> None:
        nonlocal now
        now += seconds

    return pass_by


def begun(watcher: Outage) -> Flow[Any]:
    """A question that waits for its answer. Raises ``ConnectionError`` if nobody may ask now."""
    flow = watcher.watch(call(CALL, no_function))
    assert flow.send(None) == (CALL, no_function, ())
    return flow


def fail(flow: Flow[Any]) -> None:
    with pytest.raises(ConnectionError, match="closed"):
        flow.throw(ConnectionError("closed"))


def answer(flow: Flow[Any]) -> None:
    with pytest.raises(StopIteration) as end:
        flow.send("cake")
    assert end.value.value == "cake"


def refused(watcher: Outage) -> None:
    with pytest.raises(ConnectionError, match=r"the bakery is unavailable$"):
        begun(watcher)


def test_during_an_outage_one_call_tries_and_others_fail_immediately(
    pass_by: Callable[[float], None],
) -> None:
    bakery = Outage("the bakery", ", no cake")
    first, second = begun(bakery), begun(bakery)  # nobody knows yet
    fail(first)
    trial = begun(bakery)
    refused(bakery)
    fail(second)
    refused(bakery)  # the trial goes on
    answer(trial)
    answer(begun(bakery))
    both = begun(bakery), begun(bakery)  # it is over
    answer(both[0])
    answer(both[1])


@pytest.mark.parametrize(("took", "pause"), [(0.25, 1), (1, 4), (5, 5), (60, 5)])
def test_a_hanging_service_is_not_tried_for_a_while(
    pass_by: Callable[[float], None], took: float, pause: float
) -> None:
    bakery = Outage("the bakery")
    for _ in range(2):
        flow = begun(bakery)
        pass_by(took)
        fail(flow)
        pass_by(pause - 0.125)
        refused(bakery)
        pass_by(0.125)
    answer(begun(bakery))


def make_a_mistake(flow: Flow[Any]) -> None:
    with pytest.raises(KeyError):
        flow.throw(KeyError())


@pytest.mark.parametrize("end", [lambda flow: flow.close(), make_a_mistake])
def test_an_aborted_trial_lets_another_call_try(
    pass_by: Callable[[float], None], end: Callable[[Any], None]
) -> None:
    bakery = Outage("the bakery")
    fail(begun(bakery))
    end(begun(bakery))
    trial = begun(bakery)
    refused(bakery)
    answer(trial)


def test_an_outage_is_logged_once_a_minute_and_at_its_end(
    pass_by: Callable[[float], None], caplog: pytest.LogCaptureFixture
) -> None:
    bakery = Outage("the bakery", ", no cake")
    for _ in range(3):
        fail(begun(bakery))
    assert caplog.messages == [OUT]
    pass_by(60)
    fail(begun(bakery))
    assert caplog.messages == [OUT, OUT]
    answer(begun(bakery))
    assert caplog.messages == [OUT, OUT, BACK]
    fail(begun(bakery))  # one whose connections break now and then does not fill the log
    answer(begun(bakery))
    assert caplog.messages == [OUT, OUT, BACK]
    pass_by(5)
    fail(begun(bakery))
    assert caplog.messages == [OUT, OUT, BACK, OUT]
    assert not any(record.exc_info for record in caplog.records)


def test_the_debug_log_has_the_outage_s_traceback(
    pass_by: Callable[[float], None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "micropie")
    fail(begun(Outage("the bakery", ", no cake")))
    sentence, first, *_, last = caplog.messages[0].strip().splitlines()
    seen = (sentence, first, last)
    assert seen == (OUT, "Traceback (most recent call last):", "ConnectionError: closed")
    assert caplog.records[0].exc_info is None


# -- threads ---------------------------------------------------------------------------------------


class Hangs:
    """``begun`` is released by each call, which waits for ``go_on``."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Event()

    def __call__(self) -> str:
        self.begun.release()
        assert self.go_on.wait(PATIENCE)
        return "done"


@pytest.mark.parametrize(("servers", "may_wait"), [(2, 1), (3, 1), (8, 4), (120, 40)])
def test_R67_half_of_the_server_s_threads_may_wait_for_a_service(
    servers: int, may_wait: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ServiceThreads, "patience", PATIENCE)
    threads, hangs, all_here = ServiceThreads(), Hangs(), threading.Barrier(servers)
    with ThreadPoolExecutor(servers) as server:
        for _ in server.map(
            lambda _: [all_here.wait(PATIENCE), threads.call(no_function, ())], range(servers)
        ):
            pass  # so that all its threads have been here
        monkeypatch.setattr(ServiceThreads, "patience", 0)
        waiting = [server.submit(threads.call, hangs, ()) for _ in range(may_wait)]
        for _ in range(may_wait):
            assert hangs.begun.acquire(timeout=PATIENCE)
        try:
            with pytest.raises(
                TimeoutError,
                match="no thread became free in time, because too many calls are waiting",
            ):
                server.submit(threads.call, hangs, ()).result()
        finally:
            hangs.go_on.set()
        assert [future.result() for future in waiting] == ["done"] * may_wait
    assert threads.call(hangs, ()) == "done"


def test_R67_a_call_to_a_service_waits_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ServiceThreads, "patience", PATIENCE)
    threads, hangs = ServiceThreads(), Hangs()
    with ThreadPoolExecutor(2) as server:
        first = server.submit(threads.call, hangs, ())
        assert hangs.begun.acquire(timeout=PATIENCE)
        second = server.submit(threads.call, hangs, ())
        assert not second.done()
        hangs.go_on.set()
        assert (first.result(), second.result()) == ("done", "done")


def test_R67_a_call_waits_as_long_as_others_finish(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that is slow refuses nobody: only one that ends no call within the patience
    hangs.
    """
    threads, hangs = ServiceThreads(), Hangs()
    woken = threading.Semaphore(0)

    # as if other calls ended, whose places are taken before this one looks
    def wait_on(seconds: float) -> bool:
        woken.release()
        return not hangs.go_on.is_set() or threading.Condition.wait(threads._change, seconds)

    monkeypatch.setattr(ServiceThreads, "patience", PATIENCE)
    with ThreadPoolExecutor(2) as server:
        first = server.submit(threads.call, hangs, ())
        assert hangs.begun.acquire(timeout=PATIENCE)
        monkeypatch.setattr(threads._change, "wait", wait_on)
        second = server.submit(threads.call, hangs, ())
        for _ in range(3):
            assert woken.acquire(timeout=PATIENCE)
        hangs.go_on.set()
        assert (first.result(), second.result()) == ("done", "done")


def test_R67_forty_threads_of_a_loop_may_wait_for_a_service(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ServiceThreads, "patience", 0.0)
    threads, hangs = ServiceThreads(), Hangs()
    done: list[str] = []

    async def ask() -> None:
        done.append(await in_thread(threads, hangs))

    async def main() -> None:
        try:
            async with anyio.create_task_group() as tasks:
                for _ in range(40):
                    tasks.start_soon(ask)
                for _ in range(40):
                    await anyio.to_thread.run_sync(hangs.begun.acquire)
                with pytest.raises(
                    TimeoutError,
                    match="no thread became free in time, because too many calls are waiting",
                ):
                    await ask()
                assert await in_thread(ServiceThreads(), str, 1) == "1"  # another service
                hangs.go_on.set()
        finally:
            hangs.go_on.set()

    run(backend, main)
    assert done == ["done"] * 40


# -- too many open files ---------------------------------------------------------------------------


def too_many() -> Flow[Any]:
    try:
        raise OSError(errno.EMFILE, "Too many open files")
    except OSError as error:
        raise ConnectionError("closed") from error
    yield


def test_running_out_of_descriptors_is_not_an_outage(
    caplog: pytest.LogCaptureFixture, pass_by: Callable[[float], None]
) -> None:
    watcher = Outage("the bakery", ", no cake")
    for _ in range(2):  # logged once within seconds
        with pytest.raises(ConnectionError, match="closed"):
            next(watcher.watch(too_many()))
        assert not watcher.is_on
    assert [record.getMessage() for record in caplog.records] == [OUT]
    answer(begun(watcher))
    pass_by(6)
    fail(begun(watcher))
    assert [record.getMessage() for record in caplog.records] == [OUT, OUT]
    pass_by(6)
    with pytest.raises(ConnectionError, match="closed"):
        next(watcher.watch(too_many()))
    answer(begun(watcher))  # an outage that was on is no longer than before
    assert [record.getMessage() for record in caplog.records] == [OUT, OUT, BACK]


@pytest.mark.parametrize("spare", range(5))
def test_after_too_many_open_files_sessions_work_again(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spare: int
) -> None:
    """SQLite needs three files, and doesn't report why it can't open one."""
    seconds = itertools.count(1000)
    monkeypatch.setattr(outage, "monotonic", lambda: next(seconds))
    is_full = False

    class Backend(SQLiteSessionBackend):
        def load(self, session_id: str) -> dict[str, Any]:
            if is_full:
                self.close()
                with no_descriptors(spare):
                    return super().load(session_id)
            return super().load(session_id)

        def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None:
            super().save(session_id, data, timeout)

    class Root(App):
        def write(self) -> str:
            self.request.session["name"] = "Ann"
            return "written"

        def read(self) -> str:
            return str(self.request.session.get("name"))

    client = make_client(Root(session_backend=Backend(tmp_path / "sessions.db")))
    client.get("/write")
    is_full = True
    status = client.get("/read").status_code
    assert status == 503 if spare < 3 else status in (200, 503)
    is_full = False
    assert client.get("/read").text == "Ann"


@pytest.mark.processes
@pytest.mark.parametrize("scheme", ["redis", "redis+sentinel"])
def test_too_many_open_files_are_not_blamed_on_redis(scheme: str) -> None:
    with socket.socket() as unheard:  # takes no connections
        unheard.bind(("127.0.0.1", 0))
        client = RedisClient("Test", f"{scheme}://127.0.0.1:{unheard.getsockname()[1]}/0", 5)
        with no_descriptors(), pytest.raises(ConnectionError) as failed:
            client.ping()
        assert outage.is_local(failed.value)
        with pytest.raises(ConnectionError) as failed:  # Sentinels are asked again at once
            client.ping()
        assert not outage.is_local(failed.value)
        client.close()
