"""SQLAlchemy's async sessions as people open them for each request; they need greenlet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.pool import NullPool

from micropie import App, HTTPError
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
