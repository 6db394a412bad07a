"""What files a process has open."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def open_files(below: Path | str = "/") -> set[str]:
    """The descriptors of this process that are files of a directory, as ``"7 /tmp/a.txt"``, without
    devices.

    Compare with ``<=`` what is open afterwards and before: a thread or an event loop of another
    test may close its own meanwhile. Sockets and pipes are not files of a directory.
    """
    found = set()
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            place = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        except OSError:  # closed meanwhile: the one of this very listing is always
            continue
        if place.startswith(str(below)) and not place.startswith(("/dev/", "/proc/")):
            found.add(f"{descriptor} {place}")
    return found


@contextmanager
def no_descriptors(spare: int = 0) -> Iterator[None]:
    """Let this process open nothing more, or ``spare`` things at most."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)  # all below it are in use
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + spare, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
