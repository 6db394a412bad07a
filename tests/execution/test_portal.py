"""The process's one event loop under WSGI: started when it is first needed, shared, and left in
order.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import sniffio

from micropie import App, run_async
from micropie._core.execution import background
from micropie._core.execution.background import background_loop, close_background_loops
from tests.support.threads import started_threads
from tests.support.waiting import PATIENCE, until
from tests.wsgi.calls import get

colour: ContextVar[str] = ContextVar("colour", default="none")


class Root(App):
    async def index(self) -> Any:
        return [sniffio.current_async_library(), threading.get_ident()]

    waiting = 0

    async def wait(self) -> str:
        """Answer when twenty requests wait here."""
        self.waiting += 1
        if self.waiting == 1:
            self.all_are_here = anyio.Event()
        if self.waiting == 20:
            self.all_are_here.set()
        await self.all_are_here.wait()
        return "waited"

    async def task_group(self) -> Any:
        seen: list[int] = []

        async def one(number: int) -> None:
            await anyio.lowlevel.checkpoint()
            seen.append(number)

        async with anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(one, number)
        return sorted(seen)

    async def context(self) -> str:
        return colour.get()


@pytest.fixture(autouse=True)
def _no_portal_before_and_after() -> Any:
    close_background_loops()
    yield
    close_background_loops()


def test_the_background_loop_uses_the_chosen_backend(backend: str) -> None:
    assert f'["{backend}",'.encode() in get(Root(portal_backend=backend))[1]


def test_handlers_may_use_all_features_of_the_loop(backend: str) -> None:
    assert get(Root(portal_backend=backend), "/task_group") == (200, b"[0,1,2]")


def test_all_applications_and_requests_share_one_background_loop() -> None:
    with started_threads() as started:
        assert len({get(app)[1] for app in (Root(), Root()) for _ in range(3)}) == 1
    assert len(started) == 1


def test_many_first_requests_start_one_loop() -> None:
    app = Root()
    with ThreadPoolExecutor(20) as threads:
        assert len(set(threads.map(lambda _: get(app)[1], range(20)))) == 1


def test_requests_do_not_wait_for_each_other() -> None:
    app = Root()
    get(app)
    with ThreadPoolExecutor(20) as threads:
        answers = [body for _, body in threads.map(lambda _: get(app, "/wait"), range(20))]
        assert answers == [b"waited"] * 20


def test_the_loop_sees_the_thread_s_context_variables() -> None:
    app = Root()
    token = colour.set("red")
    try:
        assert get(app, "/context")[1] == b"red"
    finally:
        colour.reset(token)
    assert get(app, "/context")[1] == b"none"


def test_a_closed_loop_is_started_again() -> None:
    first = background_loop("asyncio").portal
    close_background_loops()
    assert background_loop("asyncio").portal is not first
    assert get(Root())[0] == 200


def test_one_process_may_have_a_loop_of_each_kind() -> None:
    asyncio, trio = background_loop("asyncio").portal, background_loop("trio").portal
    assert asyncio is not trio
    assert background_loop("asyncio").portal is asyncio


def test_threads_that_request_the_loop_concurrently_get_the_same() -> None:
    barrier = threading.Barrier(20)

    def ask(_: int) -> Any:
        barrier.wait(30)
        return background_loop("asyncio").portal

    with ThreadPoolExecutor(20) as threads:
        assert len(set(threads.map(ask, range(20)))) == 1


class Ends(App):
    async def ok(self) -> str:
        return "ok"

    async def bye(self) -> str:
        raise SystemExit(3)


def test_a_handler_that_exits_does_not_end_the_shared_loop() -> None:
    app = Ends()
    assert get(app, "/bye") == (500, b"500 Internal Server Error")
    assert get(app, "/ok") == (200, b"ok")


def test_a_loop_that_has_ended_is_followed_by_another() -> None:
    first = background_loop("asyncio").portal
    with pytest.raises(BaseException):  # noqa: B017, PT011 - what it is, is anyio's affair
        first.start_task_soon(_end_the_loop).result(PATIENCE)
    until(lambda: background_loop("asyncio").portal is not first)
    assert get(Ends(), "/ok") == (200, b"ok")


async def _end_the_loop() -> None:
    raise SystemExit


def test_a_handler_that_cancels_its_own_scope_continues() -> None:
    class Cancels(App):
        async def index(self) -> str:
            with anyio.CancelScope() as scope:
                scope.cancel()
                await anyio.lowlevel.checkpoint()
            return "went on"

    assert get(Cancels()) == (200, b"went on")


def test_a_handler_that_raises_a_cancellation_gets_a_500() -> None:
    class Raises(App):
        async def index(self) -> str:
            raise anyio.get_cancelled_exc_class()

        async def ok(self) -> str:
            return "ok"

    app = Raises()
    assert get(app) == (500, b"500 Internal Server Error")
    assert get(app, "/ok") == (200, b"ok")


def test_a_task_lost_when_its_loop_ends_is_reported_to_the_waiter(
    backend: str,
) -> None:
    loop = background_loop(backend)
    heard: list[str] = []

    def end() -> None:
        # begins when this function has returned
        loop.spawn(lambda: heard.append("lost"), anyio.sleep_forever)
        loop.end()

    background_loop(backend).portal.call(end)
    assert heard == ["lost"]
    with pytest.raises(RuntimeError, match="has ended"):
        loop.spawn(lambda: heard.append("lost"), anyio.sleep_forever)
    loop.portal.call(anyio.lowlevel.checkpoint)  # what was to begin has been passed over
    assert heard == ["lost"]


def test_a_task_is_lost_if_the_loop_ends_between_its_start_and_its_first_step(
    backend: str,
) -> None:
    loop = background_loop(backend)
    heard: list[str] = []

    def end() -> None:
        loop.spawn(lambda: heard.append("lost"), anyio.sleep_forever)
        loop.call_soon(loop.end)  # after it has started the task, which begins later

    loop.portal.call(end)
    until(lambda: bool(heard))
    loop.portal.call(anyio.lowlevel.checkpoint)
    assert heard == ["lost"]


def test_the_end_of_the_loop_passes_over_a_task_that_was_refused_meanwhile(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refused(dict[object, None]):
        def items(self) -> Any:
            return [(lambda: heard.append("lost"), None)]  # ``spawn`` has just removed it

    loop = background_loop(backend)
    heard: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_scopes", Refused())
        loop.portal.call(loop.end)
    assert heard == []


def test_a_lost_task_reports_the_end_of_its_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ended:
        def spawn(self, lost: Callable[[], None], *_: object) -> None:
            lost()

    monkeypatch.setattr(background, "background_loop", lambda _: Ended())
    with pytest.raises(CancelledError, match="its event loop may have ended"):
        background.await_in_background("asyncio", anyio.sleep, [0])


@pytest.mark.parametrize("path", ["/", "/waits_for_async"])
def test_a_request_waiting_when_the_loop_ends_gets_a_500(
    backend: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    begun = threading.Event()

    class Waits(App):
        async def index(self) -> str:
            begun.set()
            await anyio.sleep_forever()
            return "never"

        def waits_for_async(self) -> str:
            return run_async(self.index)

    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(get, Waits(portal_backend=backend), path)
        assert begun.wait(30)
        close_background_loops()
        assert answer.result(PATIENCE)[0] == 500
    assert "async code was cancelled: its event loop may have ended" in caplog.text


class Ending(App):
    """Handlers that don't end at the first cancellation."""

    def __init__(self, backend: str) -> None:
        super().__init__(portal_backend=backend)
        self.backend, self.begun = backend, threading.Event()

    async def _wait(self) -> None:
        self.begun.set()
        await anyio.sleep_forever()

    async def swallows(self) -> None:
        with suppress(anyio.get_cancelled_exc_class()):
            await self._wait()
        await self._wait()

    async def waits_at_its_end(self) -> None:
        try:
            await self._wait()
        finally:
            await self._wait()

    async def swallowing_stream(self) -> AsyncIterator[str]:
        yield "a"
        await self.swallows()

    async def shielded(self) -> str:
        loop = background_loop(self.backend)
        self.begun.set()
        with anyio.CancelScope(shield=True):
            while not loop.has_ended:
                await anyio.lowlevel.checkpoint()
            for _ in range(50):
                await anyio.lowlevel.checkpoint()
        return "done"


@pytest.mark.parametrize("path", ["swallows", "waits_at_its_end", "swallowing_stream"])
def test_the_end_of_the_loop_cancels_at_each_await(backend: str, path: str) -> None:
    app = Ending(backend)
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(get, app, f"/{path}")
        assert app.begun.wait(PATIENCE)
        close_background_loops()
        with suppress(RuntimeError):  # the stream breaks off
            assert answer.result(PATIENCE)[0] == 500


def test_the_end_of_the_loop_waits_for_shielded_blocks(backend: str) -> None:
    app = Ending(backend)
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(get, app, "/shielded")
        assert app.begun.wait(PATIENCE)
        close_background_loops()
        assert answer.result(PATIENCE) == (200, b"done")
