"""An App mounted on another one: its routes and names, and what it shares."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from micropie import App, HttpMiddleware, Redirect, Request, SetupError
from micropie._core.routing.config import config_of
from micropie.sessions import (
    InMemorySessionBackend,
    SignedCookieSessionBackend,
    SQLiteSessionBackend,
)
from micropie.testing import TestClient
from tests.support.clients import MakeClient
from tests.support.waiting import until


class Shop(App):
    def index(self) -> str:
        return "shop"

    def item(self, number: int) -> str:
        return f"{number} at {self.url_for('item', number)}"

    def away(self) -> Redirect:
        return Redirect(self.url_for("index"))

    def count(self) -> str:
        session = self.request.session
        session["n"] = session.get("n", 0) + 1
        return f"{session['n']} {self.request.path} {self.request.root_path}"

    def limit(self) -> str:
        return str(config_of(self.request._exchange).settings.max_body_size)


class Root(App):
    def index(self) -> str:
        return self.url_for("shop.item", 3)

    def shop(self, what: str = "") -> str:
        return f"hidden {what}"

    def default(self, *path: str) -> str:
        return "default " + "/".join(path)

    def count(self) -> str:
        session = self.request.session
        session["n"] = session.get("n", 0) + 1
        return str(session["n"])


class Marks:
    """A hook that leaves its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def after_request(self, request: Any, status: int, body: Any, headers: Any) -> None:
        headers.append(("X-Mark", f"{self.name}{status}"))


def mounted(prefix: str = "/shop", **options: Any) -> Root:
    root = Root(max_body_size=77)
    root.mount(prefix, Shop(), **options)
    return root


@pytest.mark.parametrize("prefix", ["/shop", "/a/b/c", "/shöp x"])
@pytest.mark.parametrize("isolated", [False, True])
def test_a_mounted_application_handles_paths_below_its_prefix(
    make_client: MakeClient, prefix: str, isolated: bool
) -> None:
    client = make_client(mounted(prefix, isolated=isolated))
    assert client.get(prefix).text == client.get(prefix + "/").text == "shop"
    quoted = prefix.replace("ö", "%C3%B6").replace(" ", "%20")
    assert client.get(f"{prefix}/item/7").text == f"7 at {quoted}/item/7"
    answer = client.get(f"{prefix}/away", follow_redirects=False)
    assert answer.headers["location"] in (quoted, quoted + "/")
    # what is below a mount is never the outer one's
    assert client.get(f"{prefix}/nothing").status_code == 404


def test_R75_a_prefix_ends_where_a_segment_ends(make_client: MakeClient) -> None:
    client = make_client(mounted("/shopping/cart"))
    assert client.get("/shop").text == "hidden "
    assert client.get("/shopping").text == "default shopping"
    assert client.get("/shopping/carts").text == "default shopping/carts"
    assert client.get("/shopping/cart").text == "shop"


def test_R75_a_mount_comes_before_routes_and_names(make_client: MakeClient) -> None:
    root = mounted()
    root.get("/shop/<name>")(lambda name: f"route {name}")
    root.get("/shop/item")(lambda: "static route")
    root.get("/shops")(lambda: "another")
    client = make_client(root)
    assert client.get("/shop").text == "shop"
    assert client.get("/shop/item/1").text == "1 at /shop/item/1"
    assert client.get("/shop/other").status_code == 404
    assert client.get("/shops").text == "another"


def test_the_longest_prefix_takes_precedence(make_client: MakeClient) -> None:
    root = mounted("/a")
    inner = Shop()
    inner.mount("/deep", Shop())
    root.mount("/a/b", inner)
    client = make_client(root)
    assert client.get("/a/item/1").text == "1 at /a/item/1"
    assert client.get("/a/b/item/1").text == "1 at /a/b/item/1"
    assert client.get("/a/b/deep/item/1").text == "1 at /a/b/deep/item/1"
    assert root.url_for("a.b.deep.item", 1) == "/a/b/deep/item/1"


