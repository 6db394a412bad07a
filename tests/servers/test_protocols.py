"""The table of docs/servers.md: streams that fail, are left or wait, large bodies and the shutdown,
over HTTP/1.1 and HTTP/2.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.servers.harness import (
    ANSWER_WITHIN,
    BOTH_VERSIONS,
    HTTP2,
    KINDS,
    Server,
    ServerOf,
    serving,
)
from tests.servers.protocols import ENDED
from tests.support.waiting import until

pytestmark = pytest.mark.processes

MEBIBYTE = 1024 * 1024
# Servers that don't end a stream that has failed: its client waits.
LEAVE_OPEN = ["daphne", "hypercorn-asyncio-h2", "anycorn-asyncio-h2", "anycorn-trio-h2"]
# If a request's body goes on after the response, these may leave the next request unanswered.
MAY_NOT_ANSWER = ["hypercorn-asyncio-h2", "anycorn-asyncio-h2", "anycorn-trio-h2"]
REFUSE_FULL_URLS = ("hypercorn", "anycorn", "daphne", "gunicorn-asgi")
# It handles the streams of a connection one after the other.
IN_TURN = "gunicorn-gthread-h2"


@pytest.fixture(scope="module")
def protocols_on() -> Iterator[ServerOf]:
    with serving("tests.servers.protocols:app") as server_of:
        yield server_of


@pytest.fixture(params=BOTH_VERSIONS)
def name(request: pytest.FixtureRequest) -> str:
    """The name of each server over each version."""
    chosen: str = request.param
    return chosen


def http1(server: Server, target: str) -> socket.socket:
    """Send a request on a connection that stays open."""
    client = socket.create_connection(("127.0.0.1", server.port), ANSWER_WITHIN)
    client.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return client


@pytest.mark.parametrize("name", KINDS)
def test_names_and_values_of_headers(protocols_on: ServerOf, name: str) -> None:
    request = (
        "GET /headers HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        "x-twice: 1\r\nX-Twice: 2\r\nX_Under: 1\r\nX-Text: é\r\n\r\n"
    )
    answer = protocols_on(name).send(request.encode())
    twice, text, under = "1, 2", "é".encode().decode("latin-1"), list[list[str]]()
    if name.startswith("gunicorn") and name != "gunicorn-asgi":
        twice = "1,2"
    if name == "granian-wsgi":
        twice, text, under = "1,2", "", [["x-under", "1"]]
    assert json.loads(answer.body) == [["x-twice", twice], *under, ["x-text", text]]
    names = {name for name, _ in answer.headers}
    lower = (KINDS[name].protocol == "asgi" and name != "daphne") or name == "granian-wsgi"
    assert ("content-type" in names, "Content-Type" in names) == (lower, not lower)


@pytest.mark.parametrize("name", KINDS)
def test_a_full_url_in_the_request_line(protocols_on: ServerOf, name: str) -> None:
    request = b"GET http://localhost/page HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    status = protocols_on(name).send(request).status
    assert status == (400 if name.startswith(REFUSE_FULL_URLS) else 200)


@pytest.mark.parametrize("path", ["/failing", "/failing_async", "/failing_events"])
def test_a_stream_that_fails_looks_incomplete(protocols_on: ServerOf, name: str, path: str) -> None:
    server = protocols_on(name)
    written = len(server.output())

    def is_logged() -> bool:
        return "RuntimeError: of the second" in server.output()[written:]

    if name in HTTP2:
        with server.over_http2() as client:
            stream = client.begin("GET", path)
            if name in LEAVE_OPEN:
                until(is_logged)
                assert client.response(client.begin("GET", "/page")).body == b"a page"
                assert client.received(stream).end == ""
            else:
                assert client.response(stream).end == "reset"
    else:
        with http1(server, path) as connection:
            received = b""
            while b"one" not in received and (piece := connection.recv(65536)):
                received += piece
            until(is_logged)
            assert server.request("GET", "/page").body == b"a page"
            if name in LEAVE_OPEN:
                connection.setblocking(False)
                with pytest.raises(BlockingIOError):
                    connection.recv(1)
            else:
                rest = b"".join(iter(lambda: connection.recv(65536), b""))
                assert b"\r\n0\r\n" not in received + rest


@contextmanager
def a_stream_is_closed(server: Server) -> Iterator[None]:
    """Wait until the server has closed the one stream that is opened in the block: a later test
    must not count it.
    """
    closed = int(server.request("GET", "/").body)
    yield
    until(lambda: int(server.request("GET", "/").body) > closed)
    assert server.request("GET", "/").body == b"%d" % (closed + 1)


def test_a_stream_ends_with_its_client(protocols_on: ServerOf, name: str) -> None:
    server = protocols_on(name)
    if name in HTTP2:
        with server.over_http2() as client, a_stream_is_closed(server):
            stream = client.begin("GET", "/endless")
            while not client.received(stream).body:
                client.listen()
            client.reset(stream)
            # the connection goes on
            assert client.response(client.begin("GET", "/page")).body == b"a page"
    else:
        with a_stream_is_closed(server), http1(server, "/endless") as connection:
            connection.recv(1)


def test_a_large_body(protocols_on: ServerOf, name: str) -> None:
    answer = protocols_on(name).request("POST", "/measure", {}, b"x" * 8 * MEBIBYTE)
    assert (answer.status, answer.body) == (200, b"%d" % (8 * MEBIBYTE))


@pytest.mark.parametrize(("path", "status"), [("/refuse", 403), ("/small", 413)])
@pytest.mark.parametrize("name", HTTP2)
def test_a_response_before_the_body(
    protocols_on: ServerOf, name: str, path: str, status: int
) -> None:
    with protocols_on(name).over_http2() as client:
        stream = client.begin("POST", path, ends=False)
        client.send(stream, b"x" * 4 * MEBIBYTE, ends=True)
        assert client.response(stream).status == status
        if name not in MAY_NOT_ANSWER:
            assert client.response(client.begin("GET", "/page")).body == b"a page"


def test_gunicorn_s_threads_close_a_connection_with_an_unread_body(protocols_on: ServerOf) -> None:
    server = protocols_on("gunicorn-gthread")
    head = b"POST /refuse HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), ANSWER_WITHIN) as client:
        client.sendall(head + b"x" * 70_000)
        received = b"".join(iter(lambda: client.recv(65536), b""))
    assert received.startswith(b"HTTP/1.1 403")
    assert b"\r\nConnection: keep-alive\r\n" in received


@pytest.mark.parametrize("name", [name for name in HTTP2 if name != IN_TURN])
def test_a_client_that_reads_nothing_stops_no_other_stream(
    protocols_on: ServerOf, name: str
) -> None:
    server = protocols_on(name)
    with a_stream_is_closed(server), server.over_http2() as client:
        full = client.begin("GET", "/endless", takes=False)
        while len(client.received(full).body) < 65_535:  # the window that it has been given
            client.listen()
        assert client.response(client.begin("GET", "/page")).body == b"a page"
        assert len(client.received(full).body) == 65_535


def test_gunicorn_s_threads_handle_the_streams_of_a_connection_in_turn(
    protocols_on: ServerOf,
) -> None:
    server = protocols_on(IN_TURN)
    with a_stream_is_closed(server), server.over_http2() as client:
        endless = client.begin("GET", "/endless")
        page = client.begin("GET", "/page")
        while len(client.received(endless).body) < 500_000:
            client.listen()
        assert client.received(page).status == 0
        client.reset(endless)
        assert client.response(page).body == b"a page"


def test_a_server_ends_with_an_idle_client(name: str) -> None:
    """A client closes its connection when the server says that it ends, as browsers do."""
    with serving("tests.servers.protocols:app", workers=1) as server_of:
        server = server_of(name)
        if name in HTTP2:
            with server.over_http2() as client:
                assert client.response(client.begin("GET", "/page")).body == b"a page"
                server.tell_to_end()
                while not client.has_goodbye:
                    client.listen()
        else:
            with http1(server, "/page") as connection:
                assert b"HTTP/1.1 200" in connection.recv(65536)
                server.tell_to_end()
                while connection.recv(65536):
                    pass
        server.end()
        assert (ENDED in server.output()) == BOTH_VERSIONS[name].has_end
