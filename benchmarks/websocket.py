"""`python -m benchmarks.websocket`: what a WebSocket costs, in the framework alone and behind
uvicorn.

Three tables, each beside an application written by hand and Starlette:

- microseconds per echoed message in process. "In turn": a client task and the application, a queue
  each way, so that every message is waited for, as behind a server. "At once": all messages are
  ready and `send` never waits, so only the framework is measured; no real server behaves like that;
- echoed messages per second through one uvicorn; the connections take turns, each with one open
  message;
- memory of the uvicorn process for each of many idle connections.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gc
import json
import os
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

from benchmarks.apps.websocket_apps import CONTENDERS
from benchmarks.harness import AsgiApp, Lifespan, Message, make_socket_scope
from benchmarks.processes import uvicorn

BASE = "hand-written"
# Times the hand-written application's time for a message, one after the other. A part of what is
# above 1 is the turn of the event loop for the task that reads.
GOAL = 1.8
TEXT = "Hello, World!"

# RFC 6455, section 5.2: a client's text frame, masked with zeros, and the expected echo.
FRAME = bytes([0x81, 0x80 | len(TEXT), 0, 0, 0, 0]) + TEXT.encode()
ECHO = bytes([0x81, len(TEXT)]) + TEXT.encode()

Results = dict[str, dict[str, float]]


# --- in process -----------------------------------------------------------------------------------


async def at_once(app: AsgiApp, scope: Message, count: int) -> float:
    messages = [*[received() for _ in range(count)], {"type": "websocket.connect"}]
    sent: list[Message] = []
    answered = asyncio.Event()

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await answered.wait()
        return {"type": "websocket.disconnect", "code": 1000}

    async def send(message: Message) -> None:
        sent.append(message)
        if len(sent) > count:
            answered.set()

    start = time.perf_counter()
    await app(scope, receive, send)
    spent = time.perf_counter() - start
    check(
        [message["text"] for message in sent if message["type"] == "websocket.send"], [TEXT] * count
    )
    return spent


async def in_turn(app: AsgiApp, scope: Message, count: int) -> float:
    to_app: asyncio.Queue[Message] = asyncio.Queue()
    from_app: asyncio.Queue[Message] = asyncio.Queue()
    to_app.put_nowait({"type": "websocket.connect"})
    task = asyncio.ensure_future(app(scope, to_app.get, from_app.put))
    check((await from_app.get())["type"], "websocket.accept")
    await asyncio.sleep(0.003)  # until the task that reads has begun
    start = time.perf_counter()
    for _ in range(count):
        to_app.put_nowait(received())
        message = await from_app.get()
    spent = time.perf_counter() - start
    check(message["text"], TEXT)
    to_app.put_nowait({"type": "websocket.disconnect", "code": 1000})
    await task
    return spent


def received() -> Message:
    return {"type": "websocket.receive", "text": TEXT}


def check(found: object, expected: object) -> None:
    if found != expected:
        raise SystemExit(f"a wrong answer: {str(found)[:200]!r}")


async def overhead(apps: dict[str, AsgiApp], rounds: int, count: int) -> Results:
    """Return the best microseconds per message of each contender."""
    lifespans = {name: Lifespan(app) for name, app in apps.items()}
    for lifespan in lifespans.values():
        await lifespan.startup()
    ways: dict[str, Callable[[AsgiApp, Message, int], Awaitable[float]]] = {
        ("in turn"): in_turn,
        "at once": at_once,
    }
    best: Results = {name: {} for name in apps}
    order = list(apps)
    for _ in range(rounds):
        for way, measure in ways.items():
            random.shuffle(order)
            for name in order:
                gc.collect()
                gc.disable()
                try:
                    spent = (
                        await measure(
                            apps[name], make_socket_scope("/echo", lifespans[name].state), count
                        )
                        / count
                        * 1e6
                    )
                finally:
                    gc.enable()
                best[name][way] = min(best[name].get(way, spent), spent)
    for lifespan in lifespans.values():
        await lifespan.shutdown()
    return best


# --- behind uvicorn -------------------------------------------------------------------------------


def serving(name: str) -> AbstractContextManager[tuple[int, int]]:
    """Run a uvicorn for this contender.

    Yields its port and process id. It sends no pings during the run.
    """
    return uvicorn(
        f"benchmarks.apps.websocket_apps:{CONTENDERS[name].__name__}", "--ws-ping-interval", "600"
    )


class Client(asyncio.Protocol):
    """Performs the handshake.

    If it talks, it sends the next message as soon as it has an answer.
    """

    def __init__(self, port: int, talks: bool) -> None:
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answers = 0
        self._talks = talks
        self._port = port
        self._buffer = b""
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        lines = (
            "GET /echo HTTP/1.1",
            f"Host: 127.0.0.1:{self._port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
        )
        transport.write("\r\n".join((*lines, "", "")).encode())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self.ready.done():
            head, found, self._buffer = self._buffer.partition(b"\r\n\r\n")
            if not found:
                self._buffer = head
                return
            if b" 101 " not in head.split(b"\r\n")[0]:
                raise SystemExit(f"refused: {head[:100]!r}")
            self.ready.set_result(None)
            if self._talks:
                self._transport.write(FRAME)
        elif len(self._buffer) >= len(ECHO):
            check(self._buffer, ECHO)
            self._buffer = b""
            self.answers += 1
            self._transport.write(FRAME)

    def abort(self) -> None:
        self._transport.abort()


async def connected(port: int, count: int, talks: bool) -> list[Client]:
    loop = asyncio.get_running_loop()
    clients = []
    for _ in range(count):
        _, client = await loop.create_connection(lambda: Client(port, talks), "127.0.0.1", port)
        await client.ready
        clients.append(client)
    return clients


async def echoes_per_second(port: int, connections: int, seconds: float) -> float:
    clients = await connected(port, connections, talks=True)
    await asyncio.sleep(0.3)
    before, start = sum(client.answers for client in clients), time.perf_counter()
    await asyncio.sleep(seconds)
    rate = (sum(client.answers for client in clients) - before) / (time.perf_counter() - start)
    for client in clients:
        client.abort()
    return rate


async def memory_each(port: int, pid: int, connections: int) -> float:
    """Return KiB of the server's resident memory for each idle connection."""
    warm = await connected(port, 20, talks=False)
    await asyncio.sleep(0.5)
    before = resident(pid)
    clients = await connected(port, connections, talks=False)
    await asyncio.sleep(1.0)
    each = (resident(pid) - before) / connections
    for client in [*warm, *clients]:
        client.abort()
    return each


