"""`python -m benchmarks.execution`: what handlers that compute cost the others, by where they run.

An `async def` handler is asked 200 times a second on one event loop, in this process, while two handlers compute
without end: in threads, then in processes. What is reported is how late its answers are: the median and the 99th
percentile, beside those of an idle application.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from statistics import median
from time import perf_counter
from typing import Any

import anyio
import anyio.abc

from micropie import App, pooled, threaded

PAUSE = 0.005  # seconds between two questions
COMPUTERS = 2


def _compute(seconds: float) -> str:
    end = perf_counter() + seconds
    while perf_counter() < end:
        sum(range(1000))
    return "computed"


class Site(App):
    async def health(self) -> str:
        return "well"

    @threaded
    def in_thread(self, seconds: float) -> str:
        return _compute(seconds)

    @pooled
    def in_process(self, seconds: float) -> str:
        return _compute(seconds)


async def ask(app: Any, path: str) -> bytes:
    """One request, as a server would make it; the answer's body."""
    bodies = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        bodies.append(message.get("body", b""))

    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": [], "scheme": "http"}
    await app(scope, receive, send)
    return b"".join(bodies)


async def latencies(app: App, count: int) -> list[float]:
    """How long after its time each of `count` questions has its answer, in seconds, the shortest first."""
    found = []
    due = perf_counter()
    for _ in range(count):
        due = max(due + PAUSE, perf_counter())
        await anyio.sleep(max(0.0, due - perf_counter()))
        assert await ask(app, "/health") == b"well"
        found.append(perf_counter() - due)
    return sorted(found)


async def measure(count: int) -> dict[str, dict[str, float]]:
    app = Site(pool_timeout=600)
    for _ in range(COMPUTERS):
        await ask(app, "/in_process/0")
    results = {"idle": await latencies(app, count)}
    seconds = count * PAUSE * 4
    for name in ("in_thread", "in_process"):
        async with anyio.create_task_group() as tasks:
            for _ in range(COMPUTERS):
                tasks.start_soon(ask, app, f"/{name}/{seconds:g}")
            await anyio.sleep(0.2)
            results[name] = await latencies(app, count)
    return {
        name: {"median_ms": median(found) * 1000, "p99_ms": found[int(len(found) * 0.99)] * 1000}
        for name, found in results.items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=1000, help="questions for each line of the report")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    results = anyio.run(measure, options.count)
    if options.json:
        print(json.dumps(results, indent=2))
        return
    idle = results["idle"]["p99_ms"]
    for name, found in results.items():
        times = found["p99_ms"] / idle
        print(f"{name:12} median {found['median_ms']:8.3f} ms   p99 {found['p99_ms']:8.3f} ms   {times:6.2f}x")


if __name__ == "__main__":
    main()