def test_wildcards_and_inner_applications_work_below_a_mount(make_client: MakeClient) -> None:
    root, shop, inner = Root(), Shop(), Shop()
    shop.get("/w/<x:int>", name="wild")(lambda x: f"wild {x}")
    shop.inner = inner
    root.mount("/s", shop)
    blog = Shop()
    blog.mount("/old", Shop())
    root.blog = blog
    client = make_client(root)
    assert client.get("/s/w/5").text == "wild 5"
    assert client.get("/s/w/x").status_code == 404
    assert client.get("/s/inner/item/2").text == "2 at /s/inner/item/2"
    assert client.get("/blog/old/item/2").text == "2 at /blog/old/item/2"
    assert root.url_for("s.wild", x=4) == "/s/w/4"
    assert root.url_for("s.inner.item", 4) == "/s/inner/item/4"
    assert root.url_for("s.index") == "/s"
    assert root.url_for("blog.old.item", 4) == "/blog/old/item/4"
    assert client.get("/").status_code == 500  # there is no "shop.item" here
    assert client.post("/s/w/5").status_code == 405


def test_sessions_settings_and_hooks_are_shared(make_client: MakeClient) -> None:
    root, shop = Root(max_body_size=77), Shop()
    root.mount("/shop", shop)
    root.middlewares.append(Marks("outer"))  # type: ignore[arg-type]
    shop.middlewares.append(Marks("inner"))  # type: ignore[arg-type]
    client = make_client(root)
    assert client.get("/count").text == "1"
    answer = client.get("/shop/count")
    assert answer.text == "2 /shop/count "
    assert answer.headers["x-mark"] == "inner200, outer200"
    assert client.get("/shop/limit").text == "77"
    assert client.get("/shop/none").headers["x-mark"] == "inner404, outer404"
    assert client.get("/shop//x").headers["x-mark"] == "inner404, outer404"


def test_an_isolated_application_has_its_own_settings_and_hooks(make_client: MakeClient) -> None:
    root, shop = Root(max_body_size=77), Shop(max_body_size=5)
    root.mount("/shop", shop, isolated=True)
    root.middlewares.append(Marks("outer"))  # type: ignore[arg-type]
    shop.middlewares.append(Marks("inner"))  # type: ignore[arg-type]
    client = make_client(root, root_path="/p")
    assert client.get("/count").text == "1"
    answer = client.get("/shop/count")
    assert answer.text == "1 /count /p/shop"
    assert answer.headers["x-mark"] == "inner200"
    assert "Path=/p/shop" in answer.headers["set-cookie"]
    assert client.get("/shop/limit").text == "5"
    assert client.get("/shop/item/1").text == "1 at /p/shop/item/1"


def test_mounted_applications_start_and_stop_with_the_outer_one(world: str) -> None:
    log: list[str] = []
    root, shared, isolated = Root(), Shop(), Shop()
    for name, app in (("root", root), ("shared", shared), ("isolated", isolated)):
        app.startup_handlers.append(partial(log.append, f"{name} starts"))
        app.shutdown_handlers.append(partial(log.append, f"{name} stops"))
    root.mount("/a", shared)
    root.mount("/b", isolated, isolated=True)
    options: Any = {"protocol": "wsgi"} if world == "wsgi" else {"backend": world}
    with TestClient(root, **options) as client:
        client.get("/b")
        client.get("/a")
        assert log == ["root starts", "shared starts", "isolated starts"]
    assert sorted(log[3:]) == ["isolated stops", "root stops", "shared stops"]


def test_a_mount_added_later_is_used(make_client: MakeClient) -> None:
    root, shop = Root(), Shop()
    client = make_client(root)
    assert client.get("/late").text == "default late"
    root.mount("/late", shop)
    assert client.get("/late").text == "shop"
    shop.get("/later")(lambda: "later")
    assert client.get("/late/later").text == "later"


