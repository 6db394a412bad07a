"""``@ends_with_client`` under real servers."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.servers.harness import ANSWER_WITHIN, HTTP2, serving
from tests.support.waiting import PATIENCE, until

BODY = "word=plum&seconds={}"
HEAD = (
    "POST /work HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n"
    "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
)
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    "name",
    [
        "uvicorn",
        "hypercorn-asyncio",
        "hypercorn-trio",
        "granian-asgi",
        "daphne",
        "anycorn-asyncio",
        "anycorn-trio",
        "gunicorn-asgi",
        "gunicorn-gthread",
        *HTTP2,
    ],
)
def test_a_handler_ends_with_its_client(name: str, tmp_path: Path) -> None:
    """h2corn is missing: over HTTP/1.1 it reports such a client when something is sent to it."""
    with serving("tests.servers.leaving:app") as server_of:
        server = server_of(name)
        with httpx.Client(
            base_url=f"http://127.0.0.1:{server.port}", timeout=ANSWER_WITHIN
        ) as client:
            # one that waits gets its response; under WSGI the handler does not end before
            seconds = 0 if server.kind.protocol == "wsgi" else PATIENCE
            assert client.post("/work", data={"word": "pie", "seconds": "0"}).text == "pie"
            body = BODY.format(seconds)
            with ExitStack() as connected:
                if server.kind.is_http2:
                    leaving = connected.enter_context(server.over_http2())
                    stream = leaving.begin("POST", "/work", FORM, ends=False)
                    leaving.send(stream, body.encode(), ends=True)
                else:
                    address = ("127.0.0.1", server.port)
                    connection = connected.enter_context(socket.create_connection(address))
                    connection.sendall((HEAD.format(len(body)) + body).encode())
                until(lambda: "plum" in client.get("/").json())
                if server.kind.is_http2:
                    leaving.reset(stream)
            if server.kind.protocol == "wsgi":
                assert client.get("/").json() == ["pie", "plum"]
            else:
                until(lambda: client.get("/").json() == ["pie", "plum", "cancelled"])
        assert server.leftovers() == []


@pytest.mark.parametrize(
    "name",
    [
        *("uvicorn", "hypercorn-asyncio", "hypercorn-trio", "granian-asgi", "h2corn"),
        *("anycorn-asyncio", "anycorn-trio", "gunicorn-asgi"),
        *("anycorn-asyncio-h2", "anycorn-trio-h2", "granian-asgi-h2", "h2corn-h2"),
        "gunicorn-asgi-h2",
    ],
)
def test_a_stream_ends_although_its_client_stays_and_reads_nothing(name: str) -> None:
    """daphne and hypercorn's HTTP/2 are missing, because their ``send`` never waits."""
    with serving("tests.servers.leaving:app") as server_of:
        server = server_of(name)
        page = f"http://127.0.0.1:{server.port}/"
        with ExitStack() as connected:
            if server.kind.is_http2:
                connected.enter_context(server.over_http2()).begin("GET", "/endless")
            else:
                address = ("127.0.0.1", server.port)
                frozen = connected.enter_context(socket.create_connection(address))
                frozen.sendall(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with httpx.Client(base_url=page, timeout=ANSWER_WITHIN) as reading:
                # two on one connection, which the server goes on using after the first
                assert [reading.get("/short").text for _ in range(2)] == ["plumpie", "plumpie"]
                until(lambda: reading.get("/").json() == ["closed"])
        assert server.leftovers() == []
        assert "Traceback" not in server.output()
