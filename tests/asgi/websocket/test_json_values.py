"""A JSON message with too many values closes the WebSocket before it is decoded."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pydantic
import pytest

from micropie import App, ConnectionClosed, WebSocket, websocket
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


class Model(pydantic.BaseModel):
    texts: list[pydantic.Json[Any]]


class Texts(App):
    @websocket("/")
    async def texts(self, ws: WebSocket[Model, int]) -> None:
        await ws.accept()
        async for message in ws.messages():
            await ws.send(len(message.texts))


def test_the_json_texts_of_each_message_are_counted_together(open_client: OpenClient) -> None:
    with open_client(Texts(max_json_values=10)).websocket("/") as ws:
        for _ in range(3):
            ws.send_text(json.dumps({"texts": ["[1,1]"] * 3}))
            assert ws.receive_text() == "3"
        ws.send_text(json.dumps({"texts": ["[1,1]"] * 4}))
        with pytest.raises(WebSocketClosed) as closed:
            ws.receive()
    assert closed.value.code == 1009
