"""The scripts of a developer: no shell expands a name into words, and the tools of a release are pinned."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
SCRIPTS = [path for path in (ROOT / "scripts").iterdir() if path.is_file()]
SHELL = [path for path in SCRIPTS if path.read_text().startswith("#!/bin/sh")]

_HERE = re.compile(r"<<'?(\w+)'?[^\n]*\n.*?^\1$", re.MULTILINE | re.DOTALL)
# What a shell doesn't split into words: an assignment, the word of a case, and the count of arguments.
_WHOLE = re.compile(r"(^|[\s({])\w+=\$?[\w/${}():+.-]*|\bcase \S+ in\b|\$#", re.MULTILINE)


def expanded(source: str) -> Iterator[str]:
    """Yield the lines of a shell script in which a name stands without quotes."""
    for line in _HERE.sub("", source).splitlines():
        code = _WHOLE.sub(" ", re.sub(r"(^|\s)#.*", "", line))
        quotes = [""]  # of each $( that is open, the innermost last
        position = 0
        while position < len(code):
            one = code[position]
            if one == "\\":
                position += 1
            elif one == quotes[-1]:
                quotes[-1] = ""
            elif quotes[-1] == "" and one in "\"'":
                quotes[-1] = one
            elif quotes[-1] != "'" and code.startswith("$(", position):
                quotes.append("")
            elif quotes[-1] == "" and one == ")" and len(quotes) > 1:
                quotes.pop()
            elif quotes[-1] == "" and re.match(r"\$[\w{@*]", code[position:]):
                yield line
                break
            position += 1


@pytest.mark.parametrize("script", SHELL, ids=lambda path: path.name)
def test_no_shell_script_splits_a_name_into_words(script: Path) -> None:
    assert [*expanded(script.read_text())] == []


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("rm -rf $root", 1),
        ("install --yes $packages", 1),
        ("$uv install", 1),
        ('echo "$(dirname $0)"', 1),
        ("run $*\nrun $@", 2),
        ('rm -rf "$root/a"  # not $root', 0),
        ("name=$other/a", 0),
        ("echo '$name'", 0),
        ("cat <<END\n$missing\nEND", 0),
        ('cd "$(dirname "$0")/.."', 0),
    ],
)
def test_an_expanded_name_is_detected(source: str, count: int) -> None:
    assert len([*expanded(source)]) == count


def test_no_python_script_calls_a_shell() -> None:
    calls = re.compile(r"shell=True|os\.system|getoutput")
    assert [path.name for path in SCRIPTS if calls.search(path.read_text())] == []


def test_the_tools_of_a_release_are_pinned_by_hashes() -> None:
    text = (ROOT / "scripts" / "release-requirements.txt").read_text()
    pinned = re.findall(
        r"^([\w.-]+)==([\w.]+)[^\n]*\\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)",
        text,
        re.MULTILINE,
    )
    assert len(pinned) == len(re.findall("^[^ #]", text, re.MULTILINE))
    versions = {name: version for name, version, _ in pinned}
    group = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["release"]
    for one in map(Requirement, group):
        assert one.specifier.contains(versions[one.name]), one
    assert (
        "--require-hashes --requirement scripts/release-requirements.txt"
        in (ROOT / "Makefile").read_text()
    )
