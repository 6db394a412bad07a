"""Each contract of import-linter in .importlinter finds an import that breaks it."""

from __future__ import annotations

import re
import shutil
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

from tests.support.commands import ended

ROOT = Path(__file__).parents[2]
SETTINGS = ConfigParser()
SETTINGS.read(ROOT / ".importlinter")
CONTRACTS = [name.rpartition(":")[2] for name in SETTINGS.sections()[1:]]

# By contract: the file that gets a line, and the line.
VIOLATIONS = {
    "layers": ("micropie/_core/tree.py", "import micropie.channels"),
    "core-layers": ("micropie/_core/errors.py", "import micropie._core.flow"),
    "part-layers": ("micropie/_core/http/headers/fields.py", "import micropie._core.http.request"),
    "public-package": ("micropie/_core/tree.py", "import micropie"),
    "event-loops": ("micropie/_core/flow/http.py", "import asyncio"),
    "dependencies": ("micropie/_core/http/response.py", "import orjson"),
    "drivers": ("micropie/asgi/driver.py", "import micropie._core.mounts"),
    "apart": ("micropie/_core/tree.py", "import micropie_compat"),
    "compat": ("micropie_compat/results.py", "import micropie._core.http"),
    "test-clients": ("micropie/debug/page.py", "import micropie.testing"),
    "independent-clients": ("micropie/testing/http.py", "import micropie._core.http"),
    "faces": ("micropie/app.py", "import micropie._core.http.headers.cookies"),
}
SECOND = {
    "layers": ("micropie/asgi/driver.py", "import micropie.wsgi"),
    "faces": ("micropie/_core/http/request.py", "import micropie._core.http.headers.cookies"),
    "dependencies": ("micropie/cli/check.py", "import msgspec"),
    "apart": ("micropie/cli/migrated.py", "import micropie_compat"),
    "compat": ("micropie_compat/core.py", "import micropie.testing"),
}


def lint(directory: Path) -> dict[str, str]:
    """Return what import-linter reports of a folder, by the names of the broken contracts."""
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", code, "--no-cache"]
    done = ended(*command, folder=directory)
    assert done.returncode == 1, done.stdout + done.stderr
    parts = re.split(r"^(.+)\n-+\n", done.stdout, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_each_import_contract_has_an_example_violation() -> None:
    assert [*VIOLATIONS] == CONTRACTS


@pytest.mark.processes
@pytest.mark.parametrize("violations", [VIOLATIONS, SECOND], ids=["first", "second"])
def test_an_example_violation_breaks_its_contract(
    tmp_path: Path, violations: dict[str, tuple[str, str]]
) -> None:
    ignored = shutil.ignore_patterns("__pycache__")
    for package in (ROOT / "micropie", ROOT / "compat" / "src" / "micropie_compat"):
        shutil.copytree(package, tmp_path / package.name, ignore=ignored)
    shutil.copytree(ROOT / "tests" / "support", tmp_path / "tests" / "support")
    shutil.copy(ROOT / ".importlinter", tmp_path)
    for file, line in violations.values():
        path = tmp_path / file
        path.write_text(f"{path.read_text()}{line}\n")
    found = lint(tmp_path)
    for contract, (file, line) in violations.items():
        name = SETTINGS[f"importlinter:contract:{contract}"]["name"]
        module = ".".join(Path(file).with_suffix("").parts)
        imported = line.removeprefix("import ")
        assert re.search(rf"{module} (->|imports) {imported}\b", found[name]), found[name]
