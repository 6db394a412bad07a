"""Whatever a client sends is parsed in linear time, and refused by an ``HTTPError`` or not at all.

Steps are counted, not timed. What a step of C's costs is not seen by that, so for each place where a
client can write a text the processor's seconds for a long and a longer one are compared.
"""

from __future__ import annotations

import enum
import gc
import json
import tracemalloc
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from encodings.aliases import aliases
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import orjson
import pydantic
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from micropie import (
    App,
    BindingErrors,
    Cookie,
    Form,
    Header,
    HTTPError,
    Query,
    Redirect,
    Response,
    ResponseError,
    post,
)
from micropie._core.binding.fields import kinds_in
from micropie._core.binding.structures.makers import maker_for
from micropie._core.binding.values.converters import converter_for
from micropie._core.binding.values.limits import has_long_paths
from micropie._core.errors import BadRequest
from micropie._core.http.forms.data import Limits, parse_query
from micropie._core.http.forms.multipart import MultipartParser, boundary_of
from micropie._core.http.headers.cookies import parse_cookies
from micropie._core.http.headers.media_types import codec_of, content_type, disposition
from micropie._core.http.response import encode, redirect_response
from micropie.middleware import Compress
from micropie.testing import TestClient
from tests.asgi.calls import respond
from tests.binding.conftest import taking
from tests.project.fuzz import client_texts
from tests.project.fuzz.client_texts import ENTRIES
from tests.support import growth
from tests.support.clients import MakeClient
from tests.support.codecs import make_codec
from tests.support.errors import said
from tests.support.growth import LENGTH, grows_too_fast
from tests.support.selection import WORLDS
from tests.support.steps import steps_of
from tests.support.waiting import until
from tests.wsgi.calls import get

MANY = Limits(max_fields=10**6, max_files=10**6, max_form_field_size=2**30, max_data_size=2**30)


class Color(enum.Enum):
    RED = "red"


@dataclass
class Order:
    price: Decimal = Decimal(0)
    weight: float = 0.0
    ids: set[int] = field(default_factory=set)
    names: dict[int, str] = field(default_factory=dict)
    when: datetime | None = None
    lines: list[Order] = field(default_factory=list)


SCALARS: list[Any] = [
    int,
    float,
    bool,
    Decimal,
    UUID,
    date,
    time,
    datetime,
    Color,
    Literal["a", 1],
    int | str,
    int | None,
]
KINDS: list[Any] = [
    *SCALARS,
    str,
    list[int],
    set[int],
    frozenset[Any],
    tuple[UUID, ...],
    dict,
    dict[Decimal, set[int]],
]


def multipart(data: bytes) -> None:
    parser = MultipartParser("B", MANY)
    try:
        parser.feed(data)
        parser.finish()
    finally:
        parser.close()


def as_text(parse: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: parse(data.decode("latin-1"))


def as_body(loads: Callable[[bytes], object]) -> Callable[[bytes], object]:
    def parse(data: bytes) -> object:
        try:
            return loads(data)
        except ValueError as error:
            raise BadRequest(str(error)) from None

    return parse


PARSERS: dict[str, Callable[[bytes], object]] = {
    "content type": as_text(content_type),
    "boundary": as_text(lambda text: boundary_of({"boundary": text, "charset": text})),
    "disposition": as_text(lambda text: disposition(f'form-data; name="a"{text}')),
    "cookies": as_text(parse_cookies),
    "query": lambda data: parse_query(data, MANY),
    "query of wsgi": as_text(lambda text: parse_query(text, MANY)),
    # a shorter one is not counted, and cheaper
    "limited query": lambda data: parse_query(b"a" * 1001 + b"&" + data),
    "orjson": as_body(make_codec(orjson)[1]),
    "json": as_body(make_codec(None)[1]),
    "multipart": multipart,
}

MARKS = [
    b"&", b"=", b"%", b"%4", b"%41", b"%ff", b"+", b";", b'"', b"\\", b'\\"', b" ", b"\t", b"\0",
    b",", b"[", b"]",
]  # fmt: skip
MARKS += [
    b"{", b"}", b":", b"1", b"9" * 25, b"-", b".", b"e", b"null", b"NaN", b"1e999", b'"a"',
    b'{"a":', b"\\ud800", b"\n",
]  # fmt: skip
MARKS += [
    b"\r", b"\r\n", b"\r\n--B", b"--B\r\n", b"--B--", b"\xff", b"\xef\xbb\xbf", b"filename*=",
    b"utf-8''", b"a",
]  # fmt: skip
MARKS += [
    b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n',
    b"--",
    b"'",
    b"Content-Type: text/plain\r\n",
]

pieces = st.lists(st.sampled_from(MARKS) | st.binary(max_size=3), max_size=12).map(b"".join)


@pytest.mark.parametrize("name", PARSERS)
@given(data=pieces)
def test_parsers_only_raise_http_errors(name: str, data: bytes) -> None:
    with suppress(HTTPError):
        PARSERS[name](data)


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=20)
@given(start=pieces, repeated=pieces, end=pieces)
@example(start=b"", repeated=b"[", end=b"")
@example(start=b'{"a":', repeated=b'"\\"', end=b"")
def test_R28_parsers_take_linear_time(name: str, start: bytes, repeated: bytes, end: bytes) -> None:
    parse = PARSERS[name]
    once, twice, four_times = (steps_of(parse, start + repeated * n + end) for n in (32, 64, 128))
    slack = 200
    assert twice <= 2 * once + slack
    assert four_times <= 2 * twice + slack


