"""Getting a stream's chunks and sending them, in the request's own task, while the client is watched.

A client that leaves is noticed in two ways, because servers differ: ``send`` raises ``OSError`` (ASGI 2.4), or it does
nothing and ``receive`` gives ``http.disconnect``. So a second task waits for that message, from the moment that the
source or the server has had to wait for a moment.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from typing import TYPE_CHECKING

from anyio import CancelScope, move_on_after
from anyio.lowlevel import checkpoint

from micropie.asgi.coroutines import resume
from micropie.asgi.early_head import EarlyHeadSender
from micropie.asgi.heart_beats import HeartBeats
from micropie.errors import ClientDisconnect
from micropie.execution.loop import CLEAN_UP_WITHIN
from micropie.execution.placement import Threads
from micropie.execution.scoped import ScopedIterator
from micropie.execution.shutdown import ShutdownSignal, stream_shutdown
from micropie.execution.threaded import ThreadedIterator
from micropie.execution.threads import IO_THREADS, in_thread, interrupting
from micropie.http.early_head import ASK_AFTER, EarlyHead
from micropie.http.streams import END, FileRange, Items, Stream, as_bytes
from micropie.http.types import Send
from micropie.routing.config import AppConfig

if TYPE_CHECKING:
    from micropie.asgi.request import ASGIRequest
    from micropie.execution.wake import Deadline

logger = logging.getLogger("micropie")

# To start and end the task that watches takes 40 µs, as long as many a whole stream. So it is started when a stream has
# gone on for so many seconds or chunks. trio has no timer without a task: there it is started at once.
WATCH_AFTER = ASK_AFTER
CHUNKS_PER_CHECK = 64


def next_chunk(stream: Stream, request: ASGIRequest, early: EarlyHead) -> Awaitable[object]:
    """Return one chunk of a stream that may wait. Raises what ends the stream, unless its head was sent meanwhile."""
    return _sender_of(stream, request).next(early)


def send_rest(stream: Stream, request: ASGIRequest, send: Send) -> Awaitable[None] | None:
    """Send what follows the first chunk; None if that is done, because neither source nor server had to wait.

    Raises what the source raises, and ``ClientDisconnect``; so does the awaitable.
    """
    if stream.waits:
        return _sender_of(stream, request).send_rest(send)
    watcher = DisconnectWatcher(request)
    sending = _send_each(stream.source, stream.items, send, watcher, None)
    try:  # by hand: it takes half as long as ``when_it_waits``
        waits_for = sending.send(None)
    except StopIteration:
        return None
    watcher.begin()
    return resume(sending.__await__(), waits_for)


def _sender_of(stream: Stream, request: ASGIRequest) -> StreamSender:
    """Return the stream's ``StreamSender``; the first call makes it."""
    sender = stream.fetcher
    if not isinstance(sender, StreamSender):
        stream.fetcher = sender = StreamSender(stream, request)
    return sender


async def close_stream(stream: Stream, config: AppConfig) -> None:
    """Close a stream that has not come to its end."""
    if isinstance(stream.fetcher, StreamSender):
        await stream.fetcher.close()
    elif stream.closer is not None:
        with move_on_after(CLEAN_UP_WITHIN, shield=True):  # also when this task is being cancelled
            await (stream.closer() if stream.is_async else in_thread(config.threads, stream.closer))


