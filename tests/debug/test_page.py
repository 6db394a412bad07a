"""The pages of ``debug=True``: what they show, what they hide, and to whom they are shown at
all.
"""

from __future__ import annotations

import logging
import os
import sys
from html.parser import HTMLParser
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from micropie import App, HTTPError, HttpMiddleware, Request, get, post, route
from micropie.cli.serving.reloading import CHILD_PORT
from micropie.debug.access import debug_key
from micropie.middleware import ProxyHeaders
from micropie.testing import TestClient
from tests.support.clients import MakeClient
from tests.support.commands import ended
from tests.support.debugging import DEVELOPER, LOCAL
from tests.support.growth import calling, grows_too_fast

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
HOSTILE = "<script>alert(1)</script>\"'&<img src=x onerror=alert(1)>"


class BadRepr:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class BadDict(dict[str, object]):
    def __len__(self) -> int:
        raise RuntimeError("no length")


BadDict.__name__, BadDict.__module__ = "dict", "builtins"  # which reprlib looks at


class BadText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Account:
    def __repr__(self) -> str:
        return "Account(name='ann', password='it\\'s hunter2', api_key=\"hunter3\", note='shown')"


class Inner(App):
    def visible(self) -> str:
        return "inner"


class Root(App):
    def oops(self, text: str = "") -> str:
        password = "hunter2"
        monkey = "a monkey"
        settings = {"token": "hunter3", "colour": "green"}
        account = Account()
        url = "postgres://ann:hunter4@db/pies"
        hostile = HOSTILE
        long = "x" * 5000
        bad, worse = BadRepr(), BadDict()
        number = 1 / 0
        return (
            f"{password}{monkey}{settings}{account}{url}{hostile}{long}{bad}{worse}{number}{text}"
        )

    async def later(self) -> str:
        raise ValueError(HOSTILE)

    def chained(self) -> str:
        try:
            raise KeyError("the first")
        except KeyError as error:
            raise ValueError("the second") from error

    def during(self) -> str:
        try:
            raise KeyError("the first")
        except KeyError:
            raise ValueError("the second")  # noqa: B904

    def hushed(self) -> str:
        try:
            raise KeyError("the first")
        except KeyError:
            raise ValueError("the second") from None

    def circle(self) -> str:
        first, second = ValueError("one"), KeyError("two")
        first.__cause__, second.__cause__ = second, first
        raise first

    def group(self) -> str:
        raise ExceptionGroup("several", [ValueError("one of them"), KeyError("another")])

    def wordless(self) -> str:
        raise BadText

    def missing(self) -> str:
        raise HTTPError(404, "no such pie")

    @post
    def pies(self) -> str:
        return "made"

    @get("/recipes/<name>")
    def recipe(self, name: str) -> str:
        return name

    @route("/recipes")
    def default(self) -> str:
        return "recipes"


def make_app(**settings: Any) -> Any:
    app: Any = Root(**{"debug": True, **settings})
    app.inner = Inner()
    app.mount("/mounted", Inner())
    return app


@pytest.fixture
def client(make_client: MakeClient) -> Any:
    return make_client(make_app(), **DEVELOPER)


