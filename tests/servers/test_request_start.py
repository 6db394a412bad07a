"""The header X-Request-Start, as the proxies of docs/deploy write it, and what LoadShedding makes of
it (tests/middleware/test_load_shedding.py).
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx2 as httpx
import pytest

from benchmarks.proxies import PROXIES, command_of
from benchmarks.soak import load
from micropie import App
from micropie.middleware import LoadShedding
from tests.servers.harness import Server, serving
from tests.servers.test_deployment import program, running
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE, until

# by name: what the header looks like
PATTERNS = {"nginx": r"t=\d{10}\.\d{3}", "haproxy": r"t=\d{16}"}


class Root(App):
    def index(self) -> str:
        return self.request.headers["x-request-start"]


class Busy(Root):
    async def work(self) -> None:
        time.sleep(0.02)  # noqa: ASYNC251 - fifty a second, one after the other


app, busy = Root(), Busy()
busy.middlewares.append(LoadShedding())


class Proxied(NamedTuple):
    server: Server
    port: int
    url: str


@contextmanager
def behind(proxy: str, name: str, folder: Path, clock: str = "") -> Iterator[Proxied]:
    """Run an application behind a proxy. HAProxy's ``clock`` may be so many microseconds ahead."""
    program(proxy)
    with ExitStack() as stack:
        server = stack.enter_context(serving(f"tests.servers.test_request_start:{name}"))("uvicorn")
        port = free_port()
        command = command_of(proxy, folder, port, server.port)
        if clock:
            text = (folder / "conf").read_text()
            assert "date(0," in text
            (folder / "conf").write_text(text.replace("date(0,", f"date({clock},"))
        log = stack.enter_context((folder / "out").open("wb"))
        stack.enter_context(running(command, folder, {}, log))
        url = f"http://127.0.0.1:{port}/"
        until(lambda: answers(url))
        yield Proxied(server, port, url)


@pytest.mark.parametrize("proxy", PROXIES)
def test_the_proxy_adds_the_time_at_which_a_request_arrived(proxy: str, tmp_path: Path) -> None:
    with behind(proxy, "app", tmp_path) as proxied:
        forged = {"X-Request-Start": "t=1000000000"}
        sent_at = time.time()
        start = httpx.get(proxied.url, headers=forged, timeout=PATIENCE).text
    assert re.fullmatch(PATTERNS[proxy], start)
    came = float(start.removeprefix("t="))
    # a proxy reads its clock once for several events
    assert -1 < (came / 1e6 if came > 1e12 else came) - sent_at < PATIENCE


@pytest.mark.parametrize("proxy", ["haproxy", pytest.param("nginx", marks=pytest.mark.in_test_all)])
def test_a_queue_is_not_mistaken_for_differing_clocks(proxy: str, tmp_path: Path) -> None:
    with behind(proxy, "busy", tmp_path) as proxied:
        found = asyncio.run(load(proxied.port, 250, 4))
        until(lambda: answers(proxied.url))
        assert found.seconds.keys() == {200, 503}
        assert "clocks" not in proxied.server.output()


def test_differing_clocks_are_not_mistaken_for_a_queue(tmp_path: Path) -> None:
    with (
        behind("haproxy", "busy", tmp_path, "-30000000") as proxied,
        httpx.Client(timeout=PATIENCE) as client,
    ):

        def is_noticed() -> bool:
            client.get(proxied.url)
            # on a busy machine, each request of a second may be some tenths older
            return bool(re.search(r"seem to be 30\.\d seconds old", proxied.server.output()))

        until(is_noticed)
        assert [client.get(proxied.url).status_code for _ in range(200)] == [200] * 200


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=PATIENCE).status_code == 200
    except httpx.TransportError:
        return False
