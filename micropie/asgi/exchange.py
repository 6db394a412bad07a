"""The exchange of a request under ASGI: it reads the scope and receives the body
(https://asgi.readthedocs.io/en/latest/specs/www.html).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import nullcontext
from functools import partial
from math import inf
from typing import NoReturn, cast

import anyio

from micropie._core.errors import ClientDisconnect, HTTPError, too_many_waiting
from micropie._core.execution import TASKS, Action, LoopTasks, await_in_def, is_on_loop, slots_of
from micropie._core.execution.steps import Flow, Step, no_function
from micropie._core.http import Address, AnswerState, ReceivedBody, Session
from micropie._core.http.addresses import (
    PAGE_SCHEMES,
    PERCENT,
    escaped_path,
    raw_path_below,
    unescaped,
)
from micropie._core.http.headers import HeaderNames, Headers
from micropie._core.http.protocols import Piece, RawPairs, Receive, Scope, Send, ServerMessage
from micropie._core.on_demand import Value
from micropie.asgi.coroutines import Steps, resume
from micropie.asgi.steps import (
    BACKGROUND,
    lifespan_tasks,
    perform,
    perform_cleanup,
)
from micropie.asgi.streaming import StreamedExchange

_OF_BODY = frozenset({b"content-type", b"content-length"})
_SOCKET_SCHEMES = {"http": "ws", "https": "wss"}

# The minimum rate at which a client must send a body, in bytes per second.
_MIN_RATE = 1000


# -- the request -----------------------------------------------------------------------------------


class ASGIExchange(StreamedExchange):
    """The exchange of a request under ASGI. ``scope`` is the server's object, not a copy."""

    # A function that creates the exception for each further read. It is set after a read has
    # failed.
    _body_error: Callable[[], Exception] | None = None
    _is_passed_on = False  # whether a mounted application has got the whole body
    # How many seconds of ``body_total_timeout`` are left; None before the first wait.
    _time_left: float | None = None
    root_path = ""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = self.outside = scope
        self.answer = AnswerState()
        self.body = ReceivedBody()
        self._receive = receive
        self.send = send
        # The scope of a WebSocket has no method, because it is always GET (RFC 6455).
        self.method = scope.get("method", "GET")
        self.path = path = scope["path"] or "/"
        if not scope["query_string"]:  # most requests have no query to parse
            self.query = {}
        if scope.get("root_path"):
            self.root_path = root = scope["root_path"].rstrip("/")
            # Remove the prefix, unless it is missing: a server that has a setting for the prefix
            # may pass the path without it.
            self.path = path[len(root) :] or "/" if (path + "/").startswith(root + "/") else path
        elif path.isascii() and PERCENT not in (scope.get("raw_path") or b""):
            self.literal_path = path

    @property
    def scheme(self) -> str:
        return self.peer.scheme or self.scope.get("scheme", "http")

    def server_client(self) -> Address | None:
        host, port = self.scope.get("client") or ("", 0)
        # granian passes the port as a string. A UNIX socket has no host.
        return Address(host, int(port or 0)) if host else None

    def scope_below(self) -> Scope:
        """Return the scope for a mounted application, with the client, the scheme and the host that
        hooks may have changed.
        """
        host = self.peer.host
        if self.peer.client is None and self.peer.scheme is None and host is None:
            return self.scope
        scheme = self.scheme
        if self.scope["type"] == "websocket":
            scheme = _SOCKET_SCHEMES.get(scheme, scheme)
        scope = {**self.scope, "client": self.client, "scheme": scheme}
        return scope if host is None else scope | {"headers": self.headers_with_host(host)}

    def server_state(self) -> dict[str, object]:
        state = {**(self.scope.get("state") or {})}  # ``dict()`` takes twice as long
        state.pop(BACKGROUND, None)
        return state

    def note_outlasting(self) -> Action:
        tasks = lifespan_tasks(self.scope)
        return no_function if tasks is None else tasks.hold()

    @property
    def is_at_prefix(self) -> bool:
        return bool(self.scope["path"]) and self.scope["path"] == self.root_path

    def _server_path(self) -> bytes:
        path, root = self.scope["path"] or "/", self.root_path
        is_below = (path + "/").startswith(root + "/")
        below = path[len(root) :] or "/" if is_below else path
        raw = self.scope.get("raw_path")
        if raw is not None:
            # Use ``raw_path`` only if it means the same path as ``path``, because middleware may
            # have changed only ``path``.
            raw = bytes(raw).partition(b"?")[0]
            decoded = unescaped(raw).decode("utf-8", "replace")  # servers decode it like this
            if decoded == path and not is_below:
                return raw
            if decoded in (path, root + below):
                return raw_path_below(root.encode(), raw) if root else raw
        return escaped_path(below.encode("utf-8", "surrogateescape"))

    def raw_headers(self) -> RawPairs:
        return self.scope["headers"]  # type: ignore[no-any-return]

    def header(self, name: str) -> str | None:
        wanted, found = name.encode(), None
        for key, value in self.scope["headers"]:
            if key == wanted:
                # Over HTTP/2, for example, a request may have several Cookie headers.
                if found is not None:
                    return Headers(self.scope["headers"]).get(name)
                found = value
        return None if found is None else found.decode("latin-1")

    def named_headers(self, names: HeaderNames) -> dict[str, str]:
        found, count, by_field = {}, 0, names.by_field
        for field, value in self.scope["headers"]:
            if field in by_field:
                found[by_field[field]] = value.decode("latin-1")
                count += 1
        if count > len(found):  # a header is repeated
            found = {name: self.header(name) or "" for name in found}
        return found

    def body_headers(self) -> tuple[str, str | None]:
        media_type, length = b"", None
        for name, value in self.scope["headers"]:
            if name in _OF_BODY:
                if name == b"content-length":
                    length = value if length is None or length == value else b"two that differ"
                else:  # a repeated Content-Type counts as a malformed one
                    media_type = b"," if media_type else value
        return media_type.decode("latin-1"), None if length is None else length.decode("latin-1")

    @property
    def query_string(self) -> str:  # type: ignore[override]
        return self.scope["query_string"].decode("latin-1")  # type: ignore[no-any-return]

    # -- the body ----------------------------------------------------------------------------------

    async def receive_piece(self) -> Piece:
        """Return the next piece of the body, and whether more may follow.

        Raises ``ClientDisconnect`` if the client has disconnected, and a 408 if the client sends
        nothing for ``body_timeout`` seconds, or sends too slowly. Raises a 503 if a thread would
        have to wait for the client while too many threads already do so.
        """
        if self.body.put_back is not None:
            return self.body.take_piece()
        if self._body_error is not None:
            raise self._body_error()
        steps = self._receive().__await__()
        try:
            waits_for = next(steps)
        except StopIteration as end:
            # Most pieces have arrived already. They need no time limit, and setting one would take
            # longer than everything else.
            message = end.value
        else:
            message = await self._late_message(steps, waits_for)
        if message["type"] != "http.request":
            self._body_error = _left
            raise self._body_error()
        return message.get("body") or b"", message.get("more_body", False)

    async def _late_message(self, steps: Steps[ServerMessage], waits_for: object) -> ServerMessage:
        """Return the server's next message, for which it has to wait."""
        self.in_flight = True
        tasks, settings = TASKS.get(), self.config.settings
        most = settings.body_total_timeout or inf
        left = most if self._time_left is None else self._time_left
        began = tasks.time()
        try:
            with nullcontext(True) if self.reader is None else self.reader.lend() as may_wait:
                limit = min(settings.body_timeout or inf, left) if may_wait else 0
                message = await resume(steps, waits_for, None if limit == inf else limit)
        except TimeoutError:
            self._body_error = _too_slow if may_wait else too_many_waiting
            raise self._body_error() from None
        finally:
            self.note_received()
        # Only the time spent waiting for the client counts, not the application's own time. Bytes
        # that arrive give the client more time, but never more than the limit. Otherwise, a client
        # could send slowly for hours after a fast start.
        seconds_given = len(message.get("body") or b"") / _MIN_RATE
        self._time_left = min(most, left - (tasks.time() - began) + seconds_given)
        return message

    async def receive_message(self) -> ServerMessage:
        """Return the next message of the body, for a mounted application. After the end of the
        body, return only a disconnect.
        """
        if self.body.put_back is not None:
            piece, more = self.body.take_piece()
            return {"type": "http.request", "body": piece, "more_body": more}
        self.in_flight = True
        try:
            message = await self._receive()
            if message["type"] == "http.request":
                if self._is_passed_on:  # the server repeats its last message; see ``disconnected``
                    await anyio.sleep_forever()
                self._is_passed_on = not message.get("more_body", False)
            return message
        finally:
            self.note_received()

    def perform(self, flow: Flow[Value]) -> Value:
        from anyio import from_thread

        async def run() -> Value:
            self.reader = slots_of(self.config.threads)
            try:
                return await perform(flow, self)
            finally:
                self.reader = None

        try:
            return from_thread.run(run)
        except RuntimeError as error:
            if "worker thread" not in str(error):
                raise
            tasks = lifespan_tasks(self.scope)
            if tasks is not None and not is_on_loop():  # in a thread that the handler has started
                return cast("Value", await_in_def(self, perform, (flow, self)))
            raise RuntimeError(
                'this handler runs on the event loop: instead of read(), write "await '
                'request.body()"; instead of chunks(), "async for chunk in request.stream()"; '
                'for parts, "async for part in request.parts()"'
            ) from None

    def perform_async(self, flow: Flow[Value]) -> Awaitable[Value]:
        self.has_begun = self.opens_more = self.is_special = True
        return perform(flow, self)

    def server_tasks(self) -> LoopTasks | None:
        return lifespan_tasks(self.scope)

    def abandon(self, steps: Iterable[Step]) -> Awaitable[None]:
        return perform_cleanup(self, steps)


