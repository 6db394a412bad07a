"""A value is one value wherever it is read and written: as a parameter and as a field of each kind
of class, in each part of a request, in links, in results and in the document.

Each row is an annotation with texts and JSON that mean a value, and some that mean none. If a place
reads a row differently, ``EXCEPTIONS`` has the reason.
"""

from __future__ import annotations

import enum
import io
import json
from base64 import b64decode
from collections.abc import (
    Callable,
    Collection,
    Iterator,
    Mapping,
    MutableMapping,
    MutableSequence,
    Sequence,
    Set,
)
from dataclasses import dataclass, field, make_dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from ipaddress import IPv4Address
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NewType, TypedDict
from urllib.parse import parse_qsl, unquote, urlencode
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import jsonschema  # type: ignore[import-untyped]
import msgspec
import pydantic
import pytest
from msgspec import Meta, UnsetType

import micropie._core.binding.structures.readings as readings_module
from micropie import App, Body, Cookie, Form, Header, Query
from micropie._core.binding import OwnTypes


class Shade(enum.Enum):
    RED = "red"
    BLUE = "blue"

    @classmethod
    def _missing_(cls, value: object) -> Shade | None:
        return next((one for one in cls if one.value == str(value).lower()), None)


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2

    @classmethod
    def _missing_(cls, value: object) -> Level | None:
        return cls.HIGH if value == 3 else None


class Priority(enum.IntEnum):
    """Also read by name."""

    LOW = 1
    HIGH = 2

    @classmethod
    def _missing_(cls, value: object) -> Priority | None:
        return cls.__members__.get(str(value).upper())


class Number(enum.Enum):
    ONE = 1
    TWO = 2


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Size(enum.Enum):
    """Sent by name."""

    SMALL = 1
    LARGE = 2


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents

    @classmethod
    def parse(cls, text: str) -> Money:
        return cls(round(float(text.removesuffix(" EUR")) * 100))

    def __str__(self) -> str:
        return f"{self.cents / 100:.2f} EUR"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and self.cents == other.cents

    __hash__ = None  # type: ignore[assignment]


class Pair(NamedTuple):
    number: int
    day: date


ENCODERS: Mapping[Any, Callable[[Any], Any]] = {Size: lambda one: one.name, Money: str}
DECODERS: Mapping[Any, Callable[[Any], Any]] = {Money: Money.parse}


@dataclass
class Row:
    """One annotation.

    - ``hint``: the annotation. ``of_pydantic``: the one for pydantic's classes, if it differs.
    - ``texts``: the value for each text, or for several texts of one name.
    - ``documents``: pairs of a JSON value and the value that it means.
    - ``wrong``, ``wrong_documents``: texts and JSON that mean no value.
    - ``others``: more such pairs, which the document doesn't describe.
    - ``keeps_strings``: whether a string in JSON means something else than a text.
    - ``is_parameter``: whether a parameter can have the annotation.
    """

    hint: Any
    texts: Mapping[str | tuple[str, ...], object] = field(default_factory=dict)
    documents: Sequence[tuple[Any, object]] = ()
    wrong: Sequence[str] = ()
    wrong_documents: Sequence[Any] = ()
    of_pydantic: Any = None
    others: Sequence[tuple[Any, object]] = ()
    keeps_strings: bool = False
    is_parameter: bool = True


def or_missing(hint: Any) -> Any:
    return hint | pydantic.MISSING


