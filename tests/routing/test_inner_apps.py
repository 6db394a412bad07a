"""What an inner application shares with those around it: URLs, state, templates, the handlers of errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from micropie import App, HTTPError
from tests.conftest import MakeClient


class Auth(App):
    def login(self) -> str:
        return "log in"

    def urls(self) -> Any:
        names = ["login", "/auth.login", "home", "/home", "shop.cart.show", "/shop.cart.show"]
        return {name: self.url_for(name) for name in names}

    def names(self) -> str:
        return type(self.root).__name__

    def page(self) -> str:
        return self.render("page.html")

    def database(self) -> Any:
        return [self.state.database, self.state["database"], "database" in self.state, "own" in self.state]

    def fails(self, name: str) -> Any:
        raise {"404": HTTPError(404), "key": KeyError("x"), "os": OSError("y")}[name]


class Cart(App):
    def show(self) -> Any:
        return {"auth": self.url_for("/auth.login"), "here": self.url_for("show"), "root": type(self.root).__name__}


class Shop(App):
    def __init__(self) -> None:
        super().__init__()
        self.cart = Cart()


class Root(App):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.auth = Auth()
        self.shop = Shop()

    def home(self) -> str:
        return self.url_for("home")

    def anything(self) -> str:
        return self.url_for("auth.login")


URLS = {
    "login": "/auth/login",
    "/auth.login": "/auth/login",
    "home": "/home",
    "/home": "/home",
    "shop.cart.show": "/shop/cart/show",
    "/shop.cart.show": "/shop/cart/show",
}


def test_urls_of_every_handler_from_everywhere(make_client: MakeClient) -> None:
    client = make_client(Root())
    assert client.get("/auth/urls").json() == URLS
    assert client.get("/shop/cart/show").json() == {"auth": "/auth/login", "here": "/shop/cart/show", "root": "Root"}
    assert client.get("/auth/names").text == "Root"
    assert client.get("/anything").text == "/auth/login"


def test_urls_below_a_mount(make_client: MakeClient) -> None:
    outermost = App()
    outermost.mount("/site", Root())
    client = make_client(outermost)
    assert client.get("/site/auth/names").text == "App"
    urls = client.get("/site/auth/urls")
    assert urls.status_code == 500  # "/auth.login" is no name of the outermost application


def test_urls_without_a_request() -> None:
    root = Root()
    assert root.root is root
    root._micropie.compiled()
    assert root.shop.cart.root is root
    assert root.shop.cart.url_for("/auth.login") == root.auth.url_for("login").replace("/login", "/auth/login")


def test_an_unknown_name_names_those_of_the_application() -> None:
    root = Root()
    root._micropie.compiled()
    with pytest.raises(LookupError, match=r"there is no route named 'nothing'; there are: database, fails, login"):
        root.auth.url_for("nothing")
    with pytest.raises(LookupError, match=r"there is no route named 'login'; there are: anything, auth\.database"):
        root.auth.url_for("/login")


def test_an_author_may_use_the_name_root(make_client: MakeClient) -> None:
    class Own(App):
        def __init__(self) -> None:
            super().__init__()
            self.root = "/srv"  # type: ignore[assignment]

        def index(self) -> str:
            return str(self.root)

    assert make_client(Own()).get("/").text == "/srv"


def test_the_state_of_the_applications_around(make_client: MakeClient) -> None:
    root = Root()
    root.state.database = "outer"
    client = make_client(root)
    assert client.get("/auth/database").json() == ["outer", "outer", True, False]
    root.auth.state.database = "inner"
    assert client.get("/auth/database").json() == ["inner", "inner", True, False]
    assert root.state.database == "outer"
    with pytest.raises(AttributeError, match="state has no 'other'"):
        _ = root.auth.state.other
    with pytest.raises(KeyError):
        root.auth.state["other"]


def test_the_state_is_there_at_start_up(make_client: MakeClient) -> None:
    root = Root()
    root.startup_handlers.append(lambda: setattr(root.state, "database", "opened"))
    root.auth.startup_handlers.append(lambda: setattr(root.auth.state, "own", root.auth.state.database))
    assert make_client(root).get("/auth/database").json() == ["opened", "opened", True, True]


@pytest.mark.parametrize("own", [True, False])
def test_templates_extend_a_layout_of_the_outer_application(make_client: MakeClient, tmp_path: Path, own: bool) -> None:
    outer, inner = tmp_path / "outer", tmp_path / "inner"
    outer.mkdir()
    inner.mkdir()
    (outer / "layout.html").write_text(
        "<a href={{ url_for('home') }}><a href={{ url_for('/auth.login') }}>{% block body %}{% endblock %}"
    )
    (outer / "page.html").write_text("never")
    page = "{% extends 'layout.html' %}{% block body %}{{ url_for('login') }}{% endblock %}"
    (inner / "page.html").write_text(page)
    root = Root(templates=outer)
    if own:
        root.auth = Auth(templates=inner)
        expected = "<a href=/home><a href=/auth/login>/auth/login"
    else:
        expected = "never"
    assert make_client(root).get("/auth/page").text == expected


def test_a_missing_template_names_each_directory(make_client: MakeClient, tmp_path: Path, caplog: Any) -> None:
    root = Root(templates=tmp_path / "outer")
    root.auth = Auth(templates=tmp_path / "inner")
    assert make_client(root).get("/auth/page").status_code == 500
    assert f"there is no template 'page.html' in {tmp_path}/inner and {tmp_path}/outer" in caplog.text


def test_the_nearest_application_answers_an_error(make_client: MakeClient) -> None:
    root = Root()
    root.error(404)(lambda error: "outer 404")
    root.error(KeyError)(lambda error: "outer KeyError")
    root.error(Exception)(lambda error: "outer Exception")
    client = make_client(root)
    assert [client.get(f"/auth/fails/{name}").text for name in ("404", "key", "os")] == [
        *("outer 404", "outer KeyError", "outer Exception")
    ]
    root.auth.error(OSError)(lambda error: "inner OSError")
    assert [client.get(f"/auth/fails/{name}").text for name in ("404", "key", "os")] == [
        *("outer 404", "outer KeyError", "inner OSError")
    ]
    root.auth.error(Exception)(lambda error: "inner Exception")
    assert [client.get(f"/auth/fails/{name}").text for name in ("404", "key", "os")] == [
        *("inner Exception", "inner Exception", "inner OSError")
    ]
    assert client.get("/nothing").text == "outer 404"
