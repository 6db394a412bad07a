"""A JSON message with too many values closes the WebSocket before it is decoded."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from micropie import App, ConnectionClosed, WebSocket
from micropie.testing import WebSocketClosed
from tests.asgi.websocket.conftest import OpenClient


@dataclass
class Data:
    a: list[int]


class Socket(App):
    seen: Any = None

    def __init__(self, is_typed: bool, **settings: Any) -> None:
        super().__init__(**settings)

        async def untyped(ws: WebSocket) -> None:
            await ws.accept()
            try:
                await ws.send_json(len((await ws.receive_json())["a"]))
            except ConnectionClosed as error:
                self.seen = error
                raise

        async def typed(ws: WebSocket[Data, int]) -> None:
            await ws.accept()
            try:
                await ws.send(len((await ws.receive()).a))
            except ConnectionClosed as error:
                self.seen = error
                raise

        self.websocket("/")(typed if is_typed else untyped)


@pytest.mark.parametrize("is_typed", [False, True])
@pytest.mark.parametrize("count", [10, 50_000])  # of which the second is read in a thread
def test_a_message_with_too_many_values_closes_the_socket(
    open_client: OpenClient, is_typed: bool, count: int
) -> None:
    app = Socket(is_typed, max_json_values=count)
    with open_client(app).websocket("/") as ws:
        ws.send_text(json.dumps({"a": [1] * (count - 2)}))
        assert ws.receive_text() == str(count - 2)
    with open_client(app).websocket("/") as ws:
        ws.send_text(json.dumps({"a": [1] * (count - 1)}))
        with pytest.raises(WebSocketClosed) as closed:
            ws.receive()
    farewell = (1009, f"A JSON document may have {count} values at most (max_json_values).")
    assert (closed.value.code, closed.value.reason) == farewell
    assert (app.seen.code, app.seen.reason) == farewell
    assert isinstance(app.seen, ValueError)
