"""pydantic's own types and attrs classes: as parameters, in bodies and results, in the document."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from datetime import date
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

import attrs
import jsonschema  # type: ignore[import-untyped]
import msgspec
import pydantic
import pydantic.dataclasses
import pytest
import typing_extensions
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import AfterValidator, AwareDatetime, HttpUrl, Json, SecretStr, StringConstraints
from pydantic_core import PydanticCustomError, core_schema

from micropie import App, BindingErrors, Message, Query, SetupError, post
from micropie._core.binding.values import adapters
from micropie._core.binding.values.adapters import errors_of, validated
from micropie.extensions import TypeInfo
from tests.support.clients import MakeClient


class Odd:
    """A class of an author's that pydantic knows."""

    def __init__(self, text: str) -> None:
        self.text = text

    @classmethod
    def parse(cls, text: str) -> Odd:
        if text != "odd":
            raise ValueError("<b>Only</b> odd.")
        return cls(text)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> Any:
        text = core_schema.str_schema()
        written = core_schema.plain_serializer_function_ser_schema(lambda odd: odd.text)
        return core_schema.no_info_after_validator_function(cls.parse, text, serialization=written)


class Silent:
    """One that pydantic can neither describe nor write."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> Any:
        return core_schema.no_info_plain_validator_function(lambda text: cls())


class Half(Enum):
    HALF = 0.5
    WHOLE = "whole"


def no_words(value: int) -> int:
    raise ValueError


def too_few(value: int) -> int:
    raise PydanticCustomError("too_short", "Too few pies.")


@attrs.define
class Line:
    pieces: int = attrs.field(validator=attrs.validators.gt(0))
    _note: str = attrs.field(default="", kw_only=True)


@attrs.frozen
class Order:
    name: str
    lines: list[Line] = attrs.field(factory=list)
    site: HttpUrl | None = None
    price: Decimal = Decimal(1)

    def __attrs_post_init__(self) -> None:
        if self.name == "nobody":
            raise ValueError("Somebody has to order.")


@attrs.define
class OrderOut:
    name: str


@dataclass
class Visit:
    site: HttpUrl
    at: AwareDatetime | None = None
    tags: Annotated[set[int], AfterValidator(lambda tags: tags)] = field(default_factory=set)


@dataclass
class Link:
    site: HttpUrl


@dataclass
class SecretVisit(Visit):
    secret: str = "secret"


class Root(App):
    def url(self, url: HttpUrl) -> HttpUrl:
        return url

    def urls(self, urls: list[HttpUrl]) -> object:
        return urls

    def maybe(
        self,
        url: HttpUrl | None = None,
        n: Annotated[int | None, AfterValidator(lambda n: n and abs(n))] = None,
    ) -> object:
        return [url, n]

    def uuid(self, id: pydantic.UUID4) -> object:
        return id

    def aware(self, at: AwareDatetime) -> object:
        return at

    def numbers(self, numbers: Json[list[float]]) -> object:
        return numbers

    def visit(self, visit: Json[Link]) -> object:
        return visit.site

    def secret(self, *, token: Annotated[SecretStr, Query("key")]) -> object:
        return [token, token.get_secret_value()]

    def lower(
        self,
        s: Annotated[str, StringConstraints(to_lower=True), msgspec.Meta(max_length=3)],
    ) -> object:
        return [s]

    def price(self, price: Annotated[Decimal, pydantic.Field(max_digits=3)]) -> object:
        return price

    def set(self, ids: Annotated[set[int], AfterValidator(lambda ids: ids)]) -> object:
        return len(ids)

    def odd(self, odd: Annotated[Odd, Message("How odd?")]) -> Odd:
        return odd

    def plain_odd(self, odd: Odd) -> object:
        return {"odd": odd}

    def wordless(self, n: Annotated[int, AfterValidator(no_words)]) -> object:
        return n

    def few(self, n: Annotated[int, AfterValidator(too_few)]) -> object:
        return n

    def silent(self, silent: Silent) -> object:
        return silent

    @post
    def fields(self, url: HttpUrl, by: Annotated[dict[str, int], AfterValidator(dict)]) -> object:
        return [url, by]

    @post
    def order(self, order: Order) -> Order:
        return order

    @post
    def orders(self, orders: list[Order]) -> list[OrderOut]:
        return orders  # type: ignore[return-value]

    @post
    def visits(self, visits: list[Visit]) -> list[Visit]:
        return visits

    def derived(self) -> Visit:
        return SecretVisit(HttpUrl("https://x.org"))


def app() -> Root:
    return Root(errors="json")


UUID = "8b1b9d9a-7a4e-4b8e-9b0e-1c2d3e4f5a6b"
TAKEN = [
    ("/url/https:%2F%2Fx.org", "https://x.org/"),
    ("/urls?urls=https://a.b&urls=http://c.d", ["https://a.b/", "http://c.d/"]),
    ("/maybe?url=&n=", [None, None]),
    ("/maybe", [None, None]),
    ("/maybe?url=http://a.b&n=-3", ["http://a.b/", 3]),
    (f"/uuid?id={UUID}", UUID),
    ("/aware?at=2026-01-31T10:00Z", "2026-01-31T10:00:00+00:00"),
    ("/numbers?numbers=[1,2.5]", [1, 2.5]),
    ('/visit?visit={"site":"http://a.b"}', "http://a.b/"),
    ("/secret?key=abc", ["**********", "abc"]),
    ("/lower?s=ABC", ["abc"]),
    ("/price?price=1.25", "1.25"),
    ("/set?ids=1&ids=2&ids=1", 2),
    ("/odd?odd=odd", "odd"),
    ("/plain_odd?odd=odd", {"odd": "odd"}),
    ("/derived", {"site": "https://x.org/", "at": None, "tags": []}),
]


@pytest.mark.parametrize(("path", "sent"), TAKEN)
def test_pydantic_types_can_be_parameters(make_client: MakeClient, path: str, sent: object) -> None:
    answer = make_client(app()).get(path)
    assert (answer.status_code, answer.json()) == (200, sent)


REFUSED = [
    ("/url?url=x", "Input should be a valid URL, relative URL without a base"),
    ("/url?url=", "Please fill in this field."),
    ("/url", "Please fill in this field."),
    (f"/uuid?id={UUID.replace('-4', '-1')}", "UUID version 4 expected"),
    ("/aware?at=2026-01-31T10:00", "Please add the offset from UTC"),
    ("/numbers?numbers=[NaN]", "Please enter a valid list."),
    ("/numbers?numbers=" + "[" * 1000, "Invalid JSON: recursion limit exceeded"),
    ('/visit?visit={"site":"x"}', "Input should be a valid URL, relative URL without a base"),
    ("/lower?s=ABCD", "Please use at most 3 characters."),
    ("/price?price=12.345", "Decimal input should have no more than 3 digits in total"),
    ("/price?price=NaN", "Input should be a finite number"),
    ("/odd?odd=even", "How odd?"),
    ("/plain_odd?odd=even", "b>Only/b> odd."),
    ("/wordless?n=1", "Please enter another value."),
    ("/few?n=1", "Too few pies."),
]


@pytest.mark.parametrize(("path", "words"), REFUSED)
def test_a_value_refused_by_pydantic_gets_a_400(
    make_client: MakeClient, path: str, words: str
) -> None:
    answer = make_client(app()).get(path)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["detail"].startswith(words)


def test_the_message_for_programmers_names_the_type(make_client: MakeClient) -> None:
    answer = make_client(app()).get("/url?url=x").json()
    assert answer["detail"] == "Parameter 'url' must be a valid HttpUrl."


BODIES = [
    ("/fields", {"url": "http://a.b", "by": {"n": 1}}, 200, ["http://a.b/", {"n": 1}]),
    ("/fields", {"url": "http://a.b", "by": [1]}, 400, "Please enter a JSON object."),
    ("/set", {"ids": {"n": 1}}, 400, "Please enter a JSON array."),
    ("/fields", {"url": 3, "by": {}}, 400, "URL input should be a string or URL"),
    (
        "/fields",
        {"url": "http://a.b", "by": {str(n): "x" for n in range(200)}},
        400,
        "Please enter another value.",
    ),
    ("/set", {"ids": [*range(1000)]}, 200, 1000),
    ("/set", {"ids": [*range(1001)]}, 400, "Please choose at most"),
    ("/visits", [{"site": "http://a.b"}], 200, [{"site": "http://a.b/", "at": None, "tags": []}]),
    ("/visits", [{"site": "a"}], 400, "Input should be a valid URL, relative URL without a base"),
    ("/visits", [{"site": "http://a.b", "tags": [*range(1001)]}], 400, "Please choose at most"),
    (
        "/order",
        {"name": "pie", "lines": [{"pieces": 2}], "site": "http://a.b", "price": 2.5},
        200,
        {
            "name": "pie",
            "lines": [{"pieces": 2, "_note": ""}],
            "site": "http://a.b/",
            "price": "2.5",
        },
    ),
    ("/order", {"name": "pie", "lines": [{"pieces": 0}]}, 400, "'pieces' must be > 0: 0"),
    ("/order", {"name": "nobody"}, 400, "Somebody has to order."),
    ("/order", {"name": "pie", "site": "x"}, 400, "Input should be a valid URL"),
    ("/order", {"lines": []}, 400, "Please fill in this field."),
    ("/order", {"name": "pie", "price": "1e999"}, 400, "Please enter a decimal number."),
    ("/orders", [{"name": "pie"}], 200, [{"name": "pie"}]),
]


@pytest.mark.parametrize(("path", "body", "status", "sent"), BODIES)
def test_pydantic_types_can_be_bodies_and_results(
    make_client: MakeClient, path: str, body: object, status: int, sent: Any
) -> None:
    answer = make_client(app()).post(path, json=body)
    if status == 200:
        assert (answer.status_code, answer.json()) == (200, sent)
    else:
        assert answer.status_code == status
        assert answer.json()["errors"][0]["detail"].startswith(sent)


def test_pydantic_types_can_be_forms(make_client: MakeClient) -> None:
    client = make_client(app())
    sent = {"name": "pie", "lines[0].pieces": "2", "site": ""}
    assert client.post("/order", data=sent).json()["lines"] == [{"pieces": 2, "_note": ""}]


def test_a_value_that_pydantic_cannot_serialize_gets_a_500(make_client: MakeClient) -> None:
    client = make_client(app(), raise_app_exceptions=False)
    assert client.get("/silent?silent=x").status_code == 500


def test_schemas_come_from_pydantic_and_msgspec() -> None:
    document = app().openapi()
    OpenAPIV31SpecValidator(document).validate()
    found = {
        parameter["name"]: parameter["schema"]
        for path in document["paths"].values()
        for operation in path.values()
        for parameter in operation.get("parameters", ())
    }
    url = {"format": "uri", "maxLength": 2083, "minLength": 1, "type": "string"}
    assert found["urls"] == {"type": "array", "items": url}
    assert found["key"] == {"format": "password", "type": "string", "writeOnly": True}
    assert found["at"] == {"format": "date-time", "type": "string"}
    assert found["visit"]["contentSchema"] == {"$ref": "#/components/schemas/Link"}
    assert found["silent"] == {"type": "string"}  # as any segment
    schemas = document["components"]["schemas"]
    assert schemas["Order"]["properties"]["site"]["anyOf"][0] == url
    assert schemas["Order"]["required"] == ["name"]
    assert schemas["Visit"]["properties"]["site"] == {**url, "title": "Site"}


class Row(pydantic.BaseModel):
    pie: str
    count: int


@pytest.mark.parametrize(
    ("hint", "text", "found"),
    [
        (
            Json[Row],
            '{"pie": 1, "count": "x"}',
            {"x.pie": "Please enter text.", "x.count": "Please enter a whole number."},
        ),
        (
            Json[list[Row]] | None,
            '[{"pie": "a", "count": 1}, {"count": 1}]',
            {"x[1].pie": "Please fill in this field."},
        ),
        (Json[dict[str, int]], '{"a": "b"}', {"x.a": "Please enter a whole number."}),
        (Json[Row], "[]", {"x": "Please enter a JSON object."}),
        (Annotated[Json[Row], Message("No row.")], '{"pie": 1}', {"x": "No row."}),
    ],
)
def test_each_error_in_json_text_has_a_sentence_and_a_path(
    make_client: MakeClient, hint: Any, text: str, found: Mapping[str, str]
) -> None:
    own = App(errors="json")

    def page(x: Any) -> None: ...

    page.__annotations__["x"] = hint
    own.get("/")(page)
    problem = make_client(own).get("/", params={"x": text}).json()
    assert {one["field"]: one["detail"] for one in problem["errors"]} == found
    assert {(one["parameter"], one["source"]) for one in problem["errors"]} == {("x", "query")}


@dataclass
class Described:
    site: HttpUrl
    texts: Json[list[int]]
    count: Annotated[int, pydantic.Field(gt=0, description="How many.")] = 1


class DescribedDict(typing_extensions.TypedDict):
    site: HttpUrl
    texts: Json[list[int]]
    count: typing_extensions.NotRequired[
        Annotated[int, pydantic.Field(gt=0, description="How many.")]
    ]


@pytest.mark.parametrize("kind", [Described, DescribedDict])
def test_what_pydantic_checks_in_a_dataclass_is_described(
    make_client: MakeClient, kind: Any
) -> None:
    own = App()

    def index(described: Any) -> str:
        return "fine"

    index.__annotations__["described"] = kind
    own.post("/")(index)
    described = own.openapi()["components"]["schemas"][kind.__name__]["properties"]
    assert described["count"]["exclusiveMinimum"] == 0
    assert described["count"]["description"] == "How many."
    assert described["texts"]["contentMediaType"] == "application/json"
    client, sent = make_client(own), {"site": "https://example.org", "texts": "[1]"}
    assert client.post("/", json=sent).text == "fine"
    for wrong in ({"count": 0}, {"texts": [1]}):
        assert client.post("/", json={**sent, **wrong}).status_code == 400


class Outer(pydantic.BaseModel):
    inner: structure


class structure(pydantic.BaseModel):  # noqa: N801 - named like a variable of the framework
    number: int


class Undefined(pydantic.BaseModel):
    inner: own  # type: ignore[name-defined]  # noqa: F821


@dataclass
class HoldsUndefined:
    inner: own  # type: ignore[name-defined]  # noqa: F821
    model: structure


def test_annotations_mean_no_variables_of_the_framework(make_client: MakeClient) -> None:
    def index() -> Outer:
        return Outer(inner=structure(number=5))

    app = App()
    app.get("/")(index)
    assert make_client(app).get("/").json() == {"inner": {"number": 5}}


@pytest.mark.parametrize("kind", [Undefined, HoldsUndefined, list[Undefined]])
@pytest.mark.parametrize("place", ["value", "return"])
def test_a_name_that_only_the_framework_has_is_unknown(place: str, kind: Any) -> None:
    def index(value: Any = None) -> Any: ...

    index.__annotations__ = {place: kind}
    app = App()
    app.post("/")(index)
    with pytest.raises(SetupError, match="'own' is not defined"):
        app._micropie.compiled()


def test_types_that_pydantic_adapts_are_recognised() -> None:
    class Model(pydantic.BaseModel):
        n: int

    @dataclass
    class Plain:
        n: int

    known: list[tuple[Any, bool]] = [
        (HttpUrl, True),
        (Model, True),
        (Described, True),
        (Plain, False),
        (Annotated[Model, "metadata"], False),
        (Json[Model], True),
        (Annotated[int, pydantic.Field(gt=1)], False),
        (Annotated[int, pydantic.Field(strict=True)], True),
    ]
    assert [TypeInfo(one).is_pydantics for one, _ in known] == [expected for _, expected in known]


def test_a_custom_decoder_takes_precedence(make_client: MakeClient) -> None:
    own = App(decoders={Odd: Odd}, encoders={Odd: lambda odd: odd.text.upper()})

    @own.get("/")
    def page(odd: Odd) -> object:
        return odd

    assert make_client(own).get("/?odd=x").json() == "X"


@attrs.define
class Converted:
    n: int = attrs.field(converter=int)


@attrs.define
class Uninitialised:
    n: int = attrs.field(init=False, default=1)


class Struct(msgspec.Struct):
    at: AwareDatetime


class Even(pydantic.BaseModel):
    n: int = pydantic.Field(gt=0)

    @pydantic.field_validator("n")
    @classmethod
    def check(cls, n: int) -> int:
        if n % 2:
            raise ValueError("Please choose an even number.")
        return n


@pydantic.dataclasses.dataclass
class EvenDataclass:
    n: int

    @pydantic.field_validator("n")
    @classmethod
    def check(cls, n: int) -> int:
        return Even.check(n)


T = TypeVar("T")


@pydantic.dataclasses.dataclass
class Crate(Generic[T]):
    item: T
    others: list[T] = pydantic.Field(default_factory=list, alias="more")


@pydantic.dataclasses.dataclass
class Host:
    """msgspec can't read these fields."""

    address: IPv4Address | IPv6Address
    share: InitVar[float] = 0.5
    half: Half = Half.HALF
    is_known: bool = pydantic.Field(default=False, init=False)

    def __post_init__(self, share: float) -> None:
        self.is_known = share == 1


