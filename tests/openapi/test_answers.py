"""The statuses and media types of the document are those that are sent, for each kind of result: all
that is sent is described, and nothing else is.
"""

from __future__ import annotations

import enum
import inspect
import io
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Generator,
    Hashable,
    Iterable,
    Iterator,
    MutableMapping,
    Sequence,
    Set,
)
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path
from typing import (
    IO,
    Annotated,
    Any,
    BinaryIO,
    Literal,
    LiteralString,
    Never,
    NewType,
    NoReturn,
    TextIO,
)

import jsonschema  # type: ignore[import-untyped]
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from micropie import App, EventStream, HTTPError, Redirect, Response, UploadFile, describe, html
from micropie.extensions import Inspector, TypeInfo
from tests.support.clients import MakeClient
from tests.support.left_out import LEFT_OUT

JSON, HTML, EVENTS = "application/json", "text/html", "text/event-stream"


@dataclass
class Pie:
    name: str


@dataclass
class Secret(Pie):
    password: str = "apple"


class Mine(Response):
    pass


class Word(str, enum.Enum):
    A = "a"


class Number(enum.IntEnum):
    ONE = 1


Named = NewType("Named", str)
PIE = Pie("plum")
SECRET = Secret("plum")
UNKNOWN: dict[str, Any] = {}  # any other answer
# An annotation, results that fit it (of a stream a function that makes it), and what is sent of them:
# media types by the statuses.
KINDS: list[tuple[Any, list[Any], dict[str, Any]]] = [
    # text
    *[(one, ["a"], {"200": {HTML}}) for one in (str, Named, Literal["a"], LiteralString)],
    (Annotated[str, "a note"], ["a"], {"200": {HTML}}),
    (bytes, [b"a"], {"200": {HTML}}),
    (bytearray, [bytearray(b"a")], {"200": {HTML}}),
    (memoryview, [memoryview(b"a")], {"200": {HTML}}),
    (Word, [Word.A], {"200": {HTML}}),
    (type(html("{}", 1)), [html("{}", 1)], {"200": {HTML}}),
    (str | bytes, ["a", b"a"], {"200": {HTML}}),
    # JSON
    (int, [1], {"200": {JSON}}),
    (bool, [True], {"200": {JSON}}),
    (Decimal, [Decimal(1)], {"200": {JSON}}),
    (date, [date(2026, 3, 1)], {"200": {JSON}}),
    (Path, [Path("a")], {"200": {JSON}}),
    (Number, [Number.ONE], {"200": {JSON}}),
    (list[int], [[1]], {"200": {JSON}}),
    (Sequence[int], [[1]], {"200": {JSON}}),
    (Set[int], [{1}], {"200": {JSON}}),
    (Collection[int], [[1], {1}], {"200": {JSON}}),
    (Collection[Pie] | None, [[PIE], None], {"200": {JSON}}),
    (MutableMapping[str, int], [{"a": 1}], {"200": {JSON}}),
    (Pie, [PIE, SECRET], {"200": {JSON}}),
    (Annotated[Pie, "a note"], [PIE, SECRET], {"200": {JSON}}),
    # tuples without a status
    (tuple[Pie, ...], [(PIE,), (SECRET, PIE)], {"200": {JSON}}),
    (tuple[Pie, Pie], [(PIE, SECRET)], {"200": {JSON}}),
    (tuple[str, Pie], [("a", SECRET)], {"200": {JSON}}),
    (tuple[str, int], [("a", 1)], {"200": {JSON}}),
    (tuple[bool, Pie], [(True, PIE)], {"200": {JSON}}),
    (tuple[int, int], [(201, 2)], {"200": {JSON}}),
    (tuple[int, int, int], [(201, 2, 3)], {"200": {JSON}}),
    (tuple[int, str, int, str], [(201, "a", 1, "b")], {"200": {JSON}}),
    (tuple[int], [(201,)], {"200": {JSON}}),
    (tuple[int, ...], [(201, 2)], {"200": {JSON}}),
    (tuple[Literal[1, 2], str], [(1, "a")], {"200": {JSON}}),
    # tuples with one
    (tuple[Literal[201], Pie], [(201, SECRET)], {"201": {JSON}}),
    (tuple[Literal[201], Pie, dict[str, str]], [(201, SECRET, {"X-A": "b"})], {"201": {JSON}}),
    (tuple[Literal[200, 201], Pie], [(200, PIE), (201, PIE)], {"200": {JSON}, "201": {JSON}}),
    (tuple[Literal[HTTPStatus.CREATED], str], [(HTTPStatus.CREATED, "a")], {"201": {HTML}}),
    (tuple[Literal[202], None], [(202, None)], {"202": set()}),
    (tuple[Literal[204], None], [(204, None)], {"204": set()}),
    (tuple[Literal[200], Pie | None], [(200, SECRET), (200, None)], {"200": {JSON}}),
    (tuple[Literal[200], str | Pie], [(200, SECRET), (200, "a")], {"200": {JSON, HTML}}),
    (
        tuple[Literal[200], Pie] | tuple[Literal[409], str] | tuple[Literal[204], None],
        [(200, SECRET), (409, "taken"), (204, None)],
        {"200": {JSON}, "409": {HTML}, "204": set()},
    ),
    (
        Pie | tuple[Literal[202], str] | tuple[Literal[203], Iterator[str]],
        [SECRET, (202, "a"), (203, lambda: iter("a"))],
        {"200": {JSON}, "202": {HTML}, "203": {HTML}},
    ),
    (tuple[int, Pie], [(201, SECRET)], UNKNOWN),
    (tuple[HTTPStatus, Pie], [(HTTPStatus.CREATED, SECRET)], UNKNOWN),
    (tuple[int | Literal[201], Pie], [(201, SECRET)], UNKNOWN),
    (tuple[int | str, ...], [("a", 1)], UNKNOWN),
    (tuple[int | str, str], [("a", "b")], UNKNOWN),
    (tuple[Any, Any], [("a", "b")], UNKNOWN),
    (tuple, [(201, "a")], UNKNOWN),
    # None
    (None, [None], {"200": set()}),
    (str | None, ["a", None], {"200": {HTML}}),
    (Pie | None, [SECRET, None], {"200": {JSON}}),
    (tuple[str, int] | None, [("a", 1), None], {"200": {JSON}}),
    (Literal["a", 1] | None, ["a", 1, None], {"200": {HTML, JSON}}),
    # several
    (Literal["a", 1], ["a", 1], {"200": {HTML, JSON}}),
    (str | int, ["a", 1], {"200": {HTML, JSON}}),
    (str | Pie, ["a", SECRET], {"200": {HTML, JSON}}),
    (Iterator[str] | Pie, [lambda: iter("a"), SECRET], {"200": {HTML, JSON}}),
    (Redirect | str, [Redirect("/"), "a"], {"303": set(), "200": {HTML}}),
    (EventStream | str, [lambda: EventStream([]), "a"], {"200": {EVENTS, HTML}}),
    # in chunks
    (Iterator[str], [lambda: iter("a")], {"200": {HTML}}),
    (Generator[str, None, None], [lambda: (one for one in "a")], {"200": {HTML}}),
    (EventStream, [lambda: EventStream([])], {"200": {EVENTS}}),
    *[
        (one, [lambda: io.BytesIO(b"a")], {"200": {HTML}})
        for one in (io.BytesIO, BinaryIO, IO[bytes])
    ],
    *[(one, [lambda: io.StringIO("a")], {"200": {HTML}}) for one in (io.StringIO, TextIO, IO[str])],
    # answers of their own
    (Redirect, [Redirect("/")], {"303": set()}),
    (Response, [Response("a")], UNKNOWN),
    (Mine, [Mine("a")], UNKNOWN),
    (Mine | None, [Mine("a")], UNKNOWN),
    (Pie | HTTPError, [SECRET], {"200": {JSON}}),
    # what tells nothing
    *[(one, ["a"], UNKNOWN) for one in (Any, object, Hashable, Iterable, Iterable[str])],
    (Iterable[str], [["a"]], UNKNOWN),
]


