"""Nothing that a form sends vanishes: rows, nested names in two spellings, names that controls add."""

from dataclasses import dataclass, field
from datetime import date, time
from typing import Annotated, Any, TypedDict

import attrs
import msgspec
import pydantic
import pytest
from pydantic.alias_generators import to_camel

from micropie import App, BindingErrors, Query, UploadFile
from micropie._core.http.forms import ITSELF, nested
from tests.support.clients import MakeClient


@dataclass
class Line:
    pie: str
    tags: list[str] = field(default_factory=list)


@dataclass
class Address:
    street: str


@dataclass
class Order:
    lines: list[Line] = field(default_factory=list)
    address: Address | None = None
    tags: list[str] = field(default_factory=list)
    note: str = "none"
    count: int | None = None
    gift: bool = True
    more: dict[str, str] = field(default_factory=dict)


class StructLine(msgspec.Struct):
    pie: str
    tags: list[str] = []


class StructAddress(msgspec.Struct):
    street: str


class StructOrder(msgspec.Struct, forbid_unknown_fields=True):
    lines: list[StructLine] = []
    address: StructAddress | None = None
    tags: list[str] = []
    note: str = "none"
    count: int | None = None
    gift: bool = True
    more: dict[str, str] = {}


@attrs.define
class AttrsOrder:
    lines: list[Line] = attrs.field(factory=list)
    address: Address | None = None
    tags: list[str] = attrs.field(factory=list)
    note: str = "none"
    count: int | None = None
    gift: bool = True
    more: dict[str, str] = attrs.field(factory=dict)


class ModelLine(pydantic.BaseModel):
    pie: str
    tags: list[str] = []


class ModelAddress(pydantic.BaseModel):
    street: str


class ModelOrder(pydantic.BaseModel):
    lines: list[ModelLine] = []
    address: ModelAddress | None = None
    tags: list[str] = []
    note: str = "none"
    count: int | None = None
    gift: bool = True
    more: dict[str, str] = {}


class DictOrder(TypedDict, total=False):
    lines: list[Line]
    address: Address
    tags: list[str]
    note: str
    count: int
    gift: bool
    more: dict[str, str]


KINDS = [Order, StructOrder, AttrsOrder, ModelOrder, DictOrder]


def order_app(kind: Any) -> App:
    app = App(errors="json")

    @app.post("/order")
    def order(order: kind) -> Any:
        return order

    return app


def posted(make_client: MakeClient, kind: Any, sent: dict[str, Any]) -> Any:
    answer = make_client(order_app(kind)).post("/order", data=sent)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spelled", ["lines[{}].pie", "lines[{}][pie]"])
def test_rows_keep_their_order_whatever_their_numbers(
    make_client: MakeClient, kind: Any, spelled: str
) -> None:
    numbers = (10**39, 1700000000000, 1000000, 999999, 7, 0, 1764315203123456789)
    sent = {spelled.format(number): str(number) for number in numbers}
    found = posted(make_client, kind, sent)["lines"]
    assert [line["pie"] for line in found] == [str(number) for number in sorted(numbers)]


@pytest.mark.parametrize("kind", KINDS)
def test_brackets_are_read_like_dots(make_client: MakeClient, kind: Any) -> None:
    found = posted(
        make_client,
        kind,
        {
            "address[street]": "Elm",
            "lines[0][pie]": "plum",
            "lines[0][tags][]": ["a", "b"],
            "lines[1].pie": "apple",
            "lines[1].tags[]": "c",
            "tags[]": ["d", "e"],
            "more[a]": "f",
            "more[ann@example.com]": "g",
        },
    )
    assert found["address"] == {"street": "Elm"}
    lines = [{"pie": "plum", "tags": ["a", "b"]}, {"pie": "apple", "tags": ["c"]}]
    assert found["lines"] == lines
    assert (found["tags"], found["more"]) == (["d", "e"], {"a": "f", "ann@example.com": "g"})


