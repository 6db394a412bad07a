"""One call of a WSGI application as PEP 3333 lets it answer, whoever is the server: https://peps.python.org/pep-3333/

The head is what ``start_response`` was told last before the first byte: it may be called late, by a generator that
runs to its first chunk, and once more with ``exc_info``. What is called, iterated and closed here is so in one thread,
the caller's; locks and thread-locals of the application depend on that. Whoever begins a call closes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from micropie.errors import ResponseError
from micropie.http.response import Response
from micropie.http.types import Environ, HeaderPairs


class WSGICall:
    """``begin``, ``next`` until it gives nothing, ``close``. ``write`` takes what the application writes by itself."""

    def __init__(self, target: Callable[..., Iterable[bytes]], write: Callable[[bytes], object]) -> None:
        self._target = target
        self._write_on = write
        self._head: tuple[str, HeaderPairs] | None = None
        self._is_sent = False
        self._iterable: Iterable[bytes] = ()
        self._chunks: Iterator[bytes] = iter(())

    def begin(self, environ: Environ) -> None:
        """Call the application. Raises what it raises."""
        self._iterable = self._target(environ, self._start_response)
        self._chunks = iter(self._iterable)

    @property
    def is_short(self) -> bool:
        """Whether the answer is one chunk at most, and there already."""
        return isinstance(self._iterable, list | tuple) and len(self._iterable) <= 1

    def next(self) -> bytes:
        """The next chunk that is not empty; ``b""`` at the end."""
        for chunk in self._chunks:
            if not isinstance(chunk, bytes):
                raise ResponseError(f"a WSGI application's chunks are bytes, not {type(chunk).__name__}")
            if chunk:
                self._is_sent = True
                return chunk
        return b""

    def response(self, body: Any) -> Response:
        """Head and ``body`` as an answer. Raises ``ResponseError`` if there was no ``start_response``, or a wrong one.

        What follows the number of the status is optional here: PEP 3333 wants it, and applications forget it.
        """
        if self._head is None:
            raise ResponseError("the WSGI application did not call start_response before its first byte")
        status, headers = self._head
        number = status[:3]
        if not (number.isascii() and number.isdigit()):
            raise ResponseError(f"a WSGI application's status begins with a number, not {status!r}")
        return Response(body, int(number), headers, content_type="")

    def close(self) -> None:
        """Call the iterable's own ``close``, if it has one. Nothing can be written any more."""
        closer = getattr(self._iterable, "close", None)
        self._iterable, self._chunks = (), iter(())
        self._write_on = _too_late  # and what it was may refer to this
        if closer is not None:
            closer()

    def _start_response(self, status: str, headers: HeaderPairs, exc_info: Any = None) -> Callable[[bytes], object]:
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
            self._write_on(data)


def _too_late(data: bytes) -> None:
    raise ResponseError("the WSGI application wrote after its answer was closed")


class BodyInput:
    """``wsgi.input`` over a body that comes piece by piece: ``pull()`` gives the next, ``b""`` at its end, for ever."""

    def __init__(self, pull: Callable[[], bytes]) -> None:
        self._pull = pull
        self._buffer = b""

    def read(self, size: int | None = -1) -> bytes:
        """At most ``size`` bytes, fewer at the end alone; all that are left if it is negative or None."""
        pieces, length = [self._buffer], len(self._buffer)
        while (size is None or size < 0 or length < size) and (piece := self._pull()):
            pieces.append(piece)
            length += len(piece)
        data = b"".join(pieces)
        end = len(data) if size is None or size < 0 else size
        self._buffer = data[end:]
        return data[:end]

    def readline(self, size: int | None = -1) -> bytes:
        """A line with its end, at most ``size`` bytes of it."""
        most = -1 if size is None else size
        pieces, length = [self._buffer], len(self._buffer)
        while b"\n" not in pieces[-1] and (most < 0 or length < most) and (piece := self._pull()):
            pieces.append(piece)
            length += len(piece)
        data = b"".join(pieces)
        end = data.find(b"\n") + 1 or len(data)
        if 0 <= most < end:
            end = most
        self._buffer = data[end:]
        return data[:end]

    def readlines(self, hint: int | None = -1) -> list[bytes]:
        """Lines until the end, or until they have ``hint`` bytes."""
        lines, length = [], 0
        for line in self:
            lines.append(line)
            length += len(line)
            if hint is not None and 0 < hint <= length:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")
