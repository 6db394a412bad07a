"""The whole framework on CPython 3.14 without threads: template strings, and ``def`` code in line.

``run.mjs`` runs it in Pyodide. Linters of older Pythons can't read it.
"""

import json
import sys
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import anyio

from micropie import App, EventStream, HTTPError, Redirect, escape, event, html, post, requires, where

FOLDER = Path(tempfile.mkdtemp())
(FOLDER / "page.html").write_text("<p>{{ name }} {{ url_for('page') }}</p>")


class Money:
    def __init__(self, cents):
        self.cents = cents

    def __str__(self):
        return f"{self.cents / 100:.2f}"


type Rows[T] = list[T]
type Json = dict[str, Json] | Rows[Json] | str


class Names:
    """A resource."""


def only_known(request):
    return "known" in request.query


class Inner(App):
    @requires(only_known)
    def index(self):
        return t"{where()}"


class Root(App):
    @asynccontextmanager
    async def lifespan(self):
        self.state.log = ["started"]
        yield
        self.state.log.append("stopped")

    def index(self, name="<b>"):
        return t"<p>{name}</p>"

    async def waits(self, name="<b>", ratio=0.5):
        return 201, t"{name!r:>6} {ratio:.2f} {[t'<i>{x}</i>' for x in '<>']} {escape('&')} {html('{}', '<')}"

    def lazy(self):
        return t"<ul>{(t'<li>{number}</li>' for number in range(20_000))}</ul>"

    def where(self):
        return where()

    def rows(self):
        for number in range(500):
            yield t"<{number}>"

    def ticks(self):
        return EventStream(event(number, id=number) for number in range(3))

    async def counts(self):
        async def numbers():
            for number in range(3):
                yield number

        return EventStream(numbers())

    @post
    def pay(self, price: Money, note: str = ""):
        return {"price": price, "note": note, "visits": self.request.session.get("visits")}

    def visit(self):
        self.request.session["visits"] = self.request.session.get("visits", 0) + 1
        return Redirect("/")

    def page(self):
        return self.render("page.html", name="<b>")

    def names(self, names: Names):
        return names

    def total(self, numbers: Rows[int]) -> Rows[int]:
        return [sum(numbers)]

    @post
    def keep(self, json: Json) -> Json:
        return json

    def fails(self):
        raise HTTPError(409, "taken")

    async def ws_echo(self, ws):
        await ws.accept()
        await ws.send_json([await ws.receive_text(), Money(5)])


def make_app():
    app = Root(encoders={Money: str}, decoders={Money: lambda text: Money(round(100 * float(text)))}, templates=FOLDER)
    app.inner = Inner()
    app.static("/static", FOLDER)
    app.heard = []

    @app.provides(Names)
    def names():
        yield ["Ann"]

    def timed(request):
        response = yield
        response.headers["X-Where"] = where()

    @app.error(404)
    async def missing(request, error):
        # "with" in a def is for threads
        async with request.resource(Names) as names:
            request.after_response(later, app.heard, *names)
            return [request.path, *names]

    async def later(heard, name):
        heard.append(name)

    app.middlewares.append(timed)
    return app


def scope_of(kind, path, **more):
    path, _, query = path.partition("?")
    common = {"asgi": {"version": "3.0"}, "http_version": "1.1", "path": path, "raw_path": path.encode()}
    ends = {"root_path": "", "client": ("127.0.0.1", 5000), "server": ("localhost", 80)}
    return {"type": kind, **common, **ends, "query_string": query.encode(), "headers": [], **more}


async def ask(app, path, body=None, headers=()):
    """Return the status, the headers and the body of an answer."""
    method = "GET" if body is None else "POST"
    scope = scope_of("http", path, method=method, scheme="http", headers=[(b"host", b"localhost"), *headers])
    messages = [{"type": "http.request", "body": body or b"", "more_body": False}]
    sent = []

    async def receive():
        return messages.pop() if messages else await anyio.sleep_forever()  # the client stays

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    start, *chunks = sent
    return start["status"], dict(start["headers"]), b"".join(chunk.get("body", b"") for chunk in chunks).decode()


JSON, FORM = (b"content-type", b"application/json"), (b"content-type", b"application/x-www-form-urlencoded")

