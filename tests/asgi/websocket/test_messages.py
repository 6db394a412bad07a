"""Messages by annotation: ``ws: WebSocket[Received, Sent]``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from gettext import NullTranslations
from typing import Annotated, Any, NewType

import msgspec
import pydantic
import pytest

from micropie import App, ConnectionClosed, Message, SetupError, WebSocket
from micropie._core.http.websockets import LARGE
from micropie.testing import WebSocketSession
from tests.asgi.websocket.conftest import OpenClient
from tests.asgi.websocket.test_conversations import Handler, app_of, closing, errors


class Said(msgspec.Struct, tag="said"):
    text: Annotated[str, msgspec.Meta(max_length=5)]


class Left(msgspec.Struct, tag="left"):
    pass


@dataclass
class Heard:
    room: str
    text: str


@dataclass
class Whispered(Heard):
    secret: str = "secret"


class Model(pydantic.BaseModel):
    site: pydantic.HttpUrl
    price: Decimal = Decimal(1)


class Money:
    def __init__(self, text: str) -> None:
        self.text = text


Word = NewType("Word", str)
Short = Annotated[Word, msgspec.Meta(max_length=5)]
Brief = Annotated[bytes, msgspec.Meta(max_length=5)]
Line = NewType("Line", Word)
Raw = NewType("Raw", bytes)


class German(NullTranslations):
    def gettext(self, message: str) -> str:
        return "Bitte ausfüllen." if message == "Please fill in this field." else message


class Root(App):
    async def ws_room(self, ws: WebSocket[Said | Left, Heard], room: str) -> None:
        await ws.accept()
        async for said in ws.messages():
            if isinstance(said, Left):
                await ws.close(4000, "bye")
            else:
                await ws.send(Whispered(room, said.text))
        self.ended = ws.close_code

    async def ws_model(self, ws: WebSocket[Model, list[Decimal]]) -> None:
        await ws.accept()
        while True:
            await ws.send([(await ws.receive()).price])

    async def ws_text(self, ws: WebSocket[str, bytes]) -> None:
        await ws.accept()
        async for text in ws.messages():
            await ws.send(text.encode())

    async def ws_bytes(self, ws: WebSocket[bytes, str]) -> None:
        await ws.accept()
        async for data in ws.messages():
            await ws.send(data.decode())

    async def ws_named(self, ws: WebSocket[Line, Raw]) -> None:
        await ws.accept()
        async for line in ws.messages():
            await ws.send(Raw(line.encode()))

    async def ws_short(self, ws: WebSocket[Short, Brief]) -> None:
        await ws.accept()
        async for line in ws.messages():
            await ws.send(line.encode())

    async def ws_brief(self, ws: WebSocket[Brief, Short]) -> None:
        await ws.accept()
        async for data in ws.messages():
            await ws.send(Word(data.decode()))

    async def ws_words(
        self, ws: WebSocket[Annotated[int, Message("How many?")], int | None]
    ) -> None:
        await ws.accept()
        async for number in ws.messages():
            await ws.send(number or None)

    async def ws_optional(self, ws: WebSocket[Said | None, bool]) -> None:
        await ws.accept()
        async for said in ws.messages():
            await ws.send(said is None)

    async def ws_any(self, ws: WebSocket[Any, object]) -> None:
        await ws.accept()
        async for value in ws.messages():
            await ws.send(value)

    async def ws_own(self, ws: WebSocket[list[Money], Money]) -> None:
        await ws.accept()
        async for money, *_ in ws.messages():
            await ws.send(money)

    async def ws_numbers(self, ws: WebSocket[set[int], int]) -> None:
        await ws.accept()
        async for numbers in ws.messages():
            await ws.send(len(numbers))

    async def ws_caught(self, ws: WebSocket[Said, str]) -> None:
        await ws.accept()
        try:
            await ws.receive()
        except ConnectionClosed as closed:
            self.caught = closed

    async def ws_wrong(self, ws: WebSocket[Said, Heard]) -> None:
        await ws.accept()
        await ws.send("no Heard")  # type: ignore[arg-type]

    async def ws_wrong_none(self, ws: WebSocket[Said, Heard]) -> None:
        await ws.accept()
        await ws.send(None)  # type: ignore[arg-type]

    async def ws_nothing(self, ws: WebSocket[str, Heard | Model | None]) -> None:
        await ws.accept()
        async for _ in ws.messages():
            await ws.send(None)

    async def ws_wrong_bytes(self, ws: WebSocket[Said, str]) -> None:
        await ws.accept()
        await ws.send(b"no str")  # type: ignore[arg-type]

    async def ws_wrong_text(self, ws: WebSocket[Said, bytes]) -> None:
        await ws.accept()
        await ws.send("no bytes")  # type: ignore[arg-type]

    async def ws_plain(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send(1)


def open_root(open_client: OpenClient, path: str, **options: Any) -> tuple[Root, WebSocketSession]:
    root = Root(
        encoders={Money: lambda money: money.text.upper()},
        decoders={Money: Money},
        translations=lambda request: German(),
    )
    client = open_client(root, **options)
    return root, client.websocket(path)


EXCHANGED: list[tuple[str, Any, Any]] = [
    ("/room/hall", '{"type":"said","text":"hello"}', '{"room":"hall","text":"hello"}'),
    (
        "/model",
        '{"site":"https://x.org","price":0.1234567890123456789}',
        '["0.1234567890123456789"]',
    ),
    ("/text", "a", b"a"),
    ("/bytes", b"a", "a"),
    ("/named", "a", b"a"),
    ("/short", "a", b"a"),
    ("/brief", b"a", "a"),
    ("/text", "," * 10_001, b"," * 10_001),  # more than ``max_json_values``
    ("/bytes", b"," * 10_001, "," * 10_001),
    ("/nothing", "a", "null"),
    ("/words", "5", "5"),
    ("/words", "0", "null"),
    ("/any", '{"a":[1]}', '{"a":[1]}'),
    ("/any", b"null", "null"),
    ("/optional", "null", "true"),
    ("/optional", '{"type":"said","text":"a"}', "false"),
    ("/own", '["3 eur"]', '"3 EUR"'),
    ("/numbers", f"[{','.join(map(str, range(1000)))}]", "1000"),
    ("/any", f'"{"x" * LARGE}"', f'"{"x" * LARGE}"'),
]


def send(ws: WebSocketSession, content: str | bytes) -> None:
    ws.send_text(content) if isinstance(content, str) else ws.send_bytes(content)


@pytest.mark.parametrize(("path", "sent", "answered"), EXCHANGED)
def test_typed_values_are_received_and_sent(
    open_client: OpenClient, path: str, sent: str | bytes, answered: str | bytes
) -> None:
    _, opened = open_root(open_client, path)
    with opened as ws:
        for _ in range(2):
            send(ws, sent)
            is_text = isinstance(answered, str)
            assert (ws.receive_text() if is_text else ws.receive_bytes()) == answered


def test_the_loop_ends_when_either_side_closes(open_client: OpenClient) -> None:
    root, opened = open_root(open_client, "/room/hall")
    with opened as ws:
        ws.send_json({"type": "left"})
        assert closing(ws) == (4000, "bye")
    assert root.ended == 4000


REFUSED: list[tuple[str, Any, int, str]] = [
    ("/caught", '{"type":"said"}', 1007, "text: Bitte ausfüllen."),
    (
        "/caught",
        '{"type":"said","text":"hello!"}',
        1007,
        "text: Please use at most 5 characters.",
    ),
    ("/room/hall", '{"type":"said"}', 1007, "text: Bitte ausfüllen."),
    ("/room/hall", "{", 1007, "The JSON is not valid: "),
    ("/room/hall", "null", 1007, "message: "),
    ("/model", '{"site":"x"}', 1007, "site: Input should be a valid URL"),
    ("/text", b"a", 1003, "a text message was expected"),
    ("/bytes", "a", 1003, "a binary message was expected"),
    ("/short", "a" * 6, 1007, "message: Please use at most 5 characters."),
    ("/short", b"a", 1003, "a text message was expected"),
    ("/brief", b"a" * 6, 1007, "message: Please choose at most 5."),
    ("/words", '"x"', 1007, "message: How many?"),
    ("/own", "[1]", 1007, "message: Please enter another value."),
    ("/numbers", f"[{','.join(map(str, range(1001)))}]", 1007, "message: "),
    ("/numbers", f"[{','.join(['1' * 30] * (LARGE // 30))}]", 1007, "message: "),
]


@pytest.mark.parametrize(("path", "sent", "code", "reason"), REFUSED)
def test_an_invalid_message_closes_the_websocket(
    open_client: OpenClient,
    path: str,
    sent: str | bytes,
    code: int,
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    _, opened = open_root(open_client, path)
    with opened as ws:
        send(ws, sent)
        found = closing(ws)
    assert (found[0], found[1].startswith(reason)) == (code, True), found
    assert errors(caplog) == []


def test_receiving_an_invalid_message_raises_value_error(open_client: OpenClient) -> None:
    root, opened = open_root(open_client, "/caught")
    with opened as ws:
        ws.send_json({"type": "said"})
        assert closing(ws)[0] == 1007
    assert isinstance(root.caught, ValueError)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/wrong", "does not match the annotation"),
        ("/wrong_none", "does not match the annotation"),
        ("/wrong_bytes", "takes str, as the socket's annotation declares, not bytes"),
        ("/wrong_text", "takes bytes, as the socket's annotation declares, not str"),
        ("/plain", r"write ws: WebSocket"),
    ],
)
def test_an_author_s_error_is_logged(
    open_client: OpenClient, path: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    _, opened = open_root(open_client, path, raise_app_exceptions=False)
    with opened as ws:
        assert closing(ws)[0] == 1011
    assert reason in caplog.text


def handler_of(annotation: Any) -> Handler:
    async def handler(ws: WebSocket) -> None:
        await ws.accept()

    handler.__annotations__["ws"] = annotation
    return handler


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        (WebSocket[object, Any], None),
        (list[int], None),
        (WebSocket[Callable[[int], int], int], "and micropie can't convert text to that"),
        ("WebSocket[Missing, int]", "'Missing' is not defined"),
    ],
)
def test_invalid_message_types_fail_at_setup(annotation: Any, reason: str | None) -> None:
    app = app_of(handler_of(annotation))
    if reason is None:
        app._micropie.compiled()
        return
    with pytest.raises(SetupError, match=reason):
        app._micropie.compiled()
