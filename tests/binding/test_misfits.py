"""Form classes: every invalid field is reported at once, in words for visitors, with what was
typed.
"""

import dataclasses
import inspect
import re
import tracemalloc
from collections.abc import Sequence
from contextlib import suppress
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    TypedDict,
    TypeVar,
)

import annotated_types
import attrs
import msgspec
import pydantic
import pytest
import typing_extensions
from babel.support import Translations
from msgspec import Meta

from micropie import App, BindingErrors, Form, Message, Query, SetupError, UploadFile, post
from micropie._core.binding.structures import invalid as misfits
from micropie._core.binding.structures.invalid import CALL, MOST_VALUES, RUN
from micropie._core.binding.structures.invalid import DEEPEST as DEEPEST_SEARCH
from micropie._core.binding.structures.makers import maker_for
from micropie._core.binding.structures.readings import Reading
from micropie._core.binding.values.constraints import (
    MOST_ERRORS,
    NO_ARRAY,
    NO_OBJECT,
    UNWANTED,
)
from micropie._core.binding.values.converters import OwnTypes, converter_for
from micropie._core.binding.values.limits import SizeError, check_sizes
from micropie._core.http import ParameterError
from micropie._core.http.forms.data import DEEPEST, ITSELF, nested
from micropie._core.http.json import count_values
from micropie.testing import TestClient
from tests.support.clients import MakeClient

Name = NewType("Name", str)


def problems_of(kind: Any, given: Any, place: str = "json") -> Sequence[ParameterError]:
    """Return what is wrong with a document, or with the fields of a form or a query, for a
    structure.
    """
    maker = maker_for(kind)
    is_json = place == "json"
    document = given if is_json else maker.document_of(given, place == "form")
    try:
        maker.make(document, is_json)
    except ValueError as error:
        return misfits.problems_of(error, maker, document, is_json)
    raise AssertionError("it was made")


class Size(Enum):
    SMALL = "s"
    LARGE = "l"


class Line(msgspec.Struct):
    name: Annotated[str, Meta(min_length=1)]
    price: Annotated[float, Meta(gt=0)]
    gift: bool = False


class Order(msgspec.Struct):
    title: Annotated[
        str, Meta(min_length=3), Message("A longer title, please.", required="A title, please.")
    ]
    size: Size
    day: date
    when: datetime
    at: time
    agree: bool
    news: bool = True
    guests: Annotated[int, Meta(ge=1, le=12)] = 2
    nick: Annotated[str, Meta(min_length=3, pattern="^[a-z]+$")] = ""
    note: str | None = None
    tags: list[str] = []
    numbers: Annotated[list[int], Meta(min_length=1)] = []
    lines: list[Line] = []

    def __post_init__(self) -> None:
        if self.title == "bad":
            raise ValueError('It is "bad".')


class Deep(msgspec.Struct):
    number: int
    inner: "Deep | None" = None


@dataclasses.dataclass
class Filter:
    page: int = 1
    wide: bool = True
    ids: list[int] | None = None


@dataclasses.dataclass
class DataLine:
    name: Annotated[str, Meta(min_length=1)]
    price: Annotated[float, Meta(gt=0)]
    gift: bool = False


@dataclasses.dataclass
class DataOrder:
    title: Annotated[
        str, Meta(min_length=3), Message("A longer title, please.", required="A title, please.")
    ]
    size: Size
    day: date
    when: datetime
    at: time
    agree: bool
    news: bool = True
    guests: Annotated[int, Meta(ge=1, le=12)] = 2
    nick: Annotated[str, Meta(min_length=3, pattern="^[a-z]+$")] = ""
    note: str | None = None
    tags: list[str] = dataclasses.field(default_factory=list)
    numbers: Annotated[list[int], Meta(min_length=1)] = dataclasses.field(default_factory=list)
    lines: list[DataLine] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        if self.title == "bad":
            raise ValueError('It is "bad".')


class ModelLine(pydantic.BaseModel):
    name: str = pydantic.Field(min_length=1)
    price: float = pydantic.Field(gt=0)
    gift: bool = False


class ModelOrder(pydantic.BaseModel):
    title: Annotated[
        str,
        pydantic.Field(min_length=3),
        Message("A longer title, please.", required="A title, please."),
    ]
    size: Size
    day: date
    when: datetime
    at: time
    agree: bool
    news: bool = True
    guests: int = pydantic.Field(2, ge=1, le=12)
    nick: str = pydantic.Field("", min_length=3, pattern="^[a-z]+$")
    note: str | None = None
    tags: list[str] = []
    numbers: list[int] = pydantic.Field([], min_length=1)
    lines: list[ModelLine] = []

    @pydantic.model_validator(mode="after")
    def is_good(self) -> "ModelOrder":
        if self.title == "bad":
            raise ValueError('It is "bad".')
        return self


KINDS = [Order, DataOrder, ModelOrder]

GOOD = {
    "title": "pie",
    "size": "s",
    "day": "2026-01-31",
    "when": "2026-01-31T13:45",
    "at": "13:45",
    "numbers": "1",
    "lines[3].name": "apple",
    "lines[3].price": "2.5",
    "lines[7].name": "plum",
    "lines[7].price": "1",
    "lines[7].gift": "on",
    "guests": "",
    "nick": "",
    "note": "",
}
BAD = {
    "title": "p",
    "size": "x",
    "day": "",
    "when": "soon",
    "at": "25:00",
    "numbers": ["1", "x"],
    "guests": "99",
    "nick": "a!",
    "lines[0].name": "",
    "lines[0].price": "-1",
    "lines[2].price": "nan",
}
TOLD = {
    "title": "A longer title, please.",
    "size": "Please choose one of s, l.",
    "day": "Please fill in this field.",
    "when": "Please enter a date and time such as 2026-01-31T13:45:00.",
    "at": "Please enter a time such as 13:45:00.",
    "guests": "Please enter a value of 12 or less.",
    "nick": "Please use at least 3 characters.",
    "numbers[1]": "Please enter a whole number.",
    "lines[0].name": "Please fill in this field.",
    "lines[0].price": "Please enter a value above 0.",
    "lines[1].name": "Please fill in this field.",
    "lines[1].price": "Please enter a number.",
}


def form_app(kind: Any, **settings: Any) -> App:
    app = App(text="plain", **settings)

    @app.route("/order", methods=["GET", "POST"])
    def order(errors: BindingErrors, order: kind | None = None) -> Any:
        if order is None:
            return {"told": {one.field: str(one) for one in errors}, "given": errors.given}
        lines = [(one.name, one.price, one.gift) for one in order.lines]
        times = (order.day, order.when, order.at)
        own = (order.size.name, *times, order.agree, order.news, order.guests)
        return [order.title, *own, order.nick, order.note, order.tags, order.numbers, lines]

    @app.post("/strict")
    def strict(order: kind) -> str:
        return "fits"

    return app


@pytest.mark.parametrize("kind", KINDS)
def test_a_form_is_read_as_browsers_send_it(make_client: MakeClient, kind: type) -> None:
    client = make_client(form_app(kind))
    assert client.get("/order").json() == {"told": {}, "given": {}}
    lines = [["apple", 2.5, False], ["plum", 1.0, True]]
    inputs = ["2026-01-31", "2026-01-31T13:45:00", "13:45:00"]
    expected: list[Any] = ["pie", "SMALL", *inputs, False, False, 2, "", None, [], [1], lines]
    assert client.post("/order", data=GOOD).json() == expected
    ticked: dict[str, Any] = {"agree": ["false", "on"], "news": "on", "tags": ["a", "b"]}
    ticked = {**GOOD, **ticked, "note": "x", "guests": "3"}
    expected = ["pie", "SMALL", *inputs, True, True, 3, "", "x", ["a", "b"], [1], lines]
    assert client.post("/order", data=ticked).json() == expected
    assert client.post("/order", data={**GOOD, "at": "13:45:10"}).json()[4] == "13:45:10"


