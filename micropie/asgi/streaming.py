"""Streams under ASGI: one task gets a stream's chunks and sends them, and a companion works beside it.

The request's task is inside of the source while it waits for a chunk, and can't leave it: the source's scopes belong to
that task (``streams/source.py``). So the companion does in tasks of its own whatever must not wait for a chunk:

- It watches the client. A client that leaves is noticed in two ways, because servers differ: ``send`` raises
  ``OSError`` (ASGI 2.4), or it does nothing and ``receive`` gives ``http.disconnect``.
- It sends the heart-beats of silent events.

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

from collections import deque
from collections.abc import Callable, Iterable
from contextvars import Context, copy_context
from functools import cache, partial
from time import monotonic
from typing import Final, cast

import anyio

from micropie import streams
from micropie.errors import ClientDisconnect, logger, raise_any
from micropie.execution import TASKS, WAKERS
from micropie.http import (
    HTML,
    JSON,
    LONGEST_KEPT,
    Answer,
    ChunkedBody,
    Exchange,
    KnownHeader,
    Message,
    Receive,
    Send,
)
from micropie.routing import config_of
from micropie.streams import END, HEART_BEAT, Stream, ThreadSource, as_bytes

PATHSEND = "http.response.pathsend"

# The companion's tasks cost as much as many a whole stream. So they are started when a stream has gone on for so many
# seconds or chunks.
WATCH_AFTER = 0.01
CHUNKS_PER_CHECK = 64


class DelayedCalls:
    """Calls functions on this event loop, so many seconds after each was added.

    One task waits for them all, because most are cancelled before, and a timer for each takes longer than the work that
    it is to save.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._tasks = TASKS.get()
        self._calls: deque[tuple[float, list[Callable[[], object]]]] = deque()  # no function: it was prevented

    def add(self, function: Callable[[], object]) -> Callable[[], None]:
        """Call ``function`` later, in this context. Return a function that prevents the call and lets go of it."""
        functions: list[Callable[[], object]] = [partial(copy_context().run, function)]
        if not self._calls:
            # In no request's context: a task that waits for calls which were cancelled would keep the request.
            self._tasks.start_soon(self._run, context=Context())
        self._calls.append((monotonic() + self._seconds, functions))
        return functions.clear

    async def _run(self) -> None:
        while self._calls:
            due, functions = self._calls[0]
            pause = due - monotonic()
            if pause > 0:
                await anyio.sleep(pause)
            else:
                while functions:
                    functions.pop()()
                self._calls.popleft()  # after the call: if that adds another, this task is still at work


@cache  # not made at import: anyio imports more for it than a small site needs
def _starts_of_loops() -> anyio.lowlevel.RunVar[DelayedCalls]:
    return anyio.lowlevel.RunVar("micropie.streams")


class SharedReceive:
    """One request's messages for two readers. The server's ``receive`` must never be called twice at a time.

    The handler may read the body while it streams its answer, and a companion waits for ``http.disconnect``. The
    companion is at most one piece of the body ahead, so the client still has to wait.

    ``in_flight`` is an event that is set when a pending call of ``receive`` returns; None if there is no such call.
    """

    def __init__(self, receive: Receive, in_flight: anyio.Event | None) -> None:
        self._receive = receive
        self._in_flight = in_flight
        self._lock = anyio.Lock()
        self._messages: list[Message] = []
        self._taken = anyio.Event()

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
                self._taken = taken = anyio.Event()
            if message["type"] == "http.disconnect":
                return
            if message.get("more_body", False):
                await taken.wait()


class _Names(dict[str, bytes]):
    """The names of headers as bytes. They are few and the same in every answer, unless an author sends a client's."""

    def __missing__(self, name: str) -> bytes:
        encoded = name.encode("latin-1")
        if len(self) < _MOST_NAMES and len(name) <= LONGEST_KEPT:
            self[name] = encoded
        return encoded


_MOST_NAMES = 1024
_NAMES = _Names()
_ENCODED_TYPES = {usual: (b"content-type", usual.encode()) for usual in (HTML, JSON)}


def encode_headers(
    content_type: str | None, length: int | None, pairs: Iterable[tuple[str, str]]
) -> list[tuple[bytes, bytes]]:
    """Return headers as ASGI wants them: a new list of bytes, with names in lower case."""
    headers = []
    for pair in pairs:
        if type(pair) is KnownHeader:
            headers.append(pair.encoded)
        else:
            headers.append((_NAMES[pair[0]], pair[1].encode("latin-1")))
    if content_type is not None:
        headers.append(_ENCODED_TYPES.get(content_type) or (b"content-type", content_type.encode("latin-1")))
    if length is not None:
        headers.append((b"content-length", b"%d" % length))
    return headers


