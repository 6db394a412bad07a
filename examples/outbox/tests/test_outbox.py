"""The tests of the extension, on SQLite and PostgreSQL, under WSGI, asyncio and trio."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import NullPool

from examples.outbox import app as example
from examples.outbox.micropie_outbox import GiveUp, Outbox
from micropie import App, HTTPError, SetupError, post, request
from micropie.extensions import Outside
from micropie.testing import TestClient
from tests.support.postgres_server import PostgresServer, postgres_server
from tests.support.waiting import PATIENCE, until

Connect = Callable[[], AbstractContextManager[Any]]

HOUR = 3600


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@contextmanager
def closing(make: Callable[[], Any]) -> Iterator[Any]:
    connection = make()
    try:
        with connection:
            yield connection
    finally:
        connection.close()


@pytest.fixture(params=["sqlite3", "sqlite", "session", "psycopg", "postgresql"])
def connect(request: pytest.FixtureRequest, tmp_path: Path) -> Connect:
    """Return a function that opens connections of one kind to an empty database."""
    file, kind = tmp_path / "shop.db", request.param
    if kind == "sqlite3":
        return partial(closing, partial(sqlite3.connect, file, timeout=PATIENCE))
    if kind in ("sqlite", "session"):
        engine = create_engine(f"sqlite:///{file}", poolclass=NullPool)
        return engine.begin if kind == "sqlite" else sessionmaker(engine).begin
    url = request.getfixturevalue("server").url
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("DROP TABLE IF EXISTS micropie_outbox, orders")
    if kind == "psycopg":
        return partial(closing, partial(psycopg.connect, url))
    url = url.replace("postgresql", "postgresql+psycopg", 1)
    return create_engine(url, poolclass=NullPool).begin


class Database:
    """The type with which handlers request a connection."""


class Shop(App):
    def __init__(self, connect: Connect, clock: Clock | None = None, **options: Any) -> None:
        super().__init__()
        self.connect, self.sent = connect, list[str]()
        self.failure: BaseException | None = None
        self.outbox = Outbox(connect, clock=clock or Clock(), **options)

        @self.outbox.job
        def mail(pie: str) -> None:
            if self.failure is not None:
                raise self.failure
            self.sent.append(pie)

        @self.outbox.job
        async def mail_async(pie: str) -> None:
            mail(pie)

        self.mail, self.mail_async = mail, mail_async
        self.outbox.add_to(self)
        self.startup_handlers.append(self._create)
        self.provides(Database)(connect)

    def _create(self) -> None:
        with self.connect() as connection:
            connection.execute(sql(connection, "CREATE TABLE IF NOT EXISTS orders (pie TEXT)"))

    @post
    def order(self, pie: str, db: Database, fails: bool = False) -> str:
        self.outbox.put(db, self.mail, pie)
        self.outbox.put(db, self.mail_async, pie=pie)
        if fails:
            raise HTTPError(409)
        return "ordered"

    @post
    def order_now(self, pie: str, db: Database) -> str:
        self.outbox.put(db, self.mail, pie)
        self.request.after_response(self.outbox.drain)
        return "ordered"


def sql(connection: object, statement: str) -> Any:
    return text(statement) if isinstance(connection, Connection | Session) else statement


def rows(connect: Connect, columns: str = "job") -> list[Any]:
    with connect() as connection:
        found = connection.execute(sql(connection, f"SELECT {columns} FROM micropie_outbox"))
        return [tuple(row) for row in found.fetchall()]


def ordered(connect: Connect, **options: Any) -> tuple[Shop, Clock]:
    """Return a shop with one order."""
    clock = Clock()
    shop = Shop(connect, clock, **options)
    shop.outbox.create_table()
    with connect() as connection:
        shop.outbox.put(connection, shop.mail, "apple")
    return shop, clock


def test_a_job_is_stored_with_its_order_and_run_later(
    make_any_client: Callable[..., TestClient], connect: Connect
) -> None:
    shop = Shop(connect)
    client = make_any_client(shop)
    assert client.post("/order", data={"pie": "plum", "fails": "1"}).status_code == 409
    assert rows(connect) == []
    assert client.post("/order", data={"pie": "apple"}).text == "ordered"
    assert sorted(rows(connect)) == [("mail",), ("mail_async",)]
    with Outside(shop) as outside:
        commands = {name: (function, entry) for name, function, entry in outside.commands()}
        assert outside.call(commands["drain-outbox"][1]()) == "2 done"
        assert outside.call(commands["drain-outbox"][1]()) == "0 done"
    assert shop.sent == ["apple", "apple"]
    assert rows(connect) == []


def test_it_is_run_after_the_response(
    make_any_client: Callable[..., TestClient], connect: Connect
) -> None:
    shop = Shop(connect)
    client = make_any_client(shop)
    client.post("/order_now", data={"pie": "apple"})
    until(lambda: shop.sent == ["apple"] and rows(connect) == [])


def test_the_application_of_this_folder(
    make_any_client: Callable[..., TestClient],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(example, "FILE", str(tmp_path / "shop.db"))
    client = make_any_client(example.app)
    client.post("/order", data={"pie": "apple", "email": "ann@example.com"})
    until(lambda: rows(example.connect) == [])
    assert client.get("/").json() == ["apple"]
    assert capsys.readouterr().out == "To: ann@example.com. Your apple pie is in the oven.\n"


def test_a_job_survives_an_outage_of_hours(connect: Connect) -> None:
    shop, clock = ordered(connect)
    shop.failure, began, pauses = ConnectionError("no server"), clock.now, list[float]()
    while clock.now < began + 12 * HOUR:
        assert shop.outbox.drain() == 0
        assert shop.outbox.drain() == 0  # it is not due before
        ((due, error),) = rows(connect, "due, error")
        pauses.append(due - clock.now)
        clock.now = due
    assert error == "ConnectionError('no server')"
    for pause, most in zip(pauses, [60, 120, 240, 480, 960, 1920, *[HOUR] * 99], strict=False):
        assert 0.8 * most <= pause <= most
    shop.failure = None
    assert shop.outbox.drain() == 1
    assert (shop.sent, rows(connect)) == (["apple"], [])


class Strange(Exception):
    def __repr__(self) -> str:
        return "Strange: \0 \ud800 ł"


def test_the_text_of_an_error_may_have_any_character(connect: Connect) -> None:
    shop, _ = ordered(connect)
    shop.failure = Strange()
    assert shop.outbox.drain() == 0
    assert rows(connect, "error") == [("Strange: \\0 \\ud800 \\u0142",)]


def test_it_is_given_up_in_the_end_and_not_lost(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    shop, clock = ordered(connect, tries=2)
    shop.failure = ValueError("no such address")
    for _ in range(3):
        shop.outbox.drain()
        clock.now += HOUR
    assert rows(connect, "due, tries, error") == [(None, 2, "ValueError('no such address')")]
    assert caplog.text.count("is given up") == 1
    assert "Traceback" in caplog.text
    with connect() as connection:
        shop.outbox.put(connection, shop.mail, "plum")
    shop.failure = GiveUp("no such address")
    shop.outbox.drain()
    assert sorted(row[1] for row in rows(connect, "due, tries")) == [1, 2]
    assert {row[0] for row in rows(connect, "due, tries")} == {None}


def test_a_worker_that_dies_leaves_its_job_to_another(connect: Connect) -> None:
    shop, clock = ordered(connect, lease=100)
    shop.failure = SystemExit()
    with pytest.raises(SystemExit):
        shop.outbox.drain()
    shop.failure = None
    assert shop.outbox.drain() == 0  # its lease hasn't ended yet
    clock.now += 101
    assert shop.outbox.drain() == 1
    assert rows(connect) == []


def test_of_two_workers_one_has_the_job(connect: Connect) -> None:
    shop, _ = ordered(connect)
    begun, end = Event(), Event()

    @shop.outbox.job
    def slow() -> None:
        begun.set()
        end.wait(PATIENCE)

    with connect() as connection:
        shop.outbox.put(connection, slow)
    worker = Thread(target=shop.outbox.drain)
    worker.start()
    begun.wait(PATIENCE)
    shop.outbox.drain()
    end.set()
    worker.join()
    assert (shop.sent, rows(connect)) == (["apple"], [])


def test_a_slow_worker_does_not_end_the_next_one_s_try(connect: Connect) -> None:
    shop, clock = ordered(connect, lease=100)

    @shop.outbox.job
    def slow(depth: int = 0) -> None:
        clock.now += 101
        if not shop.sent[1:]:
            shop.sent.append("again")
            shop.outbox.drain()

    with connect() as connection:
        shop.outbox.put(connection, slow)
    shop.outbox.drain()
    assert rows(connect) == []


def test_a_job_of_another_version_waits(connect: Connect) -> None:
    shop, clock = ordered(connect)
    older = Outbox(connect, clock=clock)
    assert older.drain() == 0
    clock.now += HOUR
    assert shop.outbox.drain() == 1


def test_a_job_has_the_resources_of_the_application(connect: Connect) -> None:
    shop, _ = ordered(connect)
    found = []

    @shop.outbox.job
    def count() -> None:
        with request.resource(Database) as connection:
            db: Any = connection
            found.append(db.execute(sql(db, "SELECT count(*) FROM orders")).fetchone()[0])

    with connect() as connection:
        shop.outbox.put(connection, count)
    with Outside(shop):
        assert shop.outbox.drain() == 2
    assert found == [0]


def test_mistakes_say_what_to_write() -> None:
    outbox = Outbox(sqlite3.connect)  # type: ignore[arg-type]

    @outbox.job
    def mail(pie: str) -> None: ...

    with pytest.raises(SetupError, match="two jobs have the name mail"):
        outbox.job(mail)
    with pytest.raises(LookupError, match="print is no job"):
        outbox.put(None, print)
    with pytest.raises(TypeError, match="pie"):
        outbox.put(None, mail)
    with pytest.raises(TypeError, match="JSON"):
        outbox.put(None, mail, object())
    for wrong in ({"tries": 0}, {"first_delay": 9999}, {"lease": 0}):
        with pytest.raises(SetupError, match="seconds above 0"):
            Outbox(sqlite3.connect, **wrong)  # type: ignore[arg-type]
    with pytest.raises(SetupError, match="a function that makes a connection"):
        Outbox("sqlite://")  # type: ignore[arg-type]


def test_the_command_looks_again_and_again(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, _ = ordered(connect)
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("examples.outbox.micropie_outbox.outbox.time.sleep", sleep)
    with Outside(shop) as outside:
        ((_, _, entry),) = outside.commands()
        with pytest.raises(KeyboardInterrupt):
            outside.call(entry(), [("forever", "1"), ("pause", "7")])
    assert pauses == [7.0, 7.0, 7.0]
    assert shop.sent == ["apple"]
