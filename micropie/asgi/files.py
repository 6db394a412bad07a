"""Files that the server sends by their path, without a byte of them passing through Python.

The extension is ``http.response.pathsend``. The server opens the file anew, so it sends what is at that path by then,
under a head that was made a moment before: if the file was replaced by one of another length, the server cuts it off or
finds it too short for its Content-Length. https://asgi.readthedocs.io/en/latest/extensions.html
"""

from __future__ import annotations

from micropie.asgi.request import ASGIRequest
from micropie.errors import ClientDisconnect
from micropie.http.streams import END, FileRange, Stream
from micropie.http.types import Message, Send

PATHSEND = "http.response.pathsend"


async def send_by_path(head: Message, stream: Stream, request: ASGIRequest, send: Send) -> bool:
    """Have the server send a whole file under ``head``. Return False, and do nothing, if it can't.

    Raises ``ClientDisconnect``.
    """
    part: FileRange = stream.source
    if part.file is None or not part.is_whole or head["status"] in (204, 304):
        return False
    if PATHSEND not in (request.scope.get("extensions") or ()):
        return False
    stream.first = END  # the chunk that was read ahead is not needed
    try:
        await send(head)
        await send({"type": PATHSEND, "path": part.path})
    except OSError as error:
        raise ClientDisconnect("the client left") from error
    return True
