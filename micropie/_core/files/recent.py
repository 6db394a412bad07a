"""Caches for files that were checked within the last second. Thanks to them, such a file is served
without reading the disk, or is checked without using a thread.

``CONTENTS`` stores small files, for ``static_file(..., cached=True)``. For ``FRESH_FOR`` seconds a
file is served without access to the disk; after that, its ``stat`` is checked, and it is read again
if it has changed. So a change is noticed at most one second late.

``RECENT`` lists the files that were checked recently, which the event loop may check itself.

If the kernel has a file's entry and bytes in memory, using a worker thread takes far longer than
the system calls. The kernel has them in memory if a thread used them within the last second. So a
file that is requested often is checked on the event loop. It is checked each time, so the result is
never out of date: ``RECENT`` only stores that the event loop may check a file, not the result of
the check.

A file system may still be slow, for example one on a network. If ``SLOW_LOOKS`` checks in a row in
one root directory take longer than ``SLOW``, all files under this directory are checked by threads
for ``SLOW_FOR`` seconds. A single slow check is ignored, because the process may have waited for a
processor.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from threading import Lock
from typing import Generic, TypeVar

from micropie._core.execution import after_fork_in_child
from micropie._core.files.lookup import Key, ResolvedFile
from micropie._core.on_demand import Value

Name = TypeVar("Name")

FRESH_FOR = 1.0  # seconds for which an entry is used without a check

LARGEST = 1024 * 1024  # the maximum size of one cached file, in bytes
CAPACITY = 32 * LARGEST  # the maximum size of all cached files together
# Bytes that are added to the size of each file, so that the number of empty files is also limited.
OVERHEAD = 1024


class Recent(Generic[Name, Value]):
    """A cache of values by name. Each value is fresh for ``FRESH_FOR`` seconds.

    If the sizes of all values together exceed ``capacity``, the least recently used values are
    dropped. The class is thread-safe.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self.clear()

    def clear(self) -> None:
        """Drop all values, and make a new lock. A forked child needs this, because a thread of the
        parent may have held the old lock.
        """
        self._entries: OrderedDict[Name, tuple[Value, int, float]] = OrderedDict()
        self._size = 0
        self._lock = Lock()

    def fresh(self, name: Name) -> Value | None:
        """Return a value that was stored within the last second, or None."""
        with self._lock:
            entry = self._entries.get(name)
            if entry is None or entry[2] < time.monotonic():
                return None
            self._entries.move_to_end(name)
            return entry[0]

    def latest(self, name: Name) -> Value | None:
        """Return the stored value, however old it is, or None."""
        entry = self._entries.get(name)
        return None if entry is None else entry[0]

    def put(self, name: Name, value: Value, seen_at: float, size: int = 1) -> None:
        """Store a value. ``seen_at`` is the monotonic time just before the file was checked."""
        with self._lock:
            _, replaced, _ = self._entries.pop(name, (None, 0, 0.0))
            self._entries[name] = value, size, seen_at + FRESH_FOR
            if size != replaced:
                self._size += size - replaced
                while self._size > self._capacity:
                    _, (_, dropped, _) = self._entries.popitem(last=False)
                    self._size -= dropped


CONTENTS: Recent[Key, tuple[ResolvedFile, bytes]] = Recent(CAPACITY)
after_fork_in_child(CONTENTS.clear)


# -- files that were checked ---------------------------------------------------------------------

SLOW = 0.002  # seconds; a shorter stall of the event loop doesn't matter
SLOW_LOOKS = 3
SLOW_FOR = 60.0  # seconds for which a slow disk is remembered

# The maximum size, in bytes, of a file that the event loop reads itself. Copying it takes less time
# than using a thread.
LARGEST_LOOK = 64 * 1024
MOST_LOOKS = 2048  # entries; limited because clients may request any name
LONGEST_PATH = 4096  # characters; PATH_MAX on Linux; longer paths are not cached

_NOT_SLOW = (0, 0.0)  # the number of slow checks; until when the directory counts as slow


class RecentLooks(Recent["Key", "ResolvedFile | None"]):
    """A cache of the files that were checked within the last second. It maps a request for a file
    (``Key``) to the version of the file that was read, or to None if no bytes were read.

    Worker threads and several event loops may use it at the same time. If two of them count a slow
    check at the same time, one count may be lost.
    """

    def clear(self) -> None:
        """Drop all entries; see ``Recent.clear``."""
        super().clear()
        # For each directory: the number of slow checks in a row, and the time until which only
        # threads check its files.
        self._slow: dict[str, tuple[int, float]] = {}

    def may_look(self, key: Key) -> bool:
        """Return whether the event loop may check the file itself: the file was checked within the
        last second, and its directory isn't slow.
        """
        entry = self._entries.get(key)
        if entry is None:
            return False
        now = time.monotonic()
        return entry[2] >= now and (not self._slow or self._slow.get(key[0], _NOT_SLOW)[1] < now)

    def record_look(self, key: Key, version: ResolvedFile | None, begun: float) -> None:
        """Record that the event loop has checked a file.

        - ``version``: the version of the file that was read, or None if no bytes were read.
        - ``begun``: the monotonic time at which the check began.
        """
        now = time.monotonic()
        self.put(key, version, now)
        if now - begun > SLOW:
            looks = self._slow.get(key[0], _NOT_SLOW)[0] + 1
            self._slow[key[0]] = looks, now + SLOW_FOR if looks >= SLOW_LOOKS else 0.0
        elif self._slow:
            self._slow.pop(key[0], None)


RECENT = RecentLooks(MOST_LOOKS)
after_fork_in_child(RECENT.clear)
