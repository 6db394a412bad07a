"""Serve an application on one of the installed servers, for ``App.run()`` and ``micropie run``.

Open ``servers.py`` to add a server or change which one is chosen, ``options.py`` for the options,
``run.py`` to change what is printed at startup, ``unshared.py`` to change how data that workers
don't share is found, ``reloading.py`` for ``--reload``, and ``made.py`` for how a server's
processes import the application.
"""
