"""One application, made of the original package and of ours, gets the same requests and gives the
same answers.
"""

from __future__ import annotations

import datetime
import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bottle as original
import pytest

from micropie.compat import bottle as ours
from micropie.testing import TestClient
from tests.conftest import MakeClient

NOT_COMPARED = {"date", "etag"}


class Plugin:
    name = "plugin"
    api = 2

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def apply(self, callback: Any, route: Any) -> Any:
        def wrapper(*args: Any, **values: Any) -> Any:
            result = callback(*args, **values)
            return f"{self.mark}({result})" if isinstance(result, str) else result

        return wrapper


def build(bottle: Any, root: Path) -> Any:
    app, request, response = bottle.Bottle(), bottle.request, bottle.response

    # -- routes
    app.route("/")(lambda: "root")
    app.route("/static/path")(lambda: "static")
    app.route(["/several", "/several/<name>"])(lambda name="nobody": name)
    app.route("/hello/<name>/<number:int>")(lambda name, number: f"{name} {number!r}")
    app.route("/float/<x:float>")(lambda x: repr(x))
    app.route("/path/<p:path>/end")(lambda p: p)
    app.route("/path/<p:path>")(lambda p: f"any {p}")
    app.route("/re/<x:re:[a-z]+(?:-[a-z]+)?>")(lambda x: x)
    app.route("/old/:name/:x#[0-9]+#")(lambda name, x: f"{name} {x}")
    app.route("/anonymous/<:re:[ab]>/<x>")(lambda x: x)
    app.route("/beside/<a:int><b:re:[a-z]+>")(lambda a, b: f"{a} {b}")
    app.route("/escaped/\\<x>")(lambda: "escaped")
    app.route("/groups/<x:re:(a|b)(c)>/<y>")(lambda x, y: f"{x} {y}")
    app.route("/named/:#(?P<year>[0-9]+)#")(lambda: "named")
    app.route("/first/<x>")(lambda x: f"first {x}")
    app.route("/first/<y:int>")(lambda y: f"second {y}")
    app.route("/any", method="ANY")(lambda: request.method)
    app.route("/verbs", method=["PUT", "DELETE"])(lambda: request.method)
    app.route("/head", method="HEAD")(lambda: "")
    app.router.add_filter("list", lambda conf: (r"\d+(?:,\d+)*", lambda t: t.split(","), ",".join))
    app.route("/list/<numbers:list>", name="numbers")(lambda numbers: repr(numbers))
    app.route("/url")(
        lambda: (
            app.get_url("numbers", numbers=["1", "2"])
            + app.get_url("/hello/<name>/<number:int>", name="x", number=3, q="a b")
        )
    )

    @app.get()
    def by__name(a: str, b: str = "no") -> str:
        return f"{a} {b}"

    # -- the request
    @app.route("/seen", method="ANY")
    def seen() -> dict[str, Any]:
        return {
            "path": request.path,
            "fullpath": request.fullpath,
            "url": request.url,
            "script": request.script_name,
            "parts": list(request.urlparts),
            "query": list(request.query.decode().allitems()),
            "string": request.query_string,
            "ajax": request.is_ajax,
            "auth": request.auth,
            "length": request.content_length,
            "type": request.content_type,
            "header": request.get_header("X-Test"),
            "headers": request.headers.get("x-test", "none"),
            "has": "X-TEST" in request.headers,
            "cookies": sorted(request.cookies.allitems()),
            "route": request.route.rule,
            "app": request.app is app,
            "args": request.url_args,
            "missing": request.query.missing,
            "typed": request.query.get("n", -1, type=int),
            "all": request.query.getall("n"),
        }

    @app.post("/form")
    def form() -> dict[str, Any]:
        return {
            "name": request.forms.name,
            "unicode": request.forms.getunicode("name"),
            "all": request.forms.getall("many"),
            "decoded": sorted(request.forms.decode().allitems()),
            "params": sorted(request.params),
            "files": [
                (n, f.filename, f.raw_filename, f.content_type, f.file.read().decode())
                for n, f in request.files.allitems()
            ],
            "body": len(request.body.read()),
        }

    @app.route("/json", method=["POST", "PUT"])
    def the_json() -> dict[str, Any]:
        return {"json": request.json}

    @app.post("/body")
    def body() -> bytes:
        first: bytes = request.body.read()
        assert first == request.body.read()
        return first

    @app.route("/own")
    def own() -> str:
        request.user = "me"
        try:
            request.user = "you"
        except AttributeError:
            return f"{request.user} {hasattr(request, 'other')}"
        return "twice"

    # -- results
    results = {
        "none": None, "empty": "", "false": False, "list": [], "text": "Grüße", "bytes": b"\xff\x00", "dict": {"a": [1, "ü"]},
        "texts": ["a", "b"], "pieces": [b"a", b"b"], "number": 5, "dicts": [{"a": 1}], "emptydict": {}, "tuple": ("a", "b"),
    }  # fmt: skip
    app.route("/result/<name>")(lambda name: results[name])

    @app.route("/generator")
    def generator() -> Iterator[Any]:
        yield ""
        response.set_header("X-Late", "yes")
        response.status = "299 Strange"
        yield "ä"
        yield request.path

    @app.route("/generator/<kind>")
    def generators(kind: str) -> Iterator[Any]:
        if kind == "abort":
            bottle.abort(409, "conflict")
        if kind == "response":
            yield bottle.HTTPResponse("from inside", 202)
        if kind == "bytes":
            yield b"\xfe"
        if kind == "numbers":
            yield 1
        if kind == "broken":
            raise RuntimeError

    @app.route("/file")
    def file() -> Any:
        return (root / "a.txt").open("rb")

    # -- the response
    @app.route("/headers")
    def headers() -> str:
        response.status = 201
        response.headers["x_one"] = "1"
        response.set_header("X-Two", "2")
        response.add_header("X-Two", "zwei ü")
        response.content_type = "text/plain; charset=latin-1"
        response["X-Three"] = 3
        del response["X-Three"]
        return f"ü {response.charset} {'X-One' in response} {response.get_header('x-two')} {response.status_code}"

    @app.route("/cookies")
    def cookies() -> str:
        response.set_cookie("plain", "a b;c", path="/x", httponly=True, secure=False)
        response.set_cookie(
            "old",
            "1",
            max_age=datetime.timedelta(days=2),
            expires=0,
            samesite="lax",
            domain="x.org",
        )
        response.delete_cookie("gone", path="/")
        return "ok"

    app.route("/status/<code:int>")(
        lambda code: bottle.HTTPResponse("body", code, {"X-A": "b"}, X_More="c")
    )
    app.route("/statusline")(lambda: bottle.HTTPResponse("", "404 Brain not found"))
    app.route("/dictresponse")(lambda: bottle.HTTPResponse({"a": 1}, 201))

    @app.route("/raised")
    def raised() -> None:
        response.set_header("X-Lost", "1")
        raise bottle.HTTPResponse("raised", 418)

    @app.route("/redirect")
    def redirect() -> None:
        response.set_cookie("kept", "1")
        response.set_header("X-Kept", "1")
        bottle.redirect(request.query.to or "/there?x=1", int(request.query.code or 0) or None)

    @app.error(409)
    def conflict(error: Any) -> Any:
        response.set_header("X-Handler", "1")
        return (
            {"caught": error.body}
            if request.query.json
            else f"caught {error.body} {error.status_line}"
        )

    app.route("/conflict")(lambda: bottle.abort(409, "me"))
    app.route("/returned")(lambda: bottle.HTTPError(409, "returned", X_Extra="1"))

    # -- plugins
    app.route("/guarded")(
        bottle.auth_basic(lambda user, password: user == password, "Realm")(lambda: "in")
    )
    app.route("/applied", apply=[Plugin("one"), lambda f: lambda: f"deco({f()})"])(lambda: "x")
    app.route("/skipped", apply=Plugin("one"), skip=["plugin"])(lambda: "x")
    app.route("/nojson", skip=["json"])(lambda: {"a": "keys are joined by nobody"})
    app.route("/tpl", template="Hello {{name}}!")(lambda: {"name": "<World>"})
    app.route("/tplargs", template=("{{a}} {{b}}", {"b": "default"}))(lambda: {"a": 1})
    app.route("/view")(bottle.view("{{x}} {{!x}}")(lambda: {"x": "<b>"}))
    app.route("/template")(lambda: bottle.template("a\n% for x in xs:\n{{x}},\n% end\n", xs=[1, 2]))

    # -- files
    @app.route("/files/<name:path>")
    def files(name: str) -> Any:
        options = {
            key: value for key, value in request.query.items() if key in ("mimetype", "charset")
        }
        return bottle.static_file(
            name,
            str(root),
            download=request.query.download or False,
            headers={"X-File": "1"},
            **options,
        )

    # -- applications inside
    child = bottle.Bottle()
    child.route("/")(lambda: "child root")
    child.route("/<x>")(lambda x: f"child {x} {request.script_name} {request.path}")
    child.error(404)(lambda error: "child's 404")
    app.mount("/child/", child)
    other = bottle.Bottle()
    other.route("/merged")(lambda: "merged")
    app.merge(other)

    def wsgi(environ: Any, start_response: Any) -> Any:
        start_response(
            "203 Of WSGI",
            [
                ("Content-Type", "text/x"),
                ("X-Seen", environ["SCRIPT_NAME"] + "|" + environ["PATH_INFO"]),
            ],
        )
        return [
            environ["REQUEST_METHOD"].encode(),
            b" ",
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)),
        ]

    app.mount("/wsgi", wsgi)
    return app


