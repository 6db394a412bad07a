"""What a ``def`` handler still holds and writes after its request has stopped waiting for it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NewType

import anyio
import pytest
from sqlalchemy import QueuePool, create_engine, text
from sqlalchemy.orm import Session

from micropie import App, EventStream
from micropie._core.streams import HEART_BEAT
from micropie.middleware import Timeout
from micropie.wsgi.state import end_streams
from tests.support.clients import with_hooks
from tests.support.ports import free_port
from tests.support.postgres_server import postgres_server
from tests.support.waiting import PATIENCE, until

Beside = NewType("Beside", str)
Shared = NewType("Shared", str)

BUSY_AFTER = 0.2  # seconds in which a request gets no connection from the pool


class Database:
    """A pool of one connection, and which connections a request holds."""

    type_of_resource: type

    def open(self) -> AbstractContextManager[Any]:
        raise NotImplementedError

    def write(self, resource: Any, name: str) -> None:
        raise NotImplementedError

    def is_idle(self) -> bool:
        raise NotImplementedError

    def rows(self) -> list[str]:
        raise NotImplementedError


class SQLAlchemySessions(Database):
    type_of_resource = Session

    def __init__(self, folder: Path) -> None:
        self._file = folder / "pies.sqlite"
        self._engine = create_engine(
            f"sqlite:///{self._file}",
            poolclass=QueuePool,
            pool_size=1,
            max_overflow=0,
            pool_timeout=BUSY_AFTER,
        )
        with self._engine.begin() as connection:
            connection.execute(text("create table pies (name text)"))

    @contextmanager
    def open(self) -> Iterator[Session]:
        with Session(self._engine) as session, session.begin():
            yield session

    def write(self, resource: Session, name: str) -> None:
        resource.execute(text("insert into pies values (:name)"), {"name": name})

    def is_idle(self) -> bool:
        pool = self._engine.pool
        assert isinstance(pool, QueuePool)
        return pool.checkedin() == 1

    def rows(self) -> list[str]:
        with sqlite3.connect(self._file) as connection:
            found = [name for (name,) in connection.execute("select name from pies")]
        connection.close()
        return found

    def close(self) -> None:
        self._engine.dispose()


@contextmanager
def sessions(folder: Path) -> Iterator[Database]:
    database = SQLAlchemySessions(folder)
    yield database
    database.close()


@contextmanager
def psycopg_pool(_: Path) -> Iterator[Database]:
    from psycopg import Connection, connect
    from psycopg_pool import ConnectionPool

    with postgres_server(free_port()) as server:
        with connect(server.url) as connection:
            connection.execute("create table pies (name text)")
        with ConnectionPool(server.url, min_size=1, max_size=1, timeout=BUSY_AFTER) as pool:

            class Connections(Database):
                type_of_resource = Connection

                def open(self) -> AbstractContextManager[Connection[Any]]:
                    return pool.connection()

                def write(self, resource: Connection[Any], name: str) -> None:
                    resource.execute("insert into pies values (%s)", (name,))

                def is_idle(self) -> bool:
                    return pool.get_stats()["pool_available"] == 1

                def rows(self) -> list[str]:
                    with connect(server.url) as connection:
                        return [name for (name,) in connection.execute("select name from pies")]

            pool.wait(PATIENCE)
            yield Connections()


async def beside() -> AsyncIterator[Beside]:
    yield Beside("an async resource")


class Shop(App):
    """``pay`` writes, is abandoned, and writes again when the test says so."""

    def __init__(self, database: Database, give_up: Callable[[], None]) -> None:
        super().__init__()
        self.database, self.give_up = database, give_up
        self.begun, self.go_on, self.ended, self.entered, self.over = (
            threading.Event() for _ in range(5)
        )
        self.open: list[object] = []
        self.still_open: bool | None = None

        self.provides(Shared, once=True)(lambda: Shared("for all requests"))
        self.provides(Beside)(beside)

        def resource(_: Shared) -> Iterator[Any]:
            with database.open() as opened:
                self.open.append(opened)
                try:
                    yield opened
                finally:
                    self.open.remove(opened)

        self.provides(database.type_of_resource)(resource)

        def pay(resource: Any) -> str:
            self.begun.set()
            try:
                database.write(resource, "first")
                self.give_up()
                self.go_on.wait(PATIENCE)
                self.still_open = resource in self.open
                database.write(resource, "late")
            finally:
                self.ended.set()
            return "paid"

        def limited(resource: Any) -> str:
            return pay(resource)

        def other(resource: Any) -> str:
            database.write(resource, "other")
            self.entered.set()
            self.ended.wait(PATIENCE)
            return "written"

        def events(resource: Any) -> EventStream:
            self.note_request()
            return EventStream((pay(resource) for _ in range(2)), heartbeat=0.05)

        def pay_beside(resource: Any, beside: Beside) -> str:
            return pay(resource)

        def crossed(resource: Any, beside: Beside) -> EventStream:
            return events(resource)

        def mapped(resource: Any) -> EventStream:
            self.note_request()
            return EventStream(iter([resource]), map=pay, heartbeat=0.05)

        for handler in (pay, pay_beside, limited, other, events, crossed, mapped):
            handler.__annotations__["resource"] = database.type_of_resource
        self.post("/pay")(pay)
        self.post("/pay-beside")(pay_beside)
        self.post("/limited")(Timeout(0.3)(limited))
        self.post("/other")(other)
        self.get("/events")(events)
        self.get("/crossed")(crossed)
        self.get("/mapped")(mapped)

    def note_request(self) -> None:
        self.exchange: Any = self.request._exchange
        self.request.on_close(self.over.set)


class CancelledByItsServer:
    """An ASGI server that cancels the requests to ``/pay`` while their handlers run."""

    _scope: anyio.CancelScope

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if not scope.get("path", "").startswith("/pay"):
            await self._app(scope, receive, send)
            return
        with anyio.CancelScope() as self._scope:
            await self._app(scope, receive, send)
        if self._scope.cancelled_caught:
            await send({"type": "http.response.start", "status": 503, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    def give_up(self) -> None:
        anyio.from_thread.run_sync(self._scope.cancel)


DATABASES = [
    pytest.param(sessions, id="sessions"),
    pytest.param(psycopg_pool, id="psycopg", marks=pytest.mark.processes),
]


def check(
    open_database: Any, connect: Any, world: str, folder: Path, *, by: str, overlaps: bool
) -> None:
    with open_database(folder) as database:
        shop = Shop(database, lambda: None)
        served: Any = shop
        if by.startswith("/pay"):
            served = with_hooks(CancelledByItsServer(shop), shop)
            shop.give_up = served.give_up
        client = connect(served, world)
        statuses = []
        with ThreadPoolExecutor(1) as threads:
            try:
                while not shop.begun.is_set():  # the limit may end before the handler has begun
                    assert client.post(by).status_code == 503
                    until(lambda: shop.begun.is_set() or database.is_idle())
                assert not shop.ended.is_set()
                if overlaps:
                    other = threads.submit(client.post, "/other")
                    until(lambda: shop.entered.is_set() or other.done())
            finally:
                shop.go_on.set()
            until(shop.ended.is_set)
            if overlaps:
                statuses.append(other.result(PATIENCE).status_code)
        until(database.is_idle)
        statuses.append(client.post("/other").status_code)
        assert statuses[-1] == 200
        assert shop.still_open  # nothing that the handler uses is closed
        assert database.rows() == ["other"] * statuses.count(200)


@pytest.mark.parametrize("overlaps", [False, True], ids=["alone", "beside-another"])
@pytest.mark.parametrize("open_database", DATABASES)
def test_writes_after_a_timeout_are_rolled_back(
    open_database: Any, overlaps: bool, connect: Any, world: str, tmp_path: Path
) -> None:
    check(open_database, connect, world, tmp_path, by="/limited", overlaps=overlaps)


@pytest.mark.parametrize("path", ["/pay", "/pay-beside"])
@pytest.mark.parametrize("overlaps", [False, True], ids=["alone", "beside-another"])
@pytest.mark.parametrize("open_database", DATABASES)
def test_writes_after_the_server_cancels_the_request_are_rolled_back(
    open_database: Any, overlaps: bool, path: str, connect: Any, backend: str, tmp_path: Path
) -> None:
    check(open_database, connect, backend, tmp_path, by=path, overlaps=overlaps)


def check_events(client: Any, shop: Shop, path: str, ends: str) -> None:
    def go_on() -> bool:
        """Once the request waits for the source's thread, or has ended without that."""
        until(lambda: shop.over.is_set() or any(one._at_end for one in shop.exchange.left_calls))
        is_idle = shop.database.is_idle()
        shop.go_on.set()
        return is_idle

    with ThreadPoolExecutor(1) as threads:
        with client.stream("GET", path) as answer:
            chunks = answer.iter_raw()
            assert next(chunks) == HEART_BEAT
            assert shop.begun.wait(PATIENCE)
            is_idle = threads.submit(go_on)
            if ends == "server":
                end_streams()  # under WSGI
                shop._micropie.compiled().config.shutdown.end()
                assert {*chunks} <= {HEART_BEAT}
            del chunks
        assert not is_idle.result()
    until(shop.database.is_idle)
    assert shop.still_open
    assert client.post("/other").status_code == 200
    assert shop.database.rows() == ["other"]


@pytest.mark.parametrize("ends", ["client", "server"])
@pytest.mark.parametrize("path", ["/events", "/crossed"])
@pytest.mark.parametrize("open_database", DATABASES)
def test_writes_for_an_event_after_the_end_of_its_stream_are_rolled_back(
    open_database: Any, path: str, ends: str, make_client: Any, tmp_path: Path
) -> None:
    with open_database(tmp_path) as database:
        shop = Shop(database, lambda: None)
        check_events(make_client(shop), shop, path, ends)


@pytest.mark.parametrize("ends", ["client", "server"])
def test_under_wsgi_what_maps_an_event_keeps_the_resources_of_its_stream(
    ends: str, connect: Any, tmp_path: Path
) -> None:
    with sessions(tmp_path) as database:
        shop = Shop(database, lambda: None)
        check_events(connect(shop, "wsgi"), shop, "/mapped", ends)
