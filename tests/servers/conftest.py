"""The servers of ``basics.py``. Each starts when the first test asks for it and stops after the last test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.harness import ServerOf, serving


@pytest.fixture(scope="session")
def basics_on() -> Iterator[ServerOf]:
    """Return ``basics_on(name)``: the server of that name, with it."""
    with serving("tests.servers.basics:app") as server_of:
        yield server_of
