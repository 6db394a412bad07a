"""Messages, docs, docstrings and comments use the words of the field.

``scripts/messages.py`` writes all messages into one file, to be read as a whole before a release.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from scripts import messages

HERE = Path(__file__)  # has the phrases
ROOT = HERE.parents[2]

# A phrase, and what to write instead.
PHRASES = {
    r"out of reach": "unavailable",
    r"(?:is|are) well again": "has recovered",
    r"(?:has )?stood still": "was blocked",
    r"start-ups?": "startup",
    r"shut-downs?": "shutdown",
    r"(?:has|have|with) (?:a|no) stand-in": "compatibility module",
    r"the heart": "the core",
    r"(?:start|starts|starting) anew": "restart",
    r"without a word": "silently",
    r"habits? of": "idioms",
    r"(?:the|all|both|three) worlds": "under WSGI, asyncio and trio",
    r"planted (?:holes?|faults?|bugs?)": "injected faults",
    r"of (?:theirs|mine)": "their, my",
    r"means? nothing here": "has no effect here",
    r"a guard of nothing": "an access check that protects nothing",
    r"the client left": "the client disconnected",
    r"head (?:was|is|has been|had been) sent": "the response has started",
    r"(?:was|is) given up": "was abandoned",
    r"nobody gets the": "is discarded",
    r"made by another site": "came from a different site",
    r"to go to leaves": "this redirect would leave",
    r"if that is meant": "if that is intended",
    r"is no (?:App|page|check|function|method|setting|middleware)": "is not a ...",
    r"(?:do|does) not fit|(?:do|does)n't fit": "is invalid, doesn't match",
    r"in the place of": "instead of",
    r"(?:is|are|was|were) made\. Now": "created",
    r"(?:find|report) mistakes;": "report errors;",
}
REPLACED = re.compile("|".join(rf"\b(?:{phrase})(?!\w)" for phrase in PHRASES), re.IGNORECASE)
# There is no page 9, no check, ... is plain.
PLAIN = re.compile(r"there is no \w+", re.IGNORECASE)


def prose_of(path: Path) -> Iterator[str]:
    """Yield the text of a page or a Makefile, or a module's strings, comments and names of tests."""
    if path.suffix != ".py":
        yield re.sub(r"\n#", "\n", path.read_text())
        return
    comment = ""
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type == tokenize.COMMENT:  # a sentence may go on in the next line
            comment += token.string.lstrip("#")
        elif token.type not in (tokenize.NL, tokenize.INDENT, tokenize.DEDENT):
            if comment:
                yield comment
                comment = ""
            if token.type == tokenize.NAME and token.string.startswith("test_"):
                yield token.string.replace("_", " ")
            elif token.type not in (tokenize.NAME, tokenize.OP, tokenize.NUMBER):  # no phrase
                yield token.string


def replaced_in(text: str) -> list[str]:
    """Return the phrases in a text that have a better word."""
    return REPLACED.findall(PLAIN.sub("", re.sub(r"\s+", " ", text)))


FOLDERS = ("micropie", "compat", "tests", "benchmarks", "scripts", "docs")


def files_of(folder: str) -> list[Path]:
    """Return the modules and pages of a folder, but for those of its build and its environment."""
    found = [path for kind in ("*.py", "*.md") for path in sorted((ROOT / folder).rglob(kind))]
    built = {".venv", "build", "dist"}
    return [path for path in found if path != HERE and built.isdisjoint(path.parts)]


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_has_no_replaced_phrases(folder: str) -> None:
    assert replaced_by_file(files_of(folder)) == {}, f"write instead: {PHRASES}"


def test_the_makefile_and_top_level_pages_have_no_replaced_phrases() -> None:
    paths = [ROOT / "Makefile", *sorted(ROOT.glob("*.md"))]
    assert replaced_by_file(paths) == {}, f"write instead: {PHRASES}"


def replaced_by_file(paths: Iterable[Path]) -> dict[str, list[str]]:
    """Map files to the phrases in them that have a better word."""
    return {
        str(path.relative_to(ROOT)): phrases
        for path in paths
        if (phrases := [one for text in prose_of(path) for one in replaced_in(text)])
    }


def test_replaced_phrases_are_detected() -> None:
    assert replaced_in("Redis is out\nof reach. There is no page 9, and it is no page.") == [
        "out of reach",
        "is no page",
    ]


def test_replaced_phrases_in_the_name_of_a_test_are_detected(tmp_path: Path) -> None:
    path = tmp_path / "test_names.py"
    path.write_text("def test_a_backend_out_of_reach(): pass\ndef out_of_reach(): pass\n")
    assert [phrase for text in prose_of(path) for phrase in replaced_in(text)] == ["out of reach"]


def test_all_messages_are_written_into_one_file(tmp_path: Path) -> None:
    messages.write(tmp_path / "all" / "messages.txt")
    text = (tmp_path / "all" / "messages.txt").read_text()
    for message in (
        ": {segment} can't be a path segment",  # an f-string
        "The session store is unavailable. Please try again in a moment.",
        "list the public paths and their handlers",  # the help of a command
        "usage: micropie check",
        ": the compatibility module has no",
    ):
        assert message in text
    assert "Return the help" not in text  # no docstring
    assert "FastAPI Flask" not in text  # no list of names
    assert len(text.splitlines()) > 1500
