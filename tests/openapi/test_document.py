"""The OpenAPI document: what it says of handlers, and that it is valid."""

from __future__ import annotations

import functools
import sys
from collections import namedtuple
from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field, make_dataclass
from datetime import date
from types import MappingProxyType
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NotRequired,
    Required,
    TypedDict,
    TypeVar,
)

import attrs
import pydantic
import pytest
from markupsafe import Markup
from msgspec import Meta, Struct
from openapi_spec_validator import OpenAPIV31SpecValidator
from typing_extensions import Doc

from micropie import (
    App,
    BindingErrors,
    Body,
    Form,
    Header,
    HTTPError,
    Page,
    Query,
    Redirect,
    Request,
    Response,
    SetupError,
    UploadFile,
    delete,
    describe,
    get,
    hidden,
    html,
    patch,
    post,
    put,
    reads_body,
    requires,
    route,
)
from micropie._core.binding import OwnTypes
from micropie._core.binding.values.constraints import _KINDS
from micropie._core.errors import BadRequest, MethodNotAllowed
from micropie._core.http import BindingError
from micropie.middleware import BasicAuth, BearerAuth, RateLimit, Timeout
from micropie.openapi import Docs
from micropie.testing import TestClient
from tests.openapi.kitchen import Kitchen, Spice
from tests.support.clients import MakeClient
from tests.support.schemas import schemas_for
from tests.support.templatelib import Template

T = TypeVar("T")


@dataclass
class Paged:
    page: int = 1


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return Kitchen().openapi()


def operation(document: dict[str, Any], path: str, method: str = "get") -> dict[str, Any]:
    found: dict[str, Any] = document["paths"][path][method]
    return found


def parameters(
    document: dict[str, Any], path: str, method: str = "get"
) -> dict[str, tuple[str, bool, Any]]:
    found = operation(document, path, method).get("parameters", [])
    return {one["name"]: (one["in"], one["required"], one["schema"]) for one in found}


def body(document: dict[str, Any], path: str, method: str = "post") -> tuple[bool, list[str], Any]:
    found = operation(document, path, method)["requestBody"]
    (schema,) = {
        str(media["schema"]): media["schema"] for media in found["content"].values()
    }.values()
    return found["required"], list(found["content"]), schema


def content(document: dict[str, Any], path: str, method: str = "get", status: str = "200") -> Any:
    return operation(document, path, method)["responses"][status].get("content")


OF_TWO_TYPES = [{"type": "string", "enum": ["a"]}, {"type": "integer", "enum": [1]}]


class Loose(Struct):
    bare: list  # type: ignore[type-arg]
    mixed: Literal["a", 1] = 1
    pair: tuple[int, str] = (1, "a")


class LooseModel(pydantic.BaseModel):
    bare: list  # type: ignore[type-arg]
    mixed: Literal["a", 1] = 1
    pair: tuple[int, str] = (1, "a")


@pytest.mark.parametrize("kind", [Loose, LooseModel])
def test_arrays_have_items_and_an_enum_has_one_type(kind: type) -> None:
    """Generators of clients leave out operations whose schemas have none, or two. In a tuple,
    openapi-python-client refuses ``items``, which is false, and the whole document.
    """

    def loose() -> Any:
        return None

    loose.__annotations__["return"] = kind
    app = App()
    app.route("/loose")(loose)
    fields = app.openapi()["components"]["schemas"][kind.__name__]["properties"]
    assert fields["bare"]["items"] == {}
    mixed = sorted(fields["mixed"]["anyOf"], key=lambda one: one["type"], reverse=True)
    assert mixed == OF_TWO_TYPES
    assert fields["mixed"]["default"] == 1
    assert "items" not in fields["pair"]
    assert (fields["pair"]["minItems"], fields["pair"]["maxItems"]) == (2, 2)


@dataclass
class Lone:
    a: int


JSON, FORM = "application/json", "application/x-www-form-urlencoded"


