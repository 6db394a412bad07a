"""Streams under ASGI: one task gets a stream's chunks and sends them, and a ``Companion`` works beside it.

The request's task is inside of the source while it waits for a chunk, and can't leave it: the source's scopes belong to
that task (``streams/scoped.py``). So the companion does in tasks of its own whatever must not wait for a chunk:

- It watches the client. A client that leaves is noticed in two ways, because servers differ: ``send`` raises
  ``OSError`` (ASGI 2.4), or it does nothing and ``receive`` gives ``http.disconnect``.
- It sends the head, if the first chunk takes long, and the heart-beats of silent events.

The companion and the request's task never send at the same time, and the companion cancels nothing but the source, and
that only when its chunks are not wanted any more. Its tasks are two: a task that waits in ``receive`` could send a
heart-beat only if it cancelled ``receive``, and a piece of the body might be lost.

Once the head is sent, an error can only abort: it is logged and raised into the server, which then cuts the
connection; a broken stream never ends as a complete one does.

A whole file is sent by the server itself if it can (the extension ``http.response.pathsend``), without a byte of it
passing through Python. The server opens the file anew, so it sends what is at that path by then, under a head that was
made a moment before: if the file was replaced by one of another length, the server cuts it off or finds it too short
for its Content-Length. https://asgi.readthedocs.io/en/latest/extensions.html
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Token
from functools import partial
from typing import Any, Protocol, TypeVar, cast

from anyio import CancelScope, Event, Lock, move_on_after, sleep
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from micropie.asgi.headers import encode_headers
from micropie.errors import ClientDisconnect
from micropie.execution import (
    CLEAN_UP_WITHIN,
    DEADLINES,
    TASKS,
    WAKERS,
    Deadline,
    DelayedCalls,
    Flow,
    LoopLocal,
    LoopTasks,
    ShutdownSignal,
    in_thread,
    stream_shutdown,
)
from micropie.http import ChunkedBody, Config, Message, Receive, Scope, Send
from micropie.routing import AppConfig, config_of
from micropie.streams import ASK_AFTER, END, EarlyHead, LoopSource, ScopedSource, Stream, ThreadSource, in_threads

logger = logging.getLogger("micropie")

Value = TypeVar("Value")

PATHSEND = "http.response.pathsend"

# The companion's tasks cost as much as many a whole stream. So they are started when a stream has gone on for so many
# seconds or chunks. trio has no timer without a task: there they are started at once.
WATCH_AFTER = ASK_AFTER
CHUNKS_PER_CHECK = 64

# The key in ``scope["state"]`` of the ``Watchers`` that the lifespan made for this worker.
WATCHERS = "micropie.watchers"


class Watchers:
    """Starts the tasks that watch clients. Servers copy the state, so it may outlive the lifespan: see ``has_ended``.

    ``tasks`` starts them at once, ``delayed`` after ``WATCH_AFTER``. ``background`` are the tasks of
    ``after_response``, for which the lifespan waits; None if there is no lifespan. ``scope_type`` is this loop's class
    of cancel scopes, ``time`` its clock: anyio takes a while to find them out.
    """

    __slots__ = ("background", "delayed", "has_ended", "scope_type", "tasks", "time")

    def __init__(self, tasks: TaskGroup | LoopTasks, background: LoopTasks | None = None) -> None:
        self.tasks = tasks
        self.background = background
        self.delayed = DelayedCalls(WATCH_AFTER)
        self.has_ended = False
        self.scope_type = type(CancelScope())
        self.time: Callable[[], float] = DEADLINES.get().time


# For servers without lifespan.
LONE_WATCHERS = LoopLocal(lambda: Watchers(TASKS.get()))


def watchers_of(scope: Scope) -> Watchers | None:
    """Return what the lifespan has made for watchers; None if it has ended, and on a server without lifespan."""
    state = scope.get("state")
    held: Watchers | None = state.get(WATCHERS) if state else None
    return None if held is None or held.has_ended else held


def watchers_for(scope: Scope) -> Watchers:
    """Return the lifespan's watchers or, without one, the event loop's."""
    return watchers_of(scope) or LONE_WATCHERS.get()


class SharedReceive:
    """One request's messages for two readers. The server's ``receive`` must never be called twice at a time.

    The handler may read the body while it streams its answer, and a companion waits for ``http.disconnect``. The
    companion is at most one piece of the body ahead, so the client still has to wait.

    ``in_flight`` is an event that is set when a pending call of ``receive`` returns; None if there is no such call.
    """

    def __init__(self, receive: Receive, in_flight: Event | None) -> None:
        self._receive = receive
        self._in_flight = in_flight
        self._lock = Lock()
        self._messages: list[Message] = []
        self._taken = Event()

    async def next(self) -> Message:
        """Return the next message. For the reader of the body."""
        if not self._messages:
            async with self._lock:
                if not self._messages:
                    return await self._receive()
        self._taken.set()
        return self._messages.pop(0)

    async def disconnected(self) -> None:
        """Return when the client has left. Messages that come before that are left for the reader."""
        if self._in_flight is not None:
            await self._in_flight.wait()
        while True:
            async with self._lock:
                message = await self._receive()
                self._messages.append(message)
                self._taken = taken = Event()
            if message["type"] == "http.disconnect":
                return
            if message.get("more_body", False):
                await taken.wait()


class StreamedRequest(Protocol):
    """The part of an ``ASGIExchange`` that its stream uses."""

    method: str
    scope: Scope
    config: Config
    broken_off: bool
    send: Send | None

    @property
    def label(self) -> str:
        """The request, for the log."""

    def share_messages(self) -> SharedReceive:
        """Share ``receive`` with a companion."""

    def log_failure(self, text: str, error: BaseException, /) -> None:
        """Log an error with its traceback."""

    def perform_async(self, flow: Flow[Value]) -> Awaitable[Value]:
        """Perform a flow."""


# -- the request's task ------------------------------------------------------------------------------------------------


async def send_streamed(head: Message, body: ChunkedBody, exchange: StreamedRequest, send: Send) -> None:
    """Send head and chunks, and close the stream. That a client left is noted in the debug log, and not raised."""
    stream = cast("Stream", body)
    has_body = stream.first is not END and exchange.method != "HEAD" and head["status"] not in (204, 304)
    file = stream.source.file
    if file is not None and (file.file is None or not file.is_whole or PATHSEND not in _extensions(exchange.scope)):
        file = None
    try:
        try:
            if not stream.is_head_sent:
                await send(head)
            if has_body and file is not None:
                stream.first = END  # the chunk that was read ahead is not needed
                await send({"type": PATHSEND, "path": file.path})
                return
            if has_body:
                await send({"type": "http.response.body", "body": stream.first, "more_body": True})
        except OSError as error:
            raise ClientDisconnect("the client left") from error
        if has_body:
            await _sender_of(stream, exchange).send_rest(send)
        await _send_or_leave(send, {"type": "http.response.body", "body": b""})
    except ClientDisconnect:
        exchange.broken_off = True
        logger.debug("%s: the client left in mid-stream", exchange.label)
    except Exception as error:
        exchange.log_failure(f"{exchange.label} failed after its head was sent: aborted", error)
        raise
    finally:
        if stream.claim_close():
            await close_stream(stream, config_of(exchange))


def _extensions(scope: Scope) -> Any:
    return scope.get("extensions") or ()


async def _send_or_leave(send: Send, message: Message) -> None:
    """Send a message. Raises ``ClientDisconnect`` if the server says by an ``OSError`` that the client has left."""
    try:
        await send(message)
    except OSError as error:
        raise ClientDisconnect("the client left") from error


def next_chunk(stream: Stream, exchange: StreamedRequest, early: EarlyHead) -> Awaitable[bytes]:
    """Return one chunk of a stream. Raises what ends the stream, unless its head was sent meanwhile."""
    return _sender_of(stream, exchange).next(early)


async def close_stream(stream: Stream, config: AppConfig) -> None:
    """Close a stream that has not come to its end."""
    source = stream.source
    if isinstance(stream.fetcher, StreamSender):
        await stream.fetcher.close()
        return
    with move_on_after(CLEAN_UP_WITHIN, shield=True):  # also when this task is being cancelled
        if isinstance(source, LoopSource):
            closing = source.close()
            if closing is not None:
                await closing
        else:
            await in_thread(config.threads, cast("ThreadSource", source).close)


def _sender_of(stream: Stream, exchange: StreamedRequest) -> StreamSender:
    """Return the stream's ``StreamSender``; the first call makes it."""
    sender = stream.fetcher
    if not isinstance(sender, StreamSender):
        stream.fetcher = sender = StreamSender(stream, exchange)
    return sender


