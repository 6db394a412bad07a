"""What an extension does for one request: reports, contexts of processes, services, tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import partial
from typing import Any

import pytest

from micropie import App, run_in
from micropie.extensions import Outage, TaskWaiter
from micropie.middleware import FlowMiddleware
from tests.support.clients import MakeClient
from tests.support.waiting import until

language = ContextVar("language", default="en")
colour = ContextVar("colour", default="none")


def enter(is_language: bool, value: str) -> None:
    (language if is_language else colour).set(value)


class Reports(FlowMiddleware):
    def __init__(self, *reports: Callable[[BaseException], object]) -> None:
        self._reports = reports

    def before(self, request: Any) -> None:
        for report in self._reports:
            request.on_failure(report)


class Carries(FlowMiddleware):
    def __init__(self, variable: ContextVar[str], value: str) -> None:
        self._enter = partial(enter, variable is language, value)

    def before(self, request: Any) -> None:
        request.carry_into_process(self._enter)


class Failing(App):
    def index(self) -> str:
        return "fine"

    def early(self) -> str:
        raise ValueError("early")

    def late(self) -> Iterator[str]:
        yield "a"
        raise ValueError("late")

    def service(self) -> str:
        raise Outage.Unavailable("Come back later.", "the oven is cold", 7)

    @run_in("process")
    def context(self) -> list[str]:
        return [language.get(), colour.get()]

    async def woken(self) -> str:
        waiter = TaskWaiter()
        waiter.wake()  # nobody waits: it does nothing
        waiting = waiter.wait()
        with ThreadPoolExecutor(1) as others:
            others.submit(waiter.wake).result()
        await waiting
        return "awake"


@pytest.mark.parametrize("path", ["early", "late"])
def test_each_reporter_gets_a_failure_once(make_client: MakeClient, path: str) -> None:
    first: list[BaseException] = []
    second: list[BaseException] = []
    app = Failing()
    app.middlewares.append(Reports(first.append, second.append))
    client = make_client(app, raise_app_exceptions=False)
    assert client.get("/").text == "fine"
    assert first == second == []
    if path == "early":
        assert client.get("/early").status_code == 500
    else:
        with pytest.raises(Exception):  # noqa: B017, PT011
            client.get("/late")
    until(lambda: len(second) == 1)
    assert [str(one) for one in first] == [str(one) for one in second] == [path]


def test_a_failing_reporter_does_not_affect_the_others(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(error: BaseException) -> None:
        raise KeyError("broken")

    reported: list[BaseException] = []
    app = Failing()
    app.middlewares.append(Reports(broken, reported.append))
    assert make_client(app).get("/early").status_code == 500
    until(lambda: len(reported) == 1)
    assert "KeyError: 'broken'" in caplog.text


def test_an_unavailable_service_gets_a_503(make_client: MakeClient) -> None:
    answer = make_client(Failing()).get("/service")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "7")
    assert "Come back later." in answer.text
    assert "cold" not in answer.text


def test_data_of_several_extensions_is_carried_into_the_pool(make_client: MakeClient) -> None:
    with ThreadPoolExecutor(1) as executor:
        app = Failing(pool=executor)
        app.middlewares += [Carries(language, "de"), Carries(colour, "a"), Carries(colour, "red")]
        assert make_client(app).get("/context").json() == ["de", "red"]


def test_a_task_is_woken_from_another_thread(make_client: MakeClient) -> None:
    assert make_client(Failing()).get("/woken").text == "awake"


def test_an_outage_is_tried_once_and_ends_with_a_result(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[str] = []

    def fail() -> str:
        asked.append("failed")
        raise ConnectionRefusedError("cold")

    class Now(Outage):
        retry_after = 0.0  # the next call tries it

    outage = Now("the oven", ", nothing is baked")
    assert outage.call(lambda: "pie") == "pie"
    with pytest.raises(ConnectionRefusedError):
        outage.call(fail)
    assert outage.is_on
    assert "the oven is unavailable, nothing is baked: ConnectionRefusedError: cold" in caplog.text

    def meanwhile() -> str:
        with pytest.raises(ConnectionError, match="the oven is unavailable"):
            outage.call(fail)  # another one tries it
        return "pie"

    assert outage.call(meanwhile) == "pie"
    assert (outage.is_on, asked) == (False, ["failed"])
    assert "the oven is available again" in caplog.text
