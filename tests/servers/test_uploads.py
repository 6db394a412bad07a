"""Large uploads through real servers: what they cost in memory, and that nothing of them stays."""

from __future__ import annotations

import os
import re
import socket
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.servers.harness import ANSWER_WITHIN, BOTH_VERSIONS, Answer, Server, parsed, start
from tests.support.multipart_forms import HEADERS

MEBIBYTE = 1024 * 1024
LARGE = 32  # MiB
GROWTH = 16  # MiB that the server's peak may grow by

CHUNK = os.urandom(MEBIBYTE)
HEAD = b'--B\r\nContent-Disposition: form-data; name="file"; filename="../big.bin"\r\n\r\n'
TAIL = b"\r\n--B--\r\n"

WAYS = ["/spooled", "/streamed", "/spooled_async", "/streamed_async"]
TESTED = [
    *("uvicorn", "hypercorn-trio", "gunicorn-gthread", "h2corn", "h2corn-h2", "granian-asgi-h2"),
    # their HTTP/2, in Python, takes half a minute for an upload
    *[
        pytest.param(name, marks=pytest.mark.in_test_all)
        for name in ("hypercorn-asyncio-h2", "gunicorn-asgi-h2", "gunicorn-gthread-h2")
    ],
]


@pytest.fixture(scope="module", params=TESTED)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    spool = tmp_path_factory.mktemp("spool")
    with tempfile.TemporaryFile() as log:
        server = start(
            BOTH_VERSIONS[request.param],
            "tests.servers.uploads:app",
            log,
            environ={"TMPDIR": str(spool)},
        )
        yield server
        server.end()


class Upload(NamedTuple):
    """A request of which a part has been sent."""

    send: Callable[[bytes], object]
    finish: Callable[[], Answer]
    """Send the end, and return the response."""


@contextmanager
def begun(server: Server, target: str, mebibytes: int, sent: int) -> Iterator[Upload]:
    """An upload of which so many MiB have been sent; it is made while it is sent."""
    length = str(len(HEAD) + mebibytes * MEBIBYTE + len(TAIL))
    headers = {"Host": "localhost", "Content-Length": length, **HEADERS}
    with (
        over_http2(server, target, headers)
        if server.kind.is_http2
        else over_http1(server, target, headers) as upload
    ):
        upload.send(HEAD)
        for _ in range(sent):
            upload.send(CHUNK)
        yield upload


@contextmanager
def over_http1(server: Server, target: str, headers: dict[str, str]) -> Iterator[Upload]:
    lines = [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join([f"POST {target} HTTP/1.1", "Connection: close", *lines, "", ""])
    with socket.create_connection(("127.0.0.1", server.port), timeout=ANSWER_WITHIN) as connection:
        connection.sendall(head.encode())

        def finish() -> Answer:
            connection.sendall(TAIL)
            return parsed(b"".join(iter(lambda: connection.recv(65536), b"")), "POST")

        yield Upload(connection.sendall, finish)


@contextmanager
def over_http2(server: Server, target: str, headers: dict[str, str]) -> Iterator[Upload]:
    with server.over_http2() as client:
        stream = client.begin("POST", target, headers, ends=False)

        def finish() -> Answer:
            client.send(stream, TAIL, ends=True)
            got = client.response(stream)
            return Answer(got.status, [*got.headers], got.body, got.body)

        yield Upload(partial(client.send, stream), finish)


def upload(server: Server, target: str, mebibytes: int) -> Answer:
    with begun(server, target, mebibytes, mebibytes) as upload:
        return upload.finish()


def worker_of(server: Server) -> Path:
    return Path("/proc") / server.request("GET", "/process").body.decode()


def peak(worker: Path) -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", (worker / "status").read_text())
    assert found is not None
    return int(found[1]) / 1024


@pytest.mark.skipif(
    bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    reason="the allocator of free-threaded Python keeps what other threads have freed",
)
@pytest.mark.parametrize("way", WAYS)
def test_R21_a_large_upload_is_not_stored_in_memory(server: Server, way: str) -> None:
    worker = worker_of(server)
    upload(server, way, 3)  # threads and buffers are made
    before = peak(worker)
    answer = upload(server, way, LARGE)
    assert (answer.status, answer.body) == (200, str(LARGE * MEBIBYTE).encode())
    assert peak(worker) - before < GROWTH


def open_files(worker: Path) -> list[str]:
    """Those of uploads: in the directory for temporary files, less gunicorn's own, and those that
    are saved.
    """
    targets = []
    for number in os.listdir(worker / "fd"):
        with suppress(FileNotFoundError):  # closed meanwhile
            targets.append(str((worker / "fd" / number).readlink()))
    return [
        name
        for name in targets
        if "big.bin" in name or ("/spool" in name and "/wgunicorn" not in name)
    ]


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + ANSWER_WITHIN
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.mark.parametrize("way", ["/spooled", "/spooled_async", "/saved", "/saved_async"])
def test_R32_an_aborted_upload_leaves_nothing(server: Server, way: str, tmp_path: Path) -> None:
    worker = worker_of(server)
    with begun(server, f"{way}?directory={tmp_path}", 8, 3):
        wait_for(lambda: bool(open_files(worker)), "it opens no file")
    wait_for(lambda: not open_files(worker) and not os.listdir(tmp_path), "a file is still there")


@pytest.mark.parametrize("way", ["/saved", "/saved_async"])
def test_R33_an_upload_is_saved_under_its_safe_name(
    server: Server, way: str, tmp_path: Path
) -> None:
    answer = upload(server, f"{way}?directory={tmp_path}", 2)
    assert (answer.status, answer.body) == (200, b"big.bin")
    assert (tmp_path / "big.bin").read_bytes() == CHUNK * 2


@pytest.mark.parametrize("way", WAYS)
def test_R18_an_upload_announced_as_too_large_is_refused(server: Server, way: str) -> None:
    headers = {"Content-Length": str(101 * MEBIBYTE), **HEADERS}
    answer = server.request("POST", way, headers)
    assert (answer.status, answer.body) == (413, b"The body may have 104857600 bytes at most.")
