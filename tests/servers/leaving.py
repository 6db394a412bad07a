"""An application whose handlers end with their clients, for the servers of ``test_leaving.py``."""

from __future__ import annotations

import anyio

from micropie import App, post
from micropie.middleware import AccessLog, ends_with_client


class Root(App):
    """``/`` returns what its handlers have done."""

    middlewares = [AccessLog()]  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
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


app = Root()
