"""The WSGI driver: an environ in, the flow driven in the server's thread, an iterable out (PEP 3333)."""
