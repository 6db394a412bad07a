"""Any two tools of CherryPy together, under each dispatcher, with and without a session; and a REST
service as programs have it: the original's answers and ours.

What a tool sets before the handler is sent, whatever was read or set before.
"""

from __future__ import annotations

import itertools
from typing import Any

import cherrypy as original
import pytest

from micropie_compat import cherrypy as ours
from tests.support.clients import MakeClient

# All but ``autovary``, which tells what the code of the other tools has looked at.
TOOLS: dict[str, dict[str, Any]] = {
    "json_out": {},
    "json_in": {"force": False},
    "encode": {},
    "gzip": {},
    "etags": {"autotags": True},
    "response_headers": {"headers": [("X-Tool", "set"), ("Content-Type", "text/x-tool")]},
    "expires": {"secs": 60},
    "caching": {},
    "trailing_slash": {},
    "proxy": {},
    "accept": {"media": ["text/html", "application/json"]},
    "flatten": {},
    "ignore_headers": {"headers": ["Range"]},
}

# Headers that are meant to differ, or that are made of the time.
NOT_COMPARED = {
    "date",
    "server",
    "set-cookie",
    "expires",
    "last-modified",
    "x-content-type-options",
}
# Of an error, whose page is our own, and which only the original's cache keeps.
OF_AN_ERROR = {"content-length", "age"}
ASKED: list[tuple[str, dict[str, Any]]] = [("GET", {}), ("POST", {"json": {"a": 1}})]


def header_first(cherrypy: Any) -> Any:
    """Return a dispatcher of an application's own, which sets a header."""
    inner = cherrypy.dispatch.Dispatcher()

    def dispatch(path_info: str) -> Any:
        cherrypy.response.headers["X-Dispatched"] = "yes"
        return inner(path_info)

    return dispatch


DISPATCHERS: dict[str, Any] = {
    "default": lambda cherrypy: cherrypy.dispatch.Dispatcher(),
    "method": lambda cherrypy: cherrypy.dispatch.MethodDispatcher(),
    "own": header_first,
    "hosts": lambda cherrypy: cherrypy.dispatch.VirtualHost(),
}


def page(cherrypy: Any) -> Any:
    """Return a resource that each dispatcher finds, with a further one by ``_cp_dispatch``."""

    class Page:
        exposed = True

        def GET(self, **values: str) -> Any:
            return "text"

        POST = GET

        @cherrypy.expose
        def index(self, **values: str) -> Any:
            return "text"

        def _cp_dispatch(self, vpath: list[str]) -> Any:
            cherrypy.response.headers["X-Found"] = vpath.pop(0)
            return self

    return Page()


def site(cherrypy: Any) -> tuple[Any, list[str]]:
    """Return an application with two pages for each pair, one with a session, and their paths."""
    root = type("Root", (), {})()
    config: dict[str, Any] = {}
    pairs = itertools.combinations(TOOLS, 2)
    # in turn: every tool meets every dispatcher
    dispatchers = itertools.cycle([*DISPATCHERS, "default"])
    for number, (pair, has_session) in enumerate(itertools.product(pairs, (False, True))):
        dispatcher = next(dispatchers)
        setattr(root, f"p{number}", page(cherrypy))
        config[f"/p{number}"] = section = {
            "request.dispatch": DISPATCHERS[dispatcher](cherrypy),
            "tools.sessions.on": has_session,
        }
        for tool in pair:
            section[f"tools.{tool}.on"] = True
            section |= {f"tools.{tool}.{name}": value for name, value in TOOLS[tool].items()}
    application = cherrypy.Application(root, "", config)
    return application, [path + end for path in config for end in ("", "/", "/more")]


def answers(client: Any, path: str) -> list[Any]:
    given = []
    for method, options in ASKED:
        client.cookies.clear()
        answer = client.request(method, path, **options)
        is_error = answer.status_code >= 400
        left_out = NOT_COMPARED | OF_AN_ERROR if is_error else NOT_COMPARED
        kept = {name: value for name, value in answer.headers.items() if name not in left_out}
        given.append((method, answer.status_code, kept, "" if is_error else answer.text))
    return given