class DisconnectWatcher:
    """Watches for the client's disconnect soon after ``begin``, and cancels ``source`` then.

    ``source`` is what is being advanced, or None: if it never waits, and while its task does something else, as a
    cancellation would arrive there. ``allowance``: how many chunks may be sent before the next ``check``. ``head``:
    what ``early`` sends if the first chunk takes longer than ``WATCH_AFTER``. ``beats``: the heart-beats of events.
    ``signal``: what ends the subscriptions of a stream of events, also one that a thread of the source waits for.
    """

    __slots__ = (
        "_delayed_start",
        "_has_left",
        "_has_started",
        "_is_over",
        "_request",
        "_scope",
        "allowance",
        "beats",
        "early",
        "head",
        "signal",
        "source",
    )

    def __init__(self, request: ASGIRequest) -> None:
        self._request = request
        self.source: ScopedIterator | None = None
        self._delayed_start: Deadline | None = None  # until ``begin``
        self._scope: CancelScope | None = None  # of the task, once it runs
        self._has_started = self._has_left = self._is_over = False
        self.head: EarlyHead | None = None
        self.early: EarlyHeadSender | None = None
        self.beats: HeartBeats | None = None
        self.signal: ShutdownSignal | None = None
        self.allowance = CHUNKS_PER_CHECK

    def begin(self) -> None:
        """Watch, but not before ``WATCH_AFTER``: source or server has to wait."""
        self._delayed_start = self._request.watchers.delayed.add(self._start)

    @property
    def scope_type(self) -> type[CancelScope]:
        """This loop's class of cancel scopes."""
        return self._request.watchers.scope_type

    async def check(self) -> None:
        """Raise ``ClientDisconnect`` if the client has left. Let the event loop do something else, and find out."""
        if self._delayed_start is not None:
            self._start()
        await checkpoint()
        if self._has_left:
            raise ClientDisconnect("the client left")
        self.allowance = CHUNKS_PER_CHECK

    def end(self) -> None:
        """Watch no longer."""
        self._is_over = True
        if self._delayed_start is not None:
            self._delayed_start.cancel()
        if self.early is not None:
            self.early.prevent()
        if self.beats is not None:
            self.beats.stop()
        if self._scope is not None:
            self._scope.cancel()

    def _start(self) -> None:
        """Start the task that waits for the disconnect, once."""
        if not self._has_started and not self._is_over:
            self._has_started = True
            with suppress(RuntimeError):  # the lifespan, and its task group, has ended
                tasks = self._request.watchers.tasks
                tasks.start_soon(self._run)
                if self.head is not None and self.source is not None:
                    self.early = EarlyHeadSender(self.head, self._request, self.source, self.beats)
                    tasks.start_soon(self.early.run)
                elif self.beats is not None:
                    self.beats.has_started = True
                    tasks.start_soon(self.beats.run)

    async def _run(self) -> None:
        if self._is_over:
            return
        with CancelScope() as self._scope:
            try:
                await self._request.share_messages().disconnected()
            except Exception as error:  # not raised: other requests' watchers run in the same task group
                logger.debug("%s: receive() failed: %r", self._request.label, error)
            self.leave()

    def leave(self) -> None:
        """End the stream: what is left of it is not wanted."""
        self._has_left = True
        self.allowance = 0
        if self.signal is not None:
            self.signal.end()
        if self.source is not None and not self._is_over:  # else it is being closed
            self.source.cancel()

    def keep_beating(self) -> None:
        """Send heart-beats from now on; the head is sent."""
        if self.beats is not None:
            self.beats.resume()
            if self._has_started and not self.beats.has_started:
                self.beats.has_started = True
                with suppress(RuntimeError):  # as above
                    self._request.watchers.tasks.start_soon(self.beats.run)


class StreamSender:
    """Advances a source that may have to wait, perhaps for ever, sends its chunks and closes it. All in one task.

    ``next`` and ``send_rest`` close the source when they raise. ``close`` is for one that is not at its end.
    """

    __slots__ = ("_forget", "_has_entered", "_is_shut_down", "_source", "_stream", "_token", "_watcher")

    def __init__(self, stream: Stream, request: ASGIRequest) -> None:
        self._stream = stream
        if not stream.is_async:
            stream.source, stream.is_async = _in_threads(stream, request.config), True
        elif request.method != "HEAD":  # which has no heart-beats, and its head must not wait
            stream.take_items()
        self._source = ScopedIterator(stream.source)
        self._watcher = DisconnectWatcher(request)
        self._has_entered = self._is_shut_down = False
        if stream.items is not None and stream.items.heartbeat is not None:
            self._watcher.beats = HeartBeats(stream.items.heartbeat, request, self._source)

    async def next(self, head: EarlyHead) -> object:
        """Return one chunk. If the head was sent meanwhile, ``send_rest`` raises what has ended the source."""
        self._watcher.head = head
        self._watcher.source = self._source
        if not self._has_entered:
            self._enter()
        try:
            chunk = await self._source.chunks.__anext__()
            if self._stream.items is not None:
                chunk = self._stream.items.encode(chunk)
            early = self._watcher.early
            if early is not None and early.has_begun:
                await early.wait()
            if self._watcher.beats is not None:
                await self._watcher.beats.pause()
            return chunk  # noqa: TRY300 - no ``else``: a wait for the head can fail, too
        except BaseException as error:
            failure = error
        finally:
            self._watcher.source = None
        try:
            failure = await self._finish(failure, self._stream.claim_close()) or StopAsyncIteration()
            early = self._watcher.early
            if early is not None and early.has_begun and isinstance(failure, Exception):
                await early.wait()
                if early.is_sent and not isinstance(failure, StopAsyncIteration):
                    self._stream.source = _Failed(failure)
                    return b""
            elif early is not None:
                early.cancel()
            raise failure
        finally:
            del failure

    def send_rest(self, send: Send) -> Awaitable[None]:
        """Send what follows the first chunk, and close the source."""
        if not self._has_entered:
            self._enter()
        self._watcher.head = None
        self._watcher.source = self._source
        self._watcher.keep_beating()
        send = send if self._watcher.beats is None else self._watcher.beats.send
        return _send_each(self._source.chunks, self._stream.items, send, self._watcher, self)

    async def finish(self, failure: BaseException | None) -> None:
        """Close the source, unless that is claimed. Raise ``failure``, which ended the sending, or that of closing."""
        try:
            failure = await self._finish(failure, self._stream.claim_close())
            if failure is not None:
                raise failure
        finally:
            del failure

    async def close(self) -> None:
        """Close the source, and leave what was entered. Raises what the clean-up raises."""
        failure = await self._finish(None, True)
        try:
            if failure is not None:
                raise failure
        finally:
            del failure

    def _enter(self) -> None:
        """Enter what encloses the source, before its first chunk."""
        self._source.enter(self._watcher.scope_type)
        self._watcher.begin()
        self._has_entered = True
        if self._stream.items is not None:
            self._forget = self._stream.items.at_shutdown(self._shut_down)
            self._watcher.signal = ShutdownSignal()
            self._token = stream_shutdown.set(self._watcher.signal)

    def _shut_down(self) -> None:
        """End the stream, as if its source had ended: the server is told to end."""
        self._is_shut_down = True
        self._watcher.leave()

    async def _finish(self, failure: BaseException | None, is_open: bool) -> BaseException | None:
        """Close the source if it is open, and leave what was entered. Return what is to be raised."""
        self._stream.fetcher = None  # or the request would be a cycle
        self._watcher.end()  # first, or it would cancel a source that is being closed
        if self._watcher.signal is not None:
            self._forget()
            self._watcher.signal.end()
            stream_shutdown.reset(self._token)
            self._watcher.signal = None
        try:
            failure = await self._source.finish(failure, is_open)
        except BaseException as error:  # a cancellation, which wins over a time-out of the source
            failure = error
        return None if self._is_shut_down and isinstance(failure, ClientDisconnect) else failure


