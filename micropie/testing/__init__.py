"""Test clients for ASGI and WSGI applications, based on httpx2.

They need ``pip install "micropie-dual[test]"``.

Open ``client.py`` or ``async_client.py`` to change the clients' methods. Other files:

- ``asgi.py``, ``wsgi.py``: how the application is called
- ``http.py``, ``call.py``: what both protocols share
- ``websocket.py``: WebSockets
- ``forms.py``: a page's forms
- ``errors.py``: exceptions
- ``requests.py``: ``make_request``

The clients implement both protocols as specified. They import nothing from the rest of micropie,
and work with any ASGI or WSGI application. Only methods that do more than send requests, such as
``override``, require an ``App``. ``make_request`` needs no client.
"""

from __future__ import annotations

try:
    from micropie.testing.client import TestClient
except ModuleNotFoundError as error:
    if error.name not in ("httpx", "httpx_sse"):
        raise
    message = (
        'The test client needs httpx2, which is not installed: pip install "micropie-dual[test]"'
    )
    raise ModuleNotFoundError(message, name="httpx2") from error

from micropie.testing.async_client import AsyncTestClient, AsyncWebSocketSession
from micropie.testing.errors import (
    AppTimeout,
    ClientDisconnected,
    ClientError,
    LifespanFailed,
    ProtocolViolation,
    WebSocketClosed,
    WebSocketRefused,
)
from micropie.testing.requests import make_request
from micropie.testing.websocket import WebSocketSession

__all__ = [
    "AppTimeout",
    "AsyncTestClient",
    "AsyncWebSocketSession",
    "ClientDisconnected",
    "ClientError",
    "LifespanFailed",
    "ProtocolViolation",
    "TestClient",
    "WebSocketClosed",
    "WebSocketRefused",
    "WebSocketSession",
    "make_request",
]
