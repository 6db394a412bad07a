"""The results of an annotation are encoded by msgspec or pydantic, with the same meaning as by the
encoder that knows no annotation (``http/json.py``).
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from itertools import chain, repeat
from pathlib import PurePosixPath
from types import NoneType
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    TypedDict,
    TypeVar,
    Union,
    get_args,
    get_origin,
)
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from micropie import App, HttpMiddleware, Request, post, run_in
from micropie._core.binding import ResultFilter, answers_of, result_filter
from micropie._core.binding.annotations import bare, element_types, united
from micropie._core.binding.fields import (
    hints_of_class,
    is_named_tuple,
    is_pydantic,
    is_structure,
    kinds_in,
)
from micropie._core.binding.values.constraints import are_moderate, is_moderate
from micropie._core.binding.values.shapes import Shape
from micropie._core.errors import ResponseError
from micropie._core.http.json import CodecError, Encoders, dumps_with
from tests.support.clients import MakeClient
from tests.support.steps import steps_of


class Text(str):
    pass


class Number(int):
    pass


class Real(float):
    pass


class Colour(enum.Enum):
    RED = "red"
    LIGHT = 2


class Level(enum.IntEnum):
    LOW = 1


class Label(str, enum.Enum):
    SAME = "SAME"


class Named(str, enum.Enum):
    A = ("a", "label")

    def __new__(cls, text: str, label: str) -> Named:
        member = str.__new__(cls, text)
        member._value_ = label
        return member


class Odd(enum.Enum):
    RATIO = 1.5


class Money:
    def __init__(self, cents: int = 5) -> None:
        self.cents = cents


T = TypeVar("T")
Name = NewType("Name", str)
NOON = datetime(2024, 2, 29, 12, 0, 0, 5)
FLOATS = [0.0, -0.0, 1.5, 1e16, 1e-7, 5e-324, 1.7e308, float("nan"), float("inf"), Real(2.5), 3]

LEAVES: list[tuple[Any, list[Any]]] = [
    (str, ["", "a", "null", "é\u2028\"\\", Text("t"), Label.SAME, "\ud800"]),
    (int, [0, -1, 2**63, 2**64, -(2**70), True, Number(7), Level.LOW]),
    (float, FLOATS),
    (Decimal, [Decimal("1.10"), Decimal("1E+30"), Decimal("NaN"), Decimal("1E-400"), 5]),
    (bool, [True, False]),
    (NoneType, [None]),
    (date, [date(2024, 1, 2), NOON, datetime(2024, 1, 2, tzinfo=UTC)]),
    (datetime, [NOON, datetime(1, 1, 1, tzinfo=timezone(timedelta(seconds=21208))), NOON.replace(tzinfo=UTC)]),
    (time, [time(1, 2, 3), time(1, 2, tzinfo=UTC)]),
    (timedelta, [timedelta(0), timedelta(days=1, microseconds=5), timedelta(seconds=-1.5)]),
    (UUID, [UUID(int=5)]),
    (bytes, [b"", b"ab\xff"]),
    (Colour, [*Colour]),
    (Level, [*Level]),
    (Label, [*Label]),
    (Named, [*Named]),
    (Odd, [*Odd]),
    (Literal["a", 2], ["a", 2]),
    (Name, ["a"]),
    (Annotated[int, "a note"], [1, None]),
    (Any, [1, "a", NOON, float("nan"), [float("inf"), None], {"a": Money()}, {1: 2}]),
    (Money, [Money()]),
    (PurePosixPath, [PurePosixPath("a/b")]),
]  # fmt: skip

Made = tuple[Any, st.SearchStrategy[Any]]
"""An annotation, and the values that a handler may return for it, some of which do not match it."""

JUNK = [None, 5, "a", NOON, [1], {"a": 1.5}, ("a",), Money(), Colour.RED]


def usually(values: st.SearchStrategy[Any], *others: Any) -> st.SearchStrategy[Any]:
    junk = st.sampled_from([*JUNK, *others])
    return st.integers(0, 30).flatmap(lambda number: junk if number == 0 else values)


@st.composite
def made(draw: st.DrawFn, depth: int) -> Made:
    """An annotation of any kind."""
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        # most of the types that msgspec writes alike come first
        hint, values = draw(
            st.sampled_from(LEAVES if draw(st.integers(0, 9)) == 0 else LEAVES[:15])
        )
        # NaN is not searched in a field whose type is not a number
        return hint, usually(st.sampled_from(values))
    forms: list[Callable[[int], st.SearchStrategy[Made]]] = [collections, unions, structures]
    found: Made = draw(draw(st.sampled_from(forms))(depth - 1))
    return found


@st.composite
def unions(draw: st.DrawFn, depth: int) -> Made:
    members = draw(st.lists(made(depth), min_size=1, max_size=2))
    others: list[Made] = [(NoneType, st.none())] if draw(st.booleans()) else []
    hint: Any = Union
    return hint[tuple(one for one, _ in [*members, *others])], st.one_of(
        [values for _, values in [*members, *others]]
    )


@st.composite
def collections(draw: st.DrawFn, depth: int) -> Made:
    hint, values = draw(made(depth))
    other, others = draw(made(depth))
    lists = st.lists(values, max_size=3)
    texts, texts_of = st.sampled_from(["a", "b"]), st.sampled_from(["a", Text("b")])
    forms: list[tuple[Any, Any, Any]] = [
        (list, hint, lists),
        (Sequence, hint, st.one_of(lists, lists.map(tuple))),
        (tuple, (hint, ...), lists.map(tuple)),
        (tuple, (hint, other), st.tuples(values, others)),
        (dict, (str, hint), st.dictionaries(texts, values)),
        (Mapping, (str, hint), st.dictionaries(texts_of, values)),
        (dict, (int, hint), st.dictionaries(st.integers(0, 3), values)),
        (set, str, st.sets(texts)),
    ]
    kind, arguments, made_of = draw(st.sampled_from(forms))
    return kind[arguments], made_of


OPTIONS = [{}, {"rename": "camel"}, {"tag": True}, {"array_like": True}, {"omit_defaults": True}]
Fields = dict[str, Any]


def data_class(draw: st.DrawFn, hints: Fields, values: Fields) -> Any:
    hinted: Any = [*hints.items()]
    if draw(st.integers(0, 9)) == 0:
        hinted.append(("made", float, dataclasses.field(init=False, default=float("nan"))))
    if draw(st.booleans()):
        hinted.append(("last", int, 5))
        if draw(st.booleans()):
            values["last"] = st.sampled_from([5, 6])
    return dataclasses.make_dataclass("Data", hinted, slots=draw(st.booleans()))


def struct(draw: st.DrawFn, hints: Fields, values: Fields) -> Any:
    options: Any = draw(st.sampled_from(OPTIONS))
    fallback = draw(st.sampled_from([msgspec.NODEFAULT, msgspec.UNSET, 5]))
    hinted: Any = [*hints.items()]
    if fallback is not msgspec.NODEFAULT:
        hinted.append(("last", int | msgspec.UnsetType, fallback))
        hinted.append(("words", list[str], msgspec.field(default_factory=list)))
        values["last"] = st.sampled_from([5, msgspec.UNSET, 6])
        values["words"] = st.sampled_from([[], ["a"]])
    return msgspec.defstruct("Struct", hinted, **options)


@attrs.define
class AttrsBase:
    zone: str = attrs.field(default="z", kw_only=True)
    _area: int = attrs.field(default=1, kw_only=True)


def attrs_class(draw: st.DrawFn, hints: Fields, values: Fields) -> Any:
    owned: Fields = {name: attrs.field(type=hint) for name, hint in hints.items()}
    for name in hints:
        values[name.lstrip("_")] = values.pop(name)
    if draw(st.booleans()):
        owned["named"] = attrs.field(type=int, alias="a0", kw_only=True)
        owned["made"] = attrs.field(type=str, init=False, default="made")
        owned["Last"] = attrs.field(type=int, default=None)
        values["a0"], values["Last"] = st.sampled_from([5, 6]), st.sampled_from([None, 5])
    slots, frozen = draw(st.booleans()), draw(st.booleans())

    def extend(self: Any) -> None:
        if not (slots or frozen):
            self.extra = 1.5  # not a field

    return attrs.make_class(
        "Attrs",
        owned,
        bases=draw(st.sampled_from([(), (AttrsBase,)])),
        class_body={"__attrs_post_init__": extend, "size": property(lambda self: 1)},
        slots=slots,
        frozen=frozen,
    )


def model(draw: st.DrawFn, hints: Fields, values: Fields) -> Any:
    stated: Any = {name: (hint, ...) for name, hint in hints.items() if name[0] != "_"}
    extra: Any = draw(st.sampled_from(["ignore", "ignore", "allow"]))
    config = pydantic.ConfigDict(arbitrary_types_allowed=True, extra=extra)
    try:
        owner: Any = pydantic.create_model("Model", __config__=config, **stated)
    except pydantic.errors.PydanticUserError:  # an annotation that pydantic does not know
        owner = pydantic.create_model("Model", __config__=config, first=(Any, ...))
        values["first"] = st.sampled_from([5, "a"])
    return owner


def document(draw: st.DrawFn, hints: Fields, values: Fields) -> Any:
    make: Any = TypedDict
    return make("Document", hints)


def named_tuple(draw: st.DrawFn, hints: Fields, values: Fields) -> Any:
    make: Any = NamedTuple
    for name in [name for name in hints if name[0] == "_"]:
        del values[name]
    return make("Tuple", [(name, hint) for name, hint in hints.items() if name[0] != "_"])


OFTEN = [data_class, struct, attrs_class, model]
KINDS = [*OFTEN, *OFTEN, *OFTEN, document, named_tuple]


@st.composite
def structures(draw: st.DrawFn, depth: int) -> Made:
    parts = draw(st.lists(made(depth), min_size=1, max_size=3))
    fields = dict(zip(["b", "a_name", "_hidden"], parts, strict=False))
    values = {name: part for name, (_, part) in fields.items()}
    make = draw(st.sampled_from(KINDS))
    owner = make(draw, {name: hint for name, (hint, _) in fields.items()}, values)
    # an object of pydantic's class is made without its checks
    whole = st.builds(getattr(owner, "model_construct", owner), **values)
    if make in (data_class, struct, attrs_class) and draw(st.integers(0, 9)) == 0:
        derived: Any = type("Derived", (owner,), {"secret": 1})
        return owner, st.builds(derived, **values)
    return owner, usually(whole, float("nan"))


def inside_of(value: Any, kind: Any) -> list[tuple[Any, Any]] | None:
    """Return the values inside a value of a type, each with its annotation, or None if the value is
    not of this type.
    """
    owner = get_origin(kind) or kind
    if is_structure(kind) or is_named_tuple(kind):
        hints = {} if is_pydantic(kind) else hints_of_class(kind)
        if is_named_tuple(kind):
            pairs = zip(value, hints.values(), strict=False) if isinstance(value, tuple) else None
            return None if pairs is None else [*pairs]
        if hasattr(owner, "__required_keys__"):
            is_it = isinstance(value, dict) and value.keys() <= hints.keys()
            return [(value[name], hints[name]) for name in value] if is_it else None
        found = [(getattr(value, name, None), hint) for name, hint in hints.items()]
        return found if owner is type(value) else None
    if owner is not Any and not (isinstance(owner, type) and isinstance(value, owner)):
        return None
    arguments: Any = get_args(kind)
    if not arguments:
        return []
    if isinstance(value, Mapping):
        return [(one, arguments[-1]) for one in value.values()]
    types = element_types(kind)
    elements: Iterable[Any] = () if types is None else chain(types[0], repeat(types[1]))
    return [*zip(value, elements, strict=False)]


def check_exact(value: Any, hint: Any) -> None:
    """Raise ``TypeError`` for a value with more fields than declared: the plain way, value by
    value.
    """
    inside = kinds_in(hint, are_fields_in=False)
    if not any(is_structure(one) or is_named_tuple(one) for one in inside):
        return
    if value is None or isinstance(value, str | int | float):
        return
    for member in united(bare(hint)[0]):
        parts = inside_of(value, bare(member)[0])
        if parts is not None:
            for one, inner in parts:
                check_exact(one, inner)
            return
    raise TypeError


def filter_of(hint: Any) -> ResultFilter | None:
    def show() -> Any: ...

    show.__annotations__["return"] = hint
    return result_filter(show, answers_of(show))


def text_of(write: Callable[[Any], bytes], value: object) -> str:
    """What is written: the keys in order, numbers as they are read."""
    try:
        return repr(json.loads(write(value), object_pairs_hook=lambda pairs: pairs))
    except (ValueError, RecursionError):
        return "an error"


OWN: list[Encoders] = [
    {Money: lambda money: {"cents": money.cents}},
    {},
    {enum.Enum: lambda member: member.name, Money: str},
    {datetime: lambda moment: moment.year},
    {object: lambda value: type(value).__name__},
]


@given(st.data())
def test_a_result_is_encoded_as_without_its_annotation(
    data: st.DataObject,
) -> None:
    hint, values = data.draw(st.one_of(structures(2), structures(3), collections(2)))
    own = data.draw(st.sampled_from(OWN)) if data.draw(st.integers(0, 3)) == 0 else {}
    try:
        own_filter = filter_of(hint)
    except Exception:  # an annotation that neither library can read
        return
    if own_filter is None:
        return
    value = data.draw(values)
    dumps = dumps_with(own)
    for kind, write in own_filter.bodies(dumps, own).items():
        if kind is type(value):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # pydantic warns of values of other types
                expected = text_of(dumps, value)
                assert text_of(write, value) == expected
                if not own_filter.maker.is_pydantic:
                    with suppress(ResponseError):  # an object with more fields
                        assert text_of(own_filter.item_writer(dumps, own), value) == expected


@given(st.data())
def test_R78_objects_with_more_fields_are_found_in_each_result(data: st.DataObject) -> None:
    hint, values = data.draw(st.one_of(structures(2), structures(3), collections(2)))
    value = data.draw(values)

    def outcome(check: Callable[[], object]) -> bool:
        try:
            check()
        except TypeError:
            return False
        return True

    shape = Shape(hint, is_strict=True)
    assert outcome(lambda: shape.is_plain(value)) == outcome(lambda: check_exact(value, hint))


@given(st.data())
def test_a_shape_is_complete_before_another_thread_can_find_it(data: st.DataObject) -> None:
    hint, values = data.draw(st.one_of(structures(2), structures(3), collections(2)))
    value = data.draw(values)

    class Known(list[Shape]):
        def append(self, shape: Shape) -> None:
            super().append(shape)
            shape.is_plain(value)  # as a thread that is a moment ahead does

    Shape(hint, False, Known()).is_plain(value)


@dataclass
class Owner:
    id: int
    email: str = "a@example.org"


@dataclass
class Item:
    owner: Owner
    price: float
    tags: list[str]
    note: str | None = None


class Line(msgspec.Struct):
    price: float
    item: Item


@attrs.define
class AttrsOwner:
    id: int
    email: str = "a@example.org"


@attrs.frozen
class AttrsItem:
    price: float
    owner: AttrsOwner = attrs.field(factory=lambda: AttrsOwner(1))
    note: str | None = None


class OwnerModel(pydantic.BaseModel):
    id: int
    email: str = "a@example.org"


class ItemModel(pydantic.BaseModel):
    owner: OwnerModel
    price: float
    note: str | None = None


class Link(msgspec.Struct):
    price: float
    next: Link | None = None


class OddLink(msgspec.Struct, omit_defaults=True, tag=True):
    price: float
    next: OddLink | None = None


def calls(function: Callable[[Any], object], argument: object) -> int:
    """Return how many functions, of Python and of C, a call calls."""
    function(argument)  # what is compiled, is compiled now
    return steps_of(function, argument)


def item(price: float = 1.5) -> Item:
    return Item(Owner(1), price, ["x"])


MANY: list[tuple[Any, Callable[[], Any]]] = [
    (Item, item),
    (Line, lambda: Line(1.5, item())),
    (AttrsItem, lambda: AttrsItem(1.5)),
    (ItemModel, lambda: ItemModel(owner=OwnerModel(id=1), price=1.5)),
]


@pytest.mark.parametrize(("annotation", "make"), MANY)
def test_a_longer_list_takes_no_more_calls(annotation: Any, make: Callable[[], Any]) -> None:
    own = filter_of(list[annotation])
    assert own is not None
    write = own.item_writer(dumps_with({}), {})
    few, many = ([make() for _ in range(count)] for count in (10, 1000))
    assert calls(write, many) == calls(write, few)
    assert b"null" in write(many)


def chain_of(kind: Any, length: int) -> Any:
    link = None
    for _ in range(length):
        link = kind(1.5, link)
    return link


@pytest.mark.parametrize("kind", [Link, OddLink])
@pytest.mark.parametrize("is_typed", [True, False])
def test_a_chain_takes_calls_in_proportion_to_its_length(kind: Any, is_typed: bool) -> None:
    own, dumps = filter_of(kind), dumps_with({})
    assert own is not None
    write = own.bodies(dumps, {})[kind] if is_typed else dumps
    short, long = (calls(write, chain_of(kind, length)) for length in (40, 160))
    assert long < 4.2 * short


def test_a_null_in_an_untyped_value_takes_few_more_calls() -> None:
    dumps = dumps_with({})
    without, some = ({"items": [{"a": 1.5, "b": one}] * 1000} for one in ("", None))
    assert calls(dumps, some) < calls(dumps, without) + 20


@dataclass
class Pair:
    left: Pair | None
    right: Pair | None
    ratio: float = 1.5


def test_R78_objects_that_are_reached_in_many_ways_are_looked_at_once() -> None:
    """Through thirty levels that each contain the next twice, there are a billion ways."""
    shape, pair = Shape(Pair, is_strict=True), None
    for _ in range(30):
        pair = Pair(pair, pair)
    assert shape.is_plain(pair)
    last = Pair(None, None, float("nan"))
    pair = last
    for _ in range(30):
        pair = Pair(pair, pair)
    assert not shape.is_plain(pair)
    last.left = last.right = pair
    assert not shape.is_plain(pair)


@given(
    st.lists(st.decimals() | st.from_regex(r"-?\d{1,4}\.?\d{0,320}", fullmatch=True).map(Decimal))
)
def test_the_size_of_several_decimals_is_that_of_each(numbers: list[Decimal]) -> None:
    assert are_moderate(numbers) == all(map(is_moderate, numbers))


class Offset(tzinfo):
    """An application's own time zone."""

    def __init__(self, offset: timedelta | None) -> None:
        self._offset = offset

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        return self._offset

    dst = tzname = utcoffset  # type: ignore[assignment]


