"""What runs beside the handlers of CherryPy: dispatchers that attach hooks, plugins that watch
requests, internal redirects, and the logs of each application. The original and ours do the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest

from micropie.sessions import InMemorySessionBackend
from micropie_compat import cherrypy as ours
from tests.support.waiting import PATIENCE, until

Serve = Callable[..., Any]


class Records(logging.Handler):
    """Keeps the exceptions that are logged."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[object] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.failures.append(record.exc_info)


def attaching(cherrypy: Any) -> Any:
    """Return a dispatcher that attaches a hook, sets an error page and reads the tools."""
    inner = cherrypy.dispatch.Dispatcher()

    def mark() -> None:
        cherrypy.response.headers["X-Marked"] = "yes"

    def dispatch(path_info: str) -> Any:
        request = cherrypy.request
        request.hooks.attach("before_finalize", mark)
        request.error_page[404] = lambda **values: "set by the dispatcher"
        assert request.toolmaps == {}
        return inner(path_info)

    return dispatch


def test_a_hook_of_a_dispatcher_leaves_all_tools_on(serve_root: Serve, cherrypy: Any) -> None:
    class Root:
        @cherrypy.expose
        def index(self) -> str:
            return "secret"

        @cherrypy.expose
        @cherrypy.tools.json_out()
        def json(self) -> list[str]:
            return ["secret"]

        @cherrypy.expose
        def conflict(self) -> None:
            raise cherrypy.HTTPError(409)

    check = cherrypy.lib.auth_basic.checkpassword_dict({"ann": "pie"})
    client = serve_root(
        Root(),
        {
            "/": {
                "request.dispatch": attaching(cherrypy),
                "tools.auth_basic.on": True,
                "tools.auth_basic.realm": "pies",
                "tools.auth_basic.checkpassword": check,
                "error_page.409": lambda **values: "set by the configuration",
            }
        },
    )
    for path in ("/", "/json", "/conflict"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["x-marked"]) == (401, "yes")
    found = [client.get(path, auth=("ann", "pie")) for path in ("/", "/json", "/conflict", "/none")]
    assert [(one.status_code, one.text.strip(), one.headers["x-marked"]) for one in found] == [
        (200, "secret", "yes"),
        (200, '["secret"]', "yes"),
        (409, "set by the configuration", "yes"),
        (404, "set by the dispatcher", "yes"),
    ]


def test_a_hook_of_cp_dispatch_leaves_all_tools_on(serve_root: Serve, cherrypy: Any) -> None:
    class Root:
        @cherrypy.expose
        @cherrypy.tools.json_out()
        def index(self) -> list[str]:
            return ["pie"]

        def _cp_dispatch(self, vpath: list[str]) -> Any:
            vpath.pop(0)
            cherrypy.request.hooks.attach("on_end_resource", lambda: seen.append("end"))
            return self

    seen: list[str] = []
    client = serve_root(Root())
    assert client.get("/apple/").json() == ["pie"]
    assert seen == ["end"]


@pytest.fixture
def heard(cherrypy: Any) -> Iterator[list[Any]]:
    """The messages that plugins get, who read the request."""
    heard: list[Any] = []

    def before() -> None:
        cherrypy.request.opened = "connection"
        heard.append("before")

    def after() -> None:
        heard.append(("after", cherrypy.request.opened))

    engine = cherrypy.engine
    for channel, listener in (("before_request", before), ("after_request", after)):
        engine.subscribe(channel, listener)
    yield heard
    for channel, listener in (("before_request", before), ("after_request", after)):
        engine.unsubscribe(channel, listener)


def test_a_plugin_can_set_attributes_of_a_request_before_it(
    heard: list[Any], serve_page: Serve, cherrypy: Any
) -> None:
    client = serve_page(lambda: cherrypy.request.opened)
    assert client.get("/").text == "connection"
    until(lambda: len(heard) == 2)
    assert heard == ["before", ("after", "connection")]


