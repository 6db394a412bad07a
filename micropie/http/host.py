"""The Host header: a name or an address, with or without a port."""

from __future__ import annotations

import ipaddress
import re

# RFC 3986, section 3.2.2, less what no browser sends: a name or IPv4 address, or an IPv6 address in brackets.
_HOST = re.compile(r"(?P<name>[A-Za-z0-9._~\-]+|\[(?P<v6>[0-9A-Fa-f:.]+)\])(?::(?P<port>[0-9]{1,5}))?")


def is_host(host: str) -> bool:
    """Return whether ``host`` is well-formed and its port is one that exists."""
    match = _HOST.fullmatch(host)
    if match is None or int(match["port"] or 0) > 65535:
        return False
    if match["v6"] is None:
        return True
    try:
        ipaddress.IPv6Address(match["v6"])
    except ValueError:
        return False
    return True
