"""Small files kept in memory, for ``static_file(..., cached=True)``: one store per process.

A file is given without asking the disk for ``FRESH_FOR`` seconds; then it is looked at again, and read again if it
has changed. So a change is seen a second late at most, and what is not asked for any more makes room for the rest.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from threading import Lock
from typing import NamedTuple

from micropie.execution.fork import after_fork_in_child
from micropie.files.lookup import ResolvedFile

FRESH_FOR = 1.0  # seconds

LARGEST = 1024 * 1024  # bytes of one file
CAPACITY = 32 * LARGEST  # bytes of all of them
OVERHEAD = 1024  # bytes that an entry counts for besides, so that empty files are bounded, too

# What was asked for: the directory, the path, the endings of what is accepted compressed, whether links are followed.
Key = tuple[str, str, tuple[str, ...], bool]


class CacheEntry(NamedTuple):
    """A file and its content; ``until`` when nobody has to look at it."""

    found: ResolvedFile
    data: bytes
    until: float


class FileCache:
    """Contents by what was asked for; what was used longest ago goes first. Safe to use from threads."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self.forget()

    def forget(self) -> None:
        """Begin anew. In a forked child: another thread of the parent may have held the lock."""
        self._kept: OrderedDict[Key, CacheEntry] = OrderedDict()
        self._size = 0
        self._lock = Lock()

    def fresh(self, key: Key) -> CacheEntry | None:
        """What needs no look at the disk."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or kept.until < time.monotonic():
                return None
            self._kept.move_to_end(key)
            return kept

    def unchanged(self, key: Key, found: ResolvedFile) -> bytes | None:
        """The content of a file that was looked at just now, if it is what is kept."""
        with self._lock:
            kept = self._kept.get(key)
        return kept.data if kept is not None and kept.found == found else None

    def keep(self, key: Key, found: ResolvedFile, data: bytes, looked_at: float) -> None:
        """Keep a content. ``looked_at``: the monotonic time just before the file was looked at."""
        with self._lock:
            self._drop(key)
            self._kept[key] = CacheEntry(found, data, looked_at + FRESH_FOR)
            self._size += len(data) + OVERHEAD
            while self._size > self._capacity:
                self._drop(next(iter(self._kept)))

    def _drop(self, key: Key) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._size -= len(kept.data) + OVERHEAD


CACHE = FileCache()
after_fork_in_child(CACHE.forget)
