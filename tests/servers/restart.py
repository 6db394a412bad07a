"""An application that is ended while it answers, for ``test_restart.py``."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import anyio

from micropie import App, EventStream, WebSocket


class Root(App):
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        yield
        sys.stderr.write("the lifespan has ended\n")

    def index(self) -> str:
        return str(os.getpid())

    def slow(self, seconds: float = 0.5) -> Iterator[str]:
        yield "begun\n"
        time.sleep(seconds)
        yield "done\n"

    async def ticks(self) -> EventStream:
        return EventStream(self._ticks())

    async def _ticks(self) -> AsyncIterator[str]:
        while True:
            yield "tick"
            await anyio.sleep(0.05)

    def news(self) -> EventStream:
        return EventStream(self.channels.subscribe("news"))

    async def ws_waits(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_text("begun")
        async for _ in ws:
            pass

    async def ws_chat(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.forward(self.channels.subscribe("chat"))
        await ws.send_text("begun")
        async for _ in ws:
            pass

    async def ws_news(self, ws: WebSocket) -> None:
        await ws.accept()
        async with self.channels.subscribe("news") as news:
            await ws.send_text("begun")
            async for text in news:
                await ws.send_text(text)


app = Root()
app.health("/readyz")
