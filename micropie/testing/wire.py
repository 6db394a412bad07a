"""A request as a server reads it from the connection: target, headers and body, the same for both protocols.

httpx normalises URLs (``/../y`` becomes ``/y``, ``//x`` names a host). The extension
``extensions={"target": b"/../y?a=%ff"}``, which httpcore also supports, gives the exact bytes of a target.
"""

from __future__ import annotations

from typing import cast

import httpx

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def request_target(request: httpx.Request) -> bytes:
    """Return the request target: the part of a request's first line between the method and the version."""
    raw = request.extensions.get("target", request.url.raw_path)
    return raw.encode("latin-1") if isinstance(raw, str) else bytes(raw)


def server_address(url: httpx.URL) -> tuple[str, int]:
    return url.host, url.port or DEFAULT_PORTS.get(url.scheme, 80)


class RequestBody:
    """The body as a server would read it: in chunks, never past the Content-Length.

    A fixed body (bytes, form, JSON) is ``whole``. Any other body (an iterator, an upload) is pulled chunk by chunk, in
    the test's thread, when the application asks for more.
    """

    def __init__(self, request: httpx.Request) -> None:
        declared = request.headers.get("content-length", "")
        # None also for a malformed length, which the application has to refuse.
        self._remaining = int(declared) if declared.isascii() and declared.isdigit() else None
        self.is_chunked = self._remaining is None and "transfer-encoding" in request.headers
        self._chunks = iter(cast(httpx.SyncByteStream, request.stream))  # httpx.Client refuses asynchronous streams
        self.fell_short = False  # known after the last chunk
        self.whole: bytes | None = None
        if isinstance(request.stream, httpx.ByteStream):
            content = b"".join(request.stream)
            self.whole = content if self._remaining in (None, len(content)) else None

    def next_chunk(self) -> bytes | None:
        """Return the next chunk, ``b""`` after the last one, None if the body was shorter than its Content-Length.

        Empty chunks are skipped: HTTP can't send them.
        """
        for chunk in self._chunks:
            taken = chunk[: self._remaining]
            if self._remaining is not None:
                self._remaining -= len(taken)
            if taken:
                return taken
        self.fell_short = bool(self._remaining)
        return None if self.fell_short else b""
