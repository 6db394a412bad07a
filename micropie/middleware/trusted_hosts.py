"""Reject requests for unknown hosts, so that links built from the Host header point to the
application's own hosts.
"""

from __future__ import annotations

from micropie._core.errors import BadRequest, SetupError, check
from micropie._core.http import Request
from micropie._core.http.addresses import HostTable, normal_host
from micropie.middleware.base import FlowMiddleware

_HOSTS = (
    'hosts such as "example.com", "*.example.com" or "::1", without a scheme, port or path, '
    "and with non-ASCII names in Punycode (xn--...)"
)


class TrustedHosts(FlowMiddleware):
    """Reject requests with a 400 unless they are for one of these hosts:
    ``app.middlewares.append(TrustedHosts("example.com", "*.example.com"))``.

    Each argument is a host without a port: a name, an address (IPv6 with or without brackets), or
    ``*.`` and a name, which matches subdomains of any depth but not the name itself. Case, a
    trailing dot and the request's port are ignored. Raises ``SetupError`` for any other argument.
    """

    guards = True

    def __init__(self, *hosts: str) -> None:
        if not hosts:
            raise SetupError(
                "TrustedHosts needs the hosts to serve: "
                'TrustedHosts("example.com", "*.example.com")'
            )
        for host in hosts:
            check("TrustedHosts", normal_host(host) != "", host, _HOSTS)
        self._hosts = HostTable((normal_host(host), True) for host in hosts)

    def before(self, request: Request) -> None:
        """Raise 400 for a host that is not trusted."""
        if self._hosts.find(request.host) is None:
            raise BadRequest("This server does not serve that host.")
