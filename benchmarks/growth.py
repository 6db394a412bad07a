"""`python -m benchmarks.growth`: what grows with the number of routes, hooks, clients, bytes, and
what does not.

It runs in process: no socket, no server. Times are the best of several rounds, memory is the
process's own. `--write` writes the tables and the plots into the documentation, which needs
matplotlib.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import io
import json
import random
import re
import statistics
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import channels, report
from benchmarks.cases import FORM, Case
from benchmarks.harness import (
    PIECE,
    AsgiWorld,
    Entry,
    Head,
    Lifespan,
    Message,
    make_environ,
    make_scope,
    make_socket_scope,
    measure,
)
from micropie import App, HttpMiddleware, Request, WebSocket, reads_body
from micropie.channels import Channels

PLOTS = Path(__file__).parent / "results" / "growth"
KIB, MIB, GIB = 1024, 1024**2, 1024**3
PLAIN = Case("plain", "", "GET", "/plain", b"ok")

# the name of a line, which ends with its unit, and its value for one size
Figures = dict[str, float]


@dataclass(frozen=True)
class Options:
    rounds: int
    batch: int


@dataclass(frozen=True)
class Subject:
    """Something that may grow: how it is measured for one size."""

    key: str
    title: str
    axis: str
    sizes: tuple[int, ...]
    measure: Callable[[int, Options], Figures]
    is_bytes: bool = False


def best(app: App, cases: dict[str, Case], options: Options) -> Figures:
    """Return the best microseconds of each case, with its line's name."""
    with closing(AsgiWorld()) as world:
        world.start(app)
        for case in cases.values():
            answer = world.ask(app, case)
            if answer.status != 200 or answer.body != case.want:
                raise SystemExit(
                    f"{case.path[:80]}: a wrong answer: {answer.status} {answer.body[:200]!r}"
                )
        entries = [
            Entry(line, world, app, replace(case, name=line)) for line, case in cases.items()
        ]
        timings = measure(entries, rounds=options.rounds, batch=options.batch)
    return {f"{line}, µs": min(timings[line][line]) for line in cases}


def get(path: str, want: str, **more: Any) -> Case:
    return Case("", "", "GET", path, want.encode(), **more)


# --- routing --------------------------------------------------------------------------------------


async def page(self: App) -> str:
    return "ok"


async def show(number: int) -> str:
    return str(number)


async def greet(tenant: str) -> str:
    return tenant


def methods(count: int, options: Options) -> Figures:
    def make() -> App:
        app: App = type("Root", (App,), {f"page_{number}": page for number in range(count)})()
        return app

    return _routes(make, "methods", get(f"/page_{count - 1}", "ok"), options)


def explicit(count: int, options: Options) -> Figures:
    def make() -> App:
        app = App()
        for number in range(count):
            app.get(f"/shelves-{number}/<number:int>", name=f"shelf {number}")(show)
        return app

    return _routes(make, "explicit routes", get(f"/shelves-{count - 1}/7", "7"), options)


def wildcards(count: int, options: Options) -> Figures:
    def make() -> App:
        app = App()
        for number in range(count):
            app.get(f"/<tenant>/page-{number}", name=f"page {number}")(greet)
        return app

    return _routes(
        make, "routes that begin with a wildcard", get(f"/acme/page-{count - 1}", "acme"), options
    )


def routes(count: int, options: Options) -> Figures:
    return {**methods(count, options), **explicit(count, options), **wildcards(count, options)}


def _routes(make: Callable[[], App], kind: str, last: Case, options: Options) -> Figures:
    """Return the processor's time from the definition to the end of the startup, and the time to
    find the last route.

    The processor's, as a pause would count in full: this is done once, and not in rounds.
    """
    gc.collect()
    start = time.process_time()
    app = make()
    with closing(AsgiWorld()) as world:
        world.start(app)
        spent = time.process_time() - start
    return {
        f"set-up of {kind}, ms": spent * 1000,
        **best(app, {(f"the last of {kind}"): last}, options),
    }


class Leaf(App):
    async def plain(self) -> str:
        return "ok"


