"""`python -m benchmarks.throughput`: requests per second on a plain text, behind uvicorn.

Every contender gets its own uvicorn, with one worker, and the same load from another process. They take turns in
short rounds, so that noise affects all of them. Where `overhead` shows what a framework
costs, this tells how much of that is left to be seen behind a server.
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
from pathlib import Path
from statistics import median

from benchmarks.cases import CASES, Answer, complaint
from benchmarks.processes import ROOT, uvicorn

PLAIN = next(case for case in CASES if case.name == "plain")
GOAL = 0.88
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
RateStore = dict[str, list[float]]


@contextlib.contextmanager
def serving(name: str) -> Iterator[int]:
    """Run a uvicorn with this contender, and check its answer: a fast 404 is not a result."""
    with uvicorn(f"benchmarks.apps.{MODULES[name]}:make_asgi") as (port, _):
        said = complaint(PLAIN, _ask(port))
        if said:
            raise SystemExit(f"{name}: {said}")
        yield port


def _ask(port: int) -> Answer:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=2)) as connection:
        connection.request(PLAIN.method, PLAIN.path)
        response = connection.getresponse()
        headers = {key.lower(): value for key, value in response.getheaders()}
        return Answer(response.status, headers, (response.read(),))


def load(port: int, seconds: float, connections: int, wrk: str | None) -> float:
    """Ask for the plain text for so many seconds and return the requests per second."""
    if wrk:
        command = [wrk, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
        command.append(f"http://127.0.0.1:{port}{PLAIN.path}")
    else:
        command = [sys.executable, "-m", "benchmarks.load"]
        command += [str(port), PLAIN.path, str(seconds), str(connections)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds + 30)
    if done.returncode:
        raise SystemExit(f"the load generator failed:\n{done.stderr}")
    return _wrk_rate(done.stdout) if wrk else float(done.stdout)


def _wrk_rate(output: str) -> float:
    found = re.search(r"Requests/sec:\s*([\d.]+)", output)
    if not found or "Non-2xx" in output:
        raise SystemExit(f"wrk says:\n{output}")
    return float(found[1])


def measure(ports: Mapping[str, int], options: argparse.Namespace) -> RateStore:
    wrk = None if options.own_client else shutil.which("wrk")
    rates: RateStore = {name: [] for name in ports}
    order = list(ports)
    for _ in range(options.rounds):
        random.shuffle(order)
        for name in order:
            rates[name].append(load(ports[name], options.seconds, options.connections, wrk))
    return rates


def _missing(name: str) -> str | None:
    try:
        importlib.import_module(f"benchmarks.apps.{MODULES[name]}")
    except ImportError as error:
        return str(error)
    return None


def table(rates: RateStore, missing: Mapping[str, str]) -> str:
    lines = ["| requests per second | best | median |", "| --- | ---: | ---: |"]
    for name, row in rates.items():
        cells = [f"{of(row):.0f} ({of(row) / of(rates[BASE]):.2f})" for of in (max, median)]
        lines.append(f"| {' | '.join([name, *cells])} |")
    lines += [f"\nMissing: {name} ({why})." for name, why in missing.items()]
    return "\n".join(lines)


def goal(rates: RateStore) -> tuple[bool, str]:
    what = f"micropie serves at least {GOAL:.2f} of the hand-written application's requests per second"
    if "micropie" not in rates:
        return False, f"- not measured: {what}"
    ratio = max(rates["micropie"]) / max(rates[BASE])
    return ratio >= GOAL, f"- {'met' if ratio >= GOAL else 'MISSED'}: {what} ({ratio:.2f})"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    peers = [name for name in MODULES if name != BASE]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.throughput", description=__doc__)
    parser.add_argument("--rounds", type=int, default=6, help="the best counts (%(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each turn (%(default)s)")
    parser.add_argument("--connections", type=int, default=16, help="(%(default)s)")
    parser.add_argument("--contenders", default="micropie", help=f"of {','.join(peers)} (%(default)s)")
    parser.add_argument("--own-client", action="store_true", help="even if wrk is installed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round's numbers")
    parser.add_argument("--check", action="store_true", help="exit with 1 unless the goal is met")
    options = parser.parse_args(arguments)
    if min(options.rounds, options.seconds, options.connections) <= 0:
        parser.error("rounds, seconds and connections are more than 0")
    options.contenders = [name.strip().lower() for name in options.contenders.split(",")]
    unknown = set(options.contenders) - set(peers)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    if importlib.util.find_spec("uvicorn") is None:
        raise SystemExit("uvicorn is not installed: pip install -r benchmarks/requirements.txt")
    reasons = {name: _missing(name) for name in options.contenders}
    missing = {name: why for name, why in reasons.items() if why}
    names = [BASE, *(name for name in options.contenders if name not in missing)]
    with contextlib.ExitStack() as stack:
        rates = measure({name: stack.enter_context(serving(name)) for name in names}, options)
    met, verdict = goal(rates)
    print(table(rates, missing), verdict, sep="\n\n")
    if options.json:
        options.json.write_text(json.dumps({"rates": rates, "missing": missing}, indent=2) + "\n")
    return int(options.check and not met)


if __name__ == "__main__":
    raise SystemExit(main())
