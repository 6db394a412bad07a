"""From a path and a method to a handler: by name, by explicit route, and what is never reachable.

How a path is read (slashes, dots, escapes, mounts) and which methods a path answers is the table of
tests/flow/test_same_answer.py.
"""

from __future__ import annotations

import functools
import importlib.util
import os.path
import sys
import sysconfig
import threading
from collections import UserDict
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import MethodType
from typing import Annotated, Any, ClassVar
from urllib.parse import quote

import httpx2 as httpx
import pytest
from msgspec import Meta
from pydantic import BeforeValidator, Field, Strict

from micropie import (
    App,
    Form,
    HttpMiddleware,
    Request,
    SetupError,
    UploadFile,
    WebSocket,
    delete,
    get,
    hidden,
    patch,
    post,
    put,
    request,
    requires,
    route,
)
from micropie.middleware import ProxyHeaders
from micropie.sessions import InMemorySessionBackend
from micropie.testing import TestClient
from tests.support.clients import MakeClient
from tests.support.modules import made_module


def at(client: TestClient, target: str, method: str = "GET") -> httpx.Response:
    """The answer to exactly this target and method: httpx would normalise the one and write the
    other in capitals.
    """
    request = client.build_request("GET", "/", extensions={"target": target.encode()})
    request.method = method
    return client.send(request)


def set_up(app: App) -> None:
    """What the first request or the server's start does."""
    app._micropie.compiled()


def text(app: App, make_client: MakeClient, target: str, method: str = "GET") -> str | int:
    """The body of a 200, else the status."""
    response = at(make_client(app), target, method)
    return response.text if response.status_code == 200 else response.status_code


# -- by name ---------------------------------------------------------------------------------------


class Shop(App):
    def index(self) -> str:
        return "shop"

    def greet(self, name: str = "World", age: str = "?") -> str:
        return f"{name} {age}"

    async def café(self) -> str:
        return "café"

    def join(self, *parts: str) -> str:
        return "|".join(parts)


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        ("/", "shop"),
        ("/greet", "World ?"),
        ("/greet/Alice", "Alice ?"),
        ("/greet/Alice?age=3", "Alice 3"),
        ("/greet/Alice/4?age=3", "Alice 4"),
        ("/greet?name=Bob", "Bob ?"),
        ("/caf%C3%A9", "café"),
    ],
)
def test_a_path_names_a_method_and_its_arguments(
    make_client: MakeClient, target: str, answer: str
) -> None:
    assert text(Shop(), make_client, target) == answer


@pytest.mark.parametrize("target", [
    "/nothing", "/greet/a/b/c", "/index/surplus", "/Greet", "/GREET", "/greet%20", "/gr\u200beet",
    "/greet.html",
])  # fmt: skip
def test_any_other_path_gets_a_404(make_client: MakeClient, target: str) -> None:
    assert text(Shop(), make_client, target) == 404


SIX = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"  # and OPTIONS, which no handler answers


class SaysMethod(App):
    def index(self) -> str:
        return self.request.method

    def default(self, *words: str) -> str:
        return self.request.method

    @route("/explicit/<word>")
    def explicit(self, word: str) -> str:
        return self.request.method

    @route("/stated", methods=["OPTIONS", "TRACE", "QUERY"])
    def stated(self) -> str:
        return self.request.method


SAYS_METHOD = ["/", "/explicit/x", "/by/default"]


@pytest.mark.parametrize("path", SAYS_METHOD)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_a_handler_without_declared_methods_handles_six(
    make_client: MakeClient, method: str, path: str
) -> None:
    client = make_client(SaysMethod())
    assert client.request(method, path).text == method
    assert client.head(path).status_code == 200


@pytest.mark.parametrize("path", SAYS_METHOD)
@pytest.mark.parametrize("method", ["TRACE", "QUERY", "PROPFIND", "BREW"])
def test_other_methods_get_a_405_unless_a_route_declares_them(
    make_client: MakeClient, method: str, path: str
) -> None:
    # wsgiref.validate warns of methods that it does not know
    client = make_client(SaysMethod(), validate=False)
    answer = client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, SIX)
    stated = client.request(method, "/stated").text
    assert stated == (
        method
        if method in ("TRACE", "QUERY")
        else "This resource supports OPTIONS, QUERY, TRACE only."
    )


def test_a_route_handles_the_methods_of_webdav(make_client: MakeClient) -> None:
    app = App()
    seen = []

    @app.route("/dav/<path:path>", methods=["propfind", "MKCOL", "VERSION-CONTROL"])
    @app.route("/dav", methods=["PROPFIND"])
    def files(path: str = "") -> tuple[int, str]:
        seen.append((app.request.method, path, app.request.read()))
        return 207, path

    client = make_client(app, validate=False)
    asked = [("PROPFIND", "/dav/"), ("PROPFIND", "/dav/a/b"), ("VERSION-CONTROL", "/dav/a")]
    for method, target in asked:
        assert client.request(method, target, content=b"<all/>").status_code == 207
    assert seen == [(method, target.removeprefix("/dav/"), b"<all/>") for method, target in asked]
    refused = client.request("MOVE", "/dav/a")
    assert (refused.status_code, refused.headers["allow"]) == (
        405,
        "MKCOL, OPTIONS, PROPFIND, VERSION-CONTROL",
    )


@pytest.mark.parametrize("path", SAYS_METHOD)
def test_options_gets_a_response_for_a_handler_that_does_not_declare_it(
    make_client: MakeClient, path: str
) -> None:
    client = make_client(SaysMethod())
    answer = client.options(path)
    assert (answer.status_code, answer.headers["allow"], answer.content) == (204, SIX, b"")
    assert client.options("/stated").text == "OPTIONS"


def test_default_methods_of_handlers_are_a_setting(make_client: MakeClient) -> None:
    class Reads(App):
        def index(self) -> str:
            return "read"

        @post
        def write(self) -> str:
            return "written"

        async def ws_chat(self, ws: Any) -> None:
            await ws.accept()

    class Posts(Reads):
        pass

    reads = Reads(methods=["GET"])
    reads.inner = Posts()
    reads.posts = Posts(methods=("POST",))
    client = make_client(reads)
    answers = [client.request(method, "/").status_code for method in ("GET", "HEAD", "POST", "PUT")]
    assert answers == [200, 200, 405, 405]
    assert client.post("/write").text == "written"
    assert client.post("/").headers["allow"] == "GET, HEAD, OPTIONS"
    assert client.post("/inner/").status_code == 405
    statuses = [client.request(method, "/posts/").status_code for method in ("POST", "GET", "HEAD")]
    assert statuses == [200, 405, 405]


def test_an_app_without_handlers_sends_a_404_everywhere(make_client: MakeClient) -> None:
    client = make_client(App())
    assert [at(client, target).status_code for target in ("/", "/index", "/x/y")] == [404, 404, 404]


