"""Handlers in processes: the same answers as in this one, and none that a process's end costs
another.
"""

from __future__ import annotations

import functools
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
import pytest

from micropie import App, Progress, SetupError, check_cancelled, progress, route, run_in
from micropie._core.execution import TookTooLong
from micropie._core.execution.pool import inside
from micropie._core.execution.pool.connection import Connection
from micropie._core.execution.pool.inside import Calls, Script, leave_pool
from micropie._core.execution.pool.processes import Pool, _end_all
from micropie._core.execution.process_pool import CancelToken, PoolError
from micropie.config import Settings
from micropie.testing import TestClient
from tests.asgi.calls import get as asgi_get
from tests.asgi.calls import run
from tests.flow.test_lifecycle import connected
from tests.support import pooled as pooled_handlers
from tests.support.clients import MakeClient, connecting
from tests.support.commands import ended
from tests.support.environment import import_path
from tests.support.pooled import Custom, Decorated, Plain, Pooled, SoldOut, call_in, plain
from tests.support.waiting import PATIENCE, until
from tests.wsgi.calls import get as wsgi_get

ROOT = Path(__file__).parents[3]
ClientOf = Callable[..., TestClient]


@pytest.fixture(scope="module")
def shared_client_of() -> Iterator[ClientOf]:
    """Return the client of a world and options, for all tests: its process takes long to start."""
    with connecting() as connect:
        yield cache(lambda world, **options: connect(Pooled(processes=1), world, **options))


@pytest.fixture
def client(shared_client_of: ClientOf, world: str) -> TestClient:
    client = shared_client_of(world)
    client.cookies.clear()
    return client


def pool_of(app: App) -> Pool:
    """The pool of the site that has been used."""
    return next(pool for pool in pools_of(app) if pool._workers)


def pools_of(app: App) -> list[Pool]:
    made = [site.config.pool.made for site in app._micropie.sites.values()]
    return [pool for pool in made if isinstance(pool, Pool)]


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


def test_the_handler_runs_in_another_process(client: Any) -> None:
    place, pid = client.get("/process").json()
    assert place == "process"
    assert pid != os.getpid()
    assert client.get("/process").json() == [place, pid]  # which goes on living
    assert client.get("/here").json()[1] == os.getpid()


def test_R69_a_process_is_a_new_interpreter_and_not_a_fork(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pooled_handlers, "changed", ["here"])
    assert client.get("/module_state").json() == []


def test_arguments_are_bound_before_the_call_is_sent(client: Any) -> None:
    assert client.get("/add/1").json() == {"sum": 2}
    assert client.get("/add/1/2/3/4?name=all&colour=red").json() == {"all": 10, "colour": "red"}
    assert client.get("/add/one").status_code == 400
    assert client.get("/routed/5").json() == ["process", 5]


def test_functions_and_methods_of_every_kind_run_in_a_process(make_client: MakeClient) -> None:
    app = Pooled(processes=1)
    app.get("/plain/<number:int>")(run_in("process")(plain))
    client = make_client(app)
    assert client.get("/plain/3?number=5").json() == ["process", 3, "5"]
    assert client.get("/static_one/!").text == "process!"
    assert client.get("/of_class").text == "green"
    assert client.get("/uses_self").json() == ["helped", "green", False]
    client = make_client(Decorated(processes=1))
    assert client.get("/word").text == "processprocess"
    assert client.get("/proxied").text == "process"


def test_run_in_process_can_be_an_application_s_default(make_client: MakeClient) -> None:
    root: Any = App(processes=1)
    root.inner = Plain(run_in="process")
    client = make_client(root)
    assert client.get("/inner/here").text == "process"
    assert client.get("/inner/there").text == "loop"


def test_the_request_is_readable_in_a_process(client: Any) -> None:
    headers = {"X-Colour": "red", "Cookie": "taste=sweet"}
    seen = client.post("/request_seen?a=1&a=2", data={"name": "Ann"}, headers=headers).json()
    assert seen.pop("client")
    assert seen == {
        "method": "POST",
        "path": "/request_seen",
        "url": "http://testserver/request_seen?a=1&a=2",
        "header": "red",
        "cookie": "sweet",
        "query": {"a": ["1", "2"]},
        "form": "Ann",
        "json": None,
        "is_json": False,
        "length": 8,
        "label": "POST '/request_seen'",
        "segments": ["request_seen"],
    }


@pytest.mark.parametrize(("sent", "seen"), [("{}", {}), ("null", None), ("[1]", [1])])
def test_a_json_body_is_readable_in_a_process(client: Any, sent: str, seen: Any) -> None:
    answer = client.post("/json_seen", content=sent, headers={"Content-Type": "application/json"})
    assert answer.json() == {"json": seen}


