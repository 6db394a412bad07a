"""An application's own types: ``App(encoders=..., decoders=...)``, in, out, and in the document."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum, auto
from ipaddress import IPv4Address
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import msgspec
import pydantic
import pytest

from micropie import (
    App,
    Cookie,
    EventStream,
    Form,
    HTTPError,
    Message,
    Response,
    SetupError,
    event,
    post,
)
from micropie._core.binding import OwnTypes
from tests.support.clients import MakeClient
from tests.support.schemas import schemas_for

if TYPE_CHECKING:
    from collections.abc import Sized  # which is not there at run time


class Money:
    def __init__(self, amount: Decimal, unit: str) -> None:
        self.amount, self.unit = amount, unit

    @classmethod
    def parse(cls, text: str) -> Money:
        amount, _, unit = text.partition(" ")
        return cls(Decimal(amount), {"EUR": "EUR", "€": "EUR"}[unit])

    def __str__(self) -> str:
        return f"{self.amount} {self.unit}"


class Point:
    def __init__(self, x: float, y: float) -> None:
        self.x, self.y = x, y


def point(pair: list[float]) -> Point:
    return Point(*pair)


def written_point(given: Point) -> list[float]:
    return [given.x, given.y]


class Size(Enum):
    SMALL = auto()
    LARGE = auto()


@dataclass
class Order:
    price: Money
    size: int = 1
    paid: list[Money] = field(default_factory=list)
    at: Point | None = None
    source: IPv4Address | None = None


class Inner(App):
    def show(self, price: Money, size: Size = Size.SMALL) -> dict[str, Any]:
        return {"price": price, "size": size}


class Shop(App):
    def buy(self, price: Money, *prices: Money) -> dict[str, Any]:
        return {"price": price, "more": [*prices]}

    def several(self, prices: list[Money] | None = None) -> list[Money]:
        return prices or []

    def seen(self, *, last: Annotated[Money | None, Cookie()] = None) -> Response:
        return Response([last], 201)

    def size(self, size: Size) -> list[Size]:
        return [size]

    @post
    def pay(self, price: Money, at: Point, size: Size = Size.LARGE) -> list[object]:
        return [price, at, size]

    def dear(self, price: Annotated[Money, Message("How much?")]) -> list[Money]:
        return [price]

    @post
    def prices(self, prices: dict[str, Money]) -> object:
        return prices

    @post
    def order(self, order: Order) -> Order:
        return order

    @post
    def form(self, order: Annotated[Order, Form()]) -> Order:
        return order

    def ticks(self) -> EventStream:
        def prices() -> Iterator[object]:
            yield {"price": Money(Decimal(1), "EUR")}
            yield event([Size.SMALL], id=1)

        return EventStream(prices())

    def refused(self) -> None:
        raise HTTPError(402, {"price": Money(Decimal(1), "EUR")})

    async def ws_prices(self, ws: Any, price: Money) -> None:
        await ws.accept()
        await ws.send_json([price])


def shop() -> Shop:
    app = Shop(
        encoders={Money: str, Point: written_point, Enum: attrgetter("name")},
        decoders={Money: Money.parse, Point: point},
        errors="json",
    )
    app.inner = Inner()
    app.other = Inner(
        encoders={Money: lambda money: {"amount": money.amount}}, decoders={Size: Size.__getitem__}
    )
    return app


ANSWERS: list[tuple[str, str, dict[str, Any], int, Any]] = [
    ("GET", "/buy/3.50 EUR", {}, 200, {"price": "3.50 EUR", "more": []}),
    ("GET", "/buy/3.50 EUR/1 €", {}, 200, {"price": "3.50 EUR", "more": ["1 EUR"]}),
    ("GET", "/buy?price=x EUR", {}, 400, "Parameter 'price' must be a Money."),
    ("GET", "/buy?price=1 USD", {}, 400, "Parameter 'price' must be a Money."),
    ("GET", "/several?prices=1 EUR&prices=2 EUR", {}, 200, ["1 EUR", "2 EUR"]),
    ("GET", "/several", {}, 200, []),
    ("GET", "/seen", {"headers": {"Cookie": "last=3 EUR"}}, 201, ["3 EUR"]),
    ("GET", "/seen", {}, 201, [None]),
    ("GET", "/size/SMALL", {}, 200, ["SMALL"]),
    ("GET", "/dear/3 EUR", {}, 200, ["3 EUR"]),
    ("GET", "/dear/x", {}, 400, "Parameter 'price': How much?"),
    ("POST", "/prices", {"json": {"prices": {"a": "3 EUR"}}}, 200, {"a": "3 EUR"}),
    (
        "POST",
        "/prices",
        {"json": {"prices": {"a": 3}}},
        400,
        "Parameter 'prices' must be a JSON object.",
    ),
    ("GET", "/size/1", {}, 400, "Parameter 'size' must be one of SMALL, LARGE."),
    ("GET", "/refused", {}, 402, {"price": "1 EUR"}),
    (
        "POST",
        "/pay",
        {"json": {"price": "3 EUR", "at": [1, 2]}},
        200,
        ["3 EUR", [1.0, 2.0], "LARGE"],
    ),
    (
        "POST",
        "/pay",
        {"json": {"price": "3 EUR", "at": ["x"], "size": 1}},
        400,
        "Parameter 'at' must be a Point. Parameter 'size' must be one of SMALL, LARGE.",
    ),
    (
        "POST",
        "/pay",
        {"json": {"price": 3, "at": [1, 2]}},
        400,
        "Parameter 'price' must be a Money.",
    ),
    (
        "POST",
        "/pay",
        {"data": {"price": "3 EUR", "at": "1"}},
        400,
        "Parameter 'at' must be a Point.",
    ),
    (
        "POST",
        "/order",
        {"json": {"price": "3 EUR", "paid": ["1 EUR"], "at": [1, 2], "source": "192.0.2.1"}},
        200,
        {"price": "3 EUR", "size": 1, "paid": ["1 EUR"], "at": [1.0, 2.0], "source": "192.0.2.1"},
    ),
    (
        "POST",
        "/order",
        {"json": {"price": 3}},
        400,
        "Parameter 'order' is invalid: Expected a Money - at `$.price`.",
    ),
    (
        "POST",
        "/order",
        {"json": {"price": "1 EUR", "source": "x"}},
        400,
        "Parameter 'order' is invalid: Expected an IPv4 address - at `$.source`.",
    ),
    (
        "POST",
        "/form",
        {"data": {"price": "3 EUR", "size": "2"}},
        200,
        {"price": "3 EUR", "size": 2, "paid": [], "at": None, "source": None},
    ),
    ("GET", "/inner/show/3 EUR/LARGE", {}, 200, {"price": "3 EUR", "size": "LARGE"}),
    ("GET", "/other/show/3 EUR/LARGE", {}, 200, {"price": {"amount": "3"}, "size": "LARGE"}),
    ("GET", "/other/show/3 EUR/HUGE", {}, 400, "Parameter 'size' must be a Size."),
]


@pytest.mark.parametrize(("method", "url", "given", "status", "expected"), ANSWERS)
def test_custom_types_are_bound_and_sent(
    make_client: MakeClient,
    method: str,
    url: str,
    given: dict[str, Any],
    status: int,
    expected: Any,
) -> None:
    answer = make_client(shop()).request(method, url, **given)
    assert answer.status_code == status
    found = answer.json()
    assert (found if not isinstance(expected, str) else found["detail"]) == expected


def test_a_decoder_may_take_another_custom_type(make_client: MakeClient) -> None:
    def paid_by(price: Money) -> Team:
        team = Team()
        vars(team)["paid"] = price
        return team

    app = App(decoders={Money: Money.parse, Team: paid_by})

    @app.get("/paid")
    def paid(team: Team) -> str:
        return str(vars(team)["paid"])

    client = make_client(app)
    assert client.get("/paid?team=3 €").text == "3 EUR"
    assert client.get("/paid?team=x").status_code == 400


def test_an_error_shows_no_class_name_to_a_visitor(make_client: MakeClient) -> None:
    (error,) = make_client(shop()).get("/buy?price=x").json()["errors"]
    assert (error["detail"], error["expected"]) == ("Please enter another value.", "a Money")


def test_custom_types_are_encoded_in_events(make_client: MakeClient) -> None:
    with make_client(shop()).stream("GET", "/ticks") as answer:
        assert answer.read() == b': \n\ndata: {"price":"1 EUR"}\n\nid: 1\ndata: ["SMALL"]\n\n'


@pytest.mark.parametrize("world", ["asyncio", "trio"])
def test_custom_types_are_encoded_in_websocket_messages(connect: Any, world: str) -> None:
    with connect(shop(), world).websocket("/prices/3 EUR") as socket:
        assert socket.receive_json() == ["3 EUR"]


def test_the_openapi_document_has_the_types_that_are_sent() -> None:
    app = shop()
    document = app.openapi()
    paths = document["paths"]
    (price,) = paths["/buy/{price}"]["get"]["parameters"]
    assert price["schema"] == {"type": "string"}
    sizes = {"type": "string", "enum": ["SMALL", "LARGE"]}
    assert paths["/size/{size}"]["get"]["parameters"][0]["schema"] == sizes
    found = paths["/several"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert found == {"type": "array", "items": {"type": "string"}}
    properties = document["components"]["schemas"]["Order"]["properties"]
    assert properties["price"] == {"type": "string"}
    assert properties["at"]["anyOf"][0] == {"type": "array", "items": {"type": "number"}}
    assert properties["source"]["anyOf"][0] == {"type": "string", "format": "ipv4"}
    (_, size) = paths["/inner/show/{price}"]["get"]["parameters"]
    assert size["schema"] == sizes
    # Of a decoder the parameter's annotation counts, which this one has not.
    (_, size) = paths["/other/show/{price}"]["get"]["parameters"]
    assert size["schema"] == {"type": "string"}


class Team:
    pass


@dataclass
class Rated:
    money: Price | None = None
    team: Team | None = None


class Price(msgspec.Struct):
    cents: int


def stars(team: Team) -> int:
    return 5


def unknown(team):  # type: ignore[no-untyped-def]
    return "?"


def unreadable(team: Team) -> Sized:
    return "?"


@pytest.mark.parametrize(
    ("encoders", "expected"),
    [
        ({Team: stars}, {"type": "integer"}),
        ({object: str}, {"type": "string"}),
        ({Team: unknown}, {}),
        ({Team: unreadable}, {}),
        ({Team: attrgetter("stars")}, {}),
        ({}, {}),
    ],
)
def test_a_type_that_is_only_sent_has_a_schema(encoders: Any, expected: Any) -> None:
    schemas = schemas_for(OwnTypes(encoders, {}), {}, "serialization")
    assert schemas.of(Team) == expected


class Match(pydantic.BaseModel, arbitrary_types_allowed=True):
    home: Team
    guest: Team | None = None
    price: Price


def test_a_type_unknown_to_pydantic_is_described_by_its_encoder() -> None:
    schemas = schemas_for(OwnTypes({Team: stars, Price: str}, {}), {}, "serialization")
    schemas.of(Match)
    properties = schemas.components["Match"]["properties"]
    assert properties["home"] == {"type": "integer", "title": "Home"}
    assert properties["guest"]["anyOf"] == [{"type": "integer"}, {"type": "null"}]
    assert properties["price"] == {"type": "string", "title": "Price"}


class Printed(pydantic.BaseModel, arbitrary_types_allowed=True):
    team: Annotated[Team, pydantic.PlainSerializer(stars)]


@pytest.mark.parametrize(("mode", "told"), [("validation", 1), ("serialization", 0)])
def test_pydantic_may_know_one_direction_of_a_type(
    caplog: pytest.LogCaptureFixture, mode: Any, told: int
) -> None:
    schemas_for(OwnTypes({}, {}), {}, mode).of(Printed)
    assert len(caplog.messages) == told


class Stars(TypedDict):
    count: int


def counted(team: Team) -> Stars:
    return {"count": 5}


@pytest.mark.parametrize("encoders", [{Price: str}, {Price: str, Team: counted}])
def test_an_undescribed_type_is_any_value_and_is_logged(
    caplog: pytest.LogCaptureFixture, encoders: Any
) -> None:
    schemas = schemas_for(OwnTypes(encoders, {}), {}, "serialization")
    schemas.of(Match)
    assert schemas.components["Match"]["properties"]["home"] == {"title": "Home"}
    (told,) = caplog.messages
    assert told.startswith("Match: pydantic can't describe core_schema.IsInstanceSchema (<class ")
    assert told.count("Team'>)") == 1
    assert told.endswith(", so the OpenAPI document allows any value there")


@pytest.mark.parametrize(
    ("mode", "encoders", "expected"),
    [
        ("validation", {Team: stars}, "string"),
        ("serialization", {Team: stars}, "integer"),
        ("serialization", {}, "string"),
    ],
)
def test_a_body_is_described_by_its_decoder_and_a_response_by_its_encoder(
    mode: Any, encoders: Any, expected: str
) -> None:
    def team(name: str) -> Team:
        raise NotImplementedError

    assert schemas_for(OwnTypes(encoders, {Team: team}), {}, mode).of(Team) == {"type": expected}


def test_a_custom_type_in_a_msgspec_structure_is_described_as_it_is_sent() -> None:
    schemas = schemas_for(OwnTypes({Price: str, Team: stars}, {}), {}, "serialization")
    schemas.of(Rated)
    properties = schemas.components["Rated"]["properties"]
    assert {"type": "string"} in properties["money"]["anyOf"]
    assert {"type": "integer"} in properties["team"]["anyOf"]


# -- mistakes at set-up ----------------------------------------------------------------------------


class Body(TypedDict):
    price: Price


def two(one: str, two: str) -> Team:
    return Team()


def itself(team: Team) -> Team:
    return team


def odd(number: complex) -> Team:
    return Team()


def hidden(text: Nowhere) -> Team:  # type: ignore[name-defined]  # noqa: F821
    return Team()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"encoders": {"Money": str}},
            r"App\(encoders=...\) .*a dict from classes to functions, such as {Money: function}",
        ),
        ({"encoders": {str: repr}}, r"for types that JSON lacks"),
        ({"decoders": {Money: "parse"}}, r"App\(decoders=...\)"),
        ({"decoders": [Money]}, r"App\(decoders=...\)"),
    ],
)
def test_invalid_encoders_and_decoders_raise_errors_with_a_suggestion(
    settings: Any, words: str
) -> None:
    with pytest.raises(SetupError, match=words):
        App(**settings)


def team_of_price(price: Price) -> Team:
    raise NotImplementedError


def price_of_teams(teams: list[Team]) -> Price:
    raise NotImplementedError


def handler_of(kind: Any) -> Any:
    def handler(value: Any) -> None: ...

    handler.__annotations__["value"] = kind
    return handler


@pytest.mark.parametrize(
    ("kind", "decoders", "words"),
    [
        (Team, {Team: two}, "decoders={Team: ...} needs a function with one parameter"),
        (Team, {Team: itself}, "decoders={Team: ...} needs a function with one parameter"),
        (
            Team,
            {Team: lambda: None},
            "decoders={Team: ...} needs a function with one parameter",
        ),
        (
            Team,
            {Team: team_of_price, Price: price_of_teams},
            "decoders={Team: ...} needs a function with one parameter, the value to "
            "convert. Annotate this parameter as str, for example, but not as Team",
        ),
        (Team, {Team: odd}, "parameter 'value': it is annotated with <class 'complex'>"),
        (
            Body,
            {Price: str},
            "'value': it is a Body, in which msgspec doesn't call your decoder for Price: there, decoders",
        ),
        (Team, {}, "App(decoders={Type: function})"),
    ],
)
def test_an_unusable_decoder_fails_at_setup(kind: Any, decoders: Any, words: str) -> None:
    app = App(decoders=decoders)
    app.post("/x")(handler_of(kind))
    with pytest.raises(SetupError, match=re.escape(words)):
        app._micropie.compiled()


@pytest.mark.parametrize(
    "decode", [hidden, Path, lambda text, strict=True: text, lambda *texts: texts]
)
def test_a_decoder_without_a_readable_annotation_takes_text(
    make_client: MakeClient, decode: Any
) -> None:
    app = App(decoders={Team: decode})
    app.post("/x")(handler_of(Team))
    client = make_client(app)
    assert client.post("/x", json={"value": "a"}).status_code == 200
    assert client.post("/x", json={"value": 1}).status_code == 400


def test_a_provider_may_take_custom_types(make_client: MakeClient) -> None:
    app = shop()

    @app.provides(Team)
    def team(price: Money) -> Iterator[str]:
        yield f"team for {price}"

    @app.get("/team")
    def show(team: Team) -> str:
        return str(team)

    client = make_client(app)
    assert client.get("/team?price=3 EUR").text == "team for 3 EUR"
    assert [one["parameter"] for one in client.get("/team?price=x").json()["errors"]] == ["price"]


class Labels:
    def __init__(self, names: list[str]) -> None:
        self.names = names

    @classmethod
    def parse(cls, text: str) -> Labels:
        return cls(text.split())


@dataclass
class Labelled:
    labels: Labels = field(default_factory=lambda: Labels(["new"]))


def test_a_decoder_may_take_an_empty_entry(make_client: MakeClient) -> None:
    app = App(decoders={Labels: Labels.parse})

    @app.post("/labelled")
    def labelled(given: Annotated[Labelled, Form()]) -> list[str]:
        return given.labels.names

    client = make_client(app)
    sent = [{"labels": "a b"}, {"labels": ""}, {"other": ""}]
    assert [client.post("/labelled", data=one).json() for one in sent] == [["a", "b"], [], ["new"]]


def test_an_optional_field_of_an_unknown_type_only_takes_null(
    make_client: MakeClient,
) -> None:
    app = App()
    app.post("/x")(handler_of(Rated))
    client = make_client(app)
    assert client.post("/x", json={"team": None}).status_code == 200
    answer = client.post("/x", json={"team": "x"})
    seen = (answer.status_code, answer.json()["detail"])
    assert seen == (400, "Parameter 'value' is invalid: Expected `Team` - at `$.team`.")


class Version:
    """Compares with its own kind only, like many classes."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: Any) -> bool:
        return bool(self.text == other.text)

    __hash__ = None  # type: ignore[assignment]


class Installed(pydantic.BaseModel, arbitrary_types_allowed=True):
    version: Version
    others: dict[str, Version] = {}


def test_no_object_of_a_decoder_is_compared_with_what_a_client_sent(
    make_client: MakeClient,
) -> None:
    app = App(decoders={Version: Version})

    @app.post("/installed")
    def installed(body: Installed) -> list[str]:
        return [one.text for one in (body.version, *body.others.values())]

    client = make_client(app)
    sent = {"version": "1.0", "others": {"a": "2.0"}}
    assert client.post("/installed", json=sent).json() == ["1.0", "2.0"]
    assert client.post("/installed", json={**sent, "others": []}).status_code == 400
