"""Backpressure: how far a task on the portal's loop may be ahead of the server's thread, which takes its chunks.

To wake the task costs the thread as much as many chunks, so it does that only when it has no chunk left to send.
"""

from __future__ import annotations

from threading import Lock

from anyio import Event

from micropie.execution.loop import AHEAD


class BackpressureWindow:
    """Backpressure between a producer task and a consumer thread.

    ``made`` returns an event for the task to wait on, ``ask`` one for the thread to set on the loop.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._made = 0
        self._asked = 0
        self._is_over = False
        self._waiting: Event | None = None  # what the task waits on

    def ask(self) -> Event | None:
        """The thread wants a chunk. Return the event to set on the loop, or None."""
        with self._lock:
            self._asked += 1
            return self._take_event() if self._made < self._asked else None

    def made(self) -> Event | None:
        """A chunk has been made. Return the event to wait on if the task is far enough ahead, or None."""
        with self._lock:
            self._made += 1
            # After the first chunk it is not known yet whether a second is wanted: HEAD does not want one.
            enough = self._asked + AHEAD - 1 if self._asked > 1 else 1
            if self._is_over or self._made < enough:
                return None
            self._waiting = Event()
            return self._waiting

    def leave(self) -> Event | None:
        """The thread wants no chunk after this, so the task need not wait again. Return the event to set, or None."""
        with self._lock:
            self._is_over = True
            return self._take_event()

    def _take_event(self) -> Event | None:
        event, self._waiting = self._waiting, None
        return event