@pytest.mark.parametrize(
    ("kind", "sent", "form", "result", "wrong"),
    [
        (
            Crate[date],
            {"item": "2026-01-31", "more": ["2026-02-01"]},
            {"item": "2026-01-31", "more": ["2026-02-01"]},
            {"item": "2026-01-31", "more": ["2026-02-01"]},
            {"item": "x", "more": ["2026-02-01", "y"]},
        ),
        (
            Crate[Crate[int]],
            {"item": {"item": 1, "more": [2]}, "more": []},
            {"item.item": "1", "item.more": "2"},
            {"item": {"item": 1, "more": [2]}, "more": []},
            {"item": {"item": "x"}},
        ),
        (
            Host,
            {"address": "::1", "share": 1, "half": "whole"},
            {"address": "::1", "share": "1", "half": "whole"},
            {"address": "::1", "half": "whole", "is_known": True},
            {"address": "x", "half": 2},
        ),
    ],
)
def test_pydantic_reads_the_fields_of_its_dataclasses(
    make_client: MakeClient, kind: Any, sent: Any, form: Any, result: Any, wrong: Any
) -> None:
    app = App(errors="json")

    def page(body: Any) -> Any:
        return body

    page.__annotations__ = {"body": kind, "return": kind}
    app.post("/page")(page)
    client = make_client(app)
    assert client.post("/page", json=sent).json() == result
    assert client.post("/page", data=form).json() == result
    assert client.post("/page", json=wrong).status_code == 400
    document = app.openapi()
    assert not [*OpenAPIV31SpecValidator(document).iter_errors()]
    operation = document["paths"]["/page"]["post"]
    for value, where in (
        (sent, operation["requestBody"]),
        (result, operation["responses"]["200"]),
    ):
        schema = where["content"]["application/json"]["schema"]
        jsonschema.validate(
            value,
            {**schema, "components": document["components"]},
            cls=jsonschema.Draft202012Validator,
        )