@pytest.mark.parametrize("name", PARSERS)
@pytest.mark.parametrize(
    "mark",
    [b"&", b"=", b"%41", b"+", b";", b'"', b"\\", b'\\"', b" ", b"[", b"1", b"-", b"\r", b"'"],
)
def test_R28_parsers_take_linear_time_for_one_repeated_character(name: str, mark: bytes) -> None:
    entry = growth.calling(lambda text: PARSERS[name](text.encode()))
    # not so many that a parser of JSON without a limit of its depth would end its process
    length = 1100 if mark == b"[" else LENGTH
    for start, end in (("", ""), ('{"a": "', '!"x')):
        assert not grows_too_fast(entry, start, mark.decode(), end, length)


# -- values of parameters --------------------------------------------------------------------------

texts = (
    st.text()
    | st.text("0123456789+-.eE_ :TZWx,\u0661\uff11\u00b2\ud800\t", max_size=40)
    | st.from_regex(r"[0-9TZW:.+-]+")
)
documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)


CONVERTERS = [converter_for(kind) for kind in KINDS]


@given(text=texts, document=documents)
def test_a_value_is_converted_or_raises_value_error(text: str, document: object) -> None:
    for converter in CONVERTERS:
        with suppress(ValueError):
            converter.from_text(text)
        with suppress(ValueError):
            converter.from_json(document)


@given(document=documents, values=st.lists(documents, max_size=4))
def test_a_structure_is_created_or_raises_value_error(
    document: object, values: list[object]
) -> None:
    make = maker_for(Order).make
    fields = ("price", "weight", "ids", "names", "when", "lines")
    for given_document in (document, dict(zip(fields, values, strict=False)), {"lines": values}):
        with suppress(ValueError):
            make(given_document, is_json=True)


@given(
    fields=st.dictionaries(
        st.sampled_from(["price", "weight", "ids", "when", "lines", "x"]),
        st.lists(texts, min_size=1),
    )
)
def test_a_structure_is_created_from_a_form_or_raises_value_error(
    fields: dict[str, list[str]],
) -> None:
    with suppress(ValueError):
        maker = maker_for(Order)
        maker.make(maker.document_of(fields, is_form=True), is_json=False)


