"""Messages, pages, docstrings and comments use the words of the field (tests/project/test_messages.py)."""

from __future__ import annotations

from pathlib import Path

import micropie_compat
from tests.project.test_messages import PHRASES, replaced_by_file

FOLDER = Path(__file__).parents[1]


def test_docs_and_messages_use_the_field_s_terms() -> None:
    modules = sorted(Path(micropie_compat.__file__).parent.rglob("*.py"))
    assert len(modules) > 50
    found = replaced_by_file([*modules, *sorted(FOLDER.glob("*.md"))])
    assert found == {}, f"write instead: {PHRASES}"
