"""The life of a request and of a WebSocket: synchronous generators that yield what may have to wait."""
