"""A WebSocket of the test client: the client's end of ASGI's ``websocket`` scope."""

from __future__ import annotations

import json
from typing import Any, Self, cast

import httpx

from micropie.testing.app_call import AppCall, ASGIApp, Message, Scope, checked_headers
from micropie.testing.errors import ProtocolViolation, WebSocketClosed, WebSocketRefused
from micropie.testing.exchange import Settings, Signal
from micropie.testing.loop import AppLoop

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


class WebSocketCall(AppCall[Message]):
    """The application's end. By default the client leaves with code 1006, as a lost connection does."""

    def __init__(self, loop: AppLoop, app: ASGIApp, scope: Scope, label: str) -> None:
        super().__init__(loop, app, scope, label, ahead=MESSAGES_AHEAD)
        self._state = "connecting"
        self._offers_denial = DENIAL in scope["extensions"]
        self.close_code = 1006
        self.close_reason = ""

    def disconnect_message(self) -> Message:
        return {"type": "websocket.disconnect", "code": self.close_code, "reason": self.close_reason}

    def accept(self, message: Message) -> Message:
        kind = message["type"]
        following = TRANSITIONS.get((self._state, kind))
        if following is None or (following == "denying" and not self._offers_denial):
            raise ProtocolViolation(f"{self.label}: the application sent {kind!r} while the WebSocket is {self._state}")
        checked = {**message, "headers": checked_headers(message)}
        if kind == "websocket.send" and (message.get("text") is None) == (message.get("bytes") is None):
            raise ProtocolViolation(f"{self.label}: websocket.send has either text or bytes, not {message!r}")
        is_last_of_denial = kind == f"{DENIAL}.body" and not message.get("more_body", False)
        self._state = "closed" if is_last_of_denial else following
        if kind == "websocket.close":
            self._end_input(
                {**self.disconnect_message(), "code": message.get("code", 1000), "reason": message.get("reason") or ""}
            )
        return checked


class WebSocketSession:
    """The client's end: ``with client.websocket(...) as ws:`` connects.

    Leaving the block closes with code 1000 and waits for the application. Every method that waits raises
    ``AppTimeout`` after ``timeout`` seconds (by default the client's ``app_timeout``), and ``WebSocketClosed`` once
    the application has closed the WebSocket.
    """

    def __init__(self, call: WebSocketCall, client: httpx.Client, request: httpx.Request, settings: Settings) -> None:
        self._call = call
        self._client = client
        self._request = request
        self._timeout = settings.app_timeout
        self._raises = settings.raise_app_exceptions
        self._closed: WebSocketClosed | None = None
        self._error_is_known = False
        self.accepted_subprotocol: str | None = None
        self.headers = httpx.Headers()

    def __enter__(self) -> Self:
        try:
            self._call.start()
            self._call.put({"type": "websocket.connect"})
            self._shake_hands()
        except BaseException as error:
            self._abandon(error)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            self._abandon(error)
        else:
            self.close()
            self._finish()

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
        if binary:
            self.send_bytes(text.encode())
        else:
            self.send_text(text)

    def receive(self, timeout: float | None = None) -> Message:
        """Return the application's next ``websocket.send`` message."""
        if self._closed is None:
            event = self._next_event("send a message", timeout)
            if isinstance(event, Signal):
                # The application ended without a close: servers send 1011 after an exception, otherwise no close frame.
                self._raise_app_error()
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
            self._call.close_code, self._call.close_reason = code, reason
        self._call.hang_up()

    def _payload(self, key: str, timeout: float | None) -> object:
        message = self.receive(timeout)
        if message.get(key) is None:
            raise TypeError(f"{self._call.label}: expected {key}, but the application sent {message!r}")
        return message[key]

    def _next_event(self, what: str, timeout: float | None = None) -> Message | Signal:
        event = self._call.next_event(self._timeout if timeout is None else timeout, what)
        if not isinstance(event, Signal):
            self._call.taken()
        return event

    def _shake_hands(self) -> None:
        event = self._next_event("answer the handshake")
        if isinstance(event, Signal):
            self._raise_app_error()
            if self._raises:
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
        self._finish()
        raise refusal

    def _denial_body(self) -> bytes:
        body = b""
        more = True
        while more:
            event = self._next_event("complete its denial response")
            if isinstance(event, Signal):
                self._raise_app_error()
                raise httpx.RemoteProtocolError("the application ended before its denial response was complete")
            body += event.get("body", b"")
            more = event.get("more_body", False)
        return body

    def _raise_app_error(self) -> None:
        error = self._call.app_error
        if error is not None and self._raises and not self._error_is_known:
            self._error_is_known = True  # raised only once: the test may expect it
            raise error

    def _finish(self) -> None:
        """Wait for the application's end, and raise its error before any error of the client."""
        self._call.hang_up()
        self._call.wait_for_end(self._timeout)
        self._raise_app_error()

    def _abandon(self, error: BaseException) -> None:
        self._call.abandon(error, self._timeout)
        if self._call.app_error is not None and not self._error_is_known:
            error.add_note(f"{self._call.label}: the application raised {self._call.app_error!r}")
