"""The table of docs/websockets.md: what the end of a WebSocket looks like under each server."""

from __future__ import annotations

import socket
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.servers.ends import CANCELLED
from tests.servers.harness import ANSWER_WITHIN, HTTP2, KINDS, Server, serving, start
from tests.servers.http2 import Http2

ROOT = Path(__file__).parent.parent.parent
ASGI = [name for name, kind in KINDS.items() if kind.protocol == "asgi"]


class Row(NamedTuple):
    """What the handler gets for the client's code 4002 and for a lost connection, and what the
    client gets when the server ends by a signal. On a busy machine, uvicorn may send its own close
    frame first, and granian may exit before it has sent one. Over HTTP/2, h2corn cancels the
    handler, but it may have got the code before.
    """

    clients: int
    lost: tuple[int, ...]
    signals: tuple[int | None, ...]


TABLE = {
    "uvicorn": Row(4002, (1005,), (1001, 1012)),
    "hypercorn-asyncio": Row(1006, (1006,), (1001,)),
    "hypercorn-trio": Row(1006, (1006,), (1001,)),
    "granian-asgi": Row(4002, (1005,), (1001, None)),
    "daphne": Row(4002, (1006,), (None,)),
    "h2corn": Row(4002, (1005,), (1001,)),
    "anycorn-asyncio": Row(4002, (1006,), (1001,)),
    "anycorn-trio": Row(4002, (1006,), (1001,)),
    "gunicorn-asgi": Row(4002, (1006,), (1001,)),
}
# By extended CONNECT (RFC 8441). hypercorn's trio worker is missing as in the other tests of HTTP/2.
OVER_HTTP2 = {
    "hypercorn-asyncio-h2": Row(1006, (1006,), (None,)),
    "h2corn-h2": Row(4002, (1006, CANCELLED), (1001,)),
    "anycorn-asyncio-h2": Row(4002, (1006,), (None,)),
    "anycorn-trio-h2": Row(4002, (1006,), (None,)),
}
HANDSHAKE = {":protocol": "websocket", "sec-websocket-version": "13"}


def open_socket(server: Server, path: str) -> ClientConnection:
    connection: ClientConnection = connect(
        f"ws://127.0.0.1:{server.port}{path}",
        open_timeout=ANSWER_WITHIN,
        close_timeout=ANSWER_WITHIN,
        proxy=None,
    )
    return connection


def end_of(ws: ClientConnection) -> int | None:
    """Return the code of the close frame that the client gets; None without a frame."""
    with pytest.raises(ConnectionClosed) as closed:
        ws.recv(timeout=ANSWER_WITHIN)
    return closed.value.rcvd.code if closed.value.rcvd else None


def seen_by_handler(server: Server) -> int:
    """Wait until the handler has ended, and return the code that it got."""
    deadline = time.monotonic() + ANSWER_WITHIN
    while time.monotonic() < deadline:
        if code := int(server.request("GET", "/ended").body):
            return code
        time.sleep(0.02)
    raise AssertionError("the handler was not told")


def status_of(server: Server, path: str) -> int:
    with pytest.raises(InvalidStatus) as refused:
        open_socket(server, path)
    return refused.value.response.status_code


@pytest.mark.processes
@pytest.mark.parametrize("name", ASGI)
def test_each_way_to_end_a_response_is_handled_as_documented(name: str) -> None:
    # with a worker, as in production: hypercorn on trio ends otherwise without a close frame
    with serving("tests.servers.ends:app", workers=1) as server_of:
        server = server_of(name)
        with open_socket(server, "/returning") as ws:
            assert end_of(ws) == 1000
        assert status_of(server, "/not_accepting") == 403
        assert status_of(server, "/refusing") == 403
        with open_socket(server, "/waiting") as ws:
            ws.close(4002, "bye")
        clients = seen_by_handler(server)
        with open_socket(server, "/waiting") as ws:
            ws.socket.shutdown(socket.SHUT_RDWR)  # no close frame
            lost = seen_by_handler(server)
        with open_socket(server, "/waiting") as ws:
            server.tell_to_end()
            signal = end_of(ws)
    row = TABLE[name]
    assert clients == row.clients
    assert lost in row.lost
    assert signal in row.signals


def open_stream(client: Http2, path: str) -> int:
    """Open a WebSocket over HTTP/2, and wait for the status."""
    stream = client.begin("CONNECT", path, HANDSHAKE, ends=False)
    while not client.received(stream).status:
        client.listen()
        assert client.received(stream).end != "connection closed"
    return stream


def end_of_stream(client: Http2, stream: int) -> int | None:
    """Return the code of the close frame; None if the stream ends without one."""
    while len(body := client.received(stream).body) < 4 and not client.received(stream).end:
        client.listen()
    assert body[:1] in (b"", b"\x88")
    return int.from_bytes(body[2:4]) or None


@pytest.mark.processes
@pytest.mark.parametrize("name", OVER_HTTP2)
def test_each_way_to_end_a_stream_is_handled_as_documented(name: str) -> None:
    close_frame = b"\x88\x82\0\0\0\0" + (4002).to_bytes(2)
    with ExitStack() as stack:
        log = stack.enter_context(tempfile.TemporaryFile())
        server = start(HTTP2[name], "tests.servers.ends:app", log)
        stack.callback(server.end)
        with server.over_http2() as client:
            assert end_of_stream(client, open_stream(client, "/returning")) == 1000
            for path in ("/not_accepting", "/refusing"):
                assert client.received(open_stream(client, path)).status == 403
            client.send(open_stream(client, "/waiting"), close_frame)
            clients = seen_by_handler(server)
            client.reset(open_stream(client, "/waiting"))
            lost = seen_by_handler(server)
        with server.over_http2() as client:
            stream = open_stream(client, "/waiting")
            server.tell_to_end()
            signal = end_of_stream(client, stream)
        server.end()
        # hypercorn leaves coroutines over when a connection ends
        assert name.startswith("hypercorn") or not server.leftovers()
    row = OVER_HTTP2[name]
    assert clients == row.clients
    assert lost in row.lost
    assert signal in row.signals


def test_the_docs_contain_this_table() -> None:
    page = (ROOT / "docs" / "websockets.md").read_text()
    for name, row in (TABLE | OVER_HTTP2).items():
        server = name.partition("-")[0] + (", over HTTP/2" if name in OVER_HTTP2 else "")
        lost = " or ".join("cancelled" if code == CANCELLED else str(code) for code in row.lost)
        signals = " or ".join(str(signal or "none") for signal in row.signals)
        assert f"|{server}|{row.clients}|{lost}|1000|403|{signals}|" in page
