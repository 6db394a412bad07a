"""`python -m benchmarks.overhead`: what a request costs in the framework alone, beside other
frameworks.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import goals, report
from benchmarks.apps import fast_json
from benchmarks.cases import CASES, SESSION_CASES, UPLOAD_CASES, Case, complaint
from benchmarks.harness import (
    AsgiWorld,
    Entry,
    Timings,
    Unavailable,
    World,
    WsgiWorld,
    measure,
    signed_in,
)


@dataclass(frozen=True)
class Contender:
    """A module and function that make an application. The version of `package` is reported.

    The function may return a dictionary from the names of cases to applications instead: a case
    that is not in it has no result. ``world`` is "asgi", "asgi-without-lifespan" or "wsgi", if it
    is another one than the table's.
    """

    name: str
    module: str
    factory: str
    package: str = ""
    world: str = ""

    def make(self) -> Any:
        return getattr(importlib.import_module(f"benchmarks.apps.{self.module}"), self.factory)()


@dataclass(frozen=True)
class Table:
    """One table of the report. The others are shown as multiples of the first contender."""

    key: str
    title: str
    contenders: tuple[Contender, ...]
    cases: tuple[Case, ...] = CASES
    whole_chunks: bool = True
    asgi: bool = False

    @property
    def base(self) -> str:
        return self.contenders[0].name


@dataclass
class Outcome:
    """The results of one table."""

    table: Table
    cases: list[Case]
    timings: Timings = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def summary(self, of: Callable[[list[float]], float]) -> dict[str, dict[str, float]]:
        """Return contender -> case -> one number for all rounds."""
        return {name: {case: of(row[case]) for case in row} for name, row in self.timings.items()}


TABLES = (
    Table(
        "asgi",
        "ASGI, async handlers",
        (
            Contender("hand-written", "handwritten", "make_asgi"),
            Contender("micropie", "micropie_app", "make_asgi"),
            Contender("BlackSheep", "blacksheep_app", "make_asgi", "blacksheep"),
            Contender("Falcon", "falcon_app", "make_asgi", "falcon"),
            Contender("Starlette", "starlette_app", "make_asgi", "starlette"),
            Contender("Litestar", "litestar_app", "make_asgi", "litestar"),
            Contender("FastAPI", "fastapi_app", "make_asgi", "fastapi"),
        ),
        asgi=True,
    ),
    Table(
        "wsgi",
        "WSGI, sync handlers",
        (
            Contender("hand-written", "handwritten", "make_wsgi"),
            Contender("micropie", "micropie_app", "make_wsgi"),
            Contender("Bottle", "bottle_app", "make_wsgi", "bottle"),
            Contender("Flask", "flask_app", "make_wsgi", "flask"),
            Contender("Falcon", "falcon_app", "make_wsgi", "falcon"),
            Contender("CherryPy", "cherrypy_app", "make_wsgi", "cherrypy"),
        ),
    ),
    Table(
        "bridge",
        "WSGI, async handlers",
        (
            Contender("a2wsgi + hand-written", "a2wsgi_app", "make_wsgi", "a2wsgi"),
            Contender("micropie", "micropie_app", "make_async_wsgi"),
            Contender("a2wsgi + micropie", "a2wsgi_app", "make_wsgi_micropie", "a2wsgi"),
        ),
        whole_chunks=False,
    ),
    Table(
        "asgi-sessions",
        "Sessions under ASGI",
        (
            Contender("micropie", "micropie_sessions", "make_memory_asgi"),
            Contender(
                "micropie + signed cookie", "micropie_sessions", "make_cookie_asgi", "itsdangerous"
            ),
            Contender("micropie + SQLite", "micropie_sessions", "make_sqlite_asgi"),
            Contender("micropie + Redis", "micropie_sessions", "make_redis_asgi", "redis"),
            Contender(
                "Starlette + SessionMiddleware",
                "starlette_app",
                "make_asgi_with_sessions",
                "starlette",
            ),
        ),
        SESSION_CASES,
        asgi=True,
    ),
    Table(
        "wsgi-sessions",
        "Sessions under WSGI",
        (
            Contender("micropie", "micropie_sessions", "make_memory_wsgi"),
            Contender(
                "micropie + signed cookie", "micropie_sessions", "make_cookie_wsgi", "itsdangerous"
            ),
            Contender("micropie + SQLite", "micropie_sessions", "make_sqlite_wsgi"),
            Contender("micropie + Redis", "micropie_sessions", "make_redis_wsgi", "redis"),
            Contender("Flask", "flask_app", "make_wsgi_with_sessions", "flask"),
        ),
        SESSION_CASES,
    ),
    Table(
        "asgi-uploads",
        "Uploads under ASGI",
        (
            Contender("hand-written", "handwritten", "make_asgi", "multipart"),
            Contender("micropie", "micropie_app", "make_asgi"),
            Contender("Falcon", "falcon_app", "make_asgi", "falcon"),
            Contender("Starlette", "starlette_app", "make_asgi", "starlette"),
        ),
        UPLOAD_CASES,
        asgi=True,
    ),
    Table(
        "wsgi-uploads",
        "Uploads under WSGI",
        (
            Contender("hand-written", "handwritten", "make_wsgi", "multipart"),
            Contender("micropie", "micropie_app", "make_wsgi"),
            Contender("Falcon", "falcon_app", "make_wsgi", "falcon"),
            Contender("Bottle", "bottle_app", "make_wsgi", "bottle"),
        ),
        UPLOAD_CASES,
    ),
)


def run_table(table: Table, options: argparse.Namespace) -> Outcome:
    outcome = Outcome(table, _cases(table, options))
    made = _make(table, options.contenders, outcome)
    with contextlib.ExitStack() as stack:
        worlds: dict[str, World] = {}
        entries = []
        for contender, app in made:
            kind = contender.world or ("asgi" if table.asgi else "wsgi")
            if kind not in worlds:
                worlds[kind] = stack.enter_context(contextlib.closing(_world(kind, options.loop)))
            apps = (
                app
                if isinstance(app, Mapping)
                else dict.fromkeys([case.name for case in outcome.cases], app)
            )
            entries += [
                Entry(contender.name, worlds[kind], apps[case.name], case)
                for case in outcome.cases
                if case.name in apps
            ]
        outcome.wrong += _check(entries, whole_chunks=table.whole_chunks)
        if entries and not outcome.wrong and options.rounds:
            progress = _progress(table, options)
            outcome.timings = measure(
                entries, rounds=options.rounds, batch=options.batch, progress=progress
            )
    return outcome


def _cases(table: Table, options: argparse.Namespace) -> list[Case]:
    return [case for case in table.cases if case.name in options.cases]


def _world(kind: str, loop: str) -> World:
    return WsgiWorld() if kind == "wsgi" else AsgiWorld(loop, lifespan=kind == "asgi")


def _make(table: Table, wanted: Sequence[str], outcome: Outcome) -> list[tuple[Contender, Any]]:
    made = []
    for contender in table.contenders:
        # the base is always measured: the others are multiples of it
        if contender.name != table.base and wanted and not _is_wanted(contender.name, wanted):
            continue
        try:
            made.append((contender, contender.make()))
        except (ImportError, Unavailable) as error:
            outcome.missing[contender.name] = str(error)
        except Exception as error:  # it is installed but fails to start, which is reported
            outcome.wrong.append(f"{contender.name}: {type(error).__name__}: {error}")
    return made


def _is_wanted(name: str, wanted: Sequence[str]) -> bool:
    return name.lower() in wanted or name.lower().split(" + ", 1)[0] in wanted


def _check(entries: Sequence[Entry], *, whole_chunks: bool) -> list[str]:
    wrong = []
    for name, world, app, case in entries:
        try:
            world.start(app)
            said = complaint(
                case, world.ask(app, signed_in(world, app, case)), whole_chunks=whole_chunks
            )
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
        if said:
            wrong.append(f"{name}, {case.title}: {said}")
    return wrong


def _progress(table: Table, options: argparse.Namespace) -> Any:
    def show(done: int) -> None:
        end = "\n" if done == options.rounds else ""
        print(
            f"\r{table.title}: round {done} of {options.rounds}",
            end=end,
            file=sys.stderr,
            flush=True,
        )

    return (lambda done: None) if options.markdown or not sys.stderr.isatty() else show


def versions(tables: Sequence[Table] = TABLES) -> dict[str, str]:
    """Return the versions of the installed packages that these tables need, and of those that make
    servers fast.
    """
    packages = {c.package for table in tables for c in table.contenders if c.package} | {
        "orjson",
        "uvloop",
    }
    found = {}
    for package in sorted(packages):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def _list(allowed: Sequence[str] | None = None) -> Any:
    def parse(text: str) -> list[str]:
        names = [name.strip().lower() for name in text.split(",") if name.strip()]
        unknown = [name for name in names if allowed is not None and name not in allowed]
        if unknown or not names:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown) or text!r}")
        return names

    return parse


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def parser_for(
    command: str, about: str | None, tables: Sequence[Table], rounds: int
) -> argparse.ArgumentParser:
    """Return a parser of the options that every command of such tables has."""
    keys = [table.key for table in tables]
    cases = list({case.name: case for table in tables for case in table.cases})
    names = {c.name.lower() for table in tables for c in table.contenders}
    names |= {name.split(" + ", 1)[0] for name in names}
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{command}", description=about)
    parser.add_argument(
        "--rounds", type=_positive, default=rounds, help="rounds; the best counts (%(default)s)"
    )
    parser.add_argument(
        "--batch", type=_positive, default=200, help="requests in a batch (%(default)s)"
    )
    parser.add_argument(
        "--only", type=_list(keys), default=keys, help=f"tables, of {','.join(keys)}"
    )
    parser.add_argument(
        "--contenders", type=_list(sorted(names)), default=[], help="these, beside the base"
    )
    parser.add_argument(
        "--cases",
        type=_list(cases),
        default=cases,
        help=f"kinds of requests, of {','.join(cases)}",
    )
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio", help="for ASGI")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write best and median of everything"
    )
    parser.add_argument("--markdown", action="store_true", help="the tables only, to be pasted")
    parser.add_argument("--check", action="store_true", help="exit with 1 unless every goal is met")
    return parser


def as_json(
    outcomes: list[Outcome], verdicts: list[goals.Verdict], options: argparse.Namespace
) -> Any:
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "loop": options.loop,
        "rounds": options.rounds,
        "batch": options.batch,
        "json": fast_json.NAME,
        "versions": versions([outcome.table for outcome in outcomes]),
        "unit": "microseconds per request",
        "tables": {
            outcome.table.key: {
                "base": outcome.table.base,
                "best": outcome.summary(min),
                "median": outcome.summary(median),
                "missing": outcome.missing,
            }
            for outcome in outcomes
        },
        "goals": [{"goal": v.goal, "met": v.met, "detail": v.detail} for v in verdicts],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser_for("overhead", __doc__, TABLES, 40).parse_args(arguments)
    outcomes = [
        run_table(table, options)
        for table in TABLES
        if table.key in options.only and _cases(table, options)
    ]
    wrong = [f"{outcome.table.key}: {said}" for outcome in outcomes for said in outcome.wrong]
    if wrong:
        print(
            "wrong answers, so nothing of these tables was measured:",
            *wrong,
            sep="\n- ",
            file=sys.stderr,
        )
    verdicts = goals.judge({outcome.table.key: outcome.summary(min) for outcome in outcomes})
    if not options.markdown:
        print(
            report.preamble(versions(), fast_json.NAME, options.loop, options.rounds, options.batch)
        )
    for outcome in outcomes:
        titles = {case.name: case.title for case in outcome.cases}
        best = outcome.summary(min)
        print(report.table(outcome.table.title, titles, outcome.table.base, best, outcome.missing))
    if not options.markdown:
        print(report.goals(verdicts))
    if options.json:
        options.json.write_text(json.dumps(as_json(outcomes, verdicts, options), indent=2) + "\n")
    return int(bool(wrong) or (options.check and not all(v.met for v in verdicts)))


if __name__ == "__main__":
    raise SystemExit(main())
