"""Mounted applications: an ASGI or WSGI application below a prefix, under either kind of server.

``prefixes`` finds the mount of a path. ``asgi_in_wsgi`` runs an ASGI application under a WSGI server, and so on.
"""
