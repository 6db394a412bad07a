"""One call of a WSGI application, under any server, and mounted WSGI applications under WSGI
(https://peps.python.org/pep-3333/).

Only the last call of ``start_response`` before the first byte counts. An application that is a
generator calls ``start_response`` only when its first chunk is requested. Any application may call
it again with ``exc_info``. The application is called, iterated over and closed in the caller's
thread, because its locks and thread-locals depend on that thread. A call that has begun must be
closed.
"""

from __future__ import annotations

import io
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias

from micropie._core.errors import ResponseError, logger
from micropie._core.execution import contained
from micropie._core.http import Address, Exchange, GivenStatus, Response
from micropie._core.http.addresses import NO_HOST
from micropie._core.http.headers import cached_if_short
from micropie._core.http.protocols import Environ, HeaderPairs, Piece
from micropie._core.mounts.prefixes import Mount, MountedPath
from micropie._core.mounts.response import BoundedBody, streamed_body
from micropie._core.streams import ThreadStream

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


_STATUS_LINE = re.compile(r"(?P<number>[1-9][0-9]{2})(?: (?P<reason>.*))?", re.DOTALL)

_ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None]


class WSGICall(Iterable[bytes]):
    """One call of a WSGI application. Call ``begin``, then ``take`` until no more chunks follow,
    then ``finish``. Or call ``begin``, iterate over the object, and ``close`` it.

    - ``label``: the name of the application in the log.
    - ``report``: a function that logs an exception that can't become the response.
    - ``write``: a function that gets the data that the application passes to PEP 3333's ``write``.
      Without it, the data is stored in ``written`` until it is taken.
    """

    def __init__(
        self,
        target: Any,
        label: object,
        report: Callable[[str, Exception], object],
        write: Callable[[bytes], object] | None = None,
    ) -> None:
        self._target, self._label, self._report = target, label, report
        self.written: deque[bytes] = deque()
        self._on_write: Callable[[bytes], object] | None = write or self.written.append
        self._head: tuple[str, HeaderPairs] | None = None
        self._is_sent = False
        self._taken = 0  # bytes read so far
        self._iterable: Iterable[bytes] = ()
        self._chunks: Iterator[bytes] = iter(())

    def begin(self, environ: Environ) -> None:
        """Call the application. Raises any exception that the application raises."""
        self._iterable = self._target(environ, self._start_response)
        self._chunks = iter(self._iterable)

    @property
    def is_complete(self) -> bool:
        """Whether all chunks of the response already exist, so that no code of the application runs
        while they are taken.
        """
        return type(self._iterable) is list or type(self._iterable) is tuple

    def take(self) -> Piece:
        """Return the next chunk, and whether more may follow. Nothing follows a chunk that is the
        only one, or that completes the Content-Length.
        """
        iterable = self._iterable
        is_last = isinstance(iterable, list | tuple) and len(iterable) <= 1 and not self.written
        chunk = self.next()
        self._taken += len(chunk)
        if chunk and not is_last and self._head is not None:
            for name, value in self._head[1]:
                if len(name) == 14 and name.lower() == "content-length":
                    is_last = value == str(self._taken)
        return chunk, not is_last and chunk != b""

    def next(self) -> bytes:
        """Return the next chunk that is not empty, or b"" at the end. Data that was passed to
        ``write`` comes before the chunks of the returned iterable.
        """
        if not self.written:
            for chunk in self._chunks:
                if not isinstance(chunk, bytes):
                    raise ResponseError(
                        f"the WSGI application's chunks must be bytes, not {type(chunk).__name__}"
                    )
                if chunk:
                    self._is_sent = True
                    self.written.append(chunk)
                    break
            else:
                self._chunks = iter(())  # an iterator that has ended must not be advanced again
        return self.written.popleft() if self.written else b""

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.next, b"")

    def response(self, body: object) -> Response:
        """Return the response with ``body`` as its body.

        Raises ``ResponseError`` if ``start_response`` was not called, or got an invalid status.

        A status without a reason phrase is accepted. PEP 3333 requires a reason, but some
        applications leave it out.
        """
        if self._head is None:
            raise ResponseError(
                "the WSGI application did not call start_response before its first byte"
            )
        line, headers = self._head
        status = _status_of(line) if isinstance(line, str) else None
        if status is None:
            raise ResponseError(
                f'the WSGI application\'s status must be a str such as "200 OK", not {line!r}'
            )
        return Response(body, status, headers, content_type="")

    def finish(self) -> None:
        """Run the code that the application has after its last chunk, then close its iterable.
        Exceptions are logged.

        Closing the iterable alone isn't enough: a generator would not run the code after its last
        ``yield``.
        """
        self.run_out()
        self.close()

    def run_out(self) -> None:
        """Run the code that the application has after its last chunk. An exception is logged."""
        try:
            if self.next():
                logger.warning(
                    "the mounted application's body exceeds its Content-Length and was cut off"
                )
        except BaseException as error:
            self._failed("the mounted application failed after its response", error)

    def close(self) -> None:
        """Call the iterable's ``close``, if it has one. From now on, ``write`` raises
        ``ResponseError``.

        An exception is logged, because the response is already complete, or has already failed.
        """
        closer = getattr(self._iterable, "close", None)
        self._iterable, self._chunks = (), iter(())
        self._on_write = None  # it may refer to this call, which would be a reference cycle
        if closer is not None:
            try:
                closer()
            except BaseException as error:
                self._failed("close() of the mounted application's response failed", error)

    def _failed(self, sentence: str, error: BaseException) -> None:
        self._report(f"{self._label}: {sentence}", contained(error))

    def _start_response(
        self, status: str, headers: HeaderPairs, exc_info: _ExcInfo | None = None
    ) -> Callable[[bytes], object]:
        if exc_info is not None:
            try:
                if self._is_sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # avoid a reference cycle with this frame
        elif self._head is not None:
            raise ResponseError(
                "the WSGI application called start_response twice, the second time without exc_info"
            )
        self._head = status, list(headers)
        return self._write

    def _write(self, data: bytes) -> None:
        if data:
            self._is_sent = True
            if self._on_write is None:
                raise ResponseError(
                    "the WSGI application called write() after its response was closed"
                )
            self._on_write(data)


