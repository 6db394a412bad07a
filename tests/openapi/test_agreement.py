"""The document, the validation and the filter agree, for each kind of collection of each kind of
element: what fits a schema is taken and sent back as the schema says, what does not is refused,
and no field of a derived class is sent.
"""

from __future__ import annotations

import enum
import json
from collections import OrderedDict, defaultdict, deque
from collections.abc import (
    Callable,
    Iterator,
    Mapping,
    MutableSequence,
    Sequence,
    Set,
    ValuesView,
)
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import product
from operator import attrgetter
from typing import Annotated, Any, Literal, NamedTuple, TypedDict, TypeVar, Union, get_args
from uuid import UUID

import hypothesis
import jsonschema  # type: ignore[import-untyped]
import msgspec
import pydantic
import pytest
from hypothesis import strategies

from micropie import App, Body, Response, SetupError
from micropie._core.binding.values.converters import OwnTypes
from micropie.testing import TestClient
from tests.support.clients import MakeClient
from tests.support.schemas import schemas_for

JSON = "application/json"
SECRET = "apple pie"


@dataclass(frozen=True)
class Plain:
    name: str


@dataclass(frozen=True)
class MorePlain(Plain):
    secret: str = SECRET


class Packed(msgspec.Struct, frozen=True, tag="packed"):
    name: str


class MorePacked(Packed, frozen=True, tag="packed"):
    secret: str = SECRET


class Other(msgspec.Struct, frozen=True, tag="other"):
    number: int


class Model(pydantic.BaseModel, frozen=True):
    name: str


class MoreModel(Model, frozen=True):
    secret: str = SECRET


class Entry(TypedDict):
    name: str


class MoreEntry(Entry):
    secret: str


class Moment(msgspec.Struct, frozen=True):
    at: datetime
    until: datetime | None = None


class Colour(enum.Enum):
    RED = "red"


def is_hashed(kind: object) -> bool:
    return kind in (set, frozenset)


def collection(kind: Any, element: Any) -> Any:
    if kind is None:
        return element
    if kind in (dict, Mapping):
        return kind[str, element]
    return tuple[element, ...] if kind is tuple else kind[element]


def collected(kind: Any, value: object) -> Any:
    if kind is None:
        return value
    if kind in (dict, Mapping):
        return {"a": value}
    return [value] if kind is Sequence else kind([value])


class Element:
    """A type, a value of a derived class of it, and what the value is in JSON."""

    def __init__(self, hint: Any, value: object, document: object) -> None:
        self.hint, self.value, self.document = hint, value, document


AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
ELEMENTS = {
    "int": Element(int, 5, 5),
    "enum": Element(Colour, Colour.RED, "red"),
    "datetime": Element(datetime, AT, "2026-03-01T12:00:00Z"),
    "dataclass": Element(Plain, MorePlain("ann"), {"name": "ann"}),
    "struct": Element(Packed, MorePacked("ann"), {"type": "packed", "name": "ann"}),
    "union": Element(Packed | Other, Other(5), {"type": "other", "number": 5}),
    "model": Element(Model, MoreModel(name="ann"), {"name": "ann"}),
    "dict": Element(Entry, MoreEntry(name="ann", secret=SECRET), {"name": "ann"}),
    "moment": Element(Moment, Moment(AT), {"at": "2026-03-01T12:00:00Z", "until": None}),
}
COLLECTIONS = (None, list, tuple, set, frozenset, Sequence, dict)
SHAPES: dict[str, Callable[[Any], Any]] = {
    "": lambda hint: hint,
    "or None": lambda hint: Union[hint, None],
}
SEVERAL = {
    (kind, shape): f"/{number}"
    for number, (kind, shape) in enumerate(
        (kind, shape) for kind in COLLECTIONS for shape in SHAPES
    )
}


def resolved(schema: Any, document: dict[str, Any]) -> Any:
    return {**schema, "components": document["components"]}


