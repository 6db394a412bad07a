"""`python -m benchmarks.batches`: a model in the process pool, called for each row or in batches.

The model is eight float32 matrices of 1,024 by 1,024, with one BLAS thread, in two processes. Each
request computes one row. The clients send one request after the other to an ASGI application in
process: 32 of them, then one alone. Both ways take turns. It needs NumPy and two idle processors.

A batch of one client leaves the processors idle while it waits for more rows, and after a pause
the same computation takes longer. So a client with single calls pauses as long between them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Sequence
from importlib import import_module
from time import perf_counter
from typing import Any, NamedTuple

import anyio
import anyio.abc

from benchmarks.execution import ask
from micropie import App, batched

MATRICES, WIDTH, PROCESSES, CLIENTS = 8, 1024, 2, 32
SIZE, WITHIN = 32, 0.005
FASTER = 3  # times the throughput of single calls, at least

model: list[Any] = []  # in a process of the pool
WAYS = ("single", "batched")


def load() -> None:
    """Make the model. Each process calls this when it starts."""
    numbers = import_module("numpy").random.default_rng(7)
    model[:] = numbers.standard_normal((MATRICES, WIDTH, WIDTH), dtype="float32") / WIDTH**0.5


def predict_many(rows: list[Any]) -> list[int]:
    numpy = import_module("numpy")
    values = numpy.stack(rows)
    for matrix in model:
        values = numpy.maximum(values @ matrix, 0)
    found: list[int] = values.argmax(axis=1).tolist()
    return found


def predict_one(row: Any) -> int:
    return predict_many([row])[0]


predict = batched(predict_many, size=SIZE, within=WITHIN)


class Site(App):
    def __init__(self) -> None:
        super().__init__(processes=PROCESSES, pool_startup=[load])
        numbers = import_module("numpy").random.default_rng(1)
        self.rows = numbers.standard_normal((CLIENTS, WIDTH), dtype="float32")

    async def single(self, number: int) -> int:
        return await self.pool.run(predict_one, self.rows[number])

    async def batched(self, number: int) -> int:
        return await predict(self.rows[number])


class Round(NamedTuple):
    """`times`: the seconds of each request, the smallest first."""

    per_second: float
    times: list[float]

    @property
    def p99(self) -> float:
        return self.times[int(len(self.times) * 0.99)]


async def measure_round(app: Site, way: str, clients: int, seconds: float) -> Round:
    """Have the clients send requests for some seconds."""
    times: list[float] = []
    start = perf_counter()
    pause = WITHIN if clients == 1 and way == "single" else 0

    async def visit(number: int) -> None:
        while perf_counter() < start + seconds:
            await anyio.sleep(pause)
            began = perf_counter()
            assert (await ask(app, f"/{way}/{number}")).isdigit()
            times.append(perf_counter() - began)

    async with anyio.create_task_group() as tasks:
        for number in range(clients):
            tasks.start_soon(visit, number)
    return Round(len(times) / (perf_counter() - start), sorted(times))


async def measure(seconds: float, rounds: int) -> dict[int, dict[str, list[Round]]]:
    """Return number of clients -> way -> rounds, after a round that warms up."""
    app = Site()
    found: dict[int, dict[str, list[Round]]] = {}
    try:
        for clients in (CLIENTS, 1):
            found[clients] = {way: [] for way in WAYS}
            for number in range(rounds + 1):
                for way in WAYS:
                    one = await measure_round(app, way, clients, seconds)
                    if number:
                        found[clients][way].append(one)
    finally:
        app.pool.close()
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.batches", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="of a round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="the median counts (%(default)s)")
    parser.add_argument("--json", action="store_true", help="numbers, and no report")
    parser.add_argument("--check", action="store_true", help="exit with 1 unless every goal is met")
    options = parser.parse_args(arguments)
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = "1"  # the processes inherit it
    found = anyio.run(measure, options.seconds, options.rounds)
    rows = {
        (clients, way): (
            statistics.median(one.per_second for one in each),
            statistics.median(statistics.median(one.times) for one in each),
            statistics.median(one.p99 for one in each),
        )
        for clients, ways in found.items()
        for way, each in ways.items()
    }
    many, alone = ([rows[clients, way] for way in WAYS] for clients in (CLIENTS, 1))
    longer = alone[1][1] - alone[0][1]
    goals = {
        f"at least {FASTER} times as many a second": many[1][0] >= FASTER * many[0][0],
        "p99 at most that of single calls": many[1][2] <= many[0][2],
        f"one client waits at most {WITHIN * 1e3:g} ms longer": longer <= WITHIN,
    }
    if options.json:
        print(json.dumps({f"{clients} {way}": row for (clients, way), row in rows.items()}))
    else:
        print(
            "| clients | calls | a second | median, ms | p99, ms |\n"
            "| ---: | --- | ---: | ---: | ---: |"
        )
        for (clients, way), (per_second, median, p99) in rows.items():
            print(
                f"| {clients} | {way} | {per_second:,.0f} | {median * 1e3:.2f} | {p99 * 1e3:.2f} |"
            )
        print(
            f"\n{many[1][0] / many[0][0]:.2f} times as many; alone {longer * 1e3:.2f} ms longer\n"
        )
        for goal, is_met in goals.items():
            print(f"- {'met' if is_met else 'MISSED'}: {goal}")
    return int(options.check and not all(goals.values()))


if __name__ == "__main__":
    raise SystemExit(main())
