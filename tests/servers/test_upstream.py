"""Faults of servers that docs/servers.md warns of: the reports in ``upstream/`` are true, and the
set-ups that the pages recommend don't have them.

A test of a report fails when a release has fixed the fault: ``upstream/README.md`` lists what to
remove then. They run before a release, as only a new version of a server changes their result.
"""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.servers.harness import KINDS, ROOT, ServerOf
from tests.servers.test_deployment import replaced, running, text_of
from tests.support.commands import environment
from tests.support.waiting import PATIENCE, until

UPSTREAM = ROOT / "tests" / "servers" / "upstream"


def program_of(report: str) -> str:
    (found,) = re.findall(
        r"^```python\n(.*?)^```$", (UPSTREAM / report).read_text(), re.MULTILINE | re.DOTALL
    )
    return str(found)


def reproduced(report: str, argument: str, folder: Path) -> str:
    """Run a report's program as the report says, and return what it prints."""
    (folder / "reproduction.py").write_text(program_of(report))
    done = subprocess.run(
        [sys.executable, "reproduction.py", argument],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


HYPERCORN: dict[str, Any] = {"__name__": "reproduction"}
exec(program_of("hypercorn-trio.md"), HYPERCORN)
PACKETS: dict[str, bytes] = HYPERCORN["PACKETS"]


@pytest.mark.in_test_all
@pytest.mark.parametrize(("parser", "merges"), [("httptools", True), ("h11", False)])
def test_the_report_about_trailers_is_true(parser: str, merges: bool, tmp_path: Path) -> None:
    printed = reproduced("uvicorn-trailers.md", parser, tmp_path)
    assert '"transfer-encoding"' in printed
    assert ("x-forwarded-for" in printed) == merges


@pytest.mark.in_test_all
@pytest.mark.parametrize(("worker", "outcome"), [("trio", "ends with 0"), ("asyncio", "goes on")])
def test_the_report_about_hypercorn_is_true(worker: str, outcome: str, tmp_path: Path) -> None:
    printed = reproduced("hypercorn-trio.md", worker, tmp_path)
    lines = ["a request: goes on", *(f"{name}: {outcome}" for name in PACKETS)]
    assert printed.splitlines() == lines


@pytest.mark.in_test_all
@pytest.mark.parametrize("worker", ["asyncio", "trio"])
def test_the_report_about_h2c_is_true(worker: str, tmp_path: Path) -> None:
    printed = reproduced("hypercorn-h2c.md", worker, tmp_path).splitlines()
    assert (printed[0].strip(), printed[1]) == ("HTTP/1.1 101", '["host", "x-forwarded-for"]')


VERSIONED = (
    "daphne",
    "h11",
    "h2",
    "httptools",
    "hypercorn",
    "trio",
    "uvicorn",
    "websockets",
    "wsproto",
)


@pytest.mark.in_test_all
@pytest.mark.parametrize("report", sorted(path.name for path in UPSTREAM.glob("*.md")))
def test_each_report_names_the_versions_that_were_tried(report: str) -> None:
    text = (UPSTREAM / report).read_text()
    named = re.findall(rf"\b({'|'.join(VERSIONED)}) (\d+\.[\d.]*\d)", text)
    assert named
    assert named == [(name, version(name)) for name, _ in named]


@pytest.mark.in_test_all
@pytest.mark.parametrize(("server", "stays"), [("daphne", True), ("uvicorn", False)])
def test_the_report_about_daphne_is_true(server: str, stays: bool, tmp_path: Path) -> None:
    printed = reproduced("daphne-streams.md", server, tmp_path)
    broken = "stays open" if stays else "is closed"
    outcomes = [line for line in printed.splitlines() if line.startswith("/")]
    assert outcomes == [
        "/whole: is closed",
        "/raises: is closed",
        f"/fails: {broken}",
        f"/raises: {broken}",
    ]


@pytest.mark.in_test_all
@pytest.mark.parametrize(("protocol", "logs"), [("websockets-sansio", True), ("wsproto", False)])
def test_the_report_about_refused_handshakes_is_true(
    protocol: str, logs: bool, tmp_path: Path
) -> None:
    printed = reproduced("uvicorn-refused-handshakes.md", protocol, tmp_path)
    assert "answer: HTTP/1.1 401" in printed
    assert ("without completing handshake" in printed) == logs


def test_the_hypercorn_of_the_page_survives_each_packet() -> None:
    """The first command of docs/deploy/each-server.md, and the next client is answered."""
    commands = re.findall(r"^    (hypercorn .*)$", text_of("each-server.md"), re.MULTILINE)
    assert ["trio" in command for command in commands] == [False, True]
    with tempfile.TemporaryDirectory() as place:  # a short name, as that of a socket has to be
        address = f"{place}/server.sock"
        command = replaced(
            commands[0],
            ("/run/blog/server.sock", address),
            ("app:app", "tests.servers.basics:app"),
        )
        with (
            Path(place, "log").open("wb") as log,
            running([sys.executable, "-m", *shlex.split(command)], ROOT, {}, log) as server,
        ):
            until(lambda: is_listening(address))
            for packet in PACKETS.values():
                sent_by_socket(address, packet)
                answer = sent_by_socket(address, b"GET /quick HTTP/1.0\r\nHost: localhost\r\n\r\n")
                assert answer.startswith(b"HTTP/1.1 200 ")
            assert server.poll() is None


def is_listening(address: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(address) == 0


def sent_by_socket(address: str, data: bytes) -> bytes:
    """Send, and return what comes until the server closes or resets the connection."""
    received = list[bytes]()
    with socket.socket(socket.AF_UNIX) as client, suppress(ConnectionError):
        client.settimeout(PATIENCE)
        client.connect(address)
        client.sendall(data)
        with suppress(OSError):  # the server has closed the connection already
            client.shutdown(socket.SHUT_WR)
        received.extend(iter(lambda: client.recv(65536), b""))
    return b"".join(received)


@pytest.mark.parametrize("name", [name for name in KINDS if "hypercorn" not in name])
def test_no_packet_ends_another_server(name: str, basics_on: ServerOf) -> None:
    server = basics_on(name)
    for packet in PACKETS.values():
        HYPERCORN["exchange"](("127.0.0.1", server.port), packet)
        assert server.request("GET", "/quick").status == 200
    assert server.process.poll() is None


WARNINGS = {
    "uvicorn-trailers.md": ("httptools", "h11"),
    "hypercorn-trio.md": ("hypercorn", "trio"),
    "hypercorn-h2c.md": ("hypercorn", "Upgrade", "HTTP/2"),
    "uvicorn-refused-handshakes.md": ("uvicorn", "wsproto"),
    "daphne-streams.md": ("daphne", "stream that fails"),
}


def test_each_page_that_a_report_names_has_the_warning() -> None:
    rows = re.findall(
        r"^\| \[[\w-]+\.md\].*\|$", (UPSTREAM / "README.md").read_text(), re.MULTILINE
    )
    reports = [path.name for path in sorted(UPSTREAM.glob("*.md")) if path.name != "README.md"]
    assert sorted(re.findall(r"\(([\w-]+\.md)\)", "".join(rows))) == reports
    for row in rows:
        words = WARNINGS[row[3:].partition("]")[0]]
        for place in re.findall(r"`((?:docs|micropie)/[^`]+)`", row):
            assert all(word in (ROOT / place).read_text() for word in words), place


# The other pages that name a server with a fault link to the warning.
LINKS = {
    "each-server.md#hypercorn": "command-line deploy/containers deploy/systemd deploy/tls "
    "explanation/async servers start/install troubleshooting",
    "each-server.md#uvicorn": "command-line moving/bottle-steps moving/cherrypy-steps start/install",
    "servers.md#paths-and-headers": "deploy/containers deploy/each-server deploy/kubernetes "
    "deploy/platforms deploy/several-machines",
    "servers.md#behind-a-proxy": "deploy/each-server deploy/kubernetes deploy/nginx",
}


@pytest.mark.parametrize("link", LINKS)
def test_pages_that_name_such_a_server_link_to_the_warning(link: str) -> None:
    for page in LINKS[link].split():
        assert link in (ROOT / "docs" / f"{page}.md").read_text(), page