def sending(kinds: list[tuple[Any, list[Any], dict[str, Any]]], **stated: Any) -> App:
    """Return an application with a handler for each kind, which returns the result of a number."""
    app = App(errors="json")
    for number, (hint, results, _) in enumerate(kinds):
        add(app, f"/{number}", hint, results, stated)
    return app


def made(result: Any) -> Any:
    if isinstance(result, tuple):
        return tuple(map(made, result))
    return result() if inspect.isfunction(result) else result


def add(app: App, path: str, hint: Any, results: list[Any], stated: dict[str, Any]) -> None:
    def handler(which: int = 0) -> Any:
        return made(results[which])

    handler.__annotations__ = {"which": int, "return": hint}
    app.get(path)(describe(**stated)(handler))


def described(document: dict[str, Any], path: str) -> dict[str, Any]:
    """Return the answers that the document states, but those of a wrong parameter and any other."""
    responses = dict(document["paths"][path]["get"]["responses"])
    responses.pop("400")
    other = responses.pop("default")
    assert other["description"] in ("Any other response", "Any other error")
    return {} if other["description"] == "Any other response" else responses


def check(client: Any, document: dict[str, Any], path: str, many: int) -> dict[str, set[str]]:
    """Return what is sent, by status, and check that it fits what the document states."""
    sent: dict[str, set[str]] = {}
    for which in range(many):
        answer = client.get(f"{path}?which={which}", follow_redirects=False)
        media_type = answer.headers.get("content-type", "").partition(";")[0]
        content = described(document, path).get(str(answer.status_code), {}).get("content", {})
        kinds = sent.setdefault(str(answer.status_code), set())
        if answer.content or media_type == EVENTS:
            kinds.add(media_type)
        if media_type == JSON and content:
            schema = {**content[JSON]["schema"], "components": document["components"]}
            jsonschema.Draft202012Validator(schema).validate(answer.json())
        assert "apple" not in answer.text
    return sent