def schemas_of(document: dict[str, Any], path: str = "/") -> tuple[Any, Any]:
    operation = document["paths"][path]["post"]
    content = operation["requestBody"]["content"]
    assert [*content] == [JSON]
    answer = operation["responses"]["200"]
    assert answer["description"] == "OK"  # and never empty
    return (
        resolved(content[JSON]["schema"], document),
        resolved(answer["content"][JSON]["schema"], document),
    )


def fits(value: object, schema: Any) -> bool:
    checker = jsonschema.FormatChecker()
    return bool(jsonschema.Draft202012Validator(schema, format_checker=checker).is_valid(value))


def echoing(hint: Any, result: object, app: App | None = None, path: str = "/") -> App:
    """Return an application that sends back what it takes at one path, and ``result`` below
    that.
    """
    app = app or App(errors="json")

    def echo(value: Any) -> Any:
        return value

    echo.__annotations__ = {"value": Annotated[hint, Body()], "return": hint}
    app.post(path)(echo)

    def sent() -> Any:
        return result

    sent.__annotations__ = {"return": hint}
    app.get(f"{path.rstrip('/')}/sent")(sent)
    return app


def shapes_of(name: str) -> Iterator[tuple[Any, str, Any]]:
    """Yield each collection that can have the element, the path for it, and its annotation."""
    for (kind, shape), path in SEVERAL.items():
        if not (is_hashed(kind) and name == "dict"):  # which can't be hashed
            yield kind, path, SHAPES[shape](collection(kind, ELEMENTS[name].hint))


@pytest.mark.parametrize("name", ELEMENTS)
def test_document_validation_and_result_filter_agree(make_client: MakeClient, name: str) -> None:
    app, element = App(errors="json"), ELEMENTS[name]
    for kind, path, hint in shapes_of(name):
        echoing(hint, collected(kind, element.value), app, path)
    client, document = make_client(app), app.openapi()
    for kind, path, _ in shapes_of(name):
        body, answer = schemas_of(document, path)
        given = element.document
        if kind is not None:
            given = {"a": given} if kind is dict else [given]
        assert fits(given, body)
        assert_same(client.post(path, json=given).json(), given)
        sent = client.get(f"{path}/sent")
        assert SECRET not in sent.text
        assert_same(sent.json(), given)
        assert fits(sent.json(), answer)
        wrong: Any
        for wrong in ({"b": "x"}, [[]], "x", True, 0.5):
            if not fits(wrong, body):
                assert client.post(path, json=wrong).status_code == 400, (path, wrong)


@pytest.mark.parametrize("name", ELEMENTS)
def test_none_is_sent_as_null(make_client: MakeClient, name: str) -> None:
    app, paths = App(errors="json"), []
    for _, path, hint in shapes_of(name):
        if type(None) in get_args(hint):
            echoing(hint, None, app, path)
            paths.append(path)
    client, document = make_client(app), app.openapi()
    for path in paths:
        _, answer = schemas_of(document, path)
        assert fits(None, answer)
        sent = client.get(f"{path}/sent")
        found = sent.status_code, sent.headers["content-type"], sent.content
        assert found == (200, JSON, b"null")


def assert_same(found: object, expected: object) -> None:
    """An aware time may be written with "+00:00", and a default be left out."""
    text = json.dumps(found).replace("+00:00", "Z")
    assert json.loads(text) == expected


OTHERS: dict[Any, Any] = {
    str: "x",
    int: 3,
    float: 3,
    list[int]: [3],
    dict[str, int]: {"a": 3},
    Literal["none"]: "none",
    Colour: Colour.RED,
}


