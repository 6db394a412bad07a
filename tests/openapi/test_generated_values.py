"""What a generated client sends arrives: an application with every kind of input gives back each
value, which functions of openapi-python-client send.
"""

from __future__ import annotations

import importlib
import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pydantic
import pytest

from micropie import App, Body, Cookie, Form, Header, Query, UploadFile, delete, get, post
from tests.openapi.generated import functions_of, generate
from tests.support.clients import MakeClient


class Colour(Enum):
    red = "red"
    blue = "blue"


class Size(IntEnum):
    small = 1
    large = 2


class Address(msgspec.Struct):
    city: str
    street: str = "Elm"
    floors: list[int] = []


class Person(pydantic.BaseModel):
    full_name: str = pydantic.Field(alias="fullName")
    born: date | None = None
    parent: Person | None = None


@dataclass
class Wide:
    low: int = 1
    high: int = 9


class Filter(msgspec.Struct):
    word: str
    address: Address
    wide: Wide
    other: Address | None = None
    days: list[date] = []
    colours: list[Colour] = []
    size: Size = Size.small
    lines: list[Wide] = []


class Search(pydantic.BaseModel):
    person: Person
    level: Literal[1, 2] = 1


@dataclass
class Pair:
    low: int
    high: int = 9


class Grid(msgspec.Struct):
    cells: list[list[int]]
    names: list[list[str]] | None = None
    pairs: list[tuple[int, str]] = []


class Cat(msgspec.Struct, tag="cat"):
    lives: int


class Dog(msgspec.Struct, tag="dog"):
    name: str


@dataclass
class Tree:
    name: str
    trees: list[Tree] = field(default_factory=list)


@dataclass
class Profile:
    name: str
    address: Address
    tags: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    others: list[Address] = field(default_factory=list)
    stay: bool = False


Unset = msgspec.UnsetType
Call = Callable[[Any], dict[str, Any]]


class Arrivals(App):
    @get
    def filtered(self, wanted: Annotated[Filter, Query()]) -> Any:
        return wanted

    @get
    def searched(self, wanted: Annotated[Search, Query()]) -> Any:
        return wanted

    @get
    def perhaps(self, pair: Annotated[Pair | None, Query()] = None) -> Any:
        return {"pair": pair}

    @get
    def listed(
        self,
        days: list[date],
        colours: list[Colour] | None = None,
        keys: list[UUID] | None = None,
        prices: tuple[Decimal, ...] = (),
    ) -> Any:
        return [days, colours, keys, prices]

    @get
    def queried(
        self,
        at: datetime,
        *,
        clock: time | None = None,
        price: Decimal = Decimal("1.5"),
        word: Literal["a", "b"] = "a",
        size: Size = Size.small,
        number: int | str = 0,
        on: bool = True,
        left: int | Unset = msgspec.UNSET,
    ) -> Any:
        return [at, clock, price, word, size, number, on, repr(left)]

    @get("/paths/<day>/<key>/<colour>/<price>/<size>/<number:int>")
    def paths(
        self, day: date, key: UUID, colour: Colour, price: Decimal, size: Size, number: int
    ) -> Any:
        return [day, key, colour, price, size, number]

    @get
    def headers(
        self,
        colour: Annotated[Colour, Header("X-Colour")],
        price: Annotated[Decimal, Header("X-Price")] = Decimal(0),
        on: Annotated[bool, Header("X-On")] = False,
        none: Annotated[int | None, Header("X-None")] = None,
    ) -> Any:
        return [colour, price, on, none]

    @get
    def cookies(
        self,
        colour: Annotated[Colour, Cookie()],
        word: Annotated[Literal["a", "b"], Cookie()] = "a",
        none: Annotated[str | None, Cookie()] = None,
    ) -> Any:
        return [colour, word, none]

    @post
    def grid_and_file(self, rows: list[list[int]], file: UploadFile) -> Any:
        return [rows, file.read().decode("latin-1")]

    @post
    def data_and_file(
        self,
        data: dict[str, int],
        lines: list[Address],
        maps: list[dict[str, int]],
        day: date,
        file: UploadFile,
        others: list[UploadFile] | None = None,
        more: UploadFile | None = None,
    ) -> Any:
        files = [one.read().decode("latin-1") for one in others or ()]
        return [data, lines, maps, day, file.read().decode("latin-1"), files, more is None]

    @post
    def names_and_file(self, by_name: dict[str, Address], file: UploadFile) -> Any:
        return [by_name, file.read().decode("latin-1")]

    @post
    def class_and_file(self, grid: Grid, file: UploadFile) -> Any:
        return [grid, file.read().decode("latin-1")]

    @post
    def grid(self, grid: Annotated[Grid, Form()]) -> Any:
        return grid

    @post
    def profile(self, profile: Annotated[Profile, Form()]) -> Any:
        return profile

    @post
    def form(
        self,
        day: Annotated[date, Form()],
        colours: Annotated[list[Colour], Form()],
        on: Annotated[bool, Form()] = False,
        price: Annotated[Decimal | None, Form()] = None,
    ) -> Any:
        return [day, colours, on, price]

    @post
    def pet(self, pet: Cat | Dog) -> Any:
        return pet

    @post
    def tree(self, tree: Annotated[Tree, Body()]) -> Any:
        return tree

    @post
    def rows(self, rows: Annotated[list[list[int]], Body()]) -> Any:
        return rows

    @post
    def several(self, ids: dict[str, int], day: date, size: Size = Size.small) -> Any:
        return [ids, day, size]

    @delete
    def removed(self, keys: list[UUID]) -> Any:
        return keys


