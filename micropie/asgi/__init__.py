"""The ASGI driver: scopes in, the flow driven on anyio (asyncio or trio), messages out."""

from micropie.asgi.driver import serve, serve_http
from micropie.asgi.exchange import ASGIExchange
from micropie.asgi.lifespan import ASGIState
from micropie.asgi.websocket import WebSocket, serve_websocket

__all__ = [
    "ASGIExchange",
    "ASGIState",
    "WebSocket",
    "serve",
    "serve_http",
    "serve_websocket",
]
