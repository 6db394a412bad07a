"""Marks in the code of micropie and of the compatibility modules, from which coverage learns which
lines and ways the tests have reached.

coverage watches by a trace function until Python 3.14. While one is set, Python 3.11 takes two to
three times as long for all code of the thread, of whatever package. A mark costs a tenth of a line
that is traced, and code without marks nothing. So each of these modules is compiled with
``__reached__[number] = 1`` in front of each statement, and in each way past a block: the ``else``
of an ``if`` or a loop that has none, and the case of a ``match`` that no pattern fits.

The forks of a process share its marks, and the processes that a test starts share others
(tests/support/started). ``Marks.arcs`` makes of them what coverage would have seen, by coverage's
own knowledge of the lines that may follow each other. What has to be reached, and the report, are
coverage's; what it knows of a file is kept as well, because it takes eight seconds to parse all
when the tests are through, while the other processor has nothing to do.
"""

from __future__ import annotations

import ast
import marshal
import mmap
import os
import pickle
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import coverage
from coverage.misc import join_regex
from coverage.parser import PythonParser

from tests.support.started.sitecustomize import NAME, PACKAGES, find_marked

ROOT = Path(__file__).parents[2]
FOLDERS = (ROOT / "micropie", ROOT / "compat" / "src" / "micropie_compat")  # of ``PACKAGES``
KEPT = ROOT / "build" / f"marked-{sys.implementation.cache_tag}"
Block = list[ast.stmt]


def begin() -> Marks:
    """Have ``PACKAGES`` marked, which are not imported yet."""
    assert sys.modules.keys().isdisjoint(PACKAGES), "one was imported without marks"
    marks = Marks([path for folder in FOLDERS for path in sorted(folder.rglob("*.py"))])
    marks.compile_all(KEPT, ROOT / "pyproject.toml")
    find_marked(marks.reached, marks.codes)
    return marks


class Place(NamedTuple):
    """Where the marks of a file are: a byte for each line from ``lines`` on, and for the way past
    it from ``past`` on.
    """

    lines: int
    past: int


class Marks:
    """The marks of some files."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._places: dict[str, Place] = {}
        self.codes: dict[str, bytes] = {}
        self._followers: dict[str, bytes] = {}
        size = 0
        for path in paths:
            lines = path.read_bytes().count(b"\n") + 2
            # a line more leaves the marks of the files behind it where they are
            count = lines + -lines % 64
            self._places[str(path)] = Place(size, size + count)
            size += 2 * count
        self.reached = mmap.mmap(-1, size)
        self._file = tempfile.NamedTemporaryFile(prefix="marks-")  # noqa: SIM115 - as long as processes may begin
        self._file.truncate(size)
        self._reached_by_others = mmap.mmap(self._file.fileno(), size)

    def close(self) -> None:
        """Remove the file of the marks of other processes."""
        self._file.close()

    @property
    def for_others(self) -> str:
        """The value of the variable by which a process that is started marks as well."""
        return f"{self._file.name}{os.pathsep}{KEPT}"

    def compile_all(self, kept: Path, *settings: Path) -> None:
        """Compile the files, but take from ``kept`` what an earlier process has made of those that
        have not changed, nor have the files of the settings.

        All take ten seconds, and each worker of pytest-xdist would take them once more.
        """
        changed = [path.stat().st_mtime_ns for path in (Path(__file__), *settings)]
        makers = (sys.version, coverage.__version__, *changed)
        known: tuple[dict[str, Any], ...] = (
            marshal.loads(kept.read_bytes()) if kept.exists() else ({}, {}, {})
        )
        self._kept, states, parsers = kept, {}, dict[str, bytes]()
        for path, place in self._places.items():
            stat = Path(path).stat()
            states[path] = (*makers, *place, stat.st_mtime_ns, stat.st_size)
            if known[0].get(path) == states[path]:
                self.codes[path], self._followers[path] = known[1][path], known[2][path]
            else:
                self.codes[path] = marshal.dumps(
                    compile(_marked(path, place), path, "exec", dont_inherit=True)
                )
                parser = _parser(path)
                self._followers[path] = marshal.dumps(_followers(parser))
                parsers[path] = pickle.dumps(parser)
        if states != known[0]:
            kept.parent.mkdir(exist_ok=True)
            _write(self._path_of_parsers, self.parsers() | parsers)
            _write(kept, (states, self.codes, self._followers))

    @property
    def _path_of_parsers(self) -> Path:
        return self._kept.with_suffix(".parsers")

    def parsers(self) -> dict[str, bytes]:
        """Return coverage's parser of each file, as ``pickle`` writes it."""
        kept = self._path_of_parsers
        parsers: dict[str, bytes] = marshal.loads(kept.read_bytes()) if kept.exists() else {}
        return parsers

    def add(self, reached: bytes) -> None:
        """Add what another process with the same marks has reached."""
        self.reached[:] = bytes(map(max, self.reached[:], reached))

    def add_others(self) -> None:
        """Add what the processes that were started have reached."""
        self.add(self._reached_by_others[:])

    def arcs(self) -> dict[str, set[tuple[int, int]]]:
        """Return for each file the pairs of lines that followed each other, as far as coverage asks
        for them.
        """
        return {
            path: found for path in self._places for found in [set(self._arcs_of(path))] if found
        }

    def _arcs_of(self, path: str) -> Iterator[tuple[int, int]]:
        place, reached = self._places[path], self.reached
        if not any(reached[place.lines : place.past]):
            return
        followers: dict[int, set[int]] = marshal.loads(self._followers[path])
        for line in range(place.past - place.lines):
            following = followers.get(line, set())
            # it begins below its head
            block = min((later for later in following if later > line), default=0)
            if reached[place.lines + line]:
                yield -1, line
                if reached[place.lines + block]:
                    yield line, block
            if reached[place.past + line]:
                yield from ((line, past) for past in following - {block})


