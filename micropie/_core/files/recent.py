"""What was seen of files within the last second, so that the disk, or a thread, need not be asked
again.

``CONTENTS`` has small files, for ``static_file(..., cached=True)``. For ``FRESH_FOR`` seconds a
file is served without access to the disk; then its ``stat`` is checked, and it is read again if it
has changed. So a change is seen one second late at most.

``RECENT`` knows the files that were looked at, which the event loop may therefore look at itself.

To ask a worker thread takes far longer than the system calls, once the kernel has the file's entry
and bytes in memory. It has them if a thread has asked for them within the last second. So a file
that is asked for often is looked at on the event loop: each time anew, so nothing is ever out of
date. What is kept, for each request that names a file, is that the event loop may look; not what a
thread has seen.

A file system may be slow all the same, such as one on a network. If ``SLOW_LOOKS`` looks in a row
take longer than ``SLOW``, their directory is left to threads for ``SLOW_FOR`` seconds. One alone
says little: the process may have had to wait for a processor.
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

FRESH_FOR = 1.0  # seconds

LARGEST = 1024 * 1024  # bytes of one file
CAPACITY = 32 * LARGEST  # bytes of all of them
# bytes that each file counts in addition, so that the number of empty files is limited, too
OVERHEAD = 1024


class Recent(Generic[Name, Value]):
    """Values by name, each fresh for ``FRESH_FOR`` seconds.

    Those that were used longest ago make room. Thread-safe.

    ``capacity``: the most that the sizes of all values may be together.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self.clear()

    def clear(self) -> None:
        """Drop everything and make a new lock: in a forked child another thread of the parent may
        have held the old.
        """
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
            _, replaced, _ = self._entries.pop(name, (None, 0, 0.0))
            self._entries[name] = value, size, seen_at + FRESH_FOR
            self._size += size - replaced
            while self._size > self._capacity:
                _, (_, dropped, _) = self._entries.popitem(last=False)
                self._size -= dropped


CONTENTS: Recent[Key, tuple[ResolvedFile, bytes]] = Recent(CAPACITY)
after_fork_in_child(CONTENTS.clear)


# -- files that were looked at ---------------------------------------------------------------------

SLOW = 0.002  # seconds; a stall of the event loop that nobody notices
SLOW_LOOKS = 3
SLOW_FOR = 60.0  # seconds

# bytes that the event loop reads: copying them takes less than asking a thread
LARGEST_LOOK = 64 * 1024
MOST_LOOKS = 2048  # requests for a file, and files; clients may ask for any name
LONGEST_PATH = 4096  # characters; Linux has no longer paths (PATH_MAX), but a client may send one

_NOT_SLOW: Final = (0, 0.0)  # no slow looks, and left until a time that has passed


class RecentLooks(Recent["Key", "ResolvedFile | None"]):
    """The requests whose file was looked at within the last second, each with the version that was
    read, or None.

    Worker threads look, and there may be several loops: two that count slow looks at once may lose
    one.
    """

    def clear(self) -> None:
        """Forget everything."""
        super().clear()
        # by directory: slow looks in a row, and until when it is left
        self._slow: dict[str, tuple[int, float]] = {}

    def may_look(self, key: Key) -> bool:
        """Return whether the file was looked at within the last second, in a directory that is not
        slow.
        """
        entry = self._entries.get(key)
        if entry is None:
            return False
        now = time.monotonic()
        return entry[2] >= now and (not self._slow or self._slow.get(key[0], _NOT_SLOW)[1] < now)

    def took(self, key: Key, version: ResolvedFile | None, begun: float) -> None:
        """Note that the event loop has looked at a file since ``begun``, and which version of it
        was read.
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
