"""`validated(app)`: an ASGI application that holds another one, and its server, to the letter of
the specification.

What `wsgiref.validate` is for WSGI. A message that must not come now, or not like this, raises
`ProtocolError` with a sentence out of `send` or `receive`, at the line that did it; an application
that swallows it gets it again at its end. The order of messages is data: the tables below. What
they can't say (lengths, statuses) is in the `Conversation`s.
"""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from io import IOBase
from pathlib import Path
from typing import Any

__all__ = ["ProtocolError", "validated"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
# Its result is checked, so it is not taken for granted here.
ASGIApp = Callable[[Message, Receive, Send], Awaitable[Any]]


class ProtocolError(AssertionError):
    """The application or the server broke a rule of ASGI."""


# The order of messages: (state, event) -> state. An event is a message's type, with ", last" if no
# more body follows.
HTTP_REQUEST = {
    ("receiving", "http.request"): "receiving",
    ("receiving", "http.request, last"): "received",
    ("receiving", "http.disconnect"): "gone",
    ("received", "http.disconnect"): "gone",
    ("gone", "http.disconnect"): "gone",
}
HTTP_RESPONSE = {
    ("without a head", "http.response.start"): "before its body",
    ("before its body", "http.response.body"): "in its body",
    ("before its body", "http.response.body, last"): "complete",
    ("in its body", "http.response.body"): "in its body",
    ("in its body", "http.response.body, last"): "complete",
    # The two extensions: a path is the whole body, parts of an open file go with others.
    ("before its body", "http.response.pathsend"): "complete",
    ("before its body", "http.response.zerocopysend"): "in its body",
    ("before its body", "http.response.zerocopysend, last"): "complete",
    ("in its body", "http.response.zerocopysend"): "in its body",
    ("in its body", "http.response.zerocopysend, last"): "complete",
}
# Messages that may be sent only where the server's scope offers the extension.
EXTENSIONS = {"http.response.pathsend", "http.response.zerocopysend"}
WEBSOCKET = {
    ("new", "websocket.connect"): "connecting",
    ("connecting", "websocket.accept"): "open",
    ("connecting", "websocket.close"): "closed",
    ("connecting", "websocket.disconnect"): "gone",
    ("connecting", "websocket.http.response.start"): "being denied",
    ("being denied", "websocket.http.response.body"): "being denied",
    ("being denied", "websocket.http.response.body, last"): "closed",
    ("being denied", "websocket.disconnect"): "gone",
    ("open", "websocket.send"): "open",
    ("open", "websocket.receive"): "open",
    ("open", "websocket.close"): "closed",
    ("open", "websocket.disconnect"): "gone",
    ("closed", "websocket.receive"): "closed",  # it was under way when the application closed
    ("closed", "websocket.disconnect"): "gone",
}
LIFESPAN = {
    ("new", "lifespan.startup"): "starting",
    ("starting", "lifespan.startup.complete"): "started",
    ("starting", "lifespan.startup.failed"): "failed",
    ("started", "lifespan.shutdown"): "stopping",
    ("stopping", "lifespan.shutdown.complete"): "stopped",
    ("stopping", "lifespan.shutdown.failed"): "failed",
}

# The keys of a message besides its type: key -> types. Keys in ``REQUIRED`` can't be left out.
TEXT_OR_NONE = (str, type(None))
KEYS: dict[str, dict[str, tuple[type, ...]]] = {
    "http.request": {"body": (bytes,), "more_body": (bool,)},
    "http.disconnect": {},
    "http.response.start": {"status": (int,), "headers": (Iterable,), "trailers": (bool,)},
    "http.response.body": {"body": (bytes,), "more_body": (bool,)},
    "http.response.pathsend": {"path": (str,)},
    "http.response.zerocopysend": {
        "file": (IOBase,),
        "offset": (int,),
        "count": (int,),
        "more_body": (bool,),
    },
    "websocket.connect": {},
    "websocket.accept": {"subprotocol": TEXT_OR_NONE, "headers": (Iterable,)},
    "websocket.receive": {"text": TEXT_OR_NONE, "bytes": (bytes, type(None))},
    "websocket.send": {"text": TEXT_OR_NONE, "bytes": (bytes, type(None))},
    "websocket.close": {"code": (int,), "reason": TEXT_OR_NONE},
    "websocket.disconnect": {"code": (int,), "reason": TEXT_OR_NONE},
    "websocket.http.response.start": {"status": (int,), "headers": (Iterable,)},
    "websocket.http.response.body": {"body": (bytes,), "more_body": (bool,)},
    "lifespan.startup": {},
    "lifespan.startup.complete": {},
    "lifespan.startup.failed": {"message": (str,)},
    "lifespan.shutdown": {},
    "lifespan.shutdown.complete": {},
    "lifespan.shutdown.failed": {"message": (str,)},
}
REQUIRED = {
    "http.response.start": {"status"},
    "http.response.pathsend": {"path"},
    "http.response.zerocopysend": {"file"},
    "websocket.http.response.start": {"status", "headers"},
    "websocket.disconnect": {"code"},
}

CONNECTION_KEYS: dict[str, tuple[type, ...]] = {
    "asgi": (dict,),
    "http_version": (str,),
    "scheme": (str,),
    "path": (str,),
    "raw_path": (bytes,),
    "query_string": (bytes,),
    "root_path": (str,),
    "headers": (Iterable,),
    "client": (tuple, list, type(None)),
    "server": (tuple, list, type(None)),
}
SCOPE_KEYS: dict[object, dict[str, tuple[type, ...]]] = {
    "http": {**CONNECTION_KEYS, "method": (str,)},
    "websocket": {**CONNECTION_KEYS, "subprotocols": (Iterable,)},
    "lifespan": {"asgi": (dict,)},
}

# RFC 9110's token, without capital letters.
HEADER_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
FORBIDDEN_IN_VALUE = re.compile(rb"[\r\n\0]")


def validated(app: ASGIApp) -> ASGIApp:
    """`app`, with everything that it and its server say to each other checked."""

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        check_scope(scope)
        conversation = CONVERSATIONS[scope["type"]](scope, receive, send)
        await conversation.run(app)

    return application


def check_scope(scope: Message) -> None:
    kind = scope.get("type")
    if kind not in SCOPE_KEYS:
        raise ProtocolError(f"the server's scope is of the unknown type {kind!r}")
    check_types(
        f"the server's {kind} scope", scope, SCOPE_KEYS[kind], required=set(SCOPE_KEYS[kind])
    )
    check_headers(f"the server's {kind} scope", scope.get("headers", ()))
    if b"?" in scope.get("raw_path", b""):
        raise ProtocolError(
            f"the server's {kind} scope has a query in its raw_path: {scope['raw_path']!r}"
        )


def check_types(
    what: str, found: Mapping[str, Any], keys: Mapping[str, tuple[type, ...]], required: set[str]
) -> None:
    missing = required - found.keys()
    if missing:
        raise ProtocolError(f"{what} lacks {', '.join(sorted(missing))}")
    for key, types in keys.items():
        value = found.get(key)
        # `True` is an int to isinstance, but no status.
        if key in found and (
            not isinstance(value, types) or (isinstance(value, bool) and bool not in types)
        ):
            raise ProtocolError(f"{what} has a {key} of the type {type(value).__name__}: {value!r}")


def check_headers(what: str, headers: Iterable[Any]) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    for pair in headers:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ProtocolError(f"{what} has a header that is not a pair: {pair!r}")
        name, value = pair
        if not isinstance(name, bytes) or not HEADER_NAME.fullmatch(name):
            raise ProtocolError(
                f"{what} has a header name that is not lower-case bytes of a token: {name!r}"
            )
        if not isinstance(value, bytes) or FORBIDDEN_IN_VALUE.search(value):
            raise ProtocolError(
                f"{what} has a header value that is not bytes without CR, LF, NUL: {pair!r}"
            )
        found.setdefault(name, []).append(value)
    return found


class Order:
    """Where a conversation stands in one of the tables."""

    def __init__(self, subject: str, table: Mapping[tuple[str, str], str], state: str) -> None:
        self.subject = subject
        self.table = table
        self.state = state

    def step(self, who: str, event: str) -> None:
        following = self.table.get((self.state, event))
        if following is None:
            raise ProtocolError(f"{who} sent {event!r} while the {self.subject} is {self.state}")
        self.state = following


class Conversation:
    """One call of the application.

    `incoming` and `outgoing` are the same order, where one table has both.
    """

    incoming: Order
    outgoing: Order
    finished: tuple[str, ...]

    def __init__(self, scope: Message, receive: Receive, send: Send) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        self._violation: ProtocolError | None = None
        self._ended = False
        self.is_gone = False

    async def run(self, app: ASGIApp) -> None:
        # Past the `except` block, so that the violation is not shown as having come "during"
        # itself.
        failure: BaseException | None = None
        try:
            self._check_end(await app(self.scope, self.receive, self.send))
        except Exception as error:
            failure = error
        finally:
            self._ended = True
        if self._violation is not None:
            raise self._violation
        if failure is not None:
            raise failure

    async def receive(self) -> Message:
        message = await self._receive()
        self._checked("the server", message, self.incoming)
        return message

    async def send(self, message: Message) -> None:
        if self._ended:
            raise ProtocolError(f"the application sent {message.get('type')!r} after it had ended")
        self._checked("the application", message, self.outgoing)
        try:
            await self._send(message)
        except OSError:
            self.is_gone = True
            raise

    def check(self, message: Message) -> None:
        """Check the rules beyond order and types."""

    def _checked(self, who: str, message: Message, order: Order) -> None:
        try:
            kind = self._check_form(who, message)
            if "headers" in message:
                # an iterator's are wanted by the server too
                message["headers"] = list(message["headers"])
            last = "more_body" in KEYS[kind] and not message.get("more_body", False)
            order.step(who, f"{kind}, last" if last else kind)
            self.is_gone = self.is_gone or order.state == "gone"
            self.check(message)
        except ProtocolError as error:
            self._violation = self._violation or error
            raise

    def _check_form(self, who: str, message: Message) -> str:
        if not isinstance(message, MutableMapping) or not isinstance(message.get("type"), str):
            raise ProtocolError(f"{who} sent something that is no message: {message!r}")
        kind: str = message["type"]
        if kind not in KEYS:
            raise ProtocolError(f"{who} sent a message of the unknown type {kind!r}")
        unknown = message.keys() - KEYS[kind].keys() - {"type"}
        if unknown:
            raise ProtocolError(
                f"{who} sent {kind!r} with unknown keys: {', '.join(sorted(unknown))}"
            )
        check_types(f"{who}'s {kind!r}", message, KEYS[kind], REQUIRED.get(kind, set()))
        return kind

    def _check_end(self, result: object) -> None:
        if result is not None:
            raise ProtocolError(f"the application returned {result!r} instead of None")
        if self.outgoing.state not in self.finished and not self.is_gone:
            order = self.outgoing
            raise ProtocolError(f"the application ended while the {order.subject} is {order.state}")


class Answer:
    """A status, its headers and the body that they announce: HTTP's, or of a handshake that is
    denied.
    """

    def __init__(self, scope: Message) -> None:
        self._is_head = scope.get("method") == "HEAD"
        self._status = 0
        self._expected: int | None = None
        self._sent = 0

    def check_start(self, message: Message) -> None:
        self._status = message["status"]
        if not 100 <= self._status <= 599:
            raise ProtocolError(
                f"the application sent the status {self._status}: it is not within 100-599"
            )
        headers = check_headers(
            f"the application's {message['type']!r}", message.get("headers", ())
        )
        if b"transfer-encoding" in headers:
            raise ProtocolError(
                "the application sent transfer-encoding, which is the server's business"
            )
        lengths = headers.get(b"content-length", [])
        if len(lengths) > 1 or not all(length.isdigit() for length in lengths):
            raise ProtocolError(
                f"the application sent a content-length that is not one number: {lengths!r}"
            )
        if lengths and (self._status < 200 or self._status == 204):
            raise ProtocolError(
                f"the application sent content-length with the status {self._status}"
            )
        if lengths and not self._is_head and self._status != 304:
            self._expected = int(lengths[0])

    def check_body(self, message: Message) -> None:
        self._count(len(message.get("body", b"")), is_last=not message.get("more_body", False))

    def check_path(self, message: Message) -> None:
        path = Path(message["path"])
        if not path.is_absolute():
            raise ProtocolError(
                f"the application sent a path that is not absolute: {message['path']!r}"
            )
        self._count(path.stat().st_size, is_last=True)

    def check_file(self, message: Message) -> None:
        file = message["file"]
        offset = message.get("offset", file.tell())
        there = os.fstat(file.fileno()).st_size - offset
        count = message.get("count", there)
        if offset < 0 or not 0 <= count <= there:
            raise ProtocolError(
                f"the application sent {count} bytes from {offset} on, of which there are {there}"
            )
        self._count(count, is_last=not message.get("more_body", False))

    def _count(self, size: int, *, is_last: bool) -> None:
        self._sent += size
        if self._sent and (self._status < 200 or self._status in (204, 304)):
            raise ProtocolError(f"the application sent a body with the status {self._status}")
        if self._expected is None:
            return
        if self._sent > self._expected or (is_last and self._sent < self._expected):
            raise ProtocolError(
                f"the application sent {self._sent} bytes of a body with content-length {self._expected}"
            )


class HttpConversation(Conversation):
    finished = ("complete",)

    def __init__(self, scope: Message, receive: Receive, send: Send) -> None:
        super().__init__(scope, receive, send)
        self.incoming = Order("request", HTTP_REQUEST, "receiving")
        self.outgoing = Order("response", HTTP_RESPONSE, "without a head")
        self._answer = Answer(scope)

    def check(self, message: Message) -> None:
        kind = message["type"]
        if kind in EXTENSIONS and kind not in (self.scope.get("extensions") or {}):
            raise ProtocolError(f"the application sent {kind!r}, which the server does not offer")
        if kind == "http.response.start":
            self._answer.check_start(message)
        elif kind == "http.response.body":
            self._answer.check_body(message)
        elif kind == "http.response.pathsend":
            self._answer.check_path(message)
        elif kind == "http.response.zerocopysend":
            self._answer.check_file(message)


class WebSocketConversation(Conversation):
    finished = ("closed",)

    def __init__(self, scope: Message, receive: Receive, send: Send) -> None:
        super().__init__(scope, receive, send)
        self.incoming = self.outgoing = Order("WebSocket", WEBSOCKET, "new")
        self._answer = Answer(scope)

    def check(self, message: Message) -> None:
        kind = message["type"]
        if kind in ("websocket.receive", "websocket.send"):
            self._check_payload(message)
        elif kind == "websocket.accept":
            self._check_accept(message)
        elif kind == "websocket.close":
            self._check_close(message)
        elif kind == "websocket.http.response.start":
            if "websocket.http.response" not in (self.scope.get("extensions") or {}):
                raise ProtocolError(
                    f"the application sent {kind!r}, which the server does not offer"
                )
            self._answer.check_start(message)
        elif kind == "websocket.http.response.body":
            self._answer.check_body(message)

    @staticmethod
    def _check_payload(message: Message) -> None:
        if (message.get("text") is None) == (message.get("bytes") is None):
            raise ProtocolError(
                f"{message['type']!r} needs text or bytes, and not both: {message!r}"
            )

    def _check_accept(self, message: Message) -> None:
        headers = check_headers("the application's 'websocket.accept'", message.get("headers", ()))
        if b"sec-websocket-protocol" in headers:
            raise ProtocolError(
                "the application sent sec-websocket-protocol instead of the key subprotocol"
            )
        chosen = message.get("subprotocol")
        if chosen is not None and chosen not in self.scope["subprotocols"]:
            raise ProtocolError(
                f"the application chose the subprotocol {chosen!r}, which nobody offered"
            )

    @staticmethod
    def _check_close(message: Message) -> None:
        code = message.get("code", 1000)
        # RFC 6455, 7.4: 1004 to 1006 and 1015 never stand in a close frame.
        if not 1000 <= code <= 4999 or code in (1004, 1005, 1006, 1015):
            raise ProtocolError(
                f"the application closed with the code {code}, which no frame may carry"
            )
        # RFC 6455, 5.5: 125 bytes for a control frame, two of them the code.
        if len((message.get("reason") or "").encode()) > 123:
            raise ProtocolError("the application closed with a reason of more than 123 bytes")


class LifespanConversation(Conversation):
    # "new": it knows no lifespan and returns at once, which servers take for that.
    finished = ("new", "failed", "stopped")

    def __init__(self, scope: Message, receive: Receive, send: Send) -> None:
        super().__init__(scope, receive, send)
        self.incoming = self.outgoing = Order("lifespan", LIFESPAN, "new")


CONVERSATIONS = {
    "http": HttpConversation,
    "websocket": WebSocketConversation,
    "lifespan": LifespanConversation,
}
