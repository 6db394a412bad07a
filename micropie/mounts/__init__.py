"""Mounted applications: an ASGI or WSGI application below a prefix, under either kind of server.

``prefixes.py`` finds the mount of a path, as raw segments, since a mounted application's path need not be UTF-8. An
``App`` that shares sessions and hooks is a ``Site`` below its prefix. An isolated ``App`` gets the server's own call,
after the hooks that guard. For any other application the flow yields a step MOUNT where it would call a handler, and
gets a ``Response`` whose body is a stream: hooks, sessions and errors surround it as they surround a handler.

There is one bridge for each pair of protocols: ``asgi_in_wsgi.py`` runs an ASGI application under a WSGI server, and
so on. A way to another thread and back costs more than most answers, so an answer in one piece takes one: nothing
waits for a task or a thread to start, the last chunk comes with the message of the end, and a short body is read
ahead. When the client has left, an ASGI application that waits in ``receive`` is told so before it is cancelled: one
that has made tasks, as Django's handler does, would leave them behind otherwise. ``lifespan.py`` runs the lifespans.
"""
