"""What goes wrong in bridges between WSGI and ASGI, asked of ours and of those of others, by
``mount(..., bridge=...)``. The table of ``BRIDGES.md`` is the result of these cases.

``FAILS`` has the cases that a bridge is known to fail. One of them that it passes is a failure,
too, so the numbers of the page are what was found.
"""

from __future__ import annotations

import asyncio
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import a2wsgi
import anyio
import pytest
import sniffio
from asgiref.sync import SyncToAsync
from asgiref.wsgi import WsgiToAsgi

from micropie import App
from micropie._core.streams import BYTES_AHEAD
from micropie.testing import TestClient
from tests.asgi.calls import Call, get, http_scope, piece, run
from tests.support.waiting import PATIENCE, until, until_async
from tests.wsgi.calls import begin

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it is to be removed from Starlette one day
    from starlette.middleware.wsgi import WSGIMiddleware

# Seconds that a case waits for what this bridge is known not to do.
SOON = 1.0


@dataclass
class Bridge:
    """A bridge and the event loop that it runs on; ``make`` is None for our own."""

    make: Any
    server: Literal["asgi", "wsgi"]
    backend: str
    clients: ExitStack = field(default_factory=ExitStack)
    soon: float = PATIENCE
    """Seconds that a case waits for what the bridge should do."""

    def site(self, target: Any) -> App:
        """Return an application with ``target`` at /m."""
        app = App(portal_backend=self.backend)
        app.mount(
            "/m", target, bridge=self.made if self.make is a2wsgi.ASGIMiddleware else self.make
        )
        return app

    def made(self, target: Any) -> Any:
        """Return a2wsgi's bridge around ``target``, whose calls end with the case."""
        bridge = self.make(target)
        self.clients.callback(end_tasks, bridge.loop)
        return bridge

    def client(self, target: Any) -> TestClient:
        options: dict[str, Any] = {"backend": self.backend} if self.server == "asgi" else {}
        client = TestClient(
            self.site(target),
            protocol=self.server,
            raise_app_exceptions=False,
            app_timeout=PATIENCE,
            **options,
        )
        return self.clients.enter_context(client)


