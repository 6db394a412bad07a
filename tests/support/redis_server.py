"""A redis-server, and a Sentinel, as context managers."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
import redis

from tests.support.guard import guard_of
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE

if TYPE_CHECKING:
    from micropie.channels import RedisChannels


# Another server that speaks Redis' protocol can be tested by its path, such as valkey-server's.
REDIS_SERVER = os.environ.get("REDIS_SERVER", "redis-server")


@contextmanager
def redis_server(
    directory: Path,
    port: int = 0,
    options: Sequence[str] = (),
    address: str = "127.0.0.1",
    inside: Sequence[str] = (),
    program: str = REDIS_SERVER,
) -> Iterator[str]:
    """Run redis-server, or another ``program`` with its options, in ``directory`` and yield its URL; ``port`` 0 takes a free one.

    ``options`` are further ones; ``inside`` is a command that runs another one elsewhere, where the
    server has ``address``. Where it is not installed the test is skipped, and fails if ``CI``
    is "true".
    """
    port = port or free_port()
    arguments = [
        *("--port", str(port)),
        "--bind",
        "0.0.0.0" if inside else address,
        "--dir",
        str(directory),
        "--save",
        "",
        "--appendonly",
        "no",
        *options,
    ]
    with _running(directory, port, arguments, address, inside, program):
        yield f"redis://{address}:{port}/0"


@contextmanager
def sentinel_server(
    directory: Path, primary: int, lines: Sequence[str] = (), address: str = "127.0.0.1"
) -> Iterator[int]:
    """Run a Sentinel in ``directory`` and yield its port.

    It watches the server at the port ``primary`` of ``address`` as "mymaster", and takes it for
    down after half a minute (see ``impatient``). ``lines`` are further ones of its configuration.
    """
    port = free_port()
    configuration = directory / "sentinel.conf"
    configuration.write_text(
        "\n".join(
            [
                f"port {port}",
                "bind 127.0.0.1",
                f"dir {directory}",
                f"sentinel monitor mymaster {address} {primary} 1",
                "sentinel down-after-milliseconds mymaster 30000",
                "sentinel failover-timeout mymaster 2000",
                *lines,
                "",
            ]
        )
    )
    with _running(directory, port, [str(configuration), "--sentinel"]):
        yield port


@contextmanager
def impatient(sentinel: int) -> Iterator[None]:
    """Have the Sentinel at a port take its primary for down after half a second.

    On a busy machine, a primary that is well may take as long as that to answer.
    """
    with redis.Redis(port=sentinel) as client:
        client.sentinel_set("mymaster", "down-after-milliseconds", 500)
        yield
        client.sentinel_set("mymaster", "down-after-milliseconds", 30_000)


@contextmanager
def _running(
    directory: Path,
    port: int,
    arguments: list[str],
    address: str = "127.0.0.1",
    inside: Sequence[str] = (),
    program: str = REDIS_SERVER,
) -> Iterator[None]:
    command = shutil.which(program)
    if command is None:
        missing_program(program)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [*inside, command, *arguments], stdout=log, stderr=log, start_new_session=True
        )
    guard = guard_of(process)
    try:
        _wait_until_it_serves(address, port, process)
        yield
    finally:
        process.terminate()
        process.wait(30)
        guard.kill()
        guard.communicate()


@contextmanager
def hanging(url: str) -> Iterator[Callable[[], None]]:
    """Stop the server at ``url``, one of ``redis_server``, as a stuck disk does.

    The call that is yielded ends it.
    """
    with redis.Redis.from_url(url) as client:
        process = int(client.info("server")["process_id"])
    os.kill(process, signal.SIGSTOP)
    go_on = partial(os.kill, process, signal.SIGCONT)
    try:
        yield go_on
    finally:
        go_on()


def published(channels: RedisChannels, count: int = 20) -> list[int]:
    """Publish numbers to "room" until ``count`` of them are acknowledged, and return those."""
    acknowledged: list[int] = []
    number = 0
    while len(acknowledged) < count:
        number += 1
        with suppress(ConnectionError):
            channels.publish("room", number)
            acknowledged.append(number)
    return acknowledged


def received(messages: Any, acknowledged: list[int]) -> list[int]:
    """Wait for what is acknowledged, and return it as it arrives. Others may arrive, too: a
    publisher may lose its connection before it reads that a message was passed on.
    """
    arrived: list[int] = []
    while len(arrived) < len(acknowledged):
        message = messages.get(timeout=30)
        if message in acknowledged:
            arrived.append(message)
    return arrived


def missing_program(name: str) -> NoReturn:
    """Skip the test, as ``name`` is not installed; fail if ``CI`` is "true"."""
    missing = f"{name} is not installed; scripts/install-system-packages does it"
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)


def _wait_until_it_serves(address: str, port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait for an answer, whatever it says but that the data are being read: all sockets of the
    server are open by then.

    A connection alone would show the first of them only.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        assert process.poll() is None, "redis-server has ended"
        with suppress(OSError), socket.create_connection((address, port), 1) as connection:
            connection.sendall(b"PING\r\n")
            if not connection.recv(64).startswith(b"-LOADING"):
                return
        assert time.monotonic() < deadline, "redis-server does not serve"
        time.sleep(0.02)
