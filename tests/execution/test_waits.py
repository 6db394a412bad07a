"""Who is late in a queue: a server that answers one request after the other, with its own clock."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from micropie._core.execution import StandingQueue

ANSWER = 0.005  # seconds of each request


def served(load: float, stood: float, seconds: float) -> Iterator[tuple[float, bool]]:
    """Yield how long each request has waited, and whether it is refused.

    Requests come at the same distance, ``load`` of them in the time of an answer. The server stands
    still for ``stood`` seconds at the beginning.
    """
    queue, free_at = StandingQueue(), 1000 + stood
    for number in count():
        came = 1000 + number * ANSWER / load
        free_at = max(free_at, came)
        if free_at > 1000 + stood + seconds:
            return
        is_late = queue.makes_late(free_at - came, free_at)
        yield free_at - came, is_late
        free_at += ANSWER / 50 if is_late else ANSWER


@pytest.mark.parametrize("load", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("stood", [0.0, 0.3, 1.0])
def test_a_machine_that_stood_still_for_a_moment_refuses_nobody(load: float, stood: float) -> None:
    found = [*served(load, stood, 30)]
    assert not any(is_late for _, is_late in found)
    assert max(found) <= (stood, False)
    assert max(found[-100:]) == (0.0, False)


@pytest.mark.parametrize(
    ("load", "stood"), [(0.8, 60.0), (0.99, 5.0), (1.1, 0.0), (4.0, 0.0), (4.0, 1.5)]
)
def test_where_a_queue_stands_others_are_answered_in_time(load: float, stood: float) -> None:
    found = [*served(load, stood, 30)]
    late = [is_late for _, is_late in found]
    # the first second may be as it comes, and a while to find that waits don't get shorter
    answered = [waited for waited, is_late in found[late.index(True) :] if not is_late]
    assert max(answered) <= 0.25
    # no time is lost by idleness
    assert len(answered) * ANSWER > 0.9 * min(1, load) * 27


def test_a_pause_ends_a_queue() -> None:
    queue = StandingQueue()
    assert not any(queue.makes_late(0.3, 100 + n / 10) for n in range(10))
    assert queue.makes_late(0.3, 101.0)
    assert queue.makes_late(0.26, 101.5)
    assert not queue.makes_late(0.24, 101.5)
    assert not queue.makes_late(0.26, 102.02)
    # it is another one
    assert not queue.makes_late(5.0, 103.01)
    assert queue.makes_late(5.0, 103.03)
