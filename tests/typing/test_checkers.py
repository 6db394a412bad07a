"""What type checkers say of a user's file: they find each wrong line, and nothing else."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.environment import unmeasured

FILE = Path(__file__).with_name("a_users_file.py")
ROOT = Path(__file__).parents[2]


def lines_of_mypy(folder: Path) -> set[int]:
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file=",
        f"--cache-dir={folder}",
        "--follow-imports=silent",
    ]
    output = subprocess.run(
        [*command, str(FILE)], cwd=ROOT, env=unmeasured(), capture_output=True, text=True, check=False
    ).stdout
    assert "error" in output, output
    return {int(number) for number in re.findall(rf"{re.escape(FILE.name)}:(\d+): error", output)}


def lines_of_pyright(folder: Path) -> set[int]:
    settings = {
        "include": [str(FILE)],
        "typeCheckingMode": "standard",
        "extraPaths": [str(ROOT)],
        "pythonPath": sys.executable,
    }
    config = folder / "pyrightconfig.json"
    config.write_text(json.dumps(settings))
    command = [sys.executable, "-m", "basedpyright", "--project", str(config), "--outputjson"]
    output = subprocess.run(command, cwd=ROOT, env=unmeasured(), capture_output=True, text=True, check=False).stdout
    found = json.loads(output)["generalDiagnostics"]
    return {one["range"]["start"]["line"] + 1 for one in found if one["severity"] == "error"}


@pytest.mark.timeout(240)  # 5 seconds of a processor
@pytest.mark.parametrize("lines_of", [lines_of_mypy, lines_of_pyright])
def test_it_finds_the_wrong_lines_and_no_other(lines_of: Callable[[Path], set[int]], tmp_path: Path) -> None:
    lines = FILE.read_text().splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}
    assert len(wrong) >= 8
    assert lines_of(tmp_path) == wrong
