"""Send streams under ASGI. The request's task takes a stream's chunks and sends them. Two more
tasks, together called the *companion*, watch the client and send heartbeats.

While the request's task waits for a chunk, it is inside the application's iterator and can't do
anything else, because the iterator's cancel scopes belong to that task (``streams/source.py``). So
the companion does everything that must not wait for a chunk:

- It watches the client. Servers report a disconnect in one of two ways: ``send`` raises ``OSError``
  (ASGI 2.4), or ``send`` does nothing and ``receive`` returns ``http.disconnect``.
- It sends heartbeats while an event stream is silent.

The companion and the request's task never send at the same time. The companion cancels nothing but
the stream, and only if no more chunks are to be sent. It consists of two tasks, because a single
task that waits in ``receive`` could send a heartbeat only by cancelling ``receive``, and that might
lose a piece of the body.

Once the response has started, an error can only abort it: the error is logged and raised into the
server, which then closes the connection. So a client never takes an aborted stream for a complete
one.

A server with the extension ``http.response.pathsend`` sends a whole file itself, and no byte of the
file passes through Python. The server opens the file again, so if the file has just been replaced,
the server sends the new file with the headers of the old one. If the new file is longer, the server
sends only the first ``Content-Length`` bytes. If it is shorter, the server detects the error. If it
was deleted, granian sends a 404, because its ``send`` doesn't wait until the file is open.
https://asgi.readthedocs.io/en/latest/extensions.html
"""

from __future__ import annotations

import os
import types
from collections.abc import Awaitable, Callable
from functools import partial
from io import FileIO
from math import inf
from time import monotonic
from typing import Any

import anyio

from micropie._core import streams
from micropie._core.errors import ClientDisconnect, logger
from micropie._core.execution import (
    CLEAN_UP_WITHIN,
    TASKS,
    Action,
    AsyncAction,
    DelayedCalls,
    LoopLocal,
)
from micropie._core.execution.cancellation import GracefulScope
from micropie._core.execution.steps import Completed, Ends
from micropie._core.http import Answer, Exchange
from micropie._core.http.headers import KnownHead, NameTable
from micropie._core.http.protocols import Pairs, Receive, Send, ServerMessage
from micropie._core.on_demand import Value
from micropie._core.routing import Config
from micropie._core.streams import (
    CHUNKS_PER_CHECK,
    END,
    HEART_BEAT,
    LEFT,
    LoopStream,
    Stream,
    ThreadStream,
    as_bytes,
)
from micropie.asgi.coroutines import Steps, await_within, resume

PATHSEND = "http.response.pathsend"

# Starting the tasks that watch the client and send heartbeats takes as much time as a whole short
# stream. So they are started only ``WATCH_AFTER`` seconds after the first wait, or after
# ``CHUNKS_PER_CHECK`` chunks.
WATCH_AFTER = 0.01

# The types of iterators that show whether the task is waiting for an item. It is None if the chunks
# are made in a thread.
_SHOW_WAITING = (types.AsyncGeneratorType, types.NoneType)

# How often, within its time limit, to look whether a chunk is still being sent.
LOOKS = 4

_STARTS = LoopLocal(lambda: DelayedCalls(WATCH_AFTER))


_NAMES: NameTable[str, bytes] = NameTable(lambda name: name.encode("latin-1"))
_TYPES: NameTable[str, tuple[bytes, bytes]] = NameTable(
    lambda stated: (b"content-type", stated.encode("latin-1"))
)


def encode_headers(
    content_type: str | None, length: int | None, pairs: Pairs
) -> list[tuple[bytes, bytes]]:
    """Return headers in the form that ASGI requires: a new list of bytes with names in lower
    case.
    """
    if pairs.__class__ is not KnownHead:
        headers = [(_NAMES[name], value.encode("latin-1")) for name, value in pairs]
    elif content_type is None or length is None:
        headers = [*pairs.encoded]
    else:  # most responses
        return [*pairs.encoded, _TYPES[content_type], (b"content-length", b"%d" % length)]
    if content_type is not None:
        headers.append(_TYPES[content_type])
    if length is not None:
        headers.append((b"content-length", b"%d" % length))
    return headers


def head_message(answer: Answer, kind: str = "http.response.start") -> ServerMessage:
    """Return the message that starts a response."""
    status, content_type, length, pairs, _, _ = answer
    return {"type": kind, "status": status, "headers": encode_headers(content_type, length, pairs)}


