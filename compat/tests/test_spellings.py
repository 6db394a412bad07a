"""What programs that were written for MicroPie rely on, beside the plain use of its documented
names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from micropie import (
    SESSION_TIMEOUT,
    App,
    InMemorySessionBackend,
    MultipartFileError,
    SessionBackend,
    SetupError,
    WebSocket,
    WebSocketRequest,
    post,
)
from tests.support.clients import MakeClient


class Logged(InMemorySessionBackend):
    """An ``async def`` backend over the one in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[object] = []

    async def load(self, session_id: str) -> dict[str, Any]:
        data: dict[str, Any] = await super().load(session_id)
        self.log.append(data)
        return data

    async def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None:
        self.log.append(await super().save(session_id, data, timeout))


class Plain(InMemorySessionBackend):
    """The same with ``def``: the results are used as they are."""

    def load(self, session_id: str) -> dict[str, Any]:
        data: dict[str, Any] = super().load(session_id)
        data["seen"] = data.get("seen", 0) + 1
        return data

    def save(self, session_id: str, data: dict[str, Any], timeout: int) -> Any:
        assert not super().save(session_id, data, timeout)


class Counting(App):
    def index(self) -> Any:
        session = self.request.session
        session["n"] = session.get("n", 0) + 1
        return dict(session)


def test_a_session_backend_may_await_the_one_in_memory(make_client: MakeClient) -> None:
    backend = Logged()
    client = make_client(Counting(backend))
    assert [client.get("/").json()["n"] for _ in range(3)] == [1, 2, 3]
    assert None in backend.log
    assert {"n": 2} in backend.log


class OnItsOwn(SessionBackend):
    """It calls the methods of the interface, which do nothing, and stores the data itself."""

    def __init__(self) -> None:
        self.stored: dict[str, dict[str, Any]] = {}

    async def load(self, session_id: str) -> dict[str, Any]:
        assert await super().load(session_id) == {}
        return self.stored.get(session_id, {})

    async def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None:
        assert await super().save(session_id, data, timeout) is None
        self.stored[session_id] = data


def test_a_session_backend_may_await_the_base_class(make_client: MakeClient) -> None:
    client = make_client(Counting(OnItsOwn()))
    assert [client.get("/").json()["n"] for _ in range(3)] == [1, 2, 3]


def test_a_session_backend_may_use_the_one_in_memory_unchanged(make_client: MakeClient) -> None:
    client = make_client(Counting(Plain()))
    assert client.get("/").json() == {"n": 1}
    assert client.get("/").json() == {"n": 2, "seen": 1}


def test_a_backend_without_methods_raises_a_clear_error() -> None:
    with pytest.raises(NotImplementedError, match="must have a method load"):
        SessionBackend().load("a")


class Bodies(App):
    @post
    def token(self) -> Any:
        return {
            "token": self.request.form("csrf_token") or self.request.json("csrf_token"),
            "none": self.request.form("nothing", "default")
            + self.request.json("nothing", "default"),
        }


@pytest.mark.parametrize(
    ("content", "kind", "token"),
    [
        (b"csrf_token=a", "application/x-www-form-urlencoded", "a"),
        (b'{"csrf_token": "b"}', "application/json", "b"),
        (b'["csrf_token"]', "application/json", None),
        (b"text", "text/plain", None),
        (b"\x00", "", None),
        (b"", "", None),
        (b"", "application/json", None),
    ],
)
def test_a_parameter_gets_its_default_for_another_kind_of_body(
    make_client: MakeClient, content: bytes, kind: str, token: Any
) -> None:
    answer = make_client(Bodies()).post(
        "/token", content=content, headers={"Content-Type": kind} if kind else {}
    )
    assert (answer.status_code, answer.json()) == (200, {"token": token, "none": "defaultdefault"})


class Moved(App):
    def old(self) -> Any:
        return self._redirect("/new", [("X-Pie", "apple"), ("Set-Cookie", "a=1")])

    def named(self) -> Any:
        return self._redirect("/new", 301, headers={"X-Pie": "apple"})

    def extra(self) -> Any:
        return self._redirect("/new", extra_headers=[("X-Pie", "apple")])


def test_a_redirect_may_have_more_headers(make_client: MakeClient) -> None:
    client = make_client(Moved())
    old, named = client.get("/old"), client.get("/named")
    assert (old.status_code, old.headers["Location"]) == (303, "/new")
    assert old.headers["X-Pie"] == "apple"
    assert old.headers["Set-Cookie"] == "a=1"
    assert (named.status_code, named.headers["X-Pie"]) == (301, "apple")
    assert client.get("/extra").headers["X-Pie"] == "apple"


def test_setup_errors_are_value_errors() -> None:
    assert issubclass(SetupError, ValueError)
    with pytest.raises(ValueError, match="App has no setting 'debgu'"):
        App(debgu=True)  # type: ignore[call-arg]


# -- sessions of WebSockets ------------------------------------------------------------------------


