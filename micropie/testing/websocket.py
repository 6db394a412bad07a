"""WebSockets of the test client: the client's end of ASGI's ``websocket`` scope."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Sequence
from typing import Any, Self, cast

from micropie.testing.call import ClientCall, Message, checked_headers
from micropie.testing.errors import (
    ClientError,
    ProtocolViolation,
    WebSocketClosed,
    WebSocketRefused,
)
from micropie.testing.library import httpx

DENIAL = "websocket.http.response"

# For each state, the messages that the application may send, and the state that follows. All other
# messages are errors.
TRANSITIONS = {
    ("connecting", "websocket.accept"): "open",
    ("connecting", "websocket.close"): "closed",
    # Allowed only if the scope offers the extension for denial responses.
    ("connecting", f"{DENIAL}.start"): "denying",
    ("denying", f"{DENIAL}.body"): "denying",  # the state becomes "closed" with the last message
    ("open", "websocket.send"): "open",
    ("open", "websocket.close"): "closed",
}


def handshake_headers(subprotocols: Sequence[str]) -> dict[str, str]:
    """Return the headers that RFC 6455 requires in a handshake."""
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    headers = {
        "connection": "upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": key,
    }
    if subprotocols:
        headers["sec-websocket-protocol"] = ", ".join(subprotocols)
    return headers


def closing(message: Message) -> tuple[int, str]:
    """Return the code and the reason of the application's ``websocket.close``."""
    return message.get("code", 1000), message.get("reason") or ""


def disconnect(code: int = 1006, reason: str = "") -> Message:
    """Return the message with which a server reports the end of the WebSocket to the
    application.
    """
    return {"type": "websocket.disconnect", "code": code, "reason": reason}


class WebSocketCall(ClientCall):
    """The application's call for a WebSocket.

    By default the client disconnects with code 1006, as after a lost connection.
    """

    disconnect = disconnect()
    advice = (
        f"{ClientCall.advice}; a handler that only sends is cancelled 10 seconds after the client "
        "disconnects, or after another time that App(websocket_grace=...) sets"
    )
    _state = "connecting"

    def checked(self, message: Message) -> Message:
        kind = message["type"]
        following = TRANSITIONS.get((self._state, kind))
        if following is None or (following == "denying" and not self.settings.denial_response):
            raise ProtocolViolation(
                f"{self.label}: the application sent {kind!r} while the WebSocket is {self._state}"
            )
        if kind == "websocket.send" and (message.get("text") is None) == (
            message.get("bytes") is None
        ):
            raise ProtocolViolation(
                f"{self.label}: websocket.send has either text or bytes, not {message!r}"
            )
        is_last_of_denial = kind == f"{DENIAL}.body" and not message.get("more_body", False)
        self._state = "closed" if is_last_of_denial else following
        if kind == "websocket.close":
            self.last_message = disconnect(*closing(message))
            self.wake()
        return (
            {**message, "headers": checked_headers(message)}
            if "headers" in message
            else dict(message)
        )