async def asgi(scope: Any, receive: Any, send: Any) -> None: ...


def wsgi(environ: Any, start_response: Any) -> Any: ...


@pytest.mark.parametrize(
    ("prefix", "target", "options", "sentence"),
    [
        ("shop", wsgi, {}, 'begin with "/"'),
        (7, wsgi, {}, 'begin with "/"'),
        ("/", Shop(), {}, "at the root"),
        ("/a//b", wsgi, {}, "has a segment that is empty"),
        ("/a/../b", wsgi, {}, "has a segment that is empty"),
        ("/<name>", wsgi, {}, "must not be percent-encoded or contain any of"),
        ("/a%20b", wsgi, {}, "must not be percent-encoded or contain any of"),
        ("/a", Shop, {}, "not a class: write mount(..., Shop())"),
        ("/a", "text", {}, "mount takes a callable application"),
        ("/a", lambda *args: None, {}, 'write kind="wsgi"'),
        ("/a", lambda one: None, {}, 'write kind="wsgi"'),
        ("/a", max, {}, 'write kind="wsgi"'),
        ("/a", wsgi, {"kind": "app"}, "is only for a micropie App"),
        ("/a", wsgi, {"kind": "WSGI"}, 'must be "wsgi"'),
        ("/a", wsgi, {"isolated": True}, "isolated=True is only for an App"),
        ("/a", Shop(), {"strip": True}, "strip=True is only for an ASGI or WSGI"),
        ("/taken", wsgi, {}, "two applications are mounted at /taken"),
        ("/taken/", wsgi, {}, "two applications are mounted at /taken"),
    ],
)
def test_an_invalid_mount_raises_an_error_immediately(
    prefix: Any, target: Any, options: Any, sentence: str
) -> None:
    root = Root()
    root.mount("/taken", asgi)
    with pytest.raises(SetupError) as caught:
        root.mount(prefix, target, **options)
    assert sentence in str(caught.value)


def test_circular_and_conflicting_mounts_are_reported() -> None:
    root, shop = Root(), Shop()
    with pytest.raises(SetupError, match="inside of itself"):
        root.mount("/a", root)
    root.mount("/a", shop)
    shop.mount("/b", root)
    with pytest.raises(SetupError, match="inside of itself"):
        root._micropie.compiled()
    assert App().openapi()["paths"] == {}  # which looks for applications around it
    other = Root()
    other.mount("/x/y", wsgi)
    inner = Shop()
    inner.mount("/y", wsgi)
    other.mount("/x", inner)
    with pytest.raises(SetupError, match="two applications are mounted at /x/y"):
        other._micropie.compiled()


# -- whose sessions and signed cookies are valid where -----------------------------------------------

KEY, OTHER = "a key of thirty-two bytes or more", "another key of thirty-two bytes or more"


class Members(App):
    def log_in(self) -> str:
        self.request.session["user"] = "ann"
        self.request.set_signed_cookie("seen", "ann")
        return "in"

    def user(self) -> str:
        seen = self.request.signed_cookie("seen")
        return f"{self.request.session.get('user')} {seen}"


def backends(kind: str, folder: Path) -> tuple[Any, Any]:
    """Two backends that share nothing."""
    if kind == "memory":
        return InMemorySessionBackend(), InMemorySessionBackend()
    if kind == "SQLite":
        return SQLiteSessionBackend(folder / "one.db"), SQLiteSessionBackend(folder / "two.db")
    return SignedCookieSessionBackend(KEY), SignedCookieSessionBackend(OTHER)


