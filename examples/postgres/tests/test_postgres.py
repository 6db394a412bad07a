"""The tests of the extension, with a real server, under WSGI, asyncio and trio."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Barrier, Event
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from examples.postgres.micropie_postgres import PostgresRates, PostgresSessionBackend
from micropie import App, ResponseError, SetupError, post
from micropie.middleware import RateLimit
from micropie.sessions import Changes
from micropie.testing import TestClient
from tests.support.postgres_server import PostgresServer, postgres_server
from tests.support.waiting import PATIENCE, until

ROOT = Path(__file__).parents[3]
DAY = 24 * 3600
NO_COOKIE = {"Cookie": ""}
OUT_OF_REACH = "The session store is unavailable. Please try again in a moment."

ODD = [
    "",
    "'; DROP TABLE micropie_sessions; --",
    "%s %(key)s",
    "\x00",
    "é\u2028\U0001f967",
    "\ud800",
]

Connect = Callable[[App], TestClient]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def admin(server: PostgresServer) -> Iterator[psycopg.Connection[Any]]:
    """Another program's connection. Before the test, it deletes the tables."""
    with psycopg.connect(server.url, autocommit=True) as admin:
        admin.execute("DROP TABLE IF EXISTS micropie_sessions, micropie_rates")
        yield admin


@pytest.fixture
def sessions(server: PostgresServer, admin: object) -> Iterator[PostgresSessionBackend]:
    sessions = PostgresSessionBackend(server.url, patience=PATIENCE)
    yield sessions
    sessions.close()


@pytest.fixture
def rates(server: PostgresServer, admin: object) -> Iterator[PostgresRates]:
    rates = PostgresRates(server.url, patience=PATIENCE)
    yield rates
    rates.close()


