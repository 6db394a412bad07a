"""Refuses requests for foreign hosts, so that links made from the Host header stay on the application's own hosts.

Names are compared without regular expressions, where an unescaped dot would admit other hosts.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import Final

from micropie.errors import BadRequest, SetupError
from micropie.http import Request
from micropie.middleware.base import FlowMiddleware

_NAME: Final = re.compile(r"(?:[a-z0-9_\-]+\.)*[a-z0-9_\-]+")


class TrustedHosts(FlowMiddleware):
    """Refuse other hosts with 400: ``app.middlewares.append(TrustedHosts("example.com", "*.example.com"))``.

    Each argument is a host without a port: a name, an address (IPv6 with or without brackets), or ``*.`` and a name for
    all its subdomains at any depth, but not for the name itself. Case, a final dot and the request's port make no
    difference. Raises ``SetupError`` for anything else.
    """

    guards = True

    def __init__(self, *hosts: str) -> None:
        if not hosts:
            raise SetupError('TrustedHosts needs the hosts to answer for: TrustedHosts("example.com", "*.example.com")')
        checked = [_checked(host) for host in hosts]
        self._exact = frozenset(host for host in checked if not host.startswith("*"))
        self._suffixes = tuple(host[1:] for host in checked if host.startswith("*"))

    def before(self, request: Request) -> None:
        """Raise 400 for a host that is not trusted."""
        host = request.host  # well-formed, in lower case
        if host.startswith("["):
            name = str(IPv6Address(host[1:].partition("]")[0]))
        else:
            name = host.partition(":")[0].removesuffix(".")
        is_subdomain = name.endswith(self._suffixes) and not name.startswith(".")  # ".example.com" is not one
        if name not in self._exact and not is_subdomain:
            raise BadRequest("This server does not answer for that host.")


def _checked(host: object) -> str:
    name = host.lower().removesuffix(".") if isinstance(host, str) else ""
    if _NAME.fullmatch(name.removeprefix("*.")):
        return name
    try:
        return str(IPv6Address(name.removeprefix("[").removesuffix("]")))
    except ValueError:
        raise SetupError(
            f'TrustedHosts takes hosts such as "example.com", "*.example.com" or "::1", without scheme, port and path, '
            f"in Punycode (xn--...) if they are not ASCII: not {host!r}"
        ) from None
