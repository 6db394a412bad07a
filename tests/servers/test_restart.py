"""Shutdown and reload under real servers: what is being answered is answered, streams end,
WebSockets hear 1001.

The servers are started as docs/operation.md says.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from pathlib import Path

import httpx2 as httpx
import pytest
from h2.connection import H2Connection
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.servers import harness
from tests.servers.cluster.network import accepts, children_of
from tests.servers.harness import (
    ANSWER_WITHIN,
    KINDS,
    ROOT,
    START_WITHIN,
    STOP_WITHIN,
    Server,
    start,
)
from tests.servers.test_deployment import replaced, running, text_of
from tests.support.ports import free_port

# The row of the page's table, and the settings that it states.
SETTINGS = {
    "uvicorn": ("uvicorn", "--timeout-worker-healthcheck 20 --timeout-graceful-shutdown 30"),
    "granian-asgi": (
        "granian, `--interface asgi`",
        "--respawn-interval 15 --http2-keep-alive-interval 5000 --workers-kill-timeout 30",
    ),
    "granian-wsgi": (
        "granian, `--interface wsgi`",
        "--respawn-interval 15 --workers-kill-timeout 10",
    ),
    "gunicorn-asgi": ("gunicorn, `-k asgi`", "--graceful-timeout 30"),
    "gunicorn-gthread": (
        "gunicorn, `-k gthread`",
        "-c python:micropie.wsgi.gunicorn --graceful-timeout 30",
    ),
    "gunicorn-sync": ("gunicorn, `-k sync`", "--graceful-timeout 30"),
    "hypercorn-trio": ("hypercorn, anycorn", "--graceful-timeout 10"),
    "anycorn-trio": ("hypercorn, anycorn", "--graceful-timeout 10"),
    "h2corn": ("h2corn", "--timeout-graceful-shutdown 30"),
    "waitress": ("waitress", ""),
    "daphne": ("daphne", ""),
}
# Hypercorn's streams and WebSockets wait until the grace is over, which on a busy machine has to be
# longer than the half second of a request; of two options the last one counts. granian waits for so
# long with each old worker after it has started a new one, and then for an answer to a PING.
SHORTER = {
    "hypercorn-trio": "--graceful-timeout 5",
    "anycorn-trio": "--graceful-timeout 5",
    "granian-asgi": "--respawn-interval 1 --http2-keep-alive-timeout 1",
}
# They end the streams and WebSockets at once. Hypercorn's workers don't get the signal: it cuts
# them off after its grace.
AT_ONCE = ["uvicorn", "granian-asgi", "gunicorn-asgi", "h2corn"]
AFTER_GRACE = ["hypercorn-trio", "anycorn-trio"]
# What a WebSocket may hear instead. A worker of granian may be over before the close frame that it
# was given has left, about once in ten times. Uvicorn looks ten times a second whether it has to
# end, and closes with 1012 if it is faster.
OTHERWISE = {"granian-asgi": 1006, "uvicorn": 1012}
WSGI = ["gunicorn-sync", "gunicorn-gthread", "granian-wsgi", "waitress"]
# What SIGHUP makes them replace: one worker after the other. The sync worker does as this one of
# gunicorn.
RELOADED = ["uvicorn", "granian-asgi", "gunicorn-asgi", "gunicorn-gthread"]
# A worker that is told to end closes connections that it has accepted and not read from; seldom is
# there one.
CLOSES_UNREAD = ["uvicorn", "granian-asgi"]

Start = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Start]:
    """Return ``serve(name, workers=1)``, which starts a server and waits until a worker has
    answered.
    """
    servers: list[Server] = []
    logs = ExitStack()

    def serve(name: str, workers: int = 1) -> Server:
        log = logs.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - it is the context
        command = f"{KINDS[name].command} {SETTINGS[name][1]} {SHORTER.get(name, '')}"
        kind = KINDS[name]._replace(command=command)
        servers.append(start(kind, "tests.servers.restart:app", log, workers=workers))
        # a health check fails after 2 s on a busy machine
        wait_until(lambda: servers[-1].request("GET", "/readyz").status == 200)
        return servers[-1]

    with logs:
        yield serve
        for server in servers:
            server.end()


@contextmanager
def begun(server: Server, path: str, first: bytes) -> Iterator[HTTPResponse]:
    """Yield a response whose first line has come; events have a comment in front of it."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=ANSWER_WITHIN)
    connection.request("GET", path)
    with closing(connection), connection.getresponse() as response:
        while (line := response.readline()) in (b": \n", b"\n"):
            pass
        assert (response.status, line) == (200, first)
        yield response


