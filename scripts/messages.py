#!/usr/bin/env python3
"""Write every message that a user of micropie can read into one file, to be read as a whole before
a release.

The file contains the strings of three or more words in micropie and in the compatibility modules,
in the order of the code: errors, log records, hints, pages, sentences for visitors. The help of
each command follows.
tests/project/test_messages.py checks these texts for phrases for which there is a better word.
"""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from micropie.cli.main import parsers

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (ROOT / "micropie", ROOT / "compat" / "src" / "micropie_compat")
WORD = re.compile(r"[A-Za-z']{2,}")
# Functions whose arguments, or the values of a dict among them, are regular expressions or names.
NAMES_AND_PATTERNS = ("by_name", "names_on_demand", "pattern", "reserve")


class Message(NamedTuple):
    """A text in the code, with the expressions of an f-string in braces."""

    place: str
    text: str


def main() -> None:
    """Write the messages into the file given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=ROOT / "build" / "messages.txt")
    write(parser.parse_args().file)


def write(file: Path) -> None:
    """Write all messages into a file, whose directory is created if it is missing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{place}: {text}" for place, text in messages()]
    file.write_text("\n".join([*lines, *helps()]) + "\n")


def messages() -> Iterator[Message]:
    """Yield each text in the packages."""
    for path in (path for package in PACKAGES for path in sorted(package.rglob("*.py"))):
        for line, text in texts_in(ast.parse(path.read_text())):
            if " " in text and len(WORD.findall(re.sub(r"{.*?}", "", text))) > 2:
                yield Message(f"{path.relative_to(ROOT)}:{line}", text)


def texts_in(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield each string of a module with its line, without docstrings, parts of f-strings, regular
    expressions and lists of names.
    """
    passed = set[ast.AST]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in NAMES_AND_PATTERNS:
            for listed in node.args:
                passed.update(listed.values if isinstance(listed, ast.Dict) else [listed])
        if isinstance(node, ast.Expr):
            passed.add(node.value)
        elif isinstance(node, ast.JoinedStr):
            passed.update(node.values)
    for node in ast.walk(tree):
        if node in passed:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
        elif isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(map(_shown, node.values))


def _shown(part: ast.expr) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    return f"{{{ast.unparse(part.value)}}}" if isinstance(part, ast.FormattedValue) else ""


def helps() -> Iterator[str]:
    """Yield the help of the command line and of each command."""
    for parser in parsers(argparse.Namespace(app=None, factory=False)).values():
        yield parser.format_help()


if __name__ == "__main__":
    main()
