"""The servers of the tour: each is started when the first test asks for it, and ended with the last test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.harness import ServerOf, serving


@pytest.fixture(scope="session")
def tour_on() -> Iterator[ServerOf]:
    """``tour_on("uvicorn")`` is the tour, served by it."""
    with serving("examples.tour:app") as server_of:
        yield server_of