def test_the_openapi_document_is_valid(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"] == "3.1.0"
    found = document["info"]
    assert found == {"title": "Kitchen", "version": "1.0.0", "description": "Pies and more."}


def test_title_and_version_can_be_set_even_for_an_empty_application() -> None:
    document = App().openapi("Nothing", "2.1")
    assert document == {
        "openapi": "3.1.0",
        "info": {"title": "Nothing", "version": "2.1"},
        "paths": {},
    }
    OpenAPIV31SpecValidator(document).validate()


def test_docstrings_become_summaries(document: dict[str, Any]) -> None:
    found = operation(document, "/greet/{name}")
    assert (found["summary"], found["description"]) == ("Greet somebody.", "Loudly, if you like.")
    assert found["operationId"] == "greet"


def test_describe_takes_precedence_over_the_docstring(document: dict[str, Any]) -> None:
    found = operation(document, "/invite", "post")
    assert (found["summary"], found["description"]) == ("Invite", "All of them.")
    assert (found["tags"], found["deprecated"]) == (["people"], True)
    assert operation(document, "/odd")["operationId"] == "own"


def test_parameters_of_a_get_are_in_the_path_or_the_query(document: dict[str, Any]) -> None:
    assert parameters(document, "/greet/{name}") == {
        "name": ("path", True, {"type": "string"}),
        "loud": ("query", False, {"type": "boolean", "default": False}),
        "age": ("query", False, {"type": "integer"}),
    }
    typed = parameters(document, "/typed/{day}/{hour}/{moment}/{key}/{factor}")
    formats = ["date", "time", "date-time", "uuid"]
    assert [schema.get("format") for _, _, schema in typed.values()][:4] == formats
    assert typed["factor"] == ("path", True, {"type": "number"})


def test_query_parameters_have_schemas(document: dict[str, Any]) -> None:
    assert {name: schema for name, (_, _, schema) in parameters(document, "/search").items()} == {
        "tags": {"type": "array", "items": {"type": "string"}},
        "colour": {"type": "string", "enum": ["red", "green"], "default": "red"},
        "size": {
            "anyOf": [
                {"type": "string", "enum": ["small", "large"]},
                {"type": "integer", "enum": [1]},
            ],
            "default": "small",
        },
        "weight": {"type": "integer", "default": 1},
        "price": {"type": "number", "default": 1},
        "at": {"type": "integer", "minimum": 0, "description": "how far", "default": 0},
        "ids": {"type": "array", "items": {"type": "integer"}, "uniqueItems": True, "default": []},
        "other": {},
    }


def test_null_is_an_empty_query_value_and_an_empty_text_in_a_form() -> None:
    class Root(App):
        def search(
            self,
            age: int | None = None,
            near: int | float | None = 1,
            *,
            token: Annotated[str | None, Header()] = None,
        ) -> str:
            return ""

        @post
        def save(
            self, age: int | None = None, near: int | float | None = None, name: str = ""
        ) -> str:
            return ""

    document = Root().openapi()
    found = {one.pop("name"): one for one in operation(document, "/search")["parameters"]}
    integer, number, empty = (
        {"type": "integer"},
        {"type": "number"},
        {"type": "string", "const": ""},
    )
    assert found == {
        "age": {"in": "query", "required": False, "schema": integer, "allowEmptyValue": True},
        "near": {
            "in": "query",
            "required": False,
            "schema": {"anyOf": [integer, number], "default": 1},
            "allowEmptyValue": True,
        },
        "token": {"in": "header", "required": False, "schema": {"type": "string"}},
    }
    content = operation(document, "/save", "post")["requestBody"]["content"]
    assert content[JSON]["schema"]["properties"]["age"] == {"anyOf": [integer, {"type": "null"}]}
    assert content[FORM]["schema"]["properties"] == {
        "age": {"anyOf": [integer, empty]},
        "near": {"anyOf": [integer, number, empty]},
        "name": {"type": "string", "default": ""},
    }


def test_errors_in_json_are_described_as_json() -> None:
    document = Kitchen(errors="json").openapi()
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    assert content(document, "/bake", "post", "409") == problem
    assert [*content(document, "/bake", "post", "418")] == [JSON]
    assert [body(document, path)[1] for path in ("/bake", "/season")] == [[JSON], [JSON]]
    assert body(document, "/store", "put")[1] == [JSON]
    assert body(document, "/upload")[1] == ["multipart/form-data"]


def test_a_wildcard_has_its_parameter_s_constraints() -> None:
    class Root(App):
        @get("/<a:int>/<b:float>/<c:int>/<d>")
        def page(
            self,
            a: Annotated[int, Meta(ge=1)],
            b: Annotated[float, Meta(le=9)],
            c: str,
            d: int | None,
        ) -> str:
            return ""

    assert parameters(Root().openapi(), "/{a}/{b}/{c}/{d}") == {
        "a": ("path", True, {"type": "integer", "format": "int64", "minimum": 1}),
        "b": ("path", True, {"type": "number", "maximum": 9}),
        "c": ("path", True, {"type": "integer", "format": "int64"}),
        "d": ("path", True, {"type": "integer"}),
    }


def test_a_declared_source_is_the_parameter_s_location() -> None:
    class Root(App):
        @post
        def form(
            self, word: Annotated[str, Form("w")], *, page: Annotated[int, Query()] = 1
        ) -> str:
            return ""

        @post
        def whole_form(self, guest: Annotated[Lone, Form()]) -> str:
            return ""

        @post
        def document(self, given: Annotated[dict[str, int], Body()], *, dry: bool = False) -> str:
            return ""

        @post
        def whole_query(self, guest: Annotated[Lone, Query()], *, name: str = "") -> str:
            return ""

        @get
        def none(self, word: Annotated[str, Form()] = "") -> str:
            return ""

    document = Root().openapi()
    word = {"type": "object", "properties": {"w": {"type": "string"}}, "required": ["w"]}
    assert body(document, "/form") == (True, [FORM], word)
    assert [*parameters(document, "/form", "post")] == ["page"]
    assert body(document, "/whole_form") == (True, [FORM], {"$ref": "#/components/schemas/Lone"})
    numbers = {"type": "object", "additionalProperties": {"type": "integer"}}
    assert body(document, "/document") == (True, [JSON], numbers)
    assert [*parameters(document, "/document", "post")] == ["dry"]
    assert [*parameters(document, "/whole_query", "post")] == ["a"]
    assert [*body(document, "/whole_query")[2]["properties"]] == ["name"]
    assert operation(document, "/none").keys().isdisjoint({"parameters", "requestBody"})


class Inner(pydantic.BaseModel):
    grams: int


class Search(pydantic.BaseModel):
    shade: str = pydantic.Field(alias="colour", max_length=9)
    level: int | None = None
    tags: list[str] = []
    pair: tuple[int, int] = (1, 2)
    inner: Inner | None = None
    rows: list[Inner] = []
    more: list[Inner] | None = None


def test_a_class_for_the_query_has_a_parameter_for_each_field(make_client: MakeClient) -> None:
    class Root(App):
        @get
        def find(self, *, search: Annotated[Search, Query()]) -> str:
            return f"{search.shade} {search.level} {search.tags}"

        @get
        def perhaps(self, *, search: Annotated[Search | None, Query()] = None) -> bool:
            return search is None

    app = Root()
    document = app.openapi()
    OpenAPIV31SpecValidator(document).validate()
    found = operation(document, "/find")["parameters"]
    assert [(one["name"], one["in"], one["required"]) for one in found] == [
        ("colour", "query", True),
        ("level", "query", False),
        ("tags", "query", False),
        ("pair", "query", False),
        ("inner.grams", "query", False),
        ("rows[0].grams", "query", False),
        ("more[0].grams", "query", False),
    ]
    colour, level, tags, pair, inner, *_ = (one["schema"] for one in found)
    assert (colour["type"], colour["maxLength"]) == ("string", 9)
    assert (level["type"], tags["items"]) == ("integer", {"type": "string"})
    assert len(pair["prefixItems"]) == 2
    # an empty text is None, as the client says by sending the bare name
    assert [one.get("allowEmptyValue") for one in found] == [None, True, *[None] * 5]
    assert inner["type"] == "integer"
    assert "default" not in level
    optional = operation(document, "/perhaps")["parameters"]
    assert [(one["name"], one["required"]) for one in optional] == [
        ("colour", False),
        ("level", False),
        ("tags", False),
        ("pair", False),
        ("inner.grams", False),
        ("rows[0].grams", False),
        ("more[0].grams", False),
    ]
    client = make_client(app)
    assert client.get("/find?colour=red&level=&tags=a&tags=b").text == "red None ['a', 'b']"
    # without the default, which a client would send without the others
    assert "default" not in str(optional)
    assert client.get("/perhaps").text == "true"


@dataclass
class Address:
    street: str
    number: int = 1
    near: Address | None = None


@dataclass
class Sized:
    size: int = 5


@dataclass
class Filters:
    address: Address
    loose: Sized
    lines: list[Address]
    other: Address | None = None
    counts: dict[str, int] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    deep: dict[str, Address] | None = None
    rows: list[dict[str, int]] | None = None


def test_each_field_of_a_structure_inside_the_query_is_a_parameter(make_client: MakeClient) -> None:
    """A dict is a deepObject. No style describes an object inside a dict, and a structure inside
    itself would never end.
    """

    class Root(App):
        @get
        def find(self, *, filters: Annotated[Filters, Query()]) -> Filters:
            return filters

    app = Root(errors="json")
    document = app.openapi()
    OpenAPIV31SpecValidator(document).validate()
    found = operation(document, "/find")["parameters"]
    assert [
        (one["name"], one["required"], one.get("style"), one["schema"].get("default"))
        for one in found
    ] == [
        ("address.street", True, None, None),
        ("address.number", False, None, 1),
        ("loose.size", False, None, 5),
        ("lines[0].street", True, None, None),
        ("lines[0].number", False, None, 1),
        ("other.street", False, None, None),
        ("other.number", False, None, None),
        ("counts", False, "deepObject", {}),
        ("extra", False, "deepObject", {}),
    ]
    client = make_client(app)
    query = "address.street=Elm&lines[0].street=Oak&other.street=Ash"
    answer = client.get(f"/find?{query}&counts[a]=1&extra[b]=c").json()
    assert [answer[name]["street"] for name in ("address", "other")] == ["Elm", "Ash"]
    assert [one["street"] for one in answer["lines"]] == ["Oak"]
    assert (answer["loose"], answer["counts"], answer["extra"]) == (
        {"size": 5},
        {"a": 1},
        {"b": "c"},
    )
    errors = client.get("/find").json()["errors"]
    assert [one["field"] for one in errors] == ["address.street", "lines"]


@dataclass
class Cells:
    cells: list[list[int]]
    names: Annotated[list[list[str]], Meta(min_length=1)] | None = None
    tags: list[str] = field(default_factory=list)


def test_a_list_of_lists_is_json_in_a_text_of_a_form(make_client: MakeClient) -> None:
    app = App(errors="json")

    @app.post("/rows")
    def rows(rows: list[list[int]], file: UploadFile) -> Any:
        return rows

    @app.post("/cells")
    def cells(cells: Annotated[Cells, Form()]) -> Any:
        return cells

    document = app.openapi()
    OpenAPIV31SpecValidator(document).validate()

    def text(kind: str, **more: Any) -> dict[str, Any]:
        array = {"type": "array", "items": {"type": "array", "items": {"type": kind}}, **more}
        return {"type": "string", "contentMediaType": JSON, "contentSchema": array}

    _, kinds, schema = body(document, "/rows")
    assert (kinds, schema["properties"]["rows"]) == (["multipart/form-data"], text("integer"))
    _, kinds, schema = body(document, "/cells")
    assert kinds == ["application/x-www-form-urlencoded"]
    assert schema == {
        "type": "object",
        "required": ["cells"],
        "properties": {
            "cells": text("integer"),
            "names": text("string", minItems=1),
            "tags": {"type": "array", "items": {"type": "string"}},
        },
    }
    client = make_client(app)
    file: Any = {"file": ("a", b"x")}
    for sent, found in (
        ("[[1], [2, 3]]", [[1], [2, 3]]),
        (["[1]", "[2, 3]"], [[1], [2, 3]]),
        ("[1]", "rows"),
        ("[[1]", "rows"),
        ("1", "rows"),
    ):
        answer = client.post("/rows", data={"rows": sent}, files=file).json()
        assert (answer["errors"][0]["field"] if "errors" in answer else answer) == found
    for values, expected in (
        ({"cells": "[[1], []]", "names": '[["a"]]'}, ([[1], []], [["a"]])),
        ({"cells": ["1", "2"], "names": "[a"}, ([[1], [2]], [["[a"]])),
        ({"cells": "3", "names": '["a"]'}, ([[3]], [['["a"]']])),
    ):
        made = client.post("/cells", data=values).json()
        assert (made["cells"], made["names"]) == expected


class ByName(Struct, tag="name"):
    word: str
    most: int = 10


class ByYear(Struct, tag="year"):
    year: int
    most: int = 10


def test_one_of_several_classes_for_the_query_has_the_parameters_of_each(
    make_client: MakeClient,
) -> None:
    class Root(App):
        @get
        def find(self, *, search: Annotated[ByName | ByYear, Query()]) -> str:
            return f"{search}"

    app = Root()
    document = app.openapi()
    OpenAPIV31SpecValidator(document).validate()
    found = operation(document, "/find")["parameters"]
    assert [(one["name"], one["required"]) for one in found] == [
        ("type", True),
        ("word", False),
        ("most", False),
        ("year", False),
    ]
    tags = [{"type": "string", "enum": [tag]} for tag in ("name", "year")]
    assert found[0]["schema"] == {"anyOf": tags}
    assert found[2]["schema"] == {"type": "integer", "default": 10}
    assert make_client(app).get("/find?type=year&year=2026").text == "ByYear(year=2026, most=10)"


class Caption(Struct):
    title: str
    note: str | None = None


def test_fields_beside_a_file_are_described_in_the_multipart_form(make_client: MakeClient) -> None:
    class Root(App):
        @post
        def one(self, meta: Caption, file: UploadFile) -> str:
            return meta.title

        @put
        def several(self, meta: Caption | None = None, *, files: list[UploadFile]) -> str:
            return "" if meta is None else meta.title

        @post
        def form(self, meta: Annotated[Caption, Form()], file: UploadFile | None = None) -> str:
            return meta.title

        @post
        def lists(
            self,
            tags: list[str] | None = None,
            files: list[UploadFile] | None = None,
            cover: UploadFile | None = None,
        ) -> None: ...

        @post
        def array(self, rows: list[Caption], file: UploadFile) -> str:
            return rows[0].title

        @post
        def anything(self, data: dict[str, str], file: UploadFile) -> str:
            return data["title"]

    app = Root()
    document = app.openapi()
    OpenAPIV31SpecValidator(document).validate()
    binary = {"type": "string", "format": "binary"}
    fields = {
        "title": {"type": "string"},
        "note": {"anyOf": [{"type": "string"}, {"type": "string", "const": ""}]},
    }
    multipart = ["multipart/form-data"]

    def described(path: str, method: str = "post") -> tuple[bool, list[str], Any, list[str]]:
        is_required, kinds, schema = body(document, path, method)
        return is_required, kinds, schema["properties"], schema.get("required", [])

    expected = {**fields, "file": binary}
    assert described("/one") == (True, multipart, expected, ["title", "file"])
    expected = {**fields, "files": {"type": "array", "items": binary}}
    assert described("/several", "put") == (True, multipart, expected, ["files"])
    is_required, kinds, properties, needed = described("/form")
    assert (is_required, kinds, [*properties], needed) == (
        True,
        multipart,
        ["title", "note", "file"],
        ["title"],
    )
    rows = {"type": "array", "items": {"$ref": "#/components/schemas/Caption"}}
    expected = {"rows": rows, "file": binary}
    assert described("/array") == (True, multipart, expected, ["rows", "file"])
    assert [*described("/anything")[2]] == ["data", "file"]
    empty = {"type": "string", "const": ""}
    assert described("/lists")[2] == {
        "tags": {"type": "array", "items": {"type": "string"}},
        "files": {"type": "array", "items": binary},
        "cover": {"anyOf": [binary, empty]},
    }
    client = make_client(app)
    sent: Any = {"file": ("a", b"x")}
    for path in ("/one", "/form"):
        assert client.post(path, data={"title": "T"}, files=sent).text == "T"
    answer = client.put("/several", data={"title": "T"}, files=[("files", ("a", b"x"))])
    assert answer.text == "T"
    # by OpenAPI's rules, an object or an array of them is a part with JSON
    part = ("blob", b'[{"title": "T"}]', "application/json")
    assert client.post("/array", files={"rows": part, **sent}).text == "T"
    part = ("blob", b'{"title": "T"}', "application/json")
    assert client.post("/anything", files={"data": part, **sent}).text == "T"


def test_a_query_or_form_with_defaults_is_not_required(make_client: MakeClient) -> None:
    class Root(App):
        @get
        def query(self, paged: Annotated[Paged, Query()]) -> Paged:
            return paged

        @get
        def query_or_none(self, paged: Annotated[Paged | None, Query()]) -> Paged | None:
            return paged

        @get
        def lone_query(self, lone: Annotated[Lone, Query()]) -> Lone:
            return lone

        @post
        def form(self, paged: Annotated[Paged, Form()]) -> Paged:
            return paged

        @post
        def lone_form(self, lone: Annotated[Lone, Form()]) -> Lone:
            return lone

        @post
        def document(self, paged: Paged) -> Paged:
            return paged

    app = Root(errors="json")
    client, document = make_client(app), app.openapi()
    for path in document["paths"]:
        ((method, found),) = document["paths"][path].items()
        (given,) = found.get("parameters") or [found["requestBody"]]
        assert given["required"] is (client.request(method.upper(), path).status_code == 400), path


def test_errors_of_author_and_framework_share_a_response() -> None:
    class Root(App):
        @post
        @describe(responses={400: Lone, 415: "No."})
        def save(self, name: str) -> str:
            return ""

    document = Root(errors="json").openapi()
    # most generated clients read the first alone
    assert [*content(document, "/save", "post", "400")] == [JSON, "application/problem+json"]
    assert [*content(document, "/save", "post", "415")] == ["application/problem+json"]


def test_wildcards_are_in_the_path_and_equal_paths_share_names(
    document: dict[str, Any],
) -> None:
    (path,) = [path for path in document["paths"] if path.startswith("/pies/")]
    assert set(document["paths"][path]) == {"get", "delete"}
    name = path.removeprefix("/pies/{").removesuffix("}")
    schema = {"type": "integer", "format": "int64"}
    assert parameters(document, path)[name] == ("path", True, schema)
    assert parameters(document, path, "delete") == {
        name: ("path", True, {"type": "integer", "format": "int64"}),
        "reason": ("query", False, {"type": "string", "default": "hunger"}),
    }
    assert parameters(document, "/ratio/{x}/{word}") == {
        "x": ("path", True, {"type": "number"}),
        "word": ("path", True, {"type": "string", "pattern": "^(?:[a-z]{2,5})$"}),
    }


def test_request_bodies_have_schemas(document: dict[str, Any]) -> None:
    assert body(document, "/bake") == (True, [JSON, FORM], {"$ref": "#/components/schemas/Pie"})
    assert parameters(document, "/bake", "post")["dry"][0] == "query"
    assert body(document, "/invite")[:2] == (False, [JSON, FORM])
    spices = {"type": "array", "items": {"$ref": "#/components/schemas/Spice"}}
    assert body(document, "/season") == (True, [JSON], spices)
    assert body(document, "/store", "put") == (
        True,
        [JSON, FORM],
        {
            "type": "object",
            "properties": {"name": {"type": "string"}, "count": {"type": "integer", "default": 1}},
            "required": ["name"],
        },
    )
    assert body(document, "/relabel", "patch")[0] is False
    required, kinds, schema = body(document, "/upload")
    assert (required, kinds) == (True, ["multipart/form-data"])
    assert schema["properties"]["picture"] == {"type": "string", "format": "binary"}
    assert "requestBody" not in operation(document, "/both")
    assert body(document, "/both")[1] == ["multipart/form-data"]
    found = parameters(document, "/raw", "post")
    assert found == {"name": ("query", False, {"type": "string", "default": ""})}


@dataclass
class Rack:
    label: str
    spices: list[Spice]


class Photo(pydantic.BaseModel):
    content: bytes = b""


def test_a_form_with_objects_is_multipart_because_only_its_parts_contain_json() -> None:
    app = App()

    @app.post("/flat")
    def flat(*, spice: Annotated[Spice, Form()]) -> None: ...

    @app.post("/nested")
    def nested(*, rack: Annotated[Rack | None, Form()] = None) -> None: ...

    @app.post("/either")
    def either(rack: Rack) -> None: ...

    document = app.openapi()
    assert body(document, "/flat")[:2] == (True, [FORM])
    assert body(document, "/nested")[:2] == (False, ["multipart/form-data"])
    assert body(document, "/either")[:2] == (True, [JSON, FORM])


def test_bytes_of_a_pydantic_model_are_no_file() -> None:
    app = App()

    @app.post("/")
    def index(photo: Photo, picture: UploadFile) -> None: ...

    properties = body(app.openapi(), "/")[2]["properties"]
    assert "format" not in properties["content"]
    assert properties["picture"]["format"] == "binary"


def test_structures_become_components(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert {"Pie", "Crust", "Colour", "Spice", "Guest", "Note"} <= schemas.keys()
    found = schemas["Spice"]["properties"]["grams"]
    assert found == {"type": "integer", "minimum": 1, "maximum": 100, "default": 1}
    assert schemas["Note"]["properties"]["text"]["maxLength"] == 50
    given = schemas["Guest"]["properties"]["friends"]["items"]
    assert given == {"$ref": "#/components/schemas/Guest"}
    holders = {"type": "array", "items": {"$ref": "#/components/schemas/Holder"}}
    assert content(document, "/opaque") == {JSON: {"schema": holders}}


def test_responses_have_schemas(document: dict[str, Any]) -> None:
    assert content(document, "/stream") == {"text/html": {"schema": {"type": "string"}}}
    assert content(document, "/events") == {"text/event-stream": {}}
    assert set(operation(document, "/odd")["responses"]) == {"299", "default"}
    found = content(document, "/nested")[JSON]["schema"]["items"]["prefixItems"]
    assert found == [{"type": "integer"}, {"type": "string"}]
    given = content(document, "/many")[JSON]["schema"]["items"]
    assert given == {"type": "array", "items": {"type": "integer"}}
    assert content(document, "/bare") == {JSON: {"schema": {"type": "array", "items": {}}}}
    assert content(document, "/mixed")[JSON]["schema"]["items"] == {"anyOf": OF_TWO_TYPES}
    baked = operation(document, "/bake", "post")["responses"]
    assert baked["409"] == {"description": "There is such a pie."}
    assert baked["422"]["description"] == "Too hot."
    assert baked["418"]["content"][JSON] == {"schema": {"$ref": "#/components/schemas/Note"}}
    assert set(baked) == {"201", "400", "409", "413", "415", "418", "422", "default"}
    assert baked["413"]["description"] == "Content Too Large"
    made = baked["413"]["content"]["application/problem+json"]
    assert made == {"schema": {"$ref": "#/components/schemas/Problem"}}
    assert "errors" in document["components"]["schemas"]["Problem"]["properties"]
    invited = operation(document, "/invite", "post")["responses"]
    assert {*invited} == {"201", "400", "413", "415", "default"}


def test_several_answers_of_one_status_are_all_described() -> None:
    class Root(App):
        @get
        def pet(self) -> Lone | Owner | Lone:
            return Lone(1)

        @get
        def maybe(self) -> None | Lone | str | Markup:  # noqa: RUF036 - in any order
            return None

        @get
        def perhaps(self) -> str | None:
            return None

        @get
        def moved(self) -> Redirect | None:
            return None

    document = Root().openapi()
    lone, owner = {"$ref": "#/components/schemas/Lone"}, {"$ref": "#/components/schemas/Owner"}
    ok = {path: operation(document, path)["responses"]["200"] for path in document["paths"]}
    assert ok == {
        "/pet": {"description": "OK", "content": {JSON: {"schema": {"anyOf": [lone, owner]}}}},
        "/maybe": {
            "description": "OK",  # None is null beside JSON, and else an empty text
            "content": {
                JSON: {"schema": {"anyOf": [lone, {"type": "null"}]}},
                "text/html": {"schema": {"type": "string"}},
            },
        },
        "/perhaps": {
            "description": "OK; the body may be empty",
            "content": {"text/html": {"schema": {"type": "string"}}},
        },
        "/moved": {"description": "OK"},
    }
    assert "content" not in operation(document, "/moved")["responses"]["303"]


def test_plain_errors_are_described_unless_the_author_handles_them(
    document: dict[str, Any],
) -> None:
    plain = {"text/plain", "text/html", "application/problem+json"}
    assert (
        {*content(document, "/refused", status="400")}
        == {*content(document, "/refused", status="default")}
        == plain
    )
    for errors, kinds in (("json", ["application/problem+json"]), ("text", ["text/plain"])):
        assert [*content(Kitchen(errors=errors).openapi(), "/refused", status="400")] == kinds


class Gone(HTTPError):
    pass


@pytest.mark.parametrize(
    ("key", "answered"),
    [
        (404, {"404"}),
        (KeyError, set()),
        (BadRequest, {"400"}),
        (BindingError, {"400"}),
        (MethodNotAllowed, set()),
        (Gone, {"400", "404", "413"}),
        (HTTPError, {"400", "404", "413"}),
        (Exception, {"400", "404", "413"}),
        (409, set()),
    ],
)
def test_an_error_that_an_author_s_handler_may_handle_is_not_described(
    key: int | type[Exception], answered: set[str]
) -> None:
    app = App(errors="json")
    app.error(key)(lambda: "own")

    @app.post("/pies/<number:int>")
    @describe(responses={404: "There is none."})
    def bake(number: int, name: str) -> str:
        return name

    responses = operation(app.openapi(), "/pies/{number}", "post")["responses"]
    bare = {
        status for status in ("400", "404", "413", "default") if "content" not in responses[status]
    }
    assert bare == {*answered, "default"}  # any other error may be one of the handler's


def perhaps_elsewhere(request: Request) -> Redirect | bool:
    return True


def unreadable(request: Request) -> Undefined:  # type: ignore[name-defined]  # noqa: F821
    return True


def elsewhere_or_in(request: Request) -> Redirect | Literal[True]:
    return True


def test_a_check_annotated_with_redirect_is_described() -> None:
    class Root(App):
        @requires(elsewhere_or_in)
        def members(self) -> list[str]:
            return []

        @requires(perhaps_elsewhere, unreadable, max)
        def pies(self) -> list[str]:
            return []

        @requires(unreadable, max)
        def others(self) -> list[str]:
            return []

    document = Root(errors="json").openapi()
    assert operation(document, "/pies")["responses"]["303"] == {"description": "See Other"}
    assert [*operation(document, "/pies")["responses"]] == ["200", "303", "403", "default"]
    assert [*operation(document, "/others")["responses"]] == ["200", "403", "default"]
    # which never refuses with 403
    assert [*operation(document, "/members")["responses"]] == ["200", "303", "default"]


def test_an_optional_document_has_no_415() -> None:
    """A form of another charset is refused, and JSON that is not called so is missing."""

    class Root(App):
        @post
        def needed(self, names: Annotated[list[str], Body()]) -> str:
            return ""

        @post
        def perhaps(self, names: Annotated[list[str] | None, Body()] = None) -> str:
            return ""

        @post
        def form(self, name: Annotated[str, Form()] = "") -> str:
            return ""

    document = Root(errors="json").openapi()
    array = {"type": "array", "items": {"type": "string"}}
    # never null, for which openapi-python-client writes code that can't leave out the body
    assert body(document, "/perhaps") == (False, [JSON], array)
    paths = ("/needed", "/perhaps", "/form")
    told = [operation(document, path, "post")["responses"] for path in paths]
    assert ["415" in one for one in told] == [True, False, True]
    client = TestClient(Root())
    other = {"Content-Type": "text/plain"}
    found = [client.post(path, content=b"a", headers=other).status_code for path in paths]
    assert found == [415, 200, 200]
    charset = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-16"}
    assert client.post("/form", content=b"a", headers=charset).status_code == 415


def test_possible_errors_are_described() -> None:
    class Root(App):
        @requires(lambda request: False)
        @get("/pies/<number:int>")
        def pie(self, number: int) -> str:
            return ""

    found = operation(Root().openapi(), "/pies/{number}")["responses"]
    assert {status: answer["description"] for status, answer in found.items()} == {
        "200": "OK",
        "400": "A parameter is missing or invalid",
        "403": "Forbidden",
        "404": "Not Found",
        "default": "Any other error",
    }


def test_responses_of_middleware_are_described() -> None:
    """In ``middlewares`` and above a handler, each answer as ``errors`` says."""

    class Root(App):
        @RateLimit(5, when_unreachable="refuse")
        @BearerAuth(lambda token: None)
        @get("/pies")
        def pies(self) -> str:
            return ""

        @post
        @reads_body
        def upload(self) -> str:
            return ""

    app = Root(errors="json")
    app.middlewares += [Timeout(5), RateLimit(9)]
    limited, upload = (
        operation(app.openapi(), path, method)["responses"]
        for path, method in (("/pies", "get"), ("/upload", "post"))
    )
    assert [*limited] == ["200", "401", "429", "503", "default"]
    assert [*upload] == ["200", "413", "429", "503", "default"]
    schemas = [
        one["content"]["application/problem+json"]["schema"] for one in [*limited.values()][1:]
    ]
    assert schemas == [{"$ref": "#/components/schemas/Problem"}] * 4
    found = [[*one.get("headers", {})] for one in [*limited.values()][1:4]]
    assert found == [["WWW-Authenticate"], ["Retry-After"], ["Retry-After"]]


def test_bodies_read_by_handlers_are_described(make_client: MakeClient) -> None:
    class Root(App):
        @post
        @reads_body
        async def parts(self) -> dict[str, str]:
            return {one.name: await one.text() async for one in self.request.parts()}

        @put
        @reads_body
        async def raw(self) -> int:
            return len(await self.request.body())

        @route("/either", methods=["GET", "POST"])
        @reads_body
        def either(self) -> str:
            return self.request.method

    app = Root()
    parts, raw, read, sent = (
        operation(app.openapi(), path, method)
        for path, method in (
            ("/parts", "post"),
            ("/raw", "put"),
            ("/either", "get"),
            ("/either", "post"),
        )
    )
    form = {"multipart/form-data": {"schema": {"type": "object"}}}
    assert parts["requestBody"] == {"required": True, "content": form}
    assert [*parts["responses"]] == ["200", "400", "413", "415", "default"]
    data = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    assert raw["requestBody"] == sent["requestBody"] == {"required": False, "content": data}
    assert [*raw["responses"]] == ["200", "413", "default"]
    assert "requestBody" not in read
    client = make_client(app)
    assert client.post("/parts", files={"a": (None, "x")}).json() == {"a": "x"}
    assert client.post("/parts").status_code == client.post("/parts", json={}).status_code == 415
    octets = {"Content-Type": "application/octet-stream"}
    assert client.put("/raw", content=b"apple", headers=octets).json() == 5
    assert client.put("/raw").json() == 0


def test_inner_applications_become_tags_and_access_checks_security_schemes(
    document: dict[str, Any],
) -> None:
    found = operation(document, "/inner/secrets")
    assert found["tags"] == ["Inner"]
    inner = [{"name": "Inner", "description": "Behind a log-in."}, {"name": "Plain"}]
    assert document["tags"] == [{"name": "Kitchen"}, *inner, {"name": "people"}]
    assert operation(document, "/text")["tags"] == ["Kitchen"]
    assert found["security"] == [{"BasicAuth": [], "BearerAuth": []}]
    assert "401" in found["responses"]
    assert document["components"]["securitySchemes"] == {
        "BasicAuth": {"type": "http", "scheme": "basic"},
        "BearerAuth": {"type": "http", "scheme": "bearer"},
    }
    assert "security" not in operation(document, "/text")
    assert operation(document, "/mounted")["tags"] == ["Plain"]


class ApiKey:
    """A check of an author's own that says what it asks for."""

    security_scheme = MappingProxyType({"type": "apiKey", "in": "header", "name": "X-Key"})

    def __call__(self, request: Request) -> bool:
        return request.headers.get("x-key") == "sesame"


def test_scopes_of_access_checks_are_described() -> None:
    auth = BearerAuth(len, token_url="token", scopes={"r": "See pies", "w": "Bake pies"})

    class Root(App):
        middlewares = [auth.with_scopes("r")]  # noqa: RUF012

        def see(self) -> str:
            return ""

        @auth.with_scopes("r", "w")
        def bake(self) -> str:
            return ""

        @requires(ApiKey(), lambda request: True)
        def keyed(self) -> str:
            return ""

        @BearerAuth(len)
        def other(self) -> str:
            return ""

    document = Root().openapi()
    OpenAPIV31SpecValidator(document).validate()
    assert document["components"]["securitySchemes"] == {
        "ApiKey": {"type": "apiKey", "in": "header", "name": "X-Key"},
        "BearerAuth": {
            "type": "oauth2",
            "flows": {
                "password": {"tokenUrl": "token", "scopes": {"r": "See pies", "w": "Bake pies"}}
            },
        },
        "BearerAuth2": {"type": "http", "scheme": "bearer"},
    }
    assert {path: operation(document, path)["security"] for path in document["paths"]} == {
        "/bake": [{"BearerAuth": ["r", "w"]}],
        "/keyed": [{"BearerAuth": ["r"], "ApiKey": []}],
        "/other": [{"BearerAuth": ["r"], "BearerAuth2": []}],
        "/see": [{"BearerAuth": ["r"]}],
    }
    for path in document["paths"]:
        answers = operation(document, path)["responses"]
        assert answers["401"]["headers"] == {"WWW-Authenticate": {"schema": {"type": "string"}}}
        assert answers["403"] == {"description": "Forbidden"}


class Signed:
    """A check that answers in its own way, and says so."""

    security_scheme = MappingProxyType({"type": "apiKey", "in": "cookie", "name": "key"})
    statuses = (401,)

    def __call__(self, request: Request) -> bool:
        raise HTTPError(401)

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


def test_a_check_is_described_with_403_unless_it_declares_statuses() -> None:
    class Root(App):
        @requires(ApiKey())
        def keyed(self) -> list[str]:
            return []

        @requires(Signed())
        def signed(self) -> list[str]:
            return []

        @BasicAuth({})
        @requires(Signed())
        def both(self) -> list[str]:
            return []

        @BasicAuth({})
        @requires(ApiKey())
        def guarded(self) -> list[str]:
            return []

    document = Root(errors="json").openapi()
    found = {
        path: {"401", "403"} & operation(document, path)["responses"].keys()
        for path in document["paths"]
    }
    signed, both = (operation(document, path)["responses"]["401"] for path in ("/signed", "/both"))
    assert "headers" not in signed  # nobody sends one
    assert [*both["headers"]] == ["WWW-Authenticate"]
    two = {"401", "403"}
    assert found == {"/keyed": {"403"}, "/signed": two, "/both": two, "/guarded": two}


@dataclass
class Tenant:
    name: str


def tenant(name: Annotated[str, Header("X-Tenant")], version: int = 1) -> Tenant:
    return Tenant(name)


def of_tenant(request: Request, tenant: Tenant) -> bool:
    return tenant.name == "ann"


def test_parameters_of_checks_are_described(make_client: MakeClient) -> None:
    @requires(of_tenant)
    class Inner(App):
        @get
        def pies(self) -> list[str]:
            return []

        @get
        def own(self, tenant: Tenant, version: int = 2) -> list[str]:
            return [tenant.name]

    class Root(App):
        inner = Inner()

        @get
        def free(self) -> list[str]:
            return []

    app = Root(errors="json")
    app.provides(Tenant)(tenant)
    document = app.openapi()
    for path in ("/inner/pies", "/inner/own"):
        assert parameters(document, path) == {
            "X-Tenant": ("header", True, {"type": "string"}),
            "version": ("query", False, {"type": "integer", "default": 2 if "own" in path else 1}),
        }
        assert "400" in operation(document, path)["responses"]
    assert parameters(document, "/free") == {}
    client = make_client(app)
    assert client.get("/inner/pies").status_code == 400
    assert client.get("/inner/pies", headers={"X-Tenant": "bob"}).status_code == 403
    assert client.get("/inner/pies", headers={"X-Tenant": "ann"}).json() == []


def test_a_title_shared_by_several_models_is_replaced_by_their_names() -> None:
    """By titles generated clients name classes."""

    class Own(pydantic.BaseModel):
        name: str = pydantic.Field(serialization_alias="called")

    other = make_dataclass("Problem", [("name", str)])

    def echo(own: Any) -> Any:
        return own

    app = App(errors="json")
    echo.__annotations__ = {"own": Own, "return": Own}
    app.post("/own")(echo)

    def problem() -> Any:
        return other("a")

    problem.__annotations__ = {"return": other}
    app.get("/problem")(problem)
    schemas = app.openapi()["components"]["schemas"]
    titles = {name: one.get("title", name) for name, one in schemas.items()}
    assert {*titles} > {"Own-Input", "Own-Output", "Problem"}
    assert [*titles] == [*titles.values()]
    assert len(titles) == 4


@pytest.mark.parametrize("text", ["plain", "html"])
def test_text_may_be_described_as_html(text: Any) -> None:
    class Root(App):
        def page(self, name: str = "") -> str:
            return html("<h1>{}</h1>", name) if name else "nobody"

        def plain(self) -> str:
            return "plain"

    app = Root(text=text, errors="json")
    document, client = app.openapi(), TestClient(app)
    page, plain = content(document, "/page"), content(document, "/plain")
    assert [*plain] == [f"text/{text}"]
    assert [*page] == (["text/plain", "text/html"] if text == "plain" else ["text/html"])
    for path in ("/page", "/page?name=ann"):
        assert client.get(path).headers["content-type"].partition(";")[0] in page


@pytest.mark.parametrize("path", ["/internal", "/helper", "/default", "/"])
def test_hidden_paths_are_omitted(document: dict[str, Any], path: str) -> None:
    assert path not in document["paths"]


def test_static_files_are_omitted() -> None:
    app = App()
    app.static("/files", ".")
    assert app.openapi()["paths"] == {}


def test_operation_ids_are_unique() -> None:
    class Doubled(App):
        @describe(operation_id="same")
        def one(self) -> str:
            return ""

        @describe(operation_id="same")
        def two(self) -> str:
            return ""

    found = [one["get"]["operationId"] for one in Doubled().openapi()["paths"].values()]
    assert sorted(found) == ["same", "same_get"]


def test_a_page_of_items_is_described() -> None:
    class Shop(App):
        def pies(self) -> Page[Paged]:
            raise NotImplementedError

        def shelves(self) -> list[Page[int]]:
            raise NotImplementedError

    about = (
        "One page of a list. ``items``: the items on this page. ``number``: the page's number, "
        "counted from 1. ``size``: the number of items on a full page. ``total``: the number of items "
        "on all pages."
    )
    document = TestClient(Shop(docs=Docs())).get("/openapi.json").json()
    found = document["components"]["schemas"]
    assert [found[name]["description"] for name in ("Page_Paged_", "Page_int_")] == [about] * 2


def test_two_classes_with_the_same_name_are_two_components() -> None:
    schemas = schemas_for(OwnTypes({}, {}), {}, "validation")
    first, second = make_dataclass("Twin", [("a", int)]), make_dataclass("Twin", [("b", str)])
    second.__module__ = "two"
    assert schemas.of(first) == {"$ref": "#/components/schemas/Twin"}
    assert schemas.of(second) == {"$ref": "#/components/schemas/two.Twin"}
    assert schemas.of(first) == {"$ref": "#/components/schemas/Twin"}
    assert schemas.components["two.Twin"]["properties"] == {"b": {"type": "string"}}
    third = make_dataclass("Twin", [("c", str)])
    third.__module__ = "two"
    assert schemas.of(third) == {"$ref": "#/components/schemas/two.Twin2"}
    assert schemas.components["two.Twin2"]["properties"] == {"c": {"type": "string"}}
    assert [*schemas.components] == ["Twin", "two.Twin", "two.Twin2"]


def test_a_dataclass_with_a_model_is_described_separately_as_body_and_response() -> None:
    components: dict[str, Any] = {}
    for mode, name in (("validation", "Input"), ("serialization", "Output")):
        schemas = schemas_for(OwnTypes({}, {}), components, mode)  # type: ignore[arg-type]
        assert schemas.of(Pack) == {"$ref": f"#/components/schemas/Pack-{name}"}
        leader = components[f"Pack-{name}"]["properties"]["leader"]
        assert leader == {"$ref": f"#/components/schemas/Dog-{name}"}


def test_an_encoder_describes_the_dates_of_a_dataclass_with_a_model() -> None:
    components: dict[str, Any] = {}

    def ordinal(day: date) -> int:
        raise NotImplementedError

    own = OwnTypes({date: ordinal}, {})
    schemas_for(own, components, "serialization").of(Dated)
    assert components["Dated"]["properties"]["day"] == {"type": "integer"}


class Owner(pydantic.BaseModel):
    name: str = pydantic.Field(alias="fullName")


class Dog(pydantic.BaseModel):
    size: int = pydantic.Field(5, validation_alias="cm", serialization_alias="inches")
    owner: Owner

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def noise(self) -> int:
        return self.size


@dataclass
class Pack:
    leader: Dog


@dataclass
class Dated:
    owner: Owner
    day: date


class Boxed(pydantic.BaseModel, Generic[T]):
    pets: list[T]


def test_a_model_is_described_separately_as_body_and_response() -> None:
    class Root(App):
        @post
        @describe(responses={409: Dog, 410: Owner})
        def bathe(self, dogs: list[Dog]) -> Boxed[Dog]:
            return Boxed(pets=dogs)

        @get
        def find(self, owner: Annotated[Owner, Query()]) -> Owner:
            return owner

        @get
        def bare(self) -> Boxed[int]:
            return Boxed(pets=[])

    document = Root().openapi()
    OpenAPIV31SpecValidator(document).validate()
    schemas = document["components"]["schemas"]
    assert {*schemas} == {"Boxed_Dog_", "Boxed_int_", "Dog-Input", "Dog-Output", "Owner", "Problem"}
    assert [*schemas["Dog-Input"]["properties"]] == ["cm", "owner"]
    assert [*schemas["Dog-Output"]["properties"]] == ["inches", "owner", "noise"]
    assert [*schemas["Owner"]["properties"]] == ["fullName"]
    taken, given = (
        {"$ref": "#/components/schemas/Dog-Input"},
        {"$ref": "#/components/schemas/Dog-Output"},
    )
    owner = {"$ref": "#/components/schemas/Owner"}
    assert body(document, "/bathe")[2] == {"type": "array", "items": taken}
    assert schemas["Boxed_Dog_"]["properties"]["pets"]["items"] == given
    assert content(document, "/bathe", "post", "409")[JSON]["schema"] == given
    assert (
        schemas["Dog-Output"]["properties"]["owner"]
        == schemas["Dog-Input"]["properties"]["owner"]
        == owner
    )
    assert content(document, "/find")[JSON]["schema"] == owner
    full_name = schemas["Owner"]["properties"]["fullName"]
    assert parameters(document, "/find") == {"fullName": ("query", True, full_name)}


@dataclass
class Shelf(Generic[T]):
    items: list[T]


class Crate(Struct, Generic[T]):
    items: list[T]


class Row(TypedDict, Generic[T]):
    items: list[T]


@pytest.mark.parametrize("kind", [Shelf, Crate, Row])
def test_a_generic_structure_is_described_with_its_type_arguments(kind: Any) -> None:
    app = App()

    def move(items: Any) -> Any:
        raise NotImplementedError

    move.__annotations__ |= {"items": kind[int], "return": list[kind[Lone]]}
    app.post("/move")(move)
    document = app.openapi()
    OpenAPIV31SpecValidator(document).validate()
    taken, given = (f"{kind.__name__}_{name}_" for name in ("int", "Lone"))
    assert body(document, "/move")[2] == {"$ref": f"#/components/schemas/{taken}"}
    found = content(document, "/move", "post")[JSON]["schema"]["items"]
    assert found == {"$ref": f"#/components/schemas/{given}"}
    items = [
        document["components"]["schemas"][name]["properties"]["items"]["items"]
        for name in (taken, given)
    ]
    assert items == [{"type": "integer"}, {"$ref": "#/components/schemas/Lone"}]
    components = dict[str, Any]()
    unknown = schemas_for(OwnTypes({}, {}), components, "serialization").of(kind[Session])
    assert unknown == {"$ref": f"#/components/schemas/{kind.__name__}_Session_"}
    described = components[f"{kind.__name__}_Session_"]
    assert described["properties"]["items"] == {"type": "array", "items": {}}
    assert described["required"] == ["items"]


class Weighed(Struct, rename="camel"):
    """A class with one type that nothing describes, and others."""

    whole_weight: object
    net_weight: Annotated[int, Meta(ge=1)]
    best_day: date | None = None


def test_a_type_without_a_schema_leaves_the_description_of_its_class() -> None:
    components = dict[str, Any]()
    schemas_for(OwnTypes({}, {}), components, "validation").of(Weighed)
    described = components["Weighed"]
    assert [*described["properties"]] == ["wholeWeight", "netWeight", "bestDay"]
    assert described["properties"]["netWeight"] == {"type": "integer", "minimum": 1}
    assert described["required"] == ["wholeWeight", "netWeight"]


@pytest.mark.parametrize("hint", [bytes, bytes | None])
def test_the_length_of_bytes_is_described_as_that_of_their_text(hint: Any) -> None:
    """As in msgspec's schema of a class."""
    limited = Annotated[hint, Meta(min_length=1, max_length=4)]
    schema = schemas_for(OwnTypes({}, {}), {}, "validation").of(limited)
    assert (schema["minLength"], schema["maxLength"]) == (4, 8)


class Options(Struct):
    word: str
    counts: dict[str, int] = {}


class Dicts(App):
    @get("/found/<code:re:[A-Z]{2}>")
    def found(self, code: str, *, counts: dict[str, int] | None = None, n: int = 1) -> None: ...

    @get("/searched/<code:re:[A-Z]{2}>")
    def searched(self, code, options: Annotated[Options, Query()]) -> None: ...  # type: ignore[no-untyped-def]

    @post
    def counted(self, counts: dict[str, int], rows: list[list[int]], n: int = 1) -> None: ...

    @post
    def sent(self, photo: UploadFile, options: Options, more: dict[str, int]) -> None: ...

    @post
    @reads_body
    def streamed(self, n: int = 1) -> None: ...

    def moved(self, to: dict[str, int], *, n: int = 1) -> None: ...

    @post
    def noted(self, more: dict[str, int], text: Annotated[str, Form()]) -> None: ...


def test_only_a_class_reads_a_dict_from_the_query() -> None:
    document = Dicts().openapi()
    OpenAPIV31SpecValidator(document).validate()
    assert parameters(document, "/found/{code}").keys() == {"code", "n"}
    assert parameters(document, "/searched/{code}").keys() == {"code", "word", "counts"}
    code = {"type": "string", "pattern": "^(?:[A-Z]{2})$"}
    for path in ("/found/{code}", "/searched/{code}"):
        assert parameters(document, path)["code"] == ("path", True, code)
    assert parameters(document, "/streamed", "post").keys() == {"n"}
    found = [body(document, path)[2] for path in ("/counted", "/sent")]
    assert [schema["required"] for schema in found] == [
        ["counts", "rows"],
        ["word", "photo", "more"],
    ]


def test_a_dict_is_described_in_json_or_in_a_multipart_form(make_client: MakeClient) -> None:
    document, client = Dicts().openapi(), make_client(Dicts())
    assert body(document, "/moved")[1] == body(document, "/counted")[1] == ["application/json"]
    assert client.post("/moved", json={"to": {"x": 1}}).status_code == 200
    assert body(document, "/noted")[1] == ["multipart/form-data"]
    parts: Any = {"text": (None, "a"), "more": (None, '{"a": 1}', "application/json")}
    assert client.post("/noted", files=parts).status_code == 200


@pytest.mark.parametrize("method", ["get", "websocket"])
def test_only_a_body_can_fill_a_dict(method: str) -> None:
    app = App()

    async def found(ws: Any = None, *, counts: dict[str, int]) -> None: ...

    getattr(app, method)("/found")(found)
    with pytest.raises(SetupError, match=r"'counts' (takes a JSON object|is filled from a body)"):
        app._micropie.compiled()


class Removal(App):
    @delete
    def pies(self, pies: list[Spice], quick: bool = False) -> list[Any]:
        return [len(pies), quick]

    @delete
    def one(self, number: int, form: Annotated[str, Form()] = "") -> list[Any]:
        return [number, form]

    @delete
    def plain(self, number: int, other: int = 1) -> list[Any]:
        return [number, other]


def test_a_delete_has_a_body_for_what_no_query_contains(make_client: MakeClient) -> None:
    document, client = Removal().openapi(), make_client(Removal())
    OpenAPIV31SpecValidator(document).validate()
    assert body(document, "/pies", "delete")[:2] == (True, ["application/json"])
    assert parameters(document, "/pies", "delete").keys() == {"quick"}
    assert client.request("DELETE", "/pies?quick=1", json=[{"name": "salt"}]).json() == [1, True]
    assert body(document, "/one/{number}", "delete")[2]["properties"].keys() == {"form"}
    assert client.request("DELETE", "/one/5", data={"form": "a"}).json() == [5, "a"]
    assert parameters(document, "/plain/{number}", "delete").keys() == {"number", "other"}
    assert "requestBody" not in operation(document, "/plain/{number}", "delete")


class Late(App):
    """Handlers whose first parameter is never in the path."""

    def report(self, errors: BindingErrors, number: int) -> int:
        return number + len(errors)

    @post
    def order(self, spice: Spice, number: int) -> int:
        return number

    @post
    def several(self, first: int, spice: Spice, number: int) -> int:
        return first + number


def test_after_a_parameter_that_the_path_cannot_fill_the_others_are_in_the_query(
    make_client: MakeClient,
) -> None:
    document, client = Late().openapi(), make_client(Late())
    assert parameters(document, "/report")["number"][:2] == ("query", True)
    assert client.get("/report?number=5").json() == 5
    assert parameters(document, "/order", "post")["number"][:2] == ("query", True)
    assert client.post("/order?number=5", json={"name": "salt"}).json() == 5
    found = parameters(document, "/several/{first}", "post")
    assert {name: where for name, (where, *_) in found.items()} == {
        "first": "path",
        "number": "query",
    }
    assert client.post("/several/1?number=5", json={"name": "salt"}).json() == 6


def test_a_partial_function_is_described_as_the_function() -> None:
    def page(kind: str, number: int = 1) -> int:
        """Show one page."""
        return app.request.not_modified(etag="7") or number

    app = App()
    app.get("/page")(functools.partial(functools.partial(page, "apple")))
    names: dict[str, Any] = {}
    exec("def nowhere(): 'No module.'", names)  # a function of no module
    app.get("/nowhere")(names["nowhere"])
    found = app.openapi()["paths"]
    page_operation = found["/page"]["get"]
    assert page_operation["summary"] == "Show one page."
    assert "304" in page_operation["responses"]
    assert found["/nowhere"]["get"]["summary"] == "No module."


class Pair(NamedTuple):
    a: int
    b: str = ""


@dataclass
class Another:
    b: int


@dataclass
class Family:
    """One that msgspec can't read, because it can't tell the members of the union apart."""

    head: Lone | Another
    seed: InitVar[int] = 0
    members: list[Family] = field(default_factory=list)
    made: int = field(init=False, default=5)


def test_a_class_that_msgspec_cannot_read_is_described() -> None:
    components = dict[str, Any]()
    reference = schemas_for(OwnTypes({}, {}), components, "serialization").of(Family)
    assert reference == {"$ref": "#/components/schemas/Family"}
    found = components["Family"]
    head = found["properties"].pop("head")
    assert head["anyOf"] == [
        {"$ref": f"#/components/schemas/{name}"} for name in ("Lone", "Another")
    ]
    assert found == {
        "type": "object",
        "title": "Family",
        "description": Family.__doc__,
        "properties": {
            "members": {"type": "array", "items": reference, "default": []},
            "made": {"type": "integer", "default": 5},
        },
        "required": ["head"],
    }


class Partly(TypedDict, total=False):
    a: Required[int]
    b: str


class Rest(TypedDict):
    a: int
    b: NotRequired[str]


@attrs.define
class Own:
    a: int
    c: list[str] = attrs.Factory(list)
    d: str = attrs.Factory(lambda: "")


@pytest.mark.parametrize(
    ("kind", "others"),
    [
        (Lone, {}),
        (Partly, {"b": {"type": "string"}}),
        (Rest, {"b": {"type": "string"}}),
        (
            Own,
            {
                "c": {"type": "array", "items": {"type": "string"}, "default": []},
                "d": {"type": "string"},
            },
        ),
    ],
)
def test_without_msgspec_a_structure_is_described(
    kind: type, others: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "msgspec", None)
    components = dict[str, Any]()
    schemas_for(OwnTypes({}, {}), components, "validation").of(kind)
    assert components == {
        kind.__name__: {
            "type": "object",
            "title": kind.__name__,
            "properties": {"a": {"type": "integer"}, **others},
            "required": ["a"],
        }
    }


Untyped = namedtuple("Untyped", "a b", defaults=(1,))


@pytest.mark.parametrize(
    ("kind", "inner"),
    [
        (Pair, [{"type": "integer"}, {"type": "string", "default": ""}]),
        (Untyped, [{}, {"default": 1}]),
    ],
)
def test_without_msgspec_a_named_tuple_is_described(
    kind: type, inner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "msgspec", None)
    components = dict[str, Any]()
    schemas_for(OwnTypes({}, {}), components, "serialization").of(kind)
    assert components == {
        kind.__name__: {
            "title": kind.__name__,
            "type": "array",
            "prefixItems": inner,
            "minItems": sum("default" not in one for one in inner),
            "maxItems": 2,
        }
    }


class Point(Struct, array_like=True, tag="point"):
    x: int
    y: int = 0


class Closed(Struct, array_like=True, forbid_unknown_fields=True):
    x: int


class Strict(Struct, forbid_unknown_fields=True):
    x: int


def test_structs_that_are_arrays_or_forbid_further_fields_are_described() -> None:
    components = dict[str, Any]()
    schemas = schemas_for(OwnTypes({}, {}), components, "validation")
    x, y = {"type": "integer"}, {"type": "integer", "default": 0}
    for kind in (Point, Closed, Strict):
        assert schemas.of(kind) == {"$ref": f"#/components/schemas/{kind.__name__}"}
    tag = {"type": "string", "enum": ["point"]}
    point, closed, strict = (components[one] for one in ("Point", "Closed", "Strict"))
    assert point["prefixItems"] == [tag, x, y]
    assert (point["minItems"], "maxItems" in point) == (2, False)
    assert (closed["prefixItems"], closed["minItems"], closed["maxItems"]) == ([x], 1, 1)
    assert strict["additionalProperties"] is False


def other_lone() -> Any:
    return make_dataclass("Lone", [("b", int)])


def test_classes_of_the_same_name_inside_a_structure_have_different_names() -> None:
    first, second = other_lone(), other_lone()
    around = make_dataclass("Around", [("a", Lone), ("b", first), ("c", second), ("d", first)])
    components = dict[str, Any]()
    schemas_for(OwnTypes({}, {}), components, "validation").of(around)
    found = {
        name: one["$ref"].rpartition("/")[2]
        for name, one in components["Around"]["properties"].items()
    }
    long = f"{first.__module__}.Lone"
    assert found == {"a": "Lone", "b": long, "c": f"{first.__module__}.{long}", "d": long}
    assert [*components["Lone"]["properties"]] == ["a"]


def test_a_model_and_a_class_of_its_name_have_different_names() -> None:
    """With encoders, pydantic doesn't describe the class around its model."""
    model = pydantic.create_model("Lone", n=(int, ...))
    around = make_dataclass("Around", [("a", Lone), ("b", model), ("c", model)])
    components = dict[str, Any]()
    own = OwnTypes({Markup: str}, {})
    reference = schemas_for(own, components, "validation").of(around)
    properties = components[reference["$ref"].rpartition("/")[2]]["properties"]
    names = {name: one["$ref"].rpartition("/")[2] for name, one in properties.items()}
    assert names["b"] == names["c"] != names["a"]
    assert [[*components[names[one]]["properties"]] for one in "ab"] == [["a"], ["n"]]


def test_describe_does_not_change_responses() -> None:
    @post
    @describe(summary="x")
    def handler() -> str:
        return "same"

    assert handler() == "same"


class Session:
    pass


class Paging:
    pass


def test_a_provided_value_is_not_a_parameter_but_its_provider_s_parameters_are() -> None:
    class Library(App):
        def show(self, number: int, session: Session, paging: Paging, page: int = 2) -> str:
            return ""

        @post
        def add(self, session: Session, asked: Request) -> str:
            return ""

    app = Library()

    @app.provides(Session)
    def session(token: Annotated[str, Header("X-Token")], kind: str) -> Session:
        return Session()

    @app.provides(Paging)
    def paging(session: Session, page: int = 1, size=10) -> Paging:  # type: ignore[no-untyped-def]
        return Paging()

    document = app.openapi()
    OpenAPIV31SpecValidator(document).validate()
    assert parameters(document, "/show/{number}") == {
        "number": ("path", True, {"type": "integer"}),
        "page": ("query", False, {"type": "integer", "default": 2}),
        "X-Token": ("header", True, {"type": "string"}),
        "kind": ("query", True, {"type": "string"}),
    }
    assert set(parameters(document, "/add", "post")) == {"X-Token", "kind"}
    assert "requestBody" not in document["paths"]["/add"]["post"]


def test_the_error_schema_has_the_members_that_are_sent() -> None:
    class Root(App):
        def index(self, number: int) -> None: ...

    app = Root(errors="json")
    schema = app.openapi()["components"]["schemas"]["Problem"]
    with TestClient(app) as client:
        document = client.get("/?number=x").json()
    assert [*document] == [*schema["properties"]]
    of_error = schema["properties"]["errors"]["items"]
    assert {*document["errors"][0]} == {*of_error["required"]} == {*of_error["properties"]}


@pytest.mark.parametrize("name", _KINDS)
def test_each_constraint_has_its_json_schema_keyword(name: str) -> None:
    bound: Any = "[a-z]" if name == "pattern" else 3
    schema = schemas_for(OwnTypes({}, {}), {}, "validation").of(
        Annotated[str, Meta(**{name: bound})]
    )
    assert [*schema.values()] == ["string", bound]


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (Meta(examples=[5]), {"examples": [5]}),
        (Meta(extra_json_schema={"x-unit": "g"}), {"x-unit": "g"}),
        (pydantic.Field(examples=[5], deprecated=True), {"examples": [5], "deprecated": True}),
        (pydantic.Field(json_schema_extra={"x-unit": "g"}), {"x-unit": "g"}),
        (pydantic.Field(json_schema_extra=dict.clear), {}),
        (pydantic.WithJsonSchema({"type": "number"}), {"type": "number"}),
        (Doc("In grams."), {"description": "In grams."}),
    ],
)
def test_metadata_of_a_parameter_is_described_like_that_of_a_field(
    metadata: Any, expected: dict[str, Any]
) -> None:
    found = schemas_for(OwnTypes({}, {}), {}, "validation").of(Annotated[int, metadata])
    assert found == {"type": "integer", **expected}


