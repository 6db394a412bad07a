from __future__ import annotations

from tests.support.left_out import lacking, without_release


def test_what_has_no_release_for_this_python_is_left_out() -> None:
    stated = ["one>=1", "two; python_version < '3'", "three>=3; python_version >= '3'", {"a": "b"}]
    assert without_release(stated) == ["two"]


def test_a_test_is_skipped_if_it_lacks_what_is_left_out() -> None:
    told = "ModuleNotFoundError: No module named 'two'"
    assert (lacking(told, ["one", "two"]), lacking(told, ["one"])) == ("two", None)
