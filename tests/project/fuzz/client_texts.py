"""Every place where a client can write a text, and how the time for it grows.

``ENTRIES`` has each place by name, as a function that makes a request with the text in it. One site
is asked, with the middleware that reads headers, which reads all that it is sent. A header, a field
or a middleware that takes a client's text gets a line here; those of the compatibility modules are
in compat/tests/fuzz.

The site is asked by WSGI, in the thread that asks, so that the time which the processor had for a
request is that thread's.
"""

from __future__ import annotations

import json
import logging
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date
from decimal import Decimal
from functools import cache, partial
from io import BytesIO
from pathlib import Path
from tempfile import mkdtemp
from typing import Annotated, Any
from urllib.parse import quote_from_bytes
from uuid import UUID

import anyio

from micropie import (
    App,
    Cookie,
    EventStream,
    Header,
    HTTPError,
    Page,
    Redirect,
    Response,
    UploadFile,
    flash,
    get_flashed_messages,
    static_file,
)
from micropie._core.files.content_types import attachment
from micropie.middleware import (
    AccessLog,
    BasicAuth,
    BearerAuth,
    Compress,
    CORSMiddleware,
    CSRFMiddleware,
    ProxyHeaders,
    RequestId,
    TrustedHosts,
    csrf_token,
)
from tests.asgi.calls import get
from tests.support.codecs import make_codec
from tests.support.growth import Ask, Entry
from tests.wsgi.calls import environ_for

KEY = "a key of thirty-two bytes or more"
_EVERYTHING = 2**30

# -- micropie's own --------------------------------------------------------------------------------


class _Inner(App):
    def index(self) -> str:
        return "in"


class _Site(App):
    def index(self, **values: str) -> Any:
        request = self.request
        csrf_token(request)
        found = [
            request.accepts("html", "json"),
            request.last_event_id,
            request.url,
            request.cookies,
        ]
        return [values, *found, request.signed_cookie("signed", ""), request.session.get("a")]

    def segments(self, *names: str) -> Any:
        return [names, self.url_for("segments", *names)]

    def stated(
        self, x: Annotated[str, Header("X-Token")] = "", y: Annotated[int, Header("X-Number")] = 0
    ) -> Any:
        return [x, y]

    def bound(
        self,
        a: int = 0,
        b: float = 0,
        c: Decimal = Decimal(0),
        d: date | None = None,
        e: UUID | None = None,
    ) -> Any:
        return [a, b, c, d, e]

    def numbers(self, n: list[int]) -> Any:
        return n

    def theme(self, theme: Annotated[str, Cookie]) -> str:
        return theme

    def download(self, name: str) -> Any:
        return static_file(name, root=folder_with_file(), download=True)

    def named(self, name: str) -> Any:
        return Response("text", headers=[("Content-Disposition", attachment(name))])

    def away(self, to: str) -> Any:
        return Redirect(to)

    def flashed(self, text: str) -> Any:
        flash(text)
        return get_flashed_messages()

    def kept(self, text: str) -> str:
        self.request.session["text"] = text
        return "kept"

    def error(self, text: str) -> Any:  # type: ignore[override]
        raise HTTPError(400, text)

    def typed(self, kind: str) -> Any:
        return Response("text", content_type=kind)

    def cookie(self, text: str) -> Any:
        self.request.response.set_cookie("a", text)
        return "set"

    def events(self, text: str) -> Any:
        return EventStream([text])

    def fresh(self, tag: str = "a") -> Any:
        return None if self.request.not_modified(etag=tag) else "page"

    def page(self) -> Any:
        page = Page.of(range(100), 2, 10)
        return [page.next_url, page.link_header()]

    def upload(self, file: UploadFile) -> Any:
        return [file.filename, file.raw_filename, file.content_type]

    def document(self) -> Any:
        return self.request.json()


def _in_wsgi(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"in"]