def test_the_options_of_tools_belong_to_one_request(serve_page: Serve, cherrypy: Any) -> None:
    def show(value: str = "") -> str:
        toolmaps = cherrypy.request.toolmaps["tools"]
        before = str(toolmaps["pies"])
        toolmaps["pies"]["kind"] = value
        return before

    client = serve_page(show, tools__pies__kind="apple")
    assert client.get("/?value=plum").text == client.get("/").text == "{'kind': 'apple'}"


def test_each_toolbox_has_its_options_in_toolmaps(serve: Serve, cherrypy: Any) -> None:
    class Root:
        @cherrypy.expose
        def index(self) -> str:
            return " ".join(sorted(cherrypy.request.toolmaps))

    app = cherrypy.Application(Root(), "")
    app.toolboxes["pies"] = cherrypy._cptools.Toolbox("pies")
    # other tests may have made toolboxes for all applications
    assert {"pies", "tools"} <= {*serve(app).get("/").text.split()}


def test_wsgi_environ_has_the_path_of_the_application(serve: Serve, cherrypy: Any) -> None:
    class Root:
        @cherrypy.expose
        def default(self, *segments: str) -> str:
            environ = cherrypy.request.wsgi_environ
            return f"{environ['SCRIPT_NAME']} {environ['PATH_INFO']}"

    tree = cherrypy._cptree.Tree()
    tree.mount(Root(), "/shop")
    tree.mount(Root(), "")
    client = serve(tree)
    assert client.get("/shop/pies/1").text == "/shop /pies/1"
    assert client.get("/pies/%C3%A9").text == " /pies/Ã©"


def test_an_internal_redirect_takes_neither_session_nor_body_along(
    serve_root: Serve, cherrypy: Any
) -> None:
    class Root:
        @cherrypy.expose
        @cherrypy.config(**{"tools.sessions.on": True})
        def go(self, **fields: str) -> None:
            cherrypy.session["pie"] = "apple"
            raise cherrypy.InternalRedirect("/shown")

        @cherrypy.expose
        def shown(self, **fields: str) -> str:
            request = cherrypy.request
            length = request.headers["Content-Length"]
            has_session = hasattr(cherrypy.serving, "session")
            return f"{request.method} {fields} {length} {request.rfile.read(9)} {has_session}"

    assert serve_root(Root()).post("/go", data={"a": "1"}).text == "GET {} 0 b'' False"


def test_a_failing_hook_at_the_end_of_a_request_is_in_the_log_of_its_application(
    serve: Serve, cherrypy: Any
) -> None:
    def fail() -> None:
        raise ValueError("the end failed")

    class Root:
        @cherrypy.expose
        def index(self) -> str:
            return "pie"

        @cherrypy.expose
        @cherrypy.config(**{"hooks.on_end_request": fail})
        def go(self) -> None:
            raise cherrypy.InternalRedirect("/")

        @cherrypy.expose
        @cherrypy.config(**{"hooks.on_end_request": fail})
        def end(self) -> str:
            return "pie"

    app = cherrypy.Application(Root(), "")
    app.log.error_log.addHandler(records := Records())
    client = serve(app)
    for path in ("/go", "/end"):
        records.failures.clear()
        assert client.get(path).text == "pie"
        until(lambda: bool(records.failures))
        assert "the end failed" in str(records.failures)


def test_the_first_of_two_failing_hooks_is_in_the_log_of_its_application(
    serve: Serve, cherrypy: Any
) -> None:
    def fail() -> None:
        raise ValueError("the first failed")

    def fail_too() -> None:
        raise ValueError("the second failed")

    fail_too.failsafe = True  # type: ignore[attr-defined]

    class Root:
        @cherrypy.expose
        @cherrypy.config(**{"hooks.before_handler.1": fail, "hooks.before_handler.2": fail_too})
        def index(self) -> str:
            return "pie"

    app = cherrypy.Application(Root(), "")
    app.log.error_log.addHandler(records := Records())
    assert serve(app).get("/").status_code == 500
    assert "the first failed" in str(records.failures)