def build_with_hooks(bottle: Any, root: Path) -> Any:
    app, request, response = bottle.Bottle(), bottle.request, bottle.response

    @app.hook("before_request")
    def strip() -> None:
        request.environ["PATH_INFO"] = request.environ["PATH_INFO"].rstrip("/") or "/"
        if request.query.stop:
            bottle.abort(403, "stopped")

    @app.hook("after_request")
    def cors() -> None:
        response.headers["Access-Control-Allow-Origin"] = "*"
        response.headers["X-Order"] = response.headers.get("X-Order", "") + "1"

    @app.hook("after_request")
    def after() -> None:
        response.headers["X-Order"] = response.headers.get("X-Order", "") + "2"
        if request.query.late:
            raise bottle.HTTPResponse("late", 202)

    app.install(Plugin("installed"))
    app.route("/x")(lambda: "x")
    app.route("/boom")(lambda: {}["no"])  # type: ignore[index]
    app.route("/json")(lambda: {"a": 1})
    app.route("/abort")(lambda: bottle.abort(418, "tea"))
    return app


def form(**fields: str) -> dict[str, Any]:
    return {"data": fields}


def typed(content: bytes | str, media_type: str = "application/json") -> dict[str, Any]:
    return {"content": content, "headers": {"Content-Type": media_type}}


