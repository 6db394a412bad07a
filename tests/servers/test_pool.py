"""A pool that startup opens on the event loop serves async handlers, hooks and streams of all of
gunicorn's threads.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.servers.harness import KINDS, Server, start
from tests.servers.pool import SIZE


class Worker(NamedTuple):
    """A running server, the kind of its loop, and the file in which its pools say that they were
    closed.
    """

    server: Server
    backend: str
    diary: Path


@pytest.fixture(
    params=[  # each two of them meet
        ("gunicorn-sync", "", "asyncio"),
        ("gunicorn-sync", " --preload", "trio"),
        ("gunicorn-gthread", "", "trio"),
        ("gunicorn-gthread", " --preload", "asyncio"),
    ],
    ids=lambda param: "".join(param[:2]).replace(" ", "") + "-" + param[2],
)
def worker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Worker]:
    name, preload, backend = request.param
    kind = KINDS[name]._replace(command=KINDS[name].command + preload)
    diary = tmp_path / "diary"
    diary.touch()
    with tempfile.TemporaryFile() as log:
        environ = {"POOL_BACKEND": backend, "POOL_DIARY": str(diary)}
        server = start(kind, "tests.servers.pool:app", log, environ=environ)
        try:
            yield Worker(server, backend, diary)
        finally:
            server.end()
        assert server.leftovers() == []


def ask(worker: Worker, path: str) -> str:
    answer = worker.server.request("GET", path)
    assert answer.status == 200, worker.server.output()
    return answer.body.decode()


def test_R70_resources_opened_at_startup_serve_async_code_on_their_own_loop(
    worker: Worker,
) -> None:
    by = f"by {worker.backend}"
    for path, what in (
        ("/row", "row"),
        ("/hooked", "hook"),
        ("/resources", "resource"),
        ("/stars/row", "mounted"),
    ):
        assert [ask(worker, path) for _ in range(3)] == 3 * [f"{what} {by}"]
    rows = "".join(f"row {number} {by}\n" for number in range(5))
    assert ask(worker, "/rows") == rows
    with ThreadPoolExecutor(8) as clients:
        assert list(clients.map(ask, 20 * [worker], 10 * ["/row", "/rows"])) == 10 * [
            f"row {by}",
            rows,
        ]
    assert int(ask(worker, "/most")) <= SIZE
    process = ask(worker, "/process")
    worker.server.end()
    assert worker.diary.read_text().splitlines() == 3 * [f"{process} closed"]
