"""Start and stop under WSGI: once per worker process, after the fork, with everything made anew in
the child.
"""

from __future__ import annotations

import os
import signal
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from micropie import App, EventStream, Request
from micropie._core.execution.background import close_background_loops
from micropie.testing import TestClient
from micropie.wsgi.gunicorn import post_worker_init, worker_exit
from tests.support.commands import ended
from tests.support.lifespans import Cleaning
from tests.support.waiting import PATIENCE, until
from tests.wsgi.calls import get

MADE: list[App] = []


class Root(App):
    def __init__(self, *, sync: bool = False, **settings: Any) -> None:
        super().__init__(**settings)
        MADE.append(self)
        self.log: list[str] = []
        if sync:
            self.startup_handlers.append(lambda: self.log.append("up"))
            self.shutdown_handlers.append(lambda: self.log.append("down"))
        else:
            self.startup_handlers.append(self._up)
            self.shutdown_handlers.append(self._down)

    async def _up(self) -> None:
        self.log.append("up")

    async def _down(self) -> None:
        self.log.append("down")

    def index(self) -> Any:
        return ",".join(self.log)

    async def asynchronous(self) -> Any:
        return str(threading.get_ident())

    def session(self) -> Any:
        self.request.session["n"] = self.request.session.get("n", 0) + 1
        return str(self.request.session["n"])


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    yield
    while MADE:
        MADE.pop().wsgi_shutdown()
    close_background_loops()


both = pytest.mark.parametrize("sync", [True, False], ids=["def", "async def"])


@both
def test_R72_fifty_concurrent_first_requests_start_the_application_once(sync: bool) -> None:
    app, barrier = Root(sync=sync), threading.Barrier(50)

    def slow() -> None:
        time.sleep(0.02)

    app.startup_handlers.append(slow)

    def one(_: int) -> Any:
        barrier.wait(30)
        return get(app)

    with ThreadPoolExecutor(50) as threads:
        assert set(threads.map(one, range(50))) == {(200, b"up")}
    app.wsgi_shutdown()
    assert app.log == ["up", "down"]


@both
def test_R72_a_failing_startup_gets_each_request_a_500_and_is_tried_again(
    sync: bool, caplog: pytest.LogCaptureFixture
) -> None:
    app, broken, tries = Root(sync=sync), [True], []

    def fail() -> None:
        tries.append(1)
        if broken:
            raise ConnectionError("no database")

    app.startup_handlers.append(fail)
    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(lambda _: get(app), range(10)))
    assert answers == [(500, b"500 Internal Server Error")] * 10
    assert len(tries) == len(caplog.records) == 10
    broken.clear()
    assert get(app)[0] == 200
    app.wsgi_shutdown()


@both
def test_shutdown_runs_once_and_a_later_request_starts_again(sync: bool) -> None:
    app = Root(sync=sync)
    get(app)
    app.wsgi_shutdown()
    app.wsgi_shutdown()
    assert app.log == ["up", "down"]
    assert get(app) == (200, b"up,down,up")
    app.wsgi_shutdown()


class Stream(App):
    async def live(self) -> EventStream:
        return EventStream(self.channels.subscribe("room"), heartbeat=0.05)


def test_gunicorn_s_configuration_ends_streams_before_the_worker_waits() -> None:
    worker = SimpleNamespace(alive=True)
    post_worker_init(worker)
    with TestClient(Stream(), protocol="wsgi") as client, client.stream("GET", "/live") as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith(":")
        worker.alive = False  # as gunicorn has it after a signal, and after its last request
        for _ in lines:  # to its end, without an error
            pass


def test_gunicorn_s_configuration_shuts_down_unless_a_request_is_still_running() -> None:
    app = Root(sync=True)
    assert get(app) == (200, b"up")
    worker_exit(None, SimpleNamespace(nr_conns=1))  # of the gthread worker
    assert app.log == ["up"]
    worker_exit(None, SimpleNamespace(nr_conns=0))
    assert app.log == ["up", "down"]
    assert get(app)[0] == 200
    worker_exit(None, object())  # of the sync worker
    assert app.log == ["up", "down", "up", "down"]


def test_shutting_down_an_application_that_never_started_does_nothing() -> None:
    app = Root()
    app.wsgi_shutdown()
    assert app.log == []


def test_a_shutdown_after_the_loop_has_ended_returns_immediately() -> None:
    app = Root(sync=False)
    assert get(app)[0] == 200
    close_background_loops()
    app.wsgi_shutdown()


def test_startup_runs_on_the_loop_of_the_handlers() -> None:
    app, seen = Root(), []

    async def up() -> None:
        seen.append(str(threading.get_ident()))

    app.startup_handlers.append(up)
    assert get(app, "/asynchronous")[1].decode() == seen[0]
    app.wsgi_shutdown()


def test_an_application_with_a_setup_error_gets_a_500(caplog: pytest.LogCaptureFixture) -> None:
    app = App()
    app.get("/x")(lambda: "one")
    app.get("/x")(lambda: "two")
    assert [get(app) for _ in range(2)] == [(500, b"500 Internal Server Error")] * 2
    assert "/x" in caplog.text


