"""The results of an annotation are encoded by msgspec or pydantic, with the same meaning as by the
encoder that knows no annotation (``http/json.py``).
"""

from __future__ import annotations

import dataclasses
import enum
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import PurePosixPath
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, NewType, TypedDict, Union, get_args
from uuid import UUID

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micropie import App, describe
from micropie._core.binding import ResultFilter, answers_of, result_filter
from micropie._core.binding.annotations import elements_of
from micropie._core.binding.fields import (
    hints_of_class,
    is_named_tuple,
    is_pydantic,
    is_structure,
    kinds_in,
)
from micropie._core.binding.values.shapes import Shape
from micropie._core.errors import ResponseError
from micropie._core.http.json import Dumps, Encoders, dumps_with
from tests.support.clients import MakeClient


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

JUNK = st.sampled_from([None, 5, "a", float("nan"), NOON, [1], {"a": 1.5}, ("a",), Money(), Colour.RED])


def usually(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 30).flatmap(lambda number: JUNK if number == 0 else values)


@st.composite
def made(draw: st.DrawFn, depth: int = 3) -> Made:
    """An annotation of any kind."""
    forms: list[Callable[..., st.SearchStrategy[Made]]] = [collections, unions, structures]
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        hint, values = draw(st.sampled_from(LEAVES))
        return hint, usually(st.sampled_from(values))
    return draw(draw(st.sampled_from(forms))(depth - 1))


@st.composite
def unions(draw: st.DrawFn, depth: int) -> Made:
    members = draw(st.lists(made(depth), min_size=1, max_size=2))
    others = [(NoneType, st.none())] if draw(st.booleans()) else []
    both = [*members, *others]
    return Union[tuple(hint for hint, _ in both)], st.one_of([values for _, values in both])  # noqa: UP007


@st.composite
def collections(draw: st.DrawFn, depth: int) -> Made:
    hint, values = draw(made(depth))
    other, others = draw(made(depth))
    lists = st.lists(values, max_size=3)
    form = draw(st.integers(0, 7))
    return {
        0: (list[hint], lists),
        1: (Sequence[hint], st.one_of(lists, lists.map(tuple))),
        2: (tuple[hint, ...], lists.map(tuple)),
        3: (tuple[hint, other], st.tuples(values, others)),
        4: (dict[str, hint], st.dictionaries(st.sampled_from(["a", "b"]), values)),
        5: (Mapping[str, hint], st.dictionaries(st.sampled_from(["a", Text("b")]), values)),
        6: (dict[int, hint], st.dictionaries(st.integers(0, 3), values)),
        7: (set[str], st.sets(st.sampled_from(["a", "b"]))),
    }[form]


NAMES = ("first", "second_one", "_hidden", "third")
KINDS = ("dataclass", "struct", "attrs", "document", "tuple", "model", "struct", "dataclass")


