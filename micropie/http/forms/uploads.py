"""A file that a client uploaded: its bytes, on disk past 1 MiB, and the name it claims to have.

What the client says about a file is kept as it came (``raw_filename``, ``headers``); only ``filename`` may
become part of a path. Nothing here parses, and nothing here waits for anything but the disk.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import SpooledTemporaryFile
from threading import Lock
from typing import IO, Any

from micropie.execution.outcomes import Completed

CHUNK = 64 * 1024

# Bytes that a worker thread writes at once. The hop there costs 55 µs, a write of 64 KiB, which is what servers give
# at a time, 20 µs.
BATCH = 256 * 1024
MOST_PIECES = 64  # of one batch: 256 KiB in pieces of a byte would take 20 MiB

MAX_FILENAME = 255  # bytes; NAME_MAX of ext4, XFS, APFS and NTFS (there in UTF-16 units)

# Controls, what turns the reading direction ("gpj.exe" shown as "exe.jpg"), what Windows has other uses for.
_UNSAFE = re.compile('[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff<>:"|?*]')
_DEVICES = re.compile("(con|prn|aux|nul|(com|lpt)[0-9¹²³]|conin[$]|conout[$])[ ]*([.]|$)", re.IGNORECASE)


def safe_filename(raw: str) -> str:
    """``raw`` without directories, controls, leading dots, Windows' devices; "upload" if nothing is left."""
    name = raw.replace("\\", "/").rpartition("/")[2]
    name = _UNSAFE.sub("", name).strip(" ").lstrip(".").rstrip(". ") or "upload"
    if _DEVICES.match(name):
        name = f"_{name}"
    return _shortened(name)


def _shortened(name: str) -> str:
    if len(name.encode()) <= MAX_FILENAME:
        return name
    stem, dot, extension = name.rpartition(".")
    ending = (dot + extension).encode()
    if not stem or len(ending) > 32:  # none, or none that anybody means
        stem, ending = name, b""
    kept = stem.encode()[: MAX_FILENAME - len(ending)] + ending
    return kept.decode(errors="ignore").rstrip(". ")


class UploadFile:
    """One uploaded file, at its start. Closed and gone when its request ends: ``save_to`` keeps it."""

    __slots__ = ("content_type", "file", "filename", "headers", "raw_filename", "size")

    def __init__(self, raw_filename: str, headers: dict[str, str], spool_size: int) -> None:
        self.raw_filename = raw_filename
        self.filename = safe_filename(raw_filename)
        self.headers = headers
        self.content_type = headers.get("content-type", "application/octet-stream")
        self.size = 0
        # In memory up to spool_size; 0 would mean "always", so 1 byte is the least.
        self.file = SpooledTemporaryFile[bytes](max_size=max(spool_size, 1))

    def __repr__(self) -> str:
        return f"<UploadFile {self.filename!r} {self.size} bytes>"

    def __getitem__(self, name: str) -> Any:
        """``upload["filename"]``, ``upload["content_type"]`` and ``upload["content"]``, as MicroPie has them."""
        if name == "content":
            return UploadContent(self)
        if name not in ("filename", "content_type"):
            raise KeyError(name)
        return getattr(self, name)

    def __iter__(self) -> Iterator[bytes]:
        """The rest of the file, 64 KiB at a time."""
        while chunk := self.read(CHUNK):
            yield chunk

    def write(self, data: bytes) -> None:
        self.file.write(data)
        self.size += len(data)

    def read(self, n: int = -1) -> bytes:
        return self.file.read(n)

    def seek(self, offset: int, whence: int = 0) -> int:
        # Not the spooled file's own return value: that is None before Python 3.11.
        self.file.seek(offset, whence)
        return self.file.tell()

    def save_to(self, directory: str | Path) -> Path:
        """Write the whole file into ``directory`` as ``filename`` and return the path.

        Raises ``FileExistsError`` if that name is taken; a broken file is not left behind.
        """
        path = Path(directory) / safe_filename(self.filename)
        with path.open("xb") as target:  # "x" does not follow a symlink either
            try:
                self.seek(0)
                shutil.copyfileobj(self.file, target, CHUNK)
            except BaseException:
                path.unlink()
                raise
        self.seek(0)
        return path

    def close(self) -> None:
        self.file.close()


class UploadContent:
    """``upload["content"]``: a file read like a queue, ``while chunk := await content.get(): ...``, None at its end."""

    __slots__ = ("_upload",)

    def __init__(self, upload: UploadFile) -> None:
        self._upload = upload

    def get(self) -> Completed[bytes | None]:
        """The next 64 KiB at most, None at the end."""
        return Completed(self._upload.read(CHUNK) or None)


class NewFile:
    """A file that is written as its content arrives; it must not exist before. Not complete, it is ``discard``ed.

    One thread may write while another discards, for a request that was cancelled: nothing is left of the file then.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] | None = None
        self._lock = Lock()
        self._is_discarded = False

    def write(self, pieces: Sequence[bytes], is_last: bool = False) -> None:
        """Write, and close if these are the last. Raises ``FileExistsError`` the first time if it exists."""
        with self._lock:
            if self._is_discarded:
                return
            if self._file is None:
                self._file = self.path.open("xb")  # "x" does not follow a symlink either
            self._file.writelines(pieces)
            if is_last:
                self._file.close()

    def discard(self) -> None:
        """Close and remove what was written."""
        with self._lock:
            self._is_discarded = True
            if self._file is not None:
                with suppress(OSError):  # a full disk: what is still to be written is not wanted
                    self._file.close()
                self.path.unlink(missing_ok=True)
