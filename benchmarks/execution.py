"""`python -m benchmarks.execution`: handlers that compute, and how they delay others, depending on
where they run.

- The cost of passing a request to a process, beside the least code that does it.
- The time of eight simultaneous requests that compute: in one process of the pool, in two, in
  threads.
- The delay of an `async def` handler that is asked 200 times a second on one event loop, while two
  other handlers compute without end: in threads, then in processes, and while nothing else runs.

Everything is measured in interleaved rounds, of which the best counts. The last two need two idle
processors.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from statistics import median
from time import perf_counter
from typing import Any

import anyio
import anyio.abc

from benchmarks import report
from benchmarks.cases import BY_NAME
from benchmarks.goals import judge_execution
from benchmarks.overhead import Contender, Table, run_table
from micropie import App, run_in

PAUSE = 0.005  # seconds between two requests
COMPUTERS = 2
REQUESTS = 8
# times as many rounds of this: each is short, and one of them must find two free processors
SHORT = 8
STEPS = 1_000_000  # of one request's work: about 50 ms, so that the cost of the hop does not matter

PLAIN = (BY_NAME["plain"],)
TABLES = (
    Table(
        "process-asgi",
        "A handler in a process, under ASGI",
        (
            Contender("bare: run_in_executor", "process_apps", "make_asgi_executor"),
            Contender("micropie", "process_apps", "make_micropie"),
        ),
        PLAIN,
        asgi=True,
    ),
    Table(
        "process-wsgi",
        "A handler in a process, under WSGI",
        (
            Contender("bare: submit().result()", "process_apps", "make_wsgi_executor"),
            Contender("micropie", "process_apps", "make_micropie"),
        ),
        PLAIN,
    ),
)


def _compute(seconds: float) -> str:
    end = perf_counter() + seconds
    while perf_counter() < end:
        sum(range(1000))
    return "computed"


def _work(steps: int) -> str:
    total = 0
    for number in range(steps):
        total += number
    return str(total)


class Site(App):
    async def health(self) -> str:  # type: ignore[override]
        return "well"

    @run_in("thread")
    def in_thread(self, seconds: float) -> str:
        return _compute(seconds)

    @run_in("process")
    def in_process(self, seconds: float) -> str:
        return _compute(seconds)

    @run_in("thread")
    def work_in_thread(self, steps: int) -> str:
        return _work(steps)

    @run_in("process")
    def work_in_process(self, steps: int) -> str:
        return _work(steps)


async def ask(app: Any, path: str) -> bytes:
    """Make one request, as a server would. Return the answer's body."""
    bodies = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        bodies.append(message.get("body", b""))

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [],
        "scheme": "http",
    }
    await app(scope, receive, send)
    return b"".join(bodies)


async def at_once(app: App, path: str, count: int) -> float:
    """Return the seconds until `count` simultaneous requests have their answers."""
    start = perf_counter()
    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(ask, app, path)
    return perf_counter() - start


async def measure_work(rounds: int) -> dict[str, list[float]]:
    """Return where the work is done -> seconds for all requests, for each round."""
    one, two = Site(processes=1), Site(processes=2)
    ways: dict[str, Callable[[], Awaitable[float]]] = {
        "one process": lambda: at_once(one, f"/work_in_process/{STEPS}", REQUESTS),
        "two processes": lambda: at_once(two, f"/work_in_process/{STEPS}", REQUESTS),
        "threads": lambda: at_once(one, f"/work_in_thread/{STEPS}", REQUESTS),
    }
    await at_once(one, "/in_process/0.2", 1)
    await at_once(two, "/in_process/0.2", 2)
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            found[name].append(await way())
    return found


async def latencies(app: App, count: int) -> list[float]:
    """Return by how many seconds each of `count` requests is answered late, the smallest first."""
    found = []
    due = perf_counter()
    for _ in range(count):
        due = max(due + PAUSE, perf_counter())
        await anyio.sleep(max(0.0, due - perf_counter()))
        assert await ask(app, "/health") == b"well"
        found.append(perf_counter() - due)
    return sorted(found)


