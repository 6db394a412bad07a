"""A stream's chunks, got and sent in the request's own task while the client is watched.

A client that has gone is noticed in two ways, because servers differ: ``send`` raises ``OSError`` (ASGI 2.4), or it
does nothing and ``receive`` gives ``http.disconnect``. So a task looks out for that, from the moment that the stream
has to wait for something, be it its first chunk.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from anyio import CancelScope, create_task_group, move_on_after
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from micropie.asgi.coroutines import resume, when_it_waits
from micropie.errors import ClientDisconnect
from micropie.execution.loop import CLEAN_UP_WITHIN
from micropie.execution.scoped import ScopedIterator
from micropie.execution.threads import IO_THREADS, in_thread, interrupting
from micropie.http.streams import END, FileRange, Stream, as_bytes
from micropie.http.types import Send
from micropie.routing.config import AppConfig

if TYPE_CHECKING:
    from micropie.asgi.request import ASGIRequest

logger = logging.getLogger("micropie")

# Chunks between two looks at the event loop: where neither source nor server ever waits, nothing else would run.
BETWEEN_CHECKPOINTS = 16


async def next_chunk(stream: Stream, request: ASGIRequest) -> Any:
    """One chunk of a stream that may wait, before its head is sent. What it raises is the stream's end."""
    return await (await _sender_of(stream, request)).next()


def send_rest(stream: Stream, request: ASGIRequest, send: Send) -> Awaitable[None] | None:
    """Send what follows the first chunk; None if that is done, as neither source nor server had to wait.

    Raises what the source raises, and ``ClientDisconnect``; so does what is to be awaited.
    """
    watchers = request.watchers
    if stream.waits or watchers is None:
        return _send_waiting(stream, request, send)
    looking: list[DisconnectWatcher] = []
    sending = _send_chunks(stream.source, send, looking)
    try:  # by hand: it takes half as long as ``when_it_waits``
        waits_for = sending.send(None)
    except StopIteration:
        stream.is_open = False
        return None
    DisconnectWatcher(request, watchers, None, looking).begin()
    return resume(sending.__await__(), waits_for)


async def _send_waiting(stream: Stream, request: ASGIRequest, send: Send) -> None:
    await (await _sender_of(stream, request)).send_rest(send)


async def _sender_of(stream: Stream, request: ASGIRequest) -> StreamSender:
    """What gets the chunks of a stream; begun by the first who asks."""
    sender = stream.fetcher
    if not isinstance(sender, StreamSender):
        chunks = stream.source if stream.is_async else _FromThreads(stream, request.config)
        stream.fetcher = sender = await begin_sending(stream, chunks, request)
    return sender


async def close_stream(stream: Stream, config: AppConfig) -> None:
    """Close a stream that has not come to its end."""
    if isinstance(stream.fetcher, StreamSender):
        await stream.fetcher.close()
    elif stream.closer is not None:
        with move_on_after(CLEAN_UP_WITHIN, shield=True):  # also when this task is being cancelled
            await (stream.closer() if stream.is_async else in_thread(config.threads, stream.closer))


class DisconnectWatcher:
    """Looks out for the client's leaving from ``begin`` on; ``source`` is given up then.

    From then on it is in ``looking``: to see whether there is anything in a list is the cheapest question to ask for
    each chunk. ``source`` is None for one that never waits itself and asks soon enough.
    """

    __slots__ = ("_chunks", "_left", "_looking", "_request", "_source", "_watchers", "_watching")

    def __init__(
        self, request: ASGIRequest, watchers: TaskGroup, source: ScopedIterator | None, looking: list[DisconnectWatcher]
    ) -> None:
        self._request = request
        self._watchers = watchers
        self._source = source
        self._looking = looking
        self._watching = CancelScope()
        self._left, self._chunks = False, 0

    def begin(self) -> None:
        """Start the task that looks out, unless that has been done."""
        if not self._looking:
            self._looking.append(self)
            self._watchers.start_soon(self._run)

    async def look(self) -> None:
        """Raise ``ClientDisconnect`` if the client has left; let the event loop look, too, every now and then."""
        self._chunks += 1
        if self._chunks % BETWEEN_CHECKPOINTS == 0:
            await checkpoint()
        if self._left:
            raise ClientDisconnect("the client left")

    def end(self) -> None:
        """End it."""
        self._looking.clear()
        self._watching.cancel()

    async def _run(self) -> None:
        with self._watching:
            try:
                await self._request.share_messages().disconnected()
            except Exception as error:  # raised nowhere: other requests' watchers run beside this one
                logger.debug("%s: receive() failed: %r", self._request.label, error)
            self._left = True
            if self._source is not None and not self._watching.cancel_called:  # else it is closing: ``end`` came first
                self._source.cancel()