@pytest.mark.parametrize("kind", ["memory", "SQLite", "signed"])
@pytest.mark.parametrize("isolated", [False, True])
def test_a_log_in_is_valid_in_its_own_application_only(
    make_client: MakeClient, kind: str, isolated: bool, tmp_path: Path
) -> None:
    """A client may send each application the other's cookies, whatever their paths are."""
    one, two = backends(kind, tmp_path)
    app = Members(session_backend=one, secret_key=KEY)
    app.mount("/m", Members(session_backend=two, secret_key=OTHER), isolated=isolated)
    client = make_client(app)
    cookies = {}
    for place in ("", "/m"):
        lines = client.get(f"{place}/log_in").headers.get_list("set-cookie")
        cookies[place] = "; ".join(line.partition(";")[0] for line in lines)
        client.cookies.clear()
    for place, cookie in product(cookies, repeat=2):
        answer = client.get(f"{place}/user", headers={"cookie": cookies[cookie]})
        assert answer.text == ("ann ann" if place == cookie else "None None")
        client.cookies.clear()
    both = "; ".join(cookies.values())
    assert client.get("/user", headers={"cookie": both}).text in ("ann ann", "None None")


class Counting(HttpMiddleware):
    """Counts a client's requests."""

    guards = True

    def before_request(self, request: Request) -> Any:
        if request.path == "/m/count":
            request.session["count"] = request.session.get("count", 0) + 1
        return {"status": 403, "body": "no"} if request.session.get("count") == 3 else None


class Counted(App):
    def count(self) -> str:
        self.response.headers["Cache-Control"] = "public, max-age=60"
        self.response.set_cookie("theme", "dark")
        return "counted"

    def other(self) -> str:
        return "other"


@pytest.mark.parametrize("in_cookie", [False, True])
def test_a_hook_s_changes_to_the_session_are_saved_before_an_isolated_mount(
    make_client: MakeClient, in_cookie: bool
) -> None:
    backend = SignedCookieSessionBackend("k" * 32) if in_cookie else None
    app = App(session_backend=backend)
    app.middlewares.append(Counting())
    app.mount("/m", Counted(), isolated=True)
    client = make_client(app)
    other = client.get("/m/other")
    assert (other.text, "set-cookie" in other.headers) == ("other", False)
    for _ in range(2):
        counted = client.get("/m/count")
        assert counted.text == "counted"
        theme, session = counted.headers.get_list("set-cookie")
        assert (theme[:10], session[:11]) == ("theme=dark", "session_id=")
        assert counted.headers["cache-control"] == "private, max-age=60"
    assert client.get("/m/count").status_code == 403


class Guard(HttpMiddleware):
    guards = True

    def __init__(self) -> None:
        self.log: list[str] = []

    def before_request(self, request: Request) -> None:
        if request.path != "/m/plain":
            request.on_close(partial(self.log.append, "outer over"))
            request.after_response(self.log.append, "after the response")


class Steps(App):
    log: list[str]

    def _begin(self) -> None:
        self.log.append("inner")
        self.request.on_close(partial(self.log.append, "inner over"))

    def plain(self) -> str:
        self._begin()
        return "sent"

    def whole(self) -> str:
        return self.plain()

    def stream(self) -> Iterator[str]:
        self._begin()
        yield "se"
        self.log.append("chunk")
        yield "nt"

    def failing(self) -> str:
        self.request._exchange.passes_failure_on = True
        raise OSError


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("plain", ["inner", "inner over"]),
        ("whole", ["inner", "inner over", "outer over", "after the response"]),
        ("stream", ["inner", "chunk", "inner over", "outer over", "after the response"]),
        ("failing", ["outer over", "after the response"]),
    ],
)
def test_the_outer_request_ends_after_that_of_an_isolated_mount(
    make_client: MakeClient, path: str, expected: list[str]
) -> None:
    app, guard, steps = App(), Guard(), Steps()
    steps.log = guard.log
    app.middlewares.append(guard)
    app.mount("/m", steps, isolated=True)
    client = make_client(app)
    if path == "failing":
        with suppress(OSError):
            client.get(f"/m/{path}")
    else:
        assert client.get(f"/m/{path}").text == "sent"
    until(lambda: len(guard.log) == len(expected))
    assert guard.log == expected
