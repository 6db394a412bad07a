"""What people open for each request: sessions of SQLAlchemy, connections of sqlite3, clients of
httpx. SQLAlchemy's async sessions, which need greenlet, are in a module of their own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from micropie import App, HTTPError
from micropie.testing import TestClient
from tests.support.clients import MakeClient


class Base(DeclarativeBase):
    pass


class Pie(Base):
    __tablename__ = "pies"
    name: Mapped[str] = mapped_column(primary_key=True)


class Pies(App):
    def index(self, session: Session) -> Any:
        return [*session.scalars(select(Pie.name).order_by(Pie.name))]

    def stream(self, session: Session) -> Iterator[str]:
        for name in session.scalars(select(Pie.name).order_by(Pie.name)):
            yield f"{name} "

    def add(self, name: str, session: Session) -> str:
        session.add(Pie(name=name))
        if name == "mud":
            raise HTTPError(400, "That is no pie.")
        return "added"


def conflicts(app: App) -> App:
    @app.error(IntegrityError)
    def conflict() -> Any:
        return 409, "There is one already."

    return app


def bake(client: TestClient) -> None:
    """Add pies, one of them twice, so that the commit fails; and one that is refused, and rolled
    back.
    """
    assert [
        client.get(f"/add/{name}").status_code for name in ("plum", "apple", "apple", "mud")
    ] == [
        200,
        200,
        409,
        400,
    ]
    assert client.get("/").json() == ["apple", "plum"]
    assert client.get("/stream").text == "apple plum "


def test_a_sqlalchemy_session_can_be_provided(make_client: MakeClient, tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/pies.db")
    Base.metadata.create_all(engine)
    app = conflicts(Pies())
    app.provides(Session)(sessionmaker(engine).begin)  # commits, or rolls back
    bake(make_client(app))
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    engine.dispose()


def test_a_sessionmaker_can_be_a_provider(make_client: MakeClient, tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/pies.db")
    Base.metadata.create_all(engine)
    app = Pies()
    app.provides(Session)(sessionmaker(engine))
    assert make_client(app).get("/").json() == []
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    engine.dispose()


def test_a_sqlite3_connection_can_be_provided(make_client: MakeClient, tmp_path: Path) -> None:
    app = App()
    opened: list[sqlite3.Connection] = []

    @app.provides(sqlite3.Connection)
    def connection() -> Iterator[sqlite3.Connection]:
        opened.append(sqlite3.connect(tmp_path / "notes.db", check_same_thread=False))
        try:
            with opened[-1]:  # a transaction
                yield opened[-1]
        finally:
            opened[-1].close()

    @app.get("/")
    def notes(connection: sqlite3.Connection) -> Any:
        connection.execute("CREATE TABLE IF NOT EXISTS notes (text)")
        connection.execute("INSERT INTO notes VALUES ('note')")
        return connection.execute("SELECT count(*) FROM notes").fetchone()

    client = make_client(app)
    assert [client.get("/").json() for _ in range(2)] == [[1], [2]]
    for one in opened:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            one.execute("SELECT 1")


@pytest.mark.parametrize("kind", ["class", "def"])
def test_httpx_clients_can_be_provided(make_client: MakeClient, kind: str) -> None:
    app = App()
    transport = httpx.MockTransport(lambda request: httpx.Response(200, text=f"from {request.url}"))
    seen: list[Any] = []

    @app.get("/sync")
    def sync(client: httpx.Client) -> str:
        seen.append(client)
        return client.get("/page").text

    @app.get("/async")
    async def asynchronous(client: httpx.AsyncClient) -> str:
        seen.append(client)
        return (await client.get("/page")).text

    if kind == "class":
        app.provides(httpx.Client)(
            partial(httpx.Client, base_url="http://other", transport=transport)
        )
        app.provides(httpx.AsyncClient)(
            partial(httpx.AsyncClient, base_url="http://other", transport=transport)
        )
    else:

        @app.provides(httpx.Client)
        def client() -> httpx.Client:
            return httpx.Client(base_url="http://other", transport=transport)

        @app.provides(httpx.AsyncClient)
        async def async_client() -> httpx.AsyncClient:
            return httpx.AsyncClient(base_url="http://other", transport=transport)

    asked = make_client(app)
    assert [asked.get(path).text for path in ("/sync", "/async")] == ["from http://other/page"] * 2
    assert [one.is_closed for one in seen] == [True, True]