@pytest.mark.parametrize("kind", KINDS)
def test_every_invalid_field_is_reported(make_client: MakeClient, kind: type) -> None:
    client = make_client(form_app(kind))
    answer = client.post("/order", data=BAD).json()
    assert answer["told"] == TOLD
    lines = [{"name": "", "price": "-1"}, {"price": "nan"}]
    assert answer["given"] == {**BAD, "lines": lines}
    told = client.post(
        "/order", content=b"", headers={"Content-Type": "application/x-www-form-urlencoded"}
    ).json()
    assert told["told"] == {
        "title": "A title, please.",
        "size": "Please choose one of s, l.",
        "day": "Please fill in this field.",
        "when": "Please fill in this field.",
        "at": "Please fill in this field.",
        "numbers": "Please choose at least 1.",
    }
    found = client.post("/order", data={**GOOD, "title": "bad"}).json()["told"]
    assert found == {"order": 'It is "bad".'}


@pytest.mark.parametrize("kind", KINDS)
def test_an_entry_left_empty_is_reported_as_sent(kind: type) -> None:
    problems = problems_of(kind, {**_sent(GOOD), "day": [""], "numbers": ["1", ""]}, "form")
    told = {one.field: (one.given, one.words) for one in problems}
    assert told == {
        "day": ("", "Please fill in this field."),
        "numbers[1]": ("", "Please fill in this field."),
    }


def _sent(fields: dict[str, Any]) -> dict[str, list[str]]:
    return {name: [value] for name, value in fields.items()}


class Options(msgspec.Struct):
    colours: dict[str, str] = {}


def test_a_dict_in_a_form_has_its_names(make_client: MakeClient) -> None:
    app = App()

    @app.post("/options")
    def options(options: Annotated[Options, Form()]) -> Any:
        return options

    @app.get("/asked")
    def asked(options: Annotated[Options, Query()]) -> Any:
        return options

    client = make_client(app)
    sent = {"colours.dough": "brown", "colours.filling": "red"}
    found = client.post("/options", data=sent).json()
    assert found == {"colours": {"dough": "brown", "filling": "red"}}
    assert client.get("/asked", params=sent).json() == found


@dataclasses.dataclass
class FinalPieces:
    pieces: Final[int] = 1


def test_a_final_field_is_read_and_reported_like_any_other(make_client: MakeClient) -> None:
    app = App(errors="json")

    @app.post("/")
    def index(fixed: FinalPieces) -> int:
        return fixed.pieces

    client = make_client(app)
    assert client.post("/", data={"pieces": "5"}).json() == 5
    refused = {"pieces": "x"}
    for answer in (client.post("/", data=refused), client.post("/", json=refused)):
        (error,) = answer.json()["errors"]
        assert (error["field"], error["detail"]) == ("pieces", "Please enter a whole number.")


@pytest.mark.parametrize("kind", KINDS)
def test_invalid_json_fields_are_reported_like_form_fields(
    make_client: MakeClient, kind: type
) -> None:
    client = make_client(form_app(kind))
    document = {
        "title": 3,
        "size": "x",
        "day": None,
        "when": "2026-01-31T13:45:00",
        "at": "13:45:00",
        "agree": "maybe",
    }
    answer = client.post(
        "/strict", json={**document, "numbers": [1], "lines": [{"name": "", "price": 1}, {}]}
    )
    problem = answer.json()
    assert {one["field"]: one["detail"] for one in problem["errors"]} == {
        "title": "A longer title, please.",
        "size": "Please choose one of s, l.",
        "day": "Please fill in this field.",
        "agree": "Please choose yes or no.",
        "lines[0].name": "Please fill in this field.",
        "lines[1].name": "Please fill in this field.",
        "lines[1].price": "Please fill in this field.",
    }
    assert problem["detail"].startswith(
        "Parameter 'order' is invalid: title: A longer title, please. Parameter"
    )
    by_field = {one["field"]: one for one in problem["errors"]}
    assert by_field["size"]["expected"] == "one of s, l"
    assert by_field["lines[1].price"]["path"] == ["lines", 1, "price"]


def test_the_page_for_a_visitor_lists_the_invalid_fields(make_client: MakeClient) -> None:
    client = make_client(form_app(Order))
    page = client.post(
        "/strict", data={**GOOD, "guests": "99", "size": "<"}, headers={"Accept": "text/html"}
    ).text
    sentences = "size: Please choose one of s, l.<br>\nguests: Please enter a value of 12 or less."
    assert f"<p>{sentences}</p>" in page


def test_invalid_array_elements_are_reported_together(make_client: MakeClient) -> None:
    app = App()

    @app.post("/lines")
    def lines(lines: list[Line]) -> str:
        return f"{len(lines)}"

    client = make_client(app)
    sent = [{"name": "a", "price": 1}, {"name": "", "price": 1}, {"name": "b"}]
    answer = client.post("/lines", json=sent).json()
    assert [one["field"] for one in answer["errors"]] == ["[1].name", "[2].price"]
    assert client.post("/lines", json=sent[:1]).text == "1"
    answer = client.post("/lines", json=[{}] * 500).json()
    assert len(answer["errors"]) == MOST_ERRORS


def test_no_more_validation_errors_are_searched_for_than_reported() -> None:
    class Many(msgspec.Struct):
        numbers: list[int]

    def problems(document: object) -> list[Any]:
        return [(one.sentence, one.words) for one in problems_of(Many, document)]

    assert len(problems({"numbers": ["x"] * 500})) == MOST_ERRORS

    document: dict[str, Any] = {"number": "x"}
    for _ in range(20):
        document = {"number": 1, "inner": document}
    answers = [one.field for one in problems_of(Deep, document)]
    assert answers == [".".join(["inner"] * 20 + ["number"])]
    for place, words in {
        3000: "Please enter a whole number.",
        # so far back that it is not looked for: msgspec has found it
        5000: "Please enter another value.",
    }.items():
        sentence = f"Expected `int`, got `str` - at `$.numbers[{place}]`"
        assert problems({"numbers": [*range(place), "x"]}) == [(sentence, words)]


class Weight:
    made: ClassVar[int] = 0

    def __init__(self, grams: int) -> None:
        Weight.made += 1


class Box(msgspec.Struct):
    weights: list[Weight] = []
    inner: list["Box"] = []
    number: int = 0


@pytest.mark.parametrize("levels", range(10))
def test_describing_a_validation_error_converts_few_values_again(levels: int) -> None:
    """However deep the mistake is: each level holds all values of those below it."""
    maker = maker_for(Box, OwnTypes({}, {Weight: Weight}))
    many = 4 * MOST_VALUES
    document: dict[str, Any] = {"weights": [1] * many, "number": "x"}
    for _ in range(levels):
        document = {"inner": [document]}
    before = Weight.made
    with pytest.raises(ValueError, match="Expected `int`") as refused:
        maker.make(document, is_json=True)
    assert Weight.made - before == many
    found = misfits.problems_of(refused.value, maker, document, is_json=True)
    assert [one.field for one in found] == ["inner[0]." * levels + "number"]
    assert Weight.made - before <= many + MOST_VALUES


def test_a_part_that_msgspec_has_named_is_not_converted_again() -> None:
    maker = maker_for(Box, OwnTypes({}, {Weight: Weight}))
    box = {"weights": [1, 2]}
    document = {"weights": [1], "inner": [box, {"inner": [box, {"number": "x"}, box]}]}
    with pytest.raises(ValueError, match="Expected `int`") as refused:
        maker.make(document, is_json=True)
    before = Weight.made
    found = misfits.problems_of(refused.value, maker, document, is_json=True)
    assert [one.field for one in found] == ["inner[1].inner[1].number"]
    assert Weight.made - before == 1 + 3 * 2  # each of the others once


class Small(msgspec.Struct):
    number: int


class Dotted(msgspec.Struct):
    """Its messages don't show which field is invalid: ``$.a.number`` may be either of them."""

    a: Small
    b: int = msgspec.field(name="a.number", default=1)


class Lying(msgspec.Struct):
    number: int

    def __post_init__(self) -> None:
        raise ValueError("No - at `$.number`")


@pytest.mark.parametrize(
    ("kind", "document", "told"),
    [
        (Dotted, {"a": {"number": 1}, "a.number": "x"}, [(("a.number",), "x")]),
        (Dotted, {"a.number": 1, "a": {"number": "x"}}, [(("a", "number"), "x")]),
        (list[Dotted], [{"a": {"number": 1}, "a.number": "x"}], [((0, "a.number"), "x")]),
        (Lying, {"number": 1}, [((), {"number": 1})]),
        (list[Lying], [{"number": 1}], [((0,), {"number": 1})]),
    ],
)
def test_only_invalid_values_are_reported_if_a_message_is_ambiguous(
    kind: Any, document: object, told: object
) -> None:
    assert [(one.path, one.given) for one in problems_of(kind, document)] == told