def test_a_field_in_two_spellings_has_all_values(make_client: MakeClient) -> None:
    sent = {"tags": "a", "tags[]": ["b", "c"], "tags[0]": "d", "lines[1].tags": "e"}
    sent |= {"lines[01][tags][]": "f", "lines[1].pie": "plum"}
    found = posted(make_client, Order, sent)
    assert found["tags"] == ["a", "b", "c", "d"]
    assert found["lines"] == [{"pie": "plum", "tags": ["e", "f"]}]


def test_the_empty_value_before_rows_is_not_a_row(make_client: MakeClient) -> None:
    assert posted(make_client, Order, {"lines": "", "lines[0].pie": "a"})["lines"] == [
        {"pie": "a", "tags": []}
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name", ["lines[].pie", "lines[][pie]", "lines[a].pie", "lines[-1].pie", "lines.pie"]
)
def test_rows_without_numbers_are_refused(make_client: MakeClient, kind: Any, name: str) -> None:
    answer = make_client(order_app(kind)).post("/order", data={name: "a", "lines[0].pie": "b"})
    assert answer.status_code == 400
    (error,) = answer.json()["errors"]
    assert error["detail"] == "Expected numbers in the names of rows, such as lines[0].pie"
    assert (error["path"], error["parameter"]) == (["lines"], "order")


def test_nested_rows_without_numbers_are_refused(make_client: MakeClient) -> None:
    sent = {"lines[0].pie": "b", "lines[0].tags[a]": "b"}
    answer = make_client(order_app(Order)).post("/order", data=sent)
    assert answer.status_code == 400
    (error,) = answer.json()["errors"]
    expected = "Expected numbers in the names of rows, such as lines[0].tags[0]"
    assert (error["detail"], error["path"]) == (expected, ["lines", 0, "tags"])


def test_a_handler_that_shows_its_form_again_gets_the_error_about_rows(
    make_client: MakeClient,
) -> None:
    app = App()

    @app.post("/order")
    def order(errors: BindingErrors, order: Order | None = None) -> Any:
        return {"told": str(errors["lines"]), "order": order, "given": errors.given["address"]}

    sent = {"lines[a].pie": "a", "address[street]": "Elm"}
    assert make_client(app).post("/order", data=sent).json() == {
        "told": "Expected numbers in the names of rows, such as lines[0].pie",
        "order": None,
        "given": {"street": "Elm"},
    }


