"""What requests take of Redis, as FAULTS.md says, and what the model makes of it."""

from __future__ import annotations

import pytest

from tests.cluster.conftest import RunMachines
from tests.cluster.costs import KINDS, Cost, FanOut, Model
from tests.cluster.machines import ROOT
from tests.cluster.report import costs_table, fan_out_table, model_table

PAGE = (ROOT / "tests" / "cluster" / "FAULTS.md").read_text()


@pytest.mark.timeout(240)
def test_requests_and_messages_take_of_redis_what_the_page_says(
    run_machines: RunMachines,
) -> None:
    found = run_machines("costs", "--counts=1", "--requests=16")
    commands = {cost["kind"]: {**cost["commands"], "role": 0} for cost in found["costs"]}
    numbers = {kind: round(sum(one.values()), 2) for kind, one in commands.items()}
    assert numbers == {
        "has no session": 0,
        "has a session": 1,  # GET
        "changes its session": 7,  # GET twice, and a script with five
        "says a message": 5,  # a script with three, and PUBLISH; ROLE once a second
    }
    for kind, number in numbers.items():
        assert f"| {kind} | 1 | {number:.2f} |" in PAGE
    (message,) = found["messages"]
    assert message["reads"] == message["followers"]
    assert message["copies"] in (1, 2)  # one worker may have all followers


def cost(kind: str, machines: int = 1, commands: int = 0) -> Cost:
    return Cost(machines, kind, 100, 1000.0, 100.0, 5.0 * commands, {"get": float(commands)})


def test_the_model_predicts_many_machines_from_one() -> None:
    ones = [cost(kind.name, commands=number) for number, kind in enumerate(KINDS)]
    model = Model(ones)
    assert [model.rate(one, machines) for one, machines in zip(ones, (1, 10), strict=False)] == [
        2000,
        20_000,
    ]
    assert model.machines_until(ones[0]) == float("inf")
    # 200,000 a second, of 2,000 for each machine
    assert model.machines_until(ones[1]) == pytest.approx(100)
    assert model.mixed().number == pytest.approx(0.4 + 2 * 0.08 + 3 * 0.02)
    assert [model.copies(machines, 40) for machines in (1, 4, 100)] == [2, 8, 40]
    table = costs_table([*ones, cost("has a session", machines=4, commands=2)])
    assert (
        "| has a session | 4 | 2.00 | 1.00 | 1000 µs | 1000 µs | 100 µs | 100 µs | 10 µs | 5 µs |"
        in table
    )
    assert "| 4 | 8 | 40 | 7 | 8 | 40.00 | 40 |" in fan_out_table([FanOut(4, 40, 7, 40.0)], model)
    assert "| has no session | 2,000 a second | never |" in model_table(model)
    assert "| copies of a message to all | 2 | 20 | 200 |" in model_table(model)
