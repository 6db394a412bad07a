"""What requests take, by their kinds, and what follows from that for many machines.

The commands of Redis are counted, so they are the same on a busy machine; microseconds are those of
a processor, and no time that something waited. ``Model`` has what one machine takes, and predicts
what several do.
"""

from __future__ import annotations

import asyncio
import math
import subprocess
from collections import Counter
from typing import Any, NamedTuple
from uuid import uuid4

import httpx2 as httpx
import redis

from tests.servers.cluster.clients import ROOM, Listener, Load, new_client
from tests.servers.cluster.machines import WORKERS, Cluster

COPIES = 20_000  # of a session, to know its memory
FOLLOWERS = 40  # of a room: more than there are workers
# for each machine, so that their workers are as busy; each sends one request after the other
CLIENTS = 8
PROCESSORS = 2  # of each machine, in the model
CONNECTIONS = 82  # to Redis, of a worker: 40 for sessions, 40 for a rate limit, 2 for channels
MOST_CONNECTIONS = 10_000  # of Redis, by default

# Commands that connections begin with, that ask whether Redis is there, and this program's own.
_NOT_COUNTED = {"hello", "auth", "select", "client", "ping", "info", "pubsub"}


class Kind(NamedTuple):
    """A request, and how often it comes in the model's mix."""

    name: str
    method: str
    path: str
    has_session: bool
    share: float


# A request with a session's cookie has it loaded, whether its handler looks at it or not.
LIMITED = "is counted by a rate limit"
KINDS = (
    Kind("has no session", "GET", "/who", False, 0.5),
    Kind("has a session", "GET", "/me", True, 0.4),
    Kind("changes its session", "POST", "/visit", True, 0.08),
    Kind("says a message", "POST", "/say", False, 0.02),
    # and has no session: what the limit takes is the difference
    Kind(LIMITED, "GET", "/limited", False, 0.0),
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


class Store(NamedTuple):
    """What Redis takes beside a request's commands."""

    busy_get: float
    """Microseconds of its processor for a GET, where fifty connections keep it busy."""
    session: float
    """Bytes of a session that was changed once."""


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


def look_at_redis(cluster: Cluster, requests: int) -> Store:
    """Return what a busy Redis takes, and a session; ``measure`` has made some."""
    with redis.Redis.from_url(cluster.redis.url) as asking:
        before = _redis_seconds(asking)
        subprocess.run(
            [
                *("redis-benchmark", "-h", cluster.redis.address, "-p", str(cluster.redis.port)),
                *("-c", "50", "-n", str(requests), "-t", "get", "-q"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        seconds = _redis_seconds(asking) - before
        session: Any = asking.get(next(asking.scan_iter("session:*", count=1000)))
        memory = _redis_memory(asking)
        with asking.pipeline(transaction=False) as pipeline:
            for number in range(COPIES):
                pipeline.set(f"session:{number:043}", session, ex=3600)
            pipeline.execute()
        memory = _redis_memory(asking) - memory
    return Store(1e6 * seconds / requests, memory / COPIES)


def _redis_memory(asking: redis.Redis) -> int:
    found: Any = asking.info("memory")
    return int(found["used_memory"])


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


# -- the model -------------------------------------------------------------------------------------


class Model:
    """Predicts what several machines do from what one does: they know nothing of each other.

    A request takes the same of a worker, of the balancer and of Redis however many machines there
    are. A message goes once to each worker that has followers. The workers compute on the
    processors of their machines, Redis on one. A command of a busy Redis takes less than one of a
    Redis that is idle otherwise, as ``store`` has measured with GET.
    """

    def __init__(self, one_machine: list[Cost], store: Store, workers: int = WORKERS) -> None:
        self.costs = {cost.kind: cost for cost in one_machine}
        self.store = store
        self.workers = workers

    def copies(self, machines: int, followers: int) -> int:
        """Return how often Redis sends a message at most."""
        return min(machines * self.workers, followers)

    def mixed(self) -> Cost:
        """Return what a request of the mix takes."""
        parts = [(self.costs[kind.name], kind.share) for kind in KINDS]
        workers, balancer, redis_ = (
            sum(share * getattr(cost, name) for cost, share in parts)
            for name in ("workers", "balancer", "redis")
        )
        commands = {"all": sum(share * cost.number for cost, share in parts)}
        return Cost(1, "the mix", 0, workers, balancer, redis_, commands)

    def limited(self, cost: Cost) -> Cost:
        """Return what the same request takes below a rate limit that counts in Redis."""
        below, without = self.costs[LIMITED], self.costs["has no session"]
        return cost._replace(
            workers=cost.workers + below.workers - without.workers,
            redis=cost.redis + below.redis - without.redis,
            commands={"all": cost.number + below.number - without.number},
        )

    def rate(self, cost: Cost, machines: int) -> float:
        """Return the requests a second at which the workers of so many machines compute all the
        time.
        """
        return machines * PROCESSORS * 1e6 / cost.workers

    def redis_rate(self, cost: Cost) -> float:
        """Return the requests a second at which Redis computes all the time; infinity without
        commands.
        """
        if not cost.number:
            return math.inf
        faster = self.costs["has a session"].redis / self.store.busy_get
        return max(faster, 1.0) * 1e6 / cost.redis

    def machines_until(self, cost: Cost) -> float:
        """Return how many machines keep Redis busy all the time; infinity if they never do."""
        return self.redis_rate(cost) / self.rate(cost, 1)

    def connections(self, machines: int) -> int:
        """Return how many connections Redis has at most. Those of a worker are closed before
        another one begins in its place, so a deployment machine by machine has no more.
        """
        return machines * self.workers * CONNECTIONS

    def machines_until_connections(self) -> int:
        """Return for how many machines the connections of Redis suffice."""
        return MOST_CONNECTIONS // self.connections(1)

    def deployed(self, cost: Cost, machines: int) -> float:
        """Return the requests a second while one of the machines gets a new version."""
        return self.rate(cost, machines - 1)

    def megabytes(self, sessions: int) -> float:
        """Return the memory of Redis for so many sessions."""
        return sessions * self.store.session / 1e6


def first_of(costs: list[Cost]) -> list[Cost]:
    """Return the costs of the first number of machines, from which the others are predicted."""
    return [cost for cost in costs if cost.machines == costs[0].machines]


def errors(costs: list[Cost]) -> dict[int, dict[str, float]]:
    """Return by what share the measured costs differ from the predicted ones at most, by the number
    of machines; what is below ten microseconds or a tenth of a command is no figure. Nor is what
    Redis computes meanwhile for requests without a command.
    """
    ones = {cost.kind: cost for cost in first_of(costs)}
    found: dict[int, dict[str, float]] = {}
    for cost in costs:
        one = ones[cost.kind]
        if cost is one:
            continue
        most = found.setdefault(cost.machines, {})
        pairs = {
            "commands": (cost.number, one.number, 0.1),
            "workers": (cost.workers, one.workers, 10),
            "balancer": (cost.balancer, one.balancer, 10),
            "redis": (cost.redis, one.redis, 10 if one.number else math.inf),
        }
        for name, (measured, predicted, least) in pairs.items():
            if max(measured, predicted) >= least:
                most[name] = max(most.get(name, 0.0), abs(measured / predicted - 1))
    return found
