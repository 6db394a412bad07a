"""``@requires``: checks above handlers, classes and applications, and the route that hooks see."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from micropie import (
    App,
    HTTPError,
    HttpMiddleware,
    Redirect,
    Response,
    SetupError,
    WebSocket,
    get,
    post,
    requires,
    route,
    run_in,
    websocket,
)
from micropie.middleware import BasicAuth
from micropie.testing import TestClient, WebSocketRefused
from tests.support.clients import MakeClient


def members(request: Any) -> bool:
    if request.query("key") != "sesame":
        raise HTTPError(401, "members only")
    return True


async def admins(request: Any) -> bool:
    return bool(request.query("role") == "admin")


@run_in("loop")
def readers(request: Any) -> Any:
    return "key" in request.query or Redirect("/log-in")


class Plain(App):
    @requires(members)
    def sync(self) -> str:
        return "in"

    @requires(members, admins)
    async def both(self) -> str:
        return "in"

    @requires(members)
    @get("/explicit/<number:int>")
    @requires(admins)
    def explicit(self, number: int) -> str:
        return "in"

    @post
    @requires(readers)
    def form(self, name: str) -> str:
        return name

    def open(self) -> str:
        return "open"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/sync", 401),
        ("/sync/", 401),
        ("/sync?key=sesame", 200),
        ("/both?key=sesame", 403),
        ("/both?role=admin", 401),
        ("/both?role=admin&key=sesame", 200),
        ("/explicit/1?key=sesame", 403),
        ("/explicit/1?role=admin", 401),
        ("/explicit/1?role=admin&key=sesame", 200),
        ("/explicit/x", 404),
        ("/form", 405),
        ("/open", 200),
    ],
)
def test_an_access_check_above_a_handler_protects_it(
    make_client: MakeClient, path: str, status: int
) -> None:
    assert make_client(Plain()).get(path).status_code == status


def test_an_access_check_refuses_before_the_body_is_read(make_client: MakeClient) -> None:
    client = make_client(Plain())
    broken = client.post(
        "/form", content=b"{", headers={"content-type": "application/json"}, follow_redirects=False
    )
    assert (broken.status_code, broken.headers["location"]) == (303, "/log-in")
    assert client.post("/form?key=1", data={"name": "Ann"}).text == "Ann"


@pytest.mark.parametrize(
    ("answer", "status", "text"),
    [
        (True, 200, "in"),
        (False, 403, "403 Forbidden"),
        ((418, "tea"), 418, "tea"),
        ("a page to log in", 200, "a page to log in"),
        ("", 200, ""),
        ({"error": "no"}, 200, '{"error":"no"}'),
        (Response("gone", 410), 410, "gone"),
        (HTTPError(402, "pay"), 402, "pay"),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["def", "async def", "decorated"])
def test_an_access_check_may_return_true_or_a_response(
    make_client: MakeClient, kind: str, answer: Any, status: int, text: str
) -> None:
    def check(request: Any) -> Any:
        return answer

    async def waiting(request: Any) -> Any:
        return answer

    def decorated(request: Any) -> Any:
        return waiting(request)

    class Root(App):
        @requires({"def": check, "async def": waiting, "decorated": decorated}[kind])
        def index(self) -> str:
            return "in"

    found = make_client(Root()).get("/")
    assert (found.status_code, found.text) == (status, text)


class Inner(App):
    def index(self) -> str:
        return "in"

    def page(self, name: str = "") -> str:
        return "in"

    @get("/far/<name>")
    def far(self, name: str) -> str:
        return "in"

    async def ws_chat(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_text("in")


@requires(members)
class Closed(Inner):
    pass


class Heir(Closed):
    def page(self, name: str = "") -> str:
        return "in"


@requires(admins)
class Mixin:
    pass


class TwoBases(Mixin, Closed):
    pass


def wsgi(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"in"]


def closed_application(environ: Any, start_response: Any) -> Any:
    return wsgi(environ, start_response)


class Site(App):
    def __init__(self) -> None:
        super().__init__()
        self.closed = Closed()
        self.heir = Heir()
        self.both = TwoBases()
        self.one = requires(members)(Inner())
        self.open = Inner()
        self.closed.deep = Inner()
        self.mount("/shared", Closed())
        self.mount("/alone", Closed(), isolated=True)
        self.closed.mount("/old", wsgi)
        self.closed.mount("/isolated", Inner(), isolated=True)
        self.mount("/wsgi", requires(members)(closed_application))


INSIDE = ["", "/", "/page", "/page/x", "/page/", "/far/x", "/chat", "/nothing", "/nothing/"]
APPS = ["/closed", "/heir", "/one", "/shared", "/alone", "/closed/deep", "/closed/isolated"]


@pytest.mark.parametrize("app", APPS)
def test_an_access_check_above_a_class_or_application_protects_it(
    make_client: MakeClient, app: str
) -> None:
    client = make_client(Site())
    found = {path: client.get(app + path).status_code for path in INSIDE}
    assert found == dict.fromkeys(INSIDE, 401)
    answers = [client.get(f"{app}{path}?key=sesame").status_code for path in INSIDE]
    assert answers == [200] * 6 + [404] * 3
    assert client.get("/open/page").text == "in"


def test_access_checks_of_all_base_classes_apply(make_client: MakeClient) -> None:
    client = make_client(Site())
    assert client.get("/both").status_code == 401
    assert client.get("/both?key=sesame").status_code == 403
    assert client.get("/both?key=sesame&role=admin").text == "in"


@pytest.mark.parametrize("path", ["/closed/old", "/closed/old/x", "/wsgi", "/wsgi/x/"])
def test_an_access_check_protects_mounted_applications(make_client: MakeClient, path: str) -> None:
    client = make_client(Site())
    assert (client.get(path).status_code, client.get(f"{path}?key=sesame").text) == (401, "in")


def test_an_access_check_protects_the_outermost_application(make_client: MakeClient) -> None:
    app = Closed()
    client = make_client(app)
    assert [client.get(path).status_code for path in INSIDE[1:]] == [401] * 8
    assert client.get("/?key=sesame").text == "in"
    # a live list: checks run after what is in it
    app.middlewares.append(BasicAuth({"ann": "secret"}))
    assert client.get("/").text == "Please log in."


def test_an_access_check_added_while_the_application_runs_applies(make_client: MakeClient) -> None:
    app, inner = App(), App()
    app.get("/")(lambda: "in")
    inner.get("/page")(lambda: "in")
    app.inner = inner
    client = make_client(app)
    assert client.get("/inner/page").text == "in"
    requires(members)(inner)
    assert (client.get("/inner/page").status_code, client.get("/").text) == (401, "in")
    requires(members)(app)
    assert client.get("/").status_code == 401


def test_access_checks_run_from_the_outermost_to_the_innermost_after_middleware(
    make_client: MakeClient,
) -> None:
    ran: list[str] = []

    def check(name: str) -> Callable[[Any], bool]:
        def check(request: Any) -> bool:
            ran.append(name)
            return True

        return check

    def hook(name: str) -> Callable[[Any], Any]:
        def hook(request: Any) -> Any:
            ran.append(name)
            yield

        return hook

    @requires(check("inner"))
    class Guarded(App):
        @requires(check("handler 1"), check("handler 2"))
        def page(self) -> str:
            return "in"

    @requires(check("outer"))
    class Root(App):
        inner = Guarded()

    app = Root()
    app.middlewares.append(hook("outer hook"))
    app.inner.middlewares.append(hook("inner hook"))
    assert make_client(app).get("/inner/page").text == "in"
    assert ran == ["outer hook", "outer", "inner hook", "inner", "handler 1", "handler 2"]


def test_an_access_check_that_stands_twice_runs_once(make_client: MakeClient) -> None:
    asked: list[str] = []

    def check(request: Any) -> bool:
        asked.append(request.path)
        return True

    class Root(App):
        @requires(check)
        @requires(check)
        def page(self) -> str:
            return "in"

    assert make_client(Root()).get("/page").text == "in"
    assert asked == ["/page"]


def test_an_access_check_sees_the_user_and_the_session(make_client: MakeClient) -> None:
    def check(request: Any) -> Any:
        request.session["seen"] = request.session.get("seen", 0) + 1
        return bool(request.state.user == "ann")

    @requires(check)
    class Root(App):
        def index(self) -> str:
            return str(self.request.session["seen"])

    app = Root()
    app.middlewares.append(BasicAuth({"ann": "secret", "bob": "secret"}))
    client = make_client(app)
    assert [client.get("/", auth=("ann", "secret")).text for _ in range(2)] == ["1", "2"]
    assert client.get("/", auth=("bob", "secret")).status_code == 403


# -- WebSockets ------------------------------------------------------------------------------------


class Sockets(App):
    @requires(members)
    async def ws_named(self, ws: WebSocket) -> None:
        await ws.accept()

    @requires(admins)
    @websocket("/explicit/<room>")
    async def explicit(self, ws: WebSocket, room: str) -> None:
        await ws.accept()

    inner = Closed()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/named", 401),
        ("/named?key=sesame", 101),
        ("/explicit/a", 403),
        ("/explicit/a?role=admin", 101),
        ("/inner/chat", 401),
        ("/inner/chat?key=sesame", 101),
        ("/alone/chat", 401),
        ("/alone/chat?key=sesame", 101),
    ],
)
@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_an_access_check_protects_websockets(
    connect: MakeClient, loop: str, path: str, status: int
) -> None:
    app = Sockets()
    app.mount("/alone", Closed(), isolated=True)
    client: TestClient = connect(app, loop, denial_response=True)
    try:
        with client.websocket(path):
            found = 101
    except WebSocketRefused as refused:
        found = refused.status
    assert found == status


# -- mistakes --------------------------------------------------------------------------------------


def generator(request: Any) -> Any:
    yield


async def async_generator(request: Any) -> Any:
    yield


def twice(function: Any) -> Any:
    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        return function(*arguments) * 2

    return call


class Method:
    def check(self, request: Any, user: str = "") -> bool:
        return True


def logged(function: Any) -> Any:
    """A decorator that calls the function below with more than it takes itself."""

    @functools.wraps(function)
    def call(request: Any) -> Any:
        return function(request, "a connection")

    return call


@logged
def with_connection(request: Any, connection: str) -> bool:
    return connection == "a connection"


class CalledAsGenerator:
    def __call__(self, request: Any) -> Iterator[bool]:
        yield False


NO_CHECKS = [
    *("members", None, 5, App, generator, async_generator, CalledAsGenerator()),
    *(contextlib.contextmanager(generator), contextlib.asynccontextmanager(async_generator)),
    *(lambda: True, lambda request, user: True, lambda request, *, user: True, Method.check),
]


@pytest.mark.parametrize("check", NO_CHECKS)
def test_an_invalid_access_check_is_refused(check: Any) -> None:
    with pytest.raises(
        SetupError,
        match=r"is not a check: .* Write def members\(request\): ... and @requires\(members\)",
    ):
        requires(check)


CHECKS = [Method().check, with_connection, {"/": True}.get, lambda request, user="": True]


@pytest.mark.parametrize("check", [*CHECKS, max])  # inspect can't read the signature of max
def test_any_callable_that_takes_the_request_is_an_access_check(check: Any) -> None:
    requires(check)(App())._micropie.compiled()


class User:
    name = "Ann"


class Asking:
    def __call__(self, request: Any, user: User) -> bool:
        return user.name == "Ann"


class AskingSlowly:
    async def __call__(self, request: Any, user: User) -> bool:
        return user.name == "Ann"


@pytest.mark.parametrize("check", [Asking(), AskingSlowly()])
def test_a_callable_object_may_be_an_access_check_with_resources(
    make_client: MakeClient, check: Any
) -> None:
    app = App()
    app.inner = requires(check)(Inner())
    app.provides(User)(User)
    assert make_client(app).get("/inner").text == "in"
    with pytest.raises(SetupError, match="nothing provides its parameter 'user'"):
        requires(check)(App())._micropie.compiled()


def test_an_access_check_below_a_decorator_may_have_more_parameters(
    make_client: MakeClient,
) -> None:
    assert make_client(requires(with_connection)(Inner())).get("/").text == "in"


def test_requires_without_parentheses_above_a_method_is_refused() -> None:
    for kind in (lambda function: function, twice):
        with pytest.raises(SetupError, match=r"page is not a check: .* and @requires\(members\)"):

            class Root(App):
                @requires
                @kind
                def page(self) -> str:
                    return "in"

    with pytest.raises(SetupError, match="ws_page is not a check"):

        class Sockets(App):
            @requires  # type: ignore[arg-type]
            async def ws_page(self, ws: WebSocket) -> None:
                await ws.accept()


@pytest.mark.parametrize("kind", [lambda function: function, twice])
def test_requires_without_parentheses_above_a_function_is_refused(kind: Any) -> None:
    app = App()

    @app.get("/page")
    @kind  # type: ignore[untyped-decorator]
    @requires  # type: ignore[arg-type]
    def page(name: str) -> str:
        return "in"

    with pytest.raises(SetupError, match=r"treats .*page as the check: write @requires\(check\)"):
        app._micropie.compiled()


# -- a check that returns nothing ------------------------------------------------------------------


def forgetful(request: Any) -> Any:
    """Look at the key, and forget to return what was seen."""
    request.query("key") == "sesame"  # noqa: B015


async def forgetful_too(request: Any) -> Any:
    forgetful(request)


@pytest.mark.parametrize("check", [forgetful, forgetful_too])
@pytest.mark.parametrize(
    "path", ["/one", "/inner/page", "/shared/page", "/alone/page", "/wsgi", "/nothing"]
)
def test_an_access_check_that_returns_none_refuses_the_request(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, check: Any, path: str
) -> None:
    class Root(App):
        @requires(check)
        def one(self) -> str:
            return "in"

        inner = requires(check)(Inner())

    app: App = Root()
    app.mount("/shared", requires(check)(Inner()))
    app.mount("/alone", requires(check)(Inner()), isolated=True)
    app.mount(
        "/wsgi", requires(check)(lambda environ, start_response: wsgi(environ, start_response))
    )
    if path == "/nothing":
        app = requires(check)(app)
    found = make_client(app).get(f"{path}?key=sesame")
    assert (found.status_code, found.text) == (500, "500 Internal Server Error")
    assert f"the check {check.__name__} returned None, which is neither yes nor no" in caplog.text
    assert "return True to let the request in" in caplog.text


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
@pytest.mark.parametrize("path", ["/named", "/inner/chat", "/alone/chat", "/asgi"])
def test_an_access_check_that_returns_none_refuses_a_websocket(
    connect: MakeClient, caplog: pytest.LogCaptureFixture, loop: str, path: str
) -> None:
    class Root(App):
        @requires(forgetful)
        async def ws_named(self, ws: WebSocket) -> None:
            await ws.accept()

        inner = requires(forgetful)(Inner())

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})

    app = Root()
    app.mount("/alone", requires(forgetful)(Inner()), isolated=True)
    app.mount("/asgi", requires(forgetful)(asgi))
    client: TestClient = connect(app, loop, denial_response=True)
    with pytest.raises(WebSocketRefused) as refused, client.websocket(path):
        pass
    assert refused.value.status == 500
    assert "the check forgetful returned None" in caplog.text


def test_access_checks_after_a_refusal_do_not_run(make_client: MakeClient) -> None:
    ran: list[str] = []

    class Root(App):
        @requires(forgetful, lambda request: ran.append("after"))  # type: ignore[arg-type]
        def index(self) -> str:
            return "in"

    assert make_client(Root()).get("/").status_code == 500
    assert not ran


def test_requires_without_an_access_check_is_refused() -> None:
    with pytest.raises(SetupError, match=r"write @requires\(check\)"):
        requires()


def careless(function: Any) -> Any:
    return lambda self: function(self)


def test_other_decorators_may_surround_requires(make_client: MakeClient) -> None:
    ran: list[str] = []

    def check(request: Any) -> bool:
        ran.append("check")
        return True

    class Root(App):
        @requires(check)
        @twice
        def above(self) -> str:
            return "in"

        @twice
        @requires(check)
        def below(self) -> str:
            return "in"

        @requires(check)
        @careless
        def outside(self) -> str:
            return "in"

        partly = functools.partialmethod(below)

    client = make_client(Root())
    for path in ("/above", "/below", "/outside", "/partly"):
        assert client.get(path).text in ("inin", "in")
    assert ran == ["check"] * 4


def nobody(request: Any) -> bool:
    return False


class Called:
    @requires(nobody)
    def __call__(self) -> str:
        return "in"


@requires(nobody)
class Guarded:
    def __call__(self) -> str:
        return "in"


@pytest.mark.parametrize(
    "handler",
    [Called(), Guarded(), functools.partial(Called())],
    ids=["method", "class", "partial"],
)
def test_an_access_check_above_a_callable_object_protects_it(
    make_client: MakeClient, handler: Any
) -> None:
    app = App(expose="explicit")
    app.get("/page")(handler)
    assert make_client(app).get("/page").status_code == 403


@requires(nobody)
def foreign(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"in"]


@pytest.mark.parametrize(
    ("target", "status"), [(foreign, 500), (requires(nobody)(App()), 403)], ids=["wsgi", "app"]
)
def test_an_access_check_protects_an_application_chosen_by_a_hook(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, target: Any, status: int
) -> None:
    class Choose(HttpMiddleware):
        def before_request(self, request: Any) -> None:
            request._subapp = target

    app = App()
    app.middlewares.append(Choose())
    assert make_client(app, raise_app_exceptions=False).get("/").status_code == status
    assert ("would not run: mount the target with app.mount" in caplog.text) == (status == 500)


def test_a_decorator_that_hides_an_access_check_is_refused() -> None:
    class Root(App):
        @careless
        @requires(members)
        def page(self) -> str:
            return "in"

    with pytest.raises(
        SetupError, match=r"no effect on .*Root\.page, .* write @requires above all others"
    ):
        Root()._micropie.compiled()


# -- the route that hooks see ----------------------------------------------------------------------


class Seeing(HttpMiddleware):
    def before_request(self, request: Any) -> Any:
        found = request.route
        return {"body": "none" if found is None else f"{found.name} {found.pattern}"}


class Named(App):
    def index(self) -> str:
        return ""

    def page(self, *rest: str) -> str:
        return ""

    @route("/users/<number:int>", name="user")
    def show(self, number: int) -> str:
        return ""


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("/", "index /"),
        ("/page", "page /page"),
        ("/page/x/y/", "page /page"),
        ("/users/5", "user /users/<number:int>"),
        ("/inner", "inner.index /inner"),
        ("/inner/users/5/", "inner.user /inner/users/<number:int>"),
        ("/shared/users/5", "shared.user /shared/users/<number:int>"),
        ("/old/x/", "/old /old"),
        ("/nothing", "none"),
    ],
)
def test_hooks_see_the_route(make_client: MakeClient, path: str, seen: str) -> None:
    app = Named()
    app.inner = Named()
    app.mount("/shared", Named())
    app.mount("/old", wsgi)
    app.middlewares.append(Seeing())
    assert make_client(app).get(path).text == seen


def test_a_check_above_an_application_runs_once(make_client: MakeClient) -> None:
    """However often it is written: above a class and its base, or for each object that mounts an
    application of another framework.
    """
    seen: list[str] = []

    def noting(request: Any) -> bool:
        seen.append(request.path)
        return True

    @requires(noting)
    class Base(App):
        def index(self) -> str:
            return "in"

    @requires(noting)
    class Inner(Base): ...

    def foreign(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [])
        return [b"in"]

    def made() -> App:
        app = App()
        app.inner = requires(noting)(Inner())
        app.mount("/foreign", requires(noting)(foreign))
        return app

    made()
    client = make_client(made())
    assert [client.get(path).text for path in ("/inner", "/foreign")] == ["in", "in"]
    assert seen == ["/inner", "/foreign"]
