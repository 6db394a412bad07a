"""The head of an answer as ASGI messages want it: headers in bytes, the frequent ones encoded once."""

from __future__ import annotations

from collections.abc import Iterable

from micropie.http import HTML, JSON, LONGEST_KEPT, NOSNIFF, TEXT, NameCache


class _ContentTypes(dict[str, tuple[bytes, bytes]]):
    """Content-Type headers, encoded once."""

    def __missing__(self, content_type: str) -> tuple[bytes, bytes]:
        header = (b"content-type", content_type.encode("latin-1"))
        # An application has few, but a multipart answer's boundary differs each time.
        if len(self) < 64 and len(content_type) <= LONGEST_KEPT:
            self[content_type] = header
        return header


class _Lengths(dict[int, tuple[bytes, bytes]]):
    """Content-Length headers, encoded once for short answers and for the first lengths of long ones, such as files."""

    def __missing__(self, length: int) -> tuple[bytes, bytes]:
        header = (b"content-length", b"%d" % length)
        if length < 4096 or len(self) < 8192:  # this bounds the table
            self[length] = header
        return header


CONTENT_TYPES = _ContentTypes({text: (b"content-type", text.encode()) for text in (HTML, JSON, TEXT)})
LENGTHS = _Lengths()
ENCODED_NOSNIFF = b"x-content-type-options", b"nosniff"
_NAMES = NameCache(lambda name: name.encode("latin-1"))


def encode_headers(
    content_type: str | None, length: int | None, pairs: Iterable[tuple[str, str]]
) -> list[tuple[bytes, bytes]]:
    """Return headers as ASGI wants them: a new list of bytes, with names in lower case."""
    headers = []
    for pair in pairs:
        if pair is NOSNIFF:
            headers.append(ENCODED_NOSNIFF)
        else:
            name, value = pair
            headers.append((_NAMES[name], value.encode("latin-1")))
    if content_type is not None:
        headers.append(CONTENT_TYPES[content_type])
    if length is not None:
        headers.append(LENGTHS[length])
    return headers
