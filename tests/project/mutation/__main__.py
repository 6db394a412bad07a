"""``scripts/mutants``: how many small mistakes in the code the tests notice.

    python -m tests.project.mutation [--budget SECONDS] [--share 0.2] [--world wsgi] [--survivors] [GROUP ...]

A line for each mutant that survives, and the share that was killed for each module.
``--survivors``: only those that survived the last time. ``equivalent.txt`` in this folder lists
survivors that change nothing, with the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import pytest

from tests.project.mutation.runner import Runner

LAST = Path("build/mutants")
EQUIVALENT = Path(__file__).with_name("equivalent.txt")


def _modules(folder: str, *left_out: str) -> list[str]:
    """Return the modules of a folder and of those below it.

    Raises ``FileNotFoundError`` if there are none: no mutants would all be noticed.
    """
    paths = [
        path for path in Path(folder).rglob("*.py") if path.name not in ("__init__.py", *left_out)
    ]
    if not paths:
        raise FileNotFoundError(f"{folder} has no modules")
    return sorted(map(str, paths))


# Modules, and the tests that are about them.
GROUPS = {
    "routing": (
        _modules("micropie/_core/routing"),
        [
            "tests/routing",
            "tests/binding",
            "tests/http/test_paths.py",
            "tests/flow",
            "tests/mounts",
            "tests/sessions/test_store.py",
            "tests/execution/test_placement.py",
            "tests/openapi/test_document.py",
            "tests/templates",
        ],
    ),
    "binding": (
        _modules("micropie/_core/binding"),
        [
            "tests/binding",
            "tests/routing",
            "tests/flow/test_resource_contexts.py",
            "tests/flow/test_resources.py",
            "tests/http/test_problems.py",
            "tests/openapi/test_document.py",
        ],
    ),
    "sessions": (
        [
            *_modules("micropie/_core/sessions"),
            *_modules("micropie/sessions", "redis.py"),
            "micropie/_core/http/session.py",
        ],
        [
            "tests/sessions",
            "tests/http/test_signing.py",
            "tests/asgi/websocket",
            "tests/middleware/test_health.py",
            "tests/http/test_csrf.py",
        ],
    ),
    "csrf": (
        ["micropie/_core/http/csrf.py", "micropie/middleware/csrf.py"],
        [
            "tests/http/test_csrf.py",
            "tests/middleware/test_csrf.py",
            "tests/sessions/test_store.py",
        ],
    ),
    "files": (
        [*_modules("micropie/_core/files"), "micropie/_core/http/headers/conditional.py"],
        [
            "tests/files",
            "tests/http/test_conditional.py",
            "tests/http/test_not_modified.py",
            "tests/wsgi/test_files.py",
        ],
    ),
}


def run(group: str, budget: float, share: float, world: str | None, survivors: bool) -> int:
    """Try the mutants of a group in a process of its own, and return how many survived that are not
    known.
    """
    modules, tests = GROUPS[group]
    file = LAST / f"{group}.json"
    only = (
        {tuple(key) for key in json.loads(file.read_text())}
        if survivors and file.exists()
        else None
    )
    runner = Runner([Path(module) for module in modules], budget, share, only)
    options = [
        "-q",
        "-s",
        "-p",
        "no:randomly",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        # pytest would rewrite micropie's functions with an ``assert``, whose mutants would not be
        # found
        "--assert=plain",
        "-o",
        "addopts=--import-mode=importlib",
    ]
    options += [f"--world={world}" if world else "--all-worlds"]
    pytest.main([*options, *tests], plugins=[runner])
    known = {
        tuple(line.split(" | ")[:3])
        for line in EQUIVALENT.read_text().splitlines()
        if " | " in line
    }
    alive = [result for result in runner.results if result.outcome in ("survived", "no test")]
    new = [one for one in alive if (one.module, one.mutant.before, one.mutant.after) not in known]
    total = len(runner.results)
    print(
        f"{group}: {total} mutants, {total - len(alive)} killed ({100 * (total - len(alive)) / max(total, 1):.1f} %), ",
        end="",
    )
    print(f"{len(alive) - len(new)} equivalent, {len(new)} to look at", flush=True)
    LAST.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps([[one.module, one.mutant.before, one.mutant.after] for one in new]))
    return len(new)


def main() -> int:
    """Run each group in a child process, and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--budget",
        type=float,
        default=20,
        help="seconds of the processor for one mutant's tests (20)",
    )
    parser.add_argument(
        "--share", type=float, default=1, help="of the mutants, drawn at random (1)"
    )
    parser.add_argument(
        "--world", help="of the tests that run in each world, only those of this one"
    )
    parser.add_argument("--survivors", action="store_true", help="only those of the last time")
    parser.add_argument("groups", nargs="*", metavar="GROUP")
    arguments = parser.parse_args()
    alive = 0
    for group in arguments.groups or GROUPS:
        child = os.fork()
        if child == 0:
            os._exit(
                min(
                    run(
                        group,
                        arguments.budget,
                        arguments.share,
                        arguments.world,
                        arguments.survivors,
                    ),
                    100,
                )
            )
        alive += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
