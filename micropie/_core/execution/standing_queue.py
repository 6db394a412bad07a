"""Decide whether more work arrives than is done, from how long each call has waited for its
turn.
"""

from __future__ import annotations

from math import sqrt

# Seconds; a shorter wait doesn't count.
_SHORT_WAIT = 0.1
# If longer waits have been seen for ``_STANDING`` seconds, without a pause of ``_PAUSE`` seconds
# between two of them, the queue is a standing one.
_STANDING = 1.0
_PAUSE = 0.25
# A call is then late if it has waited ``_LONG_WAIT`` seconds and as long as ``_AHEAD`` calls take
# on average.
_LONG_WAIT = 0.25
_AHEAD = 10
# It isn't late if the waits become shorter and would end within ``_SOON`` seconds at that rate:
# then the machine was blocked for a moment, or there was a burst. Calls arrive at random, so the
# time that n of them take varies by one divided by the square root of n. Each wait is compared, so
# about one a minute differs by three times that by chance, and after a pause all waits are long. If
# a queue grows by more than half of its first wait, and by more than ``_GROWN`` calls, it is not by
# chance. With these numbers a server at 80 % of what it can do refuses calls only while chance
# sends more than 95 %.
_SOON = 10.0
_CHANCE = 8.0
_GROWN = 60
# A pause of ``_STILL`` usual intervals means that the machine was blocked. At first the usual
# interval isn't known, so a queue begins with the longest of its first ``_FIRST_FEW`` waits.
_STILL = 6
_FIRST_FEW = 5


class StandingQueue:
    """Finds the calls that have waited too long in a standing queue, as in CoDel (RFC 8289).

    Refusing them lets others be handled while their clients still wait. Several threads may share
    one.
    """

    def __init__(self) -> None:
        # About the waits that are not short: when they began, how long the first one was, and when
        # the last one was seen; and how many calls have come since then, including those with short
        # waits. ``_limit``: the wait from which calls are refused, 0 for none.
        self._since, self._first, self._seen_at, self._count = 0.0, 0.0, 0.0, 0
        self._limit = 0.0

    def makes_late(self, waited: float, now: float) -> bool:
        """Note a wait of ``waited`` seconds that ends at the time ``now``. Return whether it was
        too long.
        """
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
        """Return the wait from which calls are refused, or 0 for none yet."""
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
