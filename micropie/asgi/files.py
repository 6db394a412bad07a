"""Files that the server sends itself, without a byte of them passing through Python, where its scope offers that.

``http.response.pathsend`` sends a whole file by its path. The server opens it anew, so what it sends is what is at
that path by then, under a head that was made a moment before: a file that is replaced meanwhile is cut off or found
too short against its Content-Length, by the server. ``http.response.zerocopysend`` sends from the file that is open
here, also a range of it, and whether it was long enough is asked before the answer ends.
https://asgi.readthedocs.io/en/latest/extensions.html
"""

from __future__ import annotations

from typing import Any

from micropie.asgi.request import ASGIRequest
from micropie.errors import ClientDisconnect
from micropie.http.streams import END, FileRange, Stream
from micropie.http.types import Send

PATHSEND = "http.response.pathsend"
ZEROCOPYSEND = "http.response.zerocopysend"


async def sent_by_server(start: dict[str, Any], stream: Stream, request: ASGIRequest, send: Send) -> bool:
    """Have the server send head and body, if the body is a file and the server can; else do nothing and say False.

    Raises ``ClientDisconnect``, and ``ResponseError`` if the file has become too short.
    """
    part: FileRange = stream.source
    if part.file is None or start["status"] in (204, 304):
        return False
    offered = request.scope.get("extensions") or ()
    if PATHSEND in offered and part.is_whole:
        send_body = _send_path
    elif ZEROCOPYSEND in offered:
        send_body = _send_open_file
    else:
        return False
    stream.first = END  # what was read ahead is not needed
    try:
        await send(start)
        await send_body(part, send)
    except OSError as error:
        raise ClientDisconnect("the client left") from error
    return True


async def _send_path(part: FileRange, send: Send) -> None:
    await send({"type": PATHSEND, "path": part.path})


async def _send_open_file(part: FileRange, send: Send) -> None:
    message = {"file": part.file, "offset": part.start, "count": part.length, "more_body": True}
    await send({"type": ZEROCOPYSEND, **message})
    part.check_length()
    await send({"type": "http.response.body", "body": b""})
