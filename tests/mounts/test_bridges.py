"""Any WSGI and any ASGI application below a prefix, under every protocol: what goes wrong in
bridges, and what PEP 3333 allows.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from io import BufferedReader, BytesIO, TextIOWrapper
from shutil import copyfileobj
from typing import Any

import anyio
import anyio.to_thread
import pytest

from micropie import App, HttpMiddleware
from micropie._core.mounts import WSGICall
from micropie.testing import TestClient
from tests.asgi.calls import START, get, run
from tests.support.clients import MakeClient
from tests.support.waiting import PATIENCE, until
from tests.wsgi.calls import environ_for
from tests.wsgi.calls import get as ask

NAME: ContextVar[str] = ContextVar("name", default="nobody")


class Looks(HttpMiddleware):
    """A hook that keeps what it was shown."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, list[tuple[str, str]]]] = []

    def before_request(self, request: Any) -> None:
        NAME.set("hook")

    def after_request(
        self, request: Any, status_code: int, response_body: Any, extra_headers: Any
    ) -> None:
        self.seen.append((status_code, list(extra_headers)))
        extra_headers.append(("X-Looked", "yes"))


class Root(App):
    def index(self) -> str:
        return "root"


def below(target: Any, *hooks: Any, **settings: Any) -> Root:
    root = Root(**settings)
    root.mount("/m", target)
    root.middlewares.extend(hooks)
    return root


def hang_guard(client: TestClient, path: str, **options: Any) -> Any:
    return client.get(path, timeout=30, **options)


# -- WSGI ------------------------------------------------------------------------------------------


def echo(environ: Any, start_response: Any) -> list[bytes]:
    start_response(
        "200 OK", [("Content-Type", "text/plain"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]
    )
    return [environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))]


def test_a_response_of_one_piece_is_sent(make_client: MakeClient) -> None:
    looks = Looks()
    client = make_client(below(echo, looks))
    answer = client.post("/m", content=b"hello")
    assert (answer.status_code, answer.content) == (200, b"hello")
    assert answer.headers["x-looked"] == "yes"
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert answer.headers["content-type"] == "text/plain"
    assert looks.seen[0][0] == 200


class Closing:
    """An iterable that tells which threads it ran in."""

    def __init__(self, chunks: list[bytes], threads: list[int]) -> None:
        self.chunks, self.threads = iter(chunks), threads

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self.threads.append(threading.get_ident())
        return next(self.chunks)

    def close(self) -> None:
        self.threads.append(threading.get_ident())
        self.threads.append(0)


def test_R74_call_iteration_and_close_run_in_one_thread(
    make_client: MakeClient, world: str
) -> None:
    threads: list[int] = []

    def app(environ: Any, start_response: Any) -> Any:
        threads.append(threading.get_ident())
        start_response("200 OK", [("Content-Type", "text/plain")])
        return Closing([b"a", b"", b"b"], threads)

    assert make_client(below(app)).get("/m").content == b"ab"
    until(lambda: 0 in threads)  # no client waits for the end of close()
    assert len(set(threads[:-1])) == 1
    assert threads[-1] == 0
    assert threads.count(0) == 1
    assert len(threads) == 7  # the call, four chunks and the end, close


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_start_response_may_be_called_late(make_client: MakeClient, method: str) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("201 Made", [("Content-Type", "text/plain"), ("X-Late", "yes")])
        yield b"a"
        yield b"b"

    answer = make_client(below(app)).request(method, "/m")
    assert (answer.status_code, answer.headers["x-late"]) == (201, "yes")
    assert answer.content == (b"ab" if method == "GET" else b"")


@pytest.mark.parametrize("in_chunks", [list, iter])
@pytest.mark.parametrize("chunks", [[], [b""], [b"3"]])
@pytest.mark.parametrize("written", [[b"1"], [b"1", b"", b"2"]])
def test_a_short_response_follows_written_data(
    make_client: MakeClient,
    written: list[bytes],
    chunks: list[bytes],
    in_chunks: Callable[[list[bytes]], Iterable[bytes]],
) -> None:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        for data in written:
            write(data)
        return in_chunks(chunks)

    assert make_client(below(app)).get("/m").content == b"".join(written + chunks)