def end_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel the tasks of a loop. One that waits for ever would be destroyed, and then reported by
    asyncio, during another test.
    """

    async def cancel() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.wait([*others, asyncio.ensure_future(asyncio.sleep(0))], timeout=SOON)

    asyncio.run_coroutine_threadsafe(cancel(), loop).result(PATIENCE)


# -- a WSGI application under ASGI -----------------------------------------------------------------


def text_head(start_response: Any) -> Any:
    return start_response("200 OK", [("Content-Type", "text/plain")])


def one_thread(bridge: Bridge) -> None:
    threads: set[int] = set()

    class Chunks:
        def __iter__(self) -> Iterator[bytes]:
            for chunk in (b"a", b"b", b"c"):
                threads.add(threading.get_ident())
                yield chunk

        def close(self) -> None:
            threads.add(threading.get_ident())

    def app(environ: Any, start_response: Any) -> Any:
        threads.add(threading.get_ident())
        text_head(start_response)
        return Chunks()

    assert bridge.client(app).get("/m").text == "abc"
    assert len(threads) == 1


def no_start_response(bridge: Bridge) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        return [b"a"]

    assert bridge.client(app).get("/m").status_code == 500


def start_response_twice(bridge: Bridge) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        text_head(start_response)
        text_head(start_response)
        return [b"a"]

    assert bridge.client(app).get("/m").status_code == 500


def late_start_response(bridge: Bridge) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        text_head(start_response)
        yield b"late"

    assert bridge.client(app).get("/m").text == "late"


def write_before_the_iterable(bridge: Bridge) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])(b"1")
        return [b"2"]

    assert bridge.client(app).get("/m").text == "12"


def headers_with_underscores(bridge: Bridge) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        text_head(start_response)
        return [repr(sorted(environ)).encode()]

    assert "X_EVIL" not in bridge.client(app).get("/m", headers={"X_Evil": "1"}).text


def header_proxy(bridge: Bridge) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        text_head(start_response)
        return [repr(sorted(environ)).encode()]

    assert "HTTP_PROXY" not in bridge.client(app).get("/m", headers={"Proxy": "1"}).text


def lines_of_a_chunked_body(bridge: Bridge) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        text_head(start_response)
        body = environ["wsgi.input"]
        return [body.readline(10) + b"|" + b"|".join(body)]

    assert bridge.client(app).post("/m", content=iter([b"a\nb", b"\nc"])).text == "a\n|b\n|c"


def path_that_is_no_utf8(bridge: Bridge) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        text_head(start_response)
        return [environ["PATH_INFO"].encode("latin-1")]

    assert bridge.client(app).get("/m/%FF").content == b"/\xff"


def status_without_a_reason(bridge: Bridge) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200", [("Content-Type", "text/plain")])
        return [b"a"]

    assert bridge.client(app).get("/m").text == "a"


def close_of_an_empty_iterable(bridge: Bridge) -> None:
    closed: list[bool] = []

    class Chunks(list[bytes]):
        def close(self) -> None:
            closed.append(True)

    def app(environ: Any, start_response: Any) -> Any:
        text_head(start_response)
        return Chunks()

    assert bridge.client(app).get("/m").content == b""
    until(lambda: closed, bridge.soon)  # ours is closed when the client has its answer
    assert closed == [True]


def close_after_an_exception(bridge: Bridge) -> None:
    """The answer breaks off, which must not look like its end."""
    closed: list[bool] = []

    class Chunks:
        def __iter__(self) -> Iterator[bytes]:
            yield from (b"a", b"b", b"c")
            raise ValueError("of the application")

        def close(self) -> None:
            closed.append(True)

    def app(environ: Any, start_response: Any) -> Any:
        text_head(start_response)
        return Chunks()

    call = Call(piece(b""))
    with suppress(Exception, BaseExceptionGroup):
        run(bridge.backend, bridge.site(app), http_scope("GET", "/m"), call.receive, call.send)
    assert call.sent
    assert not call.is_complete
    until(lambda: closed, bridge.soon)
    assert closed == [True]


def exception_before_the_head(bridge: Bridge) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        raise ValueError("of the application")

    answer = bridge.client(app).get("/m")
    assert answer.status_code == 500


def exc_info_before_the_first_byte(bridge: Bridge) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        text_head(start_response)
        error = ValueError("oh")
        start_response("500 Oh", [("Content-Type", "text/html")], (ValueError, error, None))
        return [b"page"]

    answer = bridge.client(app).get("/m")
    assert (answer.status_code, answer.text) == (500, "page")


def exc_info_after_the_first_byte(bridge: Bridge) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        text_head(start_response)
        yield b"a"
        yield b"b"
        error = ValueError("too late")
        start_response("500 Oh", [], (ValueError, error, None))
        yield b"never"

    call = Call(piece(b""))
    with suppress(Exception, BaseExceptionGroup):
        run(bridge.backend, bridge.site(app), http_scope("GET", "/m"), call.receive, call.send)
    assert call.status == 200
    assert not call.is_complete
    assert b"never" not in call.body


def head_keeps_its_length(bridge: Bridge) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
        return []

    answer = bridge.client(app).head("/m")
    assert (answer.status_code, answer.headers["content-length"]) == (200, "5")


def headers_twice(bridge: Bridge) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        pairs = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]
        start_response("200 OK", [("Content-Type", "text/plain"), *pairs])
        return [environ["HTTP_X_PIE"].replace(" ", "").encode()]

    answer = bridge.client(app).get("/m", headers=[("X-Pie", "1"), ("X-Pie", "2")])
    assert (answer.text, answer.headers.get_list("set-cookie")) == ("1,2", ["a=1", "b=2"])


def cookies_twice(bridge: Bridge) -> None:
    """Under HTTP/2 a client may send its cookies in several headers: RFC 9113, section 8.2.3."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        text_head(start_response)
        return [environ["HTTP_COOKIE"].encode()]

    headers = [(b"host", b"testserver"), (b"cookie", b"a=1"), (b"cookie", b"b=2")]
    changes = {"http_version": "2", "headers": headers}
    assert run(bridge.backend, _asked, bridge.site(app), changes) == b"a=1; b=2"


