"""What the original frameworks let a program override: it is called here as well, or refused aloud.

The table has each method that a subclass, an instance or a monitor may replace, and the request that
reaches it. The original calls every one of them, so none is listed that it doesn't have.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal
from wsgiref.util import setup_testing_defaults

import bottle as original_bottle
import cherrypy as original_cherrypy
import pytest

from micropie import SetupError, WebSocket
from micropie.testing.errors import LifespanFailed
from micropie_compat import bottle, cherrypy
from micropie_compat.bottle.routing import Router
from tests.support.clients import MakeClient

Framework = Any
Seen = list[str]


@dataclass(frozen=True)
class Point:
    """A method that can be overridden, and whether micropie calls it or refuses the override."""

    owner: str
    method: str
    path: str
    result: Literal["called", "refused"] = "called"

    def __str__(self) -> str:
        return f"{self.owner}.{self.method}"


BOTTLE = [
    Point("Bottle", "wsgi", "/text"),
    Point("Bottle", "_handle", "/text"),
    Point("Bottle", "default_error_handler", "/none"),
    Point("Bottle", "_cast", "/text", "refused"),
    Point("Bottle", "trigger_hook", "/text", "refused"),
    Point("Route", "_make_callback", "/text"),
    Point("Route", "all_plugins", "/text"),
    Point("Router", "match", "/text", "refused"),
    Point("HTTPResponse", "apply", "/none"),
    Point("JSONPlugin", "apply", "/text"),
    Point("FormsDict", "getunicode", "/text"),
]

CHERRYPY = [
    Point("Application", "find_config", "/"),
    Point("Application", "merge", "/"),
    Point("Application", "get_serving", "/", "refused"),
    Point("Application", "release_serving", "/", "refused"),
    Point("_cprequest.Request", "process_query_string", "/any?a=1"),
    Point("_cprequest.Request", "run", "/", "refused"),
    Point("_cprequest.Request", "respond", "/", "refused"),
    Point("_cprequest.Request", "_do_respond", "/", "refused"),
    Point("_cprequest.Request", "process_headers", "/", "refused"),
    Point("_cprequest.Request", "get_resource", "/", "refused"),
    Point("_cprequest.Request", "handle_error", "/crash", "refused"),
    Point("_cprequest.Request", "close", "/", "refused"),
    Point("_cprequest.Hook", "__call__", "/"),
    Point("_cprequest.Response", "finalize", "/"),
    Point("_cprequest.Response", "collapse_body", "/"),
    Point("_cpdispatch.Dispatcher", "__call__", "/"),
    Point("_cpdispatch.Dispatcher", "find_handler", "/"),
    Point("_cptools.Tool", "_setup", "/"),
    Point("_cptools.Tool", "_merged_args", "/"),
    Point("_cplogging.LogManager", "access", "/"),
    Point("_cplogging.LogManager", "error", "/crash"),
    Point("_cplogging.LogManager", "time", "/crash"),
    Point("_cplogging.LogManager", "_add_builtin_file_handler", "/"),
    Point("HTTPError", "set_response", "/error"),
    Point("HTTPError", "get_error_page", "/error"),
    Point("HTTPRedirect", "set_response", "/moved"),
]


def pages(framework: Framework, app: Any) -> Any:
    """Add routes to a Bottle application."""
    app.route("/text", callback=lambda: framework.request.query.a + "text")
    return app


def root(framework: Framework) -> Any:
    class Root:
        @framework.expose
        def index(self) -> str:
            return "text"

        @framework.expose
        def any(self, **values: str) -> str:
            return repr(values)

        @framework.expose
        def crash(self) -> str:
            raise LookupError

        @framework.expose
        def error(self) -> str:
            raise framework.HTTPError(400, "no")

        @framework.expose
        def moved(self) -> str:
            raise framework.HTTPRedirect("/")

    return Root()


def noting(seen: Seen, function: Callable[..., Any]) -> Callable[..., Any]:
    def method(*arguments: Any, **values: Any) -> Any:
        seen.append("called")
        return function(*arguments, **values)

    return method


def holder_of(framework: Framework, owner: str) -> Any:
    found = framework
    for part in owner.split("."):
        found = getattr(found, part)
    return found


def derived(framework: Framework, point: Point, seen: Seen) -> Any:
    """Return an application of which a subclass overrides the method."""
    base = holder_of(framework, point.owner)
    function = getattr(base, point.method, None) or (lambda *arguments: None)
    kind = type("Mine", (base,), {point.method: noting(seen, function)})
    config: dict[str, Any] = {}
    match point.owner:
        case "Bottle":
            return pages(framework, kind())
        case "Route":
            app = framework.Bottle()
            app.add_route(kind(app, "/text", "GET", lambda: "text"))
            return app
        case "Router":
            app = framework.Bottle()
            del app.__dict__["router"]
            app.router = kind()
            return pages(framework, app)
        case "JSONPlugin":
            app = framework.Bottle()
            app.install(kind())
            return pages(framework, app)
        case "FormsDict":
            app = framework.Bottle()
            app.route("/text", callback=lambda: kind(a="text").a)
            return app
        case "HTTPResponse":
            app = framework.Bottle()
            app.route("/none", callback=lambda: kind("text"))
            return app
        case "Application":
            return kind(root(framework), "", {"/": {"tools.encode.on": True}})
        case "_cpdispatch.Dispatcher":
            config["request.dispatch"] = kind()
        case "_cprequest.Hook":
            config["hooks.before_handler"] = kind(lambda: None)
        case "_cptools.Tool":
            tools = framework._cptools.Toolbox("mine")
            tools.tool = kind("before_handler", lambda: None)
            app = framework.Application(root(framework), "", {"/": {"mine.tool.on": True}})
            app.toolboxes["mine"] = tools
            return app
        case "HTTPError" | "HTTPRedirect":
            page = root(framework)
            arguments = (400, "no") if point.owner == "HTTPError" else ("/",)

            def crash() -> None:
                raise kind(*arguments)

            page.error = page.moved = framework.expose(crash)
            return framework.Application(page, "")
    app = framework.Application(root(framework), "", {"/": config})
    match point.owner:
        case "_cprequest.Request":
            app.request_class = kind
        case "_cprequest.Response":
            app.response_class = kind
        case "_cplogging.LogManager":
            app.log = kind(id(app))
            app.log.access_file = os.devnull
    return app


def response_to(app: Any, path: str, make: MakeClient, to: str = "wsgi") -> int:
    status: int = (
        make(app, to, follow_redirects=False, base_url="http://testserver").get(path).status_code
    )
    return status


def is_refused(app: Any, make: MakeClient, to: str) -> None:
    """Under ASGI the site doesn't start."""
    if to == "wsgi":
        assert response_to(app, "/text", make) == 500
    else:
        with pytest.raises(LifespanFailed, match="match would never be called"):
            response_to(app, "/text", make, to)