@pytest.mark.parametrize("kind", SCALARS, ids=str)
def test_R28_a_long_text_is_refused(kind: Any) -> None:
    converter = converter_for(kind)
    for mark in ("1", "-", ".", "e", "0", "1.", "1e", "_", " ", "T", ":", "W", "\u0661", "A1"):
        many = mark * (LENGTH // len(mark))
        for text in (many, f"{many}x", f"1{many}", f"1.{many}x", f"1e{many}", f"2026-01-31T{many}"):
            for convert in (converter.from_text, converter.from_json):
                with suppress(ValueError):
                    assert (kind, convert(text)) == (int | str, text)


@pytest.mark.parametrize(
    "kind",
    [list[int], tuple[str, ...], dict[str, int], list[dict[str, Decimal]], set[str]],
    ids=str,
)
def test_R28_json_is_converted_in_linear_time(kind: Any) -> None:
    def document(size: int) -> object:
        made: dict[Any, object] = {
            list[int]: [0] * size,
            tuple[str, ...]: ["a"] * size,
            dict[str, int]: dict.fromkeys(map(str, range(size)), 0),
            list[dict[str, Decimal]]: [{"a": 1, "b": "1e9"}] * size,
            set[str]: [str(number) for number in range(size)],
        }
        return made[kind]

    convert = converter_for(kind).from_json
    once, twice = (steps_of(convert, document(size)) for size in (500, 1000))
    assert twice <= 2 * once + 10


@pytest.mark.parametrize("size", [250, 500])
def test_R28_a_structure_is_checked_in_linear_time(size: int) -> None:
    make = maker_for(Order).make
    once, twice = (
        steps_of(
            make,
            {"ids": list(range(n)), "lines": [{"price": "1.5", "names": {"1": "a"}}] * n},
            True,
        )
        for n in (size, 2 * size)
    )
    assert size < once
    assert twice <= 2 * once + 20


# -- the whole way ---------------------------------------------------------------------------------


class Root(App):
    def names(
        self,
        a: int,
        b: Decimal | None = None,
        *,
        c: set[int] = frozenset(),  # type: ignore[assignment]
        **others: Any,
    ) -> str:
        return "ok"

    async def order(self, order: Order) -> str:
        return "ok"

    def asks(self) -> str:
        self.request.json()
        return "ok"

    async def nothing(self) -> str:
        return "ok"


TYPES = [
    "application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=B",
    "text/plain", None,
]  # fmt: skip


@pytest.fixture(scope="module", params=WORLDS)
def shared_client(request: pytest.FixtureRequest) -> Iterator[TestClient]:
    """One client of each world: Hypothesis asks for many."""
    options: dict[str, Any] = (
        {"protocol": "wsgi"} if request.param == "wsgi" else {"backend": request.param}
    )
    with TestClient(Root(), raise_app_exceptions=False, **options) as client:
        yield client


@given(
    path=st.sampled_from(["/names", "/names/1", "/order", "/asks", "/nothing"]),
    kind=st.sampled_from(TYPES),
    body=pieces | documents.map(lambda document: json.dumps(document).encode()),
)
def test_no_body_causes_an_internal_error(
    shared_client: TestClient, path: str, kind: str | None, body: bytes
) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    answer = shared_client.post(path, content=body, headers=headers)
    assert answer.status_code in (200, 400, 413, 415), said(answer)
    assert answer.status_code == 200 or (said(answer).endswith(".") and "\n" not in said(answer)), (
        said(answer)
    )


def test_R28_no_cache_stores_a_long_text_from_a_client(
    world: str, connect: MakeClient, tmp_path: Path
) -> None:
    """A cache has so many entries, and servers pass on headers of any length: 256 of them would
    fill the memory.
    """
    (tmp_path / "file.txt").write_text("text")

    async def counted(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await respond(send, b"%d" % len(scope["headers"]))

    def counted_too(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"%d" % len(environ)]

    class Root(App):
        def index(self) -> str:
            return "index " * 100

    app = Root()
    app.middlewares.append(Compress())
    app.static("/static", tmp_path)
    app.mount("/asgi", counted)
    app.mount("/wsgi", counted_too)
    client = connect(app, world, validate=False)

    def ask(number: int) -> None:
        long = f"{world}{number}{'a' * 50_000}"
        ask_with_long_headers(client, long)
        client.get("/static/file.txt", headers={"Accept-Encoding": long})
        client.get(f"/static/{long}")  # httpx takes no URL of more than 65,536
        client.get("/asgi", headers={long: "1"})
        client.get("/wsgi", headers={long: "1"})
        forget_what_httpx_has_asked_for()

    # A cache keeps all ten of a kind, half a million bytes. A thread's last request may be held yet.
    assert kept_after(ask, 480_000) < 480_000


def test_R28_no_redirect_stores_a_long_url() -> None:
    """Python's ``urlsplit`` keeps what it was given."""
    site = SimpleNamespace(scheme="https", host="example.com")

    def ask(number: int) -> None:
        redirect_response(Redirect(f"{number}{'a' * 50_000}"), site)

    assert kept_after(ask, 300_000) < 300_000
    with pytest.raises(HTTPError):
        redirect_response(Redirect(f"//example.com{'a' * 50_000}"), site)


@pytest.mark.parametrize(
    "keep",
    [
        lambda text: encode(
            Response("x", content_type=f"text/plain; charset={text}"), None, head_only=False
        ),
        lambda text: Compress().may_compress(Response(b"x", content_type=f"text/{text}"), None),
    ],
    ids=["charset", "compressed"],
)
def test_R28_no_cache_stores_a_long_text_that_an_author_passes_on(
    keep: Callable[[str], object],
) -> None:
    check_that_no_text_is_kept(keep)


MORE_MARKS = [
    "a", "1", ":", "-", ",", ";", "=", '"', "\\", " ", "/", "=?a?q?", "\u0301\u0316", "%", ".",
    "[", "-1", "../",
]  # fmt: skip


@pytest.mark.parametrize("name", ENTRIES)
def test_R28_processing_time_grows_linearly_with_the_text(name: str) -> None:
    check_growth(ENTRIES[name])


def check_growth(entry: growth.Entry) -> None:
    for mark in MORE_MARKS:
        assert not grows_too_fast(entry, "a", mark, '!"'), mark


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("if-none-match", "GET /static/there"),
        ("range", "GET /static/there"),
        ("content-type", "POST /document"),
        ("content-length", "POST /document"),
        ("cookie", "GET /theme"),
        ("x-token", "GET /stated"),
        ("x-token", "GET /in_wsgi/"),
    ],
)
def test_R28_a_header_may_be_repeated_many_times(name: str, target: str) -> None:
    """Under ASGI, where each line is an item: under WSGI the server has joined them."""
    assert not grows_too_fast(client_texts.repeated(name, target), "", "a", "", 200_000)


