"""What handlers may return, and the head and bytes that come of it: the same in every world."""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from copy import deepcopy
from dataclasses import dataclass
from datetime import date, datetime
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from micropie import (
    App,
    HTTPError,
    HttpMiddleware,
    Redirect,
    Request,
    Response,
    ResponseError,
    describe,
    static_file,
)
from micropie._core.http.headers.fields import LONGEST_KEPT, PRIVATE
from micropie._core.http.response import checked_headers, redirect_response, warn_once
from micropie.middleware import Compress, FlowMiddleware
from tests.support.clients import MakeClient
from tests.support.open_files import open_files
from tests.support.pairs import sampled

HTML = "text/html; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
NOSNIFF = "x-content-type-options"


@dataclass
class Point:
    x: int
    y: int


class Pair(msgspec.Struct):
    left: str
    right: str


class Aiterable:
    def __aiter__(self) -> AsyncIterator[bytes | str]:
        return chunks_async()


def chunks() -> Iterator[str]:
    yield "a"
    yield "b"


async def chunks_async() -> AsyncIterator[bytes | str]:
    yield b"a"
    yield "b"


UUID_TEXT = "12345678-1234-5678-1234-567812345678"

# name -> (what the handler returns, status, content type, body)
ANSWERS: dict[str, tuple[Callable[[], Any], int, str, bytes]] = {
    "text": (lambda: "héllo €", 200, HTML, "héllo €".encode()),
    "empty text": (lambda: "", 200, HTML, b""),
    "bytes": (lambda: b"\x00\xff", 200, HTML, b"\x00\xff"),
    "bytearray": (lambda: bytearray(b"ab"), 200, HTML, b"ab"),
    "memoryview": (lambda: memoryview(b"ab"), 200, HTML, b"ab"),
    "None": (lambda: None, 200, HTML, b""),
    "dict": (lambda: {"a": [1, None]}, 200, JSON, b'{"a":[1,null]}'),
    "empty dict": (dict, 200, JSON, b"{}"),
    "list": (lambda: ["é"], 200, JSON, '["é"]'.encode()),
    "int": (lambda: 5, 200, JSON, b"5"),
    "status-like int": (lambda: 404, 200, JSON, b"404"),
    "False": (lambda: False, 200, JSON, b"false"),
    "float": (lambda: 0.5, 200, JSON, b"0.5"),
    "dataclass": (lambda: Point(1, 2), 200, JSON, b'{"x":1,"y":2}'),
    "Struct": (lambda: Pair("l", "r"), 200, JSON, b'{"left":"l","right":"r"}'),
    "date": (lambda: date(2026, 1, 2), 200, JSON, b'"2026-01-02"'),
    "datetime": (lambda: [datetime(2026, 1, 2, 3, 4, 5)], 200, JSON, b'["2026-01-02T03:04:05"]'),
    "UUID": (lambda: UUID(UUID_TEXT), 200, JSON, f'"{UUID_TEXT}"'.encode()),
    "status, text": (lambda: (201, "made"), 201, HTML, b"made"),
    "status, None": (lambda: (202, None), 202, HTML, b""),
    "status, dict": (lambda: (404, {"no": 1}), 404, JSON, b'{"no":1}'),
    "HTTPStatus": (lambda: (HTTPStatus.CREATED, "made"), 201, HTML, b"made"),
    "own status": (lambda: (299, "odd"), 299, HTML, b"odd"),
    "own 5xx": (lambda: (599, "odd"), 599, HTML, b"odd"),
    "content type named": (
        lambda: (200, "a,b", {"Content-Type": "text/csv"}),
        200,
        "text/csv; charset=utf-8",
        b"a,b",
    ),
    "content type as pair": (
        lambda: (200, {"a": 1}, [("content-TYPE", "a/b")]),
        200,
        "a/b",
        b'{"a":1}',
    ),
    "tuple without a status": (lambda: (1, 2), 200, JSON, b"[1,2]"),
    "two numbers": (lambda: (640, 480), 200, JSON, b"[640,480]"),
    "two numbers that look like statuses": (lambda: (200, 404), 200, JSON, b"[200,404]"),
    "three numbers": (lambda: (255, 128, 0), 200, JSON, b"[255,128,0]"),
    "status, number, headers": (lambda: (201, 7, {"X-Own": "1"}), 201, JSON, b"7"),
    "text, small number": (lambda: ("Ann", 42), 200, JSON, b'["Ann",42]'),
    "pair of texts": (lambda: ("a", "b"), 200, JSON, b'["a","b"]'),
    "Response": (lambda: Response("x", 418, content_type="text/plain"), 418, TEXT, b"x"),
    "Response, HTTPStatus": (lambda: Response("x", HTTPStatus.CREATED), 201, HTML, b"x"),
    "Response of JSON": (lambda: Response({"a": 1}), 200, JSON, b'{"a":1}'),
    "Response of None": (Response, 200, HTML, b""),
    "Response, own header": (
        lambda: Response("x", headers={"Content-Type": "a/b"}),
        200,
        "a/b",
        b"x",
    ),
    "HTTPError": (lambda: HTTPError(410, "It has gone."), 410, TEXT, b"It has gone."),
    "HTTPError without words": (lambda: HTTPError(404), 404, TEXT, b"404 Not Found"),
    "HTTPError of JSON": (lambda: HTTPError(404, {"missing": "x"}), 404, JSON, b'{"missing":"x"}'),
    "HTTPError of a list": (lambda: HTTPError(422, ["a", 1]), 422, JSON, b'["a",1]'),
    "HTTPError of an odd status": (lambda: HTTPError(599), 599, TEXT, b"599 Error"),
    "generator": (chunks, 200, HTML, b"ab"),
    "iterator": (lambda: iter(["a", b"b"]), 200, HTML, b"ab"),
    "map": (lambda: map(str, [1, 2]), 200, HTML, b"12"),
    "async generator": (chunks_async, 200, HTML, b"ab"),
    "async iterable": (Aiterable, 200, HTML, b"ab"),
    "generator with empty chunks": (lambda: iter(["", b"", "a", "", b"b", ""]), 200, HTML, b"ab"),
    "generator of other buffers": (
        lambda: iter([bytearray(b"a"), memoryview(b"b")]),
        200,
        HTML,
        b"ab",
    ),
    "empty generator": (lambda: iter(()), 200, HTML, b""),
    "status, generator": (lambda: (203, chunks()), 203, HTML, b"ab"),
    "file": (lambda: io.BytesIO(b"x" * 200_000), 200, HTML, b"x" * 200_000),
    "text file": (lambda: io.StringIO("é" * 70_000), 200, HTML, "é".encode() * 70_000),
    "empty file": (io.BytesIO, 200, HTML, b""),
}
FIXED = [
    name
    for name in ANSWERS
    if not any(word in name for word in ("generator", "iterator", "iterable", "map", "file"))
]


def answering(function: Callable[[], Any]) -> App:
    """An application that answers ``/`` with what the function returns."""
    app = App()
    app.route("/")(function)
    return app


class Answers(App):
    def sync(self, name: str) -> Any:
        return ANSWERS[name][0]()

    async def asynchronous(self, name: str) -> Any:
        return ANSWERS[name][0]()


