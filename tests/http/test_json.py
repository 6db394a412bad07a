"""JSON: one table, put through orjson and the standard library (tests/project/risks, R77)."""

from __future__ import annotations

import json
import math
import re
import sqlite3
import sys
from collections import Counter, OrderedDict, UserList, deque
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, ClassVar, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import msgspec
import orjson
import pydantic
import pytest
import werkzeug
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import JSONResponse

from micropie._core.http import json as codec
from micropie._core.http.json import CodecError
from tests.support.codecs import make_codec


def _never(*args: Any) -> Any:
    raise AssertionError("an orjson that is too old was asked")


OLD: Any = SimpleNamespace(__version__="3.11.5", dumps=_never, loads=_never)
CANDIDATE: Any = SimpleNamespace(**{**vars(orjson), "__version__": "3.11.6rc1"})
CODECS = {"orjson": make_codec(orjson), "absent": make_codec(None)}


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


class Flag(Enum):
    YES = True


class Labelled(str, Enum):
    A = ("a", "label")

    def __new__(cls, text: str, label: str) -> Labelled:
        member = str.__new__(cls, text)
        member._value_ = label
        return member


class Session(dict[str, Any]):
    pass


class Doubled(dict[str, Any]):
    def items(self) -> Any:
        return [(key, value * 2) for key, value in super().items()]


class Text(str):
    pass


class Number(int):
    pass


class Real(float):
    pass


class Pair(NamedTuple):
    a: int
    b: int


class Columns(NamedTuple):
    keys: list[int]
    size: int


@dataclass
class Point:
    x: int
    _hidden: int = 2
    tags: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Slotted:
    when: datetime
    inner: Point | None = None


class Struct(msgspec.Struct, rename="camel", tag=True):
    first_name: str
    content: Any = None
    unset: int | msgspec.UnsetType = msgspec.UNSET


@dataclass
class Sparse:
    a: int | msgspec.UnsetType = msgspec.UNSET
    b: int | None = None


SparseAttrs = attrs.make_class(
    "SparseAttrs", {"a": attrs.field(default=msgspec.UNSET), "b": attrs.field(default=None)}
)


@pydantic.dataclasses.dataclass
class Account:
    name: str = pydantic.Field(alias="Name")
    password: str = pydantic.Field(default="secret", exclude=True)
    half_of: float | None = pydantic.Field(default=None, exclude=True)

    @pydantic.computed_field
    def half(self) -> float | None:
        return self.half_of and self.half_of / 2


@pydantic.dataclasses.dataclass
class Parcel:
    content: Any


class Guest(Account):  # none of pydantic's
    pass


class Model(pydantic.BaseModel):
    when: datetime
    ratio: float = 0.5


class Selfish:
    def model_dump(self, mode: str, by_alias: bool) -> Any:
        return self


def nested(levels: int, make: Any = lambda inner: [inner]) -> Any:
    value: Any = make(0)
    for _ in range(levels - 1):
        value = make(value)
    return value


def circle() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def sqlite3_row() -> Any:
    with closing(sqlite3.connect(":memory:")) as database:
        database.row_factory = sqlite3.Row
        return database.execute("SELECT 1 AS id, NULL AS name").fetchone()


NOON = datetime(2024, 2, 29, 12, 0, 0, 5)
ID = UUID("12345678-1234-5678-1234-567812345678")