@pytest.mark.parametrize("name", ["dataclass", "struct", "model"])
def test_a_structure_in_a_union_is_filtered(make_client: MakeClient, name: str) -> None:
    """Also where the library can't tell the members of the union apart."""
    app, element = App(), ELEMENTS[name]
    cases = [*enumerate(product(COLLECTIONS, OTHERS))]
    for number, (kind, other) in cases:
        add_sent(
            app,
            f"/{number}",
            Union[collection(kind, element.hint), other],
            collected(kind, element.value),
            OTHERS[other],
        )
    client = make_client(app)
    for number, (_, other) in cases:
        filtered, unchanged = client.get(f"/{number}"), client.get(f"/{number}?other=1")
        assert filtered.status_code == unchanged.status_code == 200
        assert SECRET not in filtered.text
        assert "ann" in filtered.text
        is_text = other in (str, Literal["none"])
        expected = "red" if other is Colour else OTHERS[other]
        assert expected == (unchanged.text if is_text else unchanged.json())


def add_sent(app: App, path: str, hint: Any, result: object, other_result: object) -> None:
    def sent(other: str = "") -> Any:
        return other_result if other else result

    sent.__annotations__["return"] = hint
    app.get(path)(sent)


@pytest.mark.parametrize("hint", [list[Plain] | Plain, list[Plain] | int, Model | list[int]])
def test_a_body_may_be_a_union(make_client: MakeClient, hint: Any) -> None:
    app = echoing(hint, None)
    client, (body, _) = make_client(app), schemas_of(app.openapi())
    given: Any
    for given in ([{"name": "ann"}], {"name": "ann"}, 5, [5], "x", [[]]):
        answer = client.post("/", json=given)
        assert (answer.status_code == 200) == fits(given, body), given
        assert answer.status_code == 400 or answer.json() == given


class Unhashed(msgspec.Struct):
    name: str


@dataclass
class UnhashedData:
    name: str


class UnhashedModel(pydantic.BaseModel):
    name: str


@pytest.mark.parametrize("kind", [set, frozenset])
@pytest.mark.parametrize("element", [Unhashed, UnhashedData, UnhashedModel, Entry])
def test_a_set_of_unhashable_elements_is_refused_at_setup(kind: Any, element: Any) -> None:
    with pytest.raises(
        SetupError, match=r"whose objects can't be hashed: make that class frozen=True, or write"
    ):
        echoing(kind[element], None)._micropie.compiled()


@dataclass(frozen=True)
class Deep:
    names: list[str]


def test_a_set_element_that_contains_a_list_is_invalid(make_client: MakeClient) -> None:
    answer = make_client(echoing(set[Deep], None)).post("/", json=[{"names": []}])
    assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (400, "value")


@hypothesis.given(strategies.lists(strategies.text(max_size=5), max_size=4, unique=True))
def test_sets_contain_the_sent_values(names: list[str]) -> None:
    with TestClient(echoing(frozenset[Plain], None), protocol="wsgi") as client:
        answer = client.post("/", json=[{"name": one} for one in names])
        assert {one["name"] for one in answer.json()} == {*names}


def test_a_structure_with_a_status_sends_no_more_fields(make_client: MakeClient) -> None:
    """``tuple[int, X]`` is a status and an X."""
    app = App()

    @app.get("/")
    def page() -> Any:
        return 201, MorePlain("ann")

    page.__annotations__["return"] = tuple[int, Plain]
    answer = make_client(app).get("/")
    assert (answer.status_code, answer.json()) == (201, {"name": "ann"})


@pytest.mark.parametrize(
    ("result", "status", "body"),
    [
        ((202, None), 202, b"null"),
        ((204, None), 204, b""),
        ((303, None, {"Location": "/"}), 303, b""),
        ((404, None), 404, b""),
        (Response(None, 201), 201, b""),
        (Response(None, 201, content_type=JSON), 201, b"null"),
    ],
)
def test_only_successful_responses_are_described_as_null(
    make_client: MakeClient, result: object, status: int, body: bytes
) -> None:
    app = App()

    @app.get("/")
    def page() -> Any:
        return result

    page.__annotations__["return"] = Plain | tuple[Any, ...] | Response | None
    answer = make_client(app).get("/", follow_redirects=False)
    assert (answer.status_code, answer.content) == (status, body)


T = TypeVar("T")


