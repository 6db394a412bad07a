"""Applications of other frameworks below a prefix, on real servers: one answer, whichever server and protocol."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import pytest

from tests.servers.harness import KINDS, Server, start

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(
    scope="module", params=["uvicorn", "hypercorn-trio", "gunicorn-sync", "gunicorn-gthread", "gunicorn-asgi"]
)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with tempfile.TemporaryFile() as log:
        running = start(KINDS[request.param], "tests.servers.mounted:app", log)
        try:
            yield running
        finally:
            running.end()


FORM = (
    b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\nann\r\n--x\r\nContent-Disposition: form-data; '
    b'name="file"; filename="f"\r\nContent-Type: text/plain\r\n\r\n' + b"y" * 200_000 + b"\r\n--x--\r\n"
)


def test_bottle(server: Server) -> None:
    head = {"Content-Type": "multipart/form-data; boundary=x"}
    assert server.request("POST", "/bottle/form", head, FORM).body == b"ann 200000"
    answer = server.request("GET", "/bottle/cookie")
    assert len(answer.all("Set-Cookie")) == 2
    sent = answer.all("Set-Cookie")[0].partition(";")[0]
    assert server.request("GET", "/bottle/cookie", {"Cookie": sent}).body == b"1"
    assert server.request("GET", "/bottle/stream").body == b"one two three"
    assert server.request("GET", "/bottle/none").status == 404
    assert server.request("HEAD", "/bottle/stream").body == b""


def test_flask(server: Server) -> None:
    assert server.request("POST", "/flask/echo", body=b"z" * 300_000).body == b"z" * 300_000
    chunked = b"POST /flask/echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert server.send(chunked + b"5\r\nhello\r\n0\r\n\r\n", "POST").body == b"hello"
    assert server.request("GET", "/flask/stream").body == b"0 1 2 3 4 "
    assert server.request("GET", "/flask/go").status == 302


def test_cherrypy(server: Server) -> None:
    assert server.request("GET", "/cherry/?name=ann").body == b"hello ann"
    answer = server.request("GET", "/cherry/count")
    sent = answer.all("Set-Cookie")[0].partition(";")[0]
    assert server.request("GET", "/cherry/count", {"Cookie": sent}).body == b"2"
    assert server.request("GET", "/cherry/count", {"Cookie": sent}).body == b"3"  # the lock of the session is free
    assert server.request("GET", "/cherry/stream").body == b"abc"


def test_starlette(server: Server) -> None:
    assert server.request("POST", "/deep/star/told", body=b"hi").body == b'["open","hi"]'
    assert server.request("GET", "/deep/star/stream").body == b"012"
