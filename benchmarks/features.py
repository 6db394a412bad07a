"""`python -m benchmarks.features`: what a site does with a request, beside other frameworks, and
shapes of handlers.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from statistics import median

from benchmarks import report
from benchmarks.apps import fast_json
from benchmarks.cases import (
    ASYNC_CASES,
    EVERYDAY_CASES,
    MIDDLEWARE_CASES,
    SHAPE_CASES,
    STREAM_CASES,
    SYNC_STREAM,
)
from benchmarks.goals import OURS, judge_features
from benchmarks.overhead import Contender, Outcome, Table, as_json, parser_for, run_table, versions

BASE = "hand-written"
ASGI = (
    Contender(BASE, "features.handwritten", "make_asgi", "multipart"),
    Contender(OURS, "features.micropie_app", "make_asgi"),
    Contender("Starlette", "features.starlette_app", "make_asgi", "starlette"),
    Contender("Falcon", "features.falcon_app", "make_asgi", "falcon"),
    Contender("BlackSheep", "features.blacksheep_app", "make_asgi", "blacksheep"),
)
TABLES = (
    Table("asgi", "ASGI", ASGI, (*EVERYDAY_CASES, *ASYNC_CASES, *MIDDLEWARE_CASES), asgi=True),
    Table("streams", "ASGI, streams of 50 chunks of text", ASGI, STREAM_CASES, asgi=True),
    Table(
        "wsgi",
        "WSGI",
        (
            Contender(BASE, "features.handwritten", "make_wsgi", "multipart"),
            Contender(OURS, "features.micropie_app", "make_wsgi"),
            Contender("Bottle", "features.bottle_app", "make_wsgi", "bottle"),
            Contender("Flask", "features.flask_app", "make_wsgi", "flask"),
            Contender("Falcon", "features.falcon_app", "make_wsgi", "falcon"),
        ),
        (*EVERYDAY_CASES, *MIDDLEWARE_CASES, SYNC_STREAM),
    ),
    Table(
        "shapes",
        "Shapes of handlers",
        (
            Contender("ASGI: `async def`", "features.shapes", "Async", world="asgi"),
            Contender(
                "without lifespan", "features.shapes", "Async", world="asgi-without-lifespan"
            ),
            Contender("`def`, in a thread", "features.shapes", "Sync", world="asgi"),
            Contender('`def`, `@run_in("loop")`', "features.shapes", "make_inline", world="asgi"),
            Contender("WSGI: `def`", "features.shapes", "Sync", world="wsgi"),
            Contender("`async def`", "features.shapes", "Async", world="wsgi"),
        ),
        SHAPE_CASES,
        whole_chunks=False,
    ),
)


def section(outcome: Outcome) -> str:
    """Return a table's figures as markdown, and the cases in which a peer is ahead."""
    table = outcome.table
    cases = {case.name: case.title for case in outcome.cases}
    best, medians = outcome.summary(min), outcome.summary(median)
    lines = [f"## {table.title}\n"]
    if table.key == "shapes":
        for yielded in (False, True):
            titles = {
                name: title
                for name, title in cases.items()
                if name.startswith("yielded") == yielded
            }
            rows = [
                {
                    way: {case: row[case] for case in titles if case in row}
                    for way, row in each.items()
                }
                for each in (best, medians)
            ]
            lines += [report.by_case(titles, *rows, spread=True)] if titles and best else []
    else:
        lines += [report.by_case(cases, best, medians, base=BASE)] if best else []
        lines += ["Where micropie is slower:\n", report.behind(cases, best, OURS, BASE)]
    lines += [f"Missing: {name} ({why}).\n" for name, why in outcome.missing.items()]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = parser_for("features", __doc__, TABLES, 20)
    parser.add_argument(
        "--answers", action="store_true", help="check every answer, and measure nothing"
    )
    parser.add_argument(
        "--write", action="store_true", help="write the tables into the documentation"
    )
    options = parser.parse_args(arguments)
    if options.answers:
        options.rounds = 0
    outcomes = [
        run_table(table, options)
        for table in TABLES
        if table.key in options.only and any(case.name in options.cases for case in table.cases)
    ]
    wrong = [f"{outcome.table.key}: {said}" for outcome in outcomes for said in outcome.wrong]
    if wrong:
        print(
            "wrong answers, so nothing of these tables was measured:",
            *wrong,
            sep="\n- ",
            file=sys.stderr,
        )
    if options.answers:
        return int(bool(wrong))
    about = report.preamble(
        versions([outcome.table for outcome in outcomes]),
        fast_json.NAME,
        options.loop,
        options.rounds,
        options.batch,
    )
    sections = "\n".join(section(outcome) for outcome in outcomes)
    verdicts = judge_features({outcome.table.key: outcome.summary(min) for outcome in outcomes})
    if not options.markdown:
        print(about)
    print(sections)
    if not options.markdown:
        print(report.goals(verdicts))
    if options.json:
        options.json.write_text(json.dumps(as_json(outcomes, verdicts, options), indent=2) + "\n")
    if options.write and not wrong:
        report.write_section("features", f"Measured on {report.today()}. {about}\n{sections}")
    return int(bool(wrong) or (options.check and not all(verdict.met for verdict in verdicts)))


if __name__ == "__main__":
    raise SystemExit(main())
