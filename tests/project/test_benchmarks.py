"""The applications that the benchmarks measure give the right answers.

A framework that is not installed here is left out; the benchmarks check every contender again
before they measure.
"""

from __future__ import annotations

import asyncio
import sys
from argparse import Namespace
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from benchmarks import (
    batches,
    behind,
    features,
    growth,
    moving,
    opcodes,
    overhead,
    overload,
    programs,
    publish,
    report,
    soak,
    startup,
    techempower,
    values,
)
from benchmarks.apps import soak_apps
from benchmarks.overhead import Table, run_table
from micropie import HTTPError
from micropie._core.http.json import check_values
from tests.servers.test_deployment import program

INSTALLED = {"hand-written", "micropie", "Starlette", "Bottle", "Flask"}


def options(table: Table, rounds: int = 0) -> Namespace:
    cases = [case.name for case in table.cases]
    return Namespace(
        contenders=[], cases=cases, loop="asyncio", rounds=rounds, batch=2, markdown=True
    )


# a peer's file, on Python 3.14
@pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")
@pytest.mark.parametrize(
    "table",
    [*overhead.TABLES, *features.TABLES, moving.TABLES[0], *moving.PAGES],
    ids=lambda table: table.title,
)
def test_contenders_send_the_right_responses(table: Table) -> None:
    outcome = run_table(table, options(table))
    assert not outcome.wrong
    assert not INSTALLED & outcome.missing.keys()


@pytest.mark.skipif(
    sys.version_info[:2] == (3, 12) or sys.implementation.name != "cpython",
    reason="CPython 3.12 crashes while instructions are traced",
)
def test_instructions_are_reproducible_and_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "counts.json"
    wanted = ["--contenders", "hand-written,micropie,Peer", "--cases", "plain,redirect"]
    assert opcodes.main([*wanted, "--json", str(file)]) == 0
    assert opcodes.main([*wanted, "--since", str(file), "--only", "wsgi", "--top", "2"]) == 0
    printed = capsys.readouterr().out.partition("(+0)")
    assert "| plain text |" in printed[0]
    assert printed[2].count("(+0)") == 3
    assert "micropie/_core/flow/http.py  respond" in printed[2]


def test_the_search_for_the_slowest_json_stays_within_the_limits() -> None:
    found = [*asyncio.run(values.search(100, 2000, ("dict", "struct")))]
    assert Counter(one.kind for one in found).keys() == {"dict", "struct"}
    assert {one.status for one in found} == {200, 400}
    assert max(one.size for one in found) <= 2000
    body = values.filled("[%s]", '{"a":0}', 100, 2000)
    check_values(body, 100)
    with pytest.raises(HTTPError):
        check_values(body, values.count(body.decode()) - 1)


@pytest.mark.in_test_all
@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux counts the nanoseconds of a process"
)
def test_behind_a_server_responses_are_checked_and_timed() -> None:
    groups = behind.groups_of("micropie_app")
    assert {case for group in groups for case in group} == set(behind.COLUMNS)
    with behind.serving("uvicorn", "micropie", "micropie_app", "", groups[0]) as served:
        assert list(served.cases) == groups[0]
        before = behind.processor_time(served.pid)
        behind.Client().ask(served.port, behind.CASES["plain"])
        assert behind.processor_time(served.pid) > before