class Reader(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


ELEMENTS = """
    html head meta title style body main h1 h2 p a code pre mark details summary table tr th
    td
"""
ATTRIBUTES = "lang charset tabindex name content open href id"


def read(answer: Any) -> str:
    """Return the text of a page whose head is strict and whose elements are only those that the
    template has.
    """
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "script" not in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    page = Reader(answer.text)
    assert {tag for tag, _ in page.elements} <= {*ELEMENTS.split()}
    assert {name for _, attributes in page.elements for name in attributes} <= {*ATTRIBUTES.split()}
    assert [attributes["href"] for tag, attributes in page.elements if tag == "a"] in (
        [],
        ["#text"],
    )
    return page.text


# -- a failure -------------------------------------------------------------------------------------


def test_a_browser_gets_a_page_with_source_variables_request_and_route(client: Any) -> None:
    answer = client.get("/oops?text=hello", headers=BROWSER)
    assert answer.status_code == 500
    text = read(answer)
    assert "ZeroDivisionError: division by zero" in text
    assert "number = 1 / 0" in text  # source
    assert "'a monkey'" in text  # a variable
    assert "/oops (oops)" in text  # the route
    assert "text['hello']" in text  # the query
    assert "test_page.py, line" in text


def test_files_are_shown_relative_to_the_working_directory(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    found = client.get("/oops", headers=BROWSER).text.replace("<code>", "\n")
    assert "\ntest_page.py, line" in found


LIBRARIES = """
import importlib
import json
from fakelib import calls
from micropie import App


app = App(debug=True)

@app.get("/fails")
def fails():
    return calls(lambda: json.loads("[1, x"))

@app.get("/imports")
def imports():
    return importlib.import_module("no_module_of_this_name")
"""


@pytest.mark.parametrize("own", ["shop17", "fakelib"])
def test_frames_of_libraries_are_folded(
    make_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str
) -> None:
    package = tmp_path / "site-packages" / "fakelib"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "def calls(f): return again(f)\ndef again(f): return f()\n"
    )
    monkeypatch.syspath_prepend(str(package.parent))
    namespace: dict[str, Any] = {"__name__": own}
    exec(compile(LIBRARIES, "shop17.py", "exec"), namespace)
    client = make_client(namespace["app"], **DEVELOPER)
    page = client.get("/fails", headers=BROWSER).text
    text = read(client.get("/fails", headers=BROWSER))
    assert ("2 calls in fakelib" in text) == (own == "shop17")
    assert "2 calls in Python's library" in text  # json's, but for the last one
    shown = [part.partition("</summary>")[0] for part in page.split("<details open>")[1:]]
    assert "raw_decode" in shown[-1]  # the line that failed
    assert sum("in fails.&lt;locals&gt;.&lt;lambda&gt;" in one for one in shown) == 1
    assert 'href="#text"' in page
    assert '<pre id="text" tabindex="0">Traceback (most recent call last):' in page
    assert "calls in Python&#x27;s library" in client.get("/imports", headers=BROWSER).text


@pytest.mark.parametrize("headers", [BROWSER, {"Accept": "application/json"}, {"Accept": "*/*"}])
def test_R76_secrets_are_masked_in_every_format(client: Any, headers: dict[str, str]) -> None:
    sent = {
        "Authorization": "Bearer hunter5",
        "Cookie": f"session_id=hunter6; theme=dark; micropie_debug_token={debug_key()}",
        "X-API-Key": "hunter7",
    }
    answer = client.get("/oops?token=hunter8", headers={**headers, **sent})
    assert debug_key() not in answer.text
    assert "hunter" not in answer.text.replace('password = "hunter2"', "").replace(
        '"token": "hunter3"', ""
    ).replace("ann:hunter4", "")  # but for the source
    if headers is BROWSER:
        text = read(answer)
        assert "'colour': 'green'" in text
        assert "note='shown'" in text
        assert "'dark'" in text


def test_long_values_are_cut_and_failing_reprs_survive(client: Any) -> None:
    text = read(client.get("/oops", headers=BROWSER))
    assert "(5002 characters)" in text
    assert "x" * 1001 not in text
    assert "<BadRepr, whose repr raises RuntimeError>" in text
    assert "<dict, whose repr raises RuntimeError>" in text
    assert "BadText" in read(client.get("/wordless", headers=BROWSER))


@pytest.mark.parametrize(
    "path", ["/oops", "/later", f"/oops?text={HOSTILE}", f"/{HOSTILE}", "/oops?%3Cscript%3E=1"]
)
def test_the_debug_page_escapes_client_text(client: Any, path: str) -> None:
    headers = {**BROWSER, "X-Hostile": HOSTILE, "User-Agent": HOSTILE}
    answer = client.get(path, headers=headers)
    assert "alert(1)" in read(answer)  # as text; ``read`` has looked for elements


@pytest.mark.parametrize("accept", ["text/html", "application/json", "*/*"])
def test_text_that_is_not_utf_8_is_shown(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, accept: str
) -> None:
    class Odd(App):
        def oops(self) -> str:
            raise ValueError("\ud800")

    caplog.set_level(logging.CRITICAL, "micropie")  # a report of pytest's must be UTF-8
    answer = make_client(Odd(debug=True), **DEVELOPER).get("/oops", headers={"Accept": accept})
    assert "\\ud800" in answer.text


@pytest.mark.parametrize(
    ("path", "expected", "unexpected"),
    [
        (
            "/chained",
            ["Exception: ValueError", "Raised from: KeyError", "the first"],
            "while handling",
        ),
        ("/during", ["Exception: ValueError", "Raised while handling: KeyError"], "Raised from"),
        ("/hushed", ["Exception: ValueError"], "Raised"),
        ("/circle", ["Exception: ValueError", "Raised from: KeyError"], "while handling"),
        (
            "/group",
            ["Exception: ExceptionGroup", "In the group: ValueError", "one of them"],
            "Raised",
        ),
    ],
)
def test_chained_exceptions_are_shown(
    client: Any, path: str, expected: list[str], unexpected: str
) -> None:
    text = read(client.get(path, headers=BROWSER)).partition("As text")[0]
    for line in expected:
        assert text.count(line) >= 1
    assert unexpected not in text.partition("Request")[0].replace("raise", "")


def test_a_json_client_gets_a_problem_document(client: Any) -> None:
    for answer in (
        client.get("/oops", headers={"Accept": "application/json"}),
        client.post("/oops", json={}),
    ):
        assert answer.status_code == 500
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert (problem["status"], problem["title"]) == (500, "Internal Server Error")
        assert problem["detail"] == "ZeroDivisionError: division by zero"
        assert "number = 1 / 0" in "\n".join(problem["traceback"])


def test_other_clients_get_a_plain_text_traceback(client: Any) -> None:
    answer = client.get("/oops")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text.startswith(f'Traceback (most recent call last):\n  File "{__file__}", line ')


@pytest.mark.parametrize("path", ["/oops", "/later"])
def test_a_traceback_in_the_log_begins_with_the_author_s_first_line(
    make_client: MakeClient, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    make_client(make_app()).get(path)
    logged = logging.Formatter().format(caplog.records[-1])
    assert f'Traceback (most recent call last):\n  File "{__file__}", line ' in logged


def test_a_request_whose_hook_failed_before_routing_is_shown(make_client: MakeClient) -> None:
    class Guard:
        def before_request(self, request: Any) -> None:
            raise ValueError("in a hook")

    app = make_app()
    app.middlewares.append(Guard())
    text = read(make_client(app, **DEVELOPER).get("/nowhere", headers=BROWSER))
    assert "in a hook" in text


def test_a_malformed_query_does_not_hide_the_page(client: Any) -> None:
    text = read(client.get("/later?a=%FF", headers=BROWSER))
    assert "ValueError" in text


# -- a path without a route ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("/oop", "/oops"),
        ("/pie", "/pies"),
        ("/inner/visibl", "/inner/visible"),
        ("/mounted/visibles", "/mounted/visible"),
    ],
)
def test_a_404_page_lists_similar_paths_and_routes(client: Any, path: str, near: str) -> None:
    answer = client.get(path, headers=BROWSER)
    assert answer.status_code == 404
    text = read(answer)
    assert near in text.partition("Did you mean")[2].partition("Routes")[0]
    assert "/recipes/<name>" in text.partition("Routes")[2]
    plain = client.get(path)
    assert plain.text.startswith("404 Not Found\n\nDid you mean:\n")
    assert near in plain.text
    problem = client.get(path, headers={"Accept": "application/json"}).json()
    assert any(near in line for line in problem["near"])
    assert any(line.split() == ["POST", "/pies", "pies"] for line in problem["routes"])


