"""``scripts/machines``: run the cluster of ``examples/cluster``, or break parts of it and count what is lost."""

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
from contextlib import suppress
from pathlib import Path

from tests.cluster.faults import FAULTS, Fault, Result, examine, warmed_up
from tests.cluster.machines import ROOT, SERVERS, Cluster
from tests.cluster.network import Loopback, Namespaces, Network

INSIDE = "MICROPIE_MACHINES_INSIDE"
# In namespaces of its own, a process can make networks and mounts, and all that it started ends with it.
APART = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
AS_ROOT = ["--user", "--map-root-user"]


def main() -> None:
    """Parse the command line, and run."""
    parser = argparse.ArgumentParser(
        prog="scripts/machines",
        description="Several machines on one: network namespaces, or loopback addresses where these can't be made.",
    )
    parser.add_argument("--machines", type=int, default=3, metavar="N", help="how many serve the application (3)")
    parser.add_argument("--dask", type=int, default=0, metavar="N", help="workers of a Dask cluster (0: none)")
    parser.add_argument("--loopback", action="store_true", help="use loopback addresses in any case")
    parser.add_argument("--delay", type=float, default=0, metavar="MS", help="delay of every machine, by tc netem")
    parser.add_argument("--loss", type=float, default=0, metavar="SHARE", help="share of lost packets, such as 0.01")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="run the cluster until Ctrl-C; a shell inside it: see what is printed")
    faults = commands.add_parser("faults", help="run experiments: " + ", ".join(fault.name for fault in FAULTS))
    faults.add_argument("names", nargs="*", help="those to run; all without names")
    faults.add_argument("--short", action="store_true", help="those that each run of the tests has")
    faults.add_argument("--json", action="store_true", help="print the results as JSON")
    options = parser.parse_args()
    reason = "" if options.loopback or INSIDE in os.environ else _run_apart()
    sys.exit(_run(options, "--loopback was given" if options.loopback else reason))


def _run_apart() -> str:
    """Become a process in namespaces of its own. Return why this is not possible."""
    failure = ""
    for command in (APART, [*APART[:1], *AS_ROOT, *APART[1:]]):
        try:
            tried = subprocess.run(
                [*command, "ip", "link", "add", "a", "type", "bridge"], capture_output=True, text=True, check=False
            )
        except OSError as error:
            return str(error)
        if tried.returncode == 0:
            environ = {**os.environ, INSIDE: "yes", "PYTHONPATH": str(ROOT)}
            os.execvpe(command[0], [*command, sys.executable, "-m", "tests.cluster", *sys.argv[1:]], environ)
        failure = tried.stderr.strip()
    return failure


def _run(options: argparse.Namespace, reason: str) -> int:
    servers = [list(SERVERS)[number % len(SERVERS)] for number in range(options.machines)]
    cluster: Cluster
    network: Network = Namespaces() if INSIDE in os.environ else Loopback(reason, lambda name: cluster.family(name))
    with tempfile.TemporaryDirectory(prefix="machines-") as directory:
        cluster = Cluster(network, Path(directory), servers, options.dask)
        try:
            cluster.start()
            if options.delay or options.loss:
                for machine in cluster.machines:
                    if not network.delay(machine.name, options.delay, options.loss):
                        print("this kernel has no netem: nothing is delayed or lost", file=sys.stderr)
                        break
            if options.command == "up":
                return _show(cluster)
            names = options.names or [fault.name for fault in FAULTS if fault.is_short or not options.short]
            return _examine_all(cluster, [fault for fault in FAULTS if fault.name in names], options.json)
        finally:
            cluster.close()


def _show(cluster: Cluster) -> int:
    print(f"{cluster.network.name} {cluster.network.reason}".rstrip())
    print(f"balancer  {cluster.balancer.url}/  (Host: cluster.test)")
    for machine in cluster.machines:
        print(f"{machine.name}         http://{machine.address}:8000/  {machine.server}")
    print(f"redis     {cluster.redis.url}\ndask      {cluster.dask.url if cluster.dask.processes else '-'}")
    print(f"a shell inside: nsenter --target {_outer_number()} --net --mount --pid; Ctrl-C ends it all")
    with suppress(KeyboardInterrupt):
        signal.pause()
    return 0


def _outer_number() -> str:
    """Return this process's number as it is outside of its own namespaces."""
    return next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "NSpid" in line)


def _examine_all(cluster: Cluster, faults: list[Fault], as_json: bool) -> int:
    results: list[Result] = []
    before = asyncio.run(warmed_up(cluster))
    for fault in faults:
        result = asyncio.run(examine(cluster, fault, before))
        results.append(result)
        print(_report(result), file=sys.stderr, flush=True)
    if as_json:
        print(json.dumps([dataclasses.asdict(result) for result in results]))
    return int(any(result.wrong for result in results))


def _report(result: Result) -> str:
    lines = [
        f"{result.name}, {result.duration:.1f} s: {'; '.join(result.wrong) or 'as promised'}",
        f"  requests {result.requests}, lost {result.lost} ({result.in_flight} were under way), refused {result.refused},"
        f" failed {result.failed}, answered as to strangers {result.strangers}, users miscounted {result.miscounted}",
        f"  messages {result.said}, unheard {result.unheard}, twice {result.twice}, gaps told {result.gaps},"
        f" connections ended: {result.ends}",
        f"  recovered {result.recovered_after:.2f} s after the end, slowest answer {result.slowest:.2f} s",
        f"  {result.before.megabytes:.0f} -> {result.after.megabytes:.0f} MB,"
        f" {result.before.descriptors} -> {result.after.descriptors} descriptors,"
        f" {result.before.redis} -> {result.after.redis} connections to Redis",
    ]
    return "\n".join([*lines, *(f"  {note}" for note in result.notes)])


if __name__ == "__main__":
    main()
