"""Marks tell coverage what its own trace function would have told it."""

from __future__ import annotations

import json
import marshal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coverage
import pytest

from tests.support.marks import Marks
from tests.support.started.sitecustomize import NAME

# Each construct that makes a way or a line, in functions that are called with some of the numbers
# from 0 to 3.
SOURCE = '''"""A module.

Of several lines."""

from __future__ import annotations

import contextlib


@contextlib.contextmanager
def manager(
    number: int,
):
    """Documented."""
    try:
        yield number
    finally:
        number += 1


class Documented:
    """Nothing but this."""

    field: int = 1
    """The field's."""

    @property
    @staticmethod
    def value():
        return 1


def branches(number):
    if number == 0: number += 0
    if number == 0:
        number += 1
    elif number == 1:
        number += 2
    else:
        number += 3
    if number == 2:
        """No docstring."""
        number += 1
    while number < 3:
        number += 1
        if number == 2:
            break
    else:
        number += 1
    for each in range(number):
        if each == 2:
            continue
        number += each
    for each in ():
        number += each
    while True:
        number += 1
        if number > 5:
            return number


def raises(number):
    with manager(number) as entered:
        try:
            if entered == 0:
                raise ValueError
            if entered == 1:
                raise KeyError
        except ValueError:
            return 1
        except (
            KeyError
        ):
            pass
        else:
            number = 5
        finally:
            number += 1
    return number if number > 3 else [
        each
        for each in range(3)
    ]


def matches(number, other=None):
    match number:
        case 0:
            other = 0
        case 1 | 7:
            other = 1
    match (number, other):
        case (0, _):
            return 1
        case (1, value) if value > 100:
            return 2
        case _:
            return 3


async def waits(number):
    async for each in number:
        if each:
            return


def generates(number):
    """Yields."""
    global written
    written = 1
    yield from range(number)
    if number:
        yield
'''


@pytest.fixture(autouse=True)
def no_trace_function_stays() -> Iterator[None]:
    """Take back the trace function that coverage sets when a second coverage has ended, because it
    does not know that the first one shall not trace.
    """
    before = sys.gettrace(), threading.gettrace()
    yield
    sys.settrace(before[0])
    threading.settrace(before[1])


def coverage_of(path: Path) -> coverage.Coverage:
    return coverage.Coverage(
        data_file=None, include=[str(path)], branch=True, config_file=False, messages=False
    )


def report_of(measured: coverage.Coverage, path: Path, folder: Path) -> dict[str, Any]:
    """Return the lines and ways that are missing, as coverage reports them."""
    measured.json_report([str(path)], outfile=str(folder / "report.json"))
    measured.get_data().close(force=True)  # its database is in memory
    [report] = json.loads((folder / "report.json").read_text())["files"].values()
    return {name: report[name] for name in ("missing_lines", "missing_branches")}


def call(functions: dict[str, Any], numbers: list[int]) -> None:
    for number in numbers:
        for name in ("branches", "raises", "matches"):
            functions[name](number)
        list(functions["generates"](number))


@pytest.mark.parametrize(
    "numbers", [[], [0], [1], [2], [3], [0, 1], [0, 1, 2], [0, 1, 2, 3]], ids=str
)
def test_the_coverage_report_equals_that_of_the_trace_function(
    tmp_path: Path, numbers: list[int]
) -> None:
    path = tmp_path / "module.py"
    path.write_text(SOURCE)
    traced, functions = coverage_of(path), {"__name__": "traced"}
    with traced.collect():
        exec(compile(SOURCE, path, "exec"), functions)
        call(functions, numbers)

    marks = Marks([path])
    marked: dict[str, Any] = {"__name__": "marked", NAME: marks.reached}
    marks.compile_all(tmp_path / "kept")
    exec(marshal.loads(marks.codes[str(path)]), marked)
    call(marked, numbers)
    told = coverage_of(path)
    told.get_data().add_arcs(marks.arcs())
    marks.close()

    assert report_of(told, path, tmp_path) == report_of(traced, path, tmp_path)
    assert marked["__doc__"] == functions["__doc__"]
    assert marked["Documented"].__doc__ == "Nothing but this."
    assert marked["matches"].__code__.co_firstlineno == functions["matches"].__code__.co_firstlineno  # type: ignore[attr-defined]
