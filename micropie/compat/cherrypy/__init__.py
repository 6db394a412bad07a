"""Stands in for the package ``cherrypy``: ``from micropie.compat import cherrypy``.

An application written for CherryPy 18 runs on it as it is, under any WSGI or ASGI server. docs/moving/cherrypy.md has
the differences that are meant, and how to go on from here.
"""

from __future__ import annotations

from micropie.compat.cherrypy import _cptools, dispatch
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
from micropie.compat.cherrypy.serving import request, response, serving, session, thread_data
from micropie.compat.cherrypy.toolbox import Tool
from micropie.compat.cherrypy.tree import Application, Tree, tools
from micropie.compat.cherrypy.urls import url

tree = Tree()
from micropie.compat.cherrypy import lib
