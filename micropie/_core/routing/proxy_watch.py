"""Warn about a proxy that is not configured as trusted."""

from __future__ import annotations

import logging

from micropie._core.http import Exchange
from micropie._core.http.headers import HeaderNames

_FORWARDED = HeaderNames("forwarded", "x-forwarded-for", "x-forwarded-proto")

_logger = logging.getLogger("micropie.security")


class ProxyWatch:
    """Logs one warning if requests come through a proxy that is not trusted.

    Only requests whose client address or scheme the application uses are checked, and only the
    first ``looks`` of these, so that later requests take no longer.
    """

    def __init__(self, looks: int = 10_000) -> None:
        self.looks = looks

    def look(self, exchange: Exchange) -> None:
        """Log a warning if the client or the scheme in a proxy's headers differs from the one that
        the server reports.
        """
        stated = exchange.named_headers(_FORWARDED)
        if not stated:
            self.looks -= 1
            return
        client, scheme = exchange.server_client(), exchange.scheme
        host = "unix" if client is None else client.host
        addresses = stated.get("x-forwarded-for") or stated.get("forwarded") or host
        is_secure = stated.get("x-forwarded-proto", "").strip(" \t").lower() in ("https", "wss")
        # If the headers have the client and the scheme that the server reports, the server itself
        # trusts the proxy and has used these headers.
        if host not in addresses or (is_secure and scheme == "http"):
            self.looks = 0
            _logger.warning(
                "requests from %s have %s, but it is not a trusted proxy: its address counts as "
                "the client's, and the scheme is %s. If it is your proxy, write "
                'SecurityDefaults(..., proxies=["%s"]) or ProxyHeaders(trusted=["%s"])',
                host, " and ".join(stated), scheme, host, host,
            )  # fmt: skip
