"""An application whose lifespan awaits in its clean-up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from micropie import App


class Cleaning(App):
    """Logs "inner" when its lifespan is left, and "inner left" if it may await after that."""

    log: list[str]

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        yield
        self.log.append("inner")
        await anyio.lowlevel.checkpoint()
        self.log.append("inner left")