@pytest.mark.parametrize(
    ("hint", "sent"),
    [
        (Literal[1] | None, b"null"),
        (Literal["a"] | None, b""),
        (str | None, b""),
        (Colour | None, b"null"),
        (Annotated[Plain | None, "x"], b"null"),
        (Annotated[Packed | Other | None, "x"], b"null"),
        (Annotated[Annotated[Plain | None, "x"] | int, "y"], b"null"),
        (Annotated[str | None, msgspec.Meta(max_length=5)], b""),
        (Annotated[Literal["a", 1] | None, "x"], b"null"),
        (tuple[int, Plain] | None, b""),
        (object, b""),
    ],
)
def test_none_is_an_empty_body_where_nothing_is_json(
    make_client: MakeClient, hint: Any, sent: bytes
) -> None:
    app = App()
    add_sent(app, "/", hint, None, None)
    assert make_client(app).get("/").content == sent


@pytest.mark.parametrize(
    "hint",
    [
        Plain | None,
        Plain | int | str,
        Packed | Other | None,
        Literal["a", 1, None],
        tuple[Literal[201], Plain | str] | None,
    ],
)
def test_a_union_in_annotated_is_described_like_the_union(hint: Any) -> None:
    answers = []
    for one in (hint, Annotated[hint, "x"], Annotated[Annotated[hint, "x"], "y"]):
        app = App()
        add_sent(app, "/", one, None, None)
        answers.append(app.openapi()["paths"]["/"]["get"]["responses"])
    assert answers[0] == answers[1] == answers[2]


class Line(NamedTuple):
    plain: Plain
    number: int = 0


@dataclass
class Either:
    """A union that msgspec can't read, so such a class can't be a body."""

    either: Plain | Event
    by_day: dict[date, int] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("hint", "result", "wrong"),
    [
        (deque[Plain], deque([Plain("ann")]), [1]),
        (OrderedDict[str, Plain], OrderedDict(a=Plain("ann")), {"a": 1}),
        (defaultdict[str, int], defaultdict(int, a=1), {"a": "x"}),
        (Set[int], {1}, ["x"]),
        (ValuesView[int], {"a": 1}.values(), ["x"]),
        (MutableSequence[int], [1], {}),
        (Line, Line(Plain("ann")), [{"name": "ann"}, "x"]),
        (list[Line | None], [Line(Plain("ann"), 1), None], [[1]]),
        (Either, Either(Plain("ann"), {AT.date(): 1}), {"either": 1}),
        (dict[date, int], {AT.date(): 1}, {"x": 1}),
        (dict[Literal["a", "b"], int], {"a": 1}, {"c": 1}),
        (dict[int, int], {1: 1}, {"1": "x"}),
    ],
)
def test_results_that_no_parameter_has_are_described(
    make_client: MakeClient, hint: Any, result: Any, wrong: Any
) -> None:
    app = App()
    add_sent(app, "/", hint, result, None)
    document = app.openapi()
    media = document["paths"]["/"]["get"]["responses"]["200"]["content"][JSON]
    schema = resolved(media["schema"], document)
    assert fits(make_client(app).get("/").json(), schema)
    assert not fits(wrong, schema)


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class KeptAccess(enum.IntFlag):
    READ = 1
    WRITE = 2


class Wait(enum.Enum):
    SHORT = timedelta(minutes=5)
    DATED = date(2026, 1, 31)
    RAW = b"x"


class Place(enum.Enum):
    HOME = (1, 2)
    AWAY = (3, 4)


class Opaque(enum.Enum):
    ONE = object()


BY_NAME: dict[str, Any] = {"encoders": {enum.Enum: attrgetter("name")}}