class StructWithModel(msgspec.Struct):
    even: Even | None = None


class Number(pydantic.BaseModel):
    n: int


class StructWithNumber(msgspec.Struct):
    number: Number


@attrs.define
class AttrsWithDataclass:
    evens: list[EvenDataclass]


class Held(msgspec.Struct, Generic[T]):
    item: T


@dataclass
class WithModels:
    even: Even
    others: list[EvenDataclass]


class TypedWithModel(typing_extensions.TypedDict):
    even: Even


@pytest.mark.parametrize(
    ("kind", "valid", "invalid", "words"),
    [
        (
            WithModels,
            {"even": {"n": 2}, "others": [{"n": "4"}]},
            {"even": {"n": -1}, "others": [{"n": 3}]},
            {"even.n": "a value above 0", "others[0].n": "an even number"},
        ),
        (TypedWithModel, {"even": {"n": 2}}, {"even": {"n": 1}}, {"even.n": "an even number"}),
        (Held[HttpUrl], {"item": "http://a.b"}, {"item": "x"}, {"item": "a valid URL"}),
    ],
)
def test_pydantic_validates_its_classes_inside_of_other_structures(
    make_client: MakeClient, kind: Any, valid: Any, invalid: Any, words: dict[str, str]
) -> None:
    def page(errors: BindingErrors, body: Any) -> dict[str, str]:
        return {one.field: str(one) for one in errors}

    page.__annotations__["body"] = kind
    own = App()
    own.post("/")(page)
    client = make_client(own)
    assert client.post("/", json=valid).json() == {}
    found = client.post("/", json=invalid).json()
    assert found.keys() == words.keys()
    assert all(word in found[field] for field, word in words.items())


