"""One of several workers is killed in the middle of a job, or a message, and the database or Redis
is restarted: the outbox loses no job, and each subscription gets what its page promises.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module, reload
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg
import pytest

from tests.support.environment import unmeasured
from tests.support.guard import guard_of
from tests.support.ports import free_port
from tests.support.postgres_server import PostgresServer, postgres_server
from tests.support.redis_server import redis_server
from tests.support.waiting import until

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[3]
JOBS = 20


@contextmanager
def process(*command: str, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command of Python, and kill it at the end."""
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=unmeasured(**environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as started:
        guard = guard_of(started)
        try:
            yield started
        finally:
            started.kill()
            guard.kill()
            guard.communicate()


# -- the outbox ------------------------------------------------------------------------------------


class Workers:
    """An outbox with workers, and what these have done."""

    def __init__(self, folder: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.own = folder, {"OUTBOX_FOLDER": str(folder), "OUTBOX_URL": url}
        for name, value in self.own.items():
            monkeypatch.setenv(name, value)
        self.set_clock(1_000_000)
        self.module: Any = reload(import_module("tests.project.examples.outbox_worker"))

    def set_clock(self, seconds: int) -> None:
        fresh = self.folder / "fresh"
        fresh.write_text(f"{seconds}")
        fresh.replace(self.folder / "clock")

    @contextmanager
    def at_work(self, count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
        """Run so many workers, which start at once."""
        app = ("-m", "micropie", "-a", "tests.project.examples.outbox_worker:app")
        command = (*app, "drain-outbox", "--forever", "--pause", "0.05")
        with ExitStack() as stack:
            yield [stack.enter_context(process(*command, **self.own)) for _ in range(count)]

    def put(self, numbers: range) -> None:
        for number in numbers:
            with self.module.connect() as connection:
                self.module.outbox.put(connection, self.module.deliver, number)

    def have_a_table(self) -> bool:
        try:
            return not self.rows()
        except (sqlite3.OperationalError, psycopg.errors.UndefinedTable):
            return False

    def rows(self) -> list[int]:
        with self.module.connect() as connection:
            return [tries for (tries,) in connection.execute("SELECT tries FROM micropie_outbox")]

    def log(self, what: str) -> dict[int, list[int]]:
        """For each job, the processes that have begun or ended it."""
        found: dict[int, list[int]] = {}
        file = self.folder / "log"
        for line in file.read_text().splitlines() if file.exists() else ():
            event, number, worker = line.split()
            if event == what:
                found.setdefault(int(number), []).append(int(worker))
        return found


@pytest.fixture(params=["sqlite3", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[PostgresServer | None]:
    with postgres_server() if request.param == "postgresql" else ExitStack() as server:
        yield server if isinstance(server, PostgresServer) else None


def test_jobs_outlive_a_killed_worker_and_a_restart_of_the_database(
    database: PostgresServer | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = database.url if database else str(tmp_path / "outbox.db")
    workers = Workers(tmp_path, url, monkeypatch)
    for held in (3, 7):
        (tmp_path / f"hold-{held}").touch()
    again = {3: 2}
    with workers.at_work(4) as started:
        until(workers.have_a_table)
        workers.put(range(JOBS))
        until(lambda: len(workers.log("begin")) == JOBS and workers.rows() == [1, 1])
        (killed,), (waiting,) = workers.log("begin")[3], workers.log("begin")[7]
        assert killed != waiting
        assert all(one.poll() is None for one in started)
        os.kill(killed, signal.SIGKILL)
        (tmp_path / "hold-3").unlink()
        if database:
            database.stop()
        (tmp_path / "hold-7").unlink()
        if database:  # the job that has ended stays in the table, as it could not be deleted
            again = {3: 2, 7: 2}
            until(lambda: all(one.poll() is not None for one in started))
            assert 7 in workers.log("end")
            database.start()
        until(lambda: workers.rows() == [1] * len(again))
    with workers.at_work(3):
        workers.put(range(JOBS, 2 * JOBS))
        until(lambda: len(workers.rows()) == len(again))
        assert len(workers.log("begin")[3]) == 1  # its lease hasn't ended
        workers.set_clock(1_000_601)
        until(lambda: not workers.rows())
    begun = {number: len(by) for number, by in workers.log("begin").items()}
    assert begun == dict.fromkeys(range(2 * JOBS), 1) | again
    ended = {number: len(by) for number, by in workers.log("end").items()}
    assert ended == begun | {3: 1}


# -- subscriptions ---------------------------------------------------------------------------------


class Subscriber:
    """A worker of ``subscriber.py``. ``lines``: what it has written."""

    def __init__(self, started: subprocess.Popen[bytes]) -> None:
        self.started, self.lines = started, list[str]()
        self._reader = Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.started.stdout is not None
        for line in self.started.stdout:
            self.lines.append(line.decode().strip())

    def tell(self, *command: object) -> None:
        assert self.started.stdin is not None
        self.started.stdin.write(" ".join(map(str, command)).encode() + b"\n")
        self.started.stdin.flush()

    def ask(self, command: str) -> list[str]:
        """Return the words of the answer to a command."""
        before = self.all(command)
        self.tell(command)
        until(lambda: len(self.all(command)) > len(before))
        return self.all(command)[-1]

    def all(self, word: str) -> list[list[str]]:
        """Return the lines that begin with a word, without it, as words."""
        lines = [line.split() for line in self.lines]
        return [words for first, *words in lines if first == word]

    def kill(self) -> None:
        self.started.kill()
        self._reader.join()


def test_subscriptions_outlive_a_killed_worker_and_a_restart_of_redis(tmp_path: Path) -> None:
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"

    def subscriber(*labels: str) -> Subscriber:
        started = stack.enter_context(
            process("-m", "tests.project.examples.subscriber", url, *labels)
        )
        one = Subscriber(started)
        stack.callback(one.kill)
        until(lambda: len(one.all("joined")) == len(labels))
        return one

    def got(one: Subscriber, label: str) -> list[int]:
        return [int(number) for name, number in one.all("got") if name == label]

    with ExitStack() as stack:
        with redis_server(tmp_path, port):
            first, second, publisher = subscriber("ann", "bob"), subscriber("cid"), subscriber()
            assert [first.ask("labels"), second.ask("labels")] == [["ann", "bob"], ["cid"]]
            publisher.tell("publish", *range(300))
            until(lambda: got(first, "ann"))
            first.kill()
            until(lambda: len(publisher.all("published")) == 300)
            until(lambda: got(second, "cid") == [*range(300)])  # each one once, in their order
            for label in ("ann", "bob"):  # nothing twice before the end
                assert got(first, label) == [*range(len(got(first, label)))]
            assert [second.ask("labels"), publisher.ask("labels")] == [["cid"], []]
            again = subscriber("ann")
            assert [again.ask("labels"), second.ask("labels")] == [["ann"], ["cid"]]
        until(lambda: second.ask("labels") == ["cid"])  # it is subscribed during an outage, too
        publisher.tell("publish", 1000)
        until(lambda: publisher.all("refused") == [["1000"]])
        with redis_server(tmp_path, port):
            numbers = count(1001)

            def is_back() -> bool:
                """Publish one, which those lose that aren't connected again yet."""
                number = next(numbers)
                publisher.tell("publish", number)
                until(
                    lambda: [str(number)] in publisher.all("published") + publisher.all("refused")
                )
                return got(second, "cid")[-1] > 1000 and bool(got(again, "ann"))

            until(is_back)
            assert second.ask("gaps") == again.ask("gaps") == ["1"]
            end = next(numbers) + 100
            publisher.tell("publish", *range(end - 100, end))
            until(lambda: got(second, "cid")[-1] == got(again, "ann")[-1] == end - 1)
            begin, begin_again = got(second, "cid")[300], got(again, "ann")[0]
            assert got(second, "cid") == [*range(300), *range(begin, end)]
            assert got(again, "ann") == [*range(begin_again, end)]
            assert [again.ask("labels"), second.ask("labels")] == [["ann"], ["cid"]]
