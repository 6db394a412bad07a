"""``scripts/machines``: run the cluster of ``examples/cluster``, or break parts of it and count
what is lost.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.servers.cluster import report
from tests.servers.cluster.costs import FOLLOWERS, Cost, FanOut, fan_out, measure
from tests.servers.cluster.faults import FAULTS, Fault, Result, examine, warmed_up
from tests.servers.cluster.machines import ROOT, SERVERS, WORKERS, Cluster
from tests.servers.cluster.network import Loopback, Namespaces, Network

INSIDE = "MICROPIE_MACHINES_INSIDE"
# In namespaces of its own, a process can make networks and mounts, and all that it started ends
# with it.
APART = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
AS_ROOT = ["--user", "--map-root-user"]


def main() -> None:
    """Parse the command line, and run."""
    parser = argparse.ArgumentParser(
        prog="scripts/machines",
        description="Several machines on one: network namespaces, or loopback addresses where these can't be made.",
    )
    parser.add_argument(
        "--machines", type=int, default=3, metavar="N", help="how many serve the application (3)"
    )
    parser.add_argument(
        "--workers", type=int, default=WORKERS, metavar="N", help="of each machine (%(default)s)"
    )
    parser.add_argument(
        "--dask", type=int, default=0, metavar="N", help="workers of a Dask cluster (0: none)"
    )
    parser.add_argument(
        "--loopback", action="store_true", help="use loopback addresses in any case"
    )
    parser.add_argument(
        "--delay", type=float, default=0, metavar="MS", help="delay of every machine, by tc netem"
    )
    parser.add_argument(
        "--loss", type=float, default=0, metavar="SHARE", help="share of lost packets, such as 0.01"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "up", help="run the cluster until Ctrl-C; a shell inside it: see what is printed"
    )
    faults = commands.add_parser(
        "faults", help="run experiments: " + ", ".join(fault.name for fault in FAULTS)
    )
    faults.add_argument("names", nargs="*", help="those to run; all without names")
    faults.add_argument("--short", action="store_true", help="those that each run of the tests has")
    faults.add_argument("--json", action="store_true", help="print the results as JSON")
    faults.add_argument("--table", type=_page, metavar="PAGE", help="write the results into a page")
    costs = commands.add_parser(
        "costs", help="measure what a request takes, for some numbers of machines"
    )
    costs.add_argument(
        "--counts", type=int, nargs="+", default=[1, 2, 4], metavar="N", help="how many (1 2 4)"
    )
    costs.add_argument(
        "--requests",
        type=int,
        default=4000,
        metavar="N",
        help="how many of each kind are measured (4000)",
    )
    costs.add_argument(
        "--server", choices=SERVERS, default="uvicorn", help="of each machine (%(default)s)"
    )
    costs.add_argument("--json", action="store_true", help="print the results as JSON")
    costs.add_argument("--table", type=_page, metavar="PAGE", help="write the results into a page")
    options = parser.parse_args()
    reason = "" if options.loopback or INSIDE in os.environ else _run_apart()
    sys.exit(_run(options, "--loopback was given" if options.loopback else reason))


def _page(text: str) -> Path:
    return Path(text).resolve()


def _run_apart() -> str:
    """Become a process in namespaces of its own. Return why this is not possible."""
    failure = ""
    for command in (APART, [*APART[:1], *AS_ROOT, *APART[1:]]):
        try:
            tried = subprocess.run(
                [*command, "ip", "link", "add", "a", "type", "bridge"],
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError as error:
            return str(error)
        if tried.returncode == 0:
            environ = {**os.environ, INSIDE: "yes", "PYTHONPATH": str(ROOT)}
            os.execvpe(
                command[0],
                [*command, sys.executable, "-m", "tests.servers.cluster", *sys.argv[1:]],
                environ,
            )
        failure = tried.stderr.strip()
    return failure


def _run(options: argparse.Namespace, reason: str) -> int:
    if options.command == "costs":
        return _measure(options, reason)
    servers = [list(SERVERS)[number % len(SERVERS)] for number in range(options.machines)]
    with _running(options, servers, reason) as cluster:
        if options.command == "up":
            return _show(cluster)
        names = options.names or [
            fault.name for fault in FAULTS if fault.is_short or not options.short
        ]
        return _examine_all(cluster, [fault for fault in FAULTS if fault.name in names], options)


@contextmanager
def _running(options: argparse.Namespace, servers: Sequence[str], reason: str) -> Iterator[Cluster]:
    cluster: Cluster
    network: Network = (
        Namespaces()
        if INSIDE in os.environ
        else Loopback(reason, lambda name: cluster.family(name))
    )
    with tempfile.TemporaryDirectory(prefix="machines-") as directory:
        cluster = Cluster(network, Path(directory), servers, options.dask, options.workers)
        try:
            cluster.start()
            if options.delay or options.loss:
                for machine in cluster.machines:
                    if not network.delay(machine.name, options.delay, options.loss):
                        print(
                            "this kernel has no netem: nothing is delayed or lost", file=sys.stderr
                        )
                        break
            yield cluster
        finally:
            cluster.close()


def _show(cluster: Cluster) -> int:
    print(f"{cluster.network.name} {cluster.network.reason}".rstrip())
    print(f"balancer  {cluster.balancer.url}/  (Host: cluster.test)")
    for machine in cluster.machines:
        print(f"{machine.name}         http://{machine.address}:8000/  {machine.server}")
    print(
        f"redis     {cluster.redis.url}\ndask      {cluster.dask.url if cluster.dask.processes else '-'}"
    )
    print(
        f"a shell inside: nsenter --target {_outer_number()} --net --mount --pid; Ctrl-C ends it all"
    )
    with suppress(KeyboardInterrupt):
        signal.pause()
    return 0


def _outer_number() -> str:
    """Return this process's number as it is outside of its own namespaces."""
    return next(
        line.split()[1]
        for line in Path("/proc/self/status").read_text().splitlines()
        if "NSpid" in line
    )


def _examine_all(cluster: Cluster, faults: list[Fault], options: argparse.Namespace) -> int:
    results: list[Result] = []
    before = asyncio.run(warmed_up(cluster))
    for fault in faults:
        result = asyncio.run(examine(cluster, fault, before))
        results.append(result)
        print(report.text(result), file=sys.stderr, flush=True)
    if options.json:
        print(json.dumps([dataclasses.asdict(result) for result in results]))
    if options.table:
        report.write_faults(options.table, results)
    return int(any(result.wrong for result in results))


def _measure(options: argparse.Namespace, reason: str) -> int:
    found: list[Cost] = []
    messages: list[FanOut] = []
    for machines in options.counts:
        with _running(options, [options.server] * machines, reason) as cluster:
            messages.append(
                asyncio.run(
                    fan_out(cluster, min(options.requests, FOLLOWERS), min(options.requests, 100))
                )
            )
            found += asyncio.run(measure(cluster, options.requests))
    if options.json:
        print(
            json.dumps(
                {
                    "costs": [one._asdict() for one in found],
                    "messages": [one._asdict() for one in messages],
                }
            )
        )
    else:
        print(
            report.costs_table(found),
            *(f"{one.kind}: {one.commands}" for one in found),
            *messages,
            sep="\n",
        )
    if options.table:
        report.write_costs(options.table, found, messages)
    return 0


if __name__ == "__main__":
    main()
