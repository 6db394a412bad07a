"""WSGI only: the environ, `start_response`, `write`, the iterable and its `close`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

import httpx2 as httpx
import pytest

from micropie.testing import ClientError, ProtocolViolation, TestClient
from tests.testing.apps import Echo, Environ, Plain, StartResponse


def connect(app: Callable[..., Any], **options: Any) -> TestClient:
    return TestClient(app, protocol="wsgi", **options)


def environ_of(
    url: str = "/", *, method: str = "GET", settings: Any = None, **options: Any
) -> Environ:
    app = Plain()
    with connect(app.wsgi, **(settings or {})) as client:
        client.request(method, url, **options)
    return app.seen


def test_the_environ_follows_the_specification() -> None:
    environ = environ_of("/%C3%A9%2F?q=%C3%A9", method="POST", json={}, headers={"x-a-b": "1"})
    assert {key: value for key, value in environ.items() if key.startswith("wsgi.")} == {
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": environ["wsgi.input"],
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    assert {
        key: value for key, value in environ.items() if key.isupper() and "HTTP_" not in key
    } == {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/\u00c3\u00a9/",
        "QUERY_STRING": "q=%C3%A9",
        "RAW_URI": "/%C3%A9%2F?q=%C3%A9",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": "2",
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "50000",
    }
    assert environ["HTTP_X_A_B"] == "1"
    assert not {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"} & environ.keys()


def test_raw_uri_can_be_left_out() -> None:
    assert "RAW_URI" not in environ_of(settings={"raw_uri": False})


def test_an_unknown_client_has_no_remote_keys() -> None:
    assert not {"REMOTE_ADDR", "REMOTE_PORT"} & environ_of(settings={"client": None}).keys()


def test_repeated_headers_are_joined_and_underscores_are_dropped() -> None:
    headers = [("x-a", "1"), ("x-a", "2"), ("cookie", "a=1"), ("cookie", "b=2"), ("x_a", "3")]
    environ = environ_of(headers=headers)
    assert environ["HTTP_X_A"] == "1,2"
    assert environ["HTTP_COOKIE"] == "a=1; b=2"


def test_a_body_without_a_length_is_terminated_by_the_server() -> None:
    environ = environ_of(method="POST", content=iter([b"x"]))
    assert environ["wsgi.input_terminated"] is True
    assert environ["HTTP_TRANSFER_ENCODING"] == "chunked"
    assert "CONTENT_LENGTH" not in environ
    assert "wsgi.input_terminated" not in environ_of(method="POST", content=b"x")


@pytest.mark.parametrize("path", ["http://testserver/other", "http://testserver/subway"])
def test_a_path_outside_the_root_path_cannot_be_expressed(path: str) -> None:
    with (
        connect(Plain().wsgi, root_path="/sub") as client,
        pytest.raises(ValueError, match="root_path"),
    ):
        client.get(path)


def test_the_root_path_itself_has_an_empty_path_info() -> None:
    environ = environ_of("http://testserver/sub", settings={"root_path": "/sub"})
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/sub", "")


@pytest.mark.parametrize("content", [None, b"abc", [b"a", b"bc"]])
def test_the_standard_validator_finds_nothing_wrong(content: Any) -> None:
    @validator
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(100)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [body]

    with connect(app) as client:
        expected = content if isinstance(content, bytes) else b"".join(content or [])
        assert client.request("POST", "/x", content=content).content == expected


def test_the_input_is_read_lazily_and_by_lines() -> None:
    given = []

    def body() -> Iterator[bytes]:
        for line in (b"one\ntw", b"o\nthree", b"\nfour\n"):
            given.append(line)
            yield line

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        stream = environ["wsgi.input"]
        start_response("200 OK", [])
        yield stream.read(3)
        yield f"[{len(given)}]".encode()
        yield from [stream.readline(), *stream.readlines(), *stream, stream.read()]

    with connect(app) as client:
        assert client.post("/", content=body()).content == b"one[1]\ntwo\nthree\nfour\n"


def test_reading_after_the_client_has_disconnected_raises_an_os_error() -> None:
    seen: list[type] = []

    def app(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        write = start_response("200 OK", [])
        try:
            write(b"x")
            write(b"y")
        finally:
            for action in (lambda: write(b"z"), environ["wsgi.input"].read):
                with pytest.raises(OSError, match="disconnected") as caught:
                    action()
                seen.append(caught.type)
        yield b""

    with connect(app) as client, client.stream("POST", "/", content=iter([b"x"])) as response:
        assert next(response.iter_raw()) == b"x"
    assert len(seen) == 2


def test_the_head_waits_for_the_first_chunk_and_may_be_replaced_until_then() -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [("x-first", "1")])
        yield b""
        try:
            raise KeyError("handled")
        except KeyError:
            start_response("500 Oh No", [("x-second", "2")], sys.exc_info())
        yield b"body"

    with connect(app) as client:
        response = client.get("/")
    assert (response.status_code, response.reason_phrase, response.text) == (500, "Oh No", "body")
    assert response.headers.raw == [(b"x-second", b"2")]


def test_a_head_that_was_sent_cannot_be_replaced() -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"body"
        try:
            raise KeyError("too late")
        except KeyError:
            start_response("500 Oh No", [], sys.exc_info())

    with connect(app) as client, pytest.raises(KeyError, match="too late"):
        client.get("/")


def test_write_sends_before_the_iterable_is_read() -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", [])
        write(b"")
        write(b"1")
        write(b"2")
        return [b"3"]

    with connect(app) as client, client.stream("GET", "/") as response:
        assert list(response.iter_raw()) == [b"1", b"2", b"3"]


class Closing:
    """An iterable that counts how often it is closed."""

    def __init__(self, chunks: Iterable[bytes], *, error: Exception | None = None) -> None:
        self.chunks = iter(chunks)
        self.error = error
        self.closed = 0

    def __call__(self, environ: Environ, start_response: StartResponse) -> Closing:
        start_response("200 OK", [])
        return self

    def __iter__(self) -> Iterator[bytes]:
        return self.chunks

    def close(self) -> None:
        self.closed += 1
        if self.error is not None:
            raise self.error


def failing() -> Iterator[bytes]:
    yield b"x"
    raise KeyError("in the body")


def test_the_iterable_is_closed_once_after_its_end() -> None:
    app = Closing([b"x"])
    with connect(app) as client:
        client.get("/")
    assert app.closed == 1


def test_the_iterable_is_closed_once_when_it_fails() -> None:
    app = Closing(failing())
    with connect(app) as client, pytest.raises(KeyError):
        client.get("/")
    assert app.closed == 1


def test_the_iterable_is_closed_once_when_the_client_disconnects() -> None:
    app = Closing([b"x"] * 9)
    with connect(app) as client, client.stream("GET", "/") as response:
        next(response.iter_raw())
    assert app.closed == 1


def test_a_failing_close_is_raised() -> None:
    with (
        connect(Closing([b"x"], error=KeyError("close"))) as client,
        pytest.raises(KeyError, match="close"),
    ):
        client.get("/")


@pytest.mark.parametrize(
    ("arguments", "result", "sentence"),
    [
        ([], [b"x"], "did not call start_response"),
        ([], [], "did not call start_response"),
        ([("200 OK", []), ("200 OK", [])], [b""], "called twice"),
        ([("OK", [])], [b""], "a status must begin with three digits"),
        ([("abc OK", [])], [b""], "a status must begin with three digits"),
        ([("200 OK", [(b"a", b"b")])], [b""], "latin-1 text"),
        ([("200 OK", [("a", "\u20ac")])], [b""], "latin-1 text"),
        ([("200 OK", [])], ["text"], "must be bytes, not 'text'"),
        ([("200 OK", [])], None, "None, which is not iterable"),
    ],
)
def test_a_violation_of_the_specification_is_reported(
    arguments: list[Any], result: Any, sentence: str
) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Any:
        for each in arguments:
            start_response(*each)
        return result

    with connect(app) as client, pytest.raises(ProtocolViolation, match=sentence):
        client.get("/")


def test_exc_info_before_any_headers_has_no_special_effect() -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("500 Oh No", [], (None, None, None))
        return [b"x"]

    with connect(app) as client:
        assert client.get("/").status_code == 500


def test_closing_calls_wsgi_shutdown_if_it_exists() -> None:
    class App(Plain):
        ended = 0

        def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            return self.wsgi(environ, start_response)

        def wsgi_shutdown(self) -> None:
            self.ended += 1

    app = App(b"x")
    with connect(app) as client:
        client.get("/")
        assert app.ended == 0
    assert app.ended == 1


def test_a_wsgi_client_refuses_websockets() -> None:
    with connect(Echo().wsgi) as client, pytest.raises(ClientError, match='protocol="asgi"'):
        client.websocket("/")


def test_a_failing_shutdown_is_raised_after_the_test_s_own_error() -> None:
    class App(Closing):
        def wsgi_shutdown(self) -> None:
            raise LookupError("shutdown")

    with pytest.raises(LookupError, match="shutdown"), connect(App([])):
        pass
    with pytest.raises(httpx.InvalidURL) as caught, connect(App([])) as client:
        client.get("http://testserver:port")
    assert any("shutdown" in note for note in caught.value.__notes__)
