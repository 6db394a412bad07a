"""The threads of mounted WSGI applications under ASGI: how many, whose, how long; and what crosses
to them and back.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from micropie import App, requires
from micropie._core.execution.placement import Threads
from micropie._core.execution.threads import in_thread
from micropie._core.streams import BYTES_AHEAD, CHUNKS_AHEAD, JOINED
from micropie.middleware import Timeout
from tests.asgi.calls import DISCONNECT, Call, get, http_scope, piece, run
from tests.support.waiting import PATIENCE, until_async
from tests.wsgi.calls import begin

TEXT = [("Content-Type", "text/plain")]


def site(target: Any, **settings: Any) -> App:
    app = App(**settings)
    app.mount("/m", target)
    return app


def hello(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", TEXT)
    return [b"hello"]


def test_mounted_applications_never_use_more_threads_than_allowed(backend: str) -> None:
    running: list[int] = []
    most: list[int] = []
    lock = threading.Lock()

    def app(environ: Any, start_response: Any) -> list[bytes]:
        with lock:
            running.append(1)
            most.append(len(running))
        start_response("200 OK", TEXT)
        with lock:
            running.pop()
        return [b"hello"]

    async def ask() -> list[Any]:
        root, answers = site(app, threads=1), []

        async def one() -> None:
            answers.append(await get(root, "/m"))

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(one)
        return answers

    assert [answer.body for answer in run(backend, ask)] == [b"hello"] * 5
    assert max(most) == 1


def test_a_thread_that_cannot_start_fails_one_request(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("can't start new thread")

    root = site(hello, threads=1)
    with monkeypatch.context() as patched:
        patched.setattr("anyio.to_thread.run_sync", refuse)

        async def ask() -> list[int]:
            statuses = [(await get(root, "/m")).status]
            patched.undo()
            return [*statuses, (await get(root, "/m")).status]

        assert run(backend, ask) == [500, 200]


def test_a_worker_thread_is_not_marked_as_running_a_loop(backend: str) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", TEXT)
        anyio.run(anyio.sleep, 0)  # refuses to where a loop is running
        return [b"ran"]

    assert run(backend, get, site(app), "/m").body == b"ran"


@pytest.mark.processes
def test_R70_a_forked_child_has_its_own_threads(backend: str) -> None:
    assert run(backend, get, site(hello), "/m").body == b"hello"
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(write, run(backend, get, site(hello), "/m").body)
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        assert pipe.read() == b"hello"
    os.waitpid(child, 0)


def test_consecutive_calls_need_one_thread() -> None:
    async def main() -> set[int]:
        threads = Threads(4)
        return {await in_thread(threads, threading.get_ident) for _ in range(10)}

    assert len(run("asyncio", main)) == 1


def test_a_short_body_is_received_before_the_application_is_called(backend: str) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", TEXT)
        return [b"%d " % call.received + environ["wsgi.input"].read()]

    call = Call(piece(b"he", more=True), piece(b"llo"))
    expecting = Call(piece(b"hello"))

    async def ask(call: Call, **headers: str) -> bytes:
        pairs = [
            (name.encode(), value.encode())
            for name, value in {"content-length": "5", **headers}.items()
        ]
        await site(app)(http_scope("POST", "/m", headers=pairs), call.receive, call.send)
        return call.body

    assert run(backend, ask, call) == b"2 hello"
    call, waited_for = expecting, call

    async def ask_expecting() -> bytes:
        return await ask(call, expect="100-continue")

    assert run(backend, ask_expecting) == b"0 hello"
    assert waited_for.received == 2


def test_R74_a_disconnection_in_the_middle_of_a_body_raises_where_it_is_read(backend: str) -> None:
    raised: list[Exception] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        for _ in range(2):
            try:
                environ["wsgi.input"].read()
            except Exception as error:
                raised.append(error)
        start_response("200 OK", TEXT)
        return [b"hello"]

    async def ask(length: str) -> None:
        call = Call(piece(b"a", more=True), DISCONNECT)
        scope = http_scope("POST", "/m", headers=[(b"content-length", length.encode())])
        await site(app)(scope, call.receive, call.send)

    for length in ("100", "100000"):
        run(backend, ask, length)
    found = [str(error) for error in raised]
    assert found == ["the client disconnected before its request was complete"] * 4


class Endless:
    """Chunks without end, and who tries to read on when they are closed."""

    def __init__(self, environ: Any) -> None:
        self.read = environ["wsgi.input"].read
        self.raised: list[str] = []
        self.may_close = threading.Event()
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            yield b"a"

    def close(self) -> None:
        self.may_close.wait(PATIENCE)
        try:
            self.read()
        except OSError as error:
            self.raised.append(str(error))
        self.closed.set()


@pytest.mark.parametrize("loop_is_over", [False, True])
def test_R74_a_response_abandoned_midway_is_closed_and_cannot_read_on(
    backend: str, loop_is_over: bool
) -> None:
    answers: list[Endless] = []

    def app(environ: Any, start_response: Any) -> Endless:
        start_response("200 OK", TEXT)
        answers.append(Endless(environ))
        if not loop_is_over:
            answers[0].may_close.set()
        return answers[0]

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            raise OSError("gone")

    scope = http_scope("POST", "/m", headers=[(b"transfer-encoding", b"chunked")])
    run(backend, site(app), scope, Call().receive, send)
    answers[0].may_close.set()
    assert answers[0].closed.wait(PATIENCE)  # the client does not wait for it
    assert answers[0].raised == ["the client disconnected"]


def test_R74_waiting_for_a_body_ends_when_the_request_is_abandoned(backend: str) -> None:
    raised: list[str] = []
    has_raised = threading.Event()

    def app(environ: Any, start_response: Any) -> list[bytes]:
        try:
            environ["wsgi.input"].read()
        except OSError as error:
            raised.append(str(error))
            has_raised.set()
        start_response("200 OK", TEXT)
        return [b"too late"]

    async def ask() -> None:
        call = Call()
        scope = http_scope("POST", "/m", headers=[(b"transfer-encoding", b"chunked")])
        with anyio.CancelScope() as giving_up:

            async def receive() -> Any:
                giving_up.cancel()
                await anyio.sleep_forever()

            await site(app)(scope, receive, call.send)
        assert call.sent == []
        await anyio.to_thread.run_sync(has_raised.wait, PATIENCE)

    run(backend, ask)
    assert raised == ["the client disconnected"]


class Db:
    """A resource."""


def test_R62_a_time_limit_does_not_wait_for_the_thread_but_the_resources_do(backend: str) -> None:
    begun, leave = threading.Event(), threading.Event()
    log: list[str] = []

    def checks(request: Any, db: Db) -> bool:
        return True

    def app(environ: Any, start_response: Any) -> list[bytes]:
        begun.set()
        assert leave.wait(PATIENCE)
        log.append("application")
        raise ValueError("too late")

    root = site(requires(checks)(app), threads=100)
    root.middlewares.append(Timeout(0.1))

    @root.provides(Db)
    def db() -> Iterator[Db]:
        try:
            yield Db()
        finally:
            log.append("resource")

    async def ask() -> set[int]:
        found = {(await get(root, "/m")).status}
        while not begun.is_set() and found == {503}:  # a busy machine may give it up before that
            found.add((await get(root, "/m")).status)
        log.clear()
        leave.set()
        await until_async(lambda: log.count("application") == log.count("resource") > 0)
        return found

    assert run(backend, ask) == {503}
    assert log[0] == "application"


def test_a_write_after_the_end_is_refused(backend: str) -> None:
    kept: list[Any] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        kept.append(start_response("200 OK", TEXT))
        return [b"hello"]

    assert run(backend, get, site(app), "/m").body == b"hello"
    with pytest.raises(Exception, match="after its response was closed"):
        kept[0](b"more")


@pytest.mark.parametrize(("size", "most"), [(1, CHUNKS_AHEAD), (100_000, 3)])
def test_a_stream_is_produced_at_most_some_chunks_ahead(backend: str, size: int, most: int) -> None:
    made = received = 0
    ahead: list[int] = []

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        nonlocal made
        start_response("200 OK", TEXT)
        for made in range(1, 4 * most):  # noqa: B007 - it is counted
            yield bytes(size)

    async def ask() -> None:
        async def send(message: Any) -> None:
            nonlocal received
            received += len(message.get("body", b""))
            ahead.append(made - received // size)
            await anyio.sleep(0.001)  # time enough to be further ahead

        await site(app)(http_scope("GET", "/m"), Call().receive, send)

    run(backend, ask)
    assert received == size * (4 * most - 1)
    # and what is made when the next is asked for, what has no place yet, and what is being sent
    assert max(ahead) <= most + 3


@pytest.mark.parametrize(
    ("version", "headers", "received"),
    [
        ("1.1", [], "BytesIO b''"),
        ("1.0", [(b"content-length", b"0")], "BytesIO b''"),
        ("1.1", [(b"content-length", b"5")], "BytesIO b'hello'"),
        (
            "1.1",
            [(b"content-length", b"5"), (b"expect", b"100-continue")],
            "BufferedReader b'hello'",
        ),
        ("1.1", [(b"transfer-encoding", b"chunked")], "BufferedReader b'hello'"),
        ("2", [], "BufferedReader b'hello'"),
    ],
)
def test_a_get_may_have_a_body(
    backend: str, version: str, headers: list[tuple[bytes, bytes]], received: str
) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", TEXT)
        read = environ["wsgi.input"]
        return [f"{type(read).__name__} {read.read()!r}".encode()]

    async def ask() -> bytes:
        call = Call(piece(b"hel", more=True), piece(b"lo"))
        scope = http_scope("GET", "/m", headers=headers, http_version=version)
        await site(app)(scope, call.receive, call.send)
        return call.body

    assert run(backend, ask) == received.encode()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_thread_is_free_once_its_response_is(backend: str, method: str) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        yield b"a"
        yield b"b"

    async def ask() -> list[int]:
        root = site(app, threads=1)
        return [(await get(root, "/m", method)).status for _ in range(3)]

    assert run(backend, ask) == [200] * 3


def test_R74_a_body_that_stops_arriving_gets_a_408(backend: str) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", TEXT)
        return [environ["wsgi.input"].read()]

    async def ask() -> int:
        call = Call()
        scope = http_scope("POST", "/m", headers=[(b"transfer-encoding", b"chunked")])
        await site(app, body_timeout=0.05)(scope, call.receive, call.send)
        return call.status

    assert run(backend, ask) == 408


@pytest.mark.parametrize("portal", ["asyncio", "trio"])
def test_an_asgi_stream_under_wsgi_is_produced_at_most_some_bytes_ahead(portal: str) -> None:
    made = received = 0
    row = b"x" * 1000

    async def target(scope: Any, receive: Any, send: Any) -> None:
        nonlocal made
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(1000):
            made += len(row)
            await send({"type": "http.response.body", "body": row, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    app = App(portal_backend=portal)
    app.mount("/m", target, kind="asgi")
    answer = begin(app, "GET", "/m")
    # what the application has sent, what the background loop has taken, and what each of them has
    # no place for
    most = 2 * (BYTES_AHEAD + JOINED)
    assert made <= most
    for chunk in answer.chunks:
        received += len(chunk)
        time.sleep(0.001)  # time enough to be further ahead
        assert made <= received + most
    assert received == made == 1000 * len(row)
    answer.close()
