"""A server that does not start is launched once more, and the run reports it."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator

import pytest

from tests.servers import harness
from tests.servers.harness import KINDS, NotStartedError, start
from tests.support.ports import free_port


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that another program has taken, and on which nobody listens."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        yield other.getsockname()[1]


def test_a_port_in_use_is_replaced_once(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ports = iter([taken, free_port()])
    monkeypatch.setattr(harness, "free_port", lambda: next(ports))
    with tempfile.TemporaryFile() as log:
        server = start(KINDS["waitress"], "tests.servers.basics:app", log)
        status = server.request("GET", "/").status
        server.end()
    (why,) = harness.STARTED_AGAIN
    harness.STARTED_AGAIN.clear()  # this test's report would have it
    assert status == 200
    assert why.startswith("waitress ")
    assert "the server ended at its start:\n" in why


def test_a_server_is_started_at_most_twice(taken: int) -> None:
    running = list(harness.RUNNING)  # other files' servers may serve until the run's end
    with (
        tempfile.TemporaryFile() as log,
        pytest.raises(NotStartedError, match=r"^the server ended at its start:\n"),
    ):
        start(KINDS["waitress"], "tests.servers.basics:app", log, port=taken)
    assert len(harness.STARTED_AGAIN) == 1
    harness.STARTED_AGAIN.clear()
    assert running == harness.RUNNING
