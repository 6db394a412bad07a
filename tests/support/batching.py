"""An application whose handlers call functions in batches."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio

from micropie import App, HTTPError, WebSocket, batched, run_async
from micropie._core.execution import slots_of
from micropie.middleware import Timeout, ends_with_client
from micropie.testing import TestClient
from tests.support.pooled import Readable
from tests.support.waiting import PATIENCE

# In an executor's threads, the functions below use the objects of the tests' own process.
seen: list[list[Any]] = []  # the rows of each batch
gate, at_gate = threading.Event(), threading.Semaphore(0)


def doubled(rows: list[int]) -> list[int]:
    seen.append(rows)
    return [2 * row for row in rows]


def held(rows: list[int]) -> list[int]:
    """Go on when the gate is open."""
    seen.append(rows)
    at_gate.release()
    assert gate.wait(PATIENCE)
    return rows


def judged(rows: list[str]) -> Iterable[Any]:
    outcomes: dict[str, Any] = {
        "fine": "fine",
        "missing": HTTPError(404, "no such pie"),
        "fails": ValueError("burnt"),
        "exits": SystemExit(3),
        "lock": threading.Lock(),
        "holding": Holding("oh"),
        "unreadable": Readable("process"),
        "unreadable_error": ValueError(Readable("process")),
    }
    for row in rows:
        yield outcomes[row]


def placed(rows: list[tuple[str, object]]) -> Iterable[Any]:
    seen.append([row for row, _ in rows])
    return judged(seen[-1])


class Holding(Exception):
    """An exception that can't be pickled."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


def fails(rows: list[str]) -> list[str]:
    raise KeyError(*rows)


def returns(rows: list[str]) -> Any:
    """Return what the first row says, however many rows there are."""
    return {"too few": [1], "too many": [1, 2, 3], "nothing": None}[rows[0]]


def pids(rows: list[str]) -> list[int]:
    """Return the process's number for each row. If the rows are names of files, create these, and
    go on for longer than any test, unless a file with ``.go`` exists, too.
    """
    for row in filter(None, rows):
        Path(row).touch()
        until = time.monotonic() + 600
        while not Path(row + ".go").exists() and time.monotonic() < until:
            time.sleep(0.005)
    return [os.getpid() for _ in rows]


SOON, LATE = 0.01, 600.0

alone = batched(doubled, size=32, within=SOON)
at_once = batched(doubled, size=32, within=0)
in_twos = batched(doubled, size=2, within=LATE)
in_fours = batched(doubled, size=4, within=LATE)
held_one = batched(held, size=1, within=LATE)
held_three = batched(held, size=3, within=LATE)
held_soon = batched(held, size=3, within=0)
verdict = batched(judged, size=3, within=LATE)
placed_three = batched(placed, size=3, within=LATE)
failing = batched(fails, size=2, within=LATE)
returning = batched(returns, size=2, within=LATE)
pid = batched(pids, size=2, within=SOON)


class Batching(App):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.raised: list[BaseException] = []

    def has_batch_waiting(self) -> bool:
        """Return whether calls wait for a process on the current event loop."""
        return slots_of(self.pool.threads).usage()[1] > 0

    async def doubles(self, number: int, size: int = 4) -> int:
        return await {1: alone, 2: in_twos, 4: in_fours}[size](number)

    def doubles_in_def(self, number: int, size: int = 4) -> int:
        return run_async({1: alone, 2: in_twos, 4: in_fours}[size], number)

    async def doubles_many(self) -> Any:
        found: dict[int, int] = {}

        async def one(number: int) -> None:
            found[number] = await at_once(number)

        async with anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(one, number)
        return [found[number] for number in range(3)]

    async def ws_doubles(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_json(await alone(int(await ws.receive_text())))

    async def verdict(self, row: str) -> Any:
        return await verdict(row)

    async def placed(self, row: str, place: str) -> Any:
        return await placed_three((row, Readable(place)))

    async def fails(self, row: str) -> Any:
        try:
            return await failing(row)
        except KeyError as error:
            self.raised.append(error)
            raise

    async def returns(self, row: str) -> Any:
        return await returning(row)

    async def unpicklable(self) -> Any:
        return await in_fours(threading.Lock())  # type: ignore[arg-type]

    async def holds(self, number: int) -> Any:
        return await held_one(number)

    async def holds_three(self, number: int) -> Any:
        return await held_three(number)

    async def holds_soon(self, number: int) -> Any:
        return await held_soon(number)

    @Timeout(0.05)
    async def limited(self, number: int) -> Any:
        return await in_fours(number)

    @Timeout(0.05)
    def limited_in_def(self, number: int) -> Any:
        return run_async(in_fours, number)

    @ends_with_client
    async def ends(self, number: int) -> Any:
        return await in_fours(number)

    @ends_with_client
    async def pid(self, file: str = "") -> Any:
        return await pid(file)


def ask(client: TestClient, *paths: str) -> list[tuple[int, str]]:
    """Make these requests at the same time. Return status and body of each response."""
    with ThreadPoolExecutor(len(paths)) as visitors:
        answers = visitors.map(client.get, paths)
        return [(answer.status_code, answer.text) for answer in answers]
