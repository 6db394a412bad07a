"""The channels that every test of behaviour runs on."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from micropie.channels import Channels, RedisChannels
from tests.support.redis_server import redis_server
from tests.support.waiting import until

KINDS = ["memory", "redis"]

MakeChannels = Callable[[], Channels]


def threads() -> list[str]:
    return sorted(
        thread.name
        for thread in threading.enumerate()
        if thread.name.startswith("micropie-channels")
    )


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    until(lambda: not threads())


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A redis-server for all tests; each has names of its own."""
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


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
