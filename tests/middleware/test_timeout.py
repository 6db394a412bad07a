"""Timeout: cancelled handlers, handlers that continue in their thread, handlers without a limit."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from functools import wraps
from typing import Any

import anyio
import anyio.lowlevel
import httpx2 as httpx
import pytest

from micropie import App, SetupError, run_in
from micropie._core.execution.placement import Threads
from micropie.middleware import Timeout
from micropie.testing import TestClient
from tests.asgi.calls import Call, http_scope, piece, run
from tests.support.clients import MakeClient
from tests.support.waiting import until, until_async

LATE = "The response took too long. Please try again later."


class Part:
    """What a provider opens."""


class Root(App):
    """Slow handlers wait for `leave`, which the test sets at its end."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.leave = threading.Event()
        self.begun = threading.Event()
        self.ended = threading.Event()
        self.cleaned: list[str] = []

    def quick(self) -> Any:
        return "quick"

    async def quick_too(self) -> Any:
        await anyio.lowlevel.checkpoint()
        return "quick"

    async def sleeps(self) -> Any:
        self.begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.cleaned.append("finally")
            self.ended.set()

    def blocks(self) -> Any:
        self.begun.set()
        self.leave.wait(30)
        self.response.headers["X-Late"] = "1"
        self.ended.set()
        return "too late"

    def own_error(self) -> Any:
        raise TimeoutError("the database's")

    async def own_error_too(self) -> Any:
        with anyio.fail_after(0):
            await anyio.sleep(1)

    def generator(self) -> Iterator[str]:
        self.leave.wait(0.3)
        yield "generated"

    async def async_generator(self) -> AsyncIterator[str]:
        await anyio.sleep(0.3)
        yield "generated"

    @run_in("loop")
    def inlined(self) -> Any:
        self.leave.wait(0.3)
        return "inlined"


def limited(seconds: float, app: Any = None) -> Any:
    app = app or Root()
    app.middlewares.append(Timeout(seconds))
    return app


def answers_of(client: TestClient, app: Root, path: str) -> list[httpx.Response]:
    """Ask until the handler has begun: on a busy machine it may be given up before that."""
    answers = [client.get(path)]
    while not app.begun.is_set():
        answers.append(client.get(path))
    return answers


