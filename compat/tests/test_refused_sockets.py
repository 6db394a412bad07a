"""A guard of both halves may call a function of the old one, which raises the original's errors: a
WebSocket is refused with their status.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import micropie
from micropie import HttpMiddleware, Request
from micropie._core.http.websockets import FAILED, POLICY
from micropie.testing import TestClient, WebSocketClosed, WebSocketRefused
from micropie_compat import bottle, cherrypy


def raising(make: Callable[[], Exception]) -> Callable[[], None]:
    def refuse() -> None:
        raise make()

    return refuse


ABROAD = {"Location": "https://id.example/log-in"}

REFUSALS: dict[str, tuple[Callable[[], None], int, str, bytes]] = {
    "abort": (lambda: bottle.abort(403, "no"), 403, "", b"no"),
    "redirect": (lambda: bottle.redirect("/log-in"), 303, "http://testserver/log-in", b""),
    "401": (raising(lambda: bottle.HTTPResponse("x", 401, {"X-Why": "y"})), 401, "", b"x"),
    "302": (raising(lambda: bottle.HTTPResponse("", 302, ABROAD)), 302, ABROAD["Location"], b""),
    # It would say that the handshake is all right.
    "200": (raising(lambda: bottle.HTTPResponse(b"x")), 403, "", b"403 Forbidden"),
    "304": (raising(lambda: bottle.HTTPResponse("", 304)), 403, "", b"403 Forbidden"),
    "700": (raising(lambda: bottle.HTTPResponse("x", 700)), 403, "", b"x"),
    "HTTPError": (raising(lambda: cherrypy.HTTPError(401, "no")), 401, "", b"no"),
    "NotFound": (
        raising(lambda: cherrypy.NotFound("/a")),
        404,
        "",
        b"The path '/a' was not found.",
    ),
    "HTTPRedirect": (
        raising(lambda: cherrypy.HTTPRedirect("/log-in")),
        303,
        "http://testserver/log-in",
        b"",
    ),
}


class Guard(HttpMiddleware):
    guards = True

    def __init__(self, refuse: Callable[[], None]) -> None:
        self.refuse = refuse

    def before_request(self, request: Request) -> None:
        self.refuse()


def moved(name: str) -> Any:
    """Return an application of the framework whose error ``name`` is."""
    if name[0] == "H" or name == "NotFound":
        return cherrypy.Application(object(), "")
    return bottle.Bottle()


@pytest.mark.parametrize("name", REFUSALS)
def test_an_access_check_may_refuse_a_websocket_with_the_framework_s_errors(
    backend: str, name: str
) -> None:
    refuse, status, location, body = REFUSALS[name]
    app = moved(name)
    app.native.middlewares.append(Guard(refuse))

    @app.websocket("/chat")
    async def chat(ws: Any) -> None:
        raise AssertionError

    client = TestClient(app, backend=backend, denial_response=True)
    with pytest.raises(WebSocketRefused) as caught, client.websocket("/chat"):
        pass
    refused = caught.value
    headers = {key.decode(): value.decode() for key, value in refused.headers}
    assert (refused.status, headers.get("location", ""), refused.body) == (status, location, body)
    assert headers.get("x-why", "") == ("y" if name == "401" else "")


@pytest.mark.parametrize(
    ("name", "code"), [("abort", POLICY), ("HTTPError", POLICY), ("unavailable", FAILED)]
)
def test_an_open_websocket_is_closed_by_the_framework_s_errors(
    backend: str, name: str, code: int
) -> None:
    app = moved(name)

    @app.websocket("/chat")
    async def chat(ws: Any) -> None:
        await ws.accept()
        if name == "unavailable":
            bottle.abort(503, "later")
        REFUSALS[name][0]()

    client = TestClient(app, backend=backend)
    with client.websocket("/chat") as socket, pytest.raises(WebSocketClosed) as caught:
        socket.receive_text()
    assert (caught.value.code, caught.value.reason) == (code, "later" if code == FAILED else "no")


def test_a_returned_error_acts_like_a_raised_one(make_client: Any) -> None:
    """Also CherryPy's errors and redirects, in a native handler."""
    app = cherrypy.Application(object(), "")

    @app.native.get("/error")
    def error() -> object:
        return cherrypy.HTTPError(409, "taken")

    @app.native.get("/redirect")
    async def redirect() -> object:
        return cherrypy.HTTPRedirect("/a?b=c", 307)

    client = make_client(app)
    answered = client.get("/error")
    assert (answered.status_code, answered.text) == (409, "taken")
    answered = client.get("/redirect")
    assert (answered.status_code, answered.headers["Location"]) == (307, "http://testserver/a?b=c")


def test_a_native_response_is_not_changed() -> None:
    error = micropie.HTTPError(404)
    assert error.as_native() is error