def test_forms_fill_models_inside_of_dataclasses(make_client: MakeClient) -> None:
    own = App()

    @own.post("/")
    def page(body: WithModels) -> list[int]:
        return [body.even.n, *(one.n for one in body.others)]

    client = make_client(own)
    assert client.post("/", data={"even.n": "2", "others[0].n": "4"}).json() == [2, 4]
    assert client.post("/", data={"even.n": "3", "others[0].n": "4"}).status_code == 400


def test_a_decoder_makes_a_model_inside_of_a_struct(make_client: MakeClient) -> None:
    own = App(decoders={Number: lambda text: Number(n=int(text))})

    @own.post("/")
    def page(body: StructWithNumber) -> int:
        return body.number.n

    assert make_client(own).post("/", json={"number": "2"}).json() == 2


@dataclass
class Imports:
    name: pydantic.ImportString[Any]


class StructWithAddress(msgspec.Struct):
    address: pydantic.IPvAnyAddress


@dataclass
class WithAnyModel:
    model: pydantic.BaseModel


class Matching(pydantic.BaseModel):
    name: re.Pattern[str]


@dataclass
class WithOdd:
    silent: Odd
    text: "Unknown"  # type: ignore[name-defined]  # noqa: F821, UP037


@attrs.define
class Unread:
    n = attrs.field(type=int)


