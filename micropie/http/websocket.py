"""What a WebSocket may do, and when: its states as a table, its close codes, whose pages it answers (RFC 6455).

Nothing here waits or sends. ``TRANSITIONS`` is the rule: what is not in it does not happen, and whoever asks for it
is told the action and the state in one sentence.

    connecting --accept--> open --close--> closed
        |  \\                  \\
        |   --leave--> gone <--leave
        --close--> refused
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from micropie.errors import ConnectionClosed
from micropie.http.origins import normal_origin

CONNECTING: Final = "connecting"
OPEN: Final = "open"
REFUSED: Final = "refused"  # by the application, before it was accepted
CLOSED: Final = "closed"  # by the application
GONE: Final = "gone"  # closed by the client, or lost

ACCEPT: Final = "accept"
RECEIVE: Final = "receive"
SEND: Final = "send"
CLOSE: Final = "close"
LEAVE: Final = "leave"  # what the client does, or the network

TRANSITIONS: Final[dict[tuple[str, str], str]] = {
    (CONNECTING, ACCEPT): OPEN,
    (CONNECTING, CLOSE): REFUSED,
    (CONNECTING, LEAVE): GONE,
    (OPEN, RECEIVE): OPEN,
    (OPEN, SEND): OPEN,
    (OPEN, CLOSE): CLOSED,
    (OPEN, LEAVE): GONE,
}

# The table's rows: what is possible in each state, for those who ask at every message.
POSSIBLE: Final[dict[str, frozenset[str]]] = {
    state: frozenset(action for at, action in TRANSITIONS if at is state)
    for state in (CONNECTING, OPEN, REFUSED, CLOSED, GONE)
}

# RFC 6455, section 7.4.1, and IANA's registry of close codes.
NORMAL: Final = 1000
GOING_AWAY: Final = 1001
WRONG_KIND: Final = 1003
NO_CODE: Final = 1005
LOST: Final = 1006
INVALID_DATA: Final = 1007
POLICY: Final = 1008
TOO_BIG: Final = 1009
FAILED: Final = 1011

# 1004 is reserved; 1005, 1006 and 1015 say that there was no close frame, so none may carry them. 1010 is a client's.
_SENDABLE: Final = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013, 1014})

# RFC 6455, section 5.5: a control frame has 125 bytes, two of them are the code.
_LONGEST_REASON: Final = 123


class MessageError(ConnectionClosed, ValueError):
    """The client sent a message of another kind than the one that was asked for; the WebSocket was closed for it."""


class Progress:
    """Where a WebSocket stands, and what is ``possible`` there; ``code`` and ``reason`` say how it ended."""

    __slots__ = ("code", "possible", "reason", "state")

    def __init__(self) -> None:
        self.state: str = CONNECTING
        self.possible = POSSIBLE[CONNECTING]
        self.code: int | None = None
        self.reason = ""

    def allow(self, action: str, what: str) -> None:
        """Raise what ``what``, a method's name, has to hear if ``action`` is not possible now."""
        if action not in self.possible:
            raise self.refusal(what)

    def step(self, action: str) -> None:
        """Do what has been allowed."""
        self.state = TRANSITIONS[self.state, action]
        self.possible = POSSIBLE[self.state]

    def end(self, action: str, code: int, reason: str) -> bool:
        """Come to an end by ``action``, CLOSE or LEAVE. False if it is over already: only the first one counts."""
        if action not in self.possible:
            return False
        self.step(action)
        self.code, self.reason = code, reason
        return True

    def refusal(self, what: str) -> Exception:
        """``RuntimeError`` for an author's mistake, ``ConnectionClosed`` if it is over."""
        if self.state is CONNECTING:
            return RuntimeError(f"{what}() on a WebSocket that is not accepted: await ws.accept() before")
        if self.state is OPEN:
            return RuntimeError(f"{what}() on a WebSocket that is accepted already")
        if what == "accept" and self.state is not GONE:
            return RuntimeError(f"accept() on a WebSocket that was {self.state}")
        ended = {REFUSED: "refused", CLOSED: f"closed with {self.code}", GONE: f"left by its client: {self.code}"}
        message = f"{what}() on a WebSocket that was {ended[self.state]} {self.reason}".rstrip()
        return self.closed(message)

    def closed(self, message: str = "") -> ConnectionClosed:
        """The exception that says how it ended."""
        return ConnectionClosed(LOST if self.code is None else self.code, self.reason, message)


def check_code(code: object) -> None:
    """Raise ``ValueError`` for a close code that no application may send."""
    if isinstance(code, int) and not isinstance(code, bool) and (code in _SENDABLE or 3000 <= code <= 4999):
        return
    raise ValueError(f"a WebSocket can't be closed with {code!r}: use 1000, 1001, 1008, 1011, or 3000 to 4999")


def truncate_reason(reason: str) -> str:
    """As much of a reason as a close frame holds: 123 bytes, never half a character."""
    return reason.encode("utf-8", "replace")[:_LONGEST_REASON].decode("utf-8", "ignore")


def is_too_big(content: str | bytes, limit: int) -> bool:
    """Whether a message has more than ``limit`` bytes; a character has four of them at most."""
    if len(content) * 4 <= limit:
        return False
    return len(content if isinstance(content, bytes) else content.encode("utf-8", "replace")) > limit


def disconnect_info(message: Any) -> tuple[int, str]:
    """Code and reason of a ``websocket.disconnect``; servers leave either out, or say None."""
    return message.get("code") or NO_CODE, message.get("reason") or ""


# -- whose pages may connect -------------------------------------------------------------------------------------------


def is_allowed_origin(origin: str | None, scheme: str, host: str, others: Collection[str]) -> bool:
    """Whether a page of ``origin`` may open a WebSocket of ``scheme://host`` (http or https).

    Browsers send cookies along with a handshake from any site, and always an Origin header; what sends none is no
    browser. ``others`` are origins that may besides the own one; "*" is any.
    """
    if origin is None or "*" in others:
        return True
    wanted = normal_origin(origin)
    if not wanted:  # "null" too: a sandboxed frame of anybody's
        return False
    return wanted == normal_origin(f"{scheme}://{host}") or wanted in map(normal_origin, others)


def is_origin(value: object) -> bool:
    """Whether an author may name this as an origin."""
    return isinstance(value, str) and (value == "*" or bool(normal_origin(value)))
