"""Handlers in an executor of the author's: threads, processes, and a Dask cluster of two processes
on this machine.
"""

from __future__ import annotations

import concurrent.futures
import logging
import multiprocessing
import os
import pickle
import re
import runpy
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import Client, LocalCluster

from micropie import App, where
from micropie._core.execution.pool import executors
from micropie._core.execution.pool.executors import ExecutorPool
from micropie._core.execution.pool.remote import packed_call
from micropie._core.execution.process_pool import CancelToken, PoolError
from tests.support import pooled
from tests.support.clients import MakeClient
from tests.support.pooled import Pooled, Readable, call_in
from tests.support.waiting import PATIENCE, until


@contextmanager
def cluster_of(workers: int, *, processes: bool) -> Iterator[Any]:
    """The client of a Dask cluster on this machine, with one thread for each worker."""
    local_cluster: Any = LocalCluster  # their functions have no types
    client: Any = Client
    quiet = {
        "distributed.scheduler.allowed-failures": 0,
        "distributed.logging.distributed": "critical",
    }
    with (
        dask.config.set(quiet),
        local_cluster(
            n_workers=workers,
            processes=processes,
            threads_per_worker=1,
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": ":0"},  # it has a port all the same
            silence_logs=logging.CRITICAL,
        ) as cluster,
        client(cluster) as connected,
    ):
        yield connected


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with cluster_of(2, processes=True) as client:
        yield client


@pytest.fixture(scope="module")
def processes() -> Iterator[Executor]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        yield executor


@pytest.fixture
def threads() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.fixture(scope="module")
def interpreters() -> Iterator[Executor]:
    kind: Any = getattr(concurrent.futures, "InterpreterPoolExecutor", None)
    if kind is None:
        pytest.skip("Python has it since 3.14")
    with kind(1) as executor:
        yield executor


@pytest.fixture(params=["threads", "processes", "interpreters", "dask"])
def executor(request: pytest.FixtureRequest) -> Any:
    """Each in turn."""
    if request.param == "dask":
        return request.getfixturevalue("cluster").get_executor()
    return request.getfixturevalue(request.param)


# -- calls -----------------------------------------------------------------------------------------


def test_an_executor_can_replace_the_pool(make_client: MakeClient, executor: Executor) -> None:
    client = make_client(Pooled(pool=executor))
    place, pid = client.get("/process").json()
    assert place == "process"
    assert (pid == os.getpid()) is isinstance(executor, ThreadPoolExecutor)
    assert client.get("/add/1/2/3?name=all&colour=red").json() == {"all": 6, "colour": "red"}
    assert client.get("/uses_self").json() == ["helped", "green", False]
    assert client.get("/answers/response").headers["X-Colour"] == "red"
    assert executor.submit(where).result() == "thread"  # nothing of the request is left there


def test_the_request_is_readable_in_an_executor(
    make_client: MakeClient, executor: Executor
) -> None:
    client = make_client(Pooled(pool=executor))
    client.get("/log_in/Ann")
    assert client.get("/session").json()[0] == "Ann"
    headers = {"X-Colour": "red", "Cookie": "taste=sweet"}
    answer = client.post("/request_seen?a=1", data={"name": "Bob"}, headers=headers)
    assert (answer.headers["cache-control"], answer.headers["vary"]) == ("private", "Cookie")
    seen = answer.json()
    found = (seen["method"], seen["url"], seen["header"])
    assert found == ("POST", "http://testserver/request_seen?a=1", "red")
    assert (seen["query"], seen["form"], seen["cookie"]) == ({"a": ["1"]}, "Bob", "sweet")