async def _send_each(  # noqa: C901 - a call for each chunk would take as long as all else here
    chunks: AsyncIterator[object],
    items: Items | None,
    send: Send,
    watcher: DisconnectWatcher,
    sender: StreamSender | None,
) -> None:
    """Send each chunk when the one before it is on its way. ``sender`` finishes what may have to wait.

    ``items``: what encodes the chunks of a stream of events.
    """
    failure: BaseException | None = None
    try:
        if watcher.allowance <= 0:
            await watcher.check()
        async for chunk in chunks:  # 0.06 µs a chunk faster than a loop that begins with the first one
            if items is not None:
                chunk = items.encode(chunk)
            elif chunk.__class__ is not bytes:
                chunk = chunk.encode() if chunk.__class__ is str else as_bytes(chunk)  # text is frequent: 0.1 µs less
            if not chunk:  # some servers take an empty one for the end
                continue
            try:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            except OSError as error:
                raise ClientDisconnect("the client left") from error
            watcher.allowance = allowance = watcher.allowance - 1
            if allowance <= 0:
                await watcher.check()
        if watcher.beats is not None:
            await watcher.beats.pause()
    except StopAsyncIteration:  # of ``items``
        pass
    except BaseException as error:
        if sender is None:
            raise
        failure = error
    finally:
        watcher.end()
    # Here and not around this coroutine, which each wait would pass: 3 µs in a stream of 50 chunks.
    try:
        if sender is not None:
            await sender.finish(failure)
    finally:
        del failure


def _in_threads(stream: Stream, config: AppConfig) -> AsyncIterator[object]:
    """Return the chunks of a sync stream as an async iterator."""
    if type(stream.source) is FileRange:
        return _OneByOne(stream, IO_THREADS)
    if stream.interrupt is not None:
        return _OneByOne(stream, config.threads)
    return ThreadedIterator(stream.source, as_bytes, config.threads)


class _Failed(AsyncIterator[object]):
    """The rest of a stream that has failed before its first chunk, and whose head was sent early."""

    def __init__(self, failure: Exception) -> None:
        self._failure: Exception | None = failure

    async def __anext__(self) -> object:
        failure, self._failure = self._failure, None
        try:
            raise failure or StopAsyncIteration
        finally:
            del failure


class _OneByOne(AsyncIterator[object]):
    """The chunks of a file, which are large, or of a process, which is asked for one at a time.

    A thread can't be interrupted, so a cancellation waits for the chunk unless the stream has an ``interrupt``.
    """

    ag_running = False  # makes ``ScopedIterator.cancel`` wait for the chunk

    def __init__(self, stream: Stream, threads: Threads) -> None:
        self._source = stream.source
        self._interrupt = stream.interrupt
        self._close = stream.closer
        self._threads = threads

    async def __anext__(self) -> object:
        if self._interrupt is None:
            chunk = await in_thread(self._threads, next, self._source, END)
        else:
            with interrupting(self._interrupt):
                chunk = await in_thread(self._threads, next, self._source, END, abandon_on_cancel=True)
        if chunk is END:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        if self._close is not None:
            await in_thread(self._threads, self._close)