class WithRaw(msgspec.Struct):
    raw: msgspec.Raw


class Counted(typing_extensions.TypedDict, extra_items=int):  # type: ignore[call-arg]
    name: str


USELESS: list[tuple[Any, str]] = [
    (pydantic.ImportString, "lets a client import anything"),
    (Imports, "lets a client import anything"),
    (pydantic.BaseModel, "with pydantic's BaseModel, which has no fields: write the class of"),
    (WithAnyModel, "with pydantic's BaseModel, which has no fields: write the class of"),
    (StructWithAddress, "contains a IPvAnyAddress, which only pydantic can create"),
    (Matching, "matching never ends"),
    (Json[set[int]], r"write Json\[list"),
    (Converted, "doesn't call the converter of Converted.n"),
    (Uninitialised, "must not set Uninitialised.n"),
    (Struct, "which only pydantic can create"),
    (StructWithModel, "contains a Even, which only pydantic can create"),
    (AttrsWithDataclass, "contains a EvenDataclass, which only pydantic can create"),
    (list[Held[Annotated[Even, "metadata"]]], "contains a Even, which only pydantic can create"),
    (Unread, "but no object of this type can be created"),
    (pydantic.EmailStr, "email-validator"),
    (WithRaw, "with a Raw, but the JSON has been parsed when msgspec reads it: write Any"),
    (Counted, "the extra_items of Counted would be left out: write dict"),
]


