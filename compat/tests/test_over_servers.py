"""The same conversations with ours over real servers, against the original's answers in process."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from compat.tests.differences import differences, original, reason_for
from compat.tests.exchange import Answer, Request
from compat.tests.play import play
from micropie_compat.cherrypy.locks import MOST_WAITING
from tests.servers.harness import KINDS, Server, serving
from tests.support.waiting import PATIENCE, until

pytestmark = pytest.mark.processes

SERVERS = {"uvicorn": "asgi", "gunicorn-gthread": "wsgi"}
MOVED = ["bottle", "cherrypy"]


@pytest.fixture(scope="module", params=MOVED)
def framework(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, framework: str) -> Iterator[Server]:
    entry = f"compat.tests.serve:{SERVERS[request.param]}"
    with serving(
        entry, environ={"COMPAT_FRAMEWORK": framework, "FORWARDED_ALLOW_IPS": ""}
    ) as server_of:
        yield server_of(request.param)


def test_a_migrated_application_responds_as_the_original_on_each_server(
    server: Server, framework: str
) -> None:
    def ask(app: str, request: Request) -> Answer:
        method, target, headers, body = request
        given = server.request(method, target, {**headers, "X-Application": app}, body)
        return Answer(
            given.status, [(name.lower(), value) for name, value in given.headers], given.body
        )

    found = differences(framework, original(framework), play(framework, ask))
    assert not [
        str(difference) for difference in found if reason_for(framework, difference) is None
    ]


@pytest.mark.parametrize(
    ("name", "queue_timeout", "served"),
    [("uvicorn", "30", 100), ("gunicorn-gthread", "0.05", 1 + MOST_WAITING)],
)
def test_R44_requests_of_one_session_leave_threads_for_others(
    name: str, queue_timeout: str, served: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 100 that one visitor sends at once, one is answered and others wait; the site goes on."""
    kind = KINDS[name]
    more = kind._replace(command=kind.command.replace("--threads 4", "--threads 8"))
    monkeypatch.setitem(KINDS, name, more)
    release = tmp_path / "release"
    environ = {"COMPAT_FILE": str(release), "COMPAT_QUEUE_TIMEOUT": queue_timeout}
    with serving("compat.tests.one_session:application", environ=environ, workers=1) as server_of:
        server = server_of(name)
        cookie = str(server.request("GET", "/log_in").header("set-cookie")).partition(";")[0]
        given: Counter[tuple[int, bytes]] = Counter()

        def ask() -> None:
            answer = server.request("GET", "/slow", {"Cookie": cookie})
            given[answer.status, answer.body if answer.status == 200 else b""] += 1

        asking = [threading.Thread(target=ask) for _ in range(100)]
        for thread in asking:
            thread.start()
        until(lambda: given[503, b""] == 100 - served)
        until(lambda: server.request("GET", "/waiting").body == str(served - 1).encode())
        release.touch()
        for thread in asking:
            thread.join(PATIENCE)
    refused = {(503, b""): 100 - served}
    assert given == {(200, b"alice"): served, **(refused if served < 100 else {})}
