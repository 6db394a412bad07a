"""The ASGI driver. It turns scopes into requests, performs the flow's steps with anyio (on asyncio
or trio), and sends messages.

Open ``driver.py`` to change how a scope is served and a response sent, ``exchange.py`` for what is
read from a scope, ``steps.py`` for how steps are performed, ``streaming.py`` for streams, and
``lifespan.py`` and ``state.py`` for startup and shutdown. Open ``websocket.py`` for the life of a
WebSocket, ``websocket_connection.py`` for its messages, and ``coroutines.py`` for how timers and
cancel scopes are avoided. ``micropie.wsgi`` has files with the same names where the protocol allows
it.
"""

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
