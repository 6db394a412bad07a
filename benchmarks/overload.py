"""`python -m benchmarks.overload`: what a worker answers in time
when four times its capacity comes.

Each request needs 5 ms of processor and waits for 20 ms. The capacity is what 8 clients get that
send one request after the other. Then requests are sent at fixed times, whatever comes back, and
clients give up after 10 s. *Good* answers come within a second. Each set-up is measured as it is,
and with the `LoadShedding()` of the deploy pages; `--share` is the load, in capacities, and
`--proxy` what is before it, with their line for X-Request-Start.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.processes import free_port, running
from benchmarks.proxies import PROXIES, command_of
from benchmarks.soak import Client, Load, load, quantiles
from benchmarks.websocket import resident

APP = "benchmarks.apps.overload_app"
CLIENTS = 8
IN_TIME = 1.0  # seconds
_UVICORN = "uvicorn --port {port} --no-access-log --log-level critical --no-proxy-headers"
_GUNICORN = (
    "gunicorn --workers 1 --worker-class gthread --threads 16 --no-control-socket "
    "--bind 127.0.0.1:{port} --log-level critical"
)
# commands by name; a proxy is before each
SET_UPS = {
    "uvicorn, `async def`": f"{_UVICORN} {APP}:plain_async",
    "uvicorn, `async def`, `LoadShedding`": f"{_UVICORN} {APP}:shedding_async",
    "uvicorn, `def`": f"{_UVICORN} {APP}:plain_def",
    "uvicorn, `def`, `LoadShedding`": f"{_UVICORN} {APP}:shedding_def",
    "gthread": f"{_GUNICORN} {APP}:plain_def",
    "gthread, `LoadShedding`": f"{_GUNICORN} {APP}:shedding_def",
}


class Found(NamedTuple):
    capacity: float
    load: Load
    seconds: float  # that the load was offered
    share: float
    kib: tuple[int, int]
    well_after: float  # seconds from the last request that was sent until one is answered in time


@contextmanager
def serving(command: str, proxy: str) -> Iterator[tuple[int, int]]:
    """Run a server behind a proxy. Yields the port to ask, and the process that works."""
    port = free_port()
    with ExitStack() as stack:
        words = [sys.executable, "-m", *command.format(port=port).split()]
        pid = stack.enter_context(running(words, port)).pid
        if words[2] == "gunicorn":
            pid = worker_of(pid)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        to, port = port, free_port()
        keeps = words[2] == "gunicorn"
        before = command_of(proxy, folder, port, to, keeps_connections=keeps)
        stack.enter_context(running(before, port))
        yield port, pid


def worker_of(pid: int) -> int:
    """Return the one child of a process, when there is one."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    while not (found := children.read_text().split()):
        time.sleep(0.05)
    return int(found[0])


async def capacity(port: int, seconds: float) -> float:
    """Return the answers in a second that clients get who wait for each."""
    until, count = time.perf_counter() + seconds, 0

    async def ask_again() -> None:
        nonlocal count
        client = Client(port)
        while time.perf_counter() < until:
            await client.any_answer("/work")
            count += 1
        client.close()

    await asyncio.gather(*(ask_again() for _ in range(CLIENTS)))
    return count / seconds


async def well_after(port: int, patience: float = 30.0) -> float:
    """Return the seconds until a request is answered with 200 within a tenth of a second."""
    began = time.perf_counter()
    while (now := time.perf_counter()) - began < patience:
        client = Client(port)
        try:
            async with asyncio.timeout(0.1):
                if (await client.any_answer("/work"))[0] == 200:
                    return now - began
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            client.close()
        await asyncio.sleep(0.02)
    return patience


async def measure(port: int, pid: int, options: argparse.Namespace) -> Found:
    await capacity(port, 1.0)  # warm
    full = await capacity(port, options.capacity_seconds)
    kib = resident(pid)
    rate = full * options.share
    offered = asyncio.create_task(load(port, rate, options.seconds))
    await asyncio.sleep(int(rate * options.seconds) / rate)
    well = await well_after(port)
    found = await offered
    return Found(full, found, options.seconds, options.share, (kib, resident(pid)), well)


def row(name: str, found: Found) -> str:
    answered = found.load.seconds.get(200, [])
    good = sum(one <= IN_TIME for one in answered)
    refused = found.load.seconds.get(503, [])
    others = sum(found.load.statuses.values()) - len(answered) - len(refused)
    cells = [
        name,
        f"{found.capacity * found.share:.0f} of {found.capacity:.0f}",
        f"{good / (min(found.share, 1) * found.capacity * found.seconds):.0%}",
        f"{len(answered) - good:,}",
        f"{len(refused):,}",
        f"{others + sum(found.load.failures.values()):,}",
        f"{quantiles(answered)['p99'] / 1000:.1f} s",
        f"{quantiles(refused)['p99'] / 1000:.1f} s" if refused else "",
        f"{found.well_after:.1f} s",
        f"{found.kib[0] / 1024:.0f} to {found.kib[1] / 1024:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


HEAD = (
    "| set-up | offered, a second | good | late | refused | failed | p99 of the answered "
    "| p99 of the refused | well again after | MiB |\n|---|" + "---:|" * 9
)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8, help="of the load (%(default)s)")
    parser.add_argument("--capacity-seconds", type=float, default=3, help="(%(default)s)")
    parser.add_argument("--share", type=float, default=4, help="the load (%(default)s)")
    parser.add_argument("--proxy", choices=PROXIES, default="nginx", help="(%(default)s)")
    parser.add_argument("--only", type=int, nargs="+", help="rows of the table, from 0 on")
    options = parser.parse_args(arguments)
    print(HEAD)
    for number, (name, command) in enumerate(SET_UPS.items()):
        if options.only is None or number in options.only:
            with serving(command, options.proxy) as (port, pid):
                print(row(name, asyncio.run(measure(port, pid, options))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
