"""Hooks that guard: what they refuse by HTTP, they refuse in handshakes, in isolated mounts and
below mounts.
"""

from __future__ import annotations

import base64
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from micropie import (
    App,
    HTTPError,
    HttpMiddleware,
    InMemorySessionBackend,
    Redirect,
    SetupError,
    WebSocket,
    WebSocketMiddleware,
)
from micropie.middleware import (
    BasicAuth,
    BearerAuth,
    CSRFMiddleware,
    FlowMiddleware,
    ProxyHeaders,
    RateLimit,
    SecurityDefaults,
    TrustedHosts,
)
from micropie.testing import TestClient, WebSocketRefused
from tests.asgi.calls import Call, http_scope, respond, run
from tests.support.clients import MakeClient

ANN = {"Authorization": "Basic " + base64.b64encode(b"ann:secret").decode()}


class Pages(App):
    """Answers by HTTP and by WebSocket."""

    def index(self) -> str:
        return f"page for {self.request.client.host} by {self.request.scheme}"  # type: ignore[union-attr]

    async def ws_index(self, ws: WebSocket) -> None:
        await ws.accept()
        client = ws.request.client
        assert client is not None
        await ws.send_text(f"socket for {client.host} by {ws.request.scheme}")


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """An application of another framework."""
    await receive()
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        await send(
            {
                "type": "websocket.send",
                "text": f"socket for {scope['client'][0]} by {scope['scheme']}",
            }
        )
        await send({"type": "websocket.close"})
    else:
        await respond(send, b"page for all")


def site(*hooks: Any, **settings: Any) -> Pages:
    root = Pages(**settings)
    root.middlewares += hooks
    root.inner = Pages()
    root.mount("/shared", Pages())
    root.mount("/alone", Pages(), isolated=True)
    root.mount("/asgi", asgi)
    return root


PATHS = ["/", "/inner", "/shared", "/alone", "/asgi"]


def statuses(client: TestClient, world: str, **options: Any) -> list[int]:
    """Return the status of each path, then of each path's WebSocket; 101 for one that was
    accepted.
    """
    found = [client.get(path, follow_redirects=False, **options).status_code for path in PATHS]
    for path in PATHS if world != "wsgi" else ():
        try:
            with client.websocket(path, **options) as ws:
                assert ws.receive_text().startswith("socket")
            found.append(101)
        except WebSocketRefused as refused:
            found.append(refused.status)
    return found


def answers(world: str, http: int, socket: int) -> list[int]:
    return [http] * len(PATHS) + [socket] * (len(PATHS) if world != "wsgi" else 0)


Connect = Callable[..., TestClient]


@pytest.fixture
def open_client(make_client: MakeClient, world: str) -> Connect:
    """``open_client(app)``: a client whose server can answer a refused handshake."""
    return lambda app, **options: make_client(
        app, **({} if world == "wsgi" else {"denial_response": True}), **options
    )


def test_basic_auth_protects_everything(open_client: Connect, world: str) -> None:
    client = open_client(site(BasicAuth({"ann": "secret"})))
    assert statuses(client, world) == answers(world, 401, 401)
    assert statuses(client, world, headers=ANN) == answers(world, 200, 101)
    assert "basic" in client.get("/alone").headers["www-authenticate"].lower()


ORIGINS = ["http://testserver", "https://friend.test", "https://evil.test", "null", None]