@cache
def folder_with_file() -> str:
    folder = mkdtemp()
    (Path(folder) / "there").write_text("a file")
    return folder


@cache
def _site() -> App:
    app = _Site(
        secret_key=KEY, max_form_field_size=_EVERYTHING, max_data_size=_EVERYTHING, errors="auto"
    )
    app.get("/wild/<a>-<b>-<c>/<rest:path>")(lambda a, b, c, rest: [a, b, c, rest])
    app.get("/re/<a:re:[a-z]+[0-9]*>")(lambda a: a)
    app.get("/year/<a:int>")(lambda a: a)
    app.static("/static", folder_with_file())
    log = logging.getLogger("tests.client_texts")
    log.addHandler(logging.NullHandler())
    log.propagate = False
    log.setLevel(logging.INFO)
    app.middlewares += [
        AccessLog(logger=log, query=True),
        RequestId(trust=True),
        ProxyHeaders(trusted=["127.0.0.1"], host=True),
        CORSMiddleware(origins=["https://friend.example"], credentials=True),
        CSRFMiddleware(exempt=["/a"]),
        Compress(),
    ]
    for prefix, middleware in (
        ("/basic", BasicAuth({"a": "b"})),
        ("/bearer", BearerAuth(lambda token: token == "b")),
        ("/hosts", TrustedHosts("testserver", "*.example.org")),
        ("/forwarded", ProxyHeaders(trusted=["127.0.0.1"], forwarded=True, host=True)),
    ):
        inner = _Inner()
        inner.middlewares.append(middleware)
        app.mount(prefix, inner)
    return app


@cache
def _plain() -> App:
    app = _Site(secret_key=KEY)
    app.static("/static", folder_with_file())
    app.mount("/in_wsgi", _in_wsgi)
    return app


# -- requests --------------------------------------------------------------------------------------


def _ask(app: Any, environ: dict[str, Any]) -> int:
    statuses: list[int] = []
    chunks = app(environ, lambda status, headers, exc_info=None: statuses.append(int(status[:3])))
    for _ in chunks:
        pass
    getattr(chunks, "close", lambda: None)()
    return statuses[0]


def _request(
    app: Callable[[], Any], method: str, target: str, body: bytes, headers: Mapping[str, str]
) -> Ask:
    environ = environ_for(method, target, body, RAW_URI=target, **headers)
    return lambda: _ask(app(), {**environ, "wsgi.input": BytesIO(body)})


# What has no meaning in a query or a form: the rest comes back by decoding, which takes longer than
# what is asked for here.
_UNESCAPED = b"!\"$'()*,-./:;<>?@[\\]^_`{|}~"


def escaped(text: str) -> str:
    return quote_from_bytes(text.encode("utf-8", "surrogatepass"), safe=_UNESCAPED)


def _latin(text: str) -> str:
    return text.encode("utf-8", "surrogatepass").decode("latin-1")


def in_header(
    app: Callable[[], Any], name: str, form: str = "{}", target: str = "/", method: str = "GET"
) -> Entry:
    key = name if name.startswith("CONTENT") else f"HTTP_{name}"
    return lambda text: _request(
        app, method, target, b"" if method == "GET" else b"a=1", {key: _latin(form.format(text))}
    )


def in_query(app: Callable[[], Any], target: str) -> Entry:
    return lambda text: _request(app, "GET", target + escaped(text), b"", {})


def in_path(app: Callable[[], Any], form: str) -> Entry:
    def make(text: str) -> Ask:
        path = form.format(_latin(text))
        ask = environ_for("GET", "/", b"", PATH_INFO=path)
        return lambda: _ask(app(), dict(ask))

    return make


def in_body(
    app: Callable[[], Any], target: str, kind: str, form: str, escape: Callable[[str], str] = str
) -> Entry:
    def make(text: str) -> Ask:
        body = form.replace("{}", escape(text)).encode("utf-8", "surrogatepass")
        return _request(
            app, "POST", target, body, {"CONTENT_TYPE": kind, "HTTP_SEC_FETCH_SITE": "same-origin"}
        )

    return make