def test_examples_are_described_as_they_are_sent() -> None:
    metadata = Meta(examples=[date(2026, 1, 31)])
    found = schemas_for(OwnTypes({}, {}), {}, "validation").of(Annotated[date, metadata])
    assert found["examples"] == ["2026-01-31"]


def test_a_response_with_an_html_method_is_described() -> None:
    class Pages(App):
        def element(self) -> Markup:
            raise NotImplementedError

        def page(self) -> Template:
            raise NotImplementedError

    document = Pages(text="plain").openapi()
    for path in ("/element", "/page"):
        assert content(document, path) == {"text/html": {"schema": {"type": "string"}}}


# -- conditional requests --------------------------------------------------------------------------


class Versions(App):
    @get("/pies/<n:int>")
    async def show(self, n: int) -> dict[str, int]:
        if self.request.not_modified(etag="1"):
            return {}
        return {"n": n}

    @put("/pies/<n:int>")
    def change(self, n: int) -> dict[str, int]:
        self.request.check_precondition(etag="1", required=True)
        return {"n": n}

    @patch("/pies/<n:int>")
    def mend(
        self, n: int, match: Annotated[str | None, Header("if-match")] = None
    ) -> dict[str, int]:
        self.request.check_precondition(etag="1")
        return {"n": n}

    @delete("/pies/<n:int>")
    @describe(responses={428: "If-Match is missing."})
    def remove(self, n: int) -> None:
        self.remove_version(n)

    @hidden
    def remove_version(self, n: int) -> None:
        self.request.check_precondition(etag="1", required=True)


