"""``cherrypy._cperror``, whose name applications use for its exceptions and pages."""

from micropie.compat.cherrypy.errors import (
    CherryPyException,
    HTTPError,
    HTTPRedirect,
    InternalRedirect,
    NotFound,
    bare_error,
    clean_headers,
    format_exc,
    get_error_page,
)

__all__ = [
    "CherryPyException",
    "HTTPError",
    "HTTPRedirect",
    "InternalRedirect",
    "NotFound",
    "bare_error",
    "clean_headers",
    "format_exc",
    "get_error_page",
]
