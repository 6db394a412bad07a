"""What type checkers say of a user's file: they find each wrong line, and nothing else.

mypy reads it with all the rest (``make types``), strictly: it tells of each error, and of each that
it does not find where a comment ignores it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.environment import unmeasured

FILE = Path(__file__).with_name("a_users_file.py")
ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(240)  # 3 seconds of a processor
def test_pyright_finds_the_wrong_lines_and_no_other(tmp_path: Path) -> None:
    lines = FILE.read_text().splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}
    assert len(wrong) >= 8
    assert lines_of_pyright(tmp_path) == wrong


def test_mypy_is_told_to_find_the_same_lines() -> None:
    """``make types`` reads the file, and complains of an error that it does not find there."""
    lines = FILE.read_text().splitlines()
    assert [line for line in lines if line.endswith("# wrong") != ("# type: ignore[" in line)] == []


def lines_of_pyright(folder: Path) -> set[int]:
    settings = {
        "include": [str(FILE)],
        "typeCheckingMode": "strict",
        "enableTypeIgnoreComments": False,  # they are for mypy
        "extraPaths": [str(ROOT)],
        "pythonPath": sys.executable,
    }
    config = folder / "pyrightconfig.json"
    config.write_text(json.dumps(settings))
    command = [sys.executable, "-m", "basedpyright", "--project", str(config), "--outputjson"]
    output = subprocess.run(
        command, cwd=ROOT, env=unmeasured(), capture_output=True, text=True, check=False
    ).stdout
    found = json.loads(output)["generalDiagnostics"]
    return {one["range"]["start"]["line"] + 1 for one in found if one["severity"] == "error"}
