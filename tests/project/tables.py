"""The tables that the pages have, and those that the site shows."""

from __future__ import annotations

import re
from pathlib import Path

from scripts import llms, site_hooks

ROOT = Path(__file__).parents[2]
FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
# The row below a table's head, at the beginning of a line or not.
BELOW_HEAD = re.compile(r"\|(?: *:?-+:? *\|)+(?!\w)")
BESIDE = {"changelog": ROOT / "CHANGELOG.md", "license": ROOT / "LICENSE"}


def written(text: str) -> int:
    """Count the tables of a page's Markdown, also of those that a reflow has made a paragraph."""
    return len(BELOW_HEAD.findall(FENCED.sub("", text)))


def shown(page: str) -> int:
    """Count the tables of a page's HTML, but for those of keyword arguments, which a signature
    becomes.
    """
    return page.count("<table") - page.count('class="doc-section-title"')


def counted(site: Path) -> dict[str, tuple[int, int]]:
    """Return how many tables the source of each page of a site has, and how many the page."""
    found = {}
    for page in sorted(site.rglob("*.html")):
        name = str(page.relative_to(site))
        if name != "404.html" and name not in site_hooks.MOVED:
            stem = name.removesuffix(".html")
            source = BESIDE.get(stem, ROOT / "docs" / f"{stem}.md").read_text()
            found[name] = written(llms.text_of(source)), shown(page.read_text())
    return found
