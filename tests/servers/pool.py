"""A pool of connections like asyncpg's, opened at startup: it works only on the loop and in the
process that opened it.

``POOL_BACKEND`` is the loop's kind, and ``POOL_DIARY`` the file where a pool says that it was
closed, and where.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio.lowlevel import checkpoint, current_token
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from micropie import App, HttpMiddleware, Request

SIZE = 2


class Pool:
    """Lends ``SIZE`` connections at a time; ``most`` is how many were lent at once so far."""

    def __init__(self) -> None:
        self._home = (current_token(), os.getpid())
        self._free = anyio.Semaphore(SIZE)
        self._lent = self.most = 0

    def check(self) -> None:
        if (current_token(), os.getpid()) != self._home:
            raise RuntimeError("the pool is attached to a different loop")

    async def fetch(self, what: str) -> str:
        self.check()
        async with self._free:
            self._lent += 1
            self.most = max(self.most, self._lent)
            for _ in range(20):  # long enough for others to come meanwhile
                await checkpoint()
            self._lent -= 1
        return f"{what} by {anyio.get_cancelled_exc_class().__module__.partition('.')[0]}"

    async def close(self) -> None:
        self.check()
        note("closed")


def note(event: str) -> None:
    with Path(os.environ["POOL_DIARY"]).open("a") as diary:
        diary.write(f"{os.getpid()} {event}\n")


class Asks(HttpMiddleware):
    async def before_request(self, request: Request) -> None:
        request.state.asked = await site.db.fetch("hook")


class Site(App):
    db: Pool
    resource: Pool

    def __init__(self) -> None:
        super().__init__(portal_backend=os.environ.get("POOL_BACKEND", "asyncio"))
        self.lifespan = self._lifespan
        self.middlewares.append(Asks())
        self.startup_handlers.append(self._open)
        self.shutdown_handlers.append(self._close)

    async def _open(self) -> None:
        self.db = Pool()

    async def _close(self) -> None:
        await self.db.close()

    @asynccontextmanager
    async def _lifespan(self) -> AsyncIterator[None]:
        self.resource = Pool()
        yield
        await self.resource.close()

    async def row(self) -> str:
        return await self.db.fetch("row")

    async def resources(self) -> str:
        return await self.resource.fetch("resource")

    async def rows(self) -> AsyncIterator[str]:
        for number in range(5):
            yield await self.db.fetch(f"row {number}") + "\n"

    def hooked(self) -> str:
        asked: str = self.request.state.asked
        return asked

    async def most(self) -> str:
        return str(self.db.most)

    def process(self) -> str:
        return str(os.getpid())


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Pool]]:
    pool = Pool()
    yield {"pool": pool}
    await pool.close()


async def mounted(request: StarletteRequest) -> PlainTextResponse:
    return PlainTextResponse(await request.state.pool.fetch("mounted"))


site = app = Site()
app.mount("/stars", Starlette(routes=[Route("/row", mounted)], lifespan=lifespan))