class Chat(App):
    async def ws_late(self, ws: WebSocket) -> None:
        await ws.accept()
        self.request.session["name"] = await ws.receive_text()
        await ws.send_text("noted")

    async def ws_now(self, ws: WebSocket) -> None:
        await ws.accept()
        session = self.request.session
        session["name"] = await ws.receive_text()
        await session.save()
        await ws.send_text("saved")
        await ws.receive_text()

    async def ws_plain(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_text("plain")

    async def ws_hidden(self, ws: WebSocket) -> None:
        await ws.accept()
        self._remember()

    def _remember(self) -> None:
        self.request.session["name"] = "hidden"

    def name(self) -> str:
        return str(self.request.session.get("name"))

    async def early(self) -> str:
        self.request.session["a"] = 1
        await self.request.session.save()
        return "never"


class Stored(SessionBackend):
    """A backend that is asked ahead, as a database is."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}

    async def load(self, session_id: str) -> dict[str, Any]:
        return dict(self.data.get(session_id, {}))

    async def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None:
        self.data[session_id] = data


@pytest.mark.parametrize("world", ["asyncio", "trio"])
@pytest.mark.parametrize("backend", [InMemorySessionBackend, Stored])
@pytest.mark.parametrize("path", ["/late", "/now"])
def test_a_session_begins_when_the_websocket_opens(
    connect: MakeClient, world: str, backend: Any, path: str
) -> None:
    client = connect(Chat(backend()), world)
    with client.websocket(path) as ws:
        ws.send_text("Ann")
        assert ws.receive_text() in ("noted", "saved")
        if path == "/now":
            assert client.get("/name").text == "Ann"
            ws.send_text("end")
    assert client.get("/name").text == "Ann"
    with client.websocket(path) as ws:  # with its cookie
        ws.send_text("Bea")
        ws.receive_text()
        if path == "/now":
            ws.send_text("end")
    assert client.get("/name").text == "Bea"


@pytest.mark.parametrize("world", ["asyncio", "trio"])
def test_a_websocket_without_a_session_sends_no_cookie(connect: MakeClient, world: str) -> None:
    client = connect(Chat(), world)
    with client.websocket("/plain") as ws:
        ws.receive_text()
    assert not client.cookies
    with client.websocket("/late"):
        pass
    assert client.cookies
    assert client.get("/name").text == "None"


@pytest.mark.parametrize("world", ["asyncio", "trio"])
def test_a_new_websocket_session_needs_the_cookie_before_accept(
    connect: MakeClient, world: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = connect(Chat(), world, raise_app_exceptions=False)
    with client.websocket("/hidden"):
        pass
    assert (
        "the session can't be changed any more, because a new cookie can be sent only when the "
        "WebSocket is accepted: change the session before ws.accept()" in caplog.text
    )


def test_an_http_session_is_saved_with_the_response(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    assert make_client(Chat()).get("/early").status_code == 500
    assert "session.save() is only for WebSocket handlers, after ws.accept()" in caplog.text


def test_a_websocket_s_request_has_a_public_name() -> None:
    assert WebSocketRequest.__name__ == "WebSocketRequest"


class Named(App):
    """MicroPie's names, as its guides have them."""

    def __init__(self, templates: Path) -> None:
        super().__init__(
            templates=templates,
            template_setup=lambda environment: environment.globals.update(set_up="set up"),
        )
        self.env.filters["loud"] = str.upper
        self.env.globals["site"] = "<S>"
        self.env.tests["small"] = lambda number: number < 10

    async def index(self) -> str:
        return await self._render_template("micropie.html", number=3)

    async def rename(self) -> str:
        self.env.globals["site"] = "new"
        return await self.index()

    async def log_in(self, role: str = "") -> dict[str, Any]:
        self.request.session["role"] = role
        await self.request.regenerate_session()
        return dict(self.request.session)

    def promote(self) -> dict[str, Any]:
        self.request.regenerate_session()
        return dict(self.request.session)


def test_names_of_micropie_can_be_imported(make_client: MakeClient, tmp_path: Path) -> None:
    (tmp_path / "micropie.html").write_text(
        "{{ site }} {{ 'a'|loud }} {{ 'small' if number is small }} {{ set_up }}"
    )
    client = make_client(Named(tmp_path))
    assert client.get("/").text == "&lt;S&gt; A small set up"
    assert client.get("/rename").text == "new A small set up"
    ids = []
    for path in ("/log_in?role=admin", "/promote"):
        assert client.get(path).json() == {"role": "admin"}
        ids.append(client.cookies["session_id"])
    assert ids[0] != ids[1]
    assert client.get("/env").status_code == 404
    assert SESSION_TIMEOUT == 8 * 3600
    assert issubclass(MultipartFileError, Exception)


def test_programs_may_use_the_name_env_themselves(make_client: MakeClient) -> None:
    class Own(App):
        def __init__(self) -> None:
            super().__init__()
            self.env = "production"  # type: ignore[assignment]

        def index(self) -> str:
            return str(self.env)

    class Handler(App):
        def env(self) -> str:  # type: ignore[override]
            return "handler"

    assert make_client(Own()).get("/").text == "production"
    assert make_client(Handler()).get("/env").text == "handler"


def test_env_works_before_any_template_setting(make_client: MakeClient, tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("{{ x|twice }}")

    class Plain(App):
        async def index(self) -> str:
            return await self._render_template("a.html", x="a")

    app = Plain(templates=tmp_path)
    client = make_client(app)
    assert client.get("/").status_code == 500
    app.env.filters["twice"] = lambda text: text * 2
    assert client.get("/").text == "aa"
