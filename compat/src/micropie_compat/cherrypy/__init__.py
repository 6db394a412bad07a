"""A drop-in replacement for the package ``cherrypy``: ``from micropie_compat import cherrypy``.

An application written for CherryPy 18 runs on this package unchanged, under any WSGI or ASGI
server. docs/moving/cherrypy-differences.md lists the intentional differences;
docs/moving/cherrypy.md explains how to migrate to micropie's own API.

Open ``life.py`` to change the steps of a request, ``dispatch.py`` to change how a handler is found,
``messages.py`` and ``body.py`` for the objects that handlers read and set, ``config.py`` for
configuration, ``tools.py`` for the list of built-in tools. ``compat/tests/cherrypy_requests.py``
has the requests that the tests send to this package and to the original, to compare the responses.
"""

from __future__ import annotations

import sys
from typing import Any

from micropie_compat.cherrypy import _cpcompat as _cpcompat
from micropie_compat.cherrypy import _cpserver as _cpserver
from micropie_compat.cherrypy import _cpwsgi, dispatch, lib, process
from micropie_compat.cherrypy.config import config
from micropie_compat.cherrypy.errors import (
    CherryPyException,
    HTTPError,
    HTTPRedirect,
    InternalRedirect,
    NotFound,
    TimeoutError,  # noqa: A004 - CherryPy's name
    __version__,
)
from micropie_compat.cherrypy.exposing import expose, popargs
from micropie_compat.cherrypy.log import log
from micropie_compat.cherrypy.program import checker, engine, quickstart, server
from micropie_compat.cherrypy.serving import Proxy as _ThreadLocalProxy  # CherryPy's name
from micropie_compat.cherrypy.serving import request, response, serving, session, thread_data
from micropie_compat.cherrypy.toolbox import Tool
from micropie_compat.cherrypy.tree import Application, Tree, tools, tree
from micropie_compat.cherrypy.urls import url
from micropie_compat.missing import tell
from micropie_compat.results import words

wsgi = _cpwsgi
_cache: Any  # set by ``lib.caching``

# Register these modules under the names by which applications import them.
for _pair in words(
    "_cpconfig=config _cpdispatch=dispatch _cperror=errors _cplogging=log _cpreqbody=body "
    "_cprequest=messages _cptools=tools _cptree=tree _helper=exposing _json=lib.jsontools"
):
    _name, _, _module = _pair.partition("=")
    sys.modules[f"{__name__}.{_name}"] = globals()[_name] = sys.modules[f"{__name__}.{_module}"]


def __getattr__(name: str) -> Any:
    if name == "session":  # a program has deleted ``session``; like CherryPy, create it again
        return globals().setdefault(name, _ThreadLocalProxy(name))
    tell(__package__, name)


__all__ = [
    "Application",
    "CherryPyException",
    "HTTPError",
    "HTTPRedirect",
    "InternalRedirect",
    "NotFound",
    "TimeoutError",
    "Tool",
    "Tree",
    "__version__",
    "checker",
    "config",
    "dispatch",
    "engine",
    "expose",
    "lib",
    "log",
    "popargs",
    "process",
    "quickstart",
    "request",
    "response",
    "server",
    "serving",
    "session",
    "thread_data",
    "tools",
    "tree",
    "url",
    "wsgi",
]
