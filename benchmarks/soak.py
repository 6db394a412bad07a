"""`python -m benchmarks.soak`: what a worker does over minutes, above its capacity, and with
thousands of listeners.

Four parts, each of one server on this machine, asked by this process:

- soak: `--minutes` of 28 kinds of requests on uvicorn with two workers and on gunicorn's gthread.
  Meanwhile workers are replaced, and the redis-server of the sessions and channels is restarted.
  Each worker writes every 30 seconds what it holds: memory, descriptors, threads, tasks, objects.
  Nothing may grow after the first sixth of a worker's life, memory by 3 % at most; no answer may be
  unexpected, no answered change lost, no stream left open.
- overload: requests of 100 ms behind a `ConcurrencyLimit`, at a tenth of the capacity, then at four
  times the capacity, sent at fixed times whatever comes back. Answers have to come within twice the
  idle p99, all others get 503 at once.
- listeners: 10,000 WebSockets and 10,000 clients of server-sent events on one worker of uvicorn,
  which all get one message a second for ten minutes. None may lose a message or its connection, the
  memory may not grow, and after SIGTERM all clients are gone within the grace period.
- crowd: 10,000 idle WebSockets and 5,000 clients of server-sent events: memory of each, and the
  time until one message has reached all of them, beside Starlette with broadcaster and
  python-socketio.

`--write` writes the tables and the plot into the documentation, which needs matplotlib.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import random
import re
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import report
from benchmarks.apps import soak_apps
from benchmarks.apps.soak_apps import Look
from benchmarks.harness import Unavailable
from benchmarks.processes import free_port, running
from benchmarks.redis_server import redis_server
from benchmarks.websocket import resident

PLOT = Path(__file__).parent / "results" / "growth" / "soak.svg"
APPS = "benchmarks.apps.soak_apps"
GROWTH = 3.0  # per cent
WARM = 1 / 6  # of a worker's life
AFTERWARDS = 5.0  # seconds after an outage in which its consequences are excused
PATIENCE = 30.0  # seconds for one act
SLOWER = 2.0  # times the idle p99
MARKER = b"news"
CLOSE = b"\x88"  # begins the frame that closes a WebSocket
PONG = 0x8A
# What a follower gets: uvicorn's ping, whose four bytes are random, or a numbered message.
SENT = re.compile(rb"\x89\x04(.{4})|[^;]*?" + MARKER + rb"(\d+);", re.DOTALL)
MEBIBYTE = 1024 * 1024  # what a process of the pool gets and returns
AT_ONCE = 50  # clients of a crowd that connect together
TOO_LATE = 10.0  # seconds: a client that has given up

_GUNICORN = (
    "gunicorn --workers 1 --worker-class gthread --no-control-socket --bind "
    "127.0.0.1:{port} --log-level critical"
)
_HYPERCORN = (
    "hypercorn --workers 0 --worker-class trio --bind 127.0.0.1:{port} --log-level CRITICAL"
)
_UVICORN = "uvicorn --port {port} --no-access-log --log-level critical --ws-ping-interval 600"

SOAKED = {
    "uvicorn": f"{_UVICORN} --workers 2 --timeout-graceful-shutdown 10 "
    f"--timeout-worker-healthcheck 60 --factory {APPS}:make_mixed",
    "gthread": f"{_GUNICORN} --threads 16 -c python:micropie.wsgi.gunicorn --graceful-timeout 10"
    f" {APPS}:make_mixed()",
}
LIMITED = {
    "uvicorn": f"{_UVICORN} {APPS}:limited",
    "hypercorn": f"{_HYPERCORN} {APPS}:limited",
    "gthread": f"{_GUNICORN} --threads 64 {APPS}:limited_in_threads",
}
GRACE = 10  # seconds in which the server of the listeners ends
LISTENED = f"{_UVICORN} --timeout-graceful-shutdown {GRACE} --factory {APPS}:make_micropie"
CAPACITY = soak_apps.PLACES / soak_apps.SECONDS  # requests per second


@contextmanager
def serving(command: str) -> Iterator[int]:
    """Run a server. Yields its port."""
    port = free_port()
    with running([sys.executable, "-m", *command.format(port=port).split()], port):
        yield port


class RestartedRedis:
    """A redis-server that keeps its data when it is started again."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port = free_port()
        self._running = ExitStack()

    def start(self) -> str:
        return self._running.enter_context(
            redis_server(self._directory, port=self._port, is_kept=True)
        )

    def stop(self) -> None:
        self._running.close()


# --- a client -------------------------------------------------------------------------------------


