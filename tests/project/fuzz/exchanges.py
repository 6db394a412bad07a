"""Targets that ask a whole application, by WSGI and by ASGI: the answers must be equal, and none
a 500.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
import socket
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, TypeAlias
from urllib.parse import unquote_to_bytes, urlsplit
from uuid import UUID

import h11

from micropie import (
    App,
    BadRequest,
    BindingErrors,
    Cookie,
    Form,
    Header,
    HTTPError,
    Page,
    Query,
    Redirect,
    ResponseError,
    SetupError,
    UploadFile,
    WebSocket,
    flash,
    get_flashed_messages,
    post,
    route,
    run_in,
    static_file,
    websocket,
)
from micropie._core.files.lookup import find
from micropie._core.http.problem import error_answer
from micropie._core.http.request import Request
from micropie._core.http.response import encode, redirect_response
from micropie.asgi.exchange import ASGIExchange
from micropie.cli.serving.options import Options, ServingError
from micropie.debug.page import error_page
from micropie.extensions.request import _has_several_workers
from micropie.middleware import CSRFMiddleware, ProxyHeaders, TrustedHosts
from micropie.sessions import SignedCookieSessionBackend
from micropie.wsgi.simple_server import _Handler
from tests.asgi.calls import http_scope, piece
from tests.project.fuzz.parsers import attempt, fields_of, latin
from tests.support.asgi_validator import validated
from tests.wsgi.calls import environ_for

TOKEN = re.compile(rb"[!#$%&'*+\-.^`|~0-9A-Za-z]+")
_KEY = "a key of thirty-two bytes or more"

# The functions of the server for a request that neither receives nor sends anything.
NO_SERVER: Any = (lambda: None, lambda message: None)


@dataclass
class Order:
    name: str
    count: int = 1
    price: Decimal = Decimal(0)
    lines: list[int] | None = None


class Inner(App):
    @run_in("loop")
    def index(self, *names: str) -> Any:
        return {"inner": names, "path": self.request.path}

    @run_in("loop")
    def default(self, *names: str) -> Any:
        page = Page.of(range(100), 2, 10)
        return {"links": [page.next_url, page.link_header(), self.request.url], "default": names}


class Root(App):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.inner = Inner()

    @run_in("loop")
    def index(self) -> Any:
        request = self.request
        return {
            "query": request.query_params,
            "cookies": request.cookies,
            "types": request.accepts("html", "json", "text"),
            "signed": request.signed_cookie("signed", "none", max_age=10**9),
            "event": request.last_event_id,
            "host": request.host,
        }

    @run_in("loop")
    def bind(
        self, a: int, b: float = 0.5, *, c: list[int] | None = None, d: UUID | date | None = None
    ) -> Any:
        return {"a": a, "b": b, "c": c, "d": d}

    @run_in("loop")
    def errors(self, a: int, b: Decimal, problems: BindingErrors) -> Any:
        return {"problems": [str(problem) for problem in problems], "given": repr(problems.given)}

    @run_in("loop")
    def anything(self, *names: str, **fields: Any) -> Any:
        return {"names": names, "fields": repr(fields)}

    @run_in("loop")
    def numbers(self, **fields: int) -> Any:
        return fields

    @run_in("loop")
    def order(self, order: Order) -> Any:
        return order

    @run_in("loop")
    def stated(
        self,
        token: Annotated[str, Header("X-Token")] = "",
        size: Annotated[int | None, Header] = None,
        theme: Annotated[str, Cookie()] = "light",
        page: Annotated[int, Query("p")] = 1,
        text: Annotated[str, Form()] = "",
    ) -> Any:
        return [token, size, theme, page, text]

    @run_in("loop")
    def whole(self, search: Annotated[Order, Query()]) -> Any:
        return search

    @run_in("loop")
    def upload(self, file: UploadFile, note: str = "") -> Any:
        return {"name": file.filename, "size": file.size, "note": note}

    @run_in("loop")
    def document(self) -> Any:
        return self.request.json()

    @run_in("loop")
    def fresh(self) -> Any:
        return None if self.request.not_modified(etag=self.request.query("tag", "a")) else "page"

    @run_in("loop")
    def away(self, to: str) -> Any:
        with suppress(ResponseError):
            return self.request.response.status and Redirect(to)

    @run_in("loop")
    def notes(self, add: str = "") -> Any:
        if add:
            flash(add)
        return get_flashed_messages()

    @run_in("loop")
    @post
    def change(self) -> Any:
        return "changed"

    @run_in("loop")
    @route("/wild/<year:int>-<month>/<rest:path>")
    def wild(self, year: int, month: str, rest: str) -> Any:
        return [year, month, rest]

    @run_in("loop")
    @route("/re/<code:re:[a-z]+[0-9]*>")
    def code(self, code: str) -> Any:
        return code


@cache
def _app() -> App:
    return Root(
        secret_key=_KEY,
        session_backend=SignedCookieSessionBackend(_KEY),
        security=False,
        errors="auto",
    )


@cache
def _runner() -> asyncio.Runner:
    return asyncio.Runner()


def by_wsgi(app: Any, environ: dict[str, Any]) -> tuple[int, list[tuple[str, str]], bytes]:
    seen: list[Any] = []
    result = app(
        environ, lambda status, headers, exc_info=None: seen.extend([int(status[:3]), headers])
    )
    body = b"".join(result)
    getattr(result, "close", lambda: None)()
    return seen[0], [(name.lower(), value) for name, value in seen[1]], body


def by_asgi(
    app: Any, scope: dict[str, Any], *pieces: bytes
) -> tuple[int, list[tuple[str, str]], bytes]:
    sent: list[Any] = []
    incoming = [piece(body, more=True) for body in pieces[:-1]] + [piece(pieces[-1])]

    async def receive() -> Any:
        return incoming.pop(0) if incoming else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    _runner().run(app(scope, receive, send))
    head, *rest = sent
    headers = [(latin(name), latin(value)) for name, value in head["headers"]]
    return head["status"], headers, b"".join(message.get("body", b"") for message in rest)


Answer: TypeAlias = tuple[int, list[tuple[str, str]], bytes]


class Pieces(io.RawIOBase):
    """A server's input, of which a read with a size returns a piece at most."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = [*filter(None, pieces)]

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            self._pieces, found = [], b"".join(self._pieces)
            return found
        if not self._pieces:
            return b""
        first = self._pieces.pop(0)
        if size < len(first):
            self._pieces.insert(0, first[size:])
            return first[:size]
        return first


