"""Serve an application on one of the installed servers: for ``App.run()`` and ``micropie run``."""
