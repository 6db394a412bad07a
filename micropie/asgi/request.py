"""A request that came as an ASGI scope: https://asgi.readthedocs.io/en/latest/specs/www.html"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar
from urllib.parse import unquote_to_bytes

import anyio
from anyio import from_thread

from micropie.asgi.performing import perform
from micropie.asgi.suspending import when_it_waits
from micropie.errors import ClientDisconnect, HTTPError
from micropie.level import Level
from micropie.request import Address, Request
from micropie.steps import Flow
from micropie.types import Message, Receive, Scope

Value = TypeVar("Value")


class ASGIRequest(Request):
    """See ``Request``. The scope is the server's own, not a copy."""

    scope: Scope = {}  # type: ignore[misc]
    _ended = False

    def __init__(self, scope: Scope, receive: Receive, level: Level) -> None:
        self.scope = scope
        self.level = level
        self._receive = receive
        self.method = scope["method"]
        self.path = path = scope["path"]
        raw = scope.get("raw_path")
        if scope.get("root_path"):
            self.path = self._below_mount(path)
        elif raw is None or b"%" not in raw:
            self.literal_path = path

    @property
    def scheme(self) -> str:  # type: ignore[override]
        return str(self.scope.get("scheme", "http"))

    @property
    def root_path(self) -> str:  # type: ignore[override]
        return str(self.scope.get("root_path", "")).rstrip("/")

    @property
    def client(self) -> Address | None:  # type: ignore[override]
        client = self.scope.get("client")
        return Address(client[0], client[1]) if client else None

    def _below_mount(self, path: str) -> str:
        # Servers that take the prefix from a setting pass a path without it: then there is nothing to take off.
        root = self.root_path
        return path[len(root) :] or "/" if (path + "/").startswith(root + "/") else path

    def _raw_path(self) -> bytes:
        raw = self.scope.get("raw_path")
        if raw is None:
            # Not every server has it; the decoded path is then all there is, "%" and "?" meant as they stand.
            return self.path.encode("utf-8", "surrogateescape").replace(b"%", b"%25")
        raw = bytes(raw).partition(b"?")[0]
        depth = self.root_path.count("/")
        if not depth:
            return raw
        mount, below = raw.split(b"/")[: depth + 1], raw.split(b"/")[depth + 1 :]
        is_below = unquote_to_bytes(b"/".join(mount)) == self.root_path.encode()
        return b"/" + b"/".join(below) if is_below else raw

    def _header_pairs(self) -> Iterable[tuple[str, str]]:
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self.scope["headers"]]

    def _header(self, name: str) -> str | None:
        wanted = name.encode()
        for key, value in self.scope["headers"]:
            if key == wanted:
                return str(value, "latin-1")
        return None

    def _content_lengths(self) -> list[str]:
        return [str(value, "latin-1") for name, value in self.scope["headers"] if name == b"content-length"]

    def _query_bytes(self) -> bytes:
        return bytes(self.scope["query_string"])

    def _server_name(self) -> str:
        name, port = self.scope.get("server") or ("localhost", None)
        return f"{name}:{port}" if port else str(name)

    # -- the body ------------------------------------------------------------------------------------------------

    async def receive_piece(self) -> bytes:
        """The next piece of the body, ``b""`` at its end. Raises ``ClientDisconnect``, 408 after silence."""
        piece = b""
        while not piece and not self._ended:
            with anyio.CancelScope() as scope:
                message = await when_it_waits(self._receive(), lambda scope=scope: self._limit(scope))
            if scope.cancelled_caught:
                self._ended = True
                raise HTTPError(408, "The body stopped arriving.")
            piece = self._piece_of(message)
        return piece

    def _limit(self, scope: anyio.CancelScope) -> None:
        timeout = self.level.settings.body_timeout
        if timeout is not None:
            scope.deadline = anyio.current_time() + timeout

    def _piece_of(self, message: Message) -> bytes:
        if message["type"] != "http.request":
            self._ended = True
            raise ClientDisconnect("the client left before its request was complete")
        self._ended = not message.get("more_body", False)
        return message.get("body") or b""

    def _perform(self, flow: Flow[Value]) -> Value:
        try:
            return from_thread.run(perform, flow, self.level, self.receive_piece)
        except RuntimeError as error:
            if "worker thread" not in str(error):
                raise
            raise RuntimeError("this handler runs on the event loop: write await request.body() for read(), "
                               "async for chunk in request.stream() for chunks()") from None

    def _perform_async(self, flow: Flow[Value]) -> Awaitable[Value]:
        return perform(flow, self.level, self.receive_piece)

    async def _iterate_async(self, next_piece: Callable[[], Flow[bytes]]) -> AsyncIterator[bytes]:
        while piece := await self._perform_async(next_piece()):
            yield piece
