"""The columns of nginx and HAProxy in docs/servers.md, behind the configurations of their pages."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.servers.harness import ROOT
from tests.servers.test_deployment import is_ready, nginx_in, running
from tests.servers.test_several_machines import balancer
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE, until

pytestmark = pytest.mark.processes

COMMAND = [sys.executable, "-m", "uvicorn", "tests.servers.behind:app", "--http", "h11"]
LARGEST_COOKIE = 3840  # bytes of its value


@pytest.fixture(scope="module", params=["nginx", "haproxy"])
def client(request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    """A client of a site behind the proxy."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        log = stack.enter_context((folder / "log").open("wb"))
        if request.param == "nginx":
            command = [*COMMAND, "--no-proxy-headers", "--uds", f"{folder}/server.sock"]
            stack.enter_context(running(command, ROOT, {"PROXY": "unix"}, log))
            _, port, _ = stack.enter_context(nginx_in(folder, log))
            until(lambda: is_ready(f"http://127.0.0.1:{port}"))
            url, host = f"http://127.0.0.1:{port}", "blog.example.com"
        else:
            port = free_port()
            command = [*COMMAND, "--no-proxy-headers", "--port", str(port)]
            stack.enter_context(running(command, ROOT, {"PROXY": "127.0.0.1"}, log))
            until(lambda: is_ready(f"http://127.0.0.1:{port}"))
            machines = dict.fromkeys(["10.0.0.11:8000", "10.0.0.12:8000"], port)
            proxy = stack.enter_context(balancer(folder, machines))
            url, host = f"https://127.0.0.1:{proxy.ports[1]}", "shop.example.com"
        yield stack.enter_context(
            httpx.Client(base_url=url, headers={"Host": host}, verify=False, timeout=PATIENCE)
        )


def test_the_largest_session_cookie(client: httpx.Client) -> None:
    answers = [client.get(f"/remember?size={size}") for size in range(3400, 3900, 4)]
    cookies = [answer.headers["set-cookie"] for answer in answers if answer.status_code == 200]
    values = [len(cookie.partition(";")[0].partition("=")[2]) for cookie in cookies]
    # the application itself refuses larger ones, with a 500 and not the proxy's 502
    assert LARGEST_COOKIE - 20 < max(values) <= LARGEST_COOKIE
    assert {answer.status_code for answer in answers} == {200, 500}


@pytest.mark.parametrize(("size", "status"), [(5_000, 200), (20_000, 502)])
def test_long_headers(client: httpx.Client, size: int, status: int) -> None:
    assert client.get(f"/header?size={size}").status_code == status


def test_a_stream_that_fails_is_cut(client: httpx.Client) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/failing")


def test_a_client_that_leaves_before_the_response_is_noticed(client: httpx.Client) -> None:
    def is_noticed() -> bool:
        with suppress(httpx.TimeoutException):  # on a busy machine before it is connected
            client.get("/waiting", timeout=0.5)
        return "left" in client.get("/").json()

    until(is_noticed)


def test_events_come_at_once_and_a_client_that_leaves_is_noticed(client: httpx.Client) -> None:
    with client.stream("GET", "/events") as answer:
        lines = answer.iter_lines()
        while next(lines) != "data: one":
            pass
        client.get("/go")
        while next(lines) != "data: two":
            pass
    until(lambda: "closed" in client.get("/").json())
