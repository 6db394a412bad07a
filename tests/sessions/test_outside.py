"""What is particular to the backends outside of this process: signed cookies, SQLite, Redis."""

from __future__ import annotations

import ast
import gc
import random
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

import micropie.sessions
from micropie import App, SetupError
from micropie._core.execution.steps import redis_client as redisclient
from micropie._core.http.headers import signing
from micropie.middleware import RedisRates
from micropie.sessions import (
    RedisSessionBackend,
    Session,
    SignedCookieSessionBackend,
    SQLiteSessionBackend,
    sqlite,
)
from micropie.sessions import redis as rediscache
from tests.support.clients import MakeClient
from tests.support.ports import free_port
from tests.support.redis_server import redis_server

PACKAGE = Path(micropie.sessions.__file__).parent


class Root(App):
    def keep(self, size: int) -> None:
        self.request.session["text"] = "x" * size

    def look(self) -> Any:
        return {key: len(value) for key, value in self.request.session.items()}


# -- signed cookies --------------------------------------------------------------------------------


def test_an_emptied_cookie_session_deletes_its_cookie(make_client: MakeClient) -> None:
    class Emptying(Root):
        def empty(self) -> None:
            self.request.session.clear()

    client = make_client(Emptying(SignedCookieSessionBackend("secret" * 8)))
    client.get("/keep/5")
    assert client.get("/empty").headers["set-cookie"].startswith("session_id=; Max-Age=0; ")
    assert not client.cookies


def test_R46_a_session_too_long_for_a_cookie_raises_an_error_and_the_old_one_stays(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(Root(SignedCookieSessionBackend("secret" * 8)))
    client.get("/keep/5")
    rng = random.Random(1)
    text = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=5 * 1024))

    class Large(Root):
        def large(self) -> None:
            self.request.session["text"] = text

    large = make_client(
        Large(SignedCookieSessionBackend("secret" * 8)),
        lifespan=False,
        cookies=dict(client.cookies),
    )
    answer = large.get("/large")
    assert (answer.status_code, "set-cookie" in answer.headers) == (500, False)
    assert "use another session backend" in caplog.text
    assert large.get("/look").json() == {"text": 5}


def test_R46_the_longest_allowed_session_fits_into_a_cookie(make_client: MakeClient) -> None:
    backend = SignedCookieSessionBackend("secret" * 8)
    rng = random.Random(2)
    accepted = []
    for size in range(2500, 5000, 50):
        try:
            accepted.append(
                backend.save("", {"x": "".join(rng.choices("abcdefghij0123456789-", k=size))}, 60)
            )
        except micropie.ResponseError:
            break
    assert 3000 < len(accepted[-1]) <= 4096 - 256


def test_R47_ten_thousand_mutated_cookies_are_refused() -> None:
    backend = SignedCookieSessionBackend("secret" * 8)
    good = backend.save("", {"user": "me"}, 60)
    rng = random.Random(3)
    alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.=\xe9\x00\ud800 "
    for _ in range(10_000):
        text = list(good)
        for _ in range(rng.randint(1, 4)):
            kind, at = rng.randrange(3), rng.randrange(len(text))
            text[at : at + (kind > 0)] = [rng.choice(alphabet)] if kind < 2 else []
        bad = "".join(text)
        if bad != good:
            assert backend.load(bad) == {}, bad


@pytest.mark.parametrize("value", ["", ".", "..", "a.b", "x" * 100_000, ".eJw", "é", "\ud800"])
def test_R47_an_invalid_cookie_is_an_empty_session(value: str) -> None:
    assert SignedCookieSessionBackend("secret" * 8).load(value) == {}


def test_R47_keys_can_be_rotated() -> None:
    old, new = SignedCookieSessionBackend("old" * 11), SignedCookieSessionBackend(["new" * 11])
    both = SignedCookieSessionBackend([b"new" * 11, "old" * 11])
    first = old.save("", {"a": 1}, 60)
    assert [backend.load(first) for backend in (old, both, new)] == [{"a": 1}, {"a": 1}, {}]
    second = both.save("", {"a": 2}, 60)
    assert [backend.load(second) for backend in (old, both, new)] == [{}, {"a": 2}, {"a": 2}]