async def measure_latencies(count: int, rounds: int) -> dict[str, list[list[float]]]:
    """Return where the others compute -> latencies, for each round."""
    app = Site(pool_timeout=600, processes=COMPUTERS)
    seconds = count * PAUSE * 4  # longer than the requests take, even with delays
    await at_once(app, "/in_process/0.2", COMPUTERS)
    found: dict[str, list[list[float]]] = {"idle": [], "in_thread": [], "in_process": []}
    for _ in range(rounds):
        found["idle"].append(await latencies(app, count))
        for name in ("in_thread", "in_process"):
            async with anyio.create_task_group() as tasks:
                for _ in range(COMPUTERS):
                    tasks.start_soon(ask, app, f"/{name}/{seconds:g}")
                await anyio.sleep(0.2)
                found[name].append(await latencies(app, count))
    return found


def summary(found: Mapping[str, list[list[float]]]) -> dict[str, dict[str, float]]:
    """Return the best median and the best 99th percentile of all rounds."""
    return {
        name: {
            "median_ms": min(median(one) for one in rounds) * 1000,
            "p99_ms": min(one[int(len(one) * 0.99)] for one in rounds) * 1000,
        }
        for name, rounds in found.items()
    }


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.execution", description=__doc__.partition("\n")[0]
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="rounds; the best counts (%(default)s)"
    )
    parser.add_argument(
        "--batch", type=int, default=200, help="requests in a batch of hand-overs (%(default)s)"
    )
    parser.add_argument(
        "--count",
        type=int,
        default=300,
        help="questions for each latency and round (%(default)s)",
    )
    parser.add_argument(
        "--loop", choices=("asyncio", "uvloop"), default="asyncio", help="for the ASGI table"
    )
    parser.add_argument("--json", action="store_true", help="numbers, and no report")
    parser.add_argument("--check", action="store_true", help="exit with 1 unless every goal is met")
    parser.set_defaults(contenders=[], cases=[case.name for case in PLAIN], markdown=False)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    outcomes = [run_table(table, options) for table in TABLES]
    wrong = [said for outcome in outcomes for said in outcome.wrong]
    work = {
        name: min(found) for name, found in anyio.run(measure_work, options.rounds * SHORT).items()
    }
    late = summary(anyio.run(measure_latencies, options.count, options.rounds))
    verdicts = judge_execution(work, {name: found["p99_ms"] for name, found in late.items()})
    if options.json:
        hand_over = {outcome.table.key: outcome.summary(min) for outcome in outcomes}
        print(json.dumps({"hand_over_us": hand_over, "work_s": work, "latencies": late}, indent=2))
    else:
        for outcome in outcomes:
            titles = {case.name: case.title for case in outcome.cases}
            print(
                report.table(
                    outcome.table.title,
                    titles,
                    outcome.table.base,
                    outcome.summary(min),
                    outcome.missing,
                )
            )
        _print(work, late)
        print(report.goals(verdicts))
    print(*wrong, sep="\n")
    return int(bool(wrong) or (options.check and not all(verdict.met for verdict in verdicts)))


def _print(work: Mapping[str, float], late: Mapping[str, Mapping[str, float]]) -> None:
    print(f"### {REQUESTS} requests that compute, at once\n")
    for name, seconds in work.items():
        print(f"{name:14} {seconds:7.3f} s   {work['one process'] / seconds:5.2f}x")
    print(f"\n### A plain async handler beside {COMPUTERS} that compute\n")
    for name, found in late.items():
        times = found["p99_ms"] / late["idle"]["p99_ms"]
        print(
            f"{name:14} median {found['median_ms']:8.3f} ms   p99 "
            f"{found['p99_ms']:8.3f} ms   {times:6.2f}x"
        )
    print()


if __name__ == "__main__":
    raise SystemExit(main())
