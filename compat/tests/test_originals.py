"""A module that still imports the original framework below a migrated application, and original
applications in the same process.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from pathlib import Path
from threading import Barrier
from types import ModuleType
from typing import Any

import bottle as original_bottle
import cherrypy as original
import pytest

from compat.tests.conftest import Serve
from compat.tests.test_stand_in import run
from micropie import App, HttpMiddleware
from micropie_compat import bottle, cherrypy, originals
from micropie_compat.originals import OriginalFrameworkError, watch
from micropie_compat.stand_in import holders
from tests.support.clients import MakeClient
from tests.support.waiting import PATIENCE

CLIENT = ("203.0.113.9", 50_000)

Forgotten = Callable[[str], Callable[..., Any]]


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Forgotten:
    """Return a function that makes ``helpers.use`` of these lines, in a module that imports both
    originals. Other tests' modules that import one of them are hidden.
    """
    for framework in ("bottle", "cherrypy"):
        for name in [*holders(framework)]:
            monkeypatch.delitem(sys.modules, name)
    originals._found_importers.cache_clear()

    def make(lines: str) -> Callable[..., Any]:
        module = ModuleType("helpers")
        body = "\n    ".join(lines.splitlines())
        exec(f"import bottle, cherrypy\ndef use(*args):\n    {body}", vars(module))
        monkeypatch.setitem(sys.modules, "helpers", module)
        use: Callable[..., Any] = vars(module)["use"]
        return use

    return make


def cherrypy_app(use: Callable[..., Any], **config: object) -> Any:
    class Root:
        @cherrypy.expose
        def index(self, **values: str) -> Any:
            return use() or "open"

    return cherrypy.Application(Root(), "", {"/": config})


def bottle_app(use: Callable[..., Any]) -> Any:
    app = bottle.Bottle()
    app.get("/")(lambda: use() or "open")
    return app


CHERRYPY_USES = [
    "return cherrypy.request.remote.ip",
    "return cherrypy.request.headers.get('Host')",
    "return hasattr(cherrypy.request, 'user')",
    "return getattr(cherrypy.request, 'user', 'nobody')",
    "cherrypy.request.user = 'ann'",
    "return 'Host' in cherrypy.serving.request.headers",
    "cherrypy.response.headers['X-Frame-Options'] = 'DENY'",
    "cherrypy.response.status = 403",
    "return cherrypy.url('/x')",
    "raise cherrypy.HTTPRedirect('/login')",
    "raise cherrypy.HTTPError(403)",
    "raise cherrypy.NotFound",
    "return cherrypy.lib.httputil.valid_status(cherrypy.serving.response.status)",
]
BOTTLE_USES = [
    "return bottle.request.remote_addr",
    "return bottle.request.get('REMOTE_ADDR')",
    "try:\n    return bottle.request.url\nexcept RuntimeError:\n    return 'open'",
    "return bottle.request.forms.get('x')",
    "return hasattr(bottle.request, 'user')",
    "bottle.request.user = 'ann'",
    "del bottle.request.user",
    "del bottle.request.environ",
    "bottle.response.set_header('X-Frame-Options', 'DENY')",
    "bottle.response.status = 403",
    "bottle.response.bind()",
    "bottle.response.delete_cookie('x')",
    "del bottle.response.body",
    "bottle.redirect('/login')",
    "bottle.abort(403)",
    "return bottle.HTTPResponse('open')",
    "return bottle.static_file('x', root='/')",
]


@pytest.mark.parametrize(
    ("framework", "lines"),
    [
        *(("cherrypy", lines) for lines in CHERRYPY_USES),
        *(("bottle", lines) for lines in BOTTLE_USES),
    ],
)
def test_using_the_original_in_a_migrated_handler_raises_an_error(
    forgotten: Forgotten,
    make_client: MakeClient,
    caplog: pytest.LogCaptureFixture,
    framework: str,
    lines: str,
) -> None:
    make_app = cherrypy_app if framework == "cherrypy" else bottle_app
    use = forgotten(lines)
    app = make_app(use)
    app.native.get("/native")(lambda: use())
    client = make_client(app, client=CLIENT)
    for path in ("/", "/native"):
        caplog.clear()
        answer = client.get(path)
        assert (answer.status_code, "open" in answer.text) == (500, False)
        assert f"Error: helpers imports the original {framework}, but" in caplog.text
        assert f"import {framework} from micropie_compat instead, or" in caplog.text
        assert f'import install; install("{framework}")' in caplog.text


def test_hooks_tools_and_native_code_may_not_use_the_original(
    forgotten: Forgotten, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    use = forgotten("return cherrypy.request.remote.ip")
    hooked = cherrypy_app(lambda: None, **{"hooks.before_handler": lambda: use()})
    assert make_client(hooked).get("/").status_code == 500

    app = cherrypy_app(lambda: None)
    app.native.get("/native")(lambda: use())
    client = make_client(app)
    assert (client.get("/native").status_code, client.get("/").status_code) == (500, 200)

    class Looks(HttpMiddleware):
        def before_request(self, request: Any) -> None:
            use()

    app.native.middlewares.append(Looks())
    assert client.get("/").status_code == 500

    use = forgotten("return bottle.request.remote_addr")
    hooked = bottle_app(lambda: None)
    hooked.add_hook("before_request", lambda: use())
    assert make_client(hooked).get("/").status_code == 500
    wrapped = bottle_app(lambda: None)
    wrapped.install(lambda callback: lambda *args, **values: use() and callback(*args, **values))
    assert make_client(wrapped).get("/").status_code == 500


def test_a_dispatcher_may_not_use_the_original(
    forgotten: Forgotten, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    """It fails before the tool that logs tracebacks is attached."""
    use = forgotten("cherrypy.request.handler = lambda: 'open'")
    app = cherrypy_app(lambda: None, **{"request.dispatch": lambda path: use()})
    assert make_client(app).get("/").status_code == 500
    assert caplog.text.count("Error: helpers imports the original cherrypy, but") == 1


def test_a_stream_may_not_use_the_original(forgotten: Forgotten, make_client: MakeClient) -> None:
    for make, lines in (
        (cherrypy_app, "return cherrypy.request.remote.ip"),
        (bottle_app, "return bottle.request.remote_addr"),
    ):
        use = forgotten(lines)
        seen: list[str] = []

        def page(use: Any = use, seen: list[str] = seen) -> Iterator[str]:
            yield "first"
            try:
                use()
            except OriginalFrameworkError as error:
                seen.append(str(error))
            yield "last"

        make_client(make(page)).get("/")
        assert ["helpers imports the original" in text for text in seen] == [True]


def test_an_async_handler_may_not_use_the_original(
    forgotten: Forgotten, make_client: MakeClient
) -> None:
    use = forgotten("return cherrypy.request.remote.ip")

    class Root:
        @cherrypy.expose
        async def index(self) -> Any:
            return use()

    assert make_client(cherrypy.Application(Root())).get("/").status_code == 500


def test_the_error_names_the_module_that_imports_the_original(
    forgotten: Forgotten, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Another module or a template may get the original's request from it."""
    names: dict[str, Any] = {"__name__": "tools"}
    exec("def address(request): return request.remote_addr", names)
    for lines in (
        "return args[0](bottle.request)",
        "from micropie_compat import bottle as new\nglobals()['new'] = new\nreturn bottle.request.url",
        "return bottle.template('{{request.remote_addr}}', request=bottle.request)",
        "return bottle.jinja2_template('{{ request.remote_addr }}', request=bottle.request)",
        "return bottle.mako_template('${request.remote_addr}', request=bottle.request)",
    ):
        use = forgotten(lines)
        caplog.clear()
        app = bottle_app(lambda use=use: use(names["address"]))
        assert make_client(app).get("/").status_code == 500
        assert "Error: helpers imports the original bottle, but" in caplog.text, lines
    caplog.clear()
    request = vars(sys.modules["helpers"])["bottle"].request
    app = bottle_app(lambda: names["address"](request))
    assert make_client(app).get("/").status_code == 500
    assert "tools uses the original bottle, imported by helpers, but" in caplog.text


