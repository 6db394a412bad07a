"""The servers of the tour. Each starts when the first test asks for it and stops after the last test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.harness import ServerOf, serving


@pytest.fixture(scope="session")
def tour_on() -> Iterator[ServerOf]:
    """Return ``tour_on(name)``: the server of that name, with the tour."""
    with serving("examples.tour:app") as server_of:
        yield server_of
