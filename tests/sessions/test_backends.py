"""What every backend of ours does, from log-in to log-out, with many requests at one moment."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import micropie
from micropie import App, HttpMiddleware, SessionBackend, flash
from micropie.sessions import Session
from micropie.testing import TestClient
from tests.support.clients import MakeClient
from tests.support.environment import unmeasured
from tests.support.processes import REDIS
from tests.support.waiting import PATIENCE, until

ROOT = Path(micropie.__file__).parent.parent
WRITERS = 20


def count(n: int | None) -> int:
    return (n or 0) + 1


class Site(App):
    """`_meanwhile` is called by slow handlers after they have read the session: another request of
    that client.
    """

    _meanwhile: Callable[[], object]

    def login(self) -> str:
        self.request.session.regenerate()
        self.request.session["user"] = "me"
        return "in"

    def logout(self, message: str = "") -> str:
        self.request.session.clear()
        if message:
            flash(message)
        return "out"

    def look(self) -> Any:
        return dict(self.request.session)

    def keep(self, key: str, value: str) -> Any:
        self.request.session[key] = value
        return dict(self.request.session)

    def drop(self, key: str) -> None:
        del self.request.session[key]

    def count(self) -> int:
        result: int = self.request.session.update_atomic("n", count)
        return result

    def slow(self, key: str, value: str) -> None:
        session = self.request.session
        session.get(key)
        type(self)._meanwhile()
        session[key] = value

    def slow_drop(self, key: str) -> None:
        session = self.request.session
        session.get(key)
        type(self)._meanwhile()
        del session[key]

    def slow_rotation(self) -> None:
        session = self.request.session
        session.get("user")
        type(self)._meanwhile()
        session.regenerate()

    def slow_logout(self) -> None:
        session = self.request.session
        type(self)._meanwhile()
        user = session["user"]
        session.clear()
        session["user"] = user  # as it was
        session.update_atomic("bye", count)

    def fails(self) -> None:
        self.request.session["x"] = 1
        raise RuntimeError


class WithoutMerge(SessionBackend):
    """A backend that has only ``load`` and ``save``."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def load(self, session_id: str) -> Any:
        return self._inner.load(session_id)

    def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None:
        self._inner.save(session_id, data, timeout)


def other(app: Any, session_id: str, path: str) -> Any:
    """Another request of the same client, at the same moment: its answer."""
    client = TestClient(app, protocol="wsgi", lifespan=False)
    return client.get(path, headers={"Cookie": f"session_id={session_id}"})


def test_a_session_lasts_from_login_to_logout(
    make_client: MakeClient, backend: SessionBackend
) -> None:
    client = make_client(Site(backend))
    assert client.get("/look").json() == {}
    assert "session_id" not in client.cookies
    client.get("/keep/cart/full")
    before = client.cookies["session_id"]
    client.get("/login")
    assert client.cookies["session_id"] != before
    assert client.get("/look").json() == {"cart": "full", "user": "me"}
    assert client.get("/drop/cart").status_code == 200
    assert client.get("/look").json() == {"user": "me"}
    client.get("/logout")
    assert "session_id" not in client.cookies
    assert client.get("/look").json() == {}


def test_R42_an_id_of_another_visitor_is_not_adopted(
    make_client: MakeClient, backend: SessionBackend
) -> None:
    client = make_client(Site(backend))
    answer = client.get("/keep/a/1", headers={"Cookie": "session_id=planted"})
    assert answer.cookies["session_id"] != "planted"
    assert client.get("/look", headers={"Cookie": "session_id=planted"}).json() == {}


def test_R42_login_ends_the_old_id(make_client: MakeClient, shared: SessionBackend) -> None:
    client = make_client(Site(shared))
    client.get("/keep/a/1")
    old = client.cookies["session_id"]
    client.get("/login")
    new = client.cookies["session_id"]
    assert (shared.load(old), shared.load(new)) == ({}, {"a": "1", "user": "me"})
    client.cookies.clear()
    assert client.get("/look", headers={"Cookie": f"session_id={old}"}).json() == {}


