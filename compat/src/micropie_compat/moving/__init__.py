"""``micropie check --from cherrypy PATH``: list what must be changed to migrate a program from
another framework.

Open ``sources.py`` to change how files, plugins and configuration are read. Other files:

- ``applications.py``: middleware, and programs that start a server
- ``idioms.py``: calls with certain arguments
- ``of_micropie.py``: programs of the framework MicroPie
- ``names.py``: imported names

``micropie_compat.missing`` lists the names that the compatibility modules lack, with advice for
each.
"""

from micropie_compat.moving.sources import CONFIG_KEYS, Finding, findings

__all__ = [
    "CONFIG_KEYS",
    "Finding",
    "findings",
]
