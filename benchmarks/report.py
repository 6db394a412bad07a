"""Formats results as markdown."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence

from benchmarks.goals import Verdict

Row = Mapping[str, float]


def preamble(versions: Mapping[str, str], json_name: str, loop: str, rounds: int, batch: int) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"{platform.python_implementation()} {platform.python_version()}, {platform.system()} "
        f"{platform.machine()}, {os.cpu_count()} cores, loop {loop}, JSON by {json_name}. Best of {rounds} "
        f"rounds of {batch} requests; microseconds per request, and the multiple of the first row.\n"
        f"Measured: {packages}.\n"
    )


def table(
    title: str, columns: Mapping[str, str], base: str, best: Mapping[str, Row], missing: Mapping[str, str]
) -> str:
    lines = [f"### {title}", ""]
    if best:
        lines += [_line(["µs per request", *columns.values()]), _line(["---", *["---:"] * len(columns)])]
        lines += [_line([name, *_cells(row, best.get(base), columns)]) for name, row in best.items()]
    lines += [f"\nMissing: {name} ({why})." for name, why in missing.items()]
    return "\n".join(lines) + "\n"


def goals(verdicts: Sequence[Verdict]) -> str:
    lines = ["### Goals", ""]
    lines += [f"- {v.word}: {v.goal} ({v.detail})" for v in verdicts]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(row: Row, base: Row | None, columns: Mapping[str, str]) -> list[str]:
    return [f"{row[key]:.2f}" + (f" ({row[key] / base[key]:.2f}x)" if base else "") for key in columns]
