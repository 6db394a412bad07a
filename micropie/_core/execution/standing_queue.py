"""Whether more work comes than is done, as those see it whose turn comes."""

from __future__ import annotations

# In seconds: a shorter wait is none.
_SHORT_WAIT = 0.1
# Where longer ones have come for so long, with no such pause, a queue stands:
_STANDING = 1.0
_PAUSE = 0.25
# who has waited for so long is late,
_LONG_WAIT = 0.25
# unless waits become shorter by themselves, and end within so long at that rate: the machine stood
# still for a moment, or a burst came.
_SOON = 5.0


class StandingQueue:
    """Finds those who have waited too long in a queue that stands, as in CoDel (RFC 8289).

    To refuse them is to answer others while their clients still wait. Threads may share one.
    """

    def __init__(self) -> None:
        # Of the waits that are not short: when they began, and how long the first one was, which is
        # 0 after a refusal; when the last one was seen.
        self._since, self._first, self._seen_at = 0.0, 0.0, 0.0

    def makes_late(self, waited: float, now: float) -> bool:
        """Note a wait that ends now, in seconds. Return whether it was too long."""
        if waited >= _SHORT_WAIT:
            if now - waited - self._seen_at > _PAUSE:
                self._since, self._first = now, waited
            self._seen_at = now
        if waited < _LONG_WAIT or now - self._since < _STANDING:
            return False
        if (self._first - waited) * _SOON > waited * (now - self._since):
            self._since, self._first = now, waited
            return False
        self._first = 0.0
        return True
