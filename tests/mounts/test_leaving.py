"""What mounted applications hear and do when nobody wants their answer any more, or when their body
breaks off.
"""

from __future__ import annotations

import io
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from micropie import App
from tests.asgi.calls import DISCONNECT, START, Call, get, http_scope, piece, respond, run
from tests.support.clients import MakeClient
from tests.support.waiting import PATIENCE
from tests.wsgi.calls import begin


async def bodies_end(receive: Any) -> int:
    """Read a body to its end, in how many bytes it came."""
    length, more = 0, True
    while more:
        message = await receive()
        assert message["type"] == "http.request"
        length += len(message.get("body", b""))
        more = message.get("more_body", False)
    return length


def test_R74_one_task_may_send_while_another_receives(make_client: MakeClient) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        lengths: list[int] = []

        async def read() -> None:
            lengths.append(await bodies_end(receive))

        await send(START)
        async with anyio.create_task_group() as group:
            group.start_soon(read)
            for _ in range(50):
                await send({"type": "http.response.body", "body": b".", "more_body": True})
        await send({"type": "http.response.body", "body": b"%d" % lengths[0]})

    root = App(mount_timeout=5)
    root.mount("/m", app)
    assert make_client(root).post("/m", content=b"x" * 500_000).content == 50 * b"." + b"500000"


class Talker:
    """Sends for ever in a task of its own, until it is told that the client has left; as Django's
    handler works.
    """

    def __init__(self, *, leaves: bool) -> None:
        self.leaves = leaves
        self.told: list[str] = []
        self.ended = threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await bodies_end(receive)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self.talk, send)
                self.told.append((await receive())["type"])
                await anyio.sleep(0.01 if self.leaves else 100)
                self.told.append("left")
                group.cancel_scope.cancel()
        finally:
            self.ended.set()

    async def talk(self, send: Any) -> None:
        await send(START)
        while True:
            await send({"type": "http.response.body", "body": b"a", "more_body": True})


@pytest.mark.parametrize(("method", "leaves"), [("GET", True), ("HEAD", True), ("HEAD", False)])
def test_R74_an_application_is_notified_of_a_disconnection_and_cancelled_if_it_continues(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, method: str, leaves: bool
) -> None:
    if not leaves:
        monkeypatch.setattr("micropie._core.mounts.asgi_call.LEAVE_WITHIN", 0.1)
    talker, root = Talker(leaves=leaves), App()
    root.mount("/m", talker)
    with make_client(root).stream(method, "/m") as answer:
        assert answer.status_code == 200
    assert talker.ended.wait(30)
    assert talker.told == ["http.disconnect", *["left"] * leaves]


class Connection:
    """What an application holds until its call is freed, such as a generator that has one."""


