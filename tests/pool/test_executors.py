"""Handlers in an executor of the author's: threads, processes, and a Dask cluster of two processes on this machine."""

from __future__ import annotations

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
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import Client, LocalCluster

from micropie import App, where
from micropie.execution import TookTooLong
from micropie.pool import executors
from micropie.pool.executors import ExecutorPool
from micropie.pool.remote import CancelToken, PoolError, open_message, packed_result
from tests.conftest import MakeClient
from tests.support.multipart_forms import PAIRS, form, section
from tests.support.pooled import Pooled
from tests.support.waiting import PATIENCE, until


@contextmanager
def cluster_of(workers: int, *, processes: bool) -> Iterator[Any]:
    """The client of a Dask cluster on this machine, with one thread for each worker."""
    local_cluster: Any = LocalCluster  # their functions have no types
    client: Any = Client
    quiet = {"distributed.scheduler.allowed-failures": 0, "distributed.logging.distributed": "critical"}
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


@pytest.fixture(params=["threads", "processes", "dask"])
def executor(request: pytest.FixtureRequest) -> Any:
    """Each in turn."""
    if request.param == "dask":
        return request.getfixturevalue("cluster").get_executor()
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["threads", "dask"])
def batching(request: pytest.FixtureRequest) -> Any:
    """Those from which streams come in batches."""
    if request.param == "dask":
        return request.getfixturevalue("cluster").get_executor()
    return request.getfixturevalue(request.param)


# -- calls -------------------------------------------------------------------------------------------------------------


def test_an_executor_takes_the_pools_place(make_client: MakeClient, executor: Executor) -> None:
    client = make_client(Pooled(pool=executor))
    place, pid = client.get("/process").json()
    assert place == "process"
    assert (pid == os.getpid()) is isinstance(executor, ThreadPoolExecutor)
    assert client.get("/add/1/2/3?name=all&colour=red").json() == {"all": 6, "colour": "red"}
    assert client.get("/uses_self").json() == ["helped", "green", False]
    assert client.get("/answers/response").headers["X-Colour"] == "red"
    assert executor.submit(where).result() == "thread"  # nothing of the request is left there


def test_the_request_is_readable_there(make_client: MakeClient, executor: Executor) -> None:
    client = make_client(Pooled(pool=executor))
    client.get("/log_in/Ann")
    assert client.get("/session").json()[0] == "Ann"
    headers = {"X-Colour": "red", "Cookie": "taste=sweet"}
    seen = client.post("/request_seen?a=1", data={"name": "Bob"}, headers=headers).json()
    assert (seen["method"], seen["url"], seen["header"]) == ("POST", "http://testserver/request_seen?a=1", "red")
    assert (seen["query"], seen["form"], seen["cookie"]) == ({"a": ["1"]}, "Bob", "sweet")


def test_R69_errors_come_back(make_client: MakeClient, executor: Executor, caplog: pytest.LogCaptureFixture) -> None:
    client = make_client(Pooled(pool=executor))
    assert client.get("/raises/http").status_code == 418
    for kind, says in {
        "custom": "Custom: oh",
        "exit": "it raised SystemExit: 3",
        "unpicklable": "Unpicklable: a",  # where Dask has been imported, it can be pickled
        "holding": "it raised Holding: oh, which can't be pickled",
    }.items():
        caplog.clear()
        assert client.get(f"/raises/{kind}").status_code == 500
        assert says in caplog.text
        assert "in raises" in caplog.text  # its traceback there
    assert client.get("/unpicklable").status_code == 500
    assert "its result, of type lock, can't be pickled" in caplog.text
    assert client.get("/process").status_code == 200


