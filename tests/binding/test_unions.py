"""A body that is one of several structures: tagged Structs, or pydantic's models with or without a
discriminator.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any, Literal, TypedDict

import jsonschema  # type: ignore[import-untyped]
import msgspec
import pytest
from pydantic import AliasPath, BaseModel, Discriminator, Field, RootModel, Tag

from micropie import App, BindingErrors, Body, Message, Query, SetupError, post
from tests.binding.conftest import taking
from tests.support.clients import MakeClient


class Cat(msgspec.Struct, tag="cat"):
    lives: int = 9


class Dog(msgspec.Struct, tag="dog"):
    loud: bool
    friend: Cat | Dog | None = None


class Car(BaseModel):
    kind: Literal["car"] = "car"
    doors: int


class Bike(BaseModel):
    kind: Literal["bike"] = "bike"
    gears: int


Ride = Annotated[Car | Bike, Field(discriminator="kind")]


class Zoo(App):
    @post
    def pet(self, pet: Cat | Dog) -> list[Any]:
        return [type(pet).__name__, pet]

    @post
    def stated(self, pet: Annotated[Cat | Dog, Body()], *, times: int = 1) -> list[Any]:
        return [pet] * times

    @post
    def maybe(self, pet: Cat | Dog | None = None) -> list[Any]:
        return [pet]

    @post
    def pets(self, pets: list[Cat | Dog]) -> list[str]:
        return [type(pet).__name__ for pet in pets]

    def found(self, pet: Annotated[Cat | Dog, Query()]) -> list[Any]:
        return [pet]

    @post
    def ride(self, ride: Ride) -> list[Any]:
        return [type(ride).__name__, ride]

    @post
    def rides(self, rides: list[Ride]) -> list[str]:
        return [type(ride).__name__ for ride in rides]

    @post
    def plain(self, ride: Car | Bike | None = None) -> list[Any]:
        return [type(ride).__name__]


ANSWERS: list[tuple[str, dict[str, Any], int, Any]] = [
    ("/pet", {"json": {"type": "cat", "lives": 3}}, 200, ["Cat", {"type": "cat", "lives": 3}]),
    (
        "/pet",
        {"json": {"type": "dog", "loud": True}},
        200,
        ["Dog", {"type": "dog", "loud": True, "friend": None}],
    ),
    (
        "/pet",
        {"data": {"type": "dog", "loud": "on"}},
        200,
        ["Dog", {"type": "dog", "loud": True, "friend": None}],
    ),
    (
        "/pet",
        {"json": {"type": "cow"}},
        400,
        "Parameter 'pet' is invalid: Invalid value - at `$.type`.",
    ),
    (
        "/pet",
        {"json": {"type": "dog", "loud": True, "friend": {"type": "cow"}}},
        400,
        "Parameter 'pet' is invalid: Invalid value - at `$.friend.type`.",
    ),
    (
        "/pet",
        {"json": {}},
        400,
        "Parameter 'pet' is invalid: Object missing required field `type`.",
    ),
    ("/pet", {}, 400, "Parameter 'pet' is missing; expected a JSON object or a form."),
    ("/stated?times=2", {"json": {"type": "cat"}}, 200, [{"type": "cat", "lives": 9}] * 2),
    ("/maybe", {"json": {"type": "cat"}}, 200, [{"type": "cat", "lives": 9}]),
    ("/maybe", {}, 200, [None]),
    ("/pets", {"json": [{"type": "cat"}, {"type": "dog", "loud": False}]}, 200, ["Cat", "Dog"]),
    (
        "/pets",
        {"json": [{"type": "cow"}]},
        400,
        "Parameter 'pets' is invalid: Invalid value - at `$[0].type`.",
    ),
    ("/ride", {"json": {"kind": "bike", "gears": 3}}, 200, ["Bike", {"kind": "bike", "gears": 3}]),
    ("/ride", {"data": {"kind": "car", "doors": "3"}}, 200, ["Car", {"kind": "car", "doors": 3}]),
    ("/rides", {"json": [{"kind": "car", "doors": 3}]}, 200, ["Car"]),
    ("/plain", {"json": {"gears": 3}}, 200, ["Bike"]),
    ("/plain", {}, 200, ["NoneType"]),
]


@pytest.mark.parametrize(("url", "body", "status", "expected"), ANSWERS)
def test_a_body_can_be_a_union(
    make_client: MakeClient, url: str, body: dict[str, Any], status: int, expected: Any
) -> None:
    answer = make_client(Zoo(errors="json")).post(url, **body)
    found = answer.json()
    assert (answer.status_code, found if status == 200 else found["detail"]) == (status, expected)


def test_a_discriminator_reduces_errors_to_one(make_client: MakeClient) -> None:
    answer = make_client(Zoo(errors="json")).post("/ride", json={"kind": "bus", "doors": 3})
    assert answer.status_code == 400
    assert answer.json()["detail"].count("is invalid") == 1
    assert "'car', 'bike'" in answer.json()["detail"]


class Form(Enum):
    ROUND = "round"
    SQUARE = "square"


class Tart(BaseModel):
    form: Literal[Form.ROUND]
    slices: int = 8


class Slab(BaseModel):
    form: Literal[Form.SQUARE]
    is_cut: bool = False


class Black(BaseModel):
    drink: Literal["coffee"]
    colour: Literal["black"]
    spoons: int = 0


class White(BaseModel):
    drink: Literal["coffee"]
    colour: Literal["white"]


class Water(BaseModel):
    drink: Literal["water"]


Baked = Annotated[Tart | Slab, Field(discriminator="form")]
Coffee = Annotated[Black | White, Field(discriminator="colour")]
Drink = Annotated[Coffee | Water, Field(discriminator="drink")]


class Meal(BaseModel):
    baked: Baked
    drinks: list[Drink] = []


@dataclass
class Order:
    """No model itself, and msgspec can't read it."""

    baked: Baked
    drinks: list[Drink] = field(default_factory=list)


