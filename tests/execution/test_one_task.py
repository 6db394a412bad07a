"""All ``async def`` parts of a request run in one task, also under WSGI.

Libraries keep sessions and transactions by ``asyncio.current_task()``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from threading import Thread
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from micropie import App, HttpMiddleware, Request
from micropie._core.execution import await_in_background, background, background_loop
from micropie._core.execution.background import close_background_loops
from micropie._core.execution.lane import AsyncLane
from micropie._core.execution.steps.generators import _in_one_task
from micropie.sessions import InMemorySessionBackend
from tests.support.clients import MakeClient
from tests.support.waiting import until

AT_ONCE = 30


class Thing:
    pass


def note(request: Request, part: str) -> None:
    noted: list[tuple[str, int]] = request.state.noted
    noted.append((part, anyio.get_current_task().id))


class Noting(HttpMiddleware):
    async def before_request(self, request: Request) -> None:
        request.state.noted = []
        note(request, "before")

    async def after_request(self, request: Request, *_: Any) -> None:
        note(request, "after")


async def around(request: Request) -> AsyncIterator[None]:
    note(request, "first half")
    try:
        yield
    finally:
        note(request, "second half")


def in_between(request: Request) -> Iterator[None]:
    yield


class Parts(App):
    def __init__(self) -> None:
        super().__init__()
        self.requests: dict[str, Any] = {}
        self.middlewares += [Noting(), around, in_between]
        self.error(LookupError)(self._failed)
        self.provides(Thing)(self._thing)

    async def _thing(self) -> AsyncIterator[Thing]:
        request = self.request
        note(request, "opens")
        try:
            yield Thing()
        finally:
            note(request, "closes")

    async def _failed(self, error: LookupError) -> tuple[int, str]:
        note(self.request, "error handler")
        return 418, "failed"

    def _keep(self) -> None:
        self.requests[self.request.query["name"]] = self.request.state.noted

    async def handler(self, thing: Thing) -> str:
        self._keep()
        await anyio.lowlevel.checkpoint()
        note(self.request, "handler")
        return "answer"

    def threaded(self, thing: Thing) -> str:
        self._keep()
        return "answer"

    async def fails(self, thing: Thing) -> str:
        self._keep()
        note(self.request, "handler")
        raise LookupError

    async def block(self) -> str:
        self._keep()
        note(self.request, "handler")
        async with self.request.resource(Thing):
            await anyio.lowlevel.checkpoint()
        return "answer"

    async def chunks(self, thing: Thing) -> AsyncIterator[str]:
        self._keep()
        note(self.request, "handler")
        yield "ans"
        await anyio.lowlevel.checkpoint()
        note(self.request, "stream")
        yield "wer"


COMMON = {"before", "first half", "second half", "after", "opens", "closes"}


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("handler", {"handler"}),
        ("threaded", set()),
        ("fails", {"handler", "error handler"}),
        ("block", {"handler"}),
        ("chunks", {"handler", "stream"}),
    ],
)
def test_all_async_parts_of_a_request_run_in_one_task(
    make_client: MakeClient, path: str, more: set[str]
) -> None:
    app = Parts()
    client = make_client(app)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        texts = [*pool.map(lambda name: client.get(f"/{path}?name={name}").text, range(AT_ONCE))]
    assert texts == ["failed" if path == "fails" else "answer"] * AT_ONCE
    until(lambda: all("closes" in dict(noted) for noted in app.requests.values()))
    for noted in app.requests.values():
        assert {part for part, _ in noted} == COMMON | more
        assert len({task for _, task in noted}) == 1, noted


def tasks_of_requests() -> int:
    return len(background_loop("asyncio")._lanes)


@pytest.mark.parametrize("path", ["handler", "threaded", "fails", "block", "chunks", "missing"])
def test_the_task_ends_with_its_request(connect: MakeClient, path: str) -> None:
    app = Parts()
    assert connect(app, "wsgi").get(f"/{path}?name=1").status_code in (200, 404, 418)
    until(lambda: not tasks_of_requests())


def test_the_task_ends_with_a_stream_that_its_client_leaves(connect: MakeClient) -> None:
    app = Parts()
    with connect(app, "wsgi").stream("GET", "/chunks?name=1") as answer:
        next(answer.iter_raw())
    until(lambda: not tasks_of_requests())
    assert {task for _, task in app.requests["1"]} == {app.requests["1"][0][1]}


def test_a_session_by_the_current_task_is_that_of_the_request(connect: MakeClient) -> None:
    """As ``async_scoped_session(scopefunc=asyncio.current_task)`` and ``databases`` have it."""
    sessions: dict[Any, list[str]] = {}
    app = App()

    async def removed(request: Request) -> AsyncIterator[None]:
        session = sessions.setdefault(asyncio.current_task(), [])
        try:
            yield
            assert session == ["handler"]
        finally:
            del sessions[asyncio.current_task()]

    app.middlewares.append(removed)

    @app.get("/")
    async def index() -> str:
        await asyncio.sleep(0)
        sessions[asyncio.current_task()].append("handler")
        return "answer"

    client = connect(app, "wsgi")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        codes = [*pool.map(lambda _: client.get("/").status_code, range(AT_ONCE))]
    assert codes == [200] * AT_ONCE
    assert not sessions


class AwaitingBackend(InMemorySessionBackend):
    async def save(self, session_id: str, data: Any, timeout: int) -> None:
        await anyio.lowlevel.checkpoint()
        await super().save(session_id, data, timeout)


def test_a_session_is_saved_while_a_stream_occupies_the_task(make_client: MakeClient) -> None:
    app = App(session_backend=AwaitingBackend())

    async def opened(request: Request) -> AsyncIterator[None]:
        yield

    app.middlewares.append(opened)

    @app.get("/")
    async def index(request: Request) -> AsyncIterator[str]:
        request.session["name"] = "ann"
        for _ in range(100):
            yield "x" * 1000

    @app.get("/name")
    async def name(request: Request) -> str:
        return str(request.session["name"])

    client = make_client(app)
    assert len(client.get("/").text) == 100_000
    assert client.get("/name").text == "ann"


@pytest.mark.parametrize("kind", ["def", "stream"])
def test_a_request_survives_the_end_of_its_event_loop(
    connect: MakeClient, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    app, noted = App(), list[str]()

    async def around(request: Request) -> AsyncIterator[None]:
        try:
            yield
        finally:
            noted.append("second half")

    app.middlewares.append(around)

    @app.get("/")
    def index() -> Any:
        close_background_loops()
        return "answer" if kind == "def" else chunks()

    async def chunks() -> AsyncIterator[str]:
        yield "answer"

    assert connect(app, "wsgi").get("/").text == "answer"
    assert noted == ["second half"]


def test_a_part_that_the_end_of_the_loop_has_overtaken_is_not_awaited() -> None:
    loop, noted = background_loop("asyncio"), list[str]()
    close_background_loops()

    async def part() -> None:
        noted.append("part")

    asyncio.run(loop._begin_part(part, part, AsyncLane()))
    assert not noted


def test_a_lane_without_a_task_may_be_ended() -> None:
    lane = AsyncLane()
    lane.end()
    lane.lose()
    assert lane.is_over
    assert not lane.ask(None)


def test_a_call_after_the_end_of_a_lane_does_not_wait_for_its_task() -> None:
    async def part() -> str:
        return "awaited"

    lane = AsyncLane()
    lane.end()
    assert asyncio.run(lane.awaits(part, ())) == "awaited"


# -- the end of the event loop, and of the wait ----------------------------------------------------


class Ending(App):
    """An application whose event loop ends during a request. ``noted``: what its generators do."""

    def __init__(self, backend: str) -> None:
        super().__init__(portal_backend=backend)
        self.noted: list[str] = []
        self.middlewares += [self._around, in_between]
        self.provides(Thing)(self._thing)

    async def _around(self, request: Request) -> AsyncIterator[None]:
        try:
            with anyio.CancelScope():
                yield
        finally:
            self.noted.append("middleware")

    async def _thing(self) -> AsyncGenerator[Thing]:
        try:
            with anyio.CancelScope():
                yield Thing()
        finally:
            self.noted.append("provider")

    def in_def(self, thing: Thing) -> str:
        close_background_loops()
        self.noted.append("handler")
        return "answer"

    async def in_async(self, thing: Thing) -> str:
        Thread(target=close_background_loops).start()
        await anyio.Event().wait()
        raise AssertionError("it was not cancelled")

    def in_a_block(self) -> str:
        with self.request.resource(Thing):
            close_background_loops()
            self.noted.append("handler")
        return "answer"


@pytest.mark.parametrize(
    ("path", "status", "order"),
    [
        ("in_def", 200, ["provider", "middleware", "handler"]),
        ("in_async", 500, ["provider", "middleware"]),
        ("in_a_block", 200, None),
    ],
)
def test_the_end_of_its_event_loop_closes_the_generators_of_a_request_in_their_task(
    connect: MakeClient,
    backend: str,
    path: str,
    status: int,
    order: list[str] | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = Ending(backend)
    assert connect(app, "wsgi").get(f"/{path}").status_code == status
    until(lambda: {"provider", "middleware"} <= {*app.noted})
    assert order is None or app.noted == order
    assert not [one for one in caplog.messages if "scope" in one]


def test_a_part_is_not_awaited_in_a_task_of_a_loop_that_has_ended() -> None:
    loop, lane = background_loop("asyncio"), AsyncLane(SimpleNamespace(open_generators=list))
    await_in_background("asyncio", anyio.lowlevel.checkpoint, (), lane)
    close_background_loops()
    assert lane.is_over
    assert await_in_background("asyncio", anyio.lowlevel.checkpoint, (), lane) is None
    assert background_loop("asyncio") is not loop


def test_a_task_that_begins_after_the_end_of_its_loop_ends_at_once() -> None:
    loop, lane = background_loop("asyncio"), AsyncLane()
    close_background_loops()
    asyncio.run(loop._run_lane(lane, anyio.sleep_forever))
    assert not loop._lanes


@pytest.mark.parametrize("has_lane", [False, True])
def test_the_handler_of_a_signal_cancels_the_part_for_which_its_thread_waits(
    has_lane: bool, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    """As Ctrl+C: otherwise, the generators would be closed when the part has ended."""
    lane = AsyncLane() if has_lane else None
    noted: list[str] = []

    class Signalled(SimpleQueue[Any]):
        def get(self, *_: Any, **__: Any) -> Any:
            until(lambda: "began" in noted)
            raise KeyboardInterrupt

    async def endless() -> None:
        noted.append("began")
        try:
            await anyio.sleep_forever()
        finally:
            noted.append("cancelled")

    async def closing() -> None:
        await anyio.lowlevel.checkpoint()
        noted.append("closed")

    with monkeypatch.context() as patch:
        patch.setattr(background, "SimpleQueue", Signalled)
        with pytest.raises(KeyboardInterrupt):
            await_in_background(backend, endless, (), lane)
    until(lambda: noted == ["began", "cancelled"])
    if lane is not None and backend == "asyncio":
        await_in_background(backend, closing, (), lane)
        assert noted[-1] == "closed"
    if lane is not None:
        lane.end()


def test_a_part_that_has_ended_is_not_cancelled() -> None:
    background_loop("asyncio").leave(bool)


def test_a_block_in_def_code_ends_with_its_event_loop(backend: str) -> None:
    """Also if the thread that is in the block never leaves it."""
    app = Ending(backend)

    async def enter() -> None:
        await anext(generator)

    generator = _in_one_task(app._thing())
    anyio.run(enter, backend=backend)
    assert app.noted == ["provider"]