CASES = [
    ("/", None, (), 200, "<p>&lt;b&gt;</p>"),
    ("/waits", None, (), 201, " &#39;&lt;b&gt;&#39; 0.50 <i>&lt;</i><i>&gt;</i> &amp; &lt;"),
    ("/lazy", None, (), 200, f"<ul>{''.join(f'<li>{number}</li>' for number in range(20_000))}</ul>"),
    ("/where", None, (), 200, "loop"),
    ("/rows", None, (), 200, "".join(f"<{number}>" for number in range(500))),
    ("/ticks", None, (), 200, ": \n\nid: 0\ndata: 0\n\nid: 1\ndata: 1\n\nid: 2\ndata: 2\n\n"),
    ("/counts", None, (), 200, ": \n\ndata: 0\n\ndata: 1\n\ndata: 2\n\n"),
    ("/pay", b'{"price": "3.5"}', [JSON], 200, '{"price":"3.50","note":"","visits":null}'),
    ("/pay", b"price=1&note=x+y", [FORM], 200, '{"price":"1.00","note":"x y","visits":null}'),
    ("/pay", b"price=much", [FORM], 400, "price: Please enter another value."),
    ("/page", None, (), 200, "<p>&lt;b&gt; /page</p>"),
    ("/names", None, (), 200, '["Ann"]'),
    ("/total?numbers=1&numbers=2", None, (), 200, "[3]"),
    ("/total?numbers=x", None, (), 400, "numbers: Please enter a whole number."),
    ("/keep", b'{"json": {"a": ["b"]}}', [JSON], 200, '{"a":["b"]}'),
    ("/fails", None, (), 409, "taken"),
    ("/static/page.html", None, (), 200, (FOLDER / "page.html").read_text()),
    ("/inner?known", None, (), 200, "loop"),
    ("/inner", None, (), 403, "403 Forbidden"),
    ("/no/where", None, (), 404, '["/no/where","Ann"]'),
]


async def check_answers(app):
    for path, body, headers, status, text in CASES:
        found = await ask(app, path, body, headers)
        assert (found[0], found[2]) == (status, text), (path, found)
        assert status >= 400 or found[1][b"x-where"] == b"loop", found[1]
    status, headers, _ = await ask(app, "/visit")
    cookie = headers[b"set-cookie"].partition(b";")[0]
    assert status == 303, status
    _, _, text = await ask(app, "/pay", b"price=1", [FORM, (b"cookie", cookie)])
    assert json.loads(text)["visits"] == 1, text
    assert app.heard == ["Ann"], app.heard


async def check_websocket(app):
    messages = [{"type": "websocket.receive", "text": "hello"}, {"type": "websocket.connect"}]
    sent = []

    async def receive():
        return messages.pop() if messages else await anyio.sleep_forever()  # the client stays

    async def send(message):
        sent.append(message)

    await app(scope_of("websocket", "/echo", scheme="ws", subprotocols=[]), receive, send)
    assert [one["type"] for one in sent] == ["websocket.accept", "websocket.send", "websocket.close"], sent
    assert sent[1]["text"] == '["hello","0.05"]', sent


async def check_lifespan(app):
    messages = [{"type": "lifespan.shutdown"}, {"type": "lifespan.startup"}]
    sent = []

    async def receive():
        return messages.pop()

    async def send(message):
        sent.append(message["type"])

    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"], sent
    assert app.state.log == ["started", "stopped"], app.state.log


def check_wsgi(app):
    """Without ``async`` code, which needs a thread for its event loop."""
    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/inner",
        "QUERY_STRING": "known",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    heads = []
    body = b"".join(app(environ, lambda status, headers, error=None: heads.append(status)))
    assert (heads, body) == (["200 OK"], b"loop"), (heads, body)


async def main():
    assert sys.version_info >= (3, 14)
    await check_lifespan(make_app())
    await check_answers(make_app())
    await check_websocket(make_app())
    outer = App()
    outer.inner = Inner()
    check_wsgi(outer)
    print(f"{len(CASES)} requests, a WebSocket, a lifespan and WSGI on Python {sys.version.split()[0]}, {sys.platform}")
