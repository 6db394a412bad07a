"""What text and JSON become for each annotation, and which errors
the client gets.
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, TypeVar, Union
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from msgspec import Meta
from pydantic import create_model

from micropie import App, SetupError, route
from micropie._core.binding.values.converters import ANYTHING, converter_for, simple_types
from micropie.extensions import TypeInfo
from tests.support.clients import MakeClient
from tests.support.errors import said

T = TypeVar("T")


class Color(enum.Enum):
    RED = "red"
    GREEN = "green"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Level(str, enum.Enum):
    LOW = "low"


ID = "12345678-1234-5678-1234-567812345678"
NOON = datetime(2026, 1, 31, 12, 0)

FROM_TEXT: list[tuple[Any, str, object]] = [
    (str, "", ""),
    (str, " x ", " x "),
    (int, "42", 42),
    (int, "-7", -7),
    (int, "+7", 7),
    (int, "007", 7),
    (int, "9" * 100, int("9" * 100)),
    (float, "1.5", 1.5),
    (float, "-2", -2.0),
    (float, ".5", 0.5),
    (float, "5.", 5.0),
    (float, "1e3", 1000.0),
    (bool, "true", True),
    (bool, "True", True),
    (bool, "1", True),
    (bool, "on", True),
    (bool, "yes", True),
    (bool, "false", False),
    (bool, "FALSE", False),
    (bool, "0", False),
    (bool, "off", False),
    (bool, "no", False),
    (Decimal, "1.10", Decimal("1.10")),
    (Decimal, "-1e3", Decimal("-1e3")),
    (Decimal, "1e308", Decimal("1e308")),
    (Decimal, "-1.5e-307", Decimal("-1.5e-307")),
    (Decimal, "9" * 309, Decimal("9" * 309)),
    (UUID, ID, UUID(ID)),
    (UUID, ID.upper(), UUID(ID)),
    (UUID, ID.replace("-", ""), UUID(ID)),
    (date, "2026-01-31", date(2026, 1, 31)),
    (time, "13:45", time(13, 45)),
    (time, "T134501", time(13, 45, 1)),
    (time, "13:45:01.123456789Z", time(13, 45, 1, 123456, UTC)),
    (date, "20260131", date(2026, 1, 31)),
    (date, "2026-W05-6", date(2026, 1, 31)),
    (datetime, "20260131T120000,5", NOON.replace(microsecond=500000)),
    (datetime, "2026-W05-6T12", NOON),
    (datetime, "2026-01-31", NOON.replace(hour=0)),
    (datetime, "2026-01-31T12:00:00", NOON),
    (datetime, "2026-01-31 12:00", NOON),
    (datetime, "2026-01-31T12:00:00Z", NOON.replace(tzinfo=UTC)),
    (datetime, "2026-01-31T12:00:00+02:00", NOON.replace(tzinfo=timezone(timedelta(hours=2)))),
    (timedelta, "PT1H30M", timedelta(hours=1, minutes=30)),
    (
        timedelta,
        "P1W2DT3H4M5.000006S",
        timedelta(weeks=1, days=2, hours=3, minutes=4, seconds=5, microseconds=6),
    ),
    (timedelta, "-PT0.5S", timedelta(seconds=-0.5)),
    (timedelta, "P0D", timedelta(0)),
    (bytes, "YWI/", b"ab?"),
    (bytes, "_-8=", b"\xff\xef"),
    (Path, "a/b", Path("a/b")),
    (IPv4Address, "192.0.2.1", IPv4Address("192.0.2.1")),
    (IPv6Address, "::1", IPv6Address("::1")),
    (IPv4Address | IPv6Address, "::1", IPv6Address("::1")),
    (IPv4Network, "192.0.2.0/24", IPv4Network("192.0.2.0/24")),
    (Color, "red", Color.RED),
    (Size, "2", Size.LARGE),
    (Level, "low", Level.LOW),
    (Literal["a", "b"], "b", "b"),
    (Literal[1, 2], "2", 2),
    (Literal["a", 1], "1", 1),
    (Literal[True], "true", True),
    (Literal[True], "True", True),
    (Literal[True, "auto"], "on", True),
    (Literal[True, "auto"], "auto", "auto"),
    (Literal[False, 1, True], "1", 1),
    (Literal[False, 1, True], "no", False),
    (Optional[int], "5", 5),
    (Optional[int], "", None),
    (int | None, "5", 5),
    (int | None, "", None),
    (Optional[str], "", None),
    (Optional[Any], "", None),
    (str | int | None, "", None),
    (Optional[Color], "green", Color.GREEN),
    (Optional[Color], "", None),
    (Optional[date], "2026-01-31", date(2026, 1, 31)),
    (Optional[Literal["a"]], "a", "a"),
    (Union[int, str], "5", 5),
    (Union[str, int], "5", 5),
    (Union[str, int], "x", "x"),
    (int | float | None, "1.5", 1.5),
    (int | float | None, "", None),
    (Annotated[int, "positive"], "5", 5),
    (Optional[Annotated[int, "positive"]], "5", 5),
    (Any, "x", "x"),
    (object, "x", "x"),
    (T, "x", "x"),
]

WRONG_TEXT: list[tuple[Any, list[str], str]] = [
    (
        int,
        ["", "x", "1.5", "1_0", " 1", "1 ", "\u0663", "1e3", "0x1", "--1", "9" * 5000],
        "a whole number",
    ),
    (
        int,
        ["１", "1\n", "+", "\u00b2", "1\u00a0", "nan", "inf", "0b1", "1.0", "1,0"],
        "a whole number",
    ),
    (
        float,
        ["", "x", "nan", "inf", "-Infinity", "1_0", " 1", "\u0663", ".", "1e999", "0x1p3"],
        "a number",
    ),
    (float, ["１.5", "1.5\n", "1e", "1e+", "1.2.3", "1,5", "e5", "0" * 5000], "a number"),
    (
        bool,
        ["x", "2", "-1", "truee", "none", " true", "on\n", "１", "ｏｎ", "tr\u00fce", "nan"],
        "true or false",
    ),
    (
        Decimal,
        ["", "x", "NaN", "sNaN", "Infinity", "1_0", "1e9999999999999999999"],
        "a decimal number",
    ),
    (
        Decimal,
        [" 1", "1\n", "１", "-inf", "nan123", "1e309", "1e-309", "1e300000", "0e300000"],
        "a decimal number",
    ),
    (Decimal, ["9" * 310, "0." + "1" * 309, "1" + "0" * 309, "0" * 5000], "a decimal number"),
    (UUID, ["", "x", ID[:-1], ID + "0"], "a UUID"),
    (
        UUID,
        ["+234" + ID[4:], "0x34" + ID[4:], "１" + ID[1:], "{" + ID + "}", "urn:uuid:" + ID],
        "a UUID",
    ),
    (
        UUID,
        [
            " " + ID,
            ID + "\n",
            ID.replace("-", "_"),
            "-" + ID.replace("-", ""),
            ID.replace("-", "", 1),
        ],
        "a UUID",
    ),
    (
        date,
        ["", "31.01.2026", "2026-02-30", "2026-01-31T00:00:00", "0000-01-01", "10000-01-01"],
        "a date such as",
    ),
    (
        date,
        [" 2026-01-31", "2026-01-31\n", "２０２６-01-31", "2026_01_31", "+026-01-31", "nan"],
        "a date such as",
    ),
    (
        time,
        ["", "25:00", "noon", "20260131", "13:45:00.", "13:45:00.1234567890", "T", "13:45T"],
        "a time such as",
    ),
    (time, [" 13:45", "13:45\n", "１３:45", "13_45", "+3:45", "13:45\u00a0"], "a time such as"),
    (
        datetime,
        ["", "x", "2026-01-31T25:00:00", "2026-13-01T00:00:00", "1769860800"],
        "a date and time such as",
    ),
    (
        datetime,
        ["2026-01-31x12:00", "2026-01-31\u00e912:00", "2026-01-31\ud80012:00"],
        "a date and time such as",
    ),
    (
        datetime,
        ["2026-01-31T12:00 ", "2026-01-31  12:00", "２０２６-01-31T12:00", "2026-01-31T"],
        "a date and time",
    ),
    (
        datetime,
        ["1" * 14, "20260131112000", "2026-01-31T1111111111", "2026-01-31T12:00Z1"],
        "a date and time such as",
    ),
    (
        timedelta,
        ["", "P", "PT", "P1DT", "90", "P1Y", "1H", "PT1H ", "P١D", "P1.5D", "P" + "9" * 10 + "D"],
        "a duration",
    ),
    (
        timedelta,
        ["P999999999W", "-P999999999DT1S", "PT1e5S", "--PT1S", "p1d"],
        "a duration such as PT1H30M",
    ),
    (bytes, ["x", "YWI", "YW I=", "YWI=YWI=", "éééé"], "base64"),
    (Path, ["", "a\0b"], "a path"),
    (
        IPv4Address,
        ["", "::1", "192.0.2", "192.0.2.01", "192.0.2.1/24", "١.1.1.1"],
        "an IPv4 address",
    ),
    (IPv6Address, ["", "192.0.2.1", "::1%eth0", "::1%<b>", "::1%" + "x" * 5000], "an IPv6 address"),
    (IPv6Network, ["2001:db8::%<b>", "2001:db8::1/32", "x", "192.0.2.0/24"], "an IPv6 network"),
    (Color, ["", "RED", "blue"], "one of red, green"),
    (Size, ["", "3", "SMALL", "1.0"], "one of 1, 2"),
    (Literal["a", "b"], ["", "c", "A"], "one of a, b"),
    (Literal[1, 2], ["3", "one"], "one of 1, 2"),
    (Literal[True, "auto"], ["false", "", "x"], "one of True, auto"),
    (Optional[int], ["x", "none", "null"], "a whole number"),
    (int | float, ["x", ""], "a whole number or a number"),
]


def converted(annotation: Any, text: str) -> Any:
    return converter_for(annotation).from_text(text)


@pytest.mark.parametrize(("annotation", "given", "expected"), FROM_TEXT)
def test_text_is_converted_to_the_annotated_type(
    annotation: Any, given: str, expected: object
) -> None:
    value = converted(annotation, given)
    assert (value, type(value)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("kinds", "given", "expected"),
    [
        ((datetime, date), "2026-01-31", date(2026, 1, 31)),
        ((datetime, date), "2026-01-31T12:00", NOON),
        ((bool, int), "1", 1),
        ((bool, int), "true", True),
        ((float, int), "5", 5),
        ((Annotated[float, Meta(ge=1)], int), "5", 5),
        ((bytes, UUID), ID.replace("-", ""), UUID(ID)),
        ((str, UUID), ID, UUID(ID)),
        ((timedelta, time), "12:00", time(12)),
        ((IPv4Network, IPv4Address), "192.0.2.1", IPv4Address("192.0.2.1")),
        ((Path, IPv6Address), "::1", IPv6Address("::1")),
    ],
)
def test_the_order_of_a_union_does_not_change_what_a_text_means(
    kinds: tuple[Any, Any], given: str, expected: object
) -> None:
    for one in (kinds, kinds[::-1]):
        assert repr(converted(Union[one], given)) == repr(expected)


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        (datetime | date, "2026-01-31", date(2026, 1, 31)),
        (datetime | date, "2026-01-31T12:00", NOON),
        (bool | int, "1", 1),
    ],
)
def test_a_text_means_the_same_in_a_form_for_a_model(
    make_client: MakeClient, kind: Any, given: str, expected: object
) -> None:
    model = create_model("Given", value=(kind, ...))

    def page(given: Any) -> str:
        return repr(given.value)

    page.__annotations__["given"] = model
    app: Any = App()
    app.page = route()(page)
    assert make_client(app).post("/page", data={"value": given}).text == repr(expected)


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        (int | bytes, "1234", b"\xd7m\xf8"),
        (int | bytes, 5, 5),
        (int | date, "20260131", date(2026, 1, 31)),
        (int | date, "5", 5),
    ],
)
def test_a_string_of_json_becomes_a_number_only_if_it_has_no_other_meaning(
    kind: Any, given: object, expected: object
) -> None:
    assert repr(converter_for(kind).from_json(given)) == repr(expected)


@pytest.mark.parametrize(
    ("annotation", "given", "expected"),
    [(kind, text, expected) for kind, texts, expected in WRONG_TEXT for text in texts],
)
def test_invalid_text_raises_value_error(annotation: Any, given: str, expected: str) -> None:
    converter = converter_for(annotation)
    with pytest.raises(ValueError):  # noqa: PT011 - its text is not shown to anybody
        converter.from_text(given)
    assert converter.expected.startswith(expected)


FROM_JSON: list[tuple[Any, object, object]] = [
    (str, "x", "x"),
    (int, 5, 5),
    (int, "5", 5),
    (int, 10**30, 10**30),
    (float, 1.5, 1.5),
    (float, 2, 2.0),
    (float, "1.5", 1.5),
    (bool, True, True),
    (bool, "false", False),
    (Decimal, 1.1, Decimal("1.1")),
    (Decimal, 5, Decimal(5)),
    (Decimal, "1.10", Decimal("1.10")),
    (UUID, ID, UUID(ID)),
    (date, "2026-01-31", date(2026, 1, 31)),
    (datetime, "2026-01-31T12:00:00", NOON),
    (Color, "red", Color.RED),
    (Size, 2, Size.LARGE),
    (Size, 2.0, Size.LARGE),
    (Size, "2", Size.LARGE),
    (Literal["a", 1], 1, 1),
    (Literal[True], True, True),
    (Optional[int], None, None),
    (Optional[int], 5, 5),
    (Optional[str], None, None),
    (Union[int, str], "x", "x"),
    (Union[int, str], 5, 5),
    (list, [1, "a", None], [1, "a", None]),
    (int, 5.0, 5),  # in JSON they are the same number
    (int, 2.0**53 - 1, 2**53 - 1),
    (list[int], [1, "2", 3.0], [1, 2, 3]),
    (list[list[int]], [[1], []], [[1], []]),
    (Optional[list[int]], None, None),
    (tuple[int, ...], [1, 2], (1, 2)),
    (set[int], [1, 1], {1}),
    (frozenset[str], ["a"], frozenset({"a"})),
    (dict, {"a": 1}, {"a": 1}),
    (dict[str, Any], {"a": [1]}, {"a": [1]}),
    (dict[int, float], {"1": 2, "-3": 0.5}, {1: 2.0, -3: 0.5}),
    (dict[UUID, list[int]], {ID: [1]}, {UUID(ID): [1]}),
    (dict[Any, Any], {"1": 2}, {"1": 2}),
    (set, [1, "a", None], {1, "a", None}),
    (Optional[str], "", ""),
    (Any, {"a": None}, {"a": None}),
]

WRONG_JSON: list[tuple[Any, object]] = [
    (str, 5),
    (str, None),
    (str, ["x"]),
    (int, True),
    (int, 1.5),
    (int, 2.0**53),  # as 2**53 + 1 is read, too
    (int, -1e20),
    (int, "x"),
    (int, "1.0"),
    (int, None),
    (int, []),
    (float, False),
    (float, 10**400),
    (float, "nan"),
    (float, {}),
    (bool, 1),
    (bool, None),
    (Decimal, True),
    (Decimal, []),
    (UUID, 5),
    (date, 20260131),
    (timedelta, 90),
    (bytes, [1]),
    (Path, 5),
    (IPv4Address, 3221225985),
    (datetime, 1769860800),
    (Color, 1),
    (Color, ["red"]),
    (Color, None),
    (Size, True),
    (Literal[1], True),
    (Literal[True], 1),
    (Optional[int], "x"),
    (Union[int, float], "x"),
    (list[int], 5),
    (list[int], "12"),
    (list[int], ["x"]),
    (list[int], [None]),
    (list[int], {"0": 1}),
    (dict, []),
    (dict, "x"),
    (dict[str, int], {"a": "x"}),
    (dict[int, int], {"a": 1}),
    (set, [[1]]),
    (frozenset[Any], [{}]),
    (Decimal, 10**309),
    (Decimal, "1e300000"),
    (Decimal, 5e-324),
    (UUID, "{" + ID + "}"),
]


@pytest.mark.parametrize(("annotation", "given", "expected"), FROM_JSON)
def test_json_is_converted_to_the_annotated_type(
    annotation: Any, given: object, expected: object
) -> None:
    value = converter_for(annotation).from_json(given)
    assert (value, type(value)) == (expected, type(expected))


@pytest.mark.parametrize(("annotation", "given"), WRONG_JSON)
def test_invalid_json_values_raise_value_error(annotation: Any, given: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        converter_for(annotation).from_json(given)


class Custom:
    pass


@pytest.mark.parametrize(
    "annotation",
    [
        Custom,
        complex,
        bytearray,
        Callable,
        type,
        "text",
        5,
        tuple[int, str],
        tuple[int],
        list[Custom],
        Custom | None,
        None,
    ],
)
def test_an_annotation_without_a_converter_fails_at_setup(annotation: Any) -> None:
    with pytest.raises(
        SetupError,
        match=r"^it is annotated with .* change the annotation to str|tuple of fixed length",
    ):
        converter_for(annotation)


def test_the_error_lists_the_supported_annotations() -> None:
    app: Any = App()

    def handler(thing: Custom) -> None: ...

    app.page = route()(handler)
    with pytest.raises(
        SetupError, match=r"'thing': .*Custom.*change the annotation to str, int, .*pydantic"
    ):
        app._micropie.compiled()


SAMPLES: dict[object, str] = {
    str: "a",
    int: "1",
    float: "0.5",
    bool: "true",
    Decimal: "1.5",
    UUID: ID,
    date: "2026-01-31",
    time: "13:45:00",
    datetime: "2026-01-31T13:45:00",
    timedelta: "P1DT5S",
    bytes: "YWI=",
    Path: "a/b",
    IPv4Address: "192.0.2.1",
    IPv6Address: "2001:db8::1",
    IPv4Network: "192.0.2.0/24",
    IPv6Network: "2001:db8::/32",
    ZoneInfo: "Europe/Berlin",
}


SCHEMAS: dict[object, object] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    Decimal: {"type": "number"},
    UUID: {"type": "string", "format": "uuid"},
    date: {"type": "string", "format": "date"},
    time: {"type": "string", "format": "time"},
    datetime: {"type": "string", "format": "date-time"},
    timedelta: {"type": "string", "format": "duration"},
    bytes: {"type": "string", "contentEncoding": "base64"},
    Path: {"type": "string", "format": "path"},
    IPv4Address: {"type": "string", "format": "ipv4"},
    IPv6Address: {"type": "string", "format": "ipv6"},
    IPv4Network: {"type": "string"},
    IPv6Network: {"type": "string"},
    ZoneInfo: {"type": "string"},
}


@pytest.mark.parametrize(
    "kind", [kind for kind, converter in simple_types().items() if converter is not ANYTHING]
)
def test_each_type_is_bound_sent_and_described(make_client: MakeClient, kind: Any) -> None:
    def handler(*, value: Any) -> Any:
        return {"value": value}

    handler.__annotations__ = {"value": kind}
    app: Any = App()
    app.page = route(methods=["GET"])(handler)
    answer = make_client(app).get("/page", params={"value": SAMPLES[kind]})
    assert str(answer.json()["value"]).lower() == SAMPLES[kind].lower()
    (parameter,) = app.openapi()["paths"]["/page"]["get"]["parameters"]
    assert parameter["schema"] == SCHEMAS[kind]
    page = (Path(__file__).parents[2] / "docs" / "binding.md").read_text()
    assert re.search(rf"^\|[^|]*`{kind.__name__}`[^|]*\|", page, re.MULTILINE)


def test_each_type_has_a_schema() -> None:
    known = {
        kind: TypeInfo(kind).converter().schema for kind in simple_types() if isinstance(kind, type)
    }
    assert {kind: schema for kind, schema in known.items() if schema is not None} == SCHEMAS


# -- the same through every world ------------------------------------------------------------------


class Typed(App):
    """One handler for each annotation: the value's repr."""


