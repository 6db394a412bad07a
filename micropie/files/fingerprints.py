"""Fingerprints of files' bytes, for addresses that change with them: ``app.static_url``.

A file is read once for each of its versions, and looked at once in ``FRESH_FOR`` seconds at most.
"""

from __future__ import annotations

import hashlib
import time
from functools import lru_cache
from io import FileIO
from math import inf
from typing import TypeAlias

from micropie.errors import HTTPError
from micropie.files.cache import FRESH_FOR
from micropie.files.lookup import Facts, ResolvedFile, find, open_resolved

# A directory, a path below it, whether links are followed.
Place: TypeAlias = tuple[str, str, bool]

# The fingerprint of a file, and the version of it that was read.
Fingerprint: TypeAlias = tuple[str, Facts]

CAPACITY = 4096  # files
LARGEST_ASKED = 64 * 1024 * 1024  # bytes of a file that is read because a client asks for a version of it

_KNOWN: dict[Place, tuple[Fingerprint, float]] = {}  # a fingerprint, and until which monotonic time it is fresh


def known_fingerprint(place: Place) -> Fingerprint | None:
    """Return the fingerprint of a file that was looked at a moment ago; None for any other."""
    known, until = _KNOWN.get(place, (None, 0.0))
    return known if until > time.monotonic() else None


def fingerprint(place: Place, largest: float = inf) -> Fingerprint:
    """Return the fingerprint of a file, "" for one of more than ``largest`` bytes that would have to be read.

    Raises ``HTTPError`` 404. May block.
    """
    root, path, follow_symlinks = place
    until = time.monotonic() + FRESH_FOR
    resolved = find(root, path, (), follow_symlinks)
    known, _ = _KNOWN.get(place, (None, 0.0))
    if resolved.size > largest and (known is None or known[1] != resolved.version):
        return "", resolved.version
    known = _digits(root, resolved, follow_symlinks), resolved.version
    if len(_KNOWN) >= CAPACITY:
        _KNOWN.clear()
    _KNOWN[place] = known, until
    return known


@lru_cache(maxsize=CAPACITY)
def _digits(root: str, version: ResolvedFile, follow_symlinks: bool) -> str:
    with FileIO(open_resolved(root, version, follow_symlinks)) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def fingerprint_for_url(place: Place) -> str:
    """Return the fingerprint of a file that an author names. Raises ``LookupError`` if there is no such file."""
    try:
        return (known_fingerprint(place) or fingerprint(place))[0]
    except HTTPError:
        raise LookupError(f"there is no file {place[1]!r} in {place[0]}") from None
