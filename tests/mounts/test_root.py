"""An application at the root: it answers where no route and no other mount does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from flask import Flask
from sentry_sdk.integrations.asgi import SentryAsgiMiddleware
from starlette.applications import Starlette
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import micropie
from micropie import (
    App,
    SetupError,
    WebSocket,
    dual,
    flash,
    get,
    requires,
    template,
    websocket,
)
from micropie.cli.check import mistakes
from micropie.testing import TestClient
from tests.asgi.calls import respond
from tests.support.clients import MakeClient
from tests.wsgi.calls import environ_for


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "application/json")])
    return [
        json.dumps(
            [environ[name] for name in ("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO")]
        ).encode()
    ]


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        raise ValueError
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": scope["path"]})
        await send({"type": "websocket.close"})
        return
    path = scope["path"].removeprefix(scope["root_path"]).encode().decode("latin-1")
    answer = json.dumps([scope["method"], scope["root_path"], path]).encode()
    await respond(send, answer, b"application/json")


class Blog(App):
    def index(self) -> str:
        return "blog"

    @get("/new")
    def new(self) -> str:
        return "new"


def site(target: Any) -> App:
    """``target`` around ``/own`` and a blog, and once more inside of a blog."""
    app = dual(target)
    app.get("/own")(lambda: "own")
    vars(app)["blog"] = Blog()
    shared = Blog()
    shared.mount("/", target)
    app.mount("/shared", shared)
    app._micropie.changed()
    return app


@pytest.mark.parametrize("root_path", ["", "/p"])
@pytest.mark.parametrize("target", [wsgi, asgi])
def test_the_root_mount_handles_paths_without_a_route(
    make_client: MakeClient, target: Any, root_path: str
) -> None:
    client = make_client(site(target), root_path=root_path)
    for path in ("/", "/x/y/", "/a//b", "/a%2Fb", "/blogs"):
        assert client.get(path).json() == ["GET", root_path, path.replace("%2F", "/")]
    assert client.get("/%C3%A9").json() == ["GET", root_path, "/Ã©"]
    assert [client.get(path).text for path in ("/own", "/blog", "/shared", "/shared/new")] == [
        "own", "blog", "blog", "new",
    ]  # fmt: skip
    # A method that no route has, too: one handler after the other can move.
    assert client.post("/own").json() == ["POST", root_path, "/own"]
    assert client.get("/shared/x").json() == ["GET", f"{root_path}/shared", "/x"]
    assert client.get("/blog/x").status_code == 404  # as below any application


def refuse(request: Any) -> bool:
    return False


@requires(refuse)
class Guarded(App):
    def index(self) -> str:
        raise AssertionError

    @get("/users/<name>")
    def users(self, name: str) -> str:
        raise AssertionError

    @websocket("/talk")
    async def talk(self, ws: WebSocket) -> None:
        raise AssertionError


@pytest.mark.parametrize("target", [wsgi, asgi])
def test_the_root_mount_gets_no_path_that_could_bypass_an_access_check(
    make_client: MakeClient, target: Any
) -> None:
    app = dual(target)
    vars(app)["admin"] = Guarded()
    app.get("/own/<path:path>")(requires(refuse)(lambda path: path))
    client = make_client(app, validate=False)

    def status(method: str, path: str) -> int:
        return client.request(method, "/", extensions={"target": path.encode()}).status_code

    for path in (
        "/admin%2Fusers/x",
        "/admin%2fother",
        "/x/../admin/x",
        "/./admin",
        "//admin",
        "/own%2Fx",
        "/own//x",
    ):
        assert status("GET", path) == 404
    assert (status("GET", "/admin/x"), status("GET", "/own/x")) == (403, 403)
    assert (status("GET", "/a%2Fadmin/x"), status("GET", "/admin/../x")) == (200, 200)
    assert status("POST", "/own%2Fx") == 200


@pytest.mark.parametrize("path", ["/admin%2Ftalk", "/admin%2Fother", "/.%2Ftalk"])
def test_the_root_mount_gets_no_handshake_that_could_bypass_an_access_check(path: str) -> None:
    app = dual(asgi)
    vars(app)["admin"] = Guarded()

    @app.websocket("/talk")
    async def talk(ws: WebSocket) -> None:
        raise AssertionError

    with (
        TestClient(app) as client,
        pytest.raises(Exception, match="refused with status 40"),
        client.websocket(path),
    ):
        pass


def test_the_root_mount_handles_websockets_without_a_handler() -> None:
    app = site(asgi)

    @app.websocket("/talk")
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_text("ours")

    with TestClient(app) as client:
        for path, text in (
            ("/talk", "ours"),
            ("/x", "/x"),
            ("/%FF", "/\ufffd"),
            ("/shared/x", "/shared/x"),
        ):
            with client.websocket(path) as ws:
                assert ws.receive_text() == text


@pytest.mark.parametrize("path", ["/x", "/%FF"])
def test_the_root_mount_has_no_websockets_under_wsgi(path: str) -> None:
    with (
        TestClient(dual(wsgi)) as client,
        pytest.raises(Exception, match="refused with status 40"),
        client.websocket(path),
    ):
        pass


def test_asgi_middleware_works_under_both_protocols(make_client: MakeClient) -> None:
    started: list[str] = []

    async def visit(request: Request) -> PlainTextResponse:
        request.session["visits"] = request.session.get("visits", 0) + 1
        return PlainTextResponse(f"visit {request.session['visits']}")

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        started.append("started")
        yield

    starlette = Starlette(routes=[Route("/visit", visit)], lifespan=lifespan)
    client = make_client(dual(SentryAsgiMiddleware(SessionMiddleware(starlette, "secret"))))
    assert [client.get("/visit").text for _ in range(2)] == ["visit 1", "visit 2"]
    assert started == ["started"]


@pytest.mark.parametrize("target", [wsgi, asgi])
def test_the_root_mount_handles_all_paths_of_a_tree_without_routes(
    make_client: MakeClient, target: Any
) -> None:
    client = make_client(dual(target))
    for path in ("/", "/x/y/", "/a//b", "/a%2Fb", "/%2e%2e/b"):
        path_info = path.replace("%2F", "/").replace("%2e", ".")
        assert client.get(path).json() == ["GET", "", path_info]


def test_the_root_mount_of_an_inner_application_is_found_in_a_tree_without_routes(
    make_client: MakeClient,
) -> None:
    app, inner = dual(wsgi), dual(asgi)
    vars(app)["inner"] = inner
    app.mount("/empty", App())
    app._micropie.changed()
    client = make_client(app)
    assert client.get("/inner/x").json() == ["GET", "/inner", "/x"]
    assert client.get("/x").json() == ["GET", "", "/x"]
    assert client.get("/empty/x").status_code == 404


def test_invalid_root_mounts_raise_errors() -> None:
    app = dual(wsgi)
    with pytest.raises(SetupError, match="two applications are mounted at /:"):
        app.mount("/", wsgi)
    with pytest.raises(SetupError, match='write kind="wsgi"'):
        dual(lambda *arguments: [])
    dual(lambda *arguments: [], "wsgi")


def test_the_root_mount_hides_no_route() -> None:
    assert [mistake for mistake in mistakes(site(wsgi)) if "never reached" in mistake] == []


@pytest.mark.parametrize("path", ["", "/", "/x"])
def test_a_server_s_prefix_may_end_with_a_slash(path: str) -> None:
    """By it an application sends "/shop" to "/shop/", below which its relative links are."""
    environ = {"SCRIPT_NAME": "/shop", "PATH_INFO": path}
    given = {**environ_for("GET", path or "/"), **environ}
    found = json.loads(b"".join(dual(wsgi)(dict(given), lambda *_: print)))
    assert found == ["GET", "/shop", path]
    moved: Any = Flask("moved")
    moved.get("/")(lambda: "page")
    heads: list[Any] = []

    def start(status: str, headers: list[tuple[str, str]], *_: Any) -> Any:
        heads.append((status, dict(headers).get("Location")))

    application: Any
    for application in (moved, dual(moved)):
        b"".join(application(dict(given), start))
    assert heads[0] == heads[1]
    with TestClient(dual(asgi), backend="asyncio", root_path="/shop") as client:
        client_path = f"/shop{path}"
        answer = client.get("/", extensions={"target": client_path.encode()})
        assert answer.json() == ["GET", "/shop", path]


PAGE = "{{ session.user }} {% for one in get_flashed_messages() %}{{ one }}{% endfor %}"


def test_mounted_code_shares_the_session_flashed_messages_and_templates(
    make_client: MakeClient,
) -> None:
    flask = Flask("flask")

    @flask.route("/<user>")
    def log_in(user: str) -> str:
        micropie.request.session["user"] = user
        flash("from flask")
        return "in"

    async def page(request: Request) -> PlainTextResponse:
        flash("from starlette")
        return PlainTextResponse(template(source=PAGE))

    app = App()
    app.mount("/flask", flask)
    app.mount("/starlette", Starlette(routes=[Route("/page", page)]))
    app.get("/")(lambda: template(source=PAGE))
    client = make_client(app)
    assert client.get("/flask/ann").text == "in"
    assert client.get("/").text == "ann from flask"
    assert client.get("/starlette/page").text == "ann from starlette"
    assert client.get("/").text == "ann "
