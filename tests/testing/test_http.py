"""Requests and answers, under both protocols and on both loops."""

from __future__ import annotations

import gc
import io
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import httpx2 as httpx
import pytest

from micropie.testing import AppTimeout, ProtocolViolation, TestClient
from tests.support.asgi_validator import Message, Receive, Send
from tests.testing.apps import Echo, Environ, Plain, StartResponse, Stream, respond
from tests.testing.worlds import close_late, connect


class Mine(Exception):
    """An application's own exception."""


def test_status_headers_and_body_arrive(world: str) -> None:
    app = Plain(
        b"hello", status=418, headers=[(b"x-a", b"1"), (b"x-a", b"2"), (b"x-raw", b"\xe9\xff")]
    )
    with connect(app, world) as client:
        response = client.get("/")
    assert (response.status_code, response.content) == (418, b"hello")
    assert response.http_version == "HTTP/1.1"
    assert response.headers.raw == app.headers


@pytest.mark.parametrize(
    ("url", "path", "query"),
    [
        ("/", "/", ""),
        ("/a/b?x=1&y=%20", "/a/b", "x=1&y=%20"),
        ("/%C3%A9", "/\u00c3\u00a9", ""),
        ("/a%2Fb%3F", "/a/b?", ""),
        ("", "/", ""),
        ("http://other:81/x", "/x", ""),
    ],
)
def test_the_application_sees_the_path_and_query_of_the_url(
    world: str, url: str, path: str, query: str
) -> None:
    with connect(Echo(), world) as client:
        seen = client.get(url).json()
    assert (seen["path"], seen["query"]) == (path, query)


@pytest.mark.parametrize(
    "target", [b"//x", b"/../y", b"/%ff", b"/%zz%", b"*", b"/\xff", b"", b"/a b?c d"]
)
def test_a_raw_target_is_sent_exactly(world: str, target: bytes) -> None:
    app = Plain()
    with connect(app, world) as client:
        client.get("/", extensions={"target": target})
    if world == "wsgi":
        assert app.seen["RAW_URI"].encode("latin-1") == target
    else:
        assert app.seen["raw_path"] + b"?" * (b"?" in target) + app.seen["query_string"] == target


def test_a_raw_target_may_be_text(world: str) -> None:
    with connect(Echo(), world) as client:
        assert client.get("/", extensions={"target": "/../\xff?\xfe"}).json()["query"] == "\xfe"


def test_headers_are_preserved_as_bytes_and_repeat(world: str) -> None:
    headers = [(b"X-Raw", b"\x80\xff"), (b"X-Two", b"1"), (b"X-Two", b"2")]
    with connect(Echo(), world) as client:
        seen = client.get("/", headers=headers).json()["headers"]
    assert seen["x-raw"] == "\x80\xff"
    assert seen["x-two"] == "1,2"
    assert seen["host"] == "testserver"


def test_client_server_and_scheme_are_arguments(world: str) -> None:
    with connect(
        Echo(), world, base_url="https://example.org/v1", client=("10.0.0.1", 7)
    ) as client:
        seen = client.get("/x").json()
    assert seen["from"] == ["10.0.0.1", 7]
    assert seen["to"] == ["https", "example.org", 443]
    assert seen["path"] == "/v1/x"


def test_a_client_may_have_no_address(world: str) -> None:
    with connect(Echo(), world, client=None) as client:
        assert client.get("/").json()["from"] is None


def test_urls_are_relative_to_the_root_path(world: str) -> None:
    app = Plain()
    with connect(app, world, root_path="/sub/é") as client:
        client.get("/x%2Fy")
    if world == "wsgi":
        assert app.seen["SCRIPT_NAME"] == "/sub/\u00c3\u00a9"
        assert app.seen["PATH_INFO"] == "/x/y"
        assert app.seen["RAW_URI"] == "/sub/%C3%A9/x%2Fy"
    else:
        assert app.seen["root_path"] == "/sub/é"
        assert app.seen["path"] == "/sub/é/x/y"
        assert app.seen["raw_path"] == b"/sub/%C3%A9/x%2Fy"