@dataclass
class Late:
    moment: datetime
    hour: time
    note: str | None = None


ZONES = [
    None,
    UTC,
    timezone(timedelta(hours=-5, minutes=-30)),
    timezone(timedelta(hours=1, seconds=1)),
    timezone(timedelta(microseconds=1)),
    ZoneInfo("Europe/Amsterdam"),
    Offset(None),
    Offset(timedelta(hours=2)),
    Offset(timedelta(minutes=19, seconds=32)),
]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("year", [1, 1890, 2024])
@pytest.mark.parametrize("module", ["orjson", "none"])
def test_a_time_is_sent_in_iso_format(
    monkeypatch: pytest.MonkeyPatch, zone: tzinfo | None, year: int, module: str
) -> None:
    monkeypatch.setitem(sys.modules, *(("orjson", None) if module == "none" else ("none", None)))
    own = filter_of(Late)
    assert own is not None
    moment = datetime(year, 7, 2, 3, 4, 5, 6, zone)
    sent = json.loads(own.item_writer(dumps_with({}), {})(Late(moment, moment.timetz())))
    assert sent == {"moment": moment.isoformat(), "hour": moment.timetz().isoformat(), "note": None}


@dataclass
class Computed:
    ratio: float = dataclasses.field(init=False, default=float("nan"))


