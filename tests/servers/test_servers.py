"""The same application gives the same answers under every server.

One table of requests, of which each server is one test. All servers are asked those that depend on
the server's translation of targets, heads, bodies, streams and statuses; one server of each world
is asked those that only the framework decides.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple

import pytest

from tests.servers.basics import PAGE
from tests.servers.harness import (
    ANSWER_WITHIN,
    BOTH_VERSIONS,
    HTTP2,
    KINDS,
    REFUSE_HTTP_1_0,
    Answer,
    Server,
)
from tests.support.left_out import LEFT_OUT

HTML = "text/html; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
BYTES = "application/octet-stream"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

BasicsOn = Callable[[str], Server]


@pytest.fixture(params=[*KINDS])
def name(request: pytest.FixtureRequest) -> str:
    """The name of each server."""
    chosen: str = request.param
    return chosen


over_both_versions = pytest.mark.parametrize("name", BOTH_VERSIONS)

ONE_OF_EACH_WORLD = ["uvicorn", "hypercorn-trio", "gunicorn-gthread"]


class Case(NamedTuple):
    """A request and its answer."""

    target: str
    status: int
    content_type: str | None
    body: bytes
    method: str = "GET"
    headers: dict[str, str] = {}  # noqa: RUF012 - it is never written to
    sent: bytes = b""
    answer_headers: dict[str, str] = {}  # noqa: RUF012
    streamed: bool = False


MULTIPART = (
    b'--B\r\nContent-Disposition: form-data; name="note"\r\n\r\nh\xc3\xa9\r\n'
    b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\n'
    b"1\r\n2\r\n--B--\r\n"
)
MULTIPART_TYPE = {"Content-Type": "multipart/form-data; boundary=B"}
JSON_TYPE = {"Content-Type": "application/json"}
ALLOWED = "GET, HEAD, OPTIONS, POST"
ORDER = b'{"ordered":{"item":"pie","pieces":2,"colour":"red"},"price":6}'
NOT_FOUND = b"<p>404 Not Found: nothing is here. Back to <a href='/'>the tour</a>."
NOT_ALLOWED = b"This resource supports GET, HEAD, OPTIONS, POST only."

CASES = {
    # Names and binding.
    "index": Case("/", 200, HTML, PAGE.encode()),
    "greet": Case("/greet", 200, HTML, b"Hello, World!"),
    "path and query": Case("/greet/Alice?age=3", 200, HTML, b"Hello, Alice, 4 next year!"),
    "end slash": Case("/greet/Alice/", 200, HTML, b"Hello, Alice!"),
    "percent-encoded": Case("/greet/J%C3%BCrgen%20%3C", 200, HTML, "Hello, Jürgen &lt;!".encode()),
    "percent-encoded query": Case("/greet?name=%C3%A9+%26", 200, HTML, "Hello, é &amp;!".encode()),
    "rest of the path": Case("/add/1/2.5", 200, HTML, b"3.5"),
    "repeated": Case("/total?numbers=1&numbers=2", 200, JSON, b'{"total":3}'),
    "wrong type": Case("/greet?age=x", 400, TEXT, b"age: Please enter a whole number."),
    "missing": Case("/sign", 400, TEXT, b"name: Please fill in this field.", "POST", FORM, b"message=hi"),
    "surplus segment": Case("/json/x", 404, HTML, NOT_FOUND),
    "inner application": Case("/blog/posts/1", 200, HTML, b"<h1>Second thoughts</h1>"),
    "inner default": Case("/blog/some/where", 200, HTML, b"The blog has nothing at some/where."),
    "404": Case("/nowhere", 404, HTML, NOT_FOUND),
    "dots": Case("/greet/../crash", 404, HTML, NOT_FOUND),
    "not UTF-8 (R11)": Case("/greet/%ff", 400, TEXT, b"The path must be UTF-8."),
    "NUL (R11)": Case("/greet/%00", 400, TEXT, b"The path must not contain a NUL character."),
    "query not UTF-8 (R11)": Case("/greet?name=%ff", 400, TEXT, b"A field's name or value is not valid UTF-8."),
    # Explicit routes.
    "route": Case("/users/7", 200, JSON, b'{"user":7,"url":"/users/7"}'),
    "route POST": Case("/users/7", 201, JSON, b'{"user":7,"name":"Z"}', "POST", FORM, b"name=Z"),
    "route to a function": Case("/hello/Bob", 200, HTML, b"Hello Bob, you asked for /hello/Bob."),
    "405": Case("/users/7", 405, TEXT, NOT_ALLOWED, "DELETE", answer_headers={"Allow": ALLOWED}),
    "OPTIONS": Case("/users/7", 204, None, b"", "OPTIONS", answer_headers={"Allow": ALLOWED}),
    "HEAD of a route": Case("/users/7", 200, JSON, b"", "HEAD", answer_headers={"Content-Length": "27"}),
    "HEAD (R8)": Case("/greet/Alice", 200, HTML, b"", "HEAD", answer_headers={"Content-Length": "13"}),
    # Where handlers run.
    "async": Case("/on_loop", 200, HTML, b"async def: on the event loop; under WSGI on the process's own one"),
    "inline": Case("/quick", 200, HTML, b"run_in loop: a def that never blocks, called on the event loop without a thread"),
    # Answers.
    "json": Case("/json", 200, JSON, '{"text":"é","number":1.5,"list":[1,true,null]}'.encode()),
    "204 (R9)": Case("/nothing", 204, None, b""),
    "tuple": Case("/teapot", 418, HTML, b"short and stout", answer_headers={"X-Spout": "1"}),
    "self.response": Case("/classic", 202, TEXT, b"accepted\n", answer_headers={"X-Classic": "set on self.response"}),
    "redirect": Case("/old", 303, HTML, b"", answer_headers={"Location": "/greet/you"}),
    "async stream": Case("/countdown/2", 200, HTML, b"2\n1\nlift-off\n", streamed=True),
    "sync stream": Case("/lines", 200, HTML, b"line 0\nline 1\nline 2\n", streamed=True),
    "HEAD of a stream (R8)": Case("/lines", 200, HTML, b"", "HEAD"),
    "file": Case(
        "/download", 200, "text/plain", b"apples, sugar, flour\n" * 100, streamed=True,
        answer_headers={"Content-Disposition": 'attachment; filename="pie.txt"'},
    ),
    # Bodies.
    "form": Case("/sign", 200, HTML, b"<b>Ann</b> wrote: 1 &lt; 2", "POST", FORM, b"name=Ann&message=1+%3C+2"),
    "form into a dataclass": Case("/order", 200, JSON, ORDER, "POST", FORM, b"item=pie&pieces=2&colour=red"),
    "JSON into a dataclass": Case(
        "/order", 200, JSON, ORDER, "POST", JSON_TYPE, b'{"item": "pie", "pieces": 2, "colour": "red"}'
    ),
    "invalid JSON values": Case(
        "/order", 400, TEXT, b"pieces: Please enter a whole number.", "POST",
        {**JSON_TYPE, "Accept": "text/plain"}, b'{"item": "pie", "pieces": "two"}',
    ),
    "upload": Case(
        "/upload", 200, JSON, '{"name":"a.txt","type":"text/plain","size":4,"note":"hé"}'.encode(), "POST",
        MULTIPART_TYPE, MULTIPART,
    ),
    "body as a stream": Case("/measure", 200, JSON, b'{"bytes":90000}', "POST", {}, b"x" * 90_000),
    "body at once": Case("/echo", 200, BYTES, bytes(range(256)), "POST", {}, bytes(range(256))),
    "body that nobody reads (R23)": Case("/greet", 200, HTML, b"Hello, World!", "POST", {}, b"x" * 90_000),
    "chunked body (R7)": Case(
        "/echo", 200, BYTES, b"twelve bytes", "POST", {"Transfer-Encoding": "chunked"},
        b"7\r\ntwelve \r\n5\r\nbytes\r\n0\r\n\r\n",
    ),
    "chunked form (R7)": Case(
        "/sign", 200, HTML, b"<b>Ann</b> wrote: ", "POST", {**FORM, "Transfer-Encoding": "chunked"},
        b"8\r\nname=Ann\r\n0\r\n\r\n",
    ),
    "too large (R18)": Case(
        "/measure", 413, TEXT, b"The body may have 100000 bytes at most.", "POST", {}, b"x" * 100_001
    ),
    "text is not JSON (R24)": Case(
        "/anything", 415, TEXT, b"This resource requires a JSON body (Content-Type: application/json).", "POST",
        {"Content-Type": "text/plain; a=application/json"}, b"{}",
    ),
    # Errors and hooks.
    "HTTPError": Case("/forbidden", 403, TEXT, b"This is not for you."),
    "error handler": Case("/divide/1/0", 400, HTML, b"Nobody can divide by zero."),
    "500": Case("/crash", 500, TEXT, b"500 Internal Server Error"),
    "early answer": Case("/closed", 503, HTML, b"Closed for lunch.", answer_headers={"Retry-After": "3600"}),
    "lifespan": Case("/status", 200, JSON, b'{"started":1,"motto":"small is tasty"}'),
}  # fmt: skip
HEAD_OF_STREAM = CASES["HEAD of a stream (R8)"]


# A server sees nothing in these that it does not see in others.
DECIDED_BY_THE_FRAMEWORK = {
    "greet", "rest of the path", "repeated", "wrong type", "missing", "surplus segment",
    "inner application", "inner default", "404", "route", "route POST", "route to a function",
    "HEAD of a route", "inline", "tuple",
    "self.response", "form into a dataclass", "JSON into a dataclass", "invalid JSON values", "text is not JSON (R24)",
    "HTTPError", "error handler", "early answer",
}  # fmt: skip


# Its bytes are those of HTTP/1.1.
OF_HTTP1 = {"chunked body (R7)", "chunked form (R7)"}
# Paths that servers refuse themselves, and those that they pass on undecoded.
REFUSED = {"anycorn-asyncio": {"not UTF-8 (R11)"}, "anycorn-trio": {"not UTF-8 (R11)"}}
UNDECODED: dict[str, set[str]] = {
    "h2corn": {"not UTF-8 (R11)"},
    "h2corn-h2": {"not UTF-8 (R11)"},
    "gunicorn-asgi-h2": {"percent-encoded", "not UTF-8 (R11)", "NUL (R11)"},
}


def test_responses_decided_by_the_framework_are_in_the_table() -> None:
    assert DECIDED_BY_THE_FRAMEWORK.issubset(CASES)


@over_both_versions
def test_every_server_gives_the_expected_responses(name: str, basics_on: BasicsOn) -> None:
    server = basics_on(name)
    left_out = set() if name in ONE_OF_EACH_WORLD else DECIDED_BY_THE_FRAMEWORK
    if name in HTTP2:
        left_out = left_out | OF_HTTP1
    asked = {title: case for title, case in CASES.items() if title not in left_out}
    answers = {
        title: server.request(case.method, case.target, case.headers, case.sent)
        for title, case in asked.items()
    }
    got = {title: essence_of(answer, asked[title]) for title, answer in answers.items()}
    assert got == {title: essence_wanted(title, case, name) for title, case in asked.items()}


Essence = tuple[int, str | None, bytes, bytes | None, dict[str, str | None]]


def essence_of(answer: Answer, case: Case) -> Essence:
    """Return status, type, body, the bytes of a body that has to be empty, and the headers that a
    case names.
    """
    names = [
        "X-Tour",
        *case.answer_headers,
        *([] if case.streamed or has_no_body(case) else ["Content-Length"]),
        *(["Content-Length"] if case is HEAD_OF_STREAM else []),
    ]
    return (
        answer.status,
        answer.header("content-type"),
        answer.body,
        answer.raw_body if has_no_body(case) else None,
        {name: answer.header(name) for name in names},
    )


def essence_wanted(title: str, case: Case, name: str) -> Essence:
    if title in REFUSED.get(name.removesuffix("-h2"), ()):
        return 400, None, b"", None, {"X-Tour": None, "Content-Length": "0"}
    if title in UNDECODED.get(name, ()):
        greeted = case.target.rpartition("/")[2].encode()
        case = Case(case.target, 200, HTML, b"Hello, %s!" % greeted)
    headers: dict[str, str | None] = {"X-Tour": "micropie", **case.answer_headers}
    if case is HEAD_OF_STREAM:
        headers["Content-Length"] = "0" if name.startswith("h2corn") else None
    if has_no_body(case):
        ends_chunks = case is HEAD_OF_STREAM and name == "waitress"
        return (
            case.status,
            case.content_type,
            case.body,
            b"0\r\n\r\n" if ends_chunks else b"",
            headers,
        )
    if not case.streamed:
        headers["Content-Length"] = str(len(case.body))
    return case.status, case.content_type, case.body, None, headers


def has_no_body(case: Case) -> bool:
    return case.method == "HEAD" or case.status == 204


@over_both_versions
def test_R12_an_escaped_slash_stays_in_its_segment_if_the_server_passes_it_on(
    name: str, basics_on: BasicsOn
) -> None:
    answer = basics_on(name).request("GET", "/greet/a%2Fb")
    if name == "gunicorn-asgi-h2":
        assert answer.body == b"Hello, a%2Fb!"
    elif BOTH_VERSIONS[name].has_raw_path:
        assert (answer.status, answer.body) == (200, b"Hello, a/b!")
    else:  # WSGI's PATH_INFO is unescaped, so this is /greet/a/b: a surplus segment
        assert answer.status == 404


@pytest.mark.parametrize("name", ONE_OF_EACH_WORLD)
def test_R77_malformed_json_gets_a_400_with_one_sentence(name: str, basics_on: BasicsOn) -> None:
    for text in ("{", "[1,]", "\xff", "NaN", "[" * 1100):
        answer = basics_on(name).request("POST", "/anything", JSON_TYPE, text.encode("latin-1"))
        assert (answer.status, answer.header("content-type")) == (
            400,
            "application/problem+json",
        ), text[:10]
        assert b"\n" not in answer.body
        assert json.loads(answer.body)["detail"].endswith(".")


def raw(line: str, *headers: str, body: bytes = b"", host: str = "Host: localhost") -> bytes:
    """Return the bytes of a request, which may be malformed."""
    lines = [line, *filter(None, [host]), "Connection: close", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


FORM_LINE = "Content-Type: application/x-www-form-urlencoded"

HYPERCORN = {"hypercorn-asyncio", "hypercorn-trio"}
ANYCORN = {"anycorn-asyncio", "anycorn-trio"}
NEW = ANYCORN | {"h2corn"}
GUNICORN = {name for name in KINDS if name.startswith("gunicorn")}


class Malformed(NamedTuple):
    """A malformed request, the statuses of our answers to it, and the servers that refuse it
    without asking us.

    Two statuses: servers pass on other things for it. What every server refuses is not here, such
    as two lengths.
    """

    sent: bytes
    statuses: set[int]
    refused_by: set[str] = set()  # noqa: RUF012 - it is never written to


MALFORMED = {
    "absolute form": Malformed(raw("GET http://localhost/greet HTTP/1.1"), {200, 400}),
    "no path (R13)": Malformed(raw("OPTIONS * HTTP/1.1"), {400}),
    "broken escape": Malformed(raw("GET /greet/%zz HTTP/1.1"), {200}, NEW),
    "escaped surrogate (R11)": Malformed(raw("GET /greet/%ed%a0%80 HTTP/1.1"), {400}, NEW),
    "no host": Malformed(raw("GET /greet HTTP/1.1", host=""), {200, 400}, HYPERCORN | NEW),
    "host that is none (R14)": Malformed(
        raw("GET /greet HTTP/1.1", host="Host: a@b/c?d"), {400}, {"h2corn"}
    ),
    "two hosts (R14)": Malformed(
        raw("GET /greet HTTP/1.1", "Host: other"), {400}, HYPERCORN | GUNICORN | NEW
    ),
    "cookies that are none (R49)": Malformed(
        raw("GET /cookie HTTP/1.1", 'Cookie: =x; a; ;;; \xff="; $Version=1'), {200}
    ),
    "unknown session (R42)": Malformed(
        raw("GET /likes HTTP/1.1", "Cookie: session_id=" + "\xe9" * 50), {200}
    ),
    "unknown method": Malformed(raw("BREW /users/7 HTTP/1.1"), {405}, {"uvicorn"}),
    "number without end": Malformed(raw(f"GET /greet?age={'9' * 5000} HTTP/1.1"), {400}, GUNICORN),
    "id without end": Malformed(raw(f"GET /users/{'9' * 5000} HTTP/1.1"), {404}, GUNICORN),
    # daphne collects the whole body before it calls any application: it would wait.
    "length without end (R6)": Malformed(
        raw("POST /echo HTTP/1.1", f"Content-Length: {'9' * 23}", body=b"hello"),
        {400},
        KINDS.keys() - GUNICORN,
    ),
    "form not UTF-8 (R11)": Malformed(
        raw("POST /sign HTTP/1.1", FORM_LINE, "Content-Length: 8", body=b"name=%ff"), {400}
    ),
    "form of many fields (R25)": Malformed(
        raw("POST /sign HTTP/1.1", FORM_LINE, "Content-Length: 4002", body=b"a&" * 2001), {413}
    ),
    "form cut off": Malformed(
        raw(
            "POST /upload HTTP/1.1",
            "Content-Type: multipart/form-data; boundary=B",
            "Content-Length: 20",
            body=b"--B\r\nContent-Disposi",
        ),
        {400},
    ),
    "form without a boundary": Malformed(
        raw(
            "POST /upload HTTP/1.1",
            "Content-Type: multipart/form-data",
            "Content-Length: 2",
            body=b"ab",
        ),
        {400},
        {"daphne"},
    ),
    "no media type (R24)": Malformed(
        raw("POST /echo HTTP/1.1", "Content-Type: \xff;;;=", "Content-Length: 2", body=b"ab"), {200}
    ),
}


def test_malformed_requests_get_one_response(name: str, basics_on: BasicsOn) -> None:
    if name == "uvicorn":
        import_module("httptools")  # h11, which it takes otherwise, refuses more by itself
    wrong = {}
    for title, (sent, statuses, refused_by) in MALFORMED.items():
        if name not in refused_by:
            answer = basics_on(name).send(sent, sent.split(b" ")[0].decode())
            is_ours = answer.header("X-Content-Type-Options") == "nosniff"
            if not is_ours or answer.status not in statuses or b"Traceback" in answer.body:
                wrong[title] = answer
    assert wrong == {}


def test_R15_trailers_are_not_read_as_headers(name: str, basics_on: BasicsOn) -> None:
    """Only uvicorn with httptools takes them for headers, as docs/servers.md says."""
    chunks = b"1\r\na\r\n0\r\nX-Note: oat\r\n\r\n"
    sent = raw("GET /note HTTP/1.1", "Transfer-Encoding: chunked", body=chunks)
    merges = name == "uvicorn" and "httptools" not in LEFT_OUT
    noted = b"oat" if merges else b"nothing"
    assert basics_on(name).send(sent).body == b"You note %s." % noted


def test_R12_an_empty_segment_is_not_a_segment_of_another_path(
    name: str, basics_on: BasicsOn
) -> None:
    status = basics_on(name).request("GET", "//greet").status
    # waitress takes the slashes off that a path begins with
    assert status == (200 if name == "waitress" else 404)


@over_both_versions
def test_cookies_and_sessions_last_across_requests(name: str, basics_on: BasicsOn) -> None:
    server = basics_on(name)
    first = server.request("POST", "/like")
    cookie = first.header("set-cookie") or ""
    assert first.body == b"likes: 1"
    assert re.fullmatch(r"[\w-]+=[\w-]{22,}; .*HttpOnly.*", cookie)
    cookies = {"Cookie": f"other=1; {cookie.partition(';')[0]}"}
    second = server.request("POST", "/like", {**cookies, "Sec-Fetch-Site": "same-origin"})
    assert second.body == b"likes: 2"
    assert server.request("GET", "/likes", cookies).body == b"likes: 2"
    chosen = server.request("POST", "/cookie", FORM, b"flavour=oat")
    assert chosen.header("set-cookie") == "flavour=oat; Max-Age=3600; Path=/; SameSite=Lax"
    assert server.request("GET", "/cookie", {"Cookie": "flavour=oat"}).body == b"You like oat."


def test_R23_an_unread_body_is_never_taken_for_a_request(name: str, basics_on: BasicsOn) -> None:
    connection = http.client.HTTPConnection(
        "127.0.0.1", basics_on(name).port, timeout=ANSWER_WITHIN
    )
    try:
        assert posted(connection, "/greet/a", b"GET /crash HTTP/1.1\r\n\r\n" * 500) == (
            200,
            b"Hello, a!",
        )
        assert posted(connection, "/greet/b", b"") == (200, b"Hello, b!")
        assert posted(connection, "/lines", b"x" * 1000) == (200, b"line 0\nline 1\nline 2\n")
        assert posted(connection, "/greet/c", b"") == (200, b"Hello, c!")
    finally:
        connection.close()


def test_an_http_1_0_client_gets_a_stream(name: str, basics_on: BasicsOn) -> None:
    """Only uvicorn with httptools sends it in chunks, as docs/servers.md says."""
    address = ("127.0.0.1", basics_on(name).port)
    with socket.create_connection(address, ANSWER_WITHIN) as client:
        client.sendall(b"GET /lines HTTP/1.0\r\nHost: localhost\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    if name in REFUSE_HTTP_1_0:
        assert head.split()[1] == b"400"
        return
    assert head.split()[1] == b"200"
    if name == "uvicorn" and "httptools" not in LEFT_OUT:
        assert body.endswith(b"\r\n0\r\n\r\n")
        body = b"".join(body.split(b"\r\n")[1:-3:2])
    assert body == b"line 0\nline 1\nline 2\n"


def posted(connection: http.client.HTTPConnection, target: str, body: bytes) -> tuple[int, bytes]:
    """Send on a connection that is kept open, or on a new one where the server closed it."""
    for attempt in (1, 2):
        try:
            connection.request("POST", target, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except ConnectionError:
            connection.close()
            if attempt == 2:
                raise
    raise AssertionError("not reached")


def test_R17_R68_concurrent_requests_get_their_own_responses(
    name: str, basics_on: BasicsOn
) -> None:
    server = basics_on(name)
    connections = [
        http.client.HTTPConnection("127.0.0.1", server.port, timeout=ANSWER_WITHIN)
        for _ in range(12)
    ]
    try:
        for number, connection in enumerate(connections):
            connection.request("GET", f"/hello/n{number}", headers={"Connection": "close"})
        for number, connection in enumerate(connections):
            body = connection.getresponse().read()
            assert body == f"Hello n{number}, you asked for /hello/n{number}.".encode()
    finally:
        for connection in connections:
            connection.close()


def test_the_page_links_to_every_handler() -> None:
    linked = {
        re.split(r"[/?]", url)[1] for url in re.findall(r"(?:href|action)=['\"]([^'\"]+)", PAGE)
    }
    handlers = {
        case.target.split("?")[0].split("/")[1] for case in CASES.values() if case.status < 400
    }
    assert handlers - linked <= {"", "measure", "echo"}  # requests that only a program can send


def test_the_json_cases_of_the_table_are_valid() -> None:
    for case in CASES.values():
        if case.content_type == JSON and case.body:
            json.loads(case.body)
