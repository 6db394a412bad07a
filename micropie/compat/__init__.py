"""Compatibility modules for other frameworks, for migrated applications:
``from micropie.compat import bottle``.

``install("bottle")`` makes it what every ``import bottle`` of the process gets, also in plugins.
Nothing here is imported by ``import micropie``.

Open ``bottle`` or ``cherrypy`` to change what a migrated application gets, ``pixie_web`` for
pixie_web. Open ``core.py`` for the names of the core that they may use
(``tests/compat/CARRYING.md`` lists them), ``carrier.py`` for how old and native handlers share an
application, ``stand_in.py`` for ``install``, ``programs.py`` for programs that start a server
themselves, ``missing.py`` for what is missing and what to write instead.
"""

from micropie.compat.missing import ADVICE, SERVERS, UNKNOWN, advice_for
from micropie.compat.stand_in import install, started_by

__all__ = ["ADVICE", "SERVERS", "UNKNOWN", "advice_for", "install", "started_by"]