def nesting(depth: int, options: Options) -> Figures:
    by_name: App = Leaf()
    mounted: App = Leaf()
    for _ in range(depth):
        outer = App()
        outer.inner = by_name
        by_name = outer
        outer = App()
        outer.mount("/inner", mounted)
        mounted = outer
    path = "/inner" * depth + "/plain"
    return {
        **best(by_name, {"applications that are attributes": get(path, "ok")}, options),
        **best(mounted, {"mounted applications": get(path, "ok")}, options),
    }


def mounts(count: int, options: Options) -> Figures:
    def make() -> App:
        app = App()
        for number in range(count):
            app.mount(f"/shop-{number}", Leaf())
        return app

    return _routes(make, "mounts", get(f"/shop-{count - 1}/plain", "ok"), options)


# --- one request ----------------------------------------------------------------------------------


def parameters(count: int, options: Options) -> Figures:
    names = [f"p{number}" for number in range(count)]
    namespace: dict[str, Any] = {"__name__": __name__}  # a method is of its class's module
    source = (
        "async def many(self, "
        f"{', '.join(f'{name}: int' for name in names)}):\n    return "
        f"str(p{count - 1})"
    )
    exec(source, namespace)
    app: App = type("Root", (App,), {"many": namespace["many"]})()
    pairs = "&".join(f"{name}={number}" for number, name in enumerate(names))
    want = str(count - 1)
    return best(
        app,
        {
            "in the path": get("/many/" + "/".join(map(str, range(count))), want),
            "in the query": get("/many", want, query=pairs),
            "in a form": Case(
                "", "", "POST", "/many", want.encode(), body=pairs.encode(), content_type=FORM
            ),
        },
        options,
    )


def headers(count: int, options: Options) -> Figures:
    class Root(App):
        async def plain(self) -> str:
            return "ok"

        async def one(self) -> str:
            return self.request.headers["x-header-0"]

    sent = tuple((f"x-header-{number}", f"value {number}") for number in range(count))
    cases = {
        "none is read": replace(PLAIN, headers=sent),
        "one is read": get("/one", "value 0", headers=sent),
    }
    return best(Root(), cases, options)


class AsyncHooks(HttpMiddleware):
    async def before_request(self, request: Request) -> None:
        return None

    async def after_request(
        self,
        request: Request,
        status_code: int,
        response_body: Any,
        extra_headers: list[tuple[str, str]],
    ) -> None:
        return None


async def wraps(request: Request) -> AsyncIterator[None]:
    yield


def hooks(count: int, options: Options) -> Figures:
    found: Figures = {}
    middlewares: dict[str, Any] = {
        ("async hooks, before and after"): AsyncHooks(),
        "async generators": wraps,
    }
    for line, middleware in middlewares.items():
        app = Leaf()
        app.middlewares += [middleware] * count
        found |= best(app, {line: PLAIN}, options)
    return found


# --- many clients ---------------------------------------------------------------------------------


CHUNKS = 20


