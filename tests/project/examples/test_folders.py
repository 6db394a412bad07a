"""Each example is a folder with one file to read and a page about it, and is listed."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from micropie import App
from micropie.cli.check import mistakes
from micropie.debug import source_notes
from micropie.extensions import Inspector

EXAMPLES = Path(__file__).parents[3] / "examples"
DOCS = EXAMPLES.parent / "docs"
PARTS_OF_THE_DOCUMENTATION = {"tutorial", "how_to"}  # its pages include them
FOLDERS = sorted(
    {path.parent.name for path in EXAMPLES.glob("*/app.py")} - PARTS_OF_THE_DOCUMENTATION
)


@pytest.mark.parametrize("name", FOLDERS)
def test_an_example_s_page_explains_it_how_to_run_it_and_what_to_try(name: str) -> None:
    text = (EXAMPLES / name / "README.md").read_text()
    shown, run, tried = re.split("\n\n(?:Run it from the project's folder|Try):\n\n", text)
    assert re.match(r"# .+\n\n[A-Za-z]", shown)
    assert f"examples.{name}.app:app" in run or run == "    make run"
    assert tried.count("\n- ") >= 1
    assert len(text.splitlines()) <= 18, "a page of an example is read at a glance: shorten it"


def test_the_lists_of_examples_are_complete() -> None:
    rows = re.findall(r"^\| \[(\w+)\]", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    assert sorted({*rows} - PARTS_OF_THE_DOCUMENTATION) == FOLDERS
    page = (DOCS / "start" / "examples.md").read_text()
    listed = page.partition("## Examples")[2].partition("\n## ")[0].partition("- **")[2]
    assert sorted([*re.findall(r"`(\w+)`\]?(?:\(\S+\))?\s+\(", listed), "tour"]) == FOLDERS


# One needs Redis, one mounts on CherryPy's only tree.
@pytest.mark.parametrize("name", [name for name in FOLDERS if name not in {"cluster", "moved"}])
def test_micropie_check_finds_nothing_in_an_example(name: str) -> None:
    app = import_module(f"examples.{name}.app").app
    if isinstance(app, App):
        tree = Inspector(app).applications()
        noted = [note for one in tree for note in source_notes(one)]
        assert [*mistakes(app), *noted] == []
