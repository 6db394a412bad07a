"""The same WebSockets under every ASGI server, with a client of the ``websockets`` package; and
none under WSGI.
"""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.servers.harness import ANSWER_WITHIN, KINDS, Server, ServerOf

ASGI = [name for name, kind in KINDS.items() if kind.protocol == "asgi"]
WSGI = [name for name, kind in KINDS.items() if kind.protocol == "wsgi"]

# Servers without these features, found by these tests: a cookie in the accept, a reason in the
# close, the client's own code.
WITHOUT_ACCEPT_HEADERS = ("granian-asgi", "daphne")
WITHOUT_DENIAL = ("daphne", "gunicorn-asgi")
WITHOUT_REASONS = ("daphne",)
# autobahn, below it, sends 1000 and 3000 to 4999, and leaves others open
ONLY_APPLICATIONS_CODES = ("daphne",)
WITHOUT_THE_CLIENT_S_CODE = ("hypercorn-asyncio", "hypercorn-trio")  # which say 1006


@pytest.fixture(params=ASGI)
def name(request: pytest.FixtureRequest) -> str:
    """The name of each server of ASGI."""
    chosen: str = request.param
    return chosen


def open_socket(server: Server, path: str, **options: Any) -> ClientConnection:
    connection: ClientConnection = connect(
        f"ws://127.0.0.1:{server.port}{path}",
        open_timeout=ANSWER_WITHIN,
        close_timeout=ANSWER_WITHIN,
        proxy=None,
        **options,
    )
    return connection


def end_of(ws: ClientConnection) -> tuple[int | None, str]:
    with pytest.raises(ConnectionClosed):
        ws.recv(timeout=ANSWER_WITHIN)
    return ws.close_code, ws.close_reason or ""


def wait_for_end(server: Server, wanted: str) -> str:
    deadline = time.monotonic() + ANSWER_WITHIN
    ends = ""
    while wanted not in ends and time.monotonic() < deadline:
        ends += server.request("GET", "/ended").body.decode() + ","
        time.sleep(0.05)
    return ends


def test_a_websocket_echoes_with_subprotocol_and_headers(site_on: ServerOf, name: str) -> None:
    subprotocols = [Subprotocol("pie"), Subprotocol("cake")]
    with open_socket(site_on(name), "/echo", subprotocols=subprotocols) as ws:
        assert ws.subprotocol == "pie"
        assert ws.response is not None
        assert ws.response.headers.get("X-Greeting") == (
            None if name in WITHOUT_ACCEPT_HEADERS else "hello"
        )
        for message in ("é", b"\0\xff", "x" * 70_000, b"y" * 200_000):
            ws.send(message)
            assert ws.recv(timeout=ANSWER_WITHIN) == message


def test_R53_a_refused_handshake_has_a_status(site_on: ServerOf, name: str) -> None:
    for path, origin in (("/refused", None), ("/nowhere", None), ("/echo", "https://evil.test")):
        with (
            pytest.raises(InvalidStatus) as refused,
            open_socket(site_on(name), path, origin=origin),
        ):
            pass
        expected = {"/refused": 401, "/nowhere": 404, "/echo": 403}[path]
        assert refused.value.response.status_code == (403 if name in WITHOUT_DENIAL else expected)


def test_R52_the_site_s_own_origin_is_accepted(site_on: ServerOf, name: str) -> None:
    server = site_on(name)
    with open_socket(server, "/echo", origin=f"http://127.0.0.1:{server.port}") as ws:
        ws.send("hi")
        assert ws.recv(timeout=ANSWER_WITHIN) == "hi"


def test_R55_R56_R57_close_codes_reach_the_client(site_on: ServerOf, name: str) -> None:
    server = site_on(name)
    for path in ("/closing", "/closing_later"):
        with open_socket(server, path) as ws:
            if path == "/closing_later":
                ws.send("close")
            assert end_of(ws) == (4321, "" if name in WITHOUT_REASONS else "that's it")
    if name in ONLY_APPLICATIONS_CODES:
        return
    with open_socket(server, "/failing") as ws:
        assert end_of(ws) == (1011, "")
    with open_socket(server, "/text") as ws:
        ws.send(b"bytes")
        assert end_of(ws)[0] == 1003
    with open_socket(server, "/echo", max_size=None) as ws:
        ws.send("x" * 300_001)
        assert end_of(ws)[0] == 1009
    assert "echo 1009" in wait_for_end(server, "echo 1009")


def test_R54_the_client_s_close_code_reaches_the_handler(site_on: ServerOf, name: str) -> None:
    server = site_on(name)
    with open_socket(server, "/echo") as ws:
        ws.close(3456, "enough")
    expected = "echo 1006" if name in WITHOUT_THE_CLIENT_S_CODE else "echo 3456"
    assert expected in wait_for_end(server, expected)


@pytest.mark.parametrize("path", ["echo", "talking", "elsewhere"])
def test_R54_R63_a_client_that_vanishes_ends_its_handler(
    site_on: ServerOf, name: str, path: str
) -> None:
    server = site_on(name)
    with open_socket(server, f"/{path}") as ws:
        ws.socket.shutdown(socket.SHUT_RDWR)  # no close frame
    assert path in wait_for_end(server, path)


def test_a_chat_room_works_until_its_clients_disconnect(site_on: ServerOf, name: str) -> None:
    server = site_on(name)
    with open_socket(server, "/room") as one:
        with open_socket(server, "/room") as other:
            for ws in (one, other):
                assert ws.recv(timeout=ANSWER_WITHIN) == "you are in"
            one.send("hello")
            for ws in (one, other):
                assert ws.recv(timeout=ANSWER_WITHIN) == '{"said":"hello"}'
        assert "room" in wait_for_end(server, "room")
        one.send("again")
        assert one.recv(timeout=ANSWER_WITHIN) == '{"said":"again"}'


@pytest.mark.parametrize("name", WSGI)
def test_under_wsgi_a_handshake_gets_426(basics_on: ServerOf, name: str) -> None:
    with pytest.raises(InvalidStatus) as refused, open_socket(basics_on(name), "/talk"):
        pass
    response = refused.value.response
    assert (response.status_code, response.body) == (
        426,
        b"This URL is for WebSockets, which this server does not support.",
    )
