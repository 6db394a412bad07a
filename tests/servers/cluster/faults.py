"""The faults: what is broken, for how long, and what may be lost by it.

Each is an ``async def`` that breaks something while clients work, and mends it. ``FAULTS`` has them
in the order in which they are run, and what is promised of each.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import signal
import socket
import struct
import subprocess
import time
from asyncio import to_thread
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import httpx2 as httpx

from tests.servers.cluster.clients import (
    ANSWERED,
    CONNECTIONS,
    FAILED,
    LOST,
    REFUSED,
    STRANGER,
    Load,
    ask_until_answered,
    new_client,
    now,
)
from tests.servers.cluster.machines import HOST, NOTHING, ROOT, Cluster, Footprint, Machine
from tests.servers.cluster.network import children_of, family_of

SETTLES_WITHIN = 20.0  # seconds until what a fault took is given back
SPARE_DESCRIPTORS = 12  # connections that the balancer keeps
RECOVERS_WITHIN = 10.0  # seconds


@dataclass
class Experiment:
    """A cluster under load.

    A fault calls ``begins`` when it breaks something and ``ends`` when that is mended.
    """

    cluster: Cluster
    load: Load
    began: float = 0.0
    ended: float = 0.0
    in_flight: int = 0
    slowest: float = 0.0
    """Seconds of the slowest answer, if that is not the slowest of all."""
    before: Footprint = NOTHING
    """What the workers take before the fault, if that is not what they took after their first
    requests."""
    notes: list[str] = field(default_factory=list)
    """What else was found."""
    wrong: list[str] = field(default_factory=list)
    """What the fault itself found to be wrong."""

    def begins(self) -> None:
        """Note the time, and how many requests are under way."""
        self.began, self.in_flight = now(), self.load.in_flight()

    def ends(self) -> None:
        """Note the time."""
        self.ended = now()


class NotPossible(Exception):
    """An experiment can't be made on this system, and why."""


class Fault(NamedTuple):
    """A fault, and what is promised of it."""

    name: str
    title: str
    run: Callable[[Experiment], Awaitable[None]]
    losses: int = 0
    """How many requests each connection of a user may lose: that which is under way where it
    happens."""
    refuses: bool = False
    """Whether requests may be answered by 503."""
    makes_gap: bool = False
    """Whether messages may be missed, so that everybody who listens has to be told."""
    is_short: bool = False
    """Whether it is one of those that each run of the tests has."""


@dataclass
class Result:
    """What an experiment has counted."""

    name: str
    title: str
    connections: int = 0
    """Of users and posters, who send one request after the other on each."""
    requests: int = 0
    lost: int = 0
    lost_later: int = 0
    """Those that were sent when the fault was over."""
    refused: int = 0
    failed: int = 0
    in_flight: int = 0
    strangers: int = 0
    miscounted: int = 0
    said: int = 0
    unheard: int = 0
    twice: int = 0
    gaps: int = 0
    untold: int = 0
    """Followers that were not told of any gap."""
    recovered_after: float = 0.0
    """Seconds from the mending to the end of the last request that was not answered."""
    slowest: float = 0.0
    duration: float = 0.0
    """Seconds from the fault's beginning to its end."""
    ends: dict[str, int] = field(default_factory=dict)
    before: Footprint = NOTHING
    after: Footprint = NOTHING
    notes: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """The promises that were not kept."""


async def warmed_up(cluster: Cluster) -> Footprint:
    """Return what the workers take when they have served: what is made with the first requests is
    no leak.
    """
    async with Load(cluster.balancer.url):
        pass
    return await settled(cluster, None)


async def examine(cluster: Cluster, fault: Fault, before: Footprint) -> Result:
    """Run an experiment, and compare what was counted with what is promised."""
    async with Load(cluster.balancer.url) as load:
        experiment = Experiment(cluster, load)
        try:
            await fault.run(experiment)
        except NotPossible as error:
            return Result(fault.name, fault.title, notes=[f"not possible here: {error}"])
        await load.go_on(5)
        await load.finish()
        result = await count(fault, experiment)
    result.before = experiment.before if experiment.before != NOTHING else before
    result.after = await settled(cluster, result.before)
    check(fault, result)
    return result