CONTROLS = ["{}.x", "{}.y", "{}.dir"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", [True, False])
def test_fields_of_image_buttons_and_dirname_do_not_interfere(
    make_client: MakeClient, kind: Any, first: bool
) -> None:
    """An image button sends its coordinates, an input with ``dirname`` its text's direction."""
    names = ("note", "count", "gift", "tags", "lines")
    added = {one.format(name): "1" for name in names for one in CONTROLS}
    unsent = posted(make_client, kind, {"more.a": "1"})
    assert posted(make_client, kind, added | {"more.a": "1"}) == unsent
    own = {"note": "a", "count": "2", "gift": "on", "tags": "b", "lines[0].pie": "c"}
    found = posted(make_client, kind, added | own if first else own | added)
    assert (found["note"], found["count"], found["gift"], found["tags"]) == ("a", 2, True, ["b"])
    assert found["lines"] == [{"pie": "c", "tags": []}]


def test_a_handler_s_list_may_have_the_name_that_scripts_write(make_client: MakeClient) -> None:
    app = App()

    @app.post("/list")
    def as_list(tags: list[int], names: set[str] = frozenset()) -> Any:  # type: ignore[assignment]
        return [tags, sorted(names)]

    client = make_client(app)
    assert client.post("/list", data={"tags[]": ["1", "2"], "names[]": "a"}).json() == [
        [1, 2],
        ["a"],
    ]
    assert client.post("/list", data={"tags": "3", "tags[]": "1"}).json() == [[3], []]
    assert client.post("/list", data={"tags[]": "x"}).status_code == 400
    sent = {"tags[10]": "2", "tags[9]": ["1", "3"], "names[a]": "b", "names[0].x": "c"}
    assert client.post("/list", data=sent).json() == [[1, 3, 2], []]


@dataclass
class Search:
    tags: list[int] = field(default_factory=list)
    word: str = ""


def test_a_list_in_the_query_may_have_the_name_that_scripts_write(make_client: MakeClient) -> None:
    """axios, jQuery, PHP and Rails write the brackets."""
    app = App()

    @app.get("/plain")
    def plain(tags: list[int] = []) -> Any:  # noqa: B006
        return tags

    @app.get("/stated")
    def stated(found: Annotated[list[int] | None, Query("tags")] = None) -> Any:
        return found

    @app.get("/search")
    def search(search: Annotated[Search, Query()]) -> Any:
        return search.tags

    @app.get("/by-name")
    def by_name(tags: dict[str, int] = {}) -> Any:  # noqa: B006
        return [tags]

    client = make_client(app)
    for path in ("/plain", "/stated", "/search"):
        for query in ("tags[]=1&tags[]=2", "tags[1]=2&tags[0]=1", "tags=1&tags=2"):
            assert client.get(f"{path}?{query}").json() == [1, 2], (path, query)
        assert client.get(f"{path}?tags[]=x").status_code == 400
    assert client.get("/plain").json() == client.get("/search").json() == []
    assert client.get("/search?a.b=1").json() == []
    assert client.get("/by-name?tags[a]=1").json() == [{}]


@pytest.mark.parametrize("names", [("files[]", "files[]"), ("files[0]", "files[1]")])
def test_a_handler_s_list_of_files_may_have_the_names_that_scripts_write(
    make_client: MakeClient, names: tuple[str, str]
) -> None:
    """PHP and axios write the first names, Dropzone the second ones."""
    app = App()

    @app.post("/files")
    def as_files(files: list[UploadFile], tags: list[str]) -> Any:
        return [[one.filename for one in files], tags]

    sent = [(names[0], ("a.txt", b"a")), (names[1], ("b.txt", b"b"))]
    client = make_client(app)
    assert client.post("/files", files=sent).json() == [["a.txt", "b.txt"], []]
    assert client.post("/files", files=[(names[0], ("", b""))]).json() == [[], []]
    assert client.post("/files", files=[("tags[]", ("a.txt", b"a"))]).status_code == 400


class Corner(msgspec.Struct):
    at: tuple[int, str] = (1, "left")
    numbers: tuple[int, ...] = (1,)


class ModelCorner(pydantic.BaseModel):
    at: tuple[int, str] = (1, "left")
    numbers: tuple[int, ...] = (1,)


@pytest.mark.parametrize("kind", [Corner, ModelCorner])
def test_a_pair_that_a_form_lacks_has_its_default(make_client: MakeClient, kind: Any) -> None:
    assert posted(make_client, kind, {"other": "1"}) == {"at": [1, "left"], "numbers": []}
    sent = {"at[0]": "2", "at[1]": "x", "numbers": "3"}
    assert posted(make_client, kind, sent) == {"at": [2, "x"], "numbers": [3]}


class Parcel(msgspec.Struct):
    gift: bool = True
    day: date | None = None
    tags: list[str] = msgspec.field(default_factory=lambda: ["new"])


class Parcels(msgspec.Struct):
    to: dict[str, Parcel] = {}
    sizes: dict[str, list[int]] = {}
    deep: dict[str, dict[int, list[Parcel]]] | None = None
    plain: dict[str, int] = {}


class ModelParcel(pydantic.BaseModel):
    gift: bool = True
    day: date | None = None
    tags: list[str] = ["new"]


class ModelParcels(pydantic.BaseModel):
    to: dict[str, ModelParcel] = {}
    sizes: dict[str, list[int]] = {}
    deep: dict[str, dict[int, list[ModelParcel]]] | None = None
    plain: dict[str, int] = {}


@pytest.mark.parametrize("kind", [Parcels, ModelParcels])
def test_the_values_of_a_dict_are_read_like_other_fields(
    make_client: MakeClient, kind: Any
) -> None:
    sent = {"to.ann.day": "", "to[bo][gift]": "on", "to[bo][tags]": "a", "sizes.ann": "3"}
    sent |= {"deep.a[7][3].day": "2026-01-31", "plain.a": "5"}
    assert posted(make_client, kind, sent) == {
        "to": {
            "ann": {"gift": False, "day": None, "tags": []},
            "bo": {"gift": True, "day": None, "tags": ["a"]},
        },
        "sizes": {"ann": [3]},
        "deep": {"a": {"7": [{"gift": False, "day": "2026-01-31", "tags": []}]}},
        "plain": {"a": 5},
    }
    client = make_client(order_app(kind))
    for wrong in ({"to": "x"}, {"to": "x", "to.a.gift": "on"}, {"plain.a.b": "1"}):
        assert client.post("/order", data=wrong).status_code == 400
    answer = client.post("/order", data={"deep.a[1][].day": ""})
    (error,) = answer.json()["errors"]
    assert error["path"] == ["deep", "a", 1]


def test_a_field_whose_own_name_has_brackets_is_not_split(make_client: MakeClient) -> None:
    class Aliased(pydantic.BaseModel):
        tags: list[str] = pydantic.Field(alias="tags[]")
        dotted: str = pydantic.Field(alias="a.b")

    found = posted(make_client, Aliased, {"tags[]": ["a", "b"], "a.b": "c"})
    assert found == {"tags[]": ["a", "b"], "a.b": "c"}


class ByName(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(alias_generator=to_camel, populate_by_name=True)
    some_ids: list[int] = [7]
    is_gift: bool = True
    first_day: date | None = None
    opens_at: time = time(9)


class WithChoices(pydantic.BaseModel, extra="forbid"):
    some_ids: list[int] = pydantic.Field(
        [7], validation_alias=pydantic.AliasChoices("ids", pydantic.AliasPath("a", 0), "someIds")
    )
    is_gift: bool = pydantic.Field(
        True, validation_alias=pydantic.AliasChoices("isGift", "is_gift", "is-gift")
    )
    first_day: date | None = pydantic.Field(
        None, validation_alias=pydantic.AliasChoices("firstDay", "first_day")
    )
    opens_at: time = pydantic.Field(
        time(9), validation_alias=pydantic.AliasChoices("opens", "opensAt", "opens_at")
    )


class OnlyByName(pydantic.BaseModel, extra="forbid"):
    model_config = pydantic.ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=False
    )
    some_ids: list[int] = [7]
    is_gift: bool = True
    first_day: date | None = None
    opens_at: time = time(9)


@pydantic.dataclasses.dataclass
class AliasedDataclass:
    some_ids: list[int] = pydantic.Field(default_factory=lambda: [7], alias="someIds")
    is_gift: bool = pydantic.Field(default=True, alias="isGift")
    first_day: date | None = pydantic.Field(default=None, alias="firstDay")
    opens_at: time = pydantic.Field(default=time(9), alias="opensAt")


class Older(pydantic.BaseModel):
    """Older than the class that it names, so pydantic has not given that field its alias yet."""

    model_config = pydantic.ConfigDict(alias_generator=to_camel)

    some_ids: "list[Younger]"
    is_gift: bool = True


class OlderWithPrefix(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(
        alias_generator=pydantic.AliasGenerator(
            alias=to_camel, validation_alias=lambda name: f"p-{name}"
        )
    )

    some_ids: "list[Younger]"
    is_gift: bool = True


class Younger(pydantic.BaseModel):
    number: int


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        (Older, {"someIds[0].number": "5"}),
        (OlderWithPrefix, {"p-some_ids[0].number": "5"}),
    ],
)
def test_a_field_of_a_later_class_has_the_alias_of_the_generator(
    make_client: MakeClient, kind: Any, form: dict[str, str]
) -> None:
    app = App()

    @app.post("/order")
    def order(order: kind) -> list[Any]:
        return [order.some_ids, order.is_gift]

    assert make_client(app).post("/order", data=form).json() == [[{"number": 5}], False]