A_DAY, A_UUID = date(2026, 1, 31), UUID("01234567-89ab-cdef-0123-456789abcdef")
ROWS: dict[str, Row] = {
    "str": Row(str, {"a b": "a b"}, [("a", "a")], wrong_documents=[1, True, ["a"]]),
    "int": Row(
        int,
        {"5": 5, "-5": -5, "+5": 5},
        [(5, 5), (5.0, 5)],
        ["5.0", "x", "", "1_0", "5 0"],
        ["x", True, 5.5, None, [5]],
    ),
    "float": Row(
        float,
        {"5": 5.0, "-1.5e3": -1500.0},
        [(1.5, 1.5), (5, 5.0)],
        ["x", "nan", "inf", "1_0"],
        ["x", True, None],
    ),
    "bool": Row(
        bool,
        {"true": True, "on": True, "1": True, "0": False, "no": False, "off": False},
        [(True, True), (False, False)],
        ["x", "2"],
        ["x", 2, None],
    ),
    "Decimal": Row(
        Decimal,
        {"1.50": Decimal("1.50"), "1E+3": Decimal("1E+3")},
        [("1.50", Decimal("1.50")), (2, Decimal(2)), (0.1, Decimal("0.1"))],
        ["x", "NaN", "1_0"],
        ["x", True, "Infinity"],
    ),
    "UUID": Row(
        UUID,
        {str(A_UUID): A_UUID, A_UUID.hex: A_UUID},
        [(str(A_UUID), A_UUID)],
        ["x", f"{{{A_UUID}}}"],
        ["x", 5],
    ),
    "date": Row(
        date, {"2026-01-31": A_DAY}, [("2026-01-31", A_DAY)], ["x", "31.01.2026"], ["x", True]
    ),
    "time": Row(
        time,
        {"13:45": time(13, 45), "13:45:10": time(13, 45, 10)},
        [("13:45:10", time(13, 45, 10))],
        ["x", "25:00"],
        ["x", True],
    ),
    "datetime": Row(
        datetime,
        {
            "2026-01-31T13:45": datetime(2026, 1, 31, 13, 45),
            "2026-01-31 13:45:10": datetime(2026, 1, 31, 13, 45, 10),
            "2026-01-31T13:45:00Z": datetime(2026, 1, 31, 13, 45, tzinfo=UTC),
        },
        [
            ("2026-01-31T13:45:00+00:00", datetime(2026, 1, 31, 13, 45, tzinfo=UTC)),
            ("2026-01-31T13:45:00Z", datetime(2026, 1, 31, 13, 45, tzinfo=UTC)),
        ],
        ["x", "2026-02-30T00:00"],
        ["x", True],
    ),
    "timedelta": Row(
        timedelta,
        {"PT1H30M": timedelta(minutes=90), "-P1DT0.5S": -timedelta(days=1, seconds=0.5)},
        [("PT5400S", timedelta(minutes=90))],
        ["x", "P1M"],
        ["x", True],
    ),
    "bytes": Row(
        bytes, {"+/8=": b"\xfb\xff", "-_8=": b"\xfb\xff"}, [("+/8=", b"\xfb\xff")], ["x"], ["x", 5]
    ),
    "Path": Row(Path, {"a/b": Path("a/b")}, [("a/b", Path("a/b"))], [], [5]),
    "ZoneInfo": Row(
        ZoneInfo,
        {"Europe/Berlin": ZoneInfo("Europe/Berlin"), "UTC": ZoneInfo("UTC")},
        [("Europe/Berlin", ZoneInfo("Europe/Berlin"))],
        ["x", "../UTC"],
        ["x", 5],
    ),
    "address": Row(
        IPv4Address,
        {"192.0.2.1": IPv4Address("192.0.2.1")},
        [("192.0.2.1", IPv4Address("192.0.2.1"))],
        ["x"],
        ["x"],
    ),
    "Enum with _missing_": Row(
        Shade,
        {"red": Shade.RED, "RED": Shade.RED},
        [("red", Shade.RED)],
        ["x", ""],
        ["x", 5, None, True],
        others=[("RED", Shade.RED)],
    ),
    "IntEnum with _missing_": Row(
        Level,
        {"1": Level.LOW, "3": Level.HIGH},
        [(1, Level.LOW), (2.0, Level.HIGH)],
        ["x", "7", "LOW"],
        ["x", 7, None],
        others=[(3, Level.HIGH)],
    ),
    "IntEnum that is also read by name": Row(
        Priority,
        {"1": Priority.LOW, "high": Priority.HIGH},
        [(1, Priority.LOW)],
        ["x", "7", ""],
        ["x", 7, None],
        others=[("HIGH", Priority.HIGH)],
    ),
    "Enum of numbers": Row(
        Number, {"1": Number.ONE}, [(1, Number.ONE)], ["x", "3", "ONE"], ["x", 3, None]
    ),
    "Flag": Row(
        Rights,
        {"1": Rights.READ, "3": Rights.READ | Rights.WRITE},
        [(1, Rights.READ)],
        ["x", "8"],
        ["x", 8],
        others=[(3, Rights.READ | Rights.WRITE)],
    ),
    "Enum with an encoder": Row(
        Size, {"LARGE": Size.LARGE}, [("LARGE", Size.LARGE)], ["x", "2"], ["x", 2]
    ),
    "list of an Enum with an encoder": Row(
        list[Size],
        {"LARGE": [Size.LARGE], ("SMALL", "LARGE"): [Size.SMALL, Size.LARGE]},
        [(["LARGE"], [Size.LARGE]), ([], [])],
        ["x", "2"],
        [["x"], [2], "LARGE"],
    ),
    "dict of an Enum with an encoder": Row(
        dict[Size, int], {}, [({"LARGE": 1}, {Size.LARGE: 1})], (), [{"x": 1}, {"2": 1}]
    ),
    "optional Enum with an encoder": Row(
        Size | None,
        {"LARGE": Size.LARGE, "": None},
        [("LARGE", Size.LARGE), (None, None)],
        ["x", "2"],
        ["x", 2],
    ),
    "Literal": Row(Literal["a", "b"], {"a": "a"}, [("a", "a")], ["x", ""], ["x", 1, None]),
    "Literal of numbers": Row(
        Literal[10, 20], {"20": 20}, [(20, 20), (20.0, 20)], ["x", "30"], ["x", 30]
    ),
    "Literal with None": Row(
        Literal["a", None], {"a": "a", "": None}, [("a", "a"), (None, None)], ["x"], ["x", 1]
    ),
    "list of a Literal": Row(
        list[Literal[1, 2]],
        {"1": [1], ("1", "2"): [1, 2]},
        [([1, 2], [1, 2])],
        ["x", "3"],
        [[3], ["x"], 1],
        others=[(["1", 2], [1, 2])],
    ),
    "own": Row(Money, {"1.50 EUR": Money(150)}, [("1.50 EUR", Money(150))], ["x"], ["x", 5, None]),
    "optional int": Row(
        int | None, {"5": 5, "": None}, [(5, 5), (None, None)], ["x", "null"], ["x", True]
    ),
    "optional date": Row(
        date | None, {"2026-01-31": A_DAY, "": None}, [("2026-01-31", A_DAY), (None, None)], ["x"]
    ),
    "int or str": Row(
        int | str,
        {"5": 5, "x": "x"},
        [(5, 5), ("5", "5"), ("x", "x")],
        (),
        [True, None, []],
        keeps_strings=True,
    ),
    "int or float": Row(
        int | float, {"5": 5, "5.5": 5.5}, [(5, 5), (5.5, 5.5), (5.0, 5.0)], ["x"], ["x", True]
    ),
    "float or int": Row(
        float | int, {"5": 5, "5.5": 5.5}, [(5, 5), (5.5, 5.5), (5.0, 5.0)], ["x"], ["x", True]
    ),
    "limited str or int": Row(
        Annotated[str, Meta(max_length=3)] | int,
        {"5": 5, "x": "x"},
        [(5, 5), ("5", "5"), ("x", "x")],
        ["x234"],
        [True, None, "x234"],
        of_pydantic=Annotated[str, pydantic.Field(max_length=3)] | int,
        keeps_strings=True,
    ),
    "Enum of numbers or str": Row(
        Number | str,
        {"1": Number.ONE, "x": "x"},
        [(1, Number.ONE), ("1", "1"), ("x", "x")],
        (),
        [True, None, 3],
        keeps_strings=True,
    ),
    "int or list": Row(
        int | list[int],
        {"5": 5, ("5", "6"): [5, 6]},
        [(5, 5), ([5, 6], [5, 6])],
        ["x"],
        ["x", ["x"]],
    ),
    "list": Row(
        list[int],
        {"5": [5], ("5", "6"): [5, 6]},
        [([5, 6.0], [5, 6]), ([], [])],
        ["x"],
        [["x"], [None], {"a": 1}, 5],
    ),
    "list of dates": Row(
        list[date], {"2026-01-31": [A_DAY]}, [(["2026-01-31"], [A_DAY])], ["x"], [["x"]]
    ),
    "list of Decimals": Row(
        list[Decimal],
        {("1.50", "2"): [Decimal("1.50"), Decimal(2)]},
        [(["1.50"], [Decimal("1.50")])],
        ["x"],
        [["x"]],
    ),
    "set": Row(set[int], {("5", "5"): {5}}, [([5], {5})], ["x"], [["x"], 5]),
    "tuple": Row(tuple[int, ...], {("5", "6"): (5, 6)}, [([5, 6], (5, 6))], ["x"], [["x"], 5]),
    "optional list": Row(
        list[int] | None, {"5": [5]}, [([5], [5]), (None, None)], ["x"], [["x"], 5]
    ),
    "nested list": Row(
        list[list[int]], {}, [([[1], [2, 3]], [[1], [2, 3]])], (), [[["x"]], [1], 1]
    ),
    "dict": Row(dict[str, int], {}, [({"a": 1}, {"a": 1})], (), [{"a": "x"}, [1]]),
    "any mapping": Row(
        MutableMapping[str, date],
        {},
        [({"a": "2026-01-31"}, {"a": A_DAY})],
        (),
        [{"a": "x"}, [1]],
    ),
    "any mapping by number": Row(
        Mapping[int, int], {}, [({"5": 5}, {5: 5})], (), [{"x": 5}, {"5": 1.5}, [1]]
    ),
    "any sequence": Row(
        MutableSequence[int],
        {"5": [5], ("5", "6"): [5, 6]},
        [([5, 6.0], [5, 6]), ([], [])],
        ["x"],
        [["x"], {"a": 1}, 5],
    ),
    "any collection": Row(
        Collection[date],
        {"2026-01-31": [A_DAY]},
        [(["2026-01-31"], [A_DAY])],
        ["x"],
        [["x"]],
        of_pydantic=Sequence[date],
    ),
    "any set": Row(
        Set[int], {("5", "5"): {5}}, [([5], {5})], ["x"], [["x"], 5], of_pydantic=set[int]
    ),
    "dict by number": Row(
        dict[int, date],
        {},
        [({"5": "2026-01-31"}, {5: A_DAY})],
        (),
        [{"x": "2026-01-31"}, {"5": 1.5}],
    ),
    "named tuple": Row(
        Pair,
        {},
        [([5, "2026-01-31"], Pair(5, A_DAY))],
        (),
        [["x", "2026-01-31"], [5, "x"], 5, [], [5], [5, "2026-01-31", 1]],
        others=[(["5", "2026-01-31"], Pair(5, A_DAY))],
        is_parameter=False,
    ),
    "list of lists of Enums": Row(
        list[list[Size]],
        {},
        [([["LARGE"], []], [[Size.LARGE], []])],
        (),
        [[["x"]], ["LARGE"]],
    ),
    "dict of lists": Row(
        dict[str, list[date | None]],
        {},
        [({"a": ["2026-01-31", None]}, {"a": [A_DAY, None]})],
        (),
        [{"a": ["x"]}, {"a": None}],
    ),
    "limited int": Row(
        Annotated[int, Meta(ge=1)],
        {"5": 5},
        [(5, 5)],
        ["0", "x"],
        [0, "x"],
        of_pydantic=Annotated[int, pydantic.Field(ge=1)],
    ),
    "limited str": Row(
        Annotated[str, Meta(min_length=2, pattern="^a")],
        {"ab": "ab"},
        [("ab", "ab")],
        ["a", "ba"],
        ["a", 5],
        of_pydantic=Annotated[str, pydantic.Field(min_length=2, pattern="^a")],
    ),
    "limited list": Row(
        Annotated[list[Annotated[int, Meta(ge=1)]], Meta(max_length=2)],
        {("1", "2"): [1, 2]},
        [([1, 2], [1, 2])],
        ["0"],
        [[1, 2, 3], [0]],
        of_pydantic=Annotated[
            list[Annotated[int, pydantic.Field(ge=1)]], pydantic.Field(max_length=2)
        ],
    ),
    "unset": Row(
        int | UnsetType,
        {"5": 5},
        [(5, 5)],
        ["x"],
        ["x", None],
        of_pydantic=or_missing(int),
    ),
    "list or unset": Row(
        list[str] | UnsetType,
        {"a": ["a"], ("a", "b"): ["a", "b"]},
        [(["a"], ["a"]), ([], [])],
        (),
        [5, None],
        of_pydantic=or_missing(list[str]),
    ),
    "bool or unset": Row(
        bool | UnsetType,
        {"on": True, "": False},
        [(True, True)],
        ["x"],
        ["x", None],
        of_pydantic=or_missing(bool),
    ),
}


