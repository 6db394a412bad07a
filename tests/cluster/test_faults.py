"""The faults that each run has, in one cluster; ``make faults`` runs all."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from tests.cluster.faults import FAULTS
from tests.cluster.machines import ROOT
from tests.support.redis_server import missing_program


@pytest.mark.timeout(240)
def test_faults_lose_nothing_but_what_was_under_way_where_they_happened() -> None:
    # One test: they share a cluster, and several processes of pytest would each make one.
    for program, path in (("redis-server", None), ("haproxy", "/usr/sbin:/usr/local/sbin")):
        if shutil.which(program) is None and shutil.which(program, path=path) is None:
            missing_program(program)
    command = [sys.executable, "scripts/machines", "--machines=2", "faults", "--short", "--json"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.stdout, ran.stderr
    results = {result["name"]: result for result in json.loads(ran.stdout)}
    assert results.keys() == {fault.name for fault in FAULTS if fault.is_short}
    assert {name: result["wrong"] for name, result in results.items() if result["wrong"]} == {}, ran.stderr
    assert all(result["requests"] for result in results.values())
