"""Monitors that replace methods of Bottle and CherryPy by name, such as Sentry's."""

from __future__ import annotations

import abc
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.transport import Transport

from micropie import App, Redirect
from micropie_compat import bottle, cherrypy
from tests.support.clients import MakeClient
from tests.support.commands import ROOT, ended, environment


class Shop(bottle.Bottle):
    """Routes of every kind of result."""

    def __init__(self) -> None:
        super().__init__()
        self.route("/crash/<n>", ["GET", "POST"], self.crash)
        self.route("/text/<n>", "GET", lambda n: f"é {n}")
        self.route("/json", "GET", lambda: {"a": 1})
        self.route("/stream", "GET", lambda: iter(["a", "b"]))
        self.route("/abort", "GET", lambda: bottle.abort(403, "no"))
        self.route("/moved", "GET", self.moved)
        self.route("/async", "GET", self.later)

    def crash(self, n: str) -> str:
        raise ValueError(n)

    def moved(self) -> str:
        raise Redirect("/text/1")

    async def later(self) -> str:
        return "later"


PATHS = ["/text/%C3%A9", "/json", "/stream", "/abort", "/moved", "/async", "/crash/1", "/unknown"]


def wrapped(seen: list[str], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(self: Any, *arguments: Any) -> Any:
        try:
            result = function(self, *arguments)
        finally:
            seen.append(name)
        if name != "__call__":
            return result
        return Closing(result, seen)

    return wrapper


class Closing:
    """As monitors return it, to note the end of a response."""

    def __init__(self, chunks: Any, seen: list[str]) -> None:
        self.chunks = chunks
        self.seen = seen

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.chunks)

    def close(self) -> None:
        self.seen.append("close")


@pytest.mark.parametrize("path", PATHS)
def test_monkeypatched_methods_see_each_request(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """And change nothing in the response."""
    alone = make_client(Shop(), follow_redirects=False).get(path)
    seen: list[str] = []
    for name in ("__call__", "wsgi", "_handle"):
        monkeypatch.setattr(bottle.Bottle, name, wrapped(seen, name, vars(bottle.Bottle)[name]))
    client = make_client(Shop(), follow_redirects=False)
    for _ in range(2):
        answer = client.get(path)
        assert (answer.status_code, answer.content) == (alone.status_code, alone.content)
        assert answer.headers.get("Location") == alone.headers.get("Location")
    expected = [] if path == "/async" else ["_handle", "wsgi", "__call__", "close"]
    assert seen == 2 * expected


def test_removed_monkeypatches_restore_the_original_method(make_client: MakeClient) -> None:
    seen: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bottle.Bottle, "__call__", wrapped(seen, "a", bottle.Bottle.__call__))
        patch.setattr(bottle.Bottle, "__call__", wrapped(seen, "b", bottle.Bottle.__call__))
        assert make_client(Shop()).get("/json").json() == {"a": 1}
        assert seen == ["a", "b"]
    assert Shop().monitored() is None
    assert make_client(Shop()).get("/json").json() == {"a": 1}
    assert seen == ["a", "b"]


