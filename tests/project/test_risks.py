"""tests/project/risks and the tests agree: every number that a test or a comment uses is there, with the
files of its tests.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "project" / "risks"
FOLDERS = ("tests", "compat/tests")
NO_TEST = "No test names it yet."

_SECTION = re.compile(r"^## R(?P<number>\d+)\n(?P<text>.*?)(?=^##? |\Z)", re.MULTILINE | re.DOTALL)
PAGES = re.findall(r"\]\(([\w-]+\.md)\)", (FOLDER / "README.md").read_text())
TEXT = "".join((FOLDER / page).read_text() for page in PAGES)
SECTIONS = {int(found["number"]): found["text"] for found in _SECTION.finditer(TEXT)}


def files_by_risk() -> dict[int, list[str]]:
    """Map each number to the files whose tests have it in their names: relative to tests/, those of
    the compatibility modules relative to the repository.
    """
    files: dict[int, set[str]] = defaultdict(set)
    for path in (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        for name in re.findall(r"^\s*(?:async )?def (test_R\w+)", path.read_text(), re.MULTILINE):
            for number in re.findall(r"R(\d+)(?=_)", name):
                file = path.relative_to(ROOT).as_posix().removeprefix("tests/")
                files[int(number)].add(file)
    return {number: sorted(paths) for number, paths in files.items()}


def expected_end(files: list[str]) -> str:
    return f"Tests: {', '.join(f'`{file}`' for file in files)}" if files else NO_TEST


def test_the_risks_are_numbered_in_order() -> None:
    assert list(SECTIONS) == list(range(1, len(SECTIONS) + 1))


def test_each_risk_lists_the_files_that_test_it() -> None:
    """A failure shows what to write at the end of each section that is wrong."""
    files = files_by_risk()
    wrong = {
        f"R{number}": expected
        for number, text in SECTIONS.items()
        if not " ".join(text.split()).endswith(expected := expected_end(files.get(number, [])))
    }
    assert wrong == {}
    assert files.keys() <= SECTIONS.keys()


def test_each_risk_number_in_code_or_docs_exists() -> None:
    paths = [
        path for folder in ("micropie", "compat", "tests") for path in (ROOT / folder).rglob("*.py")
    ]
    paths += [
        *(ROOT / "docs").rglob("*.md"),
        *FOLDER.glob("*.md"),
        *ROOT.glob("*.md"),
        *(ROOT / "compat").glob("*.md"),
        ROOT / "pyproject.toml",
    ]
    unknown = {
        f"{path.relative_to(ROOT)}: R{number}"
        for path in paths
        for number in re.findall(r"\bR([1-9]\d?)\b", path.read_text())
        if int(number) not in SECTIONS
    }
    assert unknown == set()
