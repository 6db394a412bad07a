"""What type checkers say of a user's file: they find each wrong line, and nothing else. In the
examples of the documentation they find nothing.

mypy reads it with all the rest (``make types``), strictly: it tells of each error, and of each that
it does not find where a comment ignores it.
"""

from __future__ import annotations

import ast
import json
import re
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from tests.project.test_readme import MODULES
from tests.support.commands import ended, micropie
from tests.support.environment import unmeasured
from tests.support.left_out import LEFT_OUT

FILE = Path(__file__).with_name("a_users_file.py")
ROOT = Path(__file__).parents[3]
# What mypy has found in the modules that the examples import, for the next run.
KEPT = ROOT / "build" / "mypy-of-examples"


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The typed examples of the pages, each in a file, and the modules of two new projects, each with
    a resource. A file that imports a library that this Python lacks is left out.
    """
    folder = tmp_path_factory.mktemp("examples")
    files = typed_examples(folder)
    assert len(files) >= 15, "the search finds too few typed examples: correct it"
    for arguments, resource in ((["pies"], "plums"), (["tarts", "--package"], "cherries")):
        assert micropie(folder, "new", *arguments).returncode == 0
        assert micropie(folder / arguments[0], "new", "resource", resource).returncode == 0
    # the other project has a module of this name, which mypy takes once
    tests = folder / "tarts" / "tests"
    (tests / "test_app.py").rename(tests / "test_tarts.py")
    made = sorted(path for name in ("pies", "tarts") for path in (folder / name).rglob("*.py"))
    assert len(made) > 5, "`micropie new` has written too few modules"
    files += made
    lacks = re.compile(rf"^(import|from) ({'|'.join(LEFT_OUT)})\b", re.MULTILINE)
    return [file for file in files if not (LEFT_OUT and lacks.search(file.read_text()))]


# mypy checks the same file in each run
@pytest.mark.in_test_all
@pytest.mark.processes
def test_pyright_reports_only_the_wrong_lines(tmp_path: Path, examples: list[Path]) -> None:
    lines = FILE.read_text().splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}
    assert len(wrong) >= 8, "write at least eight wrong lines into the file"
    found = errors_of_pyright(tmp_path, [FILE, *examples])
    in_file = [one for one in found if one["file"] == str(FILE)]
    assert {one["range"]["start"]["line"] + 1 for one in in_file} == wrong
    assert [f"{one['file']}: {one['message']}" for one in found if one not in in_file] == []


def test_mypy_is_configured_to_find_the_same_lines() -> None:
    """``make types`` reads the file, and complains of an error that it does not find there."""
    lines = FILE.read_text().splitlines()
    assert [line for line in lines if line.endswith("# wrong") != ("# type: ignore[" in line)] == []


# Each prints a line "file:line: ..." for an error.
OTHER_CHECKERS = {
    "pyright": ["pyright", "--pythonpath", sys.executable],
    "ty": ["ty", "check", "--output-format=concise", "--python", sys.prefix],
    "pyrefly": [
        *("pyrefly", "check", "--output-format=min-text", "--config=pyrefly.toml"),
        *("--site-package-path", sysconfig.get_path("purelib")),
    ],
}


@pytest.mark.in_test_all
@pytest.mark.processes
@pytest.mark.parametrize("name", OTHER_CHECKERS)
def test_another_checker_reports_only_wrong_lines(tmp_path: Path, name: str) -> None:
    text = re.sub(r"  # type: ignore\[[a-z, -]+\]", "", FILE.read_text())
    (tmp_path / FILE.name).write_text(text)
    (tmp_path / "pyrefly.toml").write_text('preset = "strict"')
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    executable, *options = OTHER_CHECKERS[name]
    files = [] if name == "pyright" else [FILE.name]
    done = ended(
        Path(sys.executable).with_name(executable),
        *options,
        *files,
        folder=tmp_path,
        environ=unmeasured(),
    )
    found = {int(line) for line in re.findall(rf"{FILE.name}:(\d+)", done.stdout)}
    lines = enumerate(text.splitlines(), 1)
    wrong = {number for number, line in lines if line.endswith("# wrong")}
    assert done.returncode == 1, done.stdout + done.stderr  # of errors, and not of a crash
    assert found - wrong == set()
    # pyrefly takes ``await`` of a JsonDocument, and SecurityDefaults without a host
    assert len(found) >= len(wrong) - 5, "the checker misses more of the wrong lines than it did"


def typed_examples(folder: Path) -> list[Path]:
    """Write each block of the pages that says what one of its functions returns into a file: it is
    typed, so all of it has to be.
    """
    files = []
    for modules in MODULES.values():
        for number, module in enumerate(modules):
            functions = (ast.FunctionDef, ast.AsyncFunctionDef)
            nodes = ast.walk(ast.parse(module.source)) if module.file is None else []
            if any(isinstance(node, functions) and node.returns for node in nodes):
                name = module.place.partition(":")[0].removesuffix(".md").replace("/", "_")
                files.append(folder / f"{name.replace('-', '_')}_{number}.py")
                files[-1].write_text(module.source)
    return files


@pytest.mark.processes
def test_mypy_reports_nothing_in_examples_and_new_projects(
    tmp_path: Path, examples: list[Path]
) -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={KEPT}"]
    environment = unmeasured(MYPYPATH=str(ROOT))
    done = ended(*command, *map(str, examples), folder=tmp_path, environ=environment)
    assert done.returncode == 0, done.stdout


@pytest.mark.processes
def test_mypy_reports_nothing_in_a_new_api(tmp_path: Path) -> None:
    assert micropie(tmp_path, "new", "pies", "--api").returncode == 0
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={KEPT}"]
    done = ended(*command, ".", folder=tmp_path / "pies", environ=unmeasured(MYPYPATH=str(ROOT)))
    assert done.returncode == 0, done.stdout


def errors_of_pyright(folder: Path, included: list[Path]) -> list[dict[str, Any]]:
    settings = {
        "include": [*map(str, included)],
        "typeCheckingMode": "strict",
        "enableTypeIgnoreComments": False,  # they are for mypy
        "extraPaths": [str(ROOT), *{str(imported_from(file)) for file in included}],
    }
    config = folder / "pyrightconfig.json"
    config.write_text(json.dumps(settings))
    options = ["--project", str(config), "--pythonpath", sys.executable, "--outputjson"]
    command = [sys.executable, "-m", "basedpyright", *options]
    output = ended(*command, environ=unmeasured()).stdout
    return [one for one in json.loads(output)["generalDiagnostics"] if one["severity"] == "error"]


def imported_from(file: Path) -> Path:
    """Return the folder that a module's name begins in."""
    return next(above for above in file.parents if not (above / "__init__.py").exists())
