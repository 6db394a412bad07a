"""An application whose handlers end with their clients, for the servers of ``test_leaving.py``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.lowlevel

from micropie import App, post
from micropie.middleware import AccessLog, ends_with_client


class Root(App):
    """``/`` returns what its handlers have done."""

    middlewares = [AccessLog()]  # noqa: RUF012

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.steps: list[str] = []

    def index(self) -> list[str]:
        return self.steps

    @post
    @ends_with_client
    async def work(self, word: str, seconds: float) -> str:
        self.steps.append(word)
        try:
            await anyio.sleep(seconds)
        except anyio.get_cancelled_exc_class():
            self.steps.append("cancelled")
            raise
        return word

    async def short(self) -> AsyncIterator[str]:
        for word in ("plum", "pie"):
            await anyio.lowlevel.checkpoint()
            yield word

    async def endless(self) -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(64 * 1024)
        finally:
            self.steps.append("closed")


app = Root(send_timeout=0.5)
