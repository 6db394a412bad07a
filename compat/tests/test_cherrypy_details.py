"""What applications in use rely on here and there: the original and ours, in each world."""

from __future__ import annotations

import copy
import importlib
import io
import json
import logging
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from html import escape
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar
from wsgiref.util import setup_testing_defaults

import anyio
import anyio.lowlevel
import pytest
from cherrypy.lib import locking as original_locking

from compat.tests.conftest import Serve, page
from micropie import App, HTTPError, HttpMiddleware, Redirect, Request, SetupError, requires
from micropie.middleware import SecurityHeaders
from micropie_compat import cherrypy as ours
from micropie_compat.cherrypy.hooks import of_all_requests
from micropie_compat.cherrypy.lib import locking
from micropie_compat.cherrypy.lib.sessions import FileSession
from micropie_compat.cherrypy.log import notes_requests
from micropie_compat.results import close_if_closable

# -- dispatchers -----------------------------------------------------------------------------------


# -- requests and responses ------------------------------------------------------------------------


def test_a_204_still_runs_its_generator(cherrypy: Any, serve_page: Serve) -> None:
    done = []

    def pieces() -> Iterator[str]:
        done.append("done")
        yield ""

    def answer() -> Any:
        cherrypy.response.status = 204
        cherrypy.response.headers["Content-Length"] = "3"
        return pieces()

    answered = serve_page(answer).get("/")
    assert (answered.status_code, answered.content, done) == (204, b"", ["done"])
    assert "Content-Length" not in answered.headers


def test_a_stream_may_set_its_content_length(cherrypy: Any, serve_page: Serve) -> None:
    def answer(length: str) -> Any:
        cherrypy.response.headers["Content-Length"] = int(length) or None
        return (piece for piece in (b"ab", b"c"))

    client = serve_page(answer, response__stream=True)
    assert (client.get("/3").headers["Content-Length"], client.get("/3").content) == ("3", b"abc")
    assert client.get("/0").content == b"abc"


def test_the_response_s_date_can_be_read_before_it_is_sent(
    cherrypy: Any, serve_page: Serve
) -> None:
    def answer() -> str:
        headers = cherrypy.response.headers
        now = cherrypy.lib.httputil.HTTPDate(cherrypy.response.time)
        assert headers["Date"] == headers.get("date", "") == now
        assert headers.get("X-None") is None
        with pytest.raises(KeyError, match="X-None"):
            headers["X-None"]
        headers["Date"] = "Thu, 01 Jan 1970 00:00:00 GMT"
        return str(headers.get("Date"))

    assert serve_page(answer).get("/").text == "Thu, 01 Jan 1970 00:00:00 GMT"


def test_response_headers_are_appended_last(cherrypy: Any, serve_page: Serve) -> None:
    def add() -> None:
        cherrypy.response.header_list.extend([(b"X-Late", b"caf\xe9"), (b"X-Late", b"two")])

    def answer() -> str:
        cherrypy.request.hooks.attach("on_end_resource", add)
        return "x"

    answered = serve_page(answer).get("/")
    assert answered.headers.get_list("X-Late") == ["caf\xe9", "two"]


def test_a_line_end_in_the_host_is_dropped(cherrypy: Any, serve_page: Serve) -> None:
    client = serve_page(lambda: cherrypy.request.headers["Host"])
    assert client.get("/", headers={"Host": "=?iso-8859-1?q?foo=0Abar?="}).text == "foobar"


def test_each_request_has_a_unique_id(cherrypy: Any, serve_page: Serve) -> None:
    def answer() -> str:
        made = cherrypy.request.unique_id
        assert made.uuid4 is made.uuid4
        return str(made)

    client = serve_page(answer)
    ids = {uuid.UUID(client.get("/").text) for _ in range(2)}
    assert {each.version for each in ids} == {4}
    assert len(ids) == 2


def test_a_redirect_takes_several_arguments(cherrypy: Any, serve_page: Serve) -> None:
    client = serve_page(lambda: str(cherrypy.HTTPRedirect("/a").args))
    assert client.get("/").text.endswith("/a'], 303)")


@pytest.mark.parametrize("status", [306, 309, 399])
@pytest.mark.parametrize("is_raised", [True, False])
def test_a_redirect_with_an_unknown_status_causes_a_500(
    cherrypy: Any, serve_page: Serve, status: int, is_raised: bool
) -> None:
    def function() -> None:
        redirect = cherrypy.HTTPRedirect("/a", status)
        if is_raised:
            raise redirect
        redirect.set_response()

    response = serve_page(function, request__show_tracebacks=False).get("/")
    assert response.status_code == 500
    assert "location" not in response.headers


@pytest.mark.parametrize("value", [True, False])
def test_a_request_has_what_the_server_states_about_its_processes(module: Any, value: bool) -> None:
    root = page(module, lambda: f"{module.request.multiprocess}")
    environ: dict[str, Any] = {"wsgi.multiprocess": value, "wsgi.input": io.BytesIO()}
    setup_testing_defaults(environ)
    chunks = module.Application(root, "")(environ, lambda *started: None)
    assert b"".join(chunks) == str(value).encode()
    close_if_closable(chunks)


