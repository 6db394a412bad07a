"""No file has input that harms other software, in any release (docs/contributing.md).

Only what a search can find: brackets that overrun the stack of a JSON parser, upgrades to HTTP/2 that
pass a proxy, and tokens without a signature. Limits of our own refuse far fewer brackets.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ["benchmarks", "compat", "docs", "examples", "micropie", "scripts", "tests"]
MOST_BRACKETS = 5000

_BRACKETS = re.compile(r"""(['"])[\[{][^\n*\]}]{0,8}?\1 ?\* ?\(?(\d[\d_]*(?: ?\*\* ?\d+)?)""")
_HARMFUL = re.compile(
    r"""http2-settings|upgrade['"]?(?:: ?|, ?b?)['"]?h2c|alg\\?['"]: ?\\?['"]none""", re.IGNORECASE
)


def harm_in(text: str) -> list[str]:
    counts = (found[2].partition("**") for found in _BRACKETS.finditer(text))
    sizes = (int(base) ** int(power or 1) for base, _, power in counts)
    found = [f"{size} brackets" for size in sizes if size > MOST_BRACKETS]
    return found + _HARMFUL.findall(text)


def test_no_file_contains_harmful_input() -> None:
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    texts = {
        path: path.read_text(errors="replace")
        for path in files
        if path != Path(__file__) and "__pycache__" not in path.parts
    }
    assert len(texts) > 1000, "the search has missed most files: correct FOLDERS"
    assert {str(path): harm for path, text in texts.items() if (harm := harm_in(text))} == {}


@pytest.mark.parametrize(
    "text", ["'[' * 50_000", 'b"[" * 10**6', "'{\"a\":' * 100_000", '"HTTP2-Settings": "x"']
)
def test_harmful_input_is_detected(text: str) -> None:
    assert harm_in(text)
    assert not harm_in(re.sub(r"\d[\d_*]+", "1100", text).replace("HTTP2", "HTTP1"))
