"""``micropie check --from cherrypy PATH``: list what must be changed in a program that moves from
another framework.

Where to change what: ``sources.py`` reads files, plugins and configuration; ``applications.py``
finds middleware and programs that start a server, ``idioms.py`` calls by their shape,
``of_micropie.py`` differences for programs of MicroPie; ``names.py`` resolves imported names.
``micropie.compat.missing`` has the names and the advice.
"""

from micropie.cli.moving.sources import CONFIG_KEYS, Finding, findings

__all__ = ["CONFIG_KEYS", "Finding", "findings"]
