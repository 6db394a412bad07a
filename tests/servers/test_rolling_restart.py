"""Two servers behind nginx, restarted in turn, while clients open WebSockets and event streams all
the time: the streams end whole, and the WebSockets hear 1001 (of uvicorn perhaps 1012), because for
many clients 1000 is the end.

Clients begin again as soon as something has ended, so handshakes and streams also arrive after the
signal, at the server that ends.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect

from tests.servers import harness
from tests.servers.harness import ANSWER_WITHIN, KINDS, Server, end_all, start
from tests.servers.test_deployment import program, running
from tests.servers.test_restart import AT_ONCE, OTHERWISE, SETTINGS, SHORTER, begun
from tests.support.ports import free_port
from tests.support.waiting import until

pytestmark = pytest.mark.processes

NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
{user}
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder};
    proxy_temp_path {folder};
    fastcgi_temp_path {folder};
    uwsgi_temp_path {folder};
    scgi_temp_path {folder};
    upstream application {{
        server 127.0.0.1:{upstreams[0]} max_fails=0;
        server 127.0.0.1:{upstreams[1]} max_fails=0;
    }}
    map $http_upgrade $upgrade {{ default ""; websocket websocket; }}
    map $upgrade $connection_upgrade {{ default ""; websocket upgrade; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://application;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $upgrade;
            proxy_set_header Connection $connection_upgrade;
        }}
    }}
}}
"""
SOCKETS = ["waits", "chat", "news"]  # a handler that reads, one that forwards, one that only sends
STREAMS = ["ticks", "news"]
EACH = 3  # clients of each
ROUNDS = 2
LEFT = "left by the client"
# Of the server that ends, or of nginx, if both have closed the connection without a response.
REFUSED = {502, 503}


@contextmanager
def nginx_before(upstreams: list[int]) -> Iterator[int]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port, user = free_port(), "user root;" if os.geteuid() == 0 else ""
        configuration = NGINX.format(folder=folder, port=port, upstreams=upstreams, user=user)
        (folder / "nginx.conf").write_text(configuration)
        command = [program("nginx"), "-c", str(folder / "nginx.conf"), "-p", str(folder)]
        log = stack.enter_context((folder / "log").open("wb"))
        stack.enter_context(running(command, folder, {}, log))
        until(lambda: harness.accepts(port))
        yield port


class Clients:
    """Threads that open WebSockets and event streams, each again when it has ended."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.ended = Counter[tuple[str, object]]()
        self._open = Counter[str]()
        self._lock = threading.Lock()
        self.stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=(name, one))
            for name, one in [
                *((f"ws {path}", self._socket) for path in SOCKETS),
                *((f"events {path}", self._stream) for path in STREAMS),
                *((f"short {path}", self._short_socket) for path in SOCKETS),
            ] * EACH
        ]  # fmt: skip

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for thread in self._threads:
            thread.join()

    def wait_for_all(self) -> None:
        """Wait until all are open."""
        until(lambda: self._open.total() == EACH * len(SOCKETS + STREAMS), ANSWER_WITHIN)

    def _repeat(self, name: str, one: Callable[[str], object]) -> None:
        kind, path = name.split()
        while not self.stopping.is_set():
            self.ended[kind, one(path)] += 1

    @contextmanager
    def _begun(self, name: str) -> Iterator[None]:
        with self._lock:
            self._open[name] += 1
        try:
            yield
        finally:
            with self._lock:
                self._open[name] -= 1

    def _short_socket(self, path: str) -> object:
        """Like ``_socket``, but leave when the first message has come."""
        return self._socket(path, leave=True)

    def _socket(self, path: str, *, leave: bool = False) -> object:
        """Return the code that a WebSocket is closed with, or the status that it is refused with."""
        url = f"ws://127.0.0.1:{self.port}/{path}"
        try:
            with connect(url, proxy=None, open_timeout=ANSWER_WITHIN) as ws:
                ws.recv(ANSWER_WITHIN)
                if leave:
                    return LEFT
                with self._begun(path):
                    while not self.stopping.is_set():
                        with suppress(TimeoutError):
                            ws.recv(0.1)
                return LEFT
        except ConnectionClosed as error:
            return None if error.rcvd is None else error.rcvd.code
        except InvalidHandshake as error:
            response = getattr(error, "response", None)
            return "refused" if response is None else response.status_code

    def _stream(self, path: str) -> object:
        """Return how an event stream has ended."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_WITHIN)
        try:
            with closing(connection):
                connection.request("GET", f"/{path}")
                with connection.getresponse() as response:
                    if response.status != 200:
                        return response.status
                    if response.readline():
                        with self._begun(path):
                            while response.readline():
                                pass
                return "whole"
        except (OSError, HTTPException) as error:
            return type(error).__name__


def readiness_at_end(server: Server) -> object:
    """End a server. Return what a probe gets that has connected before, when micropie knows of the
    end, which it shows by the end of an event stream.
    """
    with (
        begun(server, "/ticks", b"data: tick\n") as events,
        closing(HTTPConnection("127.0.0.1", server.port, timeout=ANSWER_WITHIN)) as probe,
    ):
        probe.connect()
        server.tell_to_end()
        events.read()
        try:
            probe.request("GET", "/readyz")
            with probe.getresponse() as response:
                return response.status
        except (OSError, HTTPException):
            return "closed"


@pytest.mark.parametrize("name", AT_ONCE)
def test_R65_websockets_hear_1001_and_streams_end_whole_while_servers_restart_in_turn(
    name: str,
) -> None:
    with ExitStack() as stack:

        def serve(port: int) -> Server:
            log = stack.enter_context(tempfile.TemporaryFile())
            command = f"{KINDS[name].command} {SETTINGS[name][1]} {SHORTER.get(name, '')}"
            kind = KINDS[name]._replace(command=command)
            return start(kind, "tests.servers.restart:app", log, port=port)

        servers = [serve(free_port()) for _ in range(2)]
        readiness = set[object]()
        try:
            port = stack.enter_context(nginx_before([server.port for server in servers]))
            clients = stack.enter_context(Clients(port))
            clients.wait_for_all()
            for _ in range(ROUNDS):
                for index, server in enumerate(servers):
                    readiness.add(readiness_at_end(server))
                    server.end()
                    servers[index] = serve(server.port)
                    clients.wait_for_all()
            clients.stopping.set()
        finally:
            end_all(servers)
    ended: dict[str, set[object]] = {"ws": set(), "short": set(), "events": set()}
    for kind, how in clients.ended:
        ended[kind].add(how)
    codes = {1001, None if OTHERWISE.get(name) == 1006 else OTHERWISE.get(name, 1001)}
    assert ended["ws"] - REFUSED - codes <= {LEFT}
    assert ended["short"] - REFUSED - codes <= {LEFT}
    assert ended["events"] - REFUSED == {"whole"}
    # On a busy machine uvicorn is often faster than the application, so its 1012 counts too.
    heard = sum(clients.ended["ws", code] for code in codes if code is not None)
    assert heard >= ROUNDS * EACH * len(SOCKETS)
    assert readiness <= {"closed", 503}
