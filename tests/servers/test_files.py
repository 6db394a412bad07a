"""Files under every server: the bytes on the disk, in each way in which servers send them."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from tests.servers.cluster.network import family_of
from tests.servers.conftest import CONTENT, SIZE
from tests.servers.harness import ANSWER_WITHIN, BOTH_VERSIONS, ServerOf
from tests.support.waiting import until

every_server = pytest.mark.parametrize("name", list(BOTH_VERSIONS))


@every_server
def test_a_large_file_is_sent(name: str, site_on: ServerOf) -> None:
    server = site_on(name)
    for way in ("/files/static/", "/files/cached/", "/files/awaited/"):
        answer = server.request("GET", f"{way}large.bin")
        assert (answer.status, len(answer.body), answer.body == CONTENT) == (200, SIZE, True)
        assert answer.header("content-length") == str(SIZE)
        head = server.request("HEAD", f"{way}large.bin")
        assert (head.status, head.raw_body, head.header("content-length")) == (200, b"", str(SIZE))
        assert head.header("etag") == answer.header("etag")
        known = server.request(
            "GET", f"{way}large.bin", {"If-None-Match": str(answer.header("etag"))}
        )
        assert (known.status, known.raw_body, known.header("etag")) == (
            304,
            b"",
            answer.header("etag"),
        )


@every_server
@pytest.mark.parametrize(
    ("first", "last"), [(0, SIZE - 1), (1, 1), (1000, 2_500_000), (SIZE - 300_000, SIZE - 1)]
)
def test_a_range_of_a_file_is_sent(name: str, first: int, last: int, site_on: ServerOf) -> None:
    answer = site_on(name).request(
        "GET", "/files/static/large.bin", {"Range": f"bytes={first}-{last}"}
    )
    assert (answer.status, answer.header("content-range")) == (206, f"bytes {first}-{last}/{SIZE}")
    assert len(answer.body) == last - first + 1
    assert answer.body == CONTENT[first : last + 1]


@every_server
def test_small_files_and_other_responses_are_sent(name: str, site_on: ServerOf) -> None:
    server = site_on(name)
    for way in ("/files/static/", "/files/cached/", "/files/cached/"):
        assert server.request("GET", f"{way}small.txt").body == b"small"
        assert server.request("GET", f"{way}small.txt", {"Range": "bytes=1-2"}).body == b"ma"
        beyond = server.request("GET", f"{way}small.txt", {"Range": "bytes=5-"})
        assert (beyond.status, beyond.header("content-range")) == (416, "bytes */5")
    for target in (
        "/files/static/nowhere",
        "/files/static/../site.py",
        "/files/static/%2e%2e/site.py",
        "/files/static/a%00b",
        "/files/static/",
    ):
        assert server.request("GET", target).status in (400, 404), target


@every_server
def test_R40_clients_that_disconnect_from_a_file_leave_nothing_behind(
    name: str, site_on: ServerOf, directory: Path
) -> None:
    server = site_on(name)
    for _ in range(5):
        with socket.create_connection(
            ("127.0.0.1", server.port), timeout=ANSWER_WITHIN
        ) as connection:
            connection.sendall(b"GET /files/static/large.bin HTTP/1.1\r\nHost: x\r\n\r\n")
            connection.recv(1000)
    assert server.request("GET", "/files/static/large.bin").body == CONTENT

    def nothing_is_open() -> bool:
        # some servers close with the next turn of their loop
        server.request("GET", "/files/static/small.txt")
        return open_in(server.process.pid, directory) == []

    until(nothing_is_open)


def open_in(process: int, directory: Path) -> list[str]:
    """Return the files of a directory that a process and its descendants have open."""
    found = []
    for one in family_of(process):
        for descriptor in os.listdir(f"/proc/{one}/fd"):
            with suppress(OSError):
                found.append(str(Path(f"/proc/{one}/fd/{descriptor}").readlink()))
    return [place for place in found if place.startswith(str(directory))]
