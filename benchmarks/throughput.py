"""`python -m benchmarks.throughput`: requests per second on a plain text and on JSON, behind uvicorn and granian.

Every contender gets a server of its own of each kind, with one worker, and the same load from another process. They
take turns in short rounds, so that noise affects all of them. Where `overhead` shows what a framework costs, this
tells how much of that is left to be seen behind a server.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import importlib
import importlib.util
import json
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import median

from benchmarks.cases import BY_NAME, Answer, Case, complaint
from benchmarks.processes import ROOT, granian, uvicorn

SERVERS = {"uvicorn": uvicorn, "granian": granian}
# What micropie is to serve at least, of the hand-written application's requests per second.
GOALS = {"plain": 0.92, "json": 0.90}
PLAIN = BY_NAME["plain"]
BASE = "hand-written"
MODULES = {
    BASE: "handwritten",
    "micropie": "micropie_app",
    "blacksheep": "blacksheep_app",
    "falcon": "falcon_app",
    "starlette": "starlette_app",
    "litestar": "litestar_app",
    "fastapi": "fastapi_app",
}
Column = tuple[str, str]
"""A server and a case."""
RateStore = dict[Column, dict[str, list[float]]]
"""Column -> contender -> the rate of each round."""


@contextlib.contextmanager
def serving(server: str, name: str, cases: Sequence[Case]) -> Iterator[int]:
    """Run a server with this contender, and check its answers: a fast 404 is not a result."""
    with SERVERS[server](f"benchmarks.apps.{MODULES[name]}:make_asgi") as (port, _):
        for case in cases:
            said = complaint(case, _ask(port, case))
            if said:
                raise SystemExit(f"{name} on {server}: {said}")
        yield port


def _ask(port: int, case: Case) -> Answer:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=2)) as connection:
        connection.request(case.method, case.path)
        response = connection.getresponse()
        headers = {key.lower(): value for key, value in response.getheaders()}
        return Answer(response.status, headers, (response.read(),))


def load(port: int, seconds: float, connections: int, wrk: str | None, path: str = PLAIN.path) -> float:
    """Ask for one path for so many seconds and return the requests per second."""
    if wrk:
        command = [wrk, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
        command.append(f"http://127.0.0.1:{port}{path}")
    else:
        command = [sys.executable, "-m", "benchmarks.load"]
        command += [str(port), path, str(seconds), str(connections)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds + 30)
    if done.returncode:
        raise SystemExit(f"the load generator failed:\n{done.stderr}")
    return _wrk_rate(done.stdout) if wrk else float(done.stdout)


def _wrk_rate(output: str) -> float:
    found = re.search(r"Requests/sec:\s*([\d.]+)", output)
    if not found or "Non-2xx" in output:
        raise SystemExit(f"wrk says:\n{output}")
    return float(found[1])


def measure(ports: Mapping[tuple[str, str], int], options: argparse.Namespace) -> RateStore:
    """Let each contender of `ports`, by server and name, take its turns."""
    wrk = None if options.own_client else shutil.which("wrk")
    turns = [(server, case, name) for (server, name), case in product(ports, options.cases)]
    rates: RateStore = {}
    for server, case, name in turns:
        rates.setdefault((server, case), {})[name] = []
    for _ in range(options.rounds):
        for server, case, name in random.sample(turns, len(turns)):
            rate = load(ports[server, name], options.seconds, options.connections, wrk, BY_NAME[case].path)
            rates[server, case][name].append(rate)
    return rates


def _missing(name: str) -> str | None:
    try:
        importlib.import_module(f"benchmarks.apps.{MODULES[name]}")
    except ImportError as error:
        return str(error)
    return None


def table(rates: RateStore, missing: Mapping[str, str]) -> str:
    columns = [f"{server}, {BY_NAME[case].title}" for server, case in rates]
    lines = [f"| requests per second: best (median) | {' | '.join(columns)} |", f"| --- |{' ---: |' * len(columns)}"]
    for name in next(iter(rates.values())):
        cells = [
            f"{max(rows[name]):.0f} ({median(rows[name]):.0f}), {max(rows[name]) / max(rows[BASE]):.2f}"
            for rows in rates.values()
        ]
        lines.append(f"| {' | '.join([name, *cells])} |")
    lines += [f"\nMissing: {name} ({why})." for name, why in missing.items()]
    return "\n".join(lines)


def goals(rates: RateStore) -> tuple[bool, str]:
    all_met, lines = True, []
    for (server, case), rows in rates.items():
        what = (
            f"{server}, {BY_NAME[case].title}: "
            f"at least {GOALS[case]:.2f} of the hand-written application's requests per second"
        )
        ratio = max(rows["micropie"]) / max(rows[BASE]) if "micropie" in rows else None
        met = ratio is not None and ratio >= GOALS[case]
        all_met = all_met and met
        lines.append(
            f"- not measured: {what}" if ratio is None else f"- {'met' if met else 'MISSED'}: {what} ({ratio:.2f})"
        )
    return all_met, "\n".join(lines)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    peers = [name for name in MODULES if name != BASE]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.throughput", description=__doc__)
    parser.add_argument("--rounds", type=int, default=6, help="the best counts (%(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each turn (%(default)s)")
    parser.add_argument("--connections", type=int, default=16, help="(%(default)s)")
    parser.add_argument("--contenders", default="micropie", help=f"of {','.join(peers)} (%(default)s)")
    parser.add_argument("--servers", default=",".join(SERVERS), help="(%(default)s)")
    parser.add_argument("--cases", default=",".join(GOALS), help="(%(default)s)")
    parser.add_argument("--own-client", action="store_true", help="even if wrk is installed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round's numbers")
    parser.add_argument("--check", action="store_true", help="exit with 1 unless the goals are met")
    options = parser.parse_args(arguments)
    if min(options.rounds, options.seconds, options.connections) <= 0:
        parser.error("rounds, seconds and connections are more than 0")
    for option, known in (("contenders", peers), ("servers", SERVERS), ("cases", GOALS)):
        given = [name.strip().lower() for name in getattr(options, option).split(",")]
        unknown = set(given) - set(known)
        if unknown:
            parser.error(f"unknown: {', '.join(sorted(unknown))}")
        setattr(options, option, given)
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    for server in options.servers:
        if importlib.util.find_spec(server) is None:
            raise SystemExit(f"{server} is not installed: pip install -r benchmarks/requirements.txt")
    reasons = {name: _missing(name) for name in options.contenders}
    missing = {name: why for name, why in reasons.items() if why}
    names = [BASE, *(name for name in options.contenders if name not in missing)]
    cases = [BY_NAME[case] for case in options.cases]
    with contextlib.ExitStack() as stack:
        ports = {
            (server, name): stack.enter_context(serving(server, name, cases))
            for server, name in product(options.servers, names)
        }
        rates = measure(ports, options)
    met, verdict = goals(rates)
    print(table(rates, missing), verdict, sep="\n\n")
    if options.json:
        named = {f"{server}, {case}": rows for (server, case), rows in rates.items()}
        options.json.write_text(json.dumps({"rates": named, "missing": missing}, indent=2) + "\n")
    return int(options.check and not met)


if __name__ == "__main__":
    raise SystemExit(main())