def test_the_document_describes_the_sent_responses(make_client: MakeClient) -> None:
    app = sending(KINDS)
    document, client = app.openapi(), make_client(app)
    OpenAPIV31SpecValidator(document).validate()
    for number, (hint, results, expected) in enumerate(KINDS):
        path = f"/{number}"
        found = described(document, path)
        told = {status: {*one.get("content", ())} for status, one in found.items()}
        assert told == expected, hint
        sent = check(client, document, path, len(results))
        assert expected in ({}, sent), hint


STATED: list[tuple[Any, list[Any], dict[str, Any]]] = [
    (Pie, [], {"201": {JSON}}),
    (tuple[int, Pie], [(201, SECRET)], {"201": {JSON}}),
    (tuple[int, Pie, dict[str, str]], [(201, SECRET, {"X-A": "b"})], {"201": {JSON}}),
    (tuple[HTTPStatus, Pie | str], [(201, SECRET), (201, "a")], {"201": {JSON, HTML}}),
    (tuple[int, None], [(201, None)], {"201": set()}),
    (tuple[int, Pie | None], [(201, SECRET), (201, None)], {"201": {JSON}}),
    (tuple[int, Pie] | Redirect, [(201, SECRET), Redirect("/")], {"201": {JSON}, "303": set()}),
    (tuple[Literal[202], Pie], [(202, SECRET)], {"202": {JSON}}),
    (tuple[Any, Any], [(201, "a")], UNKNOWN),
]


def test_a_declared_status_is_that_of_the_tuple(make_client: MakeClient) -> None:
    app = sending(STATED, status=201)
    document, client = app.openapi(), make_client(app)
    for number, (hint, results, expected) in enumerate(STATED):
        path = f"/{number}"
        found = described(document, path)
        assert {one: {*told.get("content", ())} for one, told in found.items()} == expected, hint
        assert not results or expected in ({}, check(client, document, path, len(results))), hint


def made_of(function: Callable[[], Any], hint: Any) -> Callable[[], Any]:
    function.__annotations__["return"] = hint
    return function


@pytest.mark.parametrize(
    "hint",
    [
        Iterable[str],
        Iterator[str],
        Generator[str, None, None],
        AsyncIterable[str],
        AsyncIterator[str],
    ],
)
def test_a_generator_function_sends_chunks_whatever_its_annotation(
    make_client: MakeClient, hint: Any
) -> None:
    def chunks(which: int = 0) -> Any:
        yield "a"

    async def async_chunks(which: int = 0) -> Any:
        yield "a"

    app = App()
    app.get("/")(made_of(async_chunks if "Async" in str(hint) else chunks, hint))
    assert [*described(app.openapi(), "/")["200"]["content"]] == [HTML]
    answer = make_client(app).get("/")
    assert (answer.text, answer.headers["content-type"].partition(";")[0]) == ("a", HTML)


