"""Hooks that guard: what they refuse by HTTP, they refuse in handshakes, in isolated mounts and below mounts."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from micropie import (
    App,
    HTTPError,
    HttpMiddleware,
    InMemorySessionBackend,
    Redirect,
    WebSocket,
    WebSocketMiddleware,
)
from micropie.middleware import BasicAuth, BearerAuth, CSRFMiddleware, ProxyHeaders, RateLimit, TrustedHosts
from micropie.testing import TestClient, WebSocketRefused
from tests.conftest import MakeClient

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
        await send({"type": "websocket.send", "text": f"socket for {scope['client'][0]} by {scope['scheme']}"})
        await send({"type": "websocket.close"})
    else:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"page for all"})


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
    """Return the status of each path, then of each path's WebSocket; 101 for one that was accepted."""
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
    return lambda app, **options: make_client(app, **({} if world == "wsgi" else {"denial_response": True}), **options)


def test_passwords_guard_everything(open_client: Connect, world: str) -> None:
    client = open_client(site(BasicAuth({"ann": "secret"})))
    assert statuses(client, world) == answers(world, 401, 401)
    assert statuses(client, world, headers=ANN) == answers(world, 200, 101)
    assert "basic" in client.get("/alone").headers["www-authenticate"].lower()


def test_tokens_guard_everything(open_client: Connect, world: str) -> None:
    async def check(token: str) -> bool:
        return token == "abc"

    client = open_client(site(BearerAuth(check)))
    assert statuses(client, world, headers={"Authorization": "Bearer x"}) == answers(world, 401, 401)
    assert statuses(client, world, headers={"Authorization": "Bearer abc"}) == answers(world, 200, 101)


def test_hosts_guard_everything(open_client: Connect, world: str) -> None:
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


def test_a_hook_may_be_told_to_guard_requests_alone(open_client: Connect, world: str) -> None:
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

    def after_request(self, request: Any, status_code: int, response_body: Any, extra_headers: Any) -> None:
        extra_headers.append(("X-Members", "only"))


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
def test_an_author_s_hook_may_guard(open_client: Connect, world: str, refuse: Any, http: int, socket: int) -> None:
    client = open_client(site(Members(refuse)))
    assert statuses(client, world, params={"key": "x"}) == answers(world, http, socket)
    assert statuses(client, world, params={"key": "sesame"}) == answers(world, 200, 101)
    assert client.get("/alone?key=x", follow_redirects=False).headers["x-members"] == "only"
    assert "x-members" not in client.get("/alone?key=sesame").headers  # it answers as if it were alone


def test_an_author_s_hook_does_not_guard_handshakes_by_itself(open_client: Connect, world: str) -> None:
    hook = Members(forbidden)
    hook.guards = False
    expected = [418, 418, 418, 200, 418] + ([] if world == "wsgi" else [101] * len(PATHS))
    assert statuses(open_client(site(hook)), world) == expected


def test_guards_run_before_the_hooks_of_websockets(open_client: Connect, world: str) -> None:
    class Untouched(WebSocketMiddleware):
        def before_websocket(self, request: Any) -> Any:
            raise AssertionError

    app = site(BasicAuth({"ann": "secret"}))
    app.ws_middlewares.append(Untouched())
    assert statuses(open_client(app), world) == answers(world, 401, 401)


def test_a_proxy_s_values_reach_what_is_guarded(open_client: Connect, world: str) -> None:
    client = open_client(site(ProxyHeaders(trusted=["127.0.0.1"])))
    headers = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
    for path in ("/", "/inner", "/shared", "/alone"):
        assert client.get(path, headers=headers).text == "page for 192.0.2.7 by https"
    for path in PATHS if world != "wsgi" else ():
        with client.websocket(path, headers=headers) as ws:
            scheme = "wss" if path == "/asgi" else "https"
            assert ws.receive_text() == f"socket for 192.0.2.7 by {scheme}"


def test_what_a_guard_leaves_for_the_end_is_done(open_client: Connect, world: str) -> None:
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


def test_a_client_that_leaves_during_a_refused_handshake(world: str, open_client: Connect) -> None:
    """The driver has not asked for the first message yet when a guard refuses."""
    if world == "wsgi":
        return
    sent: list[Any] = []
    app = site(BasicAuth({}))
    scope = {"type": "websocket", "path": "/asgi", "headers": [], "query_string": b"", "asgi": {"version": "3.0"}}

    async def call() -> None:
        messages = iter([{"type": "websocket.disconnect", "code": 1006}])

        async def receive() -> Any:
            return next(messages)

        async def send(message: Any) -> None:
            sent.append(message)

        await app(scope, receive, send)

    anyio.run(call, backend=world)
    assert sent == []


# -- before the session -----------------------------------------------------------------------------------------------


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

    def after_request(self, request: Any, status_code: int, response_body: Any, extra_headers: Any) -> None:
        request.session["last"] = status_code


def test_what_refuses_without_the_session_runs_before_its_backend_is_asked(open_client: Connect, world: str) -> None:
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
    assert (backend.loads, client.cookies["session_id"], "set-cookie" in refused.headers) == (1, cookie, False)
    assert InMemorySessionBackend.load(backend, cookie) == {"name": "Ann", "last": 200}


def test_a_hook_that_may_look_at_the_session_has_it(open_client: Connect, world: str) -> None:
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