@pytest.fixture(
    params=[{"protocol": "wsgi"}, {"backend": "asyncio"}, {"backend": "trio"}],
    ids=["wsgi", "asyncio", "trio"],
)
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Return a function ``connect(app)`` that returns a client for an application, under WSGI,
    asyncio or trio.
    """
    with ExitStack() as clients:
        yield lambda app: clients.enter_context(
            TestClient(app, app_timeout=PATIENCE, **request.param)
        )


class Shop(App):
    """An application whose handler ``slow`` sets ``begun`` when it has its session, and then waits
    for ``go_on``.
    """

    def __init__(self, backend: PostgresSessionBackend) -> None:
        super().__init__(backend)
        self.begun, self.go_on = Event(), Event()

    def plain(self) -> str:
        return "plain"

    def look(self) -> dict[str, Any]:
        return dict(self.request.session)

    @post
    def count(self) -> str:
        return str(self.request.session.update_atomic("count", lambda count: (count or 0) + 1))

    @post
    def slow(self) -> str:
        self.request.session["slow"] = True
        self.begun.set()
        assert self.go_on.wait(PATIENCE)
        return "done"

    @post
    def renew(self) -> str:
        self.request.session.regenerate()
        return "renewed"

    @post
    def leave(self) -> str:
        self.request.session.clear()
        return "bye"


def rows(admin: psycopg.Connection[Any], table: str) -> int:
    return int(admin.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # type: ignore[index]


def until_one_waits_for_a_lock(admin: psycopg.Connection[Any]) -> None:
    query = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    until(lambda: admin.execute(query).fetchone())


# -- sessions ------------------------------------------------------------------------------------


def test_sessions_are_kept_renewed_and_ended(
    connect: Connect, sessions: PostgresSessionBackend
) -> None:
    client = connect(Shop(sessions))
    assert [client.post("/count").text for _ in range(2)] == ["1", "2"]
    old = {"Cookie": f"session_id={client.cookies['session_id']}"}
    client.post("/renew")
    assert client.post("/count").text == "3"
    client.post("/leave")
    assert client.post("/count").text == "1"
    client.cookies.clear()
    assert client.get("/look", headers=old).json() == {}


def test_a_log_out_is_final_while_another_request_saves(
    connect: Connect, sessions: PostgresSessionBackend, admin: psycopg.Connection[Any]
) -> None:
    app = Shop(sessions)
    client = connect(app)
    client.post("/count")
    cookie = {"Cookie": f"session_id={client.cookies['session_id']}"}
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(client.post, "/slow", headers=cookie)
        assert app.begun.wait(PATIENCE)
        assert client.post("/leave").text == "bye"
        app.go_on.set()
        answer = slow.result(PATIENCE)
    assert (answer.text, "set-cookie" in answer.headers) == ("done", False)
    assert client.get("/look", headers=cookie).json() == {}
    assert rows(admin, "micropie_sessions") == 0


class Paused(Changes):
    """Changes whose transaction waits until ``go_on`` is set."""

    def apply(self, stored: Any) -> Any:
        self.begun.set()
        assert self.go_on.wait(PATIENCE)
        return super().apply(stored)

    @classmethod
    def make(cls, *arguments: Any, **options: Any) -> Paused:
        changes = cls(*arguments, **options)
        changes.begun, changes.go_on = Event(), Event()
        return changes

    begun: Event
    go_on: Event


@pytest.mark.parametrize(
    ("first", "result"),
    [
        (Paused.make({"a": 1}), {"a": 1, "b": 2}),
        (Paused.make({}, emptied=True), {}),
        (Paused.make({"a": 1}, new_id="new"), {}),
    ],
    ids=["changed", "logged out", "renewed"],
)
def test_who_saves_second_sees_what_the_first_one_has_done(
    sessions: PostgresSessionBackend,
    admin: psycopg.Connection[Any],
    first: Paused,
    result: dict[str, int],
) -> None:
    sessions.save("id", {"a": 0}, 60)
    with ThreadPoolExecutor(2) as threads:
        merged = threads.submit(sessions.merge, "id", first, 60)
        assert first.begun.wait(PATIENCE)
        second = threads.submit(sessions.merge, "id", Changes({"b": 2}), 60)
        until_one_waits_for_a_lock(admin)
        first.go_on.set()
        assert second.result(PATIENCE) == sessions.load("id") == result
        assert sessions.load("new") == (merged.result() if first.new_id else {})


def test_changes_that_are_refused_change_nothing(sessions: PostgresSessionBackend) -> None:
    def refuse(data: object) -> None:
        raise ResponseError("too large")

    sessions.save("id", {"a": 1}, 60)
    with pytest.raises(ResponseError):
        sessions.merge("id", Changes({"a": 2}, check=refuse, new_id="new"), 60)
    with pytest.raises(ValueError, match="JSON"):
        sessions.merge("id", Changes({"a": float("nan")}, new_id="new"), 60)
    assert sessions.merge("id", Changes({"b": 3}), 60) == {"a": 1, "b": 3}


def test_a_session_ends_with_its_time(sessions: PostgresSessionBackend) -> None:
    sessions.save("id", {"user": "ann"}, 60)
    sessions.save("id", {"user": "bob"}, 0)
    assert sessions.load("id") == sessions.merge("id", Changes({"user": "cat"}), 60) == {}
    sessions.save("id", {"user": "dan"}, 60)
    assert sessions.load("id") == {"user": "dan"}
    sessions.save("id", {}, 60)
    assert sessions.load("id") == {}


@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_names_and_values_may_have_any_characters(
    sessions: PostgresSessionBackend, rates: PostgresRates, odd: str
) -> None:
    sessions.save(odd, {odd: odd}, 60)
    assert sessions.merge(odd, Changes({"more": [odd]}), 60) == {odd: odd, "more": [odd]}
    assert sessions.load(odd) == {odd: odd, "more": [odd]}
    assert sessions.load(f"{odd} ") == {}
    assert [rates.hit(odd, 1, DAY).allowed for _ in range(2)] == [True, False]
    assert rates.hit(f"{odd} ", 1, DAY).allowed


def test_the_table_has_no_ids(
    sessions: PostgresSessionBackend, admin: psycopg.Connection[Any]
) -> None:
    sessions.save("secret", {"user": "ann"}, 60)
    row = admin.execute("SELECT id, data FROM micropie_sessions").fetchone()
    assert row is not None
    assert (b"secret" in row[0], row[1]) == (False, '{"user":"ann"}')


# -- rates ---------------------------------------------------------------------------------------


def test_a_rate_is_shared_by_all_workers(
    connect: Connect, server: PostgresServer, rates: PostgresRates
) -> None:
    other = PostgresRates(server.url)
    first, second = (Shop(PostgresSessionBackend(server.url)) for _ in range(2))
    for app, store in ((first, rates), (second, other)):
        app.middlewares.append(RateLimit(3, per=DAY, store=store))
    clients = connect(first), connect(second)
    answers = [clients[number % 2].get("/plain") for number in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert 0 < int(answers[3].headers["Retry-After"]) <= DAY / 3
    other.close()


def test_a_quota_comes_back_with_the_time(
    rates: PostgresRates, admin: psycopg.Connection[Any]
) -> None:
    def an_hour_later() -> None:
        admin.execute("UPDATE micropie_rates SET ends = ends - interval '1 hour'")

    quotas = [rates.hit("ann", 2, 7200) for _ in range(3)]
    assert [(one.allowed, one.limit, one.remaining) for one in quotas] == [
        (True, 2, 1),
        (True, 2, 0),
        (False, 2, 0),
    ]
    assert 3500 < quotas[0].full_after <= 3600 < 7100 < quotas[2].full_after <= 7200
    assert (quotas[1].retry_after, 3500 < quotas[2].retry_after <= 3600) == (0, True)
    an_hour_later()
    assert [rates.hit("ann", 2, 7200).allowed for _ in range(2)] == [True, False]
    for _ in range(3):
        an_hour_later()
    assert [rates.hit("ann", 2, 7200).remaining for _ in range(2)] == [1, 0]


def test_processes_and_threads_count_together(
    server: PostgresServer, rates: PostgresRates, admin: psycopg.Connection[Any]
) -> None:
    # all processes begin before the table exists
    count = f"""