@pytest.mark.parametrize(
    ("hint", "results", "refused", "options"),
    [
        (Access, [*Access, Access.READ | Access.WRITE, Access(0)], [4, "x"], {}),
        (Access, [*Access], ["x"], BY_NAME),
        (KeptAccess, [*KeptAccess], [0, 3], {}),
        (Wait, [*Wait], ["0:05:00", "b'x'"], {}),
        (list[Literal[b"x"]], [[b"x"]], [["b'x'"]], {}),
        (Literal[Colour.RED], [Colour.RED], ["RED"], {}),
        (Literal[Colour.RED], [Colour.RED], ["red"], BY_NAME),
    ],
)
def test_the_values_of_an_enum_are_described_as_they_are_sent(
    make_client: MakeClient, hint: Any, results: list[Any], refused: list[Any], options: Any
) -> None:
    app = App(errors="json", **options)
    for number, result in enumerate(results):
        echoing(hint, result, app, f"/{number}")
    echoing(hint, None, app)
    client, document = make_client(app), app.openapi()
    body, answer = schemas_of(document)
    for number in range(len(results)):
        sent = client.get(f"/{number}/sent").json()
        assert fits(sent, answer)
        assert fits(sent, body)
        assert client.post("/", json=sent).json() == sent
    for one in refused:
        assert not fits(one, body)
        assert client.post("/", json=one).status_code == 400


class Figure(enum.IntEnum):
    ONE = 1
    TWO = 2


def around(shape: str, key: Any) -> Any:
    hint = dict[key, int]
    if shape == "parameter":
        return hint
    if shape == "model":
        return pydantic.create_model("Around", of=(hint, ...))
    return msgspec.defstruct("Around", [("of", hint)])


@pytest.mark.parametrize("shape", ["parameter", "model", "struct"])
@pytest.mark.parametrize(
    ("key", "taken", "refused"),
    [
        (int, ["1", "-2"], ["a", "1.5"]),
        (Annotated[int, "any"], ["1"], ["a"]),
        (float, ["1.5", "-2", "1e3"], ["a"]),
        (Decimal, ["1.5"], []),
        (UUID, [str(UUID(int=5))], []),
        (date, ["2026-01-31"], []),
        (Figure, ["1", "2"], ["3", "ONE"]),
        (Colour, ["red"], ["RED"]),
        (Literal[1, 2], ["1"], ["3"]),
        (Literal["a", "b"], ["a"], ["c"]),
        (int | Literal["a"], ["1", "a"], ["b"]),
        (Literal["a", 1], ["1", "a"], ["b"]),
        (str, ["a"], []),
        (Any, ["a"], []),
        (bool, ["true", "false"], ["perhaps"]),
    ],
)
def test_the_names_in_an_object_are_described(
    make_client: MakeClient, shape: str, key: Any, taken: list[str], refused: list[str]
) -> None:
    if shape == "struct" and key in (bool, int | Literal["a"], Literal["a", 1]):
        pytest.skip("msgspec has no such keys")
    app = echoing(around(shape, key), None)
    client, document = make_client(app), app.openapi()
    media = document["paths"]["/"]["post"]["requestBody"]["content"][JSON]
    body = resolved(media["schema"], document)
    for name in (*taken, *refused):
        sent = {name: 1} if shape == "parameter" else {"of": {name: 1}}
        assert fits(sent, body) == (name in taken)
        assert client.post("/", json=sent).status_code == (200 if name in taken else 400)


@dataclass
class AccessData:
    of: Access


class AccessStruct(msgspec.Struct):
    of: Access


class AccessModel(pydantic.BaseModel):
    of: Access


class KeptStruct(msgspec.Struct):
    of: KeptAccess


class KeptModel(pydantic.BaseModel):
    of: KeptAccess


@pytest.mark.parametrize("kind", [AccessData, AccessStruct, AccessModel])
def test_a_sum_of_flags_in_a_structure_is_described(make_client: MakeClient, kind: Any) -> None:
    app = echoing(kind, kind(of=Access(3)))
    client, (body, answer) = make_client(app), schemas_of(app.openapi())
    for given in (0, 1, 3, 3.0, 4, 4.0, "x"):
        sent = client.post("/", json={"of": given})
        assert (sent.status_code == 200) == fits({"of": given}, body)
        assert sent.status_code == 400 or fits(sent.json(), answer)
    assert client.get("/sent").json() == {"of": 3}


