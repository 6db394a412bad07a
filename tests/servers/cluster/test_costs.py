"""What requests take of Redis, as FAULTS.md says, and what the model makes of it."""

from __future__ import annotations

import re

import pytest

from tests.servers.cluster.conftest import RunMachines
from tests.servers.cluster.costs import KINDS, LIMITED, Cost, FanOut, Model, Store, errors
from tests.servers.cluster.machines import ROOT
from tests.servers.cluster.report import costs_table, errors_table, fan_out_table, model_table

PAGE = (ROOT / "tests" / "servers" / "cluster" / "FAULTS.md").read_text()


@pytest.mark.timeout(240)
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
        "changes its session": 7,  # GET twice, and a script with five
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


def cost(kind: str, machines: int = 1, commands: int = 0) -> Cost:
    return Cost(machines, kind, 100, 1000.0, 100.0, 5.0 * commands, {"get": float(commands)})


def test_a_model_of_one_machine_predicts_many_machines() -> None:
    ones = [cost(kind.name, commands=number) for number, kind in enumerate(KINDS)]
    model = Model(ones, Store(2.5, 250.0))
    assert [model.rate(one, machines) for one, machines in zip(ones, (1, 10), strict=False)] == [
        2000,
        20_000,
    ]
    assert model.machines_until(ones[0]) == float("inf")
    # 400,000 a second, as a busy Redis takes half of what an idle one does, of 2,000 for each
    assert model.machines_until(ones[1]) == pytest.approx(200)
    limited = model.limited(ones[1])
    assert (limited.number, limited.redis, limited.workers) == (5, 25, 1000)
    assert model.machines_until(limited) == pytest.approx(40)
    assert model.mixed().number == pytest.approx(0.4 + 2 * 0.08 + 3 * 0.02)
    assert [model.copies(machines, 40) for machines in (1, 4, 100)] == [2, 8, 40]
    assert model.connections(10) == 1640
    assert model.machines_until_connections() == 60
    assert model.deployed(ones[0], 10) == 18_000
    assert model.megabytes(1_000_000) == 250
    costs = [
        *ones,
        cost("has a session", machines=4, commands=2),
        # what Redis does by itself meanwhile
        cost("has no session", machines=4)._replace(redis=30.0),
    ]
    assert (
        "| has a session | 4 | 2.00 | 1.00 | 1000 µs | 1000 µs | 100 µs | 100 µs | 10 µs | 5 µs |"
        in costs_table(costs)
    )
    assert errors(costs) == {4: {"commands": 1.0, "workers": 0.0, "balancer": 0.0, "redis": 1.0}}
    assert errors_table(costs).endswith("| 4 | 100 % | 0 % | 0 % | 100 % |")
    assert "| 4 | 8 | 40 | 7 | 8 | 40.00 | 40 |" in fan_out_table([FanOut(4, 40, 7, 40.0)], model)
    table = model_table(model)
    assert "| has no session | 2,000 | 2,000 | never |  | 50 machines | 10,000 a second |" in table
    assert "| while one machine gets a new version | 0 | 18,000 | 198,000 |" in table
    assert "| copies of a message to all | 2 | 20 | 200 |" in table
    assert "at most; enough for 60 machines | 164 | 1,640 | 16,400 |" in table
    assert (
        "| memory of Redis for 10,000 sessions of each machine | 2 MB | 25 MB | 250 MB |" in table
    )
