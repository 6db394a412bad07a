"""The same requests to the original framework and to ours, and what differs."""

from __future__ import annotations

import pytest

from compat.tests.differences import differences, original, play, reason_for
from compat.tests.meant import MEANT
from compat.tests.play import conversations_of

FRAMEWORKS = ["bottle", "cherrypy"]
MOVED = ["bottle", "cherrypy"]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_there_are_enough_requests_and_their_names_are_unique(framework: str) -> None:
    conversations = conversations_of(framework)
    assert sum(len(conversation.asks) for conversation in conversations) >= 200
    assert len({conversation.name for conversation in conversations}) == len(conversations)


@pytest.mark.processes
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_original_responds_the_same_way_twice(framework: str) -> None:
    """Otherwise nothing could be learned from a difference."""
    assert not list(
        differences(framework, original(framework), play(framework, "original", "wsgi"))
    )
    assert all(answer.status for answers in original(framework) for answer in answers)


@pytest.mark.processes
@pytest.mark.parametrize("framework", MOVED)
def test_a_migrated_application_responds_as_the_original_except_where_documented(
    framework: str, world: str
) -> None:
    found = list(differences(framework, original(framework), play(framework, "ours", world)))
    reasons = [reason_for(framework, difference) for difference in found]
    assert not [
        str(difference) for difference, reason in zip(found, reasons, strict=True) if reason is None
    ]
    assert [row for row in MEANT[framework] if row not in reasons] == [], (
        "differences that are none any longer"
    )
