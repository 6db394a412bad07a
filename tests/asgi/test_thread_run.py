"""The ``def`` parts of a request run in one thread as long as nothing is awaited between them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event, Thread, get_ident, local
from typing import Any, NewType

import anyio
import anyio.from_thread
import pytest

from micropie import App, HTTPError, HttpMiddleware, Request, requires, run_in, where
from micropie._core.execution.steps import ANSWER, AWAIT, CALL, IO, itself, no_function
from micropie._core.execution.threads import _RUNNING
from micropie.asgi.thread_run import ThreadRun
from micropie.middleware import Timeout
from tests.asgi.calls import get, run
from tests.support.clients import MakeClient
from tests.support.waiting import PATIENCE, until, until_async

Db = NewType("Db", str)
Pool = NewType("Pool", str)
ids: list[int]


class Parts:
    """Notes in which thread each part of a request runs."""

    def __init__(self) -> None:
        self.of: dict[str, list[tuple[str, int]]] = {}

    def note(self, request: Request, part: str) -> None:
        self.of.setdefault(request.query_string, []).append((part, get_ident()))

    def names(self, query: str) -> str:
        return " ".join(name for name, _ in self.of[query])

    def threads(self, query: str) -> set[int]:
        return {thread for _, thread in self.of[query]}


@dataclass
class Row:
    name: str


def made(**settings: Any) -> tuple[App, Parts]:  # noqa: C901 - each part is a function
    """An application of which every part is a ``def``."""
    parts = Parts()
    note = parts.note

    def check(request: Request) -> bool:
        note(request, "check")
        return True

    class Root(App):
        @requires(check)
        def page(self, db: Db) -> str:
            note(self.request, "handler")
            return db

        def row(self, db: Db) -> Row:
            note(self.request, "handler")
            return Row(db)

        def failing(self, db: Db) -> str:
            note(self.request, "handler")
            raise LookupError(db)

        @run_in("loop")
        def quick(self) -> str:
            note(self.request, "handler")
            return where()

        @Timeout(PATIENCE)
        @run_in("loop")
        def limited(self) -> str:
            note(self.request, "handler")
            return where()

        async def awaited(self) -> str:
            await anyio.lowlevel.checkpoint()
            return "awaited"

        def streamed(self) -> Iterator[str]:
            yield "streamed"

    class Pair(HttpMiddleware):
        def before_request(self, request: Request) -> None:
            note(request, "before")

        def after_request(self, request: Request, *_: Any) -> None:
            note(request, "after")

    def around(request: Request) -> Iterator[None]:
        note(request, "first half")
        try:
            yield
        finally:
            note(request, "second half")

    app = Root(**settings)
    app.middlewares += [around, Pair()]

    @app.provides(Db)
    def db(request: Request) -> Iterator[Db]:
        note(request, "opened")
        try:
            yield Db("db")
        finally:
            note(request, "closed")

    @app.error(LookupError)
    def failed(request: Request, error: LookupError) -> tuple[int, str]:
        note(request, "error handler")
        return 200, "failed"

    return app, parts


@pytest.mark.parametrize(
    ("path", "text", "names"),
    [
        ("/page", "db", "before check opened handler closed after"),
        ("/row", '{"name":"db"}', "before opened handler closed after"),
        ("/failing", "failed", "before opened handler closed error handler after"),
        ("/streamed", "streamed", "before after"),
        ("/missing", "404 Not Found", "before after"),
    ],
)
def test_all_parts_of_a_request_share_a_thread(
    make_client: MakeClient, path: str, text: str, names: str
) -> None:
    app, parts = made()
    client = make_client(app)

    def ask(number: int) -> str:
        body: str = client.get(f"{path}?{number}").text
        return body

    with ThreadPoolExecutor(30) as pool:
        assert {*pool.map(ask, range(30))} == {text}
    for number in map(str, range(30)):
        assert parts.names(number) == f"first half {names} second half"
        assert len(parts.threads(number)) == 1


def test_parts_with_run_in_loop_run_on_the_loop(connect: MakeClient, backend: str) -> None:
    seen: list[str] = []

    @run_in("loop")
    def check(_: Request) -> bool:
        seen.append(f"check on the {where()}")
        return True

    class Root(App):
        @requires(check)
        @run_in("loop")
        def page(self, db: Db, pool: Pool) -> str:
            seen.append(f"handler on the {where()}")
            return f"{db} {pool}"

        @run_in("loop")
        def _failed(self, error: LookupError) -> str:
            seen.append(f"error handler on the {where()}")
            return "failed"

    def thread(_: Request) -> Iterator[None]:
        seen.append(f"first half in a {where()}")
        yield
        seen.append(f"second half in a {where()}")

    @run_in("loop")
    def loop(_: Request) -> Iterator[None]:
        seen.append(f"first half on the {where()}")
        yield
        seen.append(f"second half on the {where()}")

    app = Root()
    app.middlewares += [thread, loop]

    @app.provides(Db)
    @run_in("loop")
    def db() -> Iterator[Db]:
        seen.append(f"opened on the {where()}")
        yield Db("db")
        seen.append(f"closed on the {where()}")

    @app.provides(Pool)
    @run_in("loop")
    def pool() -> Pool:
        seen.append(f"given on the {where()}")
        return Pool("pool")

    assert connect(app, backend).get("/page").text == "db pool"
    assert seen == [
        "first half in a thread",
        "first half on the loop",
        "check on the loop",
        "opened on the loop",
        "given on the loop",
        "handler on the loop",
        "closed on the loop",
        "second half on the loop",
        "second half in a thread",
    ]


@pytest.mark.parametrize("path", ["/quick", "/limited"])
def test_a_handler_for_the_loop_runs_there_after_hooks_in_a_thread(
    connect: MakeClient, backend: str, path: str
) -> None:
    app, parts = made()
    assert connect(app, backend).get(f"{path}?1").text == "loop"
    assert parts.names("1") == "first half before handler after second half"


def test_an_await_may_change_the_thread(connect: MakeClient, backend: str) -> None:
    app, parts = made(threads=2)
    client = connect(app, backend)
    with ThreadPoolExecutor(30) as pool:
        answers = [*pool.map(lambda one: client.get(f"/awaited?{one}").text, range(30))]
    assert {*answers} == {"awaited"}
    for number in map(str, range(30)):
        (_, first), (_, second) = parts.of[number][:2]
        assert first == second


class Session:
    """A unit of work in a thread local, as ``scoped_session`` keeps it."""

    def __init__(self) -> None:
        self._local = local()
        self.stored: list[list[str]] = []

    def add(self, row: str) -> None:
        vars(self._local).setdefault("rows", []).append(row)

    def commit(self) -> None:
        self.stored.append(vars(self._local).pop("rows", []))


def test_a_thread_local_unit_of_work_belongs_to_its_request(make_client: MakeClient) -> None:
    session = Session()

    class Root(App):
        def index(self, number: str) -> str:
            session.add(f"handler {number}")
            return "stored"

    def unit(request: Request) -> Iterator[None]:
        session.add(f"hook {request.query('number')}")
        yield
        session.commit()

    app = Root()
    app.middlewares.append(unit)
    client = make_client(app)
    with ThreadPoolExecutor(30) as pool:
        answers = [*pool.map(lambda one: client.get(f"/?number={one}").text, range(100))]
    assert answers == ["stored"] * 100
    wanted = [[f"hook {one}", f"handler {one}"] for one in range(100)]
    assert sorted(session.stored) == sorted(wanted)


def test_a_part_that_raises_system_exit_ends_its_request(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    app, parts = made()

    @app.get("/ending")
    def ending(request: Request, db: Db) -> str:
        parts.note(request, "handler")
        raise SystemExit(3)

    assert make_client(app).get("/ending?1").status_code == 500
    assert parts.names("1") == "first half before opened handler closed after second half"
    assert "SystemExit(3)" in caplog.text


def test_a_cancelled_request_starts_no_other_part(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, parts = made()
    begun, may_end = Event(), Event()

    @app.get("/held")
    def held(request: Request, db: Db) -> str:
        begun.set()
        may_end.wait(PATIENCE)
        parts.note(request, "handler")
        return db

    def stop(one: ThreadRun) -> None:
        stopped(one)
        may_end.set()

    stopped = ThreadRun.stop
    monkeypatch.setattr(ThreadRun, "stop", stop)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: get(app, "/held", query_string=b"1"))
            await until_async(begun.is_set)
            tasks.cancel_scope.cancel()

    run(backend, main)
    until(lambda: "handler" in parts.names("1"))
    until(lambda: "second half" in parts.names("1"))
    assert parts.names("1") == "first half before opened handler closed second half"


def flow_of(*steps: Any) -> Any:
    """A flow that yields these steps, and returns their results."""
    results = []
    for step in steps:
        try:
            results.append((yield step))
        except Exception as error:
            results.append(repr(error))
    return results


class Begun:
    count = 0

    def note_begin(self) -> None:
        self.count += 1


def exchange() -> Any:
    """What a run in a thread needs of an exchange."""
    return Begun()


def test_the_thread_performs_calls_until_the_flow_ends() -> None:
    flow = flow_of((CALL, str, (1,)), (CALL, int, ("x",)), (CALL, str, (3,)))
    _, function, arguments = next(flow)
    begun = exchange()
    end = ThreadRun(flow, begun, function, arguments).perform()
    results = ["1", "ValueError(\"invalid literal for int() with base 10: 'x'\")", "3"]
    assert end == (ANSWER, no_function, results)
    assert begun.count == 3


@pytest.mark.parametrize(
    "step",
    [
        (AWAIT, itself, ()),
        (IO, str, ()),
        (CALL._replace(seconds=1.0), str, ()),
        (ANSWER, no_function, None),
    ],
)
def test_the_thread_leaves_other_steps_to_the_task(step: Any) -> None:
    flow = flow_of((CALL, str, (1,)), step)
    _, function, arguments = next(flow)
    assert ThreadRun(flow, exchange(), function, arguments).perform() == step


def test_a_flow_that_has_yielded_is_returned_to_the_task() -> None:
    resumed, may_yield, stopped = Event(), Event(), Event()

    def slow_flow() -> Any:
        yield CALL, str, ()
        resumed.set()
        assert may_yield.wait(PATIENCE)
        yield CALL, calls.append, ("never",)

    calls: list[str] = []
    flow = slow_flow()
    _, function, arguments = next(flow)
    one = ThreadRun(flow, exchange(), function, arguments)
    run_thread = Thread(target=one.perform)
    run_thread.start()
    assert resumed.wait(PATIENCE)

    def stop() -> None:
        one.stop()
        stopped.set()

    stop_thread = Thread(target=stop)
    stop_thread.start()
    assert not stopped.is_set()
    may_yield.set()
    assert stopped.wait(PATIENCE)
    for thread in (run_thread, stop_thread):
        thread.join()
    with pytest.raises(KeyError):
        flow.throw(KeyError())


def test_a_provider_s_task_may_fail_when_the_thread_has_begun_to_close_it(backend: str) -> None:
    """The failure cancels the request, which has ended the provider before it could be closed."""
    may_fail: list[anyio.Event] = []

    class Root(App):
        def index(self, db: Db) -> str:
            anyio.from_thread.run_sync(may_fail[0].set)
            return "pie"

    app = Root()

    @app.provides(Db)
    async def provided() -> AsyncIterator[Db]:
        may_fail.append(anyio.Event())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fail)
            yield Db("db")

    async def fail() -> None:
        await may_fail[0].wait()
        until(lambda: not _RUNNING)  # blocks the loop, so that the task can't go on first
        raise HTTPError(418, "I am a teapot.")

    assert run(backend, get, app).status == 418