def test_an_async_handler_is_cancelled_and_cleans_up(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    app = limited(0.1)
    answers = answers_of(make_client(app), app, "/sleeps")
    assert {(answer.status_code, answer.text) for answer in answers} == {(503, LATE)}
    assert app.ended.wait(30)
    assert app.cleaned == ["finally"]
    messages = [record.getMessage() for record in caplog.records if record.name == "micropie"]
    assert messages == [
        "GET '/sleeps': sleeps did not finish within 0.1 s: the client gets 503"
    ] * len(answers)


def test_a_def_handler_past_its_limit_runs_on_without_effect(make_client: MakeClient) -> None:
    app = limited(0.1)
    client = make_client(app)
    answers = answers_of(client, app, "/blocks")
    seen = {(answer.status_code, answer.text, "x-late" in answer.headers) for answer in answers}
    assert seen == {(503, LATE, False)}
    assert not app.ended.is_set()
    app.leave.set()
    assert app.ended.wait(30)
    until(lambda: client.get("/quick").text == "quick")  # which may be late on a busy machine


def test_under_wsgi_on_close_may_run_while_a_thread_closes_the_resources(
    connect: MakeClient,
) -> None:
    leave, closed, seen = threading.Event(), threading.Event(), list[str]()

    class Slow(App):
        def slow(self, part: Part) -> None:
            self.request.on_close(end)
            leave.wait(30)

    app = Slow()
    app.middlewares.append(Timeout(0.05))

    @app.provides(Part)
    def part() -> Iterator[Part]:
        try:
            yield Part()
        except BaseException as error:
            seen.append(f"{type(error).__name__} at {app.request.path}")
            raise
        finally:
            closed.set()

    def end() -> None:
        leave.set()
        until(closed.is_set)
        seen.append(f"closed {app.request.path}")

    assert connect(app, "wsgi").get("/slow").text == LATE
    until(lambda: len(seen) == 2)
    assert sorted(seen) == ["HTTPError at /slow", "closed /slow"]


def test_a_handler_within_the_limit_responds(make_client: MakeClient) -> None:
    client = make_client(limited(10))
    answers = [client.get(path).text for path in ("/quick", "/quick_too", "/inlined")]
    assert answers == ["quick", "quick", "inlined"]


@pytest.mark.parametrize("path", ["/own_error", "/own_error_too"])
def test_a_timeout_error_of_the_handler_itself_is_an_ordinary_error(
    make_client: MakeClient, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = make_client(limited(10)).get(path)
    assert (answer.status_code, answer.text) == (500, "500 Internal Server Error")
    assert "TimeoutError" in caplog.text


@pytest.mark.parametrize("path", ["/generator", "/async_generator", "/inlined"])
def test_handlers_within_the_limit_or_without_one_respond(
    make_client: MakeClient, path: str
) -> None:
    assert make_client(limited(0.05)).get(path).status_code == 200


@pytest.mark.parametrize("wraps_it", [True, False])
def test_a_decorated_async_handler_is_limited_too(make_client: MakeClient, wraps_it: bool) -> None:
    def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            return function(*arguments, **named)

        return wraps(function)(call) if wraps_it else call

    class Decorated(Root):
        sleeps = decorated(Root.sleeps)
        quick_too = decorated(Root.quick_too)

    assert make_client(limited(10, Decorated())).get("/quick_too").text == "quick"
    app = limited(0.1, Decorated())
    assert {answer.status_code for answer in answers_of(make_client(app), app, "/sleeps")} == {503}
    assert app.ended.wait(30)


def test_an_inner_application_may_have_its_own_time_limit(make_client: MakeClient) -> None:
    class Slow(App):
        async def index(self) -> Any:
            await anyio.sleep(0.2)
            return "slow"

    app: Any = Slow()
    app.hasty, app.patient = limited(0.01, Slow()), limited(10, Slow())
    app.patient.hastier = limited(0.01, Slow())
    client = make_client(app)
    statuses = {
        path: client.get(path).status_code
        for path in ("/", "/hasty", "/patient", "/patient/hastier")
    }
    assert statuses == {"/": 200, "/hasty": 503, "/patient": 200, "/patient/hastier": 503}


def test_an_error_handler_may_handle_the_timeout(make_client: MakeClient) -> None:
    app = limited(0.01)

    app.error(503)(lambda error: f"sorry: {error.message}")

    answer = make_client(app).get("/sleeps")
    assert (answer.status_code, answer.text) == (503, f"sorry: {LATE}")


def test_waiting_for_a_thread_counts_against_the_limit(connect: MakeClient) -> None:
    app = limited(0.2, Root(threads=1))
    client = connect(app, "asyncio")
    occupied = threading.Event()

    class Occupies(App):
        def index(self) -> Any:
            occupied.set()
            app.leave.wait(30)
            return "occupied"

    app.occupies = Occupies()
    app.occupies.middlewares.append(Timeout(10))
    thread = threading.Thread(target=client.get, args=("/occupies",))
    thread.start()
    assert occupied.wait(30)
    try:
        assert client.get("/quick").status_code == 503
    finally:
        app.leave.set()
        thread.join()


@pytest.mark.parametrize("seconds", [0, -1, "5", None, True, float("inf"), float("nan")])
def test_invalid_limits_are_refused(seconds: Any) -> None:
    with pytest.raises(SetupError, match=r"Timeout\(seconds\) takes seconds above 0, not"):
        Timeout(seconds)


@pytest.mark.parametrize("path", ["/sleeps", "/blocks"])
def test_R62_a_server_s_cancellation_is_not_a_timeout(backend: str, path: str) -> None:
    app, call = limited(10), []

    async def cancelled() -> bool:
        call.append(Call(piece(b"")))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(app, http_scope("GET", path), call[0].receive, call[0].send)
            await until_async(app.begun.is_set)
            tasks.cancel_scope.cancel()
        app.leave.set()
        return tasks.cancel_scope.cancelled_caught

    assert run(backend, cancelled)
    assert call[0].sent == []
    assert app.ended.wait(30)


def test_abandoned_threads_count_until_they_end(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls that hang, each of them given up, would be any number of threads."""
    monkeypatch.setattr("micropie.wsgi.steps._LIMITED_THREADS", Threads(2))  # ASGI has the setting
    leave = threading.Event()
    begun: list[int] = []

    class Hanging(App):
        def index(self) -> str:
            begun.append(threading.get_ident())
            leave.wait(30)
            return "late"

    app = Hanging(threads=2)
    app.middlewares.append(Timeout(0.05))
    client = make_client(app)
    until(lambda: client.get("/").status_code == 503 and len(begun) == 2)
    assert [client.get("/").status_code for _ in range(3)] == [503] * 3
    assert len(begun) == 2
    leave.set()
    until(lambda: client.get("/").text == "late")
