"""`python -m benchmarks.bridges`: what it costs to serve an application of one protocol under the
other.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from benchmarks import report
from benchmarks.apps import fast_json
from benchmarks.cases import BY_NAME
from benchmarks.goals import judge_bridges
from benchmarks.overhead import Contender, Table, run_table, versions

PREFIX = "/m"  # where everything is mounted
CASES = tuple(
    replace(BY_NAME[name], path=PREFIX + BY_NAME[name].path) for name in ("plain", "form", "stream")
)
PLAIN = CASES[:1]


def _beside_a2wsgi(inner: str, *bare: tuple[str, str]) -> tuple[Contender, ...]:
    """Return a2wsgi, micropie, and bare hops: their names and the last part of their factories'
    names.
    """
    return (
        Contender("a2wsgi", "bridge_apps", f"make_{inner}_a2wsgi", "a2wsgi"),
        Contender("micropie", "bridge_apps", f"make_{inner}_micropie"),
        *(Contender(name, "bridge_apps", f"make_{inner}_{ending}") for name, ending in bare),
    )


THREADS = (("bare: starlette's threadpool", "threadpool"), ("bare: run_in_executor", "executor"))
LOOPS = (("bare: anyio's portal", "portal"), ("bare: run_coroutine_threadsafe", "loop"))

TABLES = (
    Table(
        "bottle-under-asgi",
        "Bottle under ASGI",
        _beside_a2wsgi("bottle", *THREADS),
        CASES,
        False,
        asgi=True,
    ),
    Table(
        "wsgi-under-asgi",
        "Hand-written WSGI under ASGI",
        _beside_a2wsgi("wsgi", *THREADS),
        CASES,
        False,
        asgi=True,
    ),
    Table(
        "starlette-under-wsgi",
        "Starlette under WSGI",
        _beside_a2wsgi("starlette", *LOOPS),
        CASES,
        False,
    ),
    Table(
        "asgi-under-wsgi",
        "Hand-written ASGI under WSGI",
        _beside_a2wsgi("asgi", *LOOPS),
        CASES,
        False,
    ),
    Table(
        "threaded",
        "A handler in a thread, under ASGI",
        (
            Contender("bare: run_in_executor", "bridge_apps", "make_wsgi_executor"),
            Contender("micropie", "bridge_apps", "make_threaded"),
            Contender("Starlette", "bridge_apps", "make_starlette_threaded", "starlette"),
        ),
        PLAIN,
        asgi=True,
    ),
    Table(
        "asynchronous",
        "An async handler, under WSGI",
        (
            Contender("bare: run_coroutine_threadsafe", "bridge_apps", "make_asgi_loop"),
            Contender("micropie", "bridge_apps", "make_asynchronous"),
            Contender("bare: anyio's portal", "bridge_apps", "make_asgi_portal"),
        ),
        PLAIN,
    ),
)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    keys = [table.key for table in TABLES]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bridges", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=20, help="rounds; the best counts (%(default)s)"
    )
    parser.add_argument("--batch", type=int, default=200, help="requests in a batch (%(default)s)")
    parser.add_argument(
        "--only", nargs="*", choices=keys, default=keys, help="tables, all if it isn't given"
    )
    parser.add_argument(
        "--loop", choices=("asyncio", "uvloop"), default="asyncio", help="for the ASGI tables"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write best and median of everything"
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 unless every goal is met")
    parser.set_defaults(contenders=[], cases=[case.name for case in CASES], markdown=False)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    outcomes = [run_table(table, options) for table in TABLES if table.key in options.only]
    wrong = [f"{outcome.table.key}: {said}" for outcome in outcomes for said in outcome.wrong]
    if wrong:
        print("wrong answers, so nothing of these tables was measured:", *wrong, sep="\n- ")
    verdicts = judge_bridges({outcome.table.key: outcome.summary(min) for outcome in outcomes})
    print(report.preamble(versions(), fast_json.NAME, options.loop, options.rounds, options.batch))
    for outcome in outcomes:
        titles = {case.name: case.title for case in outcome.cases}
        print(
            report.table(
                outcome.table.title,
                titles,
                outcome.table.base,
                outcome.summary(min),
                outcome.missing,
            )
        )
    print(report.goals(verdicts))
    if options.json:
        tables = {
            each.table.key: {"best": each.summary(min), "median": each.summary(median)}
            for each in outcomes
        }
        options.json.write_text(json.dumps(tables, indent=2) + "\n")
    return int(bool(wrong) or (options.check and not all(verdict.met for verdict in verdicts)))


if __name__ == "__main__":
    raise SystemExit(main())
