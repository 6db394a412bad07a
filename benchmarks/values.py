"""`python -m benchmarks.values`: the JSON within the default limits that keeps other requests
waiting longest.

A task sleeps a millisecond at a time while a worker handles one body. The figure is the longest
time between two of its turns, because decoders and pydantic hold the interpreter's lock for a whole
document. The search sends every shape (values, repeated inside of an outer value) to every kind of
parameter, as long as the limits allow, and measures the worst of each kind again:

- *gap*: in processor time of this process, which other programs on the machine don't lengthen;
- *clock*: in time by the clock; the least of the rounds, as other programs only lengthen it.

`--values 50000` and `--bytes 1000000` search with other limits. `--all` prints every shape.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import time
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

import msgspec
import pydantic

from benchmarks.limits import JSON
from micropie import App, Body
from micropie._core.http.json import MOST_VALUES

ROUNDS, WORST = 5, 4


@dataclass
class Row:
    name: str
    count: int


@dataclass
class Order:
    names: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    named: dict[str, Row] = field(default_factory=dict)
    either: list[int | str | None] = field(default_factory=list)
    inner: list[Order] = field(default_factory=list)


class StructRow(msgspec.Struct):
    name: str
    count: int


class StructOrder(msgspec.Struct):
    names: list[str] = []
    numbers: list[int] = []
    rows: list[StructRow] = []
    named: dict[str, StructRow] = {}
    either: list[int | str | None] = []
    inner: list[StructOrder] = []


class ModelRow(pydantic.BaseModel):
    name: str
    count: int


class ModelPair(pydantic.BaseModel):
    name: str
    other: int


class ModelOrder(pydantic.BaseModel):
    names: list[str] = []
    numbers: list[int] = []
    rows: list[ModelRow] = []
    named: dict[str, ModelRow] = {}
    either: list[int | str | ModelRow | ModelPair] = []
    inner: list[ModelOrder] = []


class Site(App):
    async def anything(self) -> str:
        return str(type(self.request.json()))

    async def dict(self, order: Annotated[dict[str, Any], Body()]) -> str:
        return str(len(order))

    async def dataclass(self, order: Order) -> str:
        return str(len(order.names))

    async def struct(self, order: StructOrder) -> str:
        return str(len(order.names))

    async def pydantic(self, order: ModelOrder) -> str:
        return str(len(order.names))


KINDS = ("anything", "dict", "dataclass", "struct", "pydantic")

VALUES = (
    "0", "123456789", "1.5", "1.25e-7", "12345678901234567890123", "null", "true",
    '""', '"a"', '"longer than one character"', '"\\u00e9"',
    "[]", "[[]]", "[0]", "[[0]]", "[[[0],[0],[0]],[0]]", "[[[[[[[[[[0]]]]]]]]]]",
    "{}", '{"":0}', '{"a":0}', '{"a":{"b":0}}', '{"a":0,"b":0,"c":0,"d":0,"e":0,"f":0}',
    '{"name":"a","count":1}', '{"name":"a","count":"1"}', '{"name":1}', '{"name":"a","other":1}',
    '{"names":[]}', '{"inner":[{}]}', '{"rows":[{"name":"a","count":1}]}',
)  # fmt: skip
OUTER = (
    "[%s]", '{"names":[%s]}', '{"numbers":[%s]}', '{"rows":[%s]}', '{"either":[%s]}',
    '{"inner":[%s]}', '{"named":{%s}}', '{"other":{%s}}',
)  # fmt: skip


class Found(NamedTuple):
    gap: float
    clock: float
    status: int
    kind: str
    shape: str
    size: int


def count(text: str) -> int:
    """Return what the limit counts in a text without punctuation in its strings."""
    return 1 + sum(map(text.count, ",[{"))


def filled(outer: str, value: str, values: int, size: int) -> bytes:
    """Return the largest body of a shape that has at most so many values and bytes."""
    one = f'"123456":{value}' if "{%s}" in outer else value
    times = min(
        (values - count(outer % "")) // (count(one) + 1), (size - len(outer)) // (len(one) + 1)
    )
    if "{%s}" in outer:
        return (outer % ",".join(f'"{at:06}":{value}' for at in range(times))).encode()
    return (outer % ",".join([value] * times)).encode()


async def tick(gaps: list[float]) -> None:
    spent, clock = time.process_time(), time.perf_counter()
    while True:
        await asyncio.sleep(0.001)
        now, by_clock = time.process_time(), time.perf_counter()
        gaps[0], gaps[1] = max(gaps[0], now - spent), max(gaps[1], by_clock - clock)
        spent, clock = now, by_clock


async def measured(app: App, kind: str, body: bytes) -> tuple[float, float, int]:
    """Return the longest gaps of the task, in milliseconds, and the status."""
    headers = {"host": "x", "content-type": JSON, "content-length": str(len(body))}
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http",
        "method": "POST", "path": f"/{kind}", "raw_path": f"/{kind}".encode(), "query_string": b"",
        "root_path": "", "client": ("127.0.0.1", 5000), "server": ("localhost", 80), "state": {},
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return messages.pop() if messages else await asyncio.get_running_loop().create_future()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    gc.collect()
    gaps = [0.0, 0.0]
    ticking = asyncio.create_task(tick(gaps))
    await asyncio.sleep(0.003)
    await asyncio.create_task(app(scope, receive, send))
    await asyncio.sleep(0.003)
    ticking.cancel()
    return gaps[0] * 1000, gaps[1] * 1000, sent[0]["status"]


async def best(app: App, kind: str, body: bytes, rounds: int) -> tuple[float, float, int]:
    runs = [await measured(app, kind, body) for _ in range(rounds)]
    return min(one[0] for one in runs), min(one[1] for one in runs), runs[0][2]


async def search(values: int, size: int, kinds: tuple[str, ...] = KINDS) -> list[Found]:
    """Return what was found for every kind and shape, the worst of each kind first."""
    app, found = Site(loop_watchdog=False, max_json_values=values), list[Found]()
    gc.collect()
    gc.freeze()  # the collection before each request is to look at that request's objects only
    for kind in kinds:
        seen = []
        for outer in OUTER:
            for value in VALUES:
                body = filled(outer, value, values, size)
                if kind == "dict" and body.startswith(b"["):
                    continue
                seen.append((*await best(app, kind, body, 1), outer, value, len(body)))
        seen.sort(reverse=True)
        for at, (gap, clock, status, outer, value, length) in enumerate(seen):
            if at < WORST:
                body = filled(outer, value, values, size)
                gap, clock, status = await best(app, kind, body, ROUNDS)
            found.append(Found(gap, clock, status, kind, outer % value, length))
    gc.unfreeze()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--values", type=int, default=MOST_VALUES)
    parser.add_argument("--bytes", type=int, default=5 * 1024 * 1024 // 2)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    print("| kind | repeated | bytes | status | gap | clock |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    shown = dict[str, int]()
    for one in asyncio.run(search(options.values, options.bytes, (*options.kinds.split(","),))):
        shown[one.kind] = shown.get(one.kind, 0) + 1
        if options.all or shown[one.kind] <= WORST:
            print(
                f"| {one.kind} | `{one.shape}` | {one.size} | {one.status} | {one.gap:.1f} "
                f"| {one.clock:.1f} |"
            )


if __name__ == "__main__":
    main()
