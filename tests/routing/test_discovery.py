"""What becomes a URL: the methods that the author wrote, and functions below a route's decorator;
nothing else.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os.path
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from itsdangerous import Signer

from micropie import App, SetupError, get, hidden, post, route, websocket
from micropie._core.routing.discovery.marks import is_hidden
from micropie.cli.check import mistakes
from tests.support.clients import MakeClient
from tests.support.decorators import foreign, foreign_page


def without_wraps(function: Callable[..., Any]) -> Callable[..., Any]:
    def inner(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return inner


def later(function: Callable[..., Any]) -> Callable[..., Any]:
    def inner(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs) + ending

    if function.__name__ != "page":
        ending = ""
    return inner


class Mixin:
    def mixed_in(self) -> str:
        return "mixin"


class Root(App, Mixin, Signer):
    exists = os.path.exists
    page_of_others = foreign_page
    stated_of_others = route()(staticmethod(functools.partial(foreign_page)))

    def own(self) -> str:
        return "own"

    @foreign
    def decorated(self) -> str:
        return "decorated"

    @without_wraps
    @hidden
    def secret(self) -> str:
        return "secret"

    @foreign
    @without_wraps
    @hidden
    def deep_secret(self) -> str:
        return "secret"

    @hidden
    @foreign
    def upper_secret(self) -> str:
        return "secret"

    short = lambda self: "short"  # noqa: E731
    also = functools.partialmethod(own)

    @staticmethod
    def static_page() -> str:
        return "static"

    @get
    def got(self) -> str:
        return "got"

    @post("/written")
    def write(self) -> str:
        return "written"


HANDLERS = {
    "mixed_in": "mixin",
    "own": "own",
    "decorated": "decorated",
    "short": "short",
    "also": "own",
    "static_page": "static",
    "got": "got",
}
OTHERS = [
    "exists?path=/etc/passwd", "page_of_others", "secret", "deep_secret", "upper_secret",
    "sign?value=x", "unsign",
]  # fmt: skip


def test_public_methods_and_decorated_functions_become_urls(make_client: MakeClient) -> None:
    client = make_client(Root())
    assert {name: client.get(f"/{name}").text for name in HANDLERS} == HANDLERS
    assert client.get("/stated_of_others").text == "foreign"
    assert client.post("/written").text == "written"
    found = {name: client.get(f"/{name}").status_code for name in OTHERS}
    assert found == dict.fromkeys(OTHERS, 404)


def test_a_class_variable_that_a_decorator_never_set_is_ignored(make_client: MakeClient) -> None:
    class Late(App):
        @later
        def page(self) -> str:
            return "page"

    assert make_client(Late()).get("/page").status_code == 500  # NameError


def test_explicit_exposure_only_publishes_decorated_methods(make_client: MakeClient) -> None:
    class Inner(App):
        def public(self) -> str:
            return "inner"

    class Explicit(App):
        def index(self) -> str:
            return "index"

        def public(self) -> str:
            return "public"

        @route()
        def stated(self) -> str:
            return "stated"

        @get
        def got(self) -> str:
            return "got"

    app = Explicit(expose="explicit")
    app.inner = Inner()
    app.open = Inner(expose="public")
    client = make_client(app)
    paths = ["/", "/public", "/inner/public", "/stated", "/got", "/open/public"]
    assert [client.get(path).status_code for path in paths] == [404, 404, 404, 200, 200, 200]


def test_explicit_exposure_only_publishes_decorated_websockets(connect: MakeClient) -> None:
    class Explicit(App):
        async def ws_named(self, ws: Any) -> None:
            await ws.accept()

        @websocket("/stated")
        async def stated(self, ws: Any) -> None:
            await ws.accept()
            await ws.send_text("stated")

    client = connect(Explicit(expose="explicit"), "asyncio")
    with client.websocket("/stated") as ws:
        assert ws.receive_text() == "stated"
    assert client.get("/named", headers={"Upgrade": "websocket"}).status_code == 404


# What a class may have under a name.
KINDS: dict[str, Callable[[Any], Any]] = {
    "method": lambda function: function,
    "by name": get,
    "explicit": lambda function: get(f"/{function.owner}/<x>")(function),
    "hidden": hidden,
    "hidden route": lambda function: hidden(get(f"/{function.owner}")(function)),
    "socket": websocket,
    "static": staticmethod,
    "property": property,
    "nothing": lambda function: None,
    "of others": lambda function: os.path.exists,
}
TREES = st.lists(
    st.tuples(
        st.dictionaries(
            st.sampled_from(["pie", "tart", "get", "render"]), st.sampled_from([*KINDS])
        ),
        st.sets(st.integers(0, 4), max_size=2),  # the classes that it derives from
    ),
    min_size=1,
    max_size=5,
)


def class_of(tree: list[tuple[dict[str, str], set[int]]]) -> type[App]:
    """Return the last class of a tree; it is an application, as some of the others are."""
    classes: list[type] = [App]
    for number, (kinds, bases) in enumerate(tree):
        body: dict[str, Any] = {"__module__": __name__}
        for name, kind in kinds.items():

            def function(self: Any = None, x: str = "") -> str:
                return "text"

            function.__name__ = name
            function.owner = f"of{number}{name}"  # type: ignore[attr-defined]
            with contextlib.suppress(SetupError):  # for what a decorator does not take
                body[name] = KINDS[kind](function)
        derived = [classes[base] for base in sorted(bases, reverse=True) if base < len(classes)]
        classes.append(type(f"Class{number}", (*derived,), body))
    return type(
        "Root", (classes[-1], App) if not issubclass(classes[-1], App) else (classes[-1],), {}
    )


@settings(max_examples=150)
@given(TREES, st.sampled_from(["public", "explicit"]), st.booleans())
def test_R79_a_url_calls_the_method_that_python_finds(
    tree: list[tuple[dict[str, str], set[int]]], expose: Any, is_inside: bool
) -> None:
    """An override is never bypassed: neither by the handler of a base class nor by a mix-in's."""
    try:
        made = class_of(tree)
    except TypeError:
        return  # no order of these bases
    root: Any = made(expose=expose)
    if is_inside:
        root, inside = App(expose=expose), root
        root.inside = inside
    try:
        site = root._micropie.compiled()
    except SetupError:
        return
    for entry in (*site.entries(), *site.entries(takes_socket=True)):
        function: Any = entry.route.function
        found = inspect.getattr_static(made, function.__name__)
        assert getattr(found, "__func__", found) is getattr(function, "__func__", function)
        assert not is_hidden(found)


