"""The requests that every contender answers, as data, with the right answer to each.

To compare contenders, read their applications and this file. A new column in the report is a new
row here, and a new handler in every file of `benchmarks/apps/` that is in its table.
"""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import dataclass, replace
from typing import Any

CHUNK_COUNT = 50
CHUNK = b"All work and no play makes Jack a dull boy, said the stream.\r\n"

TEXT, JSON, STREAM = "text", "json", "stream"
# A page may have a hidden field with a token, which differs. Of an answer without a body only the
# head is compared.
PAGE, GZIP, EVENTS, SOCKET, HEAD = "page", "gzip", "events", "socket", "head"
BODY = "body"  # a text of unknown length: no Content-Length


@dataclass(frozen=True)
class Case:
    """One kind of request. `kind` says how the answer's body is compared, `want` with what."""

    name: str
    title: str
    method: str
    path: str
    want: Any
    kind: str = TEXT
    query: str = ""
    body: bytes = b""
    content_type: str = ""
    # A stream costs as much as dozens of plain requests, so it gets a smaller batch.
    batch_divisor: int = 1
    # The path that is asked once, before the measurement, for the cookies of these requests.
    sign_in: str = ""
    cookie: str = ""
    # The request gets the ETag that the application gives for this path, as `If-None-Match`.
    revalidates: bool = False
    # Headers beside those of every request.
    headers: tuple[tuple[str, str], ...] = ()
    status: int = 200
    # Headers of the answer, and text that each must contain.
    expects: tuple[tuple[str, str], ...] = ()
    # The server's `send` gives other tasks a turn, as it does while a client reads slowly.
    send_yields: bool = False
    # One letter leaves after each answer (`benchmarks/mailbox.py`). The time ends with the last
    # letter.
    sends_mail: bool = False
    # Every chunk of a stream has to arrive as a separate piece.
    whole_chunks: bool = True

    def batch_size(self, batch: int) -> int:
        return max(1, batch // self.batch_divisor)


@dataclass(frozen=True)
class Answer:
    """A contender's answer: the header names in lower case, the body in the pieces in which it
    came.
    """

    status: int
    headers: dict[str, str]
    pieces: tuple[bytes, ...]
    cookies: tuple[str, ...] = ()

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)


HELLO = "Hello, World!"
PERSON = {"name": "Alice", "age": 42}
FORM = "application/x-www-form-urlencoded"

CASES = (
    Case("plain", "plain text", "GET", "/plain", HELLO.encode()),
    Case("json", "JSON", "GET", "/json", {"message": HELLO}, JSON),
    Case("path", "path parameter", "GET", "/greet/Alice", b"Hello Alice"),
    Case("query", "query parameter", "GET", "/query", b"Hello Alice", query="name=Alice"),
    Case("form", "urlencoded form", "POST", "/form", (b"Alice "
        b"from Paris"), body=b"name=Alice&city=Paris",
         content_type=FORM),
    Case("submit", "JSON body", "POST", "/submit", PERSON, JSON, body=json.dumps(PERSON).encode(),
         content_type="application/json"),
    Case("stream", f"stream of {CHUNK_COUNT}", "GET", "/stream", CHUNK * CHUNK_COUNT, STREAM,
         batch_divisor=10),
)  # fmt: skip

BY_NAME = {case.name: case for case in CASES}

SESSION_CASES = (
    BY_NAME["plain"],
    Case("session", "session read", "GET", "/session", b"Alice", sign_in="/login"),
    # "2", because the request for the cookie was the first. So a contender that stores nothing
    # fails the check.
    Case(
        "count",
        "session read, changed, saved",
        "GET",
        "/count",
        b"2",
        sign_in="/count",
        batch_divisor=4,
    ),
)

BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"
PART = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="'
FILE_TYPE = "application/octet-stream"