@pytest.mark.parametrize(
    "charset", sorted({*aliases.values()} - {"mbcs"} | {"cp874", "koi8_t", "mac_farsi"})
)
def test_R28_decoding_a_charset_takes_linear_time(charset: str) -> None:
    def in_both_ways(text: str) -> None:
        with suppress(LookupError, UnicodeError):
            text.encode(codec_of(charset)).decode(codec_of(charset))

    for mark in ("a", "+", "-", "\u0301\u0316", "~{", "\x1b$B", "\xe9"):
        assert not grows_too_fast(lambda text: partial(in_both_ways, text), "a", mark, "!")


@dataclass(frozen=True)
class Group:
    ids: set[int] = field(default_factory=set)
    keys: set[UUID] = field(default_factory=set)
    pairs: frozenset[tuple[int, int]] = frozenset()
    names: dict[int, str] = field(default_factory=dict)
    prices: list[Decimal] = field(default_factory=list)
    inner: list[Group] = field(default_factory=list)
    name: str = ""


class GroupModel(pydantic.BaseModel):
    ids: set[int] = set()
    keys: set[UUID] = set()
    pairs: frozenset[tuple[int, int]] = frozenset()
    names: dict[int, str] = {}
    prices: list[Decimal] = []
    inner: list[GroupModel] = []
    name: str = ""


def _colliding(count: int) -> list[int]:
    """Return numbers that have one hash. To make a set of them takes quadratic time."""
    return [number * (2**61 - 1) for number in range(count)]


def _nested(document: object, levels: int) -> object:
    for _ in range(levels):
        document = {"inner": [document]}
    return document