class WebSocketSession:
    """The client's end of a WebSocket; ``with client.websocket(...) as ws:`` connects.

    Leaving the block closes the WebSocket with code 1000 and waits until the application has ended.
    Every method that waits raises ``AppTimeout`` after ``timeout`` seconds (by default the client's
    ``app_timeout``), and ``WebSocketClosed`` once the application has closed the WebSocket.

    - ``accepted_subprotocol``: the subprotocol in the application's ``websocket.accept``, or None.
    - ``headers``: the headers in the same message.
    """

    def __init__(self, call: WebSocketCall, client: httpx.Client, request: httpx.Request) -> None:
        self._call = call
        self._client = client
        self._request = request
        self._closed: WebSocketClosed | None = None
        self._has_begun = False
        self.accepted_subprotocol: str | None = None
        self.headers = httpx.Headers()

    def __enter__(self) -> Self:
        if self._has_begun:
            raise ClientError("a WebSocket connects only once: call client.websocket() again")
        self._has_begun = True
        self._call.put({"type": "websocket.connect"})
        self._call.start()
        try:
            self._shake_hands()
        except BaseException as error:
            self._call.leave(error)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: object
    ) -> None:
        if error is not None:
            self._call.leave(error)
        else:
            self.close()
            self._call.finish()

    def send(self, message: Message) -> None:
        """Send a raw ``websocket.receive`` message; the other ``send_`` methods build one."""
        if self._closed is not None:
            raise self._closed
        self._check_begun()
        self._call.put(message)

    def send_text(self, text: str) -> None:
        """Send text. Like the other ``send_`` methods, this raises ``WebSocketClosed`` if the
        WebSocket is closed.
        """
        self.send({"type": "websocket.receive", "text": text})

    def send_bytes(self, data: bytes) -> None:
        """Send a binary message."""
        self.send({"type": "websocket.receive", "bytes": data})

    def send_json(self, value: object, *, binary: bool = False) -> None:
        """Send ``value`` as JSON, in a text message or, with ``binary``, in a binary one."""
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        if binary:
            self.send_bytes(text.encode())
        else:
            self.send_text(text)

    def receive(self, timeout: float | None = None) -> Message:
        """Return the application's next ``websocket.send`` message."""
        if self._closed is None:
            self._check_begun()
            event = self._call.next("send a message", timeout)
            if event is not None and event["type"] == "websocket.send":
                return event
            if event is not None:
                self._closed = WebSocketClosed(*closing(event))
                self._call.raise_app_error()
            else:
                # The application ended without closing the WebSocket. Servers then send code 1011
                # after an exception, otherwise no close frame.
                self._closed = WebSocketClosed(
                    *((1011, "Internal Error") if self._call.error else (1006, ""))
                )
        raise self._closed

    def receive_text(self, timeout: float | None = None) -> str:
        """Return the next message. Raises ``TypeError`` unless it is text."""
        return cast(str, self._payload("text", timeout))

    def receive_bytes(self, timeout: float | None = None) -> bytes:
        """Return the next message. Raises ``TypeError`` unless it is binary."""
        return cast(bytes, self._payload("bytes", timeout))

    def receive_json(self, timeout: float | None = None) -> Any:
        """Return the JSON value of the next message, text or binary.

        Raises ``ValueError`` if it isn't JSON.
        """
        message = self.receive(timeout)
        text = message.get("text")
        return json.loads(message["bytes"] if text is None else text)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame: the application receives ``websocket.disconnect`` after all earlier
        messages.
        """
        if self._closed is None:
            self._closed = WebSocketClosed(code, reason)
            self._call.disconnect = disconnect(code, reason)
        self._call.hang_up()

    def _check_begun(self) -> None:
        if not self._has_begun:
            raise ClientError(
                "the WebSocket isn't connected: write with client.websocket(...) as ws"
            )

    def _payload(self, key: str, timeout: float | None) -> object:
        message = self.receive(timeout)
        if message.get(key) is None:
            raise TypeError(
                f"{self._call.label}: expected {key}, but the application sent {message!r}"
            )
        return message[key]

    def _shake_hands(self) -> None:
        event = self._call.next("answer the handshake")
        if event is None:
            if self._call.settings.raise_app_exceptions:
                raise ProtocolViolation(
                    f"{self._call.label}: the application ended without a response to the handshake"
                )
            raise WebSocketRefused(500)
        if event["type"] == "websocket.accept":
            self.accepted_subprotocol = event.get("subprotocol")
            self.headers = httpx.Headers(event.get("headers"))
            self._client.cookies.extract_cookies(
                httpx.Response(101, headers=self.headers, request=self._request)
            )
            return
        if event["type"] == "websocket.close":
            code, reason = closing(event)
            refusal = WebSocketRefused(code=code, reason=reason)
        else:
            refusal = WebSocketRefused(event["status"], headers=event.get("headers"))
            more = True
            while more:
                event = self._call.next("complete its denial response")
                if event is None:
                    raise httpx.RemoteProtocolError(
                        "the application ended before its denial response was complete"
                    )
                refusal.body += event.get("body", b"")
                more = event.get("more_body", False)
        self._call.finish()
        raise refusal
