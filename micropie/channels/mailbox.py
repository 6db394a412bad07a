"""What waits for one subscriber: a queue that is never longer than it may be, so that a slow one costs nobody else."""

from __future__ import annotations

from collections import deque
from typing import Final, Literal, TypeAlias

from micropie.channels.waiting import Waitable

EMPTY: Final = object()  # nothing has come yet
END: Final = object()  # nothing will come any more

WhenFull: TypeAlias = Literal["drop_oldest", "close"]

# A channel's name and a message as JSON.
Message: TypeAlias = tuple[str, bytes | str]


class MessagesLost(Exception):
    """A subscriber with ``when_full="close"`` has not got, or may not have got, every message."""


class Mailbox(Waitable):
    """The messages of one subscriber, from any thread to any thread. It happens that there is something to take."""

    def __init__(self, size: int, when_full: WhenFull) -> None:
        super().__init__()
        self.dropped = 0
        self.gaps = 0
        self._size = size
        self._closes = when_full == "close"
        self._letters: deque[Message] = deque()
        self._lost = ""  # what was, if the subscriber is to be told
        self._has_ended = False

    def put(self, letter: Message) -> None:
        """Add a message; if it is full, do as was asked for then."""
        with self._lock:
            if self._has_ended:
                return
            if len(self._letters) == self._size:
                self._overflow()
            if not self._has_ended:
                self._letters.append(letter)
        self._call_waiting()

    def _overflow(self) -> None:
        self.dropped += 1
        if self._closes:
            self._lost, self._has_ended = f"{self._size} messages were waiting, and another one came", True
        else:
            self._letters.popleft()

    def gap(self, reason: str) -> None:
        """Messages may have been lost on their way here."""
        with self._lock:
            self.gaps += 1
            if self._closes and not self._has_ended:
                self._lost, self._has_ended = reason, True
        self._call_waiting()

    def end(self) -> None:
        """No more messages; those that wait may be taken."""
        with self._lock:
            self._has_ended = True
        self._call_waiting()

    def take(self) -> Message | object:
        """The oldest message, ``EMPTY`` or ``END``. Raises ``MessagesLost`` after the last one before the loss."""
        with self._lock:
            if self._letters:
                return self._letters.popleft()
            if not self._has_ended:
                return EMPTY
            lost, self._lost = self._lost, ""
        if lost:
            raise MessagesLost(lost)
        return END

    def _has_happened(self) -> bool:
        return bool(self._letters) or self._has_ended
