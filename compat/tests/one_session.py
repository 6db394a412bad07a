"""A site on ``compat.cherrypy`` for a server, ``compat.tests.one_session:application``: a page that
lasts until a file exists, in the session of a visitor, and one without a session.

``COMPAT_FILE`` in the environment names the file, ``COMPAT_QUEUE_TIMEOUT`` is the option of that
name.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

from micropie_compat import cherrypy
from micropie_compat.cherrypy.lib.sessions import RamSession
from tests.support.waiting import until


class Root:
    """The pages."""

    _cp_config: ClassVar = {
        "tools.sessions.on": True,
        "tools.sessions.queue_timeout": float(os.environ["COMPAT_QUEUE_TIMEOUT"]),
    }

    @cherrypy.expose
    def log_in(self) -> str:
        cherrypy.session["user"] = "alice"
        return "in"

    @cherrypy.expose
    def slow(self) -> str:
        until(lambda: Path(os.environ["COMPAT_FILE"]).exists())
        return str(cherrypy.session["user"])

    @cherrypy.expose
    def waiting(self) -> str:
        return str(sum(one.users - 1 for one in RamSession.locks._locks.values()))

    waiting._cp_config = {"tools.sessions.on": False}  # type: ignore[attr-defined]


application = cherrypy.Application(Root(), "")
