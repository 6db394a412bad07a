"""Chat rooms: WebSockets, events for those who only read, and who is there."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio

from micropie import (
    App,
    EventStream,
    HTTPError,
    WebSocket,
    WebSocketMiddleware,
    event,
    get,
    websocket,
)
from micropie.channels import Subscription


class NamedOnly(WebSocketMiddleware):
    async def before_websocket(self, request: Any) -> None:
        name = request.query.get("name", "").strip()
        if not name:
            raise HTTPError(403, "Who are you?")
        request.state.name = name[:40]


class Chat(App):
    ws_middlewares = [NamedOnly()]

    def __init__(self) -> None:
        super().__init__()
        self.last: defaultdict[str, deque[dict[str, str]]] = defaultdict(lambda: deque(maxlen=20))
        self.present: defaultdict[str, set[str]] = defaultdict(set)

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        self.last["kitchen"].append({"name": "oven", "text": "Welcome"})
        yield
        self.last.clear()

    @get
    async def index(self) -> dict[str, list[str]]:
        return {room: sorted(names) for room, names in self.present.items()}

    @get("/<room>/events")
    async def events(self, room: str) -> EventStream:
        return EventStream(self._events(room))

    async def _events(self, room: str) -> AsyncIterator[object]:
        async with self.channels.subscribe(room) as messages:
            for message in list(self.last[room]):
                yield event(message, event="old")
            async for message in messages:
                yield event(message)

    @websocket("/<room>")
    async def talk(self, ws: WebSocket, room: str) -> None:
        name = self.request.state.name
        self.present[room].add(name)
        try:
            async with (
                self.channels.subscribe(room) as messages,
                anyio.create_task_group() as tasks,
            ):
                await ws.accept()
                tasks.start_soon(self._forward, ws, messages)
                async for text in ws:
                    message = {"name": name, "text": str(text)[:2000]}
                    self.last[room].append(message)
                    await self.channels.publish(room, message)
                tasks.cancel_scope.cancel()
        finally:
            self.present[room].discard(name)

    async def _forward(self, ws: WebSocket, messages: Subscription) -> None:
        async for message in messages:
            await ws.send_json(message)


app = Chat()