def conditions_of(operation: dict[str, Any]) -> tuple[list[str], list[str]]:
    headers = [one["name"] for one in operation["parameters"] if one["in"] == "header"]
    return headers, [status for status in operation["responses"] if status in ("304", "412", "428")]


def test_conditional_requests_are_described(make_client: MakeClient) -> None:
    """Of what a handler calls itself, and else of what its author says."""
    app = Versions(errors="json")
    operations = app.openapi()["paths"]["/pies/{n}"]
    OpenAPIV31SpecValidator(app.openapi()).validate()
    assert {method: conditions_of(one) for method, one in operations.items()} == {
        "get": (["If-None-Match"], ["304"]),
        "put": (["If-None-Match", "If-Match"], ["412", "428"]),
        "patch": (["if-match", "If-None-Match"], ["412"]),
        "delete": (["If-Match"], ["428"]),
    }
    etag = {"ETag": {"schema": {"type": "string"}}}
    answers = operations["get"]["responses"]
    assert answers["200"]["headers"] == etag
    assert answers["304"] == {"description": "Not Modified", "headers": etag}
    assert "headers" not in operations["put"]["responses"]["200"]
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    assert operations["put"]["responses"]["428"]["content"] == problem

    client = make_client(app)
    assert client.get("/pies/1", headers={"If-None-Match": '"1"'}).status_code == 304
    assert client.put("/pies/1").status_code == 428
    assert client.put("/pies/1", headers={"If-Match": '"2"'}).status_code == 412
    assert client.put("/pies/1", headers={"If-Match": '"1"'}).json() == {"n": 1}


