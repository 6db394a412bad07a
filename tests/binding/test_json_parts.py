"""A part of a multipart form that is declared as JSON fills a parameter by its document."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, make_dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal

import attrs
import msgspec
import pydantic
import pytest
from typing_extensions import TypedDict

from micropie import App, BindingErrors, Form, UploadFile, post
from tests.support.clients import MakeClient

TITLE = b'{"title": "T"}'
# The name of a file that browsers send for a Blob, and none.
NAMES = [pytest.param("blob", id="with a file name"), pytest.param(None, id="without one")]


@dataclass
class Titled:
    title: str
    price: Decimal = Decimal(0)


class Model(pydantic.BaseModel):
    title: str


class Struct(msgspec.Struct, forbid_unknown_fields=True):
    title: str


class Typed(TypedDict):
    title: str


class Uploads(App):
    @post
    def titled(self, meta: Titled, file: UploadFile) -> list[str]:
        return [meta.title, str(meta.price)]

    @post
    def optional(self, meta: Titled | None = None, file: UploadFile | None = None) -> bool:
        return meta is None

    @post
    def model(self, meta: Model, file: UploadFile) -> str:
        return meta.title

    @post
    def struct(self, meta: Struct, file: UploadFile) -> str:
        return meta.title

    @post
    def typed(self, meta: Typed, file: UploadFile) -> str:
        return meta["title"]

    @post
    def form(self, meta: Annotated[Titled, Form()], file: UploadFile) -> str:
        return meta.title

    @post
    def text(self, meta: pydantic.Json[Model], file: UploadFile) -> str:
        return meta.title

    @post
    def anything(self, meta: dict[str, Any], file: UploadFile) -> str:
        return str(meta["title"])

    @post
    def numbers(self, meta: dict[str, Decimal], file: UploadFile) -> str:
        return str(meta)

    @post
    def several(self, meta: list[dict[str, str]], file: UploadFile) -> list[str]:
        return [one["title"] for one in meta]

    @post
    def array(self, meta: list[Struct], file: UploadFile) -> list[str]:
        return [one.title for one in meta]

    @post
    def raw(self, meta: str, file: UploadFile) -> str:
        return meta

    @post
    def upload(self, meta: UploadFile, file: UploadFile) -> str:
        return meta.content_type

    @post
    def whatever(self, meta: Any, file: UploadFile) -> str:
        return type(meta).__name__

    @post
    def told(self, meta: Titled | None, file: UploadFile, errors: BindingErrors) -> str:
        return errors["meta"].words if errors["meta"] else ""


def files(meta: bytes, name: str | None, media_type: str = "application/json") -> dict[str, Any]:
    return {"meta": (name, meta, media_type), "file": ("a.txt", b"x")}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("path", ["titled", "model", "struct", "typed", "form", "text", "anything"])
def test_a_json_part_fills_a_class_a_dict_and_json_text(
    make_client: MakeClient, path: str, name: str | None
) -> None:
    answer = make_client(Uploads()).post(f"/{path}", files=files(TITLE, name))
    assert answer.status_code == 200
    assert answer.text.startswith('["T"' if path == "titled" else "T")


@pytest.mark.parametrize("name", NAMES)
def test_a_media_type_that_ends_with_json_is_json(
    make_client: MakeClient, name: str | None
) -> None:
    client = make_client(Uploads())
    answer = client.post("/struct", files=files(TITLE, name, "application/pie+json; charset=utf-8"))
    assert answer.text == "T"


@pytest.mark.parametrize("name", NAMES)
def test_a_json_part_keeps_digits_of_decimals(make_client: MakeClient, name: str | None) -> None:
    client = make_client(Uploads())
    price = "0.12345678901234567890"
    given = f'{{"title": "T", "price": {price}}}'.encode()
    assert client.post("/titled", files=files(given, name)).json() == ["T", price]
    found = client.post("/numbers", files=files(f'{{"a": {price}}}'.encode(), name))
    assert found.text == f"{{'a': Decimal('{price}')}}"


def test_an_array_in_one_part_and_several_parts_fill_a_list(make_client: MakeClient) -> None:
    client = make_client(Uploads())
    array = b'[{"title": "a"}, {"title": "b"}]'
    for path in ("several", "array"):
        assert client.post(f"/{path}", files=files(array, "blob")).json() == ["a", "b"]
        for titles in (["a", "b"], ["a"]):  # a part for each element, as OpenAPI has it
            parts: Any = [
                ("meta", (None, f'{{"title": "{one}"}}', "application/json")) for one in titles
            ]
            answer = client.post(f"/{path}", files=[*parts, ("file", ("a", b"x"))])
            assert answer.json() == titles


def test_a_list_without_a_part_has_its_default(make_client: MakeClient) -> None:
    """Clients send no part for an empty list."""
    app = App(errors="json")

    @app.post("/optional")
    def optional(file: UploadFile, meta: list[Titled] | None = None) -> Any:
        return [meta]

    @app.post("/needed")
    def needed(file: UploadFile, meta: list[Titled]) -> Any:
        return [meta]

    client, sent = make_client(app), {"file": ("a.txt", b"x")}
    assert client.post("/optional", files=sent).json() == [None]
    assert client.post("/optional", files=files(b'[{"title": "a"}]', None)).json()[0]
    answer = client.post("/needed", files=sent)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "meta"


def test_text_that_is_declared_as_json_is_still_text(make_client: MakeClient) -> None:
    client = make_client(Uploads())
    assert client.post("/raw", files=files(TITLE, None)).text == TITLE.decode()
    assert client.post("/raw", files=files(TITLE, "blob")).status_code == 400


def test_a_file_that_contains_json_is_still_a_file(make_client: MakeClient) -> None:
    client = make_client(Uploads())
    assert client.post("/upload", files=files(TITLE, "data.json")).text == "application/json"
    assert client.post("/whatever", files=files(TITLE, "data.json")).text == "UploadFile"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("media_type", ["text/plain", "text/json", "application/xml"])
def test_a_part_of_another_type_is_not_read_as_json(
    make_client: MakeClient, name: str | None, media_type: str
) -> None:
    client = make_client(Uploads())
    for path in ("titled", "struct", "anything", "several"):
        assert client.post(f"/{path}", files=files(TITLE, name, media_type)).status_code == 400


@pytest.mark.parametrize(
    ("path", "meta", "message"),
    [
        ("titled", b'{"title": 5}', "title: Please enter text."),
        ("titled", b"{}", "title: Please fill in this field."),
        ("titled", b"{", "meta: Please enter a JSON object or a form."),
        ("model", b'{"title": 5}', "title: Please enter text."),
        ("anything", b"[]", "meta: Please enter a JSON object."),
        ("anything", b"{", "meta: Please enter a JSON object."),
        ("array", b"[{}]", "[0].title: Please fill in this field."),
        ("form", b"nan", "meta: Please enter the fields of a Titled."),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_an_invalid_json_part_gets_a_400_with_one_sentence(
    make_client: MakeClient, path: str, meta: bytes, message: str, name: str | None
) -> None:
    answer = make_client(Uploads()).post(
        f"/{path}", files=files(meta, name), headers={"Accept": "text/html"}
    )
    assert answer.status_code == 400
    assert message in answer.text


def test_the_error_of_a_malformed_json_part_has_the_position(
    make_client: MakeClient,
) -> None:
    answer = make_client(Uploads()).post("/titled", files=files(b"{", "blob"))
    assert answer.text == (
        "Parameter 'meta': The JSON is not valid: unexpected end of data: line 1 column 2 (char 1)."
    )


def test_a_form_can_be_shown_again_with_the_error_of_a_json_part(make_client: MakeClient) -> None:
    answer = make_client(Uploads()).post("/told", files=files(b"{", "blob"))
    assert answer.text == "Please enter a JSON object or a form."


@pytest.mark.parametrize("name", NAMES)
def test_limits_of_fields_and_of_json_apply_to_a_json_part(
    make_client: MakeClient, name: str | None
) -> None:
    client = make_client(Uploads(max_form_field_size=100, max_json_values=20))
    long, many = json.dumps({"title": 100 * "x"}), json.dumps({"title": "x", "n": [1] * 30})
    assert client.post("/anything", files=files(long.encode(), name)).status_code == 413
    answer = client.post("/anything", files=files(many.replace(" ", "").encode(), name))
    assert (answer.status_code, "max_json_values" in answer.text) == (413, True)


def test_a_form_without_a_json_part_fills_the_class_from_its_fields(
    make_client: MakeClient,
) -> None:
    client = make_client(Uploads())
    answer = client.post("/titled", data={"title": "T"}, files={"file": ("a", b"x")})
    assert answer.json() == ["T", "0"]
    assert client.post("/optional", json={"title": "T"}).text == "false"
    assert client.post("/optional", files=files(TITLE, "blob")).text == "false"


# -- one rule for parameters and for fields --------------------------------------------------------

# an annotation, the JSON of a part, and what the handler gets, written as JSON
PARTS: dict[str, tuple[Any, str, Any]] = {
    "class": (Titled, '{"title": "T"}', {"title": "T", "price": "0"}),
    "optional class": (Titled | None, '{"title": "T"}', {"title": "T", "price": "0"}),
    "null": (date | None, "null", None),
    "null for a class": (Titled | None, "null", None),
    "dict of classes": (
        dict[str, Titled],
        '{"a": {"title": "T"}}',
        {"a": {"title": "T", "price": "0"}},
    ),
    "dict of lists": (
        dict[str, list[Typed]] | None,
        '{"a": [{"title": "T"}]}',
        {"a": [{"title": "T"}]},
    ),
    "class or list": (Typed | list[Typed], '[{"title": "T"}]', [{"title": "T"}]),
    "list of classes": (list[Titled], '[{"title": "T"}]', [{"title": "T", "price": "0"}]),
    "dict": (dict[str, int], '{"a": 5}', {"a": 5}),
    "list of texts": (list[str], '["a", "[1]"]', ["a", "[1]"]),
    "list of numbers": (list[int], "[1, 2]", [1, 2]),
    "empty list": (list[int], "[]", []),
    "one element": (list[int], "1", [1]),
    "set": (set[int], "[1, 1]", [1]),
    "nested list": (list[list[int]], "[[1], []]", [[1], []]),
    "number": (int, "5", 5),
    "bool": (bool, "true", True),
    "date": (date, '"2026-01-31"', "2026-01-31"),
    "Literal": (Literal["a", 1], '"a"', "a"),
    "Decimal": (Decimal, "0.12345678901234567890", "0.12345678901234567890"),
    "JSON text": (pydantic.Json[list[int]], "[1]", [1]),
    "list of JSON text": (list[pydantic.Json[list[int]]], "[1]", [[1]]),
}
CLASSES: dict[str, Callable[[Any], Any]] = {
    "dataclass": lambda hint: make_dataclass("Pie", [("meta", hint)]),
    "Struct": lambda hint: msgspec.defstruct("Pie", [("meta", hint)]),
    "attrs": lambda hint: attrs.make_class("Pie", {"meta": attrs.field(type=hint)}),
    "pydantic": lambda hint: pydantic.create_model("Pie", meta=(hint, ...)),
}


def site_for(hint: Any, result: Callable[[Any], Any]) -> App:
    def up(pie: Any, file: UploadFile) -> Any:
        return {"found": result(pie)}

    def named(meta: Any, file: UploadFile) -> Any:
        return {"found": meta}

    up.__annotations__ = {"pie": hint, "file": UploadFile}
    named.__annotations__ = {"meta": hint, "file": UploadFile}
    app = App()
    app.post("/up")(up)
    app.post("/named")(named)
    return app


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("row", PARTS)
def test_a_json_part_fills_a_parameter(make_client: MakeClient, row: str, name: str | None) -> None:
    hint, sent, value = PARTS[row]
    client = make_client(site_for(hint, lambda pie: pie))
    answer = client.post("/named", files=files(sent.encode(), name))
    assert (answer.status_code, answer.json()) == (200, {"found": value})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("row", PARTS)
def test_a_json_part_fills_a_field_of_a_class(
    make_client: MakeClient, row: str, kind: str, name: str | None
) -> None:
    """The document describes the field so, because that is how OpenAPI sends an object."""
    hint, sent, value = PARTS[row]
    is_pydantics = "JSON text" in row and kind in ("Struct", "attrs")
    if is_pydantics:
        pytest.skip("only pydantic's own classes can have such a field")
    client = make_client(site_for(CLASSES[kind](hint), lambda pie: pie.meta))
    answer = client.post("/up", files=files(sent.encode(), name))
    assert (answer.status_code, answer.json()) == (200, {"found": value})


@dataclass
class Meta:
    meta: list[str]


def test_a_json_part_may_be_named_like_a_field_of_its_elements(make_client: MakeClient) -> None:
    for hint, sent in ((list[Meta], [{"meta": ["T"]}]), (dict[str, Meta], {"a": {"meta": ["T"]}})):
        client = make_client(site_for(hint, lambda pie: pie))
        answer = client.post("/named", files=files(json.dumps(sent).encode(), "blob"))
        assert (answer.status_code, answer.json()) == (200, {"found": sent})


def test_a_form_without_the_part_has_no_dict_of_classes(make_client: MakeClient) -> None:
    client = make_client(site_for(dict[str, Titled], lambda pie: pie))
    file = {"file": ("a", b"x")}
    for sent in ({}, {"meta": (None, "{}")}, {"meta": ("a.json", "{}", "text/plain")}):
        answer = client.post("/named", files={**sent, **file}, headers={"Accept": "text/html"})
        assert answer.status_code == 400
        assert "meta: Please fill in this field." in answer.text


@dataclass
class Order:
    lines: list[Titled]
    tags: list[str]
    note: str = ""


class Shop(App):
    @post
    def order(self, order: Order, file: UploadFile) -> list[Any]:
        return [[line.title for line in order.lines], order.tags, order.note]

    @post
    def tags(self, tags: list[str], file: UploadFile) -> list[str]:
        return tags


@pytest.mark.parametrize("name", NAMES)
def test_a_json_part_may_be_one_row(make_client: MakeClient, name: str | None) -> None:
    client = make_client(Shop())
    rows = [
        (f"lines[{number}]", (name, f'{{"title": "{title}"}}', "application/json"))
        for number, title in ((2, "b"), (1, "a"))
    ]
    tags = [("tags[]", (name, text, "application/json")) for text in ('["x"]',)]
    file = ("file", ("a.txt", b"x"))
    answer = client.post("/order", files=[*rows, *tags, file])
    assert answer.json() == [["a", "b"], ["x"], ""]
    assert client.post("/tags", files=[*tags, file]).json() == ["x"]


def test_text_in_a_class_that_is_declared_as_json_is_still_text(make_client: MakeClient) -> None:
    parts: Any = [("note", (None, b'"n"', "application/json")), ("file", ("a.txt", b"x"))]
    assert make_client(Shop()).post("/order", files=parts).json() == [[], [], '"n"']


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("field", "sent", "sentence"),
    [
        ("lines", b"{", "lines: The JSON is not valid: unexpected end of data"),
        ("lines", b'[{"title": 5}]', "lines[0].title: Please enter text."),
        ("tags", b"[5]", "tags[0]: Please enter text."),
        ("lines[0]", b"[]", "lines[0]: Please enter a JSON object."),
    ],
)
def test_an_invalid_json_part_for_a_field_gets_a_400_with_one_sentence(
    make_client: MakeClient, field: str, sent: bytes, sentence: str, name: str | None
) -> None:
    parts: Any = [(field, (name, sent, "application/json")), ("file", ("a.txt", b"x"))]
    answer = make_client(Shop()).post("/order", files=parts, headers={"Accept": "text/html"})
    assert (answer.status_code, sentence in answer.text) == (400, True)


JSON = "application/json"


@pytest.mark.parametrize(
    ("hint", "parts", "found"),
    [
        (int | list[int], [("x", "5", JSON)], 5),
        (int | list[int], [("x", "[5]", JSON)], [5]),
        (list[str], [("x", '"a"', JSON), ("x", "b", "text/plain")], ['"a"', "b"]),
        (list[str], [("x", "b", "text/plain"), ("x", '"a"', JSON)], ["b", '"a"']),
        (list[pydantic.Json[Any]], [("x[]", "[5]", JSON), ("x[]", '"a"', JSON)], [[5], "a"]),
    ],
)
def test_parameters_and_fields_read_the_same_parts(
    make_client: MakeClient, hint: Any, parts: list[tuple[str, str, str]], found: Any
) -> None:
    """If one part of a list is text, all its elements are texts."""
    app = App()

    def parameter(x: Any) -> Any:
        return {"found": x}

    def whole(form: Any) -> Any:
        return {"found": form.x}

    parameter.__annotations__ = {"x": hint}
    whole.__annotations__ = {"form": make_dataclass("Holder", [("x", hint)])}
    app.post("/parameter")(parameter)
    app.post("/whole")(whole)
    client = make_client(app)
    sent: Any = [(name, (None, text, media_type)) for name, text, media_type in parts]
    for path in ("/parameter", "/whole"):
        assert client.post(path, files=sent).json() == {"found": found}, path


def test_a_file_of_json_stays_a_file_beside_a_parameter_of_a_similar_name(
    make_client: MakeClient,
) -> None:
    """``x[]`` is an element of a list, but nothing of a dict."""
    app = App()

    @app.post("/one")
    def one(x: dict[str, int], **others: Any) -> list[Any]:
        return [x, {name: file.filename for name, file in others.items()}]

    @app.post("/several")
    def several(x: list[dict[str, int]]) -> list[Any]:
        return x

    client = make_client(app)
    part: Any = ("x[]", ("data.json", '{"b": 2}', JSON))
    sent = client.post("/one", files=[("x", ("blob", '{"a": 1}', JSON)), part])
    assert sent.json() == [{"a": 1}, {"x[]": "data.json"}]
    assert client.post("/several", files=[part]).json() == [{"b": 2}]


def test_a_decimal_in_a_part_for_a_form_keeps_every_digit(make_client: MakeClient) -> None:
    app = App()

    @app.post("/list")
    def prices(meta: Annotated[list[Decimal], Form()]) -> list[str]:
        return [str(one) for one in meta]

    @app.post("/class")
    def titled(meta: Annotated[Titled, Form()]) -> list[str]:
        return [str(meta.price)]

    client = make_client(app)
    price = "0.12345678901234567890"
    for path, text in (("/list", f"[{price}]"), ("/class", f'{{"title": "", "price": {price}}}')):
        assert client.post(path, files={"meta": (None, text, JSON)}).json() == [price], path


def test_a_text_that_is_declared_as_json_is_too_long_as_any_text(make_client: MakeClient) -> None:
    app = App()

    @app.post("/")
    def named(name: Annotated[str, msgspec.Meta(max_length=5)]) -> str:
        return name

    client = make_client(app)
    for text in ('"abcd"', "[1, 2, 3]"):
        sent: Any = {"name": (None, text, JSON)}
        answer = client.post("/", files=sent, headers={"Accept": "text/html"})
        assert (answer.status_code, "Please use at most 5 characters." in answer.text) == (
            400,
            True,
        )
