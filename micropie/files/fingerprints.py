"""Fingerprints of files' bytes, for addresses that change with them: ``app.static_url``.

A file is read once for each of its versions, and looked at once in ``FRESH_FOR`` seconds at most.
"""

from __future__ import annotations

import hashlib
import time
from functools import lru_cache
from io import FileIO
from typing import TypeAlias

from micropie.errors import HTTPError
from micropie.files.cache import FRESH_FOR
from micropie.files.lookup import ResolvedFile, find, open_resolved

# A directory, a path below it, whether links are followed.
Place: TypeAlias = tuple[str, str, bool]

CAPACITY = 4096  # files

_KNOWN: dict[Place, tuple[str, float]] = {}  # a fingerprint, and until which monotonic time it is fresh


def known_fingerprint(place: Place) -> str | None:
    """Return the fingerprint of a file that was looked at a moment ago; None for any other."""
    digits, until = _KNOWN.get(place, ("", 0.0))
    return digits if until > time.monotonic() else None


def fingerprint(place: Place) -> str:
    """Return the fingerprint of a file. Raises ``HTTPError`` 404. May block."""
    root, path, follow_symlinks = place
    until = time.monotonic() + FRESH_FOR
    digits = _digits(root, find(root, path, (), follow_symlinks), follow_symlinks)
    if len(_KNOWN) >= CAPACITY:
        _KNOWN.clear()
    _KNOWN[place] = digits, until
    return digits


@lru_cache(maxsize=CAPACITY)
def _digits(root: str, version: ResolvedFile, follow_symlinks: bool) -> str:
    with FileIO(open_resolved(root, version, follow_symlinks)) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def fingerprint_for_url(place: Place) -> str:
    """Return the fingerprint of a file that an author names. Raises ``LookupError`` if there is no such file."""
    try:
        return known_fingerprint(place) or fingerprint(place)
    except HTTPError:
        raise LookupError(f"there is no file {place[1]!r} in {place[0]}") from None