def repeated(name: str, target: str) -> Entry:
    """Return an entry that sends a header once for each character of a text, to a site under ASGI
    whose middleware has not looked at the headers before.
    """
    method, _, path = target.partition(" ")

    def make(text: str) -> Ask:
        lines = [(name.encode(), value.encode()) for value in text]
        return lambda: anyio.run(partial(get, headers=lines), _plain(), path, method)

    return make


FORM = "application/x-www-form-urlencoded"
PARTS = "multipart/form-data; boundary=B"
_JSON = "application/json"
_PART = '--B\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n{more}\r\n{value}\r\n--B--\r\n'


def _read_json(text: bytes) -> None:
    with suppress(ValueError):
        make_codec(None)[1](text)


def part_of_form(name: str = "a", more: str = "", value: str = "x") -> str:
    return _PART.replace("{name}", name).replace("{more}", more).replace("{value}", value)


def in_base64(text: str) -> str:
    return b64encode(text.encode("utf-8", "surrogatepass")).decode()


def everywhere(app: Callable[[], Any], prefix: str) -> dict[str, Entry]:
    """Return the places that each site has."""
    headers = {
        "cookie": ("COOKIE", "{}"),
        "a cookie's value": ("COOKIE", 'a="{}"; b=1'),
        "signed cookie": ("COOKIE", "signed={}"),
        "session's cookie": ("COOKIE", "session_id={}"),
        "accept": ("ACCEPT", "{}"),
        "accept, a weight": ("ACCEPT", "text/html;q={}"),
        "accept-encoding": ("ACCEPT_ENCODING", "{}"),
        "any header": ("X_TOKEN", "{}"),
        "host": ("HOST", "{}"),
        "host of brackets": ("HOST", "[{}]"),
        "x-forwarded-for": ("X_FORWARDED_FOR", "{}"),
        "x-forwarded-proto": ("X_FORWARDED_PROTO", "{}"),
        "x-forwarded-host": ("X_FORWARDED_HOST", "{}"),
        "authorization": ("AUTHORIZATION", "{}"),
        "if-none-match": ("IF_NONE_MATCH", "{}"),
        "if-modified-since": ("IF_MODIFIED_SINCE", "{}"),
        "date": ("IF_MODIFIED_SINCE", "Sat, {} Nov 2026 07:28:00 GMT"),
        "content type": ("CONTENT_TYPE", "{}"),
        "content type's parameter": ("CONTENT_TYPE", "text/plain; {}"),
        "cache-control": ("CACHE_CONTROL", "{}"),
        "requested with": ("X_REQUESTED_WITH", "{}"),
    }
    found = {f"{prefix} {name}": in_header(app, *form) for name, form in headers.items()}
    return found | {
        f"{prefix} form's content type": in_header(
            app, "CONTENT_TYPE", FORM + "; charset={}", "/", "POST"
        ),
        f"{prefix} boundary": in_header(
            app, "CONTENT_TYPE", "multipart/form-data; boundary={}", "/", "POST"
        ),
        f"{prefix} path": in_path(app, "/{}"),
        f"{prefix} path of segments": in_path(app, "/a/{}/b"),
        f"{prefix} query": lambda text: _request(app, "GET", "/?" + _latin(text), b"", {}),
        f"{prefix} query's name": in_query(app, "/?a="),
        f"{prefix} form": in_body(app, "/", FORM, "{}"),
        f"{prefix} form's value": in_body(app, "/", FORM, "a={}", escaped),
        f"{prefix} multipart": in_body(app, "/", PARTS, "{}"),
        f"{prefix} multipart's value": in_body(app, "/", PARTS, part_of_form(value="{}")),
        f"{prefix} multipart's file name": in_body(app, "/", PARTS, part_of_form(name="{}")),
        f"{prefix} multipart's file name, escaped": in_body(
            app, "/", PARTS, part_of_form(name="\"; filename*=utf-8''{}; a=\"")
        ),
        f"{prefix} multipart's header": in_body(
            app, "/", PARTS, part_of_form(more="Content-Type: {}\r\n")
        ),
        f"{prefix} document": in_body(app, "/document", _JSON, "{}"),
        f"{prefix} document's text": in_body(app, "/document", _JSON, "{}", json.dumps),
    }