CAMEL = ("someIds", "isGift", "firstDay", "opensAt")
SNAKE = ("some_ids", "is_gift", "first_day", "opens_at")


@pytest.mark.parametrize("prefix", ["", "row."])
@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (ByName, CAMEL),
        (ByName, SNAKE),
        (WithChoices, ("ids", "is_gift", "first_day", "opens")),
        (WithChoices, ("someIds", "is-gift", "firstDay", "opens_at")),
        (OnlyByName, SNAKE),
        (AliasedDataclass, CAMEL),
    ],
)
def test_a_field_is_read_by_each_of_its_names(
    make_client: MakeClient, kind: Any, names: tuple[str, ...], prefix: str
) -> None:
    class Outer(pydantic.BaseModel):
        row: kind

    app = App()

    def shown(value: Any) -> str:
        one = getattr(value, "row", value)
        return f"{one.some_ids} {one.is_gift} {one.first_day} {one.opens_at}"

    @app.post("/order")
    def order(order: Outer if prefix else kind) -> str:  # type: ignore[valid-type]
        return shown(order)

    @app.post("/again")
    def again(errors: BindingErrors, order: kind = None) -> Any:
        return errors.given[names[0]]

    @app.get("/query")
    def query(order: Annotated[kind, Query()]) -> str:
        return shown(order)

    client = make_client(app)
    ids, gift, day, opens = (prefix + name for name in names)
    for sent, expected in (
        ({ids: "1", gift: "on", day: "", opens: "13:45"}, "[1] True None 13:45:00"),
        ({ids: ["1", "2"], day: "2026-01-31"}, "[1, 2] False 2026-01-31 09:00:00"),
        ({day: ""}, "[] False None 09:00:00"),
    ):
        answer = client.post("/order", data=sent)
        assert answer.text == expected
    if not prefix:
        assert client.get("/query", params={ids: "1", day: ""}).text == "[1] True None 09:00:00"
        assert client.post("/again", data={ids: "1"}).json() == ["1"]


