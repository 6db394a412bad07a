"""Streams of items: ``-> Iterator[Pie]`` is sent as JSON Lines, filtered by the annotation."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import httpx2 as httpx
import msgspec
import pydantic
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator, OpenAPIV32SpecValidator

from micropie import App, HTTPError, SetupError, route
from micropie.extensions import TypeInfo
from micropie.openapi import Docs
from tests.support.clients import MakeClient


@dataclass
class Pie:
    name: str


@dataclass
class SecretPie(Pie):
    secret: str = "butter"


class Model(pydantic.BaseModel):
    price: Decimal


class Struct(msgspec.Struct, tag=True):
    n: int


class Database:
    def __init__(self) -> None:
        self.is_open = True


class Root(App):
    def sync(self) -> Iterator[Pie]:
        yield Pie("apple")
        yield SecretPie("plum")
        yield {"name": "pear", "secret": 1}  # type: ignore[misc]

    async def models(self) -> AsyncIterator[Model]:
        yield Model(price=Decimal("1.5"))

    async def structs(self) -> AsyncGenerator[Struct, None]:
        yield Struct(1)

    def dicts(self) -> Generator[dict[str, object], None, None]:
        yield {"text": "a\nb"}
        yield {}

    def none(self) -> Iterator[Pie | None]:
        yield None

    def iterable(self) -> Iterable[int]:
        yield 1

    def whole(self) -> Iterable[int]:
        return [1, 2]

    def stated(self) -> tuple[Literal[201], Iterator[Pie]]:
        self.response.headers["X-Pies"] = "1"
        return 201, iter([Pie("apple")])

    def typed(self) -> Iterator[Pie]:
        self.response.content_type = "application/x-ndjson"
        return iter([Pie("apple")])

    def typed_later(self) -> Iterator[Pie]:
        self.response.content_type = "application/x-ndjson"
        yield Pie("apple")

    def with_header(self) -> Iterator[Pie]:
        self.response.headers["X-Pies"] = "1"
        yield Pie("apple")

    def refused(self, n: int) -> Iterator[Pie] | HTTPError:
        return HTTPError(404)

    def empty(self) -> Iterator[Pie]:
        yield from ()

    def text(self) -> Iterator[str]:
        yield "a"
        yield "b"

    def kept(self, database: Database) -> Iterator[dict[str, bool]]:
        yield {"open": database.is_open}

    def first(self) -> Iterator[Pie]:
        yield 5  # type: ignore[misc]

    def later(self) -> Iterator[Pie]:
        yield Pie("apple")
        yield 5  # type: ignore[misc]

    async def async_later(self) -> AsyncIterator[dict[str, object]]:
        yield {}
        yield {"n": object()}

    @route("/search", methods=["QUERY"])
    def search(self, name: str) -> list[Pie]:
        return [Pie(name)]


def app() -> Root:
    root = Root()

    @root.provides(Database)
    def database() -> Iterator[Database]:
        found = Database()
        yield found
        found.is_open = False

    return root


LINES = "application/jsonl"
SENT = [
    ("sync", 200, LINES, '{"name":"apple"}\n{"name":"plum"}\n{"name":"pear"}\n'),
    ("models", 200, LINES, '{"price":"1.5"}\n'),
    ("structs", 200, LINES, '{"type":"Struct","n":1}\n'),
    ("dicts", 200, LINES, '{"text":"a\\nb"}\n{}\n'),
    ("none", 200, LINES, "null\n"),
    ("iterable", 200, LINES, "1\n"),
    ("whole", 200, "application/json", "[1,2]"),
    ("stated", 201, LINES, '{"name":"apple"}\n'),
    ("typed", 200, "application/x-ndjson", '{"name":"apple"}\n'),
    ("typed_later", 200, "application/x-ndjson", '{"name":"apple"}\n'),
    ("with_header", 200, LINES, '{"name":"apple"}\n'),
    ("empty", 200, LINES, ""),
    ("text", 200, "text/html; charset=utf-8", "ab"),
    ("kept", 200, LINES, '{"open":true}\n'),
]


@pytest.mark.parametrize(("path", "status", "kind", "body"), SENT)
def test_items_are_sent_as_lines_of_json(
    make_client: MakeClient, path: str, status: int, kind: str, body: str
) -> None:
    answer = make_client(app()).get(f"/{path}")
    assert (answer.status_code, answer.headers["content-type"]) == (status, kind)
    assert answer.text == body
    assert ("x-pies" in answer.headers) is (path in ("stated", "with_header"))


def test_a_response_instead_of_items_is_sent_unchanged(make_client: MakeClient) -> None:
    assert make_client(app()).get("/refused?n=1").status_code == 404


def test_an_invalid_first_item_gets_a_500(make_client: MakeClient) -> None:
    answer = make_client(app(), raise_app_exceptions=False).get("/first")
    assert (answer.status_code, answer.headers["content-type"][:5]) == (500, "text/")


@pytest.mark.parametrize("path", ["later", "async_later"])
def test_an_invalid_later_item_aborts_the_response(
    make_client: MakeClient, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(app(), raise_app_exceptions=False)
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(f"/{path}")
    assert [f"/{path}" in record.getMessage() for record in caplog.records] == [True]


def test_a_query_request_may_have_a_body(make_client: MakeClient) -> None:
    client = make_client(app(), validate=False)  # wsgiref.validate warns of QUERY
    assert client.request("QUERY", "/search", json={"name": "x"}).json() == [{"name": "x"}]


def lines_in(document: dict[str, Any]) -> dict[str, Any]:
    """Return the description of the JSON Lines of each path."""
    return {
        path: answer["content"][LINES]
        for path, operations in document["paths"].items()
        for operation in operations.values()
        for answer in operation["responses"].values()
        if LINES in answer.get("content", ())
    }


def test_an_openapi_3_1_document_describes_the_lines_as_text() -> None:
    document = app().openapi()
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"] == "3.1.0"
    schema = lines_in(document)["/sync"].pop("schema")
    assert schema == {
        "type": "string",
        "contentMediaType": LINES,
        "contentSchema": {"type": "array", "items": {"$ref": "#/components/schemas/Pie"}},
    }
    assert "Pie" in document["components"]["schemas"]
    assert "/search" not in document["paths"]


def test_an_openapi_3_2_document_describes_items_and_query_requests() -> None:
    with_docs = app()
    with_docs._micropie.docs = Docs(openapi="3.2")
    document = with_docs.openapi()
    OpenAPIV32SpecValidator(document).validate()
    assert document["openapi"] == "3.2.0"
    found = lines_in(document)
    assert found["/sync"] == {"itemSchema": {"$ref": "#/components/schemas/Pie"}}
    assert found["/iterable"] == {"itemSchema": {"type": "integer"}}
    assert found.keys() & {"/text", "/whole"} == set()
    query = document["paths"]["/search"]["query"]
    assert query["requestBody"]["required"]


class Several(App):
    def several(self) -> Iterator[Pie] | Iterator[dict[str, int]]:
        yield {"n": 1}


def test_several_stream_types_are_described_by_all_their_items(make_client: MakeClient) -> None:
    (schema,) = (
        one["schema"]
        for one in Several()
        .openapi()["paths"]["/several"]["get"]["responses"]["200"]["content"]
        .values()
    )
    assert len(schema["anyOf"]) == 2
    assert make_client(Several()).get("/several").text == '{"n":1}\n'


def test_an_unreadable_item_type_fails_at_setup() -> None:
    @dataclass
    class Unread:
        n: Missing  # type: ignore[name-defined]  # noqa: F821

    def page() -> Any: ...

    page.__annotations__["return"] = Iterator[Unread]
    root = App()
    root.get("/")(page)
    with pytest.raises(SetupError, match="can't be evaluated"):
        root._micropie.compiled()


def test_extensions_can_read_the_item_type() -> None:
    assert TypeInfo(Iterator[Pie]).items(False) == (Pie,)
    assert TypeInfo(Iterable[Pie]).items(False) == ()
    assert TypeInfo(Iterable[Pie]).items(True) == (Pie,)
    assert TypeInfo(Iterator[bytes]).items(True) == ()
    assert TypeInfo(Iterator).items(True) == ()
