"""Servers as processes: started on a free port, ready when they listen, always stopped at the
end.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import Unavailable

ROOT = Path(__file__).resolve().parent.parent
START_PATIENCE = 60.0  # seconds for a server to listen
STOP_PATIENCE = 5.0  # seconds for it to end before it is killed


@contextlib.contextmanager
def uvicorn(factory: str, *options: str) -> Iterator[tuple[int, int]]:
    """Run a uvicorn with the application of `factory`, `module:function`.

    Yields its port and process id.
    """
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "--factory",
        factory,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    with running(
        [*command, "--no-access-log", "--log-level", "critical", *options], port
    ) as server:
        yield port, server.pid


@contextlib.contextmanager
def granian(factory: str) -> Iterator[tuple[int, int]]:
    """Run a granian, one worker, as `uvicorn` does."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "granian",
        "--factory",
        factory,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    with running([*command, "--interface", "asgi", "--log-level", "critical"], port) as server:
        yield port, server.pid


@contextlib.contextmanager
def running(command: Sequence[str], port: int, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server that listens on `port`.

    Raises `Unavailable` if it does not start. `options` are `Popen`'s.
    """
    server = subprocess.Popen(command, cwd=ROOT, **options)
    try:
        _wait_until_it_listens(server, port)
        yield server
    finally:
        server.terminate()
        try:
            server.wait(STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _wait_until_it_listens(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_PATIENCE
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise Unavailable(f"{server.args!r} does not start")
