"""Serve a WebSocket under ASGI, from its scope to its last message, and define the class
``WebSocket``, whose objects are passed to handlers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, Self

import anyio

from micropie._core.errors import (
    ConnectionClosed,
    HeadersLike,
    HTTPError,
    ResponseError,
    SetupError,
    pairs_of,
)
from micropie._core.execution import CLEAN_UP_WITHIN, current, in_thread
from micropie._core.execution.placement import IO_THREADS
from micropie._core.flow import CloseInfo, cleanup, conclude, prepare, run_mount_guards
from micropie._core.http import (
    BindingError,
    MultiDict,
    State,
    checked_headers,
    translated,
)
from micropie._core.http.headers import Headers
from micropie._core.http.json import dumps, loads
from micropie._core.http.protocols import HeaderPairs, Receive, Scope, Send
from micropie._core.http.websockets import (
    CONNECTING,
    GONE,
    INVALID_DATA,
    LARGE,
    TOO_BIG,
    WebSocketRequest,
)
from micropie._core.routing import Handover, Site, route_of
from micropie._core.sessions import Session
from micropie._core.spellings import SocketSpellings, attribute_of
from micropie.asgi.exchange import ASGIWebSocketExchange, receive_nothing
from micropie.asgi.forwarding import Subscribed
from micropie.asgi.steps import call_mounted, close_request, perform, perform_cleanup
from micropie.asgi.websocket_connection import ITERATION, Connection

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # typing's own has defaults only since Python 3.13

    from micropie._core.binding import Messages

    Received = TypeVar("Received", default=Any)
    Sent = TypeVar("Sent", default=Any)
else:
    from typing import TypeVar

    Received, Sent = TypeVar("Received"), TypeVar("Sent")


async def serve_websocket(site: Site, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one WebSocket. Raises only what the flow does not handle, such as a cancellation."""
    exchange = ASGIWebSocketExchange(scope, receive_nothing, send)
    exchange.config = site.config
    request = WebSocketRequest(exchange)
    found = site.find_socket(request)
    route = found[0]
    connection = Connection(exchange, receive)
    token = current.set(request)
    try:
        if type(route) is Handover:
            refusal = await perform(run_mount_guards(request, route), exchange)
            if refusal is None:
                current.reset(token)  # the mounted application creates its own request
                try:
                    scope = route.scope_in(exchange.scope_below())
                    await call_mounted(route.mount.target, scope, receive, send)
                finally:
                    token = current.set(request)
            elif (await receive())["type"] == "websocket.connect":
                await connection.finish(refusal)
        elif (await receive())["type"] == "websocket.connect":
            # If the first message is another one, the client has disconnected already.
            socket = WebSocket(exchange, request, connection)
            result: object = None
            failure: Exception | None = None
            try:
                try:
                    result = call = await perform(prepare(found, request, socket), exchange)
                    if call.__class__ is not CloseInfo:
                        result = await connection.run(*call)
                except Exception as error:
                    failure = error
                # outside of ``except``, so that later errors get no false ``__context__``
                close_info = await perform(conclude(request, result, failure), exchange)
            except BaseException:
                try:
                    await perform_cleanup(exchange, exchange.cleanup_steps())
                finally:
                    with anyio.move_on_after(CLEAN_UP_WITHIN, shield=True):
                        await perform(cleanup(request), exchange)
                        await connection.go_away()
                raise
            if connection.state is not GONE:
                await connection.finish(close_info)
    finally:
        result = failure = None  # avoid a reference cycle with this frame
        try:
            if exchange.ends is not None:
                await close_request(exchange)
        finally:
            current.reset(token)


def _checked(headers: HeadersLike) -> HeaderPairs:
    """Check the headers for ``accept``, and return them as a list. Raises ``ResponseError`` for a
    header that can't be sent.
    """
    pairs, _, _ = checked_headers(pairs_of(headers))
    for name, _ in pairs:
        if name.startswith("sec-websocket-"):
            raise ResponseError(
                f"header {name!r} can be set only by the server: for a subprotocol, write "
                "accept(subprotocol=...)"
            )
    return pairs


