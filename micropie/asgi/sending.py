"""Answers sent as ASGI messages: fixed bodies in two, streams chunk by chunk with the client watched.

A client that has gone is noticed in two ways, because servers differ: ``send`` raises ``OSError`` (ASGI 2.4), or it
does nothing and ``receive`` gives ``http.disconnect``. Once the head is sent, an error can only abort: it is logged
and raised into the server, which then cuts the connection; a broken stream never ends like a complete one.
"""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from typing import Any

from anyio import CancelScope, create_task_group, move_on_after
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from micropie.asgi.inbox import Inbox
from micropie.asgi.request import WATCHERS, ASGIRequest
from micropie.asgi.suspending import CLEAN_UP_WITHIN, Interrupted, Interruption, interruptible
from micropie.asgi.threads import in_thread
from micropie.errors import ClientDisconnect
from micropie.level import Level
from micropie.response import HTML, JSON, TEXT
from micropie.steps import AWAIT
from micropie.streams import END, Stream, as_bytes
from micropie.types import HeaderPairs, Send

logger = logging.getLogger("micropie")

_CONTENT_TYPES = {text: (b"content-type", text.encode()) for text in (HTML, JSON, TEXT)}


def encode_headers(content_type: str | None, length: int | None, pairs: HeaderPairs) -> list[tuple[bytes, bytes]]:
    """An answer's headers as ASGI wants them: a new list of bytes, names in lower case."""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs] if pairs else []
    if content_type is not None:
        headers.append(_CONTENT_TYPES.get(content_type) or (b"content-type", content_type.encode("latin-1")))
    if length is not None:
        headers.append(_length_headers.get(length) or _length_header(length))
    return headers


_length_headers: dict[int, tuple[bytes, bytes]] = {}


def _length_header(length: int) -> tuple[bytes, bytes]:
    header = (b"content-length", b"%d" % length)
    if length < 4096:  # short answers are the most frequent; this bounds the table
        _length_headers[length] = header
    return header


async def send_streamed(start: dict[str, Any], stream: Stream, request: ASGIRequest, send: Send) -> None:
    """Send head and chunks, close the stream. A client that has gone ends it quietly: there is nobody to tell."""
    state = request.scope.get("state")
    watchers: TaskGroup | None = state.get(WATCHERS) if state else None
    watch = _Watch(request, watchers)
    pump = _pump(start, stream, request, send, watch)
    try:
        if request.method == "HEAD" or start["status"] in (204, 304):
            pump.close()
            await _send_or_leave(send, start)
            await _send_or_leave(send, {"type": "http.response.body", "body": b""})
        elif watchers is not None:
            await interruptible(pump, watch.begin)
        else:
            await _send_in_own_group(pump, watch)
    except (ClientDisconnect, Interrupted):
        logger.debug("%s %r: the client left in mid-stream", request.method, request.path)
    except Exception:
        logger.exception("%s %r failed after its head was sent: aborted", request.method, request.path)
        raise
    finally:
        watch.end()
        await close_stream(stream, request.level)


class _Watch:
    """Looks out for the client's leaving, from the moment that a stream has to wait: ``begin``."""

    __slots__ = ("_chunks", "_left", "_request", "_scope", "looking", "watchers")

    def __init__(self, request: ASGIRequest, watchers: TaskGroup | None) -> None:
        self.watchers = watchers
        self.looking: list[bool] = []  # not empty once it has begun: the cheapest thing to ask for each chunk
        self._left = False
        self._chunks = 0
        self._request = request
        self._scope: CancelScope | None = None

    def begin(self) -> Interruption:
        """Start a task that interrupts the stream when the client has gone."""
        assert self.watchers is not None  # noqa: S101 - given, or made before the stream begins
        interruption = Interruption()
        self.looking.append(True)
        self._scope = CancelScope()
        self.watchers.start_soon(self._run, self._request.share_messages(), self._scope, interruption)
        return interruption

    async def _run(self, inbox: Inbox, scope: CancelScope, interruption: Interruption) -> None:
        with scope:
            try:
                await inbox.disconnected()
            except Exception as error:  # raised nowhere: other requests' watchers run beside this one
                logger.debug("%s %r: receive() failed: %r", self._request.method, self._request.path, error)
            self._left = True
            interruption.interrupt()

    async def check(self) -> None:
        """Before each chunk of a stream that has waited: it may not have let itself be interrupted."""
        self._chunks += 1
        if self._chunks % 16 == 0:  # a source that never waits keeps the loop from seeing that the client has left
            await checkpoint()
        if self._left:
            raise ClientDisconnect("the client left")

    def end(self) -> None:
        """Stop looking."""
        if self._scope is not None:
            self._scope.cancel()


async def _send_in_own_group(pump: Coroutine[Any, Any, None], watch: _Watch) -> None:
    """Under a server without lifespan, where there is no task group to watch from."""
    failure: Exception | None = None
    async with create_task_group() as watch.watchers:
        try:
            await interruptible(pump, watch.begin)
        except Exception as error:  # raised below, or the group would wrap it
            failure = error
        watch.end()
    if failure is not None:
        try:
            raise failure
        finally:
            del failure


async def _send_or_leave(send: Send, message: dict[str, Any]) -> None:
    try:
        await send(message)
    except OSError as error:
        raise ClientDisconnect("the client left") from error


async def _pump(start: dict[str, Any], stream: Stream, request: ASGIRequest, send: Send, watch: _Watch) -> None:
    chunk: Any = stream.first
    try:
        await send(start)
        if chunk is not END:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except OSError as error:
        raise ClientDisconnect("the client left") from error
    source = stream.source if stream.is_async else _FromThreads(stream.source, request.level)
    looking = watch.looking
    async for chunk in source:
        if looking:
            await watch.check()
        if type(chunk) is not bytes or not chunk:
            chunk = as_bytes(chunk)
            if not chunk:
                continue
        try:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except OSError as error:
            raise ClientDisconnect("the client left") from error
    await _send_or_leave(send, {"type": "http.response.body", "body": b""})


class _FromThreads:
    """A sync iterator as an async one, each chunk made in a worker thread."""

    def __init__(self, source: Any, level: Level) -> None:
        self._source = source
        self._level = level

    def __aiter__(self) -> _FromThreads:
        return self

    async def __anext__(self) -> Any:
        chunk = await in_thread(self._level, next, self._source, END)
        if chunk is END:
            raise StopAsyncIteration
        return chunk


async def close_stream(stream: Stream, level: Level) -> None:
    """Close a stream's source if it is still open, also when this task is being cancelled."""
    step = stream.close_step()
    if step is not None:
        with move_on_after(CLEAN_UP_WITHIN, shield=True):
            kind, close, _ = step
            await (close() if kind is AWAIT else in_thread(level, close))
