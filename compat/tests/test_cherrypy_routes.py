"""``RoutesDispatcher`` and XML-RPC: the original and ours, in each world."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from xmlrpc.client import Fault, dumps, loads

import cherrypy as original
import pytest
from routes import url_for
from routes.util import redirect_to

from compat.tests.conftest import Serve
from compat.tests.test_cherrypy_core import exposed
from micropie import SetupError
from micropie_compat import advice_for
from micropie_compat import cherrypy as ours
from micropie_compat.cherrypy import dispatch
from tests.support.clients import MakeClient

# -- RoutesDispatcher ------------------------------------------------------------------------------


def city(cherrypy: Any, name: str) -> Any:
    class City:
        _cp_config = {"tools.response_headers.on": True, "own.value": "controller"}

        def __init__(self) -> None:
            self.pop = "0"

        def index(self, **kwargs: str) -> str:
            shown = {**kwargs, **cherrypy.request.params}
            return (
                f"{name} {self.pop} {sorted(shown.items())} {cherrypy.request.config['own.value']}"
            )

        @exposed(cherrypy, own__value="handler", tools__json_out__on=True)
        def update(self, pop: str) -> Any:
            self.pop = pop
            return {"pop": pop, "value": cherrypy.request.config["own.value"]}

        @exposed(cherrypy, tools__sessions__on=True)
        def visit(self, **kwargs: str) -> str:
            cherrypy.session["n"] = cherrypy.session.get("n", 0) + 1
            return str(cherrypy.session["n"])

        @exposed(cherrypy, tools__caching__on=True)
        def cached(self, **kwargs: str) -> str:
            self.pop += "1"
            return self.pop

        def links(self, **kwargs: str) -> str:
            here = url_for("page", action="index", id="é")
            return f"{here} {url_for('page', action='x', id=1, qualified=True)} {url_for('/a')}"

        def away(self, **kwargs: str) -> None:
            redirect_to("page", action="index", id=3)

    return City()


def town(cherrypy: Any, **options: Any) -> Any:
    """Return a dispatcher with patterns of several kinds."""
    dispatcher = cherrypy.dispatch.RoutesDispatcher(**options)
    own = city(cherrypy, "Bath")
    dispatcher.connect("one", "/bath", own, action="index", conditions={"method": ["GET"]})
    dispatcher.mapper.connect(
        "/bath", controller="one", action="update", conditions={"method": ["POST"]}
    )
    dispatcher.connect("page", "/pages/{action}/{id}", own, requirements={"id": r"\d+|é"})
    dispatcher.connect("deep", "/deep/{path:.*}", own, action="index")
    dispatcher.connect("class", "/class/:action", lambda **values: f"called {values}", action=None)
    dispatcher.connect("type", "/type/{action}", type(own))
    dispatcher.connect("function", "/function", lambda **values: f"function {values}", action=None)
    dispatcher.connect("main", "/{action}", own)
    return dispatcher


SECTIONS = {
    "/deep": {"own.value": "section"},
    "/deep/a": {"own.value": "deeper"},
    "/bath": {"own.value": "last"},
    "/gone": {"error_page.404": lambda **values: "no such page"},
}

PAGES = """GET /bath|GET /bath/|GET /bath?a=1&a=2|POST /bath|PUT /bath|GET /none|GET /|GET /gone|HEAD /bath
GET /deep/x|GET /deep/a/b|GET /deep/a|GET /pages/index/5?q=1|GET /pages/index/x|GET /pages/links/5|GET /away
GET /pages/index/%C3%A9|GET /pages/none/5|GET /function?b=2|GET /class/x|GET /visit|GET /visit|GET /cached
GET /cached|GET /pages/cached/7|GET /pages/cached/7|GET /update?pop=4&other=1|GET /type/index|GET /pages/__class__/5"""


def answers(client: Any, prefix: str) -> list[Any]:
    found = []
    for line in PAGES.replace("\n", "|").split("|"):
        method, path = line.split(" ", 1)
        data = {"pop": "7"} if method == "POST" else None
        answer = client.request(method, prefix + path, data=data, follow_redirects=False)
        headers = [answer.headers.get(name) for name in ("content-type", "location", "allow")]
        has_own_text = answer.status_code < 300 or path == "/gone"
        found.append(
            (line, answer.status_code, headers, answer.text.rstrip() if has_own_text else "")
        )
    return found


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("prefix", ["", "/shop"])
def test_patterns_find_the_same_handlers_with_tools_and_configuration(
    serve_ours: Serve, connect: MakeClient, full: bool, prefix: str
) -> None:
    def application(cherrypy: Any) -> Any:
        tree = cherrypy._cptree.Tree()
        dispatcher = town(cherrypy, full_result=full)
        tree.mount(None, prefix, {"/": {"request.dispatch": dispatcher}, **SECTIONS})
        return tree

    expected = answers(connect(application(original), "wsgi", validate=False), prefix)
    assert answers(serve_ours(application(ours)), prefix) == expected
    statuses = {status for _, status, _, _ in expected}
    assert statuses == {200, 303, 404}


def test_a_class_is_created_for_each_request_and_async_handlers_run(serve_ours: Serve) -> None:
    class Counter:
        async def index(self) -> str:
            return f"{ours.request.method} {id(self) and vars(self).setdefault('n', 1)}"

    dispatcher = ours.dispatch.RoutesDispatcher()
    dispatcher.connect("counter", "/{action}", Counter)
    client = serve_ours(ours.Application(None, "", {"/": {"request.dispatch": dispatcher}}))
    assert [client.get("/index").text for _ in range(2)] == ["GET 1", "GET 1"]


def test_actions_of_python_itself_and_very_long_paths_get_404(serve_ours: Serve) -> None:
    class Root:
        def index(self, **values: str) -> str:
            return "here"

    dispatcher = ours.dispatch.RoutesDispatcher()
    dispatcher.connect("any", r"/{action:\w+}{rest:.*}", Root())
    client = serve_ours(ours.Application(None, "", {"/": {"request.dispatch": dispatcher}}))
    assert client.get("/index").text == client.get("/index" + 200 * "/a").text == "here"
    for path in ("/__class__", "/__init__", "/index" + 300 * "/a"):
        assert client.get(path).status_code == 404


def test_a_pattern_that_tests_the_environ_is_never_cached(serve_root: Serve, cherrypy: Any) -> None:
    """The function decides by what the cache doesn't know."""
    seen: list[str] = []

    @exposed(cherrypy, tools__caching__on=True)
    def members(**values: str) -> str:
        seen.append("")
        return "for members"

    def is_member(environ: Any, result: Any) -> bool:
        return "member" in environ.get("HTTP_COOKIE", "")

    dispatcher = cherrypy.dispatch.RoutesDispatcher()
    dispatcher.connect("m", "/page", members, action=None, conditions={"function": is_member})
    client = serve_root(None, {"/": {"request.dispatch": dispatcher}})
    for _ in range(2):
        assert client.get("/page", headers={"Cookie": "who=member"}).text == "for members"
    assert client.get("/page").status_code == 404
    if cherrypy is ours:
        assert len(seen) == 2


