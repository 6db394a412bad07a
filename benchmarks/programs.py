"""`python -m benchmarks.programs`: twenty requests of two public programs, each on its own
framework behind gunicorn's threads, and moved by its import line behind gunicorn and uvicorn.

Each server has one worker, whose processor time is counted in nanoseconds by the kernel (so it
needs Linux). The three take turns with slices of one kind of request, and the least of the rounds
counts.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import tempfile
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from statistics import median
from typing import NamedTuple
from urllib.parse import urlencode

from benchmarks.apps.program_apps import PASSWORD
from benchmarks.behind import processor_time
from benchmarks.moving import serving

SIDES = (
    ("original, gunicorn", "gunicorn", "make_{}"),
    ("moved, gunicorn", "gunicorn", "make_moved_{}"),
    ("moved, uvicorn", "uvicorn", "make_moved_{}"),
)
BASIC = (("Authorization", "Basic " + b64encode(f"admin:{PASSWORD}".encode()).decode()),)


class Ask(NamedTuple):
    """One kind of GET request, and the status of its response."""

    path: str
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


PROGRAMS = {
    "pypiserver": (
        Ask("/"),
        Ask("/health"),
        Ask("/simple/"),
        Ask("/simple/first/"),
        Ask("/simple/first", 301),
        Ask("/simple/none/", 404),
        Ask("/packages/"),
        Ask("/packages/first-1.0.tar.gz"),
        Ask("/packages/first-1.0.tar.gz", 206, (("Range", "bytes=0-99"),)),
        Ask("/first/json"),
    ),
    "rdiffweb": (
        Ask("/", 303),
        Ask("/home/admin/"),
        Ask("/prefs/general"),
        Ask("/prefs/session"),
        Ask("/admin/users/"),
        Ask("/admin/sysinfo/"),
        Ask("/api/currentuser/", 200, BASIC),
        Ask("/static/main.css"),
        Ask("/favicon.ico"),
        Ask("/none", 404),
    ),
}


class Side(NamedTuple):
    """One program on one framework behind one server, and a visitor's cookie."""

    name: str
    pid: int
    port: int
    cookie: dict[str, str]


@contextmanager
def sides(program: str) -> Iterator[list[Side]]:
    """Run a program three times, each with data of its own."""
    with ExitStack() as stack:
        found = []
        for name, server, factory in SIDES:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            os.environ["PROGRAM_DATA"] = folder
            running = serving(server, factory.format(program), "program_apps")
            port, pid = stack.enter_context(running)
            cookie = log_in(port) if program == "rdiffweb" else {}
            found.append(Side(name, pid, port, cookie))
        yield found


def log_in(port: int) -> dict[str, str]:
    """Log in to rdiffweb and return the header with the session's cookie."""
    form = urlencode({"login": "admin", "password": PASSWORD}).encode()
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as visitor:
        cookie = sent(visitor, "GET", "/login/", {}, b"")[1]
        kind = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": cookie}
        status, cookie = sent(visitor, "POST", "/login/", kind, form)
    if status != 303:
        raise SystemExit(f"rdiffweb refuses its own password: status {status}")
    return {"Cookie": cookie}


def sent(
    visitor: HTTPConnection, method: str, path: str, headers: Mapping[str, str], body: bytes
) -> tuple[int, str]:
    """Send a request and return its response's status and cookie."""
    visitor.request(method, path, body, headers)
    response = visitor.getresponse()
    response.read()
    found = re.match("[^;]*", response.getheader("Set-Cookie", ""))
    return response.status, found[0] if found else ""


def slice_of(side: Side, ask: Ask, count: int) -> float:
    """Send so many requests and return the worker's processor time for one, in microseconds.

    Raises ``SystemExit`` for a response of another status.
    """
    before = processor_time(side.pid)
    headers = side.cookie | dict(ask.headers)
    with closing(HTTPConnection("127.0.0.1", side.port, timeout=30)) as visitor:
        for _ in range(count):
            status, _ = sent(visitor, "GET", ask.path, headers, b"")
            if status != ask.status:
                raise SystemExit(f"{side.name}, {ask.path}: {status} instead of {ask.status}")
    return (processor_time(side.pid) - before) / count / 1000


def measured(program: str, rounds: int, count: int) -> str:
    """Return a table of a program's requests."""
    asks = PROGRAMS[program]
    with sides(program) as found:
        spent: dict[tuple[str, Ask], list[float]] = {}
        for side in found:
            for ask in asks:
                slice_of(side, ask, min(count, 50))
        for _ in range(rounds):
            for ask in asks:
                for side in random.sample(found, len(found)):
                    spent.setdefault((side.name, ask), []).append(slice_of(side, ask, count))
    names = [name for name, *_ in SIDES]
    lines = [f"| {program} | original, us | gunicorn | uvicorn |", "|---|---:|---:|---:|"]
    ratios: list[list[float]] = [[], []]
    for ask in asks:
        first, *ours = (min(spent[name, ask]) for name in names)
        for one, row in zip(ours, ratios, strict=True):
            row.append(one / first)
        cells = " | ".join(f"{one / first:.2f}" for one in ours)
        lines.append(f"| {' '.join([ask.path, *dict(ask.headers)])} | {first:.0f} | {cells} |")
    lines.append(f"| median | | {' | '.join(f'{median(row):.2f}' for row in ratios)} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.programs", description=__doc__)
    parser.add_argument("--rounds", type=int, default=4, help="of each request (%(default)s)")
    parser.add_argument("--batch", type=int, default=2000, help="requests a slice (%(default)s)")
    parser.add_argument("--only", choices=PROGRAMS, help="one of the programs")
    options = parser.parse_args(arguments)
    for program in [options.only] if options.only else PROGRAMS:
        print(measured(program, options.rounds, options.batch))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
