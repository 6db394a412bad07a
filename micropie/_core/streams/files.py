"""``FileRange``: a file on disk, or a range of it, as a body that a server can send itself."""

from __future__ import annotations

import os
from io import FileIO
from time import monotonic

from micropie._core.errors import ResponseError

FILE_CHUNK = 64 * 1024  # bytes; most servers write this many in one call
# Size in bytes. A thread reads each chunk, and reading a smaller one would take less time than
# switching to the thread.
PART_CHUNK = 256 * 1024
# The largest chunk of a large file. A chunk grows to this size with the bytes already sent, which
# are more than the buffers of a connection hold, if the client takes as many in ``PACE`` seconds.
# So slow clients, of which there may be many, need no more memory.
LARGE_CHUNK, GROWTH, PACE = 4 * 1024 * 1024, 32, 0.125


class FileRange:
    """The chunks of an open file on disk, or of a range of it: exactly ``length`` bytes, beginning
    at ``start``.

    If the file has become shorter, reading raises ``ResponseError``, which aborts the response, so
    that the client knows that the body is incomplete.

    - ``file``: the open file; the code that opened it closes it. It is None for HEAD, because the
      response has no body.
    - ``path``: the file's path, for error messages.
    - ``size``: the size of the whole file in bytes.
    """

    def __init__(self, file: FileIO | None, path: str, size: int, start: int, length: int) -> None:
        self.file = file
        self.path = path
        self.size = size
        self.start = start
        self.length = length
        self._ahead = b""
        self._last = 0, 0.0  # the position at which ``__next__`` last read, and when
        self._left = 0 if file is None else length

    @property
    def is_whole(self) -> bool:
        """Whether the whole file is sent."""
        return self.length == self.size

    @property
    def position(self) -> int:
        """The number of bytes of the range that have been read."""
        return self.length - self._left

    def seek(self, position: int) -> None:
        """Continue reading ``position`` bytes after ``start``."""
        assert self.file is not None  # noqa: S101
        self.file.seek(self.start + position)
        self._left = self.length - position

    def read_ahead(self, is_sent: bool) -> None:
        """Read the first chunk, in the thread that has just opened the file.

        ``is_sent``: whether the server sends the file itself. If so, read nothing.
        """
        if not is_sent:
            self.seek(0)
            self._ahead = self.read(PART_CHUNK)

    def read(self, size: int) -> bytes:
        """Return at most ``size`` bytes, or ``b""`` at the end.

        Raises ``ResponseError`` if the file has become too short.
        """
        if not self._left or self.file is None:
            return b""
        chunk = self.file.read(min(size, self._left))
        if not chunk:
            raise ResponseError(f"{self.path} became shorter while it was sent")
        self._left -= len(chunk)
        return chunk

    def check_length(self) -> None:
        """Raise ``ResponseError`` if the file has become too short. Called after the server has
        sent the file itself.
        """
        assert self.file is not None  # noqa: S101
        if os.fstat(self.file.fileno()).st_size < self.start + self.length:
            raise ResponseError(f"{self.path} became shorter while it was sent")

    def __iter__(self) -> FileRange:
        return self

    def __next__(self) -> bytes:
        chunk, self._ahead = self._ahead, b""
        if not chunk:
            (start, at), now = self._last, monotonic()
            self._last = self.position, now
            taken = (self.position - start) / (now - at + 1e-6) * PACE
            size = min(LARGE_CHUNK, self.position // GROWTH, int(taken))
            chunk = self.read(max(PART_CHUNK, size))
        if not chunk:
            raise StopIteration
        return chunk