class Cafe(App):
    @post
    def order(self, order: Order) -> Order:
        return order

    @post
    def baked(self, baked: Baked) -> Baked:
        return baked

    @post
    def drink(self, drink: Drink) -> Drink:
        return drink

    @post
    def meal(self, meal: Meal) -> Meal:
        return meal

    def found(self, *, drink: Annotated[Drink, Query()], baked: Annotated[Baked, Query()]) -> Any:
        return [drink, baked]


MEAL = {
    "baked": {"form": "round", "slices": 8},
    "drinks": [{"drink": "coffee", "colour": "white"}, {"drink": "water"}],
}
MEAL_FORM = {
    "baked.form": "round",
    "drinks[0].drink": "coffee",
    "drinks[0].colour": "white",
    "drinks[1].drink": "water",
}


@pytest.mark.parametrize(
    ("path", "sent", "form"),
    [
        ("/baked", {"form": "round", "slices": 4}, {"form": "round", "slices": "4"}),
        ("/baked", {"form": "square", "is_cut": True}, {"form": "square", "is_cut": "on"}),
        (
            "/drink",
            {"drink": "coffee", "colour": "black", "spoons": 2},
            {"drink": "coffee", "colour": "black", "spoons": "2"},
        ),
        ("/drink", {"drink": "water"}, {"drink": "water"}),
        ("/meal", MEAL, MEAL_FORM),
        ("/order", MEAL, MEAL_FORM),
    ],
)
def test_a_member_is_chosen_by_members_of_an_enum_or_by_several_tags(
    make_client: MakeClient, path: str, sent: Any, form: dict[str, str]
) -> None:
    app = Cafe()
    client = make_client(app)
    assert client.post(path, json=sent).json() == sent
    assert client.post(path, data=form).json() == sent
    document = app.openapi()
    content = document["paths"][path]["post"]["requestBody"]["content"]
    schemas = [one["schema"] | {"components": document["components"]} for one in content.values()]
    assert len(schemas) == 2
    for schema in schemas:
        jsonschema.validate(sent, schema, cls=jsonschema.Draft202012Validator)


def test_a_wrong_tag_of_several_is_the_only_error(make_client: MakeClient) -> None:
    client = make_client(Cafe(errors="json"))
    for path, sent, name in (
        ("/drink", {"drink": "coffee", "colour": "red"}, "colour"),
        ("/drink", {"drink": "tea"}, "drink"),
        ("/baked", {"form": "oval"}, "form"),
        ("/baked", {"form": "square", "is_cut": "x"}, "is_cut"),
    ):
        answer = client.post(path, json=sent)
        assert answer.status_code == 400
        assert [one["field"] for one in answer.json()["errors"]] == [name]


