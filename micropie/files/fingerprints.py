"""Fingerprints of files' bytes, for addresses that change with them: ``app.static_url``.

A file is read once for each of its versions, and looked at once in ``FRESH_FOR`` seconds at most.
"""

from __future__ import annotations

import hashlib
import time
from io import FileIO
from typing import Final, TypeAlias

from micropie.errors import HTTPError
from micropie.files.cache import FRESH_FOR
from micropie.files.lookup import ResolvedFile, find, open_resolved

# A directory, a path below it, whether links are followed.
Place: TypeAlias = tuple[str, str, bool]

_DIGITS: Final = 16  # hexadecimal: 64 bits

_CAPACITY: Final = 4096  # files

# The version whose bytes were read last, their fingerprint, and until which monotonic time that is fresh. Threads may
# read the same file at once, which costs only time.
_KNOWN: dict[Place, tuple[ResolvedFile, str, float]] = {}


def known_fingerprint(place: Place) -> str | None:
    """Return the fingerprint of a file that was looked at a moment ago; None for any other."""
    known = _KNOWN.get(place)
    return known[1] if known is not None and known[2] > time.monotonic() else None


def fingerprint(place: Place) -> str:
    """Return the fingerprint of a file. Raises ``HTTPError`` 404. May block."""
    root, path, follow_symlinks = place
    until = time.monotonic() + FRESH_FOR
    resolved = find(root, path, (), follow_symlinks)
    known = _KNOWN.get(place)
    if known is not None and known[0] == resolved:
        digits = known[1]
    else:
        with FileIO(open_resolved(root, resolved, follow_symlinks)) as file:
            digits = hashlib.file_digest(file, "sha256").hexdigest()[:_DIGITS]
    if len(_KNOWN) >= _CAPACITY:
        _KNOWN.clear()
    _KNOWN[place] = resolved, digits, until
    return digits


def fingerprint_for_url(place: Place) -> str:
    """Return the fingerprint of a file that an author names. Raises ``LookupError`` if there is no such file."""
    try:
        return known_fingerprint(place) or fingerprint(place)
    except HTTPError:
        raise LookupError(f"there is no file {place[1]!r} in {place[0]}") from None
