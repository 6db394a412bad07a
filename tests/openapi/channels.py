"""An application with WebSockets and event streams of all kinds, for the AsyncAPI document."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal, Never

import msgspec
import pydantic

from micropie import App, Cookie, EventStream, Header, WebSocket, describe, get, hidden, websocket

Short = Annotated[str, msgspec.Meta(max_length=5)]


class Said(msgspec.Struct, tag="said"):
    text: str


class Left(msgspec.Struct, tag="left"):
    code: int = 0


@dataclass
class Heard:
    room: str
    pair: tuple[int, str]


class Model(pydantic.BaseModel):
    price: float = 1.0


class Inner(App):
    async def ws_model(self, ws: WebSocket[Never, Model]) -> None: ...


class Root(App):
    """Talk."""

    inner = Inner()

    async def ws_room(
        self,
        ws: WebSocket[Said | Left, list[Heard]],
        room: str,
        since: int = 0,
        *,
        token: Annotated[str, Header("X-Token")],
        theme: Annotated[str, Cookie()] = "",
    ) -> None:
        """Enter a room.

        All hear all.
        """

    @websocket("/files/<number:int>")
    async def ws_file(self, ws: WebSocket[Short, bytes], number: int) -> None: ...

    async def ws_plain(self, ws: WebSocket) -> None: ...

    async def ws_default(self, ws: WebSocket) -> None: ...

    @describe(include_in_schema=False)
    async def ws_secret(self, ws: WebSocket) -> None: ...

    @hidden
    async def ws_hidden(self, ws: WebSocket) -> None: ...

    @get("/ticks/<kind>")
    def ticks(
        self, kind: Literal["fast", "slow"], n: int, *, key: Annotated[str, Header()] = ""
    ) -> EventStream | None:
        """Tick."""

    def moves(self) -> tuple[Literal[200], EventStream]:
        return 200, EventStream(iter("a"))

    def page(self) -> Iterator[str]:
        yield "no channel"
