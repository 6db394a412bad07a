"""Takes a trusted proxy's word for who the client is and how it came: the server itself sees the proxy only.

Anybody can send these headers, so the rules are:
- Nothing is believed unless the connection comes from a peer that the author named.
- Each proxy appends to a list what it saw, so lists are read from the right, and no further than the first address
  that nobody trusts: what is left of it is the client's invention.
- What can't be read changes nothing and is no error: the client may have written it.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import islice
from typing import Final, TypeAlias

from micropie.errors import SetupError, is_count
from micropie.http.request import Address, Request
from micropie.middleware.base import FlowMiddleware

IP: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network
Node: TypeAlias = tuple[IP, int]
Element: TypeAlias = dict[str, str]  # "for", "proto", "host" as one proxy states them

UNIX: Final = "unix"

# How many entries of a list are looked at: more proxies stand in no row, and a list may have thousands.
_MOST: Final = 32

# RFC 7239, section 6: an address, IPv6 in brackets, and a port; proxies also write IPv6 without them.
_NODE: Final = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f]*:[0-9A-Fa-f:.]*)\]|(?P<v4>[0-9.]+))(?::(?P<port>[0-9]{1,5}))?|[0-9A-Fa-f:.]+"
)

_LONGEST_NODE: Final = 64  # characters; the longest that means something has 53


class ProxyHeaders(FlowMiddleware):
    """Sets ``request.client`` and ``request.scheme``: ``app.middlewares.append(ProxyHeaders(trusted=["10.0.0.0/8"]))``.

    It counts for what comes after it, so it has to be the first of the outermost application's ``middlewares``.

    ``trusted``: the addresses and networks of the proxies; ``"unix"`` for one that connects by a UNIX socket and so
    has no address. ``hops``: how many proxies there are, if their addresses are not known; the client is then that many
    entries from the right. ``host``: also set ``request.host``, from X-Forwarded-Host: only if the proxy always sets
    that header, as one that doesn't passes on what the client wrote. ``forwarded``: the proxies write Forwarded
    (RFC 7239); that is then read, and X-Forwarded-For, -Proto and -Host are not.

    Raises ``SetupError`` for what is no address, and if everybody is trusted and ``hops`` does not say how far.
    """

    sees_handshakes = True

    def __init__(
        self, *, trusted: Iterable[str], hops: int | None = None, host: bool = False, forwarded: bool = False
    ) -> None:
        if isinstance(trusted, str):
            raise SetupError(f'trusted is a list: write trusted=["{trusted}"]')
        peers = tuple(trusted)
        if not peers:
            raise SetupError('ProxyHeaders needs the addresses of the proxies: trusted=["127.0.0.1"]')
        self._trusts_unix = UNIX in peers
        self._networks = tuple(_network(peer) for peer in peers if peer != UNIX)
        if hops is not None and not (is_count(hops, least=1) and hops <= _MOST):
            raise SetupError(f"hops is the number of proxies, 1 to {_MOST}: not {hops!r}")
        if hops is None and any(network.prefixlen == 0 for network in self._networks):
            raise SetupError(
                "to trust every address is to believe every client: say how many proxies there are, hops=1"
            )
        self._hops = hops
        self._takes_host = host
        self._elements = _forwarded if forwarded else _x_forwarded

    def before(self, request: Request) -> None:
        """Believes the peer, if it is a proxy."""
        peer = request.client
        if not self._trusts(_ip(peer.host) if peer is not None else None):
            return
        told, node = self._counted(request) if self._hops else self._walked(request)
        if node is not None:
            request.client = Address(str(node[0]), node[1])
        scheme = told.get("proto", "").lower()
        if scheme in ("http", "https"):
            request.scheme = scheme
        if self._takes_host and told.get("host"):
            with suppress(ValueError):
                request.host = told["host"]

    def _counted(self, request: Request) -> tuple[Element, Node | None]:
        """What so many proxies as there are say, the outermost one above all, and whom that one names."""
        elements = list(islice(self._elements(request), self._hops))
        is_complete = len(elements) == self._hops  # if not, it came past some of them
        return dict(ChainMap(*reversed(elements))), _node(elements[-1]) if is_complete else None

    def _walked(self, request: Request) -> tuple[Element, Node | None]:
        """The same, as far as each is trusted by its address; no node if there is one that can't be read."""
        told: Element = {}
        node = None
        for element in self._elements(request):
            told.update(element)
            node = _node(element)
            if node is None or not self._trusts(node[0]):
                break
        return told, node

    def _trusts(self, ip: IP | None) -> bool:
        if ip is None:  # every peer but a UNIX socket's has an address
            return self._trusts_unix
        return any(ip in network for network in self._networks)


def _x_forwarded(request: Request) -> Iterator[Element]:
    """What each proxy said, the nearest first. Its own are the last scheme and host: not every one appends to them."""
    headers = request.headers
    nearest = {name: headers.get(f"x-forwarded-{name}", "").rpartition(",")[2].strip() for name in ("proto", "host")}
    for node in _entries(headers.get("x-forwarded-for", "")):
        yield {"for": node, **nearest}


def _forwarded(request: Request) -> Iterator[Element]:
    """The same from ``for=192.0.2.1;proto=https, for="[2001:db8::1]:80"``.

    Split without regard to quotes: nothing that is looked for has "," or ";" in it, and a quote that a client left
    open must not swallow what the proxies wrote.
    """
    for entry in _entries(request.headers.get("forwarded", "")):
        pairs = (pair.partition("=") for pair in entry.split(";"))
        yield {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}


def _entries(header: str) -> Iterator[str]:
    # What is left after so many is one entry with commas in it, which nobody can read.
    return (entry.strip() for entry in reversed(header.rsplit(",", _MOST)))


def _node(element: Element) -> Node | None:
    """The address and port (0 if there is none) that a proxy was connected from; None for what can't be read."""
    text = element.get("for", "")
    found = _NODE.fullmatch(text) if len(text) <= _LONGEST_NODE else None
    if found is None:
        return None
    ip = _ip(found["v6"] or found["v4"] or found[0])
    port = int(found["port"] or 0)
    return (ip, port) if ip is not None and port <= 65535 else None


@lru_cache(maxsize=1024)  # proxies are few, and a client asks more than once
def _ip(text: str) -> IP | None:
    try:
        ip = ip_address(text)
    except ValueError:
        return None
    # A socket for both families shows IPv4 peers as "::ffff:192.0.2.1".
    return (ip.ipv4_mapped if isinstance(ip, IPv6Address) else None) or ip


def _network(peer: object) -> Network:
    try:
        if isinstance(peer, str):
            return ip_network(peer)
        reason = "it is no text"
    except ValueError as error:
        reason = str(error)
    raise SetupError(
        f'trusted takes addresses and networks such as "10.0.0.1" and "10.0.0.0/8", and "unix": not {peer!r} ({reason})'
    )
