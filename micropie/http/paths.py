"""The segments of a request's path: decoding, and the ones that no path may have."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from micropie.errors import BadRequest

# Browsers and proxies resolve them, so the router would see another path than they do (RFC 3986, section 5.2.4).
DOTS_AND_EMPTY = frozenset({"", ".", ".."})


def decoded_segment(segment: bytes) -> str:
    """Decode one segment. Raises 400 if it is not UTF-8 or has a NUL."""
    try:
        text = unquote_to_bytes(segment).decode() if b"%" in segment else segment.decode()
    except UnicodeDecodeError:
        raise BadRequest("The path must be UTF-8.") from None
    if "\0" in text:
        raise BadRequest("The path must not have a NUL.")
    return text
