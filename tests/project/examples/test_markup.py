"""The pages of the examples, and of a new project: readers of screens find the language and the main
part of each.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [
    path
    for path in (*(ROOT / "examples").rglob("*.*"), ROOT / "micropie" / "cli" / "new.py")
    if path.suffix in (".html", ".py") and "<!doctype html>" in path.read_text().lower()
]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_has_a_language_and_one_main_element(path: Path) -> None:
    text = path.read_text()
    assert re.search(r'<html lang="\w+"', text)
    assert "<title>" in text
    assert len(re.findall("<main", text)) == 1
    assert "</main>" in text


def test_the_focus_stays_visible() -> None:
    for path in (ROOT / "examples").rglob("*.css"):
        assert not re.search(r"outline:\s*(none|0)", path.read_text()), path


def test_html_pages_are_found() -> None:
    assert len(PAGES) > 20, "the search has missed most pages: correct it"
