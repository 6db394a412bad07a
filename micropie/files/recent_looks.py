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
from collections import OrderedDict
from threading import Lock
from typing import Final, TypeAlias

from micropie.execution import after_fork_in_child
from micropie.files.lookup import Key, ResolvedFile

RECENT_FOR = 1.0  # seconds
AS_GOOD_AS_NOW = 0.1  # seconds; what was noted so recently is not noted anew
SLOW = 0.002  # seconds; a stall of the event loop that nobody notices
SLOW_LOOKS = 3
SLOW_FOR = 60.0  # seconds

LARGEST = 64 * 1024  # bytes that the event loop reads: copying them takes less than asking a thread
CAPACITY = 1024  # requests for a file; clients may ask for any name
LONGEST_PATH = 4096  # characters; Linux has no longer paths (PATH_MAX), but a client may send one

NEVER: Final = 0.0


# A look at a file: until when it is recent, the version whose bytes were read last, until when that is recent.
Look: TypeAlias = tuple[float, ResolvedFile | None, float]

_NO_LOOK: Final[Look] = (NEVER, None, NEVER)


class RecentLooks:
    """When which file was looked at, and read. Thread-safe: worker threads look, and there may be several loops."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything and make a new lock: in a forked child another thread of the parent may have held it."""
        self._looks: OrderedDict[Key, Look] = OrderedDict()
        self._slow: dict[str, tuple[int, float]] = {}  # by directory: slow looks in a row, and until when it is left
        self._lock = Lock()

    def may_look(self, key: Key) -> bool:
        """Return whether the file was looked at within the last second, in a directory that is not slow."""
        now = time.monotonic()
        return self._looks.get(key, _NO_LOOK)[0] >= now and self._slow.get(key[0], (0, NEVER))[1] < now

    def may_read(self, key: Key, resolved: ResolvedFile) -> bool:
        """Return whether this version of the file was read within the last second, and is short."""
        _, read, read_until = self._looks.get(key, _NO_LOOK)
        return resolved.size <= LARGEST and read == resolved and read_until >= time.monotonic()

    def note(self, key: Key, read: ResolvedFile | None) -> None:
        """Note that the file was looked at just now; ``read`` is the version whose bytes were read, if any were."""
        if len(key[1]) > LONGEST_PATH:
            return
        until = time.monotonic() + RECENT_FOR
        noted, read_before, read_until = self._looks.get(key, _NO_LOOK)
        if (noted if read is None else read_until) > until - AS_GOOD_AS_NOW and read in (None, read_before):
            return  # a tenth of the time that the lock and the table take
        with self._lock:
            if read is None:
                read = read_before
            else:
                read_until = until
            self._looks[key] = until, read, read_until
            self._looks.move_to_end(key)
            if len(self._looks) > CAPACITY:
                self._looks.popitem(last=False)

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