import sys
from concurrent.futures import ThreadPoolExecutor
from examples.postgres.micropie_postgres import PostgresRates
rates = PostgresRates({server.url!r}, patience={PATIENCE}, connections=4)
with ThreadPoolExecutor(4) as threads:
    quotas = list(threads.map(lambda _: rates.hit("ann", 70, {DAY}), range(50)))
print(sum(quota.allowed for quota in quotas))
rates.close()
"""
    command = [sys.executable, "-c", count]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    assert sum(int(process.communicate(timeout=PATIENCE)[0]) for process in processes) == 70
    assert not rates.hit("ann", 70, DAY).allowed


# -- tables --------------------------------------------------------------------------------------


def test_tables_are_made_once_however_many_workers_start(
    server: PostgresServer, admin: psycopg.Connection[Any]
) -> None:
    workers = [PostgresSessionBackend(server.url, patience=PATIENCE) for _ in range(12)]
    together = Barrier(len(workers))

    def work(worker: PostgresSessionBackend) -> dict[str, Any]:
        together.wait(PATIENCE)
        return worker.load("id")

    with ThreadPoolExecutor(len(workers)) as threads:
        assert list(threads.map(work, workers)) == [{}] * len(workers)
    for worker in workers:
        worker.close()


def test_a_user_who_may_not_create_tables_uses_those_of_another(
    server: PostgresServer, sessions: PostgresSessionBackend, admin: psycopg.Connection[Any]
) -> None:
    sessions.save("id", {"user": "ann"}, 60)
    admin.execute("DROP ROLE IF EXISTS shop")
    admin.execute("CREATE ROLE shop LOGIN")
    rights = "SELECT, INSERT, UPDATE, DELETE"
    admin.execute(f"GRANT {rights} ON micropie_sessions TO shop")
    shop = PostgresSessionBackend(server.url.replace("postgres@", "shop@"))
    assert shop.merge("id", Changes({"n": 1}), 60) == {"user": "ann", "n": 1}
    shop.close()
    rates = PostgresRates(server.url.replace("postgres@", "shop@"))
    with pytest.raises(ConnectionError, match="permission denied"):
        rates.hit("ann", 1, 60)


def test_expired_rows_are_deleted_and_locked_ones_not_waited_for(
    server: PostgresServer,
    sessions: PostgresSessionBackend,
    rates: PostgresRates,
    admin: psycopg.Connection[Any],
) -> None:
    for number in range(30):
        sessions.save(f"over {number}", {"n": number}, 0)
        rates.hit(f"over {number}", 1_000_000, 1)  # expires after a microsecond
    sessions.save("going on", {"n": 1}, 60)
    rates.hit("going on", 1, DAY)
    assert rows(admin, "micropie_sessions") == 31
    others = PostgresSessionBackend(server.url), PostgresRates(server.url)
    with psycopg.connect(server.url) as somebody:  # locks a row of each table in a transaction
        for table in ("micropie_sessions", "micropie_rates"):
            key = "id" if table == "micropie_sessions" else "key"
            somebody.execute(f"SELECT {key} FROM {table} ORDER BY 1 LIMIT 1 FOR UPDATE")
        others[0].save("new", {"n": 2}, 60)
        others[1].hit("new", 1, DAY)
        assert rows(admin, "micropie_sessions") in (2, 3)  # the locked row may be one of these
        assert rows(admin, "micropie_rates") in (2, 3)
    assert others[0].load("going on") == {"n": 1}
    for other in others:
        other.close()


def rows_read(log: str) -> int:
    """Return how many rows the statements have read, according to the plans in the server's log."""

    def of(node: dict[str, Any]) -> int:
        removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Join Filter", 0)
        own = (node["Actual Rows"] + removed) * node["Actual Loops"]
        return int(own) + sum(map(of, node.get("Plans", [])))

    found = re.findall(r"plan:\n((?:\t.*\n)+)", log)
    assert found
    return sum(of(json.loads(plan)["Plan"]) for plan in found)


