"""All ``async def`` parts of a request run in one task, also under WSGI.

Libraries keep sessions and transactions by ``asyncio.current_task()``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest

from micropie import App, HttpMiddleware, Request
from micropie._core.execution import background_loop
from micropie._core.execution.background import close_background_loops
from micropie._core.execution.lane import AsyncLane
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
    assert lane.is_over
    assert not lane.ask(None)