class Versions:
    class V1(App):
        @get("/items/<n:int>")
        def item(self, n: int) -> str:
            return f"first {n}"

        @websocket("/chat")
        async def chat(self, ws: Any) -> None:
            await ws.accept()

    class V2(V1):
        def item(self, n: int) -> str:
            return f"second {n}"

        async def chat(self, ws: Any) -> None:
            raise AssertionError

    class Closed(V1):
        @hidden
        def item(self, n: int) -> str:
            raise AssertionError

        @hidden
        async def chat(self, ws: Any) -> None:
            raise AssertionError

    class Again(V1):
        @get("/items/<n:int>")
        def item(self, n: int) -> str:
            return f"again {n}"


@pytest.mark.parametrize("expose", ["public", "explicit"])
@pytest.mark.parametrize(
    ("version", "answer"), [("V1", "first 3"), ("V2", ""), ("Closed", ""), ("Again", "again 3")]
)
def test_R79_an_override_is_not_bypassed(
    make_client: MakeClient,
    caplog: pytest.LogCaptureFixture,
    expose: Any,
    version: str,
    answer: str,
) -> None:
    app: Any = App(expose=expose, debug=True)
    app.inside = getattr(Versions, version)()
    client = make_client(app)
    given = client.get("/inside/items/3")
    assert (given.status_code, given.text) == (200, answer) if answer else given.status_code == 404
    lost = ["V2.item overrides V1.item", "V2.chat overrides V1.chat"] if version == "V2" else []
    logged = [line for line in caplog.messages if ", but has no route decorator" in line]
    assert [line.partition(", but")[0] for line in logged] == lost
    sentences = [sentence.partition(": ")[2] for sentence in mistakes(app)]
    assert [
        sentence for sentence in sentences if ", but has no route decorator" in sentence
    ] == logged
    site = app._micropie.compiled()
    assert len(site.entries(takes_socket=True)) == (version in ("V1", "Again"))


def test_an_invalid_expose_setting_is_refused() -> None:
    with pytest.raises(
        SetupError, match=r'App\(expose=...\) takes "public" or "explicit", not \'all\''
    ):
        App(expose="all")  # type: ignore[arg-type]


class Blog(App):
    def index(self) -> str:
        return "blog"


def test_a_second_reference_to_an_application_is_not_a_url(make_client: MakeClient) -> None:
    class Site(App):
        def __init__(self) -> None:
            super().__init__()
            self.blog = Blog()
            self.current = self.blog
            self.other = Blog()
            self.other.neighbour = self.blog

    client = make_client(Site())
    paths = ["/blog/", "/current/", "/other/", "/other/neighbour/"]
    assert [client.get(path).status_code for path in paths] == [200, 404, 200, 404]


class Underscored(App):
    """Names that are keywords, or that ``App`` or ``micropie`` uses, and decorators below them."""

    def get_(self) -> str:
        return "get"

    def import_(self, name: str = "all") -> str:
        return f"import {name}"

    async def ws_echo_(self, ws: Any) -> None:
        await ws.accept()
        await ws.send_text("echo")

    @get("/explicit")
    def explicit(self) -> str:
        return " ".join(
            [self.url_for("get"), self.url_for("import", "pies"), self.url_for("static.pie")]
        )


class Inner(App):
    def pie(self) -> str:
        return "inner"


def test_a_trailing_underscore_is_not_part_of_the_url(make_client: MakeClient) -> None:
    app = Underscored()
    app.static_ = Inner()
    client = make_client(app)
    assert client.get("/get").text == "get"
    assert client.get("/get_").status_code == 404
    assert client.get("/import/pies").text == "import pies"
    assert client.get("/static/pie").text == "inner"
    assert client.get("/explicit").text == "/get /import/pies /static/pie"


def test_two_methods_with_the_same_public_name_fail_at_setup() -> None:
    class Twice(App):
        def pie(self) -> None: ...

        def pie_(self) -> None: ...

    with pytest.raises(SetupError, match="pie_ and pie have the same public name"):
        Twice()._micropie.compiled()
