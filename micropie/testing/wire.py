"""A request as a server reads it from the connection: target, headers and body, the same for both protocols.

httpx normalises URLs (``/../y`` becomes ``/y``, ``//x`` names a host). The extension
``extensions={"target": b"/../y?a=%ff"}``, which httpcore also supports, gives the exact bytes of a target.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast
from urllib.parse import unquote_to_bytes

import httpx

__all__ = ["RequestBody", "Target", "is_below", "lower_case", "server_address"]

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class Target:
    """The request target: the part of a request's first line between the method and the version."""

    def __init__(self, request: httpx.Request) -> None:
        raw = request.extensions.get("target", request.url.raw_path)
        self.raw: bytes = raw.encode("latin-1") if isinstance(raw, str) else bytes(raw)
        self.path, _, self.query = self.raw.partition(b"?")

    @property
    def decoded_path(self) -> bytes:
        """The path without its percent-encoding, as bytes. Each protocol decodes them in its own way."""
        return unquote_to_bytes(self.path)


def is_below(path: bytes, root: bytes) -> bool:
    """Return whether ``path`` is in the mount ``root``; ``/subway`` is not in ``/sub``."""
    return not root or (path.startswith(root) and path[len(root) :][:1] in (b"", b"/"))


def lower_case(headers: httpx.Headers) -> list[tuple[bytes, bytes]]:
    """Return the headers in their order, with names in lower case and unchanged values."""
    return [(name.lower(), value) for name, value in headers.raw]


def server_address(url: httpx.URL) -> tuple[str, int]:
    return url.host, url.port or DEFAULT_PORTS.get(url.scheme, 80)


class RequestBody:
    """The body as a server would read it: in chunks, never past the Content-Length.

    A fixed body (bytes, form, JSON) is ``whole``. Any other body (an iterator, an upload) is pulled chunk by chunk, in
    the test's thread, when the application asks for more.
    """

    def __init__(self, request: httpx.Request) -> None:
        stream = request.stream
        self.length = self._declared_length(request.headers)
        self.is_chunked = self.length is None and "transfer-encoding" in request.headers
        self.whole: bytes | None = None
        self._remaining = self.length
        if isinstance(stream, httpx.ByteStream):
            content = b"".join(stream)
            self.whole = content if self.length in (None, len(content)) else None
            self._chunks: Iterator[bytes] = iter([content])
        else:
            # httpx.Client refuses asynchronous streams.
            self._chunks = iter(cast(httpx.SyncByteStream, stream))

    @staticmethod
    def _declared_length(headers: httpx.Headers) -> int | None:
        """Return the Content-Length; None also for a malformed one, which the application has to refuse."""
        value = headers.get("content-length", "")
        return int(value) if value.isascii() and value.isdigit() else None

    def next_chunk(self) -> bytes:
        """Return the next chunk, ``b""`` after the last one. Empty chunks are skipped: HTTP can't send them."""
        for chunk in self._chunks:
            taken = chunk if self._remaining is None else chunk[: self._remaining]
            if self._remaining is not None:
                self._remaining -= len(taken)
            if taken:
                return taken
        return b""

    @property
    def fell_short(self) -> bool:
        """After the last chunk: whether the body was shorter than its Content-Length."""
        return bool(self._remaining)