def test_R69_errors_of_an_executor_s_job_get_a_response_or_are_logged(
    make_client: MakeClient, executor: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(Pooled(pool=executor))
    assert client.get("/raises/http").status_code == 418
    for kind, says in {
        "custom": "Custom: oh",
        "exit": "the call raised SystemExit: 3",
        "sold_out": "SoldOut: 0 plum pies left",
        "holding": "the call raised Holding(",
    }.items():
        caplog.clear()
        assert client.get(f"/raises/{kind}").status_code == 500
        assert says in caplog.text
        assert "in raises" in caplog.text  # its traceback there
    assert client.get("/unpicklable").status_code == 500
    assert "the call's result can't be pickled: cannot pickle '_thread.lock' object" in caplog.text
    assert client.get("/process").status_code == 200


@pytest.mark.parametrize("place", ["process", "thread"])
def test_a_value_that_cannot_be_unpickled_gets_an_error_with_a_reason(
    executor: Executor, place: str
) -> None:
    with pytest.raises(OSError, match="no file") as caught:
        call_in(ExecutorPool(executor), PATIENCE, pooled.doubled, [Readable(place)])
    assert caught.value.__notes__ == ["A value from another process can't be unpickled."]


def test_R69_an_argument_that_cannot_be_sent_to_an_executor_gets_a_500_with_a_reason(
    make_client: MakeClient, executor: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(Pooled(pool=executor))
    assert client.post("/takes", json={}).status_code == 500
    assert (
        "Pooled.takes runs in the process pool, but argument 1, of type Locked, can't be pickled: "
        "cannot pickle '_thread.lock' object" in caplog.text
    )


def test_an_inner_application_may_have_another_executor(
    make_client: MakeClient, threads: Executor
) -> None:
    root: Any = Pooled(processes=1)
    root.inner = Pooled(pool=threads)
    client = make_client(root)
    assert client.get("/inner/process").json()[1] == os.getpid()
    assert client.get("/process").json()[1] != os.getpid()


def test_R69_an_executor_s_job_has_a_time_limit(
    make_client: MakeClient,
    executor: Executor,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    client, go_on = make_client(Pooled(pool=executor, pool_timeout=0.05)), tmp_path / "go_on"
    assert client.get(f"/waits_for?file={go_on}").status_code == 503
    assert "did not finish within 0.05 s: its result is discarded" in caplog.text
    go_on.touch()
    # when that has ended
    assert make_client(Pooled(pool=executor)).get("/process").status_code == 200


def test_R69_a_killed_process_of_a_process_pool_gets_a_500(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        client = make_client(Pooled(pool=executor))
        assert client.get("/dies").status_code == 500
        assert (
            "the executor did not finish the call: A process in the process pool was terminated"
            in caplog.text
        )


# two processes that import Dask, and nobody else's: Dask may not replace what was killed
def test_R69_a_killed_worker_of_a_cluster_gets_a_500(
    connect: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    # In one world: the error comes from below the drivers, and the clusters of three would take
    # half a minute.
    with cluster_of(2, processes=True) as cluster:
        client = connect(Pooled(pool=cluster.get_executor()), "asyncio", raise_app_exceptions=False)
        assert client.get("/dies").status_code == 500
        assert "the executor did not finish the call: Attempted to run task" in caplog.text
        assert client.get("/process").status_code == 200  # by the other one
        assert client.get("/stream_dies").status_code == 500


# which Dask looks for by a route, and which a machine without a network has not
@pytest.mark.filterwarnings("ignore:Couldn't detect a suitable IP address:RuntimeWarning")
def test_a_cluster_may_run_handlers_in_threads(make_client: MakeClient) -> None:
    with cluster_of(1, processes=False) as cluster:
        client = make_client(Pooled(pool=cluster.get_executor()))
        assert client.get("/process").json() == ["process", os.getpid()]
        assert client.get("/chunks/20").text == "".join(f"{number} " for number in range(20))


def test_an_executor_that_has_been_shut_down_is_reported(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    assert make_client(Pooled(pool=executor)).get("/process").status_code == 500
    assert "cannot schedule new futures after shutdown" in caplog.text


def test_equal_calls_on_a_cluster_are_each_made(cluster: Any) -> None:
    pool = ExecutorPool(cluster.get_executor())
    with ThreadPoolExecutor(2) as callers:
        first, second = callers.map(lambda _: call_in(pool, PATIENCE, uuid.uuid4), range(2))
    assert first != second


def test_a_finished_call_leaves_nothing_on_a_cluster(make_client: MakeClient, cluster: Any) -> None:
    before = set(cluster.futures)  # it keeps those of workers that were killed
    client = make_client(Pooled(pool=cluster.get_executor()))
    for path in ("/process", "/chunks/300", "/raises/custom", "/raises/sold_out"):
        client.get(path)
        client.head(path)
    until(lambda: before.issuperset(cluster.futures))  # else a lost worker would have it done again


# -- streams ---------------------------------------------------------------------------------------


def test_an_executor_s_stream_is_sent_whole(
    make_client: MakeClient, executor: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(Pooled(pool=executor))
    for count in (0, 1, 2, 1000):
        found = client.get(f"/chunks/{count}").text
        assert found == "".join(f"{number} " for number in range(count))
    assert client.head("/chunks/20").text == ""
    for after in (0, 3):
        caplog.clear()
        assert client.get(f"/stream_fails/{after}").status_code == 500
        assert "in mid-stream" in caplog.text
    caplog.clear()
    assert client.get("/chunk_unpicklable").status_code == 500
    assert "can't be pickled" in caplog.text
    assert client.get("/process").status_code == 200


def test_an_executor_s_stream_has_limits(
    make_client: MakeClient,
    threads: Executor,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    file = tmp_path / "made"
    monkeypatch.setattr(executors, "STREAM_BYTES", 1000)
    assert make_client(Pooled(pool=threads)).get(f"/chunks/100000?file={file}").status_code == 500
    assert "an executor collects the whole stream" in caplog.text
    assert int(file.read_text()) < 100
    assert (tmp_path / "made.closed").exists()


def test_an_executor_s_stream_ends_at_its_time_limit(threads: Executor) -> None:
    made = executors.run_pickled(packed_call(pickle.dumps, Pooled.chunks, (None, 3)), PATIENCE)
    assert list(made) == ["0 ", "1 ", "2 "]  # type: ignore[call-overload]
    with pytest.raises(PoolError, match="at most 64 MiB in at most -1 s"):
        executors.run_pickled(packed_call(pickle.dumps, Pooled.chunks, (None, 3)), -1.0)


# -- given up --------------------------------------------------------------------------------------


def test_a_cancelled_caller_need_not_wait_for_the_executor(
    threads: Executor, tmp_path: Path
) -> None:
    file, token = tmp_path / "begun", CancelToken()
    with ThreadPoolExecutor(1) as others:
        waiting = others.submit(
            partial(call_in, ExecutorPool(threads), token=token), 60, says_when_begun, str(file)
        )
        until(file.exists)
        token.cancel()
        with pytest.raises(PoolError, match="the call has been cancelled"):
            waiting.result(PATIENCE)
    file.unlink()
    token.cancel()  # which is nothing to anybody any more


def says_when_begun(file: str) -> None:
    """Return when the file has gone."""
    Path(file).touch()
    until(lambda: not Path(file).exists())


def test_an_unused_executor_starts_no_thread(threads: Executor) -> None:
    app = App(pool=threads)
    app._micropie.compiled()
    assert not threads._threads  # type: ignore[attr-defined]


def test_the_documented_cluster_example_runs(
    make_client: MakeClient, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[3] / "docs" / "processes.md").read_text()
    for name, text in re.findall(
        r"^```text\n# (\w+\.py)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL
    ):
        (tmp_path / name).write_text(
            text.replace("tcp://scheduler:8786", cluster.scheduler.address)
        )
    monkeypatch.syspath_prepend(tmp_path)
    cluster.upload_file(str(tmp_path / "bakery.py"))
    client = make_client(runpy.run_path(str(tmp_path / "main.py"))["app"])
    assert client.get("/rows/3").text == "0 process\n1 process\n2 process\n"
    monkeypatch.delitem(sys.modules, "bakery")