def _multipart(size: int) -> bytes:
    """Return two fields and a file of `size` bytes, as a browser sends them.

    The file has line ends, as images do.
    """
    fields = f'{PART}name"\r\n\r\nAlice\r\n{PART}city"\r\n\r\nParis\r\n'
    head = f'{PART}file"; filename="photo.jpg"\r\nContent-Type: {FILE_TYPE}\r\n\r\n'
    content = (bytes(range(256)) * (size // 256 + 1))[:size]
    return (fields + head).encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def _upload(name: str, title: str, size: int, batch_divisor: int) -> Case:
    want = f"Alice from Paris sent {size} bytes".encode()
    return Case(name, title, "POST", "/upload", want, body=_multipart(size), content_type=MULTIPART,
                batch_divisor=batch_divisor)  # fmt: skip


UPLOAD_CASES = (
    _upload("multipart", "two fields, a file of 10 KiB", 10 * 1024, 4),
    _upload("upload", "a file of 1 MiB", 1024 * 1024, 20),
)


# --- what a site does -----------------------------------------------------------------------------

TEXT_CHUNK = CHUNK.decode()
FILE_CONTENT = (CHUNK * 200)[: 10 * 1024]
ROWS = tuple({"name": f"Pie {number}", "price": number * 1.5} for number in range(20))
TABLE = "".join(f"<tr><td>{row['name']}</td><td>{row['price']}</td></tr>" for row in ROWS)
EVENT_COUNT = 10
LARGE = bytes(range(256)) * 4096  # 1 MiB
ORIGIN = ("origin", "http://127.0.0.1:8000")  # the site's own
FOREIGN_ORIGIN = "https://app.example"
HOOK = ("x-hook", "after")

EVERYDAY_CASES = (
    Case("route", "explicit route with two parameters", "GET", "/users/7/posts/hello-world", (b"7 "
        b"hello-world")),
    Case("hooks", "two hooks, before and after", "GET", "/hooked", HELLO.encode(), expects=(HOOK,)),
    Case("cookie", "read one cookie, set one", "GET", "/cookie", b"dark", cookie=("theme=dark; "
        "lang=en"),
         expects=(("set-cookie", "seen=1"),)),
    Case("not-found", "404 of an unknown path", "GET", "/nothing/here", None, HEAD, status=404),
    Case("bad-request", "an error of status 400 is raised", "GET", "/bad", None, HEAD, status=400),
    Case("redirect", "redirect", "GET", "/moved", None, HEAD, status=303, expects=(("location", "/plain"),)),  # noqa: E501
    Case("url-for", "URL of a route by its name", "GET", "/link", b"/users/7/posts/hello-world"),
    Case("mount", "handler of a mounted application", "GET", "/inner/hello", HELLO.encode()),
    Case("session", "session read", "GET", "/session", b"Alice", sign_in="/login"),
    Case("count", "session read, changed, saved", "GET", "/count", b"2", sign_in="/count", batch_divisor=2),  # noqa: E501
    Case("template", "template of 20 rows", "GET", "/rows", f"<table>{TABLE}</table>".encode(), batch_divisor=2),  # noqa: E501
    Case("file", "static file of 10 KiB", "GET", "/static/pie.txt", FILE_CONTENT, batch_divisor=4),
    Case("not-modified", "static file, 304 by ETag", "GET", "/static/pie.txt", None, HEAD, status=304,  # noqa: E501
         revalidates=True, batch_divisor=4),
    _upload("small-upload", "upload of a file of 1 KiB", 1024, 2),
    Case("body", "body of 1 MiB", "POST", "/body", str(len(LARGE)).encode(), body=LARGE, batch_divisor=10,  # noqa: E501
         content_type=FILE_TYPE),
    Case("background", "a function after the response", "GET", "/mail", b"sent", sends_mail=True),
)  # fmt: skip

ASYNC_CASES = (
    Case("thread", "`def` handler in a thread", "GET", "/thread", b"in a thread", batch_divisor=4),
    Case("socket", ("WebSocket: connect, a "
        "message, an answer"), "GET", "/socket", b"Hello", SOCKET, status=101),
    Case("events", f"{EVENT_COUNT} server-sent events", "GET", "/events", [b"tick"] * EVENT_COUNT, EVENTS,  # noqa: E501
         batch_divisor=4, expects=(("content-type", "text/event-stream"),)),
)  # fmt: skip

MIDDLEWARE_CASES = (
    Case("compress", "gzip of 10 KiB", "GET", "/long", FILE_CONTENT, GZIP, batch_divisor=4,
         expects=(("content-encoding", "gzip"),)),
    Case("cors", "CORS", "GET", "/plain", HELLO.encode(), headers=(("origin", FOREIGN_ORIGIN),),
         expects=(("access-control-allow-origin", FOREIGN_ORIGIN),)),
    Case("csrf", "CSRF check of a form", "POST", "/form", (b"Alice "
        b"from Paris"), body=b"name=Alice&city=Paris",
         content_type=FORM, headers=(ORIGIN,), sign_in="/token"),
    Case("access-log", "access log", "GET", "/plain", HELLO.encode()),
    Case("request-id", "request id", "GET", "/plain", HELLO.encode(), expects=(("x-request-id", ""),)),  # noqa: E501
    Case("site", "real site: a page", "GET", "/site",
         f"<h1>Alice, dark</h1><form method=\"post\"></form><table>{TABLE}</table>".encode(), PAGE,
         cookie="theme=dark", sign_in="/login", expects=(("set-cookie", "seen=1"),), batch_divisor=2),  # noqa: E501
    Case("site-form", "real site: a form", "POST", "/site", None, HEAD, status=303, body=b"comment=Delicious",  # noqa: E501
         content_type=FORM, headers=(ORIGIN,), cookie="theme=dark", sign_in="/login", batch_divisor=2,  # noqa: E501
         expects=(("location", "/site"),)),
)  # fmt: skip

# --- pages of a moved site, see `apps/page_apps.py` -----------------------------------------------

SECRET = "a secret of the benchmarks"
SHORT_FILE = (CHUNK * 40)[: 2 * 1024]
LONG_FILE = (CHUNK * 5000)[: 300 * 1024]
SESSION = ("set-cookie", "HttpOnly")


def _page(
    name: str, title: str, path: str, want: Any = None, *, signs_in: bool = False, **more: Any
) -> Case:
    """Return a GET of a page of a real site; without ``want`` only its head is looked at."""
    more = {"method": "GET", "kind": HEAD if want is None else TEXT, "batch_divisor": 4, **more}
    return Case(name, title, path=path, want=want, sign_in="/login" if signs_in else "", **more)


_REDIRECTED: Any = {"status": 303, "expects": (("location", "http://127.0.0.1"),)}

BOTTLE_PAGES = (
    _page("template", "a page: a signed cookie, a template of 20 rows", "/rows", signs_in=True),
    _page(
        "session",
        "a signed cookie read and set",
        "/session",
        b"Alice",
        signs_in=True,
        expects=(SESSION,),
    ),
    _page("redirect", "`redirect`", "/moved", **_REDIRECTED),
    _page("url", "`request.url`", "/url"),
    _page("headers", "all headers", "/headers"),
    _page("short-file", "`static_file` of 2 kB", "/static/short.css", SHORT_FILE),
    _page("long-file", "`static_file` of 300 kB", "/static/long.js", LONG_FILE),
    _page("status", "Glances' status: a plugin, the URL, all headers", "/status", b"Active"),
    _page("script", "Glances' script: a plugin, `static_file` of 300 kB", "/script", LONG_FILE),
)
CHERRYPY_PAGES = (
    _page("template", "a page: a session, a template of 20 rows", "/rows", signs_in=True),
    _page("session", "a session read", "/session", b"Alice", signs_in=True),
    _page("count", "a session written", "/login", b"in", signs_in=True),
    _page("redirect", "a session read, `HTTPRedirect`", "/moved", signs_in=True, **_REDIRECTED),
    _page("url", "`cherrypy.url()`", "/url"),
    _page(
        "service",
        "`MethodDispatcher`, `json_in`, `json_out`",
        "/service",
        PERSON,
        method="POST",
        kind=JSON,
        body=json.dumps(PERSON).encode(),
        content_type="application/json",
    ),
    _page(
        "short-file",
        "`staticdir`, a file of 2 kB",
        "/static/short.css",
        SHORT_FILE,
        signs_in=True,
    ),
    _page(
        "long-file", "`staticdir`, a file of 300 kB", "/static/long.js", LONG_FILE, signs_in=True
    ),
)

_STREAM_OF_TEXT = Case("stream-text", ("generator "
    "without `await`"), "GET", "/stream_text", CHUNK * CHUNK_COUNT, STREAM,
                       batch_divisor=10)  # fmt: skip
SYNC_STREAM = replace(_STREAM_OF_TEXT, name="stream-sync", title=("`def` "
    "generator"), path="/stream_sync",
                      batch_divisor=20, whole_chunks=False)  # fmt: skip
STREAM_CASES = (
    _STREAM_OF_TEXT,
    replace(
        _STREAM_OF_TEXT,
        name="stream-wait",
        title="generator that awaits before each chunk",
        path="/stream_wait",
    ),
    replace(
        _STREAM_OF_TEXT,
        name="stream-send",
        title="`send` that yields to the loop",
        send_yields=True,
    ),
    SYNC_STREAM,
)


# --- shapes of handlers ---------------------------------------------------------------------------

SHAPE_CASES = (
    *(
        Case(shape, f"returns {title}", "GET", f"/{shape}", HELLO.encode())
        for shape, title in (
            ("text", "text"),
            ("bytes", "bytes"),
            ("tuple", "a tuple of status and text"),
            ("response", "a `Response`"),
        )
    ),
    Case("dict", "returns a dict", "GET", "/dict", {"message": HELLO}, JSON),
    Case("list", "returns a list", "GET", "/list", [HELLO], JSON),
    Case("yielded-text", "yields text once", "GET", "/yielded_text", HELLO.encode(), BODY),
    Case("yielded-bytes", "yields bytes once", "GET", "/yielded_bytes", HELLO.encode(), BODY),
)


def complaint(case: Case, answer: Answer, *, whole_chunks: bool = True) -> str | None:
    """Return why this answer is wrong, or None. A benchmark that measures a 404 is worth nothing.

    `whole_chunks`: every chunk of a stream has to arrive as a separate piece. This is not required
    of a bridge between threads, which may join chunks that are ready together.
    """
    if answer.status != case.status:
        return f"status {answer.status} instead of {case.status}: {answer.body[:200]!r}"
    for name, text in case.expects:
        if text not in answer.headers.get(name, ""):
            return f"the header {name} is {answer.headers.get(name)!r}, without {text!r}"
    if case.kind == HEAD:
        return None
    if case.kind != SOCKET and "content-type" not in answer.headers:
        return "no Content-Type"
    if case.kind == STREAM:
        return _stream_complaint(case, answer, whole_chunks and case.whole_chunks)
    if case.kind not in (BODY, EVENTS, SOCKET) and answer.headers.get("content-length") != str(
        len(answer.body)
    ):
        return (
            f"Content-Length {answer.headers.get('content-length')!r} for {len(answer.body)} bytes"
        )
    return _body_complaint(case, answer.body)


_HIDDEN_FIELD = re.compile(rb'<input type="hidden"[^>]*>')
_EVENT_DATA = re.compile(rb"^data: ?(.*?)\r?$", re.MULTILINE)


def _body_complaint(case: Case, body: bytes) -> str | None:
    got: Any = body
    try:
        if case.kind == JSON:
            got = json.loads(body)
        elif case.kind == GZIP:
            got = gzip.decompress(body)
        elif case.kind == PAGE:
            got = _HIDDEN_FIELD.sub(b"", body)
        elif case.kind == EVENTS:
            got = _EVENT_DATA.findall(body)
    except (ValueError, OSError) as error:
        return f"not {case.kind} ({error}): {body[:200]!r}"
    return None if got == case.want else f"{str(got)[:200]} instead of {str(case.want)[:200]}"


def _stream_complaint(case: Case, answer: Answer, whole_chunks: bool) -> str | None:
    if answer.body != case.want:
        return f"a stream of {len(answer.body)} bytes instead of {len(case.want)}"
    pieces = [piece for piece in answer.pieces if piece]
    if whole_chunks and len(pieces) != CHUNK_COUNT:
        return f"{len(pieces)} pieces instead of {CHUNK_COUNT}"
    return None