# -- the classes -----------------------------------------------------------------------------------


def a_typed_dict(hint: Any) -> Any:
    made: Any = TypedDict
    return made("ATypedDict", {"x": hint})


def a_list(element: Any) -> Any:
    return list[element]


KINDS: dict[str, Callable[[Any], Any]] = {
    "dataclass": lambda hint: make_dataclass("ADataclass", [("x", hint)]),
    "TypedDict": a_typed_dict,
    "Struct": lambda hint: msgspec.defstruct("AStruct", [("x", hint)]),
    "attrs": lambda hint: attrs.make_class("AnAttrs", {"x": attrs.field(type=hint)}),
    "pydantic": lambda hint: pydantic.create_model(
        "AModel", __config__={"arbitrary_types_allowed": True}, x=(hint, ...)
    ),
    "list in dataclass": lambda hint: make_dataclass(
        "Outer",
        [("inner", a_list(make_dataclass("Inner", [("x", hint)])))],
    ),
}


def inside(made: Any) -> object:
    """Return the value in an object of one of the kinds."""
    if hasattr(made, "inner"):
        (made,) = made.inner
    return made["x"] if isinstance(made, dict) else made.x


JSON = "application/json"


# -- the places ------------------------------------------------------------------------------------

Sent = tuple[int, bytes]


