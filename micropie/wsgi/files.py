"""Files lent to the server, which knows how to send one without a thread of ours or a byte through Python.

PEP 3333, "Optional Platform-Specific File Handling": what is returned is the server's own ``wsgi.file_wrapper`` around
a file. gunicorn gives it to ``sendfile``, waitress to its main thread, and frees the one that answered; others read it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from micropie.http.request import Request
from micropie.http.streams import END, FILE_CHUNK, FileRange, Stream
from micropie.wsgi.request import WSGIRequest

logger = logging.getLogger("micropie")


def lent_file(stream: Stream, request: WSGIRequest, status: int) -> Iterable[bytes] | None:
    """The server's wrapper around the file that is the body; None where there is no such thing."""
    part = stream.source
    if type(part) is not FileRange or part.file is None or status in (204, 304):
        return None
    wrapper: Callable[..., Iterable[bytes]] | None = request.environ.get("wsgi.file_wrapper")
    if wrapper is None:
        return None
    stream.first = END  # what was read ahead is not needed
    # Every server reads right; with a descriptor, uWSGI sends a file from its beginning to its end, whatever part of
    # it was meant. So only what is whole has one.
    return wrapper((_LentFile if part.is_whole else _LentPart)(part, request), FILE_CHUNK)


class _LentPart:
    """A part of a file as a server's wrapper wants it: a file of its own, whose ``close`` ends the request."""

    def __init__(self, part: FileRange, request: Request) -> None:
        part.seek(0)
        self._part = part
        self._request = request

    def read(self, size: int = -1) -> bytes:
        try:
            return self._part.read(size if size >= 0 else self._part.length)
        except Exception as error:
            self._log(error)
            raise

    def tell(self) -> int:
        return self._part.position

    def seek(self, offset: int, whence: int = 0) -> int:
        self._part.seek(offset + (0, self._part.position, self._part.length)[whence])
        return self._part.position

    def close(self) -> None:
        self._request.close()

    def _log(self, error: Exception) -> None:
        self._request.broken_off = True
        logger.error("%s failed after its head was sent: aborted", self._request.label, exc_info=error)


class _LentFile(_LentPart):
    """A whole file, with the descriptor that ``sendfile`` wants."""

    _is_taken = False

    def fileno(self) -> int:
        file = self._part.file
        assert file is not None  # noqa: S101
        self._is_taken = True
        return file.fileno()

    def close(self) -> None:
        """Raise if the file has become too short: whoever took the descriptor has sent less, and may not know."""
        try:
            self._check_what_was_sent()
        finally:
            super().close()

    def _check_what_was_sent(self) -> None:
        file = self._part.file
        if not self._is_taken or file is None or file.closed:
            return
        try:
            self._part.check_length()
        except Exception as error:
            self._log(error)
            raise
