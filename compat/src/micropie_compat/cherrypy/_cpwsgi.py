"""``cherrypy.wsgi``: ``VirtualHost``, which has one application for each host. CherryPy's WSGI
servers and pipeline aren't supported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from wsgiref.types import StartResponse

from micropie import BadRequest
from micropie_compat.addresses import first_value
from micropie_compat.core import checked_base
from micropie_compat.environs import Environ
from micropie_compat.missing import tell


class VirtualHost:
    """A WSGI application that passes requests on to the application for their Host header:
    ``cherrypy.tree.graft(VirtualHost(main, {"pies.example": pies}))``. If the host is malformed,
    the client gets a 400.

    ``default``: the application for all other hosts.
    ``use_x_forwarded_host``: whether to use the first host in X-Forwarded-Host, if sent, instead of
        Host. Clients can forge X-Forwarded-Host, so keeping a host secret doesn't protect its
        application.
    """

    def __init__(
        self,
        default: Any,
        domains: Mapping[str, Any] | None = None,
        use_x_forwarded_host: bool = True,
    ) -> None:
        self.default = default
        self.domains = {} if domains is None else domains
        self.use_x_forwarded_host = use_x_forwarded_host

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Call the application for the request's host."""
        host = environ.get("HTTP_HOST", "")
        if self.use_x_forwarded_host:
            host = first_value(environ.get("HTTP_X_FORWARDED_HOST")) or host
        try:
            chosen = self.domains.get(checked_base("", host)[1]) or self.default
        except BadRequest as error:
            start_response("400 Bad Request", [("Content-Type", "text/plain")])
            return [str(error).encode()]
        chunks: Iterable[bytes] = chosen(environ, start_response)
        return chunks


def __getattr__(name: str) -> Any:
    tell(__name__, name)