def test_without_the_package_the_error_and_check_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = "cherrypy.dispatch.RoutesDispatcher"
    assert advice_for("cherrypy", name) is None
    monkeypatch.setattr(dispatch, "find_spec", lambda name: None)
    with pytest.raises(SetupError, match="pip install routes"):
        ours.dispatch.RoutesDispatcher  # noqa: B018
    advice = advice_for("cherrypy", name)
    assert advice is not None
    assert "pip install routes" in advice


# -- XML-RPC ---------------------------------------------------------------------------------------


def calls(cherrypy: Any) -> Any:
    class Inner:
        @cherrypy.expose
        def add(self, a: int, b: int) -> int:
            return a + b

        def hidden(self) -> str:
            return "hidden"

    class Rpc(cherrypy._cptools.XMLRPCController):
        inner = Inner()

        @cherrypy.expose
        def echo(self, *values: Any) -> Any:
            return list(values)

        @cherrypy.expose
        def nothing(self) -> None:
            return None

        @cherrypy.expose
        def fault(self) -> Fault:
            return Fault(7, "own fault <é>")

        @cherrypy.expose
        def crash(self) -> None:
            raise ValueError("of a method")

        @cherrypy.expose
        def refused(self) -> None:
            raise cherrypy.HTTPError(403)

    class Root:
        rpc = Rpc()

        @cherrypy.expose
        def index(self) -> str:
            return "page"

    return Root()