@pytest.mark.parametrize("kind", [KeptStruct, KeptModel, KeptAccess])
def test_a_result_may_have_unknown_flags_if_its_class_keeps_them(
    make_client: MakeClient, kind: Any
) -> None:
    app, value = App(), KeptAccess(9)
    add_sent(app, "/", kind, value if kind is KeptAccess else kind(of=value), None)
    document = app.openapi()
    (media,) = document["paths"]["/"]["get"]["responses"]["200"]["content"].values()
    assert fits(make_client(app).get("/").json(), resolved(media["schema"], document))


@pytest.mark.parametrize("mode", ["validation", "serialization"])
def test_an_enum_s_value_may_be_no_text(mode: Any) -> None:
    """A parameter reads the values as ``str`` writes them."""
    schemas = schemas_for(OwnTypes({}, {}), {}, mode)
    kind, values = schemas.of(Place).values()
    is_read = mode == "validation"
    assert kind == ("string" if is_read else "array")
    assert values == (["(1, 2)", "(3, 4)"] if is_read else [[1, 2], [3, 4]])
    assert schemas.of(Opaque)["enum"] == [str(Opaque.ONE.value)]


class Point(TypedDict):
    day: int


def seconds(moment: datetime) -> float:
    return moment.timestamp()


def point(day: date) -> Point:
    return {"day": day.day}


@dataclass
class Event:
    at: datetime
    price: Decimal | None = Decimal("1.5")
    days: list[date] = field(default_factory=list)
    prices: dict[str, Decimal | None] = field(default_factory=dict)
    until: Annotated[datetime | None, msgspec.Meta(description="exclusive")] = None
    day: date = date(2026, 1, 31)
    pair: tuple[Decimal, str] | None = None
    colour: Colour = Colour.RED
    other: Colour | None = Colour.RED
    raw: bytes = b""


class Around(msgspec.Struct):
    plain: Plain
    events: list[Event]


EVENT = Event(AT, None, [AT.date()], {"a": Decimal(1), "b": None}, AT, pair=(Decimal(1), "x"))
SENT_AS: dict[type, Any] = {
    datetime: seconds,
    Decimal: float,
    date: point,
    enum.Enum: attrgetter("name"),
    Plain: str,
}


@pytest.mark.parametrize(
    ("hint", "given", "result"),
    [
        (datetime, AT.isoformat(), AT),
        (list[Decimal | None], [1.5, None], [Decimal(1), None]),
        (Event, {"at": AT.isoformat(), "colour": "RED"}, EVENT),
        (Event, {"at": AT.isoformat(), "day": "2026-01-31"}, Event(AT)),
        (Around, {"plain": {"name": "ann"}, "events": []}, Around(Plain("ann"), [EVENT])),
        (Plain, {"name": "ann"}, Plain("ann")),
    ],
)
def test_an_encoder_changes_the_responses_and_not_the_bodies(
    make_client: MakeClient, hint: Any, given: Any, result: Any
) -> None:
    app = App(errors="json", encoders=SENT_AS)
    echoing(hint, result, app)
    client, (body, answer) = make_client(app), schemas_of(app.openapi())
    assert fits(given, body)
    taken, sent = client.post("/", json=given), client.get("/sent")
    assert (taken.status_code, sent.status_code) == (200, 200)
    assert fits(taken.json(), answer)
    assert fits(sent.json(), answer)
    assert not fits(object(), answer)  # so it isn't any value


def test_defaults_are_described_as_they_are_sent() -> None:
    app = App(errors="json", encoders=SENT_AS)
    schemas = echoing(Event, None, app).openapi()["components"]["schemas"]
    # msgspec 0.23 writes the empty lists and dicts of factories, too
    found = [
        {
            name: one["default"]
            for name, one in schema["properties"].items()
            if one.get("default", []) not in ([], {})
        }
        for schema in (schemas["Event"], schemas[f"{__name__}.Event"])
    ]
    nones = {"until": None, "pair": None}
    colours = {"colour": "RED", "other": "RED"}
    read = {"price": "1.5", "day": "2026-01-31", "raw": ""}
    assert found == [
        {**nones, **colours, **read},
        {**nones, **colours, **read, "price": 1.5, "day": {"day": 31}},
    ]
    assert schemas[f"{__name__}.Event"]["properties"]["until"]["description"] == "exclusive"


