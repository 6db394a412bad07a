"""The session by itself: what it knows of its changes, and what becomes of them."""

from __future__ import annotations

import collections
import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from micropie import ResponseError
from micropie.sessions import Changes, Session


def count(n: int | None) -> int:
    return (n or 0) + 1


def test_a_new_session_has_no_id_and_no_changes() -> None:
    session = Session()
    assert (session.id, session.changed, session.regenerated) == (None, False, False)


def test_changes_are_stored_per_key() -> None:
    session = Session("id", {"same": 1, "other": 1, "gone": 1, "list": []})
    session["other"] = 2
    session["new"] = 3
    session["list"].append(1)
    del session["gone"]
    changes = session.changes()
    seen = (changes.values, list(changes.deletions))
    assert seen == ({"other": 2, "new": 3, "list": [1]}, ["gone"])
    assert (changes.updates, changes.emptied, changes.new_id) == ({}, False, None)


@pytest.mark.parametrize(
    ("stored", "value"),
    [
        (1, True),
        (True, 1),
        (1, 1.0),
        ([1], [True]),
        ({"n": 0}, {"n": False}),
        ((1, 2), (1, 2.0)),
    ],
)
def test_an_equal_value_of_another_type_is_a_change(stored: Any, value: Any) -> None:
    session = Session("id", {"x": copy.deepcopy(stored), "y": [1]})
    session["x"] = copy.deepcopy(stored)
    assert (session.changed, session.changes().values) == (False, {})
    session["x"] = value
    assert session.changed
    assert repr(session.changes().values) == repr({"x": value})
    flat = Session("id", {"x": 1})
    flat.update(x=True)
    assert (flat.changed, repr(flat.changes().values)) == (True, "{'x': True}")


def test_an_equal_value_of_another_type_inside_a_value_is_a_change() -> None:
    session = Session("id", {"cart": {"n": [1]}})
    assert not session.changed
    session["cart"]["n"][0] = True
    assert (session.changed, repr(session.changes().values)) == (True, "{'cart': {'n': [True]}}")


def test_an_equal_value_of_another_type_overrides_an_update() -> None:
    session = Session("id", {"n": 0})
    session.update_atomic("n", count)
    session["n"] = True
    assert repr(session.changes().apply({"n": 5})) == "{'n': True}"


def test_changes_are_applied_to_values_stored_by_others() -> None:
    session = Session("id", {"a": 1, "b": 1, "c": 1})
    session["a"] = 2
    del session["b"]
    stored = {"a": 5, "b": 5, "c": 5, "d": 5}
    assert session.changes().apply(stored) == {"a": 2, "c": 5, "d": 5}
    assert Changes({}).apply(stored) == stored


def test_an_emptied_session_is_deleted_whatever_others_stored() -> None:
    session = Session("id", {"a": 1})
    session.clear()
    assert session.changed
    assert session.changes().apply({"a": 1, "b": 2}) == {}


def test_regenerating_the_id_counts_as_a_change() -> None:
    session = Session("id", {"a": 1})
    session.regenerate()
    assert (session.changed, session.regenerated, session.id) == (True, True, "id")


def test_a_session_without_an_id_has_no_id_to_regenerate() -> None:
    session = Session()
    session.regenerate()
    assert (session.changed, session.regenerated) == (False, False)


def test_an_update_function_runs_again_on_the_stored_value() -> None:
    session = Session("id", {"n": 1})
    assert [session.update_atomic("n", count) for _ in range(2)] == [2, 3]
    assert session["n"] == 3
    changes = session.changes()
    assert (changes.values, changes.updates) == ({}, {"n": [count, count]})
    assert changes.apply({"n": 10}) == {"n": 12}
    assert changes.apply({"other": 1}) == {"other": 1, "n": 2}


def test_an_update_to_an_equal_value_counts_as_a_change() -> None:
    session = Session("id", {"n": 5})
    session.update_atomic("n", lambda n: min(n, 5))
    assert session.changed
    assert session.changes().apply({"n": 9}) == {"n": 5}


def test_an_update_may_change_its_value_in_place() -> None:
    session = Session("id", {"list": [1]})

    def add(values: Any) -> Any:
        values.append(2)
        return values

    assert session.update_atomic("list", add) == [1, 2]
    assert session.changes().apply({"list": [5]}) == {"list": [5, 2]}


