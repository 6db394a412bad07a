"""What an inner application shares with those around it: URLs, state, templates, the handlers of
errors.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args, get_type_hints

import pytest

from micropie import App, HTTPError
from micropie.channels import Channels
from tests.servers.parts import Site
from tests.support.clients import MakeClient
from tests.support.waiting import until


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
        return [
            self.state.database,
            self.state["database"],
            "database" in self.state,
            "own" in self.state,
        ]

    def fails(self, name: str) -> Any:
        raise {"404": HTTPError(404), "key": KeyError("x"), "os": OSError("y")}[name]


class Cart(App):
    def show(self) -> Any:
        return {
            "auth": self.url_for("/auth.login"),
            "here": self.url_for("show"),
            "root": type(self.root).__name__,
        }


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


def test_every_handler_s_url_can_be_built_from_every_application(make_client: MakeClient) -> None:
    client = make_client(Root())
    assert client.get("/auth/urls").json() == URLS
    found = client.get("/shop/cart/show").json()
    assert found == {"auth": "/auth/login", "here": "/shop/cart/show", "root": "Root"}
    assert client.get("/auth/names").text == "Root"
    assert client.get("/anything").text == "/auth/login"


def test_urls_can_be_built_below_a_mount(make_client: MakeClient) -> None:
    outermost = App()
    outermost.mount("/site", Root())
    client = make_client(outermost)
    assert client.get("/site/auth/names").text == "App"
    urls = client.get("/site/auth/urls")
    assert urls.status_code == 500  # "/auth.login" is no name of the outermost application


Page = TypeVar("Page")


class Pages(App["Root"], Generic[Page]):
    def index(self) -> str:
        return self.root.home()


def test_the_generic_type_of_root_only_exists_for_type_checkers(make_client: MakeClient) -> None:
    assert (App[Auth], Pages[int]) == (App, Pages)
    assert Pages.__mro__ == (Pages, *App.__mro__[:-1], Generic, object)
    assert get_type_hints(Pages) == get_type_hints(App)
    assert App in get_args(get_type_hints(App.mount)["target"])
    root = Root()
    vars(root)["pages"] = Pages[int]()
    assert make_client(root).get("/pages").text == root.home()


def test_urls_can_be_built_without_a_request() -> None:
    root = Root()
    assert root.root is root
    root._micropie.compiled()
    assert root.shop.cart.root is root
    assert root.shop.cart.url_for("/auth.login") == root.auth.url_for("login") == "/auth/login"


@pytest.mark.parametrize("root_path", ["", "/p"])
@pytest.mark.parametrize("prefix", ["/shop", "/api/v1"])
def test_parts_of_a_site_link_to_each_other(
    make_client: MakeClient, root_path: str, prefix: str
) -> None:
    client = make_client(Site(), root_path=root_path)
    shop = client.get(prefix)
    assert shop.headers["x-home"] == f"{root_path}/home"
    links = ["/home", "/shop/show/pie", "/office/desk", f"{prefix}/show/pie", f"{prefix}/", "/home"]
    assert re.findall(r"(?<!<)/[\w/]+", shop.text) == [f"{root_path}{link}" for link in links]
    assert client.get(f"{prefix}/show/pie").text == f"pie of db, {root_path}/office/desk"
    assert client.get("/home").text == f"{root_path}/shop/show/pie"
    found = client.post(f"{prefix}/buy", follow_redirects=False).headers["location"]
    assert found == f"{root_path}{prefix}/show/db"
    until(
        lambda: (
            client.get(f"{prefix}/tells").json()
            == [f"{root_path}{prefix}/show/pie {root_path}/home"]
        )
    )
    assert client.get("/old/x").text == f"{root_path}/old /x"


def test_an_access_check_of_an_inner_application_may_build_links(make_client: MakeClient) -> None:
    client = make_client(Site(), root_path="/p")
    assert client.get("/office/desk", follow_redirects=False).headers["location"] == "/p/home"
    answer = client.post("/sign_in", data={"user": "ann"}, follow_redirects=False)
    assert answer.headers["location"] == "/p/office/desk"
    assert client.get("/office/desk").text == "ann /p/office/desk db"


def test_a_websocket_of_an_inner_application_may_build_links(connect: MakeClient) -> None:
    for world in ("asyncio", "trio"):
        with connect(Site(), world, root_path="/p").websocket("/shop/news") as ws:
            assert ws.receive_text() == "db /p/shop/news /p/home"


def test_an_inner_application_s_document_uses_the_site_s_urls(make_client: MakeClient) -> None:
    site = Site()
    client = make_client(site, root_path="/p")
    whole = site.openapi()
    for prefix, names in (("/shop", "shop."), ("/api/v1", "api.v1.")):
        document = client.get(f"{prefix}/openapi.json").json()
        assert document["servers"] == [{"url": f"/p{prefix}"}]
        assert document["info"]["title"] == "Shop"
        assert [*document["paths"]] == ["/", "/broken", "/buy", "/show/{pie}", "/tells"]
        show = document["paths"]["/show/{pie}"]["get"]
        assert (show["operationId"], show["security"]) == ("show", [{"Token": []}])
        assert [*show["responses"]["default"]["content"]] == ["application/problem+json"]
        outer = whole["paths"][f"{prefix}/show/{{pie}}"]["get"]
        assert outer == {**show, "operationId": f"{names}show", "tags": ["Shop"]}
        assert document["components"]["securitySchemes"] == whole["components"]["securitySchemes"]
    assert site.shop.openapi() == {**document, "servers": [{"url": "/shop"}]}


def test_a_method_that_is_not_a_url_has_no_link(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    assert make_client(Site()).get("/shop/broken").status_code == 500
    assert (
        "there is no route named 'helper', but there are: broken, buy, docs_asset, docs_page, index, "
        in caplog.text
    )


class Twice(App):
    def index(self) -> str:
        return f"{self.url_for('index')} {type(self.root).__name__}"

    def asks(self) -> str:
        return self.url_for("asks")


class Middle(App):
    def __init__(self, twice: Twice) -> None:
        super().__init__()
        self.twice = twice

    def asks(self) -> str:
        return f"{self.twice.asks()} {self.url_for('asks')}"


def test_an_application_in_several_places_uses_the_nearest_one(make_client: MakeClient) -> None:
    class Places(App):
        def __init__(self) -> None:
            super().__init__()
            middle = Middle(Twice())
            self.mount("/one", middle)
            self.mount("/two", middle)
            self.middle = middle

    client = make_client(Places())
    for prefix in ("/one", "/two", "/middle"):
        assert client.get(f"{prefix}/asks").text == f"{prefix}/twice/asks {prefix}/asks"
        assert client.get(f"{prefix}/twice/asks").text == f"{prefix}/twice/asks"
        assert client.get(f"{prefix}/twice").text == f"{prefix}/twice/ Places"


def test_an_application_in_several_places_has_no_links_outside_requests(
    make_client: MakeClient,
) -> None:
    root, twice = App(), Twice(templates=["templates"])
    root.mount("/one", twice)
    root.mount("/two", twice)
    root.get("/asks")(twice.asks)
    client = make_client(root)
    # the outermost application, which is near to both, answers
    assert client.get("/asks").status_code == 500
    sentence = r'Twice is mounted in several places: /one of App and /two of App\. .* url_for\("one.NAME"\) is in /one of App'
    for ask in (twice.asks, lambda: twice.render("x"), lambda: twice.root, lambda: twice.channels):
        with pytest.raises(LookupError, match=sentence):
            ask()
    assert root.url_for("two.asks") == "/two/asks"
    own = twice.channels = Channels()
    assert twice.channels is own
    answers = [client.get(f"/{place}/asks").text for place in ("one", "two")]
    assert answers == ["/one/asks", "/two/asks"]


def test_an_application_with_two_roots_has_no_links_outside_requests(
    make_client: MakeClient,
) -> None:
    class Outer(App):
        twice = Twice()

    class Other(App):
        def __init__(self) -> None:
            super().__init__()
            self.other = Outer.twice

    first, second = Outer(), Other()
    client = make_client(first)
    assert client.get("/twice/asks").text == "/twice/asks"
    assert (Outer.twice.asks(), Outer.twice.root) == ("/twice/asks", first)
    assert make_client(second).get("/other/").text == "/other/ Other"
    assert client.get("/twice").text == "/twice/ Outer"
    with pytest.raises(
        LookupError,
        match=r"several places: /twice of Outer and /other of Other\. Outside a request,",
    ):
        Outer.twice.asks()
    del second.other
    assert Outer.twice.asks() == "/twice/asks"


def test_an_application_of_the_class_can_be_hidden_late(make_client: MakeClient) -> None:
    class Site(App):
        part = Part()

    site: Any = Site()
    site.state.title = "a"
    client = make_client(site)
    assert client.get("/part/title").status_code == 200
    site.part = None
    assert client.get("/part/title").status_code == 404
    del site.part
    assert client.get("/part/title").status_code == 200


def test_a_removed_application_is_its_own_root() -> None:
    root = Root()
    root._micropie.compiled()
    auth = root.auth
    auth.get("/added")(lambda: "")
    assert auth.url_for("login") == "/auth/login"
    assert root.url_for("auth.<lambda>") == "/auth/added"
    del root.auth
    assert (auth.url_for("login"), auth.root) == ("/login", auth)
    cart, outermost = root.shop.cart, App()
    outermost.site = root
    outermost._micropie.compiled()
    assert cart.url_for("show") == "/site/shop/cart/show"
    del outermost.site  # type: ignore[attr-defined]
    assert (cart.url_for("show"), cart.root) == ("/shop/cart/show", root)


def test_a_site_and_a_part_of_it_can_both_be_served(make_client: MakeClient) -> None:
    root = Root()
    part, whole = make_client(root.shop), make_client(root)
    root.shop.cart.get("/here")(
        lambda: [root.shop.cart.url_for("show"), type(root.shop.cart.root).__name__]
    )
    assert part.get("/cart/here").json() == ["/cart/show", "Shop"]
    assert whole.get("/shop/cart/here").json() == ["/shop/cart/show", "Root"]
    assert part.get("/cart/here").json() == ["/cart/show", "Shop"]
    assert root.shop.cart.url_for("show") == "/shop/cart/show"


def test_an_inner_application_may_refer_to_the_outer_one(make_client: MakeClient) -> None:
    root = Root()
    root.auth.parent = root
    assert make_client(root).get("/auth/urls").json() == URLS
    assert (root.url_for("home"), root.root, root.auth.root) == ("/home", root, root)
    assert make_client(root.auth).get("/login").text == "log in"
    # each is inside the other one
    assert (root.url_for("home"), root.auth.url_for("login")) == ("/home", "/login")


def test_an_unknown_route_name_suggests_those_of_the_application() -> None:
    root = Root()
    root._micropie.compiled()
    with pytest.raises(
        LookupError,
        match=r"there is no route named 'nothing', but there are: database, fails, login",
    ):
        root.auth.url_for("nothing")
    with pytest.raises(
        LookupError,
        match=r"there is no route named 'login', but there are: anything, auth\.database",
    ):
        root.auth.url_for("/login")


def test_an_author_may_use_the_name_root(make_client: MakeClient) -> None:
    class Own(App):
        def __init__(self) -> None:
            super().__init__()
            self.root = "/srv"  # type: ignore[assignment]

        def index(self) -> str:
            return str(self.root)

    assert make_client(Own()).get("/").text == "/srv"


def test_an_inner_application_sees_the_outer_state(make_client: MakeClient) -> None:
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


class Part(App):
    def title(self) -> Any:
        return [self.state.title, self.state["title"], "title" in self.state, "no" in self.state]


def test_an_application_in_several_places_sees_the_state_around_each(
    make_client: MakeClient,
) -> None:
    root, other, shared = App(), App(), Part()
    for name in ("shop", "office"):
        setattr(root, name, App())
        getattr(root, name).state.title = name
        getattr(root, name).mount("/help", shared)
    other.state.title = "other"
    other.part = shared
    client, client_of_other = make_client(root), make_client(other)
    for _ in range(2):  # in whatever order the trees were compiled
        assert client.get("/shop/help/title").json() == ["shop", "shop", True, False]
        assert client.get("/office/help/title").json() == ["office", "office", True, False]
        assert client_of_other.get("/part/title").json() == ["other", "other", True, False]
    assert shared.state.title == "other"  # outside of requests, that which was compiled last
    with pytest.raises(AttributeError, match="state has no 'no'"):
        _ = shared.state.no
    with pytest.raises(AttributeError, match=r'write getattr\(state, "name", None\), not get'):
        shared.state.get("title")


def test_an_application_sees_the_state_around_it_in_a_request_to_another(
    make_client: MakeClient,
) -> None:
    root, shared = App(), Part()
    root.state.title = "root"
    for name in ("shop", "office"):
        setattr(root, name, App())
        getattr(root, name).mount("/help", shared)

    @root.get("/")
    def index() -> Any:
        return shared.title()

    assert make_client(root).get("/").json() == ["root", "root", True, False]


def test_the_outer_state_is_available_at_startup(make_client: MakeClient) -> None:
    root = Root()
    root.startup_handlers.append(lambda: setattr(root.state, "database", "opened"))
    root.auth.startup_handlers.append(
        lambda: setattr(root.auth.state, "own", root.auth.state.database)
    )
    assert make_client(root).get("/auth/database").json() == ["opened", "opened", True, True]


def test_an_inner_application_starts_though_it_is_equal_to_the_outer_one(
    make_client: MakeClient,
) -> None:
    @dataclass
    class Desk(App):
        title: str

        def index(self) -> str:
            return f"{self.title}: {self.state.opened}"

    root = Desk("desk")
    inner = root.inner = Desk("desk")
    inner.startup_handlers.append(lambda: setattr(inner.state, "opened", "yes"))
    assert make_client(root).get("/inner").text == "desk: yes"


@pytest.mark.parametrize("own", [True, False])
def test_templates_may_extend_an_outer_application_s_layout(
    make_client: MakeClient, tmp_path: Path, own: bool
) -> None:
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


def test_the_error_for_a_missing_template_lists_each_directory(
    make_client: MakeClient, tmp_path: Path, caplog: Any
) -> None:
    for name in ("outer", "inner"):
        (tmp_path / name).mkdir()
    root = Root(templates=tmp_path / "outer")
    root.auth = Auth(templates=tmp_path / "inner")
    assert make_client(root).get("/auth/page").status_code == 500
    sentence = f"there is no template 'page.html' in {tmp_path}/inner or {tmp_path}/outer"
    assert sentence in caplog.text


def test_an_inner_application_with_its_own_error_format_has_no_outer_pages(
    make_client: MakeClient,
) -> None:
    class Api(App):
        def taken(self) -> Any:
            raise FileExistsError

        def broken(self) -> Any:
            raise OSError("oh")

        def streamed(self) -> Any:
            raise LookupError

    class Root(App):
        stated = Api(errors="json", text="plain")
        plain = Api(text="plain")

    app = Root()
    for key in (404, HTTPError, Exception):
        app.error(key)(lambda: "<!doctype html>outer")
    app.error(FileExistsError)(lambda: (409, "<p>taken</p>"))
    app.error(LookupError)(lambda: (410, iter(["<p>", "gone"])))
    client = make_client(app, raise_app_exceptions=False)
    found = {
        path: client.get(path)
        for path in ("/stated/none", "/stated/broken", "/stated/taken", "/stated/streamed")
    }
    kinds = {
        path: (one.status_code, one.headers["content-type"].partition(";")[0])
        for path, one in found.items()
    }
    assert kinds == {
        "/stated/none": (404, "application/problem+json"),
        "/stated/broken": (500, "application/problem+json"),
        "/stated/taken": (409, "text/html"),
        "/stated/streamed": (410, "text/html"),
    }
    # the page of an application of HTML is HTML
    for path in ("/plain/none", "/plain/broken", "/none"):
        answer = client.get(path)
        seen = (answer.text, answer.headers["content-type"])
        assert seen == ("<!doctype html>outer", "text/html; charset=utf-8")


def test_an_inner_application_s_document_describes_its_error_format() -> None:
    class Api(App):
        def page(self, number: int) -> str:
            return ""

    app = App()
    app.stated, app.other = Api(errors="json"), Api()
    app.error(404)(lambda: "outer")
    paths = app.openapi()["paths"]
    responses = {path: answer["get"]["responses"]["default"] for path, answer in paths.items()}
    assert [*responses["/stated/page/{number}"]["content"]] == ["application/problem+json"]
    assert "content" not in responses["/other/page/{number}"]


def test_the_nearest_application_handles_an_error(make_client: MakeClient) -> None:
    root = Root()
    root.error(404)(lambda error: "outer 404")
    root.error(KeyError)(lambda error: "outer KeyError")
    root.error(Exception)(lambda error: "outer Exception")
    client = make_client(root)
    answers = [client.get(f"/auth/fails/{name}").text for name in ("404", "key", "os")]
    assert answers == [*("outer 404", "outer KeyError", "outer Exception")]
    root.auth.error(OSError)(lambda error: "inner OSError")
    found = [client.get(f"/auth/fails/{name}").text for name in ("404", "key", "os")]
    assert found == [*("outer 404", "outer KeyError", "inner OSError")]
    root.auth.error(Exception)(lambda error: "inner Exception")
    assert [client.get(f"/auth/fails/{name}").text for name in ("404", "key", "os")] == [
        *("inner Exception", "inner Exception", "inner OSError")
    ]
    assert client.get("/nothing").text == "outer 404"
