"""Uploaded files: their bytes, stored on disk if they take more than 1 MiB, and the name that the
client sent.

``raw_filename`` and ``headers`` are as the client sent them; only ``filename`` is safe in a path.
Nothing is parsed here, and this code blocks only on disk access.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from io import BufferedIOBase
from pathlib import Path
from threading import Lock
from typing import IO, TYPE_CHECKING, Any, SupportsIndex

from micropie._core.on_demand import module, pattern
from micropie._core.spellings import UploadSpellings

if TYPE_CHECKING:
    import mmap
    import pickle
    import tempfile
else:
    mmap = module("mmap")
    pickle = module("pickle")
    tempfile = module("tempfile")  # imported on first use: few sites have uploads

CHUNK = 64 * 1024

# How many bytes a worker thread writes at once. Servers pass on 64 KiB at a time, but using a
# thread costs more than writing so little.
BATCH = 256 * 1024
# The maximum number of pieces in a batch: 256 KiB in one-byte pieces would take 20 MiB of memory.
MOST_PIECES = 64

MAX_FILENAME = 255  # bytes, the limit of ext4, XFS, APFS and NTFS (NTFS counts UTF-16 units)

# Characters to remove from a file's name: control characters, characters that change the writing
# direction (and so show "gpj.exe" as "exe.jpg"), and characters that Windows reserves.
_UNSAFE = pattern(
    '[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff<>:"|?*]'
)
_DEVICES = pattern(
    "(con|prn|aux|nul|(com|lpt)[0-9¹²³]|conin[$]|conout[$])[ ]*([.]|$)", re.IGNORECASE
)


def safe_filename(raw: str) -> str:
    """Return ``raw`` without directories, control characters and leading dots; "upload" if nothing
    is left. The name of a Windows device, such as "con", becomes "_con".
    """
    name = raw.replace("\\", "/").rpartition("/")[2]
    name = _UNSAFE.sub("", name).strip(". ") or "upload"
    if _DEVICES.match(name):
        name = f"_{name}"
    if len(name.encode()) <= MAX_FILENAME:
        return name
    stem, dot, extension = name.rpartition(".")
    suffix = (dot + extension).encode()
    if not stem or len(suffix) > 32:  # the last dot doesn't begin an extension
        stem, suffix = name, b""
    return (
        (stem.encode()[: MAX_FILENAME - len(suffix)] + suffix).decode(errors="ignore").rstrip(". ")
    )


class UploadFile(UploadSpellings):
    """One uploaded file, positioned at its start. Functions that take an open file accept it, such
    as those of Pillow and ``zipfile``.

    It is closed and deleted when its request ends. To keep it, copy it with ``save_to``.
    """

    __slots__ = ("_filename", "content_type", "file", "headers", "raw_filename", "size")

    file: IO[bytes]
    """The open file. It is stored in memory up to ``spool_size`` bytes, and on disk if it is larger
    or after ``fileno()`` was called.
    """

    def __init__(self, raw_filename: str, headers: dict[str, str], spool_size: int) -> None:
        self.raw_filename = raw_filename
        self._filename: str | None = None
        self.headers = {**headers}
        self.content_type = headers.get("content-type", "application/octet-stream")
        self.size = 0
        # ``max_size=0`` would mean that files of any size stay in memory
        self.file = tempfile.SpooledTemporaryFile(max_size=spool_size or -1)

    @property
    def filename(self) -> str:
        """The file's name, safe to use in a path. Set it to save the file under another name."""
        return safe_filename(self.raw_filename) if self._filename is None else self._filename

    @filename.setter
    def filename(self, name: str) -> None:
        self._filename = name

    def __repr__(self) -> str:
        return f"<UploadFile {self.filename!r} {self.size} bytes>"

    def __iter__(self) -> Iterator[bytes]:
        """Iterate over the rest of the file, 64 KiB at a time."""
        while chunk := self.read(CHUNK):
            yield chunk

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[object, ...]:
        """Pickle the file with its content. From disk, pickle protocol 5 takes the bytes without a
        copy in memory.
        """
        self.seek(0)
        content: object
        if self.size and self.file.name is not None and int(protocol) >= 5:
            content = pickle.PickleBuffer(mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_READ))
        else:
            content = self.read()
            self.seek(0)
        return _copied, (
            self.raw_filename,
            self._filename,
            self.headers,
            self.content_type,
            content,
        )

    if not TYPE_CHECKING:  # pragma: no branch - type checkers must report unknown names

        def __getattr__(self, name: str) -> Any:
            """Return another method of the file, such as ``tell`` and ``readline``."""
            if name.startswith("_") or not hasattr(BufferedIOBase, name):
                raise AttributeError(
                    f"'UploadFile' object has no attribute {name!r}", name=name, obj=self
                )
            return getattr(object.__getattribute__(self, "file"), name)

    def write(self, data: bytes) -> None:
        """Append ``data``."""
        self.size += len(data)
        self.file.write(data)

    def read(self, n: int = -1) -> bytes:
        """Return the next ``n`` bytes, or fewer at the end. Without ``n``, return the rest."""
        return self.file.read(n)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Change the position, as ``seek`` of any file does, and return the new position."""
        return self.file.seek(offset, whence)

    def save_to(self, directory: str | Path) -> Path:
        """Write the whole file into ``directory``, as ``filename``, and return the new file's path.

        Raises ``FileExistsError`` if that name is taken. After an error, no incomplete file is left
        behind.
        """
        target = NewFile(Path(directory) / safe_filename(self.filename))
        self.seek(0)
        try:
            target.write(self, is_last=True)
        except BaseException as error:
            target.discard()
            with suppress(ValueError):  # the file may be closed by now
                self.seek(0)
            if isinstance(error, OSError) and error.filename is None:
                error.filename = str(target.path)  # for the log, if the disk is full
            raise
        self.seek(0)
        return target.path

    def close(self) -> None:
        """Close the file, which deletes it."""
        with suppress(OSError):  # a full disk doesn't matter: the file is deleted
            self.file.close()


class _Copy(UploadFile):
    """The copy of an upload in another process. It is closed when nothing refers to it any more."""

    __slots__ = ()

    def __del__(self) -> None:
        self.close()


def _copied(
    raw_filename: str, filename: str | None, headers: dict[str, str], kind: str, content: Any
) -> UploadFile:
    """Return a copy of an upload, which was pickled."""
    upload = _Copy(raw_filename, headers, spool_size=1024 * 1024)
    upload._filename, upload.content_type = filename, kind
    content = memoryview(content)
    upload.write(content)
    upload.seek(0)
    return upload


class NewFile:
    """A file that is written while its content arrives. It must not exist before.

    If the request is cancelled, one thread may call ``discard`` while another one writes; the file
    is then removed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] | None = None
        self._lock = Lock()
        self._is_discarded = False

    def write(self, pieces: Iterable[bytes], is_last: bool = False) -> None:
        """Write ``pieces``; with ``is_last``, close the file after them.

        Raises ``FileExistsError`` if the file existed before.
        """
        with self._lock:
            if self._is_discarded:
                return
            if self._file is None:
                try:
                    # "x" refuses an existing file and doesn't follow a symlink.
                    self._file = self.path.open("xb")
                except (FileNotFoundError, NotADirectoryError) as error:
                    error.add_note(f"save_to needs an existing directory, not {self.path.parent}")
                    raise
            self._file.writelines(pieces)
            if is_last:
                self._file.close()

    def discard(self) -> None:
        """Close and remove the file, and ignore later writes."""
        with self._lock:
            self._is_discarded = True
            if self._file is not None:
                with suppress(OSError):  # a full disk doesn't matter: the file is deleted
                    self._file.close()
                self.path.unlink(missing_ok=True)