def test_the_page_of_a_404_without_similar_paths_lists_the_routes(client: Any) -> None:
    assert "Did you mean" not in client.get("/zzzzzz/1/2/3").text
    assert "Did you mean" not in read(client.get("/zzzzzz/1/2/3", headers=BROWSER))


def test_a_handler_s_own_404_has_no_debug_page(client: Any) -> None:
    assert client.get("/missing").text == "no such pie"


def test_a_404_is_plain_without_debug_and_for_remote_clients(make_client: MakeClient) -> None:
    assert make_client(make_app(debug=False), **DEVELOPER).get("/oop").text == "404 Not Found"
    text = make_client(make_app(), **DEVELOPER, client=("10.0.0.1", 1)).get("/oop").text
    assert text == "404 Not Found"


# -- who may see it --------------------------------------------------------------------------------


def proxied(headers: dict[str, str], client: tuple[str, int], make_client: MakeClient) -> Any:
    app = make_app()
    app.middlewares.append(ProxyHeaders(trusted=["127.0.0.1", "10.0.0.1"]))
    return make_client(app, **DEVELOPER, client=client).get("/oops", headers=headers)


@pytest.mark.parametrize(
    ("forwarded", "peer", "is_shown"),
    [
        ("127.0.0.1", "127.0.0.1", True),  # a developer behind a proxy of his own
        ("6.6.6.6", "127.0.0.1", False),  # a client of the site's proxy
        ("127.0.0.1, 6.6.6.6", "127.0.0.1", False),  # that invented an entry
        ("127.0.0.1", "10.0.0.1", False),  # a client on the proxy's machine
        ("nonsense", "127.0.0.1", False),
    ],
)
def test_R76_a_trusted_proxy_may_identify_a_client_on_this_machine(
    make_client: MakeClient, forwarded: str, peer: str, is_shown: bool
) -> None:
    answer = proxied({"X-Forwarded-For": forwarded}, (peer, 1), make_client)
    assert ("Traceback" in answer.text) == is_shown


