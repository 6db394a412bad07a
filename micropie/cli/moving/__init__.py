"""``micropie check --from cherrypy PATH``: what has to change in a program that moves here.

Open ``sources.py`` for how files, plugins and configuration are read, ``applications.py`` for
middleware and for programs that start a server, ``idioms.py`` for what is found by the shape of a
call, ``of_micropie.py`` for programs of MicroPie, ``names.py`` for imports.
``micropie.compat.missing`` has the names.
"""

from micropie.cli.moving.sources import CONFIG_KEYS, Finding, findings

__all__ = ["CONFIG_KEYS", "Finding", "findings"]