# -- an API's own errors ---------------------------------------------------------------------------


@dataclass
class Errors:
    errors: dict[str, list[str]]


def api_with_its_own_errors(**settings: Any) -> App:
    class Api(App):
        @post("/pies/<number:int>")
        def bake(self, number: int, name: str) -> int:
            if number == 5:
                raise HTTPError(404, {"errors": {"number": ["unknown"]}})
            return number

    return Api(errors="json", **settings)


def test_an_error_handlers_annotation_describes_its_answers(make_client: MakeClient) -> None:
    app = api_with_its_own_errors()

    @app.error(BindingError)
    def bad(error: BindingError) -> tuple[Literal[422], Errors]:
        return 422, Errors({one.parameter: [str(one)] for one in error.errors})

    @app.error(404)
    def missing() -> Errors:
        return Errors({})

    responses = operation(app.openapi(), "/pies/{number}", "post")["responses"]
    own = {"application/json": {"schema": {"$ref": "#/components/schemas/Errors"}}}
    found = responses["422"]
    assert found == {"description": "A parameter is missing or invalid", "content": own}
    assert responses["404"]["content"] == own
    assert responses["400"]["description"] == "The request is malformed"
    assert [*responses["400"]["content"]] == ["application/problem+json"]
    client = make_client(app)
    assert client.post("/pies/1").status_code == 422
    assert client.post("/pies/x", json={"name": "x"}).json() == {"errors": {}}
    answer = client.post("/pies/1", content=b"{", headers={"Content-Type": "application/json"})
    assert answer.status_code == 400


