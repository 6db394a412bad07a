"""The choice of worlds that a case runs in, and of the tests whose lines count."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.measuring import OUTSIDE
from tests.support.selection import ALIKE, WAITING, WORLDS, left_out

ROOT = Path(__file__).parent.parent.parent
QUIET, WAITS = "tests/http/test_cookies.py::test_it", "tests/flow/test_http.py::test_it"


class Item:
    """What the choice sees of an item of pytest."""

    def __init__(self, function: str, world: str, case: str = "", argument: str = "world") -> None:
        self.nodeid = f"{function}[{'-'.join(filter(None, [world, case]))}]"
        self.callspec = SimpleNamespace(params={argument: world})


def chosen(items: Iterable[Any], world: str | None = None) -> list[str]:
    items = [*items]
    deselected = left_out(items, world)
    return [one.nodeid.partition("[")[2][:-1] for one in items if one not in deselected]


@pytest.mark.parametrize(
    ("function", "worlds"), [(WAITS, list(WORLDS)), (QUIET, ["wsgi", "asyncio"])]
)
def test_the_first_case_runs_in_every_world_and_each_other_one_in_one(
    function: str, worlds: list[str]
) -> None:
    items = [Item(function, world, case=str(number)) for number in range(300) for world in WORLDS]
    found = chosen(items)
    assert found[: len(worlds)] == [f"{world}-0" for world in worlds]
    rest = [one.partition("-") for one in found[len(worlds) :]]
    assert [int(case) for _, _, case in rest] == list(range(1, 300))
    shares = {world: sum(own == world for own, _, _ in rest) for world in WORLDS}
    assert all(60 < shares[world] < 200 for world in worlds)
    assert sum(shares[world] for world in worlds) == 299
    assert chosen(items) == found  # at each run


@pytest.mark.parametrize("start", ALIKE)
def test_each_case_runs_in_one_world_where_all_are_alike(start: str) -> None:
    cases = [str(number) for number in range(20)]
    items = [Item(f"{start}test_a.py::test_it", world, case) for case in cases for world in WORLDS]
    found = [one.partition("-") for one in chosen(items)]
    assert [case for _, _, case in found] == cases
    assert {world for world, _, _ in found} == {"wsgi", "asyncio"}
    assert chosen([Item(f"{start}test_a.py::test_it", world) for world in WORLDS]) in (
        ["wsgi"],
        ["asyncio"],
    )


@pytest.mark.parametrize("function", [WAITS, QUIET])
def test_a_case_with_one_world_runs_in_it(function: str) -> None:
    assert chosen([Item(function, "wsgi", "first"), Item(function, "trio", "second")]) == [
        "wsgi-first",
        "trio-second",
    ]
    assert chosen([Item(function, "trio", "named on the command line")]) == [
        "trio-named on the command line"
    ]


def test_a_loop_is_a_world_and_other_values_are_none() -> None:
    loops = [Item(WAITS, loop, argument="backend") for loop in ("asyncio", "trio")]
    others = [Item(QUIET, name, argument="name") for name in ("wsgi", "trio", "x")]
    originals = [
        Item(QUIET, side, argument="side") for side in ("original", "wsgi", "asyncio", "trio")
    ]
    assert chosen([*loops, *others, *originals]) == [
        *("asyncio", "trio"),
        *("wsgi", "trio", "x"),
        *("original", "wsgi", "asyncio"),
    ]


def test_one_world_can_be_chosen() -> None:
    items = [Item(QUIET, world, case) for case in ("a", "b") for world in WORLDS]
    assert chosen([*items, Item(QUIET, "x", argument="name")], "trio") == ["trio-a", "trio-b", "x"]


def test_what_waits_what_is_alike_and_what_is_outside_exists() -> None:
    for start in (*WAITING, *ALIKE, *OUTSIDE):
        assert [*ROOT.glob(f"{start}*")], start