@pytest.mark.timeout(360)  # with all paths 7 seconds of a processor, 17 on a free-threaded Python
def test_every_pair_of_tools_responds_as_in_the_original(
    connect: MakeClient, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    """Each page is asked for by one of its three paths, in turn; with ``--all-worlds`` by all."""
    monkeypatch.setattr(ours, "_cache", None, raising=False)
    (theirs, paths), (mine, _) = site(original), site(ours)
    if not pytestconfig.getoption("--all-worlds"):
        paths = [path for number, path in enumerate(paths) if number // 3 % 3 == number % 3]
    there, here = connect(theirs, "wsgi", validate=False), connect(mine, "wsgi")
    different = {}
    for path in paths:
        expected, given = answers(there, path), answers(here, path)
        if expected != given:
            different[path] = expected, given
    assert different == {}


class Store:
    """A REST service: a resource for each row, a document in, a document out."""

    exposed = True

    def __init__(self, cherrypy: Any) -> None:
        self.cherrypy = cherrypy
        self.rows: dict[str, Any] = {"1": {"name": "pie"}}

    def _cp_dispatch(self, vpath: list[str]) -> Any:
        self.cherrypy.request.params["row"] = vpath.pop(0)
        return self

    def GET(self, row: str | None = None) -> Any:
        if row is None:
            return self.rows
        if row not in self.rows:
            raise self.cherrypy.HTTPError(404, f"no {row}")
        return self.rows[row]

    def POST(self, row: str | None = None) -> Any:
        number = str(len(self.rows) + 1)
        self.rows[number] = self.cherrypy.request.json
        self.cherrypy.response.status = 201
        self.cherrypy.response.headers["Location"] = f"/store/{number}"
        return {"id": number}

    def PUT(self, row: str) -> Any:
        self.rows[row] = self.cherrypy.request.json
        return self.rows[row]

    def DELETE(self, row: str) -> None:
        self.rows.pop(row, None)
        self.cherrypy.response.status = 204


STORE: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/store", {}),
    ("HEAD", "/store", {}),
    ("GET", "/store/1", {}),
    ("GET", "/store/9", {}),
    ("POST", "/store", {"json": {"name": "<b>tart</b>"}}),
    ("GET", "/store/2", {}),
    ("PUT", "/store/2", {"json": ["é"]}),
    ("PUT", "/store/2", {"content": b"{", "headers": {"Content-Type": "application/json"}}),
    ("PUT", "/store/2", {"data": {"a": "b"}}),
    ("GET", "/store", {}),
    ("DELETE", "/store/1", {}),
    ("GET", "/store/1", {}),
    ("PATCH", "/store/1", {"json": {}}),
    ("OPTIONS", "/store", {}),
]


@pytest.mark.parametrize("more", [{}, {"tools.etags.on": True, "tools.etags.autotags": True}])
def test_a_rest_service_responds_as_in_the_original(
    world: str, connect: MakeClient, more: dict[str, Any]
) -> None:
    given = []
    for cherrypy, side in ((original, "wsgi"), (ours, world)):
        config = {
            "request.dispatch": cherrypy.dispatch.MethodDispatcher(),
            "tools.json_in.on": True,
            "tools.json_out.on": True,
            **more,
        }
        root = type("Root", (), {"store": Store(cherrypy)})()
        application = cherrypy.Application(root, "", {"/": config})
        client = connect(application, side, validate=side != "wsgi")
        given.append([_answer(client, *asked) for asked in STORE])
    assert given[0] == given[1]
    assert {kind for status, kind, *_ in given[1] if status < 204} == {"application/json"}


def _answer(client: Any, method: str, path: str, options: dict[str, Any]) -> list[Any]:
    answer = client.request(method, path, **options)
    status, names = answer.status_code, ["content-type", "allow", "location", "etag"]
    if status == 204:  # an answer without content has no Content-Type here
        names.remove("content-type")
    kept = [answer.headers.get(name) for name in names]
    return [status, *kept, answer.text if status < 300 else ""]