def test_R43_requests_that_change_different_keys_lose_nothing(
    make_client: MakeClient, shared: SessionBackend
) -> None:
    app = Site(shared)
    client = make_client(app)
    client.get("/keep/a/1")
    session_id = client.cookies["session_id"]
    Site._meanwhile = lambda: other(app, session_id, "/keep/b/2")
    client.get("/slow/c/3")
    assert client.get("/look").json() == {"a": "1", "b": "2", "c": "3"}


@pytest.mark.parametrize("logout", ["/logout", "/logout?message=bye"])
@pytest.mark.parametrize("path", ["/slow/late/1", "/slow_rotation"])
def test_R43_a_slower_request_does_not_undo_a_logout(
    make_client: MakeClient, shared: SessionBackend, path: str, logout: str
) -> None:
    app = Site(shared)
    client = make_client(app)
    client.get("/login")
    session_id = client.cookies["session_id"]
    others: list[Any] = []
    Site._meanwhile = lambda: others.append(other(app, session_id, logout))
    answer = client.get(path)
    assert (answer.status_code, "set-cookie" in answer.headers) == (200, False)
    assert shared.load(session_id) == {}
    if logout != "/logout":
        assert shared.load(others[0].cookies["session_id"]) == {"_flashes": [["message", "bye"]]}
    assert client.get("/look").json() == {}


def test_R43_a_logout_also_removes_values_added_meanwhile(
    make_client: MakeClient, shared: SessionBackend
) -> None:
    app = Site(shared)
    client = make_client(app)
    client.get("/login")
    session_id = client.cookies["session_id"]
    Site._meanwhile = lambda: other(app, session_id, "/keep/cart/full")
    client.get("/slow_logout")
    assert client.cookies["session_id"] != session_id
    assert (shared.load(session_id), client.get("/look").json()) == ({}, {"user": "me", "bye": 1})


def test_R43_a_slower_request_does_not_revive_the_id_before_login(
    make_client: MakeClient, shared: SessionBackend
) -> None:
    app = Site(shared)
    client = make_client(app)
    client.get("/keep/a/1")
    session_id = client.cookies["session_id"]
    others: list[Any] = []
    Site._meanwhile = lambda: others.append(other(app, session_id, "/login"))
    # The browser has the new cookie by then: this answer must not take it away.
    assert "set-cookie" not in client.get("/slow/b/2").headers
    assert shared.load(session_id) == {}
    assert shared.load(others[0].cookies["session_id"]) == {"a": "1", "user": "me"}


def test_R43_two_requests_that_remove_the_last_keys_leave_no_session(
    make_client: MakeClient, shared: SessionBackend
) -> None:
    first, second = Session("id", {"a": 1, "b": 1}), Session("id", {"a": 1, "b": 1})
    shared.save("id", dict(first), 60)
    del first["a"]
    del second["b"]
    merge: Any = getattr(shared, "merge")  # noqa: B009
    assert [merge("id", session.changes(), 60) for session in (first, second)] == [{"b": 1}, {}]
    assert shared.load("id") == {}


@pytest.mark.parametrize("kind", [None, WithoutMerge])
def test_R43_a_request_that_removes_the_last_key_it_knows_ends_no_session(
    make_client: MakeClient, shared: Any, kind: Any
) -> None:
    kept = shared if kind is None else kind(shared)
    app = Site(kept)
    client = make_client(app)
    client.get("/keep/a/1")
    session_id = client.cookies["session_id"]
    Site._meanwhile = lambda: other(app, session_id, "/keep/b/2")
    client.get("/slow_drop/a")
    assert (client.get("/look").json(), client.cookies["session_id"]) == ({"b": "2"}, session_id)
    # The browser has the cookie of the login by then: this answer must not delete it.
    Site._meanwhile = lambda: other(app, session_id, "/login")
    assert "set-cookie" not in client.get("/slow_drop/b").headers
    # The last key is gone, and with it the session and its cookie.
    client.get("/keep/c/3")
    Site._meanwhile = lambda: None
    answer = client.get("/slow_drop/c")
    assert "session_id=; Max-Age=0" in answer.headers["set-cookie"]