def test_an_error_handler_may_respond_without_a_body() -> None:
    app = api_with_its_own_errors()

    @app.error(404)
    def missing() -> tuple[Literal[204], None]:
        return 204, None

    responses = operation(app.openapi(), "/pies/{number}", "post")["responses"]
    assert "content" not in responses["204"]
    assert "404" not in responses


@pytest.mark.parametrize("key", [400, BadRequest, HTTPError, Exception])
def test_an_error_handler_for_all_errors_of_a_status_replaces_the_framework_s(
    key: int | type[Exception],
) -> None:
    app = api_with_its_own_errors()

    @app.error(key)
    def bad() -> Errors:
        return Errors({})

    responses = operation(app.openapi(), "/pies/{number}", "post")["responses"]
    assert [*responses["400"]["content"]] == ["application/json"]


@pytest.mark.parametrize("annotation", [Any, tuple[int, Errors], Response])
def test_an_error_handler_without_annotations_is_described_generally(annotation: Any) -> None:
    app = api_with_its_own_errors()

    def bad() -> Any: ...

    bad.__annotations__["return"] = annotation
    app.error(BindingError)(bad)
    responses = operation(app.openapi(), "/pies/{number}", "post")["responses"]
    assert responses["400"] == {"description": "A parameter is missing or invalid"}