@pytest.mark.parametrize(
    ("settings", "below_mount"),
    [
        ({}, [101, 101, 101, 101, 101]),
        ({"websocket_origins_for_mounts": True}, [101, 101, 403, 403, 101]),
        ({"security": SecurityDefaults("testserver")}, [101, 101, 403, 403, 101]),
        (
            {"security": SecurityDefaults("testserver"), "websocket_origins_for_mounts": False},
            [101, 101, 101, 101, 101],
        ),
    ],
)
def test_R52_pages_of_other_sites_may_be_kept_from_websockets_of_mounts(
    open_client: Connect, world: str, settings: dict[str, Any], below_mount: list[int]
) -> None:
    app = Pages(websocket_origins=["https://friend.test"], **settings)
    app.mount("/asgi", asgi)
    app.inner = inner = Pages()
    inner.mount("/asgi", asgi)
    app.mount("/own", Pages(websocket_origins=["https://evil.test"]), isolated=True)
    client = open_client(app)
    assert client.get("/asgi", headers={"Origin": "https://evil.test"}).text == "page for all"
    if world == "wsgi":
        return

    def status(path: str, origin: str | None) -> int:
        try:
            with client.websocket(path, headers={} if origin is None else {"Origin": origin}) as ws:
                assert ws.receive_text().startswith("socket")
        except WebSocketRefused as refused:
            return refused.status
        return 101

    assert [status("/asgi", origin) for origin in ORIGINS] == below_mount
    assert [status("/inner/asgi", origin) for origin in ORIGINS] == below_mount
    # An isolated App has settings of its own.
    assert [status("/own", origin) for origin in ORIGINS] == [101, 403, 101, 403, 101]


def test_R52_an_access_check_precedes_the_origin_check_of_a_mounted_websocket(
    open_client: Connect, world: str
) -> None:
    root = site(
        ProxyHeaders(trusted=["127.0.0.1"]),
        BasicAuth({"ann": "secret"}),
        websocket_origins_for_mounts=True,
    )
    client = open_client(root)
    behind_proxy = {
        "X-Forwarded-For": "192.0.2.7",
        "X-Forwarded-Proto": "https",
        "Origin": "https://testserver",
    }
    assert statuses(client, world, headers=behind_proxy) == answers(world, 401, 401)
    assert statuses(client, world, headers={**behind_proxy, **ANN}) == answers(world, 200, 101)
    evil = {"Origin": "https://evil.test"}
    assert statuses(client, world, headers=evil) == answers(world, 401, 401)
    assert statuses(client, world, headers={**evil, **ANN}) == answers(world, 200, 403)


def test_bearer_auth_protects_everything(open_client: Connect, world: str) -> None:
    async def check(token: str) -> bool:
        return token == "abc"

    client = open_client(site(BearerAuth(check)))
    found = statuses(client, world, headers={"Authorization": "Bearer x"})
    assert found == answers(world, 401, 401)
    seen = statuses(client, world, headers={"Authorization": "Bearer abc"})
    assert seen == answers(world, 200, 101)


def test_trusted_hosts_protects_everything(open_client: Connect, world: str) -> None:
    client = open_client(site(TrustedHosts("shop.test")))
    assert statuses(client, world) == answers(world, 400, 400)
    assert statuses(client, world, headers={"Host": "shop.test"}) == answers(world, 200, 101)


def test_a_rate_limit_counts_everything(open_client: Connect, world: str) -> None:
    allowed = len(answers(world, 200, 101))
    client = open_client(site(RateLimit(allowed + 1, per=3600)))
    assert statuses(client, world) == answers(world, 200, 101)
    assert client.get("/alone").status_code == 200
    refused = client.get("/alone")
    assert (refused.status_code, refused.headers["ratelimit-remaining"]) == (429, "0")
    assert statuses(client, world) == answers(world, 429, 429)


def test_a_hook_with_guards_may_be_limited_to_http_requests(
    open_client: Connect, world: str
) -> None:
    auth = BasicAuth({"ann": "secret"})
    auth.guards = False
    expected = [401, 401, 401, 200, 401] + ([] if world == "wsgi" else [101] * len(PATHS))
    assert statuses(open_client(site(auth)), world) == expected


class Members(HttpMiddleware):
    """An author's hook; ``answer`` is what it refuses with."""

    guards = True

    def __init__(self, refuse: Callable[[], Any]) -> None:
        self.refuse = refuse

    def before_request(self, request: Any) -> Any:
        return None if request.query("key") == "sesame" else self.refuse()

    def after_request(self, request: Any, status: int, body: Any, headers: Any) -> None:
        headers.append(("X-Members", "only"))


