"""The same requests to the original framework and to ours, and what differs."""

from __future__ import annotations

import pytest

from tests.compat.differences import differences, play
from tests.compat.play import conversations_of

FRAMEWORKS = ["bottle"]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_there_are_enough_requests_and_their_names_are_unique(framework: str) -> None:
    conversations = conversations_of(framework)
    assert sum(len(conversation.asks) for conversation in conversations) >= 200
    assert len({conversation.name for conversation in conversations}) == len(conversations)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_original_answers_the_same_twice(framework: str) -> None:
    """Otherwise nothing could be learned from a difference."""
    first, second = play(framework, "original", "wsgi"), play(framework, "original", "wsgi")
    assert not list(differences(framework, first, second))
    assert all(answer.status for answers in first for answer in answers)