def typed(kind: Any) -> Any:
    def handler(x: Any) -> str:
        return repr(x)

    handler.__annotations__ = {"x": kind}
    return route()(handler)


KINDS: dict[str, Any] = {
    "int": int,
    "float": float,
    "bool": bool,
    "str": str,
    "uuid": UUID,
    "date": date,
    "datetime": datetime,
}
KINDS |= {
    "decimal": Decimal,
    "enum": Color,
    "literal": Literal["a", "b"],
    "optional": Optional[int],
}
KINDS |= {
    "list": list[int],
    "set": set[int],
    "maybe_list": Optional[list[int]],
    "tuple": tuple[Color, ...],
}

ANSWERS = {
    "int": ("5", 5, "5"),
    "float": ("1.5", 1.5, "1.5"),
    "bool": ("on", True, "True"),
    "str": ("é", "é", "'é'"),
    "uuid": (ID, ID, f"UUID('{ID}')"),
    "date": ("2026-01-31", "2026-01-31", "datetime.date(2026, 1, 31)"),
    "datetime": ("2026-01-31T12:00", "2026-01-31T12:00", "datetime.datetime(2026, 1, 31, 12, 0)"),
    "decimal": ("1.10", "1.10", "Decimal('1.10')"),
    "enum": ("red", "red", "<Color.RED: 'red'>"),
    "literal": ("b", "b", "'b'"),
    "optional": ("", None, "None"),
    "list": (["1", "2"], [1, 2], "[1, 2]"),
    "set": (["1", "1"], [1, 1], "{1}"),
    "maybe_list": (["1"], [1], "[1]"),
    "tuple": (["red", "green"], ["red", "green"], "(<Color.RED: 'red'>, <Color.GREEN: 'green'>)"),
}

EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "uuid": "a UUID",
    "date": "a date such as 2026-01-31",
    "datetime": "a date and time such as 2026-01-31T13:45:00",
    "decimal": "a decimal number",
    "enum": "one of red, green",
    "literal": "one of a, b",
    "optional": "a whole number",
    "list": "a list, each a whole number",
    "set": "a list of at most 1000 values, each a whole number",
    "maybe_list": "a list, each a whole number",
    "tuple": "a list, each one of red, green",
}


LISTS_OF_TEXT: dict[str, Any] = {
    "texts": list[str],
    "bare": list,
    "set_of_text": set[str],
    "tuple_of_text": tuple[str, ...],
    "maybe_texts": Optional[list[str]],
}


@pytest.fixture
def app() -> App:
    app = Typed()
    for name, kind in {**KINDS, **LISTS_OF_TEXT}.items():
        setattr(app, name, typed(kind))
        app.get(f"/explicit/{name}/<x>")(typed(kind))
    return app


@pytest.mark.parametrize("name", KINDS)
def test_query_form_and_json_give_the_same_value(client: Any, name: str) -> None:
    text, value, expected = ANSWERS[name]
    answers = [
        client.get(f"/{name}", params={"x": text}).text,
        client.post(f"/{name}", data={"x": text}).text,
        client.post(f"/{name}", json={"x": value}).text,
    ]
    assert answers == [expected] * 3