def test_R43_twenty_concurrent_requests_count_to_twenty(shared: SessionBackend) -> None:
    with TestClient(Site(shared), protocol="wsgi") as client, ThreadPoolExecutor(WRITERS) as pool:
        client.get("/keep/a/1")
        cookie = {"Cookie": f"session_id={client.cookies['session_id']}"}
        together = threading.Barrier(WRITERS)

        def write(number: int) -> None:
            together.wait()
            assert client.get("/count", headers=cookie).status_code == 200
            assert client.get(f"/keep/k{number}/x", headers=cookie).status_code == 200

        list(pool.map(write, range(WRITERS)))
        kept = client.get("/look", headers=cookie).json()
    assert kept == {"a": "1", "n": WRITERS} | {f"k{number}": "x" for number in range(WRITERS)}


IMPORT = """
import os, sys, threading
from micropie.sessions import RedisSessionBackend, Session, SQLiteSessionBackend
"""
IN_PROCESSES = """
begun, begin = os.pipe()
children = []
for process in range(int(sys.argv[4])):
    children.append(os.fork())
    if not children[-1]:
        break
else:
    os.close(begin)  # now all begin
    sys.exit(any([os.waitpid(child, 0)[1] for child in children]))
os.close(begin)
os.read(begun, 1)
"""
OPEN = """
kind, where, prefix = sys.argv[1:4]
backend = SQLiteSessionBackend(where) if kind == "sqlite" else RedisSessionBackend(where, prefix)
"""
EACH_OF_MANY = """
def write(number):
    for turn in range(5):
        session = Session("id", backend.load("id"))
        session.update_atomic("n", lambda n: (n or 0) + 1)
        session[f"{prefix}-{process}-{number}"] = turn
        assert backend.merge("id", session.changes(), 60)
threads = [threading.Thread(target=write, args=(number,)) for number in range(5)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
FORKED = """
def write(number):
    session = Session("id", backend.load("id"))
    session.update_atomic("n", lambda n: (n or 0) + 1)
    backend.merge("id", session.changes(), 60)
write(0)  # the parent has a connection now
children = []
for number in range(4):
    child = os.fork()
    if not child:
        write(number)
        backend.close()
        os._exit(0)
    children.append(child)
