"""JSON with too many values is refused before it is decoded, wherever it comes in."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from micropie import App, Body, HTTPError, max_json_values, run_in
from micropie._core.http.body import received
from micropie._core.http.json import MOST_VALUES, check_client_values, check_values
from tests.support.clients import MakeClient

JSON_TYPE = {"Content-Type": "application/json"}
SENTENCE = "A JSON document may have 10 values at most (max_json_values)."
NINE, TEN = "[1,1,1,1,1,1,1,1]", "[1,1,1,1,1,1,1,1,1]"  # the array is a value as well


def test_a_text_outside_of_a_request_has_the_default_limit() -> None:
    check_client_values(NINE)
    with pytest.raises(HTTPError, match=f"{MOST_VALUES} values at most"):
        check_client_values(f"[{'1,' * MOST_VALUES}1]")


def is_accepted(text: str | bytes, most: int) -> bool:
    try:
        check_values(text, most)
    except HTTPError:
        return False
    return True


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1", 1),
        ("[1]", 2),
        ("[1, 2, 3]", 4),
        ('{"a": 1, "b": [2, 3]}', 5),
        ("[]", 2),
        ('{"a": {}}', 3),
        ('[{"name": "a", "count": 1}, {"name": "b", "count": 2}]', 7),
        ('["a,b,c[{", "d"]', 3),
        (r'["\",\",\"", "[\\", "\\\\\",,,,"]', 4),
        (r'{"a,\"{[": "\\"}', 2),
        ('["é,é,é,"]', 2),
        ("[[[[[[", 7),
        ("[1,1,1,1", 5),
        ('[1,1,",,,,,,,,,,,', 4),
    ],
)
def test_values_are_only_counted_outside_strings(text: str, count: int) -> None:
    for sent in (text, text.encode()):
        assert is_accepted(sent, count)
        assert is_accepted(sent, count + 1)
        assert not is_accepted(sent, count - 1)


def test_a_string_with_many_commas_is_one_value() -> None:
    for text in ("a, b" * 250_000, 'a", b' * 250_000, "\\," * 250_000, "\\\\\\" * 100_000 + ","):
        assert is_accepted(json.dumps([text]), 2)


def test_a_text_is_not_split_into_more_strings_than_its_limit_allows() -> None:
    for quotes, expected in ((40, True), (42, False)):
        assert is_accepted('["' + "," * 10 + '",' + '"' * (quotes - 2), 10) is expected


def elements_of(value: Any) -> int:
    """Count the values in a document; an empty array or object is two."""
    if isinstance(value, list | dict):
        parts = value.values() if isinstance(value, dict) else value
        return 1 + (sum(map(elements_of, parts)) if value else 1)
    return 1


TEXTS = st.text(alphabet='a,[{}]:"\\é \n', max_size=8)
DOCUMENTS = st.recursive(
    st.none() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(DOCUMENTS, st.booleans())
def test_every_value_of_a_document_counts_exactly_once(document: Any, is_ascii: bool) -> None:
    text = json.dumps(document, ensure_ascii=is_ascii)
    count = elements_of(document)
    assert is_accepted(text, count)
    assert not is_accepted(text, count - 1)


@dataclass
class Data:
    a: list[int] = field(default_factory=list)


class Dict(TypedDict):
    a: list[int]


class Struct(msgspec.Struct):
    a: list[int]


@attrs.define
class Attrs:
    a: list[int]


class Model(pydantic.BaseModel):
    a: list[int] = []
    text: pydantic.Json[list[int]] = []
    texts: list[pydantic.Json[Any]] = []


@dataclass
class DataRow:
    values: list[int]


@dataclass
class Rows:
    rows: list[DataRow]


class Root(App):
    def rows(self, rows: Rows) -> Any:
        return len(rows.rows)

    def json(self) -> Any:
        return self.request.json()

    async def json_on_loop(self) -> Any:
        return self.request.json()

    def form(self) -> Any:
        return self.request.form.getlist("a")

    def whole(self, a: Annotated[Any, Body()]) -> Any:
        return a

    def value(self, a: list[int]) -> Any:
        return a

    def data(self, a: Data) -> Any:
        return a

    def typed(self, a: Dict) -> Any:
        return a

    def struct(self, a: Struct) -> Any:
        return a

    def attrs(self, a: Attrs) -> Any:
        return a.a

    def model(self, a: Model) -> Any:
        return a.a

    @run_in("process")
    def in_process(self) -> Any:
        return self.request.json()

    def nothing(self) -> Any:
        return "nothing"

    def text(self, a: pydantic.Json[list[int]]) -> Any:
        return len(a)

    def texts(self, a: list[pydantic.Json[Any]]) -> Any:
        return len(a)

    @max_json_values(100)
    def more(self, a: list[int]) -> Any:
        return len(a)

    @max_json_values(100)
    def more_text(self, a: pydantic.Json[list[int]]) -> Any:
        return len(a)


READS = ("json", "json_on_loop", "form", "whole", "value", "data", "typed", "struct", "attrs")


@pytest.mark.parametrize("path", [*READS, "model"])
def test_R18_a_body_with_too_many_values_is_refused_before_decoding(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    decoded: list[bytes] = []

    def decode(data: bytes) -> Any:
        decoded.append(data)
        return json.loads(data)

    monkeypatch.setattr(received, "loads", decode)
    client = make_client(Root(max_json_values=10))
    fine, wrong = f'{{"a":{NINE}}}', f'{{"a":{TEN}}}'
    answer = client.post(f"/{path}", content=fine, headers=JSON_TYPE)
    assert (answer.status_code, decoded) == (200, [fine.encode()])
    answer = client.post(f"/{path}", content=wrong, headers=JSON_TYPE)
    assert (answer.status_code, answer.json()["detail"]) == (413, SENTENCE)
    assert decoded == [fine.encode()]


def test_an_unread_document_is_not_counted(make_client: MakeClient) -> None:
    client = make_client(Root(max_json_values=10))
    assert client.post("/nothing", content=f"[{TEN},{TEN}]", headers=JSON_TYPE).text == "nothing"


def test_an_encoded_body_gets_a_415_whatever_its_bytes(make_client: MakeClient) -> None:
    client = make_client(Root(max_json_values=10))
    headers = {**JSON_TYPE, "Content-Encoding": "br"}
    assert client.post("/json", content=f"[{TEN},{TEN}]", headers=headers).status_code == 415


@pytest.mark.parametrize("path", ["text", "texts"])
@pytest.mark.parametrize("place", ["data", "params", "json"])
def test_values_of_a_json_text_parameter_are_counted(
    make_client: MakeClient, path: str, place: str
) -> None:
    client = make_client(Root(max_json_values=10))
    for text, expected in ((TEN, 200), (f"{TEN[:-1]},1]", 413)):
        sent: Any = {place: {"a": [text] if path == "texts" else text}}
        assert client.post(f"/{path}", **sent).status_code == expected


def test_values_of_json_texts_inside_a_model_are_counted(make_client: MakeClient) -> None:
    client = make_client(Root(max_json_values=10))
    for text, expected in ((TEN, 200), (f"{TEN[:-1]},1]", 413)):
        assert client.post("/model", json={"text": text}).status_code == expected
        assert client.post("/model", json={"texts": [text]}).status_code == expected
    assert client.post("/model", json={"text": 1, "texts": [1]}).status_code == 400


def test_the_json_texts_of_a_request_are_counted_together(make_client: MakeClient) -> None:
    client = make_client(Root(max_json_values=10))
    comma = json.dumps("a,[{" * 20)  # a string is one value
    for texts, expected in ((["[1,1]", "[1,1]", "[1,1]", comma], 200), (["[1,1]"] * 4, 413)):
        assert client.post("/texts", data={"a": texts}).status_code == expected
        assert client.post("/texts", params={"a": texts}).status_code == expected
        assert client.post("/model", json={"texts": texts}).status_code == expected
    for count, expected in ((3, 200), (4, 413)):
        rows: Any = [
            (f"rows[{number}].values", (None, "[1,1]", "application/json"))
            for number in range(count)
        ]
        answer = client.post("/rows", files=rows)
        assert answer.status_code == expected
    assert answer.text == SENTENCE


@pytest.mark.processes
def test_values_are_also_counted_in_a_process(make_client: MakeClient) -> None:
    client = make_client(Root(max_json_values=10))
    for text, expected in ((TEN, 200), (f"{TEN[:-1]},1]", 413)):
        answer = client.post("/in_process", content=text, headers=JSON_TYPE)
        assert answer.status_code == expected


def test_a_handler_may_have_its_own_value_limit(make_client: MakeClient) -> None:
    client = make_client(Root(max_json_values=10))
    for count, status in ((98, 200), (99, 413)):
        assert client.post("/more", json={"a": [1] * count}).status_code == status
    for count, status in ((99, 200), (100, 413)):
        sent = {"a": json.dumps([1] * count)}
        assert client.post("/more_text", data=sent).status_code == status


def test_a_document_may_have_ten_thousand_values(make_client: MakeClient) -> None:
    client = make_client(Root())
    rows = [{"id": 123456, "name": "a name", "price": 12.5, "tags": ["a", "b"]}] * 1428  # of 7
    assert client.post("/json", json=rows).json() == rows
    assert client.post("/json", json=[*rows, 1, 2, 3, 4]).status_code == 413
