"""The servers of ``basics.py`` and ``sockets.py``. Each starts when the first test asks for it and stops after the last."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.harness import ServerOf, serving


@pytest.fixture(scope="session")
def basics_on() -> Iterator[ServerOf]:
    """Return ``basics_on(name)``: the server of that name, with it."""
    with serving("tests.servers.basics:app") as server_of:
        yield server_of


@pytest.fixture(scope="session")
def sockets_on() -> Iterator[ServerOf]:
    """Return ``sockets_on(name)``: the server of that name, with WebSockets."""
    with serving("tests.servers.sockets:app") as server_of:
        yield server_of
