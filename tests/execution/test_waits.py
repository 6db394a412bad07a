"""Who is late in a queue: a server that answers one request after the other, with its own clock."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from micropie._core.execution import StandingQueue

ANSWER = 0.005  # seconds of each request


def served(
    load: float,
    stood: float,
    seconds: float,
    answer: float = ANSWER,
    chance: random.Random | None = None,
) -> Iterator[tuple[float, bool]]:
    """Yield how long each request has waited, and whether it is refused.

    Requests come at the same distance, or at random, ``load`` of them in the time of an answer. The
    server stands still for ``stood`` seconds at the beginning.
    """
    queue, free_at, came = StandingQueue(), 1000 + stood, 1000.0
    while True:
        came += answer / load if chance is None else chance.expovariate(load / answer)
        free_at = max(free_at, came)
        if free_at > 1000 + stood + seconds:
            return
        is_late = queue.makes_late(free_at - came, free_at)
        yield free_at - came, is_late
        free_at += answer / 50 if is_late else answer


@pytest.mark.parametrize("load", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("stood", [0.0, 0.3, 1.0, 1.5])
def test_a_short_standstill_of_the_machine_refuses_no_request(load: float, stood: float) -> None:
    found = [*served(load, stood, 30)]
    assert not any(is_late for _, is_late in found)
    assert max(found)[0] <= stood
    assert max(found[-100:]) == (0.0, False)


@pytest.mark.parametrize(
    ("load", "stood"), [(0.8, 60.0), (0.99, 5.0), (1.1, 0.0), (4.0, 0.0), (4.0, 1.5)]
)
def test_under_standing_overload_other_requests_get_timely_responses(
    load: float, stood: float
) -> None:
    found = [*served(load, stood, 30)]
    late = [is_late for _, is_late in found]
    # the first second may be as it comes, and a while to find that waits don't get shorter
    answered = [waited for waited, is_late in found[late.index(True) :] if not is_late]
    assert max(answered) <= 0.25
    # no time is lost by idleness
    assert len(answered) * ANSWER > 0.9 * min(1, load) * 27


@pytest.mark.parametrize("rate", [5, 8, 10, 15, 40, 160])
@pytest.mark.parametrize("stood", [0.0, 1.5])
def test_randomly_arriving_requests_are_served_after_a_pause(rate: int, stood: float) -> None:
    """``rate``: requests a second, at 80 % of what the server can do."""
    for seed in range(100):
        found = served(0.8, stood, 30, 0.8 / rate, random.Random(seed))
        assert not any(is_late for _, is_late in found), seed


@pytest.mark.parametrize("answer", [0.01, 0.1, 0.5, 1.0])
def test_waiting_for_a_few_slow_responses_is_not_an_overload(answer: float) -> None:
    """At a load of a half nearly all find less than ten others in front of them."""
    found = [*served(0.5, 0.0, 1000 * answer, answer, random.Random(7))]
    assert not any(is_late for _, is_late in found)


@pytest.mark.parametrize("answer", [0.1, 0.5, 1.0])
@pytest.mark.parametrize(("load", "most"), [(1.5, 30), (4.0, 15)])
def test_many_slow_responses_are_an_overload(answer: float, load: float, most: int) -> None:
    """A short queue grows by chance too: about ``most`` requests show that it isn't chance."""
    found = [*served(load, 0.0, 400 * answer, answer, random.Random(7))]
    late = [is_late for _, is_late in found]
    answered = sorted(waited for waited, is_late in found[late.index(True) :] if not is_late)
    assert answered[-1] < most * answer
    assert answered[int(0.9 * len(answered))] < 11 * answer
    assert len(answered) > 300


def test_a_pause_ends_a_standing_queue() -> None:
    queue = StandingQueue()
    assert not any(queue.makes_late(0.15, 100 + n / 50) for n in range(50))
    assert queue.makes_late(0.9, 101.0)
    assert queue.makes_late(0.26, 101.2)
    assert not queue.makes_late(0.24, 101.2)
    assert not queue.makes_late(0.05, 101.3)
    assert queue.makes_late(0.26, 101.4)
    # it is another one
    assert not queue.makes_late(0.26, 101.92)
    assert not any(queue.makes_late(0.26 + n / 50, 101.94 + n / 50) for n in range(49))
    assert queue.makes_late(1.24, 102.94)


def test_a_server_that_was_blocked_starts_a_new_queue() -> None:
    queue = StandingQueue()
    assert not any(queue.makes_late(0.15, 100 + n / 50) for n in range(50))
    assert queue.makes_late(0.9, 101.0)
    # no wait has ended for so long
    assert not any(queue.makes_late(1.0 - n / 50, 102.0 + n / 50) for n in range(40))
