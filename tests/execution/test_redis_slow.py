"""A Redis that sends its responses byte by byte: a limit is for the whole call, not for each read."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import anyio
import pytest
import redis

from micropie._core.execution.steps import outage, redis_client
from micropie._core.execution.steps.redis_client import RedisClient
from micropie.channels import RedisChannels
from micropie.channels import redis as redis_channels
from micropie.middleware import RedisRates, redis_rate_store
from micropie.sessions import Changes, RedisSessionBackend
from micropie.sessions import redis as redis_sessions
from tests.support.accepting import Accepting
from tests.support.waiting import PATIENCE, until

# Zeros before a number make a response long, and leave it as it is.
ZEROS = b"0" * 300
RESPONSES = {
    b"EVALSHA": b"*2\r\n:" + ZEROS + b"1\r\n:1\r\n",
    b"GET": b'$310\r\n{"a": 2}' + b" " * 302 + b"\r\n",
    b"PUBLISH": b":" + ZEROS + b"1\r\n",
    b"ROLE": b"*1\r\n$6\r\nmaster\r\n",
    b"SENTINEL": b":" + ZEROS + b"1\r\n",
    b"SET": b"$300\r\n" + ZEROS + b"\r\n",
}


class SlowServer(Accepting):
    """Sends a byte, waits for a moment, sends the next one.

    ``answers_pings``: whether it responds to PING at once, as over a new connection.
    """

    def __init__(self) -> None:
        self.answers_pings = True
        self.is_quick = False
        self.begun = self.completed = 0
        super().__init__()

    def serve(self, client: socket.socket) -> None:
        with suppress(OSError):
            while commands := client.recv(65536):
                names = re.findall(rb"\$\d+\r\n([A-Z]+)\r\n", commands)
                if names == [b"PING"] and self.answers_pings:
                    client.sendall(b"+PONG\r\n")
                    continue
                self.begun += 1
                self._send(client, b"".join(self._response(name, commands) for name in names))

    def _send(self, client: socket.socket, response: bytes) -> None:
        size = len(response) if self.is_quick else 1
        for start in range(0, len(response), size):
            client.sendall(response[start : start + size])
            if size == 1 and self._is_over.wait(0.01):
                return
        self.completed += 1

    def _response(self, name: bytes, commands: bytes) -> bytes:
        if name == b"SUBSCRIBE":
            channel = commands.split(b"\r\n")[-2]
            head = b"*3\r\n$9\r\nsubscribe\r\n$%d\r\n%b\r\n:" % (len(channel), channel)
            return head + ZEROS + b"1\r\n"
        return RESPONSES.get(name, b"+" + ZEROS + b"\r\n")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowServer]:
    for module, name in (
        (redis_channels, "TIMEOUT"),
        (redis_rate_store, "_TIMEOUT"),
        (redis_sessions, "_TIMEOUT"),
        (redis_client, "_PROBE_PATIENCE"),
        (redis_client, "_SENTINEL_PATIENCE"),
    ):
        monkeypatch.setattr(module, name, 0.2)
    found = SlowServer()
    yield found
    found.close()


def closing_after(user: Any, call: Callable[[Any], object]) -> None:
    try:
        call(user)
    finally:
        user.close()


async def enter(channels: RedisChannels) -> None:
    async with channels.subscribe("room"):
        """The subscription has begun."""


async def wait_for(awaitable: Awaitable[object]) -> None:
    await awaitable


CALLS: dict[str, Callable[[str], None]] = {
    "rates": lambda url: closing_after(RedisRates(url), lambda one: one.hit("key", 1, 60)),
    "rates, ping": lambda url: closing_after(RedisRates(url), lambda one: one.ping()),
    "session, load": lambda url: closing_after(
        RedisSessionBackend(url), lambda one: one.load("id")
    ),
    "session, save": lambda url: closing_after(
        RedisSessionBackend(url), lambda one: one.save("id", {"a": 1}, 60)
    ),
    "session, merge": lambda url: closing_after(
        RedisSessionBackend(url), lambda one: one.merge("id", Changes({"a": 1}), 60)
    ),
    "publish": lambda url: closing_after(RedisChannels(url), lambda one: one.publish("room", 1)),
    "publish, async": lambda url: closing_after(
        RedisChannels(url), lambda one: anyio.run(lambda: wait_for(one.publish("room", 1)))
    ),
    "subscribe": lambda url: closing_after(
        RedisChannels(url), lambda one: one.subscribe("room").__enter__()
    ),
    "subscribe, async": lambda url: closing_after(
        RedisChannels(url), lambda one: anyio.run(enter, one)
    ),
    "sentinels": lambda url: closing_after(
        RedisClient("Test", url.replace("://", "+sentinel://") + "/primary", 0.2),
        lambda one: one.ping(),
    ),
}


@pytest.mark.processes
@pytest.mark.parametrize("answers_pings", [True, False])
@pytest.mark.parametrize("call", CALLS)
def test_a_response_that_arrives_too_slowly_ends_the_call(
    server: SlowServer, call: str, answers_pings: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The call would succeed if it had a limit for each read."""
    server.answers_pings = answers_pings
    while not server.begun:  # the limit may end before the server has read the call
        with pytest.raises(ConnectionError):
            CALLS[call](f"redis://127.0.0.1:{server.port}")
    assert server.completed == 0
    assert "recursion" not in caplog.text  # of redis-py, which connects and subscribes again


