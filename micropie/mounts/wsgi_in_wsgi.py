"""Mounted WSGI applications under WSGI: called in the server's thread, their chunks passed on."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

from micropie.http import Environ, Exchange, Response
from micropie.mounts.prefixes import Mount, MountedPath
from micropie.mounts.response import BoundedBody, stated_length
from micropie.mounts.wsgi_call import WSGICall, moved_environ
from micropie.streams import ThreadSource


def wsgi_under_wsgi(mount: Mount, mounted_path: MountedPath, exchange: Exchange) -> Response:
    """Return the answer of a mounted WSGI application: its body is bytes if it is short, else a stream."""
    call = WSGICall(mount)
    try:
        call.begin(environ_below(exchange, mounted_path))
        is_short = call.is_short and not call.written
        chunk = call.take()
        response = call.response(chunk)
    except BaseException:
        call.close()
        raise
    is_head = exchange.method == "HEAD"  # a stream leaves the Content-Length as it is
    length = stated_length(response, is_head)
    if is_short and not is_head and length in (None, len(chunk)):
        exchange.on_close(call.close)  # the client gets its answer first
    else:
        response.body = ThreadSource(_chunks(call, chunk, length), may_begin_empty=True, owner=call)
    return response


def _chunks(call: WSGICall, chunk: bytes, length: int | None) -> Iterator[bytes]:
    body = BoundedBody(length)
    while bounded := body.bounded(chunk):
        yield bounded
        chunk = call.take()


def environ_below(exchange: Exchange, mounted_path: MountedPath) -> Environ:
    """Return the environ for a mounted application: the prefix has moved from ``PATH_INFO`` to ``SCRIPT_NAME``."""
    environ = moved_environ(exchange.environ or {}, exchange, mounted_path)
    received = exchange.body_so_far()
    if received is not None:  # a hook has received the body
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = BytesIO(received), str(len(received))
    return environ
