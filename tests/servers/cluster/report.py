"""What the experiments have found, as text and as the tables of a page."""

from __future__ import annotations

import re
from pathlib import Path

from tests.servers.cluster.costs import (
    CONNECTIONS,
    KINDS,
    LIMITED,
    Cost,
    FanOut,
    Model,
    Store,
    errors,
    first_of,
)
from tests.servers.cluster.faults import FAULTS, Result
from tests.servers.cluster.machines import WORKERS


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
    """Return what requests take, each with what the first number of machines predicts for it."""
    lines = [
        "| request | machines | commands of Redis | predicted | workers | predicted | balancer | predicted | Redis "
        "| predicted |",
        "|---" * 10 + "|",
    ]
    ones = {cost.kind: cost for cost in first_of(costs)}
    for cost in sorted(costs, key=lambda cost: [kind.name for kind in KINDS].index(cost.kind)):
        one = ones[cost.kind]
        cells = [cost.kind, str(cost.machines), f"{cost.number:.2f}"]
        cells.append("" if cost is one else f"{one.number:.2f}")
        for measured, predicted in zip(cost[3:6], one[3:6], strict=True):
            cells += [f"{measured:.0f} µs", "" if cost is one else f"{predicted:.0f} µs"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def fan_out_table(found: list[FanOut], model: Model) -> str:
    """Return what messages take."""
    lines = [
        "| machines | workers | followers | copies that Redis sends | predicted, at most | reads of the history "
        "| predicted |",
        "|---" * 7 + "|",
    ]
    for one in found:
        workers, copies = one.machines * model.workers, model.copies(one.machines, one.followers)
        lines.append(
            f"| {one.machines} | {workers} | {one.followers} | {one.copies} | {copies} | {one.reads:.2f} "
            f"| {one.followers} |"
        )
    return "\n".join(lines)


def errors_table(costs: list[Cost]) -> str:
    """Return how far the measured costs are from the predicted ones."""
    names = ("commands", "balancer", "workers", "redis")
    lines = [
        "| machines | commands of Redis | balancer | workers | Redis |",
        "|---" * 5 + "|",
    ]
    for machines, most in errors(costs).items():
        cells = [str(machines), *(f"{100 * most.get(name, 0):,.0f} %" for name in names)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def model_table(model: Model) -> str:
    """Return what several machines do: for each kind of request, and for the mix; below a rate
    limit, and without one.
    """
    costs = [*(cost for kind, cost in model.costs.items() if kind != LIMITED), model.mixed()]
    lines = [
        "| | a machine answers, a second | with a rate limit | Redis is full at, a second | "
        "that is | with a rate limit | HAProxy, for each of its processors |",
        "|---" * 7 + "|",
    ]
    for cost in costs:
        limited = model.limited(cost)
        cells = [
            cost.kind,
            f"{model.rate(cost, 1):,.0f}",
            f"{model.rate(limited, 1):,.0f}",
            *(
                [f"{model.redis_rate(cost):,.0f}", f"{model.machines_until(cost):.0f} machines"]
                if cost.number
                else ["never", ""]
            ),
            f"{model.machines_until(limited):.0f} machines",
            f"{1e6 / cost.balancer:,.0f} a second",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    mix = model.limited(costs[-1])
    counts = (1, 10, 100)
    rates = [model.rate(mix, number) for number in counts]
    rows = [
        ["the mix, with a rate limit", *(f"{number} machine{'s' * (number > 1)}" for number in counts)],
        ["---"] * 4,
        ["the workers can answer, a second", *(f"{rate:,.0f}" for rate in rates)],
        ["while one machine gets a new version", *(f"{model.deployed(mix, number):,.0f}" for number in counts)],
        ["of what Redis can do", *(f"{100 * rate / model.redis_rate(mix):,.0f} %" for rate in rates)],
        ["processors of HAProxy", *(f"{rate * mix.balancer / 1e6:.1f}" for rate in rates)],
        [
            f"connections to Redis, {CONNECTIONS} for each worker at most; enough for {model.machines_until_connections()} machines",
            *(f"{model.connections(number):,}" for number in counts),
        ],
        ["copies of a message to all", *(f"{number * model.workers}" for number in counts)],
        ["memory of Redis for 10,000 sessions of each machine", *(f"{model.megabytes(10_000 * number):,.0f} MB" for number in counts)],
    ]  # fmt: skip
    return "\n".join([*lines, "", *(f"| {' | '.join(row)} |" for row in rows)])


def write_costs(
    page: Path, costs: list[Cost], found: list[FanOut], store: Store, workers: int = WORKERS
) -> None:
    """Replace the page's tables of costs, of messages, and of what follows."""
    model = Model(first_of(costs), store, workers)
    _write(page, "costs", costs_table(costs))
    _write(page, "errors", errors_table(costs))
    _write(page, "fan-out", fan_out_table(found, model))
    _write(page, "model", model_table(model))


def _write(page: Path, name: str, table: str) -> None:
    """Replace a table between the comments ``<!-- name -->`` and ``<!-- end -->``."""
    before = page.read_text()
    pattern = re.compile(f"(<!-- {name} -->\n\n).*?(\n*<!-- end -->)", re.DOTALL)
    assert pattern.search(before), f"{page} has no table {name}"
    page.write_text(pattern.sub(lambda found: f"{found[1]}{table}\n\n<!-- end -->", before))
