"""What requests take, by their kinds.

The commands of Redis are counted, so they are the same on a busy machine; microseconds are those of
a processor, and no time that something waited.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, NamedTuple
from uuid import uuid4

import httpx2 as httpx
import redis

from tests.servers.cluster.clients import ROOM, Listener, Load, new_client
from tests.servers.cluster.machines import Cluster

FOLLOWERS = 40  # of a room: more than there are workers
# for each machine, so that their workers are as busy; each sends one request after the other
CLIENTS = 8

# Commands that connections begin with, that ask whether Redis is there, and this program's own.
_NOT_COUNTED = {"hello", "auth", "select", "client", "ping", "info", "pubsub"}


class Kind(NamedTuple):
    """A request that is measured."""

    name: str
    method: str
    path: str
    has_session: bool


# A request with a session's cookie has it loaded, whether its handler looks at it or not.
LIMITED = "is counted by a rate limit"
KINDS = (
    Kind("has no session", "GET", "/who", False),
    Kind("has a session", "GET", "/me", True),
    Kind("changes its session", "POST", "/visit", True),
    Kind("says a message", "POST", "/say", False),
    # and has no session: what the limit takes is the difference
    Kind(LIMITED, "GET", "/limited", False),
)


class Cost(NamedTuple):
    """What a request of a kind takes: microseconds of a processor, and commands of Redis."""

    machines: int
    kind: str
    requests: int
    workers: float
    balancer: float
    redis: float
    commands: dict[str, float]

    @property
    def number(self) -> float:
        """Return how many commands Redis performs, those of scripts included."""
        return sum(self.commands.values())


class FanOut(NamedTuple):
    """What a message takes that everybody in a room gets."""

    machines: int
    followers: int
    copies: int
    """How often Redis sends it: once to each worker that has followers."""
    reads: float
    """How often the room's history is read."""


async def measure(cluster: Cluster, requests: int) -> list[Cost]:
    """Return what each kind of request takes."""
    users, strangers = (
        [new_client(cluster.balancer.url) for _ in range(CLIENTS * len(cluster.machines))]
        for _ in range(2)
    )
    try:
        for number, client in enumerate(users):
            (await client.post("/login", data={"name": f"user{number}"})).raise_for_status()
        costs = []
        for kind in KINDS:
            clients = users if kind.has_session else strangers
            await _ask(clients, kind, min(requests, 200))  # the first requests cost more
            costs.append(await _cost(cluster, clients, kind, requests))
        return costs
    finally:
        for client in (*users, *strangers):
            await client.aclose()


async def _ask(clients: list[httpx.AsyncClient], kind: Kind, requests: int) -> None:
    async def ask(client: httpx.AsyncClient) -> None:
        for _ in range(requests // len(clients)):
            form = (
                {"room": ROOM, "key": str(uuid4()), "text": "hello"}
                if kind.path == "/say"
                else None
            )
            (await client.request(kind.method, kind.path, data=form)).raise_for_status()

    await asyncio.gather(*map(ask, clients))


async def _cost(
    cluster: Cluster, clients: list[httpx.AsyncClient], kind: Kind, requests: int
) -> Cost:
    requests -= requests % len(clients)
    with redis.Redis.from_url(cluster.redis.url) as asking:
        commands, seconds = (
            _commands(asking),
            {**cluster.processor_seconds(), "redis": _redis_seconds(asking)},
        )
        await _ask(clients, kind, requests)
        after = {**cluster.processor_seconds(), "redis": _redis_seconds(asking)}
        done = _commands(asking) - commands
    used = {
        name: 1e6 * (after[name] - seconds[name]) / requests
        for name in ("workers", "balancer", "redis")
    }
    each = {name: count / requests for name, count in sorted(done.items())}
    return Cost(len(cluster.machines), kind.name, requests, commands=each, **used)


async def fan_out(cluster: Cluster, followers: int, messages: int) -> FanOut:
    """Return what a message takes. Each is said when all followers have the one before."""
    load = Load(cluster.balancer.url, users=0, posters=0, talkers=0, listeners=0)
    listeners = [Listener(load) for _ in range(followers)]
    tasks = [asyncio.create_task(one.run()) for one in listeners]
    async with new_client(cluster.balancer.url) as client:
        with redis.Redis.from_url(cluster.redis.url) as asking:
            try:
                await _say(client, listeners)
                commands = _commands(asking)
                for _ in range(messages):
                    await _say(client, listeners)
                done, copies = _commands(asking) - commands, _subscribed(asking)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            # What is measured next must not have the unsubscribing in it. The balancer notices who
            # is gone when it writes.
            async with asyncio.timeout(60):
                while _subscribed(asking):
                    await _say(client, [])
                    await asyncio.sleep(0.1)
    return FanOut(len(cluster.machines), followers, copies, done["xrange"] / messages)


def _subscribed(asking: redis.Redis) -> int:
    """Return how many workers are subscribed to the room."""
    found: Any = asking.pubsub_numsub(f"channel:{ROOM}")
    return int(found[0][1])


async def _say(client: httpx.AsyncClient, listeners: list[Listener]) -> None:
    key = str(uuid4())
    form = {"room": ROOM, "key": key, "text": "hello"}
    (await client.post("/say", data=form)).raise_for_status()
    async with asyncio.timeout(60):
        while not all(key in one.seen for one in listeners):
            await asyncio.sleep(0.01)


def _commands(asking: redis.Redis) -> Counter[str]:
    found: Any = asking.info("commandstats")
    calls = {name.removeprefix("cmdstat_"): row["calls"] for name, row in found.items()}
    return Counter(
        {
            name: number
            for name, number in calls.items()
            if name.partition("|")[0] not in _NOT_COUNTED
        }
    )


def _redis_seconds(asking: redis.Redis) -> float:
    found: Any = asking.info("cpu")
    return float(found["used_cpu_user"]) + float(found["used_cpu_sys"])
