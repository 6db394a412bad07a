"""Databases: SQLite, and a PostgreSQL server where Debian's package is installed."""

import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from micropie import App, HTTPError
from tests.support.postgres_server import postgres_server
from tests.works_with.listed import World, client_of, works


@contextmanager
def pies() -> Iterator[tuple[Any, Any]]:
    """Yield SQLAlchemy's engine of a database with a table, and the class of its rows."""
    from sqlalchemy import StaticPool, create_engine
    from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

    class Base(DeclarativeBase): ...

    class Pie(Base):
        __tablename__ = "pies"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]

    engine = create_engine(
        "sqlite://", connect_args={"check_same_thread": False}, poolclass=StaticPool
    )
    Base.metadata.create_all(engine)
    yield engine, Pie
    engine.dispose()


@works("sqlalchemy", what="sessions, commit, rollback")
def sqlalchemy(world: World) -> None:
    from sqlalchemy import func, select
    from sqlalchemy.orm import Session

    app = App()
    with pies() as (engine, pie):

        @app.provides(Session)
        def session() -> Iterator[Session]:
            with Session(engine) as session, session.begin():
                yield session

        @app.post("/")
        def bake(name: str, db: Session) -> None:
            db.add(pie(name=name))
            if name == "mud":
                raise HTTPError(409)

        @app.get("/")
        def count(db: Session) -> Any:
            return db.scalar(select(func.count()).select_from(pie))

        with client_of(app, world) as client:
            statuses = [
                client.post("/", data={"name": name}).status_code for name in ("plum", "mud")
            ]
            assert statuses == [200, 409]
            assert client.get("/").json() == 1


@works("sqlalchemy", "asyncio", "wsgi", what="async sessions")
def sqlalchemy_async(world: World) -> None:
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

    engines: list[AsyncEngine] = []

    class Site(App):
        @asynccontextmanager
        async def lifespan(self) -> AsyncIterator[None]:
            engines.append(create_async_engine("sqlite+aiosqlite://"))
            yield
            await engines[0].dispose()

    app = Site()

    @app.provides(AsyncSession)
    async def session() -> AsyncIterator[AsyncSession]:
        async with AsyncSession(engines[0]) as session:
            yield session

    @app.get("/")
    async def index(db: AsyncSession) -> int:
        return int(await db.scalar(text("select 40 + 2")))

    with client_of(app, world) as client:
        assert client.get("/").json() == 42


@works("sqlalchemy", what="rows as results")
def sqlalchemy_rows(world: World) -> None:
    from sqlalchemy.orm import Session

    @dataclass
    class Shown:
        name: str

    app = App()
    with pies() as (engine, pie):

        def show() -> Any:
            with Session(engine) as session:
                session.add(pie(name="plum"))
                session.flush()
                return session.query(pie).all()

        show.__annotations__["return"] = list[Shown]
        app.get("/")(show)
        with client_of(app, world) as client:
            assert client.get("/").json() == [{"name": "plum"}]


@works("sqlmodel", what="create, table, public")
def sqlmodel(world: World) -> None:
    from sqlalchemy import StaticPool
    from sqlmodel import Field, Session, SQLModel, create_engine, select

    class Base(SQLModel):
        name: str

    class Hero(Base, table=True):
        id: int | None = Field(default=None, primary_key=True)
        secret: str = "hidden"

    class Public(Base):
        id: int

    engine = create_engine(
        "sqlite://", connect_args={"check_same_thread": False}, poolclass=StaticPool
    )
    SQLModel.metadata.create_all(engine)
    app = App()

    def add(hero: Any) -> Any:
        with Session(engine) as session:
            session.add(Hero.model_validate(hero))
            session.commit()
            return session.exec(select(Hero)).one()

    add.__annotations__ = {"hero": Base, "return": Public}
    app.post("/")(add)
    with client_of(app, world) as client:
        assert client.post("/", json={"name": "Deadpond"}).json() == {"name": "Deadpond", "id": 1}
    SQLModel.metadata.clear()


@works("aiosqlite", "asyncio", "wsgi")
def aiosqlite(world: World) -> None:
    import aiosqlite

    app = App()

    @app.get("/")
    async def index() -> Any:
        async with aiosqlite.connect(":memory:") as db, db.execute("select 42") as rows:
            return (await rows.fetchone())[0]

    with client_of(app, world) as client:
        assert client.get("/").json() == 42


@works("tortoise-orm", "asyncio", "wsgi")
def tortoise(world: World) -> None:
    from tortoise import Tortoise

    from tests.works_with import models

    class Site(App):
        @asynccontextmanager
        async def lifespan(self) -> AsyncIterator[None]:
            await Tortoise.init(
                db_url="sqlite://:memory:",
                modules={"models": [models.__name__]},
                _enable_global_fallback=True,
            )
            await Tortoise.generate_schemas()
            yield
            await Tortoise.close_connections()

        async def index(self) -> int:
            await models.Pie.create(name="plum")
            return await models.Pie.all().count()

    with client_of(Site(), world) as client:
        assert client.get("/").json() == 1


