"""Formats results as markdown."""

from __future__ import annotations

import os
import platform
import textwrap
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.goals import Verdict

Row = Mapping[str, float]
RESULTS = Path(__file__).parent / "results"


def preamble(
    versions: Mapping[str, str], json_name: str, loop: str, rounds: int, batch: int
) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"{machine()} Loop {loop}, JSON by {json_name}. Best of {rounds} "
        f"rounds of {batch} requests; microseconds per request, and the multiple of the "
        "first row.\n"
        f"Measured: {packages}.\n"
    )


def table(
    title: str,
    columns: Mapping[str, str],
    base: str,
    best: Mapping[str, Row],
    missing: Mapping[str, str],
) -> str:
    lines = [f"### {title}", ""]
    if best:
        lines += [
            _line(["µs per request", *columns.values()]),
            _line(["---", *["---:"] * len(columns)]),
        ]
        lines += [
            _line([name, *_cells(row, best.get(base), columns)]) for name, row in best.items()
        ]
    lines += [f"\nMissing: {name} ({why})." for name, why in missing.items()]
    return "\n".join(lines) + "\n"


def by_case(
    cases: Mapping[str, str],
    best: Mapping[str, Row],
    median: Mapping[str, Row],
    *,
    base: str = "",
    spread: bool = False,
) -> str:
    """Return a table with a line for each case and a column for each contender: best (median).

    The fastest is bold, the base left out. ``spread`` adds the ratio of the slowest case to the
    fastest.
    """
    names = [name for name, row in best.items() if row]
    lines = [
        _line(["µs per request: best (median)", *names]),
        _line(["---", *["---:"] * len(names)]),
    ]
    for case, title in cases.items():
        rivals = [best[name][case] for name in names if name != base and case in best[name]]
        cells = []
        for name in names:
            if case not in best[name]:
                cells.append("")
                continue
            value = best[name][case]
            shown = f"{_digits(value)} ({_digits(median[name][case])})"
            is_fastest = not spread and len(rivals) > 1 and name != base and value == min(rivals)
            cells.append(f"**{shown}**" if is_fastest else shown)
        lines.append(_line([title, *cells]))
    if spread:
        ratios = [max(best[name].values()) / min(best[name].values()) for name in names]
        lines.append(_line(["slowest / fastest", *[f"{ratio:.2f}" for ratio in ratios]]))
    return "\n".join(lines) + "\n"


def behind(cases: Mapping[str, str], best: Mapping[str, Row], ours: str, base: str) -> str:
    """Return a list of the cases in which another contender than the base is faster than ours."""
    lines = []
    for case, title in cases.items():
        if case not in best.get(ours, {}):
            continue
        own = best[ours][case]
        faster = [f"{own / row[case]:.2f} times {name}'s" for name, row in best.items()
                  if name not in (ours, base) and case in row and row[case] < own]  # fmt: skip
        if faster:
            lines.append(f"- {title}: {ours}'s time is {', '.join(faster)}")
    return "\n".join(lines or [f"Nothing: no peer is faster than {ours} here."]) + "\n"


def write_section(key: str, text: str) -> None:
    """Replace what stands between ``<!-- key -->`` and ``<!-- /key -->`` on a page of
    results.
    """
    for page in sorted(RESULTS.glob("*.md")):
        before, opening, rest = page.read_text().partition(f"<!-- {key} -->\n")
        _, closing, after = rest.partition(f"<!-- /{key} -->")
        if opening and closing:
            page.write_text(f"{before}{opening}{_wrapped(text.strip())}\n{closing}{after}")
            return
    raise SystemExit(f"no page of {RESULTS} has the lines <!-- {key} --> and <!-- /{key} -->")


def _wrapped(text: str) -> str:
    """Return markdown whose lines of prose have at most 100 characters."""
    lines = []
    for line in text.split("\n"):
        is_prose = len(line) > 100 and not line.startswith("|")
        indent = "  " if line.startswith("- ") else ""
        filled = textwrap.fill(line, 100, subsequent_indent=indent, break_on_hyphens=False)
        lines.append(filled if is_prose else line)
    return "\n".join(lines)


def machine() -> str:
    return (
        f"{platform.python_implementation()} {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores."
    )


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def goals(verdicts: Sequence[Verdict]) -> str:
    lines = ["### Goals", ""]
    lines += [f"- {v.word}: {v.goal} ({v.detail})" for v in verdicts]
    return "\n".join(lines) + "\n"


def _digits(microseconds: float) -> str:
    return f"{microseconds:.0f}" if microseconds >= 100 else f"{microseconds:.1f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(row: Row, base: Row | None, columns: Mapping[str, str]) -> list[str]:
    return [
        f"{row[key]:.2f}" + (f" ({row[key] / base[key]:.2f}x)" if base else "") for key in columns
    ]