class Client:
    """One keep-alive connection. Raises ``RuntimeError`` for an answer that is not expected."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookie = self.etag = ""
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None

    async def ask(
        self,
        path: str,
        expected: int = 200,
        body: bytes = b"",
        kind: str = "application/x-www-form-urlencoded",
        header: str = "",
    ) -> bytes:
        """Return the body of an answer.

        A connection that the server has closed is opened again.
        """
        status, body = await self.any_answer(path, body, kind, header)
        if status != expected:
            raise RuntimeError(f"{path}: {status} {body[:200]!r}")
        return body

    async def any_answer(
        self, path: str, body: bytes = b"", kind: str = "", header: str = ""
    ) -> tuple[int, bytes]:
        head = (
            f"{'POST' if body else 'GET'} {path} HTTP/1.1\r\nHost: "
            "127.0.0.1\r\nUser-Agent: soak\r\n"
        )
        head += f"Cookie: {self.cookie}\r\n" if self.cookie else ""
        head += f"{header}\r\n" if header else ""
        head += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n" if body else ""
        reused = self._writer is not None
        try:
            return await self._exchange(head.encode() + b"\r\n" + body)
        except (OSError, asyncio.IncompleteReadError):
            if not reused:
                raise
        self.close()
        return await self._exchange(head.encode() + b"\r\n" + body)

    async def _exchange(self, request: bytes) -> tuple[int, bytes]:
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._writer.write(request)
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines[1:])
        }
        if "set-cookie" in headers:
            self.cookie = headers["set-cookie"].partition(";")[0]
        status, body = int(lines[0].split()[1]), b""
        self.etag = headers.get("etag", "")
        if status == 304:
            return status, body
        if "chunked" in headers.get("transfer-encoding", ""):
            while size := int((await self._reader.readline()), 16):
                body += (await self._reader.readexactly(size + 2))[:-2]
            await self._reader.readline()
        else:
            body = await self._reader.readexactly(int(headers["content-length"]))
        if headers.get("connection", "").lower() == "close":
            self.close()
        return status, body

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return milliseconds."""
    ordered = sorted(seconds)
    return {
        name: ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1000 if ordered else 0.0
        for name, part in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999))
    }


# --- soak -----------------------------------------------------------------------------------------


BOUNDARY = "soak"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"
FILE = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n'
    f"Content-Type: application/octet-stream\r\n\r\n{'x' * 200_000}\r\n--{BOUNDARY}--\r\n"
).encode()


@dataclass
class Visitor:
    """A client that does one act after the other, with a session in each store."""

    port: int
    number: int = 0
    plain: Client = field(init=False)
    redis: Client = field(init=False)
    sqlite: Client = field(init=False)
    answered: Counter[str] = field(default_factory=Counter)
    """Changes that the server has said to be done."""

    def __post_init__(self) -> None:
        self.plain, self.redis, self.sqlite = (Client(self.port) for _ in range(3))

    def close(self) -> None:
        self.plain.close()
        self.redis.close()
        self.sqlite.close()


Act = Callable[[Visitor], Awaitable[object]]


def asks(path: str, expected: int = 200, body: bytes = b"", **options: str) -> Act:
    return lambda visitor: visitor.plain.ask(path, expected, body, **options)


async def add_in_redis(visitor: Visitor) -> None:
    await visitor.redis.ask("/add", body=b"a=1")
    visitor.answered["redis"] += 1


async def add_in_sqlite(visitor: Visitor) -> None:
    await visitor.sqlite.ask("/lite/add", body=b"a=1")
    visitor.answered["sqlite"] += 1


async def later(visitor: Visitor) -> None:
    await visitor.plain.ask("/later", body=b"a=1")
    visitor.answered["later"] += 1


async def unchanged(visitor: Visitor) -> None:
    await visitor.plain.ask("/files/soak_apps.py")
    header = f"If-None-Match: {visitor.plain.etag}"
    await visitor.plain.ask("/files/soak_apps.py", 304, header=header)


async def both_mounts(visitor: Visitor) -> None:
    for name in ("wsgi", "asgi"):
        if await visitor.plain.ask(f"/{name}/") != name.encode():
            raise RuntimeError(f"a wrong answer of the mounted {name}")


@contextmanager
def leaving(writer: asyncio.StreamWriter) -> Iterator[None]:
    try:
        yield
    finally:
        writer.close()


