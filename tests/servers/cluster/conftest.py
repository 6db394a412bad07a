"""``scripts/machines`` as a function."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.servers.cluster.machines import ROOT
from tests.support.redis_server import REDIS_SERVER, missing_program

RunMachines = Callable[..., Any]


@pytest.fixture
def run_machines() -> RunMachines:
    """Return ``run_machines(*arguments)``, which runs the program and returns the JSON that it
    prints.
    """
    for program, path in ((REDIS_SERVER, None), ("haproxy", "/usr/sbin:/usr/local/sbin")):
        if shutil.which(program) is None and shutil.which(program, path=path) is None:
            missing_program(program)

    def run(*arguments: str) -> Any:
        command = [sys.executable, "scripts/machines", *arguments, "--json"]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert ran.stdout, ran.stderr
        sys.stderr.write(ran.stderr)  # shown if the test fails
        return json.loads(ran.stdout)

    return run
