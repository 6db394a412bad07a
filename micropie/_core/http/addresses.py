"""Parts of a URL: hosts, origins, and the segments of a path."""

from __future__ import annotations

import ipaddress
from binascii import a2b_qp
from collections.abc import Iterable
from typing import Generic, TypeVar
from urllib.parse import quote, unquote_to_bytes, urlsplit

from micropie._core.errors import BadRequest, SetupError, check, refuse_text
from micropie._core.on_demand import pattern

Entry = TypeVar("Entry")

# The characters that a URL's path may have unescaped: RFC 3986, section 3.3.
SEGMENT_SAFE = ":@!$&'()*+,;=~"
PATH_SAFE = f"/{SEGMENT_SAFE}"

# RFC 3986, section 3.2.2, less what no browser sends: a name or IPv4 address, or an IPv6 address in
# brackets.
_HOST = pattern(r"(?P<name>[A-Za-z0-9._~\-]+|\[(?P<v6>[0-9A-Fa-f:.]+)\])(?::(?P<port>[0-9]{1,5}))?")


def is_host(host: str) -> bool:
    """Return whether ``host`` is well-formed and its port is one that exists."""
    match = _HOST.fullmatch(host)
    if match is None or int(match["port"] or 0) > 65535:
        return False
    return match["v6"] is None or normal_host(match["name"]) != ""


# The scheme of a page, by the scheme that is stated: of a WebSocket some proxies state its own.
PAGE_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


def checked_base(scheme: str, host: str) -> tuple[str, str]:
    """Return the scheme and the host with which links begin: ``http`` or ``https``, and a
    well-formed host. "" is for what is not stated, and stays.

    Raises 400 for another scheme, and for a malformed host.
    """
    stated = scheme.strip(" \t").lower()
    page_scheme = PAGE_SCHEMES.get(stated, "")
    if stated and not page_scheme:
        raise BadRequest("The scheme must be http or https.")
    if host and not is_host(host):
        raise BadRequest("The host must be one name or address, with or without a port.")
    return page_scheme, host


# -- tables of hosts -------------------------------------------------------------------------------

_HOST_OF_A_TABLE = pattern(r"(?:\*\.)?(?:[a-z0-9_\-]+\.)*[a-z0-9_\-]+")


def normal_host(host: object) -> str:
    """Return a host of a ``HostTable`` in the spelling that can be compared, "" if it is none.

    It is a name without a port, an address (IPv6 gets brackets), or ``*.`` and a name for all its
    subdomains.
    """
    name = host.lower().removesuffix(".") if isinstance(host, str) else ""
    if _HOST_OF_A_TABLE.fullmatch(name):
        return name
    try:
        return f"[{ipaddress.IPv6Address(name.removeprefix('[').removesuffix(']'))}]"
    except ValueError:
        return ""


def normal_hosts(hosts: object) -> list[str]:
    """Return one host, or a list of them, in this spelling; [] if there is none, or one is
    malformed.
    """
    found = [normal_host(host) for host in (hosts if isinstance(hosts, list | tuple) else [hosts])]
    return found if all(found) else []


class HostTable(Generic[Entry]):
    """Entries, none of them None, by normal hosts.

    ``*.`` stands for any depth, but not for the name itself.

    Names are compared without regular expressions, where an unescaped dot would admit other hosts.
    Raises ``SetupError`` if two entries have the same host.
    """

    def __init__(self, entries: Iterable[tuple[str, Entry]]) -> None:
        self._entries: dict[str, Entry] = {}
        for host, entry in entries:
            if self._entries.setdefault(host, entry) is not entry:
                raise SetupError(
                    f"two applications have the host {host!r}: give one of them another one"
                )
        self._suffixes = sorted(
            (host[1:] for host in self._entries if host.startswith("*")), key=len, reverse=True
        )

    def find(self, host: str) -> Entry | None:
        """Return the entry of a well-formed host in lower case.

        A final dot and a port make no difference.
        """
        # The brackets of IPv6 have colons between them.
        name = (
            normal_host(host.partition("]")[0])
            if "]" in host
            else host.partition(":")[0].removesuffix(".")
        )
        if name in self._entries or name.startswith("."):  # ".example.com" is no subdomain
            return self._entries.get(name)
        return next(
            (self._entries[f"*{end}"] for end in self._suffixes if name.endswith(end)), None
        )


# The address of an application on a host of its own begins with two slashes, as that of a URL
# without a scheme does: "//api.example.com/v1" (RFC 3986, section 4.2). No path of an application
# does.


