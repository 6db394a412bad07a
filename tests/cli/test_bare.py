"""The server of a bare install, which reads a request's head more strictly than the standard
library does.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import pytest

from micropie import App
from micropie.wsgi.simple_server import _Handler, _ThreadedServer


class Root(App):
    def index(self) -> dict[str, object]:
        headers = {
            name: value
            for name, value in self.request.headers.items()
            if name not in ("host", "accept")
        }
        return {"headers": headers, "scheme": self.request.scheme}

    def body(self) -> str:
        return self.request.read().decode()


@pytest.fixture
def server() -> Iterator[_ThreadedServer]:
    with _ThreadedServer(("127.0.0.1", 0), _Handler) as server:
        server.set_app(Root())
        yield server


def answer(server: _ThreadedServer, request: bytes, is_complete: bool = True) -> bytes:
    """Return the answer to the bytes of a request, after which the client sends no more if it
    ``is_complete``.
    """
    client, connection = socket.socketpair()
    with client:
        with connection:
            client.sendall(request)
            if is_complete:
                client.shutdown(socket.SHUT_WR)
            _Handler(connection, ("127.0.0.1", 1), server)
        return b"".join(iter(lambda: client.recv(65536), b""))


HEADS = {
    b"": b"200",
    b"X-One: 1\r\nx-two:2\n": b"200",
    b"X-" + b"a" * 1000 + b": " + b"b" * 60_000 + b"\r\n": b"200",
    b"X: a\rX-Note: 1\r\n": b"400",
    b"X: a\r\n folded\r\n": b"400",
    b" X: a\r\n": b"400",
    b"no colon\r\nX-Note: 1\r\n": b"400",
    b"X-Note : 1\r\n": b"400",
    b"X: a\0b\r\n": b"400",
    b": no name\r\n": b"400",
    b"Content-Length: 0\r\nContent-Length: 5\r\n": b"400",
    b"Transfer-Encoding: chunked\r\n": b"501",
    b"X: 1\r\n" * 101: b"431",
    b"X_Y: 1\r\n" * 101: b"431",
    b"X: " + b"a" * 70_000 + b"\r\n": b"431",
}


@pytest.mark.parametrize("head", HEADS)
def test_R4_an_ambiguous_request_head_is_refused(server: _ThreadedServer, head: bytes) -> None:
    answered = answer(server, b"GET / HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n")
    assert answered.partition(b" ")[2][:3] == HEADS[head]
    assert answered.count(b"HTTP/1.0 ") == 1


def test_R5_a_header_name_with_an_underscore_is_dropped(server: _ThreadedServer) -> None:
    head = b"X_Note: 1\r\nX-Note: 2\r\nX_Other: 3\r\n"
    answered = answer(server, b"GET / HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n")
    assert b'{"headers":{"x-note":"2"' in answered
    assert not re.search(rb"(?i)x[_-]other|x_note", answered)


def test_a_body_follows_the_head(server: _ThreadedServer) -> None:
    assert answer(server, b"POST /body HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello!").endswith(
        b"\r\n\r\nhello"
    )


@pytest.mark.parametrize(
    "start", [b"nonsense\r\n\r\n", b"GET / HTTP/x\r\n\r\n", b"GET / HTTP/2.0\r\n\r\n"]
)
def test_a_line_that_is_not_a_request_is_refused(server: _ThreadedServer, start: bytes) -> None:
    assert b"200 OK" not in answer(server, start)


@pytest.mark.parametrize("head", [b"", b"Host: a\r\n", b"no colon\r\n"])
def test_http_0_9_is_refused(server: _ThreadedServer, head: bytes) -> None:
    assert b"505" in answer(server, b"GET /\r\n" + head + b"\r\n")


@pytest.mark.parametrize(
    "start", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost:", b"GET / HTTP/1.1\r\nHost: a\r\n"]
)
def test_a_client_that_disconnects_within_the_head_is_not_served(
    server: _ThreadedServer, start: bytes
) -> None:
    assert b"200 OK" not in answer(server, start)


def test_a_silent_client_is_disconnected(
    server: _ThreadedServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_Handler, "timeout", 0.01)
    assert answer(server, b"GET / HTTP/1.1\r\nHost", is_complete=False) == b""
    assert capsys.readouterr().err == ""
