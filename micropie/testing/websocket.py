"""A WebSocket of the test client: the client's end of ASGI's ``websocket`` scope."""

from __future__ import annotations

import json
from typing import Any, Self, cast

import httpx

from micropie.testing.asgi import AppCall, Message, checked_headers
from micropie.testing.errors import ProtocolViolation, WebSocketClosed, WebSocketRefused

DENIAL = "websocket.http.response"

# The messages that the application may send in each state, and the next state. All others are refused.
TRANSITIONS = {
    ("connecting", "websocket.accept"): "open",
    ("connecting", "websocket.close"): "closed",
    ("connecting", f"{DENIAL}.start"): "denying",  # only where the scope offers it
    ("denying", f"{DENIAL}.body"): "denying",  # "closed", if it is the last
    ("open", "websocket.send"): "open",
    ("open", "websocket.close"): "closed",
}

# A network buffers some messages for a client that does not read. The limit keeps an endless sender from filling
# the memory.
MESSAGES_AHEAD = 64


def disconnect(code: object = 1006, reason: object = "") -> Message:
    """Return the message that tells the application of the WebSocket's end."""
    return {"type": "websocket.disconnect", "code": code, "reason": reason}


class WebSocketCall(AppCall[Message]):
    """The application's end. By default the client leaves with code 1006, as a lost connection does."""

    ahead = MESSAGES_AHEAD
    disconnect = disconnect()
    _state = "connecting"

    def accept(self, message: Message) -> Message:
        kind = message["type"]
        following = TRANSITIONS.get((self._state, kind))
        if following is None or (following == "denying" and DENIAL not in self.scope["extensions"]):
            raise ProtocolViolation(f"{self.label}: the application sent {kind!r} while the WebSocket is {self._state}")
        checked = {**message, "headers": checked_headers(message)}
        if kind == "websocket.send" and (message.get("text") is None) == (message.get("bytes") is None):
            raise ProtocolViolation(f"{self.label}: websocket.send has either text or bytes, not {message!r}")
        is_last_of_denial = kind == f"{DENIAL}.body" and not message.get("more_body", False)
        self._state = "closed" if is_last_of_denial else following
        if kind == "websocket.close":
            self.last_message = disconnect(message.get("code", 1000), message.get("reason") or "")
            self.pulse()
        return checked


class WebSocketSession:
    """The client's end: ``with client.websocket(...) as ws:`` connects.

    Leaving the block closes with code 1000 and waits for the application. Every method that waits raises
    ``AppTimeout`` after ``timeout`` seconds (by default the client's ``app_timeout``), and ``WebSocketClosed`` once
    the application has closed the WebSocket.
    """

    def __init__(self, call: WebSocketCall, client: httpx.Client, request: httpx.Request) -> None:
        self._call = call
        self._client = client
        self._request = request
        self._closed: WebSocketClosed | None = None
        self.accepted_subprotocol: str | None = None
        self.headers = httpx.Headers()

    def __enter__(self) -> Self:
        try:
            self._call.start()
            self._call.put({"type": "websocket.connect"})
            self._shake_hands()
        except BaseException as error:
            self._call.abandon(error)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            self._call.abandon(error)
        else:
            self.close()
            self._call.finish()

    def send(self, message: Message) -> None:
        """Send a raw ``websocket.receive`` message; the other ``send_`` methods build one."""
        if self._closed is not None:
            raise self._closed
        self._call.put(message)

    def send_text(self, text: str) -> None:
        self.send({"type": "websocket.receive", "text": text})

    def send_bytes(self, data: bytes) -> None:
        self.send({"type": "websocket.receive", "bytes": data})

    def send_json(self, value: object, *, binary: bool = False) -> None:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        self.send({"type": "websocket.receive", **({"bytes": text.encode()} if binary else {"text": text})})

    def receive(self, timeout: float | None = None) -> Message:
        """Return the application's next ``websocket.send`` message."""
        if self._closed is None:
            event = self._call.next("send a message", timeout)
            if event is None:
                # The application ended without a close: servers send 1011 after an exception, otherwise no close frame.
                code, reason = (1006, "") if self._call.error is None else (1011, "Internal Error")
                self._closed = WebSocketClosed(code, reason)
            elif event["type"] == "websocket.close":
                self._closed = WebSocketClosed(event.get("code", 1000), event.get("reason") or "")
            else:
                del event["headers"]
                return event
        raise self._closed

    def receive_text(self, timeout: float | None = None) -> str:
        return cast(str, self._payload("text", timeout))

    def receive_bytes(self, timeout: float | None = None) -> bytes:
        return cast(bytes, self._payload("bytes", timeout))

    def receive_json(self, timeout: float | None = None) -> Any:
        """Return the decoded JSON of a text or a binary message."""
        message = self.receive(timeout)
        text = message.get("text")
        return json.loads(message["bytes"] if text is None else text)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame: the application receives ``websocket.disconnect`` after all earlier messages."""
        if self._closed is None:
            self._closed = WebSocketClosed(code, reason)
            self._call.disconnect = disconnect(code, reason)
        self._call.hang_up()

    def _payload(self, key: str, timeout: float | None) -> object:
        message = self.receive(timeout)
        if message.get(key) is None:
            raise TypeError(f"{self._call.label}: expected {key}, but the application sent {message!r}")
        return message[key]

    def _shake_hands(self) -> None:
        event = self._call.next("answer the handshake")
        if event is None:
            if self._call.settings.raise_app_exceptions:
                raise ProtocolViolation(f"{self._call.label}: the application ended without an answer to the handshake")
            raise WebSocketRefused(500)
        if event["type"] == "websocket.accept":
            self.accepted_subprotocol = event.get("subprotocol")
            self.headers = httpx.Headers(event["headers"])
            self._client.cookies.extract_cookies(httpx.Response(101, headers=self.headers, request=self._request))
            return
        if event["type"] == "websocket.close":
            refusal = WebSocketRefused(code=event.get("code", 1000), reason=event.get("reason") or "")
        else:
            refusal = WebSocketRefused(event["status"], headers=event["headers"], body=self._denial_body())
        self._call.finish()
        raise refusal

    def _denial_body(self) -> bytes:
        body = b""
        more = True
        while more:
            event = self._call.next("complete its denial response")
            if event is None:
                raise httpx.RemoteProtocolError("the application ended before its denial response was complete")
            body += event.get("body", b"")
            more = event.get("more_body", False)
        return body
