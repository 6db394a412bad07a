"""`python -m benchmarks.soak`: what a worker does over minutes, above its capacity, and with
thousands of listeners.

Three parts, each of one server process on this machine, asked by this process:

- soak: mixed traffic for `--seconds` on uvicorn (asyncio), hypercorn (trio) and gunicorn (gthread):
  throughput, p50, p99 and p99.9 of the answers, and every tenth of a minute the resident memory and
  the open descriptors. After the first minute the memory must grow by less than 1 %, and at the end
  the descriptors are those of the beginning.
- overload: requests of 100 ms behind a `ConcurrencyLimit`, at a tenth of the capacity, then at four
  times the capacity, sent at fixed times whatever comes back. Answers have to come within twice the
  idle p99, all others get 503 at once.
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
import resource
import sys
import time
import traceback
from array import array
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import report
from benchmarks.apps import soak_apps
from benchmarks.harness import Unavailable
from benchmarks.processes import free_port, running
from benchmarks.websocket import resident

PLOT = Path(__file__).parent / "results" / "growth" / "soak.svg"
APPS = "benchmarks.apps.soak_apps"
GROWTH = 1.0  # per cent
SLOWER = 2.0  # times the idle p99
MARKER = b"news"
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
    "uvicorn, asyncio": f"{_UVICORN} {APPS}:mixed",
    "hypercorn, trio": f"{_HYPERCORN} {APPS}:mixed",
    "gunicorn, gthread": f"{_GUNICORN} --threads 8 {APPS}:mixed",
}
LIMITED = {
    "uvicorn, asyncio": f"{_UVICORN} {APPS}:limited",
    "hypercorn, trio": f"{_HYPERCORN} {APPS}:limited",
    "gunicorn, gthread": f"{_GUNICORN} --threads 64 {APPS}:limited_in_threads",
}
CAPACITY = soak_apps.PLACES / soak_apps.SECONDS  # requests per second


@contextmanager
def serving(command: str) -> Iterator[int]:
    """Run a server. Yields its port."""
    port = free_port()
    with running([sys.executable, "-m", *command.format(port=port).split()], port):
        yield port


# --- a client -------------------------------------------------------------------------------------


class Client:
    """One keep-alive connection. Raises ``RuntimeError`` for an answer that is not expected."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookie = ""
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None

    async def ask(
        self,
        path: str,
        expected: int = 200,
        body: bytes = b"",
        kind: str = "application/x-www-form-urlencoded",
    ) -> tuple[int, bytes]:
        """Return the status and the body of an answer.

        A connection that the server has closed is opened again.
        """
        status, body = await self.any_answer(path, body, kind)
        if status != expected:
            raise RuntimeError(f"{path}: {status} {body[:200]!r}")
        return status, body

    async def any_answer(self, path: str, body: bytes = b"", kind: str = "") -> tuple[int, bytes]:
        head = (
            f"{'POST' if body else 'GET'} {path} HTTP/1.1\r\nHost: "
            "127.0.0.1\r\nUser-Agent: soak\r\n"
        )
        head += f"Cookie: {self.cookie}\r\n" if self.cookie else ""
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
        body = b""
        if "chunked" in headers.get("transfer-encoding", ""):
            while size := int((await self._reader.readline()), 16):
                body += (await self._reader.readexactly(size + 2))[:-2]
            await self._reader.readline()
        else:
            body = await self._reader.readexactly(int(headers["content-length"]))
        if headers.get("connection", "").lower() == "close":
            self.close()
        return int(lines[0].split()[1]), body

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
FILE = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n'
    f"Content-Type: application/octet-stream\r\n\r\n{'x' * 200_000}\r\n--{BOUNDARY}--\r\n"
).encode()


async def listen_and_leave(client: Client) -> None:
    """Read three events, then leave in the middle of the stream."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(b"GET /ticks HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    for _ in range(3):
        await reader.readuntil(b"\n\n")
    writer.close()


async def talk(client: Client) -> None:
    """Open a WebSocket, send ten messages, and close it properly."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(handshake("/echo"))
    await reader.readuntil(b"\r\n\r\n")
    for _ in range(10):
        writer.write(bytes([0x81, 0x84, 0, 0, 0, 0]) + b"ping")  # text, masked with zeros
        if await reader.readexactly(6) != b"\x81\x04ping":
            raise RuntimeError("a wrong echo")
    writer.write(bytes([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8]))  # 1000
    await reader.read()
    writer.close()


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


Act = Callable[[Client], Awaitable[object]]

TRAFFIC: list[tuple[int, Act]] = [
    (40, lambda client: client.ask("/plain")),
    (20, lambda client: client.ask("/page/Alice")),
    (12, lambda client: client.ask("/count")),
    (10, lambda client: client.ask("/form", body=b"name=Alice&city=Paris")),
    (5, lambda client: client.ask("/lines")),
    (5, lambda client: client.ask("/nowhere", 404)),
    (4, lambda client: client.ask("/fails", 409)),
    (
        2,
        lambda client: client.ask(
            "/upload", body=FILE, kind=f"multipart/form-data; boundary={BOUNDARY}"
        ),
    ),
    (2, listen_and_leave),
]