class Waiting(App):
    """Its streams and sockets send something and wait; all streams continue together."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()

    async def plain(self) -> str:
        return "ok"

    async def stream(self) -> AsyncIterator[str]:
        yield "first\n"
        await self.gate.wait()
        for _ in range(CHUNKS):
            await asyncio.sleep(0)
            yield "another chunk of text\n"

    async def ws_echo(self, ws: WebSocket) -> None:
        await ws.accept()
        while True:
            await ws.send_text(await ws.receive_text())


class Crowd:
    """Calls an application for many clients at once, each in a task, and waits until every one has
    been answered.
    """

    def __init__(self, app: Waiting, state: dict[str, Any]) -> None:
        self.app, self.state = app, state
        self.sent = 0
        self.tasks: list[asyncio.Task[None]] = []
        self.inboxes: list[asyncio.Queue[Message]] = []
        self._change = asyncio.Event()

    def join(self, scope: Message, first: Message) -> None:
        inbox: asyncio.Queue[Message] = asyncio.Queue()
        inbox.put_nowait(first)
        self.inboxes.append(inbox)
        self.tasks.append(asyncio.create_task(self.app(scope, inbox.get, self._send)))

    async def _send(self, message: Message) -> None:
        self.sent += 1
        self._change.set()

    async def answers(self, count: int) -> None:
        while self.sent < count:
            self._change.clear()
            await asyncio.wait_for(self._change.wait(), 60)

    async def plain(self, rounds: int) -> float:
        """Return the best microseconds of a plain request while all the others wait."""
        spent = []
        for _ in range(rounds * 20):
            scope = make_scope(PLAIN, self.state)
            inbox: asyncio.Queue[Message] = asyncio.Queue()
            inbox.put_nowait({"type": "http.request", "body": b"", "more_body": False})
            start = time.perf_counter()
            await self.app(scope, inbox.get, self._send)
            spent.append(time.perf_counter() - start)
        return min(spent) * 1e6


def streams(count: int, options: Options) -> Figures:
    async def fill(crowd: Crowd) -> None:
        for _ in range(count):
            scope = make_scope(replace(PLAIN, path="/stream"), crowd.state)
            crowd.join(scope, {"type": "http.request", "body": b"", "more_body": False})
        await crowd.answers(2 * count)  # the head and the first chunk

    async def end(crowd: Crowd) -> None:
        crowd.app.gate.set()
        await asyncio.gather(*crowd.tasks)

    async def chunk(crowd: Crowd) -> float:
        start = time.perf_counter()
        await end(crowd)
        return (time.perf_counter() - start) / (count * CHUNKS) * 1e6

    return {
        **asyncio.run(_meanwhile(count, fill, end, options)),
        "a chunk of one of them, µs": min(asyncio.run(_with_crowd(fill, chunk)) for _ in range(3)),
    }


def sockets(count: int, options: Options) -> Figures:
    async def fill(crowd: Crowd) -> None:
        for _ in range(count):
            crowd.join(make_socket_scope("/echo", crowd.state), {"type": "websocket.connect"})
        await crowd.answers(count)

    async def end(crowd: Crowd) -> None:
        for inbox in crowd.inboxes:
            inbox.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await asyncio.gather(*crowd.tasks)

    async def echo(crowd: Crowd) -> float:
        spent = []
        for inbox in random.choices(crowd.inboxes, k=options.rounds * 20):
            expected = crowd.sent + 1
            start = time.perf_counter()
            inbox.put_nowait({"type": "websocket.receive", "text": "hello"})
            await crowd.answers(expected)
            spent.append(time.perf_counter() - start)
        await end(crowd)
        return min(spent) * 1e6

    return {
        **asyncio.run(_meanwhile(count, fill, end, options)),
        "an echo by one of them, µs": asyncio.run(_with_crowd(fill, echo)),
    }


Work = Callable[[Crowd], Awaitable[Any]]


async def _with_crowd(fill: Work, work: Work) -> Any:
    app = Waiting()
    lifespan = Lifespan(app)
    await lifespan.startup()
    try:
        crowd = Crowd(app, lifespan.state)
        await fill(crowd)
        return await work(crowd)
    finally:
        await lifespan.shutdown()


async def _meanwhile(count: int, fill: Work, end: Work, options: Options) -> Figures:
    """Return the memory that each client takes, and the time of a plain request while all of them
    wait.
    """

    async def traced(crowd: Crowd) -> None:
        tracemalloc.start()  # resident memory says nothing of few clients
        await fill(crowd)

    async def size(crowd: Crowd) -> float:
        found = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        await end(crowd)
        return found / KIB / count

    async def plain(crowd: Crowd) -> float:
        spent = await crowd.plain(options.rounds)
        await end(crowd)
        return spent

    return {
        "memory of each, KiB": await _with_crowd(traced, size),
        "a plain request meanwhile, µs": await _with_crowd(fill, plain),
    }


def subscribers(count: int, options: Options) -> Figures:
    seconds = asyncio.run(channels.measure(Channels(), count, options.rounds * 5, blocked=False))
    middle = statistics.median(seconds)
    return {
        "until the last one has the message, ms": middle * 1000,
        "for each, µs": middle / count * 1e6,
    }


# --- bodies ---------------------------------------------------------------------------------------


class Bodies(App):
    @reads_body
    async def drain(self) -> str:
        size = 0
        async for chunk in self.request.stream():
            size += len(chunk)
        return str(size)

    async def pour(self, size: int) -> AsyncIterator[bytes]:
        for _ in range(size // KIB):
            yield PIECE_OF_BODY


class SyncBodies(App):
    @reads_body
    def drain(self) -> str:
        return str(sum(map(len, self.request.chunks())))

    def pour(self, size: int) -> Iterator[bytes]:
        for _ in range(size // KIB):
            yield PIECE_OF_BODY


PIECE_OF_BODY = b"x" * KIB


class Zeros(io.RawIOBase):
    """An endless file of zeros."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return len(buffer)