def _write(path: Path, value: Any) -> None:
    """Write a file at once: another process may read it."""
    new = path.with_suffix(f".{os.getpid()}")
    new.write_bytes(marshal.dumps(value))
    new.replace(path)


def _parser(path: str) -> PythonParser:
    """Return coverage's parser of a file, as its report uses it."""
    current = coverage.Coverage.current()
    excluded = join_regex(current.get_exclude_list()) if current is not None else None
    parser = PythonParser(filename=path, exclude=excluded)
    parser.parse_source()
    return parser


def _followers(parser: PythonParser) -> dict[int, set[int]]:
    """Return the lines that may follow each line."""
    followers: dict[int, set[int]] = {}
    for line, following in parser.arcs():
        followers.setdefault(line, set()).add(following)
    return followers


def _marked(path: str, place: Place) -> ast.Module:
    tree = ast.parse(Path(path).read_bytes(), path)
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list) and block:
                setattr(node, name, _with_marks(block, place))
        if isinstance(node, ast.If | ast.For | ast.AsyncFor | ast.While):
            node.orelse = [_mark(place.past + node.lineno, node.lineno), *node.orelse]
        elif isinstance(node, ast.Try | ast.TryStar):
            for index, handler in enumerate(node.handlers):
                tried = [each.lineno for each in node.handlers[: index + 1]]
                handler.body = [*(_mark(place.lines + line, line) for line in tried), *handler.body]
        elif isinstance(node, ast.Match):
            _mark_cases(node, place)
    return tree


def _with_marks(block: Block, place: Place) -> Block:
    """Return a block with marks for each line of its statements that coverage counts.

    A docstring and an import from the future have to come first, so their marks follow them.
    """
    marked: Block = []
    waiting: Block = []
    for index, statement in enumerate(block):
        decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
        lines = [*(each.lineno for each in decorators), statement.lineno]
        waiting += [_mark(place.lines + line, line) for line in lines]
        is_docstring = (
            index == 0
            and isinstance(statement, ast.Expr)
            and isinstance(statement.value, ast.Constant)
        )
        if not is_docstring and not (
            isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
        ):
            marked += waiting
            waiting = []
        marked.append(statement)
    return [*marked, *waiting]


def _mark_cases(match: ast.Match, place: Place) -> None:
    """Mark the patterns that were tried, and the ways past those that did not fit, when it is known
    which one does.
    """
    heads = [case.pattern.lineno for case in match.cases]
    last = match.cases[-1]
    if (
        last.guard is not None
        or not isinstance(last.pattern, ast.MatchAs)
        or last.pattern.pattern is not None
    ):
        match.cases.append(ast.match_case(ast.MatchAs(**_at(match.lineno)), body=[]))
    for index, case in enumerate(match.cases):
        tried: Block = [_mark(place.lines + line, line) for line in heads[: index + 1]]
        case.body = [
            *tried,
            *(_mark(place.past + line, line) for line in heads[:index]),
            *case.body,
        ]


def _mark(number: int, line: int) -> ast.stmt:
    at = _at(line)
    mark = ast.Subscript(
        ast.Name(NAME, ast.Load(), **at), ast.Constant(number, **at), ast.Store(), **at
    )
    return ast.Assign([mark], ast.Constant(1, **at), **at)


def _at(line: int) -> dict[str, Any]:
    return {"lineno": line, "col_offset": 0, "end_lineno": line, "end_col_offset": 0}
