"""Who may connect, and as whom: origins, hooks, sessions."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import ContextVar, Token
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from micropie import (
    App,
    HTTPError,
    HttpMiddleware,
    InMemorySessionBackend,
    ResponseError,
    Session,
    SetupError,
    WebSocket,
    WebSocketMiddleware,
)
from micropie.middleware import ProxyHeaders, SecurityHeaders, TrustedHosts
from micropie.sessions import SignedCookieSessionBackend, SQLiteSessionBackend
from micropie.testing import TestClient, WebSocketClosed, WebSocketRefused
from tests.asgi.websocket.conftest import OpenClient
from tests.asgi.websocket.test_conversations import app_of, closing, errors, refusal
from tests.http.test_websockets import ORIGINS


async def welcome(ws: WebSocket) -> None:
    await ws.accept()
    await ws.send_text("welcome")


class Untouchable(HttpMiddleware):
    def before_request(self, request: Any) -> Any:
        raise AssertionError("called for a WebSocket")


class Pages(HttpMiddleware):
    """Gives everybody a page instead."""

    guards = True

    def before_request(self, request: Any) -> Any:
        return {"body": "a page to log in"}


def test_a_hook_that_gives_a_page_refuses_the_handshake(open_client: OpenClient) -> None:
    app = app_of(welcome)
    app.middlewares.append(Pages())
    refused = refusal(open_client(app))
    assert (refused.status, refused.body) == (403, b"a page to log in")


# -- origins ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("origin", "scheme", "host", "others", "allowed"), ORIGINS)
def test_R52_a_page_of_another_site_is_refused_before_accept(
    open_client: OpenClient,
    origin: str | None,
    scheme: str,
    host: str,
    others: list[str],
    allowed: bool,
) -> None:
    client = open_client(app_of(welcome, websocket_origins=others), base_url=f"{scheme}://{host}")
    headers = {} if origin is None else {"Origin": origin}
    if allowed:
        with client.websocket("/", headers=headers) as ws:
            assert ws.receive_text() == "welcome"
    else:
        refused = refusal(client, headers=headers)
        seen = (refused.status, refused.body)
        assert seen == (403, b"Pages of this origin may not open WebSockets here.")


def test_R52_two_origins_are_refused(open_client: OpenClient) -> None:
    headers = [("Origin", "http://testserver"), ("Origin", "http://testserver")]
    assert refusal(open_client(app_of(welcome)), headers=headers).status == 403


@pytest.mark.parametrize("host", ["a@b", "a/b?c", "[::1"])
def test_R14_R52_a_malformed_host_matches_no_origin(open_client: OpenClient, host: str) -> None:
    headers = {"Origin": "http://testserver", "Host": host}
    assert refusal(open_client(app_of(welcome), validate=False), headers=headers).status == 400


def test_R52_an_empty_host_means_localhost(open_client: OpenClient) -> None:
    client = open_client(app_of(welcome), validate=False)
    foreign = {"Origin": "http://testserver", "Host": ""}
    assert refusal(client, headers=foreign).status == 403
    with client.websocket("/", headers={"Origin": "http://localhost", "Host": ""}) as ws:
        assert ws.receive_text() == "welcome"


def test_R52_inner_applications_inherit_allowed_origins(open_client: OpenClient) -> None:
    root: Any = App(websocket_origins=["https://b.test"])
    root.open = app_of(welcome)
    root.own = app_of(welcome, websocket_origins=["https://c.test"])
    client = open_client(root)
    allowed = []
    for path, origin in [("/open", "b"), ("/open", "c"), ("/own", "b"), ("/own", "c")]:
        try:
            with client.websocket(path, headers={"Origin": f"https://{origin}.test"}):
                allowed.append((path, origin))
        except WebSocketRefused:
            pass
    assert allowed == [("/open", "b"), ("/own", "c")]


def test_R52_R15_behind_a_proxy_the_page_s_origin_comes_from_the_proxy(
    open_client: OpenClient,
) -> None:
    app = app_of(welcome)
    app.middlewares.append(ProxyHeaders(trusted=["10.0.0.1"], host=True))
    told = {
        "X-Forwarded-For": "192.0.2.7",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "shop.test",
    }
    headers = {**told, "Origin": "https://shop.test"}
    with open_client(app, client=("10.0.0.1", 5000)).websocket("/", headers=headers) as ws:
        assert ws.receive_text() == "welcome"
    assert refusal(open_client(app, client=("10.0.0.2", 5000)), headers=headers).status == 403
    # Some proxies state the scheme of the WebSocket, not that of the page.
    headers["X-Forwarded-Proto"] = "wss"
    with open_client(app, client=("10.0.0.1", 5000)).websocket("/", headers=headers) as ws:
        assert ws.receive_text() == "welcome"
    headers["X-Forwarded-Proto"] = "ws"
    assert refusal(open_client(app, client=("10.0.0.1", 5000)), headers=headers).status == 403


@pytest.mark.parametrize("name", ["X-Forwarded-Proto", "X-Forwarded-Host"])
def test_R14_R15_a_malformed_scheme_or_host_from_a_trusted_proxy_is_refused(
    open_client: OpenClient, name: str
) -> None:
    app = app_of(welcome)
    app.middlewares.append(ProxyHeaders(trusted=["10.0.0.1"], host=True))
    client = open_client(app, client=("10.0.0.1", 5000))
    answer = refusal(client, headers={name: "a/b"})
    assert answer.status == 400
    assert answer.body.startswith(
        b"The server or a proxy gave" if "Proto" in name else b"The request's host"
    )


def test_R14_trusted_hosts_applies_to_websockets(open_client: OpenClient) -> None:
    app = app_of(welcome)
    app.middlewares.append(TrustedHosts("shop.test"))
    with open_client(app, base_url="http://shop.test").websocket("/") as ws:
        assert ws.receive_text() == "welcome"
    assert refusal(open_client(app, base_url="http://evil.test")).status == 400


def test_other_http_middleware_does_not_see_websockets(open_client: OpenClient) -> None:
    app = app_of(welcome)
    app.middlewares += [SecurityHeaders(), Untouchable()]
    with open_client(app).websocket("/") as ws:
        assert ws.receive_text() == "welcome"


@pytest.mark.parametrize("value", ["https://a.test", ["a.test"], ["https://a.test/"], [5], None, 5])
def test_R52_invalid_origins_are_refused_at_setup(value: Any) -> None:
    with pytest.raises(SetupError, match="websocket_origins"):
        App(websocket_origins=value)


@pytest.mark.parametrize(
    "settings",
    [
        {"websocket_max_size": -1},
        {"websocket_max_size": None},
        {"websocket_timeout": 0},
        {"websocket_grace": -1},
        {"websocket_send_timeout": "x"},
    ],
)
def test_invalid_websocket_settings_are_refused(settings: Any) -> None:
    with pytest.raises(SetupError, match=next(iter(settings))):
        App(**settings)


# -- hooks -----------------------------------------------------------------------------------------


class Noting(WebSocketMiddleware):
    def __init__(self, name: str, notes: list[str], answer: Any = None) -> None:
        self.name, self.notes, self.answer = name, notes, answer

    async def before_websocket(self, request: Any) -> Any:
        self.notes.append(f"before {self.name}")
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def after_websocket(self, request: Any) -> Any:
        self.notes.append(f"after {self.name}")


class OnlyBefore:
    def before_websocket(self, request: Any) -> None:
        request.state.user = "ann"


class OnlyAfter(WebSocketMiddleware):
    def after_websocket(self, request: Any) -> None:
        raise RuntimeError("after")


def test_hooks_run_around_the_handler_with_the_outermost_first(open_client: OpenClient) -> None:
    notes: list[str] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        notes.append(ws.state.user)

    root: Any = App()
    root.inner = app_of(handler)
    root.ws_middlewares.append(Noting("root", notes))
    root.inner.ws_middlewares += [OnlyBefore(), Noting("inner", notes)]
    client = open_client(root)
    with client.websocket("/inner"):
        pass
    assert notes == ["before root", "before inner", "ann", "after inner", "after root"]
    notes.clear()
    root.ws_middlewares.append(Noting("late", notes))
    with pytest.raises(WebSocketRefused), client.websocket("/nowhere"):
        pass
    assert notes == []  # no handler, nobody to look at
    with client.websocket("/inner"):
        pass
    assert notes[:2] == ["before root", "before late"]


def test_signatures_of_hooks_are_not_inspected_for_each_handshake(
    open_client: OpenClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = app_of(welcome)
    app.ws_middlewares.append(noting := Noting("a", []))
    client, read, signature = open_client(app), [], inspect.signature

    def reading(function: Any, **options: Any) -> inspect.Signature:
        read.append(getattr(function, "__self__", None))
        return signature(function, **options)

    monkeypatch.setattr(inspect, "signature", reading)
    for _ in range(2):
        with client.websocket("/"):
            assert noting not in read


REFUSALS = [
    ({"code": 4001, "reason": "log in"}, (403, 4001, "log in"), "log in"),
    ({"reason": "log in"}, (403, 1008, "log in"), "log in"),
    ({"code": 4001}, (403, 4001, ""), "This WebSocket was refused."),
    ({}, (403, 1008, ""), "This WebSocket was refused."),
    (HTTPError(401, "Log in."), (401, 1008, "Log in."), "Log in."),
    (RuntimeError("secret"), (500, 1011, ""), "500 Internal Server Error"),
    ("no", (500, 1011, ""), "500 Internal Server Error"),
    ({"status": 5}, (500, 1011, ""), "500 Internal Server Error"),
    ({"code": 1006}, (500, 1011, ""), "500 Internal Server Error"),
]


NAME: ContextVar[str] = ContextVar("NAME")


class Setting(WebSocketMiddleware):
    """Sets a context variable, and resets it by its token, which is valid in one context only."""

    token: Token[str]

    def before_websocket(self, request: Any) -> None:
        self.token = NAME.set("ann")

    def after_websocket(self, request: Any) -> None:
        NAME.reset(self.token)


def test_the_hooks_of_a_websocket_share_one_context(
    open_client: OpenClient, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_text(NAME.get())

    app: Any = app_of(handler)
    app.ws_middlewares += [OnlyBefore(), Setting()]
    with open_client(app).websocket("/") as ws:
        assert ws.receive_text() == "ann"
        assert closing(ws) == (1000, "")
    assert errors(caplog) == []


@pytest.mark.parametrize("denial", [True, False])
@pytest.mark.parametrize(("answer", "expected", "body"), REFUSALS)
def test_R53_a_hook_may_refuse_before_accept(
    open_client: OpenClient, denial: bool, answer: Any, expected: Any, body: str
) -> None:
    notes: list[str] = []
    app = app_of(welcome)
    app.ws_middlewares += [Noting("a", notes), Noting("b", notes, answer), Noting("c", notes)]
    refused = refusal(open_client(app, denial_response=denial))
    if denial:
        assert (refused.status, refused.body.decode()) == (expected[0], body)
    else:
        assert (refused.code, refused.reason) == expected[1:]
    assert notes == ["before a", "before b", "after b", "after a"]


def test_after_websocket_always_runs(
    open_client: OpenClient, caplog: pytest.LogCaptureFixture
) -> None:
    notes: list[str] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        raise RuntimeError("secret")

    app = app_of(handler)
    app.ws_middlewares += [Noting("a", notes), OnlyAfter()]
    with open_client(app).websocket("/") as ws:
        assert closing(ws) == (1011, "")
    assert notes == ["before a", "after a"]
    found = sorted(errors(caplog))
    assert found == ["WebSocket '/' failed in handler", "after_websocket of OnlyAfter failed"]


@pytest.mark.parametrize("middleware", [Noting, 5, object()])
def test_an_object_that_is_not_middleware_fails_at_setup(middleware: Any) -> None:
    app = App()
    app.ws_middlewares.append(middleware)
    with pytest.raises(SetupError, match=r"middlewares takes objects|is not WebSocket middleware"):
        app._micropie.compiled()


def test_ws_middlewares_may_be_a_class_attribute(open_client: OpenClient) -> None:
    notes: list[str] = []

    class Root(App):
        ws_middlewares = [Noting("a", notes)]  # noqa: RUF012

        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()

    with open_client(Root()).websocket("/"):
        pass
    assert notes == ["before a", "after a"]


# -- sessions --------------------------------------------------------------------------------------

Backend = Callable[[Path], Any]

BACKENDS: dict[str, Backend] = {
    "memory": lambda path: InMemorySessionBackend(),
    "sqlite": lambda path: SQLiteSessionBackend(path / "sessions.db"),
}
every_backend = pytest.mark.parametrize("backend_name", list(BACKENDS))


class Shop(App):
    def login(self) -> str:
        self.request.session["user"] = "ann"
        return "in"

    def show(self) -> Any:
        return dict(self.request.session)

    async def ws_whoami(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_json([ws.session.get("user"), ws.session_id is not None])

    async def ws_before(self, ws: WebSocket) -> None:
        ws.session["n"] = ws.session.get("n", 0) + 1
        ws.session.update_atomic("hits", lambda n: (n or 0) + 1)
        await ws.accept()
        await ws.send_text(ws.session_id or "")

    async def ws_after(self, ws: WebSocket) -> None:
        await ws.accept()
        ws.session["late"] = await ws.receive_text()
        await ws.save_session()
        await ws.save_session()
        await ws.send_text("saved")
        ws.session["later"] = await ws.receive_text()
        with pytest.raises(Exception, match="so a new session id can't be sent"):
            ws.session.regenerate()

    async def ws_helped(self, ws: WebSocket) -> None:
        await ws.accept()
        await self._note(await ws.receive_text())
        await ws.send_text("saved")

    async def _note(self, text: str) -> None:
        session = self.request.session
        session["noted"] = text
        await session.save()

    async def ws_refusing(self, ws: WebSocket) -> None:
        ws.session["refused"] = True

    async def ws_leave(self, ws: WebSocket) -> None:
        await ws.accept()
        ws.session.clear()


def shop(backend_name: str, path: Path) -> Shop:
    return Shop(session_backend=BACKENDS[backend_name](path))


def test_a_session_may_be_replaced_as_a_whole(open_client: OpenClient) -> None:
    class Root(Shop):
        async def ws_replaced(self, ws: WebSocket) -> None:
            self.request.session = {"n": 1}
            await ws.accept()

    client = open_client(Root())
    with client.websocket("/replaced"):
        pass
    assert client.get("/show").json() == {"n": 1}


@every_backend
def test_a_websocket_shares_the_http_session(
    open_client: OpenClient, backend_name: str, tmp_path: Path
) -> None:
    client = open_client(shop(backend_name, tmp_path))
    with client.websocket("/whoami") as ws:
        assert ws.receive_json() == [None, False]
    client.get("/login")
    with client.websocket("/whoami") as ws:
        assert ws.receive_json() == ["ann", True]


def test_a_session_that_is_opened_after_accept_can_be_saved(open_client: OpenClient) -> None:
    client = open_client(Shop())
    client.get("/login")
    with client.websocket("/helped") as ws:
        ws.send_text("pie")
        assert ws.receive_text() == "saved"
        assert client.get("/show").json() == {"user": "ann", "noted": "pie"}


@pytest.mark.parametrize("root_path", ["", "/shop"])
def test_over_https_a_websocket_shares_the_http_session(
    open_client: OpenClient, root_path: str
) -> None:
    client = open_client(Shop(), base_url="https://testserver", root_path=root_path)
    client.get("/login")
    with client.websocket("/whoami") as ws:
        assert ws.receive_json() == ["ann", True]


@every_backend
def test_R50_a_session_that_is_too_large_is_not_saved(
    open_client: OpenClient, backend_name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Small(Shop):
        async def ws_grow(self, ws: WebSocket) -> None:
            ws.session["before"] = "x" * 1000
            with pytest.raises(ResponseError, match="max_session_size=1000"):
                await ws.accept()
            ws.session["before"] = "small"
            await ws.accept()
            ws.session["after"] = "x" * 1000
            with pytest.raises(ResponseError, match="max_session_size=1000"):
                await ws.save_session()
            ws.session["after"] = "small"
            await ws.save_session()
            await ws.send_text("saved")
            ws.session["end"] = "x" * 1000

    client = open_client(
        Small(session_backend=BACKENDS[backend_name](tmp_path), max_session_size=1000)
    )
    with client.websocket("/grow") as ws:
        assert ws.receive_text() == "saved"
        with pytest.raises(WebSocketClosed):
            ws.receive_text()
    assert "max_session_size=1000" in caplog.text
    assert client.get("/show").json() == {"before": "small", "after": "small"}


@every_backend
def test_a_session_started_before_accept_gets_its_cookie(
    open_client: OpenClient, backend_name: str, tmp_path: Path
) -> None:
    client = open_client(shop(backend_name, tmp_path))
    with client.websocket("/before") as ws:
        cookie = ws.headers["set-cookie"]
        assert ws.receive_text() == client.cookies["session_id"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    with client.websocket("/before") as ws:
        ws.receive_text()
    assert client.get("/show").json() == {"n": 2, "hits": 2}


@every_backend
def test_changes_after_accept_are_saved_at_the_end_and_on_request(
    open_client: OpenClient, backend_name: str, tmp_path: Path
) -> None:
    client = open_client(shop(backend_name, tmp_path))
    client.get("/login")
    with client.websocket("/after") as ws:
        ws.send_text("1")
        assert ws.receive_text() == "saved"
        assert client.get("/show").json() == {"user": "ann", "late": "1"}
        ws.send_text("2")
        assert closing(ws) == (1000, "")
    assert client.get("/show").json() == {"user": "ann", "late": "1", "later": "2"}
    with client.websocket("/leave"):
        pass
    assert client.get("/show").json() == {}


@every_backend
def test_a_new_session_after_accept_is_stored(
    open_client: OpenClient, backend_name: str, tmp_path: Path
) -> None:
    client = open_client(shop(backend_name, tmp_path))
    with client.websocket("/after") as ws:
        ws.send_text("1")
        assert ws.receive_text() == "saved"
        ws.send_text("2")
        assert closing(ws) == (1000, "")
    assert client.get("/show").json() == {"late": "1", "later": "2"}


def test_a_cookie_session_can_only_change_before_accept(
    open_client: OpenClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = open_client(Shop(session_backend=SignedCookieSessionBackend("s" * 32)))
    client.get("/login")
    with client.websocket("/before"):
        pass
    assert client.get("/show").json() == {"user": "ann", "n": 1, "hits": 1}
    with client.websocket("/after") as ws:
        ws.send_text("1")
        assert closing(ws) == (1011, "")
    assert "change the session before ws.accept()" in str(caplog.records[-1].exc_info)


@dataclass
class Visit:
    late: str = ""
    count: int = 0


class Typed(Shop):
    async def ws_first(self, ws: WebSocket, visit: Session[Visit]) -> None:
        visit.count += 1
        await ws.accept()
        visit.late = await ws.receive_text()
        await ws.save_session()
        await ws.send_text("saved")
        visit.late += await ws.receive_text()


@every_backend
def test_a_session_may_be_an_object(
    open_client: OpenClient, backend_name: str, tmp_path: Path
) -> None:
    client = open_client(Typed(session_backend=BACKENDS[backend_name](tmp_path)))
    for number in (1, 2):
        with client.websocket("/first") as ws:
            assert client.get("/show").json()["count"] == number
            ws.send_text("a")
            assert ws.receive_text() == "saved"
            assert client.get("/show").json() == {"count": number, "late": "a"}
            ws.send_text("b")
            assert closing(ws) == (1000, "")
        assert client.get("/show").json() == {"count": number, "late": "ab"}


def test_an_object_that_changes_after_accept_gets_its_cookie_ahead(open_client: OpenClient) -> None:
    class Late(Shop):
        async def ws_late(self, ws: WebSocket, visit: Session[Visit]) -> None:
            await ws.accept()
            visit.count = 5

    client = open_client(Late())
    with client.websocket("/late") as ws:
        assert closing(ws) == (1000, "")
    assert client.get("/show").json() == {"count": 5}


def test_an_object_of_a_cookie_session_can_only_change_before_accept(
    open_client: OpenClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = open_client(Typed(session_backend=SignedCookieSessionBackend("s" * 32)))
    with client.websocket("/first") as ws:
        ws.send_text("a")
        assert closing(ws) == (1011, "")
    assert client.get("/show").json() == {"count": 1}
    assert "change the session before ws.accept()" in str(caplog.records[-1].exc_info)


def test_a_refused_websocket_starts_no_session(open_client: OpenClient) -> None:
    saved: list[Any] = []

    class Backend(InMemorySessionBackend):
        def save(self, *arguments: Any) -> Any:
            saved.append(arguments)
            return super().save(*arguments)

    client = open_client(Shop(session_backend=Backend()))
    with pytest.raises(WebSocketRefused), client.websocket("/refusing"):
        pass
    assert saved == []  # nobody could ever come back to it
    client.get("/login")
    with pytest.raises(WebSocketRefused), client.websocket("/refusing"):
        pass
    assert client.get("/show").json() == {"user": "ann", "refused": True}


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_session_id_may_be_passed_to_accept(open_client: OpenClient, scheme: str) -> None:
    async def handler(ws: WebSocket) -> None:
        with pytest.raises(ValueError, match="cookie"):
            await ws.accept(session_id="a;b")
        ws.session["n"] = 1  # not sent: the other id is
        await ws.accept(session_id="chosen")
        await ws.send_text(str(ws.session_id))

    with open_client(app_of(handler), base_url=f"{scheme}://testserver").websocket("/") as ws:
        assert ws.receive_text() == "chosen"
        prefix = "__Host-" if scheme == "https" else ""
        assert ws.headers["set-cookie"].startswith(f"{prefix}session_id=chosen; Max-Age=")
        assert ("Secure" in ws.headers["set-cookie"]) is (scheme == "https")


class Unreachable(InMemorySessionBackend):
    down = False

    def load(self, session_id: str) -> Any:
        if self.down:
            raise ConnectionError("down")
        return super().load(session_id)

    def merge(self, *arguments: Any) -> Any:
        if self.down:
            raise ConnectionError("down")
        return super().merge(*arguments)

    blocking = True


def test_an_unavailable_session_backend_refuses_with_503(open_client: OpenClient) -> None:
    backend = Unreachable()
    client: TestClient = open_client(Shop(session_backend=backend))
    client.get("/login")
    with client.websocket("/after") as ws:
        ws.send_text("1")
        ws.receive_text()
        backend.down = True
        ws.send_text("2")
        with pytest.raises(WebSocketClosed) as closed:
            ws.receive()
    seen = (closed.value.code, closed.value.reason)
    assert seen == (1011, "The session store is unavailable. Please try again in a moment.")
    with pytest.raises(WebSocketRefused) as refused, client.websocket("/whoami"):
        pass
    assert refused.value.status == 503
