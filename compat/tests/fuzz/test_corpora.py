"""The inputs that fuzzing of the compatibility modules has kept (tests/project/fuzz/test_corpora.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from compat.tests.fuzz.targets import TARGETS
from tests.project.fuzz.test_corpora import replay

FOLDER = Path(__file__).parents[1] / "corpora"


@pytest.mark.parametrize("target", TARGETS)
def test_the_inputs_of_a_target_are_no_findings(target: str) -> None:
    replay(TARGETS[target], FOLDER)


def test_each_corpus_belongs_to_a_target() -> None:
    assert {file.stem for file in FOLDER.glob("*.txt")} == {*TARGETS}
