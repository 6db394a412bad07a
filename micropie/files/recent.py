"""What was seen of files within the last second, so that the disk need not be asked again.

``CONTENTS`` has small files, for ``static_file(..., cached=True)``. For ``FRESH_FOR`` seconds a file is served without
access to the disk; then its ``stat`` is checked, and it is read again if it has changed. So a change is seen one second
late at most.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from threading import Lock
from typing import Generic, TypeVar

from micropie.execution import after_fork_in_child
from micropie.files.lookup import Key, ResolvedFile

Name = TypeVar("Name")
Value = TypeVar("Value")

FRESH_FOR = 1.0  # seconds

LARGEST = 1024 * 1024  # bytes of one file
CAPACITY = 32 * LARGEST  # bytes of all of them
OVERHEAD = 1024  # bytes that each file counts in addition, so that the number of empty files is limited, too


class Recent(Generic[Name, Value]):
    """Values by name, each fresh for ``FRESH_FOR`` seconds. Those that were used longest ago make room. Thread-safe.

    ``capacity``: the most that the sizes of all values may be together.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self.clear()

    def clear(self) -> None:
        """Drop everything and make a new lock: in a forked child another thread of the parent may have held the old."""
        self._entries: OrderedDict[Name, tuple[Value, int, float]] = OrderedDict()
        self._size = 0
        self._lock = Lock()

    def fresh(self, name: Name) -> Value | None:
        """Return a value that was seen within the last second."""
        with self._lock:
            entry = self._entries.get(name)
            if entry is None or entry[2] < time.monotonic():
                return None
            self._entries.move_to_end(name)
            return entry[0]

    def latest(self, name: Name) -> Value | None:
        """Return a value that may be older."""
        entry = self._entries.get(name)
        return None if entry is None else entry[0]

    def put(self, name: Name, value: Value, seen_at: float, size: int = 1) -> None:
        """Keep a value. ``seen_at`` is the monotonic time just before the file was looked at."""
        with self._lock:
            self._drop(name)
            self._entries[name] = value, size, seen_at + FRESH_FOR
            self._size += size
            while self._size > self._capacity:
                self._drop(next(iter(self._entries)))

    def _drop(self, name: Name) -> None:
        _, size, _ = self._entries.pop(name, (None, 0, 0.0))
        self._size -= size


CONTENTS: Recent[Key, tuple[ResolvedFile, bytes]] = Recent(CAPACITY)
after_fork_in_child(CONTENTS.clear)