def head_message(answer: Answer, kind: str = "http.response.start") -> Message:
    """Return the message that begins an answer."""
    status, content_type, length, pairs, _, _ = answer
    return {"type": kind, "status": status, "headers": encode_headers(content_type, length, pairs)}


class StreamedExchange(Exchange):
    """The messages of an ``ASGIExchange``, in and out, as far as its stream needs them."""

    send: Send  # of the server
    in_flight: anyio.Event | None = None  # while a call of ``receive`` is awaited
    _receive: Receive

    def share_messages(self) -> SharedReceive:
        """Share ``receive``, so that a watcher can wait for a disconnect while the body may still be read."""
        shared = SharedReceive(self._receive, self.in_flight)
        self._receive = shared.next
        return shared


# -- the request's task ------------------------------------------------------------------------------------------------


async def send_streamed(head: Message, body: ChunkedBody, exchange: StreamedExchange, send: Send) -> None:
    """Send head and chunks, and close the stream. That a client left is noted in the debug log, and not raised."""
    stream = cast("Stream", body)
    has_body = stream.first is not END and exchange.method != "HEAD" and head["status"] not in (204, 304)
    file = stream.source.file
    try:
        await _send_or_leave(send, head)
        extensions = exchange.scope.get("extensions") or ()
        if has_body and file is not None and file.file is not None and file.is_whole and PATHSEND in extensions:
            stream.first = END  # the chunk that was read ahead is not needed
            await _send_or_leave(send, {"type": PATHSEND, "path": file.path})
            return
        if has_body:
            await _send_or_leave(send, {"type": "http.response.body", "body": stream.first, "more_body": True})
            await sender_of(stream, exchange).send_rest(send)
        await _send_or_leave(send, {"type": "http.response.body", "body": b""})
    except ClientDisconnect:
        exchange.answer.break_off()
        logger.debug("%s: the client left in mid-stream", exchange.label)
    except Exception as error:
        exchange.log_failure(f"{exchange.label} failed after its head was sent: aborted", error)
        raise
    finally:
        if stream.claim_close():
            await sender_of(stream, exchange).close()


async def _send_or_leave(send: Send, message: Message) -> None:
    """Send a message. Raises ``ClientDisconnect`` if the server says by an ``OSError`` that the client has left."""
    try:
        await send(message)
    except OSError as error:
        raise ClientDisconnect("the client left") from error


def sender_of(stream: Stream, exchange: StreamedExchange) -> StreamSender:
    """Return the stream's ``StreamSender``; the first call makes it."""
    sender = stream.fetcher
    if not isinstance(sender, StreamSender):
        stream.fetcher = sender = StreamSender(stream, exchange)
    return sender


# The reason why the rest of a stream is not wanted.
LEFT: Final = "the client has left"
SHUT_DOWN: Final = "the server is told to end"