class _Watched:
    """The server's ``receive`` for a task that watches the client, and for a handler that reads the
    body meanwhile.

    The server's ``receive`` must not be called again before it has returned. So messages that come
    before the disconnect are stored for the reader of the body. At most one piece is stored in
    advance, so the client can't send faster than the handler reads.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._messages: list[ServerMessage] = []
        self._more = True  # whether a piece of the body may follow the stored messages
        self._has_left = False
        # ``_taken`` counts the stored messages that the reader has taken.
        self._lock, self._taken = anyio.Lock(), anyio.Semaphore(0)

    async def next_message(self) -> ServerMessage:
        """Return the next message to the reader."""
        if not self._messages:
            async with self._lock:
                if not self._messages:
                    return await self._receive()
        self._taken.release()
        return self._messages.pop(0)

    async def disconnected(self) -> None:
        """Wait until the client has disconnected.

        Some servers don't wait for the disconnect: after the body they return its last message
        again and again. Then only ``send`` can report the disconnect, so wait forever.
        """
        while not self._has_left:
            while self._messages and self._more:
                await self._taken.acquire()
            async with self._lock:
                if self._has_left:  # another task has received the disconnect, which comes once
                    return
                message = await self._receive()
                self._has_left = message["type"] == "http.disconnect"
                if not self._more and not self._has_left:
                    await anyio.sleep_forever()
                self._messages.append(message)
                self._more = message.get("more_body", False)


class StreamedExchange(Exchange):
    """The part of an ``ASGIExchange`` that receives and sends messages for a stream."""

    config: Config
    send: Send  # the server's ``send``
    # Whether ``receive`` is being called, and the event to set when it returns, if a task waits.
    in_flight = False
    received: anyio.Event | None = None
    _receive: Receive
    _watched: _Watched | None = None

    async def disconnected(self) -> None:
        """Wait until the client has disconnected."""
        if self._watched is None:
            self._watched = watched = _Watched(self._receive)
            self._receive = watched.next_message
        if self.in_flight:
            self.received = self.received or anyio.Event()
            await self.received.wait()
        await self._watched.disconnected()

    def note_received(self) -> None:
        """Note that the call of ``receive`` has returned."""
        self.in_flight = False
        if self.received is not None:
            self.received.set()
            self.received = None

    async def while_connected(self, work: Callable[[], Awaitable[Value]]) -> Value:
        tasks = TASKS.get()
        with GracefulScope(tasks) as scope:
            cancel = partial(scope.cancel, CLEAN_UP_WITHIN)
            end = tasks.start_soon(self.end_after, self.disconnected, cancel)
            try:
                return await work()
            finally:
                end()
        raise ClientDisconnect("the client disconnected before its response")

    async def end_after(self, function: AsyncAction, end: Action) -> None:
        """Await ``function``, which ends when the client has disconnected, with or without an
        exception. Then call ``end``.
        """
        try:
            await function()
        except Exception as error:  # log it, because nobody awaits this task
            logger.debug("%s: the server raised %r", self.label, error)
        end()


# -- the request's task ----------------------------------------------------------------------------


async def send_streamed(
    head: ServerMessage, stream: streams.AnyStream, exchange: StreamedExchange, send: Send
) -> None:
    """Send the head and the chunks, and close the stream.

    If the client has disconnected, log this at the level DEBUG and raise nothing.
    """
    if isinstance(stream, ThreadStream):  # of an ``EncodedAnswer``
        stream = streams.MadeAhead(stream, exchange.config.threads)
    file = stream.file
    last: ServerMessage = {"type": "http.response.body", "body": b""}
    try:
        if stream.first is END or exchange.method == "HEAD" or head["status"] in (204, 304):
            await _send_or_leave(partial(send_in_time, exchange, stream), head)
        elif (
            file is not None
            and file.file is not None
            and file.is_whole
            and PATHSEND in (exchange.scope.get("extensions") or ())
            and os.fstat(file.file.fileno()).st_nlink  # no provider has deleted the file
            and not (exchange.ends and _may_delete(exchange.ends, file.file))
        ):
            stream.first = END  # the server reads the file itself
            await _send_or_leave(partial(send_in_time, exchange, stream), head)
            last = {"type": PATHSEND, "path": file.path}
        else:
            sender: StreamSender = stream.driver or StreamSender(stream, exchange)
            await sender.advance(sender.send_chunks(head))
        try:
            # Begin to send the last message here, because most servers don't wait.
            steps = send(last).__await__()
            waits_for = next(steps)
            # No limit for a file, nor under hypercorn, which on trio calls ``nursery.start`` here.
            has_limit = "path" not in last and not shields_send(exchange)
            await resume(steps, waits_for, limit_of(stream, exchange) if has_limit else None)
        except StopIteration:
            pass
        except OSError as error:
            raise ClientDisconnect("the client disconnected") from error
    except Exception as error:
        exchange.break_off(error)
        if not isinstance(error, ClientDisconnect):
            raise
    finally:
        if stream.is_open:
            await close_stream(stream, exchange)


def _may_delete(ends: Ends, file: FileIO) -> bool:
    """Return whether a function that runs after the response may delete ``file``. The functions of
    micropie's middleware delete nothing.
    """
    own = (getattr(close, "func", close) for close in ends.closers if close != file.close)
    modules = (getattr(function, "__module__", None) or "" for function in own)
    return bool(ends.tasks) or not all(name.startswith("micropie.") for name in modules)


async def _send_or_leave(send: Send, message: ServerMessage) -> None:
    """Send a message.

    Raises ``ClientDisconnect`` if the client has disconnected, which the server reports by an
    ``OSError``.
    """
    try:
        await send(message)
    except OSError as error:
        raise ClientDisconnect("the client disconnected") from error


def limit_of(stream: Stream, exchange: StreamedExchange) -> float | None:
    """Return how many seconds the client may take to receive a chunk; None means no limit."""
    if stream.events is not None:
        return stream.events.send_timeout
    return exchange.config.settings.send_timeout


def shields_send(exchange: StreamedExchange) -> bool:
    """Return whether the server is hypercorn or anycorn, by its ASGI version. They protect the wait
    in ``send`` from a cancellation, but not from a time limit that is set inside their scope, as in
    ``await_within``.
    """
    return bool(exchange.scope.get("asgi") == {"version": "3.0", "spec_version": "2.1"})


async def send_in_time(exchange: StreamedExchange, stream: Stream, message: ServerMessage) -> None:
    """Send a message, even if the server protects its ``send`` from cancellation.

    Raises ``TimeoutError``, an ``OSError``, if the client takes too long to receive it.
    """
    limit = limit_of(stream, exchange)
    try:
        await await_within(exchange.send(message), limit)
    except TimeoutError:
        logger.info("%s: the client received nothing for %g s", exchange.label, limit)
        raise


class HeartBeats:
    """Sends the messages of an event stream. If none was sent for ``pause`` seconds, it sends a
    heartbeat.

    It never sends two messages at the same time.
    """

    def __init__(self, send: Send, pause: float) -> None:
        self._send = send
        self._pause = pause
        # Set when the current heartbeat has been sent; None if no heartbeat is being sent.
        self._beat: anyio.Event | None = None
        # The time at which the last message was sent. It is inf while a message is being sent, and
        # after ``stop``.
        self._last = monotonic()

    @property
    def is_sending(self) -> bool:
        """Whether a message is being sent."""
        return self._last == inf or self._beat is not None

    async def send(self, message: ServerMessage) -> None:
        """Send a message. If a heartbeat is being sent, wait for it first."""
        if self._beat is not None:
            await self._beat.wait()
        self._last = inf
        await self._send(message)
        self._last = monotonic()

    async def stop(self) -> None:
        """Send no more heartbeats, and wait until none is being sent."""
        if self._beat is not None:
            await self._beat.wait()
        self._last = inf

    async def run(self) -> None:
        """Send heartbeats until this task is cancelled. Raises any exception of the server."""
        while True:
            silence_left = self._last + self._pause - monotonic()
            if silence_left > 0:
                await TASKS.get().sleep(min(silence_left, self._pause))
                continue
            self._beat = beat = anyio.Event()
            try:
                await self._send(
                    {"type": "http.response.body", "body": HEART_BEAT, "more_body": True}
                )
            finally:
                self._last = monotonic()
                self._beat = None
                beat.set()


class StreamSender:
    """Takes a stream's chunks and sends them, in the task that creates this object.

    Two more tasks, together called the companion, may run meanwhile: one watches whether the client
    disconnects, the other sends heartbeats.
    """

    _beats: HeartBeats | None = None
    # Whether each chunk has its own timer, because ``_end_if_frozen`` can't notice that it is being
    # sent, or can't cancel this. None until this is known.
    _has_timers: bool | None = None
    _checks = 0  # how often ``_check`` was called
    # Cancels the planned start of the companion; None if no start is planned.
    _prevent_start: Action | None = None

    def __init__(self, stream: LoopStream, exchange: StreamedExchange) -> None:
        stream.driver = self
        self._stream = stream
        self._exchange = exchange
        # The functions that watch the client and send heartbeats, until their tasks are started.
        self._due: list[AsyncAction] = [exchange.disconnected]
        self._cancels: list[Action] = []  # functions that cancel the started tasks
        if type(stream.items) not in _SHOW_WAITING:
            self._has_timers = True
        stream.enter()

    @types.coroutine
    def advance(self, part: Awaitable[Any]) -> Steps[Any]:
        """Await one stage of the stream, such as its first chunk, and return the result.

        If the stage has to wait, the tasks that watch the client and send heartbeats are started
        soon.

        The stream is closed if this stage fails, and at the stream's end, when the result is
        ``END``. Raises any exception of the stage or the clean-up.
        """
        result: Any = END
        failure: BaseException | None = None
        steps = part.__await__()
        try:
            waits_for = next(steps)
            if self._due and self._prevent_start is None:
                self._prevent_start = _STARTS.get().add(self._start)
                if self._has_timers is None and (
                    self._stream.interrupt is not None or shields_send(self._exchange)
                ):
                    self._has_timers = True
            result = yield from resume(steps, waits_for)
        except StopIteration as end:
            result = end.value
        except BaseException as error:
            failure = error
        try:
            if result is END:
                self._stream.driver = None  # avoid a reference cycle with the stream
                if self._prevent_start is not None:
                    self._prevent_start()
                self._due.clear()
                for cancel in self._cancels:
                    cancel()
                failure = yield from self._stream.leave(failure)
                if failure is not None:
                    raise failure
            return result
        finally:
            del failure

    async def send_chunks(self, head: ServerMessage) -> Any:
        """Send the head and all chunks, and return ``END``."""
        stream, send = self._stream, self._exchange.send
        encode, events = stream.encode, stream.events
        # Encode strings here, to avoid a function call for each chunk.
        text = str if encode is as_bytes else None
        stream.is_advancing = True
        try:
            await send(head)
            if self._has_timers:
                send = partial(send_in_time, self._exchange, stream)
            else:
                self._has_timers = False
            if stream.heartbeat is not None:
                send = self._with_heartbeats(send, stream.heartbeat)
            await send({"type": "http.response.body", "body": stream.first, "more_body": True})
        except OSError as error:
            raise ClientDisconnect("the client disconnected") from error
        if stream.outcome is not None:
            await self._check()
        async for item in stream if stream.items is None else stream.items:
            if events is not None and events.shutdown.is_over:
                break
            chunk = item.encode() if item.__class__ is text else encode(item)
            if chunk:  # some servers would take an empty chunk for the end of the response
                try:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                except OSError as error:
                    raise ClientDisconnect("the client disconnected") from error
            stream.chunks_left -= 1
            if not stream.chunks_left:
                await self._check()
        if stream.transforms and (rest := stream.finish()):
            await _send_or_leave(
                send, {"type": "http.response.body", "body": rest, "more_body": True}
            )
        if self._beats is not None:
            await self._beats.stop()
        return END

    def _with_heartbeats(self, send: Send, pause: float) -> Send:
        """Return a function that sends messages by ``send``, with heartbeats between them."""
        self._beats = HeartBeats(send, pause)
        self._due.append(self._beats.run)
        if self._cancels:  # the companion has started during the wait for the head
            self._start()
        return self._beats.send

    async def _check(self) -> None:
        """Raise ``ClientDisconnect`` if the client has disconnected.

        First let the event loop run other tasks, so that the task that watches the client can
        notice a disconnect.
        """
        self._stream.chunks_left = CHUNKS_PER_CHECK
        self._checks += 1
        self._start()
        await anyio.lowlevel.checkpoint()
        if self._stream.outcome is not None:
            raise ClientDisconnect("the client disconnected")

    # -- the companion -----------------------------------------------------------------------------

    def _start(self) -> None:
        """Start the tasks that watch the client and send heartbeats, unless they have started."""
        self._prevent_start = None
        start_soon, end = TASKS.get().start_soon, partial(self._stream.end, LEFT)
        if self._due and not self._cancels:
            self._stream.end_at_shutdown()
            limit = limit_of(self._stream, self._exchange)
            if limit is not None and not self._has_timers:
                self._cancels.append(start_soon(self._end_if_frozen, limit))
        while self._due:
            self._cancels.append(start_soon(self._exchange.end_after, self._due.pop(), end))

    async def _end_if_frozen(self, limit: float) -> None:
        """End the stream when one chunk has been sent for ``limit`` seconds.

        Only the number of sent chunks is compared, because a timer for each chunk would take more
        time than sending it.
        """
        stream, tasks, looks_left, seen = self._stream, TASKS.get(), LOOKS, (0, 0)
        while looks_left:
            await tasks.sleep(limit / LOOKS)
            is_sending = not stream.is_waiting if self._beats is None else self._beats.is_sending
            sent = self._checks, stream.chunks_left
            looks_left = looks_left - 1 if is_sending and sent == seen else LOOKS
            seen = sent
        logger.info("%s: the client received nothing for %g s", self._exchange.label, limit)
        stream.end(LEFT, within=0.0)


async def close_stream(stream: streams.AnyStream, exchange: StreamedExchange) -> None:
    """Close a stream that has not ended. Raises any exception that its clean-up raises."""
    if isinstance(stream, ThreadStream):
        stream = streams.MadeAhead(stream, exchange.config.threads)
    sender: StreamSender = stream.driver or StreamSender(stream, exchange)
    await sender.advance(Completed(END))
