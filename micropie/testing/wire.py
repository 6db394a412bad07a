"""What a server reads from the wire: a request's target, headers and body, the same for both protocols.

httpx normalises URLs (`/../y` becomes `/y`, `//x` names a host), so the exact bytes of a target can be given
as `extensions={"target": b"/../y?a=%ff"}`, as httpcore knows it too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast
from urllib.parse import unquote_to_bytes

import httpx

__all__ = ["RequestBody", "Target", "is_below", "lower_case", "server_address"]

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class Target:
    """The request target: what stands in the first line of a request, between the method and the version."""

    def __init__(self, request: httpx.Request) -> None:
        raw = request.extensions.get("target", request.url.raw_path)
        self.raw: bytes = raw.encode("latin-1") if isinstance(raw, str) else bytes(raw)
        self.path, _, self.query = self.raw.partition(b"?")

    @property
    def decoded_path(self) -> bytes:
        """The path without its percent-encoding, as bytes: what they mean is for each protocol to say."""
        return unquote_to_bytes(self.path)


def is_below(path: bytes, root: bytes) -> bool:
    """Whether `path` lies in the mount `root`; `/subway` does not lie in `/sub`."""
    return not root or (path.startswith(root) and path[len(root) :][:1] in (b"", b"/"))


def lower_case(headers: httpx.Headers) -> list[tuple[bytes, bytes]]:
    """The headers in the order they were given, names in lower case, values untouched."""
    return [(name.lower(), value) for name, value in headers.raw]


def server_address(url: httpx.URL) -> tuple[str, int]:
    return url.host, url.port or DEFAULT_PORTS.get(url.scheme, 80)


class RequestBody:
    """The body as a server would take it from the wire: in chunks, never past the Content-Length.

    A fixed body (bytes, form, JSON) is `whole`. Anything else (an iterator, an upload) is pulled chunk by
    chunk, in the thread of the test, when the application asks for more.
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
            # httpx.Client lets no asynchronous stream come here.
            self._chunks = iter(cast(httpx.SyncByteStream, stream))

    @staticmethod
    def _declared_length(headers: httpx.Headers) -> int | None:
        """None as well for one that makes no sense: to refuse it is what the application is tested for."""
        value = headers.get("content-length", "")
        return int(value) if value.isascii() and value.isdigit() else None

    def next_chunk(self) -> bytes:
        """The next chunk, `b""` after the last one. Empty chunks don't exist on the wire and are left out."""
        for chunk in self._chunks:
            taken = chunk if self._remaining is None else chunk[: self._remaining]
            if self._remaining is not None:
                self._remaining -= len(taken)
            if taken:
                return taken
        return b""

    @property
    def fell_short(self) -> bool:
        """After the last chunk: whether less came than the Content-Length had promised."""
        return bool(self._remaining)
