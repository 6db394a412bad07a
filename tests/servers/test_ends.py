"""The table of docs/websockets.md: what the end of a WebSocket looks like under each server."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.servers.harness import ANSWER_WITHIN, KINDS, Server, serving

ROOT = Path(__file__).parent.parent.parent
ASGI = [name for name, kind in KINDS.items() if kind.protocol == "asgi"]


class Row(NamedTuple):
    """What the handler gets for the client's code 4002 and for a lost connection, and what the
    client gets when the server ends by a signal. On a busy machine, uvicorn may send its own close
    frame first, and granian may exit before it has sent one.
    """

    clients: int
    lost: int
    signals: tuple[int | None, ...]


TABLE = {
    "uvicorn": Row(4002, 1005, (1001, 1012)),
    "hypercorn-asyncio": Row(1006, 1006, (1001,)),
    "hypercorn-trio": Row(1006, 1006, (1001,)),
    "granian-asgi": Row(4002, 1005, (1001, None)),
    "daphne": Row(4002, 1006, (None,)),
    "h2corn": Row(4002, 1005, (1001,)),
    "anycorn-asyncio": Row(4002, 1006, (1001,)),
    "anycorn-trio": Row(4002, 1006, (1001,)),
    "gunicorn-asgi": Row(4002, 1006, (1001,)),
}


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
    assert (clients, lost) == (row.clients, row.lost)
    assert signal in row.signals


def test_the_docs_contain_this_table() -> None:
    page = (ROOT / "docs" / "websockets.md").read_text()
    for name, row in TABLE.items():
        server = name.partition("-")[0]
        signals = " or ".join(str(signal or "none") for signal in row.signals)
        line = f"|{server}|{row.clients}|{row.lost}|{signals}|"
        assert line in page