write(0)
assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
write(0)
"""


def place(shared: Any) -> list[str]:
    """The arguments by which another process finds the same sessions."""
    if hasattr(shared, "_path"):
        return ["sqlite", str(shared._path), "x"]
    return ["redis", shared._redis.url, shared._prefix]


def run_to_the_end(code: str, *arguments: str) -> None:
    command = [sys.executable, "-c", code, *arguments]
    ended = subprocess.run(
        command, cwd=ROOT, env=unmeasured(), capture_output=True, timeout=2 * PATIENCE, check=False
    )
    assert (ended.stderr.decode(), ended.returncode) == ("", 0)


@pytest.mark.processes
@pytest.mark.parametrize("shared", ["sqlite", REDIS], indirect=True)
def test_R43_twenty_writers_in_four_processes_lose_nothing(shared: SessionBackend) -> None:
    shared.save("id", {"a": 1}, 60)
    run_to_the_end(IMPORT + IN_PROCESSES + OPEN + EACH_OF_MANY, *place(shared), "4")
    kept = shared.load("id")
    assert kept["n"] == 4 * 5 * 5
    assert len(kept) == 2 + 20


def test_R43_a_slow_writer_eventually_succeeds(shared: SessionBackend) -> None:
    # As a machine far from Redis: while it makes its change, others on nearer machines have made
    # several changes.
    shared.save("id", {"n": 0, "slow": 0}, 60)
    merge: Any = getattr(shared, "merge")  # noqa: B009
    is_over = threading.Event()

    def write_quickly() -> int:
        writes = 0
        while not is_over.is_set():
            session = Session("id", {"n": 0})
            session.update_atomic("n", count)
            writes += bool(merge("id", session.changes(), 60))
        return writes

    def slowly(n: int | None) -> int:
        time.sleep(0.02)
        return count(n)

    session = Session("id", {"slow": 0})
    session.update_atomic("slow", slowly)
    with ThreadPoolExecutor() as threads:
        writing = [threads.submit(write_quickly) for _ in range(2)]
        try:
            for number in range(1, 4):
                assert merge("id", session.changes(), 60)["slow"] == number
        finally:
            is_over.set()
    assert shared.load("id") == {"n": sum(writer.result() for writer in writing), "slow": 3}


@pytest.mark.processes
@pytest.mark.parametrize("shared", ["sqlite", REDIS], indirect=True)
def test_R70_a_forked_child_opens_its_own_connections(shared: SessionBackend) -> None:
    shared.save("id", {"a": 1}, 60)
    run_to_the_end(IMPORT + OPEN + FORKED, *place(shared))
    assert shared.load("id") == {"a": 1, "n": 7}


@pytest.mark.processes
def test_many_processes_may_open_sqlite_concurrently(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    save = "backend.save(str(process), {'a': 1}, 60)"
    run_to_the_end(IMPORT + IN_PROCESSES + OPEN + save, "sqlite", str(path), "x", "8")
    sessions = micropie.sessions.SQLiteSessionBackend(path)
    assert [sessions.load(str(number)) for number in range(8)] == [{"a": 1}] * 8
    sessions.close()


def test_R44_a_failure_leaves_no_lock(make_client: MakeClient, shared: SessionBackend) -> None:
    class Breaks(HttpMiddleware):
        def after_request(self, request: Any, *_: Any) -> Any:
            request.session.update_atomic("x", lambda _: 1 / 0 if request.path == "/count" else 2)

    app = Site(shared, session_save_on_error=True)
    client = make_client(app, raise_app_exceptions=False)
    client.get("/keep/a/1")
    app.middlewares.append(Breaks())
    assert [client.get(path).status_code for path in ("/fails", "/count")] == [500, 500]
    app.middlewares.clear()
    client.get("/keep/b/2")  # with a lock that was left it would be a 503, in the end
    assert client.get("/look").json() == {"a": "1", "b": "2", "n": 1, "x": 2}


def test_R44_a_failing_merge_leaves_the_session_unchanged(
    shared: SessionBackend,
) -> None:
    shared.save("id", {"n": 0}, 60)
    session = Session("id", {})
    session.update_atomic("n", lambda n: 1 if n is None else 1 / n)
    merge: Any = getattr(shared, "merge")  # noqa: B009
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            merge("id", session.changes(), 60)
    session = Session("id", {"n": 0})
    session.update_atomic("n", count)
    assert merge("id", session.changes(), 60) == {"n": 1}


def test_R44_a_stream_does_not_block_other_requests_of_its_session(
    make_client: MakeClient, shared: SessionBackend
) -> None:
    class Streaming(Site):
        def stream(self) -> Any:
            self.request.session["streams"] = 1
            yield "a"
            yield other(app, session_id, "/look").text

    app = Streaming(shared)
    client = make_client(app)
    client.get("/keep/a/1")
    session_id = client.cookies["session_id"]
    assert client.get("/stream").text == 'a{"a":"1","streams":1}'


def test_a_session_expires(backend: SessionBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis's own clock can't be set: it is waited for."""
    value = backend.save("id", {"a": 1}, 2) or "id"
    assert backend.load(value) == {"a": 1}
    until(lambda: backend.load(value) == {})


def test_R50_a_request_that_stores_nothing_creates_no_session(
    make_client: MakeClient, backend: SessionBackend
) -> None:
    client = make_client(Site(backend))
    for path in ("/look", "/logout"):
        assert "set-cookie" not in client.get(path).headers


# What is left of 1000 bytes for the text in ``{"a":""}``.
ROOM = 992