def test_a_missing_json_body_is_none_in_a_process(client: Any) -> None:
    assert client.post("/json_seen").json() == {"status": 415}


def test_the_session_in_a_process_is_a_read_only_copy(client: Any) -> None:
    assert client.get("/session").json()[0] is None
    client.get("/log_in/Ann")
    user, refusal = client.get("/session").json()
    assert user == "Ann"
    assert refusal.startswith("a handler in the process pool can't change the session")
    assert client.get("/session").json()[0] == "Ann"


@pytest.mark.parametrize(
    ("path", "read"),
    [
        ("/reads/nothing", []),
        ("/reads/cookie", ["Cookie"]),
        ("/reads/authorization", ["Authorization"]),
        ("/session", ["Cookie"]),
        # what these have read is not known
        ("/reads/stream", ["Cookie", "Authorization"]),
        ("/reads/failure", ["Cookie", "Authorization"]),
    ],
)
def test_a_response_varies_by_the_headers_that_a_process_reads(
    client: Any, path: str, read: list[str]
) -> None:
    for sent in {}, {"Cookie": "taste=sweet", "Authorization": "Bearer x"}:
        headers = client.get(path, headers=sent).headers
        assert [one for one in headers.get_list("vary") if one != "Accept"] == read
        assert headers.get("cache-control") == ("private" if read else None)


def test_features_of_the_server_s_process_are_refused_with_a_reason(client: Any) -> None:
    client.get("/log_in/Ann")
    said = client.get("/refused").json()
    assert len(said) == 18
    assert "return (status, body, headers)" in said[0]
    assert "after_response" in said[1]
    assert said[2] == said[3] == said[4]
    assert all(
        "self.url_for, self.render, self.channels, self.pool or" in sentence
        for sentence in said[5:8]
    )
    assert "except by request.read(), with @reads_body" in said[9]
    assert "can't call accepts or not_modified" in said[14] == said[15]
    for what, sentence in zip(["request.state.user", "request.user"], said[16:], strict=True):
        assert f"without {what}: run the handler in a thread, and pass this value to" in sentence


def test_a_handler_in_a_process_may_keep_values_of_its_own(client: Any) -> None:
    assert client.get("/keeps/red").json() == ["red", False, 3, "red"]


@pytest.mark.parametrize(("kind", "status"), [("response", 201), ("tuple", 202), ("redirect", 303)])
def test_results_of_every_kind_come_back_from_a_process(
    client: Any, kind: str, status: int
) -> None:
    answer = client.get(f"/answers/{kind}", follow_redirects=False)
    assert answer.status_code == status
    assert answer.headers.get("X-Colour") == (None if kind == "redirect" else "red")


def test_http_errors_raised_in_a_process_are_responses(client: Any) -> None:
    answer = client.get("/raises/http")
    seen = (answer.status_code, answer.text, answer.headers["X-Pot"])
    assert seen == (418, "short and stout", "tea")
    answer = client.get("/raises/methods")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "PUT")


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/raises/custom", "Custom: oh"),
        ("/raises/exit", "SystemExit: 3"),
        ("/stream_fails/0", "in mid-stream"),
    ],
)
def test_other_exceptions_are_logged_with_their_traceback_in_the_process(
    client: Any, caplog: pytest.LogCaptureFixture, path: str, says: str
) -> None:
    assert client.get(path).status_code == 500
    assert says in caplog.text
    assert f"in {path.split('/')[1]}" in caplog.text
    assert client.get("/process").status_code == 200


def test_the_log_explains_a_missing_attribute_of_init(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(Pooled(processes=1, debug=True))
    advice = "In a process of the pool, self has no attributes that __init__ sets: store lock in the class or the module."
    for kind, is_advised in (("self", True), ("none", False)):
        caplog.clear()
        assert client.get(f"/raises/{kind}").status_code == 500
        assert "object has no attribute" in caplog.text
        assert (advice in caplog.text) == is_advised


def test_an_author_s_error_handlers_get_errors_of_a_process(make_client: MakeClient) -> None:
    app = Pooled(processes=1)
    app.error(Custom)(lambda error: (409, f"handled {error}"))
    app.error(SoldOut)(lambda error: (409, f"{error}: {error.pie}"))
    client = make_client(app)
    for kind, text in (("custom", "handled oh"), ("sold_out", "0 plum pies left: plum")):
        answer = client.get(f"/raises/{kind}")
        assert (answer.status_code, answer.text) == (409, text)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/raises/holding", "the call raised Holding('oh'), which can't be pickled"),
        ("/unpicklable", "the call's result can't be pickled: cannot pickle '_thread.lock' object"),
    ],
)
def test_R69_a_result_that_cannot_be_pickled_gets_a_500_with_a_reason(
    client: Any, caplog: pytest.LogCaptureFixture, path: str, says: str
) -> None:
    assert client.get(path).status_code == 500
    assert says in caplog.text
    assert client.get("/process").status_code == 200


