"""Serve an application on one of the installed servers, for ``App.run()`` and ``micropie run``.

Open ``servers.py`` to add a server or change which one is chosen, ``options.py`` for the options,
``run.py`` for what is printed and in which order, ``unshared.py`` for what workers don't share,
``reloading.py`` for ``--reload``, and ``made.py`` for how a server's processes import the
application.
"""