def split_host(address: str) -> tuple[str, str]:
    """Return the host of an application's address with its slashes, "" if it has none, and the
    path.
    """
    if not address.startswith("//"):
        return "", address
    host, slash, path = address[2:].partition("/")
    return f"//{host}", slash + path


def quoted_address(address: str) -> str:
    """Return an application's address with its path escaped."""
    host, path = split_host(address)
    return host + quote(path)


def with_host(url: str, host: str) -> str:
    """Return an absolute URL with another host on the same port."""
    parts = urlsplit(url)
    return parts._replace(netloc=host if parts.port is None else f"{host}:{parts.port}").geturl()


# -- origins ---------------------------------------------------------------------------------------

# As browsers write them: a scheme, a host, and a port unless it is the scheme's own (RFC 6454,
# section 6.2). ``null``, for example of a sandboxed frame, is never valid here, so it can't be
# trusted.

# Any scheme: the origin of applications on phones is "capacitor://localhost".
_ORIGIN = pattern(
    r"(?P<scheme>[a-z][a-z0-9+.\-]*)://(?:[a-z0-9._~\-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?"
)
_DEFAULT_PORT = {"http": ":80", "https": ":443"}


def normal_origin(origin: str) -> str:
    """Return ``origin`` in the spelling that can be compared, "" if it is malformed."""
    lower = origin.lower()
    match = _ORIGIN.fullmatch(lower)
    return lower.removesuffix(_DEFAULT_PORT.get(match["scheme"], "/")) if match else ""


def checked_origins(origins: Iterable[str], argument: str) -> frozenset[str]:
    """Return the origins in their normal spelling.

    Raises ``SetupError`` for one that is malformed.
    """
    refuse_text(argument, origins)
    expected = (
        "origins, a scheme and a host without a path or an end slash, "
        'such as "https://app.example.com"'
    )
    found = set()
    for origin in origins:
        normal = normal_origin(origin) if isinstance(origin, str) else ""
        check(argument, normal != "", origin, expected)
        found.add(normal)
    return frozenset(found)


def is_base_url(value: object) -> bool:
    """Return whether ``value`` is an http or https URL that paths can follow: an origin, and a path
    perhaps.
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

# Browsers and proxies resolve them, so the router would see another path than they do (RFC 3986,
# section 5.2.4).
DOTS_AND_EMPTY = frozenset({"", ".", ".."})


def leads_up(text: str) -> bool:
    """Return whether a path, or a segment with escaped slashes, leads out of a directory that it is
    joined to.
    """
    return ".." in text and ".." in text.split("/")


def escaped_path(path: bytes) -> bytes:
    """Return a decoded path as a raw one: the characters that would end it, or begin an escape, are
    escaped.
    """
    return path.replace(b"%", b"%25").replace(b"?", b"%3F").replace(b"#", b"%23")


def decoded_segments(path: bytes) -> list[str]:
    """Return the segments of an escaped path, each decoded.

    Raises 400 if it is not UTF-8 or has a NUL.
    """
    try:
        # All at once, apart from each other by what none may have: a path may have thousands.
        segments = unescaped(path.replace(b"/", b"\0")).decode().split("\0")
    except UnicodeDecodeError:
        raise BadRequest("The path must be UTF-8.") from None
    if len(segments) > path.count(b"/") + 1:
        raise BadRequest("The path must not have a NUL.")
    return segments


def unescaped(data: bytes) -> bytes:
    """Return what ``unquote_to_bytes`` returns, in a fifth of the time: it is written in Python.

    Quoted-printable text has "=" for "%". It drops "=" at the end of a line, and leaves one that
    begins no escape: the result is too long then.
    """
    if b"%" not in data:
        return data
    quoted = data.replace(b"=", b"=3D") if b"=" in data else data
    if b"%\n" not in data and b"%\r" not in data:
        made = a2b_qp(quoted.replace(b"%", b"="))
        if len(made) == len(data) - 2 * data.count(b"%"):
            return made
    return a2b_qp(_NO_ESCAPE.sub(b"=25", quoted).replace(b"%", b"="))


_NO_ESCAPE = pattern(rb"%(?![0-9A-Fa-f]{2})")


def raw_path_below(mount: bytes, raw_path: bytes) -> bytes:
    """Return the part of an escaped path below the decoded path ``mount``; b"", which is no path,
    if it is not below.

    The first segments, each decoded by itself, must be those of ``mount``. An escaped slash
    separates no segments, so ``/app%2Fx`` is not below ``/app``, although the decoded paths look
    so.
    """
    depth = mount.count(b"/") + 1
    segments = raw_path.split(b"/")
    is_below = b"/".join(map(unquote_to_bytes, segments[:depth])) == mount
    return b"/" + b"/".join(segments[depth:]) if is_below else b""
