"""Modules that applications written for another framework import in its place: ``from
micropie.compat import bottle``.

After ``install("bottle")`` every ``import bottle`` in the process gets this module, also in
plugins. ``import micropie`` imports nothing of this package.

Where to change what: ``bottle``, ``cherrypy`` and ``pixie_web`` are the modules that migrated
applications import. ``core.py`` has the names of micropie's core that they may use
(``tests/compat/CARRYING.md`` lists them). ``carrier.py`` joins the other framework's handlers and
micropie's in one application. ``stand_in.py`` has ``install``, ``programs.py`` runs programs that
start a server themselves, and ``missing.py`` says for names that are missing what to write instead.
"""

from micropie.compat.missing import ADVICE, SERVERS, UNKNOWN, advice_for
from micropie.compat.stand_in import install, started_by

__all__ = ["ADVICE", "SERVERS", "UNKNOWN", "advice_for", "install", "started_by"]
