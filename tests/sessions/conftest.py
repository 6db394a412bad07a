"""The backends that every test of behaviour runs on."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from micropie.sessions import (
    InMemorySessionBackend,
    RedisSessionBackend,
    SessionBackend,
    SignedCookieSessionBackend,
    SQLiteSessionBackend,
)
from tests.support.processes import REDIS

SHARED = ["memory", "sqlite", REDIS]

MakeBackend = Callable[[str], SessionBackend]


@pytest.fixture
def make_backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeBackend]:
    """`make_backend(name)`: "memory", "sqlite", "redis" or "cookie"; closed at the end."""
    with ExitStack() as stack:

        def make(name: str) -> SessionBackend:
            if name == "memory":
                return InMemorySessionBackend()
            if name == "cookie":
                return SignedCookieSessionBackend("secret" * 8)
            backend: Any
            if name == "sqlite":
                backend = SQLiteSessionBackend(tmp_path / "sessions.db")
            else:
                backend = RedisSessionBackend(
                    request.getfixturevalue("redis_url"), prefix=f"{uuid.uuid4()}:"
                )
            stack.callback(backend.close)
            return backend  # type: ignore[no-any-return]

        yield make


@pytest.fixture(params=SHARED)
def shared(request: pytest.FixtureRequest, make_backend: MakeBackend) -> SessionBackend:
    """Each of the backends that keep sessions on the server."""
    return make_backend(request.param)


@pytest.fixture(params=[*SHARED, "cookie"])
def backend(request: pytest.FixtureRequest, make_backend: MakeBackend) -> SessionBackend:
    """Each of the backends."""
    return make_backend(request.param)
