"""Shut-down and reload under real servers: what is being answered is answered, streams end, WebSockets hear 1001."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.servers.harness import ANSWER_WITHIN, KINDS, START_WITHIN, STOP_WITHIN, Server, start

# They end the streams and WebSockets at once. Hypercorn's workers don't get the signal: it cuts them off after its grace.
AT_ONCE = ["uvicorn", "granian-asgi", "gunicorn-asgi"]
AFTER_GRACE = ["hypercorn-trio"]
WSGI = ["gunicorn-sync", "gunicorn-gthread", "granian-wsgi", "waitress"]
# What SIGHUP makes them replace: one worker after the other. gunicorn's other workers do as this one.
RELOADED = ["uvicorn", "granian-asgi", "gunicorn-gthread"]

Start = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Start]:
    """Return ``serve(name, workers=1)``, which starts a server and waits until a worker has answered."""
    servers = []

    def serve(name: str, workers: int = 1) -> Server:
        log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as its server
        servers.append(start(KINDS[name], "tests.servers.restart:app", log, workers=workers))
        assert servers[-1].request("GET", "/readyz").status == 200
        return servers[-1]

    yield serve
    for server in servers:
        server.end()
        server.log.close()


@contextmanager
def begun(server: Server, path: str, first: bytes) -> Iterator[HTTPResponse]:
    """Yield a response whose first line has come."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=ANSWER_WITHIN)
    connection.request("GET", path)
    with closing(connection), connection.getresponse() as response:
        assert (response.status, response.readline()) == (200, first)
        yield response


@pytest.mark.parametrize("name", [*AT_ONCE, *AFTER_GRACE])
def test_R62_R65_on_shut_down_requests_are_answered_streams_end_and_websockets_hear_1001(
    name: str, serve: Start
) -> None:
    server = serve(name)
    url = f"ws://127.0.0.1:{server.port}/waits"
    with (
        begun(server, "/ticks", b"data: tick\n") as events,
        connect(url, open_timeout=ANSWER_WITHIN, close_timeout=ANSWER_WITHIN, proxy=None) as ws,
    ):
        assert ws.recv(timeout=ANSWER_WITHIN) == "begun"
        with begun(server, "/slow", b"begun\n") as slow:
            server.tell_to_end()
            assert slow.read() == b"done\n"
        with pytest.raises(ConnectionClosed):
            ws.recv(timeout=ANSWER_WITHIN)
        assert ws.close_code == 1001
        if name in AT_ONCE:
            assert events.read().endswith(b"\n")  # raises IncompleteRead for a stream that was cut
    server.process.wait(STOP_WITHIN)


@pytest.mark.parametrize("name", WSGI)
def test_R62_on_shut_down_requests_are_answered_under_wsgi(name: str, serve: Start) -> None:
    server = serve(name)
    with begun(server, "/slow", b"begun\n") as slow:
        server.tell_to_end()
        assert slow.read() == b"done\n"
    server.process.wait(STOP_WITHIN)


@pytest.mark.parametrize("name", RELOADED)
def test_no_request_fails_while_all_workers_are_replaced(name: str, serve: Start) -> None:
    server = serve(name, workers=2)
    answered: set[bytes] = set()
    failures: list[object] = []
    stop = threading.Event()

    def ask(path: str) -> None:
        while not stop.wait(0.01):
            connection = HTTPConnection("127.0.0.1", server.port, timeout=ANSWER_WITHIN)
            try:
                with closing(connection):
                    connection.request("GET", path, headers={"Connection": "close"})
                    with connection.getresponse() as response:
                        body = response.read()
            except (OSError, HTTPException) as error:
                failures.append((path, error))
                continue
            if response.status != 200 or (path == "/slow" and body != b"begun\ndone\n"):
                failures.append((path, response.status, body))
            if path == "/":
                answered.add(body)

    threads = [threading.Thread(target=ask, args=(path,)) for path in ("/", "/", "/slow")]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(answered) >= 1)
        old = set(answered)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: answered > old and not any(map(is_alive, old)))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []


def is_alive(process: bytes) -> bool:
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_WITHIN
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
