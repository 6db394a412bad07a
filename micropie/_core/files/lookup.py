"""Find the file that belongs to a path under a directory.

Only this module decides whether a client may get a file:

    a name that is not a relative path       404     "..", "/etc/passwd", "C:x", "a\\b", NUL, empty segments
    a hidden file or directory               404     any segment that begins with "."
    a link that points out of the directory  404     unless ``follow_symlinks``; the directory itself may be a link
    a directory, a fifo, a device            404
    a file that this process can't read      404

The response is always a 404 and never a 403, so that clients don't learn which files exist.
Failures of the machine (no file handles left, a broken disk) are raised unchanged. Every function
here may block.
"""  # noqa: E501

from __future__ import annotations

import errno
import math
import os
import re
import stat
import time
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from micropie._core.errors import HTTPError, logger
from micropie._core.http.headers import accepted_codings, cached_if_short, range_applies
from micropie._core.on_demand import pattern

# The codings of files that were compressed in advance, by suffix. The coding with the smallest
# files comes first.
_CODINGS = {".br": "br", ".zst": "zstd", ".gz": "gzip"}

# Names with a special meaning on Windows: drives, NTFS streams, devices, and names with a trailing
# dot or space, which Windows drops.
_WINDOWS_OWN = pattern(
    r":|(^|/)(con|prn|aux|nul|(com|lpt)[0-9¹²³])[ ]*([./]|$)|[. ](/|$)", re.IGNORECASE
)
_DRIVE = pattern(r"[A-Za-z]:")

# Errors for a name that no file can have, or for a file that can't be read. Some systems raise
# EINVAL and EILSEQ for unusual characters.
_ABSENT = frozenset(
    {
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ENAMETOOLONG,
        errno.ELOOP,
        errno.EACCES,
        errno.EPERM,
        errno.ENXIO,
        errno.EINVAL,
        errno.EILSEQ,
    }
)

# O_NONBLOCK is needed in case the file was replaced by a fifo since its ``stat``: opening a fifo
# would wait for a writer. Windows has no O_NONBLOCK, but it has O_BINARY. Python always adds
# O_CLOEXEC.
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
# On Linux, O_PATH also opens a directory that may be entered but not listed.
_DIRECTORY_FLAGS = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_PATH", os.O_RDONLY) | _NO_FOLLOW
_OPENS_BELOW = os.open in os.supports_dir_fd and _NO_FOLLOW != 0


SECOND = 1_000_000_000  # nanoseconds

# The clock of a file system moves in steps: of 4 or 10 ms in Linux before 6.13, of a second or two
# where times have no fractions. Two changes within one step leave the same times.
_STEP = SECOND // 20
_LONG_STEP = 2 * SECOND
# A file server's clock may be fast by a few minutes. If a change lies further in the future, our
# clock was wrong, and the next change will have an earlier time.
_SKEW = 600 * SECOND

# Build tools give all files of each release one time, which shows no change. It is a time before
# 1990, when there was no web (Nix 1970, buildpacks, Gradle and ZIP archives 1980, Yarn 1984, npm
# 1985), or midnight in UTC of a day that somebody has chosen (Bazel, Hatch, SOURCE_DATE_EPOCH).
_FIRST_DATE = 631_152_000 * SECOND
_DAY = 86_400 * SECOND

# Such a time doesn't show which of two files is older, but the time when each was copied here does.
# A release is copied within this time.
_COPYING = 60 * SECOND

# A request for a file: the directory, the path, the suffixes of compressed files that the client
# accepts, and whether symbolic links are followed.
Key: TypeAlias = tuple[str, str, tuple[str, ...], bool]


# The facts that identify a version of a file: its size, the time when its bytes last changed, the
# time when its inode last changed (both in nanoseconds), its inode and its device. Only the system
# can set the time when the inode changed.
Facts: TypeAlias = tuple[int, int, int, int, int]


