"""Parts of a URL: hosts, origins, and the segments of a path."""

from __future__ import annotations

import ipaddress
from binascii import a2b_qp
from collections.abc import Iterable
from typing import Any, Generic, TypeVar
from urllib.parse import quote, unquote_to_bytes, urlsplit

from micropie._core.errors import BadRequest, SetupError, check, refuse_text
from micropie._core.on_demand import pattern

Entry = TypeVar("Entry")

# The characters that may appear unescaped in a URL's path: RFC 3986, section 3.3.
SEGMENT_SAFE = ":@!$&'()*+,;=~"
PATH_SAFE = f"/{SEGMENT_SAFE}"

# A host by RFC 3986, section 3.2.2, but without the characters that no browser sends: a name or an
# IPv4 address, or an IPv6 address in brackets.
_HOST = pattern(r"(?P<name>[A-Za-z0-9._~\-]+|\[(?P<v6>[0-9A-Fa-f:.]+)\])(?::(?P<port>[0-9]{1,5}))?")


# The host of a request without one. The server's own name can't take its place: depending on the
# server, it is the path of a UNIX socket, a made-up name or the machine's internal name.
NO_HOST = "localhost"


def is_host(host: str) -> bool:
    """Return whether ``host`` is well-formed and its port, if any, is at most 65535."""
    match = _HOST.fullmatch(host)
    if match is None or int(match["port"] or 0) > 65535:
        return False
    return match["v6"] is None or normal_host(match["name"]) != ""


# Maps the scheme in a proxy's header to the scheme of the page. For WebSockets, some proxies send
# ws or wss.
PAGE_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


def checked_base(scheme: str, host: str) -> tuple[str, str]:
    """Check the scheme and the host with which links begin. Return the scheme as ``http`` or
    ``https``, and the host. An empty scheme or host is returned unchanged.

    Raises 400 for another scheme, and for a malformed host.
    """
    stated = scheme.strip(" \t").lower()
    page_scheme = PAGE_SCHEMES.get(stated, "")
    if stated and not page_scheme:
        raise BadRequest(
            "The server or a proxy gave this request a scheme other than http and https."
        )
    if host and not is_host(host):
        raise BadRequest("The request's host must be one name or address, with or without a port.")
    return page_scheme, host