WRITTEN: list[tuple[Any, str]] = [
    ("plain", '"plain"'),
    ("é€😀", '"é€😀"'),
    ('"\\/\b\f\n\r\t\x00\x1f\x7f\u2028', '"\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\x7f\u2028"'),
    ("null", '"null"'),
    (True, "true"),
    (False, "false"),
    (None, "null"),
    (0, "0"),
    (-1, "-1"),
    (2**53 + 1, "9007199254740993"),
    (2**63, "9223372036854775808"),
    (2**64 - 1, "18446744073709551615"),
    (2**64, "18446744073709551616"),
    (-(2**63) - 1, "-9223372036854775809"),
    (10**100, "1" + "0" * 100),
    (0.0, "0.0"),
    (-0.0, "-0.0"),
    (0.1, "0.1"),
    (1e15, "1000000000000000.0"),
    (1e16, "1e+16"),
    (-1.5e300, "-1.5e+300"),
    (0.0001, "0.0001"),
    (0.00001, "0.00001"),
    (-1.25e-5, "-0.0000125"),
    (1e-6, "1e-6"),
    (5e-324, "5e-324"),
    ({}, "{}"),
    ([], "[]"),
    ((), "[]"),
    ({"a": 1, "b": [1, (2, None), {"c": "d"}]}, '{"a":1,"b":[1,[2,null],{"c":"d"}]}'),
    ({"b": 1, "a": 2}, '{"b":1,"a":2}'),
    ([None, 1.5, {"x": None}, Colour.RED], '[null,1.5,{"x":null},"red"]'),
    ({2: "a", True: "b"}, '{"2":"a","true":"b"}'),
    ({None: 1, False: 2, 1.5: 3, 1e-7: 4}, '{"null":1,"false":2,"1.5":3,"1e-07":4}'),
    (
        {ID: 1, date(2024, 1, 2): 2, Colour.RED: 3, Level.LOW: 4, Text("t"): 5, Decimal("1.5"): 6},
        f'{{"{ID}":1,"2024-01-02":2,"red":3,"1":4,"t":5,"1.5":6}}',
    ),
    (NOON, '"2024-02-29T12:00:00.000005"'),
    (datetime(2024, 1, 2, tzinfo=UTC), '"2024-01-02T00:00:00+00:00"'),
    (
        datetime(1, 1, 1, tzinfo=timezone(timedelta(seconds=21208))),
        '"0001-01-01T00:00:00+05:53:28"',
    ),
    (date(2024, 1, 2), '"2024-01-02"'),
    (time(1, 2, 3), '"01:02:03"'),
    (time(1, 2, tzinfo=UTC), '"01:02:00+00:00"'),
    (ID, f'"{ID}"'),
    (timedelta(days=1, hours=2, microseconds=5), '"P1DT7200.000005S"'),
    (timedelta(seconds=90), '"PT90S"'),
    (timedelta(seconds=-1.5), '"-PT1.5S"'),
    (timedelta(days=-2), '"-P2D"'),
    (timedelta(0), '"P0D"'),
    (Path("a") / "b", '"a/b"'),
    ([ZoneInfo("Europe/Berlin")], '["Europe/Berlin"]'),
    ([ip_address("192.0.2.1"), ip_network("2001:db8::/32")], '["192.0.2.1","2001:db8::/32"]'),
    (ip_interface("192.0.2.1/24"), '"192.0.2.1/24"'),
    ([b"ab", bytearray(b"\xff"), memoryview(b"")], '["YWI=","/w==",""]'),
    ({b"k": {1}}, '{"aw==":[1]}'),
    (Decimal("1.10"), '"1.10"'),
    (Decimal("1E+30"), '"1E+30"'),
    (Colour.RED, '"red"'),
    (Level.LOW, "1"),
    (Labelled.A, '"label"'),
    (Session(user="ann"), '{"user":"ann"}'),
    (Doubled(a=2), '{"a":4}'),
    (OrderedDict(a=1), '{"a":1}'),
    (Counter("aab"), '{"a":2,"b":1}'),
    (MappingProxyType({"a": 1}), '{"a":1}'),
    (Text("text"), '"text"'),
    (Number(7), "7"),
    (Number(2**70), str(2**70)),
    (Real(1.5), "1.5"),
    (Pair(1, 2), "[1,2]"),
    (Columns([1], 2), "[[1],2]"),
    ({5}, "[5]"),
    (frozenset({"x"}), '["x"]'),
    (deque([1, 2]), "[1,2]"),
    (range(3), "[0,1,2]"),
    ({"a": 1}.keys(), '["a"]'),
    ({"a": 1}.values(), "[1]"),
    ({"a": 1}.items(), '[["a",1]]'),
    (UserList([1]), "[1]"),
    ([sqlite3_row()], '[{"id":1,"name":null}]'),
    (type("Sub", (list,), {})([1]), "[1]"),
    (Point(1, tags=["t"]), '{"x":1,"_hidden":2,"tags":["t"]}'),
    (
        [Slotted(NOON, Point(1))],
        '[{"when":"2024-02-29T12:00:00.000005","inner":{"x":1,"_hidden":2,"tags":[]}}]',
    ),
    (Struct("Ann"), '{"type":"Struct","firstName":"Ann","content":null}'),
    ([Sparse(), Sparse(1)], '[{"b":null},{"a":1,"b":null}]'),
    ([SparseAttrs(), SparseAttrs(1)], '[{"b":null},{"a":1,"b":null}]'),
    (
        Struct("Ann", [NOON, Decimal("1.0"), Point(1), {ID: Text("x")}, Model(when=NOON)]),
        '{"type":"Struct","firstName":"Ann","content":["2024-02-29T12:00:00.000005","1.0",'
        f'{{"x":1,"_hidden":2,"tags":[]}},{{"{ID}":"x"}},'
        '{"when":"2024-02-29T12:00:00.000005","ratio":0.5}]}',
    ),
    (
        Struct("Ann", [b"ab", timedelta(1)]),
        '{"type":"Struct","firstName":"Ann","content":["YWI=","P1D"]}',
    ),
    (Model(when=NOON), '{"when":"2024-02-29T12:00:00.000005","ratio":0.5}'),
    ([Account(Name="ann")], '[{"Name":"ann","half":null}]'),
    (
        {"a": Parcel([Struct("Ann"), MappingProxyType({"b": 1})])},
        '{"a":{"content":[{"type":"Struct","firstName":"Ann","content":null},{"b":1}]}}',
    ),
    (Guest(Name="ann"), '{"name":"ann","password":"secret","half_of":null}'),
    (nested(254), "[" * 254 + "0" + "]" * 254),
    (nested(254, lambda inner: {"a": inner}), '{"a":' * 254 + "0" + "}" * 254),
    (
        nested(120, lambda inner: Point(inner)),
        '{"x":' * 120 + "0" + ',"_hidden":2,"tags":[]}' * 120,
    ),
]

