"""One end of the socket to a process of the pool, without a process."""

from __future__ import annotations

import socket

import pytest

from micropie._core.execution.pool.connection import Connection, packed
from micropie._core.execution.pool.remote import RESULT


@pytest.mark.parametrize("value", [b"x" * 500_000, ["x" * 100] * 10_000, b"x" * 100])
def test_a_message_that_stops_in_its_middle_makes_a_connection_stuck(value: object) -> None:
    near, far = socket.socketpair()
    with far:
        connection = Connection(near)
        connection.limit(0.01)
        message = b"".join(packed((RESULT, value)))
        far.settimeout(0)
        far.send(message[: len(message) // 2])
        with pytest.raises(BlockingIOError):
            connection.receive()
        assert connection.is_stuck
        connection.close()
