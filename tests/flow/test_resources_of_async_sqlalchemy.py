"""SQLAlchemy's async sessions as people open them for each request; they need greenlet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.ext.asyncio import (
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.pool import NullPool

from micropie import App, HTTPError, Request
from tests.flow.test_resources_of_libraries import Base, Pie, bake, conflicts
from tests.support.clients import MakeClient


class AsyncPies(App):
    async def index(self, session: AsyncSession) -> Any:
        return [*await session.scalars(select(Pie.name).order_by(Pie.name))]

    async def stream(self, session: AsyncSession) -> AsyncIterator[str]:
        async for name in await session.stream_scalars(select(Pie.name).order_by(Pie.name)):
            yield f"{name} "

    async def add(self, name: str, session: AsyncSession) -> str:
        session.add(Pie(name=name))
        if name == "mud":
            raise HTTPError(400, "That is no pie.")
        return "added"


@pytest.mark.parametrize("world", ["wsgi", "asyncio"])  # aiosqlite needs asyncio
def test_an_async_sqlalchemy_session_can_be_provided(
    connect: MakeClient, tmp_path: Path, world: str
) -> None:
    plain = create_engine(f"sqlite:///{tmp_path}/pies.db")
    Base.metadata.create_all(plain)
    plain.dispose()
    app = conflicts(AsyncPies())
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/pies.db", poolclass=NullPool)
    make = async_sessionmaker(engine)

    @app.provides(AsyncSession)
    async def session() -> AsyncIterator[AsyncSession]:
        async with make.begin() as session:
            yield session

    bake(connect(app, world))
    with connect(app, world).override(AsyncSession, make.begin):
        pass


class ScopedPies(App):
    """One session for each task, which middleware commits or rolls back, and removes."""

    def __init__(self, engine: Any) -> None:
        super().__init__()
        self.session = async_scoped_session(
            async_sessionmaker(engine), scopefunc=asyncio.current_task
        )
        self.middlewares.append(self._unit)

    async def _unit(self, request: Request) -> AsyncIterator[None]:
        try:
            yield
            await self.session.commit()
        except Exception:
            await self.session.rollback()
            raise
        finally:
            await self.session.remove()

    async def add(self, name: str) -> str:
        self.session.add(Pie(name=name))
        await self.session.flush()
        if name.startswith("mud"):
            raise HTTPError(400, "That is no pie.")
        return "added"


@pytest.mark.parametrize("world", ["wsgi", "asyncio"])
def test_a_session_of_the_task_is_that_of_the_request(
    connect: MakeClient, tmp_path: Path, world: str
) -> None:
    plain = create_engine(f"sqlite:///{tmp_path}/pies.db")
    Base.metadata.create_all(plain)
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/pies.db", poolclass=NullPool)
    app = ScopedPies(engine)
    client = connect(app, world)
    names = [f"{kind}{number}" for kind in ("mud", "apple") for number in range(8)]
    with ThreadPoolExecutor(16) as pool:
        codes = [
            *pool.map(lambda name: client.get("/add", params={"name": name}).status_code, names)
        ]
    assert codes == [400] * 8 + [200] * 8
    with plain.connect() as connection:
        stored = [*connection.scalars(select(Pie.name).order_by(Pie.name))]
    assert stored == [f"apple{number}" for number in range(8)]
    assert not app.session.registry.registry
    plain.dispose()