def test_R47_the_time_is_signed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    backend = SignedCookieSessionBackend("secret" * 8)
    value = backend.save("", {"a": 1}, 60)
    now[0] = 1059.9
    assert backend.load(value) == {"a": 1}
    now[0] = 1060.0
    assert backend.load(value) == {}


def test_R47_a_new_version_of_micropie_logs_nobody_out() -> None:
    # until 5138
    value = "WzEwMDAwMDAwMDA1OSx7InVzZXIiOiJtZSJ9XQ.ymSzJ5bHGO4wILUPmvmTThYYd2oAzWR78RYruOthy-I"
    assert SignedCookieSessionBackend("secret" * 8).load(value) == {"user": "me"}


def test_R47_the_code_never_unpickles_and_compares_no_digest_manually() -> None:
    for path in PACKAGE.glob("*.py"):
        tree = ast.parse(path.read_text())
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        imports = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        assert not imports & {"pickle", "marshal", "hmac"}, path
        assert not {name for name in names if "digest" in name or "signature" in name}, path


LONG = "x" * 32


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        ([], "SignedCookieSessionBackend takes a secret"),
        ([5], "takes a secret"),
        ((LONG, None), "takes a secret"),
        ("", "32 bytes or more"),
        (b"", "32 bytes or more"),
        ([""], "32 bytes or more"),
        (LONG[1:], "32 bytes or more"),
        ([LONG, LONG[1:]], "32 bytes or more"),
        (b"x" * 31, "32 bytes or more"),
    ],
)
def test_R47_an_invalid_secret_is_refused(secret: Any, reason: str) -> None:
    with pytest.raises(SetupError, match=reason):
        SignedCookieSessionBackend(secret)


def test_R47_a_secret_s_length_is_counted_in_bytes() -> None:
    backend = SignedCookieSessionBackend("é" * 16)
    assert backend.load(backend.save("", {"a": 1}, 60)) == {"a": 1}


@pytest.mark.parametrize(
    ("module", "name", "make", "extra"),
    [
        (signing, "itsdangerous", lambda: SignedCookieSessionBackend(LONG), "itsdangerous"),
        (redisclient, "redis", lambda: RedisSessionBackend("redis://localhost"), "redis"),
    ],
)
def test_a_missing_package_is_named(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, make: Any, extra: str
) -> None:
    monkeypatch.setattr(module, name, None)
    with pytest.raises(SetupError, match=rf"micropie-dual\[{extra}\]"):
        make()


# -- SQLite ----------------------------------------------------------------------------------------


def test_sqlite_creates_its_file_on_first_use_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    backend = SQLiteSessionBackend(str(path))
    assert not path.exists()
    assert backend.load("id") == {}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
    backend.close()
    backend.save("id", {"a": 1}, 60)
    assert backend.load("id") == {"a": 1}
    backend.close()


def test_R50_sqlite_deletes_expired_sessions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = SQLiteSessionBackend(tmp_path / "sessions.db")
    backend.save("old", {"a": 1}, 60)
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + 61)
    backend.save("new", {"a": 1}, 60)
    with backend._connection() as connection:
        assert connection.execute("SELECT id FROM sessions").fetchall() == [("new",)]
    backend.close()


def test_an_unavailable_sqlite_gets_a_503(make_client: MakeClient, tmp_path: Path) -> None:
    not_a_database = tmp_path / "text"
    not_a_database.write_text("text " * 1000)
    for path in (tmp_path / "nowhere" / "sessions.db", tmp_path, not_a_database):
        client = make_client(Root(SQLiteSessionBackend(path)), lifespan=False)
        assert client.get("/keep/1").status_code == 503
        assert client.get("/look").status_code == 200  # no cookie, so nothing to look up


