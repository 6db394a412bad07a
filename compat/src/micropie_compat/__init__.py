"""Modules that applications written for another framework import in its place: ``from
micropie_compat import bottle``.

After ``install("bottle")`` every ``import bottle`` in the process, also in plugins, imports
``micropie_compat.bottle``. ``import micropie`` doesn't import this package.

Open ``bottle``, ``cherrypy`` or ``pixie_web`` to change a module that migrated applications import.
Other files:

- ``core.py``: the names of micropie's core that these modules may use (listed in
  ``compat/CARRYING.md``)
- ``carrier.py``: how one application runs another framework's handlers beside micropie's
- ``stand_in.py``: ``install``
- ``programs.py``: programs that start a server themselves
- ``missing.py``: the advice on names that a compatibility module lacks
"""

from micropie_compat.missing import ADVICE, SERVERS, UNKNOWN, advice_for
from micropie_compat.stand_in import install, started_by

__all__ = [
    "ADVICE",
    "SERVERS",
    "UNKNOWN",
    "advice_for",
    "install",
    "started_by",
]
