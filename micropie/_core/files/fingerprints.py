"""Fingerprints of files, for URLs that change with the file's bytes (``app.static_url``), and for
the entity tags of files whose modification time doesn't identify a version.

Each version of a file is read once.
"""

from __future__ import annotations

import hashlib
import time
from io import FileIO
from math import inf
from typing import TypeAlias

from micropie._core.errors import HTTPError
from micropie._core.execution import after_fork_in_child
from micropie._core.files.lookup import Facts, ResolvedFile, find, local_version, open_resolved
from micropie._core.files.recent import Recent

# A file: the directory, the path under it, and whether symbolic links are followed.
FileLocation: TypeAlias = tuple[str, str, bool]

# The fingerprint of a file, and the version of the file that was read.
Fingerprint: TypeAlias = tuple[str, Facts]

# The maximum size, in bytes, of a file whose fingerprint is computed when a client requests the
# file.
LARGEST_REQUESTED = 64 * 1024 * 1024

# The known fingerprints. Each file is checked at most once in ``FRESH_FOR`` seconds.
KNOWN: Recent[FileLocation, Fingerprint] = Recent(4096)  # the maximum number of files
after_fork_in_child(KNOWN.clear)

# The results of ``identified``: a file from ``find`` -> the same file with its fingerprint.
IDENTIFIED: dict[ResolvedFile, ResolvedFile] = {}
_MOST_IDENTIFIED = 4096


def fingerprint(place: FileLocation, largest: float = inf) -> Fingerprint:
    """Return the fingerprint of a file, and the version to which it belongs. The fingerprint is ""
    if the file would have to be read and has more than ``largest`` bytes.

    Raises ``HTTPError`` 404 if there is no such file. May block.
    """
    root, path, follow_symlinks = place
    seen_at = time.monotonic()
    resolved = find(root, path, (), follow_symlinks)
    known = KNOWN.latest(place)
    if known is None or known[1] != resolved.version:
        if resolved.size > largest:
            return "", resolved.version
        known = _digest(root, resolved, follow_symlinks), resolved.version
    KNOWN.put(place, known, seen_at)
    return known


def identified(root: str, resolved: ResolvedFile, follow_symlinks: bool) -> ResolvedFile:
    """Return ``resolved`` with a fingerprint for its entity tag. Call this for a file whose
    modification time is a whole second.

    The modification time of a normally written file is rarely a whole second. A whole second comes
    from an archive, or from a build tool that gives every file of each release the same time. Two
    versions with such a time may also have the same size. A file of more than 64 MiB is not read.
    Instead, its fingerprint is made from facts that differ between machines.

    Raises ``HTTPError`` 404 if the file no longer exists. May block, unless ``IDENTIFIED`` contains
    the file.
    """
    known = IDENTIFIED.get(resolved)
    if known is None:
        is_large = resolved.size > LARGEST_REQUESTED
        fingerprint = (
            local_version(resolved[3:8]) if is_large else _digest(root, resolved, follow_symlinks)
        )
        if len(IDENTIFIED) >= _MOST_IDENTIFIED:
            IDENTIFIED.clear()
        known = IDENTIFIED[resolved] = resolved.identified_by(fingerprint)
    return known


def _digest(root: str, resolved: ResolvedFile, follow_symlinks: bool) -> str:
    with FileIO(open_resolved(root, resolved, follow_symlinks)) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def fingerprint_for_url(place: FileLocation) -> str:
    """Return the fingerprint of a file for ``static_url``.

    Raises ``LookupError`` if there is no such file.
    """
    try:
        return (KNOWN.fresh(place) or fingerprint(place))[0]
    except HTTPError:
        raise LookupError(f"static_url: there is no file {place[1]!r} in {place[0]}") from None