def ask_both(
    app: Any,
    method: str,
    target: bytes,
    lines: list[tuple[bytes, bytes]],
    *pieces: bytes,
    is_chunked: bool = False,
) -> tuple[Answer, Answer]:
    """Return the answers of both protocols to a request as a server passes it on.

    ``is_chunked``: whether the client didn't say how long the body is.
    """
    body = b"".join(pieces)
    raw_path, _, query = target.partition(b"?")
    path = unquote_to_bytes(raw_path)
    names = {name for name, _ in lines}
    lines = [pair for pair in lines if pair[0] != b"content-length"]
    lines += [] if b"host" in names else [(b"host", b"testserver")]
    if is_chunked:
        lines.append((b"transfer-encoding", b"chunked"))
    elif body:
        lines.append((b"content-length", str(len(body)).encode()))
    scope = http_scope(
        method,
        path.decode("utf-8", "replace"),
        raw_path=raw_path,
        query_string=query,
        headers=lines,
        path=path.decode("utf-8", "replace"),
    )
    environ = environ_for(method, "/", body)
    environ = {name: value for name, value in environ.items() if not name.startswith("HTTP_")}
    environ |= {"PATH_INFO": latin(path), "RAW_URI": latin(target), "QUERY_STRING": latin(query)}
    environ |= {"REMOTE_ADDR": "127.0.0.1", "REMOTE_PORT": "50000"}
    environ |= {"wsgi.input": Pieces(pieces), "wsgi.input_terminated": True}
    environ.pop("CONTENT_LENGTH", None)
    for name, value in lines:
        key = latin(name).upper().replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        separator = "; " if key == "HTTP_COOKIE" else ", "
        environ[key] = (
            f"{environ[key]}{separator}{latin(value)}"
            if key in environ and name in names
            else latin(value)
        )
    return by_wsgi(app, environ), by_asgi(app, scope, *pieces)