@pytest.mark.parametrize("hint", [Never, NoReturn, HTTPError])
def test_a_handler_that_always_raises_has_no_success_response(
    make_client: MakeClient, hint: Any
) -> None:
    def fails(which: int = 0) -> Any:
        raise HTTPError(404)

    app = App(errors="json")
    app.get("/")(made_of(fails, hint))
    assert described(app.openapi(), "/") == {}
    assert [*app.openapi()["paths"]["/"]["get"]["responses"]] == ["400", "default"]
    assert make_client(app).get("/").status_code == 404


@pytest.mark.parametrize("hint", [UploadFile, Awaitable[Pie]])
def test_an_unusual_result_type_is_not_described_as_json(hint: Any) -> None:
    def nothing(which: int = 0) -> Any: ...

    app = App()
    app.get("/")(made_of(nothing, hint))
    contents = [one.get("content", {}) for one in described(app.openapi(), "/").values()]
    assert not [one for one in contents if JSON in one]


def test_a_redirect_s_status_is_described(make_client: MakeClient) -> None:
    app = App()

    @app.get("/")
    @describe(status=308)
    def moved(which: int = 0) -> Redirect:
        return Redirect("/", 308)

    assert [*described(app.openapi(), "/")] == ["308"]
    assert make_client(app).get("/", follow_redirects=False).status_code == 308


class Versions(App):
    def once(self, which: int = 0) -> Pie | None:
        if self.request.not_modified(etag="1"):
            return None
        return PIE

    def at_once(self, which: int = 0) -> Pie | None:
        return None if self.request.not_modified(etag="1") else PIE

    async def waits(self, which: int = 0) -> str | None:
        if self.request.not_modified(etag="1"):
            return None
        return "a"

    @describe(response_model=Pie | None)
    def perhaps(self, which: int = 0) -> Pie | None:
        if which:
            return None
        if self.request.not_modified(etag="1"):
            return None
        return PIE

    @describe(response_model=Pie)
    def stated(self, which: int = 0) -> Pie | None:
        return None if self.request.not_modified(etag="1") else PIE

    def untyped(self, which: int = 0) -> Pie:
        if self.request.not_modified(etag="1"):
            return None  # type: ignore[return-value]
        return SECRET

    def nothing(self, which: int = 0) -> None:
        self.request.not_modified(etag="1")


@pytest.mark.skipif("msgspec" in LEFT_OUT, reason="needs msgspec, for the schema")
def test_none_may_only_mean_a_304(make_client: MakeClient) -> None:
    app = Versions(errors="json")
    document, client = app.openapi(), make_client(app)
    assert client.get("/once").json() == {"name": "plum"}
    pie = {"$ref": "#/components/schemas/Pie"}
    for path in ("/once", "/at_once", "/stated", "/untyped"):
        found = described(document, path)
        assert (found["200"]["content"][JSON]["schema"], "content" in found["304"]) == (pie, False)
    either = described(document, "/perhaps")["200"]["content"][JSON]["schema"]
    assert either == {"anyOf": [pie, {"type": "null"}]}
    assert client.get("/perhaps?which=1").json() is None
    assert "may be empty" not in described(document, "/waits")["200"]["description"]
    assert described(document, "/nothing")["200"].keys() == {"description", "headers"}
    for path in ("/once", "/at_once", "/waits", "/perhaps", "/stated", "/untyped", "/nothing"):
        answer = client.get(path, headers={"If-None-Match": '"1"'})
        assert (answer.status_code, answer.content) == (304, b"")


def test_extensions_can_read_the_parts_of_a_response() -> None:
    app = App()
    app.get("/")(made_of(lambda: None, tuple[Literal[201], Pie | None]))
    [entry] = Inspector(app).routes()
    [result] = entry.results
    assert TypeInfo(result).answer == ((201,), (Pie, type(None)))
    assert TypeInfo(tuple[int, Pie]).answer == (None, (Pie,))
