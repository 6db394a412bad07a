"""WebSockets that end in several ways, and a page that tells how the last one ended."""

from __future__ import annotations

import anyio

from micropie import App, ConnectionClosed, WebSocket

CANCELLED = -1


class Ends(App):
    code = 0

    async def ended(self) -> int:  # on the event loop, where the others set it
        code, Ends.code = Ends.code, 0
        return code

    async def ws_returning(self, ws: WebSocket) -> None:
        await ws.accept()

    async def ws_not_accepting(self, ws: WebSocket) -> None:
        """Return at once."""

    async def ws_refusing(self, ws: WebSocket) -> None:
        await ws.close(4001, "no")

    async def ws_waiting(self, ws: WebSocket) -> None:
        await ws.accept()
        try:
            await ws.receive_text()
        except ConnectionClosed as closed:
            Ends.code = closed.code
        except anyio.get_cancelled_exc_class():
            Ends.code = CANCELLED
            raise


app = Ends()