FILE = {
    "files": {"up": ("../ä b.txt", b"content", "text/x-y")},
    "data": {"name": "ä", "many": ["1", "2"]},
}
HEADERS = {
    "X-Test": "a",
    "X-Requested-With": "XMLHttpRequest",
    "Cookie": 'a=1; b="x y"; a=2',
    "Authorization": "Basic dTpww6Q6eA==",
}

REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    *[("GET", path, {}) for path in """
        / /static/path /static/path/ /several /several/x /hello/w/1 /hello/w/-1 /hello/w/x /hello/w/1/ /hello//1 /float/1.5 /float/1.2.3
        /float/-2 /path/a/b/end /path/a/b /path/end /path// /re/abc /re/a-b /re/a- /re/A /old/x/12 /old/x/y /anonymous/a/b
        /anonymous/c/b /beside/12ab /escaped/<x> /groups/ac/y /groups/c/y /named/2024 /first/1 /any /verbs /head /list/1,2 /list/a /url /by/name/1
        /by/name/1/2 /by/name /hello/%C3%A4%20%2F/1 //several
        /seen /seen?a=1&a=2&n=3&n=x&n=5&e&=v&p=%C3%A4+b%2Bc&& /own /result/none /result/empty /result/false /result/list /result/text
        /result/bytes /result/dict /result/texts /result/pieces /result/emptydict /result/tuple /generator /generator/abort
        /generator/response /generator/bytes /generator/none /file /headers /cookies /status/200 /status/204 /status/304 /status/401 /status/599
        /statusline /dictresponse /raised /redirect /redirect?to=rel /redirect?to=//other/x&code=301 /redirect?to=http://y/z /conflict
        /conflict?json=1 /returned /guarded /applied /skipped /tpl /tplargs /view /template /files/a.txt
        /files/a.txt?download=b.bin /files/a.txt?mimetype=x/y /files/a.txt?charset=latin1 /files/a.tar.gz /files/a.svg.bz2 /files/none
        /files/sub /files/a%00.txt /child/ /child/x /child /merged /wsgi /wsgi/ /wsgi/a/b/ /wsgix
     """.split()],
    *[(method, path, {}) for method in ("HEAD", "POST", "DELETE", "PUT", "OPTIONS") for path in ("/", "/any", "/verbs", "/head", "/wsgi/x", "/generator")],
    ("HEAD", "/files/a.txt", {}),
    ("HEAD", "/result/none", {}),
    ("GET", "/seen", {"headers": HEADERS}),
    ("POST", "/seen?x=1", typed("abc", "Text/Plain; charset=x")),
    ("GET", "/guarded", {"auth": ("a", "a")}),
    ("GET", "/guarded", {"auth": ("a", "b")}),
    ("POST", "/form?q=1", form(name="Jürgen & co", many="1")),
    ("POST", "/form", typed("name=a&name=b&many=1&many=2&empty", "application/x-www-form-urlencoded")),
    ("POST", "/form", typed("name=%C3%A4", "text/plain")),
    ("POST", "/form", FILE),
    ("POST", "/form", typed("x" * 200_000, "text/plain")),
    ("POST", "/form", {"data": {"many": "1"}, "files": {"big": ("big.bin", b"0" * 300_000)}}),
    ("POST", "/form", typed("--x\r\nContent-Disposition: form-data; name=a\r\n\r\nb", "multipart/form-data; boundary=x")),
    ("POST", "/json", typed('{"a": ["ü"]}')),
    ("POST", "/json", typed("{")),
    ("POST", "/json", typed(b'"\xff"')),
    ("POST", "/json", typed("")),
    ("POST", "/json", typed("[1]", "text/plain")),
    ("POST", "/json", typed("[1]", "application/json; charset=utf-8")),
    ("PUT", "/json", typed('"' + "x" * 150_000 + '"')),
    ("POST", "/body", typed("x" * 300_000, "a/b")),
    ("POST", "/body", {}),
    ("POST", "/wsgi/echo", typed("body", "a/b")),
    *[("GET", "/files/a.txt", {"headers": {"Range": f"bytes={part}"}}) for part in ("0-1", "2-", "-2", "9-", "1-0", "x", "0-0,2-3", "-0")],
    ("GET", "/files/a.txt", {"headers": {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}}),
    ("GET", "/files/a.txt", {"headers": {"If-Modified-Since": "Fri, 01 Jan 1999 00:00:00 GMT"}}),
    ("GET", "/files/a.txt", {"headers": {"If-Modified-Since": "nonsense"}}),
    ("HEAD", "/files/a.txt", {"headers": {"Range": "bytes=0-1"}}),
]  # fmt: skip

