"""`python -m benchmarks.opcodes`: how many bytecode instructions a request takes, beside other
frameworks.

A count is the same in every run and under any load, unless threads or timers take part. So two
commits can be compared on a busy machine, and a saving of one percent shows:

    python -m benchmarks.opcodes --contenders micropie --json before.json
    python -m benchmarks.opcodes --contenders micropie --since before.json
    python -m benchmarks.opcodes --contenders micropie --cases form --only asgi --top 20 --lines

An instruction takes 6 to 7 ns, with its share of the C functions that it calls. Code in C or Cython
is not counted, so the counts of frameworks that are compiled in part are too low, and it is no
saving to move work into a C function that takes as long. `tests/test_costs.py` has a ceiling for
each kind of request.

CPython 3.12 crashes while instructions are traced: use 3.11 or 3.13.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from benchmarks import features, harness, overhead
from benchmarks.cases import Case, complaint
from benchmarks.harness import AsgiWorld, Unavailable, WsgiWorld, signed_in
from benchmarks.overhead import Table

TABLES = tuple(
    table
    for table in (*overhead.TABLES, *features.TABLES)
    if table.key in ("asgi", "wsgi") and table.contenders[0].name == "hand-written"
)
# Of the requests of a case the first don't count, of the others the least does.
WARM, TIMES = 7, 3


class Instructions:
    """Counts the instructions that the threads of this process execute from ``begin`` to ``end``.

    Only functions that begin in between count, and no functions of the files ``left_out``, given by
    the beginning of their paths. ``counts``: by thread, code object and line. It has to be made
    before the threads.
    """

    def __init__(self, left_out: tuple[str, ...]) -> None:
        self.counts: Counter[tuple[int, CodeType, int]] = Counter()
        self._left_out = left_out
        self._is_counting = False
        threading.settrace(self._begin_frame)

    def begin(self) -> None:
        self.counts.clear()
        self._is_counting = True
        sys.settrace(self._begin_frame)

    def end(self) -> None:
        sys.settrace(None)
        self._is_counting = False

    def close(self) -> None:
        threading.settrace(None)

    def of_threads(self) -> tuple[int, int]:
        """Return how many threads were seen, and how many instructions they executed."""
        return len({thread for thread, _, _ in self.counts}), self.counts.total()

    def of_files(self, beginning: str) -> int:
        """Return the instructions in files whose paths begin like this."""
        return sum(
            count
            for (_, code, _), count in self.counts.items()
            if code.co_filename.startswith(beginning)
        )

    def _begin_frame(self, frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        if not self._is_counting or frame.f_code.co_filename.startswith(self._left_out):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._step

    def _step(self, frame: FrameType, event: str, _: object) -> Callable[..., Any]:
        if event == "opcode" and self._is_counting:
            self.counts[threading.get_ident(), frame.f_code, frame.f_lineno or 0] += 1
        return self._step


class CountedAsgi:
    """An ASGI application whose requests are counted."""

    def __init__(self, app: Any, instructions: Instructions) -> None:
        self._app, self._instructions = app, instructions

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        self._instructions.begin()
        try:
            await self._app(scope, receive, send)
        finally:
            self._instructions.end()


class CountedWsgi:
    """A WSGI application whose requests are counted, with the body and its end."""

    def __init__(self, app: Any, instructions: Instructions) -> None:
        self._app, self._instructions = app, instructions

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        self._instructions.begin()
        try:
            result = self._app(environ, start_response)
            pieces = [*result]
            if hasattr(result, "close"):
                result.close()
        finally:
            self._instructions.end()
        return pieces


class Count:
    """The outcome for one contender and case."""

    def __init__(self, instructions: Instructions) -> None:
        _, self.total = instructions.of_threads()
        self.counts = instructions.counts.copy()

    def listing(self, most: int, *, has_lines: bool) -> str:
        """Return the functions, or their lines, with the most instructions of their own."""
        by_place: Counter[str] = Counter()
        for (_, code, line), count in self.counts.items():
            path = code.co_filename.rpartition("site-packages/")[2].removeprefix(f"{Path.cwd()}/")
            by_place[f"{path}{f':{line}' if has_lines else ''}  {code.co_qualname}"] += count
        return "\n".join(f"{count:7}  {place}" for place, count in by_place.most_common(most))


def count_table(
    table: Table, names: Sequence[str], cases: Sequence[str]
) -> tuple[dict[str, dict[str, Count]], list[str]]:
    """Return the counts of the contenders ``names``, all if there are none, and what is missing or
    wrong.
    """
    found: dict[str, dict[str, Count]] = {}
    complaints = []
    for contender in table.contenders:
        if names and contender.name.lower() not in names:
            continue
        instructions = Instructions((harness.__file__, __file__))
        try:
            made = contender.make()
        except (ImportError, Unavailable) as error:
            complaints.append(f"{contender.name} is missing: {error}")
            continue
        counted = CountedAsgi if table.asgi else CountedWsgi
        apps: dict[int, Any] = {}
        found[contender.name] = row = {}
        with closing(AsgiWorld() if table.asgi else WsgiWorld()) as world:
            for case in table.cases:
                app = made.get(case.name) if isinstance(made, Mapping) else made
                if app is None or case.name not in cases:
                    continue
                app = apps.setdefault(id(app), counted(app, instructions))
                world.start(app)
                own = signed_in(world, app, case)
                answers = [world.ask(app, own) for _ in range(WARM)]
                # the first answer: a case may count its visits
                said = complaint(case, answers[0], whole_chunks=False)
                if said:
                    complaints.append(f"{contender.name}, {case.title}: {said}")
                    continue
                row[case.name] = min(
                    (_count_one(world, app, own, instructions) for _ in range(TIMES)),
                    key=lambda count: count.total,
                )
        instructions.close()
    return found, complaints


def _count_one(world: Any, app: Any, case: Case, instructions: Instructions) -> Count:
    world.ask(app, case)
    return Count(instructions)


def as_table(
    table: Table, found: Mapping[str, Mapping[str, Count]], since: Mapping[str, Mapping[str, int]]
) -> str:
    """Return the counts as markdown, each with its difference to ``since`` if that has it."""
    lines = [
        f"### {table.title}\n",
        f"| instructions per request | {' | '.join(found)} |",
        f"|---|{'---:|' * len(found)}",
    ]
    for case in table.cases:
        cells = []
        for name, row in found.items():
            before = since.get(name, {}).get(case.name)
            cell = f"{row[case.name].total:,}" if case.name in row else ""
            if cell and before is not None:
                cell += f" ({row[case.name].total - before:+,})"
            cells.append(cell)
        if any(cells):
            lines.append(f"| {case.title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    cases = [*{case.name: case for table in TABLES for case in table.cases}]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.opcodes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", choices=("asgi", "wsgi"), help="one protocol")
    parser.add_argument("--contenders", default="", help="separated by commas")
    parser.add_argument("--cases", default=",".join(cases), help="%(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the counts")
    parser.add_argument("--since", type=Path, metavar="FILE", help="compare with these counts")
    parser.add_argument("--top", type=int, default=0, help="list so many functions of each count")
    parser.add_argument("--lines", action="store_true", help="list lines, not functions")
    options = parser.parse_args(arguments)
    if sys.version_info[:2] == (3, 12):
        parser.error("CPython 3.12 crashes while instructions are traced: use 3.11 or 3.13")
    since = json.loads(options.since.read_text()) if options.since else {}
    names = [name.strip().lower() for name in options.contenders.split(",") if name.strip()]
    wrong: list[str] = []
    written = {}
    for table in TABLES:
        is_asked = {case.name for case in table.cases} & {*options.cases.split(",")}
        if options.only not in (None, table.key) or not is_asked:
            continue
        found, complaints = count_table(table, names, options.cases.split(","))
        wrong += complaints
        print(as_table(table, found, since.get(table.title, {})))
        for name, row in found.items() if options.top else ():
            for case, count in row.items():
                print(f"{name}, {case}: {count.total:,}")
                print(count.listing(options.top, has_lines=options.lines), end="\n\n")
        written[table.title] = {
            name: {case: count.total for case, count in row.items()} for name, row in found.items()
        }
    print(*wrong, sep="\n", end="\n" if wrong else "")
    if options.json:
        options.json.write_text(json.dumps(written, indent=2) + "\n")
    return int(any(" is missing: " not in said for said in wrong))


if __name__ == "__main__":
    raise SystemExit(main())
