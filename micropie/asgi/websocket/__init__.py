"""WebSockets under ASGI: the handshake, the handler, and messages both ways."""