REFUSED: list[tuple[Any, str]] = [
    (math.nan, "NaN|out of range|type Decimal"),
    ([1, {"a": (math.inf,)}], "NaN|out of range|type Decimal"),
    ({"a": -math.inf, "b": None}, "NaN|out of range|type Decimal"),
    (Point(math.nan), "NaN|out of range|type Decimal"),  # type: ignore[arg-type]
    (Real("nan"), "NaN|out of range|type Decimal"),
    (Struct("a", math.nan), "NaN|out of range|type Decimal"),
    (Model(when=NOON, ratio=math.inf), "NaN|out of range|type Decimal"),
    ({"a": [Account(Name="ann", half_of=math.nan)]}, "NaN|out of range|type Decimal"),
    ({math.nan: 1}, "NaN|out of range|type Decimal"),
    (Decimal("NaN"), "NaN|out of range|type Decimal"),
    (object(), "type object"),
    (Point, "type type"),
    (1j, "type complex"),
    ((n for n in [1]), "type generator"),
    (Selfish(), "type Selfish"),
    ({(1, 2): 3}, "key of type tuple"),
    ({frozenset(): 3}, "key of type frozenset"),
    ("\ud800", "surrogate"),
    ({"\udfff": 1}, "surrogate"),
    (10**5000, "4300"),
    (nested(255), "254 levels"),
    (nested(255, lambda inner: {"a": inner}), "254 levels"),
    (nested(2000), "254 levels"),
    (circle(), "contains itself"),
    (Struct("a", circle()), "contains itself"),
]


@pytest.mark.parametrize(("value", "text"), WRITTEN, ids=range(len(WRITTEN)))
def test_R77_all_encoders_write_the_same_values(value: Any, text: str) -> None:
    for dumps, _ in CODECS.values():
        written = dumps(value).decode()
        assert repr(json.loads(written)) == repr(json.loads(text))
        assert without_exponents(written) == without_exponents(text)
        for _, loads in CODECS.values():  # the reader is as wide as the writer
            assert repr(loads(written)) == repr(json.loads(text))


