"""Responses as ASGI messages: headers encoded, streams sent chunk by chunk.

Once the head is sent, an error can only abort: it is logged and raised into the server, which then cuts the
connection; a broken stream never ends as a complete one does.

A whole file is sent by the server itself if it can (the extension ``http.response.pathsend``), without a byte of it
passing through Python. The server opens the file anew, so it sends what is at that path by then, under a head that was
made a moment before: if the file was replaced by one of another length, the server cuts it off or finds it too short
for its Content-Length. https://asgi.readthedocs.io/en/latest/extensions.html
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from micropie.asgi.request import ASGIRequest
from micropie.asgi.streaming import close_stream, send_rest
from micropie.errors import ClientDisconnect
from micropie.http.headers import NameCache
from micropie.http.response import HTML, JSON, NOSNIFF, PRIVATE, TEXT, VARY_COOKIE
from micropie.http.streams import END, FileRange, Stream
from micropie.http.types import Message, Send

logger = logging.getLogger("micropie")

PATHSEND = "http.response.pathsend"


class _ContentTypes(dict[str, tuple[bytes, bytes]]):
    """Content-Type headers, encoded once."""

    def __missing__(self, content_type: str) -> tuple[bytes, bytes]:
        return b"content-type", content_type.encode("latin-1")


class _Lengths(dict[int, tuple[bytes, bytes]]):
    """Content-Length headers, encoded once for short answers, which are the most frequent."""

    def __missing__(self, length: int) -> tuple[bytes, bytes]:
        header = (b"content-length", b"%d" % length)
        if length < 4096:  # this bounds the table
            self[length] = header
        return header


CONTENT_TYPES = _ContentTypes({text: (b"content-type", text.encode()) for text in (HTML, JSON, TEXT)})
LENGTHS = _Lengths()
ENCODED_NOSNIFF = b"x-content-type-options", b"nosniff"
# Headers of every answer, and of every one with a session.
_NAMES = NameCache(lambda name: name.encode("latin-1"))
_FREQUENT = {
    NOSNIFF: ENCODED_NOSNIFF,
    VARY_COOKIE: (b"vary", b"Cookie"),
    PRIVATE: (b"cache-control", b"private"),
}


def encode_headers(
    content_type: str | None, length: int | None, pairs: Iterable[tuple[str, str]]
) -> list[tuple[bytes, bytes]]:
    """Return headers as ASGI wants them: a new list of bytes, with names in lower case."""
    headers = []
    for pair in pairs:
        # A comprehension is one more call before Python 3.12.
        headers.append(_FREQUENT.get(pair) or (_NAMES[pair[0]], pair[1].encode("latin-1")))  # noqa: PERF401
    if content_type is not None:
        headers.append(CONTENT_TYPES[content_type])
    if length is not None:
        headers.append(LENGTHS[length])
    return headers


async def send_streamed(head: Message, stream: Stream, request: ASGIRequest, send: Send) -> None:
    """Send head and chunks, and close the stream. That a client left is noted in the debug log, and not raised."""
    has_body = stream.first is not END and request.method != "HEAD" and head["status"] not in (204, 304)
    part = stream.source
    by_path = (  # a whole file, and a server that sends files by their path
        has_body
        and type(part) is FileRange
        and part.file is not None
        and part.is_whole
        and PATHSEND in (request.scope.get("extensions") or ())
    )
    try:
        try:
            await send(head)
            if by_path:
                stream.first = END  # the chunk that was read ahead is not needed
                await send({"type": PATHSEND, "path": part.path})
                return
            if has_body:
                await send({"type": "http.response.body", "body": stream.first, "more_body": True})
        except OSError as error:
            raise ClientDisconnect("the client left") from error
        if has_body:
            sending = send_rest(stream, request, send)
            if sending is not None:
                await sending
        try:
            await send({"type": "http.response.body", "body": b""})
        except OSError as error:
            raise ClientDisconnect("the client left") from error
    except ClientDisconnect:
        request.broken_off = True
        logger.debug("%s: the client left in mid-stream", request.label)
    except Exception as error:
        request.log_failure(f"{request.label} failed after its head was sent: aborted", error)
        raise
    finally:
        if stream.is_open and stream.claim_close():
            await close_stream(stream, request.config)
