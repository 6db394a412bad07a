"""The ASGI driver. It turns scopes into requests, performs the flow's steps with anyio (on asyncio
or trio), and sends messages.

Open ``driver.py`` to change how a scope is served and how a response is sent. The other files:

- ``exchange.py``: what is read from a scope
- ``steps.py``: how steps are performed
- ``streaming.py``: streams
- ``lifespan.py`` and ``state.py``: startup and shutdown
- ``websocket.py``: the life of a WebSocket
- ``websocket_connection.py``: the messages of a WebSocket
- ``forwarding.py``: how a channel's messages are sent to WebSockets
- ``coroutines.py``: how timers and cancel scopes are avoided

The files of ``micropie.wsgi`` have the same names, as far as WSGI has the same features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from micropie._core.on_demand import names_on_demand

if TYPE_CHECKING:
    from micropie.asgi.driver import serve, serve_http
    from micropie.asgi.exchange import ASGIExchange
    from micropie.asgi.state import ASGIState
    from micropie.asgi.websocket import WebSocket, serve_websocket

__all__ = [
    "ASGIExchange",
    "ASGIState",
    "WebSocket",
    "serve",
    "serve_http",
    "serve_websocket",
]

__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "driver": "serve serve_http",
        "exchange": "ASGIExchange",
        "state": "ASGIState",
        "websocket": "WebSocket serve_websocket",
    },
)