@attrs.define
class Hidden:
    _ratio: float


class Twice(dict[str, float]):
    def items(self) -> Any:
        return [("ratio", float("inf"))]


@pytest.mark.parametrize("value", [Computed(), Hidden(float("nan")), Twice(a=1.0), Odd.RATIO])
def test_R77_a_number_that_msgspec_omits_is_found(value: object) -> None:
    dumps = dumps_with({Odd: lambda _: float("nan")})
    with pytest.raises(CodecError, match="NaN and Infinity"):
        dumps([value, None])


@pytest.mark.parametrize("own", [{}, {Owner: lambda owner: owner.id}])
def test_R77_a_null_is_encoded_without_msgspec(monkeypatch: pytest.MonkeyPatch, own: Any) -> None:
    dumps, text = dumps_with(own), b'[null,{"id":1,"email":"a@example.org"}]'
    monkeypatch.setitem(sys.modules, "msgspec", None)
    assert dumps([None, Owner(1)]) == (b"[null,1]" if own else text)
    with pytest.raises(CodecError, match="NaN and Infinity"):
        dumps([None, float("nan")])


@pytest.mark.parametrize("annotation", [Item, list[Item], Line, ItemModel])
def test_a_number_that_is_not_finite_gets_a_500(make_client: MakeClient, annotation: Any) -> None:
    one = item(float("nan"))
    wrong: Any = Line(1.5, one) if annotation is Line else one
    if annotation is ItemModel:
        wrong = ItemModel.model_construct(owner=OwnerModel(id=1), price=float("inf"))
    result = [wrong] if annotation == list[Item] else wrong

    def show() -> Any:
        return result

    show.__annotations__["return"] = annotation
    app = App()
    app.get("/")(show)
    assert make_client(app).get("/").status_code == 500


