"""`python -m benchmarks.overhead`: what a request costs in the framework alone, beside other frameworks."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import goals, report
from benchmarks.apps import fast_json
from benchmarks.cases import CASES, SESSION_CASES, UPLOAD_CASES, Case, complaint
from benchmarks.harness import AsgiWorld, Timings, Unavailable, World, WsgiWorld, measure, signed_in


@dataclass(frozen=True)
class Contender:
    """A module and function that make an application. The version of `package` is reported."""

    name: str
    module: str
    factory: str
    package: str = ""

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
            Contender("micropie + signed cookie", "micropie_sessions", "make_cookie_asgi", "itsdangerous"),
            Contender("micropie + SQLite", "micropie_sessions", "make_sqlite_asgi"),
            Contender("micropie + Redis", "micropie_sessions", "make_redis_asgi", "redis"),
            Contender("Starlette + SessionMiddleware", "starlette_app", "make_asgi_with_sessions", "starlette"),
        ),
        SESSION_CASES,
        asgi=True,
    ),
    Table(
        "wsgi-sessions",
        "Sessions under WSGI",
        (
            Contender("micropie", "micropie_sessions", "make_memory_wsgi"),
            Contender("micropie + signed cookie", "micropie_sessions", "make_cookie_wsgi", "itsdangerous"),
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

ALL_CASES = list({case.name: case for table in TABLES for case in table.cases})


def run_table(table: Table, options: argparse.Namespace) -> Outcome:
    outcome = Outcome(table, _cases(table, options))
    apps = _make(table, options.contenders, outcome)
    with _world(table, options.loop) as world:
        for name, app in apps.items():
            world.start(app)
            outcome.wrong += _check(world, name, app, outcome)
        if apps and not outcome.wrong:
            outcome.timings = measure(
                world, apps, outcome.cases, rounds=options.rounds, batch=options.batch,
                progress=_progress(table, options),
            )  # fmt: skip
    return outcome


def _cases(table: Table, options: argparse.Namespace) -> list[Case]:
    return [case for case in table.cases if case.name in options.cases]


@contextlib.contextmanager
def _world(table: Table, loop: str) -> Iterator[World]:
    world: World = AsgiWorld(loop) if table.asgi else WsgiWorld()
    with contextlib.closing(world):
        yield world


def _make(table: Table, wanted: Sequence[str], outcome: Outcome) -> dict[str, Any]:
    apps = {}
    for contender in table.contenders:
        # the base is always measured: the others are multiples of it
        if contender.name != table.base and wanted and not _is_wanted(contender.name, wanted):
            continue
        try:
            apps[contender.name] = contender.make()
        except (ImportError, Unavailable) as error:
            outcome.missing[contender.name] = str(error)
        except Exception as error:  # it is installed but fails to start, which is reported
            outcome.wrong.append(f"{contender.name}: {type(error).__name__}: {error}")
    return apps


def _is_wanted(name: str, wanted: Sequence[str]) -> bool:
    return name.lower() in wanted or name.lower().split(" + ", 1)[0] in wanted


def _check(world: World, name: str, app: Any, outcome: Outcome) -> list[str]:
    wrong = []
    for case in outcome.cases:
        try:
            said = complaint(case, world.ask(app, signed_in(world, app, case)), whole_chunks=outcome.table.whole_chunks)
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
        if said:
            wrong.append(f"{name}, {case.title}: {said}")
    return wrong


def _progress(table: Table, options: argparse.Namespace) -> Any:
    def show(done: int) -> None:
        end = "\n" if done == options.rounds else ""
        print(f"\r{table.title}: round {done} of {options.rounds}", end=end, file=sys.stderr, flush=True)

    return (lambda done: None) if options.markdown or not sys.stderr.isatty() else show


def versions() -> dict[str, str]:
    packages = {c.package for table in TABLES for c in table.contenders if c.package} | {"orjson", "uvloop"}
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


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    tables, cases = [table.key for table in TABLES], ALL_CASES
    names = {c.name.lower() for table in TABLES for c in table.contenders}
    names |= {name.split(" + ", 1)[0] for name in names}
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description=__doc__)
    parser.add_argument("--rounds", type=_positive, default=40, help="rounds; the best counts (%(default)s)")
    parser.add_argument("--batch", type=_positive, default=200, help="requests in a batch (%(default)s)")
    parser.add_argument("--only", type=_list(tables), default=tables, help=f"tables, of {','.join(tables)}")
    parser.add_argument("--contenders", type=_list(sorted(names)), default=[], help="these, beside the base")
    parser.add_argument("--cases", type=_list(cases), default=cases, help=f"columns, of {','.join(cases)}")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio", help="for the ASGI table")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write best and median of everything")
    parser.add_argument("--markdown", action="store_true", help="the tables only, to be pasted")
    parser.add_argument("--check", action="store_true", help="exit with 1 unless every goal is met")
    return parser.parse_args(arguments)


def _as_json(outcomes: list[Outcome], verdicts: list[goals.Verdict], options: argparse.Namespace) -> Any:
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "loop": options.loop,
        "rounds": options.rounds,
        "batch": options.batch,
        "json": fast_json.NAME,
        "versions": versions(),
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
    options = _options(arguments)
    outcomes = [run_table(table, options) for table in TABLES if table.key in options.only and _cases(table, options)]
    wrong = [f"{outcome.table.key}: {said}" for outcome in outcomes for said in outcome.wrong]
    if wrong:
        print("wrong answers, so nothing of these tables was measured:", *wrong, sep="\n- ", file=sys.stderr)
    verdicts = goals.judge({outcome.table.key: outcome.summary(min) for outcome in outcomes})
    if not options.markdown:
        print(report.preamble(versions(), fast_json.NAME, options.loop, options.rounds, options.batch))
    for outcome in outcomes:
        titles = {case.name: case.title for case in outcome.cases}
        best = outcome.summary(min)
        print(report.table(outcome.table.title, titles, outcome.table.base, best, outcome.missing))
    if not options.markdown:
        print(report.goals(verdicts))
    if options.json:
        options.json.write_text(json.dumps(_as_json(outcomes, verdicts, options), indent=2) + "\n")
    return int(bool(wrong) or (options.check and not all(v.met for v in verdicts)))


if __name__ == "__main__":
    raise SystemExit(main())