@contextmanager
def begun_socket(server: Server) -> Iterator[ClientConnection]:
    """Yield a WebSocket whose first message has come."""
    url = f"ws://127.0.0.1:{server.port}/waits"
    with connect(url, open_timeout=ANSWER_WITHIN, close_timeout=ANSWER_WITHIN, proxy=None) as ws:
        assert ws.recv(timeout=ANSWER_WITHIN) == "begun"
        yield ws


def end_of(ws: ClientConnection) -> int | None:
    """The code that a WebSocket is closed with."""
    with pytest.raises(ConnectionClosed):
        ws.recv(timeout=ANSWER_WITHIN)
    return ws.close_code


@pytest.mark.parametrize("name", SETTINGS)
def test_the_tested_settings_are_those_in_the_docs(name: str) -> None:
    title, settings = SETTINGS[name]
    page = (ROOT / "docs" / "operation.md").read_text()
    (row,) = [
        line for line in page.splitlines() if line.startswith(f"|{title}|") and line.count("|") == 5
    ]
    stated = row.split("|")[2].strip()
    assert stated.startswith(f"`{settings}`") if settings else "`-" not in stated
    assert ("SIGINT" in stated) == (KINDS[name].stop is signal.SIGINT)


@pytest.mark.parametrize("name", [*AT_ONCE, *AFTER_GRACE])
def test_R62_R65_at_shutdown_requests_finish_streams_end_and_websockets_get_1001(
    name: str, serve: Start
) -> None:
    server = serve(name)
    with begun(server, "/ticks", b"data: tick\n") as events, begun_socket(server) as ws:
        with begun(server, "/slow", b"begun\n") as slow:
            server.tell_to_end()
            assert slow.read() == b"done\n"
        assert end_of(ws) in (1001, OTHERWISE.get(name))
        if name in AT_ONCE:
            assert events.read().endswith(b"\n")  # raises IncompleteRead for a stream that was cut
        else:
            with pytest.raises(IncompleteRead):
                events.read()
    server.process.wait(STOP_WITHIN)


@pytest.mark.processes
def test_R62_an_unresponsive_http2_client_does_not_keep_a_granian_worker_running(
    serve: Start,
) -> None:
    """Its connection is closed before the worker would be killed, so the shutdown handlers run.

    granian may log that it kills a worker that has just ended: two of its threads wait for it.
    """
    server = serve("granian-asgi")
    client = H2Connection()
    client.initiate_connection()
    method, scheme, path = (":method", "GET"), (":scheme", "http"), (":path", "/ticks")
    client.send_headers(1, [method, scheme, (":authority", "localhost"), path], end_stream=True)
    with socket.create_connection(("127.0.0.1", server.port), ANSWER_WITHIN) as connection:
        connection.sendall(client.data_to_send())
        received = b""
        while b"tick" not in received:
            received += connection.recv(65536)
        server.tell_to_end()
        assert server.process.wait(STOP_WITHIN) == 0
    assert "the lifespan has ended" in server.output()


@pytest.mark.parametrize("name", WSGI)
def test_R62_at_shutdown_requests_finish_under_wsgi(name: str, serve: Start) -> None:
    server = serve(name)
    with begun(server, "/slow", b"begun\n") as slow:
        server.tell_to_end()
        assert slow.read() == b"done\n"
    server.process.wait(STOP_WITHIN)


def test_daphne_aborts_running_responses(serve: Start) -> None:
    server = serve("daphne")
    with begun(server, "/slow/10", b"begun\n") as slow, begun_socket(server) as ws:
        server.tell_to_end()
        with pytest.raises(IncompleteRead):
            slow.read()
        assert end_of(ws) != 1001
    server.process.wait(STOP_WITHIN)