class Sample(NamedTuple):
    """The server's process at one moment, and the traffic since the last one."""

    at: float
    """Seconds since the beginning."""
    kib: int
    descriptors: int
    rate: float
    p99: float


@dataclass
class Soaked:
    samples: list[Sample] = field(default_factory=list)
    seconds: array[float] = field(default_factory=lambda: array("d"))
    failures: Counter[str] = field(default_factory=Counter)
    spent: float = 0.0
    descriptors_before: int = 0
    descriptors_after: int = 0

    def growth(self, warm: float) -> float:
        """Return by how many per cent the memory has grown since the first minute: medians of three
        samples.
        """
        early = [sample.kib for sample in self.samples if sample.at >= warm][:3]
        late = [sample.kib for sample in self.samples][-3:]
        return (
            (sorted(late)[len(late) // 2] / sorted(early)[len(early) // 2] - 1) * 100
            if early
            else 0.0
        )


async def soak(port: int, options: argparse.Namespace, *, sockets: bool) -> Soaked:
    """Send mixed traffic, each client one request after the other, and look at the server's
    process.
    """
    found = Soaked()
    process = int((await Client(port).ask("/"))[1])
    traffic = [*TRAFFIC, (2, talk)] if sockets else TRAFFIC
    weights, acts = zip(*traffic, strict=True)
    clients = [Client(port) for _ in range(options.connections)]
    for act in acts:  # what is imported or compiled at its first use
        await act(clients[0])
    await asyncio.sleep(0.2)
    found.descriptors_before = descriptors(process)
    began = time.perf_counter()
    end = began + options.seconds

    async def work(client: Client, chooser: random.Random) -> None:
        while (start := time.perf_counter()) < end:
            try:
                await chooser.choices(acts, weights)[0](client)
            except (OSError, asyncio.IncompleteReadError, RuntimeError, ValueError) as error:
                # the others go on
                found.failures[f"{type(error).__name__} {str(error)[:60]}".strip()] += 1
                client.close()
                await asyncio.sleep(0.1)
            found.seconds.append(time.perf_counter() - start)

    async def look() -> None:
        seen, then = 0, began
        while then < end:
            await asyncio.sleep(min(options.every, max(end - then, 0.01)))
            now, count = time.perf_counter(), len(found.seconds)
            p99 = quantiles(found.seconds[seen:count])["p99"]
            rate = (count - seen) / (now - then)
            found.samples.append(
                Sample(now - began, resident(process), descriptors(process), rate, p99)
            )
            seen, then = count, now

    await asyncio.gather(
        look(), *(work(client, random.Random(number)) for number, client in enumerate(clients))
    )
    found.spent = time.perf_counter() - began
    for client in clients[1:]:
        client.close()
    await asyncio.sleep(options.settle)
    found.descriptors_after = descriptors(process)
    return found


def descriptors(process: int) -> int:
    return len(os.listdir(f"/proc/{process}/fd"))  # noqa: PTH208 - not about paths


def soak_table(results: dict[str, Soaked], warm: float) -> str:
    lines = [
        (
            "| mixed traffic | requests | a second | p50, ms | p99, ms | p99.9, ms | "
            "MiB, warm | MiB, end | growth | fds |"
        ),
        "| --- |" + " ---: |" * 9,
    ]
    for name, found in results.items():
        times = quantiles(found.seconds)
        warm_samples = [sample for sample in found.samples if sample.at >= warm] or found.samples
        cells = [
            name,
            f"{len(found.seconds):,}",
            f"{len(found.seconds) / found.spent:,.0f}",
            *(f"{value:.1f}" for value in times.values()),
            f"{warm_samples[0].kib / 1024:.1f}",
            f"{found.samples[-1].kib / 1024:.1f}",
            f"{found.growth(warm):.2f} %",
            f"{found.descriptors_before}, {found.descriptors_after}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(results: dict[str, Soaked]) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "micropie", "font.size": 9})
    figure, axes = pyplot.subplots(1, 4, figsize=(16, 3), layout="constrained")
    titles = ("resident memory, MiB", "descriptors", "requests per second", "p99, ms")
    for name, found in results.items():
        minutes = [sample.at / 60 for sample in found.samples]
        rows = [
            (sample.kib / 1024, sample.descriptors, sample.rate, sample.p99)
            for sample in found.samples
        ]
        for axis, values in zip(axes, zip(*rows, strict=True), strict=True):
            axis.plot(minutes, values, label=name)
    for axis, title in zip(axes, titles, strict=True):
        axis.set(title=title, xlabel="minutes")
        axis.set_ylim(bottom=0)
    axes[0].legend(fontsize=7)
    figure.savefig(PLOT, metadata={"Date": None})
    pyplot.close(figure)


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
    process = int((await Client(port).ask("/"))[1])
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


def frame(text: bytes) -> bytes:
    return bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text


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
) -> tuple[dict[str, Soaked], dict[str, Overloaded], dict[tuple[str, str], Crowd], dict[str, str]]:
    """Run the parts, one after the other.

    Returns their results, and what is missing, with the reason.
    """
    soaked: dict[str, Soaked] = {}
    overloaded: dict[str, Overloaded] = {}
    crowds: dict[tuple[str, str], Crowd] = {}
    missing: dict[str, str] = {}
    for name in options.servers:
        if "soak" in options.only:
            print(f"soak: {name} ...", file=sys.stderr, flush=True)
            with noting(missing, name), serving(SOAKED[name]) as port:
                soaked[name] = asyncio.run(soak(port, options, sockets="gunicorn" not in name))
        if "overload" in options.only:
            print(f"overload: {name} ...", file=sys.stderr, flush=True)
            with noting(missing, name), serving(LIMITED[name]) as port:
                overloaded[name] = asyncio.run(overload(port, options))
    for name, kind, hellos, size in KINDS if "crowd" in options.only else []:
        print(f"crowd: {name}, {kind} ...", file=sys.stderr, flush=True)
        with noting(missing, name):
            factory = soak_apps.ROOMS[name]
            factory()  # raises ImportError
            with serving(f"{_UVICORN} --factory {APPS}:{factory.__name__}") as port:
                crowds[name, kind] = asyncio.run(
                    crowd(port, hellos, getattr(options, size), options.messages)
                )
    return soaked, overloaded, crowds, missing


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
    options: argparse.Namespace,
) -> list[tuple[bool, str]]:
    found = [(False, f"{name}: {why}") for name, why in missing.items()]
    for name, one in soaked.items():
        growth = one.growth(options.warm)
        found.append(
            (
                growth < GROWTH,
                (
                    f"{name}: memory grows by {growth:.2f} % after "
                    f"warming up, less than {GROWTH:g} %"
                ),
            )
        )
        more = one.descriptors_after - one.descriptors_before
        found.append((more <= 0, f"{name}: {more} more descriptors at the end, none"))
        failures = ", ".join(f"{number} x {text}" for text, number in one.failures.most_common(3))
        found.append(
            (not one.failures, f"{name}: no request fails{failures and ', but '}{failures}")
        )
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


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parts = ["soak", "overload", "crowd"]
    parser.add_argument(
        "--only", nargs="*", choices=parts, default=parts, help="parts, all if it isn't given"
    )
    parser.add_argument(
        "--servers",
        nargs="*",
        choices=list(SOAKED),
        default=list(SOAKED),
        help="of soak and overload",
    )
    parser.add_argument(
        "--seconds", type=float, default=540, help="of the soak, on each server (%(default)s)"
    )
    parser.add_argument(
        "--warm",
        type=float,
        default=60,
        help="seconds of it that don't count for growth (%(default)s)",
    )
    parser.add_argument(
        "--every", type=float, default=10, help="seconds between two looks (%(default)s)"
    )
    parser.add_argument("--connections", type=int, default=16, help="of the soak (%(default)s)")
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

    soaked, overloaded, crowds, missing = measure(options)
    sections = [f"Measured on {report.today()}. {report.machine()} {versions()}"]
    if soaked:
        sections.append(soak_table(soaked, options.warm))
        sections.append(f"Each for {options.seconds:g} seconds.")
    if overloaded:
        sections.append(overload_table(overloaded))
    if crowds or missing:
        sections.append(crowd_table(crowds, missing))
    goals = verdicts(soaked, overloaded, missing, options)
    if goals:
        sections.append(
            "\n".join(
                f"- {'met' if is_met else 'MISSED'}: {sentence}" for is_met, sentence in goals
            )
        )
    print("\n\n".join(sections))
    if options.json:
        document = {
            "soak": {
                name: [sample._asdict() for sample in one.samples] for name, one in soaked.items()
            },
            "overload": {
                name: [two.idle.statuses, two.over.statuses] for name, two in overloaded.items()
            },
            "crowd": {f"{name}, {kind}": three._asdict() for (name, kind), three in crowds.items()},
        }
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    if options.write:
        if soaked:
            plot(soaked)
            sections.insert(
                3,
                (
                    "![Memory, descriptors, throughput and p99 over "
                    f"time]({PLOT.parent.name}/{PLOT.name})"
                ),
            )
        report.write_section("soak", "\n\n".join(sections) + "\n")
    return int(options.check and not all(is_met for is_met, _ in goals))


if __name__ == "__main__":
    raise SystemExit(main())
