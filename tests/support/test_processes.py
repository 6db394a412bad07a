"""The choice of the tests that start processes, and the guard that fails those without the mark."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.processes import FIXTURES, PLACES, STARTS, Guard, is_chosen, mark

ROOT = Path(__file__).parents[2]


class Item:
    """What the choice sees of an item of pytest."""

    def __init__(
        self, node_id: str, marks: Iterable[str] = (), fixtures: Iterable[str] = ()
    ) -> None:
        self.nodeid = node_id
        self.fixturenames = [*fixtures]
        self._marks = [*marks]

    def add_marker(self, marker: pytest.MarkDecorator) -> None:
        self._marks.append(marker.name)

    def get_closest_marker(self, name: str) -> SimpleNamespace | None:
        return SimpleNamespace(name=name) if name in self._marks else None


PLAIN = "tests/http/test_cookies.py::test_it"


@pytest.mark.parametrize(
    ("node_id", "marks", "fixtures", "chosen"),
    [
        pytest.param(PLAIN, [], [], ["none"], id="nothing"),
        pytest.param(PLAIN, ["processes"], [], ["only"], id="the mark"),
        pytest.param(PLAIN, ["processes", "smoke"], [], ["none"], id="a smoke test"),
        pytest.param(PLAIN, [], ["tmp_path", *FIXTURES], ["only"], id="a fixture"),
        pytest.param("tests/servers/test_a.py::test_it", [], [], ["only"], id="a folder"),
        pytest.param("tests/execution/test_redis_a.py::test_it", [], [], ["only"], id="a prefix"),
    ],
)
def test_each_test_runs_in_exactly_one_make_target(
    node_id: str, marks: list[str], fixtures: list[str], chosen: list[str]
) -> None:
    item: pytest.Item = Item(node_id, marks, fixtures)  # type: ignore[assignment]
    mark(item)
    assert [option for option in ("none", "only") if is_chosen(item, option)] == chosen
    assert is_chosen(item, None)


def test_each_listed_file_exists() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("*.py")}
    assert [place for place in PLACES if not any(name.startswith(place) for name in names)] == []


def fork() -> None:
    if (child := os.fork()) == 0:
        os._exit(0)
    os.waitpid(child, 0)


def listen() -> None:
    with socket.create_server(("127.0.0.1", 0)):
        pass


EXAMPLES = [
    lambda: subprocess.run([sys.executable, "-c", ""], check=True),
    fork,
    listen,
]


@pytest.fixture
def guard(monkeypatch: pytest.MonkeyPatch) -> Guard:
    guard = Guard()
    for owner, name in STARTS:
        monkeypatch.setattr(owner, name, getattr(owner, name))  # to be put back
    guard.watch()
    return guard


@pytest.mark.processes
@pytest.mark.parametrize("start", EXAMPLES, ids=["child", "fork", "socket"])
def test_a_test_without_the_mark_may_start_no_process(
    guard: Guard, start: Callable[[], object]
) -> None:
    start()
    guard.refuse(Item(PLAIN, ["processes"]))  # type: ignore[arg-type]
    start()
    with pytest.raises(pytest.fail.Exception, match=r"add @pytest\.mark\.processes"):
        guard.refuse(Item(PLAIN))  # type: ignore[arg-type]
    guard.refuse(Item(PLAIN))  # type: ignore[arg-type]  # the next test


def test_a_test_that_only_computes_needs_no_mark(guard: Guard, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    for end in socket.socketpair():
        end.close()
    guard.refuse(Item(PLAIN))  # type: ignore[arg-type]