BROKEN: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/result/number", {}),
    ("GET", "/result/dicts", {}),
    ("GET", "/generator/broken", {}),
    ("GET", "/generator/numbers", {}),
]

WITH_HOOKS: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", path, {}) for path in "/x /x/ /x?stop=1 /x?late=1 /boom /json /abort /none /boom?late=1".split()
]  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a.txt", "a.tar.gz", "a.svg.bz2"):
        (tmp_path / name).write_text("abcd")
    (tmp_path / "sub").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("make", "requests"),
    [(build, REQUESTS + BROKEN), (build_with_hooks, WITH_HOOKS)],
    ids=["plain", "hooks"],
)
# The original leaves files open, and warns of what has another spelling now.
@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::RuntimeWarning"
)
def test_the_answers_are_those_of_the_original(
    make: Any, requests: Any, make_client: MakeClient, root: Path
) -> None:
    client = make_client(make(ours, root), raise_app_exceptions=False)
    with TestClient(make(original, root), protocol="wsgi", raise_app_exceptions=False) as reference:
        wrong = []
        for method, path, options in requests:
            expected, answer = (one.request(method, path, **options) for one in (reference, client))
            if described(expected) != described(answer):
                wrong.append(
                    f"{method} {path} {options}\n  there: {described(expected)}\n  here:  {described(answer)}"
                )
    gc.collect()  # while its warnings are ignored
    assert not wrong, "\n".join(wrong)


def described(answer: Any) -> Any:
    """Return what is compared: a default page and JSON have other words and spaces."""
    content: Any = (
        "a page" if answer.content[:15].lower().strip().startswith(b"<!doctype") else answer.content
    )
    if answer.headers.get("content-type") == "application/json" and content:
        content = json.loads(content)
    is_text = content == answer.content and (content or answer.status_code < 400)
    left_out = NOT_COMPARED if is_text else {*NOT_COMPARED, "content-length"}
    headers = sorted(pair for pair in answer.headers.multi_items() if pair[0] not in left_out)
    return answer.status_code, headers, content
