"""Every place where a client can write a text, and how the time for it grows.

``ENTRIES`` has each place by name, as a function that makes a request with the text in it. Three
sites are asked, which read all that they are sent: one of micropie's own, with the middleware that
reads headers, and one of each stand-in. A header, a field or a middleware that takes a client's
text gets a line here.

The sites are asked by WSGI, in the thread that asks, so that the time which the processor had for a
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
from typing import Annotated, Any, ClassVar
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
from micropie.compat import bottle, cherrypy
from micropie.compat.cherrypy.lib import auth_digest
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
from tests.project.fuzz.moved import Documents
from tests.support.codecs import make_codec
from tests.support.growth import Ask, Entry
from tests.wsgi.calls import environ_for

_KEY = "a key of thirty-two bytes or more"
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
        return static_file(name, root=_folder(), download=True)

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
def _folder() -> str:
    folder = mkdtemp()
    (Path(folder) / "there").write_text("a file")
    return folder


@cache
def _site() -> App:
    app = _Site(
        secret_key=_KEY, max_form_field_size=_EVERYTHING, max_data_size=_EVERYTHING, errors="auto"
    )
    app.get("/wild/<a>-<b>-<c>/<rest:path>")(lambda a, b, c, rest: [a, b, c, rest])
    app.get("/re/<a:re:[a-z]+[0-9]*>")(lambda a: a)
    app.get("/year/<a:int>")(lambda a: a)
    app.static("/static", _folder())
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
    app = _Site(secret_key=_KEY)
    app.static("/static", _folder())
    app.mount("/in_wsgi", _in_wsgi)
    return app


# -- the stand-ins ---------------------------------------------------------------------------------


@cache
def _bottle() -> Any:
    app = bottle.Bottle()
    request, response = bottle.request, bottle.response

    @app.route("/", method=["GET", "POST"])
    def index() -> Any:
        signed = request.get_cookie("signed", "none", secret=_KEY)
        dates = [bottle.parse_date(request.headers.get("If-Modified-Since", ""))]
        seen = [
            request.url,
            request.auth,
            request.is_ajax,
            signed,
            dates,
            request.remote_route,
            request.chunked,
        ]
        return repr(
            [*map(dict, (request.query, request.cookies, request.forms)), [*request.files], *seen]
        )

    @app.post("/document")
    def document() -> Any:
        return {"document": request.json}

    @app.get("/files/<name:path>")
    def files(name: str) -> Any:
        return bottle.static_file(name, _folder(), download=True)

    @app.get("/moved")
    def moved() -> Any:
        bottle.redirect(request.query.to)

    @app.get("/status")
    def status() -> Any:
        response.status = f"200 {request.query.text}"
        response.set_cookie("a", request.query.text, secret=_KEY)
        return "text"

    for rule in (
        "/archive/<y>-<m>-<d>",
        "/<a:int>.<b:float>/<c:path>/x",
        "/two/<a:path>/x/<b:path>/y",
    ):
        app.get(rule)(lambda **values: repr(values))
    return app


class _Root(Documents):
    _cp_config: ClassVar = {"tools.proxy.on": True, "tools.encode.on": True}

    @cherrypy.expose
    def index(self, *args: str, **values: Any) -> str:
        headers = cherrypy.request.headers
        found = [headers.elements(name) for name in ("Accept", "Cookie", "X-Token")]
        return repr([args, values, found, cherrypy.url(), [*cherrypy.request.cookie]])

    @cherrypy.expose
    def uploaded(self, **values: Any) -> str:
        return repr([getattr(value, "filename", value) for value in values.values()])

    @cherrypy.expose
    @cherrypy.tools.sessions()
    def kept(self, text: str = "") -> str:
        cherrypy.session["text"] = text
        return "kept"

    @cherrypy.expose
    @cherrypy.tools.caching(antistampede_timeout=None)
    @cherrypy.tools.gzip()
    @cherrypy.tools.etags(autotags=True)
    @cherrypy.tools.accept(media=["text/html", "application/json"])
    def cached(self, **values: Any) -> str:
        return repr(values)

    @cherrypy.expose
    def moved(self, to: str = "/") -> None:
        raise cherrypy.HTTPRedirect(to)

    @cherrypy.expose
    def error(self, text: str = "") -> None:
        raise cherrypy.HTTPError(f"400 {text}", text)

    @cherrypy.expose
    def named(self, name: str = "") -> Any:
        return cherrypy.lib.static.serve_file(__file__, disposition="attachment", name=name)


@cache
def _cherrypy() -> Any:
    digest = {"realm": "r", "key": _KEY, "get_ha1": auth_digest.get_ha1_dict_plain({"a": "b"})}
    config: dict[str, dict[str, object]] = {
        "/files": {"tools.staticdir.on": True, "tools.staticdir.dir": _folder()},
        "/basic": {
            "tools.auth_basic.on": True,
            "tools.auth_basic.realm": "r",
            "tools.auth_basic.checkpassword": lambda realm, user, password: user == password,
        },
        "/digest": {
            "tools.auth_digest.on": True,
            **{f"tools.auth_digest.{key}": value for key, value in digest.items()},
        },
        "/form": {
            "tools.sessions.on": True,
            "tools.session_auth.on": True,
            "tools.session_auth.check_username_and_password": lambda *_: "",
        },
    }
    cherrypy.config.update({"log.screen": False})
    return cherrypy.Application(_Root(), "", config)


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


def _escaped(text: str) -> str:
    return quote_from_bytes(text.encode("utf-8", "surrogatepass"), safe=_UNESCAPED)


def _latin(text: str) -> str:
    return text.encode("utf-8", "surrogatepass").decode("latin-1")


def _header(
    app: Callable[[], Any], name: str, form: str = "{}", target: str = "/", method: str = "GET"
) -> Entry:
    key = name if name.startswith("CONTENT") else f"HTTP_{name}"
    return lambda text: _request(
        app, method, target, b"" if method == "GET" else b"a=1", {key: _latin(form.format(text))}
    )


def _query(app: Callable[[], Any], target: str) -> Entry:
    return lambda text: _request(app, "GET", target + _escaped(text), b"", {})


def _path(app: Callable[[], Any], form: str) -> Entry:
    def make(text: str) -> Ask:
        path = form.format(_latin(text))
        ask = environ_for("GET", "/", b"", PATH_INFO=path)
        return lambda: _ask(app(), dict(ask))

    return make


def _body(
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


_FORM = "application/x-www-form-urlencoded"
_PARTS = "multipart/form-data; boundary=B"
_JSON = "application/json"
_PART = '--B\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n{more}\r\n{value}\r\n--B--\r\n'


def _read_json(text: bytes) -> None:
    with suppress(ValueError):
        make_codec(None)[1](text)


def _part(name: str = "a", more: str = "", value: str = "x") -> str:
    return _PART.replace("{name}", name).replace("{more}", more).replace("{value}", value)


def _base64(text: str) -> str:
    return b64encode(text.encode("utf-8", "surrogatepass")).decode()


def _everywhere(app: Callable[[], Any], prefix: str) -> dict[str, Entry]:
    """Return the places that each of the three sites has."""
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
    found = {f"{prefix} {name}": _header(app, *form) for name, form in headers.items()}
    return found | {
        f"{prefix} form's content type": _header(
            app, "CONTENT_TYPE", _FORM + "; charset={}", "/", "POST"
        ),
        f"{prefix} boundary": _header(
            app, "CONTENT_TYPE", "multipart/form-data; boundary={}", "/", "POST"
        ),
        f"{prefix} path": _path(app, "/{}"),
        f"{prefix} path of segments": _path(app, "/a/{}/b"),
        f"{prefix} query": lambda text: _request(app, "GET", "/?" + _latin(text), b"", {}),
        f"{prefix} query's name": _query(app, "/?a="),
        f"{prefix} form": _body(app, "/", _FORM, "{}"),
        f"{prefix} form's value": _body(app, "/", _FORM, "a={}", _escaped),
        f"{prefix} multipart": _body(app, "/", _PARTS, "{}"),
        f"{prefix} multipart's value": _body(app, "/", _PARTS, _part(value="{}")),
        f"{prefix} multipart's file name": _body(app, "/", _PARTS, _part(name="{}")),
        f"{prefix} multipart's file name, escaped": _body(
            app, "/", _PARTS, _part(name="\"; filename*=utf-8''{}; a=\"")
        ),
        f"{prefix} multipart's header": _body(app, "/", _PARTS, _part(more="Content-Type: {}\r\n")),
        f"{prefix} document": _body(app, "/document", _JSON, "{}"),
        f"{prefix} document's text": _body(app, "/document", _JSON, "{}", json.dumps),
    }


ENTRIES: dict[str, Entry] = {
    **_everywhere(_site, "site:"),
    **_everywhere(_bottle, "bottle:"),
    **_everywhere(_cherrypy, "cherrypy:"),
    "site: origin": _header(_site, "ORIGIN"),
    "site: origin of a form": _header(_site, "ORIGIN", "https://{}", method="POST"),
    "site: origin of a preflight": _header(
        _site, "ACCESS_CONTROL_REQUEST_HEADERS", method="OPTIONS"
    ),
    "site: request id": _header(_site, "X_REQUEST_ID"),
    "site: forwarded": _header(_site, "FORWARDED", target="/forwarded/"),
    "site: forwarded, quoted": _header(_site, "FORWARDED", 'for="{}";proto=https', "/forwarded/"),
    "site: trusted hosts": _header(_site, "HOST", "{}.example.org", "/hosts/"),
    "site: basic log-in": _header(_site, "AUTHORIZATION", "Basic {}", "/basic/"),
    "site: basic log-in's text": lambda text: _header(
        _site, "AUTHORIZATION", "Basic {}", "/basic/"
    )(_base64(text)),
    "site: bearer token": _header(_site, "AUTHORIZATION", "Bearer {}", "/bearer/"),
    "site: last event's id": _header(_site, "LAST_EVENT_ID"),
    "site: etags": _header(_site, "IF_NONE_MATCH", 'W/"{}', "/fresh"),
    "site: etag of a query": _query(_site, "/fresh?tag="),
    "site: a header's number": _header(_site, "X_NUMBER", "{}", "/stated"),
    "site: a cookie's parameter": _header(_site, "COOKIE", "theme={}", "/theme"),
    **{f"site: parameter {name}": _query(_site, f"/bound?{name}=1") for name in "abcde"},
    "site: numbers": lambda text: _request(
        _site, "GET", "/numbers?n=" + "1&n=".join(text), b"", {}
    ),
    "site: token of a form": _body(_site, "/", _FORM, "csrf_token={}", _escaped),
    "site: wildcards": _path(_site, "/wild/{}/x"),
    "site: wildcards and a path": _path(_site, "/wild/a-b-c/{}"),
    "site: wildcard of an expression": _path(_site, "/re/a{}"),
    "site: wildcard of digits": _path(_site, "/year/1{}"),
    "site: segments": _path(_site, "/segments/{}"),
    "site: static file": _path(_site, "/static/{}"),
    "site: range": _header(_site, "RANGE", "bytes={}", "/named?name=a"),
    "site: download of a file": _query(_site, "/download?name=a"),
    "site: download's name": _query(_site, "/named?name=a"),
    "site: redirect": _query(_site, "/away?to="),
    "site: redirect to a host": _query(_site, "/away?to=//a"),
    "site: flashed text": _query(_site, "/flashed?text="),
    "site: session's text": _query(_site, "/kept?text="),
    "site: error's text": _query(_site, "/error?text="),
    "site: content type of a query": _query(_site, "/typed?kind=text/plain;charset="),
    "site: cookie of a query": _query(_site, "/cookie?text="),
    "site: event of a query": _query(_site, "/events?text="),
    "site: links of a page": lambda text: _request(_site, "GET", "/page?" + _latin(text), b"", {}),
    "site: upload": _body(_site, "/upload", _PARTS, _part(name="{}")),
    "site: json without orjson": lambda text: partial(
        _read_json, text.encode("utf-8", "surrogatepass")
    ),
    "bottle: rule of three": _path(_bottle, "/archive/1{}/x"),
    "bottle: rule of numbers": _path(_bottle, "/1{}/x"),
    "bottle: rule of two paths": _path(_bottle, "/two/{}/z"),
    "bottle: file": _path(_bottle, "/files/{}"),
    "bottle: range": _header(_bottle, "RANGE", "bytes={}", "/files/a"),
    "bottle: redirect": _query(_bottle, "/moved?to="),
    "bottle: redirect to a host": _query(_bottle, "/moved?to=//a"),
    "bottle: status": _query(_bottle, "/status?text="),
    "bottle: log-in": lambda text: _header(_bottle, "AUTHORIZATION", "Basic {}")(_base64(text)),
    "bottle: signed cookie's text": _header(_bottle, "COOKIE", 'signed="!{0}?{0}"'),
    "cherrypy: redirect": _query(_cherrypy, "/moved?to="),
    "cherrypy: redirect to a host": _query(_cherrypy, "/moved?to=//a"),
    "cherrypy: error's text": _query(_cherrypy, "/error?text="),
    "cherrypy: session's text": _query(_cherrypy, "/kept?text="),
    "cherrypy: cached": _query(_cherrypy, "/cached?a="),
    "cherrypy: media": _header(_cherrypy, "ACCEPT", "{}", "/cached"),
    "cherrypy: download's name": _query(_cherrypy, "/named?name=a"),
    "cherrypy: range": _header(_cherrypy, "RANGE", "bytes={}", "/named?name=a"),
    "cherrypy: encoded words": _header(_cherrypy, "X_TOKEN", "=?utf-8?q?{}?="),
    "cherrypy: basic log-in": _header(_cherrypy, "AUTHORIZATION", "Basic {}", "/basic"),
    "cherrypy: basic log-in's text": lambda text: _header(
        _cherrypy, "AUTHORIZATION", "Basic {}", "/basic"
    )(_base64(text)),
    "cherrypy: digest log-in": _header(_cherrypy, "AUTHORIZATION", "Digest {}", "/digest"),
    "cherrypy: digest log-in's user": _header(
        _cherrypy, "AUTHORIZATION", 'Digest username="{}"', "/digest"
    ),
    "cherrypy: log-in's page": _body(
        _cherrypy, "/form/do_login", _FORM, "username=a&password=b&from_page=//a{}", _escaped
    ),
    "cherrypy: log-out's page": _body(
        _cherrypy, "/form/do_logout", _FORM, "from_page=//a{}", _escaped
    ),
    "cherrypy: file": _path(_cherrypy, "/files/{}"),
}
