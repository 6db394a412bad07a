"""Stands in for the package ``cherrypy``: ``from micropie.compat import cherrypy``.

An application written for CherryPy 18 runs on it as it is, under any WSGI or ASGI server. docs/moving/cherrypy.md has
the differences that are meant, and how to go on from here.
"""

from __future__ import annotations

from typing import Any

from micropie.compat.cherrypy import (
    _cpconfig,
    _cpdispatch,
    _cperror,
    _cpreqbody,
    _cprequest,
    _cpserver,
    _cptools,
    _cptree,
    _cpwsgi,
    dispatch,
    lib,
    process,
)
from micropie.compat.cherrypy.config import config
from micropie.compat.cherrypy.errors import (
    CherryPyException,
    HTTPError,
    HTTPRedirect,
    InternalRedirect,
    NotFound,
    TimeoutError,  # noqa: A004 - its name there
    __version__,
)
from micropie.compat.cherrypy.exposing import expose, popargs
from micropie.compat.cherrypy.log import log
from micropie.compat.cherrypy.program import checker, engine, quickstart, server
from micropie.compat.cherrypy.serving import request, response, serving, session, thread_data
from micropie.compat.cherrypy.toolbox import Tool
from micropie.compat.cherrypy.tree import Application, Tree, tools, tree
from micropie.compat.cherrypy.urls import url

wsgi = _cpwsgi


def __getattr__(name: str) -> Any:
    if name == "wsgiserver":
        raise AttributeError("cherrypy.wsgiserver is not offered: any WSGI or ASGI server serves cherrypy.tree")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


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
    "_cpconfig",
    "_cpdispatch",
    "_cperror",
    "_cpreqbody",
    "_cprequest",
    "_cpserver",
    "_cptools",
    "_cptree",
    "_cpwsgi",
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
