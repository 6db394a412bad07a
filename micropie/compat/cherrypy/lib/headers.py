"""``cherrypy.lib.headers``, whose name applications use for its function."""

from micropie.compat.cherrypy.lib.httputil import parse_header

__all__ = ["parse_header"]
