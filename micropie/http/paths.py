"""A request path's segments: decoded, and which of them no path may have."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from micropie.errors import BadRequest

# They mean something to browsers and proxies that would not be what the router sees (RFC 3986, section 5.2.4).
DOTS_AND_EMPTY = frozenset({"", ".", ".."})


def decoded_segment(segment: bytes) -> str:
    """One segment as text. Raises 400 for what is not UTF-8, and for a NUL."""
    try:
        text = unquote_to_bytes(segment).decode() if b"%" in segment else segment.decode()
    except UnicodeDecodeError:
        raise BadRequest("The path must be UTF-8.") from None
    if "\0" in text:
        raise BadRequest("The path must not have a NUL.")
    return text
