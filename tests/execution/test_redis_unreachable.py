"""A Redis whose packets are lost silently: a firewall that forgets connections, a primary
that vanishes.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from micropie import Request
from micropie.channels import RedisChannels
from micropie.channels import redis as of_channels
from micropie.extensions import Outage
from micropie.middleware import RateLimit, RedisRates
from micropie.middleware import redis_rate_store as of_rates
from micropie.sessions import RedisSessionBackend
from micropie.sessions import redis as of_sessions
from micropie.testing import TestClient
from tests.execution.test_redis_client import Visits
from tests.support.apart import Machine, machines
from tests.support.clients import MakeClient
from tests.support.redis_server import (
    impatient,
    published,
    received,
    redis_server,
    sentinel_server,
)
from tests.support.waiting import until

PORT = 6379
NAME = "redis.example"
CROWD = 12


@contextmanager
def running(directory: Path, count: int) -> Iterator[list[Machine]]:
    """Run so many machines, each with a Redis. The virtual address leads to the first one."""
    with machines(count) as made, ExitStack() as stack:
        for number, machine in enumerate(made):
            folder = directory / str(number)
            folder.mkdir()
            options = ["--protected-mode", "no"]
            stack.enter_context(
                redis_server(folder, PORT, options, machine.address, machine.command([]))
            )
        made[0].take()
        yield made


class Site(Visits):
    async def look(self, request: Request) -> str:
        return str(request.session["n"])


def statuses(client: TestClient, requests: int) -> list[int]:
    return [client.get("/look").status_code for _ in range(requests)]


def test_R57_a_stale_connection_fails_its_own_request_only(
    make_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All others are answered meanwhile and afterwards."""
    # shorter than the threads of sessions wait, and longer than a crowd on a busy machine does
    monkeypatch.setattr(of_sessions, "_TIMEOUT", 1.5)
    with running(tmp_path, 1) as (machine,), ThreadPoolExecutor(CROWD) as threads:
        backend = RedisSessionBackend(f"redis://{machine.virtual}:{PORT}/0")
        client = make_client(Site(session_backend=backend))
        assert client.post("/count").text == "1"
        with redis.Redis(machine.address, PORT) as admin:

            def has_connections() -> bool:
                admin.client_pause(300)  # so that each request of the crowd needs a connection
                for answers in threads.map(statuses, [client] * CROWD, [1] * CROWD):
                    assert answers == [200]
                return bool(admin.info("clients")["connected_clients"] > CROWD / 2)

            until(has_connections)  # the first crowd may come when the pause is over
        machine.forget()
        for answers in threads.map(statuses, [client] * CROWD, [20] * CROWD):
            assert answers.count(503) <= 1
            assert answers[1:] == [200] * 19
        backend.close()


@contextmanager
def by_its_address(
    old: Machine, new: Machine, folder: Path, patch: pytest.MonkeyPatch
) -> Iterator[tuple[str, Callable[[], None]]]:
    """Have a virtual address lead to the new primary when the machine of the old one is gone."""

    def fail_over() -> None:
        old.vanish()
        with redis.Redis(new.address, PORT) as replica:
            replica.replicaof("NO", "ONE")
        new.take()

    yield f"redis://{old.virtual}:{PORT}/0", fail_over


@contextmanager
def by_its_name(
    old: Machine, new: Machine, folder: Path, patch: pytest.MonkeyPatch
) -> Iterator[tuple[str, Callable[[], None]]]:
    """Have a name lead to the new primary when the machine of the old one is gone."""
    with named(old, patch) as leads_to:

        def fail_over() -> None:
            old.vanish()
            with redis.Redis(new.address, PORT) as replica:
                replica.replicaof("NO", "ONE")
            leads_to(new)

        yield f"redis://{NAME}:{PORT}/0", fail_over


@contextmanager
def by_replicaof(
    old: Machine, new: Machine, folder: Path, patch: pytest.MonkeyPatch
) -> Iterator[tuple[str, Callable[[], None]]]:
    """Have the two change their roles. Connections to the old one, a replica, stay open."""
    with named(old, patch) as leads_to:

        def fail_over() -> None:
            with redis.Redis(new.address, PORT) as primary, redis.Redis(old.address, PORT) as other:
                primary.config_set("repl-diskless-sync-delay", 0)
                primary.replicaof("NO", "ONE")
                other.replicaof(new.peer, PORT)
                until(lambda: other.info("replication")["master_link_status"] == "up")
            leads_to(new)

        yield f"redis://{NAME}:{PORT}/0", fail_over