@pytest.mark.parametrize("protocol", ["wsgi", "asgi"])
@pytest.mark.parametrize(("version", "is_shown"), [("1.0", False), ("1.1", True)])
def test_R76_behind_an_nginx_without_headers_no_debug_page_is_shown(
    protocol: Any, version: str, is_shown: bool
) -> None:
    """nginx's own defaults: HTTP/1.0, its upstream's name as Host, and nothing of the client."""
    app = make_app()

    def of_version(environ: Any, start_response: Any) -> Any:
        return app({**environ, "SERVER_PROTOCOL": f"HTTP/{version}"}, start_response)

    async def of_version_asgi(scope: Any, receive: Any, send: Any) -> Any:
        return await app({**scope, "http_version": version}, receive, send)

    proxied: Any = of_version if protocol == "wsgi" else of_version_asgi
    with TestClient(proxied, protocol=protocol, **DEVELOPER) as client:
        assert ("Traceback" in client.get("/oops").text) == is_shown


HEADERS_OF_PROXIES = """
    Forwarded Via X-Forwarded-For X-Forwarded-Proto X-Forwarded X-Original-Forwarded-For
    X-Real-IP Client-IP X-Client-IP True-Client-IP Fastly-Client-IP Fastly-SSL Fly-Client-IP
    CF-Connecting-IP CF-Ray CF-Visitor CDN-Loop X-Cluster-Client-IP X-Azure-ClientIP
    X-Azure-SocketIP X-Appengine-User-IP CloudFront-Viewer-Address X-Envoy-External-Address
    X-Envoy-Original-Path X-Remote-Addr X-ProxyUser-IP Proxy-Connection
"""
HEADERS_OF_BROWSERS_AND_DEVELOPERS = """
    Accept-Encoding Accept-Language Authorization Cache-Control DNT Device-Memory HX-Request
    Idempotency-Key If-None-Match Last-Event-ID Pragma Priority Referer Save-Data
    Sec-CH-UA-Platform Sec-Fetch-Dest Sec-GPC Service-Worker Traceparent
    Upgrade-Insecure-Requests Viewport-Width X-API-Key X-CSRF-Token X-Request-ID
    X-Requested-With X-Membership X-Tooltip
"""


