"""Answers sent as ASGI messages: fixed bodies in two, streams chunk by chunk.

Once the head is sent, an error can only abort: it is logged and raised into the server, which then cuts the
connection; a broken stream never ends like a complete one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from micropie.asgi.files import sent_by_server
from micropie.asgi.request import ASGIRequest
from micropie.asgi.streaming import close_stream, send_rest
from micropie.errors import ClientDisconnect
from micropie.http.response import HTML, JSON, TEXT, VARY_COOKIE
from micropie.http.streams import END, FileRange, Stream
from micropie.http.types import Send

logger = logging.getLogger("micropie")


class _ContentTypes(dict[str, tuple[bytes, bytes]]):
    """Content-Type headers, encoded once."""

    def __missing__(self, content_type: str) -> tuple[bytes, bytes]:
        return b"content-type", content_type.encode("latin-1")


class _Lengths(dict[int, tuple[bytes, bytes]]):
    """Content-Length headers, encoded once for the short answers that are the most frequent."""

    def __missing__(self, length: int) -> tuple[bytes, bytes]:
        header = (b"content-length", b"%d" % length)
        if length < 4096:  # this bounds the table
            self[length] = header
        return header


CONTENT_TYPES = _ContentTypes({text: (b"content-type", text.encode()) for text in (HTML, JSON, TEXT)})
LENGTHS = _Lengths()
_FREQUENT = {VARY_COOKIE: (b"vary", b"Cookie")}  # every request with a session


def encode_headers(
    content_type: str | None, length: int | None, pairs: Iterable[tuple[str, str]]
) -> list[tuple[bytes, bytes]]:
    """An answer's headers as ASGI wants them: a new list of bytes, names in lower case."""
    headers = []
    for pair in pairs:
        # No comprehension: that is a call more before Python 3.12.
        headers.append(_FREQUENT.get(pair) or (pair[0].encode("latin-1"), pair[1].encode("latin-1")))  # noqa: PERF401
    if content_type is not None:
        headers.append(CONTENT_TYPES[content_type])
    if length is not None:
        headers.append(LENGTHS[length])
    return headers


async def send_streamed(start: dict[str, Any], stream: Stream, request: ASGIRequest, send: Send) -> None:
    """Send head and chunks, close the stream. A client that has gone ends it quietly: there is nobody to tell."""
    try:
        if type(stream.source) is FileRange and await sent_by_server(start, stream, request, send):
            return
        first = stream.first
        has_body = first is not END and request.method != "HEAD" and start["status"] not in (204, 304)
        try:
            await send(start)
            if has_body:
                await send({"type": "http.response.body", "body": first, "more_body": True})
        except OSError as error:
            raise ClientDisconnect("the client left") from error
        if has_body:
            rest = send_rest(stream, request, send)
            if rest is not None:
                await rest
        try:
            await send({"type": "http.response.body", "body": b""})
        except OSError as error:
            raise ClientDisconnect("the client left") from error
    except ClientDisconnect:
        request.broken_off = True
        logger.debug("%s: the client left in mid-stream", request.label)
    except Exception:
        logger.exception("%s failed after its head was sent: aborted", request.label)
        raise
    finally:
        if stream.is_open and stream.claim_close():
            await close_stream(stream, request.config)