def test_written_data_is_taken_in_constant_time() -> None:
    """A list moves all that remain each time, in C, which neither calls nor instructions show."""
    call = WSGICall(None, "", print)
    assert isinstance(call.written, deque)


def test_exc_info_replaces_the_headers_while_possible(make_client: MakeClient) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        try:
            raise ValueError("oh")
        except ValueError as error:
            start_response(
                "500 Oh", [("Content-Type", "text/plain")], (ValueError, error, error.__traceback__)
            )
        return [b"page"]

    answer = make_client(below(app)).get("/m")
    assert (answer.status_code, answer.content) == (500, b"page")


def test_exc_info_after_the_first_byte_aborts_the_response(make_client: MakeClient) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"a"
        error = ValueError("too late")
        start_response("500 Oh", [("Content-Type", "text/plain")], (ValueError, error, None))
        yield b"never"

    with pytest.raises(Exception, match="too late"):
        make_client(below(app)).get("/m")


def twice(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    start_response("200 OK", [])
    return [b""]


def never(environ: Any, start_response: Any) -> list[bytes]:
    return [b"a"]


def text(environ: Any, start_response: Any) -> list[Any]:
    start_response("200 OK", [])
    return ["a"]


def numberless(environ: Any, start_response: Any) -> list[bytes]:
    start_response("OK", [])
    return [b"a"]


def in_bytes(environ: Any, start_response: Any) -> list[bytes]:
    start_response(b"200 OK", [])
    return [b"a"]


def raising(environ: Any, start_response: Any) -> list[bytes]:
    raise ValueError("of the application")


@pytest.mark.parametrize("target", [twice, never, text, numberless, in_bytes, raising])
def test_R74_a_violation_of_the_protocol_gets_a_500(
    make_client: MakeClient, target: Any, caplog: Any
) -> None:
    looks = Looks()
    answer = make_client(below(target, looks)).get("/m")
    assert answer.status_code == 500
    assert looks.seen[0][0] == 500
    assert "GET '/m' failed" in caplog.text
    if target in (numberless, in_bytes):
        assert "status must be a str such as" in caplog.text


@pytest.mark.parametrize("status", ["200 OK", "200", "204 No Content", "304 Not Modified"])
@pytest.mark.parametrize("chunks", [[], [b""], (b"", b"")])
def test_R74_an_empty_response_may_have_a_status_without_a_reason(
    make_client: MakeClient, status: str, chunks: Any
) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response(status, [])
        return chunks

    answer = make_client(below(app), validate=False).get("/m")  # which wants a Content-Type
    assert (answer.status_code, answer.content) == (int(status[:3]), b"")
    assert "content-type" not in answer.headers


BODIES = {"one piece": [b"hello"], "pieces": [b"hel", b"lo"], "none": []}


def of_length(pieces: list[bytes], protocol: str, *lengths: str) -> Any:
    """An application that states ``lengths`` and sends ``pieces``."""

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        stated = [("Content-Length", each) for each in lengths]
        start_response("200 OK", [("Content-Type", "text/plain"), *stated])
        return pieces

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        stated = [(b"content-length", each.encode()) for each in lengths]
        await send({**START, "headers": [*START["headers"], *stated]})
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return wsgi if protocol == "wsgi" else asgi


@pytest.mark.parametrize("protocol", ["wsgi", "asgi"])
@pytest.mark.parametrize("pieces", BODIES)
def test_R74_a_body_shorter_than_its_content_length_is_aborted(
    make_client: MakeClient, pieces: str, protocol: str
) -> None:
    target = of_length(BODIES[pieces], protocol, "9")
    client = make_client(below(target), validate=False)
    if pieces == "none":
        assert client.get("/m").status_code == 500
    else:
        with pytest.raises(Exception, match="bytes short of its Content-Length"):
            client.get("/m")
    assert client.head("/m").headers["content-length"] == "9"


@pytest.mark.parametrize("protocol", ["wsgi", "asgi"])
@pytest.mark.parametrize(
    ("pieces", "length"), [("one piece", 2), ("pieces", 2), ("pieces", 3), ("pieces", 4)]
)
def test_R74_a_body_longer_than_its_content_length_is_cut(
    make_client: MakeClient, pieces: str, length: int, protocol: str, caplog: Any
) -> None:
    answer = make_client(below(of_length(BODIES[pieces], protocol, str(length)))).get("/m")
    assert (answer.content, answer.headers["content-length"]) == (b"hello"[:length], str(length))
    # a thread looks after the answer
    until(lambda: "exceeds its Content-Length" in caplog.text)


@pytest.mark.parametrize("protocol", ["wsgi", "asgi"])
@pytest.mark.parametrize("pieces", ["one piece", "pieces"])
def test_R74_a_body_of_exactly_its_content_length_is_sent(
    make_client: MakeClient, pieces: str, protocol: str, caplog: Any
) -> None:
    content = make_client(below(of_length(BODIES[pieces], protocol, "5"))).get("/m").content
    assert content == b"hello"
    assert caplog.text == ""


@pytest.mark.parametrize("protocol", ["wsgi", "asgi"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("pieces", BODIES)
@pytest.mark.parametrize(
    ("lengths", "status"),
    [(("2", "5"), 500), (("5", "2"), 500), (("x", "2"), 500), (("5", "5"), 200)],
)
def test_R6_R74_two_different_content_lengths_raise_an_error(
    make_client: MakeClient,
    lengths: tuple[str, str],
    status: int,
    pieces: str,
    method: str,
    protocol: str,
) -> None:
    """The body would be cut to one of them, and the other one be announced."""
    if pieces == "none" and method == "GET":
        status = 500  # shorter than either

    target = of_length(BODIES[pieces], protocol, *lengths)
    client = make_client(below(target), validate=False, raise_app_exceptions=False)
    answer = client.request(method, "/m")
    assert answer.status_code == status
    if status == 200:
        assert answer.headers.get_list("content-length") == ["5"]


@pytest.mark.parametrize("line", ["304 Not Modified", "204 No Content"])
def test_a_response_without_a_body_may_have_a_length(line: str) -> None:
    """That of the whole; Bottle does so."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response(line, [("Content-Length", "9")])
        return []

    assert ask(below(app), "/m") == (int(line[:3]), b"")
    call = run("asyncio", lambda: get(below(app), "/m"))
    assert (call.status, call.body) == (int(line[:3]), b"")


@pytest.mark.parametrize(
    "line", ["200 Fine", "404 Gone Fishing", "299", "599 Odd", "600 More", "999 Request denied"]
)
def test_R74_a_status_and_its_reason_stay_unchanged(line: str) -> None:
    """ASGI has no reasons, and the test client's httpx takes no status above 599."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response(line, [("Content-Type", "text/plain")])
        return [b"x"]

    lines: list[str] = []
    body = below(app, Looks())(environ_for(path="/m"), lambda status, headers: lines.append(status))
    assert (b"".join(body), lines) == (b"x", [line if " " in line else f"{line} Status {line}"])


@pytest.mark.parametrize("status", [200, 299, 600, 999])
def test_R74_any_numeric_status_is_passed_on_under_asgi(backend: str, status: int) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"x", status=status)

    assert run(backend, lambda: get(below(app), "/m")).status == status


@pytest.mark.parametrize(
    "line",
    [
        "99 Low",
        "1000 High",
        "100 Continue",
        "103 Early Hints",
        "200 a\r\nX-Evil: 1",
        "200OK",
        "²00 OK",
        "",
    ],
)
def test_R74_an_invalid_status_gets_a_500(make_client: MakeClient, line: str) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response(line, [("Content-Type", "text/plain")])
        return [b"x"]

    assert make_client(below(app), validate=False).get("/m").status_code == 500


@pytest.mark.parametrize("location", ["/\xc3\xbc", "/%C3%BC", "/a|b", "/\xfc"])
def test_R74_a_location_keeps_its_bytes(make_client: MakeClient, location: str) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("302 Found", [("Location", location), ("Content-Type", "text/plain")])
        return [b""]

    async def asynchronous(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"location", location.encode("latin-1")), (b"content-type", b"text/plain")]
        await answer(send, b"", status=302, headers=headers)

    root = below(app)
    root.mount("/a", asynchronous)
    client = make_client(root, follow_redirects=False)
    for path in ("/m", "/a"):
        found = {name.lower(): value for name, value in client.get(path).headers.raw}
        assert found[b"location"] == location.encode("latin-1")


def reader(environ: Any, start_response: Any) -> list[bytes]:
    body = environ["wsgi.input"]
    how = environ["QUERY_STRING"]
    start_response("200 OK", [("Content-Type", "text/plain")])
    if how == "lines":
        return [b"|".join(body.readlines())]
    if how == "some":
        return [b"|".join(body.readlines(3))]
    if how == "iterate":
        return [b"|".join(body)]
    if how == "mixed":
        return [
            body.read(2)
            + b"|"
            + body.readline(10)
            + b"|"
            + body.readline()
            + b"|"
            + body.read(-1)
            + body.read()
        ]
    if how == "short":
        return [body.readline(1) + b"|" + body.readline(10)]
    return [body.read(1) + b"|" + body.read()]


@pytest.mark.parametrize("sent", ["whole", "in pieces"])
@pytest.mark.parametrize(
    ("how", "found"),
    [
        ("lines", b"one\n|two\n|three"),
        ("some", b"one\n"),
        ("iterate", b"one\n|two\n|three"),
        ("mixed", b"on|e\n|two\n|three"),
        ("short", b"o|ne\n"),
        ("read", b"o|ne\ntwo\nthree"),
    ],
)
def test_R74_a_body_without_a_length_is_read_to_its_end(
    connect: MakeClient, backend: str, how: str, found: bytes, sent: str
) -> None:
    pieces = [b"o", b"ne\ntw", b"o\nth", b"ree"] if sent == "in pieces" else [b"one\ntwo\nthree"]
    assert connect(below(reader), backend).post(f"/m?{how}", content=iter(pieces)).content == found


def wrapped_buffered(body: Any) -> bytes:
    return BufferedReader(body).read()


def wrapped_text(body: Any) -> bytes:
    return "".join(TextIOWrapper(body, "utf-8")).encode()


def into_a_buffer(body: Any) -> bytes:
    buffer, read = bytearray(4), b""
    while size := body.readinto(buffer):
        read += buffer[:size]
    return read


def hinted_lines(body: Any) -> bytes:
    return b"".join(iter(lambda: b"".join(body.readlines(1)), b""))


def copied(body: Any) -> bytes:
    target = BytesIO()
    copyfileobj(body, target, 3)
    return target.getvalue()


@pytest.mark.parametrize(
    "read", [wrapped_buffered, wrapped_text, into_a_buffer, hinted_lines, copied]
)
@pytest.mark.parametrize("size", [1, 100_000])
def test_R74_wsgi_input_behaves_like_a_file(
    make_client: MakeClient, read: Callable[[Any], bytes], size: int
) -> None:
    """Flask, CherryPy and Bottle wrap it in each of these ways."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [read(environ["wsgi.input"])]

    sent = "ü\nx".encode() * size
    assert make_client(below(app), validate=False).post("/m", content=sent).content == sent


def test_R74_a_body_without_a_length_is_recognised_by_its_transfer_encoding(
    connect: MakeClient, backend: str
) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        keys = ("CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING", "wsgi.input_terminated")
        return [repr([environ.get(key) for key in keys]).encode()]

    client = connect(below(app), backend)
    text = client.post("/m", content=iter([b"a"]), headers={"Transfer-Encoding": "chunked"}).text
    assert text == "[None, 'chunked', True]"


def test_R5_headers_with_underscores_and_proxy_are_dropped(
    make_client: MakeClient, world: str
) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [
            repr({key: value for key, value in environ.items() if key.startswith("HTTP_")}).encode()
        ]

    sent = [
        ("X-Fine", "1"),
        ("X-Fine", "2"),
        ("Proxy", "evil"),
        ("Cookie", "a=1"),
        ("Cookie", "b=2"),
    ]
    if world != "wsgi":  # there it is the server's affair
        sent.append(("X_Note", "evil"))
    text = make_client(below(app), validate=False).get("/m", headers=sent).text
    assert "evil" not in text
    assert "'HTTP_X_FINE': '1" in text
    assert "HTTP_PROXY" not in text


def test_R68_context_variables_are_visible_in_a_mounted_application(
    make_client: MakeClient,
) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [NAME.get().encode()]

    async def asynchronous(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, NAME.get().encode())

    root = below(app, Looks())
    root.mount("/a", asynchronous)
    client = make_client(root)
    assert client.get("/m").text == client.get("/a").text == "hook"


def test_R68_a_stream_may_reset_at_its_end_a_variable_set_at_its_beginning(
    make_client: MakeClient,
) -> None:
    """As Flask's ``stream_with_context`` does; it takes one context from the call to the last
    chunk.
    """

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        token = NAME.set("inside")
        yield b"first "
        yield NAME.get().encode()
        NAME.reset(token)

    async def asynchronous(scope: Any, receive: Any, send: Any) -> None:
        token = NAME.set("inside")
        await send(START)
        await send({"type": "http.response.body", "body": b"first ", "more_body": True})
        await send({"type": "http.response.body", "body": NAME.get().encode(), "more_body": True})
        NAME.reset(token)
        await send({"type": "http.response.body", "body": b""})

    root = below(app)
    root.mount("/a", asynchronous)
    client = make_client(root)
    assert [client.get(path).content for path in ("/m", "/a")] == 2 * [b"first inside"]


# -- ASGI ------------------------------------------------------------------------------------------


async def answer(
    send: Any, *chunks: bytes, status: int = 200, headers: Any = ((b"content-type", b"text/plain"),)
) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for chunk in chunks[:-1]:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": chunks[-1]})


async def whole_body(receive: Any) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return body + b" disconnected"
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def asgi_echo(scope: Any, receive: Any, send: Any) -> None:
    await answer(send, await whole_body(receive))


@pytest.mark.parametrize("size", [0, 5, 300_000])
def test_a_mounted_asgi_application_gets_the_body(make_client: MakeClient, size: int) -> None:
    assert make_client(below(asgi_echo)).post("/m", content=b"x" * size).content == b"x" * size


def test_R74_chunks_arrive_in_order_after_a_head_without_headers(make_client: MakeClient) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 202})
        for chunk in (b"a", b"", b"b"):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body"})

    client = make_client(below(app), validate=False)
    reply = client.get("/m")
    assert (reply.status_code, reply.content) == (202, b"ab")
    assert "content-type" not in reply.headers
    assert client.head("/m").content == b""


async def silent(scope: Any, receive: Any, send: Any) -> None: ...


async def bodyless(scope: Any, receive: Any, send: Any) -> None:
    await send(START)


async def headless(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.body", "body": b"a"})


async def failing(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("of the application")


@pytest.mark.parametrize("target", [silent, bodyless, headless, failing])
def test_R74_an_application_that_sends_no_response_gets_a_500(
    make_client: MakeClient, target: Any
) -> None:
    reply = hang_guard(make_client(below(target)), "/m")
    assert (reply.status_code, reply.text) == (500, "500 Internal Server Error")


def test_an_aborted_response_never_looks_complete(make_client: MakeClient) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"a", "more_body": True})

    with pytest.raises(Exception, match="returned before it had sent its whole response"):
        make_client(below(app)).get("/m")


def test_an_asgi_application_may_continue_after_its_response(make_client: MakeClient) -> None:
    done = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await whole_body(receive)
        await answer(send, b"a", b"b")
        assert (await receive())["type"] == "http.disconnect"
        await anyio.sleep(0.01)
        done.set()

    assert make_client(below(app)).get("/m").content == b"ab"
    assert done.wait(30)


def test_a_second_response_is_refused_where_it_is_sent(make_client: MakeClient) -> None:
    told: list[str] = []
    done = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"a")
        try:
            await answer(send, b"b")
        except RuntimeError as error:
            told.append(str(error))
        done.set()

    assert make_client(below(app)).get("/m").content == b"a"
    assert done.wait(30)
    assert "out of order" in told[0]


@pytest.mark.parametrize("when", ["before", "after"])
def test_R74_an_endless_response_ends_when_the_client_disconnects(
    make_client: MakeClient, when: str
) -> None:
    ended = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await send(START)
            while True:
                await send({"type": "http.response.body", "body": b"a", "more_body": True})
                if when == "after":
                    await anyio.sleep_forever()
        finally:
            ended.set()

    # Under WSGI a thread that waits for a chunk can't see the client leave: the time limit ends it.
    client = make_client(below(app, mount_timeout=1.0), raise_app_exceptions=False)
    with client.stream("GET", "/m") as reply:
        assert next(reply.iter_raw()).startswith(b"a")
    assert ended.wait(30)


def test_R74_an_endless_wsgi_response_is_closed_when_the_client_disconnects(
    make_client: MakeClient,
) -> None:
    ended = threading.Event()

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        try:
            start_response("200 OK", [("Content-Type", "text/plain")])
            while True:
                yield b"a"
        finally:
            ended.set()

    with make_client(below(app)).stream("GET", "/m") as reply:
        assert next(reply.iter_raw()).startswith(b"a")
    assert ended.wait(30)


def test_R74_an_application_that_never_responds_gets_a_504_under_wsgi(connect: MakeClient) -> None:
    ended: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            assert scope["type"] == "http"
            await anyio.sleep_forever()
        finally:
            ended.append(scope["type"])

    client = connect(below(app, mount_timeout=0.05), "wsgi")

    def times_out() -> bool:  # on a busy machine it may be given up before it has begun
        assert hang_guard(client, "/m").status_code == 504
        return "http" in ended

    until(times_out)


@pytest.mark.parametrize("length", ["-1", "abc"])
@pytest.mark.parametrize("target", [echo, asgi_echo])
def test_R74_an_invalid_content_length_gets_a_400(
    make_client: MakeClient, target: Any, length: str
) -> None:
    client = make_client(below(target), validate=False)
    assert client.post("/m", content=b"abc", headers={"Content-Length": length}).status_code == 400


def test_R7_R74_a_truncated_body_is_reported_to_the_application(make_client: MakeClient) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        data = environ["wsgi.input"].read(100)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [data]

    root = below(app)
    root.mount("/a", asgi_echo)
    client = make_client(root, validate=False, raise_app_exceptions=False)
    for path in ("/m", "/a"):  # whatever it answers: it ends
        with_short_body(client, path)


def with_short_body(client: TestClient, path: str) -> None:
    with suppress(Exception):
        client.post(path, content=b"abc", headers={"Content-Length": "100"}, timeout=5)
    assert client.get("/").text == "root"  # nothing is held up


def test_a_hook_that_reads_the_body_leaves_it_for_the_application(make_client: MakeClient) -> None:
    class Reads(HttpMiddleware):
        def __init__(self) -> None:
            self.read = b""

        def before_request(self, request: Any) -> None:
            self.read = request.read()

    reads = Reads()
    root = below(echo, reads)
    root.mount("/a", asgi_echo)
    client = make_client(root)
    for path in ("/m", "/a"):
        assert client.post(path, content=b"hello").content == b"hello"
        assert reads.read == b"hello"


def test_the_body_limit_is_the_mounted_application_s_own(make_client: MakeClient) -> None:
    root = below(echo, max_body_size=3)
    root.mount("/a", asgi_echo)
    client = make_client(root)
    answers = [client.post(path, content=b"hello").content for path in ("/m", "/a")]
    assert answers == [b"hello"] * 2


def test_a_form_is_left_to_the_mounted_application(make_client: MakeClient) -> None:
    client = make_client(below(echo))
    assert client.post("/m", data={"a": "1"}).content == b"a=1"
    sent = client.post("/m", files={"a": b"1"})
    assert b"form-data" in sent.content


def test_an_author_s_error_page_replaces_a_failure(make_client: MakeClient) -> None:
    root = below(failing)
    root.error(500)(lambda: "ours")
    root.mount("/w", raising)
    client = make_client(root)
    assert client.get("/m").text == client.get("/w").text == "ours"


def test_an_asgi_application_runs_on_either_loop_under_wsgi(
    connect: MakeClient, backend: str
) -> None:
    client = connect(below(asgi_echo, portal_backend=backend), "wsgi")
    assert client.post("/m", content=b"hello").content == b"hello"


def test_kind_declares_the_protocol_of_an_ambiguous_application(make_client: MakeClient) -> None:
    root = Root()
    root.mount("/w", lambda *call: echo(*call), kind="wsgi")
    root.mount("/a", lambda *call: asgi_echo(*call), kind="asgi")
    client = make_client(root)
    assert client.post("/w", content=b"1").text == client.post("/a", content=b"1").text == "1"


def test_a_time_limit_may_surround_a_mount(make_client: MakeClient) -> None:
    from micropie.middleware import Timeout

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await anyio.sleep_forever()

    assert hang_guard(make_client(below(app, Timeout(0.05))), "/m").status_code in (503, 504)
    assert make_client(below(echo, Timeout(PATIENCE))).post("/m", content=b"1").text == "1"
