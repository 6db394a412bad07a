"""``request.query``, ``request.form`` and ``request.files``: names with one value or several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from micropie import App, post
from micropie._core.http.multidict import MultiDict
from micropie.testing import make_request
from tests.support.clients import MakeClient

FIELDS = MultiDict({"colour": ["red", "blue"], "size": ["7"], "none": []})


def test_get_returns_the_first_value_and_getlist_all() -> None:
    seen = (FIELDS["colour"], FIELDS.get("colour"), FIELDS.getlist("colour"))
    assert seen == ("red", "red", ["red", "blue"])
    found = (FIELDS.get("size", "1"), FIELDS.get("shape"), FIELDS.get("shape", "round"))
    assert found == ("7", None, "round")
    assert FIELDS.getlist("shape") == []


def test_a_multidict_can_be_called_like_get() -> None:
    assert (FIELDS("colour"), FIELDS("shape"), FIELDS("shape", "round")) == ("red", None, "round")


def test_a_name_without_a_value_is_none() -> None:
    assert [*FIELDS] == ["colour", "size"]
    assert (len(FIELDS), "none" in FIELDS, "size" in FIELDS) == (2, False, True)
    assert dict(FIELDS.items()) == {"colour": "red", "size": "7"}
    with pytest.raises(KeyError, match="none"):
        FIELDS["none"]


def test_multidicts_are_equal_if_all_values_are() -> None:
    assert MultiDict({"size": ["7"], "colour": ["red", "blue"]}) == FIELDS
    assert MultiDict({"size": ["7"], "colour": ["red"]}) != FIELDS
    assert FIELDS == {"colour": "red", "size": "7"}
    assert FIELDS != ["colour", "size"]


def test_changing_getlist_s_result_does_not_change_the_multidict() -> None:
    FIELDS.getlist("colour").append("green")
    assert FIELDS.getlist("colour") == ["red", "blue"]


def test_a_multidict_s_repr_hides_values() -> None:
    assert repr(MultiDict({"password": ["pie"]})) == "<MultiDict ['password']>"


def test_the_query_is_a_multidict() -> None:
    request = make_request(query="a=1&a=2&b=")
    assert isinstance(request.query, Mapping)
    seen = (request.query.getlist("a"), request.query["b"], request.query.get("c"))
    assert seen == (["1", "2"], "", None)


class Received(App):
    @post
    def index(self) -> Any:
        form, files = self.request.form, self.request.files
        return {
            "form": {name: form.getlist(name) for name in form},
            "files": {name: [one.filename for one in files.getlist(name)] for name in files},
            "first": files["a"].filename if "a" in files else None,
        }


def test_a_form_and_its_files_are_multidicts(make_client: MakeClient) -> None:
    files = [("a", ("1.txt", b"1")), ("a", ("2.txt", b"2"))]
    answer = make_client(Received()).post("/", data={"n": ["1", "2"]}, files=files)
    assert answer.json() == {
        "form": {"n": ["1", "2"]},
        "files": {"a": ["1.txt", "2.txt"]},
        "first": "1.txt",
    }


def test_a_json_multidict_has_values_of_any_type(make_client: MakeClient) -> None:
    answer = make_client(Received()).post("/", json={"n": [1, {"a": 2}], "m": None, "none": []})
    assert answer.json()["form"] == {"n": [1, {"a": 2}], "m": [None]}


class Field:
    """A field of a form as WTForms processes it; all that WTForms asks of form data is here."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.raw_data: list[str] = []

    def process(self, formdata: Any) -> None:
        assert hasattr(formdata, "getlist")
        if self.name in formdata:
            self.raw_data = formdata.getlist(self.name)


class WithForm(App):
    @post
    def index(self) -> Any:
        fields = [Field("name"), Field("tags"), Field("missing")]
        for field in fields:
            field.process(self.request.form)
        # as FieldList finds its entries
        rows = sorted(name for name in self.request.form if name.startswith("rows-"))
        return [*(field.raw_data for field in fields), rows]


def test_wtforms_can_read_a_form(make_client: MakeClient) -> None:
    data = {"name": "Ann", "tags": ["a", "b"], "rows-0": "x", "rows-1": "y"}
    found = make_client(WithForm()).post("/", data=data).json()
    assert found == [["Ann"], ["a", "b"], [], ["rows-0", "rows-1"]]
