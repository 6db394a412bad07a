"""Charsets that a client names: of a form, or of a word in a header."""

from __future__ import annotations

from encodings import normalize_encoding
from encodings.aliases import aliases

# Python remembers each name that it has ever looked up, and some of its codecs take quadratic time: punycode 15 s for
# 200 KB. So only names of its table are looked up. The codecs for domains and literals are not in it.
_KNOWN = {*aliases, *aliases.values(), "koi8_u", "utf_8_sig"}


def decode_as(data: bytes, charset: str) -> str:
    """Return bytes as text. Raises ``LookupError`` for an unknown charset, ``UnicodeDecodeError`` for other bytes."""
    name = normalize_encoding(charset).lower()
    if name not in _KNOWN:
        raise LookupError(f"unknown encoding: {charset}")
    return data.decode(name)