def test_defaults_that_msgspec_has_not_stored_are_sent(make_client: MakeClient) -> None:
    """msgspec leaves the defaults of a dataclass to the class."""

    class Shop(App):
        @post
        def items(self, items: list[Item]) -> list[Item]:
            return items

    sent = [{"owner": {"id": 1}, "price": 1.5, "tags": []}]
    answer = make_client(Shop()).post("/items", json=sent).json()
    assert answer == [{**sent[0], "owner": {"id": 1, "email": "a@example.org"}, "note": None}]


def test_a_value_returned_by_a_hook_is_sent_unchanged(make_client: MakeClient) -> None:
    """Its row of the table of encoders is that of the handler's annotation."""

    class Ahead(HttpMiddleware):
        def before_request(self, request: Request) -> object:
            return {"body": [NOON.replace(tzinfo=UTC), {"a": None}]}

    class Shop(App):
        def items(self) -> list[Item]: ...  # type: ignore[empty-body]

        def models(self) -> list[ItemModel]: ...  # type: ignore[empty-body]

    app = Shop()
    app.middlewares.append(Ahead())
    client = make_client(app)
    for path in ("/items", "/models"):
        assert client.get(path).json() == ["2024-02-29T12:00:00.000005+00:00", {"a": None}]


@pytest.mark.parametrize("place", ["loop", "thread"])
def test_values_that_nothing_can_change_before_they_are_sent_are_checked_once(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, place: Literal["loop", "thread"]
) -> None:
    checked: list[object] = []
    result, check = [item()], Shape.is_plain

    def is_plain(shape: Shape, value: object) -> bool:
        checked.append(value)
        return check(shape, value)

    monkeypatch.setattr(Shape, "is_plain", is_plain)

    class Renames(HttpMiddleware):
        def after_request(
            self, request: Request, status: int, response_body: Any, extra_headers: Any
        ) -> None:
            response_body[0].tags = [request.path]

    class Shop(App):
        @run_in(place)
        def items(self) -> list[Item]:
            return result

    plain, hooked = Shop(), Shop()
    hooked.middlewares.append(Renames())
    answer = make_client(plain).get("/items").json()
    assert answer == [{**dataclasses.asdict(result[0]), "tags": ["x"]}]
    assert checked == [result]
    answer = make_client(hooked).get("/items").json()
    assert answer == [{**dataclasses.asdict(result[0]), "tags": ["/items"]}]
    assert checked == [result] * 3  # again after the hook, before msgspec encodes it


