"""The channels that every test of behaviour runs on."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from micropie.channels import Channels, RedisChannels
from tests.support.processes import REDIS
from tests.support.waiting import until

KINDS = ["memory", REDIS]

MakeChannels = Callable[[], Channels]


@pytest.fixture(autouse=True)
def threads() -> Iterator[Callable[[], list[str]]]:
    """Yield a function that returns the names of the channels' threads which this test has started,
    and wait at its end until they are gone: a thread that is left fails no other test.
    """
    before = set(threading.enumerate())

    def started() -> list[str]:
        new = set(threading.enumerate()) - before
        return sorted(one.name for one in new if one.name.startswith("micropie-channels"))

    yield started
    until(lambda: not started())


@pytest.fixture(params=KINDS)
def channels(request: pytest.FixtureRequest) -> Iterator[Channels]:
    """Each of them in turn; closed at the end."""
    with ExitStack() as stack:
        if request.param == "memory":
            made = Channels()
        else:
            made = RedisChannels(request.getfixturevalue("redis_url"), prefix=f"{uuid.uuid4()}:")
        stack.callback(made.close)
        yield made