def test_a_row_is_a_result_of_the_member_that_its_tag_selects(make_client: MakeClient) -> None:
    class Stored(App):
        def index(self) -> list[Baked]:
            row: Any = {"form": "round", "slices": 4, "secret": "x"}
            return [row, Slab(form=Form.SQUARE)]

    assert make_client(Stored()).get("/").json() == [
        {"form": "round", "slices": 4},
        {"form": "square", "is_cut": False},
    ]


def test_links_have_the_tags_of_all_unions(make_client: MakeClient) -> None:
    app = Cafe()
    drink = Black(drink="coffee", colour="black", spoons=1)
    link = app.url_for("found", drink=drink, baked=Tart(form=Form.ROUND))
    assert make_client(app).get(link).json() == [
        {"drink": "coffee", "colour": "black", "spoons": 1},
        {"form": "round", "slices": 8},
    ]


def test_a_query_can_be_a_union(make_client: MakeClient) -> None:
    assert make_client(Zoo()).get("/found?type=cat&lives=2").json() == [{"type": "cat", "lives": 2}]


def test_each_member_of_a_union_is_described() -> None:
    document = Zoo().openapi()
    for path, names in {"/pet": ("Cat", "Dog"), "/ride": ("Car", "Bike")}.items():
        content = document["paths"][path]["post"]["requestBody"]["content"]
        schema: dict[str, Any] = {
            "oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in names]
        }
        mapping = {name.lower(): f"#/components/schemas/{name}" for name in names}
        field = "type" if path == "/pet" else "kind"
        schema["discriminator"] = {"propertyName": field, "mapping": mapping}
        assert content == {
            "application/json": {"schema": schema},
            "application/x-www-form-urlencoded": {"schema": schema},
        }
    tag = document["components"]["schemas"]["Cat"]["properties"]["type"]
    assert tag == {"type": "string", "enum": ["cat"]}


@dataclass
class Red:
    red: int


class Blue(TypedDict):
    blue: int


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Red | Blue, "'item': it is a Red | Blue, but no object of this type can be created: "),
        (Car | Cat, "'item': it is a Car | Cat, but no object of this type can be created: "),
    ],
)
def test_an_undecidable_union_fails_at_setup(kind: Any, words: str) -> None:
    with pytest.raises(SetupError, match=re.escape(words)):
        taking(kind)._micropie.compiled()


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    size: int = 0


class Model(BaseModel, extra="forbid"):
    sizes: dict[str, int] = Field(default_factory=dict)
    pet: Annotated[Car | Bike, Field(discriminator="kind")] | None = None


@pytest.mark.parametrize(
    ("path", "document", "text"),
    [
        ("/strict", {"<b>": 1}, "Object contains unknown field `b>`"),
        ("/model", {'"<b>': 1}, "b>: Extra inputs are not permitted"),
        ("/model", {"sizes": {"</b": ""}}, "sizes./b: Input should be a valid integer"),
        ("/model", {"pet": {"kind": "<!--"}}, "Input tag '!--' found"),
    ],
)
def test_the_error_message_does_not_begin_with_markup(
    make_client: MakeClient, path: str, document: Any, text: str
) -> None:
    app = App()
    app.error(400)(lambda error: f"<p>{error}")

    @app.post("/strict")
    def strict(body: Strict) -> None:
        raise AssertionError

    @app.post("/model")
    def model(body: Model) -> None:
        raise AssertionError

    answer = make_client(app).post(path, json=document).text
    assert text in answer
    assert answer.rfind("<") == 0
    assert '"' not in answer


class Sized(BaseModel):
    kind: Literal["sized"] = "sized"
    dog: int
    sizes: list[int] = []


class Loud(BaseModel):
    kind: Literal["loud"] = "loud"


def kind_of(value: Any) -> str | None:
    return value.get("kind") if isinstance(value, dict) else None


class Rides(RootModel[dict[str, Car | Bike]]):
    pass


