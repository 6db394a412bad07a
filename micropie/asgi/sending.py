"""Streams as ASGI messages, sent chunk by chunk.

Once the head is sent, an error can only abort: it is logged and raised into the server, which then cuts the
connection; a broken stream never ends as a complete one does.

A whole file is sent by the server itself if it can (the extension ``http.response.pathsend``), without a byte of it
passing through Python. The server opens the file anew, so it sends what is at that path by then, under a head that was
made a moment before: if the file was replaced by one of another length, the server cuts it off or finds it too short
for its Content-Length. https://asgi.readthedocs.io/en/latest/extensions.html
"""

from __future__ import annotations

import logging

from micropie.asgi.request import ASGIRequest
from micropie.asgi.streaming import close_stream, send_rest
from micropie.errors import ClientDisconnect
from micropie.http.streams import END, FileRange, Stream, as_bytes
from micropie.http.types import Message, Send

logger = logging.getLogger("micropie")

PATHSEND = "http.response.pathsend"


async def send_streamed(head: Message, stream: Stream, request: ASGIRequest, send: Send) -> None:
    """Send head and chunks, and close the stream. That a client left is noted in the debug log, and not raised."""
    has_body = stream.first is not END and request.method != "HEAD" and head["status"] not in (204, 304)
    part = stream.source
    by_path = (  # a whole file, and the server sends files by their path
        has_body
        and type(part) is FileRange
        and part.file is not None
        and part.is_whole
        and PATHSEND in (request.scope.get("extensions") or ())
    )
    try:
        try:
            if not request._has_early_head:
                await send(head)
            if by_path:
                stream.first = END  # the chunk that was read ahead is not needed
                await send({"type": PATHSEND, "path": part.path})
                return
            if has_body:
                await send({"type": "http.response.body", "body": as_bytes(stream.first), "more_body": True})
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
