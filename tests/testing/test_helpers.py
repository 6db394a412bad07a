"""What the client can do with an ``App`` beside requests: its session, log-in, events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpx2 as httpx
import pytest

from micropie import App, EventStream, HttpMiddleware, Redirect, event, requires
from micropie.middleware import BasicAuth
from micropie.sessions import (
    InMemorySessionBackend,
    SignedCookieSessionBackend,
    SQLiteSessionBackend,
)
from micropie.testing import ClientError
from tests.support.clients import MakeClient


@pytest.fixture(autouse=True)
def _no_new_threads() -> None:
    """An ``App`` may keep threads for the next request."""


def users(request: Any) -> Any:
    return "user" in request.session or Redirect("/login")


class Closed(HttpMiddleware):
    """No request passes, but for those of this path."""

    def before_request(self, request: Any) -> Any:
        return None if request.path == "/show" else {"status": 503}


class Root(App):
    def show(self) -> Any:
        return dict(self.request.session)

    def keep(self, key: str, value: str) -> str:
        self.request.session[key] = value
        return ""

    @requires(users)
    def private(self) -> str:
        return f"for {self.request.session['user']}"

    async def ws_who(self, ws: Any) -> None:
        await ws.accept()
        await ws.send_text(self.request.session.get("user", "nobody"))


class Waiting(InMemorySessionBackend):
    """A backend that waits."""

    async def load(self, session_id: str) -> Any:
        await anyio.lowlevel.checkpoint()
        return super().load(session_id)

    async def save(self, *arguments: Any, **options: Any) -> Any:
        await anyio.lowlevel.checkpoint()
        return super().save(*arguments, **options)


BACKENDS: dict[str, Callable[[Path], Any]] = {
    "memory": lambda folder: None,
    "own": lambda folder: InMemorySessionBackend(),
    "waiting": lambda folder: Waiting(),
    "sqlite": lambda folder: SQLiteSessionBackend(folder / "sessions.db"),
    "cookie": lambda folder: SignedCookieSessionBackend("a secret that is long enough for this"),
}


@pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS)
def test_a_session_can_be_prepared_and_read(
    make_client: MakeClient, backend: Any, tmp_path: Path
) -> None:
    app = Root(session_backend=backend(tmp_path))
    app.middlewares.append(Closed())
    client = make_client(app)
    with client.session_transaction() as session:
        assert session == {}
        session["cart"] = ["apple"]
    assert client.get("/show").json() == {"cart": ["apple"]}
    with client.session_transaction() as session:
        session["cart"].append("plum")
        session["user"] = "alice"
    assert client.get("/show").json() == {"cart": ["apple", "plum"], "user": "alice"}
    with client.session_transaction() as session:
        del session["cart"]
    with client.session_transaction() as session:
        assert session == {"user": "alice"}


def test_a_session_stored_by_the_application_can_be_read(make_client: MakeClient) -> None:
    client = make_client(Root(session_cookie="other"))
    client.get("/keep/key/value")
    cookie = client.cookies["other"]
    with client.session_transaction() as session:
        assert session == {"key": "value"}
    assert client.cookies["other"] == cookie


def test_the_application_s_session_settings_apply(make_client: MakeClient) -> None:
    client = make_client(Root(max_session_size=100_000), base_url="https://testserver")
    client.login(user="x" * 90_000)
    assert client.cookies.keys() == {"__Host-session_id"}
    assert len(client.get("/show").json()["user"]) == 90_000
    client.logout()
    assert client.cookies.keys() == set()


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({"session_cookie_secure": True}, "https://testserver"),
        ({"session_cookie_domain": "example.com"}, "http://www.example.com"),
    ],
)
def test_a_login_whose_cookie_is_not_sent_is_an_error(
    make_client: MakeClient, settings: dict[str, Any], url: str
) -> None:
    app = Root(**settings)
    with pytest.raises(ClientError, match="cookie is not sent to http://testserver/: write"):
        make_client(app).login(user="alice")
    client = make_client(app, base_url=url)
    client.login(user="alice")
    client.login(language="en")
    assert client.get("/show").json() == {"user": "alice", "language": "en"}


def test_a_failing_session_transaction_changes_nothing(make_client: MakeClient) -> None:
    client = make_client(Root())
    with suppress(KeyError), client.session_transaction() as session:
        session["user"] = "alice"
        raise KeyError
    assert client.get("/show").json() == {}


def test_a_login_works_below_a_prefix(make_client: MakeClient) -> None:
    client = make_client(Root(), root_path="/shop")
    client.login(user="alice")
    assert client.get("/private").text == "for alice"


@pytest.mark.parametrize("root_path", ["", "/a b/ü", "/@ann;(1)"])
def test_a_login_works_if_the_base_url_has_a_path(make_client: MakeClient, root_path: str) -> None:
    app = App()
    app.api = Root()
    base_url = "http://testserver/api"
    client = make_client(app, base_url=base_url, root_path=root_path)
    client.login(user="alice")
    assert client.get("/private").text == "for alice"
    client.logout()
    assert client.get("/private").status_code == 303


def test_a_client_can_log_in_and_out(make_client: MakeClient) -> None:
    client = make_client(Root())
    assert client.get("/private").status_code == 303
    client.login(user="alice")
    assert client.get("/private").text == "for alice"
    client.logout()
    assert client.get("/private").status_code == 303


def test_a_client_can_log_in_with_basic_auth(make_client: MakeClient) -> None:
    app = Root()
    app.middlewares.append(BasicAuth({"alice": "sesame"}.get, realm="pies"))
    client = make_client(app)
    assert client.get("/show").status_code == 401
    client.login_basic("alice", "sesame")
    assert client.get("/show").status_code == 200
    client.logout()
    assert client.get("/show").status_code == 401


def test_a_websocket_uses_the_login(connect: MakeClient, backend: str) -> None:
    client = connect(Root(), backend)
    client.login(user="alice")
    with client.websocket("/who") as ws:
        assert ws.receive_text() == "alice"


def test_session_helpers_need_an_app(connect: MakeClient) -> None:
    async def other(scope: Any, receive: Any, send: Any) -> None: ...

    client = connect(other, "asyncio", validate=False, lifespan=False)
    with pytest.raises(ClientError, match="micropie"), client.session_transaction():
        pass


class Ticks(App):
    left = 0

    async def index(self) -> EventStream:
        async def ticks() -> AsyncIterator[Any]:
            try:
                for number in range(1000):
                    yield event({"number": number}, event="tick", id=number)
                    await anyio.lowlevel.checkpoint()
            finally:
                self.left += 1

        return EventStream(ticks())

    def short(self) -> EventStream:
        def two() -> Iterator[Any]:
            yield "one"
            yield "two"

        return EventStream(two())

    def wrong(self) -> Any:
        return 404, "no events"


def test_events_can_be_followed(make_client: MakeClient) -> None:
    app = Ticks()
    client = make_client(app)
    with client.sse("/") as events:
        found = [next(events) for _ in range(3)]
    given = [(one.event, one.id, one.json()) for one in found]
    assert given == [("tick", str(n), {"number": n}) for n in range(3)]
    assert app.left == 1
    with client.sse("/short") as events:
        assert [one.data for one in events] == ["one", "two"]
    with pytest.raises(httpx.HTTPStatusError), client.sse("/wrong"):
        pass
