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
from collections.abc import Awaitable
from contextvars import Token
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any, Final, Protocol, TypeVar, cast

from anyio import CancelScope, Event, Lock, move_on_after, sleep
from anyio.lowlevel import checkpoint

from micropie.asgi.headers import encode_headers
from micropie.errors import ClientDisconnect
from micropie.execution import (
    CLEAN_UP_WITHIN,
    TASKS,
    WAKERS,
    DelayedCall,
    DelayedCalls,
    Flow,
    LoopLocal,
    ShutdownSignal,
    in_thread,
    stream_shutdown,
)
from micropie.http import ChunkedBody, Message, MessageConfig, Receive, Scope, Send
from micropie.routing import Config, config_of
from micropie.streams import ASK_AFTER, END, EarlyHead, LoopSource, ScopedSource, Stream, ThreadSource, in_threads

logger = logging.getLogger("micropie")

Value = TypeVar("Value")

PATHSEND = "http.response.pathsend"

# The companion's tasks cost as much as many a whole stream. So they are started when a stream has gone on for so many
# seconds or chunks.
WATCH_AFTER = ASK_AFTER
CHUNKS_PER_CHECK = 64

_DELAYED = LoopLocal(lambda: DelayedCalls(WATCH_AFTER))


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
    config: MessageConfig
    broken_off: bool
    send: Send

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


async def close_stream(stream: Stream, config: Config) -> None:
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
    """Advances a source, sends its chunks and closes it: all in the task that makes this object.

    ``next`` and ``send_rest`` close the source when they raise. ``close`` is for one that is not at its end.
    """

    __slots__ = ("_companion", "_failure", "_forget", "_scoped", "_stream", "_token")

    def __init__(self, stream: Stream, exchange: StreamedRequest) -> None:
        source = stream.source
        if isinstance(source, ThreadSource):
            stream.source = source = in_threads(source, config_of(exchange).threads)
        self._stream = stream
        self._failure: Exception | None = None  # of a source that failed after its early head
        self._scoped = ScopedSource(cast("LoopSource", source))
        self._scoped.enter()
        self._companion = companion = Companion(exchange, self._scoped)
        companion.begin()
        if source.events is not None:
            self._forget = source.events.shutdown.add(partial(WAKERS.get().call, companion.end_stream))
            companion.signal = ShutdownSignal()
            self._token: Token[ShutdownSignal] = stream_shutdown.set(companion.signal)

    async def next(self, head: EarlyHead) -> bytes:
        """Return one chunk. If the head was sent meanwhile, ``send_rest`` raises what has ended the source."""
        companion = self._companion
        companion.head = head
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
            elif companion.head_state is not WAITS:
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
            companion.is_advancing = True
            send = companion.begin_silence(send)
            source = self._scoped.source
            encode, events = source.encoder, source.events
            try:
                if companion.allowance <= 0:
                    await companion.check()
                async for item in source.items_left:
                    if events is not None and events.shutdown.is_over:
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

    async def _finish(self, failure: BaseException | None, is_open: bool) -> BaseException | None:
        """Close the source if it is open, and leave what was entered. Return the error to raise, or None."""
        companion = self._companion
        self._stream.fetcher = None  # or the request would be a cycle
        companion.end()  # first, or it would cancel a source that is being closed
        signal, companion.signal = companion.signal, None
        if signal is not None:
            self._forget()
            signal.end()
            stream_shutdown.reset(self._token)
        try:
            failure = await self._scoped.finish(failure, is_open)
        except BaseException as error:  # a cancellation, which wins over a time-out of the source
            failure = error
        return None if companion.outcome is SHUT_DOWN and isinstance(failure, ClientDisconnect) else failure


# -- what works beside it ----------------------------------------------------------------------------------------------

# The companion's life: its tasks are started once, unless it is over before.
BEGUN: Final = "begun"
STARTED: Final = "started"
OVER: Final = "over"

# The reason why the rest of the stream is not wanted.
LEFT: Final = "the client has left"
SHUT_DOWN: Final = "the server is told to end, or the method is HEAD"

# A head that is sent before the first chunk.
WAITS: Final = "waits"
IN_FLIGHT: Final = "in flight"
SENT: Final = "sent, or could not be sent"


