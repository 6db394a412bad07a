"""Code that blocks an event loop is named in the log, under both protocols; nothing is left of the
thread that looks.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

import anyio
import pytest
from anyio.from_thread import start_blocking_portal

from micropie import App
from micropie._core.execution import loop_lag, watch_loop, watchdog
from micropie._core.execution.background import close_background_loops
from micropie._core.http.settings import Settings
from tests.asgi.calls import run
from tests.support.clients import LOOP_PATIENCE, LOOPS, MakeClient
from tests.support.waiting import PATIENCE, until

STANDS = "the event loop has been blocked for "


class Root(App):
    looked = threading.Semaphore(0)

    async def slow(self) -> str:
        return self._until_looked_at()

    async def other(self) -> str:
        return self._until_looked_at()

    def _until_looked_at(self) -> str:
        Root.looked = threading.Semaphore(0)
        # the first look may have begun before this call; by the third, the second one is in the log
        for _ in range(3):
            assert self.looked.acquire(timeout=PATIENCE)
        return "done"


@pytest.fixture(autouse=True)
def threads_end() -> Iterator[None]:
    _close_loops()  # other tests' too, whose threads need a moment to notice it
    yield
    _close_loops()


def _close_loops() -> None:
    close_background_loops()
    LOOPS.stop()  # which clients have used
    until(lambda: not watching())


def watching() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "micropie watchdog"]


def test_each_blocking_handler_is_logged_once_a_minute(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = watchdog._described

    def noted(frame: FrameType) -> tuple[str, str] | None:
        found = described(frame)
        if found is not None and f"{__name__}.Root." in found[0]:
            Root.looked.release()
        return found

    monkeypatch.setattr(watchdog, "_described", noted)
    monkeypatch.setattr(Settings, "loop_patience", 0.04)
    client = make_client(Root())
    for path in ("/slow", "/slow", "/other"):
        assert client.get(path).text == "done"
    now = time.monotonic() + 60
    monkeypatch.setattr(watchdog, "monotonic", lambda: now)
    assert client.get("/slow").text == "done"
    messages = [record.getMessage() for record in caplog.records]
    places = [
        message.partition(" so far: ")[2].split(", in ")
        for message in messages
        if message.startswith(STANDS)
    ]
    found = [place for place in places if place[0].startswith(f"{__name__}.Root.")]
    slow, other = (
        f"{__name__}.Root.{one.__name__} ({__file__}:{one.__code__.co_firstlineno + 1})"
        for one in (Root.slow, Root.other)
    )
    assert [place[0] for place in found] == [slow, other, slow]
    assert all(place[1].startswith(("threading.", __name__)) for place in found)  # where it waits
    assert loop_lag() >= 0.03


class Crowded(App):
    async def collect(self) -> str:
        gc.collect()
        return "done"


def test_the_garbage_collector_is_not_blamed_on_the_application(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reported() -> list[str]:
        return [record.getMessage() for record in caplog.records]

    def take_long(phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            until(lambda: any("garbage" in message for message in reported()))

    monkeypatch.setattr(Settings, "loop_patience", 0.04)
    client = make_client(Crowded())
    assert client.get("/collect").text == "done"  # starts the watchdog
    gc.callbacks.append(take_long)
    try:
        assert client.get("/collect").text == "done"
    finally:
        gc.callbacks.remove(take_long)
    (found,) = (message for message in reported() if "garbage" in message)
    assert found.startswith(STANDS)
    assert found.endswith(
        " of them; raise the first number of gc.set_threshold, for example to 50,000"
    )


def test_blocking_code_outside_requests_is_logged_alone() -> None:
    described = watchdog._described(sys._getframe())
    assert described is not None
    code, place = described
    assert code == f"{__name__}.test_blocking_code_outside_requests_is_logged_alone"
    assert place.startswith(f"{code} ({__file__}:")
    assert ", in " not in place


def frame_of(*modules: str) -> FrameType:
    """Return the innermost frame of functions of these modules that call each other, of which the
    first is the outermost.
    """
    call: Any = sys._getframe
    for name in reversed(modules):
        own: dict[str, Any] = {"__name__": name, "inner": call}
        exec("def call(): return inner()", own)
        call = own["call"]
    found: FrameType = call()
    return found


@pytest.mark.parametrize(
    "inner",
    [
        ("micropie._core.execution.pool.processes", "subprocess"),
        ("micropie._core.execution.steps", "importlib._bootstrap", "anyio._core._eventloop"),
        ("micropie._core.flow.http", "contextlib", "micropie._core.streams.source"),
    ],
)
def test_the_framework_s_own_work_is_not_blamed_on_the_application(inner: tuple[str, ...]) -> None:
    loop = ("asyncio.base_events", "micropie.asgi.driver")
    assert watchdog._described(frame_of(*loop, *inner)) is None
    described = watchdog._described(frame_of(*loop, *inner, "shop.pages", "subprocess"))
    assert described is not None
    assert described[0] == "shop.pages.call"


@pytest.mark.parametrize("loop", ["asyncio.runners", "uvicorn.server"])
@pytest.mark.parametrize(
    "inner", [("uvicorn.protocols.http.h11_impl", "h11._connection"), ("anyio._core._eventloop",)]
)
def test_the_server_s_own_work_accuses_nobody(loop: str, inner: tuple[str, ...]) -> None:
    """It may only wait for the processor."""
    outer = ("shop.__main__", "click.core", loop)
    assert watchdog._described(frame_of(*outer, *inner)) is None
    assert watchdog._described(frame_of(*outer, "micropie.asgi.driver", *inner)) is None
    for called in ((), ("micropie.asgi.driver",)):
        described = watchdog._described(frame_of(*outer, *called, "shop.pages", "h11._connection"))
        assert described is not None
        assert described[0] == "shop.pages.call"


def test_without_a_frame_of_the_application_nothing_is_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = object.__new__(watchdog._Watchdog)
    one._loop_thread, one._named = threading.get_ident(), {}
    for described, count in ((("shop.page", "shop.page (shop.py:1)"), 1), (None, 1)):
        monkeypatch.setattr(watchdog, "_described", lambda frame, found=described: found)
        one._report(1.0, 0.0)
        assert len(caplog.records) == count
        one._named.clear()


def test_a_loop_that_waits_for_the_processor_is_not_reported(
    backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    watchdogs: list[watchdog._Watchdog] = []

    async def sleeps() -> None:
        watchdogs.append(watchdog._Watchdog())
        await anyio.sleep_forever()

    with start_blocking_portal(backend) as portal:
        task = portal.start_task_soon(sleeps)
        until(lambda: watchdogs and _is_idle(watchdogs[0]))
        watchdogs[0]._report(1.0, 0.0)
        task.cancel()
    assert not caplog.records


def _is_idle(one: watchdog._Watchdog) -> bool:
    return sys._current_frames()[one._loop_thread].f_code.co_name in ("select", "get_events")


@pytest.mark.parametrize(
    ("settings", "patience"),
    [
        ({}, 1.0),
        ({"debug": True}, 0.1),
        ({"debug": "force"}, 0.1),
        ({"loop_watchdog": False, "debug": True}, None),
    ],
)
def test_the_watchdog_s_patience_is_a_setting(
    settings: dict[str, Any], patience: float | None
) -> None:
    assert LOOP_PATIENCE.__get__(Settings(**settings)) == patience


def test_a_loop_has_at_most_one_watchdog_thread(backend: str) -> None:
    async def started(*patience: float | None) -> int:
        for seconds in patience:
            watch_loop(seconds)
        return len(watching())

    assert run(backend, started, None) == 0
    assert run(backend, started, 0.04, 0.04) == 1


def test_a_thread_that_ends_without_closing_its_loop_is_ignored() -> None:
    loop = asyncio.new_event_loop()

    async def watched() -> None:
        watch_loop(0.04)

    thread = threading.Thread(target=lambda: loop.run_until_complete(watched()))
    thread.start()
    thread.join()
    until(lambda: not watching())
    loop.close()


def test_without_threads_there_is_no_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def watched() -> float:
        with monkeypatch.context() as patch:
            patch.setattr(
                watchdog, "Thread", type("NoThread", (threading.Thread,), {"start": start})
            )
            watch_loop(0.04)
        return loop_lag()

    assert run("asyncio", watched) == 0