ENTRIES: dict[str, Entry] = {
    **everywhere(_site, "site:"),
    "site: origin": in_header(_site, "ORIGIN"),
    "site: origin of a form": in_header(_site, "ORIGIN", "https://{}", method="POST"),
    "site: origin of a preflight": in_header(
        _site, "ACCESS_CONTROL_REQUEST_HEADERS", method="OPTIONS"
    ),
    "site: request id": in_header(_site, "X_REQUEST_ID"),
    "site: forwarded": in_header(_site, "FORWARDED", target="/forwarded/"),
    "site: forwarded, quoted": in_header(_site, "FORWARDED", 'for="{}";proto=https', "/forwarded/"),
    "site: trusted hosts": in_header(_site, "HOST", "{}.example.org", "/hosts/"),
    "site: basic log-in": in_header(_site, "AUTHORIZATION", "Basic {}", "/basic/"),
    "site: basic log-in's text": lambda text: in_header(
        _site, "AUTHORIZATION", "Basic {}", "/basic/"
    )(in_base64(text)),
    "site: bearer token": in_header(_site, "AUTHORIZATION", "Bearer {}", "/bearer/"),
    "site: last event's id": in_header(_site, "LAST_EVENT_ID"),
    "site: etags": in_header(_site, "IF_NONE_MATCH", 'W/"{}', "/fresh"),
    "site: etag of a query": in_query(_site, "/fresh?tag="),
    "site: a header's number": in_header(_site, "X_NUMBER", "{}", "/stated"),
    "site: a cookie's parameter": in_header(_site, "COOKIE", "theme={}", "/theme"),
    **{f"site: parameter {name}": in_query(_site, f"/bound?{name}=1") for name in "abcde"},
    "site: numbers": lambda text: _request(
        _site, "GET", "/numbers?n=" + "1&n=".join(text), b"", {}
    ),
    "site: token of a form": in_body(_site, "/", FORM, "csrf_token={}", escaped),
    "site: wildcards": in_path(_site, "/wild/{}/x"),
    "site: wildcards and a path": in_path(_site, "/wild/a-b-c/{}"),
    "site: wildcard of an expression": in_path(_site, "/re/a{}"),
    "site: wildcard of digits": in_path(_site, "/year/1{}"),
    "site: segments": in_path(_site, "/segments/{}"),
    "site: static file": in_path(_site, "/static/{}"),
    "site: range": in_header(_site, "RANGE", "bytes={}", "/named?name=a"),
    "site: download of a file": in_query(_site, "/download?name=a"),
    "site: download's name": in_query(_site, "/named?name=a"),
    "site: redirect": in_query(_site, "/away?to="),
    "site: redirect to a host": in_query(_site, "/away?to=//a"),
    "site: flashed text": in_query(_site, "/flashed?text="),
    "site: session's text": in_query(_site, "/kept?text="),
    "site: error's text": in_query(_site, "/error?text="),
    "site: content type of a query": in_query(_site, "/typed?kind=text/plain;charset="),
    "site: cookie of a query": in_query(_site, "/cookie?text="),
    "site: event of a query": in_query(_site, "/events?text="),
    "site: links of a page": lambda text: _request(_site, "GET", "/page?" + _latin(text), b"", {}),
    "site: upload": in_body(_site, "/upload", PARTS, part_of_form(name="{}")),
    "site: json without orjson": lambda text: partial(
        _read_json, text.encode("utf-8", "surrogatepass")
    ),
}