async def begin_sending(stream: Stream, chunks: Any, request: ASGIRequest) -> StreamSender:
    """A pump, ready before the first chunk is asked for."""
    own = None
    watchers = request.watchers
    if watchers is None:  # a server without lifespan
        own = watchers = create_task_group()
        await own.__aenter__()
    return StreamSender(stream, chunks, request, watchers, own)


class StreamSender:
    """Advances a source that may have to wait, for ever perhaps, and closes it. All in one task.

    ``next`` and ``send_rest`` leave nothing behind when they raise; ``close`` is for a source that is not at its end.
    """

    __slots__ = ("_looking", "_own", "_source", "_stream", "_watch")

    def __init__(
        self, stream: Stream, chunks: Any, request: ASGIRequest, watchers: TaskGroup, own: TaskGroup | None
    ) -> None:
        self._stream = stream
        self._own = own
        self._source = ScopedIterator(chunks)
        self._looking: list[DisconnectWatcher] = []
        self._watch = DisconnectWatcher(request, watchers, self._source, self._looking)
        self._source.enter()

    async def next(self) -> Any:
        """One chunk."""
        try:
            return await when_it_waits(self._source.chunks.__anext__(), self._watch.begin)
        except BaseException as error:
            failure = error
        try:
            await self._finish(failure, self._stream.claim_close())
        finally:
            del failure

    async def send_rest(self, send: Send) -> None:
        """Send all chunks that are left."""
        failure = None
        try:
            await when_it_waits(_send_chunks(self._source.chunks, send, self._looking), self._watch.begin)
        except BaseException as error:
            failure = error
        try:
            await self._finish(failure, self._stream.claim_close())
        finally:
            del failure

    async def close(self) -> None:
        """Close the source."""
        await self._finish(None, is_open=True)

    async def _finish(self, failure: BaseException | None, is_open: bool) -> None:
        """Close the source if it is open, leave what was entered, raise what it ended by."""
        self._stream.fetcher = None  # or the request would be a cycle
        self._watch.end()  # now, or it would give up a source that is closing
        try:
            failure = await self._source.finish(failure, is_open)
        finally:
            if self._own is not None:
                await self._own.__aexit__(None, None, None)
        try:
            if failure is not None:
                raise failure
        finally:
            del failure


async def _send_chunks(chunks: AsyncIterator[Any], send: Send, looking: list[DisconnectWatcher]) -> None:
    """Send each chunk when the one before it is on its way."""
    try:
        if looking:
            await looking[0].look()
        async for chunk in chunks:
            if chunk.__class__ is not bytes or not chunk:
                chunk = as_bytes(chunk)
                if not chunk:  # to some servers an empty one is the end
                    continue
            try:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            except OSError as error:
                raise ClientDisconnect("the client left") from error
            if looking:
                await looking[0].look()
    finally:
        if looking:
            looking[0].end()


class _FromThreads:
    """A sync iterator as an async one, each chunk made in a worker thread, all in one context.

    Which a cancellation waits for, as a thread can't be interrupted, unless its stream says how.
    """

    ag_running = False  # not to be cancelled while there is time

    def __init__(self, stream: Stream, config: AppConfig) -> None:
        self._stream = stream
        self._threads = IO_THREADS if type(stream.source) is FileRange else config.threads
        self._interrupt = stream.interrupt
        self._run = copy_context().run

    def __aiter__(self) -> _FromThreads:
        return self

    async def __anext__(self) -> Any:
        if self._interrupt is None:
            chunk = await in_thread(self._threads, self._run, next, self._stream.source, END)
        else:  # a thread that is abandoned keeps its context; these run no code of the author's in there
            with interrupting(self._interrupt):
                chunk = await in_thread(self._threads, next, self._stream.source, END, abandon_on_cancel=True)
        if chunk is END:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        if self._stream.closer is not None:
            await in_thread(self._threads, self._run, self._stream.closer)
