"""``cherrypy.lib.headers``: exists because applications import its function from here."""

from micropie.compat.cherrypy.lib.httputil import parse_header

__all__ = ["parse_header"]
