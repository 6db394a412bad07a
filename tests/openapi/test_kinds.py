"""Types of the libraries and of ``typing``: what is bound, what is sent, and that the document says
the same.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from dataclasses import dataclass, make_dataclass
from datetime import datetime, time
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple, NewType

import msgspec
import pydantic
import pydantic.dataclasses
import pytest
from annotated_types import Timezone
from openapi_spec_validator import OpenAPIV31SpecValidator
from typing_extensions import Sentinel

from micropie import App, Body, Form, Header, Query, SetupError, UploadFile, get, post
from micropie._core.binding import OwnTypes
from tests.support.clients import MakeClient
from tests.support.schemas import schemas_for

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


PLAIN = {"colour": "red", "price": "1.50"}


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
Name = NewType("Name", str)


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

    @post
    def by_name(self, plain: dict[str, Plain]) -> dict[str, Plain]:
        return plain

    @post
    def grouped(self, plain: list[list[Plain]]) -> list[list[Plain]]:
        return plain

    @post
    def few(
        self, plain: Annotated[list[Plain], msgspec.Meta(max_length=1), Body()] | None = None
    ) -> int:
        return len(plain or [])

    @get
    def colour(self, colour: Colour = Colour.red) -> Colour:
        return colour

    @get
    def word(self) -> Literal["a", "b"]:
        return "a"

    @get
    def name(self, x_name: Annotated[str, Header()] | None = None) -> Annotated[Name, "theirs"]:
        return Name(x_name or "nobody")

    @get
    def prices(self, ids: list[int] | None = None) -> list[Decimal]:
        return [Decimal("1.50")]

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
        "oneOf": [{"$ref": one} for one in dict.fromkeys(references.values())],
        "discriminator": {"propertyName": field, "mapping": references},
    }


PET = union("type", cat="Cat", dog="Dog")


def test_the_document_of_all_kinds_is_valid(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()


def test_the_members_of_a_union_have_a_discriminator(document: dict[str, Any]) -> None:
    assert schemas_of(document, "/pet") == [PET, PET]
    ride = union("kind", car="Car", van="Car", **{"1": "Bike"})
    assert schemas_of(document, "/ride") == [ride, ride]
    assert "discriminator" not in schemas_of(document, "/chosen")[0]  # a function of the author's
    body, answer = schemas_of(document, "/pet_or_none")
    assert body == PET  # optional, so it is left out
    assert answer == {"anyOf": [PET, {"type": "null"}]}


@pytest.mark.parametrize("annotation", [Stone | Plain, Car | Bike, Boat | Car])
def test_a_union_without_a_tag_field_has_no_discriminator(annotation: Any) -> None:
    def handler(thing: Any) -> Any:
        return thing

    handler.__annotations__ = {"thing": dict, "return": annotation}
    app = App()
    app.post("/page")(handler)
    assert "discriminator" not in str(app.openapi())


def test_a_model_used_in_one_direction_has_one_name(document: dict[str, Any]) -> None:
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

    schemas = Root().openapi()["components"]["schemas"]
    assert {*schemas} == {"Colour", "Price-Input", "Price-Output", "Problem"}
    taking = Taking().openapi()
    OpenAPIV31SpecValidator(taking).validate()
    assert {*taking["components"]["schemas"]} == {"Colour", "Price", "Problem"}
    body = taking["paths"]["/take"]["post"]["requestBody"]["content"][JSON]["schema"]
    assert body == {"type": "array", "items": {"$ref": "#/components/schemas/Price"}}


def test_both_libraries_describe_an_enumeration_once(document: dict[str, Any]) -> None:
    """msgspec sorts its values, pydantic does not."""
    names = [name for name in document["components"]["schemas"] if "Colour" in name]
    assert names == ["Colour"]


def test_sequences_and_new_types_are_described(document: dict[str, Any]) -> None:
    paths = document["paths"]
    integers = {"type": "array", "items": {"type": "integer"}}
    colours = {"type": "array", "items": {"type": "string", "enum": ["red", "green"]}}
    [parameter] = paths["/sequences"]["get"]["parameters"]
    answer = paths["/sequences"]["get"]["responses"]["200"]["content"][JSON]["schema"]
    assert (parameter["schema"], answer) == (integers | {"default": []}, colours)
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
        ("/by_name", {"a": PLAIN}, {"a": PLAIN}),
        ("/by_name", {"a": {"colour": "red"}}, "a.price: "),
        ("/by_name", [], "plain: "),
        ("/grouped", [[PLAIN], []], [[PLAIN], []]),
        ("/grouped", [PLAIN], "[0]: "),
        ("/few", [PLAIN], 1),
        ("/few", None, 0),
        ("/few", [PLAIN, PLAIN], "plain: Please choose at most 1."),
    ],
)
def test_bodies_of_all_kinds_are_bound(
    make_client: MakeClient, path: str, body: Any, expected: Any
) -> None:
    answer = make_client(Kinds(errors="json")).post(path, json=body)
    if isinstance(expected, str):
        assert answer.status_code == 400
        assert expected in answer.json()["detail"]
    else:
        assert answer.json() == expected


def test_a_collection_of_structures_is_only_described_as_json(document: dict[str, Any]) -> None:
    """No form stands for it."""
    plain = {"$ref": "#/components/schemas/Plain"}
    by_name = {"type": "object", "additionalProperties": plain}
    grouped = {"type": "array", "items": {"type": "array", "items": plain}}
    assert schemas_of(document, "/by_name") == [by_name, by_name]
    assert schemas_of(document, "/grouped") == [grouped, grouped]
    few, _ = schemas_of(document, "/few")
    assert few["maxItems"] == 1
    for path in ("/by_name", "/grouped", "/few"):
        assert [*document["paths"][path]["post"]["requestBody"]["content"]] == [JSON]


class Listed(msgspec.Struct, array_like=True):
    name: str


class RootNames(pydantic.RootModel[list[str]]):
    pass


class RootName(pydantic.RootModel[str]):
    pass


class RootNumbers(pydantic.RootModel[dict[str, int]]):
    pass


class ModelCat(pydantic.BaseModel):
    lives: int


class ModelDog(pydantic.BaseModel):
    is_loud: bool


class RootEither(pydantic.RootModel[ModelCat | ModelDog]):
    pass


@pytest.mark.parametrize(
    ("kind", "sent", "form"),
    [
        (Listed, ["a"], {"name": "a"}),
        (RootNames, ["a"], {"names": "a"}),
        (RootName, "a", {"name": "a"}),
        (RootNumbers, {"a": 1}, {"a": "1"}),
        (RootEither, {"lives": 9}, None),
    ],
)
def test_a_form_is_described_for_what_has_fields(
    make_client: MakeClient, kind: Any, sent: Any, form: Any
) -> None:
    def index(whole: Any) -> Any:
        return whole

    index.__annotations__ = {"whole": kind, "return": kind}
    app = App()
    app.post("/")(index)
    document = app.openapi()
    described = [*document["paths"]["/"]["post"]["requestBody"]["content"]]
    client = make_client(app)
    assert client.post("/", json=sent).json() == sent
    if form is None:
        assert described == [JSON, "application/x-www-form-urlencoded"]
        assert client.post("/", data=sent).json() == sent
    else:
        assert described == [JSON]
        assert client.post("/", data=form).status_code in (400, 415)


@pytest.mark.parametrize("kind", [Listed, RootNames, RootName, RootNumbers])
def test_no_query_becomes_what_has_no_fields(kind: Any) -> None:
    def index(whole: Any) -> None: ...

    index.__annotations__ = {"whole": Annotated[kind, Query()]}
    app = App()
    app.get("/")(index)
    with pytest.raises(SetupError, match="a class that has fields needs"):
        app.openapi()


class Searched(pydantic.BaseModel):
    counts: RootNumbers = RootNumbers({})
    names: RootNames = RootNames([])
    level: Literal[1, None] = None


class Account(pydantic.BaseModel):
    name: str = "ann"
    key: pydantic.SecretStr = pydantic.SecretStr("none")
    other: pydantic.SecretStr | None = pydantic.SecretStr("none")
    none: pydantic.SecretStr | None = None
    sizes: pydantic.Json[list[int]] = []


def test_no_default_is_described_that_is_read_otherwise() -> None:
    """pydantic describes those of ``Json`` as values, and secrets as stars."""
    app = App()

    @app.post("/")
    def index(account: Account) -> None: ...

    document = app.openapi()
    OpenAPIV31SpecValidator(document).validate()
    fields = document["components"]["schemas"]["Account"]["properties"]
    described = {name: one["default"] for name, one in fields.items() if "default" in one}
    assert described == {"name": "ann", "none": None}


def test_the_fields_of_a_query_are_described_by_their_values(make_client: MakeClient) -> None:
    app = App()

    @app.get("/")
    def index(search: Annotated[Searched, Query()]) -> Any:
        return search

    parameters = app.openapi()["paths"]["/"]["get"]["parameters"]
    assert [one.get("style") for one in parameters] == ["deepObject", None, None]
    assert "null" not in str(parameters[2]["schema"])
    found = make_client(app).get("/?counts[a]=1&names=b&level=1").json()
    assert found == {"counts": {"a": 1}, "names": ["b"], "level": 1}


def test_a_dict_of_structures_is_not_described_as_a_form(make_client: MakeClient) -> None:
    answer = make_client(Kinds()).post("/by_name", data={"a": "b"})
    assert answer.status_code == 415


@pytest.mark.parametrize(
    ("path", "schema", "sent"),
    [
        ("/colour", {"type": "string", "enum": ["red", "green"]}, "red"),
        ("/word", {"type": "string", "enum": ["a", "b"]}, "a"),
        ("/name", {"type": "string"}, "nobody"),
    ],
)
def test_a_subclass_of_str_is_sent_as_text(
    make_client: MakeClient, document: dict[str, Any], path: str, schema: Any, sent: str
) -> None:
    described = document["paths"][path]["get"]["responses"]["200"]["content"]
    answer = make_client(Kinds()).get(path)
    assert described == {"text/html": {"schema": schema}}
    assert (answer.text, answer.headers["content-type"]) == (sent, "text/html; charset=utf-8")


def test_a_decimal_is_accepted_as_a_number_and_sent_as_text(
    make_client: MakeClient, document: dict[str, Any]
) -> None:
    operation = document["paths"]["/prices"]["get"]
    schema = operation["responses"]["200"]["content"][JSON]["schema"]
    assert schema == {"type": "array", "items": {"type": "string", "format": "decimal"}}
    assert make_client(Kinds()).get("/prices").json() == ["1.50"]


def test_an_empty_text_is_not_a_list_element(
    make_client: MakeClient, document: dict[str, Any]
) -> None:
    [parameter] = document["paths"]["/prices"]["get"]["parameters"]
    assert "allowEmptyValue" not in parameter
    assert make_client(Kinds()).get("/prices?ids=").status_code == 400


def test_a_source_may_be_inside_an_optional_type(
    make_client: MakeClient, document: dict[str, Any]
) -> None:
    """Else the query would fill what only a header may."""
    [parameter] = document["paths"]["/name"]["get"]["parameters"]
    assert (parameter["name"], parameter["in"]) == ("x-name", "header")
    client = make_client(Kinds())
    assert client.get("/name?x_name=ann").text == "nobody"
    assert client.get("/name", headers={"X-Name": "ann"}).text == "ann"


def test_a_list_from_a_header_is_split_at_commas(make_client: MakeClient) -> None:
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


def test_a_newtype_without_a_provider_is_not_a_client_s_value() -> None:
    """A provider that was forgotten must not become a value that anybody sends."""
    app = App()

    @app.get("/")
    def page(user: UserId | None = None) -> str:
        return str(user)

    page.__annotations__["user"] = UserId | None
    with pytest.raises(SetupError, match=r"nothing provides UserId: write @app.provides\(UserId\)"):
        app._micropie.compiled()


def an_own_toll() -> Any:
    @dataclass
    class Toll:
        cents: int

    return Toll


def another_bill() -> Any:
    @dataclass
    class Bill:
        due: datetime

    return Bill


OtherBill = another_bill()


@dataclass
class Toll:
    amount: int


OwnToll = an_own_toll()


@dataclass
class Bill:
    toll: Toll
    due: datetime


OwnBill: Any = make_dataclass("OwnBill", [("toll", OwnToll)])


def test_the_innermost_of_several_discriminators_is_described() -> None:
    hint = Annotated[
        Car | Bike, pydantic.Field(discriminator="kind"), pydantic.Field(discriminator="colour")
    ]
    found = schemas_for(OwnTypes({}, {}), {}, "serialization").of(hint)
    assert found["discriminator"]["propertyName"] == "kind"


class Corner(NamedTuple):
    x: int
    y: int = 0


@dataclass
class Frame:
    corner: Annotated[Corner, msgspec.Meta(description="the first")]


def test_a_named_tuple_with_metadata_is_described_as_without() -> None:
    components: dict[str, Any] = {}
    schemas_for(OwnTypes({}, {}), components, "validation").of(Frame)
    corner = components["Frame"]["properties"]["corner"]
    assert corner == {"$ref": "#/components/schemas/Corner", "description": "the first"}
    first, second = components["Corner"]["prefixItems"]
    assert (first, second["type"]) == ({"type": "integer"}, "integer")


def test_an_own_type_leaves_a_class_of_the_same_name_alone() -> None:
    def written(toll: Any) -> str:
        return str(toll.cents)

    app = App(encoders={OwnToll: written})
    for number, kind in enumerate((Bill, OwnBill, OtherBill)):

        def handler() -> None: ...

        handler.__annotations__["return"] = kind
        app.get(f"/{number}")(handler)
    schemas = app.openapi()["components"]["schemas"]
    assert schemas["Toll"]["properties"] == {"amount": {"type": "integer"}}
    assert schemas["OwnBill"]["properties"]["toll"] == {"type": "string"}
    for bill_name in ("Bill", f"{__name__}.Bill"):
        due = schemas[bill_name]["properties"]["due"]
        assert due == {"type": "string", "format": "date-time"}


class Abroad(App):
    @get
    def bill(self) -> OwnBill: ...


def test_inner_applications_describe_a_class_by_their_own_encoders() -> None:
    def counted(toll: Any) -> int:
        return int(toll.cents)

    def written(toll: Any) -> str:
        return str(toll.cents)

    app = App()
    app.mount("/a", Abroad(encoders={OwnToll: counted}))
    app.mount("/b", Abroad(encoders={OwnToll: written}))
    app.mount("/c", Abroad())
    document = app.openapi()

    def toll_of(path: str) -> Any:
        answer = document["paths"][f"/{path}/bill"]["get"]["responses"]["200"]
        name = answer["content"][JSON]["schema"]["$ref"].rpartition("/")[2]
        return document["components"]["schemas"][name]["properties"]["toll"]

    assert [toll_of("a"), toll_of("b")] == [{"type": "integer"}, {"type": "string"}]
    assert "$ref" in toll_of("c")
    OpenAPIV31SpecValidator(document).validate()


Local = Annotated[datetime, msgspec.Meta(tz=False)]


@dataclass
class Meeting:
    start: Local
    end: Local | None
    others: list[Annotated[time, msgspec.Meta(tz=False)]]
    seen: Annotated[datetime, msgspec.Meta(tz=True)]


def test_a_datetime_without_an_offset_is_no_date_time() -> None:
    """RFC 3339 requires an offset."""
    app = App()

    @app.post("/")
    def index(meeting: Meeting) -> None: ...

    @app.get("/")
    def meetings(
        after: Local,
        before: Annotated[time | None, msgspec.Meta(tz=False)],
        on: Annotated[datetime, Timezone(None)],
        at: Annotated[datetime, Timezone(...)],
    ) -> None: ...

    document = app.openapi()
    fields = document["components"]["schemas"]["Meeting"]["properties"]
    assert (fields["start"]["format"], fields["seen"]["format"]) == ("date-time-local", "date-time")
    assert fields["end"]["anyOf"][0]["format"] == "date-time-local"
    assert fields["others"]["items"]["format"] == "time-local"
    after, before, on, at = (one["schema"] for one in document["paths"]["/"]["get"]["parameters"])
    assert after == on == {"type": "string", "format": "date-time-local"}
    assert at["format"] == "date-time"
    assert "time-local" in str(before)


OWN = getattr(builtins, "sentinel", Sentinel)("OWN")


@pytest.mark.parametrize(
    ("kind", "default"),
    [(msgspec.UnsetType, msgspec.UNSET), (OWN, OWN), (pydantic.MISSING, pydantic.MISSING)],
    ids=["msgspec", "sentinel", "pydantic"],
)
def test_an_unset_value_is_not_described(
    make_client: MakeClient, kind: Any, default: object
) -> None:
    app = App()

    def index(pieces: Any = default) -> str:
        return repr(pieces)

    index.__annotations__["pieces"] = int | kind
    app.get("/")(index)
    (pieces,) = app.openapi()["paths"]["/"]["get"]["parameters"]
    assert (pieces["schema"], pieces["required"]) == ({"type": "integer"}, False)
    client = make_client(app)
    answers = [client.get(path).text for path in ("/", "/?pieces=4")]
    assert answers == [repr(default), "4"]
    assert client.get("/?pieces=some").status_code == 400


class Doc:
    """Like ``typing_extensions.Doc``."""

    def __init__(self, documentation: str) -> None:
        self.documentation = documentation


@dataclass
class Documented:
    pieces: Annotated[int, Doc("How many.")]
    name: Annotated[str, Doc("Its name.")] = "pie"


def test_the_documentation_of_a_field_is_its_description() -> None:
    app = App()

    @app.post("/")
    def index(pie: Documented) -> None: ...

    fields = app.openapi()["components"]["schemas"]["Documented"]["properties"]
    assert fields == {
        "pieces": {"type": "integer", "description": "How many."},
        "name": {"type": "string", "description": "Its name.", "default": "pie"},
    }


@pytest.mark.parametrize(
    ("hint", "names"),
    [
        (str, ["minLength"]),
        (str | None, ["minLength"]),
        (list[int], ["minItems"]),
        (list[int] | None, ["minItems"]),
        (dict[str, int], ["minProperties"]),
        (str | list[str], ["minLength", "minItems"]),
    ],
)
def test_a_length_is_described_by_the_keyword_of_its_type(hint: Any, names: list[str]) -> None:
    def handler(x: Any) -> None: ...

    handler.__annotations__["x"] = Annotated[hint, msgspec.Meta(min_length=2)]
    app = App()
    app.post("/")(handler)
    body = app.openapi()["paths"]["/"]["post"]["requestBody"]["content"][JSON]["schema"]
    schema = body["properties"]["x"]
    assert [name for name in schema if name.startswith("min")] == names


@dataclass
class Words:
    words: str
    page: int = 1


@dataclass
class Order:
    page: int
    size: int = 2


def test_a_value_that_several_parameters_read_is_described_once(make_client: MakeClient) -> None:
    app = App()

    @app.get("/")
    def index(
        *,
        words: Annotated[Words, Query()],
        order: Annotated[Order, Query()],
        page: int = 5,
        key: Annotated[str, Header("X-Key")] = "",
        same: Annotated[str | None, Header("x-key")],
    ) -> Any:
        return [words, order, page, key, same]

    document = app.openapi()
    OpenAPIV31SpecValidator(document).validate()
    parameters = document["paths"]["/"]["get"]["parameters"]
    needed = {one["name"]: one["required"] for one in parameters}
    assert needed == {"words": True, "page": True, "size": False, "X-Key": False}
    assert len(needed) == len(parameters)
    sent = make_client(app).get("/?words=a&page=3", headers={"X-Key": "b"}).json()
    assert sent == [{"words": "a", "page": 3}, {"page": 3, "size": 2}, 3, "b", "b"]


def test_what_may_be_none_is_optional_without_a_default(make_client: MakeClient) -> None:
    app = App()

    @app.get("/find")
    def find(size: Annotated[int | None, Query()], key: Annotated[str | None, Header()]) -> Any:
        return [size, key]

    @app.post("/add")
    def add(file: UploadFile | None, note: Annotated[str | None, Form()]) -> Any:
        return [file, note]

    @app.post("/save")
    def save(order: Order | None) -> Any:
        return [order]

    paths = app.openapi()["paths"]
    assert not any(one["required"] for one in paths["/find"]["get"]["parameters"])
    (form,) = paths["/add"]["post"]["requestBody"]["content"].values()
    assert "required" not in form["schema"]
    assert not paths["/save"]["post"]["requestBody"]["required"]
    client = make_client(app)
    assert client.get("/find").json() == client.post("/add").json() == [None, None]
    assert client.post("/save").json() == [None]