class Site:
    """An application with a handler for each place of one annotation."""

    def __init__(self, row: Row) -> None:
        self.app = App(encoders=ENCODERS, decoders=DECODERS, errors="json", secret_key="k" * 32)
        self.row, self.seen = row, list[object]()
        self.classes: dict[str, Any] = {}

    def add(self, path: str, hint: Any, result: Any = None) -> None:
        def handler(x: Any) -> Any:
            self.seen.append(x)
            return x if result is not None else None

        handler.__annotations__ = {"x": hint}
        if result is not None:
            handler.__annotations__["return"] = result
        name = path.split("/")[1]
        self.app.route(path, methods=["GET", "POST"], name=name)(handler)

    def send(
        self,
        path: str,
        query: str = "",
        body: bytes | None = None,
        kind: str = "application/x-www-form-urlencoded",
        **headers: str,
    ) -> Sent:
        environ: dict[str, Any] = {
            "REQUEST_METHOD": "GET" if body is None else "POST",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "SERVER_NAME": "test",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "CONTENT_LENGTH": str(len(body or b"")),
            "wsgi.input": io.BytesIO(body or b""),
            "wsgi.errors": io.StringIO(),
            "wsgi.url_scheme": "http",
            **headers,
        }
        if body is not None:
            environ["CONTENT_TYPE"] = kind
        status: list[int] = []

        def start(line: str, *_: object) -> None:
            status.append(int(line[:3]))

        self.seen.clear()
        found: Any = self.app(environ, start)
        content = b"".join(found)
        getattr(found, "close", lambda: None)()
        return status[0], content

    def json(self, path: str, document: object) -> Sent:
        return self.send(path, "", json.dumps(document).encode(), JSON)


# -- reading ---------------------------------------------------------------------------------------

REFUSED = "refused"
Unpack = Callable[[Any], object]


def as_it_is(made: object) -> object:
    return made


def outcome(site: Site, response: Sent, of: Unpack = as_it_is) -> object:
    status, _ = response
    if status == 200:
        (made,) = site.seen
        return of(made)
    return REFUSED if status == 400 else status


Reads = Callable[[Sequence[str]], object]
# a place, what is sent, what it means, and what is read
Reading = tuple[str, object, object, object]


def text_places(site: Site) -> Iterator[tuple[str, Reads]]:
    """Yield the places that contain text, each with a function that reads some texts there."""

    def pairs(name: str, texts: Sequence[str]) -> str:
        return urlencode([(name, one) for one in texts])

    def query(path: str, name: str, of: Unpack = as_it_is) -> Reads:
        return lambda texts: outcome(site, site.send(path, pairs(name, texts)), of)

    def form(path: str, name: str, of: Unpack = as_it_is) -> Reads:
        return lambda texts: outcome(site, site.send(path, "", pairs(name, texts).encode()), of)

    yield "path", lambda texts: outcome(site, site.send(f"/path/{texts[0]}"))
    yield "query", query("/plain", "x")
    yield "query by name", query("/named", "from")
    yield "header", lambda texts: outcome(site, site.send("/header", HTTP_X_A=", ".join(texts)))
    yield "cookie", lambda texts: outcome(site, site.send("/cookie", HTTP_COOKIE=f"x={texts[0]}"))
    yield "form", form("/plain", "x")
    yield "form by name", form("/field", "from")
    for kind in site.classes:
        yield f"{kind}, form", form(path_of(kind), "inner[0].x" if " " in kind else "x", inside)
        if " " not in kind:
            yield f"{kind}, query", query(f"{path_of(kind)}-query", "x", inside)


def json_places(site: Site) -> Iterator[tuple[str, Callable[[object], object]]]:
    """Yield the places that contain JSON, each with a function that reads a value there."""

    def body(kind: str) -> Callable[[object], object]:
        return lambda one: outcome(site, site.json(path_of(kind), whole_of(kind, one)), inside)

    if site.row.is_parameter:
        yield "JSON", lambda one: outcome(site, site.json("/plain", {"x": one}))
        yield "whole JSON", lambda one: outcome(site, site.json("/whole", one))
    for kind in site.classes:
        yield f"{kind}, JSON", body(kind)


def links(site: Site) -> Iterator[tuple[str, Callable[[object], str], Unpack]]:
    """Yield the kinds of links, each with the function that writes one to a value, and the function
    that returns the value from what the handler gets.
    """

    def link(name: str, make: Unpack = as_it_is) -> Callable[[object], str]:
        return lambda value: site.app.url_for(name, x=make(value))

    yield "link, path", link("path"), as_it_is
    yield "link, query", link("plain"), as_it_is
    yield "link, query by name", link("named"), as_it_is
    for kind, made in site.classes.items():
        if " " not in kind:
            yield f"link, {kind}", link(f"{kind}-query", partial(with_value, made)), inside