@pytest.fixture(params=["original", "wsgi", "asyncio"])
def place(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def frameworks(point: Point) -> tuple[Framework, Framework]:
    return (original_bottle, bottle) if point in BOTTLE else (original_cherrypy, cherrypy)


@pytest.mark.parametrize("point", [*BOTTLE, *CHERRYPY], ids=str)
def test_methods_overridden_in_a_subclass_are_called(
    connect: MakeClient, point: Point, place: str
) -> None:
    framework = frameworks(point)[place != "original"]
    seen: Seen = []
    if place == "original" or point.result == "called":
        app = derived(framework, point, seen)
        status = response_to(app, point.path, connect, "wsgi" if place == "original" else place)
        assert seen
        assert status != 500 or point.path == "/crash"
    elif point.owner == "Router":
        is_refused(derived(framework, point, seen), connect, place)
    else:
        with pytest.raises(SetupError, match=f"Mine.{point.method} would never be called"):
            type("Mine", (holder_of(framework, point.owner),), {point.method: noting(seen, repr)})
    assert bool(seen) is (place == "original" or point.result == "called")


@pytest.mark.parametrize(
    "point", [one for one in [*BOTTLE, *CHERRYPY] if one.owner != "_cprequest.Response"], ids=str
)
def test_methods_replaced_by_a_monitor_are_called(
    connect: MakeClient, monkeypatch: pytest.MonkeyPatch, point: Point, place: str
) -> None:
    framework = frameworks(point)[place != "original"]
    seen: Seen = []
    kind = holder_of(framework, point.owner)
    function = getattr(kind, point.method, repr)
    if place != "original" and point.result == "refused" and point.owner != "Router":
        with pytest.raises(SetupError, match=f"{point.method} would never be called"):
            monkeypatch.setattr(kind, point.method, noting(seen, function), raising=False)
        return
    monkeypatch.setattr(kind, point.method, noting(seen, function))
    if point in BOTTLE:
        app = pages(framework, framework.Bottle())
    else:
        config = {
            "/": {"request.dispatch": framework.dispatch.Dispatcher(), "tools.etags.on": True}
        }
        app = framework.Application(root(framework), "", config)
        app.log.access_file = os.devnull
    if point.owner == "Router" and place != "original":
        is_refused(app, connect, place)
        return
    status = response_to(app, point.path, connect, "wsgi" if place == "original" else place)
    assert seen
    assert (status == 500) is (point.path == "/crash")


@pytest.mark.parametrize("method", ["wsgi", "_handle", "default_error_handler"])
def test_a_bottle_instance_may_have_its_own_method(
    connect: MakeClient, place: str, method: str
) -> None:
    framework = original_bottle if place == "original" else bottle
    app, seen = pages(framework, framework.Bottle()), []  # type: ignore[var-annotated]
    setattr(app, method, noting(seen, getattr(app, method)))
    path = "/none" if method == "default_error_handler" else "/text"
    assert response_to(app, path, connect, "wsgi" if place == "original" else place) != 500
    assert seen


def test_an_application_without_configuration_may_find_its_own(
    connect: MakeClient, place: str
) -> None:
    framework = original_cherrypy if place == "original" else cherrypy
    seen: Seen = []
    find = noting(seen, framework.Application.find_config)
    kind = type("Mine", (framework.Application,), {"find_config": find})
    app = kind(root(framework), "")
    assert response_to(app, "/", connect, "wsgi" if place == "original" else place) == 200
    assert seen


@pytest.mark.parametrize("method", ["_cast", "trigger_hook"])
def test_overriding_a_method_that_is_never_called_is_refused(method: str) -> None:
    with pytest.raises(SetupError, match=f"Bottle.{method} would never be called: use a hook"):
        setattr(bottle.Bottle(), method, repr)
    app: Any = cherrypy.Application(None, "")
    for name in ("get_serving", "wsgiapp"):
        with pytest.raises(SetupError, match=f"Application.{name} would never be called"):
            setattr(app, name, repr)


@pytest.mark.parametrize(
    ("owner", "method"),
    [
        ("lib.encoding.ResponseEncoder", "find_acceptable_charset"),
        ("lib.encoding.ResponseEncoder", "encode_string"),
        ("lib.encoding.ResponseEncoder", "encode_stream"),
        ("_cpreqbody.Part", "from_fp"),
        ("_cpreqbody.Part", "read_headers"),
        ("_cpreqbody.Part", "read_lines_to_boundary"),
        ("lib.caching.MemoryCache", "expire_cache"),
        ("_cpserver.Server", "httpserver_from_self"),
        ("_cptools.Toolbox", "__enter__"),
        ("_cptools.Toolbox", "__exit__"),
    ],
)
def test_overriding_a_method_that_only_the_original_calls_is_refused(
    owner: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hasattr(holder_of(original_cherrypy, owner), method)
    kind = holder_of(cherrypy, owner)
    with pytest.raises(SetupError, match=f"Mine.{method} would never be called"):
        type("Mine", (kind,), {method: repr})
    with pytest.raises(SetupError, match=f"{kind.__name__}.{method} would never be called"):
        monkeypatch.setattr(kind, method, repr, raising=False)


def wsgi_denied(self: Any, environ: Any, start_response: Any) -> list[bytes]:
    start_response("403 Forbidden", [])
    return [b"denied"]


def renamed(self: Any, environ: Any, start_response: Any) -> Any:
    def start(status: str, headers: Any) -> Any:
        return start_response("299 Mine", headers)

    return bottle.Bottle.wsgi(self, environ, start)


def with_header(self: Any, environ: Any, start_response: Any) -> Any:
    def start(status: str, headers: Any) -> Any:
        return start_response(status, [*headers, ("X-Mine", "1")])

    return bottle.Bottle.wsgi(self, environ, start)


def in_capitals(self: Any, environ: Any, start_response: Any) -> Any:
    return [b"".join(bottle.Bottle.wsgi(self, environ, start_response)).upper()]


def elsewhere(self: Any, environ: Any, start_response: Any) -> Any:
    environ["PATH_INFO"] = "/other"
    return bottle.Bottle.wsgi(self, environ, start_response)


def by_another_method(self: Any, environ: Any, start_response: Any) -> Any:
    environ["REQUEST_METHOD"] = "PUT"
    return bottle.Bottle.wsgi(self, environ, start_response)


@pytest.mark.parametrize(
    "wsgi", [wsgi_denied, renamed, with_header, in_capitals, elsewhere, by_another_method]
)
@pytest.mark.parametrize("by", ["class", "instance"])
def test_an_override_of_wsgi_that_cannot_work_raises_an_error(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, wsgi: Any, by: str
) -> None:
    """It isn't ignored: the program may protect its pages by it."""
    if by == "class":
        app = type("Mine", (bottle.Bottle,), {"wsgi": wsgi})()
    else:
        app = bottle.Bottle()
        app.wsgi = wsgi.__get__(app)  # type: ignore[method-assign]
    assert make_client(pages(bottle, app)).get("/text").status_code == 500
    assert "a function that replaces Bottle.__call__, wsgi or _handle" in caplog.text


def test_an_overridden_handle_may_respond_itself(connect: MakeClient, place: str) -> None:
    framework = original_bottle if place == "original" else bottle

    class Mine(framework.Bottle):  # type: ignore[name-defined]
        def _handle(self, environ: Any) -> Any:
            return framework.HTTPResponse("denied", 403)

    app = pages(framework, Mine())
    assert response_to(app, "/text", connect, "wsgi" if place == "original" else place) == 403


@pytest.mark.parametrize("framework", ["bottle", "cherrypy"])
def test_an_overridden_call_is_never_passed_by(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, framework: str
) -> None:
    """A WSGI server calls it; where nothing can call it, there is no response."""

    class Denies:
        def __call__(self, environ: Any, start_response: Any) -> Any:
            if environ["PATH_INFO"] == "/other":
                return wsgi_denied(self, environ, start_response)
            return super().__call__(environ, start_response)  # type: ignore[misc]

    app: Any
    if framework == "bottle":
        app, inner = (pages(bottle, type("Mine", (Denies, bottle.Bottle), {})()) for _ in range(2))
        app.mount("/inner", inner)
    else:
        app = type("Mine", (Denies, cherrypy.Application), {})(root(cherrypy), "")
    app.native.get("/native")(lambda: "native")
    own = "/inner/text" if framework == "bottle" else "/any"
    for path, status in ((own, "200 OK"), ("/native", "200 OK"), ("/other", "403 Forbidden")):
        assert status_by_wsgi(app, path) == status
    client = make_client(app.native)
    for path in ("/text", "/any", "/native"):
        caplog.clear()
        assert client.get(path).status_code == 500
        assert "Mine.__call__ would never be called: use a hook" in caplog.text


def status_by_wsgi(app: Any, path: str) -> str:
    """Return the status that a WSGI server gets from an application."""
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    started: list[str] = []
    b"".join(app({**environ, "PATH_INFO": path}, lambda status, *_: started.append(status)))
    return started[0]


@pytest.mark.parametrize("framework", [original_bottle, bottle])
def test_an_overridden_call_may_call_wsgi(framework: Any) -> None:
    class Mine(framework.Bottle):
        def __call__(self, environ: Any, start_response: Any) -> Any:
            return self.wsgi(environ, start_response)

    assert status_by_wsgi(pages(framework, Mine()), "/text") == "200 OK"


@pytest.mark.parametrize("framework", ["bottle", "cherrypy"])
def test_an_overridden_call_may_handle_both_protocols(
    make_client: MakeClient, framework: str
) -> None:
    class Both:
        def __call__(self, *arguments: Any) -> Any:
            return super().__call__(*arguments)  # type: ignore[misc]

    app = (
        pages(bottle, type("Mine", (Both, bottle.Bottle), {})())
        if framework == "bottle"
        else type("Mine", (Both, cherrypy.Application), {})(root(cherrypy), "")
    )
    path = "/text" if framework == "bottle" else "/any"
    assert make_client(app).get(path).status_code == 200


@pytest.mark.parametrize("is_called", [True, False])
def test_a_native_websocket_is_refused_where_an_overridden_call_is_not_called(
    connect: MakeClient, is_called: bool
) -> None:
    class Mine(bottle.Bottle):
        def __call__(self, *arguments: Any) -> Any:
            return super().__call__(*arguments)

    app = Mine()

    @app.native.websocket("/talk")
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_text("pie")

    client = connect(app if is_called else app.native, "asyncio")
    if is_called:
        with client.websocket("/talk") as socket:
            assert socket.receive_text() == "pie"
    else:
        with pytest.raises(SetupError, match=r"Mine\.__call__"), client.websocket("/talk"):
            pass


@pytest.mark.parametrize("by", ["mount", "graft"])
def test_an_overridden_call_of_an_application_in_a_tree_is_refused(by: str) -> None:
    class Mine(cherrypy.Application):
        def __call__(self, *arguments: Any) -> Any:  # pragma: no cover - refused
            raise AssertionError

    app, tree = Mine(root(cherrypy), "/a"), cherrypy.Tree()
    with pytest.raises(SetupError, match=r"Mine\.__call__ would never be called"):
        getattr(tree, by)(app, "/a")
    assert not tree.apps


@pytest.mark.parametrize("place", ["original", "wsgi", "asyncio"])
class TestRequestClass:
    def _text(self, connect: MakeClient, place: str, app: Any, path: str = "/") -> str:
        client = connect(app, "wsgi" if place == "original" else place)
        return str(client.get(path, headers={"User-Agent": "Mobi"}).text)

    def _framework(self, place: str) -> Framework:
        return original_cherrypy if place == "original" else cherrypy

    @pytest.mark.parametrize("by", ["instance", "class"])
    def test_a_custom_request_class_may_have_attributes(
        self, connect: MakeClient, place: str, by: str
    ) -> None:
        framework = self._framework(place)

        class Mine(framework._cprequest.Request):  # type: ignore[name-defined]
            user = "nobody"

            def __init__(self, *connection: Any) -> None:
                super().__init__(*connection)
                self.began = f"{len(connection)} {connection[2]}"

            @property
            def is_mobile(self) -> bool:
                return "Mobi" in self.headers.get("User-Agent", "")

        class Root:
            @framework.expose
            def index(self) -> str:
                request = framework.request
                return f"{request.user} {request.is_mobile} {request.began} {request.path_info}"

            @framework.expose
            def inner(self) -> str:
                raise framework.InternalRedirect("/")

        kind = type(
            "App", (framework.Application,), {"request_class": Mine} if by == "class" else {}
        )
        app = kind(Root(), "")
        app.request_class = Mine
        for path in ("/", "/inner"):
            assert self._text(connect, place, app, path) == "nobody True 4 http /"

    @pytest.mark.parametrize("by", ["class", "configuration"])
    def test_a_custom_request_class_may_leave_the_body_unread(
        self, connect: MakeClient, place: str, by: str
    ) -> None:
        framework = self._framework(place)

        class Mine(framework._cprequest.Request):  # type: ignore[name-defined]
            process_request_body = by != "class"

        config = {"request.process_request_body": False} if by == "configuration" else {}
        app = framework.Application(root(framework), "", {"/": config})
        app.request_class = Mine
        client = connect(app, "wsgi" if place == "original" else place)
        assert client.post("/any", data={"a": "1"}).text == "{}"

    def test_a_custom_request_class_may_have_namespaces(
        self, connect: MakeClient, place: str
    ) -> None:
        framework, seen = self._framework(place), []

        class Mine(framework._cprequest.Request):  # type: ignore[name-defined]
            namespaces = framework._cprequest.Request.namespaces.copy()
            namespaces["shop"] = lambda name, value: seen.append((name, value))

        class App(framework.Application):  # type: ignore[name-defined]
            namespaces = framework.lib.reprconf.NamespaceSet(
                whole=lambda name, value: seen.append((name, value))
            )

        app = App(root(framework), "", {"/": {"shop.a": 1, "whole.b": 2}})
        app.request_class = Mine
        assert self._text(connect, place, app) == "text"
        assert seen == [("b", 2), ("a", 1)]
        assert "whole" not in framework.Application(None, "").namespaces

    @pytest.mark.parametrize("by", ["class", "method"])
    def test_a_custom_response_class_is_used(
        self, connect: MakeClient, place: str, by: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        framework = self._framework(place)
        finalize = framework._cprequest.Response.finalize

        def renamed(response: Any) -> None:
            response.headers["X-Mine"] = "1"
            finalize(response)

        app = framework.Application(root(framework), "")
        if by == "class":
            base = framework._cprequest.Response
            app.response_class = type("Mine", (base,), {"finalize": renamed})
        else:
            monkeypatch.setattr(framework._cprequest.Response, "finalize", renamed)
        client = connect(app, "wsgi" if place == "original" else place)
        assert client.get("/").headers["X-Mine"] == "1"

    @pytest.mark.parametrize("of", ["global", "application", "both"])
    def test_an_overridden_access_log_is_called(
        self, connect: MakeClient, place: str, of: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        framework, seen = self._framework(place), []
        app = framework.Application(root(framework), "")
        if of != "application":
            monkeypatch.setattr(framework.log, "access", lambda: seen.append("global"))
        if of != "global":
            monkeypatch.setattr(app.log, "access", lambda: seen.append("application"))
        assert self._text(connect, place, app) == "text"
        assert seen == ["application" if of == "application" else "global"]


def test_the_table_lists_the_originals_methods() -> None:
    """And every name that is refused is in it."""
    for point in (*BOTTLE, *CHERRYPY):
        original = holder_of(frameworks(point)[0], point.owner)
        assert callable(getattr(original, point.method)), point
    refused = {
        (kind.__name__, name)
        for kind in (bottle.Bottle, cherrypy.Application, cherrypy._cprequest.Request)
        for name in kind.uncalled
    }
    listed = {
        (one.owner.rpartition(".")[2], one.method)
        for one in (*BOTTLE, *CHERRYPY)
        if one.result == "refused"
    }
    assert refused - {("Application", "wsgiapp")} == listed - {("Router", "match")}
    assert Router.match is bottle.Router.match
