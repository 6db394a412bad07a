"""Which handler a WebSocket reaches, what it is called with, and that HTTP reaches none of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from micropie import (
    App,
    SetupError,
    UploadFile,
    WebSocket,
    WebSocketRequest,
    get,
    hidden,
    request,
    websocket,
)
from micropie.testing import TestClient, WebSocketRefused
from tests.asgi.websocket.conftest import OpenClient
from tests.support.clients import MakeClient


async def say(ws: WebSocket, *words: Any) -> None:
    await ws.accept()
    await ws.send_text(" ".join(map(str, words)))


class Rooms(App):
    async def ws_index(self, ws: WebSocket) -> None:
        await say(ws, "rooms")

    async def ws_default(self, ws: WebSocket, *segments: str) -> None:
        await say(ws, "no room", *segments)

    async def ws_talk(self, ws: WebSocket, room: str, seat: int = 0) -> None:
        await say(ws, "talk", room, seat + 1)

    @websocket("/<number:int>/door")
    async def door(self, ws: WebSocket, number: int) -> None:
        await say(ws, "door", number + 1)

    def index(self) -> str:
        return "page of rooms"


def doubled(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*arguments: Any) -> Any:
        return function(*arguments)

    return wrapper


class Root(App):
    def __init__(self) -> None:
        super().__init__()
        self.rooms = Rooms()

    async def ws_index(self, ws: WebSocket) -> None:
        await say(ws, "index")

    async def ws_chat(
        self, ws: WebSocket, room: str, name: str = "nobody", *, loud: bool = False
    ) -> None:
        await say(ws, room, name, loud)

    async def ws_all(self, sock: WebSocket, *path: str, **words: Any) -> None:
        await say(sock, path, sorted(words.items()))

    async def ws_numbers(self, ws: WebSocket, numbers: list[int]) -> None:
        await say(ws, sum(numbers))

    @websocket("/lobby/<room>")
    @websocket("/hall/<room>", name="hall")
    async def lobby(self, socket: WebSocket, room: str) -> None:
        await say(socket, "lobby", room)

    @websocket
    async def bare(self, ws: WebSocket) -> None:
        await say(ws, "bare")

    @websocket()
    async def called(self, ws: WebSocket) -> None:
        await say(ws, "called")

    @doubled
    async def ws_wrapped(self, ws: WebSocket, n: int = 1) -> None:
        await say(ws, "wrapped", n)

    @staticmethod
    async def ws_static(ws: WebSocket, n: int = 2) -> None:
        await say(ws, "static", n)

    async def ws_about(self, ws: WebSocket) -> None:
        seen: Any = request
        assert isinstance(self.request, WebSocketRequest)
        assert (seen.path, ws.request.method, ws.request.scheme) == ("/about", "GET", "http")
        assert self.request.origin() is None
        assert ws.query.getlist("a") == ws.query_params["a"]
        await say(
            ws,
            ws.request.url,
            ws.query_params,
            ws.headers["x-a"],
            ws.cookies,
            ws.path_params,
            repr(ws.request),
        )

    def chat(self) -> str:
        return "page of chat"

    def page(self) -> str:
        return "page"

    @get("/users/<name>")
    def user(self, name: str) -> str:
        return name

    @hidden
    async def ws_hidden(self, ws: WebSocket) -> None:
        raise AssertionError("hidden")

    async def _ws_private(self, ws: WebSocket) -> None:
        raise AssertionError("private")


def root() -> Root:
    app = Root()

    @app.websocket("/plain/<n:int>")
    async def plain(ws: WebSocket, n: int) -> None:
        await say(ws, "plain", n)

    return app


FOUND = {
    "/": "index",
    "/chat/room1": "room1 nobody False",
    "/chat/room1/ann": "room1 ann False",
    "/chat/room1?name=ann&loud=yes": "room1 ann True",
    "/chat?room=a": "a nobody False",
    "/chat/a%2Fb": "a/b nobody False",
    "/all/a/b?x=1&x=2&y=3": "('a', 'b') [('x', ['1', '2']), ('y', '3')]",
    # No query may name what the call has already.
    "/all?sock=evil&self=evil&x=1": "() [('x', '1')]",
    "/numbers?numbers=1&numbers=2": "3",
    "/lobby/x": "lobby x",
    "/hall/y": "lobby y",
    "/bare": "bare",
    "/called": "called",
    "/wrapped/5": "wrapped 5",
    "/static": "static 2",
    "/plain/7": "plain 7",
    "/rooms": "rooms",
    "/rooms/": "rooms",
    "/rooms/talk/a?seat=3": "talk a 4",
    "/rooms/7/door": "door 8",
    "/rooms/some/where": "no room some where",
}


@pytest.mark.parametrize("target", FOUND)
def test_paths_are_routed_to_websocket_handlers(open_client: OpenClient, target: str) -> None:
    with open_client(root()).websocket(target) as ws:
        assert ws.receive_text() == FOUND[target]


@pytest.mark.parametrize(
    ("target", "status", "body"),
    [
        ("/nowhere", 404, "404 Not Found"),
        ("/chat", 400, "room: Please fill in this field."),
        ("/chat/a/b/c", 404, "404 Not Found"),
        ("/numbers?numbers=x", 400, "numbers: Please enter a whole number."),
        ("/hidden", 404, "404 Not Found"),
        ("/ws_chat/a", 404, "404 Not Found"),
        ("/lobby", 404, "404 Not Found"),
        ("/page", 404, "404 Not Found"),
        ("/users/ann", 404, "404 Not Found"),
        ("/_ws_private", 404, "404 Not Found"),
        ("/chat/%2e%2e/about", 404, "404 Not Found"),
        ("/chat//a", 404, "404 Not Found"),
        ("/chat/%ff", 400, "The path must be UTF-8."),
        ("/chat/%00", 400, "The path must not contain a NUL character."),
        ("/chat/a?x=%ff", 400, "A field's name or value is not valid UTF-8."),
    ],
)
def test_R58_R12_other_paths_are_refused_as_by_http(
    open_client: OpenClient, target: str, status: int, body: str
) -> None:
    with pytest.raises(WebSocketRefused) as refused, open_client(root()).websocket(target):
        pass
    assert (refused.value.status, refused.value.body.decode()) == (status, body)


def test_R58_without_denial_responses_a_refusal_is_a_close(open_client: OpenClient) -> None:
    with (
        pytest.raises(WebSocketRefused) as refused,
        open_client(root(), denial_response=False).websocket("/page"),
    ):
        pass
    seen = (refused.value.status, refused.value.code, refused.value.reason)
    assert seen == (403, 1008, "404 Not Found")


def test_R58_http_reaches_no_websocket_handler(make_client: MakeClient) -> None:
    client = make_client(root())
    for path in (
        "/ws_chat",
        "/ws_chat/a",
        "/lobby/x",
        "/bare",
        "/all",
        "/plain/7",
        "/rooms/talk/a",
        "/",
        "/_ws_private",
    ):
        assert client.get(path).status_code == 404, path
    assert client.get("/chat").text == "page of chat"
    assert client.get("/rooms").text == "page of rooms"


def test_a_websocket_s_request_is_its_handshake(open_client: OpenClient) -> None:
    with open_client(root()).websocket("/about?a=1", headers={"X-A": "b", "Cookie": "c=d"}) as ws:
        said = ws.receive_text()
    assert (
        said
        == "http://testserver/about?a=1 {'a': ['1']} b {'c': 'd'} () <WebSocketRequest '/about'>"
    )


def test_url_for_builds_urls_of_websockets(open_client: OpenClient) -> None:
    app = root()
    assert app.url_for("ws_chat", "a b") == "/chat/a%20b"
    assert app.url_for("hall", room="x") == "/hall/x"
    assert app.url_for("rooms.ws_talk", "a", seat=1) == "/rooms/talk/a?seat=1"
    assert app.url_for("chat") == "/chat"
    with pytest.raises(LookupError, match="no route named 'ws_nothing'"):
        app.url_for("ws_nothing")


def test_a_websocket_works_below_a_prefix(open_client: OpenClient) -> None:
    with open_client(root(), root_path="/sub").websocket("/chat/a") as ws:
        assert ws.receive_text() == "a nobody False"


def test_a_mounted_application_takes_precedence_over_websockets(open_client: OpenClient) -> None:
    app = root()
    app.mount("/about", App())
    with pytest.raises(WebSocketRefused) as refused, open_client(app).websocket("/about"):
        pass
    assert refused.value.status == 404


HANDSHAKE = {"Upgrade": "WebSocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}


def test_a_handshake_received_as_an_http_request_gets_426(make_client: MakeClient) -> None:
    client = make_client(root(), validate=False)
    for path in ("/all", "/lobby/x", "/rooms/talk/a"):
        answer = client.get(path, headers=HANDSHAKE)
        assert (answer.status_code, answer.text) == (
            426,
            "This URL is for WebSockets, which this server does not support.",
        ), path
        # PEP 3333 forbids it, and waitress refuses to send it
        assert "upgrade" not in answer.headers
    # A server may ignore Upgrade where it has a page (RFC 9110, section 7.8).
    assert client.get("/page", headers=HANDSHAKE).text == "page"
    assert client.get("/chat", headers=HANDSHAKE).text == "page of chat"
    assert client.get("/all/%ff", headers=HANDSHAKE).status_code == 400
    assert client.get("/nowhere", headers=HANDSHAKE).status_code == 404
    assert client.get("/chat", headers={"Upgrade": "other"}).text == "page of chat"
    assert client.get("/all", headers={"Upgrade": "other"}).status_code == 404
    found = client.get("/all", headers={f"X-{number}": "1" for number in range(1001)}).status_code
    assert found == 404


class Tickets(App):
    def index(self, q: str = "", page: int = 1) -> str:
        return f"{q} {page}"

    @websocket("/<number:int>/chat")
    async def chat(self, ws: WebSocket, number: int) -> None: ...

    @websocket("/<number:int>")
    async def one(self, ws: WebSocket, number: int) -> None: ...

    async def ws_talk(self, ws: WebSocket) -> None: ...

    @get("/wild/<name>")
    def wild(self, name: str) -> str:
        return name

    @websocket("/wild/<name>")
    async def wild_socket(self, ws: WebSocket, name: str) -> None: ...


def test_a_handshake_to_a_page_with_path_parameters_gets_a_426(make_client: MakeClient) -> None:
    client = make_client(Tickets(), validate=False)
    for path in ("/5/chat", "/5"):
        assert client.get(path, headers=HANDSHAKE).status_code == 426
    assert client.get("/5/6").text == "5 6"
    assert client.get("/5").text == "5 1"
    assert client.get("/x", headers=HANDSHAKE).text == "x 1"  # of no WebSocket
    assert client.get("/", headers=HANDSHAKE).text == " 1"
    assert client.get("/wild/x", headers=HANDSHAKE).text == "x"  # a page of the same path
    for method, status in (("GET", 426), ("HEAD", 426), ("POST", 200)):
        assert client.request(method, "/talk", headers=HANDSHAKE).status_code == status


# -- mistakes of the author ------------------------------------------------------------------------


def plain(self: Any, ws: Any) -> None: ...


async def yields(self: Any, ws: Any) -> Any:
    yield 1


async def no_socket(self: Any) -> None: ...


async def only_names(self: Any, **ws: Any) -> None: ...


async def wants_a_file(self: Any, ws: Any, file: UploadFile) -> None: ...


async def both(self: Any, ws: Any) -> None: ...


async def lacks_room(self: Any, ws: Any) -> None: ...


MISTAKES: dict[str, dict[str, Any]] = {
    "a WebSocket handler must be an async def": {"ws_x": plain},
    "without yield": {"ws_x": yields},
    "takes the socket first: write async def ws_name": {"ws_x": no_socket},
    "takes the socket first": {"ws_x": only_names},
    "'file' is filled from a body, and a WebSocket has none": {"ws_x": wants_a_file},
    "write @websocket above it, not an HTTP decorator": {"x": get("/a")(websocket("/b")(both))},
    "has no parameter 'room'": {"x": websocket("/<room>")(lacks_room)},
}


@pytest.mark.parametrize("sentence", MISTAKES)
def test_an_invalid_websocket_handler_fails_at_setup(sentence: str) -> None:
    app = type("Root", (App,), MISTAKES[sentence])()
    with pytest.raises(SetupError, match=sentence):
        app._micropie.compiled()


def test_the_websocket_annotation_may_only_exist_for_type_checkers(open_client: OpenClient) -> None:
    async def ws_x(self: App, ws: OnlyForTypeCheckers, n: int = 1) -> None:  # type: ignore[name-defined]  # noqa: F821
        await say(ws, n + 1)

    with open_client(type("Root", (App,), {"ws_x": ws_x})()).websocket("/x/5") as ws:
        assert ws.receive_text() == "6"


def test_misused_websocket_decorators_raise_errors() -> None:
    with pytest.raises(SetupError, match=r'write @websocket\("/path"\), not 5'):
        websocket(5)  # type: ignore[call-overload]
    with pytest.raises(SetupError, match="must begin with '/'"):
        websocket("rooms")
    with pytest.raises(SetupError, match="decorator must be above a function"):
        App().websocket("/x")(5)  # type: ignore[type-var]
    app = App()
    for path in ("/a", "/b"):
        app.websocket(path, name="same")(functools.partial(no_socket))
    with pytest.raises(SetupError):
        app._micropie.compiled()


def test_two_websockets_with_the_same_path_or_name_conflict() -> None:
    async def handler(ws: Any) -> None: ...

    app = App()
    app.websocket("/a")(handler)
    app.websocket("/a")(handler)
    with pytest.raises(SetupError, match=r"^both "):
        app._micropie.compiled()
    app = App()
    app.websocket("/a", name="n")(handler)
    app.websocket("/b", name="n")(handler)
    with pytest.raises(SetupError, match="two routes have the name 'n': /a and /b; give"):
        app._micropie.compiled()


def test_handlers_added_later_are_found(open_client: OpenClient) -> None:
    app: Any = App()
    client: TestClient = open_client(app)
    with pytest.raises(WebSocketRefused), client.websocket("/late"):
        pass

    async def late(ws: WebSocket) -> None:
        await say(ws, "late")

    app.ws_late = websocket(late)
    with client.websocket("/late") as ws:
        assert ws.receive_text() == "late"