class WebSocket(SocketSpellings, Generic[Received, Sent]):
    """One client's WebSocket: the first argument of ``async def ws_name(self, ws)``.

    With ``ws: WebSocket[Received, Sent]``, ``receive()``, ``messages()`` and ``send(value)`` check
    and convert the values: text, bytes, or any type that a JSON body may have.

    Once the WebSocket has ended, because of the client, the network or ``close``, every call raises
    ``ConnectionClosed``. A handler need not catch this exception. A call that comes too early, such
    as sending before ``accept``, raises ``RuntimeError``. Only one task at a time may receive; any
    number may send. If a handler returns without closing, the WebSocket is closed with the code
    1000. If the handler fails, the code is 1011.
    """

    # A ``WeakSet`` may hold the sockets of an application's clients.
    __slots__ = ("__weakref__", "_connection", "_exchange", "_session_id", "request")

    request: WebSocketRequest

    def __init__(
        self, exchange: ASGIWebSocketExchange, request: WebSocketRequest, connection: Connection
    ) -> None:
        self.request = request
        self._exchange = exchange
        self._connection = connection
        self._session_id: str | None = None

    # -- the handshake -----------------------------------------------------------------------------

    async def accept(
        self,
        subprotocol: str | None = None,
        session_id: str | None = None,
        headers: HeadersLike = (),
    ) -> None:
        """Accept the handshake.

        - ``subprotocol``: one of ``subprotocols``, or None.
        - ``session_id``: an id to send in the session's cookie, instead of the session's own id.
        - ``headers``: a dict or (name, value) pairs to send.

        If the session was changed, it is saved, and its cookie is sent. If the handler's code
        contains the name ``session``, a client without a session also gets a cookie, because the
        session may be changed later, when a cookie can't be sent any more.

        Raises ``ValueError`` for a subprotocol that was not offered, and ``ResponseError`` for a
        header that can't be sent.
        """
        connection = self._connection
        if connection.state is not CONNECTING:
            raise connection.refusal("accept")
        if subprotocol is not None and subprotocol not in self.subprotocols:
            raise ValueError(
                f"the client did not offer subprotocol {subprotocol!r} (it offered "
                f"{self.subprotocols})"
            )
        pairs: HeaderPairs = _checked(headers) if headers else []
        exchange = self._exchange
        if (
            session_id is not None
            or exchange.answer.session is not None
            or route_of(exchange).mentions_session
        ):
            cookie = await self._session_cookie(session_id)
            if cookie is not None:
                pairs.append(("set-cookie", cookie))
        exchange.answer.accept()
        await connection.accept(subprotocol, pairs)

    async def _session_cookie(self, session_id: str | None) -> str | None:
        """Save the session if it was changed. Return the value of the Set-Cookie header to send
        with the handshake, or None; see ``accept``.
        """
        exchange = self._exchange
        store, session = exchange.config.sessions, exchange.answer.session
        if session_id is not None:
            self._session_id = session_id
            cookie: str | None = store.cookie(session_id, exchange.scheme, exchange.root_path)
        else:
            cookie = await exchange.save_changes()
            if cookie is None and not store.in_cookie and route_of(exchange).mentions_session:
                session = exchange.opened_session()
                if session.id is None:  # the session isn't stored yet, but may be later
                    cookie = store.reserve(session, exchange)
        if session is not None:
            session.keep_cookie(store.in_cookie)
            session.saver = exchange.save_session
        return cookie

    # -- receiving ---------------------------------------------------------------------------------

    # These plain functions return the connection's coroutine, because wrapping it in another
    # coroutine would take time for each message.

    def receive_text(self) -> Coroutine[object, object, str]:
        """Return the next message, which must be text.

        Raises ``ConnectionClosed`` if the WebSocket has ended. A binary message closes the
        WebSocket with 1003, and the exception is then also a ``ValueError``. A message above
        ``websocket_max_size`` bytes closes it with 1009.
        """
        return self._connection.receive("receive_text", "text")

    def receive_bytes(self) -> Coroutine[object, object, bytes]:
        """Return the next message, which must be binary. In all other respects this is like
        ``receive_text``.
        """
        return self._connection.receive("receive_bytes", "bytes")

    async def receive_json(self) -> Any:
        """Return the value of the next message, a text or binary message that contains JSON.

        Any other message closes the WebSocket with 1007, and raises a ``ConnectionClosed`` that is
        also a ``ValueError``. One with more than ``max_json_values`` values closes it with 1009.
        """
        return await self._read(await self._connection.receive("receive_json", "text"), loads)

    async def receive(self) -> Received:
        """Return the value of the next message. The annotation ``ws: WebSocket[Received, Sent]``
        declares its type, ``Received``.

        An invalid value closes the WebSocket with 1007, with the error's message as the reason, and
        raises a ``ConnectionClosed`` that is also a ``ValueError``.
        """
        messages = self._annotated()
        content = await self._connection.receive(*messages.call)
        made: Received = content if messages.is_raw else await self._read(content, messages.read)
        return made

    async def _read(self, content: str | bytes, read: Callable[[str | bytes], Any]) -> Any:
        """Return what ``read`` makes of a message, or close the WebSocket if that is invalid."""
        code = INVALID_DATA
        try:
            if len(content) > LARGE:
                return await in_thread(IO_THREADS, self._counted, content, read)
            return self._counted(content, read)
        except BindingError as error:
            first = error.errors[0]
            fault = f"{first.field}: {translated(self.request, str(first))}"
        except HTTPError as error:
            code, fault = TOO_BIG, translated(self.request, str(error))
        except ValueError as error:
            fault = str(error)
        await self._connection.reject(code, fault)

    def _counted(self, content: str | bytes, read: Callable[[str | bytes], Any]) -> Any:
        self._exchange.body.count_message(content, self._exchange.config.limits.max_json_values)
        return read(content)

    def messages(self) -> AsyncIterator[Received]:
        """Iterate over the values of messages, as returned by ``receive``: ``async for message in
        ws.messages()``. The iteration ends when the WebSocket is closed, for example because of an
        invalid message.
        """
        return _Values(self)

    def _annotated(self) -> Messages:
        messages = route_of(self._exchange).plan.messages
        if messages is None:
            raise SetupError(
                "receive(), messages() and send() need the types of the messages: write ws: "
                "WebSocket[Received, Sent], or use receive_json() and send_json()"
            )
        return messages

    def __aiter__(self) -> Self:
        """Iterate over the messages, text or bytes, until the WebSocket is closed: ``async for
        message in ws``.
        """
        return self

    def __anext__(self) -> Coroutine[object, object, str | bytes]:
        return self._connection.receive(ITERATION, "text")

    # -- sending -----------------------------------------------------------------------------------

    def send_text(self, text: str) -> Coroutine[object, object, None]:
        """Send a text message.

        Raises ``ConnectionClosed`` if the WebSocket has ended. If the client reads nothing for
        ``websocket_send_timeout`` seconds, the WebSocket is closed with 1008. Raises ``ValueError``
        for text with a lone surrogate, which UTF-8 can't express.
        """
        if text.__class__ is not str or not text.isascii():
            if not isinstance(text, str):
                raise TypeError(f"send_text() takes a str, not {type(text).__name__}")
            # Raise an error for text that can't be sent: servers raise it only while they send the
            # text, as for a lost connection.
            text.encode()
        return self._connection.send("send_text", {"type": "websocket.send", "text": text})

    def send_bytes(self, data: bytes | bytearray | memoryview) -> Coroutine[object, object, None]:
        """Send a binary message. In all other respects this is like ``send_text``."""
        if data.__class__ is not bytes:
            if not isinstance(data, bytes | bytearray | memoryview):  # of an int, bytes makes zeros
                raise TypeError(f"send_bytes() takes bytes, not {type(data).__name__}")
            data = bytes(data)
        return self._connection.send("send_bytes", {"type": "websocket.send", "bytes": data})

    def send_json(self, value: object) -> Coroutine[object, object, None]:
        """Send a value as JSON text. In all other respects this is like ``send_text``.

        Raises ``CodecError`` if JSON can't express the value.
        """
        return self._connection.send(
            "send_json", {"type": "websocket.send", "text": dumps(value).decode()}
        )

    async def send(self, value: Sent) -> None:
        """Send a value of the type ``Sent`` that the annotation ``ws: WebSocket[Received, Sent]``
        declares, with only the fields of this type. Otherwise, this is like ``send_text``.

        Raises ``ResponseError`` for a value that is not of this type.
        """
        message = self._annotated().write(value)
        await (self.send_text(message) if isinstance(message, str) else self.send_bytes(message))

    def forward(self, subscription: Subscribed) -> Coroutine[object, object, None]:
        """Begin a subscription to channels, and from now on send its messages: strings as they are,
        other values as JSON. This returns once the subscription has begun. The handler goes on, for
        example with a loop over the client's messages: ``await
        ws.forward(self.channels.subscribe("room"))``.

        The subscription ends with the handler. If the subscription ends first, the WebSocket is
        closed with 1000, or with 1013 after lost messages (``when_full="close"``). A subscription
        that has begun in a ``with`` block is forwarded too.
        """
        return self._connection.forward(subscription)

    def close(self, code: int = 1000, reason: str | None = "") -> Coroutine[object, object, None]:
        """Close the WebSocket with a code (1000 to 1014 or 3000 to 4999) and a reason, which is cut
        to the 123 bytes that fit into a frame.

        Does nothing if the WebSocket is already closed or the client has disconnected. Before
        ``accept``, this refuses the handshake with status 403. Raises ``ValueError`` for a code
        that must not be sent (RFC 6455, section 7.4).
        """
        return self._connection.close(code, reason)

    # -- its state ---------------------------------------------------------------------------------

    accepted: Final[bool] = attribute_of("_exchange.answer.is_accepted")
    """Whether ``accept`` was called."""

    @property
    def closed(self) -> bool:
        """Whether either side has ended the WebSocket; see ``close_code`` and ``close_reason``."""
        return self.close_code is not None

    close_code: Final[int | None] = attribute_of("_connection.code")
    """The code with which the WebSocket was closed. None while it is open, 1005 if it was closed
    without a code, and 1006 if the connection was lost.
    """
    close_reason: Final[str] = attribute_of("_connection.reason")
    """The reason with which the WebSocket was closed."""

    # -- what came with the handshake --------------------------------------------------------------

    @property
    def subprotocols(self) -> Sequence[str]:
        """The subprotocols that the client offers, the preferred one first."""
        return list(self.request.scope.get("subprotocols") or ())

    @property
    def session_id(self) -> str | None:
        """The id that was passed to ``accept``, or the id of the client's session. None if there is
        no session.
        """
        session = self._exchange.answer.session
        return self._session_id or (session.id if session is not None else None)

    session: Final[Session] = attribute_of("request.session")
    """The client's session, which HTTP handlers see as well.

    Changes are saved by ``accept``, which sends the cookie of a new session, by ``save_session``,
    and when the WebSocket ends.
    """

    async def save_session(self) -> None:
        """Save the session's changes now instead of when the WebSocket ends.

        Raises ``RuntimeError`` before ``accept``.
        """
        if not self._exchange.answer.is_accepted:
            raise RuntimeError(
                "save_session() was called before ws.accept(): remove this call, because "
                "ws.accept() saves the session"
            )
        await self._exchange.save_session()

    headers: Final[Headers] = attribute_of("request.headers")
    """Same as ``request.headers``."""
    cookies: Final[Mapping[str, str]] = attribute_of("request.cookies")
    """Same as ``request.cookies``."""
    path_params: Final[Sequence[Any]] = attribute_of("request.path_params")
    """Same as ``request.path_params``."""
    query: Final[MultiDict[str]] = attribute_of("request.query")
    """Same as ``request.query``."""
    state: Final[State] = attribute_of("request.state")
    """Same as ``request.state``."""

    def __repr__(self) -> str:
        return f"<WebSocket {self.request.path!r}, {self._connection.state}>"


class _Values(AsyncIterator[Received]):
    """An iterator over the values of a WebSocket's messages. It isn't a generator, because handlers
    would have to close a generator.
    """

    __slots__ = ("_socket",)

    def __init__(self, socket: WebSocket[Received, Any]) -> None:
        self._socket = socket

    async def __anext__(self) -> Received:
        try:
            return await self._socket.receive()
        except ConnectionClosed:
            raise StopAsyncIteration from None