# -- R70: forks ------------------------------------------------------------------------------------


def in_child(function: Callable[[], str], within: float = PATIENCE) -> str:
    """Return the result of ``function`` in a forked child.

    Raises ``TimeoutError`` if the child does not answer.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            signal.alarm(40)
            os.write(writing, function().encode())
        except BaseException as error:
            os.write(writing, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.set_blocking(reading, False)
    try:
        return _read(reading, time.monotonic() + within)
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _read(pipe: int, deadline: float) -> str:
    said = b""
    while time.monotonic() < deadline:
        try:
            piece = os.read(pipe, 65536)
        except BlockingIOError:
            time.sleep(0.005)
            continue
        if not piece:
            return said.decode()
        said += piece
    raise TimeoutError("the child did not answer")


PATHS = ["/", "/asynchronous", "/session"]


def everything(app: App) -> str:
    return " ".join(f"{status}" for status, _ in (get(app, path) for path in PATHS))


@pytest.mark.processes
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@both
def test_R70_a_forked_child_serves_after_its_parent_was_used(sync: bool, backend: str) -> None:
    app = Root(sync=sync, portal_backend=backend)
    assert everything(app) == "200 200 200"
    parents = get(app, "/asynchronous")[1]
    assert in_child(lambda: everything(app)) == "200 200 200"
    assert everything(app) == "200 200 200"
    assert get(app, "/asynchronous")[1] == parents
    app.wsgi_shutdown()


@pytest.mark.processes
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@both
def test_R70_a_forked_child_runs_its_own_startup(sync: bool) -> None:
    app = Root(sync=sync)
    get(app)
    app.log.append("forked")
    assert in_child(lambda: get(app)[1].decode()) == "up,forked,up"
    assert app.log == ["up", "forked"]
    app.wsgi_shutdown()


@pytest.mark.processes
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@both
def test_R70_a_forked_child_runs_its_own_shutdown_and_not_its_parent_s(sync: bool) -> None:
    app = Root(sync=sync)
    get(app)

    def child() -> str:
        app.wsgi_shutdown()
        never_started = ",".join(app.log)
        get(app)
        app.wsgi_shutdown()
        return f"{never_started} {','.join(app.log)}"

    assert in_child(child) == "up up,up,down"
    assert get(app)[1] == b"up"
    app.wsgi_shutdown()
    assert app.log == ["up", "down"]


@pytest.mark.processes
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_R70_a_forked_child_of_an_unused_parent_serves() -> None:
    app = Root()
    assert in_child(lambda: everything(app)) == "200 200 200"
    assert app.log == []


@pytest.mark.processes
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_R70_a_fork_during_startup_does_not_inherit_the_lock() -> None:
    app, entered, leave = Root(sync=True), threading.Event(), threading.Event()

    def slow() -> None:
        entered.set()
        leave.wait(30)

    app.startup_handlers.append(slow)
    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(get, app)
        assert entered.wait(30)

        def child() -> str:
            app.startup_handlers.pop()
            return str(get(app)[0])

        try:
            assert in_child(child) == "200"
        finally:
            leave.set()
        assert first.result()[0] == 200
    app.wsgi_shutdown()


# -- the process's end -----------------------------------------------------------------------------

PROGRAM = """
import sys
from os.path import basename
from threading import Event
from time import sleep
from micropie import App
from micropie._core.execution import threads
sys.path.insert(0, {root!r})
from tests.wsgi.calls import get

class Root(App):
    async def body(self):
        return await self.request.body()

    async def blocking(self):
        from anyio import to_thread
        return await to_thread.run_sync(lambda: "blocked")

    def index(self):
        return "x"

    async def stream(self):
        yield "a"
        yield "b"

    async def pooled(self):
        return await self.pool.run(basename, "a/b")

    def later(self):
        self.request.after_response(self._later)
        return "x"

    def _later(self):
        begun.set()
        sleep(0.3)
        print("later", flush=True)

