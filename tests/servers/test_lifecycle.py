"""Startup and shutdown under every server: once in each worker, after the fork, around all of its
requests.
"""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.servers.harness import KINDS, STOP_WITHIN, Server, launch, start

# Where one command serves with several processes; daphne and waitress have one.
WITH_WORKERS = [name for name, kind in KINDS.items() if "{workers}" in kind.command]
# they signal the others once more as soon as one of them has ended
ENDS_WORKERS_HASTILY = ["hypercorn-asyncio", "hypercorn-trio", "anycorn-asyncio", "anycorn-trio"]
ASGI_WITH_LIFESPAN = [
    name for name, kind in KINDS.items() if kind.protocol == "asgi" and name != "daphne"
]
WSGI = [name for name, kind in KINDS.items() if kind.protocol == "wsgi"]

Launch = Callable[..., Server]

STARTED, ENDED = ["enter", "startup", "async_startup"], ["shutdown", "async_shutdown", "leave"]


class Diary:
    """The lines that ``tests/servers/diary.py`` wrote."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def by_process(self) -> dict[int, list[str]]:
        events = defaultdict(list)
        for line in self.path.read_text().splitlines():
            process, event = line.split()
            events[int(process)].append(event)
        return dict(events)

    def served(self) -> list[list[str]]:
        """Return the events of each process that answered a request, without its imports."""
        found = [
            [event for event in events if event != "import"]
            for events in self.by_process().values()
        ]
        return [events for events in found if "request" in events]


@pytest.fixture
def diary(tmp_path: Path) -> Diary:
    return Diary(tmp_path / "diary")


@pytest.fixture
def running(diary: Diary) -> Iterator[Launch]:
    """Return ``running(name)``, which starts a server that is stopped with the test."""
    servers: list[Server] = []
    logs = ExitStack()

    def run(name: str, app: str = "app", *, workers: int = 1, how: Launch = start) -> Server:
        log = logs.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - it is the context
        server = how(
            KINDS[name],
            f"tests.servers.diary:{app}",
            log,
            workers=workers,
            environ={"DIARY": str(diary.path)},
        )
        servers.append(server)
        return server

    with logs:
        yield run
        for server in servers:
            server.end()


def wait_for(server: Server, text: str) -> None:
    """Wait until the server has written ``text``."""
    deadline = time.monotonic() + STOP_WITHIN
    while text not in server.output():
        assert time.monotonic() < deadline, f"the server did not write {text!r}:\n{server.output()}"
        time.sleep(0.02)


# Servers that end all their workers in order show the same with two workers, below.
@pytest.mark.parametrize(
    "name", [name for name in KINDS if name not in WITH_WORKERS or name in ENDS_WORKERS_HASTILY]
)
def test_R72_startup_runs_once_before_the_first_request_and_shutdown_after_the_last(
    name: str, running: Launch, diary: Diary
) -> None:
    server = running(name)
    for target in ("/", "/later", "/"):
        assert server.request("GET", target).status == 200
    server.end()
    assert diary.served() == [STARTED + 3 * ["request"] + (ENDED if KINDS[name].has_end else [])]


@pytest.mark.parametrize("name", WITH_WORKERS)
def test_R70_R72_each_worker_runs_its_own_startup_after_the_fork(
    name: str, running: Launch, diary: Diary
) -> None:
    server = running(name, workers=2)
    sent = 0
    # At least a dozen, and until both have answered: a worker of granian or gunicorn ignores a
    # signal that comes while it starts.
    while sent < 12 or (name.startswith(("granian", "gunicorn")) and len(diary.served()) < 2):
        assert server.request("GET", "/later").status == 200
        sent += 1
    server.end()
    assert sum(events.count("request") for events in diary.served()) == sent
    for events in diary.served():
        requests = events.count("request")
        start_and_requests = STARTED + requests * ["request"]
        ends = [ENDED]
        if name in ENDS_WORKERS_HASTILY:
            ends += [ENDED[:count] for count in range(len(ENDED))]
        assert events in [start_and_requests + end for end in ends]


def test_R70_a_preloaded_application_is_imported_once_and_started_in_the_worker(
    running: Launch, diary: Diary
) -> None:
    server = running("gunicorn-gthread-preload")
    assert server.request("GET", "/later").status == 200
    server.end()
    events = diary.by_process()
    assert events[server.process.pid] == ["import"]
    assert [found for process, found in events.items() if process != server.process.pid] == [
        [*STARTED, "request", *ENDED]
    ]


@pytest.mark.parametrize("name", ASGI_WITH_LIFESPAN)
def test_R71_a_failing_startup_reaches_the_server_with_its_message(
    name: str, running: Launch, diary: Diary
) -> None:
    server = running(name, "broken_app", how=launch)
    wait_for(server, "ConnectionError: the database is not there")
    # which starts a new worker, as it does for one that crashed
    if not name.startswith("gunicorn"):
        server.process.wait(STOP_WITHIN)
    server.end()
    assert all("request" not in events for events in diary.by_process().values())
    assert any(
        events == ["import", "startup", "failing", "shutdown"]
        for events in diary.by_process().values()
    )


@pytest.mark.parametrize("name", [*WSGI, "daphne"])
def test_R72_without_a_lifespan_a_failing_startup_gets_a_500_and_is_tried_again(
    name: str, running: Launch, diary: Diary
) -> None:
    server = running(name, "broken_app")
    for _ in range(2):
        answer = server.request("GET", "/")
        assert (answer.status, answer.body) == (500, b"500 Internal Server Error")
    server.end()
    assert "ConnectionError: the database is not there" in server.output()
    attempts = [events for events in diary.by_process().values() if "failing" in events]
    # The application whose first handler ran is shut down again.
    assert [[event for event in events if event != "import"] for events in attempts] == [
        2 * ["startup", "failing", "shutdown"]
    ]