def bodies(size: int, options: Options) -> Figures:
    """Return how much a body of so many bytes raises the peak of this process's memory, and its
    speed.
    """
    received = Case("", "", "POST", "/drain", None, headers=(("content-length", str(size)),))
    sent = Case("", "", "GET", f"/pour/{size}", None)
    found: Figures = {}
    for protocol, call in {"ASGI": _asgi, "WSGI": _wsgi}.items():
        for line, case in {"received": received, "sent": sent}.items():
            gc.collect()
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
            before = _peak()
            spent = call(case, size)
            found[f"{protocol}, {line}: growth of the peak, MiB"] = (_peak() - before) / KIB
            found[f"{protocol}, {line}: speed, MB/s"] = size / 1e6 / spent
    return found


def _peak() -> float:
    """Return the peak of this process's memory in KiB. Linux only."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return float(found[1])


def _check_size(case: Case, size: int, body: bytes, length: int) -> None:
    found = int(body) if case.method == "POST" else length
    if found != size:
        raise SystemExit(f"a wrong answer: {found} instead of {size} bytes")


def _asgi(case: Case, size: int) -> float:
    """Call the application under ASGI. Return the seconds that it took."""
    app = Bodies(max_body_size=2 * GIB)
    piece, left = b"x" * PIECE, size if case.method == "POST" else 0
    body, length = b"", 0

    async def receive() -> Message:
        nonlocal left
        data = piece if left >= PIECE else piece[:left]
        left -= len(data)
        return {"type": "http.request", "body": data, "more_body": left > 0}

    async def send(message: Message) -> None:
        nonlocal body, length
        body = body or message.get("body", b"")
        length += len(message.get("body", b""))

    async def call() -> float:
        lifespan = Lifespan(app)
        await lifespan.startup()
        start = time.perf_counter()
        await app(make_scope(case, lifespan.state), receive, send)
        spent = time.perf_counter() - start
        await lifespan.shutdown()
        return spent

    spent = asyncio.run(call())
    _check_size(case, size, body, length)
    return spent


def _wsgi(case: Case, size: int) -> float:
    """Call the application under WSGI. Return the seconds that it took."""
    app = SyncBodies(max_body_size=2 * GIB)
    app(make_environ(Case("", "", "GET", "/nothing", None)), Head().start_response)  # compiles it
    environ = make_environ(case) | {"wsgi.input": io.BufferedReader(Zeros())}
    body, length = b"", 0
    start = time.perf_counter()
    for chunk in app(environ, Head().start_response):
        body = body or chunk
        length += len(chunk)
    spent = time.perf_counter() - start
    _check_size(case, size, body, length)
    return spent


# --- the command ----------------------------------------------------------------------------------

SUBJECTS = (
    Subject("routes", "Routes", "routes of each kind", (10, 1000, 10_000), routes),
    Subject("mounts", "Mounted applications", "mounts", (2, 10, 100), mounts),
    Subject("nesting", "Nested applications", "depth", (1, 4, 16, 64), nesting),
    Subject(
        "parameters", "Parameters of a handler, numbers", "parameters", (1, 4, 16, 64), parameters
    ),
    Subject("headers", "Headers of a request", "headers", (5, 20, 80), headers),
    Subject("hooks", "Middleware", "middlewares", (1, 2, 5, 10, 20), hooks),
    Subject("streams", "Open streams", "streams", (10, 100, 1000, 5000), streams),
    Subject("sockets", "Idle WebSockets", "WebSockets", (10, 100, 1000, 5000), sockets),
    Subject(
        "subscribers", "Subscribers of a channel", "subscribers", (10, 100, 1000, 5000), subscribers
    ),
    Subject(
        "bodies", "Size of a body", "bytes", (KIB, MIB, 16 * MIB, 128 * MIB), bodies, is_bytes=True
    ),
)

Results = dict[int, Figures]


def unit_of(line: str) -> str:
    return line.rpartition(", ")[2]


def size_title(subject: Subject, size: int) -> str:
    if not subject.is_bytes:
        return f"{size:,}"
    for unit, name in ((GIB, "GiB"), (MIB, "MiB")):
        if size >= unit:
            return f"{size // unit} {name}"
    return f"{size // KIB} KiB"


def table(subject: Subject, results: Results) -> str:
    sizes = list(results)
    lines = [f"| {' | '.join([subject.axis, *[size_title(subject, size) for size in sizes]])} |"]
    lines.append("| --- |" + " ---: |" * len(sizes))
    for line in results[sizes[0]]:
        cells = [f"{results[size][line]:,.1f}" for size in sizes]
        lines.append(f"| {' | '.join([line, *cells])} |")
    return "\n".join(lines) + "\n"


def plot(subject: Subject, results: Results, directory: Path) -> Path:
    """Draw a plot for each unit, both axes logarithmic, so that what grows with the number is a
    straight line.
    """
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "micropie", "font.size": 9})
    sizes = list(results)
    units = list(dict.fromkeys(map(unit_of, results[sizes[0]])))
    figure, axes = pyplot.subplots(
        1, len(units), figsize=(4 * len(units), 3), layout="constrained", squeeze=False
    )
    for unit, axis in zip(units, axes[0], strict=True):
        for line in (name for name in results[sizes[0]] if unit_of(name) == unit):
            axis.plot(
                sizes, [max(results[size][line], 0.1) for size in sizes], marker="o", label=line
            )
        axis.set(xscale="log", yscale="log", xlabel=subject.axis, ylabel=unit)
        axis.set_ylim(0.1, max(10, axis.get_ylim()[1]))
        axis.set_xticks(sizes, [size_title(subject, size) for size in sizes])
        axis.minorticks_off()
        axis.legend(fontsize=7)
    path = directory / f"{subject.key}.svg"
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    keys = [subject.key for subject in SUBJECTS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=10, help="rounds; the best counts (%(default)s)"
    )
    parser.add_argument("--batch", type=int, default=100, help="requests in a batch (%(default)s)")
    parser.add_argument(
        "--only", nargs="*", choices=keys, default=keys, help="subjects, all if it isn't given"
    )
    parser.add_argument(
        "--smallest",
        action="store_true",
        help="only the two smallest sizes, to try the program out",
    )
    parser.add_argument("--largest", action="store_true", help="also a body of 1 GiB")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument(
        "--write", action="store_true", help="write tables and plots into the documentation"
    )
    options = parser.parse_args(arguments)
    found: dict[str, Results] = {}
    sections = []
    for subject in SUBJECTS:
        if subject.key not in options.only:
            continue
        sizes = subject.sizes[:2] if options.smallest else subject.sizes
        if options.largest and subject.is_bytes:
            sizes += (GIB,)
        print(f"{subject.title} ...", file=sys.stderr, flush=True)
        # what is imported or compiled at its first use
        subject.measure(sizes[0], Options(1, options.batch))
        results = {
            size: subject.measure(size, Options(options.rounds, options.batch)) for size in sizes
        }
        found[subject.key] = results
        section = f"## {subject.title}\n\n{table(subject, results)}"
        print(section, flush=True)
        if options.write:
            PLOTS.mkdir(exist_ok=True)
            path = plot(subject, results, PLOTS)
            section += f"\n![{subject.title}]({PLOTS.name}/{path.name})\n"
        sections.append(section)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    if options.write:
        report.write_section(
            "growth",
            f"Measured on {report.today()}. {report.machine()}\n\n" + "\n".join(sections),
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
