"""The faults that each run has, in one cluster; ``scripts/faults`` runs all."""

from __future__ import annotations

import pytest

from tests.servers.cluster.conftest import RunMachines
from tests.servers.cluster.faults import FAULTS


@pytest.mark.in_test_all  # 13 seconds of a processor
def test_faults_only_affect_requests_in_progress_at_their_place(
    run_machines: RunMachines,
) -> None:
    # One test: they share a cluster, and several processes of pytest would each make one.
    results = {
        result["name"]: result for result in run_machines("--machines=2", "faults", "--short")
    }
    assert results.keys() == {fault.name for fault in FAULTS if fault.is_short}
    assert {name: result["wrong"] for name, result in results.items() if result["wrong"]} == {}
    assert all(result["requests"] for result in results.values())
