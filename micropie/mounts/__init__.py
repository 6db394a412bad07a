"""Applications below a prefix: ASGI and WSGI ones, under either kind of server."""