def test_a_call_reads_as_many_rows_in_a_table_of_any_size(
    server: PostgresServer,
    sessions: PostgresSessionBackend,
    rates: PostgresRates,
    admin: psycopg.Connection[Any],
) -> None:
    sessions.load("id")
    rates.hit("id", 1, 60)
    explaining = (
        "-c session_preload_libraries=auto_explain -c auto_explain.log_min_duration=0"
        " -c auto_explain.log_analyze=on -c auto_explain.log_timing=off"
        " -c auto_explain.log_format=json"
    )
    url = f"{server.url}&options={quote(explaining)}"

    def cost(size: int) -> int:
        begun = len(server.log)
        explained = PostgresSessionBackend(url), PostgresRates(url)
        explained[0].save(f"id {size}", {"n": 1}, 60)
        explained[0].load(f"id {size}")
        explained[0].merge(f"id {size}", Changes({"n": 2}, new_id=f"new {size}"), 60)
        explained[0].merge(f"new {size}", Changes({}, emptied=True), 60)
        for _ in range(2):
            explained[1].hit(f"id {size}", 1, 60)
        for one in explained:
            one.ping()
            one.close()
        return rows_read(server.log[begun:])

    def grow(size: int) -> None:
        made = "SELECT sha256(%s || n::text::bytea)"
        later = "now() + n * interval '1 minute' FROM generate_series(1, %s) n"
        name = f"{size} "
        admin.execute(
            f"INSERT INTO micropie_sessions {made}, '{{}}', {later}",
            [name.encode(), size],
        )
        admin.execute(f"INSERT INTO micropie_rates {made}, {later}", [name.encode(), size])

    # If there are fewer rows, PostgreSQL doesn't use the index, because reading all rows is faster.
    grow(4000)
    small = cost(4000)
    grow(12_000)
    assert cost(16_000) == small < 50


# -- outages -------------------------------------------------------------------------------------


def test_requests_get_503_until_a_stopped_server_is_back(
    connect: Connect, server: PostgresServer, sessions: PostgresSessionBackend, rates: PostgresRates
) -> None:
    app = Shop(sessions)
    app.middlewares.append(RateLimit(1000, per=DAY, store=rates))
    app.health()
    client = connect(app)
    assert client.post("/count").text == "1"
    assert client.get("/healthz").status_code == 200
    server.stop()
    try:
        for _ in range(3):
            answer = client.post("/count")
            assert (answer.status_code, answer.text) == (503, OUT_OF_REACH)
            assert answer.headers["Retry-After"] == "5"
            answer = client.get("/plain", headers=NO_COOKIE)
            assert (answer.text, "RateLimit-Limit" in answer.headers) == ("plain", False)
        assert client.get("/healthz").status_code == 503
    finally:
        server.start()
    until(lambda: client.get("/look").status_code == 200)
    until(lambda: client.get("/healthz").status_code == 200)
    until(lambda: "RateLimit-Limit" in client.get("/plain").headers)
    assert client.post("/count").text == "2"


def test_a_server_that_hangs_is_waited_for_by_those_who_need_it(
    connect: Connect, server: PostgresServer, sessions: PostgresSessionBackend
) -> None:
    app = Shop(sessions)
    client = connect(app)
    client.post("/count")
    with ThreadPoolExecutor(4) as threads:
        with server.hanging():
            waiting = [threads.submit(client.get, "/look") for _ in range(4)]
            for _ in range(10):
                assert client.get("/plain", headers=NO_COOKIE).text == "plain"
            assert not any(one.done() for one in waiting)
        assert [one.result(PATIENCE).json() for one in waiting] == [{"count": 1}] * 4