async def settled(cluster: Cluster, before: Footprint | None) -> Footprint:
    """Return what the workers take, when that has come down to what it was, or does not change any
    longer.
    """
    deadline = now() + SETTLES_WITHIN
    last = cluster.footprint()
    while now() < deadline:
        await asyncio.sleep(0.2)
        footprint = cluster.footprint()
        if footprint.descriptors <= (
            before.descriptors + SPARE_DESCRIPTORS if before else last.descriptors
        ):
            return footprint
        last = footprint
    return last


async def count(fault: Fault, experiment: Experiment) -> Result:
    """Count what has become of everything that was sent."""
    load = experiment.load
    outcomes = load.outcomes()
    kinds = Counter(outcome.kind for outcome in outcomes)
    result = Result(
        fault.name,
        fault.title,
        connections=len(load.users) * CONNECTIONS + len(load.posters),
        requests=len(outcomes),
        lost=kinds[LOST],
        lost_later=sum(one.kind == LOST and one.began > experiment.ended for one in outcomes),
        refused=kinds[REFUSED],
        failed=kinds[FAILED],
        in_flight=experiment.in_flight,
        strangers=kinds[STRANGER],
        duration=experiment.ended - experiment.began,
        notes=experiment.notes,
        wrong=experiment.wrong,
    )
    unanswered = [outcome.ended for outcome in outcomes if outcome.kind != ANSWERED]
    result.recovered_after = max([0.0, *(ended - experiment.ended for ended in unanswered)])
    result.slowest = experiment.slowest or max(
        outcome.ended - outcome.began for outcome in outcomes
    )
    details = Counter(f"{one.kind}: {one.detail}" for one in outcomes if one.kind != ANSWERED)
    result.notes += [f"{number} x {detail}" for detail, number in details.most_common(5)]
    for user in load.users:
        counted = await user.counted()
        if not user.visits_answered <= counted <= user.visits_sent:
            result.miscounted += 1
            result.notes.append(
                f"{user.name}: {user.visits_answered} visits answered of {user.visits_sent}, {counted} counted"
            )
    followers = [*load.talkers, *load.listeners]
    said = load.said()
    result.said = len(said)
    result.unheard = sum(len(said - follower.seen.keys()) for follower in followers)
    async with new_client(load.url) as client:
        kept = Counter(
            message["key"] for message in await ask_until_answered(client, "/history/hall")
        )
    result.twice = sum(
        number > 1
        for counts in (kept, *(one.seen for one in followers))
        for number in counts.values()
    )
    result.gaps = sum(follower.gaps for follower in followers)
    result.untold = sum(not follower.gaps for follower in followers)
    result.ends = dict(sum((follower.ends for follower in followers), Counter()))
    return result


def check(fault: Fault, result: Result) -> None:
    """Note each promise that was not kept."""
    promises = {
        "requests were answered by an error": not result.failed,
        "sessions were lost": not result.strangers,
        "visits were counted wrongly": not result.miscounted,
        "acknowledged messages were not heard": not result.unheard,
        "messages came twice": not result.twice,
        "requests were refused": fault.refuses or not result.refused,
        "requests were lost": result.lost <= fault.losses * result.connections,
        "requests were lost when it was over": not result.lost_later,
        "followers were not told of a gap": not fault.makes_gap or not result.untold,
        "it took too long to recover": result.recovered_after <= RECOVERS_WITHIN,
        "descriptors were not given back": result.after.descriptors
        <= result.before.descriptors + SPARE_DESCRIPTORS,
        "memory was not given back": result.after.megabytes <= result.before.megabytes * 1.15 + 5,
    }
    result.wrong += [sentence for sentence, is_kept in promises.items() if not is_kept]


# -- the faults ------------------------------------------------------------------------------------


async def worker_killed(experiment: Experiment) -> None:
    """Kill a worker of two machines, which serve by different servers."""
    experiment.begins()
    for machine in experiment.cluster.machines[:2]:
        killed = machine.workers()[0]
        os.kill(killed, signal.SIGKILL)
    for machine in experiment.cluster.machines[:2]:
        await to_thread(machine.wait_until_ready)
    experiment.ends()