def _both(
    app: Any, method: str, target: bytes, lines: list[tuple[bytes, bytes]], body: bytes
) -> Answer:
    """Return the one answer of both protocols."""
    first, second = ask_both(app, method, target, lines, body)
    assert first[0] == second[0], (first, second)
    assert without_values(first[1]) == without_values(second[1])
    assert first[2] == second[2]
    # a 500 for an address that no header may have
    assert first[0] < 500 or target.startswith(b"/away"), first
    return first


def without_values(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the headers without the values of cookies, which have the time in them."""
    return sorted(
        (name, value.partition("=")[0] if name == "set-cookie" else value)
        for name, value in headers
    )


def lines_of(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return headers as a server passes them on, of text in lines.

    Each name is there once, but for Accept and Cookie.
    """
    lines: list[tuple[bytes, bytes]] = []
    for line in data.split(b"\n")[:20]:
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip(b" \t")
        is_known = name in (b"accept", b"cookie") or name not in {known for known, _ in lines}
        if (
            TOKEN.fullmatch(name)
            and not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value)
            and is_known
            and value
        ):
            lines.append((name, value))
    return lines


def exchange(data: bytes) -> None:
    """A request gets one answer, whatever the protocol: never a 500, and what it says of itself is
    true.
    """
    method, target, head, body = fields_of(data, 4)
    method = {b"": b"GET", b"P": b"POST", b"H": b"HEAD", b"O": b"OPTIONS"}.get(method, method)
    target = re.sub(rb"[\x00-\x20\x7f#]", b"", target)
    if not TOKEN.fullmatch(method) or b"*" in target[:1]:
        return
    status, headers, content = _both(_app(), latin(method), b"/" + target, lines_of(head), body)
    named = dict(headers)
    if named.get("content-type", "").partition(";")[0] in (
        "application/json",
        "application/problem+json",
    ):
        document = json.loads(content) if method != b"HEAD" else {}
        for link in (
            document.get("links", ()) if isinstance(document, dict) and status == 200 else ()
        ):
            where = urlsplit(link.lstrip("<"))
            assert where.netloc in ("", "testserver") or b"host" in head.lower(), link
    if "location" in named:
        assert host_that_browsers_go_to(named["location"], "http://testserver/") == "testserver"
    assert named.get("x-content-type-options") == "nosniff" or status in (204, 304)
    assert all(re.fullmatch(r"[\t\x20-\x7e\x80-\xff]*", value) for value in named.values())


# -- paths -----------------------------------------------------------------------------------------


def path(data: bytes) -> None:
    """The path that is routed has no dots, no empty segments and no NUL; a link to it stays on the
    host.
    """
    raw = b"/" + data
    scope = http_scope(
        "GET", "/", path=unquote_to_bytes(raw).decode("utf-8", "replace"), raw_path=raw
    )
    request = ASGIExchange(scope, *NO_SERVER)
    found = attempt(request.segments)
    assert not request.url_path().startswith("//")
    assert re.fullmatch(r"/[A-Za-z0-9/:@!$&'()*+,;=~%._-]*", request.url_path())
    if isinstance(found, list):
        assert not {"", ".", ".."} & {*found} and "\0" not in request.path
        assert request.path == "/" + "/".join(found)
        again = ASGIExchange(
            http_scope("GET", "/", path=request.path, raw_path=request.url_path().encode()),
            *NO_SERVER,
        )
        assert again.segments() == found


