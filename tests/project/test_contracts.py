"""Each contract of import-linter in .importlinter finds an import that breaks it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETTINGS = ConfigParser()
SETTINGS.read(ROOT / ".importlinter")
CONTRACTS = [name.rpartition(":")[2] for name in SETTINGS.sections()[1:]]

# By contract: the module that gets a line, and the line.
VIOLATIONS = {
    "layers": ("_core/tree.py", "import micropie.channels"),
    "core-layers": ("_core/errors.py", "import micropie._core.flow"),
    "part-layers": ("_core/http/headers/fields.py", "import micropie._core.http.request"),
    "public-package": ("_core/tree.py", "import micropie"),
    "event-loops": ("_core/flow/http.py", "import asyncio"),
    "dependencies": ("_core/http/response.py", "import orjson"),
    "drivers": ("asgi/driver.py", "import micropie._core.mounts"),
    "test-clients": ("debug/page.py", "import micropie.testing"),
    "independent-clients": ("testing/http.py", "import micropie._core.http"),
    "faces": ("app.py", "import micropie._core.http.headers.cookies"),
}
SECOND = {
    "layers": ("asgi/driver.py", "import micropie.wsgi"),
    "faces": ("_core/http/request.py", "import micropie._core.http.headers.cookies"),
    "dependencies": ("compat/bottle/templates.py", "import msgspec"),
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package, with its contracts."""
    directory = tmp_path_factory.mktemp("contracts")
    shutil.copytree(
        ROOT / "micropie", directory / "micropie", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copytree(ROOT / "tests" / "support", directory / "tests" / "support")
    shutil.copy(ROOT / ".importlinter", directory)
    return directory


def lint(directory: Path, contract: str) -> tuple[int, str]:
    """Return the exit status and the output of import-linter for one contract."""
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", code, "--contract", contract, "--no-cache"]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_each_contract_has_a_violation() -> None:
    assert [*VIOLATIONS] == CONTRACTS


@pytest.mark.parametrize(
    ("contract", "file", "line"),
    [(name, *violation) for table in (VIOLATIONS, SECOND) for name, violation in table.items()],
)
def test_a_violation_breaks_its_contract(copy: Path, contract: str, file: str, line: str) -> None:
    path = copy / "micropie" / file
    text = path.read_text()
    path.write_text(f"{text}\n{line}\n")
    try:
        status, output = lint(copy, contract)
    finally:
        path.write_text(text)
    assert status == 1, output
    assert "Contracts: 0 kept, 1 broken." in output
