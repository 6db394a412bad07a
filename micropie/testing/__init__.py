"""A test client for ASGI and WSGI applications, on httpx. It needs ``pip install "micropie-dual[test]"``.

The client implements the specifications of both protocols. It imports nothing from the rest of micropie, and works
with any application.
"""

from __future__ import annotations

try:
    from micropie.testing.client import TestClient
except ModuleNotFoundError as error:
    if error.name != "httpx":
        raise
    message = 'The test client needs httpx, which is not installed: pip install "micropie-dual[test]"'
    raise ModuleNotFoundError(message, name="httpx") from error

from micropie.testing.errors import (
    AppTimeout,
    ClientDisconnected,
    ClientError,
    LifespanFailed,
    ProtocolViolation,
    WebSocketClosed,
    WebSocketRefused,
)
from micropie.testing.websocket import WebSocketSession

__all__ = [
    "AppTimeout",
    "ClientDisconnected",
    "ClientError",
    "LifespanFailed",
    "ProtocolViolation",
    "TestClient",
    "WebSocketClosed",
    "WebSocketRefused",
    "WebSocketSession",
]