async def _asked(site: App, changes: dict[str, Any]) -> bytes:
    return (await get(site, "/m", **changes)).body


def answer_chunk_by_chunk(bridge: Bridge) -> None:
    """Each chunk is at the client before the application makes the next but two."""
    arrived = threading.Semaphore(3)

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        text_head(start_response)
        for _ in range(5):
            assert arrived.acquire(timeout=bridge.soon)
            yield b"a"

    with bridge.client(app).stream("GET", "/m") as answer:
        for chunk in answer.iter_raw():
            for _ in chunk:
                arrived.release()
    assert arrived.acquire(blocking=False)


def input_as_it_arrives(bridge: Bridge) -> None:
    """The application reads a large body while it arrives: no more of it is kept."""
    ahead: list[int] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        for number in range(32):
            assert len(environ["wsgi.input"].read(65536)) == 65536
            ahead.append(call.received - number)
        text_head(start_response)
        return [b""]

    call = Call(*(piece(bytes(65536), more=number < 31) for number in range(32)))
    scope = http_scope("POST", "/m", headers=[(b"content-length", b"%d" % (32 * 65536))])
    run(bridge.backend, bridge.site(app), scope, call.receive, call.send)
    assert max(ahead) <= 2 * (BYTES_AHEAD // 65536 + 1)


def answer_before_the_body(bridge: Bridge) -> None:
    """The application refuses a body that has not arrived."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("413 Content Too Large", [("Content-Type", "text/plain")])
        return [b"too large"]

    async def ask() -> bool:
        call, ended = Call(piece(b"a", more=True)), anyio.Event()
        scope = http_scope("POST", "/m", headers=[(b"content-length", b"1000000")])

        async def answer() -> None:
            with suppress(Exception):
                await site(scope, call.receive, call.send)
            ended.set()

        site = bridge.site(app)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answer)
            with anyio.move_on_after(bridge.soon):
                await ended.wait()
            is_answered = call.is_complete and call.status == 413
            call.leave()
        return is_answered

    assert run(bridge.backend, ask)


def client_that_leaves(bridge: Bridge) -> None:
    """An endless answer is closed when its client has left."""
    closed = threading.Event()

    class Chunks:
        def __iter__(self) -> Iterator[bytes]:
            for _ in range(100_000):
                yield b"a"

        def close(self) -> None:
            closed.set()

    def app(environ: Any, start_response: Any) -> Any:
        text_head(start_response)
        return Chunks()

    async def ask() -> bool:
        async def send(message: Any) -> None:
            if message.get("body"):
                raise OSError("the client disconnected")

        with suppress(Exception, BaseExceptionGroup):
            await bridge.site(app)(http_scope("GET", "/m"), Call(piece(b"")).receive, send)
        with anyio.move_on_after(bridge.soon):
            await until_async(closed.is_set)
        return closed.is_set()

    assert run(bridge.backend, ask)


def slow_client(bridge: Bridge) -> None:
    """A fast application does not fill the memory while its client reads slowly."""
    made: list[int] = []

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        text_head(start_response)
        for number in range(60):
            made.append(number)
            yield bytes(65536)

    async def ask() -> int:
        most: list[int] = []

        async def send(message: Any) -> None:
            if message.get("body") and not most:
                with anyio.move_on_after(SOON):
                    await until_async(lambda: len(made) == 60)
                most.append(len(made))

        await bridge.site(app)(http_scope("GET", "/m"), Call(piece(b"")).receive, send)
        return most[0]

    assert run(bridge.backend, ask) < 30


def requests_in_parallel(bridge: Bridge) -> None:
    """A hundred requests, of which four must run at the same time."""
    together = threading.Barrier(4)

    def app(environ: Any, start_response: Any) -> list[bytes]:
        together.wait(bridge.soon)
        text_head(start_response)
        return [environ["PATH_INFO"].encode()]

    async def ask() -> None:
        site, answers = bridge.site(app), {}

        async def one(number: int) -> None:
            answers[number] = (await get(site, f"/m/{number}")).body

        async with anyio.create_task_group() as tasks:
            for number in range(100):
                tasks.start_soon(one, number)
        assert answers == {number: b"/%d" % number for number in range(100)}

    run(bridge.backend, ask)


# -- an ASGI application under WSGI ----------------------------------------------------------------


Asgi = Callable[[Any, Any, Any], Any]


async def head(send: Any, status: int = 200, *headers: tuple[bytes, bytes]) -> None:
    pairs = [(b"content-type", b"text/plain"), *headers]
    await send({"type": "http.response.start", "status": status, "headers": pairs})


async def chunk(send: Any, body: bytes, *, more: bool = False) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


def asgi_chunk_by_chunk(bridge: Bridge) -> None:
    arrived = threading.Semaphore(2)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await head(send)
        for _ in range(5):
            with anyio.move_on_after(bridge.soon):
                await until_async(lambda: arrived.acquire(blocking=False))
                await chunk(send, b"a", more=True)
        await chunk(send, b"")

    length = 0
    for data in begin(bridge.site(app), path="/m").chunks:
        length += len(data)
        arrived.release(len(data)) if data else None
    assert length == 5


def asgi_body_in_pieces(bridge: Bridge) -> None:
    read: list[int] = []
    ahead: list[int] = []

    class Input:
        def read(self, size: int = -1) -> bytes:
            size = min(size if size >= 0 else 1 << 21, (1 << 21) - sum(read))
            read.append(size)
            return bytes(size)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        taken, more = 0, True
        while more:
            message = await receive()
            more = message["more_body"]
            ahead.append(sum(read) - taken)
            taken += len(message["body"])
        await head(send)
        await chunk(send, b"%d" % taken)

    changes = {"wsgi.input": Input(), "CONTENT_LENGTH": str(1 << 21)}
    assert begin(bridge.site(app), "POST", "/m", **changes).read() == b"%d" % (1 << 21)
    assert max(ahead) <= 1 << 18


def asgi_body_without_a_length(bridge: Bridge) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        await head(send)
        await chunk(send, body)

    assert bridge.client(app).post("/m", content=iter([b"a", b"b"])).text == "ab"


def asgi_answer_before_the_body(bridge: Bridge) -> None:
    class Input:
        size = 0

        def read(self, size: int = -1) -> bytes:
            size = size if size >= 0 else 1 << 20
            self.size += size
            return bytes(size)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await head(send, 413)
        await chunk(send, b"too large")

    unread = Input()
    changes = {"wsgi.input": unread, "CONTENT_LENGTH": str(1 << 20)}
    answer = begin(bridge.site(app), "POST", "/m", **changes)
    assert (answer.status, answer.read()) == (413, b"too large")
    assert unread.size <= 65536


def asgi_slow_client(bridge: Bridge) -> None:
    """The bytes ahead are limited twice: by the call, and by the task that takes its chunks."""
    made: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await head(send)
        for number in range(60):
            made.append(number)
            await chunk(send, bytes(65536), more=True)
        await chunk(send, b"")

    taken, ahead = 0, []
    for data in begin(bridge.site(app), path="/m").chunks:
        taken += bool(data)
        ahead.append(len(made) - taken)
    assert taken == 60
    assert max(ahead) <= 2 * (BYTES_AHEAD // 65536 + 1)


def asgi_client_that_leaves(bridge: Bridge) -> None:
    told: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await head(send)
        await chunk(send, b"a", more=True)
        with anyio.move_on_after(2 * bridge.soon):
            told.append((await receive())["type"])

    answer = begin(bridge.site(app), path="/m")
    assert any(answer.chunks)
    answer.close()
    until(lambda: told, bridge.soon)
    assert told == ["http.disconnect"]


def asgi_exception_before_the_head(bridge: Bridge) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("of the application")

    answer = bridge.client(app).get("/m")
    assert answer.status_code == 500


def asgi_exception_in_the_middle(bridge: Bridge) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await head(send)
        await chunk(send, b"a", more=True)
        await chunk(send, b"b", more=True)
        raise ValueError("of the application")

    answer = begin(bridge.site(app), path="/m")
    with pytest.raises(ValueError, match="of the application"):
        answer.read()


def asgi_head_keeps_its_length(bridge: Bridge) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await head(send, 200, (b"content-length", b"5"))
        await chunk(send, b"")

    assert bridge.client(app).head("/m").headers["content-length"] == "5"


def asgi_headers_twice(bridge: Bridge) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await head(send, 299, (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"))
        await chunk(send, b"")

    answer = bridge.client(app).get("/m")
    assert (answer.status_code, answer.headers.get_list("set-cookie")) == (299, ["a=1", "b=2"])


def asgi_head_without_headers(bridge: Bridge) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await chunk(send, b"a")

    assert bridge.client(app).get("/m").text == "a"


def asgi_path_that_is_no_utf8(bridge: Bridge) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await head(send)
        await chunk(send, scope["raw_path"])

    assert bridge.client(app).get("/m/%FF").text == "/m/%FF"


def asgi_lifespan_and_its_state(bridge: Bridge) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            scope["state"]["pie"] = b"apple"
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        await head(send)
        await chunk(send, scope["state"]["pie"])

    assert bridge.client(app).get("/m").text == "apple"


def asgi_work_after_the_answer(bridge: Bridge) -> None:
    """The client does not wait for what follows its answer."""
    has_answer, was_free = threading.Event(), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await head(send)
        await chunk(send, b"a")
        with anyio.move_on_after(bridge.soon):
            await until_async(has_answer.is_set)
        was_free.append(has_answer.is_set())

    assert begin(bridge.site(app), path="/m").read() == b"a"
    has_answer.set()
    until(lambda: was_free)
    assert was_free == [True]


def asgi_requests_in_parallel(bridge: Bridge) -> None:
    inside: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        inside.append(1)
        await until_async(lambda: len(inside) >= 4)
        await head(send)
        await chunk(send, scope["path"].encode())

    site = bridge.site(app)
    with ThreadPoolExecutor(8) as pool:
        paths = [f"/m/{number}" for number in range(100)]
        answers = pool.map(lambda path: begin(site, path=path).read(), paths)
        assert [*answers] == [path.encode() for path in paths]


# -- the table -------------------------------------------------------------------------------------

CASES: dict[str, list[Callable[[Bridge], None]]] = {"asgi": [], "wsgi": []}
for name, case in [*globals().items()]:
    if getattr(case, "__annotations__", {}).keys() == {"bridge", "return"}:
        CASES["wsgi" if name.startswith("asgi_") else "asgi"].append(case)

OURS = "micropie's own"
# By the server's protocol, and by the name on the page.
BRIDGES: dict[str, dict[str, Any]] = {
    "asgi": {
        OURS: None,
        "`a2wsgi.WSGIMiddleware`": a2wsgi.WSGIMiddleware,
        "`asgiref.wsgi.WsgiToAsgi`": WsgiToAsgi,
        "`starlette.middleware.wsgi.WSGIMiddleware`": WSGIMiddleware,
    },
    "wsgi": {OURS: None, "`a2wsgi.ASGIMiddleware`": a2wsgi.ASGIMiddleware},
}
ASYNCIO_ALONE = {a2wsgi.WSGIMiddleware, WsgiToAsgi, a2wsgi.ASGIMiddleware}
FAILS: dict[Any, str] = {
    None: "",
    a2wsgi.WSGIMiddleware: """
        start_response_twice headers_with_underscores header_proxy lines_of_a_chunked_body
        path_that_is_no_utf8 status_without_a_reason exc_info_before_the_first_byte
        exc_info_after_the_first_byte cookies_twice client_that_leaves""",
    WsgiToAsgi: """
        write_before_the_iterable headers_with_underscores header_proxy path_that_is_no_utf8
        status_without_a_reason close_of_an_empty_iterable close_after_an_exception cookies_twice
        input_as_it_arrives answer_before_the_body client_that_leaves requests_in_parallel""",
    WSGIMiddleware: """
        start_response_twice write_before_the_iterable headers_with_underscores header_proxy
        path_that_is_no_utf8 status_without_a_reason close_of_an_empty_iterable
        close_after_an_exception exc_info_before_the_first_byte exc_info_after_the_first_byte
        cookies_twice input_as_it_arrives answer_before_the_body client_that_leaves slow_client""",
    a2wsgi.ASGIMiddleware: """
        asgi_body_without_a_length asgi_client_that_leaves asgi_exception_in_the_middle
        asgi_head_without_headers asgi_path_that_is_no_utf8 asgi_lifespan_and_its_state
        asgi_work_after_the_answer""",
}
# Which of two threads comes first decides whether these fail.
BY_CHANCE = {"asgi_exception_in_the_middle", "slow_client"}
EVERY = [
    (server, make, backend)
    for server, bridges in BRIDGES.items()
    for make in bridges.values()
    for backend in ("asyncio", "trio")
]


def answers_at_all(bridge: Bridge) -> None:
    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        text_head(start_response)
        return [b"a"]

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        await head(send)
        await chunk(send, sniffio.current_async_library().encode())

    target = wsgi if bridge.server == "asgi" else asgi
    expected = "a" if bridge.server == "asgi" else bridge.backend
    assert bridge.client(target).get("/m").text == expected


def cases_of(server: str, make: Any, backend: str) -> list[Any]:
    """Return the cases to run for a bridge; those that it is known to fail must do so."""
    if backend == "trio" and make in ASYNCIO_ALONE:
        return [pytest.param(answers_at_all, marks=[pytest.mark.xfail(strict=True)])]
    fails = FAILS[make].split()
    return [
        pytest.param(
            case,
            marks=[pytest.mark.xfail(strict=case.__name__ not in BY_CHANCE)]
            * (case.__name__ in fails),
        )
        for case in [answers_at_all, *CASES[server]]
    ]


@pytest.mark.parametrize(
    ("server", "make", "backend", "case"),
    [
        pytest.param(*one, *case.values, marks=case.marks)
        for one in EVERY
        for case in cases_of(*one)
    ],
)
def test_R74_bridges_behave_as_the_table_says(
    server: Literal["asgi", "wsgi"],
    make: Any,
    backend: str,
    case: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # asgiref has one thread for all applications. If a client has left, the thread may wait for a
    # loop that has ended, and the next case would wait for the thread.
    executor = ThreadPoolExecutor(1)
    monkeypatch.setattr(SyncToAsync, "single_thread_executor", executor)
    with ExitStack() as clients:
        clients.callback(executor.shutdown, wait=False)
        fails = case.__name__ in FAILS[make].split()
        case(Bridge(make, server, backend, clients, SOON if fails else PATIENCE))


def test_the_table_of_the_page_matches_the_measured_behaviour() -> None:
    names = {case.__name__ for cases in CASES.values() for case in cases}
    assert names.issuperset(" ".join(FAILS.values()).split())
    rows = []
    for server, bridges in BRIDGES.items():
        every = len(CASES[server])
        way = "WSGI under ASGI" if server == "asgi" else "ASGI under WSGI"
        for name, make in bridges.items():
            holds = every - len(FAILS[make].split())
            on_trio = 0 if make in ASYNCIO_ALONE else holds
            rows.append(f"| {way} | {name} | {holds} of {every} | {on_trio} of {every} |")
    page = Path(__file__).with_name("BRIDGES.md").read_text()
    assert [line for line in page.splitlines() if re.match(r"\| (WSGI|ASGI) under", line)] == rows