def test_a_path_may_have_thousands_of_segments(make_client: MakeClient) -> None:
    assert text(Shop(), make_client, "/join" + "/x" * 5000) == "|".join("x" * 5000)
    assert text(Shop(), make_client, "/greet" + "/x" * 5000) == 404


# -- index and default -----------------------------------------------------------------------------


def test_an_unknown_segment_is_handled_by_an_index_with_path_parameters(
    make_client: MakeClient,
) -> None:
    class Blog(App):
        def index(self, slug: str = "home") -> str:
            return f"post {slug}"

        def about(self) -> str:
            return "about"

    client = make_client(Blog())
    answers = [at(client, target).text for target in ("/", "/hello", "/hello/", "/about", "/a%2Fb")]
    assert answers == ["post home", "post hello", "post hello", "about", "post a/b"]
    assert at(client, "/hello/surplus").status_code == 404


@pytest.mark.parametrize(
    ("name", "handler", "target", "answer"),
    [
        ("index", lambda self, *parts: f"{parts}", "/a/b/c", "('a', 'b', 'c')"),
        ("index", lambda self, *, page=1, **rest: f"{page}", "/2", 404),
        ("default", lambda self: "default", "/", "default"),
        ("default", lambda self: "default", "/x", 404),
    ],
)
def test_index_and_default_get_path_segments_as_parameters(
    make_client: MakeClient, name: str, handler: Any, target: str, answer: str | int
) -> None:
    assert text(type("Root", (App,), {name: handler})(), make_client, target) == answer


def test_default_handles_paths_that_no_other_handler_takes(make_client: MakeClient) -> None:
    class Root(App):
        def index(self, ignored: str = "") -> str:
            return "index"

        def known(self) -> str:
            return "known"

        def default(self, *segments: str) -> str:
            return "default " + "|".join(segments)

    client = make_client(Root())
    answers = [at(client, target).text for target in ("/", "/known", "/x", "/x/y/", "/a%2Fb")]
    assert answers == ["index", "known", "default x", "default x|y", "default a/b"]
    # A surplus segment of a handler that was found is 404: nothing else is tried.
    assert at(client, "/known/surplus").status_code == 404


def test_dots_and_empty_segments_do_not_reach_default(make_client: MakeClient) -> None:
    class Root(App):
        def default(self, *segments: str) -> str:
            return "default"

    client = make_client(Root())
    assert [
        at(client, target).status_code for target in ("//", "/a//b", "/../x", "/x/.", "/%2e%2e/x")
    ] == [404] * 5


# -- subtrees --------------------------------------------------------------------------------------


class Blog(App):
    def index(self) -> str:
        return "blog"

    def show(self, slug: str) -> str:
        return f"show {slug}"


class Inner(App):
    def index(self, number: int = 0) -> str:
        return f"inner {number}"


def tree() -> Any:
    root: Any = Shop()
    root.blog = Blog()
    root.blog.inner = Inner()
    root.blog.inner.deepest = Blog()
    return root


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        ("/", "shop"),
        ("/blog", "blog"),
        ("/blog/show/x", "show x"),
        ("/blog/inner", "inner 0"),
        ("/blog/inner/5", "inner 5"),
        ("/blog/inner/deepest/show/a%2Fb", "show a/b"),
        ("/blog/greet", 404),
        ("/blogshow/x", 404),
        ("/show/x", 404),
        ("/blog/inner/deepest/nothing", 404),
    ],
)
def test_an_app_in_an_attribute_handles_the_paths_below_it(
    make_client: MakeClient, target: str, answer: str | int
) -> None:
    assert text(tree(), make_client, target) == answer


def test_an_inner_application_precedes_a_method_of_the_same_name(make_client: MakeClient) -> None:
    class Root(App):
        def blog(self) -> str:
            return "method"

    root: Any = Root()
    root.blog = Blog()
    assert text(root, make_client, "/blog") == "blog"


def test_an_inner_application_in_a_private_attribute_has_no_urls(make_client: MakeClient) -> None:
    root: Any = App()
    root._blog = Blog()
    assert text(root, make_client, "/_blog") == 404


def test_an_app_may_refer_to_its_parent(make_client: MakeClient) -> None:
    root = tree()
    root.blog.parent = root
    assert text(root, make_client, "/blog/show/x") == "show x"
    assert text(root, make_client, "/blog/parent/greet") == 404


def test_an_inner_application_can_be_assigned_and_deleted_at_any_time(
    make_client: MakeClient,
) -> None:
    root: Any = tree()
    client = make_client(root)
    assert at(client, "/late/show/x").status_code == 404
    root.blog.late = Blog()
    assert at(client, "/blog/late/show/x").text == "show x"
    del root.blog.late
    assert at(client, "/blog/late/show/x").status_code == 404
    root.blog = None
    assert at(client, "/blog").status_code == 404


# -- what is routable ------------------------------------------------------------------------------


def untouchable(*_: object) -> str:
    raise AssertionError("a getter was run")


class Descriptor:
    def __get__(self, instance: object, owner: type) -> str:
        return untouchable() if instance is not None else "class"


class Callable:
    def __call__(self) -> str:
        return untouchable()


class Caching:
    """What cachetools makes of a function: no function, but bound as one."""

    def __init__(self, function: Any) -> None:
        functools.update_wrapper(self, function)
        self._function, self._results = function, dict[Any, Any]()

    def __call__(self, *arguments: Any) -> Any:
        return self._results.setdefault(arguments, self._function(*arguments))

    def __get__(self, instance: object, owner: type) -> Any:
        return MethodType(self, instance)


class SlottedCaching(Caching):
    """What async_lru makes of a function: its ``__wrapped__`` is a slot."""

    __slots__ = ("__wrapped__",)


class Everything(App):
    """One of each kind of attribute. What is routable answers its name; the rest must never run."""

    constant = "constant"
    mapping: ClassVar[dict[str, str]] = {"x": "y"}
    nothing = None
    instance = Callable()
    descriptor = Descriptor()
    module = sys
    builtin = len
    prop = property(untouchable)
    cached = functools.cached_property(untouchable)

    class Nested:
        def __init__(self) -> None:
            untouchable()

        def method(self) -> str:
            return untouchable()

    def method(self) -> str:
        return "method"

    async def coroutine(self) -> str:
        return "coroutine"

    def _private(self) -> str:
        return untouchable()

    def __dunder(self) -> str:
        return untouchable()

    async def ws_socket(self, ws: Any) -> str:
        return untouchable()

    @hidden
    def helper(self) -> str:
        return untouchable()

    @staticmethod
    def static() -> str:  # type: ignore[override]
        return "static"

    @classmethod
    def klass(cls) -> str:
        return "klass"

    @functools.lru_cache  # noqa: B019 - what is tested
    def cached_function(self) -> str:
        return "cached_function"

    def _half(self, name: str) -> str:
        return name

    @Caching
    def cached_by_others(self) -> str:
        return "cached_by_others"

    @SlottedCaching
    def cached_in_a_slot(self) -> str:
        return "cached_in_a_slot"

    partial_method = functools.partialmethod(_half, "partial_method")
    half: Any = functools.partial(lambda name: name, "half")
    if sys.version_info >= (3, 14):  # where Python binds a partial, too
        half = staticmethod(half)

    shorthand = lambda self: "shorthand"  # noqa: E731

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("_", "middleware")):
            raise AttributeError(name)
        return untouchable()