@dataclass
class Marker:
    """Metadata that isn't hashable."""

    text: str


def marked(hint: Any) -> Any:
    return Annotated[hint, Marker("x")]


@pytest.mark.parametrize("name", ["int", "enum", "dataclass", "struct", "union", "model", "dict"])
def test_metadata_may_not_be_hashable(make_client: MakeClient, name: str) -> None:
    app, element = App(errors="json"), ELEMENTS[name]
    kind, inside = element.hint, marked(element.hint)
    hints: dict[str, tuple[Any, Any]] = {
        "/": (inside, element.document),
        "/or_none": (marked(kind | None), element.document),
        "/list": (collection(list, inside), [element.document]),
        "/dict": (collection(dict, inside), {"a": element.document}),
        "/of_list": (marked(collection(list, kind)), [element.document]),
    }
    for path, (hint, _) in hints.items():
        echoing(hint, None, app, path)
    client, document = make_client(app), app.openapi()
    for path, (_, given) in hints.items():
        body, _ = schemas_of(document, path)
        assert fits(given, body)
        assert_same(client.post(path, json=given).json(), given)
    sent = client.get("/or_none/sent")
    assert (sent.status_code, sent.content) == (200, b"null")


@pytest.mark.parametrize("hint", [Union[Plain, Any], Union[Plain, object]])
def test_a_union_with_any_type_is_not_filtered(make_client: MakeClient, hint: Any) -> None:
    app = App()
    add_sent(app, "/", hint, MorePlain("ann"), None)
    assert make_client(app).get("/").json() == {"name": "ann", "secret": SECRET}


@pytest.mark.parametrize("hint", [list[Plain] | dict[str, Model], Union[Plain, T]])
def test_a_result_that_matches_no_union_member_gets_500(make_client: MakeClient, hint: Any) -> None:
    app = App()
    add_sent(app, "/", hint, 5, None)
    client = make_client(app, raise_app_exceptions=False)
    assert client.get("/").status_code == 500


class Times(msgspec.Struct):
    """A datetime at each place where a type may be."""

    at: datetime
    text: str
    perhaps: datetime | None
    listed: list[datetime]
    by_name: dict[str, datetime | int]
    described: Annotated[datetime, msgspec.Meta(examples=["2026-03-01T12:00:00Z"])]
    fixed: tuple[int, datetime]
    pet: Dated | Undated | None
    aware: Annotated[datetime, msgspec.Meta(tz=True)]
    inner: list[Times]
    row: Row
    clock: time


class Dated(msgspec.Struct, tag="dated"):
    at: datetime


class Undated(msgspec.Struct, tag="undated"):
    at: str


class Row(msgspec.Struct, array_like=True):
    at: datetime


def test_each_datetime_of_a_struct_has_its_format() -> None:
    app = echoing(Times, None)
    schemas = app.openapi()["components"]["schemas"]
    found = schemas["Times"]["properties"]
    moment = {"type": "string", "format": "date-time"}
    assert (found["at"], found["text"], found["aware"]) == (moment, {"type": "string"}, moment)
    assert found["perhaps"]["anyOf"][0] == found["listed"]["items"] == moment
    assert moment in found["by_name"]["additionalProperties"]["anyOf"]
    assert found["described"]["format"] == "date-time"
    assert found["fixed"]["prefixItems"] == [{"type": "integer"}, moment]
    assert schemas["Dated"]["properties"]["at"] == schemas["Row"]["prefixItems"][0] == moment
    assert schemas["Undated"]["properties"]["at"] == {"type": "string"}
    assert found["clock"] == {"type": "string", "format": "time"}