def ip_of(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return an IP address. If it is an IPv4 address in IPv6, such as "::ffff:192.0.2.1", by which
    a dual-stack socket shows IPv4 peers, return the IPv4 address.

    Raises ``ValueError`` for any other text.
    """
    ip = ipaddress.ip_address(text)
    return (ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None) or ip


# -- tables of hosts -------------------------------------------------------------------------------

_HOST_OF_A_TABLE = pattern(r"(?:\*\.)?(?:[a-z0-9_\-]+\.)*[a-z0-9_\-]+")


def normal_host(host: object) -> str:
    """Return ``host`` in normal spelling, so that hosts can be compared with ``==``; "" if it is
    malformed.

    A host is a name without a port, an IP address (an IPv6 address gets brackets), or ``*.`` and a
    name, which means all subdomains of the name.
    """
    name = host.lower().removesuffix(".") if isinstance(host, str) else ""
    if _HOST_OF_A_TABLE.fullmatch(name):
        return name
    try:
        return f"[{ipaddress.IPv6Address(name.removeprefix('[').removesuffix(']'))}]"
    except ValueError:
        return ""


def normal_hosts(hosts: object) -> list[str]:
    """Return ``hosts``, one host or a list, as a list in normal spelling. Return [] if there is no
    host, or if any host is malformed.
    """
    found = [normal_host(host) for host in (hosts if isinstance(hosts, list | tuple) else [hosts])]
    return found if all(found) else []


def server_address(server: object) -> tuple[str, int]:
    """Return the name and the port in ``server``, the address at which a server listens. For a UNIX
    socket, servers set a path, a part of it, a made-up name or nothing: return ``NO_HOST`` and 0
    instead.
    """
    parts: Iterable[Any] = server if isinstance(server, tuple | list) else ()
    name, port, *_ = *parts, "", ""
    if not normal_host(name) or name.endswith(".invalid"):
        return NO_HOST, 0
    return name, int(port) if f"{port}".isdecimal() else 0


class HostTable(Generic[Entry]):
    """A table that maps hosts in normal spelling to entries, which are never None.

    ``*.example.com`` matches subdomains at any depth, but not ``example.com``.

    Hosts can't be regular expressions, because an unescaped dot would match other hosts as well.
    Raises ``SetupError`` if two entries have the same host.
    """

    def __init__(self, entries: Iterable[tuple[str, Entry]]) -> None:
        self._entries: dict[str, Entry] = {}
        for host, entry in entries:
            if self._entries.setdefault(host, entry) is not entry:
                raise SetupError(
                    f"two applications have the host {host!r}: give one of them another host"
                )
        self._suffixes = sorted(
            (host[1:] for host in self._entries if host.startswith("*")), key=len, reverse=True
        )

    def find(self, host: str) -> Entry | None:
        """Return the entry for a well-formed host in lower case.

        A trailing dot and a port are ignored.
        """
        # An IPv6 address contains colons, so it ends at its "]" and not at the first colon.
        name = (
            normal_host(host.partition("]")[0])
            if "]" in host
            else host.partition(":")[0].removesuffix(".")
        )
        if name in self._entries or name.startswith("."):  # ".example.com" matches nothing
            return self._entries.get(name)
        return next(
            (self._entries[f"*{end}"] for end in self._suffixes if name.endswith(end)), None
        )


# The address of an application is its path. If the application has its own host, two slashes and
# the host come before the path: "//api.example.com/v1", like a URL without a scheme (RFC 3986,
# section 4.2). No path of an application begins with two slashes.


def split_host(address: str) -> tuple[str, str]:
    """Return the two parts of an application's address: the host with its slashes ("" if there is
    none) and the path.
    """
    if not address.startswith("//"):
        return "", address
    host, slash, path = address[2:].partition("/")
    return f"//{host}", slash + path


def quoted_address(address: str) -> str:
    """Return an application's address with its path escaped as browsers escape it. They compare
    this text with the path of a cookie, which can't have a semicolon.
    """
    host, path = split_host(address)
    return host + quote(path, safe=PATH_SAFE).replace(";", "%3B")


def with_host(url: str, host: str) -> str:
    """Return an absolute URL with another host but the same port."""
    parts = urlsplit(url)
    return parts._replace(netloc=host if parts.port is None else f"{host}:{parts.port}").geturl()


# -- origins ---------------------------------------------------------------------------------------

# Origins as browsers write them: a scheme, a host, and a port unless it is the scheme's default
# (RFC 6454, section 6.2). Browsers also send ``null``, for example for a sandboxed frame. ``null``
# is never valid here, so no application can trust it by mistake.

# Any scheme is allowed, because phone apps have origins such as "capacitor://localhost".
_ORIGIN = pattern(
    r"(?P<scheme>[a-z][a-z0-9+.\-]*)://(?:[a-z0-9._~\-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?"
)
_DEFAULT_PORT = {"http": ":80", "https": ":443"}


def normal_origin(origin: str) -> str:
    """Return ``origin`` in normal spelling, so that origins can be compared with ``==``; "" if it
    is malformed.
    """
    lower = origin.lower()
    match = _ORIGIN.fullmatch(lower)
    return lower.removesuffix(_DEFAULT_PORT.get(match["scheme"], "/")) if match else ""


def _split_wildcard(origin: str) -> tuple[str, str]:
    """Return an origin without the ``*`` of ``https://*.example.com``, and the part before it, in
    lower case; "" if there is none.
    """
    scheme, wildcard, rest = origin.partition("://*.")
    return (f"{scheme}://{rest}", f"{scheme.lower()}://") if wildcard else (origin, "")


class Origins:
    """A set of origins. ``https://*.example.com`` stands for the subdomains at any depth, but not
    for ``https://example.com``.
    """

    def __init__(self, origins: Iterable[str]) -> None:
        self._exact, self._wildcards = set[str](), list[tuple[str, str]]()
        for origin in origins:
            plain, start = _split_wildcard(origin)
            normal = normal_origin(plain)
            if start:
                self._wildcards.append((start, f".{normal.removeprefix(start)}"))
            else:
                self._exact.add(normal)

    def __bool__(self) -> bool:
        return bool(self._exact or self._wildcards)

    def __contains__(self, origin: str) -> bool:
        """Return whether the set contains an origin in normal spelling. Any other text is in no
        set, even if it begins and ends like a subdomain.
        """
        return origin in self._exact or any(
            origin.startswith(start)
            and origin.endswith(end)
            and len(origin) > len(start + end)
            and normal_origin(origin) == origin
            for start, end in self._wildcards
        )


def checked_origins(origins: Iterable[str], argument: str) -> Origins:
    """Return a set of origins. Raises ``SetupError`` for a malformed origin."""
    refuse_text(argument, origins)
    expected = (
        "origins (scheme and host, without a path or trailing slash), such as "
        '"https://app.example.com" or "https://*.example.com"'
    )
    listed = list(origins)
    for origin in listed:
        check(argument, origin != "*" and is_origin(origin), origin, expected)
    return Origins(listed)


def is_base_url(value: object) -> bool:
    """Return whether ``value`` is an http or https URL to which a path can be appended: an origin,
    or an origin with a path.
    """
    if (
        not isinstance(value, str)
        or not value.isprintable()
        or not {" ", "?", "#"}.isdisjoint(value)
    ):
        return False
    scheme, _, rest = value.partition("://")
    return scheme in _DEFAULT_PORT and is_host(rest.partition("/")[0])


# -- segments --------------------------------------------------------------------------------------

# Paths with these segments are refused. Browsers and proxies resolve such segments (RFC 3986,
# section 5.2.4), so they would see a different path than the router.
DOTS_AND_EMPTY = frozenset({"", ".", ".."})


def leads_up(text: str) -> bool:
    """Return whether a path, or a decoded segment with slashes, points outside the directory to
    which it is appended.
    """
    return ".." in text and ".." in text.split("/")


def escaped_path(path: bytes) -> bytes:
    """Escape the characters of a decoded path that would end the path or begin an escape."""
    return path.replace(b"%", b"%25").replace(b"?", b"%3F").replace(b"#", b"%23")


def decoded_segments(path: bytes) -> list[str]:
    """Return the segments of an escaped path, each decoded.

    Raises 400 if the path is not valid UTF-8 or has a NUL.
    """
    try:
        # Decode all segments at once, because a path may have thousands. Separate them by NUL,
        # because no segment may contain it.
        segments = unescaped(path.replace(b"/", b"\0")).decode().split("\0")
    except UnicodeDecodeError:
        raise BadRequest("The path must be UTF-8.") from None
    if len(segments) > path.count(b"/") + 1:
        raise BadRequest("The path must not contain a NUL character.")
    return segments


# 37 is the code of "%". ``37 in data`` is six times as fast as ``b"%" in data``.
PERCENT, _LINE_FEED, _CARRIAGE_RETURN = b"%\n\r"


def unescaped(data: bytes) -> bytes:
    """Decode percent escapes, like ``urllib.parse.unquote_to_bytes`` but five times as fast.

    The decoder of quoted-printable text is used, because it is written in C. It expects "=" instead
    of "%". It drops a "=" at the end of a line, and keeps a "=" that begins no valid escape. In
    both cases the result has an unexpected length. Then each "%" that begins no valid escape is
    escaped, and the text is decoded again.
    """
    if PERCENT not in data:
        return data
    quoted = data.replace(b"=", b"=3D")
    if _LINE_FEED not in data and _CARRIAGE_RETURN not in data:
        made = a2b_qp(quoted.replace(b"%", b"="))
        if len(made) == len(data) - 2 * data.count(b"%"):
            return made
    return a2b_qp(_NO_ESCAPE.sub(b"=25", quoted).replace(b"%", b"="))


_NO_ESCAPE = pattern(rb"%(?![0-9A-Fa-f]{2})")


def raw_path_below(mount: bytes, raw_path: bytes) -> bytes:
    """Return the part of an escaped path after the decoded path ``mount``. If the path is not under
    ``mount``, return b"", which is never a path.

    The first segments, each decoded on its own, must be those of ``mount``. An escaped slash
    doesn't separate segments, so ``/app%2Fx`` is not under ``/app``, although its decoded form is
    ``/app/x``.
    """
    depth = mount.count(b"/") + 1
    segments = raw_path.split(b"/")
    is_below = b"/".join(map(unquote_to_bytes, segments[:depth])) == mount
    return b"/" + b"/".join(segments[depth:]) if is_below else b""


def is_origin(value: object) -> bool:
    """Return whether the setting ``websocket_origins`` may contain ``value``. After ``*.``, a host
    needs a dot, because nobody owns all hosts below ``com``.
    """
    if not isinstance(value, str) or value == "*":
        return value == "*"
    plain, start = _split_wildcard(value)
    return bool(normal_origin(plain)) and (not start or "." in plain)
