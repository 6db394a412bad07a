"""Compile a tree of applications to a ``Site``, and find the route of each request in it.

``settings.py`` has an author's plain values, ``config.py`` the objects that a request uses, and ``inheritance.py``
makes the second of the first. ``decorators.py`` leave marks on functions, ``discovery.py`` finds the handlers among
an application's attributes, and ``compiler.py`` makes a ``Route`` (``route.py``) of each. ``patterns.py`` reads
explicit paths. ``providers.py`` has the providers of resources, and ``checks.py`` the checks of ``@requires``.

``router.py`` searches. Names, explicit routes and inner applications are in one tree of segments, and there is one
more for WebSockets. No path takes more than linear time, because each node is reached in one way only. Two tables are
short cuts through the tree: whole paths, and paths with one more segment as the argument. ``site.py`` looks for
mounts first, then asks the router.
"""