@pytest.mark.parametrize(
    "name", [name for name in KINDS if isinstance(ANSWERS[name][0], str) and ANSWERS[name][0]]
)
def test_a_path_segment_gives_the_same_value_by_name_and_by_wildcard(
    client: Any, name: str
) -> None:
    text, _, expected = ANSWERS[name]
    answers = [client.get(f"/{name}/{text}").text, client.get(f"/explicit/{name}/{text}").text]
    assert answers == [expected] * 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("list", "[5]"),
        ("set", "{5}"),
        ("maybe_list", "[5]"),
        ("texts", "['5']"),
        ("bare", "['5']"),
        ("set_of_text", "{'5'}"),
        ("tuple_of_text", "('5',)"),
        ("maybe_texts", "['5']"),
    ],
)
def test_a_path_segment_of_a_list_is_its_only_element(
    client: Any, name: str, expected: str
) -> None:
    assert [client.get(f"/{name}/5").text, client.get(f"/explicit/{name}/5").text] == [expected] * 2


@pytest.mark.parametrize(("name", "expected"), EXPECTED.items())
def test_an_invalid_value_gets_a_400_with_the_expected_type(
    client: Any, name: str, expected: str
) -> None:
    responses = [
        client.get(f"/{name}?x=<b>"),
        client.post(f"/{name}", data={"x": "<b>"}),
        client.post(f"/{name}", json={"x": {"b": 1}}),
        client.get(f"/{name}/%3Cb%3E"),
        client.get(f"/explicit/{name}/%3Cb%3E"),
    ]
    found = {(response.status_code, said(response)) for response in responses}
    assert found == {(400, f"Parameter 'x' must be {expected}.")}


