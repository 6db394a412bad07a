"""What the experiments have found, as text and as the tables of a page."""

from __future__ import annotations

import re
from pathlib import Path

from tests.servers.cluster.costs import KINDS, Cost, FanOut
from tests.servers.cluster.faults import FAULTS, Result


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


def write_faults(page: Path, results: list[Result]) -> None:
    """Replace the rows of these experiments in the page's table, and keep the others."""
    known = {fault.title for fault in FAULTS}
    rows = {
        title: row
        for row in page.read_text().splitlines()
        if (title := row.strip("| ").partition(" | ")[0]) in known
    }
    rows |= {result.title: _row(result) for result in results}
    _write(
        page,
        "faults",
        FAULTS_HEAD + "\n".join(rows[fault.title] for fault in FAULTS if fault.title in rows),
    )


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
    """Return what requests take."""
    lines = [
        "| request | machines | commands of Redis | workers | balancer | Redis |",
        "|---" * 6 + "|",
    ]
    for cost in sorted(costs, key=lambda cost: [kind.name for kind in KINDS].index(cost.kind)):
        times = (f"{microseconds:.0f} µs" for microseconds in cost[3:6])
        cells = [cost.kind, str(cost.machines), f"{cost.number:.2f}", *times]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def fan_out_table(found: list[FanOut]) -> str:
    """Return what messages take."""
    lines = [
        "| machines | followers | copies that Redis sends | reads of the history |",
        "|---" * 4 + "|",
    ]
    lines += [
        f"| {one.machines} | {one.followers} | {one.copies} | {one.reads:.2f} |" for one in found
    ]
    return "\n".join(lines)


def write_costs(page: Path, costs: list[Cost], found: list[FanOut]) -> None:
    """Replace the page's tables of costs and of messages."""
    _write(page, "costs", costs_table(costs))
    _write(page, "fan-out", fan_out_table(found))


def _write(page: Path, name: str, table: str) -> None:
    """Replace a table between the comments ``<!-- name -->`` and ``<!-- end -->``."""
    before = page.read_text()
    pattern = re.compile(f"(<!-- {name} -->\n\n).*?(\n*<!-- end -->)", re.DOTALL)
    assert pattern.search(before), f"{page} has no table {name}"
    page.write_text(pattern.sub(lambda found: f"{found[1]}{table}\n\n<!-- end -->", before))
