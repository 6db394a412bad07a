"""`python -m benchmarks.behind`: the processor time of a request behind uvicorn or granian, beside
other frameworks.

Where `overhead` and `features` show what a framework costs alone, this shows what is left of that
behind a server of one worker. The time is that of the server's threads, which the kernel counts in
nanoseconds (so it needs Linux), and not that of a clock: a load generator on the same machine
hardly changes it. `--beside DIRECTORY` adds another checkout of micropie.

The load comes from `h2load`. Contenders take turns in short rounds, and the least time of the
rounds counts.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import http.client
import json
import os
import random
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks import report
from benchmarks.apps import served_app
from benchmarks.cases import BY_NAME, EVERYDAY_CASES, Answer, Case, complaint
from benchmarks.features import ASGI, BASE, TABLES
from benchmarks.goals import OURS
from benchmarks.harness import Timings, Unavailable, headers_of, signed_in
from benchmarks.overhead import versions
from benchmarks.processes import ROOT, granian, uvicorn

SERVERS = {"uvicorn": uvicorn, "granian": granian}
MODULES = {contender.name: contender.module.removeprefix("features.") for contender in ASGI}
COLUMNS = ("plain", "json", "path", "query", "form", "submit", "stream", "route", "hooks", "session", "cookie",  # noqa: E501
           "template", "file", "not-modified", "not-found", "bad-request", "redirect")  # fmt: skip
CASES = {case.name: case for case in (*BY_NAME.values(), *EVERYDAY_CASES) if case.name in COLUMNS}
SENT_BY_H2LOAD = {"host", "connection", "content-length"}
CONNECTIONS = 8
WARM = 300  # requests before the first round


@dataclass(frozen=True)
class Served:
    """A contender behind a server, and the cases that its application there answers."""

    name: str
    port: int
    pid: int
    cases: dict[str, Case]


class Client:
    """Asks a server on a port."""

    def ask(self, app: int, case: Case) -> Answer:
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", app, timeout=10)
        ) as connection:
            connection.request(case.method, target_of(case), case.body, headers_of(case))
            response = connection.getresponse()
            pairs = [(name.lower(), value) for name, value in response.getheaders()]
            cookies = tuple(value for name, value in pairs if name == "set-cookie")
            return Answer(response.status, dict(pairs), (response.read(),), cookies)


def target_of(case: Case) -> str:
    return f"{case.path}?{case.query}" if case.query else case.path


def groups_of(module: str) -> list[list[str]]:
    """Return the cases of a contender: in a list those that one application answers."""
    groups: dict[int, list[str]] = {}
    for name, app in served_app.applications(module).items():
        if name in CASES:
            groups.setdefault(id(app), []).append(name)
    return list(groups.values())


@contextlib.contextmanager
def serving(
    server: str, name: str, module: str, checkout: str, names: Sequence[str]
) -> Iterator[Served]:
    """Run a server with a contender's application for these cases, and check its answers: a fast
    404 is no result.
    """
    os.environ |= {
        served_app.MODULE: module,
        served_app.CASE: names[0],
        served_app.CHECKOUT: checkout,
    }
    with SERVERS[server]("benchmarks.apps.served_app:make_asgi") as (port, pid):
        cases = {}
        for case in (CASES[each] for each in names):
            cases[case.name] = signed_in(Client(), port, case)
            said = complaint(
                cases[case.name], Client().ask(port, cases[case.name]), whole_chunks=False
            )
            if said:
                raise SystemExit(f"{name}, {case.title}: {said}")
        yield Served(name, port, pid, cases)


def load(h2load: str, port: int, case: Case, count: int) -> None:
    """Send so many requests.

    Raises ``SystemExit`` unless each gets an answer of the case's class of status.
    """
    with tempfile.NamedTemporaryFile() as body:
        body.write(case.body)
        body.flush()
        own = {
            name: value for name, value in headers_of(case).items() if name not in SENT_BY_H2LOAD
        }
        headers = [option for name, value in own.items() for option in ("-H", f"{name}: {value}")]
        sent = ["-d", body.name] if case.body else []
        command = [h2load, "--h1", f"-n{count}", f"-c{CONNECTIONS}", "-t1", *headers, *sent]
        command.append(f"http://127.0.0.1:{port}{target_of(case)}")
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    if not re.search(
        (
            rf"^status codes:.*\b{count} "
            rf"{case.status // 100}xx"
        ),
        done.stdout,
        re.MULTILINE,
    ):
        raise SystemExit(f"{case.title}: h2load says:\n{done.stdout}{done.stderr}")


def processor_time(pid: int) -> int:
    """Return the nanoseconds that a process and its children have had a processor, threads that
    ended included.
    """
    clock = ctypes.c_int()
    if ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock)):
        raise SystemExit(f"the server has ended (process {pid})")
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return time.clock_gettime_ns(clock.value) + sum(map(processor_time, map(int, children)))


def measure(served: Sequence[Served], h2load: str, rounds: int, batch: int) -> Timings:
    """Return contender -> case -> the microseconds of a request in each round."""
    turns = [(one, case) for one in served for case in one.cases.values()]
    timings: Timings = {}
    for number in range(rounds + 1):
        for one, case in random.sample(turns, len(turns)):
            count = case.batch_size(batch) if number else case.batch_size(WARM) + CONNECTIONS
            before = processor_time(one.pid)
            load(h2load, one.port, case, count)
            if number:
                spent = (processor_time(one.pid) - before) / count / 1000
                timings.setdefault(one.name, {}).setdefault(case.name, []).append(spent)
    return timings


def table(timings: Timings, names: Sequence[str]) -> str:
    measured = {case for row in timings.values() for case in row}
    cases = {name: CASES[name].title for name in COLUMNS if name in measured}
    best, medians = (
        {
            name: {case: of(row) for case, row in timings[name].items()}
            for name in names
            if name in timings
        }
        for of in (min, median)
    )
    slower = report.behind(cases, best, OURS, BASE)
    return (
        f"{report.by_case(cases, best, medians, base=BASE)}\nWhere micropie is slower:\n\n{slower}"
    )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.behind", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="the least counts (%(default)s)")
    parser.add_argument("--batch", type=int, default=2000, help="requests of a round (%(default)s)")
    parser.add_argument("--contenders", default=",".join(MODULES), help="(%(default)s)")
    parser.add_argument("--cases", default=",".join(COLUMNS), help="(%(default)s)")
    parser.add_argument("--server", choices=SERVERS, default="uvicorn", help="(%(default)s)")
    parser.add_argument(
        "--beside",
        action="append",
        type=Path,
        default=[],
        metavar="DIRECTORY",
        help="another checkout",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round's numbers")
    parser.add_argument(
        "--write", action="store_true", help="write the table into the documentation"
    )
    options = parser.parse_args(arguments)
    for option, known in (("contenders", MODULES), ("cases", COLUMNS)):
        unknown = set(getattr(options, option).split(",")) - set(known)
        if unknown:
            parser.error(f"unknown: {', '.join(sorted(unknown))}")
        setattr(options, option, getattr(options, option).split(","))
    if min(options.rounds, options.batch) <= 0:
        parser.error("rounds and batch are more than 0")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    h2load = shutil.which("h2load")
    if h2load is None:
        raise SystemExit(
            "h2load is not installed: it is in Debian's and Ubuntu's package nghttp2-client"
        )
    contenders = [(name, MODULES[name], "") for name in options.contenders]
    contenders += [
        (f"{OURS} of {path.name}", MODULES[OURS], str(path.resolve())) for path in options.beside
    ]
    missing = {}
    with contextlib.ExitStack() as stack:
        served = []
        for name, module, checkout in contenders:
            try:
                groups = [
                    [case for case in group if case in options.cases] for group in groups_of(module)
                ]
                served += [
                    stack.enter_context(serving(options.server, name, module, checkout, group))
                    for group in groups
                    if group
                ]
            except (ImportError, Unavailable) as error:
                missing[name] = str(error)
        timings = measure(served, h2load, options.rounds, options.batch)
    about = (
        f"{report.machine()} Behind {options.server}, {CONNECTIONS} connections, best of "
        f"{options.rounds} rounds of "
        f"{options.batch} requests; processor time of the server in microseconds per request.\n"
        "Measured: "
        f"{', '.join(f'{name} {version}' for name, version in versions(TABLES).items())}.\n"
    )
    text = table(timings, [name for name, _, _ in contenders])
    text += "".join(f"\nMissing: {name} ({why}).\n" for name, why in missing.items())
    print(about, text, sep="\n")
    if options.json:
        options.json.write_text(
            json.dumps({"timings": timings, "missing": missing}, indent=2) + "\n"
        )
    if options.write:
        report.write_section("behind", f"Measured on {report.today()}. {about}\n{text}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
