"""Whether more work comes than is done, as those see it whose turn comes."""

from __future__ import annotations

from math import sqrt

# In seconds: a shorter wait is none.
_SHORT_WAIT = 0.1
# Where longer ones have come for so long, with no such pause, a queue stands:
_STANDING = 1.0
_PAUSE = 0.25
# who has waited for so long is late, if others have waited in front,
_LONG_WAIT = 0.25
_AHEAD = 10
# unless waits become shorter and end within so long at that rate: the machine was blocked for a
# moment, or a burst came. Work comes at random, so the time in which it came is known to one
# divided by the square root of its number. Each wait is compared, so by chance one a minute exceeds
# three times that, and after a pause waits are long from the start. A queue grows by more than half
# of its first wait, and by more than so many others, for another reason than chance. With these
# numbers only those are refused, at 80 % of the load, who come while chance sends more than 95 %.
_SOON = 10.0
_CHANCE = 8.0
_GROWN = 60
# A pause of so many usual intervals is a machine that was blocked. What is usual isn't known at
# first: a queue begins with the longest of so many waits.
_STILL = 6
_FIRST_FEW = 5


class StandingQueue:
    """Finds those who have waited too long in a queue that stands, as in CoDel (RFC 8289).

    To refuse them is to answer others while their clients still wait. Threads may share one.
    """

    def __init__(self) -> None:
        # Of the waits that are not short: when they began, how long the first one was, and when the
        # last one was seen; how many came meanwhile, the short ones too. From which wait on they
        # are refused, 0 for none.
        self._since, self._first, self._seen_at, self._count = 0.0, 0.0, 0.0, 0
        self._limit = 0.0

    def makes_late(self, waited: float, now: float) -> bool:
        """Note a wait that ends now, in seconds. Return whether it was too long."""
        count = self._count = self._count + 1
        if waited < _SHORT_WAIT:
            return False
        pause = now - self._seen_at
        stood_still = pause > max(_PAUSE, _STILL * (now - self._since) / count)
        is_shorter = not self._limit and waited < self._first / 2
        if stood_still or is_shorter or pause - waited > _PAUSE:
            self._since, self._first, self._limit = now, waited, 0.0
            count = self._count = 1
        elif count <= _FIRST_FEW:
            self._first = max(self._first, waited)
        self._seen_at = now
        if not self._limit:
            self._limit = self._limit_for(waited, now - self._since, count)
        return 0 < self._limit <= waited

    def _limit_for(self, waited: float, elapsed: float, count: int) -> float:
        """Return from which wait on to refuse, 0 for not yet."""
        each = elapsed / count
        limit = max(_LONG_WAIT, _AHEAD * each)
        if elapsed < _STANDING or waited < limit:
            return 0.0
        shorter_by = self._first - waited
        by_chance = min(
            _CHANCE * (elapsed + shorter_by) / sqrt(count), max(self._first / 2, _GROWN * each)
        )
        ends_soon = (shorter_by + by_chance) * _SOON > waited * elapsed
        return 0.0 if ends_soon else max(_LONG_WAIT, limit / 2)