@pytest.mark.parametrize("name", KINDS)
def test_a_missing_value_gets_a_400_with_the_expected_type(client: Any, name: str) -> None:
    response = client.get(f"/{name}")
    expected = EXPECTED.get(name, "text")
    seen = (response.status_code, response.text)
    assert seen == (400, f"Parameter 'x' is missing; expected {expected}.")


# Ints of one hash. A million of them in a set take minutes.
COLLIDING = [number * (2**61 - 1) for number in range(1001)]


@pytest.mark.parametrize(
    "kind", [set[int], frozenset[int], set, frozenset[Any], Optional[set[int]], list[set[int]]]
)
def test_R28_a_set_has_a_bounded_size(kind: Any) -> None:
    is_nested = kind == list[set[int]]
    convert = converter_for(kind).from_json
    whole = convert([COLLIDING[1:]] if is_nested else COLLIDING[1:])
    with pytest.raises(ValueError):  # noqa: PT011
        convert([COLLIDING] if is_nested else COLLIDING)
    assert (whole[0] if is_nested else whole) == set(COLLIDING[1:])  # type: ignore[index]


def test_R28_a_dict_whose_keys_are_not_text_has_a_bounded_size() -> None:
    document = {str(number): 0 for number in COLLIDING}
    with pytest.raises(ValueError):  # noqa: PT011
        converter_for(dict[int, int]).from_json(document)
    assert len(converter_for(dict[str, int]).from_json(document)) == 1001  # type: ignore[arg-type]
    document.popitem()
    assert converter_for(dict[int, int]).from_json(document) == dict.fromkeys(COLLIDING[:-1], 0)


