"""The choice of worlds that a case runs in, and of the tests whose lines count."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.measuring import OUTSIDE
from tests.support.selection import ALIKE, COSTLY, WAITING, WORLDS, chosen_cases

ROOT = Path(__file__).parent.parent.parent
QUIET, WAITS = "tests/http/test_cookies.py::test_it", "tests/flow/test_http.py::test_it"


class Case:
    """What the choice sees of a case."""

    def __init__(self, world: str, name: str = "", argument: str = "world") -> None:
        self.id = "-".join(filter(None, [world, name]))
        self.params = {argument: world}


def chosen(function: str, cases: Sequence[Case]) -> list[str]:
    return [case.id for case in chosen_cases(function, cases)]


@pytest.mark.parametrize(
    ("function", "worlds"), [(WAITS, list(WORLDS)), (QUIET, ["wsgi", "asyncio"])]
)
def test_the_first_case_runs_under_every_protocol_and_each_other_one_under_one(
    function: str, worlds: list[str]
) -> None:
    cases = [Case(world, str(number)) for number in range(300) for world in WORLDS]
    found = chosen(function, cases)
    assert found[: len(worlds)] == [f"{world}-0" for world in worlds]
    rest = [one.partition("-") for one in found[len(worlds) :]]
    assert [int(case) for _, _, case in rest] == list(range(1, 300))
    shares = {world: sum(own == world for own, _, _ in rest) for world in WORLDS}
    assert all(60 < shares[world] < 200 for world in worlds)
    assert sum(shares[world] for world in worlds) == 299
    assert chosen(function, cases) == found  # at each run


@pytest.mark.parametrize("start", ALIKE)
def test_each_case_runs_under_one_protocol_where_all_behave_alike(start: str) -> None:
    function = f"{start}test_a.py::test_it"
    names = [str(number) for number in range(20)]
    cases = [Case(world, name) for name in names for world in WORLDS]
    found = [one.partition("-") for one in chosen(function, cases)]
    assert [name for _, _, name in found] == names
    assert {world for world, _, _ in found} == {"wsgi", "asyncio"}
    assert chosen(function, [Case(world) for world in WORLDS]) in (["wsgi"], ["asyncio"])


@pytest.mark.parametrize("function", [WAITS, QUIET])
def test_a_case_with_one_protocol_runs_under_it(function: str) -> None:
    cases = [Case("wsgi", "first"), Case("trio", "second")]
    assert chosen(function, cases) == ["wsgi-first", "trio-second"]
    named = "trio-named on the command line"
    assert chosen(function, [Case("trio", "named on the command line")]) == [named]


def test_a_loop_counts_as_a_protocol_and_other_values_do_not() -> None:
    loops = [Case(loop, argument="backend") for loop in ("asyncio", "trio")]
    assert chosen(WAITS, loops) == ["asyncio", "trio"]
    others = [Case(name, argument="name") for name in ("wsgi", "trio", "x")]
    assert chosen(QUIET, others) == ["wsgi", "trio", "x"]
    sides = [Case(side, argument="side") for side in ("original", "wsgi", "asyncio", "trio")]
    assert chosen(QUIET, sides) == ["original", "wsgi", "asyncio"]


@pytest.mark.parametrize("start", [*WAITING, *ALIKE, *COSTLY, *OUTSIDE])
def test_the_files_and_tests_that_the_choice_names_exist(start: str) -> None:
    file, _, test = start.partition("::")
    paths = [*ROOT.glob(f"{file}*")]
    assert paths, f"{start} is no file or folder: correct or delete the entry"
    assert not test or any(f"def {test}" in path.read_text() for path in paths), (
        f"{start} is no test"
    )