def path_of(kind: str) -> str:
    return f"/{kind.replace(' ', '-')}"


def whole_of(kind: str, sent: object) -> object:
    return {"inner": [{"x": sent}]} if " " in kind else {"x": sent}


def with_value(kind: Any, value: object) -> object:
    return kind(x=value)


def site_for(row: Row) -> Site:
    site = Site(row)
    if row.is_parameter:
        site.add("/plain", row.hint)
        site.add("/whole", Annotated[row.hint, Body()])
    if row.texts:
        site.add("/path/<x>", row.hint)
        site.add("/named", Annotated[row.hint, Query("from")])
        site.add("/field", Annotated[row.hint, Form("from")])
        site.add("/header", Annotated[row.hint, Header("X-A")])
        site.add("/cookie", Annotated[row.hint, Cookie()])
    for kind, make in KINDS.items():
        hint = row.hint if kind != "pydantic" or row.of_pydantic is None else row.of_pydantic
        made = site.classes[kind] = make(hint)
        path = path_of(kind)
        site.add(path, made, made)
        if row.texts and " " not in kind:
            site.add(f"{path}-query", Annotated[made, Query()])
    return site


def readings(site: Site, row: Row) -> Iterator[Reading]:
    """Yield what the texts and the JSON of a row are read as."""
    for place, read in text_places(site) if row.texts else ():
        wrong = ((one, REFUSED) for one in row.wrong)
        for texts, value in (*row.texts.items(), *wrong):
            given = (texts,) if isinstance(texts, str) else texts
            is_one = place in ("path", "cookie") and len(given) > 1
            if not is_one and not (place == "path" and (not given[0] or "/" in given[0])):
                yield place, given, value, read(given)
    for place, ask in json_places(site):
        wrong_documents = [(one, REFUSED) for one in row.wrong_documents]
        for document, value in (*row.documents, *row.others, *wrong_documents):
            yield place, document, value, ask(document)
        for sent, value in strings(row):
            yield f"{place} of strings", sent, value, ask(sent)


def strings(row: Row) -> Iterator[tuple[object, object]]:
    """Yield each text as JSON, with its value. "" is None in a form only."""
    for texts, value in () if row.keeps_strings else row.texts.items():
        is_list = isinstance(value, list | set | tuple)
        if texts and is_list is not isinstance(texts, str):
            yield [*texts] if is_list else texts, value


def linked(site: Site, row: Row) -> Iterator[Reading]:
    """Yield what a link to each value is read as."""
    for place, write, of in links(site) if row.texts else ():
        for value in row.texts.values():
            is_no_segment = value is None or isinstance(value, list | set | tuple | Path | ZoneInfo)
            if place == "link, path" and is_no_segment:
                continue
            try:
                path, _, query = write(value).partition("?")
            except ValueError:
                yield place, value, value, REFUSED
            else:
                yield place, value, value, outcome(site, site.send(unquote(path), query), of)


def results(site: Site, row: Row) -> Iterator[Reading]:
    """Yield the results for each value, and whether the document describes what is read and
    sent.
    """
    document = site.app.openapi()
    for kind in site.classes:
        path = path_of(kind)
        operation = document["paths"][path]["post"]
        body = operation["requestBody"]["content"][JSON]["schema"]
        answer = operation["responses"]["200"]["content"][JSON]["schema"]
        for number, (sent, value) in enumerate(row.documents):
            whole = whole_of(kind, sent)
            yield f"{kind}, document", sent, True, fits(whole, body, document)
            _, content = site.json(path, whole)
            result = json.loads(content)
            if number == 0:
                yield f"{kind}, result", value, whole, result
            yield f"{kind}, document of the result", value, True, fits(result, answer, document)
            again = outcome(site, site.json(path, result), inside)
            yield f"{kind}, result as a body", value, value, again
        for sent in row.wrong_documents:
            whole = whole_of(kind, sent)
            # JSON Schema leaves open which strings are dates
            if '"' not in json.dumps(sent):
                yield f"{kind}, document", sent, False, fits(whole, body, document)


def fits(value: object, schema: Any, document: Any) -> bool:
    whole = {**schema, "components": document["components"]}
    checker = jsonschema.Draft202012Validator(whole)
    return bool(checker.is_valid(value))


@pytest.mark.parametrize("name", ROWS)
def test_a_value_is_one_value_everywhere(name: str) -> None:
    row = ROWS[name]
    site = site_for(row)
    others = [
        (place, sent, expected, found)
        for place, sent, expected, found in chain(
            readings(site, row), linked(site, row), results(site, row)
        )
        if type(found) is not type(expected) or found != expected
    ]
    reasons = EXCEPTIONS.get(name, {})
    unexpected = [one for one in others if one[0] not in reasons]
    assert not unexpected
    assert {one[0] for one in others} == reasons.keys()


def of_pydantic(reason: str, *places: str) -> Mapping[str, str]:
    return {f"pydantic, {place}": reason for place in places}


