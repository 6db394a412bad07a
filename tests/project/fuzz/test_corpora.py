"""The inputs that fuzzing has kept, each once: what was a finding, and what reaches most of the
code.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.project.fuzz.corpora import FOLDER, LONGEST_INPUT, MOST_INPUTS, inputs_of, write_inputs
from tests.project.fuzz.targets import TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_no_input_of_a_corpus_triggers_a_finding(target: str) -> None:
    replay(TARGETS[target], FOLDER)


def replay(target: Callable[[bytes], None], folder: Path) -> None:
    """Call a target with the inputs that its corpus in ``folder`` has."""
    inputs = inputs_of(target.__name__, folder)
    assert inputs, "a target begins with an input"
    for data in [b"", *inputs]:
        target(data)


def test_each_corpus_is_named_after_a_fuzz_target() -> None:
    assert {file.stem for file in FOLDER.glob("*.txt")} == {*TARGETS}


def test_a_corpus_stays_small(tmp_path: Path) -> None:
    write_inputs(
        "query",
        [b"b", b"a", b"a", b"x" * (LONGEST_INPUT + 1), *(b"%d" % number for number in range(1000))],
        tmp_path,
    )
    inputs = inputs_of("query", tmp_path)
    assert (inputs[0], len(inputs)) == (b"0", MOST_INPUTS)
    assert b"a" in inputs
