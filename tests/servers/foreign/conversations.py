"""The requests to the applications here, as conversations: a client's requests in order, with its
cookies.

A path begins below the application's prefix. ``{etag}`` in a header is that of the answer before,
``{token}`` in a body the token of the form that came with it. ``until`` repeats the request until
its body is that: what an application does after its answer takes its time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Ask(NamedTuple):
    """A request."""

    method: str
    path: str
    headers: Mapping[str, str] = {}
    body: bytes = b""
    until: bytes | None = None


class Say(NamedTuple):
    """The messages of a client over a WebSocket, text and bytes, until the server closes it."""

    path: str
    messages: tuple[str | bytes, ...] = ()
    subprotocols: tuple[str, ...] = ()


Conversation = list[Ask]


def get(path: str, **headers: str) -> Ask:
    return Ask("GET", path, _named(headers))


def head(path: str, **headers: str) -> Ask:
    return Ask("HEAD", path, _named(headers))


def post(path: str, body: bytes = b"", **headers: str) -> Ask:
    return Ask("POST", path, _named(headers), body)


def post_form(path: str, body: bytes, **headers: str) -> Ask:
    return post(path, body, Content_Type="application/x-www-form-urlencoded", **headers)


def post_json(path: str, body: bytes) -> Ask:
    return post(path, body, Content_Type="application/json")


def post_file(path: str, name: str, body: bytes, before: bytes = b"") -> Ask:
    """A form with a file, as a browser sends it."""
    head = b'--x\r\nContent-Disposition: form-data; name="%b"; filename="p.bin"\r\nContent-Type: application/x-pie\r\n\r\n'
    form = before + head % name.encode() + body + b"\r\n--x--\r\n"
    return post(path, form, Content_Type="multipart/form-data; boundary=x")


def post_files(path: str, name: str, body: bytes) -> Ask:
    """The same with a field before the file."""
    field = b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\nann \xc3\xa9\r\n'
    return post_file(path, name, body, field)


def post_chunks(path: str, *chunks: bytes, **headers: str) -> Ask:
    """A body without a length."""
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))
    return post(path, framed, Transfer_Encoding="chunked", **headers)


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


MANY = bytes(range(256)) * 1200  # more than a server reads at once
WHERE = "/where/a%20b/%C3%A9?x=1&x=%C3%A9&y=a+b"
OCTETS = "application/octet-stream"
RANGES = [
    ("Range", "bytes=0-9"),
    ("Range", "bytes=-5"),
    ("Range", "bytes=100000-"),
    ("Range", "bytes=1-0"),
]

CHERRYPY: dict[str, Conversation] = {
    "tut01": [
        get(""),
        get("/tut01"),
        get("/tut01/"),
        head("/tut01/"),
        get("/tut01/none"),
        post("/tut01/"),
        get("/none"),
    ],
    "tut02": [
        get("/tut02/"),
        get("/tut02/show_msg"),
        get("/tut02/show_msg/"),
        get("/tut02/show_msg?a=1"),
    ],
    "tut03": [
        get("/tut03/"),
        get("/tut03/greetUser"),
        get("/tut03/greetUser?name="),
        get("/tut03/greetUser?name=Ann+%C3%A9%3F"),
        post_form("/tut03/greetUser", b"name=Ann+%C3%A9"),
        post_form("/tut03/greetUser", b"nobody=Ann"),
        post("/tut03/greetUser", b"name=Ann"),
        post_chunks(
            "/tut03/greetUser", b"name=", b"Ann", Content_Type="application/x-www-form-urlencoded"
        ),
    ],
    "tut04": [
        get("/tut04/"),
        get("/tut04/joke"),
        get("/tut04/joke/"),
        get("/tut04/links/"),
        get("/tut04/links/extra/"),
    ],
    "tut05": [get("/tut05/"), get("/tut05/another"), get("/tut05/another/"), get("/tut05/header")],
    "tut06": [
        get("/tut06/"),
        get("/tut06/remi"),
        get("/tut06/someone%20else"),
        get("/tut06/remi/too/far"),
    ],
    "tut07": [get("/tut07/"), get("/tut07/"), get("/tut07/"), head("/tut07/"), get("/tut07/")],
    "tut08": [get("/tut08/"), head("/tut08/")],
    "tut09": [
        get("/tut09/"),
        post_files("/tut09/upload", "myFile", b"a field too many"),
        post_file("/tut09/upload", "myFile", b"slice " * 50_000),
        post_file("/tut09/upload", "myFile", b""),
        post_file("/tut09/upload", "otherFile", b"slice"),
        get("/tut09/upload"),
        get("/tut09/download"),
        head("/tut09/download"),
        get("/tut09/download", If_Modified_Since="{last-modified}"),
        *(get("/tut09/download", **{name: value}) for name, value in RANGES),
    ],
    "tut10": [
        get("/tut10/"),
        get("/tut10/doesNotExist"),
        *(get(f"/tut10/error?code={code}") for code in (400, 401, 402, 403, 500, 999, "x")),
        get("/tut10/messageArg"),
        get("/tut10/toggleTracebacks"),
        get("/tut10/error?code=500"),
        get("/tut10/toggleTracebacks"),
    ],
    "sessions": [
        get("/more/count"),
        get("/more/counted_stream"),
        get("/more/count"),
        get("/more/counted_stream"),
    ],
    "streams": [
        get("/more/stream"),
        head("/more/stream"),
        get("/more/stream", Accept_Charset="utf-8"),
    ],
    "cookies": [get("/more/cookies"), get("/more/cookies", Cookie="c=3; d=4")],
    "bodies": [
        post("/more/echo", MANY, Content_Type=OCTETS),
        post("/more/echo", Content_Type=OCTETS),
        post_chunks("/more/echo", b"one ", b"two", MANY, Content_Type=OCTETS),
        post_json("/more/json", b'{"pie": ["apple"]}'),
        post_json("/more/json", b'{"pie": '),
        post("/more/json", b"{}", Content_Type="text/plain"),
    ],
    "places": [
        get("/more" + WHERE),
        get("/more/away"),
        get("/more/where", Host="other.example:81"),
    ],
}

BOTTLE: dict[str, Conversation] = {
    "places": [
        get(""),
        get("/"),
        get(WHERE),
        Ask(
            "PUT",
            "/where",
            {"Content-Type": "text/plain", "X-Pie": "apple", "Authorization": "Basic YTpi"},
            b"hi",
        ),
        get("/where//a/../b;c=1"),
        head("/where"),
        Ask("DELETE", "/upload"),
        Ask("OPTIONS", "/"),
    ],
    "uploads": [
        post_files("/upload", "file", MANY),
        post_files("/upload", "file", b""),
        post_form("/upload", b"name=ann+%C3%A9"),
        post("/upload", b"broken", Content_Type="multipart/form-data; boundary=x"),
    ],
    "bodies": [
        post("/echo", MANY),
        post("/echo", b"hi"),
        post("/echo"),
        post_chunks("/echo", b"one ", b"two"),
    ],
    "signed cookies": [get("/signed"), get("/signed"), get("/signed", Cookie="pie=forged")],
    "generators": [
        get("/generator"),
        head("/generator"),
        get("/empty_generator"),
        get("/file"),
        head("/file"),
    ],
    "files": [
        get("/static/pie.txt"),
        head("/static/pie.txt"),
        get("/static/pie.txt?save"),
        get("/static/pie.txt", If_None_Match="{etag}"),
        get("/static/page/index.html"),
        get("/static/none"),
        get("/static/..%2fcherry.py"),
        *(get("/static/pie.txt", **{name: value}) for name, value in RANGES),
    ],
    "errors": [
        get("/none"),
        get("/abort"),
        get("/boom"),
        get("/redirect"),
        Ask("POST", "/redirect"),
        get("/response"),
        *(get(f"/status/{code}") for code in (201, 204, 304, 404, 418, 503)),
    ],
}

FLASK: dict[str, Conversation] = {
    "places": [
        get(""),
        get("/"),
        get(WHERE),
        Ask("PUT", "/where/x", {"Content-Type": "text/plain", "X-Pie": "apple"}, b"hi"),
        get("/where//x"),
        head("/where"),
        Ask("OPTIONS", "/where/x"),
        Ask("PATCH", "/where/x"),
    ],
    "streamed bodies": [
        post("/body", MANY),
        post("/body"),
        post_chunks("/body", MANY, b"more", MANY),
        post("/echo", MANY),
        post_chunks("/echo", b"hello ", b"pie"),
        post("/echo"),
    ],
    "forms": [
        post_files("/form", "file", MANY),
        post_form("/form", b"a=1&a=2&b=%C3%A9"),
        post_chunks("/form", b"a=1&", b"b=2", Content_Type="application/x-www-form-urlencoded"),
        post_json("/json", b'{"pie": 1}'),
        post_json("/json", b'{"pie": '),
        post("/json", b"x"),
    ],
    "streamed answers": [
        get("/stream?n=1000"),
        get("/stream?n=1"),
        get("/stream?n=0"),
        head("/stream?n=5"),
    ],
    "sessions": [
        get("/count"),
        get("/count"),
        get("/flash"),
        get("/flashed"),
        get("/flashed"),
        get("/count"),
    ],
    "files": [
        get("/static/pie.txt"),
        head("/static/pie.txt"),
        get("/static/pie.txt", If_None_Match="{etag}"),
        get("/static/none"),
        *(get("/static/pie.txt", **{name: value}) for name, value in RANGES),
    ],
    "errors": [
        get("/none"),
        get("/boom"),
        *(get(f"/status/{code}") for code in (201, 204, 304, 404, 418, 503)),
    ],
}

DJANGO: dict[str, Conversation] = {
    "places": [
        get(""),
        get("/"),
        get("/where/a%20b/%C3%A9?x=1&y=%C3%A9"),
        get("/later"),
        get("/later/"),
        get("/none"),
    ],
    "forms": [
        get("/form/"),
        post_form("/form/", b"name=ann&csrfmiddlewaretoken={token}"),
        get("/done/"),
        post_form("/form/", b"name=ann"),
        get("/done/"),
    ],
    "bodies": [
        post("/echo/", MANY),
        post("/echo/"),
        post_files("/upload/", "file", MANY),
        post_files("/upload/", "file", b""),
    ],
    "answers": [
        get("/stream/"),
        head("/stream/"),
        get("/file/"),
        head("/file/"),
        get("/cookies/"),
        get("/cookies/"),
    ],
    "again": [get("/done/"), get("/done/", If_None_Match="{etag}"), head("/done/")],
    "errors": [get("/boom/"), get("/form"), post("/form")],
}

STARLETTE: dict[str, Conversation] = {
    "places": [
        get(""),
        get("/"),
        get("/where/a%20b/%C3%A9?x=1&y=%C3%A9"),
        Ask("PUT", "/where/x%2Fy", {"X-Pie": "apple", "Content-Type": "text/plain"}, b"hi"),
        get("/slash"),
        get("/slash/"),
        Ask("DELETE", "/where/x"),
        head("/where/x"),
        get("/blocking"),
    ],
    "bodies": [
        post("/body", MANY),
        post("/body"),
        post_chunks("/body", MANY, b"more"),
        post("/echo", MANY),
        post_chunks("/echo", b"hello ", b"pie"),
        post_files("/form", "file", MANY),
    ],
    "streams": [get("/stream"), head("/stream"), get("/sync_stream")],
    "background": [get("/background?name=pie"), Ask("GET", "/done", until=b'["pie"]')],
    "sessions": [get("/count"), get("/count"), get("/cookies"), get("/count")],
    "files": [
        get("/file"),
        head("/file"),
        get("/static/pie.txt"),
        get("/static/pie.txt", If_None_Match="{etag}"),
        get("/static/page"),
        get("/static/page/"),
        get("/static/none"),
        *(get("/file", **{name: value}) for name, value in RANGES),
    ],
    "errors": [
        get("/none"),
        get("/denied"),
        get("/boom"),
        *(get(f"/status/{code}") for code in (201, 204, 304, 418, 503)),
    ],
}

FASTAPI: dict[str, Conversation] = {
    "documentation": [
        get("/docs"),
        get("/redoc"),
        get("/openapi.json"),
        get("/docs/"),
        get("/docs/oauth2-redirect"),
    ],
    "places": [get(""), get("/"), get("/pies/3"), get("/pies/3/"), get("/pies/3", X_Pie="apple")],
    "validation": [
        get("/pies/x"),
        post_json("/pies", b'{"name": "apple"}'),
        post_json("/pies", b'{"slices": "many"}'),
        post_json("/pies", b"{"),
        post("/pies"),
        Ask("PUT", "/pies"),
    ],
    "dependencies": [
        get("/dependency"),
        Ask("GET", "/closed", until=b'["cursor","connection"]'),
        get("/dependency?fail=1"),
        Ask("GET", "/closed", until=b'["cursor","connection","cursor","connection"]'),
        get("/stream"),
        Ask(
            "GET",
            "/closed",
            until=b'["cursor","connection","cursor","connection","cursor","connection"]',
        ),
    ],
    "uploads": [post_files("/upload", "file", MANY), post_files("/upload", "other", b"")],
    "background": [get("/background?name=pie"), Ask("GET", "/done", until=b'["pie"]')],
    "errors": [get("/none"), get("/boom")],
}

STARLETTE_SOCKETS = {
    "talk": Say("/talk", ("pie", "é", "leave")),
    "a subprotocol": Say("/talk", ("leave",), ("pie.v1", "pie.v2")),
    "refused": Say("/refuse"),
    "unknown": Say("/none"),
}
FASTAPI_SOCKETS = {
    "talk": Say("/talk/3", ("pie", "leave")),
    "not valid": Say("/talk/x"),
}