class Kennel(BaseModel):
    rides: list[Rides] = []
    pet: Annotated[Sized | Loud, Field(discriminator="kind")] | None = None
    pets: list[Annotated[Sized | Loud, Field(discriminator="kind")]] = []
    either: Car | Bike | None = None
    mixed: int | dict[str, Car | Bike] | list[list[Car | Bike]] = 0
    number: int | list[int] = 0
    named: Sized | dict[str, Sized] | None = None
    counts: dict[int, int] = {}
    lists: dict[int, list[int]] = {}
    chosen: (
        Annotated[Annotated[Sized, Tag("s")] | Annotated[Loud, Tag("l")], Discriminator(kind_of)]
        | None
    ) = None
    far: int = Field(0, validation_alias=AliasPath("away", "far"))


CHOOSE = "Please choose one of sized, loud."
REQUIRED = "Please fill in this field."


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"pet": {"kind": "sized"}}, {"pet.dog": REQUIRED}),
        ({"pet": {"kind": "sized", "sized": 1}}, {"pet.dog": REQUIRED}),
        (
            {"pets": [{"kind": "sized", "dog": 1, "sizes": [1, "x"]}]},
            {"pets[0].sizes[1]": "Please enter a whole number."},
        ),
        ({"pet": {"kind": "cow"}}, {"pet.kind": CHOOSE}),
        ({"pet": {}}, {"pet.kind": CHOOSE}),
        (
            {"either": {"doors": "x"}},
            {"either.doors": "Please enter a whole number.", "either.gears": REQUIRED},
        ),
        (
            {"mixed": {"a": {"doors": "x"}}},
            {
                "mixed": "Please enter a JSON array.",
                "mixed.a.doors": "Please enter a whole number.",
                "mixed.a.gears": REQUIRED,
            },
        ),
        (
            {"mixed": [[{}]]},
            {
                "mixed": "Please enter a JSON object.",
                "mixed[0][0].doors": REQUIRED,
                "mixed[0][0].gears": REQUIRED,
            },
        ),
        ({"number": "x"}, {"number": "Please enter another value."}),
        (
            {"number": ["x"]},
            {
                "number": "Please enter another value.",
                "number[0]": "Please enter a whole number.",
            },
        ),
        (
            {"named": {"rex": {"sizes": 1}}},
            {
                "named.dog": REQUIRED,
                "named.rex.dog": REQUIRED,
                "named.rex.sizes": "Please enter a JSON array.",
            },
        ),
        (
            {"counts": {"x": 1}},
            {"counts.x": "Please enter a whole number."},
        ),
        ({"lists": {"x": [1]}}, {"lists.x": "Please enter a whole number."}),
        ({"counts": {"[key]": 1}}, {"counts.[key]": "Please enter a whole number."}),
        (
            {"chosen": {"kind": "cow"}},
            {
                "chosen": "Input tag found using kind_of() does not match any of the expected "
                "tags: 's', 'l'"
            },
        ),
        (
            {"chosen": {}},
            {"chosen": "Unable to extract tag using discriminator kind_of()"},
        ),
        (
            {"chosen": {"kind": "cow" * 2000}},
            {
                "chosen": "Input tag found using kind_of() does not match any of the expected "
                "tags: 's', 'l'"
            },
        ),
        ({"away": {"far": "x"}}, {"away.far": "Input should be a valid integer, unable to parse "
         "string as an integer"}),
    ],
)  # fmt: skip
def test_the_path_of_an_error_has_no_step_for_a_member_of_a_union(
    make_client: MakeClient, document: Any, expected: dict[str, str]
) -> None:
    app = App()

    @app.post("/")
    def page(errors: BindingErrors, kennel: Kennel | None = None) -> list[Any]:
        return [(one.field, str(one), one.path, "cow" in one.expected) for one in errors]

    found = make_client(app).post("/", json=document).json()
    assert {field: words for field, words, _, _ in found} == expected
    assert not any(is_quoted for *_, is_quoted in found)
    for *_, path, _ in found:
        inside = document
        for step in path[:-1]:  # the last one may be missing
            inside = inside[step]