def test_cookies_are_kept_and_redirects_are_followed_on_request(world: str) -> None:
    app = Plain(
        status=303, headers=[(b"location", b"/sub/next"), (b"set-cookie", b"a=b; Path=/sub")]
    )
    with connect(
        app, world, root_path="/sub", headers={"x-always": "1"}, cookies={"c": "d"}
    ) as client:
        response = client.get("/")
        assert response.has_redirect_location
        app.status, app.headers = 200, []
        assert response.next_request is not None
        assert client.send(response.next_request).status_code == 200
        again = dict(response.next_request.headers)
    assert again["x-always"] == "1"
    assert set(again["cookie"].split("; ")) == {"a=b", "c=d"}


def test_uploads_are_sent_in_pieces(world: str) -> None:
    with connect(Echo(), world) as client:
        seen = client.post(
            "/", files={"f": ("name.txt", io.BytesIO(b"content"))}, data={"k": "v"}
        ).json()
    body = "".join(seen["body"])
    assert 'filename="name.txt"' in body
    assert int(seen["headers"]["content-length"]) == len(body)
    assert len(seen["body"]) > 2 or world == "wsgi"


def test_an_iterator_is_sent_chunked(world: str) -> None:
    with connect(Echo(), world) as client:
        seen = client.post("/", content=iter([b"a", b"", b"bc"])).json()
    assert seen["headers"]["transfer-encoding"] == "chunked"
    assert "content-length" not in seen["headers"]
    assert seen["body"] == (["abc"] if world == "wsgi" else ["a", "bc", ""])


def test_a_request_body_s_generator_runs_in_the_test_s_thread(world: str) -> None:
    threads = []

    def body() -> Iterator[bytes]:
        threads.append(threading.current_thread())
        yield b"x"

    with connect(Echo(), world) as client:
        client.post("/", content=body())
    assert threads == [threading.current_thread()]


def test_a_failing_request_generator_fails_the_test_and_ends_the_application(world: str) -> None:
    def body() -> Iterator[bytes]:
        yield b"x"
        raise Mine("body")

    with connect(Echo(), world) as client, pytest.raises(Mine, match="body"):
        client.post("/", content=body())


@pytest.mark.parametrize("content", [b"abcdef", [b"abc", b"def"]])
def test_a_body_is_cut_at_its_content_length(world: str, content: Any) -> None:
    with connect(Echo(), world) as client:
        seen = client.post("/", content=content, headers={"content-length": "4"}).json()
    assert "".join(seen["body"]) == "abcd"


def test_a_body_shorter_than_its_content_length_is_a_broken_connection(world: str) -> None:
    with connect(Echo(), world) as client:
        seen = client.post("/", content=b"abc", headers={"content-length": "4"}).json()
    assert seen["body"] == (["abc"] if world == "wsgi" else ["abc", "<disconnect>"])


@pytest.mark.parametrize("length", ["", "-1", "x", "²"])
def test_an_invalid_content_length_reaches_the_application(world: str, length: str) -> None:
    with connect(Echo(), world) as client:
        seen = client.post(
            "/", content=b"abc", headers={b"content-length": length.encode("latin-1")}
        ).json()
    assert seen["headers"]["content-length"] == length
    assert seen["body"] == ["abc"]


def test_a_stream_is_readable_while_it_is_produced(world: str) -> None:
    app = Stream(iter([b"1", b"2", b"3"]))
    with connect(app, world) as client, client.stream("GET", "/") as response:
        chunks = response.iter_raw()
        for number in (1, 2, 3):
            assert next(chunks) == str(number).encode()
            assert app.made <= number + 1
        assert list(chunks) == []
    assert app.end == "complete"


def test_leaving_a_stream_early_disconnects_and_waits_for_the_application(world: str) -> None:
    app = Stream(b"x" for _ in iter(int, 1))
    with connect(app, world) as client, client.stream("GET", "/") as response:
        next(response.iter_raw())
        while app.made < 2:
            time.sleep(0.001)
        time.sleep(0.01)  # now it waits for the second chunk to be taken
    assert app.end == "http.disconnect"


