"""What tools around an application read of a request: its route, in the server's scope or environ."""

from __future__ import annotations

from typing import Any

from micropie import App, WebSocket, get
from tests.support.clients import MakeClient


class Shop(App):
    """An inner application on a host of its own and below a path."""

    def pie(self, name: str) -> str:
        return name


class Root(App):
    def index(self) -> str:
        return "index"

    @get("/pies/<number:int>")
    def pies(self, number: int) -> str:
        return str(number)

    def fails(self) -> str:
        raise RuntimeError("on purpose")

    async def ws_room(self, ws: WebSocket, name: str) -> None:
        await ws.accept()

    def __init__(self) -> None:
        super().__init__()
        self.shop = Shop()
        self.mount("/old", self.old)

    @staticmethod
    def old(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "3")])
        return [b"old"]


class Watched:
    """An application inside of a tool that notes each request's route when its response begins."""

    def __init__(self) -> None:
        self.app = Root()
        self.seen: list[tuple[str, str, object] | None] = []

    def note(self, route: Any, endpoint: Any) -> None:
        self.seen.append(route and (route.path, route.name, endpoint))

    def wsgi(self, environ: Any, start_response: Any) -> Any:
        def start(*arguments: Any) -> Any:
            route = environ.get("micropie.route")
            self.note(route, getattr(route, "function", None))
            return start_response(*arguments)

        return self.app(environ, start)

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        async def sending(message: Any) -> None:
            if message["type"] in ("http.response.start", "websocket.accept"):
                self.note(scope.get("route"), scope.get("endpoint"))
            await send(message)

        await self.app(scope, receive, sending)


def test_tools_see_the_route_of_each_request(connect: MakeClient, world: str) -> None:
    watched = Watched()
    app = watched.app
    client = connect(watched.wsgi if world == "wsgi" else watched.asgi, world, validate=False)
    for path, expected in (
        ("/", ("/", "index", app.index)),
        ("/pies/4", ("/pies/<number:int>", "pies", app.pies)),
        ("/shop/pie/apple", ("/shop/pie", "shop.pie", app.shop.pie)),
        ("/fails", ("/fails", "fails", app.fails)),
        ("/nowhere", None),
        ("/pies/x", None),
    ):
        client.get(path)
        assert watched.seen.pop() == expected
    client.get("/old/a")
    seen = watched.seen.pop()
    assert seen is not None
    assert seen[:2] == ("/old", "/old")


def test_tools_see_the_route_of_a_websocket(connect: MakeClient, backend: str) -> None:
    watched = Watched()
    with connect(watched.asgi, backend, validate=False).websocket("/room/a"):
        assert watched.seen == [("/room", "ws_room", watched.app.ws_room)]


def test_a_route_of_a_host_has_a_path_without_the_host(connect: MakeClient, world: str) -> None:
    watched = Watched()
    watched.app.shop = Shop(host="shop.example.com")
    client = connect(watched.wsgi if world == "wsgi" else watched.asgi, world, validate=False)
    client.get("http://shop.example.com/pie/apple")
    seen = watched.seen.pop()
    assert seen is not None
    assert seen[0] == "/pie"