DAY, KEY = date(2026, 3, 1), UUID(int=7)
AT = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
ELM = {"city": "Ulm", "street": "Elm", "floors": [1, 2]}
FILE = "apple"
ADDRESS = {"city": "Ulm", "floors": [1, 2]}
GRID = {"cells": [[1], [2, 3]], "names": [["a"], []], "pairs": [[1, "a"]]}
CELLS = {"cells": [[1]], "names": None, "pairs": []}
DATA = {"data": {"a": 1}, "lines": [ADDRESS, ADDRESS], "maps": [{"a": 1}, {"b": 2}]}
ARRIVED = [{"a": 1}, [ELM, ELM], [{"a": 1}, {"b": 2}], "2026-03-01", FILE]


def encoded(grid: dict[str, Any]) -> dict[str, str]:
    return {name: json.dumps(value) for name, value in grid.items()}


def body_of(model: str, values: dict[str, Any], *files: str) -> Call:
    """Return what makes a call's arguments: the model of a body, and files."""

    def arguments(package: Any) -> dict[str, Any]:
        made = getattr(package.models, model)
        given = made.from_dict({**values, **dict.fromkeys(files, b"")})
        for name in files:
            sent = package.types.File(io.BytesIO(FILE.encode()), "pie.txt", "text/plain")
            setattr(given, name, [sent] if name == "others" else sent)
        return {"body": given}

    return arguments