def test_leaving_before_the_first_chunk_disconnects(world: str) -> None:
    app = Stream([b"x"])
    with connect(app, world) as client, client.stream("GET", "/"):
        pass
    assert app.end == "http.disconnect"


def test_closing_the_client_closes_open_responses(world: str) -> None:
    app = Stream(b"x" for _ in iter(int, 1))
    client = connect(app, world)
    response = client.send(client.build_request("GET", "/"), stream=True)
    client.close()
    assert app.end == "http.disconnect"
    response.close()


def test_an_exception_of_the_application_is_raised_itself(world: str) -> None:
    error = Mine("before the head")
    with connect(Plain(error=error), world) as client, pytest.raises(Mine) as caught:
        client.get("/")
    assert caught.value is error
    assert error.__context__ is None


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_an_exception_that_would_end_the_process_is_raised_too(
    world: str, error: BaseException
) -> None:
    with connect(Plain(error=error), world) as client, pytest.raises(type(error)):
        client.get("/")


def test_an_exception_becomes_a_500_on_request(world: str) -> None:
    with connect(Plain(error=Mine()), world, raise_app_exceptions=False) as client:
        response = client.get("/")
    assert (response.status_code, response.text) == (500, "Internal Server Error")


def test_an_exception_after_the_response_has_started_is_raised_while_reading(world: str) -> None:
    app = Stream([b"x"], error=Mine("in the body"))
    with connect(app, world) as client, client.stream("GET", "/") as response:
        assert response.status_code == 200
        with pytest.raises(Mine, match="in the body"):
            response.read()


def test_an_aborted_stream_never_looks_complete(world: str) -> None:
    app = Stream([b"x"], error=Mine())
    with (
        connect(app, world, raise_app_exceptions=False) as client,
        client.stream("GET", "/") as response,
        pytest.raises(httpx.RemoteProtocolError, match="before its response was complete"),
    ):
        response.read()


@pytest.mark.parametrize(
    ("lengths", "words"),
    [
        *[([length], "Content-Length") for length in (b"3", b"1", b"0")],
        *[(lengths, "Content-Length is invalid") for lengths in ([b"x"], [b"1", b"2"], [b""])],
    ],
)
def test_a_body_must_have_its_announced_length(
    world: str, lengths: list[bytes], words: str
) -> None:
    app = Plain(b"ab", headers=[(b"content-length", length) for length in lengths])
    with connect(app, world) as client, pytest.raises(httpx.RemoteProtocolError, match=words):
        client.get("/")


def test_the_response_to_HEAD_may_announce_a_body_that_is_not_sent(world: str) -> None:
    with connect(Plain(headers=[(b"content-length", b"3")]), world) as client:
        assert client.head("/").headers["content-length"] == "3"


def test_an_exception_after_the_response_is_raised_too(world: str) -> None:
    with (
        connect(Plain(b"x", late_error=Mine("late")), world) as client,
        pytest.raises(Mine, match="late"),
    ):
        client.get("/")


def test_an_exception_after_the_response_can_be_ignored_on_request(world: str) -> None:
    app = Stream([b"x"]) if world == "wsgi" else Plain(b"x", late_error=Mine("late"))
    with connect(app, world, raise_app_exceptions=False) as client:
        assert client.get("/").text == "x"


class Silent:
    """Ends without an answer."""

    async def asgi(self, scope: Message, receive: Receive, send: Send) -> None:
        while scope["type"] == "http" and (await receive()).get("more_body"):
            pass

    def wsgi(self, environ: Environ, start_response: StartResponse) -> list[bytes]:
        environ["wsgi.input"].read()
        if environ.get("CONTENT_LENGTH") == "9":
            raise SystemExit  # a worker that exits: under WSGI the only way to end without an error
        return []


def test_an_application_that_sends_no_response_is_reported(world: str) -> None:
    with connect(Silent(), world) as client, pytest.raises(ProtocolViolation):
        client.get("/")


def test_an_application_that_sends_no_response_becomes_a_500_on_request(world: str) -> None:
    with connect(Silent(), world, raise_app_exceptions=False) as client:
        assert client.get("/").status_code == 500


