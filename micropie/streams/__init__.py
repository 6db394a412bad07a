"""Bodies in chunks: their sources, the head that waits for the first chunk, and events.

``source.py`` has the protocol, makes it of what a handler returned, and says how long the head waits.
``events.py`` has server-sent events. ``scoped.py`` and ``threaded.py`` advance sources on an event loop and in threads;
the drivers' halves are ``asgi/streaming.py`` and ``wsgi/streaming.py``.
"""