class StreamSender:
    """Advances a source, sends its chunks and closes it. All in one task.

    ``next`` and ``send_rest`` close the source when they raise. ``close`` is for one that is not at its end.
    """

    __slots__ = (
        "_companion",
        "_failure",
        "_forget",
        "_has_entered",
        "_scoped",
        "_stream",
        "_token",
        "_watchers",
    )

    def __init__(self, stream: Stream, exchange: StreamedRequest) -> None:
        source = stream.source
        if isinstance(source, ThreadSource):
            stream.source = source = in_threads(source, config_of(exchange).threads)
        self._stream = stream
        self._scoped = ScopedSource(cast("LoopSource", source))
        self._watchers = watchers = watchers_for(exchange.scope)
        self._companion = Companion(exchange, self._scoped, watchers)
        self._has_entered = False
        self._failure: Exception | None = None  # of a source that failed after its early head

    async def next(self, head: EarlyHead) -> bytes:
        """Return one chunk. If the head was sent meanwhile, ``send_rest`` raises what has ended the source."""
        companion = self._companion
        companion.head = head
        if not self._has_entered:
            self._enter()
        companion.is_advancing = True
        try:
            chunk = await self._scoped.source.__anext__()
            await companion.pause()
            return chunk  # noqa: TRY300 - no ``else``: a wait for the head can fail, too
        except BaseException as error:
            failure = error
        finally:
            companion.is_advancing = False
        try:
            failure = await self._finish(failure, self._stream.claim_close()) or StopAsyncIteration()
            if not isinstance(failure, Exception):
                companion.cancel()  # also a head that is being sent, because nobody gets the answer
            elif companion.has_begun_head:
                await companion.pause()
                if self._stream.is_head_sent and not isinstance(failure, StopAsyncIteration):
                    self._stream.fetcher, self._failure = self, failure
                    return b""
            raise failure
        finally:
            del failure

    async def send_rest(self, send: Send) -> None:
        """Send what follows the first chunk, and close the source."""
        failure: BaseException | None
        failure, self._failure = self._failure, None
        try:
            if failure is not None:
                self._stream.fetcher = None
                raise failure
            companion = self._companion
            if not self._has_entered:
                self._enter()
            companion.is_advancing = True
            send = companion.begin_silence(send)
            source = self._scoped.source
            encode, events = source.encoder, source.events
            try:
                if companion.allowance <= 0:
                    await companion.check()
                async for item in source.items_left:
                    if events is not None and events.is_over:
                        break
                    chunk = encode(item)
                    if chunk:  # some servers take an empty one for the end
                        try:
                            await send({"type": "http.response.body", "body": chunk, "more_body": True})
                        except OSError as error:
                            raise ClientDisconnect("the client left") from error
                    companion.allowance = allowance = companion.allowance - 1
                    if allowance <= 0:
                        await companion.check()
                else:
                    rest = source.finish()
                    if rest:
                        await _send_or_leave(send, {"type": "http.response.body", "body": rest, "more_body": True})
                await companion.pause()
            except BaseException as error:
                failure = error
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
        self._has_entered = True
        self._scoped.enter(self._watchers.scope_type)
        self._companion.begin()
        events = self._scoped.source.events
        if events is not None:
            self._forget = events.shutdown.add(partial(WAKERS.get().call, self._companion.end_stream))
            self._companion.signal = ShutdownSignal()
            self._token: Token[ShutdownSignal] = stream_shutdown.set(self._companion.signal)

    async def _finish(self, failure: BaseException | None, is_open: bool) -> BaseException | None:
        """Close the source if it is open, and leave what was entered. Return the error to raise, or None."""
        self._stream.fetcher = None  # or the request would be a cycle
        self._companion.end()  # first, or it would cancel a source that is being closed
        signal, self._companion.signal = self._companion.signal, None
        if signal is not None:
            self._forget()
            signal.end()
            stream_shutdown.reset(self._token)
        try:
            failure = await self._scoped.finish(failure, is_open)
        except BaseException as error:  # a cancellation, which wins over a time-out of the source
            failure = error
        return None if self._companion.is_shut_down and isinstance(failure, ClientDisconnect) else failure