@pytest.mark.usefixtures("no_collector")
def test_R74_a_failure_because_the_client_has_left_keeps_nothing_of_the_application(
    make_client: MakeClient,
) -> None:
    freed = threading.Event()

    async def target(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        connection = Connection()
        weakref.finalize(connection, freed.set)
        await send(START)
        try:
            while True:
                await send({"type": "http.response.body", "body": b"a", "more_body": True})
        except OSError:  # as in Starlette, which leaves it to Python to close the generator
            raise RuntimeError("the client has left") from None

    root = App()
    root.mount("/m", target)
    client = make_client(root)
    with client.stream("GET", "/m") as answer:
        assert answer.status_code == 200
    del answer
    client.get("/missing")  # a loop lets go of its last call with its next one
    assert freed.wait(PATIENCE)


# -- servers that say so in other ways -------------------------------------------------------------


class Broken(Call):
    """Its ``send`` raises as soon as ``most`` messages are sent, as ASGI 2.4 wants it of a
    connection that is gone.
    """

    def __init__(self, most: int) -> None:
        super().__init__(piece(b""))
        self.most = most

    async def send(self, message: Any) -> None:
        if len(self.sent) == self.most:
            raise OSError("the connection is gone")
        self.sent.append(message)


class Endless:
    """A WSGI application that answers for ever; ``ended`` when its iterable was closed."""

    def __init__(self) -> None:
        self.ended = threading.Event()

    def __call__(self, environ: Any, start_response: Any) -> Iterator[bytes]:
        try:
            start_response("200 OK", [("Content-Type", "text/plain")])
            while True:
                yield b"a"
        finally:
            self.ended.set()


@pytest.mark.parametrize("most", [0, 1, 2, 5])
@pytest.mark.parametrize("make", [Endless, lambda: Talker(leaves=True)], ids=["wsgi", "asgi"])
def test_R74_a_failing_send_ends_the_application(backend: str, most: int, make: Any) -> None:
    target, root = make(), App()
    root.mount("/m", target)

    async def main() -> int:
        call = Broken(most)
        await root(http_scope("GET", "/m"), call.receive, call.send)
        return len(call.sent)

    assert run(backend, main) == most
    assert target.ended.wait(30)


@pytest.mark.parametrize("most", [1, 2, 3])
def test_R74_a_last_chunk_that_nobody_takes_is_no_failure_of_the_application(
    backend: str, most: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def target(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send(START)
        for more in (True, True, False):
            await send({"type": "http.response.body", "body": b"a", "more_body": more})

    reported: list[BaseException] = []
    root = App(on_error=reported.append)
    root.mount("/m", target)

    async def main() -> None:
        call = Broken(most)
        await root(http_scope("GET", "/m"), call.receive, call.send)
        await anyio.wait_all_tasks_blocked()

    run(backend, main)
    assert (reported, caplog.text) == ([], "")


def test_R74_an_application_that_never_responds_ends_when_the_client_disconnects(
    backend: str,
) -> None:
    ended = threading.Event()

    async def silent(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            ended.set()

    root = App()
    root.mount("/m", silent)

    async def main() -> list[Any]:
        call = Call(piece(b""))
        async with anyio.create_task_group() as group:
            group.start_soon(root, http_scope("GET", "/m"), call.receive, call.send)
            await anyio.wait_all_tasks_blocked()
            call.leave()
        return call.sent

    run(backend, main)
    assert ended.wait(30)


async def reads_on(scope: Any, receive: Any, send: Any) -> None:
    """Ends without an answer when it hears that the body won't come."""
    assert scope["type"] == "http"
    while (await receive())["type"] != "http.disconnect":
        pass


def test_R74_a_truncated_body_is_reported(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        try:
            environ["wsgi.input"].read()
        except OSError as error:  # what Werkzeug and Django look for
            told.append(str(error))
            raise
        raise AssertionError("a part was taken for the whole")

    root = App()
    root.mount("/w", wsgi)
    root.mount("/a", reads_on)
    for path in ("/w", "/a"):
        run(backend, get, root, path, "POST", piece(b"abc", more=True), DISCONNECT)
    assert told == ["the client disconnected before its request was complete"]
    assert not caplog.records  # it is nobody's mistake


def test_R74_a_truncated_body_under_wsgi_is_reported(
    backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    root = App(portal_backend=backend)
    root.mount("/a", reads_on)
    answer = begin(root, "POST", "/a", b"abc", CONTENT_LENGTH="100")
    assert (answer.status, answer.read()) == (400, b"The request's body ended too early.")
    assert not caplog.records
    root.wsgi_shutdown()


def test_R74_a_request_is_not_over_while_a_thread_reads_its_body(backend: str) -> None:
    reading, go_on = threading.Event(), threading.Event()

    class Input(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            reading.set()
            go_on.wait(30)
            return b"abc"

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        async with anyio.create_task_group() as group:
            group.start_soon(receive)
            await anyio.to_thread.run_sync(reading.wait)
            await respond(send, b"hello")

    root = App(portal_backend=backend)
    root.mount("/a", app)
    given: dict[str, Any] = {
        "wsgi.input": Input(),
        "wsgi.input_terminated": True,
        "HTTP_TRANSFER_ENCODING": "chunked",
    }
    answers: list[bytes] = []
    server = threading.Thread(
        target=lambda: answers.append(begin(root, "POST", "/a", **given).read())
    )
    server.start()
    assert reading.wait(30)
    server.join(0.05)
    assert server.is_alive()  # or it would read the next request from the same connection
    go_on.set()
    server.join(30)
    assert answers == [b"hello"]
    root.wsgi_shutdown()


def test_R67_an_application_that_blocks_all_its_threads_delays_no_other(backend: str) -> None:
    begun, go_on = threading.Semaphore(0), threading.Event()

    def blocks(environ: Any, start_response: Any) -> list[bytes]:
        begun.release()
        go_on.wait(30)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"blocked"]

    def other(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"other"]

    class Root(App):
        def handler(self) -> str:
            return "handler"

    root = Root(threads=2)
    root.mount("/m", blocks)
    root.mount("/other", other)
    answers: list[bytes] = []

    async def ask() -> None:
        answers.append((await get(root, "/m")).body)

    async def main() -> None:
        try:
            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(ask)
                for _ in range(2):
                    await anyio.to_thread.run_sync(begun.acquire)
                for path in ("handler", "other"):
                    assert (await get(root, f"/{path}")).body.decode() == path
                assert not begun.acquire(blocking=False)  # the third waits for a thread
                go_on.set()
        finally:
            go_on.set()

    run(backend, main)
    assert answers == 3 * [b"blocked"]
