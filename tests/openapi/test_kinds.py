"""Types of the libraries and of ``typing``: what is bound, what is sent, and that the document says
the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, NewType

import msgspec
import pydantic
import pydantic.dataclasses
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from micropie import App, Body, Header, Query, SetupError, get, post
from tests.conftest import MakeClient

JSON = "application/json"


class Colour(str, Enum):
    # not in the order of the alphabet
    red = "red"
    green = "green"


class Size(Enum):
    small = 1
    large = 2


class Cat(msgspec.Struct, tag="cat"):
    lives: int = 9


class Dog(msgspec.Struct, tag="dog"):
    colour: Colour = Colour.red


class Stone(msgspec.Struct):
    weight: int


class Car(pydantic.BaseModel):
    kind: Literal["car", "van"]
    colour: Colour = Colour.red


class Bike(pydantic.BaseModel):
    kind: Literal[Size.small]


class Boat(pydantic.BaseModel):
    kind: int


def kind_of(value: Any) -> str:
    return str(value["kind"] if isinstance(value, dict) else value.kind)


Ride = Annotated[Car | Bike, pydantic.Field(discriminator="kind")]
Chosen = Annotated[
    Annotated[Car, pydantic.Tag("car")] | Annotated[Boat, pydantic.Tag("5")],
    pydantic.Discriminator(kind_of),
]


@pydantic.dataclasses.dataclass
class Price:
    amount: Annotated[Decimal, pydantic.Field(gt=0)]
    colour: Colour = pydantic.Field(default=Colour.green)


@dataclass
class Plain:
    colour: Colour
    price: Decimal


UserId = NewType("UserId", int)


class Kinds(App):
    @post
    def pet(self, pet: Cat | Dog) -> Cat | Dog:
        return pet

    @post
    def pet_or_none(self, pet: Cat | Dog | None = None) -> Cat | Dog | None:
        return pet

    @post
    def thing(self, thing: Annotated[Stone | None, Body()]) -> Stone | None:
        return thing

    @post
    def ride(self, ride: Ride) -> Ride:
        return ride

    @post
    def chosen(self, ride: Chosen) -> Car | Boat:
        return ride

    @post
    def price(self, price: Price) -> Price:
        return price

    @post
    def plain(self, plain: Plain) -> list[Plain]:
        return [plain]

    @get
    def sequences(self, ids: Sequence[int] = ()) -> Sequence[Colour]:
        return [Colour.red] * sum(ids)

    @get
    def listed(self, x_ids: Annotated[list[int], Header()]) -> list[int]:
        return x_ids

    @get
    def user(self, number: Annotated[UserId, Query()], *, others: list[UserId]) -> list[UserId]:
        return [number, *others]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return Kinds().openapi()


def schemas_of(document: dict[str, Any], path: str) -> list[Any]:
    """Return the schemas of a body and of its answer."""
    operation = document["paths"][path]["post"]
    return [
        one["content"][JSON]["schema"]
        for one in (operation["requestBody"], operation["responses"]["200"])
    ]


def union(field: str, **members: str) -> dict[str, Any]:
    references = {tag: f"#/components/schemas/{name}" for tag, name in members.items()}
    return {
        "anyOf": [{"$ref": one} for one in dict.fromkeys(references.values())],
        "discriminator": {"propertyName": field, "mapping": references},
    }


PET = union("type", cat="Cat", dog="Dog")


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()


def test_the_members_of_a_union_have_a_discriminator(document: dict[str, Any]) -> None:
    assert schemas_of(document, "/pet") == [PET, PET]
    ride = union("kind", car="Car", van="Car", **{"1": "Bike"})
    assert schemas_of(document, "/ride") == [ride, ride]
    assert "discriminator" not in schemas_of(document, "/chosen")[0]  # a function of the author's
    body, answer = schemas_of(document, "/pet_or_none")
    assert body == {"anyOf": [PET, {"type": "null"}]}
    assert answer == PET  # None is an empty body


@pytest.mark.parametrize("annotation", [Stone | Plain, Car | Bike, Boat | Car])
def test_a_union_without_a_field_that_tells_has_no_discriminator(annotation: Any) -> None:
    def handler(thing: Any) -> Any:
        return thing

    handler.__annotations__ = {"thing": dict, "return": annotation}
    app = App()
    app.post("/page")(handler)
    assert "discriminator" not in str(app.openapi())


def test_a_model_has_one_name_if_it_is_used_in_one_way(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert {"Price-Input", "Price-Output"} < {*schemas}  # a Decimal is sent as a text alone

    class Root(App):
        @post
        def take(self, price: Price) -> None: ...

        @get
        def all(self) -> list[Price]:
            return []

    class Taking(App):
        @post
        def take(self, prices: list[Price]) -> None: ...

    assert {*Root().openapi()["components"]["schemas"]} == {
        "Colour",
        "Price-Input",
        "Price-Output",
        "Problem",
    }
    taking = Taking().openapi()
    OpenAPIV31SpecValidator(taking).validate()
    assert {*taking["components"]["schemas"]} == {"Colour", "Price", "Problem"}
    body = taking["paths"]["/take"]["post"]["requestBody"]["content"][JSON]["schema"]
    assert body == {"type": "array", "items": {"$ref": "#/components/schemas/Price"}}


def test_both_libraries_describe_one_enumeration(document: dict[str, Any]) -> None:
    """msgspec sorts its values, pydantic does not."""
    names = [name for name in document["components"]["schemas"] if "Colour" in name]
    assert names == ["Colour"]


def test_sequences_and_new_types_are_described(document: dict[str, Any]) -> None:
    paths = document["paths"]
    integers = {"type": "array", "items": {"type": "integer"}}
    colours = {"type": "array", "items": {"type": "string", "enum": ["red", "green"]}}
    [parameter] = paths["/sequences"]["get"]["parameters"]
    answer = paths["/sequences"]["get"]["responses"]["200"]["content"][JSON]["schema"]
    assert (parameter["schema"], answer) == (integers, colours)
    number, others = paths["/user"]["get"]["parameters"]
    assert (number["schema"], others["schema"]) == ({"type": "integer"}, integers)
    [header] = paths["/listed"]["get"]["parameters"]
    assert (header["in"], header["schema"]) == ("header", integers)


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/pet", {"type": "dog"}, {"type": "dog", "colour": "red"}),
        ("/ride", {"kind": "van"}, {"kind": "van", "colour": "red"}),
        ("/chosen", {"kind": 5}, {"kind": 5}),
        ("/chosen", {"kind": "cow"}, "kind_of()"),
        ("/price", {"amount": "1.50"}, {"amount": "1.50", "colour": "green"}),
        ("/price", {"amount": -1}, "amount: Please enter a value above 0."),
        ("/price", {"amount": 1, "colour": "blue"}, "colour: "),
        ("/price", [], "price: "),
    ],
)
def test_bodies_are_bound(make_client: MakeClient, path: str, body: Any, expected: Any) -> None:
    answer = make_client(Kinds(errors="json")).post(path, json=body)
    if isinstance(expected, str):
        assert answer.status_code == 400
        assert expected in answer.json()["detail"]
    else:
        assert answer.json() == expected


def test_a_list_of_a_header_is_divided_at_commas(make_client: MakeClient) -> None:
    """WSGI servers join the headers of one name by commas, ASGI servers do not."""
    client = make_client(Kinds())
    assert client.get("/listed", headers={"X-Ids": "1,2 ,\t3,,"}).json() == [1, 2, 3]
    twice = [("X-Ids", "1"), ("X-Ids", "2, 3")]
    assert client.get("/listed", headers=twice).json() == [1, 2, 3]
    assert client.get("/listed", headers={"X-Ids": "1, pie"}).status_code == 400


def test_sequences_and_new_types_are_bound(make_client: MakeClient) -> None:
    client = make_client(Kinds())
    assert client.get("/sequences?ids=1&ids=2").json() == ["red"] * 3
    assert client.get("/sequences").json() == []
    assert client.get("/user?number=3&others=4").json() == [3, 4]
    assert client.get("/user?number=x&others=4").status_code == 400


def test_a_new_type_that_nothing_provides_is_no_value_of_a_client() -> None:
    """A provider that was forgotten must not become a value that anybody sends."""
    app = App()

    @app.get("/")
    def page(user: UserId | None = None) -> str:
        return str(user)

    page.__annotations__["user"] = UserId | None
    with pytest.raises(SetupError, match=r"nothing provides UserId: write @app.provides\(UserId\)"):
        app._micropie.compiled()
