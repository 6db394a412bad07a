"""What ``url_for`` writes is what binding reads: in segments, wildcards and queries."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Meta, UnsetType
from pydantic import BaseModel
from typing_extensions import Sentinel

from micropie import App, BindingErrors, get, post
from micropie.testing import TestClient
from tests.support.clients import MakeClient


class Status(Enum):
    OPEN = "open"
    DONE = 2


class Level(IntEnum):
    LOW = 1


class Word(str, Enum):
    YES = "y es"


class Nested(Enum):
    """Its values are members of another Enum."""

    OPEN = Status.OPEN


class Odd(Enum):
    PAIR = (1, "a")
    NOTHING = None


VALUES: list[Any] = [
    *Odd,
    Status.OPEN,
    Status.DONE,
    Level.LOW,
    Word.YES,
    Nested.OPEN,
    timedelta(seconds=90),
    timedelta(days=-2, microseconds=1),
    b"\xff\xfe?/+",
    date(2026, 1, 31),
    time(13, 45),
    datetime(2026, 1, 31, 13, 45, tzinfo=UTC),
    Decimal("1.50"),
    True,
    1.5,
    UUID(int=5),
]


def site(kind: Any) -> App:
    def page(value: Any) -> Any:
        return {"value": value}

    page.__annotations__["value"] = kind

    def several(values: Any = None) -> Any:
        return {"values": values}

    several.__annotations__["values"] = list[kind] | None
    app = App()
    app.get("/wild/<value>", name="wild")(page)
    app.get("/page", name="page")(page)
    app.get("/several", name="several")(several)
    return app


@pytest.mark.parametrize("value", VALUES)
def test_a_link_is_routed_to_the_same_value(make_client: MakeClient, value: Any) -> None:
    app = site(type(value))
    client = make_client(app)
    written = client.get("/several").json() and client.get(app.url_for("page", value=value)).json()
    assert client.get(app.url_for("wild", value=value)).json() == written
    found = client.get(app.url_for("several", values=[value, None, value])).json()
    assert found == {"values": [written["value"]] * 2}


class Counts(TypedDict):
    a: int


class Segments(App):
    def orders(self, status: Status | None = None, page: int | None = None) -> Any:
        return [status, page]

    @get("/files/<place:path>")
    def files(self, place: Path) -> str:
        return str(place)


def test_none_is_omitted_from_links(make_client: MakeClient) -> None:
    app = Segments()
    assert app.url_for("orders", page=None) == "/orders"
    assert app.url_for("orders", status=Status.OPEN, page=None) == "/orders?status=open"
    assert app.url_for("orders", status=()) == "/orders"
    assert app.url_for("orders", Status.OPEN, 5) == "/orders/open/5"
    assert make_client(app).get("/orders/open/5").json() == ["open", 5]
    with pytest.raises(ValueError, match="None"):
        app.url_for("orders", None)
    with pytest.raises(ValueError, match="None"):
        app.url_for("files", place=None)
    assert app.url_for("files", place=Path("a/b")) == "/files/a/b"


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("_external", r"write absolute_url_for\(\.\.\.\)"),
        ("_scheme", r"write absolute_url_for\(\.\.\.\)"),
        ("_anchor", r'write url_for\(\.\.\.\) \+ "#\.\.\."'),
    ],
)
def test_a_keyword_of_flask_is_no_part_of_a_link(name: str, advice: str) -> None:
    app = Segments()
    with pytest.raises(ValueError, match=rf"url_for\('orders'\): {name}=... is Flask's: {advice}"):
        app.url_for("orders", **{name: True})
    assert app.url_for("orders", external=True) == "/orders?external=True"


class Row:
    id = 7


@dataclass
class Account:
    name: str
    password_hash: str


class Model(BaseModel):
    name: str = "ann"


class Named(Row):
    def __str__(self) -> str:
        return f"row {self.id}"


class Sites(App):
    def show(self, value: Any = None, *, values: list[int] | None = None) -> Any:
        return str(value)

    @get("/wild/<value>")
    def wild(self, value: str) -> str:
        return value


WITHOUT_TEXT: list[Any] = [Row(), Account("ann", "secret"), Model(), Row, lambda: 5, iter([1])]


@pytest.mark.parametrize("value", WITHOUT_TEXT)
def test_an_object_is_no_part_of_a_link_unless_it_has_a_text_of_its_own(value: Any) -> None:
    app = Sites()
    refused = "no link can contain a .*: pass a text or number, such as its id"
    for segments, values in (
        ([value], {}),
        ([], {"value": value}),
        ([], {"values": [value]}),
        ([], {"other": value}),
    ):
        with pytest.raises(ValueError, match=refused):
            app.url_for("show", *segments, **values)
    with pytest.raises(ValueError, match=refused):
        app.url_for("wild", value=value)


def test_a_segment_is_one_value(make_client: MakeClient) -> None:
    app = Sites()
    several: list[Any] = [[1, 2], (1, 2), {1}, {"a": 1}]
    for value in several:
        with pytest.raises(ValueError, match=f"no link can contain a {type(value).__name__}: "):
            app.url_for("show", value)
    assert app.url_for("show", values=(1, 2)) == "/show?values=1&values=2"
    assert make_client(app).get(app.url_for("wild", value=Named())).text == "row 7"


class Unfilled(App):
    """Handlers whose first parameters, or all after the first, the path never fills."""

    @post
    def report(self, errors: BindingErrors, number: int) -> Any:
        return [number, len(errors)]

    @post
    def counts(self, number: int, counts: Counts, other: int = 0) -> Any:
        return [number, counts, other]

    @post
    def named(self, errors: BindingErrors, *names: str) -> object:
        return [len(errors), *names]


def test_the_path_fills_the_parameters_before_the_first_that_it_cannot_fill(
    make_client: MakeClient,
) -> None:
    app = Unfilled()
    client = make_client(app)
    assert client.post("/report?number=5").json() == [5, 0]
    assert client.post(app.url_for("counts", 1, other=2), json={"a": 3}).json() == [1, {"a": 3}, 2]
    for name, segments in (("report", (5,)), ("counts", (1, 2))):
        with pytest.raises(ValueError, match="takes at most "):
            app.url_for(name, *segments)
    assert client.post("/report/5").status_code == 404
    assert client.post("/named/a").status_code == 404


@given(st.timedeltas(timedelta(days=-999), timedelta(days=999)))
def test_any_timedelta_survives_a_link(duration: timedelta) -> None:
    from micropie._core.binding.values.converters import converter_for
    from micropie._core.http.json import url_text

    assert converter_for(timedelta).from_text(url_text(duration)) == duration


@given(st.binary())
def test_any_bytes_survive_a_link(data: bytes) -> None:
    from micropie._core.binding.values.converters import converter_for
    from micropie._core.http.json import url_text

    assert converter_for(bytes).from_text(url_text(data)) == data


class Dated(App):
    def listed(
        self,
        page: Annotated[int, Meta(ge=1)] = 1,
        *,
        day: date | None = None,
        price: float = 0.0,
        number: Literal[1, 2] = 1,
    ) -> Any:
        return [page, day, price, number]

    @get("/on/<day>")
    def on(self, day: date) -> Any:
        return day


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("page", True, "a whole number, at least 1"),
        ("page", 5.0, "a whole number, at least 1"),
        ("day", datetime(2026, 1, 31, 13, 45), "a date such as 2026-01-31"),
        ("price", False, "a number"),
        ("number", True, "one of 1, 2"),
    ],
)
def test_a_value_that_would_not_be_read_is_no_part_of_a_link(
    name: str, value: object, expected: str
) -> None:
    app = Dated()
    refused = re.escape(f"no link can fill the parameter {name!r} with {value!r}: pass {expected}")
    with pytest.raises(ValueError, match=refused):
        app.url_for("listed", **{name: value})
    if name == "page":
        with pytest.raises(ValueError, match=refused):
            app.url_for("listed", value)
    if name == "day":
        with pytest.raises(ValueError, match=refused):
            app.url_for("on", day=value)


def test_a_link_may_have_texts_and_values_that_break_a_constraint() -> None:
    app = Dated()
    assert app.url_for("listed", page=0) == "/listed?page=0"
    assert app.url_for("listed", "PAGE", day="DAY") == "/listed/PAGE?day=DAY"


READ: dict[Any, st.SearchStrategy[Any]] = {
    bool: st.booleans(),
    int: st.integers() | st.sampled_from(Level),
    float: st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53),
    Decimal: st.decimals(allow_nan=False, allow_infinity=False) | st.integers(),
    str: st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    date: st.dates(),
    time: st.times() | st.times(timezones=st.just(UTC)),
    datetime: st.datetimes() | st.datetimes(timezones=st.just(UTC)),
    UUID: st.uuids(),
    Status: st.sampled_from(Status),
    Literal[1, "a", True]: st.sampled_from([1, "a", True]),
    int | None: st.integers(),
    list[date]: st.lists(st.dates(), min_size=1),
}


@given(st.sampled_from([*READ]).flatmap(lambda kind: st.tuples(st.just(kind), READ[kind])))
def test_any_value_of_a_type_survives_a_link(pair: tuple[Any, Any]) -> None:
    kind, value = pair
    app, found = App(), list[Any]()

    def page(value: Any) -> None:
        found.append(value)

    page.__annotations__["value"] = kind
    app.get("/page")(page)
    with TestClient(app, protocol="wsgi") as client:
        client.get(app.url_for("page", value=value))
    assert found == [value]


class Unset(App):
    def find(self, *, x: int | UnsetType = UNSET, tags: list[str] | UnsetType = UNSET) -> str:
        return repr((x, tags))

    @get("/pies/<name>")
    def pie(self, name: str) -> str:
        return name


@pytest.mark.parametrize("value", [UNSET, Sentinel("MISSING")])
def test_a_link_leaves_out_what_is_not_sent(make_client: MakeClient, value: Any) -> None:
    app = Unset()
    link = app.url_for("find", x=value, tags=value)
    assert make_client(app).get(link).text == "(UNSET, UNSET)"
    assert (link, app.url_for("find", x=value, tags=["a"])) == ("/find", "/find?tags=a")
    with pytest.raises(ValueError, match="takes name="):
        app.url_for("pie", name=value)