ROUTABLE = """
method coroutine static klass cached_function cached_by_others cached_in_a_slot partial_method half
shorthand
"""


@pytest.mark.parametrize("name", ROUTABLE.split())
def test_author_defined_methods_are_routable(make_client: MakeClient, name: str) -> None:
    assert text(Everything(), make_client, f"/{name}") == name


def test_a_singledispatchmethod_dispatches_on_what_was_bound(make_client: MakeClient) -> None:
    class Root(App):
        @functools.singledispatchmethod
        def show(self, value: int | str) -> str:
            return "other"

        @show.register
        def _(self, value: int) -> str:
            return f"int {value}"

        @show.register
        def _(self, value: str) -> str:
            return f"str {value}"

    client = make_client(Root())
    assert [at(client, target).text for target in ("/show/5", "/show/x")] == ["int 5", "str x"]


HIDDEN_NAMES = """
constant mapping nothing instance descriptor module builtin prop cached Nested Nested/method
_private _Everything__dunder __dunder ws_socket helper _half unknown __init__ __class__ __call__
__dict__ _micropie __getattr__
"""


@pytest.mark.parametrize("name", HIDDEN_NAMES.split())
def test_other_attributes_are_not_routable_and_no_property_is_called(
    make_client: MakeClient, name: str
) -> None:
    client = make_client(Everything())
    assert [at(client, f"/{name}{more}").status_code for more in ("", "/", "/x")] == [404, 404, 404]


@pytest.mark.parametrize("name", sorted(name for name in dir(App) if not name.startswith("__")))
def test_methods_of_app_are_not_routable(make_client: MakeClient, name: str) -> None:
    assert text(Shop(), make_client, f"/{name}") == 404


def test_an_author_s_lifespan_is_not_routable(make_client: MakeClient) -> None:
    @asynccontextmanager
    async def lifespan(*_: object) -> Any:
        yield

    assigned: Any = App()
    assigned.lifespan = lifespan
    defined = type("Root", (App,), {"lifespan": lifespan})()
    assert [text(app, make_client, "/lifespan") for app in (assigned, defined)] == [404, 404]


@pytest.mark.parametrize(
    "name", ["get", "post", "put", "patch", "delete", "route", "error", "render", "url_for"]
)
def test_an_overridden_method_of_app_is_a_handler(make_client: MakeClient, name: str) -> None:
    root = type("Root", (App,), {name: lambda self, key="": f"mine {key}"})()
    assert text(root, make_client, f"/{name}/5") == "mine 5"


@pytest.mark.parametrize("name", ["delete", "get"])
def test_module_level_decorators_work_beside_a_handler_of_their_name(
    make_client: MakeClient, name: str
) -> None:
    class Root(App):
        @get("/explicit")
        def explicit(self) -> str:
            return "explicit"

    setattr(Root, name, lambda self: "mine")
    client = make_client(Root())
    assert [at(client, target).text for target in ("/explicit", f"/{name}")] == ["explicit", "mine"]


RESERVED = """
request response state middlewares ws_middlewares startup_handlers shutdown_handlers
"""


@pytest.mark.parametrize("name", RESERVED.split())
def test_a_method_that_would_hide_a_framework_method_is_refused(name: str) -> None:
    with pytest.raises(SetupError, match=rf'{name}.*@route\("/{name}"\)'):
        type("Root", (App,), {name: lambda self: "mine"})


@pytest.mark.parametrize("name", ["request", "response"])
def test_a_mixin_that_would_hide_a_framework_method_is_refused(name: str) -> None:
    mixin = type("Mixin", (), {name: lambda self: "mine"})
    with pytest.raises(SetupError, match=name):
        set_up(type("Root", (mixin, App), {})())


def test_a_reserved_name_may_be_declared_as_a_path(make_client: MakeClient) -> None:
    class Root(App):
        @route("/request")
        def show_request(self) -> str:
            return self.request.path

    assert text(Root(), make_client, "/request") == "/request"


def test_mixins_of_the_standard_library_are_not_routable(make_client: MakeClient) -> None:
    class Root(App, threading.Thread, UserDict):  # type: ignore[type-arg, misc]
        def __init__(self) -> None:
            self.data = {"x": "y"}

        def index(self) -> str:
            return "index"

    client = make_client(Root())
    names = {
        name
        for name in (*dir(UserDict), *dir(threading.Thread), "data")
        if not name.startswith("_")
    }
    assert {at(client, f"/{name}").status_code for name in names} == {404}
    assert at(client, "/").text == "index"


