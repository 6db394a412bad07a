"""Small files kept in memory, for ``static_file(..., cached=True)``: one store per process.

For ``FRESH_FOR`` seconds a file is served without access to the disk; then its ``stat`` is checked, and it is read
again if it has changed. So a change is seen one second late at most. The least recently used files are dropped first.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from threading import Lock
from typing import NamedTuple

from micropie.execution import after_fork_in_child
from micropie.files.lookup import Key, ResolvedFile

FRESH_FOR = 1.0  # seconds

LARGEST = 1024 * 1024  # bytes of one file
CAPACITY = 32 * LARGEST  # bytes of all of them
OVERHEAD = 1024  # bytes that each entry counts in addition, so that the number of empty files is limited, too


class CacheEntry(NamedTuple):
    """A file and its content, fresh ``until`` this monotonic time."""

    resolved: ResolvedFile
    data: bytes
    until: float


class FileCache:
    """Contents by ``Key``, at most ``capacity`` bytes; the least recently used one is dropped first. Thread-safe."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self.clear()

    def clear(self) -> None:
        """Drop everything and make a new lock: in a forked child another thread of the parent may have held the old."""
        self._entries: OrderedDict[Key, CacheEntry] = OrderedDict()
        self._size = 0
        self._lock = Lock()

    def fresh(self, key: Key) -> CacheEntry | None:
        """Return the entry if it can be used without access to the disk."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or entry.until < time.monotonic():
                return None
            self._entries.move_to_end(key)
            return entry

    def unchanged(self, key: Key, resolved: ResolvedFile) -> bytes | None:
        """Return the cached content if the file, whose ``stat`` was read just now, has not changed."""
        with self._lock:
            entry = self._entries.get(key)
        return entry.data if entry is not None and entry.resolved == resolved else None

    def put(self, key: Key, resolved: ResolvedFile, data: bytes, checked_at: float) -> None:
        """Cache a content. ``checked_at`` is the monotonic time just before the file's ``stat`` was read."""
        with self._lock:
            self._drop(key)
            self._entries[key] = CacheEntry(resolved, data, checked_at + FRESH_FOR)
            self._size += len(data) + OVERHEAD
            while self._size > self._capacity:
                self._drop(next(iter(self._entries)))

    def _drop(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._size -= len(entry.data) + OVERHEAD


CACHE = FileCache()
after_fork_in_child(CACHE.clear)
