"""Routes, plugins, hooks, mounts and the module's own functions: passes with the original, unless a
test says otherwise.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from compat.tests.releases import check_releases
from micropie._core.files import fingerprints
from micropie.testing import TestClient
from micropie_compat import bottle as ours
from micropie_compat.bottle import files
from micropie_compat.bottle.routing import RouteReset
from micropie_compat.core import validators_of
from tests.support.clients import MakeClient


def find(app: Any, path: str, method: str = "GET") -> Any:
    route, arguments = app.match({"PATH_INFO": path, "REQUEST_METHOD": method})
    return route.callback, arguments


def test_a_router_builds_urls_from_rules(bottle: Any) -> None:
    router = bottle.Router()
    router.add("/a/<x>/<:int>/<p:path>", "GET", None, name="named")
    assert router.build("named", 7, x="y", p="a/b") == "/a/y/7/a/b"
    assert router.build("/a/<x>/<:int>/<p:path>", 7, x="y", p="z", q="1 2") == "/a/y/7/z?q=1+2"
    assert router.build("named", x="y", anon0="7", p="z") == "/a/y/7/z"
    assert router.build("named", 7, 8, x="y", p="z") == "/a/y/7/z?anon1=8"
    for arguments in ((), (1,)):
        with pytest.raises(bottle.RouteBuildError):
            router.build("named", *arguments)
    with pytest.raises(bottle.RouteBuildError):
        router.build("none")


def test_a_router_lists_the_parts_of_a_url(bottle: Any) -> None:
    """Plugins read which wildcards a rule has."""
    router = bottle.Router()
    router.add("/a/<x>/<:int>.<y:path>", "GET", None, name="named")
    names = [None, "x", None, "anon0", None, "y"]
    assert [name for name, _ in router.builder["named"]] == names
    assert [part for name, part in router.builder["named"] if name is None] == ["/a/", "/", "."]
    assert router.builder["named"] is router.builder["/a/<x>/<:int>.<y:path>"]


@pytest.mark.parametrize("strict", [False, True])
def test_a_router_lists_its_rules_by_method(bottle: Any, strict: bool) -> None:
    """Programs print them, and generators of documents read the targets."""
    router = bottle.Router(strict)
    router.add("/a", "GET", "first")
    router.add("/a/<x>/<y:int>.<z>-<:re:b+>", "GET", "second")
    router.add("/c/<p:path>", "POST", "third")
    static = {path: target for path, (target, _) in router.static.get("GET", {}).items()}
    assert static == ({} if strict else {"/a": "first"})
    assert router.static.keys() == ({*()} if strict else {"GET"})
    rules = {
        method: [(rule, target) for rule, _, target, _ in rows]
        for method, rows in router.dyna_routes.items()
    }
    assert rules == {
        "GET": [("/a", "first")] * strict + [("/a/<x>/<y:int>.<z>-<:re:b+>", "second")],
        "POST": [("/c/<p:path>", "third")],
    }
    *_, arguments_of = router.dyna_routes["GET"][-1]
    assert arguments_of("/a/k/-7.l-bb") == {"x": "k", "y": -7, "z": "l"}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_existing_rule_is_replaced(bottle: Any) -> None:
    app = bottle.Bottle()
    for target in (str, int):
        app.route("/static", callback=target)
        app.route("/<x>/dynamic", callback=target)
    assert find(app, "/static") == (int, {})
    assert find(app, "/a/dynamic") == (int, {"x": "a"})


def test_a_strict_router_keeps_the_order_of_its_rules(bottle: Any) -> None:
    router = bottle.Router(strict=True)
    router.add("/<x>", "GET", 1)
    router.add("/static", "GET", 2)
    assert router.match({"PATH_INFO": "/static", "REQUEST_METHOD": "GET"}) == (1, {"x": "static"})
    router.add("", "GET", 3)
    assert router.build("/static") == "/static"


def test_proxy_routes_match_before_any_routes(bottle: Any) -> None:
    app = bottle.Bottle()
    app.route("/x", "ANY", callback=str)
    app.route("/x", "PROXY", callback=int)
    app.route("/y", ["ANY", "POST"], callback=str)
    asked = (("/x", "GET"), ("/x", "HEAD"), ("/y", "MADE-UP"))
    assert [find(app, path, method)[0] for path, method in asked] == [int, int, str]


@pytest.mark.parametrize("rule", ["/<x:re:(>", "/<x:re:[>/y", "/<a>/<a>"])
def test_an_unreadable_rule_raises_an_error(bottle: Any, rule: str) -> None:
    with pytest.raises(bottle.RouteSyntaxError):
        bottle.Bottle().route(rule, callback=str)


@pytest.mark.parametrize(
    ("rule", "words"),
    [("/<x:nonsense>", "unknown filter 'nonsense'"), (r"/:#(a)\1#", "back reference")],
)
def test_the_error_for_an_unreadable_rule_explains_it(rule: str, words: str) -> None:
    with pytest.raises(ours.RouteSyntaxError, match=words):
        ours.Bottle().route(rule, callback=str)


def test_a_line_end_may_be_part_of_a_path() -> None:
    app = ours.Bottle()
    app.route("/<x:int>", callback=str)
    with pytest.raises(ours.HTTPError):
        find(app, "/1\n")


def test_yieldroutes_derives_rules_from_a_signature(bottle: Any) -> None:
    def a__b(x: str, y: str = "", z: str = "") -> None: ...

    def named(x: str, *, y: str) -> None: ...

    assert list(bottle.yieldroutes(a__b)) == ["/a/b/<x>", "/a/b/<x>/<y>", "/a/b/<x>/<y>/<z>"]
    assert list(bottle.yieldroutes(named)) == ["/named/<x>/<y>"]


def test_a_route_knows_the_function_inside_its_decorators(bottle: Any) -> None:
    def handler(one: str, *, two: str = "") -> None: ...

    def closing(function: Any) -> Any:
        return lambda *args, **values: function(*args, **values)

    @functools.wraps(handler)
    def wrapped(*args: Any) -> None: ...

    class Methods:
        def method(self, three: str) -> None: ...

    app = bottle.Bottle()
    for index, callback in enumerate([handler, wrapped, closing(handler), closing(wrapped)]):
        app.route(f"/{index}", callback=callback)
        assert app.routes[-1].get_undecorated_callback() is handler
        assert app.routes[-1].get_callback_args() == ["one", "two"]
    app.route("/m", callback=Methods().method)
    assert app.routes[-1].get_callback_args() == ["self", "three"]
    assert repr(app.routes[0]).startswith(f"<GET /0 -> {__name__}:")


def test_a_recursive_function_and_a_partial_can_be_routes() -> None:
    def again(x: str) -> Any:
        return again(x)

    app = ours.Bottle()
    app.route("/a", callback=again)
    app.route("/b", callback=functools.partial(again))
    assert [route.get_callback_args() for route in app.routes] == [["x"], ["x"]]
    assert app.routes[0].get_config("none", 3) == 3


class Plugin:
    api = 2
    name = "plugin"
    closed = 0

    def setup(self, app: Any) -> None:
        self.app = app

    def apply(self, callback: Any, route: Any) -> Any:
        return lambda **values: f"[{callback(**values)}]"

    def close(self) -> None:
        self.closed += 1


def test_plugins_are_installed_and_removed(bottle: Any) -> None:
    app, plugin, resets = bottle.Bottle(), Plugin(), []
    app.hook("app_reset")(lambda: resets.append(1))
    assert app.install(plugin) is plugin
    assert (plugin.app, len(resets)) == (app, 1)
    app.route("/", callback=lambda: "x")
    route = app.routes[0]
    assert route.call() == "[x]"
    assert app.uninstall("none") == []
    assert app.uninstall("plugin") == [plugin]
    assert (route.call(), plugin.closed) == ("x", 1)
    app.install(plugin)
    app.reset(0)
    app.reset(route)
    route.prepare()
    app.close()
    assert (route.call(), plugin.closed) == ("[x]", 2)
    assert app.uninstall(Plugin) == [plugin]
    assert len(app.uninstall(True)) == 2
    with pytest.raises(TypeError):
        app.install(3)


def test_a_route_skips_the_plugins_named_in_skip(bottle: Any) -> None:
    app, plugin = bottle.Bottle(), Plugin()
    app.install(plugin)
    app.install(Plugin())
    for skip in (None, "plugin", plugin, Plugin, True):
        app.route(f"/{skip}", callback=lambda: "x", skip=skip)
    assert [route.call() for route in app.routes] == ["[x]", "x", "[x]", "x", "x"]


def test_a_plugin_may_rebuild_a_route() -> None:
    class Once:
        api = 2

        def apply(self, callback: Any, route: Any) -> Any:
            if "done" not in route.config:
                route.config["done"] = True
                raise RouteReset
            return callback

    app = ours.Bottle()
    app.route("/", callback=lambda: "x", apply=Once())
    assert app.routes[0].call() == "x"


@pytest.mark.filterwarnings("ignore:.*deprecated feature:DeprecationWarning")
@pytest.mark.parametrize("hooked", [False, True])
def test_a_handler_may_rebuild_its_route(bottle: Any, clients: Any, hooked: bool) -> None:
    app = bottle.Bottle()

    def once() -> Any:
        app.install(lambda callback: lambda: "again")
        raise bottle.RouteReset

    app.route("/", callback=once)
    if hooked:
        app.add_hook("before_request", lambda: None)
    for client in clients(app):
        app.uninstall(True)
        assert client.get("/").text == "again"


def test_a_configuration_may_have_keys_with_an_application_s_prefix(bottle: Any) -> None:
    app = bottle.Bottle()
    assert {**app.config} == {
        "catchall": True,
        "json.enable": True,
        "json.ascii": False,
        "json.indent": True,
        "json.dump_func": None,
    }


@pytest.mark.filterwarnings("ignore:.*deprecated feature:DeprecationWarning")
def test_dictionaries_are_sent_as_json_whatever_autojson_says(bottle: Any, clients: Any) -> None:
    app = bottle.Bottle(autojson=False)
    app.route("/", callback=lambda: {"a": 1})
    for client in clients(app):
        assert client.get("/").json() == {"a": 1}


def test_a_json_plugin_runs_inside_other_plugins(bottle: Any) -> None:
    app = bottle.Bottle()
    app.uninstall("json")

    class Sorting(bottle.JSONPlugin):
        def setup(self, app: Any) -> None:
            super().setup(app)

    app.install(Sorting(json_dumps=lambda value: f"json {sorted(value)}"))
    app.install(lambda callback: lambda **values: callback(**values))
    app.route("/", callback=lambda: {"a": 1})
    app.route("/raised", callback=lambda: abort(bottle.HTTPResponse({"b": 1}, 201)))
    app.route("/text", callback=lambda: "text")
    app.route("/none", callback=dict, skip="json")
    with TestClient(app, protocol="wsgi") as client:
        assert client.get("/").text == "json ['a']"
        assert client.get("/raised").status_code == 201
        assert client.get("/raised").text == "json ['b']"
        assert (client.get("/text").text, client.get("/none").text) == ("text", "")
    plugin = bottle.JSONPlugin(json_dumps=None)
    assert plugin.apply(str, None) is str


def abort(response: Any) -> None:
    raise response


def test_hooks_are_added_and_removed(bottle: Any) -> None:
    app = bottle.Bottle()
    app.add_hook("before_request", str)
    assert app.trigger_hook("before_request") == [""]
    assert app.remove_hook("before_request", str) is True
    assert not app.remove_hook("before_request", str)
    assert not app.remove_hook("nonsense", str)
    with pytest.raises(KeyError):
        app.add_hook("nonsense", str)


def test_hooks_can_be_registered_by_name(
    bottle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "callbacks_of_bottle.py").write_text(
        "def show(): return 'shown'\nclass C:\n    x = 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    app = bottle.Bottle()
    app.route("/", callback="callbacks_of_bottle:show")
    app.error(404, callback="callbacks_of_bottle:show")
    assert find(app, "/")[0]() == "shown"
    assert bottle.load("callbacks_of_bottle:C.x") == 1
    assert bottle.load("callbacks_of_bottle:show()") == "shown"
    assert bottle.load("callbacks_of_bottle:C().x") == 1
    assert bottle.load("callbacks_of_bottle").C.x == 1
    assert bottle.load("callbacks_of_bottle:show()[first:4]", first=2) == "ow"


def test_module_level_functions_use_the_default_application(bottle: Any) -> None:
    with bottle.Bottle() as app:
        assert bottle.default_app() is app
        assert bottle.app() is app
        bottle.route("/r")(str)
        for name in ("get", "post", "put", "delete", "patch"):
            getattr(bottle, name)("/v")(str)
        bottle.error(404)(str)
        bottle.hook("before_request")(str)
        plugin = bottle.install(Plugin())
        bottle.uninstall(plugin)
        bottle.mount("/m/", bottle.Bottle())
        bottle.request.bind({})
        assert bottle.url("/r") == "/r"
        assert {route.method for route in app.routes} == {"GET", "POST", "PUT", "DELETE", "PATCH"}
    assert bottle.default_app() is not app
    pushed = bottle.default_app.push()
    assert bottle.default_app.pop() is pushed
    assert bottle.app.new_app() is bottle.app.pop()


def test_an_empty_stack_of_applications_creates_one(bottle: Any) -> None:
    stack = bottle.AppStack()
    assert stack() is stack.default
    app = bottle.Bottle()
    assert stack.push(app) is app


def wsgi(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response(
        "299 Strange", [("Content-Type", "text/plain"), ("X-Path", environ["PATH_INFO"])]
    )
    yield b"late "
    yield environ["SCRIPT_NAME"].encode()


def broken(environ: Any, start_response: Any) -> Any:
    raise RuntimeError("broken")


def writing(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [("Content-Type", "text/plain")])(b"written ")
    return BytesIO(b"read")


def writing_on(environ: Any, start_response: Any) -> Iterator[bytes]:
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"made "
    write(b"written ")
    yield b"read"


def test_wsgi_applications_can_be_mounted(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    app, seen = ours.Bottle(), []
    app.hook("before_request")(lambda: seen.append(ours.request.path))
    app.mount("/late", wsgi)
    app.mount("/ä/x/", wsgi)
    app.mount("/broken", broken)
    app.mount("/writing", writing)
    app.mount("/writing/on", writing_on)
    inner = ours.Bottle()
    inner.route("/<x>", callback=lambda x: f"{x} {ours.request.script_name}")
    app.mount("/inner", inner)
    app.mount("/post/", wsgi, method="POST")
    app.route("/after", callback=lambda: ours.request.path)
    client = make_client(app, raise_app_exceptions=False)
    answer = client.get("/late/a/b")
    assert (answer.status_code, answer.text) == (299, "late /late")
    assert answer.headers["x-path"] == "/a/b"
    assert client.get("/late").headers["x-path"] == "/"
    assert client.get("/broken").status_code == 500
    assert client.get("/writing/").text == "written read"
    assert client.get("/writing/on").text == "made written read"
    assert client.get("/inner/x").text == "x /inner/"
    assert (client.get("/post/x").status_code, client.post("/post/x").status_code) == (405, 299)
    assert client.get("/after").text == "/after"
    assert seen[:2] == ["/late/a/b", "/late"]
    with pytest.raises(ValueError, match="cannot be mounted"):
        app.mount("/", wsgi)
    with pytest.raises(ValueError, match="start with"):
        app.mount("x", wsgi)


class FailsToClose(list[bytes]):
    def close(self) -> None:
        raise RuntimeError("the file is gone")


def test_a_mounted_application_that_fails_to_close_is_logged(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    def mounted(_: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return FailsToClose([b"a pie"])

    app = ours.Bottle()
    app.mount("/kitchen", mounted)
    client = make_client(app, raise_app_exceptions=False)
    assert client.get("/kitchen/").text == "a pie"
    (record,) = caplog.records
    assert record.exc_info is not None
    assert "/kitchen: close() of the mounted application's response" in record.getMessage()
    assert str(record.exc_info[1]) == "the file is gone"


def test_an_application_can_be_mounted_twice(make_client: MakeClient) -> None:
    app, inner = ours.Bottle(), ours.Bottle()
    inner.route("/x", callback=lambda: ours.request.script_name)
    app.mount("/a/", inner)
    app.mount("/b/", inner)
    app.merge(list(inner.routes))
    client = make_client(app)
    assert [client.get(path).text for path in ("/a/x", "/b/x")] == ["/", "/b/"]


def test_debug_mode_shows_the_exception(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError("<secret>")

    app = ours.Bottle()
    app.route("/", callback=fail)
    client = make_client(app, base_url="http://localhost")
    assert "secret" not in client.get("/").text
    ours.debug(True)
    try:
        assert ours.DEBUG
        page = client.get("/").text
        assert "secret" not in client.get("/", headers={"Host": "www.example.org"}).text
    finally:
        ours.debug(False)
    assert "&lt;secret&gt;" in page
    assert "in fail" in page


def test_a_route_without_a_path_handles_the_root(make_client: MakeClient) -> None:
    app = ours.Bottle()
    app.route("/", callback=lambda: "root")
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "",
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(),
    }
    assert list(app.wsgi(environ, lambda *answer: None)) == [b"root"]
    app.wsgi_shutdown()


def test_a_native_app_cannot_be_mounted_as_a_wsgi_application() -> None:
    with pytest.raises(Exception, match="not a class"):
        ours.Bottle().mount("/x", ours.Bottle)


def test_large_files_and_long_bodies_are_closed_after_the_response(
    make_client: MakeClient, tmp_path: Path
) -> None:
    (tmp_path / "large").write_bytes(b"0123456789" * 100_000)
    app = ours.Bottle()
    app.route("/<name>", callback=lambda name: ours.static_file(name, tmp_path))
    app.post(
        "/", callback=lambda: str(len(ours.request.files.up.file.read())) + ours.request.forms.a
    )
    client = make_client(app)
    assert client.get("/large").content == b"0123456789" * 100_000
    content = client.get("/large", headers={"Range": "bytes=5-400004"}).content
    assert content == b"5678901234" * 40_000
    assert client.head("/large").headers["content-length"] == "1000000"
    assert client.post("/", files={"up": b"x" * 500_000}, data={"a": "b"}).text == "500000b"


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("{tag}", 304),
        ("W/{tag}", 304),
        ('"other", {tag}', 304),
        ("*", 304),
        ('"other"', 200),
        ("", 200),
    ],
)
def test_static_files_have_etags(
    make_client: MakeClient, tmp_path: Path, header: str, status: int
) -> None:
    (tmp_path / "a").write_text("x")
    app = ours.Bottle()
    app.route("/", callback=lambda: ours.static_file("a", str(tmp_path)))
    app.route(
        "/own",
        callback=lambda: ours.static_file(
            "a", str(tmp_path), etag="own", mimetype="a/b", download=True
        ),
    )
    app.route(
        "/none", callback=lambda: ours.static_file("a", str(tmp_path), etag=False, mimetype=False)
    )
    client = make_client(app)
    tag = client.get("/").headers["etag"]
    assert client.get("/", headers={"If-None-Match": header.format(tag=tag)}).status_code == status
    own = client.get("/own")
    assert own.headers["etag"] == '"own"'
    assert own.headers["content-disposition"] == 'attachment; filename="a"'
    found = client.get("/own", headers={"If-None-Match": header.format(tag='"own"')}).status_code
    assert found == status
    assert "etag" not in client.get("/none", headers={"If-None-Match": "*"}).headers


@pytest.mark.parametrize("seconds", [1, 1_704_067_200, 1_700_000_000.5])
def test_R39_each_release_of_a_file_has_its_own_tag(
    make_client: MakeClient, tmp_path: Path, seconds: float
) -> None:
    """A build may give each file of each release the same time, which is then no date."""
    app = ours.Bottle()
    app.route("/", callback=lambda: ours.static_file("a", str(tmp_path)))
    check_releases(make_client(app), tmp_path / "a", seconds)


@pytest.fixture
def changes(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """Functions that are called between the look-up of a file and its validators."""
    waiting: list[Callable[[], object]] = []

    def changed_validators(*arguments: Any) -> Any:
        for change in waiting:
            change()
        return validators_of(*arguments)

    monkeypatch.setattr(files, "validators_of", changed_validators)
    return waiting


@pytest.mark.parametrize("size", [20, 300_000])
@pytest.mark.parametrize("has_settled", [False, True])
def test_R39_a_file_replaced_during_a_request_is_sent_consistently(
    make_client: MakeClient,
    tmp_path: Path,
    size: int,
    changes: list[Callable[[], object]],
    monkeypatch: pytest.MonkeyPatch,
    *,
    has_settled: bool,
) -> None:
    """The validators of one version never come with another one's bytes.

    A file that was written a moment ago, and may be written again, has a weak tag, which allows no
    range.
    """
    monkeypatch.setattr(fingerprints, "is_settled", lambda *_: has_settled)
    app = ours.Bottle()
    app.route("/", callback=lambda: ours.static_file("a", str(tmp_path)))
    client = make_client(app)
    (tmp_path / "a").write_bytes(b"a" * size)
    (tmp_path / "new").write_bytes(b"b" * size)
    first = client.get("/").headers["etag"]
    changes.append(lambda: (tmp_path / "new").replace(tmp_path / "a"))
    old = client.get("/", headers={"Range": "bytes=5-", "If-Range": first})
    assert (old.status_code, old.content) == (
        (206, b"a" * (size - 5)) if has_settled else (200, b"a" * size)
    )
    changes.clear()
    new = client.get("/", headers={"If-None-Match": old.headers["etag"]})
    assert (new.status_code, new.content) == (200, b"b" * size)


def test_a_file_removed_during_a_request_gets_a_404(
    make_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.path.isfile", lambda path: True)
    monkeypatch.setattr("os.access", lambda path, mode: True)
    app = ours.Bottle()
    app.route("/", callback=lambda: ours.static_file("a", str(tmp_path)))
    assert make_client(app).get("/").status_code == 404


def test_a_small_file_truncated_before_it_is_read_gets_a_500(
    make_client: MakeClient, tmp_path: Path, changes: list[Callable[[], object]]
) -> None:
    """A program that writes the same bytes again truncates the file first."""
    (tmp_path / "a").write_bytes(b"a" * 20)
    changes.append(lambda: (tmp_path / "a").write_bytes(b""))
    app = ours.Bottle()
    app.route("/", callback=lambda: ours.static_file("a", str(tmp_path)))
    assert make_client(app).get("/").status_code == 500


def test_an_unreadable_file_gets_an_error_response(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_text("x")
    monkeypatch.setattr("os.access", lambda path, mode: False)
    ours.request.bind({})
    assert ours.static_file("a", str(tmp_path)).status_code == 403
    assert ours.static_file("../a", str(tmp_path / "sub")).status_code == 403
    assert ours.static_file("none", str(tmp_path)).status_code == 404


def test_a_failure_is_logged(make_client: MakeClient, caplog: pytest.LogCaptureFixture) -> None:
    app = ours.Bottle()
    app.route("/", callback=lambda: {}["key"])  # type: ignore[index]
    with caplog.at_level(logging.ERROR, "micropie"):
        assert make_client(app).get("/").status_code == 500
    assert "GET '/' failed" in caplog.text
    assert "KeyError: 'key'" in caplog.text


def test_the_module_lists_only_names_that_exist() -> None:
    assert all(hasattr(ours, name) for name in ours.__all__)
    assert sorted(set(ours.__all__)) == sorted(ours.__all__)


def test_plugins_are_found_by_their_names_in_bottle(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = ModuleType("bottle_of_ours")
    monkeypatch.setitem(sys.modules, "bottle_of_ours", plugin)
    assert (ours.ext.of_ours, hasattr(ours.ext, "__wrapped__")) == (plugin, False)
    with pytest.raises(ImportError, match="bottle_of_nobody"):
        ours.ext.of_nobody  # noqa: B018


def test_a_route_decorator_works_without_a_call(bottle: Any) -> None:
    app = bottle.Bottle()

    def page() -> str:
        return "page"

    assert app.route(page) is page
    assert find(app, "/page")[0] is page


def test_a_handler_may_replace_the_response_and_the_environ(make_client: MakeClient) -> None:
    app = ours.Bottle()

    @app.get("/response")
    def response() -> dict[str, int]:
        ours.response.status = 500
        ours.response.bind(status=201)
        return {"a": 1}

    @app.get("/environ")
    def environ() -> str:
        ours.request.environ = {**ours.request.environ, "QUERY_STRING": "a=2"}
        return f"{ours.request.query.a}"

    client = make_client(app)
    assert (client.get("/response").status_code, client.get("/response").json()) == (201, {"a": 1})
    assert client.get("/environ?a=1").text == "2"


def test_a_plugin_may_return_a_method(bottle: Any) -> None:
    class Around:
        def __init__(self, callback: Any) -> None:
            self.callback = callback

        def call(self) -> str:
            return f"[{self.callback()}]"

    app = bottle.Bottle()
    app.install(lambda callback: Around(callback).call)
    app.route("/", callback=lambda: "x")
    assert app.routes[0].call() == "[x]"


def test_first_requests_may_come_from_several_threads() -> None:
    for _ in range(20):
        app = ours.Bottle()
        for index in range(30):
            app.route(f"/{index}/<x>", callback=lambda x: {"x": x})
        with ThreadPoolExecutor(8) as threads:
            found = list(
                threads.map(lambda index, app=app: call(app, f"/{index % 30}/a"), range(60))
            )
        assert found == [b'{"x": "a"}'] * 60


def call(app: Any, path: str) -> bytes:
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(),
    }
    return b"".join(app(environ, lambda *answer: None))


@pytest.mark.parametrize("name", ["HTTPResponse", "HTTPError", "FileUpload"])
def test_a_class_that_a_callback_returns_gets_an_error_page(bottle: Any, name: str) -> None:
    app = bottle.Bottle()
    app.route("/", callback=lambda: getattr(bottle, name))
    assert b"Unhandled exception" in call(app, "/")


def test_errors_that_return_errors_end(bottle: Any, clients: Any) -> None:
    app = bottle.Bottle()
    for code, following in {451: 452, 452: 451, 453: 454, 456: 456}.items():
        app.error(code)(lambda error, code=following: bottle.HTTPError(code))
    app.error(454)(lambda error: "the last")
    app.error(457)(lambda error: iter([error]))

    @app.route("/<code:int>")
    def show(code: int) -> Any:
        if code == 458:
            own = bottle.HTTPResponse()
            own.body = own
            return own
        return bottle.HTTPError(code)

    for client in clients(app):
        for code in (451, 452, 456, 457, 458):
            assert client.get(f"/{code}").status_code == 500
        assert client.get("/453").text == "the last"