LAX = "pydantic takes more texts"
ONE = "pydantic takes true as 1"
ORDER = "pydantic takes the first type of a union"
UNION = "pydantic takes a text as a str if a union has one"
FORM = "pydantic writes it otherwise, which it also reads"
TEXT = "a class's schema is one for bodies and results, whose Decimals are strings"
BYTES = "pydantic's bytes are the text's own, unless the model says otherwise"
VALUE = "pydantic writes and describes an Enum's value, whatever encoder there is"
EXCEPTIONS: Mapping[str, Mapping[str, str]] = {
    "int": {**of_pydantic(LAX, "form", "query"), **of_pydantic(ONE, "JSON")},
    "float": {**of_pydantic(LAX, "form", "query"), **of_pydantic(ONE, "JSON")},
    "Decimal": {
        **of_pydantic(LAX, "form", "query"),
        **{f"{kind}, document": TEXT for kind in KINDS if kind != "pydantic"},
    },
    "UUID": of_pydantic(LAX, "form", "query"),
    "datetime": of_pydantic(FORM, "result"),
    "timedelta": {
        **of_pydantic(LAX, "form", "query", "JSON"),
        **of_pydantic(FORM, "result"),
    },
    "bytes": {
        **of_pydantic(BYTES, "form", "query", "JSON", "JSON of strings", "result as a body"),
        "link, pydantic": BYTES,
    },
    "Enum with an encoder": of_pydantic(VALUE, "form", "query", "JSON", "document", "result"),
    "list of an Enum with an encoder": of_pydantic(
        VALUE, "form", "query", "JSON", "document", "result"
    ),
    "dict of an Enum with an encoder": of_pydantic(VALUE, "JSON", "document", "result"),
    "optional Enum with an encoder": of_pydantic(
        VALUE, "form", "query", "JSON", "document", "result"
    ),
    "list of lists of Enums": of_pydantic(VALUE, "document", "result"),
    "optional int": of_pydantic(ONE, "JSON"),
    "int or str": {
        **of_pydantic(UNION, "form", "query"),
        **of_pydantic(ONE, "JSON"),
        "link, pydantic": UNION,
    },
    "int or float": of_pydantic(ONE, "JSON"),
    "float or int": {
        **of_pydantic(ONE, "JSON"),
        **of_pydantic(ORDER, "form", "query", "JSON of strings"),
        "link, pydantic": ORDER,
    },
    "limited str or int": {
        **of_pydantic(UNION, "form", "query"),
        **of_pydantic(ONE, "JSON"),
        "link, pydantic": UNION,
    },
    "Enum of numbers or str": of_pydantic(ONE, "JSON"),
}


# -- names -----------------------------------------------------------------------------------------


class Camel(msgspec.Struct, rename="camel"):
    pie_name: str
    best_day: date | None = A_DAY
    sizes: list[Size] = []


class Kebab(pydantic.BaseModel):
    pie_name: str = pydantic.Field(alias="pie-name")
    best_day: date | None = pydantic.Field(A_DAY, alias="best-day")
    sizes: list[Size] = pydantic.Field([], alias="sizes-")


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (Camel, ["pieName", "bestDay", "sizes"]),
        (Kebab, ["pie-name", "best-day", "sizes-"]),
    ],
)
def test_a_field_has_one_name_everywhere(kind: Any, names: Sequence[str]) -> None:
    site = Site(ROWS["str"])
    site.add("/pie", kind, kind)
    site.add("/search", Annotated[kind, Query()])
    values = ["plum", None, [Size.LARGE, Size.SMALL]]
    made = kind(
        **dict(zip(names if kind is Kebab else kind.__struct_fields__, values, strict=True))
    )

    path, _, query = site.app.url_for("search", x=made).partition("?")
    assert [name for name, _ in parse_qsl(query, keep_blank_values=True)] == [*names, names[2]]
    assert outcome(site, site.send(path, query)) == made
    assert outcome(site, site.send("/pie", "", query.encode())) == made
    status, content = site.json("/pie", {names[0]: "plum", names[1]: None, names[2]: ["LARGE"]})
    assert (status, [*json.loads(content)]) == (200, names)
    document = site.app.openapi()
    body = document["paths"]["/pie"]["post"]["requestBody"]["content"][JSON]["schema"]
    described = document["components"]["schemas"][body["$ref"].rpartition("/")[2]]
    assert [*described["properties"]] == names


class One(msgspec.Struct, tag=1):
    count: int
    is_sold: bool


class Two(msgspec.Struct, tag=2):
    count: str


class OneModel(pydantic.BaseModel):
    type: Literal[1]
    count: int
    is_sold: bool


class TwoModel(pydantic.BaseModel):
    type: Literal[2]
    count: str


@pytest.mark.parametrize(
    ("kind", "one", "two"),
    [
        (One | Two, One(5, False), Two("5")),
        (
            Annotated[OneModel | TwoModel, pydantic.Field(discriminator="type")],
            OneModel(type=1, count=5, is_sold=False),
            TwoModel(type=2, count="5"),
        ),
    ],
)
def test_a_number_as_a_tag_selects_a_class(kind: Any, one: object, two: object) -> None:
    """Of two classes, each text is read as the field of the selected one."""
    site = Site(ROWS["str"])
    site.add("/pie", kind)
    site.add("/search", Annotated[kind, Query()])
    for made, query in ((one, "type=1&count=5"), (two, "type=2&count=5")):
        assert outcome(site, site.send("/pie", "", query.encode())) == made
        path, _, query = site.app.url_for("search", x=made).partition("?")
        assert outcome(site, site.send(path, query)) == made
        sent = dict(parse_qsl(query))
        assert outcome(site, site.json("/pie", sent)) == made
    assert outcome(site, site.send("/pie", "", b"type=3&count=5")) == REFUSED


@dataclass
class Search:
    words: str = ""


def test_a_link_fills_the_field_that_is_named_like_its_parameter() -> None:
    app = App()

    @app.get("/one")
    def one(words: Annotated[Search, Query()]) -> None: ...

    @app.get("/two")
    def two(search: Annotated[Search, Query()]) -> None: ...

    assert app.url_for("one", words="a b") == "/one?words=a+b"
    assert app.url_for("one", words=Search("a b")) == "/one?words=a+b"
    assert app.url_for("two", words="a b") == "/two?words=a+b"
    with pytest.raises(ValueError, match=r"the parameter 'search' takes a Search, not a str"):
        app.url_for("two", search="a")


class Picture(pydantic.BaseModel):
    data: bytes = b""


