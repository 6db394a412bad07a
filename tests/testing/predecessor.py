"""The test clients on httpx, where httpx2 is not installed."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Literal

import anyio
import httpx

sys.modules["httpx2"] = None  # type: ignore[assignment]  # not installed

from micropie import App, EventStream, html, post  # noqa: E402
from micropie.testing import AsyncTestClient, TestClient  # noqa: E402

PAGE = '<form method="post" action="bake"><input name="token" value="{}"><input name="pie"></form>'


class Site(App):
    def greet(self, name: str = "World") -> str:
        return f"Hello, {name}!"

    def index(self) -> str:
        return html(PAGE, 1)

    @post
    def bake(self, token: int, pie: str) -> tuple[int, str]:
        return 201, f"{pie} {token}"

    def ticks(self) -> EventStream:
        async def three() -> AsyncIterator[str]:
            for number in range(3):
                yield str(number)

        return EventStream(three())

    def wrong(self) -> tuple[int, str]:
        return 404, "no events"


def check(protocol: Literal["asgi", "wsgi"]) -> None:
    with TestClient(Site(), protocol=protocol) as client:
        plain: Any = client
        assert isinstance(plain, httpx.Client)
        assert client.get("/greet", params={"name": "Ann"}).text == "Hello, Ann!"
        baked = client.post_form("/", {"pie": "plum"})
        assert (baked.status_code, baked.text) == (201, "plum 1")
        with client.sse("/ticks") as events:
            assert [one.data for one in events] == ["0", "1", "2"]
        with suppress(httpx.HTTPStatusError), client.sse("/wrong"):
            raise AssertionError("no error")


async def check_async() -> None:
    async with AsyncTestClient(Site()) as client, client.sse("/ticks") as events:
        plain: Any = client
        assert isinstance(plain, httpx.AsyncClient)
        assert (await anext(events)).data == "0"
        assert [one.data async for one in events] == ["1", "2"]


if __name__ == "__main__":
    check("asgi")
    check("wsgi")
    for backend in ("asyncio", "trio"):
        anyio.run(check_async, backend=backend)
