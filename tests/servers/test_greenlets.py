"""gunicorn's gevent worker: `def` code works, async code is refused, and nothing hangs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.servers.greenlets import TOGETHER
from tests.servers.harness import KINDS, Answer, Server, start
from tests.support.waiting import until

GEVENT = KINDS["gunicorn-sync"]._replace(
    command=KINDS["gunicorn-sync"].command.replace("-k sync", "-k gevent")
)


@pytest.fixture(scope="module", params=["", " --preload"], ids=["alone", "preload"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    kind = GEVENT._replace(command=GEVENT.command + request.param)
    with tempfile.TemporaryFile() as log:
        server = start(kind, "tests.servers.greenlets:app", log)
        try:
            yield server
        finally:
            server.end()
        assert server.leftovers() == []


def at_once(server: Server, path: str) -> list[Answer]:
    with ThreadPoolExecutor(TOGETHER) as threads:
        return [*threads.map(lambda _: server.request("GET", path), range(TOGETHER))]


@pytest.mark.parametrize("path", ["waits", "achunks", "calls", "events"])
def test_async_code_is_refused_and_def_code_works_before_and_after(
    server: Server, path: str
) -> None:
    for refused in ([], at_once(server, f"/{path}")):
        assert {answer.status for answer in refused} <= {500}
        for name, body in (
            ("", b"index"),
            ("together", b"True"),
            ("provided", b"Connection"),
            ("chunks", b"0 1 2 "),
            ("visits", b"1"),
            ("subscribes", b"message"),
        ):
            answers = at_once(server, f"/{name}")
            assert {(one.status, one.body) for one in answers} == {(200, body)}
            assert answers[0].header("X-Around") == f"/{name}"
    assert "start gunicorn with -k gthread instead of -k gevent" in server.output()


def test_after_response_functions_run(server: Server) -> None:
    assert server.request("GET", "/later").body == b"later"
    until(lambda: b"after" in server.request("GET", "/seen").body)
