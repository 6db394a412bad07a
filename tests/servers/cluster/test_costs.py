"""What requests take of Redis, as FAULTS.md says."""

from __future__ import annotations

import re

from tests.servers.cluster.conftest import RunMachines
from tests.servers.cluster.costs import KINDS, LIMITED, Cost, FanOut
from tests.servers.cluster.machines import ROOT
from tests.servers.cluster.report import costs_table, fan_out_table

PAGE = (ROOT / "tests" / "servers" / "cluster" / "FAULTS.md").read_text()


def test_redis_load_per_request_and_message_matches_the_docs(
    run_machines: RunMachines,
) -> None:
    found = run_machines("costs", "--counts=1", "--requests=16")
    commands = {cost["kind"]: cost["commands"] for cost in found["costs"]}
    # after the last of the messages that are sent together
    roles = commands["says a message"].pop("role")
    assert 0 < roles <= 1
    numbers = {kind: round(sum(one.values()), 2) for kind, one in commands.items()}
    assert numbers == {
        "has no session": 0,
        "has a session": 1,  # GET
        "changes its session": 6,  # GET, and a script with five
        "says a message": 5,  # a script with three, and PUBLISH
        LIMITED: 4,  # a script with three
    }
    for kind, number in numbers.items():
        row = re.search(rf"\| {kind} \| 1 \| (\d+\.\d\d) \|", PAGE)
        assert row is not None
        assert number <= float(row[1]) <= number + (kind == "says a message")
    (message,) = found["messages"]
    assert message["reads"] == message["followers"]
    assert message["copies"] in (1, 2)  # one worker may have all followers


def test_the_page_s_tables_have_a_row_for_each_measurement() -> None:
    costs = [Cost(4, kind.name, 100, 1000.0, 100.0, 5.0, {"get": 1.0}) for kind in KINDS]
    assert "| has a session | 4 | 1.00 | 1000 µs | 100 µs | 5 µs |" in costs_table(costs)
    assert "| 4 | 40 | 7 | 40.00 |" in fan_out_table([FanOut(4, 40, 7, 40.0)])
