"""What becomes a URL: the methods that the author wrote, and functions below a route's decorator;
nothing else.
"""

from __future__ import annotations

import functools
import os.path
from collections.abc import Callable
from typing import Any

import pytest
from itsdangerous import Signer
from itsdangerous.encoding import int_to_bytes

from micropie import App, SetupError, get, hidden, post, route, websocket
from tests.conftest import MakeClient
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
    "exists?path=/etc/passwd",
    "page_of_others",
    "secret",
    "deep_secret",
    "upper_secret",
    "sign?value=x",
    "unsign",
]


def test_what_becomes_a_url(make_client: MakeClient) -> None:
    client = make_client(Root())
    assert {name: client.get(f"/{name}").text for name in HANDLERS} == HANDLERS
    assert client.get("/stated_of_others").text == "foreign"
    assert client.post("/written").text == "written"
    assert {name: client.get(f"/{name}").status_code for name in OTHERS} == dict.fromkeys(
        OTHERS, 404
    )


def test_functions_of_the_instance_need_a_decorator(make_client: MakeClient) -> None:
    app: Any = App()
    app.exists = os.path.exists
    app.plain = lambda: "plain"
    app.stated = route()(lambda: "stated")
    client = make_client(app)
    assert [
        client.get(f"/{name}").status_code for name in ("exists?path=/", "plain", "stated")
    ] == [404, 404, 200]


def test_a_variable_that_a_decorator_never_set(make_client: MakeClient) -> None:
    class Late(App):
        @later
        def page(self) -> str:
            return "page"

    assert make_client(Late()).get("/page").status_code == 500  # NameError


def test_only_what_has_a_decorator_if_the_author_says_so(make_client: MakeClient) -> None:
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


def test_sockets_that_have_a_decorator(connect: MakeClient) -> None:
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


def test_with_debug_the_log_lists_what_comes_from_elsewhere(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "micropie")
    app: Any = Root(debug=True)
    app.inner = App()
    app.inner.encode = route()(functools.partial(int_to_bytes))
    app._micropie.compiled()
    assert [record.getMessage() for record in caplog.records] == [
        "/inner/encode is a URL: its function is from itsdangerous.encoding"
    ]


def test_a_wrong_word_is_refused() -> None:
    with pytest.raises(
        SetupError, match=r'App\(expose=...\) takes "public" or "explicit", not \'all\''
    ):
        App(expose="all")  # type: ignore[arg-type]


class Blog(App):
    def index(self) -> str:
        return "blog"


def test_a_second_reference_to_an_application_is_no_url(make_client: MakeClient) -> None:
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


def test_an_underscore_at_the_end_is_no_part_of_the_name(make_client: MakeClient) -> None:
    app = Underscored()
    app.static_ = Inner()
    client = make_client(app)
    assert client.get("/get").text == "get"
    assert client.get("/get_").status_code == 404
    assert client.get("/import/pies").text == "import pies"
    assert client.get("/static/pie").text == "inner"
    assert client.get("/explicit").text == "/get /import/pies /static/pie"


def test_two_methods_of_one_public_name_fail_at_set_up() -> None:
    class Twice(App):
        def pie(self) -> None: ...

        def pie_(self) -> None: ...

    with pytest.raises(SetupError, match="pie_ and pie have the same public name"):
        Twice()._micropie.compiled()
