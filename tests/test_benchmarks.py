"""The applications that the benchmarks measure give the right answers.

A framework that is not installed here is left out; the benchmarks check every contender again before they measure.
"""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import features, growth, moving, overhead, report
from benchmarks.overhead import Table, run_table

INSTALLED = {"hand-written", "micropie", "Starlette", "Bottle", "Flask"}


def options(table: Table, rounds: int = 0) -> Namespace:
    cases = [case.name for case in table.cases]
    return Namespace(contenders=[], cases=cases, loop="asyncio", rounds=rounds, batch=2, markdown=True)


@pytest.mark.parametrize("table", [*overhead.TABLES, *features.TABLES, moving.TABLES[0]], ids=lambda table: table.title)
def test_contenders_give_the_right_answers(table: Table) -> None:
    outcome = run_table(table, options(table))
    assert not outcome.wrong
    assert not INSTALLED & outcome.missing.keys()


def test_a_wrong_answer_is_found_and_nothing_is_measured() -> None:
    cases = [case for case in features.TABLES[0].cases if case.name == "cookie"]
    table = replace(features.TABLES[0], cases=(replace(cases[0], want=b"light"),))
    outcome = run_table(table, options(table, rounds=1))
    assert any(said.startswith("micropie, read one cookie") for said in outcome.wrong)
    assert not outcome.timings


def test_the_tables_are_written_into_the_documentation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "performance.md"
    page.write_text("before\n<!-- features -->\nold\n<!-- /features -->\nafter\n")
    monkeypatch.setattr(report, "PERFORMANCE_PAGE", page)
    chosen = ["--only", "asgi,shapes", "--contenders", "micropie", "--cases", "route,background,socket,yielded-text"]
    assert features.main([*chosen, "--rounds", "1", "--batch", "2", "--write"]) == 0
    text = page.read_text()
    assert text.startswith("before\n<!-- features -->\n")
    assert text.endswith("<!-- /features -->\nafter\n")
    assert "old" not in text
    assert "| explicit route with two parameters |" in text
    assert "| yields text once |" in text
    assert "What falls behind:" in capsys.readouterr().out


@pytest.mark.parametrize("subject", growth.SUBJECTS, ids=lambda subject: subject.key)
def test_what_may_grow_is_measured(subject: growth.Subject) -> None:
    """The programs check the answers themselves."""
    size = subject.sizes[0]
    results = {size: subject.measure(size, growth.Options(rounds=1, batch=1))}
    assert all(growth.unit_of(line) in ("µs", "ms", "KiB", "MiB", "MB/s") for line in results[size])
    assert f"| {growth.size_title(subject, size)} |" in growth.table(subject, results)
