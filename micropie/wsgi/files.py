"""Let the server send files with its ``wsgi.file_wrapper``, so that no byte of them passes through
Python.

PEP 3333, "Optional Platform-Specific File Handling": the application returns the server's wrapper
around a file. gunicorn passes the file to ``sendfile``. waitress passes it to its main thread, so
the thread that handled the request is free again. Other servers read the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from micropie._core.execution import Action
from micropie._core.http import Exchange
from micropie._core.streams import FILE_CHUNK, FileRange, Stream
from micropie.wsgi.exchange import WSGIExchange


def wrapped_file(
    stream: Stream, exchange: WSGIExchange, status: int, end: Action
) -> Iterable[bytes] | None:
    """Return the server's wrapper around the file of the body, or None if the body is not a file or
    the server has no wrapper. ``end`` is called when the server closes the file.
    """
    part = stream.file
    if part is None or part.file is None or status in (204, 304):
        return None
    wrapper: Callable[..., Iterable[bytes]] | None = exchange.environ.get("wsgi.file_wrapper")
    if wrapper is None:
        return None
    # Only a whole file gets a descriptor: if there is a descriptor, uWSGI sends the file from
    # beginning to end, even for a range.
    return wrapper((_WholeFile if part.is_whole else _FilePart)(part, exchange, end), FILE_CHUNK)


class _FilePart:
    """A range of a file, as a file object for ``wsgi.file_wrapper``. Closing it ends the
    request.
    """

    def __init__(self, part: FileRange, exchange: Exchange, end: Action) -> None:
        part.seek(0)
        self._part = part
        self._exchange = exchange
        self._end = end

    def read(self, size: int = -1) -> bytes:
        try:
            return self._part.read(size if size >= 0 else self._part.length)
        except Exception as error:
            self._exchange.break_off(error)
            raise

    def tell(self) -> int:
        return self._part.position

    def seek(self, offset: int, whence: int = 0) -> int:
        self._part.seek(offset + (0, self._part.position, self._part.length)[whence])
        return self._part.position

    def close(self) -> None:
        self._end()


class _WholeFile(_FilePart):
    """A whole file, which also has the descriptor that ``sendfile`` needs."""

    _is_descriptor_taken = False

    def fileno(self) -> int:
        file = self._part.file
        assert file is not None  # noqa: S101
        self._is_descriptor_taken = True
        return file.fileno()

    def close(self) -> None:
        """End the request. Raise ``ResponseError`` if the file has become too short, because a
        server that uses the descriptor may not notice that it has sent too little.
        """
        file = self._part.file
        try:
            if self._is_descriptor_taken and file is not None and not file.closed:
                self._part.check_length()
        except Exception as error:
            self._exchange.break_off(error)
            raise
        finally:
            super().close()