def test_graceful_reopens_the_log_files_of_each_application(
    serve: Serve, cherrypy: Any, tmp_path: Path
) -> None:
    class Root:
        @cherrypy.expose
        def index(self) -> str:
            cherrypy.log("baked")
            return "pie"

    files = tmp_path / "error.log", tmp_path / "access.log"
    config = {"log.error_file": str(files[0]), "log.access_file": str(files[1])}
    app = cherrypy.Application(Root(), "", {"/": config})
    client = serve(app)
    client.get("/")
    for file in files:
        file.rename(f"{file}.1")
    try:
        # not the channel itself, which would start threads and has other tests' logs
        assert app.log.reopen_files in cherrypy.engine.listeners["graceful"]
        app.log.reopen_files()
        client.get("/")
    finally:
        app.log.error_file = app.log.access_file = ""
        cherrypy.engine.unsubscribe("graceful", app.log.reopen_files)
    assert [file.read_text().count("\n") for file in files] == [1, 1]


def test_a_hook_that_a_stream_attaches_runs_at_the_end(serve_root: Serve, cherrypy: Any) -> None:
    ends: list[str] = []

    class Root:
        @cherrypy.expose
        @cherrypy.config(**{"response.stream": True})
        def index(self) -> Iterator[str]:
            cherrypy.request.hooks.attach("on_end_request", lambda: ends.append("end"))
            yield "pie"

    assert serve_root(Root()).get("/").text == "pie"
    until(lambda: bool(ends))
    assert ends == ["end"]


def test_a_body_of_text_without_a_charset_may_be_latin_1(serve_page: Serve, cherrypy: Any) -> None:
    def show() -> str:
        body = cherrypy.request.body
        return str(body.decode_entity(body.read()))

    client = serve_page(show)
    for content in (b"\xe9", "é".encode()):
        answer = client.post("/", content=content, headers={"Content-Type": "text/plain"})
        assert answer.text == "é"


def test_a_tool_whose_function_is_replaced_calls_the_new_function(
    serve_page: Serve, cherrypy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def add(value: str) -> None:
        cherrypy.response.headers["X-Tool"] = value

    tool = cherrypy.Tool("before_finalize", lambda: add("old"))
    monkeypatch.setattr(cherrypy.tools, "replaced", tool, raising=False)
    client = serve_page(lambda: "pie", tools__replaced__on=True)
    assert client.get("/").headers["x-tool"] == "old"
    tool.callable = lambda: add("new")
    assert client.get("/").headers["x-tool"] == "new"


def test_a_cached_response_reaches_waiting_requests_before_a_slow_client_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Root:
        @ours.expose
        @ours.config(
            **{"tools.caching.on": True, "tools.caching.antistampede_timeout": 10 * PATIENCE}
        )
        def index(self) -> str:
            others.append(Future())
            thread = Thread(target=lambda: others[0].set_result(ask()))
            thread.start()
            waiting = ours.request._cache_event._cond._waiters
            until(lambda: bool(waiting))
            return "pie"

    def ask() -> Any:
        return app(environ(), lambda status, headers: None)

    def environ() -> dict[str, Any]:
        made: dict[str, Any] = {}
        setup_testing_defaults(made)
        return made

    monkeypatch.setattr(ours, "_cache", None, raising=False)
    others: list[Future[Any]] = []
    app = ours.Application(Root(), "")
    first = ask()
    second = others[0].result(PATIENCE)
    assert b"".join(first) == b"".join(second) == b"pie"
    for answer in (first, second):
        answer.close()
    app.wsgi_shutdown()


def test_a_backend_that_expires_sessions_itself_has_no_thread_for_it(serve_our_page: Serve) -> None:
    def store() -> str:
        ours.session["pie"] = "apple"
        return str(type(ours.serving.session).clean_thread)

    options = {"tools__sessions__on": True, "tools__sessions__backend": InMemorySessionBackend()}
    assert serve_our_page(store, **options).get("/").text == "None"