def test_a_custom_error_page_keeps_its_line_ends(serve_root: Serve, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_bytes(b"not\r\nhere: %(status)s")
    config = {"/": {"error_page.404": str(tmp_path / "page.html")}}
    client = serve_root(object(), config)
    assert client.get("/").content.rstrip() == b"not\r\nhere: 404 Not Found"


def test_an_error_page_for_an_invalid_status_raises_an_error(module: Any) -> None:
    with pytest.raises(module.HTTPError, match="non-numeric"):
        module._cperror.get_error_page("none")


def test_expires_with_force_prevents_caching(serve_page: Serve) -> None:
    config = {"tools__expires__on": True, "tools__expires__force": True}
    answered = serve_page(lambda: "x", **config).get("/")
    assert answered.headers["Expires"] == "Sun, 28 Jan 2007 00:00:00 GMT"


# -- hooks and tools -------------------------------------------------------------------------------


def test_hooks_attached_outside_requests_run_for_all_requests(
    cherrypy: Any, serve_page: Serve
) -> None:
    """A plugin attaches them when it starts: outside of requests."""
    client = serve_page(lambda: "x")
    assert client.get("/").text == "x"

    def mark() -> None:
        cherrypy.response.headers["X-Marked"] = "yes"

    cherrypy.request.hooks.attach("before_finalize", mark)
    try:
        assert client.get("/").headers["X-Marked"] == "yes"
    finally:
        hooks = cherrypy.request.hooks["before_finalize"]
        hooks[:] = [hook for hook in hooks if hook.callback is not mark]
    assert "X-Marked" not in client.get("/").headers
    assert not of_all_requests["before_finalize"]


def test_a_hook_can_be_called_directly(module: Any) -> None:
    assert module._cprequest.Hook(lambda **values: values, a=1)() == {"a": 1}


def test_a_toolbox_can_be_a_configuration_namespace(serve_ours: Serve) -> None:
    box = ours._cptools.Toolbox("mine")

    def mark(by: str = "") -> None:
        ours.response.headers["X-Marked"] = by

    box.mark = ours.Tool("before_finalize", mark)
    app = ours.Application(page(ours, lambda: "x", mine__mark__on=True, mine__mark__by="me"))
    app.request_class.namespaces["mine"] = box
    try:
        assert serve_ours(app).get("/").headers["X-Marked"] == "me"
    finally:
        del app.request_class.namespaces["mine"]


def test_handler_wrapper_tools_wrap_handlers(cherrypy: Any, serve: Serve) -> None:
    def wrapped(handler: Callable[..., str], *args: Any, **kwargs: Any) -> str:
        return f"<{handler(*args, **kwargs)}>"

    app = cherrypy.Application(page(cherrypy, lambda a="": f"x{a}", mine__in_angles__on=True))
    app.toolboxes["mine"] = box = cherrypy._cptools.Toolbox("mine")
    box.in_angles = cherrypy._cptools.HandlerWrapperTool(wrapped)
    assert serve(app).get("/?a=1").text == "<x1>"


def test_a_tool_of_a_program_may_have_any_methods(cherrypy: Any, serve: Serve) -> None:
    called: list[str] = []

    class Two(cherrypy.Tool):
        def __init__(self) -> None:
            super().__init__("before_handler", lambda: called.append("callable"))

        def _setup(self) -> None:
            super()._setup()
            cherrypy.request.hooks.attach("before_finalize", self._wrapper)

        def _wrapper(self) -> None:
            called.append("wrapper")

    app = cherrypy.Application(page(cherrypy, lambda: "x", mine__two__on=True))
    app.toolboxes["mine"] = box = cherrypy._cptools.Toolbox("mine")
    box.two = Two()
    assert serve(app).get("/").text == "x"
    assert called == ["callable", "wrapper"]


def test_tools_may_override_their_set_up(cherrypy: Any, serve: Serve) -> None:
    """A tool may have its own ``__init__``, which need not call that of ``Tool``."""
    seen: list[Any] = []

    class Whole(cherrypy.Tool):
        """A tool whose function is a method."""

        def __init__(self) -> None:
            self._name, self._point, self._priority = None, "before_handler", 20

        def callable(self, text: str = "none") -> None:
            seen.append(f"whole {text}")

    class Listing(cherrypy.Tool):
        def __init__(self, *names: str) -> None:
            self.names = names
            super().__init__("before_handler", self.callable, priority=10)

        def callable(self, **options: str) -> None:
            seen.append(options)

        def _setargs(self) -> None:
            seen.append("listed")
            for name in self.names:
                setattr(self, name, name.upper())

    class Wrapper(cherrypy._cptools.HandlerWrapperTool):
        def __init__(self) -> None:
            super().__init__(self.wrap, "before_handler")

        def _setargs(self) -> None:
            seen.append("never")

        def wrap(self, handler: Callable[..., str], *args: Any, **values: Any) -> str:
            return f"<{handler(*args, **values)}>"

    config: dict[str, Any] = {f"mine.{name}.on": True for name in ("whole", "listing", "wrapper")}
    config.update({"mine.whole.text": "a", "mine.listing.deep": "b"})
    app = cherrypy.Application(page(cherrypy, lambda: "x"), "", {"/": config})
    app.toolboxes["mine"] = box = cherrypy._cptools.Toolbox("mine")
    box.whole, box.listing, box.wrapper = Whole(), Listing("deep"), Wrapper()
    assert (box.listing.deep, box.listing._name, box.whole.namespace) == ("DEEP", "listing", "mine")
    assert "a tool whose function" in str(box.whole.__doc__).lower()
    assert serve(app).get("/").text == "<x>"
    assert seen == ["listed", {"deep": "b"}, "whole a"]


def test_a_program_may_replace_the_json_encoder(
    cherrypy: Any, serve_page: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve_page(lambda: {"a": 1}, tools__json_out__on=True)
    assert client.get("/").json() == {"a": 1}
    monkeypatch.setattr(cherrypy._json, "encode", lambda value: [b"its ", b"own"])
    response = client.get("/")
    assert (response.text, response.headers["Content-Type"]) == ("its own", "application/json")


def test_a_program_may_set_the_type_of_bodies_without_one(
    cherrypy: Any, serve_page: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve_page(lambda **values: repr(values))
    assert client.post("/", content=b"a=1").text == "{}"
    kind = cherrypy._cpreqbody.RequestBody
    monkeypatch.setattr(kind, "default_content_type", "application/x-www-form-urlencoded")
    assert client.post("/", content=b"a=1").text == "{'a': '1'}"
    text = {"Content-Type": "text/plain"}
    assert client.post("/", content=b"a=1", headers=text).text == "{}"


def test_a_program_may_set_the_encodings_of_headers(
    cherrypy: Any, serve_page: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def page() -> str:
        cherrypy.response.headers["X-Price"] = "5 €"
        return "x"

    client = serve_page(page)
    assert client.get("/").headers["X-Price"] == "=?utf-8?b?NSDigqw=?="
    monkeypatch.setattr(cherrypy.lib.httputil.HeaderMap, "encodings", ["ascii", "utf-8"])
    assert ("x-price", "5 €".encode()) in [
        (name.decode().lower(), value) for name, value in client.get("/").headers.raw
    ]


def test_a_tool_has_an_attribute_for_each_parameter(cherrypy: Any) -> None:
    class Callable:
        """A callable object."""

        def __call__(self, other: int) -> None: ...

    def function(one: int, two: int = 2, *rest: int, three: int = 3, **more: int) -> None:
        four = one
        assert four

    tool = cherrypy.Tool("before_handler", function)
    assert (tool.one, tool.two) == (None, None)
    assert not {"rest", "three", "more", "four"} & {*dir(tool)}
    assert cherrypy.Tool("before_handler", Callable()).other is None
    assert cherrypy.Tool("before_handler", None).callable is None
    assert cherrypy.tools.staticdir.index is None


def test_a_tool_decorates_a_class(cherrypy: Any, serve_root: Serve) -> None:
    @cherrypy.tools.response_headers(headers=[("X-A", "1")])
    class Root:
        @cherrypy.expose
        @cherrypy.tools.response_headers(headers=[("X-B", "1")])
        def index(self) -> str:
            return "x"

        @cherrypy.expose
        def other(self) -> str:
            return "y"

    client = serve_root(Root())
    assert client.get("/").headers["X-B"] == "1"
    assert client.get("/other").headers["X-A"] == "1"


def test_the_login_form_needs_no_page_to_return_to(module: Any) -> None:
    assert b"nobody" in module.lib.cptools.SessionAuth().login_screen(None, username="nobody")


# -- configuration, trees, addresses ---------------------------------------------------------------


def test_calls_in_configuration_files_are_evaluated(module: Any, tmp_path: Path) -> None:
    (tmp_path / "app.conf").write_text(
        '[my]\na: dict(a="b", **{"a": "x", "c": "d"})\nb: dict(**{})\n'
    )
    parser = module.lib.reprconf.Parser()
    found = parser.dict_from_file(str(tmp_path / "app.conf"))
    assert found == {"my": {"a": {"a": "b", "c": "d"}, "b": {}}}
    with (tmp_path / "app.conf").open() as file:
        assert module.lib.reprconf.Parser().dict_from_file(file)["my"]["b"] == {}
    assert module.lib.reprconf.attributes("json.loads")("1") == 1


def test_a_program_can_use_configuration_objects(module: Any, tmp_path: Path) -> None:
    """A program's own settings, read as CherryPy's are."""
    importlib.import_module(f"{module.__name__}.lib.reprconf")
    seen: list[tuple[str, object]] = []

    class Opened:
        def __enter__(self) -> Callable[[str, object], None]:
            return lambda name, value: seen.append((f"opened {name}", value))

        def __exit__(self, *exception: object) -> None:
            seen.append(("closed", exception[0]))

    class Settings(module.lib.reprconf.Config):
        defaults: ClassVar = {"mail.port": 25}
        environments: ClassVar = {"test": {"mail.host": "localhost", "mail.port": 2525}}
        namespaces = module.lib.reprconf.NamespaceSet(
            mail=lambda name, value: seen.append((name, value)), db=Opened()
        ).copy()

    (tmp_path / "app.conf").write_text("[global]\nmail.port = 1\n[b]\na: '%(c)s'\nc: 2\n")
    settings = Settings()
    assert (settings, seen) == ({"mail.port": 25}, [])
    settings.update({"environment": "test", "mail.host": "b", "db.name": "d", "plain": 1})
    assert (settings["mail.host"], settings["mail.port"], settings["plain"]) == ("b", 2525, 1)
    found = sorted(map(str, seen))
    assert found == ["('closed', None)", "('host', 'b')", "('opened name', 'd')", "('port', 2525)"]
    settings["mail.port"] = 3
    assert seen[-2:] in ([("port", 3), ("closed", None)], [("closed", None), ("port", 3)])
    settings.reset()
    assert settings == {"mail.port": 25}
    assert Settings(str(tmp_path / "app.conf"))["global"] == {"mail.port": 1}
    assert Settings(a=1) == {"mail.port": 25, "a": 1}
    assert type(copy.copy(settings.namespaces)) is module.lib.reprconf.NamespaceSet
    with (tmp_path / "app.conf").open() as file:
        parser = module.lib.reprconf.Parser()
        assert parser.dict_from_file(file)["b"]["a"] == "2"
    assert parser.as_dict(raw=True)["b"]["a"] == "%(c)s"
    assert parser.load({"a": 1}) == {"a": 1}


def test_names_in_the_global_configuration_are_checked(module: Any, tmp_path: Path) -> None:
    kind = module._cpconfig.Config
    assert (type(module.config), kind.environments) == (kind, module._cpconfig.environments)
    assert module.config.defaults["tools.encode.on"] is True
    assert kind({"global": {"own.a": 1}, "/": {}}) == {"own.a": 1}
    assert kind({"tools.staticdir.dir": "a"})["tools.staticdir.section"] == "global"
    path = tmp_path / "app.conf"
    path.write_text("[/]\nown.a = 1\n")
    base: dict[str, Any] = {}
    module._cpconfig.merge(base, str(path))
    assert base == {"/": {"own.a": 1}}
    assert str(path) in module.engine.autoreload.files


def test_url_works_before_the_server_starts(module: Any) -> None:
    before = module.server.socket_port
    module.config.update({"server.socket_port": 8123})
    try:
        assert module.url("/a") == "http://127.0.0.1:8123/a"
        assert module.url("/a", base="https://b.example") == "https://b.example/a"
    finally:
        module.config.update({"server.socket_port": before})


def test_url_resolves_dot_segments(cherrypy: Any, serve_page: Serve) -> None:
    client = serve_page(lambda *_: cherrypy.url("/a/./../../../b/.", base="x"))
    assert client.get("/c").text == "x/b"


def test_a_request_knows_its_application(cherrypy: Any, serve: Serve) -> None:
    tree = cherrypy.Tree() if hasattr(cherrypy, "Tree") else cherrypy._cptree.Tree()
    tree.mount(page(cherrypy, lambda *_: str(tree.script_name())), "/shop/")
    tree.mount(page(cherrypy, lambda *_: str(tree.script_name())), "")
    client = serve(tree)
    assert client.get("/shop/a").text == "/shop"


def test_a_migrated_application_cannot_be_mounted_without_itself() -> None:
    root = App()
    root.mount("/old", ours.Application(object()).native)
    with pytest.raises(SetupError, match=r"without \.native"):
        root._micropie.compiled()


def test_a_native_inner_application_sends_its_own_404s(serve_ours: Serve) -> None:
    class Inner(App):
        def index(self) -> str:
            return "inner"

    app = ours.Application(page(ours, lambda *segments: repr(segments)), "")
    app.native.mount("/inner", Inner())
    client = serve_ours(app)
    assert client.get("/inner/").text == "inner"
    assert client.get("/inner/none/at/all").status_code == 404
    assert client.get("/other").text == "('other',)"


@pytest.mark.parametrize(
    ("path", "status"), [("missing", 404), ("go", 303), ("made", 201), ("nothing", 204), ("", 200)]
)
def test_headers_and_cookies_set_by_a_hook_keep_the_status(
    serve_ours: Serve, path: str, status: int
) -> None:
    class Hook(HttpMiddleware):
        def before_request(self, request: Request) -> None:
            request.response.headers["X-Seen"] = "yes"
            request.response.set_cookie("seen", "1")

    def answer(path: str = "") -> str:
        if path == "missing":
            raise ours.NotFound
        if path == "go":
            raise ours.HTTPRedirect("/")
        if path:
            ours.response.status = {"made": 201, "nothing": 204}[path]
        return path

    app = ours.Application(page(ours, answer), "")
    app.native.middlewares.append(Hook())
    response = serve_ours(app).get(f"/{path}")
    assert (response.status_code, response.headers["X-Seen"]) == (status, "yes")
    assert response.cookies["seen"] == "1"


# -- functions of both halves ----------------------------------------------------------------------


def both_halves(prefix: str) -> Any:
    """Return an application that calls the same functions in old handlers, in native ones and in a
    native hook.
    """

    def go(to: str = "", status: str = "") -> str:
        raise ours.HTTPRedirect(to, int(status) if status else None)

    def refuse() -> None:
        raise ours.HTTPError("409 Odd", "no <pie>")

    def miss() -> None:
        raise ours.NotFound

    def address() -> str:
        return f"{ours.url('/log-in')} {ours.url('x')} {ours.url(qs={'a': 1})}"

    functions: dict[str, Callable[..., Any]] = {
        "go": go,
        "refuse": refuse,
        "miss": miss,
        "address": address,
    }

    class Root:
        @ours.expose
        def default(self, name: str, **values: str) -> Any:
            return functions[name](**values)

    class Inner(App):
        def index(self) -> None:
            refuse()

    class Hook(HttpMiddleware):
        def before_request(self, request: Request) -> None:
            request.response.headers["X-Seen"] = "yes"
            called = request.query("hook")
            if called:
                functions[called]()

    app: Any = ours.Application(Root(), None)
    native = app.native
    native.get("/native/go")(lambda to="", status="": go(to, status))
    for name in ("refuse", "miss", "address"):
        native.get(f"/native/{name}")(functions[name])
    native.mount("/inner", Inner())
    native.middlewares.append(Hook())
    native.error(409)(lambda error: f"sorry, {error}")
    if not prefix:
        return app
    outer = App()
    outer.mount(prefix, app)
    return outer


@pytest.mark.parametrize("prefix", ["", "/shop"])
@pytest.mark.parametrize(
    ("query", "status", "location"),
    [
        ("to=/log-in", 303, "/log-in"),
        ("to=log-in%3Fnext%3D1&status=302", 302, "{}log-in?next=1"),
        ("to=%3Fa%3D1", 303, "{}go?a=1"),
        ("status=307", 307, "{}go"),
        ("to=https://other.example/x&status=301", 301, "https://other.example/x"),
        ("to=/a&status=300", 300, "/a"),
    ],
)
def test_native_and_migrated_handlers_share_redirects(
    serve_ours: Serve, prefix: str, query: str, status: int, location: str
) -> None:
    client = serve_ours(both_halves(prefix), base_url="https://testserver")
    for half in ("/", "/native/"):
        response = client.get(f"{prefix}{half}go?{query}")
        expected = location.format(prefix + half)
        assert response.status_code == status
        header = response.headers["Location"]
        assert header == f"{'' if '//' in expected else 'https://testserver'}{expected}"
        assert response.headers["X-Seen"] == "yes"


@pytest.mark.parametrize("prefix", ["", "/shop"])
def test_native_and_migrated_handlers_share_error_pages_and_urls(
    serve_ours: Serve, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = serve_ours(both_halves(prefix))
    assert client.get(f"{prefix}/refuse").status_code == 409
    for path in ("/native/refuse", "/go?hook=refuse", "/native/go?hook=refuse", "/inner"):
        response = client.get(prefix + path)
        assert (response.status_code, response.text) == (409, "sorry, no <pie>")
        assert response.headers["X-Seen"] == "yes"
    for path in ("/miss", "/native/miss"):
        response = client.get(prefix + path)
        assert response.status_code == 404
        assert f"The path '{prefix}{path}' was not found." in response.text
    site = f"http://testserver{prefix}"
    assert client.get(f"{prefix}/address").text == f"{site}/log-in {site}/x {site}/address?a=1"
    text = client.get(f"{prefix}/native/address").text
    assert text == f"{site}/log-in {site}/native/x {site}/native/address?a=1"
    assert client.get(f"{prefix}/go?hook=go").headers["Location"] == f"{site}/go"
    assert "Traceback" not in caplog.text


def test_outside_requests_the_current_page_is_the_root() -> None:
    assert "The path '/' was not found." in ours.NotFound().args
    assert ours.HTTPRedirect("/x").urls == [ours.url("/x")]


def test_a_migrated_handler_may_raise_micropie_s_redirect(serve_our_page: Serve) -> None:
    def go(to: str, **options: Any) -> None:
        ours.response.cookie["seen"] = "1"
        raise Redirect(to, 302, headers={"X-Why": "moved"}, allow_external=bool(options))

    client = serve_our_page(lambda *_, **values: go(**values))
    response = client.get("/a/b?to=/c")
    assert (response.status_code, response.headers["Location"]) == (302, "http://testserver/c")
    assert (response.headers["X-Why"], response.cookies["seen"]) == ("moved", "1")
    assert client.get("/?to=https://other.example/").status_code == 400
    header = client.get("/?to=https://other.example/&allow=1").headers["Location"]
    assert header == "https://other.example/"


# -- locks of sessions -----------------------------------------------------------------------------


@pytest.mark.parametrize("locking", [original_locking, locking], ids=["original", "ours"])
def test_the_lock_timeout_is_configurable(locking: Any) -> None:
    assert not locking.LockChecker("x", None).expired()
    assert not locking.LockChecker("x", timedelta(seconds=60)).expired()
    checker = locking.LockChecker("x", timedelta(microseconds=1))
    time.sleep(0.001)
    with pytest.raises(locking.LockTimeout, match="x"):
        checker.expired()


def test_the_lock_timeout_may_be_in_seconds() -> None:
    assert not locking.LockChecker("x", 60).expired()


def test_a_subclass_may_use_its_own_lock_file(tmp_path: Path) -> None:
    class Lock:
        is_closed = False

        def close(self) -> None:
            self.is_closed = True

    class Own(FileSession):
        def acquire_lock(self, path: str | None = None) -> None:
            assert (path or self._get_file_path()).startswith(str(tmp_path))
            self.lock = mine
            self.locked = True

    mine = Lock()
    session = Own(storage_path=str(tmp_path))
    session.acquire_lock()
    session["a"] = 1
    session.save()
    assert (mine.is_closed, session.locked) == (True, False)
    assert Own(session.id, storage_path=str(tmp_path))["a"] == 1


# -- small things ----------------------------------------------------------------------------------


def test_a_body_entity_can_be_read_like_a_file(module: Any) -> None:
    entity = module._cpreqbody.Entity(io.BytesIO(b"abc\nd\ne\n"), module.lib.httputil.HeaderMap())
    file = entity.fp
    entity.fp = SimpleNamespace(
        read=lambda size, fp_out: file.read(size), readline=file.readline, readlines=file.readlines
    )
    assert (entity.read(1), entity.readline()) == (b"a", b"bc\n")
    assert entity.readlines() == [b"d\n", b"e\n"]


def test_a_form_can_be_parsed_outside_requests() -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b--\r\n'
    entity = ours._cpreqbody.Entity(
        io.BytesIO(body),
        ours.lib.httputil.HeaderMap({"Content-Type": "multipart/form-data; boundary=b"}),
    )
    ours._cpreqbody.process_multipart_form_data(entity)
    assert entity.params == {"a": "1"}


def test_a_request_without_a_length_has_no_body(cherrypy: Any) -> None:
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    environ.update(REQUEST_METHOD="POST", **{"wsgi.input": io.BytesIO()})
    statuses: list[str] = []
    answered = cherrypy.Application(page(cherrypy, lambda: "x"))(
        environ, lambda status, *_: statuses.append(status)
    )
    assert b"".join(answered)
    getattr(answered, "close", list)()
    assert statuses == ["411 Length Required"]


def test_a_body_received_in_pieces_is_joined(serve_our_page: Serve) -> None:
    client = serve_our_page(lambda **values: repr(values))
    kind = {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": "7"}
    text = client.post("/", content=iter([b"a=1", b"&b=2"]), headers=kind).text
    assert text == "{'a': '1', 'b': '2'}"


def test_responses_are_sent_if_the_access_log_is_disabled(
    serve_ours: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Root:
        @ours.expose
        def text(self) -> str:
            return "é"

        @ours.expose
        @ours.tools.json_out()
        def json(self) -> Any:
            return {"a": 1}

        @ours.expose
        @ours.tools.json_out()
        def more(self) -> Any:
            ours.response.headers["X-More"] = "yes"
            return {"a": 1}

        @ours.expose
        def hooked(self) -> str:
            ours.request.hooks.attach("on_end_resource", lambda: None)
            return "x"

    app = ours.Application(Root())
    monkeypatch.setattr(app.log.access_log, "disabled", True)
    monkeypatch.setattr(
        ours.engine, "watches_requests", False
    )  # an earlier test may have subscribed
    assert not notes_requests(app.log)
    client = serve_ours(app)
    text = client.get("/text")
    assert (text.text, text.headers["Content-Type"]) == ("é", "text/html;charset=utf-8")
    json = client.get("/json")
    assert (json.text, json.headers["Content-Type"]) == ('{"a": 1}', "application/json")
    assert client.get("/more").headers["X-More"] == "yes"
    assert client.get("/hooked").text == "x"


def test_async_handlers_may_fail_or_await_twice(serve_our_root: Serve) -> None:
    class Later:
        def __await__(self) -> Any:
            yield from anyio.lowlevel.checkpoint().__await__()
            return inner()

    async def inner() -> str:
        await anyio.lowlevel.checkpoint()
        return "late"

    class Root:
        @ours.expose
        async def fails(self) -> str:
            await anyio.lowlevel.checkpoint()
            raise ours.HTTPError(409, "not now")

        @ours.expose
        async def twice(self) -> Any:
            return Later()

    client = serve_our_root(Root())
    assert client.get("/fails").status_code == 409
    assert client.get("/twice").text == "late"


def test_a_native_path_leaves_its_other_methods_to_cherrypy(serve_ours: Serve) -> None:
    class Rest:
        exposed = True

        def PUT(self) -> str:
            return "put"

    class Root:
        old = ours.expose(lambda self: "old")
        rest = Rest()

    by_method = {"/rest": {"request.dispatch": ours.dispatch.MethodDispatcher()}}
    by_method["/rests"] = by_method["/rest"]
    app = ours.Application(Root(), "", by_method)
    for path in ("/old", "/new", "/rest", "/rests"):
        app.native.get(path)(lambda: "native")
    client = serve_ours(app)
    for path in ("/new", "/rest", "/rests"):
        allowed = {"GET", "HEAD", "OPTIONS", *(["PUT"] if path == "/rest" else [])}
        for method, status in {"POST": 405, "OPTIONS": 204}.items():
            response = client.request(method, path)
            assert response.status_code == status
            assert {*response.headers["allow"].split(", ")} == allowed
        assert client.get(path).text == "native"
    assert (client.put("/rest").text, client.post("/old").text) == ("put", "old")
    tree = ours.Tree()
    tree.native.get("/new")(lambda: "native")
    client = serve_ours(tree)
    assert client.post("/new").headers["allow"] == "GET, HEAD, OPTIONS"


def test_a_native_error_gets_a_native_response(serve_our_page: Serve) -> None:
    def answer() -> str:
        raise HTTPError(409, "native")

    answered = serve_our_page(answer).get("/")
    assert (answered.status_code, "native" in answered.text) == (409, True)


def test_the_access_log_gets_an_additional_line_by_log_access(
    serve_our_page: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    def answer() -> str:
        ours.log.access()
        return "x"

    serve_our_page(answer).get("/")
    assert sum("GET / HTTP/1.1" in record.getMessage() for record in caplog.records) == 2


def test_an_access_log_without_handlers_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours.log.access_log, "disabled", True)
    ours.log.access()


def test_a_stream_without_close_is_accepted(serve_our_page: Serve) -> None:
    class Pieces:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"a", b"b"])

    def answer() -> Any:
        ours.response.headers["Content-Type"] = "application/octet-stream"
        return Pieces()

    client = serve_our_page(answer, response__stream=True, tools__encode__on=False)
    assert client.get("/").content == b"ab"


def test_sessions_work_outside_requests() -> None:
    ours.lib.sessions.init()
    try:
        ours.session["a"] = 1
        assert ours.session["a"] == 1
    finally:
        ours.serving.clear()


def test_a_bus_that_has_exited_stays_exited(monkeypatch: pytest.MonkeyPatch) -> None:
    bus = ours.process.wspbus.Bus()
    bus.follow_start("app")
    bus.exit()
    bus.follow_stop("app")
    assert not bus.is_hosted


def test_quickstart_starts_the_engine_and_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    monkeypatch.setattr(ours.engine, "start", lambda: called.append("start"))
    monkeypatch.setattr(ours.engine, "block", lambda: called.append("block"))
    monkeypatch.setattr(ours.tree, "apps", {})
    try:
        ours.quickstart(object())
    finally:
        ours.engine.signals.unsubscribe()
    assert (called, [*ours.tree.apps]) == (["start", "block"], [""])


def test_a_function_s_configuration_is_not_shared() -> None:
    def handler() -> None: ...

    ours.tools.gzip()(ours.tools.encode()(handler))
    assert handler._cp_config == {"tools.encode.on": True, "tools.gzip.on": True}  # type: ignore[attr-defined]


def test_a_script_name_gets_a_leading_slash() -> None:
    assert ours.Application(object(), "shop/").script_name == "/shop"


def test_a_request_class_has_params_outside_requests() -> None:
    assert ours._cprequest.Request.params is not None


def test_request_and_response_belong_to_migrated_handlers(serve_ours: Serve) -> None:
    app = ours.Application(object())
    app.native.get("/request")(lambda: str(ours.request.method))

    @app.native.get("/response")
    def native() -> str:
        ours.response.status = 404
        return "lost"

    app.native.error(RuntimeError)(lambda error: (500, str(error)))
    client = serve_ours(app)
    for name in ("request", "response"):
        answer = client.get(f"/{name}")
        assert answer.status_code == 500
        assert answer.text.startswith(f"cherrypy.{name} is only for CherryPy's handlers and")
        assert "use micropie.request (.method" in answer.text
        assert "micropie.request.response (.headers" in answer.text
    assert ours.request.app is None, "outside of requests, as before"


def test_a_tree_serves_its_applications(serve_ours: Serve) -> None:
    def mounted(use: Callable[[Any], object]) -> Any:
        tree = ours._cptree.Tree()
        tree.native.get("/new")(lambda: "new")
        tree.mount(object(), "/none")
        use(tree.mount(type("Root", (), {"index": ours.expose(lambda self: "old")})(), "/shop"))
        return tree

    client = serve_ours(mounted(str))
    assert [client.get(path).text for path in ("/new", "/shop/")] == ["new", "old"]
    uses: list[Callable[[Any], object]] = [
        lambda app: app.native.get("/new")(lambda: "new"),
        lambda app: app.websocket("/chat")(lambda ws: None),
        lambda app: app.native.configure(session_timeout=60),
        lambda app: app.native.mount("/new", App()),
        lambda app: app.native.error(404)(lambda: "nothing"),
        lambda app: app.native.provides(SimpleNamespace)(SimpleNamespace),
        lambda app: app.native.middlewares.append(SecurityHeaders()),
    ]
    for use in uses:
        with pytest.raises(
            SetupError, match=r"at /shop has no effect.* Set it on cherrypy\.tree\.native, where"
        ):
            mounted(use).native._micropie.compiled()


def test_what_is_set_on_the_tree_is_refused_if_one_application_is_served(
    monkeypatch: pytest.MonkeyPatch, serve_ours: Serve
) -> None:
    tree = ours._cptree.Tree()
    monkeypatch.setattr(importlib.import_module("micropie_compat.cherrypy.tree"), "tree", tree)
    app = tree.mount(page(ours, lambda: "old"), "")
    assert serve_ours(app).get("/").text == "old"
    tree.native.get("/new")(lambda: "new")
    assert serve_ours(tree).get("/").text == "old"
    assert serve_ours(ours.Application(app.root)).get("/").text == "old"
    app.native._micropie.changed()
    with pytest.raises(SetupError, match=r"on cherrypy\.tree\.native has no effect"):
        app.native._micropie.compiled()


def test_a_form_can_have_another_body_processor(
    cherrypy: Any, serve_page: Serve, serve: Serve
) -> None:
    def upper() -> None:
        cherrypy.request.body.processors["application/x-www-form-urlencoded"] = lambda entity: (
            entity.params.update(a=entity.fp.read().decode().upper())
        )

    def answer(**values: str) -> str:
        return repr((values, cherrypy.request.body.read()))

    cherrypy.tools.shouting = cherrypy.Tool("before_request_body", upper)
    try:
        app = cherrypy.Application(page(cherrypy, answer, tools__shouting__on=True))
        assert serve(app).post("/", data={"b": "1"}).text == "({'a': 'B=1'}, b'')"
    finally:
        del cherrypy.tools.shouting
    client = serve_page(answer)
    assert client.post("/", data={"b": "1"}).text == "({'b': '1'}, b'')"


def test_accept_elements_sort_by_quality(module: Any) -> None:
    elements = [
        module.lib.httputil.AcceptElement.from_str(text) for text in ("a;q=0.5", "b", "c;q=0.1")
    ]
    assert [str(each.value) for each in sorted(elements)] == ["c", "a", "b"]


def test_request_args_and_kwargs_have_the_handler_s_arguments(
    cherrypy: Any, serve_page: Serve
) -> None:
    def answer(*segments: str, **values: str) -> str:
        request = cherrypy.request
        return repr((list(request.args), request.kwargs))

    client = serve_page(answer)
    assert client.get("/a/b?c=1").text == "(['a', 'b'], {})"


def test_client_text_is_escaped_in_the_access_log(
    serve_page: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    client = serve_page(lambda *_, **values: "x")
    client.get("/a", headers={"User-Agent": 'back\\slash and "quotes"', "Referer": "back\\slash"})
    lines = [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("cherrypy.access")
    ]
    # ours has two: CherryPy's text ends at a backslash before a quote
    line = lines[-1].replace("\\\\", "\\")
    assert line.endswith(r"""back\slash" "back\slash and \"quotes\"" """.strip())


def test_missing_names_raise_import_errors_with_replacements() -> None:
    with pytest.raises(ImportError, match=r"micropie run app:app"):
        ours.wsgiserver  # noqa: B018
    with pytest.raises(ImportError, match=r"cherrypy\.tree\.native\.middlewares"):
        ours.wsgi.InternalRedirector  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'none'"):
        ours.none  # noqa: B018


# -- hostile clients -------------------------------------------------------------------------------


def test_a_response_for_one_client_is_not_cached_for_others(
    serve_our_root: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_bytes(b"0123456789")
    vars(ours)["_cache"] = None

    class Root:
        _cp_config: ClassVar = {"tools.caching.on": True}

        @ours.expose
        def file(self) -> Any:
            return ours.lib.static.serve_file(str(tmp_path / "a.txt"))

        @ours.expose
        def refused(self) -> str:
            if "X-Bad" in ours.request.headers:
                raise ours.HTTPError(403)
            return "x"

        @ours.expose
        @ours.tools.etags(autotags=True)
        def tagged(self) -> str:
            return "tagged"

    client = serve_our_root(Root())
    assert client.get("/file", headers={"Range": "bytes=0-0"}).status_code == 206
    assert client.get("/file").content == b"0123456789"
    assert client.get("/refused", headers={"X-Bad": "1"}).status_code == 403
    assert client.get("/refused").text == "x"
    assert client.get("/tagged", headers={"If-Match": '"another"'}).status_code == 412
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0)
    assert client.get("/tagged").text == "tagged"
    assert client.get("/tagged").headers["Age"] == "0"


def test_a_malformed_host_gets_a_400(serve_our_root: Serve, serve_ours: Serve) -> None:
    app = ours.Application(page(ours, lambda: ours.url("/x")))
    client = serve_ours(app, validate=False)
    assert client.get("/", headers={"Host": "[::1"}).status_code == 400
    assert client.get("/", headers={"Host": "[::1]:80"}).text == "http://[::1]:80/x"
    behind = serve_our_root(
        page(ours, lambda: ours.request.base, tools__proxy__on=True), validate=False
    )
    assert behind.get("/", headers={"X-Forwarded-Host": "a.example"}).text == "http://a.example"
    assert behind.get("/", headers={"Host": "[::1"}).status_code == 400


@pytest.mark.parametrize(
    "body", [b"&" * 100_000, b"a=" + b"x" * (16 * 1024 * 1024)], ids=["fields", "bytes"]
)
def test_a_form_s_limits_apply(serve_our_page: Serve, body: bytes) -> None:
    client = serve_our_page(lambda **values: str(len(values)))
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post("/", content=body, headers=kind).status_code == 413
    assert client.post("/", content=b"a=1&&b=2&", headers=kind).text == "2"


def test_a_native_hook_may_read_the_body_first(serve_ours: Serve) -> None:
    class Reader:
        async def before_request(self, request: Request) -> None:
            request.state.size = len(await request.body())

    app = ours.Application(page(ours, lambda **values: str(values)))
    app.native.middlewares.append(Reader())  # type: ignore[arg-type]
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    assert serve_ours(app).post("/", content=b"a=1", headers=kind).text == "{'a': '1'}"


@requires(lambda request: False)
class Guarded:
    @ours.expose
    def page(self) -> str:
        return "secret"


class Below:
    @ours.expose
    @requires(lambda request: False)
    def page(self) -> str:
        return "secret"


@pytest.mark.parametrize("root", [Guarded(), Below()], ids=["class", "handler"])
def test_an_access_check_that_would_be_bypassed_is_refused(
    serve_our_root: Serve, root: object, caplog: pytest.LogCaptureFixture
) -> None:
    assert serve_our_root(root).get("/page").status_code == 500
    assert "with middleware or @requires has no effect: append middleware" in caplog.text


_PAGES: dict[str, Callable[..., Any]] = {
    "none": lambda traceback: "sorry",
    "whole": lambda traceback: f"sorry<pre>{traceback}</pre>",
    "bytes": lambda traceback: traceback.encode(),
    "pieces": lambda traceback: ["sorry ", traceback.encode(), "!"],
    "lines": lambda traceback: "<br>".join(traceback.splitlines()),
    "json": lambda traceback: json.dumps({"why": traceback}),
    "escaped": lambda traceback: escape(traceback),
    "fails": lambda traceback: 1 / 0,
    "last": lambda traceback: (
        "sorry " + escape(traceback.splitlines()[-1:][0] if traceback else "")
    ),
}


@pytest.mark.parametrize("name", _PAGES)
@pytest.mark.parametrize("host", ["localhost", "shop.example"])
def test_a_function_for_error_pages_gets_the_traceback(
    cherrypy: Any, serve_root: Serve, side: str, name: str, host: str
) -> None:
    """A program may mail it. A client elsewhere does not get it, whatever the page makes of it."""
    mailed = []

    def made(status: str, message: str, traceback: str, version: str) -> Any:
        if traceback:
            mailed.append(traceback)
        return _PAGES[name](traceback)

    def answer() -> str:
        raise ValueError('the "secret" of <visitors> is \\1234')

    shown = {"request__show_tracebacks": True, "error_page__500": made}
    answered = serve_root(page(cherrypy, answer, **shown), base_url=f"http://{host}").get("/")
    (text,) = mailed
    assert text.startswith("Traceback (most recent call last):\n")
    assert "is \\1234" in text.splitlines()[-1]
    is_shown = (side == "original" or host == "localhost") and name != "none"
    assert (answered.status_code, "1234" in answered.text) == (500, is_shown)
    assert (__file__ in answered.text) == (is_shown and name != "last")


def test_a_hidden_traceback_is_not_passed_to_the_error_page(serve_page: Serve) -> None:
    def made(traceback: str, **values: str) -> str:
        return f"[{traceback}]"

    def answer() -> str:
        raise ValueError

    hidden = {"request__show_tracebacks": False, "error_page__500": made}
    answered = serve_page(answer, **hidden).get("/")
    assert answered.text.strip() == "[]"
