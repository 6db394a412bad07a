"""Detect overload: from the time that each call has waited in a queue, and from the queue's length,
decide whether calls arrive faster than they are handled.
"""

from __future__ import annotations

from math import inf, sqrt

# Waits shorter than this number of seconds are ignored.
_SHORT_WAIT = 0.1
# A standing queue means overload: for ``_STANDING`` seconds, waits that are not short have followed
# each other at intervals of at most ``_PAUSE`` seconds.
_STANDING = 1.0
_PAUSE = 0.25
# In a standing queue, a call is late if it has waited at least ``_LONG_WAIT`` seconds, and at least
# as long as ``_AHEAD`` calls take on average.
_LONG_WAIT = 0.25
_AHEAD = 10
# A call isn't late if waits become shorter so quickly that they would reach zero within ``_SOON``
# seconds. In that case, the queue comes from a burst, or from a moment in which the machine was
# blocked.
#
# Part of the difference between two waits is chance, because calls arrive at random: the time in
# which n calls arrive has a relative variation of 1/sqrt(n). Within a minute, so many waits are
# compared that one of the differences is likely to be three times this variation. So ``_CHANCE``
# times the variation is tolerated. This tolerance is at most half of the queue's first wait, or the
# time in which ``_GROWN`` calls arrive, whichever is longer. With these numbers, a server with an
# average load of 80 % of its capacity refuses calls only while the load happens to be above 95 %.
_SOON = 10.0
_CHANCE = 8.0
_GROWN = 60
# A pause of ``_STILL`` times the usual interval between calls means that the machine was blocked.
# During the first ``_FIRST_FEW`` calls, the usual interval isn't known yet. So the longest of their
# waits counts as the first wait of the queue.
_STILL = 6
_FIRST_FEW = 5
# If fewer requests than this wait for a thread, none is refused for having waited too long. A queue
# this short is no sign of overload: few threads or slow handlers are enough to cause it.
_SHORT_QUEUE = 40
# A queue for threads grows if it is longer than before by more than ``_MORE`` requests and by more
# than ``_PART`` of its length. *Before* is the time up to the start of the current period. Periods
# become longer as the queue does, up to ``_LONG_PERIOD`` seconds. So the clients that arrive when a
# site starts don't count as growth once they all wait, but an overload of a few percent does.
_MORE = 20
_PART = 0.125
_SHORT_PERIOD = 0.25
_LONG_PERIOD = 5.0
# After this number of seconds, the queue has to grow again. Otherwise clients that repeat each
# refused request immediately would be refused forever.
_AGAIN = 5.0


class StandingQueue:
    """Finds the calls that have waited too long in a standing queue, as CoDel does (RFC 8289).

    If these calls are refused, others can be handled before their clients stop waiting. Several
    threads may share one object.
    """

    def __init__(self) -> None:
        # ``_since``: the time of the first wait that was not short. ``_first``: how long that wait
        # was. ``_seen_at``: the time of the last such wait. ``_count``: the number of calls since
        # the first such wait, including those with short waits. ``_limit``: calls that have waited
        # this many seconds are refused; 0 means no limit.
        self._since, self._first, self._seen_at, self._count = 0.0, 0.0, 0.0, 0
        self._limit = 0.0

    def makes_late(self, waited: float, now: float) -> bool:
        """Record that a call has waited ``waited`` seconds at the time ``now``. Return whether the
        call is late and should be refused.
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
        """Return the seconds a call may wait before it is refused, or 0 if no call is refused."""
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


class Refusals:
    """Counts the requests that were refused because of overload instead of being handled in the
    threads of a ``Threads`` object.

    ``shed_at``: when ``LoadShedding`` last refused a request; -inf if it never did.
    """

    count, shed_at = 0, -inf


class ThreadQueue(StandingQueue):
    """Finds the requests that have waited too long for a thread.

    If 200 clients share 40 threads, and each waits for its response before it sends the next
    request, their queue stands but doesn't grow, and all requests can be handled. So as long as the
    queue doesn't grow, only requests that have waited for ``patience`` seconds are refused; None
    means no limit. If more requests arrive than are handled, the queue grows, or would without
    ``refusals``. In that case, the requests that ``makes_late`` finds are refused as well.

    - ``size``: the number of threads. A request is only refused if enough others wait to keep every
      thread busy.
    - ``most``: how many requests the queue can hold. A full queue counts as growing.
    """

    def __init__(self, size: int, most: int, patience: float | None, refusals: Refusals) -> None:
        super().__init__()
        self._least, self._most = max(size, _SHORT_QUEUE), most
        self._patience, self._refusals = inf if patience is None else patience, refusals
        # ``_began``: when the queue began, or had to grow again. ``_period``: when the current
        # period began. ``_before`` and ``_highest``: the most that the queue has held before the
        # period and until now, with all requests that were refused until then. ``_until``: the time
        # until which the queue counts as growing; 0 if it doesn't.
        self._began, self._period, self._before, self._highest = 0.0, 0.0, 0, 0
        self._until = 0.0

    def refuses(self, waited: float, now: float, length: int) -> bool:
        """Record that a request leaves the queue at the time ``now``, after ``waited`` seconds, and
        that ``length`` requests remain. Return whether the request should be refused.
        """
        is_late = self.makes_late(waited, now)
        came = length + self._refusals.count
        if self._since == now or 0 < self._until < now:
            self._began = self._period = now
            self._before = self._highest = came
            self._until = 0.0
        self._highest = max(self._highest, came)
        if is_late and not self._until:
            is_longer = came - self._before > _MORE + _PART * length or length + 1 >= self._most
            self._until = now + _AGAIN if is_longer else 0.0
        lasts = min(max((self._period - self._began) / 2, _SHORT_PERIOD), _LONG_PERIOD)
        if now - self._period > lasts:
            self._period, self._before = now, self._highest
        # An overloaded loop can't fill the queue as fast as requests arrive.
        grows = self._until > 0 or now - self._refusals.shed_at < _AGAIN
        is_refused = (is_late and grows) or waited >= self._patience
        is_refused = is_refused and length >= self._least
        self._refusals.count += is_refused
        return is_refused
