"""The inputs that fuzzing has kept, each once: what was a finding, and what reaches most of the
code.
"""

from __future__ import annotations

import pytest

from tests.project.fuzz.corpora import FOLDER, LONGEST_INPUT, MOST_INPUTS, inputs_of, write_inputs
from tests.project.fuzz.targets import TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_the_inputs_of_a_target_are_no_findings(target: str) -> None:
    inputs = inputs_of(target)
    assert inputs, "a target begins with an input"
    for data in [b"", *inputs]:
        TARGETS[target](data)


def test_each_corpus_belongs_to_a_target() -> None:
    assert {file.stem for file in FOLDER.glob("*.txt")} == {*TARGETS}


def test_a_corpus_stays_small(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr("tests.project.fuzz.corpora.FOLDER", tmp_path)
    write_inputs(
        "query",
        [b"b", b"a", b"a", b"x" * (LONGEST_INPUT + 1), *(b"%d" % number for number in range(1000))],
    )
    inputs = inputs_of("query")
    assert (inputs[0], len(inputs)) == (b"0", MOST_INPUTS)
    assert b"a" in inputs