async def leave_in_stream(visitor: Visitor) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", visitor.port)
    with leaving(writer):
        writer.write(b"GET /endless HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await reader.readexactly(4000)


async def leave_in_upload(visitor: Visitor) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", visitor.port)
    with leaving(writer):
        head = f"POST /upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {MULTIPART}\r\n"
        head += f"Content-Length: {len(FILE)}\r\n\r\n"
        writer.write(head.encode() + FILE[:100_000])
        await writer.drain()


async def hear(visitor: Visitor) -> None:
    """Subscribe, have another request publish, hear of it, leave."""
    reader, writer = await asyncio.open_connection("127.0.0.1", visitor.port)
    with leaving(writer):
        writer.write(b"GET /feed HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await reader.readuntil(b"subscribed")
        text = f"{visitor.number}-{os.urandom(4).hex()}-"
        await visitor.plain.ask("/say", body=f"text={text}".encode())
        await reader.readuntil(text.encode())


async def talk(visitor: Visitor) -> None:
    """Open a WebSocket, send ten messages, and close it properly."""
    reader, writer = await asyncio.open_connection("127.0.0.1", visitor.port)
    with leaving(writer):
        writer.write(handshake("/echo"))
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(10):
            writer.write(frame(b"ping"))
            if await reader.readexactly(6) != b"\x81\x04ping":
                raise RuntimeError("a wrong echo")
        writer.write(bytes([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8]))  # 1000
        await reader.read()


def handshake(path: str) -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    lines = (
        f"GET {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
    )
    return "\r\n".join((*lines, "", "")).encode()


TRAFFIC: dict[str, Act] = {
    "plain": asks("/plain"),
    "form": asks("/form", body=b"name=Alice&city=Paris"),
    "JSON": asks("/data", body=b'{"numbers": [1, 2]}', kind="application/json"),
    "session in Redis": add_in_redis,
    "session in SQLite": add_in_sqlite,
    "upload": asks("/upload", body=FILE, kind=MULTIPART),
    "upload, cut": leave_in_upload,
    "static file": asks("/files/soak_apps.py"),
    "range": asks("/files/soak_apps.py", 206, header="Range: bytes=10-99"),
    "304": unchanged,
    "pool": asks("/sums/turned", body=MEBIBYTE * b"x", kind="application/octet-stream"),
    "stream of the pool": asks("/sums/rows/10"),
    "stream, def": asks("/numbers"),
    "stream, async": asks("/lines"),
    "stream, left": leave_in_stream,
    "events": asks("/ticks/5"),
    "events over Redis": hear,
    "WebSocket": talk,
    "after_response": later,
    "mounted WSGI and ASGI": both_mounts,
    "redirect": asks("/moved", 303),
    "400": asks("/form", 400),
    "404": asks("/nowhere", 404),
    "405": asks("/only_get", 405, b"a=1"),
    "413": asks("/small", 413, b"text=" + b"x" * 2000),
    "500": asks("/fails", 500),
    "metrics": asks("/metrics"),
    "health": asks("/healthz"),
}
NEEDS_REDIS = {"session in Redis", "events over Redis", "health"}
BROKEN = (OSError, EOFError, RuntimeError, ValueError)


class Worker(NamedTuple):
    looks: list[Look]

    @property
    def warm(self) -> list[Look]:
        """Looks after the first sixth of its life."""
        first, last = self.looks[0].at, self.looks[-1].at
        return [one for one in self.looks if one.at >= first + (last - first) * WARM]

    def ends(self, name: str) -> tuple[float, float]:
        """Return the medians of three looks, when warm and at the end."""
        values = [float(getattr(one, name)) for one in self.warm]
        return statistics.median(values[:3]), statistics.median(values[-3:])

    @property
    def growth(self) -> float:
        """Per cent of its memory."""
        early, late = self.ends("mib")
        return (late / early - 1) * 100

    @property
    def grown(self) -> list[str]:
        """What has grown by more than 3 %, and by more than the requests of a moment hold."""
        found = []
        for name, moment in (("descriptors", 8), ("threads", 8), ("tasks", 8), ("objects", 1000)):
            early, late = self.ends(name)
            if late > early * (1 + GROWTH / 100) + moment:
                found.append(f"{name} {early:.0f} to {late:.0f} in {self.looks[0].pid}")
        return found


@dataclass
class Soaked:
    workers: list[Worker] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    unexpected: Counter[str] = field(default_factory=Counter)
    excused: Counter[str] = field(default_factory=Counter)
    changes: Counter[str] = field(default_factory=Counter)
    lost: dict[str, int] = field(default_factory=dict)
    restarts: int = 0
    replacements: int = 0

    @property
    def streams(self) -> tuple[int, int]:
        """How many were begun and closed in all workers."""
        last = [worker.looks[-1] for worker in self.workers]
        return sum(one.begun for one in last), sum(one.closed for one in last)


def soak(name: str, options: argparse.Namespace) -> Soaked:
    """Run the server, its Redis and its clients."""
    found = Soaked()
    traffic = {kind: act for kind, act in TRAFFIC.items() if act is not talk or name == "uvicorn"}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        directory = Path(folder)
        redis = RestartedRedis(directory)
        stack.callback(redis.stop)
        metrics = directory / "metrics"
        metrics.mkdir()
        port = free_port()
        environment = os.environ | {
            "SOAK_REDIS": redis.start(),
            "SOAK_DIRECTORY": folder,
            "SOAK_EVERY": str(options.every * 60),
            "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        }
        command = [sys.executable, "-m", *SOAKED[name].format(port=port).split()]
        with (
            (directory / "log").open("wb") as log,  # the errors of the kind "500"
            running(command, port, env=environment, stderr=log) as server,
        ):
            asyncio.run(visit(found, traffic, port, redis, server, options))
        for file in sorted(directory.glob("*.looks"), key=lambda file: file.stat().st_mtime):
            lines = file.read_text().splitlines()
            found.workers.append(Worker([Look(*json.loads(line)) for line in lines]))
    ran = sum(worker.looks[-1].later for worker in found.workers)
    found.lost["later"] = max(0, found.changes["later"] - ran)
    return found


async def visit(
    found: Soaked,
    traffic: dict[str, Act],
    port: int,
    redis: RestartedRedis,
    server: subprocess.Popen[bytes],
    options: argparse.Namespace,
) -> None:
    """Send the traffic, and disturb it."""
    loop = asyncio.get_running_loop()
    end = loop.time() + options.minutes * 60
    outages: list[tuple[float, bool]] = []  # when one is over; whether it is Redis's

    async def work(visitor: Visitor) -> None:
        chooser, kinds = random.Random(visitor.number), list(traffic)
        order = list(kinds)  # each once, what is rare must not be left out
        while order or loop.time() < end:
            kind = order.pop() if order else chooser.choice(kinds)
            began = loop.time()
            found.asked[kind] += 1
            try:
                async with asyncio.timeout(PATIENCE):
                    await traffic[kind](visitor)
            except BROKEN as error:
                is_answer = isinstance(error, RuntimeError)
                is_excused = any(
                    over + AFTERWARDS >= began
                    and (kind in NEEDS_REDIS if of_redis else not is_answer or kind == "health")
                    for over, of_redis in outages
                )
                text = f"{kind}: {type(error).__name__} {str(error)[:100]}".strip()
                (found.excused if is_excused else found.unexpected)[text] += 1
                visitor.close()
                await asyncio.sleep(0.1)

    async def restart_redis() -> None:
        while loop.time() + options.restart_every * 60 < end:
            await asyncio.sleep(options.restart_every * 60)
            outages.append((end, True))
            await asyncio.to_thread(redis.stop)
            await asyncio.sleep(1)
            await asyncio.to_thread(redis.start)
            outages[outages.index((end, True))] = loop.time(), True
            found.restarts += 1

    async def replace_workers() -> None:
        while loop.time() + options.replace_every * 60 < end:
            await asyncio.sleep(options.replace_every * 60)
            outages.append((loop.time() + 10, False))  # the time for open requests
            server.send_signal(signal.SIGHUP)
            found.replacements += 1

    visitors = [Visitor(port, number) for number in range(options.connections)]
    await asyncio.gather(restart_redis(), replace_workers(), *map(work, visitors))
    await asyncio.sleep(options.settle)
    for visitor in visitors:
        found.changes.update(visitor.answered)
        for store, client, path in (
            ("redis", visitor.redis, "/count"),
            ("sqlite", visitor.sqlite, "/lite/count"),
        ):
            missing = visitor.answered[store] - int(await client.ask(path))
            found.lost[store] = found.lost.get(store, 0) + max(0, missing)
        visitor.close()


def soak_table(results: dict[str, Soaked]) -> str:
    """Return what each worker held when warm and at the end, medians of three looks."""
    names = ("mib", "descriptors", "threads", "tasks", "objects", "garbage")
    lines = [
        "| worker | minutes | MiB | growth | descriptors | threads | tasks | objects | garbage |",
        "| --- |" + " ---: |" * 8,
    ]
    for name, found in results.items():
        for number, worker in enumerate(found.workers, 1):
            cells = [
                f"{early:,.1f}, {late:,.1f}" if one == "mib" else f"{early:,.0f}, {late:,.0f}"
                for one in names
                for early, late in [worker.ends(one)]
            ]
            cells.insert(1, f"{worker.growth:.1f} %")
            minutes = (worker.looks[-1].at - worker.looks[0].at) / 60
            lines.append(f"| {name} {number} | {minutes:.1f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def soak_counts(results: dict[str, Soaked]) -> str:
    lines = [
        (
            "| server | requests | kinds | Redis restarts | SIGHUPs | excused | unexpected | "
            "changes | lost | streams begun | closed |"
        ),
        "| --- |" + " ---: |" * 10,
    ]
    for name, found in results.items():
        counts = (
            sum(found.asked.values()),
            len(found.asked),
            found.restarts,
            found.replacements,
            sum(found.excused.values()),
            sum(found.unexpected.values()),
            sum(found.changes.values()),
            sum(found.lost.values()),
            *found.streams,
        )
        lines.append(f"| {name} | {' | '.join(f'{count:,}' for count in counts)} |")
    return "\n".join(lines)


def soak_sections(results: dict[str, Soaked], options: argparse.Namespace) -> list[str]:
    often = (
        f"Each for {options.minutes:g} minutes with {options.connections} clients; Redis is "
        f"restarted every {options.restart_every:g} minutes, the workers are replaced every "
        f"{options.replace_every:g}. Two figures are medians of three looks, after the first sixth "
        "of the worker's life and at its end."
    )
    image = f"![What workers hold over time]({PLOT.parent.name}/{PLOT.name})"
    return [soak_table(results), soak_counts(results), often, image]


def plot(results: dict[str, Soaked]) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "micropie", "font.size": 9})
    figure, axes = pyplot.subplots(1, 4, figsize=(16, 3), layout="constrained")
    names = ("mib", "descriptors", "threads", "objects")
    titles = ("resident memory, MiB", "descriptors", "threads", "objects of the collector")
    for color, (server, found) in zip(("C0", "C1"), results.items(), strict=False):
        began = min(worker.looks[0].at for worker in found.workers)
        for number, worker in enumerate(found.workers):
            minutes = [(one.at - began) / 60 for one in worker.looks]
            for axis, name in zip(axes, names, strict=True):
                values = [getattr(one, name) for one in worker.looks]
                axis.plot(minutes, values, color=color, label="" if number else server)
    for axis, title in zip(axes, titles, strict=True):
        axis.set(title=title, xlabel="minutes")
        axis.set_ylim(bottom=0)
    axes[0].legend(fontsize=7)
    figure.savefig(PLOT, metadata={"Date": None})
    pyplot.close(figure)


def descriptors(process: int) -> int:
    return len(os.listdir(f"/proc/{process}/fd"))  # noqa: PTH208 - not about paths


# --- overload -------------------------------------------------------------------------------------


@dataclass
class Load:
    """What came back of requests that were sent at fixed times; a time begins when its request was
    due.
    """

    seconds: dict[int, list[float]] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)

    @property
    def statuses(self) -> dict[int, int]:
        return {status: len(times) for status, times in sorted(self.seconds.items())}


async def load(port: int, rate: float, seconds: float) -> Load:
    """Send ``rate`` requests a second, whatever comes back: a new client is made when all others
    wait.
    """
    found, free = Load(), list[Client]()
    tasks = set[asyncio.Task[None]]()

    async def ask(due: float) -> None:
        client = free.pop() if free else Client(port)
        try:
            async with asyncio.timeout(TOO_LATE):
                status, _ = await client.any_answer("/work")
        except (OSError, asyncio.IncompleteReadError) as error:  # TimeoutError is an OSError
            found.failures[type(error).__name__] += 1
            client.close()
            return
        found.seconds.setdefault(status, []).append(time.perf_counter() - due)
        free.append(client)

    began = time.perf_counter()
    for number in range(int(rate * seconds)):
        due = began + number / rate
        delay = due - time.perf_counter()
        if delay > 0:
            await asyncio.sleep(delay)
        task = asyncio.create_task(ask(due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    for client in free:
        client.close()
    return found


class Overloaded(NamedTuple):
    idle: Load
    over: Load
    after: Load
    kib: tuple[int, int]
    descriptors: tuple[int, int]


async def overload(port: int, options: argparse.Namespace) -> Overloaded:
    process = int(await Client(port).ask("/"))
    await load(port, CAPACITY, min(2.0, options.overload_seconds))  # warm
    await asyncio.sleep(options.settle)
    before = resident(process), descriptors(process)
    idle = await load(port, CAPACITY / 10, options.overload_seconds)
    over = await load(port, CAPACITY * 4, options.overload_seconds)
    await asyncio.sleep(options.settle)
    after = resident(process), descriptors(process)
    again = await load(port, CAPACITY / 10, options.overload_seconds)
    return Overloaded(idle, over, again, (before[0], after[0]), (before[1], after[1]))


def overload_table(results: dict[str, Overloaded]) -> str:
    lines = [
        (
            f"| {CAPACITY:,.0f}/s | idle p99 | answered | p50 | p99 | refused | p50 "
            "| p99 | failed | later | MiB | fds |"
        ),
        "| --- |" + " ---: |" * 11,
    ]
    for name, found in results.items():
        good, refused = (quantiles(found.over.seconds.get(status, [])) for status in (200, 503))
        cells = [
            name,
            f"{quantiles(found.idle.seconds.get(200, []))['p99']:.1f}",
            f"{len(found.over.seconds.get(200, [])):,}",
            *(f"{good[part]:.1f}" for part in ("p50", "p99")),
            f"{len(found.over.seconds.get(503, [])):,}",
            *(f"{refused[part]:.1f}" for part in ("p50", "p99")),
            str(sum(found.over.failures.values())),
            f"{quantiles(found.after.seconds.get(200, []))['p99']:.1f}",
            " to ".join(f"{kib / 1024:.1f}" for kib in found.kib),
            " to ".join(map(str, found.descriptors)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


# --- crowd ----------------------------------------------------------------------------------------


class Arrivals:
    """How many listeners have the message that was published last."""

    def __init__(self) -> None:
        self.missing = 0
        self.number = 0  # of the message, where messages have numbers
        self.complete = asyncio.Event()

    def expect(self, count: int) -> None:
        self.missing = count
        self.complete.clear()

    def count(self) -> None:
        self.missing -= 1
        if not self.missing:
            self.complete.set()


class Listener(asyncio.Protocol):
    """Sends its hellos, each when the answer to the one before has come, then counts messages."""

    def __init__(self, arrivals: Arrivals, hellos: Sequence[tuple[bytes, bytes]]) -> None:
        self.ready = asyncio.get_running_loop().create_future()
        self.has_heard = False
        self._arrivals = arrivals
        self._hellos = list(hellos)
        self._buffer = b""
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self._hellos[0][0])

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self.ready.done():
            if self._hellos[0][1] not in self._buffer:
                return
            self._buffer = self._buffer.partition(self._hellos.pop(0)[1])[2]
            if self._hellos:
                self.transport.write(self._hellos[0][0])
            else:
                self.ready.set_result(None)
        elif MARKER in self._buffer:
            self._buffer = b""
            self.has_heard = True
            self._arrivals.count()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ready.done():
            self.ready.set_exception(RuntimeError(f"refused: {self._buffer[:200]!r} {error}"))


def frame(text: bytes, kind: int = 0x81) -> bytes:
    return bytes([kind, 0x80 | len(text), 0, 0, 0, 0]) + text


def socket_hellos() -> list[tuple[bytes, bytes]]:
    return [(handshake("/room"), b"\r\n\r\n")]


def event_hellos() -> list[tuple[bytes, bytes]]:
    return [(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"\r\n\r\n")]


def socketio_hellos() -> list[tuple[bytes, bytes]]:
    return [(handshake("/socket.io/?EIO=4&transport=websocket"), b"}"), (frame(b"40"), b"}")]


KINDS: list[tuple[str, str, Callable[[], list[tuple[bytes, bytes]]], str]] = [
    ("micropie", "WebSocket", socket_hellos, "sockets"),
    ("Starlette, broadcaster", "WebSocket", socket_hellos, "sockets"),
    ("python-socketio", "WebSocket", socketio_hellos, "sockets"),
    ("micropie", "event stream", event_hellos, "streams"),
    ("Starlette, broadcaster", "event stream", event_hellos, "streams"),
]


class Crowd(NamedTuple):
    size: int
    kib_each: float
    seconds: list[float]
    """From the publishing until the last one has the message."""


async def crowd(
    port: int, hellos: Callable[[], list[tuple[bytes, bytes]]], count: int, messages: int
) -> Crowd:
    loop, arrivals, listeners = asyncio.get_running_loop(), Arrivals(), list[Listener]()
    process = child_listening_on(port)

    async def join_one() -> None:
        _, listener = await loop.create_connection(
            lambda: Listener(arrivals, hellos()), "127.0.0.1", port
        )
        await listener.ready
        listeners.append(listener)

    async def join(number: int) -> None:
        # the head of an event stream waits for 0.1 s for the first event
        for start in range(0, number, AT_ONCE):
            await asyncio.gather(*(join_one() for _ in range(min(AT_ONCE, number - start))))

    await join(20)
    await asyncio.sleep(0.5)
    before = resident(process)
    await join(count - 20)
    await asyncio.sleep(1)
    each = (resident(process) - before) / (count - 20)
    publisher, seconds = Client(port), []
    async with asyncio.timeout(60):
        # the last ones may not have subscribed yet
        while not all(listener.has_heard for listener in listeners):
            await publisher.ask("/publish")
            await asyncio.sleep(1)
    for _ in range(messages):
        arrivals.expect(count)
        start = time.perf_counter()
        await publisher.ask("/publish")
        async with asyncio.timeout(60):
            await arrivals.complete.wait()
        seconds.append(time.perf_counter() - start)
    publisher.close()
    for listener in listeners:
        listener.transport.abort()
    return Crowd(count, each, seconds)


# --- listeners ------------------------------------------------------------------------------------


class Follower(asyncio.Protocol):
    """A WebSocket or an event stream that counts the messages that it misses."""

    def __init__(self, arrivals: Arrivals, hello: bytes) -> None:
        loop = asyncio.get_running_loop()
        self.ready, self.gone = loop.create_future(), loop.create_future()
        self.last: int | None = None  # the number of the last message
        self.missed = 0
        self.transport: Any = None
        self._arrivals, self._hello, self._rest = arrivals, hello, b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self._hello)

    def data_received(self, data: bytes) -> None:
        self._rest += data
        if not self.ready.done() and b"\r\n\r\n" in self._rest:
            self._rest = self._rest.partition(b"\r\n\r\n")[2]
            self.ready.set_result(None)
        while self.ready.done() and (sent := SENT.match(self._rest)):
            self._rest = self._rest[sent.end() :]
            if sent[1] is None:
                self._heard(int(sent[2]))
            else:
                self.transport.write(frame(sent[1], PONG))
        if self._rest.startswith(CLOSE):
            self.transport.write(frame(b"", CLOSE[0]))
            self.transport.close()

    def _heard(self, number: int) -> None:
        self.missed += 0 if self.last is None else abs(number - self.last - 1)
        self.last = number
        if number == self._arrivals.number:
            self._arrivals.count()

    def connection_lost(self, error: Exception | None) -> None:
        if self.last != self._arrivals.number:
            self._arrivals.count()
        for future in (self.ready, self.gone):
            if not future.done():
                future.set_result(None)


class Listened(NamedTuple):
    sockets: int
    streams: int
    messages: int
    missed: int
    """Messages that a listener did not get, or not in turn."""
    dropped: int
    """Connections that ended before the server."""
    mib: list[float]
    """The memory of the server while it sent the messages."""
    late: float
    """The longest time until a message had reached all, in seconds."""
    left_after: float
    """The time from SIGTERM until all clients were gone, in seconds."""

    @property
    def growth(self) -> float:
        """Per cent of its memory after the first sixth."""
        warm = self.mib[int(len(self.mib) * WARM) :]
        return (statistics.median(warm[-3:]) / statistics.median(warm[:3]) - 1) * 100


async def listen(port: int, sockets: int, streams: int, messages: int, every: float) -> Listened:
    """Open the listeners, and publish a message to all every ``every`` seconds."""
    loop, arrivals = asyncio.get_running_loop(), Arrivals()
    process, publisher = child_listening_on(port), Client(port)
    hellos = [socket_hellos()[0][0]] * sockets + [event_hellos()[0][0]] * streams
    followers: list[Follower] = []
    for start in range(0, len(hellos), AT_ONCE):
        made = [partial(Follower, arrivals, hello) for hello in hellos[start : start + AT_ONCE]]
        opened = [loop.create_connection(one, "127.0.0.1", port) for one in made]
        followers += [follower for _, follower in await asyncio.gather(*opened)]
        await asyncio.gather(*(one.ready for one in followers[-len(made) :]))
    number = 0
    # the last ones may not have subscribed yet
    while any(one.last is None and not one.gone.done() for one in followers):
        number += 1
        await publisher.ask(f"/publish/{number}")
        await asyncio.sleep(every)
    mib, late = list[float](), 0.0
    for later in range(number + 1, number + 1 + messages):
        begun, arrivals.number = time.perf_counter(), later
        arrivals.expect(sum(not one.gone.done() for one in followers))
        await publisher.ask(f"/publish/{later}")
        with suppress(TimeoutError):
            await asyncio.wait_for(arrivals.complete.wait(), PATIENCE)
        seconds = time.perf_counter() - begun
        late = max(late, seconds)
        mib.append(resident(process) / 1024)
        await asyncio.sleep(every - seconds)
    dropped = sum(one.gone.done() for one in followers)
    publisher.close()
    begun = time.perf_counter()
    os.kill(process, signal.SIGTERM)
    async with asyncio.timeout(GRACE + PATIENCE):
        await asyncio.gather(*(one.gone for one in followers))
    left_after = time.perf_counter() - begun
    missed = sum(one.missed + (one.last != number + messages) for one in followers)
    return Listened(sockets, streams, messages, missed, dropped, mib, late, left_after)


def listened_goals(found: Listened) -> list[tuple[bool, str]]:
    return [
        (
            not found.missed and not found.dropped,
            (
                f"listeners: of {found.messages:,} messages to {found.sockets:,} WebSockets and "
                f"{found.streams:,} event streams {found.missed:,} are lost, of their connections "
                f"{found.dropped:,}; one reaches all after {found.late:.1f} s at most"
            ),
        ),
        (
            found.growth <= GROWTH,
            (
                f"listeners: {found.mib[-1]:.0f} MiB, which grow by {found.growth:.1f} %, "
                f"of {GROWTH:g} % at most"
            ),
        ),
        (
            found.left_after <= GRACE,
            f"listeners: all are gone {found.left_after:.1f} s after SIGTERM, of {GRACE} s at most",
        ),
    ]


def child_listening_on(port: int) -> int:
    """Return the process of the only server that this program runs now."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    found = [
        pid for pid in children if str(port) in Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    ]
    return int(found[0])


def crowd_table(results: dict[tuple[str, str], Crowd], missing: dict[str, str]) -> str:
    lines = [
        "| one message to all | clients | KiB each | all have it after, ms | µs each |",
        "| --- |" + " ---: |" * 4,
    ]
    for (name, kind), found in results.items():
        best = sorted(found.seconds)[len(found.seconds) // 2]
        cells = (
            f"{found.size:,} | {found.kib_each:.1f} | {best * 1000:.0f} "
            f"| {best / found.size * 1e6:.1f}"
        )
        lines.append(f"| {name}, {kind} | {cells} |")
    return "\n".join([*lines, *(f"\nMissing: {name} ({why})." for name, why in missing.items())])


# --- the command ----------------------------------------------------------------------------------


def versions() -> str:
    """Return what is installed of what is measured."""
    names = (
        "uvicorn",
        "uvloop",
        "httptools",
        "websockets",
        "hypercorn",
        "trio",
        "gunicorn",
        "starlette",
        "broadcaster",
    )
    found = []
    for name in (*names, "python-socketio"):
        with suppress(metadata.PackageNotFoundError):
            found.append(f"{name} {metadata.version(name)}")
    return f"With {', '.join(found)}."


def measure(
    options: argparse.Namespace,
) -> tuple[
    dict[str, Soaked],
    dict[str, Overloaded],
    list[Listened],
    dict[tuple[str, str], Crowd],
    dict[str, str],
]:
    """Run the parts, one after the other.

    Returns their results, and what is missing, with the reason.
    """
    soaked: dict[str, Soaked] = {}
    overloaded: dict[str, Overloaded] = {}
    crowds: dict[tuple[str, str], Crowd] = {}
    missing: dict[str, str] = {}
    listened: list[Listened] = []
    for name in options.server:
        if "soak" in options.only and name in SOAKED:
            print(f"soak: {name} ...", file=sys.stderr, flush=True)
            with noting(missing, name):
                soaked[name] = soak(name, options)
        if "overload" in options.only:
            print(f"overload: {name} ...", file=sys.stderr, flush=True)
            with noting(missing, name), serving(LIMITED[name]) as port:
                overloaded[name] = asyncio.run(overload(port, options))
    if "listeners" in options.only:
        print("listeners ...", file=sys.stderr, flush=True)
        with noting(missing, "listeners"), serving(LISTENED) as port:
            seconds = int(options.listen_minutes * 60)
            listened.append(
                asyncio.run(listen(port, options.sockets, options.listening_streams, seconds, 1))
            )
    for name, kind, hellos, size in KINDS if "crowd" in options.only else []:
        print(f"crowd: {name}, {kind} ...", file=sys.stderr, flush=True)
        with noting(missing, name):
            factory = soak_apps.ROOMS[name]
            factory()  # raises ImportError
            with serving(f"{_UVICORN} --factory {APPS}:{factory.__name__}") as port:
                crowds[name, kind] = asyncio.run(
                    crowd(port, hellos, getattr(options, size), options.messages)
                )
    return soaked, overloaded, listened, crowds, missing


@contextmanager
def noting(missing: dict[str, str], name: str) -> Iterator[None]:
    """Note what is not installed, or has failed: the others must not be lost by it after half an
    hour.
    """
    try:
        yield
    except (ImportError, Unavailable) as error:
        missing[name] = str(error)
    except Exception as error:
        traceback.print_exc()
        missing[name] = f"failed: {error!r}"


def verdicts(
    soaked: dict[str, Soaked],
    overloaded: dict[str, Overloaded],
    missing: dict[str, str],
) -> list[tuple[bool, str]]:
    found = [(False, f"{name}: {why}") for name, why in missing.items()]
    for name, one in soaked.items():
        most = max((worker.growth for worker in one.workers), default=0.0)
        more = [name for worker in one.workers for name in worker.grown]
        failures = ", ".join(f"{number} x {text}" for text, number in one.unexpected.most_common())
        begun, closed = one.streams
        found += [
            (
                most <= GROWTH,
                f"{name}: memory of a worker grows by {most:.1f} % at most, of {GROWTH:g} %",
            ),
            (
                not more,
                (
                    f"{name}: descriptors, threads, tasks and objects stay"
                    f"{', but ' if more else ''}{', '.join(more)}"
                ),
            ),
            (
                not failures,
                (
                    f"{name}: of {sum(one.asked.values()):,} requests no answer is unexpected"
                    f"{failures and ', but '}{failures}"
                ),
            ),
            (
                not any(one.lost.values()),
                f"{name}: answered changes that were lost: {one.lost} of {one.changes}",
            ),
            (begun == closed, f"{name}: streams begun and closed: {begun:,} and {closed:,}"),
        ]
    for name, two in overloaded.items():
        idle, over = (quantiles(part.seconds.get(200, []))["p99"] for part in (two.idle, two.over))
        refused = quantiles(two.over.seconds.get(503, []))["p99"]
        sent = set(two.over.statuses) <= {200, 503} and not two.over.failures
        found += [
            (
                over <= SLOWER * idle,
                f"{name}: p99 {over:.1f} ms above capacity, {SLOWER:g} times {idle:.1f} ms at most",
            ),
            (
                refused <= idle,
                f"{name}: refused after {refused:.1f} ms (p99), less than an answer takes",
            ),
            (
                sent,
                (
                    f"{name}: only 200 and 503 above capacity: "
                    f"{two.over.statuses} {dict(two.over.failures)}"
                ),
            ),
            (
                two.descriptors[1] <= two.descriptors[0],
                f"{name}: descriptors {two.descriptors} before and after",
            ),
            (
                set(two.after.statuses) == {200},
                f"{name}: all is well afterwards: {two.after.statuses}",
            ),
        ]
    return found


def write(sections: dict[str, list[str]], soaked: dict[str, Soaked]) -> None:
    """Write what was measured into the page of results, and draw the picture."""
    if soaked:
        plot(soaked)
    for key, parts in sections.items():
        if parts:
            preamble = f"Measured on {report.today()}. {report.machine()} {versions()}"
            report.write_section(key, "\n\n".join((preamble, *parts)) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parts = ["soak", "overload", "listeners", "crowd"]
    parser.add_argument(
        "--only", nargs="*", choices=parts, default=parts, help="parts, all if it isn't given"
    )
    parser.add_argument(
        "--server",
        nargs="*",
        choices=list(LIMITED),
        default=list(LIMITED),
        help="of soak (not hypercorn) and overload",
    )
    for name, default, text in (
        ("minutes", 60, "minutes of the soak, on each server"),
        ("listen-minutes", 10, "minutes in which listeners get one message a second"),
        ("every", 0.5, "minutes between two looks at a worker"),
        ("restart-every", 5, "minutes between two restarts of Redis"),
        ("replace-every", 20, "minutes between two replacements of the workers"),
    ):
        parser.add_argument(f"--{name}", type=float, default=default, help=f"{text} (%(default)s)")
    parser.add_argument("--connections", type=int, default=4, help="of the soak (%(default)s)")
    parser.add_argument(
        "--overload-seconds", type=float, default=15, help="of each of three loads (%(default)s)"
    )
    parser.add_argument(
        "--settle",
        type=float,
        default=6,
        help="seconds until what has ended is gone (%(default)s)",
    )
    parser.add_argument("--sockets", type=int, default=10_000, help="idle WebSockets (%(default)s)")
    parser.add_argument(
        "--streams", type=int, default=5_000, help="clients of event streams (%(default)s)"
    )
    parser.add_argument(
        "--listening-streams",
        type=int,
        default=10_000,
        help="event streams beside the WebSockets of the listeners (%(default)s)",
    )
    parser.add_argument(
        "--messages", type=int, default=20, help="to the crowd; the median counts (%(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument(
        "--write", action="store_true", help="write tables and plot into the documentation"
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 unless every goal is met")
    options = parser.parse_args(arguments)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # servers inherit it

    soaked, overloaded, listened, crowds, missing = measure(options)
    goals = {"soak": verdicts(soaked, {}, {}), "load": verdicts({}, overloaded, missing)}
    goals["load"] += [goal for one in listened for goal in listened_goals(one)]
    sections = {
        "soak": soak_sections(soaked, options) if soaked else [],
        "load": [overload_table(overloaded)] if overloaded else [],
    }
    if crowds or missing:
        sections["load"].append(crowd_table(crowds, missing))
    for key, found in goals.items():
        words = [f"- {'met' if is_met else 'MISSED'}: {text}" for is_met, text in found]
        sections[key] += ["\n".join(words)] if words else []
    print("\n\n".join((*sections["soak"], *sections["load"])))
    if options.json:
        document = {
            "soak": {
                name: [[look._asdict() for look in worker.looks] for worker in one.workers]
                for name, one in soaked.items()
            },
            "overload": {
                name: [two.idle.statuses, two.over.statuses] for name, two in overloaded.items()
            },
            "listeners": [one._asdict() for one in listened],
            "crowd": {f"{name}, {kind}": three._asdict() for (name, kind), three in crowds.items()},
        }
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    if options.write:
        write(sections, soaked)
    return int(options.check and not all(is_met for found in goals.values() for is_met, _ in found))


if __name__ == "__main__":
    raise SystemExit(main())