def test_an_error_of_a_field_sent_by_its_other_name_has_that_name(make_client: MakeClient) -> None:
    answer = make_client(order_app(ByName)).post("/order", json={"some_ids": ["x"]})
    (error,) = answer.json()["errors"]
    assert error["detail"] == "Please enter a whole number."


def test_names_in_brackets_and_in_dots_build_the_same_tree() -> None:
    assert nested({"a[b][1].c": ["1"], "a.b[0][c]": ["2"], "a[b][1][c][]": ["3"]}) == {
        "a": {"b": {1: {"c": ["1", "3"]}, 0: {"c": ["2"]}}}
    }
    assert nested({"a.b": ["1"], "a": ["2"], "a[]": ["3"], "c": ["4"], "c[d]": ["5"]}) == {
        "a": {"b": ["1"], ITSELF: ["2", "3"]},
        "c": {ITSELF: ["4"], "d": ["5"]},
    }
    assert nested({"a[1.5]": ["1"], "a[.]..": ["2"]}) == {"a": {"1.5": ["1"]}, "a[.]..": ["2"]}
    for name in ("[a]", "a]b[", "a[b", "a[b]c", "a..b", "a[[b]]"):
        assert nested({name: ["1"]}) == {name: ["1"]}


class Boxes(msgspec.Struct):
    news: bool
    tags: list[str]


class ModelBoxes(pydantic.BaseModel):
    news: bool
    tags: list[str]


@dataclass
class Wishes:
    boxes: Boxes
    extras: dict[str, bool]
    address: Address


class ModelWishes(pydantic.BaseModel):
    boxes: ModelBoxes
    extras: dict[str, bool]
    address: ModelAddress


class Endless(msgspec.Struct):
    inside: "Endless"


@pytest.mark.parametrize("kind", [Wishes, ModelWishes])
def test_a_group_of_unticked_boxes_is_a_group_of_false(make_client: MakeClient, kind: Any) -> None:
    """Browsers send nothing for it."""
    app = App()

    @app.post("/wishes")
    def wishes(errors: BindingErrors, form: kind | None = None) -> Any:
        return form or {one.field: str(one) for one in errors}

    client = make_client(app)
    wanted = {"boxes": {"news": False, "tags": []}, "extras": {}, "address": {"street": "Elm"}}
    assert client.post("/wishes", data={"address.street": "Elm"}).json() == wanted
    needed = "Please fill in this field."
    assert client.post("/wishes", data={"x": ""}).json() == {"address.street": needed}
    assert client.post("/wishes", json={"extras": {}}).json().keys() == {"boxes", "address"}


