"""An echo over WebSocket at ``/echo``: by hand, by micropie, by Starlette."""

from __future__ import annotations

from typing import Any

from benchmarks.harness import AsgiApp, Receive, Send


async def _echo(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})
        return
    assert scope["type"] == "websocket"
    assert scope["path"] == "/echo"
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        await send({"type": "websocket.send", "text": message["text"]})


def make_handwritten() -> AsgiApp:
    return _echo


def make_micropie() -> AsgiApp:
    from micropie import App, WebSocket

    class Root(App):
        async def ws_echo(self, ws: WebSocket) -> None:
            await ws.accept()
            while True:
                await ws.send_text(await ws.receive_text())

    return Root()


def make_starlette() -> AsgiApp:
    from starlette.applications import Starlette
    from starlette.routing import WebSocketRoute
    from starlette.websockets import WebSocket, WebSocketDisconnect

    async def echo(ws: WebSocket) -> None:
        await ws.accept()
        try:
            while True:
                await ws.send_text(await ws.receive_text())
        except WebSocketDisconnect:
            pass

    app: AsgiApp = Starlette(routes=[WebSocketRoute("/echo", echo)])
    return app


CONTENDERS = {
    "hand-written": make_handwritten,
    "micropie": make_micropie,
    "starlette": make_starlette,
}