CALLS: dict[str, list[tuple[Call | dict[str, Any], Any]]] = {
    "filtered": [
        (
            {"word": "a", "address_city": "Ulm"},
            {
                "word": "a",
                "address": {**ELM, "floors": []},
                "wide": {"low": 1, "high": 9},
                "other": None,
                "days": [],
                "colours": [],
                "size": 1,
                "lines": [],
            },
        ),
        (
            {
                "word": "a",
                "address_city": "Ulm",
                "address_street": "Elm",
                "address_floors": [1, 2],
                "wide_low": 3,
                "other_city": "Bonn",
                "days": [DAY, DAY],
                "colours": [Colour.red, Colour.blue],
                "size": Size.large,
                "lines0_low": 4,
            },
            {
                "word": "a",
                "address": ELM,
                "wide": {"low": 3, "high": 9},
                "other": {"city": "Bonn", "street": "Elm", "floors": []},
                "days": ["2026-03-01"] * 2,
                "colours": ["red", "blue"],
                "size": 2,
                "lines": [{"low": 4, "high": 9}],
            },
        ),
    ],
    "searched": [
        (
            {"person_full_name": "Ann", "person_born": DAY},
            {"person": {"fullName": "Ann", "born": "2026-03-01", "parent": None}, "level": 1},
        )
    ],
    "perhaps": [
        ({}, {"pair": None}),
        ({"low": 2}, {"pair": {"low": 2, "high": 9}}),
    ],
    "listed": [
        ({"days": [DAY]}, [["2026-03-01"], None, None, []]),
        (
            {"days": [DAY, DAY], "colours": [Colour.red], "keys": [KEY], "prices": [1.5, 2]},
            [["2026-03-01"] * 2, ["red"], [str(KEY)], ["1.5", "2"]],
        ),
    ],
    "queried": [
        ({"at": AT}, ["2026-03-01T12:30:00+00:00", None, "1.5", "a", 1, 0, True, "UNSET"]),
        (
            {
                "at": AT,
                "clock": "12:30:00",
                "price": 2.25,
                "number": "pie",
                "on": False,
                "left": 3,
            },
            ["2026-03-01T12:30:00+00:00", "12:30:00", "2.25", "a", 1, "pie", False, "3"],
        ),
    ],
    "paths": [
        (
            lambda package: {
                "day": DAY,
                "key": KEY,
                "colour": package.models.PathsColour.RED,
                "price": 1.5,
                "size": package.models.PathsSize.VALUE_2,
                "number": 4,
            },
            ["2026-03-01", str(KEY), "red", "1.5", 2, 4],
        )
    ],
    "headers": [
        (
            lambda package: {"x_colour": package.models.HeadersXColour.RED},
            ["red", "0.0", False, None],
        ),
        (
            lambda package: {
                "x_colour": package.models.HeadersXColour.RED,
                "x_price": 1.5,
                "x_on": True,
                "x_none": 3,
            },
            ["red", "1.5", True, 3],
        ),
    ],
    "cookies": [  # the client can't send numbers
        (
            lambda package: {"colour": package.models.CookiesColour.RED},
            ["red", "a", None],
        ),
        (
            lambda package: {
                "colour": package.models.CookiesColour.RED,
                "word": package.models.CookiesWord.B,
                "none": "c",
            },
            ["red", "b", "c"],
        ),
    ],
    "grid_and_file": [
        (body_of("GridAndFileBody", {"rows": "[[1], [2, 3]]"}, "file"), [[[1], [2, 3]], FILE]),
    ],
    "data_and_file": [
        (
            lambda package: {"day": DAY, **body_of("DataAndFileBody", DATA, "file")(package)},
            [*ARRIVED, [], True],
        ),
        (
            lambda package: {
                "day": DAY,
                **body_of("DataAndFileBody", DATA, "file", "others", "more")(package),
            },
            [*ARRIVED, [FILE], False],
        ),
    ],
    "names_and_file": [
        (body_of("NamesAndFileBody", {"by_name": {"a": ADDRESS}}, "file"), [{"a": ELM}, FILE]),
    ],
    "class_and_file": [
        (body_of("ClassAndFileBody", encoded(GRID), "file"), [GRID, FILE]),
        (body_of("ClassAndFileBody", {"cells": "[[1]]"}, "file"), [CELLS, FILE]),
    ],
    "grid": [
        (body_of("GridBody", encoded(GRID)), GRID),
        (body_of("GridBody", {"cells": "[[1]]"}), CELLS),
    ],
    "profile": [
        (
            body_of(
                "Profile",
                {
                    "name": "Ann",
                    "address": ADDRESS,
                    "tags": ["a", "b"],
                    "counts": {"a": 1},
                    "others": [ADDRESS, ADDRESS],
                    "stay": True,
                },
            ),
            {
                "name": "Ann",
                "address": ELM,
                "tags": ["a", "b"],
                "counts": {"a": 1},
                "others": [ELM, ELM],
                "stay": True,
            },
        )
    ],
    "form": [
        (
            lambda package: {
                "body": package.models.FormBody(day=DAY, colours=[*Colour], price=1.5)
            },
            ["2026-03-01", ["red", "blue"], False, "1.5"],
        ),
        (
            lambda package: {
                "body": package.models.FormBody(day=DAY, colours=[], on=True, price="")
            },
            ["2026-03-01", [], True, None],
        ),
    ],
    "pet": [
        (body_of("Cat", {"type": "cat", "lives": 9}), {"type": "cat", "lives": 9}),
        (body_of("Dog", {"type": "dog", "name": "Rex"}), {"type": "dog", "name": "Rex"}),
    ],
    "tree": [
        (
            body_of("Tree", {"name": "a", "trees": [{"name": "b"}]}),
            {"name": "a", "trees": [{"name": "b", "trees": []}]},
        )
    ],
    "rows": [({"body": [[1], [2, 3]]}, [[1], [2, 3]])],
    "several": [
        (
            body_of("SeveralBody", {"ids": {"a": 1}, "day": "2026-03-01", "size": 2}),
            [{"a": 1}, "2026-03-01", 2],
        )
    ],
    "removed": [({"keys": [KEY, KEY]}, [str(KEY)] * 2)],
}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("arrivals")
    sys.path.insert(0, str(folder))
    made = generate(Arrivals(errors="json").openapi(), folder, "client_of_arrivals")
    for name in ("models", "types"):
        importlib.import_module(f"client_of_arrivals.{name}")
    yield made
    sys.path.remove(str(folder))
    for name in [one for one in sys.modules if one.partition(".")[0] == "client_of_arrivals"]:
        del sys.modules[name]


# httpx warns of cookies of one request, which the generated function has
@pytest.mark.filterwarnings("ignore:Setting per-request cookies")
def test_what_a_generated_client_sends_arrives(package: Any, make_client: MakeClient) -> None:
    client = package.Client(base_url="http://testserver")
    client.set_httpx_client(make_client(Arrivals(errors="json")))
    modules = functions_of(package)
    assert {*modules} == {*CALLS}
    for name, calls in CALLS.items():
        for arguments, expected in calls:
            given = arguments(package) if callable(arguments) else arguments
            answer = modules[name].sync_detailed(client=client, **given)
            assert (answer.status_code, json.loads(answer.content)) == (200, expected), name