def test_a_link_says_why_an_object_of_the_right_class_has_no_texts() -> None:
    app = App()

    @app.get("/")
    def page(picture: Annotated[Picture, Query()]) -> None: ...

    assert app.url_for("page", picture=Picture(data=b"a")) == "/?data=a"
    with pytest.raises(ValueError, match=r"url_for\('page'\): 'utf-8' codec can't decode"):
        app.url_for("page", picture=Picture(data=b"\xff"))


def test_no_link_fills_what_binding_reads_elsewhere() -> None:
    site = Site(ROWS["str"])
    site.add("/header", Annotated[str, Header("X-A")])
    site.add("/field", Annotated[str, Form()])
    site.add("/whole", Annotated[dict[str, int], Body()])
    site.add("/search", Annotated[Outer, Query()])
    for name, value in (("header", "a"), ("field", "a"), ("whole", {"a": 1}), ("search", OUTER)):
        with pytest.raises(ValueError, match=rf"url_for\('{name}'\): no link can "):
            site.app.url_for(name, x=value)
        assert site.app.url_for(name, x=None) == f"/{name}"
    assert site.app.url_for("header", page=2) == "/header?page=2"


Outer = make_dataclass("Outer", [("x", One)])
OUTER = Outer(One(5, False))


@dataclass
class Base:
    number: Number
    levels: tuple[Level, ...]


@dataclass
class Derived(Base):
    secret: int


class Entry(TypedDict):
    bases: list[Base]


def test_a_result_may_have_members_of_an_enumeration_of_numbers() -> None:
    """In a dict, and in an object of a derived class."""

    def index() -> Entry:
        return {"bases": [Derived(Number.ONE, (Level.HIGH,), 5)]}

    site = Site(ROWS["str"])
    site.app.get("/")(index)
    assert site.send("/") == (200, b'{"bases":[{"number":1,"levels":[2]}]}')


class Permission(enum.IntFlag):  # whose boundary is KEEP
    READ = 1
    WRITE = 2


def test_a_flag_that_keeps_unknown_bits_has_only_its_members() -> None:
    site = Site(ROWS["str"])
    site.add("/plain", Permission)
    assert outcome(site, site.send("/plain", "x=1")) is Permission.READ
    for text in ("3", "8"):
        assert outcome(site, site.send("/plain", f"x={text}")) == REFUSED


@pytest.mark.parametrize("hint", [bool, list[int], int | list[int]])
def test_what_a_form_does_not_send_is_unset(hint: Any) -> None:
    """As a parameter and as a field of a class, so that a PATCH keeps the value."""
    site = Site(ROWS["str"])
    kind = msgspec.defstruct("Change", [("x", hint | UnsetType, msgspec.UNSET)])
    site.add("/class", kind)

    def handler(x: Any = msgspec.UNSET) -> None:
        site.seen.append(x)

    handler.__annotations__["x"] = hint | UnsetType
    site.app.post("/plain")(handler)
    assert outcome(site, site.send("/plain", "", b"y=1")) is msgspec.UNSET
    assert outcome(site, site.send("/class", "", b"y=1"), inside) is msgspec.UNSET


class Numbers(pydantic.RootModel[list[Literal[1, 2]]]):
    pass


def test_a_number_in_a_root_model_may_be_a_text() -> None:
    site = Site(ROWS["str"])
    site.add("/plain", Numbers)
    assert outcome(site, site.json("/plain", ["1", 2])) == Numbers([1, 2])
    assert outcome(site, site.json("/plain", ["1", 3])) == REFUSED


class StrictModel(pydantic.BaseModel, strict=True):
    x: Literal[1, 2]


def test_a_strict_model_takes_no_text_for_a_number() -> None:
    site = Site(ROWS["str"])
    site.add("/plain", StrictModel)
    assert outcome(site, site.json("/plain", {"x": 1})) == StrictModel(x=1)
    assert outcome(site, site.json("/plain", {"x": "1"})) == REFUSED


def test_a_link_has_the_items_of_a_list_that_are_values() -> None:
    site = Site(ROWS["str"])
    site.add("/plain", list[int])
    assert site.app.url_for("plain", x=[1, None, 2]) == "/plain?x=1&x=2"
    site.add("/json", pydantic.Json[list[int]])
    path, _, query = site.app.url_for("json", x=[1, 2]).partition("?")
    assert outcome(site, site.send(path, query)) == [1, 2]
    site.add("/either", int | dict[str, int])
    with pytest.raises(ValueError, match="no link can fill the parameter 'x'"):
        site.app.url_for("either", x={"a": 1})


@dataclass
class Raw:
    content: bytearray = field(default_factory=bytearray)
    more: dict[str, int] = field(default_factory=dict)
    tags: list[str] | None = field(default_factory=list)


def test_a_link_has_the_texts_of_collections_that_are_read() -> None:
    """Bytes are one text, and no text is None for a list."""
    site = Site(ROWS["str"])
    site.add("/search", Annotated[Raw, Query()])
    for raw in (Raw(bytearray(b"ab"), tags=["a", "b"]), Raw(bytearray(b"\xfb"))):
        path, _, query = site.app.url_for("search", x=raw).partition("?")
        assert outcome(site, site.send(path, query)) == raw
    assert (
        site.app.url_for("search", x=Raw(bytearray(b"ab"), tags=None)) == "/search?content=YWI%3D"
    )
    with pytest.raises(ValueError, match="no link can contain a dict"):
        site.app.url_for("search", x=Raw(more={"a": 1}))


@pytest.mark.parametrize(
    "number", [float("nan"), float("-inf"), Decimal("Infinity"), Decimal("sNaN")]
)
def test_no_link_has_a_number_that_is_not_finite(number: object) -> None:
    site = Site(ROWS["str"])
    site.add("/plain", float)
    with pytest.raises(ValueError, match="no link can contain"):
        site.app.url_for("plain", x=number)


