"""Structures of generic classes, ``Page[Pie]``, as bodies: their fields have the types that are
given.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Any, Generic, Literal, NotRequired, TypedDict, TypeVar

import msgspec
import pydantic
import pytest

from micropie import Message, Query
from tests.binding.conftest import taking
from tests.support.clients import MakeClient

T = TypeVar("T")
U = TypeVar("U")


@dataclass
class Pie:
    name: str
    hot: bool = True
    slices: Annotated[int, msgspec.Meta(ge=1), Message("A slice, please.")] = 8


@dataclass
class Page(Generic[T]):
    items: list[T]
    first: T | None = None


class Shelf(msgspec.Struct, Generic[T], tag="shelf"):
    items: list[T]


class Box(msgspec.Struct, tag="box"):
    size: int


class Row(TypedDict, Generic[T]):
    items: list[T]
    last: NotRequired[T]


class Pies(Page[Pie]):
    pass


@dataclass
class Menu(Page[U], Generic[T, U]):  # T is another one than that of Page
    title: T | str = ""


class Shop(msgspec.Struct):
    items: list[Any]
    page: Page[Pie]


def posted(make_client: MakeClient, kind: Any, **sent: Any) -> Any:
    app = taking(kind, lambda item: item, errors="json")
    answer = make_client(app).post("/page", **sent).json()
    return (
        answer
        if "errors" not in answer
        else {one["field"]: one["detail"] for one in answer["errors"]}
    )


KINDS = [
    Page[Pie], Shelf[Pie], Shelf[Pie] | Box, Row[Pie], Pies, Menu[int, Pie],
    Page[Annotated[Pie, Message("No.")]],
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_generic_structure_has_the_fields_of_its_type_arguments(
    make_client: MakeClient, kind: Any
) -> None:
    tagged = {"type": "shelf"} if "Shelf" in repr(kind) else {}
    sent: dict[str, Any] = {**tagged, "items": [{"name": "plum", "hot": False, "slices": 2}]}
    found = posted(make_client, kind, json=sent)
    assert found["items"] == sent["items"]
    sent["items"] += [{"slices": 0}]
    wrong = {"items[1].name": "Please fill in this field.", "items[1].slices": "A slice, please."}
    if "Box" not in repr(kind) and "Message" not in repr(kind):
        assert posted(make_client, kind, json=sent) == wrong


@pytest.mark.parametrize("kind", [Page[Pie], Shelf[Pie], Row[Pie], Pies, Menu[int, Pie]])
def test_a_generic_structure_can_be_a_form(make_client: MakeClient, kind: Any) -> None:
    # a box that is not ticked, and an entry left empty
    sent = {"items[0].name": "plum", "items[0].slices": ""}
    tagged = {"type": "shelf"} if kind == Shelf[Pie] else {}
    found = posted(make_client, kind, data={**sent, **tagged})
    assert found["items"] == [{"name": "plum", "hot": False, "slices": 8}]


def test_a_generic_class_can_be_a_field_or_a_list_element(make_client: MakeClient) -> None:
    page = {"items": [{"name": "plum", "hot": True, "slices": 2}], "first": None}
    assert posted(make_client, list[Page[Pie]], json=[page]) == [page]
    found = posted(make_client, Shop, json={"items": [1], "page": page})
    assert found == {"items": [1], "page": page}
    told = posted(make_client, Shop, json={"items": [1], "page": {"items": [{}]}})
    assert told == {"page.items[0].name": "Please fill in this field."}
    seen = posted(make_client, Page[int], json={"items": [1, "x"]})
    assert seen == {"items[1]": "Please enter a whole number."}
    assert posted(make_client, Page, json={"items": [1, "x"]}) == {"items": [1, "x"], "first": None}


@dataclass
class Bare:
    names: typing.List  # type: ignore[type-arg]  # noqa: UP006 - what is tested
    more: typing.Dict = field(default_factory=dict)  # type: ignore[type-arg]  # noqa: UP006


def test_a_field_may_be_a_bare_list_or_dict_of_typing(make_client: MakeClient) -> None:
    sent = {"names": ["a", 1], "more": {"b": [2]}}
    assert posted(make_client, Bare, json=sent) == sent
    assert posted(make_client, Bare, data={"names": "a", "more.b": "2"}) == {
        "names": ["a"],
        "more": {"b": "2"},
    }


class Node(pydantic.BaseModel, Generic[T]):
    value: T
    is_open: bool = True
    below: list[Node[T]] = []
    twin: Annotated[Node[T] | None, "a note"] = None
    nodes: dict[str, Node[T]] = {}
    literal: Literal["a", 1] = "a"


def test_a_generic_model_may_contain_itself(make_client: MakeClient) -> None:
    form = {
        "value": "2026-01-31",
        "below[0].value": "2026-02-01",
        "below[0].below[0].value": "2026-02-02",
        "twin": "",
        "nodes.a.value": "2026-02-03",
        "nodes.a.is_open": "on",
    }
    leaf = {"is_open": False, "below": [], "twin": None, "nodes": {}, "literal": "a"}
    inner = {"value": "2026-02-01", **leaf, "below": [{"value": "2026-02-02", **leaf}]}
    nodes = {"a": {"value": "2026-02-03", **leaf, "is_open": True}}
    whole = {"value": "2026-01-31", **leaf, "below": [inner], "nodes": nodes}
    assert posted(make_client, Node[date], data=form) == whole
    assert posted(make_client, Node[date], json=whole) == whole
    found = posted(make_client, Node[date], json={"value": "x", "below": [{"value": "y"}]})
    assert found == {
        "value": "Please enter a date such as 2026-01-31.",
        "below[0].value": "Please enter a date such as 2026-01-31.",
    }


def test_an_unknown_tag_is_reported_with_its_location(make_client: MakeClient) -> None:
    found = posted(make_client, Shelf[Pie] | Box, json={"type": "bag"})
    assert found == {"type": "Please choose one of shelf, box."}


def test_a_generic_structure_can_be_the_whole_query(make_client: MakeClient) -> None:
    app = taking(Annotated[Page[int], Query()], lambda item: item)
    found = make_client(app).get("/page?items=1&items=2&first=3").json()
    assert found == {"items": [1, 2], "first": 3}