@pytest.mark.parametrize("handler", ["sync", "asynchronous"])
@pytest.mark.parametrize("name", ANSWERS)
def test_results_of_every_kind_become_responses(
    make_client: MakeClient, name: str, handler: str
) -> None:
    _, status, content_type, body = ANSWERS[name]
    answer = make_client(Answers()).get(f"/{handler}", params={"name": name})
    assert (answer.status_code, answer.content) == (status, body)
    assert answer.headers["content-type"] == content_type
    if name in FIXED:
        assert answer.headers.get_list("content-length") == [str(len(body))]


@pytest.mark.parametrize("name", ANSWERS)
def test_R8_R41_head_has_the_headers_of_get_and_no_body_and_nosniff_is_sent(
    make_client: MakeClient, name: str
) -> None:
    client = make_client(Answers())
    get, head = (
        client.request(method, "/sync", params={"name": name}) for method in ("GET", "HEAD")
    )
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert sorted(head.headers.multi_items()) == sorted(get.headers.multi_items())
    assert get.headers.get_list(NOSNIFF) == ["nosniff"]


class Ways(App):
    """Each way on which a response skips a part of what could change it."""

    def plain(self) -> str:
        return "plain"

    def below(self, name: str) -> str:
        return name

    def session(self) -> str:
        return str(self.request.session.get("n", 0))

    def refused(self) -> str:
        raise HTTPError(400, "no")

    def moved(self) -> Redirect:
        return Redirect("/plain")

    def file(self) -> Any:
        return static_file(__file__, root="/")


@pytest.mark.parametrize("path", ["plain", "below/x", "session", "refused", "moved", "file", "no"])
@pytest.mark.parametrize("prefix", ["", "/inner", "/isolated"])
def test_R8_each_way_of_a_response_has_no_body_for_head(
    make_client: MakeClient, prefix: str, path: str
) -> None:
    root = Ways()
    root.inner = Ways()
    root.mount("/isolated", Ways())
    client = make_client(root)
    get, head = (
        client.request(method, f"{prefix}/{path}", follow_redirects=False)
        for method in ("GET", "HEAD")
    )
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert sorted(head.headers.multi_items()) == sorted(get.headers.multi_items())
    assert get.content or path == "moved"