begun = Event()
threads.EXIT_WITHIN = 0.01
app = Root()
async def up(): print("up", flush=True)
async def down(): print("down", flush=True)
def sync_up(): print("up", flush=True)
def sync_down(): print("down", flush=True)
app.startup_handlers.append({prefix}up)
app.shutdown_handlers.append({prefix}down)
for path in {paths!r}:
    print(get(app, path, "POST", b"xyz")[0], flush=True)
{end}
"""


def run_program(*paths: str, prefix: str = "", end: str = "") -> list[str]:
    root = str(Path(__file__).parents[2])
    code = textwrap.dedent(PROGRAM).format(root=root, prefix=prefix, paths=paths, end=end)
    done = ended(sys.executable, "-c", code)
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.split()


@pytest.mark.processes
@pytest.mark.parametrize(
    ("path", "prefix"),
    [
        ("/", ""),
        ("/body", ""),
        ("/blocking", ""),
        ("/stream", ""),
        ("/", "sync_"),
        ("/stream", "sync_"),
    ],
)
def test_an_exiting_worker_shuts_down_and_does_not_hang(path: str, prefix: str) -> None:
    assert run_program(path, prefix=prefix) == ["up", "200", "down"]


@pytest.mark.processes
@pytest.mark.parametrize("prefix", ["", "sync_"])
def test_an_exiting_worker_shuts_down_after_it_has_used_its_pool(prefix: str) -> None:
    assert run_program("/pooled", prefix=prefix) == ["up", "200", "down"]


@pytest.mark.processes
@pytest.mark.parametrize("prefix", ["", "sync_"])
def test_an_exiting_worker_waits_for_after_response_functions(prefix: str) -> None:
    """Although the process ends soon after its main thread if other calls still run."""
    end = "begun.wait()"
    assert run_program("/later", prefix=prefix, end=end) == ["up", "200", "later", "down"]


@pytest.mark.processes
def test_a_worker_that_exits_by_sys_exit_like_gunicorn_s_shuts_down() -> None:
    assert run_program("/body", end="sys.exit(0)") == ["up", "200", "down"]


@pytest.mark.processes
def test_an_unused_worker_starts_nothing() -> None:
    assert run_program() == []


@pytest.mark.processes
def test_importing_and_building_starts_no_thread() -> None:
    code = "import threading, micropie; app = micropie.App(); app._micropie.compiled(); print(threading.active_count())"
    done = ended(sys.executable, "-c", code, check=True)
    assert done.stdout.strip() == "1"


def test_a_multiprocessing_worker_is_stopped_by_its_finalizers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Such a process ends without `atexit`, granian's workers among them."""
    finalizers: list[Callable[[], None]] = []
    monkeypatch.setattr("multiprocessing.parent_process", lambda: object())

    def finalize(_: Any, stop: Callable[[], None], exitpriority: int) -> None:
        finalizers.append(stop)

    monkeypatch.setattr("multiprocessing.util.Finalize", finalize)
    app = Root(sync=True)
    assert get(app) == (200, b"up")
    finalizers[0]()
    finalizers[0]()
    assert app.log == ["up", "down"]


def test_a_multiprocessing_worker_without_handlers_waits_for_after_response_functions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finalizers: list[Callable[[], None]] = []
    monkeypatch.setattr("multiprocessing.parent_process", lambda: object())
    monkeypatch.setattr(
        "multiprocessing.util.Finalize", lambda _, stop, exitpriority: finalizers.append(stop)
    )
    app, done = App(), threading.Event()

    @app.get("/")
    def index(request: Request) -> str:
        request.after_response(time.sleep, 0.1)
        request.after_response(done.set)
        return "x"

    assert get(app) == (200, b"x")
    finalizers[0]()
    assert done.is_set()


@pytest.mark.processes
def test_a_shutdown_that_fails_at_a_worker_s_exit_is_logged_once(tmp_path: Path) -> None:
    code = textwrap.dedent(PROGRAM).format(
        root=str(Path(__file__).parents[2]), prefix="sync_", paths=("/",), end=""
    )
    code = code.replace(
        "app.shutdown_handlers.append(sync_down)", "app.shutdown_handlers.append(lambda: 1 / 0)"
    )
    done = ended(sys.executable, "-c", code, check=True)
    assert done.stderr.count("ZeroDivisionError") == 1, done.stderr
    assert "shutdown failed" in done.stderr


class Grouped(App):
    """Has a task for as long as it runs."""

    def __init__(self, backend: str, how: str) -> None:
        super().__init__(portal_backend=backend)
        self.log, self.how = list[str](), how
        self.inner = Cleaning()
        self.inner.log = self.log

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        self.over = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._end, tasks.cancel_scope)
            try:
                yield
            finally:
                self.log.append("leave")

    async def _end(self, scope: anyio.CancelScope) -> None:
        await self.over.wait()
        if self.how == "fails":
            raise LookupError("a task has failed")
        scope.cancel()

    def index(self) -> str:
        return "served"

    async def end(self) -> str:
        self.over.set()
        return "ended"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("fails", "unhandled errors in a TaskGroup|Exceptions from Trio nursery"),
        ("cancels", "a cancel scope around the yield of the lifespan was cancelled"),
    ],
)
def test_a_lifespan_that_is_cancelled_from_inside_is_stopped(
    backend: str, how: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = Grouped(backend, how)
    assert get(app, "/end") == (200, b"ended")
    until(lambda: "the lifespan ended before shutdown" in caplog.text)
    assert app.log == ["inner", "leave"]
    assert get(app) == (200, b"served")
    with pytest.raises(Exception, match=says):
        app.wsgi_shutdown()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_end_of_the_loop_ends_a_lifespan(
    backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = Grouped(backend, "cancels")
    get(app)
    close_background_loops()
    assert app.log == ["inner", "leave"]
    assert caplog.records == []
    app.wsgi_shutdown()
