"""`python -m benchmarks.moving`: an old application on its own framework, and on micropie by one
changed import line.

The first tables are measured in process, as those of `overhead`. The last one has requests per
second on the plain text behind servers with one worker; `--without-servers` leaves it out.
"""

from __future__ import annotations

import contextlib
import json
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import median

from benchmarks import report
from benchmarks.apps import fast_json, moved_apps
from benchmarks.cases import BY_NAME, HOOK
from benchmarks.goals import judge_moving
from benchmarks.harness import Unavailable
from benchmarks.load import rate
from benchmarks.overhead import Contender, Table, as_json, parser_for, run_table, versions
from benchmarks.processes import free_port, running, uvicorn

HOOKED = tuple(
    replace(BY_NAME[name], expects=(HOOK,)) for name in ("plain", "json", "form", "stream")
)

TABLES = (
    Table(
        "bottle",
        "An application on Bottle, under WSGI",
        (
            Contender("Bottle", "moved_apps", "make_bottle", "bottle"),
            Contender("micropie", "moved_apps", "make_moved_bottle"),
        ),
    ),
    Table(
        "cherrypy",
        "An application on CherryPy, under WSGI",
        (
            Contender("CherryPy", "moved_apps", "make_cherrypy", "cherrypy"),
            Contender("micropie", "moved_apps", "make_moved_cherrypy"),
        ),
    ),
    Table(
        "bottle-hooks",
        "An application on Bottle with a hook before and one after each request, under WSGI",
        (
            Contender("Bottle", "moved_apps", "make_hooked_bottle", "bottle"),
            Contender("micropie", "moved_apps", "make_moved_hooked_bottle"),
        ),
        HOOKED,
    ),
    Table(
        "cherrypy-hooks",
        "An application on CherryPy with a tool before and one after each handler, under WSGI",
        (
            Contender("CherryPy", "moved_apps", "make_hooked_cherrypy", "cherrypy"),
            Contender("micropie", "moved_apps", "make_moved_hooked_cherrypy"),
        ),
        HOOKED,
    ),
    Table(
        "bottle-asgi",
        "An application on Bottle, under ASGI",
        (
            Contender("a2wsgi + Bottle", "moved_apps", "make_bottle_a2wsgi", "a2wsgi"),
            Contender("micropie", "moved_apps", "make_moved_bottle"),
        ),
        whole_chunks=False,
        asgi=True,
    ),
    Table(
        "cherrypy-asgi",
        "An application on CherryPy, under ASGI",
        (
            Contender("a2wsgi + CherryPy", "moved_apps", "make_cherrypy_a2wsgi", "a2wsgi"),
            Contender("micropie", "moved_apps", "make_moved_cherrypy"),
        ),
        whole_chunks=False,
        asgi=True,
    ),
)
# Under uvicorn the original needs a bridge: it is not asked there.
SERVED = (
    ("Bottle", "gunicorn", "make_bottle"),
    ("micropie in Bottle's place", "gunicorn", "make_moved_bottle"),
    ("micropie in Bottle's place", "uvicorn", "make_moved_bottle"),
    ("CherryPy", "gunicorn", "make_cherrypy"),
    ("micropie in CherryPy's place", "gunicorn", "make_moved_cherrypy"),
    ("micropie in CherryPy's place", "uvicorn", "make_moved_cherrypy"),
)
TURN = 2.0  # seconds
CONNECTIONS = 16


@contextlib.contextmanager
def serving(server: str, factory: str) -> Iterator[int]:
    """Run a server with one worker and yield its port."""
    application = f"benchmarks.apps.moved_apps:{factory}"
    if server == "uvicorn":
        with uvicorn(application) as (port, _):
            yield port
        return
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "--bind",
        f"127.0.0.1:{port}",
        "--log-level",
        "critical",
    ]
    command += [
        "--worker-class",
        "gthread",
        "--threads",
        "4",
        "--keep-alive",
        "60",
        f"{application}()",
    ]
    with running(command, port):
        yield port


def measure_served(rounds: int) -> str:
    """Return the table of requests per second behind servers. The contenders take turns."""
    missing = []
    with contextlib.ExitStack() as stack:
        ports = {}
        for name, server, factory in SERVED:
            try:
                getattr(moved_apps, factory)()
                ports[name, server] = stack.enter_context(serving(server, factory))
            except (ImportError, Unavailable) as error:
                missing.append(f"\nMissing: {name} on {server} ({error}).")
        rates: dict[tuple[str, str], list[float]] = {key: [] for key in ports}
        order = list(ports)
        for _ in range(rounds):
            random.shuffle(order)
            for key in order:
                rates[key].append(rate(ports[key], TURN, CONNECTIONS))
    lines = [
        "### Behind servers",
        "",
        "| requests per second | server | best | median |",
        "| --- | --- | ---: | ---: |",
    ]
    lines += [
        f"| {name} | {server} | {max(row):.0f} | {median(row):.0f} |"
        for (name, server), row in rates.items()
    ]
    return "\n".join([*lines, *missing]) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = parser_for("moving", __doc__, TABLES, 40)
    parser.add_argument("--without-servers", action="store_true", help="in process only")
    parser.add_argument(
        "--server-rounds", type=int, default=5, help="turns of two seconds (%(default)s)"
    )
    options = parser.parse_args(arguments)
    outcomes = [run_table(table, options) for table in TABLES if table.key in options.only]
    wrong = [f"{outcome.table.key}: {said}" for outcome in outcomes for said in outcome.wrong]
    if wrong:
        print(
            "wrong answers, so nothing of these tables was measured:",
            *wrong,
            sep="\n- ",
            file=sys.stderr,
        )
    verdicts = judge_moving({outcome.table.key: outcome.summary(min) for outcome in outcomes})
    if not options.markdown:
        print(
            report.preamble(
                versions(TABLES), fast_json.NAME, options.loop, options.rounds, options.batch
            )
        )
    for outcome in outcomes:
        titles = {case.name: case.title for case in outcome.cases}
        best = outcome.summary(min)
        print(report.table(outcome.table.title, titles, outcome.table.base, best, outcome.missing))
    if not options.without_servers:
        print(measure_served(options.server_rounds))
    print(report.goals(verdicts))
    if options.json:
        options.json.write_text(json.dumps(as_json(outcomes, verdicts, options), indent=2) + "\n")
    return int(bool(wrong) or (options.check and not all(verdict.met for verdict in verdicts)))


if __name__ == "__main__":
    raise SystemExit(main())