def test_an_app_in_a_file_named_as_a_module_of_the_library_is_routable(
    make_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "from micropie import App\n\nclass Root(App):\n    def index(self):\n        return 'turtles'\n"
    (tmp_path / "turtle.py").write_text(source)
    spec = importlib.util.spec_from_file_location("turtle", tmp_path / "turtle.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "turtle", module)
    spec.loader.exec_module(module)
    assert text(module.Root(), make_client, "/") == "turtles"


def test_only_an_installed_package_s_own_applications_handle_requests(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = made_module("installed_shop")
    installed.__file__ = f"{sysconfig.get_path('purelib')}/installed_shop.py"
    monkeypatch.setitem(sys.modules, "installed_shop", installed)
    source = """
from micropie import App

class Pages:
    def page(self):
        return "page"

class Shop(Pages, App):
    pass
"""
    exec(source, vars(installed))

    class Root(installed.Pages, App):  # type: ignore[misc, name-defined]
        def index(self) -> str:
            return "index"

    assert text(installed.Shop(), make_client, "/page") == "page"
    client = make_client(Root())
    assert (at(client, "/").text, at(client, "/page").status_code) == ("index", 404)


def test_inherited_handlers_are_routable_and_overrides_replace_them(
    make_client: MakeClient,
) -> None:
    class Child(Shop):
        def index(self) -> str:
            return "child"

    client = make_client(Child())
    assert [at(client, target).text for target in ("/", "/greet/x")] == ["child", "x ?"]


@pytest.mark.parametrize("replacement", [None, 5, property(untouchable), hidden(untouchable)])
def test_a_subclass_may_remove_a_handler(make_client: MakeClient, replacement: Any) -> None:
    child = type("Child", (Shop,), {"greet": replacement})
    assert text(child(), make_client, "/greet") == 404


# -- the instance's own functions ------------------------------------------------------------------


def test_decorated_functions_assigned_to_an_instance_are_routable(
    make_client: MakeClient,
) -> None:
    class Root(App):
        def __init__(self) -> None:
            super().__init__()
            self.plain = route()(lambda name="x": f"plain {name}")
            self.bound = route()(functools.partial(self._bound))
            self.partial = route()(functools.partial(self._bound, "partial"))
            self.exists = os.path.exists
            self.helper = lambda: "helper"
            self.number = 5
            self.klass = Shop
            self.thing = Callable()
            self._secret = lambda: "secret"
            self.ws_chat = self._chat

        def _bound(self, name: str = "y") -> str:
            return f"bound {name}"

        async def _chat(self, ws: Any) -> None:
            raise AssertionError("reached by HTTP")

    client = make_client(Root())
    targets = {
        "/plain/a": "plain a",
        "/bound": "bound y",
        "/bound/z": "bound z",
        "/partial": "bound partial",
    }
    assert {target: at(client, target).text for target in targets} == targets
    names = ("number", "klass", "thing", "_secret", "ws_chat", "exists?path=/etc/passwd", "helper")
    assert [at(client, f"/{name}").status_code for name in names] == [404] * 7


def test_functions_assigned_after_the_first_request_are_routable(make_client: MakeClient) -> None:
    app: Any = Shop()
    client = make_client(app)
    assert at(client, "/late").status_code == 404
    app.late = route()(lambda: "first")
    assert at(client, "/late").text == "first"
    app.late = route()(lambda: "second")
    assert at(client, "/late").text == "second"
    app.late = "no function"
    assert at(client, "/late").status_code == 404
    app.late = route()(lambda: "third")
    del app.late
    assert at(client, "/late").status_code == 404


@pytest.mark.parametrize("kind", [App, Shop])
def test_lists_and_backends_assigned_after_the_first_request_are_used(
    make_client: MakeClient, kind: type[App]
) -> None:
    def refused(request: Request) -> Iterator[object]:
        yield 403, "no"

    app, backend = kind(), InMemorySessionBackend()

    @app.get("/page")
    def page(request: Request) -> str:
        request.session["seen"] = True
        return ", ".join(request.session)

    client = make_client(app)
    assert at(client, "/page").text == "seen"
    app.session_backend = backend
    assert at(client, "/page").text == "seen"
    assert len(backend._sessions) == 1
    app.middlewares = [refused]
    assert at(client, "/page").status_code == 403


def test_attributes_that_are_no_routes_may_change_in_each_request(
    make_client: MakeClient,
) -> None:
    class Root(App):
        @functools.cached_property
        def _total(self) -> int:
            return 5

        def index(self) -> str:
            total = str(self._total)
            del self._total
            self.notify = lambda: total
            return total

        def hidden(self) -> str:
            return "from the class"

    app: Any = Root()
    app.hidden = None
    client = make_client(app)
    assert at(client, "/").text == "5"
    site = app._micropie.site
    assert at(client, "/").text == "5"
    assert app._micropie.site is site
    assert at(client, "/hidden").status_code == 404
    del app.hidden
    assert at(client, "/hidden").text == "from the class"


def test_a_late_function_with_only_a_check_is_refused(make_client: MakeClient) -> None:
    app: Any = Shop()
    client = make_client(app)
    assert at(client, "/greet").status_code == 200
    app.late = requires(lambda request: True)(lambda: "never")
    with pytest.raises(SetupError, match=r"self\.late of Shop: .* has no effect"):
        app._micropie.compiled()


def test_an_attribute_of_the_instance_hides_the_class_method(make_client: MakeClient) -> None:
    app: Any = Shop()
    app.greet = None  # as Python itself has it: ``app.greet()`` can't be called any more
    assert text(app, make_client, "/greet") == 404
    app.greet = route()(lambda: "own")
    assert text(app, make_client, "/greet") == "own"
    assert text(app, make_client, "/greet/Alice") == 404


def test_an_attribute_name_that_is_not_an_identifier_is_its_path(make_client: MakeClient) -> None:
    app = App()
    setattr(app, "robots.txt", route()(lambda: "robots"))
    setattr(app, "terms-of-use", route()(lambda: "terms"))
    setattr(app, "a/b", route()(lambda: "slash"))
    client = make_client(app)
    answers = [at(client, target).text for target in ("/robots.txt", "/terms-of-use", "/a%2Fb")]
    assert answers == ["robots", "terms", "slash"]


# -- explicit routes -------------------------------------------------------------------------------


class Users(App):
    @route("/users/<number:int>", methods=["GET"])
    def user(self, number: int) -> str:
        return f"user {number!r}"

    @route("/users/<name>", methods=["GET"])
    def named(self, name: str) -> str:
        return f"named {name!r}"

    @get("/users/me")
    def me(self) -> str:
        return "me"

    @post("/users")
    def create(self) -> str:
        return "created"

    @put("/users/<number:int>/avatar")
    def put_avatar(self, number: int) -> str:
        return f"put {number}"

    @delete("/users/<number:int>/avatar")
    def delete_avatar(self, number: int) -> str:
        return f"delete {number}"

    @patch("/users/<number:int>/avatar/")
    def patch_avatar(self, number: int) -> str:
        return f"patch {number}"

    @route("/any/<path:path>")
    def anything(self, path: str) -> str:
        return f"{self.request.method} {path}"

    @get("/first")
    @get("/second/")
    def twice(self) -> str:
        return "twice"

    def users(self) -> str:
        return "users"


@pytest.mark.parametrize(
    ("method", "target", "answer"),
    [
        ("GET", "/users/5", "user 5"),
        ("GET", "/users/-5/", "user -5"),
        ("GET", "/users/me", "me"),
        ("GET", "/users/me/", "me"),
        ("GET", "/users/Zo%C3%AB", "named 'Zoë'"),
        ("GET", "/users/a%2Fb", "named 'a/b'"),
        ("GET", "/users/%31", "user 1"),
        ("POST", "/users", "created"),
        ("PUT", "/users/5/avatar", "put 5"),
        ("DELETE", "/users/5/avatar", "delete 5"),
        ("PATCH", "/users/5/avatar", "patch 5"),
        ("DELETE", "/any/x/y", "DELETE x/y"),
        ("LOCK", "/any/x/y", 405),
        ("GET", "/any/a%2Fb", "GET a/b"),
        ("GET", "/first", "twice"),
        ("GET", "/second", "twice"),
        ("GET", "/any", 404),
        ("GET", "/users/5/nothing", 404),
        ("GET", "/users//avatar", 404),
        ("GET", "/users/..", 404),
        ("GET", "/user", 404),
        ("GET", "/create", 404),
        ("GET", "/anything", 404),
        ("GET", "/users/5/avatar", 405),
        ("LOCK", "/users/me", 405),
    ],
)
def test_explicit_routes_handle_their_paths_and_methods(
    make_client: MakeClient, method: str, target: str, answer: str | int
) -> None:
    client = make_client(Users(), validate=method != "LOCK")
    response = at(client, target, method)
    assert (response.text if response.status_code == 200 else response.status_code) == answer


def test_a_method_s_name_handles_the_methods_that_no_explicit_route_takes(
    make_client: MakeClient,
) -> None:
    client = make_client(Users())
    assert [at(client, "/users", method).text for method in ("POST", "GET")] == ["created", "users"]


def test_one_path_may_have_other_wildcard_names_for_other_methods(make_client: MakeClient) -> None:
    class Root(App):
        @get("/things/<number:int>")
        def show(self, number: int) -> str:
            return f"show {number}"

        @post("/things/<key:int>")
        def change(self, key: int) -> str:
            return f"change {key}"

    client = make_client(Root())
    answers = [at(client, "/things/5", method).text for method in ("GET", "POST")]
    assert answers == ["show 5", "change 5"]


def test_functions_can_be_registered_on_the_application(make_client: MakeClient) -> None:
    app = App()

    @app.get("/hello/<name>")
    def hello(name: str) -> str:
        return f"hello {name}"

    @app.post("/hello/<name>")
    async def post_hello(name: str, greeting: str = "hi") -> str:
        return f"{greeting} {name}"

    for method in ("put", "patch", "delete"):
        getattr(app, method)(f"/{method}")(lambda method=method: method)

    @app.route("/both", methods=["get", "Post"])
    def both() -> str:
        return app.request.method

    @app.get("/")
    def home() -> str:
        return "home"

    client = make_client(app)
    assert client.get("/hello/Bob").text == "hello Bob"
    assert client.post("/hello/Bob?greeting=yo").text == "yo Bob"
    statuses = [at(client, f"/{m}", m.upper()).status_code for m in ("put", "patch", "delete")]
    assert statuses == [200] * 3
    assert [client.get("/both").text, client.post("/both").text] == ["GET", "POST"]
    assert client.put("/both").status_code == 405
    assert client.get("/").text == "home"
    assert at(client, "/hello").status_code == 404  # a plain function is not routed by its name
    assert hello("x") == "hello x"  # and stays what it was


def test_functions_registered_after_the_first_request_are_routable(make_client: MakeClient) -> None:
    app = App()
    client = make_client(app)
    assert client.get("/late").status_code == 404
    app.get("/late")(lambda: "late")
    assert client.get("/late").text == "late"


class Adder:
    def __call__(self, number: int) -> str:
        return f"sum {number + 1}"


@pytest.mark.parametrize(
    "function", [functools.partial(lambda word, number: f"{word} {number + 1}", "sum"), Adder()]
)
def test_any_callable_may_be_registered(make_client: MakeClient, function: Any) -> None:
    app = App()
    app.get("/sum/<number:int>", name="sum")(function)
    assert text(app, make_client, "/sum/5") == "sum 6"
    assert app.url_for("sum", number=5) == "/sum/5"


@pytest.mark.parametrize("function", [None, 5, "text"])
def test_an_object_that_cannot_be_called_is_refused_immediately(function: Any) -> None:
    with pytest.raises(SetupError, match="function"):
        App().get("/x")(function)


def test_explicit_routes_of_an_inner_application_are_below_it(make_client: MakeClient) -> None:
    root: Any = App()
    root.members = Users()
    root.members.get("/plain")(lambda: "plain")
    client = make_client(root)
    answers = [
        at(client, target).text
        for target in ("/members/users/5", "/members/plain", "/members/any/x/y")
    ]
    assert answers == ["user 5", "plain", "GET x/y"]
    assert at(client, "/users/5").status_code == 404


@pytest.mark.parametrize(
    "kind",
    [staticmethod, classmethod, functools.partialmethod, functools.singledispatchmethod],
)
def test_decorators_may_be_above_static_and_class_methods(
    make_client: MakeClient, kind: Any
) -> None:
    def function(self: object = None, value: str = "") -> str:
        return "function"

    names = {"page": get("/explicit")(kind(function)), "secret": hidden(kind(function))}
    client = make_client(type("Root", (App,), names)())
    answers = {"/explicit": 200, "/page": 404, "/secret": 404}
    assert {target: at(client, target).status_code for target in answers} == answers


def test_a_decorated_handler_keeps_its_route_and_its_signature(make_client: MakeClient) -> None:
    def logged(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return f"logged {function(*args, **kwargs)}"

        return wrapper

    class Root(App):
        @logged
        @get("/inner/<n:int>")
        def inner(self, n: int) -> str:
            return f"inner {n + 1}"

        @get("/outer/<n:int>")
        @logged
        def outer(self, n: int) -> str:
            return f"outer {n + 1}"

    client = make_client(Root())
    answers = [at(client, target).text for target in ("/inner/1", "/outer/1")]
    assert answers == ["logged inner 2", "logged outer 2"]


def test_an_override_does_not_change_the_routes_of_its_parent(make_client: MakeClient) -> None:
    class Parent(App):
        @get("/a")
        def page(self) -> str:
            return "parent"

    class Child(Parent):
        page = post("/b")(Parent.page)

    assert text(Parent(), make_client, "/a") == "parent"
    # one function: its marks are its own
    assert text(Parent(), make_client, "/b", "POST") in (404, "parent")
    assert text(Child(), make_client, "/b", "POST") == "parent"


# -- methods ---------------------------------------------------------------------------------------


def test_head_is_routed_to_a_handler_that_declares_it(make_client: MakeClient) -> None:
    app = App()
    app.get("/x")(lambda: "get")
    app.route("/x", methods=["HEAD"])(lambda: "a longer answer")
    assert make_client(app).head("/x").headers["content-length"] == "15"


def test_a_handler_for_every_method_may_exist_beside_one_for_get(make_client: MakeClient) -> None:
    app = App()
    app.get("/x")(lambda: "get")
    app.route("/x")(lambda: "any")
    client = make_client(app)
    answers = [client.request(method, "/x").text for method in ("GET", "POST", "OPTIONS")]
    assert answers == ["get", "any", ""]
    assert client.head("/x").headers["content-length"] == "3"


def test_a_client_cannot_override_the_method(make_client: MakeClient) -> None:
    client = make_client(Users())
    headers = {"X-HTTP-Method-Override": "PUT"}
    found = client.post("/users?_method=PUT", data={"_method": "PUT"}, headers=headers).text
    assert found == "created"


# -- conflicts and mistakes, found at set-up -------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (get("/a"), get("/a")),
        (get("/a"), get("/a/")),
        (get("/a"), route("/a", methods=["POST", "GET"])),
        (route("/a"), route("/a")),
        (get("/a/<x>"), get("/a/<y>")),
        (get("/a/<x:int>"), get("/a/<y:int>")),
        (get("/a/<x:re:[ab]>"), get("/a/<x:re:[ab]>")),
    ],
)
def test_two_handlers_of_one_path_and_method_conflict(first: Any, second: Any) -> None:
    class Root(App):
        @first  # type: ignore[untyped-decorator]
        def one(self, **values: str) -> None: ...

        @second  # type: ignore[untyped-decorator]
        def two(self, **values: str) -> None: ...

    with pytest.raises(SetupError, match=r"(?s)one.*two.* handle .*/a"):
        set_up(Root())


def test_a_conflict_with_an_inner_application_is_detected() -> None:
    root: Any = App()
    root.inner = Users()
    root.get("/inner/users/me")(lambda: None)
    with pytest.raises(SetupError, match="/inner/users/me"):
        set_up(root)


def test_two_routes_with_the_same_name_conflict() -> None:
    app = App()
    app.get("/a", name="same")(lambda: None)
    app.get("/b", name="same")(lambda: None)
    with pytest.raises(SetupError, match="'same': /a and /b; give one of them"):
        set_up(app)


def test_a_wildcard_may_fill_star_star_kwargs(make_client: MakeClient) -> None:
    app = App()
    app.get("/x/<a>/<b:int>")(lambda **values: values)
    assert make_client(app).get("/x/1/2?c=3").json() == {"a": "1", "b": 2, "c": "3"}


# -- mounts: root_path and SCRIPT_NAME -------------------------------------------------------------


def test_the_mount_may_be_deep_and_escaped(make_client: MakeClient) -> None:
    client = make_client(Shop(), root_path="/a b/ü")
    assert at(client, "/a%20b/%C3%BC/join/x%2Fy").text == "x/y"
    assert at(client, "/a%20b/%c3%bc").text == "shop"


def test_links_begin_with_the_path_of_the_session_s_cookie(make_client: MakeClient) -> None:
    app = App(secret_key="k" * 40)

    @app.get("/")
    def home(request: Request) -> str:
        request.session["seen"] = True
        return app.url_for("home")

    answer = make_client(app, root_path="/@a;b").get("/")
    assert answer.text == "/@a%3Bb/"
    assert "; Path=/@a%3Bb;" in answer.headers["set-cookie"]


@pytest.mark.parametrize("asgi_world", ["asyncio", "trio"])
def test_a_path_that_only_begins_like_the_mount_is_not_below_it(
    connect: MakeClient, asgi_world: str
) -> None:
    client = connect(Shop(), asgi_world, root_path="/mx")
    statuses = [at(client, target).status_code for target in ("/mxgreet/Alice", "/mx%2Fgreet")]
    assert statuses == [404, 400]


@pytest.mark.parametrize("asgi_world", ["asyncio", "trio"])
def test_a_server_may_have_removed_the_mount_s_prefix(connect: MakeClient, asgi_world: str) -> None:
    client = connect(Shop(), asgi_world, root_path="/mx/")
    assert [at(client, target).text for target in ("/greet/A%2FB", "/")] == ["A/B ?", "shop"]


# -- url_for ---------------------------------------------------------------------------------------


class Links(App):
    @get("/things/<number:int>", name="thing")
    def show_thing(self, number: int) -> str:
        return f"thing {number}"

    @get("/files/<path:path>/raw")
    def raw(self, path: str) -> str:
        return f"raw {path}"

    @get("/re/<word:re:[a-z/]+>")
    def word(self, word: str) -> str:
        return f"word {word}"

    def greet(self, name: str = "", age: str = "") -> str:
        return f"{name} {age}"

    def index(self, slug: str = "") -> str:
        return f"index {slug}"

    @hidden
    def helper(self) -> None: ...

    def all_links(self) -> Any:
        makers: list[App | Request] = [self, self.request]
        return [
            [one.url_for("greet", "é", age=3), one.absolute_url_for("greet", "é", age=3)]
            for one in makers
        ]

    async def ws_links(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_json(
            [ws.request.url_for("thing", number=1), self.absolute_url_for("thing", number=1)]
        )


def links(base_url: str | None = None) -> Any:
    root: Any = Links(base_url=base_url)
    root.blog = Links()
    root.blog.inner = Links()
    return root


@pytest.mark.parametrize(
    ("name", "segments", "values", "url"),
    [
        ("index", (), {}, "/"),
        ("index", ("hello",), {}, "/hello"),
        ("greet", (), {}, "/greet"),
        ("greet", ("Alice",), {"age": 3}, "/greet/Alice?age=3"),
        ("greet", ("a/b c?ü",), {}, "/greet/a%2Fb%20c%3F%C3%BC"),
        ("greet", (), {"tag": ["a", "b"], "q": "x&y"}, "/greet?tag=a&tag=b&q=x%26y"),
        ("thing", (), {"number": 5}, "/things/5"),
        ("thing", (), {"number": 5, "page": 2}, "/things/5?page=2"),
        ("raw", (), {"path": "a/b c"}, "/files/a/b%20c/raw"),
        ("blog.index", (), {}, "/blog"),
        ("blog.greet", ("x",), {}, "/blog/greet/x"),
        ("blog.thing", (), {"number": 5}, "/blog/things/5"),
        ("blog.inner.index", (), {}, "/blog/inner"),
        ("blog.inner.raw", (), {"path": "x"}, "/blog/inner/files/x/raw"),
    ],
)
def test_url_for_builds_urls(
    name: str, segments: tuple[str, ...], values: dict[str, Any], url: str
) -> None:
    assert links().url_for(name, *segments, **values) == url


@pytest.mark.parametrize(
    "name", ["", "nothing", "helper", "link.", "blog", "_x", "show_thing", "request"]
)
def test_url_for_an_unknown_name_raises_an_error(name: str) -> None:
    with pytest.raises(LookupError, match="greet"):
        links().url_for(name)


@pytest.mark.parametrize(
    ("name", "segments", "values"),
    [
        ("thing", (), {}),
        ("thing", (5,), {}),
        ("thing", (), {"number": "x"}),
        ("thing", (), {"number": ""}),
        ("raw", (), {"path": ""}),
        ("raw", (), {"path": "../secret"}),
        ("raw", (), {"path": "/x"}),
        ("raw", (), {"path": "a//b"}),
        ("word", (), {"word": "A"}),
        ("word", (), {"word": ".."}),
        ("greet", ("",), {}),
        ("greet", ("..",), {}),
        ("greet", (".",), {}),
        ("greet", ("../x",), {}),
    ],
)
def test_url_for_refuses_values_that_the_route_would_not_match(
    name: str, segments: tuple[object, ...], values: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=name):
        links().url_for(name, *segments, **values)


def test_url_for_lists_missing_wildcards() -> None:
    with pytest.raises(ValueError, match="number="):
        links().url_for("thing")


@pytest.mark.parametrize(
    ("name", "values", "answer"),
    [
        ("greet", {"name": "a/b&c=d"}, "a/b&c=d "),
        ("thing", {"number": -7}, "thing -7"),
        ("raw", {"path": "a/b%2Fc/é"}, "raw a/b%2Fc/é"),
        ("word", {"word": "a/b"}, "word a/b"),
        ("blog.inner.thing", {"number": 1}, "thing 1"),
        ("index", {"slug": "x"}, "index x"),
    ],
)
def test_a_url_from_url_for_is_routed_to_the_handler(
    make_client: MakeClient, name: str, values: dict[str, Any], answer: str
) -> None:
    app = links()
    assert text(app, make_client, app.url_for(name, **values)) == answer


@pytest.mark.parametrize("root_path", ["", "/a b"])
@pytest.mark.parametrize("inner", ["", "/blog", "/blog/inner"])
def test_a_request_and_its_application_build_the_same_links(
    make_client: MakeClient, root_path: str, inner: str
) -> None:
    client = make_client(links(), root_path=root_path, base_url="https://example.com:8443")
    path = f"{quote(root_path)}{inner}/greet/%C3%A9?age=3"
    found = client.get(f"{inner}/all_links").json()
    assert found == [[path, f"https://example.com:8443{path}"]] * 2


def test_absolute_urls_begin_with_the_base_url_from_a_trusted_proxy(
    make_client: MakeClient,
) -> None:
    app = links()
    app.middlewares.append(ProxyHeaders(trusted=["127.0.0.1"], host=True))
    headers = {
        "X-Forwarded-For": "192.0.2.7",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "shop.example",
    }
    found = make_client(app).get("/blog/all_links", headers=headers).json()
    assert found[0][1] == found[1][1] == "https://shop.example/blog/greet/%C3%A9?age=3"


@pytest.mark.parametrize("slash", ["", "/"])
def test_absolute_urls_begin_with_the_base_url_setting(make_client: MakeClient, slash: str) -> None:
    """Also where the client states another host: what is mailed must not lead to it."""
    app = links(f"https://example.com/shop{slash}")
    app.blog.other = Links(base_url="http://other.example")
    client = make_client(app, root_path="/p")
    found = client.get("/blog/all_links", headers={"Host": "evil.example"}).json()
    assert (
        found
        == [["/p/blog/greet/%C3%A9?age=3", "https://example.com/shop/blog/greet/%C3%A9?age=3"]] * 2
    )
    # as a job does
    assert app.absolute_url_for("thing", number=1) == "https://example.com/shop/things/1"
    assert app.blog.absolute_url_for("thing", number=1) == "https://example.com/shop/blog/things/1"
    assert app.blog.other.absolute_url_for("index") == "http://other.example/blog/other/"


def test_the_absolute_url_of_a_websocket_has_a_websocket_s_scheme() -> None:
    app = links("https://example.com/http")
    app.blog.other = Links(base_url="http://other.example")
    app.api = Links(host="api.example.com")
    assert app.absolute_url_for("ws_links") == "wss://example.com/http/links"
    assert app.url_for("api.ws_links") == "wss://api.example.com/http/links"
    assert app.blog.other.absolute_url_for("ws_links") == "ws://other.example/blog/other/links"
    assert app.url_for("ws_links") == "/links"


def test_without_a_request_only_the_setting_provides_the_host() -> None:
    with pytest.raises(LookupError, match=r"write App\(base_url=...\)"):
        links().absolute_url_for("index")


@pytest.mark.parametrize("wrong", [
    "example.com", "//example.com", "ftp://example.com", "https://", "https://a b", "https://a?q",
    "https://a/#b", 1,
])  # fmt: skip
def test_an_invalid_base_url_raises_an_error(wrong: Any) -> None:
    with pytest.raises(SetupError, match=r"App\(base_url=...\) takes the beginning of all URLs"):
        App(base_url=wrong)


@pytest.mark.parametrize("world", ["asyncio"])
def test_a_websocket_builds_links(make_client: MakeClient) -> None:
    with make_client(links()).websocket("/blog/links") as ws:
        assert ws.receive_json() == ["/blog/things/1", "http://testserver/blog/things/1"]


def test_a_function_builds_links_with_its_request(make_client: MakeClient) -> None:
    root, inner = App(), App()
    root.get("/home")(lambda: "home")
    inner.get("/here", name="here")(lambda: " ".join(map(request.url_for, ("here", "/<lambda>"))))
    root.inner = inner
    assert text(root, make_client, "/inner/here") == "/inner/here /home"


# -- R78 -------------------------------------------------------------------------------------------

FUZZ = """
__class__ __dict__ __init__ __init_subclass__ __subclasshook__ __module__ __doc__ __getattribute__ __setattr__ __new__
__reduce__ __reduce_ex__ __globals__ __builtins__ __import__ __mro__ __subclasses__ __bases__ __weakref__ __slots__
__call__ __await__ __aenter__ __aexit__ __aiter__ __anext__ __enter__ __exit__ __iter__ __next__ __len__ __getitem__
_x _micropie _micropie_asgi _micropie_wsgi _render_template _redirect
_asgi_app_http _parse_cookies _parse_multipart _send_response run request response session session_backend state scope
environ app wsgi asgi wsgi_shutdown compiled lifecycle open_lifespan lifespan middlewares ws_middlewares route get post
put patch delete error url_for render startup_handlers shutdown_handlers files query_params body_params path_params
\uff49ndex \uff53ecret \u017fecret SECRET Secret secret. .secret secret%00x a.b index.html self.secret secret.__call__ default.x
index.__globals__ request.session os sys eval exec open globals locals vars dir getattr setattr delattr type object
super print input compile breakpoint exit quit help copyright credits license memoryview bytearray id hash repr str int
float bool list dict set tuple map filter zip range enumerate sorted reversed min max sum any all abs round pow divmod
chr ord hex oct bin ascii format iter next callable isinstance issubclass hasattr property staticmethod classmethod
None True False NotImplemented Ellipsis lambda yield await async def class import from return raise try except finally
admin login logout debug config settings .env .git wp-admin phpmyadmin robots.txt favicon.ico static media uploads
ws_chat ws_ ws__ _ __ ___ - -- ~ * ** ; , : @ & = + $ ! ' ( ) [ ] { } | \\ ^ ` < > \u202esecret secret\u200b
se\u0301cret %5f%5fclass%5f%5f %5Fprivate prop cached Nested constant _private secret/ secret%2F secret%20 %09secret secret%0a 0
1 -1
"""


class Fuzzed(App):
    constant = 5
    prop = property(untouchable)
    cached = functools.cached_property(untouchable)
    secret_thing = Callable()

    class Nested:
        pass

    def _private(self) -> str:
        return untouchable()

    async def ws_chat(self, ws: Any) -> str:
        return untouchable()

    def public(self) -> str:
        return "public"

    def __getattr__(self, name: str) -> Any:
        return untouchable(name)


def test_R78_no_fuzzed_name_is_reachable(make_client: MakeClient) -> None:
    names = {*FUZZ.split(), *dir(App), *dir(Fuzzed), *dir(object())} - {"public"}
    assert len(names) >= 200
    client = make_client(Fuzzed())
    found = {name for name in names if at(client, f"/{name}").status_code not in (400, 404)}
    assert found == set()
    assert at(client, "/public").text == "public"


@pytest.mark.parametrize(
    "method", ["__init__", "index", "request", "compiled", "getattr", "GET ", "get"]
)
def test_R78_no_method_name_reaches_an_attribute(make_client: MakeClient, method: str) -> None:
    client = make_client(Users(), validate=False)
    assert at(client, "/users/me", method).status_code in (400, 405)


def test_an_inner_application_handles_its_own_unknown_paths_and_methods(
    make_client: MakeClient,
) -> None:
    class Guard(HttpMiddleware):
        def before_request(self, request: Any) -> Any:
            return {"status_code": 401, "body": "guarded"} if request.query("locked") else None

    class Blog(App):
        @get
        def only(self) -> str:
            return "only"

    class Site(App):
        blog = Blog()

    app = Site()
    app.blog.middlewares.append(Guard())
    app.blog.error(404)(lambda: "the blog's 404")
    app.blog.error(405)(lambda: "the blog's 405")
    client = make_client(app)
    seen = (client.get("/blog/nowhere").text, client.get("/nowhere").text)
    assert seen == ("the blog's 404", "404 Not Found")
    assert client.get("/blog/nowhere?locked=1").text == "guarded"
    assert client.post("/blog/only?locked=1").text == "guarded"
    refused = client.post("/blog/only")
    assert (refused.status_code, refused.text) == (405, "the blog's 405")
    assert refused.headers["allow"] == "GET, HEAD, OPTIONS"
    assert client.options("/blog/only").status_code == 204
    assert client.get("/blog/../%00").status_code in (400, 404)


@pytest.mark.parametrize("path", [
    "/rest/..%2F..%2Fetc%2Fpasswd", "/rest/a/b%2F..", "/one/..%2fx", "/x%2F..",
    "/files/..%2F..%2Fetc",
])  # fmt: skip
def test_R78_a_parent_directory_segment_is_never_an_argument(
    make_client: MakeClient, path: str
) -> None:
    class Root(App):
        def rest(self, *parts: str) -> list[str]:
            return [*parts]

        def one(self, name: str) -> str:
            return name

        def default(self, *parts: str) -> list[str]:
            return [*parts]

        @get("/v<name>")
        @get("/files/<name:path>")
        def version(self, name: str) -> str:
            return name

    client = make_client(Root())
    assert at(client, path).status_code == 404
    assert at(client, "/v..%2Fetc").json() == ["v../etc"]  # for ``version`` it would be "../etc"
    assert at(client, "/rest/a%2Fb/..c%2Fd..").json() == ["a/b", "..c/d.."]
    assert at(client, "/one/a..%2F...").text == "a../..."
    assert at(client, "/files/a%2Fb").text == "a/b"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/a/{x}", "brace"),
        ("/a}", "brace"),
        ("/a//b", "empty segment"),
        ("/a/./b", "segment '.', which clients resolve"),
        ("/a/..", "segment '..'"),
    ],
)
def test_a_path_that_would_never_match_is_refused(path: str, words: str) -> None:
    with pytest.raises(SetupError, match=words):
        App().get(path)


class Helper:
    """What no text converts to."""


def test_a_setup_error_names_the_handler() -> None:
    class Root(App):
        def connect(self, helper: Helper) -> None: ...

    class Selfless(App):
        def index() -> str:  # type: ignore[misc]
            return "x"

    with pytest.raises(SetupError, match=r"connect: .*@hidden"):
        Root()._micropie.compiled()
    with pytest.raises(SetupError, match="index has no parameter self"):
        Selfless()._micropie.compiled()
    app: Any = App()
    app.page = route()(functools.partial(odd))
    with pytest.raises(
        SetupError, match=r"^page: parameter 'thing': it is annotated with <class 'complex'>"
    ):
        app._micropie.compiled()


def odd(thing: complex) -> None: ...


@pytest.mark.parametrize(
    ("kind", "is_refused"),
    [
        (int, True),
        (int | None, True),
        (Annotated[int, Meta(ge=1)], True),
        (Annotated[int | None, Field(le=5)], True),
        (Annotated[int, Meta(ge=1)] | None, True),
        (list[int], False),
        # pydantic reads 1.0 as an int
        (Annotated[int, Strict()], False),
        (Annotated[int, BeforeValidator(abs)], False),
        (Annotated[int, BeforeValidator(abs)] | None, False),
        (Annotated[int | None, BeforeValidator(abs)], False),
        (int | str, False),
        (float, False),
        (Annotated[float | None, Meta(ge=1)], False),
    ],
)
def test_a_float_in_the_path_is_no_int(kind: Any, is_refused: bool) -> None:
    app = App()

    def page(x: Any) -> str:
        return str(x)

    page.__annotations__ = {"x": kind}
    app.get("/<x:float>")(page)
    if is_refused:
        with pytest.raises(SetupError, match=r"page has the parameter x: int: write <x:int>, "):
            app._micropie.compiled()
    else:
        app._micropie.compiled()


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        (UploadFile, ""),
        (list[UploadFile], ""),
        (Annotated[str, Form()], r", or Annotated\[..., Query\(\)\] to read the query"),
    ],
)
def test_a_get_handler_that_needs_a_body_is_refused(kind: Any, advice: str) -> None:
    """A query has no files."""
    app = App()

    def page(x: Any) -> None: ...

    page.__annotations__["x"] = kind
    app.get("/")(page)
    with pytest.raises(SetupError, match=rf"has no body: write @post above the handler{advice}$"):
        app._micropie.compiled()


def test_an_escape_in_a_route_is_refused() -> None:
    app = App()
    for path in ("/caf%C3%A9", "/caf%c3%a9/<name>"):
        with pytest.raises(SetupError, match="has an escape: write the character itself, such as"):
            app.get(path)
    app.get("/100%")
    app.get("/<name:re:%41>")


def test_a_link_has_at_most_as_many_segments_as_the_handler_takes() -> None:
    class Root(App):
        def greet(self, name: str, *, title: str = "") -> str:
            return name

        def many(self, *names: str) -> str:
            return "".join(names)

        def index(self) -> str:
            return "index"

    app = Root()
    with TestClient(app) as client:
        client.get("/")
        assert app.url_for("greet", "a") == "/greet/a"
        assert app.url_for("many", "a", "b") == "/many/a/b"
        for name, segments, most in (("greet", "ab", 1), ("index", "a", 0)):
            with pytest.raises(ValueError, match=f"takes at most {most} path segments, not "):
                app.url_for(name, *segments)
