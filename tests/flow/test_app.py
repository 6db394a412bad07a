"""``App``: both protocols in one object, an author's settings, start-up and shut-down."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from micropie import (
    App,
    HTTPError,
    HttpMiddleware,
    InMemorySessionBackend,
    Redirect,
    SetupError,
    request,
    route,
    template,
)
from micropie.testing import TestClient
from tests.conftest import MakeClient


class Hello(App):
    def index(self) -> str:
        return "hello"


# -- one object, two protocols ---------------------------------------------------------------------


def test_one_object_answers_both_protocols(connect: MakeClient) -> None:
    app = Hello()
    clients = [connect(app, world) for world in ("wsgi", "asyncio", "trio")]
    assert [client.get("/").text for client in clients * 2] == ["hello"] * 6


# of Python 3.14
@pytest.mark.filterwarnings("ignore:.*asyncio.iscoroutinefunction:DeprecationWarning")
def test_servers_that_ask_see_an_asgi_3_application() -> None:
    app: Any = Hello()
    assert inspect.iscoroutinefunction(app.__call__)  # uvicorn, hypercorn, granian
    assert asyncio.iscoroutinefunction(app.__call__)
    assert not inspect.isclass(app)  # asgiref's test for ASGI 2
    assert callable(app)


def test_a_server_may_call_with_keywords() -> None:
    messages: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        messages.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "headers": [],
        "asgi": {},
    }
    app: Any = Hello()
    asyncio.run(app(scope=scope, receive=receive, send=send))  # daphne
    asyncio.run(app.__call__(scope, receive, send))
    assert [message.get("body") for message in messages] == [None, b"hello", None, b"hello"]


def test_the_instance_s_call_is_for_asgi_and_python_s_call_for_both() -> None:
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "wsgi.url_scheme": "http"}
    heads: list[Any] = []
    body = Hello()(
        environ, lambda status, headers, exc_info=None: heads.append((status, dict(headers)))
    )
    assert b"".join(body) == b"hello"
    described = {"Content-Type": "text/html; charset=utf-8", "Content-Length": "5"}
    assert heads == [("200 OK", {**described, "X-Content-Type-Options": "nosniff"})]


def test_a_scope_that_asgi_does_not_know_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"'carrier\.pigeon'"):
        asyncio.run(Hello()({"type": "carrier.pigeon"}, None, print))


def test_a_subclass_that_forgets_super_init_works(make_client: MakeClient) -> None:
    class Forgetful(App):
        def __init__(self, greeting: str, *, loud: bool = False) -> None:
            self.greeting = greeting.upper() if loud else greeting

        def index(self) -> str:
            self.request.session["n"] = 1
            return self.greeting

    assert make_client(Forgetful("hi", loud=True)).get("/").text == "HI"


def test_an_application_of_plain_functions_needs_no_class(make_client: MakeClient) -> None:
    app = App()

    @app.get("/")
    def home() -> str:
        return request.path

    assert make_client(app).get("/").text == "/"


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


def test_an_application_can_be_garbage() -> None:
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

    def after_request(
        self, request: Any, status_code: int, response_body: Any, extra_headers: Any
    ) -> Any:
        return None


class Tagged(App):
    def index(self) -> Any:
        return self.request.state.tags

    def untagged(self) -> Any:
        return getattr(self.request.state, "tags", [])


def test_middlewares_may_be_appended_and_assigned_at_any_time(make_client: MakeClient) -> None:
    app = Tagged()
    client = make_client(app)
    assert client.get("/untagged").json() == []
    app.middlewares.append(Tagging("a"))
    assert client.get("/").json() == ["a"]
    app.middlewares = [Tagging("b"), Tagging("c")]
    assert client.get("/").json() == ["b", "c"]


def test_middlewares_of_the_class_count(make_client: MakeClient) -> None:
    class Guarded(Tagged):
        middlewares = [Tagging("class")]  # noqa: RUF012 - what is tested

    one, two = Guarded(), Guarded()
    one.middlewares.append(Tagging("one"))
    assert make_client(one).get("/").json() == ["class", "one"]
    assert make_client(two).get("/").json() == ["class"]


def test_an_outer_application_s_middlewares_see_the_requests_of_inner_ones(
    make_client: MakeClient,
) -> None:
    root: Any = Tagged()
    root.inner = Tagged()
    root.middlewares.append(Tagging("outer"))
    root.inner.middlewares.append(Tagging("inner"))
    client = make_client(root)
    assert [client.get("/inner").json(), client.get("/").json()] == [["outer", "inner"], ["outer"]]


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


def test_a_session_backend_of_the_class_counts(make_client: MakeClient) -> None:
    backend = InMemorySessionBackend()
    client = make_client(type("Root", (Counting,), {"session_backend": backend})())
    client.get("/")
    assert backend.load(client.cookies["session_id"]) == {"n": 1}


def test_an_inner_application_may_keep_its_sessions_elsewhere(make_client: MakeClient) -> None:
    backend = InMemorySessionBackend()
    root: Any = Counting()
    root.shared = Counting()
    root.apart = Counting(session_backend=backend)
    client = make_client(root)
    assert [client.get(path).text for path in ("/", "/shared")] == ["1", "2"]
    assert client.get("/apart").text == "1"
    assert backend.load(client.cookies.get("session_id", path="/apart") or "") == {"n": 1}
    assert [client.get(path).text for path in ("/", "/shared")] == ["3", "4"]


@pytest.mark.parametrize("name", ["startup_handlers", "shutdown_handlers"])
def test_start_up_and_shut_down_handlers_of_the_class_count(name: str) -> None:
    calls: list[str] = []
    app = type("Root", (Hello,), {name: [lambda: calls.append(name)]})()
    with TestClient(app) as client:
        client.get("/")
    assert calls == [name]


def test_error_handlers_by_status_and_by_class(make_client: MakeClient) -> None:
    app = Hello()

    class Teapot(Exception):
        pass

    @app.error(404)
    def missing(error: HTTPError) -> str:
        return f"nothing at {request.path}: {error.status}"

    @app.error(Teapot)
    async def teapot() -> tuple[int, str]:
        return 418, "short and stout"

    def brew() -> None:
        raise Teapot

    app.brew = route()(brew)  # a handler
    client = make_client(app)
    answers = [
        (response.status_code, response.text)
        for response in (client.get("/nothing"), client.get("/brew"))
    ]
    assert answers == [(404, "nothing at /nothing: 404"), (418, "short and stout")]


def test_an_error_handler_registered_late_counts(make_client: MakeClient) -> None:
    app = Hello()
    client = make_client(app)
    assert client.get("/x").text == "404 Not Found"
    app.error(404)(lambda: "mine")
    assert client.get("/x").text == "mine"


@pytest.mark.parametrize(
    "key", [200, 302, 99, 600, "404", None, True, int, BaseException, KeyboardInterrupt, [404]]
)
def test_an_error_handler_for_what_is_no_error_is_refused(key: Any) -> None:
    with pytest.raises(SetupError, match="status from 400 to 599 or an exception class"):
        App().error(key)


def test_redirect_and_templates_of_the_application(make_client: MakeClient, tmp_path: Path) -> None:
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


def test_render_and_redirect_work_for_an_application_whose_handlers_have_those_names(
    make_client: MakeClient, tmp_path: Path
) -> None:
    (tmp_path / "page.html").write_text("template")

    class Root(App):
        async def render(self) -> str:  # type: ignore[override]
            return await self._render_template("page.html")

    assert make_client(Root(templates=str(tmp_path))).get("/render").text == "template"


def test_request_and_response_are_the_current_ones(make_client: MakeClient) -> None:
    class Root(App):
        def index(self) -> str:
            self.response.status = 201
            self.response.headers["x-path"] = self.request.path
            return "made"

    response = make_client(Root()).get("/")
    assert (response.status_code, response.headers["x-path"]) == (201, "/")


@pytest.mark.parametrize("name", ["request", "response"])
def test_outside_of_a_request_there_is_no_request(name: str) -> None:
    with pytest.raises(LookupError, match="no current request"):
        getattr(App(), name)


def test_state_takes_attributes_and_keys() -> None:
    app: Any = App()
    app.state.pool = 5
    app.state["name"] = "x"
    seen = (app.state["pool"], app.state.name, "pool" in app.state, "other" in app.state)
    assert seen == (5, "x", True, False)


# -- start-up and shut-down ------------------------------------------------------------------------


def recording_app(events: list[str], name: str = "") -> App:
    class Recorded(App):
        def index(self) -> Any:
            return events[:]

        @asynccontextmanager
        async def lifespan(self) -> AsyncIterator[None]:
            events.append(f"{name}enter")
            yield
            events.append(f"{name}leave")

    async def start_async() -> None:
        events.append(f"{name}start async")

    async def stop_async() -> None:
        events.append(f"{name}stop async")

    app = Recorded()
    app.startup_handlers += [lambda: events.append(f"{name}start"), start_async]
    app.shutdown_handlers += [lambda: events.append(f"{name}stop"), stop_async]
    return app


def test_start_up_runs_before_the_first_request_and_shut_down_after_the_last(
    connect: MakeClient, world: str
) -> None:
    events: list[str] = []
    app = recording_app(events)
    options = {"protocol": "wsgi"} if world == "wsgi" else {"backend": world}
    with TestClient(app, **options) as client:  # type: ignore[arg-type]
        started = ["enter", "start", "start async"]
        assert [client.get("/").json(), client.get("/").json()] == [started, started]
    assert events == [*started, "stop", "stop async", "leave"]


def test_an_outer_application_starts_first_and_stops_last(world: str) -> None:
    events: list[str] = []
    root: Any = recording_app(events, "outer ")
    root.inner = recording_app(events, "inner ")
    options = {"protocol": "wsgi"} if world == "wsgi" else {"backend": world}
    with TestClient(root, **options) as client:  # type: ignore[arg-type]
        client.get("/")
    kinds = [event.partition(" ")[0] for event in events]
    assert kinds == ["outer"] * 3 + ["inner"] * 3 + ["inner"] * 3 + ["outer"] * 3
    assert events[-6:] == [
        f"{name} {what}" for name in ("inner", "outer") for what in ("stop", "stop async", "leave")
    ]


@pytest.mark.parametrize("how", ["argument", "assigned", "generator"])
def test_a_lifespan_is_given_to_the_application(make_client: MakeClient, how: str) -> None:
    async def generator(app: Any) -> AsyncIterator[dict[str, str]]:
        yield {"pool": "open"}

    def index() -> str:
        return str(app.state.pool)

    options: dict[str, dict[str, Any]] = {
        "argument": {"lifespan": asynccontextmanager(generator)},
        "generator": {"lifespan": generator},
    }
    app: Any = App(**options.get(how, {}))
    if how == "assigned":
        app.lifespan = asynccontextmanager(partial(generator, app))
    app.index = route()(index)
    assert make_client(app).get("/").text == "open"


@pytest.mark.parametrize("lifespan", [lambda app: 5, lambda app: open])
def test_a_lifespan_that_makes_no_context_manager_fails_at_start_up(
    lifespan: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        pytest.raises(Exception, match="must make an async context manager"),
        TestClient(App(lifespan=lifespan)),
    ):
        pass


def test_a_failed_start_up_reaches_the_server_with_its_message(
    make_client: MakeClient, world: str, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[str] = []
    app = recording_app(events)

    def fail() -> None:
        raise ValueError("the database is late")

    app.startup_handlers.append(fail)
    if world == "wsgi":
        assert make_client(app).get("/").status_code == 500
        assert "the database is late" in caplog.text
    else:
        with pytest.raises(Exception, match="the database is late"):
            make_client(app)
    assert events[-1] == "leave"  # start-up is undone


def test_wsgi_shutdown_is_there_for_servers_exit_hooks() -> None:
    events: list[str] = []
    app = recording_app(events)
    client = TestClient(app, protocol="wsgi")
    client.get("/")
    app.wsgi_shutdown()
    app.wsgi_shutdown()  # a second call has nothing to do
    assert events[3:] == ["stop", "stop async", "leave"]


def test_an_application_that_never_served_stops_quietly(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    app = recording_app([])
    app.wsgi_shutdown()
    assert caplog.records == []


def test_attributes_that_handlers_change_do_not_cost_a_new_table(make_client: MakeClient) -> None:
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
def test_a_class_given_to_a_server_is_a_sentence(call: dict[str, Any]) -> None:
    class Root(App):
        pass

    with pytest.raises(
        TypeError, match=r"the class Root: write app = Root\(\) and give it this object"
    ):
        Root(call)  # type: ignore[arg-type]


def test_a_template_takes_a_dict_and_names(make_client: MakeClient, tmp_path: Path) -> None:
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
