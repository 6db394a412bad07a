"""Each example is a folder with one file to read and three lines about it, and is listed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
DOCS = EXAMPLES.parent / "docs"
PARTS_OF_THE_DOCUMENTATION = {"tutorial", "how_to"}  # its pages include them
FOLDERS = sorted({path.parent.name for path in EXAMPLES.glob("*/app.py")} - PARTS_OF_THE_DOCUMENTATION)


@pytest.mark.parametrize("name", FOLDERS)
def test_an_example_has_three_lines_about_it(name: str) -> None:
    title, empty, *lines = (EXAMPLES / name / "README.md").read_text().splitlines()
    assert title.startswith("# ")
    assert empty == ""
    assert len(lines) == 3
    assert f"examples.{name}.app:app" in lines[1]


def test_the_lists_of_examples_are_complete() -> None:
    rows = re.findall(r"^\| \[(\w+)\]", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    assert sorted(rows) == FOLDERS
    page = (DOCS / "start" / "examples.md").read_text()
    assert sorted([*re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE), "tour"]) == FOLDERS