def test_responses_of_every_handler_can_be_declared_once() -> None:
    docs = Docs(responses={404: Errors, 422: ("Not valid", Errors), 200: "Baked"})
    app = api_with_its_own_errors(docs=docs)
    responses = operation(app.openapi(), "/pies/{number}", "post")["responses"]
    own = {"schema": {"$ref": "#/components/schemas/Errors"}}
    assert [*responses["404"]["content"]] == ["application/json", "application/problem+json"]
    assert responses["422"] == {"description": "Not valid", "content": {"application/json": own}}
    assert responses["200"]["content"] == {"application/json": {"schema": {"type": "integer"}}}
    with pytest.raises(SetupError, match="statuses from 200 to 599, not '404'"):
        App(docs=Docs(responses={"404": Errors}))  # type: ignore[dict-item]


def test_the_document_has_contact_and_licence() -> None:
    class Pies(App):
        @describe(tags=["cold", "hot"])
        def pie(self) -> int:
            return 1

    contact, licence = {"name": "Ann", "email": "ann@example.org"}, {"name": "BSD-3-Clause"}
    docs = Docs(
        contact=contact,
        license=licence,
        terms_of_service="https://example.org/terms",
        tags={"hot": "From the oven", "raw": "None yet"},
    )
    document = Pies(docs=docs).openapi()
    assert document["info"] == {
        "title": "Pies",
        "version": "1.0.0",
        "termsOfService": "https://example.org/terms",
        "contact": contact,
        "license": licence,
    }
    assert document["tags"] == [
        {"name": "hot", "description": "From the oven"},
        {"name": "raw", "description": "None yet"},
        {"name": "cold"},
    ]