def no_handler(kind: Any) -> Callable[..., str]:
    def page(n: Any) -> str:
        return "never"

    page.__annotations__["n"] = kind
    return page


@pytest.mark.parametrize(("kind", "reason"), USELESS)
def test_useless_annotations_fail_at_setup(
    monkeypatch: pytest.MonkeyPatch, kind: Any, reason: str
) -> None:
    monkeypatch.setitem(sys.modules, "email_validator", None)
    own = App()
    own.post("/")(no_handler(kind))
    with pytest.raises(SetupError, match=reason):
        own._micropie.compiled()


def test_without_pydantic_unknown_annotations_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pydantic")
    own = App()
    own.get("/")(no_handler(Odd))
    with pytest.raises(SetupError, match="and micropie can't convert text to that"):
        own._micropie.compiled()
    assert json.dumps(str(Odd("x").text)) == '"x"'


class ManyErrors(ValueError):
    def error_count(self) -> int:
        return 101

    def errors(self) -> None:
        raise AssertionError("to describe a million errors takes seconds")


class Refusing:
    core_schema: ClassVar[Any] = {"type": "decimal"}

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def refuse(self, document: object, **options: object) -> None:
        self.sent.append(document)
        raise ManyErrors

    validate_python = validate_json = refuse


@pytest.mark.parametrize(
    ("document", "texts"),
    [([1.5], ["[1.5]"]), ([Decimal("1.5")], ['["1.5"]', "[1.5]"])],
)
def test_R28_a_huge_number_of_errors_is_not_described(document: Any, texts: list[str]) -> None:
    """Not even to learn whether a Decimal has to be a float: then both are tried."""
    adapter: Any = Refusing()
    with pytest.raises(ManyErrors):
        validated(adapter, document, True)
    assert adapter.sent == [document, *texts]


