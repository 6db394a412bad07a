"""Which file a path below a directory names, if any: what decides that a client gets a file is here, and only here.

    a name that is no relative path          404     "..", "/etc/passwd", "C:x", "a\\b", NUL, empty segments
    a hidden file or directory               404     any segment that begins with "."
    a link that leads out of the directory   404     unless ``follow_symlinks``; the directory itself may be one
    a directory, a fifo, a device            404
    a file that this process can't read      404

Always 404 and never 403: which files there are is nobody's business. What goes wrong with the machine (no file
handles left, a disk that fails) is no 404, and is raised as it comes. Everything here may block.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import stat
import time
from functools import lru_cache
from io import FileIO
from typing import NamedTuple

from micropie.errors import HTTPError
from micropie.http.conditional import accepts_coding

logger = logging.getLogger("micropie")

# A file that was compressed ahead: its ending, its coding's names (RFC 9110, section 8.4.1). The first one that a
# client accepts is sent: brotli's is the smaller.
_CODINGS = ((".br", ("br",)), (".gz", ("gzip", "x-gzip")))

# What Windows takes for something else than a name: a drive or a stream of NTFS, a device, a dot that it drops.
_WINDOWS_OWN = re.compile(r":|(^|/)(con|prn|aux|nul|(com|lpt)[0-9¹²³])[ ]*([./]|$)|[. ](/|$)", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:")

# A name that can't be one, or whose file can't be read. EINVAL and EILSEQ: what some systems say of odd characters.
_ABSENT = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.EPERM}
    | {errno.ENXIO, errno.EINVAL, errno.EILSEQ}
)

# NONBLOCK: what became a fifo since it was looked at must not wait for its writer. Windows has its own two.
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)


class ResolvedFile(NamedTuple):
    """A regular file, as it was when it was looked at. Equal values mean the same content, as far as can be told."""

    path: str
    """Where it is, links resolved."""
    coding: str
    """How its content is compressed, a name for Content-Encoding; "" for a file that is sent as it is."""
    varies: bool
    """Whether another Accept-Encoding might be answered with another file."""
    size: int
    modified_ns: int
    inode: int
    device: int

    @property
    def etag(self) -> str:
        """A strong entity tag: it changes with the time of the last change (nanoseconds), the size and the coding.

        So it is the same on machines that keep the files' times, and wrong for one who changes a file's bytes but
        neither its size nor its time.
        """
        return f'"{self.modified_ns:x}-{self.size:x}{self.coding and "-" + self.coding}"'

    @property
    def modified(self) -> int:
        """Seconds since 1970, never in the future (RFC 9110, section 8.8.2.1)."""
        return max(0, min(self.modified_ns // 1_000_000_000, int(time.time())))


def codings_for(accept_encoding: str) -> tuple[str, ...]:
    """The endings of the compressed files that an Accept-Encoding header allows, the best first."""
    return tuple(ending for ending, names in _CODINGS if accepts_coding(accept_encoding, names))


@lru_cache(maxsize=1024)
def resolved_root(root: str) -> str:
    """A directory as an absolute path, its links resolved: once in the life of a process."""
    return os.path.realpath(root)


def find(root: str, path: str, endings: tuple[str, ...], follow_symlinks: bool) -> ResolvedFile:
    """The file that ``path`` names below ``root``, or a compressed one beside it. Raises ``HTTPError`` 404.

    ``endings`` are those of ``codings_for``. A compressed file that is older than the file itself is not looked at:
    somebody has changed the one and not yet the other.
    """
    if _is_refused(path):
        raise HTTPError(404)
    try:
        return _found(_place(resolved_root(root), path, follow_symlinks), endings, follow_symlinks)
    except ValueError:  # a lone surrogate, which the file system's encoding has not
        raise HTTPError(404) from None
    except OSError as error:
        if not os.path.isdir(root):
            logger.warning("files are to be served from %r, which is no directory", root)
        raise _not_found(error) from None


def open_found(found: ResolvedFile, follow_symlinks: bool) -> FileIO:
    """Open a file that was found, unbuffered. Raises ``HTTPError`` 404 if it is gone."""
    try:
        return FileIO(os.open(found.path, _OPEN_FLAGS | (0 if follow_symlinks else _NO_FOLLOW)))
    except OSError as error:
        raise _not_found(error) from None


def is_still(found: ResolvedFile, file: FileIO) -> bool:
    """Whether an open file is the one that was found, unchanged since."""
    return _facts(os.fstat(file.fileno())) == found[3:]


def _is_refused(path: str) -> bool:
    if "\0" in path or "\\" in path or _DRIVE.match(path) or (os.name == "nt" and _WINDOWS_OWN.search(path)):
        return True
    # An empty segment is an absolute path or ends one; "." begins what leads up and what is hidden.
    return any(not segment or segment[0] == "." for segment in path.split("/"))


def _place(root: str, path: str, follow_symlinks: bool) -> str:
    place = os.path.join(root, path)
    if follow_symlinks or not _has_link(root, path):
        return place
    place = os.path.realpath(place)
    if not place.startswith(root if root.endswith(os.sep) else root + os.sep):  # "/srv/files" is not "/srv/files-old"
        raise HTTPError(404)
    return place


def _has_link(root: str, path: str) -> bool:
    """Whether a part of ``path`` is a link: ``realpath`` asks for every part of ``root`` too, and takes longer."""
    for segment in path.split("/"):
        root = os.path.join(root, segment)
        if os.path.islink(root):
            return True
    return False


def _found(place: str, endings: tuple[str, ...], follow_symlinks: bool) -> ResolvedFile:
    plain = _regular(place, follow_symlinks)
    compressed = {}
    for ending, names in _CODINGS:
        try:
            beside = _regular(place + ending, follow_symlinks)
        except (HTTPError, OSError):
            continue
        # Whole seconds: archives keep no more of a time than that.
        if int(beside.st_mtime) >= int(plain.st_mtime):
            compressed[ending] = names[0], beside
    for ending in endings:
        if ending in compressed:
            coding, beside = compressed[ending]
            return ResolvedFile(place + ending, coding, True, *_facts(beside))
    return ResolvedFile(place, "", bool(compressed), *_facts(plain))


def _regular(place: str, follow_symlinks: bool) -> os.stat_result:
    """What is known of a regular file. Looked at before it is opened: opening a device may do something."""
    facts = os.stat(place, follow_symlinks=follow_symlinks)
    if not stat.S_ISREG(facts.st_mode) or not os.access(place, os.R_OK):
        raise HTTPError(404)
    return facts


def _facts(facts: os.stat_result) -> tuple[int, int, int, int]:
    return facts.st_size, facts.st_mtime_ns, facts.st_ino, facts.st_dev


def _not_found(error: OSError) -> Exception:
    return HTTPError(404) if error.errno in _ABSENT else error
