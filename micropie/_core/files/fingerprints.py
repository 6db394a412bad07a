"""Fingerprints of files, for URLs that change with the file's bytes (``app.static_url``), and for
entity tags.

Each version of a file is read once. A file that has just changed is read for each request instead,
because the next change may leave its times as they are.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import OrderedDict
from contextlib import suppress
from io import FileIO
from math import inf
from threading import Lock
from typing import TypeAlias

from micropie._core.errors import HTTPError
from micropie._core.execution import after_fork_in_child
from micropie._core.files.lookup import (
    Facts,
    ResolvedFile,
    facts_of,
    find,
    is_set_by_build,
    is_settled,
    is_still,
    local_version,
    open_resolved,
)
from micropie._core.files.recent import Recent

# A file: the directory, the path under it, and whether symbolic links are followed.
FileLocation: TypeAlias = tuple[str, str, bool]

# The fingerprint of a file, and the version of the file that was read.
Fingerprint: TypeAlias = tuple[str, Facts]

# The maximum size, in bytes, of a file whose fingerprint is computed when a client requests the
# file.
LARGEST_REQUESTED = 64 * 1024 * 1024
# The same for a file that has just changed, because each request reads it.
LARGEST_NEW = 1024 * 1024

# The known fingerprints. Each file is checked at most once in ``FRESH_FOR`` seconds.
KNOWN: Recent[FileLocation, Fingerprint] = Recent(4096)  # the maximum number of files
after_fork_in_child(KNOWN.clear)

# The results of ``identified``: a file from ``find`` -> the same file with its validators.
# Looking one up must be cheap, so the oldest is dropped, not the least recently used.
IDENTIFIED: OrderedDict[ResolvedFile, ResolvedFile] = OrderedDict()
_MOST_IDENTIFIED = 16_384  # about 1 KB each

# A thread holds the lock of a file while it reads it for ``IDENTIFIED``, so that many requests for
# a large file, such as those of video players, don't each read it. Files share locks.
_READING: list[Lock] = []


def _make_locks() -> None:
    """Make new locks. A forked child needs them, because a thread of the parent may have held the
    old ones.
    """
    _READING[:] = [Lock() for _ in range(64)]


_make_locks()
after_fork_in_child(_make_locks)


def fingerprint(place: FileLocation, largest: float = inf) -> Fingerprint:
    """Return the fingerprint of a file, and the version to which it belongs. The fingerprint is ""
    if the file changes while it is read, or would have to be read and has more than ``largest``
    bytes. If ``largest`` is given, a file that has just changed may have ``LARGEST_NEW`` bytes.

    Raises ``HTTPError`` 404 if there is no such file. May block.
    """
    root, path, follow_symlinks = place
    seen_at = time.monotonic()
    resolved = find(root, path, (), follow_symlinks)
    known = KNOWN.latest(place)
    if known is None or known[1] != resolved.version:
        begun = time.time_ns()
        if largest < inf and not is_settled(resolved.changed_ns, begun):
            largest = LARGEST_NEW
        if resolved.size > largest:
            return "", resolved.version
        known = _digest(root, resolved, follow_symlinks), resolved.version
        if not known[0] or not is_settled(resolved.changed_ns, begun):
            return known
    KNOWN.put(place, known, seen_at)
    return known


def identified(
    root: str,
    resolved: ResolvedFile,
    follow_symlinks: bool,
    largest: float = LARGEST_REQUESTED,
) -> ResolvedFile:
    """Return ``resolved`` with its validators.

    The entity tag is a fingerprint of the bytes, because two versions may have the same times and
    sizes: archives, build tools and copies set times. If the file has more than ``largest`` bytes,
    or changes while it is read, the fingerprint is made from facts that differ between machines.

    Raises ``HTTPError`` 404 if the file no longer exists. May block, unless ``IDENTIFIED`` contains
    the file.
    """
    known = IDENTIFIED.get(resolved)
    if known is not None:
        return known
    begun = time.time_ns()
    if not is_settled(resolved.changed_ns, begun):
        largest = min(largest, LARGEST_NEW)
    if resolved.size > largest:
        return with_digest(resolved, "", begun)
    with _READING[hash(resolved) % len(_READING)]:
        known = IDENTIFIED.get(resolved)  # another thread may have read the file in the meantime
        if known is None:
            known = with_digest(resolved, _digest(root, resolved, follow_symlinks), begun)
        return known


def with_digest(resolved: ResolvedFile, digest: str, begun: int) -> ResolvedFile:
    """Return ``resolved`` with its validators, and store it in ``IDENTIFIED`` if they remain valid.

    - ``digest``: the digest of the file's bytes, or "" if they are not known.
    - ``begun``: the time in nanoseconds before the bytes were read. If the file had just changed,
      it may have changed again since then with the same times. Without a digest, such a file, and
      a file of an image whose times a build has set, gets a weak tag that no other response has.
    """
    is_new = not is_settled(resolved.changed_ns, begun)
    is_sure = bool(digest) or not (is_new or is_set_by_build(resolved.changed_ns))
    tag = digest or local_version(resolved[3:8])
    if not is_sure:
        tag = f"{tag}-{begun:x}"
    known = resolved.identified_by(tag, "" if is_sure else "W/")
    if is_sure and not is_new and (digest or resolved.size > LARGEST_REQUESTED):
        IDENTIFIED[resolved] = known
        if len(IDENTIFIED) > _MOST_IDENTIFIED:
            IDENTIFIED.popitem(last=False)
    return known


def validators_of(found: os.stat_result, path: str) -> ResolvedFile:
    """Return the validators of a file that ``find`` did not look up. May block.

    ``path``: the path that the file probably has. If another file is there, the entity tag is made
    from facts that differ between machines.
    """
    facts = facts_of(found)
    file = ResolvedFile(path, "", False, *facts, facts)
    # ``path`` may be no path at all, and the process may have no file handles left.
    with suppress(HTTPError, OSError, ValueError):
        return identified(os.sep, file, follow_symlinks=True)
    return with_digest(file, "", time.time_ns())


def digest_of(data: bytes) -> str:
    """Return the digest of a file's bytes."""
    return hashlib.sha256(data).hexdigest()[:16]


def _digest(root: str, resolved: ResolvedFile, follow_symlinks: bool) -> str:
    """Return the digest of the file's bytes, or "" if it has changed since its look-up."""
    descriptor = open_resolved(root, resolved, follow_symlinks)
    try:
        # Check first: the file may have been replaced with a directory, a device or a huge file.
        if not is_still(resolved, descriptor):
            return ""
        with FileIO(descriptor, closefd=False) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
        return digest if is_still(resolved, descriptor) else ""
    finally:
        os.close(descriptor)


def fingerprint_for_url(place: FileLocation) -> str:
    """Return the fingerprint of a file for ``static_url``.

    Raises ``LookupError`` if there is no such file.
    """
    try:
        return (KNOWN.fresh(place) or fingerprint(place))[0]
    except HTTPError:
        raise LookupError(f"static_url: there is no file {place[1]!r} in {place[0]}") from None
