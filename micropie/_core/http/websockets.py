"""The rules of WebSockets (RFC 6455): the handshake, the states and the transitions between them,
close codes, and allowed origins.

There is no I/O here. ``TRANSITIONS`` lists every legal transition. Any other action raises an error
whose message contains the action and the state.

    connecting --accept--> open --close--> closing --finish--> closed
        |  \\                  \\
        |   --leave--> gone <--leave
        --close--> refusing --finish--> refused
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NoReturn

from micropie._core.errors import ConnectionClosed, ResponseError
from micropie._core.http import Request
from micropie._core.http.addresses import Origins, normal_origin

CONNECTING = "connecting"
OPEN = "open"
REFUSING = "refusing"  # the application refuses the handshake
REFUSED = "refused"
CLOSING = "closing"  # the application is closing the WebSocket
CLOSED = "closed"
GONE = "gone"  # the client has closed, or the connection is lost

ACCEPT = "accept"
RECEIVE = "receive"
SEND = "send"
CLOSE = "close"
# The driver has passed the close frame, or the response to the handshake, to the server.
FINISH = "finish"
LEAVE = "leave"  # the client has closed, or the connection is lost

TRANSITIONS: Final[dict[tuple[str, str], str]] = {
    (CONNECTING, ACCEPT): OPEN,
    (CONNECTING, CLOSE): REFUSING,
    (CONNECTING, LEAVE): GONE,
    (OPEN, RECEIVE): OPEN,
    (OPEN, SEND): OPEN,
    (OPEN, CLOSE): CLOSING,
    (OPEN, LEAVE): GONE,
    (REFUSING, FINISH): REFUSED,
    (CLOSING, FINISH): CLOSED,
}

# The states in which messages can be received and sent. Receiving or sending doesn't change the
# state.
RECEIVING = frozenset(state for state, action in TRANSITIONS if action is RECEIVE)
SENDING = frozenset(state for state, action in TRANSITIONS if action is SEND)

# Close codes, from RFC 6455, section 7.4.1, and from IANA's registry.
NORMAL = 1000
GOING_AWAY = 1001
WRONG_KIND = 1003
NO_CODE = 1005
LOST = 1006
INVALID_DATA = 1007
POLICY = 1008
TOO_BIG = 1009
FAILED = 1011
TRY_AGAIN = 1013

# 1004 is reserved. 1005, 1006 and 1015 mean that there was no code or no close frame, so they can't
# be sent. Only clients send 1010.
_SENDABLE = frozenset(range(1000, 1015)) - {1004, 1005, 1006, 1010}

# A size in characters or bytes. The JSON of a larger message is parsed in a thread, as the JSON of
# a large body is.
LARGE = 64 * 1024

# The maximum length of a reason, in bytes. A control frame holds 125 bytes, two of them for the
# code (RFC 6455, section 5.5).
_LONGEST_REASON = 123


class WebSocketRequest(Request):
    """The handshake of a WebSocket: a ``GET`` without a body.

    ``scheme`` is http or https, not ws or wss.
    """

    __slots__ = ()

    @property
    def response(self) -> NoReturn:
        """Raise ``ResponseError``, because a WebSocket has no response."""
        raise ResponseError("a WebSocket has no response: pass headers to ws.accept(headers=...)")

    def origin(self) -> str | None:
        """Return the Origin header, or None."""
        return self._exchange.header("origin")

    def __repr__(self) -> str:
        return f"<WebSocketRequest {self.path!r}>"


class MessageError(ConnectionClosed, ValueError):
    """Raised if the client sent a message of another type than the handler expected. The WebSocket
    has been closed.
    """


class Progress:
    """The state of a WebSocket.

    - ``code``: the close code with which the WebSocket ended; None until it has ended.
    - ``reason``: the reason with which it ended.
    """

    state: str = CONNECTING
    code: int | None = None
    reason = ""

    def may(self, action: str) -> bool:
        """Return whether ``action`` is allowed now."""
        return (self.state, action) in TRANSITIONS

    def step(self, action: str, method: str) -> None:
        """Change to the state that follows ``action``.

        If the action is not allowed now, raise an error whose message contains ``method``, the name
        of the method that was called.
        """
        state = TRANSITIONS.get((self.state, action))
        if state is None:
            raise self.refusal(method)
        self.state = state

    def end(self, action: str, code: int, reason: str) -> bool:
        """Record the end of the WebSocket. ``action``: CLOSE or LEAVE.

        Return False if it had ended already, because only the first end counts.
        """
        state = TRANSITIONS.get((self.state, action))
        if state is None:
            return False
        self.state, self.code, self.reason = state, code, reason
        return True

    def refusal(self, method: str) -> Exception:
        """Return the exception for a call that is not allowed now: ``ConnectionClosed`` if the
        WebSocket has ended, or ``RuntimeError`` for misuse, such as a second ``accept()``.
        """
        socket = f"{method}() on a WebSocket that"
        if self.state is CONNECTING:
            return RuntimeError(f"{socket} has not been accepted: await ws.accept() first")
        if self.state is OPEN:
            return RuntimeError(f"{socket} has already been accepted")
        if self.state is GONE:
            end = f"closed by the client with {self.code}"
        else:
            end = "refused" if self.state in (REFUSING, REFUSED) else f"closed with {self.code}"
        message = f"{socket} was {end} {self.reason}".rstrip()
        if method == "accept" and self.state is not GONE:
            return RuntimeError(message)
        return ConnectionClosed(self.code or LOST, self.reason, message)

    def closed(self) -> ConnectionClosed:
        """Return a ``ConnectionClosed`` with the code and reason with which the WebSocket ended."""
        return ConnectionClosed(self.code or LOST, self.reason)


def check_code(code: object) -> None:
    """Raise ``ValueError`` for a close code that an application can't send."""
    # This refuses a bool as well, because True and False equal 1 and 0, which are not valid codes.
    if not isinstance(code, int) or not (code in _SENDABLE or 3000 <= code <= 4999):
        raise ValueError(
            f"a WebSocket can't be closed with {code!r}: "
            "use 1000, 1001, 1008, 1011, or 3000 to 4999"
        )


def truncate_reason(reason: str) -> str:
    """Cut a reason to the 123 bytes that a close frame can hold, without splitting a character."""
    return reason.encode("utf-8", "replace")[:_LONGEST_REASON].decode("utf-8", "ignore")


def is_too_big(content: str | bytes, limit: int) -> bool:
    """Return whether a message has more than ``limit`` bytes."""
    encoded = content if isinstance(content, bytes) else content.encode("utf-8", "replace")
    return len(encoded) > limit


# -- origins ---------------------------------------------------------------------------------------


def is_allowed_origin(origin: str | None, scheme: str, host: str, others: Collection[str]) -> bool:
    """Return whether a page of ``origin`` may open a WebSocket to ``scheme://host``, where
    ``scheme`` is http or https.

    This check is needed because browsers send cookies with a handshake even from pages of other
    sites. Browsers always send an Origin header with a handshake, so a client that sends none is
    not a browser. ``others``: further origins that are allowed; "*" allows any.
    """
    if origin is None or "*" in others:
        return True
    wanted = normal_origin(origin)
    if not wanted:  # empty, or "null", the origin of any site's sandboxed frame
        return False
    return wanted == normal_origin(f"{scheme}://{host}") or wanted in Origins(others)