@cache
def served_tree() -> str:
    root = Path(tempfile.mkdtemp()) / "root"
    for name in ("a.txt", "b/c.txt", ".hidden", "b/.d/e", "c.txt.gz", "c.txt", "é.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    for name in ("secret.txt", "root-old/x"):
        (root.parent / name).parent.mkdir(exist_ok=True)
        (root.parent / name).write_text("secret")
    (root / "out").symlink_to(root.parent)
    (root / "in").symlink_to("b")
    (root / "loop").symlink_to("loop")
    return str(root)


def served_file(data: bytes) -> None:
    """What a path leads to is a visible file below the directory, or a 404."""
    root = served_tree()
    name = data.decode("utf-8", "surrogateescape")
    found = attempt(find, root, name, (".br", ".gz"), False)
    if found[0] != 404:
        real = Path(found[0]).resolve()  # type: ignore[arg-type]
        assert real.is_relative_to(Path(root).resolve())
        assert not any(
            part.startswith(".") for part in real.relative_to(Path(root).resolve()).parts
        )
    with suppress(HTTPError, UnicodeEncodeError):
        static_file(name, root)


# -- where redirects and requests go ---------------------------------------------------------------


def host_that_browsers_go_to(location: str, base: str) -> str:
    """Return the host of a location as the WHATWG URL standard reads it, relative to ``base``; "?"
    for another scheme.
    """
    text = re.sub(r"[\t\r\n]", "", location.strip("".join(map(chr, range(0x21)))))
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", text)
    parts = urlsplit(base)
    if scheme is not None:
        kind = scheme[1].lower()
        if kind not in ("http", "https"):
            return "?"
        text = text[scheme.end() :].replace("\\", "/")
        if kind == parts.scheme and not text.startswith("//"):  # relative, in spite of its scheme
            return parts.netloc
        text = "//" + text.lstrip("/")
    text = text.replace("\\", "/")
    if not text.startswith("//"):
        return parts.netloc
    return (
        re.split(r"[/?#]", text[2:].lstrip("/") if scheme else text[2:], maxsplit=1)[0]
        .rpartition("@")[2]
        .lower()
    )


def redirect(data: bytes) -> None:
    """A redirect that is sent leads to this host, as browsers read it."""
    location = data.decode("utf-8", "replace")
    for scheme in ("http", "https"):
        with suppress(HTTPError, ResponseError):
            answer = redirect_response(
                Redirect(location), SimpleNamespace(scheme=scheme, host="testserver")
            )
            _, _, _, headers, _, _ = encode(answer, None, False)
            where = dict(headers)["location"]
            assert host_that_browsers_go_to(where, f"{scheme}://testserver/a") == "testserver", (
                where
            )


def forwarded(data: bytes) -> None:
    """A proxy's headers change nothing unless it is trusted; a scheme or a host that it states is
    well-formed, or the request is refused.
    """
    kind, xff, proto, host, rfc = fields_of(data, 5)
    hops = kind[0] % 4 if kind else 0
    lines = [
        (b"x-forwarded-for", xff),
        (b"x-forwarded-proto", proto),
        (b"x-forwarded-host", host),
        (b"forwarded", rfc),
    ]
    scope = http_scope(
        "GET", "/", headers=[*lines, (b"host", b"testserver")], client=("10.0.0.1", 5)
    )
    for trusted in ("10.0.0.0/8", "192.168.0.1"):
        for is_rfc in (False, True):
            middleware = ProxyHeaders(
                trusted=[trusted], hops=hops or None, host=True, forwarded=is_rfc
            )
            request = Request(ASGIExchange(scope, *NO_SERVER))
            request._exchange.config = _config()
            try:
                middleware.before(request)
            except BadRequest:
                assert trusted == "10.0.0.0/8"
                assert (rfc if is_rfc else proto + host).strip(b" \t,"), "nothing is stated"
                continue
            assert request.client is not None
            if trusted != "10.0.0.0/8":
                assert (*request.client, request.scheme, request.host) == (
                    "10.0.0.1",
                    5,
                    "http",
                    "testserver",
                )
            assert re.fullmatch(r"[0-9a-f.:]+(%.*)?", request.client.host)
            assert request.scheme in ("http", "https")
            assert re.fullmatch(r"https?://[a-z0-9._~:\[\]-]+/", request.url)
            if (
                not is_rfc
                and trusted == "10.0.0.0/8"
                and hops
                and re.fullmatch(rb"[\d.]+(, [\d.]+)*", xff)
            ):
                entries = latin(xff).split(", ")
                assert request.client.host in (entries[-hops:][0], "10.0.0.1")


def csrf(data: bytes) -> None:
    """No request of another site's page passes."""
    site, origin, more = (latin(field) for field in fields_of(data, 3))
    headers = [
        ("host", "testserver"),
        ("sec-fetch-site", site),
        ("origin", origin),
        ("cookie", more),
    ]
    scope = http_scope(
        "POST",
        "/",
        headers=[(name.encode(), value.encode("latin-1")) for name, value in headers if value],
    )
    status, _, _ = by_asgi(_guarded(), scope, b"")
    if status == 200:
        origin = origin.lower()
        is_own = not origin or origin in ("http://testserver", "http://testserver:80")
        is_friend = origin in ("https://friend.example", "https://friend.example:443")
        assert site in ("same-origin", "none") or is_friend or is_own
        assert site not in ("cross-site", "same-site") or is_friend
        assert site in ("same-origin", "none") or origin or not more
    else:
        assert status in (400, 403)


@cache
def _guarded() -> App:
    class Guarded(App):
        @run_in("loop")
        def index(self) -> str:
            return "changed"

    app = Guarded(security=False)
    app.middlewares += [
        TrustedHosts("testserver"),
        CSRFMiddleware(trusted_origins=["https://friend.example"]),
    ]
    return app


# -- pages that echo -------------------------------------------------------------------------------


class _Elements(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes |= {
            f"{name}={value}" if name in ("href", "id") else name for name, value in attrs
        }


_ERROR_ELEMENTS = {"html", "meta", "title", "style", "main", "h1", "p"}
_DEBUG_ELEMENTS = _ERROR_ELEMENTS | {
    "head",
    "body",
    "h2",
    "code",
    "pre",
    "mark",
    "details",
    "summary",
}
_DEBUG_ELEMENTS |= {"table", "tr", "th", "td", "a"}
_PAGE_ATTRIBUTES = {"lang", "charset", "name", "content", "open", "tabindex"} | {
    "href=#text",
    "id=text",
}


def error_pages(data: bytes) -> None:
    """A client's text in an error, a path, a header or a variable is text on the page, and JSON in
    a document.
    """
    raw_message, raw_accept, raw_path, raw_query = fields_of(data, 4)
    message = raw_message.decode("utf-8", "replace")
    scope = http_scope(
        "GET",
        "/",
        path="/" + raw_path.decode("utf-8", "replace"),
        query_string=raw_query,
        headers=[
            (b"accept", raw_accept),
            (b"host", b"localhost"),
            (b"x-header", raw_message),
            (b"cookie", raw_path),
        ],
    )
    request = Request(ASGIExchange(scope, *NO_SERVER))
    request._exchange.config = _config()
    variable = {message: latin(raw_query)}
    try:
        raise RuntimeError(message, variable)
    except RuntimeError as error:
        failure = error
    plain = error_answer(request, HTTPError(500), "auto")
    for answer, elements in (
        (error_answer(request, HTTPError(404, message)), _ERROR_ELEMENTS),
        (error_page(request, failure, plain), _DEBUG_ELEMENTS),
    ):
        _, kind, _, _, body, _ = encode(answer, None, False)
        if kind is not None and kind.startswith("text/html"):
            page = _Elements(body.decode())
            assert page.elements <= elements
            assert page.attributes <= _PAGE_ATTRIBUTES
        elif kind == "application/problem+json":
            assert json.loads(body)["status"] in (404, 500)
        else:
            assert kind == "text/plain; charset=utf-8"


@cache
def _config() -> Any:
    """Return the configuration of an application, as a request has it."""
    return _app()._micropie.compiled().config


# -- WebSockets ------------------------------------------------------------------------------------


class Talking(App):
    @websocket("/")
    async def talk(self, ws: WebSocket) -> None:
        await ws.accept()
        async for message in ws:
            if message == "json":
                await ws.send_json(await ws.receive_json())
            elif message == "bytes":
                await ws.send_bytes(await ws.receive_bytes())
            else:
                await ws.send_text(repr(message))


@cache
def _talking() -> Any:
    return validated(Talking(websocket_origins=["https://friend.example"]))


def websocket_messages(data: bytes) -> None:
    """Whatever messages come, the application keeps to the protocol and raises nothing."""
    origin, *raw = data.split(b"\x1e")[:20]
    origin = re.sub(rb"[\x00-\x1f\x7f]", b"", origin)
    messages: list[dict[str, Any]] = [{"type": "websocket.connect"}]
    for message in raw:
        kind, content = message[:1], message[1:]
        if kind == b"t":
            messages.append(
                {"type": "websocket.receive", "text": content.decode("utf-8", "replace")}
            )
        elif kind == b"n":
            messages.append({"type": "websocket.receive", "bytes": content, "text": None})
        else:
            messages.append({"type": "websocket.receive", "bytes": content})
    messages.append({"type": "websocket.disconnect", "code": 1000 + len(data) % 16})
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0) if messages else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    lines = [(b"host", b"testserver"), *([(b"origin", origin)] if origin else [])]
    scope = http_scope("GET", "/", type="websocket", scheme="ws", headers=lines, subprotocols=[])
    del scope["method"]
    _runner().run(_talking()(scope, receive, send))
    is_own = latin(origin).lower() in (
        "",
        "http://testserver",
        "http://testserver:80",
        "https://friend.example",
    )
    assert (sent[0]["type"] == "websocket.accept") <= (
        is_own or latin(origin).lower().endswith("friend.example:443")
    )


# -- the bare server, and what moved in ------------------------------------------------------------


class _Server:
    """What a handler of the bare server needs of its server."""

    server_name, server_port, base_environ = (
        "testserver",
        80,
        {"SERVER_NAME": "testserver", "SERVER_PORT": "80"},
    )

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def get_app(self) -> Callable[..., list[bytes]]:
        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            self.seen.append(environ)
            start_response("200 OK", [])
            return []

        return app


def bare_head(data: bytes) -> None:
    """A head that the bare server passes on is one request, and h11 reads the same of it."""
    server = _Server()
    client, connection = socket.socketpair()
    with client, connection, contextlib.redirect_stderr(None):
        client.sendall(data[:60_000] + b"\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        _Handler(connection, ("127.0.0.1", 1), server)  # type: ignore[arg-type]
    if not server.seen:
        return
    (environ,) = server.seen
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=10**6)
    reader.receive_data(data + b"\r\n\r\n")
    try:
        found = reader.next_event()
    except h11.RemoteProtocolError as error:
        # h11 knows HTTP/1.0 and 1.1 alone, and insists on a Host.
        assert re.search(
            "Missing mandatory Host|multiple Host|illegal request line|illegal header line",
            str(error),
        ), error
        return
    assert isinstance(found, h11.Request)
    assert environ["REQUEST_METHOD"] == latin(bytes(found.method))
    target = latin(bytes(found.target))
    assert environ["RAW_URI"].lstrip("/") == target.lstrip("/")
    theirs = {
        latin(name).upper().replace("-", "_") for name, _ in found.headers if b"_" not in name
    }
    ours = {name.removeprefix("HTTP_") for name in environ if name.startswith("HTTP_")}
    ours |= {name for name in ("CONTENT_LENGTH", "CONTENT_TYPE") if name in environ}
    assert theirs <= ours | {"CONTENT_LENGTH", "CONTENT_TYPE"}, (theirs, ours)
    assert ours - {"CONTENT_TYPE"} <= theirs, (theirs, ours)


# -- what a developer states -----------------------------------------------------------------------


def settings(data: bytes) -> None:
    """Options of the command line and settings are taken, or refused with a sentence."""
    import sys

    words = [word.decode("utf-8", "replace") for word in data.split(b"\x1e")[:6]]
    before, sys.argv = sys.argv, ["uvicorn", *words]
    try:
        request: Any = SimpleNamespace(_exchange=SimpleNamespace(has_several_workers=None))
        assert _has_several_workers(request) in (True, False)
    finally:
        sys.argv = before
    host, port, workers, loop, key, origin = [*words, *[""] * 6][:6]
    with suppress(ServingError, ValueError):
        options = Options(host=host, port=int(port), workers=int(workers), loop=loop or None)  # type: ignore[arg-type]
        assert 0 <= options.port <= 65535 and options.workers >= 1
    for make in (
        lambda: TrustedHosts(host, loop),
        lambda: ProxyHeaders(trusted=[host], hops=len(port)),
        lambda: CSRFMiddleware(trusted_origins=[origin], exempt=[host]),
        lambda: App(secret_key=key),
        lambda: App(session_cookie=key, errors=loop),  # type: ignore[arg-type]
    ):
        with suppress(SetupError):
            make()