class ByMode(pydantic.BaseModel):
    kind: str = ""

    @pydantic.field_validator("kind")
    @classmethod
    def check(cls, value: str, info: pydantic.ValidationInfo) -> str:
        if info.mode == "python":
            raise ValueError("only JSON")
        return value


class InBase64(pydantic.BaseModel, val_json_bytes="base64"):
    data: Annotated[bytes, pydantic.Field(max_length=1)] = b""


class StrictDay(pydantic.BaseModel, strict=True):
    day: date | None = None


class OneStrictDay(pydantic.BaseModel):
    day: Annotated[date, pydantic.Field(strict=True)]


class Exact(pydantic.BaseModel):
    price: Decimal
    size: Literal[1.5]  # type: ignore[valid-type]


@pytest.mark.parametrize(
    ("kind", "document", "made"),
    [
        (ByMode, {"kind": "x"}, {"kind": "x"}),
        (InBase64, {"data": "AA=="}, {"data": b"\0"}),
        (StrictDay, {"day": "2026-01-31"}, {"day": date(2026, 1, 31)}),
        (OneStrictDay, {"day": "2026-01-31"}, {"day": date(2026, 1, 31)}),
        (Exact, {"price": 1, "size": Decimal("1.5")}, {"price": Decimal(1), "size": 1.5}),
        (Sequence[int], [1], [1]),
    ],
)
def test_pydantic_reads_json_itself_where_that_accepts_more(
    kind: Any, document: Any, made: Any
) -> None:
    adapter = pydantic.TypeAdapter(kind)
    assert adapter.dump_python(validated(adapter, document, True)) == made


class Lax(pydantic.BaseModel):
    number: int


class Plain(pydantic.BaseModel):
    number: int = 0
    inner: list[Lax] = []


@pytest.mark.parametrize(
    ("document", "reads", "text"),
    [
        ({"number": "x"}, 0, "Input should be a valid integer"),
        ({"inner": [{}]}, 0, "Field required"),
        ({"inner": {}}, 1, "Input should be a valid array"),
        ({"inner": [5]}, 1, "Input should be an object"),
        ({"number": "x", "inner": 5}, 1, "Input should be a valid array"),
    ],
)
def test_pydantic_reads_a_refused_document_again_only_for_other_words(
    monkeypatch: pytest.MonkeyPatch, document: Any, reads: int, text: str
) -> None:
    read = list[object]()

    def noted(adapter: Any, document: object) -> object:
        read.append(document)
        return read_again(adapter, document)

    read_again = adapters._read_again
    monkeypatch.setattr(adapters, "_read_again", noted)
    with pytest.raises(ValueError, match=text):
        validated(pydantic.TypeAdapter(Plain), document, True)
    with pytest.raises(ValueError, match="validation error"):
        validated(pydantic.TypeAdapter(Plain), document, False)
    assert len(read) == reads