def test_R69_an_argument_that_cannot_be_pickled_gets_a_500_with_a_reason(
    client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert client.post("/takes", json={}).status_code == 500
    assert (
        "Pooled.takes runs in the process pool, but argument 1, of type Locked, can't be pickled: "
        "cannot pickle '_thread.lock' object" in caplog.text
    )


@pytest.mark.parametrize(
    ("path", "how"), [("/dies", "killed by SIGKILL"), ("/leaves", "with status 7")]
)
def test_R69_a_process_that_ends_fails_its_request_alone(
    client: Any, caplog: pytest.LogCaptureFixture, path: str, how: str
) -> None:
    assert client.get("/process").status_code == 200
    assert client.get(path).status_code == 500
    assert f"the process exited before the call was done, {how}" in caplog.text
    assert client.get("/process").status_code == 200


def test_R69_a_process_killed_between_two_requests_fails_none(
    client: Any,
) -> None:
    pid = client.get("/process").json()[1]
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # it is gone when this returns
    other = client.get("/process")
    assert other.status_code == 200
    assert other.json()[1] != pid


def test_R69_a_call_that_takes_too_long_is_ended(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    app = Pooled(processes=1, pool_timeout=0.5)
    client = make_client(app)
    pid = started_pid(app, client)
    answer = client.get("/sleeps/60")
    seen = (answer.status_code, answer.text)
    assert seen == (503, "The response took too long. Please try again later.")
    assert "returned or yielded nothing for 0.5 s: its process was terminated" in errors(caplog)[0]
    assert started_pid(app, client) != pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def started_pid(app: App, client: Any) -> int:
    """The one process of a pool, started without its application's time limit: to start and to
    import takes a while.
    """
    assert client.get("/here").status_code == 200
    (pool,) = pools_of(app)
    assert call_in(pool, PATIENCE, callable, Pooled)  # which it imports
    pid: int = call_in(pool, PATIENCE, os.getpid)
    return pid


def test_R69_a_cancelled_request_releases_its_process(backend: str) -> None:
    app = Pooled(processes=1)

    async def main() -> list[int]:
        async with anyio.create_task_group() as group:
            group.start_soon(asgi_get, app, "/sleeps/0.2")
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        return [(await asgi_get(app, "/process")).status for _ in range(2)]

    assert run(backend, main) == [200, 200]
    app.wsgi_shutdown()


def refuse_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no thread start that ends a call, as if the system had no more."""
    start = threading.Thread.start

    def started(thread: threading.Thread) -> None:
        if thread.name in ("micropie left", "micropie pool"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", started)


def test_R69_a_cancelled_request_releases_its_process_even_if_no_thread_can_start(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Pooled(processes=1)

    async def main() -> list[int]:
        found = [(await asgi_get(app, "/process")).status]
        async with anyio.create_task_group() as group:
            group.start_soon(asgi_get, app, "/sleeps/60")
            await anyio.wait_all_tasks_blocked()
            with monkeypatch.context() as patch:
                refuse_threads(patch)
                group.cancel_scope.cancel()
                await anyio.lowlevel.cancel_shielded_checkpoint()
                with anyio.CancelScope(shield=True):
                    await anyio.wait_all_tasks_blocked()
        return found + [(await asgi_get(app, "/process")).status for _ in range(2)]

    assert run(backend, main) == [200, 200, 200]
    app.wsgi_shutdown()


@pytest.mark.parametrize("start", ["lazy", "eager"])
def test_R69_a_lost_process_costs_no_slot_even_if_no_thread_can_start(
    start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = Pool(1, Settings(pool_start=start))
    pid = call_in(pool, PATIENCE, os.getpid)
    with monkeypatch.context() as patch:
        refuse_threads(patch)
        with pytest.raises(PoolError, match="killed by SIGKILL"):
            call_in(pool, PATIENCE, signal.raise_signal, signal.SIGKILL)
        next_pid = call_in(pool, PATIENCE, os.getpid)
        stream = call_in(pool, PATIENCE, Pooled.stream_hangs, None)
        stream.drop()
        assert len({pid, next_pid, call_in(pool, PATIENCE, os.getpid)}) == 3
    pool.close()


def test_the_shorter_of_two_time_limits_counts(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    app = Pooled(processes=1)
    client = make_client(app)
    pid = started_pid(app, client)
    assert client.get("/sleeps_a_second/60").status_code == 503
    assert "sleeps_a_second did not finish within 1 s: the client gets 503" in caplog.text
    assert started_pid(app, client) != pid


# -- streams ---------------------------------------------------------------------------------------


def test_a_chunk_is_sent_as_soon_as_it_is_produced(client: Any, tmp_path: Path) -> None:
    file = tmp_path / "go_on"
    with client.stream("GET", f"/stream_waits?file={file}") as answer:
        pieces = answer.iter_raw()
        seen = b""
        while len(seen) < 6:  # the generator waits for the file
            seen += next(pieces)
        file.touch()
        assert seen + b"".join(pieces) == b"abcdefg"


def test_a_stream_from_a_process_is_complete(client: Any) -> None:
    assert client.get("/chunks/20").text == "".join(f"{number} " for number in range(20))
    assert client.get("/chunks/0").text == ""
    assert client.head("/chunks/20").text == ""
    assert client.get("/process").status_code == 200


def test_a_process_encodes_json_for_events_and_messages(client: Any) -> None:
    answer = client.get("/events")
    assert answer.text == 'data: {"number":1}\n\n'
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"  # it is no EventStream


def test_a_process_s_stream_is_a_few_chunks_ahead_and_stops_on_disconnection(
    client: Any, tmp_path: Path
) -> None:
    file = tmp_path / "made"
    with client.stream("GET", f"/chunks/100000?file={file}") as answer:
        pieces = answer.iter_raw()
        # so the generator has been advanced, and has written
        assert (next(pieces), next(pieces)) == (b"0 ", b"1 ")
    assert client.get("/process").status_code == 200  # its only process is free again
    assert (tmp_path / "made.closed").exists()
    assert int(file.read_text()) < 1000


@pytest.mark.parametrize("path", ["/stream_fails/3", "/stream_dies"])
def test_a_stream_that_fails_later_is_aborted(
    shared_client_of: ClientOf, world: str, path: str
) -> None:
    client = shared_client_of(world, raise_app_exceptions=False)
    with pytest.raises(Exception, match=r".*"), client.stream("GET", path) as answer:
        list(answer.iter_raw())
    assert client.get("/process").status_code == 200


def test_a_chunk_that_takes_too_long_ends_the_process(make_client: MakeClient) -> None:
    app = Pooled(processes=1, pool_timeout=1)
    client = make_client(app, raise_app_exceptions=False)
    pid = started_pid(app, client)
    with pytest.raises(Exception, match=r".*"), client.stream("GET", "/stream_hangs") as answer:
        list(answer.iter_raw())
    assert started_pid(app, client) != pid


# -- the pool alone --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    """One for all tests: each leaves it free."""
    pool = Pool(1, Settings())
    yield pool
    pool.close()


def test_a_closed_stream_yields_nothing(pool: Pool) -> None:
    chunks = call_in(pool, PATIENCE, Pooled.chunks, None, 3)
    assert list(chunks) == ["0 ", "1 ", "2 "]
    assert list(chunks) == []
    chunks.close()
    assert call_in(pool, PATIENCE, os.getpid)


def test_a_process_is_sixteen_chunks_ahead(pool: Pool, tmp_path: Path) -> None:
    file = tmp_path / "made"
    chunks = call_in(pool, PATIENCE, Pooled.chunks, None, 1000, str(file))
    assert next(chunks) == "0 "
    until(lambda: file.exists() and int(file.read_text() or 0) >= 14)
    assert [next(chunks) for _ in range(5)][-1] == "5 "
    chunks.close()
    assert int(file.read_text()) <= 5 + 16
    assert (tmp_path / "made.closed").exists()


def test_R69_a_killed_process_leaves_the_others_alone() -> None:
    pool = Pool(2, Settings())
    chunks = call_in(pool, PATIENCE, Pooled.chunks, None, 1000)
    with pytest.raises(PoolError, match="killed by SIGKILL"):
        call_in(pool, PATIENCE, Pooled.dies, None)
    assert len(list(chunks)) == 1000
    pool.close()


def test_calls_may_drop_their_processes_while_the_interpreter_ends_all() -> None:
    workers, ended = set[Any](), list[object]()

    class Worker:
        def end(self) -> None:
            workers.discard(self)
            ended.append(self)

    workers |= {Worker(), Worker()}
    _end_all(workers)
    assert len(ended) == 2


def test_a_generator_that_fails_while_closing_is_logged(pool: Pool) -> None:
    chunks = call_in(pool, PATIENCE, Pooled.stream_close_fails, None)
    next(chunks)
    with pytest.raises(Exception, match="while closing"):
        chunks.close()
    assert call_in(pool, PATIENCE, os.getpid)


def test_a_generator_that_does_not_close_in_time_is_ended(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("micropie._core.execution.pool.processes.GRACE", 0.1)
    chunks = call_in(pool, PATIENCE, Pooled.stream_hangs, None)
    next(chunks)
    chunks.close()
    assert call_in(pool, PATIENCE, os.getpid)


def test_a_call_without_a_free_process_in_time_raises_an_error(pool: Pool) -> None:
    chunks = call_in(pool, PATIENCE, Pooled.chunks, None, 100)
    with pytest.raises(
        TookTooLong, match=r"^the call waited longer than 0\.05 s for a free process in the pool$"
    ):
        call_in(pool, 0.05, os.getpid)
    chunks.close()
    assert call_in(pool, PATIENCE, os.getpid)


def test_a_call_abandoned_while_waiting_for_a_process_gets_none(pool: Pool) -> None:
    token = CancelToken()
    chunks = call_in(pool, PATIENCE, Pooled.chunks, None, 100)
    with ThreadPoolExecutor(1) as others:
        waiting = others.submit(partial(call_in, pool, token=token), 60, os.getpid)
        token.cancel()
        chunks.close()
        with pytest.raises(PoolError, match="the call has been cancelled"):
            waiting.result(PATIENCE)
    assert call_in(pool, PATIENCE, os.getpid) in pool_pids(pool)


def test_a_call_attached_to_a_cancelled_token_is_stopped() -> None:
    token, stopped = CancelToken(), []
    token.cancel()
    token.attach(lambda: stopped.append("stopped"))
    assert stopped == ["stopped"]


def test_cancelling_a_finished_call_ends_no_process(pool: Pool) -> None:
    token = CancelToken()
    pid = call_in(pool, PATIENCE, os.getpid, token=token)
    token.cancel()
    assert call_in(pool, PATIENCE, os.getpid) == pid


def test_a_cancellation_after_the_result_stops_no_later_call(pool: Pool) -> None:
    class LastMoment(CancelToken):
        def detach(self) -> bool:
            self.cancel()
            return super().detach()

    pid = call_in(pool, PATIENCE, os.getpid, token=LastMoment())
    assert [call_in(pool, PATIENCE, os.getpid) for _ in range(2)] == [pid, pid]


@pytest.mark.parametrize("function", [Pooled.chunks, Pooled.stream_fails])
def test_a_stream_that_nobody_reads_is_ended(pool: Pool, function: Any) -> None:
    for count in (0, 100):
        token = CancelToken()
        chunks = call_in(pool, PATIENCE, function, None, count, token=token)
        assert chunks._worker.connection.poll(PATIENCE)
        token.cancel()
        assert list(chunks) == []
        assert call_in(pool, PATIENCE, os.getpid)


def test_waiting_for_a_chunk_can_be_interrupted(pool: Pool) -> None:
    chunks = call_in(pool, 60, Pooled.stream_hangs, None)
    next(chunks)
    with ThreadPoolExecutor(1) as others:
        waiting = others.submit(next, chunks)
        chunks.interrupt_next()
        with pytest.raises(PoolError, match="the call has been cancelled"):
            waiting.result(PATIENCE)
    chunks.close()
    assert call_in(pool, PATIENCE, os.getpid)


def pool_pids(pool: Pool) -> list[int]:
    return [worker.process.pid for worker in pool._workers]


def test_closing_the_pool_ends_running_calls(pool: Pool) -> None:
    chunks = call_in(pool, PATIENCE, Pooled.stream_hangs, None)
    next(chunks)
    pool.close()
    with pytest.raises(PoolError, match="killed by SIGKILL"):
        next(chunks)
    assert call_in(pool, PATIENCE, os.getpid)


def test_an_argument_that_cannot_be_pickled_starts_no_process() -> None:
    pool = Pool(1, Settings())
    with pytest.raises(Exception, match="pickle"):
        call_in(pool, PATIENCE, os.getpid, threading.Lock())
    assert not pool._workers


def test_a_process_that_cannot_be_started_occupies_no_slot(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool.close()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/no/such/python")
        with pytest.raises(FileNotFoundError):
            call_in(pool, PATIENCE, os.getpid)
    assert call_in(pool, PATIENCE, os.getpid)


def test_a_process_that_ends_immediately_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool(1, Settings())
    monkeypatch.setattr(
        "micropie._core.execution.pool.processes.interpreter", lambda: ["/bin/false"]
    )
    for size in (1, 10_000_000):  # more than a pipe takes without anybody to read it
        with pytest.raises(PoolError, match="exited before the call was done, with status 1"):
            call_in(pool, PATIENCE, bytes, b"x" * size)
    assert not pool._workers


def test_R69_processes_start_with_the_first_call_and_end_with_the_application(world: str) -> None:
    app = Pooled(processes=2)
    with connected(app, world) as client:
        assert client.get("/here").status_code == 200
        assert not any(pool._workers for pool in pools_of(app))
        pid = client.get("/process").json()[1]
        pool = pool_of(app)
        assert len(pool._workers) == 1
    assert not pool._workers
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_pool_that_is_no_longer_referenced_ends_its_processes() -> None:
    pool = Pool(1, Settings())
    pid = call_in(pool, PATIENCE, os.getpid)
    del pool
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_R69_R70_a_forked_child_has_its_own_pool() -> None:
    app = Pooled(processes=1)
    pid = int(wsgi_get(app, "/process")[1].split(b",")[1].strip(b"]"))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            other = int(wsgi_get(app, "/process")[1].split(b",")[1].strip(b"]"))
            app.wsgi_shutdown()
            code = 0 if other != pid else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert int(wsgi_get(app, "/process")[1].split(b",")[1].strip(b"]")) == pid
    app.wsgi_shutdown()


MAIN = """
from micropie import App, run_in, route
from tests.wsgi.calls import get

class Root(App):
    @run_in("process")
    def index(self):
        return __name__

if __name__ == "__main__":
    print(get(Root())[1].decode())
"""


def test_a_script_may_have_handlers_in_processes(tmp_path: Path) -> None:
    (tmp_path / "bakery.py").write_text(MAIN)
    environment = {**os.environ, "PYTHONPATH": import_path(ROOT, tmp_path)}
    for arguments in ([str(tmp_path / "bakery.py")], ["-m", "bakery"]):
        done = ended(sys.executable, *arguments, environ=environment, check=True)
        assert done.stdout == "bakery\n"


TYPES = """
from enum import Enum
from micropie import App, run_async, run_in
from tests.wsgi.calls import get

print("imported")

class Size(Enum):
    LARGE = "large"

class Burnt(Exception):
    pass

def bake(size):
    raise Burnt(size)

class Root(App):
    @run_in("process")
    def is_large(self, size: Size):
        return size is Size.LARGE

    def burn(self):
        try:
            run_async(self.pool.run, bake, Size.LARGE)
        except Burnt as error:
            return error.args[0] is Size.LARGE

if __name__ == "__main__":
    print(get(Root(processes=1), "/is_large/large")[1], get(Root(processes=1), "/burn")[1])
"""


def test_a_script_s_types_are_the_same_in_processes(tmp_path: Path) -> None:
    (tmp_path / "bakery.py").write_text(TYPES)
    environment = {**os.environ, "PYTHONPATH": import_path(ROOT, tmp_path)}
    done = ended(sys.executable, str(tmp_path / "bakery.py"), environ=environment, check=True)
    # once here, and once in a process of each application
    assert done.stdout.splitlines() == [*["imported"] * 3, "b'true' b'true'"]


@pytest.mark.parametrize(("main", "name"), [(None, "inf"), ("math", "__file__"), ("math", "pie")])
def test_a_process_looks_up_only_a_script_s_own_names(main: str | None, name: str) -> None:
    assert Script("math").inf == float("inf")
    with pytest.raises(AttributeError, match=name):
        getattr(Script(main), name)


def test_a_script_that_calls_a_handler_at_import_starts_no_endless_processes(
    tmp_path: Path,
) -> None:
    (tmp_path / "bakery.py").write_text(MAIN.replace('if __name__ == "__main__":', "if True:"))
    environment = {**os.environ, "PYTHONPATH": import_path(ROOT, tmp_path)}
    done = ended(sys.executable, str(tmp_path / "bakery.py"), environ=environment)
    assert done.stdout.splitlines()[-1] == "bakery"
    assert (
        done.stderr.count("move that call into a block that begins with if __name__ == '__main__':")
        == 1
    )


def test_a_process_of_a_pool_has_no_pool_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("micropie._core.execution.placement.this_process.is_of_pool", True)
    with pytest.raises(PoolError, match="can't start another pool"):
        call_in(Pool(1, Settings()), 1.0, os.getpid)


@pytest.mark.parametrize("kind", ["-c", "bakery", "my.bakery.py", "directory"])
def test_code_that_another_process_cannot_import_is_refused(tmp_path: Path, kind: str) -> None:
    file = tmp_path / ("__main__.py" if kind == "directory" else kind)
    file.write_text(MAIN)
    script = {"-c": ["-c", MAIN], "directory": [str(tmp_path)]}.get(kind, [str(file)])
    done = ended(sys.executable, *script, environ={**os.environ, "PYTHONPATH": import_path(ROOT)})
    assert "other processes can't import code that was typed in interactively" in done.stderr


# -- the start of a process ------------------------------------------------------------------------

SLOW = """
import os
import time
from pathlib import Path
from micropie._core.execution.placement import is_in_pool

if is_in_pool():
    Path(__file__).with_name("begun").touch()
    while not Path(__file__).with_name("go_on").exists():
        time.sleep(0.01)

def pid():
    return os.getpid()
"""


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module that a process imports when there is a file "go_on"."""
    (tmp_path / "slow_kitchen.py").write_text(SLOW)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield import_module("slow_kitchen")
    del sys.modules["slow_kitchen"]


class Noted(threading.Semaphore):
    """Notes what its callers get."""

    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.got: list[bool] = []

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        self.got.append(super().acquire(blocking, timeout))
        return self.got[-1]


@pytest.mark.processes
def test_a_process_that_was_ended_is_not_ended_again() -> None:
    pool = Pool(1, Settings())
    call_in(pool, PATIENCE, os.getpid)
    (worker,) = pool._workers
    pool._end()  # at the end of the interpreter, before an application that has not stopped yet
    read, write = os.pipe()  # it may have the number of the process's pipe
    pool.close()
    worker.abandon()
    os.close(read)
    os.close(write)


def test_the_start_of_a_process_is_not_part_of_a_call_s_time(slow: Any, tmp_path: Path) -> None:
    pool = Pool(1, Settings())
    pool._free = free = Noted(1)
    with ThreadPoolExecutor(2) as others:
        # the one waits for its process to start, the other for a process
        called = [others.submit(call_in, pool, PATIENCE, slow.pid)]
        until((tmp_path / "begun").exists)
        called.append(others.submit(call_in, pool, PATIENCE, slow.pid))
        until(lambda: False in free.got)
        (tmp_path / "go_on").touch()
        assert {future.result(PATIENCE) for future in called} == {*pool_pids(pool)}
    pool.close()


def test_a_late_start_leaves_a_call_its_full_time(slow: Any, tmp_path: Path) -> None:
    pool = Pool(1, Settings())
    states = iter([False, True, True])  # it starts, it has just started, and all of a wait later
    pool._have_started = lambda: next(states)  # type: ignore[method-assign]
    pool._free = free = Noted(0)
    with pytest.raises(
        TookTooLong, match=r"^the call waited longer than 0\.01 s for a free process in the pool$"
    ):
        call_in(pool, 0.01, slow.pid)
    assert free.got == [False, False, False]  # at once, then twice


def test_a_start_continues_when_its_caller_leaves(slow: Any, tmp_path: Path) -> None:
    pool, token = Pool(1, Settings()), CancelToken()
    with ThreadPoolExecutor(1) as others:
        called = others.submit(partial(call_in, pool, token=token), 60, slow.pid)
        until((tmp_path / "begun").exists)
        (pid,) = pool_pids(pool)
        token.cancel()
        (tmp_path / "go_on").touch()
        with pytest.raises(PoolError, match="the call has been cancelled"):
            called.result(PATIENCE)
    assert call_in(pool, PATIENCE, slow.pid) == pid
    pool.close()


def test_a_start_has_its_own_time_limit(slow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool(1, Settings())
    # No process starts so soon: otherwise the call waits for its import.
    monkeypatch.setattr("micropie._core.execution.pool.processes.START_WITHIN", 0.001)
    with pytest.raises(
        TookTooLong,
        match=r"^the call did not start within 0\.001 s: its process was terminated$",
    ):
        call_in(pool, 60, slow.pid)
    assert not pool._workers


def test_an_import_has_the_limit_of_a_start(slow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool(1, Settings())
    call_in(pool, PATIENCE, os.getpid)
    monkeypatch.setattr("micropie._core.execution.pool.processes.START_WITHIN", 0.1)
    with pytest.raises(TookTooLong, match=r"nothing for 0\.1 s: its process was terminated$"):
        call_in(pool, 60, slow.pid)
    pool.close()


def test_a_module_that_cannot_be_imported_ends_no_process(
    pool: Pool, slow: Any, tmp_path: Path
) -> None:
    pid = call_in(pool, PATIENCE, os.getpid)
    (tmp_path / "slow_kitchen.py").unlink()
    with pytest.raises(ModuleNotFoundError):
        call_in(pool, PATIENCE, slow.pid)
    assert call_in(pool, PATIENCE, os.getpid) == pid


# -- the end of a server ---------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_for_the_server_end_no_call(
    slow: Any, tmp_path: Path, number: signal.Signals
) -> None:
    pool = Pool(1, Settings())
    with ThreadPoolExecutor(1) as others:
        called = others.submit(call_in, pool, 60, slow.pid)
        until(lambda: pool._workers)
        (pid,) = pool_pids(pool)
        os.kill(pid, number)  # it has hardly begun
        until((tmp_path / "begun").exists)
        os.kill(pid, number)
        (tmp_path / "go_on").touch()
        assert called.result(PATIENCE) == pid
    pool.close()


def test_signals_end_what_a_function_has_started(pool: Pool) -> None:
    ended_by_signal = [-signal.SIGTERM, -signal.SIGTERM]
    assert call_in(pool, 2 * PATIENCE, pooled_handlers.ends_its_children) == ended_by_signal


@pytest.mark.parametrize("child", ["forked", "spawned"])
def test_R69_a_killed_process_is_noticed_while_its_child_lives(
    pool: Pool, tmp_path: Path, child: str
) -> None:
    pid = tmp_path / "pid"
    with pytest.raises(PoolError, match="killed by SIGKILL"):
        call_in(pool, PATIENCE, pooled_handlers.dies_before_its_child, child, str(pid))
    os.kill(int(pid.read_text()), signal.SIGKILL)


def test_a_child_of_a_function_reports_nothing(pool: Pool) -> None:
    steps: list[Progress] = []
    function = pooled_handlers.steps_in_a_child
    assert call_in(pool, 2 * PATIENCE, function, 3, token=CancelToken(steps.append)) == 0
    assert steps == [Progress(1, note="own")]


def test_a_forked_child_leaves_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    calls, begun = Calls(Connection(theirs)), list[str]()
    calls._is_busy = calls._reports = calls._is_stopped = True
    monkeypatch.setattr(inside, "_calls", [calls])
    leave_pool(
        {signal.SIGHUP: signal.getsignal(signal.SIGHUP)}, lambda: begun.append("signals arrive")
    )
    check_cancelled()
    progress(1)
    assert begun == ["signals arrive"]
    with ours:
        assert ours.recv(1) == b""  # it has been closed, and nothing was sent


SERVER = """
import sys
from pathlib import Path
from micropie._core.execution.pool import Pool
from micropie.config import Settings
from tests.support.pooled import call_in, computes

call_in(Pool(1, Settings()), 600, computes, *sys.argv[1:])
"""


@pytest.mark.parametrize(("work", "has_kernels_help"), [("in C", True), ("in Python", False)])
def test_a_busy_process_ends_with_its_server(
    tmp_path: Path, work: str, has_kernels_help: bool
) -> None:
    if not has_kernels_help:
        (tmp_path / "fcntl.py").touch()  # instead of Linux's
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path / "begun"), work],
        env={**os.environ, "PYTHONPATH": import_path(tmp_path, ROOT)},
        stdout=subprocess.PIPE,
    )
    until((tmp_path / "begun").exists)
    server.kill()
    server.communicate(timeout=PATIENCE)  # the other end of the pipe is the process's as well


# -- what is impossible ----------------------------------------------------------------------------


def inner_app(handler: Callable[..., Any]) -> App:
    app = App()
    vars(app)["handler"] = handler
    return app


class Waits(App):
    @run_in("process")
    async def handler(self) -> None: ...


class Unfinished(App):
    @run_in("process")
    async def handler(self) -> Any:
        yield ""


@pytest.mark.parametrize(
    ("app", "says"),
    [
        (Waits(), "write def to run it in a"),
        (Unfinished(), "write def to run it in a"),
        (
            inner_app(route()(run_in("process")(lambda: None))),
            "Define it with def at a module's top level",
        ),
        (
            inner_app(route()(functools.partial(run_in("process")(plain), 1))),
            "Define it with def at a module's top level",
        ),
    ],
)
def test_an_impossible_placement_raises_a_setup_error(app: App, says: str) -> None:
    with pytest.raises(SetupError, match=says) as caught:
        app._micropie.compiled()
    assert "handler" in str(caught.value)