@dataclass(slots=True, eq=False)
class Companion:
    """Works beside the task that advances a source: it watches the client, sends the head early, and beats.

    ``is_advancing``: whether the source may be cancelled. While its task does something else, a cancellation would
    arrive there. ``allowance``: how many chunks may be sent before the next ``check``. ``head``: the head that is sent
    if the first chunk takes long. ``signal``: the signal that ends the subscriptions of a stream of events, also one
    that a thread of the source waits for. ``outcome``: the reason why the stream was ended, or None.
    """

    _exchange: StreamedRequest
    _scoped: ScopedSource
    is_advancing: bool = False
    allowance: int = CHUNKS_PER_CHECK
    head: EarlyHead | None = None
    head_state: str = WAITS
    signal: ShutdownSignal | None = None
    outcome: str | None = None
    _life: str = BEGUN
    _delayed_start: DelayedCall = field(init=False)
    _watching: CancelScope | None = None  # of the task that waits for the disconnect, once it runs
    _tending: CancelScope | None = None  # of the task that sends, once it runs
    _silent_since: float | None = None  # the time since which a heart-beat may be sent
    _sent: Event | None = None  # of the message that is being sent
    _failure: Exception | None = None  # of the head

    # -- for the request's task ------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin to work, but not before ``WATCH_AFTER``."""
        self._delayed_start = _DELAYED.get().add(self._start)

    async def check(self) -> None:
        """Raise ``ClientDisconnect`` if the client has left. Let the event loop do something else, and find out."""
        self._start()
        await checkpoint()
        if self.outcome is not None:
            raise ClientDisconnect("the client left")
        self.allowance = CHUNKS_PER_CHECK

    def begin_silence(self, send: Send) -> Send:
        """Send heart-beats from now on. Return the function that sends the stream's own messages."""
        if self._heartbeat is None:
            return send
        self._silent_since = monotonic()

        async def send_event(message: Message) -> None:
            self._silent_since = None
            if self._sent is not None:
                await self._sent.wait()
            await send(message)
            self._silent_since = monotonic()

        return send_event

    async def pause(self) -> None:
        """Send nothing more. Return when nothing is being sent; raise, once, the error that has prevented the head."""
        self._silent_since = None
        if self._sent is not None:
            await self._sent.wait()
            self._silent_since = None
        failure, self._failure = self._failure, None
        try:
            if failure is not None:
                raise failure
        finally:
            del failure

    def end(self) -> None:
        """Stop, but complete a head that is being sent."""
        self._life = OVER
        self._delayed_start.cancel()
        if self._watching is not None:
            self._watching.cancel()
        if self.head_state is not IN_FLIGHT:
            self.cancel()

    def cancel(self) -> None:
        """Send nothing more, whatever is being sent."""
        if self._tending is not None:
            self._tending.cancel()

    def end_stream(self, outcome: str = SHUT_DOWN) -> None:
        """End the stream, because its rest is not wanted. When it is shut down, it ends as if its source had ended."""
        self.outcome = outcome
        self.allowance = 0
        if self.signal is not None:
            self.signal.end()
        if self.is_advancing and self._life is not OVER:  # else it is being closed
            self._scoped.cancel()

    # -- the tasks -------------------------------------------------------------------------------------------------

    @property
    def _heartbeat(self) -> float | None:
        events = self._scoped.source.events
        return None if events is None else events.heartbeat

    def _start(self) -> None:
        """Start the tasks, once."""
        if self._life is BEGUN:
            self._life = STARTED
            start_soon = TASKS.get().start_soon
            start_soon(self._watch)
            if self._heartbeat is not None or (self.head is not None and self.head.is_wanted):
                start_soon(self._tend)

    async def _watch(self) -> None:
        """Wait for the disconnect."""
        if self._life is OVER:
            return
        with CancelScope() as self._watching:
            try:
                await self._exchange.share_messages().disconnected()
            except Exception as error:  # not raised: nobody waits for this task
                logger.debug("%s: receive() failed: %r", self._exchange.label, error)
            self.end_stream(LEFT)

    async def _tend(self) -> None:
        """Send the head when it is due, and then heart-beats."""
        if self._life is OVER:
            return
        with CancelScope() as self._tending:
            if self.head is not None and await self._is_due(self.head):
                await self._send_head(self.head)
            while self._heartbeat is not None and self._life is not OVER:
                pause = self._heartbeat
                if self._silent_since is not None:
                    pause += self._silent_since - monotonic()
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
        return head.is_wanted and self._life is not OVER

    async def _send_head(self, head: EarlyHead) -> None:
        """Complete the head and send it. The source is cancelled if that fails."""
        stream, send = head.stream, self._server_send()
        self._sent = sent = Event()
        self.head_state = IN_FLIGHT
        try:
            head.answer = answer = await self._exchange.perform_async(head.complete())
            status, content_type, length, pairs, _, _ = answer
            headers = encode_headers(content_type, length, pairs)
            stream.is_head_sent = True
            await _send_or_leave(send, {"type": "http.response.start", "status": status, "headers": headers})
            # The filler is sent even if it is empty, because daphne waits for a chunk.
            filler = b"" if stream.source.events is None or self._exchange.method == "HEAD" else head.filler()
            await _send_or_leave(send, {"type": "http.response.body", "body": filler, "more_body": True})
            self._silent_since = monotonic()
            if self._exchange.method == "HEAD":
                self.end_stream()
        except Exception as error:  # raised in the request's task
            self._failure = error
            self._scoped.cancel()
        finally:
            self.head_state = SENT
            self._sent = None
            sent.set()

    async def _beat(self) -> None:
        """Send a heart-beat. The stream is ended if that fails."""
        self._sent = sent = Event()
        try:
            beat = self._scoped.source.beat()
            await self._server_send()({"type": "http.response.body", "body": beat, "more_body": True})
        except Exception as error:  # not raised: nobody waits for this task
            logger.debug("%s: a heart-beat could not be sent: %r", self._exchange.label, error)
            self.end_stream(LEFT)
            self._life = OVER
        finally:
            if self._silent_since is not None:
                self._silent_since = monotonic()
            self._sent = None
            sent.set()

    def _server_send(self) -> Send:
        send = self._exchange.send
        assert send is not None  # noqa: S101
        return send