def without_exponents(text: str) -> str:
    """The text of all that is written alike to the byte: not of floats below 0.0001, and of 1e16
    and more.
    """
    return re.sub(r"-?[0-9.]+e[+-]?[0-9]+|-?0\.0000[0-9]+", "0.0", text)


KEYS_ALIKE: list[Any] = [
    {Level.LOW: 1, "1": 2},
    {Flag.YES: 1, 1: 2},
    {1: 1, "1": 2},
    {None: 1, "null": 2},
]


@pytest.mark.parametrize("value", KEYS_ALIKE, ids=range(len(KEYS_ALIKE)))
def test_R77_keys_are_compared_as_they_are_encoded(value: Any) -> None:
    pairs = [
        ("true" if key is Flag.YES else "null" if key is None else str(key), value[key])
        for key in value
    ]
    for dumps, _ in CODECS.values():
        assert json.loads(dumps(value)) == dict(pairs)


@pytest.mark.usefixtures("no_collector")  # it would call finalizers at the recursion limit
@pytest.mark.parametrize(
    ("value", "words"), REFUSED, ids=[f"{n}-{w}" for n, (_, w) in enumerate(REFUSED)]
)
def test_R77_all_encoders_refuse_the_same_values(value: Any, words: str) -> None:
    for dumps, _ in CODECS.values():
        with pytest.raises(
            CodecError, match=f"(?i)({words}).* written as JSON|written as JSON.*({words})"
        ) as caught:
            dumps(value)
        assert caught.value.__context__ is None or caught.value.__suppress_context__


class Team:
    pass


class Row(msgspec.Struct, array_like=True, tag=True):
    first: Any


PLACES: list[tuple[Any, str]] = [
    ({"user": {"team": Team()}}, "$.user.team: A value of type Team "),
    ({"rows": [0, {"a b": Team()}]}, "$.rows[1]['a b']: "),
    ({1: {"x" * 100: Team()}}, "$[1]." + "x" * 100),
    ({"user": Point(1, tags=[Team()])}, "$.user.tags[0]: "),  # type: ignore[list-item]
    ({"user": Struct("Ann", {"team": Team()})}, "$.user.content.team: "),
    ([Row({"team": Team()})], "$[0][1].team: "),
    ({"deep": {"ratio": math.nan}, "none": None}, "$.deep.ratio: NaN and Infinity "),
    ({"when": {(1, 2): 3}}, "$.when[(1, 2)]: A dict key of type tuple "),
    ([Team()], "write App(encoders={Team: ...}) with a function that converts it to one"),
    ([type("bool", (), {"__module__": "numpy"})()], "$[0]: A value of type numpy.bool can't be "),
    ([1j], "$[0]: A value of type complex can't be written as JSON"),
    (
        JSONResponse({}),
        "A value of type JSONResponse can't be written as JSON: return its body, or",
    ),
    (werkzeug.Response(), "micropie's own Response(body, status=201)"),
]


@pytest.mark.parametrize(("value", "words"), PLACES, ids=range(len(PLACES)))
def test_the_error_names_the_key_and_suggests_an_encoder(value: Any, words: str) -> None:
    for dumps, _ in CODECS.values():
        with pytest.raises(CodecError, match=re.escape(words)):
            dumps(value)


def test_a_coroutine_in_a_value_reports_a_missing_await() -> None:
    async def load() -> None: ...

    for dumps, _ in CODECS.values():
        coroutine = load()
        with pytest.raises(
            CodecError,
            match=r"^\$\.user: A value of type coroutine .*: write await in front of the call that returns it",
        ):
            dumps({"user": coroutine})
        coroutine.close()


@dataclass(frozen=True)
class Money:
    cents: int
    unit: str = "EUR"

    def __str__(self) -> str:
        return f"{self.cents / 100:.2f} {self.unit}"


class Discount(Money):
    pass


class Priced(pydantic.BaseModel, arbitrary_types_allowed=True):
    team: Team


