"""Mounted WSGI applications under WSGI: called in the server's thread, their chunks passed on."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING

from micropie.http.response import Response
from micropie.http.types import Environ
from micropie.mounts.answering import has_its_length
from micropie.mounts.prefixes import Mount, MountedPath
from micropie.mounts.wsgi_call import WSGICall

if TYPE_CHECKING:
    from micropie.wsgi.request import WSGIRequest


def answer_of_wsgi(mount: Mount, mounted_path: MountedPath, request: WSGIRequest) -> Response:
    """Return the answer of a mounted WSGI application."""
    written: list[bytes] = []
    call = WSGICall(mount.target, written.append)
    chunks = _Chunks(call, written)
    try:
        call.begin(environ_below(request, mounted_path))
        is_short = call.is_short
        first = chunks.fetch()
        if not is_short or written or request.method == "HEAD":
            response = call.response(chunks)
            chunks.put_back(first)
            return response
        response = call.response(first)
    except BaseException:
        call.close()
        raise
    if not has_its_length(response):
        chunks.put_back(first)
        response.body = chunks
    else:
        call.close()
    return response


def environ_below(request: WSGIRequest, mounted_path: MountedPath) -> Environ:
    """Return the environ for a mounted application: the prefix has moved from ``PATH_INFO`` to ``SCRIPT_NAME``."""
    environ = dict(request.environ)
    environ["SCRIPT_NAME"], environ["PATH_INFO"] = mounted_path.script_name, mounted_path.path_info
    environ["wsgi.url_scheme"] = request.scheme
    client = request.client
    if client is not None:
        environ["REMOTE_ADDR"] = client.host
    if request._host is not None:
        environ["HTTP_HOST"] = request._host
    environ.pop("HTTP_PROXY", None)  # libraries take it for the setting
    received = request._body_so_far()
    if received is not None:  # by a hook
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = BytesIO(received), str(len(received))
    return environ


class _Chunks(Iterator[bytes]):
    """The application's chunks, with the data of its ``write`` in between."""

    def __init__(self, call: WSGICall, written: list[bytes]) -> None:
        self._call = call
        self._written = written
        self._ahead: bytes | None = None
        self.close = call.close

    def fetch(self) -> bytes:
        """Return the next chunk, ``b""`` at the end."""
        if not self._written:
            self._written.append(self._call.next())
        return self._written.pop(0)

    def put_back(self, chunk: bytes) -> None:
        """Yield ``chunk`` first."""
        self._ahead = chunk

    def __next__(self) -> bytes:
        chunk, self._ahead = self._ahead, None
        if chunk is None:
            chunk = self.fetch()
        if not chunk:
            raise StopIteration
        return chunk
