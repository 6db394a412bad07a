"""Parse and join URLs, and split headers, that may contain a client's input.

``urllib.parse`` isn't used because it normalizes hosts (NFKC) in quadratic time and caches recent
URLs of any length.
"""

from __future__ import annotations

import re

# Groups: scheme, authority, path, query, fragment. RFC 3986, appendix B.
_PARTS = re.compile(
    r"(?:([A-Za-z][A-Za-z0-9+.-]*):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL
)

# The first expression matches an element of a comma-separated header, the second a parameter of an
# element. Separators in quotes are skipped. An unclosed quote matches up to the header's end.
# Otherwise the search would start again at each quote, which takes quadratic time.
ELEMENT = re.compile(r'(?:"(?:[^"\\]|\\.)*+"?+|[^",])++')
PARAMETER = re.compile(r'(?:"(?:[^"\\]|\\.)*+"?+|[^";])++')

# Characters that browsers and ``urllib.parse`` remove: WHATWG URL, section 4.4.
_BLANKS, _DROPPED = "".join(map(chr, range(33))), dict.fromkeys(map(ord, "\t\r\n"))
_AS_READ = {**_DROPPED, ord("\\"): "/"}  # browsers also read "\" as "/"


def first_value(header: str | None) -> str:
    """Return the first value of a comma-separated header, or "" if the header is missing."""
    return (header or "").partition(",")[0].strip(" \t")


def join(base: str, reference: str) -> str:
    """Return ``reference`` as an absolute URL. A relative reference is resolved against ``base``,
    as by ``urllib.parse.urljoin``.

    RFC 3986, section 5.2. A reference with the scheme of ``base`` but without a host counts as
    relative.
    """
    if not base or not reference:
        return reference or base
    scheme, host, path, query, fragment = _parts(reference)
    base_scheme, base_host, base_path, base_query, _ = _parts(base)
    if scheme not in ("", base_scheme) or base_scheme not in ("", "http", "https"):
        return reference
    if not host:
        host = base_host
        if path:
            path = resolved(base_path, path)
        else:
            path, query = base_path, query or base_query
    return (
        (f"{base_scheme}:" if base_scheme else "")
        + (f"//{host}" if host else "")
        + ("/" if host and path and not path.startswith("/") else "")
        + path
        + (f"?{query}" if query else "")
        + (f"#{fragment}" if fragment else "")
    )


def leads_away(reference: str, base: str) -> bool:
    """Return whether the link ``reference``, on a page at ``base``, has another scheme or host."""
    seen = reference.strip(_BLANKS).translate(_AS_READ)
    scheme, host, *_ = _parts(seen)
    return bool(scheme or seen.startswith("//")) and (scheme, host.lower()) != _parts(base)[:2]


def _parts(address: str) -> tuple[str, str, str, str, str]:
    address = address.lstrip(_BLANKS)
    found = _PARTS.fullmatch(address if address.isprintable() else address.translate(_DROPPED))
    scheme, host, path, query, fragment = found.groups("") if found else ("", "", address, "", "")
    return scheme.lower(), host, path, query, fragment


def plain_path(path: str) -> str:
    """Return an absolute path with ".", ".." and empty segments resolved."""
    return resolved("/", path[1:]) if "/." in path or "//" in path else path


def resolved(base: str, path: str) -> str:
    """Return ``path``, which may be relative to the path ``base``, with "." and ".." resolved.

    RFC 3986, section 5.2.4.
    """
    if path.startswith("/") and "/." not in path:
        return path
    segments = path.split("/")
    if not path.startswith("/"):
        directory = base.split("/")
        if directory[-1]:
            directory.pop()
        segments = [*directory, *segments]
        segments[1:-1] = filter(None, segments[1:-1])
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            if kept not in ([], [""]):
                kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/".join(kept) or "/"