class StreamSender:
    """Advances a source, sends its chunks and closes it: all in the task that makes this object.

    ``next`` and ``send_rest`` close the source when they raise. ``close`` is for one that is not at its end.

    The methods below "beside it" run in the companion's tasks: one watches the client, the other one beats.
    """

    _outcome: str | None = None  # why the stream was ended
    _is_advancing = False  # whether the source may be cancelled: else a cancellation would arrive in other code
    _has_started = _is_over = False  # the companion
    _sent: anyio.Event | None = None  # of the message that the companion is sending
    _silent_since: float | None = None  # the time since which a heart-beat may be sent
    _forget: Callable[[], object] | None = None  # the shut-down
    _watching: anyio.CancelScope  # the companion's tasks, once it has started
    _beating: anyio.CancelScope

    def __init__(self, stream: Stream, exchange: StreamedExchange) -> None:
        source = stream.source
        if isinstance(source, ThreadSource):
            stream.source = source = streams.MadeAhead(source, config_of(exchange).threads)
        self._stream = stream
        self._exchange = exchange
        self._source = source
        self._heartbeat = source.heartbeat
        self._source.enter()
        starts_of_loops = _starts_of_loops()
        try:
            starts = starts_of_loops.get()
        except LookupError:  # the first stream of this loop
            starts_of_loops.set(starts := DelayedCalls(WATCH_AFTER))
        self._prevent_start = starts.add(self._start)

    async def next(self) -> bytes:
        """Return one chunk."""
        self._is_advancing = True
        try:
            return await self._source.__anext__()
        except BaseException as error:
            failure = error
        finally:
            self._is_advancing = False
        try:
            raise await self._finish(failure, self._stream.claim_close()) or StopAsyncIteration()
        finally:
            del failure

    async def send_rest(self, send: Send) -> None:
        """Send what follows the first chunk, and close the source."""
        failure: BaseException | None = None
        try:
            await self._send_items(send if self._heartbeat is None else self._send_event)
            await self._fall_silent()
        except BaseException as error:
            failure = error
        try:
            failure = await self._finish(failure, self._stream.claim_close())
            if failure is not None:
                raise failure
        finally:
            del failure

    async def _send_items(self, send: Send) -> None:
        source, left = self._source, CHUNKS_PER_CHECK
        encode, events = source.encoder, source.events
        is_plain = encode is as_bytes
        self._is_advancing = True
        self._silent_since = monotonic()
        if self._outcome is not None:
            await self._check()
        async for item in source.items_left:
            if events is not None and events.shutdown.is_over:
                return
            if is_plain and item.__class__ is str:
                chunk = item.encode()
            else:
                chunk = item if is_plain and item.__class__ is bytes else encode(item)
            if chunk:  # some servers take an empty one for the end
                try:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                except OSError as error:
                    raise ClientDisconnect("the client left") from error
            left -= 1
            if left <= 0 or self._outcome is not None:
                await self._check()
                left = CHUNKS_PER_CHECK
        rest = source.finish()
        if rest:
            await _send_or_leave(send, {"type": "http.response.body", "body": rest, "more_body": True})

    async def _send_event(self, message: Message) -> None:
        """Send a message that is not to meet a heart-beat."""
        self._silent_since = None
        if self._sent is not None:
            await self._sent.wait()
        await self._exchange.send(message)
        self._silent_since = monotonic()

    async def _check(self) -> None:
        """Raise ``ClientDisconnect`` if the client has left. Let the event loop do something else, and find out."""
        self._start()
        await anyio.lowlevel.checkpoint()
        if self._outcome is not None:
            raise ClientDisconnect("the client left")

    async def _fall_silent(self) -> None:
        """Send nothing more. Return when nothing is being sent."""
        self._silent_since = None
        if self._sent is not None:
            await self._sent.wait()
            self._silent_since = None

    async def close(self) -> None:
        """Close the source, and leave what was entered. Raises what the clean-up raises."""
        raise_any(await self._finish(None, True))

    async def _finish(self, failure: BaseException | None, is_open: bool) -> BaseException | None:
        """Close the source if it is open, and leave what was entered. Return the error to raise, or None."""
        self._stream.fetcher = None  # or the request would be a cycle
        self._is_over = True  # first, or the companion would cancel a source that is being closed
        self._prevent_start()
        if self._forget is not None:
            self._forget()
            self._forget = None  # it refers to this object
        if self._has_started:
            self._watching.cancel()
            self._beating.cancel()
        try:
            failure = await self._source.leave(failure, is_open)
        except BaseException as error:  # a cancellation, which wins over a time-out of the source
            failure = error
        return None if self._outcome is SHUT_DOWN and isinstance(failure, ClientDisconnect) else failure

    # -- beside it -------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        """Start the companion's tasks, once."""
        if self._has_started or self._is_over:
            return
        self._has_started = True
        self._watching, self._beating = anyio.CancelScope(), anyio.CancelScope()
        start_soon = TASKS.get().start_soon
        start_soon(self._watch)
        if self._heartbeat is not None:
            start_soon(self._beat_when_silent)
        if self._source.events is not None:
            self._forget = self._source.events.shutdown.add(partial(WAKERS.get().call, self._end_stream))

    def _end_stream(self, outcome: str = SHUT_DOWN) -> None:
        """End the stream, because its rest is not wanted. When it is shut down, it ends as if its source had ended."""
        self._outcome = outcome
        if self._is_advancing and not self._is_over:  # else it is being closed
            self._source.cancel()

    async def _watch(self) -> None:
        """Wait for the disconnect."""
        with self._watching:
            try:
                await self._exchange.share_messages().disconnected()
            except Exception as error:  # not raised: nobody waits for this task
                logger.debug("%s: receive() failed: %r", self._exchange.label, error)
            self._end_stream(LEFT)

    async def _beat_when_silent(self) -> None:
        with self._beating:
            while self._heartbeat is not None and not self._is_over:
                pause = self._heartbeat
                if self._silent_since is not None:
                    pause += self._silent_since - monotonic()
                if pause > 0:
                    await anyio.sleep(pause)
                else:
                    await self._beat()

    async def _beat(self) -> None:
        """Send a heart-beat. The stream is ended if that fails."""
        self._sent = sent = anyio.Event()
        try:
            await self._exchange.send({"type": "http.response.body", "body": HEART_BEAT, "more_body": True})
        except Exception as error:  # not raised: nobody waits for this task
            logger.debug("%s: a heart-beat could not be sent: %r", self._exchange.label, error)
            self._end_stream(LEFT)
            self._heartbeat = None
        finally:
            if self._silent_since is not None:
                self._silent_since = monotonic()
            self._sent = None
            sent.set()
