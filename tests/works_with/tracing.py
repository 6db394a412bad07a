"""Servers below ``opentelemetry-instrument``, which send their spans to another process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx2

from tests.support.waiting import until
from tests.works_with.combinations import World, works

BIN = Path(sys.executable).parent
WSGI = """\
from wsgiref.simple_server import make_server
from tests.works_with.shop import app
server = make_server("127.0.0.1", 0, app)
print(server.server_port, flush=True)
server.serve_forever()
"""
ASGI = """\
import socket, uvicorn
from tests.works_with.shop import app
bound = socket.create_server(("127.0.0.1", 0))
print(bound.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="error")).run([bound])
"""


@contextmanager
def running(*command: str) -> Iterator[IO[str]]:
    """Run a program, and yield what it prints."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout
        finally:
            process.terminate()


@works("opentelemetry-distro", "asyncio", "wsgi")
def opentelemetry(world: World) -> None:
    with running(sys.executable, "-m", "tests.works_with.collector") as collector:
        endpoint = f"http://127.0.0.1:{int(collector.readline())}"
        instrument = (
            *(str(BIN / "opentelemetry-instrument"), "--traces_exporter", "otlp"),
            *("--metrics_exporter", "none", "--logs_exporter", "none"),
            *("--bsp_schedule_delay", "100"),
            *("--exporter_otlp_protocol", "http/protobuf", "--exporter_otlp_endpoint", endpoint),
        )
        code = WSGI if world == "wsgi" else ASGI
        with running(*instrument, sys.executable, "-c", code) as server:
            address = f"http://127.0.0.1:{int(server.readline())}/pies/3"
            until(lambda: answers(address))
            assert collector.readline() == "GET /pies/<number:int>\n"


def answers(address: str) -> bool:
    try:
        return httpx2.get(address).text == "pie 3"
    except httpx2.ConnectError:
        return False