class ResolvedFile(NamedTuple):
    """A regular file, as ``stat`` described it.

    Equal objects stand for files with the same bytes, as far as ``stat`` shows.
    """

    path: str
    """The file's path, with links resolved."""
    coding: str
    """The coding of a compressed file, for Content-Encoding; "" for a file that is not
    compressed."""
    varies: bool
    """Whether another Accept-Encoding could select another file."""
    size: int
    modified_ns: int
    changed_ns: int
    inode: int
    device: int
    version: Facts
    """The facts of the uncompressed file, even if this object is a compressed file."""
    etag: str = ""
    """The entity tag, from ``identified_by``. Unless it begins with "W/", it changes whenever the
    bytes change (RFC 9110, section 8.8.1).
    """
    date: float = math.inf
    """The modification time in whole seconds since 1970, from ``identified_by``; infinite if a
    build tool has set a value that is no date."""

    @property
    def modified(self) -> float:
        """The date for Last-Modified: ``date``, but never in the future (RFC 9110, section
        8.8.2.1).
        """
        now = time.time()
        return int(now) if now < self.date < math.inf else self.date

    @staticmethod
    def allows_range(condition: str | None, etag: str) -> bool:
        """See ``range_applies``."""
        return range_applies(condition, etag)

    def identified_by(self, fingerprint: str, weak: str) -> ResolvedFile:
        """Return a copy of this object with the validators for its response.

        - ``fingerprint``: identifies the file's bytes.
        - ``weak``: "W/" if other bytes may have the same fingerprint, otherwise "".
        """
        return self._replace(
            etag=f'{weak}"{fingerprint}{self.coding and "-" + self.coding}"',
            date=math.inf if is_set_by_build(self.modified_ns) else self.modified_ns // SECOND,
        )


@cached_if_short(256)  # cached, because browsers send few different values
def codings_for(accept_encoding: str) -> tuple[str, ...]:
    """Return the suffixes of the compressed files that an Accept-Encoding header allows, the best
    first.
    """
    suffixes = {coding: suffix for suffix, coding in _CODINGS.items()}
    return tuple(suffixes[one] for one in accepted_codings(accept_encoding, suffixes))


@lru_cache(maxsize=1024)
def resolved_root(root: str) -> str:
    """Return a directory as an absolute path with links resolved and a separator at its end.

    The result is cached, so each process resolves a directory only once.
    """
    return os.path.join(os.path.realpath(root), "")


def find(root: str, path: str, suffixes: tuple[str, ...], follow_symlinks: bool) -> ResolvedFile:
    """Return the file at ``path`` under ``root``, or a compressed file next to it.

    Raises ``HTTPError`` 404 if there is no such file.

    ``suffixes`` come from ``codings_for``. A compressed file that is older than the file itself is
    not used, because it may contain an older version.
    """
    if not _may_be_file(path):
        raise HTTPError(404)
    full = resolved_root(root) + path
    try:
        if follow_symlinks:
            facts = os.stat(full)
        else:
            facts = os.lstat(full)
            if "/" in path or stat.S_ISLNK(facts.st_mode):
                full, facts = _without_links(full, facts, len(full) - len(path))
        # Only regular files are opened, because opening a device may have side effects.
        if not stat.S_ISREG(facts.st_mode) or not os.access(full, os.R_OK):
            raise HTTPError(404)
        version = facts_of(facts)
        found = ResolvedFile(full, "", False, *version, version)
        for suffix in _CODINGS:
            if os.access(full + suffix, os.F_OK):
                # Compressed files rarely exist, and ``access`` is cheaper than the exception that
                # ``stat`` would raise for a missing file.
                found = _best_coding(found, suffixes, follow_symlinks)
                break
    except ValueError:  # for example, a lone surrogate can't be encoded
        raise HTTPError(404) from None
    except OSError as error:
        if not os.path.isdir(root):
            logger.warning("can't serve files from %r: it is not a directory", root)
        raise _not_found(error) from None
    return found


@cached_if_short(1024)
def _may_be_file(path: str) -> bool:
    """Return whether ``path`` may be the path of a file that clients can get."""
    return not (
        "\0" in path
        or "\\" in path
        or (path[1:2] == ":" and _DRIVE.match(path))
        or (os.name == "nt" and _WINDOWS_OWN.search(path))
        # A path must not be absolute or end with a slash. Hidden names and ".." begin with ".".
        or path[:1] in ("", ".", "/")
        or path[-1] == "/"
        or "/." in path
        or "//" in path
    )


