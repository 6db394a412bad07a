"""Serve an application on one of the installed servers, for ``App.run()`` and ``micropie run``.

Open ``servers.py`` to add a server or change which one is chosen. Other files:

- ``options.py``: the options
- ``run.py``: what is printed at startup
- ``unshared.py``: how data that workers don't share is found
- ``reloading.py``: ``--reload``
- ``signals.py``: how granian handles signals
- ``made.py``: how a server's processes import the application
"""