def test_headers_may_be_a_dict_or_pairs(make_client: MakeClient) -> None:
    class Root(App):
        def mapping(self) -> Any:
            return 200, "x", {"X-One": "1", "x-two": "2"}

        def pairs(self) -> Any:
            return (
                200,
                "x",
                [("X-One", "1"), ("X-One", "2"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")],
            )

    client = make_client(Root())
    headers = client.get("/mapping").headers
    assert (headers["x-one"], headers["x-two"]) == ("1", "2")
    headers = client.get("/pairs").headers
    assert headers.get_list("x-one") == ["1", "2"]
    assert headers.get_list("set-cookie") == ["a=1", "b=2"]


MISTAKES: dict[str, tuple[Callable[[], Any], str]] = {
    "Flask's order": (
        lambda: ("text", 404),
        'to set a status, put it first, as in "return 404, body"',
    ),
    "Flask's order, with headers": (lambda: (b"text", 404, {"X": "1"}), "to set a status"),
    "Flask's order, of JSON": (lambda: ({"a": 1}, 201), r"{'a': 1}, 201\): to set a status"),
    "Flask's order, of a list": (lambda: ([], 404, {"X": "1"}), "to set a status"),
    "Flask's order, of nothing": (lambda: (None, 204), "to set a status"),
    "a redirect and a status": (
        lambda: (Redirect("/a"), 301),
        "set the status and the headers of the Redirect itself, and return it alone",
    ),
    "a response and a status": (lambda: (Response("a"), 404), "of the Response itself"),
    "a status and a response": (lambda: (404, Response("a")), "of the Response itself"),
    "a status and an error": (
        lambda: (404, HTTPError(404), {}),
        "of the HTTPError itself",
    ),
    "headers as text": (
        lambda: (200, "x", "zzz"),
        r"headers must be a dict or \(name, value\) pairs, not 'zzz'",
    ),
    "a number for headers": (
        lambda: (200, "x", 5),
        r"headers must be a dict or \(name, value\) pairs, not 5",
    ),
    "headers as names": (lambda: (200, "x", ["X-One"]), "headers must be a dict or"),
    "a name among headers": (
        lambda: (200, "x", [("X-One", "1"), "X-Two"]),
        "headers must be a dict or",
    ),
    "a number among headers": (
        lambda: (200, "x", [("X-One", "1"), ("X-Two", 2)]),
        "header 'x-two' must be a str, not 2",
    ),
    "a value that JSON has not": (lambda: {"a": object()}, "object"),
    "a status as text": (
        lambda: HTTPError("404"),  # type: ignore[arg-type]
        r"HTTPError\(status, message\) takes a status from 400 to 599, not '404'",
    ),
    "a status as a float": (
        lambda: HTTPError(404.0),  # type: ignore[arg-type]
        r"HTTPError\(status, message\) takes a status from 400 to 599, not 404\.0",
    ),
    "a cookie that is a number": (
        lambda: Response().set_cookie("x", 3),  # type: ignore[arg-type]
        r"cookie 'x' must be a str, not 3: write str\(...\) for a number",
    ),
}


class Mistakes(App):
    def sync(self, name: str) -> Any:
        return MISTAKES[name][0]()

    async def asynchronous(self, name: str) -> Any:
        return MISTAKES[name][0]()


@pytest.mark.parametrize("handler", ["sync", "asynchronous"])
@pytest.mark.parametrize("name", MISTAKES)
def test_an_invalid_result_logs_a_message_that_names_the_handler(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, name: str, handler: str
) -> None:
    answer = make_client(Mistakes()).get(f"/{handler}", params={"name": name})
    assert (answer.status_code, answer.text) == (500, "500 Internal Server Error")
    assert f"GET '/{handler}' failed in {handler}" in caplog.text
    assert re.search(MISTAKES[name][1], caplog.text)


def test_debug_reports_handlers_that_return_nothing_or_only_a_status(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    class Root(App):
        def forgets(self):  # type: ignore[no-untyped-def]
            "no return"

        def missing(self) -> Any:
            return 404

        def count(self) -> Any:
            return 7

        def means_it(self) -> None:
            pass

        def may(self) -> str | None:
            return None

        def sets_it(self) -> Any:
            self.response.status = 204

        async def changed(self) -> Any:
            return 200, 7

    for debug in (True, False):
        client = make_client(Root(debug=debug))
        for name in ("forgets", "missing", "count", "means_it", "may", "sets_it", "changed"):
            assert client.get(f"/{name}").status_code in (200, 204)
    warned = [record.getMessage() for record in caplog.records if record.name == "micropie"]
    line = Root.forgets.__code__.co_firstlineno
    assert warned == [
        f"tests/http/test_response.py:{line}: forgets returned nothing, so the response is empty: return a value, "
        "or annotate the handler with -> None if the response should be empty",
        f"tests/http/test_response.py:{line + 3}: missing returned 404, sent as a JSON number with status 200: "
        "write raise HTTPError(404)",
        f"tests/http/test_response.py:{line + 18}: changed returned (200, 7), which is sent as a JSON list with "
        "status 200: if 200 should be the status, write Response(7, status=200)",
    ]


class States(App):
    @describe(status=202)
    def forgets(self) -> dict[str, int]:
        return {"a": 1}

    @describe(status=201)
    def made(self) -> Point | None:
        return Point(1, 2)

    @describe(status=204)
    def empty(self) -> None:
        pass

    @describe(status=202)
    def means_it(self) -> tuple[int, str]:
        return 202, "a"

    @describe(status=202)
    def sets_it(self) -> str:
        self.response.status = 202
        return "a"

    @describe(status=202)
    def makes_it(self) -> Response:
        return Response("a", status=202)

    @describe(status=303)
    def leads_on(self) -> Redirect:
        return Redirect("/means_it")

    @describe(status=200)
    def usual(self) -> str:
        return "a"


def test_debug_reports_handlers_whose_status_differs_from_the_declared_one(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    for debug in (True, False):
        client = make_client(States(debug=debug))
        for name in [name for name in vars(States) if not name.startswith("_")]:
            client.get(f"/{name}", follow_redirects=False)
    told = [message.partition(": ")[2] for message in caplog.messages if "returned" in message]
    assert told == [
        f"{name} returned {kind} without a status, so it is sent with 200, but "
        f'@describe declares {status}: write "return {status}, value"'
        for name, kind, status in (
            ("forgets", "dict", 202),
            ("made", "Point", 201),
            ("empty", "NoneType", 204),
        )
    ]


def test_a_response_is_the_same_byte_for_byte(connect: MakeClient) -> None:
    seen = set()
    for world in ("wsgi", "asyncio", "trio"):
        client = connect(Answers(), world)
        answers = [client.get("/sync", params={"name": name}) for name in ANSWERS]
        seen.add(
            tuple(
                (a.status_code, tuple(sorted(a.headers.multi_items())), a.content) for a in answers
            )
        )
    assert len(seen) == 1


# -- self.response ---------------------------------------------------------------------------------


class Drafts(App):
    def index(self) -> Any:
        self.response.status = 202
        self.response.headers["X-Own"] = "1"
        self.response.headers["x-own"] = "2"
        self.response.content_type = "text/x-own"
        self.response.set_cookie("a", "1")
        self.response.set_cookie("b", "2")
        return "x"

    def over(self) -> Any:
        self.response.status = 202
        self.response.headers["X-Own"] = "draft"
        self.response.headers.add("Set-Cookie", "a=1")
        return 203, "x", [("x-own", "returned"), ("Set-Cookie", "b=2")]

    def after_all(self) -> Any:
        self.response.status = 404
        return 200, "found after all"

    def fails(self) -> Any:
        self.response.status = 202
        self.response.headers["X-Own"] = "1"
        self.response.headers["Content-Type"] = "application/x-own"
        self.response.set_cookie("a", "1")
        raise HTTPError(410, "gone")

    def crashes(self) -> Any:
        self.response.headers["X-Own"] = "1"
        raise RuntimeError("secret")

    def moves(self) -> Any:
        self.response.set_cookie("flash", "saved")
        raise Redirect("/there")

    async def streams(self) -> AsyncIterator[str]:
        self.response.headers["X-Own"] = "1"
        yield "a"

    def forgets(self) -> Any:
        self.response.delete_cookie("a", path="/x", domain="example.org")
        return Response("x")


def test_status_headers_and_cookies_set_on_the_response_are_sent(make_client: MakeClient) -> None:
    answer = make_client(Drafts()).get("/")
    assert (answer.status_code, answer.text) == (202, "x")
    assert answer.headers["content-type"] == "text/x-own; charset=utf-8"
    assert answer.headers.get_list("x-own") == ["2"]
    cookies = [f"{pair}; Path=/; SameSite=Lax" for pair in ("a=1", "b=2")]
    assert answer.headers.get_list("set-cookie") == cookies


def test_a_returned_result_overrides_values_set_on_the_response(make_client: MakeClient) -> None:
    client = make_client(Drafts())
    assert client.get("/after_all").status_code == 200
    answer = client.get("/over")
    assert (answer.status_code, answer.headers.get_list("x-own")) == (203, ["returned"])
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]


def test_an_intended_error_keeps_headers_except_those_that_describe_the_body(
    make_client: MakeClient,
) -> None:
    answer = make_client(Drafts()).get("/fails")
    assert (answer.status_code, answer.text, answer.headers["content-type"]) == (410, "gone", TEXT)
    assert (answer.headers["x-own"], answer.cookies["a"]) == ("1", "1")


def test_a_crash_discards_headers_set_on_the_response(make_client: MakeClient) -> None:
    answer = make_client(Drafts()).get("/crashes")
    assert (answer.status_code, "x-own" in answer.headers) == (500, False)


def test_a_cookie_survives_a_redirect(make_client: MakeClient) -> None:
    answer = make_client(Drafts()).get("/moves")
    assert (answer.status_code, answer.headers["location"]) == (303, "/there")
    assert answer.headers["set-cookie"] == "flash=saved; Path=/; SameSite=Lax"


def test_headers_set_by_a_generator_before_its_first_chunk_are_sent(
    make_client: MakeClient,
) -> None:
    answer = make_client(Drafts()).get("/streams")
    assert (answer.headers.get("x-own"), answer.text) == ("1", "a")


def test_a_cookie_is_deleted_with_its_path_and_domain(make_client: MakeClient) -> None:
    assert make_client(Drafts()).get("/forgets").headers["set-cookie"] == (
        "a=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Domain=example.org; Path=/x; SameSite=Lax"
    )


def test_responses_and_headers_have_a_descriptive_repr() -> None:
    answer = Response("x", 404, {"A": "1"})
    assert repr(answer) == "<Response 404>"
    assert repr(answer.headers) == "MutableHeaders([('A', '1')])"


# -- R1, R2: what may not be in a header -----------------------------------------------------------

CONTROLS = [chr(code) for code in (*range(0x20), 0x7F)]


def bad_cookie(name: str = "n", value: str = "v", **attributes: Any) -> Response:
    answer = Response("x")
    answer.set_cookie(name, value, **attributes)
    return answer


# Where a control character could get into a head: each takes the bad text.
PLACES: dict[str, Callable[[str], Any]] = {
    "header name": lambda bad: (200, "x", {f"X{bad}Injected": "1"}),
    "header value": lambda bad: (200, "x", {"X-Value": f"a{bad}Injected: 1"}),
    "value of a Response": lambda bad: Response("x", headers=[("X-Value", f"a{bad}Injected: 1")]),
    "content type header": lambda bad: (200, "x", {"Content-Type": f"text/plain{bad}Injected: 1"}),
    "content type": lambda bad: Response("x", content_type=f"text/plain{bad}Injected: 1"),
    "cookie name": lambda bad: bad_cookie(name=f"n{bad}Injected: 1"),
    "cookie value": lambda bad: bad_cookie(value=f"v{bad}Injected: 1"),
    "cookie path": lambda bad: bad_cookie(path=f"/{bad}Injected: 1"),
    "cookie domain": lambda bad: bad_cookie(domain=f"example.org{bad}Injected: 1"),
    "raw Set-Cookie": lambda bad: (200, "x", {"Set-Cookie": f"a=1{bad}Injected: 1"}),
    "Location": lambda bad: (302, "", {"Location": f"/there{bad}Injected: 1"}),
    "HTTPError's header name": lambda bad: HTTPError(404, "no", [(f"X{bad}Injected", "1")]),
    "HTTPError's header value": lambda bad: HTTPError(
        404, "no", [("X-Value", f"a{bad}Injected: 1")]
    ),
    "stream's header": lambda bad: (200, chunks(), {"X-Value": f"a{bad}Injected: 1"}),
}
TAB_IS_FINE = {"header value", "value of a Response", "content type header", "content type"}
TAB_IS_FINE |= {"raw Set-Cookie", "HTTPError's header value", "stream's header"}


class Injecting(App):
    def index(self, place: str, bad: int) -> Any:
        return PLACES[place](chr(bad))

    def drafted(self, bad: int) -> Any:
        self.response.headers["X-Value"] = f"a{chr(bad)}Injected: 1"
        return "x"


def assert_plain_500(answer: Any) -> None:
    assert (answer.status_code, answer.text) == (500, "500 Internal Server Error")
    assert answer.headers["content-type"] == TEXT
    assert not [pair for pair in answer.headers.multi_items() if "njected" in " ".join(pair)]


@pytest.mark.parametrize(
    ("to", "allowed"),
    [("/there{}Injected: 1", False), ("http://e.vil/{}Injected: 1", True), ("x{}", False)],
)
def test_R1_a_redirect_to_text_with_a_control_character_gets_a_400(
    make_client: MakeClient, to: str, allowed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    class Root(App):
        def index(self, bad: int) -> Any:
            return Redirect(to.format(chr(bad)), allow_external=allowed)

    client = make_client(Root())
    for bad in CONTROLS:
        caplog.clear()
        answer = client.get("/", params={"bad": ord(bad)})
        assert answer.status_code == 400
        assert answer.text == "This redirect has a control character."
        assert "location" not in answer.headers
        assert [one.levelname for one in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("place", PLACES)
def test_R1_control_characters_in_headers_get_a_500_and_a_log_line(
    make_client: MakeClient, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(Injecting())
    for bad in CONTROLS:
        if bad == "\t" and place in TAB_IS_FINE:
            continue
        caplog.clear()
        assert_plain_500(client.get("/", params={"place": place, "bad": ord(bad)}))
        assert len(caplog.records) == 1, repr(bad)


def test_R1_control_characters_in_a_header_set_on_the_response_get_a_500(
    make_client: MakeClient,
) -> None:
    client = make_client(Injecting())
    for bad in CONTROLS:
        if bad != "\t":
            assert_plain_500(client.get("/drafted", params={"bad": ord(bad)}))


@pytest.mark.parametrize("when", ["before_request", "after_request"])
def test_R1_control_characters_in_a_hook_s_header_get_a_500(
    make_client: MakeClient, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Hook(HttpMiddleware):
        pass

    headers = [("X-Value", "a\r\nInjected: 1")]
    setattr(Hook, when, lambda self, *_: {"headers": headers})
    app = Injecting()
    app.middlewares.append(Hook())
    assert_plain_500(make_client(app).get("/nowhere"))
    assert caplog.records


def test_R1_an_error_s_body_may_have_line_ends(make_client: MakeClient) -> None:
    answer = make_client(answering(lambda: HTTPError(400, "one\r\ntwo"))).get("/")
    assert (answer.status_code, answer.content) == (400, b"one\r\ntwo")


class Shouted(str):
    """Text of a subclass, which some servers refuse in a header."""

    __slots__ = ()

    def strip(self, chars: str | None = None, /) -> str:
        return Shouted(super().strip(chars))


NAMES = st.sampled_from(["X-Value", "x-one", "Set-Cookie", "Location", NOSNIFF, "Connection"])
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(
        ["a", " a b\t", "caf\xe9", "\xa0x", "a\tb", "€", "a\n", "\x7f", "", 5, b"a", None]
    ),
    st.text(max_size=3),
    st.text(alphabet="a \xe9", max_size=3).map(Shouted),
)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=4))
def test_R2_a_header_is_checked_alike_alone_and_beside_others(pairs: list[tuple[str, Any]]) -> None:
    def checked(some: list[tuple[str, Any]]) -> Any:
        try:
            headers, _, _ = checked_headers(some)
        except ResponseError as error:
            return str(error)
        assert all(type(value) is str for _, value in headers)
        return headers

    alone = [checked([pair]) for pair in pairs]
    errors = [one for one in alone if isinstance(one, str)]
    together = checked(pairs)
    assert together in errors if errors else together == [pair for one in alone for pair in one]


@pytest.mark.parametrize("value", ["€", "\u0100", "\ud800", "日本"])
def test_R2_a_header_that_is_not_latin_1_gets_a_500(
    make_client: MakeClient, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = answering(lambda: (200, "x", {"X-Value": value}))
    assert_plain_500(make_client(app).get("/"))
    assert "X-Value".lower() in caplog.text.lower()


def test_R2_a_latin_1_header_is_sent(make_client: MakeClient) -> None:
    client = make_client(answering(lambda: (200, "x", {"X-Value": "caf\xe9 \xff"})))
    pairs = {name.lower(): value for name, value in client.get("/").headers.raw}
    assert pairs[b"x-value"] == b"caf\xe9 \xff"


def test_spaces_around_a_header_value_are_stripped(make_client: MakeClient) -> None:
    """h11 refuses the whole answer for one, which beaker's Set-Cookie has."""

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        start_response(
            "200 OK",
            [("Set-Cookie", " a=1"), ("X-Value", " \tx y\t "), ("Content-Type", " text/x ")],
        )
        return [b"x"]

    class Root(App):
        def index(self) -> Any:
            self.response.headers["Set-Cookie"] = " a=1"
            return 200, b"x", {"X-Value": " \tx y\t ", "Content-Type": " text/x "}

    root = Root()
    root.mount("/old", wsgi)
    client = make_client(root)
    for path in ("/", "/old"):
        pairs = {name.lower(): value for name, value in client.get(path).headers.raw}
        assert (pairs[b"set-cookie"], pairs[b"x-value"]) == (b"a=1", b"x y")
        assert pairs[b"content-type"] == b"text/x"


NO_TEXT: list[Any] = [None, 5, b"x", ["x"], 1.5]


@pytest.mark.parametrize(
    ("make", "values"),
    [
        (lambda value: (200, "x", {"X-Value": value}), NO_TEXT),
        (lambda name: (200, "x", [(name, "x")]), NO_TEXT),
        (lambda headers: (200, "x", headers), [5, ["x"], [("a", "b", "c")], "ab"]),
        (lambda status: Response("x", status), [0, 99, 100, 101, 199, 600, "200", None, 200.0]),
        (lambda body: body, [object(), {"a": object()}, float("nan"), "\ud800", str, ["\ud800"]]),
    ],
    ids=["a header's value", "a header's name", "headers", "a status", "a body"],
)
def test_an_impossible_response_gets_a_500(
    make_client: MakeClient, make: Callable[[Any], Any], values: list[Any]
) -> None:
    results = iter(values)
    client = make_client(answering(lambda: make(next(results))))
    for _ in values:
        assert_plain_500(client.get("/"))
    assert [*results] == []


@pytest.mark.parametrize("name", ["Connection", "Transfer-Encoding", "keep-alive", "Upgrade"])
def test_headers_that_belong_to_the_server_are_dropped_with_a_warning(
    make_client: MakeClient, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    warn_once.cache_clear()
    client = make_client(answering(lambda: (200, "x", {name: "close"})))
    for _ in range(3):
        answer = client.get("/")
        assert (answer.status_code, name.lower() in answer.headers) == (200, False)
    assert caplog.text.count(name) == 1


def test_header_names_are_sent_in_the_usual_capitalisation(connect: MakeClient) -> None:
    """Some clients of HTTP/1.1 compare them with their case. ASGI wants them in lower case."""

    class Root(App):
        def index(self) -> Any:
            self.response.set_cookie("a", "1")
            return 200, "x", {"x-value": "1", "ETAG": '"1"', "WWW-Authenticate": "Basic"}

    names = [name for name, _ in connect(Root(), "wsgi").get("/").headers.raw]
    assert b" ".join(sorted(names)) == (
        b"Content-Length Content-Type ETag Set-Cookie WWW-Authenticate X-Content-Type-Options X-Value"
    )


# -- R9, R10: lengths ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize(
    "body", [lambda: "x", lambda: {"a": 1}, chunks, chunks_async, lambda: io.BytesIO(b"x")]
)
@pytest.mark.parametrize("status", [204, 304])
def test_R9_a_204_has_neither_a_body_nor_headers_about_it(
    make_client: MakeClient, status: int, body: Callable[[], Any], method: str
) -> None:
    headers = {"Content-Type": "text/plain", "Content-Length": "1", "ETag": '"v"'}
    client = make_client(answering(lambda: (status, body(), headers)))
    answer = client.request(method, "/")
    assert (answer.status_code, answer.content) == (status, b"")
    assert answer.headers.multi_items() == [("etag", '"v"')]


@pytest.mark.parametrize("length", ["1", "100", "-1", "x", "\u0663", "9" * 5000])
def test_R10_the_length_of_a_fixed_body_is_computed_whatever_the_author_sets(
    make_client: MakeClient, length: str
) -> None:
    app = answering(lambda: (200, "four", {"Content-Length": length}))
    answer = make_client(app).get("/")
    if length.isascii() and len(length) < 20:
        assert (answer.status_code, answer.headers.get_list("content-length")) == (200, ["4"])
    else:
        assert answer.headers.get_list("content-length") == [str(len(answer.content))]


@pytest.mark.parametrize(
    ("body", "length"),
    [("", "12345"), (None, "12345"), (b"four", "4"), ({"a": 1}, "7"), (lambda: chunks(), "12345")],
)
def test_R10_a_handler_for_head_announces_the_length_of_a_body_that_it_does_not_make(
    make_client: MakeClient, body: Any, length: str
) -> None:
    app = App()

    @app.route("/", methods=["HEAD"])
    def head() -> Any:
        return 200, body() if callable(body) else body, {"Content-Length": "12345"}

    answer = make_client(app).head("/")
    assert answer.headers.get_list("content-length") == [length]


def test_R10_a_hook_that_changes_the_body_changes_its_length(make_client: MakeClient) -> None:
    class Doubles(HttpMiddleware):
        def after_request(self, request: Any, status: int, body: Any, headers: Any) -> Any:
            return {"body": body * 2}

    app = answering(lambda: (200, "four", {"Content-Length": "4"}))
    app.middlewares.append(Doubles())
    answer = make_client(app).get("/")
    assert (answer.text, answer.headers["content-length"]) == ("fourfour", "8")


def test_the_author_may_set_a_stream_s_length(make_client: MakeClient) -> None:
    class Root(App):
        def index(self) -> Any:
            return 200, chunks(), {"Content-Length": "2"}

        def twice(self) -> Any:
            return 200, iter([]), [("Content-Length", "0"), ("content-length", "0")]

    client = make_client(Root())
    assert client.get("/").headers["content-length"] == "2"
    assert client.get("/twice").headers.get_list("content-length") == ["0"]


@pytest.mark.parametrize(("first", "second"), [("2", "5"), ("5", "2"), ("2", "x"), ("x", "2")])
def test_R6_two_different_content_lengths_raise_an_error(
    make_client: MakeClient, first: str, second: str
) -> None:
    headers = [("Content-Length", first), ("content-length", second)]
    client = make_client(answering(lambda: (200, chunks(), headers)), raise_app_exceptions=False)
    assert client.get("/").status_code == 500


@pytest.mark.parametrize("length", ["x", "-1", "1_0", "+5", " 5x", "9" * 5000])
def test_R6_an_invalid_content_length_is_not_sent(make_client: MakeClient, length: str) -> None:
    app = answering(lambda: (200, chunks(), {"Content-Length": length}))
    assert length not in make_client(app).get("/").headers.get("content-length", "")


# -- R16: redirects --------------------------------------------------------------------------------


@pytest.mark.parametrize("location", [None, b"/there", Path("/there")])
def test_a_redirect_takes_text_only(location: Any) -> None:
    with pytest.raises(TypeError, match=r"Redirect takes a str, not .*: write str\(...\)"):
        Redirect(location)


class Redirecting(App):
    def index(self, to: str, status: int = 303) -> Any:
        return Redirect(to, status)

    def raised(self, to: str) -> Any:
        raise Redirect(to)

    async def external(self, to: str) -> Any:
        return self._redirect(to, 308, allow_external=True)


LEAVES = [
    "//evil.com", "///evil.com", "/\\evil.com", "\\\\evil.com", "\\/evil.com", "\t//evil.com",
    "/\t/evil.com", " //evil.com", "\x00//evil.com", "http://evil.com/", "HTTP://EVIL.COM",
    "https:evil.com", "https:/evil.com", "http:/evil.com", "http:evil.com", "https:\\evil.com",
    "http:///evil.com", "http://testserver@evil.com/", "http://testserver:80@evil.com/",
    "http://testserver.evil.com/", "http://testserver\\@evil.com/", "//testserver\\@evil.com/",
    "http://evil.com#testserver", "http://evil.com?testserver", "http://[::1",
    "javascript:alert(1)", "java\nscript:alert(1)", "data:text/html,x", "ftp://testserver/",
    "mailto:a@b",
    f"{'x' * 3000}://evil.com/",  # no browser knows it, but others may
    f"{'x' * 3000}:evil",
]  # fmt: skip


@pytest.mark.parametrize(("to", "path"), sampled(LEAVES, ["/", "/raised"]))
def test_R16_a_redirect_to_another_host_is_refused(
    make_client: MakeClient, to: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = make_client(Redirecting()).get(path, params={"to": to})
    assert (answer.status_code, "location" in answer.headers) == (400, False)
    # A NUL does not get through the query at all.
    assert "\0" in to or "write Redirect(location, allow_external=True)" in caplog.text


@pytest.mark.parametrize("key", [400, HTTPError, Exception])
@pytest.mark.parametrize("path", ["/", "/raised"])
def test_R16_an_error_page_can_handle_a_refused_redirect(
    make_client: MakeClient, key: Any, path: str
) -> None:
    app = Redirecting()
    app.error(key)(lambda error: f"own page: {error}")
    answer = make_client(app).get(path, params={"to": "https://evil.com"})
    assert answer.status_code == 400
    assert answer.text == "own page: This redirect would leave this site."


@pytest.mark.parametrize("host", ["testserver", "testserver:8080", "TestServer"])
@pytest.mark.parametrize(
    ("to", "location"),
    [
        ("/there", "/there"),
        ("there", "there"),
        ("../up", "../up"),
        ("?page=2", "?page=2"),
        ("#part", "#part"),
        ("/a?next=http://evil.com/", "/a?next=http://evil.com/"),
        ("/a//b", "/a//b"),
        ("/a:b", "/a:b"),
        (f"{'a' * 3000}/b:c", f"{'a' * 3000}/b:c"),
        (f"{'a' * 3000}?b:c", f"{'a' * 3000}?b:c"),
        ("/é?q=€", "/%C3%A9?q=%E2%82%AC"),
        ("/a%20b", "/a%20b"),
        ("/a b", "/a%20b"),
        ('/a"<b>', "/a%22%3Cb%3E"),
        ("/a\\b", "/a%5Cb"),
    ],
)
def test_R16_a_redirect_within_the_site_has_status_303(
    make_client: MakeClient, to: str, location: str, host: str
) -> None:
    answer = make_client(Redirecting()).get("/", params={"to": to}, headers={"Host": host})
    assert (answer.status_code, answer.headers["location"]) == (303, location)
    assert answer.headers["content-length"] == "0"


@pytest.mark.parametrize("to", ["http://{}/x", "https://{}/x", "//{}/x", "HTTP://{}"])
def test_R16_a_redirect_may_contain_the_request_s_host(make_client: MakeClient, to: str) -> None:
    client = make_client(Redirecting())
    for host in ("testserver", "testserver:8080"):
        answer = client.get("/", params={"to": to.format(host)}, headers={"Host": host})
        assert (answer.status_code, answer.headers["location"]) == (303, to.format(host))


@pytest.mark.parametrize(
    ("base", "host", "to", "status"),
    [
        ("https", "shop.test:443", "https://shop.test/x", 303),
        ("https", "shop.test:443", "//shop.test/x", 303),
        ("https", "shop.test", "https://shop.test:443/x", 303),
        ("https", "[::1]:443", "https://[::1]/x", 303),
        ("http", "shop.test:80", "http://shop.test/x", 303),
        ("http", "shop.test:80", "https://shop.test/x", 303),
        ("http", "shop.test:80", "https://shop.test:80/x", 303),
        ("http", "shop.test:443", "http://shop.test/x", 400),
        ("https", "shop.test:443", "https://shop.test:80/x", 400),
        ("https", "shop.test:443", "https://shop.test@evil.com/x", 400),
        ("https", "shop.test:443", "https://shop.test:443@evil.com/x", 400),
        ("https", "shop.test:443", "https://evil.com:443/x", 400),
        ("https", "shop.test:443", "https:///x", 400),
        ("https", "shop.test:443", "https://:443/x", 400),
    ],
)
def test_R16_the_default_port_of_the_scheme_does_not_matter(
    make_client: MakeClient, base: str, host: str, to: str, status: int
) -> None:
    """nginx sends it with ``proxy_set_header Host $host:$server_port``, browsers never do."""
    client = make_client(Redirecting(), base_url=f"{base}://testserver")
    answer = client.get("/", params={"to": to}, headers={"Host": host})
    assert answer.status_code == status
    assert answer.headers.get("location") == (to if status == 303 else None)


@pytest.mark.parametrize("host", ["", "no host"])
@pytest.mark.parametrize("to", ["https:///x", "https://name@shop.test/", "//shop test/"])
def test_R16_two_malformed_hosts_are_not_the_same(host: str, to: str) -> None:
    site: Any = SimpleNamespace(scheme="https", host=host)
    with pytest.raises(HTTPError, match="would leave this site"):
        redirect_response(Redirect(to), site)


@pytest.mark.parametrize("to", ["", "  ", "\t\n"])
@pytest.mark.parametrize("allow", [False, True])
def test_a_redirect_without_a_location_gets_a_400(
    make_client: MakeClient, to: str, allow: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Browsers show an empty page for it. The text may come from ``?next=``."""

    class Root(App):
        def index(self, to: str) -> Any:
            return Redirect(to, allow_external=allow)

    answer = make_client(Root()).get("/", params={"to": to})
    assert (answer.status_code, answer.text) == (400, "This redirect has no location.")
    assert f"refused a redirect to {to!r}, which has no location" in caplog.text


@pytest.mark.parametrize("to", ["http://testserver/x", "HTTP://testserver", "ht\ttp://testserver/"])
def test_R16_a_redirect_from_https_to_http_needs_an_option(
    make_client: MakeClient, to: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Root(App):
        def index(self, to: str, allow: bool = False) -> Any:
            return self._redirect(to, allow_http=allow)

    client = make_client(Root(), base_url="https://testserver", raise_app_exceptions=False)
    answer = client.get("/", params={"to": to})
    assert answer.status_code == 400
    assert answer.text == "This redirect would go from https to plain http."
    assert "; to allow it, write Redirect(location, allow_http=True)" in caplog.text
    if "\t" not in to:  # a control is refused in any case
        allowed = client.get("/", params={"to": to, "allow": "yes"})
        assert (allowed.status_code, allowed.headers["location"]) == (303, to)
    for fine in ("https://testserver/x", "//testserver/x", "/x"):
        assert client.get("/", params={"to": fine}).headers["location"] == fine


def test_R16_a_redirect_to_another_host_needs_an_option(make_client: MakeClient) -> None:
    answer = make_client(Redirecting()).get("/external", params={"to": "https://example.org/é"})
    assert (answer.status_code, answer.headers["location"]) == (308, "https://example.org/%C3%A9")


def test_R16_a_path_that_begins_with_two_slashes_never_becomes_a_location(
    make_client: MakeClient,
) -> None:
    class Root(App):
        def default(self, *segments: str) -> Any:
            return Redirect(self.request.path)

    answer = make_client(Root(), validate=False).get("/", extensions={"target": b"//evil.com"})
    assert not answer.headers.get("location", "").startswith("//")


def test_R14_an_invalid_host_and_a_redirect_by_route_name_get_a_400(
    make_client: MakeClient,
) -> None:
    client = make_client(Redirecting())
    answer = client.get("/", params={"to": "http://testserver/x"}, headers={"Host": "a@b"})
    assert (answer.status_code, "location" in answer.headers) == (400, False)


def test_an_invalid_host_does_not_affect_a_redirect_to_a_path(make_client: MakeClient) -> None:
    answer = make_client(Redirecting()).get(
        "/", params={"to": "/a?next=http://x/"}, headers={"Host": "a@b"}
    )
    assert (answer.status_code, answer.headers.get("location")) == (303, "/a?next=http://x/")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_may_have_another_redirect_status(make_client: MakeClient, status: int) -> None:
    answer = make_client(Redirecting()).get("/", params={"to": "/there", "status": status})
    assert answer.status_code == status


@pytest.mark.parametrize("status", [200, 300, 304, 404, None])
def test_a_redirect_with_an_invalid_status_is_refused(status: Any) -> None:
    with pytest.raises(ValueError, match="301, 302, 303, 307 or 308"):
        Redirect("/", status)


@pytest.mark.parametrize("status", [200, 399, 600, 0, -1])
def test_an_error_with_an_invalid_status_is_refused(status: int) -> None:
    with pytest.raises(ValueError, match="400 to 599"):
        HTTPError(status)


# -- R17: nothing is shared between answers --------------------------------------------------------


class Appends(HttpMiddleware):
    def after_request(self, request: Any, status: int, body: Any, headers: Any) -> None:
        headers.append(("X-Seen", "1"))


SHARED = {
    "response": Response("shared", 200, {"X-Own": "1"}),
    "headers": (200, "shared", [("X-Own", "1")]),
    "error": HTTPError(404, "shared", [("X-Own", "1")]),
}


@pytest.mark.parametrize("kind", SHARED)
def test_R17_a_response_object_returned_often_does_not_grow(
    make_client: MakeClient, kind: str
) -> None:
    app = answering(lambda: SHARED[kind])
    app.middlewares.append(Appends())
    client = make_client(app)
    answers = [client.get("/") for _ in range(3)]
    assert [answer.headers.get_list("x-seen") for answer in answers] == [["1"]] * 3


def test_R17_a_shared_response_never_sends_another_client_s_session_cookie(
    make_client: MakeClient,
) -> None:
    shared = Response("shared")

    class Root(App):
        def login(self) -> Any:
            self.request.session["user"] = 1
            return shared

        def index(self) -> Any:
            return shared

    app = Root()
    client = make_client(app)
    assert "set-cookie" in client.get("/login").headers
    client.cookies.clear()
    assert "set-cookie" not in client.get("/").headers


def test_R17_a_hook_that_replaces_a_shared_response_does_not_change_it(
    make_client: MakeClient,
) -> None:
    shared = Response("shared")

    class Once(HttpMiddleware):
        def after_request(self, request: Any, status: int, body: Any, headers: Any) -> Any:
            return {"body": "mine", "status_code": 404} if request.query("mine") else None

    app = answering(lambda: shared)
    app.middlewares.append(Once())
    client = make_client(app)
    assert client.get("/?mine=1").text == "mine"
    assert (client.get("/").status_code, client.get("/").text) == (200, "shared")


def test_R17_a_wrapper_of_the_application_may_append_headers(make_client: MakeClient) -> None:
    app = answering(lambda: "x")
    app.get("/fails")(lambda: HTTPError(404))
    client = make_client(wrapped(app), lifespan=False)
    for path in ("/", "/fails", "/nowhere"):
        answers = [client.get(path) for _ in range(2)]
        assert [answer.headers.get_list("x-outer") for answer in answers] == [["1"], ["1"]]


def wrapped(app: App) -> Any:
    """An outer middleware of either protocol that appends to the very list it is given."""

    def wrapper(*args: Any) -> Any:
        if len(args) == 2:
            environ, start_response = args
            return app(
                environ,
                lambda status, headers, *more: start_response(status, appended(headers), *more),
            )
        scope, receive, send = args

        async def appending(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"x-outer", b"1"))
            await send(message)

        return app(scope, receive, appending)

    def appended(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        headers.append(("x-outer", "1"))
        return headers

    return wrapper


# -- files -----------------------------------------------------------------------------------------


class Files(App):
    opened: list[Any]

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.opened = path, []

    def index(self, status: int = 200, header: str = "fine") -> Any:
        self.opened.append(self.path.open("rb"))
        return status, self.opened[-1], {"X-Header": header}


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 150_000)
    app = Files(path)
    yield app
    for file in app.opened:
        file.close()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("query", ["", "?status=204", "?header=%E2%82%AC", "?status=100"])
def test_a_file_is_always_closed(
    make_client: MakeClient, files: Files, query: str, method: str
) -> None:
    answer = make_client(files).request(method, f"/{query}")
    assert [file.closed for file in files.opened] == [True]
    found = len(answer.content)
    assert found == (150_000 if not query and method == "GET" else len(answer.content))


def test_a_file_replaced_by_a_hook_is_closed(make_client: MakeClient, files: Files) -> None:
    class Replaces(HttpMiddleware):
        def after_request(self, request: Any, status: int, body: Any, headers: Any) -> Any:
            return {"body": "other"}

    files.middlewares.append(Replaces())
    assert make_client(files).get("/").text == "other"
    assert [file.closed for file in files.opened] == [True]


@pytest.mark.parametrize("size", [10, 900_000])
def test_the_file_of_a_hook_is_open_when_outer_hooks_run(
    make_client: MakeClient, files: Files, tmp_path: Path, size: int
) -> None:
    (tmp_path / "other").write_bytes(b"o" * size)
    seen: list[Any] = []
    kept: list[Any] = []

    def sees(request: Request) -> Generator[object, Any, None]:
        response = yield None
        seen.append((response.status, response.headers["Etag"]))
        kept.append(response.body)  # so that the garbage collector doesn't close it
        if "replace" in request.query:
            yield "replaced"

    def sends_a_file(_: Request) -> Iterator[object]:
        yield None
        yield static_file("other", root=tmp_path)

    files.middlewares += [sees, sends_a_file]
    client = make_client(files)
    answer = client.get("/")
    assert (answer.status_code, answer.content) == (200, b"o" * size)
    etag = answer.headers["etag"]
    assert client.get("/", headers={"If-None-Match": etag}).status_code == 304
    assert client.get("/?replace=1").text == "replaced"
    assert client.get("/?replace=1", headers={"If-None-Match": etag}).text == "replaced"
    assert seen == [(200, etag), (304, etag)] * 2
    assert [file.closed for file in files.opened] == [True] * 4
    assert not open_files(tmp_path)


@pytest.mark.parametrize("size", [10, 900_000])
def test_a_hook_may_change_a_body_to_a_file(
    make_client: MakeClient, tmp_path: Path, size: int
) -> None:
    (tmp_path / "other.txt").write_bytes(b"o" * size)
    seen: list[Any] = []

    class Sees(FlowMiddleware):
        def after(self, request: Request, response: Response) -> None:
            seen.append(response.headers.get("ETag"))

    class SendsAFile(FlowMiddleware):
        def after(self, request: Request, response: Response) -> None:
            response.body = static_file("other.txt", root=tmp_path).body

    app = App()
    app.middlewares += [Sees(), SendsAFile()]
    app.get("/text")(lambda: "text")
    app.get("/stream")(lambda: iter("stream"))
    client = make_client(app)
    for path, status in [("/text", 200), ("/stream", 200), ("/missing", 404)]:
        answer = client.get(path)
        assert (answer.status_code, answer.content) == (status, b"o" * size)
        assert answer.headers.get("etag") == seen.pop()
    assert "etag" in client.get("/text").headers
    assert not open_files(tmp_path)


# -- what browsers make of an answer ---------------------------------------------------------------


def test_R41_errors_redirects_and_sessions_also_send_nosniff(make_client: MakeClient) -> None:
    class Root(App):
        def crashes(self) -> Any:
            raise RuntimeError

        def moves(self) -> Any:
            return self._redirect("/there")

        def session(self) -> Any:
            self.request.session["a"] = self.request.session.get("a", 0) + 1
            return "x"

        def reads(self) -> Any:
            return str(self.request.session["a"])

    client = make_client(Root(), raise_app_exceptions=False)
    for path in ("/nowhere", "/crashes", "/moves", "/%ff", "/session", "/session", "/reads"):
        assert client.get(path).headers.get_list(NOSNIFF) == ["nosniff"], path


def test_R41_an_author_s_nosniff_value_is_sent(make_client: MakeClient) -> None:
    app = answering(lambda: (200, "x", {"X-Content-Type-Options": "none", "X-Other": "1"}))
    assert make_client(app).get("/").headers.get_list(NOSNIFF) == ["none"]


@pytest.mark.parametrize("name", ANSWERS)
def test_the_content_type_of_text_is_a_setting(make_client: MakeClient, name: str) -> None:
    """``test_results_of_every_kind_become_responses`` shows the default, which is ``App(text="html")``."""
    expected = ANSWERS[name][2]
    answer = make_client(Answers(text="plain")).get("/sync", params={"name": name})
    assert answer.headers["content-type"] == (TEXT if expected == HTML else expected)


def test_an_inner_application_may_have_another_content_type_for_text(
    make_client: MakeClient,
) -> None:
    class Outer(App):
        api = Answers(text="plain")

        def index(self) -> str:
            return "x"

    client = make_client(Outer())
    types = [
        client.get(path).headers["content-type"]
        for path in ("/", "/api/sync?name=text", "/api/nowhere")
    ]
    assert types == [HTML, TEXT, TEXT]


# -- charsets --------------------------------------------------------------------------------------


class Typed(App):
    """A content type that is set by each way."""

    def __init__(self, content_type: str, text: Any, *, compressed: bool) -> None:
        super().__init__()
        self.content_type, self.text = content_type, text
        if compressed:
            self.middlewares.append(Compress(minimum=0))

    def index(self) -> Any:
        return Response(self.text, content_type=self.content_type)

    def header(self) -> Any:
        return 200, self.text, {"content-TYPE": self.content_type}

    def pending(self) -> Any:
        self.response.content_type = self.content_type
        return self.text

    def pending_header(self) -> Any:
        self.response.headers["Content-Type"] = self.content_type
        return self.text

    def of_bytes(self) -> Any:
        return Response(self.text.encode(), content_type=self.content_type)


TYPED = ("/", "/header", "/pending", "/pending_header")


@pytest.mark.parametrize(
    ("content_type", "text", "body"),
    [
        ("text/plain; charset=iso-8859-1", "é", b"\xe9"),
        ('text/plain; charset="ISO-8859-1"', "é", b"\xe9"),
        ("text/plain;format=flowed;Charset=windows-1252", "€", b"\x80"),
        ("text/plain; charset=utf-16-le", "ab", b"a\0b\0"),
        ("text/plain; charset=cp874", "ก", b"\xa1"),
        ("text/plain; charset=UTF-8", "é", b"\xc3\xa9"),
        ("text/plain; charset=utf8", "é", b"\xc3\xa9"),
        ("application/xml", "é", b"\xc3\xa9"),
        ("text/plain", b"\xc3\xa9", b"\xc3\xa9"),
        ("text/plain; charset=", "é", b"\xc3\xa9"),
        ("text/plain; charset=iso-8859-1", b"\xc3\xa9", b"\xc3\xa9"),
        ("text/plain; charset=nonsense", b"\xc3\xa9", b"\xc3\xa9"),
        ("application/json; charset=iso-8859-1", ["é"], '["é"]'.encode()),
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_text_is_encoded_in_its_declared_charset(
    make_client: MakeClient, content_type: str, text: Any, body: bytes, compressed: bool
) -> None:
    client = make_client(Typed(content_type, text, compressed=compressed))
    for path in TYPED:
        answer = client.get(path)
        assert (answer.content, answer.headers["content-type"]) == (body, content_type)


@pytest.mark.parametrize(
    ("content_type", "sent"),
    [
        ("text/plain", "text/plain; charset=utf-8"),
        ("text/csv; header=present", "text/csv; header=present; charset=utf-8"),
        ("Text/HTML", "Text/HTML; charset=utf-8"),
        ("text/x-charset=latin-1", "text/x-charset=latin-1; charset=utf-8"),
        ("text/html;CHARSET=UTF-8", "text/html;CHARSET=UTF-8"),
        ("image/svg+xml", "image/svg+xml"),
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_text_content_types_get_a_charset(
    make_client: MakeClient, content_type: str, sent: str, compressed: bool
) -> None:
    client = make_client(Typed(content_type, "é", compressed=compressed))
    for path in TYPED:
        for answer in (client.get(path), client.head(path)):
            assert answer.headers["content-type"] == sent
        assert client.get(path).content == "é".encode()
    assert client.get("/of_bytes").headers["content-type"] == content_type


@pytest.mark.parametrize(
    ("charset", "reason"),
    [
        ("iso-8859-1", "can't encode"),
        ("nonsense", "unknown"),
        ("punycode", "unknown"),
        ("rot13", "not a text encoding"),
    ],
)
def test_text_that_its_charset_cannot_encode_raises_an_error(
    make_client: MakeClient, charset: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = answering(lambda: Response("€", content_type=f"text/plain; charset={charset}"))
    assert make_client(app, raise_app_exceptions=False).get("/").status_code == 500
    assert reason in caplog.text


def test_a_stream_s_text_is_utf_8_and_its_bytes_are_unchanged(make_client: MakeClient) -> None:
    class Root(App):
        def index(self, kind: str) -> Any:
            pieces: list[Any] = ["é"] if kind == "text" else ["é".encode("latin-1")]
            return Response(iter(pieces), content_type="text/plain; charset=latin-1")

    client = make_client(Root())
    assert [client.get(f"/{kind}").content for kind in ("text", "bytes")] == [b"\xc3\xa9", b"\xe9"]
    types = [client.get(f"/{kind}").headers["content-type"] for kind in ("text", "bytes")]
    assert types == ["text/plain; charset=utf-8", "text/plain; charset=latin-1"]


def test_a_header_name_may_be_longer_than_cached_ones(make_client: MakeClient) -> None:
    name = "x-" + "n" * LONGEST_KEPT

    app = answering(lambda: (200, "long", {name: "1"}))
    assert make_client(app).get("/").headers[name] == "1"


def test_a_response_with_headers_of_the_framework_can_be_copied_and_pickled() -> None:
    answer = Response("x", headers=[PRIVATE, ("X-Own", "1")])
    for copied in (deepcopy(answer), pickle.loads(pickle.dumps(answer))):
        assert copied.headers.items() == [("cache-control", "private"), ("X-Own", "1")]