@cached_if_short(256)  # cached, because a site uses few status lines
def _status_of(line: str) -> GivenStatus | None:
    match = _STATUS_LINE.fullmatch(line)
    return None if match is None else GivenStatus(match["number"], match["reason"] or "")


def move(
    environ: Environ, exchange: Exchange, mounted_path: MountedPath, client: Address | None
) -> Environ:
    """Change ``environ`` for a mounted application: set its path, and the scheme, client and host
    that middleware has set. Return ``environ``.

    If the client has sent a Proxy header, remove it, because libraries would use ``HTTP_PROXY`` as
    the address of their proxy.
    """
    environ.pop("HTTP_PROXY", None)
    environ["SCRIPT_NAME"], environ["PATH_INFO"] = mounted_path.script_name, mounted_path.path_info
    environ["wsgi.url_scheme"] = exchange.scheme
    if client is not None:
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = client.host, str(client.port)
    environ["HTTP_HOST"] = exchange.peer.host or environ.get("HTTP_HOST") or NO_HOST
    return environ


# -- under WSGI, in the server's thread ------------------------------------------------------------


def wsgi_under_wsgi(mount: Mount, mounted_path: MountedPath, exchange: Exchange) -> Response:
    """Call a mounted WSGI application and return its response. The body is bytes if it has only one
    chunk. Otherwise, it is a stream.
    """
    call = WSGICall(mount.target, mount, exchange.log_failure)
    environ = environ_below(exchange, mounted_path)
    # Only the server can read what its wrapper returns: uWSGI returns the file itself.
    environ.pop("wsgi.file_wrapper", None)
    try:
        call.begin(environ)
        chunk, more = call.take()
        response = call.response(chunk)
    except BaseException:
        call.close()
        raise
    # For HEAD, the body is always a stream, so that the Content-Length is kept although the body is
    # empty.
    is_head = exchange.method == "HEAD"
    body = streamed_body(response, chunk, more, is_head)
    if body is None:
        exchange.on_close(call.finish)  # called after the response was sent
    else:
        response.body = ThreadStream(
            _chunks(call, chunk, more, body), may_begin_empty=True, owner=call
        )
    return response


def _chunks(call: WSGICall, chunk: bytes, more: bool, body: BoundedBody) -> Iterator[bytes]:
    while bounded := body.bounded(chunk):
        yield bounded
        chunk, more = call.take() if more else (b"", False)
    call.run_out()


def environ_below(exchange: Exchange, mounted_path: MountedPath) -> Environ:
    """Return the environ for a mounted application, in which the prefix is moved from ``PATH_INFO``
    to ``SCRIPT_NAME``.
    """
    client = exchange.peer.client  # None, unless middleware has set the client's address
    environ = move({**(exchange.environ or {})}, exchange, mounted_path, client)
    if client is not None:
        environ.pop("REMOTE_HOST", None)  # the server has set it to the name of the proxy
    received = exchange.body.so_far
    if received is not None:  # a hook has received the whole body
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(received), str(len(received))
    elif exchange.body.put_back is not None:  # a hook has read the beginning of the body
        environ["wsgi.input"] = io.BufferedReader(RawBody(lambda: exchange.receive_piece()[0]))
    return environ


class RawBody(io.RawIOBase):
    """A body that arrives piece by piece, as a raw stream.

    ``pull()`` returns the next piece, or b"" at the end.

    Wrap the object in an ``io.BufferedReader`` to get a ``wsgi.input``.
    """

    def __init__(self, pull: Callable[[], bytes]) -> None:
        self._pull = pull
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Copy the next bytes into ``buffer``. Return their number, which is 0 at the end.

        Raises any exception that ``pull`` raises.
        """
        piece = self._piece or memoryview(self._pull())
        target = memoryview(buffer)
        size = min(len(target), len(piece))
        target[:size] = piece[:size]
        self._piece = piece[size:]
        return size

    def readall(self) -> bytes:
        """Return all remaining bytes."""
        # BytesIO, because a list of tiny pieces takes many times the body's size
        data = io.BytesIO()
        data.write(self._piece)
        self._piece = memoryview(b"")
        for piece in iter(self._pull, b""):
            data.write(piece)
        return data.getvalue()