@st.composite
def structures(draw: st.DrawFn, depth: int) -> Made:
    parts = draw(st.lists(made(depth), min_size=1, max_size=3))
    kind = draw(st.sampled_from(KINDS))
    names = NAMES[1:] if kind in ("dataclass", "attrs") and draw(st.booleans()) else NAMES[::3] + ("b",)
    fields = dict(zip(names, parts, strict=False))
    hints = {name: hint for name, (hint, _) in fields.items()}
    values = {name: part for name, (_, part) in fields.items()}
    if kind == "dataclass":
        hinted: Any = [*hints.items()]
        if draw(st.integers(0, 9)) == 0:
            hinted.append(("made", float, dataclasses.field(init=False, default=float("nan"))))
        owner: Any = dataclasses.make_dataclass("Data", hinted, slots=draw(st.booleans()))
    elif kind == "struct":
        options: Any = draw(
            st.sampled_from([{}, {"rename": "camel"}, {"tag": True}, {"array_like": True}, {"omit_defaults": True}])
        )
        fallback = draw(st.sampled_from([msgspec.NODEFAULT, msgspec.UNSET, 5]))
        hinted = [*hints.items()]
        if fallback is not msgspec.NODEFAULT:
            hinted.append(("last", int | msgspec.UnsetType, fallback))
            values["last"] = st.sampled_from([5, msgspec.UNSET, 6])
        owner = msgspec.defstruct("Struct", hinted, **options)
    elif kind == "attrs":
        owner = attrs.make_class("Attrs", {name: attrs.field(type=hint) for name, hint in hints.items()}, slots=draw(st.booleans()))
        values = {name.lstrip("_"): part for name, part in values.items()}
    elif kind == "document":
        owner = TypedDict("Document", hints)  # type: ignore[operator]
    elif kind == "tuple":
        owner = NamedTuple("Tuple", hints.items())  # type: ignore[misc]
    else:
        stated: Any = {name: (hint, ...) for name, hint in hints.items()}
        config = pydantic.ConfigDict(arbitrary_types_allowed=True)
        if draw(st.integers(0, 9)) == 0:
            config["extra"] = "allow"
        try:
            owner = pydantic.create_model("Model", __config__=config, **stated)
        except pydantic.errors.PydanticUserError:  # an annotation that pydantic does not know
            owner = pydantic.create_model("Model", __config__=config, first=(Any, ...))
        make: Any = owner.model_construct
        return owner, usually(st.builds(make, **values))
    whole = st.builds(owner, **values)
    if kind in ("dataclass", "struct", "attrs") and draw(st.integers(0, 9)) == 0:
        base: Any = type("Derived", (owner,), {"secret": 1})
        return owner, st.builds(base, **values)
    return owner, usually(whole)


def check_exact(value: Any, hint: Any) -> None:
    """Raise ``TypeError`` for a value with more fields than declared: the plain way, value by
    value.
    """
    inside = kinds_in(hint, are_fields_in=False)
    if not any(is_structure(one) or is_named_tuple(one) for one in inside):
        return
    if value is None or isinstance(value, str | int | float):
        return
    bare = hint
    while hasattr(bare, "__metadata__") or isinstance(bare, NewType):
        bare = bare.__supertype__ if isinstance(bare, NewType) else bare.__origin__
    if get_args(bare) and getattr(bare, "__origin__", None) in (Union, None) and not is_structure(bare):
        members: Sequence[Any] = get_args(bare)
    else:
        members = (bare,)
    for member in members:
        owner = getattr(member, "__origin__", member)
        if len(members) > 1 and (hasattr(member, "__metadata__") or isinstance(member, NewType)):
            member = getattr(member, "__supertype__", None) or member.__origin__  # noqa: PLW2901
            owner = getattr(member, "__origin__", member)
        if owner is Any:
            return
        if is_structure(member):
            hints = {} if is_pydantic(member) else hints_of_class(member)
            if hasattr(owner, "__required_keys__"):
                if isinstance(value, dict) and value.keys() <= hints.keys():
                    for name, one in value.items():
                        check_exact(one, hints[name])
                    return
            elif owner is type(value):
                for name, inner in hints.items():
                    check_exact(getattr(value, name, None), inner)
                return
        elif is_named_tuple(member):
            if isinstance(value, tuple):
                for one, inner in zip(value, hints_of_class(member).values(), strict=False):
                    check_exact(one, inner)
                return
        elif isinstance(owner, type) and isinstance(value, owner):
            arguments = get_args(member)
            if isinstance(value, Mapping) and arguments:
                for one in value.values():
                    check_exact(one, arguments[-1])
            elif arguments:
                for one, inner in zip(value, elements_of(member) or (), strict=False):
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
@settings(max_examples=300, deadline=None)
def test_a_result_is_written_as_by_the_encoder_that_knows_no_annotation(data: st.DataObject) -> None:
    hint, values = data.draw(st.one_of(structures(2), structures(3), collections(2)))
    own = data.draw(st.sampled_from(OWN))
    try:
        own_filter = filter_of(hint)
    except Exception:  # noqa: BLE001 - an annotation that neither library can read
        return
    if own_filter is None:
        return
    value = data.draw(values)
    dumps = dumps_with(own)
    for kind, write in own_filter.bodies(dumps, own).items():
        if kind is type(value):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # pydantic warns of values of other types
                assert text_of(write, value) == text_of(dumps, value)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_R78_objects_with_more_fields_are_found_as_value_by_value(data: st.DataObject) -> None:
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