def test_R69_what_cant_go_there_is_a_500_that_says_which_and_why(
    make_client: MakeClient, executor: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {name.decode(): value.decode() for name, value in PAIRS}
    body = form(section('name="thing"; filename="f"', b"x" * 2_000_000))
    client = make_client(Pooled(pool=executor))
    assert client.post("/takes", content=body, headers=headers).status_code == 500
    assert "Pooled.takes runs in a process, and argument 1, of type UploadFile, can't be pickled" in caplog.text


def test_an_inner_application_may_have_another(make_client: MakeClient, threads: Executor) -> None:
    root: Any = Pooled(processes=1)
    root.inner = Pooled(pool=threads)
    client = make_client(root)
    assert client.get("/inner/process").json()[1] == os.getpid()
    assert client.get("/process").json()[1] != os.getpid()


def test_R69_what_takes_too_long_is_not_waited_for(
    make_client: MakeClient, executor: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(Pooled(pool=executor, pool_timeout=0.05))
    assert client.get("/sleeps/0.5").status_code == 503
    assert "took longer than 0.05 seconds and is left to itself" in caplog.text
    assert make_client(Pooled(pool=executor)).get("/process").status_code == 200  # when that has ended


def test_R69_a_killed_process_of_a_process_pool(make_client: MakeClient, caplog: pytest.LogCaptureFixture) -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        client = make_client(Pooled(pool=executor))
        assert client.get("/dies").status_code == 500
        assert "the executor lost it: A process in the process pool was terminated" in caplog.text


@pytest.mark.timeout(120)  # two processes that import Dask, and nobody else's: Dask may not replace what was killed
def test_R69_a_killed_worker_of_a_cluster(connect: MakeClient, caplog: pytest.LogCaptureFixture) -> None:
    # In one world: the error comes from below the drivers, and the clusters of three would take half a minute.
    with cluster_of(2, processes=True) as cluster:
        client = connect(Pooled(pool=cluster.get_executor()), "asyncio", raise_app_exceptions=False)
        assert client.get("/dies").status_code == 500
        assert "the executor lost it: Attempted to run task" in caplog.text
        assert client.get("/process").status_code == 200  # by the other one
        with pytest.raises(Exception, match=r".*"), client.stream("GET", "/stream_dies") as answer:
            list(answer.iter_raw())


def test_a_cluster_of_threads(make_client: MakeClient) -> None:
    with cluster_of(1, processes=False) as cluster:
        client = make_client(Pooled(pool=cluster.get_executor()))
        assert client.get("/process").json() == ["process", os.getpid()]
        assert client.get("/chunks/20").text == "".join(f"{number} " for number in range(20))
    assert not executors._open_streams


def test_an_executor_that_has_been_shut_down_says_so(make_client: MakeClient, caplog: pytest.LogCaptureFixture) -> None:
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    assert make_client(Pooled(pool=executor)).get("/process").status_code == 500
    assert "cannot schedule new futures after shutdown" in caplog.text


def test_equal_calls_on_a_cluster_are_made_each(cluster: Any) -> None:
    pool = ExecutorPool(cluster.get_executor())
    jobs = [pool.job("", executors.start, pickle.dumps((uuid.uuid4, ())), "", 10.0) for _ in range(2)]
    first, second = (job.outcome(10) for job in jobs)
    assert first != second


def test_nothing_of_a_call_stays_on_a_cluster(make_client: MakeClient, cluster: Any) -> None:
    before = set(cluster.futures)  # it keeps those of workers that were killed
    client = make_client(Pooled(pool=cluster.get_executor()))
    for path in ("/process", "/chunks/300", "/raises/custom", "/raises/unpicklable"):
        client.get(path)
        client.head(path)
    until(lambda: before.issuperset(cluster.futures))  # else a lost worker would have it done again


# -- streams -----------------------------------------------------------------------------------------------------------


def test_streams(make_client: MakeClient, executor: Executor, caplog: pytest.LogCaptureFixture) -> None:
    client = make_client(Pooled(pool=executor))
    for count in (0, 1, 2, 20, 1000):
        assert client.get(f"/chunks/{count}").text == "".join(f"{number} " for number in range(count))
    assert client.head("/chunks/20").text == ""
    assert client.get("/stream_fails/0").status_code == 500
    assert "in mid-stream" in caplog.text


@pytest.mark.parametrize("path", ["/stream_fails/3", "/chunk_unpicklable"])
def test_a_stream_that_fails_later_is_cut_or_an_error(make_client: MakeClient, executor: Executor, path: str) -> None:
    client = make_client(Pooled(pool=executor), raise_app_exceptions=False)
    if isinstance(executor, ProcessPoolExecutor):
        assert client.get(path).status_code == 500
    else:
        with pytest.raises(Exception, match=r".*"), client.stream("GET", path) as answer:
            list(answer.iter_raw())
    assert client.get("/process").status_code == 200


def test_a_streams_batches_are_made_in_one_process(make_client: MakeClient, cluster: Any) -> None:
    client = make_client(Pooled(pool=cluster.get_executor()))
    seen = set()
    for _ in range(4):
        lines = client.get("/places/500").text.splitlines()
        assert len(lines) == 500
        assert len(set(lines)) == 1
        seen.update(lines)
    assert all(line.startswith("process ") for line in seen)


def test_a_batch_comes_before_the_stream_has_ended(make_client: MakeClient, batching: Executor, tmp_path: Path) -> None:
    file = tmp_path / "go_on"
    client = make_client(Pooled(pool=batching))
    with client.stream("GET", f"/stream_waits?file={file}") as answer:
        pieces = answer.iter_raw()
        assert next(pieces) == b"a"
        file.touch()
        assert b"".join(pieces) == b"bcdefg"


def test_it_is_two_batches_ahead_at_most_and_stops_when_the_client_leaves(
    make_client: MakeClient, batching: Executor, tmp_path: Path
) -> None:
    file = tmp_path / "made"
    client = make_client(Pooled(pool=batching))
    with client.stream("GET", f"/chunks/1000000?file={file}") as answer:
        seen = b""
        for piece in answer.iter_raw():
            seen += piece
            if b" 20 " in seen:
                break
    until((tmp_path / "made.closed").exists)
    assert client.get("/process").status_code == 200
    made = file.read_text()
    assert int(made) < 1_000_000
    assert file.read_text() == made
    assert not executors._open_streams


def test_batches_are_bounded() -> None:
    stream = executors._OpenStream(iter(["x"] * 1000), copy_context())
    sizes = [len(executors._make_batch(stream)[0]) for _ in range(9)]
    assert sizes == [1, 2, 4, 8, 16, 32, 64, 100, 100]
    stream = executors._OpenStream(iter([b"x" * executors.BATCH_BYTES] * 10), copy_context())
    stream.most = 8
    assert len(executors._make_batch(stream)[0]) == 1


def test_one_that_took_long_is_followed_by_a_short_one(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = executors._OpenStream(iter(range(1000)), copy_context())
    stream.most = 8
    with monkeypatch.context() as patch:
        patch.setattr(executors, "BATCH_SECONDS", -1.0)
        assert executors._make_batch(stream) == ([0], None)
    assert [len(executors._make_batch(stream)[0]) for _ in range(3)] == [1, 2, 4]


def test_it_is_one_batch_ahead(threads: Executor) -> None:
    made: list[int] = []
    for_all.append(made)
    chunks = ExecutorPool(threads).call(PATIENCE, counting)
    assert next(chunks) == 0
    assert made == [0]  # HEAD takes one
    assert [next(chunks), next(chunks)] == [1, 2]
    until(lambda: len(made) == 1 + 2 + 4)
    threads.submit(int).result()
    assert len(made) == 7
    chunks.close()
    assert not executors._open_streams


for_all: list[list[int]] = []


def counting() -> Iterator[int]:
    for number in range(1000):
        for_all[-1].append(number)
        yield number


def test_a_stream_that_is_forgotten_is_closed(threads: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = ExecutorPool(threads)
    forgotten = pool.call(PATIENCE, Pooled.chunks, None, 100)
    assert next(forgotten) == "0 "
    monkeypatch.setattr(executors, "DISCARD_AFTER", -1.0)
    other = pool.call(PATIENCE, Pooled.chunks, None, 100)
    with pytest.raises(PoolError, match="was not asked for in time"):
        list(forgotten)
    assert list(forgotten) == []
    forgotten.close()
    other.close()
    assert not executors._open_streams


def test_one_that_is_being_made_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "DISCARD_AFTER", -1.0)
    stream = executors._OpenStream(iter("ab"), copy_context())
    executors._open_streams["key"] = stream
    with stream.lock:
        executors._discard_forgotten()
        assert executors._open_streams == {"key": stream}
    executors._discard_forgotten()
    assert not executors._open_streams


def test_who_closes_a_stream_twice_or_reads_on_gets_nothing(threads: Executor) -> None:
    chunks = ExecutorPool(threads).call(PATIENCE, Pooled.chunks, None, 3)
    assert list(chunks) == ["0 ", "1 ", "2 "]
    assert list(chunks) == []
    chunks.close()
    chunks = ExecutorPool(threads).call(PATIENCE, Pooled.chunks, None, 300)
    assert next(chunks) == "0 "
    chunks.close()
    chunks.close()
    assert list(chunks) == []


def test_a_generator_that_fails_while_it_is_closed_says_so(threads: Executor) -> None:
    chunks = ExecutorPool(threads).call(PATIENCE, Pooled.stream_close_fails, None)
    next(chunks)
    with pytest.raises(Exception, match="while closing"):
        chunks.close()
    assert not executors._open_streams


def test_a_batch_that_takes_too_long_ends_the_stream(threads: Executor, tmp_path: Path) -> None:
    file = tmp_path / "go_on"
    pool = ExecutorPool(threads)
    chunks = pool.call(1.0, Pooled.stream_waits, None, str(file))
    with pytest.raises(TookTooLong):
        list(chunks)
    assert list(chunks) == []
    file.touch()
    threads.submit(int).result()  # what ended it came before
    assert not executors._open_streams


@pytest.mark.parametrize("chunks", ["abc", ""])
def test_a_stream_that_begins_when_nobody_waits_any_more_is_closed(
    threads: Executor, tmp_path: Path, chunks: str
) -> None:
    file = tmp_path / "go_on"
    with pytest.raises(TookTooLong):
        ExecutorPool(threads).call(0.05, late_stream, str(file), chunks)
    file.touch()
    for _ in range(2):
        threads.submit(int).result()
    assert not executors._open_streams


def late_stream(file: str, chunks: str = "abc") -> Iterator[str]:
    until(Path(file).exists)
    return iter(chunks)


def test_one_that_begins_when_the_executor_has_been_shut_down(tmp_path: Path) -> None:
    file = tmp_path / "go_on"
    with ThreadPoolExecutor(1) as threads:
        with pytest.raises(TookTooLong):
            ExecutorPool(threads).call(0.05, late_stream, str(file))
        threads.shutdown(wait=False)
        file.touch()
    executors._open_streams.clear()


# -- given up ----------------------------------------------------------------------------------------------------------


def test_who_gives_a_call_up_need_not_wait_for_it(threads: Executor, tmp_path: Path) -> None:
    file, token = tmp_path / "go_on", CancelToken()
    with ThreadPoolExecutor(1) as others:
        waiting = others.submit(partial(ExecutorPool(threads).call, token=token), 60, late_stream, str(file))
        until(lambda: token._stop is not None)
        token.cancel()
        with pytest.raises(PoolError, match="its caller has been cancelled"):
            waiting.result(PATIENCE)
    file.touch()
    for _ in range(2):
        threads.submit(int).result()
    assert not executors._open_streams


def test_a_stream_that_nobody_took_is_closed(threads: Executor) -> None:
    token = CancelToken()
    chunks = ExecutorPool(threads).call(PATIENCE, Pooled.chunks, None, 100, token=token)
    token.cancel()
    threads.submit(int).result()
    assert not executors._open_streams
    assert list(chunks) == []


def test_who_waits_for_a_batch_can_be_interrupted(threads: Executor, tmp_path: Path) -> None:
    file = tmp_path / "go_on"
    chunks = ExecutorPool(threads).call(60, Pooled.stream_waits, None, str(file))
    with ThreadPoolExecutor(1) as others:
        waiting = others.submit(list, chunks)
        until(lambda: not chunks._chunks and chunks._job is not None)
        chunks.interrupt_next()
        with pytest.raises(PoolError, match="its caller has been cancelled"):
            waiting.result(PATIENCE)
    chunks.close()
    file.touch()
    threads.submit(int).result()
    assert not executors._open_streams


# -- whole ones --------------------------------------------------------------------------------------------------------


def test_a_stream_that_can_only_come_whole_has_limits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "made"
    job = pickle.dumps((Pooled.chunks, (None, 100_000, str(file))))
    with monkeypatch.context() as patch:
        patch.setattr(executors, "WHOLE_BYTES", 1000)
        message = pickle.loads(packed_result(executors.start, job, "elsewhere", 30.0))
    with pytest.raises(PoolError, match="comes whole from this executor, within"):
        open_message(message)
    assert int(file.read_text()) < 100
    assert (tmp_path / "made.closed").exists()
    message = pickle.loads(packed_result(executors.start, job, "elsewhere", -1.0))
    with pytest.raises(PoolError, match="comes whole from this executor, within 64 MiB and -1 seconds"):
        open_message(message)


def test_an_application_says_nothing_of_an_executor_that_it_has_not_used(threads: Executor) -> None:
    app = App(pool=threads)
    app._micropie.compiled()
    assert not threads._threads  # type: ignore[attr-defined]


def test_the_documented_way_past_one_machine(
    make_client: MakeClient, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "processes.md").read_text()
    for name, text in re.findall(r"^```text\n# (\w+\.py)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        (tmp_path / name).write_text(text.replace("tcp://scheduler:8786", cluster.scheduler.address))
    monkeypatch.syspath_prepend(tmp_path)
    cluster.upload_file(str(tmp_path / "bakery.py"))
    client = make_client(runpy.run_path(str(tmp_path / "main.py"))["app"])
    assert client.get("/primes/20").json() == [2, 3, 5, 7, 11, 13, 17, 19]
    assert client.get("/rows/3").text == "0 process\n1 process\n2 process\n"
    monkeypatch.delitem(sys.modules, "bakery")
