"""``batched``: calls of several requests that run together in the pool.

Most of these tests run the batches in the threads of an executor.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from math import inf, nan
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from micropie import SetupError, batched
from micropie._core.execution import TASKS, current
from micropie.testing import TestClient
from tests.asgi.calls import Call, every_loop, http_scope, piece, run
from tests.asgi.calls import get as asgi_get
from tests.support import batching
from tests.support.batching import Batching, ask
from tests.support.clients import MakeClient
from tests.support.waiting import until_async


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    """Its threads are the pool."""
    batching.seen.clear()
    batching.gate.clear()
    with ThreadPoolExecutor(2) as executor:
        yield executor
        batching.gate.set()


@pytest.fixture
def app(executor: ThreadPoolExecutor) -> Batching:
    return Batching(pool=executor)


@pytest.fixture
def client(make_client: MakeClient, app: Batching) -> TestClient:
    return make_client(app)


# -- what runs together ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["doubles", "doubles_in_def"])
def test_calls_of_several_requests_run_together(client: TestClient, name: str) -> None:
    assert ask(client, *[f"/{name}/{number}" for number in range(4)]) == [
        (200, str(2 * number)) for number in range(4)
    ]
    assert [sorted(rows) for rows in batching.seen] == [[0, 1, 2, 3]]


def test_a_single_call_runs_when_its_waiting_time_is_over(client: TestClient) -> None:
    assert ask(client, "/doubles/3?size=1") == [(200, "6")]
    assert batching.seen == [[3]]


def test_without_a_waiting_time_concurrent_calls_run_together(client: TestClient) -> None:
    assert client.get("/doubles_many").json() == [0, 2, 4]
    assert [sorted(rows) for rows in batching.seen] == [[0, 1, 2]]


@every_loop
def test_a_websocket_s_call_can_be_part_of_a_batch(backend: str, app: Batching) -> None:
    with (
        TestClient(app, backend=backend) as client,
        client.websocket("/doubles") as ws,
    ):
        ws.send_text("5")
        assert ws.receive_json() == 10


def test_each_event_loop_has_its_own_batches(connect: Any, executor: ThreadPoolExecutor) -> None:
    worlds = ["wsgi", "asyncio", "trio"]
    clients = [connect(Batching(pool=executor, portal_backend="trio"), world) for world in worlds]

    def double(number: int) -> int:
        return int(clients[number // 2].get(f"/doubles/{number}?size=2").text)

    with ThreadPoolExecutor(6) as visitors:
        assert [*visitors.map(double, range(6))] == [0, 2, 4, 6, 8, 10]
    assert sorted(sorted(rows) for rows in batching.seen) == [[0, 1], [2, 3], [4, 5]]


@every_loop
def test_each_pool_has_its_own_batches(backend: str, executor: ThreadPoolExecutor) -> None:
    apps = [Batching(pool=executor) for _ in range(2)]

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(4):
                tasks.start_soon(asgi_get, apps[number % 2], f"/doubles/{number}?size=2")
                await wait_all_tasks_blocked()

    run(backend, main)
    assert sorted(batching.seen) == [[0, 2], [1, 3]]


@every_loop
def test_calls_join_until_a_process_is_free(backend: str, executor: ThreadPoolExecutor) -> None:
    app = Batching(pool=executor, threads=2)  # at most this number of calls of an executor

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(2):
                tasks.start_soon(asgi_get, app, f"/holds/{number}")
            await until_async(lambda: len(batching.seen) == 2)
            for number in range(2, 6):
                tasks.start_soon(asgi_get, app, f"/holds_soon/{number}")
                await until_async(app.has_batch_waiting)
                await wait_all_tasks_blocked()
            batching.gate.set()

    run(backend, main)
    assert sorted(batching.seen[2:]) == [[2, 3, 4], [5]]


# -- results and errors ----------------------------------------------------------------------------


def test_each_call_gets_its_own_result_or_exception(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    assert ask(client, "/verdict/fine", "/verdict/missing", "/verdict/fails") == [
        (200, "fine"),
        (404, "no such pie"),
        (500, "500 Internal Server Error"),
    ]
    assert "ValueError: burnt" in caplog.text


def test_a_result_that_cannot_be_pickled_only_fails_its_own_call(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    paths = "/verdict/lock", "/verdict/fine", "/verdict/holding"
    assert [status for status, _ in ask(client, *paths)] == [500, 200, 500]
    assert "the call's result can't be pickled: cannot pickle '_thread.lock'" in caplog.text
    assert "the call raised Holding('oh'), which can't be pickled" in caplog.text
    paths = "/verdict/fine", "/verdict/fine", "/verdict/exits"
    assert [status for status, _ in ask(client, *paths)] == [200, 200, 500]
    assert "the call raised SystemExit: 3" in caplog.text


def test_an_exception_of_the_function_is_raised_in_each_call(
    client: TestClient, app: Batching
) -> None:
    assert [status for status, _ in ask(client, "/fails/pie", "/fails/pie")] == [500, 500]
    one, other = app.raised
    assert one is not other
    assert one.args == other.args == ("pie", "pie")
    assert "raise KeyError(*rows)" in str(one.__cause__)


@pytest.mark.parametrize(("row", "count"), [("too few", 1), ("too many", 3), ("nothing", 0)])
def test_a_wrong_number_of_results_is_one_error(
    client: TestClient, row: str, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert [status for status, _ in ask(client, *[f"/returns/{row}"] * 2)] == [500, 500]
    assert (
        "TypeError: tests.support.batching.returns must return a list with one result for each "
        f"row, but got 2 rows and returned {count} results"
    ) in caplog.text


def test_a_row_that_cannot_be_pickled_fails_alone(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    assert client.get("/unpicklable").status_code == 500
    assert (
        "tests.support.batching.doubled runs in the process pool, but a row of type lock can't be "
        "pickled: cannot pickle '_thread.lock' object"
    ) in caplog.text
    ask(client, *[f"/doubles/{number}" for number in range(4)])
    assert [sorted(rows) for rows in batching.seen] == [[0, 1, 2, 3]]


def test_a_row_that_cannot_be_unpickled_fails_alone(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    paths = "/placed/fine/process", "/placed/lost/thread", "/placed/missing/process"
    assert [status for status, _ in ask(client, *paths)] == [200, 500, 404]
    assert "OSError: no file\nA value from another process can't be unpickled." in caplog.text
    assert [sorted(rows) for rows in batching.seen] == [["fine", "missing"]]


def test_a_function_is_not_called_without_a_row(client: TestClient) -> None:
    paths = ["/placed/lost/thread"] * 3
    assert [status for status, _ in ask(client, *paths)] == [500] * 3
    assert batching.seen == []


def test_a_result_that_cannot_be_unpickled_fails_alone(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    paths = "/verdict/fine", "/verdict/unreadable", "/verdict/unreadable_error"
    assert [status for status, _ in ask(client, *paths)] == [200, 500, 500]
    assert "OSError: no file\nA value from another process can't be unpickled." in caplog.text


# -- calls that nobody waits for -------------------------------------------------------------------


def test_a_call_past_its_time_limit_is_left_out(client: TestClient) -> None:
    assert client.get("/limited/0").status_code == 503
    ask(client, *[f"/doubles/{number}" for number in range(1, 5)])
    assert [sorted(rows) for rows in batching.seen] == [[1, 2, 3, 4]]


@pytest.mark.parametrize("world", ["wsgi", "asyncio"])  # trio doesn't cancel what a thread awaits
def test_a_def_handler_s_call_past_its_time_limit_is_left_out(
    connect: Any, world: str, app: Batching
) -> None:
    client = connect(app, world)
    assert client.get("/limited_in_def/0").status_code == 503
    ask(client, *[f"/doubles/{number}" for number in range(1, 5)])
    assert [sorted(rows) for rows in batching.seen] == [[1, 2, 3, 4]]


@every_loop
@pytest.mark.parametrize("others", [0, 1])
def test_a_disconnected_client_s_row_is_removed(backend: str, others: int, app: Batching) -> None:
    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(others):
                tasks.start_soon(asgi_get, app, f"/doubles/{number}")
            call = Call(piece(b""))
            tasks.start_soon(app, http_scope("GET", "/ends/9"), call.receive, call.send)
            await wait_all_tasks_blocked()
            call.leave()
            await wait_all_tasks_blocked()
            if not others:
                await TASKS.get().join()  # no task is left
            for number in range(others, 4):
                tasks.start_soon(asgi_get, app, f"/doubles/{number}")

    run(backend, main)
    assert [sorted(rows) for rows in batching.seen] == [[0, 1, 2, 3]]


@every_loop
def test_a_client_may_disconnect_from_a_running_batch(backend: str, app: Batching) -> None:
    found: list[str] = []

    async def holds(number: int, scope: anyio.CancelScope) -> None:
        with scope:
            found.append((await asgi_get(app, f"/holds_three/{number}")).body.decode())

    async def main() -> None:
        scopes = [anyio.CancelScope() for _ in range(3)]
        async with anyio.create_task_group() as tasks:
            for number, scope in enumerate(scopes):
                tasks.start_soon(holds, number, scope)
            await until_async(lambda: batching.seen)
            scopes[1].cancel()
            await wait_all_tasks_blocked()
            batching.gate.set()

    run(backend, main)
    assert sorted(found) == ["0", "2"]


@every_loop
def test_a_batch_ends_with_its_event_loop(backend: str, app: Batching) -> None:
    ended: list[object] = []

    async def double() -> None:
        current.set(SimpleNamespace(_exchange=SimpleNamespace(config=app._micropie.config())))
        try:
            await batching.in_twos(1)
        finally:
            ended.append(batching.in_twos)

    async def main() -> None:
        TASKS.get().start_soon(double)
        await wait_all_tasks_blocked()

    run(backend, main)
    assert ended
    assert batching.seen == []


# -- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"size": 0}, r"^batched\(size=\.\.\.\) takes a whole number, at least 1, not 0$"),
        ({"size": 2.5}, r"takes a whole number, at least 1, not 2\.5"),
        ({"within": -1}, r"^batched\(within=\.\.\.\) takes seconds, at least 0, not -1$"),
        ({"within": inf}, r"takes seconds, at least 0, not inf"),
        ({"within": nan}, r"takes seconds, at least 0, not nan"),
        ({"within": "5ms"}, r"takes seconds, at least 0, not '5ms'"),
    ],
)
def test_limits_of_a_batch_are_checked(options: dict[str, Any], says: str) -> None:
    with pytest.raises(SetupError, match=says):
        batched(batching.doubled, **{"size": 1, "within": 0.0, **options})


async def waits(rows: list[int]) -> list[int]:
    return rows


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda rows: rows, r"<lambda> can't run in the process pool: .* at a module's"),
        (waits, r"waits is an async def, .*: write def to run it in a process"),
        (sorted, r"^batched\(\.\.\.\) takes a function that is defined with def, not <built-in"),
        (nan, r"defined with def, not nan"),
    ],
)
def test_the_batched_function_is_checked(function: Any, says: str) -> None:
    with pytest.raises(SetupError, match=says):
        batched(function, size=1, within=0.0)


def test_without_a_request_there_is_no_pool() -> None:
    with pytest.raises(LookupError, match=r"no current request whose pool could run tests\."):
        anyio.run(batching.alone, 1)