@pytest.mark.processes
def test_a_slow_connection_counts_as_lost_and_the_next_call_works(
    server: SlowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_rate_store, "_TIMEOUT", PATIENCE)
    monkeypatch.setattr(redis_client, "_PROBE_PATIENCE", PATIENCE)
    rates = RedisRates(f"redis://127.0.0.1:{server.port}")
    with RedisClient.within(0.2), pytest.raises(outage.ConnectionLost):
        rates.hit("key", 1, 60)
    server.is_quick = True
    assert rates.hit("key", 1, 60).allowed
    rates.close()


@pytest.mark.processes
def test_a_subscription_that_the_server_does_not_confirm_fails_alone(
    server: SlowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It responds to the first one at once, and never to the second one."""
    monkeypatch.setattr(redis_channels, "TIMEOUT", PATIENCE)
    server.is_quick = True
    channels = RedisChannels(f"redis://127.0.0.1:{server.port}")
    with channels.subscribe("one"):
        listener: Any = channels._listener
        until(lambda: listener._is_connected)
        listener._request_channels = lambda connection: None
        monkeypatch.setattr(redis_channels, "TIMEOUT", 0.2)
        with pytest.raises(ConnectionError, match="no confirmation"):
            channels.subscribe("two").__enter__()
        assert listener._requested == {"one"}
    channels.close()


@pytest.mark.processes
def test_nothing_connects_after_the_time_limit(server: SlowServer) -> None:
    options = {"socket_connect_timeout": 2, "protocol": 2, "driver_info": None}
    connection = redis_client._limited(redis.Connection)(port=server.port, **options)
    with redis_client._until(time.monotonic()), pytest.raises(redis.TimeoutError):
        connection.connect()
    connection.connect()
    connection.disconnect()


def test_a_socket_has_the_time_limit_of_its_thread() -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(30)
    limited = redis_client._LimitedSocket(ours)
    assert limited.fileno() == ours.fileno()
    theirs.sendall(b"abc")
    buffer = bytearray(1)
    assert (limited.recv(1), limited.recv_into(buffer), buffer) == (b"a", 1, bytearray(b"b"))
    limited.sendall(b"d")
    assert (theirs.recv(1), ours.gettimeout()) == (b"d", 30)
    with RedisClient.within(20), RedisClient.within(40):  # an inner limit can't be later
        assert limited.recv(1) == b"c"
    seconds = ours.gettimeout()
    assert seconds is not None
    assert seconds <= 20
    limited.settimeout(5)
    with redis_client._until(time.monotonic()), pytest.raises(TimeoutError):
        limited.recv(1)
    theirs.sendall(b"e")
    assert (limited.recv(1), ours.gettimeout()) == (b"e", 5)
    for one in (ours, theirs):
        one.close()


def test_the_timeout_of_an_open_redis_connection_can_be_set() -> None:
    """It does so while a server announces its maintenance."""
    connection = redis_client._limited(redis.Connection)(socket_connect_timeout=2)
    assert connection.socket_connect_timeout == 2
    connection.socket_connect_timeout = 3
    assert connection.socket_connect_timeout == 3
    with redis_client._until(time.monotonic() + 1):
        assert connection.socket_connect_timeout <= 1
