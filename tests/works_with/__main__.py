"""Run all combinations, each in each of its worlds in a process of its own, and write
docs/works-with.md.

With names of programs, run these alone and print what is wrong. Exits with 1 if one fails.
"""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from tests.works_with.listed import ALL, WORLDS, Combination

GROUPS = [
    "access",
    "around",
    "clients",
    "databases",
    "monitors",
    "pages",
    "queues",
    "servers",
    "stores",
    "structures",
    "tracing",
    "watching",
]
PAGE = Path(__file__).parents[2] / "docs" / "works-with.md"
HEAD = """\
---
search:
  boost: 0.1
---

# Works with

`scripts/works-with` runs {count} small programs with current releases, and writes this page (Python
{python}; – where a package can't run). arq requires redis 5: install
micropie without the extra `redis` beside it.

|package|tried|asyncio|trio|WSGI|
|-|-|-|-|-|
"""
SIGNS = {True: "✓", False: "**fails**", None: "–"}
SECONDS = 180  # for one program in one world, on a busy machine


def failure_of(name: str, world: str) -> str | None:
    """Run a program, and return what it prints if it fails."""
    command = [sys.executable, "-m", "tests.works_with", name, world]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"longer than {SECONDS} seconds"
    return done.stderr if done.returncode else None


def tried(name: str, one: Combination) -> tuple[str, bool]:
    """Run a program in its worlds. Return a row of the table, and whether all is well."""
    failures = {world: failure_of(name, world) for world in one.worlds}
    results = {world: failure is None for world, failure in failures.items()}
    signs = "|".join(SIGNS[results.get(world)] for world in WORLDS)
    row = f"|{one.distribution} {version(one.distribution)}|{one.what}|{signs}|\n"
    sys.stdout.write(row)
    sys.stdout.writelines(f"{world}: {text}\n" for world, text in failures.items() if text)
    sys.stdout.flush()
    return row, all(results.values())


def rows(names: list[str]) -> Iterator[tuple[str, bool]]:
    """Try two programs at once, and yield the results in the order of the table."""
    order = sorted(names, key=lambda name: (ALL[name].distribution, ALL[name].what))
    with ThreadPoolExecutor(2) as threads:
        yield from threads.map(lambda name: tried(name, ALL[name]), order)


def main(arguments: list[str]) -> int:
    for group in GROUPS:
        import_module(f"tests.works_with.{group}")
    match arguments:
        case [name, ("asyncio" | "trio" | "wsgi") as world]:
            ALL[name].program(world)
            return 0
    found = [*rows(arguments or [*ALL])]
    if not arguments:
        head = HEAD.format(count=len(found), python=platform.python_version())
        PAGE.write_text(head + "".join(row for row, _ in found))
    return 0 if all(is_well for _, is_well in found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