def test_a_later_change_inside_a_value_overrides_an_update() -> None:
    session = Session("id", {})
    session.update_atomic("rows", lambda _: [[1]])
    session["rows"][0].append(2)
    assert session.changes().apply({"rows": [[9]]}) == {"rows": [[1, 2]]}


def test_a_key_removed_after_an_update_stays_removed() -> None:
    session = Session("id", {"a": 1, "b": 1})
    session.update_atomic("a", lambda _: None)
    del session["a"]
    assert session.changes().updates == {}
    assert session.changes().apply({"a": 5, "b": 1}) == {"b": 1}


def test_an_update_replaces_an_earlier_removal() -> None:
    session = Session("id", {"a": None, "b": 1})
    del session["a"]
    session.update_atomic("a", lambda n: (n or 0) + 1)
    assert session.changes().apply({"a": 5, "b": 1}) == {"a": 1, "b": 1}


@pytest.mark.parametrize("first", [True, False])
def test_an_assigned_value_overrides_an_update(first: bool) -> None:
    session = Session("id", {"n": 1})
    if first:
        session["n"] = 5
    session.update_atomic("n", count)
    if not first:
        session["n"] = 6
    assert session.changes().apply({"n": 100}) == {"n": 6}


def test_a_value_assigned_between_two_updates_overrides_both() -> None:
    session = Session("id", {"n": 1, "m": 1})
    for key in ("n", "m"):
        session.update_atomic(key, count)
    session["n"] = 1
    session.update_atomic("n", count)
    assert session.changes().apply({"n": 100, "m": 100}) == {"n": 2, "m": 101}


CHANGES: list[Any] = [
    lambda session: session.update(a=2),
    lambda session: session.__setitem__("a", 2),
    lambda session: session.__delitem__("a"),
    lambda session: session.__ior__({"a": 2}),
    lambda session: session.clear(),
    lambda session: session.pop("a"),
    lambda session: session.popitem(),
    lambda session: session.setdefault("b", 2),
    lambda session: session.update_atomic("a", count),
    lambda session: session.regenerate(),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_sealed_session_can_be_read_but_not_changed(change: Any) -> None:
    session = Session("id", {"a": 1})
    session.seal()
    with pytest.raises(ResponseError, match="change the session before the first yield"):
        change(session)
    assert (session["a"], session.get("b"), session.changed) == (1, None, False)


@dataclass
class Point:
    """A value that JSON has no word for, and that only the memory keeps."""

    tags: list[str] = field(default_factory=list)


DEEP: list[Any] = [
    ({"x": [1, [2, {"y": [3]}]]}, lambda data: data["x"][1][1]["y"].append(4)),
    ({"x": {"y": {"z": [1]}}}, lambda data: data["x"]["y"]["z"].append(2)),
    ({"x": ([1], 2)}, lambda data: data["x"][0].append(3)),
    ({"x": {1, 2}}, lambda data: data["x"].add(3)),
    ({"x": bytearray(b"a")}, lambda data: data["x"].extend(b"b")),
    ({"x": collections.OrderedDict(y=[1])}, lambda data: data["x"]["y"].append(2)),
    ({"x": [Point()]}, lambda data: data["x"][0].tags.append("b")),
]


@pytest.mark.parametrize(("data", "change"), DEEP)
def test_a_deeply_nested_change_is_detected_and_stays_private(
    data: dict[str, Any], change: Any
) -> None:
    before = repr(data)
    session = Session("id", data)
    change(session)
    assert session.changed
    assert list(session.changes().values) == ["x"]
    assert repr(data) == before


def test_updates_of_one_session_do_not_affect_another() -> None:
    first, second = Session("id", {"n": 1}), Session("id", {"n": 1})
    first.update_atomic("n", count)
    assert (first.changed, second.changed, Session().changed) == (True, False, False)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_of_a_session_is_a_plain_dict(copied: Callable[[Any], Any]) -> None:
    session = Session("id", {"a": [1]})
    twin = copied(session)
    twin["a"].append(2)
    assert (type(twin), twin, session) == (dict, {"a": [1, 2]}, {"a": [1]})


def test_methods_of_a_dict_change_the_session() -> None:
    session = Session("id", {"a": 1, "b": 2})
    session |= {"c": 3}
    assert session.popitem() == ("c", 3)
    del session["b"]
    assert dict(session) == {"a": 1}
    assert session.changes().deletions == {"b"}