class Basket(list[Item]):
    """What a handler returns a part of."""


def test_a_provider_may_change_a_result_before_it_is_sent(make_client: MakeClient) -> None:
    app = App()

    @app.provides(Basket)
    def basket() -> Iterator[Basket]:
        made = Basket([item()])
        yield made
        made[0].tags.append("sold")

    @app.get("/items")
    def items(found: Basket) -> list[Item]:
        return list(found)

    assert make_client(app).get("/items").json()[0]["tags"] == ["x", "sold"]


class Dumped(pydantic.BaseModel):
    name: str

    def model_dump(self, **options: Any) -> dict[str, Any]:
        return {"own": self.name}


class Summed(pydantic.BaseModel):
    name: str

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def ratio(self) -> float:
        return float("nan")


class Infinite(pydantic.BaseModel, ser_json_inf_nan="constants"):
    ratio: float


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (Dumped(name="a"), '{"own":"a"}'),
        (Summed(name="a"), None),
        (Infinite(ratio=float("inf")), None),
    ],
)
def test_a_model_with_its_own_serializers_is_encoded_by_them(
    make_client: MakeClient, result: Any, text: str | None
) -> None:
    def show() -> Any:
        return result

    show.__annotations__["return"] = type(result)
    app = App()
    app.get("/")(show)
    answer = make_client(app).get("/")
    assert (answer.status_code, answer.text) == (200, text) if text else answer.status_code == 500


