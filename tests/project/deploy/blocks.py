"""The blocks of the pages of docs/deploy, fenced and indented ones, and the rows of the table."""

from __future__ import annotations

import hashlib
import re
import textwrap
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs" / "deploy"
TABLE = Path(__file__).with_name("DEPLOY.md")
# An indented block goes on after an empty line if the next line is indented as well.
BLOCKS = re.compile(
    r"^```[^\n]*\n(?P<fenced>.*?)^```$|(?P<indented>(?:^ {4}[^\n]+\n(?:\n(?= {4}))*)+)",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    page: str
    text: str
    file: Path
    """The file that the page names above the block."""

    @property
    def row(self) -> str:
        """The beginning of the block's row. Another text of the block has another digest."""
        first = self.text.splitlines()[0].strip().replace("|", "/")
        digest = hashlib.sha256(self.text.encode()).hexdigest()[:8]
        return f"| {self.page} | `{first}` | {digest} |"


def blocks() -> list[Block]:
    """Return all blocks, in the order of the pages' names."""
    found = []
    for page in sorted(DOCS.glob("*.md")):
        text = page.read_text()
        for match in BLOCKS.finditer(text):
            named = re.search(r"`(\S+)`:\n\n\Z", text[: match.start()])
            content = textwrap.dedent(match["fenced"] or match["indented"])
            found.append(Block(page.name, content, Path(named[1] if named else "")))
    return found
