"""Mounted WSGI applications under WSGI: called in the server's thread, their chunks passed on."""

from __future__ import annotations

from io import BytesIO

from micropie.http import Environ, Exchange, Response
from micropie.mounts.prefixes import Mount, MountedPath
from micropie.mounts.response import block_for_head
from micropie.mounts.wsgi_call import WSGICall


def wsgi_under_wsgi(mount: Mount, mounted_path: MountedPath, exchange: Exchange) -> Response:
    """Return the answer of a mounted WSGI application."""
    call = _Call(mount)
    try:
        call.begin(environ_below(exchange, mounted_path))
    except BaseException:
        call.close()
        raise
    return block_for_head(call, exchange, in_chunks=not call.is_short)


class _Call(WSGICall):
    """One call of the application: its chunks, with the data of its ``write`` in between (``BlockingAnswer``)."""

    def __init__(self, mount: Mount) -> None:
        self._ahead: list[bytes] = []
        super().__init__(mount, self._ahead.append)

    def take(self) -> tuple[bytes, bool]:
        """Return the next chunk and whether more may follow."""
        is_short = self.is_short
        if is_short or not self._ahead:
            self._ahead.append(self.next())
        chunk = self._ahead.pop(0)
        return chunk, any(self._ahead) if is_short else bool(chunk)


def environ_below(exchange: Exchange, mounted_path: MountedPath) -> Environ:
    """Return the environ for a mounted application: the prefix has moved from ``PATH_INFO`` to ``SCRIPT_NAME``."""
    environ = dict(exchange.environ or {})
    environ["SCRIPT_NAME"], environ["PATH_INFO"] = mounted_path.script_name, mounted_path.path_info
    environ["wsgi.url_scheme"] = exchange.scheme
    client = exchange.client
    if client is not None:
        environ["REMOTE_ADDR"] = client.host
    if exchange.known_host is not None:
        environ["HTTP_HOST"] = exchange.known_host
    environ.pop("HTTP_PROXY", None)  # a client's header, which libraries read as the proxy to use
    received = exchange.body_so_far()
    if received is not None:  # a hook has received the body
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = BytesIO(received), str(len(received))
    return environ
