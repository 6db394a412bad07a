"""What the experiments have found, as text and as the tables of a page."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import NamedTuple

from tests.cluster.clients import Load
from tests.cluster.faults import FAULTS, Result
from tests.cluster.machines import Cluster


class Cost(NamedTuple):
    """What a request takes: microseconds of a processor, and commands of Redis."""

    machines: int
    requests: int
    workers: float
    balancer: float
    redis: float
    commands: float


async def cost(cluster: Cluster, requests: int) -> Cost:
    """Return what requests take. Half of them read a session, half change it."""
    async with Load(cluster.balancer.url, users=8, talkers=0, listeners=0) as load:
        began, commands, before = len(load.outcomes()), cluster.redis.commands(), cluster.processor_seconds()
        while len(load.outcomes()) < began + requests:
            await asyncio.sleep(0.1)
        after, ended = cluster.processor_seconds(), len(load.outcomes())
        count = ended - began
        used = {name: 1e6 * (seconds - before[name]) / count for name, seconds in after.items()}
        commands = cluster.redis.commands() - commands
    return Cost(len(cluster.machines), count, commands=commands / count, **used)


def text(result: Result) -> str:
    """Return some lines about an experiment."""
    if not result.requests:
        return f"{result.name}: {'; '.join(result.notes)}"
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


FAULTS_HEAD = """\
| fault | lasted | requests | under way | lost | 503 | sessions lost | counters wrong | messages | lost, twice | gaps told | slowest | \
recovered | memory | descriptors |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
"""

COSTS_HEAD = """\
| machines | requests | workers | balancer | Redis | commands of Redis |
|---|---|---|---|---|---|
"""


def write_faults(page: Path, results: list[Result]) -> None:
    """Replace the rows of these experiments in the page's table, and keep the others."""
    known = {fault.title for fault in FAULTS}
    rows = {
        title: row for row in page.read_text().splitlines() if (title := row.strip("| ").partition(" | ")[0]) in known
    }
    rows |= {result.title: _row(result) for result in results}
    _write(page, "faults", FAULTS_HEAD + "\n".join(rows[fault.title] for fault in FAULTS if fault.title in rows))


def _row(result: Result) -> str:
    if not result.requests:
        return f"| {result.title} | {'; '.join(result.notes)} |" + " |" * 13
    before, after = result.before, result.after
    cells = [
        result.title,
        f"{result.duration:.1f} s",
        f"{result.requests:,}",
        str(result.in_flight),
        str(result.lost + result.failed),
        str(result.refused),
        str(result.strangers),
        str(result.miscounted),
        str(result.said),
        f"{result.unheard}, {result.twice}",
        str(result.gaps),
        f"{result.slowest:.1f} s",
        f"{result.recovered_after:.1f} s",
        f"{before.megabytes:.0f} → {after.megabytes:.0f} MB",
        f"{before.descriptors} → {after.descriptors}",
    ]
    return "| " + " | ".join(cells) + " |"


def costs_table(costs: list[Cost]) -> str:
    """Return the costs as a table."""
    rows = [
        f"| {one.machines} | {one.requests:,} | {one.workers:.0f} µs | {one.balancer:.0f} µs | {one.redis:.0f} µs "
        f"| {one.commands:.2f} |"
        for one in costs
    ]
    return COSTS_HEAD + "\n".join(rows)


def write_costs(page: Path, costs: list[Cost]) -> None:
    """Replace the page's table of costs."""
    _write(page, "costs", costs_table(costs))


def _write(page: Path, name: str, table: str) -> None:
    """Replace a table between the comments ``<!-- name -->`` and ``<!-- end -->``."""
    before = page.read_text()
    pattern = re.compile(f"(<!-- {name} -->\n\n).*?(\n\n<!-- end -->)", re.DOTALL)
    assert pattern.search(before), f"{page} has no table {name}"
    page.write_text(pattern.sub(lambda found: found[1] + table + found[2], before))