async def rolling_restart(experiment: Experiment) -> None:
    """Restart the machines, one after the other."""
    experiment.begins()
    for machine in experiment.cluster.machines:
        await to_thread(machine.restart)
    experiment.ends()
    ends = sum(
        (one.ends for one in (*experiment.load.talkers, *experiment.load.listeners)), Counter[str]()
    )
    # 1001 is the application's, 1012 ("service restart") uvicorn's own: both say that it ends.
    if wrong := ends.keys() - {
        "1001",
        "1012",
        "end of stream",
        "503",
    }:  # 503: the one machine with streams is not back yet
        experiment.wrong.append(
            f"streams and WebSockets were not told that the server ends: {sorted(wrong)}"
        )


async def balancer_reload(experiment: Experiment) -> None:
    """Reload the balancer three times."""
    experiment.begins()
    for _ in range(3):
        await to_thread(experiment.cluster.balancer.reload)
        await experiment.load.go_on(2)
    experiment.ends()
    load = experiment.load
    if ends := sum((one.ends for one in (*load.talkers, *load.listeners)), Counter[str]()):
        experiment.wrong.append(f"streams and WebSockets have ended: {dict(ends)}")


async def machine_cut(experiment: Experiment) -> None:
    """Take a machine off the network until the balancer has noticed and all users are served by the
    others.
    """
    cluster, machine = experiment.cluster, experiment.cluster.machines[-1]
    experiment.begins()
    cluster.network.cut(machine.name)
    await _until(lambda: machine.name not in cluster.balancer.up())
    await experiment.load.go_on(5)
    cluster.network.join(machine.name)
    await _until(lambda: machine.name in cluster.balancer.up())
    experiment.ends()


async def redis_restarted(experiment: Experiment) -> None:
    """Kill Redis, and start it again with what it has written."""
    redis = experiment.cluster.redis
    experiment.begins()
    await to_thread(redis.stop, signal.SIGKILL)
    await to_thread(redis.start)
    experiment.ends()


async def redis_paused(experiment: Experiment) -> None:
    """Stop Redis for five seconds."""
    redis = experiment.cluster.redis
    experiment.begins()
    redis.signal(signal.SIGSTOP)
    await asyncio.sleep(5)
    redis.signal(signal.SIGCONT)
    experiment.ends()


CROWD = 150


async def redis_stalled(experiment: Experiment) -> None:
    """Stop Redis for longer than anybody waits for it, while crowds ask two machines for what needs
    it.

    It is done twice, as in ``clients_leave``: threads that have waited once keep their memory.
    """
    await _stall(experiment, 6)
    await experiment.load.go_on(5)
    experiment.before = await settled(experiment.cluster, None)
    experiment.begins()
    for machine, (statuses, slowest) in (await _stall(experiment, 15)).items():
        experiment.notes.append(f"{machine}: {CROWD} requests with a session at once: {statuses}")
        experiment.notes.append(f"{machine}: the slowest upload without one took {slowest:.1f} s")
        if slowest > 5:
            experiment.wrong.append(f"{machine}: what needs no Redis waited for it")
    experiment.ends()


async def _stall(experiment: Experiment, seconds: float) -> dict[str, tuple[dict[str, int], float]]:
    """Return for two servers the statuses of the crowd, and the time of the slowest answer that
    needs no Redis.
    """
    redis, cookie = experiment.cluster.redis, experiment.load.users[0].cookie
    redis.signal(signal.SIGSTOP)
    machines = experiment.cluster.machines[:2]
    crowds = [asyncio.create_task(_crowd(machine, cookie)) for machine in machines]
    slowest = await asyncio.gather(
        *(_slowest_upload(experiment, machine, seconds) for machine in machines)
    )
    redis.signal(signal.SIGCONT)
    statuses = await asyncio.gather(*crowds)
    found = zip(statuses, slowest, strict=True)
    return dict(zip((machine.server for machine in machines), found, strict=True))


