"""The client, the scheme and the host of a request, as a trusted proxy states them, and a warning
about a proxy that is not configured as trusted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypedDict

from micropie._core.http.headers import HeaderNames

PROXY_HEADERS = HeaderNames("forwarded", "x-forwarded-for", "x-forwarded-proto")

_logger = logging.getLogger("micropie.security")


class Address(NamedTuple):
    """The address of one end of a connection: a host's name or IP address, and a port."""

    host: str
    port: int


class Peer(NamedTuple):
    """The client, the scheme and the host of a request, as middleware reads them from the headers
    of a trusted proxy. A field is None if no header declares it.

    ``by``: the hooks that have set these fields already, before the host was used to choose an
    application. They need not set the fields again.
    """

    scheme: str | None = None
    client: Address | None = None
    host: str | None = None
    by: Sequence[object] = ()


class PeerFields(TypedDict, total=False):
    """The arguments of ``Exchange.set_peer``: fields of a ``Peer``."""

    scheme: str | None
    client: Address | None
    host: str | None
    by: Sequence[object]


class ProxyWatch:
    """Logs one warning if requests come through a proxy that is not trusted.

    A request is checked only if the application uses the request's client address or scheme.

    ``remaining``: how many requests are still to be checked. At 0, checking ends, so it no longer
    costs any time.
    """

    def __init__(self, remaining: int = 10_000) -> None:
        self.remaining = remaining

    def check(
        self, stated: Mapping[str, str], server_client: Callable[[], Address | None], scheme: str
    ) -> None:
        """Log a warning if the client or the scheme in a proxy's headers is not the one that the
        server reports.

        ``stated``: those of the ``PROXY_HEADERS`` that the request has.
        """
        if not stated:
            self.remaining -= 1
            return
        client = server_client()
        host = "unix" if client is None else client.host
        addresses = stated.get("x-forwarded-for") or stated.get("forwarded") or host
        is_secure = stated.get("x-forwarded-proto", "").strip(" \t").lower() in ("https", "wss")
        # If the server reports the same client and scheme as these headers, the server itself
        # trusts the proxy and has read the headers.
        if host not in addresses or (is_secure and scheme == "http"):
            self.remaining = 0
            _logger.warning(
                "requests from %s have %s headers, but this address is not a trusted proxy. So "
                "it counts as the client's address, and the scheme is %s. If it is your proxy's "
                'address, write SecurityDefaults(..., proxies=["%s"]) or '
                'ProxyHeaders(trusted=["%s"])',
                host, " and ".join(stated), scheme, host, host,
            )  # fmt: skip