OWN: list[tuple[Any, Any, str]] = [
    ({Money: str}, [Money(350), Discount(50)], '["3.50 EUR","0.50 EUR"]'),
    (
        {Money: lambda money: (money.cents, money.unit)},
        {"price": Money(350)},
        '{"price":[350,"EUR"]}',
    ),
    ({Money: str}, {Money(1): 2}, '{"0.01 EUR":2}'),
    (
        {Money: str},
        Struct("Ann", {"price": Money(1)}),
        '{"type":"Struct","firstName":"Ann","content":{"price":"0.01 EUR"}}',
    ),
    ({Money: str}, [Row(Money(1)), Point(1)], '[["Row","0.01 EUR"],{"x":1,"_hidden":2,"tags":[]}]'),
    (
        {Enum: lambda member: member.name},
        [Colour.RED, Level.LOW, {Labelled.A: None}],
        '["RED","LOW",{"A":null}]',
    ),
    ({UUID: lambda uuid: uuid.hex[:4]}, ID, '"1234"'),
    (
        {datetime: datetime.isoformat, date: str},
        [NOON.date(), NOON],
        '["2024-02-29","2024-02-29T12:00:00.000005"]',
    ),
    ({object: lambda value: type(value).__name__}, [Team(), Colour.RED, 1], '["Team","Colour",1]'),
    ({Team: lambda team: Money(1), Money: str}, Team(), '"0.01 EUR"'),
    ({Team: lambda team: "a team"}, Priced(team=Team()), '{"team":"a team"}'),
    ({UUID: str}, Account(Name="Ann", half_of=3.0), '{"Name":"Ann","half":1.5}'),
    ({UUID: lambda uuid: uuid.hex[:4]}, Parcel(Parcel([ID])), '{"content":{"content":["1234"]}}'),
]


@pytest.mark.parametrize(("own", "value", "text"), OWN, ids=range(len(OWN)))
def test_an_application_may_encode_its_own_types(own: Any, value: Any, text: str) -> None:
    for module in (orjson, None):
        assert make_codec(module, own)[0](value).decode() == text


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    "own", [{Team: lambda team: team}, {Team: lambda team: Money(1), Money: lambda money: Team()}]
)
def test_encoders_that_call_each_other_endlessly_are_stopped(own: Any) -> None:
    for module in (orjson, None):
        with pytest.raises(CodecError, match="contains itself"):
            make_codec(module, own)[0]([Team()])


READ: list[tuple[str | bytes | bytearray | memoryview, Any]] = [
    ('{"a":[1,2.5,"x",true,false,null]}', {"a": [1, 2.5, "x", True, False, None]}),
    (b" \t\r\n1 \n", 1),
    (bytearray(b"[1]"), [1]),
    (memoryview(b"[1]"), [1]),
    ('"é😀"', "é😀"),
    ('"\\u00e9\\ud83d\\ude00\\/\\u0000"', "é😀/\0"),
    ('"\\\\ud800"', "\\ud800"),
    ("9007199254740993", 2**53 + 1),
    ("18446744073709551615", 2**64 - 1),
    ("18446744073709551616", 2**64),
    ("-9223372036854775808", -(2**63)),
    ("-9223372036854775809", -(2**63) - 1),
    ('{"id": [-9999999999999999999, 1]}', {"id": [-9999999999999999999, 1]}),
    ("   [   12345678901234567890123   ]", [12345678901234567890123]),
    ("1" * 4300, int("1" * 4300)),
    ("-" + "1" * 4300, int("-" + "1" * 4300)),
    ("0." + "1" * 4300, 1 / 9),
    ("0.1000000000000000055511151231257827", 0.1),
    ("1e5", 1e5),
    ("1E+2", 100.0),
    ("1e-999", 0.0),
    ("-0", 0),
    ("-0.0", -0.0),
    ('{"a":1,"b":2,"a":3}', {"a": 3, "b": 2}),
    ("[" * 300 + "]" * 300, None),
    ('{"a":' * 300 + "1" + "}" * 300, None),
    ('"' + "[{" * 500 + '"', "[{" * 500),
    (
        '["' + "[" * 200 + '\\"' + "[" * 200 + '\\\\","]"]',
        ["[" * 200 + '"' + "[" * 200 + "\\", "]"],
    ),
    ("[" + ",".join(["[[{}]]"] * 200) + "]", [[[{}]]] * 200),
    (
        "[" + ",".join(['{"a":[1,[{"b":{"c":[1]}}]]}'] * 50) + "]",
        [{"a": [1, [{"b": {"c": [1]}}]]}] * 50,
    ),
]