def test_the_error_names_a_decorator_of_the_original(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    app = bottle.Bottle()
    app.get("/")(original_bottle.auth_basic(lambda user, password: True)(lambda: "open"))
    assert make_client(app).get("/").status_code == 500
    assert "wrapper is from the original bottle" in caplog.text


def test_the_error_names_a_tool_of_the_original(
    forgotten: Forgotten,
    make_client: MakeClient,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A handler whose check is switched on by such a tool isn't open."""
    checks = original._cptools.Toolbox("checks")
    checks.local = original.Tool("before_handler", forgotten("raise cherrypy.HTTPError(403)"))
    vars(sys.modules["helpers"])["checks"] = checks
    monkeypatch.setattr(
        original.tools, "local", original.Tool("before_handler", lambda: None), raising=False
    )
    for tool in (checks.local, original.tools.local):

        class Root:
            @cherrypy.expose
            @tool()
            def index(self) -> str:
                return "open"

        caplog.clear()
        app = cherrypy.Application(Root(), "", {"/": {"checks.other.on": True, "unknown.x": 1}})
        assert make_client(app).get("/").status_code == 500
        name = f"{tool.namespace}.local"
        assert f"{name} is from the original cherrypy, imported by helpers, but" in caplog.text

    app = cherrypy_app(lambda: None, **{"checks.other.on": True, "unknown.x": 1})
    assert make_client(app).get("/").text == "open"
    app.toolboxes["checks"] = checks
    assert make_client(app).get("/").status_code == 500


def test_the_error_names_routes_and_plugins_of_the_original(forgotten: Forgotten) -> None:
    forgotten("pass")
    app, old = bottle.Bottle(), original_bottle_app()
    for use in (
        lambda: app.merge(old),
        lambda: app.merge(old.routes),
        lambda: app.add_route(old.routes[0]),
        lambda: app.install(original_bottle.JSONPlugin()),
    ):
        with pytest.raises(OriginalFrameworkError, match="is from the original bottle, imported"):
            use()


def test_a_response_object_of_the_original_is_refused(
    forgotten: Forgotten, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    class Own(original_bottle.HTTPResponse):
        pass

    forgotten("pass")
    response = Own("secret", 403)
    for make in (lambda: response, lambda: [response], lambda: iter([response])):
        caplog.clear()
        answer = make_client(bottle_app(make)).get("/")
        assert (answer.status_code, "secret" in answer.text) == (500, False)
        assert "Own is from the original bottle, imported by" in caplog.text


def test_the_original_s_log_still_works(
    forgotten: Forgotten, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    app = cherrypy_app(forgotten("cherrypy.log('noted')\nreturn 'logged'"))
    assert make_client(app).get("/").text == "logged"
    assert "noted" in caplog.text


def test_an_original_without_a_migrated_application_stays_as_it_is(
    forgotten: Forgotten, make_client: MakeClient
) -> None:
    """An original that nothing here was written for stays as it is."""
    use = forgotten("return repr(cherrypy.request.remote.ip)")
    assert make_client(bottle_app(use)).get("/").text == "'127.0.0.1'"
    use = forgotten("bottle.request.bind({})\nreturn repr(bottle.request.remote_addr)")
    assert make_client(cherrypy_app(use)).get("/").text == "None"
    native = App()
    native.get("/")(forgotten("return repr(cherrypy.request.remote.ip)"))
    assert make_client(native).get("/").text == "'127.0.0.1'"


# -- templates -------------------------------------------------------------------------------------


def test_a_template_that_imports_the_original_is_reported(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "page.tpl").write_text("% from bottle import request\n{{request.remote_addr}}")
    app = bottle_app(lambda: bottle.template("page", template_lookup=[str(tmp_path)]))
    assert make_client(app).get("/").status_code == 500
    assert f"{tmp_path}/page.tpl imports the original bottle" in caplog.text


def test_a_template_helper_that_uses_the_original_is_reported(
    forgotten: Forgotten, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    use = forgotten("return bottle.request.remote_addr")
    for template, text in (
        (bottle.template, "% import helpers\n{{helpers.use()}}"),
        (bottle.template, "% from helpers import use\n{{use()}}"),
        (bottle.jinja2_template, "{{ use() }} "),
        (bottle.mako_template, "${use()} "),
    ):
        caplog.clear()
        app = bottle_app(lambda template=template, text=text: template(text, use=use))
        assert make_client(app).get("/").status_code == 500
        assert "helpers imports the original bottle" in caplog.text


LATE = """
import sys
import helpers
from micropie_compat import {framework} as framework
from micropie.testing import TestClient
assert "{framework}" not in sys.modules
{app}
with TestClient(app, protocol="wsgi", raise_app_exceptions=False) as client:
    print(client.get("/").status_code, client.get("/").status_code)
import {framework}
print({framework}.__file__ == {framework}.__spec__.loader.get_filename("{framework}"))
"""


@pytest.mark.processes
@pytest.mark.parametrize(
    ("framework", "app", "line"),
    [
        (
            "bottle",
            "app = framework.Bottle()\napp.get('/')(lambda: framework.template("
            "'% import helpers\\n{{helpers.use()}}'))",
            "bottle.request.remote_addr",
        ),
        (
            "cherrypy",
            "class Root:\n    @framework.expose\n    def index(self): return helpers.use()\n"
            "app = framework.Application(Root())",
            "cherrypy.request.remote.ip",
        ),
    ],
)
def test_an_import_of_the_original_during_a_request_is_reported(
    tmp_path: Path, framework: str, app: str, line: str
) -> None:
    (tmp_path / "helpers.py").write_text(f"def use():\n    import {framework}\n    return {line}\n")
    (tmp_path / "main.py").write_text(LATE.format(framework=framework, app=app))
    ended = run(tmp_path, "main.py")
    assert ended.stdout.splitlines()[-2:] == ["500 500", "True"]
    assert f"helpers imports the original {framework}" in ended.stderr
    assert ended.stderr.count(f"helpers: imports the original {framework}, but") == 1


POOLED = """
import helpers
from micropie import run_in
from micropie_compat import bottle, cherrypy
from micropie.testing import TestClient

@run_in("process")
def page(): return repr(helpers.cherrypy.request.remote.ip)

@run_in("process")
def pieces():
    yield "first"
    yield repr(helpers.bottle.request.remote_addr)

shop, wiki = cherrypy.Application(None), bottle.Bottle()
shop.native.get("/")(page)
wiki.native.get("/")(pieces)

if __name__ == "__main__":
    for protocol in ("wsgi", "asgi"):
        for app in (shop, wiki):
            with TestClient(app, protocol=protocol, raise_app_exceptions=False) as client:
                try:
                    print(client.get("/").status_code)
                except Exception:
                    print("broken off")
"""


@pytest.mark.processes
def test_a_handler_in_a_process_may_not_use_the_original(tmp_path: Path) -> None:
    (tmp_path / "helpers.py").write_text("import bottle, cherrypy\n")
    (tmp_path / "main.py").write_text(POOLED)
    ended = run(tmp_path, "main.py")
    answers = [line for line in ended.stdout.splitlines() if "ENGINE" not in line]
    assert answers == ["500", "broken off"] * 2
    for framework in ("bottle", "cherrypy"):
        assert f"main uses the original {framework}, imported by helpers" in ended.stderr


# -- original applications in the same process -----------------------------------------------------


def original_cherrypy_app() -> Any:
    class Root:
        @original.expose
        def index(self) -> str:
            original.response.headers["X-Seen"] = original.request.headers["Host"]
            original.log("noted")
            return f"{original.request.remote.ip} {original.url('/x')}"

        @original.expose
        def fail(self) -> None:
            raise original.HTTPError(403)

        @original.expose
        def crash(self) -> None:
            raise KeyError

        @original.expose
        @original.config(**{"response.stream": True})
        def stream(self) -> Iterator[str]:
            yield "a"
            yield original.request.path_info

    return original.Application(Root(), "/old")


def original_bottle_app() -> Any:
    app = original_bottle.Bottle()

    @app.get("/")
    def index() -> str:
        original_bottle.response.set_header("X-Seen", original_bottle.request.get_header("Host"))
        original_bottle.request.user = "ann"
        del original_bottle.response.body
        original_bottle.response.body = ""
        return f"{original_bottle.request.remote_addr} {original_bottle.request.user}"

    @app.get("/fail")
    def fail() -> None:
        original_bottle.abort(403)

    @app.get("/crash")
    def crash() -> None:
        raise KeyError

    @app.get("/stream")
    def stream() -> Iterator[str]:
        yield "a"
        yield original_bottle.request.path

    return app


def beside(framework: str, where: str) -> Any:
    """Return a migrated application and an original one: inside of it, or both below one root."""
    old: Any = original_bottle_app() if framework == "bottle" else original_cherrypy_app()
    new: Any = bottle_app(lambda: None)
    if framework == "bottle" and where == "inside":
        new.mount("/old", old)
        return new
    if framework == "cherrypy":
        new = cherrypy.Tree()
        new.mount(cherrypy_app(lambda: None), "")
        if where == "inside":
            new.graft(old, "/old")
            return new
    root = App()
    root.mount("/old", old)
    root.mount("/", new)
    return root


@pytest.mark.parametrize("where", ["inside", "root"])
@pytest.mark.parametrize("framework", ["bottle", "cherrypy"])
def test_original_applications_keep_working(
    make_client: MakeClient, framework: str, where: str
) -> None:
    client = make_client(beside(framework, where), client=CLIENT)
    for _ in range(2):
        answer = client.get("/old/")
        assert answer.text.startswith(CLIENT[0]), answer.text
        assert answer.headers["X-Seen"] == "testserver"
        assert client.get("/").text == "open"
        assert client.get("/old/fail").status_code == 403
        assert client.get("/old/crash").status_code == 500
        assert client.get("/old/stream").text.startswith("a/")


def ask(app: Any, path: str = "/") -> tuple[str, bytes]:
    """Call a WSGI application as a server that doesn't close the response."""
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "REMOTE_ADDR": "192.0.2.7",
        "HTTP_HOST": "x",
        "SERVER_NAME": "x",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
    }
    heads: list[str] = []
    body = b"".join(app(environ, lambda status, *_: heads.append(status)))
    return heads[0], body


def test_original_applications_can_be_called_in_several_threads(make_client: MakeClient) -> None:
    """A migrated handler may call an original application in threads with its context."""
    both = Barrier(2)

    class Root:
        @original.expose
        def index(self) -> str:
            both.wait(PATIENCE)
            return str(original.request.path_info)

    old_bottle = original_bottle.Bottle()

    @old_bottle.get("/")
    def index() -> str:
        both.wait(PATIENCE)
        return str(original_bottle.request.path)

    def call(old: Callable[..., Any]) -> str:
        with ThreadPoolExecutor(2) as pool:
            calls = [pool.submit(copy_context().run, ask, old) for _ in "ab"]
            return str([one.result()[0] for one in calls])

    for new in (
        cherrypy_app(partial(call, original.Application(Root(), ""))),
        bottle_app(partial(call, old_bottle)),
    ):
        assert make_client(new).get("/").text == "['200 OK', '200 OK']"


def test_an_earlier_request_of_the_same_thread_is_not_read(forgotten: Forgotten) -> None:
    """Bottle leaves it bound to the thread."""
    use = forgotten("return bottle.request.remote_addr")
    old, new = original_bottle_app(), bottle_app(use)
    assert ask(old) == ("200 OK", b"192.0.2.7 ann")
    assert ask(new)[0] == "500 Internal Server Error"
    assert original_bottle.request.remote_addr == "192.0.2.7", "outside of a migrated request"
    bound = forgotten(
        "bottle.request.bind({'REMOTE_ADDR': 'bound'})\nreturn bottle.request.remote_addr"
    )
    assert ask(bottle_app(bound)) == ("200 OK", b"bound")
    original_bottle.request.bind({})
    new.native.wsgi_shutdown()


def test_an_unclosed_cherrypy_request_is_not_read(forgotten: Forgotten) -> None:
    app = cherrypy_app(forgotten("return cherrypy.request.remote.ip"))
    assert ask(original_cherrypy_app(), "/old/stream") == ("200 OK", b"a/stream")
    assert original.request.remote.ip == "192.0.2.7", "outside of a migrated request"
    assert ask(app)[0] == "500 Internal Server Error"
    for name in ("request", "response"):
        delattr(original.serving, name)
        with pytest.raises(AttributeError):
            delattr(original.serving, name)
    assert original.request.remote.ip == "127.0.0.1"
    app.native.wsgi_shutdown()


def test_another_client_s_session_is_not_read(forgotten: Forgotten) -> None:
    """CherryPy leaves it bound to the thread if the server doesn't close the response."""

    class Root:
        @original.expose
        def index(self, name: str = "ann") -> str:
            had = hasattr(original.serving, "session")
            original.session["user"] = name
            return f"{had} {original.session['user']}"

    old = original.Application(Root(), "/old", {"/": {"tools.sessions.on": True}})
    for lines in ("return cherrypy.session['user']", "cherrypy.session['user'] = 'eve'"):
        app = cherrypy_app(forgotten(lines))
        assert ask(old, "/old/") == ("200 OK", b"True ann")
        assert original.session["user"] == "ann", "outside of a migrated request"
        assert ask(app)[0] == "500 Internal Server Error"
        for name in ("request", "response", "session"):
            delattr(original.serving, name)
        assert not hasattr(original.serving, "session")
        assert not hasattr(type(original.serving), "session")
        assert ask(app)[0] == "500 Internal Server Error"
        app.native.wsgi_shutdown()

    new = cherrypy.Tree()
    new.mount(cherrypy_app(lambda: None), "")
    new.graft(old, "/old")
    assert ask(new, "/old/") == ("200 OK", b"True ann")
    original.serving.clear()
    new.native.wsgi_shutdown()


def test_original_and_migrated_modules_both_work_outside_requests(
    cherrypy: Any, serve: Serve
) -> None:
    assert cherrypy.request.remote.ip == "127.0.0.1"

    class Root:
        @cherrypy.expose
        def index(self) -> str:
            return str(cherrypy.request.path_info)

    assert serve(cherrypy.Application(Root())).get("/").text == "/"
    assert original.request.remote.ip == "127.0.0.1"


# -- finding the original --------------------------------------------------------------------------


def test_an_outdated_import_finder_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no ``find_spec``, and Python ignores it, too."""
    watch("bottle")
    [watching] = [one for one in sys.meta_path if getattr(one, "framework", "") == "bottle"]
    monkeypatch.setattr(sys, "meta_path", [watching, object(), *sys.meta_path])
    monkeypatch.delitem(sys.modules, "bottle")
    assert importlib.util.find_spec("bottle") is not None


def test_another_module_named_bottle_is_not_watched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    watch("bottle")
    finders = len(sys.meta_path)
    watch("bottle")
    assert len(sys.meta_path) == finders, "one is enough"
    monkeypatch.delitem(sys.modules, "bottle")
    watch("bottle")  # there is none
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    sys.path_importer_cache.clear()
    assert importlib.util.find_spec("bottle") is None
    (tmp_path / "bottle").mkdir()
    sys.path_importer_cache.clear()
    spec = importlib.util.find_spec("bottle")
    assert spec is not None
    assert spec.submodule_search_locations is not None, "a bare folder"
    (tmp_path / "bottle" / "__init__.py").write_text("content = 'beer'")
    sys.path_importer_cache.clear()
    assert importlib.import_module("bottle").content == "beer"
    monkeypatch.setitem(sys.modules, "bottle", ModuleType("bottle"))
    watch("bottle")