class Box(Generic[T]):
    def __str__(self) -> str:
        return "a box"


def data_of(hint: Any) -> Any:
    return dataclasses.make_dataclass("One", [("one", hint)])


@dataclass
class Span(timedelta):
    note: str = "a timedelta"


@pytest.mark.parametrize(
    ("hint", "value", "own"),
    [
        (datetime, NOON.replace(tzinfo=UTC), {}),
        (Colour, Colour.RED, {}),
        (Level, Level.LOW, {}),
        (Named, Named.A, {}),
        (Odd, Odd.RATIO, {}),
        (Colour, Colour.RED, {Colour: lambda colour: colour.name}),
        (Owner, Owner(1), {Owner: lambda owner: owner.id}),
        (dict[int, float], {1: 1.5}, {}),
        (dict[str, float], {"a": 1.5, "b": None}, {}),
        (Box[int], Box(), {Box: str}),
        (Box[int] | Owner, Box(), {Box: str}),
        (Mapping[str, Owner] | None, {"a": Owner(1)}, {}),
        (Span, Span(), {}),
        (float | None, "text", {}),
        (Owner | float, 1.5, {}),
        (list[Any], [NOON.replace(tzinfo=UTC)], {}),
    ],
)
def test_a_field_is_encoded_as_without_its_annotation(hint: Any, value: Any, own: Any) -> None:
    owner, dumps = data_of(hint), dumps_with(own)
    found = filter_of(owner)
    assert found is not None
    result = found.make(owner(value))
    assert text_of(found.bodies(dumps, own)[owner], result) == text_of(dumps, result) != "an error"