CALLS: list[tuple[str, tuple[Any, ...]]] = [
    ("echo", (1, "é <", [True, 2.5], {"a": b"\0"}, datetime(2026, 1, 2))),
    ("inner.add", (1, 2)),
    ("inner.add", (1,)),
    ("inner.hidden", ()),
    ("inner", ()),
    ("none", ()),
    ("fault", ()),
    ("crash", ()),
    ("nothing", ()),
    ("refused", ()),
]


def called(client: Any, path: str, content: bytes) -> Any:
    answer = client.post(path, content=content, headers={"Content-Type": "text/xml"})
    if answer.status_code != 200:
        return answer.status_code
    try:
        result: Any = loads(answer.content, use_builtin_types=True)
    except Fault as fault:
        # the original says the last part of the name
        result = fault.faultCode, fault.faultString.replace("inner.", "").replace("Inner.", "")
    return answer.headers["Content-Type"], result


@pytest.mark.parametrize("allow_none", [0, 1])
def test_calls_have_the_same_results(
    serve_ours: Serve, connect: MakeClient, allow_none: int
) -> None:
    def results(cherrypy: Any, client: Any) -> list[Any]:
        found: list[Any] = []
        for path in ("/RPC2/rpc/", "/RPC2/rpc", "/rpc/", "/rpc", "/rpc/5"):
            for name, values in CALLS:
                content = dumps(values, name, encoding="utf-8").encode()
                found.append((path, name, called(client, path, content)))
            for content in (b"", b"<methodCall>", b"no xml"):
                found.append((path, content, called(client, path, content)))
        return [*found, client.get("/").text, client.get("/RPC2/").text]

    def application(cherrypy: Any) -> Any:
        dispatcher = cherrypy.dispatch.XMLRPCDispatcher()
        options = {"request.dispatch": dispatcher, "tools.xmlrpc.allow_none": allow_none}
        return cherrypy.Application(calls(cherrypy), "", {"/": options})

    expected = results(original, connect(application(original), "wsgi", validate=False))
    assert results(ours, serve_ours(application(ours))) == expected
    assert ("/RPC2/rpc/", "inner.add", ("text/xml;charset=utf-8", ((3,), None))) in expected


def test_a_result_in_another_encoding_can_be_read(serve_our_root: Serve) -> None:
    """The original sends UTF-8 and declares latin-1."""
    client = serve_our_root(calls(ours), {"/": {"tools.xmlrpc.encoding": "iso-8859-1"}})
    content = dumps(("é€",), "echo", encoding="utf-8").encode()
    assert called(client, "/rpc/", content) == ("text/xml;charset=utf-8", ((["é€"],), None))


def test_hooks_find_the_length_of_a_result(cherrypy: Any, serve_root: Serve) -> None:
    lengths: list[int | None] = []

    def note() -> None:
        lengths.append(cherrypy.response.headers.get("Content-Length"))

    hooks = {"hooks.on_end_resource": note, "hooks.after_error_response": note}
    client = serve_root(calls(cherrypy), {"/": hooks})
    headers = {"Content-Type": "text/xml"}
    for name in ("echo", "nothing"):
        content = dumps(("a",), name).encode()
        found = client.post("/rpc/", content=content, headers=headers).content
        assert lengths.pop() == len(found)


def test_a_body_that_declares_entities_calls_nothing(serve_our_root: Serve) -> None:
    declared = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "y">]>'
    content = declared + dumps(("a",), "echo").replace("<?xml version='1.0'?>", "")
    _, (code, text) = called(serve_our_root(calls(ours)), "/rpc/", content.encode())
    assert (code, text) == (1, 'method "ERRORMETHOD" is not supported')


def test_a_large_body_is_refused(serve_our_root: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    client = serve_our_root(calls(ours), {"/": {"request.body.maxbytes": 10}})
    assert called(client, "/rpc/", dumps(("a",), "echo").encode()) == 413