BAD: list[str | bytes] = [
    "",
    "  \n",
    "NaN",
    "[Infinity]",
    '{"a":-Infinity}',
    "1e999",
    "-1e999",
    "1" * 310 + ".0",
    "1" * 4301,
    "[" * 1100,
    '{"a":' * 1100,
    '[{"' * 1100,
    '["' + "x]" * 200 + '",' + "[" * 150,
    '"\\ud800"',
    '{"\\udfff":1}',
    '"\\ud83d\\u0041"',
    "\ufeff\ufeff{}",
    b"\xef\xbb\xbf\xef\xbb\xbf{}",
    b"\xef\xbb\xbf",
    b" \xef\xbb\xbf{}",
    '"\ud800"',
    b'"\xff"',
    b'"\xed\xa0\x80"',
    b"\xff\xfe1\x00",
    b"1\x00",
    "{",
    "]" * 300,
    '"abc',
    '"\t"',
    '"\\x"',
    "01",
    "+1",
    ".5",
    "1.",
    "0x10",
    "[1,]",
    "{'a':1}",
    "{1:2}",
    "[1] [2]",
    "// no\n1",
    "\u00a01",
    "<secret>",
]


@pytest.mark.parametrize(("text", "value"), READ, ids=range(len(READ)))
def test_R77_all_decoders_read_the_same_values(text: str, value: Any) -> None:
    if value is None:
        value = json.loads(text)
    for _, loads in CODECS.values():
        result = loads(text)
        assert (result, repr(result)) == (value, repr(value))


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
def test_R77_all_decoders_refuse_the_same_texts(text: str | bytes) -> None:
    for _, loads in CODECS.values():
        with pytest.raises(ValueError, match=r"\AThe JSON is not valid: .+\.\Z") as caught:
            loads(text)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1" * 4301, r"4300 digits\)[^;]*\.$"),
        ('"\ud800"', "surrogates not allowed"),
        (b"1\x00", r"\(char 1\)"),
        ("[1,]", r"\(char [23]\)"),
    ],
)
def test_a_decoding_error_has_a_reason_or_position(text: str | bytes, words: str) -> None:
    for _, loads in CODECS.values():
        with pytest.raises(ValueError, match=words):
            loads(text)


def test_R77_deeply_nested_json_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the limit of orjson, and by Python's, which differs between its releases."""
    with pytest.raises(ValueError, match="depth limit exceeded"):
        CODECS["orjson"][1]("[" * 1100 + "]" * 1100)

    def deep(text: str) -> Any:
        raise RecursionError

    monkeypatch.setattr(codec, "_DECODER", SimpleNamespace(decode=deep))
    monkeypatch.setattr(codec, "_exact_decoder", lambda: codec._DECODER)
    for read in (CODECS["absent"][1], codec.exact):
        with pytest.raises(
            ValueError, match=r"\AThe JSON is not valid: it is nested too deeply\.\Z"
        ):
            read(b"[0.12345678901234567890]")


def test_R77_dumps_and_loads_use_an_installed_orjson() -> None:
    assert codec.loads(codec.dumps({"message": "Hello"})) == {"message": "Hello"}


def test_R77_without_orjson_the_standard_library_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "orjson", None)
    # Without orjson, which writes 1e-7.
    assert codec.dumps_with({Decimal: float})({"small": Decimal("1e-7")}) == b'{"small":1e-07}'


def test_R77_a_proxy_is_encoded_as_its_object() -> None:
    class Proxy:
        __class__ = property(lambda self: dict)

        def items(self) -> list[tuple[str, int]]:
            return [("a", 1)]

    for dumps, _ in CODECS.values():
        assert dumps([Proxy()]) == b'[{"a":1}]'


def test_R77_an_outdated_orjson_is_not_used() -> None:
    for module, used in ((OLD, False), (CANDIDATE, True)):
        dumps, loads = make_codec(module)
        assert loads(dumps({"small": [1e-7]})) == {"small": [1e-7]}
        assert (dumps(1e-7) == orjson.dumps(1e-7)) is used


