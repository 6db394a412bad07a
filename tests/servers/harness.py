"""Real servers as processes, and requests as bytes: a test's bytes go over the wire unchanged.

A server runs in a new session (as with ``setsid``), so that its forks can be killed with it. As a
service manager does, the harness signals the first process alone, and kills the rest of the session
after that.
"""

from __future__ import annotations

import http.client
import io
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

from tests.servers.http2 import Http2
from tests.support.environment import unmeasured
from tests.support.fork_server import OPTIONS, Fork, fork_server
from tests.support.ports import free_port

ROOT = Path(__file__).parent.parent.parent
# Seconds, long enough for a busy machine, on which only a test that fails waits so long. Elsewhere
# a server starts in one to five, ends in less than four and answers at once.
START_WITHIN = 60.0
STOP_WITHIN = 40.0
ANSWER_WITHIN = 60.0

# Written by asyncio and trio when a task, a coroutine or an error is left over (tests/project/risks, R61).
LEFTOVERS = (
    "never awaited",
    "never retrieved",
    "was destroyed but it is pending",
    "ResourceWarning",
)


class Kind(NamedTuple):
    """A server's protocol and its command, in which ``{port}`` and ``{workers}`` are replaced."""

    protocol: str
    command: str
    has_raw_path: bool = True
    """Whether it passes the raw path on, in which ``%2F`` differs from a slash."""
    has_end: bool = True
    """Whether a worker runs the shutdown handlers after the signal to stop."""
    stop: signal.Signals = signal.SIGTERM
    """The signal that ends it gracefully."""
    is_http2: bool = False
    """Whether the tests' requests are sent over HTTP/2."""


# gunicorn kills a worker that takes longer to end, and the shutdown handlers don't run.
_GUNICORN = (
    "gunicorn --bind 127.0.0.1:{port} --workers {workers} --no-control-socket --graceful-timeout 20"
)
_GRANIAN = "tests.support.granian --port {port} --workers {workers}"

# How many seconds uvicorn waits for a worker's answer before it replaces the worker: long enough to
# start on a busy machine. A worker that is killed between the question and its answer is missed
# only after them.
HEALTH_CHECK = 60

# Another server is a row here, which all tests with ``KINDS`` then run on, a requirement in
# pyproject.toml and a section of docs/deploy/each-server.md; what it does differently is listed in
# docs/servers.md.
KINDS = {
    "uvicorn": Kind(
        "asgi",
        "uvicorn --port {port} --workers {workers}"
        f" --timeout-worker-healthcheck {HEALTH_CHECK}",
    ),
    "hypercorn-asyncio": Kind(
        "asgi", "hypercorn --bind 127.0.0.1:{port} --workers {workers} -k asyncio"
    ),
    "hypercorn-trio": Kind("asgi", "hypercorn --bind 127.0.0.1:{port} --workers {workers} -k trio"),
    "granian-asgi": Kind("asgi", f"{_GRANIAN} --interface asgi"),
    # Daphne has no lifespan: startup runs before the first request, and the application does not
    # learn of the end.
    "daphne": Kind("asgi", "daphne -b 127.0.0.1 -p {port}", has_end=False),
    "h2corn": Kind("asgi", "h2corn --bind 127.0.0.1:{port} --workers {workers} --no-access-log"),
    "anycorn-asyncio": Kind(
        "asgi", "anycorn --bind 127.0.0.1:{port} --workers {workers} -k asyncio"
    ),
    "anycorn-trio": Kind("asgi", "anycorn --bind 127.0.0.1:{port} --workers {workers} -k trio"),
    "gunicorn-asgi": Kind("asgi", f"{_GUNICORN} -k asgi"),
    "gunicorn-sync": Kind("wsgi", f"{_GUNICORN} -k sync"),
    "gunicorn-gthread": Kind("wsgi", f"{_GUNICORN} -k gthread --threads 4"),
    "gunicorn-gthread-preload": Kind("wsgi", f"{_GUNICORN} -k gthread --threads 4 --preload"),
    "granian-wsgi": Kind("wsgi", f"{_GRANIAN} --interface wsgi", has_raw_path=False),
    # Waitress does not handle SIGTERM: the kernel ends it, and nothing of Python runs.
    "waitress": Kind("wsgi", "waitress --listen=127.0.0.1:{port} --threads=4", stop=signal.SIGINT),
}

