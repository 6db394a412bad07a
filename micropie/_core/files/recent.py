"""What was found out about files within the last second, so that the disk or a thread need not be
asked again.

``CONTENTS`` has small files, for ``static_file(..., cached=True)``. For ``FRESH_FOR`` seconds a
file is served without access to the disk; then its ``stat`` is checked, and it is read again if it
has changed. So a change is noticed at most one second late.

``RECENT`` has the files that were checked recently, so that the event loop may check them itself.

Once the kernel has a file's entry and bytes in memory, a hop to a worker thread takes far longer
than the system calls. The kernel has them if a thread used them within the last second. So a file
that is requested often is checked on the event loop, each time anew, so nothing is ever out of
date. For each request that names a file, only the fact that the event loop may check it is cached,
not what a thread has found.

Even so, a file system may be slow, for example one on a network. If ``SLOW_LOOKS`` checks in a row
take longer than ``SLOW``, files in this directory are left to threads for ``SLOW_FOR`` seconds. A
single slow check says little, because the process may have waited for a processor.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from threading import Lock
from typing import Final, Generic, TypeVar

from micropie._core.execution import after_fork_in_child
from micropie._core.files.lookup import Key, ResolvedFile

Name = TypeVar("Name")
Value = TypeVar("Value")

FRESH_FOR = 1.0  # seconds for which an entry is used without a check

LARGEST = 1024 * 1024  # the most bytes of one file that is kept
CAPACITY = 32 * LARGEST  # the most bytes of all kept files
# Bytes that each file counts in addition, so that the number of empty files is limited, too.
OVERHEAD = 1024


class Recent(Generic[Name, Value]):
    """Values by name, each fresh for ``FRESH_FOR`` seconds.

    Values that were not used for longest are dropped. Thread-safe.

    ``capacity``: the largest sum of the sizes of all values.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self.clear()

    def clear(self) -> None:
        """Drop everything and make a new lock, because in a forked child another thread of the
        parent may have held the old one.
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
        """Return a value of any age, or None."""
        entry = self._entries.get(name)
        return None if entry is None else entry[0]

    def put(self, name: Name, value: Value, seen_at: float, size: int = 1) -> None:
        """Store a value. ``seen_at`` is the monotonic time just before the file was checked."""
        with self._lock:
            _, replaced, _ = self._entries.pop(name, (None, 0, 0.0))
            self._entries[name] = value, size, seen_at + FRESH_FOR
            self._size += size - replaced
            while self._size > self._capacity:
                _, (_, dropped, _) = self._entries.popitem(last=False)
                self._size -= dropped


CONTENTS: Recent[Key, tuple[ResolvedFile, bytes]] = Recent(CAPACITY)
after_fork_in_child(CONTENTS.clear)


# -- files that were checked ---------------------------------------------------------------------

SLOW = 0.002  # seconds; nobody notices such a stall of the event loop
SLOW_LOOKS = 3
SLOW_FOR = 60.0  # seconds for which a slow disk is remembered

# Bytes that the event loop reads itself, because copying them takes less time than a hop to a
# thread.
LARGEST_LOOK = 64 * 1024
MOST_LOOKS = 2048  # keys and files; clients may request any name
LONGEST_PATH = 4096  # characters, PATH_MAX on Linux; a client may send longer paths

_NOT_SLOW: Final = (0, 0.0)  # (number of slow checks, a time in the past)


class RecentLooks(Recent["Key", "ResolvedFile | None"]):
    """The requests whose file was checked within the last second, each with the version that was
    read, or None.

    Worker threads check files, and there may be several loops. If two of them count slow checks at
    once, one may be lost.
    """

    def clear(self) -> None:
        """Forget everything."""
        super().clear()
        # By directory: the slow checks in a row, and until when it is left to threads.
        self._slow: dict[str, tuple[int, float]] = {}

    def may_look(self, key: Key) -> bool:
        """Return whether the file was checked within the last second, in a directory that isn't
        slow.
        """
        entry = self._entries.get(key)
        if entry is None:
            return False
        now = time.monotonic()
        return entry[2] >= now and (not self._slow or self._slow.get(key[0], _NOT_SLOW)[1] < now)

    def took(self, key: Key, version: ResolvedFile | None, begun: float) -> None:
        """Note that the event loop has checked a file, starting at ``begun``, and which version of
        it was read.
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