class Dumping:
    """One of SQLAlchemy's models with a method of this name."""

    __table__ = None

    def model_dump(self, mode: str, by_alias: bool) -> Any:
        return {mode: by_alias}


class Table(pydantic.BaseModel):
    """As one of SQLModel with ``table=True``: what a commit has expired is read from the database
    again, by the next look at it.
    """

    __table__: ClassVar[object] = None
    name: str
    price: int = 5

    def __getattr__(self, name: str) -> Any:
        if name not in DATABASE:
            raise LookupError(f"no session for {name}")
        self.__dict__[name] = DATABASE[name]
        return DATABASE[name]


DATABASE: dict[str, object] = {}


def test_what_a_commit_has_expired_is_read_again_or_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    expired = Table(name="apple")
    for dumps, _ in CODECS.values():
        assert dumps([expired, Dumping()]) == b'[{"name":"apple","price":5},{"json":true}]'
    expired.__dict__.clear()
    for dumps, _ in CODECS.values():
        with pytest.raises(LookupError, match="no session for name"):
            dumps([expired])
    monkeypatch.setitem(DATABASE, "name", "plum")
    monkeypatch.setitem(DATABASE, "price", 6)
    for dumps, _ in CODECS.values():
        expired.__dict__.clear()
        assert dumps([expired]) == b'[{"name":"plum","price":6}]'


def test_R77_an_error_inside_a_model_is_raised_unchanged() -> None:
    class Broken:
        def model_dump(self, mode: str, by_alias: bool) -> Any:
            raise KeyError(mode)

    for dumps, _ in CODECS.values():
        with pytest.raises(KeyError):
            dumps([Broken()])


KEYS = st.text() | st.integers() | st.floats()
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.decimals()
    | st.datetimes(),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner) | st.tuples(inner),
)


def written(dumps: Any) -> Any:
    """``dumps`` by the values that it writes."""
    return lambda value: json.loads(dumps(value))


def outcome(call: Any, argument: Any) -> Any:
    try:
        return repr(call(argument))
    except ValueError as error:
        return type(error)


@given(JSON_VALUES)
def test_R77_any_value_is_encoded_alike_with_and_without_orjson(value: Any) -> None:
    assert len({outcome(written(dumps), value) for dumps, _ in CODECS.values()}) == 1


@given(
    st.binary() | st.text() | st.text('[]{}",:0123456789.eE+-\\utrnfalsN ') | st.floats().map(repr)
)
def test_R77_any_text_is_decoded_alike_with_and_without_orjson(text: bytes | str) -> None:
    assert len({outcome(loads, text) for _, loads in CODECS.values()}) == 1


def test_an_exponent_too_large_for_a_decimal_is_refused() -> None:
    with pytest.raises(ValueError, match="too close to zero"):
        codec.exact(b"[1e-99999999999999999999]")


def test_a_short_number_becomes_the_same_float_in_each_document() -> None:
    long = "0.1234567890123456789"
    assert codec.exact(f"[1.5, {long}]".encode()) == [1.5, Decimal(long)]


NUMBERS = st.from_regex(
    r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,20})?([eE][-+]?[0-9]{1,4})?", fullmatch=True
)


@given(st.lists(NUMBERS, min_size=1), st.sampled_from([",", ", ", " ,", "\n,\t"]))
def test_no_number_loses_a_digit(numbers: list[str], comma: str) -> None:
    text = f"[{comma.join(numbers)}]"
    try:
        found = codec.loads(text)
    except ValueError:  # too large for a float
        return
    found = codec.exact(text.encode()) or found
    exact = [one if isinstance(one, Decimal) else Decimal(repr(one)) for one in found]
    assert exact == [*map(Decimal, numbers)]


@given(st.lists(st.uuids(), min_size=100))
def test_uuids_are_not_taken_for_numbers_with_many_digits(ids: list[UUID]) -> None:
    """Reading such a document again, in Python, takes twenty times as long."""
    assert codec.exact(codec.dumps([{"id": one, "price": 12.5} for one in ids])) is None
