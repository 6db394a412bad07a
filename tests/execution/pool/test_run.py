"""``app.pool.run``: a function in a process, from all code of an application."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from micropie import App, SetupError, run_in
from micropie._core.execution.placement import this_process
from micropie.testing import TestClient
from tests.support import pooled
from tests.support.clients import MakeClient, connecting
from tests.support.pooled import Caller
from tests.support.waiting import until

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def clients() -> Iterator[dict[str, TestClient]]:
    with connecting() as connect:
        yield {world: connect(Caller(processes=1), world) for world in ("wsgi", "asyncio", "trio")}


@pytest.fixture
def client(clients: dict[str, TestClient], world: str) -> TestClient:
    return clients[world]


@pytest.mark.parametrize("path", ["/runs/3/4", "/runs_from_def/3/4"])
def test_a_handler_runs_a_function_in_the_pool(client: Any, path: str) -> None:
    assert client.get(path).json() == ["process", 12]


def test_methods_and_other_callables_run_in_the_pool(client: Any) -> None:
    assert client.get("/heavy/1").json() == ["process", "green", 2]
    assert client.get("/runs_a_method").json() == ["process", "green", 2]
    results = client.get("/runs_many").json()
    assert results == [15, 120, 8, ["process", 6], ["process", "green", 2], "PIE", ["process", 8]]


def test_providers_and_after_response_functions_may_use_the_pool(client: Any, world: str) -> None:
    assert client.get("/provided").json() == ["process", 42]
    number = {"wsgi": 1, "asyncio": 2, "trio": 3}[world]
    assert client.get(f"/afterwards/{number}").text == "begun"
    until(lambda: f"['process', {number}0]" in pooled.changed)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_websocket_runs_a_function_in_the_pool(
    clients: dict[str, TestClient], backend: str
) -> None:
    with clients[backend].websocket("/socket") as ws:
        ws.send_text("5")
        assert ws.receive_json() == ["process", 10]


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("lambda", "Define it with def at a module's top level"),
        ("called", ", 2]: write the function without parentheses, and then its arguments, as in"),
        ("partial", "Define it with def at a module's top level"),
        ("async", "waits is an async def, which can run only on the event loop: write def"),
        ("generator", "pool.run returns one result, not an iterator such as a generator or an op"),
        (
            "argument",
            "but argument 1, of type lock, can't be pickled: cannot pickle '_thread.lock'",
        ),
        ("argument of another", "but argument 1, of type lock, can't be pickled: cannot pickle"),
        ("function", "pool, but the function, of type builtin_function_or_method, can't be pic"),
        ("result", "the call's result can't be pickled: cannot pickle '_thread.lock' object"),
        ("failure", "no current request"),
    ],
)
def test_a_function_that_cannot_run_in_the_pool_gets_a_clear_error(
    client: Any, what: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = client.get(f"/runs_what_it_cant/{what}")
    assert answer.status_code == 500
    assert says in caplog.text
    assert client.get("/runs/1/2").json() == ["process", 2]  # its process is free again


def test_a_pool_call_that_takes_too_long_gets_a_503(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(Caller(processes=1, pool_timeout=0.3))
    assert client.get("/runs_for_long").status_code == 503
    assert "the call returned or yielded nothing for 0.3 s" in caplog.text


def test_a_process_of_the_pool_cannot_use_the_pool(
    client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert client.get("/uses_pool").status_code == 500
    assert "has no self.url_for, self.render, self.channels, self.pool or" in caplog.text


def test_an_executor_replaces_the_pool(make_client: MakeClient) -> None:
    with ThreadPoolExecutor(2) as executor:
        client: Any = make_client(Caller(pool=executor))
        assert client.get("/runs/3/4").json() == ["process", 12]
        assert client.get("/heavy/1").json() == ["process", "green", 2]
        assert client.get("/runs_what_it_cant/generator").status_code == 500


# -- without a process -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/calls_directly", "/calls_directly_on_loop"])
def test_a_direct_call_never_runs_inline(
    client: Any, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert client.get(path).status_code == 500
    assert (
        "RuntimeError: Caller._helped runs in the process pool, so it can't be called directly: "
        "write await app.pool.run(Caller._helped, ...)" in caplog.text
    )


def test_a_direct_call_inside_the_pool_is_a_plain_call(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Caller()
    with pytest.raises(RuntimeError, match="can't be called directly"):
        app.heavy(1)
    monkeypatch.setattr(this_process, "is_of_pool", True)
    assert app.heavy(1) == ["process", "green", 2]


def test_another_run_in_above_it_allows_direct_calls() -> None:
    @run_in("process")
    def heavy() -> str:
        return "called"

    with pytest.raises(RuntimeError, match="can't be called directly"):
        heavy()
    run_in("thread")(heavy)
    assert heavy() == "called"


def test_run_in_may_be_above_staticmethod() -> None:
    class Root(App):
        @run_in("process")
        @staticmethod
        def plain() -> None: ...

    assert vars(Root)["plain"].__micropie_run_in__ == "process"


def test_the_name_pool_is_reserved() -> None:
    with pytest.raises(SetupError, match=r"Root\.pool is the process pool: .* def pool_\(self\)"):

        class Root(App):
            def pool(self) -> None: ...  # type: ignore[override]

    with pytest.raises(SetupError, match=r"App\.pool is the process pool: give this attribute"):
        App().pool = 5