# -- what works beside it ----------------------------------------------------------------------------------------------


class Companion:
    """Works beside the task that advances a source: it watches the client, sends the head early, and beats.

    ``is_advancing``: whether the source may be cancelled. While its task does something else, a cancellation would
    arrive there. ``allowance``: how many chunks may be sent before the next ``check``. ``head``: what is sent if the
    first chunk takes long. ``signal``: what ends the subscriptions of a stream of events, also one that a thread of the
    source waits for. ``is_shut_down``: whether the stream ends as if its source had ended.
    """

    __slots__ = (
        "_delayed_start",
        "_exchange",
        "_failure",
        "_has_left",
        "_has_started",
        "_heartbeat",
        "_is_head_in_flight",
        "_is_over",
        "_is_silent",
        "_scoped",
        "_sent",
        "_silent_since",
        "_tending",
        "_watchers",
        "_watching",
        "allowance",
        "has_begun_head",
        "head",
        "is_advancing",
        "is_shut_down",
        "signal",
    )

    def __init__(self, exchange: StreamedRequest, scoped: ScopedSource, watchers: Watchers) -> None:
        events = scoped.source.events
        self._watchers = watchers
        self._exchange = exchange
        self._scoped = scoped
        self._heartbeat = None if events is None else events.heartbeat
        self._watching: CancelScope | None = None  # of the task that waits for the disconnect, once it runs
        self._tending: CancelScope | None = None  # of the task that sends, once it runs
        self._has_started = self._has_left = self._is_over = self.is_advancing = False
        self._is_head_in_flight = self.has_begun_head = self.is_shut_down = False
        self._is_silent = False  # whether the request's task waits for an event, and a heart-beat may be sent
        self._silent_since = 0.0
        self._sent: Event | None = None  # of the message that is being sent
        self._failure: Exception | None = None  # of the head
        self.head: EarlyHead | None = None
        self.signal: ShutdownSignal | None = None
        self.allowance = CHUNKS_PER_CHECK

    # -- for the request's task ------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin to work, but not before ``WATCH_AFTER``."""
        self._delayed_start: Deadline = self._watchers.delayed.add(self._start)

    async def check(self) -> None:
        """Raise ``ClientDisconnect`` if the client has left. Let the event loop do something else, and find out."""
        self._start()
        await checkpoint()
        if self._has_left:
            raise ClientDisconnect("the client left")
        self.allowance = CHUNKS_PER_CHECK

    def begin_silence(self, send: Send) -> Send:
        """Send heart-beats from now on. Return the function that sends the stream's own messages."""
        if self._heartbeat is None:
            return send
        self._silent_since, self._is_silent = self._watchers.time(), True

        async def send_event(message: Message) -> None:
            self._is_silent = False
            if self._sent is not None:
                await self._sent.wait()
            await send(message)
            self._silent_since, self._is_silent = self._watchers.time(), True

        return send_event

    async def pause(self) -> None:
        """Send nothing more. Return when nothing is being sent; raise, once, the error that has prevented the head."""
        self._is_silent = False
        if self._sent is not None:
            await self._sent.wait()
            self._is_silent = False
        failure, self._failure = self._failure, None
        try:
            if failure is not None:
                raise failure
        finally:
            del failure

    def end(self) -> None:
        """Stop, but complete a head that is being sent."""
        self._is_over = True
        self._delayed_start.cancel()
        if self._watching is not None:
            self._watching.cancel()
        if not self._is_head_in_flight:
            self.cancel()

    def cancel(self) -> None:
        """Send nothing more, whatever is being sent."""
        if self._tending is not None:
            self._tending.cancel()

    def end_stream(self) -> None:
        """End the stream as if its source had ended: the server is told to end, or HEAD wants no more."""
        self.is_shut_down = True
        self.leave()

    def leave(self) -> None:
        """End the stream: what is left of it is not wanted."""
        self._has_left = True
        self.allowance = 0
        if self.signal is not None:
            self.signal.end()
        if self.is_advancing and not self._is_over:  # else it is being closed
            self._scoped.cancel()

    # -- the tasks -------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        """Start the tasks, once."""
        if self._has_started or self._is_over:
            return
        self._has_started = True
        with suppress(RuntimeError):  # the lifespan, and its task group, has ended
            start_soon = self._watchers.tasks.start_soon
            start_soon(self._watch)
            if self._heartbeat is not None or (self.head is not None and self.head.is_wanted):
                start_soon(self._tend)

    async def _watch(self) -> None:
        """Wait for the disconnect."""
        if self._is_over:
            return
        with CancelScope() as self._watching:
            try:
                await self._exchange.share_messages().disconnected()
            except Exception as error:  # not raised: other requests' companions run in the same task group
                logger.debug("%s: receive() failed: %r", self._exchange.label, error)
            self.leave()

    async def _tend(self) -> None:
        """Send the head when it is due, and then heart-beats."""
        if self._is_over:
            return
        with CancelScope() as self._tending:
            if self.head is not None and await self._is_due(self.head):
                await self._send_head(self.head)
            while self._heartbeat is not None and not self._is_over:
                pause = self._heartbeat
                if self._is_silent:
                    pause += self._silent_since - self._watchers.time()
                if pause > 0:
                    await sleep(pause)
                else:
                    await self._beat()

    async def _is_due(self, head: EarlyHead) -> bool:
        """Wait until the head is due. Return False if its first chunk came before, or if it may wait for ever."""
        for pause in head.pauses(waited=ASK_AFTER):  # after which this task was started
            if pause is None or not head.is_wanted:
                return False
            await sleep(pause)
        return head.is_wanted and not self._is_over

    async def _send_head(self, head: EarlyHead) -> None:
        """Complete the head and send it. The source is cancelled if that fails."""
        stream, send = head.stream, self._server_send()
        self._sent = sent = Event()
        self.has_begun_head = self._is_head_in_flight = True
        try:
            head.answer = answer = await self._exchange.perform_async(head.complete())
            status, content_type, length, pairs, _, _ = answer
            headers = encode_headers(content_type, length, pairs)
            stream.is_head_sent = True
            await _send_or_leave(send, {"type": "http.response.start", "status": status, "headers": headers})
            # The filler is sent even if it is empty, because daphne waits for a chunk.
            filler = b"" if stream.source.events is None or self._exchange.method == "HEAD" else head.filler()
            await _send_or_leave(send, {"type": "http.response.body", "body": filler, "more_body": True})
            self._silent_since, self._is_silent = self._watchers.time(), True
            if self._exchange.method == "HEAD":
                self.end_stream()
        except Exception as error:  # raised in the request's task
            self._failure = error
            self._scoped.cancel()
        finally:
            self._is_head_in_flight = False
            self._sent = None
            sent.set()

    async def _beat(self) -> None:
        """Send a heart-beat. The stream is ended if that fails."""
        self._sent = sent = Event()
        try:
            beat = self._scoped.source.beat()
            await self._server_send()({"type": "http.response.body", "body": beat, "more_body": True})
        except Exception as error:  # not raised: other requests' companions run in the same task group
            logger.debug("%s: a heart-beat could not be sent: %r", self._exchange.label, error)
            self.leave()
            self._is_over = True
        finally:
            self._sent, self._silent_since = None, self._watchers.time()
            sent.set()

    def _server_send(self) -> Send:
        send = self._exchange.send
        assert send is not None  # noqa: S101
        return send
