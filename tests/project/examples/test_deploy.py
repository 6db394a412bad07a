"""The site of ``examples/deploy/`` behind a real nginx, with the configuration that stands beside
it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx
import pytest
from websockets.sync.client import connect

from tests.servers.harness import ANSWER_WITHIN, KINDS, ROOT, START_WITHIN, Kind, accepts, start
from tests.support.guard import guard_of
from tests.support.ports import free_port

pytestmark = pytest.mark.processes

# nginx.conf is for the http block of a machine's own configuration.
AROUND = """
{user}
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr;
events {{ worker_connections 64; }}
http {{
    types {{ text/css css; }}
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    {site}
}}
"""
UVICORN = KINDS["uvicorn"].command
SERVERS = {
    "uvicorn": Kind("asgi", f"{UVICORN} --no-proxy-headers"),
    "gunicorn": KINDS["gunicorn-gthread"],
}


@contextmanager
def nginx(directory: Path, upstream: int) -> Iterator[int]:
    """Start nginx in front of the port ``upstream``, with the example's configuration.

    Yield its own port.
    """
    port = free_port()
    site = (ROOT / "examples" / "deploy" / "nginx.conf").read_text()
    for old, new in (
        ("listen 80;", f"listen 127.0.0.1:{port};"),
        ("127.0.0.1:8000", f"127.0.0.1:{upstream}"),
        ("/srv/site", str(ROOT)),
    ):
        assert old in site
        site = site.replace(old, new)
    # or its worker could not write below ``directory``
    user = "user root;" if os.getuid() == 0 else ""
    (directory / "nginx.conf").write_text(AROUND.format(site=site, user=user))
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")
    assert program, "nginx is missing: scripts/install-system-packages installs it"
    command = [program, "-p", str(directory), "-c", "nginx.conf", "-e", "stderr"]
    with (directory / "output").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        guard = guard_of(process)
        try:
            deadline = time.monotonic() + START_WITHIN
            while not accepts(port):
                assert process.poll() is None, (directory / "output").read_text()
                assert time.monotonic() < deadline, (directory / "output").read_text()
                time.sleep(0.02)
            yield port
        finally:
            process.terminate()
            process.wait(ANSWER_WITHIN)
            guard.kill()
            guard.communicate()


@pytest.fixture(scope="module", params=list(SERVERS))
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, int]]:
    """Yield the server's name and nginx's port."""
    with tempfile.TemporaryFile() as log:
        server = start(SERVERS[request.param], "examples.deploy.app:app", log)
        try:
            with nginx(tmp_path_factory.mktemp("nginx"), server.port) as port:
                yield request.param, port
        finally:
            server.end()
        assert "Traceback" not in server.output()


@pytest.fixture
def client(site: tuple[str, int]) -> Iterator[httpx.Client]:
    base = f"http://127.0.0.1:{site[1]}"
    with httpx.Client(
        base_url=base, headers={"Host": "example.com"}, timeout=ANSWER_WITHIN, trust_env=False
    ) as client:
        yield client


def test_the_client_s_address_comes_from_nginx(client: httpx.Client) -> None:
    lies = {
        "X-Forwarded-For": "6.6.6.6",
        "X-Forwarded-Proto": "https",
    }
    for headers in ({}, lies):
        found = client.get("/me", headers=headers).json()
        assert found["client"][0] == "127.0.0.1"
        assert found["url"] == "http://example.com/me"
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 400


def test_pages_and_files_are_served_behind_nginx(client: httpx.Client) -> None:
    page = client.get("/")
    assert "You come from 127.0.0.1 by http." in page.text
    assert page.headers["x-frame-options"] == "DENY"
    style = client.get("/static/site.css")
    assert (style.status_code, style.headers["content-type"]) == (200, "text/css")
    assert style.headers["cache-control"] == "max-age=3600"


def test_uploads_are_limited_behind_nginx(client: httpx.Client) -> None:
    sent = client.post("/upload", content=bytes(5_000_000))
    assert (sent.status_code, sent.text) == (200, '{"bytes":5000000}')
    assert client.post("/upload", content=bytes(21 * 1024**2)).status_code == 413
    assert (
        client.post("/upload", content=b"x", headers={"Origin": "http://evil.example"}).status_code
        == 403
    )


def test_events_arrive_immediately_behind_nginx(client: httpx.Client) -> None:
    with client.stream("GET", "/events") as answer:
        lines = (line for line in answer.iter_lines() if line.strip(": "))
        assert [next(lines), next(lines)] == ["data: tick", "data: tick"]


def test_websockets_work_behind_nginx(site: tuple[str, int]) -> None:
    if site[0] == "uvicorn":
        connection = socket.create_connection(("127.0.0.1", site[1]), ANSWER_WITHIN)
        with connect(
            "ws://example.com/echo", sock=connection, open_timeout=ANSWER_WITHIN
        ) as websocket:
            websocket.send("pie!")
            assert websocket.recv(ANSWER_WITHIN) == "pie!"


def test_a_handshake_may_write_websocket_in_capitals(
    site: tuple[str, int], client: httpx.Client
) -> None:
    """RFC 6455, section 4.2.1: the value of Upgrade is read in any case."""
    handshake = {"Connection": "Upgrade", "Upgrade": "WebSocket", "Sec-WebSocket-Version": "13"}
    handshake["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    answer = client.get("/echo", headers=handshake)
    assert answer.status_code == (101 if site[0] == "uvicorn" else 426)