def test_a_class_that_contains_itself_without_an_end_is_never_sent(make_client: MakeClient) -> None:
    app = App()

    @app.post("/endless")
    def endless(form: Endless) -> None:
        """Never called."""

    assert make_client(app).post("/endless", data={"x": ""}).status_code == 400


class ModelFlags(pydantic.BaseModel):
    news: bool
    tags: list[str] = []


class Filters(pydantic.BaseModel, extra="allow"):
    boxes: ModelFlags | None = None


def test_what_no_field_takes_keeps_its_name_in_a_query(make_client: MakeClient) -> None:
    app = App()

    @app.get("/")
    def extras(filters: Annotated[Filters, Query()]) -> Any:
        return filters.model_extra

    assert make_client(app).get("/?page[size]=5&a.b=1&boxes.news=1").json() == {
        "page[size]": "5",
        "a.b": "1",
    }


def test_a_query_has_no_unticked_boxes(make_client: MakeClient) -> None:
    """The fields of an inner class are required like those of the outer one."""
    app = App()

    @app.get("/")
    def find(filters: Annotated[Filters, Query()]) -> Any:
        return filters.boxes

    client = make_client(app)
    assert client.get("/?boxes.news=1&boxes.tags=a").json() == {"news": True, "tags": ["a"]}
    assert client.get("/?boxes[tags]=a").status_code == 400


class Labels(pydantic.RootModel[list[str]]):
    pass


class Counts(pydantic.RootModel[dict[str, int | None]]):
    pass


class Shade(pydantic.RootModel[Labels | None]):
    pass


class Rooted(pydantic.BaseModel):
    labels: Labels = Labels(["none"])
    counts: Counts = Counts({})
    shade: Shade | None = Shade(Labels([]))
    rows: list[Counts] = []
    numbers: pydantic.Json[list[int]] = [7]
    is_new: pydantic.Json[bool] = True


def test_the_value_of_a_root_model_is_read_as_its_type(make_client: MakeClient) -> None:
    """In a form and a query. ``Json`` that isn't sent is missing."""
    app = App()

    @app.get("/find")
    def find(rooted: Annotated[Rooted, Query()]) -> Any:
        return rooted

    @app.post("/add")
    def add(rooted: Rooted) -> Any:
        return rooted

    client = make_client(app)
    sent = "labels=a&counts.b=1&counts.c=&shade=d&rows[0].e=2&numbers=[3]&is_new=false"
    assert client.get(f"/find?{sent}").json() == {
        "labels": ["a"],
        "counts": {"b": 1, "c": None},
        "shade": ["d"],
        "rows": [{"e": 2}],
        "numbers": [3],
        "is_new": False,
    }
    missing = {"counts": {}, "shade": [], "rows": [], "numbers": [7], "is_new": True}
    assert client.get("/find").json() == {"labels": ["none"], **missing}
    assert client.post("/add", data={"x": ""}).json() == {"labels": [], **missing}
    assert client.post("/add", data={"counts.a": "b"}).status_code == 400


@dataclass
class Stock:
    counts: dict[str, int | None]
    flags: dict[str, bool] = field(default_factory=dict)
    lists: dict[str, list[int]] = field(default_factory=dict)


def test_a_value_of_a_dict_is_read_as_a_field_is(make_client: MakeClient) -> None:
    app = App()

    @app.post("/stock")
    def stock(stock: Stock) -> Any:
        return stock

    sent = {"counts.a": "1", "counts.b": "", "flags.c": ["no", "on"], "lists.d": "2"}
    answer = {"counts": {"a": 1, "b": None}, "flags": {"c": True}, "lists": {"d": [2]}}
    assert make_client(app).post("/stock", data=sent).json() == answer


def test_one_value_of_a_list_in_brackets_is_given_as_a_list(make_client: MakeClient) -> None:
    app = App()

    @app.post("/tags")
    def tags(errors: BindingErrors, tags: list[str], order: Order | None = None) -> Any:
        return errors.given["tags"]

    for name in ("tags", "tags[]", "tags[0]"):
        assert make_client(app).post("/tags", data={name: "ab"}).json() == ["ab"]