@works("piccolo", "asyncio", "wsgi")
def piccolo(world: World) -> None:
    from piccolo.columns import Varchar
    from piccolo.engine.sqlite import SQLiteEngine
    from piccolo.table import Table
    from piccolo.utils.pydantic import create_pydantic_model

    with tempfile.TemporaryDirectory() as folder:

        class Pie(Table, db=SQLiteEngine(path=f"{folder}/pies.sqlite")):
            name = Varchar()

        app = App()

        async def bake(pie: Any) -> Any:
            await Pie.create_table(if_not_exists=True)
            await Pie(**pie.model_dump()).save()
            return await Pie.select(Pie.name)

        bake.__annotations__ = {"pie": create_pydantic_model(Pie)}
        app.post("/")(bake)
        with client_of(app, world) as client:
            assert client.post("/", json={"name": "plum"}).json() == [{"name": "plum"}]


@works("psycopg", what="pool")
def psycopg(world: World) -> None:
    from psycopg import Connection
    from psycopg_pool import ConnectionPool

    with postgres_server() as server, ConnectionPool(server.url, min_size=1) as pool:
        app = App()

        @app.provides(Connection)
        def connection() -> Iterator[Connection]:
            with pool.connection() as connection:
                yield connection

        app.get("/")(answer_of(Connection))
        with client_of(app, world) as client:
            assert client.get("/").json() == 42


def answer_of(kind: Any) -> Any:
    def index(db: Any) -> Any:
        return db.execute("select 40 + 2").fetchone()[0]

    index.__annotations__["db"] = kind
    return index


class Postgres(App):
    """Its database is a pool, from the start of the application to its end."""

    pool: Any

    async def index(self) -> Any: ...


@works("psycopg", "asyncio", "wsgi", what="async pool")
def psycopg_async(world: World) -> None:
    from psycopg_pool import AsyncConnectionPool

    with postgres_server() as server:

        class Site(Postgres):
            @asynccontextmanager
            async def lifespan(self) -> AsyncIterator[None]:
                async with AsyncConnectionPool(
                    server.url, min_size=1, open=False
                ) as self.connections:
                    yield

            async def index(self) -> Any:
                async with self.connections.connection() as connection:
                    rows = await connection.execute("select 40 + 2")
                    return (await rows.fetchone())[0]

        with client_of(Site(), world) as client:
            assert client.get("/").json() == 42


@works("asyncpg", "asyncio", "wsgi")
def asyncpg(world: World) -> None:
    import asyncpg

    with postgres_server() as server:

        class Site(Postgres):
            @asynccontextmanager
            async def lifespan(self) -> AsyncIterator[None]:
                async with asyncpg.create_pool(server.url, min_size=1) as self.connections:
                    yield

            async def index(self) -> Any:
                return dict(await self.connections.fetchrow("select 40 + 2 as answer"))

        with client_of(Site(), world) as client:
            assert client.get("/").json() == {"answer": 42}


MIGRATED = """
from alembic import command as alembic
from alembic.config import Config
from micropie import App, command
from sqlalchemy import Column, Integer, MetaData, Table

metadata = MetaData()
Table("pies", metadata, Column("id", Integer, primary_key=True))

class Site(App):
    @command
    def revise(self):
        alembic.revision(Config("alembic.ini"), autogenerate=True, message="pies")

    @command
    def upgrade(self):
        alembic.upgrade(Config("alembic.ini"), "head")

app = Site()
"""


@works("alembic", "wsgi", what="as commands")
def alembic(world: World) -> None:
    import sqlite3

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def run(*arguments: str) -> None:
            command = [sys.executable, "-m", *arguments]
            subprocess.run(command, cwd=folder, check=True, capture_output=True)

        (folder / "site_app.py").write_text(MIGRATED)
        run("alembic", "init", "migrations")
        settings, environment = folder / "alembic.ini", folder / "migrations" / "env.py"
        text = settings.read_text().replace("driver://user:pass@localhost/dbname", "sqlite:///p.db")
        settings.write_text(text)
        text = environment.read_text().replace(
            "target_metadata = None", "from site_app import metadata as target_metadata"
        )
        environment.write_text(text)
        run("micropie", "-a", "site_app:app", "revise")
        run("micropie", "-a", "site_app:app", "upgrade")
        with sqlite3.connect(folder / "p.db") as database:
            assert database.execute("select count(*) from pies").fetchone() == (0,)