def test_the_path_of_an_error_in_a_root_model_has_only_what_is_sent(
    make_client: MakeClient,
) -> None:
    app = App()

    @app.post("/one")
    def one(errors: BindingErrors, body: Rides | None = None) -> Any:
        return {one.field: str(one) for one in errors}

    @app.post("/many")
    def many(errors: BindingErrors, body: Kennel | None = None) -> Any:
        return {one.field: str(one) for one in errors}

    client = make_client(app)
    words = {"doors": "Please enter a whole number.", "gears": REQUIRED}
    document = {"a": {"doors": "x"}}
    found = client.post("/one", json=document).json()
    assert found == {f"a.{name}": told for name, told in words.items()}
    found = client.post("/many", json={"rides": [document]}).json()
    assert found == {f"rides[0].a.{name}": told for name, told in words.items()}


def test_the_errors_of_a_whole_body_have_the_names_of_its_fields(make_client: MakeClient) -> None:
    app = App()

    @app.post("/")
    def page(errors: BindingErrors, ride: Ride | None = None) -> Any:
        return [errors[name] and str(errors[name]) for name in ("doors", "kind")]

    client = make_client(app)
    assert client.post("/", data={"kind": "car", "doors": ""}).json() == [REQUIRED, None]
    assert client.post("/", data={"kind": "", "doors": "1"}).json() == [
        None,
        "Please choose one of car, bike.",
    ]


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"type": "cow"}, "type"),
        ({}, "type"),
        ({"type": 5}, "type"),
        ({"type": "dog", "loud": True, "friend": {"type": "cow"}}, "friend.type"),
        ({"type": "dog", "loud": True, "friend": {}}, "friend.type"),
    ],
)
def test_a_wrong_tag_is_reported_with_the_choices(
    make_client: MakeClient, document: Any, field: str
) -> None:
    app = App()

    @app.post("/")
    def page(errors: BindingErrors, pet: Cat | Dog | None = None) -> Any:
        return [(one.field, str(one), one.expected) for one in errors]

    found = make_client(app).post("/", json=document).json()
    assert found == [[field, "Please choose one of cat, dog.", "one of cat, dog"]]


class Call(msgspec.Struct):
    method: str
    id: int = 0


@dataclass
class Worded:
    calls: Annotated[
        Call | Annotated[list[Call], msgspec.Meta(min_length=1)], Message("One call, please.")
    ]
    numbers: Annotated[list[int], msgspec.Meta(min_length=1), Message("Which numbers?")]


@dataclass
class Entry:
    number: int
    calls: Call | list[Call] | None = None

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError("No such entry.")


def test_errors_in_one_structure_or_a_list_are_those_of_the_structure(
    make_client: MakeClient,
) -> None:
    class Rpc(App):
        @post
        def calls(self, calls: Call | list[Call]) -> int:
            return len(calls) if isinstance(calls, list) else 1

        @post
        def entries(self, entries: list[Entry] | Entry) -> None:
            pass

        @post
        def pets(self, pets: list[Cat | Dog] | Cat | Dog) -> None:
            pass

        @post
        def worded(self, order: Worded) -> None:
            pass

    client = make_client(Rpc(errors="json"))
    call, bad = {"method": "a"}, {"method": "a", "id": "x"}
    assert client.post("/calls", json=call).json() == 1
    assert client.post("/calls", json=[call, call]).json() == 2
    for path, document, *expected in (
        ("/calls", bad, ("id", "Please enter a whole number.")),
        ("/calls", {}, ("method", "Please fill in this field.")),
        (
            "/calls",
            [bad, call, {}],
            ("[0].id", "Please enter a whole number."),
            ("[2].method", "Please fill in this field."),
        ),
        ("/calls", 5, ("calls", "Please enter another value.")),
        ("/entries", {"number": -1}, ("entries", "No such entry.")),
        (
            "/entries",
            [{"number": 1, "calls": bad}],
            ("[0].calls.id", "Please enter a whole number."),
        ),
        ("/worded", {"calls": [], "numbers": [0]}, ("calls", "One call, please.")),
        ("/worded", {"calls": [call], "numbers": []}, ("numbers", "Which numbers?")),
        ("/pets", [{"type": "cow"}], ("[0].type", "Please choose one of cat, dog.")),
        ("/pets", {"type": "cat", "lives": "x"}, ("lives", "Please enter a whole number.")),
    ):
        errors = client.post(path, json=document).json()["errors"]
        assert [(one["field"], one["detail"]) for one in errors] == expected, document
