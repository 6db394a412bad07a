"""``@ends_with_client`` under real servers."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.servers.harness import ANSWER_WITHIN, serving
from tests.support.waiting import PATIENCE, until

BODY = "word=plum&seconds={}"
HEAD = (
    "POST /work HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n"
    "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
)


@pytest.mark.parametrize(
    "name",
    [
        "uvicorn",
        "hypercorn-asyncio",
        "hypercorn-trio",
        "granian-asgi",
        "daphne",
        "gunicorn-asgi",
        "gunicorn-gthread",
    ],
)
def test_a_handler_ends_with_its_client(name: str, tmp_path: Path) -> None:
    with serving("tests.servers.leaving:app") as server_of:
        server = server_of(name)
        with httpx.Client(
            base_url=f"http://127.0.0.1:{server.port}", timeout=ANSWER_WITHIN
        ) as client:
            # one that waits gets its response; under WSGI the handler does not end before
            seconds = 0 if server.kind.protocol == "wsgi" else PATIENCE
            assert client.post("/work", data={"word": "pie", "seconds": "0"}).text == "pie"
            body = BODY.format(seconds)
            with socket.create_connection(("127.0.0.1", server.port)) as connection:
                connection.sendall((HEAD.format(len(body)) + body).encode())
                until(lambda: "plum" in client.get("/").json())
            if server.kind.protocol == "wsgi":
                assert client.get("/").json() == ["pie", "plum"]
            else:
                until(lambda: client.get("/").json() == ["pie", "plum", "cancelled"])
        assert server.leftovers() == []


@pytest.mark.parametrize("name", ["uvicorn", "hypercorn-asyncio", "granian-asgi", "gunicorn-asgi"])
def test_a_stream_ends_although_its_client_stays_and_reads_nothing(name: str) -> None:
    """daphne is missing, because its ``send`` never waits, and so is hypercorn on trio, where the
    end of the stream was not seen.
    """
    with serving("tests.servers.leaving:app") as server_of:
        server = server_of(name)
        page = f"http://127.0.0.1:{server.port}/"
        with socket.create_connection(("127.0.0.1", server.port)) as frozen:
            frozen.sendall(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
            until(lambda: httpx.get(page, timeout=ANSWER_WITHIN).json() == ["closed"])
        assert server.leftovers() == []