def test_a_monitor_sees_the_status_and_the_request(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, seen = bottle.Bottle.__call__, []

    def monitor(self: Any, environ: Any, start_response: Any) -> Any:
        def noting(status: str, headers: Any) -> None:
            seen.append((environ["PATH_INFO"], environ["QUERY_STRING"], status))
            start_response(status, headers)

        return original(self, environ, noting)

    monkeypatch.setattr(bottle.Bottle, "__call__", monitor)
    app = App()
    app.mount("/shop", Shop())
    for client in (make_client(Shop()), make_client(app)):
        prefix = "" if not seen else "/shop"
        for path in ("/text/%C3%A9?q=1", "/crash/1", "/moved", "/abort", "/unknown"):
            client.get(prefix + path, follow_redirects=False)
    assert seen == 2 * [
        ("/text/Ã©", "q=1", "200 OK"),
        ("/crash/1", "", "500 Internal Server Error"),
        ("/moved", "", "500 Internal Server Error"),
        ("/abort", "", "403 Forbidden"),
        ("/unknown", "", "404 Not Found"),
    ]


def test_a_replacing_method_may_respond_itself(make_client: MakeClient) -> None:
    class Closed(Shop):
        def _handle(self, environ: Any) -> Any:
            if environ["PATH_INFO"] == "/json":
                return bottle.HTTPResponse("closed", 503)
            return super()._handle(environ)

    client = make_client(Closed())
    assert (client.get("/json").status_code, client.get("/json").text) == (503, "closed")
    assert client.get("/text/1").text == "é 1"


def test_a_monitor_need_not_call_the_original(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def alone(self: Any, environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"alone"]

    monkeypatch.setattr(bottle.Bottle, "__call__", alone)
    assert make_client(Shop()).get("/json").status_code == 500
    assert "must call the original" in caplog.text


def test_a_monitor_can_wrap_callbacks(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    original = bottle.Route._make_callback

    def make_callback(route: Any) -> Any:
        callback = original(route)

        def noting(**values: Any) -> Any:
            seen.append(values)
            return callback(**values)

        return noting

    monkeypatch.setattr(bottle.Route, "_make_callback", make_callback)
    client = make_client(Shop())
    assert (client.get("/json").json(), client.get("/text/1").text) == ({"a": 1}, "é 1")
    assert seen == [{}, {"n": "1"}]


def test_a_replaced_cherrypy_call_only_runs_under_wsgi(
    make_client: MakeClient, world: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Root:
        @cherrypy.expose
        def index(self) -> str:
            return "x"

    seen: list[str] = []
    for kind in (cherrypy.Application, cherrypy._cptree.Tree):
        monkeypatch.setattr(kind, "__call__", wrapped(seen, kind.__name__, kind.__call__))
    tree = cherrypy._cptree.Tree()
    tree.mount(Root(), "/x")
    for app, path in ((cherrypy.Application(Root(), ""), "/"), (tree, "/x/")):
        assert make_client(app, validate=False).get(path).text == "x"
    assert make_client(tree, validate=False).get("/none").status_code == 404
    calls = ["Application", "Application", "Tree", "Tree"]
    assert seen == (calls if world == "wsgi" else [])


def test_an_application_may_have_an_abstract_base_class(make_client: MakeClient) -> None:
    class Abstract(abc.ABC):  # noqa: B024
        pass

    class Both(Shop, Abstract):
        pass

    assert make_client(Both()).get("/json").json() == {"a": 1}


# -- Sentry ----------------------------------------------------------------------------------------


class Kept(Transport):
    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Any] = []

    def capture_envelope(self, envelope: Any) -> None:
        kinds = ("event", "transaction")
        self.sent.extend(item.payload.json for item in envelope.items if item.type in kinds)


@pytest.fixture
def sentry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    """Sentry with its integration for Bottle, which has imported this package as ``bottle``."""
    name = "sentry_sdk.integrations.bottle"
    monkeypatch.setitem(sys.modules, "bottle", bottle)
    monkeypatch.delitem(sys.modules, name, raising=False)
    integration = importlib.import_module(name)
    for kind, method in (
        (bottle.Bottle, "__call__"),
        (bottle.Bottle, "_handle"),
        (bottle.Route, "_make_callback"),
    ):
        monkeypatch.setattr(kind, method, vars(kind)[method])  # to be put back
    monkeypatch.setattr(bottle.Route, "__sentry_repr__", None, raising=False)
    transport = Kept()
    sentry_sdk.init(
        "https://key@sentry.example/1",
        transport=transport,
        release="1",  # without one, it asks git
        integrations=[
            integration.BottleIntegration(),
            LoggingIntegration(),
            DedupeIntegration(),
        ],
        default_integrations=False,
        auto_enabling_integrations=False,
        traces_sample_rate=1.0,
    )
    yield transport
    sentry_sdk.get_global_scope().set_client(None)
    monkeypatch.undo()
    sys.modules.pop(name, None)
    for known in ("_processed_integrations", "_installed_integrations"):
        getattr(sentry_sdk.integrations, known).discard("bottle")  # to be set up again


def test_sentry_gets_an_exception_once_with_its_request(
    make_client: MakeClient, sentry: Kept
) -> None:
    client = make_client(Shop())
    for _ in range(2):
        sentry.sent.clear()
        assert client.post("/crash/5?q=1", data={"a": "b"}).status_code == 500
        sentry_sdk.flush()
        error, transaction = sentry.sent
        assert [one["value"] for one in error["exception"]["values"]] == ["5"]
        for event in (error, transaction):
            assert event["transaction"].endswith("Shop.crash")
            request = event["request"]
            assert (request["method"], request["query_string"]) == ("POST", "q=1")
            assert request["url"] == "http://testserver/crash/5"
            assert request["data"] == {"a": "b"}
        assert transaction["contexts"]["trace"]["status"] == "internal_error"
    # what a request adds to the scope ends with it
    assert not sentry_sdk.get_isolation_scope()._event_processors


PROGRAM = """
import json, sys
import sentry_sdk
from sentry_sdk.transport import Transport
from micropie_compat import {line}
class Kept(Transport):
    def capture_envelope(self, envelope):
        event = envelope.get_event()
        if event:
            sent.append([event["exception"]["values"][-1]["value"], event["request"]["url"]])
sent = []
sentry_sdk.init("https://key@sentry.example/1", transport=Kept())
{imports}
from micropie.testing import TestClient
from sentry_sdk.integrations.asgi import SentryAsgiMiddleware
from sentry_sdk.integrations.wsgi import SentryWsgiMiddleware
def crash():
    raise ValueError("crash")
{app}
for options, around in (({{"protocol": "wsgi"}}, SentryWsgiMiddleware), ({{}}, SentryAsgiMiddleware)):
    around = around if {wrap} else (lambda app: app)
    TestClient(around(app), **options).get("/crash")
    sentry_sdk.flush()
json.dump(sent, sys.stdout)
"""
BOTTLE = 'app = bottle.Bottle(); app.get("/crash")(crash)'
CHERRYPY = """
cherrypy.config.update({"log.screen": False})
crash.exposed = True
class Root: pass
Root.crash = staticmethod(crash)
app = cherrypy.Application(Root(), "")
"""


@pytest.mark.processes
@pytest.mark.parametrize(
    ("line", "imports", "app", "wrap"),
    [
        ('install; install("bottle")', "import bottle", BOTTLE, False),
        ("bottle", "", BOTTLE, True),
        ('install; install("cherrypy")', "import cherrypy", CHERRYPY, True),
        ("cherrypy", "", CHERRYPY, True),
    ],
)
def test_a_program_starts_with_all_sentry_integrations(
    line: str, imports: str, app: str, wrap: bool
) -> None:
    """Each exception is reported once with its request. Where the integration for Bottle has
    imported the original, and with CherryPy, which has none, Sentry's middleware adds the request.
    """
    program = PROGRAM.format(line=line, imports=imports, app=app, wrap=wrap)
    done = ended(sys.executable, "-c", program, environ=environment(), check=True)
    assert json.loads(done.stdout) == 2 * [["crash", "http://testserver/crash"]]


# -- the real monitors -----------------------------------------------------------------------------


@pytest.mark.processes
@pytest.mark.parametrize("framework", ["bottle", "cherrypy"])
@pytest.mark.parametrize("monitor", ["sentry", "ddtrace", "newrelic", "opentelemetry", "elastic"])
def test_each_monitor_reports_the_same_requests_as_with_the_original(
    framework: str, monitor: str
) -> None:
    """And the responses are the same, by WSGI and by ASGI."""

    def results(side: str) -> Any:
        script = ROOT / "compat" / "tests" / "monitored.py"
        command = (sys.executable, script, framework, side, monitor)
        return json.loads(
            ended(*command, environ=environment(), check=True).stdout.splitlines()[-1]
        )

    [expected] = results("original")
    bodies, reports = expected
    assert len(reports) >= len(bodies) - 1  # ddtrace reports no 404 of Bottle
    found = results("ours")
    if (framework, monitor) == ("cherrypy", "newrelic"):
        # New Relic's middleware for ASGI knows no handler.
        status = "response.status"
        assert [found[1][0], sorted([one[1], one[2][status]] for one in found[1][1])] == [
            bodies,
            sorted([one[1], one[2][status]] for one in reports),
        ]
        del found[1]
    assert found == len(found) * [expected]
    assert found
