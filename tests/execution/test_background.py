"""What runs after the response: in order, whatever becomes of the client, in nobody's way; the same
in every world.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from micropie import (
    App,
    HTTPError,
    Request,
    ResponseError,
    UploadFile,
    hidden,
    request,
    run_in,
    where,
)
from micropie._core.execution.background import (
    background_loop,
    close_background_loops,
)
from micropie._core.execution.loop import LoopTasks
from micropie._core.execution.placement import Threads
from micropie._core.execution.steps import after_response
from micropie._core.execution.steps.after_response import Ends, wait_for_tasks
from micropie.asgi.steps import BACKGROUND
from micropie.sessions import SQLiteSessionBackend
from tests.asgi.calls import Call, http_scope, piece, run
from tests.asgi.calls import get as asgi_get
from tests.flow.test_lifecycle import connected
from tests.support.clients import MakeClient
from tests.support.multipart_forms import PAIRS, form, section
from tests.support.waiting import PATIENCE, until
from tests.wsgi.calls import begin

colour: ContextVar[str] = ContextVar("colour", default="none")


class Diary(list[Any]):
    """Notes; ``wait`` returns them when there are ``count``."""

    def __init__(self) -> None:
        super().__init__()
        self._noted = threading.Condition()

    def note(self, *entry: Any) -> None:
        with self._noted:
            self.append(entry[0] if len(entry) == 1 else entry)
            self._noted.notify_all()

    def wait(self, count: int) -> list[Any]:
        with self._noted:
            assert self._noted.wait_for(lambda: len(self) >= count, PATIENCE), f"only {list(self)}"
        return list(self)


class Root(App):
    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.diary = Diary()
        self.go_on = threading.Event()

    def _note(self, entry: Any) -> None:
        self.diary.note(entry, where())

    async def _note_async(self, entry: Any) -> None:
        await anyio.lowlevel.checkpoint()
        self.diary.note(entry, where())

    @run_in("loop")
    def _note_inline(self, entry: Any) -> None:
        self.diary.note(entry, where())

    def _decorated(self, entry: Any) -> Awaitable[None]:
        return self._note_async(entry)

    def several(self) -> str:
        self.request.after_response(self._note, 1)
        self.request.after_response(self._note_async, 2)
        self.request.after_response(functools.partial(self._note_async, entry=3))
        self.request.after_response(self._decorated, 4)
        self.request.after_response(self._note_inline, 5)
        return "answered"

    async def from_async(self) -> str:
        self.request.after_response(self._note, 1)
        self.request.after_response(self._note_async, 2)
        return "answered"

    def stream(self) -> Iterator[str]:
        self.request.after_response(self._note, "early")
        yield "a"
        self.request.after_response(self._note, "late")
        yield "b"

    async def async_stream(self) -> AsyncIterator[str]:
        self.request.after_response(self._note, "early")
        yield "a"
        self.request.after_response(self._note_async, "late")
        yield "b"

    def fails(self) -> str:
        self.request.after_response(self._fail, ValueError("first"))
        self.request.after_response(self._fail, SystemExit("second"))
        self.request.after_response(self._fail_async)
        self.request.after_response(self._note, "goes on")
        return "answered"

    def _fail(self, error: BaseException) -> None:
        raise error

    async def _fail_async(self) -> None:
        raise KeyError("third")

    def refuses(self) -> str:
        self.request.after_response(self._note, "also then")
        raise HTTPError(418)

    def reads(self, name: str) -> str:
        colour.set("green")
        self.request.after_response(self._read)
        return name

    def _read(self) -> None:
        self.diary.note(request.query("name"), self.request.path, colour.get())

    def more(self) -> str:
        self.request.after_response(self._more)
        return "answered"

    def _more(self) -> None:
        self.request.after_response(self._note, "more")
        self.diary.note("first")

    def upload(self, file: UploadFile) -> str:
        self.request.after_response(self._read_file, file)
        return "taken"

    def _read_file(self, file: UploadFile) -> None:
        self.diary.note(len(file.file.read()))

    def log_in(self) -> str:
        self.request.session["user"] = "Ann"
        self.request.after_response(self._session)
        return "in"

    def visit(self) -> str:
        self.request.after_response(self._session)
        return "seen"

    def _session(self) -> None:
        self.diary.note(self.request.session.get("user"))
        for change in (lambda: self.request.session.update(a=1), lambda: self.response.headers):
            try:
                change()
            except ResponseError as error:
                self.diary.note(str(error).split(":")[0])

    def blocks(self) -> str:
        self.request.after_response(self._block)
        self.request.after_response(self._note, "never")
        return "answered"

    def _block(self) -> None:
        self.diary.note("begun")
        self.go_on.wait(30)
        self.diary.note("ended")

    def at_once(self) -> str:
        colour.set("green")
        for function in (self._fail_async, self._never_waits, self._never_waits):
            self.request.after_response(function)
        return "answered"

    def at_once_and_later(self) -> str:
        for entry, function in enumerate((self._never_waits, self._note_async, self._never_waits)):
            self.request.after_response(function, entry)
        return "answered"

    async def _never_waits(self, entry: Any = "at once") -> None:
        self.diary.note(entry, self.request.path, colour.get())

    def nonsense(self) -> str:
        self.request.after_response("no function")  # type: ignore[arg-type]
        return "answered"

    def yields(self, is_async: bool) -> str:
        def numbers() -> Iterator[int]:
            yield 1

        async def more_numbers() -> AsyncIterator[int]:
            yield 1

        self.request.after_response(more_numbers if is_async else numbers)
        return "answered"


@pytest.fixture
def app() -> Iterator[Root]:
    app = Root()
    yield app
    app.go_on.set()


def test_after_response_functions_of_every_kind_run_in_order(app: Root, client: Any) -> None:
    assert client.get("/several").text == "answered"
    places = ["thread", "loop", "loop", "loop", "loop"]
    assert app.diary.wait(5) == list(zip(range(1, 6), places, strict=True))


def test_many_functions_are_added_to_one_list() -> None:
    ends = after_response.Ends()
    ends.add_closer(print)
    ends.add_release(print)
    lists = ends.closers, ends.releases
    ends.add_closer(print)
    ends.add_release(print)
    assert (ends.take_closers(), ends.releases) == ([print, print], [print, print])
    assert lists == ([print, print], [print, print])


def test_an_async_handler_may_use_after_response(app: Root, client: Any) -> None:
    assert client.get("/from_async").text == "answered"
    assert app.diary.wait(2) == [(1, "thread"), (2, "loop")]


@pytest.mark.parametrize(("path", "place"), [("/stream", "thread"), ("/async_stream", "loop")])
def test_after_response_functions_run_after_the_end_of_a_stream(
    app: Root, client: Any, path: str, place: str
) -> None:
    with client.stream("GET", path) as answer:
        assert not app.diary
        assert b"".join(answer.iter_bytes()) == b"ab"
    assert app.diary.wait(2) == [("early", "thread"), ("late", place)]


@pytest.mark.parametrize("path", ["/stream", "/async_stream"])
def test_R66_after_response_functions_run_when_the_client_disconnects_from_a_stream(
    app: Root, client: Any, path: str
) -> None:
    with client.stream("GET", path) as answer:
        assert next(answer.iter_raw()) == b"a"
    assert app.diary.wait(1)[0] == ("early", "thread")


def test_R66_an_error_is_logged_once_and_later_functions_still_run(
    app: Root, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert client.get("/fails").text == "answered"
    assert app.diary.wait(1) == [("goes on", "thread")]
    logged = [record for record in caplog.records if record.name == "micropie"]
    assert [record.getMessage() for record in logged] == [
        "GET '/fails': Root._fail, after the response, failed",
        "GET '/fails': Root._fail, after the response, failed",
        "GET '/fails': Root._fail_async, after the response, failed",
    ]
    answers = [record.exc_info[0] for record in logged if record.exc_info]
    assert answers == [ValueError, SystemExit, KeyError]


def test_after_response_functions_run_after_an_error_response(app: Root, client: Any) -> None:
    assert client.get("/refuses").status_code == 418
    assert app.diary.wait(1) == [("also then", "thread")]


def test_R66_the_request_and_its_context_are_readable_after_the_response(
    app: Root, client: Any
) -> None:
    assert client.get("/reads?name=Ann").text == "Ann"
    assert app.diary.wait(1) == [("Ann", "/reads", "green")]
    assert colour.get() == "none"


def test_an_after_response_function_may_register_another_one(app: Root, client: Any) -> None:
    client.get("/more")
    assert app.diary.wait(2) == ["first", ("more", "thread")]


def test_an_upload_is_still_open_after_the_response(app: Root, client: Any) -> None:
    body = form(section('name="file"; filename="f"', b"x" * 2_000_000))
    headers = {name.decode(): value.decode() for name, value in PAIRS}
    assert client.post("/upload", content=body, headers=headers).text == "taken"
    assert app.diary.wait(1) == [2_000_000]


@pytest.mark.parametrize("in_memory", [True, False])
def test_R66_after_the_response_the_session_is_readable_and_refuses_changes(
    make_client: MakeClient, in_memory: bool, tmp_path: Path
) -> None:
    app = Root() if in_memory else Root(SQLiteSessionBackend(tmp_path / "sessions.db"))
    client = make_client(app)
    refusals = [
        "the session can't be changed any more, because it was saved before the response started",
        "the response has started",
    ]
    assert client.get("/log_in").text == "in"
    assert app.diary.wait(3) == ["Ann", *refusals]
    assert client.get("/visit").text == "seen"
    assert app.diary.wait(6)[3:] == ["Ann", *refusals]


def test_R66_other_requests_do_not_wait_for_after_response_functions(
    app: Root, client: Any
) -> None:
    assert client.get("/blocks").text == "answered"
    app.diary.wait(1)
    assert client.get("/reads?name=Ann").text == "Ann"
    assert app.diary.wait(2)[1:] == [("Ann", "/reads", "green")]
    app.go_on.set()
    assert app.diary.wait(4)[2:] == ["ended", ("never", "thread")]


def test_an_after_response_function_that_takes_too_long_is_abandoned(
    world: str, caplog: pytest.LogCaptureFixture
) -> None:
    apps: list[Root] = []
    try:
        while not apps or not apps[-1].diary:  # its time may end before a thread has begun it
            caplog.clear()
            apps.append(Root(background_timeout=0.3))
            with connected(apps[-1], world) as client:  # whose end waits for it
                client.get("/blocks")
        assert apps[-1].diary == ["begun"]
        assert [
            record.getMessage() for record in caplog.records if record.levelno == logging.ERROR
        ] == [
            "GET '/blocks': Root._block, after the response, did not finish in 0.3 s (background_timeout)",
            "GET '/blocks': Root._note, after the response, did not start in 0.3 s (background_timeout)",
        ]
    finally:
        for app in apps:
            app.go_on.set()


def test_after_response_functions_without_a_free_thread_are_logged(
    world: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(after_response, "_THREADS", Threads(1, 10))
    app = Root(background_timeout=0.05)
    told = "GET '/blocks': Root._block, after the response, did not start in 0.05 s (background_timeout)"
    try:
        with connected(app, world) as client:
            # the first one's time may end before the thread has begun it
            until(lambda: client.get("/blocks").text == "answered" and told in caplog.messages)
    finally:
        app.go_on.set()


def test_the_number_of_functions_waiting_for_a_thread_is_limited(
    world: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(after_response, "_THREADS", Threads(1, 1))
    app = Root(background_timeout=PATIENCE)
    refused = [
        f"GET '/blocks': Root.{name}, after the response, did not start: 1 calls are already waiting for a thread"
        for name in ("_block", "_note")
    ]
    try:
        with connected(app, world) as client:
            for _ in range(3):  # one runs, one waits
                client.get("/blocks")
            until(lambda: len(caplog.records) == 2)
            app.go_on.set()
    finally:
        app.go_on.set()
    assert [record.getMessage() for record in caplog.records] == refused
    found = sorted(map(str, app.diary))
    assert found == sorted(map(str, ["begun", "ended", ("never", "thread")] * 2))


def test_shutdown_waits_for_after_response_functions(world: str) -> None:
    app = Root()
    app.shutdown_handlers.append(lambda: app.diary.note("shut down"))
    with connected(app, world) as client:
        client.get("/blocks")
        app.diary.wait(1)
        threading.Timer(0.1, app.go_on.set).start()
    assert app.diary == ["begun", "ended", ("never", "thread"), "shut down"]


def test_an_object_that_is_not_a_function_is_refused_immediately(
    client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert client.get("/nonsense").status_code == 500
    assert "after_response takes a function" in caplog.text
    for path, name in (("/yields/0", "numbers"), ("/yields/1", "more_numbers")):
        assert client.get(path).status_code == 500
        assert f".{name} has a yield, so after_response would run none of its" in caplog.text


def test_after_response_functions_that_never_block_run_at_once(
    app: Root, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert client.get("/at_once").text == "answered"
    assert app.diary.wait(2) == [("at once", "/at_once", "green")] * 2
    answers = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert answers == ["GET '/at_once': Root._fail_async, after the response, failed"]
    assert colour.get() == "none"


def test_after_response_functions_that_never_block_keep_their_order(app: Root, client: Any) -> None:
    assert client.get("/at_once_and_later").text == "answered"
    path = "/at_once_and_later"
    assert app.diary.wait(3) == [(0, path, "none"), (1, "loop"), (2, path, "none")]


# -- ASGI alone ------------------------------------------------------------------------------------


def test_a_server_without_lifespan_waits_for_after_response_functions(
    app: Root, backend: str
) -> None:
    async def main() -> None:
        assert (await asgi_get(app, "/several")).body == b"answered"
        assert [entry for entry, _ in app.diary] == [1, 2, 3, 4, 5]

    run(backend, main)


def test_after_response_functions_run_after_the_lifespan_has_ended(app: Root, backend: str) -> None:
    async def main() -> None:
        background = LoopTasks()
        await background.join()
        assert (await asgi_get(app, "/several", state={BACKGROUND: background})).body == b"answered"
        assert [entry for entry, _ in app.diary] == [1, 2, 3, 4, 5]

    run(backend, main)


def test_R66_a_cancelled_request_does_not_cancel_its_after_response_functions(
    app: Root, backend: str
) -> None:
    async def main() -> None:
        with anyio.CancelScope() as scope:
            call = Call(piece(b""))

            async def send(message: Any) -> None:
                if message["type"] == "http.response.body":
                    scope.cancel()  # uvicorn and hypercorn do so when the client leaves
                    await anyio.lowlevel.checkpoint()

            await app(http_scope("GET", "/several"), call.receive, send)
        assert scope.cancelled_caught
        assert [entry for entry, _ in app.diary] == [1, 2, 3, 4, 5]

    run(backend, main)


# -- WSGI alone ------------------------------------------------------------------------------------


def test_R66_the_server_s_thread_does_not_run_after_response_functions(app: Root) -> None:
    answer = begin(app, path="/blocks")
    assert not app.diary  # not before the server has sent it
    assert answer.read() == b"answered"
    app.diary.wait(1)
    app.go_on.set()
    app.diary.wait(3)


def test_closing_an_unread_response_runs_its_after_response_functions(app: Root) -> None:
    begin(app, path="/stream").close()
    assert app.diary.wait(1) == [("early", "thread")]
    begin(app, path="/several").close()
    assert len(app.diary.wait(6)) == 6


def test_the_loops_are_closed_at_exit() -> None:
    loop = background_loop("asyncio")
    close_background_loops()
    assert loop.has_ended
    close_background_loops()


@pytest.mark.processes
def test_R70_a_forked_child_does_not_wait_for_its_parent_s_functions(app: Root) -> None:
    close_background_loops()
    begin(app, path="/blocks").read()
    app.diary.wait(1)
    child = os.fork()
    if child == 0:
        wait_for_tasks(10)
        os._exit(0 if len(app.diary) == 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
    app.go_on.set()
    app.diary.wait(3)
    close_background_loops()


class Late(App):
    request_kept: Request | None = None

    def plain(self) -> str:
        self.request_kept = self.request
        return "done"

    def closes(self) -> str:
        self.request.on_close(bool)
        return self.plain()

    def calls(self) -> str:
        self.request.after_response(bool)
        return self.plain()

    @hidden
    def call_late(self, method: str, *functions: Callable[[], object]) -> None:
        kept = self.request_kept
        assert kept is not None
        until(lambda: kept._exchange.ends is None)
        for function in functions:
            getattr(kept, method)(function)

    def closes_after_the_response(self) -> str:
        self.request.after_response(self.request.on_close, print)
        return "done"


@pytest.mark.parametrize("method", ["after_response", "on_close"])
@pytest.mark.parametrize("path", ["plain", "closes", "calls"])
def test_a_function_that_is_passed_after_the_end_of_the_request_is_reported(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, path: str, method: str
) -> None:
    app = Late()
    client = make_client(app)
    assert client.get(f"/{path}").text == "done"
    app.call_late(method, print, functools.partial(print))
    assert not caplog.records
    app.request_kept = None
    client.get("/")  # the client keeps its last response
    gc.collect()
    until(lambda: len(caplog.records) == 2)
    assert [record.getMessage() for record in caplog.records] == [
        f"{name} was passed to {method}, but never called, because its request had ended"
        for name in ("print", "functools.partial(<built-in function print>)")
    ]


def test_a_function_that_an_after_response_function_passes_to_on_close_is_reported(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(Late())
    assert client.get("/closes_after_the_response").text == "done"
    client.get("/")  # the client keeps its last response

    def is_reported() -> bool:
        gc.collect()
        return len(caplog.records) == 1

    until(is_reported)
    assert caplog.messages == [
        "print was passed to on_close, but never called, because its request had ended"
    ]


def test_a_test_does_not_hear_of_a_request_that_another_test_has_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, messages in (("another test (call)", 0), (os.environ["PYTEST_CURRENT_TEST"], 1)):
        with monkeypatch.context() as patch:
            patch.setenv("PYTEST_CURRENT_TEST", name)
            left = Ends()
            left.add_closer(print)
        del left
        assert len(caplog.messages) == messages


@pytest.mark.parametrize("method", ["on_close", "on_failure"])
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_an_async_function_for_the_end_of_a_request_is_reported(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    async def end(*failure: object) -> None: ...

    class Root(App):
        def index(self) -> None:
            getattr(self.request, method)(end)
            raise LookupError

    assert make_client(Root()).get("/").status_code == 500
    until(lambda: len(caplog.records) == 2)
    errors = [str(record.exc_info[1]) for record in caplog.records if record.exc_info]
    assert any(error.endswith("end must not be async: it can't be awaited") for error in errors)


def test_a_function_for_the_end_of_a_request_may_return_the_task_that_it_starts(
    connect: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    tasks: list[asyncio.Task[None]] = []

    class Root(App):
        async def index(self) -> str:
            self.request.on_close(start)
            return "x"

    def start() -> asyncio.Task[None]:
        tasks.append(asyncio.get_running_loop().create_task(asyncio.sleep(0)))
        return tasks[0]

    assert connect(Root(), "asyncio").get("/").text == "x"
    until(lambda: tasks and tasks[0].done())
    assert caplog.messages == []


def test_on_close_functions_may_add_others(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    closed: list[str] = []

    class Adding(App):
        def index(self) -> str:
            add = functools.partial(self.request.on_close, functools.partial(closed.append, "b"))
            self.request.on_close(functools.partial(closed.append, "a"))
            self.request.on_close(add)
            return "done"

    client = make_client(Adding())
    client.get("/")
    client.get("/none")
    gc.collect()
    until(lambda: closed == ["a", "b"])
    assert not caplog.records