def test_a_set_that_is_too_large_gets_a_400_with_the_limit(
    make_client: MakeClient,
) -> None:
    app: Any = App(max_form_fields=2000)
    app.numbers = typed(set[int])
    app.names = typed(dict[int, int])
    client = make_client(app)
    wrong = "Parameter 'x' must be a list of at most 1000 values, each a whole number."
    texts = [str(number) for number in range(1001)]
    answers = [
        client.post("/numbers", json={"x": COLLIDING}),
        client.post("/numbers", data={"x": texts}),
    ]
    assert [(answer.status_code, said(answer)) for answer in answers] == [(400, wrong)] * 2
    assert len(client.post("/numbers", data={"x": texts[1:]}).text) > 1000
    answer = client.post("/names", json={"x": dict.fromkeys(texts, 0)})
    wrong = "Parameter 'x' must be a JSON object with at most 1000 members, whose names are each a whole number."
    assert (answer.status_code, said(answer)) == (400, wrong)


def test_R28_a_number_is_refused_before_it_is_converted(make_client: MakeClient) -> None:
    app: Any = App()

    def handler(x: Decimal) -> str:
        return str(int(x))  # takes minutes if the exponent has nine digits

    app.page = route()(handler)
    client = make_client(app)
    answers = [client.get("/page?x=1e5000"), client.post("/page", json={"x": "1e5000"})]
    statuses = [(answer.status_code, said(answer)) for answer in answers]
    assert statuses == [(400, "Parameter 'x' must be a decimal number.")] * 2
    assert client.get("/page?x=1e2").text == "100"


