"""micropie's plugin for pytest: the fixture ``any_client``, which runs a test under WSGI, asyncio
and trio.

    @pytest.fixture
    def app():
        return Root()

    def test_greets(any_client):              # runs three times: wsgi, asyncio, trio
        assert any_client.get("/greet/Alice").text == "Hello, Alice!"

pytest loads this plugin in every run if micropie is installed. The test client needs the extra
``test``, so the plugin imports it only when a test uses a fixture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from micropie.testing import TestClient

WORLDS = ("wsgi", "asyncio", "trio")


@pytest.fixture(params=WORLDS)
def any_world(request: pytest.FixtureRequest) -> str:
    """The protocol and event loop of this run: "wsgi", "asyncio" or "trio"."""
    world: str = request.param
    return world


@pytest.fixture
def make_any_client(any_world: str) -> Iterator[Callable[..., TestClient]]:
    """Return ``make_any_client(app, **options)``, which returns a started ``TestClient`` for the
    protocol and event loop of this run.
    """
    from micropie.testing import TestClient

    with ExitStack() as clients:

        def make(app: Callable[..., object], **options: Any) -> TestClient:
            if any_world == "wsgi":
                return clients.enter_context(TestClient(app, protocol="wsgi", **options))
            return clients.enter_context(TestClient(app, backend=any_world, **options))

        yield make


@pytest.fixture
def any_address() -> tuple[str, int] | None:
    """The address and port from which ``any_client`` sends requests. Override it in a module, or
    for one test: ``@pytest.mark.parametrize("any_address", [("192.0.2.7", 1)])``.
    """
    return ("127.0.0.1", 50000)


@pytest.fixture
def any_client(
    request: pytest.FixtureRequest,
    make_any_client: Callable[..., TestClient],
    any_address: tuple[str, int] | None,
) -> TestClient:
    """Return a ``TestClient`` for the fixture ``app``; the test runs under WSGI, asyncio and trio
    in turn.
    """
    try:
        app = request.getfixturevalue("app")
    except pytest.FixtureLookupError as error:
        # If another fixture is missing, the fixture ``app`` exists and depends on it.
        if error.argname != "app":
            raise
        sentence = "any_client needs a fixture named app: write one that returns your application"
        raise pytest.fail.Exception(sentence, pytrace=False) from None
    return make_any_client(app, client=any_address)
