"""PEP 3333 to the letter: start_response, the iterable, its closing, and whose request it is
meanwhile.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import micropie
from micropie import App, ClientDisconnect, post, reads_body
from micropie.middleware import Timeout
from tests.support.waiting import PATIENCE, until
from tests.wsgi.calls import begin, environ_for, get


class Root(App):
    def __init__(self) -> None:
        super().__init__()
        self.made = self.closed = 0

    def index(self) -> str:
        return "index"

    def odd(self) -> Any:
        return 299, "odd"

    def sync(self) -> Iterator[str]:
        try:
            for name in "abc":
                self.made += 1
                yield name + micropie.request.query("id", "")
        finally:
            self.closed += 1

    async def asynchronous(self) -> AsyncIterator[str]:
        try:
            for name in "abc":
                self.made += 1
                yield name + micropie.request.query("id", "")
        finally:
            self.closed += 1


@pytest.fixture(params=["/sync", "/asynchronous"])
def path(request: pytest.FixtureRequest) -> str:
    """The path of a stream of each kind."""
    chosen: str = request.param
    return chosen


def test_a_fixed_body_is_one_chunk() -> None:
    answer = begin(Root())
    assert list(answer.chunks) == [b"index"]


def test_a_status_without_a_known_phrase_still_has_one() -> None:
    lines: list[str] = []
    Root()(environ_for("GET", "/odd"), lambda status, headers: lines.append(status))
    assert lines == ["299 Status 299"]


def test_header_names_and_values_are_plain_text() -> None:
    pairs: list[Any] = []
    Root()(environ_for(), lambda status, headers: pairs.extend(headers))
    assert {type(text) for pair in pairs for text in pair} == {str}
    assert {type(pair) for pair in pairs} == {tuple}


def test_chunks_are_produced_when_they_are_requested(path: str) -> None:
    app = Root()
    answer = begin(app, "GET", path)
    chunks = iter(answer.chunks)
    assert (next(chunks), app.made) == (b"a", 1)
    assert next(chunks).startswith(b"b")  # and what the background loop has made ahead
    assert app.made == 2 or path == "/asynchronous"
    answer.close()
    assert app.closed == 1


def test_closing_twice_closes_once(path: str) -> None:
    app = Root()
    answer = begin(app, "GET", path)
    answer.close()
    answer.close()
    assert app.closed == 1


@pytest.mark.parametrize("target", ["/", "/none", "/sync", "/asynchronous", "/broken"])
def test_middleware_may_close_the_iterator_alone(target: str) -> None:
    """Middleware of ddtrace does so."""
    ended: list[str] = []

    def note_end(request: micropie.Request) -> Iterator[None]:
        request.on_close(lambda: ended.append(request.path))
        yield

    class Ending(Root):
        async def none(self) -> AsyncIterator[str]:
            for name in "":
                yield name

        def broken(self) -> Iterator[str]:
            yield "a"
            raise ValueError

    app = Ending()
    app.middlewares.append(note_end)
    chunks: Any = iter(begin(app, "GET", target).chunks)
    next(chunks, None)
    assert ended == []
    chunks.close()
    assert ended == [target]
    chunks.close()
    assert ended == [target]


def test_a_closed_response_yields_no_more_chunks(path: str) -> None:
    answer = begin(Root(), "GET", path)
    chunks = iter(answer.chunks)
    next(chunks)
    answer.close()
    assert list(chunks) == []


def test_an_ended_response_stays_ended(path: str) -> None:
    answer = begin(Root(), "GET", path)
    chunks = iter(answer.chunks)
    assert b"".join(chunks) == b"abc"
    assert list(chunks) == []
    answer.close()


def test_a_server_that_never_closes_leaks_as_little_as_possible(path: str) -> None:
    app = Root()
    assert b"".join(begin(app, "GET", path).chunks) == b"abc"
    assert app.closed == 1


def test_R68_interleaved_chunks_see_their_own_request(path: str) -> None:
    answers = [begin(Root(), "GET", f"{path}?id={number}") for number in range(5)]
    streams = [iter(answer.chunks) for answer in answers]
    rounds = [[next(stream, b"").decode() for stream in streams] for _ in range(3)]
    assert [*map("".join, zip(*rounds, strict=True))] == [f"a{n}b{n}c{n}" for n in range(5)]
    with pytest.raises(LookupError):
        micropie.request.path  # noqa: B018
    for answer in answers:
        answer.close()


def test_each_chunk_may_be_requested_by_another_thread(path: str) -> None:
    answer = begin(Root(), "GET", f"{path}?id=1")
    seen, chunks = [], iter(answer.chunks)
    for _ in range(3):
        with ThreadPoolExecutor(1) as thread:
            seen.append(thread.submit(next, chunks, b"").result())
    assert b"".join(seen) == b"a1b1c1"
    with ThreadPoolExecutor(1) as thread:
        thread.submit(answer.close).result()


def test_a_failing_start_response_closes_the_stream(path: str) -> None:
    app = Root()

    def start_response(*_: Any) -> Any:
        raise ConnectionError("the server's")

    with pytest.raises(ConnectionError):
        app(environ_for("GET", path), start_response)
    assert app.closed == 1


def test_the_server_s_environ_is_not_changed() -> None:
    seen: list[Any] = []

    class Looks(App):
        def index(self) -> None:
            seen.append(self.request.environ)

    environ = environ_for(path="/?a=1")
    before = dict(environ)
    Looks()(environ, lambda *_: None)
    assert seen[0] is environ
    assert environ.pop("micropie.route").name == "index"  # for tools around the application
    assert environ == before


@pytest.mark.parametrize(
    "missing", ["PATH_INFO", "SCRIPT_NAME", "QUERY_STRING", "REMOTE_ADDR", "HTTP_HOST"]
)
def test_an_environ_may_omit_optional_keys(missing: str) -> None:
    class Looks(App):
        def index(self) -> Any:
            request = self.request
            return [
                request.url,
                request.root_path,
                request.client,
                request.query_params,
                request.path,
            ]

    app = Looks()
    environ = environ_for()
    del environ[missing]
    statuses: list[str] = []
    body = b"".join(app(environ, lambda status, headers: statuses.append(status)))
    assert statuses == ["200 OK"]
    host = b"localhost" if missing == "HTTP_HOST" else b"testserver"
    assert b'["http://%s/' % host in body


def test_a_client_may_have_no_port() -> None:
    """In an environ of CGI, and for waitress, behind a Unix socket."""

    class Looks(App):
        def index(self) -> Any:
            return self.request.client

    assert get(Looks(), REMOTE_PORT="") == (200, b'["127.0.0.1",0]')
    assert get(Looks(), REMOTE_ADDR="localhost", REMOTE_PORT="None") == (200, b'["localhost",0]')


def test_a_server_may_have_no_port() -> None:
    """Behind a Unix socket; waitress passes the path of the socket."""

    class Looks(App):
        def index(self) -> Any:
            return self.request.scope["server"]

    for port in ("/run/app.sock", "", "80"):
        expected = f'["testserver",{port if port.isdecimal() else 0}]'
        assert get(Looks(), SERVER_PORT=port) == (200, expected.encode())


def test_a_path_of_bytes_decoded_as_latin_1_is_supported() -> None:
    class Looks(App):
        def default(self, *segments: str) -> Any:
            return [self.request.path, *segments]

    assert get(Looks(), "/Ã©")[1].decode() == '["/é","é"]'
    assert get(Looks(), "/\xff")[0] == 400


def test_many_threads_share_an_application() -> None:
    app, barrier = Root(), threading.Barrier(8)

    def one(_: int) -> list[Any]:
        barrier.wait(30)
        return [get(app, path) for path in ("/", "/sync", "/asynchronous", "/nowhere")]

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(one, range(8)))
    assert [[status for status, _ in answer] for answer in answers] == [[200, 200, 200, 404]] * 8


def test_servers_can_recognise_the_protocol() -> None:
    app = Root()
    assert inspect.iscoroutinefunction(app.__call__)
    assert not inspect.iscoroutinefunction(type(app).__call__)


@pytest.mark.parametrize("waits", [False, True])
def test_chunks_before_a_failure_are_sent(waits: bool, caplog: pytest.LogCaptureFixture) -> None:
    class Fails(App):
        async def never_waiting(self) -> Any:
            for text in ("a", "b", "", "c"):
                yield text
            raise ValueError("too late")

        async def waiting(self) -> Any:
            for text in ("a", "b", "", "c"):
                await anyio.lowlevel.checkpoint()
                yield text
            raise ValueError("too late")

    chunks = iter(begin(Fails(), "GET", "/waiting" if waits else "/never_waiting").chunks)
    received = [next(chunks)]
    with pytest.raises(ValueError, match="too late"):
        received += iter(chunks)
    assert b"".join(received) == b"abc"
    assert "failed after the response had started" in caplog.text


class SlowInput:
    """A body of two pieces. The second comes when ``comes`` is set."""

    def __init__(self, log: list[str]) -> None:
        self._log = log
        self._is_first = True
        self.waits, self.comes = threading.Event(), threading.Event()

    def read(self, size: int) -> bytes:
        if self._is_first:
            self._is_first = False
            return b"1"
        self.waits.set()
        assert self.comes.wait(PATIENCE)
        self._log.append("has read")
        return b"2"


class Slow(App):
    """Handlers that read a slow body. The time that they may take ends meanwhile."""

    def __init__(self) -> None:
        super().__init__(mount_timeout=0.01)  # the time in which the client sends doesn't count
        self.log: list[str] = []
        self.is_closing = threading.Event()
        self.mount("/mounted", self.as_asgi)
        self.middlewares += [Timeout(0.05), self.note_end]

    def note_end(self, request: micropie.Request) -> Iterator[None]:
        request.on_close(self.is_closing.set)
        yield

    @reads_body
    @post
    def threaded(self) -> None:
        try:
            for _ in self.request.chunks():
                pass
        except ClientDisconnect as error:
            self.log.append(str(error))

    @reads_body
    @post
    async def awaited(self) -> None:
        await self.request.body()

    async def as_asgi(self, scope: Any, receive: Any, send: Any) -> None:
        while scope["type"] == "http":
            message = await receive()
            self.log.append(message.get("body", b"disconnect").decode())


@pytest.mark.parametrize("path", ["/threaded", "/awaited", "/mounted"])
def test_a_timeout_cuts_a_slow_body_and_nothing_reads_from_the_next_request(path: str) -> None:
    """A server reads the next request from the same socket when it has closed a response."""
    app = Slow()
    given = SlowInput(app.log)

    def send_rest() -> None:
        assert given.waits.wait(PATIENCE)
        assert app.is_closing.wait(PATIENCE)
        given.comes.set()

    client = threading.Thread(target=send_rest)
    client.start()
    answer = begin(app, "POST", path, **{"CONTENT_LENGTH": "100000", "wsgi.input": given})
    assert answer.status == 503
    answer.close()
    app.log.append("is closed")
    client.join()
    end = {"/threaded": "the request has ended", "/awaited": "has read", "/mounted": "disconnect"}
    until(lambda: end[path] in app.log)
    assert app.log.index("has read") < app.log.index("is closed")


def test_a_piece_that_arrives_after_a_cancelled_receive_is_not_lost() -> None:
    given = SlowInput([])

    async def waits_twice(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        pieces = [(await receive())["body"]]
        while not given.waits.is_set():
            with anyio.move_on_after(0.001):
                pieces.append((await receive())["body"])
        given.comes.set()
        pieces.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b" ".join(pieces)})

    app = App()
    app.mount("/", waits_twice, kind="asgi")
    answer = begin(app, "POST", **{"CONTENT_LENGTH": "100000", "wsgi.input": given})
    assert (answer.status, answer.read()) == (200, b"1 2")