def test_a_dict_is_only_read_from_json(make_client: MakeClient) -> None:
    app: Any = App()
    app.page = typed(dict)
    client = make_client(app)
    assert client.post("/page", json={"x": {"a": 1}}).text == "{'a': 1}"
    responses = [
        client.get("/page?x=a"),
        client.post("/page", data={"x": "a"}),
        client.post("/page", json={"x": []}),
    ]
    assert {said(response) for response in responses} == {"Parameter 'x' must be a JSON object."}


def test_an_empty_text_is_an_element_of_an_optional_list(make_client: MakeClient) -> None:
    app: Any = App()
    app.numbers, app.texts = typed(Optional[list[int]]), typed(Optional[list[str]])
    client = make_client(app)
    assert (client.get("/numbers?x=").status_code, client.get("/texts?x=").text) == (400, "['']")


@pytest.mark.parametrize(("kind", "empty"), [(str, "''"), (Optional[str], "None"), (Any, "''")])
def test_an_empty_text_becomes_none_for_an_optional_type(
    make_client: MakeClient, kind: Any, empty: str
) -> None:
    app: Any = App()
    app.page = typed(kind)
    app.page.__defaults__ = ("default",)
    client = make_client(app)
    assert [client.get("/page?x=").text, client.post("/page", data={"x": ""}).text] == [empty] * 2
    assert client.get("/page").text == "'default'"
    assert client.post("/page", json={"x": ""}).text == "''"


def test_numbers_never_become_nan_or_infinite(client: Any) -> None:
    texts = ["nan", "inf", "-inf", "1e999", str(math.inf)]
    statuses = [client.get("/float", params={"x": text}).status_code for text in texts]
    assert statuses == [400] * len(texts)