def open_resolved(root: str, resolved: ResolvedFile, follow_symlinks: bool) -> int:
    """Open a file that was found under ``root`` and return its descriptor.

    Raises ``HTTPError`` 404 if the file no longer exists.

    After the look-up, somebody who can write to directories under ``root`` could have replaced a
    directory with a symbolic link. So unless ``follow_symlinks`` is set, the path is opened
    directory by directory, each relative to the previous one and never through a link. Only Windows
    lacks the system calls for this.
    """
    path, above = resolved.path, resolved_root(root)
    try:
        if follow_symlinks:
            return os.open(path, _OPEN_FLAGS)
        if path.rfind(os.sep) <= len(above) or not _OPENS_BELOW:
            return os.open(path, _OPEN_FLAGS | _NO_FOLLOW)
        *directories, name = path[len(above) :].lstrip(os.sep).split(os.sep)
        # Open the first directory by its full path, which saves opening the root. This is safe
        # because the root itself has no links.
        opened = os.open(os.path.join(above, directories[0]), _DIRECTORY_FLAGS)
        try:
            for directory in directories[1:]:
                inner = os.open(directory, _DIRECTORY_FLAGS, dir_fd=opened)
                os.close(opened)
                opened = inner
            return os.open(name, _OPEN_FLAGS | _NO_FOLLOW, dir_fd=opened)
        finally:
            os.close(opened)
    except OSError as error:
        raise _not_found(error) from None


def is_still(resolved: ResolvedFile, descriptor: int) -> bool:
    """Return whether the open file is the resolved file and hasn't changed since its look-up."""
    return facts_of(os.fstat(descriptor)) == resolved[3:8]


def _without_links(full: str, facts: os.stat_result, start: int) -> tuple[str, os.stat_result]:
    """Return the path with symbolic links resolved, and its ``stat``. Raises 404 if a link points
    out of the root.

    ``facts``: the ``lstat`` of ``full``. The first ``start`` characters of ``full`` are the root,
    which has no links.
    """
    # Check for links first, because ``realpath`` is slower: it also checks every part of the root.
    has_link, end = stat.S_ISLNK(facts.st_mode), full.find("/", start)
    while end > 0 and not has_link:
        has_link = stat.S_ISLNK(os.lstat(full[:end]).st_mode)
        end = full.find("/", end + 1)
    if not has_link:
        return full, facts
    real = os.path.realpath(full)
    # The prefix compared here ends with the separator, because "/srv/files-old" is not under
    # "/srv/files". A link must not point to a hidden name either.
    if not real.startswith(full[:start]) or os.sep + "." in real[start - 1 :]:
        raise HTTPError(404)
    return real, os.lstat(real)


def _best_coding(
    plain: ResolvedFile, suffixes: tuple[str, ...], follow_symlinks: bool
) -> ResolvedFile:
    """Return the first compressed file next to ``plain``, in the order of ``suffixes``, that is not
    older than ``plain``. If there is none, return ``plain``.
    """
    best = plain
    for suffix in dict.fromkeys((*suffixes, *_CODINGS)):
        path = plain.path + suffix
        try:
            beside = os.stat(path, follow_symlinks=follow_symlinks)
        except OSError:
            continue
        if is_set_by_build(plain.modified_ns):
            is_older = beside.st_ctime_ns < plain.changed_ns - _COPYING
        else:
            # Compare whole seconds, because a tar archive may have cut the files' times to seconds.
            is_older = beside.st_mtime_ns // SECOND < plain.modified_ns // SECOND
        if is_older or not stat.S_ISREG(beside.st_mode) or not os.access(path, os.R_OK):
            continue
        if suffix in suffixes and not best.coding:
            best = ResolvedFile(path, _CODINGS[suffix], True, *facts_of(beside), plain.version)
        best = best._replace(varies=True)
    return best


def facts_of(found: os.stat_result) -> Facts:
    """Return the facts that identify a version of a file. Equal facts mean the same bytes if
    ``is_settled``.
    """
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev


def is_set_by_build(nanoseconds: int) -> bool:
    """Return whether a time of a file is one that build tools set, and no clock."""
    return nanoseconds < _FIRST_DATE or nanoseconds % _DAY == 0


def is_settled(changed_ns: int, now_ns: int) -> bool:
    """Return whether a change of the file after ``now_ns`` would change its facts.

    ``changed_ns``: the time when the file's inode last changed.
    """
    step = _STEP if changed_ns % SECOND else _LONG_STEP
    return not now_ns - step <= changed_ns <= now_ns + _SKEW


def local_version(facts: Facts) -> str:
    """Return a string that identifies a version of a file on this machine."""
    return "-".join(f"{fact:x}" for fact in facts)


def _not_found(error: OSError) -> Exception:
    return HTTPError(404) if error.errno in _ABSENT else error