def test_R28_pydantic_does_not_copy_long_keys() -> None:
    """It would copy all keys that lead to a value, for each error."""
    for length, described in {900: 100, 1100: 0}.items():
        document = [{"a": {"k" * length: ["x"] * 100}}]
        with pytest.raises(ValueError, match="100 validation errors") as refused:
            pydantic.TypeAdapter(list[dict[str, dict[str, list[int]]]]).validate_python(document)
        assert len(errors_of(refused.value, document)) == described


class Strict(pydantic.BaseModel, strict=True):
    number: int


def test_pydantic_rounds_a_large_float_in_a_model_that_is_not_strict(
    make_client: MakeClient,
) -> None:
    """Other structures refuse it. In a model pydantic decides, as docs/binding.md says."""

    class Root(App):
        @post
        def lax(self, body: Lax) -> str:
            return str(body.number)

        @post
        def strict(self, body: Strict) -> str:
            return str(body.number)

    client, sent = make_client(Root()), b'{"number": 9007199254740993.0}'
    answers = [
        client.post(path, content=sent, headers={"Content-Type": "application/json"})
        for path in ("/lax", "/strict")
    ]
    assert [answer.status_code for answer in answers] == [200, 400]
    assert answers[0].text == str(2**53)
    assert "Please enter a whole number." in answers[1].text


Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=2, max_length=4, pattern="^a"),
    Message(min_length="Longer, please."),
]


WITH_OFFSET = "Please add the offset from UTC, as in 2026-01-31T13:45:00Z."
WITHOUT_OFFSET = "Please leave out the offset from UTC, as in 2026-01-31T13:45:00."


class Stripped(pydantic.BaseModel, str_strip_whitespace=True):
    name: Name = "abc"
    title: Annotated[str, pydantic.Field(min_length=1)] = "x"
    pieces: Annotated[Annotated[int, AfterValidator(abs)], pydantic.Field(le=5)] = 1
    tags: Annotated[list[str], AfterValidator(sorted), pydantic.Field(min_length=2)] = ["a", "b"]
    token: Annotated[SecretStr, pydantic.Field(min_length=3)] = SecretStr("abc")
    at: AwareDatetime | None = None
    until: pydantic.NaiveDatetime | None = None


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"name": " a "}, "Longer, please."),
        ({"name": "abcde"}, "Please use at most 4 characters."),
        ({"name": "bcd"}, "Please match the requested format."),
        ({"title": " "}, "Please fill in this field."),
        ({"pieces": "-7"}, "Please enter a value of 5 or less."),
        ({"tags": "a"}, "Please choose at least 2."),
        ({"token": "ab"}, "Please use at least 3 characters."),
        ({"at": "2026-01-31T13:45:00"}, WITH_OFFSET),
        ({"until": "2026-01-31T13:45:00Z"}, WITHOUT_OFFSET),
    ],
)
def test_a_constraint_that_pydantic_checks_has_the_sentence_of_any_other(
    make_client: MakeClient, sent: dict[str, str], words: str
) -> None:
    """pydantic has changed these values before, or checks them with code of the application."""
    app = App()

    @app.post("/form")
    def form(errors: BindingErrors, form: Stripped | None = None) -> dict[str, str]:
        return {one.field: str(one) for one in errors}

    @app.get("/name")
    def name(errors: BindingErrors, name: Name | None = None) -> dict[str, str]:
        return {one.field: str(one) for one in errors}

    client, (field,) = make_client(app), sent
    assert client.post("/form", data=sent).json()[field] == words
    if field == "name":
        assert client.get("/name", params=sent).json() == {field: words}


def test_null_is_a_missing_value_for_pydantic_s_types_too(make_client: MakeClient) -> None:
    app = App()

    @app.post("/site")
    def site(site: HttpUrl) -> None:
        """Never called."""

    (error,) = make_client(app).post("/site", json={"site": None}).json()["errors"]
    assert error["detail"] == "Please fill in this field."
