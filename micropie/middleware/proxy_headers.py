"""Take the client's address, the scheme and the host from the headers of trusted proxies, such as
``X-Forwarded-For``. The server itself only sees the address of the nearest proxy.

Any client can send these headers, so the rules are:
- They count only if the connection comes from a proxy that is listed as trusted.
- Each proxy appends what it saw to a list. Lists are read from the right, up to the first address
  that is not trusted, because the client may have invented everything to the left of it.
- A malformed address is ignored: a proxy may have sent a placeholder such as "unknown" to hide
  the real address, or the client may have invented it. A malformed scheme or host from a trusted
  proxy is a 400, because both get into links.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import TypeAlias

from micropie._core.errors import (
    FLAG,
    BadRequest,
    SetupError,
    check,
    check_each,
    is_count,
    refuse_text,
)
from micropie._core.http import Address, Request
from micropie._core.http.addresses import checked_base, ip_of
from micropie.middleware.base import FlowMiddleware

IP: TypeAlias = IPv4Address | IPv6Address
ForwardedNode: TypeAlias = tuple[IP, int]
Element: TypeAlias = dict[str, str]  # the values of "for", "proto" and "host" from one proxy

UNIX = "unix"

# How many entries of a header are parsed at most. Chains of proxies are shorter, but a client may
# send thousands of entries.
_MAX_ENTRIES = 32

# Matches an address (IPv6 in brackets) and an optional port, which may be hidden behind a made-up
# name: RFC 7239, section 6. It also matches IPv6 without brackets, which some proxies send.
_NODE = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f]*:[0-9A-Fa-f:.]*)\]|(?P<v4>[0-9.]+))"
    r"(?::(?:(?P<port>[0-9]{1,5})|_[A-Za-z0-9._-]+))?|[0-9A-Fa-f:.]+"
)

_MAPPED = IPv6Network("::ffff:0:0/96")  # IPv4 addresses as dual-stack sockets show them

_LONGEST_NODE = 64  # in characters; the longest valid node has 53


class ProxyHeaders(FlowMiddleware):
    """Set ``request.client`` and ``request.scheme``:
    ``app.middlewares.append(ProxyHeaders(trusted=["10.0.0.0/8"]))``.

    Only later middleware sees the new values, so put ``ProxyHeaders`` first in the outermost
    application's ``middlewares``.

    - ``trusted``: the addresses and networks of the proxies; ``"unix"`` for a proxy that connects
      through a UNIX socket and has no address.
    - ``hops``: the number of proxies, if their addresses are not known. With ``hops=2``, the
      client's address is the second entry from the right.
    - ``host``: whether to set ``request.host`` from X-Forwarded-Host. Use it only if the proxy
      always sets that header; otherwise the value comes from the client.
    - ``forwarded``: whether to read Forwarded (RFC 7239) instead of X-Forwarded-For, -Proto and
      -Host.

    If a trusted proxy sends a malformed host, or a scheme other than http, https, ws and wss, the
    client gets a 400.

    Raises ``SetupError`` for a malformed address, and if every address is trusted without ``hops``.
    """

    guards = True

    def __init__(
        self,
        trusted: Iterable[str],
        *,
        hops: int | None = None,
        host: bool = False,
        forwarded: bool = False,
    ) -> None:
        refuse_text("trusted", trusted)
        peers = tuple(trusted)
        if not peers:
            raise SetupError(
                'ProxyHeaders needs the addresses of the proxies: trusted=["127.0.0.1"]'
            )
        self._trusts_unix = UNIX in peers
        self._networks = tuple(_network(peer) for peer in peers if peer != UNIX)
        fine = hops is None or (is_count(hops, least=1) and hops <= _MAX_ENTRIES)
        check("ProxyHeaders(hops=...)", fine, hops, f"the number of proxies, 1 to {_MAX_ENTRIES}")
        if hops is None and any(network.prefixlen == 0 for network in self._networks):
            raise SetupError(
                "ProxyHeaders(trusted=...) contains every address, so clients could forge the "
                "headers of proxies: give the number of proxies, such as hops=1"
            )
        check_each("ProxyHeaders", *FLAG, host=host, forwarded=forwarded)
        self._hops = hops
        self.sets_host = host  # if true, this hook runs before the host chooses the application
        self._elements = _forwarded if forwarded else _x_forwarded

    def before(self, request: Request) -> None:
        """Apply the headers if the peer is a trusted proxy. Raises 400 for a malformed scheme or
        host.
        """
        exchange = request._exchange
        peer = exchange.client
        if self in exchange.peer.by or not self._trusts(
            _ip(peer.host) if peer is not None else None
        ):
            return
        try:
            scheme, host, node = self._read(request)
        except BadRequest:
            # Mark the peer as trusted, so that no warning about an unlisted proxy is logged.
            exchange.set_peer(scheme=exchange.scheme)
            raise
        exchange.set_peer(
            scheme=scheme or exchange.scheme,
            client=exchange.peer.client if node is None else Address(str(node[0]), node[1]),
            host=host.lower() or exchange.peer.host,
        )

    def _read(self, request: Request) -> tuple[str, str, ForwardedNode | None]:
        """Return the scheme and the host that the proxies report ("" if they don't), and the
        client's address (None if they don't).

        If several proxies report a value, the outermost one counts. Raises 400 for a malformed
        scheme or host.
        """
        scheme = host = ""
        node = None
        for position, element in enumerate(self._elements(request), start=1):
            outer = checked_base(
                element.get("proto", ""), element.get("host", "") if self.sets_host else ""
            )
            scheme, host = outer[0] or scheme, outer[1] or host
            node = _node(element)
            if position == self._hops or (
                self._hops is None and (node is None or not self._trusts(node[0]))
            ):
                return scheme, host, node
        # With fewer entries than hops, the request did not pass through all proxies.
        return scheme, host, node if self._hops is None else None

    def _trusts(self, ip: IP | None) -> bool:
        if ip is None:  # only the peer of a UNIX socket has no address
            return self._trusts_unix
        return any(ip in network for network in self._networks)


def _x_forwarded(request: Request) -> Iterator[Element]:
    """Yield an element for each proxy, the nearest first.

    Not every proxy appends a scheme and a host. So all elements get the last scheme and the last
    host in the headers.
    """
    headers = request.headers
    nearest = {
        name: headers.get(f"x-forwarded-{name}", "").rpartition(",")[2].strip(" \t")
        for name in ("proto", "host")
    }
    for node in _entries(headers.get("x-forwarded-for", "")):
        yield {"for": node, **nearest}


def _forwarded(request: Request) -> Iterator[Element]:
    """Yield the elements of a header such as ``for=192.0.2.1;proto=https, for="[2001:db8::1]:80"``,
    the nearest proxy first.

    Splitting ignores quotes: no valid value contains "," or ";", and a quote that a client left
    open must not hide the proxies' own entries.
    """
    for entry in _entries(request.headers.get("forwarded", "")):
        pairs = (pair.partition("=") for pair in entry.split(";"))
        yield {name.strip(" \t").lower(): value.strip(" \t").strip('"') for name, _, value in pairs}


def _entries(header: str) -> Iterator[str]:
    # ``rsplit`` leaves everything before the last _MAX_ENTRIES entries as one entry. This entry
    # counts as malformed, because it contains commas.
    return (entry.strip(" \t") for entry in reversed(header.rsplit(",", _MAX_ENTRIES)))


def _node(element: Element) -> ForwardedNode | None:
    """Return the address and port (0 if absent) from which a proxy got the request, or None if
    either is malformed.
    """
    text = element.get("for", "")
    match = _NODE.fullmatch(text) if len(text) <= _LONGEST_NODE else None
    if match is None:
        return None
    ip = _ip(match["v6"] or match["v4"] or match[0])
    port = int(match["port"] or 0)
    return (ip, port) if ip is not None and port <= 65535 else None


# cached, because a site has few proxies and a client sends several requests
@lru_cache(maxsize=1024)
def _ip(text: str) -> IP | None:
    try:
        return ip_of(text)
    except ValueError:
        return None


def _network(peer: object) -> IPv4Network | IPv6Network:
    try:
        if isinstance(peer, str):
            network = ip_network(peer)
            if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
                first = str(network.network_address.ipv4_mapped)  # as ``_ip`` reads addresses
                return ip_network(f"{first}/{network.prefixlen - _MAPPED.prefixlen}")
            return network
        reason = "it is not a string"
    except ValueError as error:
        reason = str(error)
    raise SetupError(
        'trusted takes addresses ("10.0.0.1"), networks ("10.0.0.0/8") and "unix", '
        f"not {peer!r} ({reason})"
    )