@contextmanager
def by_a_sentinel(
    old: Machine, new: Machine, folder: Path, patch: pytest.MonkeyPatch
) -> Iterator[tuple[str, Callable[[], None]]]:
    """Have a Sentinel notice that the machine of the primary is gone."""
    with (
        sentinel_server(folder, PORT, address=old.address) as port,
        redis.Redis(port=port, decode_responses=True) as asked,
    ):

        def primary() -> Any:
            return asked.sentinel_get_master_addr_by_name("mymaster")

        until(lambda: asked.sentinel_slaves("mymaster"))

        def fail_over() -> None:
            old.vanish()
            with impatient(port):
                until(lambda: primary() == (new.address, PORT))
            with redis.Redis(new.address, PORT) as replica:
                until(lambda: replica.role()[0] == b"master")

        yield f"redis+sentinel://127.0.0.1:{port}/mymaster/0", fail_over


@contextmanager
def named(machine: Machine, patch: pytest.MonkeyPatch) -> Iterator[Callable[[Machine], None]]:
    """Have a name lead to a machine. The call that is yielded has it lead to another one."""
    look_up = socket.getaddrinfo
    addresses = {NAME: machine.address}

    def looked_up(host: str, *arguments: Any) -> Any:
        return look_up(addresses.get(host, host), *arguments)

    def lead(other: Machine) -> None:
        addresses[NAME] = other.address

    patch.setattr(socket, "getaddrinfo", looked_up)
    yield lead


def has_followers(machine: Machine) -> bool:
    with redis.Redis(machine.address, PORT) as server:
        found: Any = server.pubsub_numsub("channel:room")
        return bool(found[0][1])


@pytest.mark.parametrize("way", [by_its_address, by_its_name, by_replicaof, by_a_sentinel])
def test_R57_a_failover_is_followed(
    make_client: MakeClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: Callable[..., Any],
) -> None:
    """By sessions, messages and rate limits. What is acknowledged after it arrives."""
    with running(tmp_path, 2) as (old, new), redis.Redis(new.address, PORT) as replica:
        old.join(new)
        with redis.Redis(old.address, PORT) as primary:
            primary.config_set("repl-diskless-sync-delay", 0)
        replica.config_set("replica-announce-ip", new.address)
        replica.replicaof(old.peer, PORT)
        until(lambda: replica.info("replication")["master_link_status"] == "up")
        with way(old, new, tmp_path, monkeypatch) as (url, fail_over):
            channels, other = RedisChannels(url), RedisChannels(url)
            rates = RedisRates(url)
            site = Site(session_backend=RedisSessionBackend(url), channels=channels)
            site.middlewares.append(
                RateLimit(10_000, per=10**6, store=rates, when_unreachable="refuse")
            )
            site.health("/readyz")
            site.health("/livez", live=True)
            client = make_client(site)
            with other.subscribe("room") as messages:
                assert client.post("/count").text == "1"
                channels.publish("room", "before")
                assert messages.get(timeout=30) == "before"
                until(lambda: replica.dbsize() == 2)

                fail_over()
                refused = client.post("/count")
                assert refused.status_code in (200, 503)
                assert client.get("/livez").status_code == 200

                until(lambda: client.get("/readyz").status_code == 200)
                until(lambda: client.post("/count").status_code == 200)
                # a replica passes on what its primary publishes
                reached = (old, new) if way is by_replicaof else (new,)
                until(lambda: any(map(has_followers, reached)))
                acknowledged = published(channels)
                assert received(messages, acknowledged) == acknowledged
                counted = int(client.post("/count").text)
                assert counted >= 3
                assert int(client.get("/look").text) == counted
                assert replica.exists(*replica.keys("rate:*"))
            for one in (other, channels, rates):
                one.close()


def test_R57_a_failover_takes_less_than_five_seconds() -> None:
    """By the limits that the parts have, beside a round trip."""
    # a call that was made before, over a connection that leads nowhere; another one is tried then
    assert max(of_sessions._TIMEOUT, of_rates._TIMEOUT, of_channels.TIMEOUT) <= 5
    # the next one that tries the service, if the last one has failed just before
    assert Outage.retry_after <= 5
    # the subscriptions: a silent server is asked, a new connection is tried, and its answer compared
    assert of_channels.SILENCE + 3 * of_channels._BETWEEN_LOOKS <= 5
    # or those that connect: TCP asks after one and three seconds again, and the pause comes after
    assert 2 + of_channels.PAUSES[1] <= 5