async def _slowest_upload(experiment: Experiment, machine: Machine, seconds: float) -> float:
    slowest, until = 0.0, now() + seconds
    async with new_client(f"http://{machine.address}:8000") as client:
        while now() < until:
            began = now()
            if (status := await _upload(client)) != "200":
                experiment.wrong.append(f"{machine.server}: an upload was answered by {status}")
            slowest = max(slowest, now() - began)
            await asyncio.sleep(0.1)
    return slowest


async def _crowd(machine: Machine, cookie: str) -> dict[str, int]:
    """Ask for the same session over many connections at once, and count the statuses of the
    answers.
    """

    async def ask() -> str:
        reader, writer = await asyncio.open_connection(machine.address, 8000)
        writer.write(
            f"GET /me HTTP/1.1\r\nHost: {HOST}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n".encode()
        )
        line = await reader.readline()
        writer.close()
        return line.decode()[9:12]

    return dict(Counter(await asyncio.gather(*(ask() for _ in range(CROWD)))))


async def redis_gone(experiment: Experiment) -> None:
    """End Redis, until each user and poster was refused three times, and start it again."""
    redis, load = experiment.cluster.redis, experiment.load
    experiment.begins()
    await to_thread(redis.stop)
    await _until(
        lambda: all(
            sum(one.kind == REFUSED for one in asker.outcomes) >= 3 for asker in load.askers()
        )
    )
    await to_thread(redis.start)
    experiment.ends()


async def redis_full(experiment: Experiment) -> None:
    """Leave Redis no memory for anything new: log-ins and messages are refused; who is logged in
    goes on.
    """
    redis, load = experiment.cluster.redis, experiment.load
    experiment.begins()
    redis.ask("CONFIG", "SET", "maxmemory", "1")
    await _until(lambda: all(talker.refused >= 2 for talker in load.talkers))
    await _until(
        lambda: all(
            sum(one.kind == REFUSED for one in poster.outcomes) >= 2 for poster in load.posters
        )
    )
    async with new_client(load.url) as client:
        answers = [
            (await client.post("/login", data={"name": "late"})).status_code for _ in range(6)
        ]
    if set(answers) != {503}:
        experiment.wrong.append(f"log-ins were answered by {answers}")
    redis.ask("CONFIG", "SET", "maxmemory", "0")
    experiment.ends()
    # so that all workers know: while one of them tries, it refuses others
    async with new_client(load.url) as client:
        answers = [
            (await client.post("/login", data={"name": "late"})).status_code for _ in range(24)
        ]
    if set(answers) != {200}:
        experiment.wrong.append(f"log-ins were answered by {answers} afterwards")


async def redis_slow(experiment: Experiment) -> None:
    """Let each answer of Redis take 200 ms longer, for all machines."""
    cluster, load = experiment.cluster, experiment.load
    if cluster.network.delay("redis", 200):
        experiment.begins()
        await load.go_on(10)
        cluster.network.delay("redis", 0)
        experiment.ends()
        return
    experiment.notes.append("without netem: by a relay in front of Redis")
    relay = cluster.redis.relay(0.1)
    await _restart_all(experiment, {"REDIS_URL": cluster.redis.url.replace("6379", "6380")})
    experiment.begins()
    await load.go_on(10)
    experiment.ends()
    experiment.slowest = max(
        one.ended - one.began for one in load.outcomes() if one.began > experiment.began
    )
    await _restart_all(experiment, {})
    relay.kill()
    cluster.redis.processes.remove(relay)


async def _restart_all(experiment: Experiment, environ: dict[str, str]) -> None:
    for machine in experiment.cluster.machines:
        machine.environ = environ
        await to_thread(machine.restart)