def test_a_broken_request_without_a_response_is_a_broken_connection(world: str) -> None:
    with (
        connect(Silent(), world, raise_app_exceptions=False) as client,
        pytest.raises(httpx.RemoteProtocolError, match="shorter than its Content-Length"),
    ):
        client.post("/", content=b"x", headers={"content-length": "9"})


class Hanging:
    """Waits for ever: before its head, in its body, or after it."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.release = threading.Event()

    async def asgi(self, scope: Message, receive: Receive, send: Send) -> None:
        await self._hang("head")
        await send({"type": "http.response.start", "status": 200})
        await self._hang("body")
        await send({"type": "http.response.body"})
        await self._hang("end")

    async def _hang(self, where: str) -> None:
        if self.where == where:
            await anyio.sleep_forever()
        if self.where == f"block {where}":
            self.release.wait()

    def wsgi(self, environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        for where in ("head", "body", "end"):
            if self.where.endswith(where):
                self.release.wait()
            if where == "head":
                start_response("200 OK", [])
                yield b"x"


@pytest.mark.parametrize("where", ["head", "body", "end"])
def test_a_hanging_application_fails_the_test(world: str, where: str) -> None:
    app = Hanging(where)
    client = connect(app, world, app_timeout=0.1, lifespan=False)
    with pytest.raises(AppTimeout, match=r"did not .* within 0\.1 s"):
        client.get("/")
    app.release.set()
    close_late(client)


def test_a_hanging_application_fails_a_test_that_has_stopped_the_clocks(
    world: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Hanging("head")
    client = connect(app, world, app_timeout=0.1, lifespan=False)
    with monkeypatch.context() as patched:
        patched.setattr(time, "monotonic", lambda: 1.0)  # as freezegun does
        with pytest.raises(AppTimeout):
            client.get("/")
    app.release.set()
    close_late(client)


def test_an_application_that_blocks_its_loop_fails_the_test(backend: str) -> None:
    app = Hanging("block body")
    # it has to begin in time on a busy machine
    client = connect(app, backend, app_timeout=0.5, lifespan=False)
    with pytest.raises(AppTimeout, match="it is not waiting for the client"):
        client.get("/")
    with pytest.raises(AppTimeout, match="something blocks it"):
        client.close()
    app.release.set()


def test_interrupting_a_wait_cancels_the_application(backend: str) -> None:
    ended = threading.Event()

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    def interrupted() -> Iterator[bytes]:
        yield b"x"
        raise KeyboardInterrupt

    async def reading(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await receive()
        await app(scope, receive, send)

    with (
        TestClient(reading, backend=backend, lifespan=False) as client,
        pytest.raises(KeyboardInterrupt),
    ):
        client.post("/", content=interrupted())
    assert ended.is_set()


def test_a_client_works_without_with_and_leaves_nothing_behind(world: str) -> None:
    client = connect(Plain(b"x"), world)
    assert client.get("/").text == "x"
    del client
    gc.collect()


def test_many_threads_may_use_one_client(world: str) -> None:
    with connect(Plain(b"x"), world) as client, ThreadPoolExecutor(8) as threads:
        answers = [*threads.map(client.get, ["/"] * 8)]
    assert [answer.text for answer in answers] == ["x"] * 8


def test_an_invalid_protocol_or_backend_is_refused_immediately() -> None:
    protocol: Any = "cgi"
    with pytest.raises(ValueError, match="'asgi' or 'wsgi', not 'cgi'"):
        TestClient(respond, protocol=protocol)
    with pytest.raises(ValueError, match="asyncio, trio, not 'curio'"):
        TestClient(respond, backend="curio")


def test_closing_does_not_hide_why_the_test_failed() -> None:
    app = Hanging("block end")

    def leave() -> None:
        # it has to begin in time on a busy machine
        with connect(app, "asyncio", app_timeout=0.5, lifespan=False) as client:
            client.send(client.build_request("GET", "/"), stream=True)
            time.sleep(0.01)
            raise Mine("the reason")

    with pytest.raises(Mine, match="the reason"):
        leave()
    app.release.set()
