"""WebSockets for the tests with real servers. Another client may ask how a handler ended."""

from __future__ import annotations

import anyio

from micropie import App, ConnectionClosed, HTTPError, WebSocket
from tests.support.waiting import PATIENCE


class Elsewhere(App):
    def __init__(self, ends: list[str]) -> None:
        super().__init__(websocket_grace=0.5)
        self.ends = ends

    async def ws_index(self, ws: WebSocket) -> None:
        """Wait for an event that never happens."""
        await ws.accept()
        try:
            await anyio.sleep_forever()
        finally:
            self.ends.append("elsewhere")


class Sockets(App):
    def __init__(self) -> None:
        # long enough for a handler of a busy machine to end by itself
        super().__init__(websocket_max_size=300_000, websocket_grace=PATIENCE)
        self.ends: list[str] = []
        self.elsewhere = Elsewhere(self.ends)

    def ended(self) -> str:
        # one by one: the event loop may append another one meanwhile
        return ",".join([self.ends.pop(0) for _ in range(len(self.ends))])

    async def ws_echo(self, ws: WebSocket) -> None:
        await ws.accept(
            ws.subprotocols[0] if ws.subprotocols else None, headers={"X-Greeting": "hello"}
        )
        try:
            while True:
                message = await anext(ws)
                await (
                    ws.send_text(message) if isinstance(message, str) else ws.send_bytes(message)
                )
        except StopAsyncIteration:
            self.ends.append(f"echo {ws.close_code}")

    async def ws_refused(self, ws: WebSocket) -> None:
        raise HTTPError(401, "Log in.")

    async def ws_closing(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.close(4321, "that's it")

    async def ws_closing_later(self, ws: WebSocket) -> None:
        """Close while the next message is read ahead."""
        await ws.accept()
        await ws.receive_text()
        await anyio.sleep(0.02)
        await ws.close(4321, "that's it")

    async def ws_failing(self, ws: WebSocket) -> None:
        await ws.accept()
        raise RuntimeError("secret")

    async def ws_text(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.receive_text()

    async def ws_talking(self, ws: WebSocket) -> None:
        """Send without receiving, until sending fails."""
        await ws.accept()
        try:
            while True:
                await ws.send_text("tick")
                await anyio.sleep(0.01)
        except ConnectionClosed:
            self.ends.append("talking")
            raise

    async def ws_room(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.forward(self.channels.subscribe("room"))
        await ws.send_text("you are in")
        try:
            while True:
                await self.channels.publish("room", {"said": await ws.receive_text()})
        finally:
            self.ends.append("room")