class AttrsDerived(AttrsOwner):
    pass


@attrs.define
class Node:
    name: str
    children: list[Node]


@attrs.define
class Chain:
    name: str
    after: Chain | None


@attrs.frozen
class AttrsPage(Generic[T]):
    total: int
    items: Sequence[T]


@dataclass
class DataPage(Generic[T]):
    total: float
    items: list[T]


PAGES: set[Any] = {AttrsPage(number, ()) for number in range(9)}
OWNERS = [AttrsOwner(2), AttrsOwner(1, "null")]


@pytest.mark.parametrize(
    ("hint", "value", "is_fast"),
    [
        (AttrsItem | None, AttrsItem(1, note="a"), True),
        (AttrsItem | None, None, True),
        (AttrsDerived, AttrsDerived(1), True),
        (list[AttrsOwner], OWNERS, True),
        (dict[str, tuple[AttrsOwner, ...]], {"b": (*OWNERS,), "a": ()}, True),
        (Mapping[str, Annotated[AttrsOwner, "a note"]], {"b": OWNERS[0]}, True),
        (tuple[AttrsOwner, int], (OWNERS[0], 1), True),
        (AttrsPage[AttrsOwner], AttrsPage(1, (*OWNERS,)), True),
        (AttrsPage[datetime], AttrsPage(1, [NOON.replace(tzinfo=UTC)]), True),
        (AttrsPage[AttrsPage[float]], AttrsPage(1, [AttrsPage(1, [1, 2.5])]), True),
        (AttrsOwner, AttrsOwner(1, float("nan")), False),  # type: ignore[arg-type]
        (AttrsOwner, AttrsOwner(Owner(1)), False),  # type: ignore[arg-type]
        (DataPage[AttrsOwner], DataPage(1, OWNERS), False),
        (Node, Node("a", [Node("b", [])]), False),
        (Chain, Chain("a", Chain("b", None)), False),
        (AttrsOwner | AttrsItem, OWNERS[0], False),
        (set[AttrsPage[int]], PAGES, False),
        (Any, OWNERS, False),
    ],
)
def test_an_attrs_class_keeps_the_order_of_its_fields(hint: Any, value: Any, is_fast: bool) -> None:
    owner = attrs.make_class("One", {"one": attrs.field(type=hint), "a": attrs.field(type=int)})
    given, dumps, result = [], dumps_with({}), owner(value, 1)

    def general(one: object) -> bytes:
        given.append(one)
        return dumps(one)

    found = filter_of(owner)
    assert found is not None
    assert text_of(found.bodies(general, {})[owner], result) == text_of(dumps, result)
    assert is_fast == (result not in given)