_left = partial(ClientDisconnect, "the client disconnected before its request was complete")
_too_slow = partial(HTTPError, 408, "The request body stopped arriving before it was complete.")


class ASGIWebSocketExchange(ASGIExchange):
    """The exchange of a WebSocket's handshake.

    The WebSocket's messages are received by its ``Connection``, so this object has no ``receive``.
    """

    @property
    def scheme(self) -> str:
        return self.peer.scheme or PAGE_SCHEMES.get(
            scheme := str(self.scope.get("scheme", "ws")), scheme
        )

    @property
    def label(self) -> str:
        """The name of the WebSocket in log lines: ``WebSocket '/path'``, with its id if it has
        one.
        """
        return f"WebSocket {self.path!r} [{self.id}]" if self.id else f"WebSocket {self.path!r}"

    def opened_session(self) -> Session:
        session = super().opened_session()
        if self.answer.is_accepted:  # the session may have been opened after that
            session.saver = self.save_session
        return session

    async def save_session(self) -> None:
        """Save the session if it was changed."""
        await self.save_changes()

    async def save_changes(self) -> str | None:
        """Save the session if it was changed. Return the Set-Cookie value, or None."""
        session = self.answer.session
        if session is None or not session.changed:
            return None
        cookie = await perform(self.config.sessions.close(session, self), self)
        session.mark_saved()
        return cookie


async def receive_nothing() -> NoReturn:
    """Raise ``RuntimeError``. This is the ``receive`` of a WebSocket's exchange."""
    raise RuntimeError(
        "a WebSocket has no body: receive its messages, for example with ws.receive_text()"
    )