def test_a_locked_sqlite_counts_as_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_BUSY", 0.1)
    path = tmp_path / "sessions.db"
    locker = sqlite3.connect(path, isolation_level=None)
    locker.execute("CREATE TABLE x (y)")
    locker.execute("BEGIN EXCLUSIVE")
    backend = SQLiteSessionBackend(path)
    with pytest.raises(ConnectionError, match="locked"):  # while it opens the file
        backend.save("id", {"a": 1}, 60)
    locker.execute("COMMIT")
    backend.save("id", {"a": 1}, 60)
    locker.execute("BEGIN IMMEDIATE")
    with pytest.raises(ConnectionError, match="locked"):  # and later
        backend.save("id", {"a": 2}, 60)
    backend.close()  # of a connection that has failed nothing is left
    assert backend.load("id") == {"a": 1}  # who reads waits for nobody
    locker.execute("COMMIT")
    locker.close()
    backend.close()


@pytest.fixture
def locker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
    """Lock the file, and have SQLite refuse at once what it does not get, as it does where two
    change to WAL.
    """
    connect = sqlite3.connect
    monkeypatch.setattr(
        "sqlite3.connect", lambda path, **options: connect(path, **options | {"timeout": 0})
    )
    connection = connect(tmp_path / "sessions.db", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    yield connection
    connection.close()


def test_sqlite_waits_for_others_that_open_the_file(
    tmp_path: Path, locker: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            locker.execute("COMMIT")

    monkeypatch.setattr("time.sleep", sleep)
    backend = SQLiteSessionBackend(tmp_path / "sessions.db")
    assert backend.load("id") == {}
    assert len(pauses) == 2
    assert max(pauses) < 0.1  # a file that is free again is used soon
    assert locker.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    backend.close()


def test_sqlite_does_not_wait_forever_for_others(
    tmp_path: Path, locker: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [time.monotonic()]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("time.sleep", lambda _seconds: now.append(now.pop() + 2))
    started = now[0]
    with pytest.raises(ConnectionError, match=r"sessions\.db are unavailable: database is locked"):
        SQLiteSessionBackend(tmp_path / "sessions.db").load("id")
    assert now[0] - started == pytest.approx(6)  # the first look after five seconds is the last one
    assert locker.in_transaction


def test_sqlite_does_not_touch_a_parent_s_connections(tmp_path: Path) -> None:
    backend = SQLiteSessionBackend(tmp_path / "sessions.db")
    backend.save("id", {"a": 1}, 60)
    ((_, before),) = backend._idle
    backend.after_fork()
    assert backend.load("id") == {"a": 1}
    ((_, own),) = backend._idle
    assert before is not own
    assert [connection for _, connection in sqlite._inherited[-1]] == [before]
    del backend
    gc.collect()
    before.execute("SELECT 1")  # still open
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        own.execute("SELECT 1")
    before.close()


def test_sqlite_fails_once_after_its_tables_were_dropped(tmp_path: Path) -> None:
    backend = SQLiteSessionBackend(tmp_path / "sessions.db")
    with ExitStack() as lent:
        for _ in range(3):
            lent.enter_context(backend._connection())
    assert len(backend._idle) == 3
    with closing(sqlite3.connect(tmp_path / "sessions.db")) as other:
        other.execute("DROP TABLE sessions")
    with pytest.raises(ConnectionError, match="no such table"):
        backend.load("id")
    assert backend.load("id") == {}  # over a new connection, which has made the table again
    backend.close()


def test_sqlite_connections_of_a_dropped_application_are_closed(tmp_path: Path) -> None:
    app = App(SQLiteSessionBackend(tmp_path / "sessions.db"))
    backend: Any = app.session_backend
    backend.save("id", {"a": 1}, 60)
    ((_, connection),) = backend._idle
    backend.app = app  # a cycle
    del app, backend
    gc.collect()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


@pytest.mark.parametrize("is_alone", [True, False])
def test_all_workers_notice_a_deleted_sqlite_file(
    tmp_path: Path, is_alone: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody goes on with the deleted file while others have the new one."""
    path = tmp_path / "sessions.db"
    workers = [SQLiteSessionBackend(path) for _ in range(3)]
    for number, worker in enumerate(workers[:2]):
        worker.save(f"id{number}", {"a": 1}, 60)
    old = [connection for worker in workers for _, connection in worker._idle]
    for file in [path] if is_alone else list(tmp_path.iterdir()):
        file.unlink()
    assert [worker.load("id0") for worker in workers[:2]] == [{}, {}]
    workers[2].save("new", {"a": 2}, 60)
    assert [worker.load("new") for worker in workers] == [{"a": 2}] * 3
    workers[0].save("new", {"a": 3}, 60)
    assert [worker.load("new") for worker in workers] == [{"a": 3}] * 3
    said = f"the sessions in {path} are lost, because the file was replaced"
    assert caplog.messages == [said, said]  # the third worker knew no other
    for connection in old:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")
    for worker in workers:
        worker.close()
    check = sqlite3.connect(path)
    assert check.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    check.close()


@pytest.mark.processes
def test_remains_of_a_deleted_sqlite_file_do_not_interfere(tmp_path: Path) -> None:
    """Another process has it open, and no request yet that tells it."""
    path = tmp_path / "sessions.db"
    code = (
        "import sys\n"
        "from micropie.sessions import SQLiteSessionBackend\n"
        "backend = SQLiteSessionBackend(sys.argv[1])\n"
        "backend.save('old', {'a': 1}, 60)\n"
        "print()\n"
        "for line in sys.stdin:\n"
        "    backend.save('other', {'a': backend.load('new')['a'] + 1}, 60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-uc", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "\n"
        path.unlink()
        backend = SQLiteSessionBackend(path)
        assert backend.load("old") == {}
        backend.save("new", {"a": 2}, 60)
        other.stdin.write("\n")
        other.stdin.close()
        assert other.wait() == 0
    assert backend.load("other") == {"a": 3}
    backend.close()
    check = sqlite3.connect(path)
    assert check.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    check.close()


def test_shared_memory_files_of_a_new_sqlite_file_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one changes to it after this one has looked."""
    path = tmp_path / "sessions.db"
    other = sqlite3.connect(path, check_same_thread=False)
    shared = []

    class Slow(sqlite3.Connection):
        def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
            if sql == "BEGIN EXCLUSIVE":
                other.execute("PRAGMA journal_mode = WAL")
                other.execute("CREATE TABLE others (id)")
                shared.append(Path(f"{path}-shm").stat().st_ino)
            return super().execute(sql, *arguments)

    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Slow))
    backend = SQLiteSessionBackend(path)
    backend.save("id", {"a": 1}, 60)
    assert [Path(f"{path}-shm").stat().st_ino] == shared
    assert other.execute("SELECT id FROM sessions").fetchall() == [("id",)]
    other.close()
    backend.close()


# -- Redis -----------------------------------------------------------------------------------------


@pytest.mark.processes
@pytest.mark.parametrize(
    ("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)]
)
def test_a_missing_redis_server_is_not_skipped_silently_in_ci(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ci: str, outcome: Any
) -> None:
    monkeypatch.setenv("CI", ci)
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = redis_server(tmp_path, program="redis-server")  # whatever REDIS_SERVER is
    with pytest.raises(outcome, match="scripts/install-system-packages"), missing:
        pass


@pytest.mark.parametrize(
    "url", ["", "localhost", "http://localhost", "redis://localhost:port", None, 5]
)
def test_an_invalid_url_is_refused_when_the_backend_is_created(url: Any) -> None:
    with pytest.raises(SetupError, match="redis://localhost:6379/0"):
        RedisSessionBackend(url)


@pytest.mark.processes
def test_a_missing_redis_gets_a_503(make_client: MakeClient) -> None:
    client = make_client(Root(RedisSessionBackend(f"redis://127.0.0.1:{free_port()}/0")))
    assert client.get("/keep/1").status_code == 503
    assert client.get("/look", headers={"Cookie": f"session_id={'x' * 43}"}).status_code == 503
    assert client.get("/look").status_code == 200


@pytest.mark.processes
@pytest.mark.parametrize(
    ("command", "values"), [("config set maxmemory", (1, 0)), ("replicaof", ("::1 1", "no one"))]
)
def test_a_full_or_read_only_redis_is_not_ready(tmp_path: Path, command: str, values: Any) -> None:
    with redis_server(tmp_path) as url, redis.Redis.from_url(url) as server:
        services = RedisSessionBackend(url), RedisRates(url)
        for value, is_ready in zip((values[1], *values), (True, False, True), strict=True):
            server.execute_command(*f"{command} {value}".split())
            for service in services:
                with nullcontext() if is_ready else pytest.raises(ConnectionError):
                    service.ping()
        for service in services:
            service.close()


def test_a_read_only_file_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "sessions"
    backend = SQLiteSessionBackend(path)
    backend.save("a", {"n": 1}, 60)
    backend.ping()
    backend.close()
    # As of a file that this process may not write; root, who runs tests in containers, may write
    # each.
    read_only = sqlite3.connect(
        f"file:{path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
    )
    backend._idle.append((sqlite._file_at(path), read_only))
    assert backend.load("a") == {"n": 1}
    with pytest.raises(ConnectionError, match="readonly database"):
        backend.ping()
    assert backend.load("a") == {"n": 1}


def test_pinging_sqlite_blocks_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_BUSY", 0.0)
    asked, other = (SQLiteSessionBackend(tmp_path / "sessions.db") for _ in range(2))
    asked.ping()
    other.save("id", {"a": 1}, 60)
    assert asked.load("id") == {"a": 1}
    for backend in (asked, other):
        backend.close()


@pytest.mark.processes
def test_a_redis_that_does_not_respond_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rediscache, "_TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        backend = RedisSessionBackend(f"redis://127.0.0.1:{server.getsockname()[1]}/0")
        with pytest.raises(ConnectionError, match="unavailable"):
            backend.load("id")
        backend.close()


@pytest.mark.processes
def test_a_recovered_redis_is_used_again(tmp_path: Path) -> None:
    with redis_server(tmp_path) as url:
        backend = RedisSessionBackend(url)
        backend.save("id", {"a": 1}, 60)
    with pytest.raises(ConnectionError):
        backend.load("id")
    port = url.rpartition(":")[2].partition("/")[0]
    with redis_server(tmp_path, int(port)):
        assert backend.load("id") == {}
        backend.save("id", {"a": 1}, 60)
        assert backend.load("id") == {"a": 1}
        backend.close()


def test_redis_keeps_a_session_until_it_expires(redis_url: str) -> None:
    backend = RedisSessionBackend(redis_url, prefix="time:")
    backend.save("id", {"a": 1}, 60)
    client = backend._redis._client()
    assert 55 < client.ttl("time:id") <= 60
    session = Session("id", {"a": 1})
    session["b"] = 2
    session.regenerate()
    changes = session.changes()
    changes.new_id = "new"
    assert backend.merge("id", changes, 600) == {"a": 1, "b": 2}
    assert (client.exists("time:id"), 590 < client.ttl("time:new") <= 600) == (0, True)
    backend.save("new", {}, 60)
    assert client.keys("time:*") == []
    backend.close()


def test_redis_loads_a_session_once_for_a_change(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = RedisSessionBackend(redis_url, prefix="once:")
    backend.save("id", {"n": 1}, 60)
    early, late = (Session("id", backend.load("id")) for _ in range(2))
    monkeypatch.setattr(backend._redis._client(), "get", None)
    early["n"] = 2
    late["m"] = 3
    assert backend.merge("id", early.changes(), 60) == {"n": 2}
    # what it has loaded is stored no longer
    assert backend.merge("id", late.changes(), 60) == {"n": 2, "m": 3}
    backend.save("id", {}, 60)
    changes = late.changes()
    assert (backend.merge("id", changes, 60), changes.was_applied) == ({}, False)
    backend.close()


def test_redis_merges_again_when_another_writer_was_faster(redis_url: str) -> None:
    backend = RedisSessionBackend(redis_url, prefix="race:")
    backend.save("id", {"n": 1}, 60)
    seen = []

    def slowly(n: int) -> int:
        seen.append(n)
        if len(seen) == 2:  # the first time is update_atomic's own
            thread = threading.Thread(target=backend.save, args=("id", {"n": 10}, 60))
            thread.start()
            thread.join()
        return n + 1

    session = Session("id", {"n": 1})
    session.update_atomic("n", slowly)
    assert backend.merge("id", session.changes(), 60) == {"n": 11}
    assert seen == [1, 1, 10]
    backend.save("id", {}, 60)
    backend.close()