def test_pydantic_does_not_search_for_the_class_of_an_object_that_is_known() -> None:
    asked: list[object] = []
    tags = {OwnerModel: "owner", ItemModel: "item"}

    def tag_of(value: object) -> str:
        asked.append(value)
        return tags[type(value)]  # type: ignore[index]

    members = [Annotated[kind, pydantic.Tag(tag)] for kind, tag in tags.items()]
    union: Any = Union[tuple(members)]
    found = filter_of(list[Annotated[union, pydantic.Discriminator(tag_of)]])
    assert found is not None
    dumps, value = dumps_with({}), [OwnerModel(id=1), ItemModel(owner=OwnerModel(id=2), price=1.5)]
    assert found.bodies(dumps, {})[list](value) == dumps(value)
    assert asked == []


def test_an_attrs_class_is_encoded_by_its_own_encoder() -> None:
    dumps, found = dumps_with({AttrsOwner: str}), filter_of(AttrsItem)
    assert found is not None
    write = found.bodies(dumps, {AttrsOwner: str})[AttrsItem]
    assert text_of(write, AttrsItem(1)) == text_of(dumps, AttrsItem(1))


def test_an_unset_field_of_an_attrs_class_is_omitted() -> None:
    hints: Any = {"b": int, "a": int | msgspec.UnsetType}
    owner = attrs.make_class("One", {name: attrs.field(type=hints[name]) for name in hints})
    found = filter_of(owner)
    assert found is not None
    write = found.bodies(dumps_with({}), {})[owner]
    assert (write(owner(1, 2)), write(owner(1, msgspec.UNSET))) == (b'{"b":1,"a":2}', b'{"b":1}')


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (float, [1.5, float("nan")]),
        (list[float], [[1.5], (2.5,), "a"]),
        (ItemModel | None, [None, 5, OwnerModel(id=1)]),
    ],
)
def test_a_non_strict_shape_refuses_nothing(hint: Any, value: list[Any]) -> None:
    assert not Shape(list[hint], is_strict=False).is_plain(value)


def test_finite_numbers_whose_sum_is_infinite_are_plain() -> None:
    shape = Shape(list[float], is_strict=False)
    assert shape.is_plain([1.5, 2.5])
    assert shape.is_plain([1e308, 1e308])
    assert not shape.is_plain([float("inf"), float("-inf")])
    assert not shape.is_plain([float("nan"), 1.5])


@dataclass
class Nested:
    inner: Nested | None = None
    number: float = 1.5


def nested(levels: int) -> Nested:
    return functools.reduce(lambda inner, _: Nested(inner), range(levels), Nested())


def test_a_value_of_too_many_levels_is_not_plain() -> None:
    shape = Shape(Nested, is_strict=False)
    assert shape.is_plain(nested(100))
    assert not shape.is_plain(nested(500))


@dataclass
class Titled:
    name: str


def test_text_that_msgspec_refuses_is_encoded_as_in_a_dict(make_client: MakeClient) -> None:
    class Root(App):
        def typed(self) -> Titled:
            return Titled("\ud800")

        def untyped(self) -> dict[str, str]:
            return {"name": "\ud800"}

    client = make_client(Root())
    typed, untyped = client.get("/typed"), client.get("/untyped")
    assert (typed.status_code, typed.text) == (untyped.status_code, untyped.text)