T = TypeVar("T")


class Fixed(msgspec.Struct, Generic[T]):
    numbers: T


@pytest.mark.parametrize("places", [[0], [RUN - 1, RUN], [3 * RUN, 4 * RUN + 5], [6 * RUN + 3]])
def test_an_invalid_element_is_found_anywhere_in_a_long_array(places: list[int]) -> None:
    document: list[Any] = [{"number": one} for one in range(6 * RUN + 4)]
    for place in places:
        document[place] = {"number": "x"}
    found = problems_of(list[Small], document)
    assert [one.field for one in found] == [f"[{place}].number" for place in places]
    kind = tuple[(int,) * (2 * RUN)]  # type: ignore[valid-type, misc]
    found = problems_of(Fixed[kind], {"numbers": [1] * (2 * RUN - 1) + ["x"]})  # type: ignore[valid-type]
    assert [one.field for one in found] == [f"numbers[{2 * RUN - 1}]"]
    found = problems_of(Small, {"number": [1] * (2 * RUN)})
    assert [one.field for one in found] == ["number"]


def test_describing_a_validation_error_counts_few_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not those behind the last that may be converted. A long text counts as many values."""
    counted: list[object] = []

    def count(document: object) -> int:
        counted.append(document)
        return count_values(document)

    monkeypatch.setattr(misfits, "count_values", count)
    found = problems_of(list[Small], [{"number": 1}] * 50_000 + [{"number": "x"}])
    assert [one.field for one in found] == ["[50000].number"]
    assert len(counted) < MOST_VALUES // CALL
    assert count_values({"text": ["a" * 200, "b"]}) == 14
    assert count_values(["a" * 3000, [1], [2]]) > 100
    assert count_values([10**30, 1]) == 4
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert count_values(deep) == 1


def test_too_many_values_of_a_set_are_not_converted() -> None:
    converter, before = converter_for(set[Weight], OwnTypes({}, {Weight: Weight})), Weight.made
    with pytest.raises(ValueError, match="at most 1000"):
        converter.from_json([1] * 1001)
    assert Weight.made == before


Word: Any = Literal[tuple(f"word{number}" for number in range(1000))]


class Chosen(TypedDict):
    words: list[Word]


def test_errors_with_long_texts_are_limited() -> None:
    found = problems_of(Chosen, {"words": ["x"] * 100})
    assert 5 < len(found) < 20


class Basket(TypedDict, total=False):
    ids: Annotated[set[int], Message(max_length="Too many goods.")]
    lines: list[Any]
    notes: dict[str, Any]


@pytest.mark.parametrize(
    ("document", "field", "words"),
    [
        ({"ids": [*range(1001)]}, "ids", "Too many goods."),
        ({"ids": ["x"], "lines": [["a"] * 1001]}, "lines[0]", "Please choose at most 1000."),
        (
            {"notes": {"k" * 500: dict.fromkeys(map(str, range(1001)))}},
            f"notes.{'k' * 200}...",
            "Please choose at most 1000.",
        ),
    ],
)
def test_too_many_values_in_a_structure_with_a_set_are_refused(
    document: Any, field: str, words: str
) -> None:
    (found,) = problems_of(Basket, document)
    assert (found.field, found.words) == (field, words)
    assert "1000" in found.expected


# -- which words -----------------------------------------------------------------------------------


class Odd(TypedDict):
    name: Annotated[str, Meta(max_length=1)]
    nick: NotRequired[Name]
    pair: NotRequired[tuple[int, bool]]
    union: NotRequired[int | bool]
    prices: NotRequired[dict[str, Decimal]]
    colour: NotRequired[Literal["red"] | None]


class Spot(NamedTuple):
    number: int
    day: date


class Packed(msgspec.Struct, array_like=True, frozen=True):
    number: int
    line: Line


@dataclasses.dataclass
class Nest:
    lines: dict[str, Line]
    sizes: dict[str, dict[str, Size]]
    days: dict[date, int]
    spot: Spot
    packed: Packed


class ModelNest(pydantic.BaseModel):
    ages: dict[str, Annotated[int, pydantic.Field(ge=1)]]
    spot: Spot


class Pet(pydantic.BaseModel):
    kind: Literal["pet"]
    even: Annotated[int, annotated_types.Predicate(lambda number: number % 2 == 0)] = 0
    lower: Annotated[
        str, pydantic.AfterValidator(lambda text: text if text.islower() else 1 / 0)
    ] = "a"
    mail: Annotated[
        str, pydantic.BeforeValidator(lambda text: _mail(text)), Message(invalid="A mail, please.")
    ] = "@"
    site: Annotated[str, pydantic.BeforeValidator(lambda text: _mail(text))] = pydantic.Field(
        "@", alias="Site"
    )
    tail: Annotated[str, pydantic.AfterValidator(lambda text: _tail(text))] = ""
    pair: tuple[int, bool] = 1, True
    friend: Optional["Pet"] = None
    pets: dict[str, "Pet"] = {}
    legs: Annotated[int, pydantic.Strict()] = 4
    age: int = 1

    @pydantic.field_validator("age")
    @classmethod
    def has_age(cls, age: int) -> int:
        if age < 0:
            raise ValueError
        return age


class Egg(msgspec.Struct, tag=1):
    weight: int


class Bird(msgspec.Struct, tag=2):
    eggs: list[Egg]
    weight: str = ""


class Leaf(msgspec.Struct, tag="leaf"):
    pass


class Branch(msgspec.Struct, tag="branch"):
    parts: list["Leaf | Branch"]


NUMBER = "Please enter a whole number."
REQUIRED = "Please fill in this field."
OTHER = "Please enter another value."
A_DAY = "Please enter a date such as 2026-01-31."


def _mail(text: str) -> str:
    if "@" not in text:
        raise ValueError("No @.")
    return text


def _tail(text: str) -> str:
    if len(text) > 2:
        raise AssertionError("A shorter tail.")  # as ``assert`` does, which pytest rewrites
    return text


@pytest.mark.parametrize(
    ("kind", "document", "told"),
    [
        (Odd, {"name": "ab"}, {"name": "Please use at most 1 character."}),
        (
            Odd,
            {"name": None, "nick": 5},
            {"name": "Please fill in this field.", "nick": "Please enter text."},
        ),
        (Odd, {"name": "a", "pair": [1, "x"]}, {"pair[1]": "Please choose yes or no."}),
        (Odd, {"name": "a", "pair": [1]}, {"pair[1]": REQUIRED}),
        (Odd, {"name": "a", "union": "x"}, {"union": "Please enter another value."}),
        (Odd, {"name": "a", "prices": {"a": "x"}}, {"prices.a": "Please enter a decimal number."}),
        (Odd, {"name": "a", "prices": []}, {"prices": "Please enter a JSON object."}),
        (
            Nest,
            {
                "lines": {"a": {"name": "", "price": "x"}, "b": None, "c": {"name": "a"}},
                "sizes": {"a": {"x": "s", "y": "?"}},
                "days": {"2026-01-31": "x"},
                "spot": ["x", "y"],
                "packed": [1, {"name": "a", "price": 0}],
            },
            {
                "lines.a.name": "Please fill in this field.",
                "lines.a.price": "Please enter a number.",
                "lines.b": "Please fill in this field.",
                "lines.c.price": "Please fill in this field.",
                "sizes.a.y": "Please choose one of s, l.",
                "days.2026-01-31": NUMBER,
                "spot[0]": NUMBER,
                "spot[1]": A_DAY,
                "packed[1].price": "Please enter a value above 0.",
            },
        ),
        (
            Odd,
            {"name": "a", "prices": {"...": 1, "a": "x"}},
            {"prices.a": "Please enter a decimal number."},
        ),
        (
            ModelNest,
            {"ages": {"a": 0, "b": "x"}, "spot": ["x", "y"]},
            {
                "ages.a": "Please enter a value of 1 or more.",
                "ages.b": NUMBER,
                "spot[0]": NUMBER,
                "spot[1]": A_DAY,
            },
        ),
        (Odd, {"name": "a", "colour": "<b>"}, {"colour": "Please choose one of red."}),
        (Odd, [], {"": "Please enter a JSON object."}),
        (Line, {"name": "a", "price": "x", "x": 1}, {"price": "Please enter a number."}),
        (Pet, {"kind": "pet", "even": 1}, {"even": "Please enter another value."}),
        (
            Pet,
            {"kind": "pet", "mail": "x", "Site": "y"},
            {"mail": "A mail, please.", "Site": "No @."},
        ),
        (Pet, {"kind": "pet", "tail": "long"}, {"tail": "A shorter tail."}),
        (
            Pet,
            {"kind": "pet", "pair": ["x", "z"]},
            {"pair[0]": NUMBER, "pair[1]": "Please choose yes or no."},
        ),
        (Pet, {"kind": "pet", "friend": {"kind": 1}}, {"friend.kind": "Please choose one of pet."}),
        (Pet, {"kind": "pet", "pets": {"a": {}}}, {"pets.a.kind": "Please choose one of pet."}),
        (Pet, {"kind": "pet", "pets": [1]}, {"pets": "Please enter a JSON object."}),
        (Pet, 5, {"": "Please enter a JSON object."}),
        (Pet, {"kind": "pet", "age": -1}, {"age": "Please enter another value."}),
        (Pet, {"kind": "pet", "friend": ""}, {"friend": "Please fill in this field."}),
        (Pet, {"kind": "pet", "age": "x"}, {"age": NUMBER}),
        (Pet, {"kind": "pet", "legs": "4"}, {"legs": "Input should be a valid integer"}),
        (Egg | Bird, {"type": 1, "weight": "x"}, {"weight": NUMBER}),
        (
            Egg | Bird,
            {"type": 2, "eggs": [{"type": 1, "weight": "x"}, {"type": 1}], "weight": 5},
            {
                "eggs[0].weight": NUMBER,
                "eggs[1].weight": "Please fill in this field.",
                "weight": "Please enter text.",
            },
        ),
        (Egg | Bird, {"type": 3}, {"type": "Please choose one of 1, 2."}),
        (Egg | Bird, {}, {"type": "Please choose one of 1, 2."}),
    ],
)
def test_each_error_has_its_own_message(kind: Any, document: object, told: dict[str, str]) -> None:
    problems = problems_of(kind, document)
    assert {one.field: one.words for one in problems} == told
    assert {(one.parameter, one.source) for one in problems} == {("", "")}  # who asks knows these


# -- parameters ------------------------------------------------------------------------------------


class Flat(App):
    @post
    def sign(
        self,
        errors: BindingErrors,
        name: Annotated[
            str, Meta(min_length=2, max_length=3), Message("Your name?", max_length="So long?")
        ],
        agree: bool,
        numbers: list[int],
        size: Size,
        news: bool = True,
        age: Annotated[int, Meta(gt=17), Message(gt="Adults only.")] = 18,
        nick: Annotated[str, Meta(min_length=3)] = "",
        tags: Annotated[list[str], Meta(max_length=1)] = ["a"],  # noqa: B006 - it is not changed
        maybe: list[int] | None = None,
        perhaps: bool | None = None,
    ) -> Any:
        told = {
            name: str(errors[name])
            for name in ("name", "numbers", "size", "age", "tags")
            if name in errors
        }
        return {
            "values": [name, agree, numbers, news, age, nick, tags, maybe, perhaps],
            "told": told,
        }

    @post
    def stated(
        self,
        errors: BindingErrors,
        agree: Annotated[bool, Form("yes")],
        numbers: Annotated[list[int], Form("n")],
        at: Annotated[time, Form(), Message("When?")],
        asked: Annotated[bool, Query()] = True,
    ) -> Any:
        return [agree, numbers, asked, str(errors["at"]), errors.given]

    @post
    def files(self, errors: BindingErrors, photo: UploadFile, several: list[UploadFile]) -> Any:
        return [str(one) for one in errors]

    def filtered(self, wanted: Annotated[Filter, Query()]) -> Any:
        return [wanted.page, wanted.wide, wanted.ids]

    def search(self, page: int = 1, wide: bool = True, ids: list[int] = [5]) -> Any:  # noqa: B006
        return [page, wide, ids]


def test_parameters_are_filled_by_forms_in_the_same_way(make_client: MakeClient) -> None:
    client = make_client(Flat())
    answer = client.post(
        "/sign", data={"name": "ann", "size": "s", "age": "", "nick": "", "perhaps": ""}
    ).json()
    assert answer == {"values": ["ann", False, [], False, 18, "", [], None, None], "told": {}}
    answer = client.post(
        "/sign", data={"name": "ann!", "size": "", "age": "9", "numbers": ["1", "x"], "tags": "ab"}
    ).json()
    assert answer["told"] == {
        "name": "So long?",
        "numbers": "Please enter a whole number.",
        "size": "Please choose one of s, l.",
        "age": "Adults only.",
    }
    assert client.post("/sign", data={"name": "", "tags": ["a", "b"]}).json()["told"] == {
        "name": "Your name?",
        "size": "Please choose one of s, l.",
        "tags": "Please choose at most 1.",
    }
    told = client.post("/sign", json={"name": "ann", "agree": True, "size": "s"}).json()["told"]
    assert told == {"numbers": "Please fill in this field."}  # JSON leaves nothing out
    sent: dict[str, Any] = {"yes": "on", "n": ["1", "2"], "at": "13:45"}
    assert client.post("/stated?asked=1", data=sent).json()[:3] == [True, [1, 2], True]
    answer = client.post("/stated", data={"n": "1", "yes": "off"}).json()
    assert answer == [False, [1], True, "When?", {"n": ["1"], "yes": "off"}]
    assert client.post("/stated", data={"x": "1"}).json()[:2] == [False, []]
    assert client.post("/files", data={"x": "1"}).json() == ["Please choose a file."]
    assert client.post("/files", json={"x": "1"}).json() == ["Please choose a file."] * 2


def test_empty_fields_of_a_query_get_their_defaults(make_client: MakeClient) -> None:
    client = make_client(Flat())
    assert client.get("/search?page=&wide=").json() == [1, False, [5]]
    assert client.get("/search?page=x").status_code == 400
    assert client.get("/filtered?page=").json() == [1, True, None]
    assert client.get("/filtered?wide=off&ids=5").json() == [1, False, [5]]


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"numbers": 5}, "Please enter a JSON array."),
        ({"numbers": {}}, "Please enter a JSON array."),
        ({"numbers": None}, "Please fill in this field."),
        ({"numbers": ["x"]}, NUMBER),
        ({"ages": {"ann": "x"}}, NUMBER),
        ({"ages": {"ann": 0}}, "Please enter a value of 1 or more."),
        ({"ages": {"ann": None}}, "Please fill in this field."),
        ({"ages": []}, "Please enter a JSON object."),
        ({"days": {"x": 1}}, "whose names are each a date such as 2026-01-31."),
        ({"days": {"2026-01-31": "x"}}, NUMBER),
        ({"nested": {"a": {"b": "x"}}}, NUMBER),
        ({"nested": {"a": ["b"]}}, "Please enter a JSON object."),
    ],
)
def test_the_message_for_a_collection_is_true_of_its_value(
    make_client: MakeClient, sent: dict[str, Any], words: str
) -> None:
    app = App()

    @app.post("/")
    def page(
        numbers: list[int] = [],  # noqa: B006
        ages: dict[str, Annotated[int, Meta(ge=1)]] = {},  # noqa: B006
        days: dict[date, int] = {},  # noqa: B006
        nested: dict[str, dict[str, int]] = {},  # noqa: B006
    ) -> str:
        return "ok"

    answer = make_client(app).post("/", json=sent)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["detail"].endswith(words)


@pytest.mark.parametrize(
    ("base", "limit"), [(msgspec.Struct, Meta), (pydantic.BaseModel, pydantic.Field)]
)
def test_a_string_in_place_of_a_list_is_not_reported_as_an_element(base: Any, limit: Any) -> None:
    tags = list[Annotated[str, limit(min_length=2)]]
    kind = type(base)("Post", (base,), {"__annotations__": {"tags": tags}})
    (problem,) = problems_of(kind, {"tags": "a"})
    assert problem.words == "Please enter a JSON array."


class Pin(NamedTuple):
    x: int


class Row(msgspec.Struct, array_like=True, frozen=True):
    x: int


GENERICS: Any = (list, tuple, dict)  # mypy refuses to have variables in these


def shaped(make: Any) -> Any:
    """Return a class with fields that contain others. ``make``: creates a class with fields."""
    part = make("Part", {"x": int})
    a_list, a_tuple, a_dict = GENERICS
    return make(
        "Whole",
        {
            "one": part,
            "maybe": part | None,
            "parts": Annotated[a_list[part], Message(required="No parts?")],
            "pair": a_tuple[int, part],
            "spot": Pin,
            "by_name": a_dict[str, part],
            "either": part | a_list[part],
            "other": part | int,
        },
    )


def dataclass_of(name: str, fields: dict[str, Any]) -> type:
    return dataclasses.dataclass(type(name, (), {"__annotations__": fields}))


SHAPES = {
    "dataclass": dataclass_of,
    "TypedDict": TypedDict,
    "Struct": lambda name, fields: msgspec.defstruct(name, fields.items()),
    "attrs": lambda name, fields: attrs.make_class(
        name, {one: attrs.field(type=kind) for one, kind in fields.items()}
    ),
    "model": lambda name, fields: type(
        name, (pydantic.BaseModel,), {"__annotations__": fields, "__module__": __name__}
    ),
    "pydantic's dataclass": lambda name, fields: pydantic.dataclasses.dataclass(
        type(name, (), {"__annotations__": fields})
    ),
}


@pytest.mark.parametrize("make", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("x", (NO_OBJECT, NO_OBJECT, NO_ARRAY, NO_ARRAY, NO_ARRAY, NO_OBJECT, OTHER, OTHER)),
        (5, (NO_OBJECT, NO_OBJECT, NO_ARRAY, NO_ARRAY, NO_ARRAY, NO_OBJECT, OTHER, None)),
        (
            None,
            (REQUIRED, None, "No parts?", REQUIRED, REQUIRED, REQUIRED, REQUIRED, REQUIRED),
        ),
    ],
)
def test_an_object_or_array_is_named_in_the_same_words_for_every_class(
    make: Any, value: Any, told: Sequence[str | None]
) -> None:
    kind = shaped(make)
    names = ("one", "maybe", "parts", "pair", "spot", "by_name", "either", "other")
    found = problems_of(kind, dict.fromkeys(names, value))
    expected = [
        *("a JSON object", "a JSON object", "a JSON array", "a JSON array", "a JSON array"),
        *("a JSON object", "a JSON object or a JSON array", "a JSON object or a whole number"),
    ]
    rows = zip(names, told, expected, strict=True)
    assert {(one.field, one.words, one.expected) for one in found} == {
        row for row in rows if row[1] is not None
    }
    assert len(found) == len({one.field for one in found})


@pytest.mark.parametrize("make", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("whole", [lambda kind: kind, lambda kind: GENERICS[2][str, kind]])
def test_a_whole_body_that_is_no_object_is_refused_in_the_same_words(make: Any, whole: Any) -> None:
    kind = whole(make("Part", {"x": int}))
    for document in ([1], "x", 5):
        (problem,) = problems_of(kind, document)
        assert (problem.words, problem.expected) == (NO_OBJECT, "a JSON object")
    for wrong in (dict[str, int](), "x"):
        (problem,) = problems_of(GENERICS[0][kind], wrong)
        assert (problem.words, problem.expected) == (NO_ARRAY, "a JSON array")


@pytest.mark.parametrize("document", [{}, {"x": 1}, {"x": "y"}])
def test_an_object_in_place_of_an_array_like_struct_is_no_array(document: Any) -> None:
    (problem,) = problems_of(Row, document)
    assert (problem.field, problem.words) == ("", NO_ARRAY)
    (problem,) = problems_of(msgspec.defstruct("Box", [("inner", Row)]), {"inner": document})
    assert (problem.field, problem.words) == ("inner", NO_ARRAY)


def test_a_named_tuple_of_pydantic_is_an_array_or_an_object() -> None:
    kind = pydantic.create_model("Box", spot=(Pin, ...))
    assert [one.words for one in problems_of(kind, {"spot": "x"})] == [NO_ARRAY]
    assert [one.field for one in problems_of(kind, {"spot": {}})] == ["spot.x"]


def closed_typed_dict(name: str, fields: dict[str, Any]) -> Any:
    make: Any = typing_extensions.TypedDict
    made = make(name, fields | {"site": typing_extensions.NotRequired[pydantic.HttpUrl]})
    made.__pydantic_config__ = {"extra": "forbid"}
    return made


CLOSED: dict[str, Any] = {
    "Struct": lambda name, fields: msgspec.defstruct(
        name, fields.items(), forbid_unknown_fields=True
    ),
    "tagged Struct": lambda name, fields: msgspec.defstruct(
        name, fields.items(), forbid_unknown_fields=True, tag=str.lower
    ),
    "model": lambda name, fields: type(
        name,
        (pydantic.BaseModel,),
        {
            "__annotations__": fields,
            "__module__": __name__,
            "model_config": pydantic.ConfigDict(extra="forbid"),
        },
    ),
    "pydantic's dataclass": lambda name, fields: pydantic.dataclasses.dataclass(
        config=pydantic.ConfigDict(extra="forbid")
    )(type(name, (), {"__annotations__": fields})),
    "TypedDict": closed_typed_dict,
}


@pytest.mark.parametrize("kind", CLOSED)
def test_names_that_a_class_forbids_are_reported_in_the_same_words(kind: str) -> None:
    part = CLOSED[kind]("Part", {"x": int})
    a_list, _, a_dict = GENERICS
    whole = CLOSED[kind]("Whole", {"parts": a_list[part], "by_name": a_dict[str, part]})
    tag = {"type": "part"} if kind == "tagged Struct" else {}
    found = problems_of(
        whole,
        {
            "parts": [tag | {"x": 1}, tag | {"x": 1, "z": None}],
            "by_name": {"a": tag | {"x": "a", "y": [], "z": ""}},
            "a.b": 1,
            "k" * 300: {},
        },
    )
    assert {(one.field, one.words, one.expected) for one in found} == {
        ("parts[1].z", UNWANTED, "no value"),
        ("by_name.a.x", NUMBER, "a whole number"),
        ("by_name.a.y", UNWANTED, "no value"),
        ("by_name.a.z", UNWANTED, "no value"),
        ("a.b", UNWANTED, "no value"),
        (f"{'k' * 200}...", UNWANTED, "no value"),
    }
    assert [one.given for one in found if one.field == "by_name.a.y"] == [[]]


def test_each_forbidden_name_of_a_query_is_reported(make_client: MakeClient) -> None:
    app = App()

    @app.get("/")
    def page(wanted: Annotated[Few, Query()]) -> str:
        raise AssertionError

    client = make_client(app)
    sentence = "The query is invalid: Object contains unknown field `{}`."
    names = ("pgae", "sort")
    assert client.get("/?count=1&pgae=2&sort=up").text == " ".join(map(sentence.format, names))
    answer = client.get("/?pgae=2&sort=up", headers={"Accept": "application/json"})
    assert [(one["field"], one["detail"]) for one in answer.json()["errors"]] == [
        (name, UNWANTED) for name in names
    ]


def test_no_more_forbidden_names_are_reported_than_other_errors() -> None:
    assert len(problems_of(Few, dict.fromkeys(map(str, range(MOST_ERRORS + 1))))) == MOST_ERRORS


class Corner(NamedTuple):
    x: int
    y: int = 0


class Edge(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    x: int
    y: int = 0


class TaggedEdge(Edge, tag=1):
    pass


def limited(make: Any, limit: Any) -> Any:
    """Return a class with collections of limited lengths. ``make``: creates a class with fields."""
    part, most = make("Part", {"x": int}), limit(min_length=2, max_length=3)
    a_list, a_tuple, a_dict = GENERICS
    return make(
        "Whole",
        {
            "numbers": Annotated[list[int], most],
            "texts": Annotated[set[str], most],
            "by_name": Annotated[dict[str, int], most],
            "parts": Annotated[a_list[part], most, Message(min_length="Two, please.")],
            "spots": Annotated[frozenset[Corner], most],
            "part_by_name": Annotated[a_dict[str, part], most],
            "pairs": a_list[a_tuple[int, part]],
            "corner": Corner,
        },
    )


@pytest.mark.parametrize("make", SHAPES.values(), ids=SHAPES)
def test_limits_of_collections_have_the_same_words_for_every_class(make: Any) -> None:
    is_pydantics = make in (SHAPES["model"], SHAPES["pydantic's dataclass"])
    kind = limited(make, pydantic.Field if is_pydantics else Meta)
    part = {"x": 1}
    short = {
        "numbers": [1],
        "texts": ["a"],
        "by_name": {"a": 1},
        "parts": [part],
        "spots": [[1, 2]],
        "part_by_name": {},
        "pairs": [[1, part], [1]],
        "corner": [],
    }
    assert {one.field: one.words for one in problems_of(kind, short)} == {
        **dict.fromkeys(("numbers", "texts", "by_name", "spots", "part_by_name"), TWO),
        "parts": "Two, please.",
        "pairs[1][1]": REQUIRED,
        "corner[0]": REQUIRED,
    }
    names = "abcd"
    long = {
        "numbers": [1, 2, 3, 4],
        "texts": [*names],
        "by_name": dict.fromkeys(names, 1),
        "parts": [part] * 4,
        "spots": [[1], [2], [3], [4]],
        "part_by_name": dict.fromkeys(names, part),
        "pairs": [[1, part, 2]],
        "corner": [1, 2, 3],
    }
    found = problems_of(kind, long)
    assert {one.field: one.words for one in found} == {
        **dict.fromkeys(long.keys() - {"pairs", "corner"}, "Please choose at most 3."),
        "pairs[0]": "Please choose at most 2.",
        "corner": "Please choose at most 2.",
    }
    expected = {one.field: one.expected for one in found}
    limits = ", of length 2 or more, of length 3 or less"
    assert expected["parts"] == f"a JSON array{limits}"
    assert expected["part_by_name"] == f"a JSON object{limits}"
    fits = (
        long
        | {"corner": [1], "pairs": []}
        | {
            name: value[:3] if isinstance(value, list) else dict([*value.items()][:3])
            for name, value in long.items()
            if isinstance(value, list | dict) and name not in ("corner", "pairs")
        }
    )
    assert maker_for(kind).make(fits, True) is not None
    (problem,) = problems_of(kind, fits | {"corner": ["x"]})
    assert (problem.field, problem.words) == ("corner[0]", NUMBER)


TWO = "Please choose at least 2."


@pytest.mark.parametrize(
    ("kind", "document", "told"),
    [
        (TaggedEdge, [], {"[0]": REQUIRED, "[1]": REQUIRED}),
        (TaggedEdge, [1], {"[1]": REQUIRED}),
        (TaggedEdge, [1, "x"], {"[1]": NUMBER}),
        (Edge, [], {"[0]": REQUIRED}),
        (Edge, ["x"], {"[0]": NUMBER}),
        (Edge, [1, 2, 3], {"": "Please choose at most 2."}),
    ],
)
def test_an_array_like_struct_lacks_its_required_elements(
    kind: Any, document: Any, told: Any
) -> None:
    assert {one.field: one.words for one in problems_of(kind, document)} == told


@pytest.mark.parametrize("base", [msgspec.Struct, pydantic.BaseModel])
@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ({"corner[0]": "1", "corner[1]": "2"}, [[1, 2], []]),
        ({"corner[0]": "1"}, [[1, 0], []]),
        ({"corner": ["1", "2"]}, [[1, 2], []]),
        ({"corner": ""}, [None, []]),
        ({"rows[0][0]": "1", "rows[1][0]": "2", "rows[1][1]": "3"}, [None, [[1, 0], [2, 3]]]),
        ({"corner[0]": "x"}, {"corner[0]": NUMBER}),
        (
            {"rows[0][1]": "x", "rows[1][0]": "2"},
            {"rows[0][0]": REQUIRED, "rows[0][1]": NUMBER},
        ),
    ],
)
def test_the_elements_of_a_named_tuple_have_numbers_in_a_form(
    make_client: MakeClient, base: Any, sent: Any, found: Any
) -> None:
    hints = {"corner": Corner | None, "rows": list[Corner]}
    body: Any = {"__annotations__": hints, "__module__": __name__, "corner": None, "rows": []}
    kind = type(base)("Board", (base,), body)
    app = App()

    @app.post("/")
    def page(board: Annotated[Any, Form()], errors: BindingErrors) -> Any:
        told = {one.field: one.words for one in errors}
        return told or [board.corner, board.rows]

    page.__annotations__["board"] = Annotated[kind, Form()]
    assert make_client(app).post("/", data=sent).json() == found


class Seat(NamedTuple):
    """Its first and last elements are tick boxes."""

    booked: bool
    row: int = 5
    name: str | None = None
    aisle: bool = True


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ({"seat[0]": "on"}, [True, 5, None, True]),
        ({"seat[1]": "1"}, [False, 1, None, True]),
        ({"seat[1]": "1", "seat[2]": "a"}, [False, 1, "a", False]),
        ({"seat[1]": "1", "seat[3]": "on"}, [False, 1, None, True]),
        ({"seat[0]": "on", "seat[1]": ""}, [True, 5, None, True]),
        ({"seat[1]": ""}, [False, 5, None, True]),
        ({"seat[2]": "a"}, {"seat[1]": REQUIRED}),
        # numbers that aren't positions give only the order
        ({"seat[1]": "on", "seat[2]": "7", "seat[3]": "a", "seat[4]": "on"}, [True, 7, "a", True]),
        ({"box[1]": "4"}, [False, 4]),
        ({"box[0]": "on"}, {"box[1]": REQUIRED}),
    ],
)
def test_an_element_without_a_value_moves_no_other(
    make_client: MakeClient, sent: dict[str, str], found: Any
) -> None:
    """Browsers send nothing for an unticked box."""

    class Hall(msgspec.Struct):
        seat: Seat | None = None
        box: tuple[bool, int] | None = None

    app = App()

    @app.post("/")
    def page(hall: Annotated[Any, Form()], errors: BindingErrors) -> Any:
        return {one.field: one.words for one in errors} or hall.seat or hall.box

    page.__annotations__["hall"] = Annotated[Hall, Form()]
    assert make_client(app).post("/", data=sent).json() == found


def test_the_positions_of_a_query_have_no_boxes(make_client: MakeClient) -> None:
    class Hall(msgspec.Struct):
        seat: Seat

    app = App()

    @app.get("/")
    def page(hall: Annotated[Any, Query()]) -> Any:
        return hall.seat

    page.__annotations__["hall"] = Annotated[Hall, Query()]
    client = make_client(app)
    assert client.get("/?seat[0]=yes&seat[1]=2").json() == [True, 2, None, True]
    assert client.get("/?seat[1]=2").status_code == 400


def test_an_array_like_struct_is_read_from_a_form(make_client: MakeClient) -> None:
    app = App()

    @app.post("/")
    def page(sent: Annotated[Edges, Form()]) -> Any:
        return sent

    client = make_client(app)
    assert client.post("/", data={"edge[0]": "1", "edges[0][0]": "2"}).json() == {
        "edge": [1, 0],
        "edges": [[2, 0]],
    }
    (problem,) = problems_of(Edges, {"edges[0][0]": ["2"]}, "form")
    assert (problem.field, problem.words) == ("edge", REQUIRED)


class Edges(msgspec.Struct):
    edge: Edge
    edges: list[Edge] = []


class ByKey(pydantic.BaseModel):
    days: dict[date, int] = {}
    sizes: dict[Size, dict[int, str]] = {}
    maybe: dict[date, int] | None = None
    either: dict[int, int] | list[int] = []
    short: dict[Annotated[str, pydantic.Field(max_length=2)], int] = {}
    root: pydantic.RootModel[dict[date, int]] | None = None


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"days": {"x": 1, "2026-01-31": "y"}}, {"days.x": A_DAY, "days.2026-01-31": NUMBER}),
        (
            {"sizes": {"s": {"y": "z"}, "m": {}}},
            {"sizes.s.y": NUMBER, "sizes.m": "Please choose one of s, l."},
        ),
        ({"maybe": {"x": 1}}, {"maybe.x": A_DAY}),
        ({"either": {"x": 1}}, {"either.x": NUMBER, "either": OTHER}),
        ({"either": {"1": "x"}}, {"either.1": NUMBER, "either": OTHER}),
        ({"short": {"abc": 1}}, {"short.abc": "Please use at most 2 characters."}),
        ({"root": {"x": 1}}, {"root.x": A_DAY}),
    ],
)
def test_an_invalid_key_of_a_model_has_the_words_of_its_type(document: Any, told: Any) -> None:
    assert {one.field: one.words for one in problems_of(ByKey, document)} == told


def test_the_values_of_a_dict_in_a_union_are_found() -> None:
    kind = msgspec.defstruct("Either", [("x", dict[str, Corner] | list[Corner] | int)])
    (problem,) = problems_of(kind, {"x": {"a": ["y"]}})
    assert (problem.field, problem.words) == ("x.a[0]", NUMBER)


def test_an_array_that_is_too_deep_to_be_searched_may_lack_elements() -> None:
    kind: Any = Corner
    document: Any = []
    for _ in range(DEEPEST_SEARCH):
        kind, document = GENERICS[0][kind], [document]
    (problem,) = problems_of(msgspec.defstruct("Deep", [("x", kind)]), {"x": document})
    assert problem.words == "Please choose at least 1."
    kind = msgspec.defstruct("Closed", [("x", kind)])
    (problem,) = problems_of(kind, {"x": str(document)})
    assert problem.words == NO_ARRAY


class Plain(pydantic.BaseModel):
    x: int


def test_a_constraint_that_nothing_else_checks_leaves_the_sentence_to_pydantic() -> None:
    few = Annotated[list[Plain], pydantic.AfterValidator(lambda spots: spots)]
    kind = pydantic.create_model("Few", spots=(few, ...))
    (problem,) = problems_of(kind, {"spots": {}})
    assert (problem.words, problem.expected) == (NO_ARRAY, "a JSON array")


class Few(msgspec.Struct, forbid_unknown_fields=True):
    count: int = 0


class Filled(msgspec.Struct):
    part: Row = Row(1)
    parts: dict[str, Row] = {}


def test_a_form_without_a_text_for_an_object_leaves_out_its_field(make_client: MakeClient) -> None:
    app = App()

    @app.post("/")
    def page(sent: Annotated[Filled, Form()]) -> list[Any]:
        return [sent.part, sent.parts]

    assert make_client(app).post("/", data={"part": "", "parts": ""}).json() == [[1], {}]


def test_an_author_s_messages_reach_api_clients(make_client: MakeClient) -> None:
    app = App()

    @app.get("/adults")
    def adults(
        age: Annotated[int, Meta(ge=18), Message("Adults only.", required="How old?")],
    ) -> str:
        return "fits"

    client = make_client(app)
    assert client.get("/adults?age=5").text == "Parameter 'age': Adults only."
    assert client.get("/adults").text == "Parameter 'age': How old?"
    problem = client.get("/adults?age=5", headers={"Accept": "application/json"}).json()
    answers = [(one["detail"], one["expected"]) for one in problem["errors"]]
    assert answers == [("Adults only.", "a whole number, at least 18")]


class Tagged(pydantic.BaseModel):
    kind: Literal["tagged"]


class Other(pydantic.BaseModel):
    kind: Literal["other"]


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    name: str = ""
    lines: dict[str, Line] = {}


class Refusing(ModelLine):
    @pydantic.field_validator("name")
    @classmethod
    def none(cls, value: str) -> str:
        raise ValueError("no name")


class Keyed(pydantic.BaseModel, extra="forbid"):
    lines: dict[str, Refusing] = {}
    one: Annotated[Tagged | Other, pydantic.Field(discriminator="kind")] | None = None


@pytest.mark.parametrize(
    "name", ["<img src=x>", "<<img src=x>", '<"img src=x>', '"<"</p>', "<!--", "<<<?x"]
)
@pytest.mark.parametrize("kind", [Strict, Keyed])
def test_an_error_message_has_no_markup_from_a_client(kind: type, name: str) -> None:
    """An author may send them as HTML."""
    for document in (
        {name: 1},
        {"lines": {name: {"price": "x", "name": "x"}}},
        {"one": {"kind": name}},
    ):
        for problem in problems_of(kind, document):
            told = problem.sentence + problem.words + problem.expected
            assert not re.search(r'<[A-Za-z/!?]|"', told)


def test_a_missing_tag_far_inside_is_reported_there() -> None:
    document: dict[str, Any] = {}
    for level in range(1, 9):
        document = {"type": "branch", "parts": [document]}
        (problem,) = problems_of(Leaf | Branch, document)
        assert problem.path[: 2 * level] == ("parts", 0) * level


def test_a_long_key_of_a_client_is_not_in_the_path() -> None:
    for kind, step in ((Strict, "..."), (Keyed, "k" * 200 + "...")):
        found = problems_of(kind, {"lines": {"k" * 5000: {"price": "x", "name": "x"}}})
        assert {one.path[1] for one in found} == {step}


def test_an_error_message_only_loses_its_markup() -> None:
    (problem,) = problems_of(Keyed, {"lines": {"<b>": {"price": 1, "name": "x"}}})
    assert problem.sentence == "lines.b>.name: no name"
    (problem,) = problems_of(Keyed, {"one": {"kind": '<"b>'}})
    assert problem.sentence.startswith("one.kind: Input tag 'b>' found using 'kind' does not match")


def test_a_check_without_a_message_gets_a_general_one() -> None:
    class Refusing(msgspec.Struct):
        def __post_init__(self) -> None:
            raise ValueError

    (problem,) = problems_of(Refusing, {})
    assert (problem.sentence, problem.words) == ("Invalid value", "Please enter another value.")


def test_a_message_for_an_impossible_error_raises_an_error() -> None:
    with pytest.raises(SetupError, match="not 'minimum'"):
        Message(minimum="More!")
    assert repr(Message("So?")) == "Message('So?')"


def test_a_union_with_text_tries_numbers_first(make_client: MakeClient) -> None:
    app = App()

    @app.get("/either")
    def either(one: Annotated[str, Message("So?")] | int) -> Any:
        return [one]

    assert make_client(app).get("/either?one=5").json() == [5]


# -- what was typed --------------------------------------------------------------------------------


def test_a_form_is_prefilled_the_first_time() -> None:
    errors = BindingErrors()
    lines = [DataLine("apple", 2.5, gift=True)]
    moments = (date.min, datetime.min, time.min)
    errors.fill(DataOrder("pie", Size.LARGE, *moments, agree=False, tags=["a"], lines=lines))
    assert errors.given == {
        "title": "pie",
        "size": "l",
        "day": "0001-01-01",
        "when": "0001-01-01T00:00:00",
        "at": "00:00:00",
        "agree": "",
        "news": "on",
        "guests": "2",
        "nick": "",
        "note": "",
        "tags": ["a"],
        "numbers": [],
        "lines": [{"name": "apple", "price": "2.5", "gift": "on"}],
    }
    sent = BindingErrors(given={"title": ""}, is_submitted=True)
    sent.fill({"title": "pie"})
    assert sent.given == {"title": ""}


def test_a_form_stays_prefilled_until_it_is_submitted(make_client: MakeClient) -> None:
    app = App()

    @app.route("/pie", methods=["GET", "POST"])
    def pie(errors: BindingErrors, title: str = "") -> Any:
        errors.fill({"title": "apple"})
        return errors.given

    client = make_client(app)
    assert client.get("/pie").json() == {"title": "apple"}
    assert client.post("/pie", data={"title": "plum"}).json() == {"title": "plum"}
    assert client.post("/pie", data={"other": ""}).json() == {"other": ""}


def test_nested_fields_are_reported_with_their_full_names() -> None:
    sent = {
        "a": ["1"],
        "a.b": ["2"],
        "c[1].d": ["3"],
        "c[0].d": ["4", "5"],
        "e.f": ["6"],
        "c.": ["7"],
        "g.1": ["8"],
    }
    deep = ".".join("x" * (DEEPEST + 1))
    assert nested({**sent, deep: ["9"], "e.f.g": ["0"]}) == {
        "a": {ITSELF: ["1"], "b": ["2"]},
        "c": {1: {"d": ["3"]}, 0: {"d": ["4", "5"]}},
        "e": {"f": {ITSELF: ["6"], "g": ["0"]}},
        "c.": ["7"],
        "g": {"1": ["8"]},
        deep: ["9"],
    }


def test_unexpected_fields_of_a_structure_are_reported(make_client: MakeClient) -> None:
    app = App(text="plain")

    @app.post("/order")
    def order(errors: BindingErrors, order: Order) -> Any:
        return [{one.field: str(one) for one in errors}, errors.given]

    sent = {
        **GOOD,
        "title.x": "a",
        "tags[1]": "b",
        "tags[0]": "a",
        "note": ["a", "b"],
        "more[0].a": "1",
        "day.x": "1",
    }
    sent = {name: value for name, value in sent.items() if name not in ("title", "day")}
    told, given = make_client(app).post("/order", data=sent).json()
    assert told == {
        "title": "A title, please.",
        "day": "Please fill in this field.",
        "note": NOTE,
    }
    assert (given["tags"], given["title"], given["more"]) == (["a", "b"], {"x": "a"}, [{"a": "1"}])


NOTE = "Please enter text."


# -- in another language ---------------------------------------------------------------------------


def faults(
    text: Annotated[str, Meta(min_length=2)],
    long: Annotated[str, Meta(max_length=1)],
    odd: Annotated[str, Meta(pattern="^a$")],
    own: Annotated[str, annotated_types.Predicate(str.isupper)],
    above: Annotated[int, Meta(gt=5)],
    most: Annotated[int, Meta(le=5)],
    below: Annotated[int, Meta(lt=5)],
    least: Annotated[int, Meta(ge=50)],
    dozens: Annotated[int, Meta(multiple_of=12)],
    few: Annotated[list[str], Meta(min_length=2)],
    many: Annotated[list[str], Meta(max_length=0)],
    whole: int,
    number: float,
    exact: Decimal,
    day: date,
    at: time,
    when: datetime,
    yes: bool,
    size: Size,
    photo: UploadFile,
    missing: str,
    *,
    word: str,
) -> str:
    return "fits"


@pytest.mark.parametrize("language", ["en", "de"])
def test_the_translation_example_has_every_message(language: str) -> None:
    folder = Path(__file__).parents[2] / "examples/how_to/translated/translations"
    app = App(translations=lambda request: Translations.load(folder, [language]))
    app.post("/faults")(faults)
    sent = dict.fromkeys(inspect.signature(faults).parameters, "9")
    sent = (
        sent
        | dict.fromkeys(["text", "long"], "")
        | {"below": "50", "least": "5", "long": "ab", "size": "x"}
    )
    wrong = (
        sent
        | dict.fromkeys(["whole", "number", "exact", "day", "at", "when", "yes"], "x")
        | {"above": "5"}
    )
    del wrong["missing"]
    with TestClient(app) as client:
        answer = client.post("/faults", json={**wrong, "few": [], "many": ["a"], "word": 5})
        words = {one["parameter"]: one["detail"] for one in answer.json()["errors"]}
    assert {*words} == {*inspect.signature(faults).parameters}
    assert [
        name for name, one in words.items() if one.startswith("Please") is not (language == "en")
    ] == []


class StrictForm(msgspec.Struct, forbid_unknown_fields=True):
    name: str


class StrictModel(pydantic.BaseModel, extra="forbid"):
    name: str


class WithToken(msgspec.Struct, forbid_unknown_fields=True):
    csrf_token: str


@pytest.mark.parametrize(
    ("kind", "sent", "status"),
    [
        (StrictForm, {"name": "Ann", "csrf_token": "x"}, 200),
        (StrictModel, {"name": "Ann", "csrf_token": "x"}, 200),
        (StrictForm, {"name": "Ann", "other": "x"}, 400),
        (StrictModel, {"name": "Ann", "other": "x"}, 400),
        (WithToken, {"csrf_token": "x"}, 200),
    ],
)
def test_the_form_s_token_is_not_an_unknown_field(
    make_client: MakeClient, kind: Any, sent: dict[str, str], status: int
) -> None:
    def save(entry: Any) -> str:
        return f"{entry.csrf_token if kind is WithToken else entry.name}"

    save.__annotations__ = {"entry": kind, "return": str}
    app = App()
    app.post("/save")(save)
    answer = make_client(app).post("/save", data=sent)
    assert answer.status_code == status
    if status == 200:
        assert answer.text in sent.values()


@dataclasses.dataclass
class Wordless:
    number: int = 0

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError


class WordlessStruct(msgspec.Struct):
    number: int = 0

    def __post_init__(self) -> None:
        Wordless(self.number)


class WordlessModel(pydantic.BaseModel):
    number: int = 0

    @pydantic.model_validator(mode="after")
    def check(self) -> "WordlessModel":
        assert Wordless(abs(self.number))
        if self.number < 0:
            raise AssertionError
        return self


class Around(msgspec.Struct):
    inner: Wordless


@pytest.mark.parametrize("kind", [Wordless, WordlessStruct, WordlessModel])
def test_a_failing_check_without_a_message_gets_one(make_client: MakeClient, kind: Any) -> None:
    def page(item: Any) -> Any:
        return item

    page.__annotations__["item"] = kind
    app = App(errors="json")
    app.post("/page")(page)
    answer = make_client(app).post("/page", json={"number": -1}).json()
    assert answer["detail"] == "Parameter 'item' is invalid: Invalid value."
    assert [one["detail"] for one in answer["errors"]] == ["Please enter another value."]


def test_a_nested_check_without_a_message_is_reported_with_its_location(
    make_client: MakeClient,
) -> None:
    class Site(App):
        @post
        def page(self, item: Around) -> Any:
            return [item]

    client = make_client(Site(errors="json"))
    answer = client.post("/page", json={"inner": {"number": -1}}).json()
    assert answer["detail"] == "Parameter 'item' is invalid: Invalid value - at `$.inner`."


def test_a_result_failing_a_check_without_a_message_is_logged(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    class Site(App):
        def page(self) -> Wordless:
            return {"number": -1}  # type: ignore[return-value]

    assert make_client(Site()).get("/page").status_code == 500
    assert "annotation Wordless: Invalid value" in caplog.text


@dataclasses.dataclass
class Lists:
    numbers: list[int] = dataclasses.field(default_factory=list)
    days: set[date] = dataclasses.field(default_factory=set)
    lines: list[list[date] | None] = dataclasses.field(default_factory=list)


def test_a_search_for_errors_compiles_no_annotation_again(monkeypatch: pytest.MonkeyPatch) -> None:
    document = {
        "numbers": [*["1"] * 200, "x"],
        "days": ["2026-01-31", "x"],
        "lines": [["2026-01-31"], ["x"]],
    }
    maker, compiled = maker_for(Lists), list[object]()
    monkeypatch.setattr(f"{__name__}.maker_for", lambda kind: maker)
    paths = [("numbers", 200), ("days", 1), ("lines", 1, 0)]
    assert [one.path for one in problems_of(Lists, document)] == paths
    compile_one = Reading._compiled

    def counted(reading: Reading, hint: Any) -> Any:
        compiled.append(hint)
        return compile_one(reading, hint)

    monkeypatch.setattr(Reading, "_compiled", counted)
    assert [one.path for one in problems_of(Lists, document)] == paths
    assert compiled == []


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"numbers": [*range(100_000)]}, ("numbers",)),
        ({"lines": [[1] * 900] * 3 + [[*range(100_000)]]}, ("lines", 3)),
    ],
)
def test_the_way_to_a_large_array_takes_no_memory_for_its_values(document: Any, path: Any) -> None:
    with pytest.raises(SizeError) as expected:
        check_sizes(document, False)
    assert expected.value.path == path
    tracemalloc.start()
    with suppress(SizeError):
        check_sizes(document, False)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1_000_000
