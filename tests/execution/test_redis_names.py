"""The name of a Redis, looked up: by name servers that don't answer, and by some that do."""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from micropie import App, Request
from micropie._core.execution.steps.redis_client import RedisClient
from micropie.channels import RedisChannels
from micropie.channels import redis as of_channels
from micropie.middleware import RateLimit, RedisRates
from micropie.middleware import redis_rate_store as of_rates
from micropie.sessions import RedisSessionBackend
from micropie.sessions import redis as of_sessions
from tests.support.clients import connecting
from tests.support.commands import ended, environment
from tests.support.redis_server import redis_server
from tests.support.waiting import PATIENCE

NAME = "redis.example"


@contextmanager
def silent_name_server(folder: Path) -> Iterator[list[str]]:
    """Yield a command that runs another one, in which every name is asked of a server that does
    not answer, and waited for as long as the system's resolver can.
    """
    if os.geteuid() != 0:
        pytest.skip("another /etc/resolv.conf needs the rights of root")
    address = f"127.{os.getpid() // 65536 % 250 + 1}.{os.getpid() // 256 % 256}.{os.getpid() % 256}"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((address, 53))
        (folder / "resolv.conf").write_text(
            f"nameserver {address}\noptions timeout:30 attempts:5\n"
        )
        bind = shlex.join(["mount", "--bind", f"{folder}/resolv.conf", "/etc/resolv.conf"])
        yield ["unshare", "--mount", "sh", "-c", f'{bind} && exec "$@"', "sh"]


class Site(App):
    def look(self, request: Request) -> str:
        return str(len(request.session))

    def page(self) -> str:
        return "hello"

    async def say(self) -> None:
        await self.channels.publish("room", "text")


def main(world: str) -> None:
    """Print the statuses of requests, and whether the name is looked up even after them."""
    of_channels.TIMEOUT = of_sessions._TIMEOUT = of_rates._TIMEOUT = 0.2
    url = f"redis://{NAME}:6379/0"
    site = Site(session_backend=RedisSessionBackend(url), channels=RedisChannels(url))
    site.middlewares.append(RateLimit(1000, store=RedisRates(url)))
    sentinels = f"redis+sentinel://{NAME},{NAME}:1/mymaster"
    other = Site(session_backend=RedisSessionBackend(sentinels))
    site.health("/readyz", timeout=0.3)
    site.health("/livez", live=True)
    cookie = {"Cookie": f"session_id={'a' * 43}"}
    with connecting() as connect:
        client, other_client = connect(site, world), connect(other, world)
        found = {
            path: client.get(path).status_code for path in ("/readyz", "/livez", "/page", "/say")
        }
        found["session"] = client.get("/look", headers=cookie).status_code
        found["by Sentinels"] = other_client.get("/look", headers=cookie).status_code
        is_looked_up = any(NAME in thread.name for thread in threading.enumerate())
    os.write(1, json.dumps([found, is_looked_up]).encode())
    os._exit(0)


def test_silent_name_servers_are_an_outage_like_a_silent_redis(world: str, tmp_path: Path) -> None:
    """Not one that lasts for as long as the system's resolver waits, which still does then."""
    program = "import sys; from tests.execution.test_redis_names import main; main(sys.argv[1])"
    with silent_name_server(tmp_path) as inside:
        ran = ended(*inside, sys.executable, "-c", program, world, environ=environment())
    assert ran.returncode == 0, ran.stderr
    found, is_looked_up = json.loads(ran.stdout)
    assert found == {
        "/readyz": 503,
        "/livez": 200,
        "/page": 200,  # the rate limit lets it in
        "/say": 503,
        "session": 503,
        "by Sentinels": 503,
    }
    assert is_looked_up
    assert f"no DNS server has responded for '{NAME}'" in ran.stderr


def test_a_host_name_is_only_resolved_for_a_new_connection(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()
    look_up = socket.getaddrinfo
    asked: list[object] = []

    def looked_up(*arguments: Any) -> Any:
        asked.append(arguments[0])
        answers.wait(PATIENCE)
        return look_up(*arguments)

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    client = RedisClient("a test", redis_url.replace("127.0.0.1", "localhost"), PATIENCE)
    error = "no DNS server has responded for 'localhost'"
    with client.within(1.0), pytest.raises(ConnectionError, match=error):
        client.ping()
    answers.set()
    client.ping()
    count = len(asked)
    client.ping()
    assert len(asked) == count
    client.close()
    client.ping()
    assert len(asked) > count
    client.close()


def test_an_unknown_host_name_is_an_outage() -> None:
    client = RedisClient("a test", "redis://nobody.invalid:6379/0", 5)
    with pytest.raises(ConnectionError, match="the Redis of a test is unavailable"):
        client.ping()


def refuse(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_redis_is_reached_if_no_thread_can_look_its_name_up(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading.Thread, "start", refuse)
    client = RedisClient("a test", redis_url.replace("127.0.0.1", "localhost"), PATIENCE)
    client.ping()
    client.close()


def test_redis_can_be_reached_through_a_unix_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "redis.sock"
    with redis_server(tmp_path, options=["--unixsocket", str(path)]):
        monkeypatch.setattr(threading, "Thread", None)  # there is no name to look up
        client = RedisClient("a test", f"unix://{path}?db=1", 5)
        with client.reached() as reached:
            assert reached.client_info()["db"] == 1
        client.close()