def redirect() -> Any:
    raise Redirect("/log-in")


def forbidden() -> Any:
    raise HTTPError(418, "no", [("X-Why", "tea")])


@pytest.mark.parametrize(
    ("refuse", "http", "socket"),
    [
        (lambda: {"status_code": 403, "body": "members only"}, 403, 403),
        (lambda: {"body": "a page to log in"}, 200, 403),
        (lambda: {"status_code": 303, "headers": [("Location", "/")]}, 303, 303),
        (redirect, 303, 303),
        (forbidden, 418, 418),
        (lambda: {"nonsense": 1}, 500, 500),
        (lambda: 1 / 0, 500, 500),
    ],
    ids=["answer", "page", "location", "redirect", "error", "nonsense", "failure"],
)
def test_an_author_s_hook_may_set_guards(
    open_client: Connect, world: str, refuse: Any, http: int, socket: int
) -> None:
    client = open_client(site(Members(refuse)))
    assert statuses(client, world, params={"key": "x"}) == answers(world, http, socket)
    assert statuses(client, world, params={"key": "sesame"}) == answers(world, 200, 101)
    assert client.get("/alone?key=x", follow_redirects=False).headers["x-members"] == "only"
    # it answers as if it were alone
    assert "x-members" not in client.get("/alone?key=sesame").headers


def test_an_author_s_hook_without_guards_does_not_see_handshakes(
    open_client: Connect, world: str
) -> None:
    hook = Members(forbidden)
    hook.guards = False
    expected = [418, 418, 418, 200, 418] + ([] if world == "wsgi" else [101] * len(PATHS))
    assert statuses(open_client(site(hook)), world) == expected


def test_access_checks_run_before_websocket_hooks(open_client: Connect, world: str) -> None:
    class Untouched(WebSocketMiddleware):
        def before_websocket(self, request: Any) -> Any:
            raise AssertionError

    app = site(BasicAuth({"ann": "secret"}))
    app.ws_middlewares.append(Untouched())
    assert statuses(open_client(app), world) == answers(world, 401, 401)


def test_proxy_headers_reach_protected_handlers(open_client: Connect, world: str) -> None:
    client = open_client(site(ProxyHeaders(trusted=["127.0.0.1"])))
    headers = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
    for path in ("/", "/inner", "/shared", "/alone"):
        assert client.get(path, headers=headers).text == "page for 192.0.2.7 by https"
    for path in PATHS if world != "wsgi" else ():
        with client.websocket(path, headers=headers) as ws:
            scheme = "wss" if path == "/asgi" else "https"
            assert ws.receive_text() == f"socket for 192.0.2.7 by {scheme}"


def test_on_close_functions_of_an_access_check_run(open_client: Connect, world: str) -> None:
    done: list[str] = []

    class Noting(Members):
        def before_request(self, request: Any) -> Any:
            request.on_close(lambda: done.append(request.path))
            return super().before_request(request)

    client = open_client(site(Noting(forbidden)))
    for key in ("x", "sesame"):
        statuses(client, world, params={"key": key})
        assert len(done) == len(answers(world, 0, 0)), key
        done.clear()


GUARDED: ContextVar[str] = ContextVar("guarded")


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("key", ["x", "sesame"])
def test_a_generator_function_with_guards_is_ended(
    open_client: Connect, world: str, is_async: bool, key: str
) -> None:
    """Also where there is no response that it could see."""
    begun: list[str] = []
    ended: list[str] = []

    def guard(request: Any) -> Iterator[Any]:
        begun.append(request.path)
        token = GUARDED.set(request.path)
        try:
            yield
        finally:
            GUARDED.reset(token)  # in the context in which it began
            ended.append(request.path)

    async def async_guard(request: Any) -> AsyncIterator[Any]:
        begun.append(request.path)
        try:
            yield
        finally:
            ended.append(request.path)

    outermost: Any = async_guard if is_async else guard
    outermost.guards = True
    client = open_client(site(outermost, Members(forbidden)))
    expected = answers(world, 200, 101) if key == "sesame" else answers(world, 418, 418)
    assert statuses(client, world, params={"key": key}) == expected
    assert begun == ended
    assert len(begun) == len(expected)