def test_a_tuple_of_status_and_none_is_a_success() -> None:
    class Pies(App):
        @delete("/pie")
        def remove(self) -> tuple[int, None]:
            return 204, None

    responses = operation(Pies().openapi(), "/pie", "delete")["responses"]
    assert responses == {
        "204": {"description": "No Content"},
        "default": {"description": "Any other response"},
    }


def test_a_result_annotated_with_no_type_is_described_as_any_value() -> None:
    def names():  # type: ignore[no-untyped-def]
        return ["a"]

    names.__annotations__["return"] = [str]
    app = App()
    app.get("/names")(names)
    response = operation(app.openapi(), "/names")["responses"]["200"]
    assert response["content"] == {"application/json": {"schema": {}}}


def test_a_check_that_only_raises_is_described_without_a_403() -> None:
    def raises(request: Any) -> Literal[True]:
        raise HTTPError(401)

    class Pies(App):
        @requires(raises)
        def pie(self, x: str = "", authorization: Annotated[str, Header()] = "") -> int:
            return 1

    found = operation(Pies().openapi(), "/pie")
    assert "403" not in found["responses"]
    assert [one["name"] for one in found["parameters"]] == ["x"]


def test_an_inner_application_s_document_is_available_at_any_time() -> None:
    class Inner(App):
        def pie(self, db: Paged) -> int:
            return 1

    class Outer(App):
        api = Inner()

    app = Outer()
    app.provides(Paged)(Paged)
    assert [*app.api.openapi()["paths"]] == ["/pie"]
    assert app.api.openapi() == Outer.api.openapi()


def test_a_method_unknown_to_openapi_is_omitted() -> None:
    class Proxy(App):
        @route("/tunnel", methods=["CONNECT", "GET"])
        def tunnel(self) -> str:
            return ""

    assert [*Proxy().openapi()["paths"]["/tunnel"]] == ["get"]


class Boxes(App):
    @post
    def save(
        self,
        loud: bool = True,
        sizes: Sequence[int] = (1,),
        quiet: bool | None = True,
        n: int = 1,
    ) -> list[Any]:
        return [loud, sizes, quiet, n]


def test_a_form_has_no_defaults_for_unticked_boxes(make_client: MakeClient) -> None:
    media = operation(Boxes().openapi(), "/save", "post")["requestBody"]["content"]
    in_json, in_form = (media[kind]["schema"]["properties"] for kind in media)
    assert {name: one["default"] for name, one in in_json.items()} == {
        "loud": True,
        "sizes": [1],
        "quiet": True,
        "n": 1,
    }
    assert in_form["loud"] == {"type": "boolean"}
    assert in_form["sizes"] == {"type": "array", "items": {"type": "integer"}}
    assert in_form["quiet"]["anyOf"][0]["default"] is True
    client = make_client(Boxes())
    assert client.post("/save", data={"n": "2"}).json() == [False, [], True, 2]
    assert client.post("/save", json={"n": 2}).json() == [True, [1], True, 2]
