"""The three worlds that every test of behaviour runs in.

    def test_greets(make_client: MakeClient) -> None:
        client = make_client(Root())   # runs three times: wsgi, asyncio, trio

`make_client` takes `TestClient`'s options too, and `validate=False` for requests that no server would pass on
(`wsgiref.validate` refuses them before the application sees them). `connect` is the same for a world of the
test's choice, to compare worlds within one test. `client` is for modules that define a fixture `app`. Every
client runs the application's lifespan and is closed, which runs the shut-down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from wsgiref.validate import validator

import pytest

from micropie.testing import TestClient
from tests.support.asgi_validator import validated
from tests.support.redis_server import redis_server

WORLDS = ("wsgi", "asyncio", "trio")

MakeClient = Callable[..., TestClient]


def validated_wsgi(app: Any) -> Any:
    """`app` inside `wsgiref.validate`; what the test client asks it for at the end stays in reach."""
    checked: Any = validator(app)
    checked.wsgi_shutdown = getattr(app, "wsgi_shutdown", None)
    return checked


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest) -> str:
    """The protocol and event loop of this run: "wsgi", "asyncio" or "trio"."""
    name: str = request.param
    return name


@pytest.fixture
def connect() -> Iterator[MakeClient]:
    """`connect(app, world, validate=True, **options)`: a client in a world of the test's choice."""
    with ExitStack() as clients:

        def connect(app: Any, world: str, *, validate: bool = True, **options: Any) -> TestClient:
            if world == "wsgi":
                client = TestClient(validated_wsgi(app) if validate else app, protocol="wsgi", **options)
            else:
                client = TestClient(validated(app) if validate else app, backend=world, **options)
            return clients.enter_context(client)

        yield connect


@pytest.fixture
def make_client(connect: MakeClient, world: str) -> MakeClient:
    """`make_client(app, validate=True, **options)`: a client in each world in turn."""

    def make_client(app: Any, **options: Any) -> TestClient:
        return connect(app, world, **options)

    return make_client


@pytest.fixture
def client(app: Any, make_client: MakeClient) -> TestClient:
    """A client for the module's own fixture `app`, in each world in turn."""
    return make_client(app)


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A redis-server for all tests; each has keys of its own."""
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


def pytest_make_parametrize_id(val: object) -> str | None:
    """A name without an address in memory: every worker process has to collect tests under the same names."""
    return getattr(val, "__qualname__", type(val).__qualname__) if " at 0x" in repr(val) else None
