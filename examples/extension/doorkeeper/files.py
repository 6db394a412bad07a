"""Sessions and rates in a folder of JSON files, which all workers of one machine share. It doesn't
work on Windows.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from micropie.middleware import Quota, RateStore
from micropie.sessions import Changes, SessionBackend


class Folder:
    """JSON documents by name, each in a file of its own.

    Hold the lock, which all processes share, while you read and write documents.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)

    def open(self) -> None:
        """Create the folder, readable by its owner only, and delete expired documents.

        Called at startup.
        """
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.locked():
            for file in self._path.glob("*.json"):
                if json.loads(file.read_text())[0] <= time.time():
                    file.unlink()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """A context manager that holds the lock."""
        with (self._path / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # locked until the file is closed
            yield

    def read(self, name: str) -> Any:
        """Return a document, or None if it is missing or has expired."""
        try:
            until, document = json.loads(self._file(name).read_text())
        except FileNotFoundError:
            return None
        return document if time.time() < until else None

    def write(self, name: str, document: Any, seconds: float) -> None:
        """Store a document for ``seconds``. An empty document is deleted."""
        if document:
            new = self._path / "new"
            new.write_text(json.dumps([time.time() + seconds, document], allow_nan=False))
            # atomic, so a process that is killed here leaves no half-written document
            new.replace(self._file(name))
        else:
            self._file(name).unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        # Use a hash, because a client may have chosen the name, and a path must not contain it.
        return self._path / f"{hashlib.sha256(name.encode()).hexdigest()}.json"


class FileSessions(SessionBackend):
    """Sessions in a folder.

    The methods block, so they must run in a thread. ``blocking`` is True by default.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def load(self, session_id: str) -> dict[str, Any]:
        with self._folder.locked():
            return self._folder.read(f"session {session_id}") or {}

    def save(self, session_id: str, data: dict[str, object], timeout: int) -> None:
        with self._folder.locked():
            self._folder.write(f"session {session_id}", data, timeout)

    def merge(self, session_id: str, changes: Changes, timeout: int) -> dict[str, Any]:
        with self._folder.locked():
            stored = self._folder.read(f"session {session_id}")
            if not stored:  # another request has deleted the session
                return {}
            data = changes.apply(stored)
            if changes.new_id:
                self._folder.write(f"session {session_id}", {}, 0)
            self._folder.write(f"session {changes.new_id or session_id}", data, timeout)
            return data


class FileRates(RateStore):
    """Counts requests in a folder. A period of ``per`` seconds begins with a client's first
    request, and has ``limit`` requests at most.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def hit(self, key: str, limit: int, per: float) -> Quota:
        with self._folder.locked():
            now = time.time()
            begun, count = self._folder.read(f"rate {key}") or (now, 0)
            rest = begun + per - now
            if count >= limit:
                return Quota(
                    allowed=False, limit=limit, remaining=0, full_after=rest, retry_after=rest
                )
            self._folder.write(f"rate {key}", [begun, count + 1], rest)
        return Quota(
            allowed=True, limit=limit, remaining=limit - count - 1, full_after=rest, retry_after=0
        )