@pytest.mark.parametrize("name", RELOADED)
def test_R62_R65_replacing_all_workers_fails_no_request_and_notifies_long_connections(
    name: str, serve: Start
) -> None:
    server = serve(name, workers=2)
    failures: list[object] = []
    unread: list[object] = []
    stop = threading.Event()

    def ask(path: str) -> None:
        while not stop.wait(0.01):
            has_begun = False
            connection = HTTPConnection("127.0.0.1", server.port, timeout=ANSWER_WITHIN)
            try:
                with closing(connection):
                    connection.request("GET", path, headers={"Connection": "close"})
                    with connection.getresponse() as response:
                        has_begun = True
                        body = response.read()
            except (OSError, HTTPException) as error:
                is_unread = (
                    name in CLOSES_UNREAD
                    and not has_begun
                    and isinstance(error, ConnectionResetError)
                )
                (unread if is_unread else failures).append((path, error))
                continue
            if response.status != 200 or (path == "/slow" and body != b"begun\ndone\n"):
                failures.append((path, response.status, body))

    threads = [threading.Thread(target=ask, args=(path,)) for path in ("/", "/", "/slow")]
    for thread in threads:
        thread.start()
    try:
        # A worker that is told to end while it starts may end late.
        wait_until(lambda: len(workers_of(server)) == 2)
        old = workers_of(server)
        with ExitStack() as stack:
            events = stack.enter_context(begun(server, "/ticks", b"data: tick\n"))
            sockets = (
                [stack.enter_context(begun_socket(server))]
                if server.kind.protocol == "asgi"
                else []
            )
            server.process.send_signal(signal.SIGHUP)
            assert events.read().endswith(b"\n")  # raises IncompleteRead for a stream that was cut
            assert {end_of(ws) for ws in sockets} <= {1001, OTHERWISE.get(name)}
        wait_until(lambda: len(workers_of(server)) == 2 and not any(map(is_alive, old)))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert len(unread) <= 3  # of three clients, when one worker ends


def test_gunicorn_responds_while_a_new_version_is_imported(tmp_path: Path) -> None:
    """By the commands of the page: the old server goes on until the new one is there, however long
    its import takes.
    """
    page = text_of("workers.md")
    (command,) = re.findall(r"^    (gunicorn app:app --preload .*)$", page, re.MULTILINE)
    (switch,) = re.findall(r"^(    old=.*?)\n\n", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "app.py").write_text(VERSION.format("old"))
    variables = {"PYTHONPATH": str(ROOT), "XDG_RUNTIME_DIR": str(tmp_path)}
    port = free_port()
    options = shlex.split(replaced(command, ("gunicorn ", ""), ("--workers 2", "--workers 1")))
    started = [
        str(Path(sys.executable).parent / "gunicorn"),
        "--bind",
        f"127.0.0.1:{port}",
        *options,
    ]

    def version() -> str:
        return httpx.get(f"http://127.0.0.1:{port}/", timeout=ANSWER_WITHIN).text

    with (tmp_path / "log").open("w+b") as log, running(started, tmp_path, variables, log) as old:
        wait_until(lambda: harness.accepts(port))
        os.mkfifo(tmp_path / "import")
        (tmp_path / "app.py").write_text(
            f"open({str(tmp_path / 'import')!r}).read()\n" + VERSION.format("new")
        )
        with subprocess.Popen(["sh", "-ec", switch], cwd=tmp_path) as switching:
            try:
                # once the import reads from it, until this is closed
                with (tmp_path / "import").open("wb"):
                    assert version() == "old"
                    assert switching.poll() is None
                old.wait(STOP_WITHIN)
                assert version() == "new"
            finally:
                switching.kill()
                os.killpg(old.pid, signal.SIGKILL)  # the new one is in its group


# Shorter than the page's, so that they end before the new worker has started.
TOO_SHORT = {
    "uvicorn": ("--workers 2 --timeout-worker-healthcheck 1", "aborting the restart"),
    "granian": ("--interface asgi --respawn-interval 0.5", "Stopped old worker-1"),
}


@pytest.mark.parametrize("name", TOO_SHORT)
def test_a_start_longer_than_its_option_prevents_a_reload(name: str, tmp_path: Path) -> None:
    """uvicorn goes on with the old version, granian refuses connections."""
    options, logged = TOO_SHORT[name]
    (tmp_path / "app.py").write_text(VERSION.format("old"))
    port = free_port()
    program = Path(sys.executable).parent / name
    started = [str(program), "app:app", "--port", str(port), *shlex.split(options)]
    environ = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    with (tmp_path / "log").open("w+b") as log, running(started, tmp_path, environ, log) as server:
        wait_until(lambda: harness.accepts(port))
        os.mkfifo(tmp_path / "import")
        (tmp_path / "app.py").write_text(f"open({str(tmp_path / 'import')!r}).read()\n")
        try:
            server.send_signal(signal.SIGHUP)
            wait_until(lambda: logged in (tmp_path / "log").read_text())
            if name == "uvicorn":
                url = f"http://127.0.0.1:{port}/"
                assert httpx.get(url, timeout=ANSWER_WITHIN).text == "old"
            else:
                wait_until(lambda: not harness.accepts(port))
        finally:
            os.killpg(server.pid, signal.SIGKILL)  # with the worker that waits


VERSION = """
from micropie import App

class Root(App):
    def index(self):
        return {!r}

app = Root()
"""


def workers_of(server: Server) -> set[int]:
    """Return the processes that wait for connections."""
    return {child for child in children_of(server.process.pid) if accepts(child)}


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_WITHIN
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
