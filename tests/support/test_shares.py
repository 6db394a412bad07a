"""Each test file is in the share of one worker, whatever order the files are found in."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.support.shares import shared_out, sizes_below

SIZES = st.dictionaries(st.text("abc", min_size=1).map(Path), st.integers(0, 1000), max_size=30)


@given(sizes=SIZES, count=st.integers(1, 5))
def test_shares_differ_by_one_file_at_most(sizes: dict[Path, int], count: int) -> None:
    shares = shared_out(sizes, count)
    totals = Counter(dict.fromkeys(range(count), 0))
    for path, number in shares.items():
        totals[number] += sizes[path]
    assert shares.keys() == sizes.keys()
    assert totals.keys() == {*range(count)}
    assert max(totals.values()) - min(totals.values()) <= max(sizes.values(), default=0)


@given(sizes=SIZES, count=st.integers(1, 5))
def test_workers_that_find_files_in_another_order_agree(sizes: dict[Path, int], count: int) -> None:
    backwards = dict(reversed(sizes.items()))
    assert shared_out(sizes, count) == shared_out(backwards, count)


def test_only_test_files_are_shared_out(tmp_path: Path) -> None:
    (tmp_path / "flow").mkdir()
    (tmp_path / "flow" / "test_hooks.py").write_text("import os\n")
    (tmp_path / "flow" / "conftest.py").write_text("import sys\n")
    assert sizes_below([tmp_path]) == {tmp_path / "flow" / "test_hooks.py": 10}