def test_links_have_texts_that_look_like_such_a_number() -> None:
    site = Site(ROWS["str"])
    for hint, value in ((str, "nan"), (Path, Path("nan")), (bytes, b64decode("Infinity"))):
        path = f"/{hint.__name__}"
        site.add(path, hint)
        query = site.app.url_for(path[1:], x=value).partition("?")[2]
        assert outcome(site, site.send(path, query)) == value


def test_no_link_has_the_stars_of_a_secret() -> None:
    site = Site(ROWS["str"])
    site.add("/plain", pydantic.SecretStr)
    with pytest.raises(ValueError, match="no link can contain a SecretStr"):
        site.app.url_for("plain", x=pydantic.SecretStr("pie"))


class Answer(enum.Enum):
    NONE = None
    YES = "yes"


def test_null_may_be_a_member_of_an_enumeration() -> None:
    site = Site(ROWS["str"])
    site.add("/plain", Answer)
    for sent, read in ((None, Answer.NONE), ("yes", Answer.YES), (0, REFUSED)):
        assert outcome(site, site.json("/plain", {"x": sent})) == read


class TwoNames(pydantic.BaseModel):
    number: int = pydantic.Field(5, validation_alias="read", serialization_alias="written")
    other: int | None = pydantic.Field(6, alias="both")


def test_a_link_has_the_names_that_are_read() -> None:
    site = Site(ROWS["str"])
    site.add("/search", Annotated[TwoNames, Query()])
    assert (
        site.app.url_for("search", x=TwoNames.model_validate({"read": 1, "both": 2}))
        == "/search?read=1&both=2"
    )
    assert (
        site.app.url_for("search", x=TwoNames.model_validate({"read": 1, "both": None}))
        == "/search?read=1&both="
    )


Tenant = NewType("Tenant", int)


def test_a_link_may_have_the_names_of_python() -> None:
    """For a field of the query, by itself or in a dict, and for a provider's parameter."""
    site = Site(ROWS["str"])
    site.add("/search", Annotated[Camel, Query()])

    @site.app.provides(Tenant)
    def tenant(tenant_id: Annotated[int, Query("tenant")], limit=5) -> int:  # type: ignore[no-untyped-def]
        return tenant_id

    @site.app.get("/pies")
    def pies(tenant: Tenant) -> None: ...

    link = site.app.url_for
    assert link("search", pie_name="plum", sizes=[Size.LARGE]) == "/search?pieName=plum&sizes=LARGE"
    assert link("search", pieName="plum", page=2) == "/search?pieName=plum&page=2"
    assert link("search", x={"pie_name": "plum", "page": 2}) == "/search?pieName=plum&page=2"
    assert link("pies", tenant_id=3) == link("pies", tenant=3) == "/pies?tenant=3"
    assert link("pies", limit=3) == "/pies?limit=3"  # no client sets it
    with pytest.raises(ValueError, match="no link can fill the parameter 'tenant_id' with True"):
        link("pies", tenant_id=True)


class Account(pydantic.BaseModel, extra="forbid"):
    name: str = pydantic.Field("ann", alias="userName")
    key: pydantic.SecretStr = pydantic.SecretStr("none")
    note: str = pydantic.Field("", exclude=True)
    sizes: pydantic.Json[list[int]] = []

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def initial(self) -> str:
        return self.name[0]


def test_a_link_has_only_what_is_read_from_it() -> None:
    site = Site(ROWS["str"])
    site.add("/search", Annotated[Account, Query()])
    account = Account.model_validate({"userName": "bob", "sizes": "[1, 2]"})
    path, _, query = site.app.url_for("search", x=account).partition("?")
    assert parse_qsl(query) == [("userName", "bob"), ("sizes", "[1,2]")]
    assert outcome(site, site.send(path, query)) == account
    for name, value in (("key", pydantic.SecretStr("a")), ("note", "a")):
        with pytest.raises(ValueError, match=f"no link can contain '{name}' of a Account"):
            site.app.url_for("search", x=account.model_copy(update={name: value}))


@dataclass
class Choice:
    tags: list[str]
    more: dict[str, int] = field(default_factory=dict)


def test_no_link_has_an_empty_collection_that_is_read_otherwise() -> None:
    site = Site(ROWS["str"])
    site.add("/search", Annotated[Choice, Query()])

    @site.app.get("/tags")
    def tags(*, tags: list[str] = ["a"], others: list[str] = []) -> None: ...  # noqa: B006

    assert site.app.url_for("tags", others=[]) == "/tags"
    assert site.app.url_for("search", x=Choice(["a"])) == "/search?tags=a"
    with pytest.raises(ValueError, match="no link can contain the empty list of 'tags'"):
        site.app.url_for("tags", tags=[])
    with pytest.raises(ValueError, match="no link can contain the empty list of 'tags'"):
        site.app.url_for("search", x=Choice([]))


def test_a_reading_knows_few_annotations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readings_module, "_MOST_KNOWN", 2)
    reading = readings_module.Reading(OwnTypes({}, {}), is_pydantics=False)
    for _ in range(3):
        for hint in (list[int], dict[str, int], list[date]):
            assert reading.read(hint, ["5"], is_json=True) in ([5], ["5"])
    assert len(reading._known) <= 2


class Nested(pydantic.BaseModel):
    x: Literal[1, 2] = 1
    inner: Nested | None = None


class NestedStruct(msgspec.Struct):
    x: int = 1
    inner: NestedStruct | None = None


@pytest.mark.parametrize("kind", [Nested, NestedStruct])
def test_a_refused_document_may_have_many_levels(kind: Any) -> None:
    """Its values are then left as they are."""
    site = Site(ROWS["str"])
    site.add("/plain", kind)
    for levels, expected in ((10, 200), (600, 400)):
        sent = '{"x":"2","inner":' * levels + "null" + "}" * levels
        status, _ = site.send("/plain", "", sent.encode(), JSON)
        assert status == expected
