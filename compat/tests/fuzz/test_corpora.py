"""The inputs that fuzzing of the compatibility modules has kept (tests/project/fuzz/test_corpora.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from compat.tests.fuzz.targets import TARGETS
from tests.project.fuzz.test_corpora import replay

FOLDER = Path(__file__).parents[1] / "corpora"


@pytest.mark.parametrize("target", TARGETS)
def test_no_input_of_a_corpus_triggers_a_finding(target: str) -> None:
    replay(TARGETS[target], FOLDER)


def test_each_corpus_is_named_after_a_fuzz_target() -> None:
    assert {file.stem for file in FOLDER.glob("*.txt")} == {*TARGETS}