@pytest.mark.in_test_all
@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux counts the nanoseconds of a process"
)
@pytest.mark.parametrize("program", programs.PROGRAMS)
def test_public_programs_are_measured_before_and_after(
    program: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert programs.main(["--only", program, "--rounds", "1", "--batch", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(programs.PROGRAMS[program]) + 2
    assert all(line.count("|") == 5 for line in lines[:-1])


def test_a_wrong_response_stops_the_measurement() -> None:
    cases = [case for case in features.TABLES[0].cases if case.name == "cookie"]
    table = replace(features.TABLES[0], cases=(replace(cases[0], want=b"light"),))
    outcome = run_table(table, options(table, rounds=1))
    assert any(said.startswith("micropie, read one cookie") for said in outcome.wrong)
    assert not outcome.timings


@pytest.mark.in_test_all
def test_tables_are_written_into_a_results_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "features.md"
    page.write_text("before\n<!-- features -->\nold\n<!-- /features -->\nafter\n")
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    chosen = [
        "--only",
        "asgi,shapes",
        "--contenders",
        "micropie",
        "--cases",
        "route,background,socket,yielded-text",
    ]
    assert features.main([*chosen, "--rounds", "1", "--batch", "2", "--write"]) == 0
    text = page.read_text()
    assert text.startswith("before\n<!-- features -->\n")
    assert text.endswith("<!-- /features -->\nafter\n")
    assert "old" not in text
    assert "| explicit route with two parameters |" in text
    assert "| yields text once |" in text
    assert "Where micropie is slower:" in capsys.readouterr().out


@pytest.mark.in_test_all
@pytest.mark.parametrize("subject", growth.SUBJECTS, ids=lambda subject: subject.key)
def test_growing_quantities_are_measured(subject: growth.Subject) -> None:
    """The programs check the answers themselves."""
    size = subject.sizes[0]
    results = {size: subject.measure(size, growth.Options(rounds=1, batch=1))}
    assert all(growth.unit_of(line) in ("µs", "ms", "KiB", "MiB", "MB/s") for line in results[size])
    assert f"| {growth.size_title(subject, size)} |" in growth.table(subject, results)


@pytest.mark.in_test_all
@pytest.mark.parametrize(
    ("number", "proxy"),
    [(1, "haproxy"), (3, "nginx"), (5, "nginx")],
)
def test_an_overload_is_generated_and_counted(
    number: int, proxy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    program(proxy)
    options = f"--seconds 0.5 --capacity-seconds 0.5 --share 0.5 --only {number} --proxy {proxy}"
    assert overload.main(options.split()) == 0
    *head, row = capsys.readouterr().out.splitlines()
    assert "\n".join(head) == overload.HEAD
    name, offered, good, *_ = row.strip("| ").split(" | ")
    assert name == list(overload.SET_UPS)[number]
    sent, capacity = map(int, offered.split(" of "))
    assert capacity > 0
    assert sent == pytest.approx(capacity / 2, abs=1)
    assert good.endswith("%")


def test_the_row_of_an_overload_counts_each_response_once() -> None:
    answers = soak.Load(
        {200: [0.1] * 8 + [1.5], 503: [0.01] * 5, 500: [0.1]}, Counter(TimeoutError=2)
    )
    found = overload.Found(4.0, answers, 2.0, 2.0, (1024, 2048), 0.25)
    assert overload.row("a", found) == (
        "| a | 8 of 4 | 100% | 1 | 5 | 3 | 1.5 s | 0.0 s | 0.2 s | 1 to 2 |"
    )


@pytest.mark.in_test_all
@pytest.mark.parametrize("server", soak.SOAKED)
def test_a_short_soak_finds_nothing(server: str) -> None:
    chosen = Namespace(
        minutes=0.1, every=0.01, restart_every=0.05, replace_every=1, connections=2, settle=2
    )
    found = soak.soak(server, chosen)
    assert not found.unexpected
    without = {"WebSocket"} if server == "gthread" else set()
    assert found.asked.keys() == soak.TRAFFIC.keys() - without
    assert found.restarts == 1
    assert found.changes.keys() == found.lost.keys() == {"redis", "sqlite", "later"}
    assert not any(found.lost.values())
    begun, closed = found.streams
    assert begun == closed > 0


@pytest.mark.processes
def test_listeners_get_every_message_and_leave_when_the_server_ends() -> None:
    with soak.serving(soak.LISTENED) as port:
        found = asyncio.run(soak.listen(port, 60, 60, 10, every=0.05))
    assert (found.missed, found.dropped, found.messages) == (0, 0, 10)
    assert len(found.mib) == 10


PAYLOADS = (b";;7;", b"\r\nne")


def test_a_listener_answers_pings_whatever_their_bytes_and_however_they_arrive() -> None:
    async def listened() -> tuple[int | None, int, list[bytes]]:
        follower = soak.Follower(soak.Arrivals(), b"")
        follower.transport = Mock()
        head = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
        pings = [b"\x89\x04" + payload for payload in PAYLOADS]
        news = [b"\x81\x06news%d;" % number for number in range(1, 4)]
        for byte in b"".join([head, news[0], pings[0], news[1], pings[1], news[2]]):
            follower.data_received(bytes([byte]))
        sent = [one.args[0] for one in follower.transport.write.mock_calls]
        return follower.last, follower.missed, sent

    last, missed, sent = asyncio.run(listened())
    assert (last, missed) == (3, 0)
    assert sent == [soak.frame(text, soak.PONG) for text in PAYLOADS]


def test_the_goals_of_listeners_are_judged() -> None:
    good = soak.Listened(9, 9, 12, 0, 0, [50.0] * 12, 0.2, 1.5)
    assert all(is_met for is_met, _ in soak.listened_goals(good))
    bad = good._replace(missed=2, mib=[50.0] * 6 + [52.0] * 6, left_after=soak.GRACE + 1)
    assert [is_met for is_met, _ in soak.listened_goals(bad)] == [False] * 3
    assert not soak.listened_goals(good._replace(dropped=1))[0][0]


def test_the_soak_s_verdicts_name_missed_goals() -> None:
    def worker(more: int) -> soak.Worker:
        looks = [
            soak_apps.Look(
                at, 1, 50 + more * at / 100, 9 + more * at // 100, 9, 3, 60_000, 0, 5, 5, 0
            )
            for at in range(0, 3600, 30)
        ]
        return soak.Worker(looks)

    steady, leaking = soak.Soaked([worker(0)]), soak.Soaked([worker(1)])
    leaking.unexpected["plain: ConnectionResetError"] += 2
    leaking.lost["redis"] = 1
    leaking.workers[0].looks[-1] = leaking.workers[0].looks[-1]._replace(begun=6)
    good = soak.Overloaded(
        soak.Load({200: [0.1]}),
        soak.Load({200: [0.15], 503: [0.01]}),
        soak.Load({200: [0.1]}),
        (1, 1),
        (9, 9),
    )
    late = good._replace(over=soak.Load({200: [0.3], 500: [0.01]}), descriptors=(9, 12))
    assert all(is_met for is_met, _ in soak.verdicts({"a": steady}, {"a": good}, {}))
    found = soak.verdicts({"a": leaking}, {"a": late}, {"b": "failed: TimeoutError()"})
    missed = [sentence for is_met, sentence in found if not is_met]
    assert missed[:6] == [
        "b: failed: TimeoutError()",
        "a: memory of a worker grows by 51.7 % at most, of 3 %",
        "a: descriptors, threads, tasks and objects stay, but descriptors 15 to 44 in 1",
        "a: of 0 requests no answer is unexpected, but 2 x plain: ConnectionResetError",
        "a: answered changes that were lost: {'redis': 1} of Counter()",
        "a: streams begun and closed: 6 and 5",
    ]
    assert len(missed) == 9
    assert soak.soak_table({"a": steady}).endswith(
        "| a 1 | 59.5 | 50.0, 50.0 | 0.0 % | 9, 9 | 9, 9 | 3, 3 | 60,000, 60,000 | 0, 0 |"
    )
    assert soak.overload_table({"a": good}).endswith("| 100.0 | 0.0 to 0.0 | 9 to 9 |")


@pytest.mark.in_test_all
def test_startup_is_measured_with_a_right_response(capsys: pytest.CaptureFixture[str]) -> None:
    assert startup.main(["--rounds", "1"]) == 0
    rows = [
        line
        for line in capsys.readouterr().out.splitlines()
        if line.startswith(("| micropie, ", "| Starlette"))
    ]
    assert len(rows) == 3


def test_batches_are_compared_with_their_goals(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The measurement itself needs NumPy."""
    single = batches.Round(100.0, [0.01] * 100)
    found = {32: {"single": [single], "batched": [batches.Round(299.0, [0.01] * 100)]}}
    found[1] = {"single": [single], "batched": [batches.Round(50.0, [0.015] * 100)]}

    async def measured(seconds: float, rounds: int) -> Any:
        return found

    monkeypatch.setattr(batches, "measure", measured)
    for library in ("OMP", "OPENBLAS", "MKL"):
        monkeypatch.setenv(f"{library}_NUM_THREADS", "")  # restored after it is set
    assert batches.main(["--check"]) == 1
    told = capsys.readouterr().out
    assert "| 32 | batched | 299 | 10.00 | 10.00 |" in told
    assert "MISSED: at least 3 times as many a second" in told
    assert "alone 5.00 ms longer" in told
    found[32]["batched"] = [batches.Round(300.0, [0.01] * 100)]
    assert batches.main(["--check"]) == 0


@pytest.mark.in_test_all
@pytest.mark.parametrize("kind", publish.KINDS)
def test_subscribers_receive_published_messages(kind: str) -> None:
    spent = asyncio.run(publish.measure(kind, size=3, rounds=1))
    assert {name: {what: len(each) for what, each in by.items()} for name, by in spent.items()} == {
        name: dict.fromkeys(publish.MESSAGES, 1) for name in publish.CONTENDERS
    }


@pytest.mark.in_test_all
def test_techempower_s_tests_are_measured_behind_servers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TECHEMPOWER_DATABASE", "")  # restored after it is set
    options = "--contenders micropie --rounds 1 --batch 8"
    assert techempower.main(options.split()) == 0
    told = capsys.readouterr().out
    assert "### uvicorn, SQLite" in told
    assert "### gunicorn, SQLite" in told
    assert told.count("| micropie | ") == 2
