"""`python -m benchmarks.techempower`: TechEmpower's six shapes behind uvicorn and gunicorn, on
SQLite, and on PostgreSQL with `--postgres URL`.

The shapes: a text, JSON, one row, twenty rows in twenty queries, a page of escaped rows, twenty
rows that are read and changed. Each application is written as its framework's documentation writes
it (`apps/techempower/`). The time is that of the server's processor, as in `behind`, so a slow
client or database doesn't count.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import random
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks import report
from benchmarks.apps.techempower import data
from benchmarks.behind import processor_time
from benchmarks.features import TABLES
from benchmarks.harness import Timings, Unavailable
from benchmarks.overhead import versions
from benchmarks.processes import free_port, running, uvicorn

ASGI = ("micropie", "starlette", "fastapi", "falcon", "blacksheep")
WSGI = ("micropie", "flask", "bottle")
SHAPES = {
    "/plaintext": "plain text",
    "/json": "JSON",
    "/db": "one query",
    "/queries?n=20": "20 queries",
    "/fortunes": "fortunes",
    "/updates?n=20": "20 updates",
}
CONNECTIONS = 8
WARM = 100  # requests before the first round


@contextlib.contextmanager
def gunicorn(factory: str) -> Iterator[tuple[int, int]]:
    """Run a gunicorn, one worker with four threads. Yields its port and process id."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--threads", "4", "--log-level", "critical"]
    with running([*command, "--bind", f"127.0.0.1:{port}", f"{factory}()"], port) as server:
        yield port, server.pid


def is_right(path: str, body: bytes) -> bool:
    """Return whether an answer is that of its shape: a fast error is no result."""
    if path == "/plaintext":
        return body == b"Hello, World!"
    if path == "/fortunes":
        return b"&lt;script&gt;" in body and data.ADDED[1].encode() in body
    value = json.loads(body)
    if path == "/json":
        return bool(value == {"message": "Hello, World!"})
    rows = [value] if path == "/db" else value
    return len(rows) in (1, 20) and all(row.keys() == {"id", "randomNumber"} for row in rows)


def ask(port: int, path: str, count: int) -> None:
    """Send requests over one connection. Raises ``SystemExit`` for a wrong answer."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as client:
        for _ in range(count):
            client.request("GET", path)
            response = client.getresponse()
            body = response.read()
            if response.status != 200 or not is_right(path, body):
                raise SystemExit(f"{path}: {response.status} {body[:200]!r}")


def measure(served: dict[str, tuple[int, int]], rounds: int, batch: int) -> Timings:
    """Return contender -> shape -> the microseconds of a request in each round."""
    timings: Timings = {}
    turns = [(name, path) for name in served for path in SHAPES]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for number in range(rounds + 1):
            for name, path in random.sample(turns, len(turns)):
                (port, pid), each = served[name], (batch if number else WARM) // CONNECTIONS
                before = processor_time(pid)
                [*pool.map(ask, [port] * CONNECTIONS, [path] * CONNECTIONS, [each] * CONNECTIONS)]
                spent = (processor_time(pid) - before) / each / CONNECTIONS / 1000
                if number:
                    timings.setdefault(name, {}).setdefault(path, []).append(spent)
    return timings


def table(
    server: Callable[..., contextlib.AbstractContextManager[tuple[int, int]]],
    names: Sequence[str],
    rounds: int,
    batch: int,
) -> str:
    """Return the table of a server and of the database that the environment names."""
    missing: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        served = {}
        for name in names:
            kind = "make_asgi" if server is uvicorn else "make_wsgi"
            try:
                served[name] = stack.enter_context(
                    server(f"benchmarks.apps.techempower.{name}_app:{kind}")
                )
            except Unavailable as error:
                missing[name] = str(error)
        timings = measure(served, rounds, batch)
    best = {name: {path: min(spent) for path, spent in timings[name].items()} for name in served}
    database = "PostgreSQL" if os.environ["TECHEMPOWER_DATABASE"].startswith("post") else "SQLite"
    return report.table(f"{server.__name__}, {database}", SHAPES, "micropie", best, missing)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.techempower", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="the least counts (%(default)s)")
    parser.add_argument("--batch", type=int, default=800, help="requests of a round (%(default)s)")
    parser.add_argument(
        "--contenders", default=",".join(dict.fromkeys(ASGI + WSGI)), help="(%(default)s)"
    )
    parser.add_argument("--postgres", metavar="URL", help="an empty database: postgresql://...")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    print(
        f"{report.machine()} {CONNECTIONS} connections, best of {options.rounds} rounds of "
        f"{options.batch} requests; processor time of the server in microseconds per request.\n"
        f"Measured: {', '.join(map(' '.join, versions(TABLES).items()))}.\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "worlds.sqlite"))
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            data.create(connection, "?")
        databases = [path]
        if options.postgres:
            import psycopg

            with psycopg.connect(options.postgres) as postgres:
                data.create(postgres, "%s")
            databases.append(options.postgres)
        for database in databases:
            os.environ["TECHEMPOWER_DATABASE"] = database
            for server, names in (uvicorn, ASGI), (gunicorn, WSGI):
                chosen = [name for name in names if name in options.contenders.split(",")]
                print(table(server, chosen, options.rounds, options.batch))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
