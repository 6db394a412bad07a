"""An ``index`` below a decorator answers its own path and no other."""

from __future__ import annotations

from typing import Any

import pytest

from micropie import App, WebSocket, get, post, route, websocket
from micropie.testing import TestClient, WebSocketRefused
from tests.support.clients import MakeClient


class Plain(App):
    def index(self, q: str = "", page: int = 1) -> str:
        return f"{q} {page}"


class Decorated(App):
    @get
    def index(self, q: str = "", page: int = 1) -> str:
        return f"{q} {page}"

    @get
    def list(self, page: int = 1) -> str:
        return f"list {page}"

    @post
    def pie(self, name: str) -> str:
        return f"pie {name}"


class Routed(Plain):
    @route(methods=["GET"])
    def index(self, q: str = "", page: int = 1) -> str:
        return f"{q} {page}"


class Both(App):
    @get
    @get("/<page:int>")
    def index(self, page: int = 1) -> str:
        return str(page)


class Rest(App):
    @get
    def index(self, *segments: str) -> str:
        return " ".join(segments)


class Root(App):
    plain = Plain()
    decorated = Decorated()
    routed = Routed()
    both = Both()
    rest = Rest()

    def default(self, *segments: str) -> Any:
        return 404, "default"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/plain/x/3", "x 3"),
        ("/decorated", " 1"),
        ("/decorated/", " 1"),
        ("/decorated/index", " 1"),
        ("/decorated?q=x&page=3", "x 3"),
        ("/decorated/x", "default"),
        ("/decorated/x/3", "default"),
        ("/decorated/list/3", "list 3"),
        ("/routed?q=x", "x 1"),
        ("/routed/x", "default"),
        ("/both", "1"),
        ("/both/3", "3"),
        ("/both/x", "default"),
        ("/rest/a/b", "a b"),
    ],
)
def test_a_decorated_index_takes_no_path_segments(
    make_client: MakeClient, path: str, text: str
) -> None:
    assert make_client(Root()).get(path).text == text


def test_a_path_below_index_gets_a_404(make_client: MakeClient) -> None:
    client = make_client(Decorated())
    assert [client.get(path).status_code for path in ("/index/x", "/x", "/")] == [404, 404, 200]
    assert client.post("/pie/cherry").text == "pie cherry"


def test_a_decorated_websocket_index_takes_no_path_segments(backend: Any) -> None:
    class Sockets(App):
        @websocket
        async def index(self, ws: WebSocket, room: str = "") -> None:
            await ws.accept()
            await ws.send_text(room)

    with TestClient(Sockets(), backend=backend) as client:
        with client.websocket("/?room=a") as ws:
            assert ws.receive_text() == "a"
        with pytest.raises(WebSocketRefused), client.websocket("/a"):
            pass


def test_parameters_of_a_decorated_index_are_described_as_query() -> None:
    (path,) = [path for path in Root().openapi()["paths"] if path.startswith("/decorated")][:1]
    assert path == "/decorated"
