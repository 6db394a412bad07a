"""Programs that run beside a test: servers, workers, and the databases that they need."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx2

from tests.support.ports import free_port
from tests.support.redis_server import redis_server
from tests.support.waiting import until

BIN = Path(sys.executable).parent
PROGRAMS = f"{BIN}:{os.environ['PATH']}"


@contextmanager
def running(*command: str, **environ: str) -> Iterator[IO[str]]:
    """Run a program, and yield what it prints."""
    own = {**os.environ, "PATH": PROGRAMS, **environ}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=own
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout
        finally:
            process.terminate()


@contextmanager
def serving(*command: str, path: str = "/", **environ: str) -> Iterator[str]:
    """Run a server at the address that "{port}" in its command takes, and yield its URL."""
    port = free_port()
    with running(*(one.format(port=port) for one in command), **environ):
        url = f"http://127.0.0.1:{port}"
        until(lambda: is_served(url + path), 90)
        yield url


def is_served(url: str) -> bool:
    try:
        return httpx2.get(url).status_code < 500
    except httpx2.TransportError:
        return False


@contextmanager
def a_redis(program: str = "redis-server") -> Iterator[str]:
    """Run a server of Redis, and yield its URL."""
    with tempfile.TemporaryDirectory() as name, redis_server(Path(name), program=program) as url:
        yield url
