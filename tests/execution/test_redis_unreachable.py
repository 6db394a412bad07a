"""A Redis whose packets are lost without a word: a firewall that forgets connections, a primary
that vanishes.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import redis

from micropie import App, Request
from micropie.channels import RedisChannels
from micropie.sessions import RedisSessionBackend
from micropie.sessions import redis as of_sessions
from micropie.testing import TestClient
from tests.conftest import MakeClient
from tests.support.apart import Machine, machines
from tests.support.redis_server import redis_server
from tests.support.waiting import until

PORT = 6379
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


class Site(App):
    async def count(self, request: Request) -> str:
        number = request.session.get("n", 0) + 1
        request.session["n"] = number
        return str(number)

    async def look(self, request: Request) -> str:
        return str(request.session["n"])


def statuses(client: TestClient, requests: int) -> list[int]:
    return [client.get("/look").status_code for _ in range(requests)]


def test_R57_a_forgotten_connection_costs_its_own_request(
    make_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All others are answered meanwhile and afterwards."""
    monkeypatch.setattr(of_sessions, "_TIMEOUT", 1.0)
    with running(tmp_path, 1) as (machine,), ThreadPoolExecutor(CROWD) as threads:
        backend = RedisSessionBackend(f"redis://{machine.virtual}:{PORT}/0")
        client = make_client(Site(session_backend=backend))
        assert client.post("/count").text == "1"
        with redis.Redis(machine.address, PORT) as admin:
            admin.client_pause(300)  # so that each request of the crowd needs a connection
            for answers in threads.map(statuses, [client] * CROWD, [1] * CROWD):
                assert answers == [200]
            assert admin.info("clients")["connected_clients"] > CROWD / 2
        machine.forget()
        for answers in threads.map(statuses, [client] * CROWD, [20] * CROWD):
            assert answers.count(503) <= 1
            assert answers[1:] == [200] * 19
        backend.close()


def test_R57_a_primary_that_vanishes_is_followed(make_client: MakeClient, tmp_path: Path) -> None:
    """Its replica is promoted, and the virtual address moves to it."""
    with running(tmp_path, 2) as (old, new), redis.Redis(new.address, PORT) as replica:
        old.join(new)
        with redis.Redis(old.address, PORT) as primary:
            primary.config_set("repl-diskless-sync-delay", 0)
        replica.replicaof(old.peer, PORT)
        until(lambda: replica.info("replication")["master_link_status"] == "up")
        url = f"redis://{old.virtual}:{PORT}/0"
        channels = RedisChannels(url)
        site = Site(session_backend=RedisSessionBackend(url), channels=channels)
        site.health("/readyz")
        client = make_client(site)
        other = RedisChannels(url)
        with other.subscribe("room") as messages:
            assert client.post("/count").text == "1"
            channels.publish("room", "before")
            assert messages.get(timeout=30) == "before"
            until(lambda: replica.dbsize() == 1)

            old.vanish()
            assert client.get("/readyz").status_code == 503
            assert client.post("/count").status_code == 503
            replica.replicaof("NO", "ONE")
            new.take()

            until(lambda: client.get("/readyz").status_code == 200, 10)
            until(lambda: client.post("/count").status_code == 200, 10)
            until(lambda: messages.gaps == 1, 10)
            until(lambda: replica.pubsub_numsub("channel:room")[0][1] == 1, 10)
            acknowledged: list[int] = []
            number = 0
            while len(acknowledged) < 20:
                number += 1
                with suppress(ConnectionError):
                    channels.publish("room", number)
                    acknowledged.append(number)
            assert [messages.get(timeout=30) for _ in acknowledged] == acknowledged
        other.close()
