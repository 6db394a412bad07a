"""The servers of the tour: each is started when the first test asks for it, and ended with the last test."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator

import pytest

from tests.servers.harness import KINDS, Server, end_all, start


@pytest.fixture(scope="session")
def tour_on() -> Iterator[Callable[[str], Server]]:
    """``tour_on("uvicorn")`` is the tour, served by it."""
    running: dict[str, Server] = {}

    def get(name: str) -> Server:
        if name not in running:
            log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as its server
            running[name] = start(KINDS[name], "examples.tour:app", log)
        return running[name]

    yield get
    try:
        end_all(list(running.values()))
        for name, server in running.items():
            assert not server.leftovers(), name
    finally:
        for server in running.values():
            server.log.close()