@pytest.mark.parametrize("last", ["x", "\xe9"])
def test_R50_a_session_s_size_is_limited(
    make_client: MakeClient, backend: SessionBackend, last: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(Site(backend, max_session_size=1000))
    fits = "x" * (ROOM - len(json.dumps(last).strip('"'))) + last
    refused = client.get(f"/keep/a/x{fits}")
    assert (refused.status_code, "set-cookie" in refused.headers) == (500, False)
    sentence = "because it has 1001 bytes, 1001 of them in 'a', and App(max_session_size=1000)"
    assert sentence in caplog.text
    assert client.get(f"/keep/a/{fits}").status_code == 200
    assert client.get("/keep/b/1").status_code == 500
    # What was stored stays, and may shrink and end.
    assert client.get("/look").json() == {"a": fits}
    assert client.get("/keep/a/1").status_code == client.get("/keep/b/1").status_code == 200
    client.get("/logout")
    assert client.get("/look").json() == {}


class Deep(Site):
    def nest(self, levels: int) -> Any:
        value: dict[str, object] = {}
        for _ in range(levels):
            value = {"in": [value]}
        self.request.session["deep"] = value
        return "kept"

    def widen(self) -> Any:
        self.request.session["wide"] = [[]] * 300
        return "kept"


@pytest.mark.parametrize("debug", [True, False])
def test_R50_a_session_that_could_not_be_loaded_again_is_not_saved(
    make_client: MakeClient, backend: SessionBackend, debug: bool, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(Deep(backend, debug=debug))
    assert client.get("/keep/a/1").status_code == client.get("/nest/124").status_code == 200
    assert client.get("/widen").status_code == 200  # many lists, but beside each other
    stored = client.get("/look").json()
    assert (stored["a"], client.get("/keep/a/2").status_code) == ("1", 200)
    for levels in (125, 400, 5000):
        caplog.clear()
        assert client.get(f"/nest/{levels}").status_code == 500
        assert "because 'deep' has lists and dicts inside each other, more than 250" in caplog.text
    assert client.get("/look").json() == {**stored, "a": "2"}


def test_R50_data_of_two_concurrent_requests_counts_against_one_limit(
    make_client: MakeClient, shared: SessionBackend
) -> None:
    app = Site(shared, max_session_size=1000)
    client = make_client(app)
    client.get("/keep/a/1")
    session_id = client.cookies["session_id"]
    Site._meanwhile = lambda: other(app, session_id, f"/keep/b/{'x' * 600}")
    assert client.get(f"/slow/c/{'x' * 600}").status_code == 500
    assert client.get("/look").json() == {"a": "1", "b": "x" * 600}


class Picky(Site):
    def date(self) -> None:
        self.request.session["when"] = time.gmtime

    def number(self) -> None:
        self.request.session["n"] = float("nan")

    def key(self) -> None:
        self.request.session[("a", "b")] = 1


@pytest.mark.parametrize("name", ["memory", "sqlite", REDIS, "cookie"])
@pytest.mark.parametrize(
    ("path", "problem"),
    [
        (
            "/date",
            r"session\['when'\]: this session backend can store only JSON .*not JSON serializable",
        ),
        (
            "/number",
            r"session\['n'\]: this session backend can store only JSON .*Out of range float values",
        ),
        ("/key", "this session backend can store only JSON .*keys must be str"),
    ],
)
def test_a_value_without_json_is_refused_and_logged(
    make_client: MakeClient,
    make_backend: Any,
    name: str,
    path: str,
    problem: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = make_client(Picky(make_backend(name)))
    assert client.get(path).status_code == 500
    assert re.search(problem, caplog.text)


def test_values_come_back_as_json_returns_them(backend: SessionBackend) -> None:
    """So what works with the backend of the first day works with that of the first deployment."""
    numbered: Any = {"pair": (1, 2), "by_number": {1: "a"}}
    session_id = backend.save("id", numbered, 60) or "id"
    assert backend.load(session_id) == {"pair": [1, 2], "by_number": {"1": "a"}}
