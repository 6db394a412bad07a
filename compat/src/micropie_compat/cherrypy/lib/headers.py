"""``cherrypy.lib.headers``: applications import ``parse_header`` from it."""

from micropie_compat.cherrypy.lib.httputil import parse_header

__all__ = ["parse_header"]
