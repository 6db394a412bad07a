"""What a proxy may show differently: long headers, streams that fail or are left, and events."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator

import anyio

from micropie import App, EventStream
from micropie.middleware import SecurityDefaults, ends_with_client
from micropie.sessions import SignedCookieSessionBackend


class Behind(App):
    """``/`` returns what has happened."""

    def __init__(self) -> None:
        super().__init__(
            SignedCookieSessionBackend("s" * 32),
            security=SecurityDefaults(
                "blog.example.com", "shop.example.com", proxies=[os.environ["PROXY"]]
            ),
        )
        self.happened: list[str] = []
        self.went = anyio.Event()
        self.health("/healthz")
        self.health("/livez", live=True)

    def index(self) -> list[str]:
        return self.happened

    def remember(self, size: int) -> str:
        self.request.session["text"] = secrets.token_urlsafe(size)[:size]
        return "remembered"

    def header(self, size: int) -> str:
        self.response.headers["X-Long"] = "x" * size
        return "long"

    async def failing(self) -> AsyncIterator[str]:
        yield "one\n"
        raise RuntimeError("of the second line")

    @ends_with_client
    async def waiting(self) -> None:
        self.happened.append("waits")
        try:
            await anyio.sleep_forever()
        finally:
            self.happened.append("left")

    async def go(self) -> str:
        self.went.set()
        return ""

    async def events(self) -> EventStream:
        return EventStream(self._events(), heartbeat=None)

    async def _events(self) -> AsyncIterator[str]:
        try:
            yield "one"
            await self.went.wait()
            yield "two"
            await anyio.sleep_forever()
        finally:
            self.happened.append("closed")


app = Behind()