def resident(pid: int) -> int:
    """Return resident memory in KiB (Linux only)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def measured(names: Sequence[str], options: argparse.Namespace) -> dict[str, Results]:
    results: dict[str, Results] = {"in process": {}, "echo": {}, "memory": {}}
    apps = {name: CONTENDERS[name]() for name in names}
    results["in process"] = asyncio.run(overhead(apps, options.rounds, options.messages))
    rates: dict[str, list[float]] = {name: [] for name in names}
    with ExitStack() as stack:
        ports = {name: stack.enter_context(serving(name))[0] for name in names}
        for _ in range(options.turns):
            for name in random.sample(list(names), len(names)):
                rates[name].append(
                    asyncio.run(
                        echoes_per_second(ports[name], options.connections, options.seconds)
                    )
                )
    for name in names:
        results["echo"][name] = {"messages per second": max(rates[name])}
        with serving(name) as (port, pid):
            results["memory"][name] = {
                "KiB each": asyncio.run(memory_each(port, pid, options.idle))
            }
    return results


def table(title: str, results: Results) -> str:
    ways = list(results[BASE])
    lines = [f"| {' | '.join([title, *ways])} |", f"| --- |{' ---: |' * len(ways)}"]
    for name, row in results.items():
        cells = [f"{row[way]:.2f} ({row[way] / results[BASE][way]:.2f}x)" for way in ways]
        lines.append(f"| {' | '.join([name, *cells])} |")
    return "\n".join(lines)


def _missing(name: str) -> str | None:
    try:
        CONTENDERS[name]()
    except ImportError as error:
        return str(error)
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.websocket", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=20, help="in process; the best counts (%(default)s)"
    )
    parser.add_argument("--messages", type=int, default=5000, help="of a round (%(default)s)")
    parser.add_argument(
        "--turns", type=int, default=3, help="behind uvicorn; the best counts (%(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="of each turn (%(default)s)")
    parser.add_argument("--connections", type=int, default=16, help="that talk (%(default)s)")
    parser.add_argument("--idle", type=int, default=2000, help="that don't (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers")
    parser.add_argument("--check", action="store_true", help="exit with 1 unless the goal is met")
    options = parser.parse_args(arguments)
    missing = {name: why for name in CONTENDERS if (why := _missing(name))}
    results = measured([name for name in CONTENDERS if name not in missing], options)
    print(table("µs per echoed message", results["in process"]))
    print(table("through uvicorn", results["echo"]), table("idle", results["memory"]), sep="\n\n")
    for name, why in missing.items():
        print(f"\nMissing: {name} ({why}).")
    times = {name: row["in turn"] for name, row in results["in process"].items()}
    ratio = times["micropie"] / times[BASE]
    print(
        f"\n- {'met' if ratio <= GOAL else 'MISSED'}: at most {GOAL} times the "
        f"hand-written one's time ({ratio:.2f})"
    )
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
    return int(options.check and ratio > GOAL)


if __name__ == "__main__":
    raise SystemExit(main())
