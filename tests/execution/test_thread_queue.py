"""Who waits too long for a thread: a site with 40 threads, its clients, and their own clock."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import count
from typing import NamedTuple

import pytest

from micropie._core.execution.standing_queue import Refusals, ThreadQueue

THREADS = 40
ANSWER = 0.1  # seconds of each handler
CAPACITY = THREADS / ANSWER  # requests a second


class Ended(NamedTuple):
    at: float  # seconds from the start
    waited: float
    is_refused: bool


class Site:
    """The handlers and their queue. ``ended``: the requests, in the order of their ends."""

    def __init__(
        self, patience: float | None = 5.0, most: int = 1000, threads: int = THREADS
    ) -> None:
        self.refusals = Refusals()
        self.queue = ThreadQueue(threads, most, patience, self.refusals)
        self.free, self.most = threads, most
        self.waiting: deque[tuple[float, bool]] = deque()
        self.ended: list[Ended] = []
        self.now = 0.0
        self._events: list[tuple[float, int, float | None, bool]] = []
        self._order = count()

    def comes(self, at: float, *, again: bool) -> None:
        """Have a request come, after whose response its client may send another one."""
        self._happens(at, None, again)

    def _happens(self, at: float, since: float | None, again: bool) -> None:
        heapq.heappush(self._events, (at, next(self._order), since, again))

    def run(self, until: float, arrivals: Iterable[float] = ()) -> None:
        """Let the time pass. ``arrivals``: when requests come that wait for no others."""
        for at in arrivals:
            if at > until:
                break
            self.comes(at, again=False)
        while self._events and self._events[0][0] <= until:
            self.now, _, since, again = heapq.heappop(self._events)
            if since is not None:
                self.free += 1
                self._end(since, again, is_refused=False)
            elif len(self.waiting) < self.most:
                self.waiting.append((self.now, again))
            else:
                self.refusals.count += 1
                self._end(self.now, again, is_refused=True)
            self._begin(is_new=since is None)

    def _begin(self, is_new: bool) -> None:
        while self.waiting and self.free:
            since, again = self.waiting.popleft()
            waited = self.now - since
            # who finds a free thread doesn't wait in the queue
            if (waited or not is_new) and self.queue.refuses(
                waited, 1000 + self.now, len(self.waiting)
            ):
                self._end(since, again, is_refused=True)
            else:
                self.free -= 1
                self._happens(self.now + ANSWER, since, again)

    def _end(self, since: float, again: bool, is_refused: bool) -> None:
        self.ended.append(Ended(self.now, self.now - since, is_refused))
        if again:
            self.comes(self.now + 0.001, again=True)

    def good(self, begin: float = 0.0) -> int:
        """Return how many were answered within a second."""
        return sum(one.waited <= 1 and not one.is_refused for one in self.ended if one.at >= begin)

    def refused(self, begin: float = 0.0) -> list[Ended]:
        return [one for one in self.ended if one.is_refused and one.at >= begin]


def at_random(load: float, seed: int = 1) -> Iterator[float]:
    """Yield when requests come: ``load`` times as many as the threads can handle."""
    chance, at = random.Random(seed), 0.0
    while True:
        at += chance.expovariate(load * CAPACITY)
        yield at


@pytest.mark.parametrize("clients", [80, 200, 400, 1000])
@pytest.mark.parametrize("within", [0.0, 0.5, 1.0])
def test_clients_that_wait_for_their_responses_are_all_answered(
    clients: int, within: float
) -> None:
    """However many come at the start, or within so many seconds."""
    site = Site()
    for number in range(clients):
        site.comes(within * number / clients, again=True)
    site.run(15)
    assert not site.refused()
    assert len(site.ended) > CAPACITY * 13
    waits = [one.waited for one in site.ended if one.at > 5]
    assert max(waits) < clients / CAPACITY + 0.01


@pytest.mark.parametrize("load", [1.1, 1.5, 2.0, 4.0])
def test_while_more_come_than_are_answered_most_are_answered_in_time(load: float) -> None:
    site = Site()
    site.run(30, at_random(load))
    # as many as without a limit of the queue that doesn't grow
    assert site.good() > 0.95 * CAPACITY * 30
    # the longest wait is in the moments in which the queue has to grow again
    assert max(one.waited for one in site.ended if one.at > 12) < 1.1
    # who was in the queue is refused only after that long
    assert min(one.waited for one in site.refused() if one.waited) >= 0.25
    assert len(site.refused()) == site.refusals.count


def test_after_an_overload_nobody_is_refused() -> None:
    site = Site()
    site.run(4, at_random(4.0))
    assert site.refused()
    site.run(4.5)
    site.run(14, (4.5 + at for at in at_random(0.9)))
    assert not site.refused(4.5)


def test_clients_that_come_one_by_one_are_refused_only_while_they_come() -> None:
    """They ask again at once, so more come than are answered, until the queue has to grow again."""
    site = Site()
    for number in range(400):
        site.comes(number / 200, again=True)
    site.run(20)
    assert site.refused()
    assert not site.refused(8)


@pytest.mark.parametrize(("patience", "longest"), [(1.5, 1.5), (None, 2.4)])
def test_the_limit_of_a_queue_that_does_not_grow(patience: float | None, longest: float) -> None:
    site = Site(patience)
    for _ in range(1000):
        site.comes(0, again=True)
    site.run(10)
    answered = [one.waited - ANSWER for one in site.ended if not one.is_refused]
    assert max(answered) == pytest.approx(longest, abs=0.05)
    refused = [one.waited for one in site.refused()]
    assert refused[:1] == ([] if patience is None else [pytest.approx(1.5, abs=0.01)])


@pytest.mark.parametrize(("threads", "others"), [(1, 40), (40, 40), (60, 60)])
def test_enough_others_wait_to_keep_every_thread_busy(threads: int, others: int) -> None:
    queue = ThreadQueue(threads, 1000, 5.0, Refusals())
    assert queue.refuses(5.0, 1000.0, others)
    assert not queue.refuses(5.0, 1000.0, others - 1)
    assert not queue.refuses(4.9, 1000.0, others)


def refused_of(queue: ThreadQueue) -> list[bool]:
    """Have a queue of 50 requests stand for ten seconds, in which waits don't become shorter.
    Return for each second whether a request that left it was refused.
    """
    found = [
        queue.refuses(0.2 if number < 10 else 3.0, 1000 + number / 100, 50)
        for number in range(1000)
    ]
    return [any(found[at : at + 100]) for at in range(0, 1000, 100)]


@pytest.mark.parametrize(("most", "refused"), [(1000, False), (52, False), (51, True)])
def test_a_full_queue_counts_as_growing(most: int, refused: bool) -> None:
    assert any(refused_of(ThreadQueue(1, most, 5.0, Refusals()))) == refused


def test_a_queue_that_load_shedding_keeps_short_counts_as_growing() -> None:
    refusals = Refusals()
    refusals.shed_at = 1001.0
    found = refused_of(ThreadQueue(1, 1000, 5.0, refusals))
    assert found[:5] == [False, True, True, True, True]  # a second must be too long first
    assert not any(found[-2:])
