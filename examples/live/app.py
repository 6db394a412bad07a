"""A live page: a chat room, the server's clock, and an upload with its progress.

    uvicorn examples.live.app:app          hypercorn -k trio examples.live.app:app          (from the project's folder)

The room's last messages are stored in this process's memory, so use one worker. When it restarts,
they are lost.
"""  # noqa: E501

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio

from micropie import App, EventStream, WebSocket, event, max_body_size, post, reads_body
from micropie.middleware import SecurityDefaults

KEPT = 50  # messages that new clients get
LONGEST = {"name": 40, "text": 2000}  # characters; longer text is cut off


class Live(App):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._began = time.monotonic()
        self._history: deque[dict[str, str]] = deque(maxlen=KEPT)

    def index(self) -> Any:
        return self.render("page.html")

    async def ws_room(self, ws: WebSocket) -> None:
        await ws.accept()
        async with self.channels.subscribe("room") as messages:
            for message in list(self._history):  # a copy: later messages come from ``messages``
                await ws.send_json(message)
            await ws.forward(messages)
            # When the client disconnects, ConnectionClosed ends this loop.
            while True:
                match await ws.receive_json():
                    case {"name": str(name), "text": str(text)} if text.strip():
                        await self._say(
                            {"name": name[: LONGEST["name"]], "text": text[: LONGEST["text"]]}
                        )
                    case _:
                        await ws.close(1008, 'Send {"name": ..., "text": ...}.')

    async def _say(self, message: dict[str, str]) -> None:
        self._history.append(message)
        await self.channels.publish("room", message)

    async def clock(self) -> EventStream:
        return EventStream(self._seconds())

    async def _seconds(self) -> AsyncIterator[object]:
        while True:
            yield event({"seconds": round(time.monotonic() - self._began)}, event="tick", retry=500)
            await anyio.sleep(1)

    @post
    @max_body_size(1024**3)
    @reads_body
    async def upload(self) -> Any:
        """Count the bytes of a form's files as they arrive, without storing them."""
        sizes: dict[str, int] = {}
        async for part in self.request.parts():
            if part.raw_filename is not None:
                sizes[part.raw_filename] = 0
                async for chunk in part:
                    sizes[part.raw_filename] += len(chunk)
        return sizes


policy = "default-src 'self'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'"
security = SecurityDefaults("localhost", "127.0.0.1", "::1", csp=policy)
app = Live(templates=Path(__file__).parent, security=security)