REFUSED: dict[str, Callable[[int], object]] = {
    "a set of numbers": lambda count: {"ids": _colliding(count)},
    "a set of a wrong value": lambda count: {"ids": [*_colliding(count), "x"]},
    "a set of UUIDs": lambda count: {"keys": [str(UUID(int=one)) for one in _colliding(count)]},
    "a set of tuples": lambda count: {"pairs": [[one, one] for one in _colliding(count)]},
    "a dict of numbers": lambda count: {"names": dict.fromkeys(map(str, _colliding(count)), "")},
    "a set, inside": lambda count: _nested({"ids": _colliding(count)}, 9),
    "many sets": lambda count: {"inner": [{"ids": _colliding(900)}] * (count // 900), "name": 1},
    "many sets, inside": lambda count: _nested(
        {"inner": [{"ids": _colliding(900)}] * (count // 900), "name": 1}, 8
    ),
    "long numbers": lambda count: {"prices": ["9" * count, "1e300000"]},
    "wrong numbers": lambda count: {"prices": ["x"] * count},
    "wrong structures": lambda count: {"inner": ["x"] * count},
}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *((kind, name) for kind in (Group, GroupModel) for name in REFUSED),
        *((kind, "a set of numbers") for kind in (list[Group], dict[str, GroupModel])),
    ],
)
def test_R28_refusing_a_request_costs_no_more_than_accepting_it(name: str, kind: Any) -> None:
    """Not even with the debug page, which shows what was sent."""
    site = App(debug=True, errors="json", max_data_size=2**30, max_json_values=10**6)

    def group(group: Any) -> str:
        return "made"

    group.__annotations__["group"] = kind
    site.post("/group")(group)
    statuses = set[int]()

    def entry(text: str) -> growth.Ask:
        document = REFUSED[name](len(text))
        around = {list[Group]: [document], dict[str, GroupModel]: {"a": document}}
        body = json.dumps(around.get(kind, document)).encode()
        return lambda: statuses.add(
            get(site, "/group", "POST", body, CONTENT_TYPE="application/json")[0]
        )

    # few enough values for the search for further errors to convert them (MOST_VALUES)
    assert not grows_too_fast(entry, "", "a", "", 6000)
    assert statuses == {400}


Word: Any = Literal[tuple(f"word{number}" for number in range(1000))]


class LongKeys(pydantic.BaseModel):
    named: dict[str, list[int]] = {}
    words: list[Word] = []
    pet: Annotated[Cat | Dog | None, pydantic.Field(discriminator="kind")] = None


class Cat(pydantic.BaseModel, extra="forbid"):
    kind: Literal["cat"]


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    number: int = 0


@pytest.mark.parametrize(
    ("kind", "document"),
    [
        (LongKeys, {"named": {"k" * 300_000: ["x"]}}),
        (LongKeys, {"named": {"k" * 300_000: ["x"] * 100}}),
        (LongKeys, {"words": ["x"] * 100}),
        (LongKeys, {"pet": {"kind": "k" * 300_000}}),
        (LongKeys, {"pet": {"kind": "cat", **{f"{'k' * 3000}{one}": 1 for one in range(100)}}}),
        (Strict, {"k" * 300_000: 1}),
    ],
)
def test_R28_an_error_does_not_repeat_a_long_text(
    make_client: MakeClient, kind: Any, document: object
) -> None:
    """Each error names the keys that lead to it, and the choices: 2.5 MB became a gigabyte."""
    answer = make_client(taking(kind)).post("/page", json=document)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["parameter"] == "item"
    assert len(answer.content) < 250_000


class Ids(set[int]):
    pass


@dataclass
class OfIds:
    ids: Ids


def test_R28_an_application_s_set_is_not_built_for_error_messages(
    make_client: MakeClient,
) -> None:
    decoded: list[object] = []

    def decode(values: list[int]) -> Ids:
        decoded.append(values)
        return Ids(values)

    client = make_client(taking(OfIds, decoders={Ids: decode}, errors="json"))
    assert client.post("/page", json={"ids": [*range(1000)]}).status_code == 200
    decoded.clear()
    answer = client.post("/page", json={"ids": [*range(1001)]})
    assert (answer.status_code, decoded) == (400, [])
    assert answer.json()["errors"][0]["detail"] == "Please choose at most 1000."


class Tree(pydantic.BaseModel):
    inner: list[Tree] = []
    ids: list[int] = []


class Named(pydantic.BaseModel):
    named: dict[str, list[int]] = {}


def test_R28_pydantic_stores_no_long_path_for_each_error(make_client: MakeClient) -> None:
    """It would take memory in proportion to the square of the document's size."""

    def asked(kind: Any, document: object) -> tuple[int, int]:
        app = taking(kind, errors="json", max_json_values=10**6)
        answer = make_client(app).post("/page", json=document)
        return answer.status_code, len(answer.json()["errors"]) if answer.is_error else 0

    assert asked(Named, {"named": {"k" * 8000: [[]] * 8000}}) == (400, 1)
    assert asked(Tree, _nested({"ids": [[]] * 8000}, 200)) == (400, 1)
    assert asked(Named, {"named": {"k" * 900: [1] * 40_000}}) == (200, 0)
    assert asked(Tree, _nested({"ids": [1] * 20_000}, 25)) == (200, 0)


def test_only_types_with_long_paths_are_searched_for_them() -> None:
    class Inner(pydantic.BaseModel):
        item: int

    flat = (dict, dict[str, int], dict[str, Any], list[list[Inner]], Inner)
    assert not any(has_long_paths(kinds_in(kind)) for kind in flat)
    for kind in (dict[str, list[int]], dict[str, Inner], list[Tree]):
        assert has_long_paths(kinds_in(kind))


def test_R28_messages_for_deeply_nested_errors_cost_little() -> None:
    site = taking(Tree, errors="json")
    document = _nested({"ids": ["x"] * 100}, 200)
    body = json.dumps(document).encode()
    ask = partial(get, site, "/page", "POST", body, CONTENT_TYPE="application/json")
    assert ask()[0] == 400
    assert steps_of(lambda _: ask(), None) < 150_000


class Sets(App):
    @post
    def json(self, ids: set[int]) -> str:
        return "made"

    @post
    def either(self, ids: int | set[int]) -> str:
        return "made"

    @post
    def nested(self, ids: list[set[int]]) -> str:
        return "made"

    @post
    def named(self, ids: dict[int, int]) -> str:
        return "made"

    @post
    def form(self, ids: Annotated[frozenset[int], Form()]) -> str:
        return "made"

    @post
    def again(self, errors: BindingErrors, group: Group | None = None) -> str:
        return "made"

    def query(self, ids: set[int]) -> str:
        return "made"

    def whole(self, search: Annotated[Group, Query()]) -> str:
        return "made"

    def header(self, x_ids: Annotated[set[int], Header()]) -> str:
        return "made"

    def cookie(self, ids: Annotated[set[int], Cookie()]) -> str:
        return "made"


FORM_TYPE = {"CONTENT_TYPE": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    "path",
    ["json", "either", "nested", "named", "form", "again", "query", "whole", "header", "cookie"],
)
def test_R28_numbers_with_equal_hashes_cost_little_from_every_source(path: str) -> None:
    site = Sets(
        errors="json",
        max_form_fields=10**6,
        max_data_size=2**30,
        max_form_field_size=2**30,
        max_json_values=10**6,
    )

    def entry(text: str) -> growth.Ask:
        ids = _colliding(len(text))
        texts = "&".join(f"ids={one}" for one in ids)
        bodies: dict[str, Any] = {
            "nested": [ids],
            "named": dict.fromkeys(map(str, ids), 1),
        }
        if path in ("query", "whole"):
            return lambda: get(site, f"/{path}", QUERY_STRING=texts)
        if path == "header":
            return lambda: get(site, "/header", HTTP_X_IDS=", ".join(map(str, ids)))
        if path == "cookie":
            return lambda: get(site, "/cookie", HTTP_COOKIE=f"ids={ids}")
        if path == "form":
            return lambda: get(site, "/form", "POST", texts.encode(), **FORM_TYPE)
        body = json.dumps({"ids": bodies.get(path, ids)}).encode()
        return lambda: get(site, f"/{path}", "POST", body, CONTENT_TYPE="application/json")

    assert not grows_too_fast(entry, "", "a", "", 6000)


def test_nonlinear_growth_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(growth, "thread_time", lambda: now)

    def takes(seconds: Callable[[int], float]) -> growth.Entry:
        def ask(length: int) -> None:
            nonlocal now
            now += seconds(length)

        return lambda text: lambda: ask(len(text))

    assert grows_too_fast(takes(lambda length: length**2), "a", "b", "!", 1000)
    assert not grows_too_fast(takes(lambda length: length**1.1), "a", "b", "!", 1000)
    assert not grows_too_fast(takes(lambda length: length**2 / 10**8), "a", "b", "!", 1000)


def ask_with_long_headers(client: TestClient, long: str) -> None:
    client.post("/nowhere", headers={"Content-Type": long, "Accept": long, "Accept-Encoding": long})
    client.get("/", headers={long: "1", "Accept-Encoding": long})


def forget_what_httpx_has_asked_for() -> None:
    of_python: Any = urllib.parse  # of which type checkers don't know all
    of_python.clear_cache()


def check_that_no_text_is_kept(keep: Callable[[str], object]) -> None:
    def ask(number: int) -> None:
        with suppress(ResponseError):
            keep(f"{number}{'a' * 50_000}")

    assert kept_after(ask, 300_000) < 300_000


def kept_after(ask: Callable[[int], object], limit: int) -> int:
    """Return how many bytes more are in use after ``ask(number)``, called with ten numbers, as soon
    as they are fewer than ``limit``: a busy machine's threads let go of a request a bit later.
    """
    for number in range(2):  # what is kept for another reason is there then
        ask(number)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(2, 12):
            ask(number)

        def kept() -> int:
            gc.collect()
            return tracemalloc.get_traced_memory()[0] - before

        with suppress(AssertionError):
            until(lambda: kept() < limit)
        return kept()
    finally:
        tracemalloc.stop()