async def dask_worker_lost(experiment: Experiment) -> None:
    """Kill one of Dask's workers while each of them computes."""
    dask = experiment.cluster.dask
    if not dask.processes:
        raise NotPossible("there is no Dask cluster: give --dask 2")
    async with new_client(experiment.load.url) as client:
        asking = [
            asyncio.create_task(client.get(f"/compute/primes/{below}?seconds=1"))
            for below in range(100, 104)
        ]
        await asyncio.sleep(0.5)
        experiment.begins()
        await to_thread(dask.kill_worker)
        answers = await asyncio.gather(*asking, return_exceptions=True)
        experiment.ends()
    texts = [
        answer.text if isinstance(answer, httpx.Response) else repr(answer) for answer in answers
    ]
    right = sum('"primes":' in text for text in texts)
    experiment.notes.append(f"{right} of {len(texts)} computations were answered")
    if right < len(texts):
        experiment.wrong.append(f"computations were lost: {sorted(set(texts))}")
    dask.start_worker()


@asynccontextmanager
async def _own_pools(experiment: Experiment) -> AsyncIterator[list[Machine]]:
    """Let two machines, which serve by different servers, compute in processes of their own and not
    on Dask.
    """
    machines = experiment.cluster.machines[:2]
    for machine in machines:
        machine.environ = {"SCHEDULER": ""}
        await to_thread(machine.restart)
    yield machines
    for machine in machines:
        machine.environ = {}
        await to_thread(machine.restart)


async def service_ended(experiment: Experiment) -> None:
    """Send SIGTERM to every process of a machine, as a service manager does, while its pools
    compute.
    """
    balancer = experiment.cluster.balancer
    async with _own_pools(experiment) as machines:
        experiment.begins()
        for machine in machines:
            await to_thread(balancer.drain, machine.name)
            async with new_client(f"http://{machine.address}:8000") as client:
                asking = [
                    asyncio.create_task(client.get("/compute/primes/100?seconds=2"))
                    for _ in range(4)
                ]
                await asyncio.sleep(1)
                for one in [one for process in machine.processes for one in family_of(process.pid)]:
                    os.kill(one, signal.SIGTERM)
                answers = await asyncio.gather(*asking, return_exceptions=True)
            texts = [
                answer.text if isinstance(answer, httpx.Response) else repr(answer)
                for answer in answers
            ]
            right = sum('"primes":' in text for text in texts)
            experiment.notes.append(
                f"{machine.server}: {right} of {len(texts)} computations were answered"
            )
            if right < len(texts):
                experiment.wrong.append(
                    f"{machine.server}: computations were lost: {sorted(set(texts))}"
                )
            await to_thread(machine.stop)
            machine.start()
            await to_thread(machine.wait_until_ready)
            await to_thread(balancer.resume, machine.name)
        experiment.ends()


async def computing_worker_killed(experiment: Experiment) -> None:
    """Kill a worker of two machines while their pools compute for long."""
    async with _own_pools(experiment) as machines:
        experiment.begins()
        for machine in machines:
            async with new_client(f"http://{machine.address}:8000") as client:
                asking = [
                    asyncio.create_task(client.get("/compute/primes/100?seconds=25"))
                    for _ in range(4)
                ]
                await asyncio.sleep(2)
                worker = max(machine.workers(), key=lambda one: len(children_of(one)))
                pool = children_of(worker)
                os.kill(worker, signal.SIGKILL)
                for question in asking:
                    question.cancel()
                await asyncio.gather(*asking, return_exceptions=True)
            with suppress(TimeoutError):
                await _until(lambda: not any(map(_runs, pool)), 5)  # noqa: B023 - called here
            left = [*filter(_runs, pool)]
            experiment.notes.append(
                f"{machine.server}: {len(left)} of {len(pool)} processes outlive their server"
            )
            if left or not pool:
                experiment.wrong.append(
                    f"{machine.server}: {len(left)} of {len(pool)} processes go on computing"
                )
            for one in left:
                os.kill(one, signal.SIGKILL)
            await to_thread(machine.wait_until_ready)
        await _until(
            lambda: experiment.cluster.balancer.up() >= {machine.name for machine in machines}
        )
        experiment.ends()


