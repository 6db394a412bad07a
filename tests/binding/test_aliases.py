"""``type Alias = ...`` (PEP 695) in annotations, as typing_extensions has it for older Pythons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import pydantic
import pytest
from typing_extensions import TypeAliasType

from micropie import App, Body, Query, SetupError, describe, post
from micropie._core.binding.annotations import without_aliases
from tests.binding.conftest import taking
from tests.support.clients import MakeClient

T = TypeVar("T")
U = TypeVar("U")

Number = TypeAliasType("Number", int)
Few = TypeAliasType("Few", Annotated[Number, msgspec.Meta(le=3)])
Rows = TypeAliasType("Rows", list[T], type_params=(T,))
Same = TypeAliasType("Same", T, type_params=(T,))
Turned = TypeAliasType("Turned", dict[U, T], type_params=(T, U))
Colour = TypeAliasType("Colour", Literal["red", "green"])


class Recursive:
    """As the interpreter makes it of ``type Json = dict[str, Json] | list[Json] | str``: the value
    is made when asked.
    """

    __type_params__ = ()

    @property
    def __value__(self) -> Any:
        return dict[str, self] | list[self] | str  # type: ignore[valid-type]


JSON = Recursive()
Lines = TypeAliasType("Lines", dict[str, "Lines"] | list["Lines"] | str)  # type: ignore[misc]
Tree = TypeAliasType("Tree", T | list["Tree[T]"], type_params=(T,))  # type: ignore[misc]


@dataclass
class Pie:
    name: str
    slices: int = 8


Order = TypeAliasType("Order", Pie)


@pytest.mark.parametrize(
    ("annotation", "meant"),
    [
        (Number, int),
        (Rows[Number], list[int]),
        (Same[Number], int),
        (Turned[Number, str], dict[str, int]),
        (Rows[Rows[str]] | None, list[list[str]] | None),
        (Annotated[Number, 1, [2]], Annotated[int, 1, [2]]),
        (tuple[Number, ...], tuple[int, ...]),
        (Literal["Number"], Literal["Number"]),
        (JSON, dict[str, Any] | list[Any] | str),
        (Lines, dict[str, Any] | list[Any] | str),
        (Tree[int], int | list[Any]),
        (int | None, int | None),
    ],
)
def test_an_alias_stands_for_its_value(annotation: Any, meant: Any) -> None:
    assert without_aliases(annotation) == meant


class Shop(App):
    def few(self, number: Few, colour: Colour = "red") -> list[object]:
        return [number, colour]

    def total(self, numbers: Annotated[Rows[Number], Query("n")]) -> int:
        return sum(numbers)

    @post
    def order(self, order: Order) -> Order:
        return order

    @post
    def orders(self, orders: Rows[Order]) -> Rows[Order]:
        return orders


@pytest.mark.parametrize(
    ("url", "document", "status", "expected"),
    [
        ("/few/3/green", None, 200, [3, "green"]),
        ("/few/4", None, 400, "Parameter 'number' must be a whole number, at most 3."),
        ("/few/1?colour=blue", None, 400, "Parameter 'colour' must be one of red, green."),
        ("/total?n=1&n=2", None, 200, 3),
        ("/order", {"name": "apple"}, 200, {"name": "apple", "slices": 8}),
        ("/orders", [{"name": "apple"}], 200, [{"name": "apple", "slices": 8}]),
    ],
)
def test_parameters_annotated_with_an_alias_are_bound(
    make_client: MakeClient, url: str, document: Any, status: int, expected: Any
) -> None:
    client = make_client(Shop(errors="json"))
    answer = client.get(url) if document is None else client.post(url, json=document)
    found = answer.json()
    assert (answer.status_code, found if status == 200 else found["detail"]) == (status, expected)


def test_aliases_are_described() -> None:
    document = Shop().openapi()
    number, _ = document["paths"]["/few/{number}"]["get"]["parameters"]
    assert number["schema"] == {"type": "integer", "maximum": 3}
    answer = document["paths"]["/orders"]["post"]["responses"]["200"]["content"][
        "application/json"
    ]["schema"]
    assert answer == {"type": "array", "items": {"$ref": "#/components/schemas/Pie"}}


Ticked = TypeAliasType("Ticked", bool)


class Model(pydantic.BaseModel):
    tags: Rows[str]
    ticked: Ticked = True


class Boxes(App):
    @post
    def x(self, given: Model) -> Any:
        return [given.tags, given.ticked]


def test_a_form_s_checkboxes_and_lists_are_recognised_behind_an_alias(
    make_client: MakeClient,
) -> None:
    client = make_client(Boxes())
    assert client.post("/x", data={"other": "1"}).json() == [[], False]
    assert client.post("/x", data={"tags": ["a", "b"], "ticked": "on"}).json() == [["a", "b"], True]


@pytest.mark.parametrize("annotation", [Rows[int, str], Turned[int]])
def test_an_alias_needs_as_many_types_as_it_has_parameters(annotation: Any) -> None:
    with pytest.raises(SetupError):
        taking(annotation)._micropie.compiled()


class Unknown(Recursive):
    @property
    def __value__(self) -> Any:
        raise NameError("name 'Nowhere' is not defined")


def test_an_alias_of_a_missing_name_fails_at_setup() -> None:
    with pytest.raises(SetupError, match="'Nowhere' is not defined"):
        taking(Unknown())._micropie.compiled()


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents


def parsed(parts: Rows[Number]) -> Money:
    return Money(sum(parts))


def cents(money: Money) -> Number:
    return money.cents


def test_an_alias_may_annotate_a_decoder_an_encoder_and_a_described_response(
    make_client: MakeClient,
) -> None:
    app = App(errors="json", encoders={Money: cents}, decoders={Money: parsed})

    @app.post("/")
    @describe(responses={409: Rows[Order]})
    def pay(money: Money) -> Money:
        return money

    assert make_client(app).post("/", json={"money": [1, 2]}).json() == 3
    operation = app.openapi()["paths"]["/"]["post"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    answers = [
        operation["responses"][status]["content"]["application/json"]["schema"]
        for status in ("200", "409")
    ]
    assert body["properties"]["money"] == {"type": "array", "items": {"type": "integer"}}
    assert answers == [
        {"type": "integer"},
        {"type": "array", "items": {"$ref": "#/components/schemas/Pie"}},
    ]


@pytest.mark.parametrize(
    ("annotation", "sent"),
    [
        (Annotated[pydantic.JsonValue, Body()], {"a": [1, None, {"b": "c"}]}),
        (Annotated[list[pydantic.JsonValue], Body()], [1, None, ["a"]]),
        (Annotated[Lines, Body()], {"a": ["b"]}),
    ],
)
def test_a_recursive_alias_accepts_json_of_any_depth(
    make_client: MakeClient, annotation: Any, sent: Any
) -> None:
    client = make_client(taking(annotation, lambda item: {"item": item}))
    assert client.post("/page", json=sent).json() == {"item": sent}
