"""``WebSocket``: what a handler is given, and talks with its client by."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from micropie.asgi.request import ASGIWebSocketRequest
from micropie.asgi.sending import encode_headers
from micropie.asgi.steps import perform
from micropie.asgi.websocket.connection import Connection
from micropie.errors import BadRequest, ConnectionClosed, ResponseError
from micropie.http.headers import Headers
from micropie.http.json import dumps, loads
from micropie.http.request import State
from micropie.http.response import Answer, checked_headers
from micropie.http.types import HeaderPairs, HeadersLike, Parameters, Receive, Send
from micropie.http.websocket import ACCEPT, CLOSE, CONNECTING, INVALID_DATA
from micropie.sessions import Session

DENIAL = "websocket.http.response"


class WebSocket(Connection):
    """One client's WebSocket, in ``async def ws_name(self, ws)``.

    Whatever ends it, the client, the network or ``close``, every call afterwards raises ``ConnectionClosed``, which
    a handler may let pass. What can't be done yet, such as sending before ``accept``, is a ``RuntimeError``. One task
    may receive at a time, any number may send. A handler that returns without closing closes with 1000; one that
    fails, with 1011.
    """

    __slots__ = ("_session_id", "accepted", "request")

    def __init__(self, request: ASGIWebSocketRequest, receive: Receive, send: Send) -> None:
        super().__init__(request.path, receive, send)
        self.request = request
        self.accepted = False
        self._session_id: str | None = None

    # -- the handshake -----------------------------------------------------------------------------------------------

    async def accept(
        self, subprotocol: str | None = None, session_id: str | None = None, headers: HeadersLike = ()
    ) -> None:
        """Accept the client. ``subprotocol``: one of ``subprotocols``; ``headers``: to be sent along.

        A session that was changed is saved, and its cookie sent. ``session_id`` sends that id instead. Raises
        ``ValueError`` for a subprotocol that was not offered, ``ResponseError`` for a header that can't be sent.
        """
        self.progress.allow(ACCEPT, "accept")
        if subprotocol is not None and subprotocol not in self.subprotocols:
            raise ValueError(f"the client did not offer the subprotocol {subprotocol!r}, but {self.subprotocols}")
        pairs = _handshake_headers(headers)
        pairs += await self._session_cookie(session_id)
        self.progress.step(ACCEPT)
        self.accepted = self.request.is_accepted = True
        message = {"type": "websocket.accept", "subprotocol": subprotocol, "headers": encode_headers(None, None, pairs)}
        await self.say("accept", message)

    async def _session_cookie(self, session_id: str | None) -> HeaderPairs:
        """The Set-Cookie header to accept with, if there is one. From here on the session has no other way out."""
        request = self.request
        store, session, cookie = request.config.sessions, request._loaded_session, None
        if session_id is not None:
            cookie = store.cookie(session_id, request.scheme, request.root_path)
        elif session is not None and session.changed:
            cookie = await perform(store.close(session, request.scheme, request.root_path), request)
            session.mark_saved()
        if session is not None:
            session.keep_cookie(store.in_cookie)
        self._session_id = session_id
        return [("set-cookie", cookie)] if cookie is not None else []

    async def refuse(self, code: int, reason: str, answer: Answer | None) -> None:
        """End it if it has not ended: by a close frame, or by an answer to a handshake that was not accepted.

        Without the extension for that (ASGI, "WebSocket Denial Response") the server's answer is a plain 403.
        """
        can_deny = DENIAL in (self.request.scope.get("extensions") or ())
        if answer is None or self.progress.state is not CONNECTING or not can_deny:
            await self.finish(code, reason)
            return
        self.progress.end(CLOSE, code, reason)
        status, content_type, length, pairs, body, _ = answer
        headers = encode_headers(content_type, length, pairs)
        await self._put_last({"type": f"{DENIAL}.start", "status": status, "headers": headers}, self._send_timeout)
        await self._put_last({"type": f"{DENIAL}.body", "body": body}, self._send_timeout)

    def run(self, handler: Callable[..., Any], /, *arguments: Any) -> Coroutine[Any, Any, None]:
        """For the flow: run the handler with this socket."""
        request = self.request
        return self.run_within(request.config.settings, request.watchers, handler, *arguments)

    # -- messages in -------------------------------------------------------------------------------------------------

    # Who asks at every message gets the coroutine of ``hear`` itself, or there would be another around it.

    def receive_text(self) -> Coroutine[Any, Any, str]:
        """The next message, which has to be text.

        Raises ``ConnectionClosed``; a binary message closes with 1003, and that ``ConnectionClosed`` is a
        ``ValueError``, too. One above ``websocket_max_size`` closes with 1009.
        """
        return self.hear("receive_text", "text")

    def receive_bytes(self) -> Coroutine[Any, Any, bytes]:
        """The next message, which has to be binary; otherwise as ``receive_text``."""
        return self.hear("receive_bytes", "bytes")

    async def receive_json(self) -> Any:
        """The next message, text or binary, read as JSON; what is none closes with 1007, as in ``receive_text``."""
        content = await self.hear("receive_json", "text")
        try:
            return loads(content)
        except BadRequest as error:
            fault = error.message
        await self.reject(INVALID_DATA, fault)

    def __aiter__(self) -> WebSocket:
        """``async for message in ws``: text and bytes as they come, until it is closed, whoever closes it."""
        return self

    async def __anext__(self) -> str | bytes:
        try:
            return await self.hear("async for", "text")  # type: ignore[no-any-return]
        except ConnectionClosed:
            pass
        raise StopAsyncIteration

    # -- messages out ------------------------------------------------------------------------------------------------

    def send_text(self, text: str) -> Coroutine[Any, Any, None]:
        """Send text. Raises ``ConnectionClosed``; also for a client that makes no room for it in
        ``websocket_send_timeout`` seconds, which is closed with 1008."""
        if not isinstance(text, str):
            raise TypeError(f"send_text() takes text, not {type(text).__name__}")
        return self.say("send_text", {"type": "websocket.send", "text": text})

    def send_bytes(self, data: bytes | bytearray | memoryview) -> Coroutine[Any, Any, None]:
        """Send a binary message; otherwise as ``send_text``."""
        return self.say("send_bytes", {"type": "websocket.send", "bytes": bytes(data)})

    def send_json(self, value: Any) -> Coroutine[Any, Any, None]:
        """Send a value as JSON text; otherwise as ``send_text``. Raises ``CodecError`` for what JSON can't say."""
        return self.say("send_json", {"type": "websocket.send", "text": dumps(value).decode()})

    # -- what came with the handshake --------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether it is over, whoever ended it; ``close_code`` and ``close_reason`` say how."""
        return self.progress.code is not None

    @property
    def close_code(self) -> int | None:
        """The code that it was closed with; 1005 for none, 1006 if the connection was lost."""
        return self.progress.code

    @property
    def close_reason(self) -> str:
        """The reason that it was closed with."""
        return self.progress.reason

    @property
    def subprotocols(self) -> Sequence[str]:
        """What the client offers to speak, the best first."""
        return list(self.request.scope.get("subprotocols") or ())

    @property
    def session_id(self) -> str | None:
        """The id of the client's session, or the one that ``accept`` was given; None if there is none."""
        session = self.request._loaded_session
        return self._session_id or (session.id if session is not None else None)

    @property
    def session(self) -> Session:
        """The session that HTTP handlers see. Changes are saved by ``accept``, which sends a new session's cookie,
        by ``save_session``, and when the handler ends."""
        return self.request.session

    async def save_session(self) -> None:
        """Store what was changed of the session now, and not when the handler ends. Only after ``accept``."""
        session, request = self.request._loaded_session, self.request
        if not self.accepted:
            raise RuntimeError("save_session() on a WebSocket that is not accepted: ws.accept() saves the session")
        if session is not None and session.changed:
            await perform(request.config.sessions.close(session, request.scheme, request.root_path), request)
            session.mark_saved()

    @property
    def headers(self) -> Headers:
        """``request.headers``"""
        return self.request.headers

    @property
    def cookies(self) -> dict[str, str]:
        """``request.cookies``"""
        return self.request.cookies

    @property
    def path_params(self) -> Sequence[Any]:
        """``request.path_params``"""
        return self.request.path_params

    @property
    def query_params(self) -> Parameters:
        """``request.query_params``"""
        return self.request.query_params

    @property
    def state(self) -> State:
        """``request.state``"""
        return self.request.state

    def __repr__(self) -> str:
        return f"<WebSocket {self.path!r}, {self.progress.state}>"


def _handshake_headers(headers: HeadersLike) -> HeaderPairs:
    """Headers fit to accept with. Those of the handshake itself are the server's."""
    given = headers.items() if hasattr(headers, "items") else headers
    pairs, _, _ = checked_headers(given)
    for name, _ in pairs:
        if name.startswith("sec-websocket-"):
            raise ResponseError(f"header {name!r} is the server's to send; a subprotocol is accept(subprotocol=...)")
    return pairs