def _runs(process: int) -> bool:
    """Return whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def clock_moved(experiment: Experiment) -> None:
    """Move the clock of a machine by an hour to and fro."""
    cluster, load = experiment.cluster, experiment.load
    clock = cluster.directory / "clock"
    machine = cluster.machines[0]
    _move(clock, 0)
    path = os.pathsep.join((str(ROOT / "tests/servers/cluster/clock"), str(ROOT)))
    machine.environ = {"PYTHONPATH": path, "CLOCK_OFFSET": str(clock)}
    await to_thread(machine.restart)
    experiment.begins()
    for hours in (1, -1):
        _move(clock, hours)
        async with new_client(f"http://{machine.address}:8000") as client:
            moved = (await ask_until_answered(client, "/who"))["time"] - time.time()
        assert abs(moved - hours * 3600) < 60, moved
        await load.go_on(10)
    _move(clock, 0)
    experiment.ends()
    machine.environ = {}
    await to_thread(machine.restart)


def _move(clock: Path, hours: int) -> None:
    whole = clock.with_suffix(".new")
    whole.write_text(str(hours * 3600))
    whole.rename(clock)  # nobody reads half of it


UPLOAD = 3 * 2**20  # bytes; past 1 MiB they are on the disk


async def disk_full(experiment: Experiment) -> None:
    """Give machines 4 MiB for uploads of 3 MiB, eight at a time."""
    machines = experiment.cluster.machines[:2]
    mounted = [machine for machine in machines if _mount(machine)]
    if not mounted:
        raise NotPossible("no small disk can be mounted here")
    experiment.begins()
    for machine in mounted:
        async with new_client(f"http://{machine.address}:8000") as client:
            answers = await asyncio.gather(*(_upload(client) for _ in range(8)))
            experiment.notes.append(
                f"{machine.server}: uploads were answered by {dict(Counter(answers))}"
            )
            if unexpected := set(answers) - {"200", "507"}:
                experiment.wrong.append(
                    f"{machine.server}: a full disk was answered by {sorted(unexpected)}"
                )
            if await _upload(client) != "200":
                experiment.wrong.append(f"{machine.server}: the disk was still full afterwards")
        usage = os.statvfs(machine.temporary)
        if usage.f_bfree < usage.f_blocks - 2:
            experiment.wrong.append(
                f"{machine.server}: {usage.f_blocks - usage.f_bfree} blocks were left behind"
            )
    experiment.ends()
    for machine in mounted:
        await to_thread(subprocess.run, ["umount", str(machine.temporary)], check=True)


def _mount(machine: Machine) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "small", str(machine.temporary)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


async def _upload(client: httpx.AsyncClient) -> str:
    try:
        answer = await client.post("/upload", files={"file": ("a", bytes(UPLOAD))})
    except httpx.HTTPError as error:
        return type(error).__name__
    return str(answer.status_code)


async def descriptors_exhausted(experiment: Experiment) -> None:
    """Let workers of two machines open ten descriptors more, and take far more connections than
    that.
    """
    cluster, load = experiment.cluster, experiment.load
    workers = [worker for machine in cluster.machines[:2] for worker in machine.workers()]
    limits = {worker: resource.prlimit(worker, resource.RLIMIT_NOFILE) for worker in workers}
    experiment.begins()
    for worker in workers:
        used = len(os.listdir(f"/proc/{worker}/fd"))
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (used + 10, limits[worker][1]))
    writers = []
    for machine in cluster.machines[:2]:
        for _ in range(60):
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(2):
                    writers.append((await asyncio.open_connection(machine.address, 8000))[1])
    await load.go_on(5)
    for writer in writers:
        writer.close()
    for worker, limit in limits.items():
        with suppress(ProcessLookupError):  # it has ended
            resource.prlimit(worker, resource.RLIMIT_NOFILE, limit)
    for machine in cluster.machines[:2]:
        await to_thread(machine.wait_until_ready)
    await _until(lambda: cluster.balancer.up() == {machine.name for machine in cluster.machines})
    experiment.ends()
    ended = sum(
        worker not in machine.workers() for machine in cluster.machines[:2] for worker in workers
    ) - len(workers)
    experiment.notes.append(f"{ended} of {len(workers)} workers have ended by it")


LEAVING = 2000


async def clients_leave(experiment: Experiment) -> None:
    """Let 2,000 clients leave in mid-request, in five ways, half of them without closing the
    connection.

    It is done twice: what the first 2,000 leave behind for the next ones is no leak.
    """
    cluster = experiment.cluster
    await _leave_all(cluster)
    experiment.before = await settled(cluster, None)
    experiment.begins()
    await _leave_all(cluster)
    experiment.ends()
    left = [
        path
        for machine in cluster.machines
        for path in machine.temporary.iterdir()
        if path.is_file()
    ]
    if left:
        experiment.wrong.append(f"{len(left)} temporary files were left behind")


async def _leave_all(cluster: Cluster) -> None:
    addresses = [
        (cluster.balancer.address, 80),
        *((machine.address, 8000) for machine in cluster.machines),
    ]
    for start in range(0, LEAVING, 100):
        await asyncio.gather(
            *(_leave(addresses[n % len(addresses)], n) for n in range(start, start + 100))
        )


async def _leave(address: tuple[str, int], number: int) -> None:
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(10):
            _, writer = await asyncio.open_connection(*address)
            writer.write(_begun(number // 10 % 5, is_large=number % 7 == 0))
            await writer.drain()
            await asyncio.sleep(random.uniform(0, 0.2))
            if number % 2:  # the connection is reset
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, linger
                )
            writer.close()


def _begun(way: int, is_large: bool) -> bytes:
    """Return the beginning of a request, or a whole one."""
    if way < 2:  # an upload that breaks off, in memory or on the disk
        part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        head = f"Host: {HOST}\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: {UPLOAD}\r\n\r\n"
        return (
            f"POST /upload HTTP/1.1\r\n{head}".encode()
            + part
            + bytes(UPLOAD // 2 if is_large else 70_000)
        )
    # A room of their own: the history of the other one is long by now.
    target = ["/live/door", "/who", "/chat/door"][way - 2]
    upgrade = (
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        if way == 4
        else ""
    )
    return f"GET {target} HTTP/1.1\r\nHost: {HOST}\r\n{upgrade}Sec-WebSocket-Key: {'A' * 22}==\r\n\r\n".encode()


async def _until(condition: Callable[[], Any], seconds: float = 60) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not await to_thread(condition):
                await asyncio.sleep(0.05)
            return
    raise TimeoutError("what the experiment waits for has not come")


FAULTS = (
    Fault("worker-killed", "two workers killed (SIGKILL)", worker_killed, losses=1, is_short=True),
    Fault(
        "rolling-restart",
        "all workers restarted, one machine at a time",
        rolling_restart,
        is_short=True,
    ),
    Fault("balancer-reload", "the balancer reloaded three times", balancer_reload, is_short=True),
    Fault("machine-cut", "a machine cut off, and back", machine_cut, losses=1),
    Fault(
        "redis-restarted",
        "Redis killed and started again",
        redis_restarted,
        refuses=True,
        makes_gap=True,
        is_short=True,
    ),
    Fault("redis-paused", "Redis paused for 5 s", redis_paused, refuses=True),
    Fault(
        "redis-gone",
        "Redis gone for a while",
        redis_gone,
        refuses=True,
        makes_gap=True,
        is_short=True,
    ),
    Fault("redis-full", "Redis without memory", redis_full, refuses=True),
    # Before one that restarts the machines, whose workers keep the memory of threads that have
    # waited.
    Fault("redis-stalled", "Redis stalled for 15 s, and a crowd", redis_stalled, refuses=True),
    Fault("redis-slow", "Redis 200 ms away", redis_slow),
    Fault("dask-worker-lost", "a Dask worker killed in mid-computation", dask_worker_lost),
    Fault(
        "service-ended",
        "SIGTERM to every process of two machines, whose pools compute",
        service_ended,
    ),
    Fault(
        "computing-worker-killed",
        "two workers killed (SIGKILL), whose pools compute",
        computing_worker_killed,
        losses=2,
    ),
    Fault("clock-moved", "a machine's clock moved by an hour, and back by two", clock_moved),
    Fault("disk-full", "the disk full of uploads", disk_full),
    Fault(
        "descriptors",
        "no file descriptors left on two machines",
        descriptors_exhausted,
        losses=3,
        refuses=True,
    ),
    Fault("clients-leave", "2,000 clients that leave in mid-request", clients_leave),
)
