"""One call of a WSGI application, under any server, and the whole of it under WSGI: https://peps.python.org/pep-3333/

The last call of ``start_response`` before the first byte counts: a generator calls it late, while it runs to its
first chunk, and an application may call it once more with ``exc_info``. The application is called, iterated and closed
in one thread, the caller's: its locks and thread-locals depend on that. A call that was begun must be closed.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias

from micropie.errors import ResponseError, logger
from micropie.http import Environ, Exchange, GivenStatus, HeaderPairs, Response
from micropie.mounts.prefixes import Mount, MountedPath
from micropie.mounts.response import BoundedBody, stated_length
from micropie.streams import ThreadSource

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


_STATUS_LINE = re.compile(r"(?P<number>[1-9][0-9]{2})(?: (?P<reason>.*))?", re.DOTALL)

_ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None]


class WSGICall(Iterable[bytes]):
    """Use it by ``begin``, then ``take`` until that returns b"", or by an iteration, then ``close``.

    ``write`` is called with the data that the application passes to PEP 3333's ``write``. Without it, ``written`` has
    the data that was not taken yet; otherwise ``next`` returns the chunks.
    """

    def __init__(self, mount: Mount, write: Callable[[bytes], object] | None = None) -> None:
        self._mount = mount
        self.written: list[bytes] = []
        self._on_write = write or self.written.append
        self._head: tuple[str, HeaderPairs] | None = None
        self._is_sent = False
        self._iterable: Iterable[bytes] = ()
        self._chunks: Iterator[bytes] = iter(())

    def begin(self, environ: Environ) -> None:
        """Call the application. Raises what it raises."""
        self._iterable = self._mount.target(environ, self._start_response)
        self._chunks = iter(self._iterable)

    @property
    def is_short(self) -> bool:
        """Whether the answer has at most one chunk, which is complete already."""
        return self.is_complete and len(self._iterable) <= 1  # type: ignore[arg-type]

    @property
    def is_complete(self) -> bool:
        """Whether all chunks of the answer are there already."""
        return isinstance(self._iterable, list | tuple)

    def next(self) -> bytes:
        """Return the next chunk that is not empty; ``b""`` at the end."""
        for chunk in self._chunks:
            if not isinstance(chunk, bytes):
                raise ResponseError(f"a WSGI application's chunks are bytes, not {type(chunk).__name__}")
            if chunk:
                self._is_sent = True
                return chunk
        return b""

    def take(self) -> bytes:
        """Return the next chunk: what was written comes before what is returned. b"" is the end."""
        if not self.written:
            self.written.append(self.next())
        return self.written.pop(0)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.take, b"")

    def response(self, body: object) -> Response:
        """Return the response with ``body``. Raises ``ResponseError`` without a valid ``start_response``.

        The reason after the status code is optional here: PEP 3333 requires it, and applications forget it.
        """
        if self._head is None:
            raise ResponseError("the WSGI application did not call start_response before its first byte")
        line, headers = self._head
        match = _STATUS_LINE.fullmatch(line)
        if match is None:
            raise ResponseError(f"a WSGI application's status is a number and a reason, not {line!r}")
        status = GivenStatus(match["number"], match["reason"] or "")
        return Response(body, status, headers, content_type="")

    @property
    def has_close(self) -> bool:
        """Whether ``close`` runs code of the application."""
        return hasattr(self._iterable, "close")

    def close(self) -> None:
        """Call the iterable's ``close``, if it has one. A later ``write`` raises ``ResponseError``.

        An exception is logged: the answer is complete, or has failed already.
        """
        closer = getattr(self._iterable, "close", None)
        self._iterable, self._chunks = (), iter(())
        self._on_write = _too_late  # the function before may refer to this call, which would be a cycle
        if closer is not None:
            try:
                closer()
            except Exception:
                logger.exception("%s: close() of the mounted application's answer failed", self._mount)

    def _start_response(
        self, status: str, headers: HeaderPairs, exc_info: _ExcInfo | None = None
    ) -> Callable[[bytes], object]:
        if exc_info is not None:
            try:
                if self._is_sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # its traceback refers to this frame
        elif self._head is not None:
            raise ResponseError("start_response was called twice, the second time without exc_info")
        self._head = status, list(headers)
        return self._write

    def _write(self, data: bytes) -> None:
        if data:
            self._is_sent = True
            self._on_write(data)


def _too_late(data: bytes) -> None:
    raise ResponseError("the WSGI application wrote after its answer was closed")


def moved_environ(environ: Environ, exchange: Exchange, mounted_path: MountedPath) -> Environ:
    """Return ``environ`` for a mounted application: with its path, and the scheme, client and host of middleware.

    A client's header Proxy is dropped, because libraries read ``HTTP_PROXY`` as the proxy to use.
    """
    moved = {name: value for name, value in environ.items() if name != "HTTP_PROXY"}
    moved["SCRIPT_NAME"], moved["PATH_INFO"] = mounted_path.script_name, mounted_path.path_info
    moved["wsgi.url_scheme"] = exchange.scheme
    if exchange.client is not None:
        moved["REMOTE_ADDR"] = exchange.client.host
    if exchange.peer.host is not None:
        moved["HTTP_HOST"] = exchange.peer.host
    return moved


# -- under WSGI, in the server's thread --------------------------------------------------------------------------------


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
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(received), str(len(received))
    elif exchange.put_back is not None:  # a hook has looked at its beginning
        environ["wsgi.input"] = io.BufferedReader(RawBody(lambda: exchange.receive_piece()[0]))
    return environ


class RawBody(io.RawIOBase):
    """A body that arrives piece by piece, as a raw stream. ``pull()`` returns the next piece, and b"" from its end on.

    An ``io.BufferedReader`` around it is a ``wsgi.input``.
    """

    def __init__(self, pull: Callable[[], bytes]) -> None:
        self._pull = pull
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill ``buffer`` from one piece; return the number of bytes, 0 at the end. Raises what ``pull`` raises."""
        piece = self._piece or memoryview(self._pull())
        target = memoryview(buffer)
        size = min(len(target), len(piece))
        target[:size] = piece[:size]
        self._piece = piece[size:]
        return size

    def readall(self) -> bytes:
        """Return all that is left."""
        piece, self._piece = self._piece, memoryview(b"")
        return b"".join([piece, *iter(self._pull, b"")])
