"""Answers sent as ASGI messages: fixed bodies in two, streams chunk by chunk with the client watched.

A client that has gone is noticed in two ways, because servers differ: ``send`` raises ``OSError`` (ASGI 2.4), or it
does nothing and ``receive`` gives ``http.disconnect``. Once the head is sent, an error can only abort: it is logged
and raised into the server, which then cuts the connection; a broken stream never ends like a complete one.
"""

from __future__ import annotations

import logging
from typing import Any

from anyio import CancelScope, create_task_group, move_on_after
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from micropie.asgi.request import WATCHERS, ASGIRequest
from micropie.asgi.suspending import when_it_waits
from micropie.asgi.threads import in_thread
from micropie.errors import ClientDisconnect
from micropie.level import Level
from micropie.response import HTML, JSON, TEXT
from micropie.steps import AWAIT, Step
from micropie.streams import END, Stream, as_bytes, may_wait
from micropie.types import HeaderPairs, Send

logger = logging.getLogger("micropie")

# Seconds that a stream may take to clean up after its client has gone.
CLEAN_UP_WITHIN = 10.0

# Chunks between two looks at the event loop: where neither source nor server ever waits, nothing else would run.
BETWEEN_CHECKPOINTS = 16


class _ContentTypes(dict[str, tuple[bytes, bytes]]):
    """Content-Type headers, encoded once."""

    def __missing__(self, content_type: str) -> tuple[bytes, bytes]:
        return b"content-type", content_type.encode("latin-1")


class _Lengths(dict[int, tuple[bytes, bytes]]):
    """Content-Length headers, encoded once for the short answers that are the most frequent."""

    def __missing__(self, length: int) -> tuple[bytes, bytes]:
        header = (b"content-length", b"%d" % length)
        if length < 4096:  # this bounds the table
            self[length] = header
        return header


CONTENT_TYPES = _ContentTypes({text: (b"content-type", text.encode()) for text in (HTML, JSON, TEXT)})
LENGTHS = _Lengths()


def encode_headers(content_type: str | None, length: int | None, pairs: HeaderPairs) -> list[tuple[bytes, bytes]]:
    """An answer's headers as ASGI wants them: a new list of bytes, names in lower case."""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]
    if content_type is not None:
        headers.append(CONTENT_TYPES[content_type])
    if length is not None:
        headers.append(LENGTHS[length])
    return headers


async def send_streamed(start: dict[str, Any], stream: Stream, request: ASGIRequest, send: Send) -> None:
    """Send head and chunks, close the stream. A client that has gone ends it quietly: there is nobody to tell."""
    first = stream.first
    has_body = first is not END and request.method != "HEAD" and start["status"] not in (204, 304)
    try:
        try:
            await send(start)
            if has_body:
                await send({"type": "http.response.body", "body": first, "more_body": True})
        except OSError as error:
            raise ClientDisconnect("the client left") from error
        if has_body:
            source = stream.source if stream.is_async else _FromThreads(stream.source, request.level)
            state = request.scope.get("state")
            watchers = state.get(WATCHERS) if state else None
            if watchers is None:
                await _send_in_own_group(source, request, send)
            elif may_wait(source):
                await _send_until_gone(source, request, send, watchers)
            else:
                watch = _Watch(request, watchers)
                await when_it_waits(_send_all(source, send, watch), watch.begin)
        await _send_or_leave(send, {"type": "http.response.body", "body": b""})
    except ClientDisconnect:
        logger.debug("%s %r: the client left in mid-stream", request.method, request.path)
    except Exception:
        logger.exception("%s %r failed after its head was sent: aborted", request.method, request.path)
        raise
    finally:
        step = stream.close_step()
        if step is not None:
            await clean_up(step, request.level)


async def _send_in_own_group(source: Any, request: ASGIRequest, send: Send) -> None:
    """Under a server without lifespan, where there is no task group yet to watch from."""
    failure: Exception | None = None
    async with create_task_group() as own:
        try:
            await _send_until_gone(source, request, send, own)
        except Exception as error:  # raised below, or the group would wrap it
            failure = error
    if failure is not None:
        try:
            raise failure
        finally:
            del failure


async def _send_until_gone(source: Any, request: ASGIRequest, send: Send, watchers: TaskGroup) -> None:
    """Send a source that may have to wait, for ever perhaps, so that it is cancelled when the client has left."""
    watch = _Watch(request, watchers)
    with CancelScope() as watch.sending:
        await when_it_waits(_send_all(source, send, watch), watch.begin)
    if watch.sending.cancelled_caught:
        raise ClientDisconnect("the client left")


async def _send_all(source: Any, send: Send, watch: _Watch) -> None:
    looking = watch.looking
    try:
        async for chunk in source:
            if chunk.__class__ is not bytes or not chunk:
                chunk = as_bytes(chunk)
                if not chunk:  # to some servers an empty one is the end
                    continue
            if looking:
                await watch.look()
            try:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            except OSError as error:
                raise ClientDisconnect("the client left") from error
    finally:
        watch.end()


class _Watch:
    """Looks out for the client's leaving, from the moment that a stream has to wait: ``begin``.

    ``looking`` is not empty from then on: the cheapest thing to ask for each chunk. ``sending`` is the scope to
    cancel when the client has left; None for a source that never waits itself and asks soon enough.
    """

    __slots__ = ("_chunks", "_left", "_request", "_watchers", "_watching", "looking", "sending")

    def __init__(self, request: ASGIRequest, watchers: TaskGroup) -> None:
        self._request = request
        self._watchers = watchers
        self._watching: CancelScope | None = None
        self.looking: list[bool] = []
        self.sending: CancelScope | None = None

    def begin(self) -> None:
        """Start the task that looks out."""
        self._left, self._chunks = False, 0
        self.looking.append(True)
        self._watching = CancelScope()
        self._watchers.start_soon(self._run, self._watching)

    async def look(self) -> None:
        """Raise ``ClientDisconnect`` if the client has left; let the event loop look, too, every now and then."""
        self._chunks += 1
        if self._chunks % BETWEEN_CHECKPOINTS == 0:
            await checkpoint()
        if self._left:
            raise ClientDisconnect("the client left")

    def end(self) -> None:
        """End it."""
        if self._watching is not None:
            self._watching.cancel()

    async def _run(self, watching: CancelScope) -> None:
        with watching:
            try:
                await self._request.share_messages().disconnected()
            except Exception as error:  # raised nowhere: other requests' watchers run beside this one
                logger.debug("%s %r: receive() failed: %r", self._request.method, self._request.path, error)
            self._left = True
            if self.sending is not None:
                self.sending.cancel()


async def _send_or_leave(send: Send, message: dict[str, Any]) -> None:
    try:
        await send(message)
    except OSError as error:
        raise ClientDisconnect("the client left") from error


class _FromThreads:
    """A sync iterator as an async one, each chunk made in a worker thread."""

    def __init__(self, source: Any, level: Level) -> None:
        self._source = source
        self._level = level

    def __aiter__(self) -> _FromThreads:
        return self

    async def __anext__(self) -> Any:
        chunk = await in_thread(self._level.threads, next, self._source, END)
        if chunk is END:
            raise StopAsyncIteration
        return chunk


async def clean_up(step: Step, level: Level) -> None:
    """Close a stream's source, or what else a request that ends leaves open."""
    kind, close, _ = step
    with move_on_after(CLEAN_UP_WITHIN, shield=True):  # also when this task is being cancelled
        await (close() if kind is AWAIT else in_thread(level.threads, close))