def test_R76_behind_a_proxy_no_debug_page_is_shown(client: Any) -> None:
    shown = [
        name
        for name in HEADERS_OF_PROXIES.split()
        if "Traceback" in client.get("/oops", headers={name: "1"}).text
    ]
    assert shown == []
    assert "Traceback" in client.get("/oops").text


def test_R76_headers_of_browsers_and_developers_hide_no_debug_page(client: Any) -> None:
    headers = dict.fromkeys(HEADERS_OF_BROWSERS_AND_DEVELOPERS.split(), "1")
    assert "Traceback" in client.get("/oops", headers=headers | {"Accept": "text/html"}).text


@pytest.mark.parametrize(("setting", "is_shown"), [(True, False), ("force", True)])
def test_R76_under_wsgi_with_several_processes_no_debug_page_is_shown(
    setting: Any, is_shown: bool
) -> None:
    app = make_app(debug=setting)

    def of_several(environ: Any, start_response: Any) -> Any:
        return app({**environ, "wsgi.multiprocess": True}, start_response)

    with TestClient(of_several, protocol="wsgi", **DEVELOPER) as client:
        assert ("Traceback" in client.get("/oops").text) == is_shown


@pytest.mark.parametrize(
    ("arguments", "variables", "is_shown"),
    [
        ([], {}, True),
        (["app:app", "--reload"], {}, True),
        (["app:app", "--workers", "4"], {}, False),
        (["app:app", "--workers=4"], {}, False),
        (["app:app", "-w", "4"], {}, False),
        (["app:app", "-w4"], {}, False),
        (["app:app", "--workers", "1"], {}, True),
        (["app:app", "--workers"], {}, True),
        (["app:app", "-w", "x"], {}, True),
        ([], {"WEB_CONCURRENCY": "4"}, False),
        ([], {"WEB_CONCURRENCY": "1"}, True),
        ([], {"WEB_CONCURRENCY": "many"}, True),
    ],
)
def test_R76_under_asgi_with_several_workers_no_debug_page_is_shown(
    monkeypatch: pytest.MonkeyPatch,
    backend: str,
    arguments: list[str],
    variables: dict[str, str],
    is_shown: bool,
) -> None:
    monkeypatch.setattr(sys, "argv", ["uvicorn", *arguments])
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with TestClient(make_app(), backend=backend, **DEVELOPER) as client:
        assert ("Traceback" in client.get("/oops").text) == is_shown
    with TestClient(make_app(debug="force"), backend=backend, **DEVELOPER) as client:
        assert "Traceback" in client.get("/oops").text


def test_R76_under_gunicorn_s_asgi_worker_no_debug_page_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "gunicorn.arbiter", sys)
    with TestClient(make_app(), **DEVELOPER) as client:
        assert "Traceback" not in client.get("/oops").text


def test_a_frame_without_source_is_shown_without_lines(make_client: MakeClient) -> None:
    namespace: dict[str, Any] = {}
    exec("def oops():\n    raise ValueError('made of text')", namespace)
    app = App(debug=True)
    app.get("/oops")(namespace["oops"])
    assert "made of text" in read(make_client(app, **DEVELOPER).get("/oops", headers=BROWSER))


@pytest.mark.parametrize(
    ("start", "repeated"),
    [("", "token"), ("", "authorization"), ("", "://"), ("", "key='"), ("Basic", " ")],
)
def test_R28_secrets_are_masked_in_linear_time(start: str, repeated: str) -> None:
    assert error_text(start + repeated * 100).startswith("Traceback")
    assert not grows_too_fast(calling(error_text), start, repeated, "")


def error_text(text: str) -> str:
    class Wordy(App):
        def oops(self) -> str:
            raise ValueError(text)

    with TestClient(Wordy(debug=True), **DEVELOPER) as client:
        return client.get("/oops").text