def test_a_server_that_hangs_is_not_waited_for_longer_than_promised(
    connect: Connect, server: PostgresServer, admin: object
) -> None:
    sessions = PostgresSessionBackend(server.url, patience=0.2)
    client = connect(Shop(sessions))
    until(lambda: client.post("/count").status_code == 200)
    with server.hanging():
        for _ in range(5):
            answer = client.get("/look")
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    until(lambda: client.get("/look").status_code == 200)
    sessions.close()


def test_a_server_that_hangs_in_a_transaction_stores_nothing(
    server: PostgresServer, sessions: PostgresSessionBackend
) -> None:
    class Last(Changes):
        def apply(self, stored: Any) -> Any:
            outage.enter_context(server.hanging())
            return super().apply(stored)

    sessions.save("id", {"n": 1}, 60)
    impatient = PostgresSessionBackend(server.url, patience=0.2)
    with ExitStack() as outage, pytest.raises(ConnectionError, match=r"within 0\.2 seconds"):
        impatient.merge("id", Last({"n": 2}), 60)
    assert sessions.load("id") == {"n": 1}
    impatient.close()


def test_a_backend_that_takes_no_changes_is_not_ready(
    server: PostgresServer, sessions: PostgresSessionBackend, rates: PostgresRates
) -> None:
    sessions.save("id", {"n": 1}, 60)
    rates.hit("ann", 1, 60)
    url = f"{server.url}&options={quote('-c default_transaction_read_only=on')}"
    others = PostgresSessionBackend(url), PostgresRates(url)
    assert others[0].load("id") == {"n": 1}
    for other in others:
        with pytest.raises(ConnectionError, match="read-only"):
            other.ping()
        other.close()


def test_a_call_fails_if_all_connections_are_in_use(
    server: PostgresServer, sessions: PostgresSessionBackend
) -> None:
    sessions.save("id", {"n": 1}, 60)
    narrow = PostgresSessionBackend(server.url, patience=0.1, connections=1)
    changes = Paused.make({"n": 2})
    wide = PostgresSessionBackend(server.url, patience=PATIENCE, connections=1)
    with ThreadPoolExecutor(1) as threads:
        merged = threads.submit(wide.merge, "id", changes, 60)
        assert changes.begun.wait(PATIENCE)
        # The row is locked, so the server stops the statement after its timeout.
        with pytest.raises(ConnectionError):
            narrow.merge("id", Changes({"n": 3}), 60)
        changes.go_on.set()
        assert merged.result(PATIENCE) == {"n": 2}
    narrow.close()
    wide.close()


# -- processes, set-up ---------------------------------------------------------------------------


def test_a_forked_process_has_connections_of_its_own(
    server: PostgresServer, sessions: PostgresSessionBackend
) -> None:
    sessions.save("id", {"n": 1}, 60)
    fork = f"""
import os
from examples.postgres.micropie_postgres import PostgresSessionBackend
sessions = PostgresSessionBackend({server.url!r})
assert sessions.load("id") == {{"n": 1}}
child = os.fork()
assert sessions.load("id") == {{"n": 1}}
sessions.close()
if child:
    assert os.waitpid(child, 0)[1] == 0
    assert sessions.load("id") == {{"n": 1}}
    sessions.close()
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", fork], cwd=ROOT, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0


@pytest.mark.parametrize("store", [PostgresSessionBackend, PostgresRates])
def test_wrong_values_are_refused_at_the_start(store: Any) -> None:
    name = store.__name__
    for url in ("postgresql://ann:se/cret@localhost:x%y/", "sesame", None, 5):
        with pytest.raises(SetupError, match=f"{name} takes a URL such as postgresql:") as caught:
            store(url)
        assert "cret" not in str(caught.value)
    for patience in (0, -1, float("inf"), "5", None):
        with pytest.raises(SetupError, match=rf"{name}\(patience=...\) takes seconds above 0"):
            store("postgresql://localhost/shop", patience=patience)
    for connections in (0, 1.5, True, None):
        with pytest.raises(SetupError, match=rf"{name}\(connections=...\) takes a whole number"):
            store("postgresql://localhost/shop", connections=connections)
