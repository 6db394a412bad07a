"""Files that were looked at a moment ago, which the event loop may therefore look at itself.

To ask a worker thread takes far longer than the system calls, once the kernel has the file's entry and bytes
in memory. It has them if a thread has asked for them within the last second. So a file that is asked for often is
looked at on the event loop: each time anew, so nothing is ever out of date. Only the permission to look is kept, for
each request that names a file, and not what was seen.

A file system may be slow all the same, such as one on a network. If ``SLOW_LOOKS`` looks in a row take longer than
``SLOW``, their directory is left to threads for ``SLOW_FOR`` seconds. One alone says little: the process may have had
to wait for a processor.
"""

from __future__ import annotations

import time
from threading import Lock
from typing import Final, Literal

from micropie.execution import after_fork_in_child
from micropie.files.lookup import Key, ResolvedFile
from micropie.files.recent import Recent

SLOW = 0.002  # seconds; a stall of the event loop that nobody notices
SLOW_LOOKS = 3
SLOW_FOR = 60.0  # seconds

LARGEST = 64 * 1024  # bytes that the event loop reads: copying them takes less than asking a thread
CAPACITY = 2048  # requests for a file, and files; clients may ask for any name
LONGEST_PATH = 4096  # characters; Linux has no longer paths (PATH_MAX), but a client may send one

NEVER: Final = 0.0


class RecentLooks:
    """The requests whose file was looked at, and the versions of files that were read, within the last second.

    Thread-safe: worker threads look, and there may be several loops.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything and make a new lock: in a forked child another thread of the parent may have held it."""
        self._seen: Recent[Key | ResolvedFile, Literal[True]] = Recent(CAPACITY)
        self._slow: dict[str, tuple[int, float]] = {}  # by directory: slow looks in a row, and until when it is left
        self._lock = Lock()

    def may_look(self, key: Key) -> bool:
        """Return whether the file was looked at within the last second, in a directory that is not slow."""
        _, slow_until = self._slow.get(key[0], (0, NEVER))
        return self._seen.fresh(key) is not None and slow_until < time.monotonic()

    def may_read(self, resolved: ResolvedFile) -> bool:
        """Return whether this version of a file was read within the last second, and is short."""
        return resolved.size <= LARGEST and self._seen.fresh(resolved) is not None

    def note(self, seen: Key | ResolvedFile) -> None:
        """Note that a file was looked at just now, or that this version of it was read."""
        self._seen.put(seen, True, time.monotonic())

    def took(self, key: Key, seconds: float) -> None:
        """Note how long a look took on the event loop."""
        if seconds <= SLOW and key[0] not in self._slow:
            return
        with self._lock:
            looks = self._slow.pop(key[0], (0, NEVER))[0] + 1
            if seconds > SLOW:
                self._slow[key[0]] = looks, time.monotonic() + SLOW_FOR if looks >= SLOW_LOOKS else NEVER


RECENT = RecentLooks()
after_fork_in_child(RECENT.clear)
