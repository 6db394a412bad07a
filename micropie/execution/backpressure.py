"""How far a task on the portal's loop may be ahead of the server's thread, which takes what it makes.

A word from the thread to the loop costs as much as many chunks, so it is given when the thread has nothing left to
send.
"""

from __future__ import annotations

from threading import Lock

from anyio import Event

from micropie.execution.loop import AHEAD


class BackpressureWindow:
    """Chunks made and asked for. The task waits for what ``made`` returns; the thread sets what ``ask`` returns."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._made = 0
        self._asked = 0
        self._is_left = False
        self._parked: Event | None = None

    def ask(self) -> Event | None:
        """The thread wants a chunk. What to set, on the loop, or None."""
        with self._lock:
            self._asked += 1
            return self._taken() if self._made < self._asked else None

    def made(self) -> Event | None:
        """A chunk has been made. What to wait for if this is far enough ahead, or None."""
        with self._lock:
            self._made += 1
            # With the first chunk it is not known yet whether anybody wants a second: HEAD does not.
            enough = self._asked + AHEAD - 1 if self._asked > 1 else 1
            if self._is_left or self._made < enough:
                return None
            self._parked = Event()
            return self._parked

    def leave(self) -> Event | None:
        """Nobody wants more: the task need not wait again. What to set, on the loop, or None."""
        with self._lock:
            self._is_left = True
            return self._taken()

    def _taken(self) -> Event | None:
        parked, self._parked = self._parked, None
        return parked
