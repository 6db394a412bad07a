"""A request without Host, as HTTP/1.0 allows and proxies' health checks send it, gets the same
links under every server, and none of them shows on which socket a server listens.
"""

from __future__ import annotations

import re
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.harness import (
    ANSWER_WITHIN,
    KINDS,
    START_WITHIN,
    Answer,
    launch,
    parsed,
    serving,
)

pytestmark = pytest.mark.processes

APP = "tests.servers.links:app"
LINKS = b'["localhost","http://localhost/","http://localhost/away"]'
# The options with which a server listens on an address, and those for a UNIX socket.
LISTENING = {
    r"--port \{port\}": "--uds {socket}",
    r"-b 127.0.0.1 -p \{port\}": "-u {socket}",
    r"--bind 127.0.0.1:\{port\}": "--bind unix:{socket}",
    r"--listen=127.0.0.1:\{port\}": "--unix-socket={socket}",
}
REQUESTS = {
    "HTTP/1.0": "GET {path} HTTP/1.0\r\n\r\n",
    "HTTP/1.0, empty": "GET {path} HTTP/1.0\r\nHost:\r\n\r\n",
    "HTTP/1.1, empty": "GET {path} HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n",
}


def received(connection: socket.socket, request: str) -> Answer:
    """Send a request and return the response to it."""
    with connection:
        connection.sendall(request.encode())
        data = b""
        while piece := connection.recv(65536):
            data += piece
    return parsed(data, "GET")


def on_socket(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(ANSWER_WITHIN)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        raise
    return connection


def answers(connect: Callable[[], socket.socket]) -> dict[str, object]:
    """Return what each request gets: its status, and its links."""
    seen: dict[str, object] = {}
    for label, request in REQUESTS.items():
        page = received(connect(), request.format(path="/"))
        away = received(connect(), request.format(path="/away"))
        mounted = received(connect(), request.format(path="/mounted/"))
        location = away.header("Location")
        seen[label] = page.status, page.body, away.status, location, mounted.body
    return seen


EXPECTED = dict.fromkeys(REQUESTS, (200, LINKS, 303, "http://localhost/", b"localhost"))
# It refuses HTTP/1.0, and an empty Host.
EXPECTED_OF_H2CORN = dict.fromkeys(REQUESTS, (400, b"", 400, None, b""))


@pytest.mark.parametrize("name", KINDS)
def test_requests_without_a_host_work_over_tcp(name: str) -> None:
    with serving(APP) as server_of:
        port = server_of(name).port
        seen = answers(lambda: socket.create_connection(("127.0.0.1", port), timeout=ANSWER_WITHIN))
    assert seen == (EXPECTED_OF_H2CORN if name == "h2corn" else EXPECTED)


@pytest.mark.parametrize("name", KINDS)
def test_requests_without_a_host_work_over_a_unix_socket(name: str) -> None:
    kind = KINDS[name]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as log:
        path = Path(folder, "s")
        command = kind.command
        for tcp, unix in LISTENING.items():
            command = re.sub(tcp, unix.format(socket=path), command)
        assert str(path) in command
        workers = 0 if "hypercorn" in name else 1
        server = launch(kind._replace(command=command), APP, log, workers=workers)
        try:
            deadline = time.monotonic() + START_WITHIN
            while True:
                try:
                    on_socket(path).close()
                    break
                except OSError:
                    assert server.process.poll() is None, server.output()
                    assert time.monotonic() < deadline, server.output()
                    time.sleep(0.02)
            seen = answers(lambda: on_socket(path))
        finally:
            server.end()
    assert seen == (EXPECTED_OF_H2CORN if name == "h2corn" else EXPECTED)