def test_a_client_may_disconnect_during_a_refused_handshake(
    world: str, open_client: Connect
) -> None:
    """The driver has not asked for the first message yet when a guard refuses."""
    if world == "wsgi":
        return
    call = Call({"type": "websocket.disconnect", "code": 1006})
    scope = http_scope("GET", "/asgi", type="websocket", scheme="ws")
    run(world, site(BasicAuth({})), scope, call.receive, call.send)
    assert call.sent == []


# -- before the session ----------------------------------------------------------------------------


class Counting(InMemorySessionBackend):
    """A backend that may wait, and counts how often it is asked."""

    blocking = True

    def __init__(self) -> None:
        super().__init__()
        self.loads = 0

    def load(self, session_id: str) -> Any:
        self.loads += 1
        return super().load(session_id)


class Shop(App):
    def index(self) -> str:
        return str(self.request.session.get("name"))

    def login(self) -> str:
        self.request.session["name"] = "Ann"
        return "welcome"

    async def ws_index(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_text(str(ws.session.get("name")))


class Seeing(HttpMiddleware):
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def before_request(self, request: Any) -> None:
        self.seen.append(request.session.get("name"))

    def after_request(self, request: Any, status: int, body: Any, headers: Any) -> None:
        request.session["last"] = status


def test_access_checks_without_a_session_run_before_the_backend_is_asked(
    open_client: Connect, world: str
) -> None:
    backend, seeing = Counting(), Seeing()
    app = Shop(session_backend=backend)
    app.mount("/alone", Shop(), isolated=True)
    app.mount("/asgi", asgi)
    app.middlewares += [TrustedHosts("shop.test"), RateLimit(3, per=3600), seeing, CSRFMiddleware()]

    @app.error(429)
    def too_many() -> str:
        app.request.session["refused"] = True
        return f"{app.request.session.get('name')}, please wait"

    client = open_client(app, base_url="http://shop.test")
    assert client.get("/login").text == "welcome"
    cookie = client.cookies["session_id"]
    assert (client.get("/").text, backend.loads, seeing.seen) == ("Ann", 1, [None, "Ann"])
    assert client.get("/", headers={"Host": "evil.test"}).status_code == 400
    assert (client.get("/alone").status_code, backend.loads) == (200, 1)
    refused = client.get("/")
    assert (refused.status_code, refused.text, backend.loads) == (429, "None, please wait", 1)
    if world != "wsgi":
        for path in ("/", "/asgi"):
            with pytest.raises(WebSocketRefused, match="429"), client.websocket(path):
                pass
    # What a refused request writes to the session is discarded: it has not seen the session.
    seen = (backend.loads, client.cookies["session_id"], "set-cookie" in refused.headers)
    assert seen == (1, cookie, False)
    assert InMemorySessionBackend.load(backend, cookie) == {"name": "Ann", "last": 200}


def test_a_hook_that_may_read_the_session_has_it(open_client: Connect, world: str) -> None:
    app = Shop(session_backend=Counting())
    names: list[Any] = []

    def key(request: Any) -> str:
        names.append(request.session.get("name"))
        return "all"

    app.middlewares.append(RateLimit(100, per=3600, key=key))
    client = open_client(app)
    client.get("/login")
    assert (client.get("/").text, names) == ("Ann", [None, "Ann"])
    if world != "wsgi":
        with client.websocket("/") as ws:
            assert (ws.receive_text(), names[2:]) == ("Ann", ["Ann"])


# -- the parameters of hooks -----------------------------------------------------------------------


def hook_with(name: str, function: Any) -> Any:
    return type("Mine", (), {name: function})()


WRONG_HOOKS = [
    ("before_request", lambda self: None, "(self, request)"),
    ("before_request", lambda self, request, call_next: None, "(self, request)"),
    (
        "after_request",
        lambda self, request, response: None,
        "(self, request, status, response_body, extra_headers)",
    ),
    ("before", lambda self: None, "(self, request)"),
    ("after", lambda self, request: None, "(self, request, response)"),
    ("before_websocket", lambda self, request, ws: None, "(self, request)"),
    ("after_websocket", lambda self: None, "(self, request)"),
]


@pytest.mark.parametrize(("name", "function", "parameters"), WRONG_HOOKS)
def test_a_hook_with_other_parameters_is_refused_at_setup(
    name: str, function: Any, parameters: str
) -> None:
    app = Pages()
    (app.ws_middlewares if "websocket" in name else app.middlewares).append(
        hook_with(name, function)
    )
    with pytest.raises(SetupError) as refused:
        app._micropie.compiled()
    assert (
        str(refused.value) == f"Mine.{name} has the wrong parameters: write def {name}{parameters}"
    )


@pytest.mark.parametrize(
    "name", ["before_request", "after_request", "before_websocket", "after_websocket"]
)
def test_a_hook_method_with_a_yield_is_refused_at_setup(name: str) -> None:
    def steps(self: object, *arguments: object) -> Iterator[None]:
        yield

    async def chunks(self: object, *arguments: object) -> AsyncIterator[None]:
        yield

    for hook in (steps, chunks):
        app = App()
        (app.ws_middlewares if "websocket" in name else app.middlewares).append(
            hook_with(name, hook)
        )
        with pytest.raises(
            SetupError, match=f"^Mine.{name} must not have a yield: .* not a class$"
        ):
            app._micropie.compiled()


@pytest.mark.parametrize("name", ["before", "after"])
def test_an_async_hook_of_flow_middleware_is_refused_at_setup(name: str) -> None:
    async def coroutine(self: object, *arguments: object) -> None: ...

    async def chunks(self: object, *arguments: object) -> AsyncIterator[None]:
        yield

    for hook in (coroutine, chunks):
        app = App()
        app.middlewares.append(type("Mine", (FlowMiddleware,), {name: hook})())
        with pytest.raises(
            SetupError,
            match=f"^Mine.{name} can't be async: either write async def {name}_request .*def {name} ",
        ):
            app._micropie.compiled()


def test_a_decorator_above_a_hook_may_pass_it_more_arguments(make_client: MakeClient) -> None:
    def with_key(function: Any) -> Any:
        @functools.wraps(function)
        def call(self: Any, request: Any) -> Any:
            return function(self, request, "sesame")

        return call

    def before_request(self: Any, request: Any, key: str) -> Any:
        return None if request.query("key") == key else {"status": 401}

    app = Pages()
    app.middlewares.append(hook_with("before_request", with_key(before_request)))
    client = make_client(app)
    assert (client.get("/").status_code, client.get("/?key=sesame").status_code) == (401, 200)


def test_a_hook_with_guards_need_not_derive_from_the_base_class(make_client: MakeClient) -> None:
    app = Pages()
    app.middlewares.append(
        hook_with("before", lambda self, request: (401, "no") if request.query("x") else None)
    )
    client = make_client(app)
    assert (client.get("/").status_code, client.get("/?x=1").status_code) == (200, 401)


@pytest.mark.parametrize(
    ("auth", "check"), [(BasicAuth, lambda user: True), (BearerAuth, lambda user, password: True)]
)
def test_checks_of_passwords_and_tokens_may_have_parameters(auth: Any, check: Any) -> None:
    with pytest.raises(SetupError, match=r"Auth\(check\) takes a function check\("):
        auth(check)
