"""One end of the socket to a process of the pool, without a process."""

from __future__ import annotations

import socket
from collections.abc import Callable

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


@pytest.mark.parametrize("end", ["", "."])
@pytest.mark.parametrize("value", [b"x" * 65_536, "x" * 65_536, bytearray(65_536), b"x" * 65_520])
def test_a_connection_that_is_closed_before_a_message_s_last_byte_has_ended(
    value: object, end: str
) -> None:
    """The value isn't at fault, so the kind of the message stays unknown."""
    near, far = socket.socketpair()
    connection = Connection(near)
    message = b"".join(packed((RESULT, (value, end))))
    far.sendall(message[:-1])
    far.close()
    with pytest.raises(EOFError) as raised:
        connection.receive()
    assert (connection.kind, connection.is_stuck) == (b"", True)
    assert not hasattr(raised.value, "__notes__")
    connection.close()


@pytest.mark.parametrize("size", [16_384, 65_520, 65_535, 65_536, 65_537])
@pytest.mark.parametrize("kind", [bytes, bytearray, bytes.hex])
def test_a_message_of_any_size_comes_whole(
    size: int, kind: Callable[[bytes], bytes | bytearray | str]
) -> None:
    near, far = socket.socketpair()
    receiving, sending = Connection(near), Connection(far)
    value = kind(bytes(size))[:size]
    for sent in (value, "small"):
        sending.send(packed((RESULT, sent)))
    assert [receiving.receive() for _ in range(2)] == [(RESULT, value), (RESULT, "small")]
    for one in (receiving, sending):
        one.close()
