"""Run all combinations, each distribution in a process of its own, and write
docs/works-with.md.

Exits with 1 if one of them fails.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import traceback
from importlib.metadata import version
from pathlib import Path

from tests.works_with import tracing  # noqa: F401 - it adds to ALL
from tests.works_with.combinations import ALL, WORLDS

PAGE = Path(__file__).parents[2] / "docs" / "works-with.md"
HEAD = """\
# Works with

`scripts/works-with` runs a small program with current releases, and writes this page (Python
{python}; – where a package can't run).

|package|version|asyncio|trio|WSGI|
|-|-|-|-|-|
"""
SIGNS = {True: "✓", False: "**fails**", None: "–"}


def run(name: str) -> dict[str, bool]:
    """Run a combination in its worlds, and return where it works."""
    worlds, function = ALL[name]
    results = {}
    for world in worlds:
        try:
            function(world)
        except BaseException:
            traceback.print_exc()
            results[world] = False
        else:
            results[world] = True
    return results


def main() -> int:
    if len(sys.argv) > 1:
        sys.stdout.write(f"\n{json.dumps(run(sys.argv[1]))}\n")
        return 0
    rows, failed = [], []
    for name in sorted(ALL):
        command = [sys.executable, "-m", "tests.works_with", name]
        limit = ["timeout", "60"]  # seconds for all worlds
        done = subprocess.run([*limit, *command], capture_output=True, text=True, check=False)
        lines = done.stdout.splitlines()
        results = json.loads(lines[-1]) if done.returncode == 0 else dict.fromkeys(WORLDS, False)
        signs = [SIGNS[results.get(world)] for world in WORLDS]
        sys.stdout.write(f"{name} {version(name)}: {' '.join(signs)}\n")
        rows.append(f"|{name}|{version(name)}|{'|'.join(signs)}|\n")
        if False in results.values():
            failed.append(name)
            sys.stdout.write(done.stderr)
    PAGE.write_text(HEAD.format(python=platform.python_version()) + "".join(rows))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
