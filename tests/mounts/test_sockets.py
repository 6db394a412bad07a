"""WebSockets below a mount, and isolated applications under a server without lifespan."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import anyio
import pytest
import socketio

from micropie import App, HTTPError, HttpMiddleware, Request, WebSocket
from micropie._core.execution import current
from micropie.testing import TestClient, WebSocketClosed, WebSocketRefused
from tests.asgi.calls import get, run
from tests.support.clients import MakeClient
from tests.support.waiting import until


async def sockets(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "websocket"
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": f"{scope['root_path']} {scope['path']}"})
    await send({"type": "websocket.close"})


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b""]


class Child(App):
    async def ws_talk(self, websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(f"{self.request.path} {self.url_for('ws_talk')}")

    def index(self) -> str:
        return self.request.root_path


def site() -> App:
    app, child = App(), Child()
    app.mount("/a/b", sockets)
    app.mount("/w", wsgi)
    app.mount("/shared", Child())
    child.mount("/deep", sockets)
    app.mount("/c", child, isolated=True)
    return app


def test_a_mounted_application_handles_its_websockets(backend: str) -> None:
    with TestClient(site(), backend=backend, root_path="/p") as client:
        for path in ("/a/b", "/c/deep"):
            with client.websocket(f"{path}/x") as socket:
                assert socket.receive_text() == f"/p{path} /p{path}/x"


@pytest.mark.parametrize("path", ["/mounted", "/refused"])
def test_after_response_waits_for_the_end_of_a_mounted_websocket(backend: str, path: str) -> None:
    log = list[str]()

    class Guard(HttpMiddleware):
        guards = True

        def before_request(self, request: Request) -> None:
            request.after_response(log.append, "after")
            if request.path.startswith("/refused"):
                raise HTTPError(403)

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        with pytest.raises(LookupError):
            current.get()
        await receive()
        await send({"type": "websocket.accept"})
        await anyio.sleep(0.05)
        log.append("mounted")
        await send({"type": "websocket.close"})

    app = App()
    app.middlewares.append(Guard())
    app.mount("/mounted", slow)
    app.mount("/refused", slow)
    with TestClient(app, backend=backend, lifespan=False) as client:
        with suppress(WebSocketRefused, WebSocketClosed), client.websocket(path) as socket:
            socket.receive()
        until(lambda: "after" in log)
    assert log == (["mounted", "after"] if path == "/mounted" else ["after"])


@pytest.mark.parametrize("size", [1, 2000])
def test_the_session_of_a_hook_is_saved_before_a_mounted_websocket(backend: str, size: int) -> None:
    class Guard(HttpMiddleware):
        guards = True

        def before_request(self, request: Request) -> None:
            request.session["seen"] = "x" * size

    app = App(max_session_size=1000)
    app.middlewares.append(Guard())
    app.mount("/mounted", sockets)
    with TestClient(app, backend=backend, raise_app_exceptions=False) as client:
        client.login(seen="")
        if size > 1:
            with pytest.raises(WebSocketRefused), client.websocket("/mounted"):
                pass
        else:
            with client.websocket("/mounted") as socket:
                socket.receive_text()
                with client.session_transaction() as session:
                    assert session == {"seen": "x"}


def test_a_mounted_app_that_shares_settings_handles_its_websockets(backend: str) -> None:
    with TestClient(site(), backend=backend) as client, client.websocket("/shared/talk") as socket:
        assert socket.receive_text() == "/shared/talk /shared/talk"
    assert site().url_for("shared.ws_talk") == "/shared/talk"


@pytest.mark.parametrize("path", ["/w", "/shared", "/none"])
def test_without_a_websocket_handler_the_handshake_is_refused(backend: str, path: str) -> None:
    with (
        TestClient(site(), backend=backend) as client,
        pytest.raises(Exception, match=r"(?i)clos|refus|reject|disconnect"),
        client.websocket(path),
    ):
        pass


def test_an_isolated_application_starts_on_demand_without_lifespan(backend: str) -> None:
    assert run(backend, get, site(), "/c").body == b"/c"
    assert run(backend, get, site(), "/shared").body == b""


def test_socketio_works_below_its_own_prefix(connect: MakeClient) -> None:
    """It looks for its path in the whole path, so it must be told to look for none."""
    sio = socketio.AsyncServer(async_mode="asgi")
    app = App()
    app.mount("/socket.io", socketio.ASGIApp(sio, socketio_path=""))
    answer = connect(app, "asyncio", validate=False).get("/socket.io/?EIO=4&transport=polling")
    assert (answer.status_code, answer.text[:7]) == (200, '0{"sid"')
