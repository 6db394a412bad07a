"""The header X-Request-Start, as the proxies of docs/deploy write it, is a time of a form that LoadShedding
reads (tests/middleware/test_load_shedding.py).
"""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from benchmarks.proxies import PROXIES, command_of
from micropie import App
from tests.servers.harness import serving
from tests.servers.test_deployment import program, running
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE, until

# by name: what the header looks like
PATTERNS = {"nginx": r"t=\d{10}\.\d{3}", "haproxy": r"t=\d{16}"}


class Root(App):
    def index(self) -> str:
        return self.request.headers["x-request-start"]


app = Root()


@pytest.mark.parametrize("proxy", PROXIES)
def test_it_says_when_a_request_came(proxy: str, tmp_path: Path) -> None:
    program(proxy)
    with ExitStack() as stack:
        server_of = stack.enter_context(serving("tests.servers.test_request_start:app"))
        port = free_port()
        command = command_of(proxy, tmp_path, port, server_of("uvicorn").port)
        log = stack.enter_context((tmp_path / "out").open("wb"))
        stack.enter_context(running(command, tmp_path, {}, log))
        forged = {"X-Request-Start": "t=1000000000"}
        url = f"http://127.0.0.1:{port}/"
        until(lambda: answers(url))
        sent_at = time.time()
        start = httpx.get(url, headers=forged).text
    assert re.fullmatch(PATTERNS[proxy], start)
    came = float(start.removeprefix("t="))
    # a proxy reads its clock once for several events
    assert -1 < (came / 1e6 if came > 1e12 else came) - sent_at < PATIENCE


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False