# -- the key ---------------------------------------------------------------------------------------


PORTS = count(8001)  # an address is told once


def test_R76_only_a_browser_with_the_key_gets_a_debug_page(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(make_app(), base_url=f"http://localhost:{next(PORTS)}")
    for path in ("/oops", "/oop"):
        assert "Traceback" not in client.get(path).text
        assert "Did you mean" not in client.get(path).text
    told = [
        one.message for one in caplog.records if "to see debug pages in your browser" in one.message
    ]
    assert len(told) == 1
    address = told[0].rpartition(" ")[2]
    assert client.get(address + "x").status_code == 404
    opened = client.get(address)
    assert (opened.status_code, opened.text) == (200, "This browser can now see the debug pages.\n")
    assert "HttpOnly; SameSite=Strict" in opened.headers["set-cookie"]
    assert "Traceback" in client.get("/oops").text
    assert "Did you mean" in client.get("/oop").text
    assert (
        len([one for one in caplog.records if "to see debug pages in your browser" in one.message])
        == 1
    )


def test_R76_the_key_is_only_given_to_local_clients(make_client: MakeClient) -> None:
    path = f"/_debug/{debug_key()}"
    for options in ({"client": ("10.0.0.1", 1)}, {"base_url": "http://example.org"}):
        client = make_client(make_app(), **{"base_url": LOCAL, **options})
        assert (client.get(path).status_code, len(client.cookies)) == (404, 0)
    assert make_client(make_app(debug=False), base_url=LOCAL).get(path).status_code == 404


def test_R76_access_checks_and_inner_applications_do_not_block_the_key_page(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    class Guard(HttpMiddleware):
        def before_request(self, request: Request) -> None:
            raise HTTPError(403)

    class Broken(App):
        def oops(self) -> Any:
            raise RuntimeError("secret")

    outer = App()
    outer.inner = Broken(debug=True)
    base = f"http://localhost:{next(PORTS)}"
    client = make_client(outer, base_url=base, root_path="/shop")
    assert "secret" not in client.get("/inner/oops").text
    address = caplog.text.partition("in your browser, open ")[2].split()[0]
    assert address.startswith(f"{base}/shop/inner/_debug/")
    opened = client.get(address.removeprefix(f"{base}/shop"))
    assert (opened.status_code, opened.headers["cache-control"]) == (200, "no-store")
    assert "secret" in client.get("/inner/oops").text
    guarded = Broken(debug=True)
    guarded.middlewares.append(Guard())
    client = make_client(guarded, base_url=LOCAL)
    assert client.get(f"/_debug/{debug_key()}").status_code == 200


@pytest.mark.processes
def test_R76_the_environment_may_set_the_key() -> None:
    code = "from micropie.debug.access import debug_key; print(debug_key())"

    def key(**variables: str) -> str:
        environment = {**os.environ, **variables}
        command = [sys.executable, "-c", code]
        return ended(*command, environ=environment, check=True).stdout.strip()

    assert key(MICROPIE_DEBUG_KEY="of a developer") == "of a developer"
    assert len(key(MICROPIE_DEBUG_KEY="")) >= 20
    assert key(MICROPIE_DEBUG_KEY="") != key(MICROPIE_DEBUG_KEY="")


@pytest.mark.parametrize(("path", "status"), [("/nowhere", 404), ("/oops", 500), ("/", 200)])
def test_without_debug_a_reloading_server_gives_hints_but_no_pages(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, path: str, status: int
) -> None:
    class Plain(App):
        def index(self) -> str:
            return "pies"

        def oops(self) -> None:
            raise ZeroDivisionError("no pies")

    monkeypatch.setenv(CHILD_PORT, "8000")  # as ``micropie run --reload`` does
    client = make_client(Plain(), base_url=LOCAL, raise_app_exceptions=False)
    answer = client.get(path)
    assert answer.status_code == status
    assert "no pies" not in answer.text
