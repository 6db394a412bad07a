"""The ASGI driver: scopes in, the flow driven on anyio (asyncio or trio), messages out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from micropie._core.on_demand import names_on_demand

if TYPE_CHECKING:
    from micropie.asgi.driver import serve, serve_http
    from micropie.asgi.exchange import ASGIExchange
    from micropie.asgi.state import ASGIState
    from micropie.asgi.websocket import WebSocket, serve_websocket

__all__ = ["ASGIExchange", "ASGIState", "WebSocket", "serve", "serve_http", "serve_websocket"]

__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "driver": "serve serve_http",
        "exchange": "ASGIExchange",
        "state": "ASGIState",
        "websocket": "WebSocket serve_websocket",
    },
)
