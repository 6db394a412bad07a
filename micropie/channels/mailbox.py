"""The queue of messages for one subscriber. Its length is bounded, so a slow subscriber does not hold up others."""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Final, Literal, TypeAlias

from micropie.channels.waiting import Waitable


class NoMessage(Enum):
    """The reason why there is no message to take."""

    EMPTY = "no message yet"
    END = "no further message"


EMPTY: Final = NoMessage.EMPTY
END: Final = NoMessage.END

WhenFull: TypeAlias = Literal["drop_oldest", "close"]

# A channel's name and a message as JSON.
Message: TypeAlias = tuple[str, bytes | str]


class MessagesLost(Exception):
    """A subscriber with ``when_full="close"`` has not got, or may not have got, every message."""


class Mailbox(Waitable):
    """The messages of one subscriber. Thread-safe. It is ready when ``take`` does not return ``EMPTY``."""

    def __init__(self, size: int, when_full: WhenFull) -> None:
        super().__init__()
        self.dropped = 0
        self.gaps = 0
        self._size = size
        self._closes = when_full == "close"
        self._messages: deque[Message] = deque()
        self._lost = ""  # why messages were lost, until ``take`` raises it
        self._has_ended = False

    def put(self, message: Message) -> None:
        """Add a message. If the queue is full, drop the oldest message or end, as ``when_full`` says."""
        with self._lock:
            if self._has_ended:
                return
            if len(self._messages) == self._size:
                self.dropped += 1
                if self._closes:
                    self._lost, self._has_ended = f"{self._size} messages were waiting, and another one came", True
                else:
                    self._messages.popleft()
            if not self._has_ended:
                self._messages.append(message)
        self._call_waiting()

    def gap(self, reason: str) -> None:
        """Count a time when messages may have been lost before they came here."""
        with self._lock:
            self.gaps += 1
            if self._closes and not self._has_ended:
                self._lost, self._has_ended = reason, True
        self._call_waiting()

    def end(self) -> None:
        """Take no further messages. Those that wait can still be taken."""
        with self._lock:
            self._has_ended = True
        self._call_waiting()

    def take(self) -> Message | NoMessage:
        """Return the oldest message, ``EMPTY`` or ``END``. Raises ``MessagesLost`` after the last one before a loss."""
        with self._lock:
            if self._messages:
                return self._messages.popleft()
            if not self._has_ended:
                return EMPTY
            lost, self._lost = self._lost, ""
        if lost:
            raise MessagesLost(lost)
        return END

    def _is_ready(self) -> bool:
        return bool(self._messages) or self._has_ended