# The same servers over HTTP/2, by prior knowledge. hypercorn's trio worker is missing, because an
# ordinary request can end it.
_OVER_HTTP2 = {
    **dict.fromkeys(["hypercorn-asyncio", "granian-asgi", "granian-wsgi"], ""),
    **dict.fromkeys(["h2corn", "anycorn-asyncio", "anycorn-trio"], ""),
    **dict.fromkeys(
        ["gunicorn-asgi", "gunicorn-gthread"], " --http-protocols h2,h1 --http2-cleartext both"
    ),
}
HTTP2 = {
    f"{name}-h2": KINDS[name]._replace(command=KINDS[name].command + options, is_http2=True)
    for name, options in _OVER_HTTP2.items()
}
BOTH_VERSIONS = KINDS | HTTP2
# hypercorn and anycorn serve in their own process with no worker, which takes half the time
SERVE_ALONE = ("hypercorn", "anycorn")

REFUSE_HTTP_1_0 = {"h2corn"}


class Answer(NamedTuple):
    """A response as it came over the wire."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    raw_body: bytes
    """The bytes after the head: the body before its chunks are joined."""

    def header(self, name: str) -> str | None:
        """Return the value of a header, None without it. Fails if there are several."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) <= 1, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        """Return every value of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]


@dataclass
class Server:
    """A running server."""

    kind: Kind
    port: int
    process: Fork
    log: IO[bytes]
    told: bool = field(default=False, init=False)
    ended: bool = field(default=False, init=False)

    def request(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        """Send one request on a new connection and read until the response or connection ends."""
        if self.kind.is_http2:
            return self._request_over_http2(method, target, headers or {}, body)
        head = {"Host": f"127.0.0.1:{self.port}", "Connection": "close", **(headers or {})}
        if body and "Content-Length" not in head and "Transfer-Encoding" not in head:
            head["Content-Length"] = str(len(body))
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        return self.send(
            f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body, method
        )

    def _request_over_http2(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        with self.over_http2() as client:
            given = {"Host": f"127.0.0.1:{self.port}", **headers}
            if body and "Content-Length" not in given and "Transfer-Encoding" not in given:
                given["Content-Length"] = str(len(body))
            ends = not body and given.get("Content-Length", "0") == "0"
            stream = client.begin(method, target, given, ends=ends)
            client.send(stream, body, ends=True)
            got = client.response(stream)
        assert got.end == "complete", got
        return Answer(got.status, [*got.headers], got.body, got.body)

    def over_http2(self) -> Http2:
        """Connect by prior knowledge."""
        return Http2(self.port, ANSWER_WITHIN)

    def send(self, data: bytes, method: str = "GET") -> Answer:
        """Send ``data`` on a new connection and read until the server closes it."""
        with socket.create_connection(
            ("127.0.0.1", self.port), timeout=ANSWER_WITHIN
        ) as connection:
            # A server may have answered and closed before it read everything.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(data)
            received = b""
            with suppress(ConnectionResetError):
                while piece := connection.recv(65536):
                    received += piece
        return parsed(received, method)

    def output(self) -> str:
        """Return the server's standard output and error so far.

        The place in the file is the server's, too: what seeks has it write over its first lines.
        """
        number = self.log.fileno()
        return os.pread(number, os.fstat(number).st_size, 0).decode(errors="replace")

    def leftovers(self) -> list[str]:
        """Return the lines of the output that report something left over."""
        return [
            line for line in self.output().splitlines() if any(word in line for word in LEFTOVERS)
        ]

    def tell_to_end(self) -> None:
        """Send the signal without waiting."""
        self.told = True
        if self.process.poll() is None:
            self.process.send_signal(self.kind.stop)

    def end(self) -> None:
        """Stop the server, wait for it, and kill the rest of its session."""
        if self.ended:
            return
        self.ended = True
        RUNNING.remove(self)
        try:
            # hypercorn's handler of signals hangs if it is interrupted by another one
            if not self.told:
                self.tell_to_end()
            self.process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                # each process writes where its threads are
                os.killpg(self.process.pid, signal.SIGABRT)
                self.process.wait(4)
            raise AssertionError(
                f"the server did not end within {STOP_WITHIN:g} s:\n{self.output()}"
            ) from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


RUNNING: list[Server] = []  # a test that fails tells what these have written


def parsed(received: bytes, method: str) -> Answer:
    """Parse the bytes of one response with the standard library."""
    assert received, "the server closed the connection without an answer"
    response = http.client.HTTPResponse(_Socket(received), method=method)  # type: ignore[arg-type]
    response.begin()
    body = response.read()
    return Answer(response.status, response.getheaders(), body, received.partition(b"\r\n\r\n")[2])


class _Socket:
    """The part of a socket that ``HTTPResponse`` needs."""

    def __init__(self, received: bytes) -> None:
        self._received = received

    def makefile(self, *_: Any) -> IO[bytes]:
        return io.BytesIO(self._received)


class NotStartedError(AssertionError):
    """A server that has accepted no connection."""


# Why servers were launched a second time, until the test's report takes it (tests/support/plugin.py).
STARTED_AGAIN: list[str] = []


def start(kind: Kind, app: str, log: IO[bytes], **options: Any) -> Server:
    """Launch a server and wait until it accepts connections.

    One that does not start is launched once more, which the run reports: another program may have
    taken its port. What a server does after its start, its end included, is never repeated. Fails
    with its output if the second one does not start either.
    """
    server = launch(kind, app, log, **options)
    try:
        await_start(server)
    except NotStartedError as error:
        STARTED_AGAIN.append(f"{kind.command}: {error}")
        server = launch(kind, app, log, **options)
        await_start(server)
    return server


def await_start(server: Server) -> None:
    """Wait until a launched server accepts connections.

    Fails with its output if it exits or takes too long.
    """
    try:
        deadline = time.monotonic() + START_WITHIN
        while not accepts(server.port):
            if server.process.poll() is not None:
                raise NotStartedError(f"the server ended at its start:\n{server.output()}")
            if time.monotonic() >= deadline:
                raise NotStartedError(f"the server did not start:\n{server.output()}")
            time.sleep(0.02)
    except BaseException:
        server.end()
        raise


def launch(
    kind: Kind,
    app: str,
    log: IO[bytes],
    *,
    workers: int = 1,
    environ: Mapping[str, str] | None = None,
    port: int | None = None,
) -> Server:
    """Start a server without waiting for it; ``port`` is a free one unless given."""
    port = port or free_port()
    process = fork_server().run(
        ["-m", *kind.command.format(port=port, workers=workers).split(), app],
        {**unmeasured(**OPTIONS), **(environ or {})},
        folder=ROOT,
        output=log.fileno(),
        errors=log.fileno(),
    )
    RUNNING.append(Server(kind, port, process, log))
    return RUNNING[-1]


def end_all(servers: Sequence[Server]) -> None:
    """Stop all servers at once, which takes as long as the slowest."""
    for server in servers:
        server.tell_to_end()
    failures = []
    for server in servers:
        try:
            server.end()
        except AssertionError as error:
            failures.append(error)
    if failures:
        raise failures[0]


ServerOf = Callable[[str], Server]


@contextmanager
def serving(app: str, **options: Any) -> Iterator[ServerOf]:
    """Yield ``server_of(name)``, which starts that server with ``app`` when it is first asked for
    it.

    All are stopped together at the end. Fails if one has left a task, a coroutine or an error over.
    """
    running: dict[str, Server] = {}
    logs = ExitStack()

    def server_of(name: str) -> Server:
        if name not in running:
            log = logs.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - it is the context
            given = {"workers": 0 if name.startswith(SERVE_ALONE) else 1, **options}
            # not from BOTH_VERSIONS, because a test may have changed KINDS
            kind = KINDS.get(name) or HTTP2[name]
            running[name] = start(kind, app, log, **given)
        return running[name]

    with logs:
        try:
            yield server_of
        finally:
            end_all(list(running.values()))
            for name, server in running.items():
                assert not server.leftovers(), name


def accepts(port: int) -> bool:
    """Say whether a server listens on the port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
