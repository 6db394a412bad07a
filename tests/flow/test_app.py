"""``App``: both protocols in one object, an author's settings, startup and shutdown."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import Any

import pytest

from micropie import (
    App,
    HttpMiddleware,
    InMemorySessionBackend,
    Redirect,
    template,
)
from micropie.testing import TestClient
from tests.asgi.calls import Call, http_scope, piece
from tests.support.clients import MakeClient


class Hello(App):
    def index(self) -> str:
        return "hello"


# -- one object, two protocols ---------------------------------------------------------------------


def test_one_app_object_serves_both_protocols(connect: MakeClient) -> None:
    app = Hello()
    clients = [connect(app, world) for world in ("wsgi", "asyncio", "trio")]
    assert [client.get("/").text for client in clients * 2] == ["hello"] * 6


# of Python 3.14
@pytest.mark.filterwarnings("ignore:.*asyncio.iscoroutinefunction:DeprecationWarning")
def test_servers_recognise_an_asgi_3_application() -> None:
    app: Any = Hello()
    assert inspect.iscoroutinefunction(app.__call__)  # uvicorn, hypercorn, granian
    assert asyncio.iscoroutinefunction(app.__call__)
    assert not inspect.isclass(app)  # asgiref's test for ASGI 2
    assert callable(app)


def test_a_server_may_call_with_keywords() -> None:
    app: Any = Hello()
    daphne, other = Call(piece(b"")), Call(piece(b""))
    asyncio.run(app(scope=http_scope(), receive=daphne.receive, send=daphne.send))
    asyncio.run(app.__call__(http_scope(), other.receive, other.send))
    assert (daphne.body, other.body) == (b"hello", b"hello")


def test_the_instance_s_call_is_async_and_the_class_s_call_serves_both() -> None:
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "wsgi.url_scheme": "http"}
    heads: list[Any] = []
    body = Hello()(
        environ, lambda status, headers, exc_info=None: heads.append((status, dict(headers)))
    )
    assert b"".join(body) == b"hello"
    described = {"Content-Type": "text/html; charset=utf-8", "Content-Length": "5"}
    assert heads == [("200 OK", {**described, "X-Content-Type-Options": "nosniff"})]


def test_a_subclass_that_forgets_super_init_works(make_client: MakeClient) -> None:
    class Forgetful(App):
        def __init__(self, greeting: str, *, loud: bool = False) -> None:
            self.greeting = greeting.upper() if loud else greeting

        def index(self) -> str:
            self.request.session["n"] = 1
            return self.greeting

    assert make_client(Forgetful("hi", loud=True)).get("/").text == "HI"


def test_two_applications_share_nothing() -> None:
    one: Any = Hello()
    two: Any = Hello()
    for name in ("middlewares", "ws_middlewares", "startup_handlers", "shutdown_handlers", "state"):
        assert getattr(one, name) is not getattr(two, name)
    one.state.x = 1
    one.get("/only-one")(lambda: "x")
    with pytest.raises(AttributeError, match="no 'x'"):
        _ = two.state.x
    statuses = [TestClient(app, protocol="wsgi").get("/only-one").status_code for app in (one, two)]
    assert statuses == [200, 404]


def test_an_unused_application_is_garbage_collected() -> None:
    import gc
    import weakref

    app = Hello()
    app._micropie.compiled()
    reference = weakref.ref(app)
    del app
    gc.collect()
    assert reference() is None


# -- hooks, sessions, errors: what an author sets --------------------------------------------------


class Tagging(HttpMiddleware):
    def __init__(self, tag: str = "tag") -> None:
        self.tag = tag

    def before_request(self, request: Any) -> None:
        request.state.tags = [*getattr(request.state, "tags", []), self.tag]


class Tagged(App):
    def index(self) -> Any:
        return self.request.state.tags


def test_class_level_middlewares_are_used(make_client: MakeClient) -> None:
    class Guarded(Tagged):
        middlewares = [Tagging("class")]  # noqa: RUF012 - what is tested

    one, two = Guarded(), Guarded()
    one.middlewares.append(Tagging("one"))
    assert make_client(one).get("/").json() == ["class", "one"]
    assert make_client(two).get("/").json() == ["class"]


class Counting(App):
    def index(self) -> str:
        self.request.session["n"] = self.request.session.get("n", 0) + 1
        return str(self.request.session["n"])


def test_a_session_backend_may_be_assigned(make_client: MakeClient) -> None:
    backend = InMemorySessionBackend()
    app = Counting()
    app.session_backend = backend
    client = make_client(app)
    client.get("/")
    assert backend.load(client.cookies["session_id"]) == {"n": 1}


def test_a_class_level_session_backend_is_used(make_client: MakeClient) -> None:
    backend = InMemorySessionBackend()
    client = make_client(type("Root", (Counting,), {"session_backend": backend})())
    client.get("/")
    assert backend.load(client.cookies["session_id"]) == {"n": 1}


@pytest.mark.parametrize("name", ["startup_handlers", "shutdown_handlers"])
def test_class_level_startup_and_shutdown_handlers_are_used(name: str) -> None:
    calls: list[str] = []
    app = type("Root", (Hello,), {name: [lambda: calls.append(name)]})()
    with TestClient(app) as client:
        client.get("/")
    assert calls == [name]


def test_an_application_has_redirect_and_templates(make_client: MakeClient, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("{{ who }}!")

    class Root(App):
        def leave(self) -> Any:
            return self._redirect("/there", 307)

        def raised(self) -> Any:
            raise Redirect("/there")

        def plain(self) -> str:
            return self.render("page.html", who="<i>")

        async def page(self) -> str:
            return await self._render_template("page.html", who="<b>")

    client = make_client(Root(templates=str(tmp_path)))
    assert [client.get(path).status_code for path in ("/leave", "/raised")] == [307, 303]
    assert [client.get(path).text for path in ("/plain", "/page")] == ["&lt;i&gt;!", "&lt;b&gt;!"]


def test_render_and_redirect_work_although_handlers_have_those_names(
    make_client: MakeClient, tmp_path: Path
) -> None:
    (tmp_path / "page.html").write_text("template")

    class Root(App):
        async def render(self) -> str:  # type: ignore[override]
            return await self._render_template("page.html")

    assert make_client(Root(templates=str(tmp_path))).get("/render").text == "template"


def test_state_can_be_used_by_attributes_and_by_keys() -> None:
    app: Any = App()
    app.state.pool = 5
    app.state["name"] = "x"
    seen = (app.state["pool"], app.state.name, "pool" in app.state, "other" in app.state)
    assert seen == (5, "x", True, False)


# -- startup and shutdown ------------------------------------------------------------------------


def test_attributes_changed_by_handlers_do_not_recompile_the_site(make_client: MakeClient) -> None:
    class Counts(App):
        count = 0

        def index(self) -> int:
            self.count += 1
            self.last = "x"
            return self.count

    app = Counts()
    client = make_client(app)
    assert client.get("/").json() == 1
    sites = [app._micropie.compiled(), app._micropie.compiled("inline")]
    assert client.get("/").json() == 2
    assert [app._micropie.compiled(), app._micropie.compiled("inline")] == sites


@pytest.mark.parametrize("call", [{"asgi": {"version": "3.0"}}, {"wsgi.version": (1, 0)}])
def test_passing_a_class_to_a_server_raises_a_clear_error(call: dict[str, Any]) -> None:
    class Root(App):
        pass

    with pytest.raises(
        TypeError, match=r"the class Root instead of an application: write app = Root\(\)"
    ):
        Root(call)  # type: ignore[arg-type]


def test_a_template_takes_a_dict_and_keywords(make_client: MakeClient, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("{{ a }} {{ b }}")

    class Root(App):
        def page(self) -> str:
            return self.render("page.html", {"a": 1, "b": 1}, b=2)

        async def awaited(self) -> str:
            return await self.render_async("page.html", {"a": 1}, b=2)

        def streamed(self) -> Any:
            return self.render_stream("page.html", {"a": 1, "b": 2})

        def inline_source(self) -> str:
            return template(source="{{ a }} {{ b }}", a=1, b=2)

    client = make_client(Root(templates=tmp_path))
    paths = ("page", "awaited", "streamed", "inline_source")
    assert {client.get(f"/{path}").text for path in paths} == {"1 2"}
